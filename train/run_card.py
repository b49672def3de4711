# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The model card of a training run, written from the run itself: data, settings, losses, versions."""

import dataclasses
import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

SETTINGS = (
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "weight_decay",
    "optim",
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "bf16",
    "seed",
)

IDLE = ("_runtime", "_per_second", "_num_tokens", "epoch")  # endings of measures that say nothing of the result
KINDS = {  # what a stage leaves: library and task, as the Hub calls them
    "stage 0": ("transformers", "image-feature-extraction"),
    "stage 1": ("transformers", "feature-extraction"),
    "stage 2": ("transformers", "feature-extraction"),
    "stage 3": ("peft", "video-text-to-text"),
}


def write_outcome(
    trainer: Any, stage: str, arguments: Any, training: Any, metrics: dict[str, float], rows: int
) -> None:
    """What a stage leaves beside its weights: run card, evaluation, and last `trainer_state.json`, by which a run is
    known to be done. Arguments: see `write_run_card`."""
    out = Path(training.output_dir)
    write_run_card(out, stage, arguments, training, trainer.state, metrics, rows)
    if metrics:
        trainer.save_metrics("eval", metrics, combined=False)
    trainer.state.save_to_json(str(out / "trainer_state.json"))


def write_run_card(
    folder: Path, stage: str, arguments: Any, training: Any, state: Any, metrics: dict[str, float], rows: int
) -> Path:
    """Writes `folder/README.md`. Paths are told by their last part only: a card travels.

    Args:
        stage: a key of `KINDS`. arguments: the stage's dataclass. training: the Trainer's. state: `TrainerState`.
        metrics: of the last evaluation. rows: training examples of an epoch.
    """
    own = {name: _shown(value) for name, value in dataclasses.asdict(arguments).items()}
    given = {name: getattr(training, name) for name in SETTINGS if hasattr(training, name)}
    settings = {name: getattr(value, "value", value) for name, value in given.items()}
    settings["processes"] = training.world_size
    losses = [entry for entry in state.log_history if "loss" in entry]
    course = [losses[int(index * (len(losses) - 1) / 9)] for index in range(10)] if len(losses) > 10 else losses
    figures = {name: f"{value:.4g}" for name, value in metrics.items() if not name.endswith(IDLE)}
    base = own.get("model") or own.get("tower")
    start = f"`{base}`" if base else "random weights"
    best = ""
    if training.load_best_model_at_end and state.best_global_step:
        score = f"{training.metric_for_best_model} {state.best_metric:.4g}"
        best = f"The weights are those of step {state.best_global_step}, the best on validation ({score}). "
    library, task = KINDS[stage]
    text = "\n".join(
        [
            "---",
            f"library_name: {library}",
            "license: other",
            "license_name: as-its-backbones",
            "license_link: https://arxiv.org/abs/2602.05496",
            f"pipeline_tag: {task}",
            "tags: [xemogpt, emotion-recognition, explainable, multimodal]",
            "---",
            "",
            f"# XEmoGPT, {stage}",
            "",
            f"Trained from {start} for {state.global_step} steps ({state.epoch or 0:.2f} epochs of {rows} examples). "
            f"{best}It names what a face and a voice show, not what a person feels; not for judging real people.",
            "",
            *_table("setting", {name: value for name, value in (own | settings).items() if value is not None}),
            "",
            *_table("step", {entry["step"]: f"{entry['loss']:.4f}" for entry in course}, "training loss"),
            *(["", *_table("evaluation", figures)] if figures else []),
            "",
            "Versions: "
            + ", ".join(
                [f"python {platform.python_version()}"]
                + [f"{name} {version(name)}" for name in ("torch", "transformers", "trl", "peft")]
            ),
            "",
        ]
    )
    path = folder / "README.md"
    path.write_text(text, encoding="utf-8")
    return path


def _table(first: str, rows: dict[Any, Any], second: str = "value") -> list[str]:
    return [f"| {first} | {second} |", "|---|---|", *(f"| {key} | {value} |" for key, value in rows.items())]


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _shown(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shown(inner) for inner in value]
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value
