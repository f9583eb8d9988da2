# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.signal import convolve2d

from monai_semgan.networks.layers import FIRFilter

KERNEL = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64.0
SIDES = st.tuples(st.integers(1, 8), st.integers(1, 8))


def assert_equals(result: torch.Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(result, torch.from_numpy(expected).float(), rtol=1e-5, atol=1e-6)


def convolve(x: np.ndarray) -> np.ndarray:
    return np.stack([[convolve2d(channel, KERNEL) for channel in image] for image in x])


@given(SIDES)
def test_upsample_inserts_zeros_and_filters(sides: tuple[int, int]) -> None:
    height, width = sides
    x = torch.randn(2, 3, height, width)
    inserted = np.zeros((2, 3, 2 * height, 2 * width))
    inserted[:, :, ::2, ::2] = x.numpy()
    assert_equals(FIRFilter().upsample(x), 4 * convolve(inserted)[:, :, 1 : 2 * height + 1, 1 : 2 * width + 1])


@given(SIDES)
def test_downsample_filters_and_drops_every_other_sample(sides: tuple[int, int]) -> None:
    x = torch.randn(2, 3, 2 * sides[0], 2 * sides[1])
    result = FIRFilter().downsample(x)
    assert result.shape == (2, 3, *sides)
    assert_equals(result, convolve(x.numpy())[:, :, 2::2, 2::2][:, :, : sides[0], : sides[1]])


@given(SIDES, st.integers(0, 3), st.sampled_from([1.0, 4.0]))
def test_blur_equals_convolution(sides: tuple[int, int], padding: int, gain: float) -> None:
    height, width = sides[0] + 3, sides[1] + 3
    x = torch.randn(1, 2, height, width)
    begin = 3 - padding
    expected = convolve(x.numpy())[:, :, begin : height + padding, begin : width + padding]
    result = FIRFilter()(x, padding=padding, gain=gain)
    assert result.shape == (1, 2, height + 2 * padding - 3, width + 2 * padding - 3)
    assert_equals(result, gain * expected)


@given(st.floats(-3.0, 3.0))
def test_constants_are_kept_away_from_the_border(value: float) -> None:
    fir = FIRFilter()
    x = torch.full((1, 1, 8, 8), value)
    for result in (fir.upsample(x), fir.downsample(x), fir(x, padding=1)):
        inner = result[:, :, 2:-2, 2:-2] if result.shape[-1] > 4 else result[:, :, 1:-1, 1:-1]
        torch.testing.assert_close(inner, torch.full_like(inner, value))


@given(SIDES)
def test_upsample_is_four_times_the_transpose_of_downsample(sides: tuple[int, int]) -> None:
    fir = FIRFilter()
    x, y = torch.randn(1, 2, *sides), torch.randn(1, 2, 2 * sides[0], 2 * sides[1])
    torch.testing.assert_close((fir.upsample(x) * y).sum(), 4 * (x * fir.downsample(y)).sum(), rtol=1e-4, atol=1e-4)


def test_type_is_kept_and_the_kernel_is_not_saved() -> None:
    fir = FIRFilter()
    x = torch.randn(1, 1, 8, 8, dtype=torch.bfloat16)
    assert fir.upsample(x).dtype == fir.downsample(x).dtype == fir(x, padding=1).dtype == torch.bfloat16
    assert not fir.state_dict()


def test_scripted_filter_has_the_same_values() -> None:
    fir = FIRFilter()
    scripted = torch.jit.script(fir)
    x = torch.randn(1, 2, 6, 6)
    torch.testing.assert_close(scripted.upsample(x), fir.upsample(x))
    torch.testing.assert_close(scripted.downsample(x), fir.downsample(x))


@pytest.mark.parametrize("padding", [0, 1, 2, 3])
def test_derivatives_of_first_and_second_order(padding: int) -> None:
    fir = FIRFilter().double()
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64, requires_grad=True)
    for call in (lambda x: fir(x, padding=padding), fir.downsample):
        assert torch.autograd.gradcheck(call, x) and torch.autograd.gradgradcheck(call, x)


def test_second_derivatives_take_no_convolution_a_channel() -> None:
    fir, x = FIRFilter(), torch.randn(1, 64, 8, 8, requires_grad=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        (gradient,) = torch.autograd.grad(fir(x, padding=1).square().sum(), x, create_graph=True)
        gradient.square().sum().backward()
    calls = {event.key: event.count for event in profile.key_averages()}
    assert 0 < calls["aten::conv2d"] + calls.get("aten::convolution_backward", 0) < 8
    assert "aten::_convolution_double_backward" not in calls
