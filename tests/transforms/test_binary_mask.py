# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.transforms import BinaryMask, BinaryMaskd


@pytest.mark.parametrize("foreground", [1, 255, 0.5])
def test_foreground_becomes_one(foreground: float) -> None:
    mask = torch.tensor([[[0, 1.0], [1, 0]]])
    assert torch.equal(BinaryMaskd("label")({"label": mask * foreground})["label"], mask)


def test_empty_and_full_masks() -> None:
    assert BinaryMask()(torch.zeros(1, 3, 3)).sum() == 0
    assert BinaryMask()(torch.full((1, 3, 3), 255.0)).sum() == 9


@pytest.mark.parametrize(
    "mask", [torch.tensor([[0.0, 1, 2]]), torch.tensor([[0.0, -1]]), torch.tensor([[0, float("nan")]])]
)
def test_masks_that_are_not_binary(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="mask is not binary"):
        BinaryMask()(mask)


def test_channels() -> None:
    with pytest.raises(ValueError, match="mask has 2 channels"):
        BinaryMask()(torch.zeros(2, 3, 3))
