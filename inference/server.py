# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""A loaded model behind `/v1/chat/completions` and `/v1/models`, as OpenAI's clients ask: see `inference.chat`.

Requests are read in threads; the model generates one batch at a time, of those that wait for it. A request that cannot
be answered gets status 400 and the reason, and never costs another its answer.
"""

import asyncio
import json
import logging
import threading
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any

from transformers import BatchFeature

from xemogpt.data.jsonl import one_line
from xemogpt.inference.chat import completion, read_request
from xemogpt.inference.clips import Clip
from xemogpt.inference.explainer import Answer, DeviceLost, Explainer
from xemogpt.inference.explanation import Decoding, note_of

try:
    from starlette.applications import Starlette
    from starlette.requests import Request as HttpRequest
    from starlette.responses import JSONResponse
    from starlette.routing import Route
except ImportError:
    raise ImportError('the server needs starlette and uvicorn: pip install "xemogpt[serve]"') from None

MOST_BYTES = 64 << 20  # of a request
MOST_WAITING = 64  # requests: each holds its media in memory
log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Waiting:
    inputs: BatchFeature
    decoding: Decoding
    answer: "Future[Answer]"


class Batcher:
    """Generates for all who wait, one batch at a time, in a thread of its own.

    Those that are decoded alike are one batch, except what is sampled: its random numbers would depend on the others.
    """

    def __init__(self, explainer: Explainer, batch_size: int):
        self.explainer, self.batch_size = explainer, batch_size
        self.lost = False  # the device: nothing can be generated any more
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        threading.Thread(target=self._work, name="generate", daemon=True).start()

    def submit(self, inputs: BatchFeature, decoding: Decoding) -> "Future[Answer]":
        """The answer to prepared inputs, when it comes."""
        future: Future[Answer] = Future()
        with self._changed:
            self._waiting.append(_Waiting(inputs, decoding, future))
            self._changed.notify()
        return future

    def _work(self) -> None:
        while True:
            self._answer(self._next())  # nothing of a batch is kept while the next one is waited for

    def _next(self) -> list[_Waiting]:
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting))
            return self._take()

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answers = self._generate(batch)
        except DeviceLost as error:
            self.lost, answers = True, [error] * len(batch)
        for each, answer in zip(batch, answers, strict=True):
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)

    def _generate(self, batch: list[_Waiting]) -> list[Any]:
        return list(self.explainer.generate_each([each.inputs for each in batch], batch[0].decoding)) if batch else []

    def _take(self) -> list[_Waiting]:
        decoding = self._waiting[0].decoding
        alike = [each for each in self._waiting if each.decoding == decoding]
        batch = alike[: 1 if decoding.do_sample else self.batch_size]
        for each in batch:
            self._waiting.remove(each)
        return [each for each in batch if each.answer.set_running_or_notify_cancel()]  # else who asked has gone


def make_app(explainer: Explainer, name: str, most_tokens: int = 1024, batch_size: int = 8) -> Starlette:
    """The application.

    Args:
        name: of the model, as requests must give it.
        most_tokens: the longest answer that may be asked for.
        batch_size: most requests that are generated at once.
    """
    batcher, busy = Batcher(explainer, batch_size), asyncio.Semaphore(MOST_WAITING)
    note = note_of(name, explainer.untrained_parts, explainer.caution)

    async def models(_: HttpRequest) -> JSONResponse:
        if batcher.lost:
            return _error(503, "the device is lost; start the server again")
        return JSONResponse({"object": "list", "data": [{"id": name, "object": "model", "owned_by": "xemogpt"}]})

    async def completions(http: HttpRequest) -> JSONResponse:
        if busy.locked():
            return _error(429, f"{MOST_WAITING} requests wait already; ask again later", {"Retry-After": "1"})
        async with busy:
            try:
                return await answered(http)
            except ValueError as error:
                return _error(400, one_line(error))
            except Exception as error:  # whatever it is, others are to be answered
                log.exception("a request failed")
                return _error(503 if batcher.lost else 500, one_line(error))

    async def answered(http: HttpRequest) -> JSONResponse:
        raw = bytearray()
        async for chunk in http.stream():
            raw += chunk
            if len(raw) > MOST_BYTES:
                return _error(413, f"the request has more than {MOST_BYTES >> 20} MiB")
        body = await asyncio.to_thread(_parsed, raw)
        if isinstance(body, dict) and body.get("model") != name:
            return _error(404, f"model: {body.get('model')!r} is not here; this server has {name!r}")
        request = await asyncio.to_thread(read_request, body, most_tokens)
        inputs = await asyncio.to_thread(explainer.prepare, request.clip, request.question)
        request, raw, body = replace(request, clip=Clip()), bytearray(), None  # media are not kept while it waits
        try:
            answer = await asyncio.wrap_future(batcher.submit(inputs, request.decoding))
        except ValueError as error:  # of the model: the request has been found good
            raise RuntimeError(one_line(error)) from error
        return JSONResponse(completion(request, answer, name, inputs["input_ids"].shape[1], note))

    return Starlette(
        routes=[
            Route("/v1/chat/completions", completions, methods=["POST"]),
            Route("/v1/models", models, methods=["GET"]),
        ],
        exception_handlers={404: _no_route, 405: _no_route},
    )


def _parsed(raw: bytearray) -> Any:
    try:
        return json.loads(raw)
    except (ValueError, RecursionError):
        raise ValueError("the request is no JSON") from None


def _no_route(http: HttpRequest, error: Any) -> JSONResponse:
    what = f"{http.method} {http.url.path}: there are POST /v1/chat/completions and GET /v1/models"
    return _error(error.status_code, what)


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> JSONResponse:
    kind = "invalid_request_error" if status < 500 else "server_error"
    content = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    return JSONResponse(content, status, headers)
