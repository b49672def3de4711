# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What stages 1 and 2 train: a bridge and its cue head, on the features of frozen towers.

The modules are those of a cue encoder, under the names they have in XEmoGPT (`video_bridge.*`, `video_cue_head.*`), so
that a checkpoint holds what is trained and nothing else, and moves on to stage 3 without renaming.
"""

from typing import Any

import torch
from torch import nn

from xemogpt.bridges_xemogpt import (
    AudioCueHead,
    AudioEmotionalCueBridge,
    VideoCueHead,
    VideoEmotionalCueBridge,
)

MASKS = ("token", "zeros")


class VideoAlignment(nn.Module):
    """VECB with its head, in training (section III-B).

    Args:
        bridge, head: of a `XEmoGPTVideoCueEncoder`, shared with it.
        temporal, reconstruction: whether equations 4 and 5 are trained; the heads of one that is not are frozen.
        mask: masked frames become a learnable token (`"token"`, the paper) or zeros (`"zeros"`, the authors' code).
    """

    def __init__(
        self,
        bridge: VideoEmotionalCueBridge,
        head: VideoCueHead,
        temporal: bool = True,
        reconstruction: bool = True,
        mask: str = "token",
    ):
        super().__init__()
        if mask not in MASKS:
            raise ValueError(f"mask must be one of {', '.join(MASKS)}, not {mask!r}")
        if not len(bridge.layers) and (temporal or reconstruction):
            raise ValueError(
                "a video bridge without layers relates no frames, so neither their order nor a masked one can be "
                "learnt: set temporal_weight and reconstruction_weight to 0"
            )
        self.video_bridge, self.video_cue_head = bridge, head
        self.temporal, self.reconstruction, self.mask = temporal, reconstruction, mask
        bridge.requires_grad_(True)
        head.requires_grad_(True)
        head.temporal.requires_grad_(temporal)
        head.reconstruction.requires_grad_(reconstruction)
        head.mask_token.requires_grad_(reconstruction and mask == "token")

    @property
    def head(self) -> VideoCueHead:
        return self.video_cue_head

    def declared(self) -> list[str]:
        """Patterns of the parameters that are trained."""
        names = ["attention_vector", "projection.*", "text_projection.*", "logit_scale"]
        names += ["temporal.*"] if self.temporal else []
        names += ["reconstruction.*"] if self.reconstruction else []
        names += ["mask_token"] if self.reconstruction and self.mask == "token" else []
        bridge = ["video_bridge.*"] if len(self.video_bridge.layers) else []
        return [*bridge, *(f"video_cue_head.{name}" for name in names)]

    def forward(
        self,
        features: torch.Tensor,
        text_embeddings: torch.Tensor,
        orders: torch.Tensor | None = None,
        masked: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """One pass through VECB for the clips as they are, shuffled, and masked.

        Args:
            features: X_v (B, T, d_v). text_embeddings: (B, text size), of the frozen text tower.
            orders: (B, T), a wrong order of each clip's frames. masked: (B, T) bool.

        Returns:
            `media`, `texts` (B, E); `logit_scale`; with `orders` the logits `ordered` and `shuffled` (B,); with
            `masked` the `reconstructed` frames (B, T, d_v).
        """
        head, dtype = self.video_cue_head, self.video_cue_head.attention_vector.dtype
        variants = [features.to(dtype)]
        if orders is not None:
            variants.append(shuffle(variants[0], orders))
        if masked is not None:
            fill = head.mask_token if self.mask == "token" else torch.zeros_like(head.mask_token)
            variants.append(torch.where(masked.unsqueeze(-1), fill, variants[0]))
        # The bridge adds the position embedding: frames are shuffled and masked before it, as equations 4 and 5 need.
        hidden = self.video_bridge(torch.cat(variants)).chunk(len(variants))
        media = head(hidden[0]).embedding
        outputs = {
            "media": media,
            "texts": head.text_projection(text_embeddings.to(dtype)),
            "logit_scale": head.logit_scale,
        }
        if orders is not None:
            outputs["ordered"] = head.temporal(media).squeeze(-1)
            outputs["shuffled"] = head.temporal(head(hidden[1]).embedding).squeeze(-1)
        if masked is not None:
            outputs["reconstructed"] = head.reconstruction(hidden[-1])
        return outputs


class AudioAlignment(nn.Module):
    """AECB with its head, in training (section III-C). bridge, head: of a `XEmoGPTAudioCueEncoder`, shared with it."""

    def __init__(self, bridge: AudioEmotionalCueBridge, head: AudioCueHead):
        super().__init__()
        self.audio_bridge, self.audio_cue_head = bridge, head
        bridge.requires_grad_(True)
        head.requires_grad_(True)

    @property
    def head(self) -> AudioCueHead:
        return self.audio_cue_head

    def declared(self) -> list[str]:
        """Patterns of the parameters that are trained."""
        return [*(["audio_bridge.*"] if len(self.audio_bridge.layers) else []), "audio_cue_head.*"]

    def forward(
        self, features: torch.Tensor, text_embeddings: torch.Tensor, features_mask: torch.Tensor | None = None
    ) -> dict[str, torch.Tensor]:
        """X_a (B, l_a, d_a) with its mask (B, l_a) bool, and texts (B, text size) -> `media`, `texts` (B, E) and
        `logit_scale`."""
        projection = self.audio_cue_head.text_projection
        hidden = self.audio_bridge(features, features_mask)
        return {
            "media": self.audio_cue_head(hidden, features_mask).embedding,
            "texts": projection(text_embeddings.to(projection.weight.dtype)),
            "logit_scale": self.audio_cue_head.logit_scale,
        }


def shuffle(features: torch.Tensor, orders: torch.Tensor) -> torch.Tensor:
    """Each clip's frames (B, T, d) in its own order (B, T)."""
    return features.gather(1, orders.unsqueeze(-1).expand(-1, -1, features.shape[-1]))


def build_alignment(encoder: Any, **kwargs: Any) -> VideoAlignment | AudioAlignment:
    """The trained part of a cue encoder; `kwargs`: of `VideoAlignment`."""
    if encoder.config.media == "video":
        return VideoAlignment(encoder.bridge, encoder.head, **kwargs)
    return AudioAlignment(encoder.bridge, encoder.head, **kwargs)
