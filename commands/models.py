# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How model folders come to be and what they hold: `info`, `convert-release`, `compose`, `tiny`."""

import argparse

from xemogpt.commands import Command


def register(command: Command) -> None:
    """Add the subcommands."""
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

    tiny = command("tiny", run_tiny, "print the folder of the embedded small model, which is made first if need be")
    tiny.add_argument("--out", metavar="DIR", help="folder to make (default: in $XEMOGPT_HOME or ~/.cache/xemogpt)")
    tiny.add_argument("--llm", metavar="ID|DIR", help="SmolLM2-135M-Instruct (default: out of an installed wheel)")
    tiny.add_argument("--audio", metavar="ID|DIR", help="Whisper tiny.en (default: out of an installed wheel)")
    tiny.add_argument("--vision", metavar="DIR", help="vision tower of stage 0, to train what stands on it")
    tiny.add_argument("--force", action="store_true", help="make it anew even where the folder is complete")


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
    from xemogpt.hub.tiny import assemble_tiny

    print(assemble_tiny(args.out, args.llm, args.audio, args.vision, args.force))
    return 0
