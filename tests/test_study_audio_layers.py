# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The probe of the audio tower's layers: it finds what is there, and the document shows its numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_audio_layers")


def test_probe_finds_what_features_hold_and_nothing_else(study: ModuleType) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(400, 30))
    shown = np.stack([features[:, 3] > 0.8, rng.random(400) < 0.2], 1)
    known, asked = slice(0, 300), slice(300, 400)
    penalty, scores = study.probe(features[known], shown[known].astype(float), features[asked])
    assert penalty in study.PENALTIES
    assert scores.shape == (100, 2)
    assert study.mean_average_precision(scores[:, :1], shown[asked, :1]) > 0.7
    assert study.mean_average_precision(scores[:, 1:], shown[asked, 1:]) < 0.4
    moved = study.probe(features[known] * 7 + 5, shown[known].astype(float), features[asked] * 7 + 5)
    np.testing.assert_allclose(moved[1], scores, atol=1e-6)  # scale and origin of a channel do not matter


def test_cues_of_pitch_are_scored_apart_for_men_and_women(study: ModuleType) -> None:
    rng = np.random.default_rng(0)
    shown = rng.random((200, len(study.AUDIO))) < 0.3
    male = np.arange(200) % 2 == 0
    scores = rng.random(shown.shape)
    scores[~male] += shown[~male]  # of women everything is heard, of men nothing
    others = [i for i, cue in enumerate(study.AUDIO) if cue not in study.PITCH]
    scores[np.ix_(np.flatnonzero(male), others)] += shown[np.ix_(np.flatnonzero(male), others)]
    drawn = [rng.integers(200, size=200) for _ in range(50)]
    found = study.by_voice(scores, shown, male, drawn)
    assert found["women"] == 1.0
    assert 0.2 < found["men"] < 0.5
    assert found["women - men"]["gain"] == found["women"] - found["men"]
    low, high = found["women - men"]["interval"]
    assert 0.4 < low < found["women - men"]["gain"] < high < 0.8


def test_summary_keeps_the_order_of_quarters(study: ModuleType) -> None:
    steps = np.repeat([[0.0, 4.0], [1.0, 3.0], [2.0, 2.0], [3.0, 1.0]], 5, axis=0)
    found = study.summary(steps).reshape(7, 2)
    np.testing.assert_allclose(found[:4, 0], [0, 1, 2, 3])
    np.testing.assert_allclose(found[5], [3.0, 4.0])
    np.testing.assert_allclose(found[6], 3 / 19)


def test_document_shows_what_was_measured(root: Path) -> None:
    measured = json.loads((root / "results/audio_layers.json").read_text(encoding="utf-8"))
    document = (root / "docs/tiny.md").read_text(encoding="utf-8")
    assert measured["dirty"] is False
    assert f"{measured['clips']['train']} clips" in document.replace(",", "")
    for layers, row in measured["layers"].items():
        low, high = row["interval"]
        assert f"| {layers} | {row['mean_average_precision']:.2f} ({low:.2f}-{high:.2f}) |" in document
    pitch = measured["layers"]["2"]["pitch_by_voice"]
    told = f"{pitch['women']:.2f} for women's voices and {pitch['men']:.2f} for men's, apart by"
    low, high = pitch["women - men"]["interval"]
    assert f"{told} {pitch['women - men']['gain']:.2f} ({low:.2f} to {high:.2f})" in " ".join(document.split())
