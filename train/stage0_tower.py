# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 0, not in the paper: a small vision tower learns from single frames which cues they show.

    xemogpt train stage0 --config recipes/tiny/stage0.yaml
    xemogpt tiny --vision runs/tiny-stage0 --out runs/tiny-base     # the small model with this tower

The paper takes CLIP ViT-L/14, which has seen the world. Offline no such tower is to be had, so the embedded model's
own is trained on rendered frames, whose cues are known in type, time and strength: one logit for each type of visual
cue and frame, read off the state of the frame that VECB reads later. From some thousand clips a convolutional network
learns this within minutes, a CLIP transformer does not begin to (see docs/training.md). Needs `truth.jsonl` beside
each manifest, as `xemogpt synth` writes it.
"""

import dataclasses
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import Dataset
from transformers import (
    CONFIG_MAPPING,
    AutoConfig,
    EvalPrediction,
    PreTrainedConfig,
    Trainer,
    TrainingArguments,
    set_seed,
)

from xemogpt.backbones_xemogpt import load_vision
from xemogpt.configuration_xemogpt import CLASS_TOKEN_ENCODERS, XEmoGPTBridgeConfig
from xemogpt.data.jsonl import read_rows
from xemogpt.hub.tiny import IMAGE_SIZE, VISION
from xemogpt.media_xemogpt import load_video
from xemogpt.towers_xemogpt import encode_frames
from xemogpt.train.checkpoints import last_whole_checkpoint
from xemogpt.train.mixture import read_mixture
from xemogpt.train.run_card import write_outcome
from xemogpt.train.trainer import CheckedTrainer
from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

RAMP = 0.28  # seconds in which a cue grows to its full strength, and fades


@dataclass
class Arguments:
    """Settings of stage 0 beside those of `transformers.TrainingArguments`."""

    data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "[{manifest: PATH, weight: 1.0}, ...]"})
    eval_data: list[dict[str, Any]] = field(default_factory=list, metadata={"help": "likewise, for validation"})
    vision: dict[str, Any] = field(
        default_factory=lambda: dict(VISION),
        metadata={"help": "an image encoder of transformers: its model_type and the fields of its configuration"},
    )
    image_size: int = field(default=IMAGE_SIZE, metadata={"help": "edge of the frames that the tower reads, pixels"})
    num_frames: int = field(default=16, metadata={"help": "frames a clip is sampled to"})
    frames_per_clip: int = field(default=4, metadata={"help": "of these, drawn anew in each epoch"})
    shift: float = field(default=0.08, metadata={"help": "share of the picture that is cut off at random, at most"})
    light: float = field(default=0.2, metadata={"help": "change of brightness and contrast, at most"})
    flip: bool = field(default=True, metadata={"help": "mirror half of the clips"})


def main(arguments: Arguments, training: TrainingArguments, dry_run: bool = False) -> None:
    """Trains the tower and saves it into `training.output_dir`; goes on after a kill."""
    set_seed(training.seed)
    sets = [read_clips(mixture) for mixture in (arguments.data, arguments.eval_data)]
    if not sets[0]:
        raise ValueError("data names no manifest: set data: [{manifest: PATH}]")
    if both := sorted({clip.id for clip in sets[0]} & {clip.id for clip in sets[1]}):
        raise ValueError(f"{len(both)} clips are in data and in eval_data, as {both[0]}: validate on others")
    types = sorted({cue["type"] for clip in sets[0] for cue in clip.cues})
    if not types:
        raise ValueError("no clip of data shows a visual cue: there is nothing to learn")
    processor = XEmoGPTVideoProcessor(size=arguments.image_size, crop_size=arguments.image_size)
    train, evaluation = (
        FrameDataset(clips, types, processor, arguments, training.seed if part == 0 else None)
        for part, clips in enumerate(sets)
    )
    model = FrameTagger(vision_config(arguments), len(types))
    if dry_run:
        shape = tuple(train[0]["pixel_values_videos"].shape)
        count = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
        sys.stdout.write(
            f"{len(train)} clips to train on, {len(evaluation)} to validate on, {len(types)} types of cue\n"
            f"a clip: {shape}; {count / 1e6:.2f} M values are trained\n"
        )
        return
    training.remove_unused_columns, training.label_names = False, ["levels"]

    def average_precision(prediction: EvalPrediction) -> dict[str, float]:
        found = (prediction.predictions, prediction.label_ids)
        logits, levels = (np.reshape(np.asarray(values), (-1, len(types))) for values in found)
        return {"mean_average_precision": mean_average_precision(logits, levels > 0.5)}

    trainer = TowerTrainer(
        model=model,
        args=training,
        train_dataset=train,
        eval_dataset=evaluation if len(evaluation) else None,
        data_collator=collate,
        compute_metrics=average_precision,
        declared=("*",),
        settings=dataclasses.asdict(arguments),
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint or last_whole_checkpoint(training.output_dir))
    metrics = trainer.evaluate() if len(evaluation) else {}
    if trainer.is_world_process_zero():
        model.tower.cpu().float().save_pretrained(training.output_dir)
        processor.save_pretrained(training.output_dir)
        write_outcome(trainer, "stage 0", arguments, training, metrics, len(train))


def vision_config(arguments: Arguments) -> PreTrainedConfig:
    """The configuration of the tower.

    Raises:
        ValueError: not an image encoder of transformers, or one for frames of another size.
    """
    fields = dict(arguments.vision)
    kind = fields.pop("model_type", None)
    if kind not in CONFIG_MAPPING:
        raise ValueError(
            f"vision: model_type {kind!r} is no model of transformers; as 'resnet' or 'clip_vision_model'"
        )
    config = AutoConfig.for_model(kind, **fields)
    if (size := getattr(config, "image_size", arguments.image_size)) != arguments.image_size:
        raise ValueError(f"vision reads frames of {size} pixels, image_size is {arguments.image_size}")
    return config


@dataclass(frozen=True)
class KnownClip:
    """A clip and its visual cues: type, intensity, and time in seconds."""

    id: str
    path: str
    cues: tuple[dict[str, Any], ...]


def read_clips(mixture: list[dict[str, Any]]) -> list[KnownClip]:
    """The clips of manifests that have a `truth.jsonl` beside them.

    Raises:
        ValueError: a clip without video, or of which the truth says nothing; a weight: each clip is taken once.
        FileNotFoundError: no truth.jsonl.
    """
    truth: dict[str, Any] = {}
    for entry in mixture:
        path = Path(entry["manifest"]).with_name("truth.jsonl")
        if not path.is_file():
            raise FileNotFoundError(f"{path}: stage 0 needs the cue types that `xemogpt synth` writes there")
        truth |= {row["id"]: row for row in read_rows(path)}
    clips = []
    for sample in read_mixture(mixture, weighted=False).samples:
        if sample.video is None or sample.id not in truth:
            raise ValueError(f"{sample.id}: has no {'video' if sample.video is None else 'row in truth.jsonl'}")
        cues = [cue for cue in truth[sample.id]["cues"] if cue["modality"] == "visual" and cue.get("polarity", 1) > 0]
        clips.append(KnownClip(sample.id, sample.video, tuple(cues)))
    return clips


def levels_at(cues: tuple[dict[str, Any], ...], seconds: np.ndarray, types: list[str]) -> torch.Tensor:
    """How strong each type of cue is in frames at `seconds` (T,): (T, types) in [0, 1]."""
    levels = torch.zeros(len(seconds), len(types))
    for cue in cues:
        if cue["type"] in types:
            begin, end = cue["time"]
            ramp = min(RAMP, (end - begin) / 3)
            share = np.clip(np.minimum(seconds - begin, end - seconds) / max(ramp, 1e-6), 0, 1)
            level = levels[:, types.index(cue["type"])]
            level.copy_(torch.maximum(level, torch.from_numpy(share * cue["intensity"])))  # a cue may come twice
    return levels.clamp(0, 1)


class FrameDataset(Dataset):
    """Frames of a clip with the levels of its cues. With a `seed` (training) some frames, changed at random as the
    clip's number and the epoch say; without (validation) all, as they are."""

    def __init__(
        self, clips: list[KnownClip], types: list[str], processor: Any, arguments: Arguments, seed: int | None
    ):
        self.clips, self.types, self.processor, self.arguments, self.seed = clips, types, processor, arguments, seed
        self.epoch = 0  # so that a clip is changed in another way in each, and the same after a kill

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip, arguments = self.clips[index], self.arguments
        video = load_video(clip.path, arguments.num_frames, threads=1)
        frames, seconds = video.frames, video.timestamps
        if self.seed is not None:
            rng = np.random.default_rng([self.seed, self.epoch, index])
            chosen = np.sort(rng.permutation(len(frames))[: arguments.frames_per_clip])
            frames, seconds = changed(frames[chosen], rng, arguments), seconds[chosen]
        pixels = self.processor([frames])["pixel_values_videos"][0]
        return {"id": clip.id, "pixel_values_videos": pixels, "levels": levels_at(clip.cues, seconds, self.types)}


def changed(frames: np.ndarray, rng: np.random.Generator, arguments: Arguments) -> np.ndarray:
    """uint8 (T, H, W, 3), all frames alike: mirrored or not, cut to a smaller square, lighter or darker."""
    height, width = frames.shape[1:3]
    if arguments.flip and rng.random() < 0.5:
        frames = frames[:, :, ::-1]
    edge = round(min(height, width) * (1 - rng.uniform(0, arguments.shift)))
    top, left = rng.integers(height - edge + 1), rng.integers(width - edge + 1)
    contrast, brightness = rng.uniform(-arguments.light, arguments.light, 2)
    values = frames[:, top : top + edge, left : left + edge].astype(np.float32)
    values = (values - 128) * (1 + contrast) + 128 + 128 * brightness
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def collate(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Rows of one number of frames -> (B, T, 3, H, W) and (B, T, types)."""
    batch: dict[str, Any] = {
        name: torch.stack([row[name] for row in rows]) for name in ("pixel_values_videos", "levels")
    }
    return batch | {"ids": [row["id"] for row in rows]}


class FrameTagger(nn.Module):
    """The tower with a linear reading of the state of each frame."""

    def __init__(self, config: PreTrainedConfig, types: int):
        super().__init__()
        self.tower = load_vision(config, None)
        self.feature = "class" if config.model_type in CLASS_TOKEN_ENCODERS else "pooled"
        if self.feature == "class" and hasattr(self.tower, "post_layernorm"):
            self.tower.post_layernorm.requires_grad_(False)  # behind the raw class token: no gradient reaches it
        width = XEmoGPTBridgeConfig.like_tower(config).hidden_size
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, types)

    def forward(self, pixel_values_videos: torch.Tensor, levels: torch.Tensor) -> dict[str, torch.Tensor]:
        """Frames (B, T, 3, H, W), levels (B, T, types) in [0, 1] -> loss, logits (B, T, types)."""
        features, _ = encode_frames(self.tower, pixel_values_videos, self.feature)
        logits = self.head(self.norm(features)).float()
        return {"loss": F.binary_cross_entropy_with_logits(logits, levels), "logits": logits}


class TowerTrainer(CheckedTrainer, Trainer):
    """The Trainer with the project's checks."""


def mean_average_precision(logits: np.ndarray, present: np.ndarray) -> float:
    """Mean, over the types that occur, of the precision at each frame that shows the type. (N, types) each."""
    found = []
    for scores, hits in zip(logits.T, present.T, strict=True):
        if hits.any():
            ranked = hits[np.argsort(-scores, kind="stable")]
            found.append((np.cumsum(ranked) / np.arange(1, len(ranked) + 1))[ranked].mean())
    return float(np.mean(found)) if found else 0.0
