# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Samples into one file, a manifest (.jsonl) or a table (.parquet): streamed, and there whole or not at all."""

import dataclasses
import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

from xemogpt.data.jsonl import json_line
from xemogpt.data.sample import EmotionSample
from xemogpt.data.schema import features, to_record

_ROWS = 1000  # of a row group


def export_samples(samples: Iterable[EmotionSample], out: str | os.PathLike) -> int:
    """Write samples and return how many. Media below the file's folder are named relative to it, others in full.

    Raises:
        ValueError: neither .jsonl nor .parquet, or an id twice. FileNotFoundError: no such folder to write in.
    """
    path = Path(out)
    if path.suffix not in (".jsonl", ".parquet"):
        raise ValueError(f"{path}: a manifest ends in .jsonl, a table in .parquet")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path.parent}: no such folder to write {path.name} in; make it first")
    scratch = path.with_name(f".{path.name}.part")
    folders = [Path(os.path.abspath(path.parent)), path.parent.resolve()]  # clips may be named by either
    located = (_relative(sample, folders) for sample in _once(samples))
    try:
        count = _write_jsonl(located, scratch) if path.suffix == ".jsonl" else write_parquet(located, scratch)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
    return count


def write_parquet(samples: Iterable[EmotionSample], path: Path) -> int:
    """Write samples as parquet with `datasets`' own schema in it, so that `load_dataset` gives `features()` back."""
    wanted = features()
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise ImportError('parquet needs pyarrow: pip install "xemogpt[data]"') from None
    schema, count, rest = wanted.arrow_schema, 0, iter(samples)
    with pq.ParquetWriter(path, schema) as writer:
        while records := [to_record(sample) for sample in islice(rest, _ROWS)]:
            writer.write_table(pa.Table.from_pylist(records, schema=schema))
            count += len(records)
    return count


def _write_jsonl(samples: Iterable[EmotionSample], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for count, sample in enumerate(samples, 1):  # noqa: B007
            file.write(json_line(sample.to_row()))
        file.flush()
        os.fsync(file.fileno())
    return count


def _once(samples: Iterable[EmotionSample]) -> Iterator[EmotionSample]:
    seen = set()
    for sample in samples:
        if sample.id in seen:  # no reader of manifests would take it
            raise ValueError(f"{sample.id}: is there twice; `xemogpt data check` says in which splits")
        seen.add(sample.id)
        yield sample


def _relative(sample: EmotionSample, folders: list[Path]) -> EmotionSample:
    def named() -> Iterator[tuple[str, str]]:
        for kind in ("video", "audio"):
            if given := getattr(sample, kind):
                full = Path(os.path.abspath(given))
                here = next((folder for folder in folders if full.is_relative_to(folder)), None)
                yield kind, full.relative_to(here).as_posix() if here else str(full)

    return dataclasses.replace(sample, **dict(named()))  # type: ignore[arg-type]
