# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.nets import UNet

from monai_semgan.networks.nets import DomainCheck


def unet() -> UNet:
    torch.manual_seed(0)
    return UNet(2, 1, 1, channels=(4, 6, 8), strides=(2, 2), num_res_units=1).eval()


def test_features_are_the_lowest_maps_by_quarters() -> None:
    network, seen = unet(), []
    bottom = network.model[1].submodule[1].submodule
    bottom.register_forward_hook(lambda layer, given, found: seen.append(found))
    images = torch.rand(3, 1, 16, 16)
    network(images)
    found = DomainCheck(8).features(network, images)
    quarters = seen[0].unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean((3, 5))
    torch.testing.assert_close(found, quarters.flatten(1).detach())


def test_without_components_left_the_distance_is_mahalanobis() -> None:
    generator = np.random.default_rng(0)
    values = torch.from_numpy(generator.normal(size=(500, 4)) @ generator.normal(size=(4, 4)) + 3).float()
    others = torch.from_numpy(generator.normal(size=(100, 4)) + 3).float()
    check = DomainCheck(1, components=4)
    assert not check.fitted
    check.fit(values, others)
    inverse = np.linalg.inv(np.cov(values.numpy().T))
    centred = others.numpy() - values.numpy().mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    assert check.fitted
    # features are standardised by a little more than their deviation
    np.testing.assert_allclose(check(others), expected / np.quantile(expected, 0.98), rtol=5e-3)
    assert (check(others) <= 1).float().mean() == pytest.approx(0.98)


def test_what_varies_little_counts_more() -> None:
    values = torch.randn(400, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0] * 7 + [0.01])
    check = DomainCheck(2, components=3)
    check.fit(values, values)
    moved = torch.zeros(2, 8)
    moved[0, 0] = moved[1, 7] = 1
    assert check(moved)[1] > 10 * check(moved)[0]


def test_what_was_fitted_goes_with_the_weights() -> None:
    values = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    first, second = DomainCheck(2, components=3), DomainCheck(2, components=3)
    first.fit(values[:20], values[20:])
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(values), second(values))


@pytest.mark.parametrize("shape", [(2, 8), (9, 7), (8,)])
def test_too_few_or_other_features_are_refused(shape: tuple[int, ...]) -> None:
    values = torch.randn(9, 8)
    with pytest.raises(ValueError, match="features have shape"):
        DomainCheck(2).fit(torch.randn(shape), values)
    with pytest.raises(ValueError, match="features have shape"):
        DomainCheck(2).fit(values, torch.randn(shape))
