# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt train`, `merge` and `export` as a user runs them: kills, torn checkpoints, full disks, two processes."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny_corpus import training_place
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM, TrainingArguments

from xemogpt.cli import main
from xemogpt.hub.export import METRIC as METRIC_FOLDER
from xemogpt.hub.export import export
from xemogpt.hub.merge import merge
from xemogpt.inference.explain import explain
from xemogpt.train import checkpoints
from xemogpt.train.checkpoints import SEAL, damage, last_whole_checkpoint

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_place(tmp_path_factory.mktemp("train"))


def recipe(place: Path, out: Path, **more: Any) -> Path:
    settings = {
        "model": str(place / "model"),
        "data": [{"manifest": str(place / "train.jsonl")}],
        "lora_r": 4,
        "output_dir": str(out),
        "max_steps": 8,
        "per_device_train_batch_size": 2,
        "learning_rate": 5e-3,
        "logging_steps": 1,
        "save_strategy": "steps",
        "save_steps": 2,
        "activation_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "seed": 3,
    }
    path = out.with_suffix(".yaml")
    path.write_text(yaml.safe_dump(settings | more))
    return path


def losses(out: Path) -> list[float]:
    history = json.loads((out / "trainer_state.json").read_text())["log_history"]
    return [entry["loss"] for entry in history if "loss" in entry]


@pytest.fixture(scope="module")
def trained(place: Path) -> Path:
    """What eight uninterrupted steps leave."""
    assert main(["train", "stage3", "--config", str(recipe(place, place / "whole"))]) == 0
    return place / "whole"


def test_dry_run_checks_everything_and_writes_nothing(place: Path, capsys: pytest.CaptureFixture) -> None:
    path = recipe(place, place / "dry")
    assert main(["train", "stage3", "--config", str(path), "--dry-run", "--set", "max_steps=100"]) == 0
    said = capsys.readouterr().out
    assert "data: 5 clips, 14 instructions an epoch {'reason': 5, 'visual': 4, 'audio': 5}" in said
    assert "clip a: input_ids (1, " in said
    assert "modality_gates (1, 2)" in said
    assert "video_bridge" in said
    assert "LoRA on 6 layers, as base_model.model.model.language_model.layers.0.self_attn.q_proj" in said
    assert "steps: 100, of 2 instructions" in said
    assert not (place / "dry").exists()


def test_dry_run_needs_no_gpu_of_its_own(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(TrainingArguments, "n_gpu", property(lambda self: 2))
    command = ["train", "stage3", "--config", str(recipe(place, place / "dry"))]
    assert main([*command, "--dry-run"]) == 0
    assert main(command) == 2
    assert "one process sees 2 GPUs" in capsys.readouterr().err


def test_dry_run_of_the_full_size_recipe(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """The paper's model from the root's configuration, on the meta device: no weight is there."""
    settings = [f"data=[{{manifest: {place / 'train.jsonl'}}}]", f"model={ROOT}", "video_bridge=", "audio_bridge="]
    settings += ["eval_data=[]", "eval_strategy='no'", "load_best_model_at_end=false"]
    options = [part for each in [*settings, f"output_dir={tmp_path / 'out'}"] for part in ("--set", each)]
    path = ROOT / "recipes/xemogpt-4b/stage3.yaml"
    assert main(["train", "stage3", "--config", str(path), "--dry-run", *options]) == 0
    said = capsys.readouterr().out
    assert "LoRA on 108 layers" in said  # q, k, v of 36 layers
    assert "video_bridge: " in said
    assert "25.21 M" in said
    assert "has no weights here, so clips, bridges and shapes" in said


@pytest.mark.parametrize("stage", ["stage1", "stage2", "stage3"])
@pytest.mark.parametrize("size", ["tiny", "xemogpt-4b"])
def test_every_recipe_is_read(stage: str, size: str) -> None:
    import importlib

    from xemogpt.commands.train import STAGES
    from xemogpt.train.recipe import load_recipe, training_class

    path = ROOT / "recipes" / size / f"{stage}.yaml"
    module = importlib.import_module(f"xemogpt.train.{STAGES[stage]}")
    load_recipe(path, ["use_cpu=true"], module.Arguments, training_class(stage))
    if size == "xemogpt-4b":  # every number names its paragraph, or that it has none
        lines = [line for line in path.read_text().splitlines() if ": " in line and not line.lstrip().startswith("#")]
        unsaid = [line for line in lines if "#" not in line and not line.startswith(("- ", "output_dir"))]
        assert unsaid == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "lora_rank=3"], "unknown key 'lora_rank'; did you mean lora_r"),
        (["--config", "none.yaml"], "none.yaml"),
    ],
)
def test_errors_are_one_line(place: Path, options: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    assert main(["train", "stage3", "--config", str(recipe(place, place / "bad")), *options]) == 2
    said = capsys.readouterr().err.strip()
    assert message in said
    assert len(said.splitlines()) == 1


# Checkpoints


def test_checkpoint_is_whole_or_not_used(trained: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = Path(shutil.copytree(trained, tmp_path / "out"))
    assert Path(str(last_whole_checkpoint(out))).name == "checkpoint-8"
    weights = out / "checkpoint-8" / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert damage(out / "checkpoint-8") == (
        "adapter_model.safetensors is missing or has another size than when it was written"
    )
    assert Path(str(last_whole_checkpoint(out))).name == "checkpoint-6"
    assert "checkpoint-8 is damaged and not used" in caplog.text
    (out / "checkpoint-6" / SEAL).unlink()
    (out / "checkpoint-4" / SEAL).write_text("{")
    assert Path(str(last_whole_checkpoint(out))).name == "checkpoint-2"
    (out / "checkpoint-2" / "optimizer.pt").unlink()
    with pytest.raises(ValueError, match="every checkpoint is damaged"):
        last_whole_checkpoint(out)
    assert last_whole_checkpoint(tmp_path / "nothing") is None


@pytest.mark.slow
def test_torn_checkpoint_costs_only_its_own_steps(place: Path, trained: Path) -> None:
    """The run goes on from the checkpoint before, to the same weights, bit for bit."""
    out = place / "torn"
    shutil.copytree(trained, out)
    (out / "adapter_model.safetensors").unlink()
    for name in ("checkpoint-8", "checkpoint-6"):
        weights = out / name / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])
    assert main(["train", "stage3", "--config", str(recipe(place, out))]) == 0
    assert losses(out) == losses(trained)
    first, second = (load_file(folder / "adapter_model.safetensors") for folder in (trained, out))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.slow
def test_full_disk_leaves_the_checkpoint_before(
    place: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = place / "full"
    original, calls = torch.save, []

    def no_room(*args: Any, **kwargs: Any) -> None:
        calls.append(args)
        if len(calls) > 4:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(*args, **kwargs)

    monkeypatch.setattr(torch, "save", no_room)
    assert main(["train", "stage3", "--config", str(recipe(place, out, save_total_limit=1))]) == 2
    said = capsys.readouterr().err
    assert "could not be written" in said
    assert "No space left on device" in said
    assert "make room and start the same command again" in said
    kept = list(out.glob("checkpoint-*"))
    assert len(kept) == 1
    assert damage(kept[0]) is None
    monkeypatch.undo()
    assert main(["train", "stage3", "--config", str(recipe(place, out, save_total_limit=1))]) == 0
    assert [path.name for path in out.glob("checkpoint-*")] == ["checkpoint-8"]


def test_checkpoint_of_another_configuration_is_refused(
    place: Path, trained: Path, capsys: pytest.CaptureFixture
) -> None:
    out = place / "other"
    shutil.copytree(trained, out)
    seal = out / "checkpoint-8" / SEAL
    content = json.loads(seal.read_text())
    content["configuration"]["rows"] = "1 of hash 0"
    seal.write_text(json.dumps(content))
    assert main(["train", "stage3", "--config", str(recipe(place, out, lora_r=8, max_steps=10))]) == 2
    said = capsys.readouterr().err
    told = "(max_steps 8, now 10, lora_r 4, now 8, rows '1 of hash 0', now '"
    assert f"checkpoint-8 is of another configuration {told}" in said


# Afterwards


def test_adapter_explains_and_merges(place: Path, trained: Path, tmp_path: Path) -> None:
    clip = json.loads((place / "train.jsonl").read_text().splitlines()[0])["video"]
    adapted = explain(clip, model=place / "model", adapter=trained, max_new_tokens=8)
    assert adapted.untrained_parts == [
        part for part in explain(clip, model=place / "model", max_new_tokens=1).untrained_parts
        if part.split(".")[0] not in ("video_bridge", "audio_bridge", "video_projector", "audio_projector")
    ]  # fmt: skip
    folder = merge(trained, tmp_path / "merged")
    assert explain(clip, model=folder, max_new_tokens=8).text == adapted.text
    from xemogpt.train.collator import InstructionCollator
    from xemogpt.train.stage3_sft import Arguments, load

    base, processor, _ = load(Arguments(model=str(place / "model")))
    row = {"id": "a#reason-en", "kind": "reason", "language": "en", "video": clip, "audio": None, "subtitle": None}
    batch = InstructionCollator(processor)([row | {"answer": "In the video, she frowns."}])
    inputs = {name: value for name, value in batch.items() if name not in ("ids", "modality_gates")}
    base.load_adapter(trained)
    merged = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    with torch.no_grad():
        torch.testing.assert_close(merged(**inputs).logits, base.eval()(**inputs).logits, atol=1e-4, rtol=1e-4)


def test_merge_says_what_it_needs(place: Path, trained: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no adapter_config\.json"):
        merge(place / "model", tmp_path / "out")
    other = make_tiny_model(tmp_path / "other", num_frames=8)
    with pytest.raises(ValueError, match="belongs to .*, not to .*other, whose weights are others"):
        merge(trained, tmp_path / "out", other)
    assert not (tmp_path / "out").exists()


def test_adapter_that_cannot_be_read_is_no_missing_one(tmp_path: Path) -> None:
    for torn in ('{"peft_type": "LO', "[]"):
        (tmp_path / "adapter_config.json").write_text(torn)
        with pytest.raises(OSError, match=r"adapter_config\.json: cannot be read \(.+\)"):
            merge(tmp_path, tmp_path / "out")
    with pytest.raises(FileNotFoundError, match=r"someone/adapter: holds no adapter_config\.json \(.+\); give the"):
        merge("someone/adapter", tmp_path / "out")


def test_merging_that_is_killed_leaves_no_model(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("xemogpt.hub.compose.own_processor", interrupted)
        with pytest.raises(KeyboardInterrupt):
            merge(trained, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()
    assert "\n# merged\n" in (merge(trained, tmp_path / "merged") / "README.md").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["merged"]


def test_export_takes_what_belongs_on_the_hub_and_nothing_else(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = merge(trained, tmp_path / "merged")
    (folder / "optimizer.pt").write_bytes(b"1")
    (folder / "notes.txt").write_text("private")
    (folder / "checkpoint-2").mkdir()
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["_name_or_path"] = str(tmp_path / "llm")  # as a model composed of local folders has it
    (folder / "config.json").write_text(json.dumps(config))
    assert main(["export", str(folder), "--out", str(tmp_path / "hub")]) == 0
    said = capsys.readouterr().out
    assert "left out: checkpoint-2/, notes.txt, optimizer.pt" in said
    copied = {path.name for path in (tmp_path / "hub").iterdir()}
    assert {"README.md", "config.json", "model.safetensors", "modeling_xemogpt.py", "tokenizer.json"} <= copied
    assert not {"optimizer.pt", "notes.txt", "checkpoint-2", "training_args.bin"} & copied
    assert str(tmp_path) not in (tmp_path / "hub" / "config.json").read_text()
    assert main(["export", str(folder), "--out", str(tmp_path / "hub")]) == 2
    assert "exists and is not empty" in capsys.readouterr().err


METRIC = """
import datasets
import evaluate
from .count import equal

class Equal(evaluate.Metric):
    def _info(self):
        text = datasets.Value("string")
        features = datasets.Features({"predictions": text, "references": text})
        return evaluate.MetricInfo(description="", citation="", inputs_description="", features=features)

    def _compute(self, predictions, references):
        return {"equal": equal(predictions, references)}
"""


def test_export_takes_the_metric_along_and_tries_it(trained: Path, tmp_path: Path) -> None:
    evaluate = pytest.importorskip("evaluate")
    folder, metric = merge(trained, tmp_path / "merged"), tmp_path / "equal_cues"
    (metric / "__pycache__").mkdir(parents=True)
    (metric / "equal_cues.py").write_text(METRIC)
    (metric / "count.py").write_text("def equal(a, b):\n    return sum(map(str.__eq__, a, b))\n")
    (metric / "README.md").write_text("---\ntitle: Equal\n---\n")
    (metric / "notes.txt").write_text("private")
    done = export(folder, tmp_path / "hub", metric)
    names = ["equal_cues/README.md", "equal_cues/count.py", "equal_cues/equal_cues.py"]
    assert done.copied[-3:] == names
    assert done.unchecked is None
    loaded = evaluate.load(str(tmp_path / "hub" / "equal_cues"))
    assert loaded.compute(predictions=["a", "b"], references=["a", "c"]) == {"equal": 1}
    assert sorted(path.name for path in (tmp_path / "hub/equal_cues").iterdir()) == [each[11:] for each in names]

    (metric / "count.py").unlink()
    with pytest.raises(ValueError, match="the metric does not load: .*count"):
        export(folder, tmp_path / "again", metric)
    assert export(folder, tmp_path / "none", tmp_path / "absent").copied == done.copied[:-3]


def test_the_projects_own_metric_goes_with_a_model(trained: Path, tmp_path: Path) -> None:
    if not METRIC_FOLDER.is_dir():
        pytest.skip("the metric is not part of this checkout")
    done = export(merge(trained, tmp_path / "merged"), tmp_path / "hub")
    assert {"emocue_360/emocue_360.py", "emocue_360/scoring.py"} <= set(done.copied)
    assert done.unchecked is None


def test_export_refuses_what_others_could_not_use(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["export", str(trained), "--out", str(tmp_path / "hub")]) == 2
    assert "adapter_config.json tells a path of this machine" in capsys.readouterr().err
    folder = merge(trained, tmp_path / "merged")
    (folder / "model.safetensors").unlink()
    assert main(["export", str(folder), "--out", str(tmp_path / "hub")]) == 2
    assert "has no weights" in capsys.readouterr().err
    assert not (tmp_path / "hub").exists()


def test_seal_is_written_last_and_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12")
    assert damage(tmp_path) == f"it has no {SEAL}, which is written last"
    checkpoints.seal(tmp_path)
    assert damage(tmp_path) is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", SEAL]
