# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The cue encoders: alone in a folder elsewhere, padded as single, frozen, and moved into XEmoGPT and back."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from test_remote_code import alone
from tiny_cue_encoder import bert_config, clip_text_config, make_audio_encoder, make_video_encoder
from tiny_inputs import frames, voice
from tiny_model import audio_config, make_tiny_model, vision_config
from transformers import AutoProcessor, BertModel, ViTConfig, ViTModel

from xemogpt.alignment_xemogpt import XEmoGPTAudioCueEncoder, XEmoGPTVideoCueEncoder
from xemogpt.backbones_xemogpt import load_vision
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train import alignment_start
from xemogpt.train.alignment_handover import TOWERS, extract, install
from xemogpt.train.alignment_model import VideoAlignment, shuffle
from xemogpt.train.losses import draw_masks, draw_orders

TEXTS = ["He is sad.", "She is very glad today, and waves both hands."]
PROGRAM = """
import importlib.util, json, sys
assert importlib.util.find_spec("xemogpt") is None
import numpy as np, torch
from transformers import AutoModel, AutoProcessor
folder, media = sys.argv[1:]
encoder = AutoModel.from_pretrained(folder, trust_remote_code=True)
processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
rng = np.random.default_rng(0)
clips = {"video": [rng.integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)],
         "audio": [(0.1 * rng.standard_normal(9000)).astype("float32")]}[media]
inputs = processor(**{"videos" if media == "video" else "audio": clips}, text=["sad", "very glad"])
print("\\n" + json.dumps(encoder(**inputs).logits_per_media.tolist()))
encoder.save_pretrained("again")
print(json.dumps(AutoModel.from_pretrained("again", trust_remote_code=True)(**inputs).logits_per_media.tolist()))
"""


@pytest.fixture(scope="module")
def video_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video_encoder(tmp_path_factory.mktemp("video") / "encoder")


@pytest.fixture(scope="module")
def audio_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audio_encoder(tmp_path_factory.mktemp("audio") / "encoder")


def video(folder: Path) -> tuple[Any, Any]:
    return XEmoGPTVideoCueEncoder.from_pretrained(folder), AutoProcessor.from_pretrained(
        folder, trust_remote_code=True
    )


def audio(folder: Path) -> tuple[Any, Any]:
    return XEmoGPTAudioCueEncoder.from_pretrained(folder), AutoProcessor.from_pretrained(
        folder, trust_remote_code=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("media", ["video", "audio"])
def test_a_copied_folder_needs_no_package(media: str, video_folder: Path, audio_folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "elsewhere"
    shutil.copytree(video_folder if media == "video" else audio_folder, copy)
    done = alone(PROGRAM, copy, media, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    first, second = (json.loads(line) for line in done.stdout.splitlines()[-2:])
    assert first == second
    assert len(first[0]) == 2


def test_logits_are_scaled_cosines(video_folder: Path) -> None:
    encoder, processor = video(video_folder)
    inputs = processor(videos=[frames(20, 1), frames(3, 2)], text=TEXTS)
    with torch.no_grad():
        outputs = encoder(**inputs)
        clips = encoder.get_video_features(inputs["pixel_values_videos"])
        texts = encoder.get_text_features(inputs["input_ids"], inputs["attention_mask"]).embedding
    cosine = torch.nn.functional.cosine_similarity(clips.embedding[:, None], texts[None], dim=-1)
    torch.testing.assert_close(outputs.logits_per_media, cosine / 0.07, rtol=1e-3, atol=1e-4)
    assert torch.equal(outputs.logits_per_text, outputs.logits_per_media.T)
    assert clips.step_embeddings.shape == (2, 16, 24)
    torch.testing.assert_close(clips.step_weights.sum(1), torch.ones(2))


@pytest.mark.parametrize("kind", ["hubert", "hubert-group", "whisper"])
def test_a_padded_voice_equals_the_voice_alone(kind: str, tmp_path: Path) -> None:
    encoder, processor = audio(make_audio_encoder(tmp_path / "encoder", audio=kind))
    clips = [voice(0.9, 1), voice(0.35, 2)]
    with torch.no_grad():
        both = encoder(**processor(audio=clips, text=TEXTS)).media_embeds
        single = [encoder(**processor(audio=[clip], text=TEXTS)).media_embeds for clip in clips]
    torch.testing.assert_close(both, torch.cat(single), rtol=1e-4, atol=1e-5)


def test_padded_texts_equal_texts_alone(video_folder: Path, audio_folder: Path) -> None:
    for encoder, processor in (video(video_folder), audio(audio_folder)):
        both = encoder.get_sentence_features(**processor.texts(TEXTS))
        single = torch.cat([encoder.get_sentence_features(**processor.texts(text)) for text in TEXTS])
        torch.testing.assert_close(both, single, rtol=1e-4, atol=1e-5)
        with pytest.raises(ValueError, match="makes PyTorch tensors"):
            processor(text=TEXTS, return_tensors="np")
        with pytest.raises(TypeError, match="truncation"):
            processor(text=TEXTS, truncation=False)
    with pytest.raises(ValueError, match="text 1 is empty"):
        processor.texts(["sad", " "])


def test_long_texts_are_cut_at_what_the_tower_reads(video_folder: Path) -> None:
    _, processor = video(video_folder)
    assert processor.texts("very " * 500)["input_ids"].shape == (1, 77)


def test_towers_are_frozen_in_eval_and_stay_so(audio_folder: Path) -> None:
    encoder, _ = audio(audio_folder)
    encoder.train()
    assert encoder.audio_bridge.training
    assert not encoder.audio_tower.training
    assert not encoder.text_tower.training
    trainable = {name.split(".")[0] for name, each in encoder.named_parameters() if each.requires_grad}
    assert trainable == {"audio_bridge", "audio_cue_head"}


def test_a_pooler_that_is_read_must_be_there(tmp_path: Path) -> None:
    BertModel(bert_config(), add_pooling_layer=False).save_pretrained(tmp_path / "bert")
    with pytest.raises(ValueError, match=r"bert lacks 2 weights of a BertModel: pooler.*another way than 'pooled'"):
        XEmoGPTAudioCueEncoder.from_towers(audio_config(), tmp_path / "bert")
    encoder = XEmoGPTAudioCueEncoder.from_towers(audio_config(), tmp_path / "bert", text_pooling="mean")
    assert encoder.config.text_pooling == "mean"
    shape = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1, "num_attention_heads": 4}
    vit = ViTModel(ViTConfig(**shape, image_size=32, patch_size=8), add_pooling_layer=False)
    vit.save_pretrained(tmp_path / "vit")
    assert load_vision(tmp_path / "vit", None).config.model_type == "vit"
    with pytest.raises(ValueError, match="vit lacks 2 weights of a ViTModel: pooler"):
        load_vision(tmp_path / "vit", None, "pooled")


def test_pooling_of_a_sentence_encoder_on_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "described.json").write_text('{"pooling_mode_mean_tokens": true, "include_prompt": true}')
    monkeypatch.setattr(alignment_start, "cached_file", lambda *names: str(tmp_path / "described.json"))
    assert alignment_start.pooling_of("someone/sentences") == "mean"
    assert alignment_start.pooling_of("sentence-transformers/LaBSE") is None

    def unreachable(*names: str) -> str:
        raise OSError("no connection") from ConnectionError()

    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    monkeypatch.setattr(alignment_start, "cached_file", unreachable)
    with pytest.raises(OSError, match=r"how it pools cannot be read \(.*no connection\); set text_pooling"):
        alignment_start.pooling_of(str(tmp_path))
    monkeypatch.undo()
    assert alignment_start.pooling_of(str(tmp_path)) is None


def test_a_sentence_encoder_may_pool_by_its_class_token(tmp_path: Path) -> None:
    described = tmp_path / "1_Pooling" / "config.json"
    described.parent.mkdir()
    modes = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False, "word_embedding_dimension": 32}
    described.write_text(json.dumps(modes))  # as those of BAAI/bge
    assert alignment_start.pooling_of(str(tmp_path)) == "class"
    (tmp_path / "2_Dense").mkdir()
    (tmp_path / "2_Dense" / "config.json").write_text("{}")  # as that of LaBSE
    assert alignment_start.pooling_of(str(tmp_path)) is None
    described.write_text(json.dumps(modes | {"pooling_mode_max_tokens": True}))
    with pytest.raises(
        ValueError, match=r"pools by pooling_mode_cls_token and pooling_mode_max_tokens; set text_pool"
    ):
        alignment_start.pooling_of(str(tmp_path))


def test_a_pooling_that_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="text_pooling 'projection' does not suit a 'bert'"):
        XEmoGPTAudioCueEncoder.from_towers(audio_config(), bert_config(), text_pooling="projection")
    with pytest.raises(ValueError, match="text_pooling 'mean' does not suit a 'clip_text_model'"):
        XEmoGPTVideoCueEncoder.from_towers(vision_config(), clip_text_config(), text_pooling="mean")


def test_default_configurations_are_the_papers() -> None:
    with torch.device("meta"):
        encoders = [cls(cls.config_class()) for cls in (XEmoGPTVideoCueEncoder, XEmoGPTAudioCueEncoder)]
    bridges = [sum(each.numel() for each in encoder.bridge.parameters()) for encoder in encoders]
    assert bridges == [25_208_832, 25_192_448]  # two layers of 1024 x 4096, and sixteen positions
    assert [encoder.head.text_projection.in_features for encoder in encoders] == [768, 768]


# ---- equations 4 and 5 on the bridge


def test_a_shuffle_before_the_positions_is_seen_and_one_after_is_not(video_folder: Path) -> None:
    """The authors permute after the position embedding was added: there the task of equation 4 has no answer."""
    encoder, _ = video(video_folder)
    bridge, head = encoder.video_bridge, encoder.video_cue_head
    torch.manual_seed(0)
    torch.nn.init.normal_(bridge.position_embedding)
    torch.nn.init.normal_(head.attention_vector)
    for part in (*bridge.layers, head.projection, head.temporal):  # the default start hardly mixes frames
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    features = torch.randn(4, 16, 32)
    orders = draw_orders(4, 16, torch.Generator().manual_seed(0))
    alignment = VideoAlignment(bridge, head).eval()
    with torch.no_grad():
        outputs = alignment(features, torch.randn(4, 24), orders=orders)
        hidden = shuffle(features + bridge.position_embedding, orders)
        for layer in bridge.layers:
            hidden = layer(hidden, None)
        after = head.temporal(head(hidden).embedding).squeeze(-1)
    assert (outputs["shuffled"] - outputs["ordered"]).abs().min() > 1e-2
    torch.testing.assert_close(after, outputs["ordered"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mask", ["token", "zeros"])
def test_masked_frames_do_not_reach_the_bridge(video_folder: Path, mask: str) -> None:
    encoder, _ = video(video_folder)
    alignment = VideoAlignment(encoder.video_bridge, encoder.video_cue_head, mask=mask).eval()
    features, texts = torch.randn(2, 16, 32), torch.randn(2, 24)
    masked = draw_masks(2, 16, 0.5, torch.Generator().manual_seed(0))
    other = torch.where(masked.unsqueeze(-1), torch.randn(2, 16, 32), features)
    outputs = [alignment(each, texts, masked=masked) for each in (features, other)]
    assert torch.equal(outputs[0]["reconstructed"], outputs[1]["reconstructed"])
    assert not torch.equal(outputs[0]["media"], outputs[1]["media"])
    outputs[0]["reconstructed"].sum().backward()
    token = encoder.video_cue_head.mask_token
    assert (token.grad is not None and token.grad.abs().sum() > 0) == (mask == "token")


def test_an_unknown_mask_is_refused(video_folder: Path) -> None:
    encoder, _ = video(video_folder)
    with pytest.raises(ValueError, match="mask must be one of token, zeros, not 'noise'"):
        VideoAlignment(encoder.video_bridge, encoder.video_cue_head, mask="noise")


# ---- hand-over


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("whole") / "tiny", cue_embedding_size=24)


def test_stages_move_into_xemogpt_and_back_bit_by_bit(whole: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(whole)
    for media, text in (("video", clip_text_config()), ("audio", bert_config())):
        torch.manual_seed(1)
        encoder = extract(model, media, text)
        assert encoder.tower is getattr(model.model, TOWERS[media])
        with torch.no_grad():
            for parameter in [*encoder.bridge.parameters(), *encoder.head.parameters()]:
                parameter += 0.1
        assert f"{media}_bridge" in model.config.untrained_parts
        install(encoder, model)
        assert f"{media}_bridge" not in model.config.untrained_parts
        assert f"{media}_cue_head" not in model.config.untrained_parts
        again = extract(model, media, encoder.text_tower)
        for name, value in encoder.state_dict().items():
            assert torch.equal(again.state_dict()[name], value), name
    assert (model.config.video_text_size, model.config.audio_text_size) == (24, 32)
    pixels = torch.rand(1, 16, 3, 32, 32)
    with torch.no_grad():
        mine = extract(model, "video", clip_text_config()).get_video_features(pixels).embedding
        torch.testing.assert_close(model.get_video_cues(pixels).embedding, mine)


def test_a_handed_over_model_is_saved_and_loaded(whole: Path, tmp_path: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(whole)
    install(extract(model, "video", clip_text_config()), model)
    model.save_pretrained(tmp_path / "trained")
    again, info = XEmoGPTForConditionalGeneration.from_pretrained(tmp_path / "trained", output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert torch.equal(
        again.model.video_cue_head.text_projection.weight, model.model.video_cue_head.text_projection.weight
    )


def test_another_tower_is_refused_by_both_names(whole: Path, video_folder: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(whole)
    encoder, _ = video(video_folder)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        encoder.vision_tower.post_layernorm.bias += 1
    with pytest.raises(ValueError, match="towers differ.*'clip_vision_model' with weights [0-9a-f]{16}.*weights"):
        install(encoder, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_key_that_does_not_fit_is_named(whole: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(whole)
    encoder = extract(model, "video", clip_text_config())
    del encoder.video_bridge.layers[1]
    encoder.video_cue_head.register_buffer("extra", torch.zeros(1))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match="do not fit") as caught:
        install(encoder, model)
    assert "missing video_bridge.layers.1.layer_norm1.bias" in str(caught.value)
    assert "unexpected video_cue_head.extra" in str(caught.value)
    assert str(caught.value).count("missing") == 16
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_another_configuration_is_refused(whole: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(whole)
    encoder = extract(model, "video", clip_text_config())
    encoder.config.num_frames = 8
    with pytest.raises(ValueError, match="num_frames 8, but the model has 16"):
        install(encoder, model)
