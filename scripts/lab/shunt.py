"""Shunt's three programs, run inside a laboratory."""

from __future__ import annotations

import copy
import json
import os
import subprocess
from pathlib import Path
from typing import Any, Sequence

from .config import Config, to_toml
from .laboratory import Lab
from .namespace import Namespace
from .process import LAB_ROOT, Process
from .waiting import wait_until

BUILD = Path(os.environ.get("SHUNT_BUILD", LAB_ROOT.parent / "build"))


class CliFailed(RuntimeError):
    """`shunt` ended with another code than 0; `code` and `answer` (its JSON, if it printed any) tell more."""

    def __init__(self, words: tuple[str, ...], code: int, answer: Any, said: str):
        super().__init__(f"shunt {' '.join(words)}: exit code {code}: {said.strip()}")
        self.code, self.answer = code, answer


class Shunt:
    """One instance: its configuration, run directory, state directory, daemons, and the tool that talks to it."""

    def __init__(self, lab: Lab, config: Config, name: str = "shunt", balancer: Namespace | None = None):
        self.lab, self.name = lab, name
        self.balancer = balancer or lab.network.balancer
        self.run_dir = lab.directory / name / "run"
        self.state_dir = lab.directory / name / "state"
        self.run_dir.mkdir(parents=True)
        self.state_dir.mkdir()
        self.config_file = lab.directory / name / "shunt.toml"
        self.write_config(config)
        self.daemons: dict[str, Process] = {}
        self.options: dict[str, Sequence[str]] = {}  # further ones, by daemon
        lab.undo.callback(self.stop)

    def write_config(self, config: Config) -> None:
        self.config = copy.deepcopy(config)
        self.config_file.write_text(to_toml(config))

    @property
    def services(self) -> list[str]:
        return [service["name"] for service in self.config["service"]]

    def command(self, daemon: str) -> list[str | Path]:
        state = ["--state-dir", self.state_dir] if daemon == "controlplane" else []
        return [BUILD / f"shunt-{daemon}", "--config", self.config_file, "--run-dir", self.run_dir, *state,
                *self.options.get(daemon, ())]

    def daemon(self, which: str) -> Process:
        """Starts a daemon and waits until it says that it is ready."""
        ready = self.run_dir / f"{which}.ready"
        ready.unlink(missing_ok=True)  # of one that was killed
        process = self.daemons[which] = Process(f"shunt-{which}", self.command(which),
                                                self.lab.log(f"{self.name}-{which}"), self.balancer,
                                                outlives=self.lab.keep)
        process.wait_ready(ready.exists)
        return process

    def start_dataplane(self) -> Process:
        return self.daemon("dataplane")

    def start_controlplane(self) -> Process:
        return self.daemon("controlplane")

    def start(self) -> None:
        self.start_dataplane()
        self.start_controlplane()
        self.wait_serving()

    def running(self, which: str) -> bool:
        return which in self.daemons and self.daemons[which].running

    def kill(self, which: str) -> None:
        """kill -9 of a daemon."""
        self.daemons[which].kill()

    def stop(self) -> None:
        for process in reversed(self.daemons.values()):
            process.stop()

    # What the tool says

    @property
    def tool(self) -> list[str]:
        return [str(BUILD / "shunt"), "-s", str(self.run_dir / "api.sock")]

    def call(self, *words: str, timeout: float = 30) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*self.tool, *words], capture_output=True, text=True, timeout=timeout)

    def cli(self, *words: str) -> str:
        """Runs `shunt WORDS…`; CliFailed unless it ends with 0."""
        done = self.call(*words)
        if done.returncode != 0:
            raise CliFailed(words, done.returncode, as_json(done.stdout), done.stderr or done.stdout)
        return done.stdout

    def ask(self, *words: str) -> Any:
        return json.loads(self.cli(*words, "--json"))

    def status(self) -> Any:
        """Whatever the verdict is: `shunt status` ends with 1 when something is wrong."""
        return json.loads(self.call("status", "--json").stdout)

    def workers(self) -> list[dict[str, int]]:
        return self.ask("worker", "list")["workers"]

    def passed_generation(self) -> int:
        """The generation that all workers have passed."""
        return min((worker["generation"] for worker in self.workers()), default=0)

    def table(self, service: str, family: int) -> dict[str, Any]:
        return self.ask("table", "show", service, "--family", str(family))

    def hashes(self) -> dict[str, str]:
        return {f"{service}/{family}": self.table(service, family)["hash"]
                for service in self.services for family in (4, 6)}

    def slots(self, service: str, address: str) -> tuple[int, int]:
        """How many slots the live table gives to the backend at `address`, and the generation of that table."""
        table = self.table(service, 6 if ":" in address else 4)
        mine = sum(entry["slots"] for entry in table["backends"] if address_of_key(entry["key"]) == address)
        return mine, table["generation"]

    def wait_for_slots(self, service: str, addresses: Sequence[str], present: bool, timeout: float = 20) -> int:
        """Waits until all workers work with tables in which every one of `addresses` has slots, or has none, and
        returns the generation from which on that is so."""

        def generation() -> int:
            seen = [self.slots(service, address) for address in addresses]
            return max(number for _, number in seen) if all((mine > 0) == present for mine, _ in seen) else 0

        what = f"{', '.join(addresses)} to be {'in' if present else 'out of'} the table of {service}"
        reached = wait_until(generation, timeout, what, every=0.01)
        wait_until(lambda: self.passed_generation() >= reached, timeout, f"all workers to pass generation {reached}",
                   every=0.01)
        return reached

    def wait_serving(self, timeout: float = 20) -> None:
        """Every backend of every service has slots, and all workers work with such a table."""
        for service in self.config["service"]:
            self.wait_for_slots(service["name"], [backend["address"] for backend in service["backend"]], True, timeout)

    # What must always hold

    def totals(self) -> dict[str, int]:
        kinds = ("received", "forwarded", "punted", "dropped", "originated")
        workers = self.workers()
        return {kind: sum(worker[kind] for worker in workers) for kind in kinds}

    def settled_workers(self, timeout: float = 10) -> list[dict[str, int]]:
        """The workers' counters once nothing moves any more."""
        readings = [self.workers()]

        def at_rest() -> bool:
            readings.append(self.workers())
            moving = ("received", "forwarded", "punted", "dropped")
            return all(old[kind] == new[kind] for old, new in zip(*readings[-2:]) for kind in moving)

        wait_until(at_rest, timeout, "the workers' counters to rest", every=0.2)
        return readings[-1]

    def driver_count(self) -> int:
        """Packets that the kernel's driver handed to AF_XDP sockets: counted by veth itself, not by Shunt."""
        statistics = self.balancer.run("ethtool", "-S", "lan0")
        pairs = (line.strip().split(": ") for line in statistics.splitlines() if "xdp_redirect:" in line)
        return sum(int(value) for name, value in pairs if name.startswith("rx_queue_"))


def unbalanced(workers: list[dict[str, int]]) -> list[dict[str, int]]:
    """The workers whose counters do not add up."""
    return [worker for worker in workers
            if worker["received"] != worker["forwarded"] + worker["punted"] + worker["dropped"]]


def address_of_key(key: str) -> str:
    """A key is Maglev's: `198.18.2.11:0` or `[2001:db8:2::11]:0`."""
    return key.rpartition(":")[0].strip("[]")


def as_json(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
