# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The `xemogpt` command: what it prints, where, and with which exit status."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_clips import bad_clips
from tiny_model import audio_config, make_tiny_model, text_config, tiny_tokenizer, vision_config
from transformers import (
    AutoModelForMultimodalLM,
    CLIPImageProcessorPil,
    CLIPVisionModel,
    HubertModel,
    Qwen3ForCausalLM,
    Wav2Vec2FeatureExtractor,
)

from xemogpt.cli import main, make_parser
from xemogpt.configuration_xemogpt import XEmoGPTConfig
from xemogpt.hub.info import describe
from xemogpt.inference.explain import explain

COMMANDS = ["explain", "info", "convert-release", "compose", "tiny"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def short(model: Path) -> list[str]:
    """The options that make an answer quick."""
    return ["--model", str(model), "--max-new-tokens", "12"]


# ------------------------------------------------------------------------------------------------------- the parser


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS), ["--version"]])
def test_help_needs_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys\nfrom xemogpt.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as end:\n"
        "    print(end.code, *{'torch', 'transformers', 'numpy', 'av', 'tqdm', 'huggingface_hub'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    assert said.stdout.splitlines()[-1] == "0"
    assert "xemogpt" in said.stdout


def test_every_option_of_explain() -> None:
    args = make_parser().parse_args(
        [
            *("explain", "a.mp4", "b.mp4", "--subtitle", "Said.", "--audio", "none", "--task", "recognise"),
            *("--language", "zh", "--instruction", "Who?", "--model", "m", "--adapter", "a", "--device", "cpu"),
            *("--dtype", "float32", "--max-new-tokens", "9", "--beams", "3", "--seed", "4", "--stream", "--json"),
            *("--batch-size", "2", "--out", "o.jsonl", "--retry-rejects", "--trust-remote-code"),
        ]
    )
    assert (args.clips, args.subtitle, args.audio, args.task) == (["a.mp4", "b.mp4"], "Said.", "none", "recognise")
    assert (args.beams, args.sample, args.batch_size, args.trust_remote_code) == (3, False, 2, True)


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["explain"],
        ["explain", "a.mp4", "--task", "guess"],
        ["explain", "a.mp4", "--beams", "2", "--sample"],
        ["explain", "a.mp4", "--seed", "x"],
        ["convert-release"],
        ["compose", "--vision", "v"],
        ["what"],
    ],
)
def test_usage_errors(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "error: " in said.err


# ------------------------------------------------------------------------------------------------------------ explain


def test_explain_prints_the_explanation(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["explain", str(clips[0]), *short]) == 0
    said = capsys.readouterr()
    assert said.out == f"{explain(clips[0], model=short[1], max_new_tokens=12)}\n"
    assert "note: " in said.out
    assert said.err == ""


def test_options_reach_the_model(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture) -> None:
    options = ["--subtitle", "Said.", "--audio", str(clips[3]), "--task", "audio", "--language", "zh", "--beams", "2"]
    assert main(["explain", str(clips[0]), *short, *options, "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    expected = explain(
        clips[0],
        audio=str(clips[3]),
        subtitle="Said.",
        task="audio",
        language="zh",
        model=short[1],
        max_new_tokens=12,
        num_beams=2,
    ).to_dict()
    assert {**answer, "seconds": 0} == {**expected, "seconds": 0}


def test_sample_is_repeatable(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture) -> None:
    def drawn(*options: str) -> str:
        assert main(["explain", str(clips[0]), *short, "--sample", "--temperature", "2", *options]) == 0
        return capsys.readouterr().out

    assert drawn() == drawn()
    assert drawn("--seed", "1") != drawn("--seed", "2")


@pytest.mark.parametrize("option", [("--temperature", "3"), ("--top-p", "0.5"), ("--seed", "1")])
def test_what_is_of_sample_alone_is_refused_without_it(
    clips: list[Path], option: tuple[str, str], capsys: pytest.CaptureFixture
) -> None:
    assert main(["explain", str(clips[0]), *option]) == 2
    assert f"{option[0]}: of --sample alone" in capsys.readouterr().err


def test_stream_prints_the_same(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["explain", str(clips[0]), *short]) == 0
    whole = capsys.readouterr().out
    assert main(["explain", str(clips[0]), *short, "--stream"]) == 0
    assert capsys.readouterr().out.strip() == whole.strip()


def test_many_clips_are_printed_in_order(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["explain", *map(str, clips), *short, "--batch-size", "2"]) == 0
    printed = capsys.readouterr().out
    assert [line[3:] for line in printed.splitlines() if line.startswith("== ")] == [str(clip) for clip in clips]


def test_folder_as_json_lines(
    clips: list[Path], short: list[str], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    bad = bad_clips(tmp_path)
    assert main(["explain", str(clips[0].parent), str(tmp_path), *short, "--json"]) == 1
    said = capsys.readouterr()
    answers = [json.loads(line) for line in said.out.splitlines()]
    assert [answer["video"] for answer in answers] == [str(clip) for clip in clips]
    assert all(answer["cues"].keys() == {"visual", "audio", "global"} for answer in answers)
    rejected = [line for line in said.err.splitlines() if line.startswith("xemogpt: rejected: ")]
    assert [path for path, line in zip(bad, rejected, strict=True) if str(path) not in line] == []


def test_sound_off_for_a_manifest_keeps_its_subtitles(
    clips: list[Path], short: list[str], capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    manifest = tmp_path / "m.jsonl"
    manifest.write_text("".join(json.dumps({"video": str(clip), "subtitle": clip.stem}) + "\n" for clip in clips[:2]))
    assert main(["explain", str(manifest), *short, "--audio", "none", "--json"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(answer["audio"], answer["subtitle"]) for answer in answers] == [("none", "a_both"), ("none", "b_longer")]


def test_results_file(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    bad = str(bad_clips(tmp_path / "bad")[0])
    assert main(["explain", *map(str, clips[:2]), *short, "--out", str(out)]) == 0
    assert main(["explain", *map(str, clips[:3]), bad, *short, "--out", str(out)]) == 1
    assert main(["explain", *map(str, clips[:3]), bad, *short, "--out", str(out)]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"xemogpt: 1 explained, 1 rejected, 2 done before -> {out}" in said.err
    assert "note: " in said.err
    assert [json.loads(line)["video"] for line in out.read_text().splitlines()] == [str(clip) for clip in clips[:3]]
    assert len((tmp_path / "rejects.jsonl").read_text().splitlines()) == 1


def test_warnings_are_one_line_on_stderr(clips: list[Path], short: list[str], capsys: pytest.CaptureFixture) -> None:
    assert main(["explain", str(clips[0]), *short, "--subtitle", "word " * 20_000]) == 0
    said = capsys.readouterr()
    warned = said.err.splitlines()
    assert len(warned) == 1
    assert warned[0].startswith("xemogpt: warning: the subtitle of 100000 characters is cut")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["absent.mp4"], "absent.mp4: no such file"),
        (["CLIP", "--subtitle", "absent.srt"], "absent.srt: no such file"),
        (["CLIP", "--audio", "absent.wav"], "absent.wav: no such file"),
        (["CLIP", "CLIP2", "--subtitle", "Said."], "are for one clip"),
        (["CLIP", "CLIP2", "--audio", "a.wav"], "are for one clip"),
        (["CLIP", "CLIP2", "--stream"], "--stream is for one clip"),
        (["CLIP", "--stream", "--json"], "--stream is for one clip"),
        (["CLIP", "--stream", "--beams", "2"], "--stream is for one clip"),
        (["CLIP", "--retry-rejects"], "--retry-rejects needs --out"),
        (["CLIP", "--batch-size", "0"], "--batch-size must be at least 1"),
        (["CLIP", "--beams", "0"], "num_beams must be at least 1"),
        (["CLIP", "--instruction", ""], "the instruction is empty"),
        (["CLIP", "--model", "./absent"], "no such model folder"),
        (["CLIP", "--model", "some/model"], "--trust-remote-code"),
        (["CLIP", "--device", "abacus"], "unknown device"),
        (["CLIP", "--dtype", "float4"], "unknown dtype"),
        (["CLIP", "--out", "./absent/out.jsonl"], "no such folder to write"),
        (["EMPTY"], "holds no media file"),
        (["BAD"], "line 1: is not JSON"),
        (["TEXT"], "c_text.mp4"),
    ],
)
def test_errors_are_one_line(
    clips: list[Path],
    short: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    arguments: list[str],
    message: str,
) -> None:
    (tmp_path / "bad.jsonl").write_text("video.mp4\n")
    (tmp_path / "empty").mkdir()
    places = {"CLIP": clips[0], "CLIP2": clips[1], "EMPTY": tmp_path / "empty", "BAD": tmp_path / "bad.jsonl"}
    places["TEXT"] = bad_clips(tmp_path / "bad")[1]
    assert main(["explain", *short, *(str(places.get(argument, argument)) for argument in arguments)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert message in said.err
    assert said.err.startswith("xemogpt: error: ")
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("by", ["option", "environment"])
def test_debug_raises(by: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if by == "environment":
        monkeypatch.setenv("XEMOGPT_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        main(["explain", "absent.mp4", *(["--debug"] if by == "option" else [])])


def test_interrupt_is_quiet(clips: list[Path], short: list[str], tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    command = [sys.executable, "-m", "xemogpt", "explain", *map(str, clips), *short, "--batch-size", "1"]
    command += ["--max-new-tokens", "400", "--out", str(out)]
    pipe = subprocess.PIPE

    def heed() -> None:  # a shell lets what it starts in the background ignore the signal, and children inherit that
        signal.signal(signal.SIGINT, signal.default_int_handler)

    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, preexec_fn=heed) as process:
        while not out.exists() and process.poll() is None:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said, remarks = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said == ""
    assert "Traceback" not in remarks


@pytest.mark.skipif(os.name != "posix", reason="pipes break with a signal on POSIX")
def test_broken_pipe_is_quiet(clips: list[Path], short: list[str]) -> None:
    command = [sys.executable, "-m", "xemogpt", "explain", *map(str, clips), *short]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


# ----------------------------------------------------------------------------------------------- model folders


def test_info_counts_what_the_model_has(model: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["info", str(model), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    loaded = AutoModelForMultimodalLM.from_pretrained(model, trust_remote_code=True)
    parts = {part["name"]: part for part in figures["parts"]}
    assert sum(part["parameters"] for part in parts.values()) == loaded.num_parameters()
    for name, module in loaded.model.named_children():
        assert parts[name]["parameters"] == sum(parameter.numel() for parameter in module.parameters()), name
        assert parts[name]["bytes"] == 4 * parts[name]["parameters"]
    assert (figures["tokens_per_clip"], figures["tokens_per_second"]) == (16, 50)
    assert figures["untrained_parts"] == loaded.config.untrained_parts
    assert main(["info", str(model)]) == 0
    printed = capsys.readouterr().out
    assert f"{loaded.num_parameters():,}" in printed
    assert "16 for the frames of a clip, 50 for each second of sound" in printed


def test_info_of_a_bare_configuration_builds_no_weights(tmp_path: Path) -> None:
    XEmoGPTConfig().save_pretrained(tmp_path)
    paper = describe(tmp_path)  # 4.7 billion parameters, on the meta device
    sizes = {part.name: part.parameters for part in paper.parts}
    assert not paper.has_weights
    assert sizes["vision_tower"] == 303_179_776
    assert sizes["language_model"] == 4_022_468_096  # Qwen3-4B, its tied head counted once
    assert "without weights" in str(paper)
    XEmoGPTConfig(audio_pooling=8).save_pretrained(tmp_path / "pooled")
    assert describe(tmp_path / "pooled").tokens_per_second == 50 / 8


@pytest.mark.parametrize(("content", "message"), [("{}", "not an XEmoGPT"), ('{"model_type": "hubert"}', "'hubert'")])
def test_info_of_something_else(tmp_path: Path, capsys: pytest.CaptureFixture, content: str, message: str) -> None:
    (tmp_path / "config.json").write_text(content)
    assert main(["info", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err


def test_compose_then_explain(tmp_path: Path, clips: list[Path], capsys: pytest.CaptureFixture) -> None:
    tokenizer = tiny_tokenizer()
    parts = {"vision": CLIPVisionModel(vision_config()), "audio": HubertModel(audio_config())}
    parts["text"] = Qwen3ForCausalLM(text_config(vocab_size=len(tokenizer)))
    extras = {
        "vision": CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        "audio": Wav2Vec2FeatureExtractor(return_attention_mask=True),
        "text": tokenizer,
    }
    for name, part in parts.items():
        part.save_pretrained(tmp_path / name)
        extras[name].save_pretrained(tmp_path / name)
    options = [option for name in parts for option in (f"--{name}", str(tmp_path / name))]
    out = tmp_path / "model"
    assert main(["compose", *options, "--out", str(out), "--dtype", "bfloat16"]) == 0
    printed = capsys.readouterr().out
    assert "BF16" in printed
    assert "untrained: video_bridge, audio_bridge, " in printed
    assert main(["explain", str(clips[0]), "--model", str(out), "--max-new-tokens", "4", "--json"]) == 0
    assert "vision_tower" not in json.loads(capsys.readouterr().out)["untrained_parts"]
    assert main(["compose", *options, "--out", str(out)]) == 2
    assert "not empty" in capsys.readouterr().err


def test_convert_release_says_what_is_missing(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    options = ["--clip", "c", "--hubert", "h", "--llm", "l", "--out", str(tmp_path / "out")]
    assert main(["convert-release", "--checkpoint", str(tmp_path / "absent.ckpt"), *options]) == 2
    assert "absent.ckpt: no such checkpoint file" in capsys.readouterr().err


@pytest.mark.parity
def test_convert_release_then_info(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    release, out = shared / "parity" / "release_a", tmp_path / "model"
    options = ["--clip", release / "clip", "--hubert", release / "hubert", "--llm", release / "qwen3", "--out", out]
    options += ["--lora-alpha", "16", "--dtype", "float32", "--checkpoint", release / "xemogpt.ckpt"]
    assert main(["convert-release", *map(str, options)]) == 0
    assert f"written: {out}" in capsys.readouterr().out
    assert main(["info", str(out)]) == 0
    assert "tokens: 16 for the frames" in capsys.readouterr().out
