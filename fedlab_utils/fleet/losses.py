"""The three losses of the course: cross-entropy for two or more classes, squared error for values."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Loss = Literal["binary", "multiclass", "regression"]


def per_row(outputs: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Loss of each row: cross-entropy in nats, or squared error.

    Parameters
    ----------
    outputs
        What `fleet.forward` returns, ``[K, n, out]``.
    y
        Labels ``[n, 1]`` or ``[K, n, 1]``: 0 or 1, class numbers, or values.
    loss
        ``"binary"``, ``"multiclass"`` or ``"regression"``.

    Returns
    -------
    Tensor
        ``[K, n]``.
    """
    y = y.expand(*outputs.shape[:2], 1)
    if loss == "binary":
        return F.binary_cross_entropy_with_logits(outputs, y.to(outputs), reduction="none").squeeze(2)
    if loss == "multiclass":
        return -outputs.log_softmax(2).gather(2, y.long()).squeeze(2)
    return (outputs - y).square().squeeze(2)


def probabilities(outputs: Tensor, loss: Loss) -> Tensor:
    """Outputs as class probabilities; in regression they stay values.

    Parameters
    ----------
    outputs, loss
        As in `per_row`.

    Returns
    -------
    Tensor
        ``[K, n, classes]``, or ``[K, n, 1]`` in regression.
    """
    if loss == "binary":
        positive = outputs.sigmoid()
        return torch.cat([1 - positive, positive], dim=2)
    return outputs.softmax(2) if loss == "multiclass" else outputs


def slopes(outputs: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Derivative of `per_row` by the outputs.

    Parameters
    ----------
    outputs, y, loss
        As in `per_row`.

    Returns
    -------
    Tensor
        ``[K, n, out]``.
    """
    if loss == "binary":
        return outputs.sigmoid() - y
    if loss == "multiclass":
        return outputs.softmax(2) - F.one_hot(y.squeeze(-1).long(), outputs.shape[2])
    return 2 * (outputs - y)
