"""A service for every way in which Shunt sends packets to a backend, and what the backend needs to take them."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Sequence

from .config import Config
from .loop import as_target
from .namespace import Namespace
from .network import BALANCER_INSIDE, CLIENT_PREFIXES, VIP, add_addresses
from .process import LAB_ROOT

BUILD = Path(os.environ.get("SHUNT_BUILD", LAB_ROOT.parent / "build"))
DSCP = 10
VNI, INNER_MAC = 7, "02:00:00:00:07:07"
FIRST_PORT = 9001


@dataclass(frozen=True)
class Way:
    """A mode and, where the backend's address may be of another family than the VIP, which one it is of."""

    mode: str
    family: int = 0  # 4, 6; 0: that of the VIP
    key: int = 0  # of the tunnel
    port: int = 0  # of the tunnel, if not the usual one

    @property
    def name(self) -> str:
        return self.mode + (str(self.family) if self.family else "") + ("-key" if self.key else "")

    @property
    def service_port(self) -> int:
        return FIRST_PORT + WAYS.index(self)

    def backends_of(self, addresses: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(address for address in addresses if self.family in (0, 6 if ":" in address else 4))


WAYS = (Way("nat"), Way("direct"), Way("l3dsr"), Way("ipip", 4), Way("ipip", 6), Way("gre", 4), Way("gre", 6, key=77),
        Way("gue", 4), Way("gue", 6, port=6081), Way("vxlan", 4), Way("vxlan", 6))


def service_of(way: Way, addresses: tuple[str, str], beyond: int = 0, **more: object) -> Config:
    """The service of one way: TCP and UDP on its own port (and `beyond`) of both VIPs, no check."""
    port = way.service_port + beyond
    return in_way(way, {
        "name": way.name + ("-beyond" if beyond else ""),
        "vip": [f"{as_target(vip, port)}/{protocol}" for vip in VIP for protocol in ("tcp", "udp")],
        "backend": [{"address": address} for address in addresses], **more})


def in_way(way: Way, service: Config) -> Config:
    """The service in the mode of `way`, with those of its backends that the way leads to."""
    service = {**service, "mode": way.mode, "backend": [backend for backend in service["backend"]
                                                        if backend["address"] in way.backends_of((backend["address"],))]}
    tunnel: Config = {key: value for key, value in (("key", way.key), ("port", way.port)) if value}
    if way.mode == "vxlan":
        tunnel |= {"vni": VNI, "inner_mac": INNER_MAC}
    if tunnel:
        service["tunnel"] = tunnel
    if way.mode == "l3dsr":
        service["dscp"] = DSCP
    return service


def own_the_vips(backend: Namespace) -> None:
    """The backend answers as the VIPs, and tells nobody that it has them."""
    backend.sysctl(net__ipv4__conf__all__arp_ignore=1, net__ipv4__conf__all__arp_announce=2)
    add_addresses(backend, "lo", VIP, (32, 128))


def answer_directly(backend: Namespace, interface: str = "eth0") -> None:
    """What the backend sends as a VIP goes to the clients themselves, not through the balancer."""
    for family, vip, prefix in zip(("-4", "-6"), VIP, CLIENT_PREFIXES):
        backend.ip(family, "rule", "add", "from", vip, "table", "100")
        backend.ip(family, "route", "add", prefix, "dev", interface, "table", "100")


def decap(backend: Namespace, *options: str, device: str = "eth0") -> str:
    return backend.run(str(BUILD / "shunt-decap"), "--device", device, *options)


def way_of(name: str) -> Way:
    """The way of this name, or the first of this mode: `gre6-key`, `gre`."""
    return next(way for way in WAYS if name in (way.name, way.mode))


def prepare(backend: Namespace, way: Way, addresses: tuple[str, str], device: str = "eth0",
            sources: Sequence[str] = BALANCER_INSIDE) -> str:
    """From now on the backend takes the packets of this way, from balancers at `sources`, whatever it took before.
    Returns what shunt-decap said."""
    decap(backend, "--detach", device=device)
    backend.run("sh", "-c", "ip link delete vxlan0 2>/dev/null || true")
    if way.mode == "l3dsr":
        return decap(backend, "--mode", way.mode, "--source", "0.0.0.0/0", "::/0",
                     "--dscp", *(f"{DSCP}={vip}" for vip in VIP), device=device)
    if way.mode in ("ipip", "gre", "gue"):
        port = ["--port", str(way.port)] if way.port else []
        return decap(backend, "--mode", way.mode, "--source", *sources, *port, device=device)
    if way.mode == "vxlan":
        (address,) = way.backends_of(addresses)
        backend.ip("link", "add", "vxlan0", "address", INNER_MAC, "type", "vxlan", "id", str(VNI), "dstport", "4789",
                   "local", address)
        backend.ip("link", "set", "vxlan0", "up")
    return ""
