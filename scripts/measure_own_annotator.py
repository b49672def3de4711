# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A whole build by a real model behind a real server, killed again and again; and what its cues are worth.

    python scripts/measure_own_annotator.py --corpus corpus/test_* corpus/validation corpus/train --clips 2000 \
        --work runs/annotated --out results/emocue_own_annotator.json

XEmoGPT behind its own server (`xemogpt.inference.server`) is asked by `xemogpt build-emocue`, in a process of its own
that gets SIGKILL at random times and is started again. Afterwards every clip must be published or rejected, once;
requests are counted where they arrive. The clips are rendered, so the published cues can be checked.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from study_annotator import all_cues, cue_types

from xemogpt.data.jsonl import read_rows
from xemogpt.data.synth.exact import Truth, exact_cues, read_truth

NAME = "xemogpt-tiny"
SEED = 0
PASSES = [
    {"name": "visual", "endpoint": "mllm", "prompt": "emocue-visual-1", "sees": ["frames"], "given": ["subtitle"]},
    {"name": "audio", "endpoint": "mllm", "prompt": "emocue-audio-1", "sees": ["audio"], "given": ["subtitle"]},
]


def linked(splits: Sequence[Path], count: int, folder: Path) -> dict[str, Truth]:
    """A folder with the first so many clips of the splits and their manifest; what each of them shows."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    truth: dict[str, Truth] = {}
    for split in splits:
        known = read_truth(split / "truth.jsonl")
        for row in islice(read_rows(split / "manifest.jsonl"), count - len(rows)):
            target = folder / row["video"]
            if not target.exists():
                shutil.copyfile(split / row["video"], target)
            rows.append({key: row[key] for key in ("id", "video", "subtitle", "label", "split") if key in row})
            truth[row["id"]] = known[row["id"]]
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return truth


def served(model: str | None, batch_size: int, arrived: list[float]) -> str:
    """The address of a server in a thread of this process; the times of its requests are added to `arrived`."""
    import uvicorn

    from xemogpt.inference.explain import load_explainer
    from xemogpt.inference.server import make_app

    app = make_app(load_explainer(model), NAME, batch_size=batch_size)

    async def counted(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            arrived.append(time.monotonic())
        await app(scope, receive, send)

    server = uvicorn.Server(uvicorn.Config(counted, port=0, log_level="warning", lifespan="off"))
    threading.Thread(target=server.run, daemon=True).start()
    while not server.started:
        time.sleep(0.05)
    return f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/v1"


def built(recipe: Path, kills: int, between: tuple[float, float]) -> tuple[int, float]:
    """Builds, killed so many times at random; how often it was killed before it was through, and seconds in all."""
    command = [sys.executable, "-m", "xemogpt", "build-emocue", "--recipe", str(recipe)]
    dice, done, seconds = random.Random(SEED), 0, 0.0
    while True:
        started = time.monotonic()
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        try:
            code = process.wait(dice.uniform(*between) if done < kills else None)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            code = process.wait()
            done += 1
            print(f"killed {done} times", flush=True)
        seconds += time.monotonic() - started
        if code == 0:
            return done, seconds
        if code != -signal.SIGKILL:
            raise RuntimeError(f"the build ended with {code}")


def checked(dataset: Path, truth: dict[str, Truth]) -> dict[str, Any]:
    """Every clip exactly once; what was rejected, and what the published cues of clips tell, read exactly.

    Raises:
        ValueError: a clip is missing, or there twice.
    """
    rows = {name: list(read_rows(dataset / f"{name}.jsonl")) for name in ("provenance", "rejects")}
    ends = Counter(row["id"] for each in rows.values() for row in each)
    if wrong := [name for name in truth.keys() | ends.keys() if ends[name] != 1 or name not in truth]:
        raise ValueError(f"{len(wrong)} clips are not there exactly once, as {min(wrong)}")
    told = {row["id"]: set().union(*map(cue_types, row["cues"])) for row in rows["provenance"]}
    said = [dict.fromkeys(cues, 1) for cues in told.values()]
    scores = exact_cues(said, [truth[name].cues for name in told]) if told else {}
    kept = ("precision", "recall", "f1", "floor")
    return {
        "published": len(rows["provenance"]),
        "rejected": dict(Counter(f"{row['stage']}: {row['reason']}" for row in rows["rejects"])),
        "cues": len(all_cues(rows["provenance"])),
        "cues_read": sum(map(len, told.values())),
        "exact": {key: {name: scores[key][name] for name in kept} for key in ("visual", "audio", "all") if scores},
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, build, kill, check, write."""
    from xemogpt.eval.score import provenance, shown_command

    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--model", metavar="M", help="folder or Hub id; default: the embedded model")
    add("--corpus", required=True, nargs="+", type=Path, metavar="DIR", help="splits that `xemogpt synth` made")
    add("--clips", type=int, default=2000, metavar="N", help="the first N of them (default: %(default)s)")
    add("--kills", type=int, default=10, metavar="N", help="default: %(default)s")
    add("--between", type=float, nargs=2, default=(20.0, 120.0), metavar="S", help="least and most before a kill")
    add("--in-flight", type=int, default=8, metavar="N", help="requests at a time (default: %(default)s)")
    add("--work", required=True, type=Path, metavar="DIR", help="where clips and build lie")
    add("--out", required=True, type=Path, metavar="FILE.json")
    args = parser.parse_args(argv)
    if (args.work / "built").exists():
        parser.error(f"--work: {args.work} holds a build, whose requests nobody has counted: name another folder")
    truth = linked(args.corpus, args.clips, args.work / "clips")
    arrived: list[float] = []
    endpoint = {"base_url": served(args.model, args.in_flight, arrived), "model": NAME, "in_flight": args.in_flight}
    endpoint |= {"attempts": 1, "max_tokens": 256, "timeout": 600}
    recipe = args.work / "recipe.yaml"
    source = {"reader": "manifest", "root": str(args.work / "clips")}
    settings = {"input": source, "out": str(args.work / "built"), "endpoints": {"mllm": endpoint}, "infer": PASSES}
    recipe.write_text(json.dumps(settings), encoding="utf-8")
    killed, seconds = built(recipe, args.kills, tuple(args.between))
    logs = (args.work / "built").glob("infer-*/requests-*.jsonl")
    asked = [row for path in logs for row in read_rows(path)]
    needed = {(row["clip"], row["purpose"]) for row in asked}
    about = {
        "what": "a build by XEmoGPT behind its own server, killed at random; its published cues, read exactly",
        "command": f"python scripts/measure_own_annotator.py {shown_command(argv or sys.argv[1:])}",
        "clips": len(truth),
        "in_flight": args.in_flight,
        "killed": killed,
        "seconds": round(seconds, 1),
        "clips_per_s": round(len(truth) / seconds, 3),
        "requests": {
            "needed": len(needed),
            "arrived": len(arrived),
            "repeated": len(arrived) / len(needed) - 1,
        },
    }
    result = about | checked(args.work / "built/dataset", truth) | provenance() | {"seed": SEED}
    args.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps({key: result[key] for key in ("killed", "requests", "published", "rejected", "exact")}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
