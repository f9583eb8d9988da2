# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Small volumes and their files made by the tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
from hypothesis import strategies as st
from monai.data.utils import orientation_ras_lps
from pydicom.uid import generate_uid

from tests.image_files import write_dicom

# what an index runs along, in RAS
LEFT, RIGHT, FEET, HEAD, BACK, FRONT = (-1, 0, 0), (1, 0, 0), (0, 0, -1), (0, 0, 1), (0, -1, 0), (0, 1, 0)


def values(shape: tuple[int, ...] = (12, 10, 6)) -> np.ndarray:
    """Whole numbers, all different, in no order that a flip or a permutation keeps."""
    return np.arange(np.prod(shape), dtype=np.int16).reshape(shape)


def affine_of(*axes: tuple[int, int, int], spacing: tuple[float, ...] = (1.5, 0.7, 4.0)) -> np.ndarray:
    """Affine of a volume whose three indices run along the axes."""
    affine = np.eye(4)
    affine[:3, :3] = np.array(axes, dtype=float).T * spacing
    affine[:3, 3] = [12.0, -7.0, 31.0]
    return affine


def rotation(x: float, y: float, z: float) -> np.ndarray:
    """Rotation about the three axes, in radians."""
    turn = np.eye(3)
    for axis, angle in enumerate((x, y, z)):
        step = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        step[[first, second], [first, second]] = np.cos(angle)
        step[first, second], step[second, first] = -np.sin(angle), np.sin(angle)
        turn = step @ turn
    return turn


@st.composite
def affines(draw: st.DrawFn) -> np.ndarray:
    """Affines of any axis order, flips and spacing, oblique by up to 0.3 radians about each axis."""
    axes = np.eye(3)[:, draw(st.permutations(range(3)))] * draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    affine = np.eye(4)
    turn = rotation(*draw(st.tuples(*[st.floats(-0.3, 0.3)] * 3)))
    affine[:3, :3] = turn @ axes * draw(st.tuples(*[st.floats(0.5, 3.0)] * 3))
    affine[:3, 3] = draw(st.tuples(*[st.floats(-100, 100)] * 3))
    return affine


def ellipsoid(shape: tuple[int, ...], centre: float = 0.1, radius: float = 0.7) -> np.ndarray:
    """A mask that fills a fraction of a volume."""
    grid = np.meshgrid(*[np.linspace(-1, 1, side) for side in shape], indexing="ij")
    return sum(((axis - centre) / radius) ** 2 for axis in grid) <= 1


def write_volume(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """Write a NIfTI, MGH, NRRD or MetaImage file, by the suffix."""
    if ".nii" in path.name:
        nib.save(nib.Nifti1Image(array, affine), path)
        return path
    if ".mg" in path.name:
        nib.save(nib.freesurfer.MGHImage(array, affine), path)
        return path
    import SimpleITK as sitk

    lps = orientation_ras_lps(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = sitk.GetImageFromArray(array.T, isVector=False)
    rest = array.ndim - 3
    direction = np.eye(array.ndim)
    direction[:3, :3] = lps[:3, :3] / spacing
    image.SetDirection(direction.ravel().tolist())
    image.SetSpacing([*spacing.tolist(), *[1.0] * rest])
    image.SetOrigin([*lps[:3, 3].tolist(), *[0.0] * rest])
    sitk.WriteImage(image, str(path))
    return path


def write_series(
    folder: Path, volume: np.ndarray, affine: np.ndarray, names: list[str] | None = None, **tags: object
) -> list[Path]:
    """Write ``(column, row, slice)`` whole numbers as a DICOM series.

    Args:
        folder: where to.
        volume: the values.
        affine: RAS; the third axis along the cross product of the first two (in LPS).
        names: file names of the slices, by default in an order that is not theirs.
        tags: DICOM tags of all slices; a callable gives that of a slice.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = orientation_ras_lps(affine)
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    common = {
        "SeriesInstanceUID": generate_uid(),
        "Modality": "CT",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "PixelSpacing": [spacing[1], spacing[0]],
        "SliceThickness": spacing[2],
        "ImageOrientationPatient": np.round((lps[:3, :2] / spacing[:2]).T.ravel(), 8).tolist(),
        **tags,
    }
    number = volume.shape[2]
    files = []
    for index in range(number):
        position = (lps @ [0, 0, index, 1])[:3].round(6).tolist()
        own = {name: tag(index) if callable(tag) else tag for name, tag in common.items()}
        name = names[index] if names else f"{(index * 5 + 3) % 11:02d}.dcm"
        files.append(write_dicom(folder / name, volume[..., index].T, **{"ImagePositionPatient": position, **own}))
    return files


def write_enhanced(
    path: Path, volume: np.ndarray, slices: int | None = None, **frame_tags: Callable[[int], object]
) -> Path:
    """One file whose frames are slices 4 mm apart, last first, each rescaled by a slope of its own (C.7.6.16)."""
    frames = []
    number = volume.shape[2]
    for index in range(number):
        frame = pydicom.Dataset()
        position, transform, content = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
        position.ImagePositionPatient = [0, 0, 4 * (number - index % (slices or number))]
        transform.RescaleSlope, transform.RescaleIntercept, transform.RescaleType = index + 1, -1024, "HU"
        for name, tag in frame_tags.items():
            setattr(content, name, tag(index))
        frame.PlanePositionSequence, frame.PixelValueTransformationSequence = [position], [transform]
        frame.FrameContentSequence = [content]
        frames.append(frame)
    shared, measures, orientation = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.7, 1.5], 4
    orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = [measures], [orientation]
    pixels = np.ascontiguousarray(volume.transpose(2, 1, 0)).astype("<u2").tobytes()
    tags = {"Modality": "CT", "NumberOfFrames": number, "PixelData": pixels, "SeriesInstanceUID": "1.2.3"}
    functional = {"SharedFunctionalGroupsSequence": [shared], "PerFrameFunctionalGroupsSequence": frames}
    return write_dicom(path, volume[..., 0].T, **tags, **functional)


def edit_dicom(path: Path, **tags: object) -> Path:
    """Change tags of a DICOM file; None deletes one."""
    dataset = pydicom.dcmread(path)
    for name, value in tags.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(path)
    return path
