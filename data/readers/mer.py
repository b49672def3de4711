# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EMER v1 and v2, OV-MERD+, MER2023 and MER2025 with MER-Caption+: one family of clips, several annotations of them.

EMER v1   csv `names,emotions,subtitles,reasons`; v2 csv `name,chinese,english`; clips in video/ (and audio/). In
          MER2025 v2 is track3_train_ovmerd.csv `name,reason`.
OV-MERD+  ovlabel.csv `name,openset`, subtitle_eng.csv `name,sentence`.
MER2023   train-label.csv, test{1,2,3}-label.csv `name,discrete[,valence]`, or the processed label-6way.npz.
MER2025   track1_train_disdim.csv `name,discrete,valence`, track2_train_mercaptionplus.csv `name,openset`,
          track3_train_mercaptionplus.csv `name,reason`, subtitle_chieng.csv `name,chinese,english`.
"""

import io
import pickle
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from xemogpt.data.readers.source import Source, number, parse_list, plain
from xemogpt.data.sample import EmotionSample

MER2023_LABELS = ("neutral", "angry", "happy", "sad", "worried", "surprise")
OV_MERD = "track3_train_ovmerd.csv"
_LANGUAGES = (("en", "english"), ("zh", "chinese"))


def read_emer_v1(source: Source) -> Iterator[EmotionSample]:
    """100 clips: label, English subtitle, a short explanation."""
    columns = ["names", "emotions", "subtitles", "reasons"]
    for row in source.rows(source.find(["emer_v1*.csv"], columns), columns, published=100):
        id, subtitle, reason, label = row["names"], row["subtitles"], row["reasons"], row["emotions"].lower()
        for kind, value in (("no subtitle", subtitle), ("no text", reason), ("no label", label)):
            if not value:
                source.note(kind, id, "the cell is empty")
        fields = {"subtitle": _english(subtitle), "text": _english(reason), "label": label or None}
        yield from source.sample(id, source.media(id), **fields)
    source.list_unlisted()


def read_emer_v2(source: Source) -> Iterator[EmotionSample]:
    """332 clips: a long explanation in Chinese and English (OV-MERD's too, whose table has the English alone).

    88 of the English texts begin with "Input: ", left there by the translation; it is taken off.
    """
    columns = ["name", "chinese", "english"]
    path = source.find(["emer_v2*.csv", OV_MERD], columns)
    of_mer2025 = path.name == OV_MERD
    for row in source.rows(path, ["name", "reason"] if of_mer2025 else columns, published=332):
        column = "reason" if of_mer2025 else "english"
        row[column] = row[column].removeprefix("Input:").lstrip()
        text = _text(source, row["name"], row["reason"]) if of_mer2025 else _both(source, row, "no text")
        yield from source.sample(row["name"], source.media(row["name"]), text=text, split="test")
    if not of_mer2025:  # whose video/ has the clips of all its tables
        source.list_unlisted()


def read_ov_merd_plus(source: Source) -> Iterator[EmotionSample]:
    """532 clips: open-vocabulary labels and English subtitles."""
    subtitles = source.column(source.find(["subtitle_eng.csv"]), "name", "sentence")
    for row in source.rows(source.find(["ovlabel.csv"]), ["name", "openset"], published=532):
        id = row["name"]
        fields = {"labels": _openset(source, id, row["openset"]), "subtitle": _english(subtitles.get(id, ""))}
        if not fields["subtitle"]:
            source.note("no subtitle", id, "subtitle_eng.csv has none")
        yield from source.sample(id, source.media(id), split="test", **fields)
    source.list_unlisted()


def read_mer2023(source: Source) -> Iterator[EmotionSample]:
    """The labelled clips of train, test1, test2 and test3; those of the tables that are there."""
    processed = source.only("label-6way.npz")
    tables = {name: source.only(f"{name}-label.csv") for name in ("train", "test1", "test2", "test3")}
    if not processed and not any(tables.values()):
        raise FileNotFoundError(f"{source.root}: mer2023 needs train-label.csv, ... or label-6way.npz")
    for split, table in tables.items():
        if table:
            rows: Iterable[dict[str, Any]] = source.rows(table, ["name", "discrete"])
        elif processed and (corpus := _load_dict(processed, f"{split}_corpus")):
            rows = _npz_rows(processed, split, corpus)
        else:
            nor = ", nor in label-6way.npz" if processed else ""
            source.note("missing file", split, f"{split}-label.csv{nor}")
            continue
        folder = next((each for each in (split, f"video-{split}") if (source.root / each).is_dir()), "video")
        for row in rows:
            media = source.media(row["name"], video=folder)
            yield from source.sample(row["name"], media, split=split, **_discrete(source, row))


def read_mer2025(source: Source, track: int) -> Iterator[EmotionSample]:
    """One track's training annotation: 1 discrete label and valence, 2 open-set labels, 3 an explanation."""
    name, columns = {
        1: ("track1_train_disdim.csv", ["name", "discrete", "valence"]),
        2: ("track2_train_mercaptionplus.csv", ["name", "openset"]),
        3: ("track3_train_mercaptionplus.csv", ["name", "reason"]),
    }[track]
    subtitles = _subtitles(source)
    for row in source.rows(source.find([name]), columns):
        id = row["name"]
        if track == 1:
            fields = _discrete(source, row)
        elif track == 2:
            fields = {"labels": _openset(source, id, row["openset"])}
        else:
            fields = {"text": _text(source, id, row["reason"])}
        yield from source.sample(id, source.media(id), split="train", subtitle=_said(source, id, subtitles), **fields)


def read_mer_caption_plus(source: Source) -> Iterator[EmotionSample]:
    """Tracks 2 and 3 of MER2025 joined: 31,327 clips with open-set labels and an explanation, on which EmoCue-Instruct
    is built."""
    subtitles = _subtitles(source)
    labels = source.column(source.find(["track2_train_mercaptionplus.csv"]), "name", "openset")
    for row in source.rows(source.find(["track3_train_mercaptionplus.csv"]), ["name", "reason"]):
        id = row["name"]
        openset = labels.pop(id, None)
        if openset is None:
            source.note("no label", id, "track 2 does not have it")
        yield from source.sample(
            id,
            source.media(id),
            split="train",
            subtitle=_said(source, id, subtitles),
            labels=_openset(source, id, openset) if openset is not None else (),
            text=_text(source, id, row["reason"]),
        )
    for id, openset in labels.items():
        source.note("no text", id, "track 3 does not have it")
        fields = {"labels": _openset(source, id, openset), "subtitle": _said(source, id, subtitles)}
        yield from source.sample(id, source.media(id), split="train", **fields)


def _english(text: str) -> dict[str, str]:
    return {"en": text} if text else {}


def _both(source: Source, row: dict[str, str], kind: str) -> dict[str, str]:
    for _, column in _LANGUAGES:
        if not row[column]:
            source.note(kind, row["name"], f"{column} is empty")
    return {language: row[column] for language, column in _LANGUAGES if row[column]}


def _subtitles(source: Source) -> dict[str, dict[str, str]]:
    """By id; not all 132,171 are listed as lacking one language, only those that a track asks for."""
    rows = source.rows(source.find(["subtitle_chieng.csv"]), ["name", "chinese", "english"])
    return {row["name"]: {language: row[column] for language, column in _LANGUAGES} for row in rows}


def _said(source: Source, id: str, subtitles: dict[str, dict[str, str]]) -> dict[str, str]:
    found = subtitles.get(id, {})
    for language, column in _LANGUAGES:
        if not found.get(language):
            source.note("no subtitle", id, f"no {column} in subtitle_chieng.csv")
    return {language: text for language, text in found.items() if text}


def _text(source: Source, id: str, reason: str) -> dict[str, str]:
    if not reason:
        source.note("no text", id, "reason is empty")
    return _english(reason)


def _openset(source: Source, id: str, text: str) -> tuple[str, ...]:
    """The words of `openset`; an empty list is neutral, as the challenge has it."""
    try:
        return parse_list(text) or ("neutral",)
    except ValueError as error:
        source.note("bad value", id, f"openset: {error}")
        return ()


def _discrete(source: Source, row: dict[str, Any]) -> dict[str, Any]:
    label, valence = plain(row["discrete"]).lower(), plain(row.get("valence"))
    if not label:
        source.note("no label", row["name"], "discrete is empty")
    elif label not in MER2023_LABELS:
        source.note("bad value", row["name"], f"label {label!r} is none of {', '.join(MER2023_LABELS)}")
        label = ""
    try:
        return {"label": label or None, "valence": number(valence) if valence else None}
    except ValueError:
        source.note("bad value", row["name"], f"valence {valence!r} is no number")
        return {"label": label or None}


def _npz_rows(path: Path, split: str, corpus: dict[str, Any]) -> list[dict[str, Any]]:
    """Rows of `{split}_corpus` in label-6way.npz: a dict {name: {"emo": word or index, "val": number}}."""
    rows = []
    for name, entry in corpus.items():
        if not isinstance(entry, dict) or "emo" not in entry:
            raise ValueError(f"{path}: {split}_corpus: {name} has no `emo`")
        label = entry["emo"]
        indexed = isinstance(label, int | np.integer) and 0 <= label < len(MER2023_LABELS)
        word = MER2023_LABELS[label] if indexed else label
        rows.append({"name": str(name), "discrete": str(word), "valence": entry.get("val")})
    return rows


class _PlainUnpickler(pickle.Unpickler):
    """Builds dicts, lists, words, numbers and arrays of them; a file that asks for anything else is refused."""

    def find_class(self, module: str, name: str) -> Any:
        arrays = {"numpy.core.multiarray", "numpy._core.multiarray", "numpy"}
        if module in arrays and name in {"_reconstruct", "scalar", "ndarray", "dtype"}:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise ValueError(f"wants to run {module}.{name}, which is no label; it is not opened")


def _load_dict(path: Path, name: str) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: is no .npz file; get it again")
    with zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            return {}
        stream = io.BytesIO(archive.read(f"{name}.npy"))
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    _, _, dtype = read(stream)
    try:
        value = _PlainUnpickler(stream).load() if dtype.hasobject else None
    except (ValueError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(f"{path}: {name} {error}") from None
    value = value.item() if isinstance(value, np.ndarray) and value.size == 1 else value
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {name} is no dict of labels")
    return value
