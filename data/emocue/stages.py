# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The stages S0 to S5 as datatrove steps.

A task reads its shard of the stage before, and writes its own and its rejects at its end, whole or not at all; every
answer of a model is on disk when it comes (`RequestLog`). So a killed task starts again, finds its answers, and
writes the same bytes as if it had never been killed. Rows keep the order of the input.
"""

import asyncio
import hashlib
import json
import os
from collections.abc import Awaitable, Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from xemogpt.data.emocue.answers import CueList, Merged, Short, UnusableAnswer
from xemogpt.data.emocue.checks import gate, gate_caption, verify
from xemogpt.data.emocue.client import Asker, Budget, EndpointError, Question, RequestLog
from xemogpt.data.emocue.media import audio_part, frame_parts
from xemogpt.data.emocue.prompts import get_prompt, slot
from xemogpt.data.emocue.recipe import Pass, Recipe, Writing
from xemogpt.data.jsonl import json_line, one_line, read_rows
from xemogpt.data.sample import EmotionSample

# An error that is logged with the values of all variables would show the endpoint's key.
os.environ["LOGURU_DIAGNOSE"] = "NO"

try:
    from datatrove.pipeline.base import PipelineStep
except ImportError:
    raise ImportError('building EmoCue needs datatrove: pip install "xemogpt[data]"') from None

Row = dict[str, Any]


class Rejected(Exception):
    """A clip that goes no further; the message is the reason, the same for all clips of its kind."""


class Stage(PipelineStep):
    """One stage. `source`: the folder of the stage before, or for the index the input's file."""

    type = "EmoCue"

    def __init__(self, name: str, recipe: Recipe, source: Path, folder: Path):
        self.name, self.recipe, self.source, self.folder = name, recipe, source, folder
        super().__init__()  # with the name, for the statistics

    def run(self, data: Any, rank: int = 0, world_size: int = 1) -> Iterator[Any]:
        """Do one task; nothing is handed on in memory."""
        rows = self._rows(rank)
        kept, rejected = self._ask(rows, rank) if self.name in _ASKING else self._each(rows)
        self.stat_update("kept", value=len(kept), unit="clip")
        self.stat_update("rejected", value=len(rejected), unit="clip")
        write_rows(self.folder / f"rejects-{rank:05d}.jsonl", rejected)
        write_rows(self.folder / f"shard-{rank:05d}.jsonl", kept)
        yield from ()

    def _rows(self, rank: int) -> list[Row]:
        if self.name == "index":
            first = rank * self.recipe.clips_per_task
            with self.source.open(encoding="utf-8") as file:
                return [json.loads(line) for line in islice(file, first, first + self.recipe.clips_per_task)]
        return list(read_rows(self.source / f"shard-{rank:05d}.jsonl"))

    def _each(self, rows: list[Row]) -> tuple[list[Row], list[Row]]:
        work = {"index": index_clip, "verify": verify_clip}[self.name]
        kept, rejected = [], []
        for row in rows:
            try:
                kept.append(work(row))
            except Rejected as reason:
                rejected.append(reject(row, self.name, reason))
        return kept, rejected

    def _ask(self, rows: list[Row], rank: int) -> tuple[list[Row], list[Row]]:
        path = self.folder / f"requests-{rank:05d}.jsonl"
        log = RequestLog(path)
        try:
            budget = Budget(self.recipe.budget, self.folder.parent, path)
            return asyncio.run(self._ask_all(rows, log, budget))
        except ExceptionGroup as errors:  # the first stops the rest; of these one is to be told
            raise _first(errors) from None
        finally:
            log.close()

    async def _ask_all(self, rows: list[Row], log: RequestLog, budget: Budget) -> tuple[list[Row], list[Row]]:
        askers = {name: Asker(endpoint, log, budget) for name, endpoint in self.recipe.endpoints.items()}
        work: Callable[[Row, Recipe, dict[str, Asker]], Awaitable[Row]] = _ASKING[self.name]
        done: list[Row | None] = [None] * len(rows)
        rejected: list[Row | None] = [None] * len(rows)
        # Clips in progress: enough to keep every endpoint busy, few enough that their media do not pile up.
        busy = asyncio.Semaphore(2 * sum(endpoint.in_flight for endpoint in self.recipe.endpoints.values()))

        async def one(position: int, row: Row) -> None:
            async with busy:
                try:
                    done[position] = await work(row, self.recipe, askers)
                except Rejected as reason:
                    rejected[position] = reject(row, self.name, reason)

        try:
            async with asyncio.TaskGroup() as group:
                for position, row in enumerate(rows):
                    group.create_task(one(position, row))
        finally:
            for asker in askers.values():
                await asker.client.close()
        return [row for row in done if row is not None], [row for row in rejected if row is not None]


def index_clip(row: Row) -> Row:
    """S0: which of the files really are picture and sound, how long, and their hashes."""
    from xemogpt.media_xemogpt import probe

    sample = EmotionSample.from_row(row)
    found: Row = {"id": sample.id, "sample": row, "frames": None, "audio": None}
    for kind, path in (("frames", sample.video), ("audio", sample.audio or sample.video)):
        if path is None:
            continue
        try:
            info = probe(path)
            if info.has_video if kind == "frames" else info.has_audio:
                found[kind] = {"path": path, "sha256": file_hash(path)}
                found["seconds"] = info.duration
        except (OSError, ValueError) as error:
            raise Rejected(f"media: {type(error).__name__}") from error
    if not found["frames"] and not found["audio"]:
        raise Rejected("media: neither picture nor sound")
    return found


async def infer_clip(row: Row, recipe: Recipe, askers: dict[str, Asker]) -> Row:
    """S1: the answers of all passes that have something to go on, asked at the same time."""
    material = _material(row["sample"])
    wanted = [each for each in recipe.infer if _has(each, row, material)]
    if not wanted:
        raise Rejected("nothing that a pass could look at")

    async def ask(each: Pass) -> Row:
        question = _clip_question(row, each, {name: material[name] for name in each.given}, recipe.frames)
        answer = await askers[each.endpoint].ask(question, CueList)
        entry: Row = {"name": each.name, "model": askers[each.endpoint].endpoint.model}
        entry |= {"sees": [kind for kind in each.sees if row[kind]]}
        return entry | {"blind": "labels" not in each.given, "cues": [cue.model_dump() for cue in answer.cues]}

    answers = await asyncio.gather(*map(ask, wanted), return_exceptions=True)
    return row | {"passes": [_taken(answer) for answer in answers]}


def verify_clip(row: Row) -> Row:
    """S2."""
    verified = verify(row["passes"], _material(row["sample"])["labels"])
    if not verified["cues"]:
        raise Rejected("no cue is left")
    return {key: value for key, value in row.items() if key != "passes"} | {"verified": verified}


async def merge_clip(row: Row, recipe: Recipe, askers: dict[str, Asker]) -> Row:
    """S3 and S4: consolidated, and again with the reasons if the gate refuses it."""
    assert recipe.merge is not None
    shown = ("id", "modality", "text", "flags")
    cues = [{key: cue[key] for key in shown} for cue in row["verified"]["cues"]]
    material = _material(row["sample"]) | {"cues": cues, "conflicts": row["verified"]["conflicts"]}

    def refuse(answer: Merged) -> list[str]:
        return gate(answer, row["verified"], recipe.gate)

    answer = await _write(row, recipe.merge, askers, material, Merged, refuse)
    return row | {"merged": answer.model_dump(by_alias=True)}


async def short_clip(row: Row, recipe: Recipe, askers: dict[str, Asker]) -> Row:
    """S5."""
    assert recipe.short is not None
    cues = row["merged"]["cues"] if "merged" in row else row["verified"]["cues"]
    texts = [cue["text"] for cue in cues]
    material = {"labels": _material(row["sample"])["labels"], "cues": texts}

    def refuse(answer: Short) -> list[str]:
        return gate_caption(answer.caption, texts, recipe.caption_words)

    answer = await _write(row, recipe.short, askers, material, Short, refuse)
    return row | {"caption": answer.caption}


_ASKING: dict[str, Any] = {"infer": infer_clip, "merge": merge_clip, "short": short_clip}


async def _write(
    row: Row, writing: Writing, askers: dict[str, Asker], material: Row, form: Any, refuse: Callable[[Any], list[str]]
) -> Any:
    reasons: list[str] = []
    for _ in range(writing.retries + 1):
        system = get_prompt(writing.prompt)
        if reasons:
            system += f" Your last answer was refused for these reasons: {'; '.join(reasons)}."
        messages: list[dict[str, Any]] = [
            {"role": "system", "content": system},
            {"role": "user", "content": slot(material)},
        ]

        async def ready(messages: list[dict[str, Any]] = messages) -> list[dict[str, Any]]:
            return messages

        question = Question(row["id"], writing.prompt, messages, ready)
        answer = _taken(await _caught(askers[writing.endpoint].ask(question, form)))
        reasons = refuse(answer)
        if not reasons:
            return answer
    raise Rejected(f"{writing.prompt}: {'; '.join(reasons)}")


def _clip_question(row: Row, each: Pass, material: Row, frames: int) -> Question:
    system = {"role": "system", "content": get_prompt(each.prompt)}
    text = {"type": "text", "text": slot(material)}
    seen = [{"type": kind, "sha256": row[kind]["sha256"], "frames": frames} for kind in each.sees if row[kind]]

    async def messages() -> list[dict[str, Any]]:
        parts: list[dict[str, Any]] = []
        if "frames" in each.sees and row["frames"]:
            parts += await asyncio.to_thread(frame_parts, row["frames"]["path"], frames)
        if "audio" in each.sees and row["audio"]:
            parts.append(await asyncio.to_thread(audio_part, row["audio"]["path"]))
        return [system, {"role": "user", "content": [*parts, text]}]

    return Question(row["id"], each.name, [system, {"role": "user", "content": [*seen, text]}], messages)


def _has(each: Pass, row: Row, material: Row) -> bool:
    if each.sees:
        return any(row[kind] for kind in each.sees)
    return bool(material["subtitle"])


def _material(sample: Row) -> Row:
    """What is known of a clip, and may be quoted to a model; never its old caption."""
    known = EmotionSample.from_row(sample)
    subtitle = known.subtitle.get("en") or next(iter(known.subtitle.values()), "")
    return {"labels": list(known.labels) or ([known.label] if known.label else []), "subtitle": subtitle}


async def _caught(answer: Awaitable[Any]) -> Any:
    try:
        return await answer
    except (UnusableAnswer, OSError, ValueError) as error:
        return error


def _taken(answer: Any) -> Any:
    """An answer, or the reason why the clip is rejected; what stops the run goes on as it is."""
    if isinstance(answer, UnusableAnswer):
        raise Rejected(str(answer)) from answer
    if isinstance(answer, BaseException):
        from xemogpt.inputs_xemogpt import MediaError

        if isinstance(answer, MediaError):
            raise Rejected("media: cannot be decoded") from answer
        raise answer
    return answer


def _first(errors: BaseExceptionGroup) -> BaseException:
    """What is to be told of several errors: rather than that others could not go on, what stopped them."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first(error) if isinstance(error, BaseExceptionGroup) else error)
    return next((error for error in flat if not isinstance(error, EndpointError)), flat[0])


def reject(row: Row, stage: str, reason: Rejected) -> Row:
    """The row of a rejects file; `detail` is what lies beneath, if anything does."""
    found = {"id": row["id"], "stage": stage, "reason": str(reason)}
    beneath = reason.__cause__
    return found | ({"detail": one_line(beneath)} if beneath and str(beneath) != str(reason) else {})


def write_rows(path: Path, rows: list[Row]) -> None:
    """Write a file, whole or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with scratch.open("wb") as file:
            for row in rows:
                file.write(json_line(row))
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def file_hash(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
