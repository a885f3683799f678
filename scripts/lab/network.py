"""The topology: one switch, and behind every cable one of client, balancer, b1, b2, b3.

The balancer has one interface, lan0, with an address in the clients' subnet, one in the backends' subnet, and the VIPs.
Clients reach the VIPs through it; backends have it as their default route, so that replies come back through it.
pair.py has the same with several balancers.
"""

from __future__ import annotations

import os
from contextlib import ExitStack
from itertools import count

from .namespace import Namespace, cable

BACKENDS = ("b1", "b2", "b3")
VIP = ("198.18.0.10", "2001:db8::10")
BALANCER = ("198.18.1.1", "2001:db8:1::1")  # towards clients
BALANCER_INSIDE = ("198.18.2.1", "2001:db8:2::1")  # towards backends
CLIENT = ("198.18.1.2", "2001:db8:1::2")
CLIENT_PREFIXES = ("198.18.1.0/24", "2001:db8:1::/64")
# Behind the client: sources of frames made by hand. Nobody has these addresses, and backends drop what comes from them.
CROWD_PREFIXES = ("203.0.113.0/24", "2001:db8:c::/64")
WEB_PORT = 80
LIVE_PORT = 7000

instances = count(1)


def backend_address(name: str) -> tuple[str, str]:
    number = int(name[1:])
    return f"198.18.2.{10 + number}", f"2001:db8:2::{10 + number}"


class Network:
    """The namespaces, cables, addresses and routes of one laboratory."""

    def __init__(self, undo: ExitStack, backends: tuple[str, ...] = BACKENDS, queues: int = 1):
        self.name = f"{os.environ.get('SHUNT_TEST_ID', 'shunt')}-{os.getpid()}-{next(instances)}"
        self.undo = undo
        self.queues = queues
        self.namespaces: list[Namespace] = []
        self.switch = self.namespace("switch")
        self.switch.ip("link", "add", "bridge0", "type", "bridge", "stp_state", "0", "mcast_snooping", "0")
        self.switch.ip("link", "set", "bridge0", "up")
        # A switch looks at no IP header: without this the kernel's packet filter would drop spoiled ones on the bridge.
        bridge = "net__bridge__bridge-nf-call-"
        self.switch.sysctl(**{f"{bridge}{tables}": 0 for tables in ("iptables", "ip6tables", "arptables")})
        self.balancers = self.set_up_balancers()
        self.balancer = self.balancers[0]
        self.client = self.host("client", "eth0")
        self.backends = {name: self.host(name, "eth0") for name in backends}
        self.set_up_client()
        for name in backends:
            self.set_up_backend(name)

    def namespace(self, role: str) -> Namespace:
        namespace = Namespace(f"{self.name}-{role}")
        self.undo.callback(namespace.close)
        self.namespaces.append(namespace)
        return namespace

    def host(self, role: str, interface: str, queues: int = 1) -> Namespace:
        """A namespace with a cable to the switch."""
        namespace = self.namespace(role)
        # Everybody shares one switch, so kernels would tell each other of shorter ways: no redirects, given or taken.
        namespace.sysctl(net__ipv4__conf__all__rp_filter=0, net__ipv4__conf__default__rp_filter=0,
                         net__ipv4__conf__all__send_redirects=0, net__ipv4__conf__default__send_redirects=0,
                         net__ipv4__conf__all__accept_redirects=0, net__ipv4__conf__default__accept_redirects=0,
                         net__ipv6__conf__all__accept_redirects=0, net__ipv6__conf__default__accept_redirects=0,
                         net__ipv6__conf__default__accept_ra=0, net__ipv6__conf__default__accept_dad=0,
                         net__ipv4__ip_local_port_range="2048 65535")
        cable(namespace, interface, self.switch, f"to-{role}", queues)
        self.switch.ip("link", "set", f"to-{role}", "master", "bridge0")
        return namespace

    def set_up_balancers(self) -> list[Namespace]:
        balancer = self.balancer_host("balancer", BALANCER, BALANCER_INSIDE)
        add_addresses(balancer, "lan0", VIP, (32, 128))
        return [balancer]

    def balancer_host(self, role: str, towards_clients: tuple[str, str], inside: tuple[str, str]) -> Namespace:
        """A balancer with its own addresses in both subnets, without VIPs."""
        balancer = self.host(role, "lan0", self.queues)
        balancer.sysctl(net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
                        net__ipv4__conf__lan0__rp_filter=0, net__ipv4__conf__lan0__accept_local=1)
        add_addresses(balancer, "lan0", towards_clients, (24, 64))
        add_addresses(balancer, "lan0", inside, (24, 64))
        for prefix, gateway in zip(CROWD_PREFIXES, CLIENT):
            balancer.ip("route", "add", prefix, "via", gateway)
        return balancer

    def set_up_client(self) -> None:
        add_addresses(self.client, "eth0", CLIENT, (24, 64))
        for gateway in BALANCER:
            self.client.ip("route", "add", "default", "via", gateway)
        counted = "".join(f"{family} daddr {vip} meta l4proto {{ tcp, udp }} counter name sent\n"
                          for family, vip in zip(("ip", "ip6"), VIP))
        self.client.nft(f"""table inet lab {{
            counter sent {{ }}
            chain out {{ type filter hook output priority 300; {counted} }}
        }}""")

    def set_up_backend(self, name: str) -> None:
        """`opened`: connections that clients opened here; `sent`: packets to clients; `checked_*`: answered checks."""
        backend = self.backends[name]
        add_addresses(backend, "eth0", backend_address(name), (24, 64))
        for gateway in BALANCER_INSIDE:
            backend.ip("route", "add", "default", "via", gateway)
        families = list(zip(("ip", "ip6"), CLIENT_PREFIXES, CROWD_PREFIXES))
        ports = f"{{ {WEB_PORT}, {LIVE_PORT} }}"
        is_new = f"tcp dport {ports} tcp flags & (syn | ack) == syn"
        from_clients = "".join(f"{family} saddr {{ {clients}, {crowd} }} {is_new} counter name opened\n"
                               f"{family} saddr {crowd} drop\n" for family, clients, crowd in families)
        to_clients = "".join(f"{family} daddr {clients} th sport {ports} counter name sent\n"
                             for family, clients, _ in families)
        checked = "".join(f"{family} daddr {balancer} tcp sport {WEB_PORT} tcp flags & (syn | ack) == syn | ack "
                          f"counter name checked_{family}\n" for family, balancer in zip(("ip", "ip6"), BALANCER_INSIDE))
        backend.nft(f"""table inet lab {{
            counter opened {{ }}
            counter sent {{ }}
            counter checked_ip {{ }}
            counter checked_ip6 {{ }}
            chain in {{ type filter hook prerouting priority -300; {from_clients} }}
            chain out {{ type filter hook output priority 300; {to_clients} {checked} }}
        }}""")

    def sent_to_balancer(self) -> int:
        """Packets of Shunt's services that clients and backends sent, by the kernels that sent them."""
        senders = [self.client, *self.backends.values()]
        return sum(namespace.counters()["sent"] for namespace in senders)


def add_addresses(namespace: Namespace, interface: str, addresses: tuple[str, str], lengths: tuple[int, int]) -> None:
    for address, length in zip(addresses, lengths):
        nodad = ["nodad"] if ":" in address else []
        namespace.ip("addr", "add", f"{address}/{length}", "dev", interface, *nodad)
