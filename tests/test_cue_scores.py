# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""EmoCue-360 inside a result: numbers by hand, undeclared modalities, matched pairs, and whatever users put in."""

import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from test_emocue_360 import Picky

from xemogpt.cli import main
from xemogpt.eval.compare import compare
from xemogpt.eval.cue_scores import DIMENSIONS, Remembering
from xemogpt.eval.emocue_360 import scoring
from xemogpt.eval.emocue_360.rules import RulesExtractor
from xemogpt.eval.records import Record, read_records
from xemogpt.eval.report import write_page
from xemogpt.eval.score import Task, read_result, score, write_result
from xemogpt.eval.table import groups, markdown, score_lines


class Words:
    """Texts as bags of words over a fixed list: cosines that can be worked out by hand."""

    name, sha256, size = "words", "0" * 64, 64

    def __init__(self) -> None:
        self.places: dict[str, int] = {}
        self.calls: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        rows = np.zeros((len(texts), self.size), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            self.calls.append(text)
            for word in text.split():
                row[self.places.setdefault(word, len(self.places) % self.size)] += 1
        return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)


def record(name: str, visual: list, audio: list | None = None, both: list | None = None) -> Record:
    return Record(name, cues={"visual": visual, "audio": audio or [], "global": both or []})


TRUTH = {
    "a": record("a", ["brow", "smile"], ["pitch"], ["joy"]),
    "b": record("b", ["tear", "fist"], ["sob"], ["grief"]),
    "c": record("c", ["nod"], ["sigh"], ["calm"]),
}
SAID = {
    "a": record("a", ["smile", "hat"], ["pitch"], ["joy"]),
    "b": record("b", ["tear"], [], ["grief"]),
    "c": record("c", ["wave"], ["sigh", "laugh"], ["calm"]),
}


def task(**settings) -> Task:
    return Task(("emocue_360",), cues={"encoder": Words(), "preset": "official"}, **settings)


def test_scores_by_hand() -> None:
    result = score(SAID, TRUTH, task())
    found = result["scores"]["emocue_360"]
    # visual: a has one of two on both sides, b its one of the reference's two, c nothing.
    assert found["visual"]["precision"] == pytest.approx((0.5 + 1 + 0) / 3)
    assert found["visual"]["recall"] == pytest.approx((0.5 + 0.5 + 0) / 3)
    # audio: a all, b nothing said, c one of two said.
    assert found["audio"]["precision"] == pytest.approx((1 + 0 + 0.5) / 3)
    assert found["audio"]["recall"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["mean"] == pytest.approx(np.mean([0.5, 1 / 3, 0.5, 2 / 3, 1, 1]))
    floor = result["floor"]["emocue_360"]
    assert floor["visual"]["precision"] == floor["mean"] == 0  # no cue is in two clips
    assert len(found["visual"]["interval"]["f1"]) == 2
    sample = {row["id"]: row for row in result["samples"]}["a"]
    assert sample["scores"]["visual_f1"] == 0.5
    assert sample["matching"]["visual"] == {
        "matched": [["smile", "smile", 1.0]],
        "hallucinated": ["hat"],
        "missed": ["brow"],
    }


def test_a_dimension_that_was_not_given_is_none_and_models_still_compare(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    both, deaf = score(SAID, TRUTH, task()), score(SAID, TRUTH, task(modalities=("visual",)))
    assert deaf["scores"]["emocue_360"]["audio"] is None
    assert deaf["scores"]["emocue_360"]["mean"] == pytest.approx(np.mean([0.5, 1 / 3, 1, 1]))
    for name, result in (("both", both), ("deaf", deaf)):
        write_result(tmp_path / f"{name}.json", result, {"model": name, "benchmark": "t", "modalities": []})
    rows = compare(read_result(tmp_path / "both.json"), read_result(tmp_path / "deaf.json"))
    assert {row.metric: row.difference for row in rows}["visual_f1"] == 0
    note = "unlike means: A of visual+audio+global, B of visual+global"
    assert {row.metric: row.note for row in rows if row.note} == {
        "mean_f1_per_clip": note,
        "robust_mean_f1_per_clip": note,
    }
    per_clip = {row["id"]: row["scores"]["mean_f1"] for row in both["samples"]}
    a = {row.metric: row.a for row in rows}
    assert a["mean_f1_per_clip"] == pytest.approx(np.mean(list(per_clip.values())))
    assert a["visual_f1"] == pytest.approx(both["scores"]["emocue_360"]["visual"]["f1"])  # this is the result's own
    assert not {"mean_f1", "robust_mean_f1"} & set(a)
    assert not any(row.note for row in compare(*[read_result(tmp_path / "both.json")] * 2))
    assert main(["compare", str(tmp_path / "both.json"), str(tmp_path / "deaf.json")]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert lines["mean_f1_per_clip"].endswith(note)
    assert "unlike" not in lines["visual_f1"]
    other = read_result(tmp_path / "deaf.json")
    other["signatures"]["emocue_360"] = other["signatures"]["emocue_360"].replace("words", "others")
    with pytest.raises(ValueError, match="emocue_360 was computed differently"):
        compare(read_result(tmp_path / "both.json"), other)


def test_missing_predictions_count_zero_in_robust_and_are_left_out_of_official(tmp_path: Path) -> None:
    said = {"a": TRUTH["a"], "c": TRUTH["c"]}
    with pytest.raises(ValueError, match="1 of 3 references have no prediction: b; --allow-missing"):
        score(said, TRUTH, task())
    for preset in ("official", "robust"):
        settings = Task(("emocue_360",), cues={"encoder": Words(), "preset": preset})
        result = score(said, TRUTH, settings, allow_missing=True)
        asked, robust = result["scores"]["emocue_360"], result["scores"]["emocue_360_robust"]
        assert robust["mean_f1"] == pytest.approx(2 / 3)
        assert asked["mean_f1"] == pytest.approx(1 if preset == "official" else 2 / 3)
        assert asked["visual"]["n"] == (2 if preset == "official" else 3)
        assert (asked["missing"], robust["missing"]) == (1, 1)
        assert any("1 references without a prediction: robust counts them 0" in note for note in result["notes"])
        row = next(row for row in result["samples"] if row["id"] == "b")
        assert row["prediction"] is None
        assert row["scores"]["robust_mean_f1"] == 0
        assert ("mean_f1" in row["scores"]) == (preset == "robust")
        assert row["matching"]["visual"] == {"matched": [], "hallucinated": [], "missed": ["tear", "fist"]}
        write_result(tmp_path / f"{preset}.json", result, {"model": preset, "benchmark": "t", "modalities": []})
    results = [read_result(tmp_path / f"{preset}.json") for preset in ("official", "robust")]
    assert markdown(results).count("2/3, 1 missing") == 2
    write_page(tmp_path / "page.html", results)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("2/3, 1 missing") == page.count("(no prediction)") == 2


def test_robust_results_are_shown_and_ranked_by_f1_which_padding_does_not_raise(tmp_path: Path) -> None:
    truth = {name: record(name, [f"{name} brow", f"{name} eye"]) for name in "abcdef"}
    honest = {name: record(name, [f"{name} brow", "hat"]) for name in truth}
    every_cue = [cue for each in truth.values() for cue in each.cues["visual"]]
    padded = {name: record(name, every_cue) for name in truth}
    results = []
    for model, said in (("padder", padded), ("honest", honest)):
        settings = Task(("emocue_360",), cues={"encoder": Words(), "preset": "robust"}, modalities=("visual",))
        result = score(said, truth, settings)
        results.append(result | {"model": model, "benchmark": "t", "modalities": ["visual"]})
        for tree in (result["scores"], result["floor"]):
            assert all("mean" not in node and "mean_f1" in node for node in tree.values())
        assert "mean" not in result["scores"]["emocue_360_robust"]["adjusted"]
    recall = [each["scores"]["emocue_360"]["visual"]["recall"] for each in results]
    assert recall[0] > recall[1]
    table = markdown(results)
    assert "Mean" not in table
    assert "Robust F1" in table
    assert table.index("honest") < table.index("padder")


def test_a_group_is_ranked_by_what_most_of_it_have() -> None:
    scores: dict[str, dict] = {
        "low": {"emocue_360": {"mean": 0.9}, "emocue_360_robust": {"mean_f1": 0.1}},
        "high": {"emocue_360_robust": {"mean_f1": 0.2}},
    }
    rows = [{"model": name, "benchmark": "t", "scores": each} for name, each in scores.items()]
    ((_, members),) = groups(rows)
    assert [each["model"] for each in members] == ["high", "low"]
    scores["high"]["emocue_360"] = {"mean": 0.8}
    ((_, members),) = groups(rows)
    assert [each["model"] for each in members] == ["low", "high"]


def test_what_compare_refuses_is_not_ranked(tmp_path: Path) -> None:
    """Presets, wheels and versions of a benchmark are told apart; what is alike is ranked."""
    results = []
    for model, said, preset in (("low", SAID, "official"), ("high", TRUTH, "robust"), ("top", TRUTH, "official")):
        result = score(said, TRUTH, Task(("emocue_360",), cues={"encoder": Words(), "preset": preset}))
        results.append(result | {"model": model, "file": model, "benchmark": "t", "task_version": 1, "modalities": []})
    table = markdown(results)
    header, *rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if "|" in line]
    bold = {row[0]: {name for name, cell in zip(header, row, strict=False) if "**" in cell} for row in rows}
    assert bold["top"] == {"Mean", "Robust F1"}  # a robust result has no Mean, and all have one Robust F1
    assert bold["high"] == {"Robust F1"}
    assert "Computed differently, so nobody is ranked: Vis P, Vis R, Aud P, Aud R, Glo P, Glo R." in table
    write_page(tmp_path / "page.html", results)
    assert "so nobody is ranked: Vis P" in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "nobody" not in markdown([results[0], results[2]])
    titles = [title for title, _ in groups([results[0], results[2] | {"task_version": 2}])]
    assert titles == ["t v1, ", "t v2, "]
    wheels = [
        {"model": name, "benchmark": "t", "scores": {"open_vocabulary": {"f1": f1}}, "floor": {}}
        | {"signatures": {"open_vocabulary": signature}, "coverage": {"scored": 1, "references": 1}}
        for name, f1, signature in (("a", 0.9, "x"), ("b", 0.1, "y"), ("c", 0.2, "y"), ("d", 0.3, "x"))
    ]
    assert "**" not in markdown(wheels).replace("**t, **", "")
    ((_, members),) = groups(wheels)
    assert [each["model"] for each in members] == ["a", "d", "c", "b"]


def test_failed_extractions_are_counted_and_named() -> None:
    truth = {name: Record(name, text) for name, text in (("a", "In the video, a face."), ("b", "In it, a brow."))}
    said = truth | {"b": Record("b", "bad")}
    result = score(said, truth, Task(("emocue_360",), cues={"encoder": Words(), "extractor": Picky()}))
    assert [result["scores"][name]["failed"] for name in ("emocue_360", "emocue_360_robust")] == [1, 1]
    assert "emocue_360: no cues could be had of 1 samples, not scored: b" in result["notes"]
    fine = score(truth, truth, Task(("emocue_360",), cues={"encoder": Words(), "extractor": Picky()}))
    assert fine["scores"]["emocue_360"]["failed"] == 0
    assert fine["notes"] == []


def test_terminal_and_tables_show_intervals_and_signatures() -> None:
    result = score(SAID, TRUTH, task()) | {"model": "m|1", "benchmark": "t", "modalities": []}
    lines = {line[:10].strip(): line for line in score_lines(result)}
    low, high = result["scores"]["emocue_360"]["visual"]["interval"]["recall"]
    assert lines["Vis R"].split() == f"Vis R 33.3 floor 0.0 95 % [{100 * low:.1f}, {100 * high:.1f}]".split()
    low, high = result["scores"]["emocue_360_robust"]["interval"]["mean_f1"]
    assert lines["Robust F1"].endswith(f"95 % [{100 * low:.1f}, {100 * high:.1f}]")
    assert f"emocue_360: {result['signatures']['emocue_360']}" in score_lines(result)
    other = score(SAID, TRUTH, task()) | {"model": "n", "benchmark": "t", "modalities": []}
    shown = markdown([result, other])
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in shown.splitlines()[2:10]]
    assert [row[0] for row in rows if row] == ["model", "-" * 5, "m\\|1", "95 %", "floor", "n", "95 %", "floor"]
    assert rows[3][rows[0].index("Robust F1")] == f"{100 * low:.1f}-{100 * high:.1f}"
    assert f"- emocue_360 (m|1, n): `{result['signatures']['emocue_360']}`" in shown.splitlines()


def test_an_empty_object_names_no_dimension_as_in_the_metric(tmp_path: Path) -> None:
    """The authors' corner: without the global key, 0 there even where the reference has no global cue."""
    truth = {
        "a": {"visual": ["smile"], "auditory": ["pitch"], "emotional": []},
        "b": {"visual": ["frown"], "auditory": ["sob"], "emotional": ["grief"]},
    }
    said = {"b": truth["b"], "a": {}}
    for name, data in (("truth", truth), ("said", said)):
        (tmp_path / f"{name}.json").write_text(json.dumps(data), encoding="utf-8")
    given, true = (read_records(tmp_path / f"{name}.json") for name in ("said", "truth"))
    assert given["a"].cues == {}
    assert given["a"].empty
    ours = score(given, true, task())["scores"]["emocue_360"]
    theirs = scoring.score(said, truth, encoder=Words())
    assert ours["global"]["f1"] == theirs["global"]["f1"] == pytest.approx(0.5)
    assert [ours[name]["n"] for name in DIMENSIONS] == [theirs[name]["n"] for name in DIMENSIONS] == [2, 2, 2]
    assert ours["mean"] == pytest.approx(theirs["mean"])
    back = scoring.score(truth, {"a": {}, "b": truth["b"]}, encoder=Words())  # and so for a reference
    (tmp_path / "back.json").write_text(json.dumps({"a": {}, "b": truth["b"]}), encoding="utf-8")
    assert score(true, read_records(tmp_path / "back.json"), task())["signatures"]["emocue_360"].startswith(
        back["signature"].split("|derangements")[0]
    )


def test_a_column_that_is_not_known_is_named_and_not_scored_as_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    refs = tmp_path / "refs.jsonl"
    refs.write_text(
        '{"id": "a", "text": "In the video, she smiles."}\n{"id": "b", "text": "In the video, he nods."}\n'
    )
    said = tmp_path / "said.csv"
    said.write_text("id,response,emotion\na,she smiles,joy\nb,,\n")
    command = ["score", str(said), "--references", str(refs), "--metrics", "bleu"]
    assert main([*command, "--prediction-columns", "text=response"]) == 0
    out, err = capsys.readouterr()
    assert "BLEU-1" in out
    assert "empty predictions: 1: b" in err  # a cell that is there and empty says nothing
    for more, what in (
        ([], "nothing could be scored: bleu: needs texts, and predictions have none"),
        (
            ["--prediction-columns", "label=response", "--metrics", "emocue_360"],
            "needs texts or cues, and predictions",
        ),
        (["--prediction-columns", "text=answer"], "said.csv, line 2: has no column 'answer'"),
        (["--prediction-columns", "foo=text"], "--prediction-columns: no field foo; there are id, text, label"),
        (["--prediction-columns", "text"], "--prediction-columns text: is not FIELD=COLUMN"),
        (["--prediction-columns", "text=response", "text=emotion"], "text was given before, as response"),
        (["--columns", "foo=text"], "--columns: no field foo; there are id, text, label"),
    ):
        assert main([*command, *more]) == 2
        assert what in capsys.readouterr().err
    said.write_text("id,response\na,she smiles\nb,\n")
    assert main(command) == 2
    assert "its keys are id, response; name the text's column by --prediction-columns" in capsys.readouterr().err
    evaluate = ["evaluate", "--benchmark", "emer", "--root", str(tmp_path), "--model", "m"]
    assert main([*evaluate, "--prediction-columns", "text=response"]) == 2
    assert "--prediction-columns needs --predictions" in capsys.readouterr().err


def test_a_mean_has_no_floor_where_one_of_its_dimensions_has_none() -> None:
    one = {name: ["face"] for name in DIMENSIONS}
    truth = [one, {**one, "audio": []}]  # audio is scored once, and no other reference can be set against it
    result = scoring.score(truth, truth, encoder=Words(), derangements=3)
    assert result["audio"]["n"] == 1
    assert result["floor"]["audio"] == {"precision": None, "recall": None, "f1": None}
    assert result["floor"]["visual"]["f1"] == pytest.approx(1)
    for part in ("floor", "adjusted"):
        assert (result[part]["mean"], result[part]["mean_f1"]) == (None, None)
    # A mean without audio lacks no floor.
    seen = scoring.score(truth, truth, encoder=Words(), derangements=3, modalities={"visual"})
    assert seen["floor"]["mean"] == pytest.approx(1)
    unscored = scoring.score([one, one], [{**one, "audio": []}] * 2, encoder=Words(), derangements=3)
    assert unscored["floor"]["mean"] == pytest.approx(1)


def test_each_result_has_its_own_cue_density(tmp_path: Path) -> None:
    """Also where one model has several: of two benchmarks, two files, two files of one name."""
    result = score(SAID, TRUTH, task())
    fewer = score(SAID | {"a": record("a", ["smile"])}, TRUTH, task())
    found = []
    for place, benchmark, each in (("a", "s", result), ("b", "t", result), ("c", "t", fewer), ("other/c", "t", fewer)):
        write_result(tmp_path / f"{place}.json", each, {"model": "m", "benchmark": benchmark, "modalities": []})
        found.append(read_result(tmp_path / f"{place}.json"))
    write_page(tmp_path / "page.html", found)
    plots = (tmp_path / "page.html").read_text(encoding="utf-8").split("Cue density")[1].split("<h2>")[0]
    visual = plots.split("Visual")[1].split("</section>")[0]
    legend = re.findall(r'class="key k\d"></i>(.*?) <span class="soft">mean (.*?)</span>', visual)
    assert sorted(legend) == [
        ("m (s)", "1.3"),
        ("m (t) (b.json)", "1.3"),
        ("m (t) (c.json) #3", "1.0"),
        ("m (t) (c.json) #4", "1.0"),
        ("reference (s)", "1.7"),
        ("reference (t)", "1.7"),
    ]
    assert visual.count("<polyline") == len(legend)


def test_the_signature_says_which_side_was_read_by_what() -> None:
    """In the signature `predictions/references`, or one word where both sides are alike."""
    text, cues = "In the video, a face.", {"visual": ["a face"]}
    read = f"rules-1@{RulesExtractor().digest}"
    for said, truth, expected in (
        ([cues], [cues], "given"),
        ([text], [text], read),
        ([text], [cues], f"{read}/given"),
        ([cues], [text], f"given/{read}"),
        ([text, cues], [cues, cues], f"given+{read}/given"),
        ([cues, " \n"], [cues, cues], "given"),  # a blank text has no cue, whoever reads it
        ([None], [text], read),
    ):
        signature = scoring.score(said, truth, encoder=Words())["signature"]
        assert signature.split("|")[4] == f"ext:{expected}"


def test_every_cue_is_encoded_once_over_presets_and_floors() -> None:
    encoder = Words()
    score(SAID, TRUTH, Task(("emocue_360",), cues={"encoder": encoder}))
    assert sorted(encoder.calls) == sorted(set(encoder.calls))
    assert Remembering(encoder)([]).shape == (0, 1)


def test_whatever_users_have_is_scored_or_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    truth, said = tmp_path / "truth.jsonl", tmp_path / "said.json"
    texts = {
        "long": "In the video, she smiles " + "and smiles " * 1000 + ".",
        "mixed": "In the video, 她皱着眉头, and his hands tremble. 在音频中，声音低沉。",
        "none": "In the video, he nods. In the audio, his voice is calm.",
        "blank": "In the video, she frowns.",
        "plain": "In the video, a man frowns. In the audio, he shouts.",
    }
    truth.write_text("".join(json.dumps({"id": n, "text": t}) + "\n" for n, t in texts.items()), encoding="utf-8")
    answers: dict[str, object] = dict(texts) | {"none": None, "blank": " \n ", "stranger": "Hello."}
    said.write_text(json.dumps(answers), encoding="utf-8")
    result = score(
        read_records(said), read_records(truth), Task(("emocue_360", "bleu", "cider"), cues={"encoder": Words()})
    )
    assert result["coverage"]["empty"] == ["none", "blank"]
    assert result["coverage"]["not_in_references"] == ["stranger"]
    each = {row["id"]: row["scores"]["mean_f1"] for row in result["samples"]}
    assert each == pytest.approx({"long": 1, "mixed": 1, "none": 0, "blank": 0, "plain": 1}, abs=1e-6)
    assert 0 < result["scores"]["bleu_1"] < 1
    said.write_text('{"plain": "x", "plain": "y"}', encoding="utf-8")
    assert main(["score", str(said), "--references", str(truth)]) == 2
    assert "'plain' is there twice" in capsys.readouterr().err
    said.write_text('{"plain": "x",\n "long": }', encoding="utf-8")
    assert main(["score", str(said), "--references", str(truth)]) == 2
    assert "said.json, line 2: is not JSON" in capsys.readouterr().err
    assert main(["score", str(truth), "--references", str(truth), "--metrics", "rouge"]) == 2
    assert "unknown metric rouge; choose of emocue_360, bleu" in capsys.readouterr().err
