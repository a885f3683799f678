#!/usr/bin/python3
"""Writes nat.txt: packets into the balancer and the packets expected out of it, computed by scapy, an implementation
of the headers and checksums that shares nothing with ours. The golden test reads the file; this script is run by hand
when cases are added:

    tests/golden/make_nat.py > tests/golden/nat.txt

The instance is the one of golden_test.cpp: one backend per service, so that the choice is known.
"""
from scapy.all import IP, TCP, UDP, Ether, ICMP, ARP, IPOption_NOP, IPv6, Raw, raw

PORT, GATEWAY, SENDER = "02:00:00:00:00:02", "02:00:00:00:00:fe", "02:00:00:00:00:01"

FAMILIES = {
    "ipv4": dict(ip=IP, client="203.0.113.7", vip="198.18.0.10", backend="198.18.2.11", mac="02:00:00:00:0b:0b"),
    "ipv6": dict(ip=IPv6, client="2001:db8:cafe::7", vip="2001:db8::10", backend="2001:db8:2::11",
                 mac="02:00:00:00:0b:11"),
}
TRANSPORTS = {"tcp": TCP, "udp": UDP}
VIP_PORT, BACKEND_PORT, CLIENT_PORT = 443, 8080, 40000


def case(name, packet, expected):
    print(f"\ncase {name}")
    print("in  ", bytes(packet).hex())
    print(expected if isinstance(expected, str) else "out  " + bytes(expected).hex())


def hops(family, n):
    return {"ttl": n} if family == "ipv4" else {"hlim": n}


def frame(family, source, destination, transport, payload, hop_limit=64, macs=(SENDER, PORT), **ip_fields):
    f = FAMILIES[family]
    packet = Ether(src=macs[0], dst=macs[1]) / f["ip"](src=source, dst=destination, **hops(family, hop_limit), **ip_fields)
    return packet / transport / Raw(payload)


def request(family, name, transport, payload=b"payload", hop_limit=64, port=BACKEND_PORT, vip_port=VIP_PORT, tail=b"", **ip):
    """A client's packet and what the backend must get: rebuilt from its fields, so every checksum is scapy's own."""
    f, (kind, fields) = FAMILIES[family], transport
    layer = TRANSPORTS[kind]
    before = frame(family, f["client"], f["vip"], layer(sport=CLIENT_PORT, dport=vip_port, **fields), payload, hop_limit, **ip)
    after = frame(family, f["client"], f["backend"], layer(sport=CLIENT_PORT, dport=port, **fields), payload,
                  hop_limit - 1, (PORT, f["mac"]), **ip)
    case(f"{family} {kind} request {name}", raw(before) + tail, raw(after) + tail)


def reply(family, name, transport, payload=b"payload", hop_limit=64, port=BACKEND_PORT, vip_port=VIP_PORT, **ip):
    f, (kind, fields) = FAMILIES[family], transport
    layer = TRANSPORTS[kind]
    before = frame(family, f["backend"], f["client"], layer(sport=port, dport=CLIENT_PORT, **fields), payload, hop_limit, **ip)
    after = frame(family, f["vip"], f["client"], layer(sport=vip_port, dport=CLIENT_PORT, **fields), payload,
                  hop_limit - 1, (PORT, GATEWAY), **ip)
    case(f"{family} {kind} reply {name}", before, after)


def both(family, name, transport, **more):
    request(family, name, transport, **more)
    reply(family, name, transport, **more)


def traffic(family):
    options = [("MSS", 1460), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    for flags in ("S", "SA", "A", "PA", "FA", "R", "RA"):
        both(family, f"flags {flags}", ("tcp", dict(flags=flags, seq=1000, ack=2000)))
    both(family, "with TCP options", ("tcp", dict(flags="S", options=options)), payload=b"")
    for kind in ("tcp", "udp"):
        for length in (0, 1, 2, 3, 255, 1400):
            both(family, f"of {length} bytes", (kind, {}), payload=bytes(i * 7 % 256 for i in range(length)))
        both(family, "with hop limit 2", (kind, {}), hop_limit=2)
        both(family, "with hop limit 255", (kind, {}), hop_limit=255)
        request(family, "with padding after the packet", (kind, {}), tail=b"\x55" * 11)
        both(family, "to a backend that follows the port", (kind, {}), port=80, vip_port=80)
        traffic_class = {"tos": 0xB9} if family == "ipv4" else {"tc": 0xB9, "fl": 0x12345}
        both(family, "with DSCP, ECN and label", (kind, {}), **traffic_class)


def ipv4_only():
    for kind in ("tcp", "udp"):
        both("ipv4", "with IPv4 options", (kind, {}), options=[IPOption_NOP()] * 8)
        both("ipv4", "with identification and DF", (kind, {}), id=0xBEEF, flags="DF")
    both("ipv4", "without a checksum", ("udp", dict(chksum=0)))


def checksum_of_zero(family):
    """A payload for which the translated UDP checksum comes out as zero: it must be sent as 0xffff (RFC 768)."""
    f = FAMILIES[family]
    for n in range(65536):
        after = frame(family, f["client"], f["backend"], UDP(sport=CLIENT_PORT, dport=BACKEND_PORT), n.to_bytes(2, "big"))
        if after.__class__(raw(after))[UDP].chksum == 0xFFFF:
            request(family, "whose checksum becomes zero", ("udp", {}), payload=n.to_bytes(2, "big"))
            return


def leavers(family):
    f = FAMILIES[family]
    to = lambda transport, destination=f["vip"], **more: frame(family, f["client"], destination, transport, b"x", **more)
    case(f"{family} hop limit 1", to(TCP(sport=1, dport=VIP_PORT), hop_limit=1), "drop hop_limit_exceeded")
    case(f"{family} hop limit 0", to(UDP(sport=1, dport=VIP_PORT), hop_limit=0), "drop hop_limit_exceeded")
    case(f"{family} another port of the VIP", to(TCP(sport=1, dport=444)), "punt")
    case(f"{family} an address of this host", to(TCP(sport=1, dport=22), "198.18.1.2" if family == "ipv4" else "2001:db8:1::2"), "punt")
    case(f"{family} truncated in its headers", raw(to(TCP(sport=1, dport=VIP_PORT)))[:30], "drop header_truncated")
    case(f"{family} truncated in its payload", raw(to(UDP(sport=1, dport=VIP_PORT)))[:-1], "drop length_mismatch")
    case(f"{family} UDP length too long", to(UDP(sport=1, dport=VIP_PORT, len=900)), "drop length_mismatch")


def main():
    print("# Packets in and out of mode nat. Written by make_nat.py; hexadecimal, from the Ethernet header on.")
    for family in FAMILIES:
        traffic(family)
        checksum_of_zero(family)
        leavers(family)
    ipv4_only()
    bad = raw(frame("ipv4", "203.0.113.7", "198.18.0.10", TCP(sport=1, dport=VIP_PORT), b"x"))
    case("ipv4 wrong header checksum", bad[:24] + bytes([bad[24] ^ 1]) + bad[25:], "drop ipv4_checksum_bad")
    case("ipv4 wrong version", bad[:14] + b"\x65" + bad[15:], "drop ipv4_header_invalid")
    case("ipv4 ping of the VIP", Ether(src=SENDER, dst=PORT) / IP(src="203.0.113.7", dst="198.18.0.10") / ICMP(), "punt")
    case("ARP", Ether(src=SENDER, dst="ff:ff:ff:ff:ff:ff") / ARP(pdst="198.18.0.10"), "punt")


main()
