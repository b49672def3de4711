# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The study of metrics on known cues: what the descriptions hold, and that the document shows what was measured."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scipy.stats import kendalltau

from xemogpt.data.synth.phrasing import read_cues


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_metric_validity")


def test_descriptions_hold_the_cues_that_they_count(study: ModuleType) -> None:
    clips = study.stories(12)
    made = study.systems(clips)
    assert len(made) == 21
    assert [each.text for each in made["another clip"]] == [each.text for each in study.systems(clips)["another clip"]]
    for name, sign in (("100% of the cues, 100% false", 1), ("all cues denied", -1)):
        read = [read_cues(each.text) for each in made[name]]
        meant = [each.cues for each in made[name]]
        agree = [cue in here and here[cue] == sign for here, cues in zip(read, meant, strict=True) for cue in cues]
        assert np.mean(agree) > 0.95  # the reader knows nearly every phrasing
    for index, story in enumerate(clips):
        true = {cue.type for cue in story.cues}
        assert made["100% of the cues, 0% false"][index].cues.keys() == true
        doubled = made["100% of the cues, 100% false"][index].cues.keys()
        assert doubled > true
        assert len(doubled) == 2 * len(true)
        assert not made["0% of the cues, 100% false"][index].cues.keys() & true
        assert made["all cues, another emotion"][index].cues.keys() == true


def test_ranks_are_those_of_the_scores(study: ModuleType) -> None:
    truth, same, opposite = (0.0, 0.4, 0.7, 1.0), (1.0, 2.0, 3.0, 4.0), (4.0, 3.0, 2.0, 1.0)
    table = {
        str(row): {
            "scores": {"exact F1": f1, "same": a, "opposite": b},
            "samples": {"exact F1": [f1, f1], "same": [a, b]},
        }
        for row, (f1, a, b) in enumerate(zip(truth, same, opposite, strict=True))
    }
    found = study.correlations(table)
    assert (found["same"]["kendall"], found["opposite"]["spearman"]) == pytest.approx((1.0, -1.0))
    assert found["same"]["kendall_within_clips"] == pytest.approx(0.0)  # one clip up, one down
    assert "kendall_within_clips" not in found["opposite"]


def test_resampled_ranks_are_scipys(study: ModuleType) -> None:
    rng = np.random.default_rng(1)
    a, b, rows = rng.integers(4, size=9), rng.normal(size=9), rng.integers(9, size=9)
    weights = np.array([np.ones(9), np.bincount(rows, minlength=9)])
    expected = [kendalltau(a, b).statistic, kendalltau(a[rows], b[rows]).statistic]
    assert study.kendall(a, b, weights) == pytest.approx(expected)


def test_a_difference_that_every_resample_has_excludes_zero(study: ModuleType) -> None:
    f1 = np.linspace(0, 1, 8)
    names = {name for pair in study.COMPARED for name in pair} - {"CIDEr"}
    scores = {str(each): {"exact F1": each, "CIDEr": -each} | dict.fromkeys(names, each) for each in f1.tolist()}
    found = study.differences(scores)
    better = found.pop("EmoCue-360 official - CIDEr")
    assert [better["kendall"], *better["interval"]] == pytest.approx([2, 2, 2])
    assert all([row["kendall"], *row["interval"]] == pytest.approx([0, 0, 0]) for row in found.values())


def test_document_shows_what_was_measured(study: ModuleType, root: Path) -> None:
    measured = json.loads((root / "results/metric_validity.json").read_text(encoding="utf-8"))
    document = (root / "docs/emocue_360.md").read_text(encoding="utf-8")
    assert measured["dirty"] is False
    for name, row in measured["correlations"].items():
        low, high = row["kendall_interval"]
        within = row.get("kendall_within_clips")
        shown = "-" if within is None else f"{within:.2f}"
        assert f"| {name} | {row['kendall']:.2f} ({low:.2f} to {high:.2f}) | {shown} |" in document
    for name, row in study.differences(measured["systems"]).items():
        low, high = row["interval"]
        assert measured["differences"][name] == {
            "kendall": pytest.approx(row["kendall"]),
            "interval": pytest.approx([low, high]),
        }
        assert f"| {name} | {row['kendall']:.2f} ({low:.2f} to {high:.2f}) |" in document
    for name in ("100% of the cues, 0% false", "0% of the cues, 100% false", "all cues denied"):
        assert f"{measured['systems'][name]['EmoCue-360 official']:.3f}" in document
