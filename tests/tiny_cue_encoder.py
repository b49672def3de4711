# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Random cue encoders of a few hundred kilobytes, with the two kinds of text tower, for tests."""

from pathlib import Path
from typing import Any

import torch
from tiny_model import TEXT, audio_config, vision_config
from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
from transformers import (
    BertConfig,
    BertModel,
    CLIPTextConfig,
    PreTrainedTokenizerFast,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)


def sentence_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer that puts every text between [CLS] and [SEP]."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([TEXT] * 4, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", eos_token="[SEP]"
    )


def clip_text_config() -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=400,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=77,
        projection_dim=24,
        bos_token_id=2,
        eos_token_id=3,  # with 2, CLIP takes the token of the highest id for the last
        pad_token_id=0,
    )


def bert_config() -> BertConfig:
    return BertConfig(vocab_size=400, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4)


def make_text_tower(out: Path) -> Path:
    """Writes a folder with a random sentence encoder, 32 wide, and its tokenizer."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        BertModel(bert_config()).save_pretrained(out)
    sentence_tokenizer().save_pretrained(out)
    return out


def quiet(config: Any) -> Any:
    """Without dropout, so that two runs draw nothing and can be compared."""
    for name in ("attention_dropout", "hidden_dropout", "activation_dropout"):
        setattr(config, name, 0.0)
    return config


def make_video_encoder(out: Path, seed: int = 0, **kwargs: Any) -> Path:
    """Writes a folder with a random video cue encoder and its processor."""
    from xemogpt.alignment_processing_xemogpt import XEmoGPTVideoCueProcessor
    from xemogpt.alignment_xemogpt import XEmoGPTVideoCueEncoder
    from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = XEmoGPTVideoCueEncoder.from_towers(
            vision_config(), clip_text_config(), **{"cue_embedding_size": 24, **kwargs}
        )
    encoder.save_pretrained(out)
    processor = XEmoGPTVideoCueProcessor(
        XEmoGPTVideoProcessor(size=32, crop_size=32), sentence_tokenizer(), encoder.config.num_frames
    )
    processor.save_pretrained(out)
    return out


def make_audio_encoder(out: Path, seed: int = 0, audio: str = "hubert", **kwargs: Any) -> Path:
    """Writes a folder with a random audio cue encoder and its processor; `audio`: see `tiny_model.audio_config`."""
    from xemogpt.alignment_processing_xemogpt import XEmoGPTAudioCueProcessor
    from xemogpt.alignment_xemogpt import XEmoGPTAudioCueEncoder

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        encoder = XEmoGPTAudioCueEncoder.from_towers(
            quiet(audio_config(audio)), bert_config(), **{"cue_embedding_size": 24, "text_pooling": "mean", **kwargs}
        )
    encoder.save_pretrained(out)
    extractor = (
        WhisperFeatureExtractor() if audio == "whisper" else Wav2Vec2FeatureExtractor(return_attention_mask=True)
    )
    XEmoGPTAudioCueProcessor(extractor, sentence_tokenizer()).save_pretrained(out)
    return out
