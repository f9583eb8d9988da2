# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import LoadImage
from PIL import ExifTags, Image

from monai_semgan.data import PlanarImageReader
from monai_semgan.transforms import SaveMaskd
from tests.image_files import colours, gradient, oblique_affine, write_dicom, write_nifti, write_png


def mask_for(path: Path) -> MetaTensor:
    """The upper-left pixel of the file, and the first of its third row."""
    image = LoadImage(reader=PlanarImageReader(), ensure_channel_first=True)(path)
    mask = torch.zeros(1, *image.shape[1:])
    mask[0, 0, 0] = mask[0, 0, 2] = 1
    return MetaTensor(mask, meta=image.meta)


def test_picture_gets_png_of_its_size(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    item = SaveMaskd("pred", tmp_path / "out")({"pred": mask_for(path), "name": "sub/a.b"})
    assert item["pred_file"] == str(tmp_path / "out" / "sub" / "a.b_mask.png")
    written = np.asarray(Image.open(item["pred_file"]))
    assert written.dtype == np.uint8 and written.shape == (40, 30)
    assert written[0, 0] == written[2, 0] == 255 and written.sum() == 510


def test_mask_of_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.fromarray(colours()).save(tmp_path / "a.jpg", exif=tags)
    item = SaveMaskd("pred", tmp_path / "out")({"pred": mask_for(tmp_path / "a.jpg"), "name": "a"})
    written = np.asarray(Image.open(item["pred_file"]))
    # stored with 40 rows of 30 pixels, shown with 30 rows of 40
    assert written.shape == (30, 40) and written[0, 0] == written[2, 0] == 255


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 1, 40)])
def test_nifti_gets_nifti_of_its_geometry(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_nifti(tmp_path / "a.nii", gradient().T.astype(np.float32).reshape(shape), oblique_affine())
    item = SaveMaskd("pred", tmp_path)({"pred": mask_for(path), "name": "a"})
    written = nib.load(item["pred_file"])
    assert item["pred_file"].endswith("a_mask.nii.gz")
    assert written.shape == shape and written.get_data_dtype() == np.uint8
    np.testing.assert_allclose(written.affine, nib.load(path).affine, atol=1e-5)
    data = np.asarray(written.dataobj).reshape(30, 40)
    assert data[0, 0] == data[0, 2] == 1 and data.sum() == 2


def test_dicom_gets_nifti_over_the_image(tmp_path: Path) -> None:
    path = write_dicom(
        tmp_path / "a.dcm",
        gradient(),
        PixelSpacing=[0.8, 0.5],
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    written = nib.load(SaveMaskd("pred", tmp_path)({"pred": mask_for(path), "name": "a"})["pred_file"])
    assert written.shape == (30, 40, 1)
    np.testing.assert_allclose(written.header.get_zooms(), [0.5, 0.8, 1.0], rtol=1e-6)
    # two rows on is 1.6 mm to the feet
    np.testing.assert_allclose(written.affine @ [0, 2, 0, 1], [-1, -2, 3 - 1.6, 1], atol=1e-5)


def test_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    mask = mask_for(write_png(tmp_path / "a.png", gradient().astype(np.uint8)))[:, :10]
    with pytest.raises(ValueError, match=r"mask of \(10, 40\) is not on its image's grid of \(30, 40\)"):
        SaveMaskd("pred", tmp_path)({"pred": mask, "name": "a"})


@pytest.mark.parametrize("shape", [(1, 7), (7, 1)])
def test_picture_one_pixel_high_or_wide(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = write_png(tmp_path / "a.png", np.arange(7, dtype=np.uint8).reshape(shape))
    image = LoadImage(reader=PlanarImageReader(), ensure_channel_first=True)(path)
    item = SaveMaskd("pred", tmp_path)({"pred": MetaTensor((image > 3).float(), meta=image.meta), "name": "a"})
    np.testing.assert_array_equal(np.asarray(Image.open(item["pred_file"])), 255 * (np.arange(7) > 3).reshape(shape))
