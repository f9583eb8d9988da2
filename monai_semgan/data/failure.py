# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What is kept of an image that could not be processed."""

from __future__ import annotations

# key of an item that failed, its value is the reason
FAILURE = "failure"
LONGEST = 300


def failure_reason(error: BaseException) -> str:
    """Tell in one line why an image failed.

    Args:
        error: the exception; MONAI's "applying transform" wrappers are taken off.

    Returns:
        The message, with the kind of error in front unless the message was written for users.
    """
    while isinstance(error, RuntimeError) and str(error).startswith("applying transform") and error.__cause__:
        error = error.__cause__
    text = " ".join(str(error).split())
    if not isinstance(error, (ValueError, FileNotFoundError)) or not text:
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text if len(text) <= LONGEST else text[: LONGEST - 3] + "..."
