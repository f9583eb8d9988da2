# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms.ct_window import CTWindow, CTWindowd


def test_hounsfield_units() -> None:
    volume = torch.tensor([-1000.0, -160.0, 40.0, 140.0, 240.0, 3000.0])[None]
    assert CTWindow(level=40, width=400)(volume)[0].tolist() == [-1, -1, 0, 0.5, 1, 1]


def test_eight_bits_are_taken_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    volume = torch.tensor([0.0, 51.0, 255.0])[None]
    torch.testing.assert_close(CTWindow()(volume), torch.tensor([[-1.0, -0.6, 1.0]]))
    # a patient without a white or a black voxel is no reason to stretch
    torch.testing.assert_close(CTWindow()(volume[:, 1:2] + 51), torch.tensor([[-0.2]]))
    assert not caplog.text


@pytest.mark.parametrize("low, high", [(0, 4095), (0, 1), (-3, 5), (-50, 300)])
def test_other_ranges_warn(low: float, high: float, caplog: pytest.LogCaptureFixture) -> None:
    volume = MetaTensor(torch.tensor([[low, high]], dtype=torch.float32), meta={"filename_or_obj": "p1/ct.nii.gz"})
    out = CTWindowd("image")({"image": volume})["image"]
    assert out.min() >= -1 and out.max() <= 1 and isinstance(out, MetaTensor)
    assert f"p1/ct.nii.gz: values from {low} to {high} are neither Hounsfield units nor 8 bits" in caplog.text


def test_width_has_to_be_positive() -> None:
    with pytest.raises(ValueError, match="width is 0"):
        CTWindow(width=0)
