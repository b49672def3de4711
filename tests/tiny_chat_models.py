# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Random chat models of transformers, a few hundred kilobytes each, as folders that load by their Auto classes."""

from collections.abc import Iterable
from pathlib import Path

import torch
from tiny_model import tiny_tokenizer
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaNextImageProcessor,
    LlavaNextVideoConfig,
    LlavaNextVideoForConditionalGeneration,
    LlavaNextVideoProcessor,
    LlavaNextVideoVideoProcessor,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2_5OmniConfig,
    Qwen2_5OmniForConditionalGeneration,
    Qwen2_5OmniProcessor,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
    WhisperFeatureExtractor,
)

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.5,
}  # fmt: skip
AUDIO = "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"
VISION = "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"
QWEN_EYE = {
    "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "patch_size": 8, "window_size": 32,
    "out_hidden_size": 32, "fullatt_block_indexes": [1], "initializer_range": 0.5,
}  # fmt: skip
QWEN_TEXT = TEXT | {"rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}}


def template(video: str = "", image: str = "", audio: str = "") -> str:
    """A chat template that writes one placeholder for each medium."""
    parts = {"video": video, "image": image, "audio": audio}
    cases = "".join(
        "{%- " + ("elif" if index else "if") + f" part['type'] == '{kind}' -%}}{token}"
        for index, (kind, token) in enumerate(parts.items())
    )
    return (
        "{%- for message in messages -%}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] -%}"
        + cases
        + "{%- else -%}{{ part['text'] }}{%- endif -%}{%- endfor -%}<|im_end|>\n{% endfor -%}"
        "{%- if add_generation_prompt -%}<|im_start|>assistant\n{% endif -%}"
    )


def tokenizer_with(tokens: Iterable[str], **named: str) -> tuple[PreTrainedTokenizerFast, dict[str, int]]:
    """The tiny tokenizer and more special tokens, with their ids; `named` ones become its attributes."""
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(tokens)})
    tokenizer._set_model_specific_special_tokens(named)
    return tokenizer, {token: tokenizer.convert_tokens_to_ids(token) for token in tokens}


def tiny_llava(folder: Path) -> Path:
    """LLaVA: pictures, no sound."""
    torch.manual_seed(0)
    tokenizer, ids = tokenizer_with(["<image>"])
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    text = {"model_type": "llama", "vocab_size": len(tokenizer), **TEXT}
    image = ids["<image>"]
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=image, vision_feature_layer=-2)
    LlavaForConditionalGeneration(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    LlavaProcessor(
        pictures, tokenizer, patch_size=8, vision_feature_select_strategy="default", num_additional_image_tokens=1,
        chat_template=template(image="<image>"),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def tiny_qwen2_audio(folder: Path) -> Path:
    """Qwen2-Audio: sound, no pictures."""
    torch.manual_seed(0)
    tokenizer, ids = tokenizer_with(AUDIO)
    audio = {
        "model_type": "qwen2_audio_encoder", "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4,
        "encoder_ffn_dim": 48, "num_mel_bins": 80,
    }  # fmt: skip
    text = {"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT}
    config = Qwen2AudioConfig(audio_config=audio, text_config=text, audio_token_index=ids[AUDIO[0]])
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    sounds = WhisperFeatureExtractor(feature_size=80)
    token = f"{AUDIO[1]}{AUDIO[0]}{AUDIO[2]}"
    Qwen2AudioProcessor(sounds, tokenizer, chat_template=template(audio=token)).save_pretrained(folder)
    return folder


def tiny_llava_next_video(folder: Path) -> Path:
    """LLaVA-NeXT-Video: video, no sound."""
    torch.manual_seed(0)
    tokenizer, ids = tokenizer_with(["<image>", "<video>"])
    vision = {
        "model_type": "clip_vision_model", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
        "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
    }  # fmt: skip
    text = {"model_type": "llama", "vocab_size": len(tokenizer), **TEXT}
    config = LlavaNextVideoConfig(
        vision_config=vision, text_config=text, image_token_index=ids["<image>"], video_token_index=ids["<video>"],
        image_grid_pinpoints=[[32, 32]],
    )  # fmt: skip
    LlavaNextVideoForConditionalGeneration(config).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    LlavaNextVideoProcessor(
        LlavaNextVideoVideoProcessor(**sizes), LlavaNextImageProcessor(image_grid_pinpoints=[[32, 32]], **sizes),
        tokenizer, patch_size=8, vision_feature_select_strategy="default", chat_template=template(video="<video>"),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def qwen_eyes() -> tuple[Qwen2VLImageProcessor, Qwen2VLVideoProcessor]:
    """Qwen's processors for pictures and videos, of at most 32 x 32."""
    pictures = Qwen2VLImageProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 1024})
    return pictures, Qwen2VLVideoProcessor(patch_size=8, size={"shortest_edge": 256, "longest_edge": 4096})


def tiny_qwen2_5_vl(folder: Path) -> Path:
    """Qwen2.5-VL: video, no sound."""
    torch.manual_seed(0)
    tokenizer, ids = tokenizer_with(VISION)
    start, end, image, video = VISION
    config = Qwen2_5_VLConfig(
        vision_config=QWEN_EYE, text_config=QWEN_TEXT | {"vocab_size": len(tokenizer)}, image_token_id=ids[image],
        video_token_id=ids[video], vision_start_token_id=ids[start], vision_end_token_id=ids[end],
    )  # fmt: skip
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)
    pictures, videos = qwen_eyes()
    form = template(video=f"{start}{video}{end}", image=f"{start}{image}{end}")
    Qwen2_5_VLProcessor(pictures, tokenizer, videos, chat_template=form).save_pretrained(folder)
    return folder


def tiny_qwen2_5_omni(folder: Path) -> Path:
    """Qwen2.5-Omni without the part that speaks: video and sound."""
    torch.manual_seed(0)
    start, end, image, video = VISION
    named = dict(zip(("audio_token", "audio_bos_token", "audio_eos_token"), AUDIO, strict=True))
    seen = dict(zip(("vision_bos_token", "vision_eos_token", "image_token", "video_token"), VISION, strict=True))
    tokenizer, ids = tokenizer_with((*AUDIO, *VISION), **named, **seen)
    ear = {
        "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4, "encoder_ffn_dim": 48, "num_mel_bins": 80,
        "output_dim": 32,
    }  # fmt: skip
    thinker = {
        "audio_config": ear, "vision_config": QWEN_EYE, "text_config": QWEN_TEXT | {"vocab_size": len(tokenizer)},
        "audio_token_index": ids[AUDIO[0]], "audio_start_token_id": ids[AUDIO[1]], "image_token_index": ids[image],
        "audio_end_token_id": ids[AUDIO[2]], "video_token_index": ids[video], "vision_start_token_id": ids[start],
        "vision_end_token_id": ids[end],
    }  # fmt: skip
    config = Qwen2_5OmniConfig(thinker_config=thinker, enable_audio_output=False)
    Qwen2_5OmniForConditionalGeneration(config).save_pretrained(folder)
    torch.save({}, folder / "spk_dict.pt")  # the voices, which published checkpoints have
    pictures, videos = qwen_eyes()
    form = template(
        video=f"{start}{video}{end}", image=f"{start}{image}{end}", audio=f"{AUDIO[1]}{AUDIO[0]}{AUDIO[2]}"
    )
    Qwen2_5OmniProcessor(
        pictures, videos, WhisperFeatureExtractor(feature_size=80), tokenizer, chat_template=form
    ).save_pretrained(folder)
    return folder
