"""A balancer that may lose its power: what a node of a pair and of a group of equals have in common."""

from __future__ import annotations

import shutil

from .laboratory import Lab
from .namespace import Namespace
from .shunt import Shunt


class Machine:
    def __init__(self, lab: Lab, name: str, balancer: Namespace, shunt: Shunt):
        self.lab, self.name, self.balancer, self.shunt = lab, name, balancer, shunt

    def die(self) -> None:
        """As by a power cut: the cable is dead and nothing runs any more."""
        self.lab.network.switch.ip("link", "set", f"to-{self.name}", "down")
        self.balancer.kill_all()

    def lose_memory(self) -> None:
        """After die(): a kernel that remembers nothing but its own addresses, a run directory that is empty."""
        self.shunt.stop()
        shutil.rmtree(self.shunt.run_dir)
        self.shunt.run_dir.mkdir()
        self.balancer.ip("link", "set", "lan0", "xdp", "off")
        self.balancer.ip("neighbour", "flush", "all", "nud", "all")
        self.balancer.nft("flush ruleset")

    def plug_in(self) -> None:
        self.lab.network.switch.ip("link", "set", f"to-{self.name}", "up")
