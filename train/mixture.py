# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Mixtures of data sets with weights, and the check that every clip can be read before training begins."""

import hashlib
import json
import os
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch.utils.data import Sampler
from tqdm import tqdm
from transformers.trainer_pt_utils import get_length_grouped_indices

from xemogpt.data.jsonl import JsonLines, one_line
from xemogpt.data.sample import EmotionSample, read_manifest


@dataclass
class Mixture:
    """The samples of several manifests, in order, and how often each manifest is taken in an epoch."""

    samples: list[EmotionSample] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)  # of each sample


def read_mixture(
    entries: Sequence[dict[str, Any]], forbidden_splits: Sequence[str] = ("test",), weighted: bool = True
) -> Mixture:
    """The samples of `[{"manifest": PATH, "weight": 1.0}, ...]`.

    Args:
        weighted: False for what takes each clip once, such as validation.

    Raises:
        ValueError: an entry with other keys, a weight that is not positive or has no meaning here, an id in two
            manifests, or samples of a split that may not be used (by the beginning of its name: `test` stands for
            `test_identity`, too).
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
        if weight != 1 and not weighted:
            raise ValueError(f"{path}: weight {weight!r}: here every clip is taken once; leave the weight out")
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


class EpochSampler(Sampler[int]):
    """The order of an epoch, drawn from `seed` and the epoch alone and not from the state of a generator.

    Args:
        count: of rows. lengths: of the rows, to put rows of like length into the same `batch`; None for no grouping.
        batch: rows of one optimizer step, of all processes together.
    """

    def __init__(self, count: int, seed: int, lengths: Sequence[int] | None = None, batch: int = 1):
        self.count, self.seed, self.lengths, self.batch, self.epoch = count, seed, lengths, batch, 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch that is iterated next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[int]:
        draw = torch.Generator().manual_seed(self.seed * 1_000_003 + self.epoch)
        if self.lengths is None:
            return iter(torch.randperm(self.count, generator=draw).tolist())
        grouped = get_length_grouped_indices(self.lengths, self.batch, generator=draw)
        # These come sorted, from the longest of every fifty batches to the shortest: a model so trained ends with what
        # short answers have in common. So batches are shuffled; the longest stays first, as a test of memory, and one
        # that is not full stays last.
        first, *rest = [grouped[start : start + self.batch] for start in range(0, self.count, self.batch)]
        last = [rest.pop()] if rest and len(rest[-1]) < self.batch else []
        shuffled = [rest[index] for index in torch.randperm(len(rest), generator=draw).tolist()]
        return iter([index for batch in (first, *shuffled, *last) for index in batch])


class Checked(NamedTuple):
    """What became of reading a clip: the length in tokens of each of its rows, by id, and the media that it holds; or
    why it is of no use."""

    lengths: dict[str, int]
    reason: str | None
    media: list[str]


def check_clips(
    samples: Iterable[EmotionSample],
    read: Callable[[EmotionSample], tuple[dict[str, int], list[str]]],
    output_dir: str | os.PathLike,
    settings: Any = None,
    workers: int = 4,
) -> dict[str, Checked]:
    """Reads every clip once, before training. Those that cannot be read are listed in `rejects.jsonl` in `output_dir`.

    What was read is noted in `checked.jsonl` there: a second run looks only at samples that are new or have changed.
    One process alone may call it; others ask `noted_clips` afterwards.

    Args:
        read: reads a sample as training will, and gives its lengths and media; a ValueError is the reason, and so is
            a file that is not there, for which the next run looks again.
        settings: whatever else the outcome depends on.
        workers: threads; decoding leaves Python's lock.

    Raises:
        OSError: a file could not be read, which need not be the fault of the file.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    gone = set()
    with JsonLines(folder / "checked.jsonl", "state", first="id") as notes:
        known = {row["id"]: row for row in notes.rows if row.keys() >= set(Checked._fields)}
        every = [(each, _state(each, settings)) for each in samples]
        todo = [(each, state) for each, state in every if known.get(each.id, {}).get("state") != state]

        def check(sample: EmotionSample) -> Checked:
            try:
                lengths, media = read(sample)
                return Checked(lengths, None, media)
            except (ValueError, FileNotFoundError) as error:
                if isinstance(error, FileNotFoundError):
                    gone.add(sample.id)
                return Checked({}, one_line(error), [])

        with ThreadPoolExecutor(max(1, workers), thread_name_prefix="check") as pool:
            found = pool.map(check, [each for each, _ in todo])
            bar = tqdm(zip(todo, found, strict=True), total=len(todo), unit="clip", desc="check", disable=None)
            for (sample, state), checked in bar:
                row = {"id": sample.id, "state": None if sample.id in gone else state, **checked._asdict()}
                notes.append(row, sync=False)  # what a power cut takes is read again
                known[sample.id] = row
    results = {each.id: Checked(*(known[each.id][name] for name in Checked._fields)) for each, _ in every}
    refused = {id: checked.reason for id, checked in sorted(results.items()) if checked.reason is not None}
    rejects = folder / "rejects.jsonl"
    if refused or rejects.exists():
        with JsonLines(rejects, "reason", first="id") as file:
            file.rewrite([{"id": id, "reason": reason} for id, reason in refused.items()])
    return results


def noted_clips(samples: Iterable[EmotionSample], output_dir: str | os.PathLike) -> dict[str, Checked]:
    """What `check_clips` has just noted of the samples in another process; no lock is taken and no clip looked at.

    Raises:
        ValueError: there is no note of a sample.
    """
    path = Path(output_dir, "checked.jsonl")
    lines = path.read_bytes().splitlines() if path.exists() else []
    known = {row["id"]: Checked(*map(row.get, Checked._fields)) for row in map(json.loads, lines)}
    ids = [each.id for each in samples]
    if missing := [id for id in ids if id not in known]:
        raise ValueError(
            f"{path}: says nothing of {missing[0]}, which the main process has checked: set output_dir to a folder "
            "that all processes share"
        )
    return {id: known[id] for id in ids}


def _state(sample: EmotionSample, settings: Any) -> list[Any]:
    """What tells whether a sample is as it was: its row, and size and time of its files, None for a missing one."""
    text = json.dumps([sample.to_row(), settings], sort_keys=True, default=str)
    found: list[Any] = [hashlib.sha256(text.encode()).hexdigest()[:16]]
    for path in filter(None, (sample.video, sample.audio)):
        try:
            status = os.stat(path)
            found.append([path, status.st_size, status.st_mtime_ns])
        except OSError:
            found.append([path, None, None])
    return found
