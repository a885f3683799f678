"""Frames made by hand, and captures: what a 5-tuple sent by the client becomes at a backend."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass

from .loop import family_of, large_buffers
from .namespace import Namespace

ETHERTYPE = {socket.AF_INET: 0x0800, socket.AF_INET6: 0x86DD}
PROTOCOL = {"tcp": socket.IPPROTO_TCP, "udp": socket.IPPROTO_UDP}
EVERY_PROTOCOL = 0x0003  # ETH_P_ALL
SYN, ACK = 0x02, 0x10


@dataclass(frozen=True)
class Tuple:
    """Who speaks to whom."""

    source: str
    source_port: int
    target: str
    target_port: int
    protocol: str  # tcp or udp

    @property
    def ends(self) -> tuple[str, str]:
        """As `shunt explain` wants it: SRC:PORT DST:PORT/PROTO."""
        bracket = "[{}]:{}" if ":" in self.source else "{}:{}"
        return (bracket.format(self.source, self.source_port),
                bracket.format(self.target, self.target_port) + f"/{self.protocol}")


def ones_complement_sum(data: bytes) -> int:
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def transport(flow: Tuple, flags: int, payload: bytes) -> bytes:
    """The TCP or UDP header with its checksum, and the payload."""
    addresses = b"".join(socket.inet_pton(family_of(end), end) for end in (flow.source, flow.target))
    ports = struct.pack("!HH", flow.source_port, flow.target_port)
    if flow.protocol == "tcp":
        before, after = ports + struct.pack("!IIBBH", 1, 0, 5 << 4, flags, 65535), struct.pack("!H", 0)
    else:
        before, after = ports + struct.pack("!H", 8 + len(payload)), b""
    length = len(before) + 2 + len(after) + len(payload)
    pseudo = addresses + struct.pack("!II", length, PROTOCOL[flow.protocol])
    checksum = ones_complement_sum(pseudo + before + b"\0\0" + after + payload)
    return before + struct.pack("!H", checksum or 0xFFFF) + after + payload


def packet(flow: Tuple, flags: int = SYN, payload: bytes = b"", hop_limit: int = 64) -> bytes:
    """A whole IP packet; `flags` matter to TCP only."""
    inside = transport(flow, flags, payload)
    source, target = (socket.inet_pton(family_of(end), end) for end in (flow.source, flow.target))
    protocol = PROTOCOL[flow.protocol]
    if family_of(flow.source) == socket.AF_INET6:
        return struct.pack("!IHBB", 6 << 28, len(inside), protocol, hop_limit) + source + target + inside
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(inside), 0, 0x4000, hop_limit, protocol, 0) + source + target
    return head[:10] + struct.pack("!H", ones_complement_sum(head)) + head[12:] + inside


class Wire:
    """An end of a cable as a socket that sends frames as they are and sees every frame that arrives."""

    def __init__(self, namespace: Namespace, interface: str = "eth0"):
        with namespace.entered():
            self.socket = large_buffers(socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERY_PROTOCOL)))
        self.socket.bind((interface, EVERY_PROTOCOL))
        self.socket.setblocking(False)
        self.mac = self.socket.getsockname()[4]

    def send(self, to_mac: bytes, content: bytes) -> None:
        ethertype = ETHERTYPE[socket.AF_INET6 if content[0] >> 4 == 6 else socket.AF_INET]
        self.socket.send(to_mac + self.mac + struct.pack("!H", ethertype) + content)

    def arrived(self) -> list[Tuple]:
        """The TCP and UDP packets that arrived since the last call."""
        found = []
        while True:
            try:
                frame, (_, _, kind, _, _) = self.socket.recvfrom(65535)
            except BlockingIOError:
                return found
            flow = parse(frame) if kind != socket.PACKET_OUTGOING else None
            if flow:
                found.append(flow)

    def close(self) -> None:
        self.socket.close()


def parse(frame: bytes) -> Tuple | None:
    ethertype = struct.unpack_from("!H", frame, 12)[0]
    if ethertype == ETHERTYPE[socket.AF_INET]:
        protocol, start, family, source, target = frame[23], 14 + (frame[14] & 15) * 4, socket.AF_INET, 26, 30
        size = 4
    elif ethertype == ETHERTYPE[socket.AF_INET6]:
        protocol, start, family, source, target, size = frame[20], 54, socket.AF_INET6, 22, 38, 16
    else:
        return None
    name = next((name for name, number in PROTOCOL.items() if number == protocol), None)
    if not name or len(frame) < start + 4:
        return None
    ports = struct.unpack_from("!HH", frame, start)
    ends = [socket.inet_ntop(family, frame[at : at + size]) for at in (source, target)]
    return Tuple(ends[0], ports[0], ends[1], ports[1], name)
