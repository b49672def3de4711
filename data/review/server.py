# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The page on which people judge: a server for a few raters, by default for this machine alone.

The page is told a clip and its texts by side, and never its id, its label, or which text is which. Files are served by
an item's key, so no path can be asked for.
"""

import json
import mimetypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from xemogpt.data.review.ratings import DIMENSIONS, Item, Ratings, order, rater_name

PAGE = Path(__file__).with_name("page.html")
_MOST_BYTES, _BLOCK = 10_000, 1 << 16


class ReviewServer(ThreadingHTTPServer):
    """Serves `items`, and writes what raters say below `folder`; `url` is the page's address.

    Args:
        items: from `read_items`.
        folder: for `{rater}.jsonl`.
        host: also the only name, beside localhost, under which the page may be asked for: a foreign page may point its
            own name to this machine. 0.0.0.0 is for everyone, under any name.
        repeats: which share of the clips is shown twice.
    """

    daemon_threads = True

    def __init__(self, items: list[Item], folder: str | os.PathLike, port: int, host: str, repeats: float = 0.1):
        self.items, self.folder, self.repeats = items, Path(folder), repeats
        self.raters: dict[str, Ratings] = {}
        self.files: dict[str, str] = {}
        for item in items:
            self.files |= item.files | item.again().files
        self.lock = threading.Lock()
        super().__init__((host, port), _Handler)
        self.host = host
        self.url = f"http://{host}:{self.server_port}/"

    def rater(self, name: str) -> Ratings:
        """A rater's file, opened once."""
        name = rater_name(name)
        if name not in self.raters:
            self.raters[name] = Ratings(self.folder, name, order(self.items, name, self.repeats))
        return self.raters[name]

    def server_close(self) -> None:
        """Close the raters' files too."""
        super().server_close()
        for each in self.raters.values():
            each.close()


@contextmanager
def serving(server: ReviewServer) -> Iterator[ReviewServer]:
    """Serve in the background while the context is open."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReviewServer

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if not self._is_meant():
            self._say(403, {"error": "not this server's name"})
        elif url.path == "/":
            self._send(200, PAGE.read_bytes(), "text/html; charset=utf-8")
        elif url.path == "/next":
            self._answer(lambda: self._next(parse_qs(url.query).get("rater", [""])[0]))
        elif url.path.startswith("/media/"):
            self._media(self.server.files.get(url.path.removeprefix("/media/")))
        else:
            self._say(404, {"error": "no such page"})

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        size = int(length) if length.isascii() and length.isdecimal() and len(length) < 9 else _MOST_BYTES + 1
        is_json = self.headers.get("Content-Type", "").startswith("application/json")  # no other site's form is
        if not self._is_meant() or not is_json or size > _MOST_BYTES or self.path != "/rate":
            self.close_connection = True
            self._say(400, {"error": "no rating"})
            return
        said = self.rfile.read(size)  # who is slow to send it keeps nobody else waiting
        if len(said) < size:
            self.close_connection = True
            return
        self._answer(lambda: self._rate(json.loads(said)))

    def log_message(self, *_: Any) -> None:
        """Nobody reads it, and it would tell who rated when."""

    def _is_meant(self) -> bool:
        name = self.headers.get("Host", "").rsplit(":", 1)[0]
        return self.server.host == "0.0.0.0" or name in (self.server.host, "localhost")

    def _answer(self, work: Any) -> None:
        try:
            with self.server.lock:
                answer = work()
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            return self._say(400, {"error": str(error)})
        except OSError as error:  # a full disk: the rater is told, and nothing is taken for written
            return self._say(500, {"error": f"could not be written: {error}"})
        self._say(200, answer)

    def _next(self, name: str) -> dict[str, Any]:
        rater = self.server.rater(name)
        item = rater.next()
        state: dict[str, Any] = {"done": len(rater.done), "of": len(rater.items), "dimensions": DIMENSIONS}
        if item is None:
            return state | {"item": None}
        texts = {side: getattr(item, side) for side in item.sides}
        sound = item.sound_key if item.sound_key in item.files else None
        return state | {"item": {"key": item.key, "sound": sound, "texts": texts, "is_video": item.video is not None}}

    def _rate(self, said: dict[str, Any]) -> dict[str, Any]:
        rater = self.server.rater(said["rater"])
        rater.add(said["key"], said["scores"], said["seconds"])
        return self._next(said["rater"])

    def _media(self, path: str | None) -> None:
        """A file, or the part of it that a player asks for."""
        if path is None or not os.path.isfile(path):
            return self._say(404, {"error": "no such clip"})
        size = os.path.getsize(path)
        start, stop, status = 0, size, 200
        asked = self.headers.get("Range", "")
        if asked.startswith("bytes=") and "," not in asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            if (first or last).isdecimal():
                start = int(first) if first else max(0, size - int(last))
                stop = min(size, int(last) + 1) if first and last.isdecimal() else size
                status = 206
        if start >= max(stop, 1):
            return self._send(416, b"", "text/plain", {"Content-Range": f"bytes */{size}"})
        self.send_response(status)
        self.send_header("Content-Type", mimetypes.guess_type(path)[0] or "application/octet-stream")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(stop - start))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        with open(path, "rb") as file:
            file.seek(start)
            left = stop - start
            try:
                while left > 0 and (block := file.read(min(_BLOCK, left))):
                    self.wfile.write(block)
                    left -= len(block)
            except ConnectionError:  # the player has seen enough
                self.close_connection = True

    def _say(self, status: int, content: Any) -> None:
        self._send(status, json.dumps(content).encode(), "application/json")

    def _send(self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Cache-Control", "no-store")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
