# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What all stages add to the Trainer: a loss that is no number stops the run, frozen weights stay frozen, checkpoints
are whole."""

import fnmatch
import os
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import TrainerCallback
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from xemogpt.train.checkpoints import discard, last_whole_checkpoint, seal

IDS = "ids"  # key of a batch: names of its samples, which the model never sees


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
    * `declared`: patterns (as of file names) of the parameters that may be trained. Everything else is checked to be
      bit-equal after the first step; a pattern without a trainable parameter is an error.
    * Checkpoints are sealed (`xemogpt.train.checkpoints`); what a failed save leaves is removed, earlier ones stay.
    """

    def __init__(self, *args: Any, declared: Sequence[str] | None = None, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._losses: list[tuple[int, Sequence[str], torch.Tensor]] = []
        if declared is not None:
            self.add_callback(FrozenStayFrozen(declared, self.model))  # type: ignore[attr-defined]

    def training_step(self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> torch.Tensor:
        """As the Trainer's; remembers the loss on its device, with the ids of the batch."""
        ids = inputs.pop(IDS, ())
        loss = super().training_step(model, inputs, *args, **kwargs)  # type: ignore[misc]
        self._losses.append((self.state.global_step + 1, ids, loss.detach()))  # type: ignore[attr-defined]
        return loss

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
        sums = [weight.detach().float().sum() for weight in model.parameters() if weight.requires_grad]
        if sums and not torch.isfinite(torch.stack(sums)).all():
            step = self.state.global_step  # type: ignore[attr-defined]
            raise NotFiniteError(step, [], last_whole_checkpoint(self.args.output_dir))  # type: ignore[attr-defined]

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        self._check_weights()
        name = f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}"  # type: ignore[attr-defined]
        folder = os.path.join(self.args.output_dir, name)  # type: ignore[attr-defined]
        if self.is_world_process_zero():  # type: ignore[attr-defined]
            discard(folder)  # of a run that was killed while it wrote: no file of it may pass for one of this save
        _wait()
        limit, self.args.save_total_limit = self.args.save_total_limit, None  # type: ignore[attr-defined]
        try:  # earlier checkpoints go only once this one is whole
            super()._save_checkpoint(*args, **kwargs)  # type: ignore[misc]
            _wait()
            if self.is_world_process_zero():  # type: ignore[attr-defined]
                seal(folder)
        except (OSError, RuntimeError) as error:
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


class FrozenStayFrozen(TrainerCallback):
    """Checks after the first step that nothing but the declared parameters has changed.

    Args:
        declared: patterns of parameter names. model: whose parameters they are.

    Raises:
        ValueError: a pattern fits no trainable parameter, or a trainable parameter fits no pattern.
        AssertionError: a frozen parameter has changed.
    """

    def __init__(self, declared: Sequence[str], model: nn.Module):
        self.frozen: dict[str, torch.Tensor] | None = None
        trainable = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        idle = [pattern for pattern in declared if not fnmatch.filter(trainable, pattern)]
        if idle:
            raise ValueError(f"declared as trained, but no trainable parameter is called so: {', '.join(idle)}")
        undeclared = [name for name in trainable if not any(fnmatch.fnmatch(name, pattern) for pattern in declared)]
        if undeclared:
            raise ValueError(
                f"{len(undeclared)} parameters would be trained that are not declared, as {undeclared[0]}"
            )

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        self.frozen = fingerprints(model)

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **kwargs: Any) -> None:
        if self.frozen is None:
            return
        before, self.frozen = self.frozen, None
        after = fingerprints(model)
        changed = [name for name in before if not torch.equal(before[name], after[name])]
        if changed:
            raise AssertionError(f"{len(changed)} frozen parameters have changed in the first step, as {changed[0]}")


def fingerprints(model: nn.Module) -> dict[str, torch.Tensor]:
    """Of every frozen parameter, on its device, a number that any changed bit is all but certain to change."""
    found = {}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                local = getattr(parameter, "to_local", lambda value=parameter: value)()  # this rank's shard
                bits = local.detach().flatten().view(torch.uint8)
                found[name] = (bits[::2].sum(dtype=torch.int64) * 65537 + bits.sum(dtype=torch.int64)).reshape(1)
    return found


def _wait() -> None:
    if dist.is_available() and dist.is_initialized():
        dist.barrier()
