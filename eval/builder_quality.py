# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which cues of annotators the EmoCue builder's rules strike, where it is known which of them are true.

`verify_quality` takes clips as S1 has them, with a kind for each cue; a kind that begins with `true` is one of a cue
that the clip has. Every share comes with its 95 % bootstrap interval over clips.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xemogpt.data.emocue.checks import verify
from xemogpt.eval.emocue_360.resampling import bootstrap_means, interval

RULES = ("dropped", "only with label", "against the label", "polarity conflict")
RESAMPLES, SEED = 2000, 0


@dataclass
class Annotated:
    """A clip's passes as S1 would have them. kinds: of each cue's id, what it is; types: of which type."""

    passes: list[dict[str, Any]]
    labels: list[str]
    kinds: dict[str, str]
    types: dict[str, str] = field(default_factory=dict)


def decided(clip: Annotated) -> list[dict[str, Any]]:
    """What `verify` makes of each cue: kind, text, and which rules struck."""
    found = verify(clip.passes, clip.labels)
    texts = {f"{p['name']}.{n}": cue["text"] for p in clip.passes for n, cue in enumerate(p["cues"])}
    rules: dict[str, set[str]] = {id: set() for id in texts}
    for each in found["dropped"]:
        rules[each["id"]].add("dropped")
    in_conflict = {id for each in found["conflicts"] if each["kind"] == "polarity" for id in each["ids"]}
    for cue in found["cues"]:
        struck = {*cue["flags"], *(["polarity conflict"] if cue["id"] in in_conflict else [])}
        for id in (cue["id"], *cue.get("also", [])):
            rules[id] |= struck
    return [{"id": id, "kind": clip.kinds[id], "text": texts[id], "rules": sorted(rules[id])} for id in texts]


def verify_quality(clips: Sequence[Annotated]) -> dict[str, Any]:
    """Per kind of cue the share that each rule strikes; per rule its precision and recall; and of all of them."""
    judged = [decided(clip) for clip in clips]
    kinds = sorted({row["kind"] for rows in judged for row in rows})
    by_kind: dict[str, Any] = {}
    for kind in kinds:
        mine = [[row for row in rows if row["kind"] == kind] for rows in judged]
        found = {rule: share([sum(rule in row["rules"] for row in rows) for rows in mine], mine) for rule in RULES}
        by_kind[kind] = {"n": sum(map(len, mine))} | found
        by_kind[kind]["any"] = share([sum(bool(row["rules"]) for row in rows) for rows in mine], mine)
    by_rule = {}
    for rule in (*RULES, "any"):
        struck = [[row for row in rows if rule in row["rules"] or (rule == "any" and row["rules"])] for rows in judged]
        bad = [[row for row in rows if not is_true(row["kind"])] for rows in judged]
        right = [sum(not is_true(row["kind"]) for row in rows) for rows in struck]
        by_rule[rule] = {"precision": share(right, struck), "recall": share(right, bad)}
    return {"kinds": by_kind, "rules": by_rule}


def share(hits: Sequence[int], of: Sequence[Any]) -> dict[str, Any] | None:
    """Hits of all, with the interval of resampled clips; None of nothing. `of`: numbers, or what is to be counted."""
    counts = [each if isinstance(each, int) else len(each) for each in of]
    if not sum(counts):
        return None
    values = bootstrap_means(np.array([hits, counts], float).T, RESAMPLES, SEED)
    ratios = values[values[:, 1] > 0]
    found = interval(ratios[:, 0] / ratios[:, 1])
    rounded = [round(each, 4) for each in found or ()]
    return {"share": round(sum(hits) / sum(counts), 4), "interval": rounded, "n": sum(counts)}


def is_true(kind: str) -> bool:
    """Whether it is the kind of a cue that the clip has."""
    return kind.startswith("true")
