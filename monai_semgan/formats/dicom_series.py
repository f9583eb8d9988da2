# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""DICOM series: the slices of a volume, a file or a frame each, put where they lie in the patient."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress
from os.path import commonpath
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom
from monai.data import MetaTensor

from monai_semgan.formats.dicom import (
    CLAIMS,
    begins_with_elements,
    claims_of,
    dicom_affine,
    dicom_pixels,
    directions,
    is_inverted,
    modality_values,
    numbers,
    open_dicom,
    padding,
    patient_of,
    text_of_value,
)
from monai_semgan.formats.registry import Format, Found, Outside, format_of, place_of, register, text_of

# what places a slice, and what the slices of a volume have in common
PLACING_TAGS = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
COMMON_TAGS = ("Rows", "Columns", "ImageOrientationPatient", "PixelSpacing")
THICKNESS_TAGS = ("SpacingBetweenSlices", "SliceThickness")
# what single slices that belong together have in common besides
ALIKE_TAGS = ("PatientID", "Modality", "SeriesNumber", "SeriesDescription", "ImageType")
SERIES_TAGS = ("SeriesInstanceUID", "SeriesNumber", "SeriesDescription", "SOPInstanceUID", "Modality", "ImageType")
# what tells volumes of one series apart: phases, time points, echoes, stations
SPLITTING_TAGS = (
    *("AcquisitionNumber", "TemporalPositionIdentifier", "EchoNumbers", "EchoTime", "DiffusionBValue", "StackID"),
    *("InversionTime", "TriggerTime", "ImageType", "KVP", "ConvolutionKernel", "SeriesNumber", "SeriesDescription"),
    *("ContrastBolusAgent", "AcquisitionDateTime", "AcquisitionTime", "ContentTime"),
)
# those that may differ within one volume of MR, whose slices are not acquired in the order of their places
TIME_TAGS = ("AcquisitionDateTime", "AcquisitionTime", "ContentTime")
FRAME_TAGS = ("NumberOfFrames", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
HEADER_TAGS = (
    *SERIES_TAGS,
    *FRAME_TAGS,
    *("SamplesPerPixel", "PatientID", "InstanceNumber", "PhotometricInterpretation", "PresentationLUTShape"),
    *CLAIMS,
    *("RescaleSlope", "RescaleIntercept"),
    *PLACING_TAGS,
    *COMMON_TAGS,
    *THICKNESS_TAGS,
    *SPLITTING_TAGS,
)
# elements of a frame of an enhanced object, by the functional group that holds them (C.7.6.16)
FRAME_GROUPS = {
    "PlanePositionSequence": {"ImagePositionPatient": "ImagePositionPatient"},
    "PlaneOrientationSequence": {"ImageOrientationPatient": "ImageOrientationPatient"},
    "PixelMeasuresSequence": {
        "PixelSpacing": "PixelSpacing",
        "SliceThickness": "SliceThickness",
        "SpacingBetweenSlices": "SpacingBetweenSlices",
    },
    "PixelValueTransformationSequence": {"RescaleSlope": "RescaleSlope", "RescaleIntercept": "RescaleIntercept"},
    "FrameContentSequence": {
        "FrameAcquisitionNumber": "AcquisitionNumber",
        "TemporalPositionIndex": "TemporalPositionIdentifier",
        "StackID": "StackID",
    },
    "MREchoSequence": {"EffectiveEchoTime": "EchoTime"},
    "MRDiffusionSequence": {"DiffusionBValue": "DiffusionBValue"},
    "CTImageFrameTypeSequence": {"FrameType": "ImageType"},
    "MRImageFrameTypeSequence": {"FrameType": "ImageType"},
}
# those of volumes that are read, as bundles call them
MODALITIES = {"CT": "ct", "MR": "mri"}
AIR = -1000.0
# gaps between slices that differ by less than this fraction are even; slices further from where they belong, as a
# fraction of the gap, are of no one volume
EVEN, UNEVEN = 0.05, 0.25
# share of slices that may be missing
MISSING = 0.2
# pixels that slices may lie beside the line of the others until it is told, pixels and mm until they are refused
BESIDE, ASTRAY, ASTRAY_MM = 0.5, 2.0, 5.0
# slices of a run by InstanceNumber that is a volume
RUN = 3
# share of the body that volumes within each other reach through
MOST = 2 / 3
# degrees from which slices are not stacked along their normal
TILT = 0.5


class Slice(NamedTuple):
    """A DICOM file and its header, or one frame of a file and what its header would be."""

    file: Path
    header: pydicom.Dataset
    frame: int | None = None


class Stack(NamedTuple):
    """Slices in order, and where they lie.

    Attributes:
        slices: from the first to the last along the normal.
        places: index of each in the volume; indices that none has are of missing slices.
        affine: from (column, row, index) to RAS millimetres.
        told: warnings.
    """

    slices: list[Slice]
    places: list[int]
    affine: np.ndarray
    told: list[str]


@register
class DICOMSeries(Format):
    """DICOM series: a folder with the slices of one series, or one slice, which stands for all of its volume there.

    Slices are sorted by position and rescaled (to Hounsfield units in CT), those of MR in MONOCHROME1 inverted. The
    place of a missing slice stays empty, padding becomes air or background; both are ``outside``. Phases, echoes and
    stations in one series are volumes of their own. Frames of enhanced objects are slices.
    """

    name = "dicom_series"
    suffixes = (".dcm", ".dicom", ".ima")
    signatures = ((128, b"DICM"),)
    spatial_dims = (3,)

    def recognises(self, path: Path) -> bool:
        """Take folders, and DICOM files that lack the preamble."""
        return path.is_dir() or (path.is_file() and begins_with_elements(path))

    def read(self, path: Path, spatial_dims: int = 3) -> MetaTensor:
        """Read a volume; of CT with ``intensity_scale`` "hu" where the slices say how they are rescaled."""
        label, slices, damaged = series_of(path)
        return self.of_slices(slices, path, label, damaged)

    def read_files(self, files: Sequence[Path]) -> MetaTensor:
        """Read a volume whose slices are named one by one."""
        label, slices, damaged = slices_among(files)
        return self.of_slices(slices, files[0], label, damaged)

    def of_slices(self, slices: list[Slice], path: Path, label: str, damaged: list[Path]) -> MetaTensor:
        """Make the volume of slices.

        Args:
            slices: in any order.
            path: what the volume is called after.
            label: what tells it from others of its series, if there are any.
            damaged: files beside them that cannot be read.

        Returns:
            The volume.

        Raises:
            ValueError: when they are not one volume, or a slice cannot be read.
        """
        stack = stacked(once(slices))
        array, outside = read_slices(stack)
        header = stack.slices[0].header
        told = [f"its series holds several volumes, this is that of {label}"] if label else []
        told += stack.told
        if folders := other_folders(slices):
            told.append(f"its files lie in {len(folders)} folders, {' and '.join(folders[:3])}: read as one series")
        if len({series_uid(one.header) for one in slices}) > 1:
            told.append("its slices have a SeriesInstanceUID each: read as one series")
        if damaged:
            told.append(f"{len(damaged)} DICOM files beside it cannot be read, such as {text_of(damaged[0].name)}")
        flat = len(stack.slices) == 1 and not any(number_of(stack.slices[0], tag) > 0 for tag in THICKNESS_TAGS)
        if flat:
            told.append("its only slice has no thickness: its volume is unknown")
        # CT that is not rescaled may have gone through a window
        units = all(s.header.get("Modality") == "CT" and number_of(s, "RescaleIntercept") for s in stack.slices)
        return self.volume(
            array,
            path,
            stack.affine,
            **({"intensity_scale": "hu"} if units else {}),
            warnings=told,
            patient=patient_of(header),
            claims=claims_of(header),
            modality=MODALITIES.get(str(header.get("Modality")), ""),
            outside=None if outside is None else Outside(outside),
            files=[str(one.file) for one in stack.slices] if folders else [],
            spacing_unit="pixel" if flat else "mm",
        )

    def gather(self, files: list[Path], root: Path) -> Iterator[Found]:
        """Give the volumes of a folder, what is none, and the files that cannot be read.

        Each series is its folder, or, where that holds several, its first file, with its number and description in the
        name; or all of its files where they lie in several folders.
        """
        headers, damaged = read_headers(files)
        passed: dict[tuple[Path, str], list[Slice]] = defaultdict(list)
        for file, header in headers:
            if no_slice(header) is not None:
                passed[file.parent, series_uid(header)].append(Slice(file, header))
        series = sorted_into_series(headers)
        volumes = [(label, volume) for own in series.values() for label, volume in volumes_of(own)]
        in_folder: dict[Path, int] = defaultdict(int)
        begun: set[Path] = set()
        for _, volume in volumes:
            for folder in {one.file.parent for one in volume}:
                in_folder[folder] += 1
        for label, volume in volumes:
            file, header, _ = volume[0]
            folders = {one.file.parent for one in volume}
            alone = in_folder[file.parent] == 1 and len(folders) == 1
            folder = Path(commonpath(folders)).relative_to(root)
            name = Path(root.resolve().name) if folder == Path() and alone else folder
            if not alone:
                name /= re.sub(r"[^\w.+-]+", "_", f"{series_name(header)} {label}".strip())
            if file in begun:
                # another volume of the same file, of which reading tells
                continue
            begun.add(file)
            spread = tuple(dict.fromkeys(one.file for one in volume)) if len(folders) > 1 else ()
            yield Found(file.parent if alone else file, name.as_posix(), files=spread)
        for own in passed.values():
            file, header, _ = own[0]
            many = f", {len(own)} files" if len(own) > 1 else ""
            reason = f"{text_of(file.name)} is no slice of a volume ({no_slice(header)}{many}): passed over"
            yield Found(file, place_of(file, root), skipped=reason)
        for file in damaged:
            yield Found(file, place_of(file, root))


def is_dicom(file: Path) -> bool:
    """Tell DICOM files by suffix or content; what cannot be opened is none."""
    with suppress(OSError):
        return isinstance(format_of(file, 3), DICOMSeries)
    return False


def read_header(file: Path) -> pydicom.Dataset:
    """Read what tells the series and the place of a slice, not its pixels."""
    return open_dicom(file, stop_before_pixels=True, specific_tags=list(HEADER_TAGS))


def read_headers(files: list[Path]) -> tuple[list[tuple[Path, pydicom.Dataset]], list[Path]]:
    """Read the headers of DICOM files; beside them the files that cannot be read."""
    headers, damaged = [], []
    for file in files:
        try:
            headers.append((file, read_header(file)))
        except (ValueError, OSError):
            damaged.append(file)
    return headers, damaged


def find_series(files: list[Path]) -> tuple[dict[str, list[Slice]], list[Path]]:
    """Sort the slices among DICOM files (see :func:`no_slice`) into series; beside them the files that cannot be read.

    The series, by SeriesInstanceUID, and their slices are in the order of the files.
    """
    headers, damaged = read_headers(files)
    return sorted_into_series(headers), damaged


def sorted_into_series(headers: list[tuple[Path, pydicom.Dataset]]) -> dict[str, list[Slice]]:
    """Sort slices into series, by patient and SeriesInstanceUID.

    Slices of one folder that have a SeriesInstanceUID each, as some programs that take names out leave them, are one
    series where they fit together.
    """
    series: dict[str, list[Slice]] = defaultdict(list)
    for file, header in headers:
        if no_slice(header) is None:
            series[series_uid(header)].extend(frames_of(file, header))
    alike: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for uid, own in series.items():
        if len(own) == 1:
            one = own[0]
            shared = [str(one.header.get(tag)) for tag in (*ALIKE_TAGS, *COMMON_TAGS)]
            alike[(str(one.file.parent), *shared)].append(uid)
    for uids in alike.values():
        together = [one for uid in uids for one in series[uid]]
        if len(uids) >= RUN and fits(together):
            for uid in uids[1:]:
                del series[uid]
            series[uids[0]] = together
    return dict(series)


def no_slice(header: pydicom.Dataset) -> str | None:
    """Tell why an object is no slice of a CT or MR volume: by its modality, as a localizer, or as it is not placed.

    Files of several frames count, as they are volumes, though only enhanced ones are read.
    """
    modality = str(header.get("Modality") or "")
    if modality and modality not in MODALITIES:
        return f"Modality is {modality}"
    if "Rows" not in header:
        return "without pixels"
    if "LOCALIZER" in (header.get("ImageType") or ()):
        return "a localizer"
    if "ImagePositionPatient" not in header and int(header.get("NumberOfFrames") or 1) == 1:
        return "without ImagePositionPatient"
    return None


def frames_of(file: Path, header: pydicom.Dataset) -> list[Slice]:
    """The slices that a file holds: itself, or the frames of an enhanced object (C.7.6.16) with their own headers."""
    frames = header.get("PerFrameFunctionalGroupsSequence")
    if not frames:
        return [Slice(file, header)]
    shared = (header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()])[0]
    slices = []
    for index, own in enumerate(frames):
        frame = pydicom.Dataset()
        for tag in HEADER_TAGS:
            if tag in header and tag not in FRAME_TAGS:
                frame[tag] = header[tag]
        frame.InstanceNumber = index + 1
        for sequence, names in FRAME_GROUPS.items():
            group = (own.get(sequence) or shared.get(sequence) or [None])[0]
            for name, tag in names.items():
                if group is not None and group.get(name) not in (None, ""):
                    setattr(frame, tag, group.get(name))
        slices.append(Slice(file, frame, index))
    return slices


def series_uid(header: pydicom.Dataset) -> str:
    """What tells a series: SeriesInstanceUID, and the patient, as identifiers that programs make up repeat."""
    return f"{header.get('SeriesInstanceUID') or ''} {patient_of(header)}"


def series_name(header: pydicom.Dataset) -> str:
    """Name a series by its number and its description, as far as it has them."""
    parts = (header.get("SeriesNumber"), header.get("SeriesDescription"))
    return " ".join(str(part) for part in parts if part not in (None, "")) or "series"


def number_of(one: Slice, tag: str) -> float:
    """The number of an element, 0 where there is none."""
    return next(iter(numbers(one.header.get(tag))), 0.0)


def other_folders(slices: Sequence[Slice]) -> list[str]:
    """Names of the folders that slices lie in, where they are several."""
    folders = sorted({one.file.parent for one in slices})
    return [text_of(folder.name) for folder in folders] if len(folders) > 1 else []


def series_of(path: Path) -> tuple[str, list[Slice], list[Path]]:
    """Find the slices of the volume that a folder holds, or that a file belongs to.

    Returns:
        What tells it from other volumes of its series, if there are any; its slices; and files that cannot be read.

    Raises:
        ValueError: when there is no volume, or there are several.
    """
    folder = path if path.is_dir() else path.parent
    header = None
    if path.is_file():
        header = read_header(path)
        if (reason := no_slice(header)) is not None:
            raise ValueError(
                f"{text_of(path.name)} is no slice of a volume ({reason}): give an image of a CT or MR series"
            )
    files = sorted(f for f in folder.iterdir() if not f.name.startswith(".") and f.is_file() and is_dicom(f))
    series, damaged = find_series(files)
    if header is not None:
        volumes = volumes_of(next(own for own in series.values() if any(one.file == path for one in own)))
        own = [(label, volume) for label, volume in volumes if any(one.file == path for one in volume)]
        if len(own) > 1:
            labels = ", ".join(label for label, _ in own)
            raise ValueError(
                f"{text_of(path.name)} holds {len(own)} volumes ({labels}): export each to a file of its own"
            )
        return *own[0], damaged
    found = [
        (f"{series_name(own[0].header)} {label}".strip(), own) for s in series.values() for label, own in volumes_of(s)
    ]
    if not found:
        raise ValueError(f"folder {text_of(folder.name)} holds no DICOM slices: give the folder of a CT or MR series")
    if len(found) > 1:
        named = [f"{text_of(own[0].file.name)} of {name!r} ({len(own)} slices)" for name, own in found]
        raise ValueError(
            f"folder {text_of(folder.name)} holds {len(found)} series, give one's file: {', '.join(named)}"
        )
    return "", found[0][1], damaged


def slices_among(files: Sequence[Path]) -> tuple[str, list[Slice], list[Path]]:
    """Find the slices of the volume that the first of several files belongs to; see :func:`series_of`."""
    series, damaged = find_series(list(files))
    slices = [one for own in series.values() for one in own]
    own = [volume for volume in volumes_of(slices) if any(one.file == files[0] for one in volume[1])]
    return *(own[0] if own else ("", slices)), damaged


def volumes_of(slices: list[Slice]) -> list[tuple[str, list[Slice]]]:
    """Take a series apart where it holds several volumes that lie in each other, such as phases.

    Slices are told apart by the first of SPLITTING_TAGS whose values give volumes that are whole by themselves and
    that overlap, or that cannot be one volume together; else by the order of InstanceNumber, where that runs through
    the body several times. Copies of a slice count once.

    Returns:
        Of each volume what tells it from the others, and its slices; one without a word where it is one.
    """
    if any(directions(one.header) is None for one in slices):
        # reading it says so
        return [("", slices)]
    mark_copies(slices)
    whole = fits(slices)
    # slices of CT are acquired in the order of their places
    ordered = all(one.header.get("Modality") == "CT" for one in slices)
    for tag in SPLITTING_TAGS:
        groups: dict[str, list[Slice]] = defaultdict(list)
        for one in slices:
            groups[str(one.header.get(tag))].append(one)
        if not 1 < len(groups) <= len(slices) / 2 or not all(len(own) > 1 and fits(own) for own in groups.values()):
            continue
        parts = list(groups.values())
        if not whole or (interleaved(parts) and ordered if tag in TIME_TAGS else overlapping(parts)):
            return [(f"{tag} {value}", own) for value, own in groups.items()]
    runs = [] if whole and not ordered else runs_of(slices)
    if len(runs) > 1 and all(len(own) >= RUN and fits(own) for own in runs) and (not whole or interleaved(runs)):
        return [(f"stack {index}", own) for index, own in enumerate(runs, 1)]
    return [("", slices)]


def mark_copies(slices: list[Slice]) -> None:
    """Give slices that were stored twice, under identifiers of their own, one identifier, by which they count once."""
    found: dict[tuple[str, ...], list[Slice]] = defaultdict(list)
    for one in slices:
        tags = ("ImagePositionPatient", "InstanceNumber", *SPLITTING_TAGS)
        found[(*(str(one.header.get(tag)) for tag in tags), str(one.frame))].append(one)
    for first, *others in found.values():
        for one in others:
            if one.header.get("SOPInstanceUID") != first.header.get("SOPInstanceUID") and is_copy(one, first):
                one.header.SOPInstanceUID = first.header.get("SOPInstanceUID")


def is_copy(one: Slice, other: Slice) -> bool:
    """Tell whether the pixels of two files are the same."""
    with suppress(ValueError, OSError):
        pixels = [open_dicom(file).get("PixelData") for file in (one.file, other.file)]
        return pixels[0] is not None and pixels[0] == pixels[1]
    return False


def once(slices: list[Slice]) -> list[Slice]:
    """Count copies of a file once."""
    header = "SOPInstanceUID", "ImagePositionPatient"
    return list({(*(str(s.header.get(tag)) for tag in header), s.frame): s for s in slices}.values())


def fits(slices: list[Slice]) -> bool:
    """Tell whether slices are one volume."""
    try:
        stacked(once(slices))
    except ValueError:
        return False
    return True


def spans_of(groups: list[list[Slice]]) -> list[tuple[float, float]]:
    """From where to where along the body volumes reach, in ascending order."""
    along = normal(groups[0][0].header)
    places = ([float(np.dot(s.header.ImagePositionPatient, along)) for s in own] for own in groups)
    return sorted((min(own), max(own)) for own in places)


def overlapping(groups: list[list[Slice]]) -> bool:
    """Tell whether any two of several volumes share a part of the body."""
    spans = spans_of(groups)
    return any(first[1] > second[0] + 1e-3 for first, second in zip(spans, spans[1:]))


def interleaved(groups: list[list[Slice]]) -> bool:
    """Tell whether each of several volumes reaches through most of the body that they have together."""
    spans = spans_of(groups)
    whole = max(end for _, end in spans) - spans[0][0]
    return all(end - start > MOST * whole for start, end in spans)


def runs_of(slices: list[Slice]) -> list[list[Slice]]:
    """Cut slices in the order of InstanceNumber where their direction along the body turns."""
    if any("InstanceNumber" not in s.header or "ImagePositionPatient" not in s.header for s in slices):
        return [slices]
    ordered = sorted(slices, key=lambda s: number_of(s, "InstanceNumber"))
    along = normal(ordered[0].header)
    steps = np.sign(np.diff([float(np.dot(s.header.ImagePositionPatient, along)) for s in ordered]))
    usual = np.sign(np.median(steps))
    runs = [[ordered[0]]]
    for one, step in zip(ordered[1:], steps):
        # a slice at the same place is a copy, or of a phase that is numbered slice by slice
        if step in (usual, 0):
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs


def read_slices(stack: Stack) -> tuple[np.ndarray, np.ndarray | None]:
    """Read the volume ``(column, row, slice)`` of slices, each rescaled by its own slope, and where it has none.

    It is of 16 bits where all values are such whole numbers, else float32.

    Raises:
        ValueError: when the pixels of a slice cannot be decoded.
    """
    first = stack.slices[0].header
    shape = (int(first.Columns), int(first.Rows), stack.places[-1] + 1)
    volume = np.zeros(shape, dtype=np.int16, order="F")
    missing = sorted(set(range(shape[2])) - set(stack.places))
    outside: np.ndarray | None = None
    if missing:
        outside = np.zeros(shape, dtype=bool, order="F")
        outside[..., missing] = True
    low, high = np.inf, -np.inf
    opened: tuple[Path, pydicom.Dataset, np.ndarray] | None = None
    for (file, header, frame), place in zip(stack.slices, stack.places):
        if opened is None or opened[0] != file:
            dataset = open_dicom(file)
            opened = file, dataset, dicom_pixels(dataset, file)
        _, dataset, pixels = opened
        stored = pixels if frame is None else pixels.reshape(-1, *pixels.shape[-2:])[frame]
        # of each slice: they differ in PET and MR
        values = modality_values(dataset if frame is None else header, stored)
        if volume.dtype == np.int16 and not is_int16(values):
            volume = volume.astype(np.float32)
        volume[..., place] = values.T
        if (hidden := padding(dataset, stored)).any():
            # most series have none
            outside = np.zeros(shape, dtype=bool, order="F") if outside is None else outside
            outside[..., place] = hidden.T
            values = values[~hidden]
        if values.size:
            low, high = min(low, float(values.min())), max(high, float(values.max()))
    if low > high:
        raise ValueError(f"series {series_name(first)!r} holds nothing but padding: export it again")
    # CT has a unit, which says what is bright
    is_ct = first.get("Modality") == "CT"
    if is_inverted(first) and not is_ct:
        for index in range(shape[2]):
            volume[..., index] = low + high - volume[..., index].astype(np.float32)
    if outside is not None:
        volume[outside] = AIR if is_ct and low < AIR / 2 else low
    return volume, outside


def is_int16(values: np.ndarray) -> bool:
    """Tell whether values are whole numbers of 16 bits with sign."""
    kind = np.iinfo(np.int16)
    # NaN is none
    return bool(values.min() >= kind.min and values.max() <= kind.max and (values == values.astype(np.int16)).all())


def stacked(slices: list[Slice]) -> Stack:
    """Sort slices by their position along their normal, and find the even grid that they lie on.

    A single slice is as thick as its header says, or 1 mm.

    Raises:
        ValueError: when they are not one volume.
    """
    check_common(slices)
    header = slices[0].header
    name = series_name(header)
    along = normal(header)
    positions = np.array([numbers(s.header.ImagePositionPatient) for s in slices])
    order = np.argsort(positions @ along, kind="stable")
    slices, positions = [slices[k] for k in order], positions[order]
    affine = dicom_affine(slices[0].header, numbers(header.PixelSpacing))
    if len(slices) == 1:
        affine[:3, 2] *= next((size for tag in THICKNESS_TAGS if (size := number_of(slices[0], tag)) > 0), 1.0)
        return Stack(slices, [0], affine, [])
    places, told = even_places(slices, positions @ along, name)
    step, origin, beside = line(places, positions, along)
    pixel = min(numbers(header.PixelSpacing))
    astray = [f"{text_of(slices[k].file.name)} by {beside[k]:.3g} mm" for k in np.flatnonzero(beside > BESIDE * pixel)]
    if astray and beside.max() > min(ASTRAY * pixel, ASTRAY_MM):
        raise ValueError(
            f"series {name!r} has slices that lie beside the line of the others: {', '.join(astray[:3])}: their "
            "ImagePositionPatient is wrong, or they are of another volume"
        )
    if astray:
        told.append(f"{len(astray)} slices lie beside the line of the others, {', '.join(astray[:3])}")
    tilt = np.degrees(np.arccos(min(1.0, abs(step @ along) / np.linalg.norm(step))))
    if tilt > TILT:
        told.append(
            f"its slices are tilted by {tilt:.1f} degrees against the axis of the table: the mask has the shear in its "
            "sform, and the nearest rotation in its qform, for programs such as ITK that take no shear"
        )
    affine[:3, 2], affine[:3, 3] = step * [-1, -1, 1], origin * [-1, -1, 1]
    return Stack(slices, places.tolist(), affine, told)


def even_places(slices: list[Slice], along: np.ndarray, name: str) -> tuple[np.ndarray, list[str]]:
    """Number slices by where they lie, from their ascending positions along the normal in mm, and tell of gaps.

    Raises:
        ValueError: when several lie at one place, many are missing, or no even grid fits them.
    """
    gaps = np.diff(along)
    usual = float(np.median(gaps))
    doubled = np.flatnonzero(gaps < 1e-3)
    if len(doubled):
        at = doubled[0]
        raise ValueError(
            f"series {name!r} has several slices at {along[at]:g} mm, such as {text_of(slices[at].file.name)} and "
            f"{text_of(slices[at + 1].file.name)} (time points, echoes, diffusion weightings): export each as a series"
        )
    places = np.concatenate([[0], np.cumsum(np.maximum(np.rint(gaps / usual), 1))]).astype(int)
    step = (along[-1] - along[0]) / places[-1]
    off = np.abs(along - along[0] - places * step).max()
    missing = int(places[-1] + 1 - len(places))
    uneven = np.flatnonzero(np.abs(gaps - usual) > EVEN * usual)
    shown = ", ".join(f"{gaps[k]:g} mm between {along[k]:g} and {along[k + 1]:g} mm" for k in uneven[:3])
    told = f"{len(uneven)} uneven gaps between slices: {shown}; the others are of {usual:g} mm"
    if off > UNEVEN * step or missing > MISSING * len(places):
        raise ValueError(
            f"series {name!r} has {told}: one grid does not fit them. Put slices of one distance into a series of "
            "their own, or resample the volume"
        )
    if missing:
        return places, [f"{told}. {missing} slices are missing: their places are empty in the mask"]
    return places, [f"{told}. Slices lie up to {off:.2g} mm from where the mask has them"] if off > EVEN * step else []


def line(places: np.ndarray, positions: np.ndarray, along: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fit the line that slices are stacked on, which single slices beside it do not bend.

    Returns:
        The step between slices and the position of the first, in LPS, and how far beside the line each slice is, in mm.
    """
    step = (positions[-1] - positions[0]) / places[-1]
    beside = off_line(places, positions, positions[0], step, along)
    if beside.max() < 0.01:
        return step, positions[0], beside
    across = np.diff(positions, axis=0) / np.diff(places)[:, None]
    step = along * (step @ along) + (middle := np.median(across, axis=0)) - along * (middle @ along)
    starts = positions - places[:, None] * step
    origin = np.median(starts, axis=0)
    origin += along * ((positions[0] - origin) @ along)
    return step, origin, off_line(places, positions, origin, step, along)


def off_line(
    places: np.ndarray, positions: np.ndarray, origin: np.ndarray, step: np.ndarray, along: np.ndarray
) -> np.ndarray:
    """Distances in mm, in the plane of the slices, from a line."""
    apart = positions - origin - places[:, None] * step
    return np.linalg.norm(apart - np.outer(apart @ along, along), axis=1)


def check_common(slices: list[Slice]) -> None:
    """Check that slices can be placed, and have size, orientation and spacing in common."""
    first = slices[0]
    name = series_name(first.header)
    for file, header, _ in slices:
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise ValueError(
                f"{text_of(file.name)} holds {header.NumberOfFrames} frames: convert it to NIfTI (dcm2niix)"
            )
        if int(header.get("SamplesPerPixel") or 1) > 1:
            raise ValueError(f"{text_of(file.name)} is in colour: give the CT or MR image it was made from")
        missing = [tag for tag in PLACING_TAGS if not numbers(header.get(tag))]
        if missing:
            raise ValueError(
                f"{text_of(file.name)} lacks {', '.join(missing)}, its place is not known: export the series again"
            )
        spacing = numbers(header.PixelSpacing)
        if len(spacing) != 2 or min(spacing) <= 0:
            raise ValueError(
                f"PixelSpacing of {text_of(file.name)} is {text_of_value(header.PixelSpacing)}, not two positive "
                "numbers: its size is not known, export the series again"
            )
    for tag in COMMON_TAGS:
        value = np.array(first.header[tag].value, dtype=np.float64)
        others = [s for s in slices if not np.allclose(np.array(s.header[tag].value, float), value, atol=1e-3)]
        if others:
            raise ValueError(
                f"series {name!r} mixes slices: {len(others)} of {len(slices)} have another {tag}, "
                f"{others[0].header[tag].value} in {others[0].file.name} against {first.header[tag].value} in "
                f"{first.file.name}: put each volume into a folder and a series of its own"
            )
    bare = [s for s in slices if s.header.get("Modality") == "CT" and s.header.get("RescaleIntercept") in (None, "")]
    if 0 < len(bare) < len(slices):
        raise ValueError(
            f"series {name!r} mixes slices: {len(bare)} of {len(slices)} have no RescaleIntercept, as "
            f"{text_of(bare[0].file.name)}, so that their values are no Hounsfield units: export the series again"
        )


def normal(header: pydicom.Dataset) -> np.ndarray:
    """Unit normal of a slice in LPS."""
    found = directions(header)
    if found is None:
        raise ValueError(f"ImageOrientationPatient is {header.get('ImageOrientationPatient')}, no two unit vectors")
    return np.cross(*found)
