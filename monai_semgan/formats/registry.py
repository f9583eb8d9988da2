# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The formats of image files that are known, and reading and writing by them.

A format is a file of this folder with one subclass of :class:`Format`, and one line in ``__init__.py`` that imports it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple, TypeVar

import nibabel as nib
import numpy as np
import torch
from monai.config import PathLike
from monai.data import ImageReader, MetaTensor
from monai.utils import convert_to_tensor, ensure_tuple

# percentiles, in percent, between which an image has to have more than one value
LOWER, UPPER = 0.5, 99.5
# a volume of no more values is a label map: noise alone gives more
FEW_VALUES = 16
# values of a large image that are looked at first; percentiles, in percent, between which they differ surely if all do
SAMPLE, SURELY_LOWER, SURELY_UPPER = 100_000, 2.0, 98.0
# types of values that volumes keep
KEPT = ("uint8", "int8", "int16")
# bytes of a file's beginning that signatures lie in
HEAD = 352
# whether an image is of the kind that a bundle is for; failures of the last kind begin with it
OK, SUSPICIOUS, REFUSED = "ok", "suspicious", "refused"
# words of files that do not know what they are
SAYS_NOTHING = ("", "UNKNOWN", "UNDEFINED", "OTHER", "NONE", "N/A")
# voxels of one extreme value are padding from this share of all, and this many times the others' range away from them
PADDED, FAR = 0.01, 2.0
# percentile of the others that are most of them
MOST = 99.0
# slices from which alternating ones are looked for, rows and columns that are compared, how much more alike they are
ALTERNATING, COARSE, ALIKE = 6, 128, 0.8
# padding is as large as this, or less than any Hounsfield unit
PADDING_FROM, PADDING_TO = 1000.0, -4000.0


class Found(NamedTuple):
    """What a folder holds: an image, or something that is none and why.

    Attributes:
        path: what to read.
        name: its place below the folder, without suffix.
        files: all files of an image that lies in several folders.
        skipped: why it is no image, where it is none.
        failure: why it cannot be read, where that is known already.
    """

    path: Path
    name: str
    files: tuple[Path, ...] = ()
    skipped: str = ""
    failure: str = ""


class Outside(np.ndarray):
    """Pixels of an image that hold no intensity, such as padding, or what a shutter hides; ``meta["outside"]``.

    Booleans of the image's shape, without channel. They never change: copies of metadata, which MONAI makes at each
    step, share them.

    Args:
        values: the Booleans.
    """

    def __new__(cls, values: np.ndarray) -> Outside:
        """Make it of any array."""
        return np.ascontiguousarray(values, dtype=bool).view(cls)

    @property
    def values(self) -> np.ndarray:
        """The Booleans as a plain array."""
        return self.view(np.ndarray)

    def copy(self, order: Any = "C") -> Outside:
        """The same."""
        return self

    def __deepcopy__(self, memo: Any) -> Outside:  # type: ignore[override]
        return self


class Format:
    """A format of image files.

    Attributes:
        name: the format's own.
        suffixes: endings of its files' names, lower case, with the dot.
        signatures: what its files hold, and at which byte; they count more than the name.
        spatial_dims: numbers of dimensions of the images that its files hold.
    """

    name: str
    suffixes: tuple[str, ...] = ()
    signatures: tuple[tuple[int, bytes], ...] = ()
    spatial_dims: tuple[int, ...] = (2, 3)

    def recognises(self, path: Path) -> bool:
        """Tell by its content whether a file that neither signature nor name tells is of this format.

        Raises:
            OSError: when the file cannot be opened.
        """
        return False

    def read(self, path: Path, spatial_dims: int) -> MetaTensor:
        """Read one image.

        Args:
            path: the file.
            spatial_dims: 2 for an image, 3 for a volume.

        Returns:
            What :meth:`image` or :meth:`volume` makes of the file's values.

        Raises:
            ValueError: when it cannot be read, with the cause and the mend.
        """
        raise NotImplementedError

    def read_indices(self, path: Path, spatial_dims: int) -> MetaTensor:
        """Read one label of class indices, as :meth:`read` does."""
        return self.read(path, spatial_dims)

    def read_files(self, files: Sequence[Path]) -> MetaTensor:
        """Read one volume of several files, as :meth:`read` does.

        Raises:
            ValueError: when the format has one file a volume, or they cannot be read.
        """
        raise ValueError(f"{len(files)} files given for one image, give one of them or their folder: {files[0]}, ...")

    def image(self, array: np.ndarray, path: Path, affine: np.ndarray, **meta: Any) -> MetaTensor:
        """Make what :meth:`read` gives.

        Args:
            array: ``(C, column, row)`` or ``(C, column, row, slice)``, as the file stores them.
            path: the file.
            affine: 4x4 matrix from (column, row, slice) to RAS millimetres.
            meta: ``spacing_unit``, "mm", or "pixel" where the spacing is not known; ``file_shape`` and ``file_affine``,
                those a NIfTI file has, or should have, to lie over the image; ``warnings``, what a user should know;
                ``patient``, the patient's identifier; ``modality``, "ct" or "mri"; ``claims``, what the file says that
                it is of; ``outside``, an :class:`Outside`; ``files``, where several folders hold them; and whatever
                else is kept of the file. What there is nothing of is left out.

        Returns:
            The image as float32, a volume of whole numbers of up to 16 bits with sign in their own type; with this and
            MONAI's metadata, the format's name as ``file_format`` and the type of the values as ``stored_dtype``: the
            file's own, or that of rescaled values. A volume's values stay where they are in memory.

        Raises:
            ValueError: when its values are no real numbers.
        """
        if array.dtype.kind not in "buif":
            raise ValueError(f"{path.name} holds colours or complex values ({array.dtype}): convert it to grey values")
        if array.ndim > 3:
            # large: no copy for the order of the axes
            kept = array.dtype.name if array.dtype.name in KEPT else "float32"
            values = torch.from_numpy(np.require(array.astype(kept, copy=False), requirements="W"))
        else:
            if len(array) == 1 and "outside" not in meta:
                array, meta["outside"], told = without_padding(array)
                meta["outside"] = None if meta["outside"] is None else Outside(meta["outside"].values[0])
                meta["warnings"] = [*meta.get("warnings", ()), *told]
            values = torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
        fixed = {
            "filename_or_obj": str(path),
            "file_format": self.name,
            "stored_dtype": str(array.dtype),
            "original_affine": affine,
            "affine": affine.copy(),
            "spatial_shape": np.array(array.shape[1:]),
            "original_channel_dim": 0,
            "space": "RAS",
        }
        nothing = [key for key in OPTIONAL if meta.get(key) is None or not len(meta[key])]
        known = {key: value for key, value in meta.items() if key not in nothing}
        return MetaTensor(values, meta={**fixed, **known})

    def volume(self, array: np.ndarray, path: Path, affine: np.ndarray, **meta: Any) -> MetaTensor:
        """Make what :meth:`read` gives of a volume.

        Args:
            array: three dimensions, or more of which all but three have length 1; or fewer, of a single slice.
            path: the file.
            affine: 4x4 matrix from the first three indices to RAS millimetres.
            meta: whatever else is kept of the file; ``spacing_unit`` is "mm" unless it says otherwise.

        Returns:
            As :meth:`image`.

        Raises:
            ValueError: when it is no volume of grey values, or is not placed.
        """
        shape = array.shape
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine)) < 1e-12:
            raise ValueError(f"{path.name} has a broken affine, {affine[:3].tolist()}: convert it again")
        if any(length > 1 for length in shape[3:]):
            raise ValueError(
                f"{path.name} is of shape {shape}, {np.prod(shape[3:])} volumes (time points): give one a file"
            )
        array = array.reshape((*shape, 1, 1)[:3])
        if meta.get("outside") is None:
            array, meta["outside"], told = without_padding(array)
            meta["warnings"] = [*meta.get("warnings", ()), *told]
        if alternating(array):
            mixed = "its slices alternate, each is more like the next but one than the next: two phases may be mixed"
            meta["warnings"] = [*meta.get("warnings", ()), mixed]
        stored = {"spacing_unit": "mm", "file_shape": shape, "file_affine": affine}
        return self.image(array[None], path, affine, **{**stored, **meta})

    def write(self, mask: MetaTensor, path: Path, foreground: int | None = None) -> Path:
        """Write a mask as NIfTI of unsigned bytes, with the shape and the geometry of its image's file.

        Of a NIfTI volume the whole header is kept but for the type of the values: qform, sform and their codes, units,
        description. Masks of other formats have the image's affine.

        Args:
            mask: whole numbers from 0 to 255, ``(1, ...)``, stored as its image is.
            path: file without suffix.
            foreground: value of a binary mask's foreground in formats that are looked at, where 1 cannot be seen;
                NIfTI keeps the mask's own.

        Returns:
            The file with its suffix.

        Raises:
            ValueError: when the mask is not on its image's grid.
        """
        return write_nifti(mask, path)

    def gather(self, files: list[Path], root: Path) -> Iterator[Found]:
        """Tell what images files of this format make.

        Args:
            files: those of a folder and all folders in it.
            root: the folder.

        Returns:
            The images, and what is none.
        """
        for file in files:
            yield Found(file, place_of(file, root))


FORMATS: list[Format] = []
# what a mask may be written as besides its image's own format
AUTO = "auto"
MASK_FORMATS: dict[str, Callable[..., Path]] = {}
Writer = TypeVar("Writer", bound=Callable[..., Path])
# metadata that are left out where there is nothing to tell
OPTIONAL = ("warnings", "patient", "modality", "outside", "files", "claims")


def register(kind: type[Format]) -> type[Format]:
    """Make a format known (a class decorator)."""
    FORMATS.append(kind())
    return kind


def writes(name: str) -> Callable[[Writer], Writer]:
    """Make known what writes masks in a format (a decorator): ``(mask, path without suffix)`` to the file.

    It raises ValueError for a mask that the format cannot hold.
    """

    def known(function: Writer) -> Writer:
        MASK_FORMATS[name] = function
        return function

    return known


def suffixes(spatial_dims: int) -> list[str]:
    """Give all known suffixes for images of so many dimensions."""
    return [ending for kind in FORMATS if spatial_dims in kind.spatial_dims for ending in kind.suffixes]


def suffix(path: PurePath) -> str:
    """Return the known suffix a file name ends with, lower case, or an empty string."""
    name = path.name.lower()
    # the longest: .nii.gz, not .gz; a name that is nothing but a suffix has none
    known = [ending for kind in FORMATS for ending in kind.suffixes if name.endswith(ending) and name != ending]
    return max(known, key=len, default="")


def stem(path: PurePath) -> str:
    """Return a file name without its known suffix; names with dots, such as DICOM identifiers, stay whole."""
    return path.name[: len(path.name) - len(suffix(path))]


def with_suffix(path: Path, ending: str) -> Path:
    """Append a suffix to a path, whose name may hold dots."""
    return path.with_name(path.name + ending)


def place_of(path: Path, root: Path) -> str:
    """Name a file after its place in a folder, without suffix."""
    return (path.parent.relative_to(root) / stem(path)).as_posix()


def text_of(text: str) -> str:
    """Write a text with names of files so that it can be encoded: bytes of a name that are no UTF-8 are Latin-1."""
    # Python keeps such a byte as the surrogate 0xdc00 + byte
    return re.sub("[\udc80-\udcff]", lambda found: chr(ord(found[0]) - 0xDC00), text)


def format_of(path: Path, spatial_dims: int) -> Format | None:
    """Tell the format of an existing file or folder by its signature, its suffix, or else its content; None if unknown.

    Raises:
        OSError: when the name does not tell and the file cannot be opened.
    """
    kinds = [kind for kind in FORMATS if spatial_dims in kind.spatial_dims]
    if not path.is_dir():
        by_name = next((kind for kind in kinds if suffix(path) in kind.suffixes), None)
        try:
            with path.open("rb") as file:
                head = file.read(HEAD)
        except OSError:
            if by_name is None:
                raise
            return by_name
        signed = (kind for kind in kinds if any(head[at:].startswith(sign) for at, sign in kind.signatures))
        if (found := next(signed, by_name)) is not None:
            return found
    return next((kind for kind in kinds if kind.recognises(path)), None)


def read(
    path: PathLike | Sequence[PathLike], spatial_dims: int, *, label: bool = False, indices: bool = False
) -> MetaTensor:
    """Read one image, whatever its format.

    Args:
        path: a file; for a volume also a folder with the slices of one DICOM series, or one slice of a series, or all
            of its slices where they lie in several folders.
        spatial_dims: 2 for an image, 3 for a volume.
        label: whether it is a label, which may be of one value.
        indices: whether its values are class indices: those of a palette then count, and not its colours.

    Returns:
        The image ``(C, column, row)`` or ``(C, column, row, slice)``, indexed as it is stored, first index fastest, as
        all of MONAI's readers do. Its type and metadata are those of :meth:`Format.image`.

    Raises:
        FileNotFoundError: when there is no such file.
        ValueError: when it cannot be read or cannot be segmented, with the cause.
    """
    files = [Path(file) for file in ensure_tuple(path)]
    path = files[0]
    name = text_of(path.name)
    try:
        kind = known_format(path, spatial_dims)
        read_one = kind.read_indices if indices else kind.read
        image = kind.read_files(files) if len(files) > 1 else read_one(path, spatial_dims)
    except PermissionError as error:
        raise ValueError(f"{name}: permission denied: give this user the right to read it") from error
    check_image(image, name, label=label)
    return image


def known_format(path: Path, spatial_dims: int) -> Format:
    """The format of a file or folder that can be opened and is not empty; see :func:`read` for what is raised."""
    name = text_of(path.name)
    # unlike exists(), which calls what may not be looked at missing
    try:
        size = path.stat().st_size
    except FileNotFoundError as error:
        missing = f"is a link to {text_of(os.readlink(path))}, which is missing" if path.is_symlink() else "is missing"
        raise FileNotFoundError(f"{text_of(str(path))} {missing}") from error
    if path.is_file():
        path.open("rb").close()
    kind = format_of(path, spatial_dims)
    if kind is None and path.is_dir():
        raise FileNotFoundError(f"{text_of(str(path))} is a folder, not a file")
    if path.is_file() and size == 0:
        raise ValueError(f"{name} is an empty file (0 bytes): copy or export it again")
    if kind is None:
        raise ValueError(f"{name} is neither DICOM nor one of {', '.join(suffixes(spatial_dims))}")
    return kind


def check_image(image: torch.Tensor, name: str, *, label: bool = False) -> None:
    """Refuse an image that cannot be segmented, before it turns into a plausible but empty result.

    Args:
        image: ``(C, ...)``.
        name: what errors call it.
        label: whether it is a label, which may be of one value.

    Raises:
        ValueError: when it is empty, not finite, or, unless it is a label, of one value or colour but for half a
            percent of its values at either end; or, as a volume, of so few whole values that it is a label map.
    """
    if image.numel() == 0:
        raise ValueError(f"{name} is empty (shape {tuple(image.shape)}): export it again")
    # each channel by itself, a picture of one colour is constant too; in the order of the memory
    array = convert_to_tensor(image, track_meta=False).cpu().numpy()
    values = np.stack([channel.ravel("K") for channel in array]) if len(array) > 1 else array[0].ravel("K")[None]
    # the extremes of an array with NaN are NaN
    if not np.isfinite([values.min(), values.max()]).all():
        bad = int(values.size - np.isfinite(values).sum())
        raise ValueError(
            f"{name} has {bad} of {values.size} values that are NaN or infinite: export it again, or set them to the "
            "background's value"
        )
    if label:
        return
    sample = values[:, :: max(1, values[0].size // SAMPLE)]
    low, high = np.percentile(sample, [SURELY_LOWER, SURELY_UPPER], axis=1)
    if (low == high).all():
        # sorting all of a large volume takes long
        low, high = np.percentile(values, [LOWER, UPPER], axis=1)
    if (low == high).all():
        extent = "all" if (values == values[:, :1]).all() else f"at least {UPPER - LOWER:g} % of the"
        colour = ", ".join(f"{value:g}" for value in low)
        raise ValueError(f"{name} is constant, {extent} values are {colour}: export it again")
    if image.ndim > 3:
        check_values(values, name)


def check_values(values: np.ndarray, name: str) -> None:
    """Refuse a volume that is a label map."""
    # sorting all of a large volume takes long
    if len(np.unique(values[:, :: max(1, values.size // SAMPLE)])) > FEW_VALUES:
        return
    found = np.unique(values)
    if len(found) <= FEW_VALUES and (found == found.round()).all():
        shown = ", ".join(f"{value:g}" for value in found[:4]) + (", ..." if len(found) > 4 else "")
        raise ValueError(
            f"{name} holds {len(found)} whole values ({shown}): a label map, give the volume it belongs to"
        )


def without_padding(array: np.ndarray) -> tuple[np.ndarray, Outside | None, list[str]]:
    """Find padding in a volume whose file does not name it: many voxels of one value, far from all others.

    Args:
        array: grey values.

    Returns:
        The volume with the least of its other values in place of padding, the padding, and a warning; the volume as it
        is, None and no warning where there is none.
    """
    low, high = (float(array.min()), float(array.max())) if array.size and array.dtype.kind in "iuf" else (0.0, 0.0)
    for value in (high, low):
        if not np.isfinite(value) or PADDING_TO < value < PADDING_FROM:
            continue
        outside = array == value
        share = outside.mean()
        if not PADDED <= share < 1:
            continue
        rest = array[~outside]
        least, most = float(rest.min()), float(rest.max())
        sample = rest[:: max(1, rest.size // SAMPLE)]
        # single voxels, such as bone or metal, may lie between
        low_most, high_most = np.percentile(sample, [100 - MOST, MOST])
        apart = min(abs(value - least), abs(value - most)), min(abs(value - low_most), abs(value - high_most))
        far = apart[1] > FAR * (high_most - low_most) and apart[0] > (most - least) / FAR
        if far and len(np.unique(sample)) > FEW_VALUES:
            told = f"{share:.0%} of its values are {value:g}, far from all others ({least:g} to {most:g}): padding"
            return np.where(outside, rest.min(), array), Outside(outside), [told]
    return array, None, []


def alternating(array: np.ndarray) -> bool:
    """Tell whether slices of a volume are more unlike the next one than the next but one, as of two mixed phases."""
    if array.dtype.kind not in "iuf" or array.shape[-1] < ALTERNATING:
        return False
    sample = array[:: -(-array.shape[0] // COARSE), :: -(-array.shape[1] // COARSE)].astype(np.float32)
    next_one, next_but_one = (np.abs(sample[..., n:] - sample[..., :-n]).mean((0, 1)) for n in (1, 2))
    return bool(np.median(next_but_one) < ALIKE * np.median(next_one))


def write(mask: MetaTensor, path: Path, *, foreground: int | None = None) -> Path:
    """Write a mask in the format that belongs to its image's, which its metadata names.

    Args:
        mask: whole numbers, ``(1, ...)``, on the grid of its image's file and with its metadata.
        path: file without suffix.
        foreground: value of a binary mask's foreground in a picture, 255 by default.

    Returns:
        The file with its suffix: PNG for pictures, NIfTI for all else.

    Raises:
        ValueError: when the mask is not on its image's grid.
    """
    name = mask.meta.get("file_format")
    kind = next((kind for kind in FORMATS if kind.name == name), None) or Format()
    return kind.write(mask, path, foreground)


def write_as(mask: MetaTensor, path: Path, names: Sequence[str] | None = None) -> tuple[dict[str, Path], list[str]]:
    """Write a mask in several formats.

    Args:
        mask: as :func:`write` takes it.
        path: file without suffix.
        names: "auto", its image's own, and those of ``MASK_FORMATS``; by default what the metadata has as "formats".

    Returns:
        The files by format, and why others are not written. Where there would be none it is the image's own.

    Raises:
        ValueError: when the mask is not on its image's grid.
    """
    files: dict[str, Path] = {}
    told = []
    for name in names or mask.meta.get("formats") or [AUTO]:
        try:
            files[name] = write(mask, path) if name == AUTO else MASK_FORMATS[name](mask, path)
        except ValueError as error:
            told.append(f"{name} is not written: {error}")
    if not files:
        files[AUTO] = write(mask, path)
        told[-1] += f"; {files[AUTO].name} is in its place"
    return files, told


@writes("nifti")
def write_nifti(mask: MetaTensor, path: Path) -> Path:
    """Write a mask as NIfTI; see :meth:`Format.write`."""
    file = with_suffix(path, ".nii.gz")
    nib.save(nifti_image(mask), file)
    return file


def mask_values(mask: MetaTensor) -> np.ndarray:
    """Give the values of a mask ``(1, ...)`` that is on its image's grid as unsigned bytes, without the channel."""
    grid = tuple(int(n) for n in mask.meta.get("spatial_shape", mask.shape[1:]))
    if tuple(mask.shape) != (1, *grid):
        raise ValueError(f"mask of {tuple(mask.shape)} is not on its image's grid of {(1, *grid)}: invert the resizing")
    return convert_to_tensor(mask, track_meta=False).cpu().numpy().astype(np.uint8)[0]


def nifti_image(mask: MetaTensor) -> nib.Nifti1Image:
    """Make the NIfTI image of a mask, of NIfTI-2 if the image's file is; see :meth:`Format.write`."""
    meta = mask.meta
    values = mask_values(mask)
    # MONAI's writer would drop or add dimensions: the mask has those of its image's file
    array = values.reshape(meta.get("file_shape", values.shape))
    if "nifti_header" in meta:
        return with_header(array, bytes.fromhex(meta["nifti_header"]))
    affine = np.asarray(meta.get("file_affine", meta.get("original_affine", mask.affine)))
    image = nib.Nifti1Image(array, affine)
    image.set_sform(affine, code=1)
    # a qform cannot hold the shear of a tilted gantry: it is the nearest rotation, which ITK falls back to
    image.set_qform(affine, code=1)
    image.header.set_xyzt_units("mm")
    return image


def with_header(array: np.ndarray, block: bytes) -> nib.Nifti1Image:
    """Put an array of unsigned bytes under a NIfTI header that was made for other values."""
    kind = nib.Nifti1Image if len(block) == nib.Nifti1Header.sizeof_hdr else nib.Nifti2Image
    image = kind(array, None, kind.header_class(block, check=False))
    image.header.set_data_dtype(np.uint8)
    image.header.set_data_offset(0)
    # the range in which the volume is displayed
    image.header["cal_min"] = image.header["cal_max"] = 0
    return image


class FormatReader(ImageReader):
    """MONAI's way to :func:`read`, for ``LoadImage(reader=FormatReader(2), ensure_channel_first=True)``.

    Args:
        spatial_dims: 2 for images, 3 for volumes.
        label: whether files are labels, which may be of one value.
        expected: words that files may say of what they are, upper case, by the attribute of DICOM, such as
            ``Modality``. Files that say another are refused, those that say nothing pass. Words of several, such as
            "PORTABLE CHEST", are met by each of them.
        insist: whether such files are taken all the same, with a warning.
        indices: whether the values are class indices: those of a palette then count, and not its colours.
        modality: what the user says that volumes are, "ct" or "mri". What a file says counts, with a warning.
    """

    def __init__(
        self,
        spatial_dims: int = 2,
        label: bool = False,
        expected: Mapping[str, Sequence[str]] | None = None,
        insist: bool = False,
        indices: bool = False,
        modality: str | None = None,
    ) -> None:
        super().__init__()
        self.spatial_dims = spatial_dims
        self.label = label
        self.expected = {tag: tuple(words) for tag, words in (expected or {}).items()}
        self.insist = insist
        self.indices = indices
        self.modality = modality

    def verify_suffix(self, filename: Sequence[PathLike] | PathLike) -> bool:
        """Tell whether all of the files and folders are of a known format."""
        paths = [Path(name) for name in ensure_tuple(filename)]
        return all(path.exists() and format_of(path, self.spatial_dims) is not None for path in paths)

    def read(self, data: Sequence[PathLike] | PathLike, **kwargs: Any) -> tuple[Path, ...]:
        """Give the path of one file or folder, or those of a series that lies in several folders.

        Its content is read in :meth:`get_data`: ``LoadImage`` answers an error raised here by trying reader after
        reader, and hides it.
        """
        return tuple(Path(name) for name in ensure_tuple(data))

    def get_data(self, img: PathLike | Sequence[PathLike]) -> tuple[torch.Tensor, dict]:  # type: ignore[override]
        """Give values ``(C, ...)`` and metadata of a file or folder, as :func:`read` does, with its errors.

        They are a tensor: ``LoadImage`` would copy an array into another order of the axes.

        Raises:
            ValueError: for a file that says that it is of another kind than expected.
        """
        image = read(img, self.spatial_dims, label=self.label, indices=self.indices)
        told = contradictions(image.meta.get("claims", {}), self.expected)
        if told and not self.insist:
            raise ValueError(f"{REFUSED}: {'; '.join(told)}. --insist segments it all the same")
        if told:
            image.meta |= {"check": SUSPICIOUS, "warnings": [*image.meta.get("warnings", ()), *told]}
        if self.modality and (found := image.meta.get("modality", self.modality)) != self.modality:
            other = f"its Modality says that it is {found}, not {self.modality} as was asked for: taken as {found}"
            image.meta["warnings"] = [*image.meta.get("warnings", ()), other]
        return image.as_tensor(), {**image.meta, "affine": image.affine.numpy()}


def contradictions(claims: Mapping[str, str], expected: Mapping[str, Sequence[str]]) -> list[str]:
    """What a file says of itself that is not expected, in words."""
    said = {tag: word.strip().upper() for tag, word in claims.items()}
    return [
        f"its {tag} is {said[tag]}, this bundle is for {', '.join(words)}"
        for tag, words in expected.items()
        if said.get(tag, "") not in (*SAYS_NOTHING, *words) and not set(re.split(r"[^A-Z0-9]+", said[tag])) & set(words)
    ]
