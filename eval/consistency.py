# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Does an explanation fit the answer, and which modality wins where they disagree?

EEA, EPC and FCR follow ERV (arXiv 2510.23506); the subsets of `conflict` are CA-MER's.
"""

from collections.abc import Sequence
from dataclasses import dataclass

SUBSETS = ("video-aligned", "audio-aligned", "consistent")


@dataclass(frozen=True)
class Consistency:
    """Shares of n samples, each in [0, 1].

    eea: the emotion that the explanation implies is the true one. epc: it is the predicted one. accuracy: the
    prediction is the true one. fcr: explanation and prediction are both right.
    """

    eea: float
    epc: float
    accuracy: float
    fcr: float
    n: int


def consistency(
    implied: Sequence[str | None], predictions: Sequence[str | None], references: Sequence[str]
) -> Consistency:
    """Compare the emotion each explanation implies (None: none) with the predicted and the true one."""
    _same_length(implied, predictions, references)
    n = len(references)
    rows = list(zip(implied, predictions, references, strict=True))
    return Consistency(
        eea=sum(i == t for i, _, t in rows) / n,
        epc=sum(i is not None and i == p for i, p, _ in rows) / n,
        accuracy=sum(p == t for _, p, t in rows) / n,
        fcr=sum(i == p == t for i, p, t in rows) / n,
        n=n,
    )


@dataclass(frozen=True)
class Conflict:
    """Accuracy on CA-MER's subsets; None where a subset has no sample.

    conflict: (video + audio) / 2. gap: audio - video, above 0 where sound wins.
    """

    video_aligned: float | None
    audio_aligned: float | None
    consistent: float | None
    conflict: float | None
    gap: float | None
    n: dict[str, int]


def conflict(predictions: Sequence[str | None], references: Sequence[str], subsets: Sequence[str]) -> Conflict:
    """Accuracy where the label follows the video, the audio, or both.

    Raises:
        ValueError: an unknown subset, lengths that differ, no sample.
    """
    _same_length(predictions, references, subsets)
    if unknown := sorted(set(subsets) - set(SUBSETS)):
        raise ValueError(f"unknown subset {unknown[0]!r}; CA-MER has {', '.join(SUBSETS)}")
    hits: dict[str, list[bool]] = {name: [] for name in SUBSETS}
    for prediction, truth, subset in zip(predictions, references, subsets, strict=True):
        hits[subset].append(prediction == truth)
    video, audio, both = (sum(each) / len(each) if each else None for each in hits.values())
    if video is None or audio is None:
        mean = gap = None
    else:
        mean, gap = (video + audio) / 2, audio - video
    return Conflict(video, audio, both, mean, gap, {name: len(each) for name, each in hits.items()})


def _same_length(*columns: Sequence) -> None:
    if len({len(column) for column in columns}) != 1:
        raise ValueError(f"sequences of different lengths: {', '.join(str(len(column)) for column in columns)}")
    if not columns[0]:
        raise ValueError("there is no sample to score")
