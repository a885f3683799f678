#!/usr/bin/python3
"""ICMP errors: to the backend whose flow the quote names, in every mode; from behind a nat backend to the client; about
Shunt's own outer headers; and those that are the kernel's."""

from scapy.all import ICMP, ICMPv6DestUnreach, ICMPv6PacketTooBig, ICMPv6ParamProblem, ICMPv6TimeExceeded, Raw, raw

from oracle import (CLIENT, FAMILIES, NODE, TRANSPORTS, File, Setup, answer, filler, framed, fragment, hash_peer, hop_to_backend, ip,
                    outs, overhead, request, sent, set_hops, too_big, transport)
from services import MAIN_TUNNELS, NAT, STATELESS, all_services, everything

setup = everything()
file = File("ICMP errors.")

ROUTER = {4: "203.0.113.254", 6: "2001:db8:cafe::fe"}
INSIDE = {4: "198.18.2.254", 6: "2001:db8:2::fe"}  # a router between Shunt and the backend
ERRORS = {
    4: {"host unreachable": lambda: ICMP(type=3, code=1), "port unreachable": lambda: ICMP(type=3, code=3),
        "fragmentation needed": lambda: ICMP(type=3, code=4, nexthopmtu=1400), "time exceeded": lambda: ICMP(type=11, code=0),
        "parameter problem": lambda: ICMP(type=12, code=0, ptr=8)},
    6: {"no route": lambda: ICMPv6DestUnreach(code=0), "port unreachable": lambda: ICMPv6DestUnreach(code=4),
        "packet too big": lambda: too_big(6, 1400), "time exceeded": lambda: ICMPv6TimeExceeded(code=0),
        "parameter problem": lambda: ICMPv6ParamProblem(code=0, ptr=6)},
}


def error(family, source, destination, message, quote, hops=64):
    number = {"proto": 1} if family == 4 else {"nh": 58}
    return ip(family, source, destination, hops, **number) / message / Raw(quote)


def quoted(family, source, source_port, destination, destination_port, kind, length=None, chksum=None):
    """The start of a packet that never arrived: its IP header and `length` bytes of the rest."""
    fields = {} if chksum is None else {"chksum": chksum}
    packet = raw(ip(family, source, destination, 57) / transport(kind, source_port, destination_port, **fields) / b"payload!")
    header = 20 if family == 4 else 40
    return packet if length is None else packet[: header + length]


def to_backend(service, family, kind, what, message, length=None, chksum=None, tags=()):
    """An error about a packet from the VIP to the client, sent to the VIP."""
    quote = quoted(family, service.vip[family], service.vip_port, CLIENT[family], 40000, kind, length, chksum)
    before = error(family, ROUTER[family], service.vip[family], message(), quote)
    after = before.copy()
    set_hops(after, -1)
    if service.mode == "nat":
        backend = service.backend[family]
        after = error(family, ROUTER[family], backend, message(),
                      quoted(family, backend, service.port_at_backend(), CLIENT[family], 40000, kind, length, chksum), 63)
    if service.mode == "l3dsr":
        after.dst = service.backend[family]
        setattr(after, "tos" if family == 4 else "tc", service.dscp << 2)
    frames = sent(setup, service, after, hop_to_backend(setup, service, family), hash_peer(CLIENT[family], 40000), tags)
    file.case(setup, f"{service.name} ipv{family} {kind} {what}", ("in", framed(before, tags=tags)), *outs(frames))


def to_client(family, kind, what, message, source, length=None, chksum=None):
    """An error about a packet from the client to a nat backend, sent to the client: by the backend or on the way to it."""
    service = setup.services[NAT]
    quote = quoted(family, CLIENT[family], 40000, service.backend[family], service.port_at_backend(), kind, length, chksum)
    before = error(family, source, CLIENT[family], message(), quote)
    after = error(family, service.vip[family] if source == service.backend[family] else source, CLIENT[family], message(),
                  quoted(family, CLIENT[family], 40000, service.vip[family], service.vip_port, kind, length, chksum), 63)
    frames = sent(setup, service, after, setup.gateways[family])
    file.case(setup, f"nat ipv{family} {kind} to the client {what}", ("in", framed(before)), *outs(frames))


def every_error():
    for family in FAMILIES:
        for what, message in ERRORS[family].items():
            for kind in TRANSPORTS:
                for name in (NAT, *STATELESS, *MAIN_TUNNELS):
                    to_backend(setup.services[name], family, kind, what, message)
                to_client(family, kind, f"from the backend: {what}", message, setup.services[NAT].backend[family])
                to_client(family, kind, f"from a router: {what}", message, INSIDE[family])


def lengths_of_quotes():
    """RFC 792 asks for eight bytes of transport and no more; a TCP checksum needs eighteen."""
    for family in FAMILIES:
        message = ERRORS[family]["port unreachable"]
        for kind in TRANSPORTS:
            for length in (8, 9, 16, 18, 20):
                if kind == "udp" and length > 16:
                    continue
                what = f"quoting {length} bytes of transport"
                for name in (NAT, "l3dsr", "gue4"):
                    to_backend(setup.services[name], family, kind, what, message, length)
                to_client(family, kind, what, message, INSIDE[family], length)
    message = ERRORS[4]["port unreachable"]
    for name in (NAT, "l3dsr"):
        to_backend(setup.services[name], 4, "udp", "quoting a datagram without checksum", message, chksum=0)
    to_client(4, "udp", "quoting a datagram without checksum", message, INSIDE[4], chksum=0)
    to_backend(setup.services[NAT], 4, "tcp", "in a VLAN", message, tags=[(0x8100, 0x6007)])


def kernels():
    """What is no error about a flow of ours."""
    def case(what, packet, *expected):
        file.case(setup, what, ("in", framed(packet)), expected or ("punt",))

    for family in FAMILIES:
        web = setup.services[NAT]
        message = ERRORS[family]["port unreachable"]
        case(f"ipv{family} error that quotes seven bytes of transport",
             error(family, ROUTER[family], web.vip[family], message(), quoted(family, web.vip[family], 443, CLIENT[family], 40000, "tcp", 7)),
             "drop", "header_truncated")
        case(f"ipv{family} error that quotes a port that is no listener's",
             error(family, ROUTER[family], web.vip[family], message(), quoted(family, web.vip[family], 444, CLIENT[family], 40000, "tcp")))
        case(f"ipv{family} error that quotes strangers",
             error(family, ROUTER[family], NODE[family], message(), quoted(family, NODE[family], 443, CLIENT[family], 40000, "tcp")))
        case(f"ipv{family} error that quotes nothing", error(family, ROUTER[family], web.vip[family], message(), b""),
             "drop", "header_truncated")
        case(f"ipv{family} error with hop limit 1 is not answered",
             error(family, ROUTER[family], web.vip[family], message(), quoted(family, web.vip[family], 443, CLIENT[family], 40000, "tcp"), 1),
             "drop", "hop_limit_exceeded")
        later = fragment(ip(family, web.vip[family], CLIENT[family]), 64, b"x" * 64, False, protocol=6)
        case(f"ipv{family} error that quotes a later fragment", error(family, ROUTER[family], web.vip[family], message(), raw(later)))
    quote = quoted(4, "198.18.0.10", 443, CLIENT[4], 40000, "tcp")
    case("ipv4 redirect", error(4, ROUTER[4], "198.18.0.10", ICMP(type=5, code=1, gw=ROUTER[4]), quote))
    case("ipv4 source quench", error(4, ROUTER[4], "198.18.0.10", ICMP(type=4), quote))


def own_outer_headers():
    """A too-big error about an outer header of ours lowers what may be sent to that backend, for ten minutes; the error is
    the kernel's."""
    for name in MAIN_TUNNELS:
        outer = int(name[-1])
        for told in (1400, 400) if outer == 4 else (1400, 1300):
            learning = Setup(f"{name}, path MTU {told}", [s for s in all_services() if s.name == name])
            service = learning.services[name]

            def of_size(family, size):
                head = ip(family, CLIENT[family], service.vip[family], **({"flags": "DF"} if family == 4 else {}))
                return head / transport("tcp", 40000, 443) / filler(size - (40 if family == 4 else 60))

            whole = of_size(4, 1400)
            too_large = request(learning, service, whole)
            least6 = request(learning, service, of_size(6, 1280))

            def telling(mtu):
                return error(outer, INSIDE[outer], NODE[outer], ICMP(type=3, code=4, nexthopmtu=mtu) if outer == 4
                             else ICMPv6PacketTooBig(mtu=mtu), raw(too_large[0].payload)[:100])

            learning.learned[service.backend_for(4)] = max(told, 552 if outer == 4 else 1280)
            room = learning.limit(hop_to_backend(learning, service, 4)) - overhead(service, outer)
            steps = [("in", framed(whole)), *outs(too_large)]
            if outer == 6:  # no IPv6 path has less than 1280: not believed (RFC 8201, section 4)
                steps += [("in", framed(telling(1279))), ("punt",), ("in", framed(whole)), *outs(too_large)]
            steps += [("in", framed(telling(told))), ("punt",),
                      ("in", framed(of_size(4, room))), *outs(request(learning, service, of_size(4, room)))]
            # Nobody can be told to send less than 1280 bytes of IPv6: they go, whatever the path is said to take.
            steps += [("in", framed(of_size(6, 1280))), *outs(least6)]
            for family in FAMILIES:
                packet = of_size(family, max(room + 1, 1281 if family == 6 else 0))
                steps += [("wait", 10_000), ("in", framed(packet)), ("drop", "packet_too_big"),
                          ("out", answer(learning, packet, too_big(family, room)))]
            steps += [("wait", 600_000), ("in", framed(whole)), *outs(too_large)]
            file.case(learning, f"{name} is told of a path MTU of {told}", *steps)


every_error()
lengths_of_quotes()
kernels()
own_outer_headers()
file.write()
