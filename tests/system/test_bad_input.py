"""Bad input is refused with its place and a remedy, and nothing that runs notices."""

import copy
import json
import re
import subprocess

import pytest
from lab.config import lab_config, live_service, to_toml, web_service
from lab.namespace import cable, run
from lab.network import VIP
from lab.shunt import BUILD
from lab.waiting import wait_until

ERROR_KEYS = {"message", "file", "line", "column", "key", "remedy"}


def good_config():
    return lab_config(web_service(), live_service())


def text_with(change):
    """The configuration of the laboratory as text, after `change` was made to its dictionary."""
    config = copy.deepcopy(good_config())
    change(config)
    return to_toml(config)


def unknown_key(config):
    config["service"][0]["schedular"] = "maglev"


def wrong_type(config):
    config["service"][0]["table_size"] = "65537"


def duplicate_service(config):
    config["service"][1]["name"] = "web"


def duplicate_vip(config):
    config["service"][1]["vip"].append(config["service"][0]["vip"][0])


def not_prime(config):
    config["service"][0]["table_size"] = 1000


def weight_out_of_range(config):
    config["service"][0]["backend"][2]["weight"] = 1001


def useless_backend(config):
    config["service"][0]["vip"] = config["service"][0]["vip"][:1]  # IPv4 only: its IPv6 backends are of no use


def affinity_that_cannot_be_kept(config):
    config["service"][0] |= {"scheduler": "round-robin", "affinity": "source"}


def flows_that_are_not_remembered(config):
    config["service"][0] |= {"vip": ["198.18.0.10:53/udp"], "scheduler": "least-connections", "flows": "off"}
    config["service"][0]["backend"] = [{"address": "198.18.2.90"}]


def load_factor_of_nothing(config):
    config["service"][0]["load_factor"] = 1.25


def load_factor_too_small(config):
    config["service"][0] |= {"scheduler": "maglev-bounded", "load_factor": 0.9}


def weights_of_nothing(config):
    for backend in config["service"][0]["backend"]:
        backend["weight"] = 0


# What is wrong, a word of the line that must be named, and words that the answer must contain.
MISTAKES = [
    (unknown_key, "schedular", ["schedular", "scheduler"]),
    (wrong_type, "table_size", ["table_size", "number"]),
    (duplicate_service, None, ["web"]),
    (duplicate_vip, None, ["198.18.0.10:80/tcp"]),
    (not_prime, "table_size", ["1000", "prime"]),
    (weight_out_of_range, "1001", ["1001", "1000"]),
    (useless_backend, None, ["2001:db8:2::1"]),
    (affinity_that_cannot_be_kept, "affinity", ["round-robin", "maglev"]),
    (flows_that_are_not_remembered, "scheduler", ["least-connections", "flows"]),
    (load_factor_of_nothing, "load_factor", ["load_factor", "maglev-bounded"]),
    (load_factor_too_small, "load_factor", ["0.9", "1.01"]),
    (weights_of_nothing, None, ["web", "0", "drain"]),
]


@pytest.fixture(params=MISTAKES, ids=lambda mistake: mistake[0].__name__)
def mistake(request, tmp_path):
    change, word, words = request.param
    file = tmp_path / "bad.toml"
    file.write_text(text_with(change))
    line = next((number for number, text in enumerate(file.read_text().splitlines(), 1) if word and word in text), None)
    return file, line, words


def judge(error, said, file, line, words):
    """An error document and its sentence say what, where and what to do."""
    assert set(error) >= ERROR_KEYS
    assert error["file"] == str(file) and isinstance(error["line"], int) and isinstance(error["column"], int)
    assert line is None or error["line"] == line
    assert error["remedy"]
    assert f"{file}:{error['line']}:{error['column']}: " in said
    everything = f"{error['message']} {error['remedy']} {error['key']}"
    assert all(word in everything for word in words), everything


def test_a_mistake_in_a_file_is_refused_with_its_place(mistake):
    file, line, words = mistake
    done = subprocess.run([BUILD / "shunt", "config", "check", file, "--json"], capture_output=True, text=True)
    assert done.returncode == 1
    judge(json.loads(done.stdout)["error"], done.stderr, file, line, words)


def test_a_mistake_is_refused_by_the_running_instance_and_changes_nothing(shunt, mistake):
    file, line, words = mistake
    before = shunt.hashes(), shunt.passed_generation()
    done = shunt.call("config", "apply", str(file), "--yes", "--json")
    assert done.returncode == 1
    judge(json.loads(done.stdout)["error"], done.stderr, file, line, words)
    assert (shunt.hashes(), shunt.passed_generation()) == before


def test_a_mistake_keeps_both_daemons_from_starting(mistake, tmp_path):
    file, _, _ = mistake
    done = run_daemon("controlplane", file, tmp_path)
    assert done.returncode == 1
    assert f"{file}:" in done.stderr
    assert not (tmp_path / "controlplane.ready").exists()


def run_daemon(which, file, directory, prefix=()):
    """Runs a daemon that is expected to refuse to start, in directories of its own."""
    state = ["--state-dir", directory] if which == "controlplane" else []
    return subprocess.run([*prefix, BUILD / f"shunt-{which}", "--config", file, "--run-dir", directory, *state],
                          capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("which", ["dataplane", "controlplane"])
def test_a_missing_and_an_unreadable_file_are_named(which, tmp_path):
    missing = tmp_path / "nothing.toml"
    done = run_daemon(which, missing, tmp_path)
    assert done.returncode == 1 and str(missing) in done.stderr
    done = run_daemon(which, tmp_path, tmp_path)  # a directory: cannot be read as a file
    assert done.returncode == 1 and str(tmp_path) in done.stderr


def test_the_tool_names_a_missing_file(tmp_path):
    missing = tmp_path / "nothing.toml"
    done = subprocess.run([BUILD / "shunt", "config", "check", missing, "--json"], capture_output=True, text=True)
    assert done.returncode == 1
    error = json.loads(done.stdout)["error"]
    assert error["file"] == str(missing) and error["remedy"] and set(error) >= ERROR_KEYS


@pytest.mark.parametrize("program", ["shunt", "shunt-dataplane", "shunt-controlplane"])
def test_wrong_usage_ends_with_2(program):
    assert subprocess.run([BUILD / program, "--no-such-option"], capture_output=True).returncode == 2


def test_a_daemon_that_is_not_there_is_said_so(tmp_path):
    done = subprocess.run([BUILD / "shunt", "-s", tmp_path / "api.sock", "status"], capture_output=True, text=True)
    assert done.returncode == 3 and str(tmp_path / "api.sock") in done.stderr


# The data plane and its port

def refused_dataplane(lab, tmp_path, config, prefix=()):
    """Starts a data plane in the balancer's namespace that must refuse; returns what it said."""
    file = tmp_path / "shunt.toml"
    file.write_text(to_toml(config))
    done = run_daemon("dataplane", file, tmp_path, [*lab.network.balancer.prefix, *prefix])
    assert done.returncode == 1, done.stderr
    assert not (tmp_path / "dataplane.ready").exists()
    return done.stderr


@pytest.fixture
def spare_interface(plain_lab):
    """A second cable of the balancer, with two channels."""
    network = plain_lab.network
    cable(network.balancer, "spare0", network.switch, "to-spare0", queues=2)
    yield "spare0"
    network.balancer.ip("link", "del", "spare0")


def test_a_wrong_channel_count_is_refused_with_the_command_that_helps(plain_lab, tmp_path, spare_interface):
    said = refused_dataplane(plain_lab, tmp_path, lab_config(web_service(), interface=spare_interface))
    assert spare_interface in said and "ethtool -L" in said
    assert "prog" not in plain_lab.network.balancer.run("ip", "link", "show", spare_interface)


@pytest.fixture
def tiny_directory(tmp_path):
    """A run directory in a file system of 8 MiB."""
    directory = tmp_path / "tiny"
    directory.mkdir()
    run(["mount", "-t", "tmpfs", "-o", "size=8m", "tiny", str(directory)])
    yield directory
    run(["umount", str(directory)])


def test_too_little_memory_is_refused_with_figures(plain_lab, tiny_directory, spare_interface):
    config = lab_config(web_service(), interface=spare_interface, workers=2)
    config["dataplane"]["flows"] = 1_000_000
    said = refused_dataplane(plain_lab, tiny_directory, config)
    assert len(re.findall(r"\d+ MiB", said)) >= 2, "what is needed, and what is there"
    assert str(tiny_directory) in said and ";" in said


# A second instance, and a newer layout

@pytest.fixture
def undisturbed(lab):
    """Live connections and datagrams run through the first instance meanwhile, and none of them may notice."""
    live = lab.live(VIP, connections=100, udp_rate=500)
    wait_until(lambda: live.report()["tcp"]["live"] == 100, 20, "100 live connections")
    steering = steering_program(lab)
    yield
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 20, 20, "twenty more messages on each")
    last = live.finish()
    assert last["troubles"] == {} and last["udp"]["lost"] == 0 and last["tcp"]["live"] == 100
    assert steering_program(lab) == steering


def steering_program(lab):
    """The id of the program on the interface."""
    return json.loads(lab.network.balancer.run("ip", "-j", "link", "show", "lan0"))[0]["xdp"]["prog"]["id"]


def test_a_second_data_plane_in_the_same_run_directory_is_refused(shunt, undisturbed):
    done = subprocess.run([*shunt.lab.network.balancer.prefix, *shunt.command("dataplane")], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 1 and str(shunt.run_dir) in done.stderr
    assert (shunt.run_dir / "dataplane.ready").exists()


def test_a_second_control_plane_in_the_same_run_directory_is_refused(shunt, undisturbed):
    done = subprocess.run([*shunt.lab.network.balancer.prefix, *shunt.command("controlplane")], capture_output=True,
                          text=True, timeout=20)
    assert done.returncode == 1 and str(shunt.run_dir) in done.stderr
    assert shunt.hashes()


def test_a_second_data_plane_on_the_same_interface_is_refused(lab, tmp_path, undisturbed):
    assert "lan0" in refused_dataplane(lab, tmp_path, good_config())


def test_tables_of_a_newer_layout_are_refused_and_kept(lab):
    """With the version set back everything goes on as it was."""
    shunt, file = lab.shunt, lab.shunt.run_dir / "shm" / "tables"
    hashes = shunt.hashes()
    shunt.kill("controlplane")
    ours = add_to_version(file, 1)
    try:
        done = subprocess.run([*lab.network.balancer.prefix, *shunt.command("controlplane")], capture_output=True,
                              text=True, timeout=20)
        assert done.returncode == 1
        assert str(file) in done.stderr and "newer than the one this program knows" in done.stderr
    finally:
        assert add_to_version(file, -1) == ours + 1
        shunt.start_controlplane()
    assert shunt.hashes() == hashes


def add_to_version(file, change):
    """Changes the layout version in the header of a tables region; returns what it was."""
    version_at = 56  # of TablesHeader::version
    with open(file, "r+b") as region:
        region.seek(version_at)
        version = int.from_bytes(region.read(4), "little")
        assert 0 < version < 100, f"no layout version at this offset: {version}"
        region.seek(version_at)
        region.write((version + change).to_bytes(4, "little"))
    return version
