# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Puts an XEmoGPT model folder together from backbones: folders, Hub ids or loaded parts.

    xemogpt compose --vision openai/clip-vit-large-patch14 --audio TencentGameMate/chinese-hubert-large \
        --text Qwen/Qwen3-4B --out xemogpt-4b

Bridges, projectors and cue heads of the result are untrained, and its configuration says so.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PART = ".part"  # ends the name of a folder that is being written


def compose(
    vision: Any,
    audio: Any,
    text: Any,
    out: str | os.PathLike,
    *,
    dtype: Any = None,
    tokenizer: Any = None,
    image_processor: Any = None,
    feature_extractor: Any = None,
    processor_kwargs: dict[str, Any] | None = None,
    title: str | None = None,
    **config_kwargs: Any,
) -> Path:
    """Writes a model folder with weights, processor and code.

    Args:
        vision, audio, text: as in `XEmoGPTForConditionalGeneration.from_backbones`.
        out: the folder to write; it must not exist or be empty.
        dtype: of all weights, e.g. `torch.bfloat16` or `"bfloat16"`; default: each part as it comes.
        tokenizer, image_processor, feature_extractor: needed where the part is not a folder or Hub id.
        processor_kwargs: further arguments of `XEmoGPTProcessor`.
        title: of the model card; default: the folder's name.
        config_kwargs: further fields of `XEmoGPTConfig`.

    Returns:
        The folder.
    """
    import torch
    from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer

    from xemogpt.hub.model_card import write_model_card
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
    from xemogpt.processing_xemogpt import XEmoGPTProcessor

    refuse_full(out)
    if isinstance(dtype, str):
        dtype = torch_dtype(dtype)

    def part(given: Any, loader: Any, source: Any, name: str, of: str) -> Any:
        if given is not None:
            return given
        if not isinstance(source, (str, os.PathLike)):
            raise ValueError(f"{of} is not a folder or Hub id: pass its {name}")
        return loader.from_pretrained(source)

    tokenizer = part(tokenizer, AutoTokenizer, text, "tokenizer", "text")
    image_processor = part(image_processor, AutoImageProcessor, vision, "image_processor", "vision")
    feature_extractor = part(feature_extractor, AutoFeatureExtractor, audio, "feature_extractor", "audio")
    model = XEmoGPTForConditionalGeneration.from_backbones(vision, audio, text, dtype=dtype, **config_kwargs)
    positions = getattr(model.config.text_config, "max_position_embeddings", None)
    if positions is not None and positions < XEmoGPTProcessor.MAX_CONTEXT:
        processor_kwargs = {"max_context": positions} | (processor_kwargs or {})
    processor_kwargs = {"audio_pooling": model.config.audio_pooling} | (processor_kwargs or {})
    processor = XEmoGPTProcessor.build(
        tokenizer, image_processor, feature_extractor, model.config.audio_config, **processor_kwargs
    )
    use_processor_tokens(model, processor)
    if isinstance(dtype, torch.dtype):
        model.to(dtype)
    origin = "It was composed from backbones; nothing of it has been trained for this task."
    with new_folder(out) as folder:
        model.save_pretrained(folder)
        processor.save_pretrained(folder)
        write_model_card(model, folder, origin, title or Path(out).absolute().name)
    return Path(out)


def use_processor_tokens(model: Any, processor: Any) -> None:
    """Makes a model use the placeholder and padding ids of its processor's tokenizer."""
    ids = [processor.video_token_id, processor.audio_token_id]
    model.config.video_token_id, model.config.audio_token_id = ids
    model.generation_config.suppress_tokens = ids
    model.generation_config.pad_token_id = processor.tokenizer.pad_token_id


def empty_folder(path: str | os.PathLike) -> Path:
    """Creates `path`; refuses one that holds anything, so that no checkpoint is half overwritten."""
    refuse_full(path)
    folder = Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def refuse_full(path: str | os.PathLike) -> None:
    """Raises FileExistsError where `path` is a file, or holds more than what a killed run of `new_folder` left."""
    folder = Path(path)
    if folder.exists() and (not folder.is_dir() or any(each.name != PART for each in folder.iterdir())):
        raise FileExistsError(f"{folder} exists and is not empty; choose another --out or remove it")


@contextmanager
def new_folder(path: str | os.PathLike) -> Iterator[Path]:
    """A folder to fill, which becomes `path` once all is in it: a killed run leaves none that could pass for done.

    Raises:
        FileExistsError: see `refuse_full`.
    """
    refuse_full(path)
    folder = Path(path)
    there = folder.is_dir()  # maybe as a mount point, which nothing can be renamed to
    part = folder / PART if there else folder.with_name(folder.name + PART)
    if part.exists():
        shutil.rmtree(part)
    part.mkdir(parents=True)
    try:
        yield part
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise
    if not there:
        part.rename(folder)
        return
    for each in part.iterdir():
        each.rename(folder / each.name)
    part.rmdir()


def own_processor(cls: Any, source: str | os.PathLike) -> Any:
    """The saved processor of a folder or Hub id, as this package's `cls`: no code that comes with it is run."""
    from transformers import AutoFeatureExtractor, AutoTokenizer, PreTrainedConfig

    from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

    loaders: dict[str, Any] = {"feature_extractor": AutoFeatureExtractor, "tokenizer": AutoTokenizer}
    described, _ = cls.get_processor_dict(source)
    parts = []
    for name in cls.get_attributes():
        own = {"config": PreTrainedConfig()} if name == "tokenizer" else {}  # the model's, which it would not know
        loader = loaders.get(name, XEmoGPTVideoProcessor)
        parts.append(loader.from_pretrained(source, trust_remote_code=False, **own))
    return cls.from_args_and_dict(parts, described)


def torch_dtype(name: str) -> Any:
    """`"bfloat16"`, `"bf16"`, `"float16"`, ... -> the torch dtype."""
    import torch

    aliases = {"bf16": "bfloat16", "fp16": "float16", "half": "float16", "fp32": "float32", "float": "float32"}
    dtype = getattr(torch, aliases.get(name, name), None)
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"unknown dtype {name!r}; use bfloat16, float16 or float32")
    return dtype
