# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt review`: people judge a built data set, and what they said becomes numbers and a figure."""

import argparse
import json
from pathlib import Path

from xemogpt.commands import Command, say


def register(command: Command) -> None:
    """Add `review`."""
    parser = command("review", run_review, "let people rate a built data set, and report what they said")
    add = parser.add_argument
    actions = ("serve", "report", "tasks", "import")
    add("action", choices=actions, help="tasks, import: to and from Label Studio")
    add("--items", metavar="FILE", help="dataset/review.jsonl of a build")
    add("--ratings", metavar="FOLDER", default="ratings", help="of the raters' files (default: %(default)s)")
    add("--root", metavar="FOLDER", help="refuse clips that do not lie below it")
    add("--out", metavar="PATH", help="report: a folder (default: the ratings'); tasks: a folder")
    add("--repeats", type=float, default=0.1, help="share of the clips that is shown twice (default: %(default)s)")
    add("--host", default="127.0.0.1", help="serve: 0.0.0.0 is for other machines too, without a password")
    add("--port", type=int, default=7861, help="0: any free one (default: %(default)s)")
    add("--media", metavar="URL", default="/data/local-files/?d=", help="tasks: where Label Studio finds KEY.mp4")
    add("--export", metavar="FILE", help="import: Label Studio's JSON export")
    add("--seed", type=int, default=0, help="report: of the bootstrap")


def run_review(args: argparse.Namespace) -> int:
    """`xemogpt review`."""
    from xemogpt.data.review.ratings import read_items

    if args.action == "report":
        return _report(args)
    if not args.items:
        raise ValueError(f"review {args.action} needs --items FILE, the review.jsonl of a built data set")
    if not 0 <= args.repeats <= 1:
        raise ValueError(f"--repeats {args.repeats}: is no share from 0 to 1")
    if not 0 <= args.port <= 65535:
        raise ValueError(f"--port {args.port}: is none of 0 to 65535 (0: any free one)")
    items = read_items(args.items, args.root)
    if args.action == "serve":
        from xemogpt.data.review.server import ReviewServer

        server = ReviewServer(items, args.ratings, args.port, args.host, args.repeats)
        say(f"{len(items)} clips; open {server.url} (Ctrl-C ends; ratings are in {args.ratings}/)")
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            say("ended; start again to go on")
        finally:
            server.server_close()
        return 0

    from xemogpt.data.jsonl import JsonLines
    from xemogpt.data.review import label_studio
    from xemogpt.data.text import read_json

    if args.action == "tasks":
        if not args.out:
            raise ValueError("review tasks needs --out FOLDER")
        out = Path(args.out)
        out.mkdir(parents=True, exist_ok=True)
        tasks = label_studio.to_tasks(items, args.media)
        (out / "tasks.json").write_text(json.dumps(tasks, ensure_ascii=False, indent=1), encoding="utf-8")
        (out / "interface.xml").write_text(label_studio.interface(items), encoding="utf-8")
        names = {key: file for item in items for key, file in item.files.items()}
        (out / "files.json").write_text(json.dumps(names, indent=1), encoding="utf-8")
        say(f"{len(tasks)} tasks -> {out}/tasks.json; files.json says which file goes by which key")
        return 0
    if not args.export:
        raise ValueError("review import needs --export FILE, Label Studio's JSON export")
    rows = label_studio.from_export(read_json(args.export), items)
    folder = Path(args.ratings)
    folder.mkdir(parents=True, exist_ok=True)
    with JsonLines(folder / "label-studio.jsonl", required="key", first="key") as file:
        file.rewrite(rows)
    say(f"{len(rows)} ratings -> {folder}/label-studio.jsonl")
    return 0


def _report(args: argparse.Namespace) -> int:
    from xemogpt.data.review.ratings import read_ratings
    from xemogpt.data.review.report import write_report

    files = sorted(Path(args.ratings).glob("*.jsonl"))
    if not files:
        raise FileNotFoundError(f"{args.ratings}: no raters' files (*.jsonl)")
    out = Path(args.out or args.ratings)
    report = write_report(read_ratings(files), out, args.seed)
    for entry in report["scores"]:
        alpha = "-" if entry["alpha"] is None else f"{entry['alpha']:.2f}"
        interval = f"{entry['mean']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]"
        print(f"{entry['text']} {entry['dimension']}: {interval}, alpha {alpha}, p (Holm) {entry['p_holm']:.2g}")
    say(f"{len(report['raters'])} raters, {report['clips']} clips -> {out}/report.html, report.json, ratings.png")
    return 0
