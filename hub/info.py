# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What a model consists of, read from its configuration and the headers of its weights: no weight is loaded."""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1, "F8_E5M2": 1, "I64": 8, "I32": 4, "I16": 2, "I8": 1}


@dataclass
class Part:
    """One part of a model: its number of parameters, their size on disk, and the types they are stored in."""

    name: str
    parameters: int = 0
    bytes: int = 0
    dtypes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Description:
    """A model in figures. `tokens_per_clip` are those of the frames, `tokens_per_second` those of the sound."""

    model: str
    parts: list[Part]
    tokens_per_clip: int
    tokens_per_second: float
    untrained_parts: list[str]
    has_weights: bool

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        total = Part("total", sum(part.parameters for part in self.parts), sum(part.bytes for part in self.parts))
        lines = [f"{self.model}{'' if self.has_weights else ' (a configuration without weights)'}"]
        for part in [*self.parts, total]:
            partly = any(name.startswith(f"{part.name}.") for name in self.untrained_parts)
            mark = "  untrained" if part.name in self.untrained_parts else "  partly untrained" if partly else ""
            size = f"{part.bytes / 1e6:>10.2f} MB"
            lines.append(f"{part.name:<16}{part.parameters:>15,}{size}  {'+'.join(part.dtypes):<8}{mark}".rstrip())
        rate = f"{self.tokens_per_clip} for the frames of a clip, {self.tokens_per_second:g} for each second of sound"
        lines.append(f"tokens: {rate}")
        if self.has_weights:
            lines.append(f"untrained: {', '.join(self.untrained_parts) or 'nothing'}")
        return "\n".join(lines)


def describe(model: str | os.PathLike | None = None) -> Description:
    """Parts, sizes and token rates of a model folder or Hub id; None is the embedded small model.

    A folder without weights (a bare configuration) is counted on the meta device.

    Raises:
        ValueError: not an XEmoGPT model. OSError: it cannot be found or read.
    """
    from transformers import PreTrainedConfig

    from xemogpt.configuration_xemogpt import XEmoGPTConfig

    name = os.fspath(model) if model is not None else "xemogpt-tiny"
    if name == "xemogpt-tiny":
        from xemogpt.hub.tiny import tiny_path

        model = tiny_path()
    source = os.path.expanduser(os.fspath(model or name))
    if os.path.isfile(source):
        raise NotADirectoryError(f"{name}: is a file, not a model folder")
    raw, _ = PreTrainedConfig.get_config_dict(source)
    if raw.get("model_type") != XEmoGPTConfig.model_type:
        raise ValueError(f"{name}: holds a model of type {raw.get('model_type')!r}, not an XEmoGPT")
    config = XEmoGPTConfig.from_dict(raw)
    tensors = list(_stored(source))
    parts: dict[str, Part] = {}
    for key, shape, kind in tensors or _planned(config):
        inside = key.removeprefix("model.").partition(".")[0].replace("lm_head", "language_model")  # its head
        part = parts.setdefault(inside, Part(inside))
        part.parameters += prod(shape)
        part.bytes += prod(shape) * BYTES.get(kind, 1)
        part.dtypes = tuple(sorted({*part.dtypes, kind}))
    return Description(
        model=name,
        parts=list(parts.values()),
        tokens_per_clip=config.num_frames,
        tokens_per_second=_audio_rate(config.audio_config) / config.audio_pooling,
        untrained_parts=list(config.untrained_parts),
        has_weights=bool(tensors),
    )


def _stored(source: str) -> Iterator[tuple[str, list[int], str]]:
    """Name, shape and type of every stored tensor, from the headers of the safetensors files."""
    if os.path.isdir(source):
        from safetensors import safe_open

        for path in sorted(Path(source).glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - not a mapping
                    tensor = file.get_slice(key)
                    yield key, tensor.get_shape(), tensor.get_dtype()
    else:
        from huggingface_hub import get_safetensors_metadata

        for header in get_safetensors_metadata(source).files_metadata.values():
            for key, tensor in header.tensors.items():
                yield key, tensor.shape, tensor.dtype


def _planned(config: Any) -> Iterator[tuple[str, list[int], str]]:
    """The same of a model that a configuration describes, built without memory; tied weights count once."""
    import torch

    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

    with torch.device("meta"):
        model = XEmoGPTForConditionalGeneration(config)
    short = {torch.bfloat16: "BF16", torch.float16: "F16", torch.float64: "F64"}
    for key, parameter in model.named_parameters():
        yield key, list(parameter.shape), short.get(config.dtype or torch.float32, "F32")


def _audio_rate(config: Any) -> float:
    """Audio steps per second: 16 kHz over the strides of a waveform tower; 100 mel frames over Whisper's two."""
    return 100 / 2 if config.model_type == "whisper" else 16000 / prod(config.conv_stride)
