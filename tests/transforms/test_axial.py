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
from monai.transforms import Compose, Invertd

from monai_semgan.transforms.axial import Axial, Axiald
from tests.volume_files import BACK, FEET, FRONT, HEAD, LEFT, RIGHT, affine_of, affines, values


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
    out = Axial()(volume)
    np.testing.assert_array_equal(out[0].numpy(), shown)
    assert nib.aff2axcodes(out.affine.numpy()) == ("P", "L", "S")


@given(affines(), st.tuples(*[st.integers(1, 6)] * 3))
def test_nothing_moves_and_the_inverse_is_exact(affine: np.ndarray, shape: tuple[int, int, int]) -> None:
    chain = Axiald("image")
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
        Axial()(torch.zeros(1, 4, 4))
