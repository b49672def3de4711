# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Is a copy of a data set whole, and does its test part stay out of its training part?

Counts, missing files, duplicates, durations, labels, and leaks: samples of two splits (or of two data sets) with the
same id or with the same bytes. Only files of equal size are read for that.
"""

import hashlib
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xemogpt.data.readers import open_dataset
from xemogpt.data.readers.source import LOSSES, Problem
from xemogpt.data.sample import EmotionSample

_BLOCK = 1 << 20


@dataclass
class Report:
    """What `check_dataset` found.

    splits, labels, words: how many samples (by split, `label`, word of `labels`). seconds: shortest, median, longest,
    in all. duplicates: groups of ids within one split whose files have the same bytes. leaks: (how, who and who)
    across splits and data sets.
    """

    name: str
    samples: int = 0
    splits: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    labels: Counter[str] = field(default_factory=Counter)
    words: Counter[str] = field(default_factory=Counter)
    seconds: dict[str, float] = field(default_factory=dict)
    duplicates: list[list[str]] = field(default_factory=list)
    leaks: list[tuple[str, str]] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    @property
    def is_whole(self) -> bool:
        """Nothing lost and nothing leaked."""
        return not self.leaks and not any(problem.is_loss for problem in self.problems)

    def to_json(self) -> dict[str, Any]:
        """Everything, for a machine to read."""
        rows = [vars(problem) for problem in self.problems]
        return vars(self) | {"is_whole": self.is_whole, "problems": rows}

    def lines(self, most: int = 10) -> Iterable[str]:
        """For a person to read; `most` names of each kind."""
        yield f"{self.name}: {self.samples} samples ({_counts(self.splits)})"
        yield f"with: {_counts(self.parts)}"
        if self.labels:
            yield f"label: {_counts(self.labels)}"
        if self.words:
            rest = f", and {len(self.words) - 20} more words" if len(self.words) > 20 else ""
            yield f"labels: {_counts(Counter(dict(self.words.most_common(20))))}{rest}"
        if self.seconds:
            yield "seconds: " + ", ".join(f"{key} {value:.1f}" for key, value in self.seconds.items())
        kinds: dict[str, list[Problem]] = defaultdict(list)
        for problem in self.problems:
            kinds[problem.kind].append(problem)
        for kind in sorted(kinds, key=lambda kind: (kind not in LOSSES, kind)):
            yield f"{kind}: {len(kinds[kind])}"
            yield from _first([f"  {problem.id}: {problem.detail}" for problem in kinds[kind]], most)
        yield f"same bytes within a split: {len(self.duplicates)}"
        yield from _first([f"  {', '.join(group)}" for group in self.duplicates], most)
        yield f"leaks: {len(self.leaks)}"
        yield from _first([f"  {how}: {who}" for how, who in self.leaks], most)
        yield "whole" if self.is_whole else "NOT whole"


def check_dataset(
    name: str,
    root: str | os.PathLike,
    *,
    against: Iterable[tuple[str, str | os.PathLike]] = (),
    quick: bool = False,
    links: bool = False,
    **options: Any,
) -> Report:
    """Look at every sample of a data set.

    Args:
        name, root, links, options: as `read_dataset` takes them.
        against: (name, root) of other data sets that must share no clip with this one.
        quick: open no file: no durations, no streams, no comparison of bytes.

    Raises:
        ValueError, FileNotFoundError: as `read_dataset`.
    """
    report, files, seconds = Report(name), _Files(), []
    source, samples = open_dataset(name, root, links=links, probe=not quick, **options)
    for sample in samples:
        report.samples += 1
        report.splits[sample.split or "no split"] += 1
        report.parts.update(part for part in ("video", "audio", "subtitle", "text", "cues") if getattr(sample, part))
        report.labels.update([sample.label] if sample.label else [])
        report.words.update(sample.labels)
        files.add(sample, sample.split or "")
        if (long := source.seconds.get(sample.video or sample.audio or "")) is not None:
            seconds.append(long)
    report.problems = source.problems
    report.seconds = _durations(seconds)
    for other, folder in against:
        other_source, other_samples = open_dataset(other, folder, links=links)
        for sample in other_samples:
            files.add(sample, f"{other}:{sample.split or ''}")
        report.problems += [Problem(p.kind, p.id, f"{other}: {p.detail}") for p in other_source.problems if p.is_loss]
    report.leaks = files.shared_ids()
    if not quick:
        report.duplicates, leaks = files.same_bytes()
        report.leaks += leaks
    return report


class _Files:
    """Where each id is used, and which files there are of each size."""

    def __init__(self) -> None:
        self.groups: dict[str, set[str]] = defaultdict(set)
        self.sizes: dict[tuple[int, str], dict[str, set[tuple[str, str]]]] = defaultdict(lambda: defaultdict(set))

    def add(self, sample: EmotionSample, group: str) -> None:
        self.groups[sample.id].add(group)
        for kind, path in (("video", sample.video), ("audio", sample.audio)):
            if path and os.path.isfile(path):
                size = os.path.getsize(path)
                self.sizes[size, kind][os.path.realpath(path)].add((group, sample.id))

    def shared_ids(self) -> list[tuple[str, str]]:
        shared = {id: groups for id, groups in self.groups.items() if len(groups) > 1}
        return [("same id", f"{id} in {_names(groups)}") for id, groups in sorted(shared.items())]

    def same_bytes(self) -> tuple[list[list[str]], list[tuple[str, str]]]:
        duplicates, leaks = [], []
        for paths in self.sizes.values():
            users: dict[str, set[tuple[str, str]]] = defaultdict(set)
            for path, who in paths.items():
                users[_digest(path) if len(paths) > 1 else path] |= who
            for who in users.values():
                by_group: dict[str, set[str]] = defaultdict(set)
                for group, id in who:
                    by_group[group].add(id)
                duplicates += [sorted(ids) for ids in by_group.values() if len(ids) > 1]
                if len(by_group) > 1 and len({id for _, id in who}) > 1:  # of one id it has been said
                    named = sorted(who, key=lambda each: (each[1], each[0]))
                    leaks.append(("same bytes", ", ".join(f"{id} in {group or 'no split'}" for group, id in named)))
        unique = {tuple(group) for group in duplicates}  # a clip's video and audio say it twice
        return sorted(map(list, unique)), sorted(set(leaks))


def _digest(path: str) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def _durations(seconds: list[float]) -> dict[str, float]:
    if not seconds:
        return {}
    seconds.sort()
    shown = {"shortest": seconds[0], "median": seconds[len(seconds) // 2], "longest": seconds[-1]}
    return shown | {"in all": sum(seconds)}


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counter.most_common()) or "nothing"


def _names(groups: Iterable[str]) -> str:
    return " and ".join(sorted(group or "no split" for group in groups))


def _first(lines: list[str], most: int) -> Iterable[str]:
    yield from lines[:most]
    if len(lines) > most:
        yield f"  ... and {len(lines) - most} more (--json FILE has all)"
