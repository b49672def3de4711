# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Emotional CLIP and CLAP: what stages 1 and 2 train, usable without an LLM (section III-B, III-C).

`XEmoGPTVideoCueEncoder` is a frozen image tower, VECB and its cue head, beside a frozen text tower;
`XEmoGPTAudioCueEncoder` the same with AECB. Both put clips and cue texts into one space:

    encoder = AutoModel.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs = processor(videos=["clip.mp4"], text=["a person who looks sad", "a person who looks glad"])
    encoder(**inputs).logits_per_media.softmax(-1)  # (1, 2)
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec
from transformers.utils import ModelOutput

from .backbones_xemogpt import build_sentence_encoder, load_audio, load_sentence_encoder, load_vision
from .bridges_xemogpt import (
    AudioCueHead,
    AudioEmotionalCueBridge,
    VideoCueHead,
    VideoEmotionalCueBridge,
    XEmoGPTCueOutput,
)
from .configuration_xemogpt import (
    CLASS_TOKEN_ENCODERS,
    CLIP_VIT_L_14,
    HUBERT_LARGE,
    XEmoGPTBridgeConfig,
    check_width,
)
from .modeling_xemogpt import XEmoGPTPreTrainedModel
from .towers_xemogpt import build_audio_tower, encode_each_voice, encode_frames

CLIP_TEXT_L_14 = {"hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12, "projection_dim": 768}
LABSE = {"vocab_size": 501153}
POOLINGS = ("projection", "pooled", "mean", "class")


class XEmoGPTCueConfig(PreTrainedConfig):
    """What the two configurations share; see the subclasses."""

    media: ClassVar[str]  # "video" or "audio": the prefix of the parts' names
    tower: ClassVar[str]  # the name of its tower
    text_pooling: str | None = None

    def _complete(self) -> None:
        tower = getattr(self, f"{self.tower}_config")
        if getattr(self, f"{self.media}_bridge_config") is None:
            setattr(self, f"{self.media}_bridge_config", XEmoGPTBridgeConfig.like_tower(tower))
        check_width(self, self.media, tower)
        clip = self.text_config.model_type == "clip_text_model"
        pooling = getattr(self, "text_pooling", None) or ("projection" if clip else "pooled")
        self.text_pooling = pooling
        if pooling not in POOLINGS or (pooling == "projection") != clip:
            raise ValueError(
                f"text_pooling {pooling!r} does not suit a '{self.text_config.model_type}': CLIP's text "
                f"tower takes 'projection', others one of {', '.join(POOLINGS[1:])}"
            )
        size = self.text_config.projection_dim if clip else self.text_config.hidden_size
        setattr(self, f"{self.media}_text_size", size)
        name = "Video" if self.media == "video" else "Audio"
        self.auto_map = {
            "AutoConfig": f"alignment_xemogpt.XEmoGPT{name}CueConfig",
            "AutoModel": f"alignment_xemogpt.XEmoGPT{name}CueEncoder",
            "AutoProcessor": f"alignment_processing_xemogpt.XEmoGPT{name}CueProcessor",
        }


class XEmoGPTVideoCueConfig(XEmoGPTCueConfig):
    r"""
    vision_config, video_bridge_config, num_frames, vision_feature, cue_embedding_size: as in `XEmoGPTConfig`.
    text_config (`dict` or `PreTrainedConfig`, *optional*): the frozen text tower. Defaults to CLIP ViT-L/14's.
    text_pooling (`str`, *optional*): how a text becomes one vector: `"projection"` (CLIP's text features),
        `"pooled"` (the encoder's pooled state: LaBSE), `"mean"` over its tokens, or `"class"` (its first token).
    """

    model_type = "xemogpt_video_cue_encoder"
    _auto_class = "AutoConfig"
    media: ClassVar[str] = "video"
    tower: ClassVar[str] = "vision"
    sub_configs_defaults = {  # noqa: RUF012 - transformers reads this class attribute
        "vision_config": SubConfigSpec(AutoConfig, model_type="clip_vision_model", init_kwargs=CLIP_VIT_L_14),
        "text_config": SubConfigSpec(AutoConfig, model_type="clip_text_model", init_kwargs=CLIP_TEXT_L_14),
        "video_bridge_config": SubConfigSpec(XEmoGPTBridgeConfig, optional=True),
    }

    vision_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    video_bridge_config: dict | PreTrainedConfig | None = None
    num_frames: int = 16
    vision_feature: str | None = None
    cue_embedding_size: int = 768
    video_text_size: int = 768
    text_pooling: str | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.vision_feature is None:
            self.vision_feature = "class" if self.vision_config.model_type in CLASS_TOKEN_ENCODERS else "pooled"
        self._complete()


class XEmoGPTAudioCueConfig(XEmoGPTCueConfig):
    r"""
    audio_config, audio_bridge_config, cue_embedding_size: as in `XEmoGPTConfig`.
    text_config (`dict` or `PreTrainedConfig`, *optional*): the frozen text tower. Defaults to LaBSE.
    text_pooling (`str`, *optional*): see `XEmoGPTVideoCueConfig`.
    """

    model_type = "xemogpt_audio_cue_encoder"
    _auto_class = "AutoConfig"
    media: ClassVar[str] = "audio"
    tower: ClassVar[str] = "audio"
    sub_configs_defaults = {  # noqa: RUF012
        "audio_config": SubConfigSpec(AutoConfig, model_type="hubert", init_kwargs=HUBERT_LARGE),
        "text_config": SubConfigSpec(AutoConfig, model_type="bert", init_kwargs=LABSE),
        "audio_bridge_config": SubConfigSpec(XEmoGPTBridgeConfig, optional=True),
    }

    audio_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    audio_bridge_config: dict | PreTrainedConfig | None = None
    cue_embedding_size: int = 768
    audio_text_size: int = 768
    text_pooling: str | None = None
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        self._complete()


@dataclass
class XEmoGPTCueEncoderOutput(ModelOutput):
    """`logits_per_media` (N, C) is cosine times the learnt scale, `logits_per_text` (C, N) its transpose;
    `media_embeds` (N, E) and `text_embeds` (C, E) have length 1."""

    logits_per_media: torch.FloatTensor | None = None
    logits_per_text: torch.FloatTensor | None = None
    media_embeds: torch.FloatTensor | None = None
    text_embeds: torch.FloatTensor | None = None


class XEmoGPTCueEncoder(XEmoGPTPreTrainedModel):
    """What the two encoders share: the frozen towers and the text side."""

    base_model_prefix = ""
    _no_split_modules = ["VideoEmotionalCueBridge", "AudioEmotionalCueBridge"]  # noqa: RUF012
    _auto_class = "AutoModel"

    @property
    def tower(self) -> PreTrainedModel:
        return getattr(self, f"{self.config.tower}_tower")

    @property
    def head(self) -> VideoCueHead | AudioCueHead:
        return getattr(self, f"{self.config.media}_cue_head")

    @property
    def bridge(self) -> VideoEmotionalCueBridge | AudioEmotionalCueBridge:
        return getattr(self, f"{self.config.media}_bridge")

    @property
    def feature_width(self) -> int:
        """Width of the tower's features, d_v or d_a."""
        return getattr(self.config, f"{self.config.media}_bridge_config").hidden_size

    def _towers(self) -> list[nn.Module]:
        """Those there are: while a parent class builds, none is."""
        names = (f"{self.config.tower}_tower", "text_tower")
        return [getattr(self, name) for name in names if hasattr(self, name)]

    def freeze_towers(self) -> None:
        """Takes both towers out of training: no gradient, and eval mode for good."""
        for tower in self._towers():
            tower.requires_grad_(False)
            tower.eval()

    def train(self, mode: bool = True) -> "XEmoGPTCueEncoder":
        nn.Module.train(self, mode)
        for tower in self._towers():
            tower.eval()
        return self

    @torch.no_grad()
    def get_sentence_features(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None
    ) -> torch.FloatTensor:
        """Texts (C, S) -> (C, text size): what the frozen text tower makes of them, before the trained projection."""
        outputs = self.text_tower(input_ids=input_ids, attention_mask=attention_mask)
        pooling = self.config.text_pooling
        if pooling == "projection":
            return outputs.text_embeds
        if pooling == "pooled":
            return outputs.pooler_output
        if pooling == "class":
            return outputs.last_hidden_state[:, 0]
        weights = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        weights = weights.unsqueeze(-1).to(outputs.last_hidden_state.dtype)
        return (outputs.last_hidden_state * weights).sum(1) / weights.sum(1)

    def get_text_features(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        text_embeddings: torch.FloatTensor | None = None,
    ) -> XEmoGPTCueOutput:
        """Texts (C, S), or their sentence features (C, text size) -> `embedding` (C, E) in the cue space."""
        if (input_ids is None) == (text_embeddings is None):
            raise ValueError("pass exactly one of input_ids and text_embeddings")
        if text_embeddings is None:
            text_embeddings = self.get_sentence_features(input_ids, attention_mask)
        projection = self.head.text_projection
        return XEmoGPTCueOutput(embedding=projection(text_embeddings.to(projection.weight.dtype)))

    def _compare(self, media: XEmoGPTCueOutput, texts: XEmoGPTCueOutput) -> XEmoGPTCueEncoderOutput:
        media_embeds, text_embeds = (nn.functional.normalize(each.embedding, dim=-1) for each in (media, texts))
        logits = self.head.logit_scale.exp() * media_embeds @ text_embeds.T
        return XEmoGPTCueEncoderOutput(logits, logits.T, media_embeds, text_embeds)

    @classmethod
    def from_towers(
        cls, tower: Any, text: Any, dtype: torch.dtype | None = None, **config_kwargs: Any
    ) -> "XEmoGPTCueEncoder":
        """An encoder with an untrained bridge and head.

        Args:
            tower, text: the media tower and the text tower; each a folder, a Hub id, a loaded model, or a config (then
                that part is random too).
            dtype: of the towers; default: each as it comes. Bridge and head are float32, to be trained.
            config_kwargs: further fields of the configuration.
        """
        kind = cls.config_class.tower
        feature = config_kwargs.get("vision_feature")
        loaded = load_vision(tower, dtype, feature) if kind == "vision" else load_audio(tower, dtype)
        text_tower = load_sentence_encoder(text, dtype, config_kwargs.get("text_pooling"))
        config = cls.config_class(**{f"{kind}_config": loaded.config}, text_config=text_tower.config, **config_kwargs)
        with torch.device("meta"):  # the towers are put in below
            encoder = cls(config)
        setattr(encoder, f"{kind}_tower", loaded)
        encoder.text_tower = text_tower
        for part in (encoder.bridge, encoder.head):
            part.to_empty(device="cpu").float().apply(encoder._init_weights)
        encoder.freeze_towers()
        return encoder.eval()


class XEmoGPTVideoCueEncoder(XEmoGPTCueEncoder):
    """Frames and cue texts in one space: CLIP with VECB (stage 1)."""

    config: XEmoGPTVideoCueConfig
    config_class = XEmoGPTVideoCueConfig
    input_modalities = ("video", "text")

    def __init__(self, config: XEmoGPTVideoCueConfig):
        super().__init__(config)
        config.video_bridge_config._attn_implementation = (
            config.video_bridge_config._attn_implementation or config._attn_implementation
        )
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.text_tower = build_sentence_encoder(config.text_config)
        self.video_bridge = VideoEmotionalCueBridge(config.video_bridge_config, config.num_frames)
        self.video_cue_head = VideoCueHead(config)
        self.post_init()
        self.freeze_towers()

    @torch.no_grad()
    def get_tower_features(self, pixel_values_videos: torch.FloatTensor) -> tuple[torch.Tensor, None]:
        """Frames (N, T, 3, H, W) -> X_v (N, T, d_v), which has no padding and so no mask."""
        return encode_frames(self.vision_tower, pixel_values_videos, self.config.vision_feature)[0], None

    def get_video_features(
        self,
        pixel_values_videos: torch.FloatTensor | None = None,
        frame_features: torch.FloatTensor | None = None,
    ) -> XEmoGPTCueOutput:
        """Frames (N, T, 3, H, W), or X_v (N, T, d_v) -> `embedding` (N, E) of each clip, `step_embeddings` (N, T, E)
        of each frame and the `step_weights` (N, T) that the frames have in the clip."""
        if (pixel_values_videos is None) == (frame_features is None):
            raise ValueError("pass exactly one of pixel_values_videos and frame_features")
        if frame_features is None:
            frame_features, _ = self.get_tower_features(pixel_values_videos)
        return self.video_cue_head(self.video_bridge(frame_features))

    def forward(
        self,
        pixel_values_videos: torch.FloatTensor,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None = None,
    ) -> XEmoGPTCueEncoderOutput:
        """Compares every clip with every text."""
        return self._compare(
            self.get_video_features(pixel_values_videos), self.get_text_features(input_ids, attention_mask)
        )


class XEmoGPTAudioCueEncoder(XEmoGPTCueEncoder):
    """Voices and cue texts in one space: HuBERT with AECB (stage 2)."""

    config: XEmoGPTAudioCueConfig
    config_class = XEmoGPTAudioCueConfig
    input_modalities = ("audio", "text")

    def __init__(self, config: XEmoGPTAudioCueConfig):
        super().__init__(config)
        config.audio_bridge_config._attn_implementation = (
            config.audio_bridge_config._attn_implementation or config._attn_implementation
        )
        self.audio_tower = build_audio_tower(config.audio_config)
        self.text_tower = build_sentence_encoder(config.text_config)
        self.audio_bridge = AudioEmotionalCueBridge(config.audio_bridge_config)
        self.audio_cue_head = AudioCueHead(config)
        self.post_init()
        self.freeze_towers()

    @torch.no_grad()
    def get_tower_features(self, **inputs: Any) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Waveforms (N, L) or log-mel (N, mels, frames) with their mask -> X_a (N, l_a, d_a) and its mask (N, l_a).

        A tower into which padding leaks gets each clip alone, at its own length.
        """
        return encode_each_voice(self.audio_tower, **inputs)

    def get_audio_features(
        self,
        audio_features: torch.FloatTensor | None = None,
        features_mask: torch.Tensor | None = None,
        **inputs: Any,
    ) -> XEmoGPTCueOutput:
        """Waveforms or log-mel (see `get_tower_features`), or X_a (N, l_a, d_a) with its mask -> `embedding` (N, E) of
        each clip, `step_embeddings` (N, l_a, E) of each step and their `step_weights` (N, l_a)."""
        if (audio_features is None) == (not inputs):
            raise ValueError("pass either audio_features or a waveform")
        if audio_features is None:
            audio_features, features_mask = self.get_tower_features(**inputs)
        return self.audio_cue_head(self.audio_bridge(audio_features, features_mask), features_mask)

    def forward(
        self,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        input_features: torch.FloatTensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
    ) -> XEmoGPTCueEncoderOutput:
        """Compares every voice with every text."""
        media = self.get_audio_features(
            input_values=input_values,
            input_values_mask=input_values_mask,
            input_features=input_features,
            input_features_mask=input_features_mask,
        )
        return self._compare(media, self.get_text_features(input_ids, attention_mask))


__all__ = [
    "XEmoGPTAudioCueConfig",
    "XEmoGPTAudioCueEncoder",
    "XEmoGPTVideoCueConfig",
    "XEmoGPTVideoCueEncoder",
]
