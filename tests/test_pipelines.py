# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A model folder in transformers' pipelines, and the settings with which its processor can be loaded."""

from pathlib import Path
from typing import Any

import pytest
from tiny_inputs import frames, voice
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM, AutoProcessor, pipeline
from transformers.utils import is_torchvision_available


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("made") / "tiny")


def asked(processor: Any) -> list[dict[str, Any]]:
    return processor.conversation(video=frames(20, 1), audio=voice(0.5), instruction="Why?")


def expected(folder: Path, tokens: int) -> str:
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    inputs = processor.apply_chat_template(
        asked(processor), tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    ids = model.generate(**inputs, max_new_tokens=tokens)[0, inputs["input_ids"].shape[1] :]
    return processor.decode(ids, skip_special_tokens=True)


def test_image_text_to_text_answers_about_picture_and_sound(folder: Path) -> None:
    pipe = pipeline("image-text-to-text", model=str(folder), trust_remote_code=True)
    (answer,) = pipe(text=asked(pipe.processor), max_new_tokens=6, return_full_text=False)
    assert answer["generated_text"] == expected(folder, 6) != ""


def test_any_to_any_is_the_same(folder: Path) -> None:
    if not is_torchvision_available():
        with pytest.raises(ImportError, match="Torchvision"):
            pipeline("any-to-any", model=str(folder), trust_remote_code=True)
        return
    pipe = pipeline("any-to-any", model=str(folder), trust_remote_code=True)
    (answer,) = pipe(text=asked(pipe.processor), max_new_tokens=6, return_full_text=False)
    assert answer["generated_text"] == expected(folder, 6)


def test_a_pipeline_of_text_alone_does_not_answer_about_a_clip(folder: Path) -> None:
    """It gives the model the words and leaves the media out: no answer is better than one from nothing."""
    pipe = pipeline("text-generation", model=str(folder), trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    with pytest.raises(ValueError, match="video placeholders in input_ids, but 0 video features"):
        pipe(asked(processor), max_new_tokens=2)
    (answer,) = pipe(processor.conversation(instruction="Why?"), max_new_tokens=2)
    assert answer["generated_text"][-1]["role"] == "assistant"


def test_settings_that_loading_may_change(folder: Path) -> None:
    def load(**settings: Any) -> Any:
        return AutoProcessor.from_pretrained(folder, trust_remote_code=True, **settings)

    longer = load(max_audio_seconds=30.0, max_subtitle_tokens=3)
    assert (longer.max_audio_seconds, longer.max_subtitle_tokens) == (30.0, 3)
    assert len(longer._waveform(voice(20.0), 16000)) == 20 * 16000
    fewer = load(num_frames=8, padding_side="left")
    assert fewer(text=fewer.video_token, videos=frames(), return_tensors="pt")["pixel_values_videos"].shape[1] == 8
    small = load(size=16, crop_size=16, image_mean=(0.0, 0.0, 0.0))
    assert small.image_processor([frames(2)])["pixel_values_videos"].shape == (1, 2, 3, 16, 16)
    assert small.image_processor.image_mean == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"do_resize": False}, "do_resize"),
        ({"do_normalize": False, "rescale_factor": 1.0}, "do_normalize, rescale_factor"),
        ({"size": {"shortest_edge": 16}}, "size must be a number of pixels"),
        ({"padding_side": "right"}, "padding_side"),
    ],
)
def test_settings_without_effect_are_refused(folder: Path, settings: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AutoProcessor.from_pretrained(folder, trust_remote_code=True, **settings)
