"""scripts/bench: its document is as promised, every goal it measured is judged, and what it took is given back."""

import json
import subprocess
from pathlib import Path

import pytest

from lab.bench_profile import by_step

ROOT = Path(__file__).resolve().parents[2]
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
KEYS = {"name", "unit", "value", "cycles_per_packet", "floor", "ratio", "spread", "runs"}


def bench(*options):
    return subprocess.run(["scripts/bench", *options], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", [("--case", "nat4/flows=10k"), ("--af-xdp", "--case", "af_xdp/nat4/flows=10k")])
def test_document(options):
    pages = HUGE_PAGES.read_text()
    run = bench("--json", "--runs", "11", *options)
    assert run.returncode in (0, 1), run.stderr
    document = json.loads(run.stdout)
    assert {"cpu", "tsc_mhz", "hugepages"} <= set(document["machine"])
    (case,) = document["cases"]
    assert KEYS <= set(case)
    assert case["name"] == options[-1] and case["unit"] == "cycles_per_packet" and case["runs"] == 11
    assert 0 < case["floor"] < case["value"] == case["cycles_per_packet"]
    assert HUGE_PAGES.read_text() == pages
    assert "promised" in run.stderr or "--af-xdp" in options


def test_comparison(tmp_path):
    older = tmp_path / "older.json"
    older.write_text(json.dumps({"cases": [{"name": "floor", "value": 1.0}]}))
    run = bench("--runs", "11", "--case", "floor", "--compare", str(older))
    assert run.returncode == 0, run.stderr
    line = next(line for line in run.stdout.splitlines() if line.startswith("floor"))
    assert line.split()[1] == line.split()[-1]  # so many times as much as 1


@pytest.mark.parametrize("options", [("--case", "nothing"), ("--compare", "/dev/null"), ("--unknown",)])
def test_usage(options):
    assert bench(*options).returncode == 2


def test_a_profile_counts_what_a_function_did_itself_and_names_its_step(tmp_path):
    out = tmp_path / "callgrind.out"
    out.write_text("""events: Ir
fn=(1) void shunt::dataplane::detail::pass<shunt::dataplane::Forward>(shunt::dataplane::Batch&)
10 60
cfn=(2) shunt::dataplane::clamp_mss(shunt::dataplane::Lane&, unsigned short)
calls=1 5
+3 1000
fn=(2)
5 20
fn=(3) shunt::dataplane::Worker<P, C>::release(shunt::Instant)
* 8
summary: 88
""")
    assert by_step(out, packets=4) == [("forward", 20.0), ("the rest of the worker", 2.0)]
