# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms import ToGrey, ToGreyd


def test_equal_channels_keep_their_values() -> None:
    grey = torch.rand(1, 5, 4)
    for image in (grey, grey.repeat(3, 1, 1), torch.cat([grey.repeat(3, 1, 1), torch.rand(1, 5, 4)])):
        assert torch.equal(ToGrey()(image), grey)


def test_colours_become_luma() -> None:
    colours = torch.tensor([[1.0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1]])[:, None]
    torch.testing.assert_close(ToGrey()(colours), torch.tensor([[[0.299, 0.587, 0.114, 1.0]]]))


def test_metadata_stays() -> None:
    image = MetaTensor(torch.rand(3, 5, 4), meta={"filename_or_obj": "a.png"})
    assert ToGreyd("image")({"image": image})["image"].meta["filename_or_obj"] == "a.png"


def test_other_channel_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="image has 5 channels"):
        ToGrey()(torch.zeros(5, 4, 4))
