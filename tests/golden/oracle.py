"""What must come out of Shunt, computed by scapy: headers, lengths and checksums are built anew by an implementation that
shares nothing with ours. The make_*.py beside this file describe packets; what a service makes of them is here.

Run a make_*.py by hand when its cases change; it writes the .txt of its name, which golden_test.cpp reads.
"""

import ipaddress
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

from scapy.all import (GRE, ICMP, IP, TCP, UDP, Dot1AD, Dot1Q, Ether, ICMPv6DestUnreach, ICMPv6PacketTooBig,
                       ICMPv6ParamProblem, ICMPv6TimeExceeded, IPv6, IPv6ExtHdrFragment, Raw, raw)
from scapy.fields import ByteField, IntField, ShortField, StrFixedLenField
from scapy.layers.inet6 import _IPv6ExtHdr
from scapy.layers.vxlan import VXLAN
from scapy.packet import Packet, bind_layers

PORT, SENDER, GATEWAY = "02:00:00:00:00:02", "02:00:00:00:00:01", "02:00:00:00:00:fe"
CLIENT = {4: "203.0.113.7", 6: "2001:db8:cafe::7"}
NODE = {4: "198.18.1.2", 6: "2001:db8:1::2"}
FAMILIES = (4, 6)
TRANSPORTS = {"tcp": TCP, "udp": UDP}
FLOW_SEED = (0x5EED, 0xF10, 0x7AB1E, 0xC0FFEE)  # of tests/support/instance.cpp
U64 = (1 << 64) - 1


class GUE(Packet):
    """draft-ietf-intarea-gue, variant 0, data, no flags."""
    fields_desc = [ByteField("variant_control_length", 0), ByteField("proto", 4), ShortField("flags", 0)]


class Authentication(_IPv6ExtHdr):
    """RFC 4302. Scapy's own is no extension header to its checksums."""
    fields_desc = [ByteField("nh", 6), ByteField("len", 4), ShortField("reserved", 0), IntField("spi", 1), IntField("seq", 2),
                   StrFixedLenField("icv", b"", 12)]


bind_layers(IPv6, Authentication, nh=51)
for number, upper in ((6, TCP), (17, UDP)):
    bind_layers(Authentication, upper, nh=number)


# ---------------------------------------------------------------------------------------------------- configuration

@dataclass
class Hop:
    """A static next hop."""
    address: str
    mac: str
    mtu: int = 1500
    vlan: list = None
    prefix: list = field(default_factory=list)

    def toml(self):
        lines = ["[[next_hop]]", f'address = "{self.address}"', f'mac = "{self.mac}"', 'port = "lan0"', f"mtu = {self.mtu}"]
        if self.prefix:
            lines.append(f"prefix = {self.prefix}".replace("'", '"'))
        if self.vlan is not None:
            lines.append(f"vlan = {self.vlan}")
        return lines


@dataclass
class Service:
    """One VIP address per family, TCP and UDP, and at most one backend per family: so the choice is known."""
    name: str
    mode: str
    vip: dict
    backend: dict
    vip_port: int = 443  # to which packets are sent
    vip_ports: str = ""  # what the VIP has, if that is not its only one: "8000-8999", "*"
    backend_port: int = 0  # as on the wire; 0: the VIP's
    transports: tuple = ("tcp", "udp")
    dscp: int = None
    tunnel: dict = field(default_factory=dict)
    mss: object = "auto"
    flows: str = "on"

    def port_at_backend(self):
        return self.backend_port or self.vip_port

    def toml(self):
        vips = [f"{a if f == 4 else f'[{a}]'}:{self.vip_ports or self.vip_port}/{t}" for f, a in self.vip.items() for t in self.transports]
        lines = ["[[service]]", f'name = "{self.name}"', f"vip = {vips}".replace("'", '"'), f'mode = "{self.mode}"',
                 "table_size = 1021"]
        if self.dscp is not None:
            lines.append(f"dscp = {self.dscp}")
        if self.tunnel:
            words = ", ".join(f'{k} = "{v}"' if isinstance(v, str) else f"{k} = {v}" for k, v in self.tunnel.items())
            lines.append(f"tunnel = {{ {words} }}")
        if self.mss != "auto":
            lines.append(f'mss = "{self.mss}"' if isinstance(self.mss, str) else f"mss = {self.mss}")
        if self.flows != "on":
            lines.append(f'flows = "{self.flows}"')
        for address in self.backend.values():
            lines += ["[[service.backend]]", f'address = "{address}"']
            if self.backend_port:
                lines.append(f"port = {self.backend_port}")
        return lines

    def backend_for(self, family):
        """The backend that takes packets of this family: its own, or where tunnels lead."""
        return self.backend.get(family) or next(iter(self.backend.values()))


TUNNELS = ("ipip", "gre", "gue", "vxlan")


def backend_mac(address):
    return f"02:00:00:00:0b:{ipaddress.ip_address(address).packed[-1]:02x}"


def vip_of(n):
    return {4: f"198.18.0.{n}", 6: f"2001:db8::{n}"}


def backend_of(n, family=None):
    """IPv4 and IPv6 addresses that end in the same byte."""
    both = {4: f"198.18.2.{n}", 6: f"2001:db8:2::{n:x}"}
    return both if family is None else {family: both[family]}


class Setup:
    """An instance of Shunt with one port."""

    def __init__(self, name, services, node=True, mtu=None, client_mtu=1500, vlan=None):
        self.name, self.services, self.node, self.learned = name, {s.name: s for s in services}, node, {}
        self.gateways = {4: Hop("198.18.1.1", GATEWAY, client_mtu, prefix=["0.0.0.0/0"]),
                         6: Hop("2001:db8:1::1", GATEWAY, client_mtu, prefix=["::/0"])}
        addresses = sorted({a for s in services for a in s.backend.values()}, key=lambda a: (":" in a, a))
        self.hops = {a: Hop(a, backend_mac(a), (mtu or {}).get(a, 1500), (vlan or {}).get(a)) for a in addresses}

    def toml(self):
        lines = ["version = 1"]
        if self.node:
            lines += ["[node]", f'source = ["{NODE[4]}", "{NODE[6]}"]']
        lines += ["[[dataplane.port]]", 'name = "lan0"', 'pcap = { in = "unused" }', f'mac = "{PORT}"']
        for part in (*self.gateways.values(), *self.hops.values(), *self.services.values()):
            lines += part.toml()
        return lines

    def limit(self, hop):
        """The largest IP packet that may be sent there."""
        return min(hop.mtu, self.learned.get(hop.address, hop.mtu))


# ---------------------------------------------------------------------------------------------------- packets

def family_of(packet):
    return 4 if IP in packet and packet[IP] is packet else 6


def ip(family, source, destination, hops=64, **more):
    return IP(src=source, dst=destination, ttl=hops, **more) if family == 4 else IPv6(src=source, dst=destination, hlim=hops, **more)


def transport(kind, source_port, destination_port, **more):
    if kind == "tcp":
        more = {"flags": "PA", "seq": 1000, "ack": 2000, **more}
    return TRANSPORTS[kind](sport=source_port, dport=destination_port, **more)


def with_wrong_checksum(packet):
    layer = packet[TCP if TCP in packet else UDP]
    layer.chksum = packet.__class__(raw(packet))[layer.__class__].chksum ^ 0x0100
    return packet


def pattern(length):
    return bytes(i * 7 % 256 for i in range(length))


def filler(length):
    """A long payload that the files can abbreviate."""
    return b"\xa5" * length


def framed(packet, source=SENDER, destination=PORT, tags=()):
    """An Ethernet frame; tags are (TPID, TCI), the outer one first."""
    types = [tpid for tpid, _ in tags] + [0x0800 if family_of(packet) == 4 else 0x86DD]
    frame = Ether(src=source, dst=destination, type=types[0])
    for (tpid, tci), inner_type in zip(tags, types[1:]):
        kind = Dot1AD if tpid == 0x88A8 else Dot1Q
        frame = frame / kind(prio=tci >> 13, id=tci >> 12 & 1, vlan=tci & 0xFFF, type=inner_type)
    return frame / packet


def layers(packet):
    while packet:
        yield packet
        packet = packet.payload


def set_hops(packet, change):
    name = "ttl" if family_of(packet) == 4 else "hlim"
    setattr(packet, name, getattr(packet, name) + change)


def cut(packet, offsets, ident=None, more=False, start=0):
    """The fragments of an IP packet, cut at these offsets of its payload (RFC 791, RFC 8200)."""
    whole = raw(packet)
    data = whole[(whole[0] & 15) * 4 if family_of(packet) == 4 else 40:]
    edges = [0, *offsets, len(data)]
    return [fragment(packet, start + first, data[first:last], more or last < len(data), ident)
            for first, last in zip(edges, edges[1:])]


def fragment(packet, offset, data, more, ident=None, protocol=None):
    """One fragment with the header of `packet`."""
    if family_of(packet) == 4:
        options = packet.options if offset == 0 else [o for o in packet.options if o.copy_flag]
        protocol = packet.proto if protocol is None else protocol
        return IP(src=packet.src, dst=packet.dst, ttl=packet.ttl, tos=packet.tos, id=packet.id if ident is None else ident,
                  flags=int(packet.flags) & 2 | int(more), frag=offset // 8, proto=protocol, options=options) / Raw(data)
    protocol = packet.nh if protocol is None else protocol
    return IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim, tc=packet.tc, fl=packet.fl, nh=44) / IPv6ExtHdrFragment(
        nh=protocol, offset=offset // 8, m=int(more), id=0x12345678 if ident is None else ident) / Raw(data)


# ---------------------------------------------------------------------------------------------------- what Shunt does

def folded_multiply(a, b):
    return (a * b & U64) ^ (a * b >> 64)


def hash_peer(address, port):
    """The keyed hash of a client (src/net/packet_hash.h), in integers of any size."""
    parsed = ipaddress.ip_address(address)
    packed = parsed.packed if parsed.version == 6 else b"\0" * 10 + b"\xff\xff" + parsed.packed
    high, low = struct.unpack("<QQ", packed)
    h = folded_multiply(low ^ FLOW_SEED[0], high ^ FLOW_SEED[1])
    return folded_multiply(h ^ FLOW_SEED[2], struct.unpack("<H", struct.pack(">H", port))[0] ^ FLOW_SEED[3])


def overhead(service, outer):
    return 0 if service.mode not in TUNNELS else (20 if outer == 4 else 40) + {
        "ipip": 0, "gre": 8 if "key" in service.tunnel else 4, "gue": 8 + 4, "vxlan": 8 + 8 + 14}[service.mode]


def wrapped(service, inner, entropy):
    """The inner packet in the tunnel of its service."""
    destination = service.backend_for(family_of(inner))
    outer, protocol = (6 if ":" in destination else 4), (4 if family_of(inner) == 4 else 41)
    ethertype = 0x0800 if protocol == 4 else 0x86DD
    traffic_class = inner.tos if protocol == 4 else inner.tc
    udp = UDP(sport=0xC000 | entropy & 0x3FFF, **({"chksum": 0} if outer == 4 else {}))
    if service.mode == "ipip":
        number, middle = protocol, None
    elif service.mode == "gre":
        key = {"key_present": 1, "key": service.tunnel["key"]} if "key" in service.tunnel else {}
        number, middle = 47, GRE(proto=ethertype, **key)
    elif service.mode == "gue":
        udp.dport = service.tunnel.get("port", 6080)
        number, middle = 17, udp / GUE(proto=protocol)
    else:
        udp.dport = service.tunnel.get("port", 4789)
        number = 17
        middle = udp / VXLAN(flags=8, vni=service.tunnel["vni"]) / Ether(src=PORT, dst=service.tunnel["inner_mac"], type=ethertype)
    if outer == 4:
        head = IP(src=NODE[4], dst=destination, tos=traffic_class, id=0, flags="DF", ttl=64, proto=number)
    else:
        head = IPv6(src=NODE[6], dst=destination, tc=traffic_class, fl=entropy & 0xFFFFF, hlim=64, nh=number)
    return head / inner if middle is None else head / middle / inner


def clamp(packet, most):
    """The MSS option of a SYN, never raised."""
    if TCP in packet and packet[TCP].flags & 2 and most:
        packet[TCP].options = [("MSS", min(v, most)) if k == "MSS" else (k, v) for k, v in packet[TCP].options]


def most_mss(setup, service, family):
    """What a SYN may announce; for nat in both directions the smaller of both ways."""
    if service.mss == "off":
        return None
    if isinstance(service.mss, int):
        return service.mss
    backend = service.backend_for(family)
    mtu = setup.limit(setup.hops[backend])
    if service.mode == "nat":
        mtu = min(mtu, setup.gateways[family].mtu)
    return mtu - overhead(service, 6 if ":" in backend else 4) - (20 if family == 4 else 40) - 20


def written_to_backend(setup, service, packet):
    """The inner packet as the backend gets it."""
    packet, family = packet.copy(), family_of(packet)
    set_hops(packet, -1)
    clamp(packet, most_mss(setup, service, family))
    if service.mode in ("nat", "l3dsr"):
        packet.dst = service.backend[family]
    if service.mode == "l3dsr":
        name = "tos" if family == 4 else "tc"
        setattr(packet, name, service.dscp << 2 | getattr(packet, name) & 3)
    if service.mode == "nat":
        packet[TCP if TCP in packet else UDP].dport = service.port_at_backend()
    return packet


def written_to_client(setup, service, packet):
    """A reply of a nat backend as the client gets it."""
    packet, family = packet.copy(), family_of(packet)
    set_hops(packet, -1)
    clamp(packet, most_mss(setup, service, family))
    packet.src = service.vip[family]
    packet[TCP if TCP in packet else UDP].sport = service.vip_port
    return packet


def new_tags(hop, tags):
    """Kept, or set as the next hop says: priority and drop bits of the old outer tag stay."""
    if hop.vlan is None:
        return tags
    bits = tags[0][1] & 0xF000 if tags else 0
    tpids = [0x8100] if len(hop.vlan) == 1 else [0x88A8, 0x8100]
    return [(tpid, (bits if i == 0 else 0) | vlan) for i, (tpid, vlan) in enumerate(zip(tpids, hop.vlan))]


def pieces_of(packet, room):
    """RFC 791, example procedure: every piece as long as may be, the rest the same way."""
    if len(raw(packet)) <= room:
        return [packet]
    whole = IP(raw(packet))
    first = (room - whole.ihl * 4) // 8 * 8
    head, rest = cut(packet, [first], more=bool(packet.flags & 1), start=packet.frag * 8)
    return [head, *pieces_of(rest, room)]


def sent(setup, service, packet, hop, entropy=0, tags=()):
    """The frames in which a written packet goes to its next hop, in pieces if it must."""
    tunnel = service.mode in TUNNELS and hop.address in service.backend.values()
    room = setup.limit(hop) - (overhead(service, 6 if ":" in hop.address else 4) if tunnel else 0)
    pieces = pieces_of(packet, room) if family_of(packet) == 4 and not packet.flags & 2 else [packet]
    whole = [wrapped(service, piece, entropy) if tunnel else piece for piece in pieces]
    return [framed(p, PORT, hop.mac, new_tags(hop, tags)) for p in whole]


def hop_to_backend(setup, service, family):
    return setup.hops[service.backend_for(family)]


def request(setup, service, packet, tags=(), client_port=None):
    """Frames for the backend. `client_port` where the packet itself does not say it."""
    port = client_port or packet[TCP if TCP in packet else UDP].sport
    hop = hop_to_backend(setup, service, family_of(packet))
    return sent(setup, service, written_to_backend(setup, service, packet), hop, hash_peer(packet.src, port), tags)


def reply(setup, service, packet, tags=()):
    return sent(setup, service, written_to_client(setup, service, packet), setup.gateways[family_of(packet)], tags=tags)


def answer(setup, packet, message, tags=(), source=None):
    """An ICMP answer to the sender of this packet."""
    family = family_of(packet)
    source = NODE[family] if setup.node else source or packet.dst
    quote = raw(packet)[: 576 - 28] if family == 4 else raw(packet)[: 1280 - 48]
    head = IP(src=source, dst=packet.src, ttl=64, id=0, proto=1) if family == 4 else IPv6(src=source, dst=packet.src, hlim=64, nh=58)
    return framed(head / message / Raw(quote), PORT, SENDER, tags)


def too_big(family, mtu):
    return ICMP(type=3, code=4, nexthopmtu=mtu) if family == 4 else ICMPv6PacketTooBig(mtu=max(mtu, 1280))


def time_exceeded(family):
    return ICMP(type=11, code=0) if family == 4 else ICMPv6TimeExceeded(code=0)


# ---------------------------------------------------------------------------------------------------- files

def hexadecimal(frame):
    """By layers, where scapy knows them; a byte that repeats is written once: (a5*1400)."""
    if isinstance(frame, bytes):
        return squeezed(frame)
    data, words, at = raw(frame), [], 0
    for layer in layers(frame.__class__(data)):
        size = len(layer) - len(layer.payload)
        words.append(squeezed(data[at:at + size]))
        at += size
    return " ".join(word for word in [*words, squeezed(data[at:])] if word)


def squeezed(data):
    text, at = "", 0
    while at < len(data):
        run = 1
        while at + run < len(data) and data[at + run] == data[at]:
            run += 1
        text += f"({data[at]:02x}*{run})" if run >= 16 else f"{data[at]:02x}" * run
        at += run
    return text


class File:
    """The .txt of a make_*.py."""

    def __init__(self, about):
        self.path = Path(sys.argv[0]).resolve()
        self.lines = [f"# {about}", f"# Written by {self.path.name} (scapy); the format is described in golden_test.cpp.", ""]
        self.names = set()
        self.setups = set()

    def case(self, setup, name, *steps):
        """`steps`: ("in", frame), what follows it ("out", "punt", "drop"), ("wait", ms)."""
        if name in self.names:
            raise ValueError(f"two cases are named {name}")
        self.names.add(name)
        if setup.name not in self.setups:
            self.setups.add(setup.name)
            self.lines += [f"setup {setup.name}", *("  " + line for line in setup.toml()), ""]
        self.lines += [f"case {setup.name}: {name}"]
        for word, *rest in steps:
            text = [hexadecimal(part) if isinstance(part, (bytes, Packet)) else str(part) for part in rest]
            self.lines.append(" ".join([word, *text]))
        self.lines.append("")

    def write(self):
        self.path.with_name(self.path.stem.removeprefix("make_") + ".txt").write_text("\n".join(self.lines))
        print(f"{len(self.names)} cases")


def outs(frames):
    return [("out", frame) for frame in frames]
