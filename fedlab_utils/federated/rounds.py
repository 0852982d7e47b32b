"""Federated averaging, round by round (McMahan et al., arXiv:1602.05629, Algorithm 1).

Runs (random seeds, replicates of the split, settings of a comparison) times hospitals are laid out side by side as the
models of one fleet, so that a round of everything is one call of `fleet.fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._progress import progress
from fedlab_utils.federated.aggregators import Round, abandoned, came_to_nothing, combine
from fedlab_utils.federated.compression import Courier
from fedlab_utils.federated.diary import Diary
from fedlab_utils.federated.personal import Parts
from fedlab_utils.federated.plan import Plan
from fedlab_utils.federated.runs import FederatedRun, warn_if_diverged
from fedlab_utils.federated.strategies import Server


@fleet.one_thread()
def carry_out(plan: Plan, on_round: Callable[[list[FederatedRun]], bool | None] | None = None) -> list[FederatedRun]:
    """Train what was planned: a `FederatedRun` for each setting. `on_round` gets them after each round."""
    model, protection, memory = plan.start, plan.protection, {}  # w_0
    parts, courier, server = Parts(plan), Courier(plan), Server(plan)
    diary = Diary(plan, model, parts)
    first = plan.seed_of == 0  # the others' messages are only counted
    kept = first & plan.record
    for turn in progress(range(plan.rounds), "Rounds", plan.rounds, quiet=on_round is not None):
        here, came = plan.here(turn), plan.came(turn)  # S_t, and whose line will hold
        given = parts.given(model, here)
        besides = protection.local(here) | server.local(here)
        trained = plan.local_training(given, here, **besides)  # ClientUpdate(k, w_t)
        updates = protection.leave(parts.change(trained, given, here, came), here)
        updates = plan.cheats.send(updates, here.run, here.hospital, plan.aggregator.largest)
        arrived, silent, before = here.only(came), here.only(~came), model.flat()[:, plan.travels]
        updates, beside = courier.pack(updates[torch.from_numpy(came)], arrived), server.tells() if turn else {}
        own = plan.weight, plan.aggregator_rngs, first, kept, before, memory, protection.inside  # n_k among them
        this = Round(turn + 1, arrived, silent, *own, courier.sizes, partial(plan.learn, model))
        mean, sent = combine(plan.aggregator, updates, this)  # sum of n_k / n (w_k - w_t)
        change = server.move(protection.arrive(mean, arrived), updates, arrived, _stays(plan, this, sent))
        model = parts.moved(model, before + change)  # w_(t+1)
        diary.write(this, sent, model, beside)
        if on_round is not None and on_round(diary.runs()) is True:
            break
    runs = diary.runs()
    warn_if_diverged(runs, plan.settings)
    return runs


def _stays(plan: Plan, this: Round, sent: list[list[tuple]]) -> Tensor:
    """Whose model stays as it is, ``[runs, 1]``; where all fell silent, that is noted among the messages."""
    for r, silent in enumerate(this.silent.members):
        # Noise that the server adds comes whether anybody came or not: who came must not show.
        if len(silent) and not len(this.here.members[r]) and not sent[r] and not plan.protection.tosses_coins:
            sent[r] = abandoned(silent)
    return torch.tensor([came_to_nothing(one) for one in sent]).unsqueeze(1)
