# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from monai_semgan.networks.blocks import OutputBranch


@pytest.mark.parametrize("out_channels", [1, 3])
def test_equals_closed_form(out_channels: int) -> None:
    branch = OutputBranch(4, out_channels, 5)
    nn.init.normal_(branch.bias)
    x, w = torch.randn(2, 4, 6, 6), torch.randn(2, 5)
    style = branch.conv.style(w)
    expected = torch.einsum("bihw,bi,oi->bohw", x, style, branch.conv.weight[:, :, 0, 0]) / math.sqrt(4)
    expected = expected + branch.bias[:, None, None]
    torch.testing.assert_close(branch(x, w), expected, rtol=1e-4, atol=1e-5)


def test_is_not_demodulated() -> None:
    """Doubling the style doubles the output, demodulation would undo it."""
    branch = OutputBranch(4, 2, 5)
    x, w = torch.randn(2, 4, 6, 6), torch.randn(2, 5)
    once = branch(x, w)
    with torch.no_grad():
        branch.conv.style.weight.mul_(2)
        branch.conv.style.bias.mul_(2)
    torch.testing.assert_close(branch(x, w), 2 * once)
