# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""The table of a benchmark."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

COLUMNS = ("preset", "px", "task", "batch", "type", "images/s", "s/image", "GFLOP/image", "share of limit", "peak MiB")
MEANING = {"train": "training, all phases", "refine": "one refinement step", "generate": "generator alone"}


def row(result: dict[str, Any]) -> tuple[str, ...]:
    """Turn a result into the cells of :data:`COLUMNS`."""
    return (
        result["preset"],
        str(result["size"]),
        MEANING[result["task"]],
        str(result["batch"]),
        result["type"],
        f"{1 / result['seconds']:.3g}",
        f"{result['seconds']:.3g}",
        f"{result['operations'] / 1e9:.3g}",
        f"{result['share']:.0%}",
        f"{result['peak_memory_mb']:.0f}",
    )


def table(rows: Iterable[tuple[str, ...]], columns: tuple[str, ...] = COLUMNS) -> str:
    """Lay out cells as a Markdown table whose columns line up."""
    cells = [columns, *rows]
    widths = [max(len(line[column]) for line in cells) for column in range(len(columns))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths)) + " |" for line in cells]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])
