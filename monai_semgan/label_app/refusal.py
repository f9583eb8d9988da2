# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Requests that cannot be answered, through no fault of the server."""

from __future__ import annotations

from monailabel.interfaces.exception import MONAILabelError, MONAILabelException


class BadRequest(MONAILabelException):
    """A request that cannot be answered, through no fault of the server.

    Args:
        words: what is wrong and the mend.
        status: status code of the answer, from 400 to 499.
    """

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(MONAILabelError.INVALID_INPUT, words)
        Exception.__setattr__(self, "status", status)

    def __str__(self) -> str:
        return str(self.msg)
