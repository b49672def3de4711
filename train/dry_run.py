# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt train stage3 --dry-run`: everything that can be checked without training, told as text.

A model folder without weights, such as the repository's root, is built on the meta device: what is trained, memory and
steps are told, and what could not be checked is named.
"""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import torch

from xemogpt.data.jsonl import one_line
from xemogpt.train.collator import InstructionCollator
from xemogpt.train.instructions import count_kinds
from xemogpt.train.mixture import Mixture, epoch_rows
from xemogpt.train.trainer import epoch_steps, planned_steps

CLIPS = 3  # that are really decoded
LISTED = 12


def report(arguments: Any, training: Any, mixtures: list[Mixture]) -> str:
    """The report on a run of stage 3.

    Args:
        arguments: `stage3_sft.Arguments`. training: the `SFTConfig`. mixtures: of data and eval_data.

    Raises:
        ValueError, OSError: whatever would stop the run itself: a bad target, a bridge that does not fit, ...
    """
    from xemogpt.train import stage3_sft

    folder = stage3_sft.model_folder(arguments.model)
    whole = not os.path.isdir(folder) or any(Path(folder).glob("*.safetensors"))
    asked = [[stage3_sft.questions(each, arguments) for each in mixture.samples] for mixture in mixtures]
    chosen = epoch_rows(asked[0], mixtures[0].weights, training.seed)
    lines = [f"data: {len(mixtures[0].samples)} clips, {len(chosen)} instructions an epoch {count_kinds(chosen)}"]
    mute = [each.id for each, rows in zip(mixtures[0].samples, asked[0], strict=True) if not rows]
    if mute:
        lines.append(f"left out, no answer of the kinds asked for: {len(mute)} clips, as {mute[0]}")
    lines.append(f"eval_data: {len(mixtures[1].samples)} clips, {sum(map(len, asked[1]))} instructions")
    if whole:
        model, processor, heads = stage3_sft.load(arguments)
        lines += _clips(mixtures[0], asked[0], InstructionCollator(processor))
        if arguments.start_projectors:
            told = stage3_sft.projector_rows(mixtures[0].samples, arguments, lambda sample: None)
            lines.append(f"the projectors start from {dict(Counter(row['kind'] for row in told))} clips")
    else:
        model = _on_meta(folder)
        heads = []
        lines.append(f"not checked: {arguments.model} has no weights here, so clips, bridges and shapes")
    model = stage3_sft.adapt(model, arguments, heads)
    lines += _weights(model, arguments.model_dtype)
    lines += _steps(training, len(chosen))
    return "\n".join(lines) + "\n"


def _on_meta(folder: str) -> Any:
    from xemogpt.configuration_xemogpt import XEmoGPTConfig
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

    config = XEmoGPTConfig.from_pretrained(folder)
    with torch.device("meta"):
        return XEmoGPTForConditionalGeneration(config)


def _clips(mixture: Mixture, asked: list[Any], collator: InstructionCollator) -> list[str]:
    lines = []
    for sample, rows in list(zip(mixture.samples, asked, strict=True))[:CLIPS]:
        for row in rows[:1]:
            try:
                batch = collator([{key: getattr(row, key) for key in collator.KEYS}])
            except ValueError as error:
                lines.append(f"clip {sample.id}: of no use: {one_line(error)}")
                continue
            shapes = ", ".join(
                f"{key} {tuple(value.shape)}" for key, value in batch.items() if hasattr(value, "shape")
            )
            learned = int((batch["labels"] != -100).sum())
            lines.append(f"clip {sample.id}: {shapes}; {learned} tokens of answer: {row.answer[:60]!r}")
    return lines


def _weights(model: Any, dtype: str) -> list[str]:
    """What is trained, and the memory of weights, gradients and AdamW's states; activations come on top."""
    from xemogpt.hub.compose import torch_dtype

    trained = {name: p.numel() for name, p in model.named_parameters() if p.requires_grad}
    frozen = sum(p.numel() for p in model.parameters() if not p.requires_grad)
    count = sum(trained.values())
    parts: dict[str, list[int]] = {}
    for name, size in trained.items():
        part = "LoRA" if ".lora_" in name else name.removeprefix("base_model.model.model.").partition(".")[0]
        parts.setdefault(part, []).append(size)
    lines = [f"trained: {count / 1e6:.2f} M values in {len(trained)} tensors, float32"]
    lines += [f"  {part}: {len(sizes)} tensors, {sum(sizes) / 1e6:.2f} M" for part, sizes in parts.items()]
    names = [name for name in trained if ".lora_A" in name]
    lines.append(f"  LoRA on {len(names)} layers, as {names[0]}")
    size = torch_dtype(dtype).itemsize
    lines.append(f"frozen: {frozen / 1e6:.2f} M values, {dtype}")
    memory = frozen * size + count * 16
    lines.append(
        f"memory: {memory / 2**30:.2f} GiB a process: frozen {frozen * size / 2**30:.2f}, trained weights, gradients "
        f"and AdamW states {count * 16 / 2**30:.2f}; activations come on top"
    )
    return lines


def _steps(training: Any, rows: int) -> list[str]:
    batch = training.per_device_train_batch_size * training.gradient_accumulation_steps * training.world_size
    return [
        f"steps: {planned_steps(rows, training)}, of {batch} instructions ({training.per_device_train_batch_size} a "
        f"process x {training.gradient_accumulation_steps} accumulated x {training.world_size} processes); "
        f"{epoch_steps(rows, training)} an epoch",
        f"device: {training.device}, learning rate {training.learning_rate}, bf16 {bool(training.bf16)}, activation "
        f"checkpointing {bool(training.activation_checkpointing)}",
    ]
