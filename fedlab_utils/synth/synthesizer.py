"""Synthetic tables: learn from patients, then draw rows that belong to nobody in particular.

Two GANs (module `gan`) and three baselines in one interface. The baselines show what a GAN has to beat:
"independent" keeps each column and forgets what connects them, "copula" connects columns pair by pair with a
Gaussian copula, "interpolate" moves a patient towards a similar one (Chawla et al., arXiv:1106.1813), looks
excellent and is a warning: every row is made of two real patients. Synthetic is not private by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import BinaryIO, Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
import torch

from fedlab_utils import _arguments as arguments
from fedlab_utils._arguments import brief, number, one_of, whole, widths
from fedlab_utils._progress import progress
from fedlab_utils.data.schema import Schema
from fedlab_utils.fleet import Params, one_thread
from fedlab_utils.fleet.randomness import GENERATOR_SAMPLING, GENERATOR_TRAINING, generator
from fedlab_utils.privacy import Ledger
from fedlab_utils.synth import encoding, gan, sums
from fedlab_utils.synth.encoding import Encoder, Transform
from fedlab_utils.synth.levels import Levels
from fedlab_utils.synth.simple import FITTERS, SAMPLERS

Method = Literal["gan", "wgan_gp", "independent", "copula", "interpolate"]

_GANS = ("gan", "wgan_gp", "dp_gan")
_PIECE = 10_000  # rows made at a time
_MOST_TRIES = 200  # pieces drawn in search of rows that fulfil `where`


@dataclass(frozen=True, eq=False, repr=False)
class Synthesizer:
    """What `fit` learnt, ready to draw from.

    Attributes
    ----------
    method, label, n_models
        As in `fit`.
    encoder
        Columns to numbers and back.
    arrays
        Everything else that was learnt: weights of the generators, or the numbers of a baseline. With
        "interpolate" these are the patients themselves.
    losses
        ``[steps, 2, K]``: loss of generator and critic in each step; empty for all others.
    bins
        Levels of a number at most, where sums over hospitals were learnt; 0 elsewhere.
    about
        What a table drawn from it says of itself in ``frame.attrs``: method, promise, hospitals, columns; empty for
        `fit`, which promises nothing.
    ledger, messages
        Of `fit_federated`: what was released about patients, and who sent what; see `transcript`. They are not saved.
    """

    method: str
    encoder: Encoder
    arrays: dict[str, np.ndarray]
    label: str | None
    n_models: int
    losses: np.ndarray
    bins: int = 0
    about: dict = field(default_factory=dict)
    ledger: Ledger = Ledger()
    messages: tuple[tuple, ...] = ()

    def __repr__(self) -> str:
        return f"Synthesizer({self.method!r}, {len(self.encoder.columns)} columns, {self.n_models} models)"

    @property
    def learnt(self) -> pd.DataFrame:
        """What was learnt from the rows beside the model, for want of public knowledge: column, what, value."""
        return pd.DataFrame(self.encoder.learnt, columns=["column", "what", "value"])

    @property
    def history(self) -> pd.DataFrame:
        """Losses of a GAN, a row for each step and model: step, model, generator, critic."""
        steps, _, models = self.losses.shape
        step, model = (index.ravel() for index in np.indices((steps, models)))
        both = {"generator": self.losses[:, 0].ravel(), "critic": self.losses[:, 1].ravel()}
        return pd.DataFrame({"step": step + 1, "model": model, **both})

    @property
    def transcript(self) -> pd.DataFrame:
        """Who sent what to whom while it was learnt: model, sender, receiver, what, messages (how many), bytes."""
        columns = ["model", "sender", "receiver", "what", "messages", "bytes"]
        return pd.DataFrame(self.messages, columns=columns)

    def sample(
        self, n: int, *, seed: int = 0, model: int = 0, where: Mapping[str, object] | None = None
    ) -> pd.DataFrame:
        """Draw rows with the columns, types, bounds, granularity and missing rates of the original.

        Parameters
        ----------
        n
            How many.
        seed
            Same seed, same rows.
        model
            Which of the K models draws.
        where
            Only rows with these values in these category columns, ``{"outcome": 1}``. A GAN that was given that
            column as its `label` makes them directly; else rows are drawn until enough of them fit.

        Raises
        ------
        ValueError
            If there is no such model, column or value, or next to no rows fit `where`.
        """
        n = whole("n", n)
        if not 0 <= whole("model", model, 0) < self.n_models:
            raise ValueError(f"model must be a number from 0 to {self.n_models - 1}; got {model!r}.")
        where = {} if where is None else where
        if not isinstance(where, Mapping):
            raise ValueError(f"where must name columns and their values, as {{'outcome': 1}}; got {brief(where)}.")
        wanted = {name: self._code(name, value) for name, value in where.items()}
        given = wanted.pop(self.label, None) if self.bins or self.method in _GANS else None
        rng = generator(seed, model, GENERATOR_SAMPLING)
        found, n_found = [], 0
        for _ in range(-(-n // _PIECE) + _MOST_TRIES * bool(wanted)):
            size = _PIECE if wanted else min(_PIECE, n - n_found)
            rows = self._draw(size, model, given, rng)
            for name, code in wanted.items():
                rows = rows[rows[:, self.encoder.slices[name]].argmax(1) == code]
            found.append(rows)
            n_found += len(rows)
            if n_found >= n:
                made = self.encoder.decode(np.concatenate(found)[:n])
                made.attrs["synthetic"] = {"method": self.method, **self.about, "model": model, "seed": seed}
                return made
        raise ValueError(f"where={brief(dict(where))} is too rare: {n_found} of {_MOST_TRIES * _PIECE} drawn rows fit.")

    def save(self, path: str | PathLike) -> None:
        """Write one npz file: arrays and one JSON text, nothing that runs when it is read.

        Raises
        ------
        ValueError
            If `path` is no path.
        """
        about = {name: getattr(self, name) for name in ("method", "label", "n_models", "bins", "about")}
        about |= self.encoder.as_json()
        with open(arguments.path("path", path), "wb") as file:
            np.savez(file, about=json.dumps(about, allow_nan=False), losses=self.losses, **self.arrays)

    def _code(self, name: str, value) -> int:
        column = self.encoder[name]
        if column.is_number:
            raise ValueError(f"where={{{name!r}: ...}} must name a category column; {name!r} holds numbers.")
        code = int(column.codes(pd.Series([value], dtype=object))[0])
        if code < 0:
            raise ValueError(f"where[{name!r}] must be one of {brief(list(column.values))}; got {brief(value)}.")
        return code

    def _draw(self, n: int, model: int, given: int | None, rng: np.random.Generator) -> np.ndarray:
        """Encoded rows ``[n, width]``; `given` is the number of the label's category, None to draw it too."""
        if not self.bins and self.method not in _GANS:
            return SAMPLERS[self.method](self.arrays, self.encoder, n, rng)
        code = np.full(n, given)
        if given is None and self.label is not None:
            shares = self.arrays["label_shares"][model]
            code = rng.choice(len(shares), size=n, p=shares)
        if self.bins:
            arrays = {name: array[model] for name, array in self.arrays.items()}
            return sums.draw(arrays, Levels(self.encoder, self.bins), self.label, code, rng)
        layout = _layout(self.encoder, self.label)
        label = torch.eye(layout.n_given)[code] if layout.n_given else torch.zeros(n, 0)
        tensors = [torch.from_numpy(self.arrays[f"layer_{i}"][[model]]) for i in range(len(self.arrays) - 1)]
        with torch.no_grad(), one_thread():
            noise = gan.draw_noise(layout.width, n, [rng])
            return gan.generate(Params(tensors[::2], tensors[1::2]), layout, label[None], *noise)[0].numpy()


def fit(
    frame: pd.DataFrame | Mapping[str, pd.DataFrame],
    *,
    method: Method = "wgan_gp",
    schema: Schema | None = None,
    label: str | None = None,
    seed: int = 0,
    n_models: int = 1,
    steps: int = 1500,
    hidden: Sequence[int] = (128, 128),
    critic_steps: int | None = None,
    pack: int = 1,
    batch_size: int = 100,
    lr: float = 5e-4,
    critic_lr: float | None = None,
    penalty: float = 10.0,
    average: float | None = None,
    transform: Transform = "quantile",
    on_step: Callable[[Synthesizer], bool | None] | None = None,
    every: int = 50,
) -> Synthesizer | dict[str, Synthesizer]:
    """Learn a table so that rows like its own can be drawn.

    Parameters
    ----------
    frame
        Any table that ``data.from_frame`` takes, one row a patient; at least 20 rows are wise. Or several by name,
        such as one for each hospital: each is learnt from its own rows alone, the j-th as if with ``seed + j``,
        and what comes back is a dict of synthesizers.
    method
        "gan" (minimax, non-saturating; arXiv:1406.2661), "wgan_gp" (arXiv:1704.00028, averaged generator
        weights), or a baseline: "independent", "copula", "interpolate".
    schema
        Public knowledge, or ``federation.schema``; the rest is learnt from the rows, see `Synthesizer.learnt`.
    label
        A category column that a GAN is told instead of making it, so that it can be asked for; best the one to
        predict. Its rare values are practised more often than they occur (`draws.balanced`).
    seed
        Model k depends on ``(seed, k)`` alone, however many train beside it.
    n_models
        Generators trained side by side on the same rows, K.
    steps, hidden, batch_size, lr
        Of the generators; the critics have the same `hidden`.
    critic_steps
        Critic steps for each generator step; by default 2, and 1 for "gan".
    pack
        Rows that a critic judges together, against mode collapse (PacGAN, arXiv:1712.04086).
    critic_lr
        Learning rate of the critics; by default four times `lr`, and `lr` itself for "gan".
    penalty
        Weight of the gradient penalty in "wgan_gp".
    average
        How much of the averaged generator weights is kept in each step; by default .998, and 0 for "gan".
    transform
        "quantile" or "linear", see `encoding.learn`.
    on_step, every
        Called after every so many steps with the synthesizer so far; training stops if it returns True.

    Returns
    -------
    Synthesizer
        Or, for several tables, a dict of them by the tables' names.

    Raises
    ------
    ValueError
        With one sentence, if an argument or the table cannot be used.
    """
    one_of("method", method, get_args(Method))
    wasserstein = method == "wgan_gp"
    critic_steps = (2 if wasserstein else 1) if critic_steps is None else critic_steps
    average = (0.998 if wasserstein else 0.0) if average is None else number("average", average)
    if average >= 1:
        raise ValueError(f"average must be a number of at least 0 and below 1; got {average!r}.")
    counts = {"steps": steps, "critic_steps": critic_steps, "pack": pack, "batch_size": batch_size}
    counts = {name: whole(name, value) for name, value in counts.items()}
    rates = {"lr": number("lr", lr), "penalty": number("penalty", penalty)}
    default = rates["lr"] * (4 if wasserstein else 1)
    rates["critic_lr"] = default if critic_lr is None else number("critic_lr", critic_lr)
    hidden, n_models, every = widths(hidden), whole("n_models", n_models), whole("every", every)

    if on_step is not None and not callable(on_step):
        raise ValueError(f"on_step must be a function of one synthesizer; got {brief(on_step)}.")
    several, seed = isinstance(frame, Mapping), whole("seed", seed, 0)
    if several and (on_step is not None or not frame):
        raise ValueError("frame must be one table where on_step is given, and hold at least one table in any case.")
    tasks = {}
    for j, (name, table) in enumerate(frame.items() if several else [("", frame)]):
        encoder = encoding.learn(table, known=schema, transform=transform, seed=seed + j)
        tasks[name] = _Task(seed + j, encoder, _layout(encoder, label), encoder.encode(table, seed=seed + j))
    made = {}
    if method in _GANS:
        settings = dict(method=method, hidden=hidden, average=average, **counts, **rates)
        for group in _alike(tasks, counts["batch_size"]):
            made |= _train(group, label, n_models, settings, on_step, every)
    else:
        nothing = np.zeros((0, 2, n_models), np.float32)
        for name, task in tasks.items():
            arrays = FITTERS[method](task.data, task.encoder)
            made[name] = Synthesizer(method, task.encoder, arrays, label, n_models, nothing)
    return {name: made[name] for name in tasks} if several else made[""]


class _Task(NamedTuple):
    """One table to learn, encoded."""

    seed: int
    encoder: Encoder
    layout: gan.Layout
    data: np.ndarray


def _alike(tasks: Mapping[str, _Task], batch_size: int) -> list[dict[str, _Task]]:
    """Tables that one fleet can train: encoded alike, with batches of one size."""
    groups: dict[tuple, dict[str, _Task]] = {}
    for name, task in tasks.items():
        groups.setdefault((task.layout, min(batch_size, len(task.data))), {})[name] = task
    return list(groups.values())


def _train(
    tasks: Mapping[str, _Task], label: str | None, n_models: int, settings: dict, on_step, every: int
) -> dict[str, Synthesizer]:
    """All models of all tables in one fleet."""
    layout = next(iter(tasks.values())).layout
    rows, rngs, first = [], [], 0
    for task in tasks.values():
        rows += [np.arange(first, first + len(task.data))] * n_models
        rngs += [generator(task.seed, k, GENERATOR_TRAINING) for k in range(n_models)]
        first += len(task.data)
    losses = []

    def so_far(params: Params) -> dict[str, Synthesizer]:
        found, past = {}, np.array(losses)
        for j, (name, task) in enumerate(tasks.items()):
            mine = slice(j * n_models, (j + 1) * n_models)
            arrays = {f"layer_{i}": t[mine].numpy().copy() for i, t in enumerate(params.tensors())}
            shares = task.data[:, slice(*layout.given)].mean(0, dtype=float)
            arrays["label_shares"] = np.tile(shares, (n_models, 1))
            found[name] = Synthesizer(settings["method"], task.encoder, arrays, label, n_models, past[:, :, mine])
        return found

    everything = torch.from_numpy(np.concatenate([task.data for task in tasks.values()]))
    training, quiet = gan.train(everything, rows, layout, rngs, **settings), on_step is not None
    with one_thread():
        bar = progress(training, "Steps", settings["steps"], quiet=quiet)
        for step, (params, *both) in enumerate(bar, start=1):
            losses.append(both)
            if on_step is not None and step % every == 0 and on_step(*so_far(params).values()) is True:
                break
    return so_far(params)


def load(path: str | PathLike) -> Synthesizer:
    """Read what `Synthesizer.save` wrote. Nothing in the file is executed, whatever it holds.

    Raises
    ------
    ValueError
        If the file is something else, or damaged.
    OSError
        If there is no such file, or it may not be read.
    """
    with open(arguments.path("path", path), "rb") as file:
        try:
            found = _read(file)
            found.sample(1, model=found.n_models - 1)  # what does not fit together shows here
        except Exception as error:  # zip, zlib, json and numpy each have errors of their own for a damaged file
            raise ValueError(f"path={str(path)!r} is not a file that Synthesizer.save wrote.") from error
    return found


def _read(file: BinaryIO) -> Synthesizer:
    with np.load(file, allow_pickle=False) as stored:
        arrays = dict(stored)
    about = json.loads(str(arrays.pop("about")))
    encoder, losses = Encoder.from_json(about), arrays.pop("losses")
    bins, n_models = whole("bins", about.get("bins", 0), 0), whole("n_models", about["n_models"])
    method = one_of("method", about["method"], sums.METHODS if bins else (*_GANS, *FITTERS))
    if losses.shape[1:] != (2, n_models):
        raise ValueError(f"losses must be [steps, 2, {n_models}]; got {losses.shape}.")
    return Synthesizer(method, encoder, arrays, about["label"], n_models, losses, bins, about.get("about", {}))


def _layout(encoder: Encoder, label: str | None) -> gan.Layout:
    if label is None:
        return gan.Layout(encoder.width, tuple(encoder.choices))
    known = [c.name for c in encoder.columns]
    if label not in known:
        raise ValueError(f"label={brief(label)} is not a column of the table, which has {brief(known)}.")
    if encoder[label].is_number:
        raise ValueError(f"label={label!r} must be a category column; it holds numbers.")
    where = encoder.slices[label]
    return gan.Layout(encoder.width, tuple(encoder.choices), (where.start, where.stop))
