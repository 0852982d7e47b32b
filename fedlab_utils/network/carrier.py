"""Messages over HTTPS: the coordinator listens, hospitals dial out, and both show certificates (TLS 1.3).

No hospital opens a port. It asks "what is there for me?" (GET), which the coordinator answers as soon as there is
something, and posts its answer (POST). Who it is stands in its certificate, never in a message.
"""

from __future__ import annotations

import http.server
import os
import secrets
import socket
import socketserver
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from fedlab_utils.network import certificates, messages, tls
from fedlab_utils.network.agreement import Agreement

HANDSHAKE = 5.0  # s within which a caller has to show its certificate
POLL, QUIET = 5.0, 30.0  # s for which a question stays open with nothing to do; s of silence that end a connection
GRACE = 5.0  # s for which a hospital that hung up is waited for, within the deadline
CALLERS, EACH = 200, 4  # connections at a time: of callers that nobody knows yet, and of one hospital
FOUND, STAND_BY, WRONG, NOT_YOU, TOO_LATE, DONE = 200, 204, 400, 403, 409, 410  # what HTTP calls it
TICKET = "X-Ticket"  # the header that says which question an answer is for


def following(head: bytes, announced: str | None, agreement: Agreement, sender: int) -> int:
    """Bytes that are to be read after the head of a message; refused, unread, if they are not what they must be."""
    header = messages.opened(agreement, head)
    if header.sender != sender:
        raise messages.Refused(f"The message says it is from {header.sender}, the certificate belongs to {sender}.")
    if announced != str(len(head) + header.length):
        raise messages.Refused(f"{announced} bytes were announced; this message has {len(head) + header.length}.")
    return header.length


class Listener(socketserver.ThreadingTCPServer):
    """The coordinator's end: `ask` lays requests out, and hospitals come for them.

    Parameters
    ----------
    agreement
        Who may come, and how long messages are.
    folder
        With the coordinator's certificate and the list of members, which is read for every connection.
    host, port
        Where to listen; port 0 takes a free one, see ``server_address``.
    say
        Called with one sentence whenever somebody comes, goes, or is sent away.

    Raises
    ------
    ValueError
        If the certificate does not hold.
    OSError
        If the port is taken.
    """

    daemon_threads, request_queue_size, allow_reuse_address = True, CALLERS, os.name != "nt"

    def __init__(self, agreement: Agreement, folder, host="127.0.0.1", port=8443, say: Callable = str) -> None:
        self.agreement, self.folder, self.say = agreement, folder, say
        self.tls = tls.context(folder, listens=True)
        self.changed, self.places = (
            threading.Condition(),
            threading.BoundedSemaphore(CALLERS + EACH * len(agreement.hospitals)),
        )
        self.lines: Counter[str] = Counter()  # open connections of each hospital
        self.hung_up = dict.fromkeys(agreement.hospitals, time.monotonic())
        self.requests: dict[str, tuple[str, bytes]] = {}  # what is not answered yet, with its ticket
        self.answers: dict[str, bytes] = {}
        self.closed = self.done = False
        super().__init__((host, port), _Caller)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def ask(self, requests: Mapping[str, bytes], deadline: float) -> dict[str, bytes]:
        """The answers that come within `deadline` seconds; for whoever has hung up, within `GRACE`."""
        ticket, end = secrets.token_hex(8), time.monotonic() + deadline
        with self.changed:
            self.answers, self.requests = {}, {name: (ticket, request) for name, request in requests.items()}
            self.changed.notify_all()
            while (now := time.monotonic()) < end and any(
                self.lines[name] or now < self.hung_up[name] + GRACE for name in self.requests
            ):
                self.changed.wait(min(0.2, end - now))  # in short pieces, so that Ctrl-C is noticed on Windows, too
            self.requests = {}
            return {name: self.answers[name] for name in requests if name in self.answers}

    def wait_for(self, names: Sequence[str], seconds: float) -> list[str]:
        """Wait until these hospitals are there; gives those who are not when the time is over."""
        end = time.monotonic() + seconds
        with self.changed:
            while (missing := [name for name in names if not self.lines[name]]) and time.monotonic() < end:
                self.changed.wait(0.2)
        return missing

    def anybody(self, seconds: float) -> bool:
        """Wait until one hospital is there; False if none has come when the time is over."""
        end = time.monotonic() + seconds
        with self.changed:
            while not self.lines.total() and time.monotonic() < end:
                self.changed.wait(0.2)
            return self.lines.total() > 0

    def close(self, *, done: bool) -> None:
        """Listen no more. Hospitals that hear that all is `done` end, too; without that they go on dialling."""
        with self.changed:
            self.closed, self.done = True, done
            self.changed.notify_all()
            self.changed.wait_for(lambda: not (done and self.lines.total()), timeout=2.0)
        self.shutdown()
        self.server_close()

    # ---- what a caller's thread does with the above

    def enter(self, name: str) -> None:
        with self.changed:
            if self.lines[name] >= EACH:
                raise ValueError(f"{name} has {EACH} connections already.")
            self.lines[name] += 1
            self.changed.notify_all()
        self.say(f"{name} is here.")

    def leave(self, name: str) -> None:
        with self.changed:
            self.lines[name] -= 1
            self.hung_up[name] = time.monotonic()
            self.changed.notify_all()
        self.say(f"{name} hung up.")

    def next_for(self, name: str) -> tuple[str, bytes] | None:
        with self.changed:
            self.changed.wait_for(lambda: self.closed or name in self.requests, timeout=POLL)
            return self.requests.get(name)

    def take(self, name: str, ticket: str, answer: bytes) -> bool:
        with self.changed:
            wanted = self.requests.get(name, ("",))[0] == ticket
            if wanted:
                self.answers[name] = answer
                del self.requests[name]
                self.changed.notify_all()
            return wanted

    # ---- how a connection begins; the thread that accepts does the first of these and no more

    def process_request(self, connection, address) -> None:
        if self.places.acquire(blocking=False):
            return super().process_request(connection, address)  # in a thread of its own:
        self.shutdown_request(connection)

    def process_request_thread(self, connection, address) -> None:
        super().process_request_thread(connection, address)
        self.places.release()

    def finish_request(self, connection, address) -> None:
        connection.settimeout(HANDSHAKE)
        with self.tls.wrap_socket(connection, server_side=True) as secure:
            _Caller(secure, address, self)

    def handle_error(self, connection, address) -> None:
        self.say(f"A caller from {address[0]} was sent away: {tls.plain(sys.exception())}")


def _cut(connection: socket.socket) -> None:
    """End a connection that another thread is reading from; closed alone, it would read on."""
    with suppress(OSError):
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


class _Caller(http.server.BaseHTTPRequestHandler):
    """One connection of one hospital."""

    protocol_version, server_version, sys_version, name = "HTTP/1.1", "fedlab", "", ""
    hurry: threading.Timer | None = None  # of a caller that has no business here

    def setup(self) -> None:
        self.timeout = QUIET + self.server.agreement.network.deadline  # it may be training
        super().setup()
        # Known before it says a word, or whoever says none would not count among the connections of a hospital.
        try:
            self.who()
        except ValueError:  # it hears why, if it asks soon
            self.hurry = threading.Timer(HANDSHAKE, _cut, [self.connection])
            self.hurry.daemon = True
            self.hurry.start()

    def finish(self) -> None:
        if self.hurry:
            self.hurry.cancel()
        if self.name:
            self.server.leave(self.name)
        super().finish()

    def who(self) -> str:
        """The name in the certificate, if it is on the list at this moment and has a part in the plan."""
        found = certificates.recognise(self.server.folder, self.connection.getpeercert(binary_form=True))
        if found.coordinator or found.name not in self.server.agreement.hospitals:
            raise ValueError(f"{found.name!r} is no hospital in this plan.")
        if not self.name:
            self.server.enter(found.name)
            self.name = found.name
        return found.name

    def do_GET(self) -> None:
        try:
            found = self.server.next_for(self.who())
            self.who()  # it may have been removed while it waited
        except ValueError as error:
            return self.reply(NOT_YOU, str(error))
        if found:
            return self.reply(FOUND, found[1], found[0])
        if self.server.closed and not self.server.done:
            self.close_connection = True
            return None
        return self.reply(DONE, "The training is over.") if self.server.done else self.reply(STAND_BY)

    def do_POST(self) -> None:
        try:
            number = self.server.agreement.number(self.who())
        except ValueError as error:
            return self.reply(NOT_YOU, str(error))
        try:
            announced = self.headers.get("Content-Length", "")
            head = self.rfile.read(min(messages.HEADER_BYTES, int(announced[:9]) if announced.isdecimal() else 0))
            rest = following(head, announced, self.server.agreement, number)
        except messages.Refused as error:
            return self.reply(WRONG, str(error))
        answer = head + self.rfile.read(rest)
        if len(answer) < len(head) + rest:  # cut off
            self.close_connection = True
            return None
        taken = self.server.take(self.name, self.path[1:], answer)
        return self.reply(STAND_BY) if taken else self.reply(TOO_LATE)

    def reply(self, status: int, said: bytes | str = b"", ticket: str = "") -> None:
        body = said.encode() if isinstance(said, str) else said
        self.send_response(status)
        if status != STAND_BY:
            self.send_header("Content-Length", str(len(body)))
            self.send_header(TICKET, ticket)
        if status in (WRONG, NOT_YOU):
            self.server.say(f"{self.name or self.client_address[0]} was sent away: {said}")
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)
        if self.close_connection:  # bytes left unread would cut off what was just said: a little is read away
            self.connection.settimeout(1.0)
            self.rfile.read(2**16)

    def log_message(self, *args) -> None:
        """Nothing: `Listener.say` tells what matters."""
