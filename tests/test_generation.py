# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Everything `generate` can do, on clips with both media, either, or none."""

import copy
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import torch
from tiny_inputs import clips, tensors
from tiny_model import make_tiny_model
from transformers import AutoModelForCausalLM, AutoProcessor, CompileConfig, TextIteratorStreamer, TextStreamer

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

NEW = 10


class Loaded:
    """A tiny model, its processor, and generation without the prompt."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
        self.processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        self.clips = clips(self.processor)

    def inputs(self, messages: list) -> dict[str, torch.Tensor]:
        return tensors(self.processor, messages)

    def __call__(self, messages: list, **kwargs: Any) -> list[list[int]]:
        inputs = self.inputs(messages)
        kwargs = {"max_new_tokens": NEW} | kwargs
        ids = self.model.generate(**inputs, **kwargs)
        return ids[:, inputs["input_ids"].shape[1] :].tolist()


@pytest.fixture(scope="module", params=[("hubert", "qwen3"), ("whisper", "llama")], ids="-".join)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Loaded:
    audio, text = request.param
    return Loaded(make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", audio=audio, text=text))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"num_beams": 3},
        {"num_beams": 3, "num_return_sequences": 2},
        {"use_cache": False},
        {"cache_implementation": "static"},
        {"repetition_penalty": 1.3},
        {"no_repeat_ngram_size": 1},  # forbids every token of the prompt, the placeholders among them
        {"bad_words_ids": [[5], [7, 8]], "min_new_tokens": 5},
        {"prefill_chunk_size": 64},
    ],
    ids=str,
)
def test_a_batch_equals_its_samples(tiny: Loaded, settings: dict) -> None:
    batch = tiny(tiny.clips, **settings)
    alone = [row for clip in tiny.clips for row in tiny(clip, **settings)]
    assert batch == alone
    placeholders = {tiny.processor.video_token_id, tiny.processor.audio_token_id}
    assert not placeholders & {token for row in batch for token in row}


def test_ways_to_the_same_greedy_answer(tiny: Loaded) -> None:
    expected = tiny(tiny.clips)
    for settings in ({"use_cache": False}, {"cache_implementation": "static"}, {"prefill_chunk_size": 33}):
        assert tiny(tiny.clips, **settings) == expected
    for clip, answer in zip(tiny.clips, expected, strict=True):
        assert tiny(clip, prompt_lookup_num_tokens=3) == [answer]
        assert tiny(clip, assistant_model=tiny.model) == [answer]


def test_lookup_does_not_draft_placeholders(tiny: Loaded) -> None:
    """The prompt ends in the token that stands before its media: what follows there must not be proposed."""
    video = tiny.processor.video_token_id
    inputs = {
        "input_ids": torch.tensor([[9, *[video] * 16, 5, 9]]),
        "pixel_values_videos": tiny.inputs(tiny.clips[0])["pixel_values_videos"],
    }
    expected = tiny.model.generate(**inputs, max_new_tokens=NEW)
    assert torch.equal(tiny.model.generate(**inputs, max_new_tokens=NEW, prompt_lookup_num_tokens=4), expected)


def test_text_only_assistant(tiny: Loaded, tmp_path: Path) -> None:
    """An LLM without ears drafts: its vocabulary must hold the placeholders, which it reads as words it never saw."""
    config = copy.deepcopy(tiny.model.config.text_config)
    drafter = AutoModelForCausalLM.from_config(config).eval()
    drafter.resize_token_embeddings(len(tiny.processor.tokenizer))
    model = XEmoGPTForConditionalGeneration.from_pretrained(tiny.folder)
    model.resize_token_embeddings(len(tiny.processor.tokenizer))
    inputs = tiny.inputs(tiny.clips[0])
    assert torch.equal(
        model.generate(**inputs, assistant_model=drafter, max_new_tokens=NEW),
        model.generate(**inputs, max_new_tokens=NEW),
    )


def test_sampling_is_repeatable_and_varies(tiny: Loaded) -> None:
    settings = {"do_sample": True, "temperature": 1.5, "num_return_sequences": 4}
    drawn = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        drawn.append(tiny(tiny.clips, **settings))
    assert drawn[0] == drawn[1] != drawn[2]
    assert len(drawn[0]) == 4 * len(tiny.clips)
    assert len({tuple(row) for row in drawn[0][:4]}) > 1


def test_default_is_deterministic(tiny: Loaded) -> None:
    torch.manual_seed(0)
    first = tiny(tiny.clips)
    torch.manual_seed(1)
    assert tiny(tiny.clips) == first
    assert tiny.model.generation_config.do_sample is False


@pytest.mark.parametrize(
    "settings", [{}, {"num_beams": 2}, {"prefill_chunk_size": 40}, {"prompt_lookup_num_tokens": 2}]
)
def test_media_are_encoded_once(tiny: Loaded, settings: dict) -> None:
    counts: dict[str, int] = {}
    parts = ("video_bridge", "audio_bridge", "video_projector", "audio_projector", "vision_tower")
    hooks = [
        getattr(tiny.model.model, name).register_forward_hook(
            lambda *_, name=name: counts.update({name: counts.get(name, 0) + 1})
        )
        for name in parts
    ]
    tiny(tiny.clips[0], **settings)
    for hook in hooks:
        hook.remove()
    assert counts == dict.fromkeys(parts, 1)


def test_streamers(tiny: Loaded, capsys: pytest.CaptureFixture[str]) -> None:
    inputs = tiny.inputs(tiny.clips[0])
    [answer] = tiny(tiny.clips[0])
    text = tiny.processor.decode(answer, skip_special_tokens=True)
    streamer = TextIteratorStreamer(tiny.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    thread = Thread(target=tiny.model.generate, kwargs={**inputs, "streamer": streamer, "max_new_tokens": NEW})
    thread.start()
    assert "".join(streamer) == text
    thread.join()
    capsys.readouterr()
    printer = TextStreamer(tiny.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    tiny.model.generate(**inputs, streamer=printer, max_new_tokens=NEW)
    assert capsys.readouterr().out.strip() == text.strip()


def test_scores_and_stop_strings(tiny: Loaded) -> None:
    inputs = tiny.inputs(tiny.clips)
    output = tiny.model.generate(**inputs, max_new_tokens=3, return_dict_in_generate=True, output_scores=True)
    assert len(output.scores) == 3
    ids = torch.stack([score.argmax(-1) for score in output.scores], dim=1)
    assert torch.equal(ids, output.sequences[:, -3:])
    [answer] = tiny(tiny.clips[0])
    words = [tiny.processor.decode(token) for token in answer]
    index = next(index for index, word in enumerate(words) if word.isascii() and word.isprintable())
    [short] = tiny(tiny.clips[0], stop_strings=[words[index]], tokenizer=tiny.processor.tokenizer)
    assert short == answer[: index + 1]


@pytest.mark.slow
def test_compiled_decoding(tiny: Loaded) -> None:
    expected = tiny(tiny.clips)
    config = CompileConfig(fullgraph=True)
    config._compile_all_devices = True  # the library compiles on accelerators only, unless told
    assert tiny(tiny.clips, cache_implementation="static", compile_config=config) == expected


@pytest.mark.slow
@torch.no_grad()
def test_compiled_forward(tiny: Loaded) -> None:
    inputs = tiny.inputs(tiny.clips[:4])
    expected = tiny.model(**inputs).logits
    compiled = torch.compile(tiny.model.forward, fullgraph=True)
    torch.testing.assert_close(compiled(**inputs).logits, expected, atol=1e-3, rtol=1e-3)
