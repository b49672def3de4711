# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 3: instruction tuning (section III-D). Both bridges and projectors, and LoRA on the LLM; towers are frozen.

    xemogpt train stage3 --config recipes/tiny/stage3.yaml
    accelerate launch --config_file recipes/accelerate/ddp.yaml -m xemogpt train stage3 \
        --config recipes/xemogpt-4b/stage3.yaml

The loss is next-token prediction on the answer only; each sample's kind of instruction says which branch it may train
(`xemogpt.train.instructions`), and the model's gate keeps every gradient out of the other.
"""

import dataclasses
import itertools
import logging
import os
import random
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from xemogpt.data.jsonl import JsonLines
from xemogpt.data.media import decode_media
from xemogpt.train.checkpoints import last_whole_checkpoint, rows_digest
from xemogpt.train.collator import InstructionCollator
from xemogpt.train.instructions import ALONE, GATES, Instruction, count_kinds, held_media, instructions
from xemogpt.train.mixture import Checked, Mixture, check_clips, epoch_rows, noted_clips, read_mixture
from xemogpt.train.projector_start import share_projectors, start_projectors

logger = logging.getLogger(__name__)

WHOLE_PARTS = ("video_bridge", "audio_bridge", "video_projector", "audio_projector")
LANGUAGE_MODEL = r"model\.language_model\."


@dataclass
class Arguments:
    """Settings of stage 3 beside those of TRL's `SFTConfig`."""

    model: str = field(default="tiny", metadata={"help": "folder or Hub id; `tiny` is the embedded default"})
    model_dtype: str = field(default="float32", metadata={"help": "of the frozen weights; trained ones are float32"})
    attn_implementation: str | None = field(
        default=None, metadata={"help": "attention kernel, as transformers names it; default: its own choice"}
    )
    video_bridge: str | None = field(default=None, metadata={"help": "cue encoder folder of stage 1"})
    audio_bridge: str | None = field(default=None, metadata={"help": "cue encoder folder of stage 2"})
    adapter: str | None = field(default=None, metadata={"help": "output folder of a stage 3 to go on from"})
    start_projectors: int = field(default=0, metadata={"help": "clips to solve the projectors from first; 0: none"})
    data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "[{manifest: PATH, weight: 1.0}, ...]"})
    eval_data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "likewise, for validation"})
    kinds: list[str] = field(
        default_factory=lambda: ["reason", "visual", "audio"], metadata={"help": f"of {', '.join(GATES)}"}
    )
    languages: list[str] = field(default_factory=lambda: ["en"], metadata={"help": "of en, zh"})
    blind: float = field(default=0.0, metadata={"help": "share of `reason` that loses picture, sound or both"})
    gating: bool = field(default=True, metadata={"help": "false lets every sample train both branches (ablation)"})
    lora_r: int = field(default=16, metadata={"help": "rank"})
    lora_alpha: int = field(default=16, metadata={"help": "scale times rank"})
    lora_dropout: float = field(default=0.05, metadata={"help": "on LoRA's input"})
    lora_targets: list[str] = field(
        default_factory=lambda: ["q_proj", "k_proj", "v_proj"], metadata={"help": "names of linear layers of the LLM"}
    )
    media_learning_rate: float | None = field(
        default=None, metadata={"help": "of bridges and projectors; default: learning_rate"}
    )
    check: bool = field(default=True, metadata={"help": "read every clip once before training"})
    max_rejects: float = field(default=0.1, metadata={"help": "stop where a larger share of the clips is of no use"})


def main(arguments: Arguments, training: Any, dry_run: bool = False) -> None:
    """Trains an adapter and saves it into `training.output_dir`; called again after a kill it goes on.

    Args:
        training: a `trl.SFTConfig`. dry_run: check and report everything, train nothing.
    """
    _check(arguments, training)
    from transformers import set_seed

    set_seed(training.seed)
    mixtures = [read_mixture(arguments.data), read_mixture(arguments.eval_data, weighted=False)]
    if not mixtures[0].samples:
        raise ValueError("data names no manifest, or an empty one: set data: [{manifest: PATH}]")
    shared = {each.id for each in mixtures[0].samples} & {each.id for each in mixtures[1].samples}
    if shared:
        raise ValueError(f"{len(shared)} samples are both in data and eval_data, as {min(shared)}")
    if dry_run:
        from xemogpt.train.dry_run import report

        sys.stdout.write(report(arguments, training, mixtures))
        return
    model, processor, heads = load(arguments)
    collator = InstructionCollator(processor, arguments.gating)
    train, evaluation = (
        rows(mixture, arguments, training, collator, name)
        for mixture, name in zip(mixtures, ("data", "eval_data"), strict=True)
    )
    if arguments.start_projectors and last_whole_checkpoint(training.output_dir) is None:
        model.to(training.device)
        if training.process_index == 0:
            readable = {id.rpartition("#")[0] for id in train["id"]}
            samples = [each for each in mixtures[0].samples if each.id in readable]
            random.Random(training.seed).shuffle(samples)  # manifests come one after another
            told = projector_rows(samples, arguments)
            start_projectors(model, collator, told, training.dataloader_num_workers)
        share_projectors(model)
    _trainer(arguments, training, adapt(model, arguments, heads), processor, collator, train, evaluation)


def _check(arguments: Arguments, training: Any) -> None:
    """What the settings rule out, and what stage 3 needs of TRL's."""
    if unknown := set(arguments.kinds) - set(GATES):
        raise ValueError(f"kinds: unknown {', '.join(sorted(unknown))}; choose from {', '.join(GATES)}")
    if unknown := set(arguments.languages) - {"en", "zh"}:
        raise ValueError(f"languages: unknown {', '.join(sorted(unknown))}; choose from en, zh")
    if not 0 <= arguments.blind <= 1:
        raise ValueError(f"blind is a share from 0 to 1, not {arguments.blind}")
    if not arguments.kinds or not arguments.languages:
        raise ValueError("kinds and languages must name at least one each")
    if arguments.start_projectors < 0:
        raise ValueError(f"start_projectors is a number of clips, not {arguments.start_projectors}")
    taken = [name for name in ("video_bridge", "audio_bridge", "start_projectors") if getattr(arguments, name)]
    if arguments.adapter is not None and taken:
        raise ValueError(f"adapter brings bridges and projectors of its own: leave out {' and '.join(taken)}")
    if arguments.media_learning_rate is not None and not arguments.media_learning_rate > 0:
        raise ValueError(f"media_learning_rate is a number above 0, not {arguments.media_learning_rate}")
    if training.packing or training.padding_free:
        raise ValueError(
            "packing and padding_free are not possible: media and gates belong to the rows of a batch; use "
            "train_sampling_strategy: group_by_length to save padding"
        )
    if training.chat_template_path is not None:
        raise ValueError(
            "chat_template_path is not possible: media and answers are found by the processor's own template"
        )
    if training.max_length not in (None, type(training).max_length):
        raise ValueError(f"max_length {training.max_length}: no prompt is cut here, media would be lost; leave it out")
    if arguments.model_dtype != "float32" and not (training.bf16 or training.fp16):
        raise ValueError(
            f"model_dtype {arguments.model_dtype} with float32 trained weights needs autocast: set bf16: true"
        )
    if training.load_best_model_at_end and not arguments.eval_data:
        raise ValueError("load_best_model_at_end needs eval_data, a validation split")
    training.remove_unused_columns = False
    training.max_length = None
    training.dataset_kwargs = {**(training.dataset_kwargs or {}), "skip_prepare_dataset": True}


def load(arguments: Arguments) -> tuple[Any, Any, list[str]]:
    """The model, with the bridges of stages 1 and 2 put in, its processor, and the cue heads that came with them."""
    from xemogpt.hub.compose import own_processor, torch_dtype
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
    from xemogpt.processing_xemogpt import XEmoGPTProcessor

    source = model_folder(arguments.model)
    dtype = torch_dtype(arguments.model_dtype)
    model = XEmoGPTForConditionalGeneration.from_pretrained(
        source, dtype=dtype, attn_implementation=arguments.attn_implementation
    )
    processor = own_processor(XEmoGPTProcessor, source)
    heads = []
    for part in WHOLE_PARTS:  # they are trained in float32, and what was learnt in it is not rounded here
        getattr(model.model, part).float()
    for folder, media in ((arguments.video_bridge, "video"), (arguments.audio_bridge, "audio")):
        if folder is None:
            continue
        size = getattr(model.config, f"{media}_text_size")
        getattr(model.model, f"{media}_cue_head").float()
        install_bridge(model, folder, media)
        if getattr(model.config, f"{media}_text_size") == size:
            heads.append(f"{media}_cue_head")
        else:
            logger.warning(
                "the %s cue head of %s will not be in the adapter: compose the model with %s_text_size=%d to keep it",
                *(media, folder, media, getattr(model.config, f"{media}_text_size")),
            )
    return model, processor, heads


def model_folder(name: str) -> str:
    """What transformers loads by a recipe's `model`: an id, or a folder's full path, by which an adapter names it."""
    if name != "tiny":
        folder = os.path.expanduser(name)
        return os.path.abspath(folder) if os.path.isdir(folder) else folder
    from xemogpt.hub.tiny import tiny_path

    return str(tiny_path())


def install_bridge(model: Any, folder: str, media: str) -> None:
    """Puts the bridge and cue head that stage 1 or 2 has left in `folder` into `model`; strict.

    Raises:
        ValueError: it is an encoder of the other medium, of another tower, or of another shape.
        FileNotFoundError: there is none.
    """
    from xemogpt.alignment_xemogpt import XEmoGPTAudioCueEncoder, XEmoGPTVideoCueEncoder
    from xemogpt.train.alignment_handover import install

    encoder = {"video": XEmoGPTVideoCueEncoder, "audio": XEmoGPTAudioCueEncoder}[media]
    try:
        found = encoder.config_class.get_config_dict(folder)[0].get("model_type")
    except OSError as error:
        stage = "stage 1" if media == "video" else "stage 2"
        raise FileNotFoundError(
            f"{media}_bridge: there is no cue encoder {folder}: run {stage} first, or set {media}_bridge: null"
        ) from error
    if found != encoder.config_class.model_type:
        raise ValueError(f"{media}_bridge: {folder} holds a {found!r}, not a {encoder.config_class.model_type!r}")
    install(encoder.from_pretrained(folder, dtype=torch.float32), model)


def adapt(model: Any, arguments: Arguments, heads: Sequence[str] = ()) -> Any:
    """The PEFT model: LoRA on the LLM's declared layers, bridges and projectors trained whole, in float32.

    It is `arguments.adapter`, or a new one. `heads` are saved with the adapter as they are: cue heads belong to their
    bridges.

    Raises:
        ValueError: the targets fit no linear layer of the LLM, or the adapter is one of other settings.
        FileNotFoundError: there is no such adapter.
    """
    from peft import LoraConfig, PeftModel, get_peft_model

    from xemogpt.hub.merge import adapter_of

    names = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    inside = [name for name in names if name.startswith("model.language_model.")]
    for target in arguments.lora_targets:
        if not any(name.endswith(f".{target}") for name in inside):
            known = sorted({name.rpartition(".")[2] for name in inside})
            elsewhere = next((name for name in names if name.endswith(target)), None)
            hint = f" (there is {elsewhere}, but only the LLM gets LoRA)" if elsewhere else ""
            raise ValueError(f"lora_targets: the LLM has no linear layer {target!r}{hint}; it has {', '.join(known)}")
    config = LoraConfig(
        r=arguments.lora_r,
        lora_alpha=arguments.lora_alpha,
        lora_dropout=arguments.lora_dropout,
        # The full path: a bare name would also fit the towers and the bridges.
        target_modules=rf"{LANGUAGE_MODEL}.*\.({'|'.join(arguments.lora_targets)})",
        modules_to_save=[*WHOLE_PARTS, *heads],
        task_type="CAUSAL_LM",
    )
    if arguments.adapter is None:
        adapted = get_peft_model(model, config)
    else:
        try:
            before, _ = adapter_of(arguments.adapter, model_folder(arguments.model))
        except ValueError as error:
            raise ValueError(f"adapter: {error}: set model") from error
        _refuse_other_lora(before, config, arguments.adapter)
        heads = [part for part in before.modules_to_save if part not in WHOLE_PARTS]
        for head in heads:
            getattr(model.model, head).float()
        adapted = PeftModel.from_pretrained(model, arguments.adapter, is_trainable=True)
        adapted.peft_config["default"].base_model_name_or_path = model_folder(arguments.model)  # that may have moved
    for head in heads:
        getattr(model.model, head).requires_grad_(False)
    for parameter in adapted.parameters():
        if parameter.requires_grad and parameter.dtype in (torch.bfloat16, torch.float16):
            parameter.data = parameter.data.float()
    return adapted


def _refuse_other_lora(before: Any, now: Any, adapter: str) -> None:
    """Raises ValueError where the recipe asks for a LoRA of another shape than that of the adapter to go on from."""
    for name in ("r", "lora_alpha", "lora_dropout", "target_modules"):
        if getattr(before, name) != getattr(now, name):
            raise ValueError(
                f"adapter: {adapter} has {name} {getattr(before, name)!r}, the recipe {getattr(now, name)!r}: set "
                "lora_r, lora_alpha, lora_dropout and lora_targets as that run did"
            )
    if missing := set(WHOLE_PARTS) - set(before.modules_to_save or ()):
        raise ValueError(f"adapter: {adapter} lacks {', '.join(sorted(missing))}: stage 3 has not made it")


def declared(model: Any) -> list[str]:
    """Patterns of what an adapted model trains: LoRA, and of the whole parts those that have weights."""
    inner = model.get_base_model().model
    parts = [part for part in WHOLE_PARTS if next(getattr(inner, part).parameters(), None) is not None]
    return ["*lora_A*", "*lora_B*", *(f"*{part}.modules_to_save*" for part in parts)]


def questions(sample: Any, arguments: Arguments, media: Sequence[str] | None = None) -> list[Instruction]:
    """The instructions of a sample; `media`: what its files hold."""
    return list(instructions(sample, arguments.kinds, arguments.languages, arguments.blind, media))


def projector_rows(
    samples: Sequence[Any], arguments: Arguments, held: Callable[[Any], Sequence[str] | None] = held_media
) -> list[dict[str, Any]]:
    """What `start_projectors` learns from: for each medium the first samples that hold it and tell what it shows."""
    told: list[dict[str, Any]] = []
    for kind in ALONE:
        rows = (
            _row(each)
            for sample in samples
            for each in instructions(sample, [kind], arguments.languages, media=held(sample))
        )
        told += itertools.islice(rows, arguments.start_projectors)
    return told


def rows(mixture: Mixture, arguments: Arguments, training: Any, collator: InstructionCollator, name: str) -> Any:
    """The instructions of a mixture as a `datasets.Dataset`, without those that cannot be used.

    Raises:
        ValueError: more clips than `max_rejects` are of no use; all are listed in rejects.jsonl.
    """
    import datasets

    if not mixture.samples:
        return None
    asked = {each.id: questions(each, arguments) for each in mixture.samples}

    lock = threading.Lock()

    def read(sample: Any) -> tuple[dict[str, int], list[str]]:
        if not asked[sample.id]:
            raise ValueError(f"has no answer of the kinds {', '.join(arguments.kinds)}: it needs a text or cues")
        media = held_media(sample)
        rows = [_row(each) for each in questions(sample, arguments, media)]
        if not rows:
            raise ValueError(f"holds {' and '.join(media)} alone, of which it tells nothing that is asked for")
        made = [collator.conversation(row) for row in rows]
        with lock:  # tokenizers refuse to be used by two threads at once
            counts = [collator.count(conversation) for conversation in made]
        alike: dict[tuple[str, ...], list[int]] = {}  # rows with the same media, which are decoded once
        for index, conversation in enumerate(made):
            alike.setdefault(
                tuple(block["type"] for block in conversation[0]["content"] if "path" in block), []
            ).append(index)
        lengths: dict[str, int] = {}
        for indices in alike.values():
            longest = max(indices, key=counts.__getitem__)
            decode_media(made[longest], collator.processor)
            with lock:
                whole = collator.tensors([rows[longest]], [made[longest]])["input_ids"].shape[1]
            lengths |= {rows[index]["id"]: whole - counts[longest] + counts[index] for index in indices}
        return lengths, media

    checked: dict[str, Checked] = {}
    if arguments.check:
        folder = Path(training.output_dir, f"check-{name}")
        settings = [arguments.kinds, arguments.languages, arguments.blind]
        with training.main_process_first(local=False, desc="check clips"):
            if training.process_index == 0:
                workers = max(2, training.dataloader_num_workers)
                checked = check_clips(mixture.samples, read, folder, settings, workers)
            else:
                checked = noted_clips(mixture.samples, folder)
        _report(checked, name, folder / "rejects.jsonl", arguments.max_rejects)
        found = {
            each.id: [] if checked[each.id].reason else questions(each, arguments, checked[each.id].media)
            for each in mixture.samples
        }
        if training.process_index == 0:
            _report_absent(asked, found, checked, folder / "absent.jsonl")
        asked = found
    usable = list(asked.values())
    chosen = epoch_rows(usable, mixture.weights, training.seed)
    if not chosen:
        raise ValueError(f"{name}: no sample is left to use")
    logger.info("%s: %d instructions %s", name, len(chosen), count_kinds(chosen))

    # In tokens; where clips were not read, of their answers alone.
    lengths = {id: length for each in checked.values() for id, length in each.lengths.items()}
    if not checked:
        answers = {each.id: each.answer for each in chosen}
        lengths = {id: len(collator.processor.tokenizer(answer)["input_ids"]) for id, answer in answers.items()}
    return datasets.Dataset.from_list([_row(each) | {"length": lengths[each.id]} for each in chosen])


def _report(checked: dict[str, Checked], name: str, where: Path, allowed: float) -> None:
    """Says how many clips are of no use; raises ValueError where these are too many."""
    refused = {id: each.reason for id, each in checked.items() if each.reason is not None}
    if not refused:
        return
    share, first = len(refused) / len(checked), next(iter(refused.items()))
    text = f"{len(refused)} of {len(checked)} clips of {name} are of no use ({first[0]}: {first[1]} ...), see {where}"
    if share > allowed:
        raise ValueError(f"{text}: {share:.0%} is more than max_rejects {allowed:.0%} allows")
    logger.warning("%s; they are left out", text)


def _report_absent(
    asked: dict[str, list[Instruction]],
    found: dict[str, list[Instruction]],
    checked: dict[str, Checked],
    where: Path,
) -> None:
    """Lists, and says, which questions lack the medium that they or their answers are about."""
    lines = []
    for id, rows in asked.items():
        kept = {row.id: row for row in found[id]}
        reason = f"the clip has {' and '.join(checked[id].media)} alone"
        for row in rows if not checked[id].reason else ():
            if row.id not in kept:
                lines.append({"id": row.id, "reason": f"{reason}: left out"})
            elif row.answer != kept[row.id].answer:
                lines.append({"id": row.id, "reason": f"{reason}: the answer tells of nothing else"})
    if lines or where.exists():
        with JsonLines(where, "reason", first="id") as file:
            file.rewrite(lines)
    if lines:
        told = "%d questions are about what their clips lack (%s: %s ...), see %s"
        logger.warning(told, len(lines), lines[0]["id"], lines[0]["reason"], where)


def _row(instruction: Instruction) -> dict[str, Any]:
    return {key: getattr(instruction, key) for key in InstructionCollator.KEYS}


def _trainer(
    arguments: Arguments, training: Any, model: Any, processor: Any, collator: Any, train: Any, evaluation: Any
) -> None:
    """Trains, resumes where a run was killed, and writes the result with its card."""
    import trl.trainer.utils
    from trl import SFTTrainer

    from xemogpt.train.run_card import write_outcome
    from xemogpt.train.trainer import CheckedTrainer

    if not torch.accelerator.is_available() and hasattr(trl.trainer.utils, "_use_triton"):
        # Without Triton, TRL 1.16 sends every position through the LLM's head, for compilers that need fixed shapes. A
        # CPU does not: with the answers' positions alone, as on a GPU, four steps of the small model take 36 s, not 48
        trl.trainer.utils._use_triton = lambda device: True

    class Stage3Trainer(CheckedTrainer, SFTTrainer):
        """TRL's trainer with our checks; its model card of a checkpoint is replaced by that of the run."""

        def create_model_card(self, *args: Any, **kwargs: Any) -> None: ...

        def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
            fresh = self.optimizer is None
            optimizer = super().create_optimizer(*args, **kwargs)
            if fresh and arguments.media_learning_rate is not None:
                _set_apart(optimizer, self.model, arguments.media_learning_rate)
            return optimizer

    trainer = Stage3Trainer(
        model=model,
        args=training,
        train_dataset=train,
        eval_dataset=evaluation,
        data_collator=collator,
        processing_class=processor,
        declared=declared(model),
        settings=dataclasses.asdict(arguments) | {"rows": rows_digest(zip(train["id"], train["answer"], strict=True))},
    )
    resume = training.resume_from_checkpoint or last_whole_checkpoint(training.output_dir)
    trainer.train(resume_from_checkpoint=resume)
    metrics = trainer.evaluate() if evaluation is not None else {}
    trainer.save_model(training.output_dir)
    if trainer.is_world_process_zero():
        write_outcome(trainer, "stage 3", arguments, training, metrics, len(train))


def _set_apart(optimizer: torch.optim.Optimizer, model: Any, learning_rate: float) -> None:
    """Gives bridges and projectors groups, and a learning rate, of their own."""
    media = {id(p) for name, p in model.named_parameters() if any(f".{part}." in name for part in WHOLE_PARTS)}
    found = False
    for group in list(optimizer.param_groups):
        apart = [p for p in group["params"] if id(p) in media]
        group["params"] = [p for p in group["params"] if id(p) not in media]
        if apart:
            optimizer.add_param_group({**group, "params": apart, "lr": learning_rate})
            found = True
    if not found:
        raise ValueError("media_learning_rate: the optimizer has no parameter of a bridge or projector by itself")
