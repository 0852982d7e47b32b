"""Parts of the network that stay in each hospital: its last layer or its first, while all else is shared.

A head of its own (Arivazhagan et al., arXiv:1912.00818) lets hospitals draw other conclusions from what they see alike,
a first layer of its own (Liang et al., arXiv:2001.01523) lets them see otherwise. Only shared numbers travel: all that
comes after the local training (clipping, compressing, masks, sums, the server's step) knows of no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief

if TYPE_CHECKING:
    from fedlab_utils.federated.plan import Here, Plan
    from fedlab_utils.federated.setting import Setting

PARTS = {"head": "last", "first": "first"}  # and which layer that is


def refuse(setting: Setting) -> None:
    """Refuse what is no part of the network, or all of it."""
    kind = setting.personal
    if kind is None:
        return
    if not isinstance(kind, str) or kind not in PARTS:
        raise ValueError(f"personal must be None, {' or '.join(map(repr, PARTS))}; got {brief(kind)}.")
    if not setting.hidden:
        raise ValueError(
            f"personal must be None with hidden=(), a network of one layer: nothing would be shared; got {kind!r}."
        )


def travels(kind: str | None, params: fleet.Params) -> slice:
    """Which numbers of a model are shared, of those in the order of `Params.flat`: all but one layer at an end."""
    d = params.n_parameters
    if kind is None:
        return slice(0, d)
    layer = 0 if kind == "first" else -1
    own = params.weights[layer][0].numel() + params.biases[layer][0].numel()
    return slice(own, d) if kind == "first" else slice(0, d - own)


def stays(kind: str, params: fleet.Params) -> slice:
    """The others, each hospital's own."""
    shared = travels(kind, params)
    return slice(0, shared.start) if kind == "first" else slice(shared.stop, params.n_parameters)


@dataclass(frozen=True)
class Own:
    """What hospitals go on with by themselves when a training has ended.

    Attributes
    ----------
    kind
        Which part of the network is personal; None if none is.
    parts
        ``[seeds, hospitals, numbers of the part]``; None if there are none.
    lr, optimiser
        Of the training.
    stamps
        For each seed what tells the patients that it was trained on from others (`plan.stamp`).
    """

    kind: str | None
    parts: Tensor | None
    lr: float
    optimiser: fleet.Optimiser
    stamps: tuple[int, ...]

    def models(self, shared: fleet.Params, seed: Tensor, hospital: Tensor) -> fleet.Params:
        """The global models of these seeds with the parts of these hospitals, a copy for each of them."""
        return with_parts(shared[seed], self.kind, self.parts, seed, hospital)


def with_parts(models: fleet.Params, kind: str | None, parts: Tensor | None, run: Tensor, hospital: Tensor):
    """Models with hospitals' own parts, out of ``[runs, hospitals, numbers]``, in the place of theirs."""
    if kind is None:
        return models
    flat = models.flat()
    flat[:, stays(kind, models)] = parts[run, hospital]
    return models.like(flat)


class Parts:
    """The personal parts of one fleet. They start as the common start, and go on where they were left.

    A hospital whose line failed goes back to the part that it had before that round: nobody saw that work, and no
    promise counts it. So under `RecordDP` parts, like updates, come of noisy steps alone, all of which were paid for.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan, self.kind, self.parts = plan, plan.personal, None
        if self.kind is not None:
            begin = plan.start.flat()[:, stays(self.kind, plan.start)]
            self.parts = begin.unsqueeze(1).repeat(1, len(plan.names), 1)

    def given(self, model: fleet.Params, here: Here) -> fleet.Params:
        """What each participant sets out from: the global model, with its own part if it has one."""
        run, hospital = torch.from_numpy(here.run), torch.from_numpy(here.hospital)
        return with_parts(model[run], self.kind, self.parts, run, hospital)

    def change(self, trained: fleet.Params, given: fleet.Params, here: Here, came) -> Tensor:
        """What changed of the shared numbers, ``[participants, those]``; those who came keep their own part."""
        after = trained.flat()
        if self.kind is not None:
            part = after[:, stays(self.kind, trained)]
            kept = torch.from_numpy(came) & part.isfinite().all(1)  # a training that ran away is not gone on with
            self.parts[torch.from_numpy(here.run)[kept], torch.from_numpy(here.hospital)[kept]] = part[kept]
        return (after - given.flat())[:, self.plan.travels].contiguous()

    def moved(self, model: fleet.Params, shared: Tensor) -> fleet.Params:
        """The global models with other shared numbers; what is personal stays in them as it was started."""
        if self.kind is None:
            return model.like(shared)
        flat = model.flat()
        flat[:, self.plan.travels] = shared
        return model.like(flat)

    def of(self, runs: slice) -> Tensor | None:
        """A copy of the parts of some runs."""
        return None if self.parts is None else self.parts[runs].clone()
