# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Single-label recognition: confusion matrix, UAR and WAR (Table IV), and labels read out of short answers."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NO_LABEL = "(none)"  # an answer that names no label of the set, or several


@dataclass(frozen=True)
class Recognition:
    """What came out of a recognition task over C classes.

    matrix: counts (C, C + 1), row = true class, column = predicted class; the last column holds answers that are no
        class. Such an answer is wrong for its sample and for no other class.
    """

    labels: tuple[str, ...]
    matrix: np.ndarray

    @property
    def recalls(self) -> dict[str, float]:
        """Recall of each class that the references have."""
        rows = zip(self.labels, self.matrix, range(len(self.labels)), strict=True)
        return {label: float(row[i] / row.sum()) for label, row, i in rows if row.sum()}

    @property
    def uar(self) -> float:
        """Unweighted average recall: the mean over classes present in the references."""
        return float(np.mean(list(self.recalls.values())))

    @property
    def war(self) -> float:
        """Weighted average recall, which is accuracy."""
        return float(np.trace(self.matrix) / self.matrix.sum())

    @property
    def weighted_f1(self) -> float:
        """F1 of each class, weighted by how often the references have it."""
        hits, truths = np.diag(self.matrix).astype(float), self.matrix.sum(1)
        both = truths + self.matrix[:, : len(self.labels)].sum(0)
        f1 = np.divide(2 * hits, both, out=np.zeros_like(hits), where=both > 0)
        return float((f1 * truths).sum() / truths.sum())

    @property
    def histogram(self) -> dict[str, int]:
        """How often each label was predicted."""
        names = (*self.labels, NO_LABEL)
        return {name: int(count) for name, count in zip(names, self.matrix.sum(0), strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON."""
        return {
            "uar": self.uar,
            "war": self.war,
            "weighted_f1": self.weighted_f1,
            "n": int(self.matrix.sum()),
            "recalls": self.recalls,
            "predicted": self.histogram,
            "labels": [*self.labels, NO_LABEL],
            "confusion": self.matrix.tolist(),
        }


def recognition(
    predictions: Sequence[str | None], references: Sequence[str], labels: Sequence[str] | None = None
) -> Recognition:
    """Count predictions against references.

    Args:
        predictions: a label for each sample; None, or a word that is not in `labels`, is no class.
        labels: the label set, in the order of the matrix; by default the labels of the references, sorted.

    Raises:
        ValueError: nothing to score, lengths that differ, a label twice, or a reference outside the label set.
    """
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references: give one for each sample")
    if not references:
        raise ValueError("there is no sample to score")
    labels = tuple(sorted(set(references)) if labels is None else labels)
    if len(set(labels)) != len(labels):
        raise ValueError(f"a label is twice in {', '.join(labels)}")
    if unknown := sorted(set(references) - set(labels)):
        raise ValueError(f"the references hold {', '.join(map(repr, unknown))}, which the label set has not")
    place = {label: index for index, label in enumerate(labels)}
    matrix = np.zeros((len(labels), len(labels) + 1), dtype=np.int64)
    for prediction, truth in zip(predictions, references, strict=True):
        matrix[place[truth], len(labels) if prediction is None else place.get(prediction, len(labels))] += 1
    return Recognition(labels, matrix)


def read_label(answer: str, names: Mapping[str, str]) -> str | None:
    """The one label that a short answer names, or None where it names none or several.

    `names` maps each accepted word, lower-cased, to its label ("angry" and "anger" to anger). Words count whole; one
    after "not", "no" or "n't", 不, 没 or 没有 does not count.
    """
    text = answer.casefold()
    if (bare := re.sub(r"^\W+|\W+$", "", text)) in names:
        return names[bare]
    found = set()
    for name, label in names.items():
        word = re.escape(name)
        chinese = re.search(r"[\u3400-\u9fff]", name)
        pattern = rf"(?<![不没])(?<!没有){word}" if chinese else rf"(?<!\bnot )(?<!\bno )(?<!n['’]t )\b{word}\b"
        if re.search(pattern, text):
            found.add(label)
    return found.pop() if len(found) == 1 else None
