# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A chat-completions server on the loopback that answers by script, with every kind of failure a real one has.

What is wrong with an answer's content follows from the request alone; what is wrong with the way to it (429, 500, a
dropped connection) befalls a request the first time only. So whoever asks until it is answered gets the same answers.
"""

import hashlib
import json
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CUES = {
    "visual": "She frowns and lowers her eyes.",
    "audio": "Her voice trembles and breaks.",
    "global": "She grieves.",
}


def number(text: str, below: int) -> int:
    """The same number for the same text."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4]) % below


def material(body: dict[str, Any]) -> dict[str, Any]:
    """The JSON object that a request of the builder quotes."""
    content = next(each["content"] for each in body["messages"] if each["role"] == "user")
    text = content if isinstance(content, str) else content[-1]["text"]
    return json.loads(text)


def good_answer(body: dict[str, Any]) -> dict[str, Any]:
    """What a diligent model would answer."""
    system, given = body["messages"][0]["content"], material(body)
    if "caption" in system.rsplit("JSON alone", 1)[1]:
        return {"caption": " ".join(given["cues"][0].split()[:20])}
    if "paragraph" in system:
        kept = [cue | {"from": [cue["id"]]} for cue in given["cues"]]
        told = "In the video and in the audio we notice the following about the person whom the clip shows to us. "
        cues = [{key: cue[key] for key in ("modality", "text", "from")} for cue in kept]
        return {"cues": cues, "paragraph": told + " ".join(cue["text"] for cue in kept)}
    if "Nobody has told" in system:
        return {"cues": [{"modality": kind, "text": text} for kind, text in CUES.items()]}
    kind = next(kind for kind in CUES if f"All cues are {kind}" in system)
    return {"cues": [{"modality": kind, "text": CUES[kind]}]}


class ScriptedServer:
    """Serves on a free port of the loopback while the context is open; `url` is its base."""

    def __init__(
        self, answer: Callable[[dict[str, Any]], Any] = good_answer, troubles: bool = False, delay: float = 0
    ):
        self.answer, self.troubles, self.delay = answer, troubles, delay
        self.requests: Counter[str] = Counter()
        self.bodies: list[dict[str, Any]] = []
        self.keep_bodies = False
        self.keys: set[str] = set()
        self.busy = self.most_busy = 0
        self.away = False
        self.lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.reply(503 if outer.away else 200, {"object": "list", "data": []})

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                with outer.lock:
                    outer.keys.add(self.headers.get("Authorization", ""))
                    outer.busy += 1
                    outer.most_busy = max(outer.most_busy, outer.busy)
                try:
                    outer.respond(self, raw)
                except (BrokenPipeError, ConnectionResetError):  # the one who asked was killed
                    self.close_connection = True
                finally:
                    with outer.lock:
                        outer.busy -= 1

            def reply(self, status: int, content: Any, headers: dict[str, str] | None = None) -> None:
                data = json.dumps(content).encode()
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(data))} | (headers or {})).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

            def handle_error(self, *_: Any) -> None:
                pass

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def respond(self, handler: Any, raw: bytes) -> None:
        """One request, with its trouble if it has any."""
        digest = hashlib.sha256(raw).hexdigest()
        body = json.loads(raw)
        with self.lock:
            self.requests[digest] += 1
            first = self.requests[digest] == 1
            if self.keep_bodies:
                self.bodies.append(body)
        trouble = number(digest, 100) if self.troubles else 100
        if self.delay:
            time.sleep(self.delay * (1 + number(digest + "slow", 100) / 100))
        if self.away:
            return handler.reply(503, {"error": {"message": "away"}})
        if first and trouble < 2:
            return handler.reply(429, {"error": {"message": "slow down"}}, {"Retry-After": "0.05"})
        if first and trouble < 4:
            return handler.reply(500, {"error": {"message": "oops"}})
        if first and trouble < 5:
            handler.close_connection = True
            return handler.connection.close()
        if first and trouble < 6:
            time.sleep(0.5)  # slow
        text: str | None = json.dumps(self.answer(body))
        finish = "stop"
        if 10 <= trouble < 13:
            text = ["", None, "   "][trouble - 10]
        elif 13 <= trouble < 16:
            text, finish = (text or "")[: len(text or "") // 2], "length"
        elif 16 <= trouble < 19:
            text = ['{"answer": 42}', "Sure! Here are the cues.", '{"cues": "none", "caption": 3}'][trouble - 16]
        usage = {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120}
        choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": text}}
        reply = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"]}
        return handler.reply(200, reply | {"choices": [choice], "usage": usage})

    @property
    def total(self) -> int:
        """How many requests came."""
        return sum(self.requests.values())


@contextmanager
def serving(server: ScriptedServer) -> Iterator[ScriptedServer]:
    """Run a server for a while."""
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        server.server.server_close()


def visible_slots(body: dict[str, Any]) -> list[str]:
    """Every text of a request but the media."""
    texts = []
    for message in body["messages"]:
        content = message["content"]
        texts += [content] if isinstance(content, str) else [part["text"] for part in content if "text" in part]
    return [re.sub(r"\s+", " ", text) for text in texts]
