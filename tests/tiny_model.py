# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A random XEmoGPT of a few hundred kilobytes with every real part, for tests."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    CLIPVisionConfig,
    HubertConfig,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
)

TEXT = (
    "In the video, the woman frowns and looks down. In the audio, her voice trembles and she speaks slowly. "
    "Therefore she is sad. ###Human: The audio content is as follows: 在视频中，她皱着眉头。"
)


def tiny_tokenizer(vocab_size: int = 400) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer in Qwen's manner, trained on a few sentences."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=special, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", pad_token="<|endoftext|>")


def vision_config() -> CLIPVisionConfig:
    return CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )


def audio_config(kind: str = "hubert") -> HubertConfig | WhisperConfig:
    if kind == "whisper":
        return WhisperConfig(
            d_model=32,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_layers=1,
            decoder_attention_heads=4,
            decoder_ffn_dim=48,
            num_mel_bins=80,
            vocab_size=64,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=2,
            decoder_start_token_id=1,
        )
    return HubertConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        conv_dim=(16,) * 7,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=4,
        feat_extract_norm="group" if kind == "hubert-group" else "layer",
        do_stable_layer_norm=kind != "hubert-group",
        conv_bias=True,
        vocab_size=8,
    )


def text_config(kind: str = "qwen3", vocab_size: int = 400, tied: bool = True) -> Qwen3Config | LlamaConfig:
    shape = {
        "vocab_size": vocab_size,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 4096,
        "tie_word_embeddings": tied,
        "bos_token_id": None,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.5,  # so that greedy decoding of a random model does not repeat one token
    }
    return LlamaConfig(**shape) if kind == "llama" else Qwen3Config(**shape, head_dim=16)


def tiny_processor(audio: str = "hubert", **kwargs: Any) -> Any:
    """A processor for the tiny model's towers, of real extractors."""
    from xemogpt.processing_xemogpt import XEmoGPTProcessor, XEmoGPTVideoProcessor

    extractor = WhisperFeatureExtractor() if audio == "whisper" else Wav2Vec2FeatureExtractor()
    video = XEmoGPTVideoProcessor(size=32, crop_size=32)
    return XEmoGPTProcessor.build(tiny_tokenizer(), video, extractor, audio_config(audio), **kwargs)


def make_tiny_model(
    out: Path, audio: str = "hubert", text: str = "qwen3", seed: int = 0, tied: bool = True, **config_kwargs: object
) -> Path:
    """Writes a random model folder; `audio` is `hubert`, `hubert-group` or `whisper`, `text` is `qwen3` or `llama`."""
    from xemogpt.hub.compose import compose
    from xemogpt.processing_xemogpt import XEmoGPTVideoProcessor

    tokenizer = tiny_tokenizer()
    extractor = WhisperFeatureExtractor() if audio == "whisper" else Wav2Vec2FeatureExtractor()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return compose(
            vision_config(),
            audio_config(audio),
            text_config(text, len(tokenizer), tied),
            out,
            tokenizer=tokenizer,
            image_processor=XEmoGPTVideoProcessor(size=32, crop_size=32),
            feature_extractor=extractor,
            **config_kwargs,
        )
