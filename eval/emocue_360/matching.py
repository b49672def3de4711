# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How well candidate cues match reference cues, from their cosines: plain functions of one array."""

from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment


class Match(NamedTuple):
    """Scores of one sample in one dimension. pairs: (reference, candidate, similarity); empty where none is made."""

    precision: float
    recall: float
    f1: float
    pairs: tuple[tuple[int, int, float], ...] = ()


NO_MATCH = Match(0.0, 0.0, 0.0)


def f1_score(precision: float, recall: float) -> float:
    """Harmonic mean; 0 where the sum is not positive, which cosines allow."""
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0


def best_match(similarity: np.ndarray) -> Match:
    """Equations 10 and 11: each cue with the best of the other side, however often that one is taken.

    Args:
        similarity: float[b, a], reference cues by candidate cues, b > 0.

    >>> best_match(np.array([[1.0, 0.0, 0.5], [0.0, 0.0, 0.5]]))[:2]
    (0.5, 0.75)
    """
    if not similarity.shape[1]:
        return NO_MATCH
    recall, precision = float(similarity.max(1).mean()), float(similarity.max(0).mean())
    return Match(precision, recall, f1_score(precision, recall))


def one_to_one(similarity: np.ndarray, tau: float = 0.0) -> Match:
    """The assignment of the largest sum, each cue at most once; a pair below `tau` is no pair and counts nothing.

    Args:
        similarity: float[b, a], reference cues by candidate cues, b > 0.

    >>> one_to_one(np.array([[1.0, 0.9, 0.9]]))[:2]
    (0.3333333333333333, 1.0)
    """
    if not similarity.shape[1]:
        return NO_MATCH
    chosen = zip(*linear_sum_assignment(similarity, maximize=True), strict=True)
    pairs = tuple((int(b), int(a), float(similarity[b, a])) for b, a in chosen if similarity[b, a] >= max(tau, 1e-9))
    total = sum(value for *_, value in pairs)
    precision, recall = total / similarity.shape[1], total / similarity.shape[0]
    return Match(precision, recall, f1_score(precision, recall), pairs)


def mean_cosine_across(embeddings: np.ndarray, owners: np.ndarray) -> float:
    """Mean cosine over all pairs of cues of different samples, in closed form; 0 where there is no such pair.

    Args:
        embeddings: float[n, d], of length 1 each.
        owners: int[n], the sample of each cue.
    """
    _, owner, counts = np.unique(owners, return_inverse=True, return_counts=True)
    pairs = len(owners) ** 2 - int((counts.astype(np.int64) ** 2).sum())
    if not pairs:
        return 0.0
    sums = np.zeros((len(counts), embeddings.shape[1]))
    np.add.at(sums, owner, embeddings)
    return float((np.square(sums.sum(0)).sum() - np.square(sums).sum()) / pairs)
