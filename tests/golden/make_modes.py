#!/usr/bin/python3
"""Every mode, inner family, outer family and transport: packets of clients as the backend gets them."""

from scapy.all import IPOption_NOP, IPOption_Router_Alert

from oracle import (CLIENT, FAMILIES, File, TRANSPORTS, answer, framed, ip, outs, pattern, request, time_exceeded, transport,
                    with_wrong_checksum)
from services import MAIN_TUNNELS, STATELESS, TUNNEL_NAMES, everything

setup = everything()
file = File("Packets of clients through every mode but nat (nat.txt).")


def client_packet(service, family, kind, payload=b"payload", hops=64, port=40000, tcp=None, udp=None, **ip_fields):
    fields = {"tcp": tcp, "udp": udp}[kind] or {}
    return ip(family, CLIENT[family], service.vip[family], hops, **ip_fields) / transport(kind, port, service.vip_port, **fields) / payload


def case(service, family, kind, what, packet):
    file.case(setup, f"{service.name} ipv{family} {kind} {what}", ("in", framed(packet)), *outs(request(setup, service, packet)))


def of_every_kind(service, family, kind):
    """What differs between the modes."""
    case(service, family, kind, "plain", client_packet(service, family, kind))
    case(service, family, kind, "of another client", client_packet(service, family, kind, port=1))
    classes = [{"tos": 0xB9}, {"tos": 0x03}] if family == 4 else [{"tc": 0xB9, "fl": 0x12345}, {"tc": 0x03}]
    for n, fields in enumerate(classes):
        case(service, family, kind, f"traffic class {n}", client_packet(service, family, kind, **fields))
    packet = client_packet(service, family, kind, hops=1)
    file.case(setup, f"{service.name} ipv{family} {kind} hop limit 1", ("in", framed(packet)),
              ("drop", "hop_limit_exceeded"), ("out", answer(setup, packet, time_exceeded(family))))


def of_some_kinds(service, family, kind):
    """What is read or written the same way for all tunnels."""
    case(service, family, kind, "hop limit 2", client_packet(service, family, kind, hops=2))
    case(service, family, kind, "hop limit 255", client_packet(service, family, kind, hops=255))
    case(service, family, kind, "without payload", client_packet(service, family, kind, b""))
    case(service, family, kind, "of odd length", client_packet(service, family, kind, pattern(255)))
    if service.mode != "l3dsr":  # where it follows the address: below
        wrong = with_wrong_checksum(client_packet(service, family, kind))
        case(service, family, kind, "with a wrong transport checksum", wrong)
    if family == 4:
        case(service, family, kind, "with identification and DF", client_packet(service, family, kind, id=0xBEEF, flags="DF"))
        case(service, family, kind, "with IPv4 options",
             client_packet(service, family, kind, options=[IPOption_Router_Alert(), *[IPOption_NOP()] * 4]))
        if kind == "udp":
            case(service, family, kind, "without a checksum", client_packet(service, family, kind, udp={"chksum": 0}))


for name in (*STATELESS, *TUNNEL_NAMES):
    for family in FAMILIES:
        for kind in TRANSPORTS:
            of_every_kind(setup.services[name], family, kind)
            if name in (*STATELESS, *MAIN_TUNNELS):
                of_some_kinds(setup.services[name], family, kind)
file.write()
