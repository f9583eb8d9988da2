# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""W+ optimisation of several views of an image, whose label logits are averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from monai_semgan.inferers.wplus_inferer import WPlusInferer, WPlusResult, with_metadata


class ViewAveragingInferer(WPlusInferer):
    """Average the label logits of an image and of views of it, each refined from a start of its own.

    Each view leaves errors of its own, in the encoder's code and in what refinement makes of it. Mirror images suit
    pictures without up and down, or left and right, whose training was mirrored too; shifts suit all that were trained
    with shifts. Time grows by the number of views.

    Args:
        flips: the axes of each mirror image, -1 for left and right, -2 for up and down.
        shifts: pixels of the network's size that each shifted image moves down and to the right; its borders repeat.
        settings: of :class:`WPlusInferer`.

    Raises:
        ValueError: for an axis that is not -1 or -2, and as :class:`WPlusInferer`.
    """

    def __init__(
        self, *, flips: Sequence[Sequence[int]] = (), shifts: Sequence[tuple[int, int]] = (), **settings: Any
    ) -> None:
        super().__init__(**settings)
        self.flips = [tuple(axes) for axes in flips]
        self.shifts = [(rows, columns) for rows, columns in shifts]
        for axes in self.flips:
            if not axes or not set(axes) <= {-1, -2}:
                raise ValueError(f"flips hold {list(axes)}, each has to name -1, -2 or both")

    def __call__(
        self,
        inputs: Tensor,
        network: Callable[..., Tensor],
        *args: Any,
        return_details: bool = False,
        starts: Tensor | None = None,
        anchor: Tensor | None = None,
        **kwargs: Any,
    ) -> Tensor | WPlusResult:
        """Segment a batch of images, as :class:`WPlusInferer` does.

        With ``starts`` or ``anchor``, which are codes of the images as they are, views are left out.

        Returns:
            The average of the logits; in a :class:`WPlusResult` all else is that of the images as they are.
        """
        result = super().__call__(
            inputs, network, *args, return_details=return_details, starts=starts, anchor=anchor, **kwargs
        )
        if starts is not None or anchor is not None:
            return result
        logits = result.logits if isinstance(result, WPlusResult) else result
        total, images = logits.as_subclass(Tensor), inputs.as_subclass(Tensor)

        def refined(view: Tensor) -> Tensor:
            found = super(ViewAveragingInferer, self).__call__(view, network, **kwargs)
            assert isinstance(found, Tensor)
            return found

        for axes in self.flips:
            total = total + refined(images.flip(axes)).flip(axes)
        for rows, columns in self.shifts:
            total = total + shift(refined(shift(images, rows, columns)), -rows, -columns)
        average = with_metadata(total / (1 + len(self.flips) + len(self.shifts)), inputs)
        return result._replace(logits=average) if isinstance(result, WPlusResult) else average


def shift(images: Tensor, rows: int, columns: int) -> Tensor:
    """Move images ``(B, C, H, W)`` down and to the right; their first and last rows and columns repeat."""
    height, width = images.shape[-2:]
    from_rows = (torch.arange(height, device=images.device) - rows).clamp(0, height - 1)
    from_columns = (torch.arange(width, device=images.device) - columns).clamp(0, width - 1)
    return images[..., from_rows[:, None], from_columns]
