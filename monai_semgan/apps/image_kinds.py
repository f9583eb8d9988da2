# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""How well a bundle tells images of other kinds from its own.

``semgan calibrate lung_xray DATALIST --image-lists test --against knees/ hands/``

Images of lists are the bundle's own; folders hold other kinds, one each, and the own images turned, upside down or
inverted are others, as is noise.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from monai.utils import CommonKeys as Keys
from torch import Tensor

from monai_semgan.bundle import Bundle, parsed
from monai_semgan.data.cohort import FAILURE

logger = logging.getLogger(__name__)

# of images (C, H, W) or volumes (C, H, W, slices) in [-1, 1]
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "inverted": torch.neg,
    "turned by 90 degrees": lambda image: image.rot90(1, (1, 2)),
    "turned by 180 degrees": lambda image: image.rot90(2, (1, 2)),
    "turned by 270 degrees": lambda image: image.rot90(3, (1, 2)),
    "upside down": lambda image: image.flip(1),
    "noise": lambda image: torch.randn_like(image).mul(0.5).clamp(-1, 1),
}


def against(
    bundle: Bundle,
    datalist: str | os.PathLike[str],
    lists: Sequence[str],
    folders: Sequence[str | os.PathLike[str]],
    *,
    weights: str | os.PathLike[str],
    seed: int = 0,
    **settings: Any,
) -> list[dict[str, Any]]:
    """Measure how well images of other kinds are told from a bundle's own.

    Args:
        bundle: the bundle, with weights that know their images.
        datalist: JSON file with lists of the bundle's own images.
        lists: their names.
        folders: a folder of images for each other kind.
        weights: the file.
        seed: of noise.
        settings: of the bundle's configs by id.

    Returns:
        For each list "kind", "images" and "suspicious", the share of those called so. For each other kind also "auroc",
        the probability that such an image is further away than one of all lists; and "refused", those that could not be
        read, which count as furthest.

    Raises:
        ValueError: where the weights know no images, or a list or folder has none.
    """
    own: dict[str, list[Tensor]] = {}
    others: dict[str, list[Tensor]] = {name: [] for name in CHANGES}
    common = {"insist": True, "ckpt_path": weights, **settings}
    parser = bundle.parser("inference.yaml", datalist=datalist, list_key=lists[0], **common)
    parsed(parser, "weights")
    network = parsed(parser, "network").eval()
    domain = getattr(network, "domain", None)
    if domain is None or not domain.fitted:
        raise ValueError(f"{weights} do not know their images: semgan calibrate --image-lists")

    def distance(image: Tensor) -> Tensor:
        return domain.distances(network.student, image[None])

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name in lists:
            own[name] = []
            for image in prepared(bundle, datalist=datalist, list_key=name, **common):
                if image is not None:
                    own[name].append(distance(image))
                    for kind, change in CHANGES.items():
                        others[kind].append(distance(change(image)))
    for folder in folders:
        images = prepared(bundle, **(common | {"dataset_dir": folder}))
        unread = torch.tensor([torch.inf])
        others[Path(folder).name] = [unread if image is None else distance(image) for image in images]
    usual = torch.cat([each for found in own.values() for each in found])
    rows = [row(kind, torch.cat(each)) for kind, each in own.items()]
    for kind, each in others.items():
        far = torch.cat(each)
        higher = (far[:, None] > usual) + 0.5 * (far[:, None] == usual)
        rows.append(row(kind, far) | {"auroc": higher.mean().item(), "refused": int(far.isinf().sum())})
    return rows


def row(kind: str, distances: Tensor) -> dict[str, Any]:
    """What is told of a kind."""
    return {"kind": kind, "images": len(distances), "suspicious": (distances > 1).float().mean().item()}


def prepared(bundle: Bundle, **settings: Any) -> Iterator[Tensor | None]:
    """The network's inputs, of a list or a folder; None for what cannot be read."""
    dataset = parsed(bundle.parser("inference.yaml", **settings), "dataset")
    for index in range(len(dataset)):
        item = dataset[index]
        if FAILURE in item:
            logger.info("%s: %s", item.get("file"), item[FAILURE])
        yield None if FAILURE in item else item[Keys.IMAGE].as_tensor().float()


def in_markdown(rows: Sequence[dict[str, Any]]) -> str:
    """The rows of :func:`against` as a table."""
    lines = ["| images | n | suspicious | AUROC | not read |", "|---|---:|---:|---:|---:|"]
    for each in rows:
        auroc = f"{each['auroc']:.3f}" if "auroc" in each else "-"
        lines.append(
            f"| {each['kind']} | {each['images']} | {each['suspicious']:.1%} | {auroc} | {each.get('refused', '-')} |"
        )
    return "\n".join(lines)
