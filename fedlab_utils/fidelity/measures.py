"""How good a synthetic table is, each number beside what real rows get from the same measure.

Everything is measured against `holdout`, real rows that the generator never saw: a generator that repeats its
training rows would look perfect beside those. The column `reference` holds the same measure with as many real
training rows in the place of the synthetic ones, so chance differences between two real samples are in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from fedlab_utils import _arguments as arguments
from fedlab_utils.fidelity import consistency, reading, rows
from fedlab_utils.fidelity.association import association, ks, total_variation
from fedlab_utils.fidelity.reading import Kinds

MOST_ROWS = 5_000  # of each table, for marginals, dependence and models
MOST_NEIGHBOURS = 2_000  # of each table, for the two-sample test, precision, recall and distances
NEIGHBOURS = 5
FOLDS = 3
_MOST_REFERENCES = 16  # kept for the next report; each is a dozen numbers
_REFERENCES: dict[bytes, list[float]] = {}
MOST_KNOWN = 0.05  # of the holdout rows may be training rows, beyond what coincidence explains


@threadpool_limits.wrap(limits=1)  # on a busy machine the threads of the trees wait for each other, up to minutes
def report(
    real: pd.DataFrame, synthetic: pd.DataFrame, *, target: str, holdout: pd.DataFrame, seed: int = 0
) -> pd.DataFrame:
    """Measure a synthetic table against real rows that its generator never saw.

    Measures (no units; the target counts as a column):

    - ``KS, mean`` and ``KS, worst column``: Kolmogorov-Smirnov distance of columns of numbers.
    - ``total variation, mean`` and ``..., worst column``: the same for categories.
    - ``missing rate, worst column``: largest difference in the share of missing values.
    - ``dependence, mean`` and ``dependence, worst pair``: absolute difference of two columns' association,
      which is Spearman's correlation, bias-corrected Cramér's V [1]_ or, for a number and a category, the
      correlation ratio of the ranks.
    - ``two-sample AUC``: how well boosted trees tell synthetic from real, cross-validated [2]_. They also see
      the roundness of each number, so 61.3 years among whole years gives itself away. Repeated rows raise
      the AUC too: one of them may be trained on, and its twin recognised.
    - ``train on synthetic, linear`` and ``..., trees``: AUC (macro one-vs-rest for several classes, R² for
      numbers) on `holdout` of models trained on synthetic rows; the reference is training on real rows [3]_.
    - ``precision`` and ``recall``: share of synthetic rows that lie among real ones, and of real rows that
      lie among synthetic ones (5 nearest neighbours [4]_). Mode collapse shows in recall.
    - ``broken rules``: share of rows that break what always holds in `real`, such as "if visits = 0, then
      cost = 0"; the reference is that of `holdout`. `fidelity.rules` lists the rules.
    - ``copied rows``: share of rows that are training rows, after rounding to each column's steps.
    - ``nearest record, ratio``: median distance to the closest training row, over that of `holdout` rows.
      A diagnostic of overfitting. A good value proves nothing about privacy [5]_.

    Parameters
    ----------
    real
        The rows that the generator was trained on.
    synthetic
        Its rows; the same columns in any order.
    target
        The column to predict.
    holdout
        Real rows that the generator did not see.
    seed
        Of larger tables 5,000 rows are drawn with it, and 2,000 for the two-sample test, precision, recall and
        distances; copies and closest training rows are looked for among all. Real and synthetic rows are
        equally many.

    Returns
    -------
    DataFrame
        One row a measure: measure, value, reference, better ("higher", "lower" or, for the diagnostic,
        "neither"), what. Measures for a kind of column that the table lacks are left out.

    Raises
    ------
    ValueError
        If the tables do not fit together, hold fewer than 20 rows, or more than 5% of the holdout rows are
        training rows (beyond the share of training rows that have a twin among themselves).

    References
    ----------
    .. [1] Bergsma (2013), doi:10.1016/j.jkss.2012.10.002.
    .. [2] Lopez-Paz and Oquab, arXiv:1610.06545.
    .. [3] Esteban, Hyland and Rätsch, arXiv:1706.02633.
    .. [4] Kynkäänniemi et al., arXiv:1904.06991.
    .. [5] Yao et al., "The DCR delusion", arXiv:2505.01524.
    """
    rng = np.random.default_rng(arguments.whole("seed", seed, 0))
    arguments.column("target", target)
    tables = {"real": real, "synthetic": synthetic, "holdout": holdout}
    kinds, real, synthetic, holdout = reading.several(
        tables, genuine=["real", "holdout"], target=target, fewest=reading.FEWEST_ROWS
    )
    same = dict(steps={c: rows.step_of(real[c]) for c in kinds.numbers}, categories=kinds.categories)
    known = rows.share_among(holdout, real, **same)
    if known > MOST_KNOWN + float(rows.keys(real, **same).duplicated(keep=False).mean()):
        raise ValueError(
            f"{known:.0%} of the holdout rows are rows of real, which the generator was trained on, so the report "
            "would flatter it; holdout must hold real rows that it never saw."
        )

    n = min(len(real), len(synthetic), MOST_ROWS)
    sample, twin, unseen = _draw(synthetic, n, rng), _draw(real, n, rng), _draw(holdout, MOST_ROWS, rng)
    if unseen[target].nunique() < 2:
        raise ValueError(f"holdout needs rows with at least two different values of target={target!r}.")
    lines = [
        (name, value, reference, better, what)
        for (name, value, better, what), reference in zip(
            _measures(kinds, sample, unseen, seed), _references(kinds, twin, unseen, seed), strict=True
        )
    ]
    always = consistency.find(kinds, real, seed=seed)
    what = f"Share of rows that break one of {len(always)} rules which all training rows keep (see `fidelity.rules`)."
    what = what if always else "No rule that all training rows keep was found, so there is none to break."
    shares = (consistency.share_broken(always, table) for table in (synthetic, holdout))
    lines.append(("broken rules", *shares, "lower", what))
    copies = rows.share_among(synthetic, real, **same)
    what = "Share of synthetic rows that are training rows; the reference is that of rows never seen."
    lines.append(("copied rows", copies, known, "lower", what))
    value, reference = _nearest_ratios(kinds, sample, real, unseen)
    what = (
        "Median distance to the closest training row, over that of unseen rows (reference: two halves of them). "
        "A diagnostic: far below 1 means overfitting, but no value is a proof of privacy."
    )
    lines.append(("nearest record, ratio", value, reference, "neither", what))
    return pd.DataFrame(lines, columns=["measure", "value", "reference", "better", "what"])


@threadpool_limits.wrap(limits=1)
def utility(train: pd.DataFrame, test: pd.DataFrame, *, target: str, family: str = "linear", seed: int = 0) -> float:
    """What rows are worth for training: the score on `test` of one model trained on `train`.

    Parameters
    ----------
    train, test
        Tables with the same columns.
    target
        The column to predict.
    family
        "linear" or "trees": sixty boosted trees, small enough not to learn single patients.
    seed
        Of the trees.

    Returns
    -------
    float
        AUC (for several classes the mean, over those that `test` has, of each against the rest), or R² for a target of
        many numbers.

    Raises
    ------
    ValueError
        If the tables do not fit together or hold fewer than 20 rows, or another argument is out of its range.
    """
    arguments.one_of("family", family, ("linear", "trees"))
    arguments.column("target", target)
    seed = arguments.whole("seed", seed, 0)
    tables = {"test": test, "train": train}
    kinds, test, train = reading.several(tables, genuine=["test"], target=target, fewest=reading.FEWEST_ROWS)
    return _utility(kinds, train, test, family, seed)


def _draw(frame: pd.DataFrame, n: int, rng: np.random.Generator) -> pd.DataFrame:
    """At most `n` rows in random order."""
    return frame.iloc[rng.permutation(len(frame))[:n]].reset_index(drop=True)


# ---- the measures that compare a sample with unseen rows


def _references(kinds: Kinds, twin: pd.DataFrame, unseen: pd.DataFrame, seed: int) -> list[float]:
    """What real rows get from each of `_measures`; remembered, as the next table is often held against the same."""
    key = hashlib.sha256(repr((kinds, list(twin), len(twin), seed)).encode())
    for table in (twin, unseen):
        key.update(table.to_numpy().tobytes())
    if key.digest() not in _REFERENCES:
        if len(_REFERENCES) >= _MOST_REFERENCES:
            _REFERENCES.pop(next(iter(_REFERENCES)), None)
        _REFERENCES[key.digest()] = [value for _, value, *_ in _measures(kinds, twin, unseen, seed)]
    return _REFERENCES[key.digest()]


def _measures(kinds: Kinds, sample: pd.DataFrame, unseen: pd.DataFrame, seed: int) -> Iterator[tuple]:
    """Name, value, better and explanation of each."""
    distances = {c: ks(sample[c], unseen[c]) for c in kinds.numbers}
    shares = {c: total_variation(sample[c], unseen[c], k) for c, k in kinds.categories.items()}
    for name, by_column, of in (("KS", distances, "numbers"), ("total variation", shares, "categories")):
        if by_column:
            mean, worst = np.mean(list(by_column.values())), max(by_column, key=by_column.get)
            what = f"Distance of two distributions, from 0 to 1; mean of {len(by_column)} columns of {of}."
            yield f"{name}, mean", float(mean), "lower", what
            yield f"{name}, worst column", by_column[worst], "lower", f"The same for the worst column, {worst!r}."
    gaps = (sample.isna().mean() - unseen.isna().mean()).abs()
    what = f"Largest difference in the share of missing values, at {gaps.idxmax()!r}."
    yield "missing rate, worst column", float(gaps.max()), "lower", what

    columns = (*kinds.numbers, *kinds.categories)
    together = [association(table, kinds.numbers, tuple(kinds.categories)) for table in (sample, unseen)]
    gap = np.abs(together[0] - together[1])
    first, second = np.triu_indices(len(gap), 1)
    pairs = gap[first, second]
    worst = int(pairs.argmax())
    what = f"How differently two columns go together, 0 is not at all; mean of {len(pairs)} pairs."
    yield "dependence, mean", float(pairs.mean()), "lower", what
    what = f"The same for the worst pair, {columns[first[worst]]!r} and {columns[second[worst]]!r}."
    yield "dependence, worst pair", float(pairs[worst]), "lower", what

    m = min(len(sample), len(unseen), MOST_NEIGHBOURS)
    what = f"How well boosted trees tell {m:,} rows from {m:,} unseen ones; .5 is perfect, 1 means at a glance."
    yield "two-sample AUC", _two_sample_auc(kinds, sample[:m], unseen[:m], seed), "lower", what
    score = {"regression": "R²", "binary": "AUC"}.get(kinds.task, "Macro AUC")
    for family in ("linear", "trees"):
        what = f"{score} on {len(unseen):,} unseen rows after training on {len(sample):,}; reference: trained on real."
        yield f"train on synthetic, {family}", _utility(kinds, sample, unseen, family, seed), "higher", what
    precision, recall = _precision_recall(kinds, sample[:m], unseen[:m])
    what = f"Share of {m:,} rows that lie among unseen real ones: are they believable?"
    yield "precision", precision, "higher", what
    what = f"Share of {m:,} unseen real rows that lie among these: is every kind of patient there?"
    yield "recall", recall, "higher", what


def _two_sample_auc(kinds: Kinds, a: pd.DataFrame, b: pd.DataFrame, seed: int) -> float:
    both = pd.concat([a, b], ignore_index=True)
    # Missing values become a lowest number and one more category: trees refuse a column with nothing in it.
    fill = (both.min() - 1).fillna(0).to_dict() | {c: k + 1 for c, k in kinds.categories.items()}
    X = both.fillna(fill)[[*kinds.numbers, *kinds.categories]].to_numpy()
    roundness = np.column_stack([_roundness(both[c].to_numpy()) for c in kinds.numbers] or [np.zeros((len(X), 0))])
    X = np.column_stack([X, roundness[:, np.ptp(roundness, axis=0) > 0]])
    y = np.repeat([1, 0], [len(a), len(b)])
    is_category = [False] * len(kinds.numbers) + [True] * len(kinds.categories)
    is_category += [False] * (X.shape[1] - len(is_category))
    trees = HistGradientBoostingClassifier(
        max_iter=60, max_leaf_nodes=15, early_stopping=False, random_state=seed, categorical_features=is_category
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(X, y)
    return float(np.mean([roc_auc_score(y[j], trees.fit(X[i], y[i]).predict_proba(X[j])[:, 1]) for i, j in folds]))


def _roundness(values: np.ndarray) -> np.ndarray:
    """How round each number is: position in `rows.STEPS` of the largest that divides it, ``[n]``."""
    fits = rows.on_grid(values[:, None], rows.STEPS)
    return np.where(fits.any(1), fits.argmax(1), len(rows.STEPS)).astype(float)


def _utility(kinds: Kinds, train: pd.DataFrame, test: pd.DataFrame, family: str, seed: int) -> float:
    """AUC or R² on `test` of one model trained on `train`."""
    n_classes = kinds.categories.get(kinds.target)
    train, test = train.dropna(subset=kinds.target), test.dropna(subset=kinds.target)
    if n_classes:
        train = train[train[kinds.target] < n_classes]  # labels that no real row has teach nothing
    y, truth = train[kinds.target].to_numpy(), test[kinds.target].to_numpy()
    if len(np.unique(y)) < 2:  # a model that always says the same
        return 0.5 if n_classes else (float(r2_score(truth, np.full(len(truth), y[0]))) if len(y) else 0.0)
    X = train.drop(columns=kinds.target).dropna(axis=1, how="all")
    unseen, model = test[X.columns], _model(kinds, X.columns, len(X), family, seed)
    if not n_classes:
        return float(r2_score(truth, model.fit(X, y).predict(unseen)))
    scores = np.zeros((len(test), n_classes))  # a class without training rows keeps score 0
    scores[:, np.unique(y).astype(int)] = model.fit(X, y).predict_proba(unseen)
    classes = [1] if n_classes == 2 else np.unique(truth).astype(int)
    return float(np.mean([roc_auc_score(truth == k, scores[:, k]) for k in classes]))


def _model(kinds: Kinds, features: pd.Index, n: int, family: str, seed: int):
    """An untrained model for `n` rows of these features."""
    numbers, categories = features.intersection(kinds.numbers), features.intersection(list(kinds.categories))
    if family == "trees":
        trees = HistGradientBoostingRegressor if kinds.task == "regression" else HistGradientBoostingClassifier
        fewest = int(np.clip(n // 40, 5, 40))  # rows in a leaf: with fewer they would learn single patients
        small = dict(max_iter=60, learning_rate=0.08, max_leaf_nodes=6, min_samples_leaf=fewest, l2_regularization=5.0)
        return trees(early_stopping=False, random_state=seed, categorical_features=list(categories), **small)
    scaled = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    encoder = make_column_transformer((scaled, numbers), (OneHotEncoder(handle_unknown="ignore"), categories))
    linear = Ridge() if kinds.task == "regression" else LogisticRegression(max_iter=2000)
    return make_pipeline(encoder, linear)


# ---- distances between rows


def _precision_recall(kinds: Kinds, sample: pd.DataFrame, unseen: pd.DataFrame) -> tuple[float, float]:
    """Shares of rows inside the other table's balls to the 5th neighbour (arXiv:1904.06991)."""
    a, b = rows.points([sample, unseen], like=unseen, categories=kinds.categories)
    radius_a, radius_b = (rows.nearest(x, x, NEIGHBOURS + 1) + 1e-6 for x in (a, b))  # + 1: each is its own nearest
    distance = cdist(a, b)
    return float((distance <= radius_b).any(1).mean()), float((distance <= radius_a[:, None]).any(0).mean())


def _nearest_ratios(kinds: Kinds, sample: pd.DataFrame, real: pd.DataFrame, unseen: pd.DataFrame) -> tuple:
    """Of the sample against unseen rows, and of one half of the unseen rows against the other."""
    tables = [real, sample[:MOST_NEIGHBOURS], unseen[:MOST_NEIGHBOURS]]
    train, *others = rows.points(tables, like=real, categories=kinds.categories)
    of_sample, of_unseen = (rows.nearest(points, train) for points in others)
    return _ratio(of_sample, of_unseen), _ratio(of_unseen[::2], of_unseen[1::2])


def _ratio(a: np.ndarray, b: np.ndarray) -> float:
    top, bottom = np.median(a), np.median(b)
    return float(top / bottom) if bottom > 1e-6 else float(1.0 if top <= 1e-6 else np.inf)
