# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Which clips are meant: single files, the media of a folder, or the rows of a manifest."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from xemogpt.data.sample import is_nothing
from xemogpt.data.text import read_text

VIDEO_SUFFIXES = (".3gp", ".avi", ".flv", ".gif", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm", ".wmv")
AUDIO_SUFFIXES = (".aac", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav")
TABLE_SUFFIXES = (".csv", ".json", ".parquet", ".tsv", ".xls", ".xlsx")


@dataclass(frozen=True)
class Clip:
    """What is explained.

    video: a media file, or frames (a list of PIL images, an array or tensor (T, H, W, 3)), or None. A sound file is a
        clip without pictures.
    audio: None takes the video file's own track; False or "none" turns it off; else a file, or an array (L,).
    subtitle: what is said, as text or as an .srt or .vtt file.
    id: names the clip in results; by default its file does.
    sampling_rate: of an audio array, in Hz.
    folder: where relative paths start; by default the current one.
    """

    video: Any = None
    audio: Any = None
    subtitle: str | os.PathLike | None = None
    id: str | None = None
    sampling_rate: int = 16000
    folder: str | os.PathLike | None = None

    @property
    def name(self) -> str:
        """The id, or else the file as given."""
        files = (os.fspath(medium) for medium in (self.video, self.audio) if isinstance(medium, (str, os.PathLike)))
        return self.id or next(files, "the clip")

    def located(self) -> "Clip":
        """The same clip with its paths taken from its folder."""
        if self.folder is None:
            return self

        def at(path: Any) -> Any:
            return os.path.join(self.folder, path) if isinstance(path, (str, os.PathLike)) else path  # type: ignore[arg-type]

        subtitle = self.subtitle
        if isinstance(subtitle, str) and "\n" not in subtitle:
            named = subtitle.lower()
            if named.endswith((".srt", ".vtt")) or (named.endswith(".txt") and os.path.isfile(at(subtitle))):
                subtitle = at(subtitle)
        off = isinstance(self.audio, str) and self.audio.lower() == "none"
        audio = self.audio if off else at(self.audio)
        return replace(self, video=at(self.video), audio=audio, subtitle=subtitle, folder=None)


def gather_clips(sources: Iterable[str | os.PathLike | Clip]) -> list[Clip]:
    """Clips in order, each once: a folder stands for its media files, a .jsonl manifest for its rows.

    Raises:
        ValueError: a bad manifest row (with its line), a folder without media, a table, two clips of one name.
    """
    found: dict[str, Clip] = {}
    for source in sources:
        for clip in _clips_of(source):
            if found.setdefault(clip.name, clip) != clip:
                raise ValueError(
                    f"two different clips are called {clip.name!r}: give each an id of its own in a manifest"
                )
    return list(found.values())


def _clips_of(source: str | os.PathLike | Clip) -> list[Clip]:
    if isinstance(source, Clip):
        return [source]
    path = os.fspath(source)
    if os.path.isdir(path):
        return folder_clips(path)
    if path.lower().endswith(TABLE_SUFFIXES):
        raise ValueError(
            f"{path}: is a table, not a clip: give a .jsonl manifest; for a table of clips in a folder "
            "`xemogpt data export folder FOLDER --out FOLDER/manifest.jsonl` writes one"
        )
    return read_manifest(path) if path.lower().endswith(".jsonl") else [Clip(path)]


def folder_clips(folder: str | os.PathLike) -> list[Clip]:
    """The media files below a folder, sorted; hidden ones are left out.

    A sound file stands for a clip of its own only where no video of the same name lies beside it: mostly it is that
    video's extracted track.
    """
    files = sorted(path for path in Path(folder).rglob("*") if not path.name.startswith(".") and path.is_file())
    videos = [path for path in files if path.suffix.lower() in VIDEO_SUFFIXES]
    taken = {path.with_suffix("") for path in videos}
    sounds = [path for path in files if path.suffix.lower() in AUDIO_SUFFIXES and path.with_suffix("") not in taken]
    if not videos and not sounds:
        raise ValueError(f"{os.fspath(folder)}: the folder holds no media file ({' '.join(VIDEO_SUFFIXES)} ...)")
    return [Clip(os.fspath(path)) for path in sorted([*videos, *sounds])]


def read_manifest(path: str | os.PathLike) -> list[Clip]:
    """The rows of a .jsonl manifest: `{"video": ..., "audio": ..., "subtitle": ..., "id": ...}`, all but one optional.

    Relative paths start at the manifest's folder; other keys (labels, say) are ignored. Of a subtitle by language, as
    in {"en": "..."}, the English one is taken, or else the first; a blank one is none.

    Raises:
        ValueError: a row that is no such object, with its line number. OSError: the manifest cannot be read.
    """
    folder = os.path.dirname(os.fspath(path))
    lines = read_text(path).split("\n")
    clips: dict[str, tuple[int, Clip]] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            clip = _manifest_clip(line, folder)
            first, other = clips.setdefault(clip.name, (number, clip))
            if other != clip:
                raise ValueError(f'{clip.name!r} is already line {first} with other media; give each an "id"')
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}, line {number}: {error}") from None
    if not clips:
        raise ValueError(f"{os.fspath(path)}: the manifest has no rows")
    return [clip for _, clip in clips.values()]


def _manifest_clip(line: str, folder: str) -> Clip:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"is not JSON ({error})") from None
    if not isinstance(row, dict):
        raise ValueError('is not an object such as {"video": "clip.mp4"}')
    if isinstance(words := row.get("subtitle"), dict):  # by language, as `xemogpt.data.sample` has it
        said = {language: text for language, text in words.items() if not is_nothing(text)}
        row["subtitle"] = said.get("en") or next(iter(said.values()), None)
    if is_nothing(row.get("subtitle")):
        row["subtitle"] = None
    for key in ("video", "audio", "subtitle", "id"):
        value = row.get(key)
        if not (value is None or (isinstance(value, str) and value) or (key == "audio" and value is False)):
            raise ValueError(f'"{key}" must be a non-empty string, not {json.dumps(value)}')
    if row.get("video") is None and row.get("audio") in (None, False, "none"):
        raise ValueError('has neither "video" nor "audio"')
    return Clip(row.get("video"), row.get("audio"), row.get("subtitle"), row.get("id"), folder=folder or None)
