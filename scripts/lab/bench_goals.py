"""The promises of DESIGN section 9, and what became of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

FLOWS = ("10k", "1M", "10M")


@dataclass(frozen=True)
class Goal:
    """A case and what it may take at most: so much, or so many times another case."""

    case: str
    limit: float
    of: str = ""

    def allowed(self, values: dict[str, float | None]) -> float | None:
        other = values.get(self.of)
        return self.limit if not self.of else None if other is None else self.limit * other

    def sentence(self, value: float, allowed: float) -> str:
        of = f" ({self.limit} x {self.of})" if self.of else ""
        verdict = "held" if value <= allowed else f"BROKEN: {value / allowed:.2f} times as much"
        return f"{self.case:<26} {value:>9.2f}, promised at most {allowed:.2f}{of}: {verdict}"


GOALS = (
    *(Goal(f"nat4/flows={flows}", limit) for flows, limit in zip(FLOWS, (45, 70, 90))),
    *(Goal(f"nat6/flows={flows}", 1.3, f"nat4/flows={flows}") for flows in FLOWS),
    *(Goal(f"{mode}/flows={flows}", 1.2, f"nat4/flows={flows}") for mode in ("ipip4", "gue4") for flows in FLOWS),
    Goal("new4/flows=1M", 150),
    Goal("stateless4/services=4096", 45),
    Goal("flow_bytes/nat4", 64),
    Goal("flow_bytes/nat6", 96),
    Goal("maglev/m=65537,n=1000", 1),
    Goal("maglev/m=655373,n=1000", 15),
    Goal("publish/services=4096", 10),
)


RUSH, RUSH_PACKETS = "new4/rate=1M", 2  # for every new flow another packet of an established one


def judged(document: dict) -> Iterator[tuple[bool, str]]:
    """Was it held, and a sentence: for every goal whose cases were measured."""
    values = {case["name"]: case["value"] for case in document["cases"]}
    for goal in GOALS:
        value, allowed = values.get(goal.case), goal.allowed(values)
        if value is not None and allowed is not None:
            yield value <= allowed, goal.sentence(value, allowed)
    if values.get(RUSH):
        rate = document["machine"]["tsc_mhz"] / (RUSH_PACKETS * values[RUSH])
        verdict = "held" if rate >= 1 else "BROKEN"
        yield rate >= 1, f"{RUSH:<26} {rate:>9.2f} million new flows a second, promised at least 1: {verdict}"
