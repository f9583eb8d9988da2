# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""How W+ codes of images are distributed: a normal distribution along their principal components."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WPlusPrior(nn.Module):
    r"""Normal distribution of W+ codes, :math:`w^+ = \mu + \sum_k u_k \sigma_k v_k` with :math:`u_k \sim N(0, 1)`.

    :math:`\mu` is the mean code of images, :math:`v_k` are the first principal components of their codes and
    :math:`\sigma_k` the standard deviations along these. A generator that learned in stage 2 draws what images look
    like from such codes, and no longer from those that its mapping network gives.

    Args:
        num_codes: number N of codes of an image.
        latent_dim: length D of a code.
        components: number of principal components.
    """

    def __init__(self, num_codes: int, latent_dim: int, components: int = 16) -> None:
        super().__init__()
        self.mean: Tensor
        self.basis: Tensor
        self.register_buffer("mean", torch.zeros(num_codes, latent_dim))
        # each component times the standard deviation along it
        self.register_buffer("basis", torch.zeros(components, num_codes, latent_dim))

    @torch.no_grad()
    def fit(self, codes: Tensor) -> None:
        """Take mean and principal components from codes of images, ``(M, N, D)``.

        Raises:
            ValueError: for fewer than 2 codes, or codes of another shape.
        """
        if codes.dim() != 3 or codes.shape[1:] != self.mean.shape or len(codes) < 2:
            raise ValueError(f"codes have shape {list(codes.shape)}, expected (2 or more, {list(self.mean.shape)})")
        mean = codes.float().mean(0)
        _, deviations, components = torch.linalg.svd((codes.float() - mean).flatten(1), full_matrices=False)
        # beyond their rank, at most M - 1, codes do not vary
        count = min(len(self.basis), len(codes) - 1, len(deviations))
        scaled = components[:count] * (deviations[:count, None] / (len(codes) - 1) ** 0.5)
        self.mean.copy_(mean)
        self.basis.zero_()
        self.basis[:count] = scaled.unflatten(1, tuple(self.mean.shape))

    def sample(self, num: int, *, truncation: float = 1.0, generator: torch.Generator | None = None) -> Tensor:
        """Draw codes ``(num, N, D)``.

        Args:
            num: number of codes.
            truncation: factor on the deviation from the mean; 0 gives the mean.
            generator: source of random numbers on the CPU, for a seed of one's own.

        Raises:
            ValueError: when no codes were fitted.
        """
        if not self.basis.any():
            raise ValueError("the prior knows no codes of images: training of the encoder fits it at its end")
        factors = torch.randn(num, len(self.basis), generator=generator).to(self.basis) * truncation
        return self.mean + torch.einsum("bk,knd->bnd", factors, self.basis)

    @torch.no_grad()
    def factors(self, codes: Tensor) -> Tensor:
        r"""Standardise codes: the :math:`u_k` of their nearest points in the span of the components.

        Distances between codes of images in these units do not depend on the scale of any component.

        Args:
            codes: W+ codes, ``(B, N, D)``.

        Returns:
            Deviations from the mean in standard deviations, ``(B, K)`` of the K components that were fitted.

        Raises:
            ValueError: when no codes were fitted.
        """
        basis = self.basis.flatten(1)
        squares = basis.square().sum(1)
        # beyond the rank of the codes, components hold rounding alone
        fitted = squares > 1e-6 * squares.max()
        if not fitted.any():
            raise ValueError("the prior knows no codes of images: training of the encoder fits it at its end")
        return (codes - self.mean).flatten(1) @ basis[fitted].T / squares[fitted]
