# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Frames held in memory, their resize, and subtitles."""

from pathlib import Path

import numpy as np
import pytest
import torch
from media_factory import pattern

from xemogpt.inputs_xemogpt import MediaError, as_frames, read_subtitle, resize_frames, sample_indices

FRAMES = pattern(5, 20, 30)
GREY = FRAMES[..., 0]
FLOATS = (FRAMES / 255).astype(np.float32)


def pil(frames):
    image = pytest.importorskip("PIL.Image")
    return [image.fromarray(frame) for frame in frames]


# Frames


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda: FRAMES, FRAMES),
        (lambda: list(FRAMES), FRAMES),
        (lambda: FRAMES.tolist(), FRAMES),
        (lambda: pil(FRAMES), FRAMES),
        (lambda: pil(GREY), np.repeat(GREY[..., None], 3, -1)),
        (lambda: [torch.from_numpy(frame) for frame in FRAMES], FRAMES),
        (lambda: [frame.transpose(2, 0, 1) for frame in FRAMES], FRAMES),
        (lambda: torch.from_numpy(FRAMES).permute(0, 3, 1, 2), FRAMES),
        (lambda: FRAMES.transpose(0, 3, 1, 2), FRAMES),
        (lambda: FRAMES[:, ::-1, ::-1], FRAMES[:, ::-1, ::-1]),
        (lambda: FRAMES.astype(np.int64), FRAMES),
        (lambda: GREY, np.repeat(GREY[..., None], 3, -1)),
        (lambda: GREY[..., None], np.repeat(GREY[..., None], 3, -1)),
        (lambda: FLOATS, FRAMES),
        (lambda: FLOATS.astype(np.float64), FRAMES),
        (lambda: torch.from_numpy(FLOATS).requires_grad_(), FRAMES),
        (lambda: FLOATS + 5e-4 * np.where(FLOATS < 0.5, -1, 1), FRAMES),
        (lambda: np.zeros((2, 4, 4, 3), np.float16), np.zeros((2, 4, 4, 3), np.uint8)),
        (lambda: torch.ones(2, 3, 4, 4, dtype=torch.bfloat16), np.full((2, 4, 4, 3), 255, np.uint8)),
    ],
)
def test_as_frames(make, expected):
    frames = as_frames(make())
    assert frames.dtype == np.uint8
    assert frames.flags.c_contiguous
    np.testing.assert_array_equal(frames, expected)


def test_as_frames_samples_before_it_converts():
    touched = []

    class Image:
        def __init__(self, number):
            self.number = number

        def convert(self, mode):
            touched.append((self.number, mode))
            return FRAMES[self.number % 5]

    frames = as_frames([Image(number) for number in range(100)], num_frames=4)
    assert touched == [(number, "RGB") for number in (0, 33, 66, 99)]
    np.testing.assert_array_equal(frames, FRAMES[[0, 3, 1, 4]])
    for video in (FLOATS, list(FLOATS), torch.from_numpy(FLOATS)):
        np.testing.assert_array_equal(as_frames(video, num_frames=16), FRAMES[sample_indices(5, 16)])


@pytest.mark.parametrize(
    ("video", "message"),
    [
        ([], "holds no pixel"),
        (np.zeros((0, 4, 4, 3), np.uint8), "holds no pixel"),
        (np.zeros((2, 0, 4, 3), np.uint8), "holds no pixel"),
        ([FRAMES[0], FRAMES[0][:10]], "several shapes"),
        ([[[1, 2], [3]], [[1], [2]]], "uneven lengths"),
        (FRAMES[0], "single image a leading axis"),
        (GREY[0], "single image a leading axis"),
        (FRAMES[None], "is not"),
        (np.zeros((2, 8, 8, 4), np.uint8), "is not"),
        (np.float32(0), "is not"),
        (np.where(FLOATS > 0.9, np.nan, FLOATS), "NaN or infinite"),
        (np.where(FLOATS > 0.9, -np.inf, FLOATS), "NaN or infinite"),
        (FRAMES.astype(np.float32), "divide 0..255 by 255"),
        (FLOATS * 2 - 1, "undo a normalisation"),
        (FRAMES.astype(np.int32) * 2, "whole numbers from 0 to 510"),
        (FRAMES.astype(np.int8), "whole numbers from -"),
        (FRAMES > 9, "no known scale"),
        (FRAMES.astype(complex), "no known scale"),
        (["a.png", "b.png"], "is not"),
    ],
)
@pytest.mark.parametrize("num_frames", [None, 16])
def test_bad_frames(video, message, num_frames):
    with pytest.raises(ValueError, match=message) as caught:
        as_frames(video, num_frames)
    assert "\n" not in str(caught.value)


# Resize

SIZES = [(378, 672), (672, 378), (1080, 1920), (224, 224), (225, 224), (100, 100), (48, 64), (5, 3), (1, 1), (10, 150)]


def smooth(height, width, count=2):
    """Frames with structure at all scales, as photographs have; not the noise that no two resizers agree on."""
    generator = torch.Generator().manual_seed(height * 10007 + width)
    layers = [torch.rand(count, 3, 2 + 3 * level, 2 + 4 * level, generator=generator) / level for level in (1, 3, 9)]
    total = sum(torch.nn.functional.interpolate(layer, (height, width), mode="bilinear") for layer in layers)
    return (total / total.max() * 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def resize_whole(frames, size, crop):
    """The same in one call, with the whole resized picture in memory."""
    height, width = frames.shape[1:3]
    short = min(height, width)
    target = [size if edge == short else int(size * edge / short) for edge in (height, width)]
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    pixels = torch.nn.functional.interpolate(pixels, target, mode="bicubic", antialias=True)
    top, left = (int((edge - crop) / 2) for edge in target)
    return pixels[:, :, top : top + crop, left : left + crop]


@pytest.mark.parametrize("shape", SIZES)
@pytest.mark.parametrize(("size", "crop"), [(224, 224), (64, 48), (37, 31)])
def test_leaving_out_what_the_crop_drops_changes_nothing(shape, size, crop):
    frames = smooth(*shape)
    pixels = resize_frames(frames, size, crop)
    assert (pixels.shape, pixels.dtype) == ((2, 3, crop, crop), torch.uint8)
    assert pixels.is_contiguous()
    assert torch.equal(pixels, resize_whole(frames, size, crop))
    assert torch.equal(pixels, resize_frames(torch.from_numpy(frames), size, crop))


@pytest.mark.parametrize("shape", [(40, 1200), (1200, 40), (3, 600), (600, 3)])
def test_very_long_pictures(shape):
    frames = smooth(*shape)
    difference = resize_frames(frames, 224, 224).int() - resize_whole(frames, 224, 224).int()
    assert difference.abs().max() <= (2 if shape[0] > shape[1] else 0)


@pytest.mark.parametrize("shape", SIZES)
def test_resize_gives_the_pixels_of_the_clip_processor(shape):
    pytest.importorskip("PIL")
    from transformers import CLIPImageProcessorPil

    frames = smooth(*shape)
    processor = CLIPImageProcessorPil(do_normalize=False, do_rescale=False, do_convert_rgb=False)
    theirs = processor(list(frames), input_data_format="channels_last", return_tensors="np")["pixel_values"]
    difference = resize_frames(frames, 224, 224).numpy().astype(int) - theirs
    assert np.abs(difference).max() <= 2
    assert np.abs(difference).mean() < 0.6


@pytest.mark.parametrize(("shape", "size", "crop"), [((40, 60), 20, 33), ((40, 60), 20, 24), ((60, 40), 21, 32)])
def test_a_crop_beyond_the_picture_is_padded_as_the_clip_processor_does(shape, size, crop):
    frames = smooth(*shape)
    pixels = resize_frames(frames, size, crop)
    long = int(size * 60 / 40)
    inner = resize_whole(frames, size, size) if crop > long else None
    height, width = (size, long) if shape[0] < shape[1] else (long, size)
    top, left = max(0, (crop - height) // 2), max(0, (crop - width) // 2)
    assert not pixels[:, :, :top].any()
    assert not pixels[..., :left].any()
    assert not pixels[:, :, top + min(height, crop) :].any()
    assert not pixels[..., left + min(width, crop) :].any()
    if inner is not None:
        centre = pixels[:, :, top : top + height, left : left + width]
        start = [(edge - size) // 2 for edge in (height, width)]
        assert torch.equal(centre[:, :, start[0] : start[0] + size, start[1] : start[1] + size], inner)


def test_an_8000_by_10_picture_takes_little_memory():
    for shape in ((10, 8000), (8000, 10)):
        frames = smooth(*shape, count=16)
        with torch.profiler.profile(profile_memory=True) as profile:
            pixels = resize_frames(frames, 224, 224)
        assert pixels.shape == (16, 3, 224, 224)
        largest = max(event.self_cpu_memory_usage for event in profile.events())
        assert largest < 200e6  # 179200 x 224 pixels of 16 frames would be 1900 MB


@pytest.mark.parametrize(
    ("frames", "size", "crop", "message"),
    [
        (FLOATS, 224, 224, "use as_frames"),
        (FRAMES[0], 224, 224, "use as_frames"),
        (FRAMES.transpose(0, 3, 1, 2), 224, 224, "use as_frames"),
        (FRAMES[:0], 224, 224, "use as_frames"),
        (FRAMES, 0, 224, "at least 1"),
        (FRAMES, 224, 0, "at least 1"),
    ],
)
def test_bad_resize(frames, size, crop, message):
    with pytest.raises(ValueError, match=message):
        resize_frames(frames, size, crop)


# Subtitles

SRT = """1
00:00:01,000 --> 00:00:02,000
Hello <i>there</i>,

2
00:00:02,500 --> 00:00:04,000 X1:40 X2:600
{\\an8}I&#39;m &amp; you&nbsp;are <b><font color="#fff">so</font></b> angry!
42

3
00:00:05,000 --> 00:00:06,000
I <3 you\\Nreally
"""
VTT = """WEBVTT - a title
Kind: captions

STYLE
::cue { color: red }

NOTE
00:00:00.000 --> 00:00:09.000 is no cue
second line

intro
00:01.000 --> 00:02.000 align:start
<v Anna Maria>Why?</v> <c.yellow>Because</c>

NOTE one line

00:00:03.000 --> 00:00:04.000
NOTE this is said
\u4f60\u597d \U0001f622 \u0645\u0631\u062d\u0628\u0627
"""
ROLLING = """WEBVTT

00:00:00.000 --> 00:00:02.000
~
I<00:00:00.500><c> never</c>

00:00:02.000 --> 00:00:02.010
I never
~

00:00:02.010 --> 00:00:04.000
I never
said<00:00:03.000><c> that</c>

00:00:04.000 --> 00:00:04.010
said that
~

00:00:04.010 --> 00:00:06.000
said that
to you
""".replace("~", " ")


def write(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("a.srt", SRT, "Hello there, I'm & you are so angry! 42 I <3 you really"),
        ("b.srt", SRT.replace("\n", "\r\n"), "Hello there, I'm & you are so angry! 42 I <3 you really"),
        ("c.SRT", SRT.encode("utf-8-sig"), "Hello there, I'm & you are so angry! 42 I <3 you really"),
        ("d.srt", SRT.encode("utf-16"), "Hello there, I'm & you are so angry! 42 I <3 you really"),
        ("e.srt", "1\n0:00:01,5 --> 0:00:02,5\nTwo\n\nparts\n2\n0:00:03,5 --> 0:00:04,5\nNo\n", "Two parts No"),
        ("f.srt", "00:00:01,000 --> 00:00:02,000\nNo.\n\n00:00:02,100 --> 00:00:03,000\nNo.\n", "No. No."),
        ("g.srt", "1\n00:00:01,000 --> 00:00:02,000\n\n2\n00:00:02,000 --> 00:00:03,000\n<i></i>\n", ""),
        ("a.vtt", VTT, "Why? Because NOTE this is said \u4f60\u597d \U0001f622 \u0645\u0631\u062d\u0628\u0627"),
        ("b.vtt", ROLLING, "I never said that to you"),
        ("c.vtt", "WEBVTT\n", ""),
        ("a.txt", "\ufeff  Two \n\n lines <i>as</i> they are ", "Two lines <i>as</i> they are"),
        ("empty.srt", "", ""),
        ("blank.vtt", " \n\n", ""),
        ("empty.txt", "", ""),
    ],
)
def test_subtitle_files(tmp_path, name, content, expected):
    path = write(tmp_path, name, content)
    assert read_subtitle(path) == expected
    assert read_subtitle(str(path)) == expected


@pytest.mark.parametrize(
    "text",
    ["", "Don't go!", "missing.txt", "what is a.srt file?", "1\n00:00\nlast line.srt", SRT, "x" * 100000, "\0.txt"],
)
def test_text_is_returned_as_it_is(text):
    assert read_subtitle(text) == text


def test_no_subtitle():
    assert read_subtitle(None) == ""


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("missing.srt", None, FileNotFoundError, "no such file"),
        ("missing.vtt", None, FileNotFoundError, "no such file"),
        ("gbk.srt", "1\n00:00:01,000 --> 00:00:02,000\n\u4f60\u597d\n".encode("gb18030"), MediaError, "is not UTF-8"),
        ("latin.txt", b"d\xe9j\xe0 vu", MediaError, "is not UTF-8"),
        ("prose.srt", "Just words.", MediaError, "holds no subtitle cue"),
        ("prose.vtt", "Just words.", MediaError, "holds no subtitle cue"),
    ],
)
def test_bad_subtitle_files(tmp_path, name, content, error, message):
    path = tmp_path / name if content is None else write(tmp_path, name, content)
    for value in (path, str(path)):
        with pytest.raises(error, match=message) as caught:
            read_subtitle(value)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_other_paths(tmp_path):
    with pytest.raises(MediaError, match="is no subtitle file"):
        read_subtitle(write(tmp_path, "a.ass", "Dialogue: hi"))
    with pytest.raises(FileNotFoundError):
        read_subtitle(tmp_path / "missing.txt")
    (tmp_path / "folder.srt").mkdir()
    with pytest.raises(IsADirectoryError):
        read_subtitle(tmp_path / "folder.srt")
