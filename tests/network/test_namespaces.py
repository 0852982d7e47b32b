"""Coordinator and hospitals in network namespaces of their own, joined by a bridge: a cable is pulled in a round."""

import os
import shutil
import subprocess
import time

import numpy as np
import pytest

from fedlab_utils import network
from fedlab_utils.network import here
from fedlab_utils.network.messages import unpack
from tests.network.nursery import Nursery
from tests.network.test_machines import STEPS, agreed, hospitals

SECONDS, HUB = 100.0, "10.77.0.1"
APART = ("unshare", "--net") if hasattr(os, "geteuid") and os.geteuid() == 0 else ("unshare", "-r", "--net")
TRIES = (
    "ip link add name hub type bridge && ip link add name one type veth peer name two && "
    "nsenter --net=/proc/self/ns/net true"
)

# A machine of its own, run in its process before it begins: a cable from its network to the bridge.
OWN = """
import ctypes, os, subprocess
outer = os.readlink("/proc/self/ns/net")
if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET; os.unshare is there from Python 3.12 on
    raise OSError(ctypes.get_errno(), "unshare")
assert os.readlink("/proc/self/ns/net") != outer
there = f"/proc/{{os.getppid()}}/ns/net"
for line in ("ip link add name eth0 type veth peer name {port} netns " + str(os.getppid()),
             "ip addr add {address}/24 dev eth0", "ip link set eth0 up", "ip link set lo up",
             f"nsenter --net={{there}} ip link set {port} master hub up"):
    subprocess.run(line.split(), check=True)
print("network", os.readlink("/proc/self/ns/net"), flush=True)
"""
# In round 2 the update waits until the cable is out.
WAITS = """
import pathlib, time
from fedlab_utils.network import hospital
whole = hospital.HospitalPart.answer
def answer(self, request):
    found = whole(self, request)
    if self.round == 2 and not pathlib.Path("pulled").exists():
        pathlib.Path("in-round-2").touch()
        while not pathlib.Path("pulled").exists():
            time.sleep(0.01)
    return found
hospital.HospitalPart.answer = answer
"""


def what_is_missing():
    """Why this machine has no namespaces for these tests; the empty text if it has."""
    if missing := [name for name in ("unshare", "nsenter", "ip") if shutil.which(name) is None]:
        return f"no program {missing[0]}"
    done = subprocess.run([*APART, "sh", "-c", TRIES], capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{' '.join(APART)}: {done.stderr.strip() or done.returncode}"


@pytest.fixture
def bridged():
    """A nursery inside a namespace with a bridge, and how to type something there."""
    if reason := what_is_missing():
        pytest.skip(f"network namespaces cannot be made here ({reason})")
    nursery = Nursery(inside=APART)

    def types(line):
        hook = f"import os, subprocess; os._exit(subprocess.run({line.split()!r}).returncode)"
        about = dict(arguments=[], folder="/", output=os.devnull, hook=hook)
        assert nursery.child(**about).wait(10.0) == 0, line

    types("ip link add name hub type bridge")
    types("ip link set hub up")
    yield nursery, types
    nursery.end()


def without_one_update(agreement, federation, root):
    """The same in this process, where the second hospital's second update does not arrive."""

    class Losing(network.InProcess):
        def ask(self, requests, deadline):
            found = super().ask(requests, deadline)
            lost = [name for name in found if name == "Hospital 2" and unpack(agreement, found[name]).round == 2]
            return {name: answer for name, answer in found.items() if name not in lost}

    parts = {h.name: network.HospitalPart(agreement, h, root / h.name) for h in federation.hospitals}
    run = network.Coordinator(agreement, Losing(parts)).run()
    for part in parts.values():
        part.close()
    return run


def appears(place):
    end = time.monotonic() + SECONDS
    while not place.exists():
        assert time.monotonic() < end, place.name
        time.sleep(0.01)


def test_a_cable_that_is_pulled_in_a_round_costs_that_round_and_no_more(bridged, tmp_path):
    nursery, types = bridged
    federation = hospitals(3)
    agreement = agreed(federation, rounds=4, deadline=10.0)
    about = dict(seconds=SECONDS, start=False, launch=nursery.launch, address=HUB)
    with here.on_this_machine(agreement, federation, **about) as machines:
        for k, name in enumerate(machines.names):
            nursery.hooks[name] = OWN.format(port=f"port{k}", address=f"10.77.0.{k + 1}")
        nursery.hooks["coordinator"] += STEPS.format(grace=SECONDS)
        nursery.hooks["Hospital 2"] += WAITS
        for name in machines.names:
            machines.start(name)

        def goes(number, *, waits=True):
            (machines.folder / "coordinator" / f"go-{number}").touch()
            if waits:
                machines.wait_for("coordinator", f"round {number}: ", SECONDS)

        goes(1)
        goes(2, waits=False)
        appears(machines.folder / "Hospital 2" / "in-round-2")
        types("ip link set port2 down")
        (machines.folder / "Hospital 2" / "pulled").touch()
        machines.wait_for("coordinator", "round 2: ", SECONDS)
        types("ip link set port2 up")
        machines.wait_for("Hospital 2", "The answer came too late", SECONDS)
        goes(3)
        goes(4)
        assert [machines.wait(name, SECONDS) for name in machines.names] == [0] * 4
        run, outputs = machines.result(), [machines.output(name) for name in machines.names]
    networks = {line for said in outputs for line in said.splitlines() if line.startswith("network net:")}
    assert len(networks | {f"network {os.readlink('/proc/self/ns/net')}"}) == 5
    assert [record.silent for record in run.history] == [(), ("Hospital 2",), (), ()]
    assert np.array_equal(run.models, without_one_update(agreement, federation, tmp_path).models)
