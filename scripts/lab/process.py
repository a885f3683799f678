"""A process of the laboratory: started in a namespace, logging to a file, ended by its own id."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable, Sequence

from .namespace import Namespace
from .waiting import wait_until

LAB_ROOT = Path(__file__).resolve().parent.parent  # the directory that holds the package `lab`


class ProcessEnded(RuntimeError):
    """A process ended that should be running; the text holds the end of its log."""


class Process:
    """A process that dies with the laboratory, however that dies, unless `outlives` is set."""

    def __init__(self, name: str, argv: Sequence[str | Path], log: Path, namespace: Namespace | None = None,
                 outlives: bool = False, pipes: bool = False):
        self.name = name
        self.log = log
        prefix = namespace.prefix if namespace else []
        if not outlives:
            prefix = [*prefix, "setpriv", "--pdeathsig", "KILL"]
        pipe = subprocess.PIPE if pipes else None
        with open(log, "ab") as log_file:
            self.popen = subprocess.Popen(
                [*prefix, *map(str, argv)], stdin=pipe or subprocess.DEVNULL, stdout=pipe or log_file, stderr=log_file,
                start_new_session=True, env={**os.environ, "PYTHONPATH": str(LAB_ROOT), "PYTHONSAFEPATH": "1"})

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def log_tail(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_ready(self, ready: Callable[[], Any], timeout: float = 20) -> None:
        """Waits for `ready`; a process that ends meanwhile is reported with the end of its log."""

        def ready_or_ended() -> bool:
            if not self.running:
                raise ProcessEnded(f"{self.name} ended with {self.popen.returncode}:\n{self.log_tail()}")
            return bool(ready())

        wait_until(ready_or_ended, timeout, f"{self.name} to be ready (log {self.log})")

    def signal(self, number: int) -> None:
        if self.running:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """kill -9, and waits until it is gone."""
        self.signal(signal.SIGKILL)
        self.popen.wait(10)

    def stop(self) -> int:
        """Asks it to end, insists after five seconds, and returns its exit code."""
        self.signal(signal.SIGTERM)
        self.signal(signal.SIGCONT)
        try:
            self.popen.wait(5)
        except subprocess.TimeoutExpired:
            self.kill()
        for pipe in (self.popen.stdin, self.popen.stdout):
            if pipe:
                pipe.close()
        return self.popen.returncode


class Instrument(Process):
    """A program of this package, run in a namespace and spoken to in lines: a word in, a JSON document out."""

    def __init__(self, module: str, arguments: Sequence[str], log: Path, namespace: Namespace | None = None):
        super().__init__(module, [sys.executable, "-m", f"lab.{module}", *arguments], log, namespace, pipes=True)

    def ask(self, word: str, timeout: float = 30) -> dict[str, Any]:
        assert self.popen.stdin and self.popen.stdout
        try:
            self.popen.stdin.write(f"{word}\n".encode())
            self.popen.stdin.flush()
            if not select.select([self.popen.stdout], [], [], timeout)[0]:
                raise TimeoutError(f"{self.name} did not answer '{word}' within {timeout:g} s")
            return json.loads(self.popen.stdout.readline())
        except (BrokenPipeError, json.JSONDecodeError):
            self.popen.wait(5)
            raise ProcessEnded(f"{self.name} ended with {self.popen.returncode}:\n{self.log_tail()}") from None

    def report(self) -> dict[str, Any]:
        return self.ask("report")

    def finish(self, timeout: float = 30) -> dict[str, Any]:
        """Lets it finish what is under way, and returns its last report."""
        last = self.ask("finish", timeout)
        self.stop()
        return last
