# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

import pytest
import yaml

from monai_semgan.apps.config_edit import edited

CONFIG = """\
# old header
# of two lines
a: 1
# about b
b: "$@a + 1"

# about c
c:
  d: [1, 2]
  # about e
  e: {f: 1}
  # about g
g: true
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def test_changes_what_is_named_and_keeps_the_rest(config):
    text = edited(config, {"c::e::f": 2, "c::new": [[3, 4], [5]], "g": False}, header="new")
    expected = yaml.safe_load(CONFIG)
    expected["g"], expected["c"]["new"], expected["c"]["e"]["f"] = False, [[3, 4], [5]], 2
    assert yaml.safe_load(text) == expected
    assert text.startswith("# new\n") and "old header" not in text
    for comment in ("# about b", "# about c", "# about e"):
        assert comment in text
    # a new key never parts a comment from what it is about
    assert text.index("new:") < text.index("# about e")


def test_comments_of_the_top_level_are_replaced(config):
    text = edited(config, {"b": 3}, comments={"b": "because"})
    assert "# because\nb: 3" in text and "about b" not in text


def test_unknown_places_are_refused(config):
    with pytest.raises(KeyError):
        edited(config, {"x::y": 1})
