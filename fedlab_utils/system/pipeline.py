"""From settings to a result, stage by stage: hospitals, synthetic patients, training, baselines, clinic, attack.

Each stage adds to an `Outcome` that is whole in itself, so that a run can be looked at while it goes on, and stopped.
One ledger holds everything that touched a patient; a row that is used twice is paid for twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pandas as pd

from fedlab_utils import data, encrypted, federated, secagg, synth
from fedlab_utils._arguments import brief, function
from fedlab_utils.data import Federation
from fedlab_utils.data.hospitals import dealing
from fedlab_utils.data.schema import Schema
from fedlab_utils.federated.diary import TESTED
from fedlab_utils.federated.plan import Plan, as_replicates
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.federated.setting import settled
from fedlab_utils.privacy import HospitalDP, Ledger, RecordDP
from fedlab_utils.privacy.ledger import FOLLOWS, NOT_PRIVATE
from fedlab_utils.secagg.messages import Setup
from fedlab_utils.secagg.sums import MaskedSum
from fedlab_utils.synth.synthesizer import Synthesizer
from fedlab_utils.system import membership
from fedlab_utils.system.outcome import STAGES, Outcome
from fedlab_utils.system.settings import Settings

_STEPS = {"quick": 200, "full": 1500}  # of a local GAN
_CRITICS = {"quick": dict(steps=300, warm_steps=1000), "full": dict(steps=4000, warm_steps=2400)}  # of a federated one
_MADE = {  # by each stage that takes long; the clinic's follows from the training
    "hospitals": ("federations",), "synthetic patients": ("synthetic", "maker", "synthetic_ledgers"),
    "training": ("trained", "trained_on", "ledgers"), "baselines": ("baselines",), "attack": ("attacks",),
}  # fmt: skip
Progress = Callable[[Outcome], bool | None]


def run(
    settings: Settings,
    *,
    federation: Federation | Sequence[Federation] | None = None,
    table: pd.DataFrame | None = None,
    earlier: Outcome | Iterable[Outcome] = (),
    on_progress: Progress | None = None,
) -> Outcome:
    """Run a system, all stages that its `settings` ask for.

    Parameters
    ----------
    federation
        Hospitals that are there already, one split or several; they take the place of ``settings.data``.
    table
        One's own table, where ``settings.data.table`` is "own".
    earlier
        An outcome, or several, such as those of systems beside which this one stands: what a stage of theirs made is
        taken over where nothing that it rests on is different, with what it released.
    on_progress
        Called with the outcome so far after each stage; returns True to stop. What is done is kept.

    Returns
    -------
    Outcome
        `Outcome.stages` says how far it came.

    Raises
    ------
    ValueError
        With one sentence, if an argument, the table, or settings for this table do not fit.
    """
    if on_progress is not None:
        function("on_progress", on_progress)
    outcome = None
    for outcome in stages(settings, federation=federation, table=table, earlier=earlier):
        if on_progress is not None and on_progress(outcome) is True:
            break
    return outcome


def stages(
    settings: Settings,
    *,
    federation: Federation | Sequence[Federation] | None = None,
    table: pd.DataFrame | None = None,
    earlier: Outcome | Iterable[Outcome] | None = None,
    on_round: Callable[[FederatedRun], bool | None] | None = None,
) -> Iterator[Outcome]:
    """The outcome after each stage; arguments as in `run`, and one more.

    A table that is there already, in an `earlier` outcome, is neither made nor paid for a second time.

    Parameters
    ----------
    on_round
        Of `federated.train`.
    """
    if not isinstance(settings, Settings):
        raise ValueError(f"settings must be a system.Settings, such as system.PRESETS['ours']; got {brief(settings)}.")
    if (table is not None) != (settings.data.table == "own" and federation is None):
        raise ValueError(
            "table must be given where data.table is 'own' and no federation is, and nowhere else; got "
            f"data.table={settings.data.table!r}."
        )
    outcome, before = Outcome(settings, source=table if federation is None else federation), _outcomes(earlier)
    for name, stage in zip(STAGES, _stages(settings, on_round), strict=True):
        start = time.perf_counter()
        if kept := next(filter(None, (_kept(name, outcome, one) for one in before)), None):
            outcome = replace(outcome, **kept)
        elif name == "hospitals":
            outcome = replace(outcome, federations=_hospitals(settings, federation, table))
        elif stage is None or (changed := stage(outcome)) is None:
            continue
        else:
            outcome = changed
        if name == "hospitals":
            _fits(settings, outcome.federations)
        spent = {name: time.perf_counter() - start}
        outcome = replace(outcome, stages=(*outcome.stages, name), seconds={**outcome.seconds, **spent})
        yield outcome


def _stages(settings: Settings, on_round: Callable | None) -> list[Callable[[Outcome], Outcome | None] | None]:
    """What each of `STAGES` does to an outcome; None for those that are not asked for."""
    synthetic = None if settings.synthetic.where == "none" else _synthetic
    training = partial(_training, on_round=on_round)
    return [None, synthetic, training, _baselines, _clinic, _attack if settings.checks.attack else None]


def _outcomes(earlier: Outcome | Iterable[Outcome] | None) -> list[Outcome]:
    """One or several as a list."""
    found = list(earlier or ()) if isinstance(earlier, Iterable | None) else [earlier]
    if strange := [one for one in found if not isinstance(one, Outcome)]:
        raise ValueError(f"earlier must be an outcome of system.run, or a list of them; got {brief(strange[0])}.")
    return found


def _kept(stage: str, outcome: Outcome, earlier: Outcome) -> dict[str, Any] | None:
    """What a stage of an earlier outcome left, if it would be made of the very same."""
    made = _MADE.get(stage)
    if made is None or stage not in earlier.stages or earlier.source is not outcome.source:
        return None
    if stage == "training" and earlier.trained.rounds < earlier.settings.training.rounds:
        return None  # somebody stopped it
    if _rests_on(stage, earlier.settings) != _rests_on(stage, outcome.settings):
        return None
    # Equal settings with other noise make other hospitals, and other rows: whatever follows from these is not kept.
    used = {"hospitals": (), "training": ("federations", "synthetic"), "attack": ("federations", "synthetic")}
    same = all(getattr(earlier, name) is getattr(outcome, name) for name in used.get(stage, ("federations",)))
    return {name: getattr(earlier, name) for name in made} if same else None


def _rests_on(stage: str, s: Settings) -> tuple:
    """The settings that a stage's result depends on."""
    hospitals = s.data, s.scale, s.promise.delta, s.demonstration, bool(s.data.bounds) and s.synthetic.where
    invented = s.synthetic, s.sum
    alone = replace(s.training, on="real", strategy="fedavg", participation=1.0, dropout=0.0)  # nobody sends anything
    return hospitals + {
        "hospitals": (), "synthetic patients": invented, "training": (*invented, s.training, s.promise),
        "baselines": (alone,), "attack": (*invented, s.training, s.promise),
    }[stage]  # fmt: skip


def promise(settings: Settings) -> RecordDP | HospitalDP | None:
    """Of the training."""
    p = settings.promise
    about = dict(epsilon=p.epsilon, delta=p.delta, secure=not settings.demonstration)
    if p.unit == "record":
        return RecordDP(max_grad_norm=p.clip, **about)
    return HospitalDP(max_update_norm=p.clip, **about) if p.unit == "hospital" else None


def _records(settings: Settings, epsilon: float | None) -> RecordDP | None:
    """Of a release about records."""
    if epsilon is None:
        return None
    return RecordDP(epsilon=epsilon, delta=settings.promise.delta, secure=not settings.demonstration)


def aggregator(settings: Settings):
    """Through what updates travel."""
    s = settings.sum
    if s.through == "encrypted":
        return encrypted.EncryptedSum()
    # Noise of whole hospitals belongs inside the masks: the server would hold an exact sum otherwise.
    return _masked(settings, noisy=settings.promise.unit == "hospital")


def _masked(settings: Settings, *, noisy: bool):
    """A masked sum, with noise in shares inside it or without; None where sums are open or encrypted."""
    about = dict(threshold=settings.sum.threshold, colluding=settings.sum.colluding)
    kind = secagg.PrivateSum if noisy else secagg.SecureSum
    return kind(**about) if settings.sum.through == "masked" else None


def arguments(settings: Settings) -> dict:
    """Of `federated.train`."""
    t = settings.training
    names = "rounds local_epochs batch_size lr hidden strategy participation dropout".split()
    about = {name: getattr(t, name) for name in names}
    return about | dict(privacy=promise(settings), aggregator=aggregator(settings), seed=settings.data.seed)


def _hospitals(settings: Settings, federation, table: pd.DataFrame | None) -> tuple[Federation, ...]:
    """The splits, each a federation."""
    if federation is not None:
        several = [federation] if isinstance(federation, Federation) else federation
        if not isinstance(several, list | tuple) or not several or not all(isinstance(f, Federation) for f in several):
            raise ValueError(f"federation must be a data.Federation, or a list of them; got {brief(federation)}.")
        return tuple(as_replicates(several, len(several)))
    d = settings.data
    if d.table == "wine":
        table, d = _wine(), replace(d, target=d.target or "cultivar")
    about = dict(target=d.target, statistics=_records(settings, d.statistics_epsilon), seed=d.seed)
    if table is None:
        found = data.replicates(d.table, settings.seeds, **about)
        if d.hospitals is not None:
            found = [f.repartition(d.hospitals, d.skew, d.seed + k) for k, f in enumerate(found)]
        return tuple(found)
    if not isinstance(table, pd.DataFrame):
        raise ValueError(f"table must be a pandas DataFrame, one row a patient; got {brief(table)}.")
    if stray := [c for c in d.drop if c not in table]:
        raise ValueError(f"data.drop names {stray[0]!r}, which is not a column of the table.")
    bounds = dict(d.bounds)
    if d.statistics_epsilon is None and settings.synthetic.where == "federated":
        bounds.pop(d.target, None)  # those of a number to predict serve statistics, or the invented table: see `make`
    about |= dict(hospital=d.hospital, patient=d.patient, bounds=bounds, categories=dict(d.categories))
    if d.hospital is None:
        about |= dict(n_hospitals=d.hospitals or 5, alpha=d.skew)
    found = data.replicates(table.drop(columns=list(d.drop)), settings.seeds, **about)
    return tuple(replace(f, name=d.table) for f in found) if d.table != "own" else tuple(found)


def _fits(settings: Settings, federations: Sequence[Federation]) -> None:
    """Refuse settings that do not fit so many hospitals and rows, before anything is made of them."""
    n, through = len(federations[0].hospitals), aggregator(settings)
    if isinstance(through, MaskedSum):
        try:
            Setup(n, through.needs(n), 1, through.bits, malicious=through.malicious, colluding=through.colluding)
        except ValueError as error:
            raise ValueError(f"sum.{error}") from error
    largest = max(len(h.train) for f in federations for h in f.hospitals)
    units = n if settings.promise.unit == "hospital" else largest
    if settings.promises and settings.promise.delta * units >= 1:
        whose = (
            "number of hospitals" if settings.promise.unit == "hospital" else "training rows of the largest hospital"
        )
        raise ValueError(
            f"promise.delta must be below 1/{units}, one over the {whose}, and better far below; got "
            f"{settings.promise.delta:g}."
        )
    # Turns, failing lines and the noise of a promise are settled beforehand, with these numbers of rows or others.
    Plan(federations, [settled(federations, arguments(settings))])


def _wine() -> pd.DataFrame:
    """178 wines of three cultivars, from scikit-learn."""
    from sklearn.datasets import load_wine

    frame = load_wine(as_frame=True).frame
    return frame.rename(columns={"target": "cultivar", "od280/od315_of_diluted_wines": "od280_od315"})


def _synthetic(outcome: Outcome) -> Outcome:
    """Invent patients for each split: by each hospital alone, or by all together."""
    made, ledgers, makers = [], [], []
    for k, fed in enumerate(outcome.federations):
        maker = make(outcome.settings, fed, outcome.settings.data.seed + k)
        frames = {
            h.name: drawn(one, max(2, round(outcome.settings.synthetic.rows * len(h.train))), h_number, h.train)
            for h_number, (h, one) in enumerate(zip(fed.hospitals, maker, strict=True))
        }
        made.append(frames)
        makers.append(maker[0])
        ledgers.append(_of_makers(outcome.settings, fed, maker))
    return replace(outcome, synthetic=tuple(made), maker=makers[0], synthetic_ledgers=tuple(ledgers))


def make(settings: Settings, fed: Federation, seed: int) -> list[Synthesizer]:
    """A synthesizer for each hospital; the same for all where they learn together."""
    s = settings.synthetic
    if s.where == "federated":
        bounds = {c: pair for c, pair in settings.data.bounds.items() if c == fed.target}
        about = dict(privacy=_records(settings, s.epsilon), aggregator=_masked(settings, noisy=s.epsilon is not None))
        about |= dict(schema=Schema(bounds=bounds) if bounds else None, seed=seed)
        if s.method in ("gan", "dp_gan"):
            about |= _CRITICS[settings.scale] | dict(warm_up=s.warm_up)
        return [synth.fit_federated(fed, method=s.method, **about)] * len(fed.hospitals)
    about = dict(method=s.method)
    if s.method in ("gan", "wgan_gp"):
        about |= dict(steps=_STEPS[settings.scale], label=fed.target if fed.classes else None)
    # A hospital that never measures something cannot learn it, and its invented patients lack it too: see `drawn`.
    frames = {h.name: h.train.dropna(axis=1, how="all") for h in fed.hospitals}
    if all(frame.shape[1] == fed.hospitals[0].train.shape[1] for frame in frames.values()):
        return list(synth.fit(frames, schema=_known(fed), seed=seed, **about).values())
    return [synth.fit(f, schema=_known(fed, f), seed=seed + j, **about) for j, f in enumerate(frames.values())]


def drawn(maker: Synthesizer, n: int, seed: int, like: pd.DataFrame) -> pd.DataFrame:
    """Invented rows with the columns of `like`; what the hospital never measures is missing."""
    return maker.sample(n, seed=seed).reindex(columns=like.columns)


def _known(fed: Federation, frame: pd.DataFrame | None = None) -> Schema:
    """The federation's own schema, of the columns of `frame`, with the categories that hospitals agreed on."""
    there = fed.hospitals[0].train.columns if frame is None else frame.columns
    of = {"categories": fed.agreed.categories, "bounds": fed.schema.bounds, "granularity": fed.schema.granularity}
    found = {what: {c: v for c, v in all_of.items() if c in there} for what, all_of in of.items()}
    found["categories"] = {c: tuple(v) for c, v in found["categories"].items()}
    columns = {kind: tuple(c for c in getattr(fed.schema, kind) if c in there) for kind in ("numeric", "categorical")}
    return replace(fed.schema, **found, **columns)


def _of_makers(settings: Settings, fed: Federation, makers: list[Synthesizer]) -> Ledger:
    if settings.synthetic.where == "federated":
        return makers[0].ledger
    ledger = Ledger()
    for h in fed.hospitals:  # rows that a generator without a promise makes
        about = dict(hospital=h.name, viewer="whoever gets the table", detail=f"method {settings.synthetic.method}")
        ledger = ledger.add("synthetic table", **about)
    return ledger


def _trained_on(outcome: Outcome) -> list[Federation]:
    """Each split with the rows that are trained on."""
    on = outcome.settings.training.on
    if on == "real":
        return list(outcome.federations)
    found = []
    for fed, made in zip(outcome.federations, outcome.synthetic, strict=True):
        frames = made
        if on == "both":
            frames = {h.name: pd.concat([h.train, made[h.name]], ignore_index=True) for h in fed.hospitals}
        found.append(fed.replace_train(frames))
    return found


def _training(outcome: Outcome, on_round: Callable | None) -> Outcome:
    federations = _trained_on(outcome)
    trained = federated.train(federations, seeds=len(federations), on_round=on_round, **arguments(outcome.settings))
    return replace(outcome, trained=trained, trained_on=tuple(federations), ledgers=_books(outcome, trained))


def broken_off(outcome: Outcome, trained: FederatedRun) -> Outcome:
    """The outcome of a training that was stopped after some rounds: these were seen, and count."""
    return replace(outcome, trained=trained, ledgers=_books(outcome, trained))


def _books(outcome: Outcome, trained: FederatedRun) -> tuple[Ledger, ...]:
    """For each split, everything that touched a patient: the ledger of a training begins with that of its hospitals.

    Where other rows are trained on, those hospitals are others: then private statistics of the real rows stand before
    it, since their noise is spent, while exact ones serve baselines alone.
    """
    found = []
    for k, own in enumerate(trained.ledgers):
        if outcome.settings.training.on == "synthetic":
            own = _of_invented_rows(own, outcome.settings.synthetic.epsilon is not None)
        elif outcome.settings.training.on == "both":  # invented rows beside them change nobody's hospital
            where = dealing(outcome.federations[k])
            own = Ledger(tuple(replace(e, dealing=where if e.dealing else None) for e in own.entries))
        made = outcome.synthetic_ledgers[k] if outcome.synthetic else Ledger()
        found.append(outcome.federations[k].ledger.private + made + own)
    return tuple(found)


def _of_invented_rows(ledger: Ledger, promised: bool) -> Ledger:
    """Releases of a training on invented rows follow from the table, and promise what it does; tests are real rows."""
    guarantee = FOLLOWS if promised else NOT_PRIVATE
    told = "from invented rows alone; a promise of the training protects these, and no patient"
    about = dict(mechanism=None, release=None, guarantee=guarantee, detail=told)
    return Ledger(tuple(e if e.what == TESTED else replace(e, **about) for e in ledger.entries))


def _baselines(outcome: Outcome) -> Outcome:
    about = arguments(outcome.settings) | dict(privacy=None, aggregator=None)
    found = federated.baselines(list(outcome.federations), seeds=len(outcome.federations), **about)
    return replace(outcome, baselines=found)


def _clinic(outcome: Outcome) -> Outcome | None:
    """Missed patients and calibration, where the task is ill or not."""
    if outcome.trained.task != "binary":
        return None
    federations, limit = list(outcome.federations), outcome.settings.checks.threshold
    # Test rows are the real ones in any case; risks come from the model of the rows that it was trained on.
    where = list(outcome.trained_on) if outcome.settings.training.on != "real" else federations
    return replace(
        outcome,
        clinical=federated.clinical(outcome.trained, where, threshold=limit),
        calibration=federated.calibration(outcome.trained, where),
    )


def _attack(outcome: Outcome) -> Outcome:
    return replace(outcome, attacks=membership.attacked(outcome, make, arguments(outcome.settings)))
