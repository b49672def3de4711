# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Whole runs of stage 3 by the command: killed and started again, on two processes, and against a recorded course.

`python tests/test_stage3_runs.py` records that course anew, in tests/regression/stage3.json.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tiny_corpus import TEXT, rows, training_place, write_manifest

RECIPE = Path(__file__).parents[1] / "recipes/tiny/stage3.yaml"
RECORD = Path(__file__).parent / "regression/stage3.json"
STEPS, TOLERANCE = 20, 1e-3  # relative; processors add up in other orders
SMALL = {
    "video_bridge": None,
    "audio_bridge": None,
    "adapter": None,
    "media_learning_rate": None,
    "lora_r": 4,
    "lora_alpha": 32,
    "lora_targets": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "eval_data": [],
    "eval_strategy": "no",
    "load_best_model_at_end": False,
    "logging_steps": 1,
}

SHARE = """
from types import SimpleNamespace
import torch
from xemogpt.train.projector_start import share_projectors

def projectors(seed):
    torch.manual_seed(seed)
    return {f"{medium}_projector": torch.nn.Linear(3, 2) for medium in ("video", "audio")}

torch.distributed.init_process_group("gloo")
mine = projectors(torch.distributed.get_rank())
share_projectors(SimpleNamespace(model=SimpleNamespace(**mine)))
for name, first in projectors(0).items():
    assert torch.equal(mine[name].weight, first.weight) and torch.equal(mine[name].bias, first.bias), name
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_place(tmp_path_factory.mktemp("runs"))


def command(place: Path, out: Path, processes: int = 1, **settings: Any) -> list[str]:
    """`xemogpt train stage3` by the tiny recipe, with other data, model and `settings`."""
    given = {"model": str(place / "model"), "data": [{"manifest": str(place / "train.jsonl")}], "output_dir": str(out)}
    given |= SMALL | {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1} | settings
    start = ["torch.distributed.run", "--nproc_per_node", str(processes), "--master_port", "29533", "-m", "xemogpt"]
    sets = [part for key, value in given.items() for part in ("--set", f"{key}={json.dumps(value)}")]
    module = ["xemogpt"] if processes == 1 else start
    return [sys.executable, "-m", *module, "train", "stage3", "--config", str(RECIPE), *sets]


def train(place: Path, out: Path, processes: int = 1, **settings: Any) -> dict[str, list[float]]:
    """Losses and norms of gradients of a run."""
    done = subprocess.run(command(place, out, processes, **settings), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    return course(out)


def course(out: Path) -> dict[str, list[float]]:
    history = [
        entry for entry in json.loads((out / "trainer_state.json").read_text())["log_history"] if "loss" in entry
    ]
    return {name: [entry[name] for entry in history] for name in ("loss", "grad_norm")}


@pytest.mark.slow
def test_killed_run_goes_on_as_if_nothing_had_happened(place: Path, tmp_path: Path) -> None:
    settings = {"max_steps": 10, "save_steps": 2, "save_total_limit": None}
    whole = train(place, tmp_path / "whole", **settings)
    out = tmp_path / "killed"
    process = subprocess.Popen(command(place, out, **settings), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 300
    while not (out / "checkpoint-4/complete.json").exists():  # an epoch has 7 steps
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "adapter_model.safetensors").exists()
    assert train(place, out, **settings) == whole
    weights, again = (load_file(folder / "adapter_model.safetensors") for folder in (tmp_path / "whole", out))
    assert weights.keys() == again.keys()
    assert all((weights[name] == again[name]).all() for name in weights)  # bit-equal


@pytest.mark.slow
def test_two_processes_give_the_result_of_one(tmp_path: Path) -> None:
    place = training_place(tmp_path)
    described = json.loads((place / "model/config.json").read_text())
    for name in ("attention_dropout", "hidden_dropout", "activation_dropout"):  # drawn by each process for itself
        described["audio_bridge_config"][name] = 0.0
    (place / "model/config.json").write_text(json.dumps(described))
    settings = {"max_steps": 4, "lora_dropout": 0.0, "save_strategy": "no", "max_grad_norm": 0.0}
    settings |= {
        "bf16": False,
        "model_dtype": "float32",
    }  # rows are padded with others, which bfloat16 rounds otherwise
    settings["dataloader_drop_last"] = True  # accelerate fills a process's last batch with clips it has had
    one = train(place, tmp_path / "one", per_device_train_batch_size=4, **settings)
    two = train(place, tmp_path / "two", processes=2, per_device_train_batch_size=2, **settings)
    for name in ("loss", "grad_norm"):
        assert two[name] == pytest.approx(one[name], rel=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("id", "kind"), [("c", "visual"), ("d", "audio")])
def test_two_processes_train_on_a_single_modality(place: Path, tmp_path: Path, id: str, kind: str) -> None:
    """One branch has no part in the loss of any process: DDP must not wait for its gradients."""
    (only,) = (row for row in rows(place) if row["id"] == id)
    manifest = write_manifest(tmp_path / "only.jsonl", [only | {"id": f"{id}{number}"} for number in range(8)])
    settings = {"data": [{"manifest": str(manifest)}], "kinds": [kind], "max_steps": 2, "save_strategy": "no"}
    found = train(place, tmp_path / "out", processes=2, **settings)
    assert len(found["loss"]) == 2
    assert all(norm > 0 for norm in found["grad_norm"])


@pytest.mark.slow
def test_projectors_are_solved_once_for_all_processes(place: Path, tmp_path: Path) -> None:
    first, second, *_ = rows(place)
    telling = [("frowns", "low"), ("smiles widely", "loud and high"), ("looks down", "flat"), ("nods", "very soft")]
    texts = [TEXT.replace("frowns", seen).format(heard, "sad") for seen, heard in telling * 4]
    videos = (first["video"], second["video"])
    many = [first | {"id": f"a{i}", "text": text, "video": videos[i % 2]} for i, text in enumerate(texts)]
    given = {"data": [{"manifest": str(write_manifest(tmp_path / "many.jsonl", many))}], "kinds": ["see", "hear"]}
    given |= {"start_projectors": 16, "max_steps": 1, "save_strategy": "no", "lora_dropout": 0.0, "learning_rate": 0.0}
    given |= {"bf16": False, "model_dtype": "float32", "per_device_train_batch_size": 2}
    told, solved = [], []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        done = subprocess.run(command(place, out, processes, **given), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        told.append(done.stderr.count("the video projector explains"))
        weights = load_file(out / "adapter_model.safetensors")
        solved.append({name: weight for name, weight in weights.items() if "_projector." in name})
    assert told == [1, 1]
    assert len(solved[0]) == 4
    assert all((solved[1][name] == weight).all() for name, weight in solved[0].items())


@pytest.mark.slow
def test_projectors_of_the_first_process_reach_the_others(tmp_path: Path) -> None:
    program = tmp_path / "share.py"
    program.write_text(SHARE)
    start = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29534"]
    done = subprocess.run([*start, str(program)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def recorded_run(place: Path, out: Path) -> list[dict[str, float]]:
    found = train(place, out, max_steps=STEPS, per_device_train_batch_size=4, save_strategy="no")
    return [dict(zip(found, step, strict=True)) for step in zip(*found.values(), strict=True)]


@pytest.mark.slow
def test_the_tiny_recipe_takes_the_recorded_course(place: Path, tmp_path: Path) -> None:
    recorded = json.loads(RECORD.read_text())
    found = recorded_run(place, tmp_path)
    assert recorded["tolerance"] == TOLERANCE
    assert len(found) == len(recorded["steps"]) == STEPS
    assert found[-1]["loss"] < found[0]["loss"] - 1
    for mine, theirs in zip(found, recorded["steps"], strict=True):
        assert mine["loss"] == pytest.approx(theirs["loss"], rel=TOLERANCE)
        assert mine["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=20 * TOLERANCE)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as scratch:
        steps = recorded_run(training_place(Path(scratch)), Path(scratch) / "out")
    made = {"recipe": "recipes/tiny/stage3.yaml", "tolerance": TOLERANCE, "steps": steps}
    RECORD.write_text(json.dumps(made, indent=1) + "\n")
