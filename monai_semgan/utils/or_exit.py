# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Ending a command with a plain message."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

logger = logging.getLogger(__name__)

T = TypeVar("T")


def or_exit(function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    """Call a function; where the user's input is at fault, end the program with the message alone.

    For bundle configs: MONAI wraps what their expressions raise, so that a missing folder ends in a page of traceback
    with the message far from its end.

    Args:
        function: what to call.
        args: its arguments.
        kwargs: its keyword arguments.

    Returns:
        What the function returns.

    Raises:
        SystemExit: with the message, when the function raises ``ValueError`` or ``OSError``; the exit code is 1.
    """
    try:
        return function(*args, **kwargs)
    except (ValueError, OSError) as error:
        logger.debug("the program ends", exc_info=True)
        raise SystemExit(f"error: {error}") from error
