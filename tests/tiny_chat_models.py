# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Random chat models of transformers, a few hundred kilobytes each, as folders that load by their Auto classes."""

from pathlib import Path

import torch
from tiny_model import tiny_tokenizer
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    Qwen2AudioConfig,
    Qwen2AudioForConditionalGeneration,
    Qwen2AudioProcessor,
    WhisperFeatureExtractor,
)

TEXT = {
    "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "bos_token_id": None, "eos_token_id": 2, "pad_token_id": 0, "initializer_range": 0.5,
}  # fmt: skip
AUDIO = "<|AUDIO|>", "<|audio_bos|>", "<|audio_eos|>"


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


def tiny_llava(folder: Path) -> Path:
    """LLaVA: pictures, no sound."""
    torch.manual_seed(0)
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<image>"]})
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    text = {"model_type": "llama", "vocab_size": len(tokenizer), **TEXT}
    image = tokenizer.convert_tokens_to_ids("<image>")
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
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": list(AUDIO)})
    audio = {
        "model_type": "qwen2_audio_encoder", "d_model": 32, "encoder_layers": 2, "encoder_attention_heads": 4,
        "encoder_ffn_dim": 48, "num_mel_bins": 80,
    }  # fmt: skip
    text = {"model_type": "qwen2", "vocab_size": len(tokenizer), **TEXT}
    config = Qwen2AudioConfig(
        audio_config=audio, text_config=text, audio_token_index=tokenizer.convert_tokens_to_ids(AUDIO[0])
    )
    Qwen2AudioForConditionalGeneration(config).save_pretrained(folder)
    sounds = WhisperFeatureExtractor(feature_size=80)
    token = f"{AUDIO[1]}{AUDIO[0]}{AUDIO[2]}"
    Qwen2AudioProcessor(sounds, tokenizer, chat_template=template(audio=token)).save_pretrained(folder)
    return folder
