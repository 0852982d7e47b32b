"""Flower and the carrier of this package carry the same training between the same processes, one after the other.

Both ways hospitals dial through a relay that counts what TCP brings, TLS and HTTP with it. What stays on a machine
(Flower's processes among themselves, the door) is not counted. Flower runs as it is deployed: SuperLink with
certificates, SuperNodes with keys, a process for each message; nothing is forked.
"""

from __future__ import annotations

import socket
import socketserver
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median

import numpy as np

from fedlab_utils.network import here
from fedlab_utils.network.agreement import Agreement
from fedlab_utils.network.door import FILE
from fedlab_utils.network.flower.app import write_app
from tests.network.flower_machines import machines_for

PATIENCE = 900.0  # s for one training


class Relay(socketserver.ThreadingTCPServer):
    """Passes connections on to `target`, a port, and counts the bytes of both directions."""

    daemon_threads, request_queue_size = True, 200

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Passes)
        self.port, self.target, self.count, self._lock = self.server_address[1], 0, 0, threading.Lock()
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def add(self, number: int) -> None:
        with self._lock:
            self.count += number


class _Passes(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.server.target)) as there:
            back = threading.Thread(target=self._pass, args=(there, self.request), daemon=True)
            back.start()
            self._pass(self.request, there)
            back.join()

    def _pass(self, source: socket.socket, sink: socket.socket) -> None:
        for end in (source, sink):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with suppress(OSError):
            while data := source.recv(2**16):
                self.server.add(len(data))
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)


def compared(agreement: Agreement, federation, launch: Callable) -> list[tuple[float, float]]:
    """Seconds of a round and kB of each hospital: ours, then Flower's; the first round is left out of both."""
    n, lines, models = len(agreement.hospitals), [], []
    for carries in (_ours, _flowers):
        relay = Relay()
        try:
            with carries(agreement, federation, launch, relay) as there:
                kilobytes = _between_models(there.folder / "coordinator" / "training", agreement, relay) / n / 1000
                while len((run := there.result()).history) < agreement.training.rounds:
                    time.sleep(0.05)  # a model is written before what is said of it
        finally:
            relay.shutdown()
            relay.server_close()
        assert all(record.came == agreement.hospitals for record in run.history)
        models.append(run.models)
        lines.append((median(record.seconds for record in run.history[1:]), kilobytes))
    assert np.array_equal(*models)  # the same training, to the bit
    return lines


def _between_models(folder: Path, agreement: Agreement, relay: Relay) -> float:
    """Bytes of a round, counted from the first round's end to the last one's."""
    last, counts, end = agreement.training.rounds, [], time.monotonic() + PATIENCE
    for number in (1, last):
        while not (folder / f"model-{number:04d}.f32").exists():
            if time.monotonic() > end:
                raise TimeoutError(f"Round {number} has not ended within {PATIENCE:g} s.")
            time.sleep(0.001)
        counts.append(relay.count)
    return (counts[1] - counts[0]) / (last - 1)


@contextmanager
def _ours(agreement: Agreement, federation, launch: Callable, relay: Relay):
    def through(arguments, folder, output):
        url = f"https://{here.ADDRESS}:{there.port}"
        return launch([a if a != url else f"https://{here.ADDRESS}:{relay.port}" for a in arguments], folder, output)

    about = dict(start=False, seconds=PATIENCE, launch=through)
    with here.on_this_machine(agreement, federation, **about) as there:
        relay.target = there.port
        for name in there.names:
            there.start(name)
        yield there


@contextmanager
def _flowers(agreement: Agreement, federation, launch: Callable, relay: Relay):
    names = agreement.hospitals
    with (
        here.on_this_machine(agreement, federation, start=False, seconds=PATIENCE) as there,
        tempfile.TemporaryDirectory(prefix="flower-", ignore_cleanup_errors=True) as root,
        machines_for(Path(root), names, link=relay.port) as machines,
    ):
        relay.target = machines.port
        hospitals = []
        for name in names:
            line = ["--with-parent", "hospital", here.PLAN, "--flower", "--folder", "."]
            hospitals.append(launch(line, there.folder / name, there.folder / f"{name}.txt"))
        for name in names:
            while not (there.folder / name / "book" / FILE).exists():
                time.sleep(0.05)
            machines.start_node(name, there.folder / name / "book")
        folder = there.folder / "coordinator" / "training"
        machines.run("run", write_app(Path(root) / "app", agreement, folder=folder, nodes=machines.nodes), "course")
        try:
            yield there
        finally:
            for one in hospitals:
                one.kill()
                one.wait()
