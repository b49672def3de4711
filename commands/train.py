# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Training: `train`, and what comes after it: `merge` and `export`."""

import argparse
import importlib

from xemogpt.commands import Command

STAGES = {"stage0": "stage0_tower", "stage1": "stage1_vecb", "stage2": "stage2_aecb", "stage3": "stage3_sft"}


def register(command: Command) -> None:
    """Add the subcommands."""
    train = command("train", run_train, "run a training stage by a recipe; a killed run goes on")
    train.add_argument("stage", choices=STAGES, help="0: a small tower, 1: VECB, 2: AECB, 3: instruction tuning")
    train.add_argument("--config", required=True, metavar="FILE.yaml", help="the recipe, see recipes/")
    train.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="in place of a line of the recipe; repeatable"
    )
    train.add_argument("--dry-run", action="store_true", help="check and report everything, train nothing")

    merge = command("merge", run_merge, "merge what stage 3 has trained into its model: a plain folder without PEFT")
    merge.add_argument("adapter", metavar="DIR", help="output folder of stage 3")
    merge.add_argument("--out", required=True, metavar="DIR", help="folder to write; must not exist or be empty")
    merge.add_argument("--model", metavar="ID|DIR", help="the model it was trained on (default: as it names it)")

    export = command("export", run_export, "copy of a model folder what belongs on the Hub, and try to load it")
    export.add_argument("folder", metavar="DIR", help="a model folder, or an adapter's")
    export.add_argument("--out", required=True, metavar="DIR", help="folder to write; must not exist or be empty")


def run_train(args: argparse.Namespace) -> int:
    """`xemogpt train`."""
    import logging

    from xemogpt.train.recipe import load_recipe, one_gpu_each, training_class

    logging.basicConfig(format="xemogpt: %(message)s")
    logging.getLogger("xemogpt").setLevel(logging.INFO)
    kind = training_class(args.stage)
    stage = importlib.import_module(f"xemogpt.train.{STAGES[args.stage]}")
    arguments, training = load_recipe(args.config, args.set, stage.Arguments, kind)
    if not args.dry_run:
        one_gpu_each(training)
    stage.main(arguments, training, dry_run=args.dry_run)
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """`xemogpt merge`."""
    from xemogpt.hub.info import describe
    from xemogpt.hub.merge import merge

    print(describe(merge(args.adapter, args.out, args.model)))
    return 0


def run_export(args: argparse.Namespace) -> int:
    """`xemogpt export`."""
    from xemogpt.hub.export import export

    print(export(args.folder, args.out))
    return 0
