# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What is asked about a clip, how the answer is searched for, and what comes back."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from xemogpt import __version__
from xemogpt.data.cues import CUE_KINDS
from xemogpt.inference.clips import Clip
from xemogpt.prompts_xemogpt import get_prompt

CUSTOM = "custom"


@dataclass(frozen=True)
class Question:
    """What is asked: a task's own prompt in a language, or an instruction in its place."""

    task: str = "reason"
    language: str = "en"
    instruction: str | None = None

    def __post_init__(self) -> None:
        get_prompt(self.task, self.language)  # refuses unknown ones
        if self.instruction is not None and not self.instruction.strip():
            raise ValueError("the instruction is empty; leave it out to ask the task's own")

    @property
    def text(self) -> str:
        return self.instruction or get_prompt(self.task, self.language).text

    @property
    def prompt_id(self) -> str:
        """Names the exact prompt text; `custom` for an instruction of the user's."""
        return CUSTOM if self.instruction else get_prompt(self.task, self.language).id


@dataclass(frozen=True)
class Decoding:
    """How the answer is found: greedy search, beams, or sampling (then `seed` makes it repeatable)."""

    max_new_tokens: int = 512
    num_beams: int = 1
    do_sample: bool = False
    temperature: float = 0.7
    top_p: float = 0.9
    seed: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_new_tokens", "num_beams"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.temperature <= 0:
            raise ValueError(
                f"temperature must be above 0, not {self.temperature}; leave do_sample off for greedy search"
            )
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be in (0, 1], not {self.top_p}")

    def arguments(self) -> dict[str, Any]:
        """As arguments of `generate`."""
        always = {"max_new_tokens": self.max_new_tokens, "num_beams": self.num_beams, "do_sample": self.do_sample}
        return always | ({"temperature": self.temperature, "top_p": self.top_p} if self.do_sample else {})

    def settings(self) -> dict[str, Any]:
        """All that shapes the answer, as results record it."""
        return self.arguments() | ({"seed": self.seed} if self.do_sample else {})


def note_of(model: str, untrained_parts: Sequence[str], caution: str | None) -> str | None:
    """One line: the untrained parts, if generation uses any (the cue heads it does not), else `caution`."""
    if all(part.startswith(("video_cue_head", "audio_cue_head")) for part in untrained_parts):
        return caution
    return f"{model} has untrained parts, so this is no evidence: {', '.join(untrained_parts)}"


@dataclass(frozen=True)
class Explanation:
    """One answer: `text` is the paragraph, `cues` the same sorted by modality, `seconds` the time it took.

    finished: the model ended it; False where it ran into `max_new_tokens`. dtype: of the weights. version: of xemogpt.
    weights: a hash that tells these weights from others, see `weights_mark`.
    caution: what must be known of the training, as the model's configuration says. revision: of a Hub model, as asked.
    sound_seconds, heard_seconds: of the clip's sound, and how much of it the model was given; None without sound.
    """

    video: str | None
    text: str
    cues: dict[str, list[str]]
    task: str
    language: str
    prompt_id: str
    model: str
    instruction: str | None = None
    adapter: str | None = None
    untrained_parts: list[str] = field(default_factory=list)
    generation: dict[str, Any] = field(default_factory=dict)
    audio: str | None = None
    subtitle: str | None = None
    id: str | None = None
    seconds: float = 0.0
    finished: bool = True
    dtype: str | None = None
    weights: str | None = None
    version: str = __version__
    caution: str | None = None
    revision: str | None = None
    sound_seconds: float | None = None
    heard_seconds: float | None = None

    @property
    def note(self) -> str | None:
        """As `note_of` the model that answered."""
        return note_of(self.model, self.untrained_parts, self.caution)

    @property
    def evidence(self) -> str:
        """The cues grouped by modality, and the note, for people."""
        groups = [
            "\n".join([f"{kind} cues", *(f"  - {cue}" for cue in self.cues[kind])])
            for kind in CUE_KINDS
            if self.cues[kind]
        ]
        return "\n\n".join([*groups, *([f"note: {self.note}"] if self.note else [])])

    def to_dict(self) -> dict[str, Any]:
        """A row of results, ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        return "\n\n".join(filter(None, [self.text or "(empty answer)", self.evidence]))


@dataclass(frozen=True)
class Rejection:
    """A clip that could not be explained, and why, in one line."""

    clip: Clip
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """A row of rejects, ready for JSON."""
        clip = self.clip
        return {"video": shown(clip.video), "reason": self.reason, "audio": shown(clip.audio), "id": clip.id}


def shown(medium: Any) -> str | None:
    """A medium as results record it: a path or text as given, `none` where it was turned off, `array`, or None."""
    if medium is None or medium is False:
        return None if medium is None else "none"
    return os.fspath(medium) if isinstance(medium, (str, os.PathLike)) else "array"
