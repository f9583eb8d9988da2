# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What holds W+ codes in refinement beside the image (Li et al., CVPR 2021, arXiv:2104.05833, equation (8))."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from monai_semgan.networks.nets import SemanticGAN


class WPlusRegulariser(nn.Module):
    r"""Keep codes where the encoder finds them again, :math:`\|w^+ - E(G_x(w^+))\|_2^2`, averaged over the entries."""

    def forward(
        self, wplus: Tensor, reconstruction: Tensor, network: SemanticGAN, maps: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Compute the regulariser; gradients flow into the codes directly and through the reconstruction.

        Args:
            wplus: W+ codes, ``(B, N, D)``.
            reconstruction: images drawn from them, ``(B, C, S, S)``.
            network: the network that encodes.
            maps: what its encoder's backbone gives for the reconstructions, of a caller who has it.

        Returns:
            Mean squared differences in fp32, ``(B,)``.
        """
        maps = network.encoder.features(reconstruction) if maps is None else list(maps)
        found = network.generator.mean_w + network.encoder.offsets(maps)
        return (wplus.float() - found.float()).square().mean((1, 2))


def label_distance(logits: Tensor, label: Tensor) -> Tensor:
    r"""Cross entropy and soft Dice between label logits and another network's probabilities s, of each image.

    :math:`\ell = -\overline{s \log p + (1 - s) \log (1 - p)} + 1 - \frac{2 \sum p s}{\sum p + \sum s}` for one channel
    with :math:`p = \sigma(\mathrm{logits})`; of several, exclusive classes the cross entropy is
    :math:`-\overline{\sum_c s_c \log p_c}`, and the Dice is over all foreground classes together. It does not fall to 0
    where s is soft.

    Args:
        logits: ``(B, L, H, W)``.
        label: probabilities in [0, 1], ``(B, L, H, W)``.

    Returns:
        ``(B,)``, fp32.
    """
    logits, label = logits.float(), label.float()
    if logits.shape[1] == 1:
        entropy = F.binary_cross_entropy_with_logits(logits, label, reduction="none").mean((1, 2, 3))
        found, asked = torch.sigmoid(logits), label
    else:
        entropy = F.cross_entropy(logits, label, reduction="none").mean((1, 2))
        found, asked = torch.softmax(logits, dim=1)[:, 1:], label[:, 1:]
    shared = 2 * (found * asked).sum((1, 2, 3))
    # an empty label asks for an empty map
    return entropy + 1 - (shared + 1) / (found.sum((1, 2, 3)) + asked.sum((1, 2, 3)) + 1)
