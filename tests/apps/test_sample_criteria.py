# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from monai_semgan.apps import sample_criteria
from monai_semgan.apps.sample_criteria import (
    Agreement,
    Connected,
    Foreground,
    Originality,
    Realism,
    Sample,
    Variety,
    mean_dice,
    nearest_others,
    quantile,
)
from monai_semgan.networks.nets import ImageDiscriminator, SemanticGAN, WPlusPrior
from tests.tiny_bundle import TINY_NETWORK

SIZE = TINY_NETWORK["size"]


def sample(label: Tensor | None = None, image: Tensor | None = None, codes: Tensor | None = None) -> Sample:
    return Sample(
        0,
        torch.zeros(2, 4) if codes is None else codes,
        torch.zeros(1, SIZE, SIZE) if image is None else image,
        torch.zeros(SIZE, SIZE, dtype=torch.uint8) if label is None else label,
    )


def painted(*boxes: tuple[int, int, int, int, int]) -> Tensor:
    """A label map of rectangles: class, first and last row, first and last column, the last ones excluded."""
    label = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    for index, top, bottom, left, right in boxes:
        label[top:bottom, left:right] = index
    return label


@pytest.fixture
def network() -> SemanticGAN:
    network = SemanticGAN(**TINY_NETWORK).eval()
    for head in network.encoder.heads:
        nn.init.normal_(head.linear.weight)
    network.prior.fit(network.encode(torch.randn(30, 1, SIZE, SIZE).tanh()).detach())
    return network


def test_foreground_is_the_share_of_all_classes() -> None:
    criterion = Foreground(0.1)
    assert criterion(sample()) == 0
    assert criterion(sample(painted((1, 0, 4, 0, 8), (2, 10, 14, 0, 8)))) == 64 / SIZE**2


def test_connected_counts_the_largest_pieces_of_each_class() -> None:
    lungs = ((1, 0, 10, 0, 6), (1, 0, 10, 10, 18))
    assert Connected(2, 0.9)(sample(painted(*lungs))) == 1
    assert Connected(1, 0.9)(sample(painted(*lungs))) == 80 / 140
    assert Connected(2, 0.9)(sample(painted(*lungs, (1, 20, 23, 0, 5)))) == 140 / 155
    # pieces of another class are counted by themselves, also where they touch
    assert Connected(1, 0.9)(sample(painted((1, 0, 10, 0, 6), (2, 0, 10, 6, 9), (2, 20, 22, 0, 5)))) == 90 / 100
    # corners touch
    assert Connected(1, 0.9)(sample(painted((1, 0, 4, 0, 4), (1, 4, 8, 4, 8)))) == 1
    assert Connected(2, 0.9)(sample()) == 1


def test_mean_dice_is_over_the_classes_of_either_map() -> None:
    one = painted((1, 0, 10, 0, 4), (2, 20, 24, 0, 4))
    other = painted((1, 0, 10, 2, 6), (3, 28, 30, 0, 4))
    assert mean_dice(one, other) == pytest.approx((2 * 20 / 80 + 0 + 0) / 3)
    assert mean_dice(one, one) == mean_dice(painted(), painted()) == 1
    assert mean_dice(painted(), one) == 0


@pytest.mark.parametrize("channels", [1, 3])
def test_agreement_is_the_dice_of_what_the_second_network_sees(channels: int) -> None:
    class Halves(nn.Conv2d):
        """The last class where the image is bright."""

        def forward(self, image: Tensor) -> Tensor:
            assert not self.training
            others = torch.full_like(image, -0.5).expand(-1, channels - 1, -1, -1)
            return torch.cat([others, image], dim=1)

    image = torch.full((1, SIZE, SIZE), -1.0)
    image[:, :10, :8] = 1
    last = max(1, channels - 1)
    found = Agreement(Halves(1, channels, 1).train(), 0.5)(sample(painted((last, 0, 10, 4, 8)), image))
    assert found == pytest.approx(2 * 40 / (80 + 40))


def test_realism_does_not_depend_on_other_images() -> None:
    discriminator = ImageDiscriminator(size=SIZE, channel_base=64, channel_max=8)
    criterion = Realism(discriminator, 0.0)
    images = torch.randn(3, 1, SIZE, SIZE)
    scores = criterion.judge(images)
    assert scores.std() > 0
    for image, score in zip(images, scores):
        assert criterion(sample(image=image)) == pytest.approx(score.item(), abs=1e-5)
        assert score.item() == pytest.approx(discriminator(image[None]).item(), abs=1e-5)


def test_originality_compares_with_the_training_images_own_distances(network: SemanticGAN) -> None:
    images = torch.randn(12, 1, SIZE, SIZE).tanh()
    # one image twice, and one hardly changed, as of one patient
    images[1] = images[0]
    images[3] = images[2] * 0.98
    new = torch.randn(1, SIZE, SIZE).tanh()
    with torch.no_grad():
        places = network.prior.factors(network.encode(images)).double().numpy()
        place = network.prior.factors(network.encode(new[None])).double().numpy()[0]
    apart = [min(d for d in (np.sqrt(np.mean((a - b) ** 2)) for b in places) if d > 1e-3) for a in places]
    floor = np.quantile(apart, 0.05)
    expected = min(np.sqrt(np.mean((place - a) ** 2)) / max(n, floor) for a, n in zip(places, apart))
    criterion = Originality(network, torch.from_numpy(places).float(), 0.8)
    assert criterion(sample(image=new)) == pytest.approx(expected, rel=1e-3)
    for index in (0, 1, 2, 5):
        assert criterion(sample(image=images[index])) < 1e-3
    # hardly changed
    assert criterion(sample(image=images[5] * 0.99)) < 0.3 < expected
    # between the two of one patient it is not new, either
    assert criterion(sample(image=images[2] * 0.99)) < 0.8
    for few in (torch.zeros(0, 4), torch.zeros(1, 4), torch.ones(3, 4)):
        with pytest.raises(ValueError, match="fewer than 2 different training images"):
            Originality(network, few, 0.8)


def test_variety_is_the_distance_to_the_nearest_kept_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    # the notes grow several times
    monkeypatch.setattr(sample_criteria, "CHUNK", 2)
    prior = WPlusPrior(2, 4, components=3)
    prior.fit(torch.randn(9, 2, 4))
    criterion = Variety(prior, 0.2)
    factors = torch.randn(12, 3)
    codes = prior.mean + torch.einsum("bk,knd->bnd", factors, prior.basis)
    kept: list[int] = []
    for index in range(12):
        score = criterion(sample(codes=codes[index]))
        expected = min([(factors[index] - factors[k]).square().mean().sqrt().item() for k in kept], default=np.inf)
        assert score == pytest.approx(expected, rel=1e-4)
        # a sample that is not kept is no one's neighbour
        if index % 3:
            criterion.keep(sample(codes=codes[index]))
            kept.append(index)
    assert criterion(sample(codes=codes[kept[-1]])) < 1e-5


def test_nearest_others_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_criteria, "CHUNK", 4)
    places = torch.tensor([0.0, 1.0, 3.0, 7.0, 8.5, 8.5, 20.0])[:, None]
    assert nearest_others(places).tolist() == [1, 1, 2, 1.5, 1.5, 1.5, 11.5]
    assert quantile(places[:, 0], 0.5) == 7
