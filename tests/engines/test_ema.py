# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from torch import nn

from monai_semgan.engines.ema import ExponentialMovingAverage


def network(value: float) -> nn.Module:
    layer = nn.BatchNorm1d(3)
    nn.init.constant_(layer.weight, value)
    return layer


def test_closed_form_with_a_constant_half_life() -> None:
    """From 0 to a constant 1 in k steps of b images: 1 - 0.5^(k b / h)."""
    net = network(0.0)
    ema = ExponentialMovingAverage(net, half_life=100.0, ramp_up=1e9)
    nn.init.constant_(net.weight, 1.0)
    for step in range(1, 11):
        ema.update(10)
        torch.testing.assert_close(ema.average.weight, torch.full((3,), 1 - 0.5 ** (step * 10 / 100)))


def test_half_life_is_a_number_of_images_whatever_the_batch() -> None:
    averages = []
    for batch in (1, 4, 16):
        net = network(0.0)
        ema = ExponentialMovingAverage(net, half_life=64.0, ramp_up=1e9)
        nn.init.constant_(net.weight, 1.0)
        for _ in range(64 // batch):
            ema.update(batch)
        averages.append(ema.average.weight[0].item())
    assert averages == pytest.approx([0.5] * 3)


def test_ramp_up_shortens_the_half_life() -> None:
    net = network(0.0)
    ema = ExponentialMovingAverage(net, half_life=1000.0, ramp_up=0.05)
    expected = torch.zeros(3)
    for step in range(1, 6):
        nn.init.constant_(net.weight, float(step))
        seen = 8 * step * 100
        beta = 0.5 ** (8 / min(1000.0, 0.05 * seen))
        expected = beta * expected + (1 - beta) * step
        ema.images_seen = seen - 8
        ema.update(8)
        torch.testing.assert_close(ema.average.weight, expected)


def test_first_images_take_over_at_once() -> None:
    net = network(0.0)
    ema = ExponentialMovingAverage(net)
    nn.init.constant_(net.weight, 1.0)
    ema.update(8)
    assert ema.average.weight[0].item() == pytest.approx(1 - 0.5**20)


def test_buffers_are_copied() -> None:
    net = network(1.0)
    ema = ExponentialMovingAverage(net, half_life=1e9)
    net(torch.randn(5, 3) * 3 + 2)
    ema.update(1)
    for average, buffer in zip(ema.average.buffers(), net.buffers()):
        assert torch.equal(average, buffer) and average.data_ptr() != buffer.data_ptr()


def test_average_neither_trains_nor_shares_weights() -> None:
    net = network(1.0)
    ema = ExponentialMovingAverage(net)
    assert not ema.average.training and not any(p.requires_grad for p in ema.average.parameters())
    assert net.training and all(p.requires_grad for p in net.parameters())
    nn.init.constant_(net.weight, 5.0)
    assert ema.average.weight[0] == 1.0


def test_an_average_that_is_taken_up_goes_on_and_is_not_overwritten() -> None:
    first = ExponentialMovingAverage(network(0.0), half_life=1000.0)
    for _ in range(10):
        first.update(800)
    net = network(1.0)
    second = ExponentialMovingAverage(net, half_life=1000.0)
    second.average.load_state_dict(first.average.state_dict())
    second.load_state_dict(first.state_dict())
    second.update(8)
    # 8008 images seen: the half-life is 0.05 of them, and not of the 8 of this run
    assert second.average.weight[0].item() == pytest.approx(1 - 0.5 ** (8 / (0.05 * 8008)))


@pytest.mark.parametrize("settings", [{"half_life": 0.0}, {"ramp_up": -1.0}])
def test_ranges(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be positive"):
        ExponentialMovingAverage(network(1.0), **settings)
