"""Hospitals, rounds and models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from fedlab_utils.plots.style import PALETTE, band, figure


def _short(name: str) -> str:
    """A name that fits beside an axis, from both of its ends."""
    return name if len(name) <= 24 else f"{name[:12]}…{name[-11:]}"


def _defined(values: pd.Series) -> None:
    """A picture of nothing would be read as a result; say why there is none."""
    if values.isna().all():
        raise ValueError(
            "There is nothing to draw: this measure needs test patients with and without the outcome, and a target "
            "with few values. Choose another target, or fewer, larger hospitals."
        )


def last_round(history: pd.DataFrame) -> pd.DataFrame:
    """The rows of a history after the last round of each setting."""
    ends = history.groupby("setting")["round"].transform("max") if "setting" in history else history["round"].max()
    return history[history["round"] == ends]


def by_hospital(
    table: pd.DataFrame, kinds: Sequence[str], *, metric: str = "auc", label: str = "AUC on own test patients"
) -> Figure:
    """One line a hospital, one mark for each kind of model: mean and standard deviation over seeds.

    Parameters
    ----------
    table : columns hospital, seed, `metric`, and baseline or setting; one row for each of them
    kinds : which baselines or settings, in the order of the legend
    metric : column to draw
    label : what it is, with its unit
    """
    _defined(table[metric])
    kind = "setting" if "setting" in table else "baseline"
    everybody = list(dict.fromkeys(table["hospital"]))
    hospitals = everybody[:15]  # a taller picture leaves the screen
    made, ax = figure(7.5, 0.5 * len(hospitals) + 1.3)
    rows = np.arange(len(hospitals))[::-1]
    for name, shift, color in zip(kinds, _spread(len(kinds)), PALETTE, strict=False):
        values = table[table[kind] == name].groupby("hospital")[metric].agg(["mean", "std"]).reindex(hospitals)
        style = dict(fmt="o", color=color, capsize=3, label=name)
        ax.errorbar(values["mean"], rows - shift, xerr=values["std"].fillna(0), **style)
    if ax.get_xlim()[0] < 0 < ax.get_xlim()[1]:
        ax.axvline(0, color="0.4", linewidth=1)
    ax.set_yticks(rows, ["all patients" if h == "all" else _short(h) for h in hospitals])
    ax.set_ylim(-0.6, len(hospitals) - 0.4)
    if len(hospitals) < len(everybody):
        ax.set_title(f"the first {len(hospitals)} of {len(everybody)}")
    ax.set_xlabel(f"{label} (mean ± standard deviation over {table['seed'].nunique()} runs)")
    made.legend(loc="outside upper center", ncols=len(kinds), frameon=False)
    return made


def _spread(n: int) -> np.ndarray:
    """Small shifts that keep n marks on one line apart."""
    return (np.arange(n) - (n - 1) / 2) * 0.2


def learning_curves(history: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """AUC by round on all test patients, and by hospital after the last round, beside the baselines.

    Parameters
    ----------
    history : of a federated run
    baselines : of `federated.baselines`: lines on the left, and local-only beside each hospital on the right
    """
    _defined(history["auc"])
    made, (left, right) = figure(9.5, 3.9, ncols=2)
    curve = history[history["hospital"] == "all"].groupby("round")["auc"].agg(["mean", "std"]).fillna({"std": 0})
    low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
    band(left, curve.index, low, curve["mean"], high, label="federated", color=PALETTE[0])
    hospitals = [h for h in dict.fromkeys(history["hospital"]) if h != "all"]
    shown = hospitals[:12]  # more names do not fit
    marks = {"federated": last_round(history)}
    if baselines is not None:
        for name, color in (("pooled", PALETTE[2]), ("best possible", PALETTE[7]), ("local-only", PALETTE[1])):
            value = baselines[(baselines["baseline"] == name) & (baselines["hospital"] == "all")]["auc"]
            if len(value):
                left.axhline(value.mean(), color=color, linestyle="--", label=name)
        marks = {"local-only": baselines[baselines["baseline"] == "local-only"]} | marks
    for (name, table), shift in zip(marks.items(), _spread(len(marks)), strict=True):
        values = table.groupby("hospital")["auc"].agg(["mean", "std"]).reindex(shown)
        color = PALETTE[0] if name == "federated" else PALETTE[1]
        at = np.arange(len(shown)) + shift
        right.errorbar(at, values["mean"], values["std"].fillna(0), fmt="o", color=color, capsize=3)
    left.set(xlabel="round (0 = untrained)", ylabel="AUC, all test patients")
    right.set(ylabel="AUC, own test patients", xlim=(-0.6, len(shown) - 0.4))
    left.xaxis.get_major_locator().set_params(integer=True)
    right.set_xticks(np.arange(len(shown)), [_short(h) for h in shown], rotation=25 if len(shown) > 3 else 0)
    if len(shown) < len(hospitals):
        right.set_title(f"the first {len(shown)} of {len(hospitals)} hospitals")
    made.legend(loc="outside upper center", ncols=4, frameon=False)
    return made


def read_learning_curves(history: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """The sentence under `learning_curves`."""
    end = last_round(history)
    auc = end[end["hospital"] == "all"]["auc"]
    beside = baselines[baselines["hospital"] == "all"].groupby("baseline")["auc"].mean()
    own = baselines[baselines["baseline"] == "local-only"].groupby("hospital")["auc"].mean()
    gain = (end.groupby("hospital")["auc"].mean() - own).drop("all").dropna()
    rounds = int(end["round"].max())
    sentence = f"After {rounds} round{'s' * (rounds > 1)} the AUC over all test patients is {auc.mean():.3f}"
    sentence += f" ± {auc.std():.3f}" if len(auc) > 1 else ""
    sentence += f", pooled training gives {beside['pooled']:.3f}"
    sentence += f" and the best possible is {beside['best possible']:.3f}" if "best possible" in beside else ""
    if not len(gain):
        return sentence + "."
    if len(gain) == 1:
        return f"{sentence}; compared with its own model, {gain.index[0]} changes by {gain.iloc[0]:+.3f}."
    better, best, least = int((gain > 0).sum()), gain.idxmax(), gain.idxmin()
    return sentence + (
        f"; compared with its own model, on its own patients, {best} changes by {gain[best]:+.3f} and {least} by "
        f"{gain[least]:+.3f} ({better} of the {len(gain)} hospitals with both outcomes are better off together)."
    )


def bands(curves: Mapping[str, tuple], *, xlabel: str, ylabel: str, log_x: bool = False) -> Figure:
    """One line for each name, with a band of one standard deviation over repetitions.

    Parameters
    ----------
    curves : name -> (x [n], values [n, repetitions])
    """
    made, ax = figure(7, 3.8)
    for name, (x, values) in curves.items():
        mid, spread = np.mean(values, axis=1), np.std(values, axis=1)
        band(ax, x, mid - spread, mid, mid + spread, label=name)
    if log_x:
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(x), [f"{v:g}" for v in x])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False)
    return made


def clinic(risk: np.ndarray, ill: np.ndarray, hospital: Sequence[str], threshold: float) -> Figure:
    """A risk model as a clinic sees it: ROC curve, calibration, and the ill patients that it misses.

    Parameters
    ----------
    risk : predicted risk, [seeds, n]
    ill : what happened, 0 or 1, [n]
    hospital : of each patient, [n]
    threshold : from which risk on a patient is treated
    """
    made, (roc, calibration, missed) = figure(10.5, 3.8, ncols=3)
    falses = np.linspace(0, 1, 101)
    hits = np.array([np.interp(falses, *_roc(one, ill)) for one in risk])
    band(roc, falses, hits.min(0), hits.mean(0), hits.max(0), color=PALETTE[0])
    roc.plot([0, 1], [0, 1], color="0.6", linestyle="--")
    at = (risk >= threshold) @ np.stack([1 - ill, ill], 1) / [np.sum(1 - ill), np.sum(ill)]
    roc.plot(*at.mean(0), "o", color=PALETTE[3])
    roc.set(xlabel="share of healthy patients treated", ylabel="share of ill patients found", title="ROC curve")
    mean = risk.mean(0)
    edges = np.quantile(mean, np.linspace(0, 1, 11))
    group = np.clip(np.searchsorted(edges, mean, side="right") - 1, 0, 9)
    n = np.bincount(group, minlength=10)
    with np.errstate(invalid="ignore"):  # a tenth without patients, where many risks are equal
        said, happened = (np.bincount(group, v, minlength=10) / n for v in (mean, ill))
        half = 1.96 * np.sqrt(happened * (1 - happened) / n)
    calibration.plot([0, mean.max()], [0, mean.max()], color="0.6", linestyle="--")
    calibration.errorbar(said, happened, half, fmt="o", color=PALETTE[0], capsize=3)
    calibration.set(xlabel="predicted risk (tenths of the patients)", ylabel="share that fell ill", title="Calibration")
    here = {name: (np.asarray(hospital) == name) & (ill > 0) for name in dict.fromkeys(hospital)}
    names = [name for name, patients in here.items() if patients.any()]
    shares = np.array([[np.mean(one[here[name]] < threshold) for name in names] for one in risk])
    rows = np.arange(len(names))[::-1]
    missed.barh(rows, shares.mean(0), xerr=shares.std(0), color=PALETTE[3], capsize=3)
    missed.set_yticks(rows, names)
    missed.set(xlabel="share of ill patients missed", title=f"Missed below a risk of {threshold:.0%}")
    return made


def _roc(score: np.ndarray, ill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of healthy and of ill patients at or above each score."""
    order = np.argsort(-score)
    return np.cumsum(1 - ill[order]) / np.sum(1 - ill), np.cumsum(ill[order]) / np.sum(ill)
