# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How a model is put together: initialisation, the configuration, and every kind of backbone."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_inputs import clips, tensors
from tiny_model import audio_config, make_tiny_model, text_config, tiny_tokenizer, vision_config
from transformers import (
    AutoModelForMultimodalLM,
    AutoProcessor,
    CLIPConfig,
    ConvNextConfig,
    Dinov2Config,
    GPT2Config,
    MobileNetV2Config,
    PhiConfig,
    SiglipVisionConfig,
    ViTConfig,
    Wav2Vec2Config,
    Wav2Vec2FeatureExtractor,
    WavLMConfig,
)

from xemogpt.configuration_xemogpt import XEmoGPTBridgeConfig, XEmoGPTConfig
from xemogpt.hub.compose import compose, new_folder
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.processing_xemogpt import XEmoGPTVideoProcessor


def load(folder: Path, **kwargs: Any) -> XEmoGPTForConditionalGeneration:
    return XEmoGPTForConditionalGeneration.from_pretrained(folder, **kwargs)


def test_new_parts_are_initialised_as_documented() -> None:
    torch.manual_seed(0)
    model = XEmoGPTForConditionalGeneration.from_backbones(vision_config(), audio_config(), text_config())
    bridge = model.model.video_bridge
    assert bridge.position_embedding.std().item() == pytest.approx(0.02, rel=0.2)
    assert bridge.position_embedding.any()
    assert bridge.layers[0].self_attn.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert torch.equal(bridge.layers[0].layer_norm1.weight, torch.ones(32))
    assert model.model.video_cue_head.logit_scale.item() == pytest.approx(2.6592)
    assert all(parameter.isfinite().all() for parameter in model.parameters())
    assert not any(parameter.is_meta for parameter in model.parameters())
    assert not any(buffer.is_meta for buffer in model.buffers())
    assert {"vision_tower", "audio_tower", "language_model", "video_bridge"} <= set(model.config.untrained_parts)


def test_missing_parts_of_a_checkpoint_are_initialised(hubert: Path, tmp_path: Path) -> None:
    model = load(hubert)
    state = {name: value for name, value in model.state_dict().items() if "_bridge." not in name}
    model.save_pretrained(tmp_path, state_dict=state)
    again, info = XEmoGPTForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert info["missing_keys"]
    assert all("_bridge." in name for name in info["missing_keys"])
    assert again.model.video_bridge.position_embedding.std().item() == pytest.approx(0.02, rel=0.2)
    assert again.model.audio_bridge.layers[1].attention.q_proj.weight.std().item() == pytest.approx(0.02, rel=0.2)


def test_full_size_is_the_papers_model() -> None:
    config = XEmoGPTConfig()
    with torch.device("meta"):
        model = XEmoGPTForConditionalGeneration(config)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.model.named_children()}
    assert round(sizes["vision_tower"] / 1e6) == 303
    assert round(sizes["audio_tower"] / 1e6) == 315
    assert round(sizes["language_model"] / 1e7) == 402
    assert len(model.model.video_bridge.layers) == len(model.model.audio_bridge.layers) == 2
    assert (config.num_frames, config.tie_word_embeddings, config.vision_feature) == (16, True, "class")


SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
PICTURE = {"image_size": 32, "patch_size": 8}
SPEECH = {"conv_dim": (16,) * 7, "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "vocab_size": 8}
SPEECH |= {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}


@torch.no_grad()
@pytest.mark.parametrize(
    ("part", "config", "feature"),
    [
        ("vision", SiglipVisionConfig(**SMALL, **PICTURE), "pooled"),
        ("vision", Dinov2Config(**SMALL | {"mlp_ratio": 2}, **PICTURE), "class"),
        ("vision", ViTConfig(**SMALL, **PICTURE), "class"),
        ("vision", CLIPConfig(vision_config=SMALL | PICTURE), "class"),
        ("audio", Wav2Vec2Config(**SMALL, **SPEECH), "class"),
        ("audio", WavLMConfig(**SMALL, **SPEECH), "class"),
        ("audio", audio_config("whisper"), "class"),
        ("text", text_config("llama"), "class"),
        ("text", GPT2Config(n_embd=32, n_layer=2, n_head=4), "class"),
    ],
    ids=lambda value: getattr(value, "model_type", value),
)
def test_other_backbones(part: str, config: Any, feature: str, tmp_path: Path) -> None:
    parts = {"vision": vision_config(), "audio": audio_config(), "text": text_config()} | {part: config}
    model = XEmoGPTForConditionalGeneration.from_backbones(**parts)
    assert model.config.vision_feature == feature
    features = model.get_video_features(torch.randn(2, 16, 3, 32, 32))
    assert features.pooler_output.shape == (2, 16, 32)
    key = "input_features" if config.model_type == "whisper" else "input_values"
    sound = torch.randn(1, 80, 90) if key == "input_features" else torch.randn(1, 8000)
    steps = model.get_audio_features(**{key: sound}).pooler_output.shape[1]
    ids = torch.tensor([[5] + [model.config.video_token_id] * 16 + [model.config.audio_token_id] * steps + [6]])
    inputs = {"input_ids": ids, "pixel_values_videos": torch.randn(1, 16, 3, 32, 32), key: sound}
    logits = model(**inputs).logits
    model.save_pretrained(tmp_path)
    again = AutoModelForMultimodalLM.from_pretrained(tmp_path, trust_remote_code=True)
    assert torch.equal(again(**inputs).logits, logits)


def test_pooled_encoder_without_sequence_is_read_through_its_pool() -> None:
    config = ConvNextConfig(hidden_sizes=[16, 32], depths=[1, 1], num_stages=2, image_size=32)
    with pytest.raises(ValueError, match="pass its bridge"):
        XEmoGPTForConditionalGeneration.from_backbones(MobileNetV2Config(), audio_config(), text_config())
    model = XEmoGPTForConditionalGeneration.from_backbones(config, audio_config(), text_config())
    assert model.config.video_bridge_config.hidden_size == 32  # of the last stage, which is pooled
    bridge = XEmoGPTBridgeConfig(hidden_size=32, intermediate_size=48, num_attention_heads=4)
    model = XEmoGPTForConditionalGeneration.from_backbones(
        config, audio_config(), text_config(), video_bridge_config=bridge
    )
    assert model.get_video_features(torch.randn(1, 16, 3, 32, 32)).pooler_output.shape == (1, 16, 32)


def test_configuration_errors_and_round_trip(tmp_path: Path) -> None:
    small = {"vision_config": vision_config(), "audio_config": audio_config(), "text_config": text_config()}
    config = XEmoGPTConfig(**small, num_frames=4, untrained_parts=["video_bridge"])
    config.save_pretrained(tmp_path)
    assert XEmoGPTConfig.from_pretrained(tmp_path).to_dict() == config.to_dict()
    as_dicts = XEmoGPTConfig(**{name: value.to_dict() for name, value in small.items()}, num_frames=4)
    assert as_dicts.vision_config.to_dict() == config.vision_config.to_dict()
    for wrong, message in (
        ({"num_frames": 0}, "num_frames must be at least 1"),
        ({"vision_feature": "cls"}, "must be 'class' or 'pooled'"),
        ({"video_token_id": 7, "audio_token_id": 7}, "must differ"),
        ({"video_bridge_config": XEmoGPTBridgeConfig(hidden_size=64)}, "64 wide, but its tower 32"),
    ):
        with pytest.raises(ValueError, match=message):
            XEmoGPTConfig(**small, **wrong)


def test_a_head_with_a_bias_is_refused() -> None:
    with pytest.raises(ValueError, match="head of a 'phi' is not a plain matrix"):
        XEmoGPTForConditionalGeneration.from_backbones(vision_config(), audio_config(), PhiConfig(**SMALL))


def test_learnt_positions_do_not_count_the_padding(tmp_path: Path) -> None:
    """GPT-2 adds a learnt embedding of the position: batches are padded on the left, in training as in generation."""
    tokenizer = tiny_tokenizer()
    text = GPT2Config(
        vocab_size=len(tokenizer),
        n_embd=32,
        n_layer=2,
        n_head=4,
        n_positions=512,
        eos_token_id=2,
        initializer_range=0.5,
    )
    parts = {"image_processor": XEmoGPTVideoProcessor(size=32, crop_size=32)}
    parts |= {"tokenizer": tokenizer, "feature_extractor": Wav2Vec2FeatureExtractor()}
    torch.manual_seed(0)
    folder = compose(vision_config(), audio_config(), text, tmp_path / "gpt2", **parts)
    model, processor = load(folder), AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    conversations = clips(processor)
    batch = tensors(processor, conversations, answer=True)
    assert not batch["attention_mask"].all(dim=1)[1:].any()  # all but the longest are padded
    with torch.no_grad():
        together = model(**batch).logits
        for row, conversation in zip(together, conversations, strict=True):
            alone = model(**tensors(processor, [conversation], answer=True)).logits[0]
            torch.testing.assert_close(row[-len(alone) :], alone, atol=1e-4, rtol=1e-4)
        ids = batch["input_ids"]
        before = {name: value[:, :-1] if value.shape == ids.shape else value for name, value in batch.items()}
        cache = model(**before, use_cache=True).past_key_values
        last = model(ids[:, -1:], attention_mask=batch["attention_mask"], past_key_values=cache).logits
    torch.testing.assert_close(last[:, -1], together[:, -1], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("there", [False, True])
def test_folder_stands_once_all_is_in_it(there: bool, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "model"
    if there:  # as a mounted one is
        out.mkdir(parents=True)

    killed = new_folder(out)
    (killed.__enter__() / "half").touch()
    assert list(out.glob("half")) == []
    assert out.exists() == there
    with pytest.raises(FileNotFoundError), new_folder(out) as folder:
        (folder / "absent").rename(folder / "more")
    assert [path for path in tmp_path.rglob("*") if path not in (out, out.parent)] == []
    again = new_folder(out)
    (again.__enter__() / "half").touch()
    with new_folder(out) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").touch()
    assert sorted(str(path.relative_to(out.parent)) for path in out.parent.rglob("*")) == [
        "model", "model/sub", "model/sub/weights",
    ]  # fmt: skip
    with pytest.raises(FileExistsError, match="exists and is not empty"), new_folder(out):
        pass


def test_composing_that_fails_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    card = (make_tiny_model(tmp_path / "named") / "README.md").read_text()
    assert "\n# named\n" in card
    monkeypatch.setattr("xemogpt.hub.model_card.write_model_card", None)
    with pytest.raises(TypeError):
        make_tiny_model(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["named"]
