# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Merges an adapter of stage 3 into the model it was trained on: W + (alpha / r) B A, bridges and projectors whole."""

import os
from pathlib import Path
from typing import Any


def merge(adapter: str | os.PathLike, out: str | os.PathLike, model: str | os.PathLike | None = None) -> Path:
    """Writes a model folder with weights, processor and code that needs no PEFT.

    Args:
        adapter: the output folder of stage 3. out: the folder to write; it must not exist or be empty.
        model: folder or Hub id of the model it was trained on; default: the one that the adapter names.

    Raises:
        FileNotFoundError: no adapter there, or its model is gone.
        ValueError: it is no adapter of this model.
    """
    from peft import PeftModel

    from xemogpt.hub.compose import empty_folder, own_processor
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
    folder = empty_folder(out)
    merged.save_pretrained(folder)
    own_processor(XEmoGPTProcessor, source).save_pretrained(folder)
    write_model_card(merged, folder, "An adapter trained by this project's stage 3 was merged into it.")
    return folder


def adapter_of(adapter: str | os.PathLike, model: str | os.PathLike | None = None) -> tuple[Any, str]:
    """The `PeftConfig` of an adapter, and the folder or Hub id of its model: `model`, or the one that it names.

    Raises:
        FileNotFoundError: no adapter there, or its model is gone.
    """
    from peft import PeftConfig

    if not (Path(adapter) / "adapter_config.json").is_file():
        raise FileNotFoundError(f"{adapter}: holds no adapter_config.json; give the output folder of stage 3")
    config = PeftConfig.from_pretrained(adapter)
    source = os.fspath(model) if model is not None else config.base_model_name_or_path
    if model is None and os.path.isabs(source or "") and not os.path.isdir(source):
        raise FileNotFoundError(f"{adapter}: was trained on {source}, which is gone; name the model with --model")
    return config, source
