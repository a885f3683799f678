#!/usr/bin/python3
"""Fragments: every one goes where the first of its datagram goes, in any order of arrival."""

from scapy.all import TCP, ICMP, ICMPv6EchoRequest, IPOption_NOP, IPOption_Router_Alert, raw

from oracle import (CLIENT, FAMILIES, NODE, TRANSPORTS, File, answer, cut, family_of, fragment, framed, hash_peer, hop_to_backend, ip,
                    outs, pattern, sent, time_exceeded, transport, written_to_backend, written_to_client)
from services import MAIN_TUNNELS, NAT, STATELESS, everything

setup = everything()
file = File("Fragmented datagrams.")
ident = iter(range(0x1000, 0xFFFF))


def datagram(service, family, kind, size=100, **fields):
    return ip(family, CLIENT[family], service.vip[family], **fields) / transport(kind, 40000, service.vip_port) / pattern(size)


class Datagram:
    """Fragments as they come and as they must leave: what Shunt writes is the whole datagram, cut at the same places."""

    def __init__(self, service, packet, offsets, to_client=False, more=()):
        self.number, family = next(ident), family_of(packet)
        written = (written_to_client if to_client else written_to_backend)(setup, service, packet)
        hop = setup.gateways[family] if to_client else hop_to_backend(setup, service, family)
        entropy = hash_peer(CLIENT[family], 40000)
        self.before = [framed(f) for f in (*cut(packet, offsets, self.number), *(fragment(packet, *m, ident=self.number) for m in more))]
        self.after = [sent(setup, service, f, hop, entropy)
                      for f in (*cut(written, offsets, self.number), *(fragment(written, *m, ident=self.number) for m in more))]

    def arriving(self, order):
        """Steps, when the fragments come in this order: until the first is there they wait."""
        steps, waiting, open_ = [], [], False
        for n in order:
            steps.append(("in", self.before[n]))
            waiting.append(n)
            open_ = open_ or n == 0
            if open_:
                steps += [step for w in waiting for step in outs(self.after[w])]
                waiting = []
        return steps


def orders(service, family, kind, packet, what, to_client=False):
    for order, words in (((0, 1, 2), "in order"), ((2, 1, 0), "backwards"), ((1, 0, 2), "the first one second"),
                         ((0, 0, 1, 2), "the first one twice")):
        steps = Datagram(service, packet, [40, 80], to_client).arriving(order)
        file.case(setup, f"{what} ipv{family} {kind} {words}", *steps)


def every_mode():
    for family in FAMILIES:
        for kind in TRANSPORTS:
            for name in (NAT, *STATELESS, *MAIN_TUNNELS):
                service = setup.services[name]
                orders(service, family, kind, datagram(service, family, kind), name)
            service = setup.services[NAT]
            answer_packet = (ip(family, service.backend[family], CLIENT[family]) /
                             transport(kind, service.port_at_backend(), 40000) / pattern(100))
            orders(service, family, kind, answer_packet, "nat reply", to_client=True)


def overlapping():
    """The receiver judges (RFC 5722, RFC 1858); what cuts the transport header is nobody's."""
    for family in FAMILIES:
        for name in (NAT, "l3dsr", "ipip4", "gue6"):
            service = setup.services[name]
            for kind, offset in (("udp", 8), ("udp", 16), ("tcp", 24)):
                packet = datagram(service, family, kind, 60)
                pieces = Datagram(service, packet, [40], more=[(offset, b"\x5a" * 32, True)])
                file.case(setup, f"{name} ipv{family} {kind} overlapping at {offset}", *pieces.arriving((0, 2, 1)))


def fitting_no_datagram():
    def case(what, packet):
        file.case(setup, what, ("in", framed(packet)), ("drop", "fragment_invalid"))

    for family in FAMILIES:
        service = setup.services[NAT]
        for kind in TRANSPORTS:
            packet = datagram(service, family, kind)
            data = raw(packet.payload)
            protocol = 6 if kind == "tcp" else 17
            make = lambda offset, content, more: fragment(packet, offset, content, more, next(ident), protocol)
            case(f"ipv{family} {kind} fragment of 41 bytes and more to come", make(0, data[:41], True))
            case(f"ipv{family} {kind} later fragment of 41 bytes and more to come", make(40, data[:41], True))
            case(f"ipv{family} {kind} empty last fragment", make(40, b"", False))
            case(f"ipv{family} {kind} empty fragment in the middle", make(40, b"", True))
            case(f"ipv{family} {kind} empty first fragment", make(0, b"", True))
            case(f"ipv{family} {kind} fragment beyond 65,535 bytes", make(65528, b"x" * 64, False))
        for offset in (8, 16):
            packet = datagram(service, family, "tcp")
            case(f"ipv{family} tcp fragment that begins at {offset}, in the header", fragment(packet, offset, b"x" * 64, True, next(ident), 6))
        packet = datagram(service, family, "tcp")
        case(f"ipv{family} tcp first fragment with 16 bytes of the header", fragment(packet, 0, raw(packet.payload)[:16], True, next(ident), 6))
        options = ip(family, CLIENT[family], service.vip[family]) / TCP(sport=40000, dport=443, flags="A", options=[("NOP", None)] * 20) / (b"x" * 80)
        case(f"ipv{family} tcp first fragment without its options", fragment(options, 0, raw(options.payload)[:32], True, next(ident), 6))


def waiting():
    for family in FAMILIES:
        service = setup.services[NAT]
        pieces = Datagram(service, datagram(service, family, "udp"), [40])
        file.case(setup, f"ipv{family} fragment whose first one never comes", ("in", pieces.before[1]), ("wait", 1200), ("drop", "fragment_waited"))
        pieces = Datagram(service, datagram(service, family, "udp"), [40])
        file.case(setup, f"ipv{family} fragment whose first one comes late", ("in", pieces.before[1]), ("wait", 700), ("in", pieces.before[0]),
                  *outs(pieces.after[0]), *outs(pieces.after[1]))
        one, other = (Datagram(service, datagram(service, family, "udp", size), [40]) for size in (64, 72))
        file.case(setup, f"ipv{family} two datagrams at once", ("in", one.before[1]), ("in", other.before[1]), ("in", other.before[0]),
                  *outs(other.after[0]), *outs(other.after[1]), ("in", one.before[0]), *outs(one.after[0]), *outs(one.after[1]))


def kernels():
    """Fragments of what is not for a service, and of other protocols."""
    for family in FAMILIES:
        service = setup.services[NAT]
        stranger = ip(family, CLIENT[family], NODE[family]) / transport("udp", 40000, 443) / pattern(100)
        other_port = ip(family, CLIENT[family], service.vip[family]) / transport("udp", 40000, 444) / pattern(100)
        ping = ip(family, CLIENT[family], service.vip[family]) / (ICMP() if family == 4 else ICMPv6EchoRequest()) / pattern(100)
        for what, packet in (("for this host", stranger), ("for a port that is no service's", other_port), ("of a ping of a VIP", ping)):
            pieces = [framed(f) for f in cut(packet, [40], next(ident))]
            file.case(setup, f"ipv{family} fragments {what}", ("in", pieces[0]), ("punt",), ("in", pieces[1]), ("punt",))
        pieces = [framed(f) for f in cut(other_port, [40], next(ident))]
        file.case(setup, f"ipv{family} fragments for a port that is no service's, the last one first",
                  ("in", pieces[1]), ("in", pieces[0]), ("punt", pieces[0]), ("punt", pieces[1]))


def hop_limits():
    for family in FAMILIES:
        service = setup.services[NAT]
        field = "ttl" if family == 4 else "hlim"
        packet = datagram(service, family, "udp", hops=1)
        pieces = cut(packet, [40], next(ident))
        file.case(setup, f"ipv{family} first fragment with hop limit 1", ("in", framed(pieces[0])), ("drop", "hop_limit_exceeded"),
                  ("out", answer(setup, pieces[0], time_exceeded(family))))
        packet = datagram(service, family, "udp")
        pieces = Datagram(service, packet, [40])
        setattr(packet, field, 1)
        dying = framed(cut(packet, [40], pieces.number)[1])
        file.case(setup, f"ipv{family} last fragment with hop limit 1 is not answered", ("in", pieces.before[0]), *outs(pieces.after[0]),
                  ("in", dying), ("drop", "hop_limit_exceeded"))


def with_options():
    """In IPv4 later fragments carry the options that say so."""
    for name in (NAT, "l3dsr", "vxlan4"):
        service = setup.services[name]
        packet = datagram(service, 4, "udp", options=[IPOption_Router_Alert(), *[IPOption_NOP()] * 4])
        orders(service, 4, "udp", packet, f"{name} with options")


every_mode()
overlapping()
fitting_no_datagram()
waiting()
kernels()
hop_limits()
with_options()
file.write()
