# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Cues out of a text by a language model behind any OpenAI-compatible server: vLLM, llama.cpp, Ollama, DeepSeek, ...

Servers differ in what they take: an answer is asked for by JSON schema, where that is refused or yields nothing usable
as a JSON object, and where that does neither, as text in which the object is looked for. What could be read is kept in
a cache on disk, so a run that was cut off goes on where it was. A text of which no cues can be had is an
`ExtractionError`, which callers record; a server that is away or refuses us ends the run with an `OSError`.
"""

import hashlib
import json
import os
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .cue_schema import MODALITIES, Cue, ExtractionError
from .templates import TEMPLATES, Answer, ValidationError, messages

FORMATS: dict[str, dict[str, Any]] = {
    "json_schema": {
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "cues", "schema": Answer.model_json_schema(), "strict": True},
        }
    },
    "json_object": {"response_format": {"type": "json_object"}},
    "text": {},
}
ATTEMPTS = 2  # of each format at getting a usable answer; some servers return blank ones now and then


class _UnusableError(ExtractionError):
    """This answer cannot be used; another may be."""


class _RefusedError(ExtractionError):
    """The server takes no such request."""


class LLMExtractor:
    """A language model as an extractor.

    Args:
        model: as the server calls it.
        base_url: of the server, such as "http://localhost:8000/v1"; default that of the openai client.
        api_key: default OPENAI_API_KEY; some servers want none.
        template: one of `TEMPLATES`.
        cache: an sqlite file for answers and failures; None keeps nothing.
        tries: how often a request is sent that is answered by 429 or 5xx or not in time, with growing pauses.
        timeout: seconds.
        max_tokens: of an answer.

    Raises:
        ImportError: openai is not installed. ValueError: no such template, or a cache file that is none.
    """

    def __init__(
        self,
        model: str,
        base_url: str | None = None,
        api_key: str | None = None,
        template: str = "brief",
        cache: str | os.PathLike | None = None,
        tries: int = 5,
        timeout: float = 120.0,
        max_tokens: int = 2048,
    ):
        try:
            import openai
        except ImportError:
            raise ImportError('a language model is asked through openai: pip install "xemogpt[eval]"') from None
        if template not in TEMPLATES:
            raise ValueError(f"no template {template!r}; there are {', '.join(TEMPLATES)}")
        key = api_key or os.environ.get("OPENAI_API_KEY") or "none"
        self.client = openai.OpenAI(base_url=base_url, api_key=key, timeout=timeout, max_retries=tries - 1)
        self.model, self.template = model, template
        self.settings = {"temperature": 0.0, "max_tokens": max_tokens}
        self.name = re.sub(r"[^\w.-]+", "-", f"{model}.{template}")  # no "|" or "@": it stands in signatures
        asked = [TEMPLATES[template], Answer.model_json_schema(), self.settings]
        self.digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:8]
        self.refused: set[str] = set()  # formats that the server does not take, though it takes a later one
        self.answered: set[str] = set()
        self.cache = AnswerCache(cache) if cache is not None else None

    def extract(self, text: str) -> list[Cue]:
        """The cues of a text; none for a blank one, without asking.

        Raises:
            ExtractionError: the server gives no usable answer to this text. OSError: it is away, or refuses us.
        """
        if not text.strip():
            return []
        key = self._key(text)
        answer = self.cache.get(key) if self.cache else None
        if answer is None:
            try:
                answer, form = self._ask(text)
            except ExtractionError as error:
                if self.cache:
                    self.cache.put(key, self.model, self.template, reason=str(error))
                raise
            if self.cache:
                self.cache.put(key, self.model, self.template, answer=answer, form=form)
        return read_answer(answer).cues(text, self.name)

    def _key(self, text: str) -> str:
        asked = {
            "model": self.model,
            "messages": messages(self.template, text),
            "schema": Answer.model_json_schema(),
            "settings": self.settings,
            "template": self.template,
        }
        return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()

    def _ask(self, text: str) -> tuple[str, str]:
        """An answer that can be read, and the format that it was asked for in."""
        reasons: dict[str, None] = {}
        failed: set[str] = set()
        for form in [form for form in FORMATS if form not in self.refused]:
            for _ in range(ATTEMPTS):
                try:
                    answer = self._request(text, form)
                    read_answer(answer)
                    self.answered.add(form)
                    self.refused |= failed - self.answered
                    return answer, form
                except _RefusedError as error:
                    reasons[f"{form}: {error}"] = None
                    failed.add(form)
                    break
                except _UnusableError as error:
                    reasons[f"{form}: {error}"] = None
        raise ExtractionError("; ".join(reasons))

    def _request(self, text: str, form: str) -> str:
        import openai

        where = f"{self.client.base_url} with model {self.model!r}"
        try:
            create: Any = self.client.chat.completions.create  # its types know no other server's settings
            completion = create(
                model=self.model, messages=messages(self.template, text), **self.settings, **FORMATS[form]
            )
        except openai.APITimeoutError:
            raise ExtractionError(f"no answer within {self.client.timeout:g} s") from None
        except (openai.BadRequestError, openai.UnprocessableEntityError, openai.InternalServerError) as error:
            raise _RefusedError(self._said(error)) from None  # of the text or of the format: the next one will tell
        except (openai.APIConnectionError, openai.APIStatusError) as error:
            raise OSError(f"{where}: {self._said(error)}; start again when that is mended, nothing is lost") from None
        except (openai.APIError, ValueError) as error:
            raise _UnusableError(f"no completion ({self._said(error)})") from None
        try:
            choice = completion.choices[0]
            answer, finish = choice.message.content or "", choice.finish_reason
        except (AttributeError, IndexError, TypeError):
            raise _UnusableError("a reply that is no completion") from None
        if finish == "length" and not _readable(answer):
            raise _UnusableError(f"cut off after {self.settings['max_tokens']} tokens")
        return answer

    def _said(self, error: Exception) -> str:
        said = " ".join(str(error).split())[:300]
        return said.replace(self.client.api_key, "***") if len(self.client.api_key) > 4 else said


class AnswerCache:
    """Answers and failures in an sqlite file, by the hash of all that decides them. Failures are asked again."""

    def __init__(self, path: str | os.PathLike):
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(Path(path), check_same_thread=False, timeout=30)
            self._db.execute(
                "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, model TEXT, template TEXT, format TEXT,"
                " answer TEXT, reason TEXT, time REAL)"
            )
        except sqlite3.Error as error:
            raise ValueError(f"{path}: is no cache that could be opened ({error}); name another file") from None

    def get(self, key: str) -> str | None:
        """The answer that is kept."""
        with self._lock:
            row = self._db.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def put(
        self,
        key: str,
        model: str,
        template: str,
        *,
        answer: str | None = None,
        form: str | None = None,
        reason: str | None = None,
    ) -> None:
        """Keep an answer, or the reason why there is none."""
        with self._lock, self._db:
            row = (key, model, template, form, answer, reason, time.time())
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?)", row)

    def failures(self) -> list[Mapping[str, Any]]:
        """What failed and did not succeed since: key, model, template and reason."""
        columns = ("key", "model", "template", "reason")
        with self._lock:
            rows = self._db.execute(f"SELECT {', '.join(columns)} FROM answers WHERE answer IS NULL").fetchall()
        return [dict(zip(columns, row, strict=True)) for row in rows]


def read_answer(answer: str) -> Answer:
    """The first object in a reply that fits; what is thought aloud or fenced around it is passed over.

    Raises:
        ExtractionError: there is none; says why.
    """
    if not answer.strip():
        raise _UnusableError("a blank answer")
    reason = "an answer without a whole JSON object of cues"
    for value in _objects(re.sub(r"(?s)<think>.*?</think>", "", answer)):
        try:
            return Answer.model_validate(value)
        except ValidationError as error:
            if set(value) & set(MODALITIES):  # else it is an inner part of something that is broken
                first = error.errors()[0]
                reason = f"JSON of another form ({'.'.join(map(str, first['loc']))}: {first['msg']})"
    raise _UnusableError(reason)


def _readable(answer: str) -> bool:
    try:
        return bool(read_answer(answer))
    except ExtractionError:
        return False


def _objects(text: str) -> Iterator[Any]:
    """The outermost JSON objects in a text, in order."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
            yield value
        except (ValueError, RecursionError):
            end = at + 1
        at = text.find("{", end)
