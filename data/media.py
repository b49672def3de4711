# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Media of messages, decoded ahead of the processor: decoding leaves Python's lock, tokenizers keep one."""

from typing import Any

from xemogpt.inputs_xemogpt import sample_indices
from xemogpt.media_xemogpt import load_audio, load_video, resample


def decode_media(messages: list[dict[str, Any]], processor: Any) -> None:
    """Replaces, in place, every path in `processor.conversation(...)`'s messages by what the processor would read.

    A path may also be that of a clip that `xemogpt synth --arrays` wrote (.npz), as video and as audio.
    """
    for message in messages:
        for block in message["content"] if isinstance(message["content"], list) else ():
            if block["type"] == "video" and "path" in block:
                block["video"] = _video(block.pop("path"), processor.num_frames)
            elif block["type"] == "audio" and "path" in block:
                rate = block["sampling_rate"] = processor.sampling_rate
                block["audio"] = _audio(block.pop("path"), rate, processor.max_audio_seconds)


def _video(path: Any, num_frames: int) -> Any:
    if not str(path).endswith(".npz"):
        return load_video(path, num_frames).frames
    from xemogpt.data.synth.corpus import load_arrays

    frames, _ = load_arrays(path)
    return frames[sample_indices(len(frames), num_frames)]


def _audio(path: Any, rate: int, max_seconds: float | None) -> Any:
    if not str(path).endswith(".npz"):
        return load_audio(path, rate, max_seconds)
    from xemogpt.data.synth.corpus import RATE, load_arrays

    _, sound = load_arrays(path)
    return resample(sound, RATE, rate)[: None if max_seconds is None else round(max_seconds * rate)]
