"""A real web server that answers with its name."""

from __future__ import annotations

import hashlib
import random
import signal
import socket
from pathlib import Path

from .namespace import Namespace
from .process import Process

DOWNLOAD_BYTES = 6 << 20
DOWNLOAD_BYTES_A_SECOND = 384 << 10  # 16 s for the whole file

CONFIGURATION = """\
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
worker_rlimit_nofile 16384;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {directory}/body;
    proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/fastcgi;
    uwsgi_temp_path {directory}/uwsgi;
    scgi_temp_path {directory}/scgi;
    default_type text/plain;
    add_header X-Backend {name} always;
    keepalive_requests 1000000;
    server {{
        listen {port} backlog=4096;
        listen [::]:{port} backlog=4096;
        location = / {{ return 200 "{name}\\n"; }}
        location = /healthz {{ return 200 "ok\\n"; }}
        location = /download {{ alias {download}; limit_rate {rate}; }}
    }}
}}
"""


def make_download(path: Path) -> str:
    """Writes the file that every nginx offers as /download; returns its SHA-256."""
    content = random.Random(1).randbytes(DOWNLOAD_BYTES)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


class Nginx:
    """One nginx in a namespace, a single process, so that one signal stops all of it."""

    def __init__(self, name: str, namespace: Namespace, directory: Path, download: Path, port: int = 80,
                 outlives: bool = False):
        self.name, self.namespace, self.port, self.outlives = name, namespace, port, outlives
        self.directory = directory
        directory.mkdir()
        self.configuration = directory / "nginx.conf"
        self.configuration.write_text(CONFIGURATION.format(
            directory=directory, name=name, port=port, download=download, rate=DOWNLOAD_BYTES_A_SECOND))
        self.process = self.start()

    def start(self) -> Process:
        self.process = Process(f"nginx {self.name}", ["nginx", "-p", self.directory, "-c", self.configuration,
                                                      "-e", self.directory / "error.log"],
                               self.directory / "nginx.log", self.namespace, outlives=self.outlives)
        self.process.wait_ready(self.listening)
        return self.process

    def listening(self) -> bool:
        with self.namespace.entered(), socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def kill(self) -> None:
        """Death: the kernel closes its connections and refuses new ones."""
        self.process.kill()

    def freeze(self) -> None:
        """Silence: the kernel still completes handshakes, and nobody ever answers."""
        self.process.signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.signal(signal.SIGCONT)

    def stop(self) -> None:
        self.process.stop()
