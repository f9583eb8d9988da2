# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from monai_semgan.networks.nets import SemanticGAN
from monai_semgan.networks.weights import load_generator, load_weights, read_state
from tests.tiny_bundle import TINY_NETWORK


@pytest.mark.parametrize("kind", ["checkpoint", "weights"])
def test_generator_comes_from_a_checkpoint_or_from_weights(kind: str, tmp_path: Path) -> None:
    source, network = SemanticGAN(**TINY_NETWORK), SemanticGAN(**TINY_NETWORK)
    encoder = {name: value.clone() for name, value in network.encoder.state_dict().items()}
    states = {
        "checkpoint": {"generator_ema": source.generator.state_dict(), "epoch": 1},
        "weights": source.state_dict(),
    }
    torch.save(states[kind], tmp_path / "state.pt")
    assert load_generator(network, tmp_path / "state.pt") is network
    for name, value in source.generator.state_dict().items():
        assert torch.equal(network.generator.state_dict()[name], value)
    for name, value in encoder.items():
        assert torch.equal(network.encoder.state_dict()[name], value)


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    network = SemanticGAN(**TINY_NETWORK)
    with pytest.raises(FileNotFoundError, match="none.pt does not exist"):
        load_generator(network, tmp_path / "none.pt")
    torch.save({"epoch": 1}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match="other.pt holds no generator"):
        load_generator(network, tmp_path / "other.pt")
    torch.save(SemanticGAN(**TINY_NETWORK | {"size": 16}).state_dict(), tmp_path / "small.pt")
    with pytest.raises(ValueError, match="small.pt does not fit network_def"):
        load_generator(network, tmp_path / "small.pt")


def test_a_student_comes_with_the_weights_or_not_at_all(tmp_path: Path) -> None:
    source = SemanticGAN(**TINY_NETWORK, student=nn.Conv2d(1, 1, 1))
    torch.save(source.state_dict(), tmp_path / "both.pt")
    both = load_weights(SemanticGAN(**TINY_NETWORK, student=nn.Conv2d(1, 1, 1)), tmp_path / "both.pt")
    assert isinstance(both.student, nn.Conv2d) and isinstance(source.student, nn.Conv2d)
    assert torch.equal(both.student.weight, source.student.weight)

    torch.save(SemanticGAN(**TINY_NETWORK).state_dict(), tmp_path / "alone.pt")
    assert load_weights(SemanticGAN(**TINY_NETWORK, student=nn.Conv2d(1, 1, 1)), tmp_path / "alone.pt").student is None
    assert load_generator(SemanticGAN(**TINY_NETWORK, student=nn.Conv2d(1, 1, 1)), tmp_path / "both.pt").student is None
    with pytest.raises(ValueError, match="both.pt are another network's"):
        load_weights(SemanticGAN(**TINY_NETWORK), tmp_path / "both.pt")


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_is_told_or_changes_nothing(place: float, bit: int, tmp_path: Path) -> None:
    state = {"weight": torch.arange(2000.0), "bias": torch.ones(3)}
    torch.save(state, tmp_path / "w.pt")
    content = bytearray((tmp_path / "w.pt").read_bytes())
    content[int(place * len(content))] ^= 1 << bit
    (tmp_path / "w.pt").write_bytes(content)
    try:
        read = read_state(tmp_path / "w.pt")
    except ValueError as error:
        assert "w.pt is damaged" in str(error)
    else:
        assert all(torch.equal(read[name], value) for name, value in state.items())


@pytest.mark.parametrize("value, told", [(0.0, "nothing but zeros"), (float("nan"), "not finite, as in weight")])
def test_weights_that_cannot_have_learnt_are_refused(value: float, told: str, tmp_path: Path) -> None:
    torch.save({"weight": torch.full((1, 1, 1, 1), value), "bias": torch.full((1,), value)}, tmp_path / "w.pt")
    with pytest.raises(ValueError, match=told):
        load_weights(nn.Conv2d(1, 1, 1), tmp_path / "w.pt")
