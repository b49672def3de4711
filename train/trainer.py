# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What all stages add to the Trainer: a loss that is no number stops the run, what is declared is trained and nothing
else, checkpoints are whole, and a killed run goes on as if it had not been."""

import fnmatch
import logging
import math
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from safetensors import SafetensorError
from torch import nn
from transformers import PrinterCallback, ProgressCallback, TrainerCallback, TrainingArguments
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from xemogpt.train.checkpoints import discard, last_whole_checkpoint, refuse_other_configuration, seal
from xemogpt.train.mixture import EpochSampler

logger = logging.getLogger(__name__)

IDS = "ids"  # key of a batch: names of its samples, which the model never sees
CERTAIN_LR = 1e-6  # a smaller step may vanish in rounding, even in float32
# What of `TrainingArguments` decides the course of a run.
DECISIVE = (
    "seed",
    "data_seed",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "world_size",
    "train_sampling_strategy",
    "dataloader_drop_last",
    "max_steps",
    "num_train_epochs",
    "learning_rate",
    "lr_scheduler_type",
    "lr_scheduler_kwargs",
    "warmup_steps",
    "optim",
    "optim_args",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "bf16",
    "fp16",
    "loss_type",
    "label_smoothing_factor",
    "neftune_noise_alpha",
    "average_tokens_across_devices",
)


class NotFiniteError(FloatingPointError):
    """The loss of a batch is no number; `ids` names its samples."""

    def __init__(self, step: int, ids: Sequence[str], kept: str | None):
        self.step, self.ids = step, list(ids)
        names = ", ".join(self.ids) if self.ids else "(the batch has no ids)"
        last = f"the last good checkpoint is {kept}" if kept else "there is no checkpoint yet"
        super().__init__(
            f"the loss is no finite number from step {step} on, first in the batch of {names}: look at these samples, "
            f"or lower learning_rate; {last}"
        )


class CheckedTrainer:
    """Put before a Trainer class among the bases.

    * Batches may carry `ids`, a list of names. A loss that is not finite raises `NotFiniteError` with those names,
      when losses are next logged or a checkpoint is due: nothing waits for the device in between, and no checkpoint
      is written of weights that a broken step has touched.
    * `declared`: patterns (as of file names) of the parameters that may be trained, see `OnlyDeclaredMoves`.
    * Checkpoints are sealed (`xemogpt.train.checkpoints`); what a failed save leaves is removed, earlier ones stay.
    * `settings`: of the stage. They and the Trainer's own that decide the course of a run are kept in the seal; a
      checkpoint of another configuration is not resumed.
    * The order of an epoch follows from seed and epoch alone, so that a resumed run sees what it would have seen. One
      that was killed at its last checkpoint makes no further step.
    * A data set whose rows depend on the epoch has an attribute `epoch`, which is set before each; it is None, or not
      there, where they do not.
    """

    def __init__(
        self,
        *args: Any,
        declared: Sequence[str] | None = None,
        settings: dict[str, Any] | None = None,
        **kwargs: Any,
    ):
        super().__init__(*args, **kwargs)
        self._losses: list[tuple[int, Sequence[str], torch.Tensor]] = []
        trainer: Any = self
        own = {name: getattr(trainer.args, name) for name in DECISIVE if hasattr(trainer.args, name)}
        self.configuration = own | (settings or {})
        trainer.args.logging_nan_inf_filter = False  # would wait for the device in every step; see `check_losses`
        self._epoch = TellEpoch()
        trainer.add_callback(self._epoch)
        if getattr(trainer.train_dataset, "epoch", None) is not None:
            if trainer.args.dataloader_persistent_workers:
                raise ValueError(
                    "dataloader_persistent_workers: workers that stay never hear of a new epoch, and each would get "
                    "clips changed as in the first: set it to false"
                )
            self._epoch.told["dataset"] = trainer.train_dataset
        if declared is not None:
            trainer.add_callback(OnlyDeclaredMoves(declared, trainer.model))
        for callback in (PrinterCallback, ProgressCallback):  # they write to stdout
            if trainer.pop_callback(callback) is not None:
                trainer.add_callback(StepLines() if callback is PrinterCallback else QuietBar())
        if not any(isinstance(each, StepLines) for each in trainer.callback_handler.callbacks):
            trainer.add_callback(StepLines())

    def train(self, resume_from_checkpoint: str | None = None, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's; `resume_from_checkpoint` must be of this very configuration, what comes out finite."""
        if resume_from_checkpoint:
            refuse_other_configuration(resume_from_checkpoint, self.configuration)
            logger.info("going on from %s", resume_from_checkpoint)
        result = super().train(resume_from_checkpoint, *args, **kwargs)  # type: ignore[misc]
        self.check_losses()  # of the steps after the last log
        self._check_weights()
        return result

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:
        """As the Trainer's, which makes a step before it looks whether a resumed run is at its end already."""
        if self.state.global_step >= self.state.max_steps:  # type: ignore[attr-defined]
            self.control.should_training_stop = True  # type: ignore[attr-defined]
            return
        super()._run_epoch(*args, **kwargs)  # type: ignore[misc]

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """Random order, or groups of like length where the dataset has a column of lengths."""
        trainer: Any = self
        strategy = trainer.args.train_sampling_strategy
        dataset = trainer.train_dataset if train_dataset is None else train_dataset
        if strategy not in ("random", "group_by_length") or not hasattr(dataset, "__len__"):
            return super()._get_train_sampler(train_dataset)  # type: ignore[misc]
        lengths = self.row_lengths(dataset) if strategy == "group_by_length" else None
        batch = trainer.args.train_batch_size * trainer.args.gradient_accumulation_steps * trainer.args.world_size
        seed = trainer.args.seed if trainer.args.data_seed is None else trainer.args.data_seed
        self._epoch.told["sampler"] = sampler = EpochSampler(len(dataset), seed, lengths, batch)
        return sampler

    def row_lengths(self, dataset: Any) -> list[int]:
        """How long each row is, for `group_by_length`."""
        column = self.args.length_column_name  # type: ignore[attr-defined]
        if column not in getattr(dataset, "column_names", ()):
            raise ValueError(f"train_sampling_strategy group_by_length needs a column {column!r} of lengths")
        return list(dataset[column])

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the Trainer's; remembers the loss on its device, with the ids of the batch."""
        ids = inputs.pop(IDS, ())
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self._losses.append((self.state.global_step + 1, ids, loss.detach()))  # type: ignore[attr-defined]
        return loss

    def get_eval_dataloader(self, *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's; `dataloader_drop_last` is for training: every row is validated on."""
        drop_last, self.args.dataloader_drop_last = self.args.dataloader_drop_last, False  # type: ignore[attr-defined]
        try:
            return super().get_eval_dataloader(*args, **kwargs)  # type: ignore[misc]
        finally:
            self.args.dataloader_drop_last = drop_last  # type: ignore[attr-defined]

    def prediction_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """As the Trainer's, without the ids."""
        inputs = {name: value for name, value in inputs.items() if name != IDS}
        return super().prediction_step(model, inputs, *args, **kwargs)  # type: ignore[misc]

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        if self.control.should_log or self.control.should_save:  # type: ignore[attr-defined]
            self.check_losses()
        super()._maybe_log_save_evaluate(*args, **kwargs)  # type: ignore[misc]

    def check_losses(self) -> None:
        """Looks at all losses since the last look: one wait for the device.

        Raises:
            NotFiniteError: one of them is no number, on this process or another.
        """
        pending, self._losses = self._losses, []
        if not pending:
            return
        losses = torch.stack([loss for _, _, loss in pending])
        bad = (~torch.isfinite(losses)).nonzero().flatten().tolist()
        worst: list[tuple[int, list[str]] | None] = [(pending[bad[0]][0], list(pending[bad[0]][1])) if bad else None]
        if dist.is_available() and dist.is_initialized():
            everyone: list[Any] = [None] * dist.get_world_size()
            dist.all_gather_object(everyone, worst[0])
            worst = [each for each in everyone if each is not None] or [None]
        if worst[0] is not None:
            step, ids = min((each for each in worst if each is not None), key=lambda each: each[0])
            raise NotFiniteError(step, ids, last_whole_checkpoint(self.args.output_dir))  # type: ignore[attr-defined]

    def _check_weights(self) -> None:
        """A gradient that overflows leaves its loss finite and breaks the weights: so they are looked at, too."""
        model: nn.Module = self.model  # type: ignore[attr-defined]
        sums = [shard(weight).float().sum() for weight in model.parameters() if weight.requires_grad]
        if any(anywhere([~torch.isfinite(each) for each in sums])):
            step = self.state.global_step  # type: ignore[attr-defined]
            raise NotFiniteError(step, [], last_whole_checkpoint(self.args.output_dir))  # type: ignore[attr-defined]

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._check_weights()
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"  # type: ignore[attr-defined]
        folder = os.path.join(self.args.output_dir, name)  # type: ignore[attr-defined]
        if self.is_world_process_zero():  # type: ignore[attr-defined]
            discard(folder)  # of a run that was killed while it wrote: no file of it may pass for one of this save
        wait()
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # type: ignore[attr-defined]
        try:  # earlier checkpoints go only once this one is whole
            super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
            wait()
            if self.is_world_process_zero():  # type: ignore[attr-defined]
                seal(folder, self.configuration)
        except (OSError, RuntimeError, SafetensorError) as error:
            if self.is_world_process_zero():  # type: ignore[attr-defined]
                discard(folder)
            kept = last_whole_checkpoint(self.args.output_dir)  # type: ignore[attr-defined]
            raise OSError(
                f"{folder} could not be written ({error}); "
                f"{f'{kept} is the last good checkpoint' if kept else 'there is no checkpoint'}: make room and start "
                "the same command again"
            ) from error
        finally:
            self.args.save_total_limit = limit  # type: ignore[attr-defined]
        self._forget_old_checkpoints()

    def _forget_old_checkpoints(self) -> None:
        from transformers.trainer_utils import rotate_checkpoints

        args, state = self.args, self.state  # type: ignore[attr-defined]
        if args.should_save:
            rotate_checkpoints(
                output_dir=args.output_dir,
                save_total_limit=args.save_total_limit,
                best_model_checkpoint=state.best_model_checkpoint,
            )


class OnlyDeclaredMoves(TrainerCallback):
    """Checks the first step with a learning rate worth the name: what is declared has moved, all else is bit-equal.

    A declared parameter may stay where it is if no gradient reached it: a closed gate, or LoRA's A while B is zero.

    Args:
        declared: patterns of parameter names. model: whose parameters they are.

    Raises:
        ValueError: a pattern fits no trainable parameter, or a trainable parameter fits no pattern.
        AssertionError: a frozen parameter has changed, or a declared one with a gradient has not.
    """

    def __init__(self, declared: Sequence[str], model: nn.Module):
        self.before: dict[str, torch.Tensor] | None = None
        self.pulled: list[str] = []
        self.done = False
        trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        idle = [pattern for pattern in declared if not fnmatch.filter(trainable, pattern)]
        if idle:
            raise ValueError(f"declared as trained, but no trainable parameter is called so: {', '.join(idle)}")
        undeclared = [name for name in trainable if not any(fnmatch.fnmatch(name, pattern) for pattern in declared)]
        if undeclared:
            raise ValueError(
                f"{len(undeclared)} parameters would be trained that are not declared, as {undeclared[0]}"
            )

    def on_pre_optimizer_step(
        self, args: Any, state: Any, control: Any, model: nn.Module, optimizer: Any, **kwargs: Any
    ) -> None:
        if self.done or max(group["lr"] for group in optimizer.param_groups) < CERTAIN_LR:
            return
        self.before = fingerprints(model)
        found = {name: has_gradient(parameter) for name, parameter in model.named_parameters()}
        self.pulled = [name for name, pulled in zip(found, anywhere(list(found.values())), strict=True) if pulled]

    def on_optimizer_step(
        self, args: Any, state: Any, control: Any, model: nn.Module, optimizer: Any, **kwargs: Any
    ) -> None:
        if self.before is None or getattr(optimizer, "step_was_skipped", False):
            return
        before, self.before, self.done = self.before, None, True
        trainable = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
        found = {name: (before[name] != value).any() for name, value in fingerprints(model).items()}
        moved = {name for name, other in zip(found, anywhere(list(found.values())), strict=True) if other}
        changed, idle = sorted(moved - trainable), [name for name in self.pulled if name not in moved]
        if changed:
            raise AssertionError(f"{len(changed)} frozen parameters have changed in a step, as {changed[0]}")
        if idle:
            raise AssertionError(
                f"{len(idle)} parameters have a gradient and were not moved, as {idle[0]}: the optimizer does not "
                "have them, or the step was lost in the rounding of their type"
            )


class TellEpoch(TrainerCallback):
    """Tells sampler and data set the epoch: loaders that skip batches of a resumed epoch, of several processes, do
    not."""

    def __init__(self) -> None:
        self.told: dict[str, Any] = {}

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        for each in self.told.values():
            each.epoch = int((state.epoch or 0) + 1e-6)  # a sum of steps' shares, which may be just short of the whole


class StepLines(TrainerCallback):
    """Losses and measures as lines of the log, and so on stderr."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any], **kwargs: Any) -> None:
        if state.is_world_process_zero:
            shown = {name: f"{value:.4g}" for name, value in logs.items() if isinstance(value, (int, float))}
            pairs = ", ".join(f"{name} {value}" for name, value in shown.items() if name != "total_flos")
            logger.info("step %d of %d: %s", state.global_step, state.max_steps, pairs)


class QuietBar(ProgressCallback):
    """The Trainer's progress bar without its lines, which go to stdout."""

    def on_log(self, *args: Any, **kwargs: Any) -> None: ...


def fingerprints(model: nn.Module) -> dict[str, torch.Tensor]:
    """Of every parameter, on its device, a number that any changed bit is all but certain to change."""
    found = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            bits = shard(parameter).flatten().view(torch.uint8)
            total = torch.zeros(1, dtype=torch.int64, device=bits.device)
            for piece in bits.split(1 << 24):  # a sum of bytes first makes eight of each
                total += piece[::2].sum(dtype=torch.int64) * 65537 + piece.sum(dtype=torch.int64)
            found[name] = total
    return found


def epoch_steps(rows: int, training: TrainingArguments) -> int:
    """Optimizer steps of an epoch of `rows` examples, as the Trainer counts them."""
    batch = training.train_batch_size * training.world_size
    batches = rows // batch if training.dataloader_drop_last else math.ceil(rows / batch)
    return max(1, math.ceil(batches / training.gradient_accumulation_steps))


def planned_steps(rows: int, training: TrainingArguments) -> int:
    """Optimizer steps of a run on `rows` examples, as the Trainer counts them."""
    if training.max_steps > 0:
        return training.max_steps
    return math.ceil(training.num_train_epochs * epoch_steps(rows, training))


def has_gradient(parameter: nn.Parameter) -> torch.Tensor:
    """Whether one worth the name reached this process's shard; a shard may be empty."""
    if parameter.grad is None:
        return torch.zeros((), dtype=torch.bool, device=parameter.device)
    return (shard(parameter.grad).abs() > CERTAIN_LR).any()


def shard(tensor: torch.Tensor) -> torch.Tensor:
    """What this process holds of a tensor that FSDP2 has spread over all, or the tensor itself."""
    return getattr(tensor.detach(), "to_local", tensor.detach)()


def anywhere(flags: list[torch.Tensor]) -> list[bool]:
    """Which of the flags are set on this process or another: one wait for the device."""
    if not flags:
        return []
    together = torch.stack([flag.to(flags[0].device) for flag in flags]).int()
    if dist.is_available() and dist.is_initialized():
        dist.all_reduce(together, dist.ReduceOp.MAX)
    return together.bool().tolist()


def wait() -> None:
    """Until every process is here, where there are several."""
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
