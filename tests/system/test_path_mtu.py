"""Ways narrower than the cables, in front of the balancer and behind it: senders learn of it, through every mode."""

import random

import pytest
from conftest import opened
from lab.config import lab_config
from lab.laboratory import Lab
from lab.loop import as_target, family_of
from lab.modes import WAYS, answer_directly, own_the_vips, prepare, service_of
from lab.narrow import BEHIND, FAMILIES, IN_FRONT, MTU, add_narrow, path_mtu
from lab.network import BALANCER_INSIDE, VIP, add_addresses, backend_address
from lab.nginx import Nginx
from lab.shunt import Shunt, unbalanced

CONTENT = random.Random(4).randbytes(1 << 20)
BEYOND = 100  # ports of the services whose backend is behind a narrow way
# l3dsr has changed the address that the error quotes, so that the client does not know its own packet; direct does not
# pass routers.
BEYOND_ROUTERS = tuple(way for way in WAYS if way.mode not in ("direct", "l3dsr"))
OVERHEAD = {"nat": 0, "ipip": 0, "gre": 4, "gue": 12, "vxlan": 30}  # beside the outer IP header


def remote_addresses(way):
    """An address of its own for every way, because the balancer remembers what it learned about an address."""
    return tuple(f"{prefix}{10 + WAYS.index(way)}" for prefix in ("198.18.4.", "2001:db8:4::"))


def overhead(way):
    header = {4: 20, 6: 40}.get(way.family, 0)
    return header + OVERHEAD[way.mode] + (4 if way.key else 0)


@pytest.fixture(scope="module")
def narrow_lab():
    for lab in opened(Lab(backends=("b1",))):
        b1 = lab.network.backends["b1"]
        lab.far, lab.remote = add_narrow(lab, IN_FRONT), add_narrow(lab, BEHIND)
        own_the_vips(b1)
        answer_directly(b1)
        own_the_vips(lab.remote)
        for way in BEYOND_ROUTERS:
            add_addresses(lab.remote, "eth0", remote_addresses(way), (24, 64))
        for family, subnet, via in zip(FAMILIES, IN_FRONT.subnet, IN_FRONT.on_switch):
            b1.ip(family, "route", "add", subnet, "via", via, "dev", "eth0", "onlink", "table", "100")
        for name, host, beyond in (("near", b1, 0), ("remote", lab.remote, BEYOND)):
            lab.nginx[name] = Nginx(name, host, lab.directory / f"nginx-{name}", lab.directory / "download.bin",
                                    port=[way.service_port + beyond for way in WAYS])
            lab.undo.callback(lab.nginx[name].stop)
            (lab.nginx[name].files / "content.bin").write_bytes(CONTENT)
        config = lab_config(*(service_of(way, backend_address("b1"), mss="off") for way in WAYS),
                            *(service_of(way, remote_addresses(way), BEYOND, mss="off") for way in BEYOND_ROUTERS))
        config["node"]["source"] = list(BALANCER_INSIDE)
        lab.shunt = Shunt(lab, config)
        lab.shunt.start()
        yield lab


def forget(*hosts):
    """What kernels have learned about ways."""
    for host in hosts:
        for family in FAMILIES:
            host.ip(family, "route", "flush", "cache")


def url(vip, port):
    return f"http://{as_target(vip, port)}/files/content.bin"


@pytest.mark.parametrize("vip", VIP, ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("way", WAYS, ids=[way.name for way in WAYS])
def test_a_narrow_way_to_the_client_is_learned_by_the_backend(narrow_lab, way, vip):
    """The router's error is addressed to the VIP, and reaches the backend whose packet it quotes."""
    lab, b1 = narrow_lab, narrow_lab.network.backends["b1"]
    which = VIP.index(vip)
    prepare(b1, way, backend_address("b1"))
    forget(b1)
    target = lab.directory / "fetched.bin"
    lab.far.run("curl", "-sgf", "--max-time", "20", "-o", str(target), url(vip, way.service_port))
    assert target.read_bytes() == CONTENT
    source = "" if way.mode == "nat" else vip
    assert path_mtu(b1, IN_FRONT.address[which], source) == MTU


@pytest.mark.parametrize("vip", VIP, ids=("ipv4", "ipv6"))
@pytest.mark.parametrize("way", BEYOND_ROUTERS, ids=[way.name for way in BEYOND_ROUTERS])
def test_a_narrow_way_to_the_backend_is_learned_by_the_client(narrow_lab, way, vip):
    """In mode nat the router's error is translated; with an outer header it is about the balancer's own packet, and the
    balancer tells the client what fits."""
    lab = narrow_lab
    prepare(lab.remote, way, remote_addresses(way))
    forget(lab.client)
    source = lab.directory / "sent.bin"
    source.write_bytes(CONTENT)
    name = f"{way.name}-{family_of(vip)}.bin"
    lab.client.run("curl", "-sgf", "--max-time", "20", "-T", str(source),
                   url(vip, way.service_port + BEYOND).replace("content.bin", name))
    assert (lab.nginx["remote"].files / name).read_bytes() == CONTENT
    assert path_mtu(lab.client, vip) == MTU - overhead(way)


def test_nothing_was_lost_in_silence(narrow_lab):
    assert unbalanced(narrow_lab.shunt.settled_workers()) == []
