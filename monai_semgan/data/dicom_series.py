# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM series: one volume, a file a slice."""

from __future__ import annotations

import logging
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom

from monai_semgan.data.dicom import dicom_affine, dicom_pixels
from monai_semgan.data.formats import DICOM, file_format

logger = logging.getLogger(__name__)

# what places a slice, and what the slices of a volume have in common
PLACING_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
COMMON_TAGS = ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing")
THICKNESS_TAGS = ("SpacingBetweenSlices", "SliceThickness")
SERIES_TAGS = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SOPInstanceUID", "Modality", "ImageType")
HEADER_TAGS = (*SERIES_TAGS, "NumberOfFrames", "SamplesPerPixel", *PLACING_TAGS, *COMMON_TAGS, *THICKNESS_TAGS)
# gaps between slices that differ by less than this fraction are even
EVEN = 0.05


class Slice(NamedTuple):
    """A DICOM file and its header."""

    file: Path
    header: pydicom.Dataset


def open_dicom(file: Path, **kwargs: Any) -> pydicom.Dataset:
    """Open a DICOM file; ``kwargs`` go to ``pydicom.dcmread``."""
    try:
        return pydicom.dcmread(file, **kwargs)
    except Exception as error:  # pydicom passes on whatever a broken header leads to
        raise ValueError(f"{file.name} is damaged or not a DICOM file ({error}): export it again") from error


def is_dicom(file: Path) -> bool:
    """Tell DICOM files by suffix or preamble; what cannot be opened is none."""
    try:
        return file_format(file) == DICOM
    except OSError:
        return False


def read_header(file: Path) -> pydicom.Dataset:
    """Read what tells the series and the place of a slice, not its pixels."""
    return open_dicom(file, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))


def find_series(files: list[Path]) -> tuple[dict[str, list[Slice]], list[Path]]:
    """Sort DICOM files into series by their headers.

    Files that are no slices of a volume (see :func:`is_slice`) are left out.

    Args:
        files: DICOM files.

    Returns:
        The slices of each SeriesInstanceUID, in the order of ``files``, and the files that cannot be read.
    """
    series: dict[str, list[Slice]] = defaultdict(list)
    damaged = []
    for file in files:
        try:
            header = read_header(file)
        except ValueError:
            damaged.append(file)
            continue
        if is_slice(header):
            series[series_uid(header)].append(Slice(file, header))
    return dict(series), damaged


def is_slice(header: pydicom.Dataset) -> bool:
    """Tell slices from localizers, segmentations, screenshots and files without pixels.

    Files of several frames count, as they are volumes, though none that is read.
    """
    localizer = "LOCALIZER" in (header.get("ImageType") or ())
    placed = "ImagePositionPatient" in header or int(header.get("NumberOfFrames") or 1) > 1
    return "Rows" in header and placed and not localizer and header.get("Modality") != "SEG"


def series_uid(header: pydicom.Dataset) -> str:
    """SeriesInstanceUID, or an empty string."""
    return str(header.get("SeriesInstanceUID") or "")


def series_name(header: pydicom.Dataset) -> str:
    """Name a series by its number and its description, as far as it has them."""
    parts = (header.get("SeriesNumber"), header.get("SeriesDescription"))
    return " ".join(str(part) for part in parts if part not in (None, "")) or "series"


def read_series(path: Path) -> tuple[np.ndarray, dict]:
    """Read a DICOM series.

    Args:
        path: a folder with one series, or one file of a series that lies in its folder beside others.

    Returns:
        The volume, ``(column, row, slice)``, rescaled by each slice's slope and intercept, and its metadata.

    Raises:
        ValueError: when the files are no single volume, or cannot be read.
    """
    # copies of a file count once
    different = {
        (s.header.get("SOPInstanceUID"), str(s.header.get("ImagePositionPatient"))): s for s in series_of(path)
    }
    return read_slices(order(list(different.values())))


def read_slices(slices: list[Slice]) -> tuple[np.ndarray, dict]:
    """Read a volume from the ordered slices of a series, as :func:`read_series` does."""
    first = slices[0].header
    volume = np.empty((int(first.Columns), int(first.Rows), len(slices)), dtype=np.float32, order="F")
    for index, (file, _) in enumerate(slices):
        dataset = open_dicom(file)
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        # of each slice: they differ in PET
        volume[..., index] = dicom_pixels(dataset, file).T * float(slope or 1) + float(intercept or 0)
    return volume, {"original_affine": series_affine([header for _, header in slices])}


def series_of(path: Path) -> list[Slice]:
    """Find the slices of the series that a folder holds, or that a file belongs to."""
    folder = path if path.is_dir() else path.parent
    if path.is_file() and not is_slice(header := read_header(path)):
        raise ValueError(
            f"{path.name} is no slice of a volume (a localizer or a segmentation, or without ImagePositionPatient): "
            "give an image of a CT or MR series"
        )
    files = sorted(f for f in folder.iterdir() if not f.name.startswith(".") and f.is_file() and is_dicom(f))
    series, damaged = find_series(files)
    if damaged:
        logger.warning("%s: %d DICOM files cannot be read, such as %s", folder, len(damaged), damaged[0].name)
    if path.is_file():
        return series[series_uid(header)]
    if not series:
        raise ValueError(f"folder {folder.name} holds no DICOM slices: give the folder of a CT or MR series")
    if len(series) > 1:
        named = [f"{s[0].file.name} of {series_name(s[0].header)!r} ({len(s)} slices)" for s in series.values()]
        raise ValueError(f"folder {folder.name} holds {len(series)} series, give one's file: {', '.join(named)}")
    return next(iter(series.values()))


def order(slices: list[Slice]) -> list[Slice]:
    """Sort slices by their position along their normal, and check that they are one volume."""
    check_common(slices)
    name = series_name(slices[0].header)
    positions = np.array([s.header.ImagePositionPatient for s in slices], dtype=np.float64) @ normal(slices[0].header)
    places = np.argsort(positions, kind="stable")
    slices, positions = [slices[place] for place in places], positions[places]
    gaps = np.diff(positions)
    usual = float(np.median(gaps)) if len(gaps) else 0.0
    doubled = np.flatnonzero(gaps < 1e-3)
    if len(doubled):
        at = doubled[0]
        raise ValueError(
            f"series {name!r} has several slices at {positions[at]:g} mm, such as {slices[at].file.name} and "
            f"{slices[at + 1].file.name} (time points, echoes, diffusion weightings): export each as a series"
        )
    uneven = np.flatnonzero(np.abs(gaps - usual) > EVEN * usual)
    if len(uneven):
        shown = ", ".join(f"{gaps[k]:g} mm between {positions[k]:g} and {positions[k + 1]:g} mm" for k in uneven[:3])
        logger.warning(
            "series %r has %d uneven gaps: %s, the others are of %g mm. Is a slice missing? Distances along the slices "
            "are those of the mean gap, %g mm",
            *(name, len(uneven), shown, usual, gaps.mean()),
        )
    return slices


def check_common(slices: list[Slice]) -> None:
    """Check that slices can be placed, and have size, orientation and spacing in common."""
    first = slices[0]
    name = series_name(first.header)
    for file, header in slices:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise ValueError(f"{file.name} holds {header.NumberOfFrames} frames: convert it to NIfTI (dcm2niix)")
        if int(header.get("SamplesPerPixel") or 1) > 1:
            raise ValueError(f"{file.name} is in colour: give the CT or MR image it was made from")
        missing = [tag for tag in PLACING_TAGS if not header.get(tag)]
        if missing:
            raise ValueError(f"{file.name} lacks {', '.join(missing)}, its place is not known: export the series again")
    for tag in COMMON_TAGS:
        value = np.array(first.header[tag].value, dtype=np.float64)
        others = [s for s in slices if not np.allclose(np.array(s.header[tag].value, float), value, atol=1e-3)]
        if others:
            raise ValueError(
                f"series {name!r} mixes slices: {len(others)} of {len(slices)} have another {tag}, "
                f"{others[0].header[tag].value} in {others[0].file.name} against {first.header[tag].value} in "
                f"{first.file.name}: put each volume into a folder and a series of its own"
            )


def normal(header: pydicom.Dataset) -> np.ndarray:
    """Unit normal of a slice in LPS."""
    along_row, along_column = np.array(header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    return np.cross(along_row, along_column)


def series_affine(headers: list[pydicom.Dataset]) -> np.ndarray:
    """Compute the affine from (column, row, slice) to RAS millimetres.

    Slices follow each other from the first to the last position in equal steps, along the normal or, as with a tilted
    gantry, not. A single slice is as thick as its header says, or 1 mm.

    Args:
        headers: the slices' headers in order.

    Returns:
        4x4 matrix.
    """
    first, last = headers[0], headers[-1]
    affine = dicom_affine(first, [float(value) for value in first.PixelSpacing])
    if len(headers) == 1:
        affine[:3, 2] *= float(next((first.get(tag) for tag in THICKNESS_TAGS if first.get(tag)), 1))
    else:
        step = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient) / (len(headers) - 1)
        affine[:3, 2] = step * [-1, -1, 1]
    return affine
