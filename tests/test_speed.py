# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The benchmark on a tiny model: what it writes, that ways of decoding agree, and that the figures told are its own.

No time is asserted: that would test the machine.
"""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_inputs import clips, tensors
from tiny_model import make_tiny_model
from torch import nn
from transformers import AutoProcessor

from xemogpt.eval import speed
from xemogpt.inference.int8 import FEW_ROWS, Int8Linear, to_int8
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

ROOT = Path(__file__).resolve().parent.parent
PARTS = {"vision", "audio", "prefill"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("speed") / "tiny", dtype="bfloat16")


def measure(folder: Path, out: Path, *options: str) -> dict[str, Any]:
    speed.main(["--model", str(folder), "--new-tokens", "8", "--repeats", "1", "--out", str(out), *options])
    return json.loads(out.read_text())


@pytest.mark.slow
def test_what_is_written(folder: Path, tmp_path: Path) -> None:
    result = measure(folder, tmp_path / "new" / "x.json", "--decode", "eager", "compile", "--batch", "1", "2")
    assert result["settings"]["model"] == "tiny"
    assert result["settings"]["new_tokens"] == 8
    assert str(folder) not in json.dumps(result)
    assert {"cpu", "cores", "memory_bytes", "gpu", "load_average"} == set(result["machine"])
    assert result["versions"]["torch"] == torch.__version__.partition("+")[0] or "+" in result["versions"]["torch"]
    assert {"commit", "dirty", "seed"} <= set(result)
    load = result["load"]
    assert load["load_s"]["min"] == pytest.approx(load["model_s"]["min"] + load["processor_s"]["min"], abs=1e-4)
    assert load["bound"]["bytes"] == sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    assert [(run["decode"], run["batch"]) for run in result["runs"]] == [
        (decode, batch) for decode in ("eager", "compile") for batch in (1, 2)
    ]
    for run in result["runs"]:
        assert set(run["first_token_parts_s"]) == PARTS
        assert set(run["bounds"]) == PARTS | {"first_token", "decode_step", "media", "peak"}
        assert all(bound["share"] >= 0 and bound["by"] for bound in run["bounds"].values())
        assert min(run["limits"].values()) > 0
        assert run["peak_bytes"] > run["bounds"]["peak"]["bytes"] > 0
        assert run["check"]["equal_tokens"] == run["check"]["tokens"] == 8 * run["batch"]
        # a few units in the last place of bfloat16, where logits reach four times their deviation
        assert run["check"]["largest_logit_difference"] <= 0.05 * run["check"]["logit_std"]
    once, twice = result["runs"][:2]  # a batch of two: twice the work, the weights read once
    for part in PARTS:
        assert twice["bounds"][part]["flop"] == 2 * once["bounds"][part]["flop"]
    assert once["bounds"]["decode_step"]["bytes"] < twice["bounds"]["decode_step"]["bytes"]


def test_missing_clip(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"none\.mp4: no such clip"):
        speed.main(["--clip", str(tmp_path / "none.mp4"), "--out", str(tmp_path / "x.json")])
    assert not (tmp_path / "x.json").exists()


@pytest.mark.parametrize("rows", [1, FEW_ROWS, FEW_ROWS + 1, 40])
def test_int8_layer(rows: int) -> None:
    """Within what rounding each weight by half a step can do, plus bfloat16's own rounding of the result."""
    torch.manual_seed(0)
    linear = nn.Linear(64, 96).bfloat16()
    quantised = Int8Linear(linear)
    inputs = torch.randn(2, rows, 64).bfloat16()
    with torch.no_grad():
        exact, got = linear.float()(inputs.float()), quantised(inputs).float()
    half_step = linear.weight.abs().amax(1) / 127 * 0.51
    allowed = inputs.float().abs().sum(-1, keepdim=True) * half_step + 0.02 * exact.abs().amax()
    assert got.shape == exact.shape
    assert ((got - exact).abs() <= allowed).all()


@torch.no_grad()
def test_int8_model(folder: Path) -> None:
    """The same logits within a stated tolerance, for a prompt and for one token; embeddings stay as they are."""
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder, dtype=torch.bfloat16)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs = tensors(processor, clips(processor)[0])
    expected = model(**inputs).logits.float()
    embedding = model.get_input_embeddings().weight.clone()
    quantised = to_int8(copy.deepcopy(model))
    got = quantised(**inputs).logits.float()
    assert 0 < (got - expected).abs().mean() < 0.05 * expected.std()
    assert torch.equal(quantised.get_input_embeddings().weight, embedding)
    answer = quantised.generate(**inputs, max_new_tokens=4, min_new_tokens=4)
    assert answer.shape[1] == inputs["input_ids"].shape[1] + 4


def test_int8_refuses_other_models(folder: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
    with pytest.raises(ValueError, match=r"bfloat16 model on the CPU, not torch\.float32"):
        to_int8(model)


def numbers(value: Any) -> list[float]:
    if isinstance(value, dict):
        return [number for each in value.values() for number in numbers(each)]
    if isinstance(value, list):
        return [number for each in value for number in numbers(each)]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def test_figures_of_the_document_are_measured() -> None:
    """Every bold number is in the results, to the digits shown: as it is, as a percentage, or in units of 1e9."""
    source = ROOT / "results" / "speed_cpu.json"
    document = ROOT / "docs" / "speed.md"
    if not source.is_file():
        pytest.skip("nothing measured yet")
    measured = numbers(json.loads(source.read_text()))
    shown = re.findall(r"\*\*([0-9.]+)\*\*", document.read_text(encoding="utf-8"))
    assert shown, "figures in bold are the measured ones"
    for text in shown:
        digits = len(text.partition(".")[2])
        same = [v for v in measured for scale in (1, 100, 1e-9) if f"{v * scale:.{digits}f}" == text]
        assert same, f"{text} is not in {source.name}"
