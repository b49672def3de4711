# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The study of VECB with its layers and without: two models that differ in nothing else, and its interval."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch
from tiny_model import make_tiny_model

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration


@pytest.fixture
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_bridge")


def test_variants_differ_in_the_layers_alone(study: ModuleType, tmp_path: Path) -> None:
    source = str(make_tiny_model(tmp_path / "model"))
    models = {
        (layers, seed): XEmoGPTForConditionalGeneration.from_pretrained(
            study.fresh(source, layers, seed, tmp_path / f"{layers}-{seed}")
        ).model
        for layers, seed in ((2, 0), (0, 0), (0, 1))
    }
    with_layers, without, other = models.values()
    assert len(with_layers.video_bridge.layers) == 2
    assert len(without.video_bridge.layers) == 0
    same = {name: p for name, p in with_layers.named_parameters() if "video_bridge." not in name}
    for name, parameter in without.named_parameters():
        assert torch.equal(parameter, same.pop(name)), name
    assert not same
    assert not torch.equal(other.video_cue_head.projection.weight, without.video_cue_head.projection.weight)
    assert with_layers.video_bridge.layers[0].mlp.fc1.weight.std() > 0
    frames = torch.randn(1, 16, with_layers.video_bridge.position_embedding.shape[-1])
    assert without.video_bridge(frames) is frames


def test_means_stand_beside_the_gain(study: ModuleType) -> None:
    found = study.compared([0.5, 0.6, 0.7], [0.4, 0.4, 0.4])
    assert (found["VECB"], found["no layers"], found["gain"]) == pytest.approx((0.6, 0.4, 0.2))
    assert found["interval"][0] < 0.2 < found["interval"][1]


def test_document_shows_what_was_measured(root: Path) -> None:
    document = (root / "docs/tiny.md").read_text(encoding="utf-8")
    for row in json.loads((root / "results/tiny_bridge.json").read_text(encoding="utf-8"))["measures"].values():
        low, high = row["interval"]
        gain = f"{row['gain']:+.2f} ({low:+.2f} to {high:+.2f})"
        assert f"| {row['VECB']:.2f} | {row['no layers']:.2f} | {gain} |" in document
