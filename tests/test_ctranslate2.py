# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""CTranslate2's format and the mapping of its Whisper encoder, on files written here from the format's description."""

import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import WhisperConfig
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from xemogpt.hub.ctranslate2 import read_ctranslate2, whisper_encoder_from_ctranslate2
from xemogpt.hub.tiny import first_layers
from xemogpt.towers_xemogpt import encode_voices

TYPE_IDS = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def string(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def variable(name: str, value: np.ndarray, kind: int | None = None) -> bytes:
    head = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
    kind = TYPE_IDS[value.dtype.name] if kind is None else kind
    return string(name) + head + struct.pack("<BI", kind, value.nbytes) + value.tobytes()


def model_bin(
    variables: dict[str, np.ndarray] | list[bytes],
    aliases: dict[str, str] | None = None,
    version: int = 6,
    spec: str = "WhisperSpec",
    revision: int = 3,
) -> bytes:
    """A `model.bin`, written from the description of the format alone."""
    entries = [variable(*item) for item in variables.items()] if isinstance(variables, dict) else variables
    names = [string(alias) + string(name) for alias, name in (aliases or {}).items()]
    head = struct.pack("<I", version) + string(spec) + struct.pack("<II", revision, len(entries))
    return head + b"".join(entries) + struct.pack("<I", len(names)) + b"".join(names)


@pytest.fixture
def model_file(tmp_path: Path) -> Callable[[bytes], Path]:
    def write(content: bytes) -> Path:
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        return path

    return write


def test_ctranslate2_types_scales_and_aliases(model_file: Callable) -> None:
    half = np.array([[0.5, -2.0, 3.25]], np.float16)
    brain = torch.tensor([1.0, -0.15625, 3e38], dtype=torch.bfloat16)
    content = model_bin(
        [
            variable("half", half),
            variable("single", np.array([1e-7, 7.0], np.float32)),
            variable("brain", brain.view(torch.int16).numpy(), kind=5),
            variable("rows", np.array([[127, -64], [1, 127]], np.int8)),
            variable("rows_scale", np.array([2.0, 0.5], np.float32)),
            variable("whole", np.array([[1024, -3]], np.int16)),
            variable("whole_scale", np.array(512.0, np.float32)),
            variable("count", np.array(6, np.int16)),
        ],
        aliases={"same": "rows"},
    )
    found = read_ctranslate2(model_file(content))
    assert found.keys() == {"half", "single", "brain", "rows", "whole", "count", "same"}
    assert {name: array.dtype.name for name, array in found.items() if name != "count"} == dict.fromkeys(
        ["half", "single", "brain", "rows", "whole", "same"], "float32"
    )
    np.testing.assert_array_equal(found["half"], half)
    np.testing.assert_array_equal(found["single"], np.array([1e-7, 7.0], np.float32))
    np.testing.assert_array_equal(found["brain"], brain.float().numpy())
    np.testing.assert_array_equal(found["rows"], [[63.5, -32.0], [2.0, 254.0]])
    np.testing.assert_array_equal(found["same"], found["rows"])
    np.testing.assert_array_equal(found["whole"], [[2.0, -3 / 512]])
    assert found["count"].shape == ()
    assert int(found["count"]) == 6


def test_ctranslate2_truncated_anywhere(model_file: Callable) -> None:
    content = model_bin({"a": np.ones((2, 3), np.float16), "b": np.array(1, np.int8)}, aliases={"c": "a"})
    assert read_ctranslate2(model_file(content)).keys() == {"a", "b", "c"}
    for length in range(len(content)):
        with pytest.raises(ValueError, match=f"model.bin is truncated: {length} bytes, at least"):
            read_ctranslate2(model_file(content[:length]))


ONE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (model_bin({"a": ONE}, version=5), "binary version 6 but of 5"),
        (b"GGUF" + bytes(40), "not a CTranslate2 model"),
        (model_bin({"a": ONE}, spec="TransformerSpec"), "holds a TransformerSpec of revision 3, not a WhisperSpec"),
        (model_bin({"a": ONE}, revision=2), "revision 2, not a WhisperSpec of revision 3"),
        (model_bin({"a": ONE}) + b"\0", "1 bytes follow its end"),
        (model_bin([variable("a", ONE, kind=9)]), "unknown type 9"),
        (model_bin([variable("a", ONE), variable("a", ONE)]), "comes twice"),
        (
            model_bin([string("a") + struct.pack("<BIBI", 1, 3, 0, 8) + bytes(8)]),
            r"'a' of type 0 and shape \(3,\) has 8 bytes",
        ),
        (model_bin([string("a") + struct.pack("<BIBI", 1, 2, 0, 7) + bytes(7)]), r"shape \(2,\) has 7 bytes"),
        (model_bin([struct.pack("<H", 2) + b"ab" + variable("", ONE)[3:]]), "not NUL-terminated"),
        (model_bin([struct.pack("<H", 2) + b"\xff\0" + variable("", ONE)[3:]]), "not UTF-8"),
        (model_bin({"a": ONE}, aliases={"b": "c"}), "alias 'b' of 'c' does not resolve"),
    ],
)
def test_ctranslate2_damage(content: bytes, message: str, model_file: Callable) -> None:
    with pytest.raises(ValueError, match=message):
        read_ctranslate2(model_file(content))


# ---- the Whisper encoder

SMALL_WHISPER = {
    "vocab_size": 99,
    "num_mel_bins": 10,
    "d_model": 12,
    "encoder_layers": 2,
    "encoder_attention_heads": 3,
    "encoder_ffn_dim": 20,
    "decoder_layers": 1,
    "decoder_attention_heads": 3,
    "decoder_ffn_dim": 20,
    "max_source_positions": 15,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "decoder_start_token_id": 1,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
}


def random_encoder(seed: int = 0) -> WhisperEncoder:
    """Every parameter random, so that none can be mistaken for another or for its initial value."""
    encoder = WhisperEncoder(WhisperConfig(**SMALL_WHISPER)).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return encoder


def as_ctranslate2(encoder: WhisperEncoder) -> dict[str, np.ndarray]:
    """The variables that a converter would write for this encoder."""
    state = {name: tensor.numpy() for name, tensor in encoder.state_dict().items()}
    variables = {
        "decoder/embeddings/weight": np.ones((99, 12), np.float32),
        "encoder/num_heads": np.array(3, np.int16),
        "encoder/position_encodings/encodings": state["embed_positions.weight"],
    }

    def norm(name: str, source: str) -> None:
        variables[f"encoder/{name}/gamma"] = state[f"{source}.weight"]
        variables[f"encoder/{name}/beta"] = state[f"{source}.bias"]

    def linear(name: str, *sources: str) -> None:
        zeros = np.zeros(12, np.float32)
        variables[f"encoder/{name}/weight"] = np.concatenate([state[f"{source}.weight"] for source in sources])
        variables[f"encoder/{name}/bias"] = np.concatenate([state.get(f"{source}.bias", zeros) for source in sources])

    linear("conv1", "conv1")
    linear("conv2", "conv2")
    norm("layer_norm", "layer_norm")
    for i in range(2):
        norm(f"layer_{i}/self_attention/layer_norm", f"layers.{i}.self_attn_layer_norm")
        linear(f"layer_{i}/self_attention/linear_0", *(f"layers.{i}.self_attn.{letter}_proj" for letter in "qkv"))
        linear(f"layer_{i}/self_attention/linear_1", f"layers.{i}.self_attn.out_proj")
        norm(f"layer_{i}/ffn/layer_norm", f"layers.{i}.final_layer_norm")
        linear(f"layer_{i}/ffn/linear_0", f"layers.{i}.fc1")
        linear(f"layer_{i}/ffn/linear_1", f"layers.{i}.fc2")
    return variables


def test_whisper_mapping(model_file: Callable) -> None:
    encoder = random_encoder()
    path = model_file(model_bin(as_ctranslate2(encoder)))
    before = torch.get_rng_state()
    found = whisper_encoder_from_ctranslate2(path)
    assert torch.equal(torch.get_rng_state(), before)
    assert not found.training
    for name in (
        "d_model",
        "encoder_layers",
        "encoder_attention_heads",
        "encoder_ffn_dim",
        "num_mel_bins",
        "vocab_size",
    ):
        assert getattr(found.config, name) == SMALL_WHISPER[name]
    expected = encoder.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in found.state_dict().items())
    assert not any(parameter.is_meta for parameter in found.parameters())
    features = torch.randn(2, 10, 30, generator=torch.Generator().manual_seed(1))
    assert torch.equal(found(features).last_hidden_state, encoder(features).last_hidden_state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder/layer_1/ffn/linear_0/bias": None}, "no variable 'encoder/layer_1/ffn/linear_0/bias'"),
        ({"encoder/num_heads": None}, "no variable 'encoder/num_heads'"),
        ({"encoder/layer_0/rotary": ONE}, r"not a plain Whisper encoder: \['layer_0/rotary'\]"),
        ({"encoder/layer_7/ffn/linear_0/bias": ONE}, "no variable 'encoder/layer_2/"),
        ({"encoder/conv2/bias": ONE}, "does not fit.*conv2.bias"),
        ({"encoder/layer_0/self_attention/linear_0/bias": np.ones(36, np.float32)}, "key bias in 'encoder/layer_0'"),
    ],
)
def test_whisper_mapping_is_strict(change: dict[str, Any], message: str, model_file: Callable) -> None:
    variables = {name: a for name, a in (as_ctranslate2(random_encoder()) | change).items() if a is not None}
    with pytest.raises(ValueError, match=f"(?s){message}"):
        whisper_encoder_from_ctranslate2(model_file(model_bin(variables)))


def test_first_layers(tmp_path: Path) -> None:
    """The same as stopping early, the final norm on top; and it stays so when it is saved."""
    whole, features = random_encoder(), torch.randn(2, 10, 30, generator=torch.Generator().manual_seed(1))
    seen: list[torch.Tensor] = []
    whole.layers[0].register_forward_hook(lambda _, __, out: seen.append(out))
    encode_voices(whole, input_features=features)
    cut = first_layers(random_encoder(), 1)
    expected = whole.layer_norm(seen[0])
    torch.testing.assert_close(encode_voices(cut, input_features=features)[0], expected)
    cut.save_pretrained(tmp_path)
    again = WhisperEncoder.from_pretrained(tmp_path).eval()
    assert len(again.layers) == again.config.num_hidden_layers == 1
    torch.testing.assert_close(encode_voices(again, input_features=features)[0], expected)
    with pytest.raises(ValueError, match="of 1 layers has no first 2"):
        first_layers(cut, 2)
