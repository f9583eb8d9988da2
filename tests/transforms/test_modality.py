# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, Invertd, Orientationd

from monai_semgan.formats import Outside, read
from monai_semgan.transforms import (
    ByModalityd,
    CTWindow,
    CTWindowd,
    EmptyOutsided,
    FitInPlaned,
    ThresholdByModalityd,
)
from monai_semgan.transforms.scores import AXIAL, LABELS
from tests.volume_files import BACK, HEAD, LEFT, affine_of, write_series


def test_an_item_tells_its_modality_or_has_that_of_all() -> None:
    scale = ByModalityd({"ct": lambda d: d | {"by": "window"}, "mri": lambda d: d | {"by": "percentiles"}}, "ct")
    assert scale({})["by"] == "window"
    assert scale({"modality": "mri"})["by"] == "percentiles"
    with pytest.raises(ValueError, match="modality is 'pet', known are ct, mri"):
        scale({"modality": "pet"})


def test_the_file_tells_the_modality_before_the_setting_and_after_the_item(tmp_path: Path) -> None:
    write_series(tmp_path, np.arange(120).reshape(6, 5, 4), affine_of(LEFT, BACK, HEAD), Modality="MR")
    image = read(tmp_path, 3)
    scale = ByModalityd({"ct": lambda d: d | {"by": "ct"}, "mri": lambda d: d | {"by": "mri"}}, "ct")
    assert scale({"image": image})["by"] == "mri"
    asked = scale({"image": image, "modality": "ct"})
    assert asked["by"] == "ct"
    (told,) = asked["image"].meta["warnings"]
    assert told == "its Modality says that it is mri, its item that it is ct: taken as ct"
    assert "warnings" not in scale({"image": read(tmp_path, 3), "modality": "mri"})["image"].meta
    decide = ThresholdByModalityd("pred", {"ct": 0.7, "mri": 0.5}, "ct")
    pred = torch.tensor([[0.4, 0.6, 0.8]])
    assert decide({"image": image, "pred": pred})["pred"].tolist() == [[0, 1, 1]]
    assert decide({"pred": pred})["pred"].tolist() == [[0, 0, 1]]
    assert ThresholdByModalityd("pred", 0.3, "ct")({"pred": pred})["pred"].tolist() == [[1, 1, 1]]


def test_masks_are_empty_outside() -> None:
    outside = np.zeros((6, 5, 4), bool)
    outside[:, :, 1] = outside[0] = True
    image = MetaTensor(torch.rand(1, 6, 5, 4), affine_of(LEFT, BACK, HEAD), meta={"outside": Outside(outside)})
    chain = Compose([EmptyOutsided("image"), Orientationd("image", AXIAL, labels=LABELS)])
    item = chain({"image": image})
    item["pred"] = MetaTensor(torch.ones(item["image"].shape), meta=item["image"].meta)
    mask = Invertd("pred", chain, "image", nearest_interp=False)(item)["pred"]
    np.testing.assert_array_equal(mask[0] == 1, ~outside)
    # without anything outside
    item = chain({"image": MetaTensor(torch.rand(1, 6, 5, 4), affine_of(LEFT, BACK, HEAD))})
    item["pred"] = MetaTensor(torch.ones(item["image"].shape), meta=item["image"].meta)
    assert (Invertd("pred", chain, "image", nearest_interp=False)(item)["pred"] == 1).all()


def fit(fill: float) -> FitInPlaned:
    return FitInPlaned(["image", "label"], 50, value=0, fill=fill, allow_missing_keys=False)


@pytest.mark.parametrize("wrap", [lambda step: step, lambda step: Compose([CTWindowd("image", scale="hu"), step])])
def test_each_modality_fills_a_share_of_its_own_and_comes_back(wrap) -> None:
    fitting = ByModalityd({"ct": wrap(fit(1.0)), "mri": wrap(fit(0.8))}, "ct")
    chain = Compose([Orientationd(["image", "label"], AXIAL, labels=LABELS), fitting])
    volume = MetaTensor(
        torch.rand(1, 20, 40, 2) * 100 + 100, affine=affine_of(BACK, LEFT, HEAD, spacing=(1.0, 1.0, 1.0))
    )
    for named, width in (({}, 50), ({"modality": "ct"}, 50), ({"modality": "mri"}, 40)):
        item = chain({"image": volume, "label": volume, **named})
        assert (item["image"] > 0).sum() == (item["label"] > 0).sum() == width // 2 * width * 2
        # predictions do not name the modality
        inverted = Invertd("pred", chain, "image")({**item, "pred": item["label"].clone()})["pred"]
        assert inverted.shape == volume.shape
        torch.testing.assert_close(inverted.affine, volume.affine)
        if width == 40:
            torch.testing.assert_close(inverted.as_tensor(), volume.as_tensor())
    with pytest.raises(ValueError, match="modality is 'pet', known are ct, mri"):
        fitting({"image": volume, "label": volume, "modality": "pet"})


def test_what_has_no_inverse_stays_and_so_does_an_item_without_trace() -> None:
    window = ByModalityd({"ct": CTWindowd("image", scale="hu")}, "ct")
    item = window({"image": MetaTensor(torch.rand(1, 4, 4, 2) * 100), "name": "a"})
    assert torch.equal(window.inverse(item)["image"].as_tensor(), item["image"].as_tensor())
    plain = {"image": torch.rand(1, 4, 4, 2)}
    assert window.inverse(plain)["image"] is plain["image"]


def test_hounsfield_units() -> None:
    volume = torch.tensor([-1000.0, -160.0, 40.0, 140.0, 240.0, 3000.0])[None]
    assert CTWindow(level=40, width=400)(volume)[0].tolist() == [-1, -1, 0, 0.5, 1, 1]


def test_eight_bits_are_taken_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    volume = torch.tensor([0, 51, 255], dtype=torch.uint8)[None]
    torch.testing.assert_close(CTWindow()(volume), torch.tensor([[-1.0, -0.6, 1.0]]))
    # a patient without a white or a black voxel is no reason to stretch
    torch.testing.assert_close(CTWindow(scale="8bit")(volume[:, 1:2] + 51), torch.tensor([[-0.2]]))
    # 51 of 255 in the window of 40 and 400 are -80 Hounsfield units, 204 are 160
    narrow = CTWindow(120, 240, scale="8bit", stored_window=(40, 400))
    torch.testing.assert_close(narrow(torch.tensor([51.0, 102.0, 204.0])), torch.tensor([-1.0, -1.0, 1 / 3]))
    assert not caplog.text


def volume_of(low: float, high: float, **meta: object) -> MetaTensor:
    return MetaTensor(torch.tensor([[low, high]]), meta={"filename_or_obj": "p1/ct.nii.gz", **meta})


@pytest.mark.parametrize("low, high, meta", [(-150, 5, {}), (0, 900, {"intensity_scale": "hu"}), (-10000, 3620, {})])
def test_other_ranges_warn(low: float, high: float, meta: dict) -> None:
    out = CTWindowd("image")({"image": volume_of(float(low), float(high), **meta)})["image"]
    assert out.min() >= -1 and out.max() <= 1 and isinstance(out, MetaTensor)
    assert out.meta["warnings"] == [
        f"its values from {low} to {high} are not those of a CT in Hounsfield units: is it one?"
    ]


@pytest.mark.parametrize("low, high", [(0, 4095), (-50, 400), (24, 1386), (1, 65448), (-200, 65448)])
def test_values_that_are_no_hounsfield_units_are_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=rf"^ct.nii.gz has values from {low} to {high}: in Hounsfield units air is at"):
        CTWindow()(volume_of(float(low), float(high)))


@pytest.mark.parametrize(
    "low, high, stored",
    [
        (0.0, 1.0, "float32"),
        (-3.0, 5.0, "int16"),
        (-50.0, 300.0, "int16"),
        # clipped Hounsfield units
        (0.0, 255.0, "int16"),
        (0.0, 200.0, "int16"),
        (0.0, 200.0, "uint8"),
        # 8 bits as signed bytes, and resampled with splines
        (-128.0, 127.0, "int8"),
        (-1.5, 256.2, "float32"),
    ],
)
def test_what_may_be_either_is_refused_until_somebody_says(low: float, high: float, stored: str) -> None:
    volume = volume_of(low, high, stored_dtype=stored)
    with pytest.raises(
        ValueError, match=rf"^ct.nii.gz has values from {low:g} to {high:g}, stored as {stored}: .*'8bit'"
    ):
        CTWindow()(volume)
    hu = ((torch.tensor([[low, high]]) + 160) / 200 - 1).clamp(-1, 1)
    torch.testing.assert_close(CTWindow(scale="hu")(volume).as_tensor(), hu)
    said = CTWindowd("image")({"image": volume, "intensity_scale": "hu"})["image"]
    torch.testing.assert_close(said.as_tensor(), hu)
    torch.testing.assert_close(CTWindow()(volume_of(low, high, intensity_scale="hu")).as_tensor(), hu)
    if stored != "int8":
        bits = (torch.tensor([[low, high]]) / 127.5 - 1).clamp(-1, 1)
        # an item comes before the setting
        said = CTWindowd("image", scale="hu")({"image": volume, "intensity_scale": "8bit"})["image"]
        torch.testing.assert_close(said.as_tensor(), bits)


@pytest.mark.parametrize("low, high", [(-1000.0, 400.0), (-128.0, 127.0), (0.0, 1024.0)])
def test_hounsfield_units_are_not_taken_for_eight_bits(low: float, high: float) -> None:
    with pytest.raises(ValueError, match=f"from {low:g} to {high:g}, which are not of 8 bits: say 'hu'"):
        CTWindow(scale="8bit")(volume_of(low, high))


def test_the_header_tells_eight_bits(tmp_path: Path) -> None:
    array = np.linspace(0, 255, 60).reshape(5, 4, 3)
    expected = torch.from_numpy(array.round() / 127.5 - 1).float()[None]
    nib.save(nib.Nifti1Image(array.round().astype(np.uint8), affine_of(LEFT, BACK, HEAD)), tmp_path / "bytes.nii")
    torch.testing.assert_close(CTWindow()(read(tmp_path / "bytes.nii", 3)).as_tensor(), expected)
    # the same values, rescaled: bytes of Hounsfield units
    image = nib.Nifti1Image(array.round().astype(np.uint8), affine_of(LEFT, BACK, HEAD))
    image.header.set_slope_inter(0.5, 0)
    nib.save(image, tmp_path / "slope.nii")
    with pytest.raises(ValueError, match=r"slope\.nii has values from 0 to 127.5, stored as float32"):
        CTWindow()(read(tmp_path / "slope.nii", 3))


def test_dicom_that_is_rescaled_to_hounsfield_units_says_so(tmp_path: Path) -> None:
    stored = np.arange(120, dtype=np.int16).reshape(6, 5, 4) + 1024
    write_series(tmp_path / "ct", stored, affine_of(LEFT, BACK, HEAD), RescaleSlope=1, RescaleIntercept=-1024)
    hu = (torch.arange(120).reshape(1, 6, 5, 4) + 160) / 200 - 1
    torch.testing.assert_close(CTWindow()(read(tmp_path / "ct", 3)).as_tensor(), hu)
    write_series(tmp_path / "plain", stored - 1024, affine_of(LEFT, BACK, HEAD))
    with pytest.raises(ValueError, match="plain has values from 0 to 119, stored as int16"):
        CTWindow()(read(tmp_path / "plain", 3))


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="width is 0"):
        CTWindow(width=0)
    with pytest.raises(ValueError, match="scale is 'HU', known are auto, hu, 8bit"):
        CTWindow(scale="HU")
