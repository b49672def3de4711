# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Open-vocabulary metrics over small wheels of the published tables' shape, and the embedded tree."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xemogpt.eval.open_vocabulary import (
    Grouping,
    hit_rate,
    read_labels,
    sentiment_waf,
    set_scores,
    wheel_tables,
    wordnet_emotions,
)
from xemogpt.eval.records import Record
from xemogpt.eval.score import words_of

PLAIN = Grouping("letters", ({"a": "A", "a2": "A", "b": "B", "c": "C"}.get,))


def write_tables(folder: Path) -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    folder.mkdir()
    forms = 'name,format\nfear,"[fears, fearful]"\nfearless,"[fear]"\nhappy,"[happily]"\n'
    (folder / "format.csv").write_text(forms)

    def sheet(name: str, rows: list[tuple]) -> None:
        book = openpyxl.Workbook()
        for row in rows:
            book.active.append(row)
        book.save(folder / name)

    head = tuple(f"{kind}_run{run}" for run in range(1, 9) for kind in ("word", "synonym"))
    sheet("synonym.xlsx", [head, ("brave", "[fearless, bold]"), ("fear", "[fright]"), ("happy", "[glad]")])
    levels = ("level1", "level2", "level3")
    sheet("wheel1.xlsx", [levels, ("Fear", "Scared", "fright"), ("Happy", "Proud", "brave"), (None, None, "glad")])
    for i in range(2, 6):
        sheet(f"wheel{i}.xlsx", [levels, ("Afraid", "fear", "scared"), ("Happy", "Proud", "brave")])
    return folder


def test_set_scores_by_hand() -> None:
    # p {A, B} against g {A}: 1/2, 1. Nothing known said: 0, 0. g of unknown words: skipped.
    scored = set_scores([["a2", "b", "zzz"], ["zzz"], ["a"]], [["a"], ["c"], ["unknown"]], PLAIN)
    assert scored == {"acc": 0.25, "recall": 0.5, "avg": 0.375, "f1": pytest.approx(1 / 3), "n": 2}


LETTERS = st.lists(st.sampled_from(["a", "a2", "b", "c", "zzz"]), max_size=4)


@settings(deadline=None)
@given(st.lists(st.tuples(LETTERS, LETTERS), min_size=1, max_size=12))
def test_set_scores_and_hits_equal_sklearn(pairs: list[tuple[list[str], list[str]]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    kept = [(PLAIN.classes(p, 0), PLAIN.classes(g, 0)) for p, g in pairs if PLAIN.classes(g, 0)]
    if not kept:
        with pytest.raises(ValueError, match="no reference has a word"):
            set_scores(*zip(*pairs, strict=True), PLAIN)
        return
    said, truth = ([[name in each for name in "ABC"] for each in side] for side in zip(*kept, strict=True))
    p, r, _, _ = metrics.precision_recall_fscore_support(truth, said, average="samples", zero_division=0)
    scored = set_scores(*zip(*pairs, strict=True), PLAIN)
    assert (scored["acc"], scored["recall"]) == pytest.approx((p, r))
    assert scored["f1"] == pytest.approx(2 * p * r / (p + r) if p + r else 0)
    singles = [(p, g[0]) for p, g in pairs if g and g[0] != "zzz"]
    if singles:
        hits = metrics.recall_score(
            [[name in PLAIN.classes([g], 0) for name in "ABC"] for _, g in singles],
            [[name in PLAIN.classes(p, 0) for name in "ABC"] for p, _ in singles],
            average="samples",
        )
        assert hit_rate(*zip(*singles, strict=True), PLAIN) == pytest.approx(hits)


def test_longer_label_lists_cost_precision() -> None:
    truth = [["a"], ["b"]]
    assert set_scores([["a", "b", "c"]] * 2, truth, PLAIN)["f1"] < set_scores([["a"], ["b"]], truth, PLAIN)["f1"]


def test_hit_rate_by_hand() -> None:
    assert hit_rate([["a2", "b"], ["b"], []], ["a", "a", "c"], PLAIN) == pytest.approx(1 / 3)
    with pytest.raises(ValueError, match="no reference has a word that"):
        hit_rate([["a"]], ["unheard of"], PLAIN)


def test_sentiment_equals_sklearn_and_leaves_zeros_out() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    said, truth = [1.0, -0.5, 0.0, 2.0, 1.0], [0.5, -1.0, 1.0, -2.0, 0.0]
    positive = [[value > 0 for value in each[:4]] for each in (truth, said)]
    scored = sentiment_waf(said, truth)
    assert scored["n"] == 4
    assert scored["waf"] == pytest.approx(metrics.f1_score(*positive, average="weighted"))
    assert scored["accuracy"] == pytest.approx(metrics.accuracy_score(*positive))
    with pytest.raises(ValueError, match="every true sentiment is 0"):
        sentiment_waf([1], [0])


def test_official_wheels_keep_the_quirk_and_strict_does_not(tmp_path: Path) -> None:
    folder = write_tables(tmp_path / "tables")
    official, strict = (wheel_tables(folder, mode) for mode in ("official", "strict"))
    # fear -> base forms fear and fearless -> brave, fear; brave comes first on every wheel.
    assert official.classes(["fear"], 1) == {"happy"}
    assert strict.classes(["fear"], 1) == {"afraid"}
    assert official.classes([" Happily ", "nonsense"], 0) == {"happy"}
    assert official.classes(["glad"], 0) == set()  # no form of the table
    assert set_scores([["fearful"]], [["fear"]], strict)["f1"] == 1


def test_missing_tables_are_named(tmp_path: Path) -> None:
    (tmp_path / "format.csv").touch()
    with pytest.raises(FileNotFoundError, match=r"no synonym\.xlsx, wheel1\.xlsx"):
        wheel_tables(tmp_path)
    with pytest.raises(ValueError, match="unknown mode"):
        wheel_tables(tmp_path, "loose")


@pytest.mark.parametrize(
    "text", ["['happy', 'calm']", "[happy, calm]", "happy, calm", "Happy；Calm", '["happy","calm"]']
)
def test_read_labels(text: str) -> None:
    assert read_labels(text) == ["happy", "calm"]


def test_embedded_tree_groups_plain_words() -> None:
    tree = wordnet_emotions()
    for same in (["happy", "joyful", "cheerful", "amused"], ["sad", "sorrowful", "depressed"], ["angry", "furious"],
                 ["afraid", "scared", "fear"], ["surprised", "astonished"], ["disgusted", "contempt"]):  # fmt: skip
        assert len(tree.classes(same, 0)) == 1, same
    firsts = ["happy", "sad", "angry", "afraid", "surprised", "disgusted", "worried", "neutral"]
    assert len(tree.classes(firsts, 0)) == len(firsts)


def test_embedded_tree_carries_its_licence(root: Path) -> None:
    data = json.loads((root / "eval" / "wordnet_emotions.json").read_text(encoding="utf-8"))
    assert "WordNet 3.0 Copyright 2006 by Princeton University" in data["licence"]
    words = [word for members in data["classes"].values() for word in members]
    assert len(words) == len(set(words))


def test_a_bare_text_is_no_list_of_labels() -> None:
    with pytest.raises(ValueError, match="prediction 0 is no list of labels"):
        set_scores(["happy"], [["happy"]], PLAIN)


@pytest.mark.parametrize(
    "answer",
    [
        "happy, anxious", "Happy and anxious.", "happy & anxious", "1. happy\n2. anxious", "- happy\n- anxious",
        "1) Happy 2) Anxious", "happy\nanxious", "**happy**, and anxious!", "happy；anxious", "happy 和 anxious",
        "['happy', 'anxious']", "Emotions: happy, anxious", "**Emotion words:**\n- happy\n- anxious",
        "情绪：happy、anxious", "Answer: ['happy', 'anxious']",
    ],
)  # fmt: skip
def test_words_of_an_answer_however_it_lists_them(answer: str) -> None:
    assert words_of(Record("a", answer)) == ["happy", "anxious"]


def test_words_of_a_list_in_brackets_are_those_of_the_official_metric() -> None:
    assert words_of(Record("a", "['sad and lonely', 'calm']")) == ["sad and lonely", "calm"]
    assert words_of(Record("a", "平和、brand-new, self-and-other")) == ["平和", "brand-new", "self-and-other"]


def test_a_colon_that_ends_no_heading_stays() -> None:
    for text in ("re:zero, calm", "happy: 0.9, sad: 0.1", "calm, note: sad", "what she seems: calm", "Emotions:"):
        assert words_of(Record("a", text)) == [each.strip() for each in text.lower().split(",")]
