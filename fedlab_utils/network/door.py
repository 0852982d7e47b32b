"""A door to a hospital's part for other processes of the same machine, such as those that Flower starts.

Flower starts a process for each message, and a masked round needs secrets that stay in the memory of one. So the part
runs in a process of its own, and whoever has a message hands it in through this door: bytes in, bytes out. It listens
on this machine alone; who may knock knows a key that lies in the hospital's folder, readable for its owner. Asking
loads neither PyTorch nor the rest of this package.
"""

from __future__ import annotations

import json
import secrets
import socket
import threading
import time
from contextlib import suppress
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client, Connection, Listener, answer_challenge, deliver_challenge
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fedlab_utils.network.hospital import HospitalPart

FILE = "door.json"
PATIENCE = 60.0  # seconds in which an open door is waited for
_LONGEST = 2**30  # bytes of an answer
_GUESTS = 100  # at a time
_KNOCK = 10.0  # seconds for whoever comes in to show that the key is known


class Door:
    """The door of one part; close it when the hospital goes.

    Parameters
    ----------
    part
        Of the hospital; where the door is stands in its folder.
    """

    def __init__(self, part: HospitalPart) -> None:
        from fedlab_utils.network.book import write_whole
        from fedlab_utils.network.messages import longest

        self._part, self._longest, self._key = part, longest(part.agreement), secrets.token_bytes(32)
        self._chairs, self._answering = threading.BoundedSemaphore(_GUESTS), set()
        self._listener = Listener(("127.0.0.1", 0), backlog=16)
        self._place, self._open = part.book.folder / FILE, True
        about = dict(port=self._listener.address[1], key=self._key.hex())
        write_whole(self._place, json.dumps(about).encode())
        threading.Thread(target=self._wait, daemon=True).start()

    def close(self) -> None:
        """Nobody comes in any more; whose request is in hand gets its answer."""
        self._open = False
        self._place.unlink(missing_ok=True)
        self._listener.close()
        for one in tuple(self._answering):  # who is not yet among these finds the door closed
            one.join(_KNOCK)

    def __enter__(self) -> Door:
        return self

    def __exit__(self, *gone) -> None:
        self.close()

    def _wait(self) -> None:
        while self._open:
            try:
                guest = self._listener.accept()
            except OSError:
                if not self._open:
                    return
                time.sleep(0.1)
                continue
            if not self._chairs.acquire(blocking=False):
                guest.close()
                continue
            # Never on the thread that waits: a guest that says nothing must not keep the others out.
            threading.Thread(target=self._serve, args=(guest,), daemon=True).start()

    def _serve(self, guest: Connection) -> None:
        too_slow = threading.Timer(_KNOCK, _cut, [guest])
        too_slow.start()
        try:
            with suppress(OSError, EOFError, AuthenticationError), guest:
                deliver_challenge(guest, self._key)
                answer_challenge(guest, self._key)
                self._answering.add(threading.current_thread())
                if not self._open:
                    return
                request = guest.recv_bytes(self._longest)
                too_slow.cancel()
                guest.send_bytes(self._part.answer(request))
        finally:
            self._answering.discard(threading.current_thread())
            too_slow.cancel()
            self._chairs.release()


def _cut(guest: Connection) -> None:
    """End what a guest says; its thread would read on from a connection that is merely closed."""
    with suppress(OSError), socket.fromfd(guest.fileno(), socket.AF_INET, socket.SOCK_STREAM) as line:
        line.shutdown(socket.SHUT_RDWR)


def ask(folder: str | Path, request: bytes, *, patience: float = PATIENCE) -> bytes:
    """Hand a request in at the door of the hospital whose folder this is, and wait for its answer.

    Parameters
    ----------
    folder
        Of the hospital's part.
    request
        As it came.
    patience
        Seconds in which the door has to be open; a hospital may be about to start again.

    Raises
    ------
    ConnectionError
        If nobody opened in time.
    """
    end = time.monotonic() + patience
    while True:
        try:
            about = json.loads((Path(folder) / FILE).read_text(encoding="utf-8"))
            with Client(("127.0.0.1", about["port"]), authkey=bytes.fromhex(about["key"])) as door:
                door.send_bytes(request)
                return door.recv_bytes(_LONGEST)
        except (OSError, EOFError, ValueError, KeyError, AuthenticationError) as error:
            if time.monotonic() > end:
                raise ConnectionError(f"No hospital's part opened its door in {str(folder)!r}.") from error
            time.sleep(0.2)
