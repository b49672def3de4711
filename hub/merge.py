# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Merges an adapter of stage 3 into the model it was trained on: W + (alpha / r) B A, bridges and projectors whole."""

import filecmp
import os
import warnings
from pathlib import Path
from typing import Any

from xemogpt.data.jsonl import one_line


def merge(adapter: str | os.PathLike, out: str | os.PathLike, model: str | os.PathLike | None = None) -> Path:
    """Writes a model folder with weights, processor and code that needs no PEFT.

    Args:
        adapter: the output folder of stage 3. out: the folder to write; it must not exist or be empty.
        model: folder or Hub id of the model it was trained on; default: the one that the adapter names.

    Raises:
        FileNotFoundError: no adapter there, or its model is gone.
        ValueError: it is no adapter of this model (see `adapter_of`).
    """
    from peft import PeftModel

    from xemogpt.hub.compose import new_folder, own_processor
    from xemogpt.hub.model_card import write_model_card
    from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
    from xemogpt.processing_xemogpt import XEmoGPTProcessor

    config, source = adapter_of(adapter, model)
    base = XEmoGPTForConditionalGeneration.from_pretrained(source)
    dtype = base.dtype
    try:
        merged = PeftModel.from_pretrained(base, adapter).merge_and_unload()
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{adapter}: is no adapter of {source}: {' '.join(str(error).split())[:200]}") from error
    merged.to(dtype)  # parts trained whole are float32 in the adapter
    whole = set(config.modules_to_save or ())
    merged.config.caution = None  # it told of the base's data alone
    merged.config.untrained_parts = [part for part in merged.config.untrained_parts if part.split(".")[0] not in whole]
    origin = "An adapter trained by this project's stage 3 was merged into it."
    with new_folder(out) as folder:
        merged.save_pretrained(folder)
        own_processor(XEmoGPTProcessor, source).save_pretrained(folder)
        write_model_card(merged, folder, origin, Path(out).absolute().name)
    return Path(out)


def adapter_of(adapter: str | os.PathLike, model: str | os.PathLike | None = None) -> tuple[Any, str]:
    """The `PeftConfig` of an adapter, and the folder or Hub id of its model: `model`, or the one that it names.

    On other weights of the same shapes an adapter would talk plausible nonsense. Where those of `model` cannot be
    compared with the ones that it names, as these are gone or on the Hub, there is a warning.

    Raises:
        FileNotFoundError: no adapter there, or its model is gone. OSError: its configuration cannot be read.
        ValueError: `model` has other weights than the model that the adapter names, or it names none.
    """
    from peft import PeftConfig

    file = Path(adapter) / "adapter_config.json"
    try:
        config = PeftConfig.from_pretrained(adapter)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        if file.is_file():
            raise OSError(f"{file}: cannot be read ({one_line(error)})") from error
        cause = "" if Path(adapter).is_dir() else f" ({one_line(error.__cause__ or error)[:300]})"  # on the Hub
        raise FileNotFoundError(
            f"{adapter}: holds no adapter_config.json{cause}; give the output folder of stage 3"
        ) from error
    named = config.base_model_name_or_path
    if model is None:
        if not named:
            raise ValueError(f"{adapter}: does not say which model it was trained on; name it with --model")
        if os.path.isabs(named) and not os.path.isdir(named):
            raise FileNotFoundError(f"{adapter}: was trained on {named}, which is gone; name the model with --model")
        return config, named
    source = os.fspath(model)
    same = _same_weights(named or "", source)
    if same is None:
        warnings.warn(
            f"{adapter}: was trained on {named or 'a model that it does not name'}, which cannot be compared with "
            f"{source}; on other weights its answers mean nothing",
            stacklevel=2,
        )
    elif not same:
        raise ValueError(f"{adapter}: belongs to {named}, not to {source}, whose weights are others")
    return config, source


def _same_weights(one: str, other: str) -> bool | None:
    """Whether two models are the same; None where they have different names and not both are folders with weights."""
    if one == other:
        return True
    folders = [Path(name).expanduser().resolve() for name in (one, other)]
    files = [sorted(folder.glob("*.safetensors")) for folder in folders]
    if not all(files) or not one:
        return None
    if folders[0] == folders[1]:
        return True
    names = [[path.name for path in each] for each in files]
    return names[0] == names[1] and all(filecmp.cmp(a, b, shallow=False) for a, b in zip(*files, strict=True))
