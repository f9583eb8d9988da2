# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest

from monai_semgan.transforms import ByModalityd


def test_an_item_tells_its_modality_or_has_that_of_all() -> None:
    scale = ByModalityd({"ct": lambda d: d | {"by": "window"}, "mri": lambda d: d | {"by": "percentiles"}}, "ct")
    assert scale({})["by"] == "window"
    assert scale({"modality": "mri"})["by"] == "percentiles"
    with pytest.raises(ValueError, match="modality is 'pet', known are ct, mri"):
        scale({"modality": "pet"})
