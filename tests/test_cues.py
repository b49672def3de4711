# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Reading an explanation as cues: right section, nothing lost, nothing twice."""

import csv
import random
import time
from pathlib import Path

import pytest

from xemogpt.data.cues import CUE_KINDS, split_cues

ENGLISH = (
    "In the video, a nurse at a desk presses her lips together, indicating that she holds something back. Her eyes "
    "are wet. This may suggest that she has cried. In the audio, Dr. Mora asks twice; her answer is short and hoarse, "
    'which may reflect tiredness. There is a long pause. In the text, the subtitle reads: "No. I\'m fine! Really." '
    "Based on the wet eyes in the video and the hoarse voice, it can be inferred that she is not fine. She hides it. "
    "Therefore, she is sad."
)
CHINESE = (
    "在视频中，一位护士坐在桌前，嘴唇紧闭，这表明她有所隐瞒。她的眼睛湿润。；在音频中，她的回答短促而沙哑，"
    "体现出疲惫。中间有很长的停顿。；在文本中，字幕内容：“不。我没事！真的。” 根据视频线索和音频线索，"
    "可以推断她并不好。因此，她很难过。"
)
OPENERS = ["In the video, ", "In the audio, ", "在音频中，", "Therefore, ", "因此，", ", indicating that ", "，这表明"]
MARKS = ['"', "“", "”", "...", "。；", "! ", "?\n", ". ", ".", "###", "\n\n", ", ", " "]
WORDS = ["Dr. ", "her brow", "a low voice", "她笑", "3.5", "é", "🙂"]


def letters(text: str) -> list[str]:
    return sorted(filter(str.isalnum, text))


def test_english_paragraph() -> None:
    assert split_cues(ENGLISH) == {
        "visual": ["In the video, a nurse at a desk presses her lips together", "Her eyes are wet."],
        "audio": ["In the audio, Dr. Mora asks twice; her answer is short and hoarse", "There is a long pause."],
        "global": [
            "indicating that she holds something back.",
            "This may suggest that she has cried.",
            "which may reflect tiredness.",
            'In the text, the subtitle reads: "No. I\'m fine! Really."',
            "Based on the wet eyes in the video and the hoarse voice, it can be inferred that she is not fine.",
            "She hides it.",
            "Therefore, she is sad.",
        ],
    }


def test_chinese_paragraph() -> None:
    assert split_cues(CHINESE) == {
        "visual": ["在视频中，一位护士坐在桌前，嘴唇紧闭", "她的眼睛湿润。"],
        "audio": ["在音频中，她的回答短促而沙哑", "中间有很长的停顿。"],
        "global": [
            "这表明她有所隐瞒。",
            "体现出疲惫。",
            "在文本中，字幕内容：“不。我没事！真的。”",
            "根据视频线索和音频线索，可以推断她并不好。",
            "因此，她很难过。",
        ],
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ([], [], [])),
        ("1. Her face is wet.\n2. She sobs.", (["1. Her face is wet."], ["2. She sobs."], [])),
        ("happy", ([], [], ["happy"])),
        ("难过", ([], [], ["难过"])),
        ("He frowns. His voice shakes. He is afraid.", (["He frowns."], ["His voice shakes."], ["He is afraid."])),
        ("他皱着眉头。声音颤抖。他害怕。", (["他皱着眉头。"], ["声音颤抖。"], ["他害怕。"])),
        ("He nods.In the audio, a sob.", (["He nods."], ["In the audio, a sob."], [])),
        ("Input: In the video, a man sits.", (["Input: In the video, a man sits."], [], [])),
        ("**Visual cues:**\n- tears\n**Audio:** a sob", (["**Visual cues:**", "- tears"], ["**Audio:** a sob"], [])),
        ('In the audio, he says "Go. Now." and sighs.', ([], ['In the audio, he says "Go. Now." and sighs.'], [])),
        ("Visually, a wave. Overall, calm. He rests.", (["Visually, a wave."], [], ["Overall, calm.", "He rests."])),
        ("At the same time, in the video, a girl runs.", (["At the same time, in the video, a girl runs."], [], [])),
    ],
)
def test_small_texts(text: str, expected: tuple) -> None:
    assert tuple(split_cues(text).values()) == expected


def test_a_passing_remark_leaves_its_section_open() -> None:
    cues = split_cues("In the video, she waves. This suggests joy. Then she leaves.")
    assert cues["visual"] == ["In the video, she waves.", "Then she leaves."]


@pytest.mark.parametrize("seed", range(50))
def test_every_piece_lands_in_exactly_one_list(seed: int) -> None:
    """Random mixtures of sentences, openers and debris: each letter once, each list in reading order."""
    pick = random.Random(seed)
    parts = [*OPENERS, *MARKS, *WORDS]
    text = "".join(f"{pick.choice(parts)}{number}" for number in range(pick.randint(1, 60)))
    cues = split_cues(text)
    assert tuple(cues) == CUE_KINDS
    assert letters("".join(piece for pieces in cues.values() for piece in pieces)) == letters(text)
    for pieces in cues.values():
        assert all(pieces)
        at = 0
        for piece in pieces:
            at = text.index(piece, at) + len(piece)  # raises where a piece is altered or out of order


@pytest.mark.parametrize("unit", ['"', "A.", "In the ", ", ", "“", "x", "这", "this "])
def test_degenerate_model_output_takes_no_time(unit: str) -> None:
    started = time.perf_counter()
    split_cues(unit * 20_000)
    assert time.perf_counter() - started < 5


@pytest.mark.parametrize("language", ["english", "chinese"])
def test_real_annotations_fill_every_list(shared: Path, language: str) -> None:
    with (shared / "real" / "emer_v2_reason.csv").open(encoding="utf-8") as file:
        texts = [row[language] for row in csv.DictReader(file)]
    read = [split_cues(text) for text in texts]
    for text, cues in zip(texts, read, strict=True):
        assert letters("".join(piece for pieces in cues.values() for piece in pieces)) == letters(text)
    for kind in CUE_KINDS:
        assert sum(not cues[kind] for cues in read) <= 1, kind
