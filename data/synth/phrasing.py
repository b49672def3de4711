# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How cues are put into words (`phrases.txt`), and how they are read back out of a paragraph."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from xemogpt.data.cues import split_cues
from xemogpt.data.synth.cue_types import AUDIO, VISUAL

DEGREES = (  # of an intensity below .6, below .85, above
    ("slightly", "a little", "faintly", "somewhat", "mildly"),
    ("", "", "noticeably", "clearly", "plainly"),
    ("strongly", "markedly", "intensely", "remarkably", "unmistakably"),
)
_DEGREE_ADJECTIVES = (
    ("slight", "faint", "mild"),
    ("", "", "noticeable", "clear"),
    ("strong", "marked", "pronounced"),
)
_CLAUSE = re.compile(
    r"[.;,:!?]|\b(?:while|whereas|but|yet|although|though|even as)\b"
    r"|\band(?= (?:he|she|they|his|her|their|the (?:man|woman|speaker|person)|there|a|an)\b)",
    re.I,
)
# What follows one of these is denied; one of the others denies its whole clause.
_NOT = re.compile(r"\b(?:no|not|never|without|neither|nor|none|nothing|lack(?:s|ing)?|cannot|\w+n't)\b", re.I)
_NOT_THERE = re.compile(
    r"\b(?:absent|absence|missing|lacking|nowhere|(?:is|are|be|being) not|(?:is|are)n't|(?:cannot|can't|not) be)\b"
    r"(?! \w+ing)",
    re.I,
)
_NO_NEGATION = re.compile(r"\b(?:not (?:only|just|merely)|no doubt|without (?:a |any )?doubt|nothing but)\b", re.I)
_AND = re.compile(r"\band(?= (?:\w+ly )?(?:\w+s|\w+ing|do|not|never|no|without)\b)", re.I)
EMOTION_WORDS = {
    "neutral": ("calm", "neutral", "composed", "unmoved"),
    "happy": ("happy", "joyful", "delighted", "cheerful"),
    "sad": ("sad", "sorrowful", "unhappy", "dejected"),
    "angry": ("angry", "furious", "irritated", "indignant"),
    "worried": ("worried", "anxious", "nervous", "uneasy"),
    "surprised": ("surprised", "astonished", "amazed", "startled"),
    "disgusted": ("disgusted", "repelled", "revolted", "repulsed"),
    "contemptuous": ("contemptuous", "disdainful", "scornful", "dismissive"),
}
EMOTION_NOUNS = {
    "neutral": ("calmness", "composure", "neutrality"),
    "happy": ("happiness", "joy", "delight", "cheerfulness"),
    "sad": ("sadness", "sorrow", "unhappiness", "grief"),
    "angry": ("anger", "fury", "irritation", "indignation"),
    "worried": ("worry", "anxiety", "nervousness", "unease"),
    "surprised": ("surprise", "astonishment", "amazement"),
    "disgusted": ("disgust", "repulsion", "revulsion"),
    "contemptuous": ("contempt", "disdain", "scorn"),
}


@dataclass(frozen=True)
class Phrases:
    """All that is known of a cue's wording: templates for training and held out, nouns, and how it is recognised."""

    training: tuple[str, ...]
    held_out: tuple[str, ...]
    nouns: tuple[str, ...]
    pattern: re.Pattern[str]
    covers: frozenset[str]


@cache
def phrases() -> dict[str, Phrases]:
    """By cue type, from `phrases.txt`.

    Raises:
        ValueError: a cue without phrasings, or phrasings of no cue.
    """
    blocks: dict[str, dict[str, list[str]]] = {}
    for line in Path(__file__).with_name("phrases.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            block = blocks.setdefault(line.strip("[]"), {mark: [] for mark in "+~-=<"})
        elif line[:1] in "+~-=<" and line:
            block[line[0]].append(line[2:])
    if set(blocks) != {*VISUAL, *AUDIO}:
        raise ValueError(f"phrases.txt and the cue types differ: {sorted(set(blocks) ^ {*VISUAL, *AUDIO})}")
    return {
        name: Phrases(
            tuple(block["+"]),
            tuple(block["~"]),
            tuple(noun for line in block["-"] for noun in line.strip("()").split("|")),
            re.compile("|".join(block["="]), re.I),
            frozenset(" ".join(block["<"]).split()),
        )
        for name, block in blocks.items()
    }


def expand(template: str, rng: np.random.Generator, subject: str, possessive: str, intensity: float) -> str:
    """One clause of a template: choices drawn, slots filled."""
    while match := re.search(r"\(([^()]*)\)", template):
        options = match[1].split("|")
        template = template[: match.start()] + options[int(rng.integers(len(options)))] + template[match.end() :]
    level = int(intensity >= 0.6) + int(intensity >= 0.85)
    adjective = bool(re.search(r"\b(?:a|their|the|with a|in a) \{d\}", template))
    words = (_DEGREE_ADJECTIVES if adjective or template.startswith("{d}") else DEGREES)[level]
    if re.search(r"\{d\} (?:sobs|sobbing|laughter|stress|emphasis)\b", template):
        words = _DEGREE_ADJECTIVES[level]
    clause = template.replace("{d}", words[int(rng.integers(len(words)))])
    clause = " ".join(clause.replace("{s}", subject).replace("{p}", possessive).split()).replace(" ,", ",")
    return _article(clause)


def _article(clause: str) -> str:
    return re.sub(r"\ba (?=[aeiou](?!ne\b))", "an ", clause)


def phrase(
    cue: str,
    rng: np.random.Generator,
    subject: str,
    possessive: str,
    intensity: float,
    held_out: bool = False,
    owner: str | None = None,
) -> str:
    """A clause that asserts the cue, without capital or full stop; `owner` ("the man's") where no subject precedes."""
    known = phrases()[cue]
    templates = known.held_out if held_out else known.training
    template = templates[int(rng.integers(len(templates)))]
    return expand(template, rng, subject, possessive if "{s}" in template else owner or possessive, intensity)


_DENIALS = (
    ("there is no {n}", "{s} shows no {n}", "no {n} can be {seen}", "{s} remains without any {n}"),
    ("a {n} is absent", "one looks in vain, there being no {n}"),
)


def denial(cue: str, rng: np.random.Generator, subject: str, held_out: bool = False) -> str:
    """A clause that denies the cue."""
    nouns = phrases()[cue].nouns
    noun = nouns[int(rng.integers(len(nouns)))]
    template = _DENIALS[held_out][int(rng.integers(len(_DENIALS[held_out])))]
    if noun.endswith("s") and not noun.endswith("ss"):
        template = template.replace("a {n} is", "{n} are").replace("there is", "there are")
    clause = template.replace("{n}", noun).replace("{s}", subject)
    return _article(clause.replace("{seen}", "seen" if cue in VISUAL else "heard"))


def read_cues(text: str, default: str | None = None) -> dict[str, int]:
    """The cue types that a paragraph speaks of: 1 asserted, -1 denied; asserted, if it says both.

    Sections decide which modality a clause speaks of; `default` is that of text before any section opens.

    >>> read_cues("In the video, he frowns without a smile. In the audio, his voice trembles.")
    {'brows_lowered': 1, 'smile': -1, 'tremor': 1}
    """
    found: dict[str, int] = {}
    sections = split_cues(re.sub(r'"[^"]*"|“[^”]*”', '""', text), default)
    for modality, types in (("visual", VISUAL), ("audio", AUDIO)):
        for sentence in sections[modality]:
            for clause in _CLAUSE.split(_NO_NEGATION.sub("", sentence)):
                for part in _AND.split(clause) if _NOT.search(clause) else (clause,):
                    for cue, polarity in _read_clause(part, types):
                        found[cue] = max(found.get(cue, -1), polarity)
    return found


def _read_clause(clause: str, types: Iterable[str]) -> list[tuple[str, int]]:
    """The cues of one clause, without those that another one's words cover."""
    matched = {cue: match for cue in types if (match := phrases()[cue].pattern.search(clause))}
    covered = {each for cue in matched for each in phrases()[cue].covers}
    negator, all_denied = _NOT.search(clause), _NOT_THERE.search(clause)
    return [
        (cue, -1 if all_denied or negator and match.end() > negator.start() else 1)
        for cue, match in sorted(matched.items()) if cue not in covered
    ]  # fmt: skip


def parse_emotions(text: str) -> list[str]:
    """The emotions that a text names, in the order of their first words."""
    first: dict[str, int] = {}
    for emotion in EMOTION_WORDS:
        words = "|".join((*EMOTION_WORDS[emotion], *EMOTION_NOUNS[emotion]))
        if match := re.search(rf"\b(?:{words})\b", text, re.I):
            first[emotion] = match.start()
    return sorted(first, key=first.__getitem__)
