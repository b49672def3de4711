# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt synth`: the same bytes for the same seed, whatever the workers, the order and the kills."""

import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from xemogpt.cli import main
from xemogpt.data.media import decode_media
from xemogpt.data.sample import read_manifest
from xemogpt.data.synth.clip import FPS, make_clip
from xemogpt.data.synth.corpus import LICENCE, Recipe, make_corpus
from xemogpt.data.synth.cue_types import AUDIO, VISUAL
from xemogpt.data.synth.exact import exact_cues, read_truth
from xemogpt.data.synth.voice import RATE
from xemogpt.inputs_xemogpt import sample_indices
from xemogpt.media_xemogpt import load_audio, load_video

pytestmark = pytest.mark.skipif(not shutil.which("espeak-ng"), reason="needs the program espeak-ng, which speaks")
SMALL = Recipe(seed=5, size=32, sampled=True)
CLIPS = 3


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def command(out: Path, clips: int, *more: str) -> list[str]:
    program = [sys.executable, "-m", "xemogpt", "synth", "--out", str(out), "--clips", str(clips)]
    return [*program, "--seed", "5", "--size", "32", "--sampled", *more]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus") / "made"
    summary = make_corpus(out, CLIPS, SMALL)
    assert (summary.made, summary.present, summary.rejected) == (CLIPS, 0, 0)
    return out


def test_manifest_is_read_and_its_files_are_there(corpus: Path) -> None:
    samples = [sample for path in sorted(corpus.glob("*/manifest.jsonl")) for sample in read_manifest(path)]
    assert {sample.id for sample in samples} == {f"synth_5_{index:08d}" for index in range(CLIPS)}
    for sample in samples:
        assert sample.video
        assert sample.split == Path(sample.video).parent.name
        assert sample.licence == LICENCE
        assert sample.text["en"]
        assert sample.label
        assert sample.caption is None or len(sample.caption.split()) <= 25
        assert Path(sample.video).stat().st_size > 10_000


def test_sampled_clip_is_the_whole_clip_to_a_model(corpus: Path) -> None:
    path, clip = str(corpus / "train" / "synth_5_00000000.mkv"), make_clip(5, 0, 32)
    video = load_video(path, 16)
    assert np.allclose(video.timestamps, sample_indices(clip.count, 16) / FPS, atol=1e-3)
    assert video.duration == pytest.approx(clip.seconds, abs=1 / FPS)
    messages = [{"role": "user", "content": [{"type": "video", "path": path}, {"type": "audio", "path": path}]}]
    processor = SimpleNamespace(num_frames=16, sampling_rate=RATE, max_audio_seconds=1.5)
    decode_media(messages, processor)
    picture, sound = messages[0]["content"]
    assert np.abs(picture["video"].astype(int) - clip.sampled()).mean() < 12  # JPEG
    assert np.allclose(sound["audio"], clip.speech.sound[: int(1.5 * RATE)], atol=1e-4)


def test_truth_has_a_row_for_every_clip(corpus: Path) -> None:
    for path in sorted(corpus.glob("*/truth.jsonl")):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        samples = list(read_manifest(path.with_name("manifest.jsonl")))
        assert [row["id"] for row in rows] == [sample.id for sample in samples] == list(truth := read_truth(path))
        scores = exact_cues([sample.text["en"] for sample in samples], [each.cues for each in truth.values()])
        assert scores["all"]["f1"] == 1
        for row, sample in zip(rows, samples, strict=True):
            known = sorted((cue["modality"], cue["polarity"]) for cue in row["cues"])
            assert known == sorted((cue.modality, cue.polarity) for cue in sample.cues if cue.kind == "observation")


def test_plain_words_name_each_cue_that_is_shown_and_nothing_else(corpus: Path) -> None:
    order = [name.replace("_", " ") for name in (*VISUAL, *AUDIO)]
    for path in sorted(corpus.glob("*/truth.jsonl")):
        truth, samples = read_truth(path), list(read_manifest(path.with_name("plain.jsonl")))
        assert [sample.id for sample in samples] == list(truth)
        for sample in samples:
            named = [cue.text for cue in sample.cues]
            assert named == sorted(named, key=order.index)
            shown = {cue for cue, sign in truth[sample.id].cues.items() if sign > 0}
            assert {name.replace(" ", "_") for name in named} == shown
            assert Path(sample.video or "").is_file()
            assert (sample.text, sample.caption) == ({}, None)


def test_card_says_synthetic_and_licence(corpus: Path) -> None:
    card = (corpus / "README.md").read_text()
    assert card.startswith("---\nlicense: cc0-1.0\n")
    assert "**Synthetic.**" in card
    assert "| train | 2 |" in card


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_same_seed_same_bytes_in_pieces_and_by_any_workers(corpus: Path, tmp_path: Path, workers: int) -> None:
    other = tmp_path / "other"
    make_corpus(other, 2, SMALL)
    (other / "train" / "synth_5_00000000.mkv").unlink()  # lost: made again
    done: list[int] = []
    summary = make_corpus(other, CLIPS, SMALL, workers, progress=done.append)
    assert (summary.made, summary.present) == (CLIPS - 1, 1)
    assert sum(done) == CLIPS
    assert digests(other) == digests(corpus)
    assert not make_corpus(other, CLIPS, SMALL).made


def test_killed_run_goes_on(corpus: Path, tmp_path: Path) -> None:
    out = tmp_path / "killed"
    run = subprocess.Popen(command(out, CLIPS), stderr=subprocess.DEVNULL, start_new_session=True)
    manifest = out / "train" / "manifest.jsonl"
    until = time.monotonic() + 60
    while not (manifest.exists() and manifest.stat().st_size) and time.monotonic() < until:
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL
    with manifest.open("ab") as file:  # as a kill in the middle of a row leaves it
        file.write(b'{"id": "synth_5_000')
    (out / "train" / ".synth_5_00000002.mkv.part").write_bytes(b"half")
    assert main(command(out, CLIPS)[3:]) == 0
    assert digests(out) == digests(corpus)


@pytest.mark.slow
def test_workers_of_a_killed_run_end(tmp_path: Path) -> None:
    run = subprocess.Popen(command(tmp_path / "a", 400, "--workers", "2"), stderr=subprocess.DEVNULL)
    manifest = tmp_path / "a" / "train" / "manifest.jsonl"
    until = time.monotonic() + 60
    while not (manifest.exists() and manifest.stat().st_size) and time.monotonic() < until:
        time.sleep(0.05)
    workers = subprocess.run(["pgrep", "-P", str(run.pid)], capture_output=True, text=True).stdout.split()
    assert len(workers) >= 2
    run.kill()
    run.wait()
    until += 20
    while (alive := [pid for pid in workers if Path("/proc", pid).exists()]) and time.monotonic() < until:
        time.sleep(0.1)
    assert not alive


def test_clip_that_cannot_be_spoken_is_rejected_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """eSpeak fails at one sentence, then is itself again."""
    real = shutil.which("espeak-ng")
    victim = make_clip(5, 2, 32).plan.sentence.split()[-1].strip(".")
    broken = tmp_path / "bin" / "espeak-ng"
    broken.parent.mkdir()
    broken.write_text(
        f'#!/bin/sh\ncase "$1" in --version) exec {real} "$@";; esac\ntext=$(cat)\n'
        f'case "$text" in *{victim}*) echo "out of breath" >&2; exit 3;; esac\n'
        f'printf %s "$text" | {real} "$@"\n'
    )
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        patch.setenv("PATH", f"{broken.parent}{os.pathsep}{os.environ['PATH']}")
        assert main(command(out, CLIPS)[3:]) == 1
    rejects = [json.loads(line) for line in (out / "rejects.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rejects] == ["synth_5_00000002"]
    assert "out of breath" in rejects[0]["reason"]
    assert "1 rejected" in capsys.readouterr().err
    assert main(command(out, CLIPS)[3:]) == 0
    assert digests(out) == digests(corpus)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--seed", "6"], "seed 5, not 6"),
        (["--size", "48"], "size 32, not 48"),
        (["--clips", "0"], "at least 1"),
        (["--workers", "0"], "at least 1"),
        (["--size", "33"], "even number"),
        (["--seed", "-1"], "must not be negative"),
    ],
)
def test_refusals(corpus: Path, change: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = digests(corpus)
    assert main([*command(corpus, CLIPS)[3:], *change]) == 2
    assert message in capsys.readouterr().err
    assert digests(corpus) == before


def test_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(ValueError, match="holds other files"):
        make_corpus(tmp_path, 1, SMALL)
    with pytest.raises(NotADirectoryError, match="is a file"):
        make_corpus(tmp_path / "thesis.txt", 1, SMALL)
    assert list(digests(tmp_path)) == ["thesis.txt"]


def test_missing_espeak_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt-get install espeak-ng"):
        make_corpus(tmp_path / "out", 1, SMALL)


def test_video_file_has_the_pictures_sound_and_words(tmp_path: Path) -> None:
    recipe = Recipe(seed=5, size=64)
    make_corpus(tmp_path / "a", 1, recipe)
    make_corpus(tmp_path / "b", 1, recipe)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    path = tmp_path / "a" / "train" / "synth_5_00000000.mp4"
    clip = make_clip(5, 0, 64)
    frames = np.asarray(load_video(path, 16).frames)
    assert np.abs(frames.astype(int) - clip.sampled(16)).mean() < 12
    sound = load_audio(path, RATE)
    assert abs(len(sound) - len(clip.speech.sound)) < 0.1 * RATE
    assert clip.plan.sentence in path.with_suffix(".srt").read_text()


def test_rendered_examples_are_what_their_annotation_says(root: Path) -> None:
    samples = list(read_manifest(root / "examples" / "manifest.jsonl"))
    truth = read_truth(root / "examples" / "truth.jsonl")
    assert [sample.id for sample in samples] == list(truth) == ["joy", "suppressed_anger", "sadness"]
    assert (
        exact_cues([sample.text["en"] for sample in samples], [each.cues for each in truth.values()])["all"]["f1"] == 1
    )
    assert [each.subset for each in truth.values()] == ["consistent", "video-aligned", "consistent"]
    for sample in samples:
        assert sample.video
        path = Path(sample.video)
        assert path.stat().st_size <= 300_000
        assert sample.subtitle["en"] in path.with_suffix(".srt").read_text()
        clip = load_video(path, 16)
        assert clip.frames.shape == (16, 320, 320, 3)
        assert all(cue.time is None or cue.time[1] <= clip.duration + 0.05 for cue in sample.cues)
        assert abs(len(load_audio(path, RATE)) / RATE - clip.duration) < 0.2
