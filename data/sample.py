# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""One clip and what is known of it: the schema that readers give, training eats and the builder writes.

A manifest is a .jsonl file with one sample a line; only `id` and one of `video`, `audio` must be there:

    {"id": "sample_00000007", "video": "video/sample_00000007.mp4", "subtitle": {"en": "Well, goodbye."},
     "label": "angry", "text": "In the video, ...", "cues": [{"text": "She frowns.", "modality": "visual"}]}
"""

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xemogpt.data.text import open_text

MODALITIES = ("visual", "audio", "global")
KINDS = ("observation", "inference", "subtitle")
_MAY_BE_NOTHING = ("subtitle", "label", "labels", "valence", "text", "caption", "source", "split", "licence")


@dataclass(frozen=True)
class Cue:
    """One observable fact, or what follows from such.

    modality: visual, audio or global. kind: observation, inference or subtitle (a quotation, never evidence).
    polarity: 1 asserted, -1 negated ("does not smile"). span: characters [a, b) of the text it was read from.
    time: from and to, in seconds of the clip. intensity: 0 to 1. source: who says so (an annotator, a model, a rule).
    """

    text: str
    modality: str
    kind: str = "observation"
    polarity: int = 1
    span: tuple[int, int] | None = None
    time: tuple[float, float] | None = None
    intensity: float | None = None
    source: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str) or not self.text.strip():
            raise ValueError("a cue without text")
        if self.modality not in MODALITIES:
            raise ValueError(f"modality {self.modality!r} of a cue is none of {', '.join(MODALITIES)}")
        if self.kind not in KINDS:
            raise ValueError(f"kind {self.kind!r} of a cue is none of {', '.join(KINDS)}")
        if self.polarity not in (1, -1):
            raise ValueError(f"polarity {self.polarity!r} of a cue is neither 1 nor -1")


@dataclass(frozen=True)
class EmotionSample:
    """A clip with its annotation. Paths are as given; `read_manifest` resolves them against the manifest's folder.

    subtitle and text: by language code ("en", "zh"). label: one class of the source's own set. labels: open-set words.
    valence: on the source's own scale. caption: one to three cues in at most 25 words (EmoCue-ShortCaption).
    source: the data set. split: train, validation, test, ... licence: of the annotation.
    """

    id: str
    video: str | None = None
    audio: str | None = None
    subtitle: dict[str, str] = field(default_factory=dict)
    label: str | None = None
    labels: tuple[str, ...] = ()
    valence: float | None = None
    text: dict[str, str] = field(default_factory=dict)
    caption: str | None = None
    cues: tuple[Cue, ...] = ()
    source: str | None = None
    split: str | None = None
    licence: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise ValueError("a sample without id")
        if not self.video and not self.audio:
            raise ValueError(f"{self.id}: has neither video nor audio")
        if self.valence is not None and not math.isfinite(self.valence):
            raise ValueError(f"{self.id}: valence {self.valence} is no number")

    def cues_of(self, modality: str) -> list[Cue]:
        """The cues of one modality, in order."""
        return [cue for cue in self.cues if cue.modality == modality]

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> "EmotionSample":
        """From a row of JSON; a plain string for `subtitle` or `text` is English. What `is_nothing` is left out.

        Raises:
            ValueError: an unknown or missing key, or a value that cannot be.
        """
        row = _without_nothing(row)
        _refuse_unknown(cls, row)
        for key in ("subtitle", "text"):
            if isinstance(row.get(key), str):
                row[key] = {"en": row[key]}
        _refuse_types(row)
        cues = []
        for cue in row.pop("cues", ()):
            _refuse_unknown(Cue, cue)
            if missing := {"text", "modality"} - set(cue):
                raise ValueError(f"a cue without {' and '.join(sorted(missing))}")
            if broken := [key for key in ("span", "time") if not _is_pair(cue.get(key))]:
                raise ValueError(f"{broken[0]} {cue[broken[0]]!r} of a cue is no pair of numbers")
            pairs = {key: tuple(cue[key]) for key in ("span", "time") if cue.get(key) is not None}
            cues.append(Cue(**cue | pairs))
        return cls(**{"id": ""} | row | {"labels": tuple(row.get("labels", ())), "cues": tuple(cues)})

    def to_row(self) -> dict[str, Any]:
        """As a row of JSON; what is absent is left out."""

        def short(value: Any) -> dict[str, Any]:
            return {name: part for name, part in value.items() if part is not None and part not in ((), {})}

        row = short(dataclasses.asdict(self))
        return row | ({"cues": [short(cue) for cue in row["cues"]]} if "cues" in row else {})


def is_nothing(value: Any) -> bool:
    """Whether a value stands for none: null, a blank text, or NaN, which pandas writes as a number and as a text."""
    if isinstance(value, str):
        return value.strip().lower() in ("", "nan")
    return value is None or (isinstance(value, float) and math.isnan(value))


def read_manifest(path: str | os.PathLike, nothing: list[tuple[str, str]] | None = None) -> Iterator[EmotionSample]:
    """The samples of a manifest, one by one; relative paths are taken from the manifest's folder.

    Args:
        nothing: a list to which (id, key) is added of what is given but `is_nothing`, before its sample is.

    Raises:
        ValueError: a row that is no sample, an id met before, or no UTF-8; names the line.
        FileNotFoundError: no such manifest.
    """
    manifest, seen = Path(path), set()
    with open_text(manifest) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError("is no JSON object")
                sample = EmotionSample.from_row(row)
                if sample.id in seen:
                    raise ValueError(f"id {sample.id!r} was there before")
            except (ValueError, TypeError) as error:
                raise ValueError(f"{manifest}, line {number}: {error}") from None
            seen.add(sample.id)
            if nothing is not None:
                kept = _without_nothing(row)
                nothing += [(sample.id, key) for key in row if row[key] is not None and kept.get(key) != row[key]]
            media = {
                name: os.fspath(manifest.parent / value)
                for name in ("video", "audio")
                if (value := getattr(sample, name))
            }
            yield dataclasses.replace(sample, **media)


def _without_nothing(row: dict[str, Any]) -> dict[str, Any]:
    """A row without what stands for nothing, as a value, among texts by language and among labels."""
    kept = {}
    for key, value in row.items():
        if key in _MAY_BE_NOTHING and isinstance(value, dict):
            value = {language: text for language, text in value.items() if not is_nothing(text)}
        elif key in _MAY_BE_NOTHING and isinstance(value, list | tuple):
            value = [word for word in value if not is_nothing(word)]
        if value is not None and not (key in _MAY_BE_NOTHING and is_nothing(value)):
            kept[key] = value
    return kept


def _refuse_types(row: dict[str, Any]) -> None:
    """A word for a list of words would become its letters, a number for a path fail far from here."""
    for name in ("id", "video", "audio", "label", "caption", "source", "split", "licence"):
        if not isinstance(row.get(name, ""), str):
            raise ValueError(f"{name} {row[name]!r} is no text")
    for name in ("subtitle", "text"):
        given = row.get(name, {})
        if not isinstance(given, dict) or not all(isinstance(part, str) for part in given.values()):
            raise ValueError(f"{name} is neither a text nor texts by language")
    labels, cues = row.get("labels", []), row.get("cues", [])
    if not isinstance(labels, list | tuple) or not all(isinstance(word, str) for word in labels):
        raise ValueError(f"labels {labels!r} is no list of words")
    if not isinstance(row.get("valence", 0), int | float):
        raise ValueError(f"valence {row['valence']!r} is no number")
    if not isinstance(cues, list | tuple) or not all(isinstance(cue, dict) for cue in cues):
        raise ValueError("cues is no list of objects")


def _is_pair(value: Any) -> bool:
    numbers = isinstance(value, list | tuple) and all(
        isinstance(part, int | float) and math.isfinite(part) for part in value
    )
    return value is None or (numbers and len(value) == 2)


def _refuse_unknown(cls: type, row: dict[str, Any]) -> None:
    if unknown := set(row) - {each.name for each in dataclasses.fields(cls)}:
        raise ValueError(f"unknown key {', '.join(sorted(unknown))}")
