# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Images without labels, labelled by teachers that agree."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.data import Dataset
from torch import Tensor

from monai_semgan.networks.label_map import logits_to_map, map_to_label
from monai_semgan.networks.weights import read_state

logger = logging.getLogger(__name__)


class NoAgreement(ValueError):
    """The teachers agree on no image."""


class TaughtImages(Dataset):
    r"""Images with the label map that several teachers agree on.

    Each teacher sees each image once, as it is. The label map is that of the mean of their logits, soft; some may count
    for the choice of images alone. An image is kept where the mean Dice coefficient of all pairs of their masks,
    :math:`\frac{2 |a \cap b|}{|a| + |b|}` over all foreground classes, is at least ``agreement``: what independent
    networks see alike is seldom wrong (co-training, Blum and Mitchell 1998). With one teacher all images are kept.

    Args:
        images: items with "image", ``(C, S, S)`` in [-1, 1].
        teachers: functions from images ``(B, C, S, S)`` to label logits ``(B, L, S, S)``, by name.
        labelling: names of the teachers whose logits make the label map; by default all.
        agreement: the mean Dice of all teachers from which an image is kept, in [0, 1].
        path: file that keeps the label maps, for a run that is taken up again; none by default.
        batch_size: images that teachers see together.
        device: where they see them.

    Raises:
        ValueError: without a teacher, for one of an unknown name, for an agreement outside [0, 1], when no image is
            kept, or when the file is of another number of images.
    """

    def __init__(
        self,
        images: Sequence[dict[str, Any]],
        teachers: Mapping[str, Callable[[Tensor], Tensor]],
        *,
        labelling: Sequence[str] | None = None,
        agreement: float = 0.85,
        path: str | os.PathLike[str] | None = None,
        batch_size: int = 16,
        device: torch.device | str = "cpu",
    ) -> None:
        if not teachers:
            raise ValueError("no teacher is given: name at least one")
        self.labelling = list(teachers) if labelling is None else list(labelling)
        if not self.labelling or set(self.labelling) - set(teachers):
            raise ValueError(f"labelling is {labelling}, the teachers are {', '.join(teachers)}: name some of them")
        if not 0.0 <= agreement <= 1.0:
            raise ValueError(f"agreement is {agreement}, it must lie in [0, 1]")
        self.images = images
        file = None if path is None else Path(path)
        if file is not None and file.is_file():
            state = read_state(file)
        else:
            state = self.teach(teachers, batch_size, torch.device(device))
            if file is not None:
                file.parent.mkdir(parents=True, exist_ok=True)
                # of several processes each has a file of its own on the way
                partial = file.with_suffix(f".{os.getpid()}.partial")
                torch.save(state, partial)
                partial.replace(file)
        self.label_maps, self.agreements = state["label_maps"], state["agreements"]
        if len(self.agreements) != len(images):
            raise ValueError(
                f"{path} holds labels of {len(self.agreements)} images, there are {len(images)}: delete it, or give "
                "the images that it was made from"
            )
        kept = (self.agreements >= agreement).nonzero().flatten().tolist()
        if not kept:
            raise NoAgreement(
                f"the teachers agree on none of {len(images)} images at a Dice of {agreement}, at most at "
                f"{float(self.agreements.max()):.2f}: train them longer, or lower agreement"
            )
        logger.info("%s agree on %d of %d images", " and ".join(teachers), len(kept), len(images))
        super().__init__(kept)

    @torch.no_grad()
    def teach(
        self, teachers: Mapping[str, Callable[[Tensor], Tensor]], batch_size: int, device: torch.device
    ) -> dict[str, Tensor]:
        """Label all images: "label_maps" in [-1, 1], half precision, and "agreements" in [0, 1]."""
        label_maps, agreements = [], []
        for first in range(0, len(self.images), batch_size):
            items = [self.images[index] for index in range(first, min(first + batch_size, len(self.images)))]
            batch = torch.stack([item["image"] for item in items]).to(device)
            answers = {name: teacher(batch).float() for name, teacher in teachers.items()}
            mean = torch.stack([answers[name] for name in self.labelling]).mean(0)
            label_maps.append(logits_to_map(mean).half().cpu())
            agreements.append(agreement_of([map_to_label(answer) for answer in answers.values()]).cpu())
        return {"label_maps": torch.cat(label_maps), "agreements": torch.cat(agreements)}

    def _transform(self, index: int) -> dict[str, Tensor]:
        place = self.data[index]
        return {"image": self.images[place]["image"], "label_map": self.label_maps[place].float()}


def agreement_of(labels: Sequence[Tensor]) -> Tensor:
    r"""Mean Dice of all pairs of label maps, :math:`\frac{2 \sum_c |a_c \cap b_c|}{\sum_c |a_c| + |b_c|}`.

    Args:
        labels: class indices ``(B, 1, ...)`` of each network, 0 is background.

    Returns:
        ``(B,)`` in [0, 1]; 1 where a pair, or a single network, has nothing to disagree on.
    """
    flat = [label.flatten(1) for label in labels]
    pairs = []
    for a, b in itertools.combinations(flat, 2):
        total = (a > 0).sum(1) + (b > 0).sum(1)
        both = ((a == b) & (a > 0)).sum(1)
        pairs.append(torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0))
    return torch.stack(pairs).mean(0) if pairs else torch.ones(len(flat[0]), device=flat[0].device)
