# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A folder of clips with a table of labels, as one has them of one's own recordings.

    clips/labels.csv     name,label,subtitle         clips/joy.mp4  clips/take 2/sadness.mp4  clips/take 2/sadness.wav
                         joy.mp4,happy,Good morning.
                         sadness,sad,

A name with a suffix is that file. One without takes the video and the sound of that name, in whatever folder they lie.
"""

import os
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from xemogpt.data.readers.source import (
    AUDIO_SUFFIXES,
    VIDEO_SUFFIXES,
    Source,
    by_language,
    header,
    number,
    number_or_name,
    parse_list,
)
from xemogpt.data.sample import EmotionSample
from xemogpt.data.text import open_text

_EMPTY = {"subtitle": "no subtitle", "text": "no text", "split": "no split"}


def read_folder(
    source: Source,
    table: str = "",
    name_field: str = "name",
    label_field: str = "",
    labels_field: str = "",
    subtitle_field: str = "",
    text_field: str = "",
    valence_field: str = "",
    split_field: str = "",
) -> Iterator[EmotionSample]:
    """The clips that a .csv or .tsv names, separated by comma, semicolon or tab.

    Args:
        table: its name, if it is not the only one below the root.
        name_field, label_field, ...: its columns, where they are called otherwise than the field of the sample. Of
            label and labels (a list of words) there must be one; the other columns are read if they are there.
    """
    path = source.find(["labels.csv", "labels.tsv", "*.csv", "*.tsv"], table=table)
    given = {"label": label_field, "labels": labels_field, "subtitle": subtitle_field, "text": text_field}
    given |= {"valence": valence_field, "split": split_field}
    there, delimiter = _header(path)
    columns = _columns(source, path, name_field, given, there)
    clips, seen = _Clips(source), set()
    for row in source.rows(path, [name_field], delimiter):
        where = PurePosixPath(row[name_field].replace("\\", "/"))
        id = str(_without_suffix(where))
        if where.is_absolute() or re.match(r"[A-Za-z]:", id):
            id = _without_suffix(where).name
        fields = _fields(source, id, {field: row[column] for field, column in columns.items()})
        if id in seen:
            source.note("conflicting rows", id, f"{row[name_field]}: another row has this name; the first one counts")
            continue
        if media := clips.media(where, id):
            seen.add(id)
            yield from source.sample(id, media, **fields)
    clips.list_unlisted()


def _header(path: Path) -> tuple[list[str], str]:
    """The columns' names, and what separates them."""
    with open_text(path, newline="") as file:
        first = file.readline()
    delimiter = max(",;\t", key=first.count)
    return header([first], delimiter), delimiter


def _columns(source: Source, path: Path, name: str, given: dict[str, str], there: list[str]) -> dict[str, str]:
    """{field: column} of those that the table has; what it must have and has not is an error."""
    columns = {field: column or field for field, column in given.items()}
    wanted = [name, *filter(None, given.values())]
    if not {columns["label"], columns["labels"]} & set(there):
        wanted.append(columns["label"])
    if absent := [column for column in wanted if column not in there]:
        raise ValueError(
            f"{path}: no column {', '.join(absent)}; it has {', '.join(there)}: say which they are with name_field=, "
            f"{', '.join(f'{field}_field=' for field in given)}"
        )
    if twice := sorted({column for column in there if there.count(column) > 1}):
        raise ValueError(f"{path}: column {', '.join(twice)} is there twice; rename one")
    for column in there:
        if column != name and column not in columns.values():
            source.note("unread column", column, f"of {path.name}: no field of a sample; name it by label_field=, ...")
    return {field: column for field, column in columns.items() if column in there}


def _fields(source: Source, id: str, row: dict[str, str]) -> dict[str, Any]:
    """The cells as fields of a sample."""
    fields: dict[str, Any] = {"label": row.get("label") or None, "split": row.get("split") or None}
    for field, cell in row.items():
        if not cell:
            source.note(_EMPTY.get(field, "no label"), id, f"{field}: the cell is empty")
    for field in ("subtitle", "text"):
        fields[field] = by_language(row.get(field, ""))
    try:
        fields["labels"] = parse_list(row.get("labels", ""))
    except ValueError as error:
        source.note("bad value", id, f"labels: {error}")
    try:
        fields["valence"] = number(row["valence"]) if row.get("valence") else None
    except ValueError:
        source.note("bad value", id, f"valence {row['valence']!r} is no number")
    return fields


class _Clips:
    """The media below the root by name, and which of them a row has named."""

    def __init__(self, source: Source):
        self.source = source
        self.named: dict[Path, str] = {}
        self.files: dict[str, list[Path]] = defaultdict(list)
        for path in source.media_files() if source.verify else ():
            self.files[number_or_name(path.stem)].append(path)

    def media(self, where: PurePosixPath, id: str) -> dict[str, str] | None:
        """`video` and `audio` of the clip that a row names; None, and listed, where that is not one clip."""
        if not self.source.verify:
            whole = where if _is_media(where) else where.with_name(f"{where.name}.mp4")
            found = self.source.at(str(whole), id)
            return {_kind(whole): found} if found else None
        if ".." in where.parts:
            self.source.note("outside the root", id, str(where))
            return None
        named = self.files.get(number_or_name(_without_suffix(where).name), [])
        meant = [path for path in named if self._is_meant(path, where)]
        exact = [path for path in meant if path.stem == _without_suffix(where).name]  # 25 and 00025 may both be there
        media: dict[str, str] = {}
        for path in sorted(exact or meant, key=_rank):
            first = media.setdefault(_kind(path), str(path))
            if Path(first).parent != path.parent:
                both = f"{self._below(Path(first))} and {self._below(path)}"
                self.source.note("bad value", id, f"could be {both}; name it with its folder")
                self.named |= dict.fromkeys(meant, id)
                return None
            if first != str(path):
                self.source.note("two files", id, f"{Path(first).name} is taken, {path.name} is not")
            if self.named.setdefault(path, id) != id:
                of = self.named[path]
                self.source.note("conflicting rows", id, f"{self._below(path)} is the clip of {of}; that one counts")
                return None
        if not media:
            hints = [f"there is {self._below(path)}" for path in named]
            hints += [f"{name} is a link out of the root: --links follows it" for name in self.source.unfollowed]
            wanted = where if _is_media(where) else f"{where}.*"
            self.source.note("missing file", id, f"{wanted} ({'; '.join(hints)})" if hints else str(wanted))
        return {kind: path for kind, path in media.items() if self.source.inside(Path(path), id)} or None

    def list_unlisted(self) -> None:
        """Note the media that no row has named."""
        if self.source.verify:
            self.source.list_unlisted_but({os.path.abspath(path) for path in self.named})

    def _is_meant(self, path: Path, where: PurePosixPath) -> bool:
        if _is_media(where) and path.suffix.lower() != where.suffix.lower():
            return False
        folder, wanted = path.relative_to(self.source.root).parent.parts, where.parent.parts
        if where.is_absolute() or re.match(r"[A-Za-z]:", str(where)):  # on another machine
            return not folder or wanted[-len(folder) :] == folder
        return not wanted or folder == wanted

    def _below(self, path: Path) -> str:
        return path.relative_to(self.source.root).as_posix()


def _is_media(path: PurePosixPath) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES + AUDIO_SUFFIXES


def _without_suffix(path: PurePosixPath) -> PurePosixPath:
    return path.with_suffix("") if _is_media(path) else path


def _kind(path: PurePosixPath | Path) -> str:
    return "video" if path.suffix.lower() in VIDEO_SUFFIXES else "audio"


def _rank(path: Path) -> tuple[int, str]:
    return (VIDEO_SUFFIXES + AUDIO_SUFFIXES).index(path.suffix.lower()), str(path)
