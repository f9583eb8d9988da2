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


class AdversarialLoss(nn.Module):
    """Base of losses that are means over logits, and over scales."""

    def cost(self, logits: Tensor, target_is_real: bool, for_discriminator: bool) -> Tensor:
        """What each logit costs, of the same shape."""
        raise NotImplementedError

    def forward(
        self, logits: Tensor | Sequence[Tensor], target_is_real: bool, for_discriminator: bool = True
    ) -> Tensor:
        """Mean loss, over scales too when ``logits`` is a list.

        Args:
            logits: discriminator logits of any shape, or one tensor per scale.
            target_is_real: whether the discriminator should call the input real; the generator always asks for real.
            for_discriminator: False for the generator's loss.

        Returns:
            A scalar, in fp32.

        Raises:
            ValueError: for a generator's hinge loss with fake targets.
        """
        costs = [self.cost(scale.float(), target_is_real, for_discriminator).mean() for scale in as_list(logits)]
        return torch.stack(costs).mean()


class NonSaturatingLoss(AdversarialLoss):
    r"""Non-saturating logistic loss (Goodfellow et al., 2014, arXiv:1406.2661).

    Real targets, and the generator's loss, cost :math:`\log(1 + e^{-l})`; fake targets :math:`\log(1 + e^{l})`.
    """

    def cost(self, logits: Tensor, target_is_real: bool, for_discriminator: bool) -> Tensor:
        """Softplus of the logit, which is to be high for real targets."""
        return F.softplus(-logits if target_is_real else logits)


class HingeAdversarialLoss(AdversarialLoss):
    r"""Hinge loss (Lim and Ye, 2017, arXiv:1705.02894).

    The discriminator pays :math:`\max(0, 1 - l)` on real and :math:`\max(0, 1 + l)` on fake input; the generator
    pays :math:`-l`.
    """

    def cost(self, logits: Tensor, target_is_real: bool, for_discriminator: bool) -> Tensor:
        """Distance from the margin, of the generator the logit itself."""
        if for_discriminator:
            return F.relu(1.0 - logits if target_is_real else 1.0 + logits)
        if not target_is_real:
            raise ValueError("the generator wants its output called real: target_is_real must be True")
        return -logits


def as_list(logits: Tensor | Sequence[Tensor]) -> Sequence[Tensor]:
    """One tensor as a list of one scale."""
    return [logits] if isinstance(logits, Tensor) else logits
