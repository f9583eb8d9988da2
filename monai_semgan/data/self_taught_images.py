# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Images and volumes without labels, labelled by what a network itself answers to the whole of each."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from monai.data import Dataset
from torch import Tensor

from monai_semgan.data.slice_dataset import TakeSlices
from monai_semgan.data.taught_images import agreement_of
from monai_semgan.networks.label_map import logits_to_map, map_to_label

logger = logging.getLogger(__name__)


class SelfTaughtImages(Dataset):
    r"""Images with the label map of a network's own answer, for self-training (Lee 2013, Xie et al. 2020).

    The answer is that to the whole image or volume, in which more is known than in a slice. Each is answered several
    times, brightened and darkened by :math:`x^\gamma`; the label map is that of the mean of the logits, soft. What
    ``clean`` does not keep becomes background. An image whose answers agree with the result by a mean Dice below
    ``agreement`` is left out. Volumes are taken apart into slices, those without foreground too.

    Args:
        images: items with "image", ``(C, S, S)`` or ``(C, S, S, D)``, in [-1, 1].
        answer: function from images ``(1, C, S, S)`` or volumes ``(1, C, S, S, D)`` to label logits ``(1, L, ...)``.
        gammas: exponents of the intensities, brought to [0, 1].
        clean: function from the mask of a class ``(S, S, D)`` and the first channel of its volume to what of it is
            kept; by default all is.
        agreement: the mean Dice from which an image is taken, in [0, 1].

    Raises:
        ValueError: without gammas, for an agreement outside [0, 1], and when no image is kept.
    """

    def __init__(
        self,
        images: Sequence[Mapping[str, Any]],
        answer: Callable[[Tensor], Tensor],
        *,
        gammas: Sequence[float] = (0.8, 1.25),
        clean: Callable[[Tensor, Tensor], Tensor] | None = None,
        agreement: float = 0.7,
    ) -> None:
        if not gammas or min(gammas) <= 0:
            raise ValueError(f"gammas are {gammas}, at least one is needed, and all above 0")
        if not 0.0 <= agreement <= 1.0:
            raise ValueError(f"agreement is {agreement}, it must lie in [0, 1]")
        self.answer, self.gammas, self.clean = answer, gammas, clean
        self.agreements: list[float] = []
        items: list[dict[str, Tensor]] = []
        for item in images:
            image = item["image"].as_subclass(Tensor)
            label_map, label, agreed = self.teach(image[None])
            self.agreements.append(agreed)
            if agreed >= agreement:
                parts = {"image": image, "label_map": label_map[0].half(), "label": label[0].to(torch.uint8)}
                slices = TakeSlices()(parts)
                items += slices
        kept = sum(agreed >= agreement for agreed in self.agreements)
        told = ", ".join(f"{agreed:.2f}" for agreed in self.agreements)
        if not items:
            raise ValueError(
                f"the answers to {len(images)} images do not agree to a Dice of {agreement} ({told or 'no image'}): "
                "lower agreement where their masks are good, or give other images"
            )
        logger.info("%d of %d images are learned from, the answers agree by %s", kept, len(self.agreements), told)
        super().__init__(items)

    @torch.no_grad()
    def teach(self, image: Tensor) -> tuple[Tensor, Tensor, float]:
        """Label map in [-1, 1], label and agreement of one image."""
        scaled = image.float().add(1).div(2).clamp(0, 1)
        answers = [self.answer(scaled**gamma * 2 - 1).as_subclass(Tensor).float() for gamma in self.gammas]
        logits = torch.stack(answers).mean(0)
        label, label_map = map_to_label(logits), logits_to_map(logits)
        if self.clean is not None:
            # each class is an organ of its own
            kept = torch.zeros_like(label, dtype=torch.bool)
            for index in range(1, max(2, logits.shape[1])):
                kept[0, 0] |= self.clean(label[0, 0] == index, image[0, 0]).to(kept.device)
            background = torch.full_like(label_map, -1.0)
            if logits.shape[1] > 1:
                background[:, 0] = 1.0
            lost = (label > 0) & ~kept
            # of a mask, what lies beyond its border counts as well
            label_map = torch.where(lost if logits.shape[1] > 1 else ~kept, background, label_map)
            label = torch.where(lost, 0.0, label)
        agreed = sum(agreement_of([map_to_label(answer), label]).item() for answer in answers) / len(answers)
        return label_map, label, agreed

    def _transform(self, index: int) -> dict[str, Tensor]:
        item = self.data[index]
        return item | {"label_map": item["label_map"].float()}
