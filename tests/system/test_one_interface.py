"""One interface, both worlds: while a VIP is served on it, the kernel keeps its own traffic on the same interface."""

import time

import pytest
from lab.config import INTERVAL_MS
from lab.loop import as_target
from lab.network import BALANCER, VIP, WEB_PORT, backend_address
from lab.nginx import Nginx
from lab.waiting import wait_until


@pytest.fixture
def own_server(lab):
    """A web server of the balancer's kernel, on the very port that is served at the VIP."""
    server = Nginx("own", lab.network.balancer, lab.directory / "nginx-own", lab.directory / "download.bin")
    yield server
    server.stop()


def test_ping_and_tcp_to_the_interface_go_through_the_kernel_while_a_vip_is_served(lab, own_server):
    opener = lab.opener(VIP, rate=100)
    wait_until(lambda: opener.report()["answered"] > 20, 10, "the VIP to be served")
    for address in BALANCER + VIP:
        lab.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", address)
    for address in BALANCER:
        url = f"http://{as_target(address, WEB_PORT)}/"
        assert lab.client.run("curl", "-sg", "--max-time", "5", url) == "own\n"
    for vip in VIP:
        assert lab.client.run("curl", "-sg", "--max-time", "5", f"http://{as_target(vip, WEB_PORT)}/") != "own\n"
    report = opener.finish()
    assert report["failed"] == 0 and "own" not in report["per_backend"]


def test_the_kernels_own_connections_to_the_backend_port_succeed(lab):
    """As health checks are: from the balancer's address, to the very port that service traffic uses."""
    opener = lab.opener(VIP, rate=100)
    for name in ("b1", "b2", "b3"):
        for address in backend_address(name):
            url = f"http://{as_target(address, WEB_PORT)}/healthz"
            assert lab.network.balancer.run("curl", "-sg", "--max-time", "5", url) == "ok\n"
    assert opener.finish()["failed"] == 0


def test_health_checks_succeed_beside_the_traffic(lab):
    """Several intervals long no backend leaves the tables, and each of them is really asked."""
    shunt, hashes = lab.shunt, lab.shunt.hashes()
    before = answered_checks(lab)
    opener = lab.opener(VIP, rate=200)
    until = time.monotonic() + 5 * INTERVAL_MS / 1000
    wait_until(lambda: shunt.hashes() != hashes or time.monotonic() > until, 30, "five intervals", every=0.2)
    assert shunt.hashes() == hashes
    assert opener.finish()["failed"] == 0
    answered = {name: number - before[name] for name, number in answered_checks(lab).items()}
    assert len(answered) == 6 and all(number >= 4 for number in answered.values()), answered


def answered_checks(lab):
    """By the counters of the backends' kernels: connections to the web port that came from the balancer itself."""
    return {(name, family): backend.counters()[f"checked_{family}"]
            for name, backend in lab.network.backends.items() for family in ("ip", "ip6")}
