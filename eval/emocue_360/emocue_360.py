# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-360 as an `evaluate` module: a thin wrapper of `scoring.score`."""

import json
from collections.abc import Mapping
from typing import Any

import datasets
import evaluate

# The loader copies the files that are named here, and no others.
from .cue_schema import Cue
from .encoder import SentenceEncoder
from .llm import LLMExtractor
from .matching import best_match
from .polarity import is_negated
from .resampling import paired_bootstrap
from .rules import RulesExtractor
from .scoring import align, score
from .sections import split_cues
from .settings import PRESETS
from .summary import MEASURES
from .templates import TEMPLATES

__all__ = [
    "MEASURES",
    "PRESETS",
    "TEMPLATES",
    "Cue",
    "EmoCue360",
    "LLMExtractor",
    "RulesExtractor",
    "SentenceEncoder",
    "best_match",
    "is_negated",
    "paired_bootstrap",
    "score",
    "split_cues",
]

_DESCRIPTION = """\
EmoCue-360 scores a description of the emotion in a clip by the visual, audio and global cues that it names: each cue
of the reference is compared with the cues of the prediction (recall), and the reverse (precision), by the cosine of
their sentence embeddings.
"""

_CITATION = """\
@article{xemogpt2026,
    title = {{XEmoGPT}},
    journal = {arXiv preprint arXiv:2602.05496},
    year = {2026},
}
"""

_INPUTS = """
Args:
    predictions, references: texts or cues, {"visual": [...], "audio": [...], "global": [...]}, as two lists in the
        same order (None for a missing prediction) or two dicts by id.
    ids: names of the samples of lists.
    preset: "official" (the authors' code), "equation" (the paper to the letter) or "robust".
    encoder: `list[str] -> float32[n, d]`; default all-MiniLM-L6-v2.
    extractor: reads cues out of texts; default rules-1.
    modalities: those that the model gets; default {"visual", "audio"}.
    per_sample: add each sample's scores.
    further keywords: fields of `Settings`, such as tau, derangements, bootstrap, seed.
Returns:
    visual, audio, global: precision, recall, f1 and n; mean (of all precisions and recalls, as in the paper); mean_f1
    (the one to go by in "robust": padding raises recall, and so the mean); missing; unmatched; failed; signature; and
    with preset="robust" floor, adjusted, interval, hallucination, omission, pairs, baseline.
Examples:
    >>> metric = evaluate.load("eval/emocue_360")
    >>> cues = [{"visual": ["a wide smile"], "audio": ["a high pitch"], "global": ["she is happy"]}]
    >>> round(metric.compute(predictions=cues, references=cues)["mean"], 3)
    1.0
"""


@evaluate.utils.file_utils.add_start_docstrings(_DESCRIPTION, _INPUTS)
class EmoCue360(evaluate.Metric):
    """Descriptions travel through the library's table as JSON, because no column type holds texts and cues alike."""

    def _info(self) -> evaluate.MetricInfo:
        text = datasets.Value("string")
        return evaluate.MetricInfo(
            description=_DESCRIPTION,
            citation=_CITATION,
            inputs_description=_INPUTS,
            features=datasets.Features({"predictions": text, "references": text}),
            reference_urls=["https://arxiv.org/abs/2602.05496"],
        )

    def compute(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> dict[str, Any] | None:
        """See `scoring.score`; without predictions and references, of what was added before."""
        if isinstance(predictions, Mapping) or isinstance(references, Mapping):
            names, predictions, references, unmatched = align(predictions, references, kwargs.pop("ids", None))
            kwargs |= {"ids": names, "unmatched": unmatched}
        elif predictions is not None and references is not None:
            align(predictions, references, kwargs.get("ids"))  # refuses lists that do not fit, in words of ours
        return super().compute(predictions=predictions, references=references, **kwargs)

    def add_batch(self, *, predictions: Any = None, references: Any = None, **kwargs: Any) -> None:
        """Add descriptions to those that `compute` will score."""
        super().add_batch(predictions=_pack(predictions), references=_pack(references), **kwargs)

    def add(self, *, prediction: Any = None, reference: Any = None, **kwargs: Any) -> None:
        """Add one description to those that `compute` will score."""
        self.add_batch(predictions=[prediction], references=[reference], **kwargs)

    def _compute(
        self, predictions: list[str], references: list[str], unmatched: list[str] | None = None, **kwargs: Any
    ) -> dict[str, Any]:
        result = score([json.loads(row) for row in predictions], [json.loads(row) for row in references], **kwargs)
        return result | {"unmatched": unmatched or []}


def _pack(descriptions: Any) -> list[str]:
    return [json.dumps(row, default=vars) for row in descriptions]
