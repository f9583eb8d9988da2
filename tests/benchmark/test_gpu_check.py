# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.inferers import WPlusInferer
from tests import gpu_check

FAST = ("encoder alone", "refinement fp32", "GAN training", "encoder training", "benchmark generate fp32")


def test_says_that_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_check.main([]) == 0
    assert "no CUDA GPU" in capsys.readouterr().out


def test_cpu_agrees_with_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["--cpu-itself", "--only", *FAST]) == 0
    lines = capsys.readouterr().out.splitlines()
    found = {" ".join(line.split()[1:4]) for line in lines if line.startswith("ok")}
    assert {"encoder alone fp32", "encoder alone bf16", "GAN training fp32", "encoder training bf16"} <= found
    # the same computation on the same processor, to the last digit that is told
    exact = [line.partition("within")[0].split()[-2:] for line in lines if " training fp32 " in line]
    assert len(exact) >= 10
    assert all(first == second for first, second in exact)


def test_a_difference_and_a_failure_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # what it is compared with, before the other is spoilt
    gpu_check.segmented_by_cpu(2, 0)
    original = gpu_check.segmented

    def worse(images: list, inferer: WPlusInferer, device: str) -> list:
        predictions = original(images, inferer, device)
        for prediction in predictions:
            prediction.mask = torch.zeros_like(prediction.mask)
            prediction.mask[:40] = 1
        return predictions

    monkeypatch.setattr(gpu_check, "segmented", worse)
    assert gpu_check.main(["--cpu-itself", "--only", "encoder alone fp32"]) == 1
    assert "DIFFERS encoder alone fp32" in capsys.readouterr().out

    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gpu_check, "segmented", broken)
    assert gpu_check.main(["--cpu-itself", "--only", "encoder alone bf16"]) == 1
    assert "FAILED encoder alone bf16: RuntimeError: out of memory" in capsys.readouterr().out


def test_random_numbers_do_not_depend_on_the_device() -> None:
    torch.manual_seed(1)
    wanted = torch.randn(3), torch.rand(2, device="cpu"), torch.randn(3)
    torch.manual_seed(1)
    with gpu_check.SameRandomNumbers():
        first, second = torch.randn(3, device="meta"), torch.rand(2)
        third = torch.randn_like(torch.zeros(3))
    assert first.device.type == "meta"
    assert torch.equal(second, wanted[1])
    assert torch.equal(third, wanted[2])


def test_checks_that_find_no_time_are_told(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(gpu_check, "LIMIT_S", -1)
    assert gpu_check.main(["--cpu-itself", "--only", "refinement bf16"]) == 1
    assert "SKIPPED refinement bf16" in capsys.readouterr().out
