# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Write a corpus: media, manifests and truth by split, resumable, in parallel.

    OUT/synth.json              what the corpus was made with; another seed or setting is refused
    OUT/README.md               data card and licence
    OUT/train/manifest.jsonl    a row of `data.sample.EmotionSample` for each clip
    OUT/train/truth.jsonl       what the schema has no place for: cue types, emotion of each channel, person, voice
    OUT/train/synth_0_00000000.mp4 and, where there is a subtitle, .srt; or .mkv with `sampled`: of the pictures only
                                those sixteen that are sampled
    OUT/rejects.jsonl           clips that could not be made, and why

A clip's row is written after its files, so that a run that was killed goes on where it was.
"""

import importlib.metadata
import io
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from xemogpt.data.jsonl import JsonLines, json_line, one_line, read_rows
from xemogpt.data.sample import EmotionSample
from xemogpt.data.synth.clip import FPS, Clip, make_clip
from xemogpt.data.synth.cue_types import ORDER
from xemogpt.data.synth.plan import SPLITS, split_of
from xemogpt.data.synth.voice import RATE, espeak_version
from xemogpt.inputs_xemogpt import sample_indices

VERSION = 3  # of the generator: another one makes other clips of the same seed
LICENCE = "CC0-1.0"
CONFIG, REJECTS, PLAIN = "synth.json", "rejects.jsonl", "plain.jsonl"


@dataclass(frozen=True)
class Recipe:
    """What shapes the bytes of a corpus, beside the number of its clips."""

    seed: int = 0
    size: int = 256
    sampled: bool = False

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ValueError(f"the seed must not be negative, not {self.seed}")
        if not 32 <= self.size <= 1024 or self.size % 2:
            raise ValueError(f"the size must be an even number of pixels from 32 to 1024, not {self.size}")

    def as_row(self) -> dict[str, Any]:
        """With the versions that the bytes depend on."""
        try:
            versions = {name: importlib.metadata.version(name) for name in ("av", "numpy", "pillow", "vtk")}
        except importlib.metadata.PackageNotFoundError as error:
            raise ImportError(f'{error.name} is not installed; run: pip install "xemogpt[synth]"') from None
        return {"generator": VERSION, **asdict(self), "espeak-ng": espeak_version(), **versions}


@dataclass(frozen=True)
class Summary:
    """How many clips were there, were made, and could not be made."""

    present: int
    made: int
    rejected: int

    def __str__(self) -> str:
        return f"{self.made} clips made, {self.present} were there, {self.rejected} rejected"


def make_corpus(
    out: str | os.PathLike,
    clips: int,
    recipe: Recipe,
    workers: int = 1,
    progress: Callable[[int], Any] = lambda _: None,
) -> Summary:
    """Make clips 0 to `clips` - 1 that are not there yet. `progress` is told of every clip that is done.

    Raises:
        ValueError: no clip asked for, or `out` holds a corpus of another recipe, or another run writes it.
        OSError: `out` cannot be written, or espeak-ng is missing.
        ImportError: VTK is missing.
    """
    if clips < 1 or workers < 1:
        raise ValueError(f"clips and workers must be at least 1, not {clips} and {workers}")
    folder = Path(out)
    _claim(folder, recipe)
    with ExitStack() as stack:
        rejects = stack.enter_context(JsonLines(folder / REJECTS, "id", "id"))
        rejects.rewrite([])  # they are tried again
        files = {}
        for split in sorted({split_of(index) for index in range(clips)}, key=SPLITS.index):
            (folder / split).mkdir(exist_ok=True)
            truth = stack.enter_context(JsonLines(folder / split / "truth.jsonl", "id", "id"))
            files[split] = (stack.enter_context(JsonLines(folder / split / "manifest.jsonl", "id", "id")), truth)
        done = {
            row["id"] for split, (manifest, _) in files.items() for row in manifest.rows
            if (folder / split / row["video"]).is_file()
        }  # fmt: skip
        todo = [index for index in range(clips) if f"synth_{recipe.seed}_{index:08d}" not in done]
        present = clips - len(todo)
        progress(present)
        made = rejected = 0
        for index, outcome in _all(todo, recipe, folder, workers):
            if isinstance(outcome, str):
                rejects.append({"id": f"synth_{recipe.seed}_{index:08d}", "reason": outcome})
                rejected += 1
            else:
                manifest, truth = files[split_of(index)]
                truth.append(outcome[1])  # first: a row of the manifest says that the clip is complete
                manifest.append(outcome[0])
                made += 1
            progress(1)
        for manifest, truth in files.values():
            rows, known = _tidied(manifest), {row["id"]: row for row in _tidied(truth)}
            if rows:
                told = [in_plain_words(row, known[row["id"]]) for row in rows]
                _write(manifest.path.with_name(PLAIN), b"".join(map(json_line, told)))
    _write(folder / "README.md", _card(recipe, folder).encode())
    return Summary(present, made, rejected)


def _claim(folder: Path, recipe: Recipe) -> None:
    """Make the folder this recipe's, or see that it is."""
    wanted, config = recipe.as_row(), folder / CONFIG
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not config.exists():
            if any(folder.iterdir()):
                raise ValueError(f"{folder}: holds other files but no {CONFIG}; name an empty folder")
            _write(config, (json.dumps(wanted, indent=2) + "\n").encode())
    except FileExistsError:
        raise NotADirectoryError(f"{folder}: is a file; name a folder to write the corpus in") from None
    except PermissionError:
        raise PermissionError(f"{folder}: cannot be written; choose another folder or change its mode") from None
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ValueError(f"{config}: is not what this command writes; name another folder")
    if differ := [
        f"{name} {found.get(name)!r}, not {value!r}" for name, value in wanted.items() if found.get(name) != value
    ]:
        raise ValueError(f"{folder}: holds a corpus made with {'; '.join(differ)}; name another folder")


def _all(todo: list[int], recipe: Recipe, folder: Path, workers: int) -> Iterator[tuple[int, Any]]:
    """Index and outcome of each clip as they come: its two rows, or the reason why there are none."""
    if workers == 1:
        for index in todo:
            yield index, make_one(index, recipe, folder)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), _end_with_parent) as pool:
        waiting: dict[Future, int] = {}
        rest = iter(todo)
        try:
            while True:
                for index in rest:
                    waiting[pool.submit(make_one, index, recipe, folder)] = index
                    if len(waiting) >= 3 * workers:
                        break
                if not waiting:
                    return
                for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work for ever."""

    def watch() -> None:
        if parent := parent_process():
            parent.join()
            os._exit(1)

    Thread(target=watch, daemon=True).start()


def make_one(index: int, recipe: Recipe, folder: Path) -> tuple[dict[str, Any], dict[str, Any]] | str:
    """Write a clip's files; its rows of manifest and truth, or in one line why it could not be made."""
    clip = make_clip(recipe.seed, index, recipe.size)
    plan = clip.plan
    stem = folder / plan.split / plan.id
    try:
        if recipe.sampled:
            media = f"{plan.id}.mkv"
            _write(stem.with_suffix(".mkv"), sampled_of(clip))
        else:
            media = f"{plan.id}.mp4"
            _write(stem.with_suffix(".mp4"), mp4_of(clip))
            if plan.subtitled:
                _write(stem.with_suffix(".srt"), srt_of(clip))
    except (ValueError, OSError) as error:
        if isinstance(error, FileNotFoundError) or getattr(error, "errno", None):
            raise  # a full disk or a missing program would fail every clip
        return one_line(error)
    return replace(sample_of(clip), video=media).to_row(), truth_of(clip)


def sample_of(clip: Clip) -> EmotionSample:
    """The clip's row of the manifest, without its file."""
    text, cues = clip.explanation
    plan = clip.plan
    observed = [cue.text for cue in cues if cue.kind == "observation" and cue.polarity > 0]
    caption = next(("; ".join(observed[:n]) for n in (3, 2, 1) if len(" ".join(observed[:n]).split()) <= 25), "")
    return EmotionSample(
        id=plan.id,
        video=f"{plan.id}.mp4",
        subtitle={"en": plan.sentence} if plan.subtitled else {},
        label=plan.label,
        text={"en": text},
        caption=caption or None,
        cues=cues,
        source="EmoCue-Synth",
        split=plan.split,
        licence=LICENCE,
    )


def truth_of(clip: Clip) -> dict[str, Any]:
    """What is known by construction and has no place in the manifest."""
    plan, story = clip.plan, clip.story
    return {
        "id": plan.id,
        "subset": story.subset,
        "face": plan.face_emotion,
        "voice": plan.voice_emotion,
        "words": plan.words_emotion,
        "label": plan.label,
        "person": plan.person_key,
        "speaker": plan.voice.name,
        "seconds": round(clip.seconds, 3),
        "cues": [{name: value for name, value in asdict(cue).items() if value is not None} for cue in story.cues],
    }


def in_plain_words(row: dict[str, Any], truth: dict[str, Any]) -> dict[str, Any]:
    """A clip's row of the manifest without its paragraph, its cues named by their types, in the paragraph's order.

    The same words for the same cues: where a model learns to perceive from these, nothing else is left to learn.
    """
    named = [
        {"text": cue["type"].replace("_", " ")} | {name: value for name, value in cue.items() if name != "type"}
        for cue in sorted(truth["cues"], key=lambda cue: ORDER[cue["type"]]) if cue["polarity"] > 0
    ]  # fmt: skip
    return {name: value for name, value in row.items() if name not in ("text", "caption", "cues")} | {"cues": named}


def mp4_of(clip: Clip) -> bytes:
    """H.264 and AAC, coarser where the plan says so; one thread, so that the bytes are the same everywhere."""
    import av

    frames, sound = clip.frames(), clip.speech.sound
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        crf = str(round(19 + 14 * clip.plan.compression))
        # Without mbtree: with it x264 does not always give the same bytes for the same small pictures.
        options = {"crf": crf, "preset": "veryfast", "threads": "1", "x264-params": "mbtree=0"}
        video: Any = container.add_stream("libx264", rate=FPS, options=options)
        video.width = video.height = clip.size
        video.pix_fmt = "yuv420p"
        audio: Any = container.add_stream("aac", rate=RATE)
        audio.layout = "mono"
        for picture in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(video.encode())
        track = av.AudioFrame.from_ndarray(sound[None].astype(np.float32), format="fltp", layout="mono")
        track.sample_rate, track.time_base, track.pts = RATE, Fraction(1, RATE), 0
        container.mux(audio.encode(track))
        container.mux(audio.encode())
    return buffer.getvalue()


def srt_of(clip: Clip) -> bytes:
    """What is said, and when."""
    begin, end = clip.speech.spans["speech"]
    return f"1\n{_clock(begin)} --> {_clock(end)}\n{clip.plan.sentence}\n".encode()


def sampled_of(clip: Clip, number: int = 16) -> bytes:
    """The frames that a model samples, each at its time, and the whole sound: no other frame is rendered.

    A reader that takes `number` frames evenly out of this Matroska file (JPEG, FLAC) gets just these.
    """
    import av
    from PIL import Image

    quality = round(92 - 47 * clip.plan.compression)
    indices = sample_indices(clip.count, number)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska", options={"fflags": "+bitexact"}) as container:
        video: Any = container.add_stream("mjpeg", rate=FPS)
        video.width = video.height = clip.size
        video.pix_fmt = "yuvj420p"
        audio: Any = container.add_stream("flac", rate=RATE)
        audio.layout = "mono"
        for picture, index in zip(clip.frames(indices), indices.tolist(), strict=True):
            jpeg = io.BytesIO()
            Image.fromarray(picture).save(jpeg, "JPEG", quality=quality)
            packet = av.Packet(jpeg.getvalue())
            packet.stream, packet.is_keyframe = video, True
            packet.pts = packet.dts = index
            packet.time_base = Fraction(1, FPS)
            container.mux(packet)
        samples = np.rint(clip.speech.sound * 32767).astype(np.int16)
        track = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        track.sample_rate, track.time_base, track.pts = RATE, Fraction(1, RATE), 0
        container.mux(audio.encode(track))
        container.mux(audio.encode())
    return buffer.getvalue()


def _tidied(file: JsonLines) -> list[dict[str, Any]]:
    """The rows, put in the order of their ids."""
    if not file.path.exists():
        return []
    rows = list(read_rows(file.path))
    wanted = sorted({row["id"]: row for row in rows}.values(), key=lambda row: row["id"])
    if wanted != rows:
        file.rewrite(wanted)
    return wanted


def _write(path: Path, content: bytes) -> None:
    """At once or not at all."""
    scratch = path.with_name(f".{path.name}.part")
    scratch.write_bytes(content)
    os.replace(scratch, path)


def _clock(seconds: float) -> str:
    whole = round(seconds * 1000)
    return f"{whole // 3_600_000:02d}:{whole // 60_000 % 60:02d}:{whole // 1000 % 60:02d},{whole % 1000:03d}"


def _card(recipe: Recipe, folder: Path) -> str:
    """The data card, counted from what is there."""
    lines = []
    for split in SPLITS:
        truth = folder / split / "truth.jsonl"
        if truth.exists():
            rows = list(read_rows(truth))
            hours = sum(row["seconds"] for row in rows) / 3600
            persons, speakers = (len({row[name] for row in rows}) for name in ("person", "speaker"))
            conflicts = sum(row["subset"] != "consistent" for row in rows)
            lines.append(f"| {split} | {len(rows)} | {hours:.2f} | {persons} | {speakers} | {conflicts} |")
    made = ", ".join(f"{name} {value}" for name, value in recipe.as_row().items())
    return _CARD.format(table="\n".join(lines), made=made)


_CARD = """---
license: cc0-1.0
language: en
task_categories: [video-text-to-text]
tags: [synthetic, emotion, rendered]
---

# EmoCue-Synth

**Synthetic.** Every face is rendered, every voice is synthesised, every sentence comes from a grammar. The cues are
known by construction: type, modality, polarity, time span and intensity. Nobody is depicted, and nothing measured on
it is a claim about real people, nor is "what an emotion looks like" more than a rule of this generator.

| split | clips | hours | persons | voices | face and voice disagree |
|---|---|---|---|---|---|
{table}

Each test split holds out one thing: persons, voices, phrasings and sentences, pairs of cues, or pairs of emotions in
face and voice; everything else is drawn as for training. Where face and voice disagree, the label is the emotion that
the words go with (`subset`: video-aligned, audio-aligned, else consistent).

Made with {made}.

## Licence

The annotation and the pictures: CC0 1.0. The head is derived from MakeHuman's base mesh and targets (MPFB2) and Mika
Suominen's face units, all CC0 1.0. The speech was spoken by eSpeak NG, a program under GPL-3.0-or-later, whose
output is not covered by its licence.
"""


__all__ = ["FPS", "RATE", "Recipe", "Summary", "make_corpus", "make_one", "sample_of", "truth_of"]
