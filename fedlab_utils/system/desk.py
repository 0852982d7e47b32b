"""The controls of the control room, and how they and settings become each other.

A control that means nothing as the others stand is greyed out, and what it shows is left out of the settings. What has
no control, such as the learning rate, stays as in the system that the controls started from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import ipywidgets as W
import pandas as pd

from fedlab_utils import data
from fedlab_utils.system.presets import PRESETS
from fedlab_utils.system.settings import SCALES, Settings
from fedlab_utils.widgets import choice, slider, switch

OWN = "own"
_METHODS = {
    "none": ("none", None),
    "together, by what is public": ("federated", None),
    "together, tables by outcome": ("federated", "tables"),
    "together, tables and correlations": ("federated", "copula"),
    "together, pairs of columns": ("federated", "pairs"),
    "together, GAN with noise (slow)": ("federated", "dp_gan"),
    "together, GAN (slow)": ("federated", "gan"),
    "each alone, Wasserstein GAN (slow)": ("local", "wgan_gp"),
    "each alone, GAN (slow)": ("local", "gan"),
    "each alone, column by column": ("local", "independent"),
    "each alone, copula": ("local", "copula"),
    "each alone, between neighbours": ("local", "interpolate"),
}
_OUT = 0  # of a slider: the setting is left out
_EPSILONS = 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0
PATHS = {  # settings that sentences speak of, by the control that sets them
    "data.table": "table", "data.target": "target", "data.hospital": "hospital", "data.patient": "patient",
    "data.drop": "drop", "data.hospitals": "hospitals", "data.skew": "skew", "data.statistics_epsilon": "statistics",
    "synthetic.where": "invented", "synthetic.method": "invented", "synthetic.epsilon": "invented_epsilon",
    "synthetic.rows": "share", "training.on": "on", "training.rounds": "rounds", "training.dropout": "dropout",
    "sum.through": "through", "promise.unit": "unit", "promise.epsilon": "epsilon", "promise.clip": "clip",
}  # fmt: skip


def _ladder(values: Sequence, label: str, none: str) -> W.SelectionSlider:
    """A slider over `values`, with `none` at its left end for "left out"."""
    options = [(none, _OUT), *((f"{v:g}", v) for v in values)]
    return W.SelectionSlider(options=options, value=_OUT, description=label, continuous_update=False)


def _number(values: Sequence, value: float, label: str, form: str = "{:g}") -> W.SelectionSlider:
    options = [(form.format(v), v) for v in values]
    return W.SelectionSlider(options=options, value=value, description=label, continuous_update=False)


def _controls(preset: str, scale: str) -> dict[str, W.DOMWidget]:
    names = {name.replace("_", " "): name for name in [*data.names(), "wine"]}
    columns = dict(options=[("(no column)", "")], value="")
    return {
        "preset": choice(list(PRESETS), preset, label="System"),
        "splits": choice({f"{n} splits": scale for scale, n in SCALES.items()}, scale, label="Repetition"),
        "table": choice(names | {"my own table": OWN}, label="Data"),
        "target": W.Dropdown(description="To predict", **columns),
        "hospital": W.Dropdown(description="Hospital", **columns),
        "patient": W.Dropdown(description="Patient", **columns),
        "drop": W.SelectMultiple(options=[], value=(), rows=4, description="Leave out"),
        "hospitals": _ladder((2, 3, 5, 10, 20, 50), "Hospitals", "as is"),
        "skew": _ladder((100.0, 10.0, 3.0, 1.0, 0.5, 0.2, 0.1), "Skew, Dirichlet", "none"),
        "statistics": _ladder(_EPSILONS, "Means, epsilon", "exact"),
        "invented": choice(_METHODS, label="Method"),
        "invented_epsilon": _ladder(_EPSILONS, "Their epsilon", "none"),
        "share": _number((0.25, 0.5, 1.0, 2.0, 4.0), 1.0, "How many", "{:g} ×"),
        "on": choice({"real rows": "real", "invented rows": "synthetic", "both": "both"}, label="Train on"),
        "rounds": slider(1, 60, 20, label="Rounds"),
        "dropout": _number((0.0, 0.1, 0.2, 0.3, 0.5), 0.0, "Silence", "{:.0%}"),
        "through": choice({"in the open": "open", "masked": "masked", "encrypted": "encrypted"}, label="Sums travel"),
        "unit": choice({"nobody": "none", "each record": "record", "each hospital": "hospital"}, label="Protects"),
        "epsilon": _number(_EPSILONS, 1.0, "Epsilon"),
        "clip": _number((0.1, 0.3, 0.5, 1.0, 2.0, 3.0, 5.0, 10.0), 1.0, "Clip norm"),
        "attack": switch(False, label="attacks membership (slow)"),
    }


class Desk:
    """The controls, and the settings that they stand for.

    Attributes
    ----------
    controls
        By name, in their order.
    base
        The system that the controls started from.
    frame
        A table of one's own, once there is one.
    """

    def __init__(self, preset: str = "ours", scale: str = "full") -> None:
        self.controls, self.base, self.frame = _controls(preset, scale), PRESETS[preset], None
        self._moving = False
        self.take(self.base)
        self.controls["preset"].observe(self._preset, "value")
        for control in self.controls.values():
            control.observe(self._grey, "value")

    def _preset(self, change: Mapping) -> None:
        if not self._moving:
            self.take(PRESETS[change["new"]])

    @contextmanager
    def _quiet(self) -> Iterator[None]:
        self._moving, before = True, self._moving
        try:
            yield
        finally:
            self._moving = before

    def take(self, settings: Settings) -> None:
        """Set the controls as these settings have it; number of splits and attacker stay where they stand."""
        self.base, s = settings, settings
        values = dict(
            table=s.data.table, hospitals=s.data.hospitals or _OUT, skew=s.data.skew or _OUT,
            statistics=s.data.statistics_epsilon or _OUT,
            invented=(s.synthetic.where, s.synthetic.method), invented_epsilon=s.synthetic.epsilon or _OUT,
            share=s.synthetic.rows, on=s.training.on, rounds=s.training.rounds, dropout=s.training.dropout,
            through=s.sum.through, unit=s.promise.unit, epsilon=s.promise.epsilon or self.controls["epsilon"].value,
            clip=s.promise.clip,
        )  # fmt: skip
        with self._quiet():
            for name, value in values.items():
                _put(self.controls[name], value)
            if s.data.table == OWN and self.frame is not None:
                self._columns(s)
        self._grey()

    def use(self, frame: pd.DataFrame, leave_out: Sequence[str]) -> None:
        """Offer the columns of a table of one's own, and choose it."""
        self.frame, names = frame, [str(c) for c in frame.columns]
        with self._quiet():
            kept = [n for n in names if n not in leave_out]
            for name in ("target", "hospital", "patient"):
                self.controls[name].options = [("(no column)", ""), *((n, n) for n in names)]
            self.controls["target"].value = kept[-1] if kept else ""
            self.controls["drop"].options, self.controls["drop"].value = names, tuple(leave_out)
            self.controls["table"].value = OWN
            if self.base.data.table == OWN:  # settings that were opened before the table
                self._columns(self.base)
        self._grey()

    def _columns(self, settings: Settings) -> None:
        """Set the columns of a table of one's own, those that are there."""
        d, there = settings.data, self.controls["drop"].options
        for name in ("target", "hospital", "patient"):
            wanted = getattr(d, name)
            if wanted in there:
                self.controls[name].value = wanted
        named = (c for c in d.drop if c in there)
        self.controls["drop"].value = tuple(dict.fromkeys((*named, *self.controls["drop"].value)))

    def _grey(self, _change=None) -> None:
        """Grey out what means nothing as the others stand."""
        v = {name: control.value for name, control in self.controls.items()}
        own, where = v["table"] == OWN, v["invented"][0]
        dealt = not (own and v["hospital"])
        means = dict.fromkeys(("target", "hospital", "patient", "drop"), own)
        means |= dict(hospitals=dealt, skew=dealt and v["hospitals"] != _OUT)
        means |= dict(invented_epsilon=where == "federated", share=where != "none", on=where != "none")
        means |= dict.fromkeys(("epsilon", "clip"), v["unit"] != "none")
        for name, some in means.items():
            self.controls[name].disabled = not some

    def settings(self) -> Settings:
        """The system as the controls stand.

        Raises
        ------
        ValueError
            With one sentence, if it is none.
        """
        v = {name: None if c.disabled or c.value in (_OUT, "") else c.value for name, c in self.controls.items()}
        base, own = self.base, v["table"] == OWN
        where, method = v["invented"]
        about = dict(table=v["table"], hospitals=v["hospitals"], skew=v["skew"], statistics_epsilon=v["statistics"])
        if own:
            about |= dict(target=v["target"], hospital=v["hospital"], patient=v["patient"], drop=tuple(v["drop"] or ()))
        elif base.data.table != v["table"]:  # what belonged to another table
            about |= dict(target=None, hospital=None, patient=None, drop=(), bounds={}, categories={})
        invented = dict(where=where, method=method, epsilon=v["invented_epsilon"], rows=v["share"] or 1.0)
        invented |= dict(warm_up=base.synthetic.warm_up and method in ("gan", "dp_gan"))
        unit = v["unit"]
        promised = dict(unit=unit, epsilon=v["epsilon"], clip=v["clip"] or base.promise.clip)
        training = dict(on=v["on"] or "real", rounds=v["rounds"], dropout=v["dropout"] or 0.0)
        made = dict(
            data=replace(base.data, **about), synthetic=replace(base.synthetic, **invented),
            training=replace(base.training, **training), promise=replace(base.promise, **promised),
            sum=replace(base.sum, through=v["through"], **({} if v["through"] == "masked" else _OPEN)),
            checks=replace(base.checks, attack=bool(v["attack"])), scale=v["splits"],
        )  # fmt: skip
        if base.data.table != v["table"]:  # neither its name nor its question is about this one
            label = self.controls["table"].label
            made |= dict(name=f"{base.name[:150]} on {label}", question=Settings().question)
        try:
            return replace(base, **made)
        except ValueError as reason:
            raise ValueError(self.in_words(str(reason))) from reason

    def in_words(self, sentence: str) -> str:
        """A sentence about settings or a table, which names the controls that set them."""
        sentence = re.sub(r"give them to from_frame as (\w+)=\{.*", _IN_A_FILE, sentence)
        for path in sorted(PATHS, key=len, reverse=True):
            label = self.controls[PATHS[path]].description
            head, found, rest = sentence.partition(path)
            if found and not rest[:1].isalnum() and rest[:1] != "_":
                sentence = f"{head}{label} ({found}){rest}" if f"({path})" not in sentence else sentence
        return sentence


_IN_A_FILE = (
    r"give them as data.\1 in a file of settings (TOML), or ask for exact means and no promise for invented rows."
)
_OPEN = dict(threshold=None, colluding=0)  # what only a masked sum has


def _put(control: W.DOMWidget, value: Any) -> None:
    """Set a control; a value between two of a ladder gets a rung of its own."""
    if isinstance(control, W.SelectionSlider | W.Dropdown):
        options = list(control.options)
        if value not in [kept for _, kept in options]:
            options.append((f"{value:g}" if isinstance(value, float | int) else str(value), value))
            if isinstance(control, W.SelectionSlider):
                numbers = [v for _, v in options if v != _OUT]
                turn = -1 if numbers[0] > numbers[1] else 1
                options.sort(key=lambda o: (o[1] != _OUT, turn * o[1]))
            before = control.value
            control.options = options
            control.value = before
    elif isinstance(control, W.IntSlider) and value > control.max:
        control.max = value
    control.value = value
