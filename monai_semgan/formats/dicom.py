# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM files of one image each, and how pixels of DICOM become grey values (PS3.3 C.7.6 to C.11, PS3.4 N.2)."""

from __future__ import annotations

import re
import warnings as python_warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from monai.data import MetaTensor
from monai.data.utils import orientation_ras_lps
from PIL import Image
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from scipy import ndimage
from skimage.draw import polygon2mask

from monai_semgan.formats.picture import srgb
from monai_semgan.formats.registry import Format, Found, Outside, place_of, register, text_of, without_padding

try:
    from pydicom.encaps import generate_frames

    FRAMES_NAME = "number_of_frames"
    from pydicom.pixels import apply_color_lut, apply_modality_lut, apply_voi, apply_windowing, convert_color_space
except ImportError:  # pydicom 2, to which MONAI Label is bound
    from pydicom.encaps import generate_pixel_data_frame as generate_frames  # type: ignore[no-redef]
    from pydicom.pixel_data_handlers.util import (  # type: ignore[no-redef]
        apply_color_lut,
        apply_modality_lut,
        apply_voi,
        apply_windowing,
        convert_color_space,
    )

    FRAMES_NAME = "nr_frames"

# pip packages with a decoder, by what the name of a compressed transfer syntax contains
DECODERS = {
    "JPEG 2000": "pylibjpeg pylibjpeg-openjpeg",
    "High-Throughput": "pylibjpeg pylibjpeg-openjpeg",
    "JPEG": "pylibjpeg pylibjpeg-libjpeg",
    "RLE": "pylibjpeg pylibjpeg-rle",
}
SPACING_TAGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
# what names of elements begin with that are of whole numbers and of floating point
FLOATS = ("", "Float", "DoubleFloat")
GREY = ("MONOCHROME1", "MONOCHROME2")
COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "PALETTE COLOR")
# objects with or without pixels that are no image: reports, presentation states, key object selections, plans, ...
NO_IMAGES = (
    *("SR", "PR", "KO", "DOC", "REG", "FID", "SEG", "PLAN", "ECG", "HD", "AU", "SMR", "STAIN", "ANN", "M3D", "OPTENF"),
    *("RTDOSE", "RTPLAN", "RTRECORD", "RTSTRUCT", "RTSEGANN", "RTINTENT", "RWV"),
)
# what an image is of, as far as its file says so
CLAIMS = ("Modality", "BodyPartExamined", "ViewPosition")
SHUTTERS = ("Shutter", "Collimator")
# in the patient's system, LPS, by the letters of PatientOrientation
DIRECTIONS = {"L": (1, 0, 0), "R": (-1, 0, 0), "P": (0, 1, 0), "A": (0, -1, 0), "H": (0, 0, 1), "F": (0, 0, -1)}
# characters that are told of why pixels cannot be decoded
CAUSE = 150
# share of an image's pixels that a window has to leave apart, and that a shutter has to leave open
SHOWN, OPEN = 0.25, 0.1
# elements of the groups 0002 and 0008 that a file without preamble may begin with, and the length of a text in them
TEXT = 128
FIRST_ELEMENTS = (0x0000, 0x0001, 0x0002, 0x0005, 0x0006, 0x0008, 0x0010, 0x0012, 0x0013, 0x0014, 0x0016, 0x0018)


@register
class DICOM(Format):
    """DICOM files of one frame, as PS3.4 N.2 has them displayed.

    Grey values go through Modality LUT or rescale, VOI LUT or window, and are inverted for MONOCHROME1 and the
    presentation LUT shape INVERSE. Padding and what shutters hide becomes black and ``outside``. YBR and palettes
    become RGB. The spacing is PixelSpacing, else ImagerPixelSpacing (at the detector), else NominalScannedPixelSpacing.
    The image lies as ImageOrientationPatient says, else PatientOrientation.
    """

    name = "dicom"
    suffixes = (".dcm", ".dicom", ".ima")
    signatures = ((128, b"DICM"),)
    spatial_dims = (2,)

    def recognises(self, path: Path) -> bool:
        """Tell DICOM files that lack the preamble."""
        return path.is_file() and begins_with_elements(path)

    def gather(self, files: list[Path], root: Path) -> Iterator[Found]:
        """Tell images from objects that are none, such as structured reports."""
        for file in files:
            try:
                header = open_dicom(file, stop_before_pixels=True, specific_tags=["Modality", "Rows", "SOPClassUID"])
            except (ValueError, OSError):
                # reading it will say why
                yield Found(file, place_of(file, root))
            else:
                yield Found(file, place_of(file, root), skipped=no_image(header, file) or "")

    def read(self, path: Path, spatial_dims: int = 2) -> MetaTensor:
        """Read an image, ``(1 or 3, column, row)``."""
        dataset = open_dicom(path)
        name = text_of(path.name)
        if not any(f"{kind}PixelData" in dataset for kind in FLOATS):
            # a file that ends within its pixels may be read without any of its elements
            header = open_dicom(path, stop_before_pixels=True, specific_tags=["Modality", "Rows"])
            if no_image(header, path) is None:
                raise ValueError(f"{name} has no pixels, or is cut off within them: export it again")
            kind = header.get("Modality") or "unknown modality"
            raise ValueError(f"{name} holds no image ({kind}): give the image's own DICOM file")
        if int(dataset.get("NumberOfFrames") or 1) > 1:
            raise ValueError(f"{name} holds {dataset.NumberOfFrames} frames: give one image a file")
        photometric = str(dataset.get("PhotometricInterpretation", "MONOCHROME2"))
        bits = int(dataset.get("BitsAllocated") or 8)
        # YBR_FULL is defined for 8 bits
        if photometric not in (*GREY, *COLOURS) or (photometric.startswith("YBR_FULL") and bits > 8):
            raise ValueError(
                f"{name} has colours of the kind {photometric} with {bits} bits: export it as grey values or RGB"
            )
        array = dicom_pixels(dataset, path)
        told: list[str] = []
        outside = ~shutter(dataset, array.shape[:2], told)
        if photometric in GREY:
            if any(f"{kind}PixelPaddingValue" in dataset for kind in FLOATS):
                outside |= at_the_border(padding(dataset, array))
            elif (found := without_padding(array))[1] is not None:
                outside |= found[1].values
                told += found[2]
            if outside.all():
                raise ValueError(f"{name} holds nothing but padding, or all is behind its shutter: export it again")
            array = displayed_values(dataset, array, ~outside, told)
        elif array.dtype == np.uint8:
            array = np.asarray(srgb(Image.fromarray(array), dataset.get("ICCProfile")))
        if outside.any():
            array = np.where(outside if array.ndim == 2 else outside[..., None], array[~outside].min(), array)
        spacing = pixel_spacing(dataset, told)
        affine = dicom_affine(dataset, spacing or (1, 1))
        shown = displayed_affine(dataset, affine, spacing or (1, 1), told)
        # (row, column) or (row, column, RGB)
        array = array.T if array.ndim == 3 else array.T[None]
        return self.image(
            array,
            path,
            shown,
            spacing_unit="pixel" if spacing is None else "mm",
            file_affine=affine,
            file_shape=(*array.shape[1:], 1),
            warnings=told,
            patient=patient_of(dataset),
            outside=Outside(outside.T) if outside.any() else None,
            claims=claims_of(dataset),
        )


def begins_with_elements(path: Path) -> bool:
    """Tell whether a file begins with an element of DICOM, as files without the preamble do (PS3.10, 7.1)."""
    with path.open("rb") as file:
        head = file.read(8 + TEXT)
    for order in ("little", "big"):
        group, element = (int.from_bytes(head[at : at + 2], order) for at in (0, 2))  # type: ignore[arg-type]
        if len(head) > 8 and group in (0x0002, 0x0008) and element in FIRST_ELEMENTS:
            if re.fullmatch(rb"UL|UI|CS|DA|TM|OB", head[4:6]):
                return True
            # without a representation: a length, then a number of 4 bytes or a text
            length = int.from_bytes(head[4:8], order)  # type: ignore[arg-type]
            text = re.fullmatch(rb"[\x20-\x7e]+\0?", head[8 : 8 + length]) is not None
            return length == 4 if element in (0x0000, 0x0001) else 0 < length <= TEXT and text
    return False


def open_dicom(file: Path, **kwargs: Any) -> pydicom.Dataset:
    """Open a DICOM file, with or without preamble; ``kwargs`` go to ``pydicom.dcmread``.

    Raises:
        ValueError: when it is damaged or no DICOM file.
    """
    try:
        with python_warnings.catch_warnings():
            # values that break their representation, which every export has
            python_warnings.simplefilter("ignore", UserWarning)
            dataset = pydicom.dcmread(file, force=begins_with_elements(file), **kwargs)
    except PermissionError:
        raise
    except Exception as error:  # pydicom passes on whatever a broken header leads to
        raise ValueError(f"{text_of(file.name)} is damaged or not a DICOM file ({error}): export it again") from error
    meta = dataset.file_meta
    if "TransferSyntaxUID" not in meta:
        implicit, little = dataset.original_encoding if hasattr(dataset, "original_encoding") else (True, True)
        explicit = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else explicit
    return dataset


def no_image(header: pydicom.Dataset, file: Path) -> str | None:
    """Tell why a DICOM object is no image; None if it may be one."""
    modality = str(header.get("Modality") or "")
    if "Rows" in header and modality not in NO_IMAGES:
        return None
    return f"{text_of(file.name)} is no image ({modality or 'without pixels'}): passed over"


def patient_of(dataset: pydicom.Dataset) -> str:
    """PatientID, or an empty string."""
    return str(dataset.get("PatientID") or "").strip()


def claims_of(dataset: pydicom.Dataset) -> dict[str, str]:
    """What an object says that it is, by attribute."""
    return {tag: str(dataset.get(tag)) for tag in CLAIMS if dataset.get(tag)}


def dicom_pixels(dataset: pydicom.Dataset, path: Path) -> np.ndarray:
    """Decode the stored grey values ``(row, column)`` or RGB ``(row, column, 3)`` of a file, or say which package can.

    Several frames come first. Overlays in bits that the values do not use are left out (PS3.5, 8.1.2).

    Raises:
        ValueError: when the pixels cannot be decoded, or are cut off.
    """
    name = text_of(path.name)
    try:
        check_complete(dataset)
        array = stored_values(dataset)
        if dataset.get("PhotometricInterpretation") == "PALETTE COLOR":
            return apply_color_lut(array, dataset)[..., :3]
        # pydicom 3, which has these options, does so by itself
        is_ybr = str(dataset.get("PhotometricInterpretation")).startswith("YBR_FULL")
        if is_ybr and not hasattr(dataset, "pixel_array_options"):
            return convert_color_space(array, "YBR_FULL", "RGB")
        return array
    except Exception as error:  # the decoders are plug-ins and raise what they like
        syntax = getattr(dataset, "file_meta", {}).get("TransferSyntaxUID")
        missing = "missing" in str(error) or isinstance(error, NotImplementedError)
        if syntax is not None and syntax.is_compressed and missing:
            packages = next((names for text, names in DECODERS.items() if text in syntax.name), None)
            mend = f"pip install {packages}" if packages else "export it uncompressed"
            raise ValueError(f"{name} is compressed as {syntax.name}, no decoder is installed: {mend}") from error
        cause = " ".join(str(error).split())[:CAUSE] or type(error).__name__
        raise ValueError(f"pixels of {name} are damaged ({cause}): export it again") from error


def check_complete(dataset: pydicom.Dataset) -> None:
    """Refuse a codestream of JPEG's family that ends early: decoders fill what is gone, and say nothing.

    All of JPEG, JPEG-LS (ISO 10918-1, 14495-1) and JPEG 2000 (ISO 15444-1) end with the marker FFD9, which cannot occur
    within their coded data.

    Raises:
        ValueError: when the marker is missing.
    """
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_compressed or not any(kind in syntax.name for kind in ("JPEG", "High-Throughput")):
        return
    number = int(dataset.get("NumberOfFrames") or 1)
    # the argument has another name in pydicom 2
    settings: dict[str, Any] = {FRAMES_NAME: number}
    frames: Iterator[bytes] = generate_frames(dataset.PixelData, **settings)
    for index, frame in enumerate(frames, 1):
        # the last fragment may be padded
        if b"\xff\xd9" not in bytes(frame).rstrip(b"\0")[-16:]:
            of = f" of frame {index}" if number > 1 else ""
            raise ValueError(f"the codestream{of} is cut off, it has no end marker FFD9")


def stored_values(dataset: pydicom.Dataset) -> np.ndarray:
    """Decode the values in the bits from HighBit down, BitsStored of them; without overlays in the others (PS3.5, 8.1).

    Where the file names no overlay but other bits are used, they are either the image's, whose BitsStored is wrong, or
    an overlay whose description was taken out: whichever has fewer jumps.
    """
    if "PhotometricInterpretation" not in dataset and int(dataset.get("SamplesPerPixel") or 1) == 1:
        dataset.PhotometricInterpretation = "MONOCHROME2"
    allocated = int(dataset.get("BitsAllocated") or 8)
    used = int(dataset.get("BitsStored") or allocated)
    low = int(dataset.get("HighBit") or used - 1) + 1 - used
    if used >= allocated or allocated > 32 or low < 0 or dataset.file_meta.TransferSyntaxUID.is_compressed:
        return dataset.pixel_array
    # pydicom would clear the upper bits, whichever are used
    dataset.BitsStored, dataset.HighBit = allocated, allocated - 1
    array = dataset.pixel_array
    dataset.BitsStored, dataset.HighBit = used, used - 1 + low
    if array.dtype.kind == "i":
        cut = (array << (allocated - used - low)) >> (allocated - used)
    else:
        cut = (array >> low) & array.dtype.type(2**used - 1)
    if low or has_overlay_bits(dataset) or np.array_equal(cut, array):
        return cut
    # values that are cut jump by all that they can, as overlays do
    jumps = [(np.abs(np.diff(values.astype(np.int64), axis=-1)) >= 2 ** (used - 1)).sum() for values in (cut, array)]
    return cut if jumps[0] <= jumps[1] else array


def has_overlay_bits(dataset: pydicom.Dataset) -> bool:
    """Tell whether the file says that bits of the pixels are an overlay (C.9.2)."""
    groups = [group for group in range(0x6000, 0x6020, 2) if (group, 0x0102) in dataset]
    return any(int(dataset[group, 0x0102].value or 0) > 0 and (group, 0x3000) not in dataset for group in groups)


def padding(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Find stored values from PixelPaddingValue to PixelPaddingRangeLimit, which are no intensities (C.7.5.1.1.2)."""
    prefix = "" if stored.dtype.kind in "ui" else "Float" if stored.dtype == np.float32 else "DoubleFloat"
    value = number(dataset.get(f"{prefix}PixelPaddingValue"))
    if value is None:
        return np.zeros(stored.shape, dtype=bool)
    limit = number(dataset.get(f"{prefix}PixelPaddingRangeLimit"))
    ends = sorted((value, value if limit is None else limit))
    if stored.dtype.kind in "ui":
        # written as if unsigned, or signed, as the file's own values are not
        span, least, most = 2 ** (8 * stored.dtype.itemsize), np.iinfo(stored.dtype).min, np.iinfo(stored.dtype).max
        ends = sorted(end - span if end > most else end + span if end < least else end for end in ends)
        used = 2 ** int(dataset.get("BitsStored") or 8 * stored.dtype.itemsize)
        if least == 0 and stored.max() < used:
            # all bits of 16, where fewer are stored
            ends = [end % used for end in ends]
    return (stored >= ends[0]) & (stored <= ends[1])


def at_the_border(pixels: np.ndarray) -> np.ndarray:
    """Keep the pieces that touch the image's border: single pixels within a body that have padding's value are body."""
    if not pixels.any():
        return pixels
    pieces, _ = ndimage.label(pixels)
    outer = np.unique(np.concatenate([pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1]]))
    return np.isin(pieces, outer[outer > 0])


def shutter(dataset: pydicom.Dataset, shape: tuple[int, ...], told: list[str]) -> np.ndarray:
    """Find the pixels that display shutter (C.7.6.11) and collimator (C.8.7.3) leave open.

    Args:
        dataset: the DICOM file's content.
        shape: rows and columns.
        told: takes a warning about a shutter that hides nearly all.

    Returns:
        Booleans of the shape.
    """
    opened = np.ones(shape, dtype=bool)
    if not any(dataset.get(f"{kind}Shape") for kind in SHUTTERS):
        return opened
    rows, columns = (axis + 1 for axis in np.indices(shape))
    for kind in SHUTTERS:
        shapes = dataset.get(f"{kind}Shape") or ()
        shapes = {shapes} if isinstance(shapes, str) else set(shapes)
        inside = opened.copy()
        try:
            if "RECTANGULAR" in shapes:
                left, right, upper, lower = (
                    int(dataset.get(f"{kind}{edge}Edge"))  # type: ignore[arg-type]
                    for edge in ("LeftVertical", "RightVertical", "UpperHorizontal", "LowerHorizontal")
                )
                inside &= (left <= columns) & (columns <= right) & (upper <= rows) & (rows <= lower)
            if "CIRCULAR" in shapes:
                row, column = (int(value) for value in dataset[f"CenterOfCircular{kind}"].value)
                radius = int(dataset[f"RadiusOfCircular{kind}"].value)
                inside &= (rows - row) ** 2 + (columns - column) ** 2 <= radius**2
            if "POLYGONAL" in shapes:
                corners = np.array(dataset[f"VerticesOfThePolygonal{kind}"].value, dtype=float).reshape(-1, 2) - 1
                inside &= polygon2mask(shape, corners)
        except (KeyError, TypeError, ValueError):
            told.append(f"{kind}Shape {', '.join(sorted(shapes))} lacks its edges: not applied")
            continue
        if inside.mean() < OPEN:
            told.append(f"{kind}Shape {', '.join(sorted(shapes))} leaves {inside.mean():.0%} of the image: not applied")
            continue
        opened = inside
    return opened


def displayed_values(dataset: pydicom.Dataset, stored: np.ndarray, inside: np.ndarray, told: list[str]) -> np.ndarray:
    """Bring stored grey values to those that a screen shows, the larger the brighter (PS3.4 N.2).

    Args:
        dataset: the DICOM file's content.
        stored: values ``(row, column)``.
        inside: which of them are intensities.
        told: takes warnings.

    Returns:
        Grey values, in no unit.
    """
    values = voi_values(dataset, modality_values(dataset, stored), inside, told)
    return inverted(values, inside) if is_inverted(dataset) else values


def is_inverted(dataset: pydicom.Dataset) -> bool:
    """Tell whether the smallest values are shown white; MONOCHROME1 and INVERSE say so once, together or alone."""
    return dataset.get("PhotometricInterpretation") == "MONOCHROME1" or dataset.get("PresentationLUTShape") == "INVERSE"


def inverted(values: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Turn values over between their extremes."""
    shown = values[inside]
    return shown.max() + shown.min() - values


def modality_values(dataset: pydicom.Dataset, stored: np.ndarray) -> np.ndarray:
    """Apply the Modality LUT Sequence, or slope and intercept (C.11.1)."""
    tables = dataset.get("ModalityLUTSequence")
    if tables:
        module = pydicom.Dataset()
        module.ModalityLUTSequence = [lookup_table(tables[0], bool(stored.min() < 0))]
        # pydicom looks up in the type that it is given
        return apply_modality_lut(stored.astype(np.int64), module).astype(np.float32)
    slope, intercept = number(dataset.get("RescaleSlope")), number(dataset.get("RescaleIntercept"))
    return stored.astype(np.float32) * (slope or 1) + (intercept or 0)


def voi_values(dataset: pydicom.Dataset, values: np.ndarray, inside: np.ndarray, told: list[str]) -> np.ndarray:
    """Apply the first VOI LUT, or else the first window that leaves enough of the image apart (C.11.2)."""
    module = pydicom.Dataset()
    tables = dataset.get("VOILUTSequence")
    if tables:
        try:
            module.VOILUTSequence = [lookup_table(tables[0], bool(values.min() < 0))]
        except (ValueError, KeyError, AttributeError) as error:
            told.append(f"its VOI LUT is damaged ({error}): not applied")
        else:
            return apply_voi(np.rint(values).astype(np.int64), module).astype(np.float32)
    windows = list(zip(numbers(dataset.get("WindowCenter")), numbers(dataset.get("WindowWidth"))))
    function = str(dataset.get("VOILUTFunction") or "LINEAR").upper()
    module.VOILUTFunction = function if function in ("LINEAR_EXACT", "SIGMOID") else "LINEAR"
    module.PhotometricInterpretation, module.BitsStored, module.PixelRepresentation = "MONOCHROME2", 16, 0
    for centre, width in windows:
        apart = (values > centre - width / 2) & (values < centre + width / 2) & inside
        if width < (1 if module.VOILUTFunction == "LINEAR" else 1e-6) or apart.sum() < SHOWN * inside.sum():
            continue
        module.WindowCenter, module.WindowWidth = f"{centre:.10g}", f"{width:.10g}"
        return apply_windowing(values.astype(np.float64), module)
    if windows:
        shown = ", ".join(f"{centre:g} (width {width:g})" for centre, width in windows)
        told.append(f"its window at {shown} shows next to nothing of the image: not applied")
    return values


def lookup_table(item: pydicom.Dataset, signed: bool) -> pydicom.Dataset:
    """Rewrite a LUT with the type and the length that its descriptor tells, as pydicom takes it.

    Args:
        item: LUTDescriptor and LUTData.
        signed: whether the values to be looked up are.

    Raises:
        ValueError: when entries are missing.
    """
    entries, first = (int(value) for value in item.LUTDescriptor[:2])
    entries = entries % 2**16 or 2**16
    # its representation is that of the values, which not all writers keep to
    first = (first + 2**15) % 2**16 - 2**15 if signed else first % 2**16
    data = item.LUTData
    table = np.frombuffer(data, "<u2") if isinstance(data, bytes) else np.atleast_1d(data).astype(np.int64) % 2**16
    if len(table) < entries <= 2 * len(table):
        # two entries of 8 bits a word
        table = table.astype("<u2").view(np.uint8)
    if len(table) < entries:
        raise ValueError(f"{len(table)} of {entries} entries")
    clean = pydicom.Dataset()
    clean.add_new("LUTDescriptor", "SS" if first < 0 else "US", [entries % 2**16, first, 16])
    clean.add_new("LUTData", "US", table[:entries].tolist())
    return clean


def numbers(value: Any) -> list[float]:
    """Read the numbers of an element of any multiplicity; what is none ends them."""
    values = [] if value in (None, "") else [value] if isinstance(value, (str, int, float)) else list(value)
    found = []
    for one in values:
        try:
            found.append(float(one))
        except (TypeError, ValueError):
            break
    return [one for one in found if np.isfinite(one)]


def number(value: Any) -> float | None:
    """Read the first number of an element; None if it has none."""
    return next(iter(numbers(value)), None)


def pixel_spacing(dataset: pydicom.Dataset, told: list[str]) -> list[float] | None:
    """Distances between rows and between columns in millimetres; None, with a warning, where they are not known."""
    wrong = []
    for tag in SPACING_TAGS:
        spacing = numbers(dataset.get(tag))
        if len(spacing) == 2 and min(spacing) > 0:
            return spacing
        if dataset.get(tag) not in (None, ""):
            wrong.append(f"{tag} is {text_of_value(dataset.get(tag))}")
    told.append(f"the size of its pixels is unknown ({', '.join(wrong) or 'no ' + ', '.join(SPACING_TAGS)})")
    return None


def text_of_value(value: Any) -> str:
    """Write an element's value as DICOM does."""
    return str(value) if isinstance(value, (str, int, float)) else "\\".join(str(one) for one in value)


def dicom_affine(dataset: pydicom.Dataset, spacing: Sequence[float]) -> np.ndarray:
    """Compute the affine from (column, row, 0) to RAS millimetres (DICOM PS3.3, C.7.6.2.1.1).

    An image without orientation or position gets x along the rows, y along the columns and the origin of the
    patient's system, as ITK does, so that its mask lies over it in viewers.

    Args:
        dataset: the DICOM file's content.
        spacing: distance between rows, distance between columns, in millimetres.
    """
    along_row, along_column = directions(dataset) or np.eye(3)[:2]
    position = numbers(dataset.get("ImagePositionPatient"))
    affine = np.eye(4)
    affine[:3, 0] = along_row * spacing[1]
    affine[:3, 1] = along_column * spacing[0]
    affine[:3, 2] = np.cross(along_row, along_column)
    affine[:3, 3] = position if len(position) == 3 else 0
    return orientation_ras_lps(affine)


def directions(dataset: pydicom.Dataset) -> tuple[np.ndarray, np.ndarray] | None:
    """Unit vectors along the rows and along the columns, in LPS, of ImageOrientationPatient; None if it has none."""
    orientation = numbers(dataset.get("ImageOrientationPatient"))
    if len(orientation) != 6:
        return None
    along_row, along_column = np.array(orientation).reshape(2, 3)
    unit = np.allclose([np.linalg.norm(along_row), np.linalg.norm(along_column)], 1, atol=0.01)
    return (along_row, along_column) if unit and abs(along_row @ along_column) < 0.01 else None


def displayed_affine(
    dataset: pydicom.Dataset, affine: np.ndarray, spacing: Sequence[float], told: list[str]
) -> np.ndarray:
    """The affine by which an image is brought upright: that of PatientOrientation where the file has no other.

    Projection images have no ImageOrientationPatient; PatientOrientation tells where rows and columns run to by the
    letters of L, R, A, P, H and F, the main direction first (C.7.6.1.1.1).
    """
    words = dataset.get("PatientOrientation") or ()
    words = words.split("\\") if isinstance(words, str) else [str(word) for word in words]
    if directions(dataset) is not None or not any(words):
        return affine
    plane = np.array([DIRECTIONS.get(word.strip().upper()[:1], (0, 0, 0)) for word in words], dtype=float)
    if len(plane) != 2 or not np.cross(plane[0], plane[1]).any():
        told.append(f"PatientOrientation is {text_of_value(words)}, which says nothing: taken as upright")
        return affine
    shown = np.eye(4)
    shown[:3, :3] = np.array([*plane, np.cross(plane[0], plane[1])]).T * [spacing[1], spacing[0], 1]
    return orientation_ras_lps(shown)
