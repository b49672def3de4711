# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Cues, and all the forms in which a description may be given.

A description is a text; a dict of lists, {"visual": [...], "audio" or "auditory": [...], "global" or "emotional":
[...]}; a list of cue dicts, {"text": ..., "modality": ..., "kind": ..., "polarity": ...}; a row that has either under
"cues"; or None where there is none. A cue in a dict of lists is a string or a cue dict.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

MODALITIES = ("visual", "audio", "global")
KINDS = ("observation", "inference", "subtitle")
SPELLINGS = {"auditory": "audio", "emotional": "global"} | {name: name for name in MODALITIES}

_QUOTATION = re.compile(
    r"(?i)(?:(?:the )?(?:subtitles?|text|transcript)(?: text| content)?(?: (?:says|reads|is))?|字幕(?:内容|显示)?)?"
    r"\s*[:：,，]?\s*(?:\"[^\"]+\"|“[^”]+”|「[^」]+」|『[^』]+』)[.。]?"
)


@dataclass(frozen=True)
class Cue:
    """One cue. kind: observation, inference or subtitle (a quotation, which is never scored).

    polarity: 1 asserted, -1 negated. span: characters [a, b) of the text. source: who read it out.
    """

    text: str
    modality: str
    kind: str = "observation"
    polarity: int = 1
    span: tuple[int, int] | None = None
    source: str | None = None


@dataclass(frozen=True)
class Description:
    """The cues of one description by modality. named: the modalities that were given, be it as an empty list."""

    cues: Mapping[str, tuple[Cue, ...]]
    named: frozenset[str]


class ExtractionError(ValueError):
    """No cues could be read out of this text, though others may be readable. The message says why."""


class CueExtractor(Protocol):
    """Reads cues out of a text. `name` and `digest` (8 hex digits) say in signatures which one it was.

    `extract` raises ExtractionError for a text that it cannot read.
    """

    name: str
    digest: str

    def extract(self, text: str) -> list[Cue]: ...


def read_description(value: Any, where: str) -> Description:
    """One description that is no text, as cues.

    Args:
        value: see the module's text.
        where: what errors call it, such as "prediction 'sample_7'".

    Raises:
        ValueError: something that is no description, an unknown key, one modality twice, or a cue without a text.
    """
    while isinstance(value, Mapping) and "cues" in value:
        value = value["cues"]
    if isinstance(value, Mapping):
        lists: dict[str, Any] = {}
        for key, cues in value.items():
            modality = SPELLINGS.get(key)
            if modality is None:
                raise ValueError(f"{where}: unknown key {key!r}; the modalities are {', '.join(SPELLINGS)}")
            if modality in lists:
                raise ValueError(f"{where}: has {modality} twice, in both spellings")
            if cues is not None and (isinstance(cues, str | Mapping) or not isinstance(cues, Sequence)):
                raise ValueError(f"{where}: {key} must be a list of cues, not {type(cues).__name__}")
            lists[modality] = cues or ()
        read = {name: tuple(read_cue(cue, where, name) for cue in lists.get(name, ())) for name in MODALITIES}
        return Description(read, frozenset(lists))
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return group_cues([read_cue(cue, where) for cue in value])
    raise ValueError(f"{where}: must be a text, a dict of cue lists or a list of cues, not {type(value).__name__}")


def is_quotation(text: str) -> bool:
    """Whether a text is nothing but what somebody says, as `Subtitle text: "..."`."""
    return bool(_QUOTATION.fullmatch(text.strip()))


def group_cues(cues: Sequence[Cue]) -> Description:
    """Cues in a row, by modality; all three count as named."""
    by_modality = {name: tuple(cue for cue in cues if cue.modality == name) for name in MODALITIES}
    return Description(by_modality, frozenset(MODALITIES))


def read_cue(value: Any, where: str, modality: str | None = None) -> Cue:
    """One cue from a string, a dict or a `Cue`; `modality` is that of the list it stands in."""
    if isinstance(value, Cue):
        return value
    row = {"text": value} if isinstance(value, str) else value
    if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
        raise ValueError(f"{where}: a cue must be a string or a dict with a text, not {value!r}")
    named = row.get("modality", modality)
    if named not in SPELLINGS or (modality is not None and SPELLINGS[named] != modality):
        among = f" in the list of {modality} cues" if modality else ""
        raise ValueError(f"{where}: cue {row['text'][:60]!r} has modality {named!r}{among}")
    kind, polarity, span = row.get("kind") or "observation", row.get("polarity") or 1, row.get("span")
    if kind not in KINDS or polarity not in (1, -1):
        raise ValueError(f"{where}: cue {row['text'][:60]!r} has kind {kind!r} and polarity {polarity!r}")
    return Cue(row["text"], SPELLINGS[named], kind, polarity, tuple(span) if span else None, row.get("source"))
