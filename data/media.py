# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Media of messages, decoded ahead of the processor: decoding leaves Python's lock, tokenizers keep one."""

from typing import Any

from xemogpt.media_xemogpt import load_audio, load_video


def decode_media(messages: list[dict[str, Any]], processor: Any) -> None:
    """Replaces, in place, every path in `processor.conversation(...)`'s messages by what the processor would read."""
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "video" and "path" in block:
                block["video"] = load_video(block.pop("path"), processor.num_frames).frames
            elif block["type"] == "audio" and "path" in block:
                rate = block["sampling_rate"] = processor.sampling_rate
                block["audio"] = load_audio(block.pop("path"), rate, processor.max_audio_seconds)
