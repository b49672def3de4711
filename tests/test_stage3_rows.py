# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The rows of stage 3: what they answer in, how long each is, and how often it is taken."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_stage3 import arguments, config
from tiny_corpus import TEXT, rows, training_place, write_manifest

from xemogpt.data.sample import EmotionSample
from xemogpt.train import stage3_sft
from xemogpt.train.collator import InstructionCollator
from xemogpt.train.instructions import instructions
from xemogpt.train.mixture import read_mixture


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return training_place(tmp_path_factory.mktemp("rows"))


@pytest.mark.parametrize("kinds", [["reason", "visual", "audio"], ["see", "hear"]])
def test_every_row_is_measured_in_tokens(place: Path, tmp_path: Path, kinds: list[str]) -> None:
    processor = stage3_sft.load(arguments(place))[1]
    collator = InstructionCollator(processor)
    signs = "她皱着眉，声音发抖。" * 12  # fewer characters than the English answer, more tokens
    row = rows(tmp_path)[0] | {"text": {"en": TEXT + " So she does." * 12, "zh": "在视频中，" + signs}}
    read = read_mixture([{"manifest": str(write_manifest(tmp_path / "m.jsonl", [row]))}])
    given = arguments(place, kinds=kinds, languages=["en", "zh"], blind=0.5, max_rejects=1.0)

    def made(name: str) -> list[dict[str, Any]]:
        return stage3_sft.rows(read, given, config(tmp_path / name), collator, "data").to_list()

    found = made("whole")
    exact = {each["id"]: collator([each])["input_ids"].shape[1] for each in found}
    assert {each["id"]: each["length"] for each in found} == exact
    longest = max(found, key=lambda each: exact[each["id"]])
    if "reason" in kinds:
        assert len(longest["answer"]) < max(len(each["answer"]) for each in found)
    processor.max_context = exact[longest["id"]] - 1
    with pytest.raises(ValueError, match="no sample is left"):
        made("cut")
    refused = json.loads((tmp_path / "cut/check-data/rejects.jsonl").read_text())
    assert f"{longest['id']}: {exact[longest['id']]} tokens exceed the context" in refused["reason"]
    given.check = False
    assert {each["id"]: each["length"] for each in made("unread")} == {
        each["id"]: len(processor.tokenizer(each["answer"])["input_ids"]) for each in found
    }


def test_a_template_whose_answers_are_not_found_is_refused(place: Path, tmp_path: Path) -> None:
    processor = stage3_sft.load(arguments(place))[1]
    processor.chat_template = processor.chat_template.replace("###Assistant: ", "###Helper: ")
    row = next(instructions(EmotionSample.from_row(rows(place)[0]), ["reason"], ["en"], media=["visual", "audio"]))
    with pytest.raises(ValueError, match=f"{row.id}: no answer is found"):
        InstructionCollator(processor)([vars(row)])


@pytest.mark.parametrize("setting", [{"chat_template_path": "my.jinja"}, {"max_length": 512}])
def test_settings_that_would_be_overridden_are_refused(place: Path, tmp_path: Path, setting: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(setting))):
        stage3_sft.main(arguments(place), config(tmp_path, **setting))


def test_a_weight_of_validation_is_refused(place: Path, tmp_path: Path) -> None:
    given = arguments(place)
    given.eval_data = [{"manifest": str(place / "train.jsonl"), "weight": 2}]
    with pytest.raises(ValueError, match=r"train.jsonl: weight 2: here every clip is taken once"):
        stage3_sft.main(given, config(tmp_path))


def test_excerpts_of_the_text_are_told_in_its_sentences() -> None:
    text = "Visually, she frowns, while her jaw is tense. So her face shows anger. Acoustically, her voice is low."
    places = {"she frowns": "visual", "her jaw is tense": "visual", "her voice is low": "audio"}
    cues = [
        {"text": cue, "modality": modality, "span": [text.index(cue), text.index(cue) + len(cue)]}
        for cue, modality in places.items()
    ]
    sample = EmotionSample.from_row({"id": "x", "video": "x.mp4", "text": text, "cues": cues})
    assert [each.answer for each in instructions(sample, ["visual", "audio"], ["en"])] == [
        "Visually, she frowns, while her jaw is tense. So her face shows anger.",
        "Acoustically, her voice is low.",
    ]
    for changed, told in (
        ([cues[0] | {"modality": "audio"}, *cues[1:]], "her jaw is tense."),  # a sentence with cues of both
        ([cues[0], cues[1] | {"text": "her jaw is set"}, cues[2]], "she frowns. Her jaw is set."),  # not its words
    ):
        sample = EmotionSample.from_row({"id": "x", "video": "x.mp4", "text": text, "cues": changed})
        assert [each.answer for each in instructions(sample, ["visual"], ["en"])] == [f"In the video, {told}"]
