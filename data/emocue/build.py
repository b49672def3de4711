# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Runs a recipe: the input is read, the stages run on datatrove's executors, the data set is published.

Every stage has the folder `{stage}-{fingerprint}`; the fingerprint holds all that decides its output, so a changed
prompt makes a new folder for its stage and those after it, and the folders before are taken as they are.
"""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xemogpt.data.emocue.executors import refuse_while_queued, run_step
from xemogpt.data.emocue.publish import Publish
from xemogpt.data.emocue.recipe import Recipe
from xemogpt.data.emocue.stages import Stage, write_rows
from xemogpt.data.jsonl import JsonLines, json_line, read_rows
from xemogpt.data.readers import read_dataset
from xemogpt.data.sample import EmotionSample


@dataclass(frozen=True)
class Plan:
    """What a build consists of. folders: (stage, its folder); tasks: of each stage; losses: what the input lacks;
    jobs: the numbers of those that were handed in to Slurm."""

    clips: int
    tasks: int
    input: Path
    folders: list[tuple[str, Path]]
    dataset: Path
    losses: list[str]
    jobs: tuple[str, ...] = ()


def plan(recipe: Recipe) -> Plan:
    """Read the input and name the folders; nothing is asked of a model.

    Raises:
        ValueError, OSError: as `read_dataset`; no clip; an id twice.
    """
    out = Path(recipe.out)
    scratch, digest, ids = out / ".input.part", hashlib.sha256(), set()
    problems: list[Any] = []
    options = recipe.input.get("options") or {}
    flags = {name: recipe.input[name] for name in ("strict", "links") if name in recipe.input}
    with _made_for(scratch), scratch.open("wb") as file:
        samples = read_dataset(recipe.input["reader"], recipe.input["root"], problems=problems, **flags, **options)
        for sample in samples:
            if sample.id in ids:
                raise ValueError(f"{sample.id}: is in the input twice; choose one split by the reader's options")
            ids.add(sample.id)
            line = json_line(_absolute(sample))
            digest.update(line + _sizes(sample))
            file.write(line)
        losses = [str(problem) for problem in problems if problem.is_loss]
        if not ids:
            why = losses[0] + f" (and {len(losses) - 1} more losses)" * (len(losses) > 1)
            raise ValueError(f"{recipe.input['root']}: the reader {recipe.input['reader']} finds no clip: {why}")
        file.flush()
        os.fsync(file.fileno())
    path = out / f"input-{digest.hexdigest()[:12]}.jsonl"
    os.replace(scratch, path)
    prints = recipe.fingerprints(digest.hexdigest())
    folders = [(stage, out / f"{stage}-{prints[stage]}") for stage in recipe.stages]
    tasks = -(-len(ids) // recipe.clips_per_task)
    return Plan(len(ids), tasks, path, folders, out / "dataset", losses)


def build(recipe: Recipe, say: Callable[[str], None] = lambda _: None) -> Plan:
    """Build, or go on with a build. With Slurm the jobs are handed in, one waiting for the other, and this returns
    with their numbers; when they are through, the next build finds all but the data set done, and publishes it.

    Raises:
        EndpointError, BudgetError, OSError: the build has stopped; it goes on when it is called again. Or jobs of it
            are still in Slurm's queue.
        ValueError: the recipe or the input.
    """
    refuse_while_queued(recipe)
    # Whoever does a task may stand in another folder.
    root = os.path.abspath(recipe.input["root"])
    recipe = replace(recipe, out=os.path.abspath(recipe.out), input=recipe.input | {"root": root})
    steps = plan(recipe)
    say(f"{steps.clips} clips in {steps.tasks} tasks -> {recipe.out}")
    if steps.losses:
        write_rows(Path(recipe.out) / "input-losses.jsonl", [{"loss": loss} for loss in steps.losses])
        say(f"{len(steps.losses)} losses of the input are listed in input-losses.jsonl")
    source, jobs = steps.input, [""]
    for name, folder in steps.folders:
        folder.mkdir(exist_ok=True)
        if job := run_step(recipe, Stage(name, recipe, source, folder), steps.tasks, folder, after=jobs[-1]):
            jobs.append(job)
        else:
            kept, rejected = (_count(folder, part) for part in ("shard", "rejects"))
            say(f"{name}: {kept} kept, {rejected} rejected")
        source = folder
    logs = Path(recipe.out) / f"publish-{source.name.split('-')[-1]}"
    (logs / "logs" / "completions" / "00000").unlink(missing_ok=True)  # it is done each time
    waits = len(jobs) > 1
    executor = recipe.executor if waits or recipe.executor["kind"] != "slurm" else {"kind": "local"}
    jobs.append(run_step(replace(recipe, executor=executor), Publish(recipe, steps), 1, logs, after=jobs[-1]))
    return replace(steps, jobs=tuple(filter(None, jobs)))


def forget_failures(recipe: Recipe) -> int:
    """Let the next build ask again what the server gave no answer to (5xx, time-out, a request that it could not
    stand), for the clips that were rejected because of it; how many requests these are. They stay in the logs.

    Not while the build is running.

    Raises:
        OSError: jobs of it are still in Slurm's queue.
    """
    refuse_while_queued(recipe)
    steps = plan(recipe)
    forgotten, again = 0, set()
    for _, folder in steps.folders:
        failed = {}
        for path in sorted(folder.glob("requests-*.jsonl")):
            rank = path.stem.removeprefix("requests-")
            rejects = folder / f"rejects-{rank}.jsonl"
            rejected = {row["id"] for row in read_rows(rejects)} if rejects.is_file() else set()
            rows = list(read_rows(path, whole=False))
            if any(row["error"] and row["clip"] in rejected for row in rows):
                failed[path] = rejected
                again.add(rank)
        # First the tasks are marked as not done: who is killed between the two can do this again.
        for rank in again:
            (folder / "logs" / "completions" / rank).unlink(missing_ok=True)
        for path, rejected in failed.items():
            with JsonLines(path, required="key", first="key") as log:
                rows = log.rows
                for row in rows:
                    if row["error"] and row["clip"] in rejected and _ASK_AGAIN not in row["key"]:
                        row["key"] += f"{_ASK_AGAIN}{forgotten}"
                        forgotten += 1
                log.rewrite(rows)
    return forgotten


_ASK_AGAIN = " asked again "  # after the key of a request that shall not be found by it


@contextlib.contextmanager
def _made_for(scratch: Path) -> Iterator[None]:
    """With the folder of a file; if what is done meanwhile fails, neither is left that was not there before."""
    made = [folder for folder in scratch.parents if not folder.exists()]
    scratch.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        scratch.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # another process has put something there
            for folder in made:
                folder.rmdir()
        raise


def _count(folder: Path, part: str) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.glob(f"{part}-*.jsonl"))


def _sizes(sample: EmotionSample) -> bytes:
    """Of the media: a file that was mended is looked at again; to read all of them each time would be slow."""
    paths = [path for path in (sample.video, sample.audio) if path]
    return repr([os.path.getsize(path) if os.path.isfile(path) else None for path in paths]).encode()


def _absolute(sample: EmotionSample) -> dict[str, Any]:
    row = sample.to_row()
    return row | {kind: os.path.abspath(row[kind]) for kind in ("video", "audio") if kind in row}
