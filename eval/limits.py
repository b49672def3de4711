# Copyright 2026 The XEmoGPT Authors. Licensed under the Apache License, Version 2.0.
"""What a machine can do at best, and how seconds and bytes are measured."""

import os
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any


def peak_bytes(device: str) -> int:
    """The most memory this process has held: resident on the host, or allocated on the GPU."""
    import torch

    if device.startswith("cuda"):
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class Limits:
    """What the machine can do at best, measured as the best of several tries."""

    def __init__(self, device: str, dtype: str):
        from xemogpt.hub.compose import torch_dtype

        self.device, self.dtype = device, torch_dtype(dtype)

    def best(self, function: Callable[[], Any], tries: int = 5) -> float:
        """Seconds of the fastest call, the first not counted."""
        return min(timed(function, self.device) for _ in range(tries + 1))

    def matmul(self) -> float:
        """Floating-point operations per second of a (1024, 1024) x (1024, 4096) product, as in the towers."""
        import torch

        left = torch.randn(1024, 1024, device=self.device, dtype=self.dtype)
        right = torch.randn(4096, 1024, device=self.device, dtype=self.dtype)
        return 2 * 1024 * 1024 * 4096 / self.best(lambda: torch.nn.functional.linear(left, right))

    def copy(self) -> float:
        """Bytes copied per second (each is read once and written once), 64 MiB at a time."""
        import torch

        source, target = (torch.ones(1 << 23, dtype=torch.int64, device=self.device) for _ in range(2))
        return 8 * (1 << 23) / self.best(lambda: target.copy_(source))

    def read(self) -> float:
        """Bytes read per second, by a sum over 64 MiB."""
        import torch

        source = torch.ones(1 << 23, dtype=torch.int64, device=self.device)
        return 8 * (1 << 23) / self.best(source.sum)

    def all(self) -> dict[str, float]:
        return {"matmul_flop_per_s": self.matmul(), "copy_bytes_per_s": self.copy(), "read_bytes_per_s": self.read()}


def timed(function: Callable[[], Any], device: str) -> float:
    """Seconds of one call, the device's work included."""
    import torch

    wait = torch.cuda.synchronize if device.startswith("cuda") else (lambda: None)
    wait()
    started = time.perf_counter()
    function()
    wait()
    return time.perf_counter() - started


def busy() -> float:
    """Load average of the last minute."""
    return round(os.getloadavg()[0], 2)


def spread(seconds: Sequence[float]) -> dict[str, float]:
    """Fastest and middle of several times."""
    return {"min": round(min(seconds), 5), "median": round(statistics.median(seconds), 5)}
