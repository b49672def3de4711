# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The report page in a browser: no error, no address but its own, nothing wider than a phone, cases that open."""

from pathlib import Path

import pytest
from headless_browser import CHROMIUM, Browser

from xemogpt.eval.records import Record
from xemogpt.eval.report import write_page
from xemogpt.eval.score import Task, read_result, score, write_result

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]
TRUTH = {
    f"clip_{n}": Record(f"clip_{n}", f"he {word} at her & <b>nods</b> {'longword' * 30}", label=label)
    for n, (word, label) in enumerate((("smiles", "happy"), ("frowns", "angry"), ("stares", "neutral")))
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    for name, said in (("all", TRUTH), ("last", TRUTH | {"clip_0": Record("clip_0", "nothing", label="sad")})):
        result = score(said, TRUTH, Task(("bleu", "cider", "recognition")))
        pairs = {"matched": [["he", "his", 0.5]], "hallucinated": ["nods"], "missed": ["a tear", "a sigh"]}
        for row in result["samples"]:
            row["matching"] = {"visual": pairs, "global": pairs}
        about = {"model": name, "benchmark": "small", "modalities": ["visual"], "command": "xemogpt score"}
        write_result(folder / f"{name}.json", result, about)
    write_page(folder / "page.html", [read_result(folder / f"{name}.json") for name in ("all", "last")], cases=3)
    return folder / "page.html"


@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser(page: Path, width: int, tmp_path: Path) -> None:
    with Browser(page.as_uri(), tmp_path, width) as browser:
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.value("performance.getEntriesByType('resource').length") == 0  # it asks for nothing else
        assert browser.value("document.querySelectorAll('.card .score').length") >= 10
        assert browser.value("document.querySelectorAll('.confusion td.right').length") == 6
        assert browser.value("document.querySelectorAll('svg polyline').length") >= 4
        assert browser.value("document.querySelectorAll('.text b').length") == 0  # texts are no HTML
        browser.value("document.querySelectorAll('details').forEach(each => { each.open = true })")
        first = "document.querySelector('.case')"
        assert browser.value(f"{first}.querySelectorAll('.answer').length") == 2
        counts = [
            browser.value(f"{first}.querySelectorAll('.cue.{k}').length")
            for k in ("matched", "hallucinated", "missed")
        ]
        assert counts == [8, 4, 8]  # of two models, two dimensions each; matched ones stand on both sides
        assert browser.value(f"{first}.querySelector('mark.hallucinated').textContent") == "nods"
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
        assert browser.errors == []
