# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Speed and memory: load, media, first token, tokens/s, clips/s and peak memory, beside what bounds each of them.

    python -m xemogpt.eval.speed --random 0.6b --decode compile --out results/x.json

Each configuration runs in a process of its own, so that its peak memory is its own. The machine's limits (matrix
product, reading and copying memory) are measured in that same process, before and after: figures and limits share
whatever else the machine was doing. `--random` measures random weights of the real towers' sizes, written once.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

from xemogpt.eval.limits import busy, spread
from xemogpt.eval.measure import QWEN3, SEED

ROOT = Path(__file__).resolve().parent.parent
REPEATS = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Measures every configuration asked for and writes them all as one JSON file."""
    args = parser().parse_args(argv)
    if not Path(args.clip).is_file():
        raise SystemExit(f"{args.clip}: no such clip; pass one with --clip")
    settings = {
        "model": Path(args.model).name if args.model else f"random-{args.random}",
        "clip": Path(args.clip).name,
        "subtitle": args.subtitle,
        "device": args.device,
        "dtype": args.dtype,
        "new_tokens": args.new_tokens,
        "repeats": args.repeats,
        "threads": args.threads,
    }
    if args.model:
        folder = str(Path(args.model).resolve())
    else:
        folder = _worker(args, {"job": "compose", "size": args.random})["folder"]
    job = {**settings, "model": folder, "clip": str(Path(args.clip).resolve())}
    loads = [_worker(args, {**job, "job": "load"}) for _ in range(args.repeats)]
    result: dict[str, Any] = {
        "machine": machine(),
        "versions": {"python": platform.python_version()}
        | {name: version(name) for name in ("torch", "transformers", "av", "numpy")},
        **commit(),
        "seed": SEED,
        "settings": settings,
        "load": {
            **{
                name: spread([load[name] for load in loads])
                for name in ("import_s", "model_s", "processor_s", "load_s")
            },
            "peak_bytes": max(load["peak_bytes"] for load in loads),
            "bound": loads[-1]["bound"],
        },
        "runs": [],
    }
    out = Path(args.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    for decode, batch in product(args.decode, args.batch):
        repeats = args.repeats if batch == 1 else 1
        result["runs"].append(
            _worker(args, {**job, "job": "run", "batch": batch, "decode": decode, "repeats": repeats})
        )
        out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")  # what is done stays if the rest is not
    sys.stderr.write(f"wrote {out}\n")


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="xemogpt.eval.speed", description=(__doc__ or "").partition("\n")[0])
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--model", metavar="DIR", help="a model folder")
    which.add_argument("--random", choices=list(QWEN3), default="0.6b", help="random weights of real sizes (0.6b)")
    parser.add_argument("--clip", default=str(ROOT / "examples" / "portrait.mp4"), metavar="FILE")
    parser.add_argument("--subtitle", default="Well, goodbye.", metavar="TEXT")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch", type=int, nargs="+", default=[1], metavar="N")
    parser.add_argument("--decode", nargs="+", choices=("eager", "static", "compile", "int8"), default=["eager"])
    parser.add_argument("--new-tokens", type=int, default=32, metavar="N")
    parser.add_argument("--repeats", type=int, default=REPEATS, metavar="N", help="of everything at batch 1")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), metavar="N")
    parser.add_argument("--out", default="speed.json", metavar="FILE")
    return parser


def _worker(args: argparse.Namespace, job: dict[str, Any]) -> dict[str, Any]:
    """One job in a fresh process; this process stays small, since a child's peak starts at its parent's size."""
    sys.stderr.write(" ".join(str(job[key]) for key in ("job", "decode", "batch") if key in job) + " ...\n")
    done = subprocess.run(
        [sys.executable, "-m", "xemogpt.eval.measure", json.dumps(job)],
        env={**os.environ, "OMP_NUM_THREADS": str(args.threads), "HF_HUB_DISABLE_PROGRESS_BARS": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise SystemExit(f"measuring {job['job']} failed; see the message above")
    return json.loads(done.stdout.splitlines()[-1])


def machine() -> dict[str, Any]:
    """Processor, cores, memory in bytes, GPU, and how busy the machine is (load average of the last minute)."""
    cpu = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        cpu = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), cpu)
    except OSError:  # not Linux
        pass
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        query = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    except (OSError, subprocess.CalledProcessError, IndexError):
        gpu = None
    return {"cpu": cpu, "cores": os.cpu_count(), "memory_bytes": memory, "gpu": gpu, "load_average": busy()}


def commit() -> dict[str, Any]:
    """The commit measured, and whether tracked files differ from it; None outside a checkout."""

    def git(*command: str) -> str | None:
        done = subprocess.run(["git", *command], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    status = git("status", "--porcelain", "--untracked-files=no")
    return {"commit": git("rev-parse", "HEAD"), "dirty": None if status is None else bool(status)}


if __name__ == "__main__":
    main()
