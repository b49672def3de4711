# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""From stages 1 and 2 into XEmoGPT for stage 3, and back: one strict move of a bridge with its cue head."""

from typing import Any

import torch
from torch import nn

from xemogpt.alignment_xemogpt import XEmoGPTAudioCueEncoder, XEmoGPTCueEncoder, XEmoGPTVideoCueEncoder
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train.feature_cache import weights_digest

TOWERS = {"video": "vision_tower", "audio": "audio_tower"}
ENCODERS: dict[str, type[XEmoGPTCueEncoder]] = {"video": XEmoGPTVideoCueEncoder, "audio": XEmoGPTAudioCueEncoder}


def install(encoder: XEmoGPTCueEncoder, model: XEmoGPTForConditionalGeneration) -> None:
    """Puts the trained bridge and cue head of an encoder into an XEmoGPT, in place.

    The model's head takes over the text size of the encoder, whose text tower is no part of XEmoGPT; both parts leave
    `config.untrained_parts`.

    Raises:
        ValueError: the towers differ, or any weight is missing, unexpected or of another shape (all are named).
    """
    media = encoder.config.media
    inner = model.model
    config: Any = model.config
    _same_tower(encoder.tower, getattr(inner, TOWERS[media]), type(encoder).__name__, "XEmoGPT")
    names = ["cue_embedding_size"] + (["num_frames", "vision_feature"] if media == "video" else [])
    for name in names:
        mine, theirs = getattr(encoder.config, name), getattr(config, name)
        if mine != theirs:
            raise ValueError(f"the encoder was trained with {name} {mine!r}, but the model has {theirs!r}")
    bridge, head = getattr(inner, f"{media}_bridge"), getattr(inner, f"{media}_cue_head")
    size = getattr(encoder.config, f"{media}_text_size")
    old = head.text_projection
    if old.in_features != size:
        head.text_projection = nn.Linear(size, old.out_features, device=old.weight.device, dtype=old.weight.dtype)
    try:
        _load({f"{media}_bridge": bridge, f"{media}_cue_head": head}, encoder)
    except ValueError:
        head.text_projection = old  # the model stays as it was
        raise
    setattr(config, f"{media}_text_size", size)
    config.untrained_parts = [
        part for part in config.untrained_parts if part not in (f"{media}_bridge", f"{media}_cue_head")
    ]


def extract(
    model: XEmoGPTForConditionalGeneration, media: str, text: Any, text_pooling: str | None = None
) -> XEmoGPTCueEncoder:
    """The cue encoder inside an XEmoGPT: its tower, bridge and cue head, beside a text tower.

    Args:
        media: `video` or `audio`. text: the text tower: a folder, a Hub id, a loaded model or a config.

    Raises:
        ValueError: a trained head belongs to a text tower of another size, or a weight does not fit.
    """
    config: Any = model.config
    encoder = ENCODERS[media].from_towers(
        getattr(model.model, TOWERS[media]), text, text_pooling=text_pooling, **inherited(config, media)
    )
    parts = {name: getattr(encoder, name) for name in (f"{media}_bridge", f"{media}_cue_head")}
    trained = {name: part for name, part in parts.items() if name not in config.untrained_parts}
    if trained:
        _load(trained, model.model)
    return encoder


def inherited(config: Any, media: str) -> dict[str, Any]:
    """What a cue encoder's configuration takes over from that of an XEmoGPT, beside the tower."""
    names = [f"{media}_bridge_config", "cue_embedding_size"]
    names += ["num_frames", "vision_feature"] if media == "video" else []
    return {name: getattr(config, name) for name in names}


def _load(parts: dict[str, nn.Module], source: nn.Module) -> None:
    """Copies parts from the parts of the same names; checks everything before it changes anything."""
    problems, states = [], {}
    for part, target in parts.items():
        given, wanted = getattr(source, part).state_dict(), target.state_dict()
        problems += [f"missing {part}.{name}" for name in sorted(wanted.keys() - given.keys())]
        problems += [f"unexpected {part}.{name}" for name in sorted(given.keys() - wanted.keys())]
        for name in sorted(wanted.keys() & given.keys()):
            if given[name].shape != wanted[name].shape:
                shapes = f"{tuple(given[name].shape)}, not {tuple(wanted[name].shape)}"
                problems.append(f"{part}.{name} is {shapes}")
        states[part] = given
    if problems:
        raise ValueError(f"the weights do not fit: {'; '.join(problems)}")
    with torch.no_grad():
        for part, target in parts.items():
            target.load_state_dict(states[part])


def _same_tower(mine: Any, theirs: Any, my_name: str, their_name: str) -> None:
    """A bridge reads the features of the tower it was trained on, and no others'."""
    digests = [weights_digest(tower) for tower in (mine, theirs)]
    if digests[0] != digests[1]:
        raise ValueError(
            f"the towers differ: {my_name} was trained on a '{mine.config.model_type}' with weights {digests[0]}, "
            f"{their_name} has a '{theirs.config.model_type}' with weights {digests[1]}"
        )
