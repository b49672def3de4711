# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Decoding and resampling sound, from files made by `media_factory` and from arrays."""

import wave
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from media_factory import pattern, read_index, tone, write_media

from xemogpt import media_xemogpt as media
from xemogpt.inputs_xemogpt import MediaError, sample_indices
from xemogpt.media_xemogpt import load_audio, load_video, probe, resample


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sound")


def peak(wave: np.ndarray) -> float:
    return float(np.abs(wave[1000:-1000]).max())  # away from the ends, where filters and codecs ring


def hertz(wave: np.ndarray, rate: int) -> float:
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))


@pytest.mark.parametrize("suffix", ["wav", "flac", "m4a"])
@pytest.mark.parametrize(
    ("layout", "channels"), [("mono", 1), ("stereo", 2), ("2.1", 3), ("5.0", 5), ("5.1", 6), ("7.1", 8)]
)
def test_any_layout_becomes_mono_without_clipping_or_vanishing(folder, suffix, layout, channels):
    path = folder / f"{layout}.{suffix}"
    write_media(path, audio=2 * tone(1, 44100, channels), audio_rate=44100, layout=layout)
    wave = load_audio(path)
    assert (wave.dtype, wave.ndim) == (np.float32, 1)
    assert len(wave) == pytest.approx(16000, abs=0 if suffix != "m4a" else 1024)  # AAC pads its last packet
    assert peak(wave) == pytest.approx(1.0, abs=0.01 if suffix != "m4a" else 0.15)
    assert hertz(wave, 16000) == pytest.approx(440, abs=1)


def test_speech_in_the_centre_of_5_1_is_kept(folder):
    audio = np.zeros((6, 44100), np.float32)
    audio[2] = tone(1, 44100)
    path = write_media(folder / "centre.wav", audio=audio, audio_rate=44100, layout="5.1")
    assert peak(load_audio(path)) == pytest.approx(0.5 * 0.293, abs=0.002)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000, 96000])
def test_file_and_array_agree(folder, rate):
    pcm = np.round(np.stack([tone(0.5, rate)[0], tone(0.5, rate, hertz=200)[0]]) * 32767).astype(np.int16)
    path = folder / f"{rate}.wav"
    write_media(path, audio=pcm.astype(np.float32) / 32768, audio_rate=rate, layout="stereo")
    wave = load_audio(path)
    assert len(wave) == 8000
    np.testing.assert_allclose(resample(pcm, rate, 16000), wave, atol=1e-6)
    np.testing.assert_allclose(resample(torch.from_numpy(pcm.T.copy()), rate, 16000), wave, atol=1e-6)


def test_other_output_rates(folder):
    path = write_media(folder / "to_24k.wav", audio=tone(1, 44100), audio_rate=44100)
    assert hertz(load_audio(path, 24000), 24000) == pytest.approx(440, abs=1)
    with pytest.raises(ValueError, match="sampling_rate must be"):
        load_audio(path, 0)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a", "webm"])
def test_max_seconds_gives_the_beginning_and_stops_there(folder, suffix, monkeypatch):
    path = write_media(folder / f"long.{suffix}", audio=tone(20, 48000), audio_rate=48000)
    whole, decoded = load_audio(path), []
    add = media._Mono.add
    monkeypatch.setattr(media._Mono, "add", lambda self, frame: decoded.append(frame.samples) or add(self, frame))
    wave = load_audio(path, max_seconds=1.5)
    assert wave.shape == (24000,)
    np.testing.assert_array_equal(wave, whole[:24000])
    assert 1.5 <= sum(decoded) / 48000 < 2
    assert len(load_audio(path, max_seconds=100)) == len(whole)
    for bad in (0, -1, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="max_seconds"):
            load_audio(path, max_seconds=bad)


@pytest.mark.parametrize("suffix", ["wav", "mp3", "m4a"])
def test_a_hundredth_of_a_second(folder, suffix):
    wave = load_audio(write_media(folder / f"short.{suffix}", audio=tone(0.01, 44100), audio_rate=44100))
    assert 160 <= len(wave) <= 1100
    assert peak(np.pad(wave[:160], 1000)) == pytest.approx(0.5, abs=0.1)


def test_silence(folder):
    wave = load_audio(write_media(folder / "silence.mp3", audio=np.zeros((1, 16000), np.float32)))
    assert len(wave) == 16000
    assert not wave.any()


def test_sound_of_a_video(folder):
    path = write_media(folder / "with_sound.mkv", pattern(50), audio=tone(2, 44100), audio_rate=44100)
    assert hertz(load_audio(path), 16000) == pytest.approx(440, abs=1)
    assert read_index(load_video(path).frames) == sample_indices(50, 16).tolist()


@pytest.mark.parametrize("name", ["sound.wav", "sound.mp3", "sound.flac", "cover.mp3"])
def test_sound_files_have_no_video(folder, name):
    cover = pattern(1, 64, 64)[0] if name.startswith("cover") else None
    path = write_media(folder / name, audio=tone(1), cover=cover)
    if cover is not None:
        with av.open(str(path)) as container:
            assert len(container.streams.video) == 1
    info = probe(path)
    assert (info.has_video, info.has_audio, info.frame_rate) == (False, True, None)
    with pytest.raises(MediaError, match=f"{name}: has no video stream"):
        load_video(path)
    assert len(load_audio(path)) == 16000


def _wav(path: Path, channels: int, samples: int) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(np.full((samples, channels), 8192, "<i2").tobytes())
    return path


def test_wav_without_a_sample(folder):
    with pytest.raises(MediaError, match=r"none\.wav: not one sample"):
        load_audio(_wav(folder / "none.wav", 1, 0))


@pytest.mark.parametrize("channels", [3, 4, 7, 12])
def test_channels_without_a_layout(folder, channels):
    wave = load_audio(_wav(folder / f"plain{channels}.wav", channels, 8000))
    assert wave[8000] == pytest.approx(0.25, abs=1e-3)


def test_channels_that_cannot_be_mixed(folder):
    with pytest.raises(MediaError, match=r"plain9\.wav: its audio cannot be mixed"):
        load_audio(_wav(folder / "plain9.wav", 9, 8000))


def test_sound_that_is_no_number(folder):
    audio = tone(1)
    audio[0, 5000] = np.nan
    with pytest.raises(MediaError, match=r"nan\.wav: its audio holds NaN"):
        load_audio(write_media(folder / "nan.wav", audio=audio, audio_codec="pcm_f32le"))


def test_sound_whose_format_changes_in_mid_stream():
    mono = media._Mono(16000)
    for rate, layout, channels in ((16000, "mono", 1), (44100, "stereo", 2), (8000, "mono", 1), (16000, "mono", 1)):
        piece = np.full((1, rate * channels), 0.25, np.float32)
        frame = av.AudioFrame.from_ndarray(piece, "flt", layout)
        frame.sample_rate = rate
        mono.add(frame)
    wave = mono.result()
    assert len(wave) == 4 * 16000
    np.testing.assert_allclose(wave[8000::16000], 0.25, atol=1e-3)


@pytest.mark.parametrize(
    ("array", "scale"),
    [
        (tone(0.1)[0], 1),
        (tone(0.1)[0].astype(np.float64), 1),
        (tone(0.1, channels=2), 1),
        (tone(0.1, channels=3).T, 1),
        ((tone(0.1)[0] * 32768).astype(np.int16), 1),
        ((tone(0.1)[0] * 2.0**31).astype(np.int32), 1),
        (torch.from_numpy(tone(0.1)), 1),
        (torch.from_numpy(tone(0.1)[0]).to(torch.bfloat16).requires_grad_(), 1),
        (tone(0.1)[0] * 40, 40),
        (tone(0.1)[0].tolist(), 1),
    ],
)
def test_arrays_at_the_right_rate_are_only_made_mono(array, scale):
    wave = resample(array, 16000, 16000)
    assert (wave.dtype, wave.shape) == (np.float32, (1600,))
    np.testing.assert_allclose(wave, scale * tone(0.1)[0], atol=2e-3 if "bfloat16" in str(array) else 4e-5)


def test_long_arrays_are_resampled_without_seams():
    wave = tone(50, 44100)[0]  # more than the two million samples that go in at once
    out = resample(wave, 44100, 16000)
    assert len(out) == 800000
    np.testing.assert_allclose(out[1000:-1000], tone(50)[0][1000:-1000], atol=2e-3)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        ([], "is no sound"),
        (np.zeros((2, 0), np.float32), "is no sound"),
        (np.zeros((2, 2, 2), np.float32), "is no sound"),
        (np.float32(0), "is no sound"),
        (np.array([0, np.nan]), "NaN or infinite"),
        (np.array([0, -np.inf]), "NaN or infinite"),
        (np.array([0, 1e39]), "NaN or infinite"),
        (np.zeros(5, bool), "no known scale"),
        (np.zeros(5, np.int64), "no known scale"),
        (np.zeros(5, np.uint8), "no known scale"),
        (np.zeros(5, complex), "no known scale"),
        (np.array(["a"]), "no known scale"),
        (np.zeros(1, np.float32), "too short"),
    ],
)
def test_bad_arrays_of_sound(array, message):
    with pytest.raises(ValueError, match=message):
        resample(array, 44100, 16000)


@pytest.mark.parametrize("rate", [0, -16000, 999, 768001, 16000.5, float("nan"), float("inf"), "16000", None, True])
def test_bad_rates(rate):
    for rates in ((rate, 16000), (16000, rate)):
        with pytest.raises(ValueError, match="whole number of Hz from 1000 to 768000"):
            resample(np.zeros(100, np.float32), *rates)


def test_good_rates():
    for rate in (1000, 768000, 8000.0, np.int64(8000), np.float32(44100)):
        assert len(resample(np.zeros(8000, np.float32), rate, 16000)) == pytest.approx(8000 * 16000 / rate, abs=1)


def test_the_real_clip(shared):
    wave, reference = (load_audio(shared / "real" / f"sample_00000007.{suffix}") for suffix in ("mp4", "wav"))
    assert len(wave) == pytest.approx(len(reference), abs=1600)
    size = min(len(wave), len(reference))
    assert np.corrcoef(wave[:size], reference[:size])[0, 1] > 0.99
