# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What a way of writing costs (in the manner of Fig. 6): annotations in other styles, scored against themselves.

    python scripts/study_text_styles.py emer_v2_reason.csv --others emer_v1_eng.csv --out results/emer_styles.json

Every style keeps what is said, but `first sentences`, which drops most of it and must lose. A metric that reads
content stays near 1 for all the others; what it loses is what style alone costs. With --others, a second file's texts
of the same clips go through the same styles: how much the score of one content moves. No text of either file is
written.
"""

import argparse
import json
import re
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from xemogpt.eval.compare import compare
from xemogpt.eval.cue_scores import Remembering
from xemogpt.eval.records import Record, read_records
from xemogpt.eval.score import Task, provenance, score, shown_command
from xemogpt.eval.table import COLUMNS, value

SHELL = re.compile(r"\bIn the (video|audio|text)\b(?: clues?)?,? *")
HEADINGS = {"video": "Picture", "audio": "Sound", "text": "Words"}
PERSONS = (
    (r"\b(?:a|an|the|this|that) (?:(?:young|old|older|middle-aged|male|female) )*"
     r"(?:man|woman|lady|gentleman|girl|boy|male|female|character|protagonist)\b", "the person"),
    (r"\b(?:his|her(?= \w))\b", "the person's"), (r"\b(?:she|he|her|him|himself|herself)\b", "the person"),
)  # fmt: skip


def sentences(text: str) -> list[str]:
    """Split after a full stop, question or exclamation mark, but not inside a quotation."""
    found: list[str] = []
    for piece in re.split(r"(?<=[.!?])\s+|(?<=[.!?]\")\s+", text.strip()):
        if found and found[-1].count('"') % 2:
            found[-1] += f" {piece}"
        else:
            found.append(piece)
    return found


def sections(text: str) -> list[str]:
    """Runs of sentences that begin with "In the video", "In the audio" or "In the text"."""
    found: list[str] = []
    for sentence in sentences(text):
        if SHELL.match(sentence) or not found:
            found.append(sentence)
        else:
            found[-1] += f" {sentence}"
    return found


def capitalised(text: str) -> str:
    return text[:1].upper() + text[1:]


def without_shells(text: str) -> str:
    return " ".join(capitalised(SHELL.sub("", each)) for each in sentences(text))


def headed(text: str) -> str:
    return "\n\n".join(
        f"{HEADINGS[found[1]]}: {capitalised(SHELL.sub('', each, count=1))}" if (found := SHELL.match(each)) else each
        for each in sections(text)
    )


def persons(text: str) -> str:
    for pattern, other in PERSONS:
        text = re.sub(pattern, other, text, flags=re.IGNORECASE)
    return " ".join(capitalised(each) for each in sentences(text))


def lowered(text: str) -> str:
    return text if text[:2] == "I " else text[:1].lower() + text[1:]


STYLES: dict[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "no section words": without_shells,
    "headings": headed,
    "sections turned round": lambda text: " ".join(reversed(sections(text))),
    "list": lambda text: "\n".join(f"- {each}" for each in sentences(text)),
    "capitals": str.upper,
    "no genders": persons,
    "hedged": lambda text: " ".join(f"It seems that {lowered(each)}" for each in sentences(text)),
    "first sentences": lambda text: " ".join(sentences(each)[0] for each in sections(text)),
}
LOSSY = ("first sentences",)
SHOWN = ("Mean", "Robust F1", "BLEU-1", "BLEU-4", "CIDEr", "CIDEr-D")


def main(argv: Sequence[str] | None = None) -> None:
    """Score every style and write the numbers."""
    args = parser().parse_args(argv)
    references = read_records(args.references, {"text": args.column})
    task = Task(("emocue_360", "bleu", "cider"), cues={"encoder": Remembering(args.encoder), "preset": "official"})
    result: dict[str, Any] = {"command": shown_command(["python", *sys.argv]), **provenance()}
    result["references"] = {"file": Path(args.references).name, "texts": len(references)}
    result["styles"], found = study(references, references, task)
    result["signatures"] = found["signatures"]
    if args.others:
        others = {name: each for name, each in read_records(args.others).items() if name in references}
        result["others"] = {"file": Path(args.others).name, "texts": len(others)}
        rows, found = study(others, {name: references[name] for name in references if name in others}, task)
        result["others"] |= {name: found[name] for name in ("scores", "floor", "signatures")}
        result["others"] |= {"styles": rows, "spread": spread(rows)}
        result["others"]["minus_another_clips_annotation"] = against_another(found, references, task)
    Path(args.out).write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stderr.write(f"wrote {args.out}\n")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("references", metavar="FILE", help="annotations, one text a clip")
    parser.add_argument("--column", default="english", help="of their texts (default: %(default)s)")
    parser.add_argument("--others", metavar="FILE", help="other texts of the same clips")
    parser.add_argument("--encoder", metavar="ID|DIR", help="of EmoCue-360 (default: all-MiniLM-L6-v2)")
    parser.add_argument("--out", required=True, metavar="FILE.json")
    return parser


def study(
    texts: dict[str, Record], references: dict[str, Record], task: Task
) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """By style: each metric's score, its floor, and what is kept of the way from the floor to 1 (CIDEr: to 10).

    Beside it the whole result of the texts as they are.
    """
    rows: dict[str, dict[str, Any]] = {}
    whole: dict[str, Any] = {}
    for style, write in STYLES.items():
        said = {name: replace(each, text=write(each.text or "")) for name, each in texts.items()}
        found = score(said, references, task)
        whole = whole or found
        rows[style] = {
            name: {"score": number, "floor": value(found["floor"], path)}
            for name, path, _ in COLUMNS
            if (number := value(found["scores"], path)) is not None
        }
        sys.stderr.write(f"{style}: " + ", ".join(f"{n} {row['score']:.3f}" for n, row in rows[style].items()) + "\n")
    for row in rows.values():
        for name, node in row.items():
            floor, most = float(rows["as it is"][name]["floor"] or 0), 10 if name.startswith("CIDEr") else 1
            node["kept"] = (float(node["score"] or 0) - floor) / (most - floor)
    return rows, whole


def against_another(found: dict[str, Any], references: dict[str, Record], task: Task) -> dict[str, Any]:
    """By metric: the other text of the right clip, minus the annotation of the next clip in the same hand."""
    truth = {row["id"]: references[row["id"]] for row in found["samples"]}
    names = list(truth)
    said = {name: replace(truth[after], id=name) for name, after in zip(names, [*names[1:], names[0]], strict=True)}
    wrong, right = (each | {"benchmark": "", "file": ""} for each in (score(said, truth, task), found))
    return {row.metric: asdict(row) for row in compare(wrong, right) if not row.metric.endswith("_d")}


def spread(rows: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By metric: standard deviation and range of the score over the styles that keep the content."""
    kept = [row for style, row in rows.items() if style not in LOSSY]
    return {
        name: {
            "mean": statistics.mean(values),
            "std": statistics.stdev(values),
            "range": max(values) - min(values),
        }
        for name in kept[0]
        if (values := [row[name]["score"] for row in kept])
    }


def tables(result: dict[str, Any]) -> str:
    """The numbers as the documents show them: scores, and the floor; CIDEr out of 10."""

    def lines(rows: dict[str, dict[str, Any]]) -> Iterator[str]:
        yield f"| style | {' | '.join(SHOWN)} |"
        yield f"|---|{'---:|' * len(SHOWN)}"
        for style, row in rows.items():
            yield f"| {style} | {' | '.join(format(row[name]['score'], '.3f') for name in SHOWN)} |"
        floor = " | ".join(format(rows["as it is"][name]["floor"], ".3f") for name in SHOWN)
        yield f"| *floor, as it is* | {floor} |"

    parts = [result["styles"], *([result["others"]["styles"]] if "others" in result else [])]
    return "\n\n".join("\n".join(lines(rows)) for rows in parts) + "\n"


if __name__ == "__main__":
    main()
