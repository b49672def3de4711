# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Copies of a model folder exactly what belongs on the Hub, and proves that the copy loads."""

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

# All that an upload may hold. Weights are safetensors only; no optimizer, no random state, no log, no pickle.
ALLOWED = re.compile(
    r"README\.md|LICENSE|config\.json|generation_config\.json|processor_config\.json|preprocessor_config\.json"
    r"|chat_template\.jinja|tokenizer\.json|tokenizer_config\.json|special_tokens_map\.json|tokenizer\.model|vocab\.json"
    r"|merges\.txt|added_tokens\.json|model(-\d{5}-of-\d{5})?\.safetensors|model\.safetensors\.index\.json"
    r"|adapter_config\.json|adapter_model\.safetensors|\w+_xemogpt\.py"
)


@dataclass(frozen=True)
class Export:
    """What was copied, and what was left where it is."""

    folder: Path
    copied: list[str]
    left: list[str]

    def __str__(self) -> str:
        lines = [f"{self.folder}: {len(self.copied)} files", *(f"  {name}" for name in self.copied)]
        return "\n".join([*lines, *([f"left out: {', '.join(self.left)}"] if self.left else [])])


def export(source: str | os.PathLike, out: str | os.PathLike) -> Export:
    """Writes `out` with the files of a model or adapter folder that are meant for others, and loads it from there.

    Raises:
        FileNotFoundError: `source` is no model or adapter folder, or has no model card.
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
    for name in copied:
        if name.endswith((".json", ".md", ".jinja")):
            _refuse_machine_paths(folder / name)
    target = empty_folder(out)
    for name in copied:
        shutil.copyfile(folder / name, target / name)
    _load(target, adapter)
    return Export(target, copied, [name for name in names if name not in copied])


def _refuse_machine_paths(path: Path) -> None:
    found = re.search(r'"(/[\w.\-]+){2,}"|"[A-Z]:\\\\[^"]+"', path.read_text(encoding="utf-8"))
    if found:
        raise ValueError(
            f"{path.name} tells a path of this machine, {found.group()}: write a Hub id there, or merge the adapter"
        )


def _load(folder: Path, adapter: bool) -> None:
    """Loads what others would load, by the code in the folder."""
    from transformers import AutoModelForMultimodalLM, AutoProcessor

    try:
        AutoProcessor.from_pretrained(folder, trust_remote_code=True)
        if not adapter:
            AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    except (OSError, ValueError, ImportError) as error:
        raise ValueError(f"{folder}: the copy does not load: {' '.join(str(error).split())[:300]}") from error
