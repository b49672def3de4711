# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt data`: look at a local copy of a public data set, or write it as a manifest. `xemogpt build-emocue`: build
cue-level training data from labelled clips."""

import argparse
import json
from pathlib import Path
from typing import Any

from xemogpt.commands import Command, say


def register(command: Command) -> None:
    """Add `data` and `build-emocue`."""
    parser = command("data", run_data, "check public data sets, or write them as manifests")
    add = parser.add_argument
    add("action", choices=("check", "export", "schema"), help="schema: print the JSON Schema of a manifest's row")
    add("name", nargs="?", metavar="NAME", help="of the data set; without it, they are listed")
    add("root", nargs="?", metavar="ROOT", help="folder of your copy")
    add("--option", action="append", default=[], metavar="KEY=VALUE", help="of the reader, such as fold=2")
    add("--links", action="store_true", help="follow symbolic links out of the root")
    check = parser.add_argument_group("check")
    check.add_argument("--quick", action="store_true", help="open no file: no durations, streams or hashes")
    check.add_argument(
        "--against",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "ROOT"),
        help="a data set that must share no clip with this one",
    )
    check.add_argument("--json", metavar="FILE", help="write everything that was found")
    export = parser.add_argument_group("export")
    export.add_argument("--out", metavar="FILE", help="a manifest (.jsonl) or a table (.parquet)")
    export.add_argument("--partial", action="store_true", help="write what is there of a copy that is not whole")

    builder = command("build-emocue", run_build, "build cue-level training data from labelled clips")
    builder.add_argument("--recipe", required=True, metavar="FILE.yaml", help="says everything; see recipes/emocue/")
    builder.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="replace a key of the recipe, as in endpoints.mllm.base_url=http://localhost:8000/v1",
    )
    builder.add_argument("--plan", action="store_true", help="read the input and say what would be done; ask nothing")
    builder.add_argument(
        "--retry-rejects", action="store_true", help="ask again what the server gave no answer to, and so cost a clip"
    )
    builder.add_argument("--push-to-hub", metavar="REPO", help="upload the finished data set, as a private repository")


def run_data(args: argparse.Namespace) -> int:
    """`xemogpt data`; status 1 for a copy that is not whole."""
    if args.action == "schema":
        from xemogpt.data.schema import json_schema

        print(json.dumps(json_schema(), indent=2))
        return 0
    if args.name is None or args.root is None:
        from xemogpt.data.readers import READERS

        raise ValueError(f"data {args.action} needs NAME and ROOT; the names are {', '.join(READERS)}")
    options = dict(map(_option, args.option))
    if args.action == "check":
        from xemogpt.data.check import check_dataset

        report = check_dataset(
            args.name, args.root, against=args.against, quick=args.quick, links=args.links, **options
        )
        print("\n".join(report.lines()))
        if args.json:
            Path(args.json).write_text(json.dumps(report.to_json(), ensure_ascii=False, indent=1), encoding="utf-8")
        return 0 if report.is_whole else 1

    from xemogpt.data.export import export_samples
    from xemogpt.data.readers import Problem, read_dataset

    if not args.out:
        raise ValueError("data export needs --out FILE.jsonl or FILE.parquet")
    problems: list[Problem] = []
    samples = read_dataset(
        args.name, args.root, strict=not args.partial, links=args.links, problems=problems, **options
    )
    count = export_samples(samples, args.out)
    lost = [problem for problem in problems if problem.is_loss]
    for problem in lost:
        say(f"left out: {problem}")
    say(f"{count} samples -> {args.out}")
    root, here = Path(args.root).resolve(), Path(args.out).resolve().parent
    if args.out.endswith(".jsonl") and not root.is_relative_to(here):
        say(
            f"note: {args.root} is not below {here}, so the clips are named in full. Readers refuse what lies outside "
            f"the manifest's folder: write it to {root / 'manifest.jsonl'}, or read it with --links (in a recipe "
            "input.links=true)"
        )
    return 1 if lost else 0


def run_build(args: argparse.Namespace) -> int:
    """`xemogpt build-emocue`; status 1 where clips were rejected."""
    from xemogpt.data.emocue.build import build, forget_failures, plan
    from xemogpt.data.emocue.recipe import load_recipe

    recipe = load_recipe(args.recipe, dict(map(_setting, args.set)))
    if args.plan:
        steps = plan(recipe)
        print(f"{steps.clips} clips in {steps.tasks} tasks, {len(steps.losses)} losses of the input")
        for name, folder in steps.folders:
            done = len(list(folder.glob("shard-*.jsonl")))
            print(f"{name}: {done} of {steps.tasks} tasks done in {folder}")
        return 0
    if args.retry_rejects:
        say(f"{forget_failures(recipe)} requests without an answer are asked again")
    steps = build(recipe, say)
    if steps.jobs:
        say(f"jobs {' '.join(steps.jobs)} are handed in, one after the other; --plan says how far they are")
        say(f"when they are through, this again tells the cost{', and uploads' if args.push_to_hub else ''}")
        return 0
    report = json.loads((Path(recipe.out) / "report.json").read_text(encoding="utf-8"))
    for row in report["asked"]:
        if row["current"]:
            counts = ", ".join(f"{name} {row[name]}" for name in ("answers", "repeats", "errors"))
            tokens = f"{row['tokens_in']} + {row['tokens_out']} tokens, ${row['usd']:.2f}"
            say(f"{row['stage']}: {row['model']}: {counts}, {tokens}")
    say(f"{report['published']} of {report['clips']} clips -> {steps.dataset}")
    if args.push_to_hub:
        from xemogpt.data.emocue.publish import push_to_hub

        say(push_to_hub(steps.dataset, args.push_to_hub))
    return 1 if report["rejected"] else 0


def _setting(text: str) -> tuple[str, Any]:
    """The value as it would be in the recipe: a number, a list, a word."""
    key, value = _split(text, "--set")
    try:
        import yaml

        return key, yaml.safe_load(value)
    except ImportError:
        raise ImportError('recipes need PyYAML: pip install "xemogpt[data]"') from None
    except yaml.YAMLError:
        raise ValueError(f"--set {text!r}: {value!r} is no YAML") from None


def _split(text: str, flag: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"{flag} {text!r} is not KEY=VALUE")
    return key, value


def _option(text: str) -> tuple[str, Any]:
    key, value = _split(text, "--option")
    if key in ("links", "quick", "against", "strict", "verify", "probe", "problems"):
        raise ValueError(f"--option {key}: is none of a reader; see --links, --quick, --against and --partial")
    plain = {"true": True, "false": False}.get(value.lower(), value)
    return key, int(value) if value.isdecimal() else plain
