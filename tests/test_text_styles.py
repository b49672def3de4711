# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The study of text styles: what each style does to a text, and that the document shows what was measured."""

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from xemogpt.eval.emocue_360.rules import RulesExtractor

TEXT = (
    'In the video, a young woman frowns. She looks down. In the audio, her voice is low. In the text, she says, "Why? '
    'Tell me." This pleases her.'
)


@pytest.fixture(scope="module")
def study(script: Callable[[str], ModuleType]) -> ModuleType:
    return script("study_text_styles")


def test_sentences_keep_quotations_whole(study: ModuleType) -> None:
    assert study.sentences(TEXT)[3:] == ['In the text, she says, "Why? Tell me."', "This pleases her."]
    assert " ".join(study.sentences(TEXT)) == TEXT
    assert " ".join(study.sections(TEXT)) == TEXT
    assert len(study.sections(TEXT)) == 3


@pytest.mark.parametrize(
    ("style", "start"),
    [
        ("no section words", "A young woman frowns. She looks down. Her voice is low."),
        ("headings", "Picture: A young woman frowns. She looks down.\n\nSound: Her voice is low."),
        ("sections turned round", 'In the text, she says, "Why? Tell me." This pleases her. In the audio,'),
        ("list", "- In the video, a young woman frowns.\n- She looks down.\n- In the audio"),
        ("capitals", "IN THE VIDEO, A YOUNG WOMAN FROWNS."),
        ("no genders", "In the video, the person frowns. The person looks down. In the audio, the person's voice"),
        ("hedged", "It seems that in the video, a young woman frowns. It seems that she looks down."),
        (
            "first sentences",
            'In the video, a young woman frowns. In the audio, her voice is low. In the text, she says, "',
        ),
    ],
)
def test_styles(study: ModuleType, style: str, start: str) -> None:
    assert study.STYLES[style](TEXT).startswith(start)


def test_the_document_shows_what_was_measured(study: ModuleType, root: Path) -> None:
    result = json.loads((root / "results" / "emer_styles.json").read_text(encoding="utf-8"))
    document = (root / "docs" / "evaluation.md").read_text(encoding="utf-8")
    for table in study.tables(result).split("\n\n"):
        assert table.strip() in document
    scores, floor = (result["others"][key] for key in ("scores", "floor"))
    for preset, mean in (("emocue_360", "mean"), ("emocue_360_robust", "mean_f1")):
        assert f"{scores[preset][mean]:.3f} to {floor[preset][mean]:.3f}" in document
    texts = [each for each in strings(result) if len(each.split()) > 12]
    assert texts == []  # numbers alone: the annotations are gated


def test_results_are_of_the_rules_as_they_are(root: Path) -> None:
    styles, attacks, agreement = (
        json.loads((root / "results" / f"{name}.json").read_text(encoding="utf-8"))
        for name in ("emer_styles", "emocue_360_attacks", "emocue_360_agreement")
    )
    signatures = [
        each["signatures"][name] for each in (styles, styles["others"]) for name in ("emocue_360", "emocue_360_robust")
    ]
    now = f"rules-1@{RulesExtractor().digest}"
    assert {each.split("|ext:")[1].split("|")[0] for each in signatures} == {now}
    assert (attacks["extractor"], agreement["runs"][0]["extractor"]) == (now, now)


def strings(value: object) -> list[str]:
    """Every text anywhere in a JSON value, keys too."""
    if isinstance(value, dict):
        return [each for pair in value.items() for part in pair for each in strings(part)]
    if isinstance(value, list):
        return [each for part in value for each in strings(part)]
    return [value] if isinstance(value, str) else []
