# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Results as one HTML file that reviewers open: it needs no network and reads in light and dark.

The table with ranks and floors, a score card for each model, confusion matrices, cue density (Fig. 5), and case pages
(Fig. 8, 9): clip, reference and every model's text, with the cues matched to the reference's. Green is matched, red
hallucinated (in no reference cue), grey missed (a reference cue that no prediction has).
"""

import base64
import html
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from xemogpt.eval.table import COLUMNS, covered, groups, interval_of, ranked, shown, unranked, used_columns, value

DIMENSIONS = ("visual", "audio", "global")
MOST_MEDIA_BYTES = 8_000_000  # of a clip that goes into the page
COLOURS = 6  # of the page's style sheet
MEDIA_TYPES = {".mp4": "video/mp4", ".webm": "video/webm", ".wav": "audio/wav"}


def write_page(out: Path, results: Sequence[Mapping[str, Any]], *, cases: int = 8, media: Path | None = None) -> None:
    """Write the page of some results. `media`: a folder with clips <id>.mp4, .webm or .wav for the cases."""
    if not results:
        raise ValueError("there is no result to report")
    if cases < 0:
        raise ValueError(f"the number of cases cannot be {cases}")
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    in_order = [each for _, members in groups(results) for each in members]
    page = environment.get_template("report.html.jinja").render(
        title=" · ".join(sorted({each["benchmark"] for each in results})),
        tables=[_table(title, members) for title, members in groups(results)],
        cards=[_card(each) for each in in_order],
        confusions=[_confusion(each) for each in in_order if "recognition" in each["scores"]],
        densities=_densities(in_order),
        cases=_cases(in_order, cases, media),
    )
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f".{out.name}.part")
    scratch.write_text(page, encoding="utf-8")
    scratch.replace(out)


def _table(title: str, members: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One group: models ranked in each column, floors below each."""
    columns = used_columns(members)
    rows: list[dict[str, Any]] = [
        {"model": each["model"], "covered": covered(each["coverage"]), "cells": [], "floor": []} for each in members
    ]
    for name, path, factor in columns:
        numbers = [value(each["scores"], path) for each in members]
        for row, each, number, rank in zip(rows, members, numbers, ranked(name, path, members), strict=True):
            row["cells"].append({"text": shown(number, factor), "rank": rank})
            row["floor"].append(shown(value(each["floor"], path), factor))
    return {"title": title, "columns": [name for name, _, _ in columns], "rows": rows, "unranked": unranked(members)}


def _card(result: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to trust a number: floor, interval, coverage, signatures, commit, machine."""
    rows = []
    for name, path, factor in COLUMNS:
        if (number := value(result["scores"], path)) is not None:
            floor = value(result["floor"], path)
            interval = interval_of(result, path)
            rows.append(
                {
                    "name": name,
                    "text": shown(number, factor),
                    "floor": None if floor is None else shown(floor, factor),
                    "interval": interval and f"{shown(interval[0], factor)} to {shown(interval[1], factor)}",
                    "bar": _percent(number, name),
                    "tick": None if floor is None else _percent(floor, name),
                }
            )
    about = {
        "benchmark": f"{result['benchmark']}" + (f" v{v}" if (v := result.get("task_version")) else ""),
        "modalities": ", ".join(result.get("modalities") or ()),
        "prompt": result.get("prompt_id"),
        "command": result.get("command"),
        "commit": (result.get("commit") or "")[:12] + (" (changed)" if result.get("dirty") else ""),
        "seed": result.get("seed"),
        "machine": (result.get("machine") or {}).get("cpu"),
    }
    return {
        "model": result["model"],
        "rows": rows,
        "coverage": result["coverage"],
        "signatures": result["signatures"],
        "notes": result.get("notes", []),
        "about": {key: each for key, each in about.items() if each not in (None, "")},
    }


def _percent(number: float, column: str) -> float:
    """How much of a bar a score fills: CIDEr goes to 10, all else to 1."""
    return round(max(0.0, min(1.0, number / (10 if column.startswith("CIDEr") else 1))) * 100, 1)


def _confusion(result: Mapping[str, Any]) -> dict[str, Any]:
    scored = result["scores"]["recognition"]
    rows = []
    for label, counts in zip(scored["labels"], scored["confusion"], strict=False):
        total = sum(counts)
        if total:
            cells = [{"count": count, "share": round(count / total, 3)} for count in counts]
            rows.append({"label": label, "cells": cells, "total": total})
    predicted = [sum(column) for column in zip(*scored["confusion"], strict=True)]
    return {"model": result["model"], "labels": scored["labels"], "rows": rows, "predicted": predicted}


def _densities(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each dimension: how many cues a text has, as shares of samples, for the references and each model."""
    series: dict[str, dict[str, list[int]]] = {dimension: {} for dimension in DIMENSIONS}
    for result, model in zip(results, _distinct(results), strict=True):
        rows = [row["matching"] for row in result["samples"] if "matching" in row and row["prediction"] is not None]
        for dimension in DIMENSIONS:
            found = [row[dimension] for row in rows if dimension in row]
            if found:
                reference = [len(each["matched"]) + len(each["missed"]) for each in found]
                said = [len(each["matched"]) + len(each["hallucinated"]) for each in found]
                series[dimension].setdefault(f"reference ({result['benchmark']})", reference)
                series[dimension][model] = said
    names = list(dict.fromkeys(name for counts in series.values() for name in counts))
    colours = {name: names.index(name) % COLOURS for name in names}  # one each, in all plots
    return [
        {
            "dimension": dimension,
            "svg": _density_svg(counts, colours),
            "legend": [(name, colours[name], f"{sum(each) / len(each):.1f}") for name, each in counts.items()],
        }
        for dimension, counts in series.items()
        if counts
    ]


def _distinct(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """A name for each result: its model, with benchmark, file and number where one model has several."""
    names = [each["model"] for each in results]
    for key in ("benchmark", "file"):
        again = {name for name in names if names.count(name) > 1}
        parts = [f"{name} ({each[key]})" for name, each in zip(names, results, strict=True)]
        names = [part if name in again else name for name, part in zip(names, parts, strict=True)]
    return [f"{name} #{index + 1}" if names.count(name) > 1 else name for index, name in enumerate(names)]


def _density_svg(series: Mapping[str, Sequence[int]], colours: Mapping[str, int]) -> str:
    """Shares of samples (y) by number of cues (x), one stepped line each; the reference is the first, and on top."""
    width, height, left, bottom = 360, 170, 34, 26
    most = max(max(counts) for counts in series.values()) + 1
    shares = {
        name: [sum(c == k for c in counts) / len(counts) for k in range(most + 1)] for name, counts in series.items()
    }
    top = max(max(each) for each in shares.values())

    def x(k: float) -> float:
        return round(left + k * (width - left - 8) / (most + 1), 1)

    def y(share: float) -> float:
        return round(height - bottom - share / top * (height - bottom - 10), 1)

    parts = [f'<line class="axis" x1="{left}" y1="{y(0)}" x2="{width - 8}" y2="{y(0)}"/>']
    step = max(1, (most + 1) // 10)
    parts += [f'<text class="tick" x="{x(k + 0.5)}" y="{height - 8}">{k}</text>' for k in range(0, most + 1, step)]
    for share in (0, top / 2, top):
        label = f"{share:.0%}"
        parts.append(f'<text class="tick end" x="{left - 4}" y="{y(share) + 4}">{label}</text>')
    for name, each in reversed(shares.items()):
        points = " ".join(f"{x(k)},{y(s)} {x(k + 1)},{y(s)}" for k, s in enumerate(each))
        parts.append(f'<polyline class="line s{colours[name]}" points="{points}"/>')
    label = html.escape(f"number of cues in a text: {', '.join(series)}")
    return f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _cases(results: Sequence[Mapping[str, Any]], most: int, media: Path | None) -> list[dict[str, Any]]:
    """Clips evenly from the worst to the best of the first model, each with every model's text."""
    first = [row for row in results[0]["samples"] if (row["prediction"] or {}).get("text") or row.get("matching")]
    first.sort(key=lambda row: (_overall(row), row["id"]))
    count = min(most, len(first))
    picked = [first[round(k * (len(first) - 1) / max(1, count - 1))] for k in range(count)]
    cases = []
    for row in picked:
        models = []
        for result in results:
            if result["benchmark"] == results[0]["benchmark"]:
                found = next((each for each in result["samples"] if each["id"] == row["id"]), None)
                if found is not None:
                    models.append(_answer(result["model"], found))
        reference = row["reference"]
        cases.append(
            {
                "id": row["id"],
                "media": _medium(row["id"], media),
                "text": reference.get("text"),
                "label": reference.get("label") or ", ".join(reference.get("labels") or ()),
                "models": models,
            }
        )
    return cases


def _answer(model: str, row: Mapping[str, Any]) -> dict[str, Any]:
    prediction, scores = row["prediction"], dict(row["scores"])
    if prediction is None:
        prediction = {"text": "(no prediction)"}
    text = prediction.get("text") or ", ".join(prediction.get("labels") or ()) or prediction.get("label") or ""
    diagrams = []
    for name in DIMENSIONS:
        if name in row.get("matching", {}):
            match = row["matching"][name]
            rest = list(zip_longest(match["hallucinated"], match["missed"]))
            scored = [scores.pop(key, None) for key in (f"{name}_f1", f"robust_{name}_f1")]
            diagrams.append({"dimension": name, **match, "rest": rest, "f1": scored[0], "robust": scored[1]})
    numbers = {key: each for key, each in scores.items() if isinstance(each, float)}
    kinds = {cue: "hallucinated" for each in diagrams for cue in each["hallucinated"]}
    kinds |= {ours: "matched" for each in diagrams for ours, _, _ in each["matched"]}
    return {"model": model, "parts": marked(text, kinds), "scores": numbers, "diagrams": diagrams}


def marked(text: str, kinds: Mapping[str, str]) -> list[tuple[str, str]]:
    """A text in parts, each with the kind of the cue that it is, or "": cues that the text has, longer ones first."""
    spans: list[tuple[int, int, str]] = []
    for cue in sorted(kinds, key=len, reverse=True):
        start = text.find(cue) if cue else -1
        if start >= 0 and all(start >= b or start + len(cue) <= a for a, b, _ in spans):
            spans.append((start, start + len(cue), kinds[cue]))
    parts, at = [], 0
    for a, b, kind in [*sorted(spans), (len(text), len(text), "")]:
        parts += [(text[at:a], ""), (text[a:b], kind)]
        at = b
    return [(part, kind) for part, kind in parts if part]


def _overall(row: Mapping[str, Any]) -> float:
    """What cases are sorted by: the first of these numbers that a sample has."""
    scores = row["scores"]
    return next((scores[key] for key in ("mean_f1", "cider", "open_vocabulary_f1", "correct") if key in scores), 0.0)


def _medium(name: str, folder: Path | None) -> dict[str, str] | None:
    for suffix, kind in MEDIA_TYPES.items():
        if folder is not None and (path := folder / f"{name}{suffix}").is_file():
            if path.stat().st_size > MOST_MEDIA_BYTES:
                return None
            data = base64.b64encode(path.read_bytes()).decode()
            return {"kind": kind.partition("/")[0], "url": f"data:{kind};base64,{data}"}
    return None
