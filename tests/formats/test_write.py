# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor
from monai.transforms import AsDiscreted, Compose, Invertd, Orientationd
from PIL import ExifTags, Image

from monai_semgan.formats import read, write, write_as
from monai_semgan.transforms.fit_in_plane import FitInPlaned
from monai_semgan.transforms.scores import AXIAL, LABELS
from tests.image_files import colours, gradient, oblique_affine, write_dicom, write_nifti, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, affines, ellipsoid, values, write_series, write_volume


def mask_for(path: Path) -> MetaTensor:
    """The upper-left pixel of the file, and the first of its third row."""
    image = read(path, 2)
    mask = torch.zeros(1, *image.shape[1:])
    mask[0, 0, 0] = mask[0, 0, 2] = 1
    return MetaTensor(mask, meta=image.meta)


def test_picture_gets_png_of_its_size(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    file = write(mask_for(path), tmp_path / "a.b_mask")
    assert file == tmp_path / "a.b_mask.png"
    written = np.asarray(Image.open(file))
    assert written.dtype == np.uint8 and written.shape == (40, 30)
    assert written[0, 0] == written[2, 0] == 255 and written.sum() == 510
    for_label = np.asarray(Image.open(write(mask_for(path), tmp_path / "a.b_mask", foreground=1)))
    np.testing.assert_array_equal(for_label, written // 255)


def test_mask_of_a_turned_photograph_is_upright(tmp_path: Path) -> None:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = 6
    Image.fromarray(colours()).save(tmp_path / "a.jpg", exif=tags)
    written = np.asarray(Image.open(write(mask_for(tmp_path / "a.jpg"), tmp_path / "a_mask")))
    # stored with 40 rows of 30 pixels, shown with 30 rows of 40
    assert written.shape == (30, 40) and written[0, 0] == written[2, 0] == 255


@pytest.mark.parametrize("shape", [(30, 40), (30, 40, 1), (30, 1, 40)])
def test_nifti_gets_nifti_of_its_geometry(tmp_path: Path, shape: tuple[int, ...]) -> None:
    path = write_nifti(tmp_path / "a.nii", gradient().T.astype(np.float32).reshape(shape), oblique_affine())
    file = write(mask_for(path), tmp_path / "a_mask", foreground=255)
    written = nib.load(file)
    assert file.name == "a_mask.nii.gz"
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
    written = nib.load(write(mask_for(path), tmp_path / "a_mask"))
    assert written.shape == (30, 40, 1)
    np.testing.assert_allclose(written.header.get_zooms(), [0.5, 0.8, 1.0], rtol=1e-6)
    # two rows on is 1.6 mm to the feet
    np.testing.assert_allclose(written.affine @ [0, 2, 0, 1], [-1, -2, 3 - 1.6, 1], atol=1e-5)


def test_mask_of_another_grid_is_refused(tmp_path: Path) -> None:
    mask = mask_for(write_png(tmp_path / "a.png", gradient().astype(np.uint8)))[:, :10]
    with pytest.raises(ValueError, match=r"mask of \(1, 10, 40\) is not on its image's grid of \(1, 30, 40\)"):
        write(mask, tmp_path / "a")


@pytest.mark.parametrize("shape", [(1, 7), (7, 1)])
def test_picture_one_pixel_high_or_wide(tmp_path: Path, shape: tuple[int, int]) -> None:
    path = write_png(tmp_path / "a.png", np.arange(7, dtype=np.uint8).reshape(shape))
    image = read(path, 2)
    file = write(MetaTensor((image > 3).float(), meta=image.meta), tmp_path / "a_mask")
    np.testing.assert_array_equal(np.asarray(Image.open(file)), 255 * (np.arange(7) > 3).reshape(shape))


# what the type of the values decides
CHANGED = {"datatype", "bitpix", "scl_slope", "scl_inter", "cal_min", "cal_max"}


def save(path: Path, folder: Path, size: int = 64) -> nib.Nifti1Image:
    """Label the voxels above 0 of a volume, by way of the network's grid."""
    image = read(path, 3, label=True)
    chain = Compose([Orientationd("image", AXIAL, labels=LABELS), FitInPlaned("image", size, enlarge=False)])
    item = chain({"image": image})
    item["pred"] = MetaTensor((item["image"] > 0).float(), meta=item["image"].meta)
    post = Compose([Invertd("pred", chain, "image", nearest_interp=False), AsDiscreted("pred", threshold=0.5)])
    return nib.load(write(MetaTensor(post(item)["pred"], meta=image.meta), folder / "case_mask"))


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


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mgz", "dicom"])
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


def test_tilted_gantry_is_read_by_itk(tmp_path: Path) -> None:
    write_series(tmp_path, values(), affine_of(LEFT, BACK, HEAD), ImagePositionPatient=lambda k: [0, k, 4 * k])
    written = save(tmp_path, tmp_path)
    np.testing.assert_allclose(written.affine[:3, 2], [0, -1, 4])
    assert written.header["sform_code"] == written.header["qform_code"] == 1
    # the mask's columns are 1.5 mm wide, and its slices the length of the tilted step apart
    spacing = sitk.ReadImage(str(tmp_path / "case_mask.nii.gz")).GetSpacing()
    np.testing.assert_allclose(spacing, [1.5, 0.7, np.hypot(1, 4)], atol=1e-4)


def test_classes_are_kept_and_other_grids_refused(tmp_path: Path) -> None:
    path = write_volume(tmp_path / "a.nii", values(), affine_of(LEFT, BACK, HEAD))
    image = read(path, 3)
    file = write(MetaTensor(image % 250, meta=image.meta), tmp_path / "out")
    np.testing.assert_array_equal(nib.load(file).dataobj, values() % 250)
    with pytest.raises(ValueError, match=r"mask of \(1, 12, 10, 5\) is not on its image's grid of \(1, 12, 10, 6\)"):
        write(MetaTensor(torch.zeros(1, 12, 10, 5), meta=image.meta), tmp_path / "out")


@pytest.mark.parametrize("kind", ["volume", "tilted", "plane", "picture"])
def test_nrrd_lies_where_nifti_does(tmp_path: Path, kind: str) -> None:
    affine = affine_of(LEFT, BACK, HEAD)
    if kind == "tilted":
        affine[1, 2] = 1.5
    if kind == "picture":
        path, dims = write_png(tmp_path / "a.png", gradient().astype(np.uint8)), 2
    elif kind == "plane":
        path, dims = write_nifti(tmp_path / "a.nii", gradient().T.astype(np.float32), oblique_affine()), 2
    else:
        path, dims = write_volume(tmp_path / "a.nii", values(), affine), 3
    image = read(path, dims)
    mask = MetaTensor((image % 3 > 0).float(), affine=image.affine, meta=image.meta)
    files, told = write_as(mask, tmp_path / "a.b_mask", ["nifti", "nrrd"])
    assert told == [] and files["nrrd"] == tmp_path / "a.b_mask.nrrd"
    nifti, nrrd = nib.load(files["nifti"]), sitk.ReadImage(str(files["nrrd"]))
    np.testing.assert_array_equal(sitk.GetArrayFromImage(nrrd).T, np.asarray(nifti.dataobj))
    assert nrrd.GetPixelID() == sitk.sitkUInt8
    corner = np.array(nifti.shape) - 1
    expected = nifti.affine @ [*corner, *[0] * (3 - len(corner)), 1] * [-1, -1, 1, 1]
    found = nrrd.TransformContinuousIndexToPhysicalPoint(corner.astype(float).tolist())
    np.testing.assert_allclose(found, expected[: len(found)], atol=1e-4)


def test_png_has_the_rows_and_columns_of_the_file(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient(), PatientOrientation=["R", "H"])
    files, told = write_as(mask_for(path), tmp_path / "a", ["png", "auto"])
    written = np.asarray(Image.open(files["png"]))
    assert written.shape == (40, 30) and written[0, 0] == written[2, 0] == 255 and written.sum() == 510
    assert files["auto"].name == "a.nii.gz" and told == []


def test_several_classes_keep_their_values_in_a_png(tmp_path: Path) -> None:
    image = read(write_png(tmp_path / "a.png", gradient().astype(np.uint8)), 2)
    meta = {**image.meta, "segments": [{"SegmentLabel": "a"}, {"SegmentLabel": "b"}]}
    files, _ = write_as(MetaTensor(image.as_tensor() // 90, affine=image.affine, meta=meta), tmp_path / "a_mask")
    np.testing.assert_array_equal(np.asarray(Image.open(files["auto"])), gradient() // 90)


def test_format_that_cannot_hold_a_mask_is_told_and_the_others_are_written(tmp_path: Path) -> None:
    volume = read(write_volume(tmp_path / "v.nii", values(), affine_of(LEFT, BACK, HEAD)), 3)
    files, told = write_as(MetaTensor(volume % 2, meta=volume.meta), tmp_path / "v_mask", ["seg", "png", "nrrd"])
    assert list(files) == ["nrrd"]
    assert told == [
        "seg is not written: v.nii is no DICOM, DICOM SEG and SR refer to the images that they are of",
        "png is not written: a picture cannot hold a volume of 12 x 10 x 6 voxels",
    ]
    # a mask is never lost
    files, told = write_as(MetaTensor(volume % 2, meta={**volume.meta, "formats": ["png"]}), tmp_path / "w_mask")
    assert files == {"auto": tmp_path / "w_mask.nii.gz"} and told[0].endswith("; w_mask.nii.gz is in its place")
