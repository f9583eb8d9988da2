# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Volumes segmented slice by slice, in chunks that fit a memory budget."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from monai.inferers import Inferer
from torch import Tensor

from monai_semgan.inferers.intensity_curve import IntensityCurve
from monai_semgan.inferers.wplus_inferer import (
    WPlusInferer,
    WPlusResult,
    better,
    check_images,
    join,
    unwrap,
    with_metadata,
)


class SliceWiseInferer(Inferer):
    r"""Hand the slices of volumes to a 2-D inferer, chunk by chunk, and stack what it gives.

    Chunks do not change the result of a :class:`monai_semgan.inferers.WPlusInferer`: they bound its memory, which then
    is the same for 30 and for 600 slices. This also holds where slices learn from their neighbours, who are represented
    by codes found before, of the encoder or of the round before:

    - ``neighbour_rounds``: slices are refined again, from the code of the neighbour that redraws them better, and the
      result with the lower reconstruction loss is kept. A good code spreads by a slice a round, and each takes as long
      as the refinement before it.
    - ``smoothness``: :math:`\lambda_s \|w^+_k - a_k\|_2^2 / v` is added to the objective of slice k. :math:`a_k` is the
      mean of its two neighbours' codes, the encoder's and in later rounds those found, and v the variance of the
      encoder's codes along the axis.

    Of a ``WPlusInferer`` with intensity curves, volumes get one curve: the median of those of ``curve_slices`` evenly
    spaced slices. The volume is brought to the generator's intensities by it and refined as any other.

    All three do nothing at 0 steps.

    Args:
        inferer: the 2-D inferer, such as a ``WPlusInferer`` or MONAI's ``SimpleInferer``.
        memory_budget_mb: MiB that a chunk may take besides the network and the volumes.
        slice_mb: MiB that a slice takes. Refinement with the encoder's perceptual distance was measured to take 45 at
            128 px with channel_base 2048 and channel_max 256, in proportion to the size and to channel_base.
        chunk: slices a chunk, in place of ``memory_budget_mb / slice_mb``.
        neighbour_rounds: number of further rounds; for a ``WPlusInferer``.
        smoothness: :math:`\lambda_s`; for a ``WPlusInferer``.
        curve_slices: number of slices that a volume's intensity curve is found on.

    Raises:
        ValueError: for settings out of range, or that the 2-D inferer cannot follow.
    """

    def __init__(
        self,
        inferer: Inferer,
        *,
        memory_budget_mb: float = 1500,
        slice_mb: float = 45,
        chunk: int | None = None,
        neighbour_rounds: int = 0,
        smoothness: float = 0.0,
        curve_slices: int = 8,
    ) -> None:
        super().__init__()
        positive = {"memory_budget_mb": memory_budget_mb, "slice_mb": slice_mb, "curve_slices": curve_slices}
        for name, value in (*positive.items(), ("chunk", chunk)):
            if value is not None and not value > 0:
                raise ValueError(f"{name} is {value}, it has to be positive")
        for name, value in (("neighbour_rounds", neighbour_rounds), ("smoothness", smoothness)):
            if not value >= 0:
                raise ValueError(f"{name} is {value}, it must not be negative")
            if value and not isinstance(inferer, WPlusInferer):
                raise ValueError(f"{name} is {value}, this needs a WPlusInferer, not a {type(inferer).__name__}")
        self.inferer: Any = inferer
        self.chunk = chunk or max(1, int(memory_budget_mb / slice_mb))
        self.neighbour_rounds = neighbour_rounds
        self.smoothness = smoothness
        self.curve_slices = curve_slices

    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Tensor],
        *args: Any,
        return_details: bool = False,
        **kwargs: Any,
    ) -> Tensor | WPlusResult:
        """Segment volumes.

        Args:
            inputs: volumes ``(B, C, H, W, D)``, D slices of the network's size.
            network: what the 2-D inferer takes as its network.
            args: handed on to the 2-D inferer.
            return_details: whether to return a :class:`WPlusResult`; for a ``WPlusInferer``.
            kwargs: handed on to the 2-D inferer.

        Returns:
            Label logits, ``(B, L, H, W, D)``; or a :class:`WPlusResult` of these, codes ``(B, D, N, latent_dim)``,
            reconstruction ``(B, C, H, W, D)``, losses and steps of each slice, ``(B, D)``, and curves ``(B, D, K)``.

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

        if self.relates_slices:
            result = join([self.refine(volume, network, *args, **kwargs) for volume in slices])
        else:
            if return_details:
                kwargs["return_details"] = True
            parts = [self.inferer(part, network, *args, **kwargs) for part in slices.flatten(0, 1).split(self.chunk)]
            if not return_details:
                return volumes(torch.cat(parts))
            result = join(parts)
        if not return_details:
            return volumes(result.logits)
        stacked = WPlusResult(*(values.unflatten(0, number) for values in result))
        return stacked._replace(logits=volumes(result.logits), reconstruction=volumes(result.reconstruction))

    @property
    def relates_slices(self) -> bool:
        """Whether slices of a volume have anything to do with each other."""
        if not isinstance(self.inferer, WPlusInferer) or self.inferer.steps == 0:
            return False
        return self.neighbour_rounds > 0 or self.smoothness > 0 or self.inferer.curve_knots > 0

    def refine(self, slices: Tensor, network: Callable[..., Tensor]) -> WPlusResult:
        """Refine the slices ``(D, C, H, W)`` of a volume, with what they learn from each other."""
        check_images(slices, unwrap(network))
        curve = self.volume_curve(slices, network) if self.inferer.curve_knots else None
        images = slices if curve is None else curve.inverse(slices)
        codes, weight = None, 0.0
        if self.smoothness and len(images) > 1:
            codes = self.encode(images, network)
            weight = self.smoothness / max(codes.var(0).mean().item(), 1e-12)
        anchor = None if codes is None else neighbours(codes).mean(1)
        result = self.run(images, network, None, anchor, weight)
        for _ in range(self.neighbour_rounds if len(images) > 1 else 0):
            starts = neighbours(result.wplus)
            anchor = starts.mean(1) if self.smoothness else None
            result = better(result, self.run(images, network, starts, anchor, weight))
        if curve is None:
            return result
        return result._replace(reconstruction=curve(result.reconstruction, slices), curves=curve.values)

    def run(
        self,
        images: Tensor,
        network: Callable[..., Tensor],
        starts: Tensor | None = None,
        anchor: Tensor | None = None,
        anchor_weight: float = 0.0,
        find_curves: bool = False,
    ) -> WPlusResult:
        """Hand images and what goes with them to the 2-D inferer, chunk by chunk."""
        parts = []
        for first in range(0, len(images), self.chunk):
            part = slice(first, first + self.chunk)
            parts.append(
                self.inferer(
                    images[part],
                    network,
                    return_details=True,
                    starts=None if starts is None else starts[part],
                    anchor=None if anchor is None else anchor[part],
                    anchor_weight=anchor_weight,
                    find_curves=find_curves,
                )
            )
        return join(parts)

    def volume_curve(self, slices: Tensor, network: Callable[..., Tensor]) -> IntensityCurve:
        """Find the intensity curve of a volume, once for each of its slices."""
        number = min(self.curve_slices, len(slices))
        # the middles of as many equal parts
        places = ((torch.arange(number, device=slices.device) + 0.5) * len(slices) / number).long()
        found = self.run(slices[places], network, find_curves=True)
        return IntensityCurve(found.curves).common().expand(len(slices))

    @torch.no_grad()
    def encode(self, images: Tensor, network: Callable[..., Tensor]) -> Tensor:
        """Give the encoder's codes, chunk by chunk."""
        with self.inferer.autocast(images):
            return torch.cat([unwrap(network).encode(part.float()).float() for part in images.split(self.chunk)])


def neighbours(codes: Tensor) -> Tensor:
    """Pair the codes ``(D, N, L)`` before and after each slice, ``(D, 2, N, L)``; ends have their neighbour twice."""
    return torch.stack([codes[[1, *range(len(codes) - 1)]], codes[[*range(1, len(codes)), -2]]], dim=1)
