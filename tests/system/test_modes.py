"""Real connections through every mode, byte for byte, and no checksum that a kernel finds wrong."""

import hashlib
import random
import socket
import struct
import threading
from contextlib import contextmanager

import pytest
from conftest import opened, repeats
from lab.config import lab_config
from lab.frames import SYN, Tuple, Wire, packet
from lab.laboratory import Lab
from lab.loop import as_target, family_of
from lab.modes import WAYS, answer_directly, own_the_vips, prepare, service_of
from lab.network import BALANCER, BALANCER_INSIDE, CLIENT, VIP, backend_address
from lab.nginx import Nginx
from lab.shunt import Shunt, unbalanced
from lab.waiting import wait_until

MEGABYTES = repeats(5, 50)
DATAGRAM = random.Random(2).randbytes(8000)
ADDRESSES = backend_address("b1")


@pytest.fixture(scope="module")
def modes_lab():
    for lab in opened(Lab(backends=("b1",), queues=2)):
        backend = lab.network.backends["b1"]
        own_the_vips(backend)
        answer_directly(backend)
        lab.server = Nginx("every", backend, lab.directory / "nginx-every", lab.directory / "download.bin",
                           port=[way.service_port for way in WAYS])
        lab.undo.callback(lab.server.stop)
        lab.content = random.Random(3).randbytes(MEGABYTES << 20)
        (lab.directory / "content.bin").write_bytes(lab.content)
        config = lab_config(*(service_of(way, ADDRESSES) for way in WAYS), workers=2)
        config["node"]["source"] = list(BALANCER_INSIDE)
        lab.shunt = Shunt(lab, config)
        lab.shunt.start()
        yield lab


@pytest.fixture(params=WAYS, ids=[way.name for way in WAYS])
def way(modes_lab, request):
    prepare(modes_lab.network.backends["b1"], request.param, ADDRESSES)
    return request.param


def wrong_checksums(*namespaces):
    """By the receiving kernels: every counter whose name says so."""
    total = {}
    for namespace in namespaces:
        for line in namespace.run("nstat", "-asz").splitlines():
            if "Csum" in line:
                name, value, _ = line.split()
                total[name] = total.get(name, 0) + int(value)
    assert {"TcpInCsumErrors", "UdpInCsumErrors", "Udp6InCsumErrors"} <= set(total)
    return total


def digest(content):
    return hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize("vip", VIP, ids=("ipv4", "ipv6"))
def test_downloads_and_uploads_arrive_byte_for_byte(modes_lab, way, vip):
    lab = modes_lab
    ends = (lab.client, lab.network.backends["b1"])
    before = wrong_checksums(*ends)
    url = f"http://{as_target(vip, way.service_port)}/files/"
    name = f"{way.name}-{family_of(vip)}.bin"
    source, uploaded, downloaded = lab.directory / "content.bin", lab.server.files / name, lab.directory / name
    lab.client.run("curl", "-sgf", "--max-time", "120", "-T", str(source), url + name, timeout=150)
    assert digest(uploaded.read_bytes()) == digest(lab.content)
    lab.client.run("curl", "-sgf", "--max-time", "120", "-o", str(downloaded), url + name, timeout=150)
    assert digest(downloaded.read_bytes()) == digest(lab.content)
    assert wrong_checksums(*ends) == before
    for file in (uploaded, downloaded):
        file.unlink()


@contextmanager
def echo_server(backend, address, port):
    """Sends every datagram back whence it came."""
    with backend.entered():
        server = socket.socket(family_of(address), socket.SOCK_DGRAM)
    server.bind((address, port))

    def serve():
        while True:
            content, peer = server.recvfrom(65535)
            if not content:
                return
            server.sendto(content, peer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        with backend.entered():
            stop = socket.socket(family_of(address), socket.SOCK_DGRAM)
        stop.sendto(b"", (address, port))
        thread.join()
        server.close()
        stop.close()


@pytest.mark.parametrize("which", (0, 1), ids=("ipv4", "ipv6"))
def test_large_datagrams_arrive_whole(modes_lab, way, which):
    """8,000 bytes there and back: six fragments each way. IPv6 may lose the first to its path-MTU discovery."""
    lab = modes_lab
    ends = (lab.client, lab.network.backends["b1"])
    before = wrong_checksums(*ends)
    server = ADDRESSES[which] if way.mode == "nat" else VIP[which]
    with lab.client.entered():
        client = socket.socket(family_of(VIP[which]), socket.SOCK_DGRAM)
    client.settimeout(2)
    client.connect((VIP[which], way.service_port))
    with echo_server(lab.network.backends["b1"], server, way.service_port), client:
        def answered():
            client.send(DATAGRAM)
            try:
                return client.recv(65535)
            except TimeoutError:
                return None
        answer = wait_until(answered, 8, "a datagram of 8,000 bytes to be answered")
    assert digest(answer) == digest(DATAGRAM)
    assert wrong_checksums(*ends) == before


def test_a_wrong_checksum_stays_wrong_and_is_counted(modes_lab, way):
    """The instrument itself: a packet that is spoiled on its way reaches the backend, which counts it."""
    lab = modes_lab
    backend = lab.network.backends["b1"]
    for which, vip in enumerate(VIP):
        before = wrong_checksums(backend)["TcpInCsumErrors"]
        spoiled = bytearray(packet(Tuple(CLIENT[which], 1234, vip, way.service_port, "tcp"), SYN))
        spoiled[-4] ^= 0x55
        wire = Wire(lab.client)
        lab.client.run("ping", "-c", "1", "-W", "2", BALANCER[which])
        wire.send(mac_of(lab.network.balancer, "lan0"), bytes(spoiled))
        wait_until(lambda: wrong_checksums(backend)["TcpInCsumErrors"] > before, 5, "the wrong checksum to be counted")
        wire.close()


def mac_of(namespace, device):
    text = namespace.ip("-o", "link", "show", "dev", device).split("link/ether ")[1].split()[0]
    return bytes.fromhex(text.replace(":", ""))


def test_nothing_was_lost_in_silence(modes_lab):
    assert unbalanced(modes_lab.shunt.settled_workers()) == []
