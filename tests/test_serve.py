# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The server, over the loopback: OpenAI's own client and the builder's ask, and what comes back is the model's."""

import base64
import io
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
import torch
import uvicorn
from emocue_clips import PASSES, contents, run, write_recipe
from PIL import Image
from scripted_server import ScriptedServer, serving
from tiny_model import make_tiny_model
from transformers import AutoModelForMultimodalLM, AutoProcessor

from xemogpt.cli import main
from xemogpt.data.emocue.answers import CueList, Short, parse_answer
from xemogpt.data.emocue.media import audio_part, frame_parts
from xemogpt.data.emocue.prompts import get_prompt, slot
from xemogpt.eval.answerers import shown_name
from xemogpt.inference import server as served
from xemogpt.inference.chat import MOST_FRAMES, cues_of
from xemogpt.inference.clips import Clip
from xemogpt.inference.explainer import Answer, DeviceLost, Explainer
from xemogpt.inference.explanation import Decoding, Question
from xemogpt.inference.server import Batcher, make_app
from xemogpt.media_xemogpt import load_audio

JOY, SADNESS = ("joy.mp4", "sadness.mp4")
FORM = {"type": "json_schema", "json_schema": {"name": "CueList", "schema": CueList.model_json_schema()}}
SHORT = {"max_tokens": 12}


@contextmanager
def at_work(explainer: Explainer, **settings: Any) -> Iterator[str]:
    """A server of its own for an explainer; its address."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        app = make_app(explainer, "tiny", **settings)
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    return Explainer(make_tiny_model(tmp_path_factory.mktemp("tiny") / "model"))


@pytest.fixture(scope="module")
def url(explainer: Explainer) -> Iterator[str]:
    with at_work(explainer, most_tokens=64) as address:
        yield address


@pytest.fixture(scope="module")
def client(url: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def frames(root: Path) -> list[dict[str, Any]]:
    return frame_parts(str(root / "examples" / JOY), 4)


@pytest.fixture(scope="module")
def sound(root: Path) -> dict[str, Any]:
    return audio_part(str(root / "examples" / JOY))


def ask(client: openai.OpenAI, *parts: Any, **settings: Any) -> Any:
    system = {"role": "system", "content": get_prompt("emocue-blind-1")}
    asked: Any = {"messages": [system, {"role": "user", "content": list(parts)}], "model": "tiny"}
    return client.chat.completions.create(**asked | SHORT | settings)


def text(content: str) -> dict[str, str]:
    return {"type": "text", "text": content}


def same_clip(frames: list[dict[str, Any]], sound: dict[str, Any] | None, root: Path, **more: Any) -> Clip:
    """What the request shows, by another way than the server's."""
    pictures = [part["image_url"]["url"].partition(",")[2] for part in frames]
    video = [Image.open(io.BytesIO(base64.b64decode(each))) for each in pictures] or None
    audio = load_audio(root / "examples" / JOY, 16000) if sound else False
    return Clip(video, (np.clip(audio, -1, 1) * 32767).astype("<i2") if sound else False, **more)


def test_models_are_listed_and_another_is_not_found(client: openai.OpenAI, frames: list[Any]) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    with pytest.raises(openai.NotFoundError, match="'gpt-7' is not here; this server has 'tiny'"):
        ask(client, *frames, model="gpt-7")


@pytest.mark.parametrize("task", ["reason", "visual", "audio"])
def test_the_models_own_prompt_is_asked_for_what_is_shown(
    client: openai.OpenAI, explainer: Explainer, frames: list[Any], sound: Any, root: Path, task: str
) -> None:
    frames, heard = ([] if task == "audio" else frames), (None if task == "visual" else sound)
    said = text(slot({"subtitle": "It is <b>a</b>\n fine day.", "labels": ["happy"]}))
    answer = ask(client, *frames, *([heard] if heard else []), said)
    clip = same_clip(frames, heard, root, subtitle="It is <b>a</b> fine day.")
    expected = explainer.explain([clip], Question(task), Decoding(12))[0]
    assert answer.choices[0].message.content == expected.text
    assert answer.choices[0].finish_reason == ("stop" if expected.finished else "length")
    assert (answer.xemogpt["task"], answer.xemogpt["prompt_id"]) == (task, f"{task}-en-1")
    assert answer.xemogpt["note"].startswith("tiny has untrained parts")
    assert [each.partition(":")[0] for each in answer.xemogpt["unused"]] == ["system message", "labels"]
    inputs = explainer.prepare(clip, Question(task))
    assert answer.usage.prompt_tokens == inputs["input_ids"].shape[1]
    assert answer.usage.completion_tokens == 12


def test_a_question_of_ones_own_and_fields_beside_openais(
    client: openai.OpenAI, explainer: Explainer, frames: list[Any], root: Path
) -> None:
    clip = same_clip(frames, None, root)
    asked, own = ask(client, *frames, text("Is she glad?")), Question("visual", instruction="Is she glad?")
    assert asked.choices[0].message.content == explainer.explain([clip], own, Decoding(12))[0].text
    assert asked.xemogpt["prompt_id"] == "custom"
    chinese, own = (
        ask(client, *frames, extra_body={"task": "recognise", "language": "zh"}),
        Question("recognise", "zh"),
    )
    assert chinese.xemogpt["prompt_id"] == "recognise-zh-1"
    assert chinese.choices[0].message.content == explainer.explain([clip], own, Decoding(12))[0].text


def test_json_is_the_paragraph_sorted_and_nothing_else(client: openai.OpenAI, frames: list[Any], sound: Any) -> None:
    for form in (FORM, {"type": "json_object"}):
        answer = ask(client, *frames, sound, text("Answer with the JSON alone."), response_format=form, max_tokens=64)
        choice = answer.choices[0]
        found = parse_answer(choice.message.content, choice.finish_reason, CueList)
        said = Answer(answer.xemogpt["paragraph"], choice.finish_reason == "stop", 64)
        assert [cue.model_dump() for cue in found.cues] == cues_of(said, "reason")
        assert any(each.startswith("text: where JSON is asked for") for each in answer.xemogpt["unused"])


def test_cues_are_whole_sentences() -> None:
    paragraph = "In the video, she frowns. In the audio, her voice trembles. Therefore she is sa"
    cues = [
        {"modality": "visual", "text": "In the video, she frowns."},
        {"modality": "audio", "text": "In the audio, her voice trembles."},
    ]
    assert cues_of(Answer(paragraph, False, 20), "reason") == cues
    whole = {"modality": "global", "text": "Therefore she is sa"}
    assert cues_of(Answer(paragraph, True, 20), "reason") == [*cues, whole]
    assert cues_of(Answer("She frowns and", False, 3), "visual") == []
    assert cues_of(Answer("A slow start.", True, 3), "audio") == [{"modality": "audio", "text": "A slow start."}]


def test_what_was_said_is_no_file_to_read(client: openai.OpenAI, sound: Any, tmp_path: Path) -> None:
    for name in ("words.srt", "words.txt"):
        path = tmp_path / name
        path.write_text("1\n00:00:00,000 --> 00:00:01,000\n" + "secret " * 40)
        read = ask(client, sound, text(slot({"subtitle": str(path)}))).usage.prompt_tokens
        spoken = ask(client, sound, text(slot({"subtitle": f"{path}."}))).usage.prompt_tokens
        assert abs(read - spoken) <= 2


def broken(part: dict[str, Any], data: str) -> dict[str, Any]:
    if part["type"] == "input_audio":
        return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}
    return {"type": "image_url", "image_url": {"url": data}}


JPEG = "data:image/jpeg;base64,"
PLAYLIST = base64.b64encode(b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/hostname\n").decode()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda f, s: {"messages": []}, "messages: is no list"),
        (lambda f, s: {"messages": ["hello"]}, "a message of role None"),
        (lambda f, s: {"messages": [{"role": "assistant", "content": "x"}]}, "answers one question"),
        (lambda f, s: {"messages": [{"role": "user", "content": None}]}, "neither text nor a list"),
        (lambda f, s: [text("What do you feel?")], "neither frames"),
        (lambda f, s: [f, {"type": "video_url", "video_url": {"url": "x"}}], "type 'video_url'"),
        (lambda f, s: [broken(f, "http://127.0.0.1/x.jpg")], "frame 1: give a data URL"),
        (lambda f, s: [f, broken(f, "file:///etc/hostname")], "frame 2: give a data URL"),
        (lambda f, s: [broken(f, JPEG + "!!")], "frame 1: holds no base64 data"),
        (lambda f, s: [broken(f, JPEG + "aGVsbG8=")], "frame 1: is no JPEG or PNG or WEBP picture"),
        (lambda f, s: [broken(f, f["image_url"]["url"][: len(JPEG) + 400])], "frame 1: cannot be decoded"),
        (lambda f, s: [f, picture(20, 10)], "several shapes"),
        (lambda f, s: [picture(20000, 1000)], "20000 x 1000 pixels are too many"),
        (lambda f, s: [picture(3000, 3000)] * 16, "frame 1: 3000 x 3000 pixels are too many"),
        (lambda f, s: [f] * (MOST_FRAMES + 1), f"{MOST_FRAMES + 1} frames; give at most {MOST_FRAMES}"),
        (lambda f, s: [s, s], "2 sounds; a clip has one"),
        (lambda f, s: [broken(s, "")], "input_audio: holds no base64 data"),
        (lambda f, s: [broken(s, "aGVsbG8=")], "input_audio: "),
        (lambda f, s: [broken(s, PLAYLIST)], "input_audio: "),
        (lambda f, s: [f, text('{"subtitle": 3}')], "subtitle: is no text"),
        (lambda f, s: [f, text('{"subtitle": "a"}'), text('{"subtitle": "b"}')], "2 subtitles"),
        (lambda f, s: [f, text("why? " * 4000)], "exceed the context"),
        (lambda f, s: {"stream": True}, "stream: this server gives whole answers"),
        (lambda f, s: {"n": 2}, "n: 2; one answer"),
        (lambda f, s: {"stop": ["x"]}, "stop: is not supported"),
        (lambda f, s: {"max_tokens": 65}, "max_tokens: 65 is no whole number from 1 to 64"),
        (lambda f, s: {"temperature": "hot"}, "temperature: 'hot' is no number"),
        (lambda f, s: {"temperature": -1}, "temperature must be above 0"),
        (lambda f, s: {"task": "dance"}, "unknown task 'dance'"),
        (lambda f, s: {"task": ["reason"]}, "unknown task"),
        (lambda f, s: {"response_format": {"type": "xml"}}, "'xml' is none of"),
        (lambda f, s: {"response_format": schema(Short)}, "fills no other schema"),
        (lambda f, s: {"response_format": {"type": "json_schema"}}, "fills no other schema"),
    ],
)
def test_a_bad_request_is_told_why(url: str, frames: list[Any], sound: Any, change: Any, why: str) -> None:
    changed = change(frames[0], sound)
    body = {"model": "tiny", "max_tokens": 4, "messages": [{"role": "user", "content": frames}]}
    body |= changed if isinstance(changed, dict) else {"messages": [{"role": "user", "content": changed}]}
    reply = httpx2.post(f"{url}/chat/completions", json=body)
    assert reply.status_code == 400
    assert why in reply.json()["error"]["message"]
    assert "/tmp" not in reply.json()["error"]["message"]


def picture(width: int, height: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Image.new("L", (width, height)).save(buffer, "PNG")
    return broken({"type": "image_url"}, f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}")


def schema(form: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": form.model_json_schema()}}


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b"[" * 100_000, b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(url: str, client: openai.OpenAI, frames: list[Any], raw: bytes) -> None:
    reply = httpx2.post(f"{url}/chat/completions", content=raw)
    assert (reply.status_code, "the request is no JSON" in reply.text) == (400, True)
    assert ask(client, frames[0]).choices  # and the server is there


def test_no_other_address_and_no_endless_request(url: str) -> None:
    assert "GET /v1/models" in httpx2.get(f"{url}/files").json()["error"]["message"]
    assert httpx2.get(f"{url}/chat/completions").status_code == 405
    reply = httpx2.post(f"{url}/chat/completions", content=b" " * (served.MOST_BYTES + 1))
    assert (reply.status_code, reply.json()["error"]["message"]) == (413, "the request has more than 64 MiB")


def test_many_at_once_get_the_answers_of_each_alone(client: openai.OpenAI, frames: list[Any], sound: Any) -> None:
    kinds = [
        [*frames, sound],
        frames,
        [sound],
        [*frames, text("Who?")],
        [frames[0]],
        [sound, text(slot({"subtitle": "No."}))],
    ]
    alone = [ask(client, *each).choices[0].message.content for each in kinds]
    assert len(set(alone)) > 2
    with ThreadPoolExecutor(12) as pool:
        together = list(pool.map(lambda each: ask(client, *each).choices[0].message.content, kinds * 2))
    assert together == alone * 2


def test_those_that_wait_are_generated_together_but_what_is_sampled_alone(
    explainer: Explainer, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go, generate = threading.Event(), threading.Event(), explainer.model.generate
    batches: list[tuple[int, bool]] = []

    def slow(**more: Any) -> Any:
        batches.append((len(more["input_ids"]), more["do_sample"]))
        begun.set()
        assert go.wait(20)
        return generate(**more)

    monkeypatch.setattr(explainer.model, "generate", slow)
    inputs = explainer.prepare(Clip(audio=str(root / "examples" / JOY)), Question("audio"))
    batcher, greedy = Batcher(explainer, 3), Decoding(4)
    first = batcher.submit(inputs, greedy)
    assert begun.wait(20)
    warm = Decoding(4, do_sample=True, seed=1)
    waiting = [batcher.submit(inputs, warm), batcher.submit(inputs, greedy)]
    gone = batcher.submit(inputs, greedy)
    assert gone.cancel()  # who asked has hung up
    waiting += [batcher.submit(inputs, decoding) for decoding in (greedy, Decoding(5), greedy, greedy, warm)]
    go.set()
    texts = [each.result(20).text for each in (first, *waiting)]
    assert len({texts[place] for place in (0, 2, 3, 5, 6)}) == 1  # the greedy ones of four tokens
    # One place of the first full batch was of the one that has gone.
    assert batches == [(1, False), (1, True), (2, False), (1, False), (2, False), (1, True)]


def test_sampling_is_repeatable_in_any_company(client: openai.OpenAI, sound: Any) -> None:
    warm = {"temperature": 1.5, "seed": 7}
    first = ask(client, sound, **warm).choices[0].message.content
    with ThreadPoolExecutor(4) as pool:
        others = list(pool.map(lambda seed: ask(client, sound, temperature=1.5, seed=seed), (1, 7, 2, 7)))
    said = [each.choices[0].message.content for each in others]
    assert said[1] == said[3] == first
    assert len({*said}) == 3


def test_a_failure_of_the_model_is_said_and_survived(
    explainer: Explainer, sound: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": [sound]}], **SHORT}
    with at_work(explainer) as url:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        for error in (ValueError("no room"), torch.OutOfMemoryError("no room")):
            with monkeypatch.context() as patch:
                patch.setattr(explainer.model, "generate", raising(error))
                with pytest.raises(openai.InternalServerError, match="no room") as caught:
                    client.chat.completions.create(**asked)
            assert caught.value.status_code == 500
            assert client.chat.completions.create(**asked).choices
        if DeviceLost != ():
            with monkeypatch.context() as patch:
                patch.setattr(explainer.model, "generate", raising(DeviceLost("the card has gone")))
                with pytest.raises(openai.InternalServerError, match="the card has gone"):
                    client.chat.completions.create(**asked)
            with pytest.raises(openai.InternalServerError, match="start the server again"):
                client.models.list()


def raising(error: Exception) -> Any:
    def generate(**_: Any) -> None:
        raise error

    return generate


def test_too_many_are_asked_to_come_again(explainer: Explainer, sound: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(served, "MOST_WAITING", 1)
    begun, go, generate = threading.Event(), threading.Event(), explainer.model.generate

    def slow(**more: Any) -> Any:
        begun.set()
        assert go.wait(20)
        return generate(**more)

    monkeypatch.setattr(explainer.model, "generate", slow)
    with at_work(explainer) as url, ThreadPoolExecutor(1) as pool:
        client = openai.OpenAI(base_url=url, api_key="none", max_retries=0)
        first = pool.submit(ask, client, sound)
        assert begun.wait(20)
        with pytest.raises(openai.RateLimitError, match="1 requests wait already") as refused:
            ask(client, sound)
        go.set()
        assert refused.value.response.headers["retry-after"] == "1"
        assert first.result().choices
        assert ask(client, sound).choices


def test_the_command_refuses_what_cannot_be_served(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", "--port", str(taken.getsockname()[1])]) == 2
    assert "choose another --port" in capsys.readouterr().err
    assert main(["serve", "--batch-size", "0"]) == 2
    assert main(["serve", "--port", "0", "--model", str(tmp_path / "none")]) == 2
    assert "no such model folder" in capsys.readouterr().err
    assert (shown_name(f"{tmp_path}{os.sep}"), shown_name("owner/name")) == (tmp_path.name, "owner/name")


SAID = {
    "reason": "In the video, she frowns and looks down. In the audio, her voice trembles. Therefore she is sad.",
    "visual": "In the video, the woman frowns and looks down.",
    "audio": "In the audio, her voice trembles and she speaks slowly.",
}


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Explainer:
    """A model that has learnt one paragraph for each task by heart."""
    torch.manual_seed(0)
    folder = make_tiny_model(tmp_path_factory.mktemp("taught") / "model")
    model = AutoModelForMultimodalLM.from_pretrained(folder, trust_remote_code=True)
    processor = AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    batches = []
    for name, (task, said) in ((name, each) for name in (JOY, SADNESS) for each in SAID.items()):
        clip = str(root / "examples" / name)
        messages = processor.conversation(
            *((clip, False) if task == "visual" else (None, clip) if task == "audio" else (clip, clip)),
            subtitle=(root / "examples" / name).with_suffix(".srt"),
            task=task,
        )
        batch = processor.apply_chat_template(
            [[*messages, {"role": "assistant", "content": said}]],
            tokenize=True,
            return_dict=True,
            return_tensors="pt",
            return_assistant_tokens_mask=True,
        )
        labels = batch["input_ids"].masked_fill(batch.pop("assistant_masks") == 0, -100)
        batches.append({**batch, "labels": labels})
    optimizer = torch.optim.AdamW(model.model.language_model.parameters(), lr=1e-2)
    for _ in range(60):
        for batch in batches:
            model(**batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    return Explainer((model, processor))


@pytest.mark.slow
def test_the_builder_builds_with_it(tmp_path: Path, root: Path, taught: Explainer, explainer: Explainer) -> None:
    """Two clips by a model that has something to say, the other passes by a scripted one; and by one that has not."""
    clips = tmp_path / "clips"
    clips.mkdir()
    rows = map(json.loads, (root / "examples" / "manifest.jsonl").read_text().splitlines())
    rows = [row for row in rows if row["video"] in (JOY, SADNESS)]
    for row in rows:
        shutil.copy(root / "examples" / row["video"], clips)
    (clips / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    passes = [{**each, "given": ["subtitle"]} for each in (PASSES[0], PASSES[1], PASSES[3])]
    ends = {}
    for name, model in (("taught", taught), ("random", explainer)):
        with at_work(model) as url, serving(ScriptedServer()) as writer:
            recipe = write_recipe(
                tmp_path / name / "recipe.yaml",
                clips,
                url,
                endpoint={"model": "tiny", "max_tokens": 80, "attempts": 1, "timeout": 120},
                infer=passes,
            )
            content = json.loads(recipe.read_text())
            content["endpoints"]["writer"] = {"base_url": writer.url, "model": "scripted-1", "pause": 0.01}
            content |= {key: content[key] | {"endpoint": "writer"} for key in ("merge", "short")}
            recipe.write_text(json.dumps(content))
            run(recipe)
            dataset = tmp_path / name / "built" / "dataset"
            built = contents(dataset)
            run(recipe)
            assert contents(dataset) == built
            requests = json.loads((tmp_path / name / "built" / "report.json").read_text())["asked"]
            assert [row["answers"] for row in requests if row["model"] == "tiny"] == [6]  # and none of the second run
            assert all(row["errors"] == 0 for row in requests)
        ends[name] = [
            [json.loads(line) for line in (dataset / f"{kind}.jsonl").read_text().splitlines()]
            for kind in ("provenance", "rejects")
        ]
    published, rejected = ends["taught"]
    assert sorted(row["id"] for row in (*published, *rejected)) == ["joy", "sadness"]
    assert len(published) == 2, rejected
    for row in published:
        cues = {cue["text"]: cue for cue in row["cues"]}
        assert set(cues) <= {part for said in SAID.values() for part in said.replace(". ", ".|").split("|")}
        assert {cue["model"] for cue in row["cues"]} == {"tiny"}
    published, rejected = ends["random"]  # it says nothing that is a sentence
    assert sorted(row["id"] for row in (*published, *rejected)) == ["joy", "sadness"]
    assert all(row["reason"] for row in rejected)
