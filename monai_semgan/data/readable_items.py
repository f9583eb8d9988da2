# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Items that could be read, in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from monai_semgan.data.cohort_dataset import CohortDataset
from monai_semgan.data.failure import FAILURE

logger = logging.getLogger(__name__)


def readable_items(data: Sequence[dict[str, Any]], transform: Callable[..., Any]) -> list[dict[str, Any]]:
    """Read items once, and leave out those that fail, each with a warning.

    Args:
        data: items with "image".
        transform: the preprocessing.

    Returns:
        What the transform makes of the others.
    """
    items = CohortDataset(data, transform)
    read = [items[index] for index in range(len(items))]
    for item in read:
        if FAILURE in item:
            logger.warning("left out: %s", item[FAILURE])
    return [item for item in read if FAILURE not in item]
