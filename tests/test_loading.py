# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""How a model comes into an `Explainer`: already placed on devices, with options of loading, from a revision."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_inputs import frames, voice
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM, AutoProcessor

from xemogpt.cli import main
from xemogpt.inference.explain import explain, load_explainer
from xemogpt.inference.explainer import Explainer

SHORT = {"max_new_tokens": 6}
PARTS = ("vision_tower", "audio_tower", "video_bridge", "audio_bridge", "video_projector", "audio_projector")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("made") / "tiny")


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """One part of the model waits on disk: such a model refuses to be moved."""
    where = {f"model.{name}": "cpu" for name in (*PARTS, "video_cue_head", "audio_cue_head", "language_model")}
    where |= {"lm_head": "cpu", "model.vision_tower": "disk"}
    return {"device_map": where, "offload_folder": str(tmp_path / "disk"), "attn_implementation": "eager"}


def test_a_model_that_is_placed_already_stays_where_it_is(folder: Path, options: dict, clips: list[Path]) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True, **options)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    said = explain(clips, model=(model, processor), **SHORT)
    assert next(model.model.vision_tower.parameters()).is_meta
    assert [each.text for each in said] == [each.text for each in explain(clips, model=folder, **SHORT)]


def test_a_loaded_model_goes_where_it_is_told(folder: Path) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    Explainer((model, processor), dtype="bfloat16")
    assert model.dtype == torch.bfloat16


def test_options_of_loading_reach_the_model(folder: Path, options: dict, clips: list[Path]) -> None:
    explainer = Explainer(folder, model_kwargs=options)
    assert explainer.model.config.text_config._attn_implementation == "eager"
    assert next(explainer.model.model.vision_tower.parameters()).is_meta
    said = explain(clips, model=folder, model_kwargs=options, **SHORT)
    assert [each.text for each in said] == [each.text for each in explain(clips, model=folder, **SHORT)]


def test_a_model_is_loaded_once_for_the_same_options(folder: Path) -> None:
    eager = load_explainer(folder, model_kwargs={"attn_implementation": "eager"})
    assert load_explainer(folder, model_kwargs={"attn_implementation": "eager"}) is eager
    assert load_explainer(folder, model_kwargs={"attn_implementation": "sdpa"}) is not eager


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model_kwargs": {"dtype": "bfloat16"}}, "dtype is an argument of its own"),
        ({"model_kwargs": {"device_map": "cpu"}, "device": "cpu"}, "device and device_map"),
        ({"model_kwargs": {"device_map": "cpu"}, "dtype": "int8"}, "int8"),
        ({"revision": "main"}, "is a folder, which has no revisions"),
        ({"model": None, "revision": "main"}, "has no revisions"),
    ],
)
def test_options_that_contradict_each_other(folder: Path, arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Explainer(**{"model": folder, **arguments})


def test_a_loaded_model_takes_no_options_of_loading(folder: Path) -> None:
    pair = (AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True), None)
    for more in ({"revision": "main"}, {"model_kwargs": {"attn_implementation": "eager"}}):
        with pytest.raises(ValueError, match="a model that is loaded already"):
            explain(frames(), model=pair, **more)


def test_a_revision_is_fetched_and_recorded(
    folder: Path, clips: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any
) -> None:
    """The Hub's cache holds two revisions of one model, as a download leaves them; only one of them is a model."""
    cache = tmp_path / "hub" / "models--someone--tiny"
    for name, commit in (("main", "0" * 40), ("v2", "1" * 40)):
        (cache / "refs").mkdir(parents=True, exist_ok=True)
        (cache / "refs" / name).write_text(commit)
        (cache / "snapshots" / commit).mkdir(parents=True)
    (cache / "snapshots" / ("0" * 40) / "config.json").write_text('{"model_type": "hubert"}')
    (cache / "snapshots" / ("1" * 40)).rmdir()
    (cache / "snapshots" / ("1" * 40)).symlink_to(folder)
    where = {"cache_dir": str(tmp_path / "hub")}
    with pytest.raises(ValueError, match="'hubert', not an XEmoGPT"):
        Explainer("someone/tiny", trust_remote_code=True, model_kwargs=where)
    answer = explain(
        clips[0], model="someone/tiny", revision="v2", trust_remote_code=True, model_kwargs=where, **SHORT
    )
    assert (answer.model, answer.revision) == ("someone/tiny", "v2")
    assert answer.text == explain(clips[0], model=folder, **SHORT).text


def test_commands_take_a_revision(folder: Path, clips: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", str(clips[0]), "--model", str(folder), "--revision", "v2"]) == 2
    assert "is a folder, which has no revisions" in capsys.readouterr().err


def test_what_was_heard_is_told(folder: Path, clips: list[Path]) -> None:
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True, max_audio_seconds=0.4)
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    explainer = Explainer((model, processor))
    with pytest.warns(UserWarning, match=r"the first 0\.4 are heard"):
        cut, short, silent = explain([clips[3], clips[4], clips[2]], model=explainer, **SHORT)
    assert (cut.sound_seconds, cut.heard_seconds) == (0.8, 0.4)
    assert short.sound_seconds == short.heard_seconds == pytest.approx(0.3, abs=0.1)
    assert (silent.sound_seconds, silent.heard_seconds) == (None, None)
    with pytest.warns(UserWarning, match=r"of its 1\.5 s of sound"):
        array = explain(frames(), audio=voice(1.5), model=explainer, **SHORT)
    assert json.loads(json.dumps(array.to_dict()))["sound_seconds"] == 1.5
    assert explain(clips[3].parent / "a_both.mp4", audio="none", model=explainer, **SHORT).heard_seconds is None
