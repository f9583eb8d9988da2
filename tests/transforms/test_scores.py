# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd

from monai_semgan.transforms import SegmentationScoresd
from monai_semgan.transforms.scores import AXIAL, LABELS, VolumeScoresd, axial
from tests.image_files import oblique_affine
from tests.volume_files import BACK, FEET, FRONT, HEAD, LEFT, RIGHT, affine_of, affines, values


def block(start: int, shape: tuple[int, ...] = (20, 20)) -> torch.Tensor:
    mask = torch.zeros(shape)
    mask[start : start + 8, 4:16] = 1
    return mask


@pytest.mark.parametrize("unit, expected", [("mm", 2 * 0.5), ("pixel", np.nan)])
def test_millimetres_follow_the_affine(unit: str, expected: float) -> None:
    pred = MetaTensor(block(4), affine=oblique_affine(), meta={"spacing_unit": unit})
    scores = SegmentationScoresd("pred")({"pred": pred, "label": block(6)[None]})["scores"]
    assert scores["dice"] == pytest.approx(6 / 8)
    assert scores["hausdorff95_pixel"] == pytest.approx(2)
    np.testing.assert_allclose(scores["hausdorff95_mm"], expected, rtol=1e-5)


def test_only_the_listed_scores_are_computed() -> None:
    scored = SegmentationScoresd("pred", scores=["iou", "dice"])
    scores = scored({"pred": block(4), "label": block(6)[None]})["scores"]
    assert list(scores.items()) == [("iou", pytest.approx(6 / 10)), ("dice", pytest.approx(6 / 8))]
    with pytest.raises(ValueError, match="jaccard"):
        SegmentationScoresd("pred", scores=["jaccard"])


def test_channel_may_be_there_and_sizes_must_agree() -> None:
    scored = SegmentationScoresd("pred")
    assert scored({"pred": block(4)[None], "label": block(4)[None]})["scores"]["dice"] == 1
    with pytest.raises(ValueError, match=r"label of \(20, 30\) does not fit the image of \(20, 20\) pixels"):
        scored({"pred": block(4), "label": block(4, (20, 30))[None]})


def test_slices_are_axial_whatever_the_storage() -> None:
    # stored coronal: the second index runs to the feet, 0.7 mm apart
    mask, label = torch.zeros(1, 12, 10, 6), torch.zeros(1, 12, 10, 6)
    label[:, 2:5, 2:6, 1:4] = 1
    mask[:, 2:5, 2:8, 1:4] = 1
    affine = affine_of(LEFT, FEET, FRONT)
    scores = VolumeScoresd("pred")({"pred": MetaTensor(mask, affine=affine), "label": MetaTensor(label)})["scores"]
    assert scores["false_positive_voxels"] == 3 * 2 * 3
    assert abs(scores["label_volume_ml"] - 36 * 1.5 * 0.7 * 4 / 1000) < 1e-6
    # 36 of 54 predicted voxels
    assert abs(scores["dice"] - 2 * 36 / (36 + 54)) < 1e-6
    assert abs(scores["hausdorff95_mm"] - 2 * 0.7) < 1e-6


@pytest.mark.parametrize(
    "axes, stored",
    [
        ((BACK, LEFT, HEAD), lambda shown: shown),
        ((LEFT, BACK, HEAD), lambda shown: shown.transpose(1, 0, 2)),  # DICOM from feet to head
        ((RIGHT, FRONT, HEAD), lambda shown: shown.transpose(1, 0, 2)[::-1, ::-1]),  # RAS
        ((LEFT, FRONT, FEET), lambda shown: shown.transpose(1, 0, 2)[:, ::-1, ::-1]),
        ((LEFT, FEET, BACK), lambda shown: shown.transpose(1, 2, 0)[:, ::-1]),  # coronal
        ((BACK, FEET, RIGHT), lambda shown: shown.transpose(0, 2, 1)[:, ::-1, ::-1]),  # sagittal
    ],
)
def test_slices_come_as_radiologists_see_them(axes: tuple, stored) -> None:
    shown = values((5, 4, 3))
    volume = MetaTensor(torch.tensor(stored(shown).copy())[None], affine=affine_of(*axes))
    out = axial(volume)
    np.testing.assert_array_equal(out[0].numpy(), shown)
    assert nib.aff2axcodes(out.affine.numpy()) == ("P", "L", "S")


@given(affines(), st.tuples(*[st.integers(1, 6)] * 3))
def test_nothing_moves_and_the_inverse_is_exact(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    chain = Orientationd("image", AXIAL, labels=LABELS)
    volume = MetaTensor(torch.tensor(values(shape))[None], affine=affine)
    item = chain({"image": volume})
    out = item["image"]
    for index in np.ndindex(*out.shape[1:]):
        stored = np.unravel_index(int(out[0][index]), shape)
        np.testing.assert_allclose(out.affine.numpy() @ [*index, 1], affine @ [*stored, 1], atol=1e-6)
    back = Invertd("pred", Compose([chain]), "image")({**item, "pred": MetaTensor(out)})["pred"]
    np.testing.assert_array_equal(back.numpy(), volume.numpy())
    np.testing.assert_allclose(back.affine, affine, atol=1e-9)


def test_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(1, 4, 4\) is no volume"):
        axial(MetaTensor(torch.zeros(1, 4, 4)))
