# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Samples of the generator, whose label and codes are known."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from monai_semgan.engines.extension import Answer, EncoderExtension, Part, SemiSupervisedBatch
from monai_semgan.networks.label_map import map_to_label
from monai_semgan.networks.nets import SemanticGenerator


class SyntheticPairs(EncoderExtension):
    """Add samples of the generator, which come with their true label and codes: pairs without end.

    Few labelled pairs are learned by heart, samples never are. They are rebuilt like all images, and their
    segmentation carries a weight of its own. Ablation row: synthetic pairs.

    Args:
        number: samples a batch.
        weight: weight of the samples' segmentation loss.
        style_mixing: probability that a sample takes two latents.

    Raises:
        ValueError: for less than one sample, or a probability out of range.
    """

    loss_name = "synthetic_segmentation"
    part = "synthetic"
    generator: SemanticGenerator

    def __init__(self, number: int = 4, *, weight: float = 1.0, style_mixing: float = 0.5) -> None:
        if number < 1 or not 0.0 <= style_mixing <= 1.0:
            raise ValueError(f"number {number} must be at least 1 and style_mixing {style_mixing} in [0, 1]")
        self.number = number
        self.weight = weight
        self.style_mixing = style_mixing

    def attach(self, trainer: Any) -> None:
        """Draw from the generator of the network in training."""
        super().attach(trainer)
        self.generator = trainer.network.generator

    def draw_codes(self) -> Tensor:
        """W+ codes of the mapping network, ``(number, N, D)``."""
        return self.generator.draw_codes(self.number, self.style_mixing)[1]

    @torch.no_grad()
    def draw(self) -> Part:
        """Images, label logits and codes."""
        codes = self.draw_codes()
        with self.trainer.autocast():
            image, logits = self.generator.synthesis(codes, self.generator.random_noise(len(codes)))
        return Part(image.float().clamp(-1.0, 1.0), logits, codes)

    def prepare(self, batch: SemiSupervisedBatch) -> None:
        """Add samples to the batch."""
        batch.added[self.part] = self.draw()

    def loss(self, batch: SemiSupervisedBatch, answers: dict[str, Answer]) -> Tensor:
        """Dice and cross entropy of the samples."""
        label_map = batch.added[self.part].label_map
        assert label_map is not None
        return self.trainer.loss.segment(answers[self.part].logits, map_to_label(label_map))


class PriorPairs(SyntheticPairs):
    """Draw the samples from :class:`monai_semgan.networks.nets.WPlusPrior` in place of the mapping network.

    For weights whose training has fitted it: a generator that learned in stage 2 no longer knows its mapping network's
    codes. Ablation row: fine-tuning, samples of the prior.
    """

    def attach(self, trainer: Any) -> None:
        """Look at the prior.

        Raises:
            ValueError: when it was never fitted.
        """
        super().attach(trainer)
        if not trainer.network.prior.basis.any():
            raise ValueError("the prior knows no codes of images: start from weights of a finished training")

    def draw_codes(self) -> Tensor:
        """W+ codes of the prior, ``(number, N, D)``."""
        return self.trainer.network.prior.sample(self.number)


class CodeLoss(EncoderExtension):
    """Squared distance of the encoder's codes from the true ones of samples, as a share of their variance.

    Ablation row: code loss.

    Args:
        weight: weight of the distance.
    """

    loss_name = "synthetic_codes"

    def __init__(self, weight: float = 0.1) -> None:
        self.weight = weight

    def loss(self, batch: SemiSupervisedBatch, answers: dict[str, Answer]) -> Tensor:
        """About 1 for an encoder that always answers the mean code.

        Raises:
            ValueError: when no part of the batch has codes.
        """
        known = {name: part.codes for name, part in batch.parts.items() if part.codes is not None}
        if not known:
            raise ValueError("no codes are known: the code loss needs SyntheticPairs")
        codes = torch.cat(list(known.values()))
        distance = (torch.cat([answers[name].codes for name in known]).float() - codes).square().mean()
        return distance / (codes - self.trainer.network.generator.mean_w).square().mean()
