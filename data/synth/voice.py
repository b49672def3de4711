# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A voice: eSpeak NG speaks, a linear-prediction vocoder bends it.

Every utterance goes through the vocoder, changed or not, so that its artefacts tell nothing. It tracks pitch and
spectral envelope of what eSpeak says, then excites the envelope anew with pulses at the wanted pitch and noise.
eSpeak is run as a program; nothing of it is linked or shipped.

Settings, each scaled by a cue's intensity: pitch (semitones), range (-1 and below flat to 2 wide), rate (share
faster), effort (-1 quiet to 1 loud: level and spectral tilt over a fixed room noise), pauses, tremor, whisper, breath,
rough, end_pitch (semitones), end_level and swell (dB), crack, stress, and an opening: sigh, gasp, sob or laugh.
"""

import shutil
import subprocess
from dataclasses import dataclass, field

import numpy as np

RATE = 16_000
_HOP, _WINDOW, _ORDER = 80, 400, 18
_ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029", "en-us-nyc", "en-gb-x-gbclan", "en-gb-x-gbcwmd")
_MALE = ("", "+m1", "+m2", "+m3", "+m4", "+m6", "+m7", "+adam", "+david", "+quincy", "+victor", "+travis")
_FEMALE = ("+f1", "+f2", "+f4", "+f5", "+belinda", "+linda", "+shelby", "+steph")


_USUAL = (118.0, 205.0)  # Hz, of men and women who speak as they always do


@dataclass(frozen=True)
class Voice:
    """eSpeak's name of accent and variant, its pitch (0 to 99), words a minute, and how far in semitones the voice
    lies from what is usual: near enough that a high or low pitch is heard without knowing the speaker."""

    name: str
    pitch: int
    speed: int
    semitones: float

    @property
    def hertz(self) -> float:
        """The median pitch of this speaker without any cue."""
        return _USUAL[self.name.endswith(_FEMALE)] * 2 ** (self.semitones / 12)


@dataclass(frozen=True)
class Speech:
    """sound: float32 (L,) at 16 kHz. spans: from and to in seconds, of `speech`, `opening`, `end`, `stress`."""

    sound: np.ndarray
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return len(self.sound) / RATE


def voice_names(male: bool) -> list[str]:
    """All of a sex, accents times variants, in a fixed order."""
    return [accent + variant for variant in (_MALE if male else _FEMALE) for accent in _ACCENTS]


def espeak() -> str:
    """The path of eSpeak NG.

    Raises:
        FileNotFoundError: it is not installed.
    """
    if path := shutil.which("espeak-ng"):
        return path
    raise FileNotFoundError(
        "the program espeak-ng, which speaks the clips, is not installed: apt-get install espeak-ng "
        "(macOS: brew install espeak-ng)"
    )


def espeak_version() -> str:
    """What `espeak-ng --version` says of itself; its sound differs between versions."""
    said = subprocess.run([espeak(), "--version"], capture_output=True, text=True, check=True).stdout
    return said.split("Data")[0].strip().removeprefix("eSpeak NG text-to-speech:").strip()


def speak(text: str, voice: Voice, settings: dict[str, float], seed: int, stressed: int | None = None) -> Speech:
    """Say `text`. The same arguments give the same sound. `stressed` is the index of the word that `stress` is for."""
    rng = np.random.default_rng([seed, 5])
    get = {**dict.fromkeys(_SETTINGS, 0.0), **settings}
    words = text.split()
    pieces = _broken(words, get["pauses"], rng)
    track, spans, position = [], {}, 0.0
    opening = _opening(get, voice, rng)
    silence = np.zeros(int(0.25 * RATE), np.float32)
    track.append(silence)
    position += len(silence)
    if len(opening):
        spans["opening"] = (position, position + len(opening))
        track += [opening, silence[: RATE // 8]]
        position += len(opening) + RATE // 8
    speed = voice.speed * (1 + get["rate"])
    said, first = [], 0
    for number, piece in enumerate(pieces):
        mark = stressed - first if get["stress"] and stressed is not None else None
        said.append(_say(" ".join(piece), voice, speed, mark, get["stress"]))
        first += len(piece)
        if number + 1 < len(pieces):
            said.append(np.zeros(int(RATE * (0.42 + 0.3 * get["pauses"] * rng.random())), np.float32))
    spoken = _vocoded(np.concatenate(said), get, voice.hertz, rng)
    spans["speech"] = (position, position + len(spoken))
    spans["end"] = (position + 0.7 * len(spoken), position + len(spoken))
    if stressed is not None:
        spans["stress"] = (
            position + len(spoken) * max(stressed - 0.3, 0) / len(words),
            position + len(spoken) * min((stressed + 1.3) / len(words), 1),
        )
    sound = np.concatenate([*track, spoken, silence])
    sound = sound + 10 ** (-56 / 20) * rng.standard_normal(len(sound))  # the room, against which loudness is heard
    seconds = {name: (a / RATE, b / RATE) for name, (a, b) in spans.items()}
    return Speech(np.clip(sound, -1, 1).astype(np.float32), seconds)


_SETTINGS = (
    "pitch", "range", "rate", "effort", "pauses", "tremor", "whisper", "breath", "rough", "end_pitch", "end_level",
    "swell", "crack", "stress", "sigh", "gasp", "sob", "laugh",
)  # fmt: skip


def _broken(words: list[str], pauses: float, rng: np.random.Generator) -> list[list[str]]:
    """The words, cut where the speaker pauses."""
    if not pauses or len(words) < 3:
        return [words]
    number = min(2 + (pauses > 0.6), len(words) - 1)
    cuts = sorted(rng.choice(np.arange(1, len(words)), size=number, replace=False).tolist())
    return [words[a:b] for a, b in zip([0, *cuts], [*cuts, len(words)], strict=True)]


def _say(text: str, voice: Voice, speed: float, stressed: int | None, stress: float) -> np.ndarray:
    """eSpeak's own sound at 16 kHz, without the silence around it."""
    words = text.replace("&", "and").replace("<", "").split()
    if stressed is not None and 0 <= stressed < len(words):
        changes = f'pitch="+{80 * stress:.0f}%" volume="+{130 * stress:.0f}%" rate="{100 - 50 * stress:.0f}%"'
        words[stressed] = f"<prosody {changes}>{words[stressed]}</prosody>"
    command = [
        espeak(),
        "--stdin",
        "--stdout",
        "-m",
        "-z",
        "-v",
        voice.name,
        "-p",
        str(voice.pitch),
        "-s",
        str(round(speed)),
    ]
    done = subprocess.run(command, input=f"<speak>{' '.join(words)}</speak>".encode(), capture_output=True)
    if done.returncode or len(done.stdout) < 1000:
        raise OSError(
            f"espeak-ng could not speak {text!r} as {voice.name}: {done.stderr.decode(errors='replace').strip()}"
        )
    rate = int.from_bytes(done.stdout[24:28], "little")
    sound = np.frombuffer(done.stdout[44 : 44 + (len(done.stdout) - 44) // 2 * 2], "<i2").astype(np.float32) / 32768
    loud_enough = np.flatnonzero(np.abs(sound) > 0.004)
    return resampled(sound[loud_enough[0] : loud_enough[-1] + 1], rate)


def resampled(sound: np.ndarray, rate: int) -> np.ndarray:
    """At 16 kHz, by the Fourier transform."""
    length = int(len(sound) * RATE / rate)
    spectrum = np.fft.rfft(sound)
    bins = length // 2 + 1
    fitted = np.zeros(bins, complex)
    fitted[: min(bins, len(spectrum))] = spectrum[:bins]
    return (np.fft.irfft(fitted, length) * length / len(sound)).astype(np.float32)


def frames_of(sound: np.ndarray, window: int = _WINDOW, hop: int = _HOP) -> np.ndarray:
    """(N, window), one frame every `hop` samples, the first centred on the first sample."""
    padded = np.pad(sound, (window // 2, window))
    return np.lib.stride_tricks.sliding_window_view(padded, window)[::hop][: len(sound) // hop + 1]


def track_pitch(sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pitch in Hz and strength of voicing (0 to 1) every 5 ms, by autocorrelation."""
    window = 640
    frames = frames_of(sound, window) * np.hanning(window)
    spectrum = np.fft.rfft(frames, 2 * window)
    shape = np.fft.irfft(np.abs(np.fft.rfft(np.hanning(window), 2 * window)) ** 2)[:window]
    correlation = np.fft.irfft(np.abs(spectrum) ** 2)[:, :window]
    energy = correlation[:, 0] / window
    correlation = correlation / np.maximum(correlation[:, :1], 1e-9) / np.maximum(shape / shape[0], 0.05)
    low, high = RATE // 420, RATE // 62
    lags = np.arange(low, high)
    candidates = correlation[:, low:high] - 0.0006 * lags  # between octaves the shorter period
    strength = candidates.max(1)
    pitch = RATE / lags[candidates.argmax(1)]
    voiced = (strength > 0.45) & (energy > 1e-5)
    if voiced.any():  # a second look, near the middle, against octave errors
        middle = float(np.median(pitch[voiced]))
        near = (lags > RATE / (1.75 * middle)) & (lags < RATE / (0.6 * middle))
        best = np.where(near, candidates, -1).argmax(1)
        pitch = RATE / lags[best]
    return pitch, np.where(voiced, np.clip(strength, 0, 1), 0.0)


def _predictors(frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Linear prediction (Levinson, Durbin) of all frames at once: (N, order + 1) and the residual's power (N,)."""
    power = np.abs(np.fft.rfft(frames * np.hamming(frames.shape[1]), 1024)) ** 2
    auto = np.fft.irfft(power)[:, : _ORDER + 1] / frames.shape[1]
    auto[:, 0] = auto[:, 0] * 1.0005 + 1e-9
    a = np.zeros((len(frames), _ORDER + 1))
    a[:, 0] = 1
    error = auto[:, 0].copy()
    for order in range(1, _ORDER + 1):
        reflection = -np.einsum("nk,nk->n", a[:, :order], auto[:, order:0:-1]) / error
        a[:, 1 : order + 1] += reflection[:, None] * a[:, order - 1 :: -1][:, :order]
        error = error * (1 - reflection**2)
    return a, error


def _vocoded(sound: np.ndarray, get: dict[str, float], usual: float, rng: np.random.Generator) -> np.ndarray:
    """The same words with another excitation: pitch, roughness, breath and level as wanted."""
    a, power = _predictors(frames_of(sound))
    pitch, voicing = track_pitch(sound)
    count = len(pitch)
    voiced = voicing > 0
    steps = np.arange(count)
    middle = float(np.median(pitch[voiced])) if voiced.any() else 120.0
    pitch = np.interp(steps, steps[voiced], pitch[voiced]) if voiced.any() else np.full(count, middle)
    pitch = np.convolve(np.pad(pitch, 4, mode="edge"), np.ones(9) / 9, "valid")
    seconds, share = steps * _HOP / RATE, steps / max(count - 1, 1)
    tone = 12 * np.log2(pitch / middle) * (1 + max(get["range"], -1))
    tone += get["range"] * 2.4 * np.sin(2 * np.pi * 0.9 * seconds) if get["range"] > 0 else 0
    tone += get["pitch"] + get["end_pitch"] * np.clip((share - 0.62) / 0.33, 0, 1)
    level = get["swell"] * (share - 0.5) + get["end_level"] * np.clip((share - 0.6) / 0.4, 0, 1)
    level = level + 8 * max(get["effort"], 0) + 13 * min(get["effort"], 0) - 9 * get["whisper"]
    shaking = np.sin(2 * np.pi * 6.2 * seconds + 0.7 * np.sin(2 * np.pi * 1.7 * seconds))
    tone += 1.5 * get["tremor"] * shaking
    level = level + 5.0 * get["tremor"] * shaking
    voicing = np.where(voiced, np.clip(1.1 * voicing, 0, 1), 0) * (1 - get["whisper"]) * (1 - 0.72 * get["breath"])
    if get["crack"]:
        for centre in (0.3, 0.55, 0.82):
            near = np.abs(share - centre - 0.06 * rng.random()) < 0.035
            tone = np.where(near, tone + 9 * get["crack"], tone)
            after = np.abs(share - centre - 0.08) < 0.018
            voicing, level = np.where(after, 0.1, voicing), np.where(after, level - 14 * get["crack"], level)
    excitation = _excitation(usual * 2 ** (tone / 12), voicing, get["rough"], len(sound), rng)
    gain = np.sqrt(power) * 10 ** (level / 20)
    return _filtered(excitation, a, gain, get["effort"], get["breath"] + get["whisper"], len(sound))


def _excitation(
    pitch: np.ndarray, voicing: np.ndarray, rough: float, length: int, rng: np.random.Generator
) -> np.ndarray:
    """Pulses and noise of unit power."""
    place = np.arange(length) / _HOP
    f0 = np.interp(place, np.arange(len(pitch)), pitch)
    share = np.interp(place, np.arange(len(pitch)), voicing)
    phase = np.cumsum(f0 / RATE)
    if rough:
        phase = phase + 0.11 * rough * np.interp(
            phase, np.arange(int(phase[-1]) + 2), rng.uniform(-1, 1, int(phase[-1]) + 2)
        )
    beat = np.flatnonzero(np.diff(np.floor(phase)) > 0) + 1
    pulses = np.zeros(length)
    pulses[beat] = np.sqrt(RATE / f0[beat])
    if rough:
        pulses[beat[::2]] *= 1 - 0.75 * rough
        pulses[beat] *= 1 + 0.35 * rough * rng.uniform(-1, 1, len(beat))
    noise = rng.standard_normal(length)
    return np.sqrt(share) * pulses + np.sqrt(np.clip(1 - share + 0.25 * rough * share, 0, 1)) * noise * 0.8


def _filtered(
    excitation: np.ndarray, a: np.ndarray, gain: np.ndarray, effort: float, air: float, length: int
) -> np.ndarray:
    """Excitation (L,) through the envelope of each frame, overlapped and added; effort tilts the spectrum."""
    size = 1024
    window = np.hanning(2 * _HOP + 1)[:-1]
    padded = np.pad(excitation, (_HOP, 3 * _HOP))
    pieces = np.lib.stride_tricks.sliding_window_view(padded, 2 * _HOP)[::_HOP][: len(a)] * window
    hertz = np.fft.rfftfreq(size, 1 / RATE)
    tilt = 10 ** ((3.5 * effort + 1.5 * air) * np.log2(np.maximum(hertz, 300) / 900) / 20)
    spectrum = np.fft.rfft(pieces, size) * gain[: len(pieces), None] * tilt / np.fft.rfft(a[: len(pieces)], size)
    sound = np.zeros(len(padded) + size)
    for index, piece in enumerate(np.fft.irfft(spectrum)):
        sound[index * _HOP : index * _HOP + size] += piece
    return 0.9 * sound[_HOP : _HOP + length]


def _breath_noise(seconds: float, low: float, high: float, rise: float, rng: np.random.Generator) -> np.ndarray:
    """A breath: noise about a centre that moves from `low` to `high` Hz; its loudest moment at the share `rise`."""
    length = int(seconds * RATE)
    noise = rng.standard_normal(length)
    hertz = np.fft.rfftfreq(length, 1 / RATE)
    parts = []
    for centre in (low, high):
        shape = 1 / (1 + ((hertz - centre) / (0.45 * centre)) ** 2)
        part = np.fft.irfft(np.fft.rfft(noise) * shape, length)
        parts.append(part / part.std())
    share = np.linspace(0, 1, length)
    envelope = np.where(share < rise, share / rise, (1 - share) / (1 - rise)) ** 1.2
    return (envelope * ((1 - share) * parts[0] + share * parts[1])).astype(np.float32)


def _opening(get: dict[str, float], voice: Voice, rng: np.random.Generator) -> np.ndarray:
    """What is heard before the words; empty where there is nothing."""
    gap = np.zeros(RATE // 9, np.float32)
    if strength := get["sigh"]:
        return 0.07 * strength * _breath_noise(0.95, 1500, 700, 0.2, rng)
    if strength := get["gasp"]:
        return 0.10 * strength * _breath_noise(0.38, 1400, 2600, 0.75, rng)
    if strength := get["sob"]:
        parts: list[np.ndarray] = []
        for _ in range(3):
            cry = _vocoded(
                _say("huh", voice, 190, None, 0),
                {**dict.fromkeys(_SETTINGS, 0.0), "pitch": 6, "tremor": 1},
                voice.hertz,
                rng,
            )
            parts += [0.06 * strength * _breath_noise(0.2, 1600, 2400, 0.8, rng), 0.8 * strength * cry, gap]
        return np.concatenate(parts)
    if strength := get["laugh"]:
        syllable = _say("ha", voice, 240, None, 0)
        parts = []
        for number in range(5):
            settings = {**dict.fromkeys(_SETTINGS, 0.0), "pitch": 6.0 - 1.6 * number, "breath": 0.35}
            parts += [
                strength * (1 - 0.1 * number) * _vocoded(syllable, settings, voice.hertz, rng),
                gap[: RATE // 16],
            ]
        return np.concatenate(parts)
    return np.zeros(0, np.float32)
