# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What VECB adds (in the manner of Table IV): stage 1 with its layers and without them, from the same seeds.

    python scripts/study_bridge.py --model runs/tiny-base --steps 500 --work runs/bridge --out results/tiny_bridge.json

Both variants have the same tower, cue head, position embedding, data, budget and order of batches; one has no layer
between tower and head. Nothing is chosen on the validation clips that both are measured on. A run that is there
already is not run again.
"""

import argparse
import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from xemogpt.eval.score import provenance, shown_command

ROOT = Path(__file__).resolve().parent.parent
MEASURES = ("media_to_text_r1", "text_to_media_r1", "uar", "war")
PLAIN = {"load_best_model_at_end": "false", "eval_strategy": "no", "save_strategy": "no"}


def fresh(model: str, layers: int, seed: int, folder: Path) -> Path:
    """The model, as a folder, with a new video bridge and a new cue head, drawn from the seed.

    Without layers there is no bridge, and the head reads the tower. The head is drawn first, so it is the same.
    """
    from transformers import AutoProcessor, set_seed

    from xemogpt.bridges_xemogpt import VideoCueHead, VideoEmotionalCueBridge
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

    whole = XEmoGPTForConditionalGeneration.from_pretrained(model)
    set_seed(seed)
    head = VideoCueHead(whole.config).apply(whole._init_weights)
    whole.config.video_bridge_config.num_hidden_layers = layers
    bridge = VideoEmotionalCueBridge(whole.config.video_bridge_config, whole.config.num_frames)
    whole.model.video_cue_head = head.to(whole.dtype)
    whole.model.video_bridge = bridge.apply(whole._init_weights).to(whole.dtype)
    whole.save_pretrained(folder)
    AutoProcessor.from_pretrained(model, trust_remote_code=True).save_pretrained(folder)
    return folder


def measured(model: str, layers: int, seed: int, out: Path, steps: int, more: Sequence[str]) -> dict[str, float]:
    """Validation measures of a run of stage 1 from a seed."""
    done = out / "eval_results.json"
    if not done.is_file():
        start = fresh(model, layers, seed, out.with_name(f"{out.name}-start"))
        settings = {"model": start, "output_dir": out, "seed": seed, "max_steps": steps} | PLAIN
        sets = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        recipe = str(ROOT / "recipes/tiny/stage1.yaml")
        command = [sys.executable, "-m", "xemogpt", "train", "stage1", "--config", recipe, *sets]
        subprocess.run([*command, *more], check=True)
    found = json.loads(done.read_text(encoding="utf-8"))
    return {name: found[f"eval_{name}"] for name in MEASURES}


def compared(with_layers: Sequence[float], without: Sequence[float]) -> dict[str, Any]:
    """Means, and the mean difference of pairs with its 95 % interval (Student's t)."""
    gain = np.subtract(with_layers, without)
    spread = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    return {
        "VECB": float(np.mean(with_layers)),
        "no layers": float(np.mean(without)),
        "gain": float(gain.mean()),
        "interval": [float(gain.mean() - spread), float(gain.mean() + spread)],
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Train, compare, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, metavar="DIR", help="an XEmoGPT whose vision tower is trained")
    parser.add_argument("--steps", type=int, default=500, metavar="N")
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="2 at least")
    parser.add_argument("--work", required=True, type=Path, metavar="DIR", help="where the runs are kept")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="of the recipe, as for `train`"
    )
    parser.add_argument("--out", required=True, metavar="FILE.json")
    args = parser.parse_args(argv)
    if args.seeds < 2:
        parser.error("--seeds: an interval takes 2 at least")
    more = [part for each in args.set for part in ("--set", each)]
    variants = {"VECB": 2, "no layers": 0}
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in variants}
    for seed in range(args.seeds):
        for name, layers in variants.items():
            out = args.work / f"{name.replace(' ', '-')}-{seed}-{args.steps}"
            runs[name].append(measured(args.model, layers, seed, out, args.steps, more))
            print(f"{name}, seed {seed}: {runs[name][-1]}", flush=True)
    found = {key: compared(*([run[key] for run in runs[name]] for name in variants)) for key in MEASURES}
    about = {
        "what": "stage 1 of the small model with the layers of VECB and without, on validation clips",
        "command": shlex.join(["python", "scripts/study_bridge.py"]) + " " + shown_command(argv or sys.argv[1:]),
        "steps": args.steps,
        "seeds": list(range(args.seeds)),
    }
    result = about | {"measures": found, "runs": runs} | provenance()
    Path(args.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
