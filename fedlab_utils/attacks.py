"""Attacks that ask whether a patient was in the training set: of a classifier, a generator, a federation.

Each gives an `AttackResult`; what they share is in `membership`, their scores and intervals are in `roc`.
"""

from fedlab_utils.membership import Shadows, calibrated, coins, lira, loss_threshold, rmia, scaled_logit, shadows
from fedlab_utils.membership_rounds import federated_shadows
from fedlab_utils.membership_tables import densities, domias, monte_carlo, nearest_record, shadow_generators
from fedlab_utils.roc import AttackResult, Estimate

__all__ = [
    "AttackResult",
    "Estimate",
    "Shadows",
    "calibrated",
    "coins",
    "densities",
    "domias",
    "federated_shadows",
    "lira",
    "loss_threshold",
    "monte_carlo",
    "nearest_record",
    "rmia",
    "scaled_logit",
    "shadow_generators",
    "shadows",
]
