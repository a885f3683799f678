"""Program: answers numbered messages over TCP and UDP, IPv4 and IPv6, with its name in every reply.

    python3 -m lab.echo --name b1 --port 7000
"""

from __future__ import annotations

import argparse
import socket
from functools import partial

from .loop import READ, Loop, large_buffers
from .message import REQUEST, padded

BATCH = 64
IP_PKTINFO = 8  # of <linux/in.h>: with a datagram, the address it came for; with an answer, the one it leaves from
AT_ADDRESS = {socket.AF_INET: (socket.IPPROTO_IP, IP_PKTINFO, IP_PKTINFO, slice(0, 4)),
              socket.AF_INET6: (socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, socket.IPV6_PKTINFO, slice(16, 20))}


class Echo:
    def __init__(self, name: str, port: int):
        self.name = padded(name)
        self.counts = {"accepted": 0, "connections": 0, "tcp_messages": 0, "udp_messages": 0}
        self.loop = Loop(tick=lambda now: None, tick_seconds=1.0, answer=lambda word: self.counts)
        for family, anywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
            listening = self.open(family, socket.SOCK_STREAM, anywhere, port)
            listening.listen(4096)
            self.loop.watch(listening, READ, partial(self.on_connections, listening))
            datagrams = large_buffers(self.open(family, socket.SOCK_DGRAM, anywhere, port))
            level, wish, _, _ = AT_ADDRESS[family]
            datagrams.setsockopt(level, wish, 1)
            self.loop.watch(datagrams, READ, partial(self.on_datagrams, datagrams))

    @staticmethod
    def open(family: int, kind: int, address: str, port: int) -> socket.socket:
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((address, port))
        return sock

    def on_connections(self, listening: socket.socket, _events: int) -> None:
        for _ in range(BATCH):
            try:
                sock, _peer = listening.accept()
            except BlockingIOError:
                return
            except ConnectionError:
                continue
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.counts["accepted"] += 1
            self.counts["connections"] += 1
            self.loop.watch(sock, READ, partial(self.on_message, sock, bytearray()))

    def on_message(self, sock: socket.socket, pending: bytearray, _events: int) -> None:
        try:
            received = sock.recv(4096)
            if not received:
                raise ConnectionResetError
            pending += received
            while len(pending) >= REQUEST.size:
                sock.send(pending[: REQUEST.size] + self.name)
                del pending[: REQUEST.size]
                self.counts["tcp_messages"] += 1
        except BlockingIOError:
            return
        except OSError:
            self.counts["connections"] -= 1
            self.loop.close(sock)

    def on_datagrams(self, sock: socket.socket, _events: int) -> None:
        for _ in range(BATCH):
            try:
                datagram, messages, _, peer = sock.recvmsg(4096, 128)
                if len(datagram) == REQUEST.size:
                    self.counts["udp_messages"] += 1
                    sock.sendmsg([datagram, self.name], from_where_it_came_to(sock, messages), 0, peer)
            except BlockingIOError:
                return
            except OSError:  # an error of an earlier datagram, such as "port unreachable"
                continue


def from_where_it_came_to(sock: socket.socket, messages: list[tuple[int, int, bytes]]) -> list[tuple[int, int, bytes]]:
    """What has an answer leave from the address that was asked, which may be one of several: a VIP, where backends have
    it. The interface is the route's business."""
    level, _, kind, interface = AT_ADDRESS[sock.family]
    found = next(bytearray(data) for at, what, data in messages if (at, what) == (level, kind))
    found[interface] = bytes(4)
    return [(level, kind, bytes(found))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="lab.echo", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--port", type=int, required=True)
    options = parser.parse_args()
    Echo(options.name, options.port).loop.run()


if __name__ == "__main__":
    main()
