# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Many clips: manifests, folders, and a results file that no kill can spoil."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from media_factory import pattern, tone, write_media
from safetensors.torch import load_file, save_file
from small_clips import bad_clips, good_clips
from tiny_model import make_tiny_model

from xemogpt.data.jsonl import JsonLines, fcntl, json_line
from xemogpt.inference import batch
from xemogpt.inference.batch import Summary, explain_files
from xemogpt.inference.clips import Clip, gather_clips
from xemogpt.inference.explain import explain
from xemogpt.inference.explanation import Decoding, Question

SHORT = Decoding(max_new_tokens=6)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def videos(path: Path) -> list[str]:
    return [row["video"] for row in rows(path)] if path.exists() else []


# ---------------------------------------------------------------------------------------------------- which clips


def test_folder_gives_its_media_once_and_sorted(tmp_path: Path) -> None:
    for name in ("b.MP4", "a/z.mkv", "a/x.wav", "c.wav", "c.mp4", ".hidden.mp4", "notes.txt", "c.srt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = [os.path.relpath(clip.video, tmp_path) for clip in gather_clips([tmp_path])]
    assert names == ["a/x.wav", "a/z.mkv", "b.MP4", "c.mp4"]  # c.wav is the sound of c.mp4


def test_folder_without_media_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the folder holds no media file"):
        gather_clips([tmp_path])


def test_manifest_rows_and_where_their_paths_start(tmp_path: Path) -> None:
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text(
        '\ufeff{"video": "v/a.mp4", "label": "sad"}\n\n'
        '{"video": "/abs/b.mp4", "audio": "none", "subtitle": "b.srt", "id": "b"}\n'
        '{"audio": "c.wav", "subtitle": "Said."}\n',
        encoding="utf-8",
    )
    a, b, c = gather_clips([manifest])
    assert [clip.name for clip in (a, b, c)] == ["v/a.mp4", "b", "c.wav"]
    assert a.located().video == str(tmp_path / "v/a.mp4")
    assert (b.located().video, b.located().audio) == ("/abs/b.mp4", "none")
    assert b.located().subtitle == str(tmp_path / "b.srt")
    assert (c.located().video, c.located().audio, c.located().subtitle) == (None, str(tmp_path / "c.wav"), "Said.")


def test_manifest_subtitles_by_language(tmp_path: Path) -> None:
    rows: list[Any] = [{"zh": "再见。", "en": "Goodbye."}, {"zh": "再见。"}, {}]
    rows += [{"en": ""}, {"en": " ", "zh": "再见。"}, "", " \n", "nan", float("nan"), {"en": None}]
    lines = [json.dumps({"id": str(number), "video": "a.mp4", "subtitle": row}) for number, row in enumerate(rows)]
    (tmp_path / "m.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert [clip.subtitle for clip in gather_clips([tmp_path / "m.jsonl"])] == [
        *("Goodbye.", "再见。", None),
        *(None, "再见。", None, None, None, None, None),
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "line 2: is not JSON"),
        ("[]", "line 2: is not an object"),
        ("{}", 'line 2: has neither "video" nor "audio"'),
        ('{"audio": "none"}', 'line 2: has neither "video" nor "audio"'),
        ('{"video": 3}', 'line 2: "video" must be a non-empty string, not 3'),
        ('{"video": ""}', 'line 2: "video" must be a non-empty string, not ""'),
        ('{"video": "b.mp4", "subtitle": false}', 'line 2: "subtitle" must be'),
        ('{"video": "a.mp4", "subtitle": "Other."}', "'a.mp4' is already line 1"),
    ],
)
def test_bad_manifest_row_is_named_by_its_line(tmp_path: Path, line: str, message: str) -> None:
    (tmp_path / "m.jsonl").write_text(f'{{"video": "a.mp4"}}\n{line}\n')
    with pytest.raises(ValueError, match=message) as raised:
        explain_files(tmp_path / "m.jsonl", tmp_path / "out.jsonl", model="/absent")  # before any model is looked for
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"m\.jsonl: the manifest has no rows"),
        (b"\n\n", r"m\.jsonl: the manifest has no rows"),
        (b"\xff\xfe{", r"m\.jsonl: is not UTF-8 text but UTF-16; save it"),
        (b'{"video": "a.mp4"}\n{"video": "\xe9.mp4"}', r"m\.jsonl, line 2: is not UTF-8 text; save it as UTF-8"),
    ],
)
def test_manifest_without_rows_or_of_another_encoding(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "m.jsonl").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        gather_clips([tmp_path / "m.jsonl"])


def test_line_separators_inside_a_row_do_not_break_it(tmp_path: Path) -> None:
    row = {"video": "a.mp4", "text": "one\u2028two\u0085three\nfour"}
    assert len(json_line(row).decode().splitlines()) == 1
    assert json.loads(json_line(row)) == row
    (tmp_path / "m.jsonl").write_text('{"video": "a.mp4", "subtitle": "one\u2028two"}\n', encoding="utf-8")
    assert gather_clips([tmp_path / "m.jsonl"])[0].subtitle == "one\u2028two"


@pytest.mark.parametrize("name", ["labels.csv", "LABELS.TSV", "rows.parquet", "rows.json"])
def test_a_table_is_no_clip_and_it_is_said_what_to_give(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("name,label\na,sad\n")
    with pytest.raises(
        ValueError, match=rf"{name}: is a table, not a clip: give a .jsonl manifest; .*data export folder"
    ):
        explain_files(tmp_path / name, tmp_path / "out.jsonl", model="/absent")


def test_same_clip_twice_is_one(tmp_path: Path) -> None:
    assert gather_clips(["a.mp4", "b.mp4", "a.mp4"]) == [Clip("a.mp4"), Clip("b.mp4")]
    with pytest.raises(ValueError, match=r"two different clips are called 'a\.mp4'"):
        gather_clips([Clip("a.mp4"), Clip("a.mp4", subtitle="Said.")])


# -------------------------------------------------------------------------------------------------- results files


def test_mixed_folder(model: Path, tmp_path: Path) -> None:
    good, bad = good_clips(tmp_path / "in"), bad_clips(tmp_path / "in")
    out = tmp_path / "out.jsonl"
    summary = explain_files(tmp_path / "in", out, model=model, decoding=SHORT, batch_size=3)
    assert summary == Summary(5, 3, 0, summary.note)
    assert "untrained" in (summary.note or "")
    assert videos(out) == [str(path) for path in good]
    assert videos(tmp_path / "rejects.jsonl") == [str(path) for path in bad]
    for row, path in zip(rows(out), good, strict=True):
        assert row["text"] == explain(path, model=model, max_new_tokens=6).text
        assert set(row["cues"]) == {"visual", "audio", "global"}
        assert (row["task"], row["prompt_id"], row["model"]) == ("reason", "reason-en-1", str(model))
    assert all(row["reason"] and "\n" not in row["reason"] for row in rows(tmp_path / "rejects.jsonl"))


def test_no_rejects_no_file(model: Path, clips: list[Path], tmp_path: Path) -> None:
    explain_files(clips[:1], tmp_path / "out.jsonl", model=model, decoding=SHORT)
    assert os.listdir(tmp_path) == ["out.jsonl"]


def test_finished_run_loads_no_model(
    model: Path, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = bad_clips(tmp_path / "bad")[0]
    out = tmp_path / "out.jsonl"
    explain_files([clips[0], bad], out, model=model, decoding=SHORT)
    before = out.read_bytes(), (tmp_path / "rejects.jsonl").read_bytes()
    monkeypatch.delattr(batch, "load_explainer")
    assert explain_files([clips[0], bad], out, model=model, decoding=SHORT) == Summary(0, 1, 1)
    assert (out.read_bytes(), (tmp_path / "rejects.jsonl").read_bytes()) == before


def test_another_task_or_language_is_another_answer(model: Path, clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for question in (Question("reason"), Question("visual"), Question("reason", "zh"), Question("visual")):
        explain_files(clips[:2], out, model=model, decoding=SHORT, question=question)
    assert [(row["task"], row["language"]) for row in rows(out)[::2]] == [
        ("reason", "en"),
        ("visual", "en"),
        ("reason", "zh"),
    ]
    assert len(rows(out)) == 6


def test_half_a_row_is_cut_off_wherever_it_was_torn(model: Path, clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    explain_files(clips[:2], out, model=model, decoding=SHORT)
    first, second = out.read_bytes().splitlines(keepends=True)
    for cut in range(len(second)):
        out.write_bytes(first + second[:cut])
        with JsonLines(out, "text") as results:
            assert len(results.rows) == 1
        assert out.read_bytes() == first
    out.write_bytes(first + second[:-1])
    assert explain_files(clips[:2], out, model=model, decoding=SHORT).explained == 1
    torn = rows(out)
    assert [row["text"] for row in torn] == [json.loads(first)["text"], json.loads(second)["text"]]


@pytest.mark.parametrize("content", ['{"name": "x"}\n', "some notes\n", "some notes", '{"video": "a.mp4"}\n', "1\n"])
def test_foreign_file_is_left_as_it_is(model: Path, clips: list[Path], tmp_path: Path, content: str) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text(content)
    with pytest.raises(ValueError, match="name another file"):
        explain_files(clips[:1], out, model=model, decoding=SHORT)
    assert out.read_text() == content


@pytest.mark.parametrize(
    "change",
    [
        {"decoding": Decoding(max_new_tokens=7)},
        {"model": "someone/else"},
        {"question": Question(instruction="Who?")},
        {"adapter": "some/adapter"},
        {"dtype": "float16"},
    ],
)
def test_answers_of_other_settings_are_not_mixed(model: Path, clips: list[Path], tmp_path: Path, change: dict) -> None:
    out = tmp_path / "out.jsonl"
    settings: dict[str, Any] = {"model": model, "decoding": SHORT}
    explain_files(clips[:1], out, **settings)
    with pytest.raises(ValueError, match=r"holds answers obtained with .*; name another file"):
        explain_files(clips[:2], out, **{**settings, **change})
    assert len(rows(out)) == 1


@pytest.mark.parametrize("change", [{"audio": "none"}, {"subtitle": "Said."}, {"video": "other.mp4"}])
def test_answers_about_other_media_are_not_taken_for_these(
    model: Path, clips: list[Path], tmp_path: Path, change: dict
) -> None:
    out, clip = tmp_path / "out.jsonl", Clip(str(clips[0]), id="a")
    row = {"id": "a", "video": clip.video, "task": "reason", "language": "en", "prompt_id": "reason-en-1"}
    row |= {"model": str(model), "generation": SHORT.settings(), "text": "She is sad."}
    out.write_bytes(json_line(row))
    assert explain_files(clip, out, model=model, decoding=SHORT) == Summary(0, 0, 1)
    with pytest.raises(ValueError, match=rf"holds answers obtained with {next(iter(change))} .*; name another file"):
        explain_files(replace(clip, **change), out, model=model, decoding=SHORT)


def test_clips_of_another_manifest_with_the_same_names_are_not_taken_for_done(
    model: Path, clips: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, run = tmp_path / "out.jsonl", {"model": model, "decoding": SHORT}
    for folder, clip in (("a", clips[0]), ("b", clips[1])):
        (tmp_path / folder).mkdir()
        shutil.copy(clip, tmp_path / folder / "clip1.mp4")
        (tmp_path / folder / "m.jsonl").write_text('{"video": "clip1.mp4"}\n')
    assert explain_files(tmp_path / "a" / "m.jsonl", out, **run).explained == 1
    (row,) = rows(out)
    assert row["bytes"] == [clips[0].stat().st_size]
    with pytest.raises(ValueError, match=r"an answer about clip1\.mp4 when its files had other sizes .*name another"):
        explain_files(tmp_path / "b" / "m.jsonl", out, **run)
    assert rows(out) == [row]
    monkeypatch.chdir(tmp_path / "a")  # from another folder, and after what is done has been cleared away
    assert explain_files("m.jsonl", out, **run).skipped == 1
    Path("clip1.mp4").unlink()
    assert explain_files("m.jsonl", out, **run).skipped == 1
    out.write_bytes(json_line({key: value for key, value in row.items() if key != "bytes"}))  # as older ones were
    assert explain_files(tmp_path / "b" / "m.jsonl", out, **run).skipped == 1


def test_answers_of_a_retrained_model_are_not_mixed(model: Path, clips: list[Path], tmp_path: Path) -> None:
    out, folder = tmp_path / "out.jsonl", tmp_path / "model"
    shutil.copytree(model, folder)
    explain_files(clips[:1], out, model=folder, decoding=SHORT)
    explain_files(clips[:2], out, model=folder, decoding=SHORT)
    before = rows(out)
    (mark,) = {row["weights"] for row in before}
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("q_proj.weight"))
    save_file(weights | {name: weights[name] * 1.01}, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ValueError, match=rf"obtained with weights '{mark}', not '\w+'; name another file"):
        explain_files(clips[:3], out, model=folder, decoding=SHORT)
    assert rows(out) == before


def test_answers_of_another_dtype_are_not_mixed_unasked(model: Path, clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    row = {"id": "a", "task": "reason", "language": "en", "prompt_id": "reason-en-1", "dtype": "float64"}
    row |= {"model": str(model), "generation": SHORT.settings(), "text": "She is sad."}
    out.write_bytes(json_line(row))
    with pytest.raises(ValueError, match=r"obtained with dtype 'float64', not '\w+'; name another file"):
        explain_files(clips[:1], out, model=model, decoding=SHORT)
    assert len(rows(out)) == 1


def test_rejects_are_kept_until_they_are_retried_or_mended(model: Path, clips: list[Path], tmp_path: Path) -> None:
    later, never = tmp_path / "later.mp4", bad_clips(tmp_path / "bad")[1]
    out, rejects = tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    run = {"model": model, "decoding": SHORT}
    assert explain_files([later, never, clips[0]], out, **run).rejected == 2
    before = rejects.read_bytes()
    assert explain_files([later, never, clips[0]], out, **run) == Summary(0, 2, 1)
    assert rejects.read_bytes() == before
    later.write_bytes(clips[1].read_bytes()[:300])  # torn
    summary = explain_files([later, never, clips[0]], out, **run)
    assert (summary.explained, summary.rejected, summary.skipped) == (0, 2, 1)
    assert {row["video"]: row["bytes"] for row in rows(rejects)}[str(later)] == [300]
    later.write_bytes(clips[1].read_bytes())
    summary = explain_files([later, never, clips[0]], out, **run)
    assert (summary.explained, summary.rejected, summary.skipped) == (1, 1, 1)
    assert videos(out) == [str(clips[0]), str(later)]
    other = tmp_path / "other.jsonl"  # shares the list of rejects, not its verdicts
    assert explain_files([later, never], other, **run).explained == 1
    assert [(row["video"], row["out"]) for row in rows(rejects)] == [
        (str(never), "out.jsonl"),
        (str(never), "other.jsonl"),
    ]
    assert explain_files([later, never, clips[0]], out, retry_rejects=True, **run).rejected == 1
    assert [row["out"] for row in rows(rejects)] == ["other.jsonl", "out.jsonl"]


def test_manifest_names_stay_as_given(model: Path, clips: list[Path], tmp_path: Path) -> None:
    manifest = clips[0].parent / "m.jsonl"
    manifest.write_text('{"video": "a_both.mp4", "id": "first"}\n{"video": "absent.mp4"}\n{"audio": "d_sound.wav"}\n')
    explain_files(manifest, tmp_path / "out.jsonl", model=model, decoding=SHORT)
    manifest.unlink()
    assert [(row["id"], row["video"], row["audio"]) for row in rows(tmp_path / "out.jsonl")] == [
        ("first", "a_both.mp4", None),
        (None, None, "d_sound.wav"),
    ]
    assert videos(tmp_path / "rejects.jsonl") == ["absent.mp4"]


@pytest.mark.skipif(os.name != "posix", reason="names that are no text exist on POSIX")
def test_file_name_that_is_no_text(model: Path, clips: list[Path], tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"\xff\xe9.mp4")
    Path(os.fsdecode(odd)).write_bytes(clips[0].read_bytes())
    out = tmp_path / "out.jsonl"
    for _ in range(2):
        explain_files([os.fsdecode(odd)], out, model=model, decoding=SHORT)
        assert len(rows(out)) + len(videos(tmp_path / "rejects.jsonl")) == 1
    (name,) = {*videos(out), *videos(tmp_path / "rejects.jsonl")}
    assert os.fsencode(name) == odd


@pytest.mark.skipif(fcntl is None, reason="no file locks here")
def test_two_runs_cannot_write_one_file(model: Path, clips: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.touch()
    with JsonLines(out, "text"), pytest.raises(ValueError, match="another run is writing it"):
        explain_files(clips[:1], out, model=model, decoding=SHORT)


def test_places_that_cannot_hold_results(model: Path, clips: list[Path], tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such folder to write"):
        explain_files(clips[:1], tmp_path / "absent" / "out.jsonl", model=model)
    with pytest.raises(ValueError, match="give the results another name"):
        explain_files(clips[:1], tmp_path / "rejects.jsonl", model=model)
    with pytest.raises(IsADirectoryError):
        explain_files(clips[:1], tmp_path, model=model)


@pytest.mark.parametrize("attempts", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_kill_and_resume_lose_nothing_and_repeat_nothing(model: Path, tmp_path: Path, attempts: int) -> None:
    folder, out, rejects = tmp_path / "in", tmp_path / "out.jsonl", tmp_path / "rejects.jsonl"
    folder.mkdir()
    for index in range(12):
        write_media(folder / f"{index:02}.mp4", pattern(4 + index), audio=tone(0.2 + 0.1 * index))
    for index in (3, 8):
        (folder / f"{index:02}.mp4").write_text("no video")
    names = [str(folder / f"{index:02}.mp4") for index in range(12)]
    command = [sys.executable, "-m", "xemogpt", "explain", str(folder), "--model", str(model), "--out", str(out)]
    command += ["--batch-size", "2", "--max-new-tokens", "40"]
    pick, kills = random.Random(attempts), 0
    for _ in range(attempts):
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        while process.poll() is None and (out.stat().st_size if out.exists() else 0) <= before:
            time.sleep(0.001)
        time.sleep(pick.uniform(0, 0.15))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        if pick.random() < 0.5 and out.exists():  # a kill of the whole machine may also tear the last row
            whole = out.read_bytes()
            out.write_bytes(whole[: -pick.randint(1, 40)])
    assert kills >= 1
    resumed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert resumed.returncode == 1, resumed.stderr
    assert videos(out) == [name for index, name in enumerate(names) if index not in (3, 8)]
    assert videos(rejects) == [names[3], names[8]]
    expected = explain(names[11], model=model, max_new_tokens=40).text
    assert rows(out)[-1]["text"] == expected
