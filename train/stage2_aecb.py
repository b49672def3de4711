# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 2: AECB learns which sounds carry a cue, by contrast with captions of the voice (section III-C, equation 8).

xemogpt train stage2 --config recipes/xemogpt-4b/stage2.yaml
"""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from xemogpt.train.alignment_run import run
from xemogpt.train.alignment_start import AlignmentArguments
from xemogpt.train.augment import Augmentation


@dataclass
class Arguments(AlignmentArguments):
    """Settings of stage 2 beside those of `transformers.TrainingArguments`."""

    text_sources: list[str] = field(
        default_factory=lambda: ["cues", "caption", "label"],
        metadata={"help": "where a clip's text comes from, the first that it has; a caption may speak of the picture"},
    )
    label_prompt: str = field(
        default="a person who sounds {label}", metadata={"help": "text of a label, in training and for recognition"}
    )
    speed: float = field(default=0.0, metadata={"help": "speed changes by up to this share, with pitch (0.1: 10 %)"})
    gain_db: float = field(default=0.0, metadata={"help": "loudness changes by up to this many dB"})
    noise_db: float | None = field(default=None, metadata={"help": "white noise from this SNR in dB upwards to +20"})
    reverberation: float = field(default=0.0, metadata={"help": "up to this many seconds of reverberation (RT60)"})
    augment_share: float = field(default=0.5, metadata={"help": "how likely each of these is applied to a clip"})


def main(arguments: Arguments, training: TrainingArguments, dry_run: bool = False) -> None:
    """Trains AECB and its head on frozen towers; the result is a `XEmoGPTAudioCueEncoder` folder."""
    augmentation = Augmentation(
        arguments.speed,
        arguments.gain_db,
        arguments.noise_db,
        arguments.reverberation,
        arguments.augment_share,
        training.seed,
    )
    if augmentation.active and arguments.cache:
        raise ValueError("a cache holds each clip as it is: set cache to none to augment, or augmentation to 0")
    run(arguments, training, "audio", dry_run, read=augmentation.read if augmentation.active else None)
