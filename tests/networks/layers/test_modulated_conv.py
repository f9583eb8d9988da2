# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from monai_semgan.networks.layers import ModulatedConv2d

KERNEL = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64.0


def reference(conv: ModulatedConv2d, x: Tensor, w: Tensor) -> Tensor:
    """Equations (1) and (3) of the paper: a weight per image, all images in one grouped convolution."""
    batch, in_channels = x.shape[:2]
    style = w @ conv.style.weight.T / math.sqrt(w.shape[1]) + conv.style.bias
    fan_in = conv.weight[0].numel()
    weight = style[:, None, :, None, None] * conv.weight[None] / math.sqrt(fan_in)
    if conv.demodulate:
        weight = weight / torch.sqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    x = x.reshape(1, batch * in_channels, *x.shape[2:])
    if conv.upsample:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).flatten(0, 1), stride=2, groups=batch)
        x = F.conv2d(x.transpose(0, 1), 4 * KERNEL[None, None], padding=1).transpose(0, 1)
    else:
        x = F.conv2d(x, weight.flatten(0, 1), padding=conv.weight.shape[-1] // 2, groups=batch)
    return x.reshape(batch, -1, *x.shape[2:])


@given(
    batch=st.integers(1, 4),
    channels=st.tuples(st.integers(1, 8), st.integers(1, 8)),
    form=st.sampled_from([(1, False), (3, False), (3, True)]),
    demodulate=st.booleans(),
)
def test_equals_grouped_convolution(
    batch: int, channels: tuple[int, int], form: tuple[int, bool], demodulate: bool
) -> None:
    conv = ModulatedConv2d(*channels, form[0], 6, demodulate=demodulate, upsample=form[1])
    x, w = torch.randn(batch, channels[0], 5, 4), torch.randn(batch, 6)
    features, demodulation = conv(x, w)
    assert demodulation.shape == (batch, channels[1], 1, 1)
    assert features.shape == (batch, channels[1], *((10, 8) if form[1] else (5, 4)))
    torch.testing.assert_close(features * demodulation, reference(conv, x, w), rtol=1e-4, atol=1e-5)


def test_output_has_unit_variance_whatever_the_style() -> None:
    conv = ModulatedConv2d(32, 64, 3, 8)
    features, demodulation = conv(torch.randn(8, 32, 16, 16), 10 * torch.randn(8, 8))
    # the border sees zeros
    deviation = (features * demodulation)[:, :, 1:-1, 1:-1].std((1, 2, 3))
    torch.testing.assert_close(deviation, torch.ones(8), rtol=0.1, atol=0.0)


def test_factor_is_one_without_demodulation() -> None:
    _, factor = ModulatedConv2d(3, 5, 1, 4, demodulate=False)(torch.randn(2, 3, 4, 4), torch.randn(2, 4))
    assert torch.equal(factor, torch.ones(2, 5, 1, 1))


@pytest.mark.parametrize("upsample", [False, True])
def test_bf16_autocast(upsample: bool) -> None:
    conv = ModulatedConv2d(64, 32, 3, 16, upsample=upsample)
    x, w = torch.randn(3, 64, 8, 8), torch.randn(3, 16)
    expected = reference(conv, x, w)
    with torch.autocast("cpu", torch.bfloat16):
        style = conv.style(w)
        features, demodulation = conv(x, w)
    assert features.dtype == torch.bfloat16
    error = (features.float() * demodulation - expected).square().mean().sqrt() / expected.std()
    assert error < 0.02
    # the style is rounded to bf16, the sum over it is not: bf16 sums would be off by 1e-3 and more
    weight = conv.weight.double() / math.sqrt(64 * 9)
    power = torch.einsum("bi,oikl->bo", style.double().square(), weight.square())
    assert demodulation.dtype == torch.float32
    torch.testing.assert_close(demodulation[:, :, 0, 0].double(), power.rsqrt(), rtol=1e-5, atol=0.0)


def test_gradients_equal_those_of_the_grouped_convolution() -> None:
    conv = ModulatedConv2d(4, 3, 3, 5, upsample=True)
    x, w = torch.randn(2, 4, 4, 4, requires_grad=True), torch.randn(2, 5, requires_grad=True)
    features, demodulation = conv(x, w)
    inputs = [x, w, conv.weight, conv.style.weight]
    direction = torch.randn_like(features)
    result = torch.autograd.grad((features * demodulation * direction).sum(), inputs)
    expected = torch.autograd.grad((reference(conv, x, w) * direction).sum(), inputs)
    for ours, theirs in zip(result, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel_size, upsample", [(2, False), (4, True), (1, True), (5, True)])
def test_kernel_size_that_cannot_work(kernel_size: int, upsample: bool) -> None:
    with pytest.raises(ValueError, match=f"kernel_size is {kernel_size}"):
        ModulatedConv2d(3, 3, kernel_size, 4, upsample=upsample)
