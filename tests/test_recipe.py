# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Recipes are read strictly: what is wrong is said with file and line."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import TrainingArguments

from xemogpt.train.recipe import load_recipe, one_gpu_each


@dataclass
class Arguments:
    model: str | None = None
    rank: int = 4
    share: float = 0.5
    on: bool = True
    data: list[dict[str, Any]] = field(default_factory=list)


def load(tmp_path: Path, text: str, *overrides: str) -> tuple[Arguments, TrainingArguments]:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    return load_recipe(path, overrides, Arguments, TrainingArguments)


def test_one_file_fills_both(tmp_path: Path) -> None:
    text = f"""# hardware: any
model: tiny
share: 1
learning_rate: 1e-5
data:
- {{manifest: a.jsonl, weight: 2}}
output_dir: {tmp_path}/out
"""
    mine, training = load(tmp_path, text, "rank=8", "learning_rate=2.5e-4", "on=false", "model=")
    assert mine == Arguments(None, 8, 1.0, False, [{"manifest": "a.jsonl", "weight": 2}])
    assert (training.learning_rate, training.output_dir) == (2.5e-4, f"{tmp_path}/out")
    assert training.use_cpu != torch.accelerator.is_available()
    assert isinstance(mine.share, float)


def test_yamls_no_is_not_false_where_a_strategy_is_meant(tmp_path: Path) -> None:
    _, training = load(tmp_path, f"output_dir: {tmp_path}/out\neval_strategy: no\n", "save_strategy=no", "bf16=no")
    assert (training.eval_strategy, training.save_strategy) == ("no", "no")
    assert training.bf16 is False


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (
            "output_dir: x\nlerning_rate: 1\n",
            [],
            r"recipe\.yaml, line 2: unknown key 'lerning_rate'; did you mean lea",
        ),
        ("output_dir: x\nqqqqqqq: 1\n", [], "unknown key 'qqqqqqq'; settings of the stage: data, model"),
        ("rank: 1\nrank: 2\noutput_dir: x\n", [], "line 2: rank is given twice"),
        ("rank: many\noutput_dir: x\n", [], "line 1: rank must be int, not 'many'"),
        ("rank: true\noutput_dir: x\n", [], "line 1: rank must be int, not True"),
        ("rank: 1.5\noutput_dir: x\n", [], "line 1: rank must be int, not 1.5"),
        ("share: little\noutput_dir: x\n", [], "share must be float, not 'little'"),
        ("data: a.jsonl\noutput_dir: x\n", [], "data must be list, not 'a.jsonl'"),
        ("rank:\noutput_dir: x\n", [], "rank must not be empty"),
        ("rank: 1\n", [], "output_dir is missing"),
        ("- 1\n", [], "must be `key: value` lines"),
        ("a: [\n", [], "is no YAML"),
        ("output_dir: x\n", ["rank"], "--set rank: must be key=value"),
        ("output_dir: x\n", ["ranks=3"], "--set ranks=3: unknown key 'ranks'; did you mean rank?"),
        ("output_dir: x\n", ["rank=[1"], "is no YAML value"),
    ],
)
def test_bad_recipes(tmp_path: Path, text: str, overrides: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load(tmp_path, text, *overrides)


def test_several_gpus_need_several_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    with pytest.raises(ValueError, match="sees 2 GPUs.*accelerate launch --num_processes 2.*CUDA_VISIBLE_DEVICES=0"):
        one_gpu_each(load(tmp_path, "output_dir: x\n")[1])


def test_missing_recipe(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load_recipe(tmp_path / "none.yaml", [], Arguments, TrainingArguments)
