# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stages 1 and 2 from manifest to cue encoder: they learn, move what they declare, and run the same anywhere."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_cue_encoder import make_audio_encoder, make_text_tower, make_video_encoder
from tiny_model import make_tiny_model
from toy_clips import toy_corpus
from transformers import AutoModel, TrainingArguments

from xemogpt.train import stage1_vecb, stage2_aecb
from xemogpt.train.alignment_data import read_pairs
from xemogpt.train.alignment_start import load_encoder, plan_encoder
from xemogpt.train.recipe import load_recipe

STAGES: dict[str, Any] = {"video": stage1_vecb, "audio": stage2_aecb}


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/ and eval/ corpora, and a random encoder of each kind."""
    folder = tmp_path_factory.mktemp("toys")
    toy_corpus(folder / "train", 24)
    toy_corpus(folder / "eval", 8, first=24)
    make_video_encoder(folder / "video")
    make_audio_encoder(folder / "audio")
    return folder


def train(toys: Path, media: str, out: Path, settings: dict[str, Any] | None = None, **training: Any) -> list[dict]:
    """Runs a stage as its recipe would; returns what it logged."""
    stage = STAGES[media]
    arguments = {
        "model": str(toys / media),
        "data": [{"manifest": str(toys / "train" / "manifest.jsonl")}],
        "cache": str(toys / "cache"),
        **(settings or {}),
    }
    defaults = {
        "per_device_train_batch_size": 8,
        "max_steps": 6,
        "learning_rate": 5e-3,
        "logging_steps": 1,
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "save_strategy": "no",
        "seed": 0,
    }
    stage.main(stage.Arguments(**arguments), TrainingArguments(str(out), **{**defaults, **training}))
    return json.loads((out / "trainer_state.json").read_text())["log_history"]


def losses(history: list[dict]) -> list[float]:
    return [row["loss"] for row in history if "loss" in row]


@pytest.mark.parametrize("media", ["video", "audio"])
def test_a_stage_learns_and_moves_what_it_declares(media: str, toys: Path, tmp_path: Path) -> None:
    evaluation = {"eval_data": [{"manifest": str(toys / "eval" / "manifest.jsonl")}]}
    history = train(toys, media, tmp_path, evaluation, max_steps=60, eval_strategy="steps", eval_steps=30)
    first, last = (sum(part) / 5 for part in (losses(history)[:5], losses(history)[-5:]))
    assert last < 0.6 * first
    scores = [row for row in history if "eval_media_to_text_r1" in row][-1]
    assert scores["eval_text_to_media_r5"] == 1
    assert scores["eval_media_to_text_r1"] > 0.5  # of four captions
    assert {"eval_uar", "eval_war"} <= scores.keys()
    assert ("eval_temporal_accuracy" in scores) == (media == "video")

    before, after = load_file(toys / media / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    trained = {name for name in before if name.startswith((f"{media}_bridge.", f"{media}_cue_head."))}
    unmovable = {name for name in trained if name.endswith("k_proj.bias")}  # softmax cancels them
    assert moved <= trained
    assert trained - unmovable <= moved
    encoder = AutoModel.from_pretrained(tmp_path, trust_remote_code=True)
    assert type(encoder).__name__ == f"XEmoGPT{media.capitalize()}CueEncoder"


@pytest.mark.parametrize("media", ["video", "audio"])
def test_the_towers_in_the_step_give_what_the_cache_gives(media: str, toys: Path, tmp_path: Path) -> None:
    exact = {"cache_dtype": "float32", "cache": str(tmp_path / "exact")}
    cached = train(toys, media, tmp_path / "cached", exact, max_steps=3)
    live = train(toys, media, tmp_path / "live", {"cache": None}, max_steps=3)
    assert losses(live) == pytest.approx(losses(cached), rel=1e-4)


def test_a_resumed_run_sees_the_same_groups_of_like_length(toys: Path, tmp_path: Path) -> None:
    out, evaluation = tmp_path / "out", [{"manifest": str(toys / "eval" / "manifest.jsonl")}]
    settings = {"eval_data": evaluation}
    training = {"train_sampling_strategy": "group_by_length", "save_strategy": "steps", "save_steps": 2}
    whole = train(toys, "audio", out, settings, **training)
    weights = load_file(out / "model.safetensors")
    card = (out / "README.md").read_text()
    assert "# XEmoGPT, stage 2" in card
    assert "eval_media_to_text_r1" in card
    assert str(toys) not in card

    shutil.rmtree(out / "checkpoint-6")  # three steps make an epoch: on from the second one's first step
    torch.rand(7)
    assert losses(train(toys, "audio", out, settings, **training)) == losses(whole)
    again = load_file(out / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    with pytest.raises(
        ValueError, match=r"checkpoint-6 is of another configuration \(text_sources .*now \['label'\], rows "
    ):
        train(toys, "audio", out, settings | {"text_sources": ["label"]}, **training)
    with pytest.raises(ValueError, match="group_by_length needs a cache"):
        train(toys, "audio", tmp_path / "live", {"cache": None}, **training)


def test_heads_without_a_loss_stay_as_they_are(toys: Path, tmp_path: Path) -> None:
    history = train(toys, "video", tmp_path, {"temporal_weight": 0.0, "mask": "zeros"}, max_steps=2)
    assert "temporal" not in history[0]
    before, after = load_file(toys / "video" / "model.safetensors"), load_file(tmp_path / "model.safetensors")
    names = [name for name in before if "temporal" in name or "mask_token" in name]
    assert len(names) == 5
    assert all(torch.equal(before[name], after[name]) for name in names)
    assert not torch.equal(
        before["video_cue_head.reconstruction.weight"], after["video_cue_head.reconstruction.weight"]
    )


def rewrite(toys: Path, out: Path, change: Any) -> list[dict[str, str]]:
    """The training manifest with rows changed, as a mixture."""
    lines = (toys / "train" / "manifest.jsonl").read_text().splitlines()
    rows = [row | {"video": str(toys / "train" / row["video"])} for row in map(json.loads, lines)]
    change(rows)
    out.mkdir(exist_ok=True)
    (out / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [{"manifest": str(out / "manifest.jsonl")}]


def test_a_medium_is_paired_with_its_own_cues(toys: Path, tmp_path: Path) -> None:
    cues = [
        {"text": "She frowns.", "modality": "visual"},
        {"text": "No tears are seen", "modality": "visual", "polarity": -1},
        {"text": "Her voice is low", "modality": "audio"},
        {"text": "She sighs.", "modality": "audio"},
        {"text": "She sounds sad", "modality": "audio", "kind": "inference"},
    ]

    def annotate(rows: list[dict]) -> None:
        rows[0] |= {"cues": cues, "caption": "She frowns."}
        rows[1] |= {"cues": cues[:2]}

    data = rewrite(toys, tmp_path, annotate)
    video = read_pairs(data, "video", ["cues", "caption", "label"]).pairs
    audio = read_pairs(data, "audio", stage2_aecb.Arguments().text_sources).pairs
    assert [pair.text for pair in video[:2]] == ["She frowns"] * 2
    assert audio[0].text == "Her voice is low; She sighs"
    assert audio[1].text == json.loads((toys / "train" / "manifest.jsonl").read_text().splitlines()[1])["caption"]


def test_clips_of_no_use_are_listed_counted_and_not_replaced(
    toys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "torn.mp4").write_bytes((toys / "train" / "clip_001.mp4").read_bytes()[:900])

    def spoil(rows: list[dict]) -> None:
        rows[1]["video"] = str(tmp_path / "torn.mp4")
        rows[2] |= {"caption": " ", "label": None}
        rows[3]["video"] = "absent.mp4"

    data = rewrite(toys, tmp_path / "data", spoil)
    settings = {"data": data, "cache": str(tmp_path / "cache"), "max_rejects": 0.2}
    for _ in range(2):  # the second run finds the cache
        train(toys, "video", tmp_path / "out", settings, max_steps=1)
        rows = [json.loads(line) for line in (tmp_path / "out" / "rejects.jsonl").read_text().splitlines()]
        assert {row["id"]: row["reason"] for row in rows}.keys() == {"clip_001", "clip_002", "clip_003"}
        reasons = {row["id"]: row["reason"] for row in rows}
        assert "torn.mp4" in reasons["clip_001"]
        assert reasons["clip_002"] == "has no text: no caption, cues, label"
        assert reasons["clip_003"] == "no such file"
    assert "3 of 24 clips are of no use and left out" in caplog.text
    assert len(caplog.records) < 10
    with pytest.raises(ValueError, match="12% of the clips are of no use, more than max_rejects 10%"):
        train(toys, "video", tmp_path / "out", {**settings, "max_rejects": 0.1}, max_steps=1)


def test_without_a_cache_a_torn_clip_stops_the_run_by_name(toys: Path, tmp_path: Path) -> None:
    (tmp_path / "torn.mp4").write_bytes(b"no clip")

    def spoil(rows: list[dict]) -> None:
        rows[5]["video"] = str(tmp_path / "torn.mp4")

    data = rewrite(toys, tmp_path / "data", spoil)
    with pytest.raises(ValueError, match=r"clip_005: cannot be read \(.*torn.mp4"):
        train(toys, "video", tmp_path / "out", {"data": data, "cache": None}, num_train_epochs=1, max_steps=-1)


def test_no_clip_is_validated_on_that_is_trained_on(toys: Path, tmp_path: Path) -> None:
    data = [{"manifest": str(toys / "train" / "manifest.jsonl")}]
    with pytest.raises(ValueError, match="24 clips are in data and in eval_data, as clip_000"):
        train(toys, "video", tmp_path, {"data": data, "eval_data": data})


@pytest.mark.parametrize("weight", [0.5, 2.0])
def test_a_weight_of_validation_is_refused(toys: Path, tmp_path: Path, weight: float) -> None:
    data = [{"manifest": str(toys / "eval" / "manifest.jsonl"), "weight": weight}]
    with pytest.raises(ValueError, match=rf"weight {weight}: here every clip is taken once"):
        train(toys, "video", tmp_path / "out", {"eval_data": data})


def test_a_loss_that_is_no_number_stops_the_run_and_names_the_clips(toys: Path, tmp_path: Path) -> None:
    with pytest.raises(FloatingPointError, match=r"from step 2 on, first in the batch of clip_0\d\d, "):
        train(toys, "video", tmp_path, {}, learning_rate=1e30, max_steps=9)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"data": []}, "data names no manifest"),
        ({"model": None}, "name either model"),
        ({"tower": "somewhere"}, "name either model"),
        ({"text_sources": ["captions"]}, "unknown text source 'captions'"),
        ({"data": [{"manifest": "m", "times": 2}]}, "an entry of a mixture is"),
        ({}, "24 pairs do not fill a batch of 32"),
        ({"text_tower": "somewhere"}, "a cue encoder brings its own text tower: leave out text_tower$"),
        ({"text_tower": "somewhere", "text_pooling": "mean"}, "leave out text_tower and text_pooling"),
        ({"mask": "noise"}, "mask must be one of token, zeros"),
        ({"temporal_weight": -1.0}, "must be 0 or more"),
        ({"mask_ratio": 1.5}, "mask_ratio must be above 0 and at most 1, not 1.5"),
        ({"tower_dtype": "float23"}, "unknown dtype 'float23'"),
    ],
)
def test_settings_that_cannot_be_are_refused(
    toys: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        train(toys, "video", tmp_path, settings, per_device_train_batch_size=32, dataloader_drop_last=not settings)


def test_a_model_of_the_other_kind_is_refused(toys: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="text_tower is not set|not an XEmoGPT or a video cue encoder"):
        train(toys, "video", tmp_path, {"model": str(toys / "audio")})
    message = "'xemogpt_audio_cue_encoder', not an XEmoGPT or a video cue encoder"
    with pytest.raises(ValueError, match=message):
        train(toys, "video", tmp_path, {"model": str(toys / "audio"), "text_tower": str(toys / "video")})


def test_the_cache_of_another_tower_is_refused(toys: Path, tmp_path: Path) -> None:
    other = make_video_encoder(tmp_path / "other", seed=1)
    train(toys, "video", tmp_path / "out", max_steps=1)
    with pytest.raises(ValueError, match="is the cache of another tower: 'clip"):
        train(toys, "video", tmp_path / "out", {"model": str(other)}, max_steps=1)


def test_a_dry_run_decodes_and_counts_but_trains_nothing(
    toys: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    data = [{"manifest": str(toys / "train" / "manifest.jsonl"), "weight": 2}]
    arguments = stage1_vecb.Arguments(model=str(toys / "video"), data=data)
    training = TrainingArguments(str(tmp_path / "out"), per_device_train_batch_size=4, use_cpu=True, report_to="none")
    stage1_vecb.main(arguments, training, dry_run=True)
    said = capsys.readouterr().out
    assert "48 pairs to train on, 0 to validate on" in said
    assert "clip_000: (16, 32, 32, 3), text 'She looks and sounds sad.'" in said
    assert "  video_bridge.position_embedding\n" in said
    assert "global batch 4, 36 steps" in said
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize("media", ["video", "audio"])
@pytest.mark.parametrize("kind", ["xemogpt", "encoder"])
def test_what_is_planned_is_what_is_run_and_no_code_of_the_model(
    kind: str, media: str, toys: Path, tmp_path: Path
) -> None:
    arguments, model = STAGES[media].Arguments(model=str(tmp_path / "model")), tmp_path / "model"
    if kind == "encoder":
        shutil.copytree(toys / media, model)
    else:
        make_tiny_model(model, num_frames=8, cue_embedding_size=12)
        arguments.text_tower, arguments.text_pooling = str(make_text_tower(tmp_path / "text")), "mean"
    for code in model.glob("*.py"):
        code.write_text("raise AssertionError('it runs code that nobody has looked at')")
    planned, (encoder, processor) = plan_encoder(arguments, media).config, load_encoder(arguments, media)
    names = ["cue_embedding_size", "text_pooling"] + (["num_frames", "vision_feature"] if media == "video" else [])
    assert {name: getattr(planned, name) for name in names} == {name: getattr(encoder.config, name) for name in names}
    bridges = [
        getattr(each, f"{media}_bridge_config").to_dict() | {"dtype": None} for each in (planned, encoder.config)
    ]
    assert bridges[0] == bridges[1]
    if media == "video":
        assert processor.num_frames == planned.num_frames


def test_a_run_on_other_rows_is_not_resumed(toys: Path, tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.jsonl"
    lines = (toys / "train" / "manifest.jsonl").read_text().replace('"video": "', f'"video": "{toys}/train/')
    settings = {"data": [{"manifest": str(manifest)}]}
    manifest.write_text(lines)
    train(toys, "video", tmp_path / "out", settings, max_steps=1, save_strategy="steps", save_steps=1)
    manifest.write_text("".join(lines.splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"another configuration \(rows '24 of hash \w+', now '23 of hash"):
        train(toys, "video", tmp_path / "out", settings, max_steps=1, save_strategy="steps", save_steps=1)


@pytest.mark.parametrize("name", ["stage1", "stage2"])
def test_the_papers_recipe_is_planned_without_its_weights(
    name: str, toys: Path, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    overrides = [f"data=[{{manifest: {toys / 'train' / 'manifest.jsonl'}}}]", "eval_data=[]", "bf16=false"]
    overrides += [f"output_dir={tmp_path}", "eval_strategy='no'", "load_best_model_at_end=false", "use_cpu=true"]
    overrides += ["per_device_train_batch_size=8"]
    stage = STAGES["video" if name == "stage1" else "audio"]
    recipe = root / "recipes" / "xemogpt-4b" / f"{name}.yaml"
    stage.main(*load_recipe(recipe, overrides, stage.Arguments, TrainingArguments), dry_run=True)
    said = capsys.readouterr().out
    trained, frozen = {"stage1": ("28.23", "426.83"), "stage2": ("26.57", "786.37")}[name]
    assert f"tensors, {trained}" in said
    assert f"frozen: {frozen}" in said


# ---- the same run, however it is run

PROGRAM = """
import json, sys, time
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from test_alignment_training import train
settings, training = json.loads(sys.argv[5])
if training.pop("slowly", False):
    from transformers import Trainer
    fast = Trainer.training_step
    def step(*args, **kwargs):
        time.sleep(0.3)
        return fast(*args, **kwargs)
    Trainer.training_step = step
train(Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]), settings, **training)
"""


def command(toys: Path, media: str, out: Path, settings: dict[str, Any], **training: Any) -> list[str]:
    arguments = [str(Path(__file__).parent), str(toys), media, str(out), json.dumps([settings, training])]
    return ["-c", PROGRAM, *arguments]


@pytest.mark.slow
@pytest.mark.parametrize("media", ["video", "audio"])
def test_a_killed_run_goes_on_as_if_it_had_not_been(media: str, toys: Path, tmp_path: Path) -> None:
    training = {"num_train_epochs": 4, "max_steps": -1, "save_strategy": "steps", "save_steps": 4}
    settings: dict[str, Any] = {}
    whole = train(toys, media, tmp_path / "whole", settings, **training)
    out = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, *command(toys, media, out, settings, **training, slowly=True)])
    deadline = time.monotonic() + 90
    while not (out / "checkpoint-4" / "trainer_state.json").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.5)  # into the next steps: three make an epoch
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "model.safetensors").exists()
    resumed = train(toys, media, out, settings, **training)
    assert losses(resumed) == losses(whole)
    first, second = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", out))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize("media", ["video", "audio"])
def test_two_processes_train_as_one(media: str, toys: Path, tmp_path: Path) -> None:
    histories, weights = [], []
    for count in (1, 2):
        out, program = tmp_path / f"{count}", tmp_path / "program.py"
        program.write_text(PROGRAM)
        settings = {"cache": str(tmp_path / f"cache{count}")}  # two processes build it together
        training = {"per_device_train_batch_size": 8 // count, "dataloader_drop_last": True, "ddp_backend": "gloo"}
        launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
        done = subprocess.run(
            [*launcher, str(program), *command(toys, media, out, settings, **training)[2:]],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            timeout=240,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        histories.append(losses(json.loads((out / "trainer_state.json").read_text())["log_history"]))
        weights.append(load_file(out / "model.safetensors"))
    assert histories[1] == pytest.approx(histories[0], rel=1e-4)
    for name in weights[0]:
        torch.testing.assert_close(weights[1][name], weights[0][name], rtol=1e-3, atol=2e-4)
