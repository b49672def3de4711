# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The two emotional cue bridges, VECB and AECB, and the heads that compare what they see and hear with cue texts.

A bridge stands between a frozen tower and the LLM (section III-A); a head is what stages 1 and 2 train it with
(section III-B), and stays part of the model: it says which frame a cue rests on, and recognises emotions zero-shot.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.models.clip.modeling_clip import CLIPEncoderLayer
from transformers.models.hubert.modeling_hubert import HubertEncoderLayer
from transformers.utils import ModelOutput

from .configuration_xemogpt import XEmoGPTBridgeConfig, XEmoGPTConfig


class VideoEmotionalCueBridge(nn.Module):
    """VECB: relates the frames of a clip to each other (section III-A).

    A learnable position embedding, then CLIP-style encoder layers over the frames, without a mask. Shuffled or masked
    frames (eq. 4, 5) must be prepared by the caller: the position embedding is added here.

    Without layers it is no bridge, as in the rows of Table V without VECB: frames come out as they went in, in the
    tower's dtype. The position embedding is part of VECB and goes with it: no layer would relate the frames that it
    tells apart, and the LLM has positions of its own.
    """

    def __init__(self, config: XEmoGPTBridgeConfig, num_frames: int):
        super().__init__()
        self.position_embedding = (
            nn.Parameter(torch.zeros(1, num_frames, config.hidden_size)) if config.num_hidden_layers else None
        )
        self.layers = nn.ModuleList([CLIPEncoderLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, frame_features: torch.Tensor) -> torch.Tensor:
        """X_v (N, T, d_v) -> H_v (N, T, d_v)."""
        if self.position_embedding is None:
            return frame_features
        num_frames = self.position_embedding.shape[1]
        if frame_features.shape[1] != num_frames:
            raise ValueError(
                f"the video bridge has positions for {num_frames} frames, but got {frame_features.shape[1]}; "
                "let the processor sample the frames, or set config.num_frames and train"
            )
        hidden_states = frame_features.to(self.position_embedding.dtype) + self.position_embedding
        for layer in self.layers:
            hidden_states = layer(hidden_states, None)
        return hidden_states


class AudioEmotionalCueBridge(nn.Module):
    """AECB: relates the steps of the voice to each other (section III-A).

    HuBERT encoder layers of the post-norm class whatever the tower's own kind, no position encoding (the tower has
    one), padding masked and zeroed.

    Without layers it is no bridge, as in the rows of Table V without AECB: steps come out as they went in, in the
    tower's dtype, but for the padding, which is zeroed all the same.
    """

    def __init__(self, config: XEmoGPTBridgeConfig):
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList([HubertEncoderLayer(config) for _ in range(config.num_hidden_layers)])

    def forward(self, audio_features: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """X_a (N, l_a, d_a) with its mask (N, l_a) bool -> H_a (N, l_a, d_a), zero at padding."""
        hidden_states = self._related(audio_features, attention_mask) if len(self.layers) else audio_features
        if attention_mask is not None:
            hidden_states = hidden_states * attention_mask.unsqueeze(-1).to(hidden_states.dtype)
        return hidden_states

    def _related(self, audio_features: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """What the layers make of X_a, padding not yet zeroed."""
        hidden_states = audio_features.to(self.layers[0].final_layer_norm.weight.dtype)
        if self.layers[0].gradient_checkpointing and torch.is_grad_enabled() and not hidden_states.requires_grad:
            hidden_states = hidden_states.detach().requires_grad_()  # re-entrant checkpointing asks it of its input
        mask = create_bidirectional_mask(
            config=self.config, inputs_embeds=hidden_states, attention_mask=attention_mask
        )
        for layer in self.layers:
            hidden_states = layer(hidden_states, attention_mask=mask)
        return hidden_states


@dataclass
class XEmoGPTCueOutput(ModelOutput):
    """`embedding` (N, E), `step_embeddings` (N, T, E), `step_weights` (N, T) that sum to 1; E = cue_embedding_size."""

    embedding: torch.FloatTensor | None = None
    step_embeddings: torch.FloatTensor | None = None
    step_weights: torch.FloatTensor | None = None


class VideoCueHead(nn.Module):
    """Compares a clip's frames with cue texts, and holds what stage 1 trains beside VECB (eq. 3-5).

    Attention pooling softmax(H_v . v) with one learnable vector, then a projection; the text side projects the output
    of a frozen text tower, which is not part of this model.
    """

    def __init__(self, config: XEmoGPTConfig):
        super().__init__()
        width, size = config.video_bridge_config.hidden_size, config.cue_embedding_size
        self.attention_vector = nn.Parameter(torch.zeros(width))
        self.projection = nn.Linear(width, size)
        self.text_projection = nn.Linear(config.video_text_size, size)
        self.temporal = nn.Sequential(nn.Linear(size, size), nn.ReLU(), nn.Linear(size, 1))
        self.reconstruction = nn.Linear(width, width)
        self.mask_token = nn.Parameter(torch.zeros(width))
        self.logit_scale = nn.Parameter(torch.zeros(1))  # with a dimension, for FSDP2 shards along the first

    def forward(self, hidden_states: torch.Tensor) -> XEmoGPTCueOutput:
        """H_v (N, T, d_v) -> embedding of the clip, of each frame, and the weight each frame had in the pool."""
        hidden_states = hidden_states.to(self.attention_vector.dtype)  # without a bridge it is the tower's
        weights = (hidden_states @ self.attention_vector).softmax(dim=-1)
        pooled = torch.einsum("nt,ntd->nd", weights, hidden_states)
        return XEmoGPTCueOutput(self.projection(pooled), self.projection(hidden_states), weights)


class AudioCueHead(nn.Module):
    """Compares a clip's voice with cue texts, and holds what stage 2 trains beside AECB (eq. 6)."""

    def __init__(self, config: XEmoGPTConfig):
        super().__init__()
        self.projection = nn.Linear(config.audio_bridge_config.hidden_size, config.cue_embedding_size)
        self.text_projection = nn.Linear(config.audio_text_size, config.cue_embedding_size)
        self.logit_scale = nn.Parameter(torch.zeros(1))  # as above

    def forward(self, hidden_states: torch.Tensor, attention_mask: torch.Tensor | None = None) -> XEmoGPTCueOutput:
        """H_a (N, l_a, d_a) with its mask (N, l_a) bool -> embedding of the clip and of each step."""
        hidden_states = hidden_states.to(self.projection.weight.dtype)  # without a bridge it is the tower's
        weights = hidden_states.new_ones(hidden_states.shape[:2])
        if attention_mask is not None:
            weights = attention_mask.to(hidden_states.dtype)
        weights = weights / weights.sum(dim=-1, keepdim=True).clamp(min=1)
        pooled = torch.einsum("nt,ntd->nd", weights, hidden_states)
        return XEmoGPTCueOutput(self.projection(pooled), self.projection(hidden_states), weights)


__all__ = [
    "AudioCueHead",
    "AudioEmotionalCueBridge",
    "VideoCueHead",
    "VideoEmotionalCueBridge",
    "XEmoGPTCueOutput",
]
