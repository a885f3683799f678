"""What may befall the files the daemons share, and what has to come of it: nothing."""

from __future__ import annotations

import mmap
import os
import struct
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any, Callable

from .experiment import LoadExperiment, Promise, Row, Stage, Stages, Wish
from .restarts import one_balancer
from .shunt import Shunt
from .waiting import wait_until

# Of TablesHeader in src/shm/layout.h. A flip in the version is a file of another release, which is refused and left
# alone: tests/system/test_bad_input.py.
HEADER_BYTES = 4096
VERSION = range(56, 60)
PUBLISHED, ROOTS, ROOT_BYTES, ROOT_RING = 64, 128, 64, 8
BLOCK_HEADER = struct.Struct("<IIQQQ")  # magic, kind, size, serial, checksum
FLIPS, BURSTS = 500, 5  # of one strike
STATE_FLIPS = 10_000


def tables_file(shunt: Shunt) -> Path:
    return shunt.run_dir / "shm" / "tables"


def state_file(shunt: Shunt) -> Path:
    return shunt.run_dir / "shm" / "state"


# Damages


def flip_bits(file: Path, number: int, random: Random) -> None:
    """Random bits, every other one in the header; whoever maps the file sees them at once."""
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as region:
        for count in range(number):
            at = VERSION.start
            while at in VERSION:
                at = random.randrange(HEADER_BYTES if count % 2 else len(region))
            region[at] ^= 1 << random.randrange(8)


def flip_bit(file: Path, bit: int) -> None:
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as region:
        region[bit // 8] ^= 1 << bit % 8


def flip_body(file: Path, number: int, random: Random) -> None:
    """Random bits behind the header of a state region, which has a seal."""
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as region:
        for _ in range(number):
            region[random.randrange(HEADER_BYTES, len(region))] ^= 1 << random.randrange(8)


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


# Publications that nobody made

class Forgery:
    """A tables file in which somebody announces a generation, so that a running data plane looks at it."""

    def __init__(self, region: mmap.mmap):
        self.region = region
        (self.newest,) = struct.unpack_from("<Q", region, PUBLISHED)

    def root_at(self, generation: int) -> int:
        return ROOTS + generation % ROOT_RING * ROOT_BYTES

    def root(self) -> int:
        """Where the newest generation's own block lies."""
        return struct.unpack_from("<Q", self.region, self.root_at(self.newest) + 8)[0]

    def announce(self, offset: int) -> None:
        struct.pack_into("<QQ", self.region, self.root_at(self.newest + 1), self.newest + 1, offset)
        struct.pack_into("<Q", self.region, PUBLISHED, self.newest + 1)

    def going_back(self) -> None:
        struct.pack_into("<Q", self.region, PUBLISHED, self.newest - 1)

    def outside(self) -> None:
        self.announce(1 << 40)

    def no_block(self) -> None:
        self.announce(self.root() + 64)

    def wrong_checksum(self) -> None:
        """The newest root once more, as a block of its own at the end of the file, with one bit changed."""
        header = BLOCK_HEADER.unpack_from(self.region, self.root())
        magic, kind, size, serial, checksum = header
        at = len(self.region) - 4096
        BLOCK_HEADER.pack_into(self.region, at, magic, kind, size, serial + 1_000_000, checksum)
        self.region[at + 64:at + 64 + size] = self.region[self.root() + 64:self.root() + 64 + size]
        self.announce(at)


FORGERIES = {"generation": Forgery.going_back, "size": Forgery.outside, "magic": Forgery.no_block,
             "checksum": Forgery.wrong_checksum}


def forge(shunt: Shunt, reason: str) -> None:
    """The running data plane refuses it for this reason, and the running control plane makes its file again. A data
    plane that has not followed it to the last new file yet may not have seen it before that happened: then once more."""
    refused = refusals(shunt)[reason]
    wait_until(lambda: forged(shunt, reason) > refused, 20, f"a refusal because of {reason}", every=0.01)


def forged(shunt: Shunt, reason: str) -> int:
    """Refusals for this reason once the file has been made again."""
    file = tables_file(shunt)
    before = file.stat().st_ino
    with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as region:
        FORGERIES[reason](Forgery(region))
    wait_until(lambda: file.exists() and file.stat().st_ino != before, 10, "a new file", every=0.01)
    return refusals(shunt)[reason]


def refusals(shunt: Shunt) -> Counter[str]:
    """Generations that the running data plane refused, by reason."""
    return Counter({entry["reason"]: entry["total"] for entry in shunt.status()["dataplane"]["refused"]})


# Strikes

def strike_tables(shunt: Shunt, damage: Callable[[Path, Random], None], random: Random) -> dict[str, Any]:
    """Damages the file under both running daemons, kills the control plane and starts it again. Says what came of it."""
    before = shunt.hashes()
    damage(tables_file(shunt), random)
    crashes = crashed(shunt)
    killed = time.monotonic()
    shunt.kill("controlplane")
    shunt.start_controlplane()
    api_back_ms = round((time.monotonic() - killed) * 1000)
    return {"crashes": crashes + crashed(shunt), "api_back_ms": api_back_ms,
            "table_hash_same": shunt.hashes() == before}


def crashed(shunt: Shunt) -> int:
    return sum(not shunt.running(daemon) for daemon in ("dataplane", "controlplane"))


class RegionTables(LoadExperiment):
    """Bits flip while changes are published, generations are forged, the file is damaged in every way and its writer
    killed over it."""

    name = "region-tables"
    promises = (*LoadExperiment.loses_nothing, Promise("lost_packets", 0), Promise("crashes", 0),
                Promise("table_hash_same"), Promise("refused", least=len(FORGERIES)), Promise("api_back_ms_max", 1000))
    stage = staticmethod(one_balancer)

    def strike(self, stage: Stage) -> dict[str, Any]:
        shunt, random = stage.shunt, stage.notes.setdefault("random", Random(1))
        before, refused = shunt.hashes(), refusals(shunt)
        for burst in range(BURSTS):
            flip_bits(tables_file(shunt), FLIPS // BURSTS, random)
            shunt.cli("backend", "set", "web/198.18.2.11", "--weight", str(90 + burst))
        shunt.cli("backend", "set", "web/198.18.2.11", "--weight", "100")
        for reason in FORGERIES:
            forge(shunt, reason)
        struck = [strike_tables(shunt, damage, random) for damage in DAMAGES.values()]
        seen = refusals(shunt) - refused
        return {"flips": FLIPS, "refused": sum(seen.values()), "refused_by_reason": seen,
                "crashes": sum(one["crashes"] for one in struck),
                "api_back_ms": max(one["api_back_ms"] for one in struck),
                "table_hash_same": shunt.hashes() == before and all(one["table_hash_same"] for one in struck)}


# Of the state region, whose header has a seal, and the rest nothing that could do harm.
STATE_DAMAGES: dict[str, Callable[[Path, Random], None]] = {
    "a bit of the header": lambda file, random: flip_bit(file, random.randrange(128 * 8)),
    "bits of the rest": lambda file, random: flip_body(file, STATE_FLIPS, random),
    "cut short": lambda file, random: cut_short(file, random.random() * 0.9),
}


class RegionState(LoadExperiment):
    """The data plane dies and its memory is damaged. Its successor begins anew, and says so, or can live with it. The
    tables have not changed, so they tell whose a connection is that nobody remembers."""

    name = "region-state"
    promises = (Promise("reset", 0), Promise("crashes", 0), Promise("refused", least=1), Promise("conservation_error", 0))
    stage = staticmethod(one_balancer)

    def strike(self, stage: Stage) -> dict[str, Any]:
        shunt, random = stage.shunt, stage.notes.setdefault("random", Random(1))
        refused = crashes = 0
        for damage in STATE_DAMAGES.values():
            said = given_up(stage)
            shunt.kill("dataplane")
            damage(state_file(shunt), random)
            shunt.start_dataplane()
            shunt.wait_serving()
            refused += given_up(stage) - said
            crashes += crashed(shunt)
        return {"flips": STATE_FLIPS + 1, "refused": refused, "crashes": crashes}


def given_up(stage: Stage) -> int:
    """How often a data plane said that the flows of its predecessor are given up."""
    return stage.lab.log("shunt-dataplane").read_text().count("are given up")


SEALED_BITS = 64 * 8  # of the state region's header: what it is, and of which shape
BODY_FLIPS = 10_000
GIVEN_UP = "are given up"  # what the data plane says of it

# Each with how often the data plane must give the region up: flows that were hit are nobody's, and the others go on.
STATE_DAMAGES: tuple[tuple[Callable[[Path, Random], None], int], ...] = (
    (lambda file, random: flip_bit(file, random.randrange(SEALED_BITS)), 1),
    (lambda file, random: cut_short(file, random.random()), 1),
    (lambda file, random: flip_body(file, BODY_FLIPS, random), 0))


class RegionState(LoadExperiment):
    """The state region is damaged while no data plane runs. The next one starts with an empty one, and says so once; or
    goes on, where only flows were hit. These may lose their backend, so connections are served, but none is promised to
    live."""

    name = "region-state"
    promises = (Promise("new_connections_failed", 0), Promise("crashes", 0), Promise("loud"))
    stage = staticmethod(one_balancer)

    def strike(self, stage: Stage) -> dict[str, Any]:
        shunt, random = stage.shunt, stage.notes.setdefault("random", Random(2))
        seen = [self.strike_state(shunt, damage, random) for damage, _ in STATE_DAMAGES]
        return {"flips": BODY_FLIPS + 1, "refused": sum(seen), "crashes": crashed(shunt),
                "loud": seen == [times for _, times in STATE_DAMAGES]}

    def run(self, wish: Wish, stages: Stages, progress: Callable[[str], None]) -> Row:
        """Counters were hit, too: nobody else may work on this stage."""
        try:
            return super().run(wish, stages, progress)
        finally:
            stages.close()

    @staticmethod
    def strike_state(shunt: Shunt, damage: Callable[[Path, Random], None], random: Random) -> int:
        """How often the data plane then gave up what was there."""
        log = shunt.lab.log(f"{shunt.name}-dataplane")
        said = log.read_text().count(GIVEN_UP)
        shunt.kill("dataplane")
        damage(state_file(shunt), random)
        shunt.start_dataplane()
        return log.read_text().count(GIVEN_UP) - said


EXPERIMENTS = (RegionTables(), RegionState())
