# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which metric ranks models as their exact cues do? Real answers, of several models and with less and less to go on.

    python scripts/study_metric_ranking.py --models runs/a runs/b --corpus corpus/test_identity \
        --answers runs/ranking --out results/metric_ranking.json

The counterpart of study_metric_validity.py, whose descriptions are composed: here every description is what a model
said, its cues are read out of it by rules, and the references are the corpus' own. Every model is asked once as it is
and once under each control of study_tiny.py. Whoever is told nothing says nothing, which any metric sees; so the
correlations are also given over the answers to picture and sound together. Answers are kept: a stopped study goes on.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from study_metric_validity import Told, correlations, measure, write
from study_tiny import CONTROLS, answers

from xemogpt.data.jsonl import read_rows
from xemogpt.data.synth.exact import read_truth
from xemogpt.data.synth.phrasing import read_cues
from xemogpt.inference.clips import gather_clips

AS_IT_IS = "as it is"
BOTH_MEDIA = (AS_IT_IS, "frames shuffled", "no subtitle")


def main(argv: Sequence[str] | None = None) -> int:
    """Ask, measure, correlate, write."""
    from xemogpt.eval.cue_scores import Remembering
    from xemogpt.eval.score import shown_command

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--models", required=True, nargs="+", metavar="M", help="folders, trained more or less")
    parser.add_argument("--corpus", required=True, type=Path, metavar="DIR", help="a split that `xemogpt synth` made")
    parser.add_argument("--answers", required=True, type=Path, metavar="DIR", help="where answers are kept")
    parser.add_argument("--clips", type=int, default=40, metavar="N", help="default: %(default)s")
    parser.add_argument("--batch-size", type=int, default=16, metavar="N")
    parser.add_argument("--out", required=True, metavar="FILE.json")
    parser.add_argument("--figure", metavar="FILE.png")
    args = parser.parse_args(argv)
    names = [Path(model).name for model in args.models]
    if len(set(names)) < len(names):
        parser.error(f"two models share a name: {' '.join(names)}")
    args.answers.mkdir(parents=True, exist_ok=True)

    known = read_truth(args.corpus / "truth.jsonl")
    clips = gather_clips([args.corpus / "manifest.jsonl"])[: args.clips]
    texts = {row["id"]: row["text"]["en"] for row in read_rows(args.corpus / "manifest.jsonl")}
    references = [texts[str(clip.id)] for clip in clips]
    truth = [known[str(clip.id)].cues for clip in clips]

    table: dict[str, dict[str, Any]] = {}
    encoder = Remembering()
    for name, model in zip(names, args.models, strict=True):
        for control, change in {AS_IT_IS: lambda clip: clip, **CONTROLS}.items():
            system = f"{name}, {control}"
            changed = [change(clip) for clip in clips]
            said = answers(
                changed, "reason", args.answers, system.replace(", ", "-").replace(" ", "-"), model, args.batch_size
            )
            told = [Told(text, read_cues(text)) for text in said.values()]
            table[system] = measure(told, references, truth, encoder)
            print(
                f"{system:44}", *(f"{key} {value:.3f}" for key, value in table[system]["scores"].items()), flush=True
            )
    seen_and_heard = {system: row for system, row in table.items() if system.rpartition(", ")[2] in BOTH_MEDIA}
    about = {
        "what": "rank correlation of metrics with the exact F1 of cues, over models and what they are given",
        "command": f"python scripts/study_metric_ranking.py {shown_command(argv or sys.argv[1:])}",
        "clips": len(clips),
        "correlations with both media": correlations(seen_and_heard),
    }
    write(args.out, args.figure, about, table, correlations(table))
    return 0


if __name__ == "__main__":
    sys.exit(main())
