# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Segmentation by W+ optimisation of an image and of its mirror images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from monai_semgan.inferers.wplus_inferer import WPlusInferer, WPlusResult, with_metadata

# of the last two axes, one alone or both
ALL_FLIPS = ((-1,), (-2,), (-2, -1))


class FlipAveragingInferer(WPlusInferer):
    """Average the label logits of an image and of its mirror images, each refined from a start of its own.

    Each view leaves errors of its own, in the encoder's code and in what refinement makes of it. For images without up
    and down, or left and right, whose training was mirrored too. Time grows by the number of views.

    Args:
        flips: the axes of each mirror image, -1 for left and right, -2 for up and down.
        settings: of :class:`WPlusInferer`.

    Raises:
        ValueError: for an axis that is not -1 or -2, and as :class:`WPlusInferer`.
    """

    def __init__(self, *, flips: Sequence[Sequence[int]] = ALL_FLIPS, **settings: Any) -> None:
        super().__init__(**settings)
        self.flips = [tuple(axes) for axes in flips]
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

        With ``starts`` or ``anchor``, which are codes of the images as they are, mirror images are left out.

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
        for axes in self.flips:
            mirrored = super().__call__(images.flip(axes), network, **kwargs)
            assert isinstance(mirrored, Tensor)
            total = total + mirrored.flip(axes)
        average = with_metadata(total / (1 + len(self.flips)), inputs)
        return result._replace(logits=average) if isinstance(result, WPlusResult) else average
