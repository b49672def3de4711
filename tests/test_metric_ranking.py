# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The ranking of models by metrics: that a model which says more of what is there ranks higher, and the document."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest


@pytest.fixture(scope="module")
def composed(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_metric_validity")


@pytest.fixture(scope="module")
def study(composed: ModuleType, script: Callable[[str], ModuleType]) -> ModuleType:
    script("study_tiny")
    return script("study_metric_ranking")


def test_models_are_ranked_by_what_they_say(
    composed: ModuleType, study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = {str(index): story for index, story in enumerate(composed.stories(24))}
    texts = {
        name: composed.told(story, np.random.default_rng(0), held_out=False).text for name, story in clips.items()
    }
    manifest = [{"id": name, "video": f"{name}.mp4", "text": {"en": text}} for name, text in texts.items()]
    truth = [
        {
            "id": name,
            "cues": [{"type": cue.type, "polarity": 1} for cue in story.cues],
            **{"face": story.face, "voice": story.voice, "label": story.label, "subset": "consistent"},
        }
        for name, story in clips.items()
    ]
    for file, rows in (("manifest", manifest), ("truth", truth)):
        (tmp_path / f"{file}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def answers(asked: list, task: str, folder: Path, name: str, model: str, batch_size: int) -> dict[str, str]:
        assert (task, batch_size) == ("reason", 16)
        kept = {"all": 1.0, "half": 0.5, "none": 0.0}[model.rpartition("/")[2]] * (0.5 if "no-sound" in name else 1.0)
        rng = np.random.default_rng(1)
        return {each.id: composed.told(composed.thinned(clips[each.id], kept, 0.0, rng), rng).text for each in asked}

    monkeypatch.setattr(study, "answers", answers)
    monkeypatch.setattr(study, "CONTROLS", {"no sound": study.CONTROLS["no sound"]})
    models, out = ["runs/all", "runs/half", "runs/none"], tmp_path / "out.json"
    options = ["--corpus", str(tmp_path), "--answers", str(tmp_path / "said"), "--out", str(out)]
    assert study.main(["--models", *models, *options, "--clips", "20"]) == 0
    found = json.loads(out.read_text())
    exact = {name: row["exact F1"] for name, row in found["systems"].items()}
    assert list(exact) == [f"{name}, {way}" for name in ("all", "half", "none") for way in ("as it is", "no sound")]
    assert exact["all, as it is"] > 0.9 > exact["all, no sound"] > exact["half, no sound"] > exact["none, as it is"]
    assert exact["none, no sound"] == 0.0
    assert found["clips"] == 20
    assert found["correlations"]["robust, no global"]["kendall"] > 0.5
    both = {name for name in exact if name.endswith("as it is")}
    ranked = study.correlations({name: {"scores": found["systems"][name], "samples": {}} for name in both})
    assert found["correlations with both media"]["BLEU-1"]["spearman"] == ranked["BLEU-1"]["spearman"]
    assert found["correlations with both media"] != found["correlations"]
    with pytest.raises(SystemExit, match="2"):
        study.main(["--models", "a/x", "b/x", *options])


def test_document_shows_what_was_measured(root: Path) -> None:
    measured = json.loads((root / "results/metric_ranking.json").read_text(encoding="utf-8"))
    document = (root / "docs/emocue_360.md").read_text(encoding="utf-8")
    assert measured["dirty"] is False
    assert f"{len(measured['systems'])} systems" in document
    for name, row in measured["correlations"].items():
        cells = []
        for found in (row, measured["correlations with both media"][name]):
            low, high = found["kendall_interval"]
            cells.append(f"{found['kendall']:.2f} ({low:.2f} to {high:.2f})")
        assert f"| {name} | {cells[0]} | {cells[1]} |" in document
    for name, row in measured["differences"].items():
        low, high = row["interval"]
        assert f"| {name} | {row['kendall']:.2f} ({low:.2f} to {high:.2f}) |" in document
