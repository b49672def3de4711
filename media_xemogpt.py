# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Reading a clip: video frames and sound from files, sound also from arrays, by PyAV (FFmpeg) alone.

Files and arrays end in the same shapes: frames are uint8 (T, H, W, 3) RGB, sound is float32 (L,) mono. What cannot be
read raises a one-line error that names the file, says what is wrong and what to do: `MediaError` (a `ValueError`) for
what is in a file; `FileNotFoundError`, `IsADirectoryError` or `PermissionError` for the file itself, and any other
`OSError`, with its path, where the system fails while it is read.
"""

import math
import os
import warnings
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

try:
    import av
except ImportError:  # texts, frames in memory and sound at the right rate need none of it
    av = None  # type: ignore[assignment]

from .inputs_xemogpt import MediaError, as_array, check_file, is_path, sample_indices

# Here one packet is one frame with a time of its own, and the demuxer can seek to a time. Not so elsewhere (avi has no
# presentation times, vp8 has hidden frames, mpeg-ts splits fields, gif cannot seek): decoded from the beginning.
_MP4 = "mov,mp4,m4a,3gp,3g2,mj2"
_SEEKABLE_FORMATS = {_MP4, "matroska,webm"}
_SEEKABLE_CODECS = {"h264", "hevc", "vp9", "av1", "mjpeg", "prores", "dnxhd", "ffv1"}
# What a file may be. Others play text as pictures (tty) or open further files on their own (concat, hls, dash).
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,flv,asf,mpeg,mpegts,mpegvideo,m4v,h264,hevc,av1,obu,ivf,mjpeg,mxf,nut,"
    "dv,rm,yuv4mpegpipe,ogg,wav,w64,mp3,aac,flac,aiff,caf,au,ac3,eac3,amr,ape,wv,tta,image2,apng,webp,png_pipe,"
    "jpeg_pipe,webp_pipe,bmp_pipe,tiff_pipe,gif_pipe"
)
_NO_TIME = -(2**63)  # FFmpeg's own mark


@dataclass(frozen=True)
class MediaInfo:
    """What a file's header says: `duration` of all and of its sound alone in seconds, `sampling_rate` of its sound in
    Hz; None where unknown."""

    path: str
    has_video: bool
    has_audio: bool
    duration: float | None
    frame_rate: float | None
    sampling_rate: int | None
    audio_duration: float | None = None


@dataclass(frozen=True)
class VideoClip:
    """Sampled frames, uint8 (T, H, W, 3) RGB; their `timestamps`, float64 (T,), in seconds after the video's first
    frame; `duration` in seconds from there to the end of the last frame that is really in the file."""

    frames: np.ndarray
    timestamps: np.ndarray
    duration: float


def probe(path: str | os.PathLike) -> MediaInfo:
    """Read a file's header, cheaply. An attached cover picture is no video; a still image is a video of one frame.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to open.
        MediaError: an empty file, not a media file, or neither a video nor an audio stream.
    """
    with _open(path) as container:
        video, audio = _video_stream(container), _audio_stream(container)
        if video is None and audio is None:
            raise MediaError(f"{path}: has no video or audio stream that can be decoded; give another file")
        rate = video.average_rate if video is not None else None
        return MediaInfo(
            path=os.fspath(path),
            has_video=video is not None,
            has_audio=audio is not None,
            duration=container.duration / av.time_base if container.duration else None,
            frame_rate=float(rate) if rate else None,
            sampling_rate=audio.codec_context.sample_rate if audio is not None else None,
            audio_duration=_seconds(container, audio) if audio is not None else None,
        )


@contextmanager
def _open(path: str | os.PathLike) -> Iterator[Any]:
    """An open PyAV container; all that can be wrong with a path or a header is said here.

    FFmpeg reads through Python's file, so that a disk or a network that fails ends in the system's own OSError, with
    the path. By itself it says of a WAV that ends there nothing at all, and EIO of a cut Matroska file, too.
    """
    if av is None:
        raise ImportError(f"{path}: reading media files needs PyAV; run: pip install av")
    try:
        head = check_file(path)
        if not head:
            raise MediaError(f"{path}: the file is empty (0 bytes); fetch or export it again")
        with open(os.fsdecode(path), "rb", buffering=0) as file, _container(file, path, head) as container:
            yield container
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


def _container(file: Any, path: str | os.PathLike, head: bytes) -> Any:
    """`file` as a PyAV container; a MediaError where FFmpeg can make nothing of it."""
    try:
        # With these no playlist reaches another file or the network.
        options = {"format_whitelist": _FORMATS, "protocol_whitelist": "none"}
        return av.open(file, options=options, metadata_errors="replace")
    except (av.error.FFmpegError, ValueError) as error:
        what = "is no media file that FFmpeg can read"
        if head[4:8] == b"ftyp":
            what = "is a cut or damaged MP4 without its index (moov)"
        detail = getattr(error, "strerror", None) or error
        raise MediaError(f"{path}: {what}; fetch it again or convert it with ffmpeg ({detail})") from error


def _video_stream(container: Any) -> Any:
    pictures = av.stream.Disposition.attached_pic | av.stream.Disposition.timed_thumbnails
    streams = (s for s in container.streams.video if s.codec_context is not None and not s.disposition & pictures)
    return next(streams, None)


def _audio_stream(container: Any) -> Any:
    return next((s for s in container.streams.audio if s.codec_context is not None), None)


def _seconds(container: Any, stream: Any) -> float | None:
    """How long a stream says it is, or else its whole file."""
    if stream.duration:
        return float(stream.duration * stream.time_base)
    return container.duration / av.time_base if container.duration else None


class _Reader:
    """One stream of an open container: its packets, its frames. Damage is counted, it does not end the reading."""

    def __init__(self, container: Any, stream: Any):
        self.container, self.stream, self.codec, self.damage = container, stream, stream.codec_context, 0
        for other in container.streams:  # spares reading the sound while looking at the pictures
            if other is not stream:
                other.discard = av.stream.Discard.all

    def packets(self) -> Iterator[Any]:
        """Packets in file order from where the container stands."""
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                self.damage += 1
                return
            if packet is None:
                return
            if packet.is_corrupt:  # cut short by the end of the file
                self.damage += 1
            elif packet.size:  # the packet that marks the end of a stream is empty
                yield packet

    def decode(self, packet: Any) -> list[Any]:
        """The frames that `packet` completes, in presentation order; None drains the decoder."""
        try:
            frames = self.codec.decode(packet)
        except av.error.FFmpegError:
            self.damage += 1
            return []
        self.damage += sum(frame.is_corrupt for frame in frames)
        return frames

    def frames(self) -> Iterator[Any]:
        for packet in self.packets():
            yield from self.decode(packet)
        yield from self.decode(None)


@dataclass(frozen=True)
class _Timeline:
    """Sorted presentation times `pts` of a video's frames, int64 (N,) in ticks of `tick` seconds; `last` is the length
    of the last frame in ticks; `keys` are the sorted times of the key frames, empty where seeking is not reliable."""

    pts: np.ndarray
    last: int
    tick: float
    keys: np.ndarray

    @classmethod
    def of(cls, pts: array, last: int, stream: Any, keys: array | tuple = ()) -> "_Timeline":
        rate, times = float(stream.average_rate or stream.guessed_rate or 25), np.sort(np.array(pts, np.int64))
        if not len(times) or times[0] == _NO_TIME:  # a raw stream: count frames instead
            return cls(np.arange(len(times)), 1, 1 / rate, np.zeros(0, np.int64))
        tick = float(stream.time_base)
        return cls(times, last or round(1 / rate / tick), tick, np.sort(np.array(keys, np.int64)))


def load_video(path: str | os.PathLike, num_frames: int = 16, threads: int | None = None) -> VideoClip:
    """Decode `num_frames` frames spread evenly over a video file, upright (its display matrix is applied).

    They are the frames that a full decode has at `sample_indices`. Where the container allows it only the groups of
    pictures that hold one are decoded: a pass over the packets, without decoding, finds all presentation times, then
    there is one seek per key frame. Memory: the wanted frames, and 8 bytes for every frame of the file. Transparent
    pictures are laid on white, frames of another size than the first are scaled to it.

    Args:
        threads: decoder threads; by default all cores, but one inside a `DataLoader` worker.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to open.
        MediaError: not a media file, no video stream, or not one frame that decodes.

    Warns:
        UserWarning: the file is cut or damaged, and what decodes was used.
    """
    if threads is None:
        threads = 1 if torch.utils.data.get_worker_info() is not None else 0
    with _open_video(path, threads) as reader:
        timeline = _scan(reader)
        frames, damage = _seek_frames(reader, timeline, num_frames), reader.damage
    if frames is None:
        timeline, frames, more = _read_frames(path, len(timeline.pts), num_frames, threads)
        damage += more
    count = len(timeline.pts)
    if damage:
        warnings.warn(f"{path}: the video is cut or damaged; using its {count} readable frames", stacklevel=2)
    seconds = (timeline.pts - timeline.pts[0]) * timeline.tick
    duration = float(seconds[-1] + timeline.last * timeline.tick)
    return VideoClip(_to_rgb(frames), seconds[sample_indices(count, num_frames)], duration)


@contextmanager
def _open_video(path: str | os.PathLike, threads: int) -> Iterator[_Reader]:
    with _open(path) as container:
        stream = _video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: has no video stream that can be decoded; give it as audio, or another file")
        stream.codec_context.thread_type, stream.codec_context.thread_count = "AUTO", threads
        yield _Reader(container, stream)


def _scan(reader: _Reader) -> _Timeline:
    """All presentation times, by demuxing alone; only numbers are kept."""
    pts, keys, last, latest, count = array("q"), array("q"), 0, _NO_TIME, 0
    for packet in reader.packets():
        count += 1
        time = _NO_TIME if packet.pts is None else packet.pts
        if packet.is_keyframe:
            keys.append(time)  # even if an edit list hides it: frames that are shown may build on it
        if not packet.is_discard:
            pts.append(time)
            if time >= latest:
                latest, last = time, packet.duration or 0
    if reader.container.format.name == _MP4:  # its index also names packets beyond the end of a cut file
        reader.damage += max(0, len(reader.stream.index_entries) - count)
    timeline = _Timeline.of(pts, last, reader.stream, keys)
    reliable = (
        reader.container.format.name in _SEEKABLE_FORMATS
        and reader.codec.codec.canonical_name in _SEEKABLE_CODECS
        and len(timeline.keys) > 0
        and timeline.keys[0] <= timeline.pts[0]
        and np.all(np.diff(timeline.pts) > 0)
    )
    return timeline if reliable else replace(timeline, keys=timeline.keys[:0])


def _seek_frames(reader: _Reader, timeline: _Timeline, num_frames: int) -> list[Any] | None:
    """The frames at `sample_indices`, by one seek per key frame; None where seeking does not give exactly these."""
    if not len(timeline.keys):
        return None
    targets = timeline.pts[sample_indices(len(timeline.pts), num_frames)]
    starts = timeline.keys[np.searchsorted(timeline.keys, targets, side="right") - 1]
    found: dict[int, Any] = {}
    for start in np.unique(starts).tolist():
        group = _decode_group(reader, start, set(targets[starts == start].tolist()))
        if group is None:
            return None
        found |= group
    return [found[time] for time in targets.tolist()]


def _decode_group(reader: _Reader, start: int, wanted: set[int]) -> dict[int, Any] | None:
    """Frames by time, decoded from the key frame at `start` until all `wanted` are there. One that does not decode is
    replaced by the good one before it. None if one is missing without an error, wherever the demuxer has landed."""
    damage, unsent, skips = reader.damage, set(wanted), reader.codec.codec.canonical_name == "h264"
    found: dict[int, Any] = {}

    def keep(frames: list[Any]) -> None:  # in presentation order, so the last one not after a time stays
        for frame in frames:
            found.update((time, frame) for time in wanted if frame.pts is not None and frame.pts <= time)

    try:
        reader.container.seek(start, stream=reader.stream)
    except av.error.FFmpegError:
        return None
    for packet in reader.packets():
        if skips:  # of the unwanted frames only those are decoded that others are predicted from
            reader.codec.skip_frame = "DEFAULT" if packet.pts in wanted else "NONREF"
        keep(reader.decode(packet))
        unsent.discard(packet.pts)
        if not unsent:
            break
    keep(reader.decode(None))  # what has been sent comes out without decoding further
    exact = all(time in found and found[time].pts == time for time in wanted)
    return found if exact or (reader.damage > damage and len(found) == len(wanted)) else None


def _read_frames(
    path: str | os.PathLike, guess: int, num_frames: int, threads: int
) -> tuple[_Timeline, list[Any], int]:
    """The same by decoding everything; also counts the damage. How many frames there are is known at the end only: the
    number of packets is a `guess`, and where it was wrong the file is decoded again."""
    while True:
        wanted = sample_indices(max(guess, 1), num_frames).tolist()
        pts, last, kept = array("q"), 0, {}
        with _open_video(path, threads) as reader:
            for index, frame in enumerate(reader.frames()):
                pts.append(_NO_TIME if frame.pts is None else frame.pts)
                last = frame.duration or last
                if index in wanted:
                    kept[index] = frame
            if len(pts) == guess > 0:
                return _Timeline.of(pts, last, reader.stream), [kept[index] for index in wanted], reader.damage
        if not pts:
            raise MediaError(f"{path}: no frame of its video stream can be decoded; fetch it again or convert it")
        guess, threads = len(pts), 1  # with one thread the next pass and the one after it cannot differ


def _to_rgb(frames: list[Any]) -> np.ndarray:
    """Decoded frames -> uint8 (T, H, W, 3), upright, all of the first one's size."""
    first = frames[0]
    picture: np.ndarray
    pictures = np.empty((0, 0, 0, 0), np.uint8)
    reformat = av.video.reformatter.VideoReformatter().reformat  # one scaler for all: each takes megabytes
    for index, frame in enumerate(frames):
        if index and frame is frames[index - 1]:
            pictures[index] = pictures[index - 1]
            continue
        if frame.format.name == "pal8" or any(component.is_alpha for component in frame.format.components):
            rgba = reformat(frame, first.width, first.height, "rgba").to_ndarray().astype(np.uint16)
            colour, alpha = rgba[..., :3], rgba[..., 3:]
            picture = ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
        else:
            picture = reformat(frame, first.width, first.height, "rgb24").to_ndarray()
        picture = _upright(picture, first.side_data.get("DISPLAYMATRIX"))
        if index == 0:
            pictures = np.empty((len(frames), *picture.shape), np.uint8)
        pictures[index] = picture
    return pictures


def _upright(picture: np.ndarray, matrix: Any) -> np.ndarray:
    """Turn (H, W, 3) as the display matrix [a b u; c d v; x y w] asks, that is, show a pixel (p, q) at
    (a p + c q, b p + d q). Quarter turns and mirrorings are followed, other angles to the nearest of them."""
    if matrix is None:
        return picture
    a, b, _, c, d = np.frombuffer(bytes(matrix), np.int32)[:5].tolist()
    if abs(b) > abs(a):
        picture, a, d = picture.transpose(1, 0, 2), c, b
    return picture[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def load_audio(path: str | os.PathLike, sampling_rate: int = 16000, max_seconds: float | None = None) -> np.ndarray:
    """Decode the first audio stream of a sound or video file to mono float32 (L,) at `sampling_rate` Hz.

    Begins at the stream's own first sample; nothing beyond `max_seconds` is decoded. Channels are mixed with FFmpeg's
    weights scaled to sum to one, so that nothing clips: the mean of a stereo pair; of 5.1 and 7.1 the centre above the
    sides and no low-frequency channel.

    Raises:
        FileNotFoundError, IsADirectoryError, PermissionError: there is no such file to open.
        MediaError: not a media file, no audio stream, not one sample that decodes, or samples that are no numbers.

    Warns:
        UserWarning: there is sound beyond `max_seconds`.
    """
    if max_seconds is not None and not 0 < max_seconds < math.inf:
        raise ValueError(f"max_seconds must be a number of seconds above 0, or None, not {max_seconds!r}")
    mono = _Mono(_rate("sampling_rate", sampling_rate))
    limit = None if max_seconds is None else math.ceil(max_seconds * mono.rate)
    with _open(path) as container:
        stream = _audio_stream(container)
        if stream is None:
            raise MediaError(f"{path}: has no audio stream that can be decoded; turn audio off or give another file")
        try:
            for frame in _Reader(container, stream).frames():
                mono.add(frame)
                if limit is not None and mono.length >= limit:
                    break
            wave, seconds = mono.result()[:limit], _seconds(container, stream)
        except av.error.FFmpegError as error:
            raise MediaError(f"{path}: its audio cannot be mixed to mono; convert it with ffmpeg -ac 1") from error
    if not len(wave):
        raise MediaError(f"{path}: not one sample of its audio stream can be decoded; turn audio off")
    if not np.isfinite(wave).all():
        raise MediaError(f"{path}: its audio holds NaN or infinite samples; export it again")
    if limit is not None and len(wave) == limit:
        warn_of_cut(f"{path}: ", seconds, max_seconds)
    return wave


def read_waveform(audio: Any, sampling_rate: int, target_rate: int, max_seconds: float) -> np.ndarray:
    """A path, or samples at `sampling_rate` -> float32 (L,) at `target_rate`, at most `max_seconds`; a cut is said."""
    if is_path(audio):
        waveform = load_audio(audio, target_rate, max_seconds)
    else:
        waveform = resample(audio, sampling_rate, target_rate)
        warn_of_cut("audio: ", len(waveform) / target_rate, max_seconds)
    return waveform[: int(max_seconds * target_rate)]


def warn_of_cut(of: str, seconds: float | None, heard: float | None) -> None:
    """Says that sound is left out. A tenth of a second is not worth a word: so much a codec adds."""
    if seconds is not None and heard is not None and seconds > heard + 0.1:
        warnings.warn(f"{of}of its {seconds:.1f} s of sound the first {heard:g} are heard", stacklevel=4)


def resample(waveform: Any, rate: float, target_rate: int) -> np.ndarray:
    """An array of sound (numpy or torch) -> mono float32 (L,) at `target_rate` Hz, as `load_audio` makes it of a file.

    Args:
        waveform: (L,), (channels, L) or (L, channels), told apart by the smaller side and averaged. Float is kept as
            it is, int16 and int32 PCM scaled to [-1, 1).
        rate: the array's own sampling rate, a whole number of Hz from 1000 to 768000.

    Raises:
        ValueError: empty, NaN or infinite, of another type or shape, or a rate that cannot be one.
    """
    rate, target_rate = _rate("rate", rate), _rate("target_rate", target_rate)
    wave = as_array(waveform)
    if wave.ndim not in (1, 2) or wave.size == 0:
        raise ValueError(f"audio of shape {wave.shape} is no sound; give (L,), (channels, L) or (L, channels)")
    if wave.dtype in (np.int16, np.int32):
        wave = wave.astype(np.float32) / -float(np.iinfo(wave.dtype).min)
    if wave.dtype.kind != "f":
        raise ValueError(f"audio of dtype {wave.dtype} has no known scale; give float in [-1, 1], int16 or int32")
    with np.errstate(over="ignore"):
        wave = np.ascontiguousarray(wave, np.float32)
    if wave.ndim == 2:
        wave = wave.mean(axis=int(wave.shape[0] > wave.shape[1]))
    if not np.isfinite(wave).all():
        raise ValueError("audio holds NaN or infinite samples; clean the array first")
    if rate == target_rate:
        return wave
    if av is None:
        raise ImportError(f"resampling from {rate} to {target_rate} Hz needs PyAV; run: pip install av")
    mono = _Mono(target_rate)
    for start in range(0, len(wave), 1 << 20):
        frame = av.AudioFrame.from_ndarray(wave[None, start : start + (1 << 20)], format="flt", layout="mono")
        frame.sample_rate = rate
        mono.add(frame)
    if not len(resampled := mono.result()):
        raise ValueError(f"audio of {len(wave)} samples at {rate} Hz is too short to resample; give a longer piece")
    return resampled


class _Mono:
    """Collects audio frames of any kind, which may change in mid-stream, as mono float32 at one rate."""

    def __init__(self, rate: int):
        self.rate, self.length = rate, 0
        self._pieces: list[np.ndarray] = []
        self._source: tuple[str, str, int] | None = None
        self._resampler: Any = None

    def add(self, frame: Any) -> None:
        source = (frame.format.name, frame.layout.name, frame.sample_rate)
        if source != self._source:
            self._drain()
            # Without rematrix_maxval FFmpeg mixes to float at more than unit gain: 1.41 for a stereo pair.
            options = {"rematrix_maxval": "1"}
            self._resampler = av.AudioResampler(format="flt", layout="mono", rate=self.rate, options=options)
            self._source = source
        self._keep(self._resampler.resample(frame))

    def result(self) -> np.ndarray:
        self._drain()
        return np.concatenate(self._pieces) if self._pieces else np.zeros(0, np.float32)

    def _drain(self) -> None:
        if self._resampler is not None:
            self._keep(self._resampler.resample(None))

    def _keep(self, frames: list[Any]) -> None:
        for frame in frames:
            if frame is not None:
                self._pieces.append(frame.to_ndarray()[0])
                self.length += frame.samples


def _rate(name: str, value: Any) -> int:
    number = isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)
    if not number or not 1000 <= value <= 768000 or value != int(value):
        raise ValueError(f"{name} must be a whole number of Hz from 1000 to 768000, such as 16000, not {value!r}")
    return int(value)
