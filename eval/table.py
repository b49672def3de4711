# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Results as text: the scores of one, and many in a table in the manner of Table II.

'-' is a dimension that the model was not given. Models are ranked within groups that had the same modalities, and each
score has its floor, what another clip's annotation gets, in a row of its own or beside it. A column whose numbers were
computed differently, as `compare` would say, ranks nobody. A result of the preset `robust` has no Mean: padding an
answer raises the mean of precision and recall, but not that of F1.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from xemogpt.eval.compare import settings_of

# Column, path in `scores`, path in `floor`, factor: Table II prints percent but BLEU and CIDEr.
COLUMNS: tuple[tuple[str, tuple[str, ...], float], ...] = (
    *(
        (f"{short} {letter}", ("emocue_360", dimension, kind), 100.0)
        for dimension, short in (("visual", "Vis"), ("audio", "Aud"), ("global", "Glo"))
        for letter, kind in (("P", "precision"), ("R", "recall"))
    ),
    ("Mean", ("emocue_360", "mean"), 100.0),
    ("Robust F1", ("emocue_360_robust", "mean_f1"), 100.0),
    ("BLEU-1", ("bleu_1",), 1.0),
    ("BLEU-4", ("bleu_4",), 1.0),
    ("CIDEr", ("cider",), 1.0),
    ("CIDEr-D", ("cider_d",), 1.0),
    ("UAR", ("recognition", "uar"), 100.0),
    ("WAR", ("recognition", "war"), 100.0),
    ("OV Acc", ("open_vocabulary", "acc"), 100.0),
    ("OV Rec", ("open_vocabulary", "recall"), 100.0),
    ("OV F1", ("open_vocabulary", "f1"), 100.0),
    ("Hit rate", ("hit_rate",), 100.0),
    ("WAF", ("sentiment", "waf"), 100.0),
    ("EEA", ("consistency", "eea"), 100.0),
    ("EPC", ("consistency", "epc"), 100.0),
    ("FCR", ("consistency", "fcr"), 100.0),
    ("Conflict", ("conflict", "conflict"), 100.0),
    ("Gap", ("conflict", "gap"), 100.0),
    ("ECE", ("calibration", "ece"), 1.0),
)
# Where a higher number is better, best first; the one that most of a group have alike ranks it, the first of several.
RANKING = ("Mean", "Robust F1", "UAR", "OV F1", "Hit rate", "WAF", "Conflict", "CIDEr")
GROUPS = {("audio",): "audio only", ("visual",): "visual only", ("audio", "visual"): "visual and audio"}


def value(tree: Mapping[str, Any] | None, path: Sequence[str]) -> float | None:
    """A number deep in a result, or None where it is not."""
    found: Any = tree
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return float(found) if isinstance(found, int | float) else None


def used_columns(results: Sequence[Mapping[str, Any]]) -> list[tuple[str, tuple[str, ...], float]]:
    """The columns that at least one result has a number for."""
    return [column for column in COLUMNS if any(value(each["scores"], column[1]) is not None for each in results)]


def shown(number: float | None, factor: float) -> str:
    """As tables print it: percent with one digit, all else with four."""
    return "-" if number is None else f"{number * factor:.1f}" if factor == 100 else f"{number:.4f}"


def groups(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Results by benchmark, its version and modalities, those with both first, and in each group the best first."""
    kinds: dict[tuple[str, int, tuple[str, ...]], list[Mapping[str, Any]]] = {}
    for each in results:
        kind = (each["benchmark"], each.get("task_version") or 0, tuple(sorted(each.get("modalities") or ())))
        kinds.setdefault(kind, []).append(each)
    for (benchmark, version, modalities), members in sorted(
        kinds.items(), key=lambda kind: (kind[0][:2], -len(kind[0][2]), kind[0][2])
    ):
        title = f"{benchmark} v{version}" if version else benchmark
        yield f"{title}, {GROUPS.get(modalities, ' and '.join(modalities))}", _best_first(members)


def _best_first(members: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Ordered by the column of `RANKING` that most have alike; others follow, those that are alike together."""
    paths = [next(path for column, path, _ in COLUMNS if column == name) for name in RANKING]
    ways = [Counter(way for way in _ways(members, path) if way is not None) for path in paths]
    most = [max(counts.values(), default=0) for counts in ways]
    by = most.index(max(most))
    place = {way: index for index, (way, _) in enumerate(ways[by].most_common())}

    def key(each: Mapping[str, Any]) -> tuple[int, float]:
        (way,) = _ways([each], paths[by])
        return len(place) if way is None else place[way], -(value(each["scores"], paths[by]) or 0)

    return sorted(members, key=key)


def _ways(members: Sequence[Mapping[str, Any]], path: Sequence[str]) -> list[str | None]:
    """How each result's number was computed, as `compare` sees it; None where it has no such number."""
    return [
        None if value(each["scores"], path) is None else settings_of((each.get("signatures") or {}).get(path[0], ""))
        for each in members
    ]


def _unlike(members: Sequence[Mapping[str, Any]], path: Sequence[str]) -> bool:
    return len(set(_ways(members, path)) - {None}) > 1


def ranked(column: str, path: Sequence[str], members: Sequence[Mapping[str, Any]]) -> list[int | None]:
    """`ranks` of a group's results in a column; None for all where their numbers were computed differently."""
    numbers = [value(each["scores"], path) for each in members]
    return [None] * len(members) if _unlike(members, path) else ranks(column, numbers)


def unranked(members: Sequence[Mapping[str, Any]]) -> str:
    """A line that names the columns of a group in which `ranked` ranks nobody for that reason; "" for none."""
    names = [name for name, path, _ in COLUMNS if _unlike(members, path)]
    return f"Computed differently, so nobody is ranked: {', '.join(names)}." if names else ""


def covered(coverage: Mapping[str, Any]) -> str:
    """How many clips were scored of how many, and how many have no prediction."""
    missing = len(coverage.get("missing", ()))
    return f"{coverage['scored']}/{coverage['references']}" + (f", {missing} missing" if missing else "")


def ranks(column: str, numbers: Sequence[float | None]) -> list[int | None]:
    """1 for the best of a column (nearest to 0 of a gap or an error), None for what is absent or alone."""
    badness = [None if x is None else abs(x) if column in ("Gap", "ECE") else -x for x in numbers]
    known = [x for x in badness if x is not None]
    return [None if x is None or len(known) < 2 else 1 + sum(y < x - 1e-12 for y in known) for x in badness]


def interval_of(result: Mapping[str, Any], path: Sequence[str]) -> tuple[float, float] | None:
    """The 95 % interval that a result has of a score, under `interval` of the same node."""
    found: Any = result["scores"]
    for key in (*path[:-1], "interval", path[-1]):
        found = found.get(key) if isinstance(found, Mapping) else None
    return (found[0], found[1]) if isinstance(found, list | tuple) and len(found) == 2 else None


def markdown(results: Sequence[Mapping[str, Any]]) -> str:
    """One table a group of benchmark and modalities: models ranked, the best bold, intervals and floor below each.

    The signatures follow, each with the models that it holds for.
    """
    parts = []
    for title, members in groups(results):
        columns = used_columns(members)
        rows = [[each["model"], covered(each["coverage"])] for each in members]
        floors = [["floor", ""] for _ in members]
        spreads = [["95 %", ""] for _ in members]
        for name, path, factor in columns:
            numbers = [value(each["scores"], path) for each in members]
            lines = zip(rows, spreads, floors, members, numbers, ranked(name, path, members), strict=True)
            for row, spread, floor, each, x, rank in lines:
                row.append(f"**{shown(x, factor)}**" if rank == 1 else shown(x, factor))
                ends = interval_of(each, path) or ()
                spread.append("-".join(shown(end, factor) for end in ends))
                floor.append(shown(value(each["floor"], path), factor))
        below = [line for three in zip(rows, spreads, floors, strict=True) for line in three if any(line[1:])]
        table = _aligned([["model", "n", *(name for name, _, _ in columns)], *below])
        parts += [f"**{title}**", table, *filter(None, [unranked(members)]), *_signatures(members)]
    return "\n\n".join(parts)


def score_lines(result: Mapping[str, Any]) -> list[str]:
    """The scores of one result, a line each, with floor and 95 % interval beside it; then the signatures."""
    lines = []
    for name, path, factor in used_columns([result]):
        floor, ends = value(result["floor"], path), interval_of(result, path)
        chance = "" if floor is None else f"floor {shown(floor, factor)}"
        spread = f"95 % [{shown(ends[0], factor)}, {shown(ends[1], factor)}]" if ends else ""
        score = shown(value(result["scores"], path), factor)
        lines.append(f"{name:10}{score:>9}   {chance:13}{spread}".rstrip())
    return lines + [f"{name}: {signature}" for name, signature in result["signatures"].items()]


def _signatures(members: Sequence[Mapping[str, Any]]) -> list[str]:
    """A list of metrics, models and signatures, those that are alike on one line; nothing where there are none."""
    alike: dict[tuple[str, str], list[str]] = {}
    for each in members:
        for name, signature in (each.get("signatures") or {}).items():
            alike.setdefault((name, signature), []).append(each["model"])
    lines = [f"- {name} ({', '.join(models)}): `{signature}`" for (name, signature), models in sorted(alike.items())]
    return ["\n".join(lines)] if lines else []


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    rows = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [[rows[0][i].ljust(widths[i]) for i in range(len(widths))], rule]
    for row in rows[1:]:
        lines.append(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
