"""Whatever befalls the tables file: the data plane forwards by its own copy, and the control plane makes the file again.

Damage of every kind with the control plane killed over it is the experiment region-tables, see test_resilience.py."""

from random import Random

import pytest
from lab.damage import DAMAGES, tables_file
from lab.network import VIP
from lab.waiting import wait_until

CONNECTIONS = 100


@pytest.fixture
def undisturbed(lab):
    """Live connections and datagrams, none of which may notice anything."""
    live = lab.live(VIP, connections=CONNECTIONS, udp_rate=500)
    wait_until(lambda: live.report()["tcp"]["live"] == CONNECTIONS, 30, f"{CONNECTIONS} live connections")
    yield live
    go_on(live)
    last = live.finish()
    assert last["troubles"] == {}, last["first_troubles"]
    assert last["tcp"]["live"] == CONNECTIONS and last["udp"]["lost"] == 0


def go_on(live):
    live.ask("mark")
    wait_until(lambda: live.report()["tcp"]["least_since_mark"] >= 20, 30, "twenty more messages on each")


def change_and_pass(shunt, weight):
    """A change of the tables that all workers take over."""
    shunt.cli("backend", "set", "web/198.18.2.11", "--weight", str(weight))


def warns_of(shunt, words):
    return any(words in warning for warning in shunt.ask("status")["warnings"])


def test_a_live_control_plane_makes_the_file_again(lab, undisturbed):
    shunt, random = lab.shunt, Random(6)
    for name, damage in DAMAGES.items():
        before = tables_file(shunt).stat().st_ino
        damage(tables_file(shunt), random)
        wait_until(lambda: tables_file(shunt).exists() and tables_file(shunt).stat().st_ino != before, 10,
                   f"a new file after {name}")
        change_and_pass(shunt, 50)
        change_and_pass(shunt, 100)
    assert shunt.running("controlplane") and shunt.running("dataplane")


def test_a_data_plane_that_starts_without_tables_forwards_by_what_was_kept_of_them(lab):
    """With no control plane, too; and when that is back, it makes the file again."""
    shunt = lab.shunt
    live = lab.live(VIP, connections=CONNECTIONS, udp=False, patience=30)
    wait_until(lambda: live.report()["tcp"]["live"] == CONNECTIONS, 30, f"{CONNECTIONS} live connections")
    hashes = shunt.hashes()
    for daemon in ("controlplane", "dataplane"):
        shunt.kill(daemon)
    DAMAGES["garbage"](tables_file(shunt), Random(7))
    shunt.start_dataplane()
    go_on(live)
    shunt.start_controlplane()
    assert shunt.hashes() == hashes
    change_and_pass(shunt, 50)
    change_and_pass(shunt, 100)
    go_on(live)
    last = live.finish(60)
    assert last["troubles"] == {} and last["tcp"]["live"] == CONNECTIONS, last


def test_without_the_copy_ids_start_anew_and_new_connections_are_served(lab):
    """Both files are lost: the flows are given up, loudly, and the running data plane goes on with the new tables."""
    shunt = lab.shunt
    pid = shunt.ask("status")["dataplane"]["pid"]
    hashes = shunt.hashes()
    shunt.kill("controlplane")
    tables_file(shunt).unlink()
    with open(tables_file(shunt).with_name("tables.copy"), "r+b") as copy:
        copy.write(bytes(8))  # what says that it is one
    shunt.start_controlplane()
    shunt.wait_serving()
    opener = lab.opener(VIP, count=300, rate=300)
    wait_until(lambda: opener.report()["answered"] + opener.report()["failed"] >= 300, 20, "300 connections")
    assert opener.finish()["failed"] == 0
    assert shunt.hashes() == hashes and shunt.ask("status")["dataplane"]["pid"] == pid
    assert warns_of(shunt, "are given up")
