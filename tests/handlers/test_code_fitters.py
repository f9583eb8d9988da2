# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import torch

from monai_semgan.handlers import PreconditionerFitter, PriorFitter
from monai_semgan.losses import ReconstructionLoss
from tests.engines.test_encoder_trainer import tiny_encoder_trainer


def test_random_gradients_have_the_gauss_newton_matrix_of_the_loss_as_second_moment() -> None:
    trainer = tiny_encoder_trainer()
    network = trainer.ema.average
    image = torch.as_tensor(trainer.loader.images[0]["image"])[None]
    fitter = PreconditionerFitter(l2_weight=0.5)
    torch.manual_seed(0)
    rows = torch.cat([fitter.random_gradient(image.expand(50, -1, -1, -1), network) for _ in range(40)]).flatten(1)
    moment = rows.T @ rows / len(rows)

    # where image and target agree, the Hessian of the loss is twice its Gauss-Newton matrix
    code = network.encode(image).detach()
    target = network.decode(code)[0].detach()
    loss = ReconstructionLoss("encoder", l2_weight=0.5)
    direction = torch.randn(3, code.numel())
    direction /= direction.norm(dim=1, keepdim=True)
    step = 1e-2
    for row in direction:
        moved = network.decode(code + step * row.view_as(code))[0]
        expected = loss(moved, target, network).item() / step**2
        torch.testing.assert_close((row @ moment @ row).item(), expected, rtol=0.25, atol=1e-6)


def test_fits_at_the_end_of_training_and_leaves_random_numbers_alone() -> None:
    drawn = []
    for handlers in ([], [PreconditionerFitter(images=4, gradients=64, batch_size=4)]):
        trainer = tiny_encoder_trainer(train_handlers=handlers)
        trainer.run()
        drawn.append(torch.rand(3))
    assert torch.equal(*drawn)
    scale = trainer.ema.average.preconditioner.scale
    assert scale[0] < 0.9 and scale[-1] == 1 and (scale.diff() >= 0).all()


def test_the_prior_is_that_of_the_averaged_encoders_codes() -> None:
    trainer = tiny_encoder_trainer(train_handlers=[PriorFitter(batch_size=2)])
    trainer.run()
    average = trainer.ema.average
    images = torch.stack([item["image"] for item in trainer.loader.images])
    with torch.no_grad():
        codes = average.encode(images)
    torch.testing.assert_close(average.prior.mean, codes.mean(0), atol=1e-5, rtol=1e-4)
    variance = average.prior.basis.square().sum()
    torch.testing.assert_close(variance, codes.var(0).sum(), atol=1e-6, rtol=1e-3)


def test_few_of_many_images_are_spread_over_the_stream() -> None:
    trainer = tiny_encoder_trainer()
    taken = []

    class Stream(list):
        def __getitem__(self, index):
            taken.append(index)
            return super().__getitem__(index)

    trainer.loader.images = Stream([trainer.loader.images[0]] * 10)
    PriorFitter(images=4, batch_size=3)(trainer)
    assert taken == [0, 2, 5, 7]
