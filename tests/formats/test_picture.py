# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import ExifTags, Image, ImageCms, TiffImagePlugin
from skimage.color import rgb2lab

from monai_semgan import formats
from monai_semgan.formats import FormatReader, Picture
from tests.image_files import colours, gradient, linear_profile, srgb_of_light, write_png, write_png_16

# how the stored array is turned for display (EXIF 2.32, tag 274)
TURNED = {
    1: lambda stored: stored,
    2: lambda stored: stored[:, ::-1],
    3: lambda stored: stored[::-1, ::-1],
    4: lambda stored: stored[::-1],
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: np.rot90(stored, -1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: np.rot90(stored),
}


def read(path: Path) -> np.ndarray:
    """The picture, ``(row, column)`` or ``(row, column, RGB)``, in the type that its values are of."""
    image = Picture().read(path, 2)
    array = image.numpy().T.astype(image.meta["stored_dtype"])
    return array[..., 0] if array.shape[-1] == 1 else array


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[ExifTags.Base.Orientation] = orientation
    return tags


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif", "webp"])
def test_every_exif_orientation_comes_as_displayed(tmp_path: Path, suffix: str, orientation: int) -> None:
    stored, path = colours(), tmp_path / f"a.{suffix}"
    exact = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(stored).save(path, exif=exif(orientation), **exact)
    shown = TURNED[orientation](stored)
    np.testing.assert_allclose(read(path).astype(int), shown, atol=3 if suffix == "jpg" else 0)
    assert tuple(Picture().read(path, 2).shape) == ((3, 30, 40) if orientation < 5 else (3, 40, 30))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_grey_of_16_bits_is_turned(tmp_path: Path, orientation: int) -> None:
    stored = gradient(top=60000).astype(np.uint16)
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif(orientation))
    np.testing.assert_array_equal(read(tmp_path / "a.png"), TURNED[orientation](stored))


@pytest.mark.parametrize("broken", ["header", "length", "orientation", "empty"])
def test_broken_exif_leaves_the_picture(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(colours()).save(path, exif=exif(6), quality=100, subsampling=0)
    data = path.read_bytes()
    start = data.index(b"Exif\0\0") + 6
    place, junk = {"header": (0, b"XXXX"), "length": (8, b"\xff\xff"), "orientation": (18, b"\x63\x63")}.get(
        broken, (0, bytes(26))
    )
    path.write_bytes(data[: start + place] + junk + data[start + place + len(junk) :])
    turned = TURNED[6](colours()) if broken == "length" else colours()
    np.testing.assert_allclose(read(path).astype(int), turned, atol=3)


def test_picture_is_turned_though_the_rest_of_its_exif_is_broken(tmp_path: Path) -> None:
    # an entry of ASCII text, said to lie beyond the end
    text = b"\x0e\x01\x02\x00\xff\x00\x00\x00\xff\xff\x00\x00"
    orientation = b"\x12\x01\x03\x00\x01\x00\x00\x00\x06\x00\x00\x00"
    tags = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + orientation + text + b"\0\0\0\0"
    Image.fromarray(colours()).save(tmp_path / "a.jpg", exif=tags, quality=100, subsampling=0)
    np.testing.assert_allclose(read(tmp_path / "a.jpg").astype(int), TURNED[6](colours()), atol=3)


@pytest.mark.parametrize("suffix", ["jpg", "tif"])
def test_cmyk_becomes_rgb(tmp_path: Path, suffix: str) -> None:
    # a JPEG's CMYK is stored inverted, as Adobe does, a TIFF's is not
    path = tmp_path / f"a.{suffix}"
    picture = Image.fromarray(colours()).convert("CMYK")
    picture.save(path, **({"quality": 98, "subsampling": 0} if suffix == "jpg" else {}))
    with Image.open(path) as stored:
        assert stored.mode == "CMYK" and (suffix == "tif" or "adobe" in stored.info)
    np.testing.assert_allclose(read(path).astype(int), colours(), atol=8)


def test_black_ink_darkens(tmp_path: Path) -> None:
    ink = np.zeros((4, 4, 4), np.uint8)
    ink[:, 2:, 3] = 255
    Image.fromarray(ink, mode="CMYK").save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read(tmp_path / "a.tif")[0, :, 0], [255, 255, 0, 0])


def test_ycbcr_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(colours()).convert("YCbCr").save(tmp_path / "a.tif", compression="jpeg", quality=100)
    np.testing.assert_allclose(read(tmp_path / "a.tif").astype(int), colours(), atol=8)


def test_lab_becomes_rgb(tmp_path: Path) -> None:
    # TIFF's CIELAB: L scaled to 0..255, a and b signed
    muted = colours() // 4 + 90
    lab = rgb2lab(muted)
    stored = np.concatenate([lab[..., :1] * 2.55, lab[..., 1:] % 256], axis=-1).round().astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stored, photometric="cielab")
    np.testing.assert_allclose(read(tmp_path / "a.tif").astype(int), muted, atol=6)


def test_one_bit(tmp_path: Path) -> None:
    Image.fromarray(gradient() > 100).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read(tmp_path / "a.png"), (gradient() > 100) * 255)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
def test_alpha_is_dropped_and_the_colours_below_it_stay(tmp_path: Path, suffix: str) -> None:
    alpha = gradient().astype(np.uint8)
    exact = {"lossless": True, "exact": True} if suffix == "webp" else {}
    Image.fromarray(np.dstack([colours(), alpha])).save(tmp_path / f"a.{suffix}", **exact)
    np.testing.assert_array_equal(read(tmp_path / f"a.{suffix}"), colours())


def test_palette_is_resolved_and_transparency_dropped(tmp_path: Path) -> None:
    image = gradient().astype(np.uint8)
    palette = Image.fromarray(image).convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    for name, transparency in (("opaque", {}), ("one", {"transparency": 3}), ("all", {"transparency": bytes(256)})):
        palette.save(tmp_path / f"{name}.png", **transparency)
        np.testing.assert_array_equal(read(tmp_path / f"{name}.png"), np.stack([image] * 3, axis=-1))
    Image.merge("LA", [Image.fromarray(image), Image.fromarray(255 - image)]).save(tmp_path / "alpha.png")
    np.testing.assert_array_equal(read(tmp_path / "alpha.png"), image)


def full_range() -> np.ndarray:
    """16 bit colours whose lower bytes are not their upper bytes."""
    return colours().astype(np.uint16) * 250 + 7


@pytest.mark.parametrize("channels", [3, 4])
def test_png_of_16_bit_colours(tmp_path: Path, channels: int) -> None:
    image = np.dstack([full_range(), np.full((40, 30), 999, np.uint16)])[..., :channels]
    array = read(write_png_16(tmp_path / "a.png", image))
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, full_range())


@pytest.mark.parametrize(
    "settings", [{}, {"byteorder": ">"}, {"compression": "zlib"}, {"compression": "zlib", "predictor": True}]
)
def test_tiff_of_16_bit_colours(tmp_path: Path, settings: dict) -> None:
    tifffile.imwrite(tmp_path / "a.tif", full_range(), photometric="rgb", **settings)
    array = read(tmp_path / "a.tif")
    assert array.dtype == np.uint16
    np.testing.assert_array_equal(array, full_range())


def test_other_layouts_of_16_bits_give_the_upper_byte(tmp_path: Path) -> None:
    upper = full_range() >> 8
    write_png_16(tmp_path / "alpha.png", full_range()[..., :2])
    np.testing.assert_array_equal(read(tmp_path / "alpha.png"), upper[..., [0, 0, 0]])
    tifffile.imwrite(tmp_path / "tiles.tif", full_range(), photometric="rgb", tile=(16, 16))
    np.testing.assert_array_equal(read(tmp_path / "tiles.tif"), upper)
    orientation = [(ExifTags.Base.Orientation, 3, 1, 6, True)]
    tifffile.imwrite(tmp_path / "turned.tif", full_range(), photometric="rgb", extratags=orientation)
    np.testing.assert_array_equal(read(tmp_path / "turned.tif"), TURNED[6](upper))


@pytest.mark.parametrize("byteorder, photometric", [("<", "minisblack"), (">", "minisblack"), ("<", "miniswhite")])
def test_grey_tiff_of_16_bits(tmp_path: Path, byteorder: str, photometric: str) -> None:
    image = gradient(top=60000).astype(np.uint16)
    stored = image if photometric == "minisblack" else 65535 - image
    tifffile.imwrite(tmp_path / "a.tiff", stored, byteorder=byteorder, photometric=photometric)
    array = read(tmp_path / "a.tiff")
    assert array.dtype == np.uint16 and array.dtype.isnative
    np.testing.assert_array_equal(array, image)


@pytest.mark.parametrize("dtype", [np.int32, np.float32])
def test_grey_tiff_of_32_bits(tmp_path: Path, dtype: type) -> None:
    image = gradient(top=100000).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", image)
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), image)


def test_bmp(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(write_png(tmp_path / "a.BMP", colours())), colours())


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_colours_with_a_profile_become_srgb(tmp_path: Path, suffix: str) -> None:
    exact = {"jpg": {"quality": 100, "subsampling": 0}, "webp": {"lossless": True}}.get(suffix, {})
    Image.fromarray(colours()).save(tmp_path / f"a.{suffix}", icc_profile=linear_profile(), **exact)
    np.testing.assert_allclose(read(tmp_path / f"a.{suffix}"), srgb_of_light(colours()), atol=6)


def test_16_bit_colours_with_a_profile_become_srgb(tmp_path: Path) -> None:
    profile = linear_profile()
    tags = [(ExifTags.Base.InterColorProfile, 7, len(profile), profile, True)]
    tifffile.imwrite(tmp_path / "a.tif", colours().astype(np.uint16) * 257, photometric="rgb", extratags=tags)
    np.testing.assert_allclose(read(tmp_path / "a.tif"), srgb_of_light(colours()), atol=2)


def test_profile_that_cannot_be_used_is_passed_over(tmp_path: Path) -> None:
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"broken", linear_profile()[:200], lab):
        Image.fromarray(colours()).save(tmp_path / "a.png", icc_profile=profile)
        np.testing.assert_array_equal(read(tmp_path / "a.png"), colours())


def test_grey_keeps_its_values_whatever_its_profile(tmp_path: Path) -> None:
    image = gradient().astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "a.png", icc_profile=linear_profile())
    np.testing.assert_array_equal(read(tmp_path / "a.png"), image)


@pytest.mark.parametrize("suffix, unit", [("tif", "pages"), ("png", "frames"), ("webp", "frames")])
def test_several_pages_are_refused(tmp_path: Path, suffix: str, unit: str) -> None:
    pages = [Image.fromarray(np.roll(colours(), shift, axis=0)) for shift in (0, 5, 9)]
    pages[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=pages[1:])
    with pytest.raises(ValueError, match=rf"^a\.{suffix} holds 3 {unit}: give one image a file"):
        read(tmp_path / f"a.{suffix}")


def test_preview_in_a_cameras_file_is_passed_over(tmp_path: Path) -> None:
    picture = Image.fromarray(colours())
    preview = picture.resize((15, 20))
    picture.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview], quality=100, subsampling=0)
    np.testing.assert_allclose(read(tmp_path / "a.jpg").astype(int), colours(), atol=3)


def test_planes_of_16_bits_are_refused(tmp_path: Path) -> None:
    planes = full_range().transpose(2, 0, 1)
    tifffile.imwrite(tmp_path / "a.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(ValueError, match=r"^a\.tif holds colours of 16 bits plane by plane: save it with interleaved"):
        read(tmp_path / "a.tif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp", "webp"])
def test_truncated_pictures(tmp_path: Path, suffix: str) -> None:
    path = write_png(tmp_path / f"a.{suffix}", colours())
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(ValueError, match=rf"^a\.{suffix} is damaged or not a PNG"):
        read(path)


def test_colours_as_floats_are_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", colours().astype(np.float32), photometric="rgb")
    with pytest.raises(ValueError, match="cannot identify image file"):
        read(tmp_path / "a.tif")


def test_grey_of_16_bits_may_be_called_planar(tmp_path: Path) -> None:
    image = gradient(top=60000).astype(np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", image, extratags=[(ExifTags.Base.PlanarConfiguration, 3, 1, 2, True)])
    np.testing.assert_array_equal(read(tmp_path / "a.tif"), image)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "rgb"])
def test_tiff_is_turned_whatever_its_mode(tmp_path: Path, orientation: int, compression: str | None, kind: str) -> None:
    upright = colours() if kind == "rgb" else gradient().astype(kind)
    # what a viewer does, undone (TIFF 6.0, Orientation)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.swapaxes(0, 1),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.swapaxes(0, 1), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[274] = orientation
    image = Image.fromarray(np.ascontiguousarray(stored))
    image.save(tmp_path / "a.tif", tiffinfo=tags, **({"compression": compression} if compression else {}))
    np.testing.assert_array_equal(Picture().read(tmp_path / "a.tif").numpy().T.squeeze(), upright)


def test_labels_with_a_palette_give_its_indices(tmp_path: Path) -> None:
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4)
    picture = Image.fromarray(indices, mode="P")
    picture.putpalette([200 - 10 * value for value in range(12) for _ in range(3)])
    picture.save(tmp_path / "label.png")
    found = FormatReader(2, label=True, indices=True).get_data(tmp_path / "label.png")[0]
    np.testing.assert_array_equal(found[0].numpy(), indices.T)
    # as a picture it has its colours, and grey values are indices by themselves
    assert formats.read(tmp_path / "label.png", 2).shape == (3, 4, 3)
    Image.fromarray(indices).save(tmp_path / "grey.png")
    grey = formats.read(tmp_path / "grey.png", 2, label=True, indices=True)
    np.testing.assert_array_equal(grey[0].numpy(), indices.T)
