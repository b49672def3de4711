# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A recipe of the builder: one YAML file that says everything; an unknown key is an error.

    input: {reader: mer-caption-plus, root: ${MER2025}}
    out: emocue-instruct
    endpoints: {mllm: {base_url: http://localhost:8000/v1, model: Qwen/Qwen2.5-Omni-7B}, llm: {...}}
    infer: [{name: visual, endpoint: mllm, prompt: emocue-visual-1, sees: [frames], given: [labels]}, ...]
    merge: {endpoint: llm, prompt: emocue-merge-1}
    short: {endpoint: llm, prompt: emocue-short-1}

`${NAME}` is taken from the environment. Keys of endpoints stand nowhere: `api_key_env` names the variable.
"""

import dataclasses
import hashlib
import json
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_type_hints

from xemogpt.data.emocue.checks import GateLimits, rules
from xemogpt.data.emocue.client import Endpoint
from xemogpt.data.emocue.prompts import get_prompt, prompt_hash

SEES, GIVEN = ("frames", "audio"), ("labels", "subtitle")
ANSWERS_KEPT_BY = 2  # 1 left the pictures out: clips of the same words shared answers, so none of its are used
BUDGETS = ("requests", "tokens", "usd")
EXECUTORS = ("local", "slurm", "ray")
_KINDS: dict[Any, tuple[type, ...]] = {str: (str,), int: (int,), float: (int, float)}
_KINDS |= {float | None: (type(None), int, float), dict[str, Any]: (dict,), dict[str, float]: (dict,)}


@dataclass(frozen=True)
class Pass:
    """One question of S1. sees: frames, audio; given: labels, subtitle. Without labels it is the blind one."""

    name: str
    endpoint: str
    prompt: str
    sees: tuple[str, ...] = ()
    given: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        get_prompt(self.prompt)
        object.__setattr__(self, "sees", tuple(self.sees))
        object.__setattr__(self, "given", tuple(self.given))
        if not re.fullmatch(r"[a-z][a-z0-9-]*", self.name):
            raise ValueError(f"name {self.name!r} of a pass is not of small letters, digits and -")
        if unknown := (set(self.sees) - set(SEES)) | (set(self.given) - set(GIVEN)):
            raise ValueError(f"pass {self.name}: {', '.join(sorted(unknown))} is none of {', '.join(SEES + GIVEN)}")
        if not self.sees and "subtitle" not in self.given:
            raise ValueError(f"pass {self.name}: is shown nothing of the clip; give it frames, audio or subtitle")


@dataclass(frozen=True)
class Writing:
    """S3 or S5: who writes, by which prompt, and how often a refused answer is asked for again."""

    endpoint: str
    prompt: str
    retries: int = 1

    def __post_init__(self) -> None:
        get_prompt(self.prompt)


@dataclass(frozen=True)
class Recipe:
    """See the module. executor: {kind: local | slurm | ray, ...}, the rest goes to datatrove's executor of that kind.
    budget: {requests, tokens, usd}, of the whole build. clips_per_task: how many clips one task holds in memory."""

    input: dict[str, Any]
    out: str
    endpoints: dict[str, Endpoint]
    infer: tuple[Pass, ...]
    merge: Writing | None = None
    short: Writing | None = None
    gate: GateLimits = GateLimits()
    caption_words: int = 25
    validation: float = 0.02
    review: int = 300
    licence: str = "other"
    executor: dict[str, Any] = field(default_factory=lambda: {"kind": "local", "workers": 1})
    clips_per_task: int = 500
    frames: int = 16
    budget: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not {"reader", "root"} <= set(self.input) <= {"reader", "root", "options", "strict", "links"}:
            raise ValueError("input: needs reader and root, and may have options, strict and links")
        if self.executor.get("kind") not in EXECUTORS:
            raise ValueError(f"executor: kind {self.executor.get('kind')!r} is none of {', '.join(EXECUTORS)}")
        if unknown := set(self.budget) - set(BUDGETS):
            raise ValueError(f"budget: {', '.join(unknown)} is none of {', '.join(BUDGETS)}")
        if wrong := [name for name, amount in self.budget.items() if not isinstance(amount, int | float)]:
            raise ValueError(f"budget: {wrong[0]}: {self.budget[wrong[0]]!r} is no number")
        if not self.infer:
            raise ValueError("infer: at least one pass")
        names = [each.name for each in self.infer]
        if len(set(names)) < len(names):
            raise ValueError("infer: two passes of one name")
        if not 0 <= self.validation < 1:
            raise ValueError(f"validation: {self.validation} is no share from 0 to below 1")
        for name, least in (("clips_per_task", 1), ("frames", 1), ("caption_words", 1), ("review", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name}: {getattr(self, name)} is less than {least}")
        for asking in (*self.infer, self.merge, self.short):
            if asking is not None and asking.endpoint not in self.endpoints:
                raise ValueError(f"endpoint {asking.endpoint!r} is none of {', '.join(self.endpoints)}")

    @property
    def stages(self) -> list[str]:
        """The stages with a folder of their own, in order."""
        return ["index", "infer", "verify", *(name for name in ("merge", "short") if getattr(self, name))]

    def fingerprints(self, input_digest: str) -> dict[str, str]:
        """Of each stage: changes with anything that decides its output, itself or before it."""
        found, chain = {}, input_digest
        for stage in self.stages:
            chain = _digest([chain, stage, self._decides(stage)])
            found[stage] = chain[:12]
        return found

    def prompts(self) -> dict[str, str]:
        """The hash of each prompt in use, by id."""
        used = [each.prompt for each in (*self.infer, self.merge, self.short) if each is not None]
        return {id: prompt_hash(id) for id in used}

    def _decides(self, stage: str) -> Any:
        def asking(what: Pass | Writing) -> Any:
            return [dataclasses.asdict(what), prompt_hash(what.prompt), self.endpoints[what.endpoint].asks()]

        if stage == "infer":
            return [ANSWERS_KEPT_BY, self.frames, list(map(asking, self.infer))]
        if stage == "verify":
            return rules()
        if stage == "merge" and self.merge:
            return [rules(), dataclasses.asdict(self.gate), asking(self.merge)]
        if stage == "short" and self.short:
            return [rules(), self.caption_words, asking(self.short)]
        return None


def load_recipe(path: str | os.PathLike, changes: dict[str, Any] | None = None) -> Recipe:
    """A recipe from its file; `changes` replace keys, those below others by dots ("endpoints.mllm.base_url").

    Raises:
        ValueError: no YAML mapping, an unknown or missing key, a value that cannot be, a variable that is not set.
    """
    try:
        import yaml
    except ImportError:
        raise ImportError('recipes need PyYAML: pip install "xemogpt[data]"') from None

    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path}: is no YAML ({' '.join(str(error).split())})") from None
    if not isinstance(content, dict):
        raise ValueError(f"{path}: is no mapping of keys")
    try:
        for key, value in (changes or {}).items():
            _change(content, key.split("."), value)
        return _recipe(_with_variables(content))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from None


def _recipe(content: dict[str, Any]) -> Recipe:
    parts = dict(content)
    if not isinstance(content.get("endpoints") or {}, dict):
        raise ValueError("endpoints: is no mapping of names")
    parts["endpoints"] = {name: _make(Endpoint, value) for name, value in (content.get("endpoints") or {}).items()}
    parts["infer"] = tuple(_make(Pass, value) for value in content.get("infer") or ())
    for name, kind in (("merge", Writing), ("short", Writing), ("gate", GateLimits)):
        if content.get(name) is not None:
            parts[name] = _make(kind, content[name])
        else:
            parts.pop(name, None)
    return _make(Recipe, parts)


def _make(kind: Any, values: Any) -> Any:
    known = {each.name: each for each in dataclasses.fields(kind)}
    if not isinstance(values, dict):
        raise ValueError(f"{kind.__name__.lower()}: {values!r} is no mapping of keys")
    if unknown := set(values) - set(known):
        raise ValueError(
            f"{kind.__name__.lower()}: unknown key {', '.join(sorted(unknown))}; it has {', '.join(known)}"
        )
    hints = get_type_hints(kind)
    for key, value in values.items():
        wanted = _KINDS.get(hints[key])
        if wanted and (not isinstance(value, wanted) or isinstance(value, bool)):
            raise ValueError(f"{kind.__name__.lower()}: {key}: {value!r} is no {wanted[-1].__name__}")
    return kind(**{key: tuple(value) if isinstance(value, list) else value for key, value in values.items()})


def _change(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise ValueError(f"{'.'.join(keys)}: {key} is no mapping")
    content[keys[-1]] = value


def _with_variables(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_variables(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_with_variables(part) for part in value]
    if not isinstance(value, str):
        return value

    def put(match: re.Match[str]) -> str:
        if match[1] not in os.environ:
            raise ValueError(f"{match[0]}: the environment has no {match[1]}")
        return os.environ[match[1]]

    return re.sub(r"\$\{(\w+)\}", put, value)


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
