# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Asks an OpenAI-compatible endpoint, keeps every answer, and never asks twice for what it has.

Failures are of three kinds. The way to the server (429, 5xx, time-out, no connection) is tried again with growing
pauses; if the server does not even list its models then, the run stops, and goes on where it was when started again.
An answer that cannot be used is asked for again with the reason, `attempts` times; then the clip is rejected. A
refusal of the key, the model or the address (401, 403, 404) stops the run at once.
"""

import asyncio
import functools
import hashlib
import json
import os
import random
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xemogpt.data.emocue.answers import AnswerType, BaseModel, UnusableAnswer, parse_answer
from xemogpt.data.jsonl import JsonLines, one_line

try:
    import openai
except ImportError:
    raise ImportError('building EmoCue needs openai: pip install "xemogpt[data]"') from None

_PAUSE_LIMIT = 60.0  # seconds


class EndpointError(OSError):
    """The endpoint is away, or refuses us: the run stops, and goes on when started again."""


class BudgetError(OSError):
    """The budget is used up: the run stops, and goes on with a larger one."""


@dataclass(frozen=True)
class Endpoint:
    """Where a model is served, and how it is asked; a key of the recipe's `endpoints`.

    json: how it is told to answer in JSON: "schema" (vLLM, llama.cpp, OpenAI), "object" (DeepSeek) or "none".
    in_flight: requests at a time, in each process. attempts: of getting a usable answer. tries: of getting any.
    pause: seconds before the second try, doubled after each. price: US dollars for a million tokens, in and out.
    """

    base_url: str
    model: str
    api_key_env: str = "EMOCUE_API_KEY"
    json: str = "schema"
    in_flight: int = 8
    requests_per_minute: float | None = None
    timeout: float = 120.0
    attempts: int = 3
    tries: int = 6
    pause: float = 1.0
    temperature: float = 0.0
    max_tokens: int = 1024
    price: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if self.json not in ("schema", "object", "none"):
            raise ValueError(f"json: {self.json!r} is none of schema, object, none")
        if self.in_flight < 1 or self.attempts < 1 or self.tries < 1:
            raise ValueError("in_flight, attempts and tries must be at least 1")

    def asks(self) -> dict[str, Any]:
        """What decides the answers: part of a stage's fingerprint (the address and the pace are not)."""
        names = ("model", "json", "temperature", "max_tokens", "attempts")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class Question:
    """One request: whose clip, for what, and the messages.

    messages: makes them, with the media in them, only when they are sent. stands_for: the same without the media but
    with their hashes, by which the answer is kept.
    """

    clip: str
    purpose: str
    stands_for: list[dict[str, Any]]
    messages: Callable[[], Awaitable[list[dict[str, Any]]]]


class Spending:
    """What the logs of a build say was spent, in requests that were answered, tokens and US dollars; those of other
    processes too, which may be writing them. `but`: a log that is not counted."""

    def __init__(self, build: Path, but: Path | None = None):
        self.total = {"requests": 0.0, "tokens": 0.0, "usd": 0.0}
        self._build, self._but = build, but
        self._read: defaultdict[Path, int] = defaultdict(int)  # bytes of each log

    def look(self) -> dict[str, float]:
        """The total by now; of each log what has been added since the last time is read."""
        for path in self._build.glob("*/requests-*.jsonl"):
            if path == self._but or path.stat().st_size <= self._read[path]:
                continue
            with path.open("rb") as file:
                file.seek(self._read[path])
                for line in file:
                    if not line.endswith(b"\n"):  # torn, or being written
                        break
                    row = json.loads(line)
                    self.total["requests"] += 1
                    self.total["tokens"] += sum(row["tokens"])
                    self.total["usd"] += row["usd"]
                    self._read[path] += len(line)
        return self.total


class Budget:
    """What a build may spend. Processes look every few seconds at what the others have spent, so all together they
    exceed the limits by what they ask in that time, at most.

    Args:
        limits: of requests, tokens, US dollars; what is not in it has none.
        build: the folder of the build. log: this process's own, open or not.
    """

    LOOK = 2.0  # seconds

    def __init__(self, limits: dict[str, float], build: Path, log: Path):
        self.limits, self._others = limits, Spending(build, but=log)
        self._seen = dict(self._others.look())
        self._own = {name: amount - self._seen[name] for name, amount in Spending(build).look().items()}
        self._looked = time.monotonic()

    def take(self, requests: float = 0, tokens: float = 0, usd: float = 0) -> None:
        """Count what was spent."""
        for name, amount in (("requests", requests), ("tokens", tokens), ("usd", usd)):
            self._own[name] += amount

    def check(self) -> None:
        """Raises BudgetError where nothing is left."""
        if self.limits and time.monotonic() - self._looked >= self.LOOK:
            self._seen, self._looked = self._others.look(), time.monotonic()
        for name, limit in self.limits.items():
            if self._own[name] + self._seen[name] >= limit:
                raise BudgetError(f"the budget of {name} is used up; raise it in the recipe and start again")


class Asker:
    """An endpoint with its log, pace and limits, for one process and one event loop."""

    def __init__(self, endpoint: Endpoint, log: "RequestLog", budget: Budget):
        self.endpoint, self.log, self.budget = endpoint, log, budget
        self.key = os.environ.get(endpoint.api_key_env, "")
        # Some servers want no key at all, but the client wants a word. Its own retries would not be counted.
        self.client = openai.AsyncOpenAI(
            base_url=endpoint.base_url, api_key=self.key or "none", max_retries=0, timeout=endpoint.timeout
        )
        self.gate = asyncio.Semaphore(endpoint.in_flight)
        self.asked: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)  # two clips may ask the same at the same time
        self._next = 0.0

    async def ask(self, question: Question, form: type[AnswerType]) -> AnswerType:
        """The answer, from the log or from the server.

        Raises:
            UnusableAnswer: all attempts failed. EndpointError, BudgetError: see there.
        """
        reason = ""
        for attempt in range(self.endpoint.attempts):
            extra = f"Your last answer could not be used: {reason}. Answer with the JSON alone." if attempt else ""
            key = self._key(question, form, extra)
            async with self.asked[key]:
                row = self.log.get(key)
                if row is None:
                    async with self.gate:
                        row = await self._request(key, question, form, extra, attempt)
            try:
                if row.get("error"):
                    raise UnusableAnswer(row["error"])
                return parse_answer(row["answer"], row["finish"], form)
            except UnusableAnswer as error:
                reason = str(error)
        raise UnusableAnswer(f"{question.purpose}: {reason} ({self.endpoint.attempts} attempts)")

    def _key(self, question: Question, form: type[AnswerType], extra: str) -> str:
        asked = [self.endpoint.asks(), question.stands_for, _schema(form), extra]
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:32]

    async def _request(
        self, key: str, question: Question, form: type[AnswerType], extra: str, attempt: int
    ) -> dict[str, Any]:
        messages = await question.messages()
        if extra:
            messages = [*messages, {"role": "user", "content": extra}]
        settings: dict[str, Any] = {"temperature": self.endpoint.temperature, "max_tokens": self.endpoint.max_tokens}
        if self.endpoint.json == "schema":
            schema = {"name": form.__name__, "schema": _schema(form)}
            settings["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self.endpoint.json == "object":
            settings["response_format"] = {"type": "json_object"}
        row: dict[str, Any] = {"key": key, "clip": question.clip, "purpose": question.purpose, "attempt": attempt}
        row |= {"model": self.endpoint.model, "answer": None, "finish": None, "error": None}
        started = time.monotonic()
        outcome = await self._send(messages, settings)
        if isinstance(outcome, str):
            row["error"] = outcome
            spent = (0, 0)
        else:
            row["answer"], row["finish"], spent = _content(outcome)
        usd = sum(tokens * price for tokens, price in zip(spent, self.endpoint.price, strict=True)) / 1e6
        self.budget.take(tokens=sum(spent), usd=usd)
        row |= {"tokens": list(spent), "usd": usd, "seconds": round(time.monotonic() - started, 3)}
        self.log.put(row)
        return row

    async def _send(self, messages: list[dict[str, Any]], settings: dict[str, Any]) -> Any:
        """The completion, or the reason why this request gets none although the server is there."""
        pause, why = self.endpoint.pause, ""
        for attempt in range(self.endpoint.tries):
            if attempt:
                await asyncio.sleep(min(pause, _PAUSE_LIMIT) * random.uniform(0.8, 1.2))
                pause *= 2
            self.budget.check()
            await self._pace()
            self.budget.take(requests=1)
            try:
                create: Any = self.client.chat.completions.create  # its types know no other server's content
                answer = await create(model=self.endpoint.model, messages=messages, **settings)
                _content(answer)
                return answer
            except openai.APIStatusError as error:
                why = f"HTTP {error.status_code}"
                if error.status_code in (401, 403, 404):
                    raise EndpointError(f"{self.endpoint.base_url} refuses: {self._said(error)}") from None
                if error.status_code not in (408, 409, 429) and error.status_code < 500:
                    return why
                pause = max(pause, _retry_after(error))
            except openai.APITimeoutError:
                why = "no answer in time"
            except openai.APIConnectionError:
                why = "no connection"
            except (openai.APIError, ValueError, TypeError, AttributeError) as error:  # a body that is no completion
                why = f"no completion ({type(error).__name__})"
        if why == "HTTP 429":
            raise EndpointError(f"{self.endpoint.base_url}: still too many requests after {self.endpoint.tries} tries")
        try:  # is it this request, or is it the server?
            await self.client.models.list()
        except openai.APIError as error:
            raise EndpointError(
                f"{self.endpoint.base_url} is away ({why}; {self._said(error)}); start again when it is back"
            ) from None
        return why

    async def _pace(self) -> None:
        if self.endpoint.requests_per_minute:
            now = time.monotonic()
            at = max(now, self._next)
            self._next = at + 60.0 / self.endpoint.requests_per_minute
            await asyncio.sleep(at - now)

    def _said(self, error: Exception) -> str:
        text = one_line(error)[:300]
        return text.replace(self.key, "***") if self.key else text


class RequestLog:
    """All answers of one task, on disk before they are used. After a write has failed nothing more is written, for a
    half row may stand at the end."""

    def __init__(self, path: Path):
        self._file = JsonLines(path, required="key", first="key")
        self._rows = {row["key"]: row for row in self._file.rows}
        self._file.rows = []
        self._broken: OSError | None = None

    def get(self, key: str) -> dict[str, Any] | None:
        """The row of a request that was made before."""
        return self._rows.get(key)

    def put(self, row: dict[str, Any]) -> None:
        """Keep a row."""
        if self._broken:
            raise self._broken
        try:
            self._file.append(row)
        except OSError as error:
            self._broken = error
            raise
        self._rows[row["key"]] = row

    def close(self) -> None:
        """Let another run have it."""
        self._file.__exit__()


@functools.cache
def _schema(form: type[BaseModel]) -> dict[str, Any]:
    """Making it costs more than all else that is done for a request."""
    return form.model_json_schema(by_alias=True)


def _content(completion: Any) -> tuple[str | None, str | None, tuple[int, int]]:
    """Text, reason of its end, and tokens in and out. The client builds its objects of whatever JSON came, and takes
    what is no JSON, such as the page of a proxy, for the answer itself.

    Raises:
        ValueError, TypeError, AttributeError: it is no completion.
    """
    if isinstance(completion, str):
        raise ValueError("no JSON")
    choice = completion.choices[0] if completion.choices else None
    text, finish = (choice.message.content, choice.finish_reason) if choice else (None, None)
    if not isinstance(text, str | None):
        raise TypeError("the content is no text")
    usage = completion.usage
    return text, finish, (int(usage.prompt_tokens or 0), int(usage.completion_tokens or 0)) if usage else (0, 0)


def _retry_after(error: openai.APIStatusError) -> float:
    try:
        return min(float(error.response.headers.get("retry-after", 0)), _PAUSE_LIMIT)
    except ValueError:
        return 0.0
