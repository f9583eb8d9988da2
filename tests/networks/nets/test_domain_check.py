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


def test_features_are_means_of_the_last_stages_and_the_lowest_maps_by_quarters() -> None:
    network, seen = unet(), []
    stages = [network.model[0], network.model[1].submodule[0], network.model[1].submodule[1].submodule]
    for stage in stages:
        stage.register_forward_hook(lambda layer, given, found: seen.append(found))
    images = torch.rand(3, 1, 16, 16)
    network(images)
    upper = [found.mean((2, 3)).detach() for found in seen[:2]]
    quarters = seen[2].unflatten(2, (2, 2)).unflatten(4, (2, 2)).mean((3, 5)).flatten(1).detach()
    check = DomainCheck(network.channels)
    torch.testing.assert_close(check.features(network, images, 2), torch.cat([*upper, quarters], 1))
    whole = torch.cat([*upper, seen[2].mean((2, 3)).detach()], 1)
    torch.testing.assert_close(check.features(network, images), whole)
    assert check.grid_of(whole.shape[1]) == 1 and check.grid_of(4 + 6 + 8 * 4) == 2
    assert check.grid_of(4 + 6 + 8 * 4 + 1) is None and check.grid_of(10) is None and check.grid_of(3) is None


def images_of(values: torch.Tensor) -> list[torch.Tensor]:
    return list(values.split(1))


def test_without_components_left_the_distance_is_mahalanobis() -> None:
    generator = np.random.default_rng(0)
    mixing = np.eye(4) + 0.2 * generator.normal(size=(4, 4))
    values = torch.from_numpy(generator.normal(size=(500, 4)) @ mixing + 3).float()
    others = torch.from_numpy(generator.normal(size=(100, 4)) + 3).float()
    check = DomainCheck([1])
    assert not check.fitted
    check.fit(values, images_of(others))
    inverse = np.linalg.inv(np.cov(values.numpy().T))
    centred = others.numpy() - values.numpy().mean(0)
    expected = np.sqrt(np.einsum("ni,ij,nj->n", centred, inverse, centred))
    assert check.fitted and check.grid == 2
    # features are standardised by a little more than their deviation, directions are of half precision
    np.testing.assert_allclose(check(others), expected / np.quantile(expected, 0.98), rtol=1e-2)
    assert (check(others) <= 1).float().mean() == pytest.approx(0.98)


def test_what_varies_little_counts_more() -> None:
    values = torch.randn(400, 8, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0] * 7 + [0.01])
    check = DomainCheck([8])
    check.fit(values, images_of(values), components=3)
    moved = torch.zeros(2, 8)
    moved[0, 0] = moved[1, 7] = 1
    assert check(moved)[1] > 10 * check(moved)[0]


def test_volumes_are_as_far_as_the_nearest_third_of_their_slices() -> None:
    network = unet()
    generator = torch.Generator().manual_seed(0)
    check = DomainCheck(network.channels)
    volumes = torch.rand(8, 1, 16, 16, 50, generator=generator)
    slices = volumes[..., torch.linspace(0, 49, 32).round().long()].movedim(-1, 1)
    features = [check.features(network, volume) for volume in slices]
    check.fit(torch.cat(features[:4]), features[4:], margin=2.0)
    found = check.distances(network, volumes)
    torch.testing.assert_close(found, torch.stack([check(each).quantile(0.35) for each in features]))
    assert 0.4 < found[4:].max() < 0.6
    # most of it is of another kind, a part is not
    mixed = volumes[5:6].clone()
    mixed[..., :25] = torch.linspace(-1, 1, 16)[:, None]
    assert check.distances(network, mixed) < 1 < check.distances(network, mixed[..., :25])


def test_what_was_fitted_goes_with_the_weights() -> None:
    values = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    first, second = DomainCheck([2]), DomainCheck([2])
    first.fit(values[:20], images_of(values[20:]), components=3)
    assert first.state_dict()["basis"].shape == (3, 8)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(values), second(values)) and second.grid == 2
    first.load_state_dict(DomainCheck([2]).state_dict())
    assert not first.fitted


@pytest.mark.parametrize(("shape", "message"), [((2, 8), "too few"), ((9, 7), "have shape"), ((8,), "have shape")])
def test_too_few_or_other_features_are_refused(shape: tuple[int, ...], message: str) -> None:
    values = torch.randn(9, 8)
    with pytest.raises(ValueError, match=message):
        DomainCheck([2]).fit(torch.randn(shape), images_of(values))
    with pytest.raises(ValueError, match=message):
        DomainCheck([2]).fit(values, images_of(torch.randn(shape)))
