# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Mixtures of data sets with weights, and the check that every clip can be read before training begins."""

import os
import random
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xemogpt.data.jsonl import JsonLines, one_line
from xemogpt.data.sample import EmotionSample, read_manifest


@dataclass
class Mixture:
    """The samples of several manifests, in order, and how often each manifest is taken in an epoch."""

    samples: list[EmotionSample] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # of each sample


def read_mixture(entries: Sequence[dict[str, Any]], forbidden_splits: Sequence[str] = ("test",)) -> Mixture:
    """The samples of `[{"manifest": PATH, "weight": 1.0}, ...]`.

    Raises:
        ValueError: an entry with other keys, a weight that is not positive, an id in two manifests, or samples of a
            split that may not be used (by the beginning of its name: `test` stands for `test_identity`, too).
        OSError: a manifest cannot be read.
    """
    mixture = Mixture()
    seen: dict[str, str] = {}
    for entry in entries:
        if not isinstance(entry, dict) or set(entry) - {"manifest", "weight"} or "manifest" not in entry:
            raise ValueError(f"an entry of a mixture is {{manifest: PATH, weight: 1.0}}, not {entry!r}")
        path, weight = entry["manifest"], entry.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not 0 < weight < float("inf"):
            raise ValueError(f"{path}: the weight must be a positive number, not {weight!r}")
        for sample in read_manifest(path):
            if sample.id in seen:
                raise ValueError(f"{path}: id {sample.id!r} is in {seen[sample.id]} already")
            if any((sample.split or "").startswith(split) for split in forbidden_splits):
                raise ValueError(f"{path}: {sample.id} is of split {sample.split!r}, which must not be used here")
            seen[sample.id] = os.fspath(path)
            mixture.samples.append(sample)
            mixture.weights.append(float(weight))
    return mixture


def epoch_rows(rows_of: Sequence[Sequence[Any]], weights: Sequence[float], seed: int) -> list[Any]:
    """The rows of an epoch: those of a sample of weight 2.5 twice, and a third time for half of such samples.

    Drawn once, by `seed`: every epoch has the same rows, in an order of its own. So a resumed run has them too.
    """
    draw = random.Random(seed)
    chosen = []
    for rows, weight in zip(rows_of, weights, strict=True):
        times = int(weight) + (draw.random() < weight % 1)
        chosen += [row for _ in range(times) for row in rows]
    return chosen


def check_clips(
    samples: Iterable[EmotionSample],
    read: Callable[[EmotionSample], Any],
    output_dir: str | os.PathLike,
    workers: int = 4,
) -> dict[str, str]:
    """Reads every clip once, before training: id -> reason of those that cannot be read.

    They are listed in `rejects.jsonl` in `output_dir`. What was read is noted in `checked.jsonl` there, so that a
    second run looks only at files that are new or have changed.

    Args:
        read: reads a sample as training will; whatever it raises is the reason.
        workers: threads; decoding leaves Python's lock.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    with JsonLines(folder / "checked.jsonl", "files", first="id") as checked:
        known = {row["id"]: row for row in checked.rows}
        todo = [(each, _files(each)) for each in samples]
        reasons = {
            each.id: known[each.id]["reason"]
            for each, files in todo
            if each.id in known and known[each.id]["files"] == files and known[each.id]["reason"]
        }
        todo = [(each, files) for each, files in todo if known.get(each.id, {}).get("files") != files]

        def reason(sample: EmotionSample) -> str | None:
            try:
                read(sample)
            except (ValueError, OSError) as error:
                return one_line(error)
            return None

        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="check") as pool:
            found = pool.map(reason, [each for each, _ in todo])
            bar = tqdm(zip(todo, found, strict=True), total=len(todo), unit="clip", desc="check", disable=None)
            for (sample, files), why in bar:
                checked.append({"id": sample.id, "files": files, "reason": why})
                if why is not None:
                    reasons[sample.id] = why
    rejects = folder / "rejects.jsonl"
    if reasons or rejects.exists():
        with JsonLines(rejects, "reason", first="id") as file:
            file.rewrite([{"id": id, "reason": why} for id, why in sorted(reasons.items())])
    return reasons


def _files(sample: EmotionSample) -> list[list[Any]]:
    """Name, size and time of a sample's files; what is missing has no size."""
    found: list[list[Any]] = []
    for path in filter(None, (sample.video, sample.audio)):
        try:
            status = os.stat(path)
            found.append([path, status.st_size, status.st_mtime_ns])
        except OSError:
            found.append([path, None, None])
    return found
