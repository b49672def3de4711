# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-360 inside a result: the preset asked for with its floor and intervals, and the robust pairs of each sample.

The metric itself is `xemogpt.eval.emocue_360`. Whatever the preset, a robust pass says which cues were matched one to
one, which were hallucinated and which missed; the tables and the report page show that beside the score.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xemogpt.eval.records import Record, shown
from xemogpt.eval.score import DERANGEMENTS, Scores, Task

DIMENSIONS = ("visual", "audio", "global")
RESAMPLES = 2000


def score_cues(said: Sequence[Record], truth: Sequence[Record], task: Task, found: Scores) -> None:
    """Adds `emocue_360` to `found`, with the samples' numbers and pairs.

    A description is the cues of a record where it has them, else its text, out of which the extractor reads cues.
    `task.cues`: preset, encoder (a Hub id, a folder, or a function) and extractor of the metric. `found.missing` goes
    along without predictions: `robust` counts it 0, the other presets leave it out.
    """
    pairs: list[tuple[Record | None, Record]] = [*zip(said, truth, strict=True), *((None, t) for t in found.missing)]
    kept = [(p, t) for p, t in pairs if t.cues is not None or (t.text or "").strip()]
    if all(p is None for p, _ in kept):
        found.notes.append("emocue_360: no reference that has a prediction has cues or a text")
        return
    if all(p is None or (p.cues is None and p.text is None) for p, _ in kept):
        found.notes.append("emocue_360: needs texts or cues, and predictions have none")
        return
    if len(kept) < len(pairs):
        found.notes.append(f"emocue_360: {len(pairs) - len(kept)} references have no cues and no text")
    names = [t.id for _, t in kept]
    ours, theirs = [p and _description(p) for p, _ in kept], [_description(t) for _, t in kept]
    options: dict[str, Any] = {
        "ids": names,
        "encoder": Remembering(task.cues.get("encoder")),
        "extractor": task.cues.get("extractor"),
        "modalities": frozenset(task.modalities),
        "seed": task.seed,
        "per_sample": True,
        "derangements": DERANGEMENTS,
        "bootstrap": RESAMPLES,
    }
    preset = task.cues.get("preset", "official")
    result = _scored(ours, theirs, preset, options)
    robust = result if preset == "robust" else _scored(ours, theirs, "robust", options)
    if lost := len(robust["missing"]):
        left_out = "" if preset == "robust" else f"; {preset} leaves them out"
        found.notes.append(f"emocue_360: {lost} references without a prediction: robust counts them 0{left_out}")
    if failed := [each["id"] for each in robust["failed"]]:
        found.notes.append(f"emocue_360: no cues could be had of {len(failed)} samples, not scored: {shown(failed)}")
    found.scores["emocue_360"] = node(result)
    found.scores["emocue_360_robust"] = node(robust) | {
        key: robust[key] for key in ("adjusted", "hallucination", "omission", "baseline") if key in robust
    }
    found.floor |= {"emocue_360": result["floor"], "emocue_360_robust": robust["floor"]}
    found.signatures |= {"emocue_360": result["signature"], "emocue_360_robust": robust["signature"]}
    for prefix, rows in (("", result["samples"]), ("robust_", robust["samples"])):
        for row in rows:
            scored = {name: row[name]["f1"] for name in DIMENSIONS if row.get(name)}
            numbers = {f"{prefix}{name}_f1": value for name, value in scored.items()}
            if scored:
                numbers[f"{prefix}mean_f1"] = sum(scored.values()) / len(scored)
            if numbers:
                found.samples.setdefault(row["id"], {}).update(numbers)
    for row in robust["pairs"]:
        found.matching[row["id"]] = {
            name: {
                "matched": [[ours, theirs, round(float(value), 4)] for ours, theirs, value in row[name]["matched"]],
                "hallucinated": list(row[name]["hallucinated"]),
                "missed": list(row[name]["omitted"]),
            }
            for name in DIMENSIONS
            if row.get(name)
        }


def _scored(ours: list[Any], theirs: list[Any], preset: str, options: dict[str, Any]) -> dict[str, Any]:
    """The metric's result; that of `robust` without its mean of precision and recall, which padding raises."""
    from xemogpt.eval.emocue_360.scoring import score

    result = score(ours, theirs, preset=preset, **options)
    if preset == "robust":
        for tree in (result, result["floor"], result["adjusted"], result["interval"]):
            del tree["mean"]
    return result


def _description(record: Record) -> Any:
    """What the metric reads: cues wherever they are given, be it none of any dimension, else the text."""
    return record.cues if record.cues is not None else record.text or ""


def node(result: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of a result of the metric, each dimension's interval beside it; how many are missing or failed."""
    intervals = result.get("interval") or {}
    scores: dict[str, Any] = {}
    for name in DIMENSIONS:
        scores[name] = result[name] and {**result[name], "interval": intervals.get(name)}
    means = {key: result[key] for key in ("mean", "mean_f1") if key in result}
    counts = {key: len(result[key]) for key in ("missing", "failed")}
    return scores | means | counts | {"interval": {key: intervals.get(key) for key in means}}


class Remembering:
    """An encoder that encodes no text twice: the two passes, and every floor, see the same cues."""

    def __init__(self, encoder: Any = None):
        if encoder is None or isinstance(encoder, str):
            from xemogpt.eval.emocue_360.encoder import SentenceEncoder

            encoder = SentenceEncoder(encoder)
        self.encoder = encoder
        self.name = getattr(encoder, "name", None) or getattr(encoder, "__name__", type(encoder).__name__)
        self.sha256 = getattr(encoder, "sha256", None)
        self.known: dict[str, np.ndarray] = {}

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32[n, d]"""
        new = sorted({text for text in texts if text not in self.known}, key=len)
        if new:
            self.known |= dict(zip(new, np.asarray(self.encoder(new), dtype=np.float32), strict=True))
        return np.stack([self.known[text] for text in texts]) if texts else np.zeros((0, 1), dtype=np.float32)
