# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The ablations: what is counted, the intervals of gains, models without bridges, both parts on a toy corpus."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from test_stage3 import config
from tiny_corpus import TEXT, rows, write_manifest
from tiny_cue_encoder import bert_config, clip_text_config
from tiny_model import make_tiny_model
from transformers import AutoProcessor

from xemogpt import cli
from xemogpt.data.sample import EmotionSample
from xemogpt.data.synth.exact import Truth, exact_cues
from xemogpt.inference.clips import Clip
from xemogpt.modeling_xemogpt import XEmoGPTForConditionalGeneration
from xemogpt.train import stage3_sft
from xemogpt.train.alignment_handover import extract
from xemogpt.train.collator import InstructionCollator
from xemogpt.train.instructions import instructions

SMALL = ("bf16=false", "model_dtype=float32", "lora_r=4", "lora_targets=[q_proj]", "per_device_train_batch_size=2")


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_ablation")


def test_cues_of_the_modality_alone_are_counted(study: ModuleType) -> None:
    truth = {
        "a": Truth({"brows_lowered": 1, "smile": -1, "tremor": 1}, "sad", "angry", "sad", "video-aligned"),
        "b": Truth({"smile": 1}, "happy", "happy", "happy", "consistent"),
    }
    said = {"b": "She smiles and frowns. Her voice trembles.", "a": "In the video, he frowns. He looks sad."}
    found = study.counted(said, truth, "visual")
    assert found.cues.tolist() == [[1, 2, 1], [1, 1, 1]]  # in the order of the answers; no tremor, no denied smile
    assert found.obeys.tolist() == [0, 1]
    assert float(study.f1(found.cues.mean(0))) == pytest.approx(2 * 2 / (3 + 2))
    whole = exact_cues([{"smile": 1, "brows_lowered": 1}, {"brows_lowered": 1}], [{"smile": 1}, {"brows_lowered": 1}])
    assert float(study.f1(found.cues.mean(0))) == pytest.approx(whole["visual"]["f1"])
    heard = study.counted({"a": "His voice trembles. He sounds angry."}, truth, "audio")
    assert heard.cues.tolist() == [[1, 1, 1]]
    assert heard.obeys.tolist() == [1]  # the voice's emotion, not the face's


def test_gains_are_paired_over_clips_and_seeds(study: ModuleType) -> None:
    clips = np.random.default_rng(0).integers(0, 2, (2, 50, 1)).astype(float)
    same = study.gain(clips, clips, study.share)
    assert (same["gain"], same["interval"], same["by_seed"]) == (0, [0, 0], [0, 0])
    shifted = study.gain(clips + 0.1, clips, study.share)  # however much clips differ, each differs by the same
    assert [shifted["gain"], *shifted["interval"]] == pytest.approx([0.1] * 3)
    lucky = study.gain([clips[0], clips[1] + 0.2], clips, study.share)
    assert lucky["gain"] == pytest.approx(0.1)
    assert lucky["interval"][0] < 0  # one seed of two is not evidence
    assert sum(lucky["interval"]) / 2 == pytest.approx(0.1)
    assert lucky["by_seed"] == pytest.approx([0, 0.2])
    other = np.random.default_rng(1).integers(0, 2, (2, 50, 1)).astype(float)
    low, high = study.gain(other, clips, study.share)["interval"]
    assert low < (other - clips).mean() < high
    apart = study.gain(np.concatenate([other] * 4), np.concatenate([clips] * 4), study.share)["interval"]
    assert apart[1] - apart[0] < high - low  # more seeds are known better
    counts = np.stack([np.array([[1, 2, 2]] * 5 + [[0, 1, 3]] * 5, float)] * 2)
    better = counts + [1, 0, 0]
    assert study.gain(better, counts, study.f1)["gain"] == pytest.approx(2 * 15 / 40 - 2 * 5 / 40)


def test_nothing_is_asked_as_stage_3_taught_it(study: ModuleType, tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "model")
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    row = next(row for row in rows(tmp_path) if row["id"] == "a")
    asked = {each.kind: each for each in instructions(EmotionSample.from_row(row), ["see", "hear"], ["en"])}
    collator = InstructionCollator(processor)
    clip = Clip(video=row["video"], subtitle="Well.", id="a")
    for kind, modality in (("see", "visual"), ("hear", "audio")):
        taught = collator.conversation(stage3_sft._row(asked[kind]))[:-1]
        one, question = study.ALONE[modality](clip), study.Unasked(modality)
        again = processor.conversation(
            one.video, one.audio, one.subtitle, question.text, question.task, question.language
        )
        assert again == taught


def test_the_table_has_every_measure(study: ModuleType) -> None:
    gains = {"gated - ungated": {"gain": 0.1, "interval": [-0.05, 0.25], "by_seed": [0.1]}}
    row = {"mean": {"ungated": 0.4, "gated": 0.5}, "gains": gains}
    table = study.shown({"exact F1": {"visual": row}, "names the own emotion first": {"audio": row}})
    assert table.splitlines() == [
        "|  | ungated | gated | gated - ungated |",
        "| --- | --- | --- | --- |",
        "| visual F1 | 0.40 | 0.50 | +0.10 (-0.05 to +0.25) |",
        "| audio: names the own emotion | 0.40 | 0.50 | +0.10 (-0.05 to +0.25) |",
    ]


def toy(folder: Path) -> Path:
    """A corpus of a few clips whose truth is made up, a model, bridges of stages 1 and 2, and a start for gating."""
    clips = [row for row in rows(folder) if row["id"] in "abe"]
    telling = [("frowns", "low"), ("smiles", "loud"), ("looks down", "flat"), ("nods", "soft")]
    for split, count in (("train", 16), ("validation", 3), ("test_conflict", 3)):
        (folder / split).mkdir()
        many, truth = [], []
        for index in range(count):
            seen, heard = telling[index % 4]
            id, text = f"{split}-{index}", TEXT.replace("frowns", seen).format(heard, "sad")
            many.append(
                {"id": id, "video": clips[index % 3]["video"], "text": text, "subtitle": "Well.", "split": split}
            )
            cues = [{"type": "smile", "polarity": 1}, {"type": "tremor", "polarity": 1}]
            truth.append({"id": id, "cues": cues, "face": "sad", "voice": "angry", "label": "sad", "subset": "x"})
        write_manifest(folder / split / "manifest.jsonl", many)
        write_manifest(folder / split / "truth.jsonl", truth)
    model = XEmoGPTForConditionalGeneration.from_pretrained(
        make_tiny_model(folder / "base", video_text_size=24, audio_text_size=32)
    )
    for media, text in (("video", clip_text_config()), ("audio", bert_config())):
        extract(model, media, text).save_pretrained(folder / media)
    data = [{"manifest": str(folder / "train/manifest.jsonl")}]
    settings: dict[str, Any] = {"lora_r": 4, "lora_alpha": 64, "lora_dropout": 0.0, "lora_targets": ["q_proj"]}
    stage3_sft.main(
        stage3_sft.Arguments(model=str(folder / "base"), data=data, **settings), config(folder / "start", max_steps=1)
    )
    return folder


@pytest.mark.slow
def test_both_parts_on_a_toy_corpus(study: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, made = toy(tmp_path), []

    def train(command: list[str], check: bool) -> None:
        made.append(command)
        assert cli.main(command[3:]) == 0  # in this process, which has imported everything

    monkeypatch.setitem(study.run.__globals__, "subprocess", SimpleNamespace(run=train))
    out = place / "ablation.json"
    common = ["--model", str(place / "base"), "--corpus", str(place), "--work", str(place / "work")]
    common += ["--steps", "2", "--seeds", "2", "--clips", "2", "--out", str(out)]
    common += [word for each in SMALL for word in ("--set", each)]
    bridges = ["bridges", *common, "--video-bridge", str(place / "video"), "--audio-bridge", str(place / "audio")]
    assert study.main([*bridges, "--start-projectors", "16"]) == 0
    assert len(made) == 8
    assert study.main(["gating", *common, "--adapter", str(place / "start")]) == 0
    assert len(made) == 12
    found = json.loads(out.read_text())
    assert found.keys() == {"bridges", "gating"}
    assert str(place) not in out.read_text()
    table = found["bridges"]["exact F1"]
    assert table.keys() == {"visual", "audio", "all"}
    assert table["visual"]["mean"].keys() == {"none", "VECB", "AECB", "both"}
    losses = found["bridges"]["validation loss"]["by_seed"]
    assert all(len(each) == 2 and np.isfinite(each).all() for each in losses.values())
    assert losses["none"] != losses["both"]
    budget = found["bridges"]["budget"]
    assert (budget["steps"], budget["questions"], budget["seeds"]) == (2, 4, 2)
    assert found["bridges"]["projectors explain"].keys() == table["visual"]["mean"].keys()
    (folder,) = (place / "work").glob("AECB-start-*")
    learnt = load_file(place / "audio/model.safetensors")
    start = load_file(folder / "model.safetensors")
    assert not any("video_bridge" in name for name in start)
    bridge = {name.removeprefix("model."): weight for name, weight in start.items() if "audio_bridge" in name}
    assert bridge
    assert all(torch.equal(learnt[name], weight) for name, weight in bridge.items())
    assert found["gating"]["names the own emotion first"]["audio"]["gains"]["gated - ungated"]["by_seed"]
    assert study.main([*bridges, "--start-projectors", "16"]) == 0  # nothing is made twice
    assert len(made) == 12
    assert json.loads(out.read_text())["bridges"]["exact F1"] == table


def test_document_shows_what_was_measured(study: ModuleType, root: Path) -> None:
    result = root / "results/tiny_ablation.json"
    if not result.is_file():
        pytest.skip("has not been measured yet")
    document = (root / "docs/tiny.md").read_text(encoding="utf-8")
    for part in json.loads(result.read_text(encoding="utf-8")).values():
        for line in study.shown(part).splitlines()[2:]:
            assert line in document
