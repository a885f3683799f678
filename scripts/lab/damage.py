"""What may befall the tables file, the channel between the two daemons, and what has to come of it: nothing."""

from __future__ import annotations

import mmap
import os
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Callable

from .shunt import Shunt

HEADER_BYTES = 4096
# A flip there is a file of another release, which is refused and left alone; tests/system/test_bad_input.py.
VERSION = range(56, 60)


def tables_file(shunt: Shunt) -> Path:
    return shunt.run_dir / "shm" / "tables"


def flip_bits(file: Path, number: int, random: Random) -> None:
    """Random bits, every other one in the header; whoever maps the file sees them at once."""
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as region:
        for count in range(number):
            at = VERSION.start
            while at in VERSION:
                at = random.randrange(HEADER_BYTES if count % 2 else len(region))
            region[at] ^= 1 << random.randrange(8)


def overwrite(file: Path, random: Random) -> None:
    with open(file, "r+b") as opened:
        opened.write(random.randbytes(os.path.getsize(file)))


def cut_short(file: Path, share: float) -> None:
    os.truncate(file, int(os.path.getsize(file) * share))


DAMAGES: dict[str, Callable[[Path, Random], None]] = {
    "flipped bits": lambda file, random: flip_bits(file, 1000, random),
    "garbage": overwrite,
    "cut in half": lambda file, _random: cut_short(file, 0.5),
    "cut to nothing": lambda file, _random: cut_short(file, 0),
    "removed": lambda file, _random: file.unlink(),
}


def refusals(shunt: Shunt) -> Counter[str]:
    """Generations that the running data plane refused, by reason."""
    return Counter({entry["reason"]: entry["total"] for entry in shunt.ask("status")["dataplane"]["refused"]})


def strike_tables(shunt: Shunt, damage: Callable[[Path, Random], None], random: Random) -> dict[str, Any]:
    """Damages the file under both running daemons, kills the control plane and starts it again. Says what came of it."""
    before, refused = shunt.hashes(), refusals(shunt)
    damage(tables_file(shunt), random)
    crashes = sum(not shunt.running(daemon) for daemon in ("dataplane", "controlplane"))
    killed = time.monotonic()
    shunt.kill("controlplane")
    shunt.start_controlplane()
    api_back_ms = round((time.monotonic() - killed) * 1000)
    crashes += not shunt.running("dataplane")
    return {"crashes": crashes, "api_back_ms": api_back_ms, "table_hash_same": shunt.hashes() == before,
            "refused_by_reason": dict(refusals(shunt) - refused)}
