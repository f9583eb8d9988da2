# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import ctypes
import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch

import monai_semgan.engines
from monai_semgan.engines.semi_supervised_trainer import SemiSupervisedTrainer
from monai_semgan.handlers.protocols import AveragesOfStream, Resumable, Synchronisable
from tests.engines.test_encoder_trainer import tiny_encoder_trainer
from tests.tiny_gan import tiny_trainer

MAKERS = [tiny_trainer, tiny_encoder_trainer]


def step(gradient: list[float], clip: float) -> torch.Tensor:
    """A step of rate 1 from 0 along a gradient."""
    trainer = tiny_encoder_trainer()
    trainer.clip = clip
    weight = torch.zeros(len(gradient), requires_grad=True)
    # an old gradient does not count
    weight.grad = torch.full_like(weight, 7.0)
    trainer.step((weight * torch.tensor(gradient)).sum(), torch.optim.SGD([weight], lr=1.0))
    return weight.detach()


def test_a_gradient_is_followed_up_to_its_largest_norm() -> None:
    torch.testing.assert_close(step([3.0, 4.0], clip=10.0), torch.tensor([-3.0, -4.0]))
    torch.testing.assert_close(step([30.0, 40.0], clip=5.0), torch.tensor([-3.0, -4.0]))


def test_a_gradient_that_is_not_finite_stops_the_training() -> None:
    """Such as that of a root at 0, whose loss is finite."""
    trainer = tiny_trainer()
    weight = torch.zeros(2, requires_grad=True)
    with pytest.raises(FloatingPointError, match="a loss is 0, with a gradient of norm inf.*lower lr or switch amp"):
        trainer.step(weight.sqrt().sum(), torch.optim.SGD([weight], lr=1.0))
    assert torch.equal(weight.detach(), torch.zeros(2))


def test_a_loss_that_will_not_come_back_stops_the_training() -> None:
    trainer = tiny_trainer()
    weight = torch.ones(1, requires_grad=True)
    with pytest.raises(FloatingPointError, match="a loss is 7.7e\\+07, .* the last checkpoint is intact"):
        trainer.step((weight * 7.7e7).sum(), torch.optim.SGD([weight], lr=1.0))
    assert weight.item() == 1.0


@pytest.mark.parametrize("make", MAKERS)
def test_texts_of_a_command_line_switch_autocast(make: Callable[..., SemiSupervisedTrainer]) -> None:
    for amp, dtype in (("false", torch.float32), ("True", torch.bfloat16)):
        with make(amp=amp).autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype
    with pytest.raises(ValueError, match="amp is 'perhaps', it must be one of true"):
        make(amp="perhaps")


@pytest.mark.parametrize("make", MAKERS)
def test_a_trainer_leaves_the_process_alone(
    make: Callable[..., SemiSupervisedTrainer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """How memory is allocated is for the program to say."""

    def refuse(*args: Any) -> None:
        raise AssertionError("the C library is loaded")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    make().run()


@pytest.mark.parametrize("make", MAKERS)
def test_trainers_have_what_handlers_need(make: Callable[..., SemiSupervisedTrainer]) -> None:
    trainer = make()
    for protocol in (AveragesOfStream, Resumable, Synchronisable):
        assert isinstance(trainer, protocol)
    assert not isinstance(object(), Resumable)


def test_no_constructor_takes_more_than_ten_settings() -> None:
    public = {name: item for name, item in vars(monai_semgan.engines).items() if inspect.isclass(item)}
    assert len(public) > 10
    for name, item in public.items():
        arguments = inspect.signature(item).parameters
        assert len(arguments) <= 10, name
