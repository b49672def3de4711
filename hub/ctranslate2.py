# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Reads Whisper encoders from CTranslate2's format, a plain binary file without code in it."""

import math
import os
import struct
from pathlib import Path

import numpy as np
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

BINARY_VERSION = 6
DTYPES = {0: "<f4", 1: "i1", 2: "<i2", 3: "<i4", 4: "<f2", 5: "<u2"}  # 5 is bfloat16, which numpy has not
BFLOAT16 = 5
# CTranslate2's name of each linear or norm of an encoder layer, and transformers' name
LAYER_NAMES = {
    "self_attention/layer_norm": "self_attn_layer_norm",
    "self_attention/linear_1": "self_attn.out_proj",
    "ffn/layer_norm": "final_layer_norm",
    "ffn/linear_0": "fc1",
    "ffn/linear_1": "fc2",
}


class _Bytes:
    """A cursor over the bytes of a file: little-endian integers and length-prefixed, NUL-terminated strings."""

    def __init__(self, path: Path):
        self.path, self.data, self.at = path, path.read_bytes(), 0

    def take(self, count: int) -> bytes:
        self.at += count
        if self.at > len(self.data):
            raise ValueError(f"{self.path} is truncated: {len(self.data)} bytes, at least {self.at} expected")
        return self.data[self.at - count : self.at]

    def integer(self, code: str) -> int:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(code)))[0]

    def string(self) -> str:
        raw = self.take(self.integer("H"))
        if not raw.endswith(b"\0"):
            raise ValueError(f"{self.path} is damaged: a name before byte {self.at} is not NUL-terminated")
        try:
            return raw[:-1].decode()
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.path} is damaged: a name before byte {self.at} is not UTF-8") from error


def read_ctranslate2(path: str | os.PathLike, spec: str = "WhisperSpec", revision: int = 3) -> dict[str, np.ndarray]:
    """The variables of a CTranslate2 `model.bin`.

    The file is: u32 version; the spec's name; u32 revision; u32 count; per variable its name, u8 rank, u32 per
    dimension, u8 type, u32 bytes, data; u32 count of aliases, each a new name and the name it stands for.

    Returns:
        {name: array}, float variables in float32 (quantised ones are multiplied out), integers as stored.

    Raises:
        ValueError: another version, spec or revision; or a truncated or damaged file.
    """
    file = _Bytes(Path(path))
    version = file.integer("I")
    if version != BINARY_VERSION:
        raise ValueError(f"{path} is not a CTranslate2 model of binary version {BINARY_VERSION} but of {version}")
    found = (file.string(), file.integer("I"))
    if found != (spec, revision):
        raise ValueError(f"{path} holds a {found[0]} of revision {found[1]}, not a {spec} of revision {revision}")
    variables: dict[str, np.ndarray] = {}
    for _ in range(file.integer("I")):
        name = file.string()
        shape = tuple(file.integer("I") for _ in range(file.integer("B")))
        kind, size = file.integer("B"), file.integer("I")
        if kind not in DTYPES or name in variables:
            raise ValueError(f"{path} is damaged: '{name}' has the unknown type {kind} or comes twice")
        dtype = np.dtype(DTYPES[kind])
        if size != dtype.itemsize * math.prod(shape):
            raise ValueError(f"{path} is damaged: '{name}' of type {kind} and shape {shape} has {size} bytes")
        array = np.frombuffer(file.take(size), dtype)
        if kind == BFLOAT16:
            array = (array.astype("<u4") << 16).view("<f4")
        variables[name] = array.reshape(shape).astype(np.float32 if array.dtype.kind == "f" else array.dtype)
    aliases = [(file.string(), file.string()) for _ in range(file.integer("I"))]
    if file.at != len(file.data):
        raise ValueError(f"{path} is damaged: {len(file.data) - file.at} bytes follow its end")
    # int8 carries one scale per row, int16 one in all; the stored integer is value * scale
    for name in [name for name in variables if f"{name}_scale" in variables]:
        scale = variables.pop(f"{name}_scale")
        variables[name] = variables[name].astype(np.float32) / scale.reshape(-1, *[1] * (variables[name].ndim - 1))
    for alias, name in aliases:
        if alias in variables or name not in variables:
            raise ValueError(f"{path} is damaged: the alias '{alias}' of '{name}' does not resolve")
        variables[alias] = variables[name]
    return variables


def whisper_encoder_from_ctranslate2(path: str | os.PathLike) -> WhisperEncoder:
    """The encoder of a Whisper model in CTranslate2's format, float32, in eval mode.

    Raises:
        ValueError: a variable of the encoder is absent, of the wrong shape, or has no place in transformers' encoder.
    """
    variables = read_ctranslate2(path)
    vocab_size = len(variables["decoder/embeddings/weight"]) if "decoder/embeddings/weight" in variables else 51864
    left = {name.removeprefix("encoder/"): a for name, a in variables.items() if name.startswith("encoder/")}
    state: dict[str, torch.Tensor] = {}

    def take(name: str) -> np.ndarray:
        if name not in left:
            raise ValueError(f"{path} has no variable 'encoder/{name}'")
        return left.pop(name)

    def move(source: str, target: str) -> None:
        weight, bias = ("gamma", "beta") if source.endswith("layer_norm") else ("weight", "bias")
        state[f"{target}.weight"] = torch.from_numpy(take(f"{source}/{weight}"))
        state[f"{target}.bias"] = torch.from_numpy(take(f"{source}/{bias}"))

    for name in ("conv1", "conv2", "layer_norm"):
        move(name, name)
    state["embed_positions.weight"] = torch.from_numpy(take("position_encodings/encodings"))
    num_layers = len({name.split("/")[0] for name in left if name.startswith("layer_")})
    for i in range(num_layers):
        for source, target in LAYER_NAMES.items():
            move(f"layer_{i}/{source}", f"layers.{i}.{target}")
        move(f"layer_{i}/self_attention/linear_0", "qkv")
        weights, biases = state.pop("qkv.weight").chunk(3), state.pop("qkv.bias").chunk(3)
        if biases[1].any():  # the format fills the place of the bias that Whisper's key projection does not have
            raise ValueError(f"{path} has a key bias in 'encoder/layer_{i}', which Whisper has not")
        for letter, weight, bias in zip("qkv", weights, biases, strict=True):
            state[f"layers.{i}.self_attn.{letter}_proj.weight"] = weight.clone()
            if letter != "k":
                state[f"layers.{i}.self_attn.{letter}_proj.bias"] = bias.clone()
    num_heads = int(take("num_heads"))
    if left or not num_layers:
        raise ValueError(f"{path} is not a plain Whisper encoder: {sorted(left) or 'no layers'}")
    width, num_mel_bins = state["conv1.weight"].shape[:2]
    config = WhisperConfig(
        vocab_size=vocab_size,
        num_mel_bins=num_mel_bins,
        d_model=width,
        encoder_layers=num_layers,
        encoder_attention_heads=num_heads,
        encoder_ffn_dim=len(state["layers.0.fc1.weight"]),
        max_source_positions=len(state["embed_positions.weight"]),
    )
    with torch.device("meta"):  # no random initialisation, which would cost time and the caller's random state
        encoder = WhisperEncoder(config)
    try:
        encoder.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit transformers' Whisper encoder: {error}") from error
    return encoder.eval()
