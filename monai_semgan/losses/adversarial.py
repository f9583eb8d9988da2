# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Adversarial losses on discriminator logits.

MONAI's ``PatchAdversarialLoss`` squashes the logits first (sigmoid, tanh), which kills the gradient of confident
discriminators; these losses act on the logits. The call has the same form, so either fits a trainer.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class NonSaturatingLoss(nn.Module):
    r"""Non-saturating logistic loss (Goodfellow et al., 2014, arXiv:1406.2661).

    Real targets, and the generator's loss, cost :math:`\log(1 + e^{-l})`; fake targets :math:`\log(1 + e^{l})`.
    """

    def forward(
        self, logits: Tensor | Sequence[Tensor], target_is_real: bool, for_discriminator: bool = True
    ) -> Tensor:
        """Mean loss, over scales too when ``logits`` is a list.

        Args:
            logits: discriminator logits of any shape, or one tensor per scale.
            target_is_real: whether the discriminator should call the input real; the generator always asks for real.
            for_discriminator: unused here, the form of MONAI's adversarial losses.

        Returns:
            A scalar, in fp32.
        """
        sign = -1.0 if target_is_real else 1.0
        return mean_over_scales([F.softplus(sign * scale.float()).mean() for scale in as_list(logits)])


class HingeAdversarialLoss(nn.Module):
    r"""Hinge loss (Lim and Ye, 2017, arXiv:1705.02894).

    The discriminator pays :math:`\max(0, 1 - l)` on real and :math:`\max(0, 1 + l)` on fake input; the generator
    pays :math:`-l`.
    """

    def forward(
        self, logits: Tensor | Sequence[Tensor], target_is_real: bool, for_discriminator: bool = True
    ) -> Tensor:
        """Mean loss, over scales too when ``logits`` is a list.

        Args:
            logits: discriminator logits of any shape, or one tensor per scale.
            target_is_real: whether the discriminator should call the input real.
            for_discriminator: False for the generator's loss, which needs ``target_is_real=True``.

        Returns:
            A scalar, in fp32.

        Raises:
            ValueError: for a generator's loss with fake targets.
        """
        if not for_discriminator:
            if not target_is_real:
                raise ValueError("the generator wants its output called real: target_is_real must be True")
            return mean_over_scales([-scale.float().mean() for scale in as_list(logits)])
        sign = -1.0 if target_is_real else 1.0
        return mean_over_scales([F.relu(1.0 + sign * scale.float()).mean() for scale in as_list(logits)])


def as_list(logits: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """One tensor as a list of one scale."""
    return [logits] if isinstance(logits, Tensor) else logits


def mean_over_scales(losses: Sequence[Tensor]) -> Tensor:
    """Mean of the losses of all scales."""
    return torch.stack(list(losses)).mean()
