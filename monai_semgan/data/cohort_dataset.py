# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A dataset in which one bad image does not stop the others."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from typing import Any

from monai.data import Dataset

from monai_semgan.data.failure import FAILURE, failure_reason

logger = logging.getLogger(__name__)


class CohortDataset(Dataset):
    """A ``Dataset`` whose items either went through the transform or say, under the key "failure", why they did not.

    Items differ in size and keys: load them with ``collate_fn=monai.data.utils.no_collation`` and give them to
    :class:`monai_semgan.engines.SemanticGANEvaluator`.

    Args:
        data: items, such as :func:`monai_semgan.data.cohort` gives.
        transform: the preprocessing.
        finished: files of items that are left out, as "file" has them, such as those that an interrupted run did.
        rank: number of this process among those that share the items.
        world_size: number of those processes; this one takes every ``world_size``-th item.

    Raises:
        ValueError: for a rank that is not below ``world_size``.
    """

    def __init__(
        self,
        data: Sequence[dict[str, Any]],
        transform: Callable[..., Any] | None = None,
        *,
        finished: Collection[str] = (),
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size:
            raise ValueError(f"rank is {rank}, it must lie between 0 and world_size - 1 = {world_size - 1}")
        # first shared out, then thinned: a process that is started again finds its own items
        own = list(data)[rank::world_size]
        super().__init__([item for item in own if item.get("file") not in finished], transform)

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            logger.debug("item %d failed", index, exc_info=True)
            return {**self.data[index], FAILURE: failure_reason(error)}
