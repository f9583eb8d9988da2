# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.blocks import ResidualDownBlock

KERNEL = torch.outer(torch.tensor([1.0, 3.0, 3.0, 1.0]), torch.tensor([1.0, 3.0, 3.0, 1.0])) / 64.0


def blur(x: Tensor, padding: int) -> Tensor:
    return F.conv2d(x.flatten(0, 1)[:, None], KERNEL[None, None], padding=padding).unflatten(0, x.shape[:2])[:, :, 0]


def activate(x: Tensor) -> Tensor:
    return math.sqrt(2.0) * F.leaky_relu(x, 0.2)


@pytest.mark.parametrize("in_channels, out_channels", [(3, 5), (4, 4)])
def test_equals_the_figure(in_channels: int, out_channels: int) -> None:
    block = ResidualDownBlock(in_channels, out_channels)
    for convolution in (block.conv1, block.conv2):
        assert convolution.bias is not None
        nn.init.normal_(convolution.bias)
    x = torch.randn(2, in_channels, 8, 8)
    scale = 1 / math.sqrt(9 * in_channels)
    main = activate(F.conv2d(x, block.conv1.weight * scale, block.conv1.bias, padding=1))
    main = activate(F.conv2d(blur(main, 2), block.conv2.weight * scale, block.conv2.bias, stride=2))
    skip = F.conv2d(blur(x, 1)[:, :, ::2, ::2], block.skip.weight / math.sqrt(in_channels))
    result = block(x)
    assert result.shape == (2, out_channels, 4, 4)
    torch.testing.assert_close(result, (main + skip) / math.sqrt(2.0), rtol=1e-4, atol=1e-5)


def test_second_order_gradient() -> None:
    block = ResidualDownBlock(3, 4)
    x = torch.randn(2, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(block(x).square().sum(), x, create_graph=True)
    gradient.square().sum().backward()
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name
