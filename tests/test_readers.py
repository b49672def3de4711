# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Readers of public data sets, on miniature trees in the documented layouts with all their irregularities."""

import json
import math
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from media_factory import pattern, tone, write_media

from xemogpt.data.check import check_dataset
from xemogpt.data.readers import READERS, IncompleteDataError, Problem, read_dataset
from xemogpt.data.readers.source import parse_list
from xemogpt.data.sample import EmotionSample


def tree(root: Path, files: dict[str, Any]) -> Path:
    """Write files: text as it is, JSON of what is no text; media are empty files."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return root


def lenient(name: str, root: Path, **options: Any) -> tuple[dict[str, EmotionSample], list[tuple[str, str]]]:
    """Samples by id, and (kind, id) of the problems."""
    problems: list[Problem] = []
    samples = list(read_dataset(name, root, strict=False, problems=problems, **options))
    assert len({sample.id for sample in samples}) == len(samples)
    return {sample.id: sample for sample in samples}, sorted((each.kind, each.id) for each in problems)


def test_emer_v1(tmp_path: Path) -> None:
    rows = 'names,emotions,subtitles,reasons\na,Angry,Go away.,"In the video, he roars."\nb,sad,,He sighs.\n'
    root = tree(tmp_path, {"emer_v1_eng.csv": rows, "video/a.mp4": "", "video/b.mp4": ""})
    samples, problems = lenient("emer-v1", root)
    assert samples["a"].label == "angry"
    assert samples["a"].subtitle == {"en": "Go away."}
    assert samples["a"].text == {"en": "In the video, he roars."}
    assert samples["b"].subtitle == {}
    assert problems == [("another number of rows", "emer_v1_eng.csv"), ("no subtitle", "b")]
    assert len(list(read_dataset("emer-v1", root))) == 2  # a remark does not stop strict reading


def test_emer_v2_nan_english_and_what_is_missing_is_named(tmp_path: Path) -> None:
    rows = "\ufeffname,chinese,english\ns1,他笑。,Input: He smiles.\ns2,她哭。,NaN\ns3,他走。,He walks.\n"
    root = tree(
        tmp_path, {"anything.csv": rows, "s1.mp4": "", "video/s2.avi": "", "audio/s2.wav": "", "audio/x.wav": ""}
    )
    samples, problems = lenient("emer-v2", root)
    assert samples["s1"].text == {"en": "He smiles.", "zh": "他笑。"}
    assert samples["s2"].text == {"zh": "她哭。"}
    assert samples["s2"].audio == str(root / "audio/s2.wav")
    assert problems == [
        ("another number of rows", "anything.csv"),
        ("missing file", "s1"),  # its sound: the folder audio/ is there
        ("missing file", "s3"),
        ("missing file", "s3"),
        ("no text", "s2"),
        ("unlisted file", "x"),
    ]
    with pytest.raises(
        IncompleteDataError, match=r"3 losses: s1: missing file: audio/s1.wav; s3: .*video/s3.mp4"
    ) as error:
        next(read_dataset("emer-v2", root))
    assert len(error.value.problems) == 3
    annotations = list(read_dataset("emer-v2", root, verify=False))
    assert [sample.video for sample in annotations][2] == str(root / "video/s3.mp4")


def test_emer_v2_in_mer2025_is_not_taken_from_the_subtitles(tmp_path: Path) -> None:
    root = tree(tmp_path, {"subtitle_chieng.csv": "name,chinese,english\ns1,你好,Hello.\n", "video/s1.mp4": ""})
    with pytest.raises(FileNotFoundError, match=r"needs emer_v2\*.csv or track3_train_ovmerd.csv"):
        list(read_dataset("emer-v2", root))
    tree(root, {"track3_train_ovmerd.csv": "name,reason\ns1,Input: He smiles.\n", "video/other.mp4": ""})
    samples, problems = lenient("emer-v2", root)
    assert samples["s1"].text == {"en": "He smiles."}
    assert problems == [("another number of rows", "track3_train_ovmerd.csv")]
    shown = "\n".join(check_dataset("emer-v2", root, quick=True).lines())
    assert "track3_train_ovmerd.csv: 1 clips, but emer-v2 was published with 332; is this its table?" in shown


def test_real_emer_annotations(shared: Path) -> None:
    problems: list[Problem] = []
    first = list(read_dataset("emer-v1", shared / "real", verify=False, problems=problems))
    assert len(first) == 100
    assert [problem.kind for problem in problems] == ["no subtitle"] * 7
    assert {sample.label for sample in first} == {"angry", "happy", "sad", "surprise", "worried"}
    second = list(read_dataset("emer-v2", shared / "real", verify=False))
    assert len(second) == 332
    assert all(sample.text["en"].startswith("In the video") and sample.text["zh"] for sample in second)
    there, problems = list(read_dataset("emer-v2", shared / "real", strict=False, probe=True)), []
    assert [sample.id for sample in there] == ["sample_00000007"]
    assert there[0].video
    assert there[0].audio


def test_ov_merd_plus(tmp_path: Path) -> None:
    files = {"ovlabel.csv": "name,openset\na,\"['happy', 'Calm', 'happy']\"\nb,[]\nc,\"[tired\"\n"}
    files |= {"subtitle_eng.csv": "name,sentence\na,Hi.\nb,nan\n", "sub/d.txt": ""}
    files |= {f"{folder}/{id}": "" for folder, id in (("video", "a.mp4"), ("video", "b.mp4"), ("video", "c.mp4"))}
    samples, problems = lenient("ov-merd-plus", tree(tmp_path, files))
    assert samples["a"].labels == ("happy", "calm")
    assert samples["b"].labels == ("neutral",)
    assert samples["c"].labels == ()
    assert problems[1:] == [("bad value", "c"), ("no subtitle", "b"), ("no subtitle", "c")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("['happy', 'sad']", ("happy", "sad")),
        ('["it\'s fine"]', ("it's fine",)),
        ("happy, very sad；calm，shy", ("happy", "very sad", "calm", "shy")),
        ("[happy,sad; calm、shy]", ("happy", "sad", "calm", "shy")),
        ("[]", ()),
        ("", ()),
    ],
)
def test_a_list_in_a_string(text: str, words: tuple[str, ...]) -> None:
    assert parse_list(text) == words


@pytest.mark.parametrize("text", ["[happy", "happy]", "[1, 2]", "[['a']]"])
def test_what_is_no_list_of_words(text: str) -> None:
    with pytest.raises(ValueError, match="is no list|something else than words"):
        parse_list(text)


def test_mer2023_tables(tmp_path: Path) -> None:
    files = {"train-label.csv": "name,discrete,valence\nt1,happy,1.5\nt1,happy,1.5\nt2,worried,low\nt3,bored,0\n"}
    files |= {"test1-label.csv": "name,discrete\nu1,neutral\n", "test2-label.csv": "name,discrete\nt1,sad\nt1,angry\n"}
    files |= {"train/t1.avi": "", "train/t1.mp4": "", "train/t2.mp4": "", "train/t3.mp4": "", "test1/u1.avi": ""}
    problems: list[Problem] = []
    samples = list(read_dataset("mer2023", tree(tmp_path, files), strict=False, problems=problems))
    first = samples[0]
    assert (first.id, first.label, first.valence, first.split) == ("t1", "happy", 1.5, "train")
    assert (first.video or "").endswith("t1.mp4")
    assert [(sample.id, sample.label, sample.valence) for sample in samples[1:3]] == [
        ("t2", "worried", None),
        ("t3", None, 0.0),
    ]
    assert sorted((each.kind, each.id) for each in problems) == [
        ("bad value", "t2"),
        ("bad value", "t3"),
        ("conflicting rows", "t1"),
        ("missing file", "t1"),  # of test2, which has no folder
        ("missing file", "test3"),
        ("repeated row", "t1"),
        ("two files", "t1"),
    ]


def test_mer2023_of_two_tables_none_is_taken_by_chance(tmp_path: Path) -> None:
    root = tree(tmp_path, {f"{folder}/train-label.csv": "name,discrete\na,sad\n" for folder in ("a", "b")})
    with pytest.raises(FileNotFoundError, match=r"train-label.csv is there 2 times \(a/train-label.csv, b/train"):
        list(read_dataset("mer2023", root))


def test_mer2023_processed(tmp_path: Path) -> None:
    corpus = {"a": {"emo": "sad", "val": -2.0}, "b": {"emo": 1, "val": np.float64(0.5)}}
    np.savez(tmp_path / "label-6way.npz", train_corpus=corpus, test1_corpus={"c": {"emo": "happy"}})  # type: ignore[arg-type]
    root = tree(tmp_path, {f"video/{id}.mp4": "" for id in "abc"})
    samples, problems = lenient("mer2023", root)
    assert [(sample.id, sample.label, sample.valence, sample.split) for sample in samples.values()] == [
        ("a", "sad", -2.0, "train"),
        ("b", "angry", 0.5, "train"),
        ("c", "happy", None, "test1"),
    ]
    assert problems == [("missing file", "test2"), ("missing file", "test3")]


class Wicked:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


def test_an_npz_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.savez(tmp_path / "label-6way.npz", train_corpus=np.array({"a": Wicked()}, dtype=object))
    with pytest.raises(ValueError, match=r"wants to run posix.mkdir"):
        list(read_dataset("mer2023", tmp_path))
    assert not (tmp_path / "owned").exists()


SUBTITLES = "name,chinese,english\nsample_1,你好,Hello.\nsamplenew_2,再见,NaN\nsamplenew3_3,,\n"


def mer2025(root: Path) -> Path:
    files = {"subtitle_chieng.csv": SUBTITLES}
    files["track1_train_disdim.csv"] = "name,discrete,valence\nsample_1,happy,2\nsample_9,sad,-1\n"
    files["track2_train_mercaptionplus.csv"] = (
        "name,openset\nsample_1,\"['joyful']\"\nsamplenew_2,[]\nsamplenew3_3,[x]\n"
    )
    files["track3_train_mercaptionplus.csv"] = 'name,reason\nsample_1,"He, smiling, nods."\nsamplenew_2,She waits.\n'
    return tree(root, files | {f"video/{id}.mp4": "" for id in ("sample_1", "samplenew_2", "samplenew3_3")})


def test_mer2025_tracks(tmp_path: Path) -> None:
    root = mer2025(tmp_path)
    samples, problems = lenient("mer2025-track1", root)
    assert samples["sample_1"].subtitle == {"en": "Hello.", "zh": "你好"}
    assert (samples["sample_1"].label, samples["sample_1"].valence) == ("happy", 2.0)
    assert problems == [("missing file", "sample_9"), ("no subtitle", "sample_9"), ("no subtitle", "sample_9")]
    samples, _ = lenient("mer2025-track2", root)
    assert [sample.labels for sample in samples.values()] == [("joyful",), ("neutral",), ("x",)]
    samples, _ = lenient("mer2025-track3", root)
    assert samples["sample_1"].text == {"en": "He, smiling, nods."}
    assert samples["samplenew_2"].subtitle == {"zh": "再见"}


def test_mer_caption_plus_joins_both_tables_and_loses_no_row(tmp_path: Path) -> None:
    samples, problems = lenient("mer-caption-plus", mer2025(tmp_path))
    assert list(samples) == ["sample_1", "samplenew_2", "samplenew3_3"]
    assert (samples["sample_1"].labels, samples["sample_1"].text) == (("joyful",), {"en": "He, smiling, nods."})
    assert samples["samplenew3_3"].text == {}
    assert ("no text", "samplenew3_3") in problems
    assert all(sample.split == "train" and sample.source == "mer-caption-plus" for sample in samples.values())


def test_mafw_zero_padded_ids_and_folds(tmp_path: Path) -> None:
    lists = "Train & Test Set/{}/no_caption/set_1/{}.txt"
    files = {lists.format("single", "train"): "00025.mp4 anger\n00026.mp4 11\n00025.mp4 fear\n\n"}
    files |= {lists.format("single", "test"): "00027.mp4 joy\n00025.mp4 anger\n"}
    files |= {lists.format("compound", each): "00025.mp4 anger_disgust\n" for each in ("train", "test")}
    files |= {f"data/clips/{name}.mp4": "" for name in ("25", "00026")}
    files |= {"captions.csv": "name,english,chinese\n25,He shouts.,他喊。\n"}
    root = tree(tmp_path, files)
    problems: list[Problem] = []
    samples = list(read_dataset("mafw", root, strict=False, problems=problems, captions="captions.csv"))
    assert [(each.id, each.label, each.split) for each in samples] == [
        ("00025", "anger", "train"),
        ("00026", "disappointment", "train"),
        ("00025", "anger", "test"),
    ]
    assert samples[0].video == str(root / "data/clips/25.mp4")
    assert samples[0].text == {"en": "He shouts.", "zh": "他喊。"}
    assert {(each.kind, each.id) for each in problems} == {
        ("conflicting rows", "00025"),
        ("bad value", "00027"),
        ("missing file", "00027"),
        ("no text", "00026"),
        ("no text", "00027"),
    }
    (compound, *_) = read_dataset("mafw", root, task="compound")
    assert compound.labels == ("anger", "disgust")
    with pytest.raises(FileNotFoundError, match="set_2"):
        list(read_dataset("mafw", root, fold=2))


def test_mafw_gives_the_lists_that_were_asked_for_or_none(tmp_path: Path) -> None:
    lists = {f"{{}}set_1/{each}.txt": "00025.mp4 anger\n" for each in ("train", "test")}
    one, bare = tmp_path / "one", tmp_path / "bare"
    for root, folder in ((one, "single/no_caption/"), (bare, "")):
        tree(root, {name.format(folder): lines for name, lines in lists.items()} | {"data/clips/00025.mp4": ""})
    with pytest.raises(FileNotFoundError, match=r"0 folders compound/.*/set_1 .*there: single/no_caption/set_1"):
        list(read_dataset("mafw", one, task="compound"))
    for root, task in ((one, "single"), (bare, "single"), (bare, "compound")):
        assert [each.label for each in read_dataset("mafw", root, task=task)] == ["anger", "anger"]


def test_dfew(tmp_path: Path) -> None:
    files = {
        "single_trainset_1.csv": "video_name,label\n1,1\n00002,7\n3,0\n",
        "single_testset_1.csv": "video_name,label\n4,8\n",
    }
    files |= {
        "Clip/original/1.mp4": "",
        "Clip/original/00002.mp4": "",
        "Clip/original/3.mp4": "",
        "Clip/original/4.mp4": "",
    }
    samples, problems = lenient("dfew", tree(tmp_path / "one", files))
    assert {id: sample.label for id, sample in samples.items()} == {
        "00001": "happy",
        "00002": "fear",
        "00003": None,
        "00004": None,
    }
    assert problems == [("bad value", "00004"), ("no label", "00003")]
    folder = "EmoLabel_DataSplit/{}(single-labeled)/set_1.csv"
    as_published = {folder.format(split): files.pop(f"single_{split}set_1.csv") for split in ("train", "test")}
    again, _ = lenient("dfew", tree(tmp_path / "two", files | as_published))
    assert [(each.id, each.label, each.split) for each in again.values()] == [
        (each.id, each.label, each.split) for each in samples.values()
    ]
    with pytest.raises(ValueError, match="frames"):  # folders of pictures, which nothing that loads a video opens
        lenient("dfew", tmp_path / "one", frames=True)


def test_m3ed(tmp_path: Path) -> None:
    def utterance(label: str, text: str = "走吧。") -> dict[str, Any]:
        said = {"Speaker": "A", "StartTime": "00:01", "EndTime": "00:02", "Text": text}
        return said | {"EmoAnnotation": {"final_main_emo": label, "final_muti_emo": f"{label},Sad"}}

    dialog = {"A_1": utterance("Anger"), "A_2": utterance("Bored", ""), "A_3": {"Text": "嗯。"}}
    files: dict[str, Any] = {"annotation.json": {"one": {"c1": {"SpeakerInfo": {}, "Dialog": dialog}}, "two": {}}}
    files |= {
        f"splitInfo/movie_list_{name}.txt": "one\nthree\n" if name == "val" else ""
        for name in ("train", "val", "test")
    }
    files |= {f"video/{id}.mp4": "" for id in ("A_1", "A_2", "A_3")}
    samples, problems = lenient("m3ed", tree(tmp_path, files))
    assert samples["A_1"].labels == ("anger", "sad")
    assert [(sample.label, sample.split) for sample in samples.values()] == [
        ("anger", "validation"),
        (None, "validation"),
        (None, "validation"),
    ]
    assert samples["A_1"].subtitle == {"zh": "走吧。"}
    assert problems == [
        ("bad value", "A_2"),
        ("missing file", "three"),
        ("no label", "A_3"),
        ("no label", "two"),
        ("no subtitle", "A_2"),
    ]


def test_m3ed_as_published(tmp_path: Path) -> None:
    label = {"final_main_emo": "Anger", "final_mul_emo": "Anger,Sad"}
    dialog = {id: {"Speaker": "B", "Text": "走吧。", "EmoAnnotation": label} for id in ("x_1", "x_2")}
    files: dict[str, Any] = {"annotation.json": {"one": {"c1": {"Dialog": dialog}}}, "modality_speech/B_x_1.wav": ""}
    files |= {
        f"splitInfo/movie_list_{name}.txt": "one\n" if name == "val" else "" for name in ("train", "val", "test")
    }
    samples, problems = lenient("m3ed", tree(tmp_path, files))
    assert samples["x_1"].audio == str(tmp_path / "modality_speech/B_x_1.wav")
    assert samples["x_1"].labels == ("anger", "sad")
    assert problems == [("missing file", "B_x_2")]
    samples, _ = lenient("m3ed", tree(tmp_path, {"video/x_1.mp4": ""}))
    assert (samples["x_1"].video or "").endswith("video/x_1.mp4")
    assert samples["x_1"].audio == str(tmp_path / "modality_speech/B_x_1.wav")


def test_speechcraft_fields_are_the_users(tmp_path: Path) -> None:
    rows = [{"utt": "z1", "wav": "wavs/z1.wav", "caption": "A calm voice."}, {"utt": "z1", "wav": "b", "caption": ""}]
    rows += [
        {"utt": "z2", "wav": "../z2.wav", "caption": "男声。"},
        {"utt": "z3", "wav": "wavs/z3.wav", "caption": "x"},
    ]
    root = tree(tmp_path / "sc", {"a.jsonl": "\n".join(map(json.dumps, rows)), "wavs/z1.wav": ""})
    (tmp_path / "z2.wav").touch()
    with pytest.raises(ValueError, match="no field id, path, text; it has utt, wav, caption"):
        list(read_dataset("speechcraft", root))
    samples, problems = lenient("speechcraft", root, id_field="utt", path_field="wav", text_field="caption")
    assert samples["z1"].audio == str(root / "wavs/z1.wav")
    assert samples["z1"].text == {"en": "A calm voice."}
    assert problems == [("conflicting rows", "z1"), ("missing file", "z3"), ("outside the root", "z2")]


def test_ca_mer(tmp_path: Path) -> None:
    rows = "name,subset,label,openset\na,video_aligned,Happy,\"['glad']\"\nb,Consistent,sad,\nc,other,sad,\n"
    files = {"ca_mer.csv": rows, "video/a.mp4": "", "video/b.mp4": ""}
    samples, problems = lenient("ca-mer", tree(tmp_path, files))
    assert [(each.id, each.split, each.label, each.labels) for each in samples.values()] == [
        ("a", "video-aligned", "happy", ("glad",)),
        ("b", "consistent", "sad", ()),
    ]
    assert problems == [("bad value", "c")]


def test_conversations(tmp_path: Path) -> None:
    def row(path: str, *answers: str) -> dict[str, Any]:
        turns = [("human", "<video>\n<audio>\nWhy?"), *(("gpt", answer) for answer in answers)]
        return {"video": path, "conversations": [{"from": who, "value": value} for who, value in turns]}

    rows = [row("/data2/user/set/clips/a.mp4", "<think>He frowns.</think>\n<answer>angry</answer>", "No tags.")]
    rows += [row("clips/a.mp4", "<answer>sad</answer>"), row("clips/gone.mp4", "x"), {"video": "clips/a.mp4"}]
    samples, problems = lenient("conversations", tree(tmp_path, {"erv.json": rows, "clips/a.mp4": ""}))
    assert [(each.id, each.label, each.text) for each in samples.values()] == [
        ("a", "angry", {"en": "He frowns."}),
        ("a#2", None, {"en": "No tags."}),
        ("a#3", "sad", {}),
    ]
    assert samples["a"].video == str(tmp_path / "clips/a.mp4")
    assert problems == [("bad value", "erv.json:4"), ("missing file", "gone"), ("no text", "a#3")]


def test_cues(tmp_path: Path) -> None:
    entries = {"a": {"visual": ["He nods."], "auditory": ["A sigh.", " "], "emotional": []}, "b": {"smell": ["x"]}}
    files = {"emocue.json": entries, "video/a.mp4": "", "video/b.mp4": ""}
    samples, problems = lenient("cues", tree(tmp_path, files))
    assert [(cue.text, cue.modality) for cue in samples["a"].cues] == [("He nods.", "visual"), ("A sigh.", "audio")]
    assert problems == [("bad value", "a"), ("bad value", "b")]


def test_manifest_is_confined_to_its_root(tmp_path: Path) -> None:
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "c.mp4").touch()
    rows = [{"id": "a", "video": "a.mp4"}, {"id": "b", "video": "../secret.mp4"}, {"id": "c", "video": "link/c.mp4"}]
    root = tree(tmp_path / "root", {"manifest.jsonl": "\n".join(map(json.dumps, rows)), "a.mp4": ""})
    (root / "link").symlink_to(tmp_path / "elsewhere")
    samples, problems = lenient("manifest", root)
    assert list(samples) == ["a"]
    assert problems == [("outside the root", "b"), ("outside the root", "c")]
    samples, _ = lenient("manifest", root, links=True)
    assert "c" in samples


def test_a_manifest_is_looked_at_like_any_other_table(tmp_path: Path) -> None:
    row = {"id": "b", "video": "b.mp4", "label": "nan", "valence": math.nan, "subtitle": "", "text": {"en": "nan"}}
    rows = [{"id": "a", "video": "./x/../a.mp4", "label": "sad"}, row]
    files = {"manifest.jsonl": "\n".join(map(json.dumps, rows)), "x/spare.WAV": "", ".hidden.mp4": "", "notes.txt": ""}
    samples, problems = lenient("manifest", tree(tmp_path, files | {"a.mp4": "", "b.mp4": ""}))
    kept = {"id": "b", "video": str(tmp_path / "b.mp4")}
    assert samples["b"].to_row() == kept
    assert problems == [*[("no label", "b")] * 2, ("no subtitle", "b"), ("no text", "b"), ("unlisted file", "spare")]
    assert len(list(read_dataset("manifest", tmp_path))) == 2  # remarks all


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [("manifest", "manifest.jsonl", "\n"), ("folder", "labels.csv", "name,label\n"), ("cues", "cues.json", "{}")],
)
def test_a_set_without_a_sample_is_not_whole(name: str, file: str, content: str, tmp_path: Path) -> None:
    tree(tmp_path, {file: content, "a.mp4": ""})
    assert ("no sample", str(tmp_path)) in lenient(name, tmp_path)[1]
    with pytest.raises(IncompleteDataError, match="no sample: no row names a clip"):
        next(read_dataset(name, tmp_path))
    assert not check_dataset(name, tmp_path).is_whole


def test_an_mp4_without_pictures_becomes_sound(tmp_path: Path) -> None:
    (tmp_path / "video").mkdir()
    write_media(tmp_path / "video/a.mp4", audio=tone(0.5))
    write_media(tmp_path / "video/b.mp4", pattern(6), audio=tone(0.5))
    root = tree(tmp_path, {"train-label.csv": "name,discrete\na,sad\nb,sad\nc,sad\n", "video/c.mp4": "no video"})
    samples, problems = lenient("mer2023", root, probe=True)
    assert (samples["a"].video, samples["a"].audio) == (None, str(root / "video/a.mp4"))
    assert samples["b"].video
    assert "c" not in samples
    assert [each for each in problems if len(each[1]) == 1] == [("no such stream", "a"), ("unreadable", "c")]


@pytest.mark.parametrize("name", READERS)
def test_every_reader_refuses_an_empty_root_and_unknown_options(name: str, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(read_dataset(name, tmp_path))
    with pytest.raises(FileNotFoundError, match="no such folder"):
        list(read_dataset(name, tmp_path / "none"))
    with pytest.raises(ValueError, match="colour"):
        list(read_dataset(name, tmp_path, colour="red"))
