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
import os
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from xemogpt import __version__
from xemogpt.inference.clips import Clip, gather_clips
from xemogpt.inference.explanation import Decoding, Explanation, Question, Rejection, json_line, one_line
from xemogpt.prompts_xemogpt import LANGUAGES, TASKS

if TYPE_CHECKING:
    from xemogpt.inference.explainer import Explainer


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
        _say(f"error: {one_line(error)}{'' if expected else ' (--debug shows where)'}")
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

    _add_explain(command("explain", run_explain, "explain one or many clips"))

    info = command("info", run_info, "show a model's parts, sizes and tokens per second, without loading weights")
    info.add_argument("model", nargs="?", metavar="MODEL", help="folder or Hub id (default: the embedded small model)")
    info.add_argument("--json", action="store_true", help="print JSON")

    convert = command("convert-release", run_convert, "convert a checkpoint of the authors' release to a model folder")
    convert.add_argument("--checkpoint", required=True, metavar="FILE", help="the .ckpt, whole or its trained part")
    convert.add_argument("--clip", required=True, metavar="DIR", help="CLIP, folder or Hub id")
    convert.add_argument("--hubert", required=True, metavar="DIR", help="HuBERT, folder or Hub id")
    convert.add_argument("--llm", required=True, metavar="DIR", help="the LLM, folder or Hub id")
    convert.add_argument("--out", required=True, metavar="DIR", help="folder to write; must not exist or be empty")
    convert.add_argument("--lora-alpha", type=float, metavar="N", help="LoRA's alpha (default: its rank)")
    convert.add_argument("--keep-lora", action="store_true", help="write an adapter instead of merging it")
    convert.add_argument("--dtype", help="of the weights written (default: the LLM's own)")

    compose = command("compose", run_compose, "put a new model together from backbones; its bridges are untrained")
    for part, example in (("vision", "an image encoder"), ("audio", "HuBERT or Whisper"), ("text", "a causal LLM")):
        compose.add_argument(f"--{part}", required=True, metavar="ID|DIR", help=f"{example}, folder or Hub id")
    compose.add_argument("--out", required=True, metavar="DIR", help="folder to write; must not exist or be empty")
    compose.add_argument("--dtype", help="of all weights (default: each part as it comes)")

    command("tiny", run_tiny, "print the folder of the embedded small model, which is made first if need be")
    return parser


def _add_explain(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    row = '{"video": ..., "audio": ..., "subtitle": ..., "id": ...}'
    add("clips", nargs="+", metavar="CLIP", help=f"video or sound file, folder, or .jsonl manifest with rows {row}")
    add("--subtitle", metavar="TEXT|FILE", help="what is said, as text or .srt/.vtt file; for one clip")
    add("--audio", metavar="FILE|none", help="sound in place of the video's own track; none: without sound")
    add("--task", choices=TASKS, default="reason", help="default: %(default)s, from both modalities")
    add("--language", choices=LANGUAGES, default="en", help="of the prompt and the answer (default: %(default)s)")
    add("--instruction", metavar="TEXT", help="ask this in place of the task's own prompt")

    model = parser.add_argument_group("model")
    model.add_argument("--model", metavar="ID|DIR", help="folder or Hub id (default: the embedded small model)")
    model.add_argument("--adapter", metavar="DIR", help="a PEFT adapter on top of it")
    model.add_argument("--device", help="cuda, cpu, mps, ... (default: cuda if there is one, else cpu)")
    model.add_argument("--dtype", help="default: bfloat16 on cuda, elsewhere what the checkpoint holds")
    model.add_argument(
        "--trust-remote-code",
        action="store_true",
        default=None,
        help="allow a model from the Hub to run the code it brings (folders may always)",
    )

    search = parser.add_argument_group("search", "deterministic, whichever is chosen")
    search.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="default: %(default)s")
    kind = search.add_mutually_exclusive_group()
    kind.add_argument("--beams", type=int, default=1, metavar="N", help="beam search (default: greedy)")
    kind.add_argument("--sample", action="store_true", help="draw at random, the same under the same --seed")
    search.add_argument(
        "--temperature", type=float, default=0.7, metavar="T", help="of --sample (default: %(default)s)"
    )
    search.add_argument("--top-p", type=float, default=0.9, metavar="P", help="of --sample (default: %(default)s)")
    search.add_argument("--seed", type=int, default=0, metavar="N", help="of --sample (default: %(default)s)")

    output = parser.add_argument_group("output")
    output.add_argument("--stream", action="store_true", help="print the answer as it comes; for one clip")
    output.add_argument("--json", action="store_true", help="print one JSON object a clip")
    output.add_argument(
        "--out",
        metavar="FILE.jsonl",
        help="write one row a clip, and go on where a killed run was; clips that cannot be explained go to "
        "rejects.jsonl beside it",
    )
    output.add_argument("--retry-rejects", action="store_true", help="with --out: try those again")
    output.add_argument(
        "--batch-size", type=int, default=8, metavar="N", help="clips at a time (default: %(default)s)"
    )


def run_explain(args: argparse.Namespace) -> int:
    """`xemogpt explain`."""
    question = Question(args.task, args.language, args.instruction)
    decoding = Decoding(args.max_new_tokens, args.beams, args.sample, args.temperature, args.top_p, args.seed)
    clips = gather_clips(args.clips)
    single = len(clips) == 1 and clips[0].name == args.clips[0]
    _check_explain(args, single)
    given = {name: getattr(args, name) for name in ("audio", "subtitle") if getattr(args, name) is not None}
    clips = [replace(clip, **given) for clip in clips]  # of a manifest's row only what the command line names
    model = {name: getattr(args, name) for name in ("model", "adapter", "device", "dtype", "trust_remote_code")}
    if args.out is not None:
        from xemogpt.inference.batch import explain_files

        more = {"batch_size": args.batch_size, "retry_rejects": args.retry_rejects}
        summary = explain_files(clips, args.out, question=question, decoding=decoding, **model, **more)
        _say(f"{summary} -> {args.out}")
        if summary.caution:
            _say(f"note: {summary.caution}")
        return 1 if summary.rejected else 0

    if single:
        from xemogpt.media_xemogpt import probe

        probe(args.clips[0])  # a file that cannot be read is said at once, not after the model is loaded
    from xemogpt.inference.explain import load_explainer

    explainer = load_explainer(**model)
    if single:
        return _explain_one(args, explainer, clips[0], question, decoding)
    rejected = 0
    for outcome in explainer.explain_each(clips, question, decoding, args.batch_size):
        if isinstance(outcome, Rejection):
            rejected += 1
            named = "" if outcome.clip.name in outcome.reason else f"{outcome.clip.name}: "
            _say(f"rejected: {named}{outcome.reason}")
        elif args.json:
            _print_json(outcome)
        else:
            print(f"== {outcome.id or outcome.video or outcome.audio}\n{outcome}\n", flush=True)
    return 1 if rejected else 0


def _check_explain(args: argparse.Namespace, single: bool) -> None:
    if not single and (args.subtitle is not None or args.audio not in (None, "none")):
        raise ValueError("--subtitle and --audio FILE are for one clip; name them in a .jsonl manifest for many")
    if args.stream and (not single or args.json or args.out or args.beams > 1):
        raise ValueError("--stream is for one clip and goes with neither --json, --out nor --beams")
    if args.retry_rejects and not args.out:
        raise ValueError("--retry-rejects needs --out, beside which the rejects are listed")
    if args.batch_size < 1:
        raise ValueError(f"--batch-size must be at least 1, not {args.batch_size}")


def _explain_one(
    args: argparse.Namespace, explainer: "Explainer", clip: Clip, question: Question, decoding: Decoding
) -> int:
    streamer = None
    if args.stream:
        from transformers import TextStreamer

        streamer = TextStreamer(explainer.processor.tokenizer, skip_prompt=True, skip_special_tokens=True)
    (answer,) = explainer.explain([clip], question, decoding, streamer)
    if args.json:
        _print_json(answer)
    else:
        print(f"\n{answer.evidence}" if args.stream else answer)
    return 0


def _print_json(answer: Explanation) -> None:
    print(json_line(answer.to_dict()).decode(), end="", flush=True)


def run_info(args: argparse.Namespace) -> int:
    """`xemogpt info`."""
    import json

    from xemogpt.hub.info import describe

    description = describe(args.model)
    print(json.dumps(description.to_dict(), indent=1, ensure_ascii=False) if args.json else description)
    return 0


def run_convert(args: argparse.Namespace) -> int:
    """`xemogpt convert-release`."""
    from xemogpt.hub.convert_release import convert

    more = {"lora_alpha": args.lora_alpha, "keep_lora": args.keep_lora, "dtype": args.dtype}
    print(convert(args.checkpoint, args.clip, args.hubert, args.llm, args.out, **more))
    return 0


def run_compose(args: argparse.Namespace) -> int:
    """`xemogpt compose`."""
    from xemogpt.hub.compose import compose
    from xemogpt.hub.info import describe

    print(describe(compose(args.vision, args.audio, args.text, args.out, dtype=args.dtype)))
    return 0


def run_tiny(args: argparse.Namespace) -> int:
    """`xemogpt tiny`."""
    from xemogpt.hub.tiny import tiny_path

    print(tiny_path())
    return 0


def _say(message: str) -> None:
    print(f"xemogpt: {message}", file=sys.stderr, flush=True)


@contextmanager
def _quiet(verbose: bool) -> Iterator[None]:
    """Within, libraries keep their remarks and bars to themselves, and our own warnings are one line each."""
    if verbose:
        yield
        return
    with warnings.catch_warnings(), _quiet_transformers():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("default", category=UserWarning, module=r"(xemogpt|transformers_modules)\b")
        warnings.showwarning = lambda message, *_, **__: _say(f"warning: {' '.join(str(message).split())}")
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
