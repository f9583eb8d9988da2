# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Pages of one file, which ask for nothing else."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader
from PIL import Image


def render(template: str, **content: Any) -> str:
    """Fill a template of this folder; text is escaped."""
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True)
    return environment.get_template(template).render(**content)


def picture(pixels: np.ndarray, quality: int = 85) -> str:
    """Put an RGB picture ``(row, column, 3)`` of unsigned bytes into a URL that holds it."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()


def picture_file(path: Path, longest: int = 1600) -> str:
    """The same of a file, made smaller where it is larger."""
    with Image.open(path) as image:
        small = image.convert("RGB")
    small.thumbnail((longest, longest))
    return picture(np.asarray(small), quality=90)
