# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What needs no decoder: frames held in memory, their resize, subtitles; and the errors of files of no use."""

import html
import os
import re
import stat
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F


class MediaError(ValueError):
    """A media file that cannot be used; one line: the file, what is wrong with it, what to do."""


def check_file(path: str | os.PathLike) -> bytes:
    """The first bytes of a regular file; an error that says why where it cannot be read."""
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(f"{path}: is a folder; give one of the files in it")
        if not stat.S_ISREG(mode):  # a pipe or a device would block, or never end
            raise MediaError(f"{path}: is not a regular file; save it to disk first")
        with open(path, "rb") as file:
            return file.read(16)
    except FileNotFoundError:
        if re.match(r"\w{2,}:/", os.fspath(path)):
            raise FileNotFoundError(f"{path}: is an address, and is not fetched; download it, give the file") from None
        raise FileNotFoundError(f"{path}: no such file; check the path") from None
    except PermissionError:
        raise PermissionError(f"{path}: no permission to read it; change the file's mode or owner") from None


def sample_indices(num_available: int, num_frames: int) -> np.ndarray:
    """`linspace(0, N - 1, num_frames)` cut to whole numbers, int64 (num_frames,), as the released weights were trained
    (paper, section III-A). Frames repeat where there are fewer than asked for."""
    if num_available < 1 or num_frames < 1:
        raise ValueError(f"cannot take {num_frames} frames of {num_available}: both must be at least 1")
    return np.linspace(0, num_available - 1, num_frames).astype(np.int64)


def as_frames(video: Any, num_frames: int | None = None) -> np.ndarray:
    """Frames held in memory -> uint8 (T, H, W, 3) RGB.

    Args:
        video: a list of PIL images or of arrays, or one array or tensor, of shape (T, H, W, 3), (T, 3, H, W) or, grey,
            (T, H, W) or (T, H, W, 1); whole numbers in 0..255, or float in [0, 1] (times 255 and rounded).
        num_frames: take that many by `sample_indices` before anything is converted; None takes all.

    Raises:
        ValueError: no frame, frames of several sizes, another shape, NaN, infinite or out of range values.
    """
    frames: np.ndarray
    if isinstance(video, (list, tuple)):
        if num_frames is not None and len(video):
            video = [video[index] for index in sample_indices(len(video), num_frames)]
        images = [as_array(image) for image in video]
        if len(shapes := {image.shape for image in images}) > 1:
            raise ValueError(f"frames have several shapes: {sorted(shapes)}; bring them to one size first")
        frames = np.stack(images) if images else np.zeros(0)
    else:
        frames = as_array(video)
        if num_frames is not None and frames.ndim and len(frames):
            frames = frames[sample_indices(len(frames), num_frames)]
    if frames.size == 0:
        raise ValueError(f"video of shape {frames.shape} holds no pixel; give at least one frame, or no video")
    if frames.ndim == 3 and frames.shape[-1] != 3:
        frames = frames[..., None]
    if frames.ndim != 4 or (frames.shape[3] not in (1, 3) and frames.shape[1] != 3):
        hint = "; give a single image a leading axis" if frames.ndim in (2, 3) else ""
        raise ValueError(f"video of shape {frames.shape} is not (T, H, W, 3), (T, 3, H, W) or (T, H, W){hint}")
    if frames.shape[3] not in (1, 3):
        frames = frames.transpose(0, 2, 3, 1)
    return np.ascontiguousarray(np.broadcast_to(_as_uint8(frames), (*frames.shape[:3], 3)))


def is_path(value: Any) -> bool:
    """Whether a medium is given as a file, not as its content."""
    return isinstance(value, (str, os.PathLike))


def list_of_videos(videos: Any) -> list[Any]:
    """One clip, a list of clips, or a batch of such lists -> a list of clips."""
    if is_path(videos) or getattr(videos, "ndim", 0) == 4:
        return [videos]
    if getattr(videos, "ndim", 0) == 5:
        return list(videos)
    first = next((video for video in videos if not isinstance(video, (list, tuple)) or len(video)), None)
    if first is None:
        return []
    if not is_path(first) and not isinstance(first, (list, tuple)) and getattr(first, "ndim", 3) < 4:
        return [videos]  # a list of single frames: one clip
    flat: list[Any] = []
    for video in videos:
        inner = video[0] if isinstance(video, (list, tuple)) and len(video) else None
        nested = is_path(inner) or isinstance(inner, (list, tuple)) or getattr(inner, "ndim", 3) == 4
        empty = isinstance(video, (list, tuple)) and not len(video)
        flat.extend(video if nested or empty else [video])
    return flat


def as_array(value: Any) -> np.ndarray:
    """A PIL image (as RGB), tensor, array or nested list -> an array of the same numbers."""
    if hasattr(value, "convert"):
        value = value.convert("RGB")
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        value = (value.float() if value.is_floating_point() else value).numpy()  # numpy has no bfloat16
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"nested lists of uneven lengths are no array ({error}); give arrays") from None


def _as_uint8(frames: np.ndarray) -> np.ndarray:
    if frames.dtype == np.uint8:
        return frames
    if frames.dtype.kind not in "fiu":
        raise ValueError(f"video of dtype {frames.dtype} has no known scale; give uint8, or float in [0, 1]")
    low, high = frames.min(), frames.max()
    if not (np.isfinite(low) and np.isfinite(high)):  # NaN is both least and greatest
        raise ValueError("video holds NaN or infinite values; clean the array first")
    if frames.dtype.kind != "f":
        if low < 0 or high > 255:
            raise ValueError(f"video of whole numbers from {low} to {high}; give 0..255")
        return frames.astype(np.uint8)
    if low < -1e-3 or high > 1 + 1e-3:
        raise ValueError(
            f"video of floats from {low:.4g} to {high:.4g}; give [0, 1]: divide 0..255 by 255, or undo a normalisation"
        )
    return np.rint(np.clip(frames.astype(np.float32), 0, 1) * 255).astype(np.uint8)


def resize_frames(frames: np.ndarray | torch.Tensor, size: int, crop: int) -> torch.Tensor:
    """Shortest edge to `size`, then the central `crop` x `crop`: uint8 (T, H, W, 3) -> uint8 (T, 3, crop, crop).

    Gives the pixels of transformers' CLIP image processor on its torchvision backend (uint8, bicubic, antialiased;
    zeros around a picture smaller than the crop) in torch alone. What the crop will drop is left out between the
    horizontal and the vertical pass: an 8000 x 10 picture does not become 179200 x 224 on the way. One taller than 16
    widths is laid on its side for the same end, which may move a pixel by a level or two of 255.

    Raises:
        ValueError: frames of another shape or dtype, or sizes below 1.
    """
    if isinstance(frames, np.ndarray):
        frames = torch.from_numpy(np.require(frames, requirements=["C", "W"]))
    if frames.dtype != torch.uint8 or frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise ValueError(f"{frames.dtype} {tuple(frames.shape)} is not uint8 (T, H, W, 3); use as_frames first")
    if size < 1 or crop < 1:
        raise ValueError(f"size and crop must be at least 1, not {size} and {crop}")
    height, width = frames.shape[1:3]
    if height > 16 * width:
        return resize_frames(frames.transpose(1, 2), size, crop).transpose(2, 3).contiguous()
    short = min(height, width)
    new_height, new_width = (size if edge == short else int(size * edge / short) for edge in (height, width))
    pixels = _centre(_interpolate(frames.permute(0, 3, 1, 2), (height, new_width)), crop, dim=3)
    return _centre(_interpolate(pixels, (new_height, crop)), crop, dim=2).contiguous()


def _interpolate(pixels: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if tuple(pixels.shape[2:]) == size:
        return pixels
    pixels = pixels.contiguous(memory_format=torch.channels_last)  # torch has a fast uint8 kernel for this order
    return F.interpolate(pixels, size=size, mode="bicubic", antialias=True)


def _centre(pixels: torch.Tensor, crop: int, dim: int) -> torch.Tensor:
    """The central `crop` along `dim`, 2 or 3. Where pixels are missing, the smaller half of zeros goes before them."""
    missing = crop - pixels.shape[dim]
    if missing <= 0:
        return pixels.narrow(dim, -missing // 2, crop)
    return F.pad(pixels, [0, 0] * (3 - dim) + [missing // 2, missing - missing // 2])


_TIME = r"(?:(\d+):)?(\d+):(\d+[.,]\d+)"
_CUE = re.compile(
    r"(?:^[ \t]*\d+\n|(?<=\n\n)[^\n]+\n)?"  # a number, or after an empty line a name
    rf"^[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}[^\n]*$",
    re.MULTILINE,
)
_NOTE = re.compile(r"(?<=\n\n)(?:NOTE|STYLE|REGION)\b.*?(?=\n\n|\Z)", re.DOTALL)
_TAG = re.compile(r"</?(?:i|b|u|s|c|v|lang|ruby|rt|font)(?:[.\s][^>]*)?>|<[\d:.]+>|\{\\[^}]*\}", re.IGNORECASE)


def read_subtitle(value: str | os.PathLike | None) -> str:
    """What is said, as text: a string is returned as it is, a file is read.

    A file is a path object, or a string of one line that ends in .srt or .vtt, or in .txt and exists. Cue numbers,
    times, tags, headers, notes and styles are left out, entities resolved, lines joined by spaces; what a rolling
    caption repeats in the cue that follows without a gap is kept once. None and an empty file give "".

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to open.
        MediaError: not UTF-8 (or UTF-16 with its mark), no cue in a .srt or .vtt file, or another kind of file.
    """
    if value is None:
        return ""
    path = os.fspath(value)
    kind = os.path.splitext(path)[1].lower()
    if isinstance(value, str) and ("\n" in value or not (kind in (".srt", ".vtt") or _is_text_file(path))):
        return value
    if kind not in (".srt", ".vtt", ".txt"):
        raise MediaError(f"{path}: is no subtitle file; give .srt, .vtt, .txt, or the text itself")
    check_file(path)
    with open(path, "rb") as file:
        raw = file.read()
    try:
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:  # guessing a code page could turn speech into nonsense without a word
        advice = "convert it, for instance with iconv -f GB18030 -t UTF-8"
        raise MediaError(f"{path}: the subtitle is not UTF-8 (byte {error.start}); {advice}") from None
    text = re.sub(r"[ \t]+$", "", "\n".join(text.splitlines()), flags=re.MULTILINE)
    if kind == ".txt":
        return " ".join(text.split())
    if kind == ".vtt":
        text = _NOTE.sub("", text)
    if text.strip() and not text.startswith("WEBVTT") and not _CUE.search(text):
        raise MediaError(f"{path}: holds no subtitle cue (no line with -->); call plain text .txt")
    return " ".join(_spoken_lines(text))


def _is_text_file(path: str) -> bool:
    return path.lower().endswith(".txt") and os.path.isfile(path)


def _spoken_lines(text: str) -> Iterator[str]:
    """The lines of all cues, without what rolling captions repeat."""
    shown: list[str] = []
    shown_until = 0.0
    cues = list(_CUE.finditer(text))
    for cue, following in zip_longest(cues, cues[1:]):
        body = html.unescape(_TAG.sub("", text[cue.end() : following.start() if following else None]))
        lines = [" ".join(line.split()) for line in re.split(r"\n|\\N", body.replace("\\h", " "))]
        lines = [line for line in lines if line]
        hours, minutes, seconds, *until = ((part or "0").replace(",", ".") for part in cue.groups())
        repeated = 0
        if float(hours) * 3600 + float(minutes) * 60 + float(seconds) <= shown_until + 0.002:
            lengths = range(min(len(shown), len(lines)), 0, -1)
            repeated = next((length for length in lengths if shown[-length:] == lines[:length]), 0)
        yield from lines[repeated:]
        shown, shown_until = lines, float(until[0]) * 3600 + float(until[1]) * 60 + float(until[2])
