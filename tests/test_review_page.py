# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The review page in a browser, by keyboard alone."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from headless_browser import CHROMIUM, Browser
from media_factory import pattern, tone, write_media

from xemogpt.data.review.ratings import read_items, read_ratings
from xemogpt.data.review.server import ReviewServer, serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")]

NEW = "In the video, she frowns and lowers her eyes. In the audio, her voice trembles. <b>She grieves.</b>"


def review_items(folder: Path, count: int) -> Path:
    write_media(folder / "clip.webm", pattern(48, 144, 288), audio=tone(2.0))
    rows = []
    for number in range(count):
        path = folder / f"c{number}.webm"
        path.write_bytes((folder / "clip.webm").read_bytes())
        left, right = (NEW, "Old: she is sad.") if number % 2 else ("Old: she is sad.", NEW)
        row = {"id": f"clip-{number}", "video": str(path), "audio": None, "label": "sad", "left": left}
        rows.append(row | {"right": right, "left_is": ("old", "new")[number % 2]})
    (folder / "review.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "review.jsonl"


def test_a_person_rates_by_keyboard(tmp_path: Path) -> None:
    items = read_items(review_items(tmp_path, 2))
    with (
        serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1", repeats=0.5)) as server,
        Browser(server.url, tmp_path / "profile") as page,
    ):
        page.screenshot(tmp_path / "begin.png")
        page.press(*"ann", "Enter")
        page.wait("document.querySelectorAll('fieldset').length === 6")
        page.wait("document.querySelector('video').readyState >= 2")
        assert page.value("document.querySelectorAll('section b').length") == 0  # a text is never markup
        assert "&lt;b&gt;" in page.value("document.querySelector('#texts').innerHTML")
        for secret in ("clip-", "c0.webm", "c1.webm", "left_is", "sad<"):
            assert secret not in page.value("document.documentElement.outerHTML").replace("she is sad.", "")
        page.press("Enter")  # too early: nothing is sent
        page.press(*"54321")
        assert page.value("document.getElementById('submit').disabled")
        page.press("0", "ArrowUp", "4")  # the fifth scale again
        assert not page.value("document.getElementById('submit').disabled")
        page.screenshot(tmp_path / "rated.png")
        page.press(" ")
        page.wait("document.querySelector('video').currentTime > 0")
        page.press("Enter")
        page.wait("document.getElementById('count').textContent === '1 of 3'")
        assert page.value("document.querySelectorAll('[aria-pressed=true]').length") == 0
        for done in (2, 3):
            page.press(*"333333", "Enter")
            page.wait(f"document.getElementById('count').textContent === '{done} of 3'")
        page.wait("!document.getElementById('done').hidden")
        page.screenshot(tmp_path / "end.png")
        assert page.errors == []
    first, *rest = read_ratings([tmp_path / "r" / "ann.jsonl"])
    left_is = next(item.left_is for item in items if item.id == first["id"])
    right_is = {"new": "old", "old": "new"}[left_is]
    assert first["scores"][left_is] == {"visual": 5, "audio": 4, "global": 3}
    assert first["scores"][right_is] == {"visual": 2, "audio": 4, "global": None}
    assert [row["repeat"] for row in rest] == [False, True]


def test_a_separate_sound_is_heard_with_its_picture(tmp_path: Path) -> None:
    path = review_items(tmp_path, 1)
    write_media(tmp_path / "c0.wav", audio=tone(2.0))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"audio": str(tmp_path / "c0.wav")}))
    with (
        serving(ReviewServer(read_items(path), tmp_path / "r", 0, "127.0.0.1", repeats=0)) as server,
        Browser(server.url, tmp_path / "profile") as page,
    ):
        page.press(*"ann", "Enter")
        page.wait("document.querySelector('audio')?.readyState >= 2")
        page.wait("document.querySelector('video').readyState >= 2")
        page.press(" ")
        page.wait("document.querySelector('audio').currentTime > 0.2")
        assert page.value("document.querySelector('video').muted && !document.querySelector('audio').muted")
        page.press(" ")
        page.wait("document.querySelector('audio').paused")
        page.value("document.querySelector('video').currentTime = 1")
        page.wait("Math.abs(document.querySelector('audio').currentTime - 1) < 0.2")
        assert page.value("document.querySelector('audio').paused")
        assert page.errors == []


def test_a_killed_server_is_noticed_and_nothing_is_lost(tmp_path: Path) -> None:
    items = review_items(tmp_path, 2)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "xemogpt", "review", "serve", "--items", str(items), "--port", str(port)]
    command += ["--ratings", str(tmp_path / "r"), "--repeats", "0"]

    def serve() -> subprocess.Popen[str]:
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert process.stderr is not None
        assert f"2 clips; open http://127.0.0.1:{port}/" in process.stderr.readline()
        return process

    server = serve()
    with Browser(f"http://127.0.0.1:{port}/", tmp_path / "profile") as page:
        page.press(*"ann", "Enter")
        page.wait("document.querySelectorAll('fieldset').length === 6")
        page.press(*"123451", "Enter")
        page.wait("document.getElementById('count').textContent === '1 of 2'")
        page.press(*"543215")
        server.kill()
        server.wait()
        page.press("Enter")
        page.wait("document.getElementById('error').textContent !== ''")
        server = serve()
        page.wait("!document.getElementById('submit').disabled")
        page.press("Enter")  # what was chosen is still there
        page.wait("!document.getElementById('done').hidden")
        assert page.value("document.getElementById('error').textContent") == ""
    server.send_signal(signal.SIGINT)
    assert server.wait(20) == 0
    rows = read_ratings([tmp_path / "r" / "ann.jsonl"])
    assert [sorted(each["visual"] for each in row["scores"].values()) for row in rows] == [[1, 4], [2, 5]]
