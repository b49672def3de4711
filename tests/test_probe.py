# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Zero-shot recognition: the ensemble by hand, and tiny CLIP and CLAP models on real files."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from small_clips import bad_clips, good_clips
from tiny_cue_encoder import make_audio_encoder, make_video_encoder
from tiny_model import tiny_tokenizer
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    CLIPProcessor,
)

from xemogpt.cli import main
from xemogpt.eval.benchmark import Item, load_benchmark
from xemogpt.eval.probe import ZeroShot, label_vectors, load_encoder, probe, read_prompts
from xemogpt.eval.records import Record

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 400,
}


class Plane:
    """Texts and clips at known angles of a plane, in degrees."""

    modality, name = "visual", "plane"
    angles = {"up": 90.0, "right": 0.0, "left": 180.0, "steep": 60.0}

    def texts(self, texts: Sequence[str]) -> torch.Tensor:
        radians = torch.tensor([self.angles[text] for text in texts]).deg2rad()
        return torch.stack([radians.cos(), radians.sin()], dim=-1)

    def media(self, items: Sequence[Item]) -> torch.Tensor:
        if any(item.reference.id == "broken" for item in items):
            raise ValueError("broken: cannot be read")
        return self.texts([item.reference.id for item in items])


def item(name: str, label: str) -> Item:
    return Item(Record(name, label=label), Path(name), None)


def test_prompt_ensemble_by_hand() -> None:
    vectors = label_vectors(Plane(), {"a": ["up", "right"], "b": ["left"]})
    assert vectors.flatten().tolist() == pytest.approx([0.5**0.5, 0.5**0.5, -1, 0], abs=1e-6)


def test_nearest_label_wins_and_failures_are_listed() -> None:
    items = [item("right", "a"), item("steep", "a"), item("broken", "b"), item("left", "b"), item("up", "b")]
    result = probe(Plane(), items, {"a": ["right"], "b": ["left", "up"]}, batch_size=4)
    # b lies at 135 degrees: right -> a, steep (60) -> a, left and up -> b.
    assert result["scores"]["recognition"]["uar"] == 1
    assert result["coverage"]["rejected"] == {"broken": "broken: cannot be read"}
    assert result["coverage"]["missing"] == ["broken"]
    with pytest.raises(ValueError, match="not one of 1 clips"):
        probe(Plane(), [item("broken", "b")], {"a": ["right"], "b": ["left"]})


def tiny_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    vision = {**TEXT, "image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=TEXT | {"eos_token_id": 2}, vision_config=vision, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    pictures = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=32)
    CLIPProcessor(pictures, tiny_tokenizer()).save_pretrained(folder)
    return folder


def tiny_clap(folder: Path) -> Path:
    torch.manual_seed(0)
    audio = {
        "spec_size": 64, "patch_size": 4, "patch_stride": [4, 4], "num_mel_bins": 16, "depths": [1, 1],
        "num_attention_heads": [2, 2], "patch_embeds_hidden_size": 16, "hidden_size": 32, "window_size": 4,
    }  # fmt: skip
    config = ClapConfig(text_config=TEXT | {"pad_token_id": 0}, audio_config=audio, projection_dim=16)
    ClapModel(config).save_pretrained(folder)
    sounds = ClapFeatureExtractor(
        feature_size=16,
        sampling_rate=16000,
        max_length_s=1,
        fft_window_size=512,
        hop_length=160,
        truncation="rand_trunc",
    )
    ClapProcessor(sounds, tiny_tokenizer()).save_pretrained(folder)
    return folder


def test_clip_and_clap_probe_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    both, longer, silent, sound, _ = good_clips(tmp_path / "clips")
    broken = bad_clips(tmp_path / "clips")[1]
    root = tmp_path / "mer2023"
    (root / "video").mkdir(parents=True)
    for name, path in (("a", both), ("b", longer), ("c", silent), ("d", broken)):
        (root / "video" / f"{name}.mp4").write_bytes(path.read_bytes())
    (root / "test1-label.csv").write_text("name,discrete\na,happy\nb,sad\nc,worried\nd,neutral\n")
    command = ["probe", "--benchmark", "mer2023", "--root", str(root), "--out", str(tmp_path / "results")]
    assert main([*command, "--model", str(tiny_clip(tmp_path / "clip")), "--batch-size", "4", "--frames", "2"]) == 1
    result = json.loads((tmp_path / "results" / "clip--mer2023--probe.json").read_text())
    assert result["modalities"] == ["visual"]
    assert list(result["coverage"]["rejected"]) == ["d"]
    assert result["scores"]["recognition"]["n"] == 3
    assert sum(result["scores"]["recognition"]["predicted"].values()) == 3
    assert result["prompts"]["happy"][1] == "a person who feels happy"
    assert main([*command, "--model", str(tiny_clap(tmp_path / "clap"))]) == 1
    result = json.loads((tmp_path / "results" / "clap--mer2023--probe.json").read_text())
    assert result["modalities"] == ["audio"]
    assert sorted(result["coverage"]["rejected"]) == ["c", "d"]  # c is silent
    assert "UAR" in capsys.readouterr().out
    cues = [*command, "--model", str(make_video_encoder(tmp_path / "vecb"))]
    assert main(cues) == 1
    assert main([*cues, "--without-bridge"]) == 1
    for name in ("vecb--mer2023--probe", "vecb--mer2023--probe-without-bridge"):
        result = json.loads((tmp_path / "results" / f"{name}.json").read_text())
        assert (result["modalities"], result["scores"]["recognition"]["n"]) == (["visual"], 3)
        assert str(tmp_path) not in json.dumps(result)


def test_a_batch_is_its_clips(tmp_path: Path) -> None:
    clips = good_clips(tmp_path / "clips")
    for folder, build in (("clip", tiny_clip), ("clap", tiny_clap)):
        encoder = load_encoder(str(build(tmp_path / folder)), frames=3)
        items = [Item(Record(path.stem), path, None) for path in (clips[0], clips[1], clips[4])]
        together = encoder.media(items)
        assert torch.allclose(together, torch.cat([encoder.media([each]) for each in items]), atol=1e-5)
        assert together.norm(dim=-1).tolist() == pytest.approx([1, 1, 1], abs=1e-5)
        assert (together[0] - together[1]).abs().max() > 1e-4  # it does look at the clip


def test_cue_encoders_with_and_without_their_bridge(tmp_path: Path) -> None:
    """The probe says what the encoder's own forward says; without the bridge, the tower goes through the head."""
    clips = good_clips(tmp_path / "clips")
    items = [Item(Record(path.stem), path, None) for path in (clips[0], clips[1], clips[4])]
    prompts = {label: [f"a {label} person"] for label in ("happy", "sad", "angry")}
    texts = [each for (each,) in prompts.values()]
    for build in (make_video_encoder, make_audio_encoder):
        folder = str(build(tmp_path / build.__name__))
        whole, tower = load_encoder(folder), load_encoder(folder, bridge=False)
        model, processor = whole.model, whole.processor
        if whole.modality == "visual":
            inputs = processor(videos=[item.video for item in items], text=texts)
            hidden, mask = model.get_tower_features(inputs["pixel_values_videos"])
            weights = (hidden @ model.head.attention_vector).softmax(-1)
        else:
            inputs = processor(audio=[item.video for item in items], text=texts)
            voices = {key: inputs[key] for key in ("input_values", "input_values_mask")}
            hidden, mask = model.get_tower_features(**voices)
            weights = mask / mask.sum(-1, keepdim=True)
        with torch.inference_mode():
            logits = model(**inputs).logits_per_media / model.head.logit_scale.exp()
            ours = whole.media(items) @ label_vectors(whole, prompts).T
            assert torch.allclose(ours, logits, atol=1e-5)
            pooled = model.head.projection((weights[..., None] * hidden).sum(1))
        assert torch.allclose(tower.media(items), torch.nn.functional.normalize(pooled, dim=-1), atol=1e-5)
        assert (tower.media(items) - whole.media(items)).abs().max() > 1e-3
        together = torch.cat([whole.media([each]) for each in items])
        assert torch.allclose(together, whole.media(items), atol=1e-5)  # a batch is its clips
    with pytest.raises(ValueError, match="no bridge to leave out"):
        load_encoder(str(tiny_clip(tmp_path / "clip")), bridge=False)


def test_models_without_the_features_are_refused() -> None:
    with pytest.raises(ValueError, match="has no text features"):
        ZeroShot("m", torch.nn.Linear(1, 1), None, None)


def test_prompts_of_a_file(tmp_path: Path) -> None:
    benchmark = load_benchmark("mer2023")
    path = tmp_path / "prompts.yaml"
    path.write_text("happy: [a smile]\n")
    with pytest.raises(ValueError, match="exactly neutral, angry, happy"):
        read_prompts(str(path), benchmark, "visual")
    path.write_text("\n".join(f"{label}: [a {label} face]" for label in benchmark.labels))
    assert read_prompts(str(path), benchmark, "visual")["sad"] == ["a sad face"]
    with pytest.raises(ValueError, match="no label set"):
        read_prompts(None, load_benchmark("emer"), "visual")
