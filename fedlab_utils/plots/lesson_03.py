"""Figures of lesson 03: rounds of training, and the finished model in a clinic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.shared import apart, last_round, refuse_nothing, short
from fedlab_utils.plots.style import DASHES, PALETTE, band, figure, level

# ---------------------------------------------------------------- learning curves


def learning_curves(history: pd.DataFrame, baselines: pd.DataFrame | None = None) -> Figure:
    """AUC by round on all test patients, and by hospital after the last round, beside the baselines.

    Parameters
    ----------
    history
        Of a federated run.
    baselines
        Of `federated.baselines`: lines on the left, and local-only beside each hospital on the right.
    """
    refuse_nothing(history["auc"])
    fig, (left, right) = figure(9.5, 3.9, ncols=2)
    _by_round(left, history, baselines)
    _by_hospital(right, history, baselines)
    fig.legend(loc="outside upper center", ncols=4, frameon=False)
    return fig


def _by_round(ax: Axes, history: pd.DataFrame, baselines: pd.DataFrame | None) -> None:
    """The federated model round by round, and baselines as horizontal lines."""
    curve = history[history["hospital"] == "all"].groupby("round")["auc"].agg(["mean", "std"]).fillna({"std": 0})
    low, high = curve["mean"] - curve["std"], curve["mean"] + curve["std"]
    band(ax, curve.index, low, curve["mean"], high, label="federated", color=PALETTE[0])
    if baselines is not None:
        for name in ("pooled", "best possible", "local-only"):
            value = baselines[(baselines["baseline"] == name) & (baselines["hospital"] == "all")]["auc"]
            if len(value):
                level(ax, value.mean(), name)
    ax.set(xlabel="round (0 = untrained)", ylabel="AUC, all test patients")
    ax.xaxis.get_major_locator().set_params(integer=True)


def _by_hospital(ax: Axes, history: pd.DataFrame, baselines: pd.DataFrame | None) -> None:
    """The federated model after the last round in each hospital, beside the hospital's own model."""
    hospitals = [h for h in dict.fromkeys(history["hospital"]) if h != "all"]
    drawn = hospitals[:12]  # more names do not fit
    models = [(last_round(history), PALETTE[0], "o")]
    if baselines is not None:
        models.insert(0, (baselines[baselines["baseline"] == "local-only"], PALETTE[1], "s"))
    for (table, color, marker), shift in zip(models, apart(len(models)), strict=True):
        values = table.groupby("hospital")["auc"].agg(["mean", "std"]).reindex(drawn)
        at = np.arange(len(drawn)) + shift
        ax.errorbar(at, values["mean"], values["std"].fillna(0), fmt=marker, color=color, capsize=3)
    ax.set(ylabel="AUC, own test patients", xlim=(-0.6, len(drawn) - 0.4))
    ax.set_xticks(np.arange(len(drawn)), [short(h) for h in drawn], rotation=25 if len(drawn) > 3 else 0)
    if len(drawn) < len(hospitals):
        ax.set_title(f"the first {len(drawn)} of {len(hospitals)} hospitals")


def read_learning_curves(history: pd.DataFrame, baselines: pd.DataFrame) -> str:
    """The sentence under `learning_curves`, from the same tables."""
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
    curves
        Name -> (x ``[n]``, values ``[n, repetitions]``).
    log_x
        Whether x is drawn in powers of two, with a tick at each of the last curve's.
    """
    fig, ax = figure(7, 3.8)
    for (name, (x, values)), dashes in zip(curves.items(), cycle(DASHES), strict=False):
        mid, spread = np.mean(values, axis=1), np.std(values, axis=1)
        band(ax, x, mid - spread, mid, mid + spread, label=name, linestyle=dashes)
    if log_x:
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(x), [f"{v:g}" for v in x])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False)
    return fig


# ---------------------------------------------------------------- the clinic


def clinic(risk: np.ndarray, ill: np.ndarray, hospital: Sequence[str], threshold: float) -> Figure:
    """A risk model as a clinic sees it: ROC curve, calibration, and the ill patients that it misses.

    Parameters
    ----------
    risk
        Predicted risk, ``[seeds, n]``.
    ill
        What happened, 0 or 1, ``[n]``.
    hospital
        Of each patient, ``[n]``.
    threshold
        From which risk on a patient is treated.
    """
    fig, (roc, calibration, missed) = figure(10.5, 3.8, ncols=3)
    _draw_roc(roc, risk, ill, threshold)
    _draw_calibration(calibration, risk.mean(0), ill)
    _draw_missed(missed, risk, ill, hospital, threshold)
    return fig


def _draw_roc(ax: Axes, risk: np.ndarray, ill: np.ndarray, threshold: float) -> None:
    """ROC curves from the worst seed to the best, and the point at which the clinic works."""
    falses = np.linspace(0, 1, 101)
    hits = np.array([np.interp(falses, *_rates(one, ill)) for one in risk])
    band(ax, falses, hits.min(0), hits.mean(0), hits.max(0), color=PALETTE[0])
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--")
    # [seeds, n] @ [n, 2]: treated among the healthy and among the ill, over how many there are
    at = (risk >= threshold) @ np.stack([1 - ill, ill], 1) / [np.sum(1 - ill), np.sum(ill)]
    ax.plot(*at.mean(0), "o", color=PALETTE[3])
    ax.set(xlabel="share of healthy patients treated", ylabel="share of ill patients found", title="ROC curve")


def _rates(score: np.ndarray, ill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of healthy and of ill patients at or above each score."""
    order = np.argsort(-score)
    return np.cumsum(1 - ill[order]) / np.sum(1 - ill), np.cumsum(ill[order]) / np.sum(ill)


def _draw_calibration(ax: Axes, risk: np.ndarray, ill: np.ndarray) -> None:
    """Tenths of the patients by predicted risk: what was said, and what happened with its 95% interval."""
    edges = np.quantile(risk, np.linspace(0, 1, 11))
    tenth = np.clip(np.searchsorted(edges, risk, side="right") - 1, 0, 9)
    n = np.bincount(tenth, minlength=10)
    with np.errstate(invalid="ignore"):  # a tenth without patients, where many risks are equal
        said, happened = (np.bincount(tenth, v, minlength=10) / n for v in (risk, ill))
        half = 1.96 * np.sqrt(happened * (1 - happened) / n)
    ax.plot([0, risk.max()], [0, risk.max()], color="0.5", linestyle="--")
    ax.errorbar(said, happened, half, fmt="o", color=PALETTE[0], capsize=3)
    ax.set(xlabel="predicted risk (tenths of the patients)", ylabel="share that fell ill", title="Calibration")


def _draw_missed(ax: Axes, risk: np.ndarray, ill: np.ndarray, hospital: Sequence[str], threshold: float) -> None:
    """The share of each hospital's ill patients below the threshold; hospitals without any are left out."""
    here = {name: (np.asarray(hospital) == name) & (ill > 0) for name in dict.fromkeys(hospital)}
    names = [name for name, patients in here.items() if patients.any()]
    shares = np.array([[np.mean(one[here[name]] < threshold) for name in names] for one in risk])
    rows = np.arange(len(names))[::-1]
    ax.barh(rows, shares.mean(0), xerr=shares.std(0), color=PALETTE[3], capsize=3)
    ax.set_yticks(rows, names)
    ax.set(xlabel="share of ill patients missed", title=f"Missed below a risk of {threshold:.0%}")
