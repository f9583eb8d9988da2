# Copyright (c) monai-semgan contributors
# SPDX-License-Identifier: Apache-2.0

"""Processes of the server that work in the background."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

# environment variable that tells a process which one started it
PARENT = "MONAI_SEMGAN_PARENT"
# how far they stand behind answers, as nice(1) has it
NICE = 5
# seconds after which a process sees that its server has ended
GLANCE = 0.5


def end_with(parent: int) -> None:
    """End this process and what it started as soon as the process that started it has ended, however that ended.

    Args:
        parent: the number of that process, which may have ended already.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(GLANCE)
        for child in psutil.Process().children(recursive=True):
            child.kill()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def in_background() -> None:
    """In a process of a server, end with it, and give way to those who wait for answers; elsewhere do nothing."""
    parent = os.environ.get(PARENT)
    if parent is not None and int(parent) != os.getpid():
        end_with(int(parent))
        os.nice(NICE)


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Hold a lock that ends with the processes that hold it, however they end.

    Args:
        path: file of the lock, whose folder is made.

    Yields:
        Its file descriptor; a process that inherits it holds the lock too.

    Raises:
        BlockingIOError: when another process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Whether a process holds the lock."""
    try:
        with locked(path):
            return False
    except BlockingIOError:
        return True
