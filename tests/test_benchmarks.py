# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The benchmarks that come along, over files laid out as their owners publish them; records; what is refused."""

import json
from pathlib import Path

import pytest
import yaml

from xemogpt.eval.benchmark import FOLDER, Benchmark, load_benchmark, names, parse
from xemogpt.eval.generate import present
from xemogpt.eval.records import Record, match_ids, read_records
from xemogpt.inference.explanation import Explanation
from xemogpt.prompts_xemogpt import PROMPTS

M3ED = {
    movie: {
        f"{movie}_1": {
            "SpeakerInfo": {},
            "Dialog": {
                f"{movie}_1_{n}": {"Speaker": "A", "Text": "走吧", "EmoAnnotation": {"final_main_emo": emotion}}
                for n, emotion in enumerate(("Happy", "Neutral"))
            },
        }
    }
    for movie in ("one", "two")
}
LAYOUTS = {  # benchmark -> files under the root
    "emer": {"emer_v2_reason.csv": 'name,chinese,english\na,中,"In the video, he nods."\n', "video/a.mp4": ""},
    "emocue_eval": {
        "emocue_eval.json": json.dumps({"a": {"visual": ["he nods"], "auditory": [], "emotional": ["calm"]}}),
        "video/a.avi": "",
    },
    "ov_merd_plus": {
        "ovlabel.csv": "name,openset\na,\"['happy', 'calm']\"\n",
        "subtitle_eng.csv": 'name,sentence\na,"Well, goodbye."\n',
        "audio/a.wav": "",
    },
    "mer2023": {"test1-label.csv": "name,discrete,valence\na,worried,-1\n", "test1/a.avi": ""},
    "m3ed": {
        "annotation.json": json.dumps(M3ED),
        "splitInfo/movie_list_train.txt": "one\n",
        "splitInfo/movie_list_val.txt": "",
        "splitInfo/movie_list_test.txt": "two\n",
        "video/two_1_0.mp4": "",
    },
    "mafw": {
        f"folds/single/no_caption/set_{k}/{part}.txt": f"000{k}{n}.mp4 anger\n"
        for k in range(1, 6)
        for n, part in enumerate(("train", "test"))
    },
    "dfew": {
        "single_trainset_2.csv": "video_name,label\n11,4\n",
        "single_testset_2.csv": "video_name,label\n12,4\n13,0\n",
    },
    "ca_mer": {"ca_mer.csv": "name,subset,label\na,audio-aligned,sad\n", "video/a.mp4": ""},
}


def lay_out(root: Path, name: str) -> Path:
    for path, text in LAYOUTS[name].items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text, encoding="utf-8")
    return root


def valid() -> dict:
    return yaml.safe_load((FOLDER / "mer2023.yaml").read_text(encoding="utf-8"))


def test_every_benchmark_has_a_layout_here() -> None:
    assert set(names()) == set(LAYOUTS)


def test_emer_and_emocue_eval(tmp_path: Path) -> None:
    (item,) = load_benchmark("emer").read(lay_out(tmp_path / "1", "emer"))
    assert item.reference == Record("a", "In the video, he nods.")
    assert item.video == tmp_path / "1" / "video" / "a.mp4"
    assert item.audio is None
    (item,) = load_benchmark("emocue_eval").read(lay_out(tmp_path / "2", "emocue_eval"))
    assert item.reference.cues == {"visual": ["he nods"], "audio": [], "global": ["calm"]}


def test_emer_takes_extracted_cues_where_they_are(tmp_path: Path) -> None:
    lay_out(tmp_path, "emer")
    (tmp_path / "emer_cues.json").write_text('{"a": {"visual": ["nods"]}, "elsewhere": {"visual": ["x"]}}')
    (item,) = load_benchmark("emer").read(tmp_path)
    assert item.reference.text == "In the video, he nods."
    assert item.reference.cues == {"visual": ["nods"]}
    (tmp_path / "video" / "a.mp4").unlink()
    elsewhere = tmp_path.parent / f"{tmp_path.name}-clip"
    elsewhere.touch()
    (tmp_path / "video" / "a.mp4").symlink_to(elsewhere)
    (item,) = load_benchmark("emer").read(tmp_path)
    assert item.video == tmp_path / "video" / "a.mp4"  # a root may link to where the clips are


def test_open_vocabulary_labels_and_subtitles(tmp_path: Path) -> None:
    (item,) = load_benchmark("ov_merd_plus").read(lay_out(tmp_path, "ov_merd_plus"))
    assert item.reference.labels == ("happy", "calm")
    assert item.subtitle == "Well, goodbye."
    assert (item.video, item.audio) == (None, tmp_path / "audio" / "a.wav")


def test_m3ed_keeps_to_the_test_movies_and_its_text_is_the_subtitle(tmp_path: Path) -> None:
    items = load_benchmark("m3ed").read(lay_out(tmp_path, "m3ed"))
    assert [(item.reference.id, item.reference.label) for item in items] == [
        ("two_1_0", "happy"),
        ("two_1_1", "neutral"),
    ]
    assert items[0].subtitle == "走吧"
    assert items[0].reference.text is None


def test_folds(tmp_path: Path) -> None:
    (item,) = load_benchmark("mafw").read(lay_out(tmp_path / "1", "mafw"), fold=3)
    assert item.reference == Record("00031", label="anger")
    (item,) = load_benchmark("dfew").read(lay_out(tmp_path / "2", "dfew"), fold=2)
    assert item.reference == Record("00012", label="angry")  # 13 has no single label
    with pytest.raises(ValueError, match="folds 1 to 5"):
        load_benchmark("mafw").read(tmp_path / "1")
    with pytest.raises(FileNotFoundError, match=r"dfew needs single_trainset_1\.csv or"):
        load_benchmark("dfew").read(tmp_path / "2", fold=1)
    with pytest.raises(ValueError, match="has no folds"):
        load_benchmark("mer2023").read(lay_out(tmp_path / "3", "mer2023"), fold=1)


def test_conflict_subsets(tmp_path: Path) -> None:
    (item,) = load_benchmark("ca_mer").read(lay_out(tmp_path, "ca_mer"))
    assert (item.reference.subset, item.reference.label) == ("audio-aligned", "sad")


def test_missing_clips_are_named_and_left_out_only_on_request(tmp_path: Path) -> None:
    benchmark = load_benchmark("mer2023")
    lay_out(tmp_path, "mer2023")
    with (tmp_path / "test1-label.csv").open("a") as file:
        file.write("b,sad,0\nc,happy,1\n")
    items = benchmark.read(tmp_path)
    with pytest.raises(FileNotFoundError, match="2 of 3 clips are missing: b, c; --allow-missing"):
        present(benchmark, items)
    assert [item.reference.id for item in present(benchmark, items, allow_missing=True)] == ["a"]
    with pytest.raises(FileNotFoundError, match="not one of its 2 clips"):
        present(benchmark, items[1:], allow_missing=True)


def test_a_label_outside_the_set_is_refused(tmp_path: Path) -> None:
    (lay_out(tmp_path, "mer2023") / "test1-label.csv").write_text("name,discrete\na,bored\n")
    with pytest.raises(
        ValueError, match="1 annotations cannot be read: a: bad value: label 'bored' is none of neutral"
    ):
        load_benchmark("mer2023").read(tmp_path)


def test_a_row_that_cannot_be_read_is_not_lost_in_silence(tmp_path: Path) -> None:
    """Unless it is of a split that does not count."""
    lay_out(tmp_path, "mer2023")
    (tmp_path / "train-label.csv").write_text("name,discrete\nt,bored\n")
    (item,) = load_benchmark("mer2023").read(tmp_path)
    assert item.reference.id == "a"
    with (tmp_path / "test1-label.csv").open("a") as file:
        file.write("b,sad,0,1,2\n")
    with pytest.raises(ValueError, match=r"1 annotations cannot be read: b: bad value: test1-label\.csv, line 3"):
        load_benchmark("mer2023").read(tmp_path)


def test_prompts_have_one_text_each() -> None:
    texts = {prompt.id: prompt.text for prompt in PROMPTS.values()}
    for name in names():
        prompt = load_benchmark(name).prompt
        assert texts.setdefault(prompt.id, prompt.text) == prompt.text


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": "red"}, "unknown key colour"),
        ({"task": "guess"}, "unknown task 'guess'"),
        ({"version": "1"}, "version must be a whole number"),
        ({"metrics": ["bleu", "rouge"]}, "unknown metric 'rouge'"),
        ({"prompt": "reason-en-99"}, "unknown prompt"),
        ({"prompt": {"id": "mine"}}, "lacks text"),
        ({"labels": {}}, "needs labels"),
        ({"labels": {"sad": ["down"], "angry": ["Down"]}}, "down stands for two labels"),
        ({"reader": "iemocap"}, "unknown reader 'iemocap'"),
    ],
)
def test_a_bad_benchmark_file_is_refused(change: dict, match: str) -> None:
    assert isinstance(parse(valid()), Benchmark)
    with pytest.raises(ValueError, match=match):
        parse(valid() | change)


def test_a_key_that_lacks_is_named(tmp_path: Path) -> None:
    data = valid()
    del data["metrics"]
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(data))
    with pytest.raises(ValueError, match=r"mine\.yaml: the benchmark lacks metrics"):
        load_benchmark(path)
    with pytest.raises(ValueError, match="unknown benchmark 'emr'; there are ca_mer"):
        load_benchmark("emr")


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_records_of_every_kind_of_file(tmp_path: Path) -> None:
    table = write(tmp_path / "a.csv", 'name,reasons\nx,"one, two\nthree"\ny,\n')
    assert read_records(table) == {"x": Record("x", "one, two\nthree"), "y": Record("y", "")}
    lines = write(
        tmp_path / "a.jsonl",
        '{"id": "x", "text": {"en": "he nods"}, "label": "sad"}\n\n{"video": "v/y.mp4", "text": null}\n',
    )
    assert read_records(lines) == {"x": Record("x", "he nods", label="sad"), "y": Record("y")}
    texts = write(tmp_path / "a.json", '{"x": "he nods", "y": {"visual": ["nods"], "emotional": []}, "z": null}')
    found = read_records(texts)
    assert found["x"].text == "he nods"
    assert found["y"].cues == {"visual": ["nods"], "global": []}
    assert found["z"].empty
    rows = write(
        tmp_path / "b.json", '[{"id": "x", "cues": [{"text": "nods", "modality": "visual"}], "confidence": 0.5}]'
    )
    assert read_records(rows)["x"] == Record(
        "x", cues={"visual": [{"text": "nods"}], "audio": [], "global": []}, confidence=0.5
    )
    assert read_records(write(tmp_path / "c.csv", "name,chinese\nx,点头\n"), {"text": "chinese"})["x"].text == "点头"
    for sound in ('"a/x.wav"', "null"):  # a file, or none, is no list of audio cues
        manifest = f'{{"id": "x", "video": "x.mp4", "audio": {sound}, "text": {{"en": "he nods"}}}}\n'
        assert read_records(write(tmp_path / "m.jsonl", manifest)) == {"x": Record("x", "he nods")}
    odd = "name,text,label\r\nx,he\u2028nods\x0c,\r\n"  # line ends to Python, not to CSV; and a blank cell
    assert read_records(write(tmp_path / "e.csv", odd)) == {"x": Record("x", "he\u2028nods\x0c")}
    explained = Explanation("v/x.mp4", "He nods.", {"visual": ["He nods."]}, "reason", "en", "reason-en-1", "m")
    row = write(tmp_path / "d.jsonl", json.dumps(explained.to_dict()))
    assert read_records(row) == {"x": Record("x", "He nods.")}  # sentences by modality are not extracted cues


@pytest.mark.parametrize("nothing", ["NaN", '"nan"', '" NaN "', "null", '" "'])
def test_nan_is_nothing_in_every_field(tmp_path: Path, nothing: str) -> None:
    """As pandas writes it, a number and a text: no class of its own, no word, and no valence."""
    fields = ("label", "labels", "subset", "valence", "confidence", "implied")
    row = ", ".join(f'"{name}": {nothing}' for name in fields)
    lines = f'{{"id": "x", "text": "he nods", "audio": {nothing}, {row}}}\n{{"id": "y", "emotion": "sad", {row}}}\n'
    lines += f'{{"video": {nothing}, "audio": "z.wav", "text": "", "labels": ["calm", {nothing}]}}\n'
    found = read_records(write(tmp_path / "a.jsonl", lines))
    assert found["x"] == Record("x", "he nods")
    assert found["y"] == Record("y", label="sad")  # the next name of the field
    assert found["z"] == Record("z", "", labels=("calm",))
    row = write(tmp_path / "b.csv", 'id,text,labels,valence\nx,nan,"happy, nan",nan\n')
    assert read_records(row)["x"] == Record("x", labels=("happy",))


@pytest.mark.parametrize(
    ("name", "text", "match"),
    [
        ("a.jsonl", '{"id": "x", "valence": Infinity}\n', "line 1: valence of x is inf, not a number"),
        ("a.csv", "name,text\nx,a\nx,b\n", r"a\.csv, line 3: id 'x' was there before, in line 2"),
        ("a.csv", 'name,text\nx,"a\nb"\ny,a,b\n', "line 4: has more fields"),
        ("a.csv", "name,text\nx\n", "line 2: has fewer fields"),
        ("a.csv", 'name,text\nx,"a\n', "line 2: is no CSV"),
        ("a.csv", "clip,text\nx,a\n", "line 2: has no id"),
        ("a.csv", "name,text\n", "holds no record"),
        ("a.jsonl", '{"id": "x", "text": ""}\n{"id": \n', "line 2: is not JSON"),
        ("a.jsonl", '["x"]\n', "line 1: is no object"),
        ("a.csv", 'name,text\nx,"a\u2028b"\ny\n', "line 3: has fewer fields"),
        ("a.jsonl", '{"id": "x", "text": 7}\n', "line 1: text of x is int"),
        ("a.jsonl", '{"id": 7}\n', "line 1: id 7 is int, not a text"),
        ("a.jsonl", '{"id": "x", "labels": 7}\n', "line 1: labels of x are int, not a list"),
        ("a.jsonl", '{"id": "x", "confidence": "high"}\n', "line 1: confidence of x is 'high'"),
        ("a.jsonl", '{"id": "x", "cues": {"visual": "nods"}}\n', "'visual' is str, not a list"),
        ("a.jsonl", '{"id": "x", "cues": [{"text": "a", "modality": "smell"}]}\n', "is no text of visual"),
        ("a.json", '{"x": "a",\n "x": "b"}', "key 'x' is there twice"),
        ("a.json", '{"x": "a",\n oops}', "line 2: is not JSON"),
        ("a.txt", "x", "is no .csv"),
        ("a.csv", "id,response\nx,he nods\n", r"line 2: has none of cues, text, .* its keys are id, response; name"),
        ("a.jsonl", '{"id": "x", "text": "he nods"}\n{"id": "y", "response": ""}\n', "line 2: has none of cues"),
        ("a.jsonl", '{"id": "x", "audio": "a/x.wav"}\n', "line 1: has none of cues"),
        ("a.json", '{"x": {"Visual": ["nods"]}}', "'x': has none of cues, text, .* its keys are id, Visual"),
        ("a.json", '{"x": {"visual": [], "Audio": ["low"]}}', "'Audio' must be written 'audio'"),
        ("a.jsonl", '{"id": "x", "cues": {"Visual": ["nods"]}}\n', "'Visual' must be written 'visual'"),
        ("a.jsonl", '{"id": "x", "cues": {"seen": ["nods"]}}\n', "are of seen, none of visual, audio"),
    ],
)
def test_malformed_records_name_the_line(tmp_path: Path, name: str, text: str, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        read_records(write(tmp_path / name, text))


def test_ids_that_do_not_match_are_shown() -> None:
    a, b = {"clip1": Record("clip1")}, {"clip1.mp4": Record("clip1.mp4")}
    with pytest.raises(ValueError, match=r"e\.g\. 'clip1', the references 'clip1\.mp4'"):
        match_ids(a, b)
    both = {"b": Record("b"), "a": Record("a"), "c": Record("c")}
    assert match_ids({"a": Record("a"), "b": Record("b"), "d": Record("d")}, both) == (["b", "a"], ["c"], ["d"])
