# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from monai_semgan.networks.layers import EqualizedConv2d, EqualizedLinear


@pytest.mark.parametrize("lr_multiplier", [1.0, 0.01])
def test_linear_keeps_unit_variance(lr_multiplier: float) -> None:
    layer = EqualizedLinear(128, 512, lr_multiplier=lr_multiplier)
    assert layer(torch.randn(1024, 128)).var().item() == pytest.approx(1.0, abs=0.05)


def test_conv_keeps_unit_variance() -> None:
    layer = EqualizedConv2d(32, 128, 3)
    assert layer(torch.randn(16, 32, 12, 12)).var().item() == pytest.approx(1.0, abs=0.05)


@given(
    features=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    lr_multiplier=st.floats(0.005, 2.0),
    bias_init=st.floats(-2.0, 2.0),
)
def test_linear_equals_torch_with_scaled_weights(
    features: tuple[int, int], lr_multiplier: float, bias_init: float
) -> None:
    layer = EqualizedLinear(*features, bias_init=bias_init, lr_multiplier=lr_multiplier)
    reference = nn.Linear(*features)
    with torch.no_grad():
        reference.weight.copy_(layer.weight * lr_multiplier / math.sqrt(features[0]))
        reference.bias.fill_(bias_init)
    x = torch.randn(2, 3, features[0])
    torch.testing.assert_close(layer(x), reference(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kernel_size, stride, padding, bias", [(1, 1, 0, False), (3, 1, 1, True), (3, 2, 0, True)])
def test_conv_equals_torch_with_scaled_weights(kernel_size: int, stride: int, padding: int, bias: bool) -> None:
    layer = EqualizedConv2d(3, 5, kernel_size, stride=stride, padding=padding, bias=bias)
    assert (layer.bias is not None) == bias
    if layer.bias is not None:
        nn.init.normal_(layer.bias)
    x = torch.randn(2, 3, 9, 7)
    expected = F.conv2d(x, layer.weight / math.sqrt(3 * kernel_size**2), layer.bias, stride=stride, padding=padding)
    torch.testing.assert_close(layer(x), expected)


def test_learning_rate_multiplier_scales_the_step() -> None:
    """One Adam step moves the effective weight and bias by lr_multiplier times what it moves them with 1."""

    def moved(lr_multiplier: float) -> tuple[Tensor, Tensor]:
        torch.manual_seed(0)
        layer = EqualizedLinear(4, 4, bias_init=1.0, lr_multiplier=lr_multiplier)
        eye = torch.eye(4)
        before_bias, before = layer(torch.zeros(1, 4)).detach(), layer(eye).detach()
        optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
        layer(eye).square().sum().backward()
        optimizer.step()
        bias = layer(torch.zeros(1, 4)).detach() - before_bias
        return layer(eye).detach() - before - bias, bias

    for small, large in zip(moved(0.01), moved(1.0), strict=True):
        torch.testing.assert_close(small, 0.01 * large, rtol=0.05, atol=2e-6)
