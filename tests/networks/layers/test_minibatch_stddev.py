# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.networks.layers import MinibatchStdDev


def group_count(batch: int, group_size: int) -> int:
    """The least number of groups that do not exceed their size, unless an image would be one by itself."""
    count = 1
    while -(-batch // count) > group_size and batch // (count + 1) > 1:
        count += 1
    return count


@given(batch=st.integers(1, 13), group_size=st.integers(2, 5))
def test_equals_closed_form(batch: int, group_size: int) -> None:
    x = torch.randn(batch, 3, 2, 4)
    result = MinibatchStdDev(group_size)(x)
    assert result.shape == (batch, 4, 2, 4)
    assert torch.equal(result[:, :3], x)
    groups = group_count(batch, group_size)
    for image in range(batch):
        members = x.numpy().astype(np.float64)[image % groups :: groups]
        expected = np.sqrt(members.var(axis=0) + 1e-8).mean()
        np.testing.assert_allclose(result[image, 3].numpy(), expected, rtol=1e-4)


@given(part=st.integers(1, 6), parts=st.integers(1, 3))
def test_parts_are_batches_of_their_own(part: int, parts: int) -> None:
    layer, x = MinibatchStdDev(), torch.randn(part * parts, 3, 2, 4)
    torch.testing.assert_close(layer(x, parts), torch.cat([layer(one) for one in x.split(part)]))


@pytest.mark.parametrize("batch", [4, 6, 8, 9, 12])
def test_batches_that_divide_have_equal_groups(batch: int) -> None:
    groups = {4: 1, 6: 2, 8: 2, 9: 3, 12: 3}[batch]
    x = torch.randn(batch, 3, 2, 4)
    deviation = (x.unflatten(0, (-1, groups)).var(0, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
    torch.testing.assert_close(MinibatchStdDev()(x)[:, 3, 0, 0], deviation.repeat(batch // groups))


@pytest.mark.parametrize("batch", range(2, 16))
@pytest.mark.parametrize("group_size", [2, 3, 4])
def test_no_image_is_a_group_by_itself(batch: int, group_size: int) -> None:
    """The channel of every image follows from others too."""
    x = torch.randn(batch, 2, 2, 2, requires_grad=True)
    channel = MinibatchStdDev(group_size)(x)[:, 2, 0, 0]
    sizes = []
    for image in range(batch):
        (gradient,) = torch.autograd.grad(channel[image], x, retain_graph=True)
        sizes.append(int((gradient.flatten(1).abs().sum(1) > 0).sum()))
    assert min(sizes) > 1 and max(sizes) - min(sizes) <= 1
    assert max(sizes) <= max(group_size, 3)


def test_two_images_give_half_their_distance() -> None:
    x = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 3.0)])
    torch.testing.assert_close(MinibatchStdDev()(x)[:, 1], torch.full((2, 2, 2), 1.5))


@pytest.mark.parametrize("batch", [1, 4, 5])
def test_gradients_of_equal_images_are_finite(batch: int) -> None:
    x = torch.ones(batch, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(MinibatchStdDev()(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert gradient.isfinite().all() and second.isfinite().all()


def test_type_is_kept() -> None:
    assert MinibatchStdDev()(torch.randn(2, 3, 4, 4).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("group_size", [0, 1])
def test_a_group_has_several_images(group_size: int) -> None:
    with pytest.raises(ValueError, match=f"group_size is {group_size}"):
        MinibatchStdDev(group_size)


def test_exported_it_gives_the_same() -> None:
    x = torch.randn(5, 3, 4, 4)
    exported = torch.export.export(MinibatchStdDev(), (x,)).module()
    torch.testing.assert_close(exported(x), MinibatchStdDev()(x))
