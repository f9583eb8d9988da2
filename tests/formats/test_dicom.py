# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.sequence import Sequence

from monai_semgan.formats import DICOM
from monai_semgan.transforms import DisplayOrder
from tests.image_files import colours, gradient, linear_profile, srgb_of_light, write_colour_dicom, write_dicom
from tests.volume_files import edit_dicom


def test_dicom_is_rescaled_inverted_and_placed(tmp_path: Path) -> None:
    image = gradient(top=4000)
    path = write_dicom(
        tmp_path / "a",
        image,
        "MONOCHROME1",
        RescaleSlope=2,
        RescaleIntercept=-100,
        PixelSpacing=[0.8, 0.5],
        ImagerPixelSpacing=[0.9, 0.6],
        ImagePositionPatient=[1, 2, 3],
        ImageOrientationPatient=[1, 0, 0, 0, 0, -1],
    )
    image_read = DICOM().read(path)
    (array,), meta = image_read.numpy(), image_read.meta
    rescaled = 2 * image.T - 100
    np.testing.assert_allclose(array, rescaled.max() + rescaled.min() - rescaled)
    # one column on is 0.5 mm to the left (RAS -x), one row on is 0.8 mm to the feet
    np.testing.assert_allclose(meta["original_affine"] @ [1, 0, 0, 0], [-0.5, 0, 0, 0])
    np.testing.assert_allclose(meta["original_affine"] @ [0, 1, 0, 0], [0, 0, -0.8, 0])
    np.testing.assert_allclose(meta["original_affine"][:3, 3], [-1, -2, 3])
    assert meta["spacing_unit"] == "mm"


@pytest.mark.parametrize(
    "tags, spacing, unit",
    [
        ({"ImagerPixelSpacing": [0.2, 0.1]}, (0.1, 0.2), "mm"),
        ({}, (1, 1), "pixel"),
        ({"PixelSpacing": None}, (1, 1), "pixel"),
    ],
)
def test_dicom_spacing_falls_back(tmp_path: Path, tags: dict, spacing: tuple, unit: str) -> None:
    meta = DICOM().read(write_dicom(tmp_path / "a.dcm", gradient(), **tags)).meta
    np.testing.assert_allclose(np.linalg.norm(meta["original_affine"][:3, :2], axis=0), spacing)
    assert meta["spacing_unit"] == unit


def ybr(image: np.ndarray) -> np.ndarray:
    """DICOM's YBR_FULL (PS3.3, C.7.6.3.1.2)."""
    matrix = [[0.299, 0.587, 0.114], [-0.1687, -0.3313, 0.5], [0.5, -0.4187, -0.0813]]
    return (image @ np.transpose(matrix) + [0, 128, 128]).round().clip(0, 255).astype(np.uint8)


def rows_first(path: Path) -> np.ndarray:
    image = DICOM().read(path)
    assert image.meta["file_shape"] == (30, 40, 1)
    return image.numpy().T


@pytest.mark.parametrize("dtype, gain", [(np.uint8, 1), (np.uint16, 250)])
@pytest.mark.parametrize("planar", [0, 1])
def test_rgb_is_read_and_not_rescaled(tmp_path: Path, dtype: type, gain: int, planar: int) -> None:
    image = colours().astype(dtype) * dtype(gain)
    stored = image.transpose(2, 0, 1) if planar else image
    tags = {"PlanarConfiguration": planar, "RescaleSlope": 2, "RescaleIntercept": -100}
    path = write_colour_dicom(tmp_path / "a", image, PixelData=stored.tobytes(), **tags)
    np.testing.assert_array_equal(rows_first(path), image)


@pytest.mark.parametrize("planar", [0, 1])
def test_ybr_full_becomes_rgb(tmp_path: Path, planar: int) -> None:
    stored = ybr(colours())
    pixels = (stored.transpose(2, 0, 1) if planar else stored).tobytes()
    path = write_colour_dicom(tmp_path / "a", stored, "YBR_FULL", PlanarConfiguration=planar, PixelData=pixels)
    np.testing.assert_allclose(rows_first(path).astype(int), colours(), atol=3)


def test_ybr_full_422_becomes_rgb(tmp_path: Path) -> None:
    # two pixels share their colour difference: y y b r
    image = np.repeat(colours()[:, ::2], 2, axis=1)
    stored = ybr(image)
    pixels = np.dstack([stored[:, ::2, 0], stored[:, 1::2, 0], stored[:, ::2, 1], stored[:, ::2, 2]]).tobytes()
    path = write_colour_dicom(tmp_path / "a", stored, "YBR_FULL_422", PixelData=pixels)
    np.testing.assert_allclose(rows_first(path).astype(int), image, atol=3)


@pytest.mark.parametrize(
    "photometric, syntax, settings",
    [
        ("YBR_FULL_422", "JPEGBaseline8Bit", {"format": "JPEG", "quality": 100, "subsampling": 0}),
        ("RGB", "JPEGBaseline8Bit", {"format": "JPEG", "quality": 100, "keep_rgb": True}),
        ("YBR_RCT", "JPEG2000Lossless", {"format": "JPEG2000", "mct": 1, "no_jp2": True}),
        ("YBR_ICT", "JPEG2000", {"format": "JPEG2000", "mct": 1, "irreversible": True, "no_jp2": True}),
    ],
)
def test_compressed_colours(tmp_path: Path, photometric: str, syntax: str, settings: dict) -> None:
    buffer = BytesIO()
    Image.fromarray(colours()).save(buffer, **settings)
    dataset = pydicom.dcmread(write_colour_dicom(tmp_path / "a", colours(), photometric))
    dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
    dataset.PixelData = pydicom.encaps.encapsulate([buffer.getvalue()])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(tmp_path / "a")
    np.testing.assert_allclose(rows_first(tmp_path / "a").astype(int), colours(), atol=4)


@pytest.mark.parametrize("bits, unit", [(8, 1), (16, 257)])
def test_palette_is_resolved(tmp_path: Path, bits: int, unit: int) -> None:
    index = gradient(top=255).astype(np.uint16)
    red = np.arange(256, dtype=f"u{bits // 8}") * unit
    tables = {"Red": red, "Green": red[::-1], "Blue": red // 2}
    tags: dict = {f"{name}PaletteColorLookupTableData": table.tobytes() for name, table in tables.items()}
    tags |= {f"{name}PaletteColorLookupTableDescriptor": [256, 0, bits] for name in tables}
    path = write_dicom(tmp_path / "a", index, "PALETTE COLOR", **tags)
    np.testing.assert_array_equal(rows_first(path), np.stack([table[index] for table in tables.values()], axis=-1))


def test_colours_with_a_profile_become_srgb(tmp_path: Path) -> None:
    path = write_colour_dicom(tmp_path / "a", colours(), ICCProfile=linear_profile())
    np.testing.assert_allclose(rows_first(path), srgb_of_light(colours()), atol=2)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda path: write_dicom(path, gradient(), NumberOfFrames=2), r"a\.dcm holds 2 frames: give one image a file"),
        (lambda path: write_dicom(path, gradient(), "HSV"), "colours of the kind HSV with 16 bits: export it as grey"),
        (
            lambda path: write_colour_dicom(path, colours(), "YBR_PARTIAL_422"),
            "of the kind YBR_PARTIAL_422 with 8 bits",
        ),
        (
            lambda path: write_colour_dicom(path, colours().astype("u2"), "YBR_FULL"),
            "of the kind YBR_FULL with 16 bits",
        ),
        (lambda path: write_dicom(path, gradient(), "PALETTE COLOR"), "No suitable Palette Color Lookup Table"),
        (lambda path: write_dicom(path, gradient(), PixelData=b"12"), r"pixels of a\.dcm are damaged"),
        (lambda path: compressed(path), r"pixels of a\.dcm are damaged"),
    ],
)
def test_images_that_cannot_be_read(tmp_path: Path, make: Callable[[Path], Path], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DICOM().read(make(tmp_path / "a.dcm"))


def compressed(path: Path) -> Path:
    dataset = pydicom.dcmread(write_dicom(path, gradient()))
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\x4f\xff\x51 not a codestream\xff\xd9"])
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.JPEG2000Lossless
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


def test_missing_decoder_names_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = compressed(tmp_path / "a.dcm")

    def pixel_array(dataset: pydicom.Dataset) -> np.ndarray:
        raise RuntimeError("Unable to decompress pixel data because all plugins are missing dependencies")

    monkeypatch.setattr(pydicom.FileDataset, "pixel_array", property(pixel_array))
    with pytest.raises(
        ValueError, match="JPEG 2000.* no decoder is installed: pip install pylibjpeg pylibjpeg-openjpeg"
    ):
        DICOM().read(path)


def grey(path: Path) -> np.ndarray:
    """Values ``(row, column)``."""
    return DICOM().read(path).numpy()[0].T


def table(values: np.ndarray, first: int = 0, bits: int = 16, packed: bool = False) -> Sequence:
    """A LUT as a sequence of one item; packed: two entries of 8 bits a word."""
    item = pydicom.Dataset()
    item.add_new("LUTDescriptor", "SS" if first < 0 else "US", [len(values) % 2**16, first, bits])
    data = values.astype(np.uint8 if packed else "<u2")
    item.add_new("LUTData", "OW", data.tobytes())
    return Sequence([item])


@pytest.mark.parametrize(
    "photometric, shape, turned",
    [
        ("MONOCHROME2", "IDENTITY", False),
        ("MONOCHROME2", "INVERSE", True),
        # says the same twice (C.8.11.3)
        ("MONOCHROME1", "INVERSE", True),
        ("MONOCHROME1", None, True),
    ],
)
def test_presentation_lut_shape(tmp_path: Path, photometric: str, shape: str | None, turned: bool) -> None:
    image = gradient(top=4000)
    path = write_dicom(tmp_path / "a", image, photometric, **({"PresentationLUTShape": shape} if shape else {}))
    np.testing.assert_array_equal(grey(path), image.max() + image.min() - image if turned else image)


@pytest.mark.parametrize("first, bits, packed", [(0, 16, False), (100, 12, False), (0, 8, True)])
def test_modality_lut_comes_before_all_else(tmp_path: Path, first: int, bits: int, packed: bool) -> None:
    image = gradient(top=240)
    # as film, denser where more was detected
    values = np.arange(256)[::-1] // (1 if bits > 8 else 2)
    path = write_dicom(tmp_path / "a", image, ModalityLUTSequence=table(values, first, bits, packed))
    np.testing.assert_array_equal(grey(path), values[np.clip(image.astype(int) - first, 0, 255)])


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_voi_lut_is_applied_to_rescaled_values(tmp_path: Path, bits: int) -> None:
    image = gradient(top=4000)
    values = np.rint((2**bits - 1) * np.linspace(1, 0, 512) ** 2).astype(int)
    tags = {"RescaleSlope": 0.5, "RescaleIntercept": -1000, "WindowCenter": 1, "WindowWidth": 2}
    path = write_dicom(tmp_path / "a", image, VOILUTSequence=table(values, -400, bits), **tags)
    rescaled = np.rint(image * 0.5 - 1000).astype(int)
    np.testing.assert_array_equal(grey(path), values[np.clip(rescaled + 400, 0, 511)])


def test_a_damaged_voi_lut_is_told(tmp_path: Path) -> None:
    luts = table(np.arange(100))
    luts[0].LUTDescriptor = [4096, 0, 16]
    image = DICOM().read(write_dicom(tmp_path / "a", gradient(top=4000), VOILUTSequence=luts, PixelSpacing=[1, 1]))
    np.testing.assert_array_equal(image[0].T, gradient(top=4000))
    assert image.meta["warnings"] == ["its VOI LUT is damaged (100 of 4096 entries): not applied"]


@pytest.mark.parametrize(
    "tags",
    [
        {"WindowCenter": 2000, "WindowWidth": 2001},
        # the first of several that shows the image
        {"WindowCenter": [9000, 2000, 100], "WindowWidth": [10, 2001, 10]},
        {"WindowCenter": [2000, 9000], "WindowWidth": [2001, 10], "WindowCenterWidthExplanation": ["NORMAL", "BONE"]},
    ],
)
def test_window_is_linear_and_clips(tmp_path: Path, tags: dict) -> None:
    image = gradient(top=4000)
    found = grey(write_dicom(tmp_path / "a", image, **tags))
    # C.11.2.1.2.1, from 0 to 65535
    expected = np.clip(((image - 1999.5) / 2000 + 0.5) * 65535, 0, 65535)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=0.1)


def test_sigmoid_window(tmp_path: Path) -> None:
    image = gradient(top=4000)
    tags = {"WindowCenter": 2000, "WindowWidth": 1000, "VOILUTFunction": "SIGMOID"}
    expected = 65535 / (1 + np.exp(-4 * (image - 2000) / 1000))
    np.testing.assert_allclose(grey(write_dicom(tmp_path / "a", image, **tags)), expected, rtol=1e-5)


@pytest.mark.parametrize("centre, width", [(9000, 10), (2000, 0), (2000, 5)])
def test_a_window_that_shows_nothing_is_told(tmp_path: Path, centre: int, width: int) -> None:
    path = write_dicom(tmp_path / "a", gradient(top=4000), WindowCenter=centre, WindowWidth=width, PixelSpacing=[1, 1])
    image = DICOM().read(path)
    np.testing.assert_array_equal(image[0].T, gradient(top=4000))
    assert image.meta["warnings"][0].startswith(f"its window at {centre} (width {width}) shows next to nothing")


@pytest.mark.parametrize("value, limit", [(4095, None), (4000, 4095), (4095, 4000)])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_is_black_and_outside(tmp_path: Path, value: int, limit: int | None, photometric: str) -> None:
    image = gradient(top=2000)
    padded = np.pad(image, 5, constant_values=4095)
    # within the body it is a value as any other
    padded[25, 20] = 4095
    tags = {"PixelPaddingValue": value} | ({} if limit is None else {"PixelPaddingRangeLimit": limit})
    read = DICOM().read(write_dicom(tmp_path / "a", padded, photometric, **tags))
    inside = np.pad(np.ones(image.shape, bool), 5)
    np.testing.assert_array_equal(read.meta["outside"].values.T, ~inside)
    shown = read.numpy()[0].T
    expected = padded if photometric == "MONOCHROME2" else 4095 + image.min() - padded
    np.testing.assert_array_equal(shown[inside], expected[inside])
    assert (shown[~inside] == expected[inside].min()).all()


def test_padding_may_be_larger_than_the_stored_bits(tmp_path: Path) -> None:
    image = np.pad(gradient(top=2000), 4, constant_values=65535)
    path = write_dicom(tmp_path / "a", image, PixelPaddingValue=65535)
    assert DICOM().read(path).meta["outside"].sum() == image.size - gradient().size


def test_signed_padding_may_be_written_as_unsigned(tmp_path: Path) -> None:
    image = np.pad(gradient(top=2000), 4, constant_values=-2000)
    tags = {"PixelRepresentation": 1, "BitsStored": 16, "HighBit": 15, "PixelData": image.astype("<i2").tobytes()}
    path = write_dicom(tmp_path / "a", image, **tags)
    dataset = pydicom.dcmread(path)
    dataset.add_new("PixelPaddingValue", "US", 2**16 - 2000)
    dataset.save_as(path)
    assert DICOM().read(path).meta["outside"].sum() == image.size - gradient().size


@pytest.mark.parametrize(
    "tags, visible",
    [
        (
            {"LeftVerticalEdge": 4, "RightVerticalEdge": 27, "UpperHorizontalEdge": 6, "LowerHorizontalEdge": 36},
            lambda row, column: (4 <= column) & (column <= 27) & (6 <= row) & (row <= 36),
        ),
        (
            {"CenterOfCircular": [20, 15], "RadiusOfCircular": 12},
            lambda row, column: (row - 20) ** 2 + (column - 15) ** 2 <= 144,
        ),
        (
            {"VerticesOfThePolygonal": [1, 1, 40, 1, 1, 30]},
            lambda row, column: (row - 1) / 39 + (column - 1) / 29 < 1,
        ),
    ],
)
@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
def test_what_a_shutter_hides_is_outside(tmp_path: Path, tags: dict, visible: Callable, kind: str) -> None:
    shape = "RECTANGULAR" if len(tags) == 4 else "CIRCULAR" if len(tags) == 2 else "POLYGONAL"
    image = gradient(top=4000)
    names = {f"{kind}{name}" if name.endswith("Edge") else f"{name}{kind}": value for name, value in tags.items()}
    read = DICOM().read(write_dicom(tmp_path / "a", image, **{f"{kind}Shape": shape, **names}))
    rows, columns = (axis + 1 for axis in np.indices(image.shape))
    expected = visible(rows, columns)
    outside = read.meta["outside"].values.T
    # pixels that the border of a polygon cuts may be on either side
    assert (outside == expected).mean() <= (0 if shape != "POLYGONAL" else 0.02)
    shown = read.numpy()[0].T
    np.testing.assert_array_equal(shown[~outside], image[~outside])
    assert (shown[outside] == image[~outside].min()).all()


def test_a_shutter_without_edges_is_told(tmp_path: Path) -> None:
    read = DICOM().read(write_dicom(tmp_path / "a", gradient(), ShutterShape="RECTANGULAR", PixelSpacing=[1, 1]))
    assert read.meta["warnings"] == ["ShutterShape RECTANGULAR lacks its edges: not applied"]
    assert "outside" not in read.meta


TURNS = {
    "L\\F": lambda image: image,
    "R\\F": np.fliplr,
    "L\\H": np.flipud,
    "R\\H": lambda image: image[::-1, ::-1],
    # stored with its rows from feet to head
    "H\\L": lambda image: np.rot90(image, -1),
    "F\\L": np.transpose,
    "LF\\FR": lambda image: image,
}


@pytest.mark.parametrize("orientation", TURNS)
def test_patient_orientation_brings_an_image_upright_and_its_mask_back(tmp_path: Path, orientation: str) -> None:
    upright = gradient(top=4000)
    stored = TURNS[orientation](upright)
    tags = {"PatientOrientation": orientation.split("\\"), "PixelSpacing": [0.5, 0.5]}
    image = DICOM().read(write_dicom(tmp_path / "a", stored, **tags))
    order = DisplayOrder()
    shown = order(image)
    np.testing.assert_array_equal(shown[0], upright)
    np.testing.assert_array_equal(order.inverse(shown)[0], image[0])
    # a mask lies over the file, which has no place in the patient
    np.testing.assert_array_equal(image.meta["file_affine"], np.diag([-0.5, -0.5, 1, 1]))
    assert "warnings" not in image.meta


def test_patient_orientation_that_says_nothing_is_told_and_gives_way(tmp_path: Path) -> None:
    wrong = DICOM().read(write_dicom(tmp_path / "a", gradient(), PatientOrientation=["L", "R"], PixelSpacing=[1, 1]))
    assert wrong.meta["warnings"] == ["PatientOrientation is L\\R, which says nothing: taken as upright"]
    tags = {"PatientOrientation": ["R", "F"], "ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "PixelSpacing": [1, 1]}
    placed = DICOM().read(write_dicom(tmp_path / "b", gradient(), **tags))
    np.testing.assert_array_equal(DisplayOrder()(placed)[0], gradient())


@pytest.mark.parametrize("implicit", [True, False])
def test_files_without_preamble(tmp_path: Path, implicit: bool) -> None:
    dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", gradient(top=4000)))
    if implicit:
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ImplicitVRLittleEndian
        if pydicom.__version__.startswith("2."):
            dataset.is_implicit_VR = True
    dataset.save_as(tmp_path / "a.dcm")
    content = (tmp_path / "a.dcm").read_bytes()
    # preamble, DICM, and the group 0002, whose length is the value of its first element
    meta = 132 + 12 + int.from_bytes(content[140:144], "little")
    (tmp_path / "b").write_bytes(content[meta:])
    assert content[meta : meta + 2] == b"\x08\0"
    assert DICOM().recognises(tmp_path / "b")
    np.testing.assert_array_equal(grey(tmp_path / "b"), gradient(top=4000))
    (tmp_path / "text").write_text("text that is long enough")
    assert not DICOM().recognises(tmp_path / "text")
    # small numbers of 16 bits
    (tmp_path / "raw").write_bytes(np.array([8, 5, 10, 0, *range(50)], "<i2").tobytes())
    assert not DICOM().recognises(tmp_path / "raw")


@pytest.mark.parametrize("spacing", [[0, 0], [-1, 1], "x", [0.5]])
def test_spacing_that_says_nothing_is_unknown(tmp_path: Path, spacing: object) -> None:
    path = write_dicom(tmp_path / "a", gradient(), ImagerPixelSpacing=[0.5, 0.4])
    dataset = pydicom.dcmread(path)
    with pydicom.config.disable_value_validation():
        dataset.PixelSpacing = [0, 0] if spacing == "x" else spacing
        dataset.save_as(path)
    image = DICOM().read(path)
    assert image.meta["spacing_unit"] == "mm"
    np.testing.assert_allclose(np.diag(image.meta["file_affine"]), [-0.4, -0.5, 1, 1])
    unknown = DICOM().read(edit_dicom(path, ImagerPixelSpacing=None))
    assert unknown.meta["spacing_unit"] == "pixel" and "PixelSpacing is" in unknown.meta["warnings"][0]


@pytest.mark.parametrize("spoil", ["cut", "cut_and_padded"])
@pytest.mark.parametrize("syntax, format", [("JPEGBaseline8Bit", "JPEG"), ("JPEG2000Lossless", "JPEG2000")])
def test_codestreams_that_are_cut_off_are_errors(tmp_path: Path, syntax: str, format: str, spoil: str) -> None:
    buffer = BytesIO()
    Image.fromarray(gradient(80, 60).astype(np.uint8)).save(
        buffer, format, **({"no_jp2": True} if "2" in format else {})
    )
    stream = buffer.getvalue()
    tags = {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7}

    def stored(content: bytes) -> Path:
        dataset = pydicom.dcmread(write_dicom(tmp_path / "a.dcm", gradient(80, 60), **tags))
        dataset.file_meta.TransferSyntaxUID = getattr(pydicom.uid, syntax)
        dataset.PixelData = pydicom.encaps.encapsulate([content])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(tmp_path / "a.dcm")
        return tmp_path / "a.dcm"

    np.testing.assert_allclose(grey(stored(stream)), gradient(80, 60), atol=40)
    # some writers pad to even length, and further
    np.testing.assert_allclose(grey(stored(stream + bytes(60))), gradient(80, 60), atol=40)
    cut = stream[: len(stream) * 55 // 100]
    with pytest.raises(ValueError, match=r"pixels of a\.dcm are damaged \(the codestream is cut off"):
        DICOM().read(stored(cut + bytes(4) if spoil == "cut_and_padded" else cut))


def test_overlays_in_unused_bits_are_left_out(tmp_path: Path) -> None:
    image = gradient(top=4000).astype(np.uint16)
    path = write_dicom(tmp_path / "a", image | (image % 2) << 12)
    dataset = pydicom.dcmread(path)
    dataset.add_new((0x6000, 0x0100), "US", 16)
    dataset.add_new((0x6000, 0x0102), "US", 12)
    dataset.save_as(path)
    np.testing.assert_array_equal(grey(path), image)


def test_patient_and_claims_are_kept(tmp_path: Path) -> None:
    tags = {"PatientID": "TEST-7", "ViewPosition": "LL", "BodyPartExamined": "CHEST"}
    meta = DICOM().read(write_dicom(tmp_path / "a", gradient(), **tags)).meta
    assert meta["patient"] == "TEST-7"
    assert meta["claims"] == {"Modality": "CR", "BodyPartExamined": "CHEST", "ViewPosition": "LL"}


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("low", [0, 4])
def test_values_are_in_the_bits_that_highbit_tells(tmp_path: Path, signed: bool, low: int) -> None:
    image = gradient(top=2000).astype(int) - (1000 if signed else 0)
    bits = (image % 4096) << low
    tags = {"PixelRepresentation": int(signed), "HighBit": 11 + low}
    np.testing.assert_array_equal(grey(write_dicom(tmp_path / "a", bits, **tags)), image)


def test_values_beyond_bits_stored_are_kept(tmp_path: Path) -> None:
    image = gradient(top=60000)
    np.testing.assert_array_equal(grey(write_dicom(tmp_path / "a", image)), image)


def test_a_file_that_ends_within_its_pixels_says_so(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", gradient(80, 60))
    dataset = pydicom.dcmread(path)
    dataset.compress(pydicom.uid.RLELossless)
    dataset.save_as(path)
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=r"a\.dcm has no pixels, or is cut off within them"):
        DICOM().read(path)
    report = edit_dicom(write_dicom(tmp_path / "b.dcm", gradient(), Modality="SR"), PixelData=None, Rows=None)
    with pytest.raises(ValueError, match=r"b\.dcm holds no image \(SR\)"):
        DICOM().read(report)


@pytest.mark.parametrize("signed", [True, False])
def test_overlays_whose_description_was_taken_out_are_left_out(tmp_path: Path, signed: bool) -> None:
    image = gradient(top=2000).astype(int) - (1000 if signed else 0)
    drawn = np.zeros(image.shape, dtype=int)
    drawn[10:20, 5:25] = 1 << 13
    path = write_dicom(tmp_path / "a", image % 4096 | drawn, PixelRepresentation=int(signed))
    np.testing.assert_array_equal(grey(path), image)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_padding_without_a_tag_is_far_from_all_values(tmp_path: Path, photometric: str) -> None:
    image = gradient(top=4000).astype(np.uint16)
    # not a frame, which would be found too
    corner = np.add.outer(np.arange(40), np.arange(30)) < 12
    tags = {"BitsStored": 16, "HighBit": 15}
    found = DICOM().read(write_dicom(tmp_path / "a", np.where(corner, 65535, image), photometric, **tags))
    np.testing.assert_array_equal(found.meta["outside"].values.T, corner)
    shown = image if photometric == "MONOCHROME2" else image.max() + image[~corner].min() - image
    np.testing.assert_array_equal(found[0].numpy().T[~corner], shown[~corner])
    assert "far from all others" in found.meta["warnings"][0]
