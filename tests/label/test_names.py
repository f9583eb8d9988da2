# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("monailabel", reason="MONAI Label is not installed here: make test-label")

from monai_semgan.label_app.dicomweb_proxy import READ, STORE
from monai_semgan.label_app.names import check_name, check_request, check_tag
from monai_semgan.label_app.refusal import BadRequest

PIECES = st.lists(st.sampled_from(["..", ".", "/", "\\", "a", "ann", "%2e", "\0", "\n", " ", "é", ".png"]), max_size=6)


@given(PIECES.map("".join))
def test_names_and_tags_that_pass_stay_in_their_folder(name: str) -> None:
    folder = Path("/studies")
    for check in (check_name, check_tag):
        try:
            check("image", name) if check is check_name else check(name)
        except BadRequest as error:
            assert 400 <= error.status < 500
        else:
            assert (folder / name).parent == folder and Path(name).name == name and name not in (".", "..")


@pytest.mark.parametrize("name", ["ann", "ann.smith_2", "Müller 3", "1.2.840.113619.2", "胸部"])
def test_names_of_studies_pass(name: str) -> None:
    check_name("image", name)


@pytest.mark.parametrize(
    "given",
    [
        {"params": "[1, 2]"},
        {"params": "3"},
        {"params": "{"},
        {"params": '{"image": "/etc/passwd"}'},
        {"params": '{"label_tag": "../evil"}'},
        {"params": {"model": "other"}, "model": "this"},
        {"info": "null_"},
        {"id": "..", "tag": "final"},
        {"tag": "a/b"},
        {"image": "a" * 300},
    ],
)
def test_what_a_request_may_not_say_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(BadRequest):
        check_request(given)


def test_parameters_may_repeat_the_address() -> None:
    given = {"params": {"model": "this", "preset": "fast"}, "model": "this", "image": "", "tag": ""}
    check_request(given)
    assert given["params"] == {"model": "this", "preset": "fast"}


@pytest.mark.parametrize(
    "path",
    [
        "studies",
        "studies/1.2.3",
        "studies/1.2.3/metadata",
        "studies/1.2.3/series/4.5/instances",
        "studies/1.2.3/series/4.5/instances/6/frames/1,2",
        "studies/1.2.3/series/4.5/instances/6/bulkdata/7fe00010",
        "series",
        "instances",
    ],
)
def test_paths_of_dicomweb_pass(path: str) -> None:
    assert READ.fullmatch(path)


@given(st.lists(st.sampled_from(["studies", "..", "system", "1.2", "series", "instances", "tools", "%2e%2e", ""])))
def test_paths_that_pass_begin_and_go_on_as_dicomweb_does(words: list[str]) -> None:
    path = "/".join(words)
    if READ.fullmatch(path) or STORE.fullmatch(path):
        assert words[0] in ("studies", "series", "instances") and not {"..", "system", "tools", "%2e%2e", ""} & set(
            words
        )
