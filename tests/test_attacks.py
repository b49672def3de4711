# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The attacks on EmoCue-360: what they are made of, and that what was measured says what the documents say."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DIMENSIONS = ("visual", "audio", "global")


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_attacks")


@pytest.mark.parametrize(
    ("cue", "opposite"),
    [
        ("she is smiling", "she is not smiling"),
        ("his brows are raised", "his brows are not raised"),
        ("a loud voice", "it is not true that a loud voice"),
        ("he is not sad", "it is not true that he is not sad"),
    ],
)
def test_negation(study: ModuleType, cue: str, opposite: str) -> None:
    from xemogpt.eval.emocue_360.polarity import is_negated

    assert study.negated(cue) == opposite
    assert is_negated(cue) != is_negated(opposite)


def test_what_attacks_are_made_of(study: ModuleType) -> None:
    clips = {
        f"clip {number}": {name: [{"text": f"{name} {number}", "kind": "observation"}] for name in DIMENSIONS}
        for number in range(40)
    }
    made = study.attacks(clips, {name: clips[name] for name in list(clips)[:5]}, seed=0)
    assert made["the reference itself"] == clips
    for name in clips:
        heap = [cue["text"] for cue in made["cues of 30 other clips"][name]["visual"]]
        assert len(set(heap)) == 30
        assert clips[name]["visual"][0]["text"] not in heap
        assert made["another clip's reference"][name] != clips[name]
    assert [len(rows) for rows in made.values()] == [40, 40, 40, 40, 5, 5, 5, 5]
    for name, cues in made["that, of another clip"].items():
        assert cues != clips[name]


def test_the_committed_table(root: Path) -> None:
    """Where the paper's score is taken in, the robust one is not; and the benchmark reached its goal."""
    table = json.loads((root / "results" / "emocue_360_attacks.json").read_text(encoding="utf-8"))
    f1 = {
        row["attack"]: {preset: row[preset]["mean_f1"] for preset in ("official", "robust")} for row in table["rows"]
    }
    assert table["samples"] > 300
    assert f1["the reference itself"] == pytest.approx({"official": 1, "robust": 1})
    assert f1["every reference cue negated"]["official"] > 0.8 > 0.1 > f1["every reference cue negated"]["robust"]
    shuffled, heap = f1["another clip's reference"], f1["cues of 30 other clips"]
    assert heap["official"] > shuffled["official"]
    assert heap["robust"] < shuffled["robust"]
    means = {row["attack"]: row["robust"]["mean"] for row in table["rows"]}
    heap_mean, honest_mean = means["cues of 30 other clips"], means["a person's other description"]
    assert heap_mean > honest_mean  # so `robust` goes by F1, as the document says with these numbers
    document = (root / "docs" / "emocue_360.md").read_text(encoding="utf-8")
    assert f"30 other clips {heap_mean:.3f}, and a person's other\ndescription {honest_mean:.3f}" in document
    assert f1["a person's other description"]["robust"] > heap["robust"]
    speed = json.loads((root / "results" / "emocue_360_speed.json").read_text(encoding="utf-8"))
    assert speed["pairs"] == 10_000
    assert speed["times_faster"] >= 10
