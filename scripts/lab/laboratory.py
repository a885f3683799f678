"""A laboratory: the network, its backends, and the clean-up that always happens."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import signal
import tempfile
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from .loop import as_target
from .namespace import Namespace, remove_namespace
from .network import BACKENDS, LIVE_PORT, Network
from .nginx import Nginx, make_download
from .process import Instrument, Process
from .wrk import Wrk

REQUIRED = ("ip", "nft", "ethtool", "nsenter", "setpriv", "sysctl", "nginx")


class Unfit(RuntimeError):
    """This machine, as it is, cannot hold a laboratory; the text says what is wrong and the remedy."""


def check_environment(programs: tuple[str, ...] = REQUIRED) -> None:
    if os.geteuid() != 0:
        raise Unfit("network namespaces need root; run it with sudo")
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise Unfit(f"missing programs: {', '.join(missing)}; run scripts/setup")


def error_document(failure: BaseException | str, remedy: str | None) -> str:
    """What a script prints for programs when it could not do its work."""
    return json.dumps({"error": {"message": str(failure), "file": None, "line": None, "column": None, "key": None,
                                 "remedy": remedy}})


class Lab:
    """`with Lab() as lab:` everything made inside is gone afterwards, whatever happens. Only kill -9 leaves the
    namespaces, but no process; `remove` then finishes."""

    def __init__(self, backends: tuple[str, ...] = BACKENDS, queues: int = 1, keep: bool = False,
                 topology: type[Network] = Network):
        check_environment()
        end_orderly_on_sigterm()
        self.keep = keep
        self.kept = False
        self.loads: list[Process] = []  # what the client runs
        self.undo = ExitStack()
        atexit.register(self.close)
        try:
            self.directory = Path(tempfile.mkdtemp(prefix="shunt-lab-", dir="/dev/shm"))
            self.undo.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self.network = topology(self.undo, backends, queues)
            self.write_inventory()
            self.download_hash = make_download(self.directory / "download.bin")
            self.nginx = {name: Nginx(name, self.network.backends[name], self.directory / f"nginx-{name}",
                                      self.directory / "download.bin", outlives=keep) for name in backends}
            for nginx in self.nginx.values():
                self.undo.callback(nginx.stop)
        except BaseException:
            self.close()
            raise

    @property
    def client(self) -> Namespace:
        return self.network.client

    def log(self, name: str) -> Path:
        return self.directory / f"{name}.log"

    def write_inventory(self) -> None:
        """What `remove` needs to know of a laboratory whose process is gone."""
        inventory = {"namespaces": [namespace.name for namespace in self.network.namespaces]}
        (self.directory / "inventory.json").write_text(json.dumps(inventory))

    def start_echo(self) -> dict[str, Instrument]:
        """The answering side of the live load, on every backend."""
        echoes = {name: self.instrument("echo", "--name", name, "--port", str(LIVE_PORT), namespace=namespace)
                  for name, namespace in self.network.backends.items()}
        for echo in echoes.values():
            echo.report()  # it answers: it listens
        return echoes

    def instrument(self, module: str, *arguments: str, namespace: Namespace) -> Instrument:
        instrument = Instrument(module, arguments, self.log(f"{module}-{namespace.name}"), namespace)
        self.undo.callback(instrument.stop)
        return instrument

    def load(self, module: str, *arguments: str) -> Instrument:
        self.loads.append(instrument := self.instrument(module, *arguments, namespace=self.client))
        return instrument

    def stop_loads(self) -> None:
        """Ends what a test that failed left running, so that the next one is alone."""
        while self.loads:
            self.loads.pop().stop()

    def opener(self, addresses: tuple[str, ...], port: int = 80, **options: Any) -> Instrument:
        """Many short connections to `addresses`; options as in opener.py: count=3000, rate=1000."""
        return self.load("opener", *(f"--target={as_target(address, port)}" for address in addresses),
                         *as_arguments(options))

    def live(self, addresses: tuple[str, ...], port: int = LIVE_PORT, udp: bool = True, **options: Any) -> Instrument:
        """Live connections, and a stream of datagrams unless `udp` is off; options as in live.py."""
        targets = [as_target(address, port) for address in addresses]
        return self.load("live", *(f"--tcp={target}" for target in targets),
                         *(f"--udp={target}" for target in targets if udp), *as_arguments(options))

    def wrk(self, address: str, seconds: int, connections: int = 8, path: str = "/") -> Wrk:
        wrk = Wrk(f"http://{as_target(address, 80)}{path}", seconds, connections, self.log("wrk"), self.client)
        self.undo.callback(wrk.stop)
        self.loads.append(wrk)
        return wrk

    def leave(self) -> None:
        """Leaves the laboratory standing; only with keep=True do its processes outlive this one."""
        self.kept = True

    def close(self) -> None:
        atexit.unregister(self.close)
        if not self.kept:
            with signals_held():
                self.undo.close()

    def __enter__(self) -> Lab:
        return self

    def __exit__(self, *_what: object) -> None:
        self.close()


def as_arguments(options: dict[str, Any]) -> list[str]:
    return [f"--{key.replace('_', '-')}={value}" for key, value in options.items()]


def remove(directory: Path) -> None:
    """Removes a laboratory that was left standing, by its directory."""
    for name in json.loads((directory / "inventory.json").read_text())["namespaces"]:
        remove_namespace(name)
    shutil.rmtree(directory)


def in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def end_orderly_on_sigterm() -> None:
    """SIGTERM unwinds like SIGINT, so that every `with` cleans up."""

    def unwind(_number: int, _frame: object) -> None:
        raise SystemExit(143)

    if in_main_thread() and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, unwind)


class signals_held:
    """A second Ctrl-C must not interrupt the clean-up of the first."""

    def __enter__(self) -> None:
        self.before = {}
        if in_main_thread():
            self.before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_what: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
