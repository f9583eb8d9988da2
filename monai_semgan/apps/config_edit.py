# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Change values of a bundle's config by their ids; all else, comments among it, stays as it is."""

from __future__ import annotations

import copy
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq


def edited(
    path: Path,
    values: Mapping[str, Any],
    *,
    header: str | None = None,
    comments: Mapping[str, str] | None = None,
) -> str:
    """Change a config.

    Args:
        path: the file.
        values: new values by id; a key that is not there is added.
        header: comment at the file's beginning, without signs, in place of its own.
        comments: comments of keys of the top level, in place of their own.

    Returns:
        The text.

    Raises:
        KeyError: when what is around an id is not there.
    """
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 120, True
    config = yaml.load(path.read_text(encoding="utf-8"))
    for name, value in values.items():
        place, key = found(config, name)
        if key in place or not len(place):
            place[key] = written(copy.deepcopy(value))
        else:
            # before the last, behind which the comment of what follows is kept
            place.insert(len(place) - 1, key, written(copy.deepcopy(value)))
    file = io.StringIO()
    yaml.dump(config, file)
    text = file.getvalue()
    if header is not None:
        text = re.sub(r"\A(#.*\n)*", "".join(f"# {line}\n" for line in header.splitlines()), text)
    for key, comment in (comments or {}).items():
        text = re.sub(rf"((?:^#.*\n)*)^{key}:", f"# {comment}\n{key}:", text, flags=re.MULTILINE)
    return text


def found(config: Any, name: str) -> tuple[Any, str]:
    """The mapping that holds the last part of an id, and that part."""
    *parts, last = name.split("::")
    for part in parts:
        config = config[part]
    return config, last


def written(value: Any) -> Any:
    """Lists without mappings in one line, as they are written by hand."""
    if isinstance(value, Mapping):
        return CommentedMap({key: written(own) for key, own in value.items()})
    if isinstance(value, (list, tuple)):
        sequence = CommentedSeq([written(own) for own in value])
        if not any(isinstance(own, Mapping) and own for own in value):
            sequence.fa.set_flow_style()
        return sequence
    return value
