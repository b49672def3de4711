# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""From a plan to a clip: sound, motion, frames, and what is to be said about them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from xemogpt.data.sample import Cue
from xemogpt.data.synth.cue_types import AUDIO, VISUAL
from xemogpt.data.synth.figure import Figure
from xemogpt.data.synth.paragraph import Story, TypedCue, compose
from xemogpt.data.synth.plan import Plan, Shown, draw_plan
from xemogpt.data.synth.render import Pose, Stage, as_pose, empty_room
from xemogpt.data.synth.voice import RATE, Speech, speak
from xemogpt.inputs_xemogpt import sample_indices

FPS = 25
_ONSET = 0.28  # seconds from nothing to the apex, and back
_SPEECH_SPANS = {"rising_end": "end", "falling_end": "end", "stressed_word": "stress"}
_QUIET_MOUTH = {"lips_pressed", "lips_pursed", "lip_bitten", "cheeks_puffed"}


@dataclass
class Clip:
    """A clip of the corpus. Its sound is made at once, because all times hang on it; pictures when asked for."""

    plan: Plan
    size: int = 256

    @cached_property
    def speech(self) -> Speech:
        """The whole sound track: lead, opening, words, tail; nothing but the room, as long, where nobody speaks."""
        plan, rng = self.plan, self._rng(1)
        settings: dict[str, float] = {}
        for shown in plan.audio:
            for name, value in AUDIO[shown.type].settings.items():
                settings[name] = value * shown.intensity
        words = len(plan.sentence.split())
        spoken = speak(plan.sentence, plan.voice, settings, int(rng.integers(2**31)), int(rng.integers(1, words)))
        lead, tail = int(rng.uniform(0.1, 0.6) * RATE), int(rng.uniform(0.5, 1.1) * RATE)
        quiet = lead + tail if plan.voice_emotion else lead + len(spoken.sound) + tail
        room = 10 ** (-56 / 20) * self._rng(4).standard_normal(quiet).astype(np.float32)
        if not plan.voice_emotion:
            return Speech(room)
        spans = {name: (a + lead / RATE, b + lead / RATE) for name, (a, b) in spoken.spans.items()}
        return Speech(np.concatenate([room[:lead], spoken.sound, room[lead:]]), spans)

    @property
    def seconds(self) -> float:
        return self.count / FPS

    @property
    def count(self) -> int:
        """Frames of the clip at 25 a second."""
        return int(np.ceil(self.speech.seconds * FPS))

    @cached_property
    def story(self) -> Story:
        """The cues with their times, and the emotions."""
        plan = self.plan
        cues = [
            self._timed(shown, "visual", tuple(part * self.seconds for part in shown.span)) for shown in plan.visual
        ]
        for shown in plan.audio:
            span = _SPEECH_SPANS.get(shown.type, "speech")
            if AUDIO[shown.type].aspects == "opening":
                span = "opening"
            cues.append(self._timed(shown, "audio", self.speech.spans[span]))
        cues += [TypedCue(name, "visual" if name in VISUAL else "audio", -1) for name in plan.denied]
        return Story(
            plan.person.is_male, self.seconds, plan.sentence if plan.subtitled else "", tuple(cues),
            plan.face_emotion, plan.voice_emotion, plan.words_emotion, plan.label,
        )  # fmt: skip

    @cached_property
    def explanation(self) -> tuple[str, tuple[Cue, ...]]:
        """The paragraph and its cues."""
        return compose(self.story, self._rng(3), self.plan.held_out_words)

    def frames(self, indices: np.ndarray | None = None) -> np.ndarray:
        """uint8 (T, size, size, 3): all frames, or those at `indices`; nothing else is rendered."""
        which = np.arange(self.count) if indices is None else np.asarray(indices)
        if self.plan.face_emotion:
            stage = Stage(Figure(self.plan.person), self.plan.scene, self.size)
            motion = Motion(self.plan, self.speech, self.count, self._rng(6))
            try:
                pictures = np.stack([stage.picture(motion.pose(index)) for index in which.tolist()])
            finally:
                stage.close()
        else:
            pictures = np.stack([empty_room(self.plan.scene.background, self.size)] * len(which))
        noisy = pictures.astype(np.int16)
        for picture, index in zip(noisy, which.tolist(), strict=True):
            grain = np.random.default_rng([self.plan.seed, self.plan.index, 7, index]).standard_normal(
                picture.shape[:2]
            )
            picture += np.rint(self.plan.noise * grain).astype(np.int16)[..., None]
        return np.clip(noisy, 0, 255).astype(np.uint8)

    def sampled(self, number: int = 16) -> np.ndarray:
        """The frames that a model samples, uint8 (number, size, size, 3)."""
        return self.frames(sample_indices(self.count, number))

    def _timed(self, shown: Shown, modality: str, time: Any) -> TypedCue:
        begin, end = (round(float(np.clip(moment, 0, self.seconds)), 3) for moment in time)
        return TypedCue(shown.type, modality, 1, round(shown.intensity, 3), (begin, end))

    def _rng(self, purpose: int) -> np.random.Generator:
        return np.random.default_rng([self.plan.seed, self.plan.index, purpose])


def make_clip(seed: int, index: int, size: int = 256) -> Clip:
    """Clip `index` of the corpus with `seed`; frames are `size` pixels square."""
    return Clip(draw_plan(seed, index), size)


class Motion:
    """What the face and head do at each frame: cues with onset, apex and offset; speech; blinks and a little sway."""

    def __init__(self, plan: Plan, speech: Speech, count: int, rng: np.random.Generator):
        self.plan, self.count = plan, count
        speaking = float(bool(plan.voice_emotion))
        self.jaw, self.rounding = (speaking * part for part in _mouth(speech.sound, count))
        self.sway = rng.uniform(0, 2 * np.pi, (6,))
        self.rates = rng.uniform(0.08, 0.35, (6,))
        cues = {shown.type for shown in plan.visual}
        lids = any("lids" in VISUAL[cue].regions for cue in cues)
        gap = rng.uniform(1.6, 3.4)
        first = rng.uniform(0.2, gap)
        self.blinks = [] if lids else np.arange(first, count / FPS, gap).tolist()
        self.still_mouth = bool(cues & _QUIET_MOUTH)

    def pose(self, index: int) -> Pose:
        """At frame `index`."""
        time, total = index / FPS, self.count / FPS
        values: dict[str, float] = {}

        def add(name: str, value: float) -> None:
            values[name] = values.get(name, 0.0) + value

        swing = 0.014 * np.sin(2 * np.pi * self.rates * time + self.sway)
        for name, value in zip(("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch", "lean"), swing, strict=True):
            add(name, float(value) * (3 if name == "lean" else 1))
        loudest = 0.0
        for shown in self.plan.visual:
            cue = VISUAL[shown.type]
            level = shown.intensity * _envelope(time, shown.span[0] * total, shown.span[1] * total)
            if "mouth" in cue.regions:
                loudest = max(loudest, level)
            beat = float(np.sin(2 * np.pi * cue.hertz * (time - shown.span[0] * total)))
            mirrored = cue.mirrored and shown.side < 0
            for name, value in cue.still.items():
                add(*_mirror(name, value * level, mirrored))
            for name, value in cue.wave.items():
                add(name, value * level * beat)
        quiet = 1 - (0.85 if self.still_mouth else 0.35) * loudest
        add("jawOpen", 0.42 * float(self.jaw[index]) * quiet)
        add("mouthFunnel", 0.35 * float(self.jaw[index] * self.rounding[index]) * quiet)
        add("mouthLowerDownLeft", 0.25 * float(self.jaw[index]) * quiet)
        add("mouthLowerDownRight", 0.25 * float(self.jaw[index]) * quiet)
        blink = max((max(0.0, 1 - abs(time - at) / 0.09) for at in self.blinks), default=0.0)
        for side in ("Left", "Right"):
            values[f"eyeBlink{side}"] = float(np.clip(max(values.get(f"eyeBlink{side}", 0.0), blink), 0, 1))
        return as_pose(values)


def _envelope(time: float, begin: float, end: float) -> float:
    """0 outside [begin, end], 1 at the apex, smooth between; onset and offset take a third of a short cue."""
    ramp = min(_ONSET, (end - begin) / 3)
    share = np.clip(min(time - begin, end - time) / ramp, 0, 1)
    return float(share * share * (3 - 2 * share))


def _mirror(name: str, value: float, mirrored: bool) -> tuple[str, float]:
    if not mirrored:
        return name, value
    if name in ("yaw", "roll", "gaze_yaw"):
        return name, -value
    swapped = name.replace("Left", "Right") if "Left" in name else name.replace("Right", "Left")
    return swapped, value


def _mouth(sound: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Opening of the jaw and rounding of the lips (0 to 1) at each frame, from level and low share of the sound."""
    step = RATE // FPS
    padded = np.pad(sound, (step, count * step + 2 * step - len(sound)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * step)[::step][:count] * np.hanning(2 * step)
    power = np.abs(np.fft.rfft(windows)) ** 2
    level = np.sqrt(power.sum(1))
    opening = np.clip((level / max(np.percentile(level, 92), 1e-6) - 0.12) / 0.9, 0, 1)
    hertz = np.fft.rfftfreq(2 * step, 1 / RATE)
    low = power[:, hertz < 700].sum(1) / np.maximum(power.sum(1), 1e-9)
    smooth = np.convolve(np.pad(opening, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    return smooth, np.clip((low - 0.6) / 0.4, 0, 1)
