# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Conversion of a release checkpoint, on a miniature made here: whole, trained part, kept LoRA, and broken."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_model import audio_config, text_config, tiny_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoModelForMultimodalLM,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPVisionConfig,
    HubertModel,
    Wav2Vec2FeatureExtractor,
)

from xemogpt.hub.convert_release import RENAMES, convert

R, ALPHA = 4, 12


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with backbones (clip, hubert, llm) and `whole.ckpt`, in the release's own names."""
    folder = tmp_path_factory.mktemp("release")
    torch.manual_seed(0)
    vision = CLIPVisionConfig(
        hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4, image_size=32, patch_size=8
    )
    text = CLIPTextConfig(
        hidden_size=24, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4, vocab_size=99
    )
    clip = CLIPModel(CLIPConfig(vision_config=vision.to_dict(), text_config=text.to_dict(), projection_dim=20))
    hubert = HubertModel(audio_config("hubert"))
    tokenizer = tiny_tokenizer()
    llm = AutoModelForCausalLM.from_config(text_config(vocab_size=len(tokenizer), tied=False))
    clip.save_pretrained(folder / "clip")
    CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}).save_pretrained(
        folder / "clip"
    )
    hubert.save_pretrained(folder / "hubert")
    Wav2Vec2FeatureExtractor(return_attention_mask=True).save_pretrained(folder / "hubert")
    llm.save_pretrained(folder / "llm")
    tokenizer.save_pretrained(folder / "llm")

    state = {f"visual_encoder.clip.vision_model.{key}": value for key, value in clip.vision_model.state_dict().items()}
    state |= {
        f"visual_encoder.clip.{key}": value for key, value in clip.state_dict().items() if "vision_model" not in key
    }
    state |= {f"audio_encoder.audio_encoder.{key}": value for key, value in hubert.state_dict().items()}
    for key, value in llm.state_dict().items():
        layer, _, kind = key.rpartition(".")
        if layer.rsplit(".", 1)[-1] in ("q_proj", "k_proj", "v_proj"):
            state[f"llm_model.base_model.model.{layer}.base_layer.{kind}"] = value
            state[f"llm_model.base_model.model.{layer}.lora_A.default.weight"] = torch.randn(R, value.shape[1])
            state[f"llm_model.base_model.model.{layer}.lora_B.default.weight"] = torch.randn(value.shape[0], R)
        else:
            state[f"llm_model.base_model.model.{key}"] = value
    for index in range(2):
        layer = clip.vision_model.encoder.layers[0].state_dict()
        state |= {f"visual_encoder.visual_alignment_layer.{index}.{k}": torch.randn_like(v) for k, v in layer.items()}
        layer = HubertModel(audio_config("hubert-group")).encoder.layers[0].state_dict()
        state |= {f"audio_encoder.audio_alignment_layer.{index}.{k}": torch.randn_like(v) for k, v in layer.items()}
    shapes = {
        "visual_encoder.position_embedding": (1, 6, 32),
        "visual_encoder.attention_pooling.attn_vector": (32,),
        "visual_encoder.visual_project": (40, 32),
        "visual_encoder.text_project": (40, 20),
        "visual_encoder.temporal_disc_head.0": (40, 40),
        "visual_encoder.temporal_disc_head.2": (1, 40),
        "visual_encoder.frame_reconstructor": (32, 32),
        "audio_encoder.audio_project": (40, 32),
        "visual_llm_project": (32, 32),
        "audio_llm_project": (32, 32),
    }
    for key, shape in shapes.items():
        linear = not key.endswith(("embedding", "vector"))
        state[key + ".weight" * linear] = torch.randn(shape)
        if linear:
            state[key + ".bias"] = torch.randn(shape[0])
    torch.save(state, folder / "whole.ckpt")
    return folder


def run(release: Path, out: Path, state: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    checkpoint = release / "whole.ckpt"
    if state is not None:
        checkpoint = out.parent / "edited.ckpt"
        torch.save(state, checkpoint)
    kwargs = {"lora_alpha": ALPHA} | kwargs
    return convert(checkpoint, release / "clip", release / "hubert", release / "llm", out, **kwargs)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    model, info = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    return model.state_dict()


def whole_state(release: Path) -> dict[str, torch.Tensor]:
    return torch.load(release / "whole.ckpt", weights_only=True)


def trained_part(key: str) -> bool:
    return not key.startswith(("visual_encoder.clip.", "audio_encoder.audio_encoder.")) and (
        "llm_model" not in key or "lora_" in key
    )


def test_whole_checkpoint(release: Path, tmp_path: Path) -> None:
    report = run(release, tmp_path / "out")
    source, result = whole_state(release), weights(tmp_path / "out")
    assert report.from_backbones == 0
    assert report.used + sum(map(len, report.ignored.values())) == len(source)
    assert {key.split(".", 2)[2] for key in report.missing} == {
        "logit_scale",
        "mask_token",
        "text_projection.weight",
        "text_projection.bias",
    }
    assert json.loads((tmp_path / "out" / "conversion.json").read_text())["missing"] == report.missing
    assert all(key in str(report) for key in report.missing)
    assert torch.equal(result["model.video_bridge.position_embedding"], source["visual_encoder.position_embedding"])
    assert torch.equal(result["model.audio_projector.bias"], source["audio_llm_project.bias"])
    name = "llm_model.base_model.model.model.layers.1.self_attn.k_proj"
    delta = source[f"{name}.lora_B.default.weight"] @ source[f"{name}.lora_A.default.weight"] * (ALPHA / R)
    torch.testing.assert_close(
        result["model.language_model.layers.1.self_attn.k_proj.weight"],
        source[f"{name}.base_layer.weight"] + delta,
    )


def test_trained_part_alone_equals_whole(release: Path, tmp_path: Path) -> None:
    run(release, tmp_path / "whole")
    state = {key: value for key, value in whole_state(release).items() if trained_part(key)}
    report = run(release, tmp_path / "part", state)
    assert report.from_backbones > 50
    whole, part = weights(tmp_path / "whole"), weights(tmp_path / "part")
    assert [key for key in whole if not torch.equal(whole[key], part[key])] == []  # the random rest included


def test_kept_lora_equals_merged(release: Path, tmp_path: Path) -> None:
    report = run(release, tmp_path / "kept", keep_lora=True)
    run(release, tmp_path / "merged")
    assert report.lora["action"].startswith("kept")
    merged = AutoModelForMultimodalLM.from_pretrained(tmp_path / "merged", trust_remote_code=True)
    kept = AutoModelForMultimodalLM.from_pretrained(tmp_path / "kept", trust_remote_code=True)
    ids = torch.randint(3, 300, (2, 9), generator=torch.Generator().manual_seed(0))
    without = kept(ids).logits
    kept.load_adapter(tmp_path / "kept" / "adapter")
    torch.testing.assert_close(kept(ids).logits, merged(ids).logits, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(without, merged(ids).logits, atol=1e-2)


def test_alpha_defaults_to_r_and_says_so(release: Path, tmp_path: Path) -> None:
    report = run(release, tmp_path / "out", lora_alpha=None)
    assert report.lora["alpha"] == R
    assert "assumed" in str(report)


def drop(*fragments: str) -> Callable[[dict], dict]:
    return lambda state: {key: value for key, value in state.items() if not any(part in key for part in fragments)}


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (drop("visual_alignment_layer.1"), "matter are missing: .*video_bridge.layers.1"),
        (drop("audio_llm_project"), "matter are missing: .*audio_projector"),
        (drop("position_embedding"), "lacks visual_encoder.position_embedding"),
        (drop("layers.1.self_attn.k_proj.lora_A"), "LoRA is incomplete"),
        (drop("layers.1.self_attn.k_proj.lora_"), "LoRA is incomplete"),
        (drop("layers.1.self_attn.q_proj.lora_", "layers.1.self_attn.k_proj.lora_", "layers.1.self_attn.v_proj.lora_"),
         "LoRA is incomplete"),
        (drop("layers.0.mlp.up_proj"), "matter are missing: .*up_proj"),
        (lambda state: state | {"surprise.weight": torch.zeros(1)}, "unknown tensors: surprise.weight"),
        (lambda state: state | {"visual_llm_project.weight": torch.zeros(7, 7)}, "another shape"),
    ],
)  # fmt: skip
def test_what_matters_must_be_there(release: Path, tmp_path: Path, edit: Callable, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run(release, tmp_path / "out", edit(whole_state(release)))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("alpha", [0, -3, float("nan"), float("inf")])
def test_alpha_must_be_a_positive_number(release: Path, tmp_path: Path, alpha: float) -> None:
    with pytest.raises(ValueError, match="lora_alpha must be"):
        run(release, tmp_path / "out", lora_alpha=alpha)


def test_lora_must_be_there_and_of_one_rank(release: Path, tmp_path: Path) -> None:
    state = {key: value for key, value in whole_state(release).items() if trained_part(key)}
    with pytest.raises(ValueError, match="neither a LoRA nor an LLM"):
        run(release, tmp_path / "out", {key: value for key, value in state.items() if "lora_" not in key})
    for key in state:
        if ".layers.1." in key and "lora_A" in key:
            state[key] = torch.cat([state[key]] * 2)
        elif ".layers.1." in key and "lora_B" in key:
            state[key] = torch.cat([state[key]] * 2, dim=1)
    with pytest.raises(ValueError, match="several ranks"):
        run(release, tmp_path / "out", state)
    whole = {key: value for key, value in whole_state(release).items() if "lora_" not in key}
    assert "no LoRA in the file" in str(run(release, tmp_path / "plain", whole))


def test_malicious_pickle_is_refused(release: Path, tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Malicious:
        def __reduce__(self) -> tuple:
            return (canary.write_text, ("ran",))

    checkpoint = tmp_path / "bad.ckpt"
    torch.save({"visual_llm_project.weight": Malicious()}, checkpoint)
    raw = tmp_path / "raw.ckpt"
    raw.write_bytes(pickle.dumps(Malicious()))
    for path in (checkpoint, raw):
        with pytest.raises(ValueError, match=r"refused|not a readable"):
            convert(path, release / "clip", release / "hubert", release / "llm", tmp_path / "out")
    assert not canary.exists()


@pytest.mark.parametrize("content", [b"", b"not a checkpoint"])
def test_file_that_is_no_checkpoint(release: Path, tmp_path: Path, content: bytes) -> None:
    checkpoint = tmp_path / "x.ckpt"
    checkpoint.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.ckpt"):
        convert(checkpoint, release / "clip", release / "hubert", release / "llm", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="no such"):
        convert(tmp_path / "y.ckpt", release / "clip", release / "hubert", release / "llm", tmp_path / "out")


def test_existing_output_is_not_touched(release: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        run(release, out)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]
    shutil.rmtree(out)


def test_every_rename_rule_is_used(release: Path) -> None:
    import re

    keys = [*whole_state(release), "audio_encoder.text_project.weight"]
    assert [old for old, _ in RENAMES if not any(re.search(old, key) for key in keys)] == []
