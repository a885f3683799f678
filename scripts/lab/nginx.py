"""A real web server that answers with its name."""

from __future__ import annotations

import hashlib
import random
import signal
import socket
from pathlib import Path
from typing import Sequence

from .namespace import Namespace
from .network import WEB_PORT
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
{listen}
        location = / {{ return 200 "{name}\\n"; }}
        location = /healthz {{ return 200 "ok\\n"; }}
        location = /download {{ alias {download}; limit_rate {rate}; }}
        location /files/ {{ root {directory}; dav_methods PUT; client_max_body_size 0; }}
    }}
}}
"""


def make_download(path: Path) -> str:
    """Writes the file that every nginx offers as /download; returns its SHA-256."""
    content = random.Random(1).randbytes(DOWNLOAD_BYTES)
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


class Nginx:
    """One nginx in a namespace, a single process, so that one signal stops all of it. What is put into /files/ can be
    fetched from there; it lies in `files`."""

    def __init__(self, name: str, namespace: Namespace, directory: Path, download: Path,
                 port: int | Sequence[int] = WEB_PORT, outlives: bool = False):
        ports = [port] if isinstance(port, int) else list(port)
        self.name, self.namespace, self.port, self.outlives = name, namespace, ports[0], outlives
        self.directory, self.files = directory, directory / "files"
        self.files.mkdir(parents=True)
        listen = "\n".join(f"        listen {end}:{port} backlog=4096;" for port in ports for end in ("*", "[::]"))
        self.configuration = directory / "nginx.conf"
        self.configuration.write_text(CONFIGURATION.format(
            directory=directory, name=name, listen=listen, download=download, rate=DOWNLOAD_BYTES_A_SECOND))
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
