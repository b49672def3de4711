# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The documents name files, functions and tests that exist."""

import re
from pathlib import Path

import pytest

from xemogpt.eval.emocue_360.rules import RulesExtractor

DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/paper_map.md",
    "docs/training.md",
    "docs/cue_encoders.md",
    "docs/serving.md",
    "docs/emocue_builder.md",
)


def named(root: Path, document: str, pattern: str) -> list[re.Match[str]]:
    return list(re.finditer(pattern, (root / document).read_text(encoding="utf-8")))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_named_tests_exist(root: Path, document: str) -> None:
    missing = []
    for match in named(root, document, r"\b(test_\w+)\.py(?:::(\w+))?"):
        path = root / "tests" / f"{match[1]}.py"
        if not path.is_file() or (match[2] and f"def {match[2]}(" not in path.read_text(encoding="utf-8")):
            missing.append(match[0])
    assert missing == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(root: Path, document: str) -> None:
    links = [match[1] for match in named(root, document, r"\]\(([^)#]+)") if "://" not in match[1]]
    base = (root / document).parent
    assert [link for link in links if not (base / link).exists()] == []


def test_documents_name_the_rules_as_they_are(root: Path) -> None:
    """A digest in an example of a signature is what a reader would get."""
    documents = [root / "README.md", root / "eval" / "emocue_360" / "README.md", *(root / "docs").glob("*.md")]
    digests = {
        digest for path in documents for digest in re.findall(r"rules-1@(\w+)", path.read_text(encoding="utf-8"))
    }
    assert digests == {RulesExtractor().digest}


def test_paper_map_names_code_that_exists(root: Path) -> None:
    missing = []
    for match in named(root, "docs/paper_map.md", r"`(\w+_xemogpt)\.(\w+)`|`(XEmoGPT\w+)\.(\w+)"):
        if match[1]:
            found = re.search(rf"^(?:class |def )?{match[2]}\b", (root / f"{match[1]}.py").read_text(), re.M)
        else:
            sources = "".join(path.read_text() for path in root.glob("*_xemogpt.py"))
            body = re.search(rf"^class {match[3]}\b.*?(?=^class |\Z)", sources, re.M | re.S)
            found = body and re.search(rf"^    def {match[4]}\b", body[0], re.M)
        if not found:
            missing.append(match[0])
    assert missing == []
    assert named(root, "docs/paper_map.md", r"`bridges_xemogpt\.VideoEmotionalCueBridge`")
