# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.transforms.mri_scale import MRIScale, MRIScaled, body_mask

SHAPE = (96, 80, 3)


def body() -> torch.Tensor:
    """A patient: half of the image."""
    mask = torch.zeros(1, *SHAPE, dtype=torch.bool)
    mask[:, 16:80, 10:70] = True
    return mask


def scan(scale: float = 1.0) -> MetaTensor:
    """Dark tissue with a few bright organs and a vessel without signal; Rician noise everywhere."""
    tissue = torch.where(body(), 150.0, 0.0)
    tissue[:, 24:32, 20:60] = 900
    tissue[:, 48:54, 36:42] = 0
    noise = torch.randn(2, 1, *SHAPE) * 12
    return MetaTensor(scale * torch.hypot(tissue + noise[0], noise[1]), meta={"filename_or_obj": "t2.nii"})


def test_body_is_told_from_noise() -> None:
    found = body_mask(scan().as_tensor())
    agreement = 2 * (found & body()).sum() / (found.sum() + body().sum())
    assert agreement > 0.9
    # the vessel inside is part of the body
    assert found[:, 48:54, 36:42].all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 50.0])
def test_air_is_black_and_the_unit_does_not_matter(scale: float) -> None:
    torch.manual_seed(1)
    expected = MRIScale()(scan())
    torch.manual_seed(1)
    out = MRIScale()(scan(scale))
    torch.testing.assert_close(out.as_tensor(), expected.as_tensor(), atol=1e-3, rtol=0)
    assert out.min() == -1 and out.max() == 1
    assert (out[:, :10] == -1).all()
    assert -0.95 < out[0, 70, 40, 1] < 0


def test_percentiles_are_those_of_the_body() -> None:
    image = scan()
    out = MRIScale(percentile=5)(image)
    inside = image.numpy()[body_mask(image.as_tensor()).numpy()]
    low, high = np.percentile(inside, [5, 95])
    place = (0, 70, 40, 1)
    np.testing.assert_allclose(out[place], 2 * (image[place] - low) / (high - low) - 1, atol=1e-5)


def test_one_value_and_negative_values(caplog: pytest.LogCaptureFixture) -> None:
    assert MRIScale()(torch.full((1, 8, 8, 2), 5.0)).isfinite().all()
    assert not caplog.text
    MRIScaled("image")({"image": scan() - 1000})
    assert "t2.nii: values from -999.9" in caplog.text and "are not those of MRI" in caplog.text


def test_percentile_out_of_range() -> None:
    with pytest.raises(ValueError, match="percentile is 50"):
        MRIScale(50)
