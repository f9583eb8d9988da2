# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.losses import PatchAdversarialLoss

from monai_semgan.losses import HingeAdversarialLoss, NonSaturatingLoss

LOGITS = torch.tensor([[-2.0], [0.0], [3.0]])


@pytest.mark.parametrize(("target_is_real", "sign"), [(True, -1), (False, 1)])
def test_non_saturating_is_the_mean_softplus(target_is_real: bool, sign: int) -> None:
    expected = sum(math.log1p(math.exp(sign * x)) for x in (-2.0, 0.0, 3.0)) / 3
    assert NonSaturatingLoss()(LOGITS, target_is_real).item() == pytest.approx(expected)


def test_non_saturating_generator_loss_is_the_real_one() -> None:
    loss = NonSaturatingLoss()
    assert loss(LOGITS, True, False) == loss(LOGITS, True, True)


@given(st.floats(-50, 50))
def test_non_saturating_real_and_fake_differ_by_the_logit(logit: float) -> None:
    loss, x = NonSaturatingLoss(), torch.tensor([[logit]])
    assert (loss(x, False) - loss(x, True)).item() == pytest.approx(logit, abs=1e-4)


@pytest.mark.parametrize(
    ("target_is_real", "for_discriminator", "expected"),
    [(True, True, (3 + 1 + 0) / 3), (False, True, (0 + 1 + 4) / 3), (True, False, -1 / 3)],
)
def test_hinge(target_is_real: bool, for_discriminator: bool, expected: float) -> None:
    assert HingeAdversarialLoss()(LOGITS, target_is_real, for_discriminator).item() == pytest.approx(expected)


def test_hinge_margin_stops_the_gradient() -> None:
    logits = torch.tensor([0.5, 1.5], requires_grad=True)
    HingeAdversarialLoss()(logits, True).backward()
    assert logits.grad.tolist() == [-0.5, 0.0]


def test_hinge_refuses_a_generator_that_wants_fake() -> None:
    with pytest.raises(ValueError, match="target_is_real must be True"):
        HingeAdversarialLoss()(LOGITS, False, False)


@pytest.mark.parametrize("loss", [NonSaturatingLoss(), HingeAdversarialLoss()])
@pytest.mark.parametrize(("target_is_real", "for_discriminator"), [(True, True), (False, True), (True, False)])
def test_scales_weigh_the_same_whatever_their_size(
    loss: torch.nn.Module, target_is_real: bool, for_discriminator: bool
) -> None:
    scales = [torch.randn(2, 1, 9, 9), torch.randn(2, 1, 5, 5), torch.randn(2, 1, 3, 3)]
    alone = [loss(scale, target_is_real, for_discriminator) for scale in scales]
    torch.testing.assert_close(loss(scales, target_is_real, for_discriminator), sum(alone) / 3)
    torch.testing.assert_close(loss(scales[:1], target_is_real, for_discriminator), alone[0])


@pytest.mark.parametrize("loss", [NonSaturatingLoss(), HingeAdversarialLoss()])
def test_confident_discriminators_do_not_saturate(loss: torch.nn.Module) -> None:
    """At logits of -200 (real) and 200 (fake) the loss is about 200 and the gradient -1 and 1."""
    for target_is_real, logit in ((True, -200.0), (False, 200.0)):
        logits = torch.tensor([[logit]], requires_grad=True)
        value = loss(logits, target_is_real)
        value.backward()
        assert value.item() == pytest.approx(200, abs=1)
        assert logits.grad.item() == pytest.approx(-1 if target_is_real else 1)
        # and it stays finite on the side where nothing is left to learn
        assert loss(-logits, target_is_real).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("loss", [NonSaturatingLoss(), HingeAdversarialLoss()])
def test_bf16_logits_are_summed_in_fp32(loss: torch.nn.Module) -> None:
    logits = torch.randn(64, 1, 8, 8).bfloat16()
    value = loss(logits, True)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, loss(logits.float(), True))


def test_monai_adversarial_loss_takes_the_same_call() -> None:
    scales = [torch.randn(2, 1, 4, 4), torch.randn(2, 1, 2, 2)]
    swapped = PatchAdversarialLoss(criterion="least_squares", no_activation_leastsq=True)
    for loss in (NonSaturatingLoss(), HingeAdversarialLoss(), swapped):
        for target_is_real, for_discriminator in ((True, True), (False, True), (True, False)):
            assert loss(scales, target_is_real, for_discriminator).shape == ()
