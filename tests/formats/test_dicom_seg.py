# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import torch
from monai.data import MetaTensor
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, MRImageStorage, generate_uid
from skimage.color import lab2rgb

from monai_semgan import formats
from monai_semgan.bundle import description
from monai_semgan.formats.dicom_seg import read_seg
from tests.image_files import colours, gradient, write_colour_dicom, write_dicom, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, edit_dicom, values, write_enhanced, write_series

highdicom = pytest.importorskip("highdicom")

VALIDATORS = Path(sys.executable).parent
COLOUR = [255, 128, 0]


def study(**tags: object) -> dict[str, Any]:
    """What an image has to have so that others can refer to it."""
    known = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    return {**known, "PatientID": "7", "PatientName": "A^B", "SeriesNumber": 3, "StudyID": "s", **tags}


def ct(**tags: object) -> dict[str, Any]:
    return study(SOPClassUID=CTImageStorage, FrameOfReferenceUID=generate_uid(), **tags)


def segment(label: str, **terms: object) -> dict[str, Any]:
    """A segment's content by dcmqi's names."""
    category = {"CodeValue": "91723000", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Anatomical Structure"}
    kind = {"CodeValue": "39607008", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Lung"}
    return {
        "SegmentLabel": label,
        "recommendedDisplayRGBValue": COLOUR,
        "SegmentAlgorithmName": "lung_xray_segmentation",
        "SegmentAlgorithmVersion": "0.3.0",
        "SegmentedPropertyCategoryCodeSequence": category,
        "SegmentedPropertyTypeCodeSequence": kind,
        **terms,
    }


def mask_of(path: Path, dims: int, labels: tuple[str, ...] = ("lung",), seed: int = 0) -> MetaTensor:
    """A mask without any order on the grid of a file."""
    image = formats.read(path, dims)
    random = np.random.default_rng(seed).integers(0, len(labels) + 1, image.shape)
    meta = {**image.meta, "segments": [segment(label) for label in labels]}
    return MetaTensor(torch.from_numpy(random).float(), affine=image.affine, meta=meta)


def written(mask: MetaTensor, folder: Path) -> highdicom.seg.Segmentation:
    return highdicom.seg.segread(formats.write_seg(mask, folder / "a.b_mask"))


def check_valid(folder: Path, *known: str) -> None:
    """No error of dicom3tools' validator beyond those known."""
    if not (VALIDATORS / "dciodvfy").exists():
        pytest.skip("dicom3tools is not installed")
    done = subprocess.run([VALIDATORS / "dciodvfy", folder / "a.b_mask.dcm"], capture_output=True, text=True)
    errors = [line for line in done.stderr.splitlines() if line.startswith("Error")]
    assert [line for line in errors if not any(word in line for word in known)] == []


@pytest.mark.parametrize(
    "tags",
    [
        {},
        {"PatientOrientation": ["R", "F"], "ImagerPixelSpacing": [0.2, 0.1]},
        {"PatientOrientation": ["R", "H"], "PixelSpacing": [0.2, 0.1]},
        {"photometric": "MONOCHROME1", "FrameOfReferenceUID": "1.2.3.4"},
    ],
)
def test_mask_of_a_projection_image_has_its_pixels_and_refers_to_it(tmp_path: Path, tags: dict[str, Any]) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient(), **study(**tags))
    mask = mask_of(path, 2)
    seg, source = written(mask, tmp_path), pydicom.dcmread(path)
    # rows and columns as they are stored, whichever way is up
    np.testing.assert_array_equal(seg.pixel_array, mask[0].numpy().T)
    np.testing.assert_array_equal(
        seg.get_pixels_by_source_instance([source.SOPInstanceUID], assert_missing_frames_are_empty=True)[0, ..., 0],
        mask[0].numpy().T,
    )
    np.testing.assert_array_equal(read_seg(seg, mask.meta), mask.numpy() > 0)
    assert [uid[2] for uid in seg.get_source_image_uids()] == [source.SOPInstanceUID]
    for tag in ("StudyInstanceUID", "PatientID", "PatientName", "StudyID", "Rows", "Columns"):
        assert seg[tag].value == source[tag].value
    assert seg.SeriesInstanceUID != source.SeriesInstanceUID and seg.SeriesNumber == 1003
    assert "FrameOfReferenceUID" not in seg and list(seg.PatientOrientation or []) == tags.get("PatientOrientation", [])
    check_valid(tmp_path)


def test_segment_says_what_it_is_and_who_made_it(tmp_path: Path, repository: Path) -> None:
    path = write_colour_dicom(tmp_path / "a.dcm", colours())
    edit_dicom(path, **study())
    image = formats.read(path, 2)
    mask = MetaTensor((image[:1] > 150).float(), affine=image.affine, meta=image.meta)
    root = repository / "bundles" / "lesion_dermoscopy_segmentation"
    sizes = {"lesion_area": {"mm2": 12.5, "pixels": 31}}
    item = description(root, {"lesion": COLOUR}, ["seg"])({"pred": mask, "measurements": sizes})
    files, told = formats.write_as(item["pred"], tmp_path / "a.b_mask")
    assert told == [] and files == {"seg": tmp_path / "a.b_mask.dcm"}
    (found,) = highdicom.seg.segread(files["seg"]).SegmentSequence
    codes = [
        found[f"{name}Sequence"][0].CodeValue
        for name in ("SegmentedPropertyCategoryCode", "SegmentedPropertyTypeCode", "AnatomicRegion")
    ]
    assert codes == ["49755003", "52988006", "39937001"]
    assert found.SegmentLabel == "lesion" and found.SegmentAlgorithmType == "AUTOMATIC"
    assert found.SegmentDescription == "lesion area 12.5 mm2"
    algorithm = found.SegmentationAlgorithmIdentificationSequence[0]
    assert algorithm.AlgorithmName == "lesion_dermoscopy_segmentation" and algorithm.AlgorithmVersion
    light, a, b = np.array(found.RecommendedDisplayCIELabValue) / 65535
    lab = [light * 100, a * 255 - 128, b * 255 - 128]
    assert (lab2rgb(lab) * 255).round().tolist() == [255, 128, 0]
    check_valid(tmp_path)


def check_series(seg: highdicom.seg.Segmentation, mask: MetaTensor, sources: dict[int, pydicom.Dataset]) -> None:
    """Compare voxel by voxel, source by source, and where each frame lies.

    Args:
        seg: as it was read back.
        mask: ``(1, column, row, slice)``.
        sources: the source of each slice.
    """
    frames = {}
    for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0]
        number = source.get("ReferencedFrameNumber", 0)
        at = groups.PlanePositionSequence[0].ImagePositionPatient
        frames[str(source.ReferencedSOPInstanceUID), int(number)] = frame, np.array(at, float)
    labels = mask[0].numpy()
    known = 0
    for place, source in sources.items():
        found = frames.get((str(source.SOPInstanceUID), int(source.get("frame_number", 0))))
        if labels[..., place].any():
            assert found is not None
            np.testing.assert_array_equal(found[0], labels[..., place].T)
            np.testing.assert_allclose(found[1], np.array(source.ImagePositionPatient, float), atol=1e-6)
            # also where the affine, which the NIfTI has, puts it
            affine = np.asarray(mask.meta["file_affine"])
            np.testing.assert_allclose((affine @ [0, 0, place, 1])[:3], found[1] * [-1, -1, 1], atol=1e-3)
            known += 1
    assert known == len(frames)
    # what no slice has is empty in the mask
    assert not labels[..., sorted(set(range(labels.shape[-1])) - set(sources))].any()
    np.testing.assert_array_equal(read_seg(seg, mask.meta), mask.numpy() > 0)


def sources_of(files: list[Path], mask: MetaTensor) -> dict[int, pydicom.Dataset]:
    """The slices' files by their index in the volume, from their positions."""
    inverse = np.linalg.inv(np.asarray(mask.meta["file_affine"]))
    found = {}
    for file in files:
        header = pydicom.dcmread(file)
        place = (inverse @ [*(np.array(header.ImagePositionPatient, float) * [-1, -1, 1]), 1])[2]
        found[round(float(place))] = header
    return found


STACKS: dict[str, Callable[[int], list[float]]] = {
    "even": lambda k: [0, 0, 4 * k],
    # a tilted gantry
    "tilted": lambda k: [0, k, 4 * k],
    "missing": lambda k: [0, 0, 4 * (k + (k > 2))],
}


@pytest.mark.parametrize("stack", list(STACKS))
def test_series(tmp_path: Path, stack: str) -> None:
    tags = ct(ImagePositionPatient=STACKS[stack], RescaleIntercept=-1024, InstanceNumber=lambda k: k + 1)
    files = write_series(tmp_path / "ct", values(), affine_of(LEFT, BACK, HEAD), **tags)
    mask = mask_of(tmp_path / "ct", 3)
    if stack == "missing":
        mask[..., 3] = 0
    # a slice without anything has no frame
    mask[..., 1] = 0
    seg = written(mask, tmp_path)
    check_series(seg, mask, sources_of(files, mask))
    assert seg.NumberOfFrames == 5 and seg.FrameOfReferenceUID == tags["FrameOfReferenceUID"]
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert shared.PlaneOrientationSequence[0].ImageOrientationPatient == [1, 0, 0, 0, 1, 0]
    assert shared.PixelMeasuresSequence[0].PixelSpacing == [0.7, 1.5]
    assert len(seg.get_source_image_uids()) == 6
    check_valid(tmp_path)


def test_series_in_two_folders_by_files(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", values(), affine_of(LEFT, BACK, HEAD), **ct())
    (tmp_path / "b").mkdir()
    files = [*files[:3], *(Path(shutil.move(file, tmp_path / "b")) for file in files[3:])]
    image = formats.read(files, 3)
    mask = MetaTensor((image % 3 > 0).float(), affine=image.affine, meta={**image.meta, "segments": [segment("lung")]})
    check_series(written(mask, tmp_path), mask, sources_of(files, mask))


def test_one_of_several_series_in_a_folder(tmp_path: Path) -> None:
    first = write_series(tmp_path, values(), affine_of(LEFT, BACK, HEAD), [f"a{k}" for k in range(6)], **ct())
    write_series(tmp_path, values() + 5, affine_of(LEFT, BACK, HEAD), [f"b{k}" for k in range(6)], **ct())
    mask = mask_of(first[2], 3)
    check_series(written(mask, tmp_path), mask, sources_of(first, mask))


@pytest.mark.parametrize("shared", [True, False])
def test_enhanced_image(tmp_path: Path, shared: bool) -> None:
    path = write_enhanced(tmp_path / "a.dcm", values())
    dataset = edit_enhanced(path, shared)
    mask = mask_of(tmp_path, 3)
    mask[..., 2] = 0
    seg = written(mask, tmp_path)
    frames = {}
    for number, groups in enumerate(dataset.PerFrameFunctionalGroupsSequence, 1):
        one = pydicom.Dataset()
        one.SOPInstanceUID = dataset.SOPInstanceUID
        one.frame_number = number
        one.ImagePositionPatient = groups.PlanePositionSequence[0].ImagePositionPatient
        # they run from the head
        frames[6 - number] = one
    check_series(seg, mask, frames)
    assert seg.NumberOfFrames == 5
    check_valid(tmp_path)


def edit_enhanced(path: Path, shared: bool) -> pydicom.Dataset:
    """Give an enhanced image what others need to refer to it; orientation and spacing for all frames or for each."""
    tags = {**study(), "SOPClassUID": EnhancedCTImageStorage, "FrameOfReferenceUID": generate_uid()}
    dataset = pydicom.dcmread(edit_dicom(path, **tags))
    if not shared:
        common = dataset.SharedFunctionalGroupsSequence[0]
        for tag in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            for groups in dataset.PerFrameFunctionalGroupsSequence:
                groups[tag] = common[tag]
            del common[tag]
        dataset.save_as(path)
    return dataset


def test_classes_are_segments(tmp_path: Path) -> None:
    files = write_series(tmp_path / "ct", values(), affine_of(LEFT, BACK, HEAD), **ct())
    mask = mask_of(tmp_path / "ct", 3, ("lung", "heart"))
    seg = written(mask, tmp_path)
    uids = [sources_of(files, mask)[place].SOPInstanceUID for place in range(6)]
    found = seg.get_pixels_by_source_instance(uids, combine_segments=True)
    np.testing.assert_array_equal(found, mask[0].numpy().transpose(2, 1, 0))
    assert [one.SegmentLabel for one in seg.SegmentSequence] == ["lung", "heart"]


def test_wanted_segments_alone_are_read(tmp_path: Path) -> None:
    write_series(tmp_path / "ct", values(), affine_of(LEFT, BACK, HEAD), **ct())
    mask = mask_of(tmp_path / "ct", 3, ("lung", "heart"))
    heart = {"CodeValue": "80891009", "CodingSchemeDesignator": "SCT", "CodeMeaning": "Heart"}
    mask.meta["segments"][1]["SegmentedPropertyTypeCodeSequence"] = heart
    seg = written(mask, tmp_path)
    np.testing.assert_array_equal(read_seg(seg, mask.meta, ["80891009"]), mask.numpy() == 2)
    swapped = np.array([0, 2, 1])[mask.numpy().astype(int)]
    np.testing.assert_array_equal(read_seg(seg, mask.meta, ["80891009", "39607008"]), swapped)
    with pytest.raises(ValueError, match="codes 39607008, 80891009, none of them wanted"):
        read_seg(seg, mask.meta, ["10200004"])
    other = write_series(tmp_path / "other", values(), affine_of(LEFT, BACK, HEAD), **ct())[0]
    with pytest.raises(ValueError, match="does not say which slice"):
        read_seg(seg, formats.read(other.parent, 3).meta, ["80891009"])
    with pytest.raises(ValueError, match="rows and columns"):
        read_seg(seg, {**mask.meta, "spatial_shape": (5, 4, 3)}, ["80891009"])


def test_a_label_says_who_made_it_and_how(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient(), **study())
    mask = mask_of(path, 2)
    mask.meta["segments"][0]["SegmentAlgorithmType"] = "MANUAL"
    mask.meta |= {"reader": "Doe^Ann", "seg_series": "1.2.3", "seg_number": 4}
    seg = written(mask, tmp_path)
    assert seg.SegmentSequence[0].SegmentAlgorithmType == "MANUAL" and seg.ContentCreatorName == "Doe^Ann"
    assert "SegmentAlgorithmName" not in seg.SegmentSequence[0]
    assert (seg.SeriesInstanceUID, seg.InstanceNumber) == ("1.2.3", 4)
    check_valid(tmp_path)


@pytest.mark.parametrize("dims", [2, 3])
def test_empty_mask(tmp_path: Path, dims: int) -> None:
    if dims == 2:
        path = write_dicom(tmp_path / "a.dcm", gradient(), **study())
    else:
        path = write_series(tmp_path / "ct", values(), affine_of(LEFT, BACK, HEAD), **ct())[0].parent
    mask = mask_of(path, dims)
    seg = written(mask * 0, tmp_path)
    assert not seg.pixel_array.any() and seg.NumberOfFrames == (1 if dims == 2 else 6)
    check_valid(tmp_path)


def test_single_slice_of_ct_is_placed(tmp_path: Path) -> None:
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 1]}
    path = write_dicom(tmp_path / "a.dcm", gradient(), **ct(**place))
    mask = mask_of(path, 2)
    seg = written(mask, tmp_path)
    np.testing.assert_array_equal(seg.pixel_array, mask[0].numpy().T)
    assert seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient == [1, 2, 3]


@pytest.mark.parametrize("modality, storage", [("CT", CTImageStorage), ("MR", MRImageStorage)])
def test_slices_without_a_frame_of_reference_have_one_of_their_own(
    tmp_path: Path, modality: str, storage: pydicom.uid.UID
) -> None:
    tags = study(Modality=modality, SOPClassUID=storage)
    files = write_series(tmp_path / "in", values(), affine_of(LEFT, BACK, HEAD), **tags)
    mask = mask_of(tmp_path / "in", 3)
    first, again = written(mask, tmp_path), written(mask, tmp_path)
    check_series(first, mask, sources_of(files, mask))
    assert first.FrameOfReferenceUID == again.FrameOfReferenceUID
    check_valid(tmp_path)
    place = {"ImagePositionPatient": [1, 2, 3], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [2, 1]}
    alone = mask_of(write_dicom(tmp_path / "a.dcm", gradient(), **tags, **place), 2)
    np.testing.assert_array_equal(written(alone, tmp_path).pixel_array, alone[0].numpy().T)


def test_elements_that_are_missing_or_broken_stay_empty(tmp_path: Path) -> None:
    uids = {name: generate_uid() for name in ("StudyInstanceUID", "SeriesInstanceUID")}
    broken = {"PatientBirthDate": "19991340", "StudyTime": "25:61", "PatientSex": "U", "StudyDate": "2020"}
    for tags in ({}, broken):
        path = write_dicom(tmp_path / "a.dcm", gradient(), **uids, **tags)
        seg = written(mask_of(path, 2), tmp_path)
        for tag in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime"):
            assert not seg[tag].value


def test_what_cannot_be_referred_to_is_said(tmp_path: Path) -> None:
    path = write_png(tmp_path / "b.png", gradient().astype(np.uint8))
    with pytest.raises(ValueError, match=r"b\.png is no DICOM"):
        formats.write_seg(mask_of(path, 2), tmp_path / "b")
    path = write_dicom(tmp_path / "a.dcm", gradient())
    with pytest.raises(ValueError, match=r"a\.dcm lacks StudyInstanceUID, SeriesInstanceUID, nothing can refer to it"):
        formats.write_seg(mask_of(path, 2), tmp_path / "a")
    mask = mask_of(write_dicom(tmp_path / "a.dcm", gradient(), **study(SOPClassUID=CTImageStorage)), 2)
    with pytest.raises(ValueError, match=r"highdicom cannot refer to a\.dcm \(.*Frame Of Reference"):
        formats.write_seg(mask, tmp_path / "a")
    del mask.meta["segments"]
    with pytest.raises(ValueError, match=r"the mask of a\.dcm does not say what its classes are"):
        formats.write_seg(mask, tmp_path / "a")
