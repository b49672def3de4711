# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The import direction and the shape of the tree, read from the source with `ast`.

Remote code (the flat `*_xemogpt.py` files) travels inside checkpoints and is loaded by transformers' dynamic-module
loader, whose rules are stricter than Python's; everything else follows configuration <- modeling and
data <- {train, eval}.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import pytest

# The remote-code files in two columns that never import each other; each may import those before it in its column.
MODEL_SIDE = [
    "configuration_xemogpt",
    "bridges_xemogpt",
    "backbones_xemogpt",
    "towers_xemogpt",
    "modeling_xemogpt",
    "alignment_xemogpt",
]
INPUT_SIDE = [
    "prompts_xemogpt",
    "inputs_xemogpt",
    "media_xemogpt",
    "video_processing_xemogpt",
    "processing_xemogpt",
    "alignment_processing_xemogpt",
]
REMOTE_EDGES = {stem: set(side[:index]) for side in (MODEL_SIDE, INPUT_SIDE) for index, stem in enumerate(side)}
# Present wherever transformers can load a model at all; the rest must be guarded.
REMOTE_REQUIRED = {"torch", "transformers", "numpy", "huggingface_hub", "safetensors", "tokenizers", "packaging"}
# What a part of the package must not import; a part that is not listed may import everything but the applications.
APPLICATIONS = {"scripts", "demo", "tests", "cli", "commands", "__main__"}
FORBIDDEN: dict[str, set[str]] = {
    "data": {"train", "eval", "hub", "inference", *APPLICATIONS},
    "train": {"eval", *APPLICATIONS},
    "eval": {"train", *APPLICATIONS},
    "commands": APPLICATIONS - {"commands"},
    "cli": APPLICATIONS - {"cli", "commands"},
    "__main__": APPLICATIONS - {"cli", "__main__"},
    "scripts": {"demo", "tests"},
    "demo": {"scripts", "tests"},
    "tests": set(),
}
# The metric's folder, which is also published by itself: it imports nothing of the package, so all may import it.
STANDALONE = "xemogpt.eval.emocue_360"
LINE_LIMITS = {"modeling_xemogpt.py": 750}
# The two patterns by which transformers finds what a remote-code file imports: they see docstrings too.
LOADER_PATTERNS = [re.compile(r"^\s*import\s+\.(\S+)\s*$", re.M), re.compile(r"^\s*from\s+\.(\S+)\s+import", re.M)]


def imports(tree: ast.AST, guarded: bool = False) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    """Every import statement at any depth, and whether it stands in the body of a `try ... except ImportError`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node, guarded
        elif isinstance(node, ast.Try):
            caught = {name.id for handler in node.handlers for name in ast.walk(handler) if isinstance(name, ast.Name)}
            safe = guarded or bool(caught & {"ImportError", "ModuleNotFoundError"})
            yield from imports(ast.Module(body=node.body, type_ignores=[]), safe)
            rest: list[ast.stmt] = [*(stmt for handler in node.handlers for stmt in handler.body), *node.orelse]
            yield from imports(ast.Module(body=[*rest, *node.finalbody], type_ignores=[]), guarded)
        else:
            yield from imports(node, guarded)


def package_targets(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The parts of the package (`data`, `cli`, `modeling_xemogpt`, ...) that an absolute import reaches."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif node.level == 0 and node.module == "xemogpt":
        names = [f"xemogpt.{alias.name}" for alias in node.names]
    else:
        names = [node.module or ""] if node.level == 0 else []
    names = [name for name in names if not f"{name}.".startswith(f"{STANDALONE}.")]
    return {(name.split(".") + [""])[1] for name in names if name.split(".")[0] == "xemogpt"}


def third_party(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top-level names, outside the standard library, that an absolute import reaches."""
    if isinstance(node, ast.ImportFrom):
        names = {(node.module or "").split(".")[0]} if node.level == 0 else set()
    else:
        names = {alias.name.split(".")[0] for alias in node.names}
    return names - set(sys.stdlib_module_names)


def remote_violations(stem: str, source: str) -> list[str]:
    """What transformers' dynamic-module loader, or the direction among the remote-code files, refuses."""
    if stem not in REMOTE_EDGES:
        return ["a new remote-code file: put it into MODEL_SIDE or INPUT_SIDE"]
    found, siblings = [], set()
    for node, guarded in imports(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level:
            if node.module is None or node.level > 1 or "." in node.module:
                found.append(f"line {node.lineno}: the loader takes `from .file import name` only")
                continue
            siblings.add(node.module)
            if node.module not in REMOTE_EDGES[stem]:
                found.append(f"line {node.lineno}: {stem} may not import {node.module}")
        elif package_targets(node):
            found.append(f"line {node.lineno}: the package is not there when a checkpoint is loaded")
        elif (optional := third_party(node) - REMOTE_REQUIRED) and not guarded:
            found.append(f"line {node.lineno}: {', '.join(sorted(optional))} outside try/except ImportError")
    seen = {name for pattern in LOADER_PATTERNS for name in pattern.findall(source)}
    found += [f"text that the loader takes for an import of .{name}" for name in sorted(seen - siblings)]
    return found


def violations(path: str, source: str) -> list[str]:
    """The rules that the file at `path` (relative to the root, with slashes) breaks; each message names its line."""
    where = PurePosixPath(path)
    if where.stem.endswith("_xemogpt") and len(where.parts) == 1:
        return remote_violations(where.stem, source)
    part = where.stem if len(where.parts) == 1 else where.parts[0]
    standalone = where.is_relative_to("eval/emocue_360")
    found = []
    for node, _ in imports(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.level and not standalone:
            found.append(f"line {node.lineno}: relative import; write `from xemogpt...`")
        targets = package_targets(node)
        if standalone and targets:
            found.append(f"line {node.lineno}: eval/emocue_360 imports nothing of xemogpt")
        forbidden = targets & FORBIDDEN.get(part, APPLICATIONS)
        found += [f"line {node.lineno}: {part} may not import {target}" for target in sorted(forbidden)]
    return found


def misplaced(path: str) -> str | None:
    """Why a file must not be called or placed so, or None."""
    where = PurePosixPath(path)
    if vague := {"utils", "util", "common", "misc", "helpers"} & {where.stem, *where.parts[:-1]}:
        return f"{path}: the name {vague.pop()} says nothing; name it after what it does"
    if where.parts[0] in {"datasets", "evaluate"} or path in {"datasets.py", "evaluate.py", "train/datasets.py"}:
        return f"{path}: shadows the library of that name"
    return None


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("configuration_xemogpt.py", "from .modeling_xemogpt import XEmoGPTModel"),
        ("processing_xemogpt.py", "def f():\n    from .modeling_xemogpt import XEmoGPTModel"),
        ("processing_xemogpt.py", "from .configuration_xemogpt import XEmoGPTConfig"),
        ("media_xemogpt.py", "from .processing_xemogpt import XEmoGPTProcessor"),
        ("modeling_xemogpt.py", "from . import configuration_xemogpt"),
        ("modeling_xemogpt.py", "from .train.losses import info_nce"),
        ("modeling_xemogpt.py", "from ..other import name"),
        ("modeling_xemogpt.py", "from xemogpt.configuration_xemogpt import XEmoGPTConfig"),
        ("media_xemogpt.py", "import av"),
        ("media_xemogpt.py", "def f():\n    import av"),
        ("media_xemogpt.py", "try:\n    import av\nexcept OSError:\n    av = None"),
        ("media_xemogpt.py", "try:\n    pass\nexcept ImportError:\n    import av"),
        ("media_xemogpt.py", '"""Text.\n\nfrom .elsewhere import name\n"""'),
        ("sampling_xemogpt.py", "import torch"),
        ("data/cues.py", "from xemogpt.eval.score import score"),
        ("data/emocue/build.py", "import xemogpt.train.losses"),
        ("data/cues.py", "from .schema import Cue"),
        ("train/losses.py", "from xemogpt.eval import score"),
        ("data/cues.py", "from xemogpt.eval.emocue_361 import score"),
        ("eval/speed.py", "def f():\n    from xemogpt import train"),
        ("eval/emocue_360/emocue_360.py", "from xemogpt.data.cues import split_cues"),
        ("hub/tiny.py", "from xemogpt.scripts.make_example_clip import camera"),
        ("explain.py", "from xemogpt.cli import main"),
        ("__init__.py", "from .explain import explain"),
    ],
)
def test_the_checker_sees(path: str, source: str) -> None:
    assert violations(path, source)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("modeling_xemogpt.py", "import math\nimport torch\nfrom .configuration_xemogpt import XEmoGPTConfig"),
        ("media_xemogpt.py", "try:\n    import av\nexcept ImportError:\n    av = None"),
        (
            "media_xemogpt.py",
            "def f():\n    try:\n        import av\n    except (ImportError, OSError):\n        pass",
        ),
        ("train/losses.py", "from xemogpt.data.cues import split_cues\nfrom xemogpt import XEmoGPTModel"),
        ("eval/emocue_360/emocue_360.py", "import evaluate\nfrom .matching import match"),
        ("data/cues.py", "from xemogpt.eval.emocue_360.sections import split_cues"),
        ("cli.py", "from xemogpt.train import losses\nfrom xemogpt.eval import speed"),
        ("hub/tiny.py", "import xemogpt.modeling_xemogpt"),
        ("__main__.py", "from xemogpt.cli import main"),
    ],
)
def test_the_checker_lets_pass(path: str, source: str) -> None:
    assert violations(path, source) == []


@pytest.mark.parametrize("path", ["data/utils.py", "common/cues.py", "datasets/cues.py", "train/datasets.py"])
def test_the_checker_sees_bad_names(path: str) -> None:
    assert misplaced(path)


def python_sources(root: Path, project_files: list[Path]) -> dict[str, str]:
    return {
        path.as_posix(): (root / path).read_text(encoding="utf-8") for path in project_files if path.suffix == ".py"
    }


def test_imports_point_one_way(root: Path, project_files: list[Path]) -> None:
    sources = python_sources(root, project_files)
    assert "modeling_xemogpt.py" in sources
    assert [f"{path}: {why}" for path, source in sources.items() for why in violations(path, source)] == []


def test_files_are_short_enough_to_read(root: Path, project_files: list[Path]) -> None:
    lengths = {path: len(source.splitlines()) for path, source in python_sources(root, project_files).items()}
    assert {path: n for path, n in lengths.items() if n > LINE_LIMITS.get(path, 500)} == {}


def test_names_say_what_is_inside(project_files: list[Path]) -> None:
    assert [why for path in project_files if (why := misplaced(path.as_posix()))] == []
