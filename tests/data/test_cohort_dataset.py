# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from monai.data import DataLoader
from monai.data.utils import no_collation
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from monai_semgan.data import FAILURE, CohortDataset, PlanarImageReader, cohort, failure_reason
from tests.image_files import gradient, write_png


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_bad_item_does_not_stop_the_others(tmp_path: Path, num_workers: int) -> None:
    write_png(tmp_path / "a.png", gradient().astype(np.uint8))
    (tmp_path / "b.png").write_text("junk")
    write_png(tmp_path / "c.png", gradient(20, 50).astype(np.uint8))
    load = Compose([LoadImaged("image", reader=PlanarImageReader()), EnsureChannelFirstd("image")])
    dataset = CohortDataset(cohort(tmp_path), load)
    loader = DataLoader(dataset, batch_size=3, num_workers=num_workers, collate_fn=no_collation)
    (batch,) = list(loader)
    assert [FAILURE in item for item in batch] == [False, True, False]
    assert batch[2]["image"].shape == (1, 50, 20)
    assert batch[1]["file"] == "b.png"
    assert batch[1][FAILURE].startswith("b.png is damaged or not a PNG, JPEG, TIFF")


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
