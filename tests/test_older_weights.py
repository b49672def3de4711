# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`logit_scale` has a dimension, as FSDP2 wants it; what was written without one is still read, whatever holds it."""

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny_cue_encoder import clip_text_config
from tiny_model import make_tiny_model
from transformers import AutoModel

from xemogpt.hub import trained
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train.alignment_handover import extract
from xemogpt.train.stage3_sft import Arguments, adapt

LEARNT = {"video": 3.25, "audio": 1.75}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with learnt scales, written as it was before they had a dimension."""
    out = make_tiny_model(tmp_path_factory.mktemp("older") / "model", video_text_size=24)
    model = XEmoGPTForConditionalGeneration.from_pretrained(out)
    with torch.no_grad():
        for media, value in LEARNT.items():
            getattr(model.model, f"{media}_cue_head").logit_scale.fill_(value)
    model.save_pretrained(out)
    without_dimension(out / "model.safetensors", 2)
    return out


def without_dimension(file: Path, count: int) -> None:
    with safe_open(file, "pt") as opened:
        metadata = opened.metadata()
    tensors = load_file(file)
    names = [name for name in tensors if name.endswith("logit_scale")]
    assert len(names) == count
    assert all(tensors[name].shape == (1,) for name in names)
    save_file(tensors | {name: tensors[name].squeeze() for name in names}, file, metadata)


def scales(model: Any) -> dict[str, float]:
    found = {name: value for name, value in model.named_parameters() if name.endswith("logit_scale")}
    assert all(value.shape == (1,) for value in found.values())
    return {"video" if "video" in name else "audio": value.item() for name, value in found.items()}


def test_model(folder: Path, tmp_path: Path) -> None:
    model, told = XEmoGPTForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert scales(model) == LEARNT
    assert not any(told.values())
    model.save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    assert saved["model.video_cue_head.logit_scale"].shape == (1,)
    assert scales(XEmoGPTForConditionalGeneration.from_pretrained(tmp_path)) == LEARNT


def test_cue_encoder_and_its_own_code(folder: Path, tmp_path: Path) -> None:
    encoder = extract(XEmoGPTForConditionalGeneration.from_pretrained(folder), "video", clip_text_config())
    encoder.head.logit_scale.data.fill_(LEARNT["video"])
    encoder.save_pretrained(tmp_path)
    without_dimension(tmp_path / "model.safetensors", 1)
    for cls in (type(encoder), AutoModel):
        assert scales(cls.from_pretrained(tmp_path, trust_remote_code=True)) == {"video": LEARNT["video"]}


def test_adapter(folder: Path, tmp_path: Path) -> None:
    adapted = adapt(XEmoGPTForConditionalGeneration.from_pretrained(folder), Arguments(lora_r=2), ["audio_cue_head"])
    adapted.save_pretrained(tmp_path)
    without_dimension(tmp_path / "adapter_model.safetensors", 1)
    base = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    base.model.audio_cue_head.logit_scale.data.zero_()
    merged = PeftModel.from_pretrained(copy.deepcopy(base), tmp_path).merge_and_unload()
    assert scales(merged) == LEARNT
    base.load_adapter(str(tmp_path))  # transformers' own way
    assert base.model.audio_cue_head.modules_to_save["default"].logit_scale.tolist() == [LEARNT["audio"]]


def test_shipped_weights(folder: Path, tmp_path: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    parts = {name.removeprefix("model."): value for name, value in model.state_dict().items()}
    tensors = {name: value for name, value in parts.items() if name.partition(".")[0] in trained.WHOLE}
    sizes = {name: getattr(model.config, name) for name in trained.SIZES}
    save_file(tensors, tmp_path / trained.FILE, {"sizes": json.dumps(sizes)})
    without_dimension(tmp_path / trained.FILE, 2)
    fresh = XEmoGPTForConditionalGeneration.from_pretrained(make_tiny_model(tmp_path / "fresh", video_text_size=24))
    trained.apply(fresh, tmp_path)
    assert scales(fresh) == LEARNT
