# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""What handlers need of a trainer; both trainers of this package have all of it, and one's own may have a part."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from torch import Tensor


@runtime_checkable
class Runs(Protocol):
    """An engine, whose state has MONAI's and ignite's epoch, iteration, device and so on."""

    state: Any


@runtime_checkable
class Averages(Runs, Protocol):
    """A trainer with a network of averaged weights in ``ema.average``, made before it starts."""

    ema: Any


@runtime_checkable
class Streams(Runs, Protocol):
    """A trainer whose ``loader`` has a length, a settable ``step``, and the stream ``images`` of items with "image"."""

    loader: Any


@runtime_checkable
class AveragesOfStream(Averages, Streams, Protocol):
    """A trainer that averages weights and whose images can be looked at again."""


@runtime_checkable
class Synchronisable(Runs, Protocol):
    """A trainer that several processes can share.

    ``checkpoint`` has everything with a state by name, of which processes start from the same networks, and
    ``changing_buffers`` the tensors that training changes by other ways than gradients.
    """

    @property
    def checkpoint(self) -> Mapping[str, Any]: ...  # noqa: D102

    @property
    def changing_buffers(self) -> list[Tensor]: ...  # noqa: D102


@runtime_checkable
class Resumable(Streams, Protocol):
    """A trainer that can be taken up again.

    ``checkpoint`` has everything with a state by name, ``lazy`` the last values of losses of which not each step has
    one.
    """

    lazy: dict[str, float]

    @property
    def checkpoint(self) -> Mapping[str, Any]: ...  # noqa: D102
