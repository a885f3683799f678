"""The one place where a system test may let time pass: waiting until something is true."""

import time


def wait_until(condition, what, seconds=10.0, every=0.02):
    """Calls `condition` until it returns something true, and returns that; TimeoutError names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise TimeoutError(f"waited {seconds:g} s in vain until {what}")
        time.sleep(every)
