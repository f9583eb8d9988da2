# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image

from monai_semgan.formats import in_memory


def test_volumes_in_memory_know_where_they_lie() -> None:
    volume = sitk.GetImageFromArray(np.arange(24.0).reshape(2, 3, 4))
    volume.SetSpacing((0.5, 2.0, 3.0))
    volume.SetOrigin((1.0, 2.0, 3.0))
    found = in_memory(volume, 3)
    assert found.shape == (1, 4, 3, 2) and found[0, 3, 2, 1] == 23
    # x and y of ITK run to the left and to the back, those of RAS to the right and to the front
    np.testing.assert_allclose(found.affine.numpy(), np.diag([-0.5, -2, 3, 1]) + np.outer([-1, -2, 3, 0], [0, 0, 0, 1]))


def test_colours_come_first() -> None:
    colours = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    for image in (colours, Image.fromarray(colours)):
        found = in_memory(image, 2)
        assert found.shape == (3, 4, 5) and np.array_equal(found.numpy(), colours.transpose(2, 0, 1))
    found = in_memory(sitk.GetImageFromArray(colours, isVector=True), 2)
    assert np.array_equal(found.numpy(), colours.transpose(2, 1, 0))


def test_deep_images_keep_their_values() -> None:
    deep = np.array([[0, 300], [40000, 65535]], dtype=np.uint16)
    for image in (deep, Image.fromarray(deep)):
        assert np.array_equal(in_memory(image, 2).numpy()[0], deep)
    assert np.array_equal(in_memory(sitk.GetImageFromArray(deep), 2).numpy()[0], deep.T)


def test_what_is_no_image_is_named() -> None:
    with pytest.raises(ValueError, match="image is a dict: give a path"):
        in_memory({}, 2)
    with pytest.raises(ValueError, match=r"shape \(9, 9\), 3 spatial dimensions are expected"):
        in_memory(np.zeros((9, 9)), 3)
