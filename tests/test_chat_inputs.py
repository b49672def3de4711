# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Messages as users write them: what is refused is said in plain words, and nothing is left out in silence."""

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from media_factory import tone, write_media
from tiny_inputs import frames, voice
from tiny_model import tiny_processor

from xemogpt.data.media import decode_media
from xemogpt.media_xemogpt import load_audio
from xemogpt.processing_xemogpt import CHAT_TEMPLATE, XEmoGPTProcessor

ANSWERED = {"role": "assistant", "content": "In the video, she frowns."}


@pytest.fixture(scope="module")
def processor() -> XEmoGPTProcessor:
    return tiny_processor()


def tensors(processor: XEmoGPTProcessor, messages: list, **kwargs: Any) -> Any:
    return processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt", **kwargs)


# Rendered text


def test_rendered_text_holds_no_mark_of_its_own(processor: XEmoGPTProcessor) -> None:
    asked = processor.conversation(instruction="Why?")
    turns = [*asked, ANSWERED, *asked, ANSWERED]
    rendered = processor.apply_chat_template(turns)
    assert rendered.isprintable()  # a noncharacter is not
    answer = ANSWERED["content"] + processor.tokenizer.eos_token
    assert rendered == processor.tokenizer.pad_token + f"###Human: Why? ###Assistant: {answer}" * 2


def test_answers_of_every_turn_are_tokenised_on_their_own(processor: XEmoGPTProcessor) -> None:
    asked = processor.conversation(instruction="Why?")
    turns = [*asked, ANSWERED, *asked, ANSWERED]
    inputs = tensors(processor, turns, return_assistant_tokens_mask=True)
    answer = processor.tokenizer(ANSWERED["content"] + processor.tokenizer.eos_token)["input_ids"]
    masked = inputs["input_ids"][0][inputs["assistant_masks"][0].bool()].tolist()
    assert masked == answer * 2
    from_text = processor(text=processor.apply_chat_template(turns), return_tensors="pt")
    assert torch.equal(from_text["input_ids"], inputs["input_ids"])


def test_an_answer_is_continued_where_it_stopped(processor: XEmoGPTProcessor) -> None:
    begun = [*processor.conversation(instruction="Why?"), {"role": "assistant", "content": "She is"}]
    rendered = processor.apply_chat_template(begun, continue_final_message=True)
    assert rendered.endswith("Why? ###Assistant: She is")
    ids = tensors(processor, begun, continue_final_message=True)["input_ids"][0].tolist()
    prompt = tensors(processor, begun[:1], add_generation_prompt=True)["input_ids"][0].tolist()
    assert ids == prompt + processor.tokenizer("She is")["input_ids"]


def test_a_template_of_before_is_read_without_its_marks() -> None:
    before = CHAT_TEMPLATE.replace("{{- answer + eos_token }}", "{{- '\ufdd0' + answer + eos_token + '\ufdd0' }}")
    assert before != CHAT_TEMPLATE
    old, new = tiny_processor(chat_template=before), tiny_processor()
    turns = [*new.conversation(instruction="Why?"), ANSWERED]
    assert old.apply_chat_template(turns) == new.apply_chat_template(turns)


# What is refused


def test_there_is_no_system_turn(processor: XEmoGPTProcessor) -> None:
    messages = [{"role": "system", "content": "Be brief."}, *processor.conversation(instruction="Why?")]
    with pytest.raises(ValueError, match="role 'system'.*trained without"):
        processor.apply_chat_template(messages)


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_addresses_are_not_fetched(processor: XEmoGPTProcessor, kind: str) -> None:
    content = [{"type": kind, "url": "https://example.org/a.mp4"}, {"type": "text", "text": "Why?"}]
    with pytest.raises(OSError, match=r"https://example.org/a.mp4: .* not fetched; download"):
        tensors(processor, [{"role": "user", "content": content}])
    with pytest.raises(OSError, match="download"):
        processor.conversation(**{kind: "https://example.org/a.mp4"})


@pytest.mark.parametrize(
    "settings",
    [{"num_frames": 8}, {"fps": 1}, {"max_audio_seconds": 1.0}, {"videos_kwargs": {"num_frames": 8}}, {"size": 16}],
    ids=str,
)
def test_settings_of_loading_are_refused_in_a_call(processor: XEmoGPTProcessor, settings: dict) -> None:
    messages = processor.conversation(video=frames(), audio=voice(0.5))
    with pytest.raises(ValueError, match=r"would have no effect in a call"):
        tensors(processor, messages, processor_kwargs=settings)


def test_settings_that_ask_for_what_is_done_anyway_are_taken(processor: XEmoGPTProcessor) -> None:
    messages = processor.conversation(video=frames(), audio=voice(0.5))
    same = tensors(processor, messages, processor_kwargs={"num_frames": 16, "max_audio_seconds": 12.0})
    assert torch.equal(same["input_ids"], tensors(processor, messages)["input_ids"])


# Sound


def test_sound_is_extracted_alike_under_autocast() -> None:
    processor = tiny_processor("whisper")
    messages = processor.conversation(audio=voice(0.7))
    expected = tensors(processor, messages)["input_features"]
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(tensors(processor, messages)["input_features"], expected)
        assert torch.is_autocast_enabled("cpu")


def test_sound_that_is_not_heard_is_said(tmp_path: Path) -> None:
    processor = tiny_processor(max_audio_seconds=1.0)
    path = write_media(tmp_path / "long.wav", audio=tone(2.5))
    said = r"of its 2\.5 s of sound the first 1 are heard"
    with pytest.warns(UserWarning, match=rf"long\.wav: {said}"):
        tensors(processor, processor.conversation(audio=path))
    with pytest.warns(UserWarning, match=said):
        tensors(processor, processor.conversation(audio=voice(2.5)))
    with pytest.warns(UserWarning, match=rf"long\.wav: {said}"):
        decode_media(messages := processor.conversation(audio=path), processor)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tensors(processor, messages)  # said once
        load_audio(path, max_seconds=2.5)
        load_audio(path)
        tensors(processor, processor.conversation(audio=voice(1.0)))
