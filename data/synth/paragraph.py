# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The explanation of a clip in EMER's manner: "In the video, ... In the audio, ... In the text, ... Therefore, ..."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xemogpt.data.sample import Cue
from xemogpt.data.synth.cue_types import ORDER
from xemogpt.data.synth.phrasing import EMOTION_NOUNS, EMOTION_WORDS, denial, phrase

SOURCE = "synth"


@dataclass(frozen=True)
class TypedCue:
    """A cue before it is put into words."""

    type: str
    modality: str
    polarity: int = 1
    intensity: float | None = None
    time: tuple[float, float] | None = None


@dataclass(frozen=True)
class Story:
    """What an explanation is about: who, the cues, and which emotion each channel shows.

    `face`, `voice` and `subtitle` may be empty: nobody in the picture, silence, nothing to read.
    """

    male: bool
    seconds: float
    subtitle: str
    cues: tuple[TypedCue, ...]
    face: str
    voice: str
    words: str
    label: str

    @property
    def subset(self) -> str:
        """As CA-MER: whether face and voice agree, else which of them the label goes with."""
        if self.face == self.voice or not (self.face and self.voice):
            return "consistent"
        return "video-aligned" if self.label == self.face else "audio-aligned"


_VISUAL_OPENERS = (
    "In the video, {c}", "In the video, we see that {c}", "In the picture, {c}",
    "In the footage, it can be seen that {c}", "Visually, {c}", "In the frames, {c}", "In the video clip, {c}",
)  # fmt: skip
_AUDIO_OPENERS = (
    "In the audio, {c}", "In the audio, we hear that {c}", "In the speech, {c}",
    "In the sound, it can be heard that {c}", "In the audio track, {c}", "Acoustically, {c}",
)  # fmt: skip
_TEXT_OPENERS = (
    'In the text, the subtitle reads "{t}"', 'In the text, {s} says: "{t}"', 'In the subtitle, we read "{t}"',
    'In the text, the words are "{t}"', 'In the transcript, {s} says "{t}"',
)  # fmt: skip
# Where one observation ends it must be seen whether another follows: at every such place one word says so and another
# that none does. Were there many ways to go on and one to stop, the likeliest word would stop too early.
_PAIRS = (", and ", ", while ", ", and ")  # to the second of two; a full stop where there is none
_FURTHER = {True: ". In addition, ", False: ". Also, "}  # to the next two, by the manner of the opener; or "So"
_STILL = {  # of a medium without cues, and whether there is a face or voice
    ("visual", True): ("the face hardly moves", "the expression stays still", "nothing stirs in the face"),
    ("audio", True): (
        "the speech is even and ordinary", "the delivery is unremarkable", "the speech sounds ordinary",
    ),
    ("visual", False): ("nobody is there", "there is no one", "no one is present"),
    ("audio", False): ("nobody speaks", "there is no voice", "no one says a word"),
}  # fmt: skip
_FACE = (
    "So {p} face shows {n}", "So the expression is one of {n}", "So the look on {p} face speaks of {n}",
    "So {p} facial expression conveys {n}",
)  # fmt: skip
_VOICE = (
    "So {p} voice conveys {n}",
    "So the tone of voice is one of {n}",
    "So {p} way of speaking expresses {n}",
    "So the voice speaks of {n}",
)
_WORDS = (
    "The words themselves express {n}", "What is said points to {n}", "The content of the sentence suggests {n}",
    "The wording fits {n}",
)  # fmt: skip
_WORDS_NEUTRAL = (
    "The words themselves say little about the feeling", "The content of the sentence is matter-of-fact",
    "What is said carries no feeling of its own",
)  # fmt: skip
_AGREE = (
    "Therefore, {s} is most likely {w}", "Therefore, it can be inferred that {s} feels {w}",
    "Taken together, the cues point to {n}", "Overall, {s} appears to be {w}",
    "Considering the video, the audio and the text, {s} seems {w}", "All in all, {p} state is one of {n}",
    "Therefore, the emotion is most probably {n}", "In conclusion, {s} gives the impression of being {w}",
)  # fmt: skip
_AGREE_LACKING = tuple(template for template in _AGREE if "the text" not in template)
_CONFLICT = (
    "Therefore, face and voice disagree: the face shows {fn}, but the voice conveys {vn}",
    "Overall, there is a conflict between the modalities, with {fn} in the face and {vn} in the voice",
    "Taken together, the cues contradict each other: {p} face speaks of {fn}, whereas {p} voice speaks of {vn}",
    "Therefore, the picture and the sound do not match, as the face expresses {fn} and the voice {vn}",
)
_SETTLED = (
    "Since the words go with the {m}, {s} is most likely {w}", "The words side with the {m}, so {s} is probably {w}",
    "Because the text supports the {m}, the emotion is best described as {n}",
    "As the text agrees with the {m}, {s} seems {w}",
)  # fmt: skip
_HIDDEN = (
    "; the {n} is held back in the {o}",
    "; {s} keeps the {n} out of the {o}",
    ", and the {n} is suppressed in the {o}",
)


def compose(story: Story, rng: np.random.Generator, held_out: bool = False) -> tuple[str, tuple[Cue, ...]]:
    """The paragraph, and its cues in its own words; `held_out` takes the other phrasings.

    Without a subtitle nothing is said of words, and a conflict stays unsettled. Of a picture without anybody, and of
    silence, it says that and no more.
    Cues of kind `inference` say which emotion the face and the voice by themselves speak of.
    """
    writer = _Writer(story, rng, held_out)
    for modality, openers, shown, closers in (
        ("visual", _VISUAL_OPENERS, story.face, _FACE),
        ("audio", _AUDIO_OPENERS, story.voice, _VOICE),
    ):
        cues = sorted((cue for cue in story.cues if cue.modality == modality), key=lambda cue: ORDER[cue.type])
        still = _STILL[modality, bool(shown)]
        writer.observe([cue for cue in cues if cue.polarity > 0], modality, openers, still)
        if shown:
            writer.infer(closers, shown, modality)
        writer.deny([cue for cue in cues if cue.polarity < 0], modality)
    if story.subtitle:
        writer.quote()
    writer.conclude()
    return writer.text, tuple(writer.cues)


class _Writer:
    def __init__(self, story: Story, rng: np.random.Generator, held_out: bool):
        self.story, self.rng, self.held_out = story, rng, held_out
        self.text, self.cues = "", list[Cue]()
        self.pronoun, self.possessive = ("he", "his") if story.male else ("she", "her")
        person = "man" if story.male else "woman"
        speaker = "the speaker" if story.voice else f"the {person}"
        self.names = (self.pronoun, self.pronoun, self.pronoun, f"the {person}", speaker)

    def pick(self, options: tuple[str, ...]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def fill(self, template: str, **slots: str) -> str:
        return template.format(s=self.pick(self.names), p=self.possessive, **slots)

    def sentence(self, text: str) -> int:
        """Add a sentence; where it starts."""
        start, end = len(self.text) + bool(self.text), "" if text.endswith('."') else "."
        self.text += f"{' ' if self.text else ''}{text[0].upper()}{text[1:]}{end}"
        return start

    def remember(self, start: int, end: int, modality: str, kind: str = "observation", **more: Any) -> None:
        """What stands there is a cue."""
        cue = Cue(self.text[start:end], modality, kind, span=(start, end), source=SOURCE)
        self.cues.append(replace(cue, **more))

    def clause(self, cue: TypedCue, first: bool) -> str:
        subject = self.names[3] if first and self.rng.random() < 0.6 else self.pick(self.names)
        owner = f"{subject}'s" if " " in subject else self.possessive
        owner = owner if subject not in (self.names[3], self.names[4]) or self.rng.random() < 0.3 else self.possessive
        intensity = cue.intensity or 1.0
        clause = phrase(cue.type, self.rng, subject, self.possessive, intensity, self.held_out, owner)
        if cue.modality == "visual" and cue.time and self.rng.random() < 0.5:
            clause = f"{clause} {self.pick(_when(cue.time, self.story.seconds))}".strip()
        return clause

    def observe(self, cues: list[TypedCue], modality: str, openers: tuple[str, ...], still: tuple[str, ...]) -> None:
        """A section's observations, two to a sentence, or one of `still`; remembers where each stands."""
        if not cues:
            self.sentence(self.fill(self.pick(openers), c=self.pick(still)))
            return
        clauses = [self.clause(cue, index == 0) for index, cue in enumerate(cues)]
        opener = self.pick(openers)
        joined = opener.format(c=clauses[0])
        for index, clause in enumerate(clauses[1:], 1):
            joined += self.pick(_PAIRS) if index % 2 else _FURTHER[opener.endswith("that {c}")]
            joined += clause
        end = self.sentence(joined)
        for cue, clause in zip(cues, clauses, strict=True):
            start = self.text.lower().index(clause.lower(), end)
            end = start + len(clause)
            self.remember(start, end, modality, time=cue.time, intensity=cue.intensity)

    def deny(self, cues: list[TypedCue], modality: str) -> None:
        """What is not there, each in a sentence of its own."""
        for cue in cues:
            start = self.sentence(denial(cue.type, self.rng, self.pick(self.names), self.held_out))
            self.remember(start, len(self.text) - 1, modality, polarity=-1)

    def infer(self, closers: tuple[str, ...], emotion: str, modality: str) -> None:
        """One sentence on the emotion that a single modality shows, always by its first noun: so that whether face and
        voice agree can be told from the words."""
        start = self.sentence(self.fill(self.pick(closers), n=EMOTION_NOUNS[emotion][0]))
        self.remember(start, len(self.text) - 1, modality, "inference")

    def quote(self) -> None:
        """The subtitle, and what its words by themselves suggest."""
        story = self.story
        self.sentence(self.fill(self.pick(_TEXT_OPENERS), t=story.subtitle))
        start = self.text.rindex(story.subtitle)
        self.remember(start, start + len(story.subtitle), "global", "subtitle")
        options = _WORDS_NEUTRAL if story.words == "neutral" else _WORDS
        self.sentence(self.fill(self.pick(options), n=self.pick(EMOTION_NOUNS[story.words])))

    def conclude(self) -> None:
        """What follows from all of it."""
        story, start = self.story, len(self.text) + 1
        noun, word = self.pick(EMOTION_NOUNS[story.label]), self.pick(EMOTION_WORDS[story.label])
        if story.subset == "consistent":
            whole = story.face and story.voice and story.subtitle
            self.sentence(self.fill(self.pick(_AGREE if whole else _AGREE_LACKING), w=word, n=noun))
        else:
            nouns = {"fn": EMOTION_NOUNS[story.face][0], "vn": EMOTION_NOUNS[story.voice][0]}  # those of `infer`
            self.sentence(self.fill(self.pick(_CONFLICT), **nouns))
            if story.subtitle:
                self.settle(noun, word)
        self.remember(start, len(self.text), "global", "inference")

    def settle(self, noun: str, word: str) -> None:
        """Which of face and voice the words go with."""
        seen = self.story.subset == "video-aligned"
        settled = self.fill(self.pick(_SETTLED), m="face" if seen else "voice", w=word, n=noun)
        if (self.story.voice if seen else self.story.face) == "neutral":
            settled += self.fill(self.pick(_HIDDEN), n=noun, o="voice" if seen else "face")
        self.sentence(settled)


def _when(time: tuple[float, float], seconds: float) -> tuple[str, ...]:
    begin, end = time[0] / seconds, time[1] / seconds
    if begin < 0.25 and end > 0.75:
        return ("throughout", "the whole time", "")
    if end < 0.55:
        return ("at first", "at the beginning", "early on")
    if begin > 0.45:
        return ("later", "near the end", "near the finish")
    return ("midway", "for a time", "for a while")
