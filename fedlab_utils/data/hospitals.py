"""`Hospital` and `Federation`: training and test rows as tensors, and what was agreed on to get there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from torch import Tensor

from fedlab_utils.data import agreement, bounded, oddities, partition
from fedlab_utils.data.agreement import Agreed, Statement
from fedlab_utils.data.partition import Part
from fedlab_utils.data.schema import Schema, Task
from fedlab_utils.data.sentences import Remark
from fedlab_utils.fleet.randomness import split_generator
from fedlab_utils.privacy import Ledger, RecordDP

_KEY = secrets.token_hex(8)  # what is computed from patients' rows means nothing outside of this process


@dataclass(frozen=True, eq=False, repr=False)
class Hospital:
    """One hospital's patients.

    Attributes
    ----------
    name
        Its name.
    X_train, y_train, X_test, y_test
        float32 tensors, features ``[n, d]`` and labels ``[n, 1]``. Labels are 0 and 1, class numbers, or, in
        regression, standardised targets.
    train, test
        The same patients row for row, clean but unscaled, with the target; missing values are NaN.
    true_risk
        ``[n_test, 1]``, the true probability of the positive class of each test patient where the world is
        simulated, otherwise None.
    train_patients, test_patients
        Numbers that tell patients apart, in all hospitals, ``[n]``; None where that is not known.
    """

    name: str
    X_train: Tensor
    y_train: Tensor
    X_test: Tensor
    y_test: Tensor
    train: pd.DataFrame
    test: pd.DataFrame
    true_risk: Tensor | None = None
    train_patients: np.ndarray | None = None
    test_patients: np.ndarray | None = None

    def __repr__(self) -> str:
        return f"Hospital({self.name!r}, {len(self.X_train)} training rows, {len(self.X_test)} test rows)"


@dataclass(frozen=True, eq=False, repr=False)
class Federation:
    """Hospitals that can train together.

    Attributes
    ----------
    name
        Of the data set.
    hospitals
        One `Hospital` each.
    schema
        Which columns are numbers and which categories, target, task, public bounds and categories.
    agreed
        Means, standard deviations and categories of all training rows; with a promise, noisy ones.
    feature_names
        Columns of ``X_train`` and ``X_test``.
    messages
        What hospitals and server sent each other to agree.
    ledger
        What that released about patients.
    remarks
        All that is odd, a sentence each, the most harmful first; `report` is its beginning.
    notes
        What of it is about the table as a whole.
    local_scaling
        Whether each hospital is standardised with its own training rows (protocol of heart_disease).
    promise, seed
        What the agreement promises to each training patient (None: nothing, it is exact), and where its noise starts.
    aggregator
        Through what the sums of the agreement travelled; None is in the open.
    """

    name: str
    hospitals: tuple[Hospital, ...]
    schema: Schema
    agreed: Agreed
    feature_names: list[str]
    messages: tuple[Statement, ...]
    ledger: Ledger
    remarks: tuple[str, ...]
    notes: tuple[Remark, ...] = ()
    local_scaling: bool = False
    promise: RecordDP | None = None
    seed: int = 0
    aggregator: object = None

    def __repr__(self) -> str:
        rows = sum(len(h.X_train) for h in self.hospitals)
        return (
            f"Federation({self.name!r}, {self.task}, {len(self.hospitals)} hospitals, {rows} training rows, "
            f"{self.n_features} features)"
        )

    @property
    def transformer(self) -> ColumnTransformer:
        """What `transform` does, as a transformer for scikit-learn's pipelines; it takes tidy rows."""
        return agreement.transformer(self.agreed, self.schema.numeric)

    @property
    def n_features(self) -> int:
        """Number of columns of ``X_train``."""
        return len(self.feature_names)

    @property
    def task(self) -> Task:
        """"binary", "multiclass" or "regression"."""
        return self.schema.task

    @property
    def target(self) -> str:
        """The column to predict."""
        return self.schema.target

    @property
    def classes(self) -> tuple:
        """Values of the target in the order of the labels; in a binary task the last is the positive one."""
        return self.schema.classes

    @property
    def report(self) -> list[str]:
        """What is odd about the table, at most a dozen sentences; those left out are in `remarks`.

        With a promise, `remarks` too hold one sentence that tells nothing about rows: nobody paid for more.
        """
        return oddities.in_short(self.remarks)

    @property
    def rows_a_patient(self) -> int | None:
        """The largest number of training rows of one patient, None where patients are not told apart.

        A promise for a record is one for a patient only if this is 1.
        """
        known = [h.train_patients for h in self.hospitals]
        return None if any(k is None for k in known) else int(np.bincount(np.concatenate(known)).max())

    def transform(self, frame: pd.DataFrame) -> Tensor:
        """Clean, unscaled rows as a float32 tensor ``[n, n_features]``, with the agreed numbers."""
        return _matrix(self.schema.tidy(frame), self.agreed, self.schema)

    def pooled(self) -> Hospital:
        """All rows in one place, in the order of the hospitals: what federated learning avoids.

        With `local_scaling`, they are standardised with the pooled training rows.
        """
        parts = self.hospitals
        train = pd.concat([h.train for h in parts], ignore_index=True)
        test = pd.concat([h.test for h in parts], ignore_index=True)
        if self.local_scaling:
            X_train, X_test = self.transform(train), self.transform(test)
        else:
            X_train, X_test = torch.cat([h.X_train for h in parts]), torch.cat([h.X_test for h in parts])
        y_train, y_test = torch.cat([h.y_train for h in parts]), torch.cat([h.y_test for h in parts])
        known = all(h.true_risk is not None for h in parts)
        true_risk = torch.cat([h.true_risk for h in parts]) if known else None
        patients = (_together([h.train_patients for h in parts]), _together([h.test_patients for h in parts]))
        return Hospital("pooled", X_train, y_train, X_test, y_test, train, test, true_risk, *patients)

    def repartition(self, n_hospitals: int, alpha: float | None, seed: int = 0) -> Federation:
        """Deal the same patients out to other hospitals.

        Training rows stay training rows and test rows stay test rows; shares of the classes are drawn once
        and hold for both, and all rows of a patient go to one hospital where patients are told apart. So what was
        agreed on stays the same; where it is private, nothing is released again, and the ledger goes on.

        Parameters
        ----------
        n_hospitals
            How many.
        alpha
            Label skew: each class is spread over the hospitals by a Dirichlet(alpha) draw; the smaller, the
            more uneven. None deals out at random, in equal sizes. In regression, tenths of the target stand
            in for classes.
        seed
            Of the draw.

        Raises
        ------
        ValueError
            If `n_hospitals`, `alpha` or `seed` cannot be.
        """
        rng = split_generator(seed)
        everyone = self.pooled()
        # Dealt out by label, a hospital's name tells something about its patients' labels: their true risk
        # *there* is no longer the one that they were simulated with.
        risk_known = everyone.true_risk is not None and alpha is None
        known = everyone.train_patients is not None
        units = len(np.unique(everyone.train_patients)) if known else len(everyone.train)
        partition.refuse(n_hospitals, alpha, units, "patients" if known else "rows")
        train, test = everyone.y_train.numpy().ravel(), everyone.y_test.numpy().ravel()
        regression = self.task == "regression"
        in_train = partition.groups(train, regression=regression)
        in_test = partition.groups(test, regression=regression, of=train)
        n_groups = int(max(in_train.max(), in_test.max(initial=0))) + 1
        about = dict(shares=partition.draw_shares(n_groups, n_hospitals, alpha, rng), regression=regression, of=train)
        has_train = partition.deal_patients(train, everyone.train_patients, n_hospitals, rng, **about, at_least=2)
        has_test = partition.deal_patients(test, everyone.test_patients, n_hospitals, rng, **about, at_least=0)
        parts = [
            Part(
                f"Hospital {k + 1}",
                everyone.train[has_train == k].reset_index(drop=True),
                everyone.test[has_test == k].reset_index(drop=True),
                everyone.true_risk.numpy()[has_test == k] if risk_known else None,
                (everyone.train_patients[has_train == k], everyone.test_patients[has_test == k]) if known else None,
            )
            for k in range(n_hospitals)
        ]
        if self.promise is None:
            return self._with(parts, at_least=self.agreed.categories)
        return replace(self._with(parts, agreed=self.agreed), messages=self.messages, ledger=self.ledger)

    def replace_train(self, frames: Mapping[str, pd.DataFrame] | Sequence[pd.DataFrame]) -> Federation:
        """Other training rows, such as synthetic patients, and the same test rows.

        Means and spreads are agreed on anew, from the new rows: whoever trains on synthetic patients has not
        seen the real ones, so their means must not slip in. The categories, and so the features, stay. In
        regression, labels are then in units of the new rows' standard deviation. Private statistics are private
        again, and the new ledger is about the new rows alone. Whose they are is not known: `rows_a_patient` is None.

        Parameters
        ----------
        frames
            Clean, unscaled rows with the target, by hospital name or in the order of the hospitals.

        Raises
        ------
        ValueError
            If a table is missing or empty, or lacks a column or a target.
        """
        names = [h.name for h in self.hospitals]
        if not isinstance(frames, Mapping):
            if len(frames) != len(names):
                raise ValueError(f"frames has {len(frames)} tables; it must have one for each of {names}.")
            frames = dict(zip(names, frames, strict=True))
        if frames.keys() != set(names):
            raise ValueError(f"frames must have a table for each of {names}, not for {list(frames)}.")
        parts = [
            Part(
                h.name,
                self._check_rows(h.name, frames[h.name]),
                h.test,
                None if h.true_risk is None else h.true_risk.numpy(),
            )
            for h in self.hospitals
        ]
        return self._with(parts, public=self.agreed.categories)

    def _with(self, parts: Sequence[Part], **known) -> Federation:
        about = dict(promise=self.promise, seed=self.seed, aggregator=self.aggregator) | known
        return assemble(self.name, parts, self.schema, self.notes, self.local_scaling, **about)

    def _check_rows(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        if not len(frame):
            raise ValueError(f"The table for {name!r} has no rows.")
        if self.target not in frame or frame[self.target].isna().any():
            raise ValueError(f"The table for {name!r} must have the target {self.target!r} in every row.")
        frame = frame.reset_index(drop=True)
        self.schema.labels(frame[self.target])
        return self.schema.tidy(frame).assign(**{self.target: self.schema.outcome(frame[self.target])})


def assemble(
    name: str,
    parts: Sequence[Part],
    schema: Schema,
    notes: tuple[Remark, ...],
    local_scaling: bool,
    *,
    public: Mapping[str, Sequence[str]] | None = None,
    at_least: Mapping[str, Sequence[str]] | None = None,
    promise: RecordDP | None = None,
    seed: int = 0,
    agreed: Agreed | None = None,
    aggregator=None,
) -> Federation:
    """Let the parts agree on their training rows, and scale.

    `public` are categories known without asking (None: those of the schema), `at_least` categories to keep
    room for; see `agreement.agree`. With a `promise` they agree by `agreement.agree_privately`, whose noise starts
    from `seed`; with an `aggregator` by `agreement.agree_in_one_sum`. If it is known what was `agreed`, nothing is
    sent.
    """
    regression = schema.task == "regression"
    numeric = [*schema.numeric, schema.target] if regression else schema.numeric
    public = schema.categories if public is None else public

    def agree(some: Sequence[Part]) -> tuple[Agreed, tuple[Statement, ...]]:
        train = {p.name: p.train for p in some}
        # The published protocol, the only one with local scaling, divides by one row less.
        return agreement.agree(
            train, numeric, schema.categorical, public=public, at_least=at_least, ddof=int(local_scaling)
        )

    messages: tuple[Statement, ...] = ()
    if agreed is None and promise is None and aggregator is None:
        agreed, messages = agree(parts)
    elif agreed is None:
        known = ({p.name: p.train for p in parts}, numeric, schema.categorical)
        about = dict(bounds=schema.bounds, public=public, seed=seed)
        if aggregator is None:
            agreed, messages = agreement.agree_privately(*known, promise=promise, **about)
        else:
            agreed, messages = agreement.agree_in_one_sum(*known, aggregator=aggregator, **about)
    if local_scaling:
        messages = ()  # what all agree on then serves `pooled` alone, which puts all rows in one place anyway
    features = agreement.feature_names(agreed, schema.numeric)
    _check_features(features)
    # Scaling looks at one row at a time, so that the rows of all hospitals can go through in one call.
    frames = [frame for p in parts for frame in (p.train, p.test)]
    sizes, everybody = [len(frame) for frame in frames], pd.concat(frames)
    y = _labels(schema, agreed, everybody).split(sizes)
    if local_scaling:
        own = [agree([p])[0] for p in parts]
        X = [_matrix(frame, own[k // 2], schema) for k, frame in enumerate(frames)]
    else:
        X = _matrix(everybody, agreed, schema).split(sizes)
    hospitals = []
    for k, p in enumerate(parts):
        risk = None if p.true_risk is None else torch.tensor(p.true_risk, dtype=torch.float32)
        train, test = 2 * k, 2 * k + 1
        tensors = X[train], y[train], X[test], y[test]
        hospitals.append(Hospital(p.name, *tensors, p.train, p.test, risk, *(p.patients or (None, None))))
    remarks = oddities.about_federation(notes, parts, schema, agreed, promise)
    about = (messages, Ledger(), remarks, notes, local_scaling, promise, seed, aggregator)
    federation = Federation(name, tuple(hospitals), schema, agreed, features, *about)
    return replace(federation, ledger=_released(federation))


def _together(patients: list[np.ndarray | None]) -> np.ndarray | None:
    return None if any(p is None for p in patients) else np.concatenate(patients)


def _released(federation: Federation) -> Ledger:
    """What the messages of the agreement told the server about patients, and at what price."""
    promise, rows = federation.promise, {h.name: len(h.train) for h in federation.hospitals}
    most = federation.rows_a_patient or 1
    where = dealing(federation) if promise and federation.messages else None
    ledger = Ledger()
    if federation.aggregator is not None:
        if federation.messages:
            sees = getattr(federation.aggregator, "sees", "single vectors")  # what is not declared counts as seen
            detail = f"{3 * len(federation.agreed.means)} numbers; the aggregator shows: {sees or 'nothing'}"
            viewer = "server" if sees else "every hospital"
            ledger = ledger.add("counts, sums and squares", hospital=", ".join(rows), viewer=viewer, detail=detail)
        return ledger
    for m in federation.messages:
        if m.receiver == "server":
            detail = f"{m.size} numbers about {', '.join(m.payload)}"
            noise = None if promise is None else bounded.mechanism(promise, rows[m.sender], most)
            about = dict(hospital=m.sender, viewer="server", detail=detail, mechanism=noise, dealing=where)
            ledger = ledger.add(m.what, **about)
    return ledger


def _check_features(features: list[str]) -> None:
    if not features:
        raise ValueError("No feature column has a value in the training rows; there is nothing to learn.")
    if twice := [f for f in features if features.count(f) > 1]:
        raise ValueError(f"Two features would both be called {twice[0]!r}; rename one of their columns.")


def _matrix(tidy: pd.DataFrame, agreed: Agreed, schema: Schema) -> Tensor:
    return torch.tensor(agreement.scaled(tidy, agreed, schema.numeric), dtype=torch.float32)


def _labels(schema: Schema, agreed: Agreed, frame: pd.DataFrame) -> Tensor:
    y = schema.labels(frame[schema.target])
    if schema.task == "regression":
        y = (y - agreed.means[schema.target]) / (agreed.sds[schema.target] or 1)
    return torch.tensor(y, dtype=torch.float32)[:, None]


def dealing(federation: Federation) -> int:
    """A number for who is in which hospital, whatever the split into training and test rows."""
    tables = [rows for h in federation.hospitals for rows in (h.train, h.test)]
    numbers = pd.util.hash_pandas_object(pd.concat(tables), index=False).to_numpy()  # all at once: tables are many
    sums = np.zeros(len(federation.hospitals), numbers.dtype)
    np.add.at(sums, np.repeat(np.arange(len(tables)) // 2, [len(rows) for rows in tables]), numbers)
    return hash((_KEY, *((h.name, total) for h, total in zip(federation.hospitals, sums.tolist(), strict=True))))
