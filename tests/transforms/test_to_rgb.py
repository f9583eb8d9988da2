# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms import ToRGB, ToRGBd


def test_grey_gives_equal_channels_of_their_own() -> None:
    grey = torch.rand(1, 5, 4)
    image = ToRGB()(grey)
    assert torch.equal(image, torch.cat([grey, grey, grey]))
    image[0] = 7
    assert (grey < 7).all() and (image[1:] < 7).all()


def test_rgb_stays_and_alpha_is_dropped() -> None:
    image = torch.rand(4, 5, 4)
    assert torch.equal(ToRGB()(image), image[:3])
    assert torch.equal(ToRGB()(image[:3]), image[:3])


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_metadata_stays(channels: int) -> None:
    image = MetaTensor(torch.rand(channels, 5, 4), meta={"filename_or_obj": "a.png"})
    assert ToRGBd("image")({"image": image})["image"].meta["filename_or_obj"] == "a.png"


@pytest.mark.parametrize("channels", [0, 2, 5])
def test_other_channel_counts_are_refused(channels: int) -> None:
    with pytest.raises(ValueError, match=f"image has {channels} channels"):
        ToRGB()(torch.zeros(channels, 4, 4))
