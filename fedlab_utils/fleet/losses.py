"""The three losses of the course: cross-entropy for two or more classes, squared error for values."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from fedlab_utils._arguments import brief, columns, fits, one_of

LOSSES = ("binary", "multiclass", "regression")
Loss = Literal["binary", "multiclass", "regression"]


def per_row(outputs: Tensor, y: Tensor, loss: Loss) -> Tensor:
    """Loss of each row: cross-entropy in nats, or squared error, added up over the values of a row.

    Parameters
    ----------
    outputs
        What `fleet.forward` returns, ``[K, n, out]``.
    y
        Labels ``[n, 1]`` or ``[K, n, 1]``: 0 or 1, or class numbers; in regression values, ``[n, out]`` or
        ``[K, n, out]``.
    loss
        ``"binary"``, ``"multiclass"`` or ``"regression"``.

    Returns
    -------
    Tensor
        ``[K, n]``.

    Raises
    ------
    ValueError
        If `loss` is none of the three, or the shapes of `outputs` and `y` do not fit it.
    """
    _fit(outputs, loss, y)
    y = y.expand(*outputs.shape[:2], -1)
    if loss == "binary":
        return F.binary_cross_entropy_with_logits(outputs, y.to(outputs), reduction="none").squeeze(2)
    if loss == "multiclass":
        return -outputs.log_softmax(2).gather(2, y.long()).squeeze(2)
    return (outputs - y).square().sum(2)


def probabilities(outputs: Tensor, loss: Loss) -> Tensor:
    """Outputs as class probabilities; in regression they stay values.

    Parameters
    ----------
    outputs, loss
        As in `per_row`.

    Returns
    -------
    Tensor
        ``[K, n, classes]``, or ``[K, n, out]`` in regression.

    Raises
    ------
    ValueError
        As `per_row`.
    """
    _fit(outputs, loss)
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

    Raises
    ------
    ValueError
        As `per_row`.
    """
    _fit(outputs, loss, y)
    if loss == "binary":
        return outputs.sigmoid() - y
    if loss == "multiclass":
        return outputs.softmax(2) - F.one_hot(y.squeeze(-1).long(), outputs.shape[2])
    return 2 * (outputs - y)


def _fit(outputs: Tensor, loss: str, *labels: Tensor) -> None:
    """Refuse what does not fit together; no number is looked at, since this stands in every training step."""
    one_of("loss", loss, LOSSES)
    if not isinstance(outputs, Tensor) or outputs.dim() != 3:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else brief(outputs)
        raise ValueError(f"outputs must be a tensor [K, n, out], as fleet.forward returns it; got {got}.")
    K, n, width = outputs.shape
    fits(loss, width)
    wide = columns(loss, width)
    for y in labels:
        if not isinstance(y, Tensor) or y.shape not in ((n, wide), (K, n, wide), (1, n, wide)):
            got = tuple(y.shape) if isinstance(y, Tensor) else brief(y)
            raise ValueError(f"y must be a tensor [{n}, {wide}] or [{K}, {n}, {wide}] for these outputs; got {got}.")
