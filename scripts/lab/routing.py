"""Stock routing daemons with the configurations of docs/samples: BIRD and FRR."""

from __future__ import annotations

import shutil
from pathlib import Path

from .laboratory import Lab
from .namespace import Namespace
from .process import LAB_ROOT, Process

SAMPLES = LAB_ROOT.parent / "docs/samples"
SAMPLE_ADDRESSES = ("198.18.1.11", "2001:db8:1::11")  # of the node in the samples of a node
FRR = Path("/usr/lib/frr")


def sample_for(name: str, addresses: tuple[str, str] = SAMPLE_ADDRESSES) -> str:
    """The sample as it is, but for the addresses of the node."""
    text = (SAMPLES / name).read_text()
    for ours, theirs in zip(SAMPLE_ADDRESSES, addresses):
        text = text.replace(ours, theirs)
    return text


class Bird:
    programs = ("bird",)

    def __init__(self, lab: Lab, namespace: Namespace, name: str, sample: str,
                 addresses: tuple[str, str] = SAMPLE_ADDRESSES):
        self.lab, self.namespace, self.name = lab, namespace, name
        self.directory = lab.directory / f"{name}-bird"
        self.directory.mkdir()
        self.config = self.directory / "bird.conf"
        self.config.write_text(sample_for(sample, addresses))
        self.process: Process | None = None
        lab.undo.callback(self.stop)

    def start(self) -> None:
        command: list[str | Path] = ["bird", "-f", "-c", self.config, "-s", self.directory / "bird.ctl"]
        self.process = Process("bird", command, self.lab.log(f"{self.name}-bird"), self.namespace)
        self.process.wait_ready((self.directory / "bird.ctl").exists)

    def stop(self) -> None:
        if self.process:
            self.process.stop()
            self.process = None


class Frr:
    """As Debian's own script starts it: every daemon without a configuration, then vtysh tells all of them."""

    programs = ("vtysh",)
    daemons = ("zebra", "bfdd", "bgpd")

    def __init__(self, lab: Lab, namespace: Namespace, name: str, addresses: tuple[str, str] = SAMPLE_ADDRESSES):
        self.lab, self.namespace, self.name = lab, namespace, name
        lab.directory.chmod(0o711)  # the daemons give up root's rights, and come here
        self.directory = lab.directory / f"{name}-frr"
        self.directory.mkdir()
        shutil.chown(self.directory, "frr", "frr")
        (self.directory / "frr.conf").write_text(sample_for("frr/node.conf", addresses))
        (self.directory / "vtysh.conf").write_text("")
        self.processes: list[Process] = []
        lab.undo.callback(self.stop)

    def start(self) -> None:
        for daemon in self.daemons:
            files = ["-z", self.directory / "zserv.api", "-i", self.directory / f"{daemon}.pid", "-f", "/dev/null"]
            files += ["--bfdctl", self.directory / "bfdd.sock"] if daemon == "bfdd" else []
            process = Process(daemon, [FRR / daemon, "-P", "0", "--vty_socket", self.directory, *files],
                              self.lab.log(f"{self.name}-{daemon}"), self.namespace)
            self.processes.append(process)
            process.wait_ready((self.directory / f"{daemon}.vty").exists)
        self.namespace.run("vtysh", "--vty_socket", str(self.directory), "--config_dir", str(self.directory), "-b")

    def stop(self) -> None:
        while self.processes:
            self.processes.pop().stop()
