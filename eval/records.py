# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Predictions and references as read from files: CSV, JSON or JSON lines, one record for each clip.

.csv    a header, one clip a row: id (or name, names, video_name) and any of the fields of `Record`
.jsonl  one object a line, with the same keys; what `xemogpt explain --out` writes is such a file, and so is a
        manifest of `xemogpt.data.sample`
.json   {id: text}, {id: {"visual": [...], "audio": [...], "global": [...]}}, {id: row}, or a list of rows; {id: {}}
        is cues of no dimension
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.sample import is_nothing
from xemogpt.eval.open_vocabulary import read_labels

# Cue dimensions in the release's spelling and in ours.
CUE_KEYS = {"visual": "visual", "audio": "audio", "auditory": "audio", "global": "global", "emotional": "global"}
# Names under which public files have a field; the first that a row has is taken.
COLUMNS: dict[str, tuple[str, ...]] = {
    "id": ("id", "name", "names", "video_name"),
    "text": ("text", "english", "sentence", "reason", "reasons", "answer", "prediction"),
    "label": ("label", "discrete", "emotion"),
    "labels": ("labels", "openset"),
    "subset": ("subset",),
    "valence": ("valence",),
    "confidence": ("confidence",),
    "implied": ("implied",),
}


@dataclass(frozen=True)
class Record:
    """What a model said, or an annotator, of one clip; None: nothing.

    cues: by dimension (visual, audio, global), those that were named; texts, or objects with text, kind and polarity.
    labels: open-set words. subset: of CA-MER. confidence: in [0, 1]. implied: the emotion that a verifier reads out of
    the explanation.
    """

    id: str
    text: str | None = None
    cues: dict[str, list[Any]] | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = None
    subset: str | None = None
    valence: float | None = None
    confidence: float | None = None
    implied: str | None = None

    @property
    def empty(self) -> bool:
        """Whether it says nothing at all: no text but blanks, no cue, label or valence."""
        said = (self.text or "").strip() or self.label or self.labels or any((self.cues or {}).values())
        return not said and self.valence is None

    def to_row(self) -> dict[str, Any]:
        """As a row of JSON; what is absent is left out."""
        return {key: value for key, value in dataclasses.asdict(self).items() if value is not None}


def read_records(
    path: str | Path, columns: Mapping[str, str] | None = None, *, option: str = "columns"
) -> dict[str, Record]:
    """Records by id, in the order of the file.

    Args:
        columns: field -> column, where the file has other names than those of `COLUMNS`.
        option: what messages call `columns`.

    Raises:
        ValueError: what is malformed, with its line; a row without any field but its id; an id that is there twice; no
            record at all; columns of an unknown field.
        FileNotFoundError: no such file.
    """
    path = Path(path)
    if unknown := [field for field in columns or () if field not in COLUMNS]:
        raise ValueError(f"{option}: no field {', '.join(unknown)}; there are {', '.join(COLUMNS)}")
    if path.suffix.lower() not in _READERS:
        raise ValueError(f"{path}: is no .csv, .json or .jsonl file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8 text (byte {error.start})") from None
    found: dict[str, tuple[str, Record]] = {}
    try:
        for where, row in _READERS[path.suffix.lower()](text):
            try:
                record = to_record(row, columns, option=option)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from None
            if record.id in found:
                raise ValueError(f"{where}: id {record.id!r} was there before, in {found[record.id][0]}")
            found[record.id] = where, record
    except ValueError as error:
        raise ValueError(f"{path}, {error}") from None
    if not found:
        raise ValueError(f"{path}: holds no record")
    return {name: record for name, (_, record) in found.items()}


def to_record(row: Mapping[str, Any], columns: Mapping[str, str] | None = None, *, option: str = "columns") -> Record:
    """One row as a record; keys that mean nothing here are ignored, but not all of them.

    What `is_nothing`, such as NaN, is absent; only a blank text stays, as an answer that says nothing.

    Raises:
        ValueError: no id, no field beside it, a named column that is not there, or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    known = COLUMNS | {field: (column,) for field, column in (columns or {}).items()}
    for field, names in known.items():
        if columns and field in columns and names[0] not in row:
            raise ValueError(f"has no column {names[0]!r}; there are {', '.join(map(str, row))}")
        values[field] = next((row[name] for name in names if not _absent(row.get(name), field)), None)
    media_given = (row[name] for name in ("video", "audio") if not is_nothing(row.get(name)))
    if values["id"] is None and (medium := next(media_given, None)):
        values["id"] = Path(str(medium)).stem  # a row of `xemogpt explain` on bare files
    if not isinstance(values["id"], str | None):
        raise ValueError(f"id {values['id']!r} is {type(values['id']).__name__}, not a text")
    if values["id"] is None or not values["id"].strip():
        raise ValueError(f"has no id ({', '.join(COLUMNS['id'])})")
    values["id"] = values["id"].strip()
    sound = row.get("audio")
    media = {"audio"} if isinstance(sound, str) or is_nothing(sound) else set()  # a file or none, as in a manifest
    cue_keys = set(CUE_KEYS) - media
    telling = {"cues", *cue_keys, *(name for field, names in known.items() if field != "id" for name in names)}
    if not telling & set(row):
        fields = ", ".join(["cues", *(field for field in known if field != "id")])
        raise ValueError(f"has none of {fields}; its keys are {', '.join(row)}; name the text's column by {option}")
    if isinstance(values["text"], Mapping):  # by language, as in a manifest
        values["text"] = values["text"].get("en") or next(iter(values["text"].values()), None)
    for field in ("text", "label", "subset", "implied"):
        if not isinstance(values[field], str | None):
            raise ValueError(f"{field} of {values['id']} is {type(values[field]).__name__}, not a text")
    for field in ("label", "subset", "implied"):
        values[field] = values[field] and values[field].strip()
    for field in ("valence", "confidence"):
        values[field] = _number(values[field], field, values["id"])
    if values["labels"] is not None:
        given = values["labels"]
        if not isinstance(given, str | list | tuple):
            raise ValueError(f"labels of {values['id']} are {type(given).__name__}, not a list or a text")
        words = read_labels(given) if isinstance(given, str) else given
        values["labels"] = tuple(str(word) for word in words if not is_nothing(word))
    by_dimension = {key: row[key] for key in row if key not in media} if set(row) & cue_keys else None
    cues = row.get("cues", by_dimension)
    if {"text", "cues", "prompt_id", "finished"} <= set(row):  # a row of `xemogpt explain`, whose cues are sentences:
        cues = None  # its text is read as the references' texts are
    return Record(**values, cues=None if cues is None else _cues(cues, values["id"]))


def match_ids(
    predictions: Mapping[str, Record], references: Mapping[str, Record]
) -> tuple[list[str], list[str], list[str]]:
    """Ids in both (in the references' order), only in the references, only in the predictions.

    Raises:
        ValueError: they have no id in common; shows one of each.
    """
    both = [name for name in references if name in predictions]
    if not both:
        ours, theirs = next(iter(predictions), "none"), next(iter(references), "none")
        raise ValueError(f"no id is in both: the predictions have e.g. {ours!r}, the references {theirs!r}")
    missing = [name for name in references if name not in predictions]
    return both, missing, [name for name in predictions if name not in references]


def shown(names: Iterable[str], most: int = 10) -> str:
    """Names for a message: the first few, and how many more."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _cues(cues: Any, name: str) -> dict[str, list[Any]]:
    """Cues by dimension, out of a dict of lists or a list of cue objects, which names all three."""
    found: dict[str, list[Any]] = {}
    if isinstance(cues, list) and all(isinstance(cue, Mapping) for cue in cues):
        found = {"visual": [], "audio": [], "global": []}
        pairs = [(cue.get("modality"), {k: cue[k] for k in ("text", "kind", "polarity") if k in cue}) for cue in cues]
    elif isinstance(cues, Mapping):
        for key, texts in cues.items():
            if key in CUE_KEYS and not isinstance(texts, list):
                raise ValueError(f"cues of {name}: {key!r} is {type(texts).__name__}, not a list of texts")
            if key not in CUE_KEYS and str(key).casefold() in CUE_KEYS:
                raise ValueError(f"cues of {name}: {key!r} must be written {str(key).casefold()!r}")
        found = {CUE_KEYS[key]: [] for key in cues if key in CUE_KEYS}
        if cues and not found:
            raise ValueError(f"cues of {name} are of {', '.join(map(str, cues))}, none of {', '.join(CUE_KEYS)}")
        pairs = [(key, text) for key, texts in cues.items() if key in CUE_KEYS for text in texts]
    else:
        raise ValueError(f"cues of {name} are neither lists by dimension nor cue objects")
    for kind, cue in pairs:
        text = cue.get("text") if isinstance(cue, Mapping) else cue
        if kind not in CUE_KEYS or not isinstance(text, str):
            raise ValueError(f"cues of {name}: {text!r} of {kind!r} is no text of visual, audio or global")
        found[CUE_KEYS[kind]].append(cue)
    return found


def _absent(value: Any, field: str) -> bool:
    """Whether a row does not have a field: what `is_nothing`, but a blank text is an answer that says nothing."""
    if field == "id" or (field == "text" and isinstance(value, str) and not value.strip()):
        return value is None
    return is_nothing(value)


def _number(value: Any, field: str, name: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{field} of {name} is {value!r}, not a number")
    return number


def _csv_rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)  # U+2028 and the like end no line
    start = 2
    try:
        for row in reader:
            if None in row:
                raise ValueError(f"line {start}: has more fields than the header; quote texts that hold commas")
            if None in row.values():
                raise ValueError(f"line {start}: has fewer fields than the header")
            yield f"line {start}", row
            start = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(f"line {start}: is no CSV ({error})") from None


def jsonl_rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The objects of JSON lines, each with "line N".

    Raises:
        ValueError: a line that holds no object; names it.
    """
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"line {number}", _object(line, f"line {number}")


def _json_rows(text: str) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        data = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise ValueError(f"line {error.lineno}: is not JSON ({error.msg})") from None
    except KeyError as error:
        raise ValueError(f"key {error.args[0]!r} is there twice in one object") from None
    if isinstance(data, list):
        for index, row in enumerate(data):
            if not isinstance(row, dict):
                raise ValueError(f"item {index}: is no object")
            yield f"item {index}", row
    elif isinstance(data, dict):
        for name, value in data.items():
            row = {"text": value} if isinstance(value, str) or value is None else value
            if not isinstance(row, dict):
                raise ValueError(f"{name!r}: is neither a text nor an object")
            yield repr(name), {"id": name} | (row or {"cues": {}})
    else:
        raise ValueError("line 1: is neither an object nor a list")


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: is not JSON ({error.msg}, column {error.colno})") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: is no object")
    return row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise KeyError(next(name for name in names if names.count(name) > 1))
    return found


_READERS = {".csv": _csv_rows, ".jsonl": jsonl_rows, ".json": _json_rows}
