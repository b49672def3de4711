# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""From clips to results: generation that outlives a kill, endpoints, scores with floors, comparisons, the commands."""

import json
import re
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_clips import bad_clips, good_clips

from xemogpt.cli import main
from xemogpt.eval.answerers import Endpoint, Refused
from xemogpt.eval.benchmark import Benchmark, Item
from xemogpt.eval.compare import compare
from xemogpt.eval.generate import generate
from xemogpt.eval.records import Record, read_records
from xemogpt.eval.report import marked
from xemogpt.eval.score import Task, mean_floor, read_result, score, write_result
from xemogpt.eval.table import markdown, ranks
from xemogpt.prompts_xemogpt import Prompt

BENCHMARK = Benchmark(
    "small", 1, "Small", "recognise", "en", Prompt("ask-1", "Which emotion?"), {"max_new_tokens": 8},
    ("recognition",), "mer2023", labels={"sad": (), "happy": ("glad",)},
)  # fmt: skip


class Parrot:
    """Answers with the clip's id; refuses some; counts what it was asked."""

    name = "parrot"
    modalities = frozenset({"visual"})

    def __init__(self, refuse: set[str] = frozenset(), die_after: int | None = None):  # type: ignore[assignment]
        self.refuse, self.die_after, self.asked = refuse, die_after, []

    def settings(self) -> dict[str, Any]:
        return {"kind": "parrot"}

    def answers(
        self, items: Sequence[Item], prompt: Prompt, generation: dict, batch_size: int
    ) -> Iterator[str | Refused]:
        for item in items:
            if self.die_after is not None and len(self.asked) == self.die_after:
                raise KeyboardInterrupt
            self.asked.append(item.reference.id)
            yield Refused("no") if item.reference.id in self.refuse else f"I am {item.reference.id}"


def items(count: int = 5) -> list[Item]:
    return [Item(Record(f"c{i}", label="sad"), Path(f"c{i}.mp4"), None) for i in range(count)]


def test_blank_answers_count_as_wrong(tmp_path: Path) -> None:
    class Silent(Parrot):
        def answers(self, items: Sequence[Item], *_: Any) -> Iterator[str]:
            yield from ("" if item.reference.id == "c0" else "sad" for item in items)

    out = tmp_path / "answers.jsonl"
    assert generate(BENCHMARK, items(2), Silent(), out, progress=False) == {}
    truth = {item.reference.id: item.reference for item in items(2)}
    result = score(read_records(out), truth, Task(("recognition",), words=BENCHMARK.words))
    assert (result["scores"]["recognition"]["war"], result["coverage"]["empty"]) == (0.5, ["c0"])


def test_generation_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    with pytest.raises(KeyboardInterrupt):
        generate(BENCHMARK, items(), Parrot({"c1"}, die_after=3), out, progress=False)
    assert list(read_records(out)) == ["c0", "c2"]
    again = Parrot({"c1"})
    assert generate(BENCHMARK, items(), again, out, progress=False) == {"c1": "no"}
    assert again.asked == ["c3", "c4"]
    assert list(read_records(out)) == ["c0", "c2", "c3", "c4"]
    third = Parrot()
    assert generate(BENCHMARK, items(), third, out, retry_rejects=True, progress=False) == {}
    assert third.asked == ["c1"]


def test_answers_of_another_model_are_not_mixed_in(tmp_path: Path) -> None:
    out = tmp_path / "answers.jsonl"
    generate(BENCHMARK, items(), Parrot(), out, progress=False)
    other = Parrot()
    other.name = "cuckoo"
    with pytest.raises(ValueError, match="holds answers with model 'parrot', not 'cuckoo'"):
        generate(BENCHMARK, items(6), other, out, progress=False)


def test_answers_of_other_weights_prompts_or_media_of_one_name_are_not_mixed_in(tmp_path: Path) -> None:
    """Folders may be called alike, a prompt be edited under its id, a root have other clips of the same ids."""
    out, clip = tmp_path / "answers.jsonl", tmp_path / "a.mp4"
    clip.write_bytes(b"1234")
    item, more = Item(Record("a"), clip, None, "Well."), Item(Record("b"), tmp_path / "b.mp4", None)

    class Trained(Parrot):
        weights = "11"

        def settings(self) -> dict[str, Any]:
            return {"kind": "parrot", "weights": self.weights}

    class Retrained(Trained):
        weights = "22"

    def ask(*clips: Item, answerer: Parrot | None = None, text: str = "Which emotion?") -> list[str]:
        answerer = answerer or Trained()
        generate(replace(BENCHMARK, prompt=Prompt("ask-1", text)), clips, answerer, out, progress=False)
        return answerer.asked

    assert ask(item) == ["a"]
    assert ask(item) == []
    assert read_records(out)["a"].text == "I am a"
    with pytest.raises(ValueError, match=r"with settings\.weights '11', not '22'; give another --out"):
        ask(item, answerer=Retrained())
    with pytest.raises(ValueError, match=r"with settings\.weights '11', not None"):
        ask(item, answerer=Parrot())
    with pytest.raises(ValueError, match=r"with prompt_sha256 '\w+', not '\w+'"):
        ask(item, text="Which mood?")
    other = tmp_path / "other" / "a.mp4"
    other.parent.mkdir()
    other.write_bytes(b"12345")
    for changed in (
        replace(item, video=other),
        replace(item, audio=tmp_path / "a.wav"),
        replace(item, subtitle="No."),
    ):
        with pytest.raises(ValueError, match=r"with media {'a\.mp4': 4, 'subtitle': '\w+'}, not {.*} for a;"):
            ask(changed, more)
    assert ask(more) == ["b"]  # of a clip that is not asked about now nothing is known
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    for row in rows:  # as older versions wrote them
        del row["prompt_sha256"], row["media"], row["settings"]["weights"]
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert ask(replace(item, video=other), more, text="Which mood?") == []


class Script(BaseHTTPRequestHandler):
    """An OpenAI-compatible server that fails first, and then answers what it was sent."""

    requests: list[dict] = []
    failures: list[int] = []
    silences = {"silent": "", "blank": " \n", "none": None}

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.failures:
            self.reply(self.failures.pop(), {"error": {"message": "busy"}})
            return
        self.requests.append(body)
        kinds = [part["type"] for part in body["messages"][0]["content"]]
        text = next((text for word, text in self.silences.items() if word in str(body["messages"])), " ".join(kinds))
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        choices = [] if "absent" in str(body["messages"]) else [choice]
        self.reply(200, {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": choices})

    def reply(self, status: int, data: dict) -> None:
        content = json.dumps(data).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Script.requests, Script.failures = [], []
    running = ThreadingHTTPServer(("127.0.0.1", 0), Script)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()
    running.server_close()


def test_endpoint_sends_frames_and_sound_and_outlives_errors(server: str, tmp_path: Path) -> None:
    both, _, no_sound, sound, _ = good_clips(tmp_path)
    broken = bad_clips(tmp_path)[1]
    clips = [
        Item(Record("both"), both, None, "Well."),
        Item(Record("no sound"), no_sound, None),
        Item(Record("sound"), None, sound),
        Item(Record("broken"), broken, None),
        *(Item(Record(word), both, None, word) for word in ("silent", "blank", "none", "absent")),
    ]
    Script.failures = [500, 429]
    endpoint = Endpoint("m", server, ("visual", "audio"), frames=2, max_audio_seconds=1)
    found = list(endpoint.answers(clips, Prompt("p", "Which emotion?"), {"max_new_tokens": 7}, 1))
    assert found[:3] == ["image_url image_url input_audio text", "image_url image_url text", "input_audio text"]
    assert isinstance(found[3], Refused)
    assert "c_text.mp4" in found[3].reason
    assert found[4:] == ["", "", "", Refused("the endpoint sent no answer")]  # blank is said by the model
    first = Script.requests[0]
    assert (first["max_tokens"], first["temperature"]) == (7, 0)
    assert first["messages"][0]["content"][-1]["text"] == 'What is said in the clip: "Well."\nWhich emotion?'
    assert first["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/jpeg;base64,/9j/")


def test_endpoint_gives_a_model_only_what_it_declares(server: str, tmp_path: Path) -> None:
    both, _, no_sound, *_ = good_clips(tmp_path)
    endpoint = Endpoint("m", server, ("audio",), frames=2, max_audio_seconds=1)
    found = list(
        endpoint.answers([Item(Record("a"), both, None), Item(Record("b"), no_sound, None)], BENCHMARK.prompt, {}, 1)
    )
    assert found == ["input_audio text", Refused("b: has no audio track to ask about")]


def test_endpoint_from_the_command_line(server: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    both, *_ = good_clips(tmp_path / "video")
    both.rename(both.with_name("a.mp4"))
    (tmp_path / "test1-label.csv").write_text("name,discrete\na,happy\n")
    command = ["evaluate", "--benchmark", "mer2023", "--root", str(tmp_path), "--model", "org/m", "--endpoint", server]
    assert main([*command, "--frames", "2", "--modalities", "visual", "--out", str(tmp_path / "r")]) == 0
    result = json.loads((tmp_path / "r" / "org_m--mer2023.json").read_text())
    assert result["settings"] == {"kind": "endpoint", "frames": 2, "max_audio_seconds": 30}
    assert (result["model"], result["modalities"]) == ("org/m", ["visual"])
    assert Script.requests[0]["max_tokens"] == 16  # as the benchmark says
    assert "1 of 1 answers name no label" in capsys.readouterr().err


def records(texts: dict[str, str]) -> dict[str, Record]:
    return {name: Record(name, text) for name, text in texts.items()}


TRUTH = records({"a": "he smiles and nods at her", "b": "her voice trembles a lot", "c": "brows raised in quiet awe"})


def test_identity_is_the_best_and_far_above_its_floor() -> None:
    result = score(TRUTH, TRUTH, Task(("bleu", "cider")))
    assert result["scores"] == pytest.approx({"bleu_1": 1, "bleu_4": 1, "cider": 10, "cider_d": 10})
    assert result["floor"]["cider"] < 1
    assert result["floor"]["bleu_1"] < 0.2
    assert set(result["signatures"]) == set(result["scores"])


def test_missing_predictions_are_named_and_scored_without_on_request() -> None:
    said = {"a": TRUTH["a"], "b": Record("b", ""), "z": Record("z", "?")}
    with pytest.raises(ValueError, match="1 of 3 references have no prediction: c; --allow-missing"):
        score(said, TRUTH, Task(("cider",)))
    coverage = score(said, TRUTH, Task(("cider",)), allow_missing=True)["coverage"]
    assert coverage == {"scored": 2, "references": 3, "missing": ["c"], "empty": ["b"], "not_in_references": ["z"]}


def test_recognition_reads_answers_and_notes_those_it_cannot_read() -> None:
    truth = {
        name: Record(name, label=label) for name, label in zip("abcd", ("sad", "sad", "happy", "happy"), strict=True)
    }
    said = {
        "a": Record("a", "Sad."),
        "b": Record("b", "glad"),
        "c": Record("c", label="happy"),
        "d": Record("d", "bored"),
    }
    task = Task(("recognition",), words=BENCHMARK.words, labels=tuple(BENCHMARK.labels))
    result = score(said, truth, task)
    assert result["scores"]["recognition"]["confusion"] == [[1, 1, 0], [0, 1, 1]]
    assert result["scores"]["recognition"]["uar"] == 0.5
    assert result["notes"] == ["recognition: 1 of 4 answers name no label of the set, or several"]


def test_labels_that_differ_in_case_alone_are_refused() -> None:
    """Answers are read without case, so the same answers as the references would be wrong."""
    truth = {n: Record(n, label=label) for n, label in zip("abc", ("Happy", "happy", "Sad"), strict=True)}
    with pytest.raises(ValueError, match="labels 'Happy' and 'happy' differ in case alone"):
        score(truth, truth, Task(("recognition",)))
    del truth["b"]
    assert score(truth, truth, Task(("recognition",)))["scores"]["recognition"]["recalls"] == {"Happy": 1, "Sad": 1}


def test_a_reference_without_a_label_is_no_class_and_no_right_answer(tmp_path: Path) -> None:
    """A blank cell is no label, an answer that names none is not right there, and the labelled rest is scored."""
    (tmp_path / "truth.csv").write_text("id,label\na,happy\nb,sad\nc, \n")
    (tmp_path / "said.csv").write_text("id,text,confidence,implied\na,she is happy,1,happy\nb,bored,0,\nc,none,1,\n")
    truth, said = (read_records(tmp_path / f"{name}.csv") for name in ("truth", "said"))
    assert truth["c"].label is None
    result = score(said, truth, Task(("recognition", "calibration", "consistency", "hit_rate")))
    assert result["scores"]["recognition"]["recalls"] == {"happy": 1, "sad": 0}
    assert result["scores"]["calibration"]["n"] == 2
    assert result["scores"]["calibration"]["accuracy"] == 0.5
    assert result["scores"]["consistency"]["n"] == 2
    assert result["notes"].count("recognition: 1 references have no label and are not scored") == 1
    assert "label" not in result["samples"][2]["scores"]
    with pytest.raises(ValueError, match="nothing could be scored: calibration: the references have no label"):
        score({"c": said["c"]}, {"c": truth["c"]}, Task(("calibration",)))


def test_other_metrics_by_hand() -> None:
    truth = {
        "a": Record("a", label="sad", labels=("sad", "unhappy"), subset="video-aligned"),
        "b": Record("b", label="happy", labels=("happy",), subset="audio-aligned"),
    }
    said = {
        "a": Record("a", "sorrowful, angry", label="sad", confidence=1.0),
        "b": Record("b", label="sad", confidence=0.5),
    }
    result = score(said, truth, Task(("open_vocabulary", "conflict", "calibration")))
    assert result["scores"]["open_vocabulary"]["acc"] == pytest.approx(0.25)
    assert result["scores"]["conflict"]["gap"] == -1
    assert result["scores"]["calibration"]["ece"] == pytest.approx(0.25)
    with pytest.raises(ValueError, match="nothing could be scored: recognition: the references have no label"):
        score(TRUTH, TRUTH, Task(("recognition",)))


def test_answers_without_a_known_word_are_counted() -> None:
    truth = {name: Record(name, label="happy", labels=("happy",)) for name in "abc"}
    said = {"a": Record("a", "happy and excited"), "b": Record("b", "She is happy today."), "c": Record("c", "")}
    result = score(said, truth, Task(("open_vocabulary", "hit_rate")))
    for metric in ("open_vocabulary", "hit_rate"):
        assert f"{metric}: 2 of 3 answers have no known word" in result["notes"]
    assert result["scores"]["open_vocabulary"]["recall"] == pytest.approx(1 / 3)


def test_verified_explanations_hits_and_sentiment_by_hand() -> None:
    truth = {
        n: Record(n, label=label, valence=v)
        for n, label, v in zip("abc", ("sad", "sad", "happy"), (-1, 0, 2), strict=True)
    }
    said = {
        "a": Record("a", "sorrowful, angry", label="sad", valence=-0.5, implied="sad"),
        "b": Record("b", "joy", label="happy", valence=1.0, implied="happy"),
        "c": Record("c", "joy", label="happy", valence=-2.0, implied="sad"),
    }
    scores = score(said, truth, Task(("consistency", "hit_rate", "sentiment")))["scores"]
    assert scores["consistency"] == pytest.approx(
        {"eea": 1 / 3, "epc": 2 / 3, "accuracy": 2 / 3, "fcr": 1 / 3, "n": 3}
    )
    assert scores["hit_rate"] == pytest.approx(2 / 3)
    assert scores["sentiment"] == pytest.approx({"waf": 1 / 3, "accuracy": 0.5, "n": 2})  # b's truth is 0


def test_every_derangement_is_as_likely_in_a_floor() -> None:
    """Of four things nine orders leave none in its place, and three of those swap two pairs: no cycle through all."""
    seen: list[tuple[int, ...]] = []

    def swaps(order: list[int]) -> dict[str, float]:
        seen.append(tuple(order))
        return {"swaps": float(all(order[place] == index for index, place in enumerate(order)))}

    found = [mean_floor(range(4), swaps, seed) for seed in range(50)]
    assert np.mean([row["swaps"] for row in found if row]) == pytest.approx(1 / 3, abs=0.06)
    assert len(set(seen)) == 9
    assert all(place != index for order in seen for index, place in enumerate(order))
    assert mean_floor(range(1), swaps, 0) is None


def test_results_on_disk_compare_and_report(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    truth = tmp_path / "truth.csv"
    truth.write_text("id,text\n" + "".join(f"{n},{each.text}\n" for n, each in TRUTH.items()), encoding="utf-8")
    for name, change in (("good", ""), ("poor", "nothing here but")):
        said = tmp_path / f"{name}.jsonl"
        said.write_text(
            "".join(json.dumps({"id": n, "text": f"{change or each.text} x"}) + "\n" for n, each in TRUTH.items())
        )
        command = ["score", str(said), "--references", str(truth), "--metrics", "bleu", "cider"]
        assert main([*command, "--modalities", "visual", "--out", str(tmp_path / f"{name}.json")]) == 0
    out, err = capsys.readouterr()
    assert "CIDEr" in out
    assert "floor" in out
    assert "scored 3 of 3" in err
    result = json.loads((tmp_path / "good.json").read_text())
    assert {"commit", "seed", "machine", "versions", "signatures", "task_version", "command"} <= set(result)
    assert str(tmp_path) not in (tmp_path / "good.json").read_text()
    assert "he smiles" not in (tmp_path / "good.json").read_text()  # texts may be gated; they lie in the samples' file
    assert main(["compare", str(tmp_path / "poor.json"), str(tmp_path / "good.json")]) == 0
    out, err = capsys.readouterr()
    assert "cider_d" in out
    assert "intervals and p are Monte Carlo, of 2000 resamples under --seed 0" in err
    page = tmp_path / "page.html"
    assert main(["report", *(str(tmp_path / f"{n}.json") for n in ("poor", "good")), "--html", str(page)]) == 0
    table = capsys.readouterr().out
    assert "truth, visual only" in table
    assert table.index("good") < table.index("poor")  # ranked
    text = page.read_text(encoding="utf-8")
    assert "he smiles and nods at her x" in text
    assert not any(word in text for word in ("http://", "https://", 'src="/', "@import"))


def test_cues_are_marked_where_they_stand_in_the_text() -> None:
    kinds = {
        "smiles": "hallucinated",
        "he smiles": "matched",
        "absent": "matched",
        "nods": "hallucinated",
        "": "matched",
    }
    parts = marked("In it, he smiles & nods.", kinds)
    assert parts == [("In it, ", ""), ("he smiles", "matched"), (" & ", ""), ("nods", "hallucinated"), (".", "")]
    assert marked("", kinds) == []


def test_compare_refuses_what_cannot_be_compared(tmp_path: Path) -> None:
    about = {"model": "m", "benchmark": "t", "modalities": []}
    result = score(TRUTH, TRUTH, Task(("cider",)))
    write_result(tmp_path / "a.json", result, about)
    a = read_result(tmp_path / "a.json")
    with pytest.raises(ValueError, match="cannot be compared"):
        compare(a, a | {"benchmark": "other"})
    with pytest.raises(ValueError, match="versions None and 2 of t"):
        compare(a, a | {"task_version": 2})
    other = {**TRUTH, "b": Record("b", "something else")}
    write_result(tmp_path / "other.json", score(TRUTH, other, Task(("cider",))), about)
    with pytest.raises(ValueError, match="1 samples were scored against other references in each: b;"):
        compare(a, read_result(tmp_path / "other.json"))
    with pytest.raises(ValueError, match="cider was computed differently"):
        compare(a, a | {"signatures": {"cider": "else"}})
    (tmp_path / "a.samples.jsonl").unlink()
    with pytest.raises(ValueError, match=r"samples\.jsonl is not beside it"):
        compare(a, read_result(tmp_path / "a.json"))
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(ValueError, match="is no result"):
        read_result(tmp_path / "b.json")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ('{"id": "b", "sco', r"line 2: is not JSON \(.*column \d+\)"),
        ("[1]", "line 2: is no object"),
        ('{"id": "b"}', "line 2: lacks prediction, reference, scores"),
        ("\udcff", r"is not UTF-8 text \(byte \d+\)"),
    ],
)
def test_a_broken_line_of_samples_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture, line: str, what: str
) -> None:
    write_result(tmp_path / "a.json", score(TRUTH, TRUTH, Task(("cider",))), {"model": "m", "benchmark": "t"})
    samples = tmp_path / "a.samples.jsonl"
    assert len(read_result(tmp_path / "a.json")["samples"]) == len(TRUTH)
    first, _, *rest = samples.read_text(encoding="utf-8").split("\n")
    samples.write_text("\n".join([first, line, *rest]), encoding="utf-8", errors="surrogateescape")
    assert main(["compare", str(tmp_path / "a.json"), str(tmp_path / "a.json")]) == 2
    assert re.search(rf"a\.samples\.jsonl(:|,) {what}", capsys.readouterr().err)


def test_table_shows_dashes_for_what_was_not_given() -> None:
    cues = {
        "visual": {"precision": 0.5, "recall": 0.25},
        "audio": None,
        "global": {"precision": 1, "recall": 1},
        "mean": 0.6875,
    }
    floor = {"visual": {"precision": 0.4, "recall": 0.4}}
    coverage = {"scored": 3, "references": 4}
    row = {
        "model": "m|1",
        "benchmark": "emer",
        "modalities": ["visual"],
        "coverage": coverage,
        "floor": {"emocue_360": floor},
    }
    worse = cues | {"visual": {"precision": 0.4, "recall": 0.3}, "audio": {"precision": 0.1, "recall": 0.1}}
    other = row | {"model": "n", "scores": {"emocue_360": worse}}
    lines = markdown([row | {"scores": {"emocue_360": cues}}, other]).splitlines()
    first = next(line for line in lines if "m\\|1" in line)
    assert [cell.strip() for cell in first.split(" | ")][1:] == [
        "3/4",
        "**50.0**",
        "25.0",
        "-",
        "-",
        "**100.0**",
        "**100.0**",
        "**68.8** |",
    ]
    assert ranks("Gap", [0.2, -0.1, None, -0.2]) == [2, 1, None, 2]
    assert "40.0" in lines[lines.index(first) + 1]
