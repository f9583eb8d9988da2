# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monai_semgan import formats
from tests.formats.test_dicom_seg import check_valid, ct, mask_of, study
from tests.image_files import gradient, write_dicom, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, values, write_series

highdicom = pytest.importorskip("highdicom")

LUNGS = {
    "lung_area": {"cm2": 412.5, "pixels": 70980},
    "right_lung_area": {"cm2": 230.25, "pixels": 39620},
    "left_lung_area": {"cm2": None, "pixels": 31360},
    "cardiothoracic_ratio": {"1": 0.5},
}


def read_back(path: Path) -> list[dict[str, Any]]:
    """Measurements of each group of a report: value and unit by name and side."""
    report = highdicom.sr.srread(path)
    groups = report.content.get_image_measurement_groups()
    found = []
    for group in groups:
        own = {}
        for measurement in group.get_measurements():
            (site,) = measurement.finding_sites or (None,)
            side = f"{site.laterality.meaning} " if site else ""
            own[side + measurement.name.meaning] = (measurement.value, measurement.unit.value)
        found.append({"finding": group.finding_type.value, **own})
    return found


def test_measurements_of_an_image_are_read_back(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient(), **study())
    mask = mask_of(path, 2)
    mask.meta |= {"measurements": LUNGS, "predicted_dice": 0.93}
    (group,) = read_back(formats.write_sr(mask, tmp_path / "a.b_mask"))
    assert group == {
        "finding": "39607008",
        "Area": (412.5, "cm2"),
        "Right Area": (230.25, "cm2"),
        # no size in cm2 is known
        "Left Area": (31360, "{pixels}"),
        "Cardiothoracic ratio": (0.5, "1"),
        "Predicted Dice coefficient": (0.93, "1"),
    }
    report = highdicom.sr.srread(tmp_path / "a.b_mask_sr.dcm")
    source = pydicom_header(path)
    assert report.StudyInstanceUID == source.StudyInstanceUID and report.PatientID == source.PatientID
    (referenced,) = report.content.get_image_measurement_groups()[0].source_images
    assert referenced.referenced_sop_instance_uid == source.SOPInstanceUID
    (tmp_path / "a.b_mask_sr.dcm").rename(tmp_path / "a.b_mask.dcm")
    check_valid(tmp_path)


def pydicom_header(path: Path) -> Any:
    import pydicom

    return pydicom.dcmread(path, stop_before_pixels=True)


def test_classes_of_a_series_are_groups_and_refer_to_its_slices(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", values(), affine_of(LEFT, BACK, HEAD), **ct())
    mask = mask_of(tmp_path / "ct", 3, ("lung", "heart"))
    mask.meta["measurements"] = {"lung_volume": {"ml": 1490.2, "voxels": 9}, "heart_volume": {"ml": 0.0, "voxels": 0}}
    path = formats.write_sr(mask, tmp_path / "mask")
    assert [group["Volume"] for group in read_back(path)] == [(1490.2, "ml"), (0, "ml")]
    for group in highdicom.sr.srread(path).content.get_image_measurement_groups():
        uids = {one.referenced_sop_instance_uid for one in group.source_images}
        assert uids == {pydicom_header(file).SOPInstanceUID for file in files}


def test_a_report_comes_with_a_mask(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient(), **study())
    mask = mask_of(path, 2)
    mask.meta["measurements"] = LUNGS
    files, told = formats.write_as(mask, tmp_path / "out", ["sr"])
    assert [file.name for file in files.values()] == ["out.nii.gz", "out_sr.dcm"] and not told
    files, _ = formats.write_as(mask, tmp_path / "out", ["sr", "seg"])
    assert [file.name for file in files.values()] == ["out.dcm", "out_sr.dcm"]
    mask.meta["measurements"] = {"lung_area": {"cm2": None, "pixels": None}}
    assert "nothing was measured of the mask of a.dcm" in formats.write_as(mask, tmp_path / "out", ["sr"])[1][0]
    picture = mask_of(write_png(tmp_path / "b.png", gradient().astype(np.uint8)), 2)
    files, told = formats.write_as(picture, tmp_path / "b", ["sr"])
    assert list(files) == ["auto"] and "sr is not written: b.png is no DICOM" in told[0]
