"""Runs the commands of the test suite, and makes sure that nothing of them stays behind."""

import ctypes
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
OUT_OF_TIME = 124
PR_SET_CHILD_SUBREAPER = 36


class Interrupted(Exception):
    """SIGINT, SIGTERM or SIGHUP: stop everything, clean up, leave."""


def _interrupt(number, _frame):
    raise Interrupted(signal.Signals(number).name)


class Processes:
    """Every command runs in a session of its own; what its end leaves behind becomes our child and is found there."""

    def __init__(self, limit_seconds, already_used):
        self._deadline = time.monotonic() + limit_seconds - already_used
        self._running = set()
        self._stopping = False
        self._lock = threading.Lock()
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, _interrupt)

    def seconds_left(self):
        return self._deadline - time.monotonic()

    def run(self, command, log, timeout=None, env=None, cwd=ROOT):
        """Runs a command with its output in the file `log`; returns its exit status, OUT_OF_TIME if it was stopped."""
        left = self.seconds_left()
        if left <= 0 or self._stopping:
            return OUT_OF_TIME
        with open(log, "ab") as output:
            process = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})}, cwd=cwd, start_new_session=True)
        with self._lock:
            self._running.add(process)
        try:
            return process.wait(left if timeout is None else min(left, timeout))
        except subprocess.TimeoutExpired:
            stop(process)
            return OUT_OF_TIME
        finally:
            if process.poll() is not None:
                with self._lock:
                    self._running.discard(process)

    def stop_all(self):
        """After an interruption: ends what runs, gently first so that tests can take down what they made."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        self._stopping = True
        with self._lock:
            running = list(self._running)
        for process in running:
            stop(process)
        self.end_leftovers(grace_seconds=0)

    def end_leftovers(self, grace_seconds=2):
        """Ends orphans of finished commands; returns their names. Only for moments when no command runs."""
        deadline = time.monotonic() + grace_seconds
        while (orphans := _children()) and time.monotonic() < deadline:
            _reap()
            time.sleep(0.05)
        names = [name for _, name in orphans]
        while orphans:
            for pid, _ in orphans:
                _signal(pid, signal.SIGKILL)
            _reap()
            orphans = _children()
        return names


def stop(process):
    """Interrupt, so that cleanup code runs; then the whole group is told to end; then it is killed."""
    _signal(process.pid, signal.SIGINT)
    if _ended(process, 20):
        return
    for number, patience in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            pass
        if _ended(process, patience):
            return


def _ended(process, seconds):
    try:
        process.wait(seconds)
        return True
    except subprocess.TimeoutExpired:
        return False


def _signal(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _children():
    """(pid, name) of our living direct children."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except OSError:
            continue
        name = text[text.index("(") + 1 : text.rindex(")")]
        state, parent = text[text.rindex(")") + 2 :].split()[:2]
        if int(parent) == os.getpid() and state != "Z":
            found.append((int(stat.parent.name), name))
    return found


def _reap():
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
