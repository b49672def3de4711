# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""One processor for training and inference: a clip (video, its audio track, a subtitle) and a task become tensors.

`conversation` writes the messages, `apply_chat_template` decodes the media and makes the tensors. The default template
is the prompt the released weights were trained with, token for token; a medium that is absent leaves no trace in it.
"""

import os
import re
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from transformers.feature_extraction_utils import BatchFeature
from transformers.processing_utils import ImagesKwargs, ProcessorMixin, VideosKwargs

from .inputs_xemogpt import MediaError, as_frames, is_path, list_of_videos, read_subtitle
from .media_xemogpt import load_video, probe, read_waveform
from .prompts_xemogpt import get_prompt
from .video_processing_xemogpt import XEmoGPTVideoProcessor

VIDEO_TOKEN, AUDIO_TOKEN = "<|video_pad|>", "<|audio_pad|>"
PROMPT_MARKERS = (
    "###Human:",
    "###Assistant:",
    *(f"<{slash}{name}>" for name in ("Audio", "Video", "Subtitle") for slash in ("", "/")),
)
# An answer in rendered text, tokenised on its own in training exactly as it is generated. User text holds no marker.
ANSWERS = re.compile(r"((?<=###Assistant: ).+?(?=###Human: |\Z))", re.DOTALL)

CHAT_TEMPLATE = (
    "{{- pad_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] == 'assistant' %}"
    "{%- set answer = message['content'] if message['content'] is string"
    " else message['content'] | map(attribute='text') | join('') %}"
    "{{- answer + eos_token }}"
    "{%- elif message['role'] == 'user' %}"
    "{%- set has = namespace(audio=false, video=false, subtitle=none, text='') %}"
    "{%- if message['content'] is string %}{%- set has.text = message['content'] %}"
    "{%- else %}{%- for block in message['content'] %}"
    "{%- if block['type'] == 'audio' %}{%- set has.audio = true %}"
    "{%- elif block['type'] == 'video' %}{%- set has.video = true %}"
    "{%- elif block['type'] == 'subtitle' %}{%- set has.subtitle = block['subtitle'] %}"
    "{%- elif block['type'] == 'text' %}{%- set has.text = has.text + block['text'] %}"
    "{%- else %}{{- raise_exception('unknown content type ' + block['type']) }}{%- endif %}"
    "{%- endfor %}{%- endif %}"
    "{{- '###Human: ' }}"
    "{%- if has.audio %}{{- 'The audio content is as follows: <Audio>" + AUDIO_TOKEN + "</Audio>. ' }}{%- endif %}"
    "{%- if has.video %}{{- 'Meanwhile, we' if has.audio else 'We' }}"
    "{{- ' uniformly sample raw frames from the video: <Video>" + VIDEO_TOKEN + "</Video>. ' }}{%- endif %}"
    "{%- if has.subtitle %}"
    "{{- 'The subtitle of this video is: <Subtitle>' + has.subtitle + '</Subtitle>. ' }}{%- endif %}"
    "{%- if has.audio or has.video or has.subtitle %}"
    "{{- 'Now, please answer my question based on all the provided information. ' }}{%- endif %}"
    "{{- has.text + ' ' }}"
    "{%- if not loop.last or add_generation_prompt %}{{- '###Assistant: ' }}{%- endif %}"
    "{%- else %}{{- raise_exception('unknown role ' + message['role'] + '; use user and assistant') }}{%- endif %}"
    "{%- endfor %}"
)


class XEmoGPTProcessor(ProcessorMixin):
    """Tokenizer, frame processor and audio feature extractor of an XEmoGPT.

    Args:
        image_processor: a `XEmoGPTVideoProcessor` (also reachable as `video_processor`).
        feature_extractor: `Wav2Vec2FeatureExtractor` (HuBERT family) or `WhisperFeatureExtractor`.
        tokenizer: a fast tokenizer that knows the two media placeholders.
        num_frames: frames per clip; any number is sampled to this by linspace, truncated (section III-A).
        max_audio_seconds: audio beyond is cut, as the released model does.
        audio_convolutions: (kernel, stride, padding) of the audio tower's convolutions, from which the number of audio
            steps follows.
        audio_pooling: audio steps that make one audio token, as in the model's configuration.
        max_context: longest prompt with answer, in tokens; None for no limit.
        max_subtitle_tokens: a longer subtitle is cut, with a warning.
    """

    _auto_class = "AutoProcessor"
    text_kwargs = {"add_special_tokens": False, "padding": False}  # noqa: RUF012 - the template writes every token
    video_token, audio_token = VIDEO_TOKEN, AUDIO_TOKEN
    MAX_CONTEXT = 2048  # of the released model

    def __init__(
        self,
        image_processor: Any = None,
        feature_extractor: Any = None,
        tokenizer: Any = None,
        chat_template: str | None = None,
        num_frames: int = 16,
        max_audio_seconds: float = 12.0,
        audio_convolutions: Sequence[Sequence[int]] = (
            (10, 5, 0),
            (3, 2, 0),
            (3, 2, 0),
            (3, 2, 0),
            (3, 2, 0),
            (2, 2, 0),
            (2, 2, 0),
        ),
        audio_pooling: int = 1,
        max_context: int | None = MAX_CONTEXT,
        max_subtitle_tokens: int = 512,
    ):
        self.num_frames = num_frames
        self.max_audio_seconds = max_audio_seconds
        self.audio_convolutions = [list(layer) for layer in audio_convolutions]
        self.audio_pooling, self.max_context = audio_pooling, max_context
        self.max_subtitle_tokens = max_subtitle_tokens
        template = (chat_template or CHAT_TEMPLATE).replace("\ufdd0", "")  # which stood around answers until 0.1
        super().__init__(image_processor, feature_extractor, tokenizer, chat_template=template)
        tokenizer.padding_side = "left"  # so that every row of a batch generates from its own last token
        self.video_token_id, self.audio_token_id = self._media_ids()
        special = {str(token) for token in tokenizer.added_tokens_decoder.values() if token.special}
        tokens = {token for token in special if len(token) > 1}  # a token of one character cannot be broken
        markers = sorted({*tokens, *PROMPT_MARKERS, VIDEO_TOKEN, AUDIO_TOKEN}, key=len, reverse=True)
        self._markers = re.compile("|".join(map(re.escape, markers)))

    def _media_ids(self) -> list[int]:
        vocabulary = self.tokenizer.get_vocab()
        missing = [token for token in (VIDEO_TOKEN, AUDIO_TOKEN) if token not in vocabulary]
        if missing:
            raise ValueError(f"the tokenizer lacks {missing}; build the processor with XEmoGPTProcessor.build")
        return [vocabulary[VIDEO_TOKEN], vocabulary[AUDIO_TOKEN]]

    @classmethod
    def build(
        cls, tokenizer: Any, image_processor: Any, feature_extractor: Any, audio_config: Any, **kwargs: Any
    ) -> "XEmoGPTProcessor":
        """A processor for given backbones: adds the placeholders to the tokenizer, reads the audio tower's strides.

        Args:
            tokenizer: the LLM's own. image_processor: the vision tower's own, or a `XEmoGPTVideoProcessor`.
            feature_extractor: the audio tower's own. audio_config: the audio tower's configuration.
            kwargs: further arguments of the class.
        """
        tokenizer.add_tokens([VIDEO_TOKEN, AUDIO_TOKEN], special_tokens=True)
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.unk_token or tokenizer.bos_token or tokenizer.eos_token
        tokenizer.chat_template = None  # an LLM's own template would silently drop the media
        if not isinstance(image_processor, XEmoGPTVideoProcessor):
            image_processor = XEmoGPTVideoProcessor.like(image_processor)
        if audio_config.model_type == "whisper":
            kwargs.setdefault("audio_convolutions", [(3, 1, 1), (3, 2, 1)])
        else:
            layers = zip(audio_config.conv_kernel, audio_config.conv_stride, strict=True)
            kwargs.setdefault("audio_convolutions", [(kernel, stride, 0) for kernel, stride in layers])
            feature_extractor.return_attention_mask = True
        return cls(image_processor, feature_extractor, tokenizer, **kwargs)

    @classmethod
    def from_pretrained(cls, *args: Any, **kwargs: Any) -> "XEmoGPTProcessor":
        """As `ProcessorMixin.from_pretrained`; any argument of the class but the parts may be given by name."""
        if kwargs.get("padding_side", "left") != "left":
            raise ValueError("padding_side is left here, so that every row of a batch generates from its last token")
        return super().from_pretrained(*args, **kwargs)

    @property
    def video_processor(self) -> XEmoGPTVideoProcessor:
        return self.image_processor

    @property
    def model_input_names(self) -> list[str]:
        audio = self.feature_extractor.model_input_names[0]
        return [*self.tokenizer.model_input_names, "pixel_values_videos", audio, f"{audio}_mask"]

    @property
    def sampling_rate(self) -> int:
        return self.feature_extractor.sampling_rate

    # Messages

    def conversation(
        self,
        video: Any = None,
        audio: Any = None,
        subtitle: str | os.PathLike | None = None,
        instruction: str | None = None,
        task: str = "reason",
        language: str = "en",
        sampling_rate: int = 16000,
    ) -> list[dict[str, Any]]:
        """Messages that ask about one clip. A medium that is None is absent and leaves no trace in the prompt.

        Args:
            video: path of a video (its audio track comes along unless `audio` says otherwise), or frames: a list of
                PIL images, an array or a tensor (T, H, W, 3). A file with sound only counts as audio.
            audio: path, or array at `sampling_rate` Hz; False (or "none") leaves the video's own track out.
            subtitle: text, or the path of a .srt or .vtt file.
            instruction: replaces the text of `task`.
            task: `reason`, `visual`, `audio` or `recognise`; `language`: `en` or `zh`.

        Returns:
            One user message. Append `{"role": "assistant", "content": answer}` for training.

        Raises:
            OSError, MediaError (a ValueError): a file that is missing or holds neither picture nor sound.
        """
        text = get_prompt(task, language).text if instruction is None else instruction
        if isinstance(audio, str) and audio.lower() == "none":
            audio = False
        blocks: list[dict[str, Any]] = []
        if is_path(video):
            info = probe(video)
            if info.has_video:
                blocks.append({"type": "video", "path": os.fspath(video)})
            elif audio is not None:
                raise MediaError(f"{os.fspath(video)}: no video stream; pass it as audio, or a file with pictures")
            if audio is None and info.has_audio:
                audio = os.fspath(video)
        elif video is not None:
            blocks.append({"type": "video", "video": video})
        if is_path(audio):
            if not probe(audio).has_audio:
                raise MediaError(f"{os.fspath(audio)}: no audio stream; pass a file with sound, or audio=False")
            blocks.insert(0, {"type": "audio", "path": os.fspath(audio)})
        elif audio is not None and audio is not False:
            blocks.insert(0, {"type": "audio", "audio": audio, "sampling_rate": sampling_rate})
        subtitle = read_subtitle(subtitle) if subtitle is not None else ""
        if subtitle.strip():
            blocks.append({"type": "subtitle", "subtitle": subtitle})
        return [{"role": "user", "content": [*blocks, {"type": "text", "text": text}]}]

    def apply_chat_template(
        self,
        conversation: Any,
        chat_template: str | None = None,
        *,
        tokenize: bool = False,
        return_assistant_tokens_mask: bool = False,
        processor_kwargs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        """As `ProcessorMixin.apply_chat_template`, for one list of messages or a batch of them, padded on the left.

        User text cannot write control tokens or prompt markers: a space breaks any that it contains. With
        `return_assistant_tokens_mask` the result has `assistant_masks`, 1 on the answer and its end token.
        """
        batched = bool(conversation) and isinstance(conversation[0], (list, tuple))
        clean = [self._clean(messages) for messages in (conversation if batched else [conversation])]
        processor_kwargs = dict(processor_kwargs or {})
        if tokenize and len(clean) > 1 and "padding" not in kwargs:
            processor_kwargs.setdefault("padding", True)
        if return_assistant_tokens_mask:
            processor_kwargs["return_assistant_tokens_mask"] = True
        return super().apply_chat_template(
            clean if batched else clean[0],
            chat_template,
            tokenize=tokenize,
            processor_kwargs=processor_kwargs,
            **kwargs,
        )

    def _clean(self, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Copies messages with all user text escaped and subtitles cut to length."""
        cleaned = []
        media: list[str] = []
        for message in messages:
            content = message["content"]
            if message["role"] not in ("user", "assistant"):
                raise ValueError(
                    f"a message of role {message['role']!r}: the model has been trained without any but user and "
                    "assistant; put what it says into the user's text"
                )
            if isinstance(content, str):
                content = self._escape(content)
            else:
                media += [block["type"] for block in content if block["type"] in ("video", "audio")]
                # One text: what the template would join must be escaped as it will stand.
                texts = [block["text"] for block in content if block["type"] == "text"]
                subtitles = [block["subtitle"] for block in content if block["type"] == "subtitle"]
                content = [block for block in content if block["type"] not in ("text", "subtitle")]
                if any(not isinstance(text, str) for text in [*texts, *subtitles]):
                    raise ValueError("texts and subtitles of a message must be strings")
                if len(subtitles) > 1:
                    raise ValueError("a message holds at most one subtitle")
                if subtitles:
                    content.append({"type": "subtitle", "subtitle": self._cut(subtitles[0])})
                content.append({"type": "text", "text": self._escape("".join(texts))})
            cleaned.append({**message, "content": content})
        if len(set(media)) != len(media):
            raise ValueError("a conversation holds at most one video and one audio")
        return cleaned

    def _escape(self, text: str) -> str:
        """Breaks control tokens and prompt markers with a space, so that user text stays text."""
        escaped = text
        normalizer = self.tokenizer.backend_tokenizer.normalizer
        if normalizer is not None and not self._markers.search(escaped):
            normalized = normalizer.normalize_str(escaped)  # what the tokenizer will see: full-width signs may fold
            if self._markers.search(normalized):
                escaped = normalized
        while self._markers.search(escaped):
            escaped = self._markers.sub(lambda found: f"{found[0][0]} {found[0][1:]}", escaped)
        if escaped != text:
            warnings.warn("control tokens or prompt markers in the text were broken with a space", stacklevel=5)
        return escaped

    def _cut(self, subtitle: str) -> str:
        """Escapes a subtitle and cuts it to `max_subtitle_tokens`."""
        # What is certainly beyond the limit need not be tokenised to know that.
        escaped = self._escape(subtitle[: 32 * self.max_subtitle_tokens])
        encoded = self.tokenizer(escaped, add_special_tokens=False, return_offsets_mapping=True)
        if len(encoded["input_ids"]) <= self.max_subtitle_tokens and len(subtitle) <= 32 * self.max_subtitle_tokens:
            return escaped
        end = max((offset[1] for offset in encoded["offset_mapping"][: self.max_subtitle_tokens]), default=0)
        warnings.warn(
            f"the subtitle of {len(subtitle)} characters is cut to {end} ({self.max_subtitle_tokens} tokens)",
            stacklevel=5,
        )
        return escaped[:end]

    def _multimodal_inputs_from_conversations(
        self, conversations: list[list[dict[str, Any]]], *_: Any, **__: Any
    ) -> tuple[list, list, list, dict]:
        """Decodes the media of a batch: frames (num_frames, H, W, 3) per clip, audio (L,) at the tower's rate."""
        videos: list[list[np.ndarray]] = []
        audio: list[np.ndarray] = []
        for messages in conversations:
            videos.append([])
            for message in messages:
                for block in message["content"] if not isinstance(message["content"], str) else ():
                    source = next((block[key] for key in (block["type"], "path", "url") if key in block), None)
                    if block["type"] == "video":
                        videos[-1].append(self._frames(source))
                    elif block["type"] == "audio":
                        audio.append(self._waveform(source, block.get("sampling_rate", self.sampling_rate)))
        return [[] for _ in videos], videos, audio, {}

    def _frames(self, video: Any) -> np.ndarray:
        """A path, or any number of frames -> uint8 (num_frames, H, W, 3)."""
        if is_path(video):
            return load_video(video, self.num_frames).frames
        return as_frames(video, self.num_frames)

    def _waveform(self, audio: Any, sampling_rate: int) -> np.ndarray:
        """A path, or samples at `sampling_rate` -> float32 (L,) at the tower's rate, at most `max_audio_seconds`."""
        return read_waveform(audio, sampling_rate, self.sampling_rate, self.max_audio_seconds)

    # Tensors

    def __call__(
        self,
        images: None = None,
        text: str | Sequence[str] | None = None,
        videos: Any = None,
        audio: Any = None,
        return_assistant_tokens_mask: bool = False,
        **kwargs: Any,
    ) -> BatchFeature:
        """Rendered prompts and their media, in order -> tensors; `apply_chat_template` does both steps.

        Args:
            text: prompts, each with at most one video and one audio placeholder.
            videos: frames of one clip, or a list of clips (paths, or frames uint8 (T, H, W, 3)).
            audio: one waveform at the tower's sampling rate, or a list.

        Returns:
            `input_ids`, `attention_mask` (B, S); `pixel_values_videos` (N_v, num_frames, 3, H, W); `input_values` and
            `input_values_mask` (N_a, L), or `input_features` (N_a, mels, frames) and `input_features_mask`.
        """
        if images is not None:
            raise ValueError("XEmoGPT reads video, not images: pass videos=[frames]")
        self._refuse_fixed(kwargs)
        text, videos, audio = self._layout(text, videos, audio)
        self.validate_inputs(text=text, videos=videos, audio=audio)
        merged = self._merge_kwargs(tokenizer_init_kwargs=self.tokenizer.init_kwargs, **kwargs)
        processed: dict[str, Any] = {}
        video_texts: list[str] = []
        audio_texts: list[str] = []
        if videos is not None:
            processed.update(self.image_processor(videos))
            video_texts = [VIDEO_TOKEN * self.num_frames] * len(videos)
        if audio is not None:
            features, steps = self._audio_features(audio, merged["audio_kwargs"].get("sampling_rate"))
            processed.update(features)
            audio_texts = [AUDIO_TOKEN * count for count in steps]
        return_tensors = merged["text_kwargs"].get("return_tensors")
        encoded: dict[str, Any] = {}
        if text is not None:
            prompts, _ = self.get_text_with_replacements(text, [], video_texts, audio_texts)
            encoded = self._tokenize(prompts, return_assistant_tokens_mask, **merged["text_kwargs"])
            self._check_special_mm_tokens(prompts, encoded, modalities=["video", "audio"])
            self._check_context(encoded)
            if merged["return_mm_token_type_ids"] or merged["text_kwargs"].get("return_mm_token_type_ids"):
                encoded["mm_token_type_ids"] = self.create_mm_token_type_ids(encoded["input_ids"])
        return BatchFeature({**encoded, **processed}, tensor_type=return_tensors)

    def _refuse_fixed(self, kwargs: dict[str, Any]) -> None:
        """What is settled when the processor is loaded would be ignored in a call."""
        own = ("num_frames", "max_audio_seconds", "audio_pooling", "max_context", "max_subtitle_tokens")
        harmless = {"return_tensors", "do_sample_frames"}  # frames are always sampled
        fixed = {*own, *VideosKwargs.__annotations__, *ImagesKwargs.__annotations__} - harmless
        for given in (kwargs, kwargs.get("videos_kwargs") or {}, kwargs.get("images_kwargs") or {}):
            for name in sorted(fixed & given.keys()):
                if given[name] is not None and given[name] != getattr(self, name, None):
                    told = f"{name}={given[name]!r} would have no effect in a call"
                    raise ValueError(f"{told}; settings of the processor are given to from_pretrained")

    def _layout(self, text: Any, videos: Any, audio: Any) -> tuple[list[str] | None, list | None, list | None]:
        """Lists of prompts, of frames (num_frames, H, W, 3) and of waveforms (L,), whatever nesting came in."""
        if text is not None:
            text = [text] if isinstance(text, str) else list(text)
        if videos is not None:
            videos = [self._frames(video) for video in list_of_videos(videos)]
        if audio is not None:
            single = is_path(audio) or (len(audio) > 0 and not is_path(audio[0]) and np.ndim(audio[0]) == 0)
            audio = [self._waveform(clip, self.sampling_rate) for clip in ([audio] if single else audio)]
        return text, videos or None, audio or None

    def _audio_features(
        self, waveforms: list[np.ndarray], rate: int | None
    ) -> tuple[dict[str, torch.Tensor], list[int]]:
        """Features of the tower's kind, padded with zeros to the longest clip, and the steps of each clip."""
        if rate is not None and rate != self.sampling_rate:
            raise ValueError(f"audio at {rate} Hz; the audio tower wants {self.sampling_rate} Hz: resample it first")
        features, mask = extract_audio(self.feature_extractor, waveforms)
        return features, [self.audio_steps(length) for length in mask.sum(-1).tolist()]

    def audio_steps(self, length: int) -> int:
        """Audio tokens of a clip of `length` samples (waveform towers) or mel frames (Whisper)."""
        for kernel, stride, padding in self.audio_convolutions:
            length = (length + 2 * padding - kernel) // stride + 1
        return -(-length // self.audio_pooling)

    def _tokenize(self, text: list[str], return_mask: bool, **kwargs: Any) -> dict[str, Any]:
        """Tokenises prompts; an answer is tokenised on its own, so that no token spans the turn."""
        for name in ("return_mm_token_type_ids", "return_text_replacement_offsets"):
            kwargs.pop(name, None)
        if not return_mask and not any(ANSWERS.search(sample) for sample in text):
            return self.tokenizer(text, **kwargs)
        if kwargs.get("truncation"):
            raise ValueError("truncation would cut answers; shorten the text or raise max_context")
        rows = []
        for sample in text:
            ids: list[int] = []
            mask: list[int] = []
            for index, part in enumerate(ANSWERS.split(sample)):  # prompt, answer, prompt, answer, ...
                part_ids = self.tokenizer(part, add_special_tokens=False)["input_ids"] if part else []
                ids += part_ids
                mask += [index % 2] * len(part_ids)
            rows.append((ids, mask))
        names = ("padding", "max_length", "padding_side", "pad_to_multiple_of", "return_tensors")
        encoded = self.tokenizer.pad(
            {"input_ids": [ids for ids, _ in rows], "attention_mask": [[1] * len(ids) for ids, _ in rows]},
            **{name: kwargs[name] for name in names if kwargs.get(name) is not None},
        )
        if return_mask:
            left = kwargs.get("padding_side", self.tokenizer.padding_side) == "left"
            masks = []
            for (_, mask), ids in zip(rows, encoded["input_ids"], strict=True):
                padding = [0] * (len(ids) - len(mask))
                masks.append(padding + mask if left else mask + padding)
            encoded["assistant_masks"] = torch.tensor(masks) if kwargs.get("return_tensors") == "pt" else masks
        return encoded

    def _check_context(self, encoded: dict[str, Any]) -> None:
        longest = max(int(np.sum(np.asarray(mask))) for mask in encoded["attention_mask"])
        if self.max_context is not None and longest > self.max_context:
            raise ValueError(
                f"{longest} tokens exceed the context of {self.max_context}: shorten the instruction or answer, or "
                "lower max_audio_seconds"
            )


def extract_audio(
    feature_extractor: Any, waveforms: Sequence[np.ndarray]
) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Waveforms (L,) at the tower's rate -> what the tower reads, padded with zeros to the longest, and its mask."""
    # The convolutions need a shortest input of 400 samples (25 ms); less is filled up with silence.
    waveforms = [np.pad(wave, (0, max(0, 400 - len(wave)))) for wave in waveforms]
    rate = feature_extractor.sampling_rate
    if feature_extractor.model_input_names[0] == "input_values":
        batch = feature_extractor(
            waveforms, sampling_rate=rate, padding=True, return_attention_mask=True, return_tensors="pt"
        )
        mask = batch["attention_mask"]
        features = {"input_values": batch["input_values"], "input_values_mask": mask}
    else:
        with torch.autocast("cpu", enabled=False):  # one by one: each clip at its length, not in 30 s of silence
            batches = [
                feature_extractor(wave, sampling_rate=rate, padding=False, truncation=False, return_tensors="pt")
                for wave in waveforms
            ]
        mels = [batch["input_features"][0] for batch in batches]  # (mels, frames) each
        lengths = torch.tensor([mel.shape[1] for mel in mels])
        padded = torch.nn.utils.rnn.pad_sequence([mel.T for mel in mels], batch_first=True).transpose(1, 2)
        mask = (torch.arange(padded.shape[2]) < lengths.unsqueeze(1)).long()
        features = {"input_features": padded.contiguous(), "input_features_mask": mask}
    return features, mask


__all__ = ["XEmoGPTProcessor", "XEmoGPTVideoProcessor", "extract_audio"]
