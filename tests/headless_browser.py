# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""Chromium without a window, steered through its debugging pipe (messages end in a zero byte)."""

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """A page of `width` x `height` pixels at an address; a context manager."""

    def __init__(self, url: str, profile: Path, width: int = 1100, height: int = 900):
        its_in, self._out = os.pipe()
        self._in, its_out = os.pipe()
        assert CHROMIUM is not None
        options = f"--headless --no-sandbox --disable-gpu --remote-debugging-pipe --user-data-dir={profile}"
        options += f" --window-size={width},{height} --no-first-run --autoplay-policy=no-user-gesture-required"
        self._process = subprocess.Popen(
            ["bash", "-c", f"exec {CHROMIUM} {options} about:blank 3<&{its_in} 4>&{its_out}"],
            pass_fds=(its_in, its_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(its_in)
        os.close(its_out)
        self._rest, self._count, self._session = b"", 0, {}
        self.errors: list[str] = []
        target = self._call("Target.createTarget", url="about:blank")["targetId"]
        session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        self._call("Runtime.enable")
        self._call("Page.navigate", url=url)
        self.wait("document.readyState === 'complete'")

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._in)
        os.close(self._out)

    def value(self, expression: str) -> Any:
        """What a JavaScript expression gives."""
        said = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in said:
            raise AssertionError(said["exceptionDetails"])
        return said["result"].get("value")

    def wait(self, expression: str, seconds: float = 20) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.value(expression):
            assert time.monotonic() < end, f"never true: {expression}"
            time.sleep(0.05)

    def press(self, *keys: str) -> None:
        """Keys as a person presses them: a character, or a name as in ArrowDown."""
        for key in keys:
            text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
            code = {"Enter": 13, "ArrowUp": 38, "ArrowDown": 40}.get(key, ord(key[0].upper()))
            for kind in ("keyDown", "keyUp"):
                more = {"text": text} if text and kind == "keyDown" else {}
                self._call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **more)

    def screenshot(self, path: Path) -> None:
        """What is to be seen, as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _call(self, method: str, **params: Any) -> dict[str, Any]:
        self._count += 1
        message = {"id": self._count, "method": method, "params": params} | self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                data = os.read(self._in, 1 << 16)
                assert data, "the browser has ended"
                self._rest += data
            line, self._rest = self._rest.split(b"\0", 1)
            said = json.loads(line)
            if said.get("method") == "Runtime.exceptionThrown":
                self.errors.append(str(said["params"]["exceptionDetails"]))
            if said.get("id") == self._count:
                assert "error" not in said, said["error"]
                return dict(said["result"])
