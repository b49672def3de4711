# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""One call in Python: every kind of clip, alone and in batches, and every way to hold a model."""

import dataclasses
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from small_clips import bad_clips
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM, AutoProcessor, TextIteratorStreamer

from xemogpt import __version__
from xemogpt.inference.batch import explain_files
from xemogpt.inference.clips import Clip
from xemogpt.inference.explain import explain, load_explainer
from xemogpt.inference.explainer import Explainer, collate, weights_mark
from xemogpt.inference.explanation import Decoding, Explanation, Question, Rejection
from xemogpt.media_xemogpt import load_audio, load_video

SHORT = {"max_new_tokens": 12}


@pytest.fixture(scope="module", params=["hubert", "whisper"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp(request.param) / "model", request.param)


@pytest.fixture(scope="module")
def loaded(hubert: Path) -> tuple[Any, Any]:
    return (
        AutoModelForMultimodalLM.from_pretrained(hubert, trust_remote_code=True),
        AutoProcessor.from_pretrained(hubert, trust_remote_code=True),
    )


def test_answer_says_what_it_is(model: Path, clips: list[Path]) -> None:
    answer = explain(clips[0], subtitle="Fine.", task="visual", language="zh", model=model, **SHORT)
    assert answer.text
    assert json.loads(json.dumps(answer.to_dict())) == answer.to_dict()
    assert (answer.video, answer.subtitle, answer.model) == (str(clips[0]), "Fine.", str(model))
    assert (answer.task, answer.language, answer.prompt_id) == ("visual", "zh", "visual-zh-1")
    assert answer.generation == {"max_new_tokens": 12, "num_beams": 1, "do_sample": False}
    said = "".join(cue for cues in answer.cues.values() for cue in cues)
    assert sorted(filter(str.isalnum, said)) == sorted(filter(str.isalnum, answer.text))
    assert "video_bridge" in answer.untrained_parts
    assert str(answer).startswith(answer.text)
    assert str(answer).endswith(f"note: {answer.note}")
    assert "\n" not in (answer.note or "")


def test_answer_says_whether_it_was_ended_and_by_what_it_was_computed(hubert: Path, clips: list[Path]) -> None:
    explainer = Explainer(hubert, dtype="float32")
    cut = explain(clips[0], model=explainer, **SHORT)
    assert (cut.finished, cut.dtype, cut.version) == (False, "float32", __version__)
    inputs = explainer.prepare(Clip(clips[0]), Question())
    first = explainer.model.generate(**inputs, max_new_tokens=1)[0, -1].item()
    explainer.model.generation_config.eos_token_id = first
    assert explain(clips[0], model=explainer, **SHORT).finished


def test_int8(hubert: Path, clips: list[Path], adapter: Path, loaded: Any) -> None:
    plain, small = (explain(clips[0], model=hubert, dtype=dtype, **SHORT) for dtype in ("bfloat16", "int8"))
    assert (plain.dtype, small.dtype) == ("bfloat16", "int8")
    assert small.text
    for arguments in ({"model": hubert, "adapter": adapter}, {"model": loaded}):
        with pytest.raises(ValueError, match="int8 takes a model by its name and no adapter"):
            explain(clips[0], dtype="int8", **arguments)


def test_printed_answer_groups_cues_by_modality() -> None:
    cues = {"visual": ["In the video, she frowns."], "audio": [], "global": ["She is sad.", "She hides it."]}
    answer = Explanation(
        "a.mp4", "The text.", cues, "reason", "en", "reason-en-1", "m", untrained_parts=["video_bridge"]
    )
    assert str(answer) == (
        "The text.\n\nvisual cues\n  - In the video, she frowns.\n\nglobal cues\n  - She is sad.\n  - She hides it."
        "\n\nnote: m has untrained parts, so this is no evidence: video_bridge"
    )


@pytest.mark.parametrize(("parts", "noted"), [([], False), (["video_cue_head.mask_token"], False), (["lm"], True)])
def test_the_note_counts_only_what_generates(parts: list[str], noted: bool) -> None:
    answer = Explanation("a.mp4", "", {}, "reason", "en", "reason-en-1", "m", untrained_parts=parts)
    assert (answer.note is not None) == noted
    told = dataclasses.replace(answer, caution="trained on rendered heads alone")
    assert told.note == (answer.note or "trained on rendered heads alone")
    assert told.to_dict()["caution"] == "trained on rendered heads alone"


def test_caution_of_the_configuration_is_told(loaded: tuple[Any, Any], clips: list[Path]) -> None:
    model, processor = loaded
    model.config.caution, before = "seen nothing", model.config.untrained_parts
    try:
        answer = explain(clips[0], model=(model, processor), **SHORT)
        assert answer.caution == "seen nothing" != answer.note
        model.config.untrained_parts = []
        assert explain(clips[0], model=(model, processor), **SHORT).note == "seen nothing"
    finally:
        model.config.caution, model.config.untrained_parts = None, before


def test_batch_equals_each_clip_alone(model: Path, clips: list[Path]) -> None:
    alone = [explain(clip, model=model, **SHORT).text for clip in clips]
    assert len(set(alone)) == len(clips)  # the answers depend on the clip, or this test shows nothing
    for batch_size in (2, 8):
        assert [each.text for each in explain(clips, model=model, batch_size=batch_size, **SHORT)] == alone
    each = load_explainer(model).explain_each([Clip(clip) for clip in clips], decoding=Decoding(12), batch_size=3)
    assert [getattr(answer, "text", answer) for answer in each] == alone


def test_same_answer_twice_and_from_every_holder_of_the_model(hubert: Path, loaded: Any, clips: list[Path]) -> None:
    first = explain(clips[0], model=hubert, **SHORT)
    again = explain(clips[0], model=str(hubert), **SHORT)
    pair = explain(clips[0], model=loaded, **SHORT)
    held = explain(clips[0], model=Explainer(hubert, device="cpu", dtype="float32"), **SHORT)
    assert first.text == again.text == pair.text == held.text
    assert first.model == pair.model == str(hubert)


def test_model_is_loaded_once(hubert: Path) -> None:
    assert load_explainer(hubert) is load_explainer(str(hubert))


def test_frames_and_samples_equal_their_file(hubert: Path, clips: list[Path]) -> None:
    frames, wave = load_video(clips[1]).frames, load_audio(clips[1], 16000)
    expected = explain(clips[1], model=hubert, **SHORT).text
    answer = explain(frames, audio=wave, model=hubert, **SHORT)
    assert answer.text == expected
    assert (answer.video, answer.audio) == ("array", "array")
    assert explain(list(frames), audio=wave, model=hubert, **SHORT).text == expected
    assert explain(torch.from_numpy(frames), audio=np.repeat(wave, 2), sampling_rate=32000, model=hubert, **SHORT).text


def test_sound_alone(hubert: Path, clips: list[Path]) -> None:
    as_clip = explain(clips[3], model=hubert, **SHORT)
    assert as_clip.text == explain(audio=clips[3], model=hubert, **SHORT).text
    assert "pixel_values_videos" not in load_explainer(hubert).prepare(Clip(clips[3]), Question())


def test_sound_off_and_replaced(hubert: Path, clips: list[Path]) -> None:
    prepare = load_explainer(hubert).prepare
    own, off, other = (prepare(Clip(clips[0], audio), Question()) for audio in (None, "none", str(clips[3])))
    assert "input_values" in own
    assert "input_values" not in off
    assert other["input_values"].shape != own["input_values"].shape


def test_subtitle_file_equals_its_text(hubert: Path, clips: list[Path], tmp_path: Path) -> None:
    (tmp_path / "said.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nGo away.\n")
    from_file = explain(clips[0], subtitle=tmp_path / "said.srt", model=hubert, **SHORT)
    assert from_file.text == explain(clips[0], subtitle="Go away.", model=hubert, **SHORT).text
    beside_manifest = Clip(str(clips[0]), subtitle="said.srt", folder=tmp_path)
    assert explain([beside_manifest], model=hubert, **SHORT)[0].text == from_file.text


def test_streamed_text_is_the_text(hubert: Path, clips: list[Path]) -> None:
    streamer = TextIteratorStreamer(load_explainer(hubert).processor.tokenizer, True, skip_special_tokens=True)
    answer = explain(clips[0], model=hubert, streamer=streamer, **SHORT)
    assert "".join(streamer).strip() == answer.text


def test_beams_search_further(hubert: Path, clips: list[Path]) -> None:
    answers = explain(clips[:2], model=hubert, num_beams=3, **SHORT)
    assert [answer.text for answer in answers] == [
        explain(clip, model=hubert, num_beams=3, **SHORT).text for clip in clips[:2]
    ]
    assert answers[0].generation["num_beams"] == 3
    assert answers[0].text != explain(clips[0], model=hubert, **SHORT).text


def test_sampling_follows_its_seed_and_leaves_the_callers_alone(hubert: Path, clips: list[Path]) -> None:
    def drawn(seed: int) -> str:
        answer = explain(clips[0], model=hubert, do_sample=True, temperature=2.0, top_p=1.0, seed=seed, **SHORT)
        assert answer.generation["seed"] == seed
        return answer.text

    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first = drawn(1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert drawn(1) == first
    assert drawn(2) != first


def test_instruction_replaces_the_prompt(hubert: Path, clips: list[Path]) -> None:
    answer = explain(clips[0], instruction="Who is it?", model=hubert, **SHORT)
    assert (answer.prompt_id, answer.instruction) == ("custom", "Who is it?")
    explainer = load_explainer(hubert)
    inputs = explainer.prepare(Clip(clips[0]), Question(instruction="Who is it?"))
    assert "Who is it? ###Assistant:" in explainer.processor.decode(inputs["input_ids"][0])


@pytest.fixture(scope="module")
def adapter(hubert: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LoRA on the LLM, and a video bridge of its own."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = AutoModelForMultimodalLM.from_pretrained(hubert, trust_remote_code=True)
        targets = r"model\.language_model\..*\.(q_proj|v_proj)"
        config = LoraConfig(r=4, init_lora_weights=False, target_modules=targets, modules_to_save=["video_bridge"])
        adapted = get_peft_model(model, config)
        for name, parameter in adapted.named_parameters():
            if "modules_to_save" in name:
                parameter.data.normal_()
    folder = tmp_path_factory.mktemp("adapter")
    adapted.save_pretrained(folder)
    return folder


def test_adapter_changes_the_answer_and_trains_its_parts(hubert: Path, adapter: Path, clips: list[Path]) -> None:
    plain, adapted = (explain(clips[0], model=hubert, adapter=each, **SHORT) for each in (None, adapter))
    assert adapted.text != plain.text
    assert adapted.adapter == str(adapter)
    assert set(plain.untrained_parts) - set(adapted.untrained_parts) == {"video_bridge"}


def test_adapter_goes_onto_the_model_that_it_names(hubert: Path, adapter: Path, tmp_path: Path) -> None:
    assert Explainer(adapter=adapter).name == str(hubert)
    copy = Path(shutil.copytree(hubert, tmp_path / "copy"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert Explainer(copy, adapter=adapter).name == str(copy)


def test_code_in_a_folder_that_only_an_adapter_names_is_not_run(
    hubert: Path, adapter: Path, clips: list[Path], tmp_path: Path
) -> None:
    """A downloaded adapter may name a base that came with it, and hold code there."""
    mine = Path(shutil.copytree(adapter, tmp_path / "mine"))
    base = Path(shutil.copytree(hubert, mine / "base"))
    described = json.loads((mine / "adapter_config.json").read_text())
    (mine / "adapter_config.json").write_text(json.dumps(described | {"base_model_name_or_path": str(base)}))
    for file in base.glob("*_xemogpt.py"):
        file.write_text(f"{file.read_text()}\nopen({str(tmp_path / 'run')!r}, 'w').close()\n")
    expected = explain(clips[0], model=hubert, adapter=adapter, **SHORT)
    given: dict[str, Any]
    for given in ({"adapter": mine}, {"model": base, "adapter": mine, "trust_remote_code": False}):
        assert explain(clips[0], **given, **SHORT).text == expected.text
    explain_files(clips[:1], tmp_path / "out.jsonl", adapter=mine, decoding=Decoding(max_new_tokens=2))
    assert not (tmp_path / "run").exists()
    explain(clips[0], model=base, adapter=mine, **SHORT)  # what the user names is run
    assert (tmp_path / "run").exists()


def test_adapter_of_another_model_is_refused(adapter: Path, tmp_path: Path) -> None:
    other = make_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match=r"adapter\d*: belongs to .*, not to .*other, whose weights are others"):
        Explainer(other, adapter=adapter)


def test_adapter_whose_model_is_gone(hubert: Path, adapter: Path, tmp_path: Path) -> None:
    moved = Path(shutil.copytree(adapter, tmp_path / "moved"))
    described = json.loads((moved / "adapter_config.json").read_text())
    described["base_model_name_or_path"] = str(tmp_path / "gone")
    (moved / "adapter_config.json").write_text(json.dumps(described))
    with pytest.raises(FileNotFoundError, match="was trained on .*gone, which is gone; name the model"):
        Explainer(adapter=moved)
    with pytest.warns(UserWarning, match="was trained on .*gone, which cannot be compared with"):
        assert Explainer(hubert, adapter=moved).adapter == str(moved)
    other = make_tiny_model(tmp_path / "other", num_frames=8)
    with (
        pytest.warns(UserWarning, match="cannot be compared"),
        pytest.raises(ValueError, match="is no adapter of .*; its weights have other shapes"),
    ):
        Explainer(other, adapter=moved)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"task": "guess"}, "unknown task 'guess'"),
        ({"language": "fr"}, "unknown language 'fr'"),
        ({"instruction": " "}, "the instruction is empty"),
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1"),
        ({"num_beams": 0}, "num_beams must be at least 1"),
        ({"do_sample": True, "temperature": 0.0}, "temperature must be above 0"),
        ({"do_sample": True, "top_p": 1.5}, "top_p must be in"),
        ({"model": "someone/model"}, "--trust-remote-code"),
        ({"model": "./absent"}, "no such model folder"),
        ({"model": "absent"}, "no such model folder"),
        ({"device": "abacus"}, "unknown device 'abacus'"),
        ({"dtype": "float4"}, "unknown dtype 'float4'"),
        ({"adapter": "./absent"}, "no such adapter folder"),
        ({"subtitle": "absent.srt"}, "absent.srt: no such file"),
        ({"audio": "absent.wav"}, "absent.wav: no such file"),
    ],
)
def test_bad_settings(hubert: Path, clips: list[Path], arguments: dict, message: str) -> None:
    with pytest.raises((ValueError, OSError), match=message) as raised:
        explain(clips[0], **{"model": hubert, **arguments})
    assert "\n" not in str(raised.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_absent_device(hubert: Path) -> None:
    with pytest.raises(ValueError, match="there is no cuda device here"):
        Explainer(hubert, device="cuda")


def test_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "hubert"}')
    with pytest.raises(ValueError, match="a model of type 'hubert', not an XEmoGPT"):
        Explainer(tmp_path)
    with pytest.raises(NotADirectoryError, match="is a file"):
        Explainer(tmp_path / "config.json")


def test_configuration_without_weights_is_refused(hubert: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((hubert / "config.json").read_bytes())
    with pytest.raises(FileNotFoundError, match="a configuration without weights"):
        Explainer(tmp_path)


def test_adapter_in_the_folder_is_not_forgotten_in_silence(hubert: Path, adapter: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(hubert, tmp_path / "model"))
    shutil.copytree(adapter, folder / "adapter")
    with pytest.warns(UserWarning, match="the adapter in it is not used; add --adapter"):
        Explainer(folder)


def test_lists_must_match(hubert: Path, clips: list[Path]) -> None:
    with pytest.raises(ValueError, match="subtitle must be a list of 2"):
        explain(clips[:2], subtitle="one for both?", model=hubert)
    said = explain(clips[:2], subtitle=["One.", None], audio="none", model=hubert, **SHORT)
    assert [(answer.subtitle, answer.audio) for answer in said] == [("One.", "none"), (None, "none")]


def test_streaming_takes_one_clip(hubert: Path, clips: list[Path]) -> None:
    with pytest.raises(ValueError, match="streaming takes one clip"):
        explain(clips[:2], model=hubert, streamer=TextIteratorStreamer(load_explainer(hubert).processor.tokenizer))


def test_nothing_to_explain(hubert: Path) -> None:
    assert explain([], model=hubert) == []


def test_one_bad_clip_costs_no_other(hubert: Path, clips: list[Path], tmp_path: Path) -> None:
    bad = bad_clips(tmp_path)
    order = [clips[0], bad[0], clips[1], clips[2], bad[1], bad[2]]
    outcomes = list(
        load_explainer(hubert).explain_each([Clip(path) for path in order], decoding=Decoding(12), batch_size=3)
    )
    assert [isinstance(outcome, Rejection) for outcome in outcomes] == [False, True, False, False, True, True]
    assert [
        outcome.clip.video if isinstance(outcome, Rejection) else Path(outcome.video or "") for outcome in outcomes
    ] == order
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Explanation)] == [
        explain(path, model=hubert, **SHORT).text for path in order if path not in bad
    ]
    for outcome in outcomes:
        if isinstance(outcome, Rejection):
            assert str(outcome.clip.video) in outcome.reason
            assert "\n" not in outcome.reason
    with pytest.raises(ValueError, match=r"c_text\.mp4"):
        explain([clips[0], bad[1]], model=hubert, **SHORT)


def test_what_cannot_be_heeded_is_refused(hubert: Path, clips: list[Path]) -> None:
    with pytest.raises(ValueError, match="beside a Clip"):
        explain([Clip(clips[0])], subtitle=["Well."], model=hubert)
    with pytest.raises(ValueError, match="adapter, dtype: this Explainer is loaded already"):
        explain(clips[0], model=load_explainer(hubert), adapter="runs/mine", dtype="bfloat16")


def test_an_end_token_of_id_zero_ends(hubert: Path, clips: list[Path]) -> None:
    explainer = Explainer(hubert)
    explainer.model.generation_config.eos_token_id = 0
    inputs = [explainer.prepare(Clip(clips[0]), Question())]
    with torch.no_grad():
        explainer.model.lm_head.weight[1:] = explainer.model.lm_head.weight[:1]  # all alike: the first is taken
    (answer,) = explainer.generate(inputs, Decoding(5))
    assert (answer.finished, answer.tokens) == (True, 1)


def test_media_are_read_only_a_little_ahead(hubert: Path, clips: list[Path]) -> None:
    taken = []

    def endless() -> Iterator[Clip]:
        while True:
            taken.append(1)
            yield Clip(clips[0])

    outcomes = load_explainer(hubert).explain_each(endless(), decoding=Decoding(2), batch_size=2)
    next(outcomes)
    assert len(taken) <= 6
    outcomes.close()


def test_collate_pads_text_left_and_media_right() -> None:
    one = {"input_ids": torch.tensor([[5, 6]]), "input_values": torch.ones(1, 3)}
    two = {"input_ids": torch.tensor([[7]]), "input_values": torch.ones(1, 4), "pixel_values_videos": torch.ones(1, 2)}
    batch = collate([one, two], pad_token_id=9)  # type: ignore[list-item]
    assert batch["input_ids"].tolist() == [[5, 6], [9, 7]]
    assert batch["input_values"].tolist() == [[1, 1, 1, 0], [1, 1, 1, 1]]
    assert batch["pixel_values_videos"].shape == (1, 2)


def test_mark_of_weights_sees_every_part_of_a_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    dtypes, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: dtypes.append(self.dtype) or cpu(self))
    for rows in (64, 96, 128, 1536):
        layer = torch.nn.Linear(64, rows, bias=False)
        marks = {weights_mark(layer)}
        for columns in (slice(1, 32), slice(32, 64)):
            layer.weight.data[:, columns] += 1
            marks.add(weights_mark(layer))
        assert len(marks) == 3
    assert set(dtypes) == {torch.float32}  # Apple's mps has no float64
