# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Measures within stages 1 and 2 by hand, the bound of the temperature, and the files that launch many processes."""

import math
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_cue_encoder import make_video_encoder

from xemogpt.alignment_xemogpt import XEmoGPTVideoCueEncoder
from xemogpt.train.alignment_metrics import recognition, retrieval, temporal_accuracy
from xemogpt.train.alignment_model import build_alignment
from xemogpt.train.alignment_trainer import AlignmentCallback


def test_retrieval_by_hand() -> None:
    media = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    texts = np.array([[3.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    found = retrieval(media, texts, np.array([7, 9, 9]))  # the last two say the same: it is one text
    assert found["media_to_text_r1"] == pytest.approx(2 / 3)  # the third is as close to the other: that counts against
    assert found["media_to_text_r5"] == 1
    assert found["text_to_media_r1"] == 1  # either of its clips answers a text
    crossed = retrieval(media[:2], texts[1::-1], np.array([0, 1]))
    assert crossed == {
        f"{way}_{k}": float(k == "r5") for way in ("media_to_text", "text_to_media") for k in ("r1", "r5")
    }


def test_retrieval_of_what_is_all_the_same_is_no_success() -> None:
    found = retrieval(np.ones((20, 4)), np.ones((20, 4)), np.arange(20))
    assert set(found.values()) == {0.0}


def test_recognition_by_hand() -> None:
    media, classes = np.array([[1.0, 0.0], [0.0, 1.0], [2.0, 0.1], [0.0, 1.0]]), np.eye(2)
    found = recognition(media, classes, np.array([0, 1, 1, -1]))
    assert found == {"uar": pytest.approx(0.75), "war": pytest.approx(2 / 3)}  # the last has no label
    assert recognition(media, classes, np.full(4, -1)) == {}


def test_temporal_accuracy_by_hand() -> None:
    assert temporal_accuracy(np.array([1.0, -1.0]), np.array([-1.0, -2.0])) == {"temporal_accuracy": 0.75}
    assert temporal_accuracy(np.ones(3), np.ones(3)) == {"temporal_accuracy": 0.5}  # always yes is chance


@pytest.mark.parametrize(("learnt", "kept"), [(9.0, math.log(100)), (-1.0, 0.0), (2.0, 2.0)])
def test_temperature_stays_between_a_hundredth_and_one(learnt: float, kept: float, tmp_path: Path) -> None:
    model = build_alignment(XEmoGPTVideoCueEncoder.from_pretrained(make_video_encoder(tmp_path)))
    with torch.no_grad():
        model.head.logit_scale.fill_(learnt)
    AlignmentCallback().on_optimizer_step(None, None, None, model=model)
    assert model.head.logit_scale.item() == pytest.approx(kept)
    assert model.head.logit_scale.requires_grad


@pytest.mark.parametrize("name", ["single", "ddp", "fsdp2", "zero2", "zero3"])
def test_accelerate_knows_every_key(name: str, root: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    config = load_config_from_file(str(root / "recipes" / "accelerate" / f"{name}.yaml"))
    expected = {"single": "NO", "ddp": "MULTI_GPU", "fsdp2": "FSDP", "zero2": "DEEPSPEED", "zero3": "DEEPSPEED"}
    assert str(config.distributed_type).rpartition(".")[2] == expected[name]
    assert config.mixed_precision == "bf16"


def test_slurm_example_is_a_script(root: Path) -> None:
    done = subprocess.run(["bash", "-n", str(root / "recipes" / "slurm.sh")], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
