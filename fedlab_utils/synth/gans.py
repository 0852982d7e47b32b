"""A GAN over several hospitals, from the federation to a `Synthesizer`: labels first, then `federated_gan`.

How often each label occurs is a release like any other: under a promise it is paid for from the same budget, by a small
share of it. With a warm-up label-wise tables are, by a larger one, and the labels follow from these.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from fedlab_utils._arguments import flag, function
from fedlab_utils.data.hospitals import Federation
from fedlab_utils.fleet.randomness import GENERATOR_SAMPLING, GENERATOR_TRAINING, generator
from fedlab_utils.privacy import Ledger, Mechanism, RecordDP
from fedlab_utils.privacy.accounting import noise_for
from fedlab_utils.synth import federated_gan, gan, sums
from fedlab_utils.synth.encoding import Column, Encoder
from fedlab_utils.synth.federated_gan import Trained
from fedlab_utils.synth.releases import Releases, Sum
from fedlab_utils.synth.sums import Coded
from fedlab_utils.synth.synthesizer import Synthesizer

METHODS = "gan", "dp_gan"
OPTIONS = tuple(
    "warm_steps steps hidden generator_hidden critic_steps batch_size made lr critic_lr average steepest every".split()
)
_FOR_LABELS, _FOR_TABLES = 0.02, 0.3  # of the budget, as a share of 1 / noise^2: label counts alone, or tables
_WARM_ROWS = 4000  # drawn from the tables


@dataclass(frozen=True)
class Learnt:
    """What a training gave: the synthesizer without its books, and these."""

    synthesizer: Synthesizer
    ledger: Ledger
    messages: tuple[tuple, ...]
    about: dict[str, object]


def learn(
    federation: Federation,
    coded: Coded,
    promise: RecordDP | None,
    aggregator,
    viewer: str,
    seed: int,
    n_models: int,
    on_step: Callable | None,
    options: dict,
) -> Learnt:
    """Train `n_models` generators; arguments as in `fit_federated`.

    Raises
    ------
    ValueError
        With one sentence, if the target has no classes or an argument does not fit.
    """
    encoder, label = coded.levels.encoder, federation.target
    if encoder[label].is_number:
        raise ValueError(
            f"method must be 'tables', 'copula' or 'pairs' for {label!r}, which holds numbers, no classes."
        )
    options = dict(options)
    warm_up = flag("warm_up", options.pop("warm_up", False))
    if on_step is not None:
        function("on_step", on_step)
    ledger, messages, shares, warm = Ledger(), [], [], []
    before, releases = _smaller(promise, warm_up, options.get("steps")), None
    for model in range(n_models):
        releases = Releases(federation, before, aggregator, seed, model, viewer)
        arrays = _labels(coded, releases, warm_up)
        shares.append(arrays["label_shares"])
        if warm_up:
            warm.append(_drawn(coded, arrays, seed, model))
        ledger = ledger + releases.ledger
        messages += [(model, *sent) for sent in releases.transcript]
    paid = _paid(coded, releases, warm_up) if options.get("steps") != 0 else ()
    about = dict(promise=promise, aggregator=aggregator, paid=paid, records=federation.rows_a_patient or 1)
    about |= dict(names=[h.name for h in federation.hospitals], warm=warm or None, seed=seed, n_models=n_models)
    about |= dict(on_step=_told(on_step, encoder, label, np.stack(shares)))
    parts = [
        _encoded(encoder, h.train, generator(seed, k, GENERATOR_TRAINING)) for k, h in enumerate(federation.hospitals)
    ]
    trained = federated_gan.train(parts, _layout(encoder, label), np.stack(shares), **about, **options)
    ledger = Ledger((*ledger.entries, *(e for own in trained.entries for e in own)))
    for model in range(n_models):
        messages += [(model, *row) for row in trained.messages.itertuples(index=False)]
    made = _synthesizer(trained, encoder, label, np.stack(shares))
    words = {"training": ", ".join(f"{name} {_in_words(value)}" for name, value in trained.about.items())}
    return Learnt(made, ledger, tuple(messages), words | {"rows": sum(map(len, coded.codes))})


def _smaller(promise: RecordDP | None, warm_up: bool, steps: int | None) -> RecordDP | None:
    """The part of a promise that is kept for what comes before the critics; all of it if they take no step."""
    if promise is None or promise.epsilon is None or (warm_up and steps == 0):
        return promise
    share = _FOR_TABLES if warm_up else _FOR_LABELS
    noise = noise_for(promise.epsilon, delta=promise.delta) / share**0.5
    return replace(promise, epsilon=None, noise_multiplier=noise)


def _in_words(value: object) -> str:
    """A number, or the range of those of several hospitals."""
    if isinstance(value, dict):
        least, most = min(value.values()), max(value.values())
        return f"{least:.4g}" if least == most else f"{least:.4g} to {most:.4g}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _first(coded: Coded, warm_up: bool) -> Sum:
    return sums.planned("tables", coded)[0] if warm_up else Sum("label counts", coded.classes, 1.0, cells=1)


def _labels(coded: Coded, releases: Releases, warm_up: bool) -> dict[str, np.ndarray]:
    """Shares of the labels, and with a warm-up of all levels in each."""
    if warm_up:
        return sums.learn("tables", coded, releases, np.random.default_rng(0), iter)
    one = _first(coded, warm_up)
    releases.plan([one])
    codes = [label for label, _ in coded.parts()]
    counts = np.stack([np.bincount(c[c >= 0], minlength=coded.classes) for c in codes]).astype(float)
    total = np.maximum(releases.total(one, counts)[0], 1.0)
    return {"label_shares": total / total.sum()}


def _paid(coded: Coded, releases: Releases, warm_up: bool) -> list[Mechanism]:
    """What that cost the viewer that the budget is kept for."""
    if releases.promise is None:
        return []
    by_viewer = releases.mechanisms(_first(coded, warm_up))
    return [by_viewer.get(releases.viewer) or by_viewer["server"]]


def _drawn(coded: Coded, arrays: dict[str, np.ndarray], seed: int, model: int) -> np.ndarray:
    """Encoded rows from the tables."""
    rng = generator(seed, model, GENERATOR_SAMPLING, 1)
    given = rng.choice(coded.classes, size=_WARM_ROWS, p=arrays["label_shares"])
    return sums.draw(arrays, coded.levels, coded.label, given, rng).astype(np.float32)


def _encoded(encoder: Encoder, frame: pd.DataFrame, rng: np.random.Generator) -> np.ndarray:
    """Rows as the critic sees them; what public knowledge has no place for becomes something that it has."""
    return encoder.encode(pd.DataFrame({c.name: _placed(c, frame[c.name]) for c in encoder.columns}), seed=rng)


def _placed(column: Column, values: pd.Series) -> pd.Series:
    if column.is_number:
        return values if column.missing else values.fillna((column.low + column.high) / 2)
    return values.where(column.codes(values) >= 0, column.values[0])


def _layout(encoder: Encoder, label: str) -> gan.Layout:
    where = encoder.slices[label]
    return gan.Layout(encoder.width, tuple(encoder.choices), (where.start, where.stop))


def _synthesizer(trained: Trained, encoder: Encoder, label: str, shares: np.ndarray) -> Synthesizer:
    arrays = {f"layer_{i}": t.detach().numpy().copy() for i, t in enumerate(trained.generator.tensors())}
    arrays["label_shares"] = shares
    return Synthesizer("gan", encoder, arrays, label, len(shares), trained.losses)


def _told(on_step: Callable | None, encoder: Encoder, label: str, shares: np.ndarray) -> Callable | None:
    """The caller's function of a synthesizer as one of what was trained so far."""
    return None if on_step is None else lambda trained: on_step(_synthesizer(trained, encoder, label, shares))
