# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which clip is which: everything about clip `index` of a corpus follows from the corpus's seed and that index.

Of each twenty clips, in a fixed order, fourteen are for training, one for validation and one for each of five tests.
Every test holds out one thing and draws all else as training does: `test_identity` persons, `test_voice` voices,
`test_phrasing` sentences and phrasings, `test_combination` pairs of cues, `test_conflict` pairs of emotions in face
and voice. What is held out is fixed by hash, the same for every seed.
"""

import re
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from pathlib import Path
from zlib import crc32

import numpy as np

from xemogpt.data.synth.cue_types import AUDIO, EMOTIONS, VISUAL
from xemogpt.data.synth.figure import Person, draw_person
from xemogpt.data.synth.render import Scene
from xemogpt.data.synth.voice import Voice, voice_names

SPLITS = (
    "train", "validation", "test_identity", "test_voice", "test_phrasing", "test_combination", "test_conflict",
)  # fmt: skip
TURNS = (0, 1, 0, 0, 2, 0, 0, 3, 0, 0, 4, 0, 0, 5, 0, 0, 6, 0, 0, 0)  # positions in SPLITS
PERSONS = {"train": 800, "test_identity": 200}
_STRAYS = frozenset(  # cues that no emotion is full of
    cue for cue in (*VISUAL, *AUDIO) if max(weights.get(cue, 0) for weights in EMOTIONS.values()) <= 3
)
_CONFLICTS = 0.25  # share of clips whose face and voice disagree, outside test_conflict
_UNWRITTEN = 0.1  # share of clips without a subtitle, outside test_conflict, where the words decide
_ABSENT = 0.1  # share of training clips without anybody in the picture, or without a voice, where these would agree


@dataclass(frozen=True)
class Shown:
    """A cue that the clip has. onset, apex until, offset: shares of the clip; side: 1 or -1, which way it goes."""

    type: str
    intensity: float
    span: tuple[float, float] = (0.0, 1.0)
    side: int = 1


@dataclass(frozen=True)
class Plan:
    """All choices of one clip, before anything is rendered.

    `face_emotion` is empty where nobody is in the picture, and `voice_emotion` where nobody speaks.
    """

    id: str
    index: int
    split: str
    seed: int
    person_key: str
    person: Person
    scene: Scene
    voice: Voice
    face_emotion: str
    voice_emotion: str
    words_emotion: str
    label: str
    sentence: str
    visual: tuple[Shown, ...]
    audio: tuple[Shown, ...]
    denied: tuple[str, ...]
    compression: float  # 0 fine to 1 coarse
    noise: float  # of the camera, in levels of 255
    subtitled: bool  # whether the sentence is to be read, too

    @property
    def held_out_words(self) -> bool:
        return self.split == "test_phrasing"


def split_of(index: int) -> str:
    """The split that clip `index` belongs to."""
    return SPLITS[TURNS[index % len(TURNS)]]


def is_held_out(kind: str, name: str) -> bool:
    """Whether a pair of cues (`pair`), of emotions (`emotions`) or a voice (`voice`) is kept from training."""
    return crc32(f"{kind}:{name}".encode()) % 100 < {"pair": 9, "emotions": 30, "voice": 20}[kind]


def held_out_pairs(cues: list[str]) -> list[tuple[str, str]]:
    """Pairs of these cue types that training never shows together."""
    return [pair for pair in combinations(sorted(cues), 2) if is_held_out("pair", "+".join(pair))]


def draw_plan(seed: int, index: int) -> Plan:
    """The plan of clip `index` under `seed`."""
    split, rng = split_of(index), np.random.default_rng([seed, index])
    pool = "test_identity" if split == "test_identity" else "train"
    number = int(rng.integers(PERSONS[pool]))
    person = draw_person(np.random.default_rng([seed, 11, SPLITS.index(pool), number]))
    face, voice, words, label = draw_emotions(split, index, rng)
    names = [name for name in voice_names(person.is_male) if is_held_out("voice", name) == (split == "test_voice")]
    visual, audio = draw_cues(face, voice, split, rng)
    lacking = draw_lacking(split, face == voice, np.random.default_rng([seed, index, 8]))
    taken = {region for cue in visual for region in VISUAL[cue].regions.split()}
    aspects = {aspect for cue in audio for aspect in AUDIO[cue].aspects.split()}
    denied = []
    if rng.random() < 0.3:
        free = [cue for cue, kind in VISUAL.items() if not taken & set(kind.regions.split())]
        denied += [str(rng.choice(free))] if free else []
    if rng.random() < 0.2:
        free = [cue for cue, kind in AUDIO.items() if not aspects & set(kind.aspects.split())]
        denied += [str(rng.choice(free))] if free else []
    if "face" in lacking:
        face, visual, denied = "", [], [cue for cue in denied if cue in AUDIO]
    if "voice" in lacking:
        voice, audio, denied = "", [], [cue for cue in denied if cue in VISUAL]
    light = (rng.uniform(-55, 55), rng.uniform(5, 50), rng.normal(0, 0.8), rng.uniform(0.3, 0.48))
    name, pitch, speed = str(rng.choice(names)), int(rng.integers(42, 60)), int(rng.integers(155, 190))
    return Plan(
        id=f"synth_{seed}_{index:08d}",
        index=index,
        split=split,
        seed=seed,
        person_key=f"{pool}-{number:04d}",
        person=person,
        scene=Scene(
            azimuth=float(np.clip(rng.normal(0, 7), -16, 16)),
            elevation=float(np.clip(rng.normal(1, 3), -6, 8)),
            zoom=float(rng.uniform(0.92, 1.1)),
            light=(float(light[0]), float(light[1]), float(light[2]), float(light[3])),
            background=int(rng.integers(2**31)),
        ),
        voice=Voice(name, pitch, speed, float(rng.uniform(-1.2, 1.2))),
        face_emotion=face,
        voice_emotion=voice,
        words_emotion=words,
        label=label,
        sentence=_sentence(words, split == "test_phrasing", rng),
        visual=tuple(_shown(cue, rng) for cue in visual),
        audio=tuple(Shown(cue, float(rng.uniform(0.6, 1.0))) for cue in audio),
        denied=tuple(denied),
        compression=float(rng.random()),
        noise=float(rng.uniform(0, 4)),
        subtitled="subtitle" not in lacking,
    )


def draw_emotions(split: str, index: int, rng: np.random.Generator) -> tuple[str, str, str, str]:
    """Of face, voice and words, and the label: what two of the three agree on; in a conflict the words decide."""
    names = list(EMOTIONS)
    third = index // len(TURNS) % 3
    if third < 2 if split == "test_conflict" else rng.random() < _CONFLICTS:
        wanted = split == "test_conflict"
        pairs = [(a, b) for a in names for b in names if a != b and is_held_out("emotions", f"{a}+{b}") == wanted]
        side = third if wanted else int(rng.integers(2))
        pairs = [pair for pair in pairs if pair[side] != "neutral"]
        face, voice = pairs[int(rng.integers(len(pairs)))]
        label = (face, voice)[side]
        return face, voice, label, label
    label = names[int(rng.integers(len(names)))]
    drawn = rng.random()
    other = names[int(rng.integers(len(names)))]
    words = label if drawn < 0.5 else "neutral" if drawn < 0.85 else other
    return label, label, words, label


def draw_lacking(split: str, agree: bool, rng: np.random.Generator) -> set[str]:
    """What a clip does not have, of `face`, `voice` and `subtitle`; silence has none."""
    lacking = set[str]()
    if rng.random() < _UNWRITTEN and split != "test_conflict":
        lacking.add("subtitle")
    if rng.random() < _ABSENT and agree and split in ("train", "validation"):
        lacking |= {"face"} if rng.random() < 0.5 else {"voice", "subtitle"}
    return lacking


def draw_cues(face: str, voice: str, split: str, rng: np.random.Generator) -> tuple[list[str], list[str]]:
    """Cues of the face and of the voice; with a held-out pair among them in `test_combination`, without elsewhere."""
    while True:
        visual = _choose(VISUAL, {k: v.regions for k, v in VISUAL.items()}, face, (2, 5), rng)
        audio = _choose(AUDIO, {k: v.aspects for k, v in AUDIO.items()}, voice, (2, 5), rng)
        if bool(held_out_pairs([*visual, *audio])) == (split == "test_combination"):
            return visual, audio


def _choose(
    table: dict, needs: dict[str, str], emotion: str, number: tuple[int, int], rng: np.random.Generator
) -> list[str]:
    """Cues that fit the emotion, now and then one that does not; no two that need the same part."""
    weights = {cue: weight for cue, weight in EMOTIONS[emotion].items() if cue in table}
    wanted, chosen, taken = int(rng.integers(*number)), list[str](), set[str]()
    if emotion == "neutral":
        wanted = int(rng.integers(3))
    while len(chosen) < wanted:
        stray = len(chosen) >= 1 and rng.random() < 0.12
        options = {cue: 1.0 for cue in table if cue in _STRAYS} if stray else weights
        free = [cue for cue in options if not taken & set(needs[cue].split())]
        if not free:
            break
        share = np.array([options[cue] for cue in free])
        cue = free[int(rng.choice(len(free), p=share / share.sum()))]
        chosen.append(cue)
        taken |= set(needs[cue].split())
    return chosen


def _shown(cue: str, rng: np.random.Generator) -> Shown:
    length = float(rng.uniform(0.45, 0.9))
    start = float(rng.uniform(0.0, 1 - length))
    intensity = float(rng.uniform(0.5, 1.0))
    if VISUAL[cue].wave:
        intensity = max(intensity, 0.7)
    return Shown(cue, round(intensity, 3), (start, start + length), 1 if rng.random() < 0.5 else -1)


@cache
def _sentences() -> dict[str, tuple[list[str], list[str]]]:
    """Training and held-out templates by emotion, from `sentences.txt`."""
    found: dict[str, tuple[list[str], list[str]]] = {}
    for line in Path(__file__).with_name("sentences.txt").read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            lists = found.setdefault(line.strip("[]"), ([], []))
        elif line[:1] in ("+", "~"):
            lists[line[0] == "~"].append(line[2:])
    return found


def _sentence(emotion: str, held_out: bool, rng: np.random.Generator) -> str:
    templates = _sentences()[emotion][held_out]
    text = templates[int(rng.integers(len(templates)))]
    while match := re.search(r"\(([^()]*)\)", text):
        options = match[1].split("|")
        text = text[: match.start()] + options[int(rng.integers(len(options)))] + text[match.end() :]
    return f"{text}."
