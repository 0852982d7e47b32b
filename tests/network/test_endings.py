"""Processes that tests start end with the tests, also where nobody was left to end them."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.network.flower_machines import Machines, watched

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="sessions and forks")

STAYS = """
import os, subprocess, sys
below = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(os.getpid(), below.pid, flush=True)
below.wait()
"""
STARTS = {
    "a program and what it starts": """
import subprocess, sys, time
from tests.network.flower_machines import watched
begun = watched(sys.argv[1], [], stdout=open(sys.argv[2], "w"))
time.sleep(600)
""",
    "a child of the nursery": """
import os, sys, time
from tests.network.nursery import Nursery
begun = Nursery({"stays": "signal:pause"}).program("stays", [], "/", os.devnull)
print(begun.pid, begun.nursery._process.pid, file=open(sys.argv[2], "w"), flush=True)
time.sleep(600)
""",
}


def runs(pid):
    said = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(said) and not said.startswith("Z")


@pytest.mark.parametrize("which", STARTS)
def test_they_end_with_whoever_started_them_though_it_was_killed(which, tmp_path):
    stays, told = tmp_path / "stays.py", tmp_path / "told"
    stays.write_text(STAYS)
    started = subprocess.Popen([sys.executable, "-c", STARTS[which], str(stays), str(told)], cwd=ROOT)
    try:
        end = time.monotonic() + 60
        while not told.exists() or len(told.read_text().split()) < 2:
            assert started.poll() is None and time.monotonic() < end
            time.sleep(0.05)
        pids = told.read_text().split()
        assert all(map(runs, pids))
    finally:
        started.kill()
        started.wait()
    all_end(pids)


def all_end(pids):
    end = time.monotonic() + 20
    while any(map(runs, pids)):
        assert time.monotonic() < end, "they go on"
        time.sleep(0.05)


def test_what_a_program_leaves_behind_ends_with_it(tmp_path):
    stays, told = tmp_path / "stays.py", tmp_path / "told"
    stays.write_text(STAYS.replace("below.wait()", "time.sleep(600)").replace("import os", "import time, os"))
    with open(told, "w") as out:
        begun = watched(stays, [], stdout=out)
    there = Machines.__new__(Machines)
    there.running = {"it": begun}
    end = time.monotonic() + 60
    while len(told.read_text().split()) < 2:
        assert begun.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    there.end("it")
    all_end(told.read_text().split())


def test_machines_are_closed_though_nobody_heeds_their_calls_any_more(tmp_path):
    os.mkfifo(tmp_path / "calls")
    ended, gone = threading.Thread(target=int), []
    ended.start()
    ended.join()
    there = Machines.__new__(Machines)
    there.root, there.running, there._heeds = tmp_path, {}, ended
    there.nursery = SimpleNamespace(end=lambda: gone.append(True))
    closing = threading.Thread(target=there.close, daemon=True)
    closing.start()
    closing.join(20)
    assert gone
