"""What the packet path costs: runs the benchmark, keeps its document, prints it as a table, judges the promises."""
import json
import subprocess
import sys
from pathlib import Path

RESULTS = Path("build/bench/results.json")
PROMISES = (("ipip4", "nat4", 1.2), ("gue4", "nat4", 1.2), ("nat6", "nat4", 1.3))  # case, of which, at most


def measure() -> dict:
    run = subprocess.run(["build/tests/path_bench"], stdout=subprocess.PIPE, check=False)
    if run.returncode != 0:
        sys.exit(3)
    return json.loads(run.stdout)


def print_table(document: dict, out) -> None:
    machine = document["machine"]
    print(f"{machine['cpu']}, clock counter {machine['tsc_mhz']} MHz, {machine['hugepages']} huge pages", file=out)
    print(f"{'CASE':<8} {'CYCLES/PACKET':>14} {'OF FLOOR':>9} {'SPREAD':>7} {'RUNS':>5}", file=out)
    for case in document["cases"]:
        print(f"{case['name']:<8} {case['value']:>14.1f} {case['ratio']:>9.2f} {case['spread']:>7.2f} {case['runs']:>5}",
              file=out)


def judge(document: dict, out) -> bool:
    value = {case["name"]: case["value"] for case in document["cases"]}
    held = True
    for case, other, limit in PROMISES:
        ratio = value[case] / value[other]
        held &= ratio <= limit
        print(f"{case} is {ratio:.2f} x {other}, promised at most {limit}: {'held' if ratio <= limit else 'BROKEN'}",
              file=out)
    return held


def main() -> None:
    as_json = "--json" in sys.argv[1:]
    document = measure()
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    out = sys.stderr if as_json else sys.stdout
    print_table(document, out)
    held = judge(document, out)
    if as_json:
        print(json.dumps(document))
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
