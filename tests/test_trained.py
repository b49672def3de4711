# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""From the three stages to the weights that the repository ships: nothing is lost on the way, and it is one model."""

import json
import logging
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from test_stage3 import config
from tiny_corpus import rows, write_manifest
from tiny_cue_encoder import bert_config, clip_text_config
from tiny_model import make_tiny_model

from xemogpt.hub import trained
from xemogpt.hub.merge import merge
from xemogpt.modeling_xemogpt import OWN_PARTS, XEmoGPTForConditionalGeneration
from xemogpt.train import stage3_sft
from xemogpt.train.alignment_handover import extract

TEXTS = {"video": clip_text_config(), "audio": bert_config()}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, cue encoders on its towers as stages 1 and 2 would leave them, and a few clips."""
    folder = tmp_path_factory.mktemp("trained")
    whole = make_tiny_model(folder / "base", text="llama", video_text_size=24, audio_text_size=32, audio_pooling=2)
    described = json.loads((whole / "config.json").read_text())
    described["untrained_parts"] = list(OWN_PARTS)  # as if the towers and the LLM were trained ones
    (whole / "config.json").write_text(json.dumps(described))
    model = XEmoGPTForConditionalGeneration.from_pretrained(whole)
    for media, text in TEXTS.items():
        torch.manual_seed(2)
        encoder = extract(model, media, text)
        with torch.no_grad():
            for parameter in [*encoder.bridge.parameters(), *encoder.head.parameters()]:
                parameter += 0.02 * torch.randn_like(parameter)
        encoder.save_pretrained(folder / media)
    write_manifest(folder / "train.jsonl", rows(folder))
    return folder


def settings(place: Path, **more: object) -> stage3_sft.Arguments:
    return stage3_sft.Arguments(
        model=str(place / "base"),
        video_bridge=str(place / "video"),
        audio_bridge=str(place / "audio"),
        data=[{"manifest": str(place / "train.jsonl")}],
        lora_r=4,
        **more,  # type: ignore[arg-type]
    )


@pytest.fixture(scope="module")
def adapter(place: Path) -> Path:
    out = place / "stage3"
    stage3_sft.main(settings(place), config(out, max_steps=3))
    return out


def test_weights_of_the_stages_reach_a_fresh_model(place: Path, adapter: Path, tmp_path: Path) -> None:
    merged = XEmoGPTForConditionalGeneration.from_pretrained(merge(adapter, tmp_path / "merged"))
    assert merged.config.untrained_parts == []
    for media in TEXTS:  # heads as stages 1 and 2 left them, bridges as stage 3 did
        head = getattr(merged.model, f"{media}_cue_head").state_dict()
        learnt = stage3_sft.load(settings(place))[0].model.get_submodule(f"{media}_cue_head").state_dict()
        assert all(torch.equal(head[name], value) for name, value in learnt.items())

    file = trained.pack(adapter, tmp_path / "shipped", torch.float32)
    sizes = {"video_text_size": 24, "audio_text_size": 32, "audio_pooling": 2, "audio_layers": 2}
    assert trained.read_sizes(file.parent) == sizes
    fresh = XEmoGPTForConditionalGeneration.from_pretrained(place / "base")
    with torch.no_grad():
        for part in trained.WHOLE:  # even a tower of other weights is replaced
            for parameter in getattr(fresh.model, part).parameters():
                parameter.fill_(0.5)
    trained.apply(fresh, file.parent)
    assert fresh.config.untrained_parts == []
    card = trained.write_card(file.parent, [adapter]).read_text()
    assert card.startswith("---\nlibrary_name: transformers\nlicense: apache-2.0\n")
    assert "\n## stage3: stage 3\n\nTrained from `base` for 3 steps" in card
    shutil.copytree(adapter, tmp_path / "again", ignore=shutil.ignore_patterns("*.safetensors"))
    twice = trained.write_card(file.parent, [adapter, tmp_path / "again"]).read_text()
    headings = [line for line in twice.splitlines() if line.startswith("## ")]
    assert headings == ["## stage3: stage 3", "## again: stage 3"]
    assert card.count("\n---\n") == 1
    with pytest.raises(FileNotFoundError):
        trained.write_card(file.parent, [tmp_path])
    expected = merged.state_dict()
    moved = XEmoGPTForConditionalGeneration.from_pretrained(place / "base").state_dict()
    changed = [name for name in expected if not torch.equal(expected[name], moved[name])]
    assert any("language_model" in name for name in changed)
    for name, value in fresh.state_dict().items():
        torch.testing.assert_close(value, expected[name], atol=1e-6, rtol=1e-5, msg=name)


def test_what_is_refused(place: Path, adapter: Path, tmp_path: Path) -> None:
    file = trained.pack(adapter, tmp_path / "shipped")
    other = make_tiny_model(tmp_path / "other", text="llama")  # its heads have room for other text towers
    with pytest.raises(ValueError, match=r"does not fit this model: .*text_projection.weight is \[\d+, 24\], not"):
        trained.apply(XEmoGPTForConditionalGeneration.from_pretrained(other), file.parent)
    with pytest.raises(FileNotFoundError, match=r"holds no adapter_config\.json"):
        trained.pack(tmp_path, tmp_path / "no")
    stage3_sft.main(
        stage3_sft.Arguments(model=str(place / "base"), data=[{"manifest": str(place / "train.jsonl")}], lora_r=4),
        config(tmp_path / "bare", max_steps=1),
    )
    with pytest.raises(ValueError, match="video_cue_head, audio_cue_head of the model it belongs to are untrained"):
        trained.pack(tmp_path / "bare", tmp_path / "no")
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        ({"audio_pooling": 4}, "audio_pooling is 2, not 4$"),  # no weight has this size, nor the next
        ({"audio_layers": 4}, "audio_layers is 2, not 4$"),
        ("video_bridge.position_embedding", r"missing video_bridge\.position_embedding$"),
        ("language_model.layers.0.self_attn.q_proj.lora_B", r"missing language_model\.layers\.0.*q_proj\.lora_B$"),
        ({"language_model.layers.9.self_attn.q_proj.lora_A": 4}, r"unexpected language_model\.layers\.9.*lora_A$"),
        ({"stray": 4}, "unexpected stray$"),
    ],
)
def test_what_does_not_fit_is_named_and_changes_nothing(
    place: Path, adapter: Path, tmp_path: Path, fault: dict[str, int] | str, told: str
) -> None:
    file = trained.pack(adapter, tmp_path)
    model = XEmoGPTForConditionalGeneration.from_pretrained(place / "base")
    tensors = load_file(file)
    if isinstance(fault, str):
        del tensors[fault]
    elif "audio_pooling" in fault:
        model.config.audio_pooling = fault["audio_pooling"]
    elif "audio_layers" in fault:
        model.config.audio_config.num_hidden_layers = fault["audio_layers"]
    else:
        tensors |= {name: torch.zeros(size, size) for name, size in fault.items()}
    save_file(tensors, file, metadata={"sizes": json.dumps(trained.read_sizes(tmp_path))})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=told):
        trained.apply(model, tmp_path)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert model.config.untrained_parts


def test_bridges_reach_a_bfloat16_model_unrounded(place: Path) -> None:
    arguments = settings(place, model_dtype="bfloat16")
    model, _, heads = stage3_sft.load(arguments)
    adapted = stage3_sft.adapt(model, arguments, heads).base_model.model.model
    for media in TEXTS:
        for part in (f"{media}_bridge", f"{media}_cue_head"):
            learnt = {
                name.removeprefix(f"{part}."): value
                for name, value in load_file(place / media / "model.safetensors").items()
                if name.startswith(f"{part}.")
            }
            found = getattr(adapted, part).modules_to_save["default"].state_dict()
            assert learnt.keys() == found.keys()
            assert all(torch.equal(found[name], value) for name, value in learnt.items())
    assert adapted.vision_tower.dtype == torch.bfloat16


def test_bfloat16_model_is_trained_under_autocast(place: Path, tmp_path: Path) -> None:
    """As the recipe of the full size has it: frozen weights in bfloat16, trained ones in float32."""
    arguments = settings(place, model_dtype="bfloat16")
    stage3_sft.main(arguments, config(tmp_path / "out", max_steps=2, bf16=True))
    history = json.loads((tmp_path / "out/trainer_state.json").read_text())["log_history"]
    assert all(entry["loss"] > 0 for entry in history if "loss" in entry)
    saved = load_file(tmp_path / "out/adapter_model.safetensors")
    assert {value.dtype for name, value in saved.items() if "_bridge" in name or "lora_" in name} == {torch.float32}
    merged = XEmoGPTForConditionalGeneration.from_pretrained(merge(tmp_path / "out", tmp_path / "merged"))
    learnt = load_file(place / "video/model.safetensors")["video_bridge.position_embedding"]
    moved = merged.model.video_bridge.position_embedding.float()
    assert not torch.equal(moved, learnt)
    assert torch.allclose(moved, learnt, atol=0.05)


def test_adapter_names_its_model_for_good(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    arguments = settings(place)
    arguments.model = "base"  # seen from here; elsewhere it would be looked for on the Hub
    stage3_sft.main(arguments, config(tmp_path / "out", max_steps=1))
    monkeypatch.chdir(tmp_path)
    assert (merge("out", "merged") / "model.safetensors").is_file()


def test_head_without_room_is_told(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    base = make_tiny_model(tmp_path / "base", text="llama", video_text_size=99, audio_text_size=32, audio_pooling=2)
    arguments = settings(place)
    arguments.model = str(base)
    with caplog.at_level(logging.WARNING):
        _, _, heads = stage3_sft.load(arguments)
    assert heads == ["audio_cue_head"]
    assert "compose the model with video_text_size=24 to keep it" in caplog.text
