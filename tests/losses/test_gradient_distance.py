# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch

from monai_semgan.inferers import WPlusInferer
from monai_semgan.losses import EncoderLoss, GradientDistance, ReconstructionLoss
from tests.wplus_network import make_network


def distance(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    measure = GradientDistance()
    return measure(image, measure.features(target))


def test_ramp_against_an_even_image_has_half_its_slope() -> None:
    ramp = torch.arange(6.0).mul(0.25).expand(1, 1, 4, 6)
    assert distance(ramp, torch.full_like(ramp, 3.0)).tolist() == pytest.approx([0.125])
    # the other way it rises down the rows
    assert distance(ramp.mT, torch.zeros(1, 1, 6, 4)).tolist() == pytest.approx([0.125])


def test_equals_differences_of_numpy_for_each_image() -> None:
    first, second = torch.randn(3, 2, 5, 7), torch.randn(3, 2, 5, 7)
    change = (first - second).double().numpy()
    wanted = [(np.abs(np.diff(c, axis=1)).mean() + np.abs(np.diff(c, axis=2)).mean()) / 2 for c in change]
    assert distance(first, second).tolist() == pytest.approx(wanted, rel=1e-5)


def test_an_even_shade_costs_nothing_and_a_turned_edge_twice_a_missing_one() -> None:
    edge = torch.zeros(1, 1, 4, 4)
    edge[..., 2:] = 1.0
    assert distance(edge + 0.3, edge).item() == pytest.approx(0, abs=1e-6)
    missing = distance(torch.zeros_like(edge), edge).item()
    assert missing == pytest.approx(1 / 6)
    assert distance(-edge, edge).item() == pytest.approx(2 * missing)


def test_takes_the_place_of_the_perceptual_distance() -> None:
    first, second = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    loss = ReconstructionLoss(GradientDistance(), perceptual_weight=2.0, l2_weight=0.5)
    squared = (first - second).square().mean((1, 2, 3))
    assert torch.allclose(loss(first, second), 2 * distance(first, second) + 0.5 * squared)
    terms = EncoderLoss(GradientDistance(), l2_weight=0.0)(first.requires_grad_(), second)
    assert terms.total.item() == pytest.approx(distance(first, second).mean().item())
    terms.total.backward()
    assert first.grad is not None and first.grad.abs().sum() > 0


def test_refinement_lowers_it() -> None:
    network = make_network()
    image = torch.rand(2, 1, 16, 16) * 2 - 1
    loss = ReconstructionLoss(GradientDistance(), l2_weight=0.0)
    before = loss(network.decode(network.encode(image))[0], image)
    found = WPlusInferer(steps=5, loss=loss, regulariser_weight=0.0)(image, network, return_details=True)
    assert (found.losses < before).all()
    assert torch.allclose(found.losses, loss(found.reconstruction, image), rtol=1e-4)
