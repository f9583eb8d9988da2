# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Several views of an image, each segmented by an inferer, and their label logits averaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from monai.inferers import Inferer
from torch import Tensor

from monai_semgan.inferers.wplus_inferer import WPlusResult, shift, with_metadata


class ViewAveragingInferer(Inferer):
    """Average the label logits that an inferer gives for an image and for views of it.

    Each view leaves errors of its own, in the encoder's code and in what refinement makes of it. Mirror images suit
    pictures without up and down, or left and right, whose training was mirrored too; shifts suit all that were trained
    with shifts. Time grows by the number of views.

    Args:
        inferer: what segments each view, such as a :class:`monai_semgan.inferers.WPlusInferer`.
        flips: the axes of each mirror image, -1 for left and right, -2 for up and down.
        pairs: classes that are each other's mirror image, such as ``[[1, 2]]`` for the right and the left lung: their
            logits are exchanged in views with left and right exchanged.
        shifts: pixels of the network's size that each shifted image moves down and to the right; its borders repeat.

    Raises:
        ValueError: for an axis that is not -1 or -2.

    Example::

        inferer = ViewAveragingInferer(WPlusInferer(), flips=[[-1]], shifts=[(3, 3), (-3, -3)])
    """

    def __init__(
        self,
        inferer: Inferer,
        *,
        flips: Sequence[Sequence[int]] = (),
        shifts: Sequence[tuple[int, int]] = (),
        pairs: Sequence[Sequence[int]] = (),
    ) -> None:
        super().__init__()
        self.inferer: Any = inferer
        self.flips = [tuple(axes) for axes in flips]
        self.shifts = [(rows, columns) for rows, columns in shifts]
        self.pairs = [(one, other) for one, other in pairs]
        for axes in self.flips:
            if not axes or not set(axes) <= {-1, -2}:
                raise ValueError(f"flips hold {list(axes)}, each has to name -1, -2 or both")

    @property
    def gives_details(self) -> bool:
        """Whether calls take ``return_details``, as the inferer's do."""
        return getattr(self.inferer, "gives_details", False)

    @property
    def progressed(self) -> Callable[[float], Any]:
        """Called as the inferer goes on, with the images done since the last call; see ``WPlusInferer``."""
        return self.inferer.progressed

    @progressed.setter
    def progressed(self, told: Callable[[float], Any]) -> None:
        views = 1 + len(self.flips) + len(self.shifts)
        self.inferer.progressed = lambda images: told(images / views)

    def __call__(
        self, inputs: Tensor, network: Callable[..., Tensor], *args: Any, starts: Tensor | None = None, **kwargs: Any
    ) -> Tensor | WPlusResult:
        """Segment a batch of images.

        Args:
            inputs: images, ``(B, C, H, W)``.
            network: what the inferer takes as its network.
            args: handed on to the inferer.
            starts: codes of the images as they are, for an inferer that takes them. Each view chooses between them and
                the encoder's code for it.
            kwargs: handed on to the inferer.

        Returns:
            The average of the logits; in a :class:`WPlusResult` all else is that of the images as they are.
        """
        own: dict[str, Any] = kwargs if starts is None else kwargs | {"starts": starts}
        result = self.inferer(inputs, network, *args, **own)
        logits = result.logits if isinstance(result, WPlusResult) else result
        total, images = logits.as_subclass(Tensor), inputs.as_subclass(Tensor)

        own = own if starts is None else own | {"try_encoder": True}
        own = {name: value for name, value in own.items() if name != "return_details"}
        for axes in self.flips:
            found = self.inferer(images.flip(axes), network, *args, **own).flip(axes)
            order = list(range(found.shape[1]))
            for one, other in self.pairs if -1 in axes else ():
                order[one], order[other] = order[other], order[one]
            total = total + (found[:, order] if self.pairs else found)
        for rows, columns in self.shifts:
            moved = self.inferer(shift(images, rows, columns), network, *args, **own)
            total = total + shift(moved, -rows, -columns)
        average = with_metadata(total / (1 + len(self.flips) + len(self.shifts)), inputs)
        return result._replace(logits=average) if isinstance(result, WPlusResult) else average
