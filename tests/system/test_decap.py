"""shunt-decap as an operator meets it: what it says, what stays, and where the driver has no native XDP."""

import configparser
import hashlib
import itertools
import json
import os
import random
import subprocess

import pytest
from conftest import ROOT, opened
from lab.config import lab_config
from lab.laboratory import Lab
from lab.loop import as_target
from lab.modes import BUILD, WAYS, answer_directly, own_the_vips, prepare, service_of
from lab.namespace import CommandFailed, Namespace
from lab.network import BALANCER_INSIDE, VIP, add_addresses, backend_address
from lab.nginx import Nginx
from lab.shunt import Shunt

PROGRAM = str(BUILD / "shunt-decap")
UNIT = ROOT / "scripts/units/shunt-decap@.service"
TUNNEL = ("--mode", "ipip", "--source", "198.18.1.11", "2001:db8:1::/64")
numbers = itertools.count(1)


@pytest.fixture
def backend():
    namespace = Namespace(f"{os.environ.get('SHUNT_TEST_ID', 'shunt')}-{os.getpid()}-decap{next(numbers)}")
    namespace.ip("link", "add", "v0", "type", "veth", "peer", "name", "v1")
    namespace.ip("link", "set", "v0", "up")
    yield namespace
    namespace.close()


def call(namespace, *options, prefix=()):
    """Exit code and what it said."""
    done = subprocess.run([*namespace.prefix, *prefix, PROGRAM, *options], capture_output=True, text=True, timeout=30)
    return done.returncode, done.stdout + done.stderr


def attached(namespace):
    (link,) = json.loads(namespace.ip("-json", "link", "show", "dev", "v0"))
    return link.get("xdp", {}).get("prog", {}).get("id")


@pytest.mark.parametrize("options, complaint", [
    ((), "--device is required"),
    (("--device", "v0"), "what is to be done: --mode with --source, --show, or --detach?"),
    (("--device", "v0", "--mode", "vxlan"), "the kernel does that: ip link add NAME type vxlan id VNI dstport PORT"),
    (("--device", "v0", "--mode", "nat"), "such packets need no undoing on a backend"),
    (("--device", "v0", "--mode", "pigeon"), "it undoes l3dsr, ipip, gre, gue"),
    (("--device", "v0", "--mode", "ipip"), "--mode ipip needs --source: undone is only what comes from there"),
    (("--device", "v0", *TUNNEL, "--dscp", "10=198.18.0.10"), "--mode ipip has no use for --dscp"),
    (("--device", "v0", *TUNNEL, "--port", "6081"), "--mode ipip has no use for --port"),
    (("--device", "v0", *TUNNEL, "--port", "65536"), "not in range 1 to 65535"),
    (("--device", "v0", "--mode", "gre", "--source", "198.18.1.0/33"), "198.18.1.0/33 is neither an address nor"),
    (("--device", "v0", "--mode", "l3dsr", "--source", "::/0"), "--mode l3dsr needs --dscp N=VIP"),
    (("--device", "v0", "--mode", "l3dsr", "--source", "::/0", "--dscp", "64=::1"), "with N from 1 to 63"),
    (("--device", "v0", "--mode", "l3dsr", "--source", "::/0", "--dscp", "7"), "does not say N=VIP"),
    (("--device", "v0", "--mode", "l3dsr", "--source", "::/0", "--dscp", "7=2001:db8::1", "7=2001:db8::2"),
     "--dscp 7 names two VIPs of one family"),
    (("--device", "v0", "--detach", *TUNNEL), "--detach"),
])
def test_misuse_is_refused_and_changes_nothing(backend, options, complaint):
    code, said = call(backend, *options)
    assert code == 2 and complaint in said, said
    assert attached(backend) is None


def test_it_says_what_it_does_and_what_it_put_in_place_stays(backend):
    assert call(backend, "--device", "v0", "--show") == (1, "shunt-decap: v0: nothing is undone here\n")
    assert call(backend, "--device", "v0", *TUNNEL) == (
        0, "v0: ipip from 198.18.1.11, 2001:db8:1::/64 is undone in native XDP; until shunt-decap --device v0 --detach\n")
    first = attached(backend)
    assert first
    code, said = call(backend, "--device", "v0", "--mode", "gue", "--port", "6081", "--source", "198.18.1.11")
    assert code == 0 and "in the place of what was undone before" in said
    assert attached(backend) not in (None, first)
    code, said = call(backend, "--device", "v0", "--show")
    assert code == 0 and said.startswith("v0: native XDP, 0 packets undone, 0 dropped")
    assert call(backend, "--device", "v0", "--detach") == (0, "v0: nothing is undone any more\n")
    assert attached(backend) is None
    assert call(backend, "--device", "v0", "--detach") == (0, "v0: nothing was undone here\n")


def test_what_cannot_be_done_says_why(backend):
    code, said = call(backend, "--device", "v7", *TUNNEL)
    assert code == 1 and "there is no interface v7; the interfaces here are: lo, v1, v0" in said
    code, said = call(backend, "--device", "lo", *TUNNEL)
    assert code == 1 and "interface lo is no Ethernet interface" in said
    code, said = call(backend, "--device", "v0", *TUNNEL, prefix=("setpriv", "--bounding-set=-all"))
    assert code == 1 and "run it as root, or with the capabilities" in said
    assert attached(backend) is None


def test_the_unit_starts_reloads_and_stops_it_with_the_rights_it_has(backend):
    unit = configparser.ConfigParser(strict=False, interpolation=None)
    unit.optionxform = str
    unit.read(UNIT)
    service = unit["Service"]
    rights = ",".join(f"+{name.removeprefix('CAP_').lower()}" for name in service["CapabilityBoundingSet"].split())
    for line, there in (("ExecStart", True), ("ExecReload", True), ("ExecStop", False)):
        words = service[line].replace("/usr/bin/shunt-decap ", "").replace("%I", "v0")
        options = words.replace("$OPTIONS", " ".join(TUNNEL)).split()
        code, said = call(backend, *options, prefix=("setpriv", f"--bounding-set=-all,{rights}"))
        assert code == 0, said
        assert bool(attached(backend)) == there


GENERIC_WAYS = [way for way in WAYS if way.name in ("ipip4", "gre6-key", "gue4", "l3dsr")]


@pytest.fixture(scope="module")
def bridge_lab():
    """The backend's addresses are on a bridge, which has no native XDP."""
    for lab in opened(Lab(backends=("b1",))):
        b1 = lab.network.backends["b1"]
        (link,) = json.loads(b1.ip("-json", "link", "show", "dev", "eth0"))
        b1.ip("link", "add", "bridge0", "address", link["address"], "type", "bridge")
        b1.ip("link", "set", "bridge0", "up")
        b1.ip("addr", "flush", "dev", "eth0")
        b1.ip("link", "set", "eth0", "master", "bridge0")
        add_addresses(b1, "bridge0", backend_address("b1"), (24, 64))
        for gateway in BALANCER_INSIDE:
            b1.ip("route", "replace", "default", "via", gateway)
        own_the_vips(b1)
        answer_directly(b1, "bridge0")
        lab.server = Nginx("bridged", b1, lab.directory / "nginx-bridged", lab.directory / "download.bin",
                           port=[way.service_port for way in GENERIC_WAYS])
        lab.undo.callback(lab.server.stop)
        config = lab_config(*(service_of(way, backend_address("b1")) for way in GENERIC_WAYS))
        config["node"]["source"] = list(BALANCER_INSIDE)
        lab.shunt = Shunt(lab, config)
        lab.shunt.start()
        yield lab


@pytest.mark.parametrize("way", GENERIC_WAYS, ids=[way.name for way in GENERIC_WAYS])
def test_without_native_xdp_it_works_in_generic_xdp(bridge_lab, way):
    lab, b1 = bridge_lab, bridge_lab.network.backends["b1"]
    said = prepare(b1, way, backend_address("b1"), device="bridge0")
    assert "in generic XDP" in said and "the driver refuses native XDP: Operation not supported" in said
    content = random.Random(5).randbytes(1 << 20)
    source = lab.directory / "sent.bin"
    source.write_bytes(content)
    for vip in VIP:
        url = f"http://{as_target(vip, way.service_port)}/files/{way.name}.bin"
        lab.client.run("curl", "-sgf", "--max-time", "20", "-T", str(source), url)
        assert hashlib.sha256((lab.server.files / f"{way.name}.bin").read_bytes()).digest() == \
            hashlib.sha256(content).digest()
    prepare(b1, WAYS[0], backend_address("b1"), device="bridge0")  # nothing is undone any more
    with pytest.raises(CommandFailed):
        lab.client.run("curl", "-sgf", "--max-time", "2", f"http://{as_target(VIP[0], way.service_port)}/")
