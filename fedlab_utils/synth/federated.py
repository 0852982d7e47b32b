"""`fit_federated`: synthetic patients from several hospitals, none of which shows a row to anybody."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from fedlab_utils._arguments import brief, one_of, whole
from fedlab_utils._progress import progress
from fedlab_utils.data.hospitals import Federation
from fedlab_utils.data.schema import Schema
from fedlab_utils.fleet.randomness import GENERATOR_TRAINING, generator
from fedlab_utils.privacy import Ledger, RecordDP
from fedlab_utils.secagg.noise import HOSPITALS, VIEWERS
from fedlab_utils.secagg.sums import MaskedSum
from fedlab_utils.synth import gans, public, sums
from fedlab_utils.synth.levels import Levels
from fedlab_utils.synth.public import Described
from fedlab_utils.synth.releases import Releases
from fedlab_utils.synth.sums import Coded
from fedlab_utils.synth.synthesizer import Synthesizer

FederatedMethod = Literal["tables", "copula", "pairs", "gan", "dp_gan"]

_FEW, _MANY = 1000, 2000  # patients
_SMALL, _LARGE = 1.0, 3.0  # epsilon
_WIDE = 20  # columns for which "pairs" still answers within seconds


def fit_federated(
    federation: Federation,
    *,
    method: FederatedMethod | None = None,
    privacy: RecordDP | None = None,
    aggregator: MaskedSum | None = None,
    schema: Schema | None = None,
    bins: int = 8,
    viewer: str = HOSPITALS,
    drop: Mapping[int, str] | None = None,
    seed: int = 0,
    n_models: int = 1,
    on_step: Callable[[Synthesizer], bool | None] | None = None,
    **options,
) -> Synthesizer:
    """Learn the training rows of all hospitals together, so that rows like theirs can be drawn.

    Parameters
    ----------
    federation
        Hospitals with training rows; its target is the label, given which the other columns are drawn. In a regression
        the bins of the target are.
    method
        "tables", "copula" or "pairs": sums over the hospitals, see `synth.sums`. "gan" and, under a promise, "dp_gan":
        critics that learn in the hospitals, see `synth.federated_gan`. None chooses among the sums by what is public
        (patients, columns, budget), and says in `Synthesizer.about` what it chose and why.
    privacy
        None, which is not private, or `privacy.RecordDP`: its budget is spent once, on all releases together.
    aggregator
        None: the server sees the sums of each hospital, under a promise with noise that each adds by itself.
        ``secagg.SecureSum()`` or ``secagg.PrivateSum()``: it sees their total; under a promise each hospital adds a
        share of the noise, and nobody ever holds an exact one.
    schema
        Public knowledge beside that of the federation and of the data set's card: bounds, categories, granularity,
        gaps. Under a promise bounds and categories of all columns have to be public. Without the others a number
        has a hundred to a thousand places between its bounds, and any value can be missing.
    bins
        The most levels into which numbers are counted, at least 2; they are equally wide between the bounds.
    viewer
        Whom the budget is kept for where noise comes in shares, as in `secagg.private_sum`. Totals of "copula" go back
        to all hospitals, which for ``"server"`` then spend somewhat more; the ledger says how much.
    drop
        Which hospitals fall silent at which stage of the protocol, as in `secagg.run`.
    seed
        Of the draws of "pairs", and of noise and coins if the promise is not secure.
    n_models
        How many are made, each with releases (and a budget) of its own.
    on_step
        Of a GAN: called now and then with the synthesizer so far; training stops if it returns True.
    options
        Of a GAN: `gans.OPTIONS`, such as ``steps`` of the critics; and ``warm_up=True``, which first spends
        some of the budget on label-wise tables and lets the generator learn rows that are drawn from these.

    Returns
    -------
    Synthesizer
        With the ledger of what was released, the transcript of what was sent, and `about`.

    Raises
    ------
    ValueError
        With one sentence, if an argument does not fit, before anything is drawn; under a promise, if a column lacks
        public knowledge: the sentence names all such columns.
    TooFewError
        If fewer hospitals than the aggregator's threshold are left.

    Notes
    -----
    Neighbours are federations in which the place of one training record holds that record or a blank, which adds
    nothing. So the number of rows of each hospital counts as public, and which classes and columns there are; how many
    patients have which label does not.
    """
    _check(federation, method, privacy, aggregator, viewer, drop)
    _check_options(method, options, on_step, drop)
    bins, n_models, seed = whole("bins", bins, 2), whole("n_models", n_models), whole("seed", seed, 0)
    described = public.describe(federation, schema, promised=privacy is not None)
    levels = Levels(described.encoder, bins)
    coded = Coded(levels, federation.target, [levels.codes(h.train) for h in federation.hospitals])
    why = "as asked"
    if method is None:
        method, why = _chosen(coded, privacy)
    ledger, messages, found = _told(federation, described), [], []
    if method in gans.METHODS:
        learnt = gans.learn(federation, coded, privacy, aggregator, viewer, seed, n_models, on_step, options)
        about = _about(federation, described, privacy, aggregator, ledger + learnt.ledger) | learnt.about
        about |= {"chosen": why, "models": n_models}
        told = dict(about=about, ledger=ledger + learnt.ledger, messages=learnt.messages)
        return replace(learnt.synthesizer, method=method, **told)
    bar = partial(progress, label="Steps", total=sums.STEPS)
    for model in range(n_models):
        releases = Releases(federation, privacy, aggregator, seed, model, viewer, drop)
        found.append(sums.learn(method, coded, releases, generator(seed, model, GENERATOR_TRAINING), bar))
        ledger = ledger + releases.ledger
        messages += [(model, *sent) for sent in releases.transcript]
    arrays = {name: np.stack([one[name] for one in found]) for name in found[0]}
    about = _about(federation, described, privacy, aggregator, ledger)
    about |= {"chosen": why, "rows": round(float(arrays.pop("total").mean())), "models": n_models}
    losses = np.zeros((0, 2, n_models), np.float32)
    about_it = (about, ledger, tuple(messages))
    return Synthesizer(method, described.encoder, arrays, federation.target, n_models, losses, bins, *about_it)


def _check(federation, method, privacy, aggregator, viewer, drop) -> None:
    """Refuse what is of the wrong kind, or does not go together."""
    if not isinstance(federation, Federation):
        raise ValueError(f"federation must be a data.Federation, as data.load makes it; got {brief(federation)}.")
    if method is not None:
        one_of("method", method, (*sums.METHODS, *gans.METHODS))
    if method == "gan" and privacy is not None:
        raise ValueError("method='gan' promises nothing: take 'dp_gan', or privacy=None.")
    if method == "dp_gan" and privacy is None:
        raise ValueError("privacy must be privacy.RecordDP(...) for method='dp_gan'; got None.")
    if privacy is not None and not isinstance(privacy, RecordDP):
        raise ValueError(f"privacy must be None or privacy.RecordDP(...): sums protect records; got {brief(privacy)}.")
    if aggregator is not None and not isinstance(aggregator, MaskedSum):
        raise ValueError(
            f"aggregator must be None, secagg.SecureSum() or secagg.PrivateSum(); got {brief(aggregator)}."
        )
    one_of("viewer", viewer, VIEWERS)
    if drop is not None and not isinstance(drop, Mapping):
        raise ValueError(f"drop must be None or name stages by hospital, as {{1: 'mask'}}; got {brief(drop)}.")
    if drop and aggregator is None:
        raise ValueError("drop must be None without an aggregator: there is no protocol that a hospital could leave.")
    if privacy is None:
        return
    if privacy.noise_multiplier == 0:
        raise ValueError("privacy must have a budget or noise; got noise_multiplier=0: take privacy=None for none.")
    most = max(len(h.train) for h in federation.hospitals)
    if privacy.delta * most >= 1:
        raise ValueError(
            f"delta must be below 1/{most}, one over the training rows of the largest hospital, and better far below; "
            f"got {privacy.delta:g}."
        )


def _check_options(method, options: dict, on_step, drop) -> None:
    """Refuse what is for GANs alone, and what they cannot do."""
    if method in gans.METHODS:
        if stray := sorted(options.keys() - {*gans.OPTIONS, "warm_up"}):
            raise ValueError(f"{stray[0]!r} is no option of a GAN, which has {', '.join(gans.OPTIONS)}, warm_up.")
        if drop:
            raise ValueError("drop must be None for a GAN: its thousands of rounds are computed without keys.")
    elif options or on_step is not None:
        given = sorted(options) or ["on_step"]
        raise ValueError(f"{given[0]!r} is an option of a GAN; method={method!r} has no steps.")


def _chosen(coded: Coded, privacy: RecordDP | None) -> tuple[str, str]:
    """A method by what is public, and why in words. Thresholds are read off five tables; no law."""
    rows, columns = coded.rows, len(coded.sizes)
    epsilon = np.inf if privacy is None else privacy.epsilon
    if columns < 2:
        return "tables", "one column beside the label"
    if epsilon is None:
        return "copula", "the default"
    if rows < _FEW:
        return "tables", f"fewer than {_FEW:,} patients"
    if epsilon < _SMALL:
        return "tables", f"a budget below {_SMALL:g}"
    if epsilon >= _LARGE and rows >= _MANY and columns <= _WIDE:
        return "pairs", f"{_MANY:,} patients or more, at most {_WIDE} columns, a budget of {_LARGE:g} or more or none"
    return "copula", "the default"


def _told(federation: Federation, described: Described) -> Ledger:
    """What hospitals told about their columns for want of public knowledge: a largest value is a patient's."""
    ledger = Ledger()
    for h in federation.hospitals if described.told else ():
        ledger = ledger.add("what columns hold", hospital=h.name, viewer="server", detail=described.in_words)
    return ledger


def _about(
    federation: Federation, described: Described, privacy: RecordDP | None, aggregator, ledger: Ledger
) -> dict[str, object]:
    """What a table that is drawn says of itself, in plain values."""
    about: dict[str, object] = {"table": federation.name, "hospitals": len(federation.hospitals)}
    about["columns"] = {column.name: column.in_words for column in described.encoder.columns}
    about["told by hospitals"] = described.in_words or "nothing: all of it is public"
    how = "the server sees what every hospital sends" if aggregator is None else "the server sees their total"
    if privacy is None:
        return about | {"promise": "none: not private", "sums": how}
    each = "with all the noise of each hospital" if aggregator is None else "with noise in shares"
    kind = "" if privacy.secure else " (a demonstration: noise from a seed)"
    spent = f"epsilon {ledger.epsilon():.4g}, delta {privacy.delta:g} for one {privacy.unit}{kind}"
    return about | {"promise": spent, "sums": f"{how}, {each}"}
