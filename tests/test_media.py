# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Decoding video: every container, odd and damaged files, memory. All files are made by `media_factory`."""

import os
import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from media_factory import cut, hide, pattern, read_index, remux, spoil, tone, write_media

from xemogpt import media_xemogpt as media
from xemogpt.inputs_xemogpt import MediaError, sample_indices
from xemogpt.media_xemogpt import load_audio, load_video

COUNT = 90
SHORT_GOP = {"g": "20"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:scenecut=0:bframes=3"}

# name -> (is it decoded by seeking, how it is written)
CLIPS = {
    "long_gop.mp4": (True, {}),
    "short_gop.mp4": (True, {"options": SHORT_GOP}),
    "open_gop.mp4": (True, {"options": OPEN_GOP}),
    "open_gop.mkv": (True, {"options": OPEN_GOP}),
    "intra_refresh.mp4": (False, {"options": {"x264-params": "intra-refresh=1:keyint=20"}}),
    "short_gop.mov": (True, {"options": SHORT_GOP}),
    "short_gop.mkv": (True, {"options": SHORT_GOP}),
    "vp9.webm": (True, {"options": {"g": "20", "auto-alt-ref": "1", "lag-in-frames": "16", "cpu-used": "5"}}),
    "vp8.webm": (False, {"codec": "libvpx", "options": SHORT_GOP}),
    "hevc.mp4": (True, {"codec": "libx265", "options": {"x265-params": "keyint=20:bframes=4:log-level=none"}}),
    "fragments.mp4": (True, {"options": SHORT_GOP, "container_options": {"movflags": "frag_keyframe+empty_moov"}}),
    "ten_bit.mp4": (True, {"options": SHORT_GOP, "pix_fmt": "yuv420p10le"}),
    "grey.mkv": (True, {"options": SHORT_GOP, "pix_fmt": "gray"}),
    "no_cues.mkv": (True, {"options": SHORT_GOP, "container_options": {"live": "1"}}),
    "raw.h264": (False, {"options": SHORT_GOP}),
    "mpeg4.avi": (False, {"options": {"g": "20", "bf": "2"}}),
    "h264.avi": (False, {"codec": "libx264"}),
    "h264.ts": (False, {"options": SHORT_GOP}),
    "h264.flv": (False, {"options": SHORT_GOP}),
    "mpeg2.mpg": (False, {"codec": "mpeg2video", "options": {"bf": "2"}}),
    "clip.gif": (False, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("media")


@pytest.fixture(scope="module")
def clip(folder):
    """Writes a clip of CLIPS once and returns its path."""

    def write(name: str) -> Path:
        path = folder / name
        return path if path.exists() else write_media(path, pattern(COUNT), **CLIPS[name][1])

    return write


def decode_all(path: Path) -> list[np.ndarray]:
    """Every frame from first to last, without any of the code under test."""
    with av.open(f"file:{path}") as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]


def decode_sampled(path: Path, count: int = 16) -> np.ndarray:
    frames = decode_all(path)
    return np.stack([frames[index] for index in sample_indices(len(frames), count)])


# Which frames


def test_sample_indices_are_a_truncated_linspace():
    assert sample_indices(116, 16).tolist() == [0, 7, 15, 23, 30, 38, 46, 53, 61, 69, 76, 84, 92, 99, 107, 115]
    assert sample_indices(5, 16).tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 4]
    assert sample_indices(1, 3).tolist() == [0, 0, 0]
    assert sample_indices(9, 4).dtype == np.int64
    for bad in ((0, 16), (5, 0)):
        with pytest.raises(ValueError, match="at least 1"):
            sample_indices(*bad)


@pytest.mark.parametrize("name", CLIPS)
def test_frames_are_exactly_those_of_a_full_decode(clip, name, monkeypatch):
    path, fallbacks = clip(name), []
    read_frames = media._read_frames
    monkeypatch.setattr(media, "_read_frames", lambda *args: fallbacks.append(args) or read_frames(*args))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        video = load_video(path)
    np.testing.assert_array_equal(video.frames, decode_sampled(path))
    assert read_index(video.frames) == sample_indices(COUNT, 16).tolist()
    assert not fallbacks if CLIPS[name][0] else len(fallbacks) == 1
    assert video.frames.dtype == np.uint8
    assert video.frames.flags.c_contiguous
    np.testing.assert_allclose(video.timestamps, sample_indices(COUNT, 16) / 25, atol=1e-3)
    assert video.duration == pytest.approx(COUNT / 25, abs=1e-3)


@pytest.mark.parametrize("name", ["short_gop.mp4", "mpeg4.avi"])
@pytest.mark.parametrize("guess", [0, COUNT - 7, COUNT, COUNT + 30])
def test_sequential_decode_does_not_depend_on_the_first_guess(clip, name, guess):
    path = clip(name)
    timeline, frames, damage = media._read_frames(path, guess, 16, 1)
    np.testing.assert_array_equal(media._to_rgb(frames), decode_sampled(path))
    assert (len(timeline.pts), damage) == (COUNT, 0)


@pytest.mark.parametrize("count", [1, 4, 16, 33, 200])
def test_any_number_of_frames(clip, count):
    video = load_video(clip("short_gop.mp4"), num_frames=count)
    assert read_index(video.frames) == sample_indices(COUNT, count).tolist()


def test_fewer_frames_than_asked_for_repeat(folder):
    path = write_media(folder / "five.mp4", pattern(5))
    assert read_index(load_video(path).frames) == sample_indices(5, 16).tolist()


def test_one_frame(folder):
    video = load_video(write_media(folder / "one.mp4", pattern(1)))
    assert video.frames.shape == (16, 48, 96, 3)
    assert not np.ptp(video.frames, axis=0).any()
    assert (set(video.timestamps), video.duration) == ({0.0}, 0.04)


@pytest.mark.parametrize(("name", "codec"), [("vfr.mp4", "libx264"), ("vfr.webm", "libvpx")])
def test_variable_frame_rate(folder, name, codec):
    pts = np.cumsum(np.random.default_rng(0).integers(1, 60, COUNT)).tolist()
    how = {"codec": codec, "pts": pts, "time_base": Fraction(1, 1000), "options": SHORT_GOP}
    video = load_video(write_media(folder / name, pattern(COUNT), **how))
    indices = sample_indices(COUNT, 16)
    assert read_index(video.frames) == indices.tolist()
    np.testing.assert_allclose(video.timestamps, (np.array(pts)[indices] - pts[0]) / 1000, atol=1e-6)


@pytest.mark.parametrize("shift", [-512 * 27, 12800 * 3], ids=["edit list hides 27 frames", "starts at 3 s"])
def test_shifted_times(clip, folder, shift, monkeypatch):
    monkeypatch.delattr(media, "_read_frames")  # both are a matter of seeking
    path = remux(clip("short_gop.mp4"), folder / f"shift{shift}.mp4", shift)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # hidden frames are not missing ones
        video = load_video(path)
    first = 27 if shift < 0 else 0
    assert read_index(video.frames) == (first + sample_indices(COUNT - first, 16)).tolist()
    np.testing.assert_array_equal(video.frames, decode_sampled(path))
    assert video.timestamps[0] == 0
    assert video.duration == pytest.approx((COUNT - first) * 0.04)


@pytest.mark.parametrize("name", ["open_gop.mp4", "hevc.mp4"])
def test_a_video_that_starts_in_mid_stream(clip, folder, name):
    with av.open(str(clip(name))) as container:
        key = [number for number, packet in enumerate(container.demux(video=0)) if packet.is_keyframe][1]
    path = remux(clip(name), folder / f"late_{name}", first=key)
    np.testing.assert_array_equal(load_video(path).frames, decode_sampled(path))


def test_frames_that_share_a_time(folder):
    pts = [4 * number for number in range(COUNT)]  # 2500 frames a second, in a container that counts milliseconds
    how = {"codec": "libx264", "pts": pts, "time_base": Fraction(1, 10000), "options": {"bf": "0"}}
    path = write_media(folder / "fast.mkv", pattern(COUNT), **how)
    assert read_index(load_video(path, COUNT).frames) == list(range(COUNT))


class _CannotSeek:
    def __init__(self, container):
        self.format, self.demux = container.format, container.demux

    def seek(self, time, stream):
        raise av.error.PermissionError(1, "Operation not permitted")


def test_a_file_that_cannot_be_sought_in(clip, monkeypatch):
    make = media._Reader
    monkeypatch.setattr(media, "_Reader", lambda container, stream: make_unseekable(make(container, stream)))

    def make_unseekable(reader):
        reader.container = _CannotSeek(reader.container)
        return reader

    assert read_index(load_video(clip("short_gop.mp4")).frames) == sample_indices(COUNT, 16).tolist()


def test_threads_do_not_change_frames(clip):
    for name in ("short_gop.mp4", "vp9.webm", "hevc.mp4", "mpeg4.avi"):
        one, many = (load_video(clip(name), threads=threads).frames for threads in (1, 4))
        np.testing.assert_array_equal(one, many)


class _ThreadsSeen(torch.utils.data.Dataset):
    def __init__(self, path):
        self.path = path

    def __len__(self):
        return 1

    def __getitem__(self, index):
        seen, open_video = [], media._open_video
        media._open_video = lambda path, threads: seen.append(threads) or open_video(path, threads)
        load_video(self.path)
        media._open_video = open_video
        return seen[0]


def test_one_thread_inside_a_data_loader_worker(clip):
    dataset = _ThreadsSeen(clip("short_gop.mp4"))
    assert dataset[0] == 0
    assert next(iter(torch.utils.data.DataLoader(dataset, num_workers=1))).item() == 1


# What is in a frame


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
@pytest.mark.parametrize("angle", [0, 90, 180, -90])
def test_display_rotation_is_applied(folder, suffix, angle):
    path = write_media(folder / f"turned{angle}.{suffix}", pattern(20), rotation=angle)
    np.testing.assert_array_equal(load_video(path).frames, np.rot90(decode_sampled(path), angle // 90, (1, 2)))


@pytest.mark.parametrize(
    ("abcd", "expected"),
    [
        ((-1, 0, 0, 1), lambda frames: frames[:, :, ::-1]),
        ((1, 0, 0, -1), lambda frames: frames[:, ::-1]),
        ((0, 1, 1, 0), lambda frames: frames.transpose(0, 2, 1, 3)),
    ],
    ids=["left-right", "upside down", "about the diagonal"],
)
def test_mirrored_video(folder, abcd, expected):
    a, b, c, d = (65536 * value for value in abcd)
    path = folder / f"mirror{''.join(map(str, abcd))}.mp4"
    write_media(path, pattern(4), matrix=(a, b, 0, c, d, 0, 0, 0, 1 << 30))
    np.testing.assert_array_equal(load_video(path).frames, expected(decode_sampled(path)))


@pytest.mark.parametrize(
    ("name", "size", "how"),
    [
        ("tiny.mkv", (5, 3), {"codec": "ffv1", "pix_fmt": "bgr0"}),
        ("wide.mkv", (10, 8000), {"codec": "ffv1", "pix_fmt": "bgr0"}),
        ("dot.mov", (1, 1), {"codec": "png", "pix_fmt": "rgb24"}),
    ],
)
def test_odd_sizes_come_back_bit_for_bit(folder, name, size, how):
    frames = pattern(7, *size)
    video = load_video(write_media(folder / name, frames, **how))
    np.testing.assert_array_equal(video.frames, frames[sample_indices(7, 16)])


@pytest.mark.parametrize(
    ("name", "size", "how"),
    [
        ("tiny.mp4", (5, 3), {"codec": "mpeg4"}),
        ("tiny.webm", (5, 3), {}),
        ("tiny.gif", (5, 3), {}),
        ("wide.mp4", (10, 8000), {}),
    ],
)
def test_odd_sizes_in_lossy_codecs(folder, name, size, how):
    grey = np.repeat(pattern(7, *size)[..., :1] // 4 + 90, 3, axis=-1)
    video = load_video(write_media(folder / name, grey, **how))
    assert video.frames.shape == (16, *size, 3)
    assert np.abs(video.frames.astype(int) - grey[sample_indices(7, 16)]).mean() < 25


def test_colours_follow_the_matrix_the_file_names(folder):
    colours = np.zeros((3, 48, 96, 3), np.uint8)
    colours[np.arange(3), ..., np.arange(3)] = 255
    with av.open(str(folder / "bt709.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.codec_context.colorspace = 96, 48, 1
        for index, colour in enumerate(colours):
            frame = av.VideoFrame.from_ndarray(colour).reformat(format="yuv420p", dst_colorspace="ITU709")
            frame.pts = index
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    write_media(folder / "bt601.mp4", colours)
    write_media(folder / "full_range.mp4", colours, pix_fmt="yuvj420p")
    for name in ("bt709.mp4", "bt601.mp4", "full_range.mp4"):
        assert np.abs(load_video(folder / name, 3).frames.astype(int) - colours).max() <= 4, name


def test_black_video(folder):
    assert load_video(write_media(folder / "black.mp4", np.zeros((30, 48, 96, 3), np.uint8))).frames.max() == 0


@pytest.mark.parametrize(("name", "how"), [("a.mov", ("prores_ks", "yuva444p10le")), ("a.png", ("png", "rgba"))])
def test_transparent_pictures_lie_on_white(folder, name, how):
    image = np.zeros((32, 48, 4), np.uint8)
    image[:, 16:32] = (200, 0, 0, 128)
    image[:, 32:] = (200, 0, 0, 255)
    write_media(folder / name, [image], codec=how[0], pix_fmt=how[1], frame_format="rgba")
    shown = load_video(folder / name).frames[5, 8, [4, 24, 44]].astype(int)
    assert np.abs(shown - [[255, 255, 255], [227, 127, 127], [200, 0, 0]]).max() <= 3


def test_transparent_gif_lies_on_white(folder):
    image_module = pytest.importorskip("PIL.Image")
    images = [image_module.new("RGBA", (30, 20), (0, 0, 0, 0)) for _ in range(4)]
    for number, image in enumerate(images):
        image.paste((200, 0, 0, 255), (0, 0, 5 + 5 * number, 20))
    images[0].save(folder / "see.gif", save_all=True, append_images=images[1:], duration=100, disposal=2)
    video = load_video(folder / "see.gif", 4)
    assert [(frame[10] == (255, 255, 255)).all(axis=-1).sum() for frame in video.frames] == [25, 20, 15, 10]
    assert video.duration == pytest.approx(0.4)


def test_a_still_image_is_a_video_of_one_frame(folder):
    image = pattern(1)
    path = write_media(folder / "still.png", image, codec="png", pix_fmt="rgb24")
    np.testing.assert_array_equal(load_video(path).frames, np.repeat(image, 16, axis=0))


def test_frame_size_that_changes_in_mid_stream(folder):
    for name, size in (("small", (48, 96)), ("large", (96, 192))):
        write_media(folder / f"{name}.ts", pattern(10, *size))
    (folder / "grows.ts").write_bytes((folder / "small.ts").read_bytes() + (folder / "large.ts").read_bytes())
    video = load_video(folder / "grows.ts", threads=1)  # with several, FFmpeg has been seen to lose one at the change
    assert video.frames.shape == (16, 48, 96, 3)
    assert read_index(video.frames) == (sample_indices(20, 16) % 10).tolist()


# Damage


@pytest.fixture(scope="module")
def fast_start(folder):
    how = {"options": SHORT_GOP, "container_options": {"movflags": "faststart"}}
    return write_media(folder / "fast.mp4", pattern(COUNT), audio=tone(3.6), **how)


@pytest.mark.parametrize("share", [0.7, 0.4])
def test_cut_mp4_gives_what_it_has_and_warns(folder, fast_start, share):
    path = cut(fast_start, folder / f"cut{share}.mp4", share)
    with pytest.warns(UserWarning, match="cut or damaged"):
        video = load_video(path)
    shown = read_index(video.frames)
    count = shown[-1] + 1
    assert 10 < count < COUNT * (share + 0.1)
    assert shown == sample_indices(count, 16).tolist()
    assert video.duration == pytest.approx(count * 0.04)
    assert 0 < len(load_audio(path)) < 16000 * 3.6 * (share + 0.2)


def test_cut_mp4_without_one_whole_frame(folder, fast_start):
    head = fast_start.read_bytes().index(b"mdat") + 8
    path = folder / "headless.mp4"
    path.write_bytes(fast_start.read_bytes()[: head + 10])
    for load in (load_video, load_audio):
        with pytest.raises(MediaError, match=r"headless\.mp4: (no frame|not one sample)"):
            load(path)


def test_a_frame_that_does_not_decode_is_replaced_by_the_one_before(folder):
    whole = write_media(folder / "p_frames.mp4", pattern(COUNT), options={"g": "20", "bf": "0"})
    frames = load_video(whole, COUNT).frames
    path = spoil(whole, folder / "spoilt.mp4", 45)
    with av.open(str(path)) as container, pytest.raises(av.error.FFmpegError):
        list(container.decode(video=0))
    with pytest.warns(UserWarning, match=r"spoilt\.mp4: the video is cut or damaged; using its 90 readable frames"):
        shown = load_video(path, COUNT).frames
    np.testing.assert_array_equal(shown[:45], frames[:45])
    np.testing.assert_array_equal(shown[45], frames[44])
    np.testing.assert_array_equal(shown[60:], frames[60:])  # from the next key frame on


@pytest.mark.parametrize("name", ["jpeg.mov", "jpeg.avi"])
def test_a_group_that_does_not_decode_is_left_out(folder, name):
    write_media(folder / name, pattern(COUNT), codec="mjpeg", pix_fmt="yuvj420p")
    path = spoil(folder / name, folder / f"spoilt_{name}", 41)
    readable = [number for number in range(COUNT) if number != 41]
    with pytest.warns(UserWarning, match="using its 89 readable frames"):
        shown = read_index(load_video(path).frames)  # 41 was one of the wanted
    assert shown == [readable[index] for index in sample_indices(COUNT - 1, 16)]


@pytest.mark.parametrize("seek", [False, True])
def test_a_packet_without_a_frame(clip, folder, seek, monkeypatch):
    path = hide(clip("vp8.webm"), folder / "hidden.webm", 45)
    if seek:  # as if VP8 were thought to have no such packets
        monkeypatch.setattr(media, "_SEEKABLE_CODECS", {"vp8"})
    expected = decode_sampled(path, COUNT)
    assert set(read_index(expected)) == set(range(COUNT)) - {45}
    np.testing.assert_array_equal(load_video(path, COUNT).frames, expected)


def test_concealed_damage_is_reported(clip, folder):
    path = spoil(clip("short_gop.mp4"), folder / "concealed.mp4", 41, keep=8)
    assert len(decode_all(path)) == COUNT  # no error: the decoder fills in what it misses
    with pytest.warns(UserWarning, match="cut or damaged"):
        load_video(path, COUNT)


def test_damage_that_is_not_looked_at_does_no_harm(clip, folder):
    path = spoil(clip("short_gop.mp4"), folder / "elsewhere.mp4", 45)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_index(load_video(path, 2).frames) == [0, COUNT - 1]


# Memory


def _peak_memory(path: Path) -> int:
    """Most bytes resident while `path` is loaded, beyond those before."""
    Path("/proc/self/clear_refs").write_text("5")
    status = Path("/proc/self/status").read_text()
    before = int(status.split("VmRSS:")[1].split()[0])
    load_video(path, threads=1)
    return 1024 * (int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) - before)


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux")
@pytest.mark.parametrize("name", ["long.mp4", "long.avi"], ids=["seeking", "sequential"])
def test_memory_does_not_grow_with_length(folder, name):
    image = np.repeat(pattern(1, 360, 640), 1, axis=0)[0]
    for count, prefix in ((30, "warm_"), (600, "")):  # 600 decoded frames would be 200 MB
        write_media(
            folder / (prefix + name), (image for _ in range(count)), options={"g": "1000", "preset": "ultrafast"}
        )
    load_video(folder / f"warm_{name}", threads=1)
    assert _peak_memory(folder / name) < 60e6


def test_ten_minutes_take_numbers_only(folder):
    image = np.zeros((16, 16, 3), np.uint8)
    path = write_media(folder / "ten_minutes.mp4", (image for _ in range(15000)), options={"preset": "ultrafast"})
    load_video(path)
    tracemalloc.start()
    video = load_video(path)
    used = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert video.duration == 600
    assert used < 15000 * 60  # the table of times and its sorted copies; a tuple per packet alone would be more


# A clip from the wild


def test_the_real_clip(shared):
    path = shared / "real" / "sample_00000007.mp4"
    video = load_video(path)
    assert video.frames.shape == (16, 378, 672, 3)
    np.testing.assert_array_equal(video.frames, decode_sampled(path))
    np.testing.assert_allclose(video.timestamps, sample_indices(116, 16) / 25)
    assert video.duration == pytest.approx(4.64)
