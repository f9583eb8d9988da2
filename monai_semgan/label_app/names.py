# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What a client may say: names, tags and parameters, checked before MONAI Label makes paths of them."""

from __future__ import annotations

import json
import re
from pathlib import PurePath
from typing import Any

from monai_semgan.formats import suffix
from monai_semgan.label_app.refusal import BadRequest

# separators and control characters make other paths
NAME = re.compile(r"[^/\\\x00-\x1f\x7f]{1,200}")
TAG = re.compile(r"[A-Za-z0-9_-]{1,64}")
NAMES = ("image", "label", "id", "session_id", "model", "strategy", "method")
# what the server itself chooses, and what the address of a request may
FIXED, ADDRESSED = ("image", "images", "label", "session", "bundle_path", "local_rank"), ("model", "method", "strategy")


def check_name(kind: str, name: str) -> None:
    """Refuse a name of which a path out of its folder could be made.

    Raises:
        BadRequest: for such a name.
    """
    if not NAME.fullmatch(name) or name.startswith("."):
        raise BadRequest(
            f"{kind} is {name!r}: a name has up to 200 characters, none of them /, \\ or a control character, and does "
            "not begin with a dot"
        )


def check_tag(tag: str) -> None:
    """Refuse a tag that is more than a word.

    Raises:
        BadRequest: for such a tag.
    """
    if not TAG.fullmatch(tag):
        raise BadRequest(f"tag is {tag!r}: a tag has up to 64 letters, digits, - and _, such as final or original")


def read_params(params: str | dict[str, Any] | None, given: dict[str, Any]) -> dict[str, Any]:
    """Read the parameters of a request.

    Args:
        params: JSON, or what it says.
        given: what the request's address chose; parameters may repeat it, not change it.

    Raises:
        BadRequest: when they are no JSON object, or choose what is not theirs.
    """
    if isinstance(params, str):
        try:
            params = json.loads(params or "{}")
        except ValueError as error:
            raise BadRequest(f"params are no JSON: {error}") from error
    params = {} if params is None else params
    if not isinstance(params, dict):
        raise BadRequest(f"params are {json.dumps(params)[:100]}: an object of names and values is expected")
    if tag := params.get("label_tag"):
        check_tag(str(tag))
    for name in (*FIXED, *(name for name in ADDRESSED if name in given)):
        if name in params and params[name] != given.get(name, ""):
            raise BadRequest(f"params may not choose {name!r}: the address of the request does")
    return params


def check_request(given: dict[str, Any]) -> None:
    """Refuse what a request to one of MONAI Label's endpoints may not say, and read its parameters.

    Args:
        given: what the endpoint is called with, by name; "params" and "info" are read in place.

    Raises:
        BadRequest: with what is wrong.
    """
    for kind in NAMES:
        if isinstance(name := given.get(kind), str) and name:
            check_name(kind, name)
    if isinstance(tag := given.get("tag"), str) and tag:
        check_tag(tag)
    for kind in ("file", "label"):
        if file := getattr(given.get(kind), "filename", None):
            check_name(f"the name of the {kind}", re.split(r"[/\\]", file)[-1])
    for kind in ("params", "info"):
        if kind in given:
            read = read_params(given[kind], given)
            # forms have it as text, bodies as an object
            given[kind] = json.dumps(read) if isinstance(given[kind], str) else given[kind]


def check_image_file(file: str) -> None:
    """Refuse a file whose name has no suffix of an image.

    Raises:
        BadRequest: for such a name.
    """
    if not suffix(PurePath(file)):
        raise BadRequest(f"{file!r} has no suffix of an image, such as .png, .dcm or .nii.gz: give it its own", 415)
