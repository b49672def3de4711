# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 1: VECB learns which frames carry a cue, by contrast, order and masked frames (section III-B, equation 7).

xemogpt train stage1 --config recipes/xemogpt-4b/stage1.yaml
"""

from dataclasses import dataclass, field

from transformers import TrainingArguments

from xemogpt.train.alignment_run import run
from xemogpt.train.alignment_start import AlignmentArguments
from xemogpt.train.losses import check_mask_ratio


@dataclass
class Arguments(AlignmentArguments):
    """Settings of stage 1 beside those of `transformers.TrainingArguments`."""

    label_prompt: str = field(
        default="a person who looks {label}", metadata={"help": "text of a label, in training and for recognition"}
    )
    temporal_weight: float = field(default=1.0, metadata={"help": "w1 of equation 7, of the order of frames"})
    reconstruction_weight: float = field(default=1.0, metadata={"help": "w2 of equation 7, of masked frames"})
    mask_ratio: float = field(default=0.5, metadata={"help": "share of the frames that are masked"})
    mask: str = field(default="token", metadata={"help": "masked frames become a learnable token, or zeros"})


def main(arguments: Arguments, training: TrainingArguments, dry_run: bool = False) -> None:
    """Trains VECB and its head on frozen towers; the result is a `XEmoGPTVideoCueEncoder` folder."""
    if min(arguments.temporal_weight, arguments.reconstruction_weight) < 0:
        raise ValueError("temporal_weight and reconstruction_weight must be 0 or more: they weigh losses")
    check_mask_ratio(arguments.mask_ratio)
    run(
        arguments,
        training,
        "video",
        dry_run,
        alignment={
            "temporal": arguments.temporal_weight > 0,
            "reconstruction": arguments.reconstruction_weight > 0,
            "mask": arguments.mask,
        },
        loss={
            "temporal_weight": arguments.temporal_weight,
            "reconstruction_weight": arguments.reconstruction_weight,
            "mask_ratio": arguments.mask_ratio,
        },
    )
