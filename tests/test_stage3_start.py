# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Before stage 3 of the small model: short questions, projectors that start near the words, and going on."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_corpus import TEXT, rows, write_manifest
from tiny_model import make_tiny_model
from trl import SFTConfig

from xemogpt.data.sample import EmotionSample
from xemogpt.train import stage3_sft
from xemogpt.train.collator import InstructionCollator
from xemogpt.train.instructions import instructions
from xemogpt.train.mixture import read_mixture
from xemogpt.train.projector_start import start_projectors
from xemogpt.train.stage3_sft import Arguments, projector_rows


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and 40 samples of the same few clips, each with words of its own."""
    folder = tmp_path_factory.mktemp("start")
    make_tiny_model(folder / "model")
    clips = rows(folder)
    telling = [("frowns", "low"), ("smiles widely", "loud and high"), ("looks down", "flat"), ("nods", "very soft")]
    many = []
    for index in range(40):
        seen, heard = telling[index % 4]
        clip = (clips[0], clips[1], clips[4])[index % 3]
        text = f"In the video, she {seen}. In the audio, her voice is {heard}. Therefore, she is sad."
        many.append({"id": f"n{index}", "video": clip["video"], "text": text, "subtitle": "Well."})
    write_manifest(folder / "train.jsonl", many)
    return folder


def arguments(place: Path, **more: Any) -> Arguments:
    given = {"kinds": ["see", "hear"], "lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0} | more
    return Arguments(model=str(place / "model"), data=[{"manifest": str(place / "train.jsonl")}], **given)


def config(out: Path, **more: Any) -> SFTConfig:
    given = {"max_steps": 1, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "logging_steps": 1}
    given |= {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "seed": 0}
    return SFTConfig(output_dir=str(out), activation_checkpointing=False, **given | more)


@pytest.fixture
def loaded(place: Path) -> Iterator[tuple[Any, InstructionCollator, list[dict[str, Any]]]]:
    settings = arguments(place)
    model, processor, _ = stage3_sft.load(settings)
    told = projector_rows(read_mixture(settings.data).samples, arguments(place, start_projectors=40))
    return model, InstructionCollator(processor), told


# Short questions


def test_see_and_hear_carry_one_medium_and_ask_nothing(loaded: Any) -> None:
    _, collator, told = loaded
    seen, heard = (next(row for row in told if row["kind"] == kind) for kind in ("see", "hear"))
    assert (seen["audio"], seen["subtitle"], seen["answer"]) == ("none", None, "In the video, she frowns.")
    assert (heard["video"], heard["audio"], heard["subtitle"]) == (None, seen["video"], None)
    assert heard["answer"] == "In the audio, her voice is low."
    batch = collator([seen, heard])
    assert batch["modality_gates"].tolist() == [[True, False], [False, True]]
    assert len(batch["pixel_values_videos"]) == len(batch["input_values"]) == 1
    prompts = [collator.processor.tokenizer.decode(ids) for ids in batch["input_ids"]]
    assert "<Audio>" not in prompts[0]
    assert "<Video>" not in prompts[1]
    assert not any("Subtitle" in prompt or "paragraph" in prompt for prompt in prompts)


def test_a_sample_without_the_medium_has_no_such_question() -> None:
    heard = EmotionSample.from_row({"id": "y", "audio": "y.wav", "text": TEXT.format("low", "sad")})
    made = list(instructions(heard, ["see", "hear"], ["en"], blind=1.0))
    assert [(each.kind, each.video, each.audio) for each in made] == [("hear", None, "y.wav")]


def test_every_cue_is_a_sentence() -> None:
    cues = [{"text": text, "modality": "visual"} for text in ("A frown", "at last, he nods", "he is tall")]
    sample = EmotionSample.from_row({"id": "x", "video": "x.mp4", "cues": cues})
    (made,) = instructions(sample, ["visual"], ["en"])
    assert made.answer == "In the video, A frown. At last, he nods. He is tall."


# Projectors


def test_projectors_solve_the_ridge_regression(loaded: Any) -> None:
    """Against numpy's least squares, on a system augmented by the penalty; clips and words are computed one by one."""
    model, collator, told = loaded
    explained = start_projectors(model, collator, told)
    assert set(explained) == {"video", "audio"}
    embeddings = model.get_input_embeddings().weight.detach().numpy().astype(np.float64)
    for kind, medium in (("see", "video"), ("hear", "audio")):
        clips, words, lengths = [], [], []
        for row in told:
            if row["kind"] != kind:
                continue
            batch = collator([row])
            with torch.no_grad():
                if medium == "video":
                    features = model.get_video_features(batch["pixel_values_videos"]).last_hidden_state
                else:
                    inputs = {name: x for name, x in batch.items() if name.startswith("input_") and "ids" not in name}
                    features = model.model.encode_audio(**inputs).last_hidden_state
            clips.append(features[0].mean(0).numpy().astype(np.float64))
            ids = batch["labels"][0][batch["labels"][0] != -100].numpy()
            words.append(embeddings[ids].mean(0))
            lengths += list(np.linalg.norm(embeddings[ids], axis=1))
        clips, words = np.stack(clips), np.stack(words)
        centred, wanted = clips - clips.mean(0), words - words.mean(0)
        penalty = np.sqrt(0.01 * (centred**2).sum() / centred.shape[1]) * np.eye(centred.shape[1])
        system, right = np.vstack([centred, penalty]), np.vstack([wanted, np.zeros((len(penalty), wanted.shape[1]))])
        solved = np.linalg.lstsq(system, right, rcond=None)[0]
        share = 1 - ((wanted - centred @ solved) ** 2).sum() / (wanted**2).sum()
        assert explained[medium] == pytest.approx(share, abs=1e-3)
        projector = getattr(model.model, f"{medium}_projector")
        weight = projector.weight.detach().numpy().T.astype(np.float64)
        ratio = np.linalg.norm(weight) / np.linalg.norm(solved)
        np.testing.assert_allclose(weight, ratio * solved, atol=2e-3 * np.abs(weight).max())
        middle = clips.mean(0) @ weight + projector.bias.detach().numpy()
        np.testing.assert_allclose(middle, words.mean(0), atol=1e-4)
        with torch.no_grad():  # the steps are as far from the middle as words are long
            first = collator([row for row in told if row["kind"] == kind][:40])
            if medium == "video":
                tokens = model.get_video_features(first["pixel_values_videos"]).pooler_output.flatten(0, 1)
            else:
                inputs = {name: x for name, x in first.items() if name.startswith("input_") and "ids" not in name}
                output = model.model.encode_audio(**inputs)
                tokens = output.pooler_output[output.token_mask] if output.token_mask is not None else output[1][0]
        distance = np.linalg.norm(tokens.numpy() - middle, axis=1).mean()
        assert distance == pytest.approx(np.mean(lengths), rel=0.02)


def test_too_few_clips_are_refused(loaded: Any) -> None:
    model, collator, told = loaded
    before = model.model.video_projector.weight.clone()
    with pytest.raises(ValueError, match=r"3 clips tell what is to be seen, but it takes 8; set start_projectors: 0"):
        start_projectors(model, collator, told[:3])
    assert torch.equal(model.model.video_projector.weight, before)


def test_run_starts_from_solved_projectors(place: Path, tmp_path: Path, loaded: Any) -> None:
    from safetensors.torch import load_file

    still = {"max_steps": 1, "learning_rate": 0.0}
    stage3_sft.main(arguments(place, start_projectors=40, check=False), config(tmp_path, **still))
    model, collator, told = loaded
    start_projectors(model, collator, told)
    saved = load_file(tmp_path / "adapter_model.safetensors")
    for medium in ("video", "audio"):
        (weight,) = (x for name, x in saved.items() if name.endswith(f"{medium}_projector.weight"))
        solved = getattr(model.model, f"{medium}_projector").weight.detach()
        torch.testing.assert_close(weight, solved, rtol=0, atol=2e-3 * float(solved.abs().max()))  # in another order


# Going on


def test_goes_on_from_an_adapter(place: Path, tmp_path: Path) -> None:
    stage3_sft.main(arguments(place, check=False), config(tmp_path / "first", max_steps=2))
    first = str(tmp_path / "first")
    settings = arguments(place, adapter=first, kinds=["reason"], check=False)
    stage3_sft.main(settings, config(tmp_path / "same", learning_rate=0.0))
    from safetensors.torch import load_file

    before, after = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("first", "same"))
    assert before.keys() == after.keys()
    assert any(x.any() for name, x in before.items() if "lora_B" in name)
    for name, tensor in before.items():
        torch.testing.assert_close(after[name], tensor, msg=name)
    stage3_sft.main(settings, config(tmp_path / "moved"))
    moved = load_file(tmp_path / "moved/adapter_model.safetensors")
    for part in ("lora_A", "lora_B", "video_bridge", "audio_projector"):
        assert any(not torch.equal(moved[name], before[name]) for name in before if part in name), part
    named = json.loads((tmp_path / "moved/adapter_config.json").read_text())["base_model_name_or_path"]
    assert named == str(place / "model")


def test_alike_clips_are_refused(loaded: Any) -> None:
    model, collator, told = loaded
    alike = [told[0] | {"id": str(index)} for index in range(20)]
    with pytest.raises(ValueError, match="all clips, or all answers, are alike"):
        start_projectors(model, collator, alike)


def test_a_clip_without_the_medium_is_left_out(loaded: Any, caplog: pytest.LogCaptureFixture) -> None:
    model, collator, told = loaded
    broken = [row | {"video": "none.mp4"} if number == 0 else row for number, row in enumerate(told)]
    start_projectors(model, collator, broken)
    assert "left out" in caplog.text
    assert "none.mp4" in caplog.text


def test_adapter_of_another_model_is_refused(place: Path, tmp_path: Path) -> None:
    stage3_sft.main(arguments(place, check=False), config(tmp_path / "first", learning_rate=0.0))
    make_tiny_model(tmp_path / "other", seed=1)
    settings = arguments(place, adapter=str(tmp_path / "first"), check=False)
    settings.model = str(tmp_path / "other")
    with pytest.raises(ValueError, match=r"first: belongs to .*model, not to .*other, whose weights .*: set model"):
        stage3_sft.main(settings, config(tmp_path / "second"))
    settings.model = str(shutil.copytree(place / "model", tmp_path / "copy"))
    stage3_sft.main(settings, config(tmp_path / "second", learning_rate=0.0))
    described = json.loads((tmp_path / "second/adapter_config.json").read_text())
    assert described["base_model_name_or_path"] == settings.model


def test_adapter_of_other_settings_is_refused(place: Path, tmp_path: Path) -> None:
    stage3_sft.main(arguments(place, check=False), config(tmp_path / "first", learning_rate=0.0))
    first = str(tmp_path / "first")
    with pytest.raises(ValueError, match=r"adapter: .*first has r 4, the recipe 8: set lora_r"):
        stage3_sft.main(arguments(place, adapter=first, lora_r=8, check=False), config(tmp_path / "second"))
    more = {"video_bridge": first, "start_projectors": 40}
    with pytest.raises(ValueError, match="of its own: leave out video_bridge and start_projectors"):
        stage3_sft.main(arguments(place, adapter=first, **more), config(tmp_path / "second"))
    with pytest.raises(FileNotFoundError, match="holds no adapter_config.json; give the output folder of stage 3"):
        stage3_sft.main(arguments(place, adapter=str(tmp_path), check=False), config(tmp_path / "second"))
    described = json.loads((tmp_path / "first/adapter_config.json").read_text())
    described["modules_to_save"].remove("audio_bridge")
    (tmp_path / "first/adapter_config.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="first lacks audio_bridge: stage 3 has not made it"):
        stage3_sft.main(arguments(place, adapter=first, check=False), config(tmp_path / "second"))


def test_dry_run_tells_of_the_start(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stage3_sft.main(arguments(place, start_projectors=35), config(tmp_path), dry_run=True)
    assert "the projectors start from {'see': 35, 'hear': 35} clips" in capsys.readouterr().out


def test_bridges_and_projectors_may_learn_at_their_own_rate(place: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    settings = arguments(place, kinds=["reason"], media_learning_rate=1e-5, check=False)
    stage3_sft.main(settings, config(tmp_path / "slow", max_steps=2, weight_decay=0.1))
    stage3_sft.main(arguments(place, check=False), config(tmp_path / "start", learning_rate=0.0))
    slow, start = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("slow", "start"))
    for name, tensor in start.items():
        farthest = (slow[name] - tensor).abs().max()
        if "lora_B" in name:
            assert 1e-3 < farthest < 3e-2, name  # AdamW's step is about the learning rate
        elif "bridge" in name or "projector" in name:
            assert 0 < farthest < 3e-5, name
    with pytest.raises(ValueError, match=r"media_learning_rate is a number above 0, not 0\.0"):
        stage3_sft.main(arguments(place, media_learning_rate=0.0), config(tmp_path / "none"))
