# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Clips, recipes and processes for the tests of the EmoCue builder."""

import json
import multiprocessing
import os
import signal
import sys
import time
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from xemogpt.data.emocue.build import build
from xemogpt.data.emocue.recipe import load_recipe

PASSES = [
    {"name": "visual", "endpoint": "m", "prompt": "emocue-visual-1", "sees": ["frames"], "given": ["labels"]},
    {"name": "audio", "endpoint": "m", "prompt": "emocue-audio-1", "sees": ["audio"], "given": ["labels"]},
    {"name": "context", "endpoint": "m", "prompt": "emocue-context-1", "given": ["labels", "subtitle"]},
    {"name": "blind", "endpoint": "m", "prompt": "emocue-blind-1", "sees": ["frames", "audio"], "given": ["subtitle"]},
]


def make_clips(root: Path, count: int, **more: Any) -> Path:
    """`count` tones of 50 ms, all different, with labels and subtitles, in a manifest."""
    root.mkdir(parents=True)
    rows = []
    for number in range(count):
        path = root / f"c{number:04d}.wav"
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16000)
            tone = 8000 * np.sin(np.arange(800) * (0.02 + 0.0003 * number))
            file.writeframes(tone.astype("<i2").tobytes())
        row = {
            "id": path.stem,
            "audio": path.name,
            "label": "sad",
            "subtitle": f"Take number {number}.",
            "text": "Old.",
        }
        rows.append(row | more)
    (root / "manifest.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return root


def write_recipe(path: Path, clips: Path, url: str, **changes: Any) -> Path:
    """A recipe whose data set lies in `{folder of the recipe}/built`."""
    endpoint = {"base_url": url, "model": "scripted-1", "in_flight": 4, "pause": 0.01, "timeout": 20}
    recipe: dict[str, Any] = {
        "input": {"reader": "manifest", "root": str(clips)},
        "out": str(path.parent / "built"),
        "clips_per_task": 50,
        "validation": 0.1,
        "review": 20,
        "endpoints": {"m": endpoint | changes.pop("endpoint", {})},
        "infer": PASSES,
        "merge": {"endpoint": "m", "prompt": "emocue-merge-1"},
        "short": {"endpoint": "m", "prompt": "emocue-short-1"},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe | changes))
    return path


def run(recipe: Path) -> None:
    """Build here."""
    build(load_recipe(recipe))


def in_child(work: Callable[[Path], Any], recipe: Path, kill_after: float | None = None) -> int:
    """Work in a process of its own, and kill it after some seconds with all it has started; its exit code, or -9.

    It is forked, so that it need not import anything; nothing but a kill ends it early.
    """

    def child() -> None:
        os.setsid()
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
        work(recipe)

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    assert process.pid is not None
    if kill_after is None:
        process.join()
    else:
        time.sleep(kill_after)
        if process.is_alive():
            os.killpg(process.pid, signal.SIGKILL)
        process.join()
    return process.exitcode or 0


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
