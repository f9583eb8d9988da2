# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""NIfTI: single images or slices, and volumes."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from monai.data import MetaTensor
from nibabel.orientations import aff2axcodes
from nibabel.volumeutils import apply_read_scaling

from monai_semgan.formats.registry import Format, register, text_of

# millimetres of NIfTI's units of length
UNITS = {"unknown": 1.0, "meter": 1000.0, "mm": 1.0, "micron": 0.001}
GZIP = b"\x1f\x8b"
# how far qform and sform may place a corner apart, in millimetres
APART = 1.0


@register
class NIfTI(Format):
    """NIfTI: two dimensions, or three of which one has a single slice; or volumes, whose header is kept.

    Pairs of .hdr and .img are read as well, and files whose name does not tell how they are compressed. Affines are in
    millimetres whatever the file's unit of length is.
    """

    name = "nifti"
    suffixes = (".nii", ".nii.gz", ".hdr")
    signatures = ((344, b"n+1\0"), (4, b"n+2\0"))

    def read(self, path: Path, spatial_dims: int) -> MetaTensor:
        """Read an image, with any two of the axes, or a volume, with ``nifti_header`` in hexadecimal."""
        image, array = load(path, "NIfTI")
        told: list[str] = []
        # the Analyze format has neither forms nor units
        header = image.header if isinstance(image.header, nib.Nifti1Header) else None
        affine = np.asarray(image.affine, dtype=np.float64)
        if header is None:
            told.append("it is in Analyze format, which does not tell left from right: taken as nibabel does")
        else:
            affine = placed(header, affine, told)
        unit = "mm" if header is None or is_sized(header, affine) else "pixel"
        if unit == "pixel":
            told.append(f"the size of its {'pixels' if spatial_dims == 2 else 'voxels'} is unknown (1, without a unit)")
        if spatial_dims == 2:
            return self.plane(array, path, affine, warnings=told, spacing_unit=unit)
        if header is not None and header["qform_code"] == 0 and header["sform_code"] == 0:
            told.append(
                "it does not say how it lies in the patient (qform_code and sform_code are 0): taken to run from right "
                "to left, from back to front, from feet to head"
            )
        kept = {} if header is None else {"nifti_header": header.binaryblock.hex()}
        return self.volume(array, path, affine, warnings=told, spacing_unit=unit, **kept)

    def plane(self, array: np.ndarray, path: Path, affine: np.ndarray, **meta: Any) -> MetaTensor:
        """Make an image of the only slice of an array of any number of dimensions."""
        name = text_of(path.name)
        if array.dtype.fields:
            raise ValueError(f"{name} is a NIfTI file of colours: convert it to grey values, or export it as PNG")
        shape = array.shape
        slices = [axis for axis, length in enumerate(shape[:3]) if length == 1]
        if len(shape) < 2 or (len(shape) > 2 and not slices) or any(length > 1 for length in shape[3:]):
            raise ValueError(f"{name} is of shape {shape}, not one 2-D image: give one image or slice a file")
        normal = slices[-1] if len(shape) > 2 else 2
        axes = [axis for axis in range(3) if axis != normal]
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
            # a picture's, without a place in a patient
            affine = np.eye(4)
            meta["warnings"] = [*meta["warnings"], "its affine is broken: its place and its pixels' size are unknown"]
            meta["spacing_unit"] = "pixel"
        stored = {"file_shape": shape, "file_affine": affine}
        # columns: the two axes of the image, the normal, the origin
        return self.image(
            array.reshape([1, *(shape[axis] for axis in axes)]), path, affine[:, [*axes, normal, 3]], **stored, **meta
        )


def is_sized(header: Any, affine: np.ndarray) -> bool:
    """Tell whether a header knows the size of its voxels: programs write 1 at the origin, without a unit, if not."""
    nowhere = np.array_equal(np.linalg.norm(affine[:3, :3], axis=0), np.ones(3)) and not affine[:3, 3].any()
    return header.get_xyzt_units()[0] != "unknown" or not nowhere


def placed(header: Any, affine: np.ndarray, told: list[str]) -> np.ndarray:
    """The affine of a NIfTI header in millimetres.

    The sform counts where there is one; a broken one gives way to the qform.

    Args:
        header: the header.
        affine: what nibabel makes of it.
        told: takes a warning where qform and sform place the volume differently.
    """
    sform, qform = (header.get_sform(coded=True)[0], header.get_qform(coded=True)[0])
    if sform is not None and qform is not None:
        if abs(np.linalg.det(sform)) < 1e-12:
            told.append("its sform is broken: placed by its qform")
            affine = qform
        else:
            shape = [*header.get_data_shape(), 1, 1][:3]
            corners = np.array([*np.ndindex(2, 2, 2)]).T * (np.array([shape]).T - 1)
            apart = np.linalg.norm(((sform - qform) @ np.vstack([corners, np.ones(8)]))[:3], axis=0).max()
            if apart > APART:
                codes = ["".join(str(code) for code in aff2axcodes(form)) for form in (sform, qform)]
                axes = f", {codes[0]} and {codes[1]}" if codes[0] != codes[1] else ""
                told.append(f"its sform and its qform differ by up to {apart:.3g} mm{axes}: placed by its sform")
    unit = header.get_xyzt_units()[0]
    scale = UNITS.get(unit, 1.0)
    if scale == 1.0:
        return affine
    told.append(f"its unit of length is {'the metre' if unit == 'meter' else 'the micrometre'}: taken as {scale:g} mm")
    return affine * [[scale], [scale], [scale], [1.0]]


def load(path: Path, kind: str) -> tuple[Any, np.ndarray]:
    """Load image and values of a file that nibabel reads, of any number of dimensions; errors call its format ``kind``.

    Raises:
        ValueError: when it cannot be read, with the cause.
    """
    try:
        try:
            image: Any = nib.load(path)
            return image, values_of(image)
        except Exception:
            if kind != "NIfTI" or path.name.lower().endswith(".hdr"):
                raise
            image = unpacked(path.read_bytes())
            return image, values_of(image)
    except PermissionError:
        raise
    except Exception as error:  # nibabel passes on whatever gzip, zlib or numpy raise
        raise ValueError(f"{text_of(path.name)} is damaged or not a {kind} file ({error}): export it again") from error


def values_of(image: Any) -> np.ndarray:
    """Values of an image; those that its header rescales as float32, slice by slice, as nibabel makes float64."""
    stored = image.dataobj
    slope, inter = np.asanyarray(stored.slope), np.asanyarray(stored.inter)
    values = stored.get_unscaled()
    if (slope, inter) == (1, 0) or values.ndim == 0 or values.dtype.kind not in "iuf":
        return np.asanyarray(apply_read_scaling(values, slope, inter))
    rescaled = np.empty(values.shape, dtype=np.float32, order="F")
    for index in range(values.shape[-1]):
        rescaled[..., index] = apply_read_scaling(values[..., index], slope, inter)
    return rescaled


def unpacked(content: bytes) -> Any:
    """Make the image of a NIfTI file's content, compressed as often as it is, and with a scale that is no number.

    Raises:
        ValueError, OSError, EOFError: when it is none, or damaged.
    """
    while content.startswith(GZIP):
        try:
            content = gzip.decompress(content)
        except zlib.error as error:
            raise ValueError(str(error)) from error
    kind = nib.Nifti2Image if content[4:8] == b"n+2\0" else nib.Nifti1Image
    header = kind.header_class(content[: kind.header_class.sizeof_hdr], check=False)
    if np.isfinite(header["scl_slope"]) and not np.isfinite(header["scl_inter"]):
        header["scl_inter"] = 0
    return kind.from_bytes(header.binaryblock + content[kind.header_class.sizeof_hdr :])
