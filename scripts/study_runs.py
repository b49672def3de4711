# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What studies that train share: runs that are known by all they depend on, bridges taken out, gains over seeds.

A run lies in a folder whose name ends in a digest of its settings and of every file that it reads, so that one of
other settings, weights or data is never taken for it. `depends.json` in it says what the digest is of.
"""

import hashlib
import importlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

ROOT = Path(__file__).resolve().parent.parent
READ = ("model", "video_bridge", "audio_bridge", "adapter")  # settings that name a folder of weights
WEIGHTS = ("*.safetensors", "config.json", "adapter_config.json")
PLAIN = {"load_best_model_at_end": False, "eval_strategy": "no", "save_strategy": "no"}  # short runs, nothing chosen


def digest(path: str | Path) -> str:
    """Of a file its bytes, of a model folder its weights and configurations.

    Raises:
        FileNotFoundError: there is none.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(each for pattern in WEIGHTS for each in path.glob(pattern))
    if not files:
        raise FileNotFoundError(f"{path}: is no file, and no folder with weights")
    found = hashlib.sha256()
    for each in files:
        with each.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:16]


def depends(stage: str, recipe: Path, sets: Sequence[str]) -> dict[str, Any]:
    """What decides a run: recipe, settings, and every manifest and folder of weights that it reads (not the media).

    Args:
        stage: as for `xemogpt train`. sets: KEY=VALUE, which win over the recipe.
    """
    import xemogpt
    from xemogpt.commands.train import STAGES
    from xemogpt.train.recipe import load_recipe, training_class

    arguments = importlib.import_module(f"xemogpt.train.{STAGES[stage]}").Arguments
    given: Any = load_recipe(recipe, sets, arguments, training_class(stage))[0]
    read = [each["manifest"] for each in (*given.data, *given.eval_data)]
    read += [path for part in READ if (path := getattr(given, part, None))]
    files = {str(path): digest(path) for path in read}
    settings = {key: value for key, _, value in (each.partition("=") for each in sets)}  # the last of a key wins
    known = {"xemogpt": xemogpt.__version__, "stage": stage, "recipe": digest(recipe)}
    return known | {"settings": settings, "files": files}


def run(
    stage: str,
    recipe: str,
    settings: Mapping[str, Any],
    more: Sequence[str],
    work: Path,
    name: str,
    start: Callable[[Path], Any] | None = None,
    **also: Any,
) -> Path:
    """The folder of a run of a stage, which is made unless it is there already.

    Args:
        recipe: of recipes/tiny. settings: in place of the recipe's. more: KEY=VALUE, which win over both.
        start: makes the model to start from, if the run is made, into a folder that is removed afterwards.
        also: what the run depends on beside recipe, settings and files.
    """
    path = ROOT / "recipes/tiny" / recipe
    sets = [*(f"{key}={json.dumps(value, default=str)}" for key, value in settings.items()), *more]
    told = json.dumps(depends(stage, path, sets) | also, indent=1, sort_keys=True)
    out = work / f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:10]}"
    if all((out / each).is_file() for each in ("trainer_state.json", "README.md")):  # written last
        return out
    out.mkdir(parents=True, exist_ok=True)
    (out / "depends.json").write_text(told + "\n", encoding="utf-8")
    if start is not None:
        sets.append(f"model={start(out / 'start')}")
    words = [part for each in (*sets, f"output_dir={out}") for part in ("--set", each)]
    subprocess.run([sys.executable, "-m", "xemogpt", "train", stage, "--config", str(path), *words], check=True)
    shutil.rmtree(out / "start", ignore_errors=True)
    return out


def rebuild_bridge(whole: Any, media: str, layers: int) -> None:
    """Puts a new bridge of so many layers into an `XEmoGPTForConditionalGeneration`; 0 takes it out."""
    from xemogpt.bridges_xemogpt import AudioEmotionalCueBridge, VideoEmotionalCueBridge

    name = f"{media}_bridge"
    config = getattr(whole.config, f"{name}_config")
    config.num_hidden_layers = layers
    frames = whole.config.num_frames
    bridge = VideoEmotionalCueBridge(config, frames) if media == "video" else AudioEmotionalCueBridge(config)
    setattr(whole.model, name, bridge.apply(whole._init_weights).to(whole.dtype))
    parts = [part for part in whole.config.untrained_parts if part != name]
    whole.config.untrained_parts = [*parts, name] if layers else parts


def gain_over_seeds(values: Sequence[float], base: Sequence[float]) -> dict[str, Any]:
    """The mean difference of pairs of runs, one of each seed, with its 95 % interval (Student's t)."""
    gain = np.subtract(values, base)
    spread = stats.t.ppf(0.975, len(gain) - 1) * gain.std(ddof=1) / np.sqrt(len(gain))
    return {"gain": float(gain.mean()), "interval": [float(gain.mean() - spread), float(gain.mean() + spread)]}
