# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from monai_semgan.networks.label_map import label_to_map, logits_to_map, map_to_label


@given(st.integers(2, 6), st.integers(1, 3), st.integers(0, 2**16))
def test_class_indices_come_back(classes: int, batch: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    label = torch.randint(classes, (batch, 1, 4, 4), generator=generator)
    coded = label_to_map(label, classes)
    assert coded.shape == (batch, classes, 4, 4) and coded.dtype == torch.float32
    assert set(coded.unique().tolist()) <= {-1.0, 1.0} and ((coded > 0).sum(1) == 1).all()
    assert torch.equal(map_to_label(coded), label.float())
    # the generator's form of the same label: certain logits
    torch.testing.assert_close(logits_to_map(coded * 100), coded)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.int64, torch.float32])
def test_binary_label_comes_back(dtype: torch.dtype) -> None:
    label = (torch.rand(3, 1, 4, 4) > 0.5).to(dtype)
    coded = label_to_map(label, 1)
    assert coded.dtype == torch.float32 and torch.equal(coded, label.float() * 2 - 1)
    assert torch.equal(map_to_label(coded), label.float())
    torch.testing.assert_close(logits_to_map(coded * 100), coded)


def test_binary_foreground_is_any_positive_value() -> None:
    assert label_to_map(torch.tensor([0, 1, 2, 255])[:, None, None, None], 1).flatten().tolist() == [-1, 1, 1, 1]


def test_probabilities_are_spread() -> None:
    logits = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(logits_to_map(logits), torch.tanh(logits / 2))
    several = logits_to_map(torch.randn(2, 5, 4, 4))
    torch.testing.assert_close(((several + 1) / 2).sum(1), torch.ones(2, 4, 4))


@pytest.mark.parametrize("value", [-1, 3])
def test_class_without_a_channel(value: int) -> None:
    label = torch.zeros(1, 1, 4, 4, dtype=torch.int64)
    label[0, 0, 1, 1] = value
    with pytest.raises(ValueError, match=f"{value}.*the network has 3 channels"):
        label_to_map(label, 3)


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (2, 4, 4)])
def test_label_that_is_no_index_map(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="expected class indices"):
        label_to_map(torch.zeros(shape), 3)
