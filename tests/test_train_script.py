# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""scripts/train_tiny.sh: what of the way to the small model is done, and what is not, after it was killed."""

import os
import subprocess
from pathlib import Path

import pytest

STAGES = ("stage0", "stage1", "stage2", "stage3-start", "stage3")
LAST = "trainer_state.json"  # of the files of a stage
STAND_IN = "#!/bin/sh\necho $(basename $0) $1 $2 $3 $4 >> calls\n"


@pytest.fixture
def done(tmp_path: Path) -> Path:
    """A folder in which the whole way has been gone."""
    for name in ("xemogpt", "python"):
        program = tmp_path / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(STAND_IN)
        program.chmod(0o755)
    for stage in STAGES:
        folder = tmp_path / "runs" / f"tiny-{stage}"
        folder.mkdir(parents=True)
        for name in ("adapter_model.safetensors", LAST):
            (folder / name).touch()
            os.utime(folder / name, (1000, 1000))
    (tmp_path / "runs" / "tiny-merged").mkdir()
    return tmp_path


def run(folder: Path, root: Path) -> list[str]:
    """What the script trains and merges."""
    environment = os.environ | {"PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(["sh", root / "scripts" / "train_tiny.sh"], cwd=folder, env=environment, check=True)
    calls = (folder / "calls").read_text().splitlines()
    return [Path(each.split()[-1]).stem for each in calls if each.split()[1] in ("train", "merge")]


def test_what_is_done_is_not_done_twice(done: Path, root: Path) -> None:
    assert run(done, root) == []


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_is_done_when_its_last_file_is_there(done: Path, root: Path, stage: str) -> None:
    (done / "runs" / f"tiny-{stage}" / LAST).unlink()
    assert run(done, root) == [stage.replace("-", "_")]


def test_a_newer_adapter_is_merged_anew(done: Path, root: Path) -> None:
    (done / "runs" / "tiny-merged" / "old").touch()
    os.utime(done / "runs" / "tiny-merged", (2000, 2000))
    assert run(done, root) == []
    os.utime(done / "runs" / "tiny-stage3" / "adapter_model.safetensors", (3000, 3000))
    assert run(done, root) == ["tiny-merged"]
    assert not (done / "runs" / "tiny-merged").exists()
