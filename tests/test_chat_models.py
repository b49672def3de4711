# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Chat models of transformers as a benchmark asks them: tiny random ones, on real files."""

import json
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from small_clips import bad_clips, good_clips
from tiny_chat_models import tiny_llava, tiny_llava_next_video, tiny_qwen2_5_omni, tiny_qwen2_5_vl, tiny_qwen2_audio
from tiny_model import make_tiny_model

from xemogpt.cli import main
from xemogpt.eval.answerers import ChatModel, Refused, Talk, load_answerer
from xemogpt.eval.benchmark import Item
from xemogpt.eval.records import Record, read_records
from xemogpt.media_xemogpt import load_video
from xemogpt.prompts_xemogpt import Prompt

PROMPT = Prompt("p", "Which emotion does the person show?")
GENERATION = {"max_new_tokens": 6, "do_sample": False}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """With picture and sound, without sound, without picture, and one that cannot be read."""
    folder = tmp_path_factory.mktemp("clips")
    both, longer, silent, sound, other = good_clips(folder)
    broken = bad_clips(folder)[1]
    return [
        Item(Record("both"), both, None, "Well, goodbye."),
        Item(Record("longer"), longer, None),
        Item(Record("silent"), silent, None),
        Item(Record("sound"), None, sound),
        Item(Record("broken"), broken, None),
        Item(Record("other"), other, None),
    ]


VIDEO = pytest.mark.skipif(find_spec("torchvision") is None, reason="transformers' video processors need torchvision")


@pytest.mark.parametrize(
    ("build", "modalities", "lacking"),
    [
        (tiny_llava, ["visual"], "sound"),
        (tiny_qwen2_audio, ["audio"], "silent"),
        pytest.param(tiny_llava_next_video, ["visual"], "sound", marks=VIDEO),
        pytest.param(tiny_qwen2_5_vl, ["visual"], "sound", marks=VIDEO),
        pytest.param(tiny_qwen2_5_omni, ["audio", "visual"], None, marks=VIDEO),
    ],
)
def test_a_chat_model_answers_what_it_can_see_or_hear(
    build, modalities: list[str], lacking: str | None, clips: list[Item], tmp_path: Path
) -> None:
    model = load_answerer(str(build(tmp_path / "m")), frames=4, max_audio_seconds=1)
    assert isinstance(model, ChatModel)
    assert sorted(model.modalities) == modalities  # as its processor has it
    answers = dict(zip((i.reference.id for i in clips), model.answers(clips, PROMPT, GENERATION, 4), strict=True))
    refused = {name for name, answer in answers.items() if isinstance(answer, Refused)}
    assert refused == {lacking, "broken"} - {None}
    if lacking:
        assert f"has no {modalities[0]}" in answers[lacking].reason
    alone = list(model.answers(clips, PROMPT, GENERATION, 1))
    assert alone == list(answers.values())  # a batch is its clips
    assert len({answers["both"], answers["longer"], answers["other"]}) > 1  # random, and yet it looks at the clip


@VIDEO
def test_a_video_comes_with_the_times_of_its_frames(clips: list[Item], tmp_path: Path) -> None:
    """Qwen2.5-VL counts positions in seconds: the same frames at another rate are another question."""
    model = load_answerer(str(tiny_qwen2_5_vl(tmp_path / "m")), frames=8)
    assert isinstance(model, ChatModel)
    talk = model._read(clips[1], PROMPT)
    assert isinstance(talk, Talk)
    assert talk.times is not None
    assert talk.times["fps"] == pytest.approx(8 / load_video(clips[1].video).duration)
    slow = replace(talk, times=talk.times | {"fps": talk.times["fps"] / 20})
    alone = [*model._generate([talk], GENERATION), *model._generate([slow], GENERATION)]
    assert alone[0] != alone[1]
    assert model._generate([talk, slow], GENERATION) == alone


def test_modalities_that_a_model_does_not_take_are_refused(tmp_path: Path) -> None:
    folder = str(tiny_llava(tmp_path / "m"))
    with pytest.raises(ValueError, match="takes no audio input"):
        load_answerer(folder, modalities=["visual", "audio"])
    with pytest.raises(ValueError, match="modalities are visual, audio or both"):
        load_answerer(folder, modalities=["smell"])
    with pytest.raises(FileNotFoundError, match="no such model folder"):
        load_answerer("./nothing/here")


def test_models_of_one_folder_name_are_told_apart_by_their_weights(tmp_path: Path) -> None:
    ours, theirs = (load_answerer(str(make_tiny_model(tmp_path / f"seed{seed}" / "m", seed=seed))) for seed in (1, 2))
    assert ours.name == theirs.name
    before, after = ours.settings(), theirs.settings()
    assert {key for key in before if before[key] != after[key]} == {"weights"}
    chat = load_answerer(str(tiny_llava(tmp_path / "m")))
    assert isinstance(chat, ChatModel)
    before = chat.settings()
    next(chat.model.parameters()).data.add_(1)
    after = chat.settings()
    assert {key for key in before if before[key] != after[key]} == {"weights"}


def test_xemogpt_hears_or_sees_only_what_is_declared(clips: list[Item], tmp_path: Path) -> None:
    folder = make_tiny_model(tmp_path / "m")
    deaf = load_answerer(str(folder), modalities=["visual"])
    whole = load_answerer(str(folder))
    one = [clips[0], clips[2]]
    assert [isinstance(each, str) for each in deaf.answers(one, PROMPT, GENERATION, 2)] == [True, True]
    only_sound = list(
        load_answerer(str(folder), modalities=["audio"]).answers([clips[0], clips[2]], PROMPT, GENERATION, 2)
    )
    assert isinstance(only_sound[0], str)
    assert isinstance(only_sound[1], Refused)  # the silent clip has nothing to hear
    assert list(deaf.answers(one, PROMPT, GENERATION, 2))[0] != list(whole.answers(one, PROMPT, GENERATION, 2))[0]


def test_evaluate_from_the_command_line(clips: list[Item], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    root = tmp_path / "root"
    (root / "video").mkdir(parents=True)
    lines = ["name,discrete"]
    for item, label in zip([clips[0], clips[1], clips[4]], ("happy", "sad", "angry"), strict=True):
        (root / "video" / f"{item.reference.id}.mp4").write_bytes(item.video.read_bytes())
        lines.append(f"{item.reference.id},{label}")
    (root / "test1-label.csv").write_text("\n".join([*lines, "absent,worried"]))
    model = make_tiny_model(tmp_path / "mine")
    command = ["evaluate", "--benchmark", "mer2023", "--root", str(root), "--model", str(model)]
    command += ["--out", str(tmp_path / "results")]
    assert main(command) == 2
    assert "1 of 4 clips are missing: absent" in capsys.readouterr().err
    assert main([*command, "--allow-missing"]) == 1  # one clip is broken
    _, err = capsys.readouterr()
    assert "scored 2 of 4" in err
    result = json.loads((tmp_path / "results" / "mine--mer2023.json").read_text())
    assert list(result["coverage"]["rejected"]) == ["broken"]
    assert set(result["coverage"]["missing"]) == {"broken", "absent"}
    assert (result["task_version"], result["prompt_id"], result["settings"]["kind"]) == (
        1,
        "recognise-en-1",
        "xemogpt",
    )
    said = tmp_path / "results" / "mine--mer2023.predictions.jsonl"
    before = said.read_bytes()
    assert main([*command, "--allow-missing"]) == 1  # resumed: nothing is asked again
    assert said.read_bytes() == before
    assert list(read_records(said)) == ["both", "longer"]
    other = tmp_path / "others.csv"
    other.write_text("id,label\nboth,happy\nlonger,joy\nbroken,angry\nabsent,worried\n")
    foreign = [*command[:-3], "SECap", "--out", str(tmp_path / "results"), "--predictions", str(other)]
    assert main(foreign) == 2  # nobody knows what SECap was given
    assert "--modalities must say" in capsys.readouterr().err
    assert main([*foreign, "--modalities", "audio"]) == 0
    result = json.loads((tmp_path / "results" / "SECap--mer2023.json").read_text())
    assert result["scores"]["recognition"]["war"] == 0.75
