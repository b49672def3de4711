# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Agreement of raters, tests against the middle of the scale, and intervals; plain functions of numbers."""

from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import NamedTuple

import numpy as np

try:
    from scipy import stats
except ImportError:
    raise ImportError('the report needs scipy: pip install "xemogpt[review]"') from None


class Interval(NamedTuple):
    """A mean with the ends of its interval."""

    mean: float
    low: float
    high: float


def ordinal_alpha(units: Sequence[Sequence[float | None]]) -> float:
    """Krippendorff's alpha with the ordinal metric (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    Args:
        units: for each thing that was judged the values given to it; None is no value, fewer than two say nothing.

    Returns:
        1 for perfect agreement, 0 for that of chance; NaN where nothing can be compared, or all values are the same.
    """
    pairable = [[value for value in unit if value is not None] for unit in units]
    pairable = [unit for unit in pairable if len(unit) > 1]
    levels = sorted({value for unit in pairable for value in unit})
    place = {value: index for index, value in enumerate(levels)}
    coincidences = np.zeros((len(levels), len(levels)))
    for unit in pairable:
        for one, other in permutations(unit, 2):
            coincidences[place[one], place[other]] += 1 / (len(unit) - 1)
    totals = coincidences.sum(axis=1)  # n_c
    below = np.cumsum(totals) - totals / 2
    distance = np.subtract.outer(below, below) ** 2  # (sum of n_g from c to k, less half of both ends) squared
    expected = (np.outer(totals, totals) * distance).sum()
    if not expected:
        return float("nan")
    return float(1 - (totals.sum() - 1) * (coincidences * distance).sum() / expected)


def bootstrap_mean(values: Sequence[float], seed: int = 0, draws: int = 10_000, level: float = 0.95) -> Interval:
    """The mean with its percentile bootstrap interval; `values` are of independent things (clips, not ratings)."""
    given = np.asarray(values, dtype=float)
    if not len(given):
        return Interval(float("nan"), float("nan"), float("nan"))
    dice = np.random.default_rng(seed)
    means = [given[dice.integers(len(given), size=len(given))].mean() for _ in range(draws)]
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(given.mean()), float(low), float(high))


def signed_rank(values: Sequence[float], middle: float = 0.0) -> float:
    """Two-sided p of Wilcoxon's signed-rank test that values lie around `middle`; those that are it are left out."""
    differences = np.asarray(values, dtype=float) - middle
    differences = differences[differences != 0]
    return float(stats.wilcoxon(differences).pvalue) if len(differences) else 1.0


def holm(ps: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment of p values, in the order given."""
    adjusted, largest = [0.0] * len(ps), 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def shares(values: Sequence[int], levels: Sequence[int]) -> list[float]:
    """How large a part of the values each level has."""
    counts = Counter(values)
    return [counts[level] / len(values) if values else 0.0 for level in levels]
