# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM Segmentation objects (PS3.3 A.51) of masks of DICOM images and series."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.data import MetaTensor
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM
from skimage.color import rgb2lab

import monai_semgan
from monai_semgan.formats.dicom import open_dicom
from monai_semgan.formats.dicom_series import once, series_of, slices_among, stacked
from monai_semgan.formats.registry import mask_values, text_of, with_suffix, writes

# without these nothing can refer to an image
REFERENCES = ("SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
# elements that every image has to have, if only empty
EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate"),
    *("StudyTime", "ReferringPhysicianName"),
)
SEXES = ("M", "F", "O")
PLACED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
# characters of a text element of the kind LO
LONGEST = 64
# added to the number of the image's series
SERIES = 1000


@writes("seg")
def write_seg(mask: MetaTensor, path: Path) -> Path:
    """Write a mask as a binary DICOM SEG that refers to the images that it is of.

    Each slice or frame in which there is something has a frame for each class, with the source's place in the patient;
    an empty mask has all frames. A projection image has no such place: its frame is that of the image's own pixels,
    which its reference says.

    Args:
        mask: see :func:`monai_semgan.formats.write`. Its metadata says as "segments" what
            :func:`monai_semgan.bundle.description` does, and may say who labelled ("reader"), and of which series
            and which of its instances it becomes ("seg_series", "seg_number").
        path: file without suffix.

    Returns:
        The file.

    Raises:
        ValueError: when the image is no DICOM, cannot be referred to, or the mask does not say what its classes are.
    """
    name, images, frames = sources_of(mask)
    import highdicom

    meta = mask.meta
    own = meta["segments"]
    version = own[0]["SegmentAlgorithmVersion"]
    # it tells of empty masks and of uneven slices, which the report does
    logging.getLogger("highdicom").setLevel(logging.ERROR)
    try:
        seg = highdicom.seg.Segmentation(
            source_images=images,
            pixel_array=frames,
            segmentation_type="BINARY",
            segment_descriptions=[described(number, one) for number, one in enumerate(own, 1)],
            series_instance_uid=meta.get("seg_series") or generate_uid(),
            series_number=SERIES + int(images[0].get("SeriesNumber") or 0),
            sop_instance_uid=generate_uid(),
            instance_number=meta.get("seg_number", 1),
            manufacturer="monai-semgan",
            manufacturer_model_name=own[0]["SegmentAlgorithmName"][:LONGEST],
            software_versions=f"monai-semgan {monai_semgan.__version__}",
            device_serial_number=version,
            content_creator_name=meta.get("reader"),
            content_description=f"Segmentation of {', '.join(one['SegmentLabel'] for one in own)}"[:LONGEST],
            series_description=f"Segmentation of {', '.join(one['SegmentLabel'] for one in own)}"[:LONGEST],
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        cause = " ".join(str(error).split())
        raise ValueError(f"highdicom cannot refer to {name} ({cause})") from error
    if "FrameOfReferenceUID" not in seg:
        seg.PatientOrientation = images[0].get("PatientOrientation")
    file = with_suffix(path, ".dcm")
    seg.save_as(file)
    return file


def sources_of(mask: MetaTensor) -> tuple[str, list[pydicom.Dataset], np.ndarray]:
    """Give the images that a mask is of.

    Args:
        mask: see :func:`write_seg`.

    Returns:
        The file's name, headers of its images, and what the mask is in each of their frames, ``(frame, row, column)``.

    Raises:
        ValueError: when the image is no DICOM, cannot be referred to, or the mask does not say what its classes are.
    """
    meta = mask.meta
    files = [Path(file) for file in meta.get("files") or [meta.get("filename_or_obj", "")]]
    name = text_of(files[0].name)
    if meta.get("file_format") not in ("dicom", "dicom_series"):
        raise ValueError(f"{name} is no DICOM, DICOM SEG and SR refer to the images that they are of")
    if not meta.get("segments"):
        raise ValueError(f"the mask of {name} does not say what its classes are: segment it with a bundle")
    if importlib.util.find_spec("highdicom") is None:
        raise ValueError('highdicom is not installed: pip install "monai-semgan[seg]"')
    values = mask_values(mask)
    images, frames = (of_image if values.ndim == 2 else of_series)(files, values)
    lacking = [tag for tag in REFERENCES if not images[0].get(tag)]
    if lacking:
        raise ValueError(f"{name} lacks {', '.join(lacking)}, nothing can refer to it")
    return name, images, frames


def described(number: int, segment: Mapping[str, Any]) -> Any:
    """Make the description of a segment (PS3.3 C.8.20.4)."""
    import highdicom
    from pydicom.sr.codedict import codes

    kind = segment.get("SegmentAlgorithmType", "AUTOMATIC")
    algorithm = highdicom.AlgorithmIdentificationSequence(
        name=segment["SegmentAlgorithmName"][:LONGEST],
        family=codes.cid7162.ArtificialIntelligence,
        version=segment["SegmentAlgorithmVersion"],
    )
    regions = segment.get("AnatomicRegionSequence")
    item = highdicom.seg.SegmentDescription(
        segment_number=number,
        segment_label=segment["SegmentLabel"][:LONGEST],
        segmented_property_category=code(segment["SegmentedPropertyCategoryCodeSequence"]),
        segmented_property_type=code(segment["SegmentedPropertyTypeCodeSequence"]),
        algorithm_type=kind,
        algorithm_identification=None if kind == "MANUAL" else algorithm,
        anatomic_regions=None if regions is None else [code(regions)],
    )
    # highdicom names it only from 0.24 on
    colour = np.array(segment["recommendedDisplayRGBValue"], dtype=np.uint8)
    item.RecommendedDisplayCIELabValue = list(highdicom.color.CIELabColor(*map(float, rgb2lab(colour))).value)
    if segment.get("SegmentDescription"):
        item.SegmentDescription = segment["SegmentDescription"]
    return item


def read_seg(seg: pydicom.Dataset, meta: Mapping[str, Any], terms: Sequence[str] = ()) -> np.ndarray:
    """Read a DICOM SEG on the grid of the image that it is of.

    Args:
        seg: the object, its pixels included.
        meta: metadata of the image, as :func:`monai_semgan.formats.read` gives it.
        terms: codes of the property types of the segments that are wanted, in the order of their values from 1; an
            only segment is wanted whatever its code.

    Returns:
        Class indices, ``(1, column, row)`` or ``(1, column, row, slice)``.

    Raises:
        ValueError: when it has no such segment, or is not of this image.
    """
    codes = {int(one.SegmentNumber): one.SegmentedPropertyTypeCodeSequence[0].CodeValue for one in seg.SegmentSequence}
    wanted = {number: terms.index(own) + 1 for number, own in codes.items() if own in terms}
    if len(codes) == 1:
        wanted = wanted or dict.fromkeys(codes, 1)
    if not wanted:
        raise ValueError(f"the DICOM SEG has segments of the codes {', '.join(codes.values())}, none of them wanted")
    values = np.zeros([int(length) for length in meta["spatial_shape"]], dtype=np.float32)
    rows_columns = (int(seg.Rows), int(seg.Columns))
    if rows_columns != values.shape[1::-1]:
        raise ValueError(f"the DICOM SEG has {rows_columns} rows and columns, its image {values.shape[1::-1]}")
    places = places_of(meta) if values.ndim > 2 else None
    pixels = seg.pixel_array.reshape(-1, *rows_columns)
    shared = seg.SharedFunctionalGroupsSequence[0]
    for frame, groups in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        of = groups if "SegmentIdentificationSequence" in groups else shared
        value = wanted.get(int(of.SegmentIdentificationSequence[0].ReferencedSegmentNumber))
        if value is None:
            continue
        if places is None:
            place: Any = ...
        else:
            try:
                source = groups.DerivationImageSequence[0].SourceImageSequence[0]
                number = source.get("ReferencedFrameNumber")
                place = (..., places[source.ReferencedSOPInstanceUID, None if number is None else int(number)])
            except (AttributeError, IndexError, KeyError) as error:
                raise ValueError("a frame of the DICOM SEG does not say which slice of its image it is of") from error
        values[place] = np.where(frame.T > 0, value, values[place])
    return values[None]


def places_of(meta: Mapping[str, Any]) -> dict[tuple[str, int | None], int]:
    """Index of each slice of a volume, by the UID of its instance and the number of its frame."""
    files = [Path(file) for file in meta.get("files") or [meta["filename_or_obj"]]]
    _, slices, _ = slices_among(files) if len(files) > 1 else series_of(files[0])
    stack = stacked(once(slices))
    return {
        (one.header.SOPInstanceUID, None if one.frame is None else one.frame + 1): int(place)
        for one, place in zip(stack.slices, stack.places, strict=True)
    }


def code(concept: Mapping[str, str]) -> Code:
    """Read a coded concept as the metadata of a bundle has it."""
    return Code(concept["CodeValue"], concept["CodingSchemeDesignator"], concept["CodeMeaning"])


def of_image(files: Sequence[Path], values: np.ndarray) -> tuple[list[pydicom.Dataset], np.ndarray]:
    """Give the header of an image and its mask ``(frame, row, column)``."""
    header = referred(open_dicom(files[0], stop_before_pixels=True))
    if not all(header.get(tag) for tag in PLACED):
        # a frame of reference alone places nothing, and readers take no spacing without a thickness
        header.pop("FrameOfReferenceUID", None)
        header.pop("PixelSpacing", None)
    else:
        header.SliceThickness = header.get("SliceThickness") or 1
        in_one_frame([header])
    return [header], values.T[None]


def of_series(files: Sequence[Path], values: np.ndarray) -> tuple[list[pydicom.Dataset], np.ndarray]:
    """Give the headers of a series' slices, or of its one file of several frames, and their masks.

    Args:
        files: as they were read.
        values: mask ``(column, row, slice)``.

    Raises:
        ValueError: when there are several files of several frames.
    """
    _, slices, _ = slices_among(files) if len(files) > 1 else series_of(files[0])
    stack = stacked(once(slices))
    masks = [values[..., place].T for place in stack.places]
    gap = float(np.linalg.norm(stack.affine[:3, 2]))
    if stack.slices[0].frame is None:
        headers = [referred(open_dicom(one.file, stop_before_pixels=True)) for one in stack.slices]
        for header in headers:
            # equal but for rounding
            header.ImageOrientationPatient = headers[0].ImageOrientationPatient
            header.SliceThickness = header.get("SliceThickness") or gap
        in_one_frame(headers)
        return headers, np.stack(masks)
    if len({one.file for one in stack.slices}) > 1:
        raise ValueError("its frames lie in several files")
    header = referred(open_dicom(stack.slices[0].file, stop_before_pixels=True))
    in_one_frame([header])
    shared, frames = header.SharedFunctionalGroupsSequence[0], header.PerFrameFunctionalGroupsSequence
    for tag in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
        if tag not in shared:
            # of each frame, but alike
            shared[tag] = frames[stack.slices[0].frame][tag]
    array = np.zeros((len(frames), *masks[0].shape), dtype=np.uint8)
    for one, own in zip(stack.slices, masks, strict=True):
        array[one.frame] = own
    return [header], array


def in_one_frame(headers: Sequence[pydicom.Dataset]) -> None:
    """Give slices that are placed, but in no frame of reference, one that is their series' own, always the same."""
    if not all(header.get("FrameOfReferenceUID") for header in headers):
        own = generate_uid(entropy_srcs=[str(headers[0].get("SeriesInstanceUID"))])
        for header in headers:
            header.FrameOfReferenceUID = own


def referred(header: pydicom.Dataset) -> pydicom.Dataset:
    """Complete a header by the elements that a reference copies, empty where they are missing or unreadable."""
    for tag in EMPTY:
        if tag not in header:
            setattr(header, tag, None)
    if header.PatientSex not in SEXES:
        header.PatientSex = None
    for tag, kind in (("PatientBirthDate", DA), ("StudyDate", DA), ("StudyTime", TM)):
        try:
            kind(header.get(tag))
        except ValueError:
            setattr(header, tag, None)
    return header
