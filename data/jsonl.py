# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Files with one JSON object a line: results that outlive a kill, and errors as one line of text."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows has no such locks
    fcntl = None  # type: ignore[assignment]

_LINE_ENDS = {code: f"\\u{code:04x}" for code in (0x85, 0x2028, 0x2029)}


def read_rows(path: Path, whole: bool = True) -> Iterator[dict[str, Any]]:
    """The rows of a file; of one that is being written the last may be torn (`whole=False` leaves it out)."""
    with path.open("rb") as file:
        for line in file:
            if whole or line.endswith(b"\n"):
                yield json.loads(line)


class JsonLines:
    """A file with one JSON object a line that outlives a kill: a row is on disk when `append` returns.

    Opening it reads `rows` and cuts off half a row at the end, which a kill may have left. The first row makes the
    file. While it is open no other run can have it. Rows have `required` in them, and `first` is their first key.

    Raises:
        ValueError: the file holds something else than rows with `required` in them (it is left as it is), or another
            run has it.
    """

    def __init__(self, path: Path, required: str, first: str = "video"):
        self.path, self.required, self._start = path, required, f'{{"{first}"'.encode()
        self._file: BinaryIO | None = None
        self.rows: list[dict[str, Any]] = []
        if path.exists():
            self._open()
            self.rows = self._recover()
        elif not path.parent.is_dir():
            raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} in; make it first")

    def __enter__(self) -> "JsonLines":
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def append(self, row: dict[str, Any], sync: bool = True) -> None:
        """Write one row, down to the disk; without `sync` it outlives a kill, but maybe no power cut."""
        file = self._file or self._open()
        file.write(json_line(row))
        file.flush()
        if sync:
            os.fsync(file.fileno())

    def rewrite(self, rows: list[dict[str, Any]]) -> None:
        """Replace the whole file, at once or not at all."""
        scratch = self.path.with_name(f".{self.path.name}.part")
        scratch.write_bytes(b"".join(map(json_line, rows)))
        self.__exit__()  # some systems replace no file that is open
        os.replace(scratch, self.path)
        self._open()
        self.rows = rows

    def _open(self) -> BinaryIO:
        self._file = file = self.path.open("ab+")
        try:
            if fcntl is not None:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise ValueError(f"{self.path}: another run is writing it; wait for it, or name another file") from None
        return file

    def _recover(self) -> list[dict[str, Any]]:
        assert self._file is not None
        self._file.seek(0)
        *lines, torn = self._file.read().split(b"\n")
        rows = []
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line)
            except ValueError:
                row = None
            if not isinstance(row, dict) or self.required not in row:
                raise ValueError(f"{self.path}, line {number}: is no row that this command writes; name another file")
            rows.append(row)
        if not (torn.startswith(self._start) or self._start.startswith(torn)):
            raise ValueError(f"{self.path}: ends in something else than half a row; name another file")
        self._file.truncate(sum(len(line) + 1 for line in lines))
        return rows


def one_line(error: BaseException) -> str:
    """An error's message on one line; its type in front where the message alone would not say what happened."""
    message = " ".join(str(error).split())
    plain = isinstance(error, (ValueError, OSError, ImportError)) and message
    return message if plain else f"{type(error).__name__}: {message}".rstrip(": ")


def json_line(row: dict[str, Any]) -> bytes:
    """A row as one line of UTF-8 JSON, with its end; no reader's idea of a line end occurs inside."""
    text = json.dumps(row, ensure_ascii=False).translate(_LINE_ENDS) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError:  # a file name that is no valid Unicode
        return f"{json.dumps(row)}\n".encode()
