# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Copies of a model folder exactly what belongs on the Hub, and proves that the copy loads.

A whole model takes its metric along, `emocue_360/`: a folder that `evaluate.load` reads, and a Space of its own.
"""

import importlib.util
import json
import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.jsonl import one_line

# All that an upload may hold. Weights are safetensors only; no optimizer, no random state, no log, no pickle.
ALLOWED = re.compile(
    r"README\.md|LICENSE|config\.json|generation_config\.json|processor_config\.json|preprocessor_config\.json"
    r"|chat_template\.jinja|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|tokenizer\.model|vocab\.json"
    r"|merges\.txt|added_tokens\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|adapter_config\.json|adapter_model\.safetensors|\w+_xemogpt\.py"
)
METRIC = Path(__file__).resolve().parents[1] / "eval" / "emocue_360"
METRIC_ALLOWED = re.compile(r"README\.md|requirements\.txt|\w+\.(py|json|yaml)")


@dataclass(frozen=True)
class Export:
    """What was copied, and what was left where it is."""

    folder: Path
    copied: list[str]
    left: list[str]
    unchecked: str | None = None

    def __str__(self) -> str:
        lines = [f"{self.folder}: {len(self.copied)} files", *(f"  {name}" for name in self.copied)]
        lines += [f"left out: {', '.join(self.left)}"] if self.left else []
        return "\n".join([*lines, *([f"not checked: {self.unchecked}"] if self.unchecked else [])])


def export(source: str | os.PathLike, out: str | os.PathLike, metric: str | os.PathLike = METRIC) -> Export:
    """Writes `out` with the files of a model's folder that are meant for others, and loads it from there.

    Args:
        source: folder of an XEmoGPT, of an adapter for one, or of a cue encoder. out: must not exist or be empty.
        metric: folder of the metric that goes with an XEmoGPT.

    Raises:
        FileNotFoundError: `source` is no model or adapter folder, or has no model card or weights.
        ValueError: the copy does not load, or its configuration tells a path of this machine.
    """
    from xemogpt.hub.compose import empty_folder

    folder = Path(source)
    adapter = (folder / "adapter_config.json").is_file()
    needed = ["README.md", "adapter_model.safetensors"] if adapter else ["README.md", "config.json"]
    missing = [name for name in needed if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(f"{source}: lacks {', '.join(missing)}; give a model's or an adapter's folder")
    if not any(folder.glob("*.safetensors")):
        raise FileNotFoundError(f"{source}: has no weights (*.safetensors)")
    names = sorted(path.name + ("/" if path.is_dir() else "") for path in folder.iterdir())
    copied = [name for name in names if ALLOWED.fullmatch(name)]
    config = {} if adapter else _without_origins(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    for name in copied:
        if name.endswith((".json", ".md", ".jinja")):
            text = json.dumps(config) if name == "config.json" else (folder / name).read_text(encoding="utf-8")
            _refuse_machine_paths(name, text)
    target = empty_folder(out)
    for name in copied:
        shutil.copyfile(folder / name, target / name)
    if not adapter:
        (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    left = [name for name in names if name not in copied]
    if not _load(target, adapter):
        return Export(target, copied, left)
    return Export(target, copied + _copy_metric(Path(metric), target), left, _load_metric(target / Path(metric).name))


def _without_origins(config: Any) -> Any:
    """A configuration without the folders of this machine that its parts were once loaded from."""
    if not isinstance(config, dict):
        return config
    return {
        name: _without_origins(value)
        for name, value in config.items()
        if name != "_name_or_path" or not os.path.isabs(value or "")
    }


def _refuse_machine_paths(name: str, text: str) -> None:
    found = re.search(r'"(/[\w.\-]+){2,}"|"[A-Z]:\\\\[^"]+"', text)
    if found:
        raise ValueError(
            f"{name} tells a path of this machine, {found.group()}: write a Hub id there, or merge the adapter"
        )


def _load(folder: Path, adapter: bool) -> bool:
    """Loads what others would load, by the code in the folder; says whether it is a whole XEmoGPT."""
    from transformers import AutoConfig, AutoModel, AutoModelForMultimodalLM, AutoProcessor

    try:
        AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        if adapter:
            return False
        whole = AutoConfig.from_pretrained(folder, trust_remote_code=True).model_type == "xemogpt"
        (AutoModelForMultimodalLM if whole else AutoModel).from_pretrained(folder, trust_remote_code=True)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{folder}: the copy does not load: {one_line(error)[:300]}") from error
    return whole


def _copy_metric(metric: Path, target: Path) -> list[str]:
    """Names of what was copied, none where there is no metric."""
    names = sorted(path.name for path in metric.glob("*") if METRIC_ALLOWED.fullmatch(path.name))
    for name in names:
        (target / metric.name).mkdir(exist_ok=True)
        shutil.copyfile(metric / name, target / metric.name / name)
    return [f"{metric.name}/{name}" for name in names]


def _load_metric(folder: Path) -> str | None:
    """Loads the metric as others would; says why it could not be tried."""
    if not folder.is_dir():
        return None
    if importlib.util.find_spec("evaluate") is None:
        return f'{folder.name}, which needs evaluate: pip install "xemogpt[eval]"'
    try:
        importlib.import_module("evaluate").load(str(folder))
    except (OSError, ValueError, ImportError, SyntaxError) as error:
        raise ValueError(f"{folder}: the metric does not load: {one_line(error)[:300]}") from error
    return None
