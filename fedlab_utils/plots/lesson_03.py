"""Figures of lesson 03: rounds of training, and the finished model in a clinic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from fedlab_utils.plots.shared import apart, arms, last_round, refuse_nothing, short, within_shares
from fedlab_utils.plots.style import DASHES, MARKERS, PALETTE, band, figure, level

_FEW = 12  # points on a line, up to which each has a mark


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
    low, high = within_shares(curve["mean"], curve["std"])
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
        ax.errorbar(at, values["mean"], arms(values, "auc"), fmt=marker, color=color, capsize=3)
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
    """Shares: one line for each name, with a band of one standard deviation over repetitions.

    Lines differ in colour, dashes and, where there are few points, marks; bands end at 0 and at 1.

    Parameters
    ----------
    curves
        Name -> (x ``[n]``, shares ``[n, repetitions]``).
    log_x
        Whether x is drawn in powers of two, with a tick at each of the last curve's.
    """
    fig, ax = figure(7, 3.8)
    looks = zip(cycle(DASHES), cycle(MARKERS), strict=False)
    for (name, (x, values)), (dashes, marker) in zip(curves.items(), looks, strict=False):
        mid, spread = np.mean(values, axis=1), np.std(values, axis=1)
        low, high = within_shares(mid, spread)
        band(ax, x, low, mid, high, label=name, linestyle=dashes, marker=marker if len(x) <= _FEW else None)
    if log_x:
        ax.set_xscale("log", base=2)
        ax.set_xticks(list(x), [f"{v:g}" for v in x])
    ax.set(xlabel=xlabel, ylabel=ylabel)
    ax.legend(frameon=False, handlelength=3.5)
    return fig


# ---------------------------------------------------------------- the clinic


def calibration(tables: Mapping[str, pd.DataFrame]) -> Figure:
    """What was predicted and what happened, a panel for each hospital.

    Parameters
    ----------
    tables
        Name of a model -> what `federated.calibration` returned. Marks are means over seeds; so are the ends of the
        intervals, which say how sure *one* seed's test patients are.
    """
    first = next(iter(tables.values()))
    hospitals = [h for h in dict.fromkeys(first["hospital"]) if h != "all"][:6]  # more panels do not fit
    refuse_nothing(first["observed"])
    fig, panels = figure(1.6 + 1.8 * len(hospitals), 2.9, ncols=len(hospitals))
    for ax, name in zip(np.atleast_1d(panels), hospitals, strict=True):
        ax.plot([0, 1], [0, 1], color="0.5", linestyle="--")
        for (model, table), color, marker in zip(tables.items(), PALETTE, MARKERS, strict=False):
            at = table[table["hospital"] == name].groupby("group")[["predicted", "observed", "low", "high"]].mean()
            half = [at["observed"] - at["low"], at["high"] - at["observed"]]
            style = dict(fmt=marker, color=color, capsize=3, markersize=6, label=model)
            ax.errorbar(at["predicted"], at["observed"], half, **style)
        ax.set(xlim=(-0.05, 1.05), ylim=(-0.05, 1.05), aspect="equal", title=short(name))
        ax.set_xticks([0, 0.5, 1], ["0", "50%", "100%"])
        ax.set_yticks([0, 0.5, 1], ["0", "50%", "100%"] if ax is np.atleast_1d(panels)[0] else [""] * 3)
    np.atleast_1d(panels)[0].set_ylabel("share that fell ill")
    fig.supxlabel("predicted risk", fontsize=11)
    handles, labels = np.atleast_1d(panels)[0].get_legend_handles_labels()
    fig.legend(handles, labels, loc="outside upper center", ncols=len(tables), frameon=False)
    return fig


def clinic(risk: np.ndarray, ill: np.ndarray, hospital: Sequence[str], threshold: float) -> Figure:
    """A risk model as a clinic sees it: ROC curve, net benefit by threshold, and the ill patients that it misses.

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
    fig, (roc, benefit, missed) = figure(10.5, 3.8, ncols=3)
    _draw_roc(roc, risk, ill, threshold)
    _draw_net_benefit(benefit, risk, ill, threshold)
    _draw_missed(missed, risk, ill, hospital, threshold)
    return fig


def _draw_roc(ax: Axes, risk: np.ndarray, ill: np.ndarray, threshold: float) -> None:
    """ROC curves from the worst seed to the best, and the point at which the clinic works."""
    falses = np.linspace(0, 1, 101)
    hits = np.array([np.interp(falses, *_rates(one, ill)) for one in risk])
    band(ax, falses, hits.min(0), hits.mean(0), hits.max(0), color=PALETTE[0])
    ax.plot([0, 1], [0, 1], color="0.5", linestyle="--")
    ax.plot(*_treated(risk, ill, threshold).mean(0), "o", color=PALETTE[3])
    ax.set(xlabel="share of healthy patients treated", ylabel="share of ill patients found", title="ROC curve")


def _treated(risk: np.ndarray, ill: np.ndarray, threshold: float) -> np.ndarray:
    """Shares of the healthy and of the ill at or above a threshold, ``[seeds, 2]``."""
    return (risk >= threshold) @ np.stack([1 - ill, ill], 1) / [np.sum(1 - ill), np.sum(ill)]


def _rates(score: np.ndarray, ill: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Shares of healthy and of ill patients at or above each score."""
    order = np.argsort(-score)
    return np.cumsum(1 - ill[order]) / np.sum(1 - ill), np.cumsum(ill[order]) / np.sum(ill)


def _draw_net_benefit(ax: Axes, risk: np.ndarray, ill: np.ndarray, threshold: float) -> None:
    """Net benefit of the model, of treating all and of treating nobody, at thresholds up to twice the one in use."""
    at = np.linspace(0.01, min(2 * threshold, 0.95), 40)
    sick, odds = np.mean(ill), at / (1 - at)
    shares = np.stack([_treated(risk, ill, one) for one in at])  # [thresholds, seeds, healthy and ill]
    model = shares[:, :, 1] * sick - shares[:, :, 0] * (1 - sick) * odds[:, None]
    band(ax, at, model.min(1), model.mean(1), model.max(1), color=PALETTE[0], label="model")
    ax.plot(at, sick - (1 - sick) * odds, color=PALETTE[1], linestyle=DASHES[1], label="treat all")
    ax.plot(at, 0 * at, color=PALETTE[5], linestyle=DASHES[2], label="treat nobody")
    ax.axvline(threshold, color="0.5", linestyle="--", linewidth=1)
    ax.set(xlabel="treated from this risk on", ylabel="net benefit", title="Net benefit")
    ax.legend(frameon=False, fontsize=10)


def _draw_missed(ax: Axes, risk: np.ndarray, ill: np.ndarray, hospital: Sequence[str], threshold: float) -> None:
    """The share of each hospital's ill patients below the threshold; hospitals without any are left out."""
    here = {name: (np.asarray(hospital) == name) & (ill > 0) for name in dict.fromkeys(hospital)}
    names = [name for name, patients in here.items() if patients.any()]
    shares = np.array([[np.mean(one[here[name]] < threshold) for name in names] for one in risk])
    rows, mid = np.arange(len(names))[::-1], shares.mean(0)
    low, high = within_shares(mid, shares.std(0))
    ax.barh(rows, mid, xerr=[mid - low, high - mid], color=PALETTE[3], capsize=3)
    ax.set_yticks(rows, names)
    ax.set(xlabel="share of ill patients missed", title=f"Missed below a risk of {threshold:.0%}")
