"""A backend on loopback that answers one numbered message wrongly: the tests of the live load need one."""

import itertools
import selectors
import socket
import struct
import threading

from lab.message import REPLY, REQUEST, padded

FAULTY_MESSAGE = 20  # of all of its kind
LINGER_RESET = struct.pack("ii", 1, 0)


def wrong_replies(fault, reply):
    """What is answered instead of `reply`; None: nothing, and the connection ends."""
    conversation, number, _ = REPLY.unpack(reply)
    return {"silence": [],
            "rename": [REPLY.pack(conversation, number, padded("other"))],
            "renumber": [REPLY.pack(conversation, number + 1, padded("good"))],
            "swap": [REPLY.pack(conversation + 1, number, padded("good"))],
            "repeat": [reply, reply]}.get(fault)


class FaultyBackend:
    """Right in everything but one TCP message and one datagram: reset, close (TCP only), silence,
    rename, renumber, swap (the number of another conversation), repeat."""

    def __init__(self, tcp_fault=None, udp_fault=None):
        self.tcp_fault, self.udp_fault = tcp_fault, udp_fault
        self.tcp_messages, self.udp_messages = itertools.count(1), itertools.count(1)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.datagrams.bind(("127.0.0.1", self.port))
        self.stopped, self.stopping = socket.socketpair()
        self.selector = selectors.DefaultSelector()
        for sock, handler in ((self.listening, self.accept), (self.datagrams, self.on_datagram), (self.stopped, None)):
            self.selector.register(sock, selectors.EVENT_READ, handler)
        self.thread = threading.Thread(target=self.run)

    def run(self):
        while True:
            for key, _ in self.selector.select():
                if key.data is None:
                    return
                key.data(key.fileobj)

    def accept(self, listening):
        self.selector.register(listening.accept()[0], selectors.EVENT_READ, self.on_message)

    def on_message(self, sock):
        request = sock.recv(REQUEST.size)
        if len(request) < REQUEST.size:
            self.selector.unregister(sock)
            sock.close()
            return
        replies = [request + padded("good")]
        if next(self.tcp_messages) == FAULTY_MESSAGE and self.tcp_fault:
            replies = wrong_replies(self.tcp_fault, replies[0])
        if replies is None:
            if self.tcp_fault == "reset":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
            self.selector.unregister(sock)
            sock.close()
            return
        sock.sendall(b"".join(replies))

    def on_datagram(self, sock):
        request, peer = sock.recvfrom(4096)
        replies = [request + padded("good")]
        if next(self.udp_messages) == FAULTY_MESSAGE and self.udp_fault:
            replies = wrong_replies(self.udp_fault, replies[0])
        for reply in replies:
            sock.sendto(reply, peer)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_what):
        self.stopping.close()
        self.thread.join()
        for key in list(self.selector.get_map().values()):
            key.fileobj.close()
        self.selector.close()
