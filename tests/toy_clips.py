# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A corpus in which the caption can be read off the clip: colours and pitches that stand for emotions, brightness that
always rises. Even a random tower tells them apart, so stages 1 and 2 can learn it within seconds."""

import json
from pathlib import Path

import numpy as np
from media_factory import STEADY, tone, write_media

EMOTIONS = {  # label -> colour, pitch in Hz
    "sad": ((30, 60, 220), 150.0),
    "angry": ((230, 20, 20), 900.0),
    "glad": ((240, 220, 30), 1900.0),
    "calm": ((20, 200, 60), 420.0),
}


def toy_clip(path: Path, label: str, seed: int, seconds: float = 0.5) -> Path:
    """Sixteen frames of one colour that grow brighter, and a tone."""
    rng = np.random.default_rng(seed)
    colour, pitch = EMOTIONS[label]
    brightness = np.linspace(0.25, 1.0, 16)[:, None, None, None]
    frames = np.asarray(colour) * brightness * rng.uniform(0.8, 1.0) + rng.integers(-8, 8, (16, 32, 32, 3))
    sound = tone(seconds * rng.uniform(0.8, 1.2), hertz=pitch * rng.uniform(0.95, 1.05)) * rng.uniform(0.3, 1.0)
    return write_media(path, frames.clip(0, 255).astype(np.uint8), audio=sound.astype(np.float32), options=STEADY)


def toy_corpus(folder: Path, count: int = 16, first: int = 0) -> Path:
    """Writes `count` clips and their manifest; returns the manifest. The caption is the label's, so it repeats."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(first, first + count):
        label = list(EMOTIONS)[number % len(EMOTIONS)]
        name = f"clip_{number:03d}"
        toy_clip(folder / f"{name}.mp4", label, number)
        caption = f"She looks and sounds {label}."
        rows.append({"id": name, "video": f"{name}.mp4", "label": label, "caption": caption})
    manifest = folder / "manifest.jsonl"
    manifest.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return manifest
