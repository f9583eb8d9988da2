# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from monai_semgan.benchmark import __main__ as benchmark
from monai_semgan.benchmark import machine
from monai_semgan.benchmark.presets import PRESETS
from monai_semgan.benchmark.report import COLUMNS


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "CONVOLUTIONS", ((1, 8, 16), (2, 16, 8)))


def test_all_presets_are_measured() -> None:
    assert benchmark.PRESETS == tuple(PRESETS)


def test_the_help_comes_without_torch() -> None:
    code = """
import atexit, sys
from monai_semgan.benchmark.__main__ import main
atexit.register(lambda: print("torch" in sys.modules))
main(["--help"])
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "--presets" in told and told.endswith("False\n")


def test_the_median_of_the_calls_after_the_first() -> None:
    waits = iter([0.3, 0.01, 0.05, 0.02])
    assert 0.02 <= machine.seconds(lambda: time.sleep(next(waits)), torch.device("cpu"), repeats=3) < 0.05


def test_long_calls_are_not_repeated() -> None:
    calls = []
    machine.seconds(lambda: calls.append(time.sleep(0.02)), torch.device("cpu"), repeats=9, longest=0.03)
    assert len(calls) == 3  # one that is not counted, and two in 0.03 s


def test_the_limit_is_the_best_shape() -> None:
    limit = machine.convolution_rate(torch.device("cpu"), torch.float32, repeats=2)
    assert len(limit["shapes"]) == 4 and limit["gflops"] == max(limit["shapes"].values()) > 0


def test_peak_memory_grows_with_what_is_held() -> None:
    before = machine.peak_memory_mb(torch.device("cpu"))
    held = torch.ones(64 * 2**18 + int(before) * 2**18)
    assert machine.peak_memory_mb(torch.device("cpu")) > before and held.sum() > 0


def test_command_writes_table_and_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "benchmark.json"
    few = ["--presets", "shipped", "--sizes", "16", "--tasks", "generate", "--types", "fp32", "--repeats", "1"]
    assert benchmark.main([*few, "--busy", "--device", "cpu", "--output", str(path)]) == 0
    report = json.loads(path.read_text())
    assert [result["batch"] for result in report["results"]] == [1, 8] and report["failures"] == []
    for result in report["results"]:
        rate = result["operations"] / result["seconds"] / 1e9
        assert result["share"] == pytest.approx(rate / report["limits"]["fp32"]["gflops"])
    table = [line for line in capsys.readouterr().out.splitlines() if line.startswith("|")]
    assert [cell.strip() for cell in table[0].strip("|").split("|")] == list(COLUMNS)
    assert len(table) == 4 and len({len(line) for line in table}) == 1


def test_a_measurement_that_fails_is_told_and_the_others_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "benchmark.json"
    few = ["--presets", "shipped", "--sizes", "20", "16", "--tasks", "generate", "--types", "fp32", "--repeats", "1"]
    assert benchmark.main([*few, "--busy", "--device", "cpu", "--output", str(path)]) == 1
    report = json.loads(path.read_text())
    assert {result["size"] for result in report["results"]} == {16}
    assert all("must be a power of two" in failure["error"] for failure in report["failures"])
    assert "size is 20" in capsys.readouterr().err


def test_a_busy_machine_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(machine, "BUSY_PERCENT", -1.0)
    assert benchmark.main(["--output", str(tmp_path / "benchmark.json")]) == 2
    assert "--busy" in capsys.readouterr().err and not list(tmp_path.iterdir())
