# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data import DataLoader
from monai.data.utils import no_collation
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from monai_semgan.data import FAILURE, CohortDataset, cohort, failure_reason, readable_items
from monai_semgan.formats import FormatReader
from tests.image_files import gradient, write_png


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_item_does_not_stop_the_others(tmp_path: Path, num_workers: int) -> None:
    write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    (tmp_path / "b.png").write_text("junk")
    write_png(tmp_path / "c.png", gradient(20, 50).astype(np.uint8))
    load = Compose([LoadImaged("image", reader=FormatReader(2)), EnsureChannelFirstd("image")])
    dataset = CohortDataset(cohort(tmp_path), load)
    loader = DataLoader(dataset, batch_size=3, num_workers=num_workers, collate_fn=no_collation)
    (batch,) = list(loader)
    assert [FAILURE in item for item in batch] == [False, True, False]
    assert batch[2]["image"].shape == (1, 50, 20)
    assert batch[1]["file"] == "b.png"
    assert batch[1][FAILURE].startswith("b.png is damaged or not a PNG, JPEG, TIFF")


@given(st.integers(1, 20), st.integers(1, 5), st.sets(st.integers(0, 19)))
def test_processes_share_all_items_that_are_not_finished(number: int, world_size: int, finished: set[int]) -> None:
    items = [{"file": f"{index}.png"} for index in range(number)]
    done = {f"{index}.png" for index in finished}
    shares = [
        [item["file"] for item in CohortDataset(items, finished=done, rank=rank, world_size=world_size).data]
        for rank in range(world_size)
    ]
    assert sorted(sum(shares, [])) == sorted({item["file"] for item in items} - done)
    assert all(int(Path(file).stem) % world_size == rank for rank, share in enumerate(shares) for file in share)


def test_a_rank_beyond_the_processes_is_refused() -> None:
    with pytest.raises(ValueError, match="rank is 2, it must lie between 0 and world_size - 1 = 1"):
        CohortDataset([], rank=2, world_size=2)


def test_reason_is_one_line_without_wrappers() -> None:
    def chain() -> None:
        try:
            raise KeyError("pred\nand more")
        except KeyError as error:
            raise RuntimeError("applying transform <x>") from error

    with pytest.raises(RuntimeError) as caught:
        chain()
    assert failure_reason(caught.value) == r"KeyError: 'pred\nand more'"
    assert failure_reason(ValueError("two\n lines")) == "two lines"
    assert failure_reason(ValueError()) == "ValueError"
    assert len(failure_reason(ValueError("x" * 999))) == 300


def test_items_that_fail_are_told_and_left_out(caplog: pytest.LogCaptureFixture) -> None:
    def double(item: dict[str, int]) -> dict[str, int]:
        if item["image"] == 2:
            raise ValueError("two is odd")
        return {"image": 2 * item["image"]}

    with caplog.at_level(logging.WARNING):
        assert readable_items([{"image": value} for value in (1, 2, 3)], double) == [{"image": 2}, {"image": 6}]
    assert "left out: two is odd" in caplog.text
