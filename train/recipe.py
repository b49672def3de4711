# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A recipe: one flat YAML file with the settings of a stage and those of its Trainer, read strictly.

    model: tiny                 # a field of the stage's `Arguments`
    learning_rate: 1e-5         # a field of `TrainingArguments` (stage 3: TRL's `SFTConfig`)
    data:
    - {manifest: data/train.jsonl, weight: 1.0}

A key that neither knows, a key given twice and a value of the wrong type are errors that name file and line. Relative
paths in a recipe start where the command is run.
"""

import dataclasses
import difflib
import enum
import os
import sys
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

A = TypeVar("A")
T = TypeVar("T")


def training_class(stage: str) -> Any:
    """The Trainer's settings that a stage's recipe fills beside the stage's own.

    Raises:
        ImportError: the extra `train` is not installed.
    """
    try:
        from transformers import TrainingArguments
        from trl import SFTConfig
    except ImportError as error:
        raise ImportError(f'training needs more packages ({error}): pip install "xemogpt[train]"') from error
    return SFTConfig if stage == "stage3" else TrainingArguments


def load_recipe(
    path: str | os.PathLike, overrides: Sequence[str], arguments: type[A], training: type[T]
) -> tuple[A, T]:
    """The two dataclasses that a recipe fills.

    Args:
        overrides: `key=value`, the value read as YAML; they win over the file.
        arguments: the stage's own settings. training: `TrainingArguments` or a subclass; where it has a field of the
            same name, the stage's own takes it.

    Raises:
        ValueError: an unknown or repeated key, a value of the wrong type, no `output_dir`; names file and line.
        OSError: the file cannot be read.
    """
    own, other = _hints(arguments), _hints(training)
    values: dict[str, tuple[Any, str]] = {}
    for key, value, where in [*_read(Path(path)), *map(_override, overrides)]:
        if key not in own and key not in other:
            near = difflib.get_close_matches(key, own, n=1) or difflib.get_close_matches(key, other, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; settings of the stage: {', '.join(sorted(own))}"
            raise ValueError(f"{where}: unknown key {key!r}{hint}")
        values[key] = _fit(value, own.get(key) or other[key], f"{where}: {key}"), where
    if "output_dir" not in values:
        raise ValueError(f"{path}: output_dir is missing: where checkpoints and the result are written")
    mine = {key: value for key, (value, _) in values.items() if key in own}
    theirs = {key: value for key, (value, _) in values.items() if key not in own}
    return arguments(**mine), training(**_on_this_machine(theirs, other))


def one_gpu_each(training: Any) -> None:
    """Raises ValueError where this process would train on several GPUs: the Trainer splits batches among them."""
    if training.n_gpu > 1:  # by nn.DataParallel
        raise ValueError(
            f"one process sees {training.n_gpu} GPUs, and each needs one of its own: start accelerate launch "
            f"--num_processes {training.n_gpu} -m xemogpt train ..., or set CUDA_VISIBLE_DEVICES=0 for one GPU"
        )


def _on_this_machine(settings: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    """What depends on where it runs, unless the recipe says it: no accelerator, no terminal for a progress bar."""
    import torch

    settings = {"disable_tqdm": not sys.stderr.isatty()} | settings
    if torch.accelerator.is_available() or "use_cpu" in settings:
        return settings
    return settings | {"use_cpu": True} | ({"bf16": False} if "bf16" in known and "bf16" not in settings else {})


def _read(path: Path) -> list[tuple[str, Any, str]]:
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(node, yaml.MappingNode):
        raise ValueError(f"{path}: must be `key: value` lines")
    found: list[tuple[str, Any, str]] = []
    loader = yaml.SafeLoader("")
    for key, value in node.value:
        where = f"{path}, line {key.start_mark.line + 1}"
        name = str(loader.construct_object(key, deep=True))
        if any(name == other for other, _, _ in found):
            raise ValueError(f"{where}: {name} is given twice")
        found.append((name, loader.construct_object(value, deep=True), where))
    return found


def _override(text: str) -> tuple[str, Any, str]:
    import yaml

    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError(f"--set {text}: must be key=value")
    try:
        return key.strip(), yaml.safe_load(value), f"--set {text}"
    except yaml.YAMLError as error:
        raise ValueError(f"--set {text}: is no YAML value: {' '.join(str(error).split())}") from None


def _hints(cls: type) -> dict[str, Any]:
    """Type of every field that can be given."""
    hints = typing.get_type_hints(cls)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _fit(value: Any, hint: Any, where: str) -> Any:
    """`value` as `hint` wants it. YAML reads 1e-5 as text; that is the only text taken for a number.

    Types that cannot be told from YAML (enums, unions with classes) are left to the dataclass itself.
    """
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    plain = {typing.get_origin(kind) or kind for kind in kinds}
    if value is None:
        if types.NoneType in plain or not plain <= {int, float, bool, str, list, dict}:
            return None
        raise ValueError(f"{where} must not be empty")
    if value is False and any(isinstance(kind, type) and issubclass(kind, enum.Enum) for kind in plain):
        return "no"  # which YAML reads as false, and `eval_strategy: no` means
    if type(value) in plain or not plain - {types.NoneType} <= {int, float, bool, str, list, dict}:
        return value
    if float in plain and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if float in plain and isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            pass
    names = " or ".join(sorted(kind.__name__ for kind in plain if kind is not types.NoneType))
    raise ValueError(f"{where} must be {names}, not {value!r}")
