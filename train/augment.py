# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Changes a voice in ways that leave its emotion: speed, loudness, noise, reverberation (for stage 2).

Everything runs on torch and the resampler that reads the files: torchaudio, whose builds often break transformers by
lying beside it, is not needed, and a run gives the same samples wherever it runs.
"""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from xemogpt.media_xemogpt import resample


def change_speed(waveform: torch.Tensor, factor: float, rate: int) -> torch.Tensor:
    """(L,) -> (about L / factor,), pitch and tempo both times `factor`, as a tape that runs faster."""
    return torch.from_numpy(resample(waveform.numpy(), round(rate * factor), rate))


def change_gain(waveform: torch.Tensor, decibels: float) -> torch.Tensor:
    """Loudness, in dB; samples stay within [-1, 1] only if they are loud enough below it (nothing is clipped)."""
    return waveform * 10 ** (decibels / 20)


def add_noise(waveform: torch.Tensor, snr_db: float, generator: torch.Generator) -> torch.Tensor:
    """White noise whose power is `snr_db` below the voice's. Silence stays silence."""
    noise = torch.randn(waveform.shape, generator=generator)
    power = waveform.square().mean() / 10 ** (snr_db / 10)
    return waveform + noise * power.sqrt()


def reverberate(waveform: torch.Tensor, seconds: float, rate: int, generator: torch.Generator) -> torch.Tensor:
    """A room whose echo falls by 60 dB in `seconds`: the direct sound, then noise that decays; power is kept.

    (L,) -> (L,): the tail beyond the end is cut.
    """
    length = max(2, round(seconds * rate))
    time = torch.arange(length) / rate
    room = torch.randn(length, generator=generator) * 10 ** (-3 * time / seconds)
    room = 0.5 * room / room.norm()  # an echo of a quarter of the direct sound's power
    room[0] = 1.0
    size = len(waveform) + length - 1
    wet = torch.fft.irfft(torch.fft.rfft(waveform, size) * torch.fft.rfft(room, size), size)[: len(waveform)]
    before, after = (signal.square().mean().sqrt() for signal in (waveform, wet))
    return wet * (before / after) if after > 0 else wet


@dataclass
class Augmentation:
    """Draws which changes a clip gets, from the seed, the epoch and the clip alone.

    speed: share of change at most (0.1: from 0.9 to 1.1 times). gain_db: at most this louder or softer. noise_db:
        lowest SNR, drawn up to 20 dB above. reverberation: longest RT60 in seconds. share: how likely each one is.
    """

    speed: float = 0.0
    gain_db: float = 0.0
    noise_db: float | None = None
    reverberation: float = 0.0
    share: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.speed < 1:
            raise ValueError(f"speed must be at least 0 and below 1, not {self.speed}")
        if self.gain_db < 0 or self.reverberation < 0 or not 0 <= self.share <= 1:
            raise ValueError("gain_db and reverberation must be at least 0, augment_share within [0, 1]")

    @property
    def active(self) -> bool:
        """Whether anything is ever changed."""
        given = self.speed or self.gain_db or self.reverberation or self.noise_db is not None
        return bool(given) and self.share > 0

    def __call__(self, waveform: np.ndarray, rate: int, generator: torch.Generator) -> np.ndarray:
        """(L,) float32 at `rate` Hz -> (L',) float32. The same generator state gives the same sound."""

        def draw(low: float, high: float) -> float:
            return low + (high - low) * float(torch.rand((), generator=generator))

        sound = torch.from_numpy(np.array(waveform, dtype=np.float32))
        if self.speed and draw(0, 1) < self.share:
            sound = change_speed(sound, draw(1 - self.speed, 1 + self.speed), rate)
        if self.reverberation and draw(0, 1) < self.share:
            sound = reverberate(sound, draw(0.05, 1) * self.reverberation, rate, generator)
        if self.noise_db is not None and draw(0, 1) < self.share:
            sound = add_noise(sound, draw(self.noise_db, self.noise_db + 20), generator)
        if self.gain_db and draw(0, 1) < self.share:
            sound = change_gain(sound, draw(-self.gain_db, self.gain_db))
        return sound.numpy()

    def read(self, processor: Any, path: str | os.PathLike, index: int, epoch: int) -> np.ndarray:
        """A clip's sound, changed: otherwise in every epoch, and the same again in a resumed run."""
        generator = torch.Generator().manual_seed((self.seed * 1_000_003 + epoch) * 16_777_619 + index)
        sound = self(processor.read(path), processor.sampling_rate, generator)
        return sound[: int(processor.max_audio_seconds * processor.sampling_rate)]
