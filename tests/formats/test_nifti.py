# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from monai.data import MetaTensor

from monai_semgan.data import cohort
from monai_semgan.formats import NIfTI, read, write
from tests.image_files import gradient, oblique_affine, write_nifti, write_png
from tests.volume_files import BACK, HEAD, LEFT, RIGHT, affine_of, ellipsoid, values, write_volume


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


@pytest.mark.parametrize("unit, scale", [("meter", 1000.0), ("micron", 0.001)])
def test_units_of_length_are_told_and_become_millimetres(tmp_path: Path, unit: str, scale: float) -> None:
    affine = affine_of(LEFT, BACK, HEAD)
    image = nib.Nifti1Image(values(), in_unit(affine, scale))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii.gz")
    found = NIfTI().read(tmp_path / "a.nii.gz", 3)
    np.testing.assert_allclose(found.meta["original_affine"], affine, rtol=1e-4)
    assert found.meta["warnings"][0].startswith(f"its unit of length is the {'metre' if unit == 'meter' else 'micro'}")
    # the mask is the file's own
    mask = nib.load(write(MetaTensor(found > 7, meta=found.meta), tmp_path / "mask"))
    assert mask.header.get_xyzt_units()[0] == unit
    np.testing.assert_allclose(mask.affine, image.affine, rtol=1e-6)


def in_unit(affine: np.ndarray, scale: float) -> np.ndarray:
    return np.diag([1 / scale] * 3 + [1]) @ affine


def test_forms_that_disagree_are_told(tmp_path: Path) -> None:
    affine = affine_of(LEFT, BACK, HEAD)
    image = nib.Nifti1Image(values(), affine)
    image.set_sform(affine, 1)
    image.set_qform(affine_of(RIGHT, BACK, HEAD), 1)
    nib.save(image, tmp_path / "a.nii")
    found = NIfTI().read(tmp_path / "a.nii", 3)
    np.testing.assert_allclose(found.meta["original_affine"], affine)
    # the last of 12 columns of 1.5 mm lies on the other side
    assert found.meta["warnings"] == ["its sform and its qform differ by up to 33 mm, LPS and RPS: placed by its sform"]
    # a step of a rotation that single precision does not hold is none
    image.set_qform(affine, 1)
    nib.save(image, tmp_path / "b.nii")
    assert "warnings" not in NIfTI().read(tmp_path / "b.nii", 3).meta
    image.set_sform(np.diag([0.0, 0, 0, 1]), 1)
    nib.save(image, tmp_path / "c.nii")
    broken = NIfTI().read(tmp_path / "c.nii", 3)
    np.testing.assert_allclose(broken.meta["original_affine"], affine, atol=1e-4)
    assert broken.meta["warnings"] == ["its sform is broken: placed by its qform"]


@pytest.mark.parametrize("name, times", [("a.nii.gz", 0), ("a.nii", 1), ("a.nii.gz", 2), ("a.nii", 2)])
def test_names_need_not_tell_the_compression(tmp_path: Path, name: str, times: int) -> None:
    content = nib.Nifti1Image(values(), affine_of(LEFT, BACK, HEAD)).to_bytes()
    for _ in range(times):
        content = gzip.compress(content)
    (tmp_path / name).write_bytes(content)
    found = NIfTI().read(tmp_path / name, 3)
    np.testing.assert_array_equal(found[0], values())
    np.testing.assert_allclose(found.affine, affine_of(LEFT, BACK, HEAD), atol=1e-5)


def test_a_scale_whose_intercept_is_no_number(tmp_path: Path) -> None:
    content = bytearray(nib.Nifti1Image(values(), np.eye(4)).to_bytes())
    # scl_slope and scl_inter
    content[112:120] = np.array([2, np.nan], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    np.testing.assert_array_equal(NIfTI().read(tmp_path / "a.nii", 3)[0], 2 * values())


@pytest.mark.parametrize("kind", [nib.Nifti1Pair, nib.AnalyzeImage])
def test_pairs_of_header_and_image(tmp_path: Path, kind: type) -> None:
    affine = np.diag([-1.5, 0.7, 4.0, 1])
    nib.save(kind(values(), affine), tmp_path / "a.hdr")
    (item,) = cohort(tmp_path, spatial_dims=3)
    found = read(item["image"], 3)
    assert item["name"] == "a" and Path(item["image"]).name == "a.hdr"
    np.testing.assert_array_equal(found[0], values())
    mask = nib.load(write(MetaTensor(found > 7, meta=found.meta), tmp_path / "mask"))
    np.testing.assert_array_equal(mask.dataobj, values() > 7)
    np.testing.assert_allclose(mask.affine, found.affine, atol=1e-5)
    # a single file again
    assert isinstance(mask, nib.Nifti1Image) and (tmp_path / "mask.nii.gz").is_file()


def test_a_picture_whose_affine_is_broken_is_read(tmp_path: Path) -> None:
    content = bytearray(nib.Nifti1Image(gradient(), np.eye(4)).to_bytes())
    # pixdim of the three axes, and the rows of the sform
    content[80:92], content[280:328] = bytes(12), bytes(48)
    (tmp_path / "a.nii").write_bytes(content)
    found = NIfTI().read(tmp_path / "a.nii", 2)
    np.testing.assert_array_equal(found[0], gradient())
    assert "its affine is broken" in found.meta["warnings"][-1]
    write(MetaTensor(found > 7, meta=found.meta), tmp_path / "mask")


@pytest.mark.parametrize("value, dtype", [(65535, np.uint16), (-32768, np.int16), (32767, np.int16)])
def test_padding_without_a_tag_is_far_from_all_values(tmp_path: Path, value: int, dtype: type) -> None:
    body = ellipsoid((12, 10, 6))
    path = write_volume(tmp_path / "a.nii", np.where(body, values() + 5, value).astype(dtype), np.diag([1, 1, 4, 1]))
    found = read(path, 3)
    np.testing.assert_array_equal(found.meta["outside"].values, ~body)
    inside = values()[body] + 5
    np.testing.assert_array_equal(found[0].numpy()[body], inside)
    assert (found[0].numpy()[~body] == inside.min()).all()
    assert f"of its values are {value}, far from all others" in found.meta["warnings"][0]


def test_air_and_the_padding_of_ct_are_values(tmp_path: Path) -> None:
    body = ellipsoid((12, 10, 6))
    for value in (-1000, -2000, -3024, 3071):
        array = np.where(body, values() - 300, value).astype(np.int16)
        found = read(write_volume(tmp_path / "a.nii", array, np.diag([1, 1, 4, 1])), 3)
        assert "outside" not in found.meta or value == 3071


@pytest.mark.parametrize("labels", [[0, 1], [0, 255], [0, 1, 2], list(range(16))])
def test_label_maps_are_no_volumes(tmp_path: Path, labels: list[int]) -> None:
    array = np.resize(labels, (12, 10, 6)).astype(np.uint8)
    path = write_volume(tmp_path / "a.nii", array, np.eye(4))
    with pytest.raises(ValueError, match=rf"^a\.nii holds {len(labels)} whole values .*: a label map"):
        read(path, 3)
    np.testing.assert_array_equal(read(path, 3, label=True)[0], array)


@pytest.mark.parametrize("dims", [2, 3])
def test_size_without_a_unit_is_unknown_where_nothing_is_placed(tmp_path: Path, dims: int) -> None:
    array = values() if dims == 3 else values()[..., 0]
    units = {}
    for name, affine, unit in (
        ("plain", np.eye(4), "unknown"),
        ("flipped", np.diag([-1.0, -1, 1, 1]), "unknown"),
        ("named", np.eye(4), "mm"),
        ("sized", np.diag([0.7, 0.7, 5, 1]), "unknown"),
        ("placed", np.eye(4) + np.eye(4)[:, [3]] * 0 + [[0, 0, 0, 9.0]] * np.eye(4)[:, [0]], "unknown"),
    ):
        image = nib.Nifti1Image(array, affine)
        image.header.set_xyzt_units(unit)
        nib.save(image, tmp_path / f"{name}.nii")
        found = read(tmp_path / f"{name}.nii", dims)
        units[name] = found.meta["spacing_unit"]
        assert ("is unknown" in str(found.meta.get("warnings"))) == (units[name] == "pixel")
    assert units == {"plain": "pixel", "flipped": "pixel", "named": "mm", "sized": "mm", "placed": "mm"}


def test_padding_beyond_bone_is_found_beside_single_voxels_of_metal(tmp_path: Path) -> None:
    body = ellipsoid((12, 10, 6))
    array = np.where(body, values() - 300, 3071).astype(np.int16)
    metal = np.argwhere(body)[40]
    array[tuple(metal)] = 1500
    found = read(write_volume(tmp_path / "a.nii", array, np.diag([1, 1, 4, 1])), 3)
    np.testing.assert_array_equal(found.meta["outside"].values, ~body)


def test_padding_of_a_deep_picture_is_outside(tmp_path: Path) -> None:
    image = gradient(top=4000).astype(np.uint16)
    image[:8] = 65535
    found = read(write_png(tmp_path / "a.png", image), 2)
    np.testing.assert_array_equal(found.meta["outside"].values.T, image == 65535)
    assert found.max() == image[8:].max()


def test_slices_that_alternate_are_told(tmp_path: Path) -> None:
    # brighter from slice to slice, as anatomy changes
    plain = values() + 40 * np.arange(6, dtype=np.int16)
    mixed = plain + 900 * (np.arange(6, dtype=np.int16) % 2)
    told = [
        read(write_volume(tmp_path / f"{name}.nii", array, np.diag([1, 1, 4, 1])), 3).meta.get("warnings", ())
        for name, array in (("plain", plain), ("mixed", mixed))
    ]
    assert not told[0]
    assert "two phases may be mixed" in told[1][0]
