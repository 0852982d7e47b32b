"""Federated averaging, round by round (McMahan et al., arXiv:1602.05629, Algorithm 1).

Runs (random seeds, replicates of the split, settings of a comparison) times hospitals are laid out side by side as the
models of one fleet, so that a round of everything is one call of `fleet.fit`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from fedlab_utils import fleet
from fedlab_utils._progress import progress
from fedlab_utils.federated.aggregators import Round, combine
from fedlab_utils.federated.diary import Diary
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.runs import FederatedRun


@fleet.one_thread()
def carry_out(plan: Plan, on_round: Callable[[list[FederatedRun]], bool | None] | None = None) -> list[FederatedRun]:
    """Train what was planned: a `FederatedRun` for each setting. `on_round` gets them after each round."""
    model, protection, memory = plan.start, plan.protection, {}  # w_0
    diary = Diary(plan, model)
    first = plan.seed_of == 0  # the others' messages are only counted
    for turn in progress(range(plan.rounds), "Rounds", plan.rounds, quiet=on_round is not None):
        here = plan.here(turn)  # S_t
        given = model[torch.from_numpy(here.run)]
        trained = plan.local_training(given, here, **protection.local(here))  # ClientUpdate(k, w_t)
        updates = protection.leave(trained.flat() - given.flat(), here)
        before, weights = model.flat(), plan.weight[here.run, here.hospital]  # n_k
        this = Round(here, weights, plan.aggregator_rngs, first, before, memory)
        mean, sent = combine(plan.aggregator, updates, this)  # sum of n_k / n (w_k - w_t)
        model = model.like(before + protection.arrive(mean, here))  # w_(t+1)
        diary.write(here, before, sent, model)
        if on_round is not None and on_round(diary.runs()) is True:
            break
    return diary.runs()
