# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A folder of clips with a table of labels: how rows find their files, and that whatever does not fit is told."""

from pathlib import Path

import pytest

from xemogpt.cli import main
from xemogpt.data.readers import Problem, read_dataset
from xemogpt.data.sample import EmotionSample, read_manifest


def clips(root: Path, table: str, *files: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    for file in files:
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    root.mkdir(exist_ok=True)
    (root / name).write_text(table, encoding=encoding)
    return root


def read(root: Path, **options: object) -> tuple[dict[str, EmotionSample], list[str]]:
    problems: list[Problem] = []
    samples = list(read_dataset("folder", root, strict=False, problems=problems, **options))
    assert len({sample.id for sample in samples}) == len(samples)
    return {sample.id: sample for sample in samples}, sorted(map(str, problems))


def media(sample: EmotionSample, root: Path) -> tuple[str | None, str | None]:
    video, audio = (path and Path(path).relative_to(root).as_posix() for path in (sample.video, sample.audio))
    return video, audio


def test_names_with_and_without_suffix_and_folder(tmp_path: Path) -> None:
    table = (
        "name,label\njoy,happy\nsad.wav,sad\ntake 2/anger,angry\nD:\\set\\take 2\\fear.mp4,fear\n7,calm\nv1.2,dull\n"
    )
    files = ["joy.MP4", "sound/joy.flac", "sad.mp4", "sad.wav", "take 2/anger.mpg", "take 2/fear.mp4", "007.webm"]
    root = clips(tmp_path, table, *files, "v1.2.avi")
    samples, problems = read(root)
    assert {id: media(sample, root) for id, sample in samples.items()} == {
        "joy": ("joy.MP4", "sound/joy.flac"),
        "sad": (None, "sad.wav"),  # only what it names
        "take 2/anger": ("take 2/anger.mpg", None),
        "fear": ("take 2/fear.mp4", None),
        "7": ("007.webm", None),  # a spreadsheet takes leading zeros for nothing
        "v1.2": ("v1.2.avi", None),
    }
    assert [sample.label for sample in samples.values()] == ["happy", "sad", "angry", "fear", "calm", "dull"]
    assert problems == ["sad: unlisted file: sad.mp4"]


def test_all_columns_and_what_their_cells_hold(tmp_path: Path) -> None:
    table = (
        "name;label;labels;subtitle;text;valence;split;rater\n"
        "a;sad;['sad', 'tired'];Well, goodbye.;他哭。;-1.5;train;x\n"
        "b;NaN;[sad;;nan;low;;x\nc;sad;sad;x;x;inf;test;x\n"
    )
    samples, problems = read(clips(tmp_path, table, "a.mp4", "b.mp4", "c.mp4"))
    a, b, c = samples.values()
    assert (a.label, a.labels, a.valence, a.split) == ("sad", ("sad", "tired"), -1.5, "train")
    assert (a.subtitle, a.text) == ({"en": "Well, goodbye."}, {"zh": "他哭。"})
    assert (b.label, b.labels, b.valence, b.split, b.subtitle, b.text) == (None, (), None, None, {}, {})
    assert c.valence is None
    assert problems == [
        "b: bad value: labels: '[sad' is no list",
        "b: bad value: valence 'low' is no number",
        "b: no label: label: the cell is empty",
        "b: no split: split: the cell is empty",
        "b: no subtitle: subtitle: the cell is empty",
        "b: no text: text: the cell is empty",
        "c: bad value: valence 'inf' is no number",
        "rater: unread column: of labels.csv: no field of a sample; name it by label_field=, ...",
    ]


def test_rows_and_files_that_do_not_fit_are_told_by_name(tmp_path: Path) -> None:
    table = "name,label\ngone,sad\njoy.avi,happy\ntwin,sad\njoy,happy\njoy,happy\njoy,angry\njoy.mp4,happy\n,sad\n"
    table += "../secret,sad\nmany,sad,x\nform,sad\n"
    files = ["joy.mp4", "a/twin.mp4", "b/twin.mp4", "many.mp4", "spare.mp4", "form.mp4", "form.mkv"]
    (tmp_path / "secret.mp4").touch()
    samples, problems = read(clips(tmp_path / "clips", table, *files))
    assert {id: sample.label for id, sample in samples.items()} == {"joy": "happy", "form": "sad"}
    assert (samples["form"].video or "").endswith("form.mp4")
    assert problems == [
        "../secret: outside the root: ../secret",
        "form: two files: form.mp4 is taken, form.mkv is not",
        "gone: missing file: gone.*",
        "joy: conflicting rows: joy.mp4: another row has this name; the first one counts",
        "joy: conflicting rows: labels.csv, line 7; the first one counts",
        "joy: missing file: joy.avi (there is joy.mp4)",
        "joy: repeated row: labels.csv, line 6; the first one counts",
        "labels.csv:9: bad value: a row without name",
        "many: bad value: labels.csv, line 11: too many cells",
        "many: unlisted file: many.mp4",
        "spare: unlisted file: spare.mp4",
        "twin: bad value: could be a/twin.mp4 and b/twin.mp4; name it with its folder",
    ]


def test_two_rows_of_one_file(tmp_path: Path) -> None:
    samples, problems = read(
        clips(tmp_path, "name,label\n7,sad\n007,happy\n8,sad\n008,sad\n", "7.mp4", "8.mp4", "008.mp4")
    )
    assert list(samples) == ["7", "8", "008"]
    assert problems == ["007: conflicting rows: 7.mp4 is the clip of 7; that one counts"]


def test_links_out_of_the_root_are_followed_when_told(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "disk" / "a.mp4").touch()
    root = clips(tmp_path / "clips", "name,label\na,sad\nb,sad\n")
    (root / "video").symlink_to(tmp_path / "disk")
    (root / "video" / "loop").symlink_to(root)
    (root / "b.mp4").symlink_to(tmp_path / "disk" / "a.mp4")
    samples, problems = read(root)
    assert samples == {}
    assert problems[0] == "a: missing file: a.* (video is a link out of the root: --links follows it)"
    assert problems[1].startswith(f"b: outside the root: {root}/b.mp4 leads to {tmp_path}/disk/a.mp4; --links")
    samples, problems = read(root, links=True)
    assert (list(samples), problems) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            "clip,emotion\na,sad\n",
            {},
            "no column name, label; it has clip, emotion: say which they are with name_field=",
        ),
        ("name,emotion\na,sad\n", {}, "no column label; it has name, emotion"),
        ("name,label\na,sad\n", {"subtitle_field": "said"}, "no column said; it has name, label"),
        ("name,label,label\na,sad,sad\n", {}, "column label is there twice"),
        ("", {}, "no column name, label; it has : say"),
    ],
)
def test_columns_that_are_not_there(table: str, options: dict[str, str], message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        read(clips(tmp_path, table, "a.mp4"), **options)


def test_columns_are_called_as_one_says(tmp_path: Path) -> None:
    root = clips(tmp_path, "clip\temotion\tsaid\na\tsad\tGo.\n", "a.mp4", name="mine.tsv", encoding="utf-8-sig")
    samples, problems = read(root, name_field="clip", label_field="emotion", subtitle_field="said")
    assert problems == []
    assert (samples["a"].label, samples["a"].subtitle) == ("sad", {"en": "Go."})
    (openset,) = read(root, name_field="clip", labels_field="emotion")[0].values()
    assert (openset.label, openset.labels) == (None, ("sad",))
    (root / "other.tsv").write_text("x")
    with pytest.raises(
        FileNotFoundError, match=r"is there 2 times \(mine.tsv, other.tsv\); keep one, or name it by table="
    ):
        read(root)
    assert read(root, table="mine.tsv", name_field="clip", label_field="emotion")[0]


def test_work_on_annotations_alone_looks_at_no_file(tmp_path: Path) -> None:
    samples, problems = read(clips(tmp_path, "name,label\na,sad\nx/b.wav,sad\n"), verify=False)
    assert [media(sample, tmp_path) for sample in samples.values()] == [("a.mp4", None), (None, "x/b.wav")]
    assert problems == []


def test_from_the_folder_to_a_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = clips(tmp_path / "clips", "clip,emotion\na,sad\nb,happy\n", "a.mp4", "b.mp4")
    out = root / "manifest.jsonl"
    command = ["data", "export", "folder", str(root), "--out", str(out), "--option", "name_field=clip", "--option"]
    assert main([*command, "label_field=emotion"]) == 0
    assert "2 samples" in capsys.readouterr().err
    assert out.read_text().startswith('{"id": "a", "video": "a.mp4", "label": "sad", "source": "folder"')
    assert [sample.label for sample in read_manifest(out)] == ["sad", "happy"]
    assert main(["data", "check", "manifest", str(root), "--quick"]) == 0
