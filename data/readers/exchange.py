# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Formats that several projects exchange: SpeechCraft, CA-MER, conversations, extracted cues, and our own manifest.

SpeechCraft    annotations only: .jsonl, .json or .csv, whose field names the caller gives.
CA-MER         csv `name,subset,label[,openset]`; the subset becomes the split.
Conversations  [{"video": path, "conversations": [{"from": "human", "value": ...}, {"from": "gpt", "value":
               "<think>...</think>\n<answer>...</answer>"}]}] (R1-Omni, ERV).
Cues           {name: {"visual": [...], "auditory": [...], "emotional": [...]}} (EmoCue-Eval).
"""

import csv
import dataclasses
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xemogpt.data.readers.source import MANIFEST, Source, by_language, parse_list, plain
from xemogpt.data.sample import Cue, EmotionSample, read_manifest
from xemogpt.data.text import open_text, read_json

CA_MER_SUBSETS = ("video-aligned", "audio-aligned", "consistent")
_NOTHING = {"subtitle": "no subtitle", "label": "no label", "labels": "no label", "valence": "no label"}
_CUE_KEYS = {"visual": "visual", "audio": "audio", "auditory": "audio", "global": "global", "emotional": "global"}


def read_speechcraft(
    source: Source, table: str = "", id_field: str = "id", path_field: str = "path", text_field: str = "text"
) -> Iterator[EmotionSample]:
    """Row by row, so that a million fit. Fields: of the clip's id, its sound file below the root, its description."""
    path = source.find(["*.jsonl", "*.json", "*.csv"], table=table)
    seen: set[str] = set()
    for number, row in enumerate(_records(path), 1):
        if absent := [name for name in (id_field, path_field, text_field) if name not in row]:
            have = ", ".join(map(str, row))
            raise ValueError(
                f"{path}, row {number}: no field {', '.join(absent)}; it has {have}: say which with "
                "id_field=, path_field=, text_field="
            )
        id, where, text = (plain(row[name]) for name in (id_field, path_field, text_field))
        if not id or not where:
            source.note(
                "bad value", id or f"{path.name}:{number}", f"row {number}: without {id_field} or {path_field}"
            )
            continue
        if id in seen:
            source.note("conflicting rows", id, f"row {number}: the id was there before; the first one counts")
            continue
        seen.add(id)
        if not text:
            source.note("no text", id, f"row {number}: {text_field} is empty")
        found = source.at(where, id)
        yield from source.sample(id, {"audio": found} if found else None, text=by_language(text), split="train")


def read_ca_mer(source: Source, table: str = "") -> Iterator[EmotionSample]:
    """Clips whose modalities agree or not: `split` is the subset."""
    columns = ["name", "subset", "label"]
    path = source.find(["ca_mer*.csv", "ca-mer*.csv", "CA-MER*.csv"], columns, table=table)
    for row in source.rows(path, columns):
        id, subset, labels = row["name"], row["subset"].lower().replace("_", "-"), ()
        if subset not in CA_MER_SUBSETS:
            source.note("bad value", id, f"subset {row['subset']!r} is none of {', '.join(CA_MER_SUBSETS)}")
            continue
        if not row["label"]:
            source.note("no label", id, "the cell is empty")
        try:
            labels = parse_list(row.get("openset", ""))  # type: ignore[assignment]
        except ValueError as error:
            source.note("bad value", id, f"openset: {error}")
        yield from source.sample(id, source.media(id), split=subset, label=row["label"].lower() or None, labels=labels)


def read_conversations(source: Source, table: str = "", split: str = "train") -> Iterator[EmotionSample]:
    """Every answer is a sample, of the id `{file}` or, from the second on, `{file}#2`: <answer> is its label, <think>
    (or the whole answer, without tags) its text. Paths of another machine are found by their last parts."""
    path = source.find(["*conversations*.json", "*.json"], table=table)
    uses: Counter[str] = Counter()
    for number, row in enumerate(_records(path), 1):
        where = plain(row.get("video") or row.get("audio"))
        turns = row.get("conversations")
        if not where or not isinstance(turns, list) or not all(isinstance(turn, dict) for turn in turns):
            source.note("bad value", f"{path.name}:{number}", f"row {number}: no media or no conversations")
            continue
        stem = Path(where.replace("\\", "/")).stem
        media = {
            key: found for key in ("video", "audio") if row.get(key) and (found := source.at(str(row[key]), stem))
        }
        answers = [str(turn.get("value") or "") for turn in turns if turn.get("from") in ("gpt", "assistant")]
        if not answers:
            source.note("bad value", stem, f"row {number}: nobody answers")
        for answer in answers:
            uses[stem] += 1
            id = stem if uses[stem] == 1 else f"{stem}#{uses[stem]}"
            label, text = _answer(answer)
            if not text:
                source.note("no text", id, f"row {number}: an empty answer")
            yield from source.sample(id, media or None, label=label, text=by_language(text), split=split)


def read_cues(source: Source, table: str = "", split: str = "test") -> Iterator[EmotionSample]:
    """Extracted cues of clips in video/."""
    path = source.find(["*cue*.json", "*.json"], table=table)
    content = read_json(path)
    if not isinstance(content, dict) or not all(isinstance(entry, dict) for entry in content.values()):
        raise ValueError(f"{path}: is no {{name: {{visual, auditory, emotional}}}}; name another file by table=")
    for id, entry in content.items():
        cues: list[Cue] = []
        for key, texts in entry.items():
            if key not in _CUE_KEYS or not isinstance(texts, list):
                source.note("bad value", id, f"{key!r} is no list of visual, auditory or emotional cues")
                continue
            blank = [text for text in texts if not isinstance(text, str) or not text.strip()]
            if blank:
                source.note("bad value", id, f"{key}: {len(blank)} cues without text")
            cues += [Cue(text, _CUE_KEYS[key]) for text in texts if text not in blank]
        yield from source.sample(id, source.media(id), cues=tuple(cues), split=split)


def read_own_manifest(source: Source, table: str = "") -> Iterator[EmotionSample]:
    """A manifest of this project in the root (or, by `table`, below it), its files looked at."""
    path = source.find([MANIFEST, "*.jsonl"], table=table)
    nothing: list[tuple[str, str]] = []
    named: set[str] = set()
    for sample in read_manifest(path, nothing):
        for id, key in nothing:
            source.note(_NOTHING.get(key, "no text"), id, f"{key}: is blank or NaN")
        nothing.clear()
        media = {}
        for kind in ("video", "audio"):
            if (given := getattr(sample, kind)) is None:
                continue
            full = Path(given)
            if source.verify:
                named.add(os.path.abspath(full))
            if source.verify and not full.exists():
                source.note("missing file", sample.id, given)
            elif source.inside(full, sample.id):
                media[kind] = given
        if media and (media := source.opened(sample.id, media)):
            kept: dict[str, Any] = {"video": None, "audio": None} | media
            yield dataclasses.replace(sample, **kept)
    if source.verify:
        source.list_unlisted_but(named)


def _answer(text: str) -> tuple[str | None, str]:
    label = re.search(r"<answer>(.*?)</answer>", text, re.S)
    thought = re.search(r"<think>(.*?)</think>", text, re.S)
    rest = thought.group(1) if thought else re.sub(r"<answer>.*?</answer>", "", text, flags=re.S)
    return (label.group(1).strip() or None) if label else None, rest.strip()


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of .csv and .jsonl one by one; of .json, a list of objects or {id: object}."""
    if path.suffix == ".json":
        content = read_json(path)
        parts = list(content.values()) if isinstance(content, dict) else content
        if not isinstance(parts, list) or not all(isinstance(row, dict) for row in parts):
            raise ValueError(f"{path}: holds no list of objects; name another file by table=")
        yield from ({"id": id} | row for id, row in content.items()) if isinstance(content, dict) else parts
        return
    with open_text(path, newline="") as file:
        if path.suffix == ".csv":
            yield from csv.DictReader(file)
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    row = json.loads(line)
                except ValueError as error:
                    raise ValueError(f"{path}, line {number}: is no JSON ({error})") from None
                if not isinstance(row, dict):
                    raise ValueError(f"{path}, line {number}: is no JSON object")
                yield row
