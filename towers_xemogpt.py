# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Runs the frozen towers: frames to X_v, voices to X_a (section III-A). What a batch gives, each clip alone gives."""

from typing import Any

import torch
from torch import nn
from transformers import AutoModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.modeling_utils import PreTrainedModel
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils.output_capturing import capture_outputs

# Waveform towers that mask padding wherever a step sees its neighbours, if their features are layer-normalised.
PADDING_SAFE = frozenset({"hubert", "unispeech", "unispeech-sat", "wav2vec2", "wavlm"})


def encode_frames(
    tower: PreTrainedModel, pixel_values_videos: torch.Tensor, feature: str, **kwargs: Any
) -> tuple[torch.Tensor, Any]:
    """Frames (N, T, 3, H, W) -> X_v (N, T, d_v), and all that the tower gave.

    Args:
        feature: `"class"` takes the raw class token of the last hidden state, before any final norm or projection,
            `"pooled"` the encoder's pooled state.
    """
    if pixel_values_videos.ndim != 5:
        raise ValueError(
            f"pixel_values_videos must be (videos, frames, 3, H, W), got {tuple(pixel_values_videos.shape)}"
        )
    outputs = tower(pixel_values_videos.flatten(0, 1).to(tower.dtype), **kwargs)
    if feature == "class":
        frame_features = outputs.last_hidden_state[:, 0]
    elif getattr(outputs, "pooler_output", None) is None:
        raise ValueError(f"'{tower.config.model_type}' gives no pooled state: try another encoder")
    else:
        frame_features = outputs.pooler_output.flatten(1)
    return frame_features.unflatten(0, pixel_values_videos.shape[:2]), outputs


def encode_voices(
    tower: PreTrainedModel,
    input_values: torch.Tensor | None = None,
    input_values_mask: torch.Tensor | None = None,
    input_features: torch.Tensor | None = None,
    input_features_mask: torch.Tensor | None = None,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
    """Waveforms (N, L) at 16 kHz or log-mel (N, mels, frames) -> X_a (N, l_a, d_a), zero at padding, its mask (N, l_a)
    where there is one, and all that the tower gave. The tower sees the padded batch as given."""
    if (input_values is None) == (input_features is None):
        raise ValueError("pass either input_values (waveform towers) or input_features (Whisper)")
    mask = None
    if tower.config.model_type == "whisper":
        if input_features is None:
            raise ValueError("this model's audio tower is Whisper: pass input_features, not input_values")
        outputs = _whisper(tower, input_features, input_features_mask, **kwargs)
        mask = _whisper_steps(input_features_mask)
    elif input_values is None:
        raise ValueError("this model's audio tower reads waveforms: pass input_values, not input_features")
    else:
        outputs = tower(input_values.to(tower.dtype), attention_mask=input_values_mask, **kwargs)
        if input_values_mask is not None:
            lengths = tower._get_feat_extract_output_lengths(input_values_mask.sum(-1))
            mask = length_mask(lengths, outputs.last_hidden_state.shape[1])
    audio_features = outputs.last_hidden_state
    if mask is not None:
        mask = mask.to(audio_features.device)
        audio_features = audio_features * mask.unsqueeze(-1).to(audio_features.dtype)
    return audio_features, mask, outputs


def encode_each_voice(tower: PreTrainedModel, **inputs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
    """X_a and its mask as `encode_voices` gives them, except that a tower into which padding leaks gets each waveform
    alone, at its length."""
    mask = inputs.get("input_values_mask")
    if mask is None or not padding_leaks(tower.config):
        return encode_voices(tower, **inputs)[:2]
    voices = zip(inputs["input_values"], mask.sum(-1).tolist(), strict=True)
    clips = [encode_voices(tower, values[None, :length])[0][0] for values, length in voices]
    steps = torch.tensor([len(clip) for clip in clips], device=mask.device)
    return nn.utils.rnn.pad_sequence(clips, batch_first=True), length_mask(steps, int(steps.max()))


def build_audio_tower(config: Any) -> PreTrainedModel:
    """A tower of random weights; of Whisper its encoder, to which AutoModel would add the decoder."""
    return WhisperEncoder(config) if config.model_type == "whisper" else AutoModel.from_config(config)


def padding_leaks(config: Any) -> bool:
    """Whether padding changes the features of the clip it stands after, so that a tower must get each clip alone."""
    group_norm = getattr(config, "feat_extract_norm", "layer") == "group"
    safe = config.model_type in PADDING_SAFE and not getattr(config, "add_adapter", False)
    return config.model_type != "whisper" and (group_norm or not safe)


def length_mask(lengths: torch.Tensor, size: int) -> torch.Tensor:
    """(N,) -> bool (N, size), True below each length."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(-1)


def pool_steps(
    hidden_states: torch.Tensor, mask: torch.Tensor | None, factor: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Averages every `factor` steps of (N, L, d), the real ones alone -> (N, ceil(L / factor), d), zero where there is
    none, and its mask. A factor of 1 changes nothing."""
    if factor == 1:
        return hidden_states, mask
    weights = hidden_states.new_ones(hidden_states.shape[:2]) if mask is None else mask.to(hidden_states.dtype)
    short = -hidden_states.shape[1] % factor
    windows = nn.functional.pad(hidden_states * weights.unsqueeze(-1), (0, 0, 0, short)).unflatten(1, (-1, factor))
    counts = nn.functional.pad(weights, (0, short)).unflatten(1, (-1, factor)).sum(-1)
    return windows.sum(2) / counts.clamp(min=1).unsqueeze(-1), None if mask is None else counts > 0


@capture_outputs
def _whisper(
    tower: WhisperEncoder, features: torch.Tensor, mask: torch.Tensor | None = None, **kwargs: Any
) -> BaseModelOutput:
    """Whisper's encoder on clips shorter than its thirty seconds: positions cut to the clip, padding masked.

    Its own forward refuses any length but thirty seconds and attends to the silence that fills them up.
    """
    hidden_states = features.to(tower.dtype)  # (N, mels, frames)
    if mask is not None:  # zero padding after each convolution, so that a padded clip equals the clip alone
        hidden_states = hidden_states * mask.unsqueeze(1).to(hidden_states.dtype)
    hidden_states = nn.functional.gelu(tower.conv1(hidden_states))
    if mask is not None:
        hidden_states = hidden_states * mask.unsqueeze(1).to(hidden_states.dtype)
    hidden_states = nn.functional.gelu(tower.conv2(hidden_states)).transpose(1, 2)  # (N, l_a, d_a)
    num_steps = hidden_states.shape[1]
    if num_steps > tower.max_source_positions:
        raise ValueError(
            f"{num_steps} audio steps exceed the Whisper encoder's {tower.max_source_positions}; cut the audio"
        )
    hidden_states = hidden_states + tower.embed_positions(torch.arange(num_steps, device=hidden_states.device))
    attention_mask = create_bidirectional_mask(
        config=tower.config, inputs_embeds=hidden_states, attention_mask=_whisper_steps(mask)
    )
    for layer in tower.layers:
        hidden_states = layer(hidden_states, attention_mask, **kwargs)
    return BaseModelOutput(last_hidden_state=tower.layer_norm(hidden_states))


def _whisper_steps(mask: torch.Tensor | None) -> torch.Tensor | None:
    """Mask of mel frames (N, frames) -> mask of audio steps (N, l_a): the second convolution has stride 2."""
    return None if mask is None else length_mask((mask.sum(-1) + 1) // 2, (mask.shape[1] + 1) // 2)


__all__ = [
    "build_audio_tower",
    "encode_each_voice",
    "encode_frames",
    "encode_voices",
    "length_mask",
    "padding_leaks",
    "pool_steps",
]
