"""A whole network on this machine, for a lesson or a test: what several machines would run, as processes."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fedlab_utils._arguments import brief, one_of
from fedlab_utils.network import certificates, rows
from fedlab_utils.network.agreement import Agreement
from fedlab_utils.network.book import write_whole
from fedlab_utils.network.carriers import InProcess

if TYPE_CHECKING:
    from fedlab_utils.data import Federation
    from fedlab_utils.network.carrier import Listener
    from fedlab_utils.network.coordinator import NetworkRun
    from fedlab_utils.system import Settings

COORDINATOR, PLAN, ADDRESS = "coordinator", "plan.toml", "127.0.0.1"


def certify(root, hospitals: Sequence[str], addresses: Sequence[str] = (ADDRESS,)) -> Path:
    """Keys and certificates of an authority, a coordinator and hospitals, in a folder each below `root`."""
    root, boss = Path(root), Path(root) / "authority"
    if not boss.exists():
        certificates.authority(boss)
    for name, where in {COORDINATOR: addresses, **dict.fromkeys(hospitals, ())}.items():
        certificates.request(root / name, name, where)
        certificates.sign(boss, root / name / certificates.REQUEST, coordinator=bool(where))
    for name in (COORDINATOR, *hospitals):
        certificates.accept(root / name, boss / certificates.MEMBERS)
    return root


def hand_out(folder, federation: Federation, settings: Settings | None = None, **about) -> Agreement:
    """For a class: the plan, and each hospital's table as a CSV file, to be carried to as many machines.

    Parameters
    ----------
    folder
        Where they go; made if it does not exist.
    federation, settings, about
        As in `Agreement.of`.
    """
    import pandas as pd

    folder, agreement = Path(folder), Agreement.of(federation, settings, **about)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLAN).write_text(agreement.to_toml(), encoding="utf-8", newline="\n")
    for hospital in federation.hospitals:
        table = pd.concat([hospital.train, hospital.test]).to_csv(index=False)
        write_whole(folder / f"{hospital.name}.csv", table.encode())
    return agreement


class Machines:
    """Processes that stand for machines; `on_this_machine` makes and ends them.

    Attributes
    ----------
    folder
        Below it each machine's own: its keys, its rows, its book.
    address, port
        Where the coordinator listens.
    """

    def __init__(
        self, agreement: Agreement, federation: Federation, folder: Path, launch: Callable, address: str = ADDRESS
    ) -> None:
        self.agreement, self.folder, self.port, self._launch = agreement, folder, _free_port(), launch
        self.address = address
        self._running: dict[str, subprocess.Popen] = {}
        certify(folder, agreement.hospitals, [address])
        for name in self.names:
            (folder / name / PLAN).write_text(agreement.to_toml(), encoding="utf-8", newline="\n")
        for hospital in federation.hospitals:
            rows.save(hospital, agreement, folder / hospital.name)

    @property
    def names(self) -> tuple[str, ...]:
        """All of them, the coordinator first."""
        return (COORDINATOR, *self.agreement.hospitals)

    def start(self, name: str, *, wait: float = 60.0) -> None:
        """Start one, again if it has ended; what it did before stands in its folder.

        Parameters
        ----------
        name
            A hospital, or "coordinator".
        wait
            Of the coordinator: seconds that it gives all hospitals to come.
        """
        if self.runs(name):
            raise ValueError(f"{name} runs already; kill it first.")
        arguments = ["--with-parent", *self.command(name, wait=wait)]
        self._running[name] = self._launch(arguments, self.folder / name, self.folder / f"{name}.txt")

    def command(self, name: str, *, wait: float = 60.0) -> list[str]:
        """What one would type after ``python course.py`` in this machine's folder, with ``--table`` the first time."""
        self._checked(name)
        if name == COORDINATOR:
            where = ["--host", self.address, "--port", str(self.port)]
            return ["coordinator", PLAN, "--folder", ".", *where, "--wait", f"{wait:g}"]
        dial = f"https://{self.address}:{self.port}"
        return ["hospital", PLAN, "--name", name, "--folder", ".", "--dial", dial]

    def runs(self, name: str) -> bool:
        """Whether it is running now."""
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def kill(self, name: str) -> None:
        """End one at once, as a power cut would; nothing if it is not running."""
        self._checked(name)
        if process := self._running.pop(name, None):
            process.kill()  # also one that is frozen
            process.wait()
            if process.stdin:
                process.stdin.close()

    def interrupt(self, name: str) -> None:
        """What Ctrl-C does to one (on Windows it is killed)."""
        self._running[name].send_signal(signal.SIGINT) if os.name != "nt" else self.kill(name)

    def freeze(self, name: str, *, on: bool = True) -> None:
        """Hold one without ending it, as a machine that hangs; not on Windows."""
        self._running[name].send_signal(signal.SIGSTOP if on else signal.SIGCONT)

    def output(self, name: str) -> str:
        """What one has printed so far, over all its starts."""
        self._checked(name)
        file = self.folder / f"{name}.txt"
        return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""

    def wait_for(self, name: str, text: str, seconds: float = 60.0) -> None:
        """Until one has printed a text.

        Raises
        ------
        TimeoutError
            If it does not, with what it printed instead.
        """
        end = time.monotonic() + seconds
        while text not in self.output(name):
            if time.monotonic() > end:
                raise TimeoutError(f"{name} has not said {text!r} within {seconds:g} s, but: {self.output(name)!r}")
            time.sleep(0.02)

    def wait(self, name: str = COORDINATOR, seconds: float = 120.0) -> int:
        """Until one has ended; its exit code, 0 if all went well.

        Raises
        ------
        TimeoutError
            If it does not end, with what it printed.
        """
        try:
            return self._running[name].wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.output(name)
            raise TimeoutError(f"{name} has not ended within {seconds:g} s; it said: {said!r}") from None

    def result(self) -> NetworkRun:
        """What the coordinator has written down: the models and who came, up to the last round that is over."""
        from fedlab_utils.network.coordinator import Coordinator, NetworkRun

        found = Coordinator(self.agreement, InProcess({}), self.folder / COORDINATOR / "training")
        return NetworkRun(self.agreement, np.stack(found.models), tuple(found.history))

    @contextmanager
    def listen(self, say: Callable = str, *, everybody: float | None = None) -> Iterator[Listener]:
        """Take the coordinator's place in this process: a carrier that hears hospitals until the block ends.

        Parameters
        ----------
        say
            Called with one sentence whenever somebody comes, goes, or is sent away.
        everybody
            Seconds in which all hospitals, which are started here, have to come; None starts nobody.

        Raises
        ------
        TimeoutError
            If one of them has not come by then, with what it printed.
        """
        from fedlab_utils.network.carrier import Listener

        listener = Listener(self.agreement, self.folder / COORDINATOR, self.address, self.port, say)
        try:
            if everybody is not None:
                for name in self.agreement.hospitals:
                    self.start(name)
                for name in listener.wait_for(self.agreement.hospitals, everybody):
                    raise TimeoutError(f"{name} has not come within {everybody:g} s; it said: {self.output(name)!r}")
            yield listener
        finally:
            listener.close(done=True)

    def end(self) -> None:
        """End all."""
        for name in list(self._running):
            self.kill(name)

    def _checked(self, name: str) -> str:
        return one_of("name", name, self.names)


def launch(arguments: Sequence[str], folder: Path, output: Path) -> subprocess.Popen:
    """A process that runs `command` in a folder; what it prints is added to a file."""
    environment = {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8"} | dict(os.environ)
    # -P: what lies in the folder, a random.py say, is not imported.
    program = [sys.executable, "-P", "-m", "fedlab_utils.network.command", *arguments]
    with open(output, "ab") as out:
        return subprocess.Popen(program, cwd=folder, env=environment, stdin=subprocess.PIPE, stdout=out, stderr=out)


@contextmanager
def on_this_machine(
    agreement: Agreement,
    federation: Federation,
    *,
    seconds: float = 300.0,
    start: bool = True,
    launch: Callable = launch,
    address: str = ADDRESS,
) -> Iterator[Machines]:
    """A coordinator and all hospitals as processes of this machine, ended when the block ends.

    Each has a folder of its own with its keys; all that travels goes through the loopback, encrypted. Processes end
    with this one, too, whatever ends it.

    Parameters
    ----------
    agreement
        The plan.
    federation
        Whose hospitals these are.
    seconds
        After which all are ended in any case.
    start
        Whether to start all of them at once.
    launch
        How a process is started; another way in tests.
    address
        Where the coordinator listens; another in tests, where each process has a network of its own.

    Yields
    ------
    Machines
        ``start``, ``kill``, ``output``, ``wait``, ``result``.

    Raises
    ------
    ValueError
        If the federation is not of the agreement's hospitals.
    """
    there = tuple(h.name for h in federation.hospitals)
    if there != agreement.hospitals:
        raise ValueError(
            f"federation must have the hospitals of the agreement, {agreement.hospitals}; got {brief(there)}."
        )
    with tempfile.TemporaryDirectory(prefix="fedlab-", ignore_cleanup_errors=True) as folder:
        machines = Machines(agreement, federation, Path(folder), launch, address)
        watch = threading.Timer(seconds, machines.end)
        watch.daemon = True
        watch.start()
        try:
            for name in machines.names if start else ():
                machines.start(name)
            yield machines
        finally:
            watch.cancel()
            machines.end()


def _free_port() -> int:
    with socket.socket() as any_port:
        any_port.bind((ADDRESS, 0))
        return any_port.getsockname()[1]
