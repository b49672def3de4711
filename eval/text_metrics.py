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
from typing import Any

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
    return _cider(predictions, references, tokenizer, None)


def cider_d(
    predictions: Sequence[str],
    references: References,
    tokenizer: Callable[[str], list[str]] = tokenize,
    sigma: float = SIGMA,
) -> list[float]:
    """CIDEr-D of each sample, in [0, 10]: counts clipped to the reference's, and a Gaussian penalty on length."""
    return _cider(predictions, references, tokenizer, sigma)


def _cider(
    predictions: Sequence[str], references: References, tokenizer: Callable[[str], list[str]], sigma: float | None
) -> list[float]:
    pairs = _pairs(predictions, references)
    candidates = [tokenizer(text) for text in predictions]
    truths = [[tokenizer(text) for text in texts] for texts in pairs]
    totals = [0.0] * len(pairs)
    for n in range(1, MAX_N + 1):
        counted = [[_ngrams(words, n) for words in texts] for texts in truths]
        frequency: Counter = Counter()
        for sample in counted:
            frequency.update(set().union(*sample))
        idf = {gram: math.log(len(pairs) / count) for gram, count in frequency.items()}
        unseen = math.log(len(pairs))
        for index, words in enumerate(candidates):
            ours = {gram: count * idf.get(gram, unseen) for gram, count in _ngrams(words, n).items()}
            for truth, grams in zip(truths[index], counted[index], strict=True):
                theirs = {gram: count * idf[gram] for gram, count in grams.items()}
                share = _cosine(ours, theirs, clip=sigma is not None)
                if sigma is not None:
                    share *= math.exp(-((len(words) - len(truth)) ** 2) / (2 * sigma**2))
                totals[index] += 10 * share / len(truths[index]) / MAX_N
    return totals


def _cosine(ours: dict[Any, float], theirs: dict[Any, float], clip: bool) -> float:
    """Cosine of two sparse vectors; with `clip`, an entry counts no higher than the reference's."""
    norm = math.sqrt(sum(v * v for v in ours.values()) * sum(v * v for v in theirs.values()))
    if not norm:
        return 0.0
    shared = ours.keys() & theirs.keys()
    return sum((min(ours[g], theirs[g]) if clip else ours[g]) * theirs[g] for g in sorted(shared)) / norm


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
