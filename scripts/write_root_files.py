# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Writes the root's Hub files (the full-size model's configuration, processor and template) from the code's defaults.

python scripts/write_root_files.py            # a test fails where they differ from the code
"""

import json
from pathlib import Path

from tokenizers import Tokenizer, models
from transformers import GenerationConfig, PreTrainedTokenizerFast, Wav2Vec2FeatureExtractor

from xemogpt.configuration_xemogpt import QWEN3_4B, XEmoGPTConfig
from xemogpt.processing_xemogpt import AUDIO_TOKEN, CHAT_TEMPLATE, VIDEO_TOKEN, XEmoGPTProcessor
from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor


def root_files() -> dict[str, str]:
    """File name -> content."""
    config = XEmoGPTConfig()
    config.architectures = ["XEmoGPTForConditionalGeneration"]
    config.dtype = "bfloat16"
    generation = GenerationConfig(
        do_sample=False,
        max_new_tokens=512,
        bos_token_id=QWEN3_4B["bos_token_id"],
        eos_token_id=[QWEN3_4B["eos_token_id"], QWEN3_4B["bos_token_id"]],
        pad_token_id=QWEN3_4B["pad_token_id"],
        suppress_tokens=[config.video_token_id, config.audio_token_id],
    )
    # The tokenizer is the LLM's own and no part of processor_config.json: any that knows the placeholders will do.
    placeholders = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()))
    placeholders.add_tokens([VIDEO_TOKEN, AUDIO_TOKEN], special_tokens=True)
    processor = XEmoGPTProcessor(
        XEmoGPTVideoProcessor(), Wav2Vec2FeatureExtractor(return_attention_mask=True), placeholders
    ).to_dict()
    processor["auto_map"] = {"AutoProcessor": "processing_xemogpt.XEmoGPTProcessor"}
    processor["image_processor"]["auto_map"] = {
        "AutoImageProcessor": "video_processing_xemogpt.XEmoGPTVideoProcessor",
    }
    return {
        "config.json": _without_version(config.to_json_string()),
        "generation_config.json": _without_version(generation.to_json_string()),
        "processor_config.json": json.dumps(processor, indent=2, sort_keys=True) + "\n",
        "chat_template.jinja": CHAT_TEMPLATE,
    }


def _without_version(text: str) -> str:
    content = json.loads(text)
    content.pop("transformers_version", None)
    return json.dumps(content, indent=2, sort_keys=True) + "\n"


def main() -> None:
    root = Path(__file__).resolve().parent.parent
    for name, content in root_files().items():
        (root / name).write_text(content, encoding="utf-8")
        print(root / name)


if __name__ == "__main__":
    main()
