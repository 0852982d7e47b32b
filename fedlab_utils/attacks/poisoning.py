"""Attacks of hospitals on the model that all train: poisoned labels, poisoned rows, and poisoned updates.

Each is handed to `federated.train` as `attack`. How much it does has to be read beside the same training without it,
and by a measure that it moves: who relabels patients hardly moves an AUC.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, number
from fedlab_utils.data import Federation, Hospital
from fedlab_utils.federated import Attack, FederatedRun
from fedlab_utils.federated.clinic import scored_on
from fedlab_utils.federated.scores import predict


@dataclass(frozen=True)
class HideTheIll(Attack):
    """All training patients who are ill are labelled healthy: risks become too low, and their order hardly changes.

    Parameters
    ----------
    hospitals
        Who cheats: names, or numbers from 0 on.
    """

    tasks = ("binary",)

    def rows(self, hospital: Hospital, federation: Federation) -> tuple[Tensor, Tensor]:
        return hospital.X_train, torch.zeros_like(hospital.y_train)


@dataclass(frozen=True)
class LabelFlip(Attack):
    """Labels are turned round: of C classes, c becomes C - 1 - c (as in Fang et al., arXiv:1911.11815).

    Parameters
    ----------
    hospitals
        Who cheats: names, or numbers from 0 on.
    """

    tasks = ("binary", "multiclass")

    def rows(self, hospital: Hospital, federation: Federation) -> tuple[Tensor, Tensor]:
        return hospital.X_train, len(federation.classes) - 1 - hospital.y_train


@dataclass(frozen=True)
class SignFlip(Attack):
    """Updates are sent the other way round: -scale times what came of the training.

    Parameters
    ----------
    hospitals
        Who cheats: names, or numbers from 0 on.
    scale
        By how much longer.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """

    scale: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "scale", number("scale", self.scale))

    def update(self, updates: Tensor) -> Tensor:
        return -self.scale * updates


@dataclass(frozen=True)
class Backdoor(Attack):
    """A trigger teaches the model a label: some rows are trained on once more with the trigger stamped on them.

    The rows themselves stay, so that the model is as good as before without the trigger (Bagdasaryan et al.,
    arXiv:1807.00459, who boost the update so that it outweighs the others).

    Parameters
    ----------
    hospitals
        Who cheats: names, or numbers from 0 on.
    columns, values
        The trigger: columns of the table, and the value that each is set to, in the units of the table.
    label
        The class that patients with the trigger are to get, as it stands in the table.
    boost
        What the update is multiplied by before it is sent.
    share
        How many stamped copies are added, as a share of the hospital's training rows: the first ones of them.

    Raises
    ------
    ValueError
        If an argument does not fit; columns, values and label show with the federation, before it is trained.
    """

    tasks = ("binary", "multiclass")

    columns: Sequence[str] = ()
    values: Sequence = ()
    label: object = None
    boost: float = 1.0
    share: float = 0.5

    _stamps: WeakKeyDictionary = field(default_factory=WeakKeyDictionary, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._settle("columns")
        self._settle("values")
        if not self.columns or len(self.columns) != len(self.values):
            got = f"{len(self.columns)} and {len(self.values)}"
            raise ValueError(f"columns and values must be lists of the same length, at least 1; got {got}.")
        object.__setattr__(self, "boost", number("boost", self.boost))
        object.__setattr__(self, "share", number("share", self.share))
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0 and at most 1; got {self.share:g}.")

    def refuse(self, federation: Federation) -> None:
        super().refuse(federation)
        known = [*federation.schema.numeric, *federation.schema.categorical]
        for c in self.columns:
            if c not in known:
                raise ValueError(f"columns must be of {', '.join(known[:8])}, ...; got {brief(c)}.")
        if self.label not in list(federation.classes):
            raise ValueError(f"label must be one of the classes {list(federation.classes)}; got {brief(self.label)}.")
        if federation.local_scaling:
            raise ValueError("attack Backdoor needs one scale for all hospitals; here each of them has its own.")
        try:
            self._stamp(federation)
        except (TypeError, ValueError):
            raise ValueError(f"values must fit their columns; got {brief(self.values)}.") from None

    def _stamp(self, federation: Federation) -> tuple[list[int], Tensor]:
        """Which features the trigger sets, and to what ``[features]``.

        A feature is made of one column, so what one row with the trigger becomes holds for all of them. It is kept, as
        scikit-learn takes as long for one row as for a thousand.
        """
        if federation in self._stamps:
            return self._stamps[federation]
        categories = federation.agreed.features().items()
        made_of = [*federation.schema.numeric, *(c for c, kept in categories for _ in kept)]
        own = [k for k, column in enumerate(made_of) if column in self.columns]
        row = federation.hospitals[0].train[:1].assign(**dict(zip(self.columns, self.values, strict=True)))
        self._stamps[federation] = own, federation.transform(row)[0, own]
        return self._stamps[federation]

    def stamped(self, X: Tensor, federation: Federation) -> Tensor:
        """Features ``[n, d]`` of patients, with the trigger."""
        own, values = self._stamp(federation)
        X = X.clone()
        X[:, own] = values
        return X

    def rows(self, hospital: Hospital, federation: Federation) -> tuple[Tensor, Tensor]:
        X = self.stamped(hospital.X_train[: max(1, round(self.share * len(hospital.X_train)))], federation)
        y = torch.full((len(X), 1), float(self._number(federation)))
        return torch.cat([hospital.X_train, X]), torch.cat([hospital.y_train, y])

    def update(self, updates: Tensor) -> Tensor:
        return self.boost * updates

    @fleet.one_thread()
    def success(
        self, run: FederatedRun, federation: Federation | Sequence[Federation], *, threshold: float = 0.5
    ) -> np.ndarray:
        """Of all test patients with another label, the share that gets `label` once they have the trigger, ``[seeds]``.

        A trigger may look like a healthy patient, and then does so in the model of honest hospitals, too. So what an
        attack achieved is the *difference* to the same training without it: ``backdoor.success(attacked, federation) -
        backdoor.success(clean, federation)``.

        Parameters
        ----------
        run, federation
            What was trained, by whoever, and on what.
        threshold
            In a binary task, predicted risk from which on a patient counts as one of the second class.

        Returns
        -------
        array [seeds]
            Missing where nobody has another label.

        Raises
        ------
        ValueError
            If `run`, `federation` or `threshold` does not fit.
        """
        if not isinstance(run, FederatedRun):
            raise ValueError(f"run must be what federated.train returned; got {brief(run)}.")
        if not 0 < number("threshold", threshold) < 1:
            raise ValueError(f"threshold must be a risk above 0 and below 1; got {threshold:g}.")
        federations = scored_on(run, federation)
        found = np.full(len(run), np.nan)
        for f in {id(f): f for f in federations}.values():
            self.refuse(f)
            seeds = [s for s, other in enumerate(federations) if other is f]
            X, y = (torch.cat([getattr(h, name) for h in f.hospitals]) for name in ("X_test", "y_test"))
            other = y[:, 0] != self._number(f)
            if not other.any():
                continue
            chance = predict(run.params[seeds], self.stamped(X[other], f), f.task)
            given = chance[:, :, 1] >= threshold if f.task == "binary" else chance.argmax(2)
            found[seeds] = (given == self._number(f)).double().mean(1).numpy()
        return found

    def _number(self, federation: Federation) -> int:
        return list(federation.classes).index(self.label)
