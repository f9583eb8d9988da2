# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What a sample of a generative model has to fulfil to be kept: scores, each with the least value of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from monai.networks.utils import eval_mode
from skimage.measure import label as connected_components
from torch import Tensor, nn

from monai_semgan.networks.label_map import map_to_label
from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.networks.nets.wplus_prior import WPlusPrior

# share of the training images' distances to each other below which a distance counts as that of two alike images
ALIKE = 0.05
# distance below which two training images are one that lists name twice
SAME = 1e-3
# rows of distances that are computed together
CHUNK = 256


@dataclass(frozen=True)
class Sample:
    """One labelled sample.

    Attributes:
        seed: what it was drawn from.
        codes: its W+ codes, ``(N, D)``.
        image: the network's input in [-1, 1] that the bundle's preprocessing makes of the written image, ``(C, S, S)``.
        label: class indices, ``(S, S)``.
    """

    seed: int
    codes: Tensor
    image: Tensor
    label: Tensor


class Criterion:
    """A score of samples, the higher the better, and the least that a sample needs.

    Attributes:
        name: what the score is called in reports.
    """

    name: str

    def __init__(self, least: float) -> None:
        self.least = least

    def __call__(self, sample: Sample) -> float:
        """Score a sample."""
        raise NotImplementedError

    def keep(self, sample: Sample) -> None:
        """Take note of a sample that fulfilled all criteria."""


class Foreground(Criterion):
    """Share of the image that belongs to any class; label maps without any teach nothing.

    Args:
        least: share, 0 to 1.
    """

    name = "foreground"

    def __call__(self, sample: Sample) -> float:
        """Score a sample."""
        return (sample.label > 0).float().mean().item()


class Connected(Criterion):
    """Share of the foreground that lies in the largest connected pieces of its class; organs do not come in crumbs.

    Args:
        pieces: number of pieces that a class comes in, at least 1.
        least: share, 0 to 1.
    """

    name = "connected"

    def __init__(self, pieces: int, least: float) -> None:
        super().__init__(least)
        self.pieces = pieces

    def __call__(self, sample: Sample) -> float:
        """Score a sample; 1 without foreground."""
        inside = 0
        for index in sample.label.unique().tolist():
            if index:
                sizes = torch.from_numpy(connected_components((sample.label == index).numpy())).flatten().bincount()[1:]
                inside += int(sizes.sort(descending=True).values[: self.pieces].sum())
        return inside / max(1, int((sample.label > 0).sum())) if inside else 1.0


class Agreement(Criterion):
    """Dice coefficient of a sample's label map and that of a second network, averaged over the classes of the two.

    Args:
        network: what maps images in [-1, 1] to label logits, such as a U-Net trained on real pairs.
        least: Dice, 0 to 1.
    """

    name = "agreement"

    def __init__(self, network: nn.Module, least: float) -> None:
        super().__init__(least)
        self.network = network

    @torch.no_grad()
    def __call__(self, sample: Sample) -> float:
        """Score a sample; two empty label maps agree."""
        with eval_mode(self.network):
            found = map_to_label(self.network(sample.image[None].to(device_of(self.network))))[0, 0].cpu()
        return mean_dice(found, sample.label)


class Realism(Criterion):
    """Logit of the image discriminator D_r, large for what it takes for a real image.

    An image is judged alone, so its minibatch standard deviation tells nothing and its score depends on no other image.

    Args:
        discriminator: :class:`monai_semgan.networks.nets.ImageDiscriminator`.
        least: logit; of a share of real images that score lower, see :func:`quantile`.
    """

    name = "realism"

    def __init__(self, discriminator: nn.Module, least: float) -> None:
        super().__init__(least)
        self.discriminator = discriminator

    def __call__(self, sample: Sample) -> float:
        """Score a sample."""
        return self.judge(sample.image[None]).item()

    @torch.no_grad()
    def judge(self, images: Tensor) -> Tensor:
        """Score images ``(B, C, S, S)``, each alone; ``(B,)``."""
        with eval_mode(self.discriminator):
            return self.discriminator(images.to(device_of(self.discriminator)), len(images))[:, 0].cpu()


class Originality(Criterion):
    r"""How far a sample is from every training image, so that no training image is redrawn.

    With :math:`d(x, y)` the distance of the codes that the encoder finds for two images
    (:meth:`monai_semgan.networks.nets.WPlusPrior.factors`, root mean square), the score of a sample x is
    :math:`\min_t d(x, t) / n(t)` over the training images t, where :math:`n(t)` is the distance from t to the nearest
    other training image: below 1 the sample is nearer to t than any of these. :math:`n(t)` is at least the 5th
    percentile of all, so that several images of one patient do not excuse another.

    Args:
        network: encoder and prior.
        known: codes of the training images, :func:`describe`; an image may be there twice.
        least: the score's.

    Raises:
        ValueError: for fewer than 2 different training images.
    """

    name = "originality"

    def __init__(self, network: SemanticGAN, known: Tensor, least: float) -> None:
        super().__init__(least)
        self.network = network
        self.known = known
        nearest = nearest_others(known)
        if not len(known) or not nearest.isfinite().all():
            raise ValueError("fewer than 2 different training images, none has a nearest other one: name more of them")
        self.apart = nearest.clamp(min=quantile(nearest, ALIKE))

    def __call__(self, sample: Sample) -> float:
        """Score a sample."""
        distance = distances(describe(self.network, sample.image[None]), self.known)[0]
        return (distance / self.apart).min().item()


class Variety(Criterion):
    """Distance of a sample's code to that of the nearest sample that was kept, so that no two are alike.

    The distance is the root mean square of differences along the prior's components, in standard deviations; two codes
    drawn by chance are 1.4 times the truncation apart. Of a kept sample its factors are noted, 64 bytes.

    Args:
        prior: the network's prior.
        least: distance.
    """

    name = "variety"

    def __init__(self, prior: WPlusPrior, least: float) -> None:
        super().__init__(least)
        self.prior = prior
        self.count = 0
        self.kept: Tensor | None = None

    def __call__(self, sample: Sample) -> float:
        """Score a sample; the first is infinitely far from any other."""
        if self.kept is None:
            return float("inf")
        return distances(self.place(sample.codes), self.kept[: self.count])[0].min().item()

    def keep(self, sample: Sample) -> None:
        """Take note of a sample."""
        self.note(sample.codes)

    def note(self, codes: Tensor) -> None:
        """Take note of the codes of a sample, ``(N, D)``."""
        place = self.place(codes)
        if self.kept is None:
            self.kept = place.new_empty((CHUNK, place.shape[1]))
        elif self.count == len(self.kept):
            self.kept = torch.cat([self.kept, torch.empty_like(self.kept)])
        self.kept[self.count] = place[0]
        self.count += 1

    def place(self, codes: Tensor) -> Tensor:
        """Factors of the codes of one sample, ``(1, K)``, on the CPU."""
        return self.prior.factors(codes[None].to(self.prior.mean)).cpu()


def describe(network: SemanticGAN, images: Tensor) -> Tensor:
    """Encode images ``(B, C, S, S)``; returns their factors in the network's prior, ``(B, K)``, on the CPU."""
    with torch.no_grad():
        return network.prior.factors(network.encode(images.to(network.prior.mean.device))).cpu()


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Root mean square differences of rows, ``(A, K)`` and ``(B, K)``; ``(A, B)``."""
    # not by products, which lose what small distances are made of
    return torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist") / first.shape[1] ** 0.5


def nearest_others(places: Tensor) -> Tensor:
    """Distance of each row of ``(M, K)`` to the nearest row that differs from it, ``(M,)``; infinite without any."""
    found = [torch.empty(0)]
    for start in range(0, len(places), CHUNK):
        rows = distances(places[start : start + CHUNK], places)
        found.append(rows.masked_fill(rows < SAME, torch.inf).amin(1))
    return torch.cat(found)


def quantile(values: Tensor, share: float) -> float:
    """The value below which a share of all lies."""
    return torch.quantile(values.double(), share).item()


def mean_dice(first: Tensor, second: Tensor) -> float:
    """Dice coefficient of two label maps, averaged over the classes that at least one of them has; 1 for empty ones."""
    classes: Iterable[Any] = [
        index for index in torch.cat([first.unique(), second.unique()]).unique().tolist() if index
    ]
    scores = []
    for index in classes:
        one, other = first == index, second == index
        scores.append(2 * int((one & other).sum()) / (int(one.sum()) + int(other.sum())))
    return sum(scores) / len(scores) if scores else 1.0


def device_of(network: nn.Module) -> torch.device:
    """Where a network's weights are."""
    return next(network.parameters()).device
