# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.losses import FeatureMatchingLoss


def test_distance_of_means_over_layers_and_scales() -> None:
    shapes = [[(4, 8, 8), (8, 4, 4)], [(4, 4, 4), (8, 2, 2)]]
    fake = [[torch.randn(3, *shape) for shape in scale] for scale in shapes]
    real = [[torch.randn(5, *shape) for shape in scale] for scale in shapes]
    by_hand = [(f.mean(0) - r.mean(0)).abs().mean() for fakes, reals in zip(fake, real) for f, r in zip(fakes, reals)]
    torch.testing.assert_close(FeatureMatchingLoss(weight=3.0)(fake, real), 3.0 * sum(by_hand) / 4)


@given(st.floats(-5, 5), st.integers(1, 4), st.integers(1, 4))
def test_offset_costs_its_size(offset: float, fakes: int, reals: int) -> None:
    feature = torch.randn(1, 4, 3, 3)
    fake, real = [[feature.repeat(fakes, 1, 1, 1) + offset]], [[feature.repeat(reals, 1, 1, 1)]]
    torch.testing.assert_close(
        FeatureMatchingLoss(weight=1.0)(fake, real), torch.tensor(abs(offset)), atol=1e-5, rtol=0
    )


def test_order_of_the_batch_does_not_matter() -> None:
    fake, real = torch.randn(2, 4, 6, 3, 3)
    loss = FeatureMatchingLoss()
    torch.testing.assert_close(loss([[fake.flip(0)]], [[real]]), loss([[fake]], [[real]]))
    assert loss([[real.flip(0)]], [[real]]).item() < 1e-6


def test_gradient_flows_into_the_fakes_alone() -> None:
    fake, real = torch.randn(2, 4, 6, 3, 3, requires_grad=True).unbind()
    fake.retain_grad()
    real.retain_grad()
    FeatureMatchingLoss()([[fake]], [[real]]).backward()
    assert fake.grad.abs().sum() > 0 and real.grad is None


def test_bf16_features_are_averaged_in_fp32() -> None:
    fake, real = torch.randn(2, 64, 2, 3, 3).bfloat16()
    loss = FeatureMatchingLoss()
    assert loss([[fake]], [[real]]).dtype == torch.float32
    torch.testing.assert_close(loss([[fake]], [[real]]), loss([[fake.float()]], [[real.float()]]))
