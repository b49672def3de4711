# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The authors' own code, run on miniature weights, against this project on the converted checkpoint.

The reference tensors are no part of the repository: the tests run where the folder `shared/parity` stands beside it.
"""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForMultimodalLM, AutoProcessor

from xemogpt.hub.convert_release import convert

pytestmark = pytest.mark.parity
CASES = sorted(path.parent for path in Path(__file__).parents[1].parent.glob("shared/parity/*/case.json"))


@pytest.fixture(scope="module", params=CASES or [None], ids=lambda case: case.name if case else "none")
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    if request.param is None:
        pytest.skip("needs the folder shared/parity beside the repository")
    folder, out = request.param, tmp_path_factory.mktemp("converted") / request.param.name
    facts = json.loads((folder / "case.json").read_text())
    report = convert(
        folder / "xemogpt.ckpt",
        folder / "clip",
        folder / "hubert",
        folder / "qwen3",
        out,
        lora_alpha=facts["lora"]["alpha"],
    )
    assert not report.unexpected
    model = AutoModelForMultimodalLM.from_pretrained(out, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(out, trust_remote_code=True)
    expected = load_file(folder / "expected.safetensors")
    conversations = [
        processor.conversation(
            video=expected["frames"][index].numpy(),
            audio=expected[f"audio.{index}"].numpy(),
            subtitle=subtitle,
            instruction=prompt.split("all the provided information. ", 1)[1].removesuffix(" ###Assistant: "),
        )
        for index, (subtitle, prompt) in enumerate(zip(facts["subtitles"], facts["prompts"], strict=True))
    ]
    return facts | {
        "expected": expected,
        "model": model,
        "processor": processor,
        "conversations": conversations,
    }


def tensors(case: dict[str, Any], conversations: list, **kwargs: Any) -> Any:
    return case["processor"].apply_chat_template(
        conversations, tokenize=True, return_dict=True, return_tensors="pt", **kwargs
    )


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-4) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=0)


@torch.no_grad()
def test_bridges_and_cue_heads(case: dict[str, Any]) -> None:
    model, expected = case["model"], case["expected"]
    close(
        model.get_video_features(expected["pixel_values"]).last_hidden_state,
        expected["video_bridge_output"],
    )
    audio = model.get_audio_features(expected["input_values"], expected["audio_attention_mask"])
    close(audio.last_hidden_state, expected["audio_bridge_output"])
    assert torch.equal(audio.attention_mask, expected["audio_feature_mask"].bool())
    cues = model.model.get_video_cues(expected["pixel_values"])
    close(cues.embedding, expected["video_contrastive_embedding"])
    pooled = model.model.audio_cue_head(audio.last_hidden_state, audio.attention_mask)
    close(pooled.embedding, expected["audio_pooled_projected"])


def test_processor_gives_the_release_inputs(case: dict[str, Any]) -> None:
    expected, processor = case["expected"], case["processor"]
    for index, (conversation, prompt) in enumerate(zip(case["conversations"], case["prompts"], strict=True)):
        rendered = processor.apply_chat_template(conversation, add_generation_prompt=True)
        rendered = rendered.replace(processor.audio_token, "<AudioHere>").replace(processor.video_token, "<VideoHere>")
        assert rendered == processor.tokenizer.pad_token + prompt
        inputs = tensors(case, conversation, add_generation_prompt=True)
        close(inputs["pixel_values_videos"][0], expected["pixel_values"][index], 1e-6)
        samples = inputs["input_values"].shape[1]
        close(inputs["input_values"][0], expected["input_values"][index, :samples], 1e-6)


@torch.no_grad()
def test_embeddings_logits_and_loss(case: dict[str, Any]) -> None:
    model, expected = case["model"], case["expected"]
    seen = {}
    hook = model.model.language_model.register_forward_pre_hook(
        lambda module, args, kwargs: seen.update(kwargs), with_kwargs=True
    )
    for index, (conversation, answer) in enumerate(zip(case["conversations"], case["answers"], strict=True)):
        messages = [*conversation, {"role": "assistant", "content": answer}]
        inputs = tensors(case, messages, return_assistant_tokens_mask=True)
        labels = inputs["input_ids"].masked_fill(inputs.pop("assistant_masks") == 0, -100)
        assert torch.equal(labels[0], expected[f"labels.{index}"])
        outputs = model(**inputs, labels=labels)
        close(seen["inputs_embeds"][0], expected[f"inputs_embeds.{index}"])
        close(outputs.logits[0], expected[f"logits.{index}"])
        close(outputs.loss.reshape(1), expected[f"loss.{index}"])
    hook.remove()


@pytest.mark.parametrize(("beams", "key"), [(1, "greedy_ids"), (5, "beam5_ids")])
def test_generated_ids_alone_and_in_a_batch(case: dict[str, Any], beams: int, key: str) -> None:
    model, expected = case["model"], case["expected"]
    targets = [expected[f"{key}.{index}"].tolist() for index in range(len(case["conversations"]))]

    def generate(conversations: list) -> list[list[int]]:
        inputs = tensors(case, conversations, add_generation_prompt=True)
        ids = model.generate(**inputs, max_new_tokens=len(targets[0]), num_beams=beams)
        return ids[:, inputs["input_ids"].shape[1] :].tolist()

    assert [generate(conversation)[0] for conversation in case["conversations"]] == targets
    assert generate(case["conversations"]) == targets
