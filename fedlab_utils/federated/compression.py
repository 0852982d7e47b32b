"""Updates in fewer bytes, on their way from a hospital to a server that adds them in the open.

What was lost may be added to the hospital's next update (error feedback). That rescues a compressor that errs to one
side, a sign or the largest numbers (Karimireddy et al., arXiv:1901.09847), and may harm one whose errors cancel on
average anyway.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from fedlab_utils._arguments import brief, flag, number, whole
from fedlab_utils.federated.aggregators import BYTES, Aggregator, OpenSum
from fedlab_utils.federated.strategies import as_strategy
from fedlab_utils.fleet.randomness import COMPRESSION, generator
from fedlab_utils.privacy import HospitalDP

if TYPE_CHECKING:
    from fedlab_utils.federated.plan import Here, Plan
    from fedlab_utils.federated.setting import Setting

MOST_BITS = 16
_SHORT = 2**16  # numbers of a model whose places two bytes can tell apart


@dataclass(frozen=True)
class Quantise:
    """Each number in a few bits, and one 32-bit scale beside all of them.

    With 1 bit it is the sign, and the scale is the mean size (Bernstein et al., arXiv:1802.04434; with that scale
    Karimireddy et al., arXiv:1901.09847), which errs to one side. With more, the scale is the largest size, divided
    into ``2 ** (bits - 1) - 1`` steps each way, and numbers between two of them go up or down by a coin whose mean is
    right (as Alistarh et al., arXiv:1610.02132, whose scale is the length).

    Parameters
    ----------
    bits
        From 1 to 16.
    feedback
        Whether what was lost is added to the next update; None: if the compressor errs to one side, with 1 bit.

    Raises
    ------
    ValueError
        If one of them cannot be.
    """

    bits: int
    feedback: bool | None = None

    def __post_init__(self) -> None:
        if whole("bits", self.bits) > MOST_BITS:
            raise ValueError(f"bits must be a whole number from 1 to {MOST_BITS}; got {brief(self.bits)}.")
        object.__setattr__(self, "bits", int(self.bits))
        _settle_feedback(self, self.bits == 1)

    def n_bytes(self, d: int) -> int:
        """Bytes of an update of d numbers."""
        return BYTES + math.ceil(d * self.bits / 8)

    def shrink(self, updates: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        """What the server reads of these updates, ``[n, D]``; each has a generator for its coins."""
        if self.bits == 1:
            return torch.where(updates < 0, -1.0, 1.0) * updates.abs().mean(1, keepdim=True)
        steps, size = 2 ** (self.bits - 1) - 1, updates.abs().amax(1, keepdim=True)
        step = size.clamp_min(torch.finfo(updates.dtype).tiny * steps) / steps
        coins = torch.from_numpy(np.stack([rng.random(updates.shape[1], dtype=np.float32) for rng in rngs]))
        return (updates / step + coins).floor().clamp(-steps, steps) * step


@dataclass(frozen=True)
class TopK:
    """The largest numbers of an update alone, each with its place: 6 bytes, or 8 in models of more than 65,536 numbers.

    Parameters
    ----------
    share
        How many of the numbers travel, above 0 and at most 1, rounded up.
    feedback
        Whether what was left out is added to the next update (Stich et al., arXiv:1809.07599); None: it is.

    Raises
    ------
    ValueError
        If one of them cannot be.
    """

    share: float
    feedback: bool | None = None

    def __post_init__(self) -> None:
        if not 0 < number("share", self.share) <= 1:
            raise ValueError(f"share must be above 0 and at most 1; got {brief(self.share)}.")
        _settle_feedback(self, True)

    def kept(self, d: int) -> int:
        """How many of d numbers travel."""
        return max(1, math.ceil(self.share * d - 1e-9))

    def n_bytes(self, d: int) -> int:
        """Bytes of an update of d numbers."""
        return self.kept(d) * (BYTES + (2 if d <= _SHORT else 4))

    def shrink(self, updates: Tensor, rngs: Sequence[np.random.Generator]) -> Tensor:
        """What the server reads of these updates, ``[n, D]``."""
        places = updates.abs().topk(self.kept(updates.shape[1]), dim=1).indices
        return torch.zeros_like(updates).scatter_(1, places, updates.gather(1, places))


def _settle_feedback(rule: Quantise | TopK, by_default: bool) -> None:
    found = by_default if rule.feedback is None else flag("feedback", rule.feedback)
    object.__setattr__(rule, "feedback", found)


def refuse(setting: Setting, way: Aggregator) -> None:
    """Refuse what is no compressor, or what it would spoil."""
    rule = setting.compress
    if rule is None:
        return
    if not isinstance(rule, Quantise | TopK):
        what = "compress must be None, federated.Quantise(bits) or federated.TopK(share)"
        raise ValueError(f"{what}; got {brief(rule)}.")
    if not isinstance(way, OpenSum):
        raise ValueError(
            "compress must be None with an aggregator: a sum behind masks or encryption needs one grid and all numbers "
            "of every update, and a rule of one's own says itself what it takes."
        )
    if isinstance(setting.privacy, HospitalDP):
        raise ValueError(
            "compress must be None with HospitalDP: a compressed update may be longer than the clipped one that its "
            "noise was made for."
        )
    if as_strategy(setting.strategy).corrects:
        raise ValueError(
            "compress must be None with strategy scaffold: control variates would be made of what compressing left of "
            "the updates."
        )


class Courier:
    """What takes updates of one fleet to the server: each run's compressor, and what each hospital still owes.

    A hospital whose line failed owes what it owed before: nobody saw that work, and no promise counts it. So under
    `RecordDP` what is owed comes of noisy updates that were paid for.
    """

    def __init__(self, plan: Plan) -> None:
        d = plan.d
        self._rules = [s.compress for s in plan.settings for _ in plan.federations]
        self.sizes = [BYTES * d if rule is None else rule.n_bytes(d) for rule in self._rules]
        self._owed = torch.zeros(*plan.size.shape, d) if any(rule and rule.feedback for rule in self._rules) else None
        self._rngs = [
            [generator(plan.seed, s, COMPRESSION, h) for h in range(plan.size.shape[1])] if rule else []
            for s, rule in zip(plan.seed_of, self._rules, strict=True)
        ]  # no promise rests on these

    def pack(self, updates: Tensor, here: Here) -> Tensor:
        """What the server reads of the updates that come, ``[updates, D]``."""
        packed = updates.clone() if any(self._rules) else updates
        for rule in dict.fromkeys(rule for rule in self._rules if rule):
            mine = np.flatnonzero([self._rules[r] == rule for r in here.run])
            if not len(mine):
                continue
            run, hospital, picked = here.run[mine], here.hospital[mine], torch.from_numpy(mine)
            whole = updates[picked] + self._owed[run, hospital] if rule.feedback else updates[picked]
            packed[picked] = rule.shrink(whole, [self._rngs[r][h] for r, h in zip(run, hospital, strict=True)])
            if rule.feedback:
                self._owed[run, hospital] = whole - packed[picked]
        return packed
