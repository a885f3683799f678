"""A whole address, ranges of ports, and one port of the same address, each with backends of its own."""

import pytest
from conftest import opened
from lab.config import lab_config
from lab.laboratory import Lab
from lab.loop import as_target
from lab.network import BALANCER, LIVE_PORT, VIP, backend_address
from lab.nginx import Nginx
from lab.shunt import Shunt, unbalanced
from lab.waiting import wait_until

CHECK = {"type": "http", "path": "/healthz", "port": 80}
WHOLE_PORTS, RANGE_PORTS, ONE_PORT, FIXED_PORTS = (22, 80, 443, 7999, 65535), (8000, 8001, 8099), 8050, (9000, 9099)
REACHED = (*((port, "b1") for port in WHOLE_PORTS), *((port, "b2") for port in RANGE_PORTS), (ONE_PORT, "b3"),
           *((port, "b2") for port in FIXED_PORTS))


def vips(ports, *protocols):
    return [f"{as_target(vip, 0)[:-1]}{ports}/{protocol}" for vip in VIP for protocol in protocols]


def service(name, vip, backend, check=None, **of_backend):
    backends = [{"address": address, **of_backend} for address in backend_address(backend)]
    return {"name": name, "vip": vip, "backend": backends, **({"check": check} if check else {})}


SERVICES = (service("whole", vips("*", "tcp"), "b1", CHECK), service("range", vips("8000-8099", "tcp"), "b2", CHECK),
            service("one", vips(ONE_PORT, "tcp"), "b3"), service("fixed", vips("9000-9099", "tcp"), "b2", port=80),
            service("live", vips("6990-7010", "tcp", "udp"), "b3"))


@pytest.fixture(scope="module")
def ranges_lab():
    for lab in opened(Lab(queues=2)):
        lab.start_echo()
        for name in ("b1", "b2", "b3"):
            ports = [port for port, backend in REACHED if backend == name and port not in (80, *FIXED_PORTS)]
            server = Nginx(name, lab.network.backends[name], lab.directory / f"nginx-{name}-many",
                           lab.directory / "download.bin", port=ports)
            lab.undo.callback(server.stop)
        lab.shunt = Shunt(lab, lab_config(*SERVICES, workers=2))
        lab.shunt.start()
        yield lab


@pytest.mark.parametrize("port, backend", REACHED)
def test_connections_reach_the_most_specific_service_of_their_port(ranges_lab, port, backend):
    opener = ranges_lab.opener(VIP, port=port, count=100, rate=200)
    wait_until(lambda: not opener.report()["open"] and opener.report()["requests"] == 100, 20, "100 connections")
    report = opener.finish()
    assert report["failed"] == 0, (report["failed_by"], ranges_lab.shunt.ask("drops"))
    assert report["per_backend"] == {backend: 100} and report["per_backend_ipv6"] == {backend: 50}


def test_connections_and_datagrams_live_while_other_ranges_change(ranges_lab):
    shunt = ranges_lab.shunt
    live = ranges_lab.live(VIP, connections=50, udp_rate=200)
    wait_until(lambda: live.report()["tcp"]["live"] == 50 and live.report()["udp"]["answered"] > 100, 20, "live flows")
    shunt.cli("service", "add", "more", f"{VIP[0]}:8200-8299/tcp", "--yes")
    shunt.cli("backend", "add", "more", backend_address("b3")[0], "--yes")
    assert shunt.ask("service", "show", "more")["service"]["vip"] == [f"{VIP[0]}:8200-8299/tcp"]
    shunt.cli("service", "delete", "more", "--yes")
    report = live.finish()
    assert report["troubles"] == {} and report["udp"]["lost"] == 0, report
    assert set(report["tcp"]["per_backend"]) == set(report["udp"]["per_backend"]) == {"b3"}


def test_explain_names_service_and_port(ranges_lab):
    for port, name, backend, backend_port in ((22, "whole", "b1", 22), (8001, "range", "b2", 8001),
                                              (ONE_PORT, "one", "b3", ONE_PORT), (9001, "fixed", "b2", 80)):
        for vip, client, address in zip(VIP, ("203.0.113.7", "2001:db8:c::7"), backend_address(backend)):
            answer = ranges_lab.shunt.ask("explain", as_target(client, 4711), f"{as_target(vip, port)}/tcp")
            assert (answer["service"], answer["target"]) == (name, as_target(address, backend_port))
    whole = f"{VIP[0]}:*/tcp"
    assert ranges_lab.shunt.ask("service", "show", whole)["service"]["name"] == "whole"
    assert whole in ranges_lab.shunt.ask("service", "show", "whole")["service"]["vip"]


def test_the_kernel_keeps_what_is_no_service(ranges_lab):
    """Ping of the VIP, another protocol of it, and this host's other addresses."""
    for address in BALANCER + VIP:
        ranges_lab.client.run("ping", "-c", "3", "-i", "0.1", "-W", "2", address)
    server = Nginx("own", ranges_lab.network.balancer, ranges_lab.directory / "nginx-own",
                   ranges_lab.directory / "download.bin", port=8001)
    for address in BALANCER:
        assert ranges_lab.client.run("curl", "-sg", "--max-time", "5", f"http://{as_target(address, 8001)}/") == "own\n"
    server.stop()


def test_without_a_data_plane_the_kernel_answers_for_no_port_of_theirs(ranges_lab):
    """Neither reset nor refusal: the steering program drops what is ours, and the guard what it lets through."""
    shunt = ranges_lab.shunt
    assert unbalanced(shunt.settled_workers()) == []
    shunt.kill("dataplane")
    for ports in (WHOLE_PORTS[:2], RANGE_PORTS[:1], (ONE_PORT, LIVE_PORT)):
        for port in ports:
            for vip in VIP:
                url = f"http://{as_target(vip, port)}/"
                done = ranges_lab.client.run("sh", "-c", f"curl -sg --max-time 0.3 '{url}' || echo $?")
                assert done == "28\n", f"port {port} of {vip}: timed out is 28, refused 7"
    shunt.start_dataplane()
    shunt.wait_serving()
    opener = ranges_lab.opener(VIP, port=22, count=20, rate=200)
    wait_until(lambda: opener.report()["answered"] == 20, 20, "20 connections")
