# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, LoadImage, LoadImaged

from monai_semgan.formats import (
    FORMATS,
    Format,
    FormatReader,
    check_image,
    format_of,
    read,
    register,
    stem,
    suffix,
    suffixes,
    write,
)
from tests.image_files import colours, gradient, write_dicom, write_png
from tests.volume_files import BACK, HEAD, LEFT, affine_of, values, write_series, write_volume


@pytest.mark.parametrize(
    "ending", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd", ".mgz", ".png", ".NII.gz", ".MHA"]
)
def test_names_lose_the_suffixes_of_images_and_volumes(ending: str) -> None:
    path = Path(f"1.2.840{ending}")
    assert stem(path) == "1.2.840" and suffix(path) == ending.lower()


def test_a_name_that_is_a_suffix_has_none() -> None:
    assert suffix(Path(".nii.gz")) == "" and stem(Path("1.2.840.10008")) == "1.2.840.10008"


@pytest.mark.parametrize("ending", [".nrrd", ".nhdr", ".mha", ".mhd", ".mgz"])
def test_volumes_are_no_2d_images(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a{ending}"
    path.write_bytes(b"junk")
    assert format_of(path, 2) is None and ending not in suffixes(2)
    kind = format_of(path, 3)
    assert kind is not None and ending in kind.suffixes and ending in suffixes(3)


def test_dicom_is_told_by_its_content(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.2.840.10008", gradient())
    image, series = format_of(path, 2), format_of(path, 3)
    assert image is not None and image.name == "dicom"
    assert series is not None and series.name == "dicom_series"
    (tmp_path / "text").write_text("text")
    assert format_of(tmp_path / "text", 2) is None and format_of(tmp_path / "text", 3) is None
    folder = format_of(tmp_path, 3)
    assert folder is series and format_of(tmp_path, 2) is None


@pytest.fixture
def npy() -> Iterator[None]:
    """A format of NumPy's files, known for one test."""

    @register
    class Npy(Format):
        name = "npy"
        suffixes = (".npy",)

        def read(self, path: Path, spatial_dims: int) -> MetaTensor:
            return self.image(np.load(path)[None], path, np.eye(4), spacing_unit="pixel")

    yield
    FORMATS.pop()


@pytest.mark.usefixtures("npy")
def test_a_new_format_is_one_class(tmp_path: Path) -> None:
    np.save(tmp_path / "a.b.npy", gradient())
    image = read(tmp_path / "a.b.npy", 2)
    np.testing.assert_array_equal(image[0], gradient())
    assert image.meta["file_format"] == "npy" and stem(tmp_path / "a.b.npy") == "a.b" and ".npy" in suffixes(3)
    file = write(MetaTensor(image > 100, meta=image.meta), tmp_path / "mask.1")
    assert file == tmp_path / "mask.1.nii.gz" and file.is_file()


def series(folder: Path) -> Path:
    write_series(folder / "series", values(), affine_of(LEFT, BACK, HEAD))
    return folder / "series"


@pytest.mark.parametrize(
    "dims, make",
    [
        (2, lambda f: write_png(f / "a.png", colours())),
        (2, lambda f: write_dicom(f / "a.dcm", gradient())),
        (3, lambda f: write_volume(f / "a.nii.gz", values(), affine_of(LEFT, BACK, HEAD))),
        (3, series),
    ],
)
def test_monais_loading_gives_the_same(tmp_path: Path, dims: int, make) -> None:
    path = make(tmp_path)
    image = read(path, dims)
    reader = FormatReader(dims)
    ways = (
        LoadImage(reader=reader, ensure_channel_first=True)(path),
        LoadImaged("image", reader=reader, ensure_channel_first=True)({"image": path})["image"],
        Compose([LoadImaged("image", reader=reader), EnsureChannelFirstd("image")])({"image": path})["image"],
    )
    for loaded in ways:
        # MONAI makes float32 of a volume's own type
        assert loaded.dtype == torch.float32 and torch.equal(loaded.as_tensor(), image.as_tensor().float())
        assert loaded.meta.keys() == image.meta.keys()
        for key, value in image.meta.items():
            np.testing.assert_array_equal(loaded.meta[key], value, err_msg=key)


def test_checks_of_reading_pass_labels_of_one_value(tmp_path: Path) -> None:
    path = write_png(tmp_path / "a.png", np.full((8, 9), 7, np.uint8))
    with pytest.raises(ValueError, match=r"^a\.png is constant, all values are 7: export it again"):
        read(path, 2)
    assert read(path, 2, label=True).unique().tolist() == [7]
    assert LoadImage(reader=FormatReader(2, label=True))(path).shape == (1, 9, 8)


def nearly_constant() -> torch.Tensor:
    image = torch.full((1, 100, 100), 7.0)
    image[0, 0, :20] = 9.0
    return image


def with_value(value: float) -> torch.Tensor:
    image = torch.rand(1, 4, 4)
    image[0, 1, 2] = value
    return image


@pytest.mark.parametrize(
    "image, message",
    [
        (torch.zeros(1, 4, 4), r"image is constant, all values are 0"),
        (nearly_constant(), r"image is constant, at least 99 % of the values are 7"),
        (with_value(float("nan")), "image has 1 of 16 values that are NaN or infinite"),
        (with_value(float("inf")), "image has 1 of 16 values that are NaN or infinite"),
        (torch.zeros(1, 0, 4), r"image is empty \(shape \(1, 0, 4\)\)"),
        (torch.full((3, 4, 4), 7.0), r"image is constant, all values are 7, 7, 7"),
        (torch.tensor([200.0, 30, 40])[:, None, None].expand(3, 4, 4), "image is constant, all values are 200, 30, 40"),
        (nearly_constant() * torch.tensor([1.0, 2, 3])[:, None, None], "at least 99 % of the values are 7, 14, 21"),
    ],
)
def test_bad_images_are_named(image: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_image(image, "image")


def test_colour_image_with_one_channel_that_varies_passes() -> None:
    image = torch.zeros(3, 4, 4)
    image[1] = torch.rand(4, 4)
    check_image(image, "image")
    check_image(torch.zeros(1, 4, 4), "label", label=True)


def test_what_a_file_claims_to_be_is_compared(tmp_path: Path) -> None:
    expected = {"Modality": ["CR", "DX"], "ViewPosition": ["PA", "AP"], "BodyPartExamined": ["CHEST"]}

    def told(**claims: str) -> list[str]:
        file = write_dicom(tmp_path / "claims.dcm", gradient(), **claims)
        meta = FormatReader(2, expected=expected, insist=True).get_data(file)[1]
        warnings = [words for words in meta.get("warnings", ()) if "this bundle is for" in words]
        assert meta.get("check") == ("suspicious" if warnings else None)
        if warnings:
            with pytest.raises(ValueError, match=f"^refused: {re.escape(warnings[0])}.*--insist"):
                FormatReader(2, expected=expected).get_data(file)
        else:
            FormatReader(2, expected=expected).get_data(file)
        return warnings

    assert told(Modality="DX", ViewPosition="PA") == told(Modality="CR", ViewPosition="") == []
    assert told(BodyPartExamined="PORTABLE CHEST") == told(BodyPartExamined="unknown") == []
    assert told(Modality="CT", ViewPosition="PA") == ["its Modality is CT, this bundle is for CR, DX"]
    assert told(Modality="DX", ViewPosition="LL") == ["its ViewPosition is LL, this bundle is for PA, AP"]
    assert told(Modality="DX", BodyPartExamined="KNEE") == ["its BodyPartExamined is KNEE, this bundle is for CHEST"]


def test_a_modality_that_was_asked_for_gives_way_to_the_files_and_that_is_told(tmp_path: Path) -> None:
    write_series(tmp_path / "mr", values(), affine_of(LEFT, BACK, HEAD), Modality="MR")
    write_volume(tmp_path / "a.nii", values(), affine_of(LEFT, BACK, HEAD))
    told = {
        (name, asked): FormatReader(3, modality=asked).get_data(tmp_path / name)[1].get("warnings", [])
        for name in ("mr", "a.nii")
        for asked in (None, "ct", "mri")
    }
    assert told.pop(("mr", "ct")) == ["its Modality says that it is mri, not ct as was asked for: taken as mri"]
    assert not any(told.values())
