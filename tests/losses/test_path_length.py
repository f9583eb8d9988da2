# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from monai_semgan.losses import PathLengthPenalty
from monai_semgan.networks.nets import SemanticGenerator


def linear(wplus: Tensor, jacobian: Tensor) -> Tensor:
    """Image of a linear generator with a Jacobian ``(C H W, N D)``."""
    return (wplus.flatten(1) @ jacobian.T).unflatten(1, (2, 4, 4))


def test_linear_generator_against_the_jacobian() -> None:
    """With the same noise y, the length is the norm of J^T y, mean square over the codes."""
    jacobian, wplus = torch.randn(32, 3 * 5), torch.randn(6, 3, 5, requires_grad=True)
    image = linear(wplus, jacobian)
    torch.manual_seed(7)
    y = torch.randn_like(image) / 4.0
    lengths = (y.flatten(1) @ jacobian).unflatten(1, (3, 5)).square().sum(2).mean(1).sqrt()
    loss = PathLengthPenalty(weight=3.0, decay=0.25)
    torch.manual_seed(7)
    penalty = loss(image, wplus)
    torch.testing.assert_close(loss.mean_length, 0.25 * lengths.mean())
    torch.testing.assert_close(penalty, 3.0 * (lengths - 0.25 * lengths.mean()).square().mean())


def test_expected_length_is_the_frobenius_norm() -> None:
    """E |J^T y|^2 = |J|_F^2 / (pixels x codes), and the length concentrates there when J is large and flat."""
    codes, dim = 2, 64
    jacobian = torch.randn(32, codes * dim)
    wplus = torch.zeros(4000, codes, dim, requires_grad=True)
    loss = PathLengthPenalty(decay=1.0)
    penalty = loss(linear(wplus, jacobian), wplus)
    mean_square = penalty / loss.weight + loss.mean_length.square()
    expected = jacobian.square().sum() / (16 * codes)
    torch.testing.assert_close(mean_square.detach(), expected, rtol=0.03, atol=0.0)


def test_running_mean_follows_the_batches() -> None:
    loss, expected = PathLengthPenalty(decay=0.1), 0.0
    for _ in range(4):
        wplus = torch.randn(3, 2, 5, requires_grad=True)
        jacobian = torch.randn(32, 10)
        image = linear(wplus, jacobian)
        state = torch.get_rng_state()
        y = torch.randn_like(image) / 4.0
        lengths = (y.flatten(1) @ jacobian).unflatten(1, (2, 5)).square().sum(2).mean(1).sqrt()
        torch.set_rng_state(state)
        loss(image, wplus)
        expected = 0.9 * expected + 0.1 * lengths.mean().item()
    assert loss.mean_length.item() == pytest.approx(expected, rel=1e-5)
    assert not loss.mean_length.requires_grad
    other = PathLengthPenalty()
    other.load_state_dict(loss.state_dict())
    assert other.mean_length == loss.mean_length


def test_same_length_everywhere_costs_nothing() -> None:
    """An image of one pixel whose code moves it at rate a has the length a |y|; with y fixed nothing is left."""
    wplus = torch.randn(1, 1, 1, requires_grad=True)
    loss = PathLengthPenalty(decay=1.0)
    assert loss(3.0 * wplus[..., None], wplus) == 0


def test_pulls_the_gain_of_a_generator() -> None:
    """For image = g w the penalty's derivative by g, known in closed form, flows through the second derivative."""
    gain = torch.tensor(2.0, requires_grad=True)
    wplus = torch.randn(5, 1, 16, requires_grad=True)
    image = (gain * wplus).unflatten(2, (4, 4))
    torch.manual_seed(3)
    norms = (torch.randn_like(image) / 4.0).flatten(1).norm(dim=1)
    loss = PathLengthPenalty(weight=1.0, decay=0.5)
    torch.manual_seed(3)
    loss(image, wplus).backward()
    mean = loss.mean_length
    torch.testing.assert_close(gain.grad, (2 * (2.0 * norms - mean) * norms).mean())


def test_two_graphs_may_be_kept() -> None:
    """The running mean moves in place; a graph built before still goes backward."""
    loss = PathLengthPenalty()
    wplus = torch.randn(2, 1, 16, requires_grad=True)
    scale = torch.tensor(1.0, requires_grad=True)
    penalties = [loss((scale * wplus).unflatten(2, (4, 4)), wplus) for _ in range(2)]
    sum(penalties).backward()
    assert math.isfinite(scale.grad.item())


def test_generator_weights_get_gradients() -> None:
    generator = SemanticGenerator(size=16, latent_dim=8, channel_base=128, channel_max=8, mapping_layers=2)
    w = generator.mapping(torch.randn(2, 8))
    wplus = generator.broadcast(w)
    penalty = PathLengthPenalty()(generator.synthesis(wplus, generator.random_noise(2))[0], wplus)
    penalty.backward()
    grads = {name: p.grad for name, p in generator.named_parameters()}
    for name in ("mapping.layers.0.weight", "style.conv.weight", "levels.1.up.conv.weight", "to_image.conv.weight"):
        assert grads[name] is not None and grads[name].abs().sum() > 0, name
    assert all(grad is None or grad.abs().sum() == 0 for name, grad in grads.items() if "to_label" in name)


@pytest.mark.parametrize("settings", [{"weight": -1.0}, {"decay": 0.0}, {"decay": 1.5}])
def test_ranges(settings: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="decay"):
        PathLengthPenalty(**settings)
