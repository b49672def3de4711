# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Chat-completion requests about one clip, in the form of OpenAI's, and the answers to them; no web server in here.

A request shows frames (`image_url` with a data URL), sound (`input_audio`), or both, and the model is asked its own
prompt for that: `reason` for both, `visual` or `audio` for one. What else a request says is used like this:

    a text that is a JSON object    its `subtitle` is the clip's; what else is in it, such as `labels`, is not used
    any other text of the user's    the instruction, in place of the model's own prompt, unless JSON is asked for
    `response_format`               JSON: the paragraph is sorted by `split_cues`, as it is, into {"cues": [...]}
    system messages                 not used: the model has been trained without any
    `task`, `language`              as in `xemogpt explain`; no fields of OpenAI's

What a request said and the model was not told stands in the answer's `xemogpt.unused`. Nothing outside the request is
read: no path, no address.
"""

import base64
import binascii
import io
import json
import math
import re
import tempfile
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.cues import split_cues
from xemogpt.inference.clips import Clip
from xemogpt.inference.explainer import Answer
from xemogpt.inference.explanation import Decoding, Question
from xemogpt.media_xemogpt import load_audio

MOST_FRAMES, MOST_SECONDS = 128, 60.0
MOST_PIXELS, MOST_OF_A_FRAME = 1 << 27, 1 << 24  # of a request: 16 frames may be 4K
PICTURES = ("JPEG", "PNG", "WEBP")
RATE = 16000
_REFUSED = ("frequency_penalty", "functions", "logit_bias", "logprobs", "presence_penalty", "stop", "tools")
_SHAPE = '{"cues": [{"modality": ..., "text": ...}]}'


@dataclass(frozen=True)
class Request:
    """What is asked. as_cues: in JSON. unused: what the request also said, and the model is not told."""

    clip: Clip
    question: Question
    decoding: Decoding
    as_cues: bool
    unused: tuple[str, ...]


def read_request(body: Any, most_tokens: int) -> Request:
    """A request from its JSON.

    Args:
        most_tokens: the greatest `max_tokens` that may be asked for.

    Raises:
        ValueError: it cannot be answered; one line that says why.
    """
    if not isinstance(body, dict):
        raise ValueError("the request is no JSON object")
    _check_settings(body)
    as_cues = _wants_cues(body.get("response_format"))
    parts, unused = _user_parts(body.get("messages"))
    kinds = {kind: [part for part in parts if part["type"] == kind] for kind in ("image_url", "input_audio", "text")}
    frames, sounds = kinds["image_url"], kinds["input_audio"]
    if not frames and not sounds:
        raise ValueError(
            "the request shows neither frames (image_url) nor sound (input_audio): this model explains clips"
        )
    if len(frames) > MOST_FRAMES:
        raise ValueError(f"{len(frames)} frames; give at most {MOST_FRAMES}, spread over the clip")
    if len(sounds) > 1:
        raise ValueError(f"{len(sounds)} sounds; a clip has one")
    subtitle, instruction, beside = _texts([part.get("text") for part in kinds["text"]])
    unused += beside
    if as_cues and instruction:
        unused, instruction = [*unused, "text: where JSON is asked for, the model is asked its own prompt"], ""
    task = body.get("task") or ("reason" if frames and sounds else "visual" if frames else "audio")
    question = Question(task, body.get("language") or "en", instruction or None)
    clip = Clip(
        video=[_picture(number, part, MOST_PIXELS // len(frames)) for number, part in enumerate(frames, 1)] or None,
        audio=_sound(sounds[0]) if sounds else False,
        subtitle=subtitle or None,
        sampling_rate=RATE,
    )
    return Request(clip, question, _decoding(body, most_tokens), as_cues, tuple(dict.fromkeys(unused)))


def completion(request: Request, answer: Answer, model: str, prompt_tokens: int, note: str | None) -> dict[str, Any]:
    """The answer as a chat completion. What OpenAI's form has no place for stands below `xemogpt`: which prompt was
    asked, the whole paragraph, what of the request was not used, and the note of `note_of`."""
    text = json.dumps({"cues": cues_of(answer, request.question.task)}) if request.as_cues else answer.text
    asked = {"task": request.question.task, "prompt_id": request.question.prompt_id, "paragraph": answer.text}
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop" if answer.finished else "length",
                "message": {"role": "assistant", "content": text},
            }
        ],
        "usage": {
            "prompt_tokens": prompt_tokens,
            "completion_tokens": answer.tokens,
            "total_tokens": prompt_tokens + answer.tokens,
        },
        "xemogpt": asked | {"unused": list(request.unused), "note": note},
    }


def cues_of(answer: Answer, task: str) -> list[dict[str, str]]:
    """The sentences of an answer by modality. One cut off by the limit of tokens is no cue: it is half a one."""
    whole = re.match(r".*[.!?\u3002\uff01\uff1f]", answer.text, re.S)
    text = answer.text if answer.finished else whole[0] if whole else ""
    found = split_cues(text, task if task in ("visual", "audio") else None)
    return [{"modality": modality, "text": cue} for modality, cues in found.items() for cue in cues]


def _check_settings(body: dict[str, Any]) -> None:
    if body.get("stream"):
        raise ValueError("stream: this server gives whole answers; leave it out")
    if body.get("n") not in (None, 1):
        raise ValueError(f"n: {body['n']!r}; one answer is given, so leave it out")
    if asked := [name for name in _REFUSED if body.get(name)]:
        raise ValueError(f"{asked[0]}: is not supported by this server; leave it out")


def _wants_cues(form: Any) -> bool:
    """Whether JSON is asked for; any schema but that of cues is refused, for there is nothing to fill it with."""
    kind = form.get("type") if isinstance(form, dict) else form
    if kind in (None, "text", "json_object"):
        return kind == "json_object"
    if kind != "json_schema":
        raise ValueError(f"response_format: {kind!r} is none of text, json_object, json_schema")
    try:
        schema = form["json_schema"]["schema"]
        items = schema["properties"]["cues"]["items"]
        item = schema["$defs"][items["$ref"].rpartition("/")[2]] if "$ref" in items else items
        fits = set(schema["properties"]) == {"cues"} and set(item["properties"]) == {"modality", "text"}
    except (KeyError, TypeError, AttributeError):
        fits = False
    if not fits:
        raise ValueError(f"response_format: this model can answer {_SHAPE} or in text, and fills no other schema")
    return True


def _user_parts(messages: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """The content of the user's messages, and what other messages there are."""
    if not isinstance(messages, list) or not messages:
        raise ValueError("messages: is no list of messages")
    parts: list[dict[str, Any]] = []
    unused = []
    for message in messages:
        role = message.get("role") if isinstance(message, dict) else None
        if role in ("system", "developer"):
            unused.append("system message: the model has been trained without any")
            continue
        if role != "user":
            raise ValueError(f"a message of role {role!r}: this model answers one question; give system and user only")
        content = message.get("content")
        content = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not isinstance(content, list) or not all(isinstance(part, dict) for part in content):
            raise ValueError("a user message has neither text nor a list of parts as its content")
        parts += content
    for part in parts:
        if part.get("type") not in ("image_url", "input_audio", "text"):
            raise ValueError(f"a part of type {part.get('type')!r}: give image_url, input_audio or text")
    return parts, unused


def _texts(texts: list[Any]) -> tuple[str, str, list[str]]:
    """The subtitle, the instruction, and what is not used."""
    subtitles, free, unused = [], [], []
    for text in texts:
        if not isinstance(text, str):
            raise ValueError("a text part holds no text")
        try:
            material = json.loads(text)
        except (ValueError, RecursionError):
            material = None
        if not isinstance(material, dict):
            free.append(text.strip())
            continue
        if said := material.pop("subtitle", None):
            if not isinstance(said, str):
                raise ValueError("subtitle: is no text")
            subtitles.append(" ".join(said.split()))
        unused += [f"{key}: the model is asked without it" for key in map(str, material)]
    if len(subtitles) > 1:
        raise ValueError(f"{len(subtitles)} subtitles; a clip has one")
    subtitle = "".join(subtitles)
    if subtitle.lower().endswith((".srt", ".vtt", ".txt")):
        subtitle += " "  # what was said is never the name of a file to read
    return subtitle, "\n".join(filter(None, free)), unused


def _picture(number: int, part: dict[str, Any], most_pixels: int) -> Any:
    from PIL import Image, UnidentifiedImageError

    inner = part.get("image_url")
    url = inner.get("url") if isinstance(inner, dict) else inner
    url = url if isinstance(url, str) else ""
    found = re.match(r"data:image/[\w.+-]+;base64,", url)
    if not found:
        raise ValueError(f"frame {number}: give a data URL (data:image/jpeg;base64,...); no address or file is opened")
    try:
        image = Image.open(io.BytesIO(_bytes(url[found.end() :], f"frame {number}")), formats=PICTURES)
        if image.width * image.height > min(most_pixels, MOST_OF_A_FRAME):
            raise ValueError(f"frame {number}: {image.width} x {image.height} pixels are too many; shrink it")
        return image.convert("RGB")
    except UnidentifiedImageError:
        raise ValueError(f"frame {number}: is no {' or '.join(PICTURES)} picture") from None
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"frame {number}: cannot be decoded ({' '.join(str(error).split())})") from None


def _sound(part: dict[str, Any]) -> Any:
    """float32 (L,) at `RATE`."""
    inner = part.get("input_audio")
    data = _bytes(inner.get("data") if isinstance(inner, dict) else None, "input_audio")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "input_audio")
        path.write_bytes(data)
        try:
            return load_audio(path, RATE, MOST_SECONDS)
        except ValueError as error:
            raise ValueError(str(error).replace(str(path), "input_audio")) from None


def _bytes(data: Any, what: str) -> bytes:
    try:
        found = base64.b64decode(data, validate=True) if isinstance(data, str) else b""
    except (binascii.Error, ValueError):
        found = b""
    if not found:
        raise ValueError(f"{what}: holds no base64 data")
    return found


def _decoding(body: dict[str, Any], most_tokens: int) -> Decoding:
    tokens = body.get("max_completion_tokens") or body.get("max_tokens") or min(Decoding.max_new_tokens, most_tokens)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= most_tokens:
        raise ValueError(f"max_tokens: {tokens!r} is no whole number from 1 to {most_tokens}, this server's limit")
    temperature, top_p = (_number(body, name, default) for name, default in (("temperature", 0.0), ("top_p", 1.0)))
    seed = body.get("seed")
    if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 1 << 63):
        raise ValueError(f"seed: {seed!r} is no whole number from 0 on")
    if temperature == 0:
        return Decoding(tokens)
    return Decoding(tokens, do_sample=True, temperature=temperature, top_p=top_p, seed=seed)


def _number(body: dict[str, Any], name: str, default: float) -> float:
    value = default if body.get(name) is None else body[name]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{name}: {value!r} is no number")
    return float(value)
