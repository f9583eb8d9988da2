# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pickle

import pytest
import torch
from monai.bundle import ConfigParser
from monai.data import MetaTensor, pickle_hashing
from monai.transforms import Compose, InvertibleTransform, Transform, allow_missing_keys_mode

from monai_semgan.transforms import DisplayOrderd, ToGreyd
from monai_semgan.transforms.dictionary import Dictionary


class Line(Transform):
    def __init__(self, factor: float, offset: float = 0.0) -> None:
        self.factor = factor
        self.offset = offset

    def __call__(self, img: torch.Tensor) -> torch.Tensor:
        return self.factor * img + self.offset


class Lined(Dictionary):
    transform = Line
    per_key = ("offset",)


def test_settings_by_place_by_name_and_by_key() -> None:
    item = {"a": torch.ones(1), "b": torch.ones(1), "c": torch.ones(1)}
    out = Lined(["a", "b"], 2.0, offset=[1.0, 5.0])(item)
    assert (out["a"], out["b"], out["c"]) == (3, 7, 1)
    assert item["a"] == 1
    assert Lined("b", factor=3.0, offset=-1.0)(item)["b"] == 2
    with pytest.raises(ValueError, match="length 2, got 3"):
        Lined(["a", "b"], 2.0, offset=[1.0, 2.0, 3.0])
    with pytest.raises(TypeError, match="nowhere"):
        Lined("a", 2.0, nowhere=1)


def test_keys_that_an_item_does_not_have() -> None:
    with pytest.raises(KeyError, match="label"):
        ToGreyd(["image", "label"])({"image": torch.rand(3, 4, 4)})
    out = ToGreyd(["image", "label"], allow_missing_keys=True)({"image": torch.rand(3, 4, 4)})
    assert out["image"].shape == (1, 4, 4)
    # each key has its own settings, whichever are missing
    assert Lined(["a", "b"], 1.0, offset=[1.0, 5.0], allow_missing_keys=True)({"b": torch.zeros(1)})["b"] == 5


def test_a_chain_is_inverted_without_the_keys_that_are_gone() -> None:
    image = MetaTensor(torch.rand(1, 6, 4))
    chain = Compose([ToGreyd(["image", "label"]), DisplayOrderd(["image", "label"])])
    out = chain({"image": image, "label": image.clone()})
    assert out["image"].shape == (1, 4, 6)
    with allow_missing_keys_mode(chain):
        assert torch.equal(chain.inverse({"label": out["label"]})["label"], image)
    assert not isinstance(ToGreyd("image"), InvertibleTransform)


def test_from_a_config_and_through_a_pickle() -> None:
    target = {"_target_": "monai_semgan.transforms.FitInPlaned", "keys": ["image", "label"], "size": 8}
    parser = ConfigParser({"fit": {**target, "mode": ["bilinear", "nearest"], "allow_missing_keys": True}})
    made = parser.get_parsed_content("fit")
    copied = pickle.loads(pickle.dumps(made))
    volume = {"label": MetaTensor(torch.rand(1, 4, 4, 2).round())}
    assert torch.equal(copied(volume)["label"], made(volume)["label"])
    # of a cache on the disk
    assert pickle_hashing(made) == pickle_hashing(copied)
