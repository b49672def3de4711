# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Settings and fixtures of every test: offline, hermetic, on this tree and on few threads."""

import atexit
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent

# Read by torch and transformers when they are first imported, so set before any test module can do that.
_modules_cache = tempfile.mkdtemp(prefix="xemogpt-modules-")
atexit.register(shutil.rmtree, _modules_cache, ignore_errors=True)
os.environ["HF_MODULES_CACHE"] = _modules_cache  # code copied out of checkpoints: no run may see another's
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["OMP_NUM_THREADS"] = "1" if "PYTEST_XDIST_WORKER" in os.environ else "2"

import pytest  # noqa: E402

import xemogpt  # noqa: E402


def pytest_sessionstart() -> None:
    imported = Path(xemogpt.__file__).resolve().parent
    if imported != ROOT:
        pytest.exit(f"`import xemogpt` gives {imported} and not this tree, {ROOT}: run `make setup`", returncode=4)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository root."""
    return ROOT


@pytest.fixture(scope="session")
def script(root: Path) -> Callable[[str], ModuleType]:
    """Imports a file of scripts/, which is no package, by its name."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, root / "scripts" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look there
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference material beside the repository; the test is skipped where there is none."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip("needs the folder `shared` beside the repository")
    return folder


@pytest.fixture(scope="module")
def hubert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny random model whose audio tower is HuBERT."""
    from tiny_model import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("hubert") / "model")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small clips that can be read."""
    from small_clips import good_clips

    return good_clips(tmp_path_factory.mktemp("clips"))


@pytest.fixture(scope="session")
def project_files() -> list[Path]:
    """Every file that git tracks or would track, relative to the root."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("needs a git checkout")
    return sorted(path for name in set(listing.split("\0")) if name and (ROOT / (path := Path(name))).is_file())
