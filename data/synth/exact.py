# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Exact scores of what a model says about rendered clips, whose cues are known: nothing is matched by likeness.

truth = read_truth("corpus/test_identity/truth.jsonl")
scores = exact_cues([answers[name] for name in truth], [each.cues for each in truth.values()])
scores["all"]["f1"], scores["all"]["floor"]
"""

import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.synth.cue_types import AUDIO, VISUAL
from xemogpt.data.synth.phrasing import parse_emotions, read_cues

_MODALITIES = {"visual": set(VISUAL), "audio": set(AUDIO), "all": {*VISUAL, *AUDIO}}
_SHIFTS = 10  # of the answers against the clips, that the floor is the mean of
_DISAGREE = re.compile(
    r"\b(?:disagree\w*|conflict\w*|contradict\w*|(?:do|does) not match|mismatch\w*"
    r"|inconsisten\w*|incongru\w*|at odds)\b",
    re.I,
)


@dataclass(frozen=True)
class Truth:
    """What is known of a clip. cues: type -> 1 (shown) or -1 (denied by the reference). subset: as CA-MER.

    `face` and `voice` are the emotions that they show, "" where there is none.
    """

    cues: dict[str, int]
    face: str
    voice: str
    label: str
    subset: str


def read_truth(path: str | os.PathLike) -> dict[str, Truth]:
    """The rows of a `truth.jsonl` by id.

    Raises:
        ValueError: a row that `xemogpt synth` did not write; names the line.
        FileNotFoundError: no such file.
    """
    found = {}
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            cues = {cue["type"]: cue["polarity"] for cue in row["cues"]}
            found[row["id"]] = Truth(cues, row["face"], row["voice"], row["label"], row["subset"])
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f"{path}, line {number}: is no row of a truth.jsonl: {error!r}") from None
    return found


def exact_cues(
    said: Sequence[str | Mapping[str, int]], truth: Sequence[Mapping[str, int]], default: str | None = None
) -> dict[str, Any]:
    """Precision, recall and F1 of the cues that are asserted, over all clips, by modality and by type.

    Args:
        said: an answer for each clip: its text, or what `read_cues` made of it. `default`: see there.
        truth: the cues of each clip, 1 or -1; only those with 1 are to be found.

    Returns:
        for `visual`, `audio` and `all`: precision, recall, f1; `hallucination`, the share of asserted cues that the
        clip does not have; `wrong_denials`, the share of the clip's cues that the answer denies; and `floor`, the F1
        of the same answers at other clips. `types`: by cue, how often it is shown, said and hit. `samples`: for each
        clip hits, said, shown, from which intervals are drawn. None where a share would be of nothing.

    Raises:
        ValueError: not as many answers as clips, none at all, or an unknown cue type.
    """
    if len(said) != len(truth) or not said:
        raise ValueError(f"there must be one answer for each clip, and one at least, not {len(said)} for {len(truth)}")
    answers = [read_cues(each, default) if isinstance(each, str) else dict(each) for each in said]
    if unknown := {cue for each in (*answers, *truth) for cue in each} - _MODALITIES["all"]:
        raise ValueError(f"unknown cue type {sorted(unknown)[0]!r}; see xemogpt.data.synth.cue_types")
    asserted, shown = ([{cue for cue, sign in each.items() if sign > 0} for each in rows] for rows in (answers, truth))
    denied = [{cue for cue, sign in each.items() if sign < 0} for each in answers]
    result: dict[str, Any] = {}
    for modality, types in _MODALITIES.items():
        mine, theirs = ([each & types for each in rows] for rows in (asserted, shown))
        hits, told, known = _counts(mine, theirs)
        shifts = range(1, min(len(mine), _SHIFTS + 1))
        floors = [_f1(*_counts(mine[shift:] + mine[:shift], theirs)) for shift in shifts]
        result[modality] = {
            "precision": _share(hits, told),
            "recall": _share(hits, known),
            "f1": _f1(hits, told, known),
            "hallucination": _share(told - hits, told),
            "wrong_denials": _share(sum(len(no & yes) for no, yes in zip(denied, theirs, strict=True)), known),
            "floor": sum(each or 0.0 for each in floors) / len(floors) if floors else None,
        }
    result["types"] = {
        cue: {
            "shown": sum(cue in each for each in shown),
            "said": sum(cue in each for each in asserted),
            "hits": sum(cue in a and cue in b for a, b in zip(asserted, shown, strict=True)),
        }
        for cue in (*VISUAL, *AUDIO)
    }
    result["samples"] = [
        {"hits": len(a & b), "said": len(a), "shown": len(b)} for a, b in zip(asserted, shown, strict=True)
    ]
    return result


def names_emotion(text: str, emotion: str) -> bool:
    """Whether a text names this emotion (a key of `EMOTIONS`) before any other."""
    return parse_emotions(text)[:1] == [emotion]


def says_conflict(text: str) -> bool:
    """Whether a text says that face and voice do not go together."""
    return bool(_DISAGREE.search(re.sub(r'"[^"]*"', "", text)))


def _counts(said: Sequence[set[str]], shown: Sequence[set[str]]) -> tuple[int, int, int]:
    hits = sum(len(a & b) for a, b in zip(said, shown, strict=True))
    return hits, sum(map(len, said)), sum(map(len, shown))


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _f1(hits: int, told: int, known: int) -> float | None:
    return _share(2 * hits, told + known)
