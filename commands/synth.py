# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt synth`: make a corpus of rendered clips whose cues are known; `synth-score`: score answers about it."""

import argparse
import json
from pathlib import Path

from xemogpt.commands import Command, say


def register(command: Command) -> None:
    """Add `synth` and `synth-score`."""
    parser = command("synth", run_synth, "render a corpus of talking heads whose cues are known")
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder of the corpus; a run that was stopped goes on there")
    add("--clips", required=True, type=int, metavar="N", help="in all; of 20 clips 14 train, 1 validates, 5 test")
    add("--seed", type=int, default=0, metavar="S", help="the same seed gives the same clips (default: %(default)s)")
    add("--workers", type=int, default=1, metavar="W", help="processes (default: %(default)s)")
    add("--size", type=int, default=256, metavar="PIXELS", help="edge of the square frames (default: %(default)s)")
    add("--sampled", action="store_true", help="render only the 16 frames that a model samples: .mkv in place of .mp4")
    score = command("synth-score", run_score, "exact scores of answers about rendered clips")
    score.add_argument("answers", metavar="ANSWERS.jsonl", help='rows with "id" and "text", as `explain --out` writes')
    score.add_argument("--truth", required=True, metavar="truth.jsonl", help="beside the split's manifest")
    score.add_argument("--default", choices=("visual", "audio"), help="what answers speak of that do not say it")


def run_synth(args: argparse.Namespace) -> int:
    """`xemogpt synth`."""
    from tqdm import tqdm

    from xemogpt.data.synth.corpus import Recipe, make_corpus

    recipe = Recipe(args.seed, args.size, args.sampled)
    with tqdm(total=args.clips, unit="clip", disable=None) as bar:
        summary = make_corpus(args.out, args.clips, recipe, args.workers, bar.update)
    say(f"{summary} -> {args.out}")
    if summary.rejected:
        say(f"why: {args.out}/rejects.jsonl")
    return 1 if summary.rejected else 0


def run_score(args: argparse.Namespace) -> int:
    """`xemogpt synth-score`."""
    from xemogpt.data.synth.exact import exact_cues, read_truth

    truth, answers = read_truth(args.truth), {}
    for number, line in enumerate(Path(args.answers).read_text(encoding="utf-8").splitlines(), 1):
        try:
            row = json.loads(line)
            id, text = row["id"], row["text"] + ""
        except (ValueError, TypeError, KeyError) as error:
            raise ValueError(f'{args.answers}, line {number}: is no row with "id" and "text": {error!r}') from None
        if id not in truth or id in answers:
            why = "was answered before" if id in answers else f"is no clip of {args.truth}"
            raise ValueError(f"{args.answers}, line {number}: {id!r} {why}")
        answers[id] = text
    if missing := [name for name in truth if name not in answers]:
        shown = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        raise ValueError(f"{args.answers}: {len(missing)} clip{'s' * (len(missing) > 1)} without an answer: {shown}")
    scores = exact_cues([answers[name] for name in truth], [each.cues for each in truth.values()], args.default)
    del scores["samples"]
    print(json.dumps({"clips": len(truth), **scores}, indent=2))
    return 0
