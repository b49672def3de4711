# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""The builder's executors; a real Slurm and a real Ray, started here for the test, give the bytes of the local one."""

import importlib.util
import json
import os
import secrets
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from emocue_clips import contents, make_clips, run, write_recipe
from scripted_server import ScriptedServer, serving
from slurm_cluster import slurm_cluster

from xemogpt.cli import main
from xemogpt.data.emocue.build import Plan, build, forget_failures
from xemogpt.data.emocue.recipe import load_recipe

SECRET = "sk-0123456789-secret"
CLIPS = 4
SMALL: dict[str, Any] = {"merge": None, "short": None}  # they ask as infer does
PATIENCE = 1500  # seconds, on a busy machine


def wait(until: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not until():
        assert time.monotonic() < end, f"waited too long: {what}"
        time.sleep(0.5)


def start(recipe: Path) -> Plan:
    return build(load_recipe(recipe))


def holders(*folders: Path) -> list[Path]:
    """The files in which the key stands."""
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    return [path for path in files if SECRET.encode() in path.read_bytes()]


def each_clip_once(recipe: Path) -> None:
    dataset = recipe.parent / "built" / "dataset"
    rows = [line for name in ("provenance", "rejects") for line in (dataset / f"{name}.jsonl").open()]
    assert sorted(json.loads(row)["id"] for row in rows) == [f"c{number:04d}" for number in range(CLIPS)]


def test_slurm_jobs_are_handed_in_one_after_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With an `sbatch` that notes what it is asked and gives out numbers; the test below has a real one."""
    (tmp_path / "bin").mkdir()
    programs = {"sbatch": f'echo "$@" >> {tmp_path}/asked\necho Submitted batch job $(wc -l < {tmp_path}/asked)'}
    programs["squeue"] = f"cat {tmp_path}/queue"
    for name, does in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "queue").write_text("7 another job\n")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    cluster = {"kind": "slurm", "time": "01:00:00", "env_command": ". ~/keys"}
    recipe = write_recipe(tmp_path / "recipe.yaml", make_clips(tmp_path / "clips", 3), "http://x/v1", executor=cluster)
    with pytest.raises(ValueError, match="^executor: needs partition$"):
        run(recipe)
    recipe.write_text(recipe.read_text().replace('"time"', '"partition": "cpu", "time"'))
    assert main(["build-emocue", "--recipe", str(recipe), "--push-to-hub", "you/emocue"]) == 0
    said = capsys.readouterr().err
    assert "jobs 1 3 5 7 9 11 are handed in, one after the other" in said
    assert "when they are through, this again tells the cost, and uploads" in said
    asked = (tmp_path / "asked").read_text().splitlines()
    # Of each stage its job, and then one that adds up its statistics.
    waits = [line.partition("--dependency=")[2].split()[0] for line in asked[2::2]]
    assert waits == ["afterok:1", "afterok:3", "afterok:5", "afterok:7", "afterok:9"]
    (script,) = (tmp_path / "built").glob("infer-*/logs/launch_script.slurm")
    text = script.read_text()
    assert "#SBATCH --kill-on-invalid-dep=yes\n" in text
    assert f"export PATH={sysconfig.get_path('scripts')}:$PATH\n. ~/keys\n" in text
    (name,) = [line.removeprefix("#SBATCH --job-name=") for line in text.splitlines() if "--job-name" in line]
    (tmp_path / "queue").write_text(f"7 another job\n3 {name}\n3 {name}\n")
    for again in (run, lambda path: forget_failures(load_recipe(path))):
        with pytest.raises(OSError, match=r"^Slurm has jobs of this build: 3; wait for them, or scancel them$"):
            again(recipe)
    assert len((tmp_path / "asked").read_text().splitlines()) == len(asked)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(OSError, match="there is no Slurm here"):
        run(recipe)


def test_an_executor_has_no_other_keys(tmp_path: Path) -> None:
    wrong = {"kind": "local", "wrokers": 2}
    recipe = write_recipe(tmp_path / "recipe.yaml", make_clips(tmp_path / "clips", 1), "http://x/v1", executor=wrong)
    with pytest.raises(ValueError, match="^executor: unknown key wrokers; it has workers, "):
        run(recipe)


@pytest.mark.slow
def test_slurm_gives_the_same_bytes_also_after_a_cancelled_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EMOCUE_API_KEY", raising=False)
    (tmp_path / "key").write_text(f"export EMOCUE_API_KEY={SECRET}\n")  # of the environment all would lie with Slurm
    settings = {"partition": "cpu", "workers": 2, "mem_per_cpu_gb": 1, "env_command": f". {tmp_path}/key"}
    alike = {"clips_per_task": 2, "endpoint": {"in_flight": 1}, **SMALL}
    clips, server = make_clips(tmp_path / "clips", CLIPS), ScriptedServer()
    with slurm_cluster(tmp_path / "cluster") as place, serving(server):
        run(write_recipe(tmp_path / "local" / "recipe.json", clips, server.url, **alike))
        peace = server.total
        alike["executor"] = {"kind": "slurm", **settings}
        recipe = write_recipe(tmp_path / "slurm" / "recipe.json", clips, server.url, **alike)
        queue = ["squeue", "--noheader", "--format=%F"]

        def queued() -> set[str]:
            return set(subprocess.check_output(queue, text=True).split())

        def answered() -> int:
            return sum(log.read_bytes().count(b"\n") for log in tmp_path.glob("slurm/built/infer*/requests-*"))

        server.delay = 5  # seconds, so that a job is at it when it is cancelled
        _, infer, *_ = start(recipe).jobs
        wait(lambda: answered() > 0, "the first answers")
        with pytest.raises(OSError, match=rf"^Slurm has jobs of this build: .*{infer}.* scancel them"):
            start(recipe)
        subprocess.run(["scancel", infer], check=True)
        wait(lambda: not queued(), "an empty queue")  # those that waited for it are gone
        assert not (tmp_path / "slurm" / "built" / "dataset").exists()

        server.delay, before, kept, server.keys = 0, server.total, answered(), set()
        assert len(start(recipe).jobs) == 3  # infer, verify, publish: index is done
        wait(lambda: not queued(), "an empty queue")
        assert server.total - before == peace - kept
        assert server.keys == {f"Bearer {SECRET}"}
        each_clip_once(recipe)
        asked = server.total
        assert start(recipe).jobs == ()  # nothing is left for them
        assert server.total == asked
        assert holders(place, tmp_path / "slurm") == []
    one, other = (contents(tmp_path / name / "built" / "dataset") for name in ("local", "slurm"))
    assert one == other


@contextmanager
def ray_cluster() -> Iterator[Path]:
    """Run a cluster of one node that does not know the key; its folder, which is also that of its logs."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip('needs Ray: pip install "xemogpt[ray]"')
    place = Path(tempfile.mkdtemp(prefix="ray-", dir="/tmp"))  # paths of sockets must be short
    settings = ["--node-ip-address=127.0.0.1", "--port=0", "--num-cpus=2", "--include-dashboard=false", "--block"]
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", f"--temp-dir={place}", *settings]
    ours = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(16), "RAY_USAGE_STATS_ENABLED": "0"}
    os.environ |= ours
    environment = {name: value for name, value in os.environ.items() if name != "EMOCUE_API_KEY"}
    with (place / "said").open("wb") as said:
        process = subprocess.Popen(command, env=environment, stdout=said, stderr=said)
    try:
        address = place / "ray_current_cluster"
        wait(lambda: address.is_file() or process.poll() is not None, "a Ray cluster")
        assert process.poll() is None, (place / "said").read_text()
        os.environ["RAY_ADDRESS"] = ours["RAY_ADDRESS"] = address.read_text().strip()
        yield place
    finally:
        for name in ours:
            del os.environ[name]
        process.terminate()
        process.wait(60)
        shutil.rmtree(place, ignore_errors=True)


@pytest.mark.slow
def test_ray_gives_the_same_bytes_also_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alike = {"clips_per_task": 2, "endpoint": {"in_flight": 1}, **SMALL}
    clips, server = make_clips(tmp_path / "clips", CLIPS), ScriptedServer()
    with ray_cluster() as place, serving(server):
        monkeypatch.setenv("EMOCUE_API_KEY", SECRET)
        run(write_recipe(tmp_path / "local" / "recipe.json", clips, server.url, **alike))
        peace = server.total
        alike["executor"] = {"kind": "ray", "mem_per_cpu_gb": 0.2}
        recipe = write_recipe(tmp_path / "ray" / "recipe.json", clips, server.url, **alike)
        command = [sys.executable, "-m", "xemogpt", "build-emocue", "--recipe", str(recipe)]

        server.delay, server.keys = 5, set()
        builder = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        wait(lambda: server.total > peace + 1 or builder.poll() is not None, "the first answers")
        assert builder.poll() is None
        builder.kill()
        builder.wait()
        wait(lambda: server.busy == 0, "the end of its tasks")
        assert not (tmp_path / "ray" / "built" / "dataset").exists()
        answer, server.delay = server.respond, 0

        server.respond = lambda handler, _: handler.reply(401, {"error": {"message": f"bad key {SECRET}"}})  # type: ignore[method-assign]
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.returncode == 2
        assert "infer" in refused.stderr
        assert "2 of 2 tasks have failed; the first: " in refused.stderr
        assert "EndpointError" in refused.stderr
        assert "bad key ***" in refused.stderr
        server.respond = answer  # type: ignore[method-assign]

        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert "datatrove" not in done.stderr
        assert server.keys == {f"Bearer {SECRET}"}
        each_clip_once(recipe)
        assert holders(place, tmp_path / "ray") == []
    one, other = (contents(tmp_path / name / "built" / "dataset") for name in ("local", "ray"))
    assert one == other
