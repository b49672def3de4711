# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Bridges without layers are no bridges (Table V): alone and both, in every dtype, trained, saved, moved, merged."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from test_alignment_training import losses, train
from test_stage3 import config
from tiny_corpus import rows, write_manifest
from tiny_cue_encoder import bert_config, make_audio_encoder, make_video_encoder
from tiny_inputs import clips, tensors
from tiny_model import make_tiny_model
from toy_clips import toy_corpus
from transformers import AutoProcessor

from xemogpt.alignment_xemogpt import XEmoGPTAudioCueEncoder
from xemogpt.configuration_xemogpt import XEmoGPTBridgeConfig
from xemogpt.hub import trained
from xemogpt.hub.merge import merge
from xemogpt.inference.explainer import Explainer
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.towers_xemogpt import encode_frames, encode_voices
from xemogpt.train import stage3_sft
from xemogpt.train.alignment_handover import extract, install

NONE = {"num_hidden_layers": 0, "hidden_size": 32, "intermediate_size": 48, "num_attention_heads": 4}
AUDIO = ("input_values", "input_values_mask")


@pytest.fixture(scope="module", params=[("video",), ("audio",), ("video", "audio")], ids="-".join)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[str, ...]]:
    """A model without the bridges of some media, and a few clips."""
    folder = tmp_path_factory.mktemp("none")
    absent = {f"{media}_bridge_config": NONE for media in request.param}
    make_tiny_model(folder / "model", audio_pooling=2, **absent)
    write_manifest(folder / "train.jsonl", rows(folder))
    return folder, request.param


def load(place: tuple[Path, tuple[str, ...]], **kwargs: Any) -> tuple[Any, dict[str, torch.Tensor]]:
    """The model, and a batch of clips of several lengths with answers."""
    model = XEmoGPTForConditionalGeneration.from_pretrained(place[0] / "model", **kwargs)
    processor = AutoProcessor.from_pretrained(place[0] / "model", trust_remote_code=True)
    return model, tensors(processor, clips(processor), answer=True)


def arguments(place: tuple[Path, tuple[str, ...]], **more: Any) -> stage3_sft.Arguments:
    data = [{"manifest": str(place[0] / "train.jsonl")}]
    given = {"lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0} | more
    return stage3_sft.Arguments(model=str(place[0] / "model"), data=data, **given)


def test_a_bridge_has_no_fewer_than_no_layers() -> None:
    with pytest.raises(ValueError, match=r"num_hidden_layers of a bridge is 0 \(no bridge\) or more, not -1"):
        XEmoGPTBridgeConfig(num_hidden_layers=-1)


def test_features_reach_the_projector_as_they_are(place: tuple[Path, tuple[str, ...]]) -> None:
    model, inputs = load(place)
    inner, absent = model.model, place[1]
    video = inner.get_video_features(inputs["pixel_values_videos"])
    seen, _ = encode_frames(inner.vision_tower, inputs["pixel_values_videos"], model.config.vision_feature)
    assert torch.equal(video.last_hidden_state, seen) == ("video" in absent)
    torch.testing.assert_close(video.pooler_output, inner.video_projector(video.last_hidden_state))
    audio = inner.encode_audio(**{name: inputs[name] for name in AUDIO})
    heard, mask, _ = encode_voices(inner.audio_tower, *(inputs[name] for name in AUDIO))
    assert not mask.all()
    assert torch.equal(audio.last_hidden_state[mask], heard[mask]) == ("audio" in absent)
    assert not audio.last_hidden_state[~mask].any()
    for media in ("video", "audio"):
        bridge = f"{media}_bridge"
        assert (next(getattr(inner, bridge).parameters(), None) is None) == (media in absent)
        assert (bridge in model.config.untrained_parts) == (media not in absent)


def test_towers_of_another_dtype_feed_projectors_and_heads(place: tuple[Path, tuple[str, ...]]) -> None:
    model, inputs = load(place, dtype=torch.bfloat16)
    for part in (*stage3_sft.WHOLE_PARTS, "video_cue_head", "audio_cue_head"):
        getattr(model.model, part).float()
    frames, *sound = (inputs[name].bfloat16() for name in ("pixel_values_videos", "input_values"))
    assert model.model.get_video_features(frames).pooler_output.dtype == torch.float32
    assert model.model.get_video_cues(frames).embedding.dtype == torch.float32
    assert model.model.get_audio_features(*sound).pooler_output.dtype == torch.float32
    assert model.model.get_audio_cues(input_values=sound[0]).embedding.dtype == torch.float32


@pytest.mark.parametrize("reentrant", [True, False])
def test_gates_and_checkpointing_hold_without_bridges(place: tuple[Path, tuple[str, ...]], reentrant: bool) -> None:
    model, inputs = load(place)
    gates = {"modality_gates": torch.tensor([[True, False]] * len(inputs["input_ids"]))}

    def gradients() -> dict[str, torch.Tensor]:
        model.zero_grad()
        model(**inputs, **gates).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name in ("dropout_prob", "dropout"):
            if isinstance(getattr(module, name, None), float):
                setattr(module, name, 0.0)
    plain = gradients()
    assert plain["model.video_projector.weight"].any()
    assert not plain["model.audio_projector.weight"].any()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    checkpointed = gradients()
    assert checkpointed.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, msg=name)


@pytest.mark.parametrize("place", [("video", "audio")], indirect=True, ids="-".join)
def test_stage_3_trains_saves_goes_on_and_merges(place: tuple[Path, tuple[str, ...]], tmp_path: Path) -> None:
    place = Path(shutil.copytree(place[0], tmp_path / "place")), place[1]
    described = place[0] / "model/config.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"untrained_parts": []}))  # as if all were
    stage3_sft.main(arguments(place), config(tmp_path / "adapter", max_steps=2))
    saved = load_file(tmp_path / "adapter/adapter_model.safetensors")
    for media in ("video", "audio"):
        assert any(f".{media}_projector." in name for name in saved)
        assert any(f".{media}_bridge." in name for name in saved) == (media not in place[1])
    again = arguments(place, adapter=str(tmp_path / "adapter"), kinds=["visual", "audio"])
    stage3_sft.main(again, config(tmp_path / "on", max_steps=1))
    merged = merge(tmp_path / "on", tmp_path / "merged")
    clip = str(next((place[0] / "clips").glob("*.mp4")))
    asked = {"max_new_tokens": 6}
    told = [_told(Explainer(str(merged)), clip, **asked)]
    told.append(_told(Explainer(str(place[0] / "model"), adapter=tmp_path / "on"), clip, **asked))
    assert told[0] == told[1] != ""
    packed = trained.pack(tmp_path / "on", tmp_path / "packed", torch.float32)
    base, _ = load(place)
    trained.apply(base, packed.parent)
    whole = XEmoGPTForConditionalGeneration.from_pretrained(merged)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(base.state_dict()[name], tensor, msg=name)


def _told(explainer: Explainer, clip: str, **settings: Any) -> str:
    from xemogpt.inference.clips import Clip
    from xemogpt.inference.explanation import Decoding

    return explainer.explain([Clip(video=clip)], decoding=Decoding(**settings))[0].text


@pytest.mark.parametrize("media", ["video", "audio"])
def test_stages_1_and_2_train_a_head_alone(media: str, tmp_path: Path) -> None:
    toy_corpus(tmp_path / "train", 16)
    make = make_video_encoder if media == "video" else make_audio_encoder
    make(tmp_path / media, **{f"{media}_bridge_config": NONE})
    if media == "video":
        with pytest.raises(ValueError, match="without layers relates no frames.*temporal_weight"):
            train(tmp_path, media, tmp_path / "refused")
    settings = {"temporal_weight": 0.0, "reconstruction_weight": 0.0} if media == "video" else {}
    course = losses(train(tmp_path, media, tmp_path / "out", settings, max_steps=30))
    assert sum(course[-3:]) < 0.9 * sum(course[:3])
    assert not any(f"{media}_bridge" in name for name in load_file(tmp_path / "out/model.safetensors"))


def test_cue_encoders_move_in_and_out(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model", audio_bridge_config=NONE, audio_text_size=32)
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    encoder = extract(model, "audio", bert_config(), "mean")
    assert not encoder.bridge.layers
    encoder.save_pretrained(tmp_path / "encoder")
    install(XEmoGPTAudioCueEncoder.from_pretrained(tmp_path / "encoder"), model)
    whole = XEmoGPTForConditionalGeneration.from_pretrained(make_tiny_model(tmp_path / "whole", audio_text_size=32))
    with pytest.raises(ValueError, match=r"missing audio_bridge\.layers\.0"):
        install(encoder, whole)
