# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Ask a model about every clip of a benchmark: answers and rejects in files that outlive a kill."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm

from xemogpt.data.jsonl import JsonLines
from xemogpt.eval.answerers import Answerer, Refused
from xemogpt.eval.benchmark import Benchmark, Item
from xemogpt.eval.records import shown

MARKS = ("weights", "prompt_sha256", "media")  # files of older versions have none, and are read as they are


def present(benchmark: Benchmark, items: Sequence[Item], allow_missing: bool = False) -> list[Item]:
    """The items whose clip is there.

    Raises:
        FileNotFoundError: clips are missing (names them), unless `allow_missing`; or every one is.
    """
    missing = set(benchmark.without_media(list(items)))
    if len(missing) == len(items):
        raise FileNotFoundError(
            f"{benchmark.title}: not one of its {len(items)} clips is there; "
            f"`xemogpt data check {benchmark.reader} DIR` says what is looked for"
        )
    if missing and not allow_missing:
        names = shown([item.reference.id for item in items if item.reference.id in missing])
        raise FileNotFoundError(
            f"{benchmark.title}: {len(missing)} of {len(items)} clips are missing: {names}; "
            "--allow-missing scores the rest"
        )
    return [item for item in items if item.reference.id not in missing]


def generate(
    benchmark: Benchmark,
    items: Sequence[Item],
    answerer: Answerer,
    out: Path,
    *,
    batch_size: int = 8,
    retry_rejects: bool = False,
    progress: bool = True,
) -> dict[str, str]:
    """Answers into `out`, one row a clip as it comes; called again, it goes on where it was.

    Clips that cannot be answered go to `<out's stem>.rejects.jsonl` beside it, with the reason; they are not tried
    again unless `retry_rejects`.

    Returns:
        The reasons of rejected clips, by id.

    Raises:
        ValueError: `out` holds answers of another model, other weights of it, another prompt or setting, or about
            other media of a clip of that name.
    """
    if batch_size < 1:
        raise ValueError(f"the batch size must be at least 1, not {batch_size}")
    run = {
        "model": answerer.name,
        "benchmark": f"{benchmark.name}-v{benchmark.version}",
        "prompt_id": benchmark.prompt.id,
        "prompt_sha256": _mark(benchmark.prompt.text),
        "generation": dict(benchmark.generation),
        "modalities": sorted(answerer.modalities),
        "settings": answerer.settings(),
    }
    asked = {item.reference.id: item for item in items}
    with (
        JsonLines(out, "text", "id") as done,
        JsonLines(out.with_name(f"{out.stem}.rejects.jsonl"), "reason", "id") as rejects,
    ):
        for row in done.rows:
            _refuse_other(row, run | ({"media": media_marks(asked[row["id"]])} if row["id"] in asked else {}), out)
        if retry_rejects and rejects.rows:
            rejects.rewrite([row for row in rejects.rows if row["id"] not in asked])
        reasons = {row["id"]: row["reason"] for row in rejects.rows if row["id"] in asked}
        over = {row["id"] for row in done.rows} | set(reasons)
        left = [item for item in items if item.reference.id not in over]
        answers = iter(answerer.answers(left, benchmark.prompt, dict(benchmark.generation), batch_size))
        with tqdm(
            total=len(items), initial=len(items) - len(left), unit="clip", disable=None if progress else True
        ) as bar:
            for item, answer in zip(left, islice(answers, len(left)), strict=True):
                name = item.reference.id
                if isinstance(answer, Refused):
                    reasons[name] = without_folder(answer.reason, item)
                    rejects.append({"id": name, "reason": reasons[name]})
                else:
                    done.append({"id": name, "text": answer} | run | {"media": media_marks(item)})
                bar.update()
    return reasons


def media_marks(item: Item) -> dict[str, Any]:
    """What tells a clip's media from others of its id: file names with bytes (None: no file), and what is said."""
    files = {path.name: path.stat().st_size if path.is_file() else None for path in (item.video, item.audio) if path}
    return files | ({"subtitle": _mark(item.subtitle)} if item.subtitle else {})


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _refuse_other(row: Mapping[str, Any], run: Mapping[str, Any], out: Path, about: str = "") -> None:
    """Whatever the row and this run do not have alike is refused, but for `MARKS` that the row lacks."""
    for key, value in run.items():
        if key in MARKS and key not in row:
            continue
        found = row.get(key)
        if key == "settings" and isinstance(found, Mapping):
            _refuse_other(found, dict.fromkeys(found) | value, out, "settings.")
        elif found != value:
            where = f" for {row['id']}" if key == "media" else ""
            raise ValueError(
                f"{out}: holds answers with {about}{key} {found!r}, not {value!r}{where}; give another --out, or "
                "move that file away"
            )


def without_folder(reason: str, item: Item) -> str:
    """A reason that names a clip by its file's name alone: results are published, and folders are this machine's."""
    for path in (item.video, item.audio):
        reason = reason if path is None else reason.replace(str(path), path.name)
    return reason


def run_of(path: Path) -> dict[str, Any]:
    """Model, benchmark, prompt and settings as an answers file records them; empty for a foreign file."""
    if path.suffix != ".jsonl":
        return {}
    with path.open(encoding="utf-8") as file:
        first = file.readline()
    try:
        row = json.loads(first)
    except ValueError:
        return {}
    keys = ("model", "benchmark", "prompt_id", "prompt_sha256", "generation", "modalities", "settings")
    return {key: row[key] for key in keys if isinstance(row, dict) and key in row}
