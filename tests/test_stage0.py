# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 0: levels of cues in frames, changed frames, a tower that learns, resumes, and is taken by others."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_clips import EMOTIONS, toy_corpus
from transformers import CLIPVisionModel, ResNetModel

from xemogpt.backbones_xemogpt import load_vision
from xemogpt.cli import main
from xemogpt.train.stage0_tower import Arguments, changed, levels_at, mean_average_precision, read_clips
from xemogpt.video_processing_xemogpt import XEmoGPTVideoProcessor

TOWER = (
    "{model_type: clip_vision_model, hidden_size: 32, intermediate_size: 48, num_hidden_layers: 2, "
    "num_attention_heads: 2, image_size: 16, patch_size: 8}"
)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of four colours; each colour is a type of cue, shown from the second frame on."""
    folder = tmp_path_factory.mktemp("stage0")
    for name, count, first in (("train", 12, 0), ("validation", 4, 12)):
        manifest = toy_corpus(folder / name, count, first)
        rows = []
        for row in map(json.loads, manifest.read_text().splitlines()):
            cue = {"type": row["label"], "modality": "visual", "polarity": 1, "intensity": 1.0, "time": [0.0, 9.0]}
            heard = {"type": "loud_voice", "modality": "audio", "polarity": 1, "intensity": 1.0, "time": [0.0, 9.0]}
            absent = {"type": "smile", "modality": "visual", "polarity": -1}
            rows.append({"id": row["id"], "cues": [cue, heard, absent]})
        (folder / name / "truth.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def recipe(corpus: Path, out: Path, **settings: object) -> list[str]:
    lines = {
        "data": f"[{{manifest: {corpus / 'train' / 'manifest.jsonl'}}}]",
        "eval_data": f"[{{manifest: {corpus / 'validation' / 'manifest.jsonl'}}}]",
        "vision": TOWER,
        "image_size": 16,
        "output_dir": str(out),
        "max_steps": 30,
        "per_device_train_batch_size": 6,
        "learning_rate": 3e-3,
        "logging_steps": 5,
        "save_steps": 10,
        "report_to": "none",
    } | settings
    path = out.with_suffix(".yaml")
    path.write_text("".join(f"{key}: {value}\n" for key, value in lines.items()))
    return ["train", "stage0", "--config", str(path)]


def test_tower_learns_and_is_taken_by_others(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(recipe(corpus, tmp_path / "whole")) == 0
    result = json.loads((tmp_path / "whole" / "eval_results.json").read_text())
    assert result["eval_mean_average_precision"] > 0.9  # four colours; by chance a quarter
    tower = CLIPVisionModel.from_pretrained(tmp_path / "whole")
    assert tower.config.image_size == 16
    assert "Trained from random weights for 30 steps" in (tmp_path / "whole" / "README.md").read_text()

    stopped = tmp_path / "stopped"  # as a kill after the second checkpoint would leave it
    assert main(recipe(corpus, stopped, max_steps=30)) == 0
    weights = {name: value.clone() for name, value in CLIPVisionModel.from_pretrained(stopped).state_dict().items()}
    for path in (stopped / "checkpoint-30").iterdir():
        path.unlink()
    (stopped / "model.safetensors").unlink()
    assert main(recipe(corpus, stopped)) == 0
    again = CLIPVisionModel.from_pretrained(stopped).state_dict()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    assert all(torch.equal(value, again[name]) for name, value in tower.state_dict().items())

    capsys.readouterr()
    assert main(recipe(corpus, stopped, frames_per_clip=2)) == 2
    assert "is of another configuration (frames_per_clip 4, now 2)" in capsys.readouterr().err


def test_any_image_encoder_can_be_the_tower(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    resnet = "{model_type: resnet, layer_type: basic, embedding_size: 8, hidden_sizes: [8, 16], depths: [1, 1]}"
    assert main(recipe(corpus, tmp_path / "resnet", vision=resnet, image_size=32, max_steps=2)) == 0
    tower = load_vision(tmp_path / "resnet", None)
    assert type(tower) is ResNetModel
    assert tower(torch.zeros(1, 3, 32, 32)).pooler_output.shape == (1, 16, 1, 1)
    assert XEmoGPTVideoProcessor.from_pretrained(tmp_path / "resnet").crop_size == 32
    capsys.readouterr()
    for vision, told in ((TOWER, "reads frames of 16 pixels, image_size is 32"), ("{depths: [1]}", "model_type None")):
        assert main(recipe(corpus, tmp_path / "wrong", vision=vision, image_size=32)) == 2
        assert told in capsys.readouterr().err


def test_levels_rise_and_fall_with_the_cue() -> None:
    cues = ({"type": "smile", "intensity": 0.8, "time": (1.0, 3.0)}, {"type": "other", "intensity": 1, "time": (0, 9)})
    levels = levels_at(cues, np.array([0.5, 1.0, 1.14, 2.0, 2.93, 3.5]), ["frown", "smile"])
    assert levels[:, 0].tolist() == [0.0] * 6
    assert levels[:, 1].tolist() == pytest.approx([0, 0, 0.4, 0.8, 0.2, 0])
    short = levels_at(({"type": "smile", "intensity": 1.0, "time": (1.0, 1.3)},), np.array([1.05, 1.15]), ["smile"])
    assert short[:, 0].tolist() == pytest.approx([0.5, 1.0])
    twice = tuple({"type": "smile", "intensity": 1.0, "time": (start, start + 1)} for start in (1.0, 4.0))
    assert levels_at(twice, np.array([1.5, 3.0, 4.5]), ["smile"])[:, 0].tolist() == [1.0, 0.0, 1.0]


def test_changed_frames_stay_alike() -> None:
    frames = np.random.default_rng(0).integers(60, 190, (3, 40, 50, 3), np.uint8)
    frames[1:] = frames[0]
    seen = [changed(frames, np.random.default_rng(seed), Arguments()) for seed in range(20)]
    assert all((clip == clip[0]).all() and clip.dtype == np.uint8 for clip in seen)
    assert len({clip.tobytes() for clip in seen}) == 20
    still = Arguments(shift=0.0, light=0.0, flip=False)
    assert (changed(frames[:, :, :40], np.random.default_rng(1), still) == frames[:, :, :40]).all()


def test_mean_average_precision_by_hand() -> None:
    present = np.array([[1, 0, 0], [0, 1, 0], [1, 0, 0]], dtype=bool)  # nothing is of the third type
    logits = np.array([[3.0, 2.0, 0], [2.0, 1.0, 0], [1.0, 0.0, 0]])
    assert mean_average_precision(logits, present) == pytest.approx(((1 + 2 / 3) / 2 + 1 / 2) / 2)


def test_what_is_refused(corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    bare = toy_corpus(tmp_path / "bare", 1)
    assert main(recipe(corpus, tmp_path / "a", data=f"[{{manifest: {bare}}}]")) == 2
    assert "truth.jsonl: stage 0 needs the cue types" in capsys.readouterr().err
    (tmp_path / "bare" / "truth.jsonl").write_text('{"id": "another", "cues": []}\n')
    with pytest.raises(ValueError, match=r"clip_000: has no row in truth\.jsonl"):
        read_clips([{"manifest": str(bare)}])
    (tmp_path / "bare" / "truth.jsonl").write_text('{"id": "clip_000", "cues": []}\n')
    assert main(recipe(corpus, tmp_path / "a", data=f"[{{manifest: {bare}}}]")) == 2
    assert "no clip of data shows a visual cue" in capsys.readouterr().err
    same = f"[{{manifest: {corpus / 'train' / 'manifest.jsonl'}}}]"
    assert main(recipe(corpus, tmp_path / "a", eval_data=same)) == 2
    assert "12 clips are in data and in eval_data, as clip_000" in capsys.readouterr().err
    assert main([*recipe(corpus, tmp_path / "b"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "12 clips to train on, 4 to validate on, 4 types of cue" in said
    assert not (tmp_path / "b").exists()
    assert set(EMOTIONS) == {
        cue["type"]
        for clip in read_clips([{"manifest": str(corpus / "train" / "manifest.jsonl")}])
        for cue in clip.cues
    }
