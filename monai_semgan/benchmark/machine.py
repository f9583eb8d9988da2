# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What the machine can do: its convolution rate, whether it is quiet, and the memory that a process took."""

from __future__ import annotations

import functools
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
import torch.nn.functional as F

# (batch, channels, side) of 3x3 convolutions; which of them is fastest differs from machine to machine
CONVOLUTIONS = ((4, 512, 32), (8, 256, 64), (8, 128, 64), (16, 64, 128), (16, 256, 16))
BUSY_PERCENT = 10.0


def finished(device: torch.device) -> float:
    """Wait for the device's queued work and read the clock, in seconds."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def seconds(call: Callable[[], Any], device: torch.device, *, repeats: int = 5, longest: float = 60.0) -> float:
    """Median time of so many calls, or of those that ``longest`` seconds allow, after one that is not counted."""
    call()
    times: list[float] = []
    while len(times) < repeats and sum(times) < longest:
        start = finished(device)
        call()
        times.append(finished(device) - start)
    return statistics.median(times)


@torch.no_grad()
def convolution_rate(device: torch.device, dtype: torch.dtype, *, repeats: int = 7) -> dict[str, Any]:
    """Measure the limit: floating-point operations a second of 3x3 convolutions, a multiply-add counting as two.

    Of each shape the fastest of the repeated calls counts, as the limit is what the machine can do.

    Returns:
        ``gflops`` of the best shape, and all shapes with both memory formats under ``shapes``.
    """
    shapes = {}
    for batch, channels, side in CONVOLUTIONS:
        operations = 2 * 9 * batch * channels**2 * side**2
        for memory_format in (torch.contiguous_format, torch.channels_last):
            image = torch.randn(batch, channels, side, side, device=device, dtype=dtype)
            weight = torch.randn(channels, channels, 3, 3, device=device, dtype=dtype)
            image, weight = (x.contiguous(memory_format=memory_format) for x in (image, weight))
            convolve = functools.partial(F.conv2d, image, weight, padding=1)
            best = min(seconds(convolve, device, repeats=1) for _ in range(repeats))
            shapes[f"{batch}x{channels}x{side}x{side} {str(memory_format)[6:]}"] = operations / best / 1e9
    return {"gflops": max(shapes.values()), "shapes": shapes}


def other_load(interval: float = 2.0) -> float:
    """Share of all processors that other work takes while this process sleeps, in percent."""
    return psutil.cpu_percent(interval)


def peak_memory_mb(device: torch.device) -> float:
    """Largest resident memory of this process so far, in MiB; on a GPU the memory that torch took there."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        # not getrusage, which starts at the memory of the process that started this one
        return int(status.read_text().partition("VmHWM:")[2].split()[0]) / 2**10
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / 2**20
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest / (2**20 if sys.platform == "darwin" else 2**10)


def description(device: torch.device) -> dict[str, Any]:
    """Processor or GPU, number of threads and versions, for the report."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }
