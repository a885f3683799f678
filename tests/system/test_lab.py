"""The laboratory itself, without Shunt: it works, it cleans up, and its instruments see what they must see."""

import os
import signal
import subprocess
import socket
import sys
from ipaddress import ip_network
from pathlib import Path

import pytest
from lab.frames import SYN, Tuple, Wire, packet
from lab.laboratory import remove
from lab.network import BACKENDS, CROWD_PREFIXES, LIVE_PORT, VIP, backend_address
from lab.process import LAB_ROOT, Instrument
from lab.waiting import wait_until
from lab.wrk import socket_errors

from tests.support.faulty_backend import FaultyBackend

LAB_PROGRAM = """
import signal
from lab.laboratory import Lab
with Lab() as lab:
    lab.start_echo()
    print(lab.directory, lab.network.name, flush=True)
    {ending}
"""


def start_lab_program(ending):
    """A laboratory in a process of its own: (process, its directory, the beginning of its namespaces' names)."""
    program = subprocess.Popen([sys.executable, "-c", LAB_PROGRAM.format(ending=ending)], stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, env={**os.environ, "PYTHONPATH": str(LAB_ROOT)})
    directory, name = program.stdout.readline().split()
    return program, directory, name


def namespaces(name):
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    return [line.split()[0] for line in listed.splitlines() if line.startswith(f"{name}-")]


def processes_of(directory):
    """Processes whose command line names the laboratory's directory, as those of nginx do."""
    listed = subprocess.run(["pgrep", "-f", directory], capture_output=True, text=True, check=False).stdout
    return listed.split()


@pytest.mark.parametrize("number", [None, signal.SIGINT, signal.SIGTERM])
def test_a_laboratory_that_fails_or_is_interrupted_leaves_nothing(number):
    program, directory, name = start_lab_program("signal.pause()" if number else "raise RuntimeError")
    assert number is None or len(namespaces(name)) == 6
    if number:
        program.send_signal(number)
    assert program.wait(30) != 0
    program.stdout.close()
    assert not namespaces(name)
    assert not os.path.exists(directory)
    assert not processes_of(directory)


def test_a_laboratory_whose_owner_was_killed_leaves_no_process_and_can_be_removed():
    program, directory, name = start_lab_program("signal.pause()")
    program.kill()
    program.wait(10)
    program.stdout.close()
    wait_until(lambda: not processes_of(directory), 10, "the processes of the laboratory to end")
    assert len(namespaces(name)) == 6
    remove(Path(directory))
    assert not namespaces(name) and not os.path.exists(directory)


def test_the_client_reaches_every_backend_through_the_balancer(plain_lab):
    for name in BACKENDS:
        for address in backend_address(name):
            host = f"[{address}]" if ":" in address else address
            assert plain_lab.client.run("curl", "-sg", "--max-time", "5", f"http://{host}/") == f"{name}\n"
            assert "ttl=63" in plain_lab.client.run("ping", "-c", "1", "-W", "2", address)


def test_the_opener_counts_who_answered_and_what_failed(plain_lab):
    both = backend_address("b1") + backend_address("b2")
    opener = plain_lab.opener(both, count=400, rate=2000)
    wait_until(lambda: opener.report()["answered"] == 400, 20, "400 answers")
    report = opener.finish()
    assert (report["requests"], report["failed"]) == (400, 0)
    assert report["per_backend"] == {"b1": 200, "b2": 200}
    assert report["ipv6_requests"] == 200 and report["per_backend_ipv6"] == {"b1": 100, "b2": 100}


def test_the_opener_sees_a_dead_and_a_silent_server(plain_lab):
    nginx = plain_lab.nginx["b3"]
    opener = plain_lab.opener(backend_address("b3"), rate=100, timeout=1)
    wait_until(lambda: opener.report()["answered"] > 20, 10, "answers")
    nginx.freeze()
    wait_until(lambda: opener.report()["failed_by"].get("timed_out", 0) > 20, 10, "silence to be seen")
    nginx.thaw()
    answered = opener.report()["answered"]
    wait_until(lambda: opener.report()["answered"] > answered + 20, 10, "answers again")
    nginx.kill()
    wait_until(lambda: opener.report()["failed_by"].get("refused", 0) > 20, 10, "death to be seen")
    nginx.start()
    report = opener.finish()
    assert report["requests"] == report["answered"] + report["failed"]
    assert all(failure["opened"] < failure["failed"] for failure in report["failures"])


def test_the_opener_sees_a_wrong_status(plain_lab):
    report = plain_lab.opener(backend_address("b1"), count=20, path="/nothing").finish()
    assert report["answered"] == 0 and report["failed_by"] == {"not_200": report["requests"]}


def test_wrk_without_errors_and_with(plain_lab):
    good = plain_lab.wrk(backend_address("b1")[0], seconds=1).finish()
    assert good["requests"] > 100 and not any(good["errors"].values())
    backend = plain_lab.network.backends["b2"]
    before = backend.counters()["opened"]
    wrk = plain_lab.wrk(backend_address("b2")[0], seconds=2, connections=8)
    wait_until(lambda: backend.counters()["opened"] >= before + 8, 5, "wrk's connections")
    plain_lab.nginx["b2"].kill()
    assert any(wrk.finish()["errors"].values())
    plain_lab.nginx["b2"].start()


def test_what_wrk_prints_of_errors_is_read():
    text = "  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n"
    assert socket_errors(text) == {"connect": 1, "read": 2, "write": 3, "timeout": 4, "status": 5}
    assert not any(socket_errors("  1206 requests in 1.00s, 1MB read\n").values())


def test_a_thousand_live_connections_and_a_thousand_datagrams_a_second(plain_lab):
    echoes = plain_lab.start_echo()
    live = plain_lab.live(backend_address("b1"), connections=1000, udp_rate=1000)
    wait_until(lambda: live.report()["tcp"]["live"] == 1000, 20, "1,000 live connections")
    wait_until(lambda: exchanges_a_second(live, 15) > 5, 60, "five exchanges a second on each")
    last = live.finish()
    assert last["troubles"] == {}
    assert last["udp"]["lost"] == 0 and last["udp"]["sent"] == last["udp"]["answered"]
    told = echoes["b1"].report()
    assert told["udp_messages"] == last["udp"]["sent"] and told["tcp_messages"] == last["tcp"]["exchanges"]


def exchanges_a_second(live, number):
    """Of the slowest connection, over as long as it takes for `number` of them; other work may slow them for a while."""
    live.ask("mark")
    report = wait_until(lambda: (said := live.report())["tcp"]["least_since_mark"] >= number and said, 30,
                        f"{number} exchanges on each")
    return report["tcp"]["least_since_mark"] / report["seconds_since_mark"]


def live_against(faulty, log, *arguments):
    target = f"127.0.0.1:{faulty.port}"
    return Instrument("live", [f"--tcp={target}", f"--udp={target}", "--udp-rate=200", "--udp-flows=2",
                               "--connections=5", "--patience=1", "--udp-patience=1", *arguments], log)


@pytest.mark.parametrize("fault, seen", [
    ("reset", "reset"), ("close", "closed"), ("silence", "timed_out"), ("rename", "changed_backend"),
    ("renumber", "wrong_number"), ("repeat", "wrong_number"), ("swap", "wrong_number")])
def test_a_faulty_reply_on_one_of_five_connections_is_seen(tmp_path, fault, seen):
    with FaultyBackend(tcp_fault=fault) as faulty:
        live = live_against(faulty, tmp_path / "live.log")
        wait_until(lambda: live.report()["troubles"].get(seen), 10, seen)
        last = live.finish()
    assert last["troubles"] == {seen: 1}
    assert last["tcp"]["live"] == 4
    assert last["udp"]["lost"] == 0


@pytest.mark.parametrize("fault, seen", [
    ("repeat", "datagram_duplicated"), ("rename", "datagram_changed_backend"), ("swap", "datagram_of_another_flow")])
def test_a_faulty_datagram_is_seen(tmp_path, fault, seen):
    with FaultyBackend(udp_fault=fault) as faulty:
        live = live_against(faulty, tmp_path / "live.log")
        wait_until(lambda: live.report()["troubles"].get(seen), 10, seen)
        assert set(live.finish()["troubles"]) <= {seen, "datagram_changed_backend"}


def test_one_lost_datagram_is_seen(tmp_path):
    with FaultyBackend(udp_fault="silence") as faulty:
        live = live_against(faulty, tmp_path / "live.log")
        wait_until(lambda: live.report()["udp"]["lost"], 10, "the loss to be noticed")
        last = live.finish()
    assert last["udp"]["lost"] == 1 and last["udp"]["sent"] == last["udp"]["answered"] + 1
    assert last["troubles"] == {}


def test_hand_made_frames_arrive_as_sent(plain_lab):
    """Through the balancer as a router: the checksums are right, and captures see what arrives."""
    client, backend = Wire(plain_lab.client), Wire(plain_lab.network.backends["b1"])
    balancer = Wire(plain_lab.network.balancer, "lan0")
    sources = [str(next(ip_network(prefix).hosts())) for prefix in CROWD_PREFIXES]
    flows = [Tuple(source, 40000 + number, target, 443, protocol) for number in range(20)
             for source, target in zip(sources, backend_address("b1")) for protocol in ("tcp", "udp")]
    for flow in flows:
        client.send(balancer.mac, packet(flow, SYN, b"odd"))
    seen = []
    wait_until(lambda: seen.extend(backend.arrived()) or len(set(seen) & set(flows)) == len(flows), 5, "all frames")
    for wire in (client, backend, balancer):
        wire.close()


def test_packets_of_the_services_are_counted_where_they_are_sent(plain_lab):
    before = plain_lab.network.sent_to_balancer()
    with plain_lab.client.entered():
        for vip in VIP:
            with socket.socket(socket.AF_INET6 if ":" in vip else socket.AF_INET, socket.SOCK_DGRAM) as sender:
                for _ in range(50):
                    sender.sendto(b"x", (vip, LIVE_PORT))
    assert plain_lab.network.sent_to_balancer() == before + 100
