# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Checkpoints that can be trusted: a list of files, written last, tells a whole one from a torn one."""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

SEAL = "complete.json"


def seal(checkpoint: str | os.PathLike, configuration: dict[str, Any] | None = None) -> None:
    """Writes the list of all files of a checkpoint and their sizes, at once or not at all, once these are on disk.

    Args:
        configuration: the settings it was trained with, see `refuse_other_configuration`.
    """
    folder = Path(checkpoint)
    files = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            os.fsync(file.fileno())
        files[path.relative_to(folder).as_posix()] = path.stat().st_size
    scratch = folder / f".{SEAL}.part"
    content = {"configuration": configuration or {}, "files": files}
    scratch.write_text(json.dumps(content, indent=1, default=str) + "\n", encoding="utf-8")
    os.replace(scratch, folder / SEAL)


def refuse_other_configuration(checkpoint: str | os.PathLike, configuration: dict[str, Any]) -> None:
    """Raises ValueError where a checkpoint was trained with other settings; names them with both values."""
    try:
        before = json.loads((Path(checkpoint) / SEAL).read_text(encoding="utf-8")).get("configuration") or {}
    except FileNotFoundError:
        raise ValueError(f"{checkpoint}: is no checkpoint of this program: it has no {SEAL}") from None
    now = json.loads(json.dumps(configuration, default=str))
    other = [name for name in before if name in now and before[name] != now[name]]
    if other:
        told = ", ".join(f"{name} {before[name]!r}, now {now[name]!r}" for name in other)
        raise ValueError(
            f"{checkpoint} is of another configuration ({told}): set it back, or name another output_dir to start anew"
        )


def rows_digest(rows: Iterable[tuple[str, str]]) -> str:
    """What a configuration says of the data: how many rows, and a hash of their ids and texts in order."""
    listed = list(rows)
    return f"{len(listed)} of hash {hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]}"


def damage(checkpoint: str | os.PathLike) -> str | None:
    """What is wrong with a checkpoint, or None."""
    folder = Path(checkpoint)
    try:
        files = json.loads((folder / SEAL).read_text(encoding="utf-8"))["files"]
    except FileNotFoundError:
        return f"it has no {SEAL}, which is written last"
    except (ValueError, KeyError):
        return f"its {SEAL} is torn"
    for name, size in files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != size:
            return f"{name} is missing or has another size than when it was written"
    return None


def last_whole_checkpoint(output_dir: str | os.PathLike) -> str | None:
    """The newest undamaged checkpoint of a run, or None where there is none; damaged ones are named in a warning.

    Folders without a seal are what a kill during a save leaves: where there are no others, the run starts anew.

    Raises:
        ValueError: there are checkpoints that were whole once, but none is now.
    """
    numbered = [
        (int(path.name.rpartition("-")[2]), path)
        for path in Path(output_dir).glob("checkpoint-*")
        if path.is_dir() and path.name.rpartition("-")[2].isdecimal()
    ]
    broken = []
    for _, path in sorted(numbered, reverse=True):
        why = damage(path)
        if why is None:
            return os.fspath(path)
        logger.warning("%s is damaged and not used: %s", path, why)
        broken.append(path.name)
    if any((Path(output_dir) / name / SEAL).exists() for name in broken):
        raise ValueError(f"{output_dir}: every checkpoint is damaged ({', '.join(broken)}); remove them to start anew")
    if broken:
        logger.warning("%s: no checkpoint was ever whole, so the run starts anew", output_dir)
    return None


def discard(checkpoint: str | os.PathLike) -> None:
    """Removes what a failed save has left, so that it takes no room from the next."""
    shutil.rmtree(checkpoint, ignore_errors=True)
