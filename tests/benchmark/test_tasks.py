# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from monai_semgan.benchmark.presets import PRESETS, Preset
from monai_semgan.benchmark.tasks import TASKS, measure

TINY = Preset(256, 16, 8, {"encoder_channel_max": 16, "pyramid_channels": 8, "head_channels": 8}, 4)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "shipped", TINY)


def generator_operations(channels: int, latent: int, sides: tuple[int, ...]) -> int:
    """Operations of a synthesis network with as many channels everywhere, by hand."""
    styles = 2 * latent * channels
    branches = lambda side: 2 * (styles + 2 * channels * side**2)  # noqa: E731
    total = styles + 2 * 9 * channels**2 * sides[0] ** 2 + branches(sides[0])
    for below, side in zip(sides, sides[1:]):
        up = styles + 2 * 9 * channels**2 * below**2 + 2 * 16 * channels * side**2
        style = styles + 2 * 9 * channels**2 * side**2
        skips = 2 * (2 * 16 * below**2)
        total += up + style + branches(side) + skips
    return total


def test_operations_of_the_generator_are_those_of_its_layers() -> None:
    result = measure("generate", preset="shipped", size=16, batch=2, amp=False, device="cpu", repeats=1)
    assert result["operations"] == generator_operations(16, 8, (4, 8, 16))
    assert result["seconds"] > 0 and result["peak_memory_mb"] > 50


@pytest.mark.parametrize("task", TASKS)
def test_operations_of_an_image_depend_on_neither_batch_nor_type(task: str) -> None:
    settings = {"preset": "shipped", "size": 16, "device": "cpu", "repeats": 1}
    single = measure(task, batch=4, amp=False, **settings)
    for other in ({"batch": 8, "amp": False}, {"batch": 4, "amp": True}):
        # weights are demodulated, scaled and differentiated twice once a batch
        assert measure(task, **settings, **other)["operations"] == pytest.approx(single["operations"], rel=0.02)


def test_a_step_of_refinement_draws_and_goes_back() -> None:
    forward = measure("generate", preset="shipped", size=16, batch=1, amp=False, device="cpu", repeats=1)
    step = measure("refine", preset="shipped", size=16, batch=1, amp=False, device="cpu", repeats=1)
    assert 2 * forward["operations"] < step["operations"] < 6 * forward["operations"]


def test_training_holds_its_lazy_phases() -> None:
    settings = {"preset": "shipped", "size": 16, "batch": 4, "amp": False, "device": "cpu", "repeats": 1}
    drawn = measure("generate", **settings)["operations"]
    assert measure("train", **settings)["operations"] > 6 * drawn


def test_width_of_the_paper() -> None:
    paper = PRESETS["paper"]
    channels = {side: min(paper.channel_base // side, paper.channel_max) for side in (4, 32, 64, 128, 256)}
    assert channels == {4: 512, 32: 512, 64: 512, 128: 256, 256: 128}
