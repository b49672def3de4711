# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The feature cache: what goes in comes out, a kill loses little, several builders agree, nothing foreign is read."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xemogpt.train.feature_cache import FeatureCache, Item, build, weights_digest

SETTINGS = {"tower": "clip 1234", "processor": {"size": 32}, "width": 3, "dtype": "bfloat16"}


def files(folder: Path, count: int) -> list[Item]:
    """Files whose content is a number; the features below follow from it."""
    folder.mkdir(exist_ok=True)
    items = []
    for number in range(count):
        path = folder / f"{number}.bin"
        path.write_bytes(bytes([number]))
        items.append(Item(f"clip{number}", str(path)))
    return items


def read(path: str) -> int:
    content = Path(path).read_bytes()
    if content == b"bad":
        raise ValueError(f"{path}: is no clip")
    return content[0]


def encode(numbers: list[int]) -> list[torch.Tensor]:
    """As many rows as the number says, and one more."""
    return [torch.full((number + 1, 3), float(number)) for number in numbers]


def check(cache: FeatureCache, items: list[Item]) -> None:
    for item in items:
        key = cache.key_of(item)
        assert key is not None, item
        number = read(item.path or "")
        assert cache.length(key) == number + 1
        assert torch.equal(cache[key], torch.full((number + 1, 3), float(number), dtype=torch.bfloat16))


def test_what_goes_in_comes_out_also_for_the_next_run(tmp_path: Path) -> None:
    items = files(tmp_path / "clips", 9)
    cache = FeatureCache(tmp_path / "cache", SETTINGS)
    build(cache, items, read, encode, batch_size=2, shard_bytes=40)
    assert len(list((tmp_path / "cache").glob("shard-*"))) > 2
    check(cache, items)
    again = FeatureCache(tmp_path / "cache", SETTINGS)
    check(again, items)

    def never(_: Any) -> Any:
        raise AssertionError("is in the cache")

    build(again, items, never, never)
    assert again.key_of(Item("other", str(tmp_path / "absent.bin"))) is None


def test_a_moved_clip_is_known_by_its_content_and_a_changed_one_is_not(tmp_path: Path) -> None:
    items = files(tmp_path / "clips", 3)
    cache = FeatureCache(tmp_path / "cache", SETTINGS)
    build(cache, items, read, encode)
    (tmp_path / "clips").rename(tmp_path / "moved")
    moved = [Item(item.id, str(tmp_path / "moved" / Path(item.path or "").name)) for item in items]
    assert [cache.key_of(item) for item in moved] == [None] * 3

    def never(_: Any) -> Any:
        raise AssertionError("the same content is encoded already")

    build(cache, moved, read, never)
    check(FeatureCache(tmp_path / "cache", SETTINGS), moved)
    Path(moved[0].path or "").write_bytes(bytes([7]))
    os.utime(moved[0].path or "", ns=(1, 1))
    assert cache.key_of(moved[0]) is None
    build(cache, moved, read, encode)
    check(cache, moved)


def test_texts_are_kept_by_their_words(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, SETTINGS)
    items = [Item("a", text="He frowns."), Item("b", text="她微笑。"), Item("c", text="He frowns.")]
    build(cache, items, read, lambda texts: [torch.full((1, 3), float(len(text))) for text in texts])
    assert len(cache.places) == 2
    assert cache[cache.key_of(items[1]) or ""].tolist() == [[4.0, 4.0, 4.0]]
    assert cache.key_of(Item("d", text="He frowns")) is None


def test_two_builders_share_the_work(tmp_path: Path) -> None:
    items = files(tmp_path / "clips", 7)
    caches = [FeatureCache(tmp_path / "cache", SETTINGS) for _ in range(2)]
    for rank, cache in enumerate(caches):
        build(cache, items, read, encode, rank=rank, world_size=2)
    assert sorted(len(json.loads(shard)) for shard in shard_lists(tmp_path / "cache")) == [3, 4]
    caches[0].refresh()
    check(caches[0], items)
    check(caches[1], items)


def shard_lists(folder: Path) -> list[str]:
    from safetensors import safe_open

    lists = []
    for path in sorted(folder.glob("shard-*.safetensors")):
        with safe_open(path, "pt") as shard:  # the files are plain safetensors
            lists.append(shard.metadata()["entries"])
    return lists


def test_unreadable_files_are_listed_once_and_tried_again_when_they_change(tmp_path: Path) -> None:
    items = files(tmp_path / "clips", 3)
    Path(items[1].path or "").write_bytes(b"bad")
    cache = FeatureCache(tmp_path / "cache", SETTINGS)
    for _ in range(2):
        build(cache, items, read, encode)
    rows = [json.loads(line) for line in (tmp_path / "cache" / "rejects.jsonl").read_text().splitlines()]
    assert [(row["id"], row["reason"].endswith("is no clip")) for row in rows] == [("clip1", True)]
    assert list(cache.rejected()) == [items[1].path]
    check(cache, [items[0], items[2]])
    Path(items[1].path or "").write_bytes(bytes([1]))
    assert cache.rejected() == {}
    build(cache, items, read, encode)
    check(cache, items)


def test_a_bad_moment_makes_no_reject(tmp_path: Path) -> None:
    items = files(tmp_path / "clips", 3)
    cache = FeatureCache(tmp_path / "cache", SETTINGS)

    def failing(path: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files", path)

    with pytest.raises(OSError, match="Too many open files"):
        build(cache, items, failing, encode)

    def nameless(path: str) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with pytest.raises(OSError, match=r"Input/output error: '.*0.bin"):
        build(cache, items, nameless, encode)
    assert cache.rejected() == {}
    build(cache, items, read, encode)
    check(cache, items)


@pytest.mark.parametrize(
    ("name", "value"), [("tower", "clip 9999"), ("processor", {"size": 64}), ("width", 4), ("dtype", "float32")]
)
def test_the_cache_of_another_tower_is_refused_by_both_names(tmp_path: Path, name: str, value: Any) -> None:
    FeatureCache(tmp_path, SETTINGS)
    with pytest.raises(ValueError, match=f"is the cache of another {name}: ") as caught:
        FeatureCache(tmp_path, {**SETTINGS, name: value})
    assert repr(value) in str(caught.value)
    assert repr(SETTINGS[name]) in str(caught.value)


def test_a_broken_shard_is_named(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path / "cache", SETTINGS)
    build(cache, files(tmp_path / "clips", 3), read, encode)
    shard = next((tmp_path / "cache").glob("shard-*"))
    shard.write_bytes(shard.read_bytes()[:-2])
    with pytest.raises(ValueError, match=f"{shard.name}: is a broken shard; remove it"):
        FeatureCache(tmp_path / "cache", SETTINGS)
    shard.unlink()
    FeatureCache(tmp_path / "cache", SETTINGS)


def test_reading_changes_no_file_and_survives_pickling(tmp_path: Path) -> None:
    import pickle

    items = files(tmp_path / "clips", 4)
    cache = FeatureCache(tmp_path / "cache", SETTINGS)
    build(cache, items, read, encode)
    assert cache.read_ahead(1.0)
    assert not cache.read_ahead(0.0)
    before = {path: path.read_bytes() for path in (tmp_path / "cache").glob("shard-*")}
    view = cache[cache.key_of(items[2]) or ""]
    view += 1
    copy = pickle.loads(pickle.dumps(cache))
    check(copy, items)
    assert {path: path.read_bytes() for path in before} == before


KILLED = """
import sys, time, torch
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from test_feature_cache import SETTINGS, encode, files, read
from xemogpt.train.feature_cache import FeatureCache, build
def slowly(numbers):
    time.sleep(0.05)
    return encode(numbers)
folder = Path(sys.argv[2])
print("ready", flush=True)
build(FeatureCache(folder / "cache", SETTINGS), files(folder / "clips", 200), read, slowly, 2, shard_bytes=200)
"""


@pytest.mark.slow
def test_a_kill_loses_what_is_not_in_a_shard_and_nothing_else(tmp_path: Path) -> None:
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parent), str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while len(list(tmp_path.glob("cache/shard-*"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    items = files_as_they_are(tmp_path / "clips")
    cache = FeatureCache(tmp_path / "cache", SETTINGS)
    done = [item for item in items if cache.key_of(item) is not None]
    assert 0 < len(done) < len(items)
    check(cache, done)
    build(cache, items, read, encode)
    check(cache, items)
    held = np.sum([len(json.loads(text)) for text in shard_lists(tmp_path / "cache")])
    assert held == len(items)  # nothing was encoded twice


def files_as_they_are(folder: Path) -> list[Item]:
    return [Item(path.stem, str(path)) for path in sorted(folder.glob("*.bin"))]


def test_the_digest_knows_the_weights_and_not_their_precision() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(4, 4)
    digest = weights_digest(layer)
    layer.to(torch.bfloat16)
    assert weights_digest(layer) == digest
    with torch.no_grad():
        layer.bias[0] += 1
    assert weights_digest(layer) != digest
