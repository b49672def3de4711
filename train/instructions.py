# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 3's three kinds of instruction, made from the same sample (section III-D3).

All kinds carry whatever media the clip has; they differ in the question, the answer, and in the branches that the
sample may train:

    kind        asks for                  gates (visual, audio)
    reason      both modalities           open, open
    visual      what can be seen          open, closed
    audio       what can be heard         closed, open
    recognise   one word, the label       open, open            (not in the paper)
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from xemogpt.data.cues import split_cues
from xemogpt.data.sample import EmotionSample

GATES = {"reason": (True, True), "visual": (True, False), "audio": (False, True), "recognise": (True, True)}
OPENERS = {
    ("visual", "en"): "In the video, ",
    ("audio", "en"): "In the audio, ",
    ("visual", "zh"): "在视频中，",
    ("audio", "zh"): "在音频中，",
}


@dataclass(frozen=True)
class Instruction:
    """One question about a clip with its answer. `id` is the sample's with the kind and language."""

    id: str
    kind: str
    language: str
    video: str | None
    audio: str | None
    subtitle: str | None
    answer: str

    @property
    def gates(self) -> tuple[bool, bool]:
        """Whether the sample trains the visual and the audio branch."""
        return GATES[self.kind]


def instructions(sample: EmotionSample, kinds: Sequence[str], languages: Sequence[str]) -> Iterator[Instruction]:
    """All questions that a sample can answer: a kind whose medium or answer the sample lacks is left out.

    Args:
        kinds: keys of `GATES`. languages: en, zh; those in which the sample has a text, or cues (taken for English).
    """
    for language in languages:
        for kind in kinds:
            answer = answer_of(sample, kind, language)
            if answer is None or (kind == "visual" and sample.video is None):
                continue
            subtitle = sample.subtitle.get(language) or next(iter(sample.subtitle.values()), None)
            id = f"{sample.id}#{kind}-{language}"
            yield Instruction(id, kind, language, sample.video, sample.audio, subtitle, answer)


def answer_of(sample: EmotionSample, kind: str, language: str) -> str | None:
    """What a sample answers to a kind of instruction, or None.

    `visual` and `audio` take the sample's own cues of that modality, else the sentences of its text that speak of it.
    """
    text = sample.text.get(language, "").strip()
    if kind == "recognise":
        return sample.label if language == "en" else None
    if kind == "reason" and text:
        return text
    wanted = ("visual", "audio") if kind == "reason" else (kind,)
    own = {modality: [cue.text for cue in sample.cues_of(modality)] if language == "en" else [] for modality in wanted}
    if kind != "reason" and not own[kind] and text:
        own[kind] = split_cues(text)[kind]
    parts = [_paragraph(cues, modality, language) for modality, cues in own.items() if cues]
    if kind == "reason" and language == "en" and parts:
        parts += [_sentence(cue.text) for cue in sample.cues_of("global")]
    return (" " if language == "en" else "").join(parts) or None


def _paragraph(cues: Sequence[str], modality: str, language: str) -> str:
    """Cues as sentences, the first of which says where they were perceived."""
    opener = OPENERS[modality, language]
    joined = (" " if language == "en" else "").join(_sentence(cue, language) for cue in cues)
    if joined.casefold().startswith(opener.strip(" ，,").casefold()):
        return joined
    return opener + (joined[0].lower() + joined[1:] if language == "en" and joined[1:2].islower() else joined)


def _sentence(text: str, language: str = "en") -> str:
    text = text.strip()
    return text if text[-1:] in ".!?。！？…\"”'" else text + ("." if language == "en" else "。")


def count_kinds(rows: Iterable[Instruction]) -> dict[str, int]:
    """How many instructions there are of each kind."""
    counts = dict.fromkeys(GATES, 0)
    for row in rows:
        counts[row.kind] += 1
    return {kind: count for kind, count in counts.items() if count}
