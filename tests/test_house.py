# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The house rules that are not code: headers, licence, citation, example clip, and a README whose blocks run."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import pytest
import yaml

import xemogpt

ROOT = Path(__file__).resolve().parent.parent
HEADER = "# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0."
MACHINE_PATH = re.compile(r"(?:^|[^A-Za-z0-9_.])/(?:work|farm|root|tmp|home|opt|Users)/[A-Za-z0-9_.]", re.M)
NOT_RUN = "<!-- not run -->"
BLOCK = re.compile(
    rf"(?P<mark>{NOT_RUN}\n+)?^```(?P<language>python|bash)\n(?P<code>.*?)^```\n"
    r"(?:\n*^```text\n(?P<output>.*?)^```\n)?",
    re.M | re.S,
)


class Block(NamedTuple):
    """A fenced block of a README: its line, language and code, and the ```text block right after it, if any."""

    line: int
    language: str
    code: str
    output: str | None


def blocks(text: str) -> list[Block]:
    """The ```python and ```bash blocks that carry no NOT_RUN mark."""
    return [
        Block(text[: match.start()].count("\n") + 1, match["language"], match["code"], match["output"])
        for match in BLOCK.finditer(text)
        if not match["mark"]
    ]


def readme_blocks() -> list[Block]:
    path = ROOT / "README.md"
    return blocks(path.read_text(encoding="utf-8")) if path.is_file() else []


def test_block_finder() -> None:
    text = (
        "# Title\n\n```python\nprint(1)\n```\n\n```text\n1\n```\n\n"
        f"{NOT_RUN}\n```bash\nmake test\n```\n\n```bash\nls\n```\n\nwords\n\n```text\nother\n```\n```json\n{{}}\n```\n"
    )
    assert blocks(text) == [Block(3, "python", "print(1)\n", "1\n"), Block(16, "bash", "ls\n", None)]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that looks like the root, where README blocks may leave files."""
    folder = tmp_path_factory.mktemp("clone")
    for entry in ROOT.iterdir():
        (folder / entry.name).symlink_to(entry)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", readme_blocks(), ids=lambda block: f"line{block.line}")
def test_readme_block_runs(block: Block, clone: Path) -> None:
    interpreter = [sys.executable, "-c"] if block.language == "python" else ["bash", "-euo", "pipefail", "-c"]
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        [*interpreter, block.code], cwd=clone, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    if block.output is not None:
        assert done.stdout.split() == block.output.split()


def test_readme_blocks_are_marked_or_run() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    fences = re.findall(r"^```(?:python|bash)\b", text, re.M)
    assert len(fences) == len(BLOCK.findall(text)), "a ```python or ```bash fence that the block finder does not see"
    assert readme_blocks()


@pytest.mark.parametrize("folder", ["home", "tmp", "opt"])
@pytest.mark.parametrize("text", ["/{}/me/clips", 'open("/{}/x")', "a line\n/{}/models"])
def test_machine_path_is_seen(text: str, folder: str) -> None:
    assert MACHINE_PATH.search(text.format(folder))


@pytest.mark.parametrize("path", ["a/home/b", "https://x.org/tmp/y", "./tmp/x", "/usr/bin/env"])
def test_other_paths_are_let_pass(path: str) -> None:
    assert not MACHINE_PATH.search(path)


def test_no_path_of_a_machine(project_files: list[Path]) -> None:
    found = {}
    for path in project_files:
        content = (ROOT / path).read_bytes()
        if b"\0" not in content:
            found[str(path)] = MACHINE_PATH.findall(content.decode("utf-8"))
    assert {path: hits for path, hits in found.items() if hits} == {}


def test_every_source_file_says_whose_and_what_it_is(project_files: list[Path]) -> None:
    bad = []
    for path in project_files:
        if path.suffix == ".py":
            source = (ROOT / path).read_text(encoding="utf-8")
            if not source.startswith(HEADER + "\n") or not ast.get_docstring(ast.parse(source)):
                bad.append(str(path))
    assert bad == []


def test_nothing_large_is_tracked(project_files: list[Path]) -> None:
    large = {str(path) for path in project_files if (ROOT / path).stat().st_size > 1_000_000}
    weights = ROOT / "checkpoints/xemogpt-tiny/model.safetensors"
    assert large == {str(weights.relative_to(ROOT))}
    assert weights.stat().st_size < 60_000_000


def test_licence_is_apache() -> None:
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License\n                           Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["license"] == "Apache-2.0"


def test_one_version_everywhere() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    released = re.findall(r"^## \[(\d[^\]]*)\]", changelog, re.M)
    assert citation["version"] == released[0] == xemogpt.__version__


def test_citation_names_software_and_paper() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert {"cff-version", "message", "title", "authors", "license"} <= set(citation)
    (paper,) = citation["references"]
    assert paper["identifiers"] == [{"type": "other", "value": "arXiv:2602.05496"}]
    assert len(paper["authors"]) == 9


def test_example_clip_has_moving_pictures_speech_and_its_words() -> None:
    clip = ROOT / "examples" / "portrait.mp4"
    assert clip.stat().st_size < 400_000
    with av.open(str(clip)) as container:
        frames = [frame.to_ndarray(format="gray").astype(float) for frame in container.decode(video=0)]
    with av.open(str(clip)) as container:
        samples = np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)
        seconds = samples.shape[1] / container.streams.audio[0].rate
    assert 4 <= seconds <= 6
    assert seconds == pytest.approx(len(frames) / 25, abs=0.1)
    sixteen = [frames[index] for index in np.linspace(0, len(frames) - 1, 16).astype(int)]
    assert min(np.abs(a - b).mean() for a, b in zip(sixteen, sixteen[1:], strict=False)) > 1
    assert np.sqrt((samples**2).mean()) > 0.05
    assert "what your country can do" in (ROOT / "examples" / "portrait.srt").read_text(encoding="utf-8")
