"""The seam where hospitals cheat: with other training rows, or with another update than they came to.

What exactly is in `attacks.poisoning`. An attack touches training alone, so that scores are those of honest test rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import brief, finite, labels
from fedlab_utils.data import Federation, Hospital


@dataclass(frozen=True)
class Attack:
    """Hospitals that cheat, and what they do: nothing here. Your own is a frozen dataclass with another method.

    Rows are changed before the first round. A hospital counts in the mean by the rows it had, and makes the steps it
    would have made: nobody can claim patients by cheating with rows. An update is changed after everything else but
    compressing, clipping under `HospitalDP` included: a liar sends what it likes. Only what the protocol has no words
    for cannot be sent: behind a masked sum each number is cut off at the protocol's limit.

    A promise of privacy is about honest hospitals. That of a liar's own patients may be broken by the liar, and the
    ledger counts them as if it were honest: under `RecordDP` its epsilon is not that of rows that were copied.

    Attributes
    ----------
    tasks
        Kinds of task in which it can be done.

    Parameters
    ----------
    hospitals
        Who cheats: names, or numbers from 0 on. None at all is right, too.

    Raises
    ------
    ValueError
        If `hospitals` is something else. That all of them are there shows with the federation, before it is trained.
    """

    tasks: ClassVar[Sequence[str]] = ("binary", "multiclass", "regression")

    hospitals: Sequence[str | int]

    def __post_init__(self) -> None:
        self._settle("hospitals")
        for one in self.hospitals:
            if isinstance(one, bool) or not isinstance(one, str | int | np.integer):
                raise ValueError(f"hospitals must be names or numbers of hospitals; got {brief(one)}.")

    def rows(self, hospital: Hospital, federation: Federation) -> tuple[Tensor, Tensor]:
        """What one of them trains on, features ``[n, d]`` and labels ``[n, 1]``; n may be another number."""
        return hospital.X_train, hospital.y_train

    def update(self, updates: Tensor) -> Tensor:
        """What they send in the place of their updates ``[updates, D]``."""
        return updates

    def who(self, federation: Federation) -> list[int]:
        """Their numbers, rising.

        Raises
        ------
        ValueError
            If the federation lacks one of them.
        """
        names = [h.name for h in federation.hospitals]
        for one in self.hospitals:
            if one not in names and one not in range(len(names)):
                known = f"{', '.join(names[:6])}{', ...' if len(names) > 6 else ''} or 0 to {len(names) - 1}"
                raise ValueError(f"hospitals must be of {known}; got {brief(one)}.")
        return sorted({names.index(one) if isinstance(one, str) else int(one) for one in self.hospitals})

    def refuse(self, federation: Federation) -> None:
        """Refuse a federation in which this cannot be done."""
        self.who(federation)
        if federation.task not in self.tasks:
            fit, name = " or ".join(self.tasks), type(self).__name__
            raise ValueError(f"attack {name} is for a {fit} task; this one is {federation.task}.")

    def _settle(self, name: str) -> None:
        """Keep an argument that is a list of things as a tuple."""
        value = getattr(self, name)
        if isinstance(value, str) or not isinstance(value, Sequence | np.ndarray):
            raise ValueError(f"{name} must be a list, such as [0] or ['north']; got {brief(value)}.")
        object.__setattr__(self, name, tuple(value))


def as_attack(given) -> Attack | None:
    """What was given as `attack`, if it is one."""
    if given is None or isinstance(given, Attack):
        return given
    raise ValueError(f"attack must be None, or an attack such as attacks.HideTheIll([0]); got {brief(given)}.")


class Cheats:
    """What hospitals cheat with in one fleet, each run by its own attack.

    Parameters
    ----------
    attacks
        For each setting; None for none.
    federations
        For each replicate.
    X, y, rows
        One table of all training rows, and for each replicate and hospital the numbers of its rows.

    Attributes
    ----------
    X, y
        The table, and after it those rows that an attack made or changed.
    """

    def __init__(
        self,
        attacks: Sequence[Attack | None],
        federations: Sequence[Federation],
        X: Tensor,
        y: Tensor,
        rows: Sequence[Sequence[np.ndarray]],
    ) -> None:
        self._attacks, self._honest, self._replicates = attacks, rows, len(federations)
        self._own: dict[tuple[int, int], np.ndarray] = {}  # by run and hospital
        self._liar = np.zeros((len(attacks) * len(federations), len(federations[0].hospitals)), dtype=bool)
        pieces, made, end = [(X, y)], {}, len(y)
        for r in range(len(self._liar)):
            attack, s = attacks[r // self._replicates], r % self._replicates
            for h in [] if attack is None else attack.who(federations[s]):
                self._liar[r, h] = True
                hospital = federations[s].hospitals[h]
                key = id(attack), id(hospital), id(federations[s])  # an attack of one's own may have no hash
                if key not in made:
                    made[key], *new = _poisoned(attack, hospital, federations[s], rows[s][h], end)
                    pieces.append(new)
                    end += len(new[1])
                self._own[r, h] = made[key]
        if end > len(y):
            X, y = (torch.cat(parts) for parts in zip(*pieces, strict=True))
        self.X, self.y = X, y

    def rows(self, run: int, hospital: int) -> np.ndarray:
        """The numbers of the rows in the table that a hospital trains on."""
        found = self._own.get((run, hospital))
        return self._honest[run % self._replicates][hospital] if found is None else found

    def send(self, updates: Tensor, run: np.ndarray, hospital: np.ndarray, largest: float) -> Tensor:
        """What leaves the hospitals: updates ``[n, D]`` of hospitals in runs, each ``[n]``, no number beyond `largest`.

        Raises
        ------
        ValueError
            If an attack makes something else of updates.
        """
        found = updates
        for m, attack in enumerate(self._attacks):
            if attack is None or type(attack).update is Attack.update:
                continue
            mine = torch.from_numpy(np.flatnonzero(self._liar[run, hospital] & (run // self._replicates == m)))
            if not len(mine):
                continue
            sent = attack.update(updates[mine])
            if not isinstance(sent, Tensor) or sent.shape != updates[mine].shape:
                want, got = list(updates[mine].shape), list(getattr(sent, "shape", ())) or brief(sent)
                raise ValueError(f"attack must make updates {want} of updates; got {got}.")
            if largest < torch.inf:
                sent = sent.nan_to_num(0.0).clamp(-largest, largest)
            found = updates.clone() if found is updates else found
            found[mine] = sent.to(updates)
        return found


def _poisoned(
    attack: Attack, hospital: Hospital, federation: Federation, numbers: np.ndarray, end: int
) -> tuple[np.ndarray, Tensor, Tensor]:
    """The numbers of the rows one hospital trains on, and those of them that are new, numbered from `end` on."""
    X, y = attack.rows(hospital, federation)
    wrong = f"attack must make rows [n, {federation.n_features}] and labels [n, 1], at least one, as tensors"
    if not isinstance(X, Tensor) or not isinstance(y, Tensor):
        raise ValueError(f"{wrong}; got {brief(type(X).__name__)} and {brief(type(y).__name__)}.")
    if X.dim() != 2 or X.shape[1] != federation.n_features or y.shape != (len(X), 1) or not len(X):
        raise ValueError(f"{wrong}; got {list(X.shape)} and {list(y.shape)}.")
    finite(X=X, y=y)
    labels(y, len(federation.classes) if federation.task == "multiclass" else 1, federation.task)
    both = min(len(y), len(numbers))
    new = torch.ones(len(y), dtype=torch.bool)
    new[:both] = (y[:both] != hospital.y_train[:both]).any(1)
    if X is not hospital.X_train:
        new[:both] |= (X[:both] != hospital.X_train[:both]).any(1)
    found = np.empty(len(y), dtype=numbers.dtype)
    found[:both] = numbers[:both]
    found[new.numpy()] = end + np.arange(int(new.sum()))
    return found, X[new].to(hospital.X_train), y[new].to(hospital.y_train)
