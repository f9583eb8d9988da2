# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, EnsureChannelFirstd, Invertd, LoadImage, LoadImaged

from monai_semgan.data.volume_reader import VolumeReader
from monai_semgan.transforms.axial import Axiald
from monai_semgan.transforms.fit_in_plane import FitInPlaned
from monai_semgan.transforms.save_label_map import SaveLabelMapd
from tests.volume_files import BACK, HEAD, LEFT, affine_of, affines, ellipsoid, values, write_series, write_volume

# what the type of the values decides
CHANGED = {"datatype", "bitpix", "scl_slope", "scl_inter", "cal_min", "cal_max"}


def save(path: Path, folder: Path, size: int = 64) -> nib.Nifti1Image:
    """Label the voxels above 0 of a volume, by way of the network's grid."""
    chain = Compose(
        [
            LoadImaged("image", reader=VolumeReader()),
            EnsureChannelFirstd("image"),
            Axiald("image"),
            FitInPlaned("image", size, enlarge=False),
        ]
    )
    item = chain({"image": path, "name": "patient.1/case"})
    item["pred"] = MetaTensor((item["image"] > 0).float())
    post = [Invertd("pred", chain, "image", nearest_interp=False), AsDiscreted("pred", threshold=0.5)]
    out = Compose([*post, SaveLabelMapd("pred", folder)])(item)
    assert out["pred_file"] == str(folder / "patient.1" / "case_mask.nii.gz")
    return nib.load(out["pred_file"])


@given(
    affine=affines(),
    codes=st.tuples(st.integers(0, 4), st.integers(0, 4)).filter(any),
    kind=st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
    big_endian=st.booleans(),
    time=st.booleans(),
)
def test_header_is_that_of_the_volume(
    tmp_path_factory: pytest.TempPathFactory, affine: np.ndarray, codes: tuple[int, int], kind, big_endian, time
) -> None:
    folder = tmp_path_factory.mktemp("volumes")
    mask = ellipsoid((12, 10, 6))
    array = np.where(mask, 100, -100).astype(np.int16).reshape((*mask.shape, 1) if time else mask.shape)
    header = kind.header_class(endianness=">" if big_endian else "<")
    header["descrip"] = b"T2 SPIR"
    image = kind(array, affine, header)
    # two matrices that differ, as registration leaves them
    image.set_qform(affine, int(codes[0]))
    image.set_sform(affine + np.outer([1, 2, 3, 0], [0, 0, 0, 1]), int(codes[1]))
    image.header.set_xyzt_units("mm", "sec")
    image.header.set_slope_inter(0.5, 0)
    image.header["cal_max"] = 240
    nib.save(image, folder / "a.nii.gz")

    original, written = nib.load(folder / "a.nii.gz"), save(folder / "a.nii.gz", folder)
    assert type(written) is kind and written.get_data_dtype() == np.uint8
    for name in set(original.header) - CHANGED:
        np.testing.assert_array_equal(written.header[name], original.header[name], err_msg=name)
    assert written.header["cal_max"] == 0 and written.header.endianness == original.header.endianness
    np.testing.assert_array_equal(written.affine, original.affine)
    found = np.asarray(written.dataobj)
    assert found.shape == array.shape
    assert 2 * (found.reshape(mask.shape) & mask).sum() / (found.sum() + mask.sum()) >= 0.97


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", "dicom"])
def test_other_formats_have_the_affine(tmp_path: Path, suffix: str) -> None:
    affine, mask = affine_of(LEFT, BACK, HEAD, spacing=(1, 1, 4)), ellipsoid((12, 10, 6)).astype(np.int16)
    path = tmp_path / "dicom"
    if suffix == "dicom":
        write_series(path, mask, affine)
    else:
        path = write_volume(tmp_path / f"a{suffix}", mask, affine)
    written = save(path, tmp_path)
    np.testing.assert_array_equal(written.dataobj, mask)
    np.testing.assert_allclose(written.affine, affine, atol=1e-4)
    assert written.header["sform_code"] == written.header["qform_code"] == 1
    assert written.header.get_xyzt_units()[0] == "mm"


def test_tilted_gantry_has_no_qform(tmp_path: Path) -> None:
    write_series(tmp_path, values(), affine_of(LEFT, BACK, HEAD), ImagePositionPatient=lambda k: [0, k, 4 * k])
    written = save(tmp_path, tmp_path)
    np.testing.assert_allclose(written.affine[:3, 2], [0, -1, 4])
    assert written.header["sform_code"] == 1 and written.header["qform_code"] == 0


def test_classes_are_kept_and_other_grids_refused(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", values(), affine_of(LEFT, BACK, HEAD))
    image = LoadImage(reader=VolumeReader(), ensure_channel_first=True)(path)
    save_map = SaveLabelMapd("pred", tmp_path, postfix="")
    out = save_map({"pred": MetaTensor(image % 250, meta=image.meta), "name": "out"})
    np.testing.assert_array_equal(nib.load(out["pred_file"]).dataobj, values() % 250)
    with pytest.raises(
        ValueError, match=r"label map of \(12, 10, 5\) voxels is not on its volume's grid of \(12, 10, 6"
    ):
        save_map({"pred": MetaTensor(torch.zeros(1, 12, 10, 5), meta=image.meta), "name": "out"})
