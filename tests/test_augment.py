# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Augmentation of voices does to the sound what it says, and the same again from the same draw."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from media_factory import tone, write_media
from tiny_cue_encoder import sentence_tokenizer
from transformers import TrainingArguments, Wav2Vec2FeatureExtractor

from xemogpt.alignment_processing_xemogpt import XEmoGPTAudioCueProcessor
from xemogpt.train import stage2_aecb
from xemogpt.train.augment import Augmentation, add_noise, change_gain, change_speed, reverberate

RATE = 16000


def sine(seconds: float = 1.0, hertz: float = 440.0) -> torch.Tensor:
    return torch.from_numpy(tone(seconds, hertz=hertz)[0])


def pitch(sound: torch.Tensor) -> float:
    """The strongest frequency, in Hz."""
    return float(torch.fft.rfft(sound).abs()[1:].argmax() + 1) * RATE / len(sound)


def power(sound: torch.Tensor) -> float:
    return float(sound.square().mean())


@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_speed_changes_length_and_pitch(factor: float) -> None:
    fast = change_speed(sine(), factor, RATE)
    assert len(fast) == pytest.approx(RATE / factor, abs=50)
    assert pitch(fast) == pytest.approx(440 * factor, rel=0.01)


def test_gain_is_in_decibels() -> None:
    assert power(change_gain(sine(), 6)) / power(sine()) == pytest.approx(10**0.6, rel=1e-4)


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_has_the_power_that_is_asked_for(snr: float) -> None:
    noise = add_noise(sine(), snr, torch.Generator().manual_seed(0)) - sine()
    assert 10 * math.log10(power(sine()) / power(noise)) == pytest.approx(snr, abs=0.2)
    assert torch.equal(add_noise(torch.zeros(99), snr, torch.Generator()), torch.zeros(99))


def test_reverberation_leaves_an_echo_that_decays_and_keeps_the_power() -> None:
    click = torch.zeros(RATE)
    click[100] = 1.0
    wet = reverberate(click, 0.4, RATE, torch.Generator().manual_seed(0))
    assert wet.shape == click.shape
    assert int(wet.abs().argmax()) == 100
    assert wet[:100].abs().max() < 1e-5
    early, late = (power(wet[start : start + 800]) for start in (200, 3400))  # 0.2 s apart: 30 dB
    assert 10 * math.log10(early / late) == pytest.approx(30, abs=3)
    voice = sine()
    assert power(reverberate(voice, 0.4, RATE, torch.Generator().manual_seed(0))) == pytest.approx(power(voice))
    silence = torch.zeros(500)
    assert torch.equal(reverberate(silence, 0.4, RATE, torch.Generator()), silence)


def test_the_same_draw_gives_the_same_sound_and_another_epoch_another(tmp_path: Path) -> None:
    clip = write_media(tmp_path / "clip.wav", audio=tone(0.5))
    processor = XEmoGPTAudioCueProcessor(Wav2Vec2FeatureExtractor(), sentence_tokenizer(), max_audio_seconds=0.45)
    augmentation = Augmentation(0.1, 6, 10, 0.3, share=0.8, seed=3)
    first, again, later, other = (
        augmentation.read(processor, clip, row, epoch) for row, epoch in ((4, 0), (4, 0), (4, 1), (5, 0))
    )
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert len(first) <= 0.45 * RATE
    assert not np.array_equal(first[:4000], later[:4000])
    assert not np.array_equal(first[:4000], other[:4000])


def test_each_change_is_applied_as_often_as_its_share() -> None:
    augmentation = Augmentation(gain_db=6, share=0.25)
    sounds = [augmentation(sine(0.01).numpy(), RATE, torch.Generator().manual_seed(seed)) for seed in range(400)]
    changed = sum(not np.array_equal(sound, sine(0.01).numpy()) for sound in sounds)
    assert changed == pytest.approx(100, abs=30)
    assert not Augmentation().active
    assert not Augmentation(speed=0.1, share=0).active
    assert Augmentation(noise_db=0.0).active


def test_settings_that_cannot_be_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="speed must be at least 0 and below 1, not 1.5"):
        Augmentation(speed=1.5)
    with pytest.raises(ValueError, match="augment_share within"):
        Augmentation(gain_db=1, share=2)
    arguments = stage2_aecb.Arguments(cache="somewhere", gain_db=3.0)
    training = TrainingArguments(str(tmp_path), use_cpu=True, report_to="none")
    with pytest.raises(ValueError, match="a cache holds each clip as it is"):
        stage2_aecb.main(arguments, training)
