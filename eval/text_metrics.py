# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""BLEU by sacrebleu; CIDEr and CIDEr-D (Vedantam et al., CVPR 2015) in numpy.

BLEU is between 0 and 1 here, as in Table II. CIDEr and CIDEr-D are scaled by 10 and averaged over n = 1..4. CIDEr-D
clips counts and punishes a difference in length by exp(-d^2 / (2 sigma^2)): at 200 words it is near 0 whatever the
content, so it never stands without CIDEr.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

MAX_N = 4
SIGMA = 6.0  # of CIDEr-D's length penalty, in words
_TOKEN = re.compile(r"[\u3400-\u9fff]|[a-z0-9]+(?:['’-][a-z0-9]+)*")

References = Sequence[str] | Sequence[Sequence[str]]


def tokenize(text: str) -> list[str]:
    """Lower-cased words, and each Chinese character by itself; punctuation is dropped."""
    return _TOKEN.findall(text.casefold())


def bleu(predictions: Sequence[str], references: References, n: int = 4, language: str = "en") -> tuple[float, str]:
    """Corpus BLEU of order n, in [0, 1], and sacrebleu's signature.

    `references` holds a text, or several, for each prediction. `language`: zh takes sacrebleu's zh tokenizer, any
    other 13a. Letter case is kept, as sacrebleu does by default.
    """
    try:
        from sacrebleu.metrics import BLEU
    except ImportError:
        raise ImportError('BLEU needs sacrebleu: pip install "xemogpt[eval]"') from None
    several = _pairs(predictions, references)
    metric: Any = BLEU(max_ngram_order=n, tokenize="zh" if language == "zh" else "13a")
    most = max(map(len, several))
    streams = [[each[k] if k < len(each) else None for each in several] for k in range(most)]
    score = metric.corpus_score(list(predictions), streams).score / 100
    return float(score), f"n:{n}|{metric.get_signature()}"


def cider(
    predictions: Sequence[str], references: References, tokenizer: Callable[[str], list[str]] = tokenize
) -> list[float]:
    """CIDEr of each sample, in [0, 10]: the mean over n of the TF-IDF cosine with each reference, times 10.

    Document frequencies come from the references; one sample alone has none, and scores 0.
    """
    return Cider(predictions, references, tokenizer).score()


def cider_d(
    predictions: Sequence[str],
    references: References,
    tokenizer: Callable[[str], list[str]] = tokenize,
    sigma: float = SIGMA,
) -> list[float]:
    """CIDEr-D of each sample, in [0, 10]: counts clipped to the reference's, and a Gaussian penalty on length."""
    return Cider(predictions, references, tokenizer).score(sigma=sigma)


class _Vector(NamedTuple):
    """A text's n-grams of one order: ids, ascending, their TF-IDF weights, and the weights' length."""

    ids: np.ndarray
    weights: np.ndarray
    norm: float


class Cider:
    """TF-IDF vectors of predictions and references, counted once; `score` compares them, also paired otherwise."""

    def __init__(
        self, predictions: Sequence[str], references: References, tokenizer: Callable[[str], list[str]] = tokenize
    ):
        several = [[tokenizer(text) for text in texts] for texts in _pairs(predictions, references)]
        said = [tokenizer(text) for text in predictions]
        self.lengths = [len(words) for words in said], [[len(words) for words in texts] for texts in several]
        self.said: list[list[_Vector]] = [[] for _ in said]
        self.truth: list[list[list[_Vector]]] = [[[] for _ in texts] for texts in several]
        for n in range(1, MAX_N + 1):
            counted = [[_ngrams(words, n) for words in texts] for texts in several]
            frequency: Counter = Counter()
            for bags in counted:
                frequency.update(set().union(*bags))
            place: dict[Any, int] = {gram: index for index, gram in enumerate(frequency)}
            idf = np.log(len(said) / np.array([*frequency.values()], dtype=float))
            unseen = math.log(len(said))

            def vector(
                grams: Counter, place: dict[Any, int] = place, idf: np.ndarray = idf, unseen: float = unseen
            ) -> _Vector:
                known = sorted((place[gram], count) for gram, count in grams.items() if gram in place)
                ids, counts = np.array(known, dtype=np.int64).reshape(-1, 2).T
                weights = counts * idf[ids]
                others = sum((count * unseen) ** 2 for gram, count in grams.items() if gram not in place)
                return _Vector(ids, weights, math.sqrt(float(weights @ weights) + others))

            for vectors, words in zip(self.said, said, strict=True):
                vectors.append(vector(_ngrams(words, n)))
            for texts, bags in zip(self.truth, counted, strict=True):
                for vectors, bag in zip(texts, bags, strict=True):
                    vectors.append(vector(bag))

    def score(self, order: Sequence[int] | None = None, sigma: float | None = None) -> list[float]:
        """Of each prediction with the references of its sample, or of sample order[i]; `sigma`: CIDEr-D's."""
        totals = []
        for index, other in enumerate(range(len(self.said)) if order is None else order):
            total = 0.0
            for truth, length in zip(self.truth[other], self.lengths[1][other], strict=True):
                shares = sum(
                    _cosine(*pair, clip=sigma is not None) for pair in zip(self.said[index], truth, strict=True)
                )
                far = self.lengths[0][index] - length
                total += shares * (1 if sigma is None else math.exp(-(far**2) / (2 * sigma**2)))
            totals.append(10 * total / len(self.truth[other]) / MAX_N)
        return totals


def _cosine(ours: _Vector, theirs: _Vector, clip: bool) -> float:
    """Cosine of two vectors; with `clip`, an entry counts no higher than the reference's."""
    if not ours.norm or not theirs.norm:
        return 0.0
    _, a, b = np.intersect1d(ours.ids, theirs.ids, assume_unique=True, return_indices=True)
    weights, truth = ours.weights[a], theirs.weights[b]
    return float((np.minimum(weights, truth) if clip else weights) @ truth) / (ours.norm * theirs.norm)


def _ngrams(words: Sequence[str], n: int) -> Counter:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _pairs(predictions: Sequence[str], references: References) -> list[list[str]]:
    """The references of each sample as a list; refuses what is no text and sequences that do not match."""
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references: give one for each sample")
    if not predictions:
        raise ValueError("there is no sample to score")
    several = [[each] if isinstance(each, str) or each is None else list(each) for each in references]
    for index, (prediction, texts) in enumerate(zip(predictions, several, strict=True)):
        if not isinstance(prediction, str):
            raise ValueError(f"prediction {index} is {type(prediction).__name__}, not a text; write '' for no answer")
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"sample {index} has no reference text")
    return several
