"""A track file seen as keepalived sees it: what it said, and when it was closed after that was written."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import time
from pathlib import Path
from typing import NamedTuple

from .waiting import wait_until

IN_CLOSE_WRITE = 0x8
libc = ctypes.CDLL(None, use_errno=True)


class Written(NamedTuple):
    at: float  # time.monotonic()
    says: str


class TrackFile:
    """Follows a file that exists, from a thread of its own, until it is closed."""

    def __init__(self, path: Path):
        self.path = path
        self.written: list[Written] = []
        self.inotify = libc.inotify_init1(os.O_NONBLOCK)
        if self.inotify < 0 or libc.inotify_add_watch(self.inotify, str(path).encode(), IN_CLOSE_WRITE) < 0:
            raise OSError(ctypes.get_errno(), f"cannot watch {path}")
        self.closed = False
        self.thread = threading.Thread(target=self.follow, daemon=True)
        self.thread.start()

    def follow(self) -> None:
        while not self.closed:
            if select.select([self.inotify], [], [], 0.05)[0]:
                at = time.monotonic()
                os.read(self.inotify, 4096)
                self.written.append(Written(at, self.says()))

    def says(self) -> str:
        """What it says now; nothing if there is no such file any more."""
        return self.path.read_text().strip() if self.path.is_file() else ""

    def wait_for(self, says: str, since: float, timeout: float = 10) -> float:
        """When it first said so after `since`."""

        def found() -> float:
            return next((each.at for each in list(self.written) if each.at >= since and each.says == says), 0.0)

        return wait_until(found, timeout, f"{self.path.name} to say {says}", every=0.005)

    def close(self) -> None:
        self.closed = True
        self.thread.join()
        os.close(self.inotify)
