# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Half a second of everything a user may have: the clips that the tests of `explain` and its command ask about."""

from pathlib import Path

from media_factory import STEADY, pattern, tone, write_media


def good_clips(folder: Path) -> list[Path]:
    """Clips with picture and sound, with one of the two, and of different lengths, sorted by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [
        write_media(folder / "a_both.mp4", pattern(12), audio=tone(0.5, hertz=200), options=STEADY),
        write_media(folder / "b_longer.mkv", 255 - pattern(30), audio=tone(1.2, hertz=500), options=STEADY),
        write_media(folder / "c_silent.mp4", pattern(27)[::3], options=STEADY),
        write_media(folder / "d_sound.wav", audio=tone(0.8, hertz=900)),
        write_media(folder / "e_both.mp4", pattern(20)[::-1], audio=tone(0.3, hertz=300), options=STEADY),
    ]
    return sorted(paths)


def bad_clips(folder: Path) -> list[Path]:
    """Files that look like clips and are none, sorted by name."""
    folder.mkdir(parents=True, exist_ok=True)
    empty, text, cut = folder / "b_empty.mp4", folder / "c_text.mp4", folder / "z_cut.mp4"
    empty.touch()
    text.write_text("this is no video")
    whole = write_media(folder / "whole.mp4", pattern(12)).read_bytes()
    (folder / "whole.mp4").unlink()
    cut.write_bytes(whole[: len(whole) // 3])
    return [empty, text, cut]
