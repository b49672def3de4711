# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Cues out of a file of descriptions, once and for all; and how much a score depends on who read them (Table III)."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from xemogpt.data.jsonl import JsonLines
from xemogpt.eval.cue_scores import Remembering
from xemogpt.eval.emocue_360.cue_schema import MODALITIES, Cue, CueExtractor, ExtractionError
from xemogpt.eval.emocue_360.scoring import score

MEASURES = ("precision", "recall", "f1")


def extract_file(
    texts: Mapping[str, str],
    extractor: CueExtractor,
    out: Path,
    *,
    workers: int = 1,
    retry_rejects: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """The cues of each text into `out`, one row a text as it comes; called again, it goes on where it was.

    A row is {"id", "cues": {"visual": [...], "audio": [...], "global": [...]}, "extractor", "text_sha256"}. Texts that
    cannot be read go to `<out's stem>.rejects.jsonl` beside it, with the reason; they are not tried again unless
    `retry_rejects`.

    Args:
        texts: by id.
        workers: texts at a time; more than one is of use where a server does the work.

    Returns:
        The reasons of rejected texts, by id.

    Raises:
        ValueError: `out` holds cues of another extractor, or of another text under the same id.
        OSError: the server is away; what was read so far is kept.
    """
    if workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    tag = f"{extractor.name}@{extractor.digest}"
    marks = {name: {"extractor": tag, "text_sha256": _digest(text)} for name, text in texts.items()}
    with (
        JsonLines(out, "cues", first="id") as results,
        JsonLines(out.with_name(f"{out.stem}.rejects.jsonl"), "reason", first="id") as rejects,
    ):
        for row in results.rows:
            mark = marks.get(row["id"], {"extractor": tag})
            if other := [key for key, value in mark.items() if row.get(key) != value]:
                raise ValueError(
                    f"{out}: has the cues of {row['id']!r} with another {other[0]} ({row.get(other[0])}, now "
                    f"{mark[other[0]]}); name another file"
                )
        if retry_rejects and rejects.rows:
            rejects.rewrite([])
        refused = {row["id"]: row["reason"] for row in rejects.rows if marks.get(row["id"], {}).items() <= row.items()}
        refused = {name: reason for name, reason in refused.items() if name in texts}
        done = {row["id"] for row in results.rows} | set(refused)
        todo = [name for name in texts if name not in done]
        bar = tqdm(total=len(texts), initial=len(texts) - len(todo), unit="text", disable=None if progress else True)
        with bar, ThreadPoolExecutor(workers) as pool:
            # A few at a time: what fails for all must not first be asked of all.
            for names in _chunks(todo, 4 * workers):
                for name, outcome in zip(
                    names, pool.map(lambda name: _read(extractor, texts[name]), names), strict=True
                ):
                    if isinstance(outcome, str):
                        refused[name] = outcome
                        rejects.append({"id": name, "reason": outcome} | marks[name])
                    else:
                        results.append({"id": name, "cues": grouped(outcome)} | marks[name])
                    bar.update()
    return refused


def grouped(cues: Sequence[Cue]) -> dict[str, list[dict[str, Any]]]:
    """Cues by modality as JSON, in the form that the metric reads."""
    return {
        modality: [
            {
                key: value
                for key, value in asdict(cue).items()
                if key not in ("modality", "source") and value is not None
            }
            for cue in cues
            if cue.modality == modality
        ]
        for modality in MODALITIES
    }


def agreement(
    predictions: Mapping[str, str],
    references: Mapping[str, str],
    extractors: Sequence[CueExtractor],
    encoder: Any = None,
    **options: Any,
) -> dict[str, Any]:
    """The same texts, scored with the cues that each extractor reads: its share in a score (Table III).

    Args:
        predictions, references: texts by id.
        encoder: a function, a folder or Hub id; default all-MiniLM-L6-v2.
        options: of the metric, such as `preset`.

    Returns:
        `runs`, one for each extractor: `extractor`, scores by dimension, `mean`, `mean_f1`, `signature`; `spread`: for
        each of these numbers, where every run has it, its `mean`, and in thousandths `std` (of a sample: n - 1) and
        `range` over the runs.
    """
    if len(extractors) < 2:
        raise ValueError("an agreement needs two extractors at least")
    remembering = Remembering(encoder)
    runs = []
    for extractor in extractors:
        result = score(predictions, references, extractor=extractor, encoder=remembering, **options)
        kept = {key: result[key] for key in (*MODALITIES, "mean", "mean_f1", "signature", "failed")}
        runs.append({"extractor": f"{extractor.name}@{extractor.digest}"} | kept)
    paths = [(name, measure) for name in MODALITIES for measure in MEASURES] + [("mean",), ("mean_f1",)]
    spread: dict[str, Any] = {}
    for path in paths:
        values = [value for run in runs if (value := _at(run, path)) is not None]
        if len(values) < len(runs):
            continue
        spread[".".join(path)] = {
            "mean": float(np.mean(values)),
            "std": float(1000 * np.std(values, ddof=1)),
            "range": float(1000 * np.ptp(values)),
        }
    return {"runs": runs, "spread": spread}


def _at(run: Mapping[str, Any], path: Sequence[str]) -> float | None:
    value: Any = run
    for key in path:
        value = None if value is None else value[key]
    return value


def _read(extractor: CueExtractor, text: str) -> list[Cue] | str:
    try:
        return extractor.extract(text)
    except ExtractionError as error:
        return str(error)


def _chunks(names: Sequence[str], size: int) -> Iterator[list[str]]:
    rest = iter(names)
    while chunk := list(islice(rest, size)):
        yield chunk


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
