# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The wheel: built from the tracked files alone, installed into an empty folder, used far from the repository."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from test_layering import imports, third_party

PACKAGE_FOLDERS = {"commands", "data", "eval", "hub", "inference", "train"}


def run(*command: str | Path, **kwargs: object) -> str:
    """The command's standard output; a failure shows what it said."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command} exited {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def is_packaged(path: Path) -> bool:
    """Whether the file at `path` (relative to the root) belongs into the wheel."""
    if path.parent == Path("."):
        return path.suffix in {".py", ".json", ".jinja"} and path.name != "setup.py"
    if (
        path.parts[0] in PACKAGE_FOLDERS
        and path.suffix in {".py", ".html"}
        or path.parts[0] in {"checkpoints", "recipes"}
    ):
        return True
    if path.parts[0] == "eval" and path.suffix in {".jinja", ".json", ".yaml"}:
        return True
    return path.parent == Path("data/synth") and path.suffix in {".npz", ".txt"}


@pytest.fixture(scope="module")
def wheel(root: Path, project_files: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    tree = tmp_path_factory.mktemp("a tree")  # not an identifier, as a clone's folder may be called
    for path in project_files:
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / path, tree / path)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "--no-index", "-w", tree / "dist", tree)
    return next((tree / "dist").glob("xemogpt-*.whl"))


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which the wheel is installed."""
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "-q", "--no-deps", "--no-index", "--target", target, wheel)
    return target


def run_installed(site: Path, code: str) -> str:
    """What `code` prints in a Python that finds the installed wheel, in a folder that is not the repository."""
    return run(sys.executable, "-c", code, cwd=site.parent, env={**os.environ, "PYTHONPATH": str(site)})


def test_wheel_holds_the_package_and_nothing_else(wheel: Path, project_files: list[Path]) -> None:
    with zipfile.ZipFile(wheel) as archive:
        inside = {Path(name) for name in archive.namelist() if ".dist-info/" not in name}
    expected = {Path("xemogpt") / path for path in project_files if is_packaged(path)}
    assert {"modeling_xemogpt.py", "processing_xemogpt.py"} <= {path.name for path in expected}
    assert inside == expected


def test_every_package_folder_is_a_package(project_files: list[Path]) -> None:
    folders = {path.parent for path in project_files if path.parts[0] in PACKAGE_FOLDERS and path.suffix == ".py"}
    assert {folder for folder in folders if folder / "__init__.py" not in project_files} == set()


def test_import_is_light(site: Path) -> None:
    code = "import sys, xemogpt; print(xemogpt.__file__); print(*({'torch', 'transformers'} & set(sys.modules)))"
    where, *heavy = run_installed(site, code).split()
    assert Path(where).is_relative_to(site)
    assert heavy == []


def test_every_export_loads(site: Path) -> None:
    code = "import xemogpt; print(*(name for name in xemogpt.__all__ if getattr(xemogpt, name) is not None))"
    bridges = ["AudioEmotionalCueBridge", "VideoEmotionalCueBridge"]
    classes = ["Explanation", "XEmoGPTConfig", "XEmoGPTForConditionalGeneration", "XEmoGPTModel", "XEmoGPTProcessor"]
    assert set(run_installed(site, code).split()) == {*bridges, *classes, "explain", "__version__"}


@pytest.mark.parametrize("first", ["import xemogpt.inference.explain", "from xemogpt import explain", "pass"])
def test_explain_is_the_function_whatever_was_imported_first(site: Path, first: str) -> None:
    code = (
        f"{first}\nimport xemogpt\nfrom xemogpt import explain\nprint(callable(explain), xemogpt.explain is explain)"
    )
    assert run_installed(site, code).split() == ["True", "True"]


def test_unknown_name_is_an_attribute_error(site: Path) -> None:
    code = "import xemogpt\ntry: xemogpt.XEmoGTP\nexcept AttributeError as error: print(error)"
    assert "has no attribute 'XEmoGTP'" in run_installed(site, code)


def test_help_is_light(site: Path) -> None:
    code = (
        "import sys\nfrom xemogpt.cli import main\nsys.argv = ['xemogpt', '--help']\n"
        "try: main()\nexcept SystemExit as stop: assert not stop.code\n"
        "print(*({'torch', 'transformers', 'av', 'numpy'} & set(sys.modules)))"
    )
    *text, heavy = run_installed(site, code).splitlines()
    assert "explain" in "".join(text)
    assert heavy == ""


def test_command_and_module_are_installed(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = run(site / "bin" / "xemogpt", "--help", cwd=site.parent, env=environment)
    module = run(sys.executable, "-m", "xemogpt", "--help", cwd=site.parent, env=environment)
    assert "explain" in command
    assert "explain" in module


def normalised(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_what_is_imported_is_declared(root: Path, project_files: list[Path]) -> None:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    requirements = {None: project["dependencies"], **project["optional-dependencies"]}
    declared = {
        extra: {normalised(re.split(r"[^\w.-]", line)[0]) for line in lines} for extra, lines in requirements.items()
    }
    distributions = importlib.metadata.packages_distributions()
    undeclared = []
    for path in filter(is_packaged, project_files):
        if path.suffix != ".py":
            continue
        # parts that refuse to start without their extra
        extra = {"train": "train", "eval": "eval", "data/emocue": "data"}
        allowed = declared[None].union(*(declared[extra[top]] for top in extra if path.is_relative_to(top)))
        for node, guarded in imports(ast.parse((root / path).read_text(encoding="utf-8"))):
            for name in third_party(node) - {"xemogpt"}:
                wanted = {normalised(dist) for dist in distributions.get(name, [name])}
                if not guarded and not wanted & allowed:
                    undeclared.append(f"{path}:{node.lineno} imports {name}")
    assert undeclared == []


def test_constraints_satisfy_what_is_declared(root: Path) -> None:
    packaging = pytest.importorskip("packaging.requirements")
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = (root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {normalised(name): version for name, version in (line.split("==") for line in lines if "==" in line)}
    wanted = [*project["dependencies"], *project["optional-dependencies"]["train"]]
    wanted += [line for line in project["optional-dependencies"]["dev"] if not line.startswith("xemogpt")]
    for requirement in map(packaging.Requirement, wanted + project["optional-dependencies"]["test"]):
        assert normalised(requirement.name) in pinned, f"{requirement.name} is not pinned"
        assert pinned[normalised(requirement.name)] in requirement.specifier, str(requirement)
