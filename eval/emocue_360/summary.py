# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What a result says: means over samples, intervals, distance from the floor, and which cues found no partner."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from .cue_schema import MODALITIES
from .matching import Match
from .resampling import bootstrap_means, interval

MEASURES = ("precision", "recall", "f1")


class Sides(Protocol):
    """The texts that were compared in one dimension, by sample; the second of each pair is not looked at."""

    candidates: list[list[tuple[str, bool]]]
    references: list[list[tuple[str, bool]]]


def as_array(matches: Sequence[Match | None]) -> np.ndarray:
    """float[n, 3]: precision, recall and F1 of each sample, NaN where it was not scored."""
    return np.array([match[:3] if match else (np.nan,) * 3 for match in matches], dtype=float).reshape(-1, 3)


def means(array: np.ndarray) -> tuple[float, ...] | None:
    """Unweighted means over the scored samples; None where there are none."""
    scored = array[~np.isnan(array[:, 0])]
    return tuple(float(value) for value in scored.mean(0)) if len(scored) else None


def row(values: Sequence[float]) -> dict[str, float] | None:
    """Three values under their names; None for NaN."""
    return None if np.isnan(values[0]) else {name: float(value) for name, value in zip(MEASURES, values, strict=True)}


def summarise(values: Mapping[str, Sequence[float] | None]) -> dict[str, Any]:
    """By dimension, None for those not in `values`; with the mean of all precisions and recalls, and of all F1."""
    present = [three for three in values.values() if three is not None]
    nothing = dict.fromkeys(MEASURES)
    return {
        name: (nothing if (three := values[name]) is None else row(three)) if name in values else None
        for name in MODALITIES
    } | {
        "mean": float(np.mean([three[:2] for three in present])) if present else None,
        "mean_f1": float(np.mean([three[2] for three in present])) if present else None,
    }


def adjust(scores: Mapping[str, Any], floor: Mapping[str, Any]) -> dict[str, Any]:
    """(s - floor) / (1 - floor) for every number: 0 is what another clip's reference would get, 1 is perfect."""

    def one(value: Any, low: Any) -> Any:
        if isinstance(low, Mapping):
            return {name: one(value[name], low[name]) for name in low}
        return None if value is None or low is None or low >= 1 else (value - low) / (1 - low)

    return {name: one(scores[name], floor[name]) for name in floor}


def intervals(values: Mapping[str, np.ndarray], resamples: int, seed: int) -> dict[str, Any]:
    """95 % bootstrap intervals (low, high) of all in `summarise`; a resample holds all dimensions of a sample."""
    drawn = bootstrap_means(np.concatenate(list(values.values()), axis=1), resamples, seed)  # (resamples, 3 k)
    found: dict[str, Any] = dict.fromkeys(MODALITIES)
    for number, name in enumerate(values):
        found[name] = {measure: interval(drawn[:, 3 * number + column]) for column, measure in enumerate(MEASURES)}
    by_measure = drawn.reshape(len(drawn), -1, 3)
    kept = by_measure[:, ~np.isnan(by_measure).all((0, 2))]  # without dimensions in which nothing was scored
    return found | {"mean": interval(kept[..., :2].mean((1, 2))), "mean_f1": interval(kept[..., 2].mean(1))}


def pairs(
    names: Sequence[str], matches: Mapping[str, Sequence[Match | None]], sides: Mapping[str, Sides]
) -> dict[str, Any]:
    """Who was paired with whom: `pairs`, and the shares `hallucination` and `omission` by dimension.

    A row of `pairs` is {"id", and by dimension "matched": [(prediction, reference, similarity)], "hallucinated":
    [prediction], "omitted": [reference]}, all as texts; None for a dimension that was not scored.
    """
    rows: list[dict[str, Any]] = [{"id": name} for name in names]
    result: dict[str, Any] = {"hallucination": dict.fromkeys(MODALITIES), "omission": dict.fromkeys(MODALITIES)}
    for dimension, found in matches.items():
        counts = {"matched": 0, "hallucinated": 0, "omitted": 0}
        for index, match in enumerate(found):
            if match is None:
                rows[index][dimension] = None
                continue
            a = [text for text, _ in sides[dimension].candidates[index]]
            b = [text for text, _ in sides[dimension].references[index]]
            used_b, used_a = {pair[0] for pair in match.pairs}, {pair[1] for pair in match.pairs}
            parts: dict[str, list[Any]] = {
                "matched": [(a[j], b[i], value) for i, j, value in match.pairs],
                "hallucinated": [text for j, text in enumerate(a) if j not in used_a],
                "omitted": [text for i, text in enumerate(b) if i not in used_b],
            }
            rows[index][dimension] = parts
            for part in parts:
                counts[part] += len(parts[part])
        for share, part in (("hallucination", "hallucinated"), ("omission", "omitted")):
            total = counts["matched"] + counts[part]
            result[share][dimension] = counts[part] / total if total else None
    return result | {"pairs": rows}
