# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.losses import R1Penalty
from monai_semgan.networks.nets import ImageDiscriminator, JointDiscriminator


@given(st.integers(1, 5), st.floats(0, 100), st.integers(0, 2**16))
def test_linear_discriminator_costs_half_gamma_times_its_squared_weight(batch: int, gamma: float, seed: int) -> None:
    torch.manual_seed(seed)
    weight = torch.randn(2 * 4 * 4, dtype=torch.float64)
    image = torch.randn(batch, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    penalty = R1Penalty(gamma)(image.flatten(1) @ weight[:, None] + 3.0, image)
    torch.testing.assert_close(penalty, 0.5 * gamma * weight.square().sum())


@pytest.mark.parametrize("side", [1, 2, 7])
def test_size_of_the_logit_map_does_not_matter(side: int) -> None:
    weight = torch.randn(16)
    image = torch.randn(3, 1, 4, 4, requires_grad=True)
    logits = (image.flatten(1) @ weight)[:, None, None, None].expand(3, 1, side, side)
    torch.testing.assert_close(R1Penalty(2.0)(logits, image), weight.square().sum())


def test_scales_and_inputs_add_up() -> None:
    a, b = torch.randn(2, 16)
    image, label = torch.randn(2, 3, 1, 4, 4, requires_grad=True).unbind()
    first, second = image.flatten(1) @ a[:, None], label.flatten(1) @ b[:, None]
    # logits a.x and b.y on two scales, and a.x + b.y on one, have the same gradients
    expected = 5.0 * (a.square().sum() + b.square().sum())
    torch.testing.assert_close(R1Penalty(10.0)([first, second], image, label), expected)
    torch.testing.assert_close(R1Penalty(10.0)(first + second, image, label), expected)
    torch.testing.assert_close(R1Penalty(10.0)([first, first], image), 20.0 * a.square().sum())


def test_quadratic_discriminator_has_the_second_derivative() -> None:
    """D(x) = c/2 |x|^2: the penalty is gamma/2 c^2 E|x|^2 and its derivative by c is gamma c E|x|^2."""
    c = torch.tensor(3.0, requires_grad=True)
    image = torch.randn(4, 1, 4, 4, requires_grad=True)
    power = image.detach().square().flatten(1).sum(1).mean()
    penalty = R1Penalty(4.0)(0.5 * c * image.square().flatten(1).sum(1, keepdim=True), image)
    torch.testing.assert_close(penalty.detach(), 2.0 * 9.0 * power)
    penalty.backward()
    torch.testing.assert_close(c.grad, 4.0 * 3.0 * power)


def test_discriminators_get_gradients_through_it() -> None:
    image, label = torch.randn(2, 3, 1, 16, 16, requires_grad=True).unbind()
    d_image = ImageDiscriminator(size=16, channel_base=64, channel_max=8)
    d_joint = JointDiscriminator(channels=4, num_scales=2)
    for network, penalty in (
        (d_image, R1Penalty()(d_image(image), image)),
        (d_joint, R1Penalty()(d_joint(image, label)[0], image, label)),
    ):
        assert penalty > 0
        penalty.backward()
        weights = {name: w for name, w in network.named_parameters() if "weight" in name}
        assert weights and all(w.grad is not None and w.grad.abs().sum() > 0 for w in weights.values())


def test_gamma_zero_is_free_and_negative_gamma_refused() -> None:
    image = torch.randn(2, 1, 4, 4, requires_grad=True)
    assert R1Penalty(0.0)(image.sum((1, 2, 3)), image) == 0
    with pytest.raises(ValueError, match="gamma is -1"):
        R1Penalty(-1)
