# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The subcommands of `xemogpt`, a module for each group; `xemogpt.cli` puts them together.

A module has `register(command)`, which calls `command(name, run, help)` for each subcommand and adds its arguments
to the parser that this returns; `run(args)` does the work and returns the exit status. At its top a module imports
nothing heavy, so that `--help` is instant.
"""

import argparse
import sys
from typing import Any, Protocol


class Command(Protocol):
    """What `register` gets: makes the parser of a subcommand."""

    def __call__(self, name: str, run: Any, text: str) -> argparse.ArgumentParser: ...


def say(message: str) -> None:
    """One line to stderr, where everything goes that is no answer."""
    print(f"xemogpt: {message}", file=sys.stderr, flush=True)
