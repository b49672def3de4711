# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What VECB adds to the tower (in the manner of Table IV): stage 1 with it and without, from the same seeds.

    python scripts/study_bridge.py --model runs/tiny-base --steps 500 --work runs/bridge --out results/tiny_bridge.json

Both variants have the same tower, cue head, data, budget and order of batches; one has nothing between tower and head,
and so no loss of the order of frames or of masked ones. Nothing is chosen on the validation clips that both are
measured on. A run that is there already is not run again (see study_runs.py).
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from study_runs import PLAIN, gain_over_seeds, rebuild_bridge, run

from xemogpt.eval.score import provenance, shown_command

MEASURES = ("media_to_text_r1", "text_to_media_r1", "uar", "war")
VARIANTS = {"VECB": 2, "no layers": 0}


def fresh(model: str, layers: int, seed: int, folder: Path) -> Path:
    """The model, as a folder, with a new video bridge and a new cue head, drawn from the seed.

    Without layers there is no bridge, and the head reads the tower. The head is drawn first, so it is the same.
    """
    from transformers import AutoProcessor, set_seed

    from xemogpt.bridges_xemogpt import VideoCueHead
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration

    whole = XEmoGPTForConditionalGeneration.from_pretrained(model)
    set_seed(seed)
    whole.model.video_cue_head = VideoCueHead(whole.config).apply(whole._init_weights).to(whole.dtype)
    rebuild_bridge(whole, "video", layers)
    whole.save_pretrained(folder)
    AutoProcessor.from_pretrained(model, trust_remote_code=True).save_pretrained(folder)
    return folder


def measured(model: str, layers: int, seed: int, work: Path, steps: int, more: Sequence[str]) -> dict[str, float]:
    """Validation measures of a run of stage 1 from a seed."""
    settings = {"model": model, "seed": seed, "max_steps": steps} | PLAIN
    if not layers:  # what relates no frames cannot learn their order
        settings |= {"temporal_weight": 0.0, "reconstruction_weight": 0.0}
    name = f"{'VECB' if layers else 'no-bridge'}-{seed}"
    out = run(
        *("stage1", "stage1.yaml", settings, more, work, name),
        start=lambda folder: fresh(model, layers, seed, folder),
        layers=layers,
    )
    found = json.loads((out / "eval_results.json").read_text(encoding="utf-8"))
    return {measure: found[f"eval_{measure}"] for measure in MEASURES}


def compared(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """Means, and the mean difference of pairs with its 95 % interval."""
    means = zip(VARIANTS, map(np.mean, (values, base)), strict=True)
    return {name: float(mean) for name, mean in means} | gain_over_seeds(values, base)


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
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    for seed in range(args.seeds):
        for name, layers in VARIANTS.items():
            runs[name].append(measured(args.model, layers, seed, args.work, args.steps, args.set))
            print(f"{name}, seed {seed}: {runs[name][-1]}", flush=True)
    found = {key: compared(*([run[key] for run in runs[name]] for name in VARIANTS)) for key in MEASURES}
    about = {
        "what": "stage 1 of the small model with VECB and without, on validation clips",
        "command": shlex.join(["python", "scripts/study_bridge.py"]) + " " + shown_command(argv or sys.argv[1:]),
        "steps": args.steps,
        "seeds": list(range(args.seeds)),
    }
    result = about | {"measures": found, "runs": runs} | provenance()
    Path(args.out).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
