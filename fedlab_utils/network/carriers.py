"""What carries messages. A carrier has one method, ``ask``; this one stays in the process, for tests and to be read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from fedlab_utils.network.hospital import HospitalPart


class Carrier(Protocol):
    """Brings requests to hospitals, and answers back. It knows who is at the other end; it does not read."""

    def ask(self, requests: Mapping[str, bytes], deadline: float) -> dict[str, bytes]:
        """The answers that came within so many seconds, by hospital; whoever is not in it did not answer."""


class InProcess:
    """Hands each request to the hospital's part in this process.

    Parameters
    ----------
    parts
        By name. One that is taken out, or raises, does not answer.
    """

    def __init__(self, parts: Mapping[str, HospitalPart]) -> None:
        self.parts = dict(parts)

    def ask(self, requests: Mapping[str, bytes], deadline: float) -> dict[str, bytes]:
        found = {}
        for name, request in requests.items():
            if name in self.parts:
                found[name] = self.parts[name].answer(request)
        return found
