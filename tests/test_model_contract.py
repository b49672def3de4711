# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What transformers asks of every multimodal model in its own tree, asked of this one, on models in memory."""

import copy
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_inputs import clips, tensors
from tiny_model import audio_config, make_tiny_model, text_config, vision_config
from transformers import AutoProcessor, PreTrainedModel, set_seed
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.utils import ModelOutput

from xemogpt.bridges_xemogpt import AudioEmotionalCueBridge
from xemogpt.configuration_xemogpt import XEmoGPTBridgeConfig, XEmoGPTConfig
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration, XEmoGPTModel

BATCH, FRAMES, STEPS, VOCABULARY = 3, 4, 9, 99


@dataclass
class Case:
    """A small configuration and a batch for it: three samples, each with a video and a voice."""

    audio: str = "hubert"
    text: str = "qwen3"
    tied: bool = True
    video_token_id: int = 90

    def config(self) -> XEmoGPTConfig:
        text = text_config(self.text, VOCABULARY, self.tied)
        text.initializer_range = 0.02
        return XEmoGPTConfig(
            vision_config=vision_config(),
            audio_config=audio_config(self.audio),
            text_config=text,
            audio_bridge_config=XEmoGPTBridgeConfig(hidden_size=32, intermediate_size=48, num_attention_heads=4),
            num_frames=FRAMES,
            video_token_id=self.video_token_id,
            audio_token_id=self.video_token_id + 1,
        )

    def media(self) -> dict[str, torch.Tensor]:
        draw = torch.Generator().manual_seed(0)
        pixels = {"pixel_values_videos": torch.randn(BATCH, FRAMES, 3, 32, 32, generator=draw)}
        name, shape = ("input_features", (80, 18)) if self.audio == "whisper" else ("input_values", (3200,))
        mask = torch.ones(BATCH, shape[-1], dtype=torch.long)
        return pixels | {name: torch.randn(BATCH, *shape, generator=draw), f"{name}_mask": mask}

    def inputs(self, labels: bool = False) -> dict[str, torch.Tensor]:
        words = torch.randint(5, 80, (BATCH, 7), generator=torch.Generator().manual_seed(1))
        video = torch.full((BATCH, FRAMES), self.video_token_id)
        audio = torch.full((BATCH, STEPS), self.video_token_id + 1)
        ids = torch.cat([words[:, :2], video, words[:, 2:3], audio, words[:, 3:]], dim=1)
        batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids)} | self.media()
        return batch | {"labels": ids.masked_fill(ids >= 80, -100)} if labels else batch


CASES = {
    "hubert-qwen3": Case(),
    "whisper-llama-untied-placeholders-above": Case("whisper", "llama", tied=False, video_token_id=VOCABULARY),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request: pytest.FixtureRequest) -> Case:
    set_seed(42)
    return request.param


@pytest.fixture(params=[XEmoGPTModel, XEmoGPTForConditionalGeneration], ids=["bare", "headed"])
def kind(request: pytest.FixtureRequest) -> type[PreTrainedModel]:
    return request.param


def close(actual: Any, expected: Any, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


def same_weights(first: PreTrainedModel, second: PreTrainedModel) -> None:
    one, other = first.state_dict(), second.state_dict()
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def attention_kinds(model: PreTrainedModel) -> set[str]:
    """What the attention layers themselves look up, in towers, bridges and LLM."""
    layers = [module for module in model.modules() if type(module).__name__.endswith("Attention")]
    assert len(layers) >= 10
    return {layer.config._attn_implementation for layer in layers}


# Initialisation, saving, loading


@contextmanager
def seeded_initialisation(patch: pytest.MonkeyPatch) -> Any:
    """Every module starts from the same seed, so that the order of initialisation does not matter."""
    original: Callable = PreTrainedModel._initialize_weights

    def seeded(self: PreTrainedModel, *args: Any, **kwargs: Any) -> None:
        set_seed(42)
        original(self, *args, **kwargs)

    with patch.context() as context:
        context.setattr(PreTrainedModel, "_initialize_weights", seeded)
        yield


def test_weights_missing_from_a_checkpoint_are_initialised_like_new_ones(
    case: Case, kind: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    with seeded_initialisation(monkeypatch):
        new = kind(case.config())
        loaded = kind.from_pretrained(None, config=case.config(), state_dict={})
    assert not any(tensor.is_meta for tensor in [*loaded.parameters(), *loaded.buffers()])
    expected, actual = new.state_dict(), loaded.state_dict()
    assert expected.keys() == actual.keys()
    # A weight-normed convolution of HuBERT is the one thing transformers itself cannot initialise off the meta device.
    names = [name for name in expected if ".parametrizations." not in name]
    assert [name for name in names if not torch.equal(expected[name], actual[name])] == []


def test_a_model_built_on_the_meta_device_runs_once_initialised(case: Case, kind: type) -> None:
    with torch.device("meta"):
        model = kind(case.config()).eval()
    model.to_empty(device="cpu")
    model.init_weights()
    buffers, expected = dict(model.named_buffers()), dict(kind(case.config()).named_buffers())
    assert buffers.keys() == expected.keys()
    assert all(torch.equal(buffers[name], expected[name]) for name in buffers)
    model(**case.inputs())


def test_saved_loaded_saved_and_loaded(case: Case, kind: type, tmp_path: Path) -> None:
    model = kind(case.config()).eval()
    model.save_pretrained(tmp_path / "one")
    assert (tmp_path / "one" / "generation_config.json").exists() == model.can_generate()
    once, info = kind.from_pretrained(tmp_path / "one", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    once.save_pretrained(tmp_path / "two", max_shard_size="60KB")
    assert len(list((tmp_path / "two").glob("*.safetensors"))) > 2
    same_weights(kind.from_pretrained(tmp_path / "two"), model)
    same_weights(kind.from_pretrained(None, config=case.config(), state_dict=model.state_dict()), model)
    with torch.no_grad():
        assert torch.equal(once(**case.inputs())[0], model(**case.inputs())[0])
    with torch.device("meta"), pytest.raises(RuntimeError, match="meta device context manager"):
        kind.from_pretrained(tmp_path / "one")


def test_every_weight_that_is_missing_is_said(case: Case, kind: type, tmp_path: Path) -> None:
    kind(case.config()).save_pretrained(tmp_path)
    saved = set(load_file(tmp_path / "model.safetensors"))
    save_file({"stranger": torch.ones(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    model, info = kind.from_pretrained(tmp_path, output_loading_info=True)
    assert saved <= set(info["missing_keys"]) <= set(model.state_dict())
    assert set(info["unexpected_keys"]) == {"stranger"}


def test_heads_tie_as_the_configuration_says(case: Case, tmp_path: Path) -> None:
    for tied in (True, False):
        config = case.config()
        config.tie_word_embeddings = tied
        model = XEmoGPTForConditionalGeneration(config)
        model.save_pretrained(tmp_path / str(tied))
        assert ("lm_head.weight" in load_file(tmp_path / str(tied) / "model.safetensors")) == (not tied)
        again = XEmoGPTForConditionalGeneration.from_pretrained(tmp_path / str(tied))
        same_weights(again, model)
        for each in (model, again):
            assert (each.lm_head.weight is each.get_input_embeddings().weight) == tied
        model.model.save_pretrained(tmp_path / f"bare{tied}")
        _, info = XEmoGPTForConditionalGeneration.from_pretrained(tmp_path / f"bare{tied}", output_loading_info=True)
        assert set(info["missing_keys"]) == (set() if tied else {"lm_head.weight"})


@torch.no_grad()
def test_embeddings_change_their_number(case: Case, kind: type) -> None:
    model = kind(case.config()).eval()
    before, expected = model.get_input_embeddings().weight.clone(), model(**case.inputs())[0]
    for size, multiple, rows in ((109, None, 109), (99, 64, 128), (89, None, 89)):
        embeddings = model.resize_token_embeddings(size, pad_to_multiple_of=multiple, mean_resizing=False)
        assert embeddings is model.get_input_embeddings()
        assert embeddings.weight.shape[0] == rows == model.config.get_text_config().vocab_size
        assert torch.equal(embeddings.weight[:89], before[:89])
        output = model(**case.inputs())
        if kind is XEmoGPTForConditionalGeneration:
            assert output.logits.shape[-1] == model.get_output_embeddings().weight.shape[0] == rows
            assert (model.lm_head.weight is embeddings.weight) == case.tied
        close(output[0][..., :32], expected[..., :32])  # placeholders: found inside the vocabulary and above it
    other = torch.nn.Embedding(10, 10)
    model.set_input_embeddings(other)
    assert model.get_input_embeddings() is other
    assert model.get_decoder() is model.base_model.language_model


def test_parts_can_wait_on_disk(case: Case, tmp_path: Path) -> None:
    model = XEmoGPTForConditionalGeneration(case.config()).eval()
    model.save_pretrained(tmp_path / "model")
    parts = [f"model.{name}" for name, _ in model.model.named_children()] + ["lm_head"]
    where = dict.fromkeys(parts, "cpu") | dict.fromkeys([part for part in parts if "_tower" in part], "disk")
    where |= {"model.video_bridge": "disk", "model.audio_bridge": "disk"}
    parked = XEmoGPTForConditionalGeneration.from_pretrained(
        tmp_path / "model", device_map=where, offload_folder=tmp_path / "disk"
    )
    assert parked.model.audio_bridge.layers[0].final_layer_norm.weight.is_meta
    with torch.no_grad():
        assert torch.equal(parked(**case.inputs()).logits, model(**case.inputs()).logits)


def test_five_clips_are_answered_by_parts_on_disk(tmp_path: Path) -> None:
    """A wrapped part copies what it is given, by its keys: the voices' lengths must not come back."""
    folder = make_tiny_model(tmp_path / "model")
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs, settings = tensors(processor, clips(processor)), {"max_new_tokens": 6, "min_new_tokens": 6}
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    parts = [f"model.{name}" for name, _ in model.model.named_children() if name != "language_model"] + ["lm_head"]
    inside = [f"model.language_model.{name}" for name, _ in model.model.language_model.named_children()]
    inside.remove("model.language_model.layers")
    where = dict.fromkeys([*parts, *inside], "cpu")
    where |= {"model.language_model.layers.0": "cpu", "model.language_model.layers.1": "disk"}
    parked = XEmoGPTForConditionalGeneration.from_pretrained(
        folder, device_map=where, offload_folder=tmp_path / "disk"
    )
    assert parked.model.language_model.layers[1].mlp.up_proj.weight.is_meta
    for search in ({}, {"num_beams": 3}):
        assert torch.equal(
            parked.generate(**inputs, **settings, **search), model.generate(**inputs, **settings, **search)
        )


# Outputs


@torch.no_grad()
def test_a_row_of_every_output_equals_the_row_alone(case: Case, kind: type) -> None:
    model = kind(case.config()).eval()
    batch = model(**case.inputs(), output_hidden_states=True)
    alone = model(**{name: value[:1] for name, value in case.inputs().items()}, output_hidden_states=True)
    for name, value in alone.items():
        if name != "past_key_values":
            values = zip(value, batch[name], strict=True) if isinstance(value, tuple) else [(value, batch[name])]
            for one, many in values:
                close(many[:1], one)


@torch.no_grad()
@pytest.mark.parametrize("extra", [(), ("output_hidden_states",), ("output_hidden_states", "output_attentions")])
def test_tuples_hold_what_objects_hold(case: Case, kind: type, extra: tuple[str, ...]) -> None:
    model = kind(case.config()).eval()
    headed = kind is XEmoGPTForConditionalGeneration
    inputs = case.inputs(labels=headed) | dict.fromkeys(extra, True)
    as_object = model(**inputs)
    as_tuple = model(**inputs, return_dict=False)
    model.config.return_dict = False
    by_config = model(**inputs)
    assert isinstance(as_object, ModelOutput)
    assert isinstance(as_tuple, tuple)
    assert isinstance(by_config, tuple)
    assert len(as_tuple) == len(by_config) == len(as_object)
    for one, other in zip(as_tuple, as_object.to_tuple(), strict=True):
        if isinstance(one, (torch.Tensor, tuple)):
            close(one, other)


@torch.no_grad()
@pytest.mark.parametrize("how", ["argument", "config"])
def test_hidden_states_and_attentions_of_every_part(case: Case, kind: type, how: str) -> None:
    config = case.config()
    wanted = {"output_hidden_states": True, "output_attentions": True}
    if how == "config":
        for part in (config, *(getattr(config, name) for name in config.sub_configs)):
            for name in wanted:
                setattr(part, name, True)
        wanted = {}
    model = kind._from_config(config, attn_implementation="eager").eval()
    media, size = case.media(), case.inputs()["input_ids"].shape[1]
    pixels = media.pop("pixel_values_videos")
    for output, count, length, positions in (
        (model(**case.inputs(), **wanted), BATCH, size, size),
        (model.get_video_features(pixels, **wanted), BATCH * FRAMES, 17, 17),
        (model.get_audio_features(**media, **wanted), BATCH, STEPS, STEPS),
    ):
        assert [tuple(state.shape) for state in output.hidden_states] == [(count, length, 32)] * 3
        assert [tuple(weights.shape) for weights in output.attentions] == [(count, 4, positions, positions)] * 2
    assert isinstance(model.get_audio_features(**media, return_dict=False), tuple)
    assert not any(model.get_audio_features(**media, output_attentions=False).keys() & {"attentions"})


def test_gradients_reach_hidden_states_and_attentions(case: Case) -> None:
    model = XEmoGPTModel._from_config(case.config(), attn_implementation="eager")
    output = model(**case.inputs(), output_hidden_states=True, output_attentions=True)
    kept = (output.hidden_states[0], output.attentions[0])
    for tensor in kept:
        tensor.retain_grad()
    output[0].flatten()[0].backward()
    assert all(tensor.grad is not None for tensor in kept)


@torch.no_grad()
@pytest.mark.parametrize("medium", ["video", "audio"])
def test_as_many_clips_as_the_prompts_hold(case: Case, medium: str) -> None:
    model, inputs = XEmoGPTForConditionalGeneration(case.config()).eval(), case.inputs()
    names = [name for name in case.media() if ("video" in name) == (medium == "video")]
    text = ("input_ids", "attention_mask")
    wrong = [
        inputs | {name: inputs[name][-1:] for name in names},
        inputs | {name: torch.cat([inputs[name], inputs[name][:1]]) for name in names},
        inputs | {name: torch.cat([inputs[name]] * 2, dim=1) for name in text},
    ]
    for batch in wrong:
        with pytest.raises(ValueError, match="placeholders in input_ids, but"):
            model(**batch)
    twice = {name: torch.cat([value] * 2, dim=int(name in text)) for name, value in inputs.items()}
    assert model(**twice).logits.isfinite().all()


# Attention


@torch.no_grad()
def test_attention_is_set_for_all_parts_or_for_one(case: Case) -> None:
    model = XEmoGPTForConditionalGeneration(case.config()).eval()
    assert attention_kinds(model) == {"sdpa"}
    expected = model(**case.inputs())[0]
    model.set_attn_implementation("eager")
    assert attention_kinds(model) == {"eager"}
    close(model(**case.inputs())[0], expected)
    with pytest.raises(ValueError, match='Specified `attn_implementation="foo"` is not supported'):
        model.set_attn_implementation("foo")
    assert attention_kinds(model) == {"eager"}
    model.set_attn_implementation({"": "sdpa"})
    assert model.config._attn_implementation == "sdpa"
    assert attention_kinds(model) == {"eager"}
    for part in model.config.sub_configs:
        model.set_attn_implementation({part: "sdpa"})
        assert getattr(model.config, part)._attn_implementation == "sdpa"
    assert attention_kinds(model) == {"sdpa"}
    for module in model.modules():  # a sub-model's configuration is the one inside ours, not a copy
        if isinstance(module, PreTrainedModel) and module.config.model_type != "xemogpt":
            assert any(module.config is getattr(model.config, part) for part in model.config.sub_configs)


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_and_precision_do_not_part_eager_from_sdpa(case: Case, dtype: torch.dtype, side: str) -> None:
    model = XEmoGPTForConditionalGeneration(case.config()).to(dtype).eval()
    inputs = case.inputs()
    inputs["attention_mask"][-1, : 2 if side == "left" else None] = 0
    if side == "right":
        inputs["attention_mask"][-1, :-2] = 1
    real = inputs["attention_mask"].bool()
    states = []
    for attention in ("sdpa", "eager"):
        model.set_attn_implementation(attention)
        states.append(model(**inputs, output_hidden_states=True).hidden_states[-1][real].float())
    close(*states, tolerance={torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 8e-2}[dtype])


@pytest.mark.slow
@pytest.mark.slow
@torch.no_grad()
def test_flex_attention_equals_eager(case: Case) -> None:
    model = XEmoGPTForConditionalGeneration(case.config()).eval()
    model.set_attn_implementation("eager")
    expected = model(**case.inputs()).logits
    model.set_attn_implementation("flex_attention")
    assert attention_kinds(model) == {"flex_attention"}
    close(model(**case.inputs()).logits, expected, 1e-4)


@pytest.mark.slow
@pytest.mark.slow
@torch.no_grad()
def test_the_model_can_be_exported(case: Case, kind: type) -> None:
    """Not with a group-norm tower, which reads clips one at a time, each at its own length: no static graph."""
    model = kind(case.config()).eval()
    model.config.text_config.use_cache = False
    exported = torch.export.export(model, args=(), kwargs=case.inputs())
    close(exported.module()(**case.inputs())[0], model(**case.inputs())[0], 1e-4)


# Gradient checkpointing


@pytest.mark.parametrize("reentrant", [None, False, True], ids=str)
def test_checkpointing_recomputes_and_changes_no_gradient(case: Case, reentrant: bool | None) -> None:
    model = XEmoGPTForConditionalGeneration(case.config()).train()
    assert not model.is_gradient_checkpointing
    layers = [model.model.video_bridge.layers[0].self_attn, model.model.audio_bridge.layers[0].attention]
    layers.append(model.model.language_model.layers[0].self_attn)
    calls: list[torch.nn.Module] = []
    for layer in layers:
        layer.register_forward_hook(lambda module, *_: calls.append(module))

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**case.inputs(labels=True), use_cache=False).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    assert calls == layers
    assert {name.split(".")[1] for name in plain} >= {"video_bridge", "audio_bridge", "language_model"}
    settings = None if reentrant is None else {"use_reentrant": reentrant}
    model.activation_checkpointing_enable(settings)
    assert model.is_gradient_checkpointing
    checkpointed = gradients()
    assert [calls.count(layer) for layer in layers] == [3] * len(layers)
    assert plain.keys() == checkpointed.keys()
    for name, gradient in plain.items():
        close(checkpointed[name], gradient)
    model.activation_checkpointing_disable()
    assert not model.is_gradient_checkpointing
    assert not any(module.gradient_checkpointing for module in model.modules() if is_checkpointed(module))


def is_checkpointed(module: torch.nn.Module) -> bool:
    return isinstance(module, GradientCheckpointingLayer)


def test_frozen_embeddings_can_be_made_to_require_gradients(case: Case) -> None:
    """What PEFT does before it checkpoints a frozen LLM."""
    model = XEmoGPTForConditionalGeneration(case.config()).train()
    embeddings = model.get_input_embeddings()
    model.enable_input_require_grads()
    seen: list[bool] = []
    embeddings.register_forward_hook(lambda _, __, output: seen.append(output.requires_grad))
    model.requires_grad_(False)
    model(**case.inputs(labels=True)).loss.backward()
    assert seen == [True]
    model.disable_input_require_grads()


def test_the_audio_bridge_trains_alone_under_reentrant_checkpointing() -> None:
    torch.manual_seed(0)
    bridge = AudioEmotionalCueBridge(XEmoGPTBridgeConfig(hidden_size=8, intermediate_size=8, num_attention_heads=2))
    bridge.config._attn_implementation = "eager"
    features = torch.randn(2, 5, 8)
    plain = copy.deepcopy(bridge)
    plain(features).sum().backward()
    for layer in bridge.layers:
        layer.gradient_checkpointing = True
        layer._gradient_checkpointing_func = lambda run, *args: torch.utils.checkpoint.checkpoint(
            run, *args, use_reentrant=True
        )
    bridge(features).sum().backward()
    assert not features.requires_grad
    for one, other in zip(bridge.parameters(), plain.parameters(), strict=True):
        close(one.grad, other.grad)
