"""The ways to wait: ask again until it is so, or say what was waited for; or do something so many times a second."""

from __future__ import annotations

import time
from typing import Callable, Iterator, TypeVar

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


def at_rate(per_second: float, count: int) -> Iterator[int]:
    """Numbers from 0 to `count` - 1, each when its time has come by the clock; who was late catches up."""
    started = time.monotonic()
    for number in range(count):
        time.sleep(max(0.0, started + number / per_second - time.monotonic()))
        yield number
