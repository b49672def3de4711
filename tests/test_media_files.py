# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Files that cannot be read, and what `probe` says of those that can."""

import errno
import io
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
from media_factory import cut, pattern, read_index, tone, write_media

from xemogpt import media_xemogpt
from xemogpt.inputs_xemogpt import MediaError
from xemogpt.media_xemogpt import load_audio, load_video, probe


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return write_media(tmp_path_factory.mktemp("files") / "silent.mp4", pattern(30))


BAD_FILES = {
    "missing.mp4": (lambda path: None, FileNotFoundError, "no such file"),
    "folder.mp4": (Path.mkdir, IsADirectoryError, "is a folder"),
    "empty.mp4": (lambda path: path.write_bytes(b""), MediaError, "is empty"),
    "text.mp4": (lambda path: path.write_text("hello " * 1000), MediaError, "is no media file"),
    "noise.mp4": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(5000)), MediaError, "is no media"),
    "subtitle.mp4": (
        lambda path: path.write_text("1\n00:00:01,000 --> 00:00:02,000\nhi\n"),
        MediaError,
        "is no media",
    ),
    "readme.txt": (lambda path: path.write_text("# Read me\n" * 99), MediaError, "is no media"),
    "list.mp4": (lambda path: path.write_text("ffconcat version 1.0\nfile other.mp4\n"), MediaError, "is no media"),
    "list.m3u8": (lambda path: path.write_text("#EXTM3U\n#EXTINF:1,\nother.mp4\n"), MediaError, "is no media"),
    "fifo.mp4": (os.mkfifo, MediaError, "not a regular file"),
    "playlist.mp4": (
        lambda path: path.write_text("ffconcat version 1.0\nfile http://127.0.0.1:9/x.mp4\n"),
        MediaError,
        "is no media file",
    ),
}


@pytest.mark.parametrize("read", [probe, load_video, load_audio])
@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files(tmp_path, name, read):
    make, error, message = BAD_FILES[name]
    make(tmp_path / name)
    with pytest.raises(error, match=message) as caught:
        read(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("read", [probe, load_video, load_audio])
def test_mp4_without_its_index(clip, tmp_path, read):
    with pytest.raises(MediaError, match=r"half\.mp4: is a cut or damaged MP4"):
        read(cut(clip, tmp_path / "half.mp4", 0.5))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_unreadable_file(clip):
    with tempfile.TemporaryDirectory() as name:
        path = Path(name, "secret.mp4")
        path.write_bytes(clip.read_bytes())
        path.chmod(0)
        Path(name).chmod(0o755)
        user = os.geteuid()
        if user == 0:  # root may read everything: be somebody else for a moment
            os.seteuid(65534)
        try:
            with pytest.raises(PermissionError, match=r"secret\.mp4: no permission"):
                probe(path)
        finally:
            os.seteuid(user)


@pytest.mark.parametrize("name", ["clip.mp4", "clip.mkv", "clip.wav"])
@pytest.mark.parametrize("good", [0, 20000])
def test_a_system_that_fails_is_no_damage(tmp_path, monkeypatch, name, good):
    """FFmpeg by itself takes what came before for the whole clip, with a warning at most."""
    path = tmp_path / name
    if name == "clip.wav":
        write_media(path, audio=tone(4))
    else:
        write_media(path, np.random.default_rng(0).integers(0, 255, (25, 96, 160, 3), np.uint8))
    assert path.stat().st_size > 100000

    class Failing(io.FileIO):
        def read(self, size=-1):
            if self.tell() + max(size, 0) > good:
                raise OSError(errno.EIO, "Input/output error")
            return super().read(size)

    monkeypatch.setattr(media_xemogpt, "open", lambda path, *_, **__: Failing(path), raising=False)
    with pytest.raises(OSError, match=r"Input/output error: '.*clip\....'") as caught:
        (load_audio if name == "clip.wav" else load_video)(path)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(path))


def test_a_cut_matroska_is_damage(clip, tmp_path):
    """Of which FFmpeg says what it says of a disk that fails: EIO."""
    whole = write_media(tmp_path / "whole.mkv", pattern(30))
    with pytest.raises(MediaError, match=r"cut\.mkv: is no media file.*Input/output error"):
        load_video(cut(whole, tmp_path / "cut.mkv", 0.02))


def test_names_that_look_like_something_else(clip, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a: b%d?#.mp4", "http:x.mp4", "-i.mp4", "\u8868\u60c5 \U0001f600.mp4", "it's.mp4"):
        Path(name).write_bytes(clip.read_bytes())
        assert read_index(load_video(name, 2).frames) == [0, 30 - 1]


def test_without_pyav(clip):
    code = (
        "import sys; sys.modules['av'] = None\n"
        "from xemogpt import media_xemogpt as m\n"
        "assert m.resample([0.5, 0.25], 16000, 16000).tolist() == [0.5, 0.25]\n"
        "calls = [lambda: m.load_video(sys.argv[1]), lambda: m.probe(sys.argv[1])]\n"
        "for call in [*calls, lambda: m.resample([0.5], 8000, 16000)]:\n"
        "    try: call()\n"
        "    except ImportError as error: assert 'pip install av' in str(error), error\n"
        "    else: raise AssertionError\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", code, clip], check=True, env=environment)


def test_probe(clip, tmp_path):
    both = write_media(tmp_path / "both.mp4", pattern(50), audio=tone(2, 44100), audio_rate=44100)
    info = probe(both)
    assert (info.path, info.has_video, info.has_audio) == (str(both), True, True)
    assert (info.duration, info.frame_rate, info.sampling_rate) == (pytest.approx(2, abs=0.05), 25, 44100)
    silent = probe(clip)
    assert (silent.has_video, silent.has_audio, silent.sampling_rate) == (True, False, None)
    with pytest.raises(MediaError, match=r"silent\.mp4: has no audio stream"):
        load_audio(clip)
