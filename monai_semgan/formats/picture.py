# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Pictures: PNG, JPEG, TIFF, BMP and WebP files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from typing import cast

import numpy as np
from monai.data import MetaTensor
from PIL import ExifTags, Image, ImageCms, ImageOps

from monai_semgan.formats.registry import Format, mask_values, register, with_suffix, writes

# sizes of a BMP's header: of Windows 3, NT, 4 and 5
BMP_HEADERS = (40, 52, 56, 108, 124)


@register
class Picture(Format):
    """Pictures of 8 and 16 bits, turned as EXIF says, grey or RGB as they are displayed.

    Palettes, CMYK and Lab become RGB, by the ICC profile where there is one; transparency is dropped. 16-bit colours
    with a profile come with 8 bits.
    """

    name = "picture"
    suffixes = (".png", ".jpg", ".jpeg", ".jfif", ".jpe", ".tif", ".tiff", ".bmp", ".webp")
    signatures = ((0, b"\x89PNG\r\n\x1a\n"), (0, b"\xff\xd8\xff"), (8, b"WEBPVP8"))
    spatial_dims = (2,)

    def recognises(self, path: Path) -> bool:
        """Tell TIFF and BMP files without a suffix; raw files of cameras begin like TIFF, so that a suffix counts."""
        if not path.is_file() or path.suffix.strip(".0123456789"):
            return False
        with path.open("rb") as file:
            head = file.read(18)
        # the size of a BMP's header follows at byte 14
        return head[:4] in (b"II*\0", b"MM\0*") or (
            head[:2] == b"BM" and int.from_bytes(head[14:], "little") in BMP_HEADERS
        )

    def read(self, path: Path, spatial_dims: int = 2) -> MetaTensor:
        """Read a picture, ``(1 or 3, column, row)``."""
        return self.decoded(path, displayed)

    def read_indices(self, path: Path, spatial_dims: int = 2) -> MetaTensor:
        """Read a label of class indices, ``(1, column, row)``; of a palette the indices."""
        return self.decoded(path, indexed)

    def decoded(self, path: Path, decode: Callable[[Image.Image, Path], np.ndarray]) -> MetaTensor:
        """Read a picture by a function that decodes it."""
        try:
            # Pillow does not turn what it maps into memory, which it does with files that it opens itself
            with path.open("rb") as file, Image.open(file) as image:
                refused = unsupported(image)
                if refused is None:
                    array = decode(image, path)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise ValueError(
                f"{path.name} is damaged or not a PNG, JPEG, TIFF, BMP or WebP file ({error}): export it again"
            ) from error
        if refused is not None:
            raise ValueError(f"{path.name} {refused}")
        # (row, column) or (row, column, RGB)
        return self.image(array.T if array.ndim == 3 else array.T[None], path, np.eye(4), spacing_unit="pixel")

    def write(self, mask: MetaTensor, path: Path, foreground: int | None = None) -> Path:
        """Write a mask as PNG; of one class with ``foreground``, 255 by default, in place of 1."""
        return write_png(mask, path, foreground)


@writes("png")
def write_png(mask: MetaTensor, path: Path, foreground: int | None = None) -> Path:
    """Write the mask of a 2-D image as PNG, its rows and columns those of the image's file.

    Args:
        mask: see :func:`monai_semgan.formats.write`.
        path: file without suffix.
        foreground: what 1 becomes; by default 255, or 1 where there are several classes.

    Returns:
        The file.

    Raises:
        ValueError: for the mask of a volume.
    """
    values = mask_values(mask)
    if values.ndim > 2:
        raise ValueError(f"a picture cannot hold a volume of {' x '.join(map(str, values.shape))} voxels")
    if foreground is None:
        foreground = 1 if len(mask.meta.get("segments", ())) > 1 or values.max(initial=0) > 1 else 255
    file = with_suffix(path, ".png")
    Image.fromarray(values.T * np.uint8(foreground)).save(file)
    return file


def unsupported(image: Image.Image) -> str | None:
    """Tell why a file that can be opened is not read, and the mend; None if it is."""
    # what follows the picture in a camera's MPO is its preview or another exposure
    pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)
    if pages > 1:
        return f"holds {pages} {'pages' if image.format == 'TIFF' else 'frames'}: give one image a file"
    tags = getattr(image, "tag_v2", {})
    bits = tags.get(ExifTags.Base.BitsPerSample, (1,))
    # Pillow would take each byte for a value
    if tags.get(ExifTags.Base.PlanarConfiguration) == 2 and len(bits) > 1 and max(bits) > 8:
        return "holds colours of 16 bits plane by plane: save it with interleaved colours"
    return None


def displayed(image: Image.Image, path: Path) -> np.ndarray:
    """Decode a picture, upright: ``(row, column)`` if it is grey, else ``(row, column, RGB)``."""
    sixteen_bits = image.mode in ("RGB", "RGBA") and ";16" in str(getattr(image, "tile", ""))
    white_is_zero = getattr(image, "tag_v2", {}).get(ExifTags.Base.PhotometricInterpretation) == 0
    image.load()
    # broken EXIF says nothing about the pixels; in place, as they are turned before the EXIF is written anew
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        array = np.asarray(image)
        array = array.astype(array.dtype.newbyteorder("="))
        # Pillow inverts 8 bits only
        return np.iinfo(np.uint16).max - array if white_is_zero and array.dtype == np.uint16 else array
    if image.mode in ("1", "L", "LA", "La"):
        return np.asarray(image.convert("L"))
    profile = image.info.get("icc_profile")
    array = np.asarray(srgb(image, profile))
    if sixteen_bits and not profile:
        import SimpleITK as sitk  # late, it is large and seldom needed

        # Pillow has the upper 8 bits alone
        with suppress(RuntimeError, UnicodeError):
            full = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))[..., :3]
            # ITK gives other values where it does not know the layout, and never turns the picture
            if np.array_equal(full >> 8, array):
                return full
    return array


def indexed(image: Image.Image, path: Path) -> np.ndarray:
    """Decode a label: the indices of a palette, ``(row, column)``, upright; all else as it is displayed."""
    if image.mode != "P":
        return displayed(image, path)
    image.load()
    with suppress(Exception):
        ImageOps.exif_transpose(image, in_place=True)
    return np.asarray(image)


def srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert colours of any kind to RGB; alpha is dropped, the colours below it stay.

    Args:
        image: the picture, upright or not.
        profile: its ICC profile; one that is broken, or made for other colours, is passed over.

    Returns:
        The picture in sRGB if there is a profile, else in the RGB that it has.
    """
    # the profile of a CMYK picture is for CMYK, any other for RGB
    picture = image if image.mode == "CMYK" else image.convert("RGB")
    if profile:
        with suppress(ImageCms.PyCMSError, OSError):
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(picture, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
            picture = cast(Image.Image, converted)
    return picture.convert("RGB")
