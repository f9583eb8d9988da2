# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Resampling with the [1, 3, 3, 1] FIR filter of StyleGAN2 (Karras et al., CVPR 2020, arXiv:1912.04958, appendix B)."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class ConstantDepthwise(torch.autograd.Function):
    """Depthwise convolution with a constant kernel that is symmetric, so that its gradient is one of the same kind.

    torch's own second derivative also works out that of the kernel, channel by channel, whether it is asked for or not:
    R1 and path length take it for nothing.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, kernel: Tensor, padding: int) -> Tensor:
        """Filter ``(B, C, H, W)`` with a kernel ``(C, 1, k, k)``."""
        ctx.save_for_backward(kernel)
        ctx.padding = padding
        return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Filter the gradient with the padding that restores the input's size."""
        (kernel,) = ctx.saved_tensors
        padding = kernel.shape[-1] - 1 - ctx.padding
        return ConstantDepthwise.apply(gradient, kernel.to(gradient.dtype), padding), None, None


def filtered(x: Tensor, kernel: Tensor, padding: int) -> Tensor:
    """Apply :class:`ConstantDepthwise`, or in TorchScript, which has no second derivatives, what it computes."""
    if torch.jit.is_scripting():
        return F.conv2d(x, kernel, padding=padding, groups=x.shape[1])
    return ConstantDepthwise.apply(x, kernel, padding)


class FIRFilter(nn.Module):
    """Separable [1, 3, 3, 1] low-pass filter as one depthwise 4x4 convolution.

    The kernel is normalised to sum 1, so a constant image stays constant away from the zero-padded border.
    """

    def __init__(self) -> None:
        super().__init__()
        self.kernel: Tensor
        self.half_kernel: Tensor
        taps, half_taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8.0, torch.tensor([1.0, 2.0, 1.0]) / 4.0
        self.register_buffer("kernel", torch.outer(taps, taps)[None, None], persistent=False)
        self.register_buffer("half_kernel", torch.outer(half_taps, half_taps)[None, None], persistent=False)

    def depthwise(self, x: Tensor, gain: float = 1.0) -> Tensor:
        """The kernel times ``gain``, one copy a channel of ``x``, in the type of ``x``."""
        return (self.kernel * gain).to(x.dtype).expand(x.shape[1], 1, 4, 4)

    def forward(self, x: Tensor, padding: int, gain: float = 1.0) -> Tensor:
        """Blur ``(B, C, H, W)`` to ``(B, C, H + 2 padding - 3, W + 2 padding - 3)``."""
        return filtered(x, self.depthwise(x, gain), padding)

    @torch.jit.export
    def upsample(self, x: Tensor) -> Tensor:
        """Insert zeros and blur: ``(B, C, H, W)`` to ``(B, C, 2H, 2W)``, mean kept."""
        return F.conv_transpose2d(x, self.depthwise(x, 4.0), stride=2, padding=1, groups=x.shape[1])

    @torch.jit.export
    def downsample(self, x: Tensor) -> Tensor:
        """Blur and drop every other sample: ``(B, C, H, W)`` to ``(B, C, H/2, W/2)``, mean kept."""
        # [1, 3, 3, 1] = [1, 2, 1] * [1, 1]; a strided depthwise convolution is up to 20 times slower backwards on a CPU
        kernel = self.half_kernel.to(x.dtype).expand(x.shape[1], 1, 3, 3)
        return F.avg_pool2d(filtered(x, kernel, 1), 2)
