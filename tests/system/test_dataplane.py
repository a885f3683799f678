"""shunt-dataplane by itself: what it refuses, in which words, and that nothing that runs is disturbed by it."""

import os
import subprocess

import pytest
from lab.config import lab_config, live_service
from lab.namespace import run
from lab.shunt import Shunt
from lab.waiting import wait_until


@pytest.fixture
def config():
    return lab_config(live_service())


@pytest.fixture
def shunt(plain_lab, config, request):
    instance = Shunt(plain_lab, config, request.node.name.replace("[", "-").strip("]"))
    yield instance
    instance.stop()
    run_to_end(instance, "--detach")


def run_to_end(shunt, *options, prefix=()):
    """Runs the data plane in the balancer's namespace, expecting it to end by itself: (exit code, what it said)."""
    command = [*shunt.lab.network.balancer.prefix, *prefix, *map(str, shunt.command("dataplane")), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    return done.returncode, done.stderr


def refused(shunt, *words, prefix=()):
    code, said = run_to_end(shunt, prefix=prefix)
    assert code == 1, said
    for word in words:
        assert word in said
    assert not (shunt.run_dir / "dataplane.ready").exists() or shunt.running("dataplane")


def attached_program(shunt):
    """The id of the XDP program on lan0, or None."""
    words = shunt.lab.network.balancer.ip("-d", "link", "show", "lan0").split()
    return words[words.index("prog/xdp") + 2] if "prog/xdp" in words else None


def regions(shunt):
    """The file names of one region: its own, and `state` if it is in force."""
    directory = shunt.run_dir / "shm"
    return sorted(path.name for path in directory.glob("state*") if path.samefile(directory / "state"))


def test_the_program_stays_attached_until_it_is_told_to_go(shunt):
    process = shunt.start_dataplane()
    assert (shunt.run_dir / "dataplane.ready").read_text() == f"{process.pid}\n"
    program = attached_program(shunt)
    assert program

    assert process.stop() == 0
    assert not (shunt.run_dir / "dataplane.ready").exists()
    assert attached_program(shunt) == program
    assert run_to_end(shunt, "--detach")[0] == 0
    assert attached_program(shunt) is None
    assert run_to_end(shunt, "--detach")[0] == 0


def test_a_successor_adopts_region_and_program(shunt):
    shunt.start_dataplane()
    program = attached_program(shunt)
    for _ in range(3):
        shunt.kill("dataplane")
        assert attached_program(shunt) == program
        process = shunt.start_dataplane()
        assert attached_program(shunt) == program
        assert regions(shunt) == ["state", "state.1"]
        assert "adopted" in process.log.read_text()


def test_a_second_instance_is_refused_and_the_first_is_not_disturbed(shunt, plain_lab, config):
    process = shunt.start_dataplane()
    program = attached_program(shunt)
    refused(shunt, f"pid {process.pid}", "--run-dir")
    other = Shunt(plain_lab, config, "other-directory")
    refused(other, "lan0 is in use by another shunt-dataplane")
    code, said = run_to_end(shunt, "--detach")
    assert code == 1 and "in use" in said
    assert process.running
    assert attached_program(shunt) == program
    assert (shunt.run_dir / "dataplane.ready").exists()


@pytest.mark.parametrize("change, words", [
    ({"port": [{"name": "lan0", "af_xdp": "lan9"}]}, ["no interface", "lan9", "lan0"]),
    ({"workers": 2, "port": [{"name": "lan0", "af_xdp": "lan0"}]}, ["lan0 has 1 receive queues", "set queues = 1"]),
    ({"cores": "1023"}, ["core 1023", "dataplane.cores"]),
    ({"flows": 1 << 33}, ["flows"]),
    ({"port": [{"name": "lan0", "vdev": "net_nonsense0"}]}, ["net_nonsense0", "driver"]),
    ({"port": [{"name": "lan0", "vdev": "net_null0,nonsense=1"}]}, ["net_null0", "arguments"]),
    ({"port": [{"name": "files", "pcap": {"in": "a", "out": "b", "punt": "c"}, "mac": "02:00:00:00:00:01"}]},
     ["capture files", "next_hop"]),
])
def test_what_cannot_be_is_refused_with_place_and_remedy(shunt, config, change, words):
    config["dataplane"].update(change)
    config["next_hop"] = [{"address": "198.18.2.11", "mac": "02:00:00:00:02:0b",
                           "port": config["dataplane"]["port"][0]["name"]}]
    if "cores" in change:
        del config["dataplane"]["workers"]
        config["dataplane"]["port"][0].pop("queues")
    shunt.write_config(config)
    refused(shunt, str(shunt.run_dir.parent), *words)


def test_too_few_rights_and_too_many_words(shunt):
    shunt.config_file.parent.chmod(0o755)
    os.chmod(shunt.lab.directory, 0o755)
    shunt.run_dir.chmod(0o777)
    refused(shunt, "root", prefix=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
    assert run_to_end(shunt, "--nonsense")[0] == 2
    assert run_to_end(shunt, "--help")[0] == 0


def test_a_region_of_a_newer_layout_is_refused_and_kept(shunt):
    shunt.start_dataplane()
    shunt.kill("dataplane")
    version_at = 136  # of StateHeader::version
    path = shunt.run_dir / "shm" / "state.1"
    with open(path, "r+b") as file:
        file.seek(version_at)
        version = int.from_bytes(file.read(4), "little")
        assert 0 < version < 100
        file.seek(version_at)
        file.write((version + 1).to_bytes(4, "little"))
    refused(shunt, "newer layout", "shm/state")
    assert path.exists()


def test_any_virtual_device_of_dpdk_can_be_a_port(shunt, config):
    config["dataplane"]["port"] = [{"name": "null", "vdev": "net_null0"}]
    shunt.write_config(config)
    assert shunt.start_dataplane().stop() == 0
