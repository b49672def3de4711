# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The runner behind `xemogpt explain --out`: many clips into a JSON-lines file that outlives a kill.

Each answer is on disk before the next clip; called again, the run goes on where it was.
"""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from xemogpt.data.jsonl import JsonLines
from xemogpt.inference.clips import Clip, gather_clips
from xemogpt.inference.explain import load_explainer
from xemogpt.inference.explainer import base_of, dtype_name, model_name
from xemogpt.inference.explanation import Decoding, Explanation, Question, Rejection, shown

MEDIA = ("video", "audio", "subtitle")


@dataclass(frozen=True)
class Summary:
    """What a run over many clips came to.

    explained: in this run. rejected: in this run and before. skipped: they had their answer before. note: as in
        `Explanation`.
    """

    explained: int
    rejected: int
    skipped: int
    note: str | None = None

    def __str__(self) -> str:
        return f"{self.explained} explained, {self.rejected} rejected, {self.skipped} done before"


def explain_files(
    clips: str | os.PathLike | Clip | Iterable[str | os.PathLike | Clip],
    out: str | os.PathLike,
    *,
    model: str | os.PathLike | None = None,
    adapter: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool | None = None,
    revision: str | None = None,
    question: Question | None = None,
    decoding: Decoding | None = None,
    batch_size: int = 8,
    retry_rejects: bool = False,
    progress: bool = True,
) -> Summary:
    """Explain many clips into a JSON-lines file: one row a clip, in their order, each on disk before the next.

    Called again after a kill it goes on where it was: a clip (by its id, or its file as given) that has a row for this
    task and language is skipped, and half a row at the end of the file is cut off. Clips that cannot be explained go
    to `rejects.jsonl` beside `out`, once, with the reason; they are not tried again unless `retry_rejects`, or one of
    their files has another size than it had. A row tells the sizes of its files (`bytes`): clips of another folder may
    have the same names.

    Args:
        clips: files, folders, .jsonl manifests (see `xemogpt.inference.clips`), or a mixture.
        batch_size: clips generated at once; the answers do not depend on it, unless they are sampled.
        progress: show a bar on stderr where that is a terminal.

    Raises:
        ValueError: a bad manifest; or `out` is no results file, is being written by another run, or holds answers
            that another model, other weights of it, another dtype, prompt or search, or other media of a clip of that
            name (files of other sizes included), gave to the same task.
        OSError: no place to write, or the model cannot be read.
    """
    question, decoding, out = question or Question(), decoding or Decoding(), Path(out)
    todo = gather_clips([clips] if isinstance(clips, (str, os.PathLike, Clip)) else clips)
    rejects_file = out.with_name("rejects.jsonl")
    if out == rejects_file:
        raise ValueError(f"{out}: is where unreadable clips are listed; give the results another name")
    asked = {"task": question.task, "language": question.language}
    settings = {
        "model": model_name(base_of(model, adapter)),
        "adapter": None if adapter is None else os.fspath(adapter),
        "revision": revision,
        "prompt_id": question.prompt_id,
        "instruction": question.instruction,
        "generation": decoding.settings(),
        **({} if dtype is None else {"dtype": dtype_name(dtype)}),
    }
    with JsonLines(out, "text") as results, JsonLines(rejects_file, "reason") as rejects:
        answered = [row for row in results.rows if asked.items() <= row.items()]
        clips_by_name = {clip.name: clip for clip in todo}
        for row in answered:
            clip = clips_by_name.get(_name(row))
            media = {} if clip is None else {name: shown(getattr(clip, name)) for name in MEDIA}
            _refuse_other(row, settings | media, out)
            if clip is not None and _differ(row.get("bytes"), file_sizes(clip)):
                raise ValueError(
                    f"{out}: holds an answer about {clip.name} when its files had other sizes ({row['bytes']} bytes, "
                    f"not {file_sizes(clip)}); name another file"
                )
        done = {_name(row) for row in answered}
        asked["out"] = out.name  # several results files may share one list of rejects
        sizes = {_name(row): row.get("bytes") for row in rejects.rows if asked.items() <= row.items()}
        refused = {clip.name for clip in todo if clip.name in sizes} - done
        mended = {
            clip.name for clip in todo if clip.name in refused and sizes[clip.name] not in (None, file_sizes(clip))
        }
        if retried := refused if retry_rejects else mended:
            rejects.rewrite(
                [row for row in rejects.rows if not (asked.items() <= row.items() and _name(row) in retried)]
            )
            refused -= retried
        left = [clip for clip in todo if clip.name not in done | refused]
        counts, note = Counter[type](), None
        if left:
            explainer = load_explainer(model, adapter, device, dtype, trust_remote_code, revision)
            for row in answered:  # the dtype that was not asked for depends on the device; a folder may be retrained
                marked = {"weights": explainer.weights} if row.get("weights") else {}  # older rows have none
                _refuse_other(row, {"dtype": explainer.dtype} | marked, out)
            bar = tqdm(total=len(todo), initial=len(todo) - len(left), unit="clip", disable=None if progress else True)
            with bar:
                outcomes = explainer.explain_each(left, question, decoding, batch_size)
                for clip, outcome in zip(left, outcomes, strict=True):
                    if isinstance(outcome, Rejection):
                        rejects.append(outcome.to_dict() | asked | {"bytes": file_sizes(clip)})
                    else:
                        results.append(outcome.to_dict() | {"bytes": file_sizes(clip)})
                        note = outcome.note
                    counts[type(outcome)] += 1
                    bar.update()
    rejected, skipped = counts[Rejection] + len(refused), len(todo) - len(left) - len(refused)
    return Summary(counts[Explanation], rejected, skipped, note)


def file_sizes(clip: Clip) -> list[int | None]:
    """The sizes of a clip's files in bytes; None for what is no file."""
    here = clip.located()
    files = (each for each in (here.video, here.audio, here.subtitle) if isinstance(each, (str, os.PathLike)))
    return [os.path.getsize(path) if os.path.isfile(path) else None for path in files]


def _differ(before: list[int | None] | None, now: list[int | None]) -> bool:
    """Whether files have other sizes than they had; of one that is gone, or that a row does not tell, nobody knows."""
    pairs = zip(before or [], now, strict=False)
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def _refuse_other(row: dict[str, Any], settings: dict[str, Any], out: Path) -> None:
    for key, value in settings.items():
        if row.get(key) != value:
            found = f"{key} {row.get(key)!r}, not {value!r}"
            raise ValueError(f"{out}: holds answers obtained with {found}; name another file")


def _name(row: dict[str, Any]) -> str:
    """`Clip.name` of the clip that a row is about."""
    return row.get("id") or row.get("video") or row.get("audio") or ""
