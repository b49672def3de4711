# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Text, recognition, consistency and calibration metrics: numbers computed by hand, and a second computation."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xemogpt.eval.calibration import auc, brier, calibration, ece
from xemogpt.eval.compare import paired, paired_uar
from xemogpt.eval.consistency import SUBSETS, conflict, consistency
from xemogpt.eval.emocue_360.resampling import paired_bootstrap
from xemogpt.eval.recognition import NO_LABEL, read_label, recognition
from xemogpt.eval.text_metrics import bleu, cider, cider_d, tokenize

TEXTS = [
    "the woman smiles warmly and nods at him",
    "his voice trembles with a low tone",
    "she raises her brows in awe",
]


def test_bleu_by_hand() -> None:
    # Unigrams: 2 of 3 match, and the candidate is as long as the reference.
    score, signature = bleu(["she smiles now"], ["she smiles warmly"], n=1)
    assert score == pytest.approx(2 / 3)
    assert "tok:13a" in signature
    # Three words against six, all matching: only the brevity penalty exp(1 - 6/3) is left.
    assert bleu(["a b c"], ["a b c d e f"], n=1)[0] == pytest.approx(math.exp(-1))


def test_bleu_splits_chinese_into_characters() -> None:
    score, signature = bleu(["她微笑"], ["她微怒"], n=1, language="zh")
    assert score == pytest.approx(2 / 3)
    assert "tok:zh" in signature


def test_bleu_equals_a_corpus_count_of_our_own() -> None:
    predictions, references = TEXTS, [TEXTS[0] + " again", "his voice is low", "she raises her brows"]
    matched, total = np.zeros(4), np.zeros(4)
    lengths = np.zeros(2)
    for p, r in zip((text.split() for text in predictions), (text.split() for text in references), strict=True):
        lengths += len(p), len(r)
        for n in range(4):
            grams, left = ([tuple(w[i : i + n + 1]) for i in range(len(w) - n)] for w in (p, r))
            total[n] += len(grams)
            for gram in grams:
                if gram in left:
                    left.remove(gram)
                    matched[n] += 1
    penalty = min(1, math.exp(1 - lengths[1] / lengths[0]))
    assert bleu(predictions, references)[0] == pytest.approx(penalty * np.exp(np.log(matched / total).mean()))


def test_bleu_takes_different_numbers_of_references() -> None:
    assert bleu(["a b", "c d"], [["x y", "a b"], ["c d"]], n=1)[0] == pytest.approx(1)


def test_cider_of_the_same_text_is_ten_and_of_other_words_nothing() -> None:
    for metric in (cider, cider_d):
        assert metric(TEXTS, TEXTS) == pytest.approx([10, 10, 10])
        assert metric(["x y z u", "v w q s", "k l m n"], TEXTS) == [0, 0, 0]


def test_cider_by_hand() -> None:
    # Two samples; "a" is in both references (idf 0), b, c, d in one (idf log 2). Bigrams: a b, a c | a d.
    # n=1: candidate {a, b}: weights b; reference {a, b, c}... -> (0, L) . (0, L, L) / (L * sqrt2 L) = 1 / sqrt 2
    # n=2: candidate {a b}, reference {a b, b c} -> 1 / sqrt 2; n=3: no candidate gram; n=4: none.
    expected = 10 * (2 / math.sqrt(2)) / 4
    assert cider(["a b", "a d"], ["a b c", "a d"])[0] == pytest.approx(expected)
    assert cider_d(["a b", "a d"], ["a b c", "a d"])[0] == pytest.approx(expected * math.exp(-1 / 72))


def test_cider_d_clips_repeated_words() -> None:
    # n=1: b twice against once: clipped dot L * L over norms 2L and L -> 1/2, and two words of difference in length.
    said, truth = ["b b x", "d"], ["b", "d"]
    share = 1 / math.sqrt(5)  # b b x: weights (2L, L), clipped dot L * L
    assert cider_d(said, truth)[0] == pytest.approx(10 * share * math.exp(-4 / 72) / 4)
    assert cider(said, truth)[0] == pytest.approx(10 * 2 / math.sqrt(5) / 4)


def test_cider_equals_dense_vectors() -> None:
    predictions = ["the woman smiles and nods", "a low voice trembles", "brows raised in awe in awe"]
    documents = [tokenize(text) for text in TEXTS]
    total = np.zeros(3)
    for n in range(1, 5):
        grams = [[" ".join(w[i : i + n]) for i in range(len(w) - n + 1)] for w in documents]
        said = [[" ".join(w[i : i + n]) for i in range(len(w) - n + 1)] for w in map(tokenize, predictions)]
        vocabulary = sorted({g for each in grams + said for g in each})
        idf = np.array([math.log(3 / max(1, sum(g in each for each in grams))) for g in vocabulary])
        for index in range(3):
            ours, theirs = (
                np.array([each.count(g) for g in vocabulary]) * idf for each in (said[index], grams[index])
            )
            norm = np.linalg.norm(ours) * np.linalg.norm(theirs)
            total[index] += 10 / 4 * (ours @ theirs / norm if norm else 0)
    assert cider(predictions, TEXTS) == pytest.approx(total)


def test_cider_d_of_long_texts_of_another_length_is_nothing() -> None:
    short, long = " ".join(f"w{i}" for i in range(150)), " ".join(f"w{i}" for i in range(200))
    assert cider_d([short, "b"], [long, "b"])[0] < 1e-10
    assert cider([short, "b"], [long, "b"])[0] > 8


def test_tokenize_mixes_languages() -> None:
    assert tokenize("She's OK, 她微笑 well-lit.") == ["she's", "ok", "她", "微", "笑", "well-lit"]


@pytest.mark.parametrize(
    ("predictions", "references", "match"),
    [
        (["a"], ["a", "b"], "1 predictions but 2 references"),
        ([], [], "no sample"),
        ([None], ["a"], "prediction 0 is NoneType"),
        (["a"], [None], "no reference text"),
        (["a"], [[]], "no reference text"),
    ],
)
def test_text_metrics_refuse_what_is_no_text(predictions: list, references: list, match: str) -> None:
    for metric in (bleu, cider, cider_d):
        with pytest.raises(ValueError, match=match):
            metric(predictions, references)


def test_recognition_by_hand() -> None:
    scored = recognition(["a", "b", "b", "a", None], ["a", "a", "b", "c", "c"], ["a", "b", "c", "d"])
    assert scored.matrix.tolist() == [[1, 1, 0, 0, 0], [0, 1, 0, 0, 0], [1, 0, 0, 0, 1], [0, 0, 0, 0, 0]]
    assert scored.recalls == {"a": 0.5, "b": 1.0, "c": 0.0}  # d is in no reference and does not count
    assert scored.uar == pytest.approx(0.5)
    assert scored.war == pytest.approx(0.4)
    assert scored.histogram == {"a": 2, "b": 2, "c": 0, "d": 0, NO_LABEL: 1}


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from("abcx"), st.sampled_from("abc")), min_size=1, max_size=40))
def test_recognition_equals_sklearn(pairs: list[tuple[str, str]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    said, truth = ([pair[i] for pair in pairs] for i in (0, 1))
    scored = recognition(said, truth, "abc")
    present = sorted(set(truth))
    assert scored.uar == pytest.approx(
        metrics.recall_score(truth, said, labels=present, average="macro", zero_division=0)
    )
    assert scored.war == pytest.approx(metrics.accuracy_score(truth, said))
    f1 = metrics.f1_score(truth, said, labels=list("abc"), average="weighted", zero_division=0)
    assert scored.weighted_f1 == pytest.approx(f1)


def test_recognition_refuses_labels_outside_the_set() -> None:
    with pytest.raises(ValueError, match="'joy', which the label set has not"):
        recognition(["sad"], ["joy"], ["sad"])
    with pytest.raises(ValueError, match="twice"):
        recognition(["sad"], ["sad"], ["sad", "sad"])


@pytest.mark.parametrize(
    ("answer", "label"),
    [
        ("Angry.", "anger"),
        ("The person is angry", "anger"),
        ("anger and sad", None),
        ("not angry but sad", "sad"),
        ("bored", None),
        ("", None),
        ("He is saddened", None),  # another word
        ("愤怒", "anger"),
        ("他很愤怒", "anger"),
        ("他不愤怒", None),
        ("她没有愤怒，只是 sad", "sad"),
        ("he isn't angry, he is sad", "sad"),
    ],
)
def test_read_label(answer: str, label: str | None) -> None:
    assert read_label(answer, {"angry": "anger", "anger": "anger", "sad": "sad", "愤怒": "anger"}) == label


def test_consistency_by_hand() -> None:
    scored = consistency(["a", "a", None, "b"], ["a", "b", None, "b"], ["a", "a", "a", "a"])
    assert (scored.eea, scored.epc, scored.accuracy, scored.fcr) == (0.5, 0.5, 0.25, 0.25)
    assert scored.fcr <= min(scored.eea, scored.epc, scored.accuracy)


def test_conflict_by_hand() -> None:
    subsets = ["video-aligned", "video-aligned", "audio-aligned", "consistent"]
    scored = conflict(["a", "b", "a", "x"], ["a", "a", "a", "a"], subsets)
    assert (scored.video_aligned, scored.audio_aligned, scored.consistent) == (0.5, 1.0, 0.0)
    assert (scored.conflict, scored.gap) == (0.75, 0.5)
    assert conflict(["a"], ["a"], ["consistent"]).gap is None
    with pytest.raises(ValueError, match="unknown subset 'text-aligned'"):
        conflict(["a"], ["a"], ["text-aligned"])


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from("abc")] * 3, st.sampled_from(SUBSETS)), min_size=1, max_size=20))
def test_consistency_and_conflict_equal_sklearn(rows: list[tuple[str, str, str, str]]) -> None:
    accuracy = pytest.importorskip("sklearn.metrics").accuracy_score
    implied, said, truth, subsets = (list(column) for column in zip(*rows, strict=True))
    scored = consistency(implied, said, truth)
    assert (scored.eea, scored.epc) == pytest.approx((accuracy(truth, implied), accuracy(said, implied)))
    both = [f"{i}{p}" for i, p in zip(implied, said, strict=True)]
    assert scored.fcr == pytest.approx(accuracy([t * 2 for t in truth], both))
    found = conflict(said, truth, subsets)
    for name in SUBSETS:
        kept = [(t, p) for p, t, subset in zip(said, truth, subsets, strict=True) if subset == name]
        expected = accuracy(*zip(*kept, strict=True)) if kept else None
        assert getattr(found, name.replace("-", "_")) == (None if expected is None else pytest.approx(expected))


def test_calibration_by_hand() -> None:
    c, right = [0.9, 1.0, 0.3, 0.25], [True, True, True, False]
    # Bins: [.9, 1] two of two right, mean .95; [.3, .4) right at .3; [.2, .3) wrong at .25.
    assert ece(c, right) == pytest.approx((2 * 0.05 + 0.7 + 0.25) / 4)
    assert brier(c, right) == pytest.approx((0.01 + 0 + 0.49 + 0.0625) / 4)
    assert auc(c, right) == 1
    assert auc([0.5, 0.5], [True, False]) == 0.5
    assert auc([0.5], [True]) is None
    assert ece([1.0], [False]) == 1  # the last bin is closed


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 100), st.booleans()), min_size=2, max_size=60))
def test_calibration_equals_sklearn_and_a_loop(pairs: list[tuple[int, bool]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    c, right = [pair[0] / 100 for pair in pairs], [pair[1] for pair in pairs]
    assert brier(c, right) == pytest.approx(metrics.brier_score_loss(right, c, labels=[False, True]))
    if len(set(right)) == 2:
        assert auc(c, right) == pytest.approx(metrics.roc_auc_score(right, c))
    total = 0.0
    for b in range(10):
        inside = [(x, y) for (k, _), x, y in zip(pairs, c, right, strict=True) if min(k // 10, 9) == b]
        if inside:
            x, y = zip(*inside, strict=True)
            total += abs(sum(y) / len(y) - sum(x) / len(x)) * len(x) / len(pairs)
    assert ece(c, right) == pytest.approx(total)


@pytest.mark.parametrize(
    ("confidences", "correct", "match"),
    [([70], [True], "divide percent by 100"), ([float("nan")], [True], "not in"), ([], [], "no sample"),
     ([0.5], [True, False], "1 confidences but 2")],
)  # fmt: skip
def test_calibration_refuses_what_is_no_confidence(confidences: list, correct: list, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        calibration(confidences, correct)


def test_paired_bootstrap_equals_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    chance = np.random.default_rng(3)
    a = chance.normal(0.5, 0.1, 80)
    b = a + chance.normal(0.02, 0.05, 80)
    low, high, p = paired(a, b, resamples=4000)
    theirs = stats.bootstrap((b - a,), np.mean, n_resamples=4000, method="percentile", rng=0).confidence_interval
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=0.002)
    flips = stats.permutation_test(
        (a, b), lambda x, y: np.mean(y - x), permutation_type="samples", n_resamples=4000, rng=0
    )
    assert p == pytest.approx(flips.pvalue, abs=0.02)
    found = paired_bootstrap(b.tolist(), a.tolist(), resamples=4000)  # the metric's own, to the last digit
    assert ((low, high), p) == (found["interval"], found["p"])


def test_no_difference_is_no_difference() -> None:
    a = np.random.default_rng(0).random(40)
    assert paired(a, a) == (0, 0, 1)
    assert paired(a, a + 1e-8) == (0, 0, 1)  # rounding is no difference, however regular
    assert paired(a, a + 0.1)[2] < 0.001
    with pytest.raises(ValueError, match="too few"):
        paired(a[:1], a[:1])


def test_paired_uar_by_hand() -> None:
    truth = ["x"] * 6 + ["y"] * 2
    first, second, low, high, p = paired_uar(["x"] * 8, truth, truth)
    assert (first, second) == (0.5, 1.0)
    assert (low, high) == (0.5, 0.5)  # y is wrong in both samples and x in none: no resample within classes differs
    assert p > 0.2  # two samples that differ are no evidence
