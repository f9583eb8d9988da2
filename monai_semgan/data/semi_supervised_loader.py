# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Endless batches of images without labels beside a few labelled pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.data import default_collate


class ShuffledIndices:
    """Endless indices in an order that is a function of the seed alone: every pass is a new permutation.

    Args:
        length: number of items.
        seed: seed of the order.
    """

    def __init__(self, length: int, seed: int) -> None:
        if length < 1:
            raise ValueError("a stream without items was given, training needs at least 1")
        self.length = length
        self.seed = seed

    def batch(self, step: int, size: int) -> list[int]:
        """Indices of the ``step``-th batch of ``size`` items; batches run on over the ends of passes."""
        positions = range(step * size, (step + 1) * size)
        orders = {turn: self.order(turn) for turn in {position // self.length for position in positions}}
        return [orders[position // self.length][position % self.length] for position in positions]

    def order(self, turn: int) -> list[int]:
        """The permutation of the ``turn``-th pass."""
        return torch.randperm(self.length, generator=torch.Generator().manual_seed(self.seed + turn)).tolist()


class SemiSupervisedLoader:
    """Batches that join an image stream and a pair stream of different lengths.

    Both streams shuffle without end, each at its own pace. The batch of a step depends on seed and step alone, so a
    resumed run continues with the data that an uninterrupted one would have seen: set ``step`` before iterating. Give
    datasets that hold their items in memory, such as MONAI's ``CacheDataset``; nothing else is kept between steps.
    Processes that train together (``torch.distributed``) draw batches of their own whatever the seed is.

    Args:
        images: dataset of dictionaries with ``image``, ``(C, S, S)`` in [-1, 1], perhaps a teacher's ``label_map`` of
            the same size; all else is ignored. May be empty, with a ``batch_size`` of 0.
        pairs: dataset of dictionaries with ``image`` and ``label``, the label with class indices ``(1, S, S)``.
        batch_size: images a batch.
        pair_batch_size: pairs a batch.
        steps: batches an epoch.
        seed: seed of both orders.

    Raises:
        ValueError: for an empty stream, one of a single image, counts out of range, or labels without any foreground.
    """

    def __init__(
        self,
        images: Sequence[dict[str, Any]],
        pairs: Sequence[dict[str, Any]],
        *,
        batch_size: int,
        pair_batch_size: int,
        steps: int,
        seed: int = 0,
    ) -> None:
        if min(batch_size + 1, pair_batch_size, steps) < 1:
            raise ValueError(
                f"pair_batch_size {pair_batch_size} and steps {steps} must be at least 1, batch_size {batch_size} 0"
            )
        if batch_size > 1 and len(images) == 1:
            raise ValueError("there is 1 image alone, nothing can be learnt of how images differ: name more lists")
        if len(pairs) and not any((item["label"] > 0).any() for item in pairs):
            raise ValueError(f"none of {len(pairs)} labels has any foreground: look at the label files of train_list")
        self.images = images
        self.pairs = pairs
        # further apart than a run has passes; torch's generator knows the lower 32 bits of a seed alone
        seed += 2**20 * (dist.get_rank() if dist.is_available() and dist.is_initialized() else 0)
        self.image_order = ShuffledIndices(len(images) if batch_size else 1, seed)
        self.pair_order = ShuffledIndices(len(pairs), seed + 2**31)
        self.batch_size = batch_size
        self.pair_batch_size = pair_batch_size
        self.steps = steps
        self.step = 0

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        for _ in range(self.steps):
            images = [self.images[i] for i in self.image_order.batch(self.step, self.batch_size)]
            pairs = [self.pairs[i] for i in self.pair_order.batch(self.step, self.pair_batch_size)]
            self.step += 1
            yield {
                name: default_collate([item[key] for item in items])
                for name, items, key in (
                    ("image", images, "image"),
                    ("label_map", images, "label_map"),
                    ("pair_image", pairs, "image"),
                    ("pair_label", pairs, "label"),
                )
                if items and key in items[0]
            }
