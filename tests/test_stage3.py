# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Stage 3 on a small random model: what is asked, what is learned, and by which branch."""

import contextlib
import copy
import json
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_corpus import TEXT, rows, write_manifest
from tiny_model import make_tiny_model
from transformers import AutoProcessor
from trl import SFTConfig

from xemogpt.data.sample import EmotionSample
from xemogpt.train import mixture, stage3_sft
from xemogpt.train.collator import InstructionCollator
from xemogpt.train.dry_run import _on_meta
from xemogpt.train.instructions import held_media, instructions
from xemogpt.train.mixture import epoch_rows, read_mixture
from xemogpt.train.stage3_sft import Arguments
from xemogpt.train.trainer import NotFiniteError


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("stage3")
    make_tiny_model(folder / "model")
    described = json.loads((folder / "model/config.json").read_text())
    for name in ("attention_dropout", "hidden_dropout", "activation_dropout"):  # would hide what is compared
        described["audio_bridge_config"][name] = 0.0
    (folder / "model/config.json").write_text(json.dumps(described))
    write_manifest(folder / "train.jsonl", rows(folder))
    return folder


def arguments(place: Path, **more: Any) -> Arguments:
    given = {"lora_r": 4, "lora_alpha": 8, "lora_dropout": 0.0} | more
    return Arguments(model=str(place / "model"), data=[{"manifest": str(place / "train.jsonl")}], **given)


def config(out: Path, **more: Any) -> SFTConfig:
    given = {"max_steps": 2, "per_device_train_batch_size": 2, "learning_rate": 1e-2, "logging_steps": 1}
    given |= {"report_to": "none", "use_cpu": True, "bf16": False, "save_strategy": "no", "seed": 0}
    given |= {"activation_checkpointing": False}
    return SFTConfig(output_dir=str(out), **given | more)


@pytest.fixture(scope="module")
def loaded(place: Path) -> tuple[Any, Any]:
    model, processor, _ = stage3_sft.load(arguments(place))
    return model, InstructionCollator(processor)


@pytest.fixture(scope="module")
def questions(place: Path) -> list[dict[str, Any]]:
    mixture = read_mixture(arguments(place).data)
    kinds = ["reason", "visual", "audio"]
    return [stage3_sft._row(row) for each in mixture.samples for row in instructions(each, kinds, ["en"])]


def test_attention_kernel_is_a_setting(place: Path) -> None:
    model = stage3_sft.load(arguments(place, attn_implementation="eager"))[0]
    for part in (model, model.model.language_model, model.model.audio_tower):
        assert part.config._attn_implementation == "eager"


# What is asked


def test_no_code_of_the_model_is_run(place: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(place / "model", tmp_path / "model"))
    for code in folder.glob("*.py"):
        code.write_text("raise AssertionError('it runs code that nobody has looked at')")
    given = arguments(place)
    given.model = str(folder)
    processor = stage3_sft.load(given)[1]
    usual = AutoProcessor.from_pretrained(place / "model", trust_remote_code=True)
    assert processor.to_dict() == usual.to_dict()
    assert processor.tokenizer.get_vocab() == usual.tokenizer.get_vocab()
    assert processor.image_processor.size == 32
    assert _on_meta(str(folder)).config.num_frames == 16


def test_three_kinds_from_one_sample(questions: list[dict[str, Any]]) -> None:
    answers = {row["id"]: row["answer"] for row in questions}
    assert answers["a#reason-en"] == TEXT.format("low", "angry")
    assert answers["a#visual-en"] == "In the video, she frowns."
    assert answers["a#audio-en"] == "In the audio, her voice is low."
    assert answers["b#reason-en"] == "In the video, he smiles. In the audio, his voice is high. He is glad."
    assert answers["b#visual-en"] == "In the video, he smiles."
    assert "d#visual-en" not in answers  # there is nothing to see
    assert {id.partition("#")[0] for id in answers} == set("abcde")


def test_who_sees_nothing_tells_nothing_of_it() -> None:
    row = {"video": "x.mp4", "text": TEXT.format("low", "sad"), "subtitle": "Well."}
    rows = [EmotionSample.from_row(row | {"id": f"x{index}"}) for index in range(60)]
    asked = [next(instructions(each, ["reason"], ["en"], blind=0.5)) for each in rows]
    assert asked == [next(instructions(each, ["reason"], ["en"], blind=0.5)) for each in rows]
    kinds = {(each.video, each.audio): each.answer for each in asked}
    assert kinds == {
        ("x.mp4", None): TEXT.format("low", "sad"),
        (None, "x.mp4"): "In the audio, her voice is low.",
        ("x.mp4", "none"): "In the video, she frowns.",
        (None, None): "There is neither a face to be seen nor a voice to be heard.",
    }
    assert 20 < sum(each.video is None or each.audio == "none" for each in asked) < 40
    whole = [next(instructions(each, ["visual"], ["en"], blind=1.0)) for each in rows]
    assert {(each.video, each.audio) for each in whole} == {("x.mp4", None)}  # that question has its own gate
    heard = EmotionSample.from_row({"id": "y", "audio": "y.wav", "text": TEXT.format("low", "sad")})
    assert next(instructions(heard, ["reason"], ["en"], blind=1.0)).audio == "y.wav"


def test_blind_must_be_a_share(place: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"blind is a share from 0 to 1, not 1\.5"):
        stage3_sft.main(arguments(place, blind=1.5), config(tmp_path))


@pytest.mark.parametrize(
    ("held", "answers"),
    [
        ("visual", {"reason": "In the video, she frowns.", "visual": "In the video, she frowns.", "recognise": "sad"}),
        (
            "audio",
            {
                "reason": "In the audio, her voice is low.",
                "audio": "In the audio, her voice is low.",
                "recognise": "sad",
            },
        ),
    ],
)
def test_nothing_is_told_of_a_medium_that_the_files_lack(held: str, answers: dict[str, str]) -> None:
    kinds = ["reason", "visual", "audio", "recognise"]
    sample = EmotionSample.from_row({"id": "x", "video": "x.mp4", "text": TEXT.format("low", "sad"), "label": "sad"})
    made = list(instructions(sample, kinds, ["en"], blind=1.0, media=[held]))  # there is no other to be blinded
    assert {each.kind: each.answer for each in made} == answers
    assert {(each.video, each.audio) for each in made} == {("x.mp4", None)}
    whole = "He has gone pale. Therefore, he is afraid."
    sample = EmotionSample.from_row({"id": "x", "video": "x.mp4", "text": whole})  # that says nothing of the other
    assert next(instructions(sample, ["reason"], ["en"], media=["visual"])).answer == whole
    one = EmotionSample.from_row({"id": "x", "video": "x.mp4", "text": "In the audio, he sighs."})
    assert list(instructions(one, kinds, ["en"], media=["visual"])) == []


def test_files_tell_what_they_hold(place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given, training = arguments(place), config(tmp_path)
    sound = next(each.audio for each in read_mixture(given.data).samples if each.id == "d")
    made = [*rows(tmp_path), {"id": "dark", "video": sound, "text": TEXT.format("deep", "calm")}]
    given.data = [{"manifest": str(write_manifest(tmp_path / "m.jsonl", made))}]
    mixture = read_mixture(given.data)
    held = {each.id: held_media(each) for each in mixture.samples}
    assert held == dict.fromkeys("abe", ["visual", "audio"]) | {"c": ["visual"], "d": ["audio"], "dark": ["audio"]}
    collator = InstructionCollator(stage3_sft.load(given)[1])
    for _ in range(2):  # also from what the first look has noted
        kept = stage3_sft.rows(mixture, given, training, collator, "data").to_list()
        answers = {row["id"]: row["answer"] for row in kept if row["id"].startswith(("c", "dark"))}
        assert answers == {
            "c#reason-en": "In the video, she frowns.",
            "c#visual-en": "In the video, she frowns.",
            "dark#reason-en": "In the audio, her voice is deep.",
            "dark#audio-en": "In the audio, her voice is deep.",
        }
        collator([row for row in kept if row["id"].startswith(("c", "dark"))])
    listed = [json.loads(line) for line in (tmp_path / "check-data/absent.jsonl").read_text().splitlines()]
    assert {row["id"]: row["reason"] for row in listed} == {
        "c#reason-en": "the clip has visual alone: the answer tells of nothing else",
        "c#audio-en": "the clip has visual alone: left out",
        "dark#reason-en": "the clip has audio alone: the answer tells of nothing else",
        "dark#visual-en": "the clip has audio alone: left out",
    }
    assert "4 questions are about what their clips lack (c#" in caplog.text
    given.check = False
    unread = stage3_sft.rows(mixture, given, training, collator, "data").to_list()
    for id, medium in (("c#audio-en", "audio"), ("dark#visual-en", "video")):
        with pytest.raises(ValueError, match=f"{id}: the clip has no {medium}: leave the row out"):
            collator([row for row in unread if row["id"] == id])


def test_cues_win_over_sentences_and_labels_are_words() -> None:
    row = {"id": "x", "video": "x.mp4", "text": TEXT.format("low", "sad"), "label": "sad"}
    sample = EmotionSample.from_row(row | {"cues": [{"text": "His brow is low", "modality": "visual"}]})
    made = {each.kind: each.answer for each in instructions(sample, ["visual", "recognise", "audio"], ["en", "zh"])}
    assert made == {
        "visual": "In the video, his brow is low.",
        "recognise": "sad",
        "audio": "In the audio, her voice is low.",
    }


def test_chinese_has_its_own_answers() -> None:
    text = "在视频中，她皱眉。在音频中，她叹气。"
    sample = EmotionSample.from_row({"id": "x", "video": "x.mp4", "text": {"zh": text}})
    made = {each.id: each.answer for each in instructions(sample, ["reason", "visual"], ["en", "zh"])}
    assert made == {"x#reason-zh": text, "x#visual-zh": "在视频中，她皱眉。"}


def test_weights_repeat_rows_the_same_way_every_time() -> None:
    made = [[f"{index}"] for index in range(1000)]
    chosen = epoch_rows(made, [2.5] * 1000, seed=1)
    assert chosen == epoch_rows(made, [2.5] * 1000, seed=1) != epoch_rows(made, [2.5] * 1000, seed=2)
    counts = [chosen.count(name) for (name,) in made]
    assert set(counts) == {2, 3}
    assert 400 < counts.count(3) < 600
    assert epoch_rows([["a"], ["b"]], [1.0, 1.0], seed=0) == ["a", "b"]


# Batches


def test_batch_is_what_inference_sees_plus_labels_and_gates(loaded: Any, questions: list[dict[str, Any]]) -> None:
    _, collator = loaded
    batch = collator(questions[:3])
    assert batch["ids"] == ["a#reason-en", "a#visual-en", "a#audio-en"]
    assert batch["modality_gates"].tolist() == [[True, True], [True, False], [False, True]]
    tokenizer = collator.processor.tokenizer
    for index, row in enumerate(questions[:3]):
        learned = batch["labels"][index] != -100
        text = tokenizer.decode(batch["labels"][index][learned])
        assert text == row["answer"] + tokenizer.eos_token
        alone = collator.processor.conversation(row["video"], row["audio"], row["subtitle"], task=row["kind"])
        prompt = collator.processor.apply_chat_template(
            [alone], tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
        )
        real = batch["input_ids"][index][batch["attention_mask"][index].bool()]
        assert real[: prompt["input_ids"].shape[1]].tolist() == prompt["input_ids"][0].tolist()
        torch.testing.assert_close(batch["pixel_values_videos"][index], prompt["pixel_values_videos"][0])
    open_gates = InstructionCollator(collator.processor, gating=False)(questions[:3])["modality_gates"]
    assert open_gates.all()


def test_row_without_a_key_or_with_a_bad_clip_is_named(loaded: Any, questions: list[dict[str, Any]]) -> None:
    _, collator = loaded
    with pytest.raises(KeyError, match="needs answer; this row has id, kind"):
        collator([{key: value for key, value in questions[0].items() if key != "answer"}])
    with pytest.raises(ValueError, match="x#reason-en: .*none.mp4"):
        collator([questions[0], questions[0] | {"id": "x#reason-en", "video": "none.mp4"}])


# Gradients


def gradients(model: Any, batch: dict[str, Any], count: int) -> dict[str, torch.Tensor]:
    model.zero_grad()
    inputs = {name: value for name, value in batch.items() if name != "ids"}
    model(**inputs, num_items_in_batch=count).loss.backward()
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def learned(batch: dict[str, Any]) -> int:
    return int((batch["labels"] != -100).sum())


@pytest.mark.parametrize(("index", "closed", "opened"), [(1, "audio", "video"), (2, "video", "audio")])
def test_no_gradient_reaches_the_other_branch(
    place: Path, loaded: Any, questions: list[dict[str, Any]], index: int, closed: str, opened: str
) -> None:
    model, collator = copy.deepcopy(loaded[0]), loaded[1]
    adapted = stage3_sft.adapt(model, arguments(place)).train()
    batch = collator([questions[index]])
    grads = gradients(adapted, batch, learned(batch))
    other = {name: grad for name, grad in grads.items() if f"{closed}_bridge" in name or f"{closed}_projector" in name}
    assert other
    assert not any(grad.any() for grad in other.values())
    assert any(grad.any() for name, grad in grads.items() if f"{opened}_bridge" in name)
    with torch.no_grad():  # and the values are what they were
        inputs = {name: value for name, value in batch.items() if name != "ids"}
        gated = adapted(**inputs).logits
        inputs["modality_gates"] = torch.ones(1, 2, dtype=torch.bool)
        assert torch.equal(adapted(**inputs).logits, gated)


def test_mixed_batch_is_the_sum_of_its_parts(place: Path, loaded: Any, questions: list[dict[str, Any]]) -> None:
    model, collator = copy.deepcopy(loaded[0]), loaded[1]
    adapted = stage3_sft.adapt(model, arguments(place)).train()
    mixed = collator(questions[:3])
    count = learned(mixed)
    whole = gradients(adapted, mixed, count)
    parts = [gradients(adapted, collator([row]), count) for row in questions[:3]]
    for name, gradient in whole.items():
        summed = sum(part[name] for part in parts if name in part)
        torch.testing.assert_close(gradient, summed, atol=1e-5, rtol=1e-3)


# Training


def run(place: Path, out: Path, more: dict[str, Any] | None = None, **settings: Any) -> list[dict[str, Any]]:
    stage3_sft.main(arguments(place, **more or {}), config(out, **settings))
    return json.loads((out / "trainer_state.json").read_text())["log_history"]


def test_what_is_declared_moves_and_nothing_else(place: Path, tmp_path: Path, loaded: Any) -> None:
    history = run(place, tmp_path, max_steps=6, per_device_train_batch_size=4)
    assert history[-1]["train_loss"] < history[0]["loss"]
    from peft import PeftModel

    fresh = stage3_sft.load(arguments(place))[0]
    before = {name: p.clone() for name, p in fresh.named_parameters()}
    trained = PeftModel.from_pretrained(fresh, tmp_path)
    moved, same = set(), set()
    for name, parameter in trained.named_parameters():
        plain = name.removeprefix("base_model.model.").replace(".modules_to_save.default", "")
        if plain in before and "original_module" not in name:
            (same if torch.equal(parameter, before[plain]) else moved).add(plain.split(".")[1])
        elif "lora_B" in name:
            assert parameter.any(), name
    assert moved == set(stage3_sft.WHOLE_PARTS)
    assert {"vision_tower", "audio_tower", "language_model", "video_cue_head"} <= same
    card = (tmp_path / "README.md").read_text()
    assert "for 6 steps" in card
    assert str(place) not in card


@pytest.mark.slow
def test_accumulated_batches_equal_one(place: Path, tmp_path: Path) -> None:
    whole = run(place, tmp_path / "whole", max_steps=1, per_device_train_batch_size=8)
    parts = run(place, tmp_path / "parts", max_steps=1, per_device_train_batch_size=4, gradient_accumulation_steps=2)
    for name in ("loss", "grad_norm"):
        assert parts[0][name] == pytest.approx(whole[0][name], rel=1e-4)


def test_trl_gives_the_loss_of_the_plain_trainer(place: Path, tmp_path: Path, loaded: Any) -> None:
    """TRL replaces the outer forward; gates and loss must survive that. One batch, so that the rows are the same."""
    from transformers import Trainer, TrainingArguments

    mine = run(place, tmp_path / "trl", max_steps=1, per_device_train_batch_size=32)[0]["loss"]
    torch.manual_seed(0)
    settings = arguments(place)
    model, processor, _ = stage3_sft.load(settings)
    collator = InstructionCollator(processor)
    train = stage3_sft.rows(read_mixture(settings.data), settings, config(tmp_path / "rows"), collator, "data")
    plain = Trainer(
        model=stage3_sft.adapt(model, settings),
        args=TrainingArguments(
            str(tmp_path / "plain"),
            max_steps=1,
            per_device_train_batch_size=32,
            learning_rate=1e-2,
            logging_steps=1,
            report_to="none",
            use_cpu=True,
            remove_unused_columns=False,
            save_strategy="no",
            seed=0,
        ),
        train_dataset=train,
        data_collator=lambda rows: {name: value for name, value in collator(rows).items() if name != "ids"},
    )
    plain.train()
    assert mine == pytest.approx(plain.state.log_history[0]["loss"], rel=1e-5)


@pytest.mark.slow
def test_activation_checkpointing_changes_nothing_but_memory(place: Path, tmp_path: Path) -> None:
    kept, again = (
        run(place, tmp_path / str(on), activation_checkpointing=on, train_sampling_strategy="group_by_length")
        for on in (False, True)
    )
    for step in range(2):
        assert again[step]["loss"] == pytest.approx(kept[step]["loss"], rel=1e-6)
        assert again[step]["grad_norm"] == pytest.approx(kept[step]["grad_norm"], rel=1e-5)


@pytest.mark.slow
def test_best_of_a_validation_split_is_kept(place: Path, tmp_path: Path) -> None:
    held = write_manifest(tmp_path / "held.jsonl", [rows(tmp_path)[0] | {"id": "held", "split": "validation"}])
    more = {"eval_data": [{"manifest": str(held)}]}
    settings = {"eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    history = run(place, tmp_path / "out", more, load_best_model_at_end=True, max_steps=3, **settings)
    losses = [entry["eval_loss"] for entry in history if "eval_loss" in entry]
    assert losses[-1] == pytest.approx(min(losses[:-1]), rel=1e-4)
    assert "eval_loss" in (tmp_path / "out" / "README.md").read_text()


# What is refused


@pytest.mark.slow
def test_loss_that_is_no_number_names_its_batch(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original, poisoned = InstructionCollator.__call__, []

    def poison(self: Any, rows: list[dict[str, Any]]) -> dict[str, Any]:
        batch = original(self, rows)
        poisoned.append(batch["ids"])
        if len(poisoned) == 4:
            name = "pixel_values_videos" if "pixel_values_videos" in batch else "input_values"
            batch[name] = batch[name] * float("nan")
        return batch

    monkeypatch.setattr(InstructionCollator, "__call__", poison)
    settings = {"save_strategy": "steps", "save_steps": 1, "max_steps": 20, "logging_steps": 50}
    with pytest.raises(NotFiniteError, match=r"from step 4 on.*last good checkpoint is .*checkpoint-3") as caught:
        run(place, tmp_path, **settings)
    assert caught.value.ids == poisoned[3]
    assert len(list(tmp_path.glob("checkpoint-*"))) == 3


def test_clips_of_no_use_are_listed_and_never_replaced(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_text("this is no video")
    made = [*rows(tmp_path), {"id": "torn", "video": str(broken), "text": TEXT}]
    made.append({"id": "mute", "video": made[0]["video"]})
    manifest = write_manifest(tmp_path / "m.jsonl", made)
    given = arguments(place, max_rejects=0.5)
    given.data = [{"manifest": str(manifest)}]
    stage3_sft.main(given, config(tmp_path / "out", max_steps=1))
    assert "2 of 7 clips of data are of no use" in caplog.text
    listed = [json.loads(line) for line in (tmp_path / "out/check-data/rejects.jsonl").read_text().splitlines()]
    assert [row["id"] for row in listed] == ["mute", "torn"]
    assert "needs a text or cues" in listed[0]["reason"]
    given.max_rejects = 0.1
    with pytest.raises(ValueError, match="29% is more than max_rejects 10% allows"):
        stage3_sft.main(given, config(tmp_path / "out", max_steps=1))


def test_one_process_checks_for_all(place: Path, tmp_path: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Four threads stand for four processes, of two machines; none of them comes to another's lock."""
    given, released, state, found = arguments(place), threading.Event(), mixture._state, {}
    monkeypatch.setattr(mixture, "_state", lambda *each: time.sleep(0.05) or state(*each))  # all at it at once

    def process(index: int) -> None:
        @contextlib.contextmanager
        def first(local: bool = True, desc: str = "") -> Iterator[None]:
            if index not in ((0, 2) if local else (0,)):
                released.wait(60)
            yield
            released.set()

        training = SimpleNamespace(
            process_index=index, output_dir=tmp_path, seed=0, dataloader_num_workers=0, main_process_first=first
        )
        found[index] = stage3_sft.rows(read_mixture(given.data), given, training, loaded[1], "data").to_list()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(process, range(4)))  # raises what a thread has raised
    assert found[0]
    assert found == dict.fromkeys(range(4), found[0])


@pytest.mark.parametrize(
    ("more", "settings", "message"),
    [
        ({"kinds": ["guess"]}, {}, "kinds: unknown guess"),
        ({"languages": ["de"]}, {}, "languages: unknown de"),
        ({"kinds": []}, {}, "must name at least one"),
        ({"lora_targets": ["q_prjo"]}, {}, "no linear layer 'q_prjo'; it has .*q_proj"),
        ({"lora_targets": ["fc1"]}, {}, r"no linear layer 'fc1' \(there is model.vision_tower.*only the LLM"),
        ({"data": []}, {}, "data names no manifest"),
        ({"model_dtype": "bfloat16"}, {}, "set bf16: true"),
        ({"attn_implementation": "quick"}, {}, "quick"),
        ({}, {"packing": True}, "packing and padding_free are not possible"),
        ({}, {"load_best_model_at_end": True, "eval_strategy": "no"}, "needs eval_data"),
        ({"model": "nowhere/at/all"}, {}, "nowhere/at/all"),
        ({"video_bridge": "runs/none"}, {}, "there is no cue encoder runs/none: run stage 1 first"),
        ({"data": [{"manifest": "TRAIN", "wieght": 2}]}, {}, "an entry of a mixture is"),
        ({"data": [{"manifest": "TRAIN", "weight": 0}]}, {}, "the weight must be a positive number"),
        ({"data": [{"manifest": "TRAIN"}, {"manifest": "TRAIN"}]}, {}, "id 'a' is in .* already"),
        ({"data": [{"manifest": "TEST"}]}, {}, "of split 'test_identity', which must not be used"),
        ({"eval_data": [{"manifest": "TRAIN"}]}, {}, "both in data and eval_data"),
    ],
)
def test_bad_settings(
    place: Path, tmp_path: Path, more: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    test = write_manifest(tmp_path / "test.jsonl", [rows(tmp_path)[0] | {"split": "test_identity"}])
    names = {"TRAIN": str(place / "train.jsonl"), "TEST": str(test)}
    given = arguments(place)
    for key, value in more.items():
        if key.endswith("data"):
            value = [entry | {"manifest": names[entry["manifest"]]} for entry in value]
        setattr(given, key, value)
    if settings.get("load_best_model_at_end"):
        training = config(tmp_path / "out")
        training.load_best_model_at_end = True
    else:
        training = config(tmp_path / "out", **settings)
    with pytest.raises((ValueError, OSError), match=message):
        stage3_sft.main(given, training)
