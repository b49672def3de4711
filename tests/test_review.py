# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""People's review: what they are shown, what is kept of what they say, and what is made of it."""

import http.client
import json
import math
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from xemogpt.cli import main
from xemogpt.data.review import label_studio
from xemogpt.data.review.ratings import DIMENSIONS, Item, Ratings, order, rating, read_items, read_ratings
from xemogpt.data.review.server import ReviewServer, serving

statistics = pytest.importorskip("xemogpt.data.review.statistics", reason="needs scipy", exc_type=ImportError)

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", section C: four observers, twelve units
OBSERVERS = ["123321412...", "1233224125.3", ".3332342251.", "12332441251."]


def items_file(folder: Path, count: int, old: str = "Old {}.") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for number in range(count):
        (folder / f"c{number}.mp4").write_bytes(bytes(range(100)) + bytes([number]))
        sides = [("new", f"New {number}."), ("old", old.format(number))]
        (is_left, left), (_, right) = sides if number % 2 else sides[::-1]
        row = {"id": f"clip-{number}", "video": str(folder / f"c{number}.mp4"), "audio": None, "label": "sad"}
        rows.append(row | {"left": left, "right": right, "left_is": is_left})
    (folder / "review.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return folder / "review.jsonl"


def scores(item: Item, left: int = 4, right: int = 2) -> dict[str, dict[str, int | None]]:
    values = {"left": left, "right": right}
    return {side: dict.fromkeys(DIMENSIONS, values[side]) for side in item.sides}


def test_alpha_is_the_published_one() -> None:
    units = [[None if text[unit] == "." else int(text[unit]) for text in OBSERVERS] for unit in range(12)]
    assert statistics.ordinal_alpha(units) == pytest.approx(0.815, abs=5e-4)


def test_alpha_at_its_ends() -> None:
    assert statistics.ordinal_alpha([[1, 1], [2, 2], [5, 5, None]]) == 1
    assert statistics.ordinal_alpha([[1, 5], [5, 1]]) < 0
    assert math.isnan(statistics.ordinal_alpha([[3, 3], [3, 3]]))  # nothing to tell apart
    assert math.isnan(statistics.ordinal_alpha([[1], [2, None]]))
    near, far = ([[1, 1], [3, 3], [5, 5], pair] for pair in ([1, 3], [1, 5]))
    assert statistics.ordinal_alpha(near) > statistics.ordinal_alpha(far)


def test_holm_and_the_signed_rank_test() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])  # by hand
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]
    assert statistics.holm([]) == []
    assert statistics.signed_rank([4, 5, 6, 7, 8], 3) == pytest.approx(2 / 2**5)  # all signs alike: exact
    assert statistics.signed_rank([3, 3], 3) == 1
    assert statistics.signed_rank([2, 4, 1, 5], 3) == pytest.approx(1)


def test_the_interval_holds_what_it_says() -> None:
    import numpy as np

    dice = np.random.default_rng(1)
    held = 0
    for _ in range(200):
        found = statistics.bootstrap_mean(dice.normal(3, 1, 60), draws=400)
        held += found.low <= 3 <= found.high
    assert 178 <= held <= 198
    assert statistics.bootstrap_mean([2, 4], seed=5) == statistics.bootstrap_mean([2, 4], seed=5)


def test_every_rater_sees_all_clips_and_some_again_with_sides_exchanged(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 20))
    ann, bob = order(items, "ann", 0.2), order(items, "bob", 0.2)
    assert ann == order(items[::-1], "ann", 0.2)
    assert [item.id for item in ann] != [item.id for item in bob]
    assert {item.id for item in ann[:20]} == {item.id for item in items}
    assert [item.repeat for item in ann] == [False] * 20 + [True] * 4
    assert ann[19].id != ann[20].id
    first = {item.id: item for item in ann[:20]}
    for again in ann[20:]:
        assert (again.left, again.right) == (first[again.id].right, first[again.id].left)
        assert again.left_is != first[again.id].left_is
        assert again.key != first[again.id].key


def test_what_was_said_outlives_a_crash(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 3))
    ratings = Ratings(tmp_path / "r", "ann", items)
    item = ratings.next()
    assert item is not None
    ratings.add(item.key, scores(item), 12.34)
    with pytest.raises(ValueError, match="rated before"):
        ratings.add(item.key, scores(item), 1)
    with pytest.raises(ValueError, match="another run is writing it"):
        Ratings(tmp_path / "r", "ann", items)
    ratings.close()
    with (tmp_path / "r" / "ann.jsonl").open("a") as file:
        file.write('{"key": "torn')
    assert len(read_ratings([tmp_path / "r" / "ann.jsonl"])) == 1
    again = Ratings(tmp_path / "r", "ann", items)
    assert again.next() != item
    rest = again.next()
    assert rest is not None
    again.add(rest.key, scores(rest), 1)
    again.close()
    rows = read_ratings([tmp_path / "r" / "ann.jsonl"])
    assert [row["id"] for row in rows] == [item.id, rest.id]
    assert rows[0]["scores"] == {
        text: dict.fromkeys(DIMENSIONS, 4 if item.left_is == text else 2) for text in ("new", "old")
    }


@pytest.mark.parametrize("wrong", [0, 6, 2.5, "4", True])
def test_scores_are_whole_and_from_1_to_5(wrong: Any, tmp_path: Path) -> None:
    (item,) = read_items(items_file(tmp_path, 1))
    with pytest.raises(ValueError, match="is none of 1 to 5"):
        rating(item, "ann", scores(item, left=wrong))
    with pytest.raises(ValueError, match="needs visual, audio, global of left and right"):
        rating(item, "ann", {"left": scores(item)["left"]})
    assert rating(item, "ann", scores(item, left=None))  # type: ignore[arg-type]


def test_items_that_cannot_be_shown_are_refused(tmp_path: Path) -> None:
    path = items_file(tmp_path / "a", 2)
    with pytest.raises(ValueError, match=r"line 1: clip-0: .* is not below"):
        read_items(path, root=tmp_path / "b")
    assert len(read_items(path, root=tmp_path)) == 2
    (tmp_path / "a" / "c1.mp4").unlink()
    with pytest.raises(FileNotFoundError, match="line 2: clip-1"):
        read_items(path)
    path.write_text('{"id": "x"}')
    with pytest.raises(ValueError, match="line 1: is no clip to review"):
        read_items(path)
    for change, message in (
        ({"video": str(path)}, "is no video and no sound"),  # the page must not serve any file that is named
        ({"left": "", "right": ""}, "has no text to rate"),  # the page would have nothing to send
    ):
        row = json.loads(items_file(tmp_path / "d", 1).read_text()) | change
        (tmp_path / "d" / "review.jsonl").write_text(json.dumps(row))
        with pytest.raises(ValueError, match=f"line 1: clip-0: .*{message}"):
            read_items(tmp_path / "d" / "review.jsonl")
    with pytest.raises(ValueError, match="a rater's name"):
        Ratings(tmp_path, "../ann", [])


def ask(server: ReviewServer, path: str, body: Any = None, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    data = None if body is None else json.dumps(body)
    kind = {} if body is None else {"Content-Type": "application/json"}
    connection.request("GET" if body is None else "POST", path, data, kind | headers)
    reply = connection.getresponse()
    return reply.status, reply.read(), dict(reply.getheaders())


def test_the_page_is_blind_and_goes_from_clip_to_clip(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 4))
    with serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1", repeats=0.25)) as server:
        assert b"XEmoGPT review" in ask(server, "/")[1]
        for done in range(5):
            status, said, _ = ask(server, "/next?rater=ann")
            state = json.loads(said)
            assert (status, state["done"], state["of"]) == (200, done, 5)
            for secret in (b"clip-", b"left_is", b"sad", b".mp4", b"repeat"):
                assert secret not in said
            answer = {"rater": "ann", "key": state["item"]["key"], "seconds": 1.0}
            given = {
                side: dict.fromkeys(DIMENSIONS, 5 if text[0] == "N" else 1)
                for side, text in state["item"]["texts"].items()
            }
            assert ask(server, "/rate", answer | {"scores": {}})[0] == 400
            assert ask(server, "/rate", answer | {"scores": given})[0] == 200
        assert json.loads(ask(server, "/next?rater=ann")[1])["item"] is None
        assert ask(server, "/next?rater=..%2Fann")[0] == 400
    rows = read_ratings([tmp_path / "r" / "ann.jsonl"])
    assert [row["repeat"] for row in rows] == [False] * 4 + [True]
    assert all(row["scores"]["new"]["audio"] == 5 and row["scores"]["old"]["audio"] == 1 for row in rows)


def test_media_come_by_key_and_in_parts(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 2))
    whole = (tmp_path / "c0.mp4").read_bytes()
    with serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1")) as server:
        path = f"/media/{items[0].key}"
        status, data, headers = ask(server, path)
        assert (status, data, headers["Content-Type"]) == (200, whole, "video/mp4")
        status, data, headers = ask(server, path, Range="bytes=10-19")
        assert (status, data, headers["Content-Range"]) == (206, whole[10:20], "bytes 10-19/101")
        assert ask(server, path, Range="bytes=-5")[1] == whole[-5:]
        assert ask(server, path, Range="bytes=90-")[1] == whole[90:]
        assert ask(server, path, Range="bytes=101-")[0] == 416
        for foreign in ("/media/c0.mp4", "/media/../review.jsonl", f"/media/{tmp_path}/c0.mp4", "/review.jsonl"):
            assert ask(server, foreign)[0] == 404


def test_a_separate_sound_is_served_beside_its_picture(tmp_path: Path) -> None:
    path = items_file(tmp_path, 2)
    first, second = map(json.loads, path.read_text().splitlines())
    (tmp_path / "c0.wav").write_bytes(b"sound")
    path.write_text("\n".join(map(json.dumps, (first | {"audio": str(tmp_path / "c0.wav")}, second))))
    both, alone = items = read_items(path)
    with serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1", repeats=1)) as server:
        for item in (both, both.again()):
            assert ask(server, f"/media/{item.key}")[1] == (tmp_path / "c0.mp4").read_bytes()
            assert ask(server, f"/media/{item.key}-sound")[1] == b"sound"
        assert ask(server, f"/media/{alone.key}-sound")[0] == 404
        shown = {}
        for _ in items:
            item = json.loads(ask(server, "/next?rater=ann")[1])["item"]
            shown[item["key"]] = item["sound"]
            given = {side: dict.fromkeys(DIMENSIONS, 3) for side in item["texts"]}
            ask(server, "/rate", {"rater": "ann", "key": item["key"], "scores": given, "seconds": 1})
    assert shown == {both.key: f"{both.key}-sound", alone.key: None}
    assert main(["review", "tasks", "--items", str(path), "--out", str(tmp_path / "ls"), "--media", "/m/"]) == 0
    tasks = [task["data"] for task in json.loads((tmp_path / "ls" / "tasks.json").read_text())]
    assert [task["sound"] for task in tasks] == [f"/m/{both.key}-sound.wav", f"/m/{alone.key}.mp4"]
    files = json.loads((tmp_path / "ls" / "files.json").read_text())
    assert files == {both.key: both.video, f"{both.key}-sound": both.audio, alone.key: alone.video}
    assert '<Audio name="sound" value="$sound" sync="clip"/>' in (tmp_path / "ls" / "interface.xml").read_text()
    assert "sound" not in label_studio.to_tasks([alone], "/m/")[0]["data"]
    assert "sound" not in label_studio.interface([alone])


def test_what_is_wrong_is_told_without_telling_the_clip(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 1))
    with serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1")) as server:
        body: dict[str, Any] = {"rater": "ann", "key": items[0].key, "scores": scores(items[0]), "seconds": 1}
        for change, message in (
            ({"scores": scores(items[0], left=6)}, "6 is none of 1 to 5"),
            ({"scores": {}}, "needs visual, audio, global of left and right"),
            ({"seconds": math.nan}, "seconds nan is no number"),
            ({"rater": ["ann"]}, ""),
        ):
            status, said, _ = ask(server, "/rate", body | change)
            assert (status, message in json.loads(said)["error"]) == (400, True)
            assert b"clip-" not in said
        for length in ("abc", "-5", "²", "1" * 20, ""):
            connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
            connection.putrequest("POST", "/rate")
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", length.encode())
            connection.endheaders()
            assert connection.getresponse().status == 400
        slow = http.client.HTTPConnection("127.0.0.1", server.server_port)
        slow.request("POST", "/rate", headers={"Content-Type": "application/json", "Content-Length": "50"})
        assert ask(server, "/rate", body)[0] == 200  # while the other has yet to send its rating
        slow.close()


def test_raters_are_called_what_they_are_called(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 1))
    with serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1")) as server:
        for rater, name in (("李", "李"), ("नेहा", "नेहा"), ("Zoe\u0308", "Zo\u00eb"), (" Zo\u00eb ", "Zo\u00eb")):
            assert ask(server, f"/next?rater={quote(rater)}")[0] == 200
            body = {"rater": rater, "key": items[0].key, "scores": scores(items[0]), "seconds": 1}
            assert ask(server, "/rate", body)[0] == (400 if rater.startswith(" ") else 200)  # rated before
            assert (tmp_path / "r" / f"{name}.jsonl").is_file()
        for rater in ("", " ", "..", "-a", "_a", "a/b", "a\\b", "a b", "a\u202eb", "a\n", "李" * 33):
            wanted = 200 if rater == "a\n" else 400
            assert ask(server, f"/next?rater={quote(rater)}")[0] == wanted, rater
    assert {row["rater"] for row in read_ratings((tmp_path / "r").glob("*.jsonl"))} == {"李", "नेहा", "Zo\u00eb"}


def test_a_port_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = str(items_file(tmp_path, 1))
    for port in ("80000", "-1"):
        assert main(["review", "serve", "--items", items, "--ratings", str(tmp_path / "r"), "--port", port]) == 2
        assert f"--port {port}: is none of 0 to 65535" in capsys.readouterr().err


def test_other_sites_cannot_ask_or_rate(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 1))
    with serving(ReviewServer(items, tmp_path / "r", 0, "127.0.0.1")) as server:
        assert ask(server, "/", Host="evil.example")[0] == 403
        body = {"rater": "ann", "key": items[0].key, "scores": scores(items[0]), "seconds": 1}
        assert ask(server, "/rate", body, Host="evil.example")[0] == 400
        assert ask(server, "/rate", body, **{"Content-Type": "text/plain"})[0] == 400
        assert ask(server, "/rate", body)[0] == 200


def test_label_studio_goes_out_and_comes_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = items_file(tmp_path / "items", 3)
    assert main(["review", "tasks", "--items", str(path), "--out", str(tmp_path / "ls"), "--media", "/m/"]) == 0
    tasks = json.loads((tmp_path / "ls" / "tasks.json").read_text())
    assert "clip-" not in json.dumps(tasks)
    assert "left_is" not in json.dumps(tasks)
    assert 'name="left_visual" toName="left"' in (tmp_path / "ls" / "interface.xml").read_text()
    for number, task in enumerate(tasks):
        result = [
            {
                "from_name": f"{side}_{name}",
                "to_name": side,
                "type": "rating",
                "value": {"rating": 2 + (side == "left")},
            }
            for side in ("left", "right")
            for name in DIMENSIONS[:2]
        ]
        task |= {"id": number, "annotations": [{"completed_by": 7, "result": result}]}
    tasks[0]["annotations"].append({"completed_by": 8, "was_cancelled": True, "result": []})
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    inwards = ["review", "import", "--items", str(path), "--ratings", str(tmp_path / "r"), "--export"]
    assert main([*inwards, str(tmp_path / "export.json")]) == 0
    rows = read_ratings([tmp_path / "r" / "label-studio.jsonl"])
    assert {row["rater"] for row in rows} == {"ls-7"}
    items = {item.id: item for item in read_items(path)}
    for row in rows:
        assert row["scores"][items[row["id"]].left_is] == {"visual": 3, "audio": 3, "global": None}
    tasks[1]["annotations"] *= 2
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    assert main([*inwards, str(tmp_path / "export.json")]) == 2
    assert "task 2, clip-1: ls-7 has rated it twice" in capsys.readouterr().err
    assert read_ratings([tmp_path / "r" / "label-studio.jsonl"]) == rows  # what was imported before is kept
    tasks[0]["data"]["key"] = "unknown"
    with pytest.raises(ValueError, match="task 1: is none that was exported"):
        label_studio.from_export(tasks, list(items.values()))


def test_the_report_says_what_was_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    items = read_items(items_file(tmp_path / "items", 12))
    for rater, shift in (("ann", 0), ("bob", 1)):
        ratings = Ratings(tmp_path / "r", rater, order(items, rater, 0.25))
        while (item := ratings.next()) is not None:
            good, bad = 4 + (int(item.id[5:]) + shift) % 2, 1 + int(item.id[5:]) % 3
            left, right = (good, bad) if item.left_is == "new" else (bad, good)
            ratings.add(item.key, scores(item, left, right), 1)
        ratings.close()
    assert main(["review", "report", "--ratings", str(tmp_path / "r"), "--out", str(tmp_path / "out")]) == 0
    assert "new visual: 4.50 [4.50, 4.50]" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    new, old = (next(e for e in report["scores"] if e["text"] == text) for text in ("new", "old"))
    assert (new["clips"], new["ratings"], new["mean"]) == (12, 24, 4.5)
    assert new["shares"] == [0, 0, 0, 0.5, 0.5]
    assert new["alpha"] < 0  # where one says 4 the other says 5
    assert (old["mean"], old["alpha"]) == (2, 1)
    assert new["p_holm"] < 0.05
    assert new["p"] < new["p_holm"]
    assert [each["mean"] for each in report["differences"]] == [2.5] * 3
    assert report["self"]["ann"] == {"pairs": 18, "alpha": 1, "same": 1}
    page = (tmp_path / "out" / "report.html").read_text()
    assert "<svg" in page
    assert "src=" not in page
    assert 'href="http' not in page  # one file, nothing fetched
    assert (tmp_path / "out" / "ratings.png").read_bytes().startswith(b"\x89PNG")


def test_without_an_old_text_one_is_rated(tmp_path: Path) -> None:
    items = read_items(items_file(tmp_path, 2, old=""))
    rows = [rating(item, "ann", scores(item)) for item in items]
    assert all(set(row["scores"]) == {"new"} for row in rows)
    from xemogpt.data.review.report import summarise

    report = summarise(rows)
    assert {entry["text"] for entry in report["scores"]} == {"new"}
    assert report["differences"] == []
    with pytest.raises(ValueError, match="no rating"):
        summarise([])
