# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Model cards: metadata the Hub accepts, parameter counts that are true, and untrained parts that are named."""

import re
from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM

from xemogpt.configuration_xemogpt import XEmoGPTConfig
from xemogpt.hub.model_card import PARTS, part_sizes
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
PIPELINES = {"video-text-to-text", "any-to-any"}
LICENSES = {"apache-2.0", "other"}


def check_metadata(card: ModelCard) -> None:
    data = card.data.to_dict()
    assert data["library_name"] == "transformers"
    assert data["license"] in LICENSES
    assert data["license"] != "other" or {"license_name", "license_link"} <= set(data)
    assert re.fullmatch(r"[a-z0-9.-]+", data.get("license_name", "x"))
    assert data["pipeline_tag"] in PIPELINES
    assert set(data["language"]) == {"en", "zh"}
    assert {"xemogpt", "custom_code"} <= set(data["tags"])
    assert all(HUB_ID.fullmatch(name) for name in data.get("base_model", []))


def counts(text: str) -> dict[str, int]:
    rows = re.findall(r"^\| .+? \|\s*`?(\w*)`?\s*\| ([\d,]+) \|$", text, re.M)
    return {module or "all": int(number.replace(",", "")) for module, number in rows}


def test_readme_is_the_full_size_models_card(root: Path) -> None:
    card = ModelCard((root / "README.md").read_text(encoding="utf-8"))
    check_metadata(card)
    with torch.device("meta"):
        model = XEmoGPTForConditionalGeneration(XEmoGPTConfig())
    model.tie_weights()
    sizes = part_sizes(model)
    assert counts(card.text) == sizes | {"all": sum(sizes.values())}
    assert sum(sizes.values()) == sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("tied", [True, False])
def test_card_of_a_composed_folder(tmp_path: Path, tied: bool) -> None:
    folder = make_tiny_model(tmp_path / "my-model", tied=tied, audio_pooling=1 if tied else 3)
    card = ModelCard((folder / "README.md").read_text(encoding="utf-8"))
    check_metadata(card)
    assert f"one token per {'audio step' if tied else '3 audio steps'};" in card.text
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    total = sum(parameter.numel() for parameter in model.parameters())
    assert counts(card.text)["all"] == total
    assert set(counts(card.text)) == {*PARTS, "all"}
    warning = re.search(r"\*\*Untrained parts .*?\*\*", card.text, re.S)
    assert warning is not None
    assert all(f"`{name}`" in warning[0] for name in model.config.untrained_parts)
