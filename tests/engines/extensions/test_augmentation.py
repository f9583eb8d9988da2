# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch

from monai_semgan.engines import Jitter
from monai_semgan.engines.extension import Part, SemiSupervisedBatch
from monai_semgan.transforms import DifferentiableAugmentation
from tests.tiny_gan import tiny_trainer


@pytest.mark.parametrize(("sign", "expected"), [(0.9, 0.54), (0.3, 0.46)])
def test_adaptive_strength_moves_towards_the_target(sign: float, expected: float) -> None:
    trainer = tiny_trainer(real_sign_target=0.6, adaptation_images=100)
    adaptive = trainer.extensions["augmentation"]
    adaptive.follow({"real_sign": sign}, 4)
    assert adaptive.image.p.item() == pytest.approx(expected)


def test_adaptive_strength_stays_a_probability() -> None:
    adaptive = tiny_trainer(real_sign_target=0.6, adaptation_images=4).extensions["augmentation"]
    for sign, end in ((1.0, 1.0), (-1.0, 0.0)):
        for _ in range(3):
            adaptive.follow({"real_sign": sign}, 4)
        assert adaptive.image.p == end


def test_strength_is_kept_without_a_target() -> None:
    trainer = tiny_trainer()
    trainer.run()
    assert trainer.extensions["augmentation"].image.p == 0.5 and trainer.state.output[0]["augment_p"] == 0.5


def test_adaptive_strength_moves_in_a_run() -> None:
    trainer = tiny_trainer(real_sign_target=-2.0, adaptation_images=16)
    trainer.run()
    assert trainer.state.output[0]["augment_p"] == 1.0


def test_images_for_adaptation_are_counted_from_one() -> None:
    with pytest.raises(ValueError, match="adaptation_images is 0"):
        tiny_trainer(adaptation_images=0)


def test_labels_move_with_their_images() -> None:
    square = -torch.ones(6, 1, 32, 32)
    square[:, :, 8:20, 6:18] = 1
    batch = SemiSupervisedBatch(Part(square[:2]), Part(square[2:], square[2:]))
    Jitter(DifferentiableAugmentation(shift=0.2, rotate=30)).prepare(batch)
    assert batch.images.label_map is None and not torch.equal(batch.images.image, square[:2])
    assert batch.pairs.label_map is not None and not torch.equal(batch.pairs.image, square[2:])
    torch.testing.assert_close(batch.pairs.label_map, batch.pairs.image)
