# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Regulariser of W+ codes (Li et al., CVPR 2021, arXiv:2104.05833, equation (8))."""

from __future__ import annotations

from collections.abc import Sequence

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
