# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The sample schema and manifests."""

import json
from pathlib import Path

import pytest

from xemogpt.data.sample import Cue, EmotionSample, read_manifest

ROW = {
    "id": "a",
    "video": "clips/a.mp4",
    "subtitle": "Well.",
    "labels": ["angry", "tired"],
    "text": {"zh": "他生气。"},
    "cues": [{"text": "He frowns.", "modality": "visual", "time": [0.5, 1.0], "polarity": 1}],
}


def test_a_row_goes_in_and_out() -> None:
    sample = EmotionSample.from_row(ROW)
    assert sample.subtitle == {"en": "Well."}
    assert sample.cues_of("visual") == [Cue("He frowns.", "visual", time=(0.5, 1.0))]
    assert sample.cues_of("audio") == []
    assert EmotionSample.from_row(json.loads(json.dumps(sample.to_row()))) == sample


def test_manifest_resolves_paths_against_its_folder(tmp_path: Path) -> None:
    other = {"id": "b", "audio": "/elsewhere/b.wav"}
    (tmp_path / "m.jsonl").write_text(f"{json.dumps(ROW)}\n\n{json.dumps(other)}\n")
    first, second = read_manifest(tmp_path / "m.jsonl")
    assert (first.video, first.audio) == (str(tmp_path / "clips/a.mp4"), None)
    assert (second.video, second.audio) == (None, "/elsewhere/b.wav")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("{", "line 2: Expecting"),
        ("[]", "line 2: is no JSON object"),
        ('{"video": "a.mp4"}', "line 2: a sample without id"),
        ('{"id": "b"}', "neither video nor audio"),
        ('{"id": "a", "video": "a.mp4"}', "'a' was there before"),
        ('{"id": "b", "video": "a.mp4", "lable": "sad"}', "unknown key lable"),
        ('{"id": "b", "video": "a.mp4", "cues": [{"text": "x", "modality": "smell"}]}', "modality 'smell'"),
        ('{"id": "b", "video": "a.mp4", "cues": [{"text": " ", "modality": "visual"}]}', "a cue without text"),
        ('{"id": "b", "video": "a.mp4", "cues": [{"text": "x", "modality": "visual", "polarity": 0}]}', "polarity 0"),
    ],
)
def test_bad_rows_name_their_line(row: str, message: str, tmp_path: Path) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text(f"{json.dumps(ROW)}\n{row}\n")
    with pytest.raises(ValueError, match=message):
        list(read_manifest(manifest))
