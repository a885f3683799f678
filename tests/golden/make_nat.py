#!/usr/bin/python3
"""Mode nat, both directions, and what belongs to no service or is damaged."""

from scapy.all import (ARP, ICMP, IP, TCP, UDP, Ether, IPOption_NOP, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                       IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, ICMPv6EchoRequest, raw)

from oracle import (CLIENT, FAMILIES, NODE, PORT, SENDER, TRANSPORTS, Authentication, File, Service, Setup, answer, backend_of, framed, ip, outs,
                    pattern, reply, request, time_exceeded, transport, vip_of, with_wrong_checksum)
from services import NAT, NAT_FOLLOWS, everything

setup = everything()
file = File("Mode nat in both directions; packets of no service; damaged packets.")
web = setup.services[NAT]


def packet_of(family, source, destination, layer, payload=b"payload", hops=64, extension=None, **ip_fields):
    head = ip(family, source, destination, hops, **ip_fields)
    return (head / extension if extension else head) / layer / payload


def client_packet(service, family, *parts, **more):
    return packet_of(family, CLIENT[family], service.vip[family], *parts, **more)


def backend_packet(service, family, *parts, **more):
    return packet_of(family, service.backend[family], CLIENT[family], *parts, **more)


def forward(family, kind, what, packet, tail=b"", service=web):
    frames = [raw(frame) + tail for frame in request(setup, service, packet)]
    file.case(setup, f"ipv{family} {kind} request {what}", ("in", raw(framed(packet)) + tail if tail else framed(packet)),
              *outs(frames if tail else request(setup, service, packet)))


def both(family, kind, what, fields=None, service=web, **more):
    fields = fields or {}
    forward(family, kind, what, client_packet(service, family, transport(kind, 40000, service.vip_port, **fields), **more), service=service)
    packet = backend_packet(service, family, transport(kind, service.port_at_backend(), 40000, **fields), **more)
    file.case(setup, f"ipv{family} {kind} reply {what}", ("in", framed(packet)), *outs(reply(setup, service, packet)))


def traffic(family):
    options = [("MSS", 1400), ("SAckOK", b""), ("Timestamp", (1, 0)), ("NOP", None), ("WScale", 7)]
    for flags in ("S", "SA", "A", "PA", "FA", "R", "RA"):
        both(family, "tcp", f"flags {flags}", {"flags": flags})
    both(family, "tcp", "with TCP options", {"flags": "S", "options": options}, payload=b"")
    for kind in TRANSPORTS:
        for length in (0, 1, 2, 3, 255, 1400):
            both(family, kind, f"of {length} bytes", payload=pattern(length))
        both(family, kind, "with hop limit 2", hops=2)
        both(family, kind, "with hop limit 255", hops=255)
        forward(family, kind, "with padding after the packet", client_packet(web, family, transport(kind, 40000, 443)), tail=b"\x55" * 11)
        both(family, kind, "to a backend that follows the port", service=setup.services[NAT_FOLLOWS])
        both(family, kind, "with DSCP, ECN and label", **({"tos": 0xB9} if family == 4 else {"tc": 0xB9, "fl": 0x12345}))


def ipv4_only():
    for kind in TRANSPORTS:
        both(4, kind, "with IPv4 options", options=[IPOption_NOP()] * 8)
        both(4, kind, "with forty bytes of IPv4 options", options=[IPOption_NOP()] * 40)
        both(4, kind, "with identification and DF", id=0xBEEF, flags="DF")
    both(4, "udp", "without a checksum", {"chksum": 0})


def extension_headers():
    """RFC 8200 section 4: followed wherever they may stand, at most eight of them."""
    chains = {
        "hop-by-hop options": IPv6ExtHdrHopByHop(),
        "destination options": IPv6ExtHdrDestOpt(),
        "a routing header": IPv6ExtHdrRouting(),
        "an authentication header": Authentication(),
        "an atomic fragment header": IPv6ExtHdrFragment(offset=0, m=0, id=5),
        "three of them": IPv6ExtHdrHopByHop() / IPv6ExtHdrRouting() / IPv6ExtHdrDestOpt(),
        "eight of them": IPv6ExtHdrHopByHop() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt()
        / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt() / IPv6ExtHdrDestOpt(),
    }
    for what, chain in chains.items():
        for kind in TRANSPORTS:
            both(6, kind, f"behind {what}", extension=chain)
    nine = chains["eight of them"] / IPv6ExtHdrDestOpt()
    for kind in TRANSPORTS:
        packet = client_packet(web, 6, nine / transport(kind, 40000, 443))
        file.case(setup, f"ipv6 {kind} behind nine extension headers", ("in", framed(packet)), ("drop", "extension_chain"))


def checksum_of_zero(family):
    """A payload for which the translated UDP checksum comes out as zero: it must be sent as 0xffff (RFC 768)."""
    for n in range(65536):
        payload = n.to_bytes(2, "big")
        after = ip(family, CLIENT[family], web.backend[family]) / UDP(sport=40000, dport=8080) / payload
        if after.__class__(raw(after))[UDP].chksum == 0xFFFF:
            return forward(family, "udp", "whose checksum becomes zero", client_packet(web, family, UDP(sport=40000, dport=443), payload))


def hop_limits(family):
    for kind in TRANSPORTS:
        for hops in (0, 1):
            packet = client_packet(web, family, transport(kind, 40000, 443), hops=hops)
            file.case(setup, f"ipv{family} {kind} request with hop limit {hops}", ("in", framed(packet)), ("drop", "hop_limit_exceeded"),
                      ("out", answer(setup, packet, time_exceeded(family))))
            packet = backend_packet(web, family, transport(kind, 8080, 40000), pattern(1400), hops=hops)
            file.case(setup, f"ipv{family} {kind} reply with hop limit {hops}", ("in", framed(packet)), ("drop", "hop_limit_exceeded"),
                      ("out", answer(setup, packet, time_exceeded(family))))


def without_node_address():
    """Answers come from the VIP where the node has no address of its own."""
    bare = Setup("without a source of its own", [Service("web", "nat", vip_of(10), backend_of(11), backend_port=8080)], node=False)
    for family in FAMILIES:
        service = bare.services["web"]
        packet = client_packet(service, family, transport("tcp", 40000, 443), hops=1)
        file.case(bare, f"ipv{family} request with hop limit 1 answered by the VIP", ("in", framed(packet)),
                  ("drop", "hop_limit_exceeded"), ("out", answer(bare, packet, time_exceeded(family))))
        packet = backend_packet(service, family, transport("tcp", 8080, 40000), hops=1)
        file.case(bare, f"ipv{family} reply with hop limit 1 answered by the VIP", ("in", framed(packet)), ("drop", "hop_limit_exceeded"),
                  ("out", answer(bare, packet, time_exceeded(family), source=service.vip[family])))


def without_flows():
    """flows = "off": nothing is remembered, every reply is derived."""
    one_packet = Setup("without flows", [Service("dns", "nat", vip_of(53), backend_of(53), vip_port=53, backend_port=5353,
                                                 transports=("udp",), flows="off")])
    service = one_packet.services["dns"]
    for family in FAMILIES:
        packet = backend_packet(service, family, transport("udp", 5353, 40000))
        file.case(one_packet, f"ipv{family} reply derived", ("in", framed(packet)), *outs(reply(one_packet, service, packet)))
        packet = client_packet(service, family, transport("udp", 40000, 53))
        file.case(one_packet, f"ipv{family} request that is not remembered", ("in", framed(packet)), *outs(request(one_packet, service, packet)))


def several_ports():
    """Ranges and a whole address: a backend that follows gets the packet's port; where all become one, the flow alone knows."""
    many = Setup("several ports", [
        Service("range", "nat", vip_of(60), backend_of(60), vip_port=8100, vip_ports="8000-8999"),
        Service("whole", "nat", vip_of(60), backend_of(61), vip_port=22, vip_ports="*"),
        Service("one", "nat", vip_of(60), backend_of(62), vip_port=8500),
        Service("fixed", "nat", vip_of(61), backend_of(63), vip_port=9100, vip_ports="9000-9999", backend_port=7000)])
    for family in FAMILIES:
        for kind in TRANSPORTS:
            for service in many.services.values():
                there = client_packet(service, family, transport(kind, 40000, service.vip_port))
                back = backend_packet(service, family, transport(kind, service.port_at_backend(), 40000))
                name = f"ipv{family} {kind} to the service {service.name}"
                lost = (("drop", "return_unknown"),) if service.name == "fixed" else outs(reply(many, service, back))
                file.case(many, f"{name}: a reply without a flow", ("in", framed(back)), *lost)
                file.case(many, f"{name} and back", ("in", framed(there)), *outs(request(many, service, there)), ("in", framed(back)),
                          *outs(reply(many, service, back)))
        whole = many.services["whole"]
        for port in (8100, 8500):
            packet = backend_packet(whole, family, transport("tcp", port, 40000))
            file.case(many, f"ipv{family} from port {port}, of which another service is", ("in", framed(packet)), ("punt",))
        stranger = client_packet(many.services["fixed"], family, transport("tcp", 40000, 10000))
        file.case(many, f"ipv{family} beside the range", ("in", framed(stranger)), ("punt",))


def leavers(family):
    def case(what, frame, *expected):
        file.case(setup, f"ipv{family} {what}", ("in", frame), expected)

    to_web = client_packet(web, family, TCP(sport=1, dport=443), b"x")
    datagram = client_packet(web, family, UDP(sport=1, dport=443), b"x")
    case("another port of the VIP", framed(client_packet(web, family, TCP(sport=1, dport=444))), "punt")
    case("an address of this host", framed(ip(family, CLIENT[family], NODE[family]) / TCP(sport=1, dport=22)), "punt")
    case("a reply to an address of this host", framed(ip(family, web.backend[family], NODE[family]) / TCP(sport=8080, dport=40000)), "punt")
    case("another protocol to the VIP", framed(ip(family, CLIENT[family], web.vip[family], **{"proto" if family == 4 else "nh": 132}) / b"x"), "punt")
    case("truncated in its Ethernet header", raw(framed(to_web))[:13], "drop", "header_truncated")
    case("truncated in its headers", raw(framed(to_web))[:30], "drop", "header_truncated")
    case("truncated in its payload", raw(framed(datagram))[:-1], "drop", "length_mismatch")
    case("UDP length too long", framed(client_packet(web, family, UDP(sport=1, dport=443, len=900))), "drop", "length_mismatch")
    case("UDP length too short", framed(client_packet(web, family, UDP(sport=1, dport=443, len=7))), "drop", "length_mismatch")
    case("TCP header length too short", framed(client_packet(web, family, TCP(sport=1, dport=443, dataofs=4))), "drop", "length_mismatch")
    case("TCP header length too long", framed(client_packet(web, family, TCP(sport=1, dport=443, dataofs=15))), "drop", "length_mismatch")
    case("from a multicast address", framed(ip(family, {4: "224.0.0.1", 6: "ff02::1"}[family], web.vip[family]) / TCP(sport=1, dport=443)),
         "drop", "source_invalid")
    case("from a loopback address", framed(ip(family, {4: "127.0.0.1", 6: "::1"}[family], web.vip[family]) / TCP(sport=1, dport=443)),
         "drop", "source_invalid")
    case("a reply to nobody", framed(ip(family, web.backend[family], CLIENT[family]) / TCP(sport=8081, dport=40000)), "punt")


def damaged_and_foreign():
    good = raw(framed(client_packet(web, 4, TCP(sport=1, dport=443), b"x")))
    file.case(setup, "ipv4 wrong header checksum", ("in", good[:24] + bytes([good[24] ^ 1]) + good[25:]), ("drop", "ipv4_checksum_bad"))
    file.case(setup, "ipv4 wrong version", ("in", good[:14] + b"\x65" + good[15:]), ("drop", "ipv4_header_invalid"))
    file.case(setup, "ipv4 header length too short", ("in", good[:14] + b"\x44" + good[15:]), ("drop", "ipv4_header_invalid"))
    good = raw(framed(client_packet(web, 6, TCP(sport=1, dport=443), b"x")))
    file.case(setup, "ipv6 wrong version", ("in", good[:14] + b"\x40" + good[15:]), ("drop", "ipv6_header_invalid"))
    file.case(setup, "ipv4 ping of the VIP", ("in", framed(ip(4, CLIENT[4], web.vip[4]) / ICMP())), ("punt",))
    file.case(setup, "ipv6 ping of the VIP", ("in", framed(ip(6, CLIENT[6], web.vip[6]) / ICMPv6EchoRequest())), ("punt",))
    file.case(setup, "ARP", ("in", Ether(src=SENDER, dst="ff:ff:ff:ff:ff:ff") / ARP(hwsrc=SENDER, psrc="198.18.1.1", pdst="198.18.0.10")), ("punt",))
    file.case(setup, "an Ethernet type of somebody else", ("in", Ether(src=SENDER, dst=PORT, type=0x88CC) / b"hello"), ("punt",))


def main():
    for family in FAMILIES:
        traffic(family)
        checksum_of_zero(family)
        hop_limits(family)
        leavers(family)
    ipv4_only()
    extension_headers()
    damaged_and_foreign()
    without_node_address()
    without_flows()
    several_ports()
    file.write()


main()
