# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Configuration of XEmoGPT: two frozen towers, two emotional cue bridges with their heads, and a causal LLM.

The defaults are the paper's model (arXiv 2602.05496, section III-A): CLIP ViT-L/14, HuBERT-large, Qwen3-4B, two-layer
bridges, sixteen frames. Every part can be replaced: `vision_config` takes any transformers image encoder with a
per-image class token or pooled state, `audio_config` any encoder of the HuBERT family (waveforms) or a Whisper encoder
(log-mel), `text_config` any causal LLM.
"""

from typing import Any

from transformers import AutoConfig
from transformers.configuration_utils import PreTrainedConfig, SubConfigSpec

CLIP_VIT_L_14 = {
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "image_size": 224,
    "patch_size": 14,
    "projection_dim": 768,
}
HUBERT_LARGE = {  # TencentGameMate/chinese-hubert-large: the layer-norm kind, whose features do not depend on padding
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "do_stable_layer_norm": True,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "feat_proj_layer_norm": True,
}
QWEN3_4B = {
    "hidden_size": 2560,
    "intermediate_size": 9728,
    "num_hidden_layers": 36,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "vocab_size": 151936,
    "max_position_embeddings": 40960,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1000000.0},
    "tie_word_embeddings": True,
    "bos_token_id": 151643,
    "eos_token_id": 151645,
    "pad_token_id": 151643,
}
AUTO_MODELS = (
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
)
# Image encoders whose first token is a class token; all others are read through their pooled state.
CLASS_TOKEN_ENCODERS = frozenset(
    {
        "beit",
        "chinese_clip_vision_model",
        "clip_vision_model",
        "deit",
        "dinov2",
        "dinov2_with_registers",
        "dinov3_vit",
        "vit",
    }
)


class XEmoGPTBridgeConfig(PreTrainedConfig):
    r"""
    Layers of one emotional cue bridge. The width must equal that of the tower it reads.

    hidden_size (`int`, *optional*, defaults to 1024): width d_v or d_a.
    num_hidden_layers (`int`, *optional*, defaults to 2): the paper's number of layers; 0 is no bridge (Table V), and
        the tower's features go to the projector as they are.
    """

    model_type = "xemogpt_bridge"

    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 2
    num_attention_heads: int = 16
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    attention_dropout: float = 0.0
    hidden_dropout: float = 0.0
    activation_dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.num_hidden_layers < 0:
            raise ValueError(f"num_hidden_layers of a bridge is 0 (no bridge) or more, not {self.num_hidden_layers}")

    @classmethod
    def like_tower(cls, tower: PreTrainedConfig) -> "XEmoGPTBridgeConfig":
        """A bridge of the tower's own layer shape, as the paper builds both (section III-A)."""

        def first(*names: str, default: Any) -> Any:
            return next((getattr(tower, name) for name in names if getattr(tower, name, None) is not None), default)

        width = _width(tower)
        if width is None:
            raise ValueError(f"a tower of type '{tower.model_type}' names no hidden_size; pass its bridge's config")
        return cls(
            hidden_size=width,
            intermediate_size=first("encoder_ffn_dim", "intermediate_size", default=4 * width),
            num_attention_heads=first("encoder_attention_heads", "num_attention_heads", default=max(1, width // 64)),
            hidden_act=first("hidden_act", "activation_function", default="gelu"),
            layer_norm_eps=first("layer_norm_eps", default=1e-5),
            attention_dropout=first("attention_dropout", default=0.0),
            hidden_dropout=first("hidden_dropout", default=0.0),
            activation_dropout=first("activation_dropout", default=0.0),
        )


def check_width(config: PreTrainedConfig, media: str, tower: PreTrainedConfig) -> None:
    """Raises ValueError where the bridge of a medium is not as wide as its tower."""
    width, bridge = _width(tower), getattr(config, f"{media}_bridge_config")
    if width is not None and width != bridge.hidden_size:
        raise ValueError(f"{media}_bridge_config is {bridge.hidden_size} wide, but its tower {width}")


def _width(tower: PreTrainedConfig) -> int | None:
    """Of the features that a tower gives, where its configuration says so."""
    stages = getattr(tower, "hidden_sizes", None) or [None]  # of a convolutional one; the last is pooled
    return getattr(tower, "d_model", None) or getattr(tower, "hidden_size", None) or stages[-1]


class XEmoGPTConfig(PreTrainedConfig):
    r"""
    vision_config (`dict` or `PreTrainedConfig`, *optional*):
        The vision tower, run frozen on every frame. Defaults to CLIP ViT-L/14.
    audio_config (`dict` or `PreTrainedConfig`, *optional*):
        The audio tower, run frozen on the whole clip. Defaults to HuBERT-large.
    text_config (`dict` or `PreTrainedConfig`, *optional*):
        The LLM. Defaults to Qwen3-4B.
    video_bridge_config, audio_bridge_config (`dict` or `XEmoGPTBridgeConfig`, *optional*):
        The Video and Audio Emotional Cue Bridge (VECB, AECB). Default: two layers of the tower's own shape.
    num_frames (`int`, *optional*, defaults to 16): frames per clip, one LLM token each.
    vision_feature (`str`, *optional*): `"class"` reads the raw class token of the last hidden state, `"pooled"` the
        encoder's pooled state. Default: `"class"` where the encoder has a class token.
    audio_pooling (`int`, *optional*, defaults to 1): how many audio steps are averaged into one LLM token. 1 is the
        paper's; a small LLM learns faster from fewer tokens.
    cue_embedding_size (`int`, *optional*, defaults to 768): width of the space in which cues and media are compared.
    video_text_size, audio_text_size (`int`, *optional*, defaults to 768): width of the frozen text encoder each
        cue-alignment head was trained against (CLIP's text tower, LaBSE).
    video_token_id, audio_token_id (`int`): placeholders in `input_ids`, one per frame and one per audio token. They
        may lie above the LLM's vocabulary: the model never embeds nor emits them.
    freeze_towers (`bool`, *optional*, defaults to `True`): towers stay in eval mode and get no gradient.
    untrained_parts (`list[str]`, *optional*): parts whose weights are random, so that no output of theirs is evidence.
    caution (`str`, *optional*): what whoever reads an answer must know of the training; told with every answer.
    """

    model_type = "xemogpt"
    _auto_class = "AutoConfig"
    sub_configs_defaults = {  # noqa: RUF012 - transformers reads this class attribute
        "vision_config": SubConfigSpec(AutoConfig, model_type="clip_vision_model", init_kwargs=CLIP_VIT_L_14),
        "audio_config": SubConfigSpec(AutoConfig, model_type="hubert", init_kwargs=HUBERT_LARGE),
        "text_config": SubConfigSpec(AutoConfig, model_type="qwen3", init_kwargs=QWEN3_4B),
        "video_bridge_config": SubConfigSpec(XEmoGPTBridgeConfig, optional=True),
        "audio_bridge_config": SubConfigSpec(XEmoGPTBridgeConfig, optional=True),
    }

    vision_config: dict | PreTrainedConfig | None = None
    audio_config: dict | PreTrainedConfig | None = None
    text_config: dict | PreTrainedConfig | None = None
    video_bridge_config: dict | PreTrainedConfig | None = None
    audio_bridge_config: dict | PreTrainedConfig | None = None
    num_frames: int = 16
    vision_feature: str | None = None
    audio_pooling: int = 1
    cue_embedding_size: int = 768
    video_text_size: int = 768
    audio_text_size: int = 768
    video_token_id: int = 151656
    audio_token_id: int = 151669
    freeze_towers: bool = True
    tie_word_embeddings: bool | None = None
    initializer_range: float = 0.02
    untrained_parts: list | None = None
    caution: str | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.vision_config.model_type == "clip":  # a composite CLIP checkpoint: its vision half is meant
            self.vision_config = self.vision_config.vision_config
        if self.video_bridge_config is None:
            self.video_bridge_config = XEmoGPTBridgeConfig.like_tower(self.vision_config)
        if self.audio_bridge_config is None:
            self.audio_bridge_config = XEmoGPTBridgeConfig.like_tower(self.audio_config)
        if self.vision_feature is None:
            self.vision_feature = "class" if self.vision_config.model_type in CLASS_TOKEN_ENCODERS else "pooled"
        if self.tie_word_embeddings is None:  # transformers ties by the top-level flag alone
            self.tie_word_embeddings = bool(getattr(self.text_config, "tie_word_embeddings", False))
        self.untrained_parts = list(self.untrained_parts or [])
        # By hand: save_pretrained adds only the class's own auto class, and a checkpoint must load through all.
        self.auto_map = {
            "AutoConfig": "configuration_xemogpt.XEmoGPTConfig",
            **dict.fromkeys(AUTO_MODELS, "modeling_xemogpt.XEmoGPTForConditionalGeneration"),
            "AutoProcessor": "processing_xemogpt.XEmoGPTProcessor",
        }
        self._check()

    def _check(self) -> None:
        if self.vision_feature not in ("class", "pooled"):
            raise ValueError(f"vision_feature must be 'class' or 'pooled', not {self.vision_feature!r}")
        for name in ("num_frames", "audio_pooling"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.video_token_id == self.audio_token_id:
            raise ValueError(f"video_token_id and audio_token_id are both {self.video_token_id}; they must differ")
        check_width(self, "video", self.vision_config)
        check_width(self, "audio", self.audio_config)


__all__ = ["XEmoGPTBridgeConfig", "XEmoGPTConfig"]
