# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt synth`: make a corpus of rendered clips whose cues are known."""

import argparse

from xemogpt.commands import Command, say


def register(command: Command) -> None:
    """Add `synth`."""
    parser = command("synth", run_synth, "render a corpus of talking heads whose cues are known")
    add = parser.add_argument
    add("--out", required=True, metavar="DIR", help="folder of the corpus; a run that was stopped goes on there")
    add("--clips", required=True, type=int, metavar="N", help="in all; of 20 clips 14 train, 1 validates, 5 test")
    add("--seed", type=int, default=0, metavar="S", help="the same seed gives the same clips (default: %(default)s)")
    add("--workers", type=int, default=1, metavar="W", help="processes (default: %(default)s)")
    add("--size", type=int, default=256, metavar="PIXELS", help="edge of the square frames (default: %(default)s)")
    add("--arrays", action="store_true", help="render only the 16 frames that a model samples: .npz in place of .mp4")


def run_synth(args: argparse.Namespace) -> int:
    """`xemogpt synth`."""
    from tqdm import tqdm

    from xemogpt.data.synth.corpus import Recipe, make_corpus

    recipe = Recipe(args.seed, args.size, args.arrays)
    with tqdm(total=args.clips, unit="clip", disable=None) as bar:
        summary = make_corpus(args.out, args.clips, recipe, args.workers, bar.update)
    say(f"{summary} -> {args.out}")
    if summary.rejected:
        say(f"why: {args.out}/rejects.jsonl")
    return 1 if summary.rejected else 0
