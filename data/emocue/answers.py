# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the models may answer, and how an answer becomes data or a reason why it does not."""

import json
import re
from typing import Any, Literal, TypeVar

try:
    from pydantic import BaseModel, ConfigDict, Field, ValidationError
except ImportError:
    raise ImportError('building EmoCue needs pydantic: pip install "xemogpt[data]"') from None

Modality = Literal["visual", "audio", "global"]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)


class FoundCue(_Answer):
    """A cue of S1."""

    modality: Modality
    text: str = Field(min_length=1, max_length=400)


class CueList(_Answer):
    """The answer of a pass of S1; an empty list is one."""

    cues: list[FoundCue] = Field(max_length=40)


class MergedCue(FoundCue):
    """A cue of S3 with the ids of those it rests on."""

    sources: list[str] = Field(alias="from", min_length=1)


class Dropped(_Answer):
    """A cue that S3 left out."""

    id: str
    why: str = Field(max_length=400)


class Conflict(_Answer):
    """How S3 resolved a conflict."""

    ids: list[str]
    resolution: str = Field(max_length=400)


class Merged(_Answer):
    """The answer of S3."""

    cues: list[MergedCue] = Field(max_length=40)
    dropped: list[Dropped] = []
    conflicts: list[Conflict] = []
    paragraph: str


class Short(_Answer):
    """The answer of S5."""

    caption: str = Field(min_length=1)


ANSWERS: dict[str, type[_Answer]] = {"infer": CueList, "merge": Merged, "short": Short}
AnswerType = TypeVar("AnswerType", bound=BaseModel)


class UnusableAnswer(ValueError):
    """Blank, cut off, no JSON, or of another form; the message is one of few and quotes nothing of the answer."""


def parse_answer(text: str | None, finish: str | None, form: type[AnswerType]) -> AnswerType:
    """An answer's JSON, out of a code fence or from behind a <think> block if need be.

    Raises:
        UnusableAnswer: says why.
    """
    if not text or not text.strip():
        raise UnusableAnswer("blank answer")
    text = re.sub(r"^\s*<think>.*?</think>", "", text, flags=re.S).strip()
    fence = re.fullmatch(r"```(?:json)?\s*(.*?)\s*```", text, re.S)
    try:
        value: Any = json.loads(fence.group(1) if fence else text)
    except ValueError:
        raise UnusableAnswer("cut off before its end" if finish == "length" else "no JSON") from None
    try:
        return form.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        where = ".".join(part for part in map(str, first["loc"]) if part.isidentifier() or part.isdigit())[:60]
        raise UnusableAnswer(f"another form: {first['type']} at {where or 'its top'}") from None
