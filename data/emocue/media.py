# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Clips as the content of a message: frames as JPEG images, sound as a WAV file, both in base64."""

import base64
import io
import wave
from typing import Any

import numpy as np

FRAMES, LONG_SIDE, QUALITY = 16, 448, 85
RATE, MOST_SECONDS = 16000, 60.0


def frame_parts(path: str, frames: int = FRAMES, long_side: int = LONG_SIDE) -> list[dict[str, Any]]:
    """`frames` frames spread over the clip, upright, at most `long_side` pixels long.

    Raises:
        MediaError, OSError: the file cannot be read.
    """
    from PIL import Image

    from xemogpt.media_xemogpt import load_video

    parts = []
    for frame in load_video(path, frames).frames:
        image = Image.fromarray(frame)
        image.thumbnail((long_side, long_side), Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=QUALITY)
        url = f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
        parts.append({"type": "image_url", "image_url": {"url": url}})
    return parts


def audio_part(path: str, most_seconds: float = MOST_SECONDS) -> dict[str, Any]:
    """The sound as 16 kHz mono, 16 bit.

    Raises:
        MediaError, OSError: the file cannot be read.
    """
    from xemogpt.media_xemogpt import load_audio

    samples = load_audio(path, RATE, most_seconds)  # (L,), -1 to 1
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    data = base64.b64encode(buffer.getvalue()).decode()
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
