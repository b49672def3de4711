# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A local copy of a data set: its tables, its files, and a list of everything that is not as it should be."""

import ast
import csv
import math
import os
import re
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.jsonl import one_line
from xemogpt.data.sample import EmotionSample, is_nothing
from xemogpt.data.text import open_text

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".webm", ".flv", ".m4v", ".mpg", ".mpeg", ".wmv", ".3gp")
AUDIO_SUFFIXES = (".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac")
# What costs a sample, or a part of one that the tables promise; the other kinds are worth knowing.
LOSSES = ("missing file", "outside the root", "bad value", "conflicting rows", "unreadable", "no sample")
REMARKS = (
    *("no subtitle", "no text", "no label", "no split", "repeated row", "unread column", "two files", "unlisted file"),
    *("no such stream", "another number of rows"),
)
MANIFEST = "manifest.jsonl"
_CHINESE = re.compile(r"[\u4e00-\u9fff]")


@dataclass(frozen=True)
class Problem:
    """kind: one of LOSSES or REMARKS. id: the sample (or file) concerned. detail: what exactly, in words."""

    kind: str
    id: str
    detail: str

    @property
    def is_loss(self) -> bool:
        return self.kind in LOSSES

    def __str__(self) -> str:
        return f"{self.id}: {self.kind}: {self.detail}"


class IncompleteDataError(ValueError):
    """The data set is not whole; `problems` has each loss, the message the first of them by name."""

    def __init__(self, name: str, root: Path, problems: list[Problem]):
        self.problems = problems
        shown = "; ".join(map(str, problems[:10])) + ("; ..." if len(problems) > 10 else "")
        super().__init__(
            f"{name} in {root}: {len(problems)} losses: {shown} (`xemogpt data check {name} {root}` lists all; "
            "strict=False reads the rest)"
        )


class Source:
    """What readers share.

    Args:
        name: of the data set, which becomes the samples' `source`.
        root: folder of the local copy.
        licence: of the annotation.
        verify: False fills in the paths of the documented layout without looking at files.
        links: follow symbolic links that leave the root.
        probe: open every file, and move an mp4 without pictures from `video` to `audio`; `seconds` then has how long
            each file plays.
    """

    def __init__(
        self,
        name: str,
        root: str | os.PathLike,
        licence: str,
        verify: bool = True,
        links: bool = False,
        probe: bool = False,
    ):
        self.name, self.root, self.licence = name, Path(root), licence
        self.verify, self.links, self.probe = verify, links, probe and verify
        self.problems: list[Problem] = []
        self.seconds: dict[str, float] = {}
        self._indices: dict[tuple[str, tuple[str, ...]], dict[str, Path]] = {}
        self.unfollowed: set[str] = set()
        self._asked: set[Path] = set()
        if not self.root.is_dir():
            raise FileNotFoundError(f"{self.root}: no such folder; give the root of your copy of {name}")

    def note(self, kind: str, id: str, detail: str) -> None:
        """Put a problem on the list."""
        assert kind in LOSSES + REMARKS
        self.problems.append(Problem(kind, id, detail))

    def find(self, names: Sequence[str], columns: Iterable[str] = (), table: str | None = None) -> Path:
        """The table of one of these names (patterns allowed), anywhere below the root; or else, where `columns` are
        given, the only .csv with just these that is no table of subtitles, which look like explanations. `table`: of
        readers with this option, its value; a name in place of `names`, or "".

        Raises:
            FileNotFoundError: there is none, or more than one. ValueError: a path that is not below the root.
        """
        names = [table] if table else names
        hint = "" if table is None else ", or name it by table="
        for name in names:
            if Path(name).is_absolute() or ".." in Path(name).parts:
                raise ValueError(f"{name}: a table is named by its path below {self.root}")
            if found := self.only(name, hint):
                return found
        wanted = list(columns)
        tables = [path for path in sorted(self.root.glob("*.csv")) if not path.name.lower().startswith("subtitle")]
        alike = [path for path in tables if wanted and _begins_with(path, wanted)]
        if len(alike) == 1:
            return alike[0]
        more = f", nor one .csv with the columns {','.join(wanted)}" if wanted else ""
        raise FileNotFoundError(f"{self.root}: {self.name} needs {' or '.join(names)}{more}")

    def only(self, name: str, hint: str = "") -> Path | None:
        """The file of this name (patterns allowed), anywhere below the root; None where there is none. `hint`: as for
        `find`.

        Raises:
            FileNotFoundError: there is more than one.
        """
        found = sorted(path for path in self.root.rglob(name) if path.is_file())
        if name.startswith("*"):  # what `data export` has put beside the tables is none of them
            found = [path for path in found if path.name != MANIFEST]
        if len(found) > 1:
            listed = ", ".join(str(path.relative_to(self.root)) for path in found[:5])
            raise FileNotFoundError(f"{self.root}: {name} is there {len(found)} times ({listed}); keep one{hint}")
        return found[0] if found else None

    def rows(
        self, path: Path, required: Sequence[str], delimiter: str = ",", published: int | None = None
    ) -> Iterator[dict[str, str]]:
        """The rows of a .csv; the first of `required` is the id. Cells that say NaN are empty. A row met before is
        listed and left out. That there are not as many ids as were `published` is listed: it may be another table.

        Raises:
            ValueError: a required column is not there, or the file is no UTF-8.
        """
        seen: dict[str, int] = {}
        key = required[0]
        with open_text(path, newline="") as file:
            try:
                reader = csv.DictReader(file, delimiter=delimiter)
                names = [name.strip() for name in reader.fieldnames or ()]
                if absent := set(required) - set(names):
                    raise ValueError(f"{path}: no column {', '.join(sorted(absent))}; it has {', '.join(names)}")
                reader.fieldnames = names
                for raw in reader:
                    if raw.pop(None, None):
                        self.note("bad value", str(raw[key]), f"{path.name}, line {reader.line_num}: too many cells")
                        continue
                    row = {name: plain(value) for name, value in raw.items()}
                    if not row[key]:
                        if any(row.values()):
                            self.note("bad value", f"{path.name}:{reader.line_num}", f"a row without {key}")
                        continue
                    digest = hash(tuple(row.values()))
                    if row[key] in seen:
                        same = seen[row[key]] == digest
                        kind = "repeated row" if same else "conflicting rows"
                        self.note(kind, row[key], f"{path.name}, line {reader.line_num}; the first one counts")
                        continue
                    seen[row[key]] = digest
                    yield row
            except csv.Error as error:
                raise ValueError(f"{path}, line {reader.line_num}: is no row of a .csv ({error})") from None
        if published not in (None, len(seen)):
            detail = f"{len(seen)} clips, but {self.name} was published with {published}; is this its table?"
            self.note("another number of rows", path.name, detail)

    def column(self, path: Path, key: str, value: str) -> dict[str, str]:
        """{key: value} of a .csv."""
        return {row[key]: row[value] for row in self.rows(path, [key, value])}

    def media(self, id: str, video: str | None = "video", audio: str | None = "audio") -> dict[str, str] | None:
        """`video` and `audio` paths of a clip, which lies as `{folder}/{id}.*` (or right in the root); None, and
        listed, where there is neither. A folder of sound that is not there at all is no loss: the video has its track.
        """
        if not self.verify:
            if {"/", "\\"} & set(id) or id == "..":
                self.note("outside the root", id, "an id that is a path")
                return None
            return ({"video": str(self.root / video / f"{id}.mp4")} if video else {}) | (
                {"audio": str(self.root / audio / f"{id}.wav")} if audio and not video else {}
            )
        found: dict[str, str] = {}
        for kind, folder, suffixes in (("video", video, VIDEO_SUFFIXES), ("audio", audio, AUDIO_SUFFIXES)):
            if folder is None:
                continue
            path = self._index(folder, suffixes).get(number_or_name(id)) or self._index(".", suffixes).get(
                number_or_name(id)
            )
            if path is not None:
                self._asked.add(path)
                if self.inside(path, id):
                    found[kind] = str(path)
            elif kind == "video" or video is None or (self.root / folder).is_dir():
                self.note("missing file", id, f"{folder}/{id}{suffixes[0]}")
        return found or None

    def at(self, path: str, id: str) -> str | None:
        """A path that an annotation names, below the root. One of another machine is looked for by its last parts;
        None, and listed, where it is not there or leads out of the root."""
        given = path.replace("\\", "/")
        parts = [part for part in given.split("/") if part not in ("", ".")]
        foreign = given.startswith("/") or re.match(r"[A-Za-z]:", given)
        if ".." in parts or not parts:
            self.note("outside the root", id, path)
            return None
        for start in range(len(parts) if foreign else 1):
            candidate = self.root.joinpath(*parts[start:])
            if not self.verify or candidate.exists():
                return str(candidate) if self.inside(candidate, id) else None
        self.note("missing file", id, path)
        return None

    def inside(self, path: Path, id: str) -> bool:
        """Whether a path stays in the root when symbolic links are followed; listed where it does not."""
        real = path.resolve()
        if self.links or real.is_relative_to(self.root.resolve()):
            return True
        how = f"leads to {real}" if str(real) != os.path.abspath(path) else f"is not below {self.root}"
        self.note(
            "outside the root", id, f"{path} {how}; --links (links=True, in a recipe input.links=true) follows it"
        )
        return False

    def sample(self, id: str, media: dict[str, str] | None, **fields: Any) -> Iterator[EmotionSample]:
        """The sample, or nothing where it has no media (which has been listed)."""
        if media and (media := self.opened(id, media)):
            known: dict[str, Any] = {**media, "source": self.name, "licence": self.licence}
            yield EmotionSample(id, **known, **fields)

    def opened(self, id: str, media: dict[str, str]) -> dict[str, str]:
        """With `probe`, what of `media` really is video and audio; what is not has been listed."""
        if not self.probe:
            return media
        from xemogpt.media_xemogpt import probe

        kept = dict(media)
        for kind, path in media.items():
            try:
                info = probe(path)
            except (OSError, ValueError) as error:
                self.note("unreadable", id, one_line(error))
                del kept[kind]
                continue
            if info.duration is not None:
                self.seconds[path] = info.duration
            if kind == "video" and not info.has_video:
                self.note("no such stream", id, f"{os.path.basename(path)} has no video stream; it counts as sound")
                kept.setdefault("audio", kept.pop("video"))
                kept.pop("video", None)
            elif kind == "audio" and not info.has_audio:
                self.note("no such stream", id, f"{os.path.basename(path)} has no audio stream")
                del kept[kind]
        return kept

    def list_unlisted(self) -> None:
        """Note the files of the folders looked at so far that no table named."""
        for (folder, _), index in self._indices.items():
            if folder != ".":
                for path in set(index.values()) - self._asked:
                    self.note("unlisted file", path.stem, str(path.relative_to(self.root)))

    def list_unlisted_but(self, named: Container[str]) -> None:
        """Note all media below the root but those that were named, by their absolute paths."""
        for path in self.media_files():
            if os.path.abspath(path) not in named:
                self.note("unlisted file", path.stem, path.relative_to(self.root).as_posix())

    def media_files(self) -> Iterator[Path]:
        """All video and sound below the root by folder. What is hidden is left out, and so are folders that are links
        out of the root, unless `links`; `unfollowed` has these."""
        root = self.root.resolve()
        seen = {root}
        for folder, inner, names in os.walk(self.root, followlinks=True):
            for name in sorted(inner):
                real = Path(folder, name).resolve()
                if name.startswith(".") or real in seen:
                    inner.remove(name)
                elif not self.links and not real.is_relative_to(root):
                    inner.remove(name)
                    self.unfollowed.add(name)
                seen.add(real)
            inner.sort()
            for name in sorted(names):
                if not name.startswith(".") and name.lower().endswith(VIDEO_SUFFIXES + AUDIO_SUFFIXES):
                    yield Path(folder, name)

    def _index(self, folder: str, suffixes: tuple[str, ...]) -> dict[str, Path]:
        """Files by name without suffix; of two files the one whose suffix comes first."""
        if (folder, suffixes) not in self._indices:
            index: dict[str, Path] = {}
            here = self.root / folder
            deep = sorted(here.rglob("*") if folder != "." else here.iterdir()) if here.is_dir() else []
            for suffix in suffixes:
                for path in deep:
                    if path.suffix.lower() == suffix:
                        first = index.setdefault(number_or_name(path.stem), path)
                        if first != path:
                            self.note("two files", path.stem, f"{first.name} is taken, {path.name} is not")
            self._indices[folder, suffixes] = index
        return self._indices[folder, suffixes]


def plain(value: Any) -> str:
    """A cell as text; what `is_nothing` (NaN, null, blank) is empty, as in a manifest."""
    return "" if is_nothing(value) else str(value).strip()


def number(text: str) -> float:
    """A cell as a number.

    Raises:
        ValueError: it is none, or not finite.
    """
    if not math.isfinite(value := float(text)):
        raise ValueError(f"{text!r} is no number")
    return value


def number_or_name(id: str) -> str:
    """An id with its leading zeros gone, if it is a number: tables and files differ in them."""
    return id.lstrip("0") or "0" if id.isdecimal() else id


SEPARATORS = "[,;，；、]"  # of the words of a list


def parse_list(text: str) -> tuple[str, ...]:
    """Words of a list that was written as a string: "['happy', 'calm']", "[happy, calm]", '["happy"]', "happy; calm".

    Raises:
        ValueError: brackets that do not match, or something else than words inside.
    """
    text = text.strip()
    if text.startswith("[") != text.endswith("]"):
        raise ValueError(f"{text!r} is no list")
    try:
        words = ast.literal_eval(text) if text.startswith("[") else re.split(SEPARATORS, text)
    except (ValueError, SyntaxError):  # without quotes
        words = re.split(SEPARATORS, text[1:-1])
    if not all(isinstance(word, str) for word in words):
        raise ValueError(f"{text!r} holds something else than words")
    kept = [word.strip().strip("'\"").strip() for word in words]
    return tuple(dict.fromkeys(word.lower() for word in kept if word))


def by_language(text: str) -> dict[str, str]:
    """A text under the code of its language: Chinese if it has a Chinese character, else taken for English."""
    return {"zh" if _CHINESE.search(text) else "en": text} if text else {}


def header(file: Iterable[str], delimiter: str = ",") -> list[str]:
    """The first row of a .csv, which names its columns."""
    return [name.strip() for name in next(csv.reader(file, delimiter=delimiter), [])]


def _begins_with(path: Path, columns: list[str]) -> bool:
    with path.open(encoding="utf-8-sig", newline="", errors="replace") as file:
        return header(file) == columns
