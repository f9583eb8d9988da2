# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

r"""3x3 convolutions with a quarter of the multiplications (Lavin and Gray, CVPR 2016, arXiv:1509.09308, F(4x4, 3x3)).

A tile of 4x4 results depends on 6x6 inputs d and the kernel g: :math:`Y = A [(G g G^T) \odot (B d B^T)] A^T`, where
the product of the two 6x6 matrices runs over the input channels and so is 36 matrix products of all tiles together.
That is 36 multiplications for 16 results in place of 144. The gradient of the kernel is the transpose of the same,
:math:`G^T [(A^T y A) \odot (B d B^T)] G`, and that of the input a convolution with the turned kernel.

In fp32 the results are within 1e-5 of the direct sum's; in half precision they would not be good enough.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import register_flop_formula

# the transforms of inputs, kernels and results for the points 0, 1, -1, 2, -2 and infinity
INPUT = (
    (4.0, 0.0, -5.0, 0.0, 1.0, 0.0),
    (0.0, -4.0, -4.0, 1.0, 1.0, 0.0),
    (0.0, 4.0, -4.0, -1.0, 1.0, 0.0),
    (0.0, -2.0, -1.0, 2.0, 1.0, 0.0),
    (0.0, 2.0, -1.0, -2.0, 1.0, 0.0),
    (0.0, 4.0, 0.0, -5.0, 0.0, 1.0),
)
KERNEL = (
    (1 / 4, 0.0, 0.0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0.0, 0.0, 1.0),
)
RESULT = (
    (1.0, 1.0, 1.0, 1.0, 1.0, 0.0),
    (0.0, 1.0, -1.0, 2.0, -2.0, 0.0),
    (0.0, 1.0, 1.0, 4.0, 4.0, 0.0),
    (0.0, 1.0, -1.0, 8.0, -8.0, 1.0),
)
# numbers in a block's transformed input: what the processor's cache holds
BLOCK = 1 << 22
# with fewer channels or tiles the transforms take as long as they save
LEAST_CHANNELS = 128
LEAST_TILES = 64


def convolve(x: Tensor, weight: Tensor, bias: Tensor | None = None, stride: int = 1, padding: int = 0) -> Tensor:
    """``torch.nn.functional.conv2d``, by Winograd's tiles where they are faster: wide 3x3 layers in fp32 on a CPU.

    Args:
        x: ``(B, C, H, W)``.
        weight: ``(O, C, k, k)``.
        bias: ``(O,)``.
        stride: stride of the convolution.
        padding: zero padding on each side.

    Returns:
        ``(B, O, H', W')``.
    """
    if not torch.jit.is_scripting():
        # by itself, for TorchScript leaves out what is below it
        if stride == padding == 1 and suits(x, weight):
            y = winograd(x, weight)
            return y if bias is None else y + bias[:, None, None]
    return F.conv2d(x, weight, bias, stride=stride, padding=padding)


def suits(x: Tensor, weight: Tensor) -> bool:
    """Whether tiles are faster than the direct sum with stride 1 and padding 1, and exact enough."""
    if torch.jit.is_tracing() or torch.compiler.is_exporting():
        # a graph for other programs must not name an operation of this package
        return False
    batch, channels, height, width = x.shape
    return (
        weight.shape[2] == weight.shape[3] == 3
        and height % 4 == width % 4 == 0
        and min(channels, weight.shape[0]) >= LEAST_CHANNELS
        and batch * height * width >= 16 * LEAST_TILES
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
    )


@torch.library.custom_op("monai_semgan::winograd", mutates_args=(), device_types="cpu")
def winograd(x: Tensor, weight: Tensor) -> Tensor:
    """3x3 convolution with stride 1 and padding 1 in the ``channels_last`` format; 4 divides height and width."""
    batch, channels, height, width = x.shape
    with torch.autocast("cpu", enabled=False):
        taps = weight.permute(0, 2, 3, 1).reshape(-1, 9, channels)
        kernels = torch.matmul(both_axes(KERNEL, x), taps).permute(1, 2, 0)
        to_results = both_axes(RESULT, x)
        y = x.new_empty(batch, height, width, len(weight))
        for images, rows, inputs in blocks(x):
            results = to_results @ torch.bmm(inputs, kernels).view(36, -1)
            tiles = as_tiles(y[images, rows])
            tiles.copy_(results.view(4, 4, *tiles.shape[:2], width // 4, -1).permute(2, 3, 0, 4, 1, 5))
        return y.permute(0, 3, 1, 2)


@torch.library.custom_op("monai_semgan::winograd_weight", mutates_args=(), device_types="cpu")
def winograd_weight(x: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of the weight of :func:`winograd`, ``(O, C, 3, 3)``, from that of its result, ``(B, O, H, W)``."""
    channels, results = x.shape[1], gradient.shape[1]
    y = gradient.permute(0, 2, 3, 1)
    with torch.autocast("cpu", enabled=False):
        from_results = both_axes(RESULT, x).T
        total = x.new_zeros(36, results, channels)
        for images, rows, inputs in blocks(x):
            tiles = as_tiles(y[images, rows]).permute(2, 4, 0, 1, 3, 5).reshape(16, -1)
            total.baddbmm_((from_results @ tiles).view(36, -1, results).transpose(1, 2), inputs)
        weight = both_axes(KERNEL, x).T @ total.view(36, -1)
        return weight.view(3, 3, results, channels).permute(2, 3, 0, 1).contiguous()


def blocks(x: Tensor) -> Iterator[tuple[slice, slice, Tensor]]:
    """Cut ``(B, C, H, W)`` into some images or some rows of one image: both ranges and the transformed input.

    The input is ``(36, T, C)`` for the T tiles of a block, first along its images, then along rows and columns.
    """
    batch, channels, height, width = x.shape
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    tiles = max(1, BLOCK // (36 * channels))
    images = max(1, tiles // (height * width // 16))
    rows = min(height, 4 * max(1, tiles // (width // 4)))
    transform = x.new_tensor(INPUT)
    for first in range(0, batch, images):
        for top in range(0, height, rows):
            part = padded[first : first + images, top : top + rows + 2]
            d = part.unfold(1, 6, 4).unfold(2, 6, 4).permute(4, 5, 0, 1, 2, 3).reshape(6, -1)
            inputs = transform @ (transform @ d).view(6, 6, -1)
            yield slice(first, first + images), slice(top, top + rows), inputs.view(36, -1, channels)


def as_tiles(y: Tensor) -> Tensor:
    """View ``(B, H, W, O)`` as tiles of 4x4, ``(B, H / 4, 4, W / 4, 4, O)``."""
    return y.unflatten(1, (-1, 4)).unflatten(3, (-1, 4))


def both_axes(matrix: Sequence[Sequence[float]], x: Tensor) -> Tensor:
    """The matrix that transforms rows and columns of a tile at once, in the type of ``x``."""
    values = x.new_tensor(matrix)
    return torch.kron(values, values)


@winograd.register_fake
def _(x: Tensor, weight: Tensor) -> Tensor:
    return x.new_empty(len(x), x.shape[2], x.shape[3], len(weight)).permute(0, 3, 1, 2)


@winograd_weight.register_fake
def _(x: Tensor, gradient: Tensor) -> Tensor:
    return x.new_empty(gradient.shape[1], x.shape[1], 3, 3)


def save_both(ctx: Any, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    """Keep both factors: all of these operations are linear in each of them."""
    ctx.save_for_backward(*inputs)


def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of :func:`winograd`, by operations that can be differentiated again."""
    x, weight = ctx.saved_tensors
    along_x = winograd(gradient, turned(weight)) if wanted(ctx, 0) else None
    return along_x, winograd_weight(x, gradient) if wanted(ctx, 1) else None


def weight_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of :func:`winograd_weight`."""
    x, along_result = ctx.saved_tensors
    along_x = winograd(along_result, turned(gradient)) if wanted(ctx, 0) else None
    return along_x, winograd(x, gradient) if wanted(ctx, 1) else None


def wanted(ctx: Any, index: int) -> bool:
    """Whether this pass asks for the gradient of an input: ``needs_input_grad`` also tells of those it leaves out."""
    if not ctx.needs_input_grad[index]:
        return False
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[index][0])
    except RuntimeError:
        # torch does not tell of tensors that autograd.grad itself was asked for
        return True


def turned(weight: Tensor) -> Tensor:
    """The kernel that carries gradients back: channels exchanged, taps in reverse."""
    return weight.transpose(0, 1).flip(2, 3)


winograd.register_autograd(backward, setup_context=save_both)
winograd_weight.register_autograd(weight_backward, setup_context=save_both)


@register_flop_formula(torch.ops.monai_semgan.winograd)
def operations(x_shape: Sequence[int], weight_shape: Sequence[int], **kwargs: Any) -> int:
    """Operations of the direct sum, so that shares of a machine's rate compare like with like."""
    return 18 * weight_shape[0] * math.prod(x_shape)


@register_flop_formula(torch.ops.monai_semgan.winograd_weight)
def weight_operations(x_shape: Sequence[int], gradient_shape: Sequence[int], **kwargs: Any) -> int:
    """As :func:`operations`."""
    return 18 * gradient_shape[1] * math.prod(x_shape)
