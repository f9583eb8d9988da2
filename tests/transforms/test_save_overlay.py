# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage
from PIL import Image

from monai_semgan.data import PlanarImageReader
from monai_semgan.transforms import SaveOverlayd
from monai_semgan.transforms.save_overlay import LABEL_COLOUR, MASK_COLOUR
from tests.image_files import colours, gradient, write_png


@pytest.mark.parametrize(
    "rows, columns, size", [(40, 20, (256, 128)), (300, 280, (300, 280)), (1000, 2048, (500, 1024))]
)
def test_tiles_lie_side_by_side(tmp_path: Path, rows: int, columns: int, size: tuple[int, int]) -> None:
    path = write_png(tmp_path / "a.png", gradient(rows, columns).astype(np.uint8))
    image = LoadImage(reader=PlanarImageReader(), ensure_channel_first=True)(path)
    mask = torch.zeros(image.shape[1:])
    mask[: columns // 2, : rows // 2] = 1  # the upper left of the picture; without channel, as at the end of the chain
    label = torch.zeros(image.shape)
    label[0, columns // 2 :, rows // 2 :] = 1
    item = {
        "pred": MetaTensor(mask, meta=image.meta),
        "label": label,
        "reconstruction": torch.ones(1, 32, 32),
        "name": "sub/a",
    }
    file = SaveOverlayd("pred", tmp_path / "out", PlanarImageReader())(item)["overlay_file"]
    assert file == str(tmp_path / "out" / "sub" / "a_overlay.png")
    sheet = np.asarray(Image.open(file))
    height, width = size
    assert sheet.shape == (height, 3 * width, 3)
    plain, outlined, drawn = np.split(sheet, 3, axis=1)
    # the image is upright: its bright corner is the upper left
    assert (plain[: height // 8, : width // 8] == 255).all() and plain[height // 3, 0].max() < 128
    assert (drawn == 255).all()
    changed = (plain != outlined).any(axis=2)
    for colour, inside in (
        (MASK_COLOUR, (slice(0, height // 2 + 2), slice(0, width // 2 + 2))),
        (LABEL_COLOUR, (slice(height // 2 - 2, None), slice(width // 2 - 2, None))),
    ):
        line = (outlined == colour).all(axis=2)
        assert line.any() and line.sum() == line[inside].sum()
        changed &= ~line
    assert not changed.any()


def test_two_tiles_without_reconstruction(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", gradient(40, 40).astype(np.uint8))
    image = LoadImage(reader=PlanarImageReader(), ensure_channel_first=True)(path)
    item = {"pred": MetaTensor(torch.zeros(image.shape), meta=image.meta), "name": "a"}
    file = SaveOverlayd("pred", tmp_path, PlanarImageReader())(item)["overlay_file"]
    assert Image.open(file).size == (512, 256)


def test_colours_of_image_and_reconstruction(tmp_path: Path) -> None:
    photograph = colours(400, 300)
    path = write_png(tmp_path / "a.png", photograph)
    image = LoadImage(reader=PlanarImageReader(), ensure_channel_first=True)(path)
    reconstruction = torch.tensor([1.0, 0.0, -1.0])[:, None, None].expand(3, 32, 32)
    item = {"pred": MetaTensor(image[:1] > 1000, meta=image.meta), "name": "a", "reconstruction": reconstruction}
    file = SaveOverlayd("pred", tmp_path, PlanarImageReader())(item)["overlay_file"]
    plain, _, drawn = np.split(np.asarray(Image.open(file)), 3, axis=1)
    # one stretch for all channels, so that hues stay
    low, high = np.percentile(photograph, [0.5, 99.5])
    np.testing.assert_allclose(plain, (photograph.clip(low, high) - low) / (high - low) * 255, atol=0.51)
    assert (drawn == [255, 128, 0]).all()
