# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Text files that people bring: UTF-8 with or without a byte order mark; of any other encoding it is said where."""

import codecs
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@contextmanager
def open_text(path: str | os.PathLike, newline: str | None = None) -> Iterator[TextIO]:
    """A text file, opened for reading.

    Raises:
        ValueError: when it is read, if it is not UTF-8; names the file and the line. OSError: it cannot be opened.
    """
    with Path(path).open(encoding="utf-8-sig", newline=newline) as file:
        try:
            yield file
        except UnicodeDecodeError:
            raise ValueError(_not_utf8(Path(path))) from None


def read_text(path: str | os.PathLike) -> str:
    """All of a text file; errors as `open_text`."""
    with open_text(path) as file:
        text = file.read()
    if "\0" in text[:2]:  # UTF-16 without its mark
        raise ValueError(_is_utf16(path))
    return text


def read_json(path: str | os.PathLike) -> Any:
    """What a JSON file holds.

    Raises:
        ValueError: it is no JSON, or not UTF-8. OSError: it cannot be opened.
    """
    text = read_text(path)
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{os.fspath(path)}: is no JSON ({error})") from None


def _not_utf8(path: Path) -> str:
    with path.open("rb") as file:
        if (start := file.read(2)) in _MARKS or 0 in start:
            return _is_utf16(path)
        file.seek(0)
        line = next((number for number, line in enumerate(file, 1) if not _is_utf8(line)), 1)
    return f"{path}, line {line}: is not UTF-8 text; save it as UTF-8 (iconv -f LATIN1, GBK, ... -t UTF-8)"


def _is_utf16(path: str | os.PathLike) -> str:
    return f"{os.fspath(path)}: is not UTF-8 text but UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"


def _is_utf8(line: bytes) -> bool:
    try:
        line.decode()
    except UnicodeDecodeError:
        return False
    return True
