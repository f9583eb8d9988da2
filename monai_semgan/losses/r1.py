# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""R1 gradient penalty (Mescheder et al., ICML 2018, arXiv:1801.04406)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from monai_semgan.losses.adversarial import as_list


class R1Penalty(nn.Module):
    r"""Penalty on the discriminator's gradient at real inputs, :math:`\frac{\gamma}{2} E \|\nabla_x D(x)\|^2`.

    D(x) is the image's logit: maps are averaged over their pixels, so the penalty does not grow with their size, and
    scales are summed. The sum over the batch is differentiated, which gives each image its own gradient.

    Args:
        gamma: weight of the penalty.
    """

    def __init__(self, gamma: float = 10.0) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}, it must not be negative")
        self.gamma = gamma

    def forward(self, logits: Tensor | Sequence[Tensor], *inputs: Tensor) -> Tensor:
        """Compute the penalty with a graph for the second derivative.

        Args:
            logits: D of the inputs, ``(B, ...)`` or one such tensor per scale.
            inputs: leaves with ``requires_grad`` that the logits were computed from, ``(B, ...)`` each.

        Returns:
            A scalar.
        """
        total = torch.stack([scale.reshape(len(scale), -1).mean(1).sum() for scale in as_list(logits)]).sum()
        gradients = torch.autograd.grad(total, inputs, create_graph=True)
        squared = torch.stack([gradient.square().flatten(1).sum(1) for gradient in gradients]).sum(0)
        return 0.5 * self.gamma * squared.mean()
