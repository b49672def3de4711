# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Is a model as often right as it says? Expected calibration error, Brier score, and the area under the ROC curve."""

from collections.abc import Sequence

import numpy as np


def ece(confidences: Sequence[float], correct: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over equal bins [0, .1), ..., [.9, 1]: the last one is closed.

    The mean over samples of |accuracy - mean confidence| of their bin.
    """
    c, right = _checked(confidences, correct)
    if bins < 1:
        raise ValueError(f"there must be at least one bin, not {bins}")
    edges = np.arange(1, bins) / bins  # as written, so that a confidence of .3 lies in the bin that starts at .3
    which = np.searchsorted(edges, c, side="right")
    gaps = [abs(right[which == b].mean() - c[which == b].mean()) * (which == b).sum() for b in np.unique(which)]
    return float(sum(gaps) / len(c))


def brier(confidences: Sequence[float], correct: Sequence[bool]) -> float:
    """Mean squared difference between confidence and outcome, in [0, 1]."""
    c, right = _checked(confidences, correct)
    return float(((c - right) ** 2).mean())


def auc(confidences: Sequence[float], correct: Sequence[bool]) -> float | None:
    """Probability that a right answer has more confidence than a wrong one, ties counted half; None without both."""
    c, right = _checked(confidences, correct)
    good, bad = c[right == 1], np.sort(c[right == 0])
    if not len(good) or not len(bad):
        return None
    below, up_to = (np.searchsorted(bad, good, side=side) for side in ("left", "right"))
    return float((below + up_to).sum() / (2 * len(good) * len(bad)))


def calibration(
    confidences: Sequence[float], correct: Sequence[bool], bins: int = 10
) -> dict[str, float | int | None]:
    """All three, with accuracy and mean confidence."""
    c, right = _checked(confidences, correct)
    return {
        "ece": ece(confidences, correct, bins),
        "brier": brier(confidences, correct),
        "auc": auc(confidences, correct),
        "accuracy": float(right.mean()),
        "confidence": float(c.mean()),
        "n": len(c),
    }


def _checked(confidences: Sequence[float], correct: Sequence[bool]) -> tuple[np.ndarray, np.ndarray]:
    """As arrays (n,), the second of 0 and 1."""
    if len(confidences) != len(correct):
        raise ValueError(f"{len(confidences)} confidences but {len(correct)} outcomes: give one for each sample")
    c, right = np.asarray(confidences, dtype=float), np.asarray(correct, dtype=float)
    if not len(c):
        raise ValueError("there is no sample to score")
    if outside := [i for i, value in enumerate(c) if not 0 <= value <= 1]:  # a NaN is outside too
        raise ValueError(f"confidence {c[outside[0]]} of sample {outside[0]} is not in [0, 1]; divide percent by 100")
    if set(np.unique(right)) - {0.0, 1.0}:
        raise ValueError("an outcome is right or wrong, True or False")
    return c, right
