"""What has been released about patients: the ledger."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pandas as pd

NOT_PRIVATE = "not private"


@dataclass(frozen=True)
class Entry:
    """One release.

    Attributes
    ----------
    what
        What left the hospital, such as "column sums".
    hospital
        Whose patients it is about.
    viewer
        Who sees it: "server", a hospital, or "outsider".
    guarantee
        What is promised to a patient; "not private" is the honest word for no promise.
    detail
        Which columns, how many numbers, in which round.
    """

    what: str
    hospital: str
    viewer: str
    guarantee: str = NOT_PRIVATE
    detail: str = ""


@dataclass(frozen=True)
class Ledger:
    """All releases so far, oldest first. Nothing is ever taken out, and nothing resets.

    A ledger does not change: `add` returns a longer one, so that a training run can continue the ledger of
    its data without writing into it.
    """

    entries: tuple[Entry, ...] = ()

    def add(
        self, what: str, *, hospital: str, viewer: str, guarantee: str = NOT_PRIVATE, detail: str = ""
    ) -> Ledger:
        """A new ledger with one more entry; use what it returns, as this one stays as it is."""
        return Ledger((*self.entries, Entry(what, hospital, viewer, guarantee, detail)))

    def __len__(self) -> int:
        return len(self.entries)

    def table(self) -> pd.DataFrame:
        """One row a release: what, hospital, viewer, guarantee, detail."""
        columns = [f.name for f in fields(Entry)]
        return pd.DataFrame([[getattr(e, c) for c in columns] for e in self.entries], columns=columns)
