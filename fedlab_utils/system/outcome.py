"""What a run of a system gave, as far as it came."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from fedlab_utils import federated
from fedlab_utils.data import Federation
from fedlab_utils.federated.runs import FederatedRun
from fedlab_utils.privacy import Ledger
from fedlab_utils.synth.synthesizer import Synthesizer
from fedlab_utils.system.settings import Settings

STAGES = "hospitals", "synthetic patients", "training", "baselines", "clinic", "attack"


@dataclass(frozen=True, eq=False, repr=False)
class Outcome:
    """What is there after the stages so far; what is not there yet is None or empty.

    Attributes
    ----------
    settings
        The system.
    stages, seconds
        Which stages are done, in their order, and how long each took.
    federations
        For each split its hospitals with their real rows.
    synthetic, maker, synthetic_ledgers
        For each split and hospital the invented rows; what made those of the first split; what making them released.
    trained, trained_on
        The federated models, one for each split, and the hospitals with the rows that they learnt from.
    baselines, clinical, calibration
        As `federated.baselines`, `federated.clinical` and `federated.calibration` give them, on real test rows.
    attacks
        A row for each viewer and attack, with the columns of `membership.COLUMNS`: area under the curve and share of
        members found, with intervals; the false alarms at which; what a promise allows there; the positive control.
    ledgers
        For each split, everything that touched a patient, from the training on; see `books`.
    source
        The table or the hospitals that were handed over; None for a data set of the course.
    """

    settings: Settings
    stages: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    federations: tuple[Federation, ...] = ()
    synthetic: tuple[dict[str, pd.DataFrame], ...] = ()
    maker: Synthesizer | None = None
    synthetic_ledgers: tuple[Ledger, ...] = ()
    trained: FederatedRun | None = None
    trained_on: tuple[Federation, ...] = ()
    baselines: pd.DataFrame | None = None
    clinical: pd.DataFrame | None = None
    calibration: pd.DataFrame | None = None
    attacks: pd.DataFrame | None = None
    ledgers: tuple[Ledger, ...] = ()
    source: object = None

    def __repr__(self) -> str:
        score = "" if self.trained is None else f", {self.trained!r}"
        return f"Outcome({self.settings.name!r}: {', '.join(self.stages) or 'nothing yet'}{score})"

    @property
    def left(self) -> tuple[str, ...]:
        """Stages that the settings ask for and that are not done; the clinic's is for two outcomes."""
        out = {"synthetic patients"} if self.settings.synthetic.where == "none" else set()
        out |= set() if self.settings.checks.attack else {"attack"}
        if self.federations and self.federations[0].task != "binary":
            out.add("clinic")
        return tuple(stage for stage in STAGES if stage not in self.stages and stage not in out)

    @cached_property
    def books(self) -> tuple[Ledger, ...]:
        """For each split, everything that touched a patient so far, whatever stage it has come to."""
        if self.ledgers:
            return self.ledgers
        if self.synthetic_ledgers and self.settings.training.on == "synthetic":
            both = zip(self.federations, self.synthetic_ledgers, strict=True)
            return tuple(fed.ledger.private + made for fed, made in both)
        made = self.synthetic_ledgers or (Ledger(),) * len(self.federations)
        return tuple(own + fed.ledger for own, fed in zip(made, self.federations, strict=True))

    @cached_property
    def ledger(self) -> Ledger:
        """Of one run: the first split by itself."""
        return self.books[0] if self.books else Ledger()

    @cached_property
    def displayed(self) -> Ledger:
        """Of everything that is shown: all splits, which look at the same patients again."""
        return sum(self.books, Ledger())

    @property
    def measure(self) -> str:
        """What models are compared by: AUC, or the loss of a regression."""
        return "loss" if self.federations and self.federations[0].task == "regression" else "auc"

    def table(self) -> pd.DataFrame:
        """How good the federated model and its baselines are on the real test rows of all hospitals.

        Returns
        -------
        DataFrame
            model, measure, mean, sd (over the splits), splits.
        """
        parts = []
        if self.trained is not None:
            final = self.trained.final.query("hospital == 'all'").assign(model="federated")
            parts.append(final[["model", self.measure]])
        if self.baselines is not None:
            everybody = self.baselines.query("hospital == 'all'").rename(columns={"baseline": "model"})
            parts.append(everybody[["model", self.measure]])
        if not parts:
            return pd.DataFrame(columns=["model", "measure", "mean", "sd", "splits"])
        by_model = pd.concat(parts).groupby("model", sort=False)[self.measure]
        table = by_model.agg(["mean", "std", "count"]).reset_index()
        table.columns = ["model", "mean", "sd", "splits"]
        table.insert(1, "measure", self.measure)
        return table

    def by_hospital(self) -> pd.DataFrame:
        """The finished model's score at each hospital: hospital, patients (test rows), mean and sd over the splits."""
        if self.trained is None:
            return pd.DataFrame(columns=["hospital", "patients", "mean", "sd"])
        final = self.trained.final.query("hospital != 'all'").groupby("hospital", sort=False)[self.measure]
        table = final.agg(["mean", "std"]).reset_index()
        table.columns = ["hospital", "mean", "sd"]
        sizes = {h.name: len(h.test) for h in self.federations[0].hospitals}
        table.insert(1, "patients", table["hospital"].map(sizes))
        return table

    def views(self) -> pd.DataFrame:
        """Who sees what while it trains; see `federated.who_sees_what`."""
        if self.trained is None or self.trained.transcript.empty:  # every line can fail
            return pd.DataFrame(columns=["viewer", "setting", "sees", "level", "messages", "bytes"])
        return federated.who_sees_what({self.settings.name: self.trained.transcript})

    def traffic(self) -> pd.DataFrame:
        """Bytes of one run by what was sent: what, messages, bytes."""
        if self.trained is None:
            return pd.DataFrame(columns=["what", "messages", "bytes"])
        log = self.trained.transcript
        log = log[log["seed"] == log["seed"].min()]
        found = log.groupby("what", sort=False)["bytes"].agg(["size", "sum"]).reset_index()
        found.columns = ["what", "messages", "bytes"]
        if self.maker is not None and len(self.maker.transcript):
            sent = self.maker.transcript.query("model == 0").groupby("what", sort=False)
            more = sent[["messages", "bytes"]].sum().reset_index()
            found = pd.concat([found, more], ignore_index=True)
        return found

    def report(self, *, earlier: Sequence[Outcome] = ()) -> str:
        """The privacy report: one self-contained page of HTML; see `system.report`.

        Other outcomes about the same patients that were shown before are `earlier`; they count in what was displayed.
        """
        from fedlab_utils.system.report import page  # late, since a face of the room asks for outcomes only

        return page(self, earlier=earlier)
