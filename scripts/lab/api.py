"""The API of a control plane, over its unix socket."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


class UnixConnection(http.client.HTTPConnection):
    """Goes on with one connection as long as the other side lets it."""

    def __init__(self, path: Path):
        super().__init__("shunt", timeout=20)
        self.path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)

    def ask(self, method: str, target: str, body: Any = None) -> tuple[int, Any]:
        """The status and the document of the answer."""
        self.request(method, f"/v1/{target}", json.dumps(body) if body is not None else None)
        answer = self.getresponse()
        return answer.status, json.loads(answer.read())
