# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Clips in memory and their tensors, for tests of the model."""

from typing import Any

import numpy as np
import torch

ANSWER = "In the video, the woman frowns."


def frames(count: int = 16, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 40, 56, 3), dtype=np.uint8)


def voice(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * 16000))).astype(np.float32)


def clips(processor: Any) -> list[list[dict[str, Any]]]:
    """Conversations with both media, each alone, and none; of different lengths."""
    return [
        processor.conversation(video=frames(20, 1), audio=voice(0.9, 1), subtitle="Hello there.", instruction="Why?"),
        processor.conversation(video=frames(3, 2), instruction="What do you see? Say it in full."),
        processor.conversation(audio=voice(0.4, 3), subtitle="No.", instruction="Hm?"),
        processor.conversation(video=frames(16, 4), audio=voice(0.6, 4), instruction="And now?"),
        processor.conversation(subtitle="Only text.", instruction="Well?"),
    ]


def tensors(processor: Any, messages: list, answer: bool = False, **kwargs: Any) -> dict[str, torch.Tensor]:
    """Model inputs; with `answer` each conversation is answered and `labels` are there, -100 off the answer."""
    if answer:
        batch = messages if isinstance(messages[0], list) else [messages]
        messages = [[*one, {"role": "assistant", "content": ANSWER}] for one in batch]
        kwargs["return_assistant_tokens_mask"] = True
    else:
        kwargs.setdefault("add_generation_prompt", True)
    inputs = dict(
        processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt", **kwargs)
    )
    if answer:
        inputs["labels"] = inputs["input_ids"].masked_fill(inputs.pop("assistant_masks") == 0, -100)
    return inputs
