# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What chance alone would give: derangements for the floor, bootstrap intervals, and tests of a difference."""

from collections.abc import Iterator, Sequence

import numpy as np

CHUNK = 100  # resamples at a time: bounds the memory at CHUNK x samples


def derangements(n: int, count: int, seed: int = 0) -> Iterator[np.ndarray]:
    """`count` random permutations int[n] without a fixed point; none at all for n < 2."""
    generator = np.random.default_rng(seed)
    while n > 1 and count > 0:
        permutation = generator.permutation(n)
        if not (permutation == np.arange(n)).any():  # one in e is free of fixed points
            count -= 1
            yield permutation


def bootstrap_means(values: np.ndarray, resamples: int = 2000, seed: int = 0) -> np.ndarray:
    """Means of resampled samples, float[resamples, k], of values float[n, k]; NaN where a sample was not scored."""
    scored = ~np.isnan(values)
    filled = np.where(scored, values, 0.0)
    generator = np.random.default_rng(seed)
    n, means = len(values), []
    for start in range(0, resamples, CHUNK):
        drawn = generator.integers(n, size=(min(CHUNK, resamples - start), n))
        weights = np.stack([np.bincount(row, minlength=n) for row in drawn]).astype(float)  # (chunk, n)
        with np.errstate(invalid="ignore"):  # a resample without a scored sample has no mean
            means.append((weights @ filled) / (weights @ scored))
    return np.concatenate(means)


def interval(means: np.ndarray, level: float = 0.95) -> tuple[float, float] | None:
    """The percentile interval of float[resamples]; None where nothing was scored."""
    means = means[~np.isnan(means)]
    if not len(means):
        return None
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def paired_bootstrap(
    first: Sequence[float | None], second: Sequence[float | None], resamples: int = 2000, seed: int = 0
) -> dict[str, float | int | tuple[float, float]]:
    """Whether `first` scores higher than `second` on the same samples, or by chance only.

    Args:
        first, second: a score a sample of two systems, in the same order; None where a sample was not scored. Samples
            that both scored are compared.

    Returns:
        `difference` (mean of first - second), its 95 % `interval`, the two-sided `p` of the sign-flip test (under the
        null, each sample's difference has either sign; Monte Carlo, so never 0), and `n`, the number of samples
        compared.

    Raises:
        ValueError: lists of different length, or no sample that both scored.
    """
    if len(first) != len(second):
        raise ValueError(f"the systems were scored on {len(first)} and {len(second)} samples; pair them by id first")
    gaps = np.array(
        [a - b for a, b in zip(first, second, strict=True) if a is not None and b is not None], dtype=float
    )
    gaps = gaps[~np.isnan(gaps)]
    if not len(gaps):
        raise ValueError("there is no sample that both systems were scored on")
    spread = interval(bootstrap_means(gaps[:, None], resamples, seed)[:, 0])
    assert spread is not None
    return {
        "difference": float(gaps.mean()),
        "interval": spread,
        "p": sign_flip(gaps, resamples, seed),
        "n": len(gaps),
    }


def sign_flip(gaps: np.ndarray, resamples: int = 2000, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences float[n]: the share of random signs that give as large a mean."""
    generator = np.random.default_rng(seed)
    seen, extreme = abs(gaps.mean()) - 1e-12, 0
    for start in range(0, resamples, CHUNK):
        signs = generator.integers(0, 2, size=(min(CHUNK, resamples - start), len(gaps))) * 2 - 1
        extreme += int((abs(signs @ gaps) / len(gaps) >= seen).sum())
    return (extreme + 1) / (resamples + 1)
