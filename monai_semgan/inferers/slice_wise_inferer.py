# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Volumes segmented slice by slice, in chunks that fit a memory budget, and what only the whole volume tells."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from monai.inferers import Inferer
from scipy import ndimage
from torch import Tensor
from tqdm import tqdm

from monai_semgan.inferers.wplus_inferer import WPlusResult, join, with_metadata

# chunks are refined together: shares of slices are counted
BAR = "{percentage:3.0f}%|{bar}| {n:.0f}/{total_fmt} slices [{elapsed}<{remaining}]"


class SliceWiseInferer(Inferer):
    """Hand the slices of volumes to a 2-D inferer, chunk by chunk, and stack what it gives.

    Chunks do not change the result of a :class:`monai_semgan.inferers.WPlusInferer`: they bound its memory, which then
    is the same for 30 and for 600 slices.

    A slice does not tell an organ from what looks like it elsewhere in the body. Of each class in 3-D, connected by 26
    neighbours, pieces smaller than a share of the largest are therefore left out: their logit changes sign, or, of
    several classes, places with background's.

    Args:
        inferer: the 2-D inferer, such as a ``WPlusInferer``, one in a ``ViewAveragingInferer``, or MONAI's
            ``SimpleInferer``.
        memory_budget_mb: MiB that a chunk may take besides the network and the volumes.
        slice_mb: MiB that a slice takes. Refinement with the encoder's perceptual distance was measured to take 45 at
            128 px with channel_base 2048 and channel_max 256, in proportion to the size and to channel_base.
        chunk: slices a chunk, in place of ``memory_budget_mb / slice_mb``.
        smallest_piece: the smallest piece that is kept, as a share of the largest, 0 (all) to 1.
        progress: whether a bar counts slices where standard error is a terminal.

    Raises:
        ValueError: for settings out of range.
    """

    def __init__(
        self,
        inferer: Inferer,
        *,
        memory_budget_mb: float = 1500,
        slice_mb: float = 45,
        chunk: int | None = None,
        smallest_piece: float = 0.0,
        progress: bool = False,
    ) -> None:
        super().__init__()
        for name, value in (("memory_budget_mb", memory_budget_mb), ("slice_mb", slice_mb), ("chunk", chunk)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, it has to be positive")
        if not 0 <= smallest_piece <= 1:
            raise ValueError(f"smallest_piece is {smallest_piece}, it has to be from 0 to 1")
        self.smallest_piece = smallest_piece
        self.inferer: Any = inferer
        self.chunk = chunk or max(1, int(memory_budget_mb / slice_mb))
        self.progress = progress

    @property
    def gives_details(self) -> bool:
        """Whether calls take ``return_details``, as the 2-D inferer's do."""
        return getattr(self.inferer, "gives_details", False)

    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, **kwargs: Any
    ) -> Tensor | WPlusResult:
        """Segment volumes.

        Args:
            inputs: volumes ``(B, C, H, W, D)``, D slices of the network's size.
            network: what the 2-D inferer takes as its network.
            args: handed on to the 2-D inferer.
            kwargs: handed on to the 2-D inferer.

        Returns:
            Label logits, ``(B, L, H, W, D)``; or with ``return_details`` a :class:`WPlusResult` of these, codes
            ``(B, D, N, latent_dim)``, reconstruction ``(B, C, H, W, D)``, losses ``(B, D)`` and, where a student was
            asked too, the answers of both ``(B, 2, L, H, W, D)``.

        Raises:
            ValueError: when the inputs are no volumes, or the 2-D inferer does not take their slices.
        """
        if inputs.dim() != 5 or inputs.numel() == 0:
            raise ValueError(
                f"inputs have shape {list(inputs.shape)}, volumes (batch, channel, row, column, slice) expected"
            )
        slices = inputs.as_subclass(Tensor).movedim(-1, 1)
        number = slices.shape[:2]

        def volumes(values: Tensor) -> Tensor:
            """Turn slices ``(B D, C, H, W)`` into volumes ``(B, C, H, W, D)``."""
            return with_metadata(values.unflatten(0, number).movedim(1, -1), inputs)

        parts = []
        planes = slices.flatten(0, 1)
        # None: where standard error is a terminal
        quiet = None if self.progress else True
        # a terminal may not tell its size, tqdm then shows nothing
        columns, lines = shutil.get_terminal_size()
        with tqdm(total=len(planes), bar_format=BAR, leave=False, ncols=columns, nrows=lines, disable=quiet) as bar:
            # of inferers that tell how they go on within a chunk
            self.inferer.progressed = bar.update
            for count, part in enumerate(planes.split(self.chunk), 1):
                parts.append(self.inferer(part, network, *args, **kwargs))
                bar.update(min(count * self.chunk, len(planes)) - bar.n)
        if not isinstance(parts[0], WPlusResult):
            return self.without_small_pieces(volumes(torch.cat(parts)))
        logits, wplus, reconstruction, losses, answers = join(parts)
        return WPlusResult(
            self.without_small_pieces(volumes(logits)),
            wplus.unflatten(0, number),
            volumes(reconstruction),
            losses.unflatten(0, number),
            None if answers is None else volumes(answers),
        )

    def without_small_pieces(self, logits: Tensor) -> Tensor:
        """Make background of small pieces in logits ``(B, L, H, W, D)``, in place."""
        if not self.smallest_piece:
            return logits
        for volume in logits.as_subclass(Tensor):
            if len(volume) == 1:
                inside = self.small_pieces(volume[0] > 0)
                volume[0, inside] = -volume[0, inside]
                continue
            likeliest = volume.argmax(0)
            for index in range(1, len(volume)):
                inside = self.small_pieces(likeliest == index)
                volume[0, inside], volume[index, inside] = volume[index, inside], volume[0, inside]
        return logits

    def small_pieces(self, mask: Tensor) -> Tensor:
        """Where the small pieces of a mask ``(H, W, D)`` are."""
        pieces, _ = ndimage.label(mask.cpu().numpy(), np.ones((3, 3, 3)))
        sizes = np.bincount(pieces.ravel())[1:]
        small = 1 + np.flatnonzero(sizes < self.smallest_piece * max(sizes, default=0))
        return torch.from_numpy(np.isin(pieces, small)).to(mask.device)
