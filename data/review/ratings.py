# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What is shown to a rater, in which order, and what the rater says of it.

The input is the `review.jsonl` of a built data set. Every rater has an order of their own, and sees some clips again,
sides exchanged, so that it can be told how far they agree with themselves. All of this follows from the names, so
whoever comes back goes on where they were.
"""

import hashlib
import json
import math
import os
import random
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.jsonl import JsonLines
from xemogpt.data.readers.source import AUDIO_SUFFIXES, VIDEO_SUFFIXES
from xemogpt.data.text import read_text

DIMENSIONS = ("visual", "audio", "global")
SIDES = ("left", "right")
TEXTS = ("new", "old")
LEVELS = (1, 2, 3, 4, 5)
_LONGEST_NAME = 32


@dataclass(frozen=True)
class Item:
    """A clip and its two texts; `left_is` says which of TEXTS stands left. An empty text is not rated."""

    id: str
    video: str | None
    audio: str | None
    left: str
    right: str
    left_is: str
    repeat: bool = False

    @property
    def key(self) -> str:
        """Names the item without saying anything about it."""
        return hashlib.sha256(f"{self.id}:{self.repeat}".encode()).hexdigest()[:16]

    @property
    def sides(self) -> list[str]:
        """The sides that have a text."""
        return [side for side in SIDES if getattr(self, side)]

    @property
    def files(self) -> dict[str, str]:
        """What is played, by names that tell nothing: the clip, and the sound that a video has in its own file."""
        clip = {self.key: self.video or self.audio or ""}
        return clip | ({self.sound_key: self.audio} if self.video and self.audio else {})

    @property
    def sound_key(self) -> str:
        """Names the sound that a video has in a file of its own."""
        return f"{self.key}-sound"

    def again(self) -> "Item":
        """The same clip with its sides exchanged."""
        other = TEXTS[self.left_is == "new"]
        return Item(self.id, self.video, self.audio, self.right, self.left, other, repeat=True)


def read_items(path: str | os.PathLike, root: str | os.PathLike | None = None) -> list[Item]:
    """The clips to be judged. Only files that are called video or sound are served, and those below `root` if given.

    Raises:
        ValueError: a line that is none, an id twice, no text, a file of another kind or outside the root.
        FileNotFoundError: no such file, or a clip's.
    """
    items: list[Item] = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        try:
            row = json.loads(line)
            parts = {name: row[name] for name in ("id", "video", "audio", "left", "right", "left_is")}
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: is no clip to review ({error})") from None
        if parts["left_is"] not in TEXTS:
            raise ValueError(f"{path}, line {number}: left_is is neither of {', '.join(TEXTS)}")
        item = Item(**parts)
        if not item.sides:
            raise ValueError(f"{path}, line {number}: {item.id}: has no text to rate")
        for file in filter(None, (item.video, item.audio)):
            if not file.lower().endswith(VIDEO_SUFFIXES + AUDIO_SUFFIXES):
                raise ValueError(f"{path}, line {number}: {item.id}: {file} is no video and no sound")
            if root is not None and not Path(file).resolve().is_relative_to(Path(root).resolve()):
                raise ValueError(f"{path}, line {number}: {item.id}: {file} is not below {root}")
            if not Path(file).is_file():
                raise FileNotFoundError(f"{path}, line {number}: {item.id}: no file {file}")
        items.append(item)
    if not items:
        raise ValueError(f"{path}: no clip to review")
    if len({item.id for item in items}) < len(items):
        raise ValueError(f"{path}: an id is there twice")
    return items


def order(items: list[Item], rater: str, repeats: float = 0.1) -> list[Item]:
    """What a rater sees: all clips in an order of their own, then a share of them again, but not the last at once."""
    dice = random.Random(f"review:{rater}")
    first = sorted(items, key=lambda item: item.id)
    dice.shuffle(first)
    chosen = dice.sample(first[: max(1, len(first) - 1)], min(len(first) - 1, round(repeats * len(first))))
    return first + [item.again() for item in chosen]


def rater_name(text: str) -> str:
    """A rater's name, which names their file: in any script, and one whichever way its accents were typed.

    Raises:
        ValueError: longer than 32 characters, or of others than letters, digits, - and _.
    """
    name = unicodedata.normalize("NFC", text.strip())
    kinds = ["L" if letter in "-_" else unicodedata.category(letter)[0] for letter in name]  # M: vowel signs, accents
    if not 0 < len(name) <= _LONGEST_NAME or set(kinds) - set("LMN") or not name[0].isalnum():
        raise ValueError(
            f"{text[:40]!r}: a rater's name has 1 to 32 letters, digits, - and _, and begins with neither"
        )
    return name


class Ratings:
    """A rater's file, `{folder}/{rater}.jsonl`: one line an item, on disk when `add` returns.

    Raises:
        ValueError: a name that is no file's name, a file of something else, or one that another program writes.
    """

    def __init__(self, folder: str | os.PathLike, rater: str, items: list[Item]):
        rater = rater_name(rater)
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.rater, self.items = rater, {item.key: item for item in items}
        self._file = JsonLines(Path(folder) / f"{rater}.jsonl", required="key", first="key")
        self.done = {row["key"] for row in self._file.rows}

    def next(self) -> Item | None:
        """The next item, or None at the end."""
        return next((item for key, item in self.items.items() if key not in self.done), None)

    def add(self, key: str, scores: dict[str, dict[str, int | None]], seconds: float) -> None:
        """Keep the scores of an item: by side, by dimension; None for what the clip does not have.

        Raises:
            ValueError: no such item, one that was rated before, or scores that are not whole.
        """
        if key not in self.items:
            raise ValueError("no such item; load the page again")
        if key in self.done:
            raise ValueError("this item was rated before; load the page again")
        item = self.items[key]
        if not math.isfinite(seconds):
            raise ValueError(f"seconds {seconds!r} is no number")
        row = rating(item, self.rater, scores) | {"seconds": round(float(seconds), 1)}
        self._file.append(row)
        self.done.add(key)

    def close(self) -> None:
        """Let another program have the file."""
        self._file.__exit__()


def rating(item: Item, rater: str, scores: dict[str, dict[str, int | None]]) -> dict[str, Any]:
    """A row of a rater's file: the scores by text, no longer by side.

    Raises:
        ValueError: scores that are not whole, or not 1 to 5. The rater is told it: it never names the clip.
    """
    if set(scores) != set(item.sides) or any(set(given) != set(DIMENSIONS) for given in scores.values()):
        raise ValueError(f"needs {', '.join(DIMENSIONS)} of {' and '.join(item.sides)}")
    for given in scores.values():
        if wrong := [
            value for value in given.values() if value is not None and (value not in LEVELS or value is True)
        ]:
            raise ValueError(f"{wrong[0]!r} is none of 1 to 5")
    other = TEXTS[item.left_is == "new"]
    names = {"left": item.left_is, "right": other}
    by_text = {names[side]: {name: given[name] for name in DIMENSIONS} for side, given in scores.items()}
    return {"key": item.key, "id": item.id, "rater": rater, "repeat": item.repeat, "scores": by_text}


def read_ratings(paths: Iterable[str | os.PathLike]) -> list[dict[str, Any]]:
    """All rows of raters' files; half a line at the end, which a crash leaves, is no row.

    Raises:
        ValueError: a line that is no rating, or one that a rater gave twice.
    """
    rows: list[dict[str, Any]] = []
    seen: set[tuple[str, str, bool]] = set()
    for path in paths:
        for number, line in enumerate(Path(path).read_bytes().splitlines(keepends=True), 1):
            if not line.endswith(b"\n"):
                continue
            try:
                row = json.loads(line)
                who = (row["rater"], row["id"], bool(row["repeat"]))
                for given in row["scores"].values():
                    if any(given[name] is not None and given[name] not in LEVELS for name in DIMENSIONS):
                        raise ValueError("a score is none of 1 to 5")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(f"{path}, line {number}: is no rating ({error})") from None
            if who in seen:
                raise ValueError(f"{path}, line {number}: {who[0]} has rated {who[1]} before")
            seen.add(who)
            rows.append(row)
    return rows
