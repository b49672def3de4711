# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""XEmoGPT: explains the emotion in a clip from visual and audio cues (arXiv 2602.05496, section III).

`XEmoGPTModel.forward` shows the whole path: frozen tower -> bridge -> linear projector -> one LLM token per frame and
per audio step -> LLM, with the modality gradient gate in between. The bridges are in `bridges_xemogpt.py`.
"""

import os
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from transformers import AutoModel, AutoTokenizer, GenerationConfig
from transformers import initialization as init
from transformers.cache_utils import Cache
from transformers.configuration_utils import PreTrainedConfig
from transformers.generation import GenerationMixin
from transformers.modeling_outputs import (
    BaseModelOutputWithPast,
    BaseModelOutputWithPooling,
    CausalLMOutputWithPast,
)
from transformers.modeling_utils import PreTrainedModel, slice_logits_to_keep
from transformers.utils import can_return_tuple, is_torchdynamo_compiling, torch_compilable_check

from .backbones_xemogpt import load_audio, load_text, load_vision, pad_token_id
from .bridges_xemogpt import (
    AudioCueHead,
    AudioEmotionalCueBridge,
    VideoCueHead,
    VideoEmotionalCueBridge,
    XEmoGPTCueOutput,
)
from .configuration_xemogpt import XEmoGPTConfig
from .towers_xemogpt import build_audio_tower, encode_each_voice, encode_frames, encode_voices, pool_steps

VIDEO_TOKEN, AUDIO_TOKEN = "<|video_pad|>", "<|audio_pad|>"
AUDIO_INPUTS = ("input_values", "input_values_mask", "input_features", "input_features_mask")
OWN_PARTS = (
    "video_bridge",
    "audio_bridge",
    "video_projector",
    "audio_projector",
    "video_cue_head",
    "audio_cue_head",
)


@dataclass
class XEmoGPTAudioFeatures(BaseModelOutputWithPooling):
    """`last_hidden_state` H_a (N, l_a, d_a), `pooler_output` Z_a (N, l_z, d), both zero at padding.

    `attention_mask` (N, l_a) bool marks the real audio steps, `token_mask` (N, l_z) the real LLM tokens; None says
    that all are. l_z is l_a unless `config.audio_pooling` averages steps.
    """

    attention_mask: torch.BoolTensor | None = None
    token_mask: torch.BoolTensor | None = None


@dataclass
class XEmoGPTModelOutputWithPast(BaseModelOutputWithPast):
    """Adds the LLM tokens of the media: `video_hidden_states` (N_v, T, d), `audio_hidden_states` (N_a, l_a, d)."""

    video_hidden_states: torch.FloatTensor | None = None
    audio_hidden_states: torch.FloatTensor | None = None


@dataclass
class XEmoGPTCausalLMOutputWithPast(CausalLMOutputWithPast):
    """Adds the LLM tokens of the media: `video_hidden_states` (N_v, T, d), `audio_hidden_states` (N_a, l_a, d)."""

    video_hidden_states: torch.FloatTensor | None = None
    audio_hidden_states: torch.FloatTensor | None = None


class XEmoGPTPreTrainedModel(PreTrainedModel):
    config: XEmoGPTConfig
    config_class = XEmoGPTConfig
    base_model_prefix = "model"
    input_modalities = ("video", "audio", "text")
    supports_gradient_checkpointing = True
    _no_split_modules = ["VideoEmotionalCueBridge", "AudioEmotionalCueBridge"]  # noqa: RUF012
    _skip_keys_device_placement = ["past_key_values"]  # noqa: RUF012
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, VideoEmotionalCueBridge) and module.position_embedding is not None:
            init.normal_(module.position_embedding, mean=0.0, std=0.02)
        elif isinstance(module, VideoCueHead):
            init.normal_(module.attention_vector, mean=0.0, std=0.02)
            init.normal_(module.mask_token, mean=0.0, std=0.02)
        if isinstance(module, (VideoCueHead, AudioCueHead)):
            init.constant_(module.logit_scale, 2.6592)  # ln(1 / .07), CLIP's start

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> Any:
        """As `PreTrainedModel.from_pretrained`; the frozen towers are frozen again, which loading forgets."""
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        model.freeze_towers()
        return loaded

    @classmethod
    def is_custom_code(cls) -> bool:
        """False: transformers distrusts how custom code initialises, and so would skip the towers' own ways."""
        return False

    def freeze_towers(self) -> None:
        """Takes the towers out of training, no gradient and eval mode for good, if `config.freeze_towers`."""
        if self.config.freeze_towers:
            for tower in (self.base_model.vision_tower, self.base_model.audio_tower):
                tower.requires_grad_(False)
                tower.eval()

    def train(self, mode: bool = True) -> "XEmoGPTPreTrainedModel":
        """Frozen towers stay in eval mode: HuBERT in train mode masks and drops at random."""
        super().train(mode)
        if self.config.freeze_towers and hasattr(self.base_model, "vision_tower"):
            self.base_model.vision_tower.eval()
            self.base_model.audio_tower.eval()
        return self


class XEmoGPTModel(XEmoGPTPreTrainedModel):
    """Towers, bridges, projectors, cue heads and the LLM without its language modelling head."""

    def __init__(self, config: XEmoGPTConfig):
        super().__init__(config)
        width = config.text_config.hidden_size
        self.vision_tower = AutoModel.from_config(config.vision_config)
        self.audio_tower = build_audio_tower(config.audio_config)
        for bridge in (config.video_bridge_config, config.audio_bridge_config):  # no sub-models
            bridge._attn_implementation = bridge._attn_implementation or config._attn_implementation
        self.video_bridge = VideoEmotionalCueBridge(config.video_bridge_config, config.num_frames)
        self.audio_bridge = AudioEmotionalCueBridge(config.audio_bridge_config)
        self.video_projector = nn.Linear(config.video_bridge_config.hidden_size, width)
        self.audio_projector = nn.Linear(config.audio_bridge_config.hidden_size, width)
        self.video_cue_head = VideoCueHead(config)
        self.audio_cue_head = AudioCueHead(config)
        self.language_model = AutoModel.from_config(config.text_config)
        self.post_init()
        self.freeze_towers()

    def get_input_embeddings(self) -> nn.Module:
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.language_model.set_input_embeddings(value)

    def _tower_grad(self) -> torch.set_grad_enabled:
        return torch.set_grad_enabled(torch.is_grad_enabled() and not self.config.freeze_towers)

    @can_return_tuple
    def get_video_features(self, pixel_values_videos: torch.FloatTensor, **kwargs: Any) -> BaseModelOutputWithPooling:
        """Frames (N, T, 3, H, W) -> `last_hidden_state` H_v (N, T, d_v) and `pooler_output` Z_v (N, T, d)."""
        with self._tower_grad():
            frame_features, outputs = encode_frames(
                self.vision_tower, pixel_values_videos, self.config.vision_feature, **kwargs
            )
        hidden_states = self.video_bridge(frame_features)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=_project(self.video_projector, hidden_states),
            hidden_states=outputs.hidden_states,
            attentions=getattr(outputs, "attentions", None),  # convolutional encoders have none
        )

    @can_return_tuple
    def get_audio_features(
        self,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        input_features: torch.FloatTensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        **kwargs: Any,
    ) -> XEmoGPTAudioFeatures:
        """Waveforms (N, L) at 16 kHz or log-mel (N, mels, frames) -> H_a (N, l_a, d_a) and Z_a (N, l_z, d).

        The tower sees the padded batch as given. One of the group-norm kind (HuBERT-base) lets padding leak into the
        features of shorter clips; `forward` and `generate` therefore give it one clip at a time.
        """
        with self._tower_grad():
            audio_features, mask, outputs = encode_voices(
                self.audio_tower, input_values, input_values_mask, input_features, input_features_mask, **kwargs
            )
        seen = {"hidden_states": outputs.hidden_states, "attentions": outputs.attentions}
        return self._bridge_voices(audio_features, mask, **seen)

    def _bridge_voices(
        self, audio_features: torch.Tensor, mask: torch.Tensor | None, **seen: Any
    ) -> XEmoGPTAudioFeatures:
        hidden_states = self.audio_bridge(audio_features, mask)
        mask = mask.to(hidden_states.device) if mask is not None else None  # parts may lie on several devices
        pooled, token_mask = pool_steps(hidden_states, mask, self.config.audio_pooling)
        projected = _project(self.audio_projector, pooled)
        if token_mask is not None:  # the projector's bias would otherwise fill the padding
            token_mask = token_mask.to(projected.device)
            projected = projected * token_mask.unsqueeze(-1).to(projected.dtype)
        return XEmoGPTAudioFeatures(
            last_hidden_state=hidden_states,
            pooler_output=projected,
            attention_mask=mask,
            token_mask=token_mask,
            **seen,
        )

    def encode_audio(self, **inputs: Any) -> XEmoGPTAudioFeatures:
        """`get_audio_features`, except that a tower into which padding leaks gets each clip alone, at its length."""
        with self._tower_grad():
            audio_features, mask = encode_each_voice(self.audio_tower, **inputs)
        return self._bridge_voices(audio_features, mask)

    def get_video_cues(self, pixel_values_videos: torch.FloatTensor) -> XEmoGPTCueOutput:
        """Embeds clips (N, T, 3, H, W) in the cue space; `step_weights` says which frames carry the clip."""
        return self.video_cue_head(self.get_video_features(pixel_values_videos, return_dict=True).last_hidden_state)

    def get_audio_cues(self, **inputs: Any) -> XEmoGPTCueOutput:
        """Embeds voices in the cue space; takes what `get_audio_features` takes."""
        features = self.encode_audio(**inputs)
        return self.audio_cue_head(features.last_hidden_state, features.attention_mask)

    def frame_relevance(
        self, pixel_values_videos: torch.FloatTensor, text_embeddings: torch.FloatTensor
    ) -> torch.FloatTensor:
        """Which frame a cue rests on: cosine of every frame with every cue text.

        Args:
            pixel_values_videos: (N, T, 3, H, W).
            text_embeddings: (C, video_text_size), from the text tower the head was trained against.

        Returns:
            (N, C, T), in [-1, 1].
        """
        frames = nn.functional.normalize(self.get_video_cues(pixel_values_videos).step_embeddings, dim=-1)
        texts = self.video_cue_head.text_projection(text_embeddings.to(frames.dtype))
        return torch.einsum("ntd,cd->nct", frames, nn.functional.normalize(texts, dim=-1))

    def recognise(self, text_embeddings: torch.FloatTensor, **media: Any) -> torch.FloatTensor:
        """Zero-shot recognition: how close clips are to texts, such as prompts for each emotion (eq. 3, 6).

        Args:
            text_embeddings: (C, video_text_size) or (C, audio_text_size), from the frozen text encoder of the medium.
            media: `pixel_values_videos` for the picture, or what `get_audio_features` takes for the voice.

        Returns:
            (N, C), cosine times the learnt scale: logits over the texts.
        """
        video = "pixel_values_videos" in media
        head = self.video_cue_head if video else self.audio_cue_head
        cues = self.get_video_cues(**media) if video else self.get_audio_cues(**media)
        texts = head.text_projection(text_embeddings.to(cues.embedding.dtype))
        clips, texts = (nn.functional.normalize(x, dim=-1) for x in (cues.embedding, texts))
        return head.logit_scale.exp() * clips @ texts.T

    def embed_tokens(self, input_ids: torch.LongTensor) -> torch.Tensor:
        """(B, S) -> (B, S, d). Placeholders above the vocabulary get an arbitrary row: features replace it."""
        for token_id in (self.config.video_token_id, self.config.audio_token_id):
            if token_id >= self.config.text_config.vocab_size:
                input_ids = input_ids.masked_fill(input_ids == token_id, 0)
        return self.get_input_embeddings()(input_ids)

    def get_placeholder_mask(
        self, input_ids: torch.LongTensor | None, inputs_embeds: torch.Tensor, token_id: int
    ) -> torch.BoolTensor:
        """(B, S), True where the sequence holds the placeholder `token_id`."""
        if input_ids is not None:
            return input_ids == token_id
        if token_id >= self.config.text_config.vocab_size:
            raise ValueError(
                f"placeholder {token_id} lies above the vocabulary, not to be found in inputs_embeds: pass input_ids"
            )
        token = torch.full((), token_id, dtype=torch.long, device=inputs_embeds.device)
        return (inputs_embeds == self.get_input_embeddings()(token)).all(-1)

    def _merge(
        self, inputs_embeds: torch.Tensor, mask: torch.Tensor, features: BaseModelOutputWithPooling, medium: str
    ) -> torch.Tensor:
        """Puts the i-th feature vector of the batch at the i-th placeholder of the batch."""
        rows, count = _flatten(features)
        rows = rows.to(inputs_embeds.device, inputs_embeds.dtype)
        num_placeholders = mask.sum()
        count = count.to(mask.device) if isinstance(count, torch.Tensor) else count
        torch_compilable_check(
            num_placeholders == count,
            lambda: _mismatch(medium, num_placeholders, count),
        )
        return inputs_embeds.masked_scatter(mask.unsqueeze(-1), rows)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values_videos: torch.FloatTensor | None = None,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        input_features: torch.FloatTensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        modality_gates: torch.BoolTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        use_cache: bool | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        **kwargs: Any,
    ) -> XEmoGPTModelOutputWithPast:
        """Runs the whole model.

        Args:
            input_ids: (B, S), with one video placeholder per frame and one audio placeholder per audio step.
            pixel_values_videos: (N_v, T, 3, H, W), the clips of the samples that have video, in order.
            input_values, input_values_mask: (N_a, L) waveforms at 16 kHz and their mask, likewise.
            input_features, input_features_mask: (N_a, mels, frames) and (N_a, frames), for a Whisper tower.
            modality_gates: (B, 2) bool, columns [visual, audio]. False stops the gradient into that branch for that
                sample, exactly, with values unchanged: the paper's modality gradient gating (section III-D3).
            mm_encoder_outputs: features computed before, `{"video": ..., "audio": ...}`, instead of raw media.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("pass exactly one of input_ids and inputs_embeds")
        features = {medium: output for medium, output in (mm_encoder_outputs or {}).items() if output is not None}
        audio_inputs = dict(
            zip(AUDIO_INPUTS, (input_values, input_values_mask, input_features, input_features_mask), strict=True)
        )
        has_audio = input_values is not None or input_features is not None
        for medium, given in (("video", pixel_values_videos is not None), ("audio", has_audio)):
            if given and features.get(medium) is not None:
                raise ValueError(f"pass either raw {medium} or mm_encoder_outputs['{medium}'], not both")
        if pixel_values_videos is not None:
            features["video"] = self.get_video_features(pixel_values_videos, return_dict=True)
        if has_audio:
            features["audio"] = self.encode_audio(**audio_inputs)
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        if modality_gates is not None and modality_gates.shape != (inputs_embeds.shape[0], 2):
            raise ValueError(
                f"modality_gates must be ({inputs_embeds.shape[0]}, 2), [visual, audio] of each sample, "
                f"not {tuple(modality_gates.shape)}"
            )

        blocked = None  # (B, S), where no gradient may flow back
        for column, medium in enumerate(("video", "audio")):
            if features.get(medium) is None:
                continue
            token_id = getattr(self.config, f"{medium}_token_id")
            mask = self.get_placeholder_mask(input_ids, inputs_embeds, token_id).to(inputs_embeds.device)
            inputs_embeds = self._merge(inputs_embeds, mask, features[medium], medium)
            if modality_gates is not None:
                gate = modality_gates[:, column].to(mask.device, torch.bool)
                closed = mask & ~gate.unsqueeze(1)
                blocked = closed if blocked is None else blocked | closed
        if blocked is not None:
            inputs_embeds = torch.where(blocked.unsqueeze(-1), inputs_embeds.detach(), inputs_embeds)
        self._check_media_given(input_ids, features, past_key_values)
        if torch.is_grad_enabled() and self.training and dist.is_available() and dist.is_initialized():
            absent = {"video": pixel_values_videos is None, "audio": not has_audio}
            for medium in (medium for medium, missing in absent.items() if missing):
                assert inputs_embeds is not None
                inputs_embeds = inputs_embeds + self._idle(medium).to(inputs_embeds)
        if position_ids is None and attention_mask is not None and len(attention_mask.shape) == 2:
            # As generation has them, cached tokens or not: the LLM alone would count the padding, too.
            positions = (attention_mask.long().cumsum(-1) - 1).masked_fill(attention_mask == 0, 0)
            position_ids = positions[:, -inputs_embeds.shape[1] :]

        outputs = self.language_model(
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        pooled = {medium: output.pooler_output for medium, output in features.items()}
        return XEmoGPTModelOutputWithPast(
            last_hidden_state=outputs.last_hidden_state,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            video_hidden_states=pooled.get("video"),
            audio_hidden_states=pooled.get("audio"),
        )

    def _idle(self, medium: str) -> torch.Tensor:
        """Zero, with a gradient of zero for what trains on a medium that this batch lacks.

        Processes must reduce the same gradients, and another's batch may have the medium. The sum of no elements is
        exact whatever the parameters hold, where zero times infinity would not be.
        """
        parts = (getattr(self, f"{medium}_bridge"), getattr(self, f"{medium}_projector"))
        trained = (parameter for part in parts for parameter in part.parameters() if parameter.requires_grad)
        return sum((parameter.flatten()[:0].sum() for parameter in trained), torch.zeros((), device=self.device))

    def _check_media_given(
        self, input_ids: torch.LongTensor | None, features: dict, past_key_values: Cache | None
    ) -> None:
        """A prompt with placeholders but without their media would be answered from nothing: refuse it."""
        if input_ids is None or input_ids.shape[1] == 1 or len(features) == 2 or is_torchdynamo_compiling():
            return
        if past_key_values is not None and past_key_values.get_seq_length() > 0:
            return  # later than prefill
        for medium in ("video", "audio"):
            if features.get(medium) is None:
                num_placeholders = (input_ids == getattr(self.config, f"{medium}_token_id")).sum()
                if num_placeholders > 0:
                    raise ValueError(
                        f"{_mismatch(medium, num_placeholders, 0)}: pass all that the processor returns to the model"
                    )


class XEmoGPTForConditionalGeneration(XEmoGPTPreTrainedModel, GenerationMixin):
    """XEmoGPT with its language modelling head: explains, and recognises, the emotion in a clip."""

    _auto_class = "AutoModelForMultimodalLM"  # a saved model takes its code along

    def __init__(self, config: XEmoGPTConfig):
        super().__init__(config)
        for name in ("final_logit_softcapping", "logits_scaling", "logit_scale", "lm_head_multiplier"):
            if getattr(config.text_config, name, None) not in (1, None):
                raise ValueError(
                    f"'{config.text_config.model_type}' rescales its logits ({name}), which is not supported"
                )
        self.model = XEmoGPTModel(config)
        self.lm_head = nn.Linear(config.text_config.hidden_size, config.text_config.vocab_size, bias=False)
        embeddings = next(name for name, part in self.model.named_modules() if part is self.get_input_embeddings())
        self._tied_weights_keys = {"lm_head.weight": f"model.{embeddings}.weight"}
        self.post_init()
        self.freeze_towers()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Module) -> None:
        self.lm_head = new_embeddings

    def get_video_features(self, *args: Any, **kwargs: Any) -> BaseModelOutputWithPooling:
        """See `XEmoGPTModel.get_video_features`."""
        return self.model.get_video_features(*args, **kwargs)

    def get_audio_features(self, *args: Any, **kwargs: Any) -> XEmoGPTAudioFeatures:
        """See `XEmoGPTModel.get_audio_features`."""
        return self.model.get_audio_features(*args, **kwargs)

    def get_video_cues(self, *args: Any, **kwargs: Any) -> XEmoGPTCueOutput:
        """See `XEmoGPTModel.get_video_cues`."""
        return self.model.get_video_cues(*args, **kwargs)

    def get_audio_cues(self, *args: Any, **kwargs: Any) -> XEmoGPTCueOutput:
        """See `XEmoGPTModel.get_audio_cues`."""
        return self.model.get_audio_cues(*args, **kwargs)

    def frame_relevance(self, *args: Any, **kwargs: Any) -> torch.FloatTensor:
        """See `XEmoGPTModel.frame_relevance`."""
        return self.model.frame_relevance(*args, **kwargs)

    def recognise(self, *args: Any, **kwargs: Any) -> torch.FloatTensor:
        """See `XEmoGPTModel.recognise`."""
        return self.model.recognise(*args, **kwargs)

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        pixel_values_videos: torch.FloatTensor | None = None,
        input_values: torch.FloatTensor | None = None,
        input_values_mask: torch.Tensor | None = None,
        input_features: torch.FloatTensor | None = None,
        input_features_mask: torch.Tensor | None = None,
        modality_gates: torch.BoolTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        use_cache: bool | None = None,
        mm_encoder_outputs: dict[str, BaseModelOutputWithPooling] | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> XEmoGPTCausalLMOutputWithPast:
        """See `XEmoGPTModel.forward`; `labels` (B, S) are -100 everywhere but on the answer."""
        outputs = self.model(
            input_ids=input_ids,
            pixel_values_videos=pixel_values_videos,
            input_values=input_values,
            input_values_mask=input_values_mask,
            input_features=input_features,
            input_features_mask=input_features_mask,
            modality_gates=modality_gates,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            mm_encoder_outputs=mm_encoder_outputs,
            return_dict=True,
            **kwargs,
        )
        logits = self.lm_head(slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits, labels, vocab_size=self.config.text_config.vocab_size, **kwargs)
        return XEmoGPTCausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
            video_hidden_states=outputs.video_hidden_states,
            audio_hidden_states=outputs.audio_hidden_states,
        )

    # Generation encodes images and video once, before prefill; the next two methods make it do so with audio.

    def _prepare_multimodal_encoder_kwargs_for_generation(self, model_kwargs: dict[str, Any]) -> dict[str, Any]:
        given = model_kwargs.get("mm_encoder_outputs") or {}
        model_kwargs["mm_encoder_outputs"] = dict(given)  # the caller's own stays as it is
        model_kwargs = super()._prepare_multimodal_encoder_kwargs_for_generation(model_kwargs)
        audio = {name: model_kwargs.pop(name, None) for name in AUDIO_INPUTS}
        if audio["input_values"] is not None or audio["input_features"] is not None:
            if model_kwargs["mm_encoder_outputs"].get("audio") is not None:
                raise ValueError("pass either raw audio or mm_encoder_outputs['audio'], not both")
            features = self.model.encode_audio(**audio)
            if features.token_mask is not None:  # one tensor per clip, which generation can cut up
                lengths = features.token_mask.sum(-1).tolist()
                clips = [x[:n] for x, n in zip(features.pooler_output, lengths, strict=True)]
                features = XEmoGPTAudioFeatures(pooler_output=clips)  # anew: a field set to None stays a key
            model_kwargs["mm_encoder_outputs"]["audio"] = features
        return model_kwargs

    def prepare_inputs_for_generation(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """As transformers', but a drafter's prefill too, which is not called a first iteration, is given the media."""
        inputs = super().prepare_inputs_for_generation(*args, **kwargs)
        media, cache = kwargs.get("mm_encoder_outputs"), kwargs.get("past_key_values")
        if media and (cache is None or cache.get_seq_length() == 0):
            inputs["mm_encoder_outputs"] = media
        return inputs

    def _expand_multimodal_outputs(
        self,
        input_ids: torch.LongTensor | None,
        mm_encoder_output: dict,
        expand_size: int = 1,
        inputs_embeds: torch.Tensor | None = None,
    ) -> dict:
        """Repeats the clips of each sample as often as the sample: [A, B] in one prompt becomes [A, B, A, B]."""
        expanded = {}
        for medium, output in mm_encoder_output.items():
            if output is None:
                continue
            pooled, mask = output.pooler_output, getattr(output, "token_mask", None)
            ids = None if input_ids is None or input_ids.shape[1] == 0 else input_ids
            placeholders = self.model.get_placeholder_mask(
                ids, inputs_embeds, getattr(self.config, f"{medium}_token_id")
            ).sum(-1)  # (B,)
            lengths = torch.tensor([len(clip) for clip in pooled]) if mask is None else mask.sum(-1).cpu()  # (N,)
            if placeholders.sum() != lengths.sum():
                raise ValueError(_mismatch(medium, placeholders.sum(), lengths.sum()))
            owners = torch.searchsorted(placeholders.cumsum(0).cpu(), lengths.cumsum(0)).tolist()
            order = [
                clip
                for sample in range(len(placeholders))
                for _ in range(expand_size)
                for clip, owner in enumerate(owners)
                if owner == sample
            ]
            expanded[medium] = XEmoGPTAudioFeatures(
                pooler_output=pooled[order] if isinstance(pooled, torch.Tensor) else [pooled[clip] for clip in order],
                token_mask=None if mask is None else mask[order],
            )
        return expanded

    # Placeholders may lie above the vocabulary: what indexes logits by the ids of the prompt must not meet them.

    def _get_logits_processor(self, *args: Any, encoder_input_ids: torch.Tensor | None = None, **kwargs: Any) -> Any:
        if encoder_input_ids is not None and encoder_input_ids.ndim == 2:
            encoder_input_ids = encoder_input_ids.clamp(max=self.config.text_config.vocab_size - 1)
        return super()._get_logits_processor(*args, encoder_input_ids=encoder_input_ids, **kwargs)

    def _get_candidate_generator(self, *args: Any, **kwargs: Any) -> Any:
        generator = super()._get_candidate_generator(*args, **kwargs)
        if getattr(generator, "vocab_size", None) is not None:  # prompt lookup
            highest = max(self.config.video_token_id, self.config.audio_token_id)
            generator.vocab_size = max(generator.vocab_size, highest + 1)
        return generator

    @classmethod
    def from_backbones(
        cls,
        vision: "str | os.PathLike | PreTrainedModel | PreTrainedConfig",
        audio: "str | os.PathLike | PreTrainedModel | PreTrainedConfig",
        text: "str | os.PathLike | PreTrainedModel | PreTrainedConfig",
        dtype: torch.dtype | None = None,
        **config_kwargs: Any,
    ) -> "XEmoGPTForConditionalGeneration":
        """Puts an XEmoGPT together from two towers and an LLM; bridges, projectors and heads are new and untrained.

        Args:
            vision, audio, text: each a folder, a Hub id, a loaded model, or a config (then that part is random too).
            dtype: of all weights; default: each part as it comes, new parts as the LLM.
            config_kwargs: further fields of `XEmoGPTConfig`. The placeholder ids follow from the tokenizer of `text`
                where that is a folder or Hub id, and lie just above the vocabulary otherwise.

        Returns:
            The model in eval mode. `config.untrained_parts` names every part whose weights are random.
        """
        sources = {"vision_tower": vision, "audio_tower": audio, "language_model": text}
        untrained = list(config_kwargs.pop("untrained_parts", ()))  # a loaded part that its maker knows to be random
        untrained += [name for name, source in sources.items() if isinstance(source, PreTrainedConfig)]
        vision = load_vision(vision, dtype, config_kwargs.get("vision_feature"))
        audio, text = load_audio(audio, dtype), load_text(text, dtype)
        if dtype is not None:  # parts that came loaded
            vision, audio, text = vision.to(dtype), audio.to(dtype), text.to(dtype)
        vocab_size = text.config.vocab_size
        ids = {"video_token_id": vocab_size, "audio_token_id": vocab_size + 1}
        if isinstance(sources["language_model"], (str, os.PathLike)):
            tokenizer = AutoTokenizer.from_pretrained(sources["language_model"])
            tokenizer.add_tokens([VIDEO_TOKEN, AUDIO_TOKEN], special_tokens=True)
            ids = dict(zip(ids, tokenizer.convert_tokens_to_ids([VIDEO_TOKEN, AUDIO_TOKEN]), strict=True))
        config = cls.config_class(
            vision_config=vision.config,
            audio_config=audio.config,
            text_config=text.config,
            dtype=dtype or text.dtype,
            **{**ids, **config_kwargs},
        )
        with torch.device("meta"):  # the loaded parts are put in below; initialising them here would double the memory
            model = cls(config)
        model.model.vision_tower, model.model.audio_tower = vision, audio
        model.model.language_model, model.lm_head = text.base_model, text.get_output_embeddings()
        for name in OWN_PARTS:
            part = getattr(model.model, name).to_empty(device=text.device).to(dtype or text.dtype)
            part.apply(model._init_weights)
            if any(True for _ in part.parameters()):  # a bridge without layers has nothing to train
                untrained.append(name)
        config.untrained_parts = untrained
        model.tie_weights()
        model.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=512,
            eos_token_id=text.generation_config.eos_token_id,
            bos_token_id=text.generation_config.bos_token_id,
            pad_token_id=pad_token_id(text),
            suppress_tokens=[config.video_token_id, config.audio_token_id],
        )
        model.freeze_towers()
        return model.eval()


def _project(projector: nn.Module, hidden_states: torch.Tensor) -> torch.Tensor:
    """(..., d_v or d_a) -> (..., d). Without a bridge the features have the tower's dtype, which a projector that is
    trained in float32 cannot take; its bias tells its own, even where the weight is quantised."""
    return projector(hidden_states.to(projector.bias.dtype))


def _mismatch(medium: str, num_placeholders: int | torch.Tensor, num_features: int | torch.Tensor) -> str:
    return f"{int(num_placeholders)} {medium} placeholders in input_ids, but {int(num_features)} {medium} features"


def _flatten(features: BaseModelOutputWithPooling) -> tuple[torch.Tensor, int | torch.Tensor]:
    """All feature vectors of a batch (M, d), the real ones first and in order, and how many are real.

    A stable sort of the mask keeps shapes static and the device unsynchronised, where boolean indexing would not.
    """
    pooled = features.pooler_output
    if not isinstance(pooled, torch.Tensor):
        pooled = torch.cat(list(pooled))
    rows = pooled.reshape(-1, pooled.shape[-1])
    mask = getattr(features, "token_mask", None)
    if mask is None:
        return rows, rows.shape[0]
    return rows[torch.argsort(~mask.flatten(), stable=True)], mask.sum()


__all__ = [
    "AudioCueHead",
    "AudioEmotionalCueBridge",
    "VideoCueHead",
    "VideoEmotionalCueBridge",
    "XEmoGPTForConditionalGeneration",
    "XEmoGPTModel",
    "XEmoGPTPreTrainedModel",
]
