# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Clips and cue texts -> tensors of the two cue encoders; frames and samples are those of XEmoGPT's own processor."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ProcessorMixin

from .inputs_xemogpt import as_frames, is_path
from .media_xemogpt import load_video, read_waveform
from .processing_xemogpt import extract_audio


class XEmoGPTCueProcessor(ProcessorMixin):
    """The text side, which both processors share."""

    _auto_class = "AutoProcessor"
    max_text_tokens: int

    def texts(self, text: str | Sequence[str]) -> dict[str, torch.Tensor]:
        """Texts -> `input_ids` and `attention_mask` (C, S), cut at `max_text_tokens`.

        Raises:
            ValueError: an empty text.
        """
        text = [text] if isinstance(text, str) else list(text)
        if empty := [index for index, each in enumerate(text) if not each.strip()]:
            raise ValueError(f"text {empty[0]} is empty")
        batch = self.tokenizer(
            text, padding=True, truncation=True, max_length=self.max_text_tokens, return_tensors="pt"
        )
        return {name: batch[name] for name in ("input_ids", "attention_mask")}


class XEmoGPTVideoCueProcessor(XEmoGPTCueProcessor):
    """Processor of a `XEmoGPTVideoCueEncoder`.

    Args:
        image_processor: a `XEmoGPTVideoProcessor`. tokenizer: the text tower's own.
        num_frames: frames per clip. max_text_tokens: longer texts are cut (CLIP reads 77).
    """

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, num_frames: int = 16, max_text_tokens: int = 77
    ):
        self.num_frames, self.max_text_tokens = num_frames, max_text_tokens
        super().__init__(image_processor, tokenizer)

    def __call__(
        self, videos: Any = None, text: str | Sequence[str] | None = None, return_tensors: str = "pt"
    ) -> BatchFeature:
        """Clips, paths or frames -> `pixel_values_videos` (N, num_frames, 3, H, W); texts: see `texts`."""
        _only_tensors(return_tensors)
        data: dict[str, Any] = {}
        if videos is not None:
            data.update(
                self.image_processor([self.read(video) for video in ([videos] if is_path(videos) else videos)])
            )
        if text is not None:
            data.update(self.texts(text))
        return BatchFeature(data)

    def read(self, video: Any) -> np.ndarray:
        """A path, or any number of frames -> uint8 (num_frames, H, W, 3)."""
        return load_video(video, self.num_frames).frames if is_path(video) else as_frames(video, self.num_frames)


class XEmoGPTAudioCueProcessor(XEmoGPTCueProcessor):
    """Processor of a `XEmoGPTAudioCueEncoder`.

    Args:
        feature_extractor: the audio tower's own. tokenizer: the text tower's own.
        max_audio_seconds: sound beyond is cut. max_text_tokens: longer texts are cut.
    """

    def __init__(
        self,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        max_audio_seconds: float = 12.0,
        max_text_tokens: int = 256,
    ):
        self.max_audio_seconds, self.max_text_tokens = max_audio_seconds, max_text_tokens
        super().__init__(feature_extractor, tokenizer)

    @property
    def sampling_rate(self) -> int:
        return self.feature_extractor.sampling_rate

    def __call__(
        self,
        audio: Any = None,
        text: str | Sequence[str] | None = None,
        sampling_rate: int = 16000,
        return_tensors: str = "pt",
    ) -> BatchFeature:
        """Clips, paths or waveforms (L,) at `sampling_rate` -> `input_values` and `input_values_mask` (N, L), or
        `input_features` (N, mels, frames) and `input_features_mask`; texts: see `texts`."""
        _only_tensors(return_tensors)
        data: dict[str, Any] = {}
        if audio is not None:
            clips = [self.read(clip, sampling_rate) for clip in ([audio] if is_path(audio) else audio)]
            data.update(extract_audio(self.feature_extractor, clips)[0])
        if text is not None:
            data.update(self.texts(text))
        return BatchFeature(data)

    def read(self, audio: Any, sampling_rate: int = 16000) -> np.ndarray:
        """A path, or samples at `sampling_rate` -> float32 (L,) at the tower's rate, at most `max_audio_seconds`."""
        return read_waveform(audio, sampling_rate, self.sampling_rate, self.max_audio_seconds)


def _only_tensors(return_tensors: str) -> None:
    if return_tensors != "pt":
        raise ValueError(f"return_tensors {return_tensors!r}: this processor makes PyTorch tensors, 'pt'")


__all__ = ["XEmoGPTAudioCueProcessor", "XEmoGPTVideoCueProcessor"]
