"""wrk, and what it says of socket errors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from .namespace import Namespace
from .process import Process, ProcessEnded


class Wrk(Process):
    """wrk at low priority: it takes what the machine has left, so that health checks stay on time."""

    def __init__(self, url: str, seconds: int, connections: int, log: Path, namespace: Namespace):
        log.unlink(missing_ok=True)
        super().__init__("wrk", ["nice", "-n", "10", "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
                                 "--timeout", "5s", url], log, namespace)
        self.seconds = seconds

    def finish(self) -> dict[str, Any]:
        """Waits for the end of the run: {"requests", "errors": {"connect", "read", "write", "timeout", "status"}}."""
        code = self.popen.wait(self.seconds + 30)
        text = self.log.read_text()
        total = re.search(r"(\d+) requests in", text)
        if code != 0 or not total:
            raise ProcessEnded(f"wrk ended with {code}:\n{text}")
        return {"requests": int(total.group(1)), "errors": socket_errors(text)}


def socket_errors(text: str) -> dict[str, int]:
    """wrk mentions errors only when there are any."""
    errors = {kind: 0 for kind in ("connect", "read", "write", "timeout", "status")}
    found = re.search(r"Socket errors: (.*)", text)
    for kind, number in re.findall(r"(\w+) (\d+)", found.group(1) if found else ""):
        errors[kind] = int(number)
    status = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    errors["status"] = int(status.group(1)) if status else 0
    return errors
