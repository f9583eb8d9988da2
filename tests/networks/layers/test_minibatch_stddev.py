# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.networks.layers import MinibatchStdDev


def group_length(batch: int, group_size: int) -> int:
    length = min(batch, group_size)
    while batch % length:
        length -= 1
    return length


@given(batch=st.integers(1, 9), group_size=st.integers(1, 5))
def test_equals_closed_form(batch: int, group_size: int) -> None:
    x = torch.randn(batch, 3, 2, 4)
    result = MinibatchStdDev(group_size)(x)
    assert result.shape == (batch, 4, 2, 4)
    assert torch.equal(result[:, :3], x)
    groups = batch // group_length(batch, group_size)
    for image in range(batch):
        members = x.numpy().astype(np.float64)[image % groups :: groups]
        expected = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(result[image, 3].numpy(), expected, rtol=1e-4)


@given(part=st.integers(1, 6), parts=st.integers(1, 3))
def test_parts_are_batches_of_their_own(part: int, parts: int) -> None:
    layer, x = MinibatchStdDev(), torch.randn(part * parts, 3, 2, 4)
    torch.testing.assert_close(layer(x, parts), torch.cat([layer(one) for one in x.split(part)]))


def test_two_images_give_half_their_distance() -> None:
    x = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 3.0)])
    torch.testing.assert_close(MinibatchStdDev()(x)[:, 1], torch.full((2, 2, 2), 1.5))


@pytest.mark.parametrize("batch", [1, 4])
def test_gradients_of_equal_images_are_finite(batch: int) -> None:
    x = torch.ones(batch, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(MinibatchStdDev()(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert gradient.isfinite().all() and second.isfinite().all()


def test_type_is_kept() -> None:
    assert MinibatchStdDev()(torch.randn(2, 3, 4, 4).bfloat16()).dtype == torch.bfloat16


def test_group_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="group_size is 0"):
        MinibatchStdDev(0)
