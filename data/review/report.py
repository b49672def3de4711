# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the raters said, as numbers, as a page and as the stacked bars of the paper's Fig. 10.

A clip's score is the mean of its raters' first ratings; tests and intervals are over clips, since the ratings of one
clip are not independent. All p values of a report are adjusted together (Holm).
"""

import html
import io
import json
import os
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from xemogpt.data.review.ratings import DIMENSIONS, LEVELS, TEXTS
from xemogpt.data.review.statistics import bootstrap_mean, holm, ordinal_alpha, shares, signed_rank

MIDDLE = 3
_COLOURS = ("#b2182b", "#ef8a62", "#d9d9d9", "#67a9cf", "#2166ac")  # of 1 to 5, from bad to good


def summarise(rows: list[dict[str, Any]], seed: int = 0) -> dict[str, Any]:
    """The report of `read_ratings`' rows.

    Returns:
        {"raters", "clips", "ratings", "seed",
         "scores": [{"text", "dimension", "ratings", "clips", "shares" of 1 to 5, "mean", "low", "high" (95 %),
         "alpha", "p" (mean against 3), "p_holm"}],
         "differences": [{"dimension", "clips", "mean" of new less old, "low", "high", "p", "p_holm"}],
         "self": {rater: {"pairs", "alpha", "same"}}}; NaN is None.

    Raises:
        ValueError: no rating.
    """
    first = [row for row in rows if not row["repeat"]]
    if not first:
        raise ValueError("no rating to report on")
    raters = sorted({row["rater"] for row in first})
    scores, means = [], {}
    for text in TEXTS:
        for name in DIMENSIONS:
            units = _units(first, text, name)
            if not units:
                continue
            means[text, name] = {id: sum(given.values()) / len(given) for id, given in units.items()}
            values = [value for given in units.values() for value in given.values()]
            clips = list(means[text, name].values())
            entry: dict[str, Any] = {"text": text, "dimension": name, "ratings": len(values), "clips": len(units)}
            entry |= {"shares": shares(values, LEVELS), **bootstrap_mean(clips, seed)._asdict()}
            entry |= {"alpha": ordinal_alpha([list(given.values()) for given in units.values()])}
            scores.append(entry | {"p": signed_rank(clips, MIDDLE)})
    differences = []
    for name in DIMENSIONS:
        new, old = (means.get((text, name), {}) for text in TEXTS)
        if both := [new[id] - old[id] for id in new if id in old]:
            entry = {"dimension": name, "clips": len(both), **bootstrap_mean(both, seed)._asdict()}
            differences.append(entry | {"p": signed_rank(both)})
    tests = scores + differences
    for entry, p in zip(tests, holm([entry["p"] for entry in tests]), strict=True):
        entry["p_holm"] = p
    counts = {"raters": raters, "clips": len({row["id"] for row in first}), "ratings": len(rows), "seed": seed}
    agreement = {rater: _with_self(rows, rater) for rater in raters}
    return _no_nan(counts | {"scores": scores, "differences": differences, "self": agreement})


def write_report(rows: list[dict[str, Any]], folder: str | os.PathLike, seed: int = 0) -> dict[str, Any]:
    """Write report.json, report.html (one file, with the figure in it) and ratings.png, and return the report."""
    report, out = summarise(rows, seed), Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    figure, picture, drawing = draw(report), io.BytesIO(), io.StringIO()
    figure.savefig(picture, format="png", dpi=200)
    figure.savefig(drawing, format="svg")
    _write(out / "report.json", json.dumps(report, indent=1).encode() + b"\n")
    _write(out / "ratings.png", picture.getvalue())
    _write(out / "report.html", _page(report, drawing.getvalue()).encode())
    return report


def _write(path: Path, content: bytes) -> None:
    """Whole or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    try:
        scratch.write_bytes(content)
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def draw(report: dict[str, Any]) -> Any:
    """Fig. 10: for each text and dimension a bar of the shares of 1 to 5, with its mean, as a matplotlib figure."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError('the figure needs matplotlib: pip install "xemogpt[review]"') from None

    entries = report["scores"]
    figure = Figure(figsize=(8, 1.3 + 0.45 * len(entries)), layout="constrained")
    axes = figure.subplots()
    names = [f"{entry['text']}, {entry['dimension']}" for entry in entries]
    start = [0.0] * len(entries)
    for index, level in enumerate(LEVELS):
        part = [100 * entry["shares"][index] for entry in entries]
        axes.barh(names, part, left=start, color=_COLOURS[index], label=str(level), edgecolor="white")
        for row, (left, width) in enumerate(zip(start, part, strict=True)):
            if width >= 6:  # else the number does not fit
                colour = "white" if index in (0, 4) else "black"
                axes.text(left + width / 2, row, f"{width:.0f}", ha="center", va="center", color=colour)
        start = [left + width for left, width in zip(start, part, strict=True)]
    for row, entry in enumerate(entries):
        axes.text(101, row, f"{entry['mean']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}]", va="center")
    axes.set(xlim=(0, 100), xlabel="ratings (%); on the right the mean over clips with its 95 % interval")
    axes.invert_yaxis()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.legend(title=None, ncols=len(LEVELS), loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    return figure


def _units(rows: Iterable[dict[str, Any]], text: str, name: str) -> dict[str, dict[str, int]]:
    """By clip, by rater."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for row in rows:
        value = row["scores"].get(text, {}).get(name)
        if value is not None:
            found[row["id"]][row["rater"]] = value
    return found


def _with_self(rows: list[dict[str, Any]], rater: str) -> dict[str, Any]:
    """How far a rater's second ratings agree with the first."""
    mine = {(row["id"], row["repeat"]): row["scores"] for row in rows if row["rater"] == rater}
    pairs = []
    for (id, repeat), scores in mine.items():
        if repeat and (id, False) in mine:
            before = mine[id, False]
            both = [(before[text][name], scores[text][name]) for text in scores for name in DIMENSIONS]
            pairs += [pair for pair in both if None not in pair]
    same = sum(one == other for one, other in pairs) / len(pairs) if pairs else None
    return {"pairs": len(pairs), "alpha": ordinal_alpha(pairs), "same": same}


def _no_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _no_nan(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_no_nan(part) for part in value]
    return None if isinstance(value, float) and value != value else value


def _page(report: dict[str, Any], drawing: str) -> str:
    columns = ("text", "dimension", "ratings", "clips", "mean", "low", "high", "alpha", "p", "p_holm")
    parts = [
        f"<p>{len(report['raters'])} raters, {report['clips']} clips, {report['ratings']} ratings. p: Wilcoxon's "
        "signed-rank test of the clips' means against 3 (below: of new less old against 0), adjusted by Holm over all "
        "rows. low, high: bootstrap over clips, 95 %. alpha: Krippendorff's, ordinal, among raters.</p>",
        drawing[drawing.index("<svg") :],
        _table("Scores", columns, report["scores"]),
        _table("New less old", columns[1:2] + columns[3:7] + columns[8:], report["differences"]),
        _table(
            "Raters with themselves",
            ("rater", "pairs", "same", "alpha"),
            [{"rater": rater, **found} for rater, found in report["self"].items()],
        ),
    ]
    style = (
        "body{font:15px/1.5 system-ui,sans-serif;max-width:900px;margin:2rem auto;padding:0 1rem}"
        "table{border-collapse:collapse}td,th{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right}"
        "svg{max-width:100%;height:auto}"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Review</title>'
        f"<style>{style}</style><h1>Review</h1>{''.join(parts)}</html>\n"
    )


def _table(title: str, columns: Iterable[str], entries: list[dict[str, Any]]) -> str:
    if not entries:
        return ""
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in columns if name in entries[0])
    rows = []
    for entry in entries:
        cells = "".join(f"<td>{html.escape(_shown(entry[name]))}</td>" for name in columns if name in entry)
        rows.append(f"<tr>{cells}</tr>")
    return f"<h2>{title}</h2><table><tr>{head}</tr>{''.join(rows)}</table>"


def _shown(value: Any) -> str:
    return "" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
