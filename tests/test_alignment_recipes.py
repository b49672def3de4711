# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The recipes of stages 1 and 2: read strictly, sourced line by line, and with the course that is recorded."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from tiny_cue_encoder import make_audio_encoder, make_video_encoder
from toy_clips import toy_corpus
from transformers import TrainingArguments

from xemogpt.train import stage1_vecb, stage2_aecb
from xemogpt.train.recipe import load_recipe

STAGES: dict[str, Any] = {"stage1": stage1_vecb, "stage2": stage2_aecb}
STEPS, TOLERANCE = 20, 1e-3  # relative; processors add up in other orders


@pytest.mark.parametrize("name", STAGES)
@pytest.mark.parametrize("size", ["tiny", "xemogpt-4b"])
def test_recipes_are_read(size: str, name: str, root: Path, tmp_path: Path) -> None:
    overrides = ["bf16=false", "use_cpu=true", f"output_dir={tmp_path}"]
    stage = STAGES[name]
    arguments, training = load_recipe(
        root / "recipes" / size / f"{name}.yaml", overrides, stage.Arguments, TrainingArguments
    )
    assert arguments.data
    if size == "xemogpt-4b":
        assert training.per_device_train_batch_size == {"stage1": 512, "stage2": 448}[name]
        # The loss is that of batches, which depend on the number of processes
        assert (training.metric_for_best_model, training.greater_is_better) == ("media_to_text_r1", True)
        assert name == "stage2" or (training.num_train_epochs, training.learning_rate) == (30, 3e-4)


@pytest.mark.parametrize("name", STAGES)
def test_every_line_of_the_papers_recipe_has_its_source(name: str, root: Path) -> None:
    text = (root / "recipes" / "xemogpt-4b" / f"{name}.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if re.match(r"\w", line) and not line.startswith("output_dir")]
    assert len(lines) > 20
    sourced = re.compile(r"# (?:not in the paper:|(?:I|V)[IV]*-[A-E])")
    assert [line for line in lines if not sourced.search(line)] == []


def course(root: Path, name: str, folder: Path) -> list[dict[str, float]]:
    """Twenty steps of the tiny recipe, on toy clips with a random encoder."""
    manifest = toy_corpus(folder / "clips", 24)
    make = make_video_encoder if name == "stage1" else make_audio_encoder
    overrides = [
        f"model={make(folder / 'model')}",
        "text_tower=null",
        f"data=[{{manifest: {manifest}}}]",
        "eval_data=[]",
        f"cache={folder / 'cache'}",
        f"output_dir={folder / 'out'}",
        f"max_steps={STEPS}",
        "warmup_steps=10",
        "bf16=false",
        "per_device_train_batch_size=8",
        "logging_steps=1",
        "eval_strategy='no'",
        "save_strategy='no'",
        "load_best_model_at_end=false",
        "use_cpu=true",
        "disable_tqdm=true",
    ]
    stage = STAGES[name]
    stage.main(*load_recipe(root / "recipes" / "tiny" / f"{name}.yaml", overrides, stage.Arguments, TrainingArguments))
    history = json.loads((folder / "out" / "trainer_state.json").read_text())["log_history"]
    return [{key: row[key] for key in ("loss", "grad_norm")} for row in history if "loss" in row]


@pytest.mark.parametrize("name", STAGES)
def test_the_tiny_recipe_takes_the_recorded_course(name: str, root: Path, tmp_path: Path) -> None:
    recorded = json.loads((root / "tests" / "regression" / f"{name}.json").read_text())
    found = course(root, name, tmp_path)
    assert recorded["tolerance"] == TOLERANCE
    assert len(found) == len(recorded["steps"]) == STEPS
    for mine, theirs in zip(found, recorded["steps"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=TOLERANCE)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=20 * TOLERANCE)


if __name__ == "__main__":  # PYTHONPATH=tests python tests/test_alignment_recipes.py writes the recorded courses anew
    import tempfile

    here = Path(__file__).resolve().parent
    for each in STAGES:
        with tempfile.TemporaryDirectory() as scratch:
            steps = course(here.parent, each, Path(scratch))
        written = {"recipe": f"recipes/tiny/{each}.yaml", "tolerance": TOLERANCE, "steps": steps}
        (here / "regression" / f"{each}.json").write_text(json.dumps(written, indent=1) + "\n")
