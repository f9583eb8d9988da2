# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
import torch
from monai.inferers import SimpleInferer
from torch import Tensor, nn

from monai_semgan.inferers import SliceWiseInferer, Uncertainty, ViewAveragingInferer, WPlusInferer, WPlusUncertainty
from monai_semgan.inferers.wplus_uncertainty import mean_rank, probabilities, spread
from monai_semgan.networks.nets import SemanticGAN
from tests.tiny_bundle import TINY_NETWORK


@pytest.fixture(scope="module")
def network() -> SemanticGAN:
    torch.manual_seed(0)
    network = SemanticGAN(**TINY_NETWORK).eval()
    network.prior.fit(torch.randn(9, network.generator.num_codes, network.generator.latent_dim))
    return network


def images(number: int) -> Tensor:
    return torch.rand(number, 1, TINY_NETWORK["size"], TINY_NETWORK["size"]) * 2 - 1


def test_spread_is_1_minus_the_mean_dice_of_pairs() -> None:
    maps = (torch.rand(4, 3, 1, 8, 8) > 0.5).float()
    for image in range(3):
        pairs = itertools.combinations(maps[:, image], 2)
        dice = [(2 * (a * b).sum() / (a.sum() + b.sum())).item() for a, b in pairs]
        assert spread(maps)[image].item() == pytest.approx(1 - sum(dice) / 6)


def test_spread_of_equal_and_of_empty_maps_is_0_and_of_disjoint_ones_1() -> None:
    equal = torch.rand(1, 1, 1, 8, 8).expand(3, -1, -1, -1, -1)
    assert spread(equal).item() == pytest.approx(0, abs=1e-6)
    assert spread(torch.zeros(3, 1, 1, 8, 8)).item() == 0
    disjoint = torch.zeros(2, 1, 1, 8, 8)
    disjoint[0, ..., :4], disjoint[1, ..., 4:] = 1, 1
    assert spread(disjoint).item() == 1


def test_probabilities_are_those_of_foreground_classes() -> None:
    logits = torch.randn(2, 3, 4, 4)
    torch.testing.assert_close(probabilities(logits).sum(1), 1 - torch.softmax(logits, 1)[:, 0])
    torch.testing.assert_close(probabilities(logits[:, :1]), logits[:, :1].sigmoid())


def test_scores_are_those_of_the_codes_that_were_sampled(network: SemanticGAN) -> None:
    image = images(2)
    found = WPlusUncertainty(WPlusInferer(amp=False), samples=1, steps=3)(image, network)
    refined = WPlusInferer(steps=3, amp=False)(image, network, return_details=True)
    torch.testing.assert_close(
        found.reconstruction_error, (refined.reconstruction - image).square().mean((1, 2, 3)).sqrt()
    )
    with torch.no_grad():
        both = torch.stack([network(image).sigmoid(), refined.logits.sigmoid()])
    torch.testing.assert_close(found.spread, spread(both), atol=1e-5, rtol=1e-4)


def test_a_seed_repeats_the_scores_and_a_batch_does_not_change_them_without_jitter(network: SemanticGAN) -> None:
    image = images(3)

    def run(values: Tensor, seed: int = 0, **settings: Any) -> Uncertainty:
        uncertainty = WPlusUncertainty(WPlusInferer(amp=False), samples=3, steps=2, **settings)
        return uncertainty(values, network, generator=torch.Generator().manual_seed(seed))

    assert torch.equal(run(image).spread, run(image).spread)
    assert not torch.equal(run(image).spread, run(image, seed=1).spread)
    torch.testing.assert_close(run(image, jitter=0.0).spread[1:2], run(image[1:2], jitter=0.0).spread)


def test_jitter_spreads_the_samples(network: SemanticGAN) -> None:
    near, far = (
        WPlusUncertainty(samples=3, steps=1, jitter=jitter)(
            images(2), network, generator=torch.Generator().manual_seed(0)
        )
        for jitter in (0.01, 3.0)
    )
    assert (far.spread > near.spread).all()


def test_settings_of_the_inferer_are_kept_and_it_is_left_as_it_was(network: SemanticGAN) -> None:
    inferer = WPlusInferer(steps=40, regulariser_weight=0.7, chunk_size=1)
    uncertainty = WPlusUncertainty(inferer, samples=1, steps=2)
    assert (uncertainty.inferer.steps, uncertainty.inferer.regulariser_weight) == (2, 0.7)
    uncertainty(images(2), network)
    assert inferer.steps == 40


def test_samples_are_those_of_the_inferer_that_others_wrap(network: SemanticGAN) -> None:
    inner = WPlusInferer(regulariser_weight=0.7)
    wrapped = SliceWiseInferer(ViewAveragingInferer(inner, flips=[[-1]]))
    image = images(2)
    plain, found = (WPlusUncertainty(inferer, samples=1, steps=2)(image, network) for inferer in (inner, wrapped))
    assert torch.equal(found.spread, plain.spread) and torch.equal(
        found.reconstruction_error, plain.reconstruction_error
    )
    with pytest.raises(ValueError, match="inferer is a SimpleInferer, samples are refined by a WPlusInferer"):
        WPlusUncertainty(SliceWiseInferer(SimpleInferer()))


def test_mean_rank_weighs_both_scores() -> None:
    both = Uncertainty(torch.tensor([0.3, 0.1, 0.2]), torch.tensor([1.0, 2.0, 3.0]))
    assert mean_rank(both, spread_weight=1.0).tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert mean_rank(both, spread_weight=0.0).tolist() == pytest.approx([1, 1 / 3, 2 / 3])
    assert mean_rank(both, spread_weight=0.75).tolist() == pytest.approx([0.5, 7 / 12, 11 / 12])


@pytest.mark.parametrize("settings", [{"samples": 0}, {"steps": 0}, {"jitter": -0.1}])
def test_settings_out_of_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="must be at least"):
        WPlusUncertainty(**settings)


def test_several_samples_need_a_prior(network: SemanticGAN) -> None:
    bare = SemanticGAN(**TINY_NETWORK).eval()
    with pytest.raises(ValueError, match="the prior knows no codes"):
        WPlusUncertainty(steps=1)(images(1), bare)


def test_codes_are_sampled_whoever_answers(network: SemanticGAN) -> None:
    images = torch.rand(2, 1, 32, 32) * 2 - 1
    plain = WPlusUncertainty(WPlusInferer(amp=False), samples=1, steps=2)(images, network)
    student = copy.deepcopy(network)
    student.student = nn.Conv2d(1, 1, 1)
    for answer in ("student", "both"):
        found = WPlusUncertainty(WPlusInferer(amp=False, answer=answer), samples=1, steps=2)(images, student)
        torch.testing.assert_close(found.spread, plain.spread)
        torch.testing.assert_close(found.reconstruction_error, plain.reconstruction_error)
