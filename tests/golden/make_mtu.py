#!/usr/bin/python3
"""What is too large for the next hop: answered, or sent in pieces; and the segment size that SYNs may announce."""

from scapy.all import IPOption_NOP, IPOption_Router_Alert, raw

from oracle import (CLIENT, FAMILIES, TRANSPORTS, File, Setup, answer, backend_of, filler, fragment, framed, hash_peer, hop_to_backend, ip, outs,
                    overhead, pieces_of, reply, request, sent, too_big, transport, written_to_backend)
from services import MAIN_TUNNELS, NAT, STATELESS, TUNNEL_NAMES, all_services, everything

setup = everything()
file = File("MTU of next hops: answers and pieces; MSS of SYNs.")


def of_size(family, source, destination, layer, size, **fields):
    head = ip(family, source, destination, **fields)
    return head / layer / filler(size - len(raw(head / layer)))


def client_packet(service, family, kind, size, **fields):
    return of_size(family, CLIENT[family], service.vip[family], transport(kind, 40000, service.vip_port), size, **fields)


def room_for(where, service, family):
    hop = hop_to_backend(where, service, family)
    return where.limit(hop) - overhead(service, 6 if ":" in hop.address else 4)


def is_fragmented(packet, family):
    return family == 4 and not packet.flags & 2


def case(where, what, packet, family, room, written, tags=()):
    """In whole, in pieces, or answered."""
    if len(raw(packet)) > room and not is_fragmented(packet, family):
        expected = [("drop", "packet_too_big"), ("out", answer(where, packet, too_big(family, room), tags))]
    else:
        expected = outs(written)
    file.case(where, what, ("in", framed(packet, tags=tags)), *expected)


def around_the_mtu(where, names, kinds=tuple(TRANSPORTS)):
    for name in names:
        service = where.services[name]
        for family in FAMILIES:
            room = room_for(where, service, family)
            for kind in kinds:
                for size in (room - 1, room, room + 1):
                    for fields in ({"flags": "DF"}, {}) if family == 4 else ({},):
                        packet = client_packet(service, family, kind, size, **fields)
                        case(where, f"{name} ipv{family} {kind} of {size} bytes for {room}{' and DF' if fields else ''}", packet, family,
                             room, request(where, service, packet))


def replies(where):
    service = where.services[NAT]
    room = where.gateways[4].mtu
    for family in FAMILIES:
        for kind in TRANSPORTS:
            for size in (room - 1, room, room + 1):
                for fields in ({"flags": "DF"}, {}) if family == 4 else ({},):
                    packet = of_size(family, service.backend[family], CLIENT[family], transport(kind, 8080, 40000), size, **fields)
                    case(where, f"nat ipv{family} {kind} reply of {size} bytes for {room}{' and DF' if fields else ''}", packet, family, room,
                         reply(where, service, packet))


def special_pieces():
    """RFC 791: options that are not copied are in the first piece only; a piece of a fragment keeps its offset and that more follow."""
    narrow = everything("narrow", mtu={a: 1000 for s in all_services() for a in s.backend.values()}, client_mtu=1400)
    replies(narrow)
    around_the_mtu(narrow, (NAT, *STATELESS), ("udp",))
    for name in (NAT, "direct", "l3dsr", "ipip4", "gue6", "vxlan4"):
        service = narrow.services[name]
        room = room_for(narrow, service, 4)
        for what, options in (("with options", [IPOption_Router_Alert(), *[IPOption_NOP()] * 8]), ("without options", [])):
            packet = client_packet(service, 4, "udp", 2950, options=options, id=7, tos=0xB8)
            case(narrow, f"{name} in several pieces {what}", packet, 4, room, request(narrow, service, packet))
        packet = client_packet(service, 4, "udp", 2900, id=8)
        written = written_to_backend(narrow, service, packet)
        hop, entropy = hop_to_backend(narrow, service, 4), hash_peer(CLIENT[4], 40000)
        steps = []
        for offset, length, more in ((0, 1400, True), (1400, 1480, False)):
            before, after = (fragment(p, offset, raw(p)[20 + offset:20 + offset + length], more, 8) for p in (packet, written))
            steps += [("in", framed(before)), *outs(sent(narrow, service, after, hop, entropy))]
        file.case(narrow, f"{name} fragments in pieces", *steps)
        assert len(pieces_of(packet, room)) > 2


def below_the_least():
    """IPv6 has no links below 1280 bytes: the answer never says less (RFC 4443, section 3.2)."""
    tight = everything("tight", mtu={a: 1300 for s in all_services() for a in s.backend.values()})
    around_the_mtu(tight, ("ipip4", "ipip6", "vxlan6"), ("udp",))


def segment_sizes():
    services = all_services()
    for service in services:
        if service.name == "direct":
            service.mss = "off"
        if service.name == "gre4":
            service.mss = 1000
    chosen = Setup("mss", services, mtu={backend_of(11)[4]: 1400, backend_of(11)[6]: 1400}, client_mtu=1450)
    narrow = Setup("mss, narrow on the way to clients", all_services(), client_mtu=1300)
    for where in (setup, chosen, narrow):
        for name in (NAT, *STATELESS, *TUNNEL_NAMES):
            if where is narrow and name != NAT:
                continue
            service = where.services[name]
            for family in FAMILIES:
                for flags in ("S", "SA", "A"):
                    for announced in (9000, 536):
                        if announced == 536 and flags != "S":
                            continue
                        options = [("MSS", announced), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
                        if flags == "SA":
                            options = [("NOP", None), ("WScale", 7), *options[:2], ("NOP", None), ("NOP", None)]  # at an odd offset elsewhere
                        layer = transport("tcp", 40000, 443, flags=flags, options=options)
                        packet = ip(family, CLIENT[family], service.vip[family]) / layer
                        file.case(where, f"{where.name}: {name} ipv{family} {flags} that announces {announced}", ("in", framed(packet)),
                                  *outs(request(where, service, packet)))
                        if name != NAT:
                            continue
                        layer = transport("tcp", 8080, 40000, flags=flags, options=options)
                        packet = ip(family, service.backend[family], CLIENT[family]) / layer
                        file.case(where, f"{where.name}: {name} ipv{family} reply {flags} that announces {announced}", ("in", framed(packet)),
                                  *outs(reply(where, service, packet)))
    odd_options()


def odd_options():
    """The option anywhere among the others, also at an odd place; lists that make no sense are left alone."""
    service = setup.services[NAT]
    lists = {
        "at an odd place": b"\x01\x02\x04\x23\x28\x01\x01\x01",
        "last": b"\x01\x01\x01\x01\x02\x04\x23\x28",
        "after the end of the list": b"\x00\x02\x04\x23\x28\x00\x00\x00",
        "of a wrong length": b"\x02\x03\x23\x28\x01\x01\x01\x01",
        "behind an option of length 0": b"\x05\x00\x02\x04\x23\x28\x01\x01",
        "behind an option that is too long": b"\x05\x20\x02\x04\x23\x28\x01\x01",
        "cut by the end of the header": b"\x01\x01\x01\x01\x01\x01\x02\x04",
    }
    for what, options in lists.items():
        for family in FAMILIES:
            clamped = options.replace(b"\x02\x04\x23\x28", b"\x02\x04" + (1500 - (40 if family == 4 else 60)).to_bytes(2, "big")) \
                if what in ("at an odd place", "last") else options
            before, after = (ip(family, CLIENT[family], destination, hops) / transport("tcp", 40000, port, flags="S", dataofs=7) / o
                             for destination, hops, port, o in ((service.vip[family], 64, 443, options), (service.backend[family], 63, 8080, clamped)))
            file.case(setup, f"ipv{family} MSS option {what}", ("in", framed(before)), *outs(sent(setup, service, after, setup.hops[after.dst])))


around_the_mtu(setup, (NAT, *STATELESS, *TUNNEL_NAMES), ("udp",))
around_the_mtu(setup, (NAT, "l3dsr", *MAIN_TUNNELS), ("tcp",))
special_pieces()
below_the_least()
segment_sizes()
file.write()
