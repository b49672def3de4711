# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 3's three kinds of instruction, made from the same sample (section III-D3).

All kinds carry whatever media the clip has; they differ in the question, the answer, and in the branches that the
sample may train. What a clip lacks, no answer tells of:

    kind        asks for                  gates (visual, audio)
    reason      both modalities           open, open
    visual      what can be seen          open, closed
    audio       what can be heard         closed, open
    recognise   one word, the label       open, open            (not in the paper)
    see, hear   as visual and audio       as visual and audio   (not in the paper)

`see` and `hear` carry their own medium alone and ask nothing: short, to bring projectors and LLM together first.
A model that has always been shown both media tells what it would have seen even where there is no picture. So a share
of the questions can lose a medium, and their answers all that was perceived in it (`blind`, not in the paper).
"""

import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from xemogpt.data.cues import read_sentences, split_cues
from xemogpt.data.sample import EmotionSample
from xemogpt.media_xemogpt import probe

MEDIA = ("visual", "audio")
GATES = {"reason": (True, True), "visual": (True, False), "audio": (False, True), "recognise": (True, True)}
ALONE = {"see": "visual", "hear": "audio"}  # and the kind whose answer and gates they share
GATES |= {kind: GATES[like] for kind, like in ALONE.items()}
OPENERS = {
    ("visual", "en"): "In the video, ",
    ("audio", "en"): "In the audio, ",
    ("visual", "zh"): "在视频中，",
    ("audio", "zh"): "在音频中，",
}
NOTHING = {"en": "There is neither a face to be seen nor a voice to be heard.", "zh": "既看不到面部，也听不到声音。"}


@dataclass(frozen=True)
class Instruction:
    """One question about a clip with its answer. `id` is the sample's with the kind and language; `audio` "none" turns
    the video's own track off."""

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


def held_media(sample: EmotionSample) -> list[str]:
    """Which of `MEDIA` the files of a sample do hold: videos may lack their sound track, or pictures.

    Raises:
        OSError, MediaError (a ValueError): a file that is missing or cannot be opened.
    """
    info = None if sample.video is None else probe(sample.video)
    seen, heard = (
        info is not None and info.has_video,
        sample.audio is not None or (info is not None and info.has_audio),
    )
    return [medium for medium, held in zip(MEDIA, (seen, heard), strict=True) if held]


def instructions(
    sample: EmotionSample,
    kinds: Sequence[str],
    languages: Sequence[str],
    blind: float = 0.0,
    media: Sequence[str] | None = None,
) -> Iterator[Instruction]:
    """All questions that a sample can answer: a kind whose medium or answer the sample lacks is left out.

    Where there is but one medium, the answer to `reason` is that of this medium, if the sample's own tells of the
    other, too.

    Args:
        kinds: keys of `GATES`. languages: en, zh; those in which the sample has a text, or cues (taken for English).
        blind: how likely a clip is to lose its picture, its sound, or both in `reason`; the id decides. The answer
            then is that of `audio`, of `visual`, or `NOTHING`.
        media: what the files hold, see `held_media`; by default what the sample names, each video with a track.
    """
    if media is None:
        media = MEDIA if sample.video is not None else MEDIA[1:]
    for language in languages:
        for kind in kinds:
            answer = answer_of(sample, kind, language)
            if kind == "reason" and len(media) == 1 and answer_of(sample, _other(media[0]), language) is not None:
                answer = answer_of(sample, media[0], language)
            needed = ALONE.get(kind, kind)
            if answer is None or (needed in MEDIA and needed not in media):
                continue
            subtitle = sample.subtitle.get(language) or next(iter(sample.subtitle.values()), None)
            id = f"{sample.id}#{kind}-{language}"
            whole = Instruction(id, kind, language, sample.video, sample.audio, subtitle, answer)
            if kind in ALONE:
                video, sound = _only(ALONE[kind], sample)
                yield replace(whole, video=video, audio=sound, subtitle=None)
            else:
                blinded = kind == "reason" and len(media) == len(MEDIA) and _draw(id) < blind
                yield _blinded(whole, sample) if blinded else whole


def _other(medium: str) -> str:
    return MEDIA[1 - MEDIA.index(medium)]


def _draw(id: str) -> float:
    """A number in [0, 1) that is always the same for an id."""
    return zlib.crc32(id.encode()) / 2**32


def _blinded(whole: Instruction, sample: EmotionSample) -> Instruction:
    """The same question without picture, sound or both; as it was where the sample cannot answer that."""
    left = ("audio", "visual", None)[zlib.crc32(sample.id.encode()) % 3]
    answer = NOTHING[whole.language] if left is None else answer_of(sample, left, whole.language)
    if answer is None:
        return whole
    video, sound = _only(left, sample)
    return replace(whole, video=video, audio=sound, answer=answer)


def _only(modality: str | None, sample: EmotionSample) -> tuple[str | None, str | None]:
    """`video` and `audio` of an instruction that has but one of them, or none."""
    if modality == "visual":
        return sample.video, "none"
    return None, None if modality is None else sample.audio or sample.video


def answer_of(sample: EmotionSample, kind: str, language: str) -> str | None:
    """What a sample answers to a kind of instruction, or None.

    `visual` and `audio`, `see` and `hear` take the sample's own cues of that modality; where they are excerpts of its
    text, in the sentences in which they stand there. Without cues, the sentences of the text that speak of it.
    """
    text = sample.text.get(language, "").strip()
    kind = ALONE.get(kind, kind)
    if kind == "recognise":
        return sample.label if language == "en" else None
    if kind == "reason" and text:
        return text
    wanted = ("visual", "audio") if kind == "reason" else (kind,)
    own = {modality: [cue.text for cue in sample.cues_of(modality)] if language == "en" else [] for modality in wanted}
    if kind != "reason" and text:
        own[kind] = _section(sample, text, kind) or own[kind] or split_cues(text)[kind]
    parts = [_paragraph(cues, modality, language) for modality, cues in own.items() if cues]
    if kind == "reason" and language == "en" and parts:
        parts += [_sentence(cue.text) for cue in sample.cues_of("global")]
    return (" " if language == "en" else "").join(parts) or None


def _section(sample: EmotionSample, text: str, modality: str) -> list[str]:
    """The sentences of a text's section on one modality, if all cues of it are excerpts of these and no other cue is;
    else none."""
    if not sample.cues_of(modality):
        return []
    where = [sentence for sentence in read_sentences(text, "global") if sentence.modality == modality]
    for cue in sample.cues:
        within = cue.span is not None and any(each.start <= cue.span[0] < cue.span[1] <= each.end for each in where)
        excerpt = cue.span is not None and text[slice(*cue.span)] == cue.text
        if (cue.modality == modality) != within or not excerpt:
            return []
    return [text[each.start : each.end] for each in where if each.end > each.start]


def _paragraph(cues: Sequence[str], modality: str, language: str) -> str:
    """Cues as sentences, the first of which says where they were perceived."""
    opener = OPENERS[modality, language]
    first, *rest = (_sentence(cue, language) for cue in cues)
    joined = (" " if language == "en" else "").join([first, *(each[0].upper() + each[1:] for each in rest)])
    if split_cues(first, "global")[modality]:
        return joined  # it says so itself
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
