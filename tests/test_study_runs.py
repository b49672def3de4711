# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Runs of a study: kept, and never taken for those of other settings, weights or data."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_cue_encoder import make_audio_encoder
from tiny_model import make_tiny_model
from toy_clips import toy_corpus

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train.recipe import load_recipe

STEPS = ("max_steps=3", "max_steps=4")


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_runs")


def test_a_run_is_known_by_all_that_it_reads(study: ModuleType, root: Path, tmp_path: Path) -> None:
    model, manifest = make_audio_encoder(tmp_path / "model"), toy_corpus(tmp_path / "train", 2)
    recipe = root / "recipes/tiny/stage2.yaml"
    sets = [f"model={model}", f"data=[{{manifest: {manifest}}}]", "eval_data=[]"]
    first = study.depends("stage2", recipe, sets)
    assert first == study.depends("stage2", recipe, list(reversed(sets)))
    assert first["files"].keys() == {str(model), str(manifest)}
    assert study.depends("stage2", recipe, [*sets, "max_steps=3"]) != first
    twice = [study.depends("stage2", recipe, [*sets, *each]) for each in (STEPS, STEPS[::-1])]
    assert twice[0] != twice[1]  # the last wins
    make_audio_encoder(tmp_path / "model", seed=1)
    other = study.depends("stage2", recipe, sets)
    assert other["files"][str(model)] != first["files"][str(model)]
    manifest.write_text(manifest.read_text().replace("sad", "glum"))
    assert study.depends("stage2", recipe, sets)["files"][str(manifest)] != other["files"][str(manifest)]
    with pytest.raises(FileNotFoundError, match="no folder with weights"):
        study.depends("stage2", recipe, [*sets, f"model={tmp_path / 'nothing'}"])


def test_a_finished_run_is_not_made_again(study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, manifest = make_audio_encoder(tmp_path / "model"), toy_corpus(tmp_path / "train", 2)
    made: list[list[str]] = []

    def train(command: list[str], check: bool) -> None:
        made.append(command)
        for name in ("trainer_state.json", "README.md"):
            Path(command[-1].removeprefix("output_dir="), name).write_text("written last")

    monkeypatch.setattr(study, "subprocess", SimpleNamespace(run=train))
    settings: dict[str, Any] = {"model": model, "data": [{"manifest": manifest}], "eval_data": [], "seed": 1}
    given: tuple[Any, ...] = ("stage2", "stage2.yaml", settings)
    out = study.run(*given, ["max_steps=3"], tmp_path / "work", "a")
    assert study.run(*given, ["max_steps=3"], tmp_path / "work", "a") == out
    assert len(made) == 1
    (out / "README.md").unlink()  # as if it had been killed
    assert study.run(*given, ["max_steps=3"], tmp_path / "work", "a") == out
    assert study.run(*given, ["max_steps=4"], tmp_path / "work", "a") != out
    assert study.run(*given, ["max_steps=3"], tmp_path / "work", "a", layers=0) != out
    assert len(made) == 4
    from transformers import TrainingArguments

    from xemogpt.train.stage2_aecb import Arguments

    command = made[0]
    arguments, training = load_recipe(
        command[command.index("--config") + 1],
        command[command.index("--config") + 3 :: 2],
        Arguments,
        TrainingArguments,
    )
    assert (arguments.model, training.seed, training.max_steps) == (str(model), 1, 3)


def test_bridges_are_taken_out(study: ModuleType, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    bare, whole = (XEmoGPTForConditionalGeneration.from_pretrained(folder) for _ in range(2))
    study.rebuild_bridge(bare, "audio", 0)
    assert len(bare.model.audio_bridge.layers) == 0
    assert "audio_bridge" not in bare.config.untrained_parts
    kept = whole.state_dict()
    assert {name for name in kept if name not in bare.state_dict()} == {
        name for name in kept if "audio_bridge" in name
    }
    assert all(torch.equal(kept[name], weight) for name, weight in bare.state_dict().items())
    bare.save_pretrained(tmp_path / "bare")
    again = XEmoGPTForConditionalGeneration.from_pretrained(tmp_path / "bare")
    assert again.state_dict().keys() == bare.state_dict().keys()
    study.rebuild_bridge(bare, "audio", 1)
    assert len(bare.model.audio_bridge.layers) == 1
    assert "audio_bridge" in bare.config.untrained_parts


def test_gain_is_students_of_the_pairs(study: ModuleType) -> None:
    found = study.gain_over_seeds([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
    half = 4.302653 * 0.1 / 3**0.5  # t at 0.975 with two degrees of freedom, times the standard error
    assert found["gain"] == pytest.approx(0.2)
    assert found["interval"] == pytest.approx([0.2 - half, 0.2 + half], rel=1e-5)
