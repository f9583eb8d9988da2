# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import json
from pathlib import Path

import pytest

from configs.lung_datalist import main


def items(*names: str) -> list[dict[str, str]]:
    return [{"image": name, "label": f"{name}_label"} for name in names]


def test_lists_are_joined_and_each_image_is_there_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    adults = {"montgomery_80": items("a", "b"), "montgomery_val": items("c"), "jsrt_val": items("j")}
    adults["unlabeled"] = [{"image": "n"}, {"image": "m"}]
    children = {"train_9": items("k"), "unlabeled": [{"image": "u"}, {"image": "n"}]}
    files = {"adults": adults, "children": children}
    words = ["--output", str(tmp_path / "lungs.json")]
    for name, content in files.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
        words += [f"--{name}", str(tmp_path / f"{name}.json")]
    assert main(words) == 0
    assert "3 pairs, 3 images without labels" in capsys.readouterr().out
    merged = json.loads((tmp_path / "lungs.json").read_text())
    assert merged["train"] == items("a", "b", "c") and merged["jsrt_val"] == items("j")
    assert merged["unlabeled"] == [{"image": "u"}, {"image": "n"}, {"image": "m"}] and "train_9" not in merged

    (tmp_path / "adults.json").write_text(json.dumps({"unlabeled": []}))
    assert main(words) == 1
    assert "adults lacks ['montgomery_80', 'montgomery_val']" in capsys.readouterr().err
