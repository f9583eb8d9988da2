# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from monai.data import MetaTensor

from monai_semgan.formats import read
from monai_semgan.transforms import BinaryMask, BinaryMaskd, LabelMap, LabelMapd, ResizeLabel, ResizeLabeld, SameGridd
from tests.image_files import gradient, write_nifti
from tests.volume_files import BACK, FEET, FRONT, HEAD, LEFT, affine_of, rotation

AFFINE = affine_of(LEFT, BACK, HEAD)


def item(shape: tuple[int, ...] = (4, 5, 6), affine: np.ndarray = AFFINE) -> dict:
    meta = {"spatial_shape": np.array([4, 5, 6]), "original_affine": AFFINE}
    return {
        "image": MetaTensor(torch.zeros(1, 8, 8, 6), meta=meta),
        "label": MetaTensor(torch.zeros(1, *shape), affine),
    }


def test_same_grid_passes_within_rounding() -> None:
    pair = item(affine=AFFINE + 1e-3)
    assert SameGridd("label")(pair)["label"] is pair["label"]


def moved(row: int, column: int, value: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[row, column] = value
    return affine


def turned(angle: float) -> np.ndarray:
    affine = AFFINE.copy()
    affine[:3, :3] = rotation(0, 0, angle) @ affine[:3, :3]
    return affine


@given(st.permutations(range(3)), st.tuples(*[st.booleans()] * 3))
def test_labels_in_another_order_are_brought_to_the_image(order: list[int], flips: tuple[bool, ...]) -> None:
    right = torch.arange(4 * 5 * 6).reshape(1, 4, 5, 6).float()
    # index of the image's voxel from that of the label's
    to_image = np.zeros((4, 4))
    to_image[3, 3] = 1
    label = right.permute(0, *(axis + 1 for axis in order))
    for axis, (source, flip) in enumerate(zip(order, flips)):
        to_image[source, axis] = -1 if flip else 1
        to_image[source, 3] = right.shape[1 + source] - 1 if flip else 0
        label = label.flip(axis + 1) if flip else label
    pair = item()
    shape = np.array(label.shape[1:])
    meta = {"original_affine": AFFINE @ to_image, "spatial_shape": shape}
    pair["label"] = MetaTensor(label.contiguous(), AFFINE @ to_image, meta=meta)
    found = SameGridd("label")(pair)["label"]
    np.testing.assert_array_equal(found.as_tensor(), right)
    np.testing.assert_allclose(found.affine, AFFINE, atol=1e-9)
    assert tuple(found.meta["spatial_shape"]) == (4, 5, 6)


def test_a_flipped_label_of_a_single_image_is_brought_to_it(tmp_path: Path) -> None:
    array = gradient().T
    affine = affine_of(LEFT, FEET, BACK)
    flipped = affine.copy()
    flipped[:3, 1], flipped[:3, 3] = -affine[:3, 1], affine[:3, 3] + 39 * affine[:3, 1]
    image = read(write_nifti(tmp_path / "image.nii", array, affine), 2)
    label = read(write_nifti(tmp_path / "label.nii", np.uint8(array[:, ::-1] > 100), flipped), 2)
    found = SameGridd("label")({"image": image, "label": label})["label"]
    np.testing.assert_array_equal(found[0] > 0, array > 100)
    np.testing.assert_allclose(found.affine, image.affine)
    # one that was made of a picture says nothing
    plain = read(write_nifti(tmp_path / "plain.nii", np.uint8(array > 100), np.eye(4)), 2)
    assert SameGridd("label")({"image": image, "label": plain})["label"] is plain


@pytest.mark.parametrize(
    "pair, message",
    [
        (
            item((4, 5, 7)),
            r"label is on another grid than its image: it is of shape \(4, 5, 7\), the image of \(4, 5, 6\)",
        ),
        (
            item(affine=moved(2, 3, 33)),
            r"its origin is \[12.0, -7.0, 33.0\], the image's \[12.0, -7.0, 31.0\]: resample",
        ),
        (item(affine=moved(2, 2, 5)), r"its spacing is \[1.5, 0.7, 5.0\], the image's \[1.5, 0.7, 4.0\]: resample"),
        (item(affine=turned(0.1)), r"its direction is .*0\.0998.*the image's .* -1\.0, "),
        # stored the other way, and 0.7 mm a voxel off
        (
            item(affine=affine_of(LEFT, FRONT, HEAD)),
            r"its origin is \[12.0, -4.2, 31.0\], the image's \[12.0, -7.0, 31",
        ),
    ],
)
def test_other_grids_are_told(pair: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SameGridd("label")(pair)


def test_pictures_are_compared_by_their_shape_and_named() -> None:
    image = MetaTensor(torch.zeros(1, 8, 8), meta={"spatial_shape": np.array([4, 5]), "original_affine": np.eye(4)})
    label = MetaTensor(torch.zeros(1, 4, 5), meta={"filename_or_obj": "folder/b.png"}, affine=2 * np.eye(4))
    assert SameGridd("label")({"image": image, "label": label})["label"] is label
    with pytest.raises(ValueError, match=r"^b.png is on another grid .* of shape \(5, 4\), the image of \(4, 5\)"):
        SameGridd("label")({"image": image, "label": label.transpose(1, 2)})


@pytest.mark.parametrize("foreground", [1, 255, 0.5])
def test_foreground_becomes_one(foreground: float) -> None:
    mask = torch.tensor([[[0, 1.0], [1, 0]]])
    assert torch.equal(BinaryMaskd("label")({"label": mask * foreground})["label"], mask)


def test_empty_and_full_masks() -> None:
    assert BinaryMask()(torch.zeros(1, 3, 3)).sum() == 0
    assert BinaryMask()(torch.full((1, 3, 3), 255.0)).sum() == 9


@pytest.mark.parametrize(
    "mask", [torch.tensor([[0.0, 1, 2]]), torch.tensor([[0.0, -1]]), torch.tensor([[0, float("nan")]])]
)
def test_masks_that_are_not_binary(mask: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="mask is not binary"):
        BinaryMask()(mask)


def test_channels() -> None:
    with pytest.raises(ValueError, match="mask has 2 channels"):
        BinaryMask()(torch.zeros(2, 3, 3))


def random_label(classes: int, rows: int, columns: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(classes + 1, (1, rows, columns), generator=generator).float()


@given(st.integers(1, 20), st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_class_indices_pass_unchanged(classes: int, rows: int, columns: int, seed: int) -> None:
    label = random_label(classes, rows, columns, seed)
    names = [str(index) for index in range(classes)]
    assert torch.equal(LabelMapd("label", names)({"label": label})["label"], label)
    wrong = label.clone()
    wrong[0, 0, 0] = classes + 1
    with pytest.raises(
        ValueError, match="is not binary" if classes == 1 else f"label holds {classes + 1}, which is none"
    ):
        # of one class another single value is foreground
        LabelMap(names)(torch.cat([wrong, torch.ones_like(wrong)], dim=1))


def test_one_class_is_binary() -> None:
    assert torch.equal(LabelMap(["lung"])(torch.tensor([[[0, 255.0]]])), torch.tensor([[[0, 1.0]]]))
    for value in (0.5, -1.0, float("nan")):
        with pytest.raises(ValueError, match=r"none of its classes \(0 background, 1 a, 2 b\)"):
            LabelMap(["a", "b"])(torch.tensor([[[0, value]]]))
    with pytest.raises(ValueError, match="label has 3 channels"):
        LabelMap(["a", "b"])(torch.zeros(3, 2, 2))
    with pytest.raises(ValueError, match="names none"):
        LabelMap([])


@given(st.integers(1, 20), st.integers(1, 30), st.integers(1, 30), st.integers(1, 3), st.integers(0, 99))
def test_indices_come_back_exactly(classes: int, rows: int, columns: int, factor: int, seed: int) -> None:
    label = random_label(classes, rows, columns, seed)
    resized = ResizeLabeld("label", (rows * factor, columns * factor))({"label": label})["label"]
    assert torch.equal(torch.as_tensor(resized), label.repeat_interleave(factor, 1).repeat_interleave(factor, 2))
    assert torch.equal(torch.as_tensor(ResizeLabel((rows, columns))(resized)), label)


@given(st.integers(2, 20), st.integers(2, 30), st.integers(2, 30), st.integers(1, 20), st.integers(0, 99))
def test_a_pixel_gets_the_class_of_the_largest_share(
    classes: int, rows: int, columns: int, size: int, seed: int
) -> None:
    label = random_label(classes, rows, columns, seed)
    found = torch.as_tensor(ResizeLabel((size, size))(label))
    one_hot = F.one_hot(label[0].long(), classes + 1).movedim(2, 0).float()
    shares = F.adaptive_avg_pool2d(one_hot[None], size)[0]
    assert found.shape == (1, size, size)
    assert torch.equal(shares.gather(0, found.long()), shares.amax(0, keepdim=True))
