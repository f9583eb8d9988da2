# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from monai_semgan.inferers import IntensityCurve, WPlusInferer, WPlusResult
from tests.wplus_network import make_network

NUMBERS = st.lists(st.floats(-6, 6, width=32), min_size=2, max_size=9)
DIRECTIONS = st.sampled_from([1, -1])


def grey(low: float = -0.98, high: float = 1.0) -> Tensor:
    """An image of all intensities above black."""
    return torch.linspace(low, high, 64).view(1, 1, 8, 8)


@given(NUMBERS, DIRECTIONS)
def test_curves_rise_or_fall_throughout(parameters: list[float], direction: int) -> None:
    curve = IntensityCurve.from_parameters(torch.tensor([parameters]), direction)
    assert (curve.values.diff() * direction > 0).all() and curve.directions.tolist() == [direction]
    ramp = torch.linspace(-1.5, 1.5, 301).view(1, 1, 7, 43)
    assert (curve(ramp, torch.zeros_like(ramp)).flatten().diff() * direction > 0).all()


@pytest.mark.parametrize("knots", [2, 5, 9])
@pytest.mark.parametrize("direction", [1, -1])
def test_no_parameters_give_the_line_of_the_direction(knots: int, direction: int) -> None:
    curve = IntensityCurve.from_parameters(torch.zeros(1, knots), direction)
    torch.testing.assert_close(curve.values[0], direction * torch.linspace(-1, 1, knots))
    torch.testing.assert_close(curve(grey(), grey()), direction * grey())
    assert curve.distance().item() < 1e-12


def test_linear_between_knots_against_numpy() -> None:
    values = torch.tensor([[-1.2, -0.3, 0.0, 0.1, 0.9], [0.8, 0.2, 0.1, -0.7, -0.9]])
    drawn = torch.rand(2, 3, 4, 4) * 2 - 1
    curved = IntensityCurve(values)(drawn, torch.zeros_like(drawn))
    for row, image, found in zip(values, drawn, curved, strict=True):
        expected = np.interp(image, np.linspace(-1, 1, 5), row)
        np.testing.assert_allclose(found, expected, atol=1e-6)
    expected = ((values - torch.tensor([[1.0], [-1.0]]) * torch.linspace(-1, 1, 5)) ** 2).mean(1)
    torch.testing.assert_close(IntensityCurve(values).distance(), expected)


@given(NUMBERS, DIRECTIONS)
def test_inverse(parameters: list[float], direction: int) -> None:
    curve = IntensityCurve.from_parameters(torch.tensor([parameters]) / 3, direction)
    given_image = curve(grey(), torch.zeros_like(grey()))
    # what is black by its value alone stays
    seen = given_image >= -0.99
    torch.testing.assert_close(curve.inverse(given_image)[seen], grey()[seen], atol=1e-3, rtol=0)


def test_black_stays() -> None:
    curve = IntensityCurve.from_parameters(torch.zeros(1, 3), -1)
    image = torch.tensor([-1.0, -0.9, 0.5, 1.0]).view(1, 1, 2, 2)
    drawn = torch.tensor([-0.8, 0.9, -0.5, -1.0]).view(1, 1, 2, 2)
    assert curve(drawn, image).flatten().tolist() == pytest.approx([-0.8, -0.9, 0.5, 1.0])
    assert curve.inverse(image).flatten().tolist() == pytest.approx([-1.0, 0.9, -0.5, -1.0])


def test_gradients_reach_parameters_and_drawn_images() -> None:
    parameters = (torch.randn(2, 4, dtype=torch.float64) / 2).requires_grad_()
    drawn = (torch.rand(2, 1, 3, 3, dtype=torch.float64) * 1.8 - 0.9).requires_grad_()

    def squares(parameters: Tensor, drawn: Tensor) -> Tensor:
        return IntensityCurve.from_parameters(parameters, -1)(drawn, torch.zeros_like(drawn)).square().sum()

    found = torch.autograd.grad(squares(parameters, drawn), (parameters, drawn))
    for tensor, gradient in zip((parameters, drawn), found, strict=True):
        place, step = (1,) * tensor.dim() if tensor is parameters else (1, 0, 1, 1), 1e-3
        with torch.no_grad():
            values = []
            for sign in (1, -1):
                tensor[place] += sign * step
                values.append(squares(parameters, drawn).item())
                tensor[place] -= sign * step
        assert gradient[place].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-2, abs=1e-3)


def test_common_curve_is_the_median_of_those_that_run_as_most_do() -> None:
    rising = torch.tensor([[-1.0, 0.0, 1.0], [-0.8, 0.2, 0.6], [-0.9, -0.2, 0.7]])
    falling = torch.tensor([[1.0, 0.0, -1.0]])
    common = IntensityCurve(torch.cat([rising, falling])).common()
    assert common.values.tolist() == [pytest.approx([-0.9, 0.0, 0.7])]
    common = IntensityCurve(torch.cat([rising[:1], falling, falling])).common()
    assert common.values.tolist() == [[1.0, 0.0, -1.0]]
    assert common.expand(4).values.shape == (4, 3)


@pytest.mark.parametrize("direction", [1, -1])
def test_inferer_recovers_a_known_curve(direction: int) -> None:
    network = make_network()
    with torch.no_grad():
        # the encoder answers with one code, which the regulariser then holds: what is left to find is the curve
        for head in network.encoder.heads:
            head.linear.weight.zero_()
        drawn, _ = network.decode(network.generator.mean_w.expand(1, network.generator.num_codes, -1))
    known = IntensityCurve.from_parameters(torch.tensor([[0.1, -1.0, -0.5, -1.5, -2.0]]), direction)
    image = known(drawn, torch.zeros_like(drawn))
    assert image.min() > -0.99
    settings = {"perceptual": "none", "l2_weight": 1.0, "regulariser_weight": 100.0, "steps": 60, "tolerance": 0.0}
    plain = WPlusInferer(**settings)(image, network, return_details=True)
    found = WPlusInferer(**settings, curve_knots=5, curve_weight=1e-4)(image, network, return_details=True)
    assert isinstance(plain, WPlusResult) and isinstance(found, WPlusResult)
    assert found.losses.item() < 0.02 * plain.losses.item()
    # around these three knots the drawn image has intensities, if few at the first
    assert drawn.min() < -0.5 and drawn.max() > 0.5
    assert (known.values - direction * known.knots)[:, 1:4].abs().max() > 0.5
    torch.testing.assert_close(found.curves[:, 1:4], known.values[:, 1:4], atol=0.08, rtol=0)
