"""The hospital's end of `carrier`: it dials, asks what there is, answers, and dials again when the line is cut."""

from __future__ import annotations

import http.client
import time
import urllib.parse
from collections.abc import Callable
from typing import Protocol

from fedlab_utils._arguments import brief
from fedlab_utils.network import certificates, messages, tls
from fedlab_utils.network.agreement import COORDINATOR, Agreement
from fedlab_utils.network.carrier import DONE, FOUND, NOT_YOU, POLL, QUIET, STAND_BY, TICKET, TOO_LATE, WRONG, following

FIRST, LONGEST = 0.1, 5.0  # s between two tries to dial: the first pause, which doubles, and the longest
_SENTENCE = 1000  # bytes of a reason that are read


class Part(Protocol):
    """What answers: `hospital.HospitalPart`, or anything else that makes bytes from bytes."""

    def answer(self, request: bytes) -> bytes: ...


class SentAway(ValueError):
    """The coordinator does not want to hear from this hospital, or is none; trying again would not help."""


def serve(
    part: Part, agreement: Agreement, name: str, url: str, folder, *, patience: float = 600.0, say: Callable = str
) -> str:
    """Answer what the coordinator asks until it says that all is done.

    Parameters
    ----------
    part
        What answers.
    agreement, name
        The plan, and who this is in it.
    url
        Of the coordinator, such as ``https://192.168.1.20:8443``.
    folder
        With this hospital's keys and certificates.
    patience
        Seconds for which it goes on dialling when nobody answers.
    say
        Called with a sentence about the line.

    Returns
    -------
    str
        The coordinator's last words.

    Raises
    ------
    SentAway
        If one end does not accept the other: why, in a sentence.
    ConnectionError
        If the coordinator was not reached for so long.
    ValueError
        If the url or the own certificate cannot be used.
    """
    agreement.number(name)
    place, rules = address(url), tls.context(folder, listens=False)
    line, answer, pause, heard, up = None, None, FIRST, time.monotonic(), None
    while True:
        try:
            line = line or _dial(place, rules, folder)
            line.request(*(("POST", f"/{answer[0]}", answer[1]) if answer else ("GET", "/")))
            reply = line.getresponse()
            _known(line, folder)  # it may have been removed, or have expired, since it was dialled
            body = _body(reply, agreement)
            line = line if reply.isclosed() else line.close()  # closed: it was read to its end
        except (OSError, http.client.HTTPException) as error:
            line = line and line.close()
            if reason := tls.refusal(error):
                raise SentAway(reason) from None
            if time.monotonic() - heard > patience:
                raise ConnectionError(f"{url} was not reached for {patience:g} s: {tls.plain(error)}") from None
            if up is not False:
                say(f"The coordinator is not there; dialling on. ({tls.plain(error)})")
            up = False
            time.sleep(pause)
            pause = min(2 * pause, LONGEST)
            continue
        if not up:
            say("The coordinator is there.")
        pause, heard, up = FIRST, time.monotonic(), True
        if reply.status in (WRONG, NOT_YOU):
            raise SentAway(messages.printable(body.decode(errors="replace")))
        if reply.status == DONE:
            line.close()
            return messages.printable(body.decode(errors="replace"))
        if reply.status == TOO_LATE:
            say("The answer came too late, or to a coordinator that has started again.")
        answer = (reply.headers[TICKET], part.answer(body)) if reply.status == FOUND else None


def of_the_coordinator(folder, port: int) -> str:
    """The url with the first address in the coordinator's certificate; ValueError unless there is one coordinator."""
    there = [member for member in certificates.members(folder) if member.coordinator]
    if len(there) != 1:
        raise ValueError(f"--dial must be given: the list of members has {len(there)} coordinators.")
    return f"https://{there[0].addresses[0]}:{port}"


def address(url: str) -> tuple[str, int]:
    """Name and port in a url."""
    try:
        found = urllib.parse.urlsplit(url)
        host, port = found.hostname, found.port or 8443
    except (ValueError, AttributeError):
        host = None
    if not host or found.scheme != "https" or found.path.strip("/"):
        raise ValueError(f"url must be like https://192.168.1.20:8443; got {brief(url)}.")
    return host, port


def _dial(place: tuple[str, int], rules, folder) -> http.client.HTTPSConnection:
    """A line to the coordinator, once the other end is known to be it."""
    line = http.client.HTTPSConnection(*place, timeout=POLL + QUIET, context=rules)
    line.connect()
    line.auto_open = 0  # no line without the next check
    line.shown = line.sock.getpeercert(binary_form=True)
    _known(line, folder)
    return line


def _known(line: http.client.HTTPSConnection, folder) -> None:
    """That the other end is the coordinator by the list of members as it is now."""
    try:
        if not certificates.recognise(folder, line.shown).coordinator:
            raise ValueError("The other end is a hospital.")
    except ValueError as no:
        line.close()
        raise SentAway(str(no)) from None


def _body(reply: http.client.HTTPResponse, agreement: Agreement) -> bytes:
    """What came. If its head is wrong, the head alone, which the part refuses; the rest stays unread."""
    if reply.status not in (FOUND, STAND_BY, WRONG, NOT_YOU, TOO_LATE, DONE):
        raise ConnectionError(f"HTTP says {reply.status}")
    if reply.status != FOUND:
        return reply.read(_SENTENCE)
    head = reply.read(messages.HEADER_BYTES)
    try:
        rest = following(head, reply.headers["Content-Length"], agreement, COORDINATOR)
    except messages.Refused:
        return head
    body = head + reply.read(rest)
    if len(body) < len(head) + rest:
        raise ConnectionError("The message was cut off")
    return body
