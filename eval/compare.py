# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Two models on the same samples: the difference of each score, its bootstrap interval, and a sign-flip p.

Paired: both models are resampled together, so that what is hard for both cancels out. Intervals and p are Monte
Carlo: another seed gives other last digits, and no p is below 1 / (resamples + 1).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from xemogpt.eval.emocue_360.resampling import paired_bootstrap
from xemogpt.eval.records import shown

RESAMPLES = 2000
MEANS = ("mean_f1", "robust_mean_f1")  # over the dimensions that a model has, so not of the same for all
PER_CLIP = (*MEANS, "open_vocabulary_f1")  # F1 of a clip; results have the mean of dimensions, or F1 of mean P and R
SAME = 1e-6  # a smaller difference of two float32 cosines is rounding: the same cue in another batch


@dataclass(frozen=True)
class Difference:
    """b - a on n samples: mean difference, its 95 % interval, and the two-sided Monte Carlo p of no difference.

    metric: as results call it; `..._per_clip`, where theirs is no mean over samples, and so another number.
    note: why the two are not alike, if they are not.
    """

    metric: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    n: int
    note: str = ""


def paired(a: np.ndarray, b: np.ndarray, *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[float, float, float]:
    """Interval and sign-flip p of b - a, each (n,): `paired_bootstrap` once what is rounding is no difference.

    Raises:
        ValueError: not one score of each for every sample, or fewer than two samples.
    """
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"paired scores must be of one length, not {a.shape} and {b.shape}")
    if len(a) < 2:
        raise ValueError(f"{len(a)} paired samples are too few to compare")
    others = np.where(abs(b - a) < SAME, b, a)
    found: dict[str, Any] = paired_bootstrap(b.tolist(), others.tolist(), resamples, seed)
    return (*found["interval"], found["p"])


def paired_uar(
    a: list[str | None], b: list[str | None], truth: list[str], *, resamples: int = RESAMPLES, seed: int = 0
) -> tuple[float, float, float, float, float]:
    """UAR of a and b, and the interval and p of their difference.

    The bootstrap draws within each class, so that every class stays; p swaps the two answers of a sample at random.
    """
    classes = sorted(set(truth))
    rows = [np.flatnonzero(np.array(truth) == name) for name in classes]
    right = np.array([[x == t for x, t in zip(side, truth, strict=True)] for side in (a, b)], dtype=float)
    d = right[1] - right[0]
    chance = np.random.default_rng(seed)

    def uar(values: np.ndarray) -> float:
        return float(np.mean([values[row].mean() for row in rows]))

    observed = abs(uar(d)) - 1e-12
    means = [np.mean([d[chance.choice(row, len(row))].mean() for row in rows]) for _ in range(resamples)]
    extreme = 1 + sum(abs(uar(d * chance.choice((-1.0, 1.0), len(d)))) >= observed for _ in range(resamples))
    low, high = np.percentile(means, (2.5, 97.5))
    return uar(right[0]), uar(right[1]), float(low), float(high), extreme / (resamples + 1)


def compare(a: Mapping[str, Any], b: Mapping[str, Any], *, seed: int = 0) -> list[Difference]:
    """Every per-sample number that both results have, on the samples that both scored.

    Raises:
        ValueError: results of different benchmarks, versions of one, references or settings of a metric, or without
            samples beside them.
    """
    for result in (a, b):
        if not result["samples"]:
            raise ValueError(f"{result['file']}: its .samples.jsonl is not beside it; score the predictions again")
    if a["benchmark"] != b["benchmark"]:
        raise ValueError(f"they are results of {a['benchmark']} and {b['benchmark']}, which cannot be compared")
    versions = [side.get("task_version") for side in (a, b)]
    if versions[0] != versions[1]:
        raise ValueError(
            f"they are results of versions {versions[0]} and {versions[1]} of {a['benchmark']}; score both with one"
        )
    shared = {key for key in a["signatures"] if key in b["signatures"]}
    settings = {key: [settings_of(side["signatures"][key]) for side in (a, b)] for key in shared}
    if unlike := sorted(key for key, (ours, theirs) in settings.items() if ours != theirs):
        first = unlike[0]
        raise ValueError(
            f"{first} was computed differently: {a['signatures'][first]} against {b['signatures'][first]}; "
            "score both with one setting"
        )
    truth_a, truth_b = ({row["id"]: row["reference"] for row in result["samples"]} for result in (a, b))
    if changed := [name for name in truth_a if name in truth_b and truth_a[name] != truth_b[name]]:
        raise ValueError(
            f"{len(changed)} samples were scored against other references in each: {shown(changed)}; score both "
            "against one file"
        )
    ours, theirs = ({row["id"]: row["scores"] for row in result["samples"]} for result in (a, b))
    ids = [name for name in ours if name in theirs]
    numbers = [k for k in _keys(ours) if k in _keys(theirs)]
    dimensions = [_dimensions(result) for result in (a, b)]
    aside = "" if dimensions[0] == dimensions[1] else "unlike means: A of {}, B of {}".format(*dimensions)
    found = []
    for metric in numbers:
        kept = [name for name in ids if metric in ours[name] and metric in theirs[name]]
        if len(kept) > 1:
            x, y = (np.array([side[name][metric] for name in kept], dtype=float) for side in (ours, theirs))
            low, high, p = paired(x, y, seed=seed)
            note = aside if metric in MEANS else ""
            name = f"{metric}_per_clip" if metric in PER_CLIP else metric
            found.append(Difference(name, x.mean(), y.mean(), y.mean() - x.mean(), low, high, p, len(kept), note))
    labelled = [name for name in ids if "label" in ours[name] and "label" in theirs[name]]
    if len(labelled) > 1:
        said = [[side[name]["predicted"] for name in labelled] for side in (ours, theirs)]
        truth = [ours[name]["label"] for name in labelled]
        first, second, low, high, p = paired_uar(said[0], said[1], truth, seed=seed)
        found.append(Difference("uar", first, second, second - first, low, high, p, len(labelled)))
    if not found:
        raise ValueError(f"{a['file']} and {b['file']} have no sample and metric in common")
    return found


def settings_of(signature: str) -> str:
    """A signature without how much was scored: how many samples, and the dimensions that a model has."""
    return re.sub(r"\|(?:n:[\d-]+/[\d-]+/[\d-]+|modalities:[^|]*|failed:\d+)", "", signature)


def _dimensions(result: Mapping[str, Any]) -> str:
    """The dimensions that a mean of EmoCue-360 is over."""
    scores = result["scores"].get("emocue_360") or {}
    return "+".join(name for name in ("visual", "audio", "global") if scores.get(name))


def _keys(samples: Mapping[str, Mapping[str, Any]]) -> list[str]:
    keys = {
        key: None for scores in samples.values() for key, value in scores.items() if isinstance(value, float | int)
    }
    return list(keys)
