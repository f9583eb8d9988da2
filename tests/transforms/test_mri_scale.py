# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.data import MetaTensor

from monai_semgan.bundle import Bundle
from monai_semgan.data import cohort
from monai_semgan.transforms.mri_scale import MRIScale, MRIScaled, body_mask, intensity_landmarks
from tests.volume_files import BACK, HEAD, LEFT, affine_of, write_volume

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
    image = MRIScaled("image")({"image": scan() - 1000})["image"]
    assert image.meta["warnings"][0].startswith("its values from -999.9")
    # where nothing carries it
    MRIScale()((scan() - 1000).as_tensor())
    assert "are not those of MRI" in caplog.text


def test_percentiles_become_landmarks() -> None:
    image, landmarks = scan(), [-1.0, -0.2, 0.1, 0.8, 1.0]
    out = MRIScale(2, landmarks)(image).numpy()
    body = body_mask(image.as_tensor()).numpy()
    knots = np.percentile(image.numpy()[body], [2, 26, 50, 74, 98])
    np.testing.assert_allclose(out[body], np.interp(image.numpy()[body], knots, landmarks), atol=1e-5)
    assert (out[~body] == -1).all()


@pytest.mark.parametrize("power", [0.5, 3.0])
def test_a_rising_curve_over_the_intensities_is_undone(power: float) -> None:
    # noise decides what is body, and a power moves noise and tissue apart or together: leave it out
    tissue = torch.where(body(), 0.2 + 0.8 * torch.rand(1, *SHAPE, generator=torch.Generator().manual_seed(2)), 0.0)
    scale = MRIScale(0, [-1.0, -0.9, -0.5, -0.1, 0.0, 0.2, 0.3, 0.4, 0.5, 0.8, 1.0])
    assert (scale(tissue**power) - scale(tissue)).abs().mean() < 0.03
    # which two landmarks leave as it is
    assert (MRIScale(0)(tissue**power) - MRIScale(0)(tissue)).abs().mean() > 0.1


def test_landmarks_of_a_volume_are_its_own() -> None:
    volume = MRIScale()(scan()).as_tensor()
    landmarks = intensity_landmarks([volume, volume], number=9, percentile=1)
    assert landmarks == sorted(landmarks) and len(landmarks) == 9
    inside = body_mask(volume)
    expected = np.percentile(volume[inside].numpy(), np.linspace(1, 99, 9))
    np.testing.assert_allclose(landmarks, expected, atol=1e-6)
    # what has these landmarks already stays
    again = MRIScale(1, landmarks)(volume)
    kept = inside & (volume >= landmarks[0]) & (volume <= landmarks[-1])
    torch.testing.assert_close(again[kept], volume[kept], atol=0.02, rtol=0)


def test_landmarks_are_the_mean_over_volumes() -> None:
    volumes = [MRIScale()(scan()).as_tensor() * factor for factor in (1.0, 0.5)]
    single = [intensity_landmarks([volume]) for volume in volumes]
    np.testing.assert_allclose(intensity_landmarks(iter(volumes)), np.mean(single, axis=0), atol=1e-6)
    with pytest.raises(ValueError, match="no volume"):
        intensity_landmarks([])


def displayed(bundle: Bundle, folder: Path, **settings: object) -> Iterator[torch.Tensor]:
    """Volumes of a folder through the wide window, before slices are brought to the network's size."""
    display = bundle.parser(modality="ct_wide").get_parsed_content("display")
    for item in cohort(folder, spatial_dims=3, **settings):
        yield display(item)["image"].as_tensor()


def test_landmarks_of_windowed_volumes(tmp_path: Path) -> None:
    # bodies in a frame of air, one twice as far from -100 as the other
    values = np.random.default_rng(0).uniform(-100, 20, (220, 220, 2))
    for number in (1, 2):
        body = np.full((250, 250, 2), -1000, np.int16)
        body[15:235, 15:235] = -100 + number * (values + 100)
        write_volume(tmp_path / f"{number}.nii.gz", body, affine_of(LEFT, BACK, HEAD))
    found = intensity_landmarks(displayed(Bundle("liver_ct_mri"), tmp_path), number=3, percentile=25)
    # a window of 400 about 40, so 200 HU are 1 and -100 HU are -0.7
    quarters = -100 + 120 * np.array([0.25, 0.5, 0.75])
    expected = [np.mean([(-100 + number * (quarter + 100) - 40) / 200 for number in (1, 2)]) for quarter in quarters]
    # smoothing moves the body's edge by a pixel or two
    np.testing.assert_allclose(found, expected, atol=0.06)


def test_the_bundle_has_those_of_its_training(real_data: Path) -> None:
    bundle, folder = Bundle("liver_ct_mri"), real_data / "liver"
    found = intensity_landmarks(displayed(bundle, folder, datalist=folder / "datalist.json", list_key="train_8"))
    shipped = bundle.read("inference.yaml")["steps"]["landmarks"]["landmarks"]
    assert [round(value, 2) for value in found] == shipped


def test_settings_out_of_range() -> None:
    with pytest.raises(ValueError, match="percentile is 50"):
        MRIScale(50)
    for landmarks in ([0.0], [0.5, 0.1, 1.0], [-2.0, 1.0], [-1.0, 1.5]):
        with pytest.raises(ValueError, match="landmarks are"):
            MRIScale(landmarks=landmarks)
