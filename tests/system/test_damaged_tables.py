"""Whatever befalls the tables file: the data plane forwards by its own copy, and the control plane makes the file again."""

from random import Random

import pytest
from lab.damage import DAMAGES, strike_tables, tables_file
from lab.network import VIP
from lab.waiting import wait_until

from tests.system.conftest import repeats

CONNECTIONS = 100
ROUNDS = repeats(1, 20)


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


def test_a_tables_file_that_is_damaged_or_lost_costs_no_connection(lab, undisturbed):
    shunt, random = lab.shunt, Random(5)
    for _ in range(ROUNDS):
        for name, damage in DAMAGES.items():
            struck = strike_tables(shunt, damage, random)
            assert struck["crashes"] == 0 and struck["table_hash_same"], name
            assert warns_of(shunt, "what the data plane had kept of it"), name
            go_on(undisturbed)
            change_and_pass(shunt, 50)  # in the file that was made again
            change_and_pass(shunt, 100)


def test_without_the_copy_ids_start_anew_and_new_connections_are_served(lab):
    """Both files are lost: the flows are given up, loudly, and the running data plane goes on with the new tables."""
    shunt = lab.shunt
    pid = shunt.ask("status")["dataplane"]["pid"]
    hashes = shunt.hashes()
    for file in (tables_file(shunt), tables_file(shunt).with_name("tables.copy")):
        file.unlink()
    shunt.kill("controlplane")
    shunt.start_controlplane()
    shunt.wait_serving()
    opener = lab.opener(VIP, count=300, rate=300)
    wait_until(lambda: opener.report()["answered"] + opener.report()["failed"] >= 300, 20, "300 connections")
    assert opener.finish()["failed"] == 0
    assert shunt.hashes() == hashes and shunt.ask("status")["dataplane"]["pid"] == pid
    assert warns_of(shunt, "are given up")
