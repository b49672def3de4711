# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""MAFW, DFEW and M3ED: clips from films and series with labels.

MAFW  data/clips/00025.mp4; folds .../set_{1..5}/{train,test}.txt with lines `00025.mp4 anger`.
DFEW  Clip/original/{id}.mp4 (cut-out faces, clip_224x224/, are no video and not read); `video_name,label` in
      EmoLabel_DataSplit/{train,test}(single-labeled)/set_{k}.csv or single_{train,test}set_{k}.csv.
M3ED  annotation.json {movie: {clip: {SpeakerInfo, Dialog: {utterance: {Speaker, StartTime, EndTime, Text,
      EmoAnnotation: {final_main_emo, final_mul_emo, ...}}}}}}; splitInfo/movie_list_{train,val,test}.txt;
      modality_speech/{Speaker}_{utterance}.wav.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xemogpt.data.readers.source import Source, number_or_name, plain
from xemogpt.data.sample import EmotionSample
from xemogpt.data.text import read_json, read_text

MAFW_LABELS = (
    *("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise", "contempt", "anxiety"),
    *("helplessness", "disappointment"),
)
TASKS = ("single", "compound")  # of MAFW's lists
DFEW_LABELS = ("happy", "sad", "neutral", "angry", "surprise", "disgust", "fear")
M3ED_LABELS = ("happy", "surprise", "sad", "disgust", "anger", "fear", "neutral")
DIGITS = 5  # of an id in MAFW and DFEW


def read_mafw(source: Source, fold: int = 1, task: str = "single", captions: str = "") -> Iterator[EmotionSample]:
    """One fold's train and test clips.

    Args:
        fold: 1 to 5.
        task: single or compound, part of the folder's name; a folder that names neither is taken for either.
        captions: a .csv `name,english,chinese` made of the release's captions, below the root.
    """
    folder = _fold_folder(source, fold, task)
    texts = {}
    if captions:
        rows = source.rows(source.find([captions]), ["name", "english"])
        texts = {number_or_name(Path(row["name"]).stem): row for row in rows}
    for split in ("train", "test"):
        seen: dict[str, str] = {}
        lines = read_text(folder / f"{split}.txt").splitlines()
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            name, _, rest = line.strip().partition(" ")
            id = Path(name).stem.zfill(DIGITS)
            if id in seen:
                kind = "repeated row" if seen[id] == rest else "conflicting rows"
                source.note(kind, id, f"{split}.txt, line {number}; the first one counts")
                continue
            seen[id] = rest
            fields = _mafw_labels(source, id, rest)
            row = texts.get(number_or_name(id), {})
            text = {code: row[key] for code, key in (("en", "english"), ("zh", "chinese")) if row.get(key)}
            if captions and not text:
                source.note("no text", id, f"{captions} does not have it")
            media = source.media(id, video="data/clips", audio=None)
            yield from source.sample(id, media, split=split, text=text, **fields)


def _fold_folder(source: Source, fold: int, task: str) -> Path:
    there = {
        path.parent.relative_to(source.root).as_posix(): path.parent
        for path in sorted(source.root.rglob(f"set_{fold}/train.txt"))
    }
    named = [name for name in there if task in name.lower()]
    named = named or [name for name in there if not any(other in name.lower() for other in TASKS)]
    if len(named) > 1:  # lists with captions repeat those without
        named = [name for name in named if "no_caption" in name] or named
    if len(named) != 1:
        listed = f" (there: {', '.join(there)})" if there else ""
        raise FileNotFoundError(
            f"{source.root}: {len(named)} folders {task}/.../set_{fold} with train.txt, not one{listed}"
        )
    folder = there[named[0]]
    if not (folder / "test.txt").is_file():
        raise FileNotFoundError(f"{folder / 'test.txt'}: no such file; the fold is not whole")
    return folder


def _mafw_labels(source: Source, id: str, text: str) -> dict[str, Any]:
    words = [word for word in re.split(r"[_,\s]+", text.strip().lower()) if word]
    names = [
        MAFW_LABELS[int(word) - 1] if word.isdecimal() and 1 <= int(word) <= len(MAFW_LABELS) else word
        for word in words
    ]
    if unknown := [name for name in names if name not in MAFW_LABELS]:
        source.note("bad value", id, f"label {unknown[0]!r} is none of MAFW's")
        return {}
    if not names:
        source.note("no label", id, "its line has none")
        return {}
    return {"label": names[0]} if len(names) == 1 else {"labels": tuple(names)}


def read_dfew(source: Source, fold: int = 1) -> Iterator[EmotionSample]:
    """One fold's train and test clips.

    Args:
        fold: 1 to 5.
    """
    for split in ("train", "test"):
        path = source.find([f"single_{split}set_{fold}.csv", f"{split}(single-labeled)/set_{fold}.csv"])
        for row in source.rows(path, ["video_name", "label"]):
            id, label = Path(row["video_name"]).stem.zfill(DIGITS), row["label"]
            value = int(float(label)) if re.fullmatch(r"\d+(\.0*)?", label) else -1
            fields = {}
            if 1 <= value <= len(DFEW_LABELS):
                fields["label"] = DFEW_LABELS[value - 1]
            elif value == 0:
                source.note("no label", id, "0: the annotators did not agree on one")
            else:
                source.note("bad value", id, f"label {label!r} is no number from 0 to {len(DFEW_LABELS)}")
            media = source.media(id, video="Clip/original", audio=None)
            yield from source.sample(id, media, split=split, **fields)


def read_m3ed(source: Source) -> Iterator[EmotionSample]:
    """Utterances; the clips, cut at StartTime and EndTime, lie as video/{utterance}.mp4, the sound as published in
    modality_speech/, or as audio/{utterance}.wav."""
    path = source.find(["annotation.json", "M3ED*.json"])
    movies = read_json(path)
    splits: dict[str, str] = {}
    for name, split in (("train", "train"), ("val", "validation"), ("test", "test")):
        listed = read_text(source.find([f"movie_list_{name}.txt"])).split()
        splits |= dict.fromkeys(listed, split)
    for movie in sorted(set(splits) - set(movies)):
        source.note("missing file", movie, f"in splitInfo, but not in {path.name}")
    for movie, clips in movies.items():
        if movie not in splits:
            source.note("no label", movie, "no movie_list has it: its utterances have no split")
        for clip, content in clips.items():
            for id, utterance in content.get("Dialog", {}).items():
                fields = _m3ed_labels(source, id, utterance.get("EmoAnnotation") or {})
                said = plain(utterance.get("Text"))
                if not said:
                    source.note("no subtitle", id, f"{clip}: Text is empty")
                media = _m3ed_media(source, id, plain(utterance.get("Speaker")))
                yield from source.sample(
                    id, media, split=splits.get(movie), subtitle={"zh": said} if said else {}, **fields
                )


def _m3ed_media(source: Source, id: str, speaker: str) -> dict[str, str] | None:
    video = "video" if (source.root / "video").is_dir() else None
    if not (source.root / "modality_speech").is_dir():
        return source.media(id, video)
    heard = source.media(f"{speaker}_{id}", video=None, audio="modality_speech") or {}
    seen = source.media(id, video, audio=None) if video else None
    return (seen or {}) | heard or None


def _m3ed_labels(source: Source, id: str, annotation: dict[str, Any]) -> dict[str, Any]:
    label = plain(annotation.get("final_main_emo")).lower()
    if not label:
        source.note("no label", id, "no final_main_emo")
    elif label not in M3ED_LABELS:
        source.note("bad value", id, f"label {label!r} is none of {', '.join(M3ED_LABELS)}")
        label = ""
    spelt = ("final_mul_emo", "final_muti_emo", "final_multi_emo")
    several = plain(next(filter(None, map(annotation.get, spelt)), None)).lower()
    return {"label": label or None, "labels": tuple(word for word in re.split(r"[,\s]+", several) if word)}
