# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from monai.data import CacheDataset
from torch import Tensor

from monai_semgan.data.semi_supervised_loader import SemiSupervisedLoader, ShuffledIndices


def items(count: int) -> list[dict[str, Any]]:
    """Pairs whose every pixel holds their number."""
    return [
        {"image": torch.full((1, 2, 2), float(i)), "label": torch.full((1, 2, 2), i), "name": f"patient {i}"}
        for i in range(count)
    ]


def loader(images: int = 7, pairs: int = 3, **settings: int) -> SemiSupervisedLoader:
    sizes = {"batch_size": 4, "pair_batch_size": 2, "steps": 5} | settings
    return SemiSupervisedLoader(items(images), items(pairs), **sizes)


def test_data_that_nothing_can_be_learnt_from_is_refused() -> None:
    with pytest.raises(ValueError, match="there is 1 image alone"):
        loader(images=1)
    empty = [item | {"label": torch.zeros(1, 2, 2)} for item in items(3)]
    with pytest.raises(ValueError, match="none of 3 labels has any foreground: look at the label files of train_list"):
        SemiSupervisedLoader(items(4), empty, batch_size=4, pair_batch_size=2, steps=1)


def numbers(batch: dict[str, Tensor]) -> tuple[list[float], list[float]]:
    return batch["image"][:, 0, 0, 0].tolist(), batch["pair_image"][:, 0, 0, 0].tolist()


@given(st.integers(1, 12), st.integers(1, 9), st.integers(0, 1000))
def test_every_pass_is_a_permutation(length: int, size: int, seed: int) -> None:
    order = ShuffledIndices(length, seed)
    stream = [index for step in range(4 * length) for index in order.batch(step, size)]
    for turn in range(len(stream) // length):
        assert sorted(stream[turn * length : (turn + 1) * length]) == list(range(length))


def test_passes_differ() -> None:
    order = ShuffledIndices(20, seed=0)
    passes = {tuple(order.batch(step, 20)) for step in range(5)}
    assert len(passes) == 5
    assert order.batch(0, 20) != ShuffledIndices(20, seed=1).batch(0, 20)


@given(st.integers(1, 12), st.integers(0, 50), st.integers(1, 5), st.integers(1, 5))
def test_order_does_not_depend_on_the_batch_size(length: int, step: int, size: int, factor: int) -> None:
    order = ShuffledIndices(length, seed=3)
    joined = [index for part in range(factor) for index in order.batch(step * factor + part, size)]
    assert order.batch(step, size * factor) == joined


def test_streams_run_at_their_own_pace() -> None:
    images, pairs = Counter(), Counter()
    for batch in loader(images=10, pairs=3, batch_size=4, pair_batch_size=3, steps=5):
        assert batch["image"].shape == (4, 1, 2, 2) and batch["pair_label"].shape == (3, 1, 2, 2)
        assert torch.equal(batch["pair_image"], batch["pair_label"].float())
        images.update(numbers(batch)[0])
        pairs.update(numbers(batch)[1])
    assert set(images.values()) == {2} and len(images) == 10
    assert set(pairs.values()) == {5} and len(pairs) == 3


def test_short_streams_fill_large_batches() -> None:
    (batch,) = loader(images=2, pairs=2, batch_size=5, pair_batch_size=5, steps=1)
    assert set(numbers(batch)[0]) == set(numbers(batch)[1]) == {0.0, 1.0}


def test_epochs_go_on_and_do_not_repeat() -> None:
    epochs = loader(images=20, batch_size=4, steps=5)
    first, second = [[numbers(batch)[0] for batch in epochs] for _ in range(2)]
    assert len(epochs) == len(first) == 5
    assert first != second and epochs.step == 10


def test_batch_depends_on_seed_and_step_alone() -> None:
    straight = loader()
    whole = [numbers(batch) for _ in range(3) for batch in straight]
    torch.manual_seed(99)
    for step in (0, 4, 7, 10):
        resumed = loader()
        resumed.step = step
        assert [numbers(batch) for batch in resumed] == whole[step : step + 5]
    assert [numbers(batch) for batch in loader(seed=1)] != whole[:5]


def test_resume_within_an_epoch() -> None:
    straight = list(loader(steps=6))
    interrupted, seen = loader(steps=6), []
    for batch in interrupted:
        seen.append(batch)
        if len(seen) == 2:
            break
    resumed = loader(steps=4)
    resumed.step = interrupted.step
    seen += list(resumed)
    assert len(seen) == 6
    for one, other in zip(straight, seen):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def test_cache_dataset_works() -> None:
    dataset = CacheDataset(items(4), transform=lambda item: item, progress=False)
    (batch,) = SemiSupervisedLoader(dataset, dataset, batch_size=2, pair_batch_size=4, steps=1)
    assert sorted(numbers(batch)[1]) == [0, 1, 2, 3]


@pytest.mark.parametrize("settings", [{"batch_size": -1}, {"pair_batch_size": 0}, {"steps": 0}])
def test_counts(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        loader(**settings)


@pytest.mark.parametrize("settings", [{"images": 0}, {"pairs": 0}])
def test_empty_streams(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="without items"):
        loader(**settings)


def test_processes_draw_batches_of_their_own_with_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = []
    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    for rank in range(3):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        drawn.append([numbers(batch) for batch in loader(images=20, pairs=20, seed=3)])
    monkeypatch.undo()
    assert drawn[0] == [numbers(batch) for batch in loader(images=20, pairs=20, seed=3)]
    assert len({str(batches) for batches in drawn}) == 3
    for stream in (0, 1):
        assert len({str([batch[stream] for batch in batches]) for batches in drawn}) == 3


def test_images_may_be_left_out_and_may_carry_a_label_map() -> None:
    alone = SemiSupervisedLoader([], items(3), batch_size=0, pair_batch_size=2, steps=2)
    assert [sorted(batch) for batch in alone] == [["pair_image", "pair_label"]] * 2
    taught = [{"image": torch.zeros(1, 2, 2), "label_map": torch.full((1, 2, 2), i / 4)} for i in range(4)]
    joined = SemiSupervisedLoader(taught, items(3), batch_size=4, pair_batch_size=2, steps=1)
    (batch,) = joined
    assert sorted(batch) == ["image", "label_map", "pair_image", "pair_label"]
    assert sorted(batch["label_map"][:, 0, 0, 0].tolist()) == [0, 0.25, 0.5, 0.75]
