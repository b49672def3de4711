# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The sample schema and manifests."""

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest

from xemogpt.data.sample import Cue, EmotionSample, read_manifest
from xemogpt.data.schema import features, from_record, json_schema, to_record

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
        ('{"id": "b", "video": 5}', "line 2: video 5 is no text"),
        ('{"id": "b", "video": "a.mp4", "labels": "sad"}', "line 2: labels 'sad' is no list of words"),
        ('{"id": "b", "video": "a.mp4", "valence": "high"}', "line 2: valence 'high' is no number"),
        ('{"id": "b", "video": "a.mp4", "valence": Infinity}', "line 2: b: valence inf is no number"),
        ('{"id": "b", "video": "a.mp4", "cues": [{"text": "x", "modality": "audio", "time": [NaN, 1]}]}', "no pair"),
        ('{"id": "b", "video": "a.mp4", "text": {"en": 3}}', "line 2: text is neither a text nor texts"),
        ('{"id": "b", "video": "a.mp4", "cues": ["x"]}', "line 2: cues is no list of objects"),
        ('{"id": "b", "video": "a.mp4", "cues": [{"text": "x", "modality": "audio", "time": [1]}]}', "no pair"),
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


FULL = ROW | {
    "label": "angry",
    "valence": -0.5,
    "audio": "a.wav",
    "source": "x",
    "split": "train",
    "licence": "y",
    "caption": "He frowns.",
    "cues": [
        {"text": "He frowns.", "modality": "visual", "time": [0.5, 1.0], "span": [0, 9], "intensity": 0.5},
        {"text": "Well.", "modality": "audio", "kind": "subtitle", "polarity": -1, "source": "rules-1"},
    ],
}


@pytest.mark.parametrize("row", [ROW, FULL, {"id": "b", "audio": "b.wav"}])
def test_a_record_for_arrow_loses_nothing(row: dict[str, Any], tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    sample = EmotionSample.from_row(row)
    table = datasets.Dataset.from_list([to_record(sample)], features=features())
    table.to_parquet(tmp_path / "one.parquet")
    again = datasets.Dataset.from_parquet(str(tmp_path / "one.parquet"), cache_dir=str(tmp_path))
    assert again.features == features()
    assert from_record(again[0]) == sample


def test_what_stands_for_nothing_is_left_out_and_told(tmp_path: Path) -> None:
    row = {"id": "nan", "video": "a.mp4", "label": "NaN", "valence": math.nan, "subtitle": {"en": "", "zh": "你好"}}
    row |= {"text": " ", "labels": ["sad", "nan"], "caption": None, "split": "train"}
    (tmp_path / "m.jsonl").write_text(json.dumps(row))
    nothing: list[tuple[str, str]] = []
    (sample,) = read_manifest(tmp_path / "m.jsonl", nothing)
    kept = {
        "id": "nan",
        "video": str(tmp_path / "a.mp4"),
        "subtitle": {"zh": "你好"},
        "labels": ("sad",),
        "split": "train",
    }
    assert sample.to_row() == kept
    assert nothing == [("nan", key) for key in ("label", "valence", "subtitle", "text", "labels")]


@pytest.mark.parametrize("valence", [math.nan, math.inf])
def test_no_sample_has_a_valence_that_json_lacks(valence: float) -> None:
    with pytest.raises(ValueError, match="a: valence (nan|inf) is no number"):
        EmotionSample("a", video="a.mp4", valence=valence)


def test_json_schema_says_what_from_row_says() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    good = [ROW, FULL, EmotionSample.from_row(FULL).to_row(), {"id": "b", "audio": "b.wav"}]
    bad = [
        {"id": "b"},
        {"video": "a.mp4"},
        ROW | {"lable": "sad"},
        ROW | {"cues": [{"text": " ", "modality": "audio"}]},
    ]
    bad += [ROW | {"labels": "sad"}, ROW | {"valence": "high"}, ROW | {"video": 5}, ROW | {"text": {"en": 3}}]
    bad += [ROW | {"cues": [{"text": "x", "modality": "smell"}]}, ROW | {"cues": [{"text": "x"}]}]
    for row in good:
        assert validator.is_valid(json.loads(json.dumps(row)))
        EmotionSample.from_row(row)
    for row in bad:
        assert not validator.is_valid(json.loads(json.dumps(row)))
        with pytest.raises(ValueError, match=r"\S"):
            EmotionSample.from_row(row)


def test_json_schema_knows_every_field() -> None:
    schema = json_schema()
    assert set(schema["properties"]) == {each.name for each in dataclasses.fields(EmotionSample)}
    assert set(schema["properties"]["cues"]["items"]["properties"]) == {each.name for each in dataclasses.fields(Cue)}
