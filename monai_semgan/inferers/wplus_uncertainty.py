# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""How badly a model understands images: what it cannot redraw, and how unsure it is of their label maps."""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from monai.inferers import Inferer
from torch import Tensor

from monai_semgan.inferers.wplus_inferer import WPlusInferer, check_images
from monai_semgan.networks.label_map import logits_to_probabilities
from monai_semgan.networks.nets import SemanticGAN


class Uncertainty(NamedTuple):
    """What :class:`WPlusUncertainty` finds, both the higher the worse.

    Attributes:
        reconstruction_error: root mean square difference of image and redrawn image over values in [-1, 1], ``(B,)``.
        spread: 1 - mean Dice of the label maps of each two W+ samples, 0 to 1, ``(B,)``.
    """

    reconstruction_error: Tensor
    spread: Tensor


class WPlusUncertainty:
    r"""Score images by their reconstruction and by how much the label maps of several W+ samples differ.

    The first sample is the encoder's code :math:`E(x)`, the second the code that refinement finds from there: where the
    two disagree, the encoder did not understand the image. Further ones are refined from
    :math:`E(x) + t \sum_k u_k \sigma_k v_k` with :math:`u_k \sim N(0, 1)`, along the principal components of the codes
    of images (:class:`monai_semgan.networks.nets.WPlusPrior`): where the image leaves its code open, they end at
    different label maps.

    Args:
        inferer: settings of the refinement, a :class:`monai_semgan.inferers.WPlusInferer` or one that another wraps.
            Its number of steps is not used, nor what wraps it: each sample is refined as one view.
        samples: number of refined samples, the first of them from the encoder's code.
        steps: steps of each.
        jitter: t, share of the codes' standard deviations.

    Raises:
        ValueError: for settings out of range, or an inferer that does not refine.
    """

    def __init__(
        self, inferer: Inferer | None = None, *, samples: int = 2, steps: int = 10, jitter: float = 0.25
    ) -> None:
        if samples < 1 or steps < 1 or jitter < 0:
            raise ValueError(f"samples {samples} and steps {steps} must be at least 1, jitter {jitter} at least 0")
        inner: Any = inferer or WPlusInferer()
        while not isinstance(inner, WPlusInferer):
            if not hasattr(inner, "inferer"):
                raise ValueError(f"inferer is a {type(inner).__name__}, samples are refined by a WPlusInferer")
            inner = inner.inferer
        # a copy with other steps: the settings' checks have passed
        self.inferer: Any = copy.copy(inner)
        self.inferer.steps = steps
        # codes are sampled, and a student has none
        self.inferer.answer = "gan"
        self.samples = samples
        self.jitter = jitter

    def __call__(
        self, images: Tensor, network: SemanticGAN, *, generator: torch.Generator | None = None
    ) -> Uncertainty:
        """Score images.

        Args:
            images: images in [-1, 1], ``(B, C, S, S)``.
            network: the network; with several samples its prior has to be fitted.
            generator: source of random numbers on the CPU, for a seed of one's own.

        Returns:
            The two scores of each image.

        Raises:
            ValueError: for images that the network does not take, or a prior that was never fitted.
        """
        check_images(images, network)
        images = images.as_subclass(Tensor).float()
        with torch.no_grad():
            codes = network.encode(images)
            label_maps = [probabilities(network.decode(codes)[1])]
        errors = []
        for sample in range(self.samples):
            starts = codes[:, None]
            if sample > 0:
                noise = network.prior.sample(len(images), generator=generator) - network.prior.mean
                starts = starts + self.jitter * noise[:, None]
            found = self.inferer(images, network, return_details=True, starts=starts)
            errors.append((found.reconstruction - images).square().mean((1, 2, 3)).sqrt())
            label_maps.append(probabilities(found.logits))
        # the best of the samples is what the model can redraw
        return Uncertainty(torch.stack(errors).amin(0), spread(torch.stack(label_maps)))


def probabilities(logits: Tensor) -> Tensor:
    """Probabilities of the foreground classes of label logits ``(B, L, H, W)``; L = 1 is binary."""
    found = logits_to_probabilities(logits)
    return found if logits.shape[1] == 1 else found[:, 1:]


def spread(label_maps: Tensor) -> Tensor:
    r"""1 - mean Dice of each two label maps, with :math:`2 \sum \min(p, q) / \sum (p + q)` of probabilities, ``(B,)``.

    The probabilities of K samples, at least 2, are ``(K, B, L, H, W)``.
    """
    maps = label_maps.flatten(2)
    first, second = torch.triu_indices(len(maps), len(maps), offset=1)
    shared = 2 * torch.minimum(maps[first], maps[second]).sum(2)
    total = (maps[first] + maps[second]).sum(2)
    # two empty maps agree
    return (1 - torch.where(total > 0, shared / total.clamp(min=1e-12), 1.0)).mean(0)


def mean_rank(uncertainty: Uncertainty, spread_weight: float = 0.85) -> Tensor:
    """Rank images by both of their scores.

    Args:
        uncertainty: the scores of all images.
        spread_weight: weight of the rank by the spread, 0 to 1; the rest is that of the reconstruction error.

    Returns:
        Weighted mean of both ranks as shares of the number of images, above 0 to 1, the least understood; ``(B,)``.
    """
    error, spread = ((values.double().argsort(stable=True).argsort() + 1) / len(values) for values in uncertainty)
    return (1 - spread_weight) * error + spread_weight * spread
