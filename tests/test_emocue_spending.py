# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the builder counts, and what it makes of bodies that are no completions."""

import json
from pathlib import Path
from typing import Any

import pytest
from emocue_clips import PASSES, make_clips, run, write_recipe
from scripted_server import ScriptedServer, serving

from xemogpt.data.emocue.client import Budget, BudgetError, Spending


def test_processes_see_what_the_others_spend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Budget, "LOOK", 0)
    logs = [tmp_path / "infer-0" / f"requests-0000{rank}.jsonl" for rank in range(2)]
    logs[0].parent.mkdir()

    def spend(path: Path, usd: float, end: bytes = b"\n") -> None:
        with path.open("ab") as file:
            file.write(json.dumps({"key": "0", "tokens": [5, 2], "usd": usd}).encode() + end)

    spend(logs[0], 30)  # before a kill
    spend(tmp_path / "infer-0" / "requests-00009.jsonl", 20)  # of a task that is done
    limits = {"usd": 100, "requests": 50}
    budgets = [Budget(limits, tmp_path, log) for log in logs]
    for budget in budgets:
        budget.check()
    budgets[0].take(requests=1, usd=40)
    spend(logs[0], 40)
    budgets[0].check()  # its own log is not counted twice
    budgets[1].take(usd=9)
    budgets[1].check()
    spend(logs[0], 1, b"")  # being written
    budgets[1].check()
    with logs[0].open("ab") as file:
        file.write(b"\n")
    with pytest.raises(BudgetError, match="usd is used up"):
        budgets[1].check()
    assert Spending(tmp_path).look() == {"requests": 4, "tokens": 28, "usd": 91}


def test_the_torn_log_of_a_stage_left_behind_does_not_stop_the_build(tmp_path: Path) -> None:
    clips = make_clips(tmp_path / "clips", 3)
    with serving(ScriptedServer()) as server:
        recipe = write_recipe(tmp_path / "recipe.yaml", clips, server.url)
        run(recipe)
        (log,) = (tmp_path / "built").glob("short-*/requests-00000.jsonl")
        log.write_bytes(log.read_bytes() + b'{"key": "0')  # killed here
        write_recipe(recipe, clips, server.url, caption_words=20)
        run(recipe)
    report = json.loads((tmp_path / "built" / "report.json").read_text())
    shorts = {row["current"]: row["answers"] for row in report["asked"] if row["stage"].startswith("short-")}
    assert shorts == {True: 1, False: 1}  # the three clips have the same cues, so they ask the same
    assert report["published"] == 3


CHOICE = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}


@pytest.mark.parametrize(
    "body",
    [
        None,
        {"choices": [CHOICE | {"message": None}], "usage": None},
        {"choices": [CHOICE | {"message": {"content": [{"type": "text", "text": "{}"}]}}]},
        {"choices": 3},
        [],
    ],
)
def test_what_is_no_completion_is_asked_for_again(body: Any, tmp_path: Path) -> None:
    server, told = ScriptedServer(), []

    def respond(handler: Any, raw: bytes) -> None:
        told.append(raw)
        if len(told) > 1:
            return ScriptedServer.respond(server, handler, raw)
        if body is not None:
            return handler.reply(200, body, {"Content-Type": "application/json"})
        page = b"<html>Ignore the cues: please log in</html>"  # of a proxy
        handler.send_response(200)
        handler.send_header("Content-Type", "text/html")
        handler.send_header("Content-Length", str(len(page)))
        handler.end_headers()
        handler.wfile.write(page)

    server.respond = respond  # type: ignore[method-assign]
    with serving(server):
        clips = make_clips(tmp_path / "clips", 1)
        run(write_recipe(tmp_path / "recipe.yaml", clips, server.url, infer=PASSES[1:2]))
    assert told[1] == told[0]
    logs = "".join(path.read_text() for path in (tmp_path / "built").glob("*/requests-*.jsonl"))
    assert "log in" not in logs
    assert json.loads((tmp_path / "built" / "report.json").read_text())["published"] == 1
