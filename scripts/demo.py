# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`make demo`: the small model explains three rendered clips, and beside it stands what the clips are known to show.

The persons are of the test split: the model has seen none of them. What it tells is compared by `read_cues`, which
reads cue types out of a text; the times are those at which the cues were rendered.
"""

import sys
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from xemogpt.data.jsonl import read_rows
from xemogpt.data.synth.phrasing import read_cues
from xemogpt.inference.clips import gather_clips
from xemogpt.inference.explain import load_explainer
from xemogpt.inference.explanation import Decoding, Question, Rejection

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def compare(told: dict[str, int], known: Sequence[dict[str, Any]]) -> list[str]:
    """A line for each cue that is told or known: told and there, missed, or told but not there."""
    there = {cue["type"]: cue for cue in known if cue["polarity"] > 0}
    said = {cue for cue, sign in told.items() if sign > 0}
    lines = []
    for cue in (*there, *sorted(said - there.keys())):
        begin, end = there[cue]["time"] if cue in there else (0, 0)
        mark = "not there" if cue not in there else "told" if cue in said else "missed"
        when = f"{begin:.1f}-{end:.1f} s" if cue in there else ""
        lines.append(f"    {mark:10} {cue.replace('_', ' '):22} {when}".rstrip())
    return lines


def main() -> int:
    """Explain the examples and print them beside the truth."""
    rows = list(read_rows(EXAMPLES / "manifest.jsonl"))
    truth = {row["id"]: row for row in read_rows(EXAMPLES / "truth.jsonl")}
    clips = gather_clips([EXAMPLES / "manifest.jsonl"])
    explainer = load_explainer()
    outcomes = explainer.explain_each(clips, Question(), Decoding(max_new_tokens=320), 1)
    for row, outcome in zip(rows, outcomes, strict=True):
        if isinstance(outcome, Rejection):
            raise ValueError(f"{row['id']}: {outcome.reason}")
        known = truth[row["id"]]
        print(f"== examples/{row['video']}: face {known['face']}, voice {known['voice']}\n")
        for name, text in (("The model", outcome.text), ("The reference", row["text"]["en"])):
            print(textwrap.fill(f"{name}: {text}", 100, subsequent_indent="    "), end="\n\n")
        print("Its cues, against those that were rendered:")
        print("\n".join(compare(read_cues(outcome.text), known["cues"])), end="\n\n", flush=True)
        note = outcome.note
    if note:
        print(f"note: {note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
