"""Network namespaces and the cables between them."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
from contextlib import contextmanager
from typing import Iterator, Sequence

from .waiting import wait_until

CLONE_NEWNET = 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


class CommandFailed(RuntimeError):
    """A command of the laboratory ended with an error; the text is the command and what it said."""


def run(argv: Sequence[str], text: str | None = None, timeout: float = 60) -> str:
    """Runs a command to its end and returns what it printed."""
    done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=timeout)
    if done.returncode != 0:
        raise CommandFailed(f"{' '.join(argv)}: {(done.stderr or done.stdout).strip() or done.returncode}")
    return done.stdout


class Namespace:
    """One network namespace, made here and removed by close(), with whatever still runs in it."""

    def __init__(self, name: str):
        self.name = name
        run(["ip", "netns", "add", name])
        run(["ip", "-n", name, "link", "set", "lo", "up"])

    @property
    def prefix(self) -> list[str]:
        """What to put before a command. Not `ip netns exec`: that hides mounts and gives a fresh /sys."""
        return ["nsenter", f"--net=/run/netns/{self.name}"]

    def run(self, *argv: str, text: str | None = None, timeout: float = 60) -> str:
        return run([*self.prefix, *argv], text, timeout)

    def ip(self, *words: str) -> str:
        return run(["ip", "-n", self.name, *words])

    def sysctl(self, **values: object) -> None:
        """Sets values; a double underscore stands for the dot: net__ipv4__ip_forward=1. What is not there is left out."""
        self.run("sysctl", "-eqw", *(f"{key.replace('__', '.')}={value}" for key, value in values.items()))

    def nft(self, rules: str) -> None:
        self.run("nft", "-f", "-", text=rules)

    def counters(self, family: str = "inet") -> dict[str, int]:
        """Packets seen by every named nftables counter of the table `lab`."""
        listed = json.loads(self.run("nft", "-j", "list", "counters", "table", family, "lab"))["nftables"]
        return {entry["counter"]["name"]: entry["counter"]["packets"] for entry in listed if "counter" in entry}

    @contextmanager
    def entered(self) -> Iterator[None]:
        """The calling thread works inside; a socket opened here stays here."""
        with open("/proc/thread-self/ns/net", "rb") as home, open(f"/run/netns/{self.name}", "rb") as there:
            set_namespace(there.fileno())
            try:
                yield
            finally:
                set_namespace(home.fileno())

    def kill_all(self) -> None:
        kill_all_in(self.name)

    def close(self) -> None:
        remove_namespace(self.name)


def set_namespace(descriptor: int) -> None:
    if libc.setns(descriptor, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def remove_namespace(name: str) -> None:
    """Removes a namespace by name and ends what runs in it."""
    if os.path.exists(f"/run/netns/{name}"):
        kill_all_in(name)
        run(["ip", "netns", "del", name])


def kill_all_in(name: str) -> None:
    """kill -9 of everything that runs in a namespace, and waits until it is gone."""

    def emptied() -> bool:
        pids = run(["ip", "netns", "pids", name]).split()
        for pid in pids:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        return not pids

    wait_until(emptied, 10, f"processes in namespace {name} to end")


def cable(one: Namespace, one_name: str, other: Namespace, other_name: str, queues: int = 1) -> None:
    """A veth pair. Without checksum and segmentation offload: what leaves one end is what a wire would carry."""
    ends = f"numrxqueues {queues} numtxqueues {queues}".split()
    run(["ip", "link", "add", one_name, "netns", one.name, *ends, "type", "veth",
         "peer", "name", other_name, "netns", other.name, *ends])
    for namespace, name in ((one, one_name), (other, other_name)):
        namespace.run("ethtool", "-K", name, "tx", "off", "rx", "off", "tso", "off", "gso", "off", "gro", "off")
        namespace.ip("link", "set", name, "up")
