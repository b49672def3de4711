# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A handful of clips with annotations, as a manifest: what stage 3 is tested on."""

import json
from pathlib import Path
from typing import Any

from small_clips import good_clips
from tiny_model import make_tiny_model

TEXT = "In the video, she frowns. In the audio, her voice is {}. Therefore, she is {}."


def rows(folder: Path) -> list[dict[str, Any]]:
    """Four samples: both media with a text, both with cues, video alone, sound alone."""
    both, longer, silent, sound, other = (str(path) for path in good_clips(folder / "clips"))
    cues = [
        {"text": "He smiles", "modality": "visual"},
        {"text": "His voice is high", "modality": "audio"},
        {"text": "He is glad", "modality": "global"},
    ]
    return [
        {"id": "a", "video": both, "text": TEXT.format("low", "angry"), "subtitle": "Well.", "label": "angry"},
        {"id": "b", "video": longer, "cues": cues, "label": "happy"},
        {"id": "c", "video": silent, "text": TEXT.format("flat", "tired")},
        {"id": "d", "audio": sound, "text": "In the audio, he sighs. Therefore, he is sad."},
        {"id": "e", "video": other, "text": TEXT.format("loud", "upset"), "subtitle": {"en": "No!"}},
    ]


def training_place(folder: Path) -> Path:
    """A folder with a tiny model and the manifest of `rows`, as stage 3 takes them."""
    make_tiny_model(folder / "model")
    write_manifest(folder / "train.jsonl", rows(folder))
    return folder


def write_manifest(path: Path, samples: list[dict[str, Any]]) -> Path:
    """A .jsonl manifest."""
    path.write_text("".join(json.dumps(row) + "\n" for row in samples), encoding="utf-8")
    return path
