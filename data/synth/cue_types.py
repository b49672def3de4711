# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The cues of EmoCue-Synth: what moves for each visual one, what is done to the voice for each audio one.

A visual cue drives channels: ARKit's 52 face actions (0 to 1), head `yaw`, `pitch`, `roll` and `gaze_yaw`,
`gaze_pitch` in radians, `lean` toward the camera in decimetres, `flush` (-1 pale to 1 red) and `tear` (0 to 1). Cues
of one clip share no region. An audio cue is a change of the speaker's own voice, see `voice.py`; cues of one clip
share no aspect.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class VisualCue:
    """still: channel values at the apex. wave: amplitudes that swing at `hertz`. mirrored: either side, at random."""

    regions: str
    still: dict[str, float] = field(default_factory=dict)
    wave: dict[str, float] = field(default_factory=dict)
    hertz: float = 0.0
    mirrored: bool = False


@dataclass(frozen=True)
class AudioCue:
    """aspects: what of the voice it takes. settings: see `voice.py`; scaled by the cue's intensity."""

    aspects: str
    settings: dict[str, float]


def _both(**actions: float) -> dict[str, float]:
    return {f"{name}{side}": value for name, value in actions.items() for side in ("Left", "Right")}


VISUAL: dict[str, VisualCue] = {
    # mouth
    "smile": VisualCue("mouth cheek", _both(mouthSmile=0.85, cheekSquint=0.5, mouthDimple=0.3)),
    "grin": VisualCue(
        "mouth cheek jaw",
        _both(mouthSmile=1.0, mouthUpperUp=0.6, mouthLowerDown=0.6, cheekSquint=0.9) | {"jawOpen": 0.24},
    ),
    "smirk": VisualCue("mouth", {"mouthSmileLeft": 1.0, "mouthDimpleLeft": 0.8, "mouthLeft": 0.35}, mirrored=True),
    "mouth_corners_down": VisualCue("mouth", _both(mouthFrown=1.35) | {"mouthShrugLower": 0.45}),
    "lips_pressed": VisualCue(
        "mouth", _both(mouthPress=0.7, mouthFrown=0.35) | {"mouthRollLower": 0.75, "mouthRollUpper": 0.75}
    ),
    "lips_pursed": VisualCue("mouth", {"mouthPucker": 1.0}),
    "lips_stretched": VisualCue("mouth", _both(mouthStretch=1.1, mouthLowerDown=0.7) | {"jawOpen": 0.08}),
    "upper_lip_raised": VisualCue("mouth", _both(mouthUpperUp=1.0)),
    "lip_bitten": VisualCue("mouth", _both(mouthUpperUp=0.7) | {"mouthRollLower": 1.5, "jawOpen": 0.05}),
    "lips_tremble": VisualCue(
        "mouth", _both(mouthFrown=0.45), _both(mouthLowerDown=0.6) | {"mouthShrugLower": 1.0}, 5.3
    ),
    "jaw_dropped": VisualCue("mouth jaw", {"jawOpen": 0.78}),
    "cheeks_puffed": VisualCue("mouth cheek", {"cheekPuff": 1.1, "mouthPucker": 0.25}),
    "nose_wrinkled": VisualCue("nose brow", _both(noseSneer=1.9, cheekSquint=0.8)),  # a sneer moves the brows too
    # brows
    "brows_lowered": VisualCue("brow", _both(browDown=1.9)),
    "inner_brows_raised": VisualCue("brow", {"browInnerUp": 1.8}),
    "brows_raised": VisualCue("brow", {"browInnerUp": 1.5} | _both(browOuterUp=1.7)),
    "one_brow_raised": VisualCue(
        "brow", {"browOuterUpLeft": 2.0, "browInnerUp": 0.4, "browDownRight": 0.9}, mirrored=True
    ),
    # lids and gaze
    "eyes_wide": VisualCue("lids", _both(eyeWide=1.2)),
    "eyes_narrowed": VisualCue("lids cheek", _both(eyeSquint=1.1, cheekSquint=0.6, eyeBlink=0.2)),
    "eyes_closed": VisualCue("lids gaze", _both(eyeBlink=1.0)),
    "eyelids_droop": VisualCue("lids", _both(eyeBlink=0.52)),
    "rapid_blinking": VisualCue("lids", _both(eyeBlink=0.5), _both(eyeBlink=0.5), 3.1),
    "gaze_down": VisualCue("gaze", {"gaze_pitch": 0.50} | _both(eyeLookDown=0.9)),
    "gaze_up": VisualCue("gaze", {"gaze_pitch": -0.48} | _both(eyeLookUp=0.9)),
    "gaze_aside": VisualCue("gaze", {"gaze_yaw": 0.62, "eyeLookOutLeft": 0.8, "eyeLookInRight": 0.8}, mirrored=True),
    "gaze_darts": VisualCue("gaze", {}, {"gaze_yaw": 0.55}, 1.15),
    # head and body
    "head_nod": VisualCue("head", {}, {"pitch": 0.14}, 1.3),
    "head_shake": VisualCue("head", {}, {"yaw": 0.26}, 1.15),
    "head_tilt": VisualCue("head", {"roll": 0.27}, mirrored=True),
    "head_bowed": VisualCue("head", {"pitch": 0.30}),
    "chin_raised": VisualCue("head", {"pitch": -0.25}),
    "head_turned_away": VisualCue("head", {"yaw": 0.52}, mirrored=True),
    "leans_forward": VisualCue("lean", {"lean": 1.2}),
    "leans_back": VisualCue("lean", {"lean": -2.2}),
    # skin
    "face_flushed": VisualCue("skin", {"flush": 0.95}),
    "face_pale": VisualCue("skin", {"flush": -0.85}),
    "tears": VisualCue("tear", {"tear": 1.0}),
}

AUDIO: dict[str, AudioCue] = {
    "high_pitch": AudioCue("pitch", {"pitch": 7.0}),
    "low_pitch": AudioCue("pitch", {"pitch": -7.0}),
    "monotone": AudioCue("range", {"range": -1.4}),
    "lively_intonation": AudioCue("range", {"range": 2.0}),
    "fast_speech": AudioCue("rate", {"rate": 0.65}),
    "slow_speech": AudioCue("rate", {"rate": -0.42}),
    "loud_voice": AudioCue("effort", {"effort": 1.0}),
    "quiet_voice": AudioCue("effort", {"effort": -1.0}),
    "pauses": AudioCue("timing", {"pauses": 1.0}),
    "tremor": AudioCue("quality", {"tremor": 1.0}),
    "whisper": AudioCue("quality effort pitch range contour", {"whisper": 1.0}),
    "breathy": AudioCue("quality", {"breath": 1.0}),
    "hoarse": AudioCue("quality", {"rough": 1.0}),
    "rising_end": AudioCue("contour", {"end_pitch": 9.0}),
    "falling_end": AudioCue("contour", {"end_pitch": -5.0, "end_level": -14.0}),
    "growing_louder": AudioCue("effort level", {"swell": 16.0}),
    "voice_breaks": AudioCue("contour quality", {"crack": 1.0}),
    "sigh": AudioCue("opening", {"sigh": 1.0}),
    "gasp": AudioCue("opening", {"gasp": 1.0}),
    "sobs": AudioCue("opening", {"sob": 1.0}),
    "laughter": AudioCue("opening", {"laugh": 1.0}),
    "stressed_word": AudioCue("stress", {"stress": 1.0}),
}

ORDER = {name: place for place, name in enumerate((*VISUAL, *AUDIO))}  # in which a clip's cues are told

# What an emotion tends to show: cue -> relative frequency. Every emotion may also show a stray one.
EMOTIONS: dict[str, dict[str, float]] = {
    "neutral": {
        "head_nod": 1, "head_tilt": 1, "gaze_aside": 1, "gaze_down": 0.7, "gaze_up": 1, "leans_forward": 1,
        "leans_back": 0.6, "lips_pursed": 0.6, "rapid_blinking": 0.6, "cheeks_puffed": 0.6, "fast_speech": 1,
        "slow_speech": 1, "low_pitch": 0.5, "stressed_word": 1, "quiet_voice": 0.5, "breathy": 1,
    },
    "happy": {
        "smile": 4, "grin": 4, "brows_raised": 1.5, "eyes_narrowed": 1, "head_nod": 1.5, "head_tilt": 1,
        "face_flushed": 0.7, "leans_forward": 1, "high_pitch": 2, "lively_intonation": 4, "fast_speech": 1.5,
        "laughter": 4, "loud_voice": 0.7, "rising_end": 0.5, "stressed_word": 0.5,
    },
    "sad": {
        "mouth_corners_down": 4, "inner_brows_raised": 4, "gaze_down": 3, "head_bowed": 3, "eyelids_droop": 2.5,
        "tears": 2.5, "lips_tremble": 2, "eyes_closed": 1, "face_pale": 0.7, "leans_back": 0.5, "low_pitch": 1,
        "slow_speech": 2.5, "quiet_voice": 3, "sigh": 2.5, "sobs": 4, "voice_breaks": 2, "falling_end": 2,
        "pauses": 1, "breathy": 1,
    },
    "angry": {
        "brows_lowered": 5, "lips_pressed": 3, "eyes_narrowed": 2, "eyes_wide": 1, "face_flushed": 2.5,
        "leans_forward": 2, "head_shake": 1.2, "nose_wrinkled": 1, "chin_raised": 0.7, "loud_voice": 5,
        "fast_speech": 1.5, "hoarse": 2, "stressed_word": 3, "growing_louder": 2.5, "high_pitch": 0.5,
    },
    "worried": {
        "inner_brows_raised": 3, "eyes_wide": 2, "lip_bitten": 3, "gaze_darts": 3, "rapid_blinking": 2.5,
        "lips_stretched": 2.5, "face_pale": 1.5, "lips_pressed": 0.8, "leans_back": 1.2, "head_turned_away": 0.8,
        "tremor": 5, "pauses": 3, "fast_speech": 1, "high_pitch": 1, "whisper": 1.5, "quiet_voice": 0.7,
        "gasp": 0.5,
    },
    "surprised": {
        "brows_raised": 5, "eyes_wide": 4, "jaw_dropped": 4, "leans_back": 1.5, "rapid_blinking": 0.8,
        "head_tilt": 0.7, "gasp": 5, "high_pitch": 3, "rising_end": 4, "lively_intonation": 0.7, "loud_voice": 0.5,
        "stressed_word": 0.5,
    },
    "disgusted": {
        "nose_wrinkled": 5, "upper_lip_raised": 4, "head_turned_away": 3, "eyes_narrowed": 2, "leans_back": 2,
        "brows_lowered": 1.5, "mouth_corners_down": 1, "gaze_aside": 1, "low_pitch": 4, "hoarse": 4,
        "slow_speech": 1, "stressed_word": 1, "falling_end": 1,
    },
    "contemptuous": {
        "smirk": 5, "one_brow_raised": 3.5, "chin_raised": 3, "eyelids_droop": 1.5, "gaze_aside": 1.5,
        "head_shake": 1, "gaze_up": 1.5, "lips_pursed": 1, "cheeks_puffed": 0.5, "monotone": 5, "slow_speech": 2,
        "low_pitch": 0.5, "sigh": 1.5, "laughter": 0.5, "falling_end": 1,
    },
}  # fmt: skip
