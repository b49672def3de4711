# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Loads the backbones an XEmoGPT is put together from: image and audio tower, LLM, and its heads' text towers."""

import os
from typing import Any

import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM
from transformers.configuration_utils import PreTrainedConfig
from transformers.modeling_utils import PreTrainedModel
from transformers.models.clip.modeling_clip import CLIPTextModelWithProjection, CLIPVisionModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import logging

from .configuration_xemogpt import CLASS_TOKEN_ENCODERS


def load_vision(source: Any, dtype: torch.dtype | None, feature: str | None = None) -> PreTrainedModel:
    """An image tower, to be read as `vision_feature` says."""
    if isinstance(source, (str, os.PathLike)):
        kind = AutoConfig.from_pretrained(source).model_type
        pooled = feature == "pooled" or (feature is None and kind not in CLASS_TOKEN_ENCODERS)
        source = _load(CLIPVisionModel if kind in ("clip", "clip_vision_model") else AutoModel, source, dtype, pooled)
    elif isinstance(source, PreTrainedConfig):
        source = AutoModel.from_config(getattr(source, "vision_config", source), dtype=dtype)
    return source.vision_model if hasattr(source.config, "vision_config") else source  # of a composite: its image half


def load_audio(source: Any, dtype: torch.dtype | None) -> PreTrainedModel:
    if isinstance(source, (str, os.PathLike)):
        source = _load(AutoModel, source, dtype)
    elif isinstance(source, PreTrainedConfig):
        source = AutoModel.from_config(source, dtype=dtype)
    whole_whisper = source.config.model_type == "whisper" and not isinstance(source, WhisperEncoder)
    return source.get_encoder() if whole_whisper else source


def load_text(source: Any, dtype: torch.dtype | None) -> PreTrainedModel:
    if isinstance(source, (str, os.PathLike)):
        source = _load(AutoModelForCausalLM, source, dtype)
    elif isinstance(source, PreTrainedConfig):
        source = AutoModelForCausalLM.from_config(source, dtype=dtype)
    head = source.get_output_embeddings()
    if head is None:
        raise ValueError(f"text must be a causal LM with its head, not a bare {type(source).__name__}")
    if head.bias is not None or head.in_features != source.config.hidden_size:
        raise ValueError(f"the head of a '{source.config.model_type}' is not a plain matrix, which is not supported")
    return source


def load_sentence_encoder(source: Any, dtype: torch.dtype | None, pooling: str | None = None) -> PreTrainedModel:
    """A frozen text tower, to be read as `text_pooling` says: CLIP's with its projection, or one such as LaBSE."""
    if isinstance(source, (str, os.PathLike)):
        kind = AutoConfig.from_pretrained(source).model_type
        loader = CLIPTextModelWithProjection if kind in ("clip", "clip_text_model") else AutoModel
        return _load(loader, source, dtype, pooled=pooling in (None, "pooled"))
    if isinstance(source, PreTrainedConfig):
        return build_sentence_encoder(source)
    return source


def build_sentence_encoder(config: PreTrainedConfig) -> PreTrainedModel:
    clip = config.model_type == "clip_text_model"
    return CLIPTextModelWithProjection(config) if clip else AutoModel.from_config(config)


def _load(
    loader: Any, source: "str | os.PathLike", dtype: torch.dtype | None, pooled: bool = False
) -> PreTrainedModel:
    """Loads a backbone; unused parts of its checkpoint (CLIP's text tower) are fine, missing weights are not.

    `pooled`: its pooler will be read.
    """
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        model, info = loader.from_pretrained(source, dtype=dtype or "auto", output_loading_info=True)
    finally:
        logging.set_verbosity(verbosity)
    # A pooler nothing reads, and the mask vector of a pre-training that is over, are no loss.
    unread = ("masked_spec_embed",) if pooled else ("masked_spec_embed", "pooler.")
    names = sorted(key for key in info["missing_keys"] if not key.startswith(unread))
    if names:
        hint = "; read it another way than 'pooled'" if all(name.startswith("pooler.") for name in names) else ""
        raise ValueError(
            f"{source} lacks {len(names)} weights of a {type(model).__name__}: {', '.join(names[:5])}{hint}"
        )
    return model


def pad_token_id(text: PreTrainedModel) -> int | None:
    for config in (text.generation_config, text.config):
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            value = getattr(config, name, None)
            if value is not None:
                return value[0] if isinstance(value, (list, tuple)) else value
    return None


__all__ = [
    "build_sentence_encoder",
    "load_audio",
    "load_sentence_encoder",
    "load_text",
    "load_vision",
    "pad_token_id",
]
