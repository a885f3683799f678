"""What scripts/demo shows: Shunt balances real connections, loses a server by death and by silence, drains another
under a long download, and every promise about it is checked."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any, Callable

from .config import DETECTION_LIMIT_MS, lab_config, web_service
from .laboratory import REQUIRED, Lab, Unfit, check_environment, error_document, remove
from .loop import as_target
from .namespace import CommandFailed
from .network import BACKENDS, VIP, WEB_PORT, backend_address
from .nginx import Nginx
from .process import Instrument, Process, ProcessEnded
from .shunt import CliFailed, Shunt, unbalanced
from .waiting import NotInTime, wait_until

FIRST_CONNECTIONS = 3600
SHARE_TOLERANCE = 0.15
DETECTION_TOLERANCE = 1.1
STEADY_RATE = 150  # connections a second while servers come and go
AFTER_DETECTION = 300  # so many are opened after the loss was noticed, and none may fail
WRK_SECONDS = 3
STEPS = 7

PICTURE = """
    client  198.18.1.2  2001:db8:1::2 ─────┐
                                           │       ┌─ balancer ─────────────────────────────────┐
    b1  nginx  198.18.2.11  2001:db8:2::11 ┤       │ lan0: VIP 198.18.0.10 and 2001:db8::10     │
    b2  nginx  198.18.2.12  2001:db8:2::12 ┼ switch┤       shunt-dataplane moves the packets     │
    b3  nginx  198.18.2.13  2001:db8:2::13 ┘       │       shunt-controlplane checks b1, b2, b3  │
                                                   └────────────────────────────────────────────┘
"""

INTRODUCTION = """Shunt is a load balancer: clients talk to one address (the VIP), and Shunt hands every connection to one of
several servers. This demo builds a small network out of namespaces, private networks inside this machine's kernel.
Nothing outside of them is touched, and everything is removed at the end, or with --keep when you say so.
"""


class Voice:
    """Plain words: on stdout, or on stderr when stdout is for the JSON document."""

    def __init__(self, to_json: bool):
        self.out = sys.stderr if to_json else sys.stdout
        self.steps = 0
        self.last_progress = 0.0

    def say(self, text: str = "") -> None:
        print(text, file=self.out, flush=True)

    def step(self, title: str) -> None:
        self.steps += 1
        self.say(f"\n[{self.steps}/{STEPS}] {title}")

    def progress(self, text: str) -> None:
        """A line every two seconds of something that takes long."""
        if time.monotonic() - self.last_progress > 2:
            self.last_progress = time.monotonic()
            self.say(f"      … {text}")


class Demo:
    def __init__(self, lab: Lab, shunt: Shunt, voice: Voice):
        self.lab, self.shunt, self.voice = lab, shunt, voice
        self.result: dict[str, Any] = {"requests": 0, "failed": 0, "failed_after_detection": 0, "detection_ms": None,
                                       "detection": {}, "detection_limit_ms": DETECTION_LIMIT_MS}
        self.broken: list[str] = []

    def promise(self, held: bool, sentence: str) -> None:
        self.voice.say(f"      {'held  ' if held else 'BROKEN'}  {sentence}")
        if not held:
            self.broken.append(sentence)

    def count(self, requests: int, failed: int) -> None:
        self.result["requests"] += requests
        self.result["failed"] += failed

    # The steps

    def run(self) -> None:
        self.start()
        self.balance()
        self.press()
        self.lose("b2", "kill", "kill -9: its kernel refuses connections", Nginx.kill, Nginx.start)
        self.lose("b3", "silence", "it is frozen: it takes connections and never answers", Nginx.freeze, Nginx.thaw)
        self.drain()
        self.account()
        self.result["detection_ms"] = max(self.result["detection"].values())

    def start(self) -> None:
        self.voice.step("Start Shunt: the data plane, and the control plane, which checks the servers and fills the tables")
        self.shunt.start()
        for vip in VIP * 2:
            answer = self.lab.client.run("curl", "-sg", "--max-time", "5", f"http://{as_target(vip, WEB_PORT)}/")
            self.voice.say(f"      curl http://{as_target(vip, WEB_PORT)}/   answered by {answer.strip()}")
            self.count(1, 0)

    def balance(self) -> None:
        self.voice.step(f"Balance: {FIRST_CONNECTIONS} short connections, every other one over IPv6")
        opener = self.lab.opener(VIP, count=FIRST_CONNECTIONS, rate=1200)
        self.wait_for(opener, lambda report: report["answered"] + report["failed"] >= FIRST_CONNECTIONS, 60)
        report = opener.finish()
        self.count(report["requests"], report["failed"])
        per_backend = {name: report["per_backend"].get(name, 0) for name in BACKENDS}
        self.result |= {"per_backend": per_backend, "ipv6_requests": report["ipv6_requests"]}
        share = sum(per_backend.values()) / len(BACKENDS)
        self.voice.say("      server  connections  over IPv6  of its share")
        for name, number in per_backend.items():
            ipv6 = report["per_backend_ipv6"].get(name, 0)
            self.voice.say(f"      {name:6}  {number:11}  {ipv6:9}  {number / share if share else 0:12.1%}")
        self.promise(report["failed"] == 0, f"no connection failed ({report['failed']} of {report['requests']})")
        self.promise(all(abs(number - share) <= SHARE_TOLERANCE * share for number in per_backend.values()) and share > 0,
                     "every server got its share within 15 %")

    def press(self) -> None:
        self.voice.step(f"Press: wrk asks as fast as it can for {WRK_SECONDS} s")
        report = self.lab.wrk(VIP[0], WRK_SECONDS).finish()
        failed = sum(report["errors"].values())
        self.count(report["requests"], failed)
        self.promise(failed == 0, f"{report['requests']} requests, {failed} errors")

    def lose(self, name: str, how: str, words: str, stop: Callable[[Nginx], object],
             start: Callable[[Nginx], object]) -> None:
        self.voice.step(f"Lose {name} by {how} ({words}), under {STEADY_RATE} connections a second")
        opener = self.lab.opener(VIP, rate=STEADY_RATE, timeout=2)
        self.wait_for(opener, lambda report: report["per_backend"].get(name, 0) >= 30, 20)
        stop(self.lab.nginx[name])
        detected, took_ms = self.detect(opener, name)
        self.result["detection"][f"{how}_ms"] = took_ms
        requests = opener.report()["requests"]
        self.wait_for(opener, lambda report: report["requests"] >= requests + AFTER_DETECTION, 30)
        started = time.monotonic()
        start(self.lab.nginx[name])
        self.shunt.wait_for_slots("web", backend_address(name), present=True)
        back = time.monotonic()
        answered = opener.report()["per_backend"].get(name, 0)
        self.wait_for(opener, lambda report: report["per_backend"].get(name, 0) >= answered + 30, 20)
        report = opener.finish()
        late = [failure for failure in report["failures"] if failure["opened"] > detected]
        self.count(report["requests"], report["failed"])
        self.result["failed_after_detection"] += len(late)
        self.voice.say(f"      out of the tables {took_ms} ms after its last byte; back {(back - started) * 1000:.0f} ms "
                       f"after it was started again; {report['failed']} of {report['requests']} connections failed")
        self.promise(took_ms <= DETECTION_LIMIT_MS * DETECTION_TOLERANCE,
                     f"noticed within fall × interval + timeout = {DETECTION_LIMIT_MS} ms (and 10 %)")
        self.promise(not late, f"no connection opened after that failed ({len(late)})")

    def detect(self, opener: Instrument, name: str) -> tuple[float, int]:
        """When all workers had passed tables without `name`, and how many milliseconds after its last byte that was."""
        self.shunt.wait_for_slots("web", backend_address(name), present=False, timeout=DETECTION_LIMIT_MS / 1000 * 3)
        detected = time.monotonic()
        return detected, round((detected - opener.report()["last_byte"][name]) * 1000)

    def drain(self) -> None:
        self.voice.step("Drain a server under a long download: what runs may finish, nothing new goes there")
        file, headers = self.lab.directory / "downloaded", self.lab.directory / "downloaded.headers"
        began = time.monotonic()
        curl = Process("curl", ["curl", "-sgS", "--fail", "-o", file, "-D", headers,
                                f"http://{as_target(VIP[0], WEB_PORT)}/download"], self.lab.log("curl"), self.lab.client)
        self.lab.undo.callback(curl.stop)
        name = wait_until(lambda: header(headers, "x-backend"), 10, "the download to begin")
        for address in backend_address(name):
            self.shunt.cli("backend", "drain", backend_name(address), "--reason", "demo")
        acknowledged = time.monotonic()
        before = self.lab.network.backends[name].counters()["opened"]
        opener = self.lab.opener(VIP, rate=STEADY_RATE, timeout=5)
        while curl.running:
            wait_until(lambda: not curl.running or time.monotonic() - self.voice.last_progress > 2, 10, "progress")
            self.voice.progress(f"{name} is drained, the download has {file.stat().st_size >> 10} KiB")
        ended = time.monotonic()
        report = opener.finish()
        new = self.lab.network.backends[name].counters()["opened"] - before
        self.count(report["requests"] + 1, report["failed"] + (curl.popen.returncode != 0))
        intact = file.exists() and hashlib.sha256(file.read_bytes()).hexdigest() == self.lab.download_hash
        whole, after = round((ended - began) * 1000), round((ended - acknowledged) * 1000)
        self.result |= {"download_ms": whole, "download_after_drain_ms": after, "new_connections_to_drained": new,
                        "long_download_intact": intact}
        self.promise(intact, f"the download arrived intact, {whole} ms long, {after} ms of it after the drain")
        self.promise(whole >= 10_000 and 2 * after >= whole, "it lasted at least 10 s, half of it after the drain")
        self.promise(new == 0, f"{new} new connections reached {name}; the others served {report['answered']}")
        self.promise(report["failed"] == 0, f"none of these failed ({report['failed']})")
        for address in backend_address(name):
            self.shunt.cli("backend", "ready", backend_name(address))
        self.shunt.wait_for_slots("web", backend_address(name), present=True)

    def account(self) -> None:
        self.voice.step("Account: every packet was forwarded, given to the kernel, or dropped for a named reason")
        counted = ("received", "forwarded", "punted", "dropped")
        workers = self.shunt.settled_workers()
        totals = self.shunt.totals()
        driver = self.shunt.driver_count()
        self.result |= totals | {"workers": [{kind: worker[kind] for kind in counted} for worker in workers]}
        self.voice.say("      " + "  ".join(f"{kind} {totals[kind]}" for kind in totals) + f"  (driver: {driver})")
        self.promise(not unbalanced(workers), "received = forwarded + punted + dropped, exactly, on every worker")
        self.promise(totals["received"] == driver, "and received is what the network driver counted")

    def wait_for(self, opener: Instrument, reached: Callable[[dict[str, Any]], bool], timeout: float) -> None:
        def asked() -> bool:
            report = opener.report()
            self.voice.progress(f"{report['answered']} answered, {report['failed']} failed")
            return reached(report)

        wait_until(asked, timeout, "the connections of this step", every=0.05)


def header(file: Path, name: str) -> str:
    """A header of the reply that curl is receiving, once it is there."""
    lines = file.read_text().splitlines() if file.exists() else []
    return next((value.strip() for key, _, value in (line.partition(":") for line in lines) if key.lower() == name), "")


def backend_name(address: str) -> str:
    return f"web/[{address}]" if ":" in address else f"web/{address}"


def explain_what_is_left(lab: Lab, shunt: Shunt, voice: Voice) -> None:
    tool = " ".join(shunt.tool)
    inside = f"nsenter --net=/run/netns/{lab.client.name}"
    voice.say(f"""
The network is still up. Try:
  {inside} curl http://{VIP[0]}/
  {inside} curl -g 'http://[{VIP[1]}]/'
  {tool} status
  {tool} backend drain web/198.18.2.11
  {tool} explain 198.18.1.2:40000 {VIP[0]}:{WEB_PORT}/tcp
  nsenter --net=/run/netns/{lab.network.backends["b1"].name} tcpdump -ni eth0 port {WEB_PORT}
Logs are in {lab.directory}. Remove everything with:
  scripts/demo --remove {lab.directory}""")


def show(voice: Voice, keep: bool) -> Demo:
    check_environment((*REQUIRED, "curl", "wrk"))
    voice.say(INTRODUCTION + PICTURE)
    try:
        lab = Lab(keep=keep)
    except CommandFailed as failure:
        raise Unfit(f"the network could not be made ({failure}); the kernel needs network namespaces, veth and bridge") \
            from failure
    with lab:
        shunt = Shunt(lab, lab_config(web_service()))
        demo = Demo(lab, shunt, voice)
        demo.run()
        if keep:
            explain_what_is_left(lab, shunt, voice)
            lab.leave()
    return demo


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["--remove"]:
        return remove_kept(Path(arguments[1]))
    to_json = "--json" in arguments
    voice = Voice(to_json)
    try:
        demo = show(voice, "--keep" in arguments)
    except (Unfit, NotInTime, ProcessEnded, CliFailed, CommandFailed) as failure:
        print(f"demo: {failure}", file=sys.stderr)
        if to_json:
            print(error_document(failure, None))
        return 3 if isinstance(failure, Unfit) else 1
    except KeyboardInterrupt:
        print("demo: interrupted; everything was removed", file=sys.stderr)
        return 130
    if to_json:
        print(json.dumps(demo.result))
    voice.say("\nEvery promise held." if not demo.broken else f"\n{len(demo.broken)} promises were broken:")
    for sentence in demo.broken:
        voice.say(f"  {sentence}")
    return 1 if demo.broken else 0


def remove_kept(directory: Path) -> int:
    try:
        remove(directory)
        return 0
    except FileNotFoundError:
        print(f"demo: nothing that --keep left is in {directory}; the end of its output names the directory",
              file=sys.stderr)
        return 2
    except (OSError, ValueError, CommandFailed) as failure:
        print(f"demo: {directory} is not what --keep left: {failure}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
