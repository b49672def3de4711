# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Small odd media files for the tests, made with PyAV and numpy: nothing is downloaded, nothing is committed.

Every frame of `pattern` carries its own index in its top third (see `read_index`), so that a test can tell *which*
frames came back even after a lossy codec.
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

BITS = 12  # an index is drawn as twelve black or white blocks: 4096 different frames
VIDEO_CODECS = {".gif": ("gif", "rgb8"), ".webm": ("libvpx-vp9", "yuv420p"), ".avi": ("mpeg4", "yuv420p")}
# Options by which x264 writes the same file every time, everywhere: its macroblock tree reads unwritten memory.
STEADY = {"x264-params": "mbtree=0:threads=1"}
AUDIO_CODECS = {".mp3": "libmp3lame", ".wav": "pcm_s16le", ".flac": "flac", ".webm": "libopus"}


def pattern(count: int, height: int = 48, width: int = 96) -> np.ndarray:
    """`count` RGB frames, uint8 (count, height, width, 3): a drifting colour gradient below the frame's index."""
    y, x = np.mgrid[0:height, 0:width]
    time = np.arange(count)[:, None, None]
    channels = [(80 * c + x * (c + 1) + y * (3 - c) + time * (2 + c)) % 256 for c in range(3)]
    frames = np.stack(channels, axis=-1).astype(np.uint8)
    block = width // BITS
    if height >= 24 and block >= 8:
        for bit in range(BITS):
            lit = (np.arange(count) >> bit) & 1
            frames[:, : height // 3, bit * block : (bit + 1) * block] = (lit * 255)[:, None, None, None]
    return frames


def read_index(frames: np.ndarray) -> list[int]:
    """The indices that `pattern` drew into frames (T, H, W, 3)."""
    height, width = frames.shape[1:3]
    block = width // BITS
    level = frames[:, height // 12 : height // 4].mean(axis=(1, 3))  # (T, W)
    middles = np.arange(BITS) * block + block // 2
    lit = np.stack([level[:, middle - block // 4 : middle + block // 4].mean(axis=1) > 127 for middle in middles])
    return (lit.astype(int).T << np.arange(BITS)).sum(axis=1).tolist()


def tone(seconds: float, rate: int = 16000, channels: int = 1, hertz: float = 440.0) -> np.ndarray:
    """A sine of amplitude 0.5, float32 (channels, samples), the same in every channel."""
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)
    return np.tile(wave.astype(np.float32), (channels, 1))


def write_media(
    path: Path,
    frames: Iterable[np.ndarray] | None = None,
    *,
    codec: str | None = None,
    pix_fmt: str | None = None,
    rate: int = 25,
    frame_format: str = "rgb24",
    pts: Sequence[int] | None = None,
    time_base: Fraction | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    rotation: int | None = None,
    matrix: Sequence[int] | None = None,
    audio: np.ndarray | None = None,
    audio_rate: int = 16000,
    audio_codec: str | None = None,
    layout: str = "mono",
    cover: np.ndarray | None = None,
) -> Path:
    """Write `frames` (H, W, 3) and/or `audio`, float32 (channels, samples), to `path` and return `path`.

    The codecs follow the suffix unless given. `options` go to the video encoder; `pts` are in units of `time_base`, by
    default one per frame; `rotation` is the display rotation in degrees counter-clockwise, `matrix` the whole display
    matrix instead; `cover` is a picture attached to sound.
    """
    path = Path(path)
    default_codec, default_pix_fmt = VIDEO_CODECS.get(path.suffix, ("libx264", "yuv420p"))
    with av.open(str(path), "w", options=container_options or {}) as container:
        video: Any = None
        sound: Any = None
        picture: Any = None
        images = iter(() if frames is None else frames)
        image = next(images, None)
        if image is not None:
            video = container.add_stream(codec or default_codec, rate=rate, options=options or {})
            video.height, video.width = image.shape[:2]
            video.pix_fmt = pix_fmt or default_pix_fmt
            if time_base is not None:
                video.codec_context.time_base = time_base
            if rotation is not None:
                video.set_display_rotation(rotation)
            if matrix is not None:
                video.set_display_matrix(matrix)
        if audio is not None:
            name = audio_codec or AUDIO_CODECS.get(path.suffix, "aac")
            sound = container.add_stream(name, rate=audio_rate, layout=layout)
        if cover is not None:
            picture = container.add_stream("mjpeg", rate=1)
            picture.height, picture.width = cover.shape[:2]
            picture.pix_fmt = "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.mux(picture.encode(av.VideoFrame.from_ndarray(cover, format="rgb24")))
        index = 0
        while image is not None:
            frame = av.VideoFrame.from_ndarray(image, format=frame_format)
            frame.pts = index if pts is None else pts[index]
            frame.time_base = time_base or Fraction(1, rate)
            container.mux(video.encode(frame))
            index, image = index + 1, next(images, None)
        if audio is not None:
            for start in range(0, audio.shape[1], 1024):
                piece = np.ascontiguousarray(audio[:, start : start + 1024].T).reshape(1, -1)  # samples side by side
                chunk = av.AudioFrame.from_ndarray(piece, "flt", layout)
                chunk.sample_rate, chunk.pts, chunk.time_base = audio_rate, start, Fraction(1, audio_rate)
                container.mux(sound.encode(chunk))
        for stream in (video, sound, picture):
            if stream is not None:
                container.mux(stream.encode(None))
    return path


def remux(source: Path, path: Path, shift: int = 0, first: int = 0) -> Path:
    """Copy the video packets from number `first` on, times moved by `shift` ticks; in MP4 an edit list hides what
    falls before 0."""
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(old.demux(video=0)):
            if number >= first and packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts + shift, packet.dts + shift, stream
                new.mux(packet)
    return path


def cut(source: Path, path: Path, share: float) -> Path:
    """The first `share` of a file's bytes."""
    content = Path(source).read_bytes()
    path.write_bytes(content[: round(len(content) * share)])
    return path


def spoil(source: Path, path: Path, number: int, keep: int = 0) -> Path:
    """A copy in which one video packet is overwritten but for its first `keep` bytes."""
    content = bytearray(Path(source).read_bytes())
    with av.open(str(source)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][number]
        start = packet.pos or 0
        content[start + keep : start + packet.size] = b"\xff" * (packet.size - keep)
    path.write_bytes(content)
    return path


def hide(source: Path, path: Path, number: int) -> Path:
    """A copy of a VP8 file in which one packet is marked as not to be shown: it gives neither a frame nor an error."""
    content = bytearray(Path(source).read_bytes())
    with av.open(str(source)) as container:
        data = bytes([packet for packet in container.demux(video=0) if packet.size][number])
    content[content.index(data)] &= 0xEF
    path.write_bytes(content)
    return path
