"""The one way to wait: ask again until it is so, or say what was waited for."""

from __future__ import annotations

import time
from typing import Callable, TypeVar

T = TypeVar("T")


class NotInTime(AssertionError):
    """What was waited for did not happen."""


def wait_until(predicate: Callable[[], T], timeout: float, what: str, every: float = 0.02) -> T:
    """Asks `predicate` until it says something true, and returns that; NotInTime after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while True:
        answer = predicate()
        if answer:
            return answer
        if time.monotonic() >= deadline:
            raise NotInTime(f"{what}: not within {timeout:g} s")
        time.sleep(every)
