# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt data`: what it finds in a copy, what it writes, what it says."""

import json
import shutil
from pathlib import Path

import pytest
from media_factory import pattern, tone, write_media

from xemogpt.cli import main
from xemogpt.data.check import check_dataset
from xemogpt.data.export import export_samples
from xemogpt.data.readers import IncompleteDataError, read_dataset
from xemogpt.data.sample import read_manifest


def mer2023(root: Path) -> Path:
    """Train: a; b and c, the same bytes; x. Test1: a, by id; d, whose bytes are a's."""
    (root / "video").mkdir(parents=True)
    write_media(root / "video/a.mp4", pattern(12), audio=tone(0.5))
    write_media(root / "video/b.mp4", pattern(25), audio=tone(1.0))
    shutil.copy(root / "video/b.mp4", root / "video/c.mp4")
    shutil.copy(root / "video/a.mp4", root / "video/d.mp4")
    (root / "train-label.csv").write_text("name,discrete,valence\na,happy,1\nb,sad,-1\nc,sad,-1\n")
    for split in ("test1", "test2", "test3"):
        (root / f"{split}-label.csv").write_text(
            "name,discrete\n" + ("a,happy\nd,angry\n" if split == "test1" else "")
        )
    return root


def test_duplicates_and_leaks_by_id_and_by_bytes(tmp_path: Path) -> None:
    report = check_dataset("mer2023", mer2023(tmp_path / "m"))
    assert report.samples == 5
    assert report.splits == {"train": 3, "test1": 2}
    assert report.labels == {"sad": 2, "happy": 2, "angry": 1}
    assert report.duplicates == [["a", "d"], ["b", "c"]]
    assert report.leaks == [("same id", "a in test1 and train"), ("same bytes", "a in test1, a in train, d in test1")]
    assert report.seconds["shortest"] == pytest.approx(0.5, abs=0.15)
    assert report.seconds["longest"] == pytest.approx(1.0, abs=0.15)
    assert report.problems == []
    assert not report.is_whole
    quick = check_dataset("mer2023", tmp_path / "m", quick=True)
    assert (quick.leaks, quick.duplicates, quick.seconds) == (report.leaks[:1], [], {})


def test_a_copy_with_nothing_wrong_is_whole(tmp_path: Path) -> None:
    root = mer2023(tmp_path / "m")
    (root / "test1-label.csv").write_text("name,discrete\n")
    assert check_dataset("mer2023", root).is_whole
    (root / "video" / "a.mp4").unlink()
    assert not check_dataset("mer2023", root).is_whole


def test_a_leak_between_two_data_sets(tmp_path: Path) -> None:
    root = mer2023(tmp_path / "m")
    (root / "test1-label.csv").write_text("name,discrete\n")
    (tmp_path / "e" / "video").mkdir(parents=True)
    (tmp_path / "e" / "emer_v2.csv").write_text("name,chinese,english\na,他,He\nz,她,She\n")
    for name in "az":
        write_media(tmp_path / "e" / "video" / f"{name}.mp4", pattern(3))
    shutil.copy(root / "video" / "b.mp4", tmp_path / "e" / "video" / "z.mp4")
    report = check_dataset("mer2023", root, against=[("emer-v2", tmp_path / "e")])
    assert [how for how, _ in report.leaks] == ["same id", "same bytes"]
    assert report.leaks[0][1] == "a in emer-v2:test and train"
    assert report.leaks[1][1] == "b in train, c in train, z in emer-v2:test"


def test_the_command_says_what_is_missing_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = mer2023(tmp_path / "m")
    (root / "test3-label.csv").unlink()
    (root / "video" / "b.mp4").write_bytes(b"")
    out = tmp_path / "report.json"
    assert main(["data", "check", "mer2023", str(root), "--json", str(out)]) == 1
    text = capsys.readouterr().out
    assert "mer2023: 4 samples (train 2, test1 2)" in text
    assert "  test3: test3-label.csv" in text
    assert "  b: " in text
    assert "empty" in text
    assert text.endswith("NOT whole\n")
    report = json.loads(out.read_text())
    assert {each["id"] for each in report["problems"]} == {"test3", "b"}
    assert main(["data", "check", "mer2023"]) == 2
    assert "needs NAME and ROOT; the names are emer-v1" in capsys.readouterr().err
    assert main(["data", "check", "mafw", str(root), "--option", "fold=9"]) == 2
    assert "set_9" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_export(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = mer2023(tmp_path / "m")
    (root / "test1-label.csv").write_text("name,discrete\nmissing,sad\n")
    out = root / f"all{suffix}"
    command = ["data", "export", "mer2023", str(root), "--out", str(out)]
    assert main(command) == 2
    assert "missing: missing file: video/missing.mp4" in capsys.readouterr().err
    assert not out.exists()
    assert main([*command, "--partial"]) == 1
    assert "left out: missing: missing file" in capsys.readouterr().err
    expected = list(read_dataset("mer2023", root, strict=False))
    if suffix == ".jsonl":
        assert list(read_manifest(out)) == expected
        assert json.loads(out.read_text().splitlines()[0])["video"] == "video/a.mp4"
    else:
        datasets = pytest.importorskip("datasets")
        table = datasets.Dataset.from_parquet(str(out), cache_dir=str(tmp_path / "cache"))
        assert table["id"] == ["a", "b", "c"]
        assert table[0]["video"] == "video/a.mp4"
    assert not list(root.glob(".*part"))


def test_a_strict_read_stops_before_the_first_sample(tmp_path: Path) -> None:
    root = mer2023(tmp_path / "m")
    (root / "video" / "d.mp4").unlink()
    with pytest.raises(IncompleteDataError, match="d: missing file: video/d.mp4"):
        next(read_dataset("mer2023", root))


def test_an_export_has_every_id_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, out = mer2023(tmp_path / "MER"), tmp_path / "m.jsonl"
    assert main(["data", "export", "mer2023", str(root), "--out", str(out)]) == 2  # a is in train and in test1
    assert "error: a: is there twice" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["MER"]
    for option in ("links=true", "strict=false"):
        assert main(["data", "check", "mer2023", str(root), "--option", option]) == 2
        assert "is none of a reader; see --links" in capsys.readouterr().err


def test_an_export_below_a_link_names_clips_by_their_place(tmp_path: Path) -> None:
    root, link = tmp_path / "real" / "set", tmp_path / "link"
    root.mkdir(parents=True)
    (root / "labels.csv").write_text("name,label\na,sad\n")
    (root / "a.mp4").touch()
    link.symlink_to(tmp_path / "real")
    for given, out in ((link / "set", link / "set"), (root, link / "set"), (root, root)):
        export_samples(read_dataset("folder", given), out / "manifest.jsonl")
        assert json.loads((out / "manifest.jsonl").read_text())["video"] == "a.mp4"


def test_an_export_goes_on_to_the_builder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The route of docs/data.md and of the recipes' heads: the manifest lies with the clips, and nothing is followed
    out of there unless one says so."""
    root, recipe = tmp_path / "SC", tmp_path / "r.yaml"
    (root / "wavs").mkdir(parents=True)
    (root / "wavs" / "z1.wav").touch()
    (root / "all.jsonl").write_text('{"id": "z1", "path": "wavs/z1.wav", "text": "A calm voice."}\n')
    endpoint = {"base_url": "http://localhost/v1", "model": "m"}
    ask = {"name": "audio", "endpoint": "m", "prompt": "emocue-audio-1", "sees": ["audio"]}
    plain = {"input": {"reader": "manifest", "strict": False}, "out": str(tmp_path / "built")}
    recipe.write_text(json.dumps(plain | {"endpoints": {"m": endpoint}, "infer": [ask]}))

    def plan(clips: Path, *more: str) -> int:
        changes = [part for change in (f"input.root={clips}", *more) for part in ("--set", change)]
        return main(["build-emocue", "--recipe", str(recipe), "--plan", *changes])

    assert main(["data", "export", "speechcraft", str(root), "--out", str(root / "manifest.jsonl")]) == 0
    assert "note:" not in capsys.readouterr().err
    assert plan(root) == 0
    assert "1 clips in 1 tasks, 0 losses" in capsys.readouterr().out
    assert main(["data", "export", "speechcraft", str(root), "--out", str(root / "again.jsonl")]) == 0

    (tmp_path / "clips").mkdir()
    elsewhere = tmp_path / "clips" / "manifest.jsonl"
    (root / "again.jsonl").unlink()
    assert main(["data", "export", "speechcraft", str(root), "--out", str(elsewhere)]) == 0
    assert f"write it to {root / 'manifest.jsonl'}, or read it with --links" in capsys.readouterr().err
    assert plan(tmp_path / "clips") == 2
    said = capsys.readouterr().err
    wav = root.resolve() / "wavs" / "z1.wav"
    assert f"finds no clip: z1: outside the root: {wav} is not below {tmp_path / 'clips'}; --links" in said
    assert "input.links=true" in said
    assert plan(tmp_path / "clips", "input.links=true") == 0
