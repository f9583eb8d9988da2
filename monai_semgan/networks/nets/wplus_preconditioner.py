# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Which changes of W+ codes change images most: the preconditioner of refinement."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WPlusPreconditioner(nn.Module):
    r"""Rescale steps in W+ so that images react alike to all of them: :math:`\Delta w^+ = P^{1/2} \Delta u`.

    A reconstruction loss bends along W+ as its Gauss-Newton matrix :math:`H = E[J^T J]` tells, where J is the Jacobian
    of the compared features at images' codes. Few directions make most of it: eigenvalues of a trained generator fall
    by three orders of magnitude within a tenth of the dimensions, so a step that suits one is far too long or short for
    the others. With the first eigenvectors :math:`v_k` and eigenvalues :math:`e_1 \ge \dots \ge e_R`,

    .. math:: P^{1/2} = I + \sum_{k \le R} (\sqrt{e_R / e_k} - 1)\, v_k v_k^T.

    It is the identity until :meth:`fit`.

    Args:
        num_codes: number N of codes of an image.
        latent_dim: length D of a code.
        components: number R of eigenvectors.
    """

    def __init__(self, num_codes: int, latent_dim: int, components: int = 192) -> None:
        super().__init__()
        self.basis: Tensor
        self.scale: Tensor
        components = min(components, num_codes * latent_dim)
        # half precision is plenty for a preconditioner, and half the file
        self.register_buffer("basis", torch.zeros(components, num_codes * latent_dim, dtype=torch.bfloat16))
        self.register_buffer("scale", torch.ones(components))

    @torch.no_grad()
    def fit(self, gradients: Tensor) -> None:
        r"""Take the eigenvectors of H from gradients of random features, :math:`J^T r` with :math:`r \sim N(0, I)`.

        Args:
            gradients: in W+, ``(M, N, D)``; their second moment is H.

        Raises:
            ValueError: for fewer gradients than components, or of another shape.
        """
        rows = gradients.float().flatten(1)
        if gradients.dim() != 3 or rows.shape[1] != self.basis.shape[1] or len(rows) < len(self.basis):
            raise ValueError(
                f"gradients have shape {list(gradients.shape)}, expected ({len(self.basis)} or more, N, D) "
                f"with N x D = {self.basis.shape[1]}"
            )
        _, roots, components = torch.linalg.svd(rows, full_matrices=False)
        count = len(self.basis)
        self.basis.copy_(components[:count])
        self.scale.copy_(roots[count - 1] / roots[:count].clamp_min(torch.finfo(roots.dtype).tiny))

    def precondition(self, steps: Tensor) -> Tensor:
        """Apply :math:`P^{1/2}` to ``(B, N, D)`` in fp32, whatever autocast says."""
        with torch.autocast(steps.device.type, enabled=False):
            basis, flat = self.basis.float(), steps.flatten(1)
            return (flat + (flat @ basis.T * (self.scale - 1)) @ basis).view_as(steps)
