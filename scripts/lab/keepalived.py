"""Stock keepalived on a balancer, with the configuration of docs/samples/keepalived."""

from __future__ import annotations

from pathlib import Path

from .process import LAB_ROOT, Process
from .shunt import BUILD, Shunt

SAMPLES = LAB_ROOT.parent / "docs/samples/keepalived"


class Keepalived:
    """One node's; it runs the sample as it is, but for where this instance of Shunt has its files and its tool."""

    def __init__(self, shunt: Shunt):
        self.shunt = shunt
        self.directory = shunt.run_dir.parent / "keepalived"
        self.directory.mkdir()
        self.config = self.directory / "keepalived.conf"
        self.copy_of(f"{shunt.name}.conf", self.config)
        self.copy_of("shunt-notify", self.directory / "shunt-notify").chmod(0o755)
        self.process: Process | None = None
        shunt.lab.undo.callback(self.stop)

    def copy_of(self, sample: str, file: Path) -> Path:
        text = (SAMPLES / sample).read_text().replace("/run/shunt/", f"{self.shunt.run_dir}/")
        text = text.replace("/etc/keepalived/", f"{self.directory}/")
        file.write_text(text.replace(" shunt --socket", f" {BUILD}/shunt --socket"))
        return file

    def start(self) -> None:
        # Where a boot empties it: of the process that a file of before names another may have the number by now, and
        # keepalived then takes itself for running.
        pids = (word for option, name in (("-p", "keepalived"), ("-r", "vrrp"))
                for word in (option, self.shunt.run_dir / f"{name}.pid"))
        command: list[str | Path] = ["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", self.config, *pids]
        self.process = Process("keepalived", command, self.shunt.lab.log(f"{self.shunt.name}-keepalived"),
                               self.shunt.balancer)

    def stop(self) -> None:
        """An orderly end: a master tells its peer that it resigns."""
        if self.process:
            self.process.stop()
            self.process = None
