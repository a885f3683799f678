#!/usr/bin/python3
"""802.1Q and QinQ tags: kept, set or removed, as the next hop says."""

from oracle import (CLIENT, FAMILIES, TRANSPORTS, File, Setup, answer, backend_of, framed, ip, outs, reply, request, time_exceeded, too_big, transport)
from services import MAIN_TUNNELS, NAT, STATELESS, all_services, everything

file = File("VLAN tags.")
QINQ = [(0x88A8, 0x6064), (0x8100, 7)]
TAGS = {"no tag": [], "a tag": [(0x8100, 7)], "a tag with priority": [(0x8100, 0xB007)], "a service tag": [(0x88A8, 100)],
        "two tags": QINQ, "two customer tags": [(0x8100, 100), (0x8100, 7)]}


def client_packet(service, family, kind, payload=b"payload", **fields):
    return ip(family, CLIENT[family], service.vip[family], **fields) / transport(kind, 40000, service.vip_port) / payload


def through(where, name, tags):
    service = where.services[name]
    for family in FAMILIES:
        for kind in TRANSPORTS if name == NAT else ("udp",):
            packet = client_packet(service, family, kind)
            file.case(where, f"{where.name}: {name} ipv{family} {kind} with {tags}", ("in", framed(packet, tags=TAGS[tags])),
                      *outs(request(where, service, packet, TAGS[tags])))
            if name != NAT:
                continue
            packet = ip(family, service.backend[family], CLIENT[family]) / transport(kind, 8080, 40000) / b"payload"
            file.case(where, f"{where.name}: nat ipv{family} {kind} reply with {tags}", ("in", framed(packet, tags=TAGS[tags])),
                      *outs(reply(where, service, packet, TAGS[tags])))


def answers(where):
    service = where.services["ipip4"]
    for tags in ("a tag with priority", "two tags"):
        for family in FAMILIES:
            packet = client_packet(service, family, "udp", hops=1)
            file.case(where, f"{where.name}: ipv{family} hop limit 1 with {tags}", ("in", framed(packet, tags=TAGS[tags])),
                      ("drop", "hop_limit_exceeded"), ("out", answer(where, packet, time_exceeded(family), TAGS[tags])))
            packet = client_packet(service, family, "udp", b"\xa5" * 1460, **({"flags": "DF"} if family == 4 else {}))
            file.case(where, f"{where.name}: ipv{family} too big with {tags}", ("in", framed(packet, tags=TAGS[tags])),
                      ("drop", "packet_too_big"), ("out", answer(where, packet, too_big(family, 1480), TAGS[tags])))


plain = everything()
for name in (NAT, *STATELESS, *MAIN_TUNNELS):
    for tags in TAGS:
        through(plain, name, tags)
answers(plain)
for words, vlan in (("one tag is set", [5]), ("two tags are set", [200, 5]), ("tags are removed", [])):
    where = Setup(words, all_services(), vlan={a: vlan for s in all_services() for a in s.backend.values()})
    for name in (NAT, "l3dsr", "ipip4", "vxlan6"):
        for tags in TAGS:
            through(where, name, tags)
service = plain.services[NAT]
three = framed(client_packet(service, 4, "tcp"), tags=[*QINQ, (0x8100, 8)])
file.case(plain, "three tags are nobody's", ("in", three), ("punt",))
file.case(plain, "a tag and ARP", ("in", bytes.fromhex("020000000002020000000001") + b"\x81\x00\x00\x07\x08\x06" + b"\0" * 28), ("punt",))
file.case(plain, "a tag and nothing behind it", ("in", bytes.fromhex("020000000002020000000001") + b"\x81\x00\x00"), ("drop", "header_truncated"))
file.write()
