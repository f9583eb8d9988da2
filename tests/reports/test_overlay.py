# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from skimage.segmentation import find_boundaries

from monai_semgan.reports.overlay import (
    CAPTION,
    LABEL_COLOUR,
    THUMBNAIL,
    TILE,
    black_and_white,
    borders,
    outline,
    overlay,
    page,
    spread,
    thumbnail,
    tiles,
)
from tests.image_files import colours, gradient
from tests.volume_files import BACK, HEAD, LEFT, affine_of

MASK_COLOUR = (255, 128, 0)


@pytest.mark.parametrize(
    "rows, columns, size", [(40, 20, (256, 128)), (300, 280, (300, 280)), (1000, 2048, (500, 1024))]
)
def test_tiles_lie_side_by_side(rows: int, columns: int, size: tuple[int, int]) -> None:
    image = gradient(rows, columns).astype(np.uint8)[None]
    mask, label = np.zeros((2, rows, columns), dtype=bool)
    mask[: rows // 2, : columns // 2] = True
    label[rows // 2 :, columns // 2 :] = True
    sheet = overlay(image, [(label, LABEL_COLOUR), (mask, MASK_COLOUR)], np.ones((1, 32, 32)))
    height, width = size
    assert sheet.shape == (height, 3 * width, 3)
    plain, outlined, drawn = np.split(sheet, 3, axis=1)
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


def test_two_tiles_without_reconstruction() -> None:
    image = gradient(40, 40).astype(np.uint8)[None]
    assert overlay(image, [(np.zeros((40, 40)), MASK_COLOUR)]).shape == (256, 512, 3)


def test_colours_of_image_and_reconstruction() -> None:
    photograph = colours(400, 300)
    reconstruction = np.broadcast_to(np.reshape([1.0, 0.0, -1.0], (3, 1, 1)), (3, 32, 32))
    sheet = overlay(photograph.transpose(2, 0, 1), [(np.zeros((400, 300)), MASK_COLOUR)], reconstruction)
    plain, _, drawn = np.split(sheet, 3, axis=1)
    assert np.array_equal(plain, photograph)
    assert (drawn == [255, 128, 0]).all()


@pytest.mark.parametrize(("top", "scale"), [(1.0, 255.0), (255.0, 1.0), (65535.0, 255 / 65535)])
def test_colours_are_drawn_as_they_are_stored(top: float, scale: float) -> None:
    image = np.linspace(0, top, 3 * 256 * 256).reshape(3, 256, 256)
    plain = overlay(image, [])[:, :256]
    np.testing.assert_allclose(plain, image.transpose(1, 2, 0) * scale, atol=0.51)
    # as photographs that have neither black nor white
    assert black_and_white(image[:, :1, :1] / 4 + top / 4) == (0, top)


def test_colours_without_a_scale_and_grey() -> None:
    assert black_and_white(np.array([-1.0, 0.5, 3.0]).reshape(3, 1, 1)) == (-1, 3)
    grey = np.arange(1000.0).reshape(1, 10, 100)
    assert black_and_white(grey) == tuple(np.percentile(grey, [0.5, 99.5]))


def test_borders_are_those_of_scikit_image_and_run_along_the_edge() -> None:
    mask = np.random.default_rng(0).random((30, 40)) < 0.5
    # where there is an image on both sides
    expected = find_boundaries(np.pad(mask, 1), mode="thick")[1:-1, 1:-1]
    assert np.array_equal(borders(mask), expected)
    whole = borders(np.ones((5, 7), dtype=bool))
    assert whole[[0, -1]].all() and whole[:, [0, -1]].all() and not whole[1:-1, 1:-1].any()
    assert not borders(np.zeros((5, 7), dtype=bool)).any()


def test_an_outline_is_opaque_and_hides_nothing_else() -> None:
    tile = np.random.default_rng(0).integers(0, 255, (64, 96, 3), dtype=np.uint8)
    mask = np.zeros((32, 48), dtype=bool)
    # up to the corner of the image
    mask[20:, 30:] = True
    drawn = outline(tile, [(mask, MASK_COLOUR)])
    line = (drawn == MASK_COLOUR).all(-1)
    assert np.array_equal(drawn[~line], tile[~line])
    # the border lies between the pixels 39 and 40, 59 and 60
    expected = np.zeros_like(line)
    expected[39:, 59:] = True
    expected[39, 59] = False
    expected[41:-1, 61:-1] = False
    assert np.array_equal(line, expected)


def test_a_thumbnail_has_the_outline_of_the_large_picture() -> None:
    image = gradient(1500, 1000).astype(np.uint8)[None]
    mask = np.zeros((1500, 1000), dtype=bool)
    mask[500:1000, 250:750] = True
    masks = [(mask, MASK_COLOUR)]
    parts = tiles(image, masks, np.ones((1, 8, 8)))
    small = thumbnail(parts, masks)
    assert small.shape == (THUMBNAIL, 2 * 128, 3) and (small[:, 128:] == 255).all()
    rows, columns = np.nonzero((small == MASK_COLOUR).all(-1))
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (63, 128, 31, 96)
    assert (small[63:65, 32:96] == MASK_COLOUR).all()
    assert thumbnail(parts[:2], masks).shape == (THUMBNAIL, 128, 3)


@pytest.mark.parametrize(
    "slices, number, expected",
    [([2, 3, 4, 5, 6], 3, [2, 4, 6]), ([7], 5, [7]), ([3, 4], 6, [3, 4]), ([], 4, [0, 3, 6, 9])],
)
def test_slices_are_spread_through_the_mask(slices: list[int], number: int, expected: list[int]) -> None:
    mask = np.zeros((4, 4, 10), dtype=bool)
    mask[1, 2, slices] = True
    assert spread(mask, number) == expected


def test_a_page_shows_slices_in_their_proportions() -> None:
    # 6 rows of 2 mm to the back, 24 columns of 1 mm to the left
    values = torch.full((1, 6, 24, 10), -1.0)
    values[:, 1:5, 4:20] = 1.0
    volume = MetaTensor(values, affine=torch.as_tensor(affine_of(BACK, LEFT, HEAD, spacing=(2.0, 1.0, 5.0))))
    mask, label = np.zeros((2, 6, 24, 10), dtype=bool)
    mask[2:4, 8:14, 3:9] = True
    label[2:4, 8:10, 3:9] = True
    drawn = page(volume, [(label, LABEL_COLOUR), (mask, MASK_COLOUR)], ["error 0.1"] * 10, slices=3, columns=2)
    # 24 x 12 mm a slice, two rows of them, the last place empty
    assert drawn.shape == (TILE, 2 * TILE, 3)
    assert not drawn[TILE // 2 :, TILE:].any()
    tile = drawn[: TILE // 2, :TILE]
    assert tile[5, -5].max() == 0 and tile[TILE // 4, TILE // 2].min() > 240
    scale = TILE / 24
    for colour, left, right in ((MASK_COLOUR, 8, 14), (LABEL_COLOUR, 8, 10)):
        rows, columns = np.nonzero((tile == colour).all(-1))
        # two pixels wide, on both sides of the border
        assert abs(columns.max() - right * scale) <= 2 and rows.min() >= 2 * 2 * scale - 2
        assert columns.min() >= left * scale - 2


def test_captions_and_a_page_without_mask() -> None:
    volume = MetaTensor(torch.full((1, 8, 8, 3), -1.0))
    drawn = page(volume, [(np.zeros((8, 8, 3), dtype=bool), MASK_COLOUR)], slices=2)
    assert drawn.shape == (TILE, 2 * TILE, 3)
    assert drawn[:20].any() and not drawn[20:].any()


def test_a_caption_stands_below_the_tiles() -> None:
    image = np.random.default_rng(0).random((1, 300, 300))
    mask = [(image[0] > 2, (255, 0, 0))]
    plain, told = overlay(image, mask), overlay(image, mask, caption="predicted Dice 0.62")
    assert told.shape == (plain.shape[0] + CAPTION, *plain.shape[1:])
    assert np.array_equal(told[: len(plain)], plain)
    assert told[len(plain) :].max() > 200 and told[len(plain) :, 300:].max() == 0
