# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The sample schema for other programs: as `datasets.Features` (Arrow, parquet) and as JSON Schema.

Arrow wants the same fields in every row, so a record differs from a manifest's row: absent is None, and the texts by
language are a list of {"language", "text"}. `to_record` and `from_record` go to and fro and lose nothing.
"""

from typing import Any

from xemogpt.data.sample import KINDS, MODALITIES, EmotionSample

_BY_LANGUAGE = ("subtitle", "text")


def to_record(sample: EmotionSample) -> dict[str, Any]:
    """A sample as a row for `features()`."""
    row: dict[str, Any] = {name: getattr(sample, name) for name in sample.__dataclass_fields__}
    for name in _BY_LANGUAGE:
        row[name] = [{"language": language, "text": text} for language, text in row[name].items()]
    row["labels"] = list(sample.labels)
    row["cues"] = [
        {name: list(part) if isinstance(part, tuple) else part for name, part in vars(cue).items()}
        for cue in sample.cues
    ]
    return row


def from_record(record: dict[str, Any]) -> EmotionSample:
    """The sample of a row that `to_record` made.

    Raises:
        ValueError: an unknown or missing key, or a value that cannot be.
    """
    texts = {name: {part["language"]: part["text"] for part in record.get(name) or ()} for name in _BY_LANGUAGE}
    return EmotionSample.from_row(record | texts)


def features() -> Any:
    """The `datasets.Features` of `to_record`'s rows."""
    try:
        from datasets import Features, List, Value
    except ImportError:
        raise ImportError('Arrow features need datasets: pip install "xemogpt[data]"') from None
    text, number = Value("string"), Value("float64")
    by_language = List({"language": text, "text": text})
    cue = {"text": text, "modality": text, "kind": text, "polarity": Value("int64"), "source": text}
    cue |= {"span": List(Value("int64")), "time": List(number), "intensity": number}
    lists = {"subtitle": by_language, "text": by_language, "labels": List(text), "cues": List(cue)}
    order = EmotionSample.__dataclass_fields__
    return Features({name: lists.get(name) or (number if name == "valence" else text) for name in order})


def json_schema() -> dict[str, Any]:
    """JSON Schema (2020-12) of a manifest's row."""
    text: dict[str, Any] = {"type": "string"}
    filled, number = text | {"minLength": 1}, {"type": "number"}
    by_language = {"anyOf": [text, {"type": "object", "additionalProperties": text}]}

    def pair(of: str) -> dict[str, Any]:
        return {"type": "array", "items": {"type": of}, "minItems": 2, "maxItems": 2}

    cue = {
        "type": "object",
        "required": ["text", "modality"],
        "additionalProperties": False,
        "properties": {
            "text": text | {"pattern": r"\S"},
            "modality": {"enum": list(MODALITIES)},
            "kind": {"enum": list(KINDS)},
            "polarity": {"enum": [1, -1]},
            "span": pair("integer"),
            "time": pair("number"),
            "intensity": number | {"minimum": 0, "maximum": 1},
            "source": text,
        },
    }
    special = {
        "id": filled,
        "subtitle": by_language,
        "text": by_language,
        "labels": {"type": "array", "items": text},
        "valence": number,
        "cues": {"type": "array", "items": cue},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "EmotionSample",
        "description": "A clip with its annotation: one line of an XEmoGPT manifest.",
        "type": "object",
        "required": ["id"],
        "anyOf": [{"required": ["video"]}, {"required": ["audio"]}],
        "additionalProperties": False,
        "properties": {name: special.get(name, text) for name in EmotionSample.__dataclass_fields__},
    }
