# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The model: features, forward, modality gate, frozen towers, attention kinds, dtypes, every kind of backbone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_inputs import clips, frames, tensors, voice
from tiny_model import make_tiny_model
from transformers import (
    AutoProcessor,
)

from xemogpt.configuration_xemogpt import XEmoGPTConfig
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration, XEmoGPTModel
from xemogpt.towers_xemogpt import pool_steps

SOUND = ("input_values", "input_features")
KINDS = [("hubert", "qwen3"), ("whisper", "llama"), ("hubert-group", "qwen3")]


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    audio, text = request.param
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny", audio=audio, text=text)


def load(folder: Path, **kwargs: Any) -> XEmoGPTForConditionalGeneration:
    return XEmoGPTForConditionalGeneration.from_pretrained(folder, **kwargs)


def processor_of(folder: Path) -> Any:
    return AutoProcessor.from_pretrained(folder, trust_remote_code=True)


def close(actual: torch.Tensor, expected: torch.Tensor, tolerance: float = 1e-5) -> None:
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


# Forward


@torch.no_grad()
def test_a_batch_gives_what_each_clip_gives_alone(folder: Path) -> None:
    model, processor = load(folder), processor_of(folder)
    samples = clips(processor)
    batch = model(**tensors(processor, samples)).logits
    for row, sample in zip(batch, samples, strict=True):
        alone = model(**tensors(processor, sample)).logits[0]
        close(row[-len(alone) :], alone, 1e-3)


@torch.no_grad()
def test_padded_audio_features_equal_those_of_the_clip_alone(folder: Path) -> None:
    model, processor = load(folder), processor_of(folder)
    both = [processor.conversation(audio=voice(seconds)) for seconds in (0.9, 0.41)]  # an odd number of mel frames
    names = [name for name in processor.model_input_names if name.startswith("input_") and name != "input_ids"]

    def features(messages: list) -> Any:
        inputs = tensors(processor, messages)
        return model.model.encode_audio(**{name: inputs[name] for name in names})

    batch = features(both)
    for index, sample in enumerate(both):
        alone = features(sample)
        steps = alone.last_hidden_state.shape[1]
        close(batch.last_hidden_state[index, :steps], alone.last_hidden_state[0])
        close(batch.pooler_output[index, :steps], alone.pooler_output[0])
        assert batch.attention_mask[index].sum() == steps
        assert not batch.last_hidden_state[index, steps:].any()
        assert not batch.pooler_output[index, steps:].any()


@torch.no_grad()
def test_feature_methods_return_output_objects(folder: Path) -> None:
    model, processor = load(folder), processor_of(folder)
    inputs = tensors(processor, clips(processor))
    video = model.get_video_features(inputs["pixel_values_videos"], output_hidden_states=True)
    assert video.last_hidden_state.shape == video.pooler_output.shape == (3, 16, 32)
    assert len(video.hidden_states) == 3
    audio = {name: value for name, value in inputs.items() if name.startswith(("input_v", "input_f"))}
    output = model.get_audio_features(**audio)
    assert output.last_hidden_state.shape[::2] == (3, 32)
    assert output.attention_mask.shape == output.pooler_output.shape[:2]
    assert isinstance(model.get_video_features(inputs["pixel_values_videos"], return_dict=False), tuple)
    forward = model(**inputs)
    close(forward.video_hidden_states, video.pooler_output)
    close(model(**inputs, return_dict=False)[0], forward.logits)


@torch.no_grad()
def test_whisper_reads_clips_of_any_length_up_to_thirty_seconds(tmp_path: Path) -> None:
    model = load(make_tiny_model(tmp_path / "m", audio="whisper"))
    tower = model.model.audio_tower
    full = torch.randn(1, 80, 3000)
    hidden = model.model.audio_bridge(tower(full).last_hidden_state)
    close(model.get_audio_features(input_features=full).last_hidden_state, hidden, 1e-4)
    with pytest.raises(ValueError, match="exceed the Whisper encoder's 1500"):
        model.get_audio_features(input_features=torch.randn(1, 80, 3200))
    with pytest.raises(ValueError, match="is Whisper"):
        model.get_audio_features(input_values=torch.randn(1, 4000))


@torch.no_grad()
def test_inputs_embeds_equal_input_ids(hubert: Path) -> None:
    model, processor = load(hubert), processor_of(hubert)
    inputs = tensors(processor, clips(processor)[1])
    ids = inputs.pop("input_ids")
    with pytest.raises(ValueError, match="lies above the vocabulary"):
        model(inputs_embeds=model.model.embed_tokens(ids), **inputs)
    expected = model(input_ids=ids, **inputs).logits
    model.resize_token_embeddings(len(processor.tokenizer))  # now the placeholders are in the vocabulary
    grown = model(input_ids=ids, **inputs).logits
    close(grown[..., : expected.shape[-1]], expected)
    close(model(inputs_embeds=model.get_input_embeddings()(ids), **inputs).logits, grown)
    with pytest.raises(ValueError, match="exactly one"):
        model(input_ids=ids, inputs_embeds=model.get_input_embeddings()(ids), **inputs)


@torch.no_grad()
def test_embeddings_grow_and_shrink_with_tied_head(hubert: Path) -> None:
    model, processor = load(hubert), processor_of(hubert)
    inputs = tensors(processor, clips(processor))
    before = model(**inputs).logits
    for size in (450, before.shape[-1]):
        model.resize_token_embeddings(size)
        assert model.lm_head.weight is model.get_input_embeddings().weight
        assert model.config.text_config.vocab_size == size
        close(model(**inputs).logits[..., : before.shape[-1]], before)


def test_what_does_not_fit_is_named(hubert: Path) -> None:
    model, processor = load(hubert), processor_of(hubert)
    inputs = tensors(processor, clips(processor)[0])
    video_id, audio_id = processor.video_token_id, processor.audio_token_id
    steps = int((inputs["input_ids"] == audio_id).sum())

    def broken(**changes: Any) -> dict[str, Any]:
        return {name: value for name, value in (inputs | changes).items() if value is not None}

    first = int((inputs["input_ids"] == video_id).nonzero()[0, 1])
    short = inputs["input_ids"].clone()
    short[0, first] = 5
    with pytest.raises(ValueError, match="15 video placeholders in input_ids, but 16 video features"):
        model(**broken(input_ids=short))
    with pytest.raises(ValueError, match=f"{steps} audio placeholders in input_ids, but {2 * steps} audio features"):
        model(
            **broken(
                input_values=inputs["input_values"].repeat(2, 1),
                input_values_mask=inputs["input_values_mask"].repeat(2, 1),
            )
        )
    with pytest.raises(ValueError, match="positions for 16 frames, but got 3"):
        model(**broken(pixel_values_videos=inputs["pixel_values_videos"][:, :3]))
    with pytest.raises(ValueError, match="pixel_values_videos must be"):
        model(**broken(pixel_values_videos=inputs["pixel_values_videos"][0]))
    with pytest.raises(ValueError, match="reads waveforms"):
        model(**broken(input_values=None, input_features=torch.zeros(1, 80, 100)))
    features = {"video": model.get_video_features(inputs["pixel_values_videos"])}
    with pytest.raises(ValueError, match="not both"):
        model(**inputs, mm_encoder_outputs=features)


@torch.no_grad()
def test_features_given_equal_raw_media_and_are_not_changed(folder: Path) -> None:
    model, processor = load(folder), processor_of(folder)
    inputs = tensors(processor, clips(processor))
    audio = {name: inputs[name] for name in list(inputs) if name.startswith(("input_v", "input_f"))}
    given = {
        "video": model.get_video_features(inputs["pixel_values_videos"]),
        "audio": model.model.encode_audio(**audio),
    }
    kept = {name: value.pooler_output.clone() for name, value in given.items()}
    text = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    close(model(**text, mm_encoder_outputs=given).logits, model(**inputs).logits)
    expected = model.generate(**inputs, max_new_tokens=4, num_beams=2)
    assert torch.equal(model.generate(**text, mm_encoder_outputs=given, max_new_tokens=4, num_beams=2), expected)
    assert all(torch.equal(given[name].pooler_output, kept[name]) for name in given)
    with_audio = {"video": given["video"]}
    for _ in range(2):  # generate adds the audio to a copy of its own
        model.generate(**text, **audio, mm_encoder_outputs=with_audio, max_new_tokens=2)
    assert set(with_audio) == {"video"}
    with pytest.raises(ValueError, match="audio placeholders"):
        model(**text, mm_encoder_outputs={"video": given["video"], "audio": None})


@torch.no_grad()
def test_cue_heads_say_which_frame_and_compare_texts(hubert: Path) -> None:
    model, processor = load(hubert), processor_of(hubert)
    inputs = tensors(processor, clips(processor)[0])
    cues = model.model.get_video_cues(inputs["pixel_values_videos"])
    assert cues.embedding.shape == (1, 768)
    close(cues.step_weights.sum(-1), torch.ones(1))
    relevance = model.model.frame_relevance(inputs["pixel_values_videos"], torch.randn(2, 768))
    assert relevance.shape == (1, 2, 16)
    assert relevance.abs().max() <= 1 + 1e-6
    audio = {name: inputs[name] for name in ("input_values", "input_values_mask")}
    heard = model.model.get_audio_cues(**audio)
    assert heard.embedding.shape == (1, 768)
    for media in ({"pixel_values_videos": inputs["pixel_values_videos"]}, audio):
        logits = model.recognise(torch.randn(3, 768), **media)
        assert logits.shape == (1, 3)
        assert logits.abs().max() <= model.model.audio_cue_head.logit_scale.exp() + 1e-4
    close(heard.step_weights.sum(-1), torch.ones(1))


# The modality gate (section III-D3)


def gradients(model: Any, inputs: dict, gates: torch.Tensor | None, **kwargs: Any) -> tuple[torch.Tensor, dict]:
    model.zero_grad(set_to_none=True)
    output = model(**inputs, modality_gates=gates, **kwargs)
    output.loss.backward()
    return output.logits.detach(), {
        name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None
    }


def branch(grads: dict, medium: str) -> dict[str, torch.Tensor]:
    parts = (f"{medium}_bridge.", f"{medium}_projector.")
    return {name: grad for name, grad in grads.items() if any(part in name for part in parts)}


@pytest.mark.parametrize("checkpointing", [False, True])
def test_a_closed_gate_stops_the_gradient_exactly(folder: Path, checkpointing: bool) -> None:
    model, processor = load(folder).train(), processor_of(folder)
    if checkpointing:
        model.activation_checkpointing_enable()
    for module in model.modules():  # the audio bridge has dropout, as its tower
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        if hasattr(module, "dropout") and isinstance(module.dropout, float):
            module.dropout = 0.0
    samples = [clips(processor)[0], clips(processor)[3]]
    inputs = tensors(processor, samples, answer=True)
    open_logits, open_grads = gradients(model, inputs, None)
    assert all(grad.any() for grad in branch(open_grads, "video").values())
    for gates in ([[True, False]] * 2, [[False, True]] * 2, [[False, False]] * 2, [[True, True]] * 2):
        logits, grads = gradients(model, inputs, torch.tensor(gates))
        assert torch.equal(logits, open_logits)
        for column, medium in enumerate(("video", "audio")):
            part, reference = branch(grads, medium), branch(open_grads, medium)
            assert part.keys() == reference.keys()  # zeros, not None: what distributed training needs
            for name, grad in part.items():
                if gates[0][column]:
                    assert torch.equal(grad, reference[name])
                else:
                    assert not grad.any(), name


def test_gates_must_be_given_for_every_sample(hubert: Path) -> None:
    model, processor = load(hubert), processor_of(hubert)
    inputs = tensors(processor, clips(processor)[:2])
    with pytest.raises(ValueError, match=r"must be \(2, 2\)"):
        model(**inputs, modality_gates=torch.ones(1, 2, dtype=torch.bool))


def test_a_mixed_batch_is_the_sum_of_its_parts(hubert: Path) -> None:
    model, processor = load(hubert), processor_of(hubert)
    samples = [clips(processor)[0], clips(processor)[3], clips(processor)[1], clips(processor)[2]]
    gates = torch.tensor([[True, False], [False, True], [True, True], [False, False]])
    inputs = tensors(processor, samples, answer=True)
    count = (inputs["labels"] != -100).sum()
    _, mixed = gradients(model, inputs, gates, num_items_in_batch=count)
    total: dict[str, torch.Tensor] = {}
    for index, sample in enumerate(samples):
        one = tensors(processor, sample, answer=True)
        _, grads = gradients(model, one, gates[index : index + 1], num_items_in_batch=count)
        for name, grad in grads.items():
            total[name] = total.get(name, 0) + grad
    assert mixed.keys() == total.keys()
    for name in mixed:
        torch.testing.assert_close(mixed[name], total[name], atol=1e-5, rtol=1e-3)


# Frozen towers


def test_frozen_towers_stay_frozen(hubert: Path) -> None:
    loaded = load(hubert)
    for model in (loaded, XEmoGPTForConditionalGeneration(loaded.config), XEmoGPTModel(loaded.config)):
        base = model.base_model
        model.train()
        base.train()
        assert model.training
        assert not base.vision_tower.training
        assert not base.audio_tower.training
        assert all(
            not module.training for tower in (base.vision_tower, base.audio_tower) for module in tower.modules()
        )
        frozen = {name.split(".")[0] for name, p in base.named_parameters() if not p.requires_grad}
        assert frozen == {"vision_tower", "audio_tower"}
    features = loaded.model.vision_tower(torch.randn(1, 3, 32, 32)).last_hidden_state
    assert not features.requires_grad


def test_towers_can_be_trained_on_request(hubert: Path) -> None:
    config = XEmoGPTConfig.from_pretrained(hubert)
    config.freeze_towers = False
    model, processor = load(hubert, config=config).train(), processor_of(hubert)
    assert model.model.audio_tower.training
    model.model.audio_tower.config.mask_time_prob = 0.0
    model(**tensors(processor, clips(processor)[0], answer=True)).loss.backward()
    assert model.model.vision_tower.embeddings.patch_embedding.weight.grad.any()


# Attention, dtypes, devices, checkpointing


@torch.no_grad()
def test_eager_equals_sdpa_in_every_part(folder: Path) -> None:
    processor = processor_of(folder)
    inputs = tensors(processor, clips(processor))
    sdpa, eager = load(folder, attn_implementation="sdpa"), load(folder, attn_implementation="eager")
    for model, kind in ((sdpa, "sdpa"), (eager, "eager")):
        assert all(getattr(model.config, name)._attn_implementation == kind for name in model.config.sub_configs)
        assert model.model.video_bridge.layers[0].self_attn.config._attn_implementation == kind
        assert model.model.audio_bridge.layers[0].attention.config._attn_implementation == kind
    real = inputs["attention_mask"].bool()  # what is computed at padding differs, and matters to nobody
    close(sdpa(**inputs).logits[real], eager(**inputs).logits[real], 1e-3)
    sdpa.set_attn_implementation("eager")
    assert sdpa.model.audio_bridge.layers[0].attention.config._attn_implementation == "eager"
    assert torch.equal(sdpa(**inputs).logits, eager(**inputs).logits)
    output = eager(**inputs, output_attentions=True, output_hidden_states=True)
    assert len(output.attentions) == 2
    assert len(output.hidden_states) == 3


@torch.no_grad()
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(folder: Path, dtype: torch.dtype) -> None:
    processor = processor_of(folder)
    inputs = tensors(processor, clips(processor))
    model = load(folder, dtype=dtype)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
    logits = model(**inputs).logits
    assert logits.dtype == dtype
    reference = load(folder)(**inputs).logits
    assert (logits.float() - reference).abs().mean() < 0.1 * reference.abs().mean()
    assert model.generate(**inputs, max_new_tokens=4).shape[1] == inputs["input_ids"].shape[1] + 4
    later = load(folder).to(dtype)(**inputs).logits  # casts the rotary tables too, which loading does not
    assert (later.float() - reference).abs().mean() < 0.1 * reference.abs().mean()


@torch.no_grad()
def test_trainable_parts_in_float32_over_a_bfloat16_base(hubert: Path) -> None:
    model, processor = load(hubert, dtype=torch.bfloat16), processor_of(hubert)
    for name in ("video_bridge", "audio_bridge", "video_projector", "audio_projector"):
        getattr(model.model, name).float()
    assert model(**tensors(processor, clips(processor))).logits.isfinite().all()


@torch.no_grad()
@pytest.mark.parametrize("device_map", ["cpu", "auto", {"": "cpu"}])
def test_device_map(hubert: Path, device_map: Any) -> None:
    processor = processor_of(hubert)
    inputs = tensors(processor, clips(processor))
    assert torch.equal(load(hubert, device_map=device_map)(**inputs).logits, load(hubert)(**inputs).logits)


def test_gradient_checkpointing_changes_nothing(hubert: Path) -> None:
    processor = processor_of(hubert)
    inputs = tensors(processor, clips(processor), answer=True)
    results = []
    for checkpointing in (False, True):
        model = load(hubert)
        model.config.audio_bridge_config.hidden_dropout = 0.0
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
            if isinstance(getattr(module, "dropout", None), float):
                module.dropout = 0.0
        if checkpointing:
            model.activation_checkpointing_enable()
        results.append(gradients(model, inputs, None))
    close(results[0][0], results[1][0])
    assert results[0][1].keys() == results[1][1].keys()
    for name, grad in results[0][1].items():
        close(grad, results[1][1][name], 1e-4)


@pytest.mark.parametrize("medium", ["video", "audio"])
def test_a_prompt_without_its_media_is_refused(hubert: Path, medium: str) -> None:
    model, processor = load(hubert), processor_of(hubert)
    media = {"video": frames()} if medium == "video" else {"audio": voice(0.5)}
    inputs = tensors(processor, processor.conversation(**media, instruction="?"), answer=True)
    for name in [name for name in inputs if name.startswith(("pixel", *SOUND))]:
        inputs.pop(name)
    message = rf"\d+ {medium} placeholders in input_ids, but 0 {medium} features"
    with pytest.raises(ValueError, match=message):
        model(**inputs)
    inputs.pop("labels")
    for settings in ({}, {"use_cache": False}, {"cache_implementation": "static"}, {"num_beams": 2}):
        with pytest.raises(ValueError, match=message):
            model.generate(**inputs, max_new_tokens=2, **settings)


@pytest.mark.parametrize("kind", ["hubert", "whisper", "hubert-group"])
def test_audio_steps_are_pooled_as_the_configuration_says(kind: str, tmp_path: Path) -> None:
    """Every three steps become one token, the last of each clip from what is left; one step each changes nothing."""
    hidden = torch.arange(14.0).reshape(2, 7, 1)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    assert pool_steps(hidden, mask, 1) == (hidden, mask)
    pooled, kept = pool_steps(hidden, mask, 3)
    assert pooled[..., 0].tolist() == [[1.0, 4.0, 6.0], [8.0, 10.0, 0.0]]
    assert kept is not None
    assert kept.tolist() == [[True, True, True], [True, True, False]]
    whole, none = pool_steps(hidden, None, 3)
    assert none is None
    assert whole[0, :, 0].tolist() == [1.0, 4.0, 6.0]

    folder = make_tiny_model(tmp_path / "tiny", audio=kind, audio_pooling=3)
    model, processor = load(folder), processor_of(folder)
    rng = np.random.default_rng(0)
    sounds = [rng.standard_normal(length).astype(np.float32) / 9 for length in (9000, 6100)]
    asked = [processor.conversation(audio=sound, task="audio") for sound in sounds]
    settings = {"tokenize": True, "return_dict": True, "return_tensors": "pt", "add_generation_prompt": True}
    both = processor.apply_chat_template(asked, **settings)
    features = model.model.encode_audio(**{name: value for name, value in both.items() if name.startswith(SOUND)})
    tokens = (both["input_ids"] == processor.audio_token_id).sum(-1)
    steps = features.attention_mask.sum(-1)
    assert tokens.tolist() == [-(-step // 3) for step in steps.tolist()] == features.token_mask.sum(-1).tolist()
    answers = model.generate(**both, max_new_tokens=6, min_new_tokens=6, num_beams=2)[:, both["input_ids"].shape[1] :]
    for row, messages in enumerate(asked):
        alone = processor.apply_chat_template([messages], **settings)
        answer = model.generate(**alone, max_new_tokens=6, min_new_tokens=6, num_beams=2)[0]
        assert answer[alone["input_ids"].shape[1] :].tolist() == answers[row].tolist()
