"""[dataplane] is read when the data plane starts: until then a changed one is told, and touches no traffic."""

import copy

import pytest
from lab.config import to_toml
from lab.network import VIP
from lab.waiting import wait_until


@pytest.fixture
def applied(lab):
    """Applies a changed configuration, and in the end the old one again."""
    shunt, path = lab.shunt, lab.directory / "other.toml"

    def apply(change):
        config = copy.deepcopy(shunt.config)
        change(config["dataplane"])
        path.write_text(to_toml(config))
        shunt.cli("config", "apply", str(path))

    yield apply
    shunt.cli("config", "apply", str(shunt.config_file))


def warnings(shunt):
    return [warning for warning in shunt.ask("status")["warnings"] if "[dataplane]" in warning]


def test_a_port_that_does_not_run_yet_takes_no_traffic_away(lab, applied):
    assert warnings(lab.shunt) == []
    opener = lab.opener(VIP, rate=100)
    applied(lambda dataplane: dataplane["port"][0].update(name="wan0", af_xdp="eth7"))
    told = warnings(lab.shunt)
    before = opener.report()["requests"]
    wait_until(lambda: opener.report()["answered"] > before + 50, 10, "what was opened since to be answered")
    report = opener.finish()
    assert len(told) == 1 and "lan0 on lan0, not wan0 on eth7" in told[0]
    assert report["failed"] == 0


def test_other_workers_than_desired_are_told(lab, applied):
    def two(dataplane):
        dataplane["workers"] = dataplane["port"][0]["queues"] = 2

    applied(two)
    told = warnings(lab.shunt)
    assert len(told) == 1 and "workers than [dataplane] says: 1, not 2" in told[0]
