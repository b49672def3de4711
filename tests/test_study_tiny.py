# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The study of the small model: what it counts, on answers written by hand; and the document shows its numbers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from xemogpt.data.synth.exact import Truth
from xemogpt.hub.tiny import recipe
from xemogpt.inference.clips import Clip

SAD, ANGRY = "He looks sad", "He sounds angry"


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_tiny")


def test_obedience_counts_what_is_named_first(study: ModuleType) -> None:
    truth = {name: Truth({}, "sad", "angry", "sad", "video-aligned") for name in "abc"}
    truth["d"] = Truth({}, "sad", "sad", "sad", "consistent")
    told = {
        "visual": {"a": SAD, "b": ANGRY, "c": "In the video, he frowns. In the audio, his voice trembles.", "d": SAD},
        "audio": {"a": ANGRY, "b": ANGRY, "c": ANGRY, "d": SAD},
        "reason": {"a": "Face and voice disagree.", "b": "He is sad.", "c": "He is sad.", "d": "They disagree."},
    }
    found = study.obedience(told, truth)
    assert found["visual"]["names an emotion"]["share"] == pytest.approx(2 / 3)
    assert found["visual"]["names the face's, of these"]["share"] == 0.5
    assert found["visual"]["names the voice's, of these"]["share"] == 0.5
    assert found["visual"]["claims of the other modality"]["share"] == pytest.approx(1 / 3)
    assert found["audio"]["names the voice's, of these"] == {"share": 1.0, "interval": [1.0, 1.0], "n": 3}
    assert found["both"]["tells the conflict"]["share"] == pytest.approx(1 / 3)
    assert found["both"]["tells one where there is none"] == {"share": 1.0, "interval": [1.0, 1.0], "n": 1}
    assert study.share([]) is None


def test_claims_and_the_concluded_emotion(study: ModuleType) -> None:
    text = "In the video, he frowns without a smile. In the audio, his voice trembles. He seems sad. Later, furious."
    assert study.claims({"a": text, "b": "In the audio, his voice trembles."}) == {"visual": 0.5, "audio": 1.0}
    assert study.concluded_emotion(text) == "angry"
    assert study.concluded_emotion("A wall. A door.") is None
    truth = {"a": Truth({"brows_lowered": 1}, "sad", "sad", "angry", "consistent")}
    assert study.emotion({"a": text}, truth)["share"] == 1.0


def test_intervals_are_over_clips(study: ModuleType) -> None:
    truth = {str(index): Truth({"smile": 1}, "happy", "happy", "happy", "consistent") for index in range(20)}
    right, wrong = "In the video, she smiles.", "In the video, she frowns."
    scores = study.exact({name: right if int(name) < 10 else wrong for name in truth}, truth)
    low, high = scores["all"]["f1_interval"]
    assert scores["all"]["f1"] == 0.5
    assert 0.2 < low < 0.4 < 0.6 < high < 0.8
    assert scores["visual"]["f1_interval"] == [low, high]
    assert scores["audio"]["f1_interval"] == [0, 0]
    of_types = study.exact({name: {"smile": 1} if int(name) < 10 else {} for name in truth}, truth)
    assert of_types["visual"]["f1"] == of_types["all"]["f1"] == pytest.approx(2 / 3)


def test_what_is_lost_is_paired(study: ModuleType) -> None:
    truth = {str(index): Truth({"smile": 1}, "happy", "happy", "happy", "consistent") for index in range(20)}
    whole = {name: "In the video, she smiles." if int(name) < 10 else "" for name in truth}
    assert study.lost(whole, whole, truth, "visual") == {"lost": 0, "interval": [0, 0]}
    found = study.lost(whole, {**whole, "0": "", "1": ""}, truth, "visual")
    assert found["lost"] == pytest.approx(20 / 30 - 16 / 28)
    low, high = found["interval"]
    assert 0 <= low < found["lost"] < high < 0.3
    assert study.lost(whole, dict.fromkeys(whole, ""), truth, "audio")["lost"] == 0


def test_controls_take_one_thing_away(study: ModuleType, root: Path) -> None:
    clip = Clip(video="joy.mp4", id="joy", folder=root / "examples")  # as a manifest names it
    changed = study.shuffled(clip)
    assert changed.audio == clip.video
    assert changed.video.shape[0] == 16
    again = study.shuffled(clip).video
    assert np.array_equal(changed.video, again)
    assert study.CONTROLS["no picture"](clip).video is None
    empty = study.CONTROLS["nobody"](clip)
    assert empty.audio == clip.video
    assert empty.video.shape == (16, 128, 128, 3)
    assert empty.video.std() > 1
    assert (empty.video == empty.video[0]).all()
    assert not (empty.video == study.nobody(Clip("sadness.mp4")).video).all()
    still = study.CONTROLS["silence"](clip)
    assert still.video == clip.video
    assert 0 < abs(still.audio).max() < 0.01
    assert study.CONTROLS["no sound"](clip).audio is False


def test_document_shows_what_was_measured(root: Path) -> None:
    measured = json.loads((root / "results/tiny_study.json").read_text(encoding="utf-8"))
    document = (root / "docs/tiny.md").read_text(encoding="utf-8")
    assert measured["weights"] == recipe()["trained"]  # of the checkpoint that is shipped
    assert measured["dirty"] is False
    for split, row in measured["splits"].items():
        scores = row["exact"]["all"]
        low, high = scores["f1_interval"]
        told = (scores["floor"], scores["precision"], scores["recall"])
        cells = " | ".join(f"{value:.2f}" for value in told)
        assert f"| `{split}` | {scores['f1']:.2f} ({low:.2f}-{high:.2f}) | {cells} |" in document
    for name, control in measured["controls"].items():
        claims = control["claims"]
        assert f"| {claims['visual']:.1f} | {claims['audio']:.1f} |" in document, name
    shuffled = measured["controls"]["frames shuffled"]["lost"]["visual"]
    low, high = shuffled["interval"]
    assert f"{shuffled['lost']:.2f} of visual F1 ({low:.2f} to {high:.2f})" in document
    assert f"--skip {measured['skipped']} --clips {measured['clips']}" in document


def test_document_quotes_what_was_said_of_real_footage(root: Path) -> None:
    measured = json.loads((root / "results/tiny_footage.json").read_text(encoding="utf-8"))
    section = (root / "docs/tiny.md").read_text(encoding="utf-8").partition("## Real footage")[2].partition("\n## ")[0]
    quotes = re.findall(r'"([^"]+)"', " ".join(section.split()))
    assert len(quotes) > 4
    said = " ".join(clip["says"] for clip in measured["clips"])
    assert [part for quote in quotes for part in quote.split(" [...]") if part.strip() not in said] == []
    assert measured["dirty"] is False
