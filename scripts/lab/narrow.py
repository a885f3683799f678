"""Ways that take less than the cables: a router that forwards packets of at most `MTU` bytes to the host behind it.

    client ──┐                              far: a client, reached through `front`
             ├── switch ── front ═══ far
    b1 ──────┤        └─── back ═══ remote   remote: a backend, reached through `back`
             balancer

The hosts behind it do not know: their own cables take 1,500 bytes, and only an ICMP error tells the sender.
"""

from __future__ import annotations

from dataclasses import dataclass

from .laboratory import Lab
from .namespace import Namespace, cable
from .network import BALANCER, BALANCER_INSIDE, add_addresses

MTU = 1400
FAMILIES = ("-4", "-6")


@dataclass(frozen=True)
class Narrow:
    """Where a narrow way is: addresses of both families."""

    router: str
    host: str
    on_switch: tuple[str, str]  # of the router
    gateway: tuple[str, str]  # the balancer as the router sees it
    subnet: tuple[str, str]
    near_end: tuple[str, str]  # of the router, in the subnet
    address: tuple[str, str]  # of the host


IN_FRONT = Narrow("front", "far", ("198.18.1.3", "2001:db8:1::3"), BALANCER, ("198.18.3.0/24", "2001:db8:3::/64"),
                  ("198.18.3.1", "2001:db8:3::1"), ("198.18.3.2", "2001:db8:3::2"))
BEHIND = Narrow("back", "remote", ("198.18.2.3", "2001:db8:2::3"), BALANCER_INSIDE,
                ("198.18.4.0/24", "2001:db8:4::/64"), ("198.18.4.1", "2001:db8:4::1"),
                ("198.18.4.2", "2001:db8:4::2"))


def add_narrow(lab: Lab, way: Narrow) -> Namespace:
    """Adds the router and the host behind it, and returns the host."""
    router = lab.network.host(way.router, "eth0")
    router.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1, net__ipv4__icmp_ratelimit=0,
                  net__ipv6__icmp__ratelimit=0)
    host = lab.network.namespace(way.host)
    host.sysctl(net__ipv6__conf__default__accept_dad=0, net__ipv4__conf__all__rp_filter=0)
    cable(router, "narrow", host, "eth0")
    add_addresses(router, "eth0", way.on_switch, (24, 64))
    add_addresses(router, "narrow", way.near_end, (32, 128))
    add_addresses(host, "eth0", way.address, (24, 64))
    for family, subnet, near, gateway, via in zip(FAMILIES, way.subnet, way.near_end, way.gateway, way.on_switch):
        router.ip(family, "route", "add", subnet, "dev", "narrow", "mtu", "lock", str(MTU))
        router.ip(family, "route", "add", "default", "via", gateway)
        host.ip(family, "route", "add", "default", "via", near)
        lab.network.balancer.ip(family, "route", "add", subnet, "via", via)
    return host


def path_mtu(host: Namespace, to: str, source: str = "") -> int:
    """What the host has learned about the way; 1500 if nothing."""
    words = host.ip("route", "get", to, *(["from", source] if source else [])).split()
    return int(words[words.index("mtu") + 1]) if "mtu" in words else 1500
