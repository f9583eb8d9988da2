# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from skimage.measure import regionprops

from monai_semgan.metrics import Measurements
from monai_semgan.metrics.measurements import cardiothoracic_ratio, element, feret_diameter, lungs_apart
from monai_semgan.transforms import DisplayOrderd
from tests.image_files import oblique_affine
from tests.volume_files import BACK, HEAD, LEFT, affine_of, affines

ROWS, COLUMNS = np.mgrid[:120, :160]


def ellipse(row: float, column: float, height: float, width: float) -> np.ndarray:
    """An ellipse by its centre and its half axes."""
    return ((ROWS - row) / height) ** 2 + ((COLUMNS - column) / width) ** 2 <= 1


def stored(mask: np.ndarray, affine: np.ndarray | None = None, **meta: Any) -> MetaTensor:
    """An upright label map as a picture's mask is stored, first index along the columns; or a volume as it is."""
    values = torch.from_numpy(np.ascontiguousarray(mask.T if mask.ndim == 2 else mask, dtype=np.float32))[None]
    return MetaTensor(values, affine=np.eye(4) if affine is None else affine, meta=meta)


def measured(mask: MetaTensor, classes: list[str], **measurements: str) -> tuple[dict[str, Any], list[str]]:
    done = Measurements(measurements, classes, DisplayOrderd("image") if mask.ndim == 3 else None)({"pred": mask})
    assert done["pred"] is mask
    return done["measurements"], done["remarks"]


RIGHT, LEFT_LUNG = ellipse(60, 45, 45, 22), ellipse(62, 115, 40, 18)


def test_areas_in_centimetres_and_pixels() -> None:
    found, remarks = measured(
        stored(RIGHT | LEFT_LUNG, np.diag([2.0, 3, 1, 1])), ["lung"], area="cm2", lung_areas="cm2"
    )
    right, left = (np.pi * 45 * 22, np.pi * 40 * 18)
    assert found["right_lung_area"]["pixels"] == RIGHT.sum() == pytest.approx(right, rel=0.01)
    assert found["left_lung_area"] == {"cm2": pytest.approx(LEFT_LUNG.sum() * 6 / 100), "pixels": LEFT_LUNG.sum()}
    assert found["lung_area"]["cm2"] == pytest.approx((right + left) * 6 / 100, rel=0.01)
    assert remarks == []


def test_unknown_spacing_gives_pixels_alone() -> None:
    mask = stored(RIGHT, spacing_unit="pixel")
    found, _ = measured(mask, ["lesion"], area="mm2", diameter="mm")
    assert found["lesion_area"] == {"mm2": None, "pixels": RIGHT.sum()}
    assert found["lesion_diameter"]["mm"] is None and found["lesion_diameter"]["pixels"] == pytest.approx(91, abs=0.1)


def test_sides_are_those_of_the_upright_image() -> None:
    # stored mirrored: the first index runs to the patient's right
    mirrored = affine_of((1, 0, 0), (0, 0, -1), BACK, spacing=(1, 1, 1))
    found, _ = measured(stored((RIGHT | LEFT_LUNG)[:, ::-1], mirrored), ["lung"], lung_areas="mm2")
    assert found["right_lung_area"]["mm2"] == RIGHT.sum() and found["left_lung_area"]["mm2"] == LEFT_LUNG.sum()


@pytest.mark.parametrize(
    ("mask", "remark"),
    [
        (RIGHT, "only one lung is found, the right one by its place: the left one is missing"),
        (LEFT_LUNG, "only one lung is found, the left one by its place: the right one is missing"),
        (RIGHT | LEFT_LUNG | (np.abs(ROWS - 60) < 4) & (COLUMNS > 60) & (COLUMNS < 110), "merged into one piece"),
        (ellipse(60, 80, 40, 60), "merged into one piece"),
        (ellipse(25, 50, 20, 20) | ellipse(85, 60, 30, 20), "lie above each other"),
        (np.zeros_like(RIGHT), "no lung is found"),
    ],
)
def test_lungs_that_are_missing_or_merged(mask: np.ndarray, remark: str) -> None:
    found, remarks = measured(stored(mask), ["lung"], area="mm2", lung_areas="mm2")
    assert len(remarks) == 1 and remark in remarks[0]
    sides = {name: found[f"{name}_lung_area"]["pixels"] for name in ("right", "left")}
    one = {"right": mask.sum(), "left": None} if mask is RIGHT else {"right": None, "left": mask.sum()}
    assert sides == (one if "only one" in remark else {"right": None, "left": None})
    assert found["lung_area"]["pixels"] == mask.sum()


def test_a_speck_is_no_lung() -> None:
    speck = ellipse(60, 120, 5, 5)
    (right, left), remark = lungs_apart(RIGHT | speck)
    assert right is not None and right.sum() == RIGHT.sum() and left is None and "left one is missing" in remark


def test_cardiothoracic_ratio_of_rectangles() -> None:
    labels = np.zeros(ROWS.shape)
    labels[20:90, 20:60] = 2
    labels[20:100, 100:140] = 2
    # 60 columns of 120; the diaphragm's corner below reaches farther, beside one lung alone
    labels[92:100, 140:150] = 2
    labels[50:80, 55:115] = 1
    found, _ = measured(stored(labels), ["heart", "lungs"], cardiothoracic_ratio="1")
    assert found == {"cardiothoracic_ratio": {"1": pytest.approx(0.5)}}
    both = np.where(labels == 2, np.where(COLUMNS < 80, 2, 3), labels)
    assert measured(stored(both), ["heart", "right lung", "left lung"], cardiothoracic_ratio="1")[0] == found
    assert cardiothoracic_ratio(labels == 1, RIGHT) is None
    assert cardiothoracic_ratio(labels == 4, labels == 2) is None


@given(st.integers(3, 40), st.integers(3, 40), st.floats(0.2, 3), st.floats(0.2, 3))
def test_diameter_of_rectangles(height: int, width: int, down: float, right: float) -> None:
    mask = np.zeros((50, 50), dtype=bool)
    mask[5 : 5 + height, 4 : 4 + width] = True
    found = feret_diameter(mask, (down, right))
    # the corners themselves are cut off: half a pixel in one direction
    whole = np.hypot(height * down, width * right)
    assert whole - max(down, right) <= found <= whole


@given(st.integers(0, 2**32 - 1))
def test_diameter_is_that_of_scikit_image_to_a_pixel(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = np.zeros((30, 40), dtype=bool)
    mask[random.integers(30, size=12), random.integers(40, size=12)] = True
    (region,) = regionprops(mask.astype(np.uint8), spacing=(0.5, 2.0))
    # it draws the hull in pixels, which adds up to one
    assert -1e-6 <= region.feret_diameter_max - feret_diameter(mask, (0.5, 2.0)) <= 2.0


def test_diameter_is_of_the_largest_piece_and_turns_with_the_image() -> None:
    mask = ellipse(40, 60, 20, 30) | ellipse(110, 150, 3, 3)
    found, _ = measured(stored(mask, np.diag([0.5, 0.5, 1, 1])), ["lesion"], diameter="mm")
    assert found["lesion_diameter"]["mm"] == pytest.approx(30, abs=0.6)
    assert measured(stored(mask.T, np.diag([0.5, 0.5, 1, 1])), ["lesion"], diameter="mm")[0] == found


@pytest.mark.parametrize("unit", ["mm3", "ml"])
def test_volume_of_a_cube(unit: str) -> None:
    cube = np.zeros((30, 20, 20))
    cube[5:25, 5:15, 5:10] = 1
    found, remarks = measured(stored(cube, affine_of(LEFT, BACK, HEAD)), ["liver"], volume=unit)
    true = 20 * 10 * 5 * 1.5 * 0.7 * 4.0
    assert found == {"liver_volume": {unit: pytest.approx(true / (1000 if unit == "ml" else 1)), "voxels": 1000}}
    assert remarks == []
    # the slices of a tilted gantry lie beside each other: their distance along the normal counts
    sheared = affine_of(LEFT, BACK, HEAD)
    sheared[1, 2] = 1.5
    assert measured(stored(cube, sheared), ["liver"], volume=unit)[0] == found
    unknown, _ = measured(stored(cube, spacing_unit="pixel"), ["liver"], volume=unit)
    assert unknown == {"liver_volume": {unit: None, "voxels": 1000}}


@given(affines())
def test_volume_is_the_determinant(affine: np.ndarray) -> None:
    assert element(MetaTensor(torch.zeros(1, 2, 2, 2), affine=affine), 3) == pytest.approx(
        abs(np.linalg.det(affine)), rel=1e-6
    )


def test_area_of_an_oblique_image() -> None:
    assert element(MetaTensor(torch.zeros(1, 2, 2), affine=oblique_affine()), 2) == pytest.approx(0.4)


def test_empty_mask() -> None:
    found, remarks = measured(stored(np.zeros((9, 9))), ["lesion"], area="mm2", diameter="mm")
    assert found == {
        "lesion_area": {"mm2": 0, "pixels": 0},
        "lesion_diameter": {"mm": None, "pixels": None},
    }
    assert remarks == ["no lesion is found"]


def test_columns_have_units_in_their_names() -> None:
    made = Measurements({"area": "cm2", "lung_areas": "mm2", "cardiothoracic_ratio": "1"}, ["left lung", "heart"])
    assert list(made.columns) == [
        *("left_lung_area_cm2", "left_lung_area_pixels", "heart_area_cm2", "heart_area_pixels"),
        *("right_lung_area_mm2", "right_lung_area_pixels", "left_lung_area_mm2", "cardiothoracic_ratio"),
    ]
    assert made.columns["cardiothoracic_ratio"] == ("cardiothoracic_ratio", "1")


@pytest.mark.parametrize(
    ("measurements", "classes", "words"),
    [
        ({"weight": "kg"}, ["lung"], "measurement weight is unknown, there are area"),
        ({"area": "ml"}, ["lung"], "area cannot be measured in ml: say mm2 or cm2"),
        ({"lung_areas": "cm2"}, ["liver"], "lung_areas needs classes lung, there are liver"),
        ({"cardiothoracic_ratio": "1"}, ["lung"], "cardiothoracic_ratio needs classes heart and lung, there are lung"),
    ],
)
def test_what_cannot_be_measured_is_said_at_once(measurements: dict, classes: list[str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Measurements(measurements, classes)
