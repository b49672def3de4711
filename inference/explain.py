# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Explain clips: one call in Python.

    >>> from xemogpt import explain
    >>> print(explain("clip.mp4"))  # doctest: +SKIP

A model is loaded once per process; answers are deterministic unless sampling is asked for.
"""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from xemogpt.inference.clips import Clip
from xemogpt.inference.explainer import Explainer
from xemogpt.inference.explanation import Decoding, Question


def explain(
    video: Any = None,
    *,
    audio: Any = None,
    subtitle: Any = None,
    task: str = "reason",
    language: str = "en",
    instruction: str | None = None,
    model: str | os.PathLike | tuple[Any, Any] | Explainer | None = None,
    adapter: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool | None = None,
    revision: str | None = None,
    model_kwargs: dict[str, Any] | None = None,
    max_new_tokens: int = 512,
    num_beams: int = 1,
    do_sample: bool = False,
    temperature: float = 0.7,
    top_p: float = 0.9,
    seed: int | None = None,
    sampling_rate: int = 16000,
    streamer: Any = None,
    batch_size: int = 8,
) -> Any:
    """Explain the emotion in a clip, or in each of a list of clips.

    Args:
        video: a media file or frames (a list of PIL images, an array or tensor (T, H, W, 3)); a list of files or of
            `Clip` is answered with a list, `batch_size` at a time. None: `audio` alone.
        audio: default the video's own track; a file, an array (L,) at `sampling_rate` Hz, or "none".
        subtitle: text, or an .srt or .vtt file. With a list of clips, `audio` and `subtitle` are lists too, or absent.
        task: `reason`, `visual`, `audio` or `recognise`; `language`: `en` or `zh`.
        instruction: asked in place of the task's own prompt.
        model, adapter, device, dtype, trust_remote_code, revision, model_kwargs: see `Explainer`. A model given by
            name is loaded once.
        do_sample: with `temperature` and `top_p`, repeatable under a `seed`; otherwise the answer is deterministic.
        streamer: a transformers streamer, for one clip.

    Returns:
        An `Explanation`, or a list of them.

    Raises:
        ValueError, OSError: a clip, the model or a setting that cannot be used; one line that says why.
    """
    question = Question(task, language, instruction)
    decoding = Decoding(max_new_tokens, num_beams, do_sample, temperature, top_p, seed)
    many = isinstance(video, (list, tuple)) and all(isinstance(each, (str, os.PathLike, Clip)) for each in video)
    videos = list(video) if many else [video]
    audios, subtitles = (
        _per_clip(value, len(videos), many, name) for value, name in ((audio, "audio"), (subtitle, "subtitle"))
    )
    clips = []
    for each, sound, said in zip(videos, audios, subtitles, strict=True):
        if isinstance(each, Clip) and not (sound is None and said is None):
            raise ValueError("audio or subtitle beside a Clip: put them into the Clip")
        clips.append(each if isinstance(each, Clip) else Clip(each, sound, said, sampling_rate=sampling_rate))
    if isinstance(model, Explainer):
        late = ("adapter", adapter), ("device", device), ("dtype", dtype), ("revision", revision)
        if given := [name for name, value in (*late, ("model_kwargs", model_kwargs)) if value is not None]:
            raise ValueError(f"{', '.join(given)}: this Explainer is loaded already; say so when it is made")
        explainer = model
    elif isinstance(model, tuple):
        more: dict[str, Any] = {"revision": revision, "model_kwargs": model_kwargs}
        explainer = Explainer(model, adapter=adapter, device=device, dtype=dtype, **more)
    else:
        explainer = load_explainer(model, adapter, device, dtype, trust_remote_code, revision, model_kwargs)
    answers = []
    for start in range(0, len(clips), max(1, batch_size)):
        answers += explainer.explain(clips[start : start + max(1, batch_size)], question, decoding, streamer)
    return answers if many else answers[0]


def load_explainer(
    model: str | os.PathLike | None = None,
    adapter: str | os.PathLike | None = None,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    trust_remote_code: bool | None = None,
    revision: str | None = None,
    model_kwargs: dict[str, Any] | None = None,
) -> Explainer:
    """An `Explainer`, loaded once per process for the same arguments and weights; the two used last are kept."""
    names = [None if name is None else os.fspath(name) for name in (model, adapter)]
    options = _Options(model_kwargs)
    return _load_explainer(*names, device, dtype, trust_remote_code, revision, options, tuple(map(_written, names)))


def _written(name: str | None) -> tuple[tuple[str, int], ...]:
    """When the weights in a folder were written: one that is trained again is loaded again."""
    files = [] if name is None else sorted(Path(name).expanduser().glob("*.safetensors"))
    return tuple((file.name, file.stat().st_mtime_ns) for file in files)


class _Options:
    """Arguments by name that a cache can look up; equal where all are."""

    def __init__(self, named: dict[str, Any] | None):
        self.named = dict(named or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Options) and self.named == other.named

    def __hash__(self) -> int:
        return hash(frozenset(self.named))


@lru_cache(maxsize=2)
def _load_explainer(
    model: str | None,
    adapter: str | None,
    device: Any,
    dtype: Any,
    trust: bool | None,
    revision: str | None,
    options: _Options,
    written: tuple[tuple[tuple[str, int], ...], ...],  # part of what the cache looks up
) -> Explainer:
    return Explainer(
        model,
        adapter=adapter,
        device=device,
        dtype=dtype,
        trust_remote_code=trust,
        revision=revision,
        model_kwargs=options.named,
    )


def _per_clip(value: Any, count: int, many: bool, name: str) -> list[Any]:
    if not many:
        return [value]
    if value is None or value is False or (isinstance(value, str) and value == "none"):
        return [value] * count
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise ValueError(f"with a list of {count} clips, {name} must be a list of {count} too, or be left out")
    return list(value)
