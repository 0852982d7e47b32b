"""The controls of a live lab: thin helpers around ipywidgets, with units, whole labels and known limits."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ipywidgets as W


class NotAtHand(ValueError):
    """The chosen data are not on this machine: no own table was given, or a download was not possible."""


class Later(functools.partial):
    """The value of a control that is fetched, by calling it, when a run needs it."""


def slider(low, high, value, *, step=None, label: str = "", unit: str = "", log: bool = False) -> W.DOMWidget:
    """A slider from `low` to `high`, whole numbers if all of them are whole.

    Parameters
    ----------
    low, high, value.
        Both ends and where it starts.
    step
        Distance of two positions; 1 for whole numbers, else a hundredth of the range.
    label
        What it sets, in words.
    unit
        Written behind the number.
    log
        Go through 1, 2, 5, 10, 20, ... instead of even steps; both ends and `value` are added.
    """
    if not low < high:
        raise ValueError(f"low must be below high; they are {low} and {high}.")
    if not low <= value <= high:
        raise ValueError(f"value must lie between {low} and {high}; it is {value}.")
    if step is not None and (log or not 0 < step <= high - low):
        raise ValueError(f"step must be positive, fit the range and not be used with log; it is {step}.")
    whole = all(isinstance(number, int) for number in (low, high, value, 1 if step is None else step))
    common = {"description": label, "continuous_update": False}
    if log:
        positions = _ladder(low, high, value, whole)
        options = [(f"{number:,.10g} {unit}".strip(), number) for number in positions]
        return W.SelectionSlider(options=options, value=value, **common)
    if whole:
        made = W.IntSlider(min=low, max=high, value=value, step=step or 1, **common)
    else:
        step = step or (high - low) / 100
        decimals = max(0, math.ceil(-math.log10(step) - 1e-9))
        decimals += round(step, decimals) != round(step, 10)  # 0.25 needs one more than 0.1
        made = W.FloatSlider(min=low, max=high, value=value, step=step, readout_format=f".{decimals}f", **common)
    made.unit = unit  # ipywidgets has no place for it: the lab writes it behind the number
    return made


def _ladder(low, high, value, whole: bool) -> list:
    if low <= 0:
        raise ValueError(f"low must be above 0 on a logarithmic slider; it is {low}.")
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    # dividing by a whole power of ten gives 0.2, multiplying by 0.1 would give 0.2000...01
    rungs = (d * 10**power if power >= 0 else d / 10**-power for power in powers for d in (1, 2, 5))
    inside = {rung for rung in rungs if low <= rung <= high and (not whole or rung == int(rung))}
    return sorted(map(int if whole else float, inside | {low, high, value}))


def choice(options: Iterable | Mapping[str, Any], value=None, *, label: str = "") -> W.Dropdown:
    """A drop-down list.

    Parameters
    ----------
    options
        The values, or a dict from what is shown to the value.
    value
        The value it starts with; the first one if left out.
    label
        What it sets, in words.
    """
    pairs = list(options.items()) if isinstance(options, Mapping) else [(str(o), o) for o in options]
    if len(pairs) < 2:
        raise ValueError(f"options must hold at least two things to choose from, not {len(pairs)}.")
    value = pairs[0][1] if value is None else value
    if value not in [kept for _, kept in pairs]:
        raise ValueError(f"value must be one of {[kept for _, kept in pairs]}; it is {value!r}.")
    return W.Dropdown(options=pairs, value=value, description=label)


def switch(value: bool = False, *, label: str = "") -> W.Checkbox:
    """A box to tick."""
    return W.Checkbox(value=bool(value), description=label, indent=False)


def data_choice(
    load: Callable[[str], Any],
    names: Iterable[str],
    own=None,
    *,
    label: str = "Data",
    make: str = 'data.from_frame(table, target="outcome", hospital="clinic")',
) -> W.Dropdown:
    """A drop-down list of data sets, with the learner's own table at the end.

    The run receives what was loaded, not the name. Each is loaded in the background, once per process.

    Parameters
    ----------
    load
        Function of a name, such as ``data.load``; pass the same function each time, else it loads again.
    names
        Such as ``data.names()``; the first one is where it starts.
    own
        The learner's own data, of the kind that `load` returns; None if there are none.
    label
        What it sets, in words.
    make
        How `own` is made of a table, for the hint.

    Raises
    ------
    NotAtHand
        When the run starts, if the learner's own table was chosen and `own` is None or not of the kind
        that `load` returns, or if `load` raises an OSError (no network).
    """
    loaders = {name: Later(_load, load, name) for name in names}
    example = functools.partial(_load, load, next(iter(loaders)))
    return choice(loaders | {"my own table": Later(_own, own, example, make)}, label=label)


@functools.lru_cache(maxsize=32)
def _load(load: Callable[[str], Any], name: str):
    try:
        return load(name)
    except OSError as reason:
        raise NotAtHand(str(reason)) from reason


def _own(own, example: Callable, make: str):
    how = (
        f'In a cell above, read your file, table = pd.read_csv("my.csv"), and set own = {make}, with the names of '
        "your columns (hospital may be left out); then run both cells again."
    )
    if own is None:
        raise NotAtHand(f"There is no table of yours yet. {how}")
    kinds = [{type(part) for part in (it if isinstance(it, list) else [it])} for it in (own, example())]
    if isinstance(own, list) != isinstance(example(), list) or kinds[0] != kinds[1]:
        raise NotAtHand(f"What own holds ({type(own).__name__}) is not what this lab needs. {how}")
    return own


# ---------------------------------------------------------------- what the lab needs to know of a control


def rows(controls: Mapping[str, W.DOMWidget]) -> list[W.Box]:
    """The controls ready to be laid out: each with its unit, all labels as wide as the longest."""
    described = [control for control in controls.values() if not isinstance(control, W.Checkbox)]
    longest = max((len(control.description) for control in described), default=0)
    for control in described:
        control.style.description_width = f"{max(7 * longest + 12, 60)}px"
        control.layout = W.Layout(flex="1 1 0", width="auto", min_width="0")
    # a few stand below each other and are long, many stand in two columns
    width = "560px" if len(controls) <= 4 else "390px"
    return [_row(name, control, width) for name, control in controls.items()]


def _row(name: str, control: W.DOMWidget, width: str) -> W.Box:
    parts = [control]
    if getattr(control, "unit", ""):
        parts.append(W.Label(control.unit, layout=W.Layout(width="auto")))
    box = W.HBox(parts, layout=W.Layout(width=width, max_width="100%"))
    box.add_class(f"fedlab-control-{name}")
    return box


def named(name: str, control: W.DOMWidget) -> dict[str, str]:
    """What a control is called and counted in, for those who cannot see where it stands."""
    return {"label": control.description or name.replace("_", " "), "unit": getattr(control, "unit", "")}


def said(name: str, control: W.DOMWidget) -> str:
    """A control's setting in words, such as "Rounds 15" or "Patients kept 100 %"."""
    about = named(name, control)
    if isinstance(control, W.Checkbox):
        value = "on" if control.value else "off"
    elif isinstance(control, (W.Dropdown, W.SelectionSlider)):
        option = control.options[control.index]  # `label` is empty while a control is where it was made, at its first
        value = option[0] if isinstance(option, tuple) else str(option)  # what it shows, with its unit
    elif hasattr(control, "readout_format"):
        value = f"{format(control.value, control.readout_format)} {about['unit']}".strip()
    else:
        value = str(control.value)
    return f"{about['label']} {value}"


def move(name: str, control: W.DOMWidget, value) -> None:
    """Set a control; a list also takes the name that it shows. ValueError if the control cannot be that."""
    if isinstance(control, (W.Dropdown, W.SelectionSlider)):
        shown = dict(control.options)
        value = shown.get(value, value) if isinstance(value, str) else value
        if value not in shown.values():
            raise ValueError(f"{name} must be one of {list(shown)}; it is {value!r}.")
    control.value = value
    if control.value != value:
        raise ValueError(f"{name} cannot be set to {value!r}: the control made {control.value!r} of it.")


def limits(control: W.DOMWidget) -> list[tuple[str, Any]]:
    """The settings at the ends of a control, or all of a list: (as shown, value)."""
    if isinstance(control, W.Checkbox):
        return [("off", False), ("on", True)]
    if isinstance(control, W.SelectionSlider):
        return [control.options[0], control.options[-1]]
    if isinstance(control, W.Dropdown):
        return list(control.options)
    if hasattr(control, "min") and hasattr(control, "max"):
        return [(str(control.min), control.min), (str(control.max), control.max)]
    raise ValueError(f"the limits of a {type(control).__name__} are not known.")
