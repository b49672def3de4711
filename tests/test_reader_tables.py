# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Tables that readers cannot read, of any data set: the file, the line and the reason are named. And large ones."""

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from xemogpt.data.readers import Problem, read_dataset


def test_tables_that_cannot_be_read_say_why(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no reader 'emer'; there are emer-v1"):
        next(read_dataset("emer", tmp_path))
    (tmp_path / "emer_v2.csv").write_bytes("name,chinese,english\na,他笑了,x\n".encode("gbk"))
    with pytest.raises(ValueError, match="is not UTF-8"):
        list(read_dataset("emer-v2", tmp_path))
    (tmp_path / "emer_v2.csv").write_text("name,english\na,x\n")
    with pytest.raises(ValueError, match="no column chinese; it has name, english"):
        list(read_dataset("emer-v2", tmp_path))
    (tmp_path / "emer_v2.csv").write_text("name,chinese,english\na,x,y,z\n")
    problems: list[Problem] = []
    assert list(read_dataset("emer-v2", tmp_path, strict=False, problems=problems)) == []
    assert ("bad value", "a") in [(each.kind, each.id) for each in problems]


ENCODED = {  # reader: a table, what it holds, and the line on which that is not ASCII
    "manifest": (
        "manifest.jsonl",
        '{"id": "a", "video": "a.mp4"}\n{"id": "b", "video": "b.mp4", "text": "caf\u00e9"}\n',
        2,
    ),
    "speechcraft": ("s.csv", "id,path,text\na,a.wav,caf\u00e9\n", 2),
    "conversations": (
        "c.json",
        '[\n{"video": "a.mp4",\n"conversations": [{"from": "gpt", "value": "caf\u00e9"}]}]',
        3,
    ),
    "folder": ("labels.csv", "name,label\na,x\nb,caf\u00e9\n", 3),
    "emer-v2": ("emer_v2.csv", "name,chinese,english\na,\u00e9,x\n", 2),
    "m3ed": ("annotation.json", '{"\u00e9": {}}', 1),
}


@pytest.mark.parametrize("name", ENCODED)
def test_of_another_encoding_the_file_and_the_line_are_named(name: str, tmp_path: Path) -> None:
    file, content, line = ENCODED[name]
    long = content.replace("x", "x" * 20_000)  # more than is decoded at once
    for encoding in ("latin-1", "gbk"):
        (tmp_path / file).write_bytes(long.encode(encoding))
        with pytest.raises(ValueError, match=rf"{file}, line {line}: is not UTF-8 text; save it as UTF-8 \(iconv -f"):
            list(read_dataset(name, tmp_path))
    for encoding in ("utf-16", "utf-16-be") if name in ("conversations", "m3ed") else ("utf-16",):
        (tmp_path / file).write_bytes(content.encode(encoding))
        with pytest.raises(ValueError, match=rf"{file}: is not UTF-8 text but UTF-16; save it as UTF-8"):
            list(read_dataset(name, tmp_path))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "manifest.jsonl").write_text('\ufeff{"id": "a", "video": "a.mp4"}\n', encoding="utf-8")
    (tmp_path / "a.mp4").touch()
    assert [sample.id for sample in read_dataset("manifest", tmp_path)] == ["a"]


@pytest.mark.parametrize(("name", "options"), [("manifest", {}), ("speechcraft", {"table": "s.csv"}), ("emer-v2", {})])
def test_a_set_that_does_not_fit_is_streamed(name: str, options: dict[str, Any], tmp_path: Path) -> None:
    """Of what was read only the ids are kept, never the texts."""
    text, count = "word " * 1000, 2000  # 10 MB
    with (tmp_path / "manifest.jsonl").open("w") as rows, (tmp_path / "s.csv").open("w") as speech:
        speech.write("id,path,text\n")
        for number in range(count):
            rows.write(json.dumps({"id": f"c{number}", "audio": f"c{number}.wav", "text": text}) + "\n")
            speech.write(f"c{number},c{number}.wav,{text}\n")
    with (tmp_path / "emer_v2_all.csv").open("w") as table:
        table.write("name,chinese,english\n")
        table.writelines(f"c{number},,{text}\n" for number in range(count))
    tracemalloc.start()
    seen = sum(1 for _ in read_dataset(name, tmp_path, verify=False, **options))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seen == count
    assert most < 3_000_000


@pytest.mark.parametrize(
    ("name", "file", "content", "message"),
    [
        ("cues", "cues.json", '["a"]', "cues.json: is no {name"),
        ("conversations", "talk.json", '["a"]', "talk.json: holds no list of objects"),
        ("speechcraft", "a.jsonl", "5\n", "a.jsonl, line 1: is no JSON object"),
        ("ca-mer", "ca_mer.csv", 'name,subset,label\na,consistent,"' + "x" * 140_000, "is no row of a .csv"),
        ("mer2023", "label-6way.npz", "PK no", "is no .npz file"),
    ],
)
def test_files_of_another_form_are_named(name: str, file: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / file).write_text(content)
    with pytest.raises(ValueError, match=message):
        list(read_dataset(name, tmp_path))


def test_no_table_and_no_id_leads_out_of_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (tmp_path / "cues.json").write_text('{"a": {}}')
    for table in ("../cues.json", str(tmp_path / "cues.json")):
        with pytest.raises(ValueError, match="a table is named by its path below"):
            list(read_dataset("cues", root, table=table))
    (root / "cues.json").write_text('{"../../a": {"visual": ["She frowns."]}, "b": {"visual": ["She frowns."]}}')
    problems: list[Any] = []
    found = list(read_dataset("cues", root, verify=False, strict=False, problems=problems))
    assert [sample.id for sample in found] == ["b"]
    assert [(problem.kind, problem.id) for problem in problems] == [("outside the root", "../../a")]


def test_a_table_that_is_there_twice_is_named_by_an_option_only_where_there_is_one(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "cues.json").write_text("{}")
        (tmp_path / folder / "annotation.json").write_text("{}")
    with pytest.raises(FileNotFoundError, match="keep one, or name it by table=$"):
        list(read_dataset("cues", tmp_path))
    with pytest.raises(FileNotFoundError, match="keep one$"):
        list(read_dataset("m3ed", tmp_path))


def test_a_cell_is_empty_where_a_manifest_says_nothing_too(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("name,label,text\na,None,n/a\nb,nan,NaN\nc,null,\n")
    for name in "abc":
        (tmp_path / f"{name}.mp4").touch()
    problems: list[Problem] = []
    samples = list(read_dataset("folder", tmp_path, strict=False, problems=problems))
    assert [(each.label, each.text) for each in samples] == [("None", {"en": "n/a"}), (None, {}), ("null", {})]
    assert [(each.kind, each.id) for each in problems] == [("no label", "b"), ("no text", "b"), ("no text", "c")]
