# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from monai_semgan.networks.blocks import StyleBlock


def make_block(*, upsample: bool) -> StyleBlock:
    block = StyleBlock(4, 6, 5, 8, upsample=upsample)
    nn.init.normal_(block.bias)
    nn.init.constant_(block.noise_strength, 0.7)
    return block


@pytest.mark.parametrize("upsample", [False, True])
@pytest.mark.parametrize("noise_batch", [None, 1, 3])
def test_equals_the_figure(upsample: bool, noise_batch: int | None) -> None:
    """Modulated convolution, demodulation, plus noise times strength, plus bias, leaky ReLU, gain sqrt 2."""
    block = make_block(upsample=upsample)
    side = 4 if upsample else 8
    x, w = torch.randn(3, 4, side, side), torch.randn(3, 5)
    noise = None if noise_batch is None else torch.randn(noise_batch, 1, 8, 8)
    features, demodulation = block.conv(x, w)
    expected = features * demodulation + 0.7 * (block.fixed_noise if noise is None else noise)
    expected = math.sqrt(2.0) * F.leaky_relu(expected + block.bias[:, None, None], 0.2)
    result = block(x, w, noise)
    assert result.shape == (3, 6, 8, 8)
    torch.testing.assert_close(result, expected, rtol=1e-5, atol=1e-5)


def test_noise_is_off_at_the_start_and_its_strength_learns() -> None:
    block = StyleBlock(4, 6, 5, 8)
    x, w = torch.randn(2, 4, 8, 8), torch.randn(2, 5)
    result = block(x, w)
    assert torch.equal(result, block(x, w, torch.randn(2, 1, 8, 8)))
    result.square().sum().backward()
    assert block.noise_strength.grad is not None and block.noise_strength.grad != 0


def test_fixed_noise_is_saved() -> None:
    block = StyleBlock(4, 6, 5, 8)
    assert block.state_dict()["fixed_noise"].shape == (1, 1, 8, 8)


def test_noise_of_another_shape() -> None:
    block = StyleBlock(4, 6, 5, 8)
    for shape in ((1, 1, 1, 1), (2, 1, 4, 4), (2, 6, 8, 8)):
        with pytest.raises(ValueError, match="noise has shape .* expected"):
            block(torch.randn(2, 4, 8, 8), torch.randn(2, 5), torch.randn(shape))


def test_bf16_autocast() -> None:
    block = make_block(upsample=True)
    x, w = torch.randn(3, 4, 4, 4), torch.randn(3, 5)
    with torch.autocast("cpu", torch.bfloat16):
        result = block(x, w)
    assert result.dtype == torch.bfloat16
    assert (result.float() - block(x, w)).abs().max() < 0.1
