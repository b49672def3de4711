# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The `xemogpt` command.

    xemogpt explain clip.mp4
    xemogpt explain clips/ --out results.jsonl
    xemogpt info
    xemogpt compose --vision openai/clip-vit-large-patch14 --audio TencentGameMate/chinese-hubert-large \
        --text Qwen/Qwen3-4B --out xemogpt-4b

Answers go to stdout, everything else to stderr. Exit status: 0, 1 where clips were rejected, 2 for an error, 130 after
Ctrl-C. Nothing heavy is imported before a subcommand runs, so that `--help` is instant.
"""

import argparse
import importlib
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from xemogpt import __version__
from xemogpt.commands import say
from xemogpt.data.jsonl import one_line

# Modules of `xemogpt.commands`, in the order of the help.
GROUPS = ("explain", "serve", "evaluate", "cues", "models", "data", "synth", "review", "train")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    args = make_parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # an answer in Chinese must not fail on a terminal that cannot show it
            stream.reconfigure(errors="backslashreplace")
    try:
        with _quiet(args.verbose):
            status = args.run(args)
            sys.stdout.flush()
            return status
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has gone, as in `xemogpt ... | head`; nothing is left to say it to
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except Exception as error:
        if args.debug:
            raise
        expected = isinstance(error, (ValueError, OSError, ImportError))
        say(f"error: {one_line(error)}{'' if expected else ' (--debug shows where)'}")
        return 2


def make_parser() -> argparse.ArgumentParser:
    """The command line of all subcommands."""
    parser = argparse.ArgumentParser(prog="xemogpt", description="Explain the emotion in a clip from its cues.")
    parser.add_argument("--version", action="version", version=f"xemogpt {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--verbose", action="store_true", help="show what the libraries underneath have to say")
    shared.add_argument(
        "--debug",
        action="store_true",
        default=os.environ.get("XEMOGPT_DEBUG") == "1",
        help="show the traceback of an error (also: XEMOGPT_DEBUG=1)",
    )

    def command(name: str, run: Any, text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[shared], help=text, description=f"{text[0].upper()}{text[1:]}.")
        added.set_defaults(run=run)
        return added

    for group in GROUPS:
        importlib.import_module(f"xemogpt.commands.{group}").register(command)
    return parser


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Within, libraries keep their remarks and bars to themselves, and our own warnings are one line each."""
    if verbose:
        yield
        return
    with warnings.catch_warnings(), _quiet_transformers():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"(xemogpt|transformers_modules)\b")
        warnings.showwarning = lambda message, *_, **__: say(f"warning: {' '.join(str(message).split())}")
        yield


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    if "transformers" not in sys.modules:  # to import it would be slow, and it reads these when it is imported
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_VERBOSITY", "error")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        yield
        return
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
