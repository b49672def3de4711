# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A model folder loads by itself, wherever it is copied, without this package; and saves itself again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_inputs import clips, tensors
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM, AutoProcessor

from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration, XEmoGPTModel

AUTO_CLASSES = (
    "AutoConfig",
    "AutoModel",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForMultimodalLM",
    "AutoProcessor",
)
# Run where `import xemogpt` fails: loads the folder through every auto class, answers, and saves it again.
PROGRAM = """
import importlib.util, json, sys
assert importlib.util.find_spec("xemogpt") is None
import numpy as np, torch, transformers
folder, again, names = sys.argv[1], sys.argv[2], sys.argv[3].split(",")
loaded = {name: getattr(transformers, name).from_pretrained(folder, trust_remote_code=True) for name in names}
processor = loaded["AutoProcessor"]
rng = np.random.default_rng(0)
frames = rng.integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)
voice = (0.1 * rng.standard_normal(9000)).astype("float32")
def answer(model, processor):
    messages = processor.conversation(video=frames, audio=voice, subtitle="Hi.")
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True)
    return model.generate(**inputs, max_new_tokens=6)[0].tolist()
answers = [answer(loaded[name], processor) for name in names if "Model" in name]
model = loaded["AutoModelForMultimodalLM"]
model.save_pretrained(again)
processor.save_pretrained(again)
print("\\n" + json.dumps({"answers": answers, "class": type(model).__name__}))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("made") / "tiny")


def alone(code: str, *arguments: object, cwd: Path, **env: str) -> subprocess.CompletedProcess:
    """Runs a program in a Python that does not find this package."""
    clean = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTEST_CURRENT_TEST")}
    # An editable install puts a finder of its own on sys.meta_path.
    hide = "import sys; sys.meta_path = [f for f in sys.meta_path if 'editable' not in str(f).lower()]"
    return subprocess.run(
        [sys.executable, "-c", f"{hide}\n{code}", *map(str, arguments)],
        cwd=cwd,
        env=clean | {"HF_MODULES_CACHE": str(cwd / "modules")} | env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_copied_folder_needs_no_package(folder: Path, tmp_path: Path) -> None:
    copy, again = tmp_path / "elsewhere" / "copy", tmp_path / "again"
    shutil.copytree(folder, copy)
    done = alone(PROGRAM, copy, again, ",".join(AUTO_CLASSES), cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["class"] == "XEmoGPTForConditionalGeneration"
    assert len(result["answers"]) == 4
    assert all(answer == result["answers"][0] for answer in result["answers"])

    first, second = load_file(folder / "model.safetensors"), load_file(again / "model.safetensors")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    for name in ("generation_config.json", "chat_template.jinja", "processor_config.json"):
        assert (folder / name).read_text() == (again / name).read_text()
    configs = [json.loads((where / "config.json").read_text()) for where in (folder, again)]
    for config in configs:  # loading writes the dtype into every part
        for part in config.values():
            if isinstance(part, dict):
                part.pop("dtype", None)
    assert configs[0] == configs[1]
    assert {path.name for path in folder.glob("*.py")} == {path.name for path in again.glob("*.py")}
    assert set(json.loads((again / "config.json").read_text())["auto_map"]) == set(AUTO_CLASSES)


@pytest.mark.parametrize("name", ["AutoConfig", "AutoModelForMultimodalLM", "AutoProcessor"])
def test_code_is_not_run_unasked(folder: Path, tmp_path: Path, name: str) -> None:
    code = f"import sys, transformers\ntransformers.{name}.from_pretrained(sys.argv[1], trust_remote_code=False)"
    done = alone(code, folder, cwd=tmp_path)
    assert done.returncode != 0
    assert "trust_remote_code" in done.stderr or "Unrecognized" in done.stderr
    assert not list(tmp_path.glob("modules/**/modeling_xemogpt.py"))


def test_checkpoint_is_complete_and_tied_once(folder: Path) -> None:
    model, info = XEmoGPTForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert "lm_head.weight" not in load_file(folder / "model.safetensors")
    assert model.lm_head.weight is model.get_input_embeddings().weight


def test_untied_head_is_saved(tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "untied", tied=False)
    assert "lm_head.weight" in load_file(folder / "model.safetensors")
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    assert model.lm_head.weight is not model.get_input_embeddings().weight


def test_shards_and_the_bare_model(folder: Path, tmp_path: Path) -> None:
    model = XEmoGPTForConditionalGeneration.from_pretrained(folder)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    inputs = tensors(processor, clips(processor))
    expected = model(**inputs).logits
    model.save_pretrained(tmp_path / "shards", max_shard_size="100KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    again = AutoModelForMultimodalLM.from_pretrained(tmp_path / "shards", trust_remote_code=True)
    assert torch.equal(again(**inputs).logits, expected)
    bare = XEmoGPTModel.from_pretrained(folder)
    assert torch.equal(bare(**inputs).last_hidden_state, model.model(**inputs).last_hidden_state)
    bare.save_pretrained(tmp_path / "bare")
    headed = XEmoGPTForConditionalGeneration.from_pretrained(tmp_path / "bare")  # tied: the head is in the embedding
    assert torch.equal(headed(**inputs).logits, expected)
