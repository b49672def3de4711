# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt explain`: one or many clips, to the terminal or into a results file."""

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING

from xemogpt.commands import Command, say
from xemogpt.data.jsonl import json_line
from xemogpt.inference.clips import Clip, gather_clips
from xemogpt.inference.explanation import Decoding, Explanation, Question, Rejection
from xemogpt.prompts_xemogpt import LANGUAGES, TASKS

if TYPE_CHECKING:
    from xemogpt.inference.explainer import Explainer

MODEL_ARGUMENTS = ("model", "adapter", "device", "dtype", "trust_remote_code", "revision")
SEED = 0


def register(command: Command) -> None:
    """Add `explain`."""
    parser = command("explain", run_explain, "explain one or many clips")
    add = parser.add_argument
    row = '{"video": ..., "audio": ..., "subtitle": ..., "id": ...}'
    add("clips", nargs="+", metavar="CLIP", help=f"video or sound file, folder, or .jsonl manifest with rows {row}")
    add("--subtitle", metavar="TEXT|FILE", help="what is said, as text or .srt/.vtt file; for one clip")
    add("--audio", metavar="FILE|none", help="sound in place of the video's own track; none: without sound")
    add("--task", choices=TASKS, default="reason", help="default: %(default)s, from both modalities")
    add("--language", choices=LANGUAGES, default="en", help="of the prompt and the answer (default: %(default)s)")
    add("--instruction", metavar="TEXT", help="ask this in place of the task's own prompt")

    add_model(parser)
    search = parser.add_argument_group("search", "deterministic, whichever is chosen")
    search.add_argument("--max-new-tokens", type=int, default=512, metavar="N", help="default: %(default)s")
    kind = search.add_mutually_exclusive_group()
    kind.add_argument("--beams", type=int, default=1, metavar="N", help="beam search (default: greedy)")
    kind.add_argument("--sample", action="store_true", help="draw at random, the same under the same --seed")
    for option, convert, name, default in (
        ("--temperature", float, "T", Decoding.temperature),
        ("--top-p", float, "P", Decoding.top_p),
        ("--seed", int, "N", SEED),
    ):
        search.add_argument(option, type=convert, metavar=name, help=f"of --sample (default: {default})")

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


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that say which model, and where it runs."""
    add = parser.add_argument_group("model").add_argument
    add(
        "--model",
        metavar="ID|DIR",
        help="folder or Hub id (default: that of the adapter, or the embedded small model)",
    )
    add("--revision", metavar="NAME", help="of a Hub id: a branch, tag or commit (default: main)")
    add("--adapter", metavar="DIR", help="a PEFT adapter on top of it")
    add("--device", help="cuda, cpu, mps, ... (default: cuda if there is one, else cpu)")
    add("--dtype", help="int8 on the CPU; default: bfloat16 on cuda, elsewhere what the checkpoint holds")
    add(
        "--trust-remote-code",
        action="store_true",
        default=None,
        help="allow a model from the Hub to run the code it brings (folders that --model names may always)",
    )


def run_explain(args: argparse.Namespace) -> int:
    """`xemogpt explain`."""
    question = Question(args.task, args.language, args.instruction)
    decoding = _decoding(args)
    clips = gather_clips(args.clips)
    single = len(clips) == 1 and clips[0].name == args.clips[0]
    _check_explain(args, single)
    given = {name: getattr(args, name) for name in ("audio", "subtitle") if getattr(args, name) is not None}
    clips = [replace(clip, **given) for clip in clips]  # of a manifest's row only what the command line names
    model = {name: getattr(args, name) for name in MODEL_ARGUMENTS}
    if args.out is not None:
        from xemogpt.inference.batch import explain_files

        more = {"batch_size": args.batch_size, "retry_rejects": args.retry_rejects}
        summary = explain_files(clips, args.out, question=question, decoding=decoding, **model, **more)
        say(f"{summary} -> {args.out}")
        if summary.note:
            say(f"note: {summary.note}")
        return 1 if summary.rejected else 0

    if single:
        from xemogpt.media_xemogpt import probe

        for medium in (args.clips[0], args.audio):  # what cannot be read is said at once, before the model is loaded
            if medium not in (None, "none"):
                probe(medium)
    from xemogpt.inference.explain import load_explainer

    explainer = load_explainer(**model)
    if single:
        return _explain_one(args, explainer, clips[0], question, decoding)
    rejected = 0
    for outcome in explainer.explain_each(clips, question, decoding, args.batch_size):
        if isinstance(outcome, Rejection):
            rejected += 1
            named = "" if outcome.clip.name in outcome.reason else f"{outcome.clip.name}: "
            say(f"rejected: {named}{outcome.reason}")
        elif args.json:
            _print_json(outcome)
        else:
            print(f"== {outcome.id or outcome.video or outcome.audio}\n{outcome}\n", flush=True)
    return 1 if rejected else 0


def _decoding(args: argparse.Namespace) -> Decoding:
    given = {name: getattr(args, name) for name in ("temperature", "top_p", "seed") if getattr(args, name) is not None}
    if given and not args.sample:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise ValueError(f"{names}: of --sample alone; without it the answer is the likeliest")
    return Decoding(args.max_new_tokens, args.beams, args.sample, **{"seed": SEED} | given)


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
