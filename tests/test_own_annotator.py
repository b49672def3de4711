# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The measurement of a build by a real model, on three clips and with one kill; and the document shows its numbers."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from xemogpt.data.synth.exact import Truth


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("measure_own_annotator")


def write(folder: Path, published: list[dict], rejects: list[dict]) -> Path:
    folder.mkdir()
    for name, rows in (("provenance", published), ("rejects", rejects)):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_published_cues_are_read_and_every_clip_is_counted_once(study: ModuleType, tmp_path: Path) -> None:
    truth = {name: Truth({"smile": 1, "sigh": 1}, "happy", "happy", "happy", "consistent") for name in "abc"}
    cues = [{"modality": "visual", "text": "She smiles."}, {"modality": "audio", "text": "Her voice is loud."}]
    rejects = [{"id": "c", "stage": "infer", "reason": "no JSON"}]
    rows = [{"id": "a", "cues": cues}, {"id": "b", "cues": cues[:1]}]
    found = study.checked(write(tmp_path / "good", rows, rejects), truth)
    assert found["published"] == 2
    assert found["rejected"] == {"infer: no JSON": 1}
    assert (found["cues"], found["cues_read"]) == (3, 3)
    assert found["exact"]["visual"]["precision"] == 1.0
    assert found["exact"]["audio"]["precision"] == 0.0
    broken = {"missing": rows[:1], "twice": [*rows, rows[0]], "foreign": [*rows, {"id": "x", "cues": []}]}
    for name, wrong in broken.items():
        with pytest.raises(ValueError, match="1 clips are not there exactly once"):
            study.checked(write(tmp_path / name, wrong, rejects), truth)


@pytest.mark.slow
def test_a_killed_build_by_the_embedded_model_is_whole(study: ModuleType, root: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    given = ["--corpus", str(root / "examples"), "--clips", "3", "--work", str(tmp_path / "work"), "--out", str(out)]
    assert study.main([*given, "--kills", "1", "--between", "4", "4", "--in-flight", "2"]) == 0
    found = json.loads(out.read_text())
    assert found["killed"] == 1
    assert found["published"] + sum(found["rejected"].values()) == found["clips"] == 3
    assert found["requests"]["needed"] == 6
    assert found["requests"]["arrived"] <= 6 + 2
    assert found["exact"]["visual"]["f1"] > 0.3


def test_document_shows_what_was_measured(root: Path) -> None:
    measured = json.loads((root / "results/emocue_own_annotator.json").read_text(encoding="utf-8"))
    document = (root / "docs/emocue_builder.md").read_text(encoding="utf-8")
    assert measured["dirty"] is False
    assert measured["clips"] == measured["published"] + sum(measured["rejected"].values())
    assert f"{measured['clips']:,} rendered clips" in document
    assert measured["requests"]["needed"] == 2 * measured["clips"]  # every clip for itself
    exact = measured["exact"]
    for kind in ("visual", "audio"):
        row = exact[kind]
        assert f"| {kind} | {row['precision']:.2f} | {row['recall']:.2f} | {row['f1']:.2f} |" in document
