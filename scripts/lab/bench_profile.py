"""Where the instructions of a packet go, step by step: callgrind's counts by function, named as DESIGN section 4 does.

The loop over the lanes of a step is one function, so what is counted there is the step with what it inlines, and with the
prefetch of the next one.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

# The first that occurs in a function's name says which step it belongs to.
STEPS = (("pass<shunt::dataplane::Together<shunt::dataplane::Parse", "parse, gather"),
         ("pass<shunt::dataplane::FindService", "find service"),
         ("pass<shunt::dataplane::LookUpFlow", "look up flow"),
         ("pass<shunt::dataplane::Together<shunt::dataplane::ChooseBackend", "choose backend"),
         ("FlowTable::tidy", "sweep"), ("ChooseBackend", "choose backend"), ("FlowContext", "choose backend"), ("FlowTable", "choose backend"),
         ("Schedulers", "choose backend"), ("Tables::choose", "choose backend"),
         ("pass<shunt::dataplane::Forward>", "forward"), ("clamp_mss", "forward"), ("Tables::route", "forward"),
         ("dataplane::Forward::", "forward"), ("dataplane::ModeList", "forward"), ("dataplane::LookUpFlow::", "look up flow"),
         ("::send", "transmit"), ("::transmit", "transmit"),
         ("receive", "the port"), ("BenchPort", "the port"), ("measured_run", "the port"), ("poll()", "the port"),
         ("dataplane::parse", "parse, gather"))
OTHER = "the rest of the worker"


def by_function(callgrind: Path) -> Counter[str]:
    """Instructions of each function itself, of a callgrind.out file."""
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    function, is_call = "", False
    for line in callgrind.read_text(encoding="utf-8").splitlines():
        if named := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?$", line):
            if named[3]:
                names[named[2]] = named[3]
            if not named[1]:
                function = named[2]
        elif line.startswith("calls="):
            is_call = True  # the next line counts what the callee did
        elif counted := re.match(r"[+\-*\d]\S* (\d+)$", line):
            if not is_call:
                counts[function] += int(counted[1])
            is_call = False
    return Counter({names.get(function, function): count for function, count in counts.items()})


def by_step(callgrind: Path, packets: int) -> list[tuple[str, float]]:
    """Instructions per packet, the steps in their order."""
    steps: Counter[str] = Counter()
    for name, count in by_function(callgrind).items():
        steps[next((step for part, step in STEPS if part in name), OTHER)] += count
    order = list(dict.fromkeys(["the port", *(step for _, step in STEPS), OTHER]))
    return [(step, steps[step] / packets) for step in order if steps[step]]
