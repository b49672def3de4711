# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The weights of xemogpt-tiny that this project has trained: everything but SmolLM2 and Whisper, in one small file.

    CHECKPOINT/model.safetensors    vision tower, bridges, projectors, cue heads as they are; for the LLM the LoRA
                                    factors of its linear layers, `NAME.lora_A` (r, in) and `NAME.lora_B` (out, r)
    CHECKPOINT/README.md            the model card

`pack` writes it from what the stages leave, `apply` puts it into a freshly composed model: the factors are added to
the LLM's weights, so that what comes out needs no PEFT.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

FILE = "model.safetensors"
WHOLE = (
    "vision_tower",
    "video_bridge",
    "audio_bridge",
    "video_projector",
    "audio_projector",
    "video_cue_head",
    "audio_cue_head",
)
CARD = """---
library_name: transformers
license: apache-2.0
pipeline_tag: video-text-to-text
language: [en]
tags: [xemogpt, emotion-recognition, explainable, multimodal]
---

# The trained parts of xemogpt-tiny

Vision tower, both bridges, cue heads, projectors and LoRA factors, in bfloat16; SmolLM2-135M-Instruct and Whisper
tiny.en come from their authors (`xemogpt tiny` puts all together). Trained on EmoCue-Synth alone: rendered heads and
synthesised voices whose cues are known. It is there to show that the parts work and to be tried out. Of real people it
has seen none, so what it says of them is no evidence; it must not be used to judge anybody.

What it gets right and wrong on rendered clips that it has not seen: `docs/tiny.md`. `scripts/train_tiny.sh` is the
whole way to these weights; its stages follow.
"""


def _sizes(config: Any) -> dict[str, Any]:
    """What of the configuration the weights depend on."""
    return {
        "video_text_size": config.video_text_size,
        "audio_text_size": config.audio_text_size,
        "audio_pooling": config.audio_pooling,
        "audio_layers": config.audio_config.num_hidden_layers,
    }


def pack(adapter: str | os.PathLike, out: str | os.PathLike, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Writes `out/model.safetensors` from an adapter of stage 3 and the model it was trained on.

    Returns:
        The file.

    Raises:
        FileNotFoundError: no adapter there, or its model is gone.
        ValueError: something between the parts is still untrained.
    """
    from peft import PeftModel

    from xemogpt.hub.merge import adapter_of
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

    described, source = adapter_of(adapter)
    base = XEmoGPTForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
    trained = set(described.modules_to_save or ())
    if untrained := [part for part in base.config.untrained_parts if part not in trained]:
        raise ValueError(f"{adapter}: {', '.join(untrained)} of the model it belongs to are untrained")
    adapted = PeftModel.from_pretrained(base, adapter)
    model, config = adapted.base_model.model.model, base.config
    tensors: dict[str, torch.Tensor] = {}
    for name, module in model.language_model.named_modules():
        if hasattr(module, "lora_A"):
            factors = {
                "A": module.lora_A["default"].weight * module.scaling["default"],
                "B": module.lora_B["default"].weight,
            }
            tensors |= {f"language_model.{name}.lora_{letter}": factor for letter, factor in factors.items()}
    for part in WHOLE:
        module = getattr(model, part)
        module = module.modules_to_save["default"] if hasattr(module, "modules_to_save") else module
        tensors |= {f"{part}.{name}": tensor for name, tensor in module.state_dict().items()}
    path = Path(out) / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    told = {"sizes": json.dumps(_sizes(config))}
    kept = {name: tensor.to(dtype) if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    save_file({name: tensor.detach().contiguous() for name, tensor in kept.items()}, path, metadata=told)
    path.chmod(0o644)  # safetensors keeps it from everybody else
    return path


def write_card(out: str | os.PathLike, runs: Sequence[str | os.PathLike]) -> Path:
    """Writes `out/README.md`: what the weights are, and the cards of the runs that they come from, headed by the names
    of their folders, since a stage may have been run more than once.

    Raises:
        FileNotFoundError: a run without its card.
    """
    cards = [Path(run, "README.md").read_text(encoding="utf-8").split("---\n", 2)[2] for run in runs]
    headings = [f"\n## {Path(run).name}: " for run in runs]
    parts = [card.replace("\n# XEmoGPT, ", heading) for card, heading in zip(cards, headings, strict=True)]
    path = Path(out) / "README.md"
    path.write_text(CARD + "".join(parts), encoding="utf-8")
    return path


def read_sizes(folder: str | os.PathLike) -> dict[str, int]:
    """The sizes that a model must have to take the weights; those of the audio tower show in none."""
    with safe_open(Path(folder) / FILE, "pt") as file:
        return json.loads(file.metadata()["sizes"])


def apply(model: Any, folder: str | os.PathLike) -> None:
    """Puts the weights into an `XEmoGPTForConditionalGeneration`, in place; it has no untrained part afterwards.

    Raises:
        ValueError: the model is of another size, or a weight is missing, unexpected or of another shape; the model
            is as it was.
    """
    inner: nn.Module = model.model
    with safe_open(Path(folder) / FILE, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no dict
    every = inner.state_dict()
    own = {name: tensor for name, tensor in every.items() if name.partition(".")[0] in WHOLE}
    ranks = {name.removesuffix(".lora_A"): len(tensor) for name, tensor in tensors.items() if name.endswith(".lora_A")}
    adapted = {name: every[f"{name}.weight"] for name in sorted(ranks) if f"{name}.weight" in every}
    wanted = {name: [*tensor.shape] for name, tensor in own.items()}
    for name, weight in adapted.items():
        height, width = weight.shape
        wanted |= {f"{name}.lora_A": [ranks[name], width], f"{name}.lora_B": [height, ranks[name]]}
    given = {name: [*tensor.shape] for name, tensor in tensors.items()} | read_sizes(folder)
    wanted |= _sizes(model.config)
    problems = [f"missing {name}" for name in sorted(wanted.keys() - given.keys())]
    problems += [f"unexpected {name}" for name in sorted(given.keys() - wanted.keys())]
    problems += [
        f"{name} is {given[name]}, not {size}" for name, size in wanted.items() if given.get(name, size) != size
    ]
    if problems:
        more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
        raise ValueError(f"{folder}: does not fit this model: {'; '.join(problems[:5])}{more}")
    with torch.no_grad():
        for name, target in own.items():
            target.copy_(tensors[name])
        for name, weight in adapted.items():
            change = tensors[f"{name}.lora_B"].float() @ tensors[f"{name}.lora_A"].float()
            weight.copy_(weight.float() + change)
    model.config.untrained_parts = []
