# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A start for the projectors, in closed form: the LLM tokens of a clip lie near the words that tell of it.

Not in the paper. From a random projector a small LLM learns the manner of the answers long before it looks at the
clip; so this solves for the linear map from what a bridge makes of a clip, averaged over its steps, to the LLM's own
embeddings of the words of its answer, averaged as well: ridge regression, both sides centred. It is then scaled so
that a step is as far from the mean as a word's embedding is long.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch.utils.data import DataLoader

from xemogpt.towers_xemogpt import pool_steps

logger = logging.getLogger(__name__)

BATCH = 16
FEWEST = 8  # clips from which a map can be learnt at all
SCALED_ON = 64  # clips
ALIKE = 1e-5  # deviations from the mean, in shares of the values: less is rounding
RIDGE = 0.01  # penalty, in shares of the features' mean variance


@torch.no_grad()
def start_projectors(model: Any, collator: Any, rows: Sequence[dict[str, Any]], workers: int = 0) -> dict[str, float]:
    """Solves for `video_projector` and `audio_projector`, in place, as float32.

    Args:
        model: an `XEmoGPTForConditionalGeneration`. collator: its `InstructionCollator`. rows: instructions of the
            kinds `see` and `hear`. workers: processes that decode.

    Returns:
        for `video` and `audio` the share of the variance of the mean words that the map explains.

    Raises:
        ValueError: fewer than 8 rows of a kind, or a clip that cannot be decoded.
    """
    explained = {}
    model.eval()
    for kind, medium in (("see", "video"), ("hear", "audio")):
        mine: Any = [row for row in rows if row["kind"] == kind and _readable(collator, row)]
        if len(mine) < FEWEST:
            raise ValueError(
                f"start_projectors: {len(mine)} clips tell what is to be {'seen' if kind == 'see' else 'heard'}, but "
                f"it takes {FEWEST}; set start_projectors: 0 to go without"
            )
        projector = getattr(model.model, f"{medium}_projector").float()
        clips, words, steps, lengths = [], [], [], []
        for batch in DataLoader(mine, BATCH, collate_fn=collator, num_workers=workers):
            hidden_states, mask = _bridged(model, batch, medium)
            counted = mask.unsqueeze(-1).to(hidden_states.dtype)
            clips.append((hidden_states * counted).sum(1) / counted.sum(1))
            told, mean = _mean_words(model, batch["labels"].to(model.device))
            words.append(mean)
            lengths.append(told)
            if len(clips) * BATCH <= SCALED_ON:
                pooled, real = pool_steps(hidden_states, mask, model.config.audio_pooling if kind == "hear" else 1)
                steps.append(pooled[real])
        explained[medium] = _solve(projector, *map(torch.cat, (clips, words, steps, lengths)))
        logger.info("the %s projector explains %.2f of the words of %d clips", medium, explained[medium], len(mine))
    return explained


def share_projectors(model: Any) -> None:
    """Gives the projectors of the first process to all others, where there are any; float32 in each."""
    if not (dist.is_available() and dist.is_initialized()):
        return
    for medium in ("video", "audio"):
        for parameter in getattr(model.model, f"{medium}_projector").parameters():
            dist.broadcast(parameter.data, src=0)


def _readable(collator: Any, row: dict[str, Any]) -> bool:
    """A clip may lack the medium that its text speaks of; stage 3 itself uses it for other questions."""
    try:
        collator.conversation(row)
    except ValueError as error:
        logger.warning("start_projectors: left out: %s", error)
        return False
    return True


def _bridged(model: Any, batch: dict[str, Any], medium: str) -> tuple[torch.Tensor, torch.Tensor]:
    """H (N, steps, width) as float32 of the one medium that a batch has, and which steps are real."""
    from xemogpt.modeling_xemogpt import AUDIO_INPUTS

    names = ("pixel_values_videos",) if medium == "video" else AUDIO_INPUTS
    inputs = {name: batch[name].to(model.device) for name in names if name in batch}
    dtype = next(getattr(model.model, "vision_tower" if medium == "video" else "audio_tower").parameters()).dtype
    inputs = {name: x.to(dtype) if x.is_floating_point() else x for name, x in inputs.items()}
    features = model.model.get_video_features(**inputs) if medium == "video" else model.model.encode_audio(**inputs)
    mask = getattr(features, "attention_mask", None)
    hidden_states = features.last_hidden_state.float()
    return hidden_states, hidden_states.new_ones(hidden_states.shape[:2], dtype=torch.bool) if mask is None else mask


def _mean_words(model: Any, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """How long the embedding of each told word is, and their mean (N, d) in each row."""
    told = labels != -100
    embedded = model.get_input_embeddings()(labels.clamp(min=0)).float()
    means = (embedded * told.unsqueeze(-1)).sum(1) / told.sum(1, keepdim=True)
    return embedded[told].norm(dim=-1), means


def _solve(
    projector: Any, clips: torch.Tensor, words: torch.Tensor, steps: torch.Tensor, lengths: torch.Tensor
) -> float:
    """Sets the projector; clips (N, in), words (N, out), steps (M, in), lengths (any)."""
    clips, words, steps = clips.double(), words.double(), steps.double()
    at, onto = clips.mean(0), words.mean(0)
    centred, wanted = clips - at, words - onto
    if centred.norm() <= ALIKE * clips.norm() or wanted.norm() <= ALIKE * words.norm():
        raise ValueError("start_projectors: all clips, or all answers, are alike: nothing can be learnt from them")
    square = centred.T @ centred
    square += RIDGE * square.diagonal().mean() * torch.eye(len(square), dtype=square.dtype, device=square.device)
    weight = torch.linalg.solve(square, centred.T @ wanted)
    unexplained = (wanted - centred @ weight).square().sum() / wanted.square().sum()
    weight *= lengths.double().mean() / ((steps - at) @ weight).norm(dim=-1).mean()
    projector.weight.copy_(weight.T)
    projector.bias.copy_(onto - at @ weight)
    return 1.0 - float(unexplained)
