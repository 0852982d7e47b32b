"""`Hospital` and `Federation`: training and test rows as tensors, and what was agreed on to get there."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd
import torch
from sklearn.compose import ColumnTransformer
from torch import Tensor

from fedlab_utils.data import agreement, oddities, partition
from fedlab_utils.data.agreement import Agreed, Statement
from fedlab_utils.data.partition import Part
from fedlab_utils.data.schema import Schema, Task
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
    """

    name: str
    X_train: Tensor
    y_train: Tensor
    X_test: Tensor
    y_test: Tensor
    train: pd.DataFrame
    test: pd.DataFrame
    true_risk: Tensor | None = None

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
    transformer
        The scikit-learn transformer that knows them.
    feature_names
        Columns of ``X_train`` and ``X_test``.
    messages
        What hospitals and server sent each other to agree.
    ledger
        What that released about patients.
    report
        Oddities, a sentence each.
    notes
        Those of them that are about the table as a whole.
    local_scaling
        Whether each hospital is standardised with its own training rows (protocol of heart_disease).
    promise, seed
        What the agreement promises to each training patient (None: nothing, it is exact), and where its noise starts.
    """

    name: str
    hospitals: tuple[Hospital, ...]
    schema: Schema
    agreed: Agreed
    transformer: ColumnTransformer
    feature_names: list[str]
    messages: tuple[Statement, ...]
    ledger: Ledger
    report: list[str]
    notes: tuple[str, ...] = ()
    local_scaling: bool = False
    promise: RecordDP | None = None
    seed: int = 0

    def __repr__(self) -> str:
        rows = sum(len(h.X_train) for h in self.hospitals)
        return (
            f"Federation({self.name!r}, {self.task}, {len(self.hospitals)} hospitals, {rows} training rows, "
            f"{self.n_features} features)"
        )

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

    def transform(self, frame: pd.DataFrame) -> Tensor:
        """Clean, unscaled rows as a float32 tensor ``[n, n_features]``, with the agreed numbers."""
        return _matrix(self.transformer, self.schema.tidy(frame), self.n_features)

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
        return Hospital("pooled", X_train, y_train, X_test, y_test, train, test, true_risk)

    def repartition(self, n_hospitals: int, alpha: float | None, seed: int = 0) -> Federation:
        """Deal the same patients out to other hospitals.

        Training rows stay training rows and test rows stay test rows; shares of the classes are drawn once
        and hold for both. So what was agreed on stays the same; where it is private, nothing is released again,
        and the ledger goes on.

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
        partition.refuse(n_hospitals, alpha, len(everyone.train))
        train, test = everyone.y_train.numpy().ravel(), everyone.y_test.numpy().ravel()
        regression = self.task == "regression"
        in_train = partition.groups(train, regression=regression)
        in_test = partition.groups(test, regression=regression, of=train)
        n_groups = int(max(in_train.max(), in_test.max(initial=0))) + 1
        shares = partition.draw_shares(n_groups, n_hospitals, alpha, rng)
        has_train = partition.deal(in_train, shares, n_hospitals, rng, at_least=2)
        has_test = partition.deal(in_test, shares, n_hospitals, rng, at_least=0)
        parts = [
            Part(
                f"Hospital {k + 1}",
                everyone.train[has_train == k].reset_index(drop=True),
                everyone.test[has_test == k].reset_index(drop=True),
                everyone.true_risk.numpy()[has_test == k] if risk_known else None,
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
        again, and the new ledger is about the new rows alone.

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
        about = dict(promise=self.promise, seed=self.seed) | known
        return assemble(self.name, parts, self.schema, self.notes, self.local_scaling, **about)

    def _check_rows(self, name: str, frame: pd.DataFrame) -> pd.DataFrame:
        if not len(frame):
            raise ValueError(f"The table for {name!r} has no rows.")
        if self.target not in frame or frame[self.target].isna().any():
            raise ValueError(f"The table for {name!r} must have the target {self.target!r} in every row.")
        frame = frame.reset_index(drop=True)
        self.schema.labels(frame[self.target])
        return self.schema.tidy(frame).assign(**{self.target: frame[self.target]})


def assemble(
    name: str,
    parts: Sequence[Part],
    schema: Schema,
    notes: tuple[str, ...],
    local_scaling: bool,
    *,
    public: Mapping[str, Sequence[str]] | None = None,
    at_least: Mapping[str, Sequence[str]] | None = None,
    promise: RecordDP | None = None,
    seed: int = 0,
    agreed: Agreed | None = None,
) -> Federation:
    """Let the parts agree on their training rows, and scale.

    `public` are categories known without asking (None: those of the schema), `at_least` categories to keep
    room for; see `agreement.agree`. With a `promise` they agree by `agreement.agree_privately`, whose noise starts
    from `seed`; if it is known what was `agreed`, nothing is sent.
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
    if agreed is None and promise is None:
        agreed, messages = agree(parts)
    elif agreed is None:
        train = {p.name: p.train for p in parts}
        known = dict(bounds=schema.bounds, public=public, promise=promise, seed=seed)
        agreed, messages = agreement.agree_privately(train, numeric, schema.categorical, **known)
    if local_scaling:
        messages = ()  # what all agree on then serves `pooled` alone, which puts all rows in one place anyway
    features = agreement.feature_names(agreed, schema.numeric)
    _check_features(features)
    common = agreement.transformer(agreed, schema.numeric)
    # Scaling looks at one row at a time, so that the rows of all hospitals can go through in one call.
    frames = [frame for p in parts for frame in (p.train, p.test)]
    sizes = [len(frame) for frame in frames]
    y = _labels(schema, agreed, pd.concat(frames)).split(sizes)
    if local_scaling:
        own = [agreement.transformer(agree([p])[0], schema.numeric) for p in parts]
        X = [_matrix(own[k // 2], frame, len(features)) for k, frame in enumerate(frames)]
    else:
        X = _matrix(common, pd.concat(frames), len(features)).split(sizes)
    hospitals = []
    for k, p in enumerate(parts):
        risk = None if p.true_risk is None else torch.tensor(p.true_risk, dtype=torch.float32)
        train, test = 2 * k, 2 * k + 1
        hospitals.append(Hospital(p.name, X[train], y[train], X[test], y[test], p.train, p.test, risk))
    report = [*notes, *oddities.about_hospitals(parts, schema, promise), *oddities.about_columns(parts, schema, agreed)]
    about = (messages, Ledger(), report, notes, local_scaling, promise, seed)
    federation = Federation(name, tuple(hospitals), schema, agreed, common, features, *about)
    return replace(federation, ledger=_released(federation))


def _released(federation: Federation) -> Ledger:
    """What the messages of the agreement told the server about patients, and at what price."""
    promise, rows = federation.promise, {h.name: len(h.train) for h in federation.hospitals}
    where = dealing(federation) if promise and federation.messages else None
    ledger = Ledger()
    for m in federation.messages:
        if m.receiver == "server":
            detail = f"{m.size} numbers about {', '.join(m.payload)}"
            noise = None if promise is None else agreement.mechanism(promise, rows[m.sender])
            about = dict(hospital=m.sender, viewer="server", detail=detail, mechanism=noise, dealing=where)
            ledger = ledger.add(m.what, **about)
    return ledger


def _check_features(features: list[str]) -> None:
    if not features:
        raise ValueError("No feature column has a value in the training rows; there is nothing to learn.")
    if twice := [f for f in features if features.count(f) > 1]:
        raise ValueError(f"Two features would both be called {twice[0]!r}; rename one of their columns.")


def _matrix(transformer: ColumnTransformer, tidy: pd.DataFrame, n_features: int) -> Tensor:
    if not len(tidy):
        return torch.zeros(0, n_features)
    return torch.tensor(transformer.transform(tidy), dtype=torch.float32)


def _labels(schema: Schema, agreed: Agreed, frame: pd.DataFrame) -> Tensor:
    y = schema.labels(frame[schema.target])
    if schema.task == "regression":
        y = (y - agreed.means[schema.target]) / (agreed.sds[schema.target] or 1)
    return torch.tensor(y, dtype=torch.float32)[:, None]


def dealing(federation: Federation) -> int:
    """A number for who is in which hospital, whatever the split into training and test rows."""
    hospitals = []
    for h in federation.hospitals:
        rows = pd.concat([h.train, h.test])
        hospitals.append((h.name, int(pd.util.hash_pandas_object(rows, index=False).sum())))
    return hash((_KEY, *hospitals))
