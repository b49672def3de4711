# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Cues out of descriptions: `extract`, and `agreement`, how much a score depends on who extracts."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from xemogpt.commands import Command, say


def register(command: Command) -> None:
    """Add the subcommands."""
    extract = command("extract", run_extract, "read the cues out of a file of descriptions; a killed run goes on")
    extract.add_argument("descriptions", metavar="IN", help=".csv, .json or .jsonl with an id and a text a row")
    extract.add_argument("out", metavar="OUT.jsonl", help="one row of cues a text; what `xemogpt score` reads")
    extract.add_argument("--rules", default="all", metavar="VARIANT", help="of rules-1 (default: all rules)")
    extract.add_argument("--template", default="brief", metavar="NAME", help="of the question to a model (brief)")
    extract.add_argument(
        "--workers", type=int, default=4, metavar="N", help="requests at a time (default: %(default)s)"
    )
    extract.add_argument("--retry-rejects", action="store_true", help="try texts again that a run before rejected")
    _add_source(extract)

    agreement = command(
        "agreement", run_agreement, "score the same texts with the cues of several extractors: Table III"
    )
    agreement.add_argument("predictions", metavar="PREDICTIONS", help=".csv, .json or .jsonl with an id and a text")
    agreement.add_argument("references", metavar="REFERENCES")
    agreement.add_argument("--preset", choices=("official", "equation", "robust"), default="official")
    agreement.add_argument("--encoder", metavar="ID|DIR", help="default: all-MiniLM-L6-v2")
    agreement.add_argument("--limit", type=int, metavar="N", help="the first N texts alone")
    agreement.add_argument("--out", metavar="FILE.json", help="write all numbers there")
    _add_source(agreement)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--column", metavar="NAME", help="of the texts, where the file has several")
    group = parser.add_argument_group("a language model in place of rules-1 (English and Chinese, offline)")
    group.add_argument("--model", metavar="NAME", help="as the server calls it")
    group.add_argument("--base-url", metavar="URL", help="of an OpenAI-compatible server; its key is OPENAI_API_KEY")
    group.add_argument("--cache", metavar="FILE.sqlite", help="keeps answers, so that none is paid for twice")


def run_extract(args: argparse.Namespace) -> int:
    """`xemogpt extract`."""
    from xemogpt.eval.extraction import extract_file

    rejected = extract_file(
        _texts(args.descriptions, args.column),
        _extractor(args, args.rules, args.template),
        Path(args.out),
        workers=args.workers if args.model else 1,
        retry_rejects=args.retry_rejects,
    )
    if rejected:
        name, reason = next(iter(rejected.items()))
        say(f"{len(rejected)} texts rejected, listed beside {args.out}; the first, {name}: {reason}")
    return 1 if rejected else 0


def run_agreement(args: argparse.Namespace) -> int:
    """`xemogpt agreement`."""
    from xemogpt.eval.emocue_360.rules import VARIANTS
    from xemogpt.eval.emocue_360.templates import TEMPLATES
    from xemogpt.eval.extraction import agreement
    from xemogpt.eval.score import provenance, shown_command

    texts = [_texts(path, args.column) for path in (args.predictions, args.references)]
    if args.limit is not None:
        names = [name for name in texts[1] if name in texts[0]][: args.limit]
        texts = [{name: each[name] for name in names} for each in texts]
    extractors = [_extractor(args, name, name) for name in (TEMPLATES if args.model else VARIANTS)]
    options = {"preset": args.preset} | ({"derangements": 0, "bootstrap": 0} if args.preset == "robust" else {})
    found = agreement(texts[0], texts[1], extractors, args.encoder, **options)
    print(f"{'':18} {'mean':>7} {'std e-3':>8} {'range e-3':>10}")
    for name, row in found["spread"].items():
        print(f"{name:18} {row['mean']:7.4f} {row['std']:8.2f} {row['range']:10.2f}")
    for run in found["runs"]:
        print(f"{run['signature']}  mean F1 {run['mean_f1']:.4f}")
    if args.out:
        out = Path(args.out)
        about = {
            "command": shown_command(["xemogpt", *sys.argv[1:]]),
            "predictions": Path(args.predictions).name,
            "references": Path(args.references).name,
            "column": args.column,
        }
        content = json.dumps(about | found | provenance(), indent=2, ensure_ascii=False)
        out.parent.mkdir(parents=True, exist_ok=True)
        scratch = out.with_name(f".{out.name}.part")
        scratch.write_text(f"{content}\n", encoding="utf-8")
        scratch.replace(out)
    return 0


def _texts(path: str, column: str | None) -> dict[str, str]:
    from xemogpt.eval.records import read_records, shown

    records = read_records(path, {"text": column} if column else None, option="--column")
    if silent := [name for name, record in records.items() if record.text is None]:
        raise ValueError(
            f"{path}: {len(silent)} of {len(records)} rows have no text: {shown(silent)}; --column names it"
        )
    return {name: record.text or "" for name, record in records.items()}


def _extractor(args: argparse.Namespace, variant: str, template: str) -> Any:
    if not args.model:
        if args.base_url or args.cache:
            raise ValueError("--base-url and --cache need --model, the name that the server has for it")
        from xemogpt.eval.emocue_360.rules import RulesExtractor

        return RulesExtractor(variant)
    from xemogpt.eval.emocue_360.llm import LLMExtractor

    return LLMExtractor(args.model, args.base_url, template=template, cache=args.cache)
