# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What the EmoCue builder makes of a server's speed, its memory, and what kills cost it; on the scripted server.

    PYTHONPATH=tests python tests/measure_emocue.py --out results/emocue_builder.json

The server's limit is that of as many plain clients as the builder has requests in flight, which send the builder's own
requests again and do nothing else. The builder, these clients and the server are processes of one machine.
"""

import argparse
import http.client
import json
import multiprocessing
import platform
import resource
import sys
import tempfile
import threading
import time
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from emocue_clips import make_clips, run, write_recipe
from scripted_server import ScriptedServer, serving
from test_emocue_build import killed_and_resumed

from xemogpt.eval.speed import commit, machine


def plain_clients(url: str, bodies: list[bytes], count: int) -> None:
    """Send all bodies, `count` at a time."""
    rest = iter(bodies)
    lock = threading.Lock()

    def client() -> None:
        connection = http.client.HTTPConnection(urlsplit(url).netloc)
        while True:
            with lock:
                body = next(rest, None)
            if body is None:
                return
            connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
            connection.getresponse().read()

    threads = [threading.Thread(target=client) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def watched(work: Any, *args: Any) -> tuple[float, list[int], float]:
    """Seconds that work takes in a process of its own, its resident bytes by half seconds, processor seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    process = multiprocessing.get_context("fork").Process(target=work, args=args)
    started, memory = time.monotonic(), []
    process.start()
    while process.is_alive():
        process.join(0.5)
        if process.is_alive():
            pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
            memory.append(int(pages) * 4096)
    if process.exitcode:
        raise SystemExit(f"{work.__name__} failed ({process.exitcode})")
    seconds, after = time.monotonic() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, memory, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def throughput(folder: Path, count: int, in_flight: int, delay: float) -> dict[str, Any]:
    """Clips and requests a second of a build, beside what plain clients get from the same server."""
    clips, few = make_clips(folder / "clips", count), make_clips(folder / "few", 40)
    endpoint = {"in_flight": in_flight}
    with serving(ScriptedServer(delay=delay)) as server:
        server.keep_bodies = True
        small = watched(run, write_recipe(folder / "a" / "recipe.yaml", few, server.url, endpoint=endpoint))[1]
        bodies = [json.dumps(body).encode() for body in server.bodies]
        server.keep_bodies, server.bodies = False, []
        sent = 4 * len(bodies)
        bare = sent / watched(plain_clients, server.url, list(islice(cycle(bodies), sent)), in_flight)[0]
        server.most_busy, before = 0, server.total
        recipe = write_recipe(folder / "b" / "recipe.yaml", clips, server.url, endpoint=endpoint, clips_per_task=500)
        seconds, memory, busy = watched(run, recipe)
        asked = server.total - before
    waits = []
    for path in (folder / "b" / "built").glob("*/requests-*.jsonl"):
        waits += [json.loads(line)["seconds"] for line in path.read_text().splitlines()]
    return {
        "clips": count,
        "in_flight": in_flight,
        "server_delay_s": [delay, 2 * delay],
        "seconds": round(seconds, 2),
        "processor_seconds": round(busy, 2),
        "clips_per_s": round(count / seconds, 2),
        "requests": asked,
        "requests_per_s": round(asked / seconds, 2),
        "plain_clients_requests_per_s": round(bare, 2),
        "share_of_the_servers_limit": round(asked / seconds / bare, 3),
        "most_in_flight": server.most_busy,
        "mean_in_flight": round(sum(waits) / seconds, 2),
        "resident_bytes": {"most": max(memory), "most_of_a_build_of_40_clips": max(small)},
    }


def main() -> None:
    """Measure, and write the JSON file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True)
    parser.add_argument("--clips", type=int, default=1000, help="of the throughput")
    parser.add_argument("--killed-clips", type=int, default=2000, help="0: only the throughput")
    args = parser.parse_args()
    result: dict[str, Any] = {"command": " ".join(sys.argv), "machine": machine(), **commit(), "seed": 0}
    names = ("datatrove", "openai", "httpx2", "datasets", "pyarrow")
    result["versions"] = {"python": platform.python_version()} | {name: version(name) for name in names}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        result["throughput"] = throughput(folder / "throughput", args.clips, in_flight=16, delay=0.2)
        Path(args.out).write_text(json.dumps(result, indent=1) + "\n")
        if not args.killed_clips:
            return
        counts = killed_and_resumed(folder / "killed", args.killed_clips, in_flight=8, kills=10)
        counts["repeated"] = counts["requests_when_killed"] / counts["requests"] - 1
        result["killed"] = {"clips": args.killed_clips, "kills": 10, "in_flight": 8, "same_bytes": True, **counts}
    Path(args.out).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
