# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""A dataset in which one bad image does not stop the others."""

from __future__ import annotations

import logging
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
    """

    def _transform(self, index: int) -> Any:
        try:
            return super()._transform(index)
        except Exception as error:
            logger.debug("item %d failed", index, exc_info=True)
            return {**self.data[index], FAILURE: failure_reason(error)}
