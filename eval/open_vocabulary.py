# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Open-vocabulary emotion recognition: any words, compared through emotion wheels (MER-UniBench, OV-MERD+).

A word is mapped to a class: its base forms, their synonyms, then the first one, alphabetically, that a wheel has, and
that one's class at level 1. Scores are averaged over the wheels. The tables (wheel1.xlsx ... wheel5.xlsx,
synonym.xlsx, format.csv) are published with AffectGPT and are the user's; `wordnet_emotions` is the open tree that is
used without them.
"""

import csv
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from xemogpt.data.readers.source import SEPARATORS

MODES = ("official", "strict")
WHEELS, RUNS = 5, 8
NEUTRAL = "neutral"


@dataclass(frozen=True)
class Grouping:
    """Words to classes: one map for each wheel. `name` goes into the signature."""

    name: str
    maps: tuple[Callable[[str], str | None], ...]

    def classes(self, labels: Iterable[str], wheel: int) -> set[str]:
        """The classes of some labels on one wheel; words that it does not know are dropped."""
        found = (self.maps[wheel](" ".join(label.lower().split())) for label in labels)
        return {each for each in found if each is not None}


def set_scores(
    predictions: Sequence[Iterable[str]], references: Sequence[Iterable[str]], grouping: Grouping
) -> dict[str, float | int]:
    """Set-valued precision (`acc` in MER-UniBench), recall, their mean and F1, each the mean over wheels.

    A sample whose reference has no known class on a wheel is skipped there; one whose prediction has none scores 0.
    F1 is that of the mean precision and mean recall of a wheel. `n`: samples scored on the first wheel.
    """
    rows, n = [], 0
    for wheel in range(len(grouping.maps)):
        scores = _scored(predictions, references, grouping, wheel)
        n = n or len(scores)
        p, r = scores.mean(0)
        rows.append((p, r, 2 * p * r / (p + r) if p + r else 0.0))
    p, r, f = np.mean(rows, axis=0)
    return {"acc": float(p), "recall": float(r), "avg": float((p + r) / 2), "f1": float(f), "n": n}


def per_sample(
    predictions: Sequence[Iterable[str]], references: Sequence[Iterable[str]], grouping: Grouping, wheel: int
) -> np.ndarray:
    """Precision and recall (n, 2) of each sample that has a reference class on this wheel."""
    _check(predictions, references)
    rows = []
    for said, truth in zip(predictions, references, strict=True):
        p, g = grouping.classes(said, wheel), grouping.classes(truth, wheel)
        if g:
            hit = len(p & g)
            rows.append((hit / len(p) if p else 0.0, hit / len(g)))
    return np.array(rows).reshape(-1, 2)


def hit_rate(predictions: Sequence[Iterable[str]], references: Sequence[str], grouping: Grouping) -> float:
    """|p & g| where the reference is one label: how often its class is among the predicted, mean over wheels."""
    singles = [[each] for each in references]
    wheels = range(len(grouping.maps))
    return float(np.mean([_scored(predictions, singles, grouping, wheel)[:, 1].mean() for wheel in wheels]))


def _scored(
    predictions: Sequence[Iterable[str]], references: Sequence[Iterable[str]], grouping: Grouping, wheel: int
) -> np.ndarray:
    """`per_sample`, refusing what leaves no sample to take a mean of."""
    scores = per_sample(predictions, references, grouping, wheel)
    if not len(scores):
        raise ValueError(f"no reference has a word that {grouping.name} knows; are they English emotion words?")
    return scores


def sentiment_waf(predictions: Sequence[float], references: Sequence[float]) -> dict[str, float | int]:
    """Weighted F1 and accuracy of the sign; samples whose true sentiment is 0 are left out.

    A prediction of 0 counts as negative, as in MER-UniBench (`> 0` is positive, all else is not).
    """
    from xemogpt.eval.recognition import recognition

    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references: give one for each sample")
    kept = [(p > 0, t > 0) for p, t in zip(predictions, references, strict=True) if t != 0]
    if not kept:
        raise ValueError("every true sentiment is 0, and those are left out: nothing remains to score")
    names = ("negative", "positive")
    scored = recognition([names[p] for p, _ in kept], [names[t] for _, t in kept], names)
    return {"waf": scored.weighted_f1, "accuracy": scored.war, "n": len(kept)}


def read_labels(text: str) -> list[str]:
    """Labels out of a list written as text: "['happy', 'calm']", "[happy, calm]" or "happy, calm".

    What `parse_list` refuses, such as brackets that do not match, is read too: models write it.
    """
    return [part for each in re.split(rf"{SEPARATORS}|[\[\]\"'’‘]", text) if (part := each.strip().lower())]


def wheel_tables(folder: str | Path, mode: str = "official") -> Grouping:
    """The five wheels from a folder with wheel1.xlsx ... wheel5.xlsx, synonym.xlsx and format.csv.

    mode: `official` collects the synonyms of every base form of a word before it takes the alphabetically first one on
    the wheel, so that "fear" is happy on wheel 2, through "fearless". `strict` takes the word itself where the wheel
    has it, then its base forms, then their synonyms.

    Raises:
        FileNotFoundError: names every table that is missing. ImportError: openpyxl is not there.
    """
    folder = Path(folder)
    if mode not in MODES:
        raise ValueError(f"unknown mode {mode!r}; choose one of {', '.join(MODES)}")
    names = ["format.csv", "synonym.xlsx", *(f"wheel{i}.xlsx" for i in range(1, WHEELS + 1))]
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise FileNotFoundError(f"{folder}: has no {', '.join(missing)}; they come with AffectGPT (emotion_wheel/)")
    forms = _read_forms(folder / "format.csv")
    synonyms = _read_synonyms(folder / "synonym.xlsx")
    wheels = [_read_wheel(folder / f"wheel{i}.xlsx") for i in range(1, WHEELS + 1)]

    def on(wheel: dict[str, str]) -> Callable[[str], str | None]:
        def classify(word: str) -> str | None:
            if word not in forms:
                return None
            bases = forms[word]
            wide = [each for base in bases for each in synonyms.get(base, [])]
            steps = [wide] if mode == "official" else [[word], bases, wide]
            return next((wheel[each] for step in steps for each in sorted(step) if each in wheel), None)

        return classify

    return Grouping(f"wheels5-level1-{mode}", tuple(map(on, wheels)))


def _read_forms(path: Path) -> dict[str, list[str]]:
    """Surface form to base words, each base word to itself too."""
    forms: dict[str, list[str]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if not {"name", "format"} <= set(rows.fieldnames or ()):
            raise ValueError(f"{path}: has no columns name and format")
        for row in rows:
            base = row["name"].strip().lower()
            for form in [*read_labels(row["format"] or ""), base]:
                forms.setdefault(form, []).append(base)
    return forms


def _read_synonyms(path: Path) -> dict[str, list[str]]:
    """Base word to the wheel words it is a synonym of, the union of all runs."""
    found: dict[str, list[str]] = {}
    for row in _sheet(path):
        for run in range(1, RUNS + 1):
            word = str(row.get(f"word_run{run}") or "").strip().lower()
            if word:
                for each in [*read_labels(str(row.get(f"synonym_run{run}") or "")), word]:
                    found.setdefault(each, []).append(word)
    if not found:
        raise ValueError(f"{path}: has no columns word_run1 ... word_run{RUNS}")
    return found


def _read_wheel(path: Path) -> dict[str, str]:
    """Every word of a wheel to its class at level 1; empty cells go on with the word above."""
    wheel: dict[str, str] = {}
    above = ["", "", ""]
    for row in _sheet(path):
        above = [str(row.get(f"level{i + 1}") or above[i]).strip().lower() for i in range(3)]
        wheel |= dict.fromkeys(filter(None, above), above[0])
    if not wheel:
        raise ValueError(f"{path}: has no columns level1, level2, level3")
    return wheel


def _sheet(path: Path) -> list[dict[str, Any]]:
    try:
        from openpyxl import load_workbook
    except ImportError:
        raise ImportError('the wheel tables need openpyxl: pip install "xemogpt[eval]"') from None
    first, *rest = load_workbook(path, read_only=True, data_only=True).active.iter_rows(values_only=True)
    return [dict(zip(first, row, strict=False)) for row in rest]


@lru_cache
def wordnet_emotions() -> Grouping:
    """The embedded open tree: WordNet 3.0's feelings and emotions, one class a branch (wordnet_emotions.json)."""
    path = Path(__file__).with_name("wordnet_emotions.json")
    classes = json.loads(path.read_text(encoding="utf-8"))["classes"]
    words = {word: name for name, members in classes.items() for word in members}
    return Grouping("wordnet3.0-feelings", (words.get,))


def _check(predictions: Sequence, references: Sequence) -> None:
    if len(predictions) != len(references):
        raise ValueError(f"{len(predictions)} predictions but {len(references)} references: give one for each sample")
    for name, column in (("prediction", predictions), ("reference", references)):
        if wrong := [index for index, each in enumerate(column) if each is None or isinstance(each, str)]:
            raise ValueError(f"{name} {wrong[0]} is no list of labels; read_labels makes one of a text")
