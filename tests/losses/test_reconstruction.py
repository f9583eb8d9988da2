# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.losses.perceptual import PerceptualDistance
from monai_semgan.losses.reconstruction import ReconstructionLoss
from monai_semgan.networks.nets import SemanticGAN


@pytest.fixture(scope="module")
def network() -> SemanticGAN:
    return SemanticGAN(size=16, latent_dim=8, channel_base=128, channel_max=8, encoder_channel_max=16)


@given(offset=st.floats(-2, 2), weight=st.floats(0.01, 10))
def test_l2_closed_form(offset: float, weight: float) -> None:
    loss = ReconstructionLoss("none", l2_weight=weight)
    image = torch.rand(3, 2, 4, 4)
    torch.testing.assert_close(loss(image + offset, image), torch.full((3,), weight * offset**2), rtol=1e-3, atol=1e-6)


def test_weighted_sum_per_image(network: SemanticGAN) -> None:
    drawn, image = torch.rand(2, 3, 1, 16, 16) * 2 - 1
    distance = PerceptualDistance("encoder")
    perceptual = distance(drawn, distance.features(image, network), network)
    squared = torch.stack([(a - b).square().mean() for a, b in zip(drawn, image)])
    loss = ReconstructionLoss("encoder", perceptual_weight=3.0, l2_weight=0.5)
    torch.testing.assert_close(loss(drawn, image, network), 3.0 * perceptual + 0.5 * squared)


def test_targets_features_are_computed_once_and_without_gradient(network: SemanticGAN) -> None:
    drawn, image = torch.rand(2, 3, 1, 16, 16) * 2 - 1
    loss = ReconstructionLoss("encoder")
    features = loss.features(image, network)
    assert not any(level.requires_grad for level in features)
    torch.testing.assert_close(loss(drawn, image, network, features), loss(drawn, image, network))
    others = [torch.zeros_like(level) for level in features]
    assert (loss(drawn, image, network, others) != loss(drawn, image, network)).all()


def test_zero_weight_skips_the_perceptual_distance() -> None:
    # neither weights nor a network are there
    loss = ReconstructionLoss(PerceptualDistance("lpips", weights_path="missing"), perceptual_weight=0.0, l2_weight=1.0)
    assert loss(torch.ones(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)).tolist() == [1.0, 1.0]


def test_half_precision_is_compared_in_fp32() -> None:
    loss = ReconstructionLoss("none", l2_weight=1.0)
    found = loss(torch.full((1, 1, 4, 4), 1.0, dtype=torch.bfloat16), torch.full((1, 1, 4, 4), 0.999))
    torch.testing.assert_close(found, torch.tensor([1e-6]), rtol=1e-3, atol=0)


@pytest.mark.parametrize(
    ("kind", "weights"),
    [
        ("none", {"l2_weight": 0.0}),
        ("encoder", {"perceptual_weight": 0.0, "l2_weight": 0.0}),
        ("encoder", {"perceptual_weight": -1.0}),
        ("encoder", {"l2_weight": -0.1}),
    ],
)
def test_weights_that_cannot_work(kind: str, weights: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="weight"):
        ReconstructionLoss(kind, **weights)


def test_shapes_must_agree() -> None:
    with pytest.raises(ValueError, match=r"\[1, 3, 4, 4\].*\[1, 1, 4, 4\]"):
        ReconstructionLoss("none")(torch.zeros(1, 3, 4, 4), torch.zeros(1, 1, 4, 4))
