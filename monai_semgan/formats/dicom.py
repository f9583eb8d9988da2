# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM: files of one image each, and series, a file a slice."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pydicom
from monai.data import MetaTensor
from monai.data.utils import orientation_ras_lps
from PIL import Image

from monai_semgan.formats.picture import srgb
from monai_semgan.formats.registry import Format, format_of, register, stem

try:
    from pydicom.pixels import apply_color_lut, convert_color_space
except ImportError:  # pydicom 2, to which MONAI Label is bound
    from pydicom.pixel_data_handlers.util import apply_color_lut, convert_color_space  # type: ignore[no-redef]

logger = logging.getLogger(__name__)

# pip packages with a decoder, by what the name of a compressed transfer syntax contains
DECODERS = {
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
    "RLE": "pylibjpeg pylibjpeg-rle",
}
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
# what places a slice, and what the slices of a volume have in common
PLACING_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
COMMON_TAGS = ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing")
THICKNESS_TAGS = ("SpacingBetweenSlices", "SliceThickness")
SERIES_TAGS = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SOPInstanceUID", "Modality", "ImageType")
HEADER_TAGS = (
    *SERIES_TAGS,
    "NumberOfFrames",
    "SamplesPerPixel",
    "RescaleIntercept",
    *PLACING_TAGS,
    *COMMON_TAGS,
    *THICKNESS_TAGS,
)
# gaps between slices that differ by less than this fraction are even
EVEN = 0.05


@register
class DICOM(Format):
    """DICOM files of one frame.

    Slope and intercept are applied, MONOCHROME1 is inverted so that bone is bright; YBR and palettes become RGB, which
    is not rescaled. The spacing is PixelSpacing, else ImagerPixelSpacing (at the detector), else
    NominalScannedPixelSpacing.
    """

    name = "dicom"
    suffixes = (".dcm", ".dicom")
    spatial_dims = (2,)

    def recognises(self, path: Path) -> bool:
        """Tell DICOM files by the preamble that their format prescribes."""
        return path.is_file() and has_preamble(path)

    def read(self, path: Path, spatial_dims: int = 2) -> MetaTensor:
        """Read an image, ``(1 or 3, column, row)``."""
        try:
            dataset = pydicom.dcmread(path)
        except (pydicom.errors.InvalidDicomError, OSError, ValueError, EOFError) as error:
            raise ValueError(f"{path.name} is damaged or not a DICOM file ({error}): export it again") from error
        if "PixelData" not in dataset:
            kind = dataset.get("Modality") or "unknown modality"
            raise ValueError(f"{path.name} holds no image ({kind}): give the image's own DICOM file")
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            raise ValueError(f"{path.name} holds {dataset.NumberOfFrames} frames: give one image a file")
        photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        bits = int(dataset.get("BitsAllocated") or 8)
        # YBR_FULL is defined for 8 bits
        if photometric not in (*GREY, *COLOURS) or (photometric.startswith("YBR_FULL") and bits > 8):
            raise ValueError(
                f"{path.name} has colours of the kind {photometric} with {bits} bits: export it as grey values or RGB"
            )
        array = dicom_pixels(dataset, path)
        if photometric in GREY:
            array = array.astype(np.float32)
            array = array * float(dataset.get("RescaleSlope") or 1) + float(dataset.get("RescaleIntercept") or 0)
            if photometric == "MONOCHROME1":
                array = array.max() + array.min() - array
        elif array.dtype == np.uint8:
            array = np.asarray(srgb(Image.fromarray(array), dataset.get("ICCProfile")))
        spacing = next((dataset.get(tag) for tag in SPACING_TAGS if dataset.get(tag)), None)
        affine = dicom_affine(dataset, [float(value) for value in spacing or (1, 1)])
        # (row, column) or (row, column, RGB)
        array = array.T if array.ndim == 3 else array.T[None]
        unit = "pixel" if spacing is None else "mm"
        return self.image(array, path, affine, spacing_unit=unit, file_affine=affine, file_shape=(*array.shape[1:], 1))


def has_preamble(path: Path) -> bool:
    """Tell whether a file starts as DICOM does."""
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_pixels(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Decode the stored grey values ``(row, column)`` or RGB ``(row, column, 3)`` of a file, or say which package can.

    Raises:
        ValueError: when the pixels cannot be decoded.
    """
    try:
        array = dataset.pixel_array
        if dataset.PhotometricInterpretation == "PALETTE COLOR":
            return apply_color_lut(array, dataset)[..., :3]
        # pydicom 3, which has these options, does so by itself
        if dataset.PhotometricInterpretation.startswith("YBR_FULL") and not hasattr(dataset, "pixel_array_options"):
            return convert_color_space(array, "YBR_FULL", "RGB")
        return array
    except Exception as error:  # the decoders are plug-ins and raise what they like
        syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
        missing = "missing" in str(error) or isinstance(error, NotImplementedError)
        if syntax is not None and syntax.is_compressed and missing:
            packages = next((names for text, names in DECODERS.items() if text in syntax.name), None)
            mend = f"pip install {packages}" if packages else "export it uncompressed"
            raise ValueError(f"{path.name} is compressed as {syntax.name}, no decoder is installed: {mend}") from error
        cause = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ValueError(f"pixels of {path.name} are damaged ({cause}): export it again") from error


def dicom_affine(dataset: pydicom.Dataset, spacing: Sequence[float]) -> np.ndarray:
    """Compute the affine from (column, row, 0) to RAS millimetres (DICOM PS3.3, C.7.6.2.1.1).

    An image without orientation or position gets x along the rows, y along the columns and the origin of the
    patient's system, as ITK does, so that its mask lies over it in viewers.

    Args:
        dataset: the DICOM file's content.
        spacing: distance between rows, distance between columns, in millimetres.
    """
    orientation = dataset.get("ImageOrientationPatient") or (1, 0, 0, 0, 1, 0)
    along_row, along_column = np.array([float(value) for value in orientation]).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0] = along_row * spacing[1]
    affine[:3, 1] = along_column * spacing[0]
    affine[:3, 2] = np.cross(along_row, along_column)
    affine[:3, 3] = [float(value) for value in dataset.get("ImagePositionPatient") or (0, 0, 0)]
    return orientation_ras_lps(affine)


class Slice(NamedTuple):
    """A DICOM file and its header."""

    file: Path
    header: pydicom.Dataset


@register
class DICOMSeries(Format):
    """DICOM series: a folder with the slices of one series, or one slice, which stands for all of its series there.

    Slices are sorted by position and rescaled to Hounsfield units (slope and intercept). Uneven gaps, as a missing
    slice leaves, give a warning.
    """

    name = "dicom_series"
    suffixes = (".dcm", ".dicom")
    spatial_dims = (3,)

    def recognises(self, path: Path) -> bool:
        """Take folders, and files with the preamble that DICOM prescribes."""
        return path.is_dir() or (path.is_file() and has_preamble(path))

    def read(self, path: Path, spatial_dims: int = 3) -> MetaTensor:
        """Read a volume; of CT with ``intensity_scale`` "hu" where the slices say how they are rescaled."""
        # copies of a file count once
        different = {
            (s.header.get("SOPInstanceUID"), str(s.header.get("ImagePositionPatient"))): s for s in series_of(path)
        }
        slices = order(list(different.values()))
        array, affine = read_slices(slices)
        # CT that is not rescaled may have gone through a window
        units = all(s.header.get("Modality") == "CT" and s.header.get("RescaleIntercept") for s in slices)
        return self.volume(array, path, affine, **({"intensity_scale": "hu"} if units else {}))

    def gather(self, files: list[Path], root: Path) -> Iterator[tuple[Path, str]]:
        """Give the series of a folder, and the files that cannot be read.

        Each series is its folder, or, where that holds several, its first file, with its number and description in the
        name. Localizers, segmentations and screenshots are passed over.
        """
        series, damaged = find_series(files)
        for slices in series.values():
            file, header = slices[0]
            folder = file.parent.relative_to(root)
            alone = len(series) == 1
            name = Path(root.resolve().name) if folder == Path() and alone else folder
            if not alone:
                name /= re.sub(r"[^\w.+-]+", "_", series_name(header))
            yield (file.parent if alone else file), name.as_posix()
        for file in damaged:
            yield file, (file.parent.relative_to(root) / stem(file)).as_posix()


def open_dicom(file: Path, **kwargs: Any) -> pydicom.Dataset:
    """Open a DICOM file; ``kwargs`` go to ``pydicom.dcmread``."""
    try:
        return pydicom.dcmread(file, **kwargs)
    except Exception as error:  # pydicom passes on whatever a broken header leads to
        raise ValueError(f"{file.name} is damaged or not a DICOM file ({error}): export it again") from error


def is_dicom(file: Path) -> bool:
    """Tell DICOM files by suffix or preamble; what cannot be opened is none."""
    with suppress(OSError):
        return isinstance(format_of(file, 3), DICOMSeries)
    return False


def read_header(file: Path) -> pydicom.Dataset:
    """Read what tells the series and the place of a slice, not its pixels."""
    return open_dicom(file, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))


def find_series(files: list[Path]) -> tuple[dict[str, list[Slice]], list[Path]]:
    """Sort the slices among DICOM files (see :func:`is_slice`) into series; beside them the files that cannot be read.

    The series, by SeriesInstanceUID, and their slices are in the order of the files.
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


def read_slices(slices: list[Slice]) -> tuple[np.ndarray, np.ndarray]:
    """Read the volume ``(column, row, slice)`` of ordered slices, each rescaled by its own slope, and its affine.

    Raises:
        ValueError: when the pixels of a slice cannot be decoded.
    """
    first = slices[0].header
    volume = np.empty((int(first.Columns), int(first.Rows), len(slices)), dtype=np.float32, order="F")
    for index, (file, _) in enumerate(slices):
        dataset = open_dicom(file)
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        # of each slice: they differ in PET
        volume[..., index] = dicom_pixels(dataset, file).T * float(slope or 1) + float(intercept or 0)
    return volume, series_affine([header for _, header in slices])


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
    """Compute the affine from (column, row, slice) to RAS millimetres, of the headers in order.

    Slices follow each other from the first to the last position in equal steps, along the normal or, as with a tilted
    gantry, not. A single slice is as thick as its header says, or 1 mm.
    """
    first, last = headers[0], headers[-1]
    affine = dicom_affine(first, [float(value) for value in first.PixelSpacing])
    if len(headers) == 1:
        affine[:3, 2] *= float(next((first.get(tag) for tag in THICKNESS_TAGS if first.get(tag)), 1))
    else:
        step = np.subtract(last.ImagePositionPatient, first.ImagePositionPatient) / (len(headers) - 1)
        affine[:3, 2] = step * [-1, -1, 1]
    return affine
