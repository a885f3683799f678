"""The path has not become slower: instructions per packet, and on the recorded processor cycles (scripts/bench --record)."""

import pytest

from lab import bench_guard as guard

RECORDED = guard.recorded()
REMEDY = "make it cheaper, or accept it: scripts/bench --record"


@pytest.fixture(scope="module")
def counted():
    return guard.count_all()


def test_every_case_is_recorded():
    assert set(RECORDED["instructions"]) == set(guard.CASES), REMEDY
    assert set(RECORDED["cycles"]) == set(guard.TIMED), REMEDY


@pytest.mark.parametrize("case", guard.CASES)
def test_instructions(counted, case):
    limit = RECORDED["instructions"][case] * guard.GROWTH
    assert counted[case] <= limit, f"{counted[case]} instructions per packet, recorded {limit / guard.GROWTH:.1f}; {REMEDY}"


@pytest.mark.parametrize("case", guard.TIMED)
def test_cycles(case):
    limit = RECORDED["cycles"][case] * guard.CYCLES_GROWTH
    cpu, cycles = guard.cycles(case)
    if cpu == RECORDED["cpu"] and cycles > limit:
        cpu, cycles = guard.cycles(case)  # somebody else's load may have been in the way
    assert cpu != RECORDED["cpu"] or cycles <= limit, (
        f"{cycles} cycles per packet beyond the floor, recorded {limit / guard.CYCLES_GROWTH:.1f}; {REMEDY}")
