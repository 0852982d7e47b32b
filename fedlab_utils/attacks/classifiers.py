"""Membership inference on classifiers: was this patient in the training set?

A model fits its own patients better than strangers, and an attacker who can ask it for predictions can use that. How
well depends on the attacker's yardstick: the loss itself says little, since most easy patients have a low loss either
way. A strong attacker trains *shadow models* on patients drawn like the target's, half of them with this patient and
half without, and asks to which half the target fits better.

Everything here works on one number for each patient and model, the *scaled logit* of the true class,
``log p - log(1 - p)``: unlike the loss it is close to normally distributed (Carlini et al., arXiv:2112.03570). It is
taken in 64-bit numbers from the network's outputs before the last non-linearity. Through a 32-bit probability it would
be infinite for just those patients who are known by heart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from scipy.special import log_expit
from torch import Tensor

from fedlab_utils import fleet
from fedlab_utils._arguments import brief, flag, flags, number, numbers, one_of, whole, widths
from fedlab_utils.attacks.result import AttackResult
from fedlab_utils.fleet.randomness import COINS, generators

_ENOUGH = 64  # models from which on each patient has a variance of their own
_LEAST_SPREAD = 1e-6
_LEAST_SHARE = 1e-12


@dataclass(frozen=True, eq=False)
class Shadows:
    """Models whose training sets the attacker knows.

    Attributes
    ----------
    member
        ``[K, n]``: which of n patients each of K models was trained on.
    logit
        ``[K, n]``: scaled logit of each patient's true class in each model, or another number that training on a
        patient tends to raise.
    """

    member: np.ndarray
    logit: np.ndarray

    def __post_init__(self) -> None:
        member, logit = flags("member", self.member), np.atleast_2d(numbers("logit", self.logit, only_finite=True))
        if member.shape != logit.shape or not member.size:
            got = f"{member.shape} and {logit.shape}"
            raise ValueError(f"member and logit must be [models, rows] alike, with at least one of each; got {got}.")
        object.__setattr__(self, "member", member)
        object.__setattr__(self, "logit", logit)

    def __len__(self) -> int:
        return len(self.member)

    def __getitem__(self, models: slice) -> Shadows:
        """Some of the models, such as ``shadows[:8]`` to be attacked and ``shadows[8:]`` to attack with.

        Raises
        ------
        ValueError
            If there are no such models.
        """
        try:
            return Shadows(self.member[models], self.logit[models])
        except IndexError:
            raise ValueError(f"models must be some of the {len(self)}, such as [:8]; got {brief(models)}.") from None


def shadows(
    X: Tensor,
    y: Tensor,
    *,
    n_models: int = 256,
    seed: int,
    hidden: tuple[int, ...] = (32,),
    loss: fleet.Loss = "binary",
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    lr: float = 0.01,
    optimiser: fleet.Optimiser = "adam",
    **fit,
) -> Shadows:
    """Train shadow models side by side, as one fleet; each patient is in each training set by a coin flip of its own.

    Parameters
    ----------
    X, y
        The patients, ``[n, d]`` and ``[n, 1]``.
    n_models
        How many models, K.
    seed
        Model k depends on ``(seed, k)`` alone: its coins, where it starts, and how it shuffles.
    hidden
        Widths of the hidden layers.
    loss
        "binary" or "multiclass".
    epochs, steps, batch_size, lr, optimiser, fit
        Arguments of `fleet.fit`; 100 epochs if nothing is said. Whoever attacks should train as the target was.

    Returns
    -------
    Shadows
        ``[K, n]``.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    n_models, hidden = whole("n_models", n_models), widths(hidden)
    _fitting(X, y, loss)
    if epochs is None and steps is None:
        epochs = 100
    member = coins(len(X), n_models, seed)
    outputs = 1 if loss == "binary" else int(y.max()) + 1
    start = fleet.init(n_models, (X.shape[1], *hidden, outputs), seed=seed)
    rows = [np.flatnonzero(one) for one in member]
    length = dict(epochs=epochs, steps=steps, batch_size=batch_size)
    trained = fleet.fit(start, X, y, rows, lr=lr, optimiser=optimiser, loss=loss, seed=seed, **length, **fit)
    return Shadows(member, scaled_logit(trained, X, y, loss=loss))


def coins(n_rows: int, n_models: int, seed: int) -> np.ndarray:
    """Who is in which training set: independent coin flips, model by model.

    Parameters
    ----------
    n_rows, n_models
        Patients and models.
    seed
        Model k's coins depend on ``(seed, k)`` alone.

    Returns
    -------
    ndarray
        True or false, ``[n_models, n_rows]``.

    Raises
    ------
    ValueError
        If a number is not whole, or is below 1 (the seed: below 0).
    """
    n_rows, n_models = whole("n_rows", n_rows), whole("n_models", n_models)
    return np.stack([rng.random(n_rows) < 0.5 for rng in generators(seed, n_models, COINS)])


@fleet.one_thread()
@torch.no_grad()
def scaled_logit(params: fleet.Params, X: Tensor, y: Tensor, *, loss: fleet.Loss = "binary") -> np.ndarray:
    """``log p - log(1 - p)`` of each patient's true class.

    For two classes this is the network's output, with the sign of the label. For more it is the output of the true
    class minus the log of the summed exponentials of the others.

    Parameters
    ----------
    params
        K networks.
    X, y
        Patients, ``[n, d]``, and labels ``[n, 1]``.
    loss
        "binary" or "multiclass".

    Returns
    -------
    ndarray
        ``[K, n]``, 64-bit numbers.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    if not isinstance(params, fleet.Params):
        raise ValueError(f"params must be the fleet.Params of networks; got {brief(params)}.")
    _fitting(X, y, loss)
    inputs, outputs = params.sizes[0], params.sizes[-1]
    if X.shape[1] != inputs or (loss == "binary") != (outputs == 1) or (outputs > 1 and y.max() >= outputs):
        got = f"X {tuple(X.shape)} and labels up to {y.max():g}"
        raise ValueError(f"params are networks of {inputs} inputs and {outputs} outputs, which do not fit {got}.")
    outputs, y = fleet.forward(params, X.to(params.weights[0])).double(), y.reshape(-1)
    if loss == "binary":
        return (outputs[:, :, 0] * (2 * y - 1)).numpy()
    true = torch.nn.functional.one_hot(y.long(), outputs.shape[2]).bool().expand_as(outputs)
    own = outputs.masked_fill(~true, 0).sum(2)
    return (own - outputs.masked_fill(true, -torch.inf).logsumexp(2)).numpy()


def _fitting(X, y, loss: str) -> None:
    """Refuse what is no table ``[n, d]`` of finite numbers with a label for each row."""
    one_of("loss", loss, ("binary", "multiclass"))
    for name, value in (("X", X), ("y", y)):
        if not isinstance(value, Tensor):
            raise ValueError(f"{name} must be a torch tensor; got {brief(value)}.")
        if not bool(value.isfinite().all()):
            raise ValueError(f"{name} must be finite; {int((~value.isfinite()).sum())} of {value.numel()} are not.")
    if X.dim() != 2 or not X.numel() or y.shape not in ((len(X), 1), (len(X),)):
        raise ValueError(
            f"X must be [n, d] and y [n, 1], with at least one row; got {tuple(X.shape)} and {tuple(y.shape)}."
        )
    most = 1 if loss == "binary" else torch.inf
    if bool(((y < 0) | (y > most) | (y != y.round())).any()):
        right = "0 or 1" if loss == "binary" else "whole numbers from 0 on"
        raise ValueError(f"y must hold {right} where loss is {loss!r}; got {y.min():g} to {y.max():g}.")


# ---- attacks: each gives a score to every patient in every target


def loss_threshold(target_logit: np.ndarray, member: np.ndarray) -> AttackResult:
    """The lower the loss, the more likely a member (Yeom et al., arXiv:1709.01604); one threshold for everybody.

    The loss falls as the scaled logit rises, so the logit serves as the score.

    Parameters
    ----------
    target_logit, member
        Of one target model ``[n]``, or of several ``[T, n]``.

    Raises
    ------
    ValueError
        If shapes do not fit, or a logit is not finite.
    """
    targets = Shadows(flags("member", member), numbers("target_logit", target_logit, only_finite=True))
    return AttackResult("loss threshold", targets.logit, targets.member)


def calibrated(shadows: Shadows, target_logit=None, member=None) -> AttackResult:
    """How much lower the loss is than in models without this patient (Watson et al., arXiv:2111.08440).

    A patient whom every model finds easy is no longer mistaken for a member.

    Parameters
    ----------
    shadows, target_logit, member
        As in `lira`.

    Raises
    ------
    ValueError
        If shapes do not fit, or a patient is in all of the models.
    """
    targets, own = _targets(shadows, target_logit, member)
    # The log of the true class's probability, which is the negative loss.
    likely = Shadows(shadows.member, log_expit(shadows.logit))
    n, mean, _ = _moments(likely, ~shadows.member, own)
    _check_counts(n, "no model without it")
    return AttackResult("calibrated loss", log_expit(targets.logit) - mean, targets.member)


def lira(
    shadows: Shadows, target_logit=None, member=None, *, online: bool = True, fixed_variance: bool | None = None
) -> AttackResult:
    """Likelihood ratio attack, LiRA (Carlini et al., arXiv:2112.03570, Algorithm 1).

    For each patient, the scaled logits of the models with this patient form one bell curve and those of the models
    without form another. The score is by how much the target's logit is likelier under the first.

    Parameters
    ----------
    shadows
        The attacker's models.
    target_logit, member
        Scaled logits in the attacked model and who was in its training set, to score the attack: ``[n]``, or ``[T, n]``
        for several targets. Without them each shadow model is attacked in turn, with all the others.
    online
        False: the attacker trained before knowing whom to ask about, and only has models without this patient. The
        score is how far the target lies above their bell curve, in standard deviations (the paper's probability rises
        with it, but cannot be told from 1 beyond eight of them).
    fixed_variance
        One variance for all patients (within the models with, and within those without) instead of one each. By
        default below 64 models, of which a variance for each patient would be too uncertain.

    Raises
    ------
    ValueError
        If shapes do not fit, or a patient is in all of the models or in none.
    """
    targets, own = _targets(shadows, target_logit, member)
    online = flag("online", online)
    shared = len(shadows) - own < _ENOUGH if fixed_variance is None else flag("fixed_variance", fixed_variance)
    z_out, s_out = _distance(shadows, ~shadows.member, targets, own, shared)
    if not online:
        return AttackResult("LiRA, offline", z_out, targets.member)
    z_in, s_in = _distance(shadows, shadows.member, targets, own, shared)
    # The log of the ratio of two normal densities, without the constants, which cancel.
    return AttackResult("LiRA", (z_out**2 - z_in**2) / 2 + np.log(s_out / s_in), targets.member)


def rmia(
    shadows: Shadows, target_logit=None, member=None, *, online: bool = True, gamma: float = 1.0, a: float = 0.3
) -> AttackResult:
    """Robust membership inference attack, RMIA (Zarifzadeh et al., arXiv:2312.03262): strong with few models.

    How likely the target finds a patient's true class, compared with how likely models find it on average, is a ratio.
    The score is the share of all patients z whose ratio this patient's exceeds `gamma` times. So the other patients
    say what is a large ratio in this target, and no spread has to be estimated.

    Parameters
    ----------
    shadows, target_logit, member
        As in `lira`; two models are enough.
    online
        The average is over all models, about half of them with the patient. False: over models without, whose average
        P_out stands for the other half too, as ``((1 + a) P_out + (1 - a)) / 2``; a patient who is in all of the
        models gets P_out from ``P_in = a P_out + (1 - a)``, which is the same assumption.
    gamma
        At least 1.
    a
        Above 0 (models are sure of the patients they know), to 1 (they know them no better than others).

    Raises
    ------
    ValueError
        If shapes do not fit, or `gamma` or `a` is out of its range.
    """
    targets, own = _targets(shadows, target_logit, member)
    if number("gamma", gamma) < 1 or not 0 < number("a", a) <= 1:
        raise ValueError(f"gamma must be at least 1, and a above 0 and at most 1; got {gamma!r} and {a!r}.")
    online = flag("online", online)
    log_p = log_expit(shadows.logit)
    most = log_p.max(0)  # of each patient; shares of it do not vanish where all probabilities are tiny
    share = Shadows(shadows.member, np.exp(log_p - most))
    n_all, average, _ = _moments(share, np.ones_like(share.member), own)
    _check_counts(n_all, "no model")
    log_average = np.log(np.maximum(average, _LEAST_SHARE)) + most
    if not online:
        n_out, p_out, _ = _moments(share, ~share.member, own)
        p_in, p_out = average * np.exp(most), p_out * np.exp(most)
        p_out = np.where(n_out > 0, p_out, np.maximum((p_in + a - 1) / a, 0))
        log_average = np.log(np.maximum(((1 + a) * p_out + (1 - a)) / 2, _LEAST_SHARE))
    ratio = log_expit(targets.logit) - log_average
    reached = ratio - np.log(gamma) + 1e-12  # a patient's own ratio counts as reached, rounding or not
    scores = [np.searchsorted(np.sort(r), x, side="right") / len(r) for r, x in zip(ratio, reached, strict=True)]
    return AttackResult("RMIA" if online else "RMIA, offline", np.stack(scores), targets.member)


def _targets(shadows: Shadows, target_logit, member) -> tuple[Shadows, bool]:
    """What is attacked, and whether it is each shadow model in turn."""
    if not isinstance(shadows, Shadows):
        raise ValueError(f"shadows must be an attacks.Shadows; got {brief(shadows)}.")
    if target_logit is None and member is None:
        return shadows, True
    if target_logit is None or member is None:
        missing = "target_logit" if target_logit is None else "member"
        raise ValueError(f"target_logit and member must both be given, or neither; {missing} is None.")
    logit, member = np.atleast_2d(numbers("target_logit", target_logit, only_finite=True)), flags("member", member)
    if logit.shape != member.shape or logit.shape[1:] != shadows.logit.shape[1:]:
        got = f"{logit.shape} and {member.shape}"
        raise ValueError(f"target_logit and member must both be [targets, {shadows.logit.shape[1]} rows]; got {got}.")
    return Shadows(member, logit), False


def _moments(shadows: Shadows, group: np.ndarray, own: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Number, mean and summed squared deviations of each patient's logits over the models of a group.

    ``[1, n]``; with `own`, ``[K, n]``: for target k without model k itself.
    """
    centre = shadows.logit.mean(0)  # or the squares would swallow the differences
    x = shadows.logit - centre
    parts = [group.astype(float), np.where(group, x, 0), np.where(group, x**2, 0)]
    # All sums but one model's at once: the sum over all models, less that model's part.
    n, total, squares = (part.sum(0, keepdims=True) - (part if own else 0) for part in parts)
    mean = total / np.maximum(n, 1)
    return n, mean + centre, np.maximum(squares - n * mean**2, 0)


def _distance(
    shadows: Shadows, group: np.ndarray, targets: Shadows, own: bool, fixed_variance: bool
) -> tuple[np.ndarray, np.ndarray]:
    """How many standard deviations targets lie above a group's bell curve, and these standard deviations."""
    n, mean, squares = _moments(shadows, group, own)
    _check_counts(n, "no model with it, or none without it", least=1 if fixed_variance else 2)
    spare = n - 1
    if fixed_variance:
        # One variance within patients, so each patient's own mean has cost a degree of freedom.
        squares, spare = squares.sum(1, keepdims=True), np.maximum(spare.sum(1, keepdims=True), 1)
    spread = np.sqrt(np.maximum(squares / spare, _LEAST_SPREAD**2))
    return (targets.logit - mean) / spread, spread


def _check_counts(n: np.ndarray, what: str, least: int = 1) -> None:
    if (n < least).any():
        row = int(np.argwhere(n < least)[0, 1])
        wise = int(np.ceil(np.log2(200 * n.shape[1])))  # then 1 time in 100 somebody is in all of them or in none
        raise ValueError(f"shadows must be more models: for row {row} there is {what}; {wise} or more are wise.")
