# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Make the repository root installable as the package `xemogpt`; everything else is declared in pyproject.toml."""

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

SUBPACKAGES = find_packages(include=["commands*", "data*", "eval*", "hub*", "inference*", "train*"])


class BuildWithoutSetup(build_py):
    """`setup.py` lies in the package's own folder but is no module of it."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        modules = super().find_package_modules(package, package_dir)
        return [entry for entry in modules if entry[:2] != ("xemogpt", "setup")]


if __name__ == "__main__":
    setup(
        package_dir={"xemogpt": "."},
        packages=["xemogpt", *(f"xemogpt.{name}" for name in SUBPACKAGES)],
        package_data={
            "xemogpt": [
                "*.json",
                "*.jinja",
                "checkpoints/xemogpt-tiny/*",
                "recipes/**/*.yaml",
                "recipes/*.sh",
                "eval/*.json",
                "eval/*.jinja",
                "eval/benchmarks/*.yaml",
                "data/synth/*.npz",
                "data/synth/*.txt",
            ],
            "xemogpt.data.review": ["*.html"],
        },
        cmdclass={"build_py": BuildWithoutSetup},
    )
