"""Planned upgrades of the data plane under live connections, those that fail, and the supervisor."""

import json
import os
import signal
import time
from pathlib import Path
from threading import Thread

import pytest
from lab.namespace import CommandFailed
from lab.network import VIP
from lab.shunt import BUILD, CliFailed, unbalanced
from lab.waiting import wait_until

from tests.system.conftest import repeats

CONNECTIONS = 100
UPGRADES = repeats(2, 20)
KILLS = repeats(2, 20)
GAP_MS = 50
OUTAGE_MS = 500


@pytest.fixture
def shunt(lab):
    """The shared instance, with its data plane under the supervisor and test hooks."""
    shunt = lab.shunt
    shunt.daemons["dataplane"].stop()
    os.environ["SHUNT_TEST_HOOKS"] = "1"
    shunt.options["dataplane"] = ["--supervise"]
    config = shunt.config
    shunt.start_dataplane()
    shunt.wait_serving()
    yield shunt
    shunt.write_config(config)
    shunt.daemons["dataplane"].stop()
    del shunt.options["dataplane"], os.environ["SHUNT_TEST_HOOKS"]
    shunt.start_dataplane()


@pytest.fixture
def live(lab, shunt):
    """Live connections and datagrams that must not notice anything, whatever the test does."""
    load = lab.live(VIP, connections=CONNECTIONS, udp_rate=1000, udp_patience=10, patience=30)
    wait_until(lambda: load.report()["tcp"]["live"] == CONNECTIONS, 30, f"{CONNECTIONS} live connections")
    load.backends = load.report()["tcp"]["per_backend"]
    assert len(load.backends) == 3
    yield load
    go_on(load)
    last = load.finish(60)
    assert last["troubles"] == {}, last
    assert last["tcp"]["live"] == CONNECTIONS and last["tcp"]["per_backend"] == load.backends
    assert not unbalanced(shunt.settled_workers())


def go_on(live):
    """Every connection exchanges twenty more messages."""
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 20, 30, "20 more messages on each connection")


def outage(live, action):
    """For how long no datagram was answered because of `action`, in milliseconds."""
    live.ask("mark")
    action()
    go_on_from = live.report()["udp"]["answered"]
    wait_until(lambda: live.report()["udp"]["answered"] > go_on_from + 200, 10, "datagrams to be answered again")
    return live.report()["udp"]["outage_ms"]


def pid_of(shunt):
    return int((shunt.run_dir / "dataplane.ready").read_text())


def wait_ready(shunt, before):
    wait_until(lambda: (shunt.run_dir / "dataplane.ready").exists() and pid_of(shunt) != before, 10,
               f"another process than {before} to be ready")


def program(lab, name, text):
    path = lab.directory / name
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return path


def refused(shunt, *words):
    """`shunt upgrade` is refused, and says why; the same process serves on."""
    before = pid_of(shunt)
    with pytest.raises(CliFailed) as failure:
        shunt.cli("upgrade", "--json", *map(str, words))
    assert pid_of(shunt) == before
    assert failure.value.code == 1
    return failure.value.answer["error"]["message"]


def test_upgrades_lose_no_packet_and_no_connection(shunt, live):
    gaps, outages = [], []
    for _ in range(UPGRADES):
        before, answers = pid_of(shunt), []
        outages.append(outage(live, lambda: answers.append(shunt.ask("upgrade"))))
        wait_ready(shunt, before)
        assert answers[0]["pid"] == pid_of(shunt)
        assert any(f"process {pid_of(shunt)} took over" in event["text"] for event in shunt.ask("events")["events"])
        gaps.append(answers[0]["gap_ms"])
        go_on(live)
    assert max(gaps) <= GAP_MS, gaps
    assert min(outages) <= GAP_MS and max(outages) <= 2 * GAP_MS, outages  # of a machine that may be busy itself
    assert live.report()["udp"]["lost"] == 0


def test_a_successor_of_another_shape_takes_over_the_flows(lab, shunt, live):
    config, regions = shunt.config, shunt.run_dir / "shm"
    more = {**config, "dataplane": {**config["dataplane"], "flows": 4 * config["dataplane"].get("flows", 1 << 20)}}
    for wanted in (more, config):
        shunt.write_config(wanted)
        assert shunt.ask("upgrade")["gap_ms"] <= GAP_MS
        go_on(live)
    assert live.report()["udp"]["lost"] == 0
    before = set(regions.glob("state.*"))
    shunt.write_config(more)
    dies = program(lab, "dies", f'SHUNT_TEST_DIE_AT=prepared exec {BUILD}/shunt-dataplane "$@"\n')
    refused(shunt, "--program", dies)
    shunt.write_config(config)
    wait_until(lambda: set(regions.glob("state.*")) <= before, 10, "what it had prepared to be removed")


def test_a_successor_that_cannot_be_is_given_up(lab, shunt, live):
    assert "cannot be executed" in refused(shunt, "--program", "/nowhere/shunt-dataplane")
    assert "exit code 1 before it was ready" in refused(shunt, "--program", "/bin/false")
    slow = program(lab, "slow", "exec sleep 100\n")
    assert "was not ready in time" in refused(shunt, "--timeout", "1", "--program", slow)
    killed = program(lab, "killed", "kill -9 $$\n")
    assert "was killed by signal 9" in refused(shunt, "--program", killed)
    config = shunt.config
    two = {**config, "dataplane": {**config["dataplane"], "workers": 2}}
    two["dataplane"]["port"] = [{**two["dataplane"]["port"][0], "queues": 2}]
    shunt.write_config(two)
    assert "receive queues" in refused(shunt)
    shunt.config_file.write_text("version = \n")
    assert "shunt.toml:1" in refused(shunt)
    shunt.write_config(config)
    assert "no upgrade" in shunt.ask("events")["events"][-1]["text"]
    assert shunt.ask("upgrade")["gap_ms"] <= GAP_MS  # all this stands in no one's way


@pytest.mark.parametrize("step, goes_on", [("prepared", True), ("ready", False), ("stopped", False),
                                            ("adopted", False), ("bound", False), ("forwarding", False)])
def test_a_successor_that_dies_at_any_step_breaks_nothing(lab, shunt, live, step, goes_on):
    dying = program(lab, "dying", f"SHUNT_TEST_DIE_AT={step} exec {BUILD}/shunt-dataplane \"$@\"\n")
    before, said = pid_of(shunt), []
    took = outage(live, lambda: said.append(shunt.call("upgrade", "--json", "--program", str(dying))))
    assert said[0].returncode == 1, said[0].stdout
    assert pid_of(shunt) == before  # it went on, or started over as the same process
    message = json.loads(said[0].stdout)["error"]["message"]
    assert ("exit code 99" in message) if goes_on else ("started over" in message), message
    assert took <= (GAP_MS * 2 if goes_on else OUTAGE_MS), took


def test_one_upgrade_at_a_time(lab, shunt):
    slow = program(lab, "slow", "exec sleep 100\n")
    first = Thread(target=shunt.call, args=("upgrade", "--timeout", "2", "--program", str(slow)))
    first.start()
    wait_until(lambda: "upgrades the data plane" in shunt.ask("events")["events"][-1]["text"], 5, "the first one to begin")
    assert "is under way" in refused(shunt)
    first.join()


def test_nothing_to_upgrade(lab, shunt):
    shunt.daemons["dataplane"].stop()
    with pytest.raises(CliFailed) as failure:
        shunt.cli("upgrade", "--json")
    assert failure.value.code == 1 and "no data plane" in failure.value.answer["error"]["message"]
    shunt.start_dataplane()


def test_a_dry_run_changes_nothing(shunt):
    before = pid_of(shunt)
    assert shunt.call("upgrade", "--dry-run").returncode == 4
    assert pid_of(shunt) == before


def test_the_supervisor_starts_it_again_and_follows_an_upgrade(shunt, live):
    for number in range(KILLS):
        if number % 2 == 1:
            before = pid_of(shunt)
            shunt.ask("upgrade")
            wait_ready(shunt, before)
        lived_since, before = time.monotonic(), pid_of(shunt)
        wait_until(lambda: time.monotonic() > lived_since + 1.2, 5, "it to have lived")
        assert outage(live, lambda: os.kill(before, signal.SIGKILL) or wait_ready(shunt, before)) <= OUTAGE_MS
        go_on(live)


def test_a_crash_loop_backs_off_and_ends_when_the_cause_is_gone(shunt):
    config, supervisor = shunt.config, shunt.daemons["dataplane"]
    began = len(supervisor.log.read_text())
    shunt.config_file.write_text("version = \n")
    os.kill(pid_of(shunt), signal.SIGKILL)
    for wait in ("in 100 ms", "in 200 ms", "in 400 ms"):
        wait_until(lambda: wait in supervisor.log.read_text()[began:], 10, f"the supervisor to start it {wait}")
    (shunt.run_dir / "dataplane.ready").unlink(missing_ok=True)
    shunt.write_config(config)
    wait_until((shunt.run_dir / "dataplane.ready").exists, 10, "the data plane to be ready again")


def test_term_ends_the_supervisor_and_the_data_plane(shunt):
    before = pid_of(shunt)
    shunt.ask("upgrade")
    wait_ready(shunt, before)
    after = pid_of(shunt)
    assert shunt.daemons["dataplane"].stop() == 0
    assert not Path(f"/proc/{after}").exists() and not Path(f"/proc/{before}").exists()
    shunt.start_dataplane()


def test_a_first_start_that_is_refused_is_not_repeated(lab, shunt):
    config = shunt.config
    shunt.daemons["dataplane"].stop()
    shunt.config_file.write_text("version = \n")
    with pytest.raises(CommandFailed, match="shunt.toml:1"):
        lab.network.balancer.run(*map(str, shunt.command("dataplane")))
    shunt.write_config(config)
    shunt.start_dataplane()
