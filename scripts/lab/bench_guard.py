"""What the path cost when it was last recorded: instructions anywhere, cycles on the same model of processor.

Instructions are counted by callgrind, which knows nothing newer than AVX2: code for several instruction sets must choose
by what the processor says it has. They are those of the case less those of the floor, per packet.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "build/tests/path_bench"
RECORDED = ROOT / "tests/bench/recorded.json"
FLOOR = "floor"
CASES = ("nat4/flows=10k", "nat6/flows=10k", "ipip4/flows=10k", "gue4/flows=10k", "direct4/flows=10k", "new4/flows=1M",
         "stateless4/services=4096", "mixed/flows=1M")
TIMED = CASES[:5]  # what fits into the nearer caches: the others are at the mercy of the neighbours' memory traffic
BURSTS, BURST = 64, 32
GROWTH, CYCLES_GROWTH = 1.03, 1.25  # of what was recorded
TURNS, RUNS = 5, 101


@contextmanager
def counted(case: str) -> Iterator[Path]:
    """What callgrind says of the measured loop of a case: BURSTS bursts, deterministic."""
    with tempfile.TemporaryDirectory() as directory:
        out = Path(directory) / "callgrind.out"
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}", "--toggle-collect=*measured_run*",
                   PROGRAM, "--case", case, "--count", str(BURSTS)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode != 0 or not out.exists():
            raise RuntimeError(f"callgrind could not count {case}: {run.stderr[-2000:]}")
        yield out


def count(case: str) -> float:
    """Instructions per packet of a whole loop."""
    with counted(case) as out:
        total = re.search(r"^summary: (\d+)", out.read_text(), re.MULTILINE)
    if total is None or int(total[1]) == 0:
        raise RuntimeError(f"callgrind counted nothing of {case}")
    return int(total[1]) / (BURSTS * BURST)


def count_all() -> dict[str, float]:
    """Instructions per packet beyond the floor, by case."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        counts = dict(zip((FLOOR, *CASES), pool.map(count, (FLOOR, *CASES))))
    return {case: round(counts[case] - counts[FLOOR], 1) for case in CASES}


def cycles(case: str) -> tuple[str, float]:
    """The model of the processor, and cycles per packet beyond the floor: the best of some medians."""
    best = []
    for _ in range(TURNS):
        run = subprocess.run([PROGRAM, "--case", case, "--runs", str(RUNS)], capture_output=True, text=True, check=True)
        document = json.loads(run.stdout)
        best.append(document["cases"][0]["above_floor"])
    return document["machine"]["cpu"], round(min(best), 1)


def recorded() -> dict:
    """{"cpu", "instructions": {case: n}, "cycles": {case: n}}, per packet, beyond the floor."""
    return json.loads(RECORDED.read_text(encoding="utf-8"))


def record() -> None:
    instructions = count_all()
    timed = {case: cycles(case) for case in TIMED}
    document = {"cpu": timed[TIMED[0]][0], "instructions": instructions,
                "cycles": {case: value for case, (_cpu, value) in timed.items()}}
    RECORDED.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(f"recorded in {RECORDED.relative_to(ROOT)}: {json.dumps(document, indent=1)}")
