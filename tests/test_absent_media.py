# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Several processes train together, though the batch of one may lack a medium that the batch of another has."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sharded_step
import torch
import torch.distributed as dist
from tiny_inputs import clips, tensors
from tiny_model import make_tiny_model
from transformers import AutoProcessor

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

MEDIA = {"video": (1, ("audio",)), "audio": (2, ("video",)), "none": (4, ("video", "audio"))}  # clip, what it lacks


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = make_tiny_model(tmp_path_factory.mktemp("absent") / "model")
    described = json.loads((out / "config.json").read_text())
    for name in ("attention_dropout", "hidden_dropout", "activation_dropout"):  # each process draws for itself
        described["audio_bridge_config"][name] = 0.0
    (out / "config.json").write_text(json.dumps(described))
    return out


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def gradients(model: Any, medium: str) -> dict[str, torch.Tensor | None]:
    parts = (f"model.{medium}_bridge.", f"model.{medium}_projector.")
    return {name: each.grad for name, each in model.named_parameters() if name.startswith(parts)}


@pytest.mark.parametrize("has", MEDIA)
@pytest.mark.parametrize("checkpointing", [False, True])
def test_what_is_absent_gets_a_gradient_of_zero(folder: Path, group: None, has: str, checkpointing: bool) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder).train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    index, absent = MEDIA[has]
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    batch = tensors(processor, [clips(processor)[index]], answer=True)
    with torch.no_grad():
        expected = model(**batch).loss  # without gradients nothing is added
        for medium in absent:
            for parameter in getattr(model.model, f"{medium}_bridge").parameters():
                parameter.fill_(float("inf"))
    model.model.video_projector.bias.requires_grad_(False)
    loss = model(**batch).loss
    loss.backward()
    assert torch.equal(loss, expected)
    for medium in ("video", "audio"):
        found = gradients(model, medium)
        frozen = found.pop("model.video_projector.bias", None)
        assert frozen is None
        assert all(grad is not None for grad in found.values())
        assert any(grad.any() for grad in found.values()) == (medium not in absent)


def test_alone_nothing_is_added(folder: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder).train()
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model(**tensors(processor, [clips(processor)[4]], answer=True)).loss.backward()
    assert not any(grad is not None for medium in ("video", "audio") for grad in gradients(model, medium).values())


@pytest.mark.slow
def test_sharded_processes_with_other_media_equal_one(folder: Path, tmp_path: Path) -> None:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    done = subprocess.run(
        [*launch, sharded_step.__file__, folder, tmp_path / "out.pt"], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stderr
    found = torch.load(tmp_path / "out.pt", weights_only=True)
    model = sharded_step.adapted(folder)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    norms = sharded_step.train(model, sharded_step.batches(folder))
    assert found["norms"] == pytest.approx(norms, rel=1e-4)
    assert all(norm > sharded_step.MAX_NORM for norm in norms)  # so that clipping counts
    moved = {name for name, parameter in model.named_parameters() if not torch.equal(before[name], parameter)}
    for part in ("video_bridge", "audio_bridge", "video_projector", "audio_projector", "lora_B"):
        assert any(part in name for name in moved)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found["weights"][name], parameter.detach(), rtol=1e-4, atol=1e-5, msg=name)
