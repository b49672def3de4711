# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Frozen towers say the same thing every epoch: what they said of each clip (or text), on disk, encoded once.

    cache.json                 what made it: tower (a hash of its weights), processor settings, width, dtype
    shard-HASH.safetensors     `features` (rows, width) of many clips one after another, their names in the header
    rejects.jsonl              files that could not be read, with the reason; never replaced by another

A clip is known by the SHA-256 of its file, so that a data set may be moved. A shard appears at once or not at all; a
kill costs what was not yet in a shard, at most a minute's work. Several processes may build one cache at once. Reading
is memory mapping: what fits into memory is read from the disk once, for all processes of the machine together.
"""

import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from filelock import FileLock
from safetensors.torch import save
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from xemogpt.data.jsonl import JsonLines, one_line

logger = logging.getLogger(__name__)

SHARD_BYTES = 256 * 2**20
SHARD_SECONDS = 60.0
ENTRY = ("key", "path", "size", "mtime_ns", "start", "length")


class Item(NamedTuple):
    """Something to encode: the sample's id, and its file, or a text."""

    id: str
    path: str | None = None
    text: str | None = None


class Place(NamedTuple):
    """Where the features of a clip lie: rows [start, start + length) of a shard."""

    shard: str
    start: int
    length: int


class Reject(NamedTuple):
    """A file of no use, with the reason."""

    id: str
    path: str
    reason: str


class FeatureCache:
    """The features of one tower under one processor.

    Args:
        folder: where it is, or will be.
        settings: what the features depend on, as JSON: they are written into `cache.json`, and a folder that was made
            with others is refused.

    Raises:
        ValueError: the folder belongs to other settings (names both), or a shard is broken.
    """

    def __init__(self, folder: str | os.PathLike, settings: dict[str, Any]):
        self.folder, self.settings = Path(folder), json.loads(json.dumps(settings))
        self.dtype: torch.dtype = getattr(torch, settings["dtype"])
        self.width: int = settings["width"]
        self.places: dict[str, Place] = {}
        self._files: dict[tuple[str, int, int], str] = {}  # path, size and time of change -> key
        self._maps: dict[str, torch.Tensor] = {}
        self._seen: set[str] = set()
        self._claim()
        self.refresh()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": {}}  # a process that gets a copy maps the shards itself

    def _claim(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        described = self.folder / "cache.json"
        with FileLock(self.folder / ".lock"):
            if not described.exists():
                scratch = described.with_suffix(".part")
                scratch.write_text(json.dumps(self.settings, indent=2) + "\n", encoding="utf-8")
                os.replace(scratch, described)
        made = json.loads(described.read_text(encoding="utf-8"))
        for name in sorted({*made, *self.settings}):
            if made.get(name) != self.settings.get(name):
                raise ValueError(
                    f"{self.folder}: is the cache of another {name}: {made.get(name)!r}, not "
                    f"{self.settings.get(name)!r}; name another folder, or remove this one"
                )

    def refresh(self) -> None:
        """Takes notice of shards that were written since, by this or another process."""
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if path.name not in self._seen:
                for row in json.loads(_header(path)[0]["__metadata__"]["entries"]):
                    entry = dict(zip(ENTRY, row, strict=True))
                    if entry["length"]:  # else only another path of a clip that is elsewhere
                        self.places[entry["key"]] = Place(path.name, entry["start"], entry["length"])
                    if entry["path"] is not None:
                        self._files[entry["path"], entry["size"], entry["mtime_ns"]] = entry["key"]
                self._seen.add(path.name)

    def key_of(self, item: Item) -> str | None:
        """The key under which an item is, if it is there and its file is still the same; no file is read."""
        if item.text is not None:
            key: str | None = text_digest(item.text)
        else:
            key = self._files.get((_absolute(item.path), *_stamp(item.path)))
        return key if key in self.places else None

    def __getitem__(self, key: str) -> torch.Tensor:
        """(length, width), a view into the mapped file."""
        place = self.places[key]
        return self._map(place.shard)[place.start : place.start + place.length]

    def length(self, key: str) -> int:
        return self.places[key].length

    def _map(self, shard: str) -> torch.Tensor:
        if shard not in self._maps:
            header, offset = _header(self.folder / shard)
            rows = header["features"]["shape"][0]
            if rows == 0:
                return torch.empty(0, self.width, dtype=self.dtype)
            data = np.memmap(self.folder / shard, dtype=np.uint8, mode="c", offset=offset)
            self._maps[shard] = torch.from_numpy(data).view(self.dtype).view(rows, self.width)
        return self._maps[shard]

    def read_ahead(self, limit_gb: float) -> bool:
        """Asks the system to read all shards into memory, if they take no more than `limit_gb`; it does not wait."""
        paths = [self.folder / name for name in self._seen]
        if sum(path.stat().st_size for path in paths) > limit_gb * 2**30 or not hasattr(os, "posix_fadvise"):
            return False
        for path in paths:
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
        return True

    def write(self, entries: list[tuple[str, Item, torch.Tensor | None]]) -> None:
        """Writes one shard of (key, item, features or None for another path of a known clip)."""
        rows, start, parts = [], 0, [torch.empty(0, self.width, dtype=self.dtype)]
        for key, item, features in entries:
            stamp = _stamp(item.path) if item.path is not None else (None, None)
            length = 0 if features is None else len(features)
            rows.append([key, None if item.path is None else _absolute(item.path), *stamp, start, length])
            if features is not None:
                parts.append(features.to(self.dtype))
                start += length
        listed = json.dumps(rows)
        name = f"shard-{hashlib.sha256(listed.encode()).hexdigest()[:16]}.safetensors"
        scratch = self.folder / f".{name}.{os.getpid()}.part"
        with scratch.open("wb") as file:
            file.write(save({"features": torch.cat(parts)}, metadata={"entries": listed}))
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, self.folder / name)
        self.refresh()

    def rejected(self) -> dict[str, dict[str, Any]]:
        """Rows of rejects.jsonl by path, of files that have not changed since."""
        path = self.folder / "rejects.jsonl"
        if not path.exists():
            return {}
        with FileLock(self.folder / ".lock"), JsonLines(path, "reason", first="id") as rejects:
            rows = {row["path"]: row for row in rejects.rows}
        return {name: row for name, row in rows.items() if [*_stamp(name)] == row["stamp"]}

    def reject(self, rejects: Iterable[Reject]) -> None:
        """Appends to rejects.jsonl."""
        with FileLock(self.folder / ".lock"), JsonLines(self.folder / "rejects.jsonl", "reason", first="id") as file:
            for each in rejects:
                where = _absolute(each.path)
                file.append({"id": each.id, "path": where, "reason": each.reason, "stamp": [*_stamp(where)]})


def build(
    cache: FeatureCache,
    items: list[Item],
    read: Callable[[str], Any],
    encode: Callable[[list[Any]], list[torch.Tensor]],
    batch_size: int = 8,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    shard_bytes: int = SHARD_BYTES,
) -> None:
    """Encodes what is not in the cache yet: of `world_size` processes, this is number `rank` and does its share.

    Args:
        read: decodes a file (in one of `workers` processes, where there are any); a ValueError, or a file that is not
            there, makes a reject.
        encode: what `read` gave of several files, or several texts -> the features of each, (length, width) each.

    Raises:
        OSError: a file could not be read, which need not be the fault of the file; the same call again goes on.
    """
    known = cache.rejected()
    todo = [
        item
        for item in items[rank::world_size]  # the same share whatever other processes have written meanwhile
        if cache.key_of(item) is None and (item.path is None or _absolute(item.path) not in known)
    ]
    if not todo:
        return
    loader = DataLoader(
        _Reader(todo, read), batch_size=batch_size, num_workers=workers, collate_fn=list, shuffle=False
    )
    pending: list[tuple[str, Item, torch.Tensor | None]] = []
    held, since = 0, time.monotonic()
    for batch in tqdm(loader, desc="encoding", unit="batch", disable=None):
        fresh: dict[str, tuple[Item, Any]] = {}
        for key, item, content, reason in batch:
            if reason is not None:
                cache.reject([Reject(item.id, item.path or "", reason)])
            elif key in cache.places or key in fresh:
                pending.append((key, item, None))
            else:
                fresh[key] = (item, content)
        if fresh:
            encoded = encode([content for _, content in fresh.values()])
            for (key, (item, _)), features in zip(fresh.items(), encoded, strict=True):
                pending.append((key, item, features))
                held += features.numel() * cache.dtype.itemsize
        if held >= shard_bytes or time.monotonic() - since > SHARD_SECONDS:
            cache.write(pending)
            pending, held, since = [], 0, time.monotonic()
    if pending:
        cache.write(pending)


class _Reader(Dataset):
    """Item -> its key, the item, its content, or why there is none."""

    def __init__(self, items: list[Item], read: Callable[[str], Any]):
        self.items, self.read = items, read

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> tuple[str, Item, Any, str | None]:
        item = self.items[index]
        if item.path is None:
            assert item.text is not None
            return text_digest(item.text), item, item.text, None
        try:
            with open(item.path, "rb") as file:
                key = hashlib.file_digest(file, "sha256").hexdigest()
            return key, item, self.read(item.path), None
        except (FileNotFoundError, ValueError) as error:
            return "", item, None, one_line(error)
        except OSError as error:
            if error.errno is None or error.filename is not None:
                raise
            raise OSError(error.errno, error.strerror, item.path) from error


def weights_digest(module: torch.nn.Module) -> str:
    """A hash of a tower's weights, the same in float32 as in bfloat16: both stand for the same tower."""
    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        tensor = tensor.detach().cpu().contiguous()
        whole = tensor.to(torch.bfloat16).view(torch.int16) if tensor.is_floating_point() else tensor
        digest.update(whole.numpy().tobytes())
    return digest.hexdigest()[:16]


def text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """A safetensors file's header, and where its data start."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            header = json.loads(file.read(size))
            end = header["features"]["data_offsets"][1]
            complete = path.stat().st_size == 8 + size + end and "entries" in header["__metadata__"]
        except (ValueError, KeyError, TypeError, OverflowError):
            complete = False
    if not complete:
        raise ValueError(f"{path}: is a broken shard; remove it, and its clips will be encoded anew")
    return header, 8 + size


def _absolute(path: str | os.PathLike | None) -> str:
    assert path is not None
    return os.path.abspath(path)


def _stamp(path: str | os.PathLike | None) -> tuple[int, int]:
    """Size and time of change of a file; (-1, -1) where there is none."""
    assert path is not None
    try:
        status = os.stat(path)
    except OSError:
        return -1, -1
    return status.st_size, status.st_mtime_ns
