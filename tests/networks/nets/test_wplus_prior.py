# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.networks.nets import SemanticGAN, WPlusPrior
from tests.tiny_bundle import TINY_NETWORK


def test_codes_are_drawn_with_mean_and_covariance_of_those_it_was_fitted_to() -> None:
    mixing = torch.randn(3, 8)
    codes = (torch.randn(500, 3) @ mixing + torch.arange(8.0)).unflatten(1, (2, 4))
    prior = WPlusPrior(2, 4, components=5)
    prior.fit(codes)
    drawn = prior.sample(20_000, generator=torch.Generator().manual_seed(0))
    assert drawn.shape == (20_000, 2, 4)
    torch.testing.assert_close(drawn.mean(0), codes.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.flatten(1).T.cov(), codes.flatten(1).T.cov(), atol=0.3, rtol=0.05)
    # codes of three degrees of freedom leave the other components empty
    assert prior.basis.flatten(1).norm(dim=1)[3:].max() < 1e-4


def test_truncation_and_seed() -> None:
    prior = WPlusPrior(2, 4)
    prior.fit(torch.randn(6, 2, 4))
    one, two = (prior.sample(3, truncation=t, generator=torch.Generator().manual_seed(1)) for t in (1.0, 0.5))
    torch.testing.assert_close(two - prior.mean, (one - prior.mean) / 2)
    assert torch.equal(prior.sample(1, truncation=0)[0], prior.mean)


def test_factors_are_what_codes_were_drawn_from() -> None:
    prior = WPlusPrior(2, 4, components=5)
    with pytest.raises(ValueError, match="the prior knows no codes of images"):
        prior.factors(torch.zeros(1, 2, 4))
    # codes of three degrees of freedom, the first of them by far the largest
    prior.fit((torch.randn(50, 3) * torch.tensor([30.0, 1, 1]) @ torch.randn(3, 8)).unflatten(1, (2, 4)))
    codes = prior.sample(4, truncation=0.5, generator=torch.Generator().manual_seed(1))
    drawn = torch.randn(4, 5, generator=torch.Generator().manual_seed(1)) * 0.5
    torch.testing.assert_close(prior.factors(codes), drawn[:, :3], atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("shape", [(1, 2, 4), (5, 4, 2), (5, 8)])
def test_codes_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"codes have shape .* expected \(2 or more, \[2, 4\]\)"):
        WPlusPrior(2, 4).fit(torch.zeros(shape))


def test_a_network_draws_from_its_prior() -> None:
    network = SemanticGAN(**TINY_NETWORK).eval()
    with pytest.raises(ValueError, match="the prior knows no codes of images"):
        network.sample(1)
    codes = torch.randn(5, network.generator.num_codes, network.generator.latent_dim)
    network.prior.fit(codes)
    image, logits = network.sample(2, truncation=0)
    expected, label = network.decode(codes.mean(0, keepdim=True))
    torch.testing.assert_close(image, expected.clamp(-1, 1).expand_as(image))
    torch.testing.assert_close(logits, label.expand_as(logits))
    assert not image.requires_grad
