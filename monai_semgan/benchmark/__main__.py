# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Command line of the benchmark.

``semgan benchmark --output benchmark.json``

Every measurement runs in a process of its own, so that peak memory is its own. Nothing is kept from earlier runs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from monai_semgan.benchmark.report import MEANING, row, table

# of presets.py, which imports torch
PRESETS = ("paper", "shipped")
SIZES = [64, 128, 256]
TYPES = {"fp32": "float32", "bf16": "bfloat16"}
BATCHES = {"train": (4,), "refine": (1, 4, 16), "generate": (1, 8)}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--output", type=Path, default=Path("benchmark.json"), help="JSON file of the results")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS), help="widths of the networks")
    parser.add_argument("--sizes", nargs="+", type=int, default=SIZES, metavar="PX", help="sides of the images")
    parser.add_argument("--tasks", nargs="+", choices=MEANING, default=list(MEANING), help="what is measured")
    parser.add_argument("--types", nargs="+", choices=TYPES, default=list(TYPES), help="bf16 is autocast")
    parser.add_argument("--repeats", type=int, default=3, help="timed calls, whose median counts")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    parser.add_argument("--busy", action="store_true", help="measure although other programs are running")
    # one measurement, as the processes that the benchmark starts get it
    parser.add_argument("--measure", type=json.loads, help=argparse.SUPPRESS)


def in_own_process(settings: dict[str, Any]) -> dict[str, Any]:
    """Run :func:`monai_semgan.benchmark.tasks.measure` in a new process.

    Raises:
        RuntimeError: when it fails, for want of memory for example.
    """
    command = [sys.executable, "-W", "ignore", "-m", "monai_semgan.benchmark", "--measure", json.dumps(settings)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def run(options: argparse.Namespace) -> int:
    """Run the benchmark.

    Args:
        options: the command line.

    Returns:
        The exit code: 1 when a measurement failed, 2 when the machine is busy.

    Raises:
        ValueError: when there is no such device.
    """
    # late, so that the command's help comes at once
    import torch

    from monai_semgan.benchmark.machine import BUSY_PERCENT, convolution_rate, description, other_load
    from monai_semgan.benchmark.tasks import measure

    if options.measure:
        print(json.dumps(measure(**options.measure)))
        return 0

    from monai_semgan.predictor import read_device

    device = read_device(options.device)
    load = other_load()
    if load > BUSY_PERCENT and not options.busy:
        print(
            f"other programs take {load:.0f} % of the processors, timings need a machine that is quiet (below "
            f"{BUSY_PERCENT:.0f} %): end them, or say --busy",
            file=sys.stderr,
        )
        return 2
    limits = {name: convolution_rate(device, getattr(torch, TYPES[name])) for name in options.types}
    report: dict[str, Any] = {"machine": description(device), "other_load_percent": load, "limits": limits}
    print(" ".join(f"{key} {value}," for key, value in report["machine"].items()) + f" other load {load:.0f} %")
    for name, limit in limits.items():
        print(f"limit {name}: {limit['gflops']:.0f} GFLOP/s, the best of {len(limit['shapes'])} convolutions")

    results, failures = [], []
    for preset, size, task, name in itertools.product(options.presets, options.sizes, options.tasks, options.types):
        for batch in BATCHES[task]:
            settings = {"task": task, "preset": preset, "size": size, "batch": batch, "amp": name == "bf16"}
            how = {"device": str(device), "repeats": options.repeats}
            print(f"{preset} {size} px, {MEANING[task]}, batch {batch}, {name}", end="", file=sys.stderr, flush=True)
            try:
                result = in_own_process(settings | how)
            except RuntimeError as error:
                failures.append(settings | {"type": name, "error": str(error)})
                print(f": failed, {error}", file=sys.stderr)
                continue
            share = result["operations"] / result["seconds"] / 1e9 / limits[name]["gflops"]
            results.append(settings | {"type": name} | result | {"share": share})
            print(f": {result['seconds']:.3g} s an image, {share:.0%} of the limit", file=sys.stderr)
            report |= {"results": results, "failures": failures}
            options.output.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(table(row(result) for result in results))
    print(f"JSON: {options.output}")
    return 1 if failures else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the command line, ``sys.argv`` by default, and run the benchmark."""
    parser = argparse.ArgumentParser(prog="python -m monai_semgan.benchmark", description=__doc__.splitlines()[0])
    add_arguments(parser)
    return run(parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
