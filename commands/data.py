# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt data`: look at a local copy of a public data set, or write it as a manifest."""

import argparse
import json
from pathlib import Path
from typing import Any

from xemogpt.commands import Command, say


def register(command: Command) -> None:
    """Add `data`."""
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
    return 1 if lost else 0


def _option(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--option {text!r} is not KEY=VALUE")
    plain = {"true": True, "false": False}.get(value.lower(), value)
    return key, int(value) if value.isdecimal() else plain
