# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Whom a benchmark asks: an XEmoGPT, a chat model of transformers, or an OpenAI-compatible endpoint.

Each declares its modalities, and gets no other medium. An answer is a text, or a `Refused` with the reason.
"""

import base64
import io
import os
import wave
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xemogpt.data.jsonl import one_line
from xemogpt.eval.benchmark import Item
from xemogpt.prompts_xemogpt import Prompt

if TYPE_CHECKING:
    from xemogpt.media_xemogpt import VideoClip

MODALITIES = ("visual", "audio")


@dataclass(frozen=True)
class Refused:
    """No answer, and why."""

    reason: str


class Answerer(Protocol):
    """Answers one prompt about many clips, in their order."""

    name: str
    modalities: frozenset[str]

    def settings(self) -> dict[str, Any]:
        """What shapes the answers beside prompt and generation, as results record it."""

    def answers(
        self, items: Sequence[Item], prompt: Prompt, generation: dict[str, Any], batch_size: int
    ) -> Iterator[str | Refused]: ...


def load_answerer(
    model: str,
    *,
    adapter: str | None = None,
    endpoint: str | None = None,
    modalities: Sequence[str] | None = None,
    frames: int = 16,
    max_audio_seconds: float = 30,
    device: str | None = None,
    dtype: str | None = None,
    trust_remote_code: bool | None = None,
    revision: str | None = None,
) -> Answerer:
    """The model of that name: at an endpoint, or from a folder or the Hub.

    Args:
        adapter: a PEFT adapter on top of an XEmoGPT.
        modalities: what the model is given, of visual and audio; by default all it takes (both, at an endpoint).
        frames: of a clip, for any model but XEmoGPT, which knows its own number.
        revision: of a Hub id, a branch, tag or commit.

    Raises:
        ValueError: modalities that the model does not take, or an adapter on something that is no XEmoGPT.
        OSError: no such model.
    """
    if modalities is not None and (not modalities or set(modalities) - set(MODALITIES)):
        raise ValueError(f"modalities are visual, audio or both, not {', '.join(modalities) or 'none'}")
    if endpoint is not None:
        if adapter is not None:
            raise ValueError("an adapter goes onto an XEmoGPT; at an endpoint it is the server's to load")
        if revision is not None:
            raise ValueError("a revision is of a Hub id; at an endpoint the server has chosen it")
        return Endpoint(model, endpoint, modalities or MODALITIES, frames, max_audio_seconds)
    from transformers import AutoConfig

    if not Path(model).is_dir() and (model.startswith((".", "/", "~")) or model.count("/") != 1):
        if model != "xemogpt-tiny":
            raise FileNotFoundError(f"{model}: no such model folder, and no Hub id of the form owner/name")
        from xemogpt.hub.tiny import tiny_path

        kind, _ = "xemogpt", tiny_path()
    else:
        trust = bool(trust_remote_code) if trust_remote_code is not None else Path(model).is_dir()
        kind = AutoConfig.from_pretrained(model, **_hub(trust, revision)).model_type
    if kind == "xemogpt":
        return XEmoGPT(model, adapter, modalities or MODALITIES, device, dtype, trust_remote_code, revision)
    if adapter is not None:
        raise ValueError(f"{model}: is a {kind}; an adapter goes onto an XEmoGPT, others must be merged first")
    return ChatModel(model, modalities, frames, max_audio_seconds, device, dtype, bool(trust_remote_code), revision)


def _hub(trust: bool, revision: str | None) -> dict[str, Any]:
    """Arguments of `from_pretrained`; a revision only where one is asked for."""
    return {"trust_remote_code": trust} | ({} if revision is None else {"revision": revision})


def shown_name(model: str) -> str:
    """As results call a model: a Hub id keeps its owner, of a folder on this machine only the last part stays."""
    path = Path(model)
    return path.resolve().name if path.is_dir() else model


class XEmoGPT:
    """An XEmoGPT: its processor reads the clips, and decides on frames and seconds."""

    def __init__(
        self,
        model: str,
        adapter: str | None,
        modalities: Sequence[str],
        device: str | None,
        dtype: str | None,
        trust: bool | None,
        revision: str | None = None,
    ):
        from xemogpt.inference.explainer import Explainer

        self.name, self.modalities = shown_name(model), frozenset(modalities)
        more: dict[str, Any] = {"adapter": adapter, "device": device, "dtype": dtype, "revision": revision}
        self.explainer = Explainer(model, trust_remote_code=trust, **more)

    def settings(self) -> dict[str, Any]:
        adapter, names = self.explainer.adapter, ("dtype", "untrained_parts", "weights")
        about = {"kind": "xemogpt", "adapter": None if adapter is None else shown_name(adapter)}
        about |= {} if self.explainer.revision is None else {"revision": self.explainer.revision}
        return about | {name: getattr(self.explainer, name) for name in names}

    def answers(
        self, items: Sequence[Item], prompt: Prompt, generation: dict[str, Any], batch_size: int
    ) -> Iterator[str | Refused]:
        from xemogpt.inference.clips import Clip
        from xemogpt.inference.explanation import Decoding, Question, Rejection

        def clip(item: Item) -> Clip:
            sound = item.audio or (None if "visual" in self.modalities else item.video)
            return Clip(
                video=item.video if "visual" in self.modalities else None,
                audio=sound if "audio" in self.modalities else "none",
                subtitle=item.subtitle,
                id=item.reference.id,
            )

        question = Question(instruction=prompt.text)
        for outcome in self.explainer.explain_each(map(clip, items), question, Decoding(**generation), batch_size):
            yield Refused(outcome.reason) if isinstance(outcome, Rejection) else outcome.text


@dataclass(frozen=True)
class Talk:
    """What a chat model is asked about one clip. times: when its frames are, where they go as a video."""

    messages: list[dict[str, Any]]
    times: dict[str, Any] | None


class ChatModel:
    """A chat model of transformers that takes pictures, video or sound: what its processor has decides.

    Frames go as one video where the processor has a video processor, else as pictures; sound goes as an array.
    """

    def __init__(
        self,
        model: str,
        modalities: Sequence[str] | None,
        frames: int,
        max_audio_seconds: float,
        device: str | None,
        dtype: str | None,
        trust: bool,
        revision: str | None = None,
    ):
        import torch
        from transformers import AutoConfig, AutoModelForImageTextToText, AutoModelForMultimodalLM, AutoProcessor

        self.name, self.frames, self.max_audio_seconds = shown_name(model), frames, max_audio_seconds
        self.revision, hub = revision, _hub(trust, revision)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.processor = AutoProcessor.from_pretrained(model, **hub)
        takes = {
            "visual": _part(self.processor, "video_processor") or _part(self.processor, "image_processor"),
            "audio": _part(self.processor, "feature_extractor"),
        }
        able = [name for name in MODALITIES if takes[name] is not None]
        if lacking := set(modalities or able) - set(able):
            raise ValueError(f"{model}: its processor takes no {' and no '.join(sorted(lacking))} input")
        if not able:
            raise ValueError(f"{model}: its processor takes neither pictures nor sound")
        if getattr(self.processor, "chat_template", None) is None:
            raise ValueError(f"{model}: its processor has no chat template, so it cannot be asked as a chat model")
        self.modalities = frozenset(modalities or able)
        self.as_video = _part(self.processor, "video_processor") is not None
        config = AutoConfig.from_pretrained(model, **hub)
        if getattr(config, "enable_audio_output", False):
            config.enable_audio_output = False  # what speaks in Qwen's Omni models is not asked
        load = {"config": config, "dtype": dtype or "auto"} | hub
        try:
            self.model = AutoModelForMultimodalLM.from_pretrained(model, **load)
        except ValueError:  # a kind that only the older list has
            self.model = AutoModelForImageTextToText.from_pretrained(model, **load)
        self.model = getattr(self.model, "thinker", self.model)  # of Qwen's Omni models the part that writes
        self.model.to(device).eval()
        self.processor.tokenizer.padding_side = "left"
        if self.processor.tokenizer.pad_token is None:
            self.processor.tokenizer.pad_token = self.processor.tokenizer.eos_token

    def settings(self) -> dict[str, Any]:
        from xemogpt.inference.explainer import weights_mark

        return {
            "kind": self.model.config.model_type,
            "weights": weights_mark(self.model),
            **({} if self.revision is None else {"revision": self.revision}),
            "frames": self.frames if "visual" in self.modalities else None,
            "frames_as": ("video" if self.as_video else "images") if "visual" in self.modalities else None,
            "max_audio_seconds": self.max_audio_seconds if "audio" in self.modalities else None,
        }

    def answers(
        self, items: Sequence[Item], prompt: Prompt, generation: dict[str, Any], batch_size: int
    ) -> Iterator[str | Refused]:
        for start in range(0, len(items), batch_size):
            talks = [self._read(item, prompt) for item in items[start : start + batch_size]]
            good = [talk for talk in talks if not isinstance(talk, Refused)]
            said = iter(self._generate(good, generation))
            yield from (talk if isinstance(talk, Refused) else next(said) for talk in talks)

    def _read(self, item: Item, prompt: Prompt) -> Talk | Refused:
        try:
            video, sound = media_of(item, self.modalities, self.frames, self._rate(), self.max_audio_seconds)
        except (ValueError, OSError) as error:
            return Refused(one_line(error))
        content: list[dict[str, Any]] = []
        times = None
        if video is not None and self.as_video:
            content.append({"type": "video", "video": video.frames})
            count = len(video.frames)
            times = {"total_num_frames": count, "fps": count / video.duration, "frames_indices": [*range(count)]}
        elif video is not None:
            from PIL import Image

            content += [{"type": "image", "image": Image.fromarray(frame)} for frame in video.frames]
        if sound is not None:
            content.append({"type": "audio", "audio": sound})
        return Talk([{"role": "user", "content": [*content, {"type": "text", "text": question(item, prompt)}]}], times)

    def _rate(self) -> int:
        return int(getattr(_part(self.processor, "feature_extractor"), "sampling_rate", 16000))

    def _generate(self, talks: list[Talk], generation: dict[str, Any]) -> list[str | Refused]:
        """The answers of a batch; where it fails, each clip is tried alone."""
        import torch

        if not talks:
            return []
        more: dict[str, Any] = {"padding": True}
        if times := [[talk.times] for talk in talks if talk.times]:
            more |= {"do_sample_frames": False, "video_metadata": times}  # sampled already, at these rates
        try:
            inputs = self.processor.apply_chat_template(
                [talk.messages for talk in talks],
                tokenize=True,
                return_dict=True,
                return_tensors="pt",
                add_generation_prompt=True,
                processor_kwargs=more,
            ).to(self.model.device, dtype=self.model.dtype)
            with torch.inference_mode():
                ids = self.model.generate(**inputs, **generation)
        except Exception as error:  # whatever it is, it must not cost the other clips their answers
            if len(talks) == 1:
                return [Refused(one_line(error))]
            return [answer for talk in talks for answer in self._generate([talk], generation)]
        ids = ids[:, inputs["input_ids"].shape[1] :]
        return [text.strip() for text in self.processor.batch_decode(ids, skip_special_tokens=True)]


class Endpoint:
    """A model behind the OpenAI protocol: frames as JPEG pictures, sound as WAV. The key is OPENAI_API_KEY's."""

    def __init__(self, model: str, url: str, modalities: Sequence[str], frames: int, max_audio_seconds: float):
        try:
            from openai import OpenAI
        except ImportError:
            raise ImportError('an endpoint needs the openai client: pip install "xemogpt[eval]"') from None
        self.name, self.url, self.modalities = model, url, frozenset(modalities)
        self.frames, self.max_audio_seconds = frames, max_audio_seconds
        self.client = OpenAI(base_url=url, api_key=os.environ.get("OPENAI_API_KEY", "none"), max_retries=4)

    def settings(self) -> dict[str, Any]:
        return {"kind": "endpoint", "frames": self.frames, "max_audio_seconds": self.max_audio_seconds}

    def answers(
        self, items: Sequence[Item], prompt: Prompt, generation: dict[str, Any], batch_size: int
    ) -> Iterator[str | Refused]:
        with ThreadPoolExecutor(batch_size, thread_name_prefix="endpoint") as pool:
            for start in range(0, len(items), batch_size):  # so that a killed run loses one batch at most
                yield from pool.map(lambda i: self._ask(i, prompt, generation), items[start : start + batch_size])

    def _ask(self, item: Item, prompt: Prompt, generation: dict[str, Any]) -> str | Refused:
        from openai import OpenAIError

        try:
            video, sound = media_of(item, self.modalities, self.frames, 16000, self.max_audio_seconds)
        except (ValueError, OSError) as error:
            return Refused(one_line(error))
        content: list[Any] = []
        for frame in video.frames if video is not None else ():
            content.append({"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{jpeg(frame)}"}})
        if sound is not None:
            content.append({"type": "input_audio", "input_audio": {"data": wav(sound, 16000), "format": "wav"}})
        content.append({"type": "text", "text": question(item, prompt)})
        sampled = generation.get("do_sample", False)
        try:
            reply = self.client.chat.completions.create(
                model=self.name,
                messages=[{"role": "user", "content": content}],
                max_tokens=generation.get("max_new_tokens", 512),
                temperature=generation.get("temperature", 0.7) if sampled else 0,
                seed=generation.get("seed", 0),
            )
        except OpenAIError as error:
            return Refused(one_line(error))
        if not reply.choices:
            return Refused("the endpoint sent no answer")
        return (reply.choices[0].message.content or "").strip()  # a blank one is scored, as any other model's is


def question(item: Item, prompt: Prompt) -> str:
    """What a model that has no subtitle input of its own is asked."""
    return f'What is said in the clip: "{item.subtitle}"\n{prompt.text}' if item.subtitle else prompt.text


def media_of(
    item: Item, modalities: frozenset[str], frames: int, rate: int, seconds: float
) -> "tuple[VideoClip | None, np.ndarray | None]":
    """Frames and sound (L,) of a clip, as far as it has them and the model takes them.

    Raises:
        ValueError, OSError: a medium cannot be read, or none of them is there.
    """
    from xemogpt.media_xemogpt import load_audio, load_video, probe

    video = sound = None
    if "visual" in modalities and item.video is not None and probe(item.video).has_video:
        video = load_video(item.video, frames)
    source = item.audio or item.video
    if "audio" in modalities and source is not None and probe(source).has_audio:
        sound = load_audio(source, rate, seconds)
    if video is None and sound is None:
        raise ValueError(f"{item.reference.id}: has no {' and no '.join(sorted(modalities))} track to ask about")
    return video, sound


def jpeg(frame: np.ndarray) -> str:
    """A frame (H, W, 3) as base64 of a JPEG picture."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=90)
    return base64.b64encode(buffer.getvalue()).decode()


def wav(sound: np.ndarray, rate: int) -> str:
    """Sound (L,) in [-1, 1] as base64 of a 16-bit WAV file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())
    return base64.b64encode(buffer.getvalue()).decode()


def _part(processor: Any, name: str) -> Any:
    return getattr(processor, name, None)
