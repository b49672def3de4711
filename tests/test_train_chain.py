# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The tiny recipes one after another, by the command, in a folder that is laid out as `xemogpt synth` leaves it."""

import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file
from tiny_cue_encoder import make_text_tower
from tiny_model import make_tiny_model
from toy_clips import toy_corpus

from xemogpt.cli import main

RECIPES = Path(__file__).parents[1] / "recipes/tiny"
VERBS = (("looks", "visual"), ("sounds", "audio"))
TEXT = {"text_tower": "text", "text_pooling": "mean"}
SMALL = {
    "model": "base",
    "max_steps": 4,
    "per_device_train_batch_size": 4,
    "eval_steps": 2,
    "save_steps": 2,
    "logging_steps": 1,
    "warmup_steps": 1,
    "use_cpu": "true",
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with corpus/train, corpus/validation, a small model and a text tower."""
    for split, count, first in (("train", 12, 0), ("validation", 4, 12)):
        manifest = toy_corpus(tmp_path / "corpus" / split, count, first)
        rows = [json.loads(line) for line in manifest.read_text().splitlines()]
        for row in rows:
            seen, heard = ({"text": f"She {verb} {row['label']}.", "modality": modality} for verb, modality in VERBS)
            row |= {"cues": [seen, heard], "text": f"In the video, {row['caption']}", "split": split}
        lines = [json.dumps(row) + "\n" for row in rows]
        manifest.write_text("".join(lines))
        manifest.with_name("plain.jsonl").write_text("".join(lines))
    make_tiny_model(tmp_path / "base", video_text_size=32, audio_text_size=32)
    make_text_tower(tmp_path / "text")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def train(recipe: str, *options: str, **settings: object) -> int:
    sets = [part for key, value in (SMALL | settings).items() for part in ("--set", f"{key}={value}")]
    stage = recipe.partition("_")[0]
    return main(["train", stage, "--config", str(RECIPES / f"{recipe}.yaml"), *sets, *options])


def test_tiny_recipes_fit_the_corpus_and_say_what_is_missing(here: Path, capsys: pytest.CaptureFixture) -> None:
    for stage, text in (("stage1", "She looks sad"), ("stage2", "She sounds sad")):
        assert train(stage, "--dry-run", **TEXT) == 0
        said = capsys.readouterr().out
        assert "12 pairs to train on, 4 to validate on" in said
        assert f"text '{text}'" in said
    assert train("stage3_start", "--dry-run") == 2
    assert "there is no cue encoder runs/tiny-stage1: run stage 1 first" in capsys.readouterr().err
    assert train("stage3_start", "--dry-run", video_bridge="null", audio_bridge="null") == 0
    said = capsys.readouterr().out
    assert "data: 12 clips, 24 instructions an epoch {'see': 12, 'hear': 12}" in said
    assert "the projectors start from {'see': 12, 'hear': 12} clips" in said
    assert train("stage3", "--dry-run") == 2
    assert "runs/tiny-stage3-start: holds no adapter_config.json" in capsys.readouterr().err
    assert train("stage3", "--dry-run", adapter="null") == 0
    assert "data: 12 clips, 36 instructions an epoch" in capsys.readouterr().out
    assert sorted(path.name for path in here.iterdir()) == ["base", "corpus", "text"]


@pytest.mark.slow
def test_stages_follow_each_other_to_the_hub(here: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for stage in ("stage1", "stage2", "stage3_start", "stage3"):
        assert train(stage, report_to="tensorboard", **({} if "stage3" in stage else TEXT)) == 0
        (logs,) = (here / f"runs/tiny-{stage.replace('_', '-')}/runs").iterdir()
        events = EventAccumulator(str(logs))
        events.Reload()
        assert [event.step for event in events.Scalars("train/loss")] == [1, 2, 3, 4]
        if stage != "stage3_start":
            assert [event.step for event in events.Scalars("eval/loss")][:2] == [2, 4]

    out = here / "runs/tiny-stage3"
    whole = load_file(out / "adapter_model.safetensors")
    shutil.rmtree(out / "checkpoint-4")
    assert train("stage3") == 0  # goes on with cue heads that are saved but not trained
    again = load_file(out / "adapter_model.safetensors")
    assert whole.keys() == again.keys()
    assert all((whole[name] == again[name]).all() for name in whole)

    assert main(["merge", "runs/tiny-stage3", "--out", "merged"]) == 0
    assert main(["export", "merged", "--out", "hub"]) == 0
    exported = load_file(here / "hub/model.safetensors")
    for stage, media in (("stage1", "video"), ("stage2", "audio")):
        learnt = load_file(here / f"runs/tiny-{stage}/model.safetensors")
        heads = [name for name in learnt if name.startswith(f"{media}_cue_head.")]
        assert len(heads) > 4
        assert all((learnt[name] == exported[f"model.{name}"]).all() for name in heads)
    assert json.loads((here / "hub/config.json").read_text())["untrained_parts"] == [
        "vision_tower",
        "audio_tower",
        "language_model",
    ]
