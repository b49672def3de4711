# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""docs/synth.md: bold numbers are those of results/synth_*.json, and what it names is there."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from xemogpt.data.synth.cue_types import AUDIO, VISUAL


@pytest.fixture(scope="module")
def results(root: Path) -> dict[str, Any]:
    return {
        name: json.loads((root / f"results/synth_{name}.json").read_text())
        for name in ("audio", "visual", "text", "emotions", "speed")
    }


def test_bold_numbers_are_measured(root: Path, results: dict[str, Any]) -> None:
    audio, text, speed = results["audio"]["cues"], results["text"], results["speed"]["ways"]
    changes = [audio[f"{cue}"]["full"]["median_change"] for cue in (
        "high_pitch", "low_pitch", "loud_voice", "quiet_voice", "fast_speech", "slow_speech", "pauses", "whisper"
    )]  # fmt: skip
    rows = (
        "training_phrasings",
        "held_out_phrasings",
        "other_words_used_to_mend_the_reader",
        "other_words_never_used",
    )
    seen = [row["least"] for cue, row in results["visual"]["levels_of_255"].items() if cue != "idle"]
    expected = [
        len(VISUAL), len(AUDIO), text["paragraphs"]["clips"], text["paragraphs"]["different"],
        *(text[row][key] for row in rows for key in ("clauses", "f1")),
        min(row[strength]["share_as_expected"] for row in audio.values() for strength in ("full", "least")),
        *changes, min(seen), *(results["emotions"]["emotions"][medium]["share"] for medium in ("visual", "audio")),
        speed["sampled_128"]["clips_per_cpu_s"], speed["full_mp4_256"]["clips_per_cpu_s"],
    ]  # fmt: skip
    document = (root / "docs" / "synth.md").read_text(encoding="utf-8")
    assert [float(number) for number in re.findall(r"\*\*(-?[\d.]+)\*\*", document)] == expected


def test_audio_results_cover_every_cue(results: dict[str, Any]) -> None:
    assert results["audio"]["cues"].keys() == AUDIO.keys()
    assert results["visual"]["levels_of_255"].keys() == {"idle", *VISUAL}


def test_links_lead_somewhere(root: Path) -> None:
    links = re.findall(r"\]\(([^)]+)\)", (root / "docs" / "synth.md").read_text(encoding="utf-8"))
    assert links
    assert all((root / "docs" / link).exists() for link in links)
    assert (root / "docs" / "img" / "synth_clips.jpg").stat().st_size <= 300_000
