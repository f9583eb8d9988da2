# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from monai_semgan.formats import NIfTI
from tests.image_files import gradient, oblique_affine, write_nifti


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 40, 1, 1), (30, 1, 40)])
def test_nifti_with_one_slice(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = gradient().T.astype(np.float32)
    affine = oblique_affine()
    image = NIfTI().read(write_nifti(tmp_path / "a.nii.gz", values.reshape(shape), affine), 2)
    meta = image.meta
    np.testing.assert_array_equal(image[0], values)
    second = 2 if shape == (30, 1, 40) else 1
    np.testing.assert_allclose(
        meta["original_affine"] @ [3, 5, 0, 1], affine @ np.eye(4)[[0, second, 3]].T @ [3, 5, 1], atol=1e-5
    )
    assert meta["file_shape"] == shape
    np.testing.assert_allclose(meta["file_affine"], affine, atol=1e-6)


def test_colours_are_refused(tmp_path: Path) -> None:
    colours = np.zeros((4, 5, 1), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(ValueError, match=r"a\.nii is a NIfTI file of colours: convert it to grey"):
        NIfTI().read(write_nifti(tmp_path / "a.nii", colours, np.eye(4)), 2)
