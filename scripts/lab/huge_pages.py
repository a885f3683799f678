"""Huge pages for as long as something needs them; the number that was there before comes back."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COUNT = Path("/proc/sys/vm/nr_hugepages")


def _add(pages: int) -> int:
    """Asks the kernel for more (or fewer); returns how many came."""
    before = int(COUNT.read_text())
    COUNT.write_text(str(max(0, before + pages)))
    return int(COUNT.read_text()) - before


@contextmanager
def extra_huge_pages(pages: int) -> Iterator[None]:
    """So many pages of 2 MiB more than there were, or as many as the kernel has; without the right to ask for them, none.

    Signals that end the process end it by way of SystemExit, so that the pages are given back.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: sys.exit(128 + number))
    came = 0
    try:
        came = _add(pages)
    except OSError as error:
        print(f"bench: no huge pages: {error.strerror}; run as root to have them", file=sys.stderr)
    try:
        yield
    finally:
        if came:
            _add(-came)
