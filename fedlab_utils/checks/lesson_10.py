"""Exercises of lesson 10."""

from __future__ import annotations

import numpy as np
import torch

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def control_variate(yours):
    "a function of own, common, sent, returned (arrays), steps and lr (numbers) that returns its new control variate"
    own, common = np.array([0.5, -1.0, 2.0]), np.array([0.1, 0.3, -0.4])
    sent, returned = np.array([1.0, 2.0, -3.0]), np.array([0.4, 2.9, -3.2])
    steps, lr = 10, 0.5
    pace, moved = steps * lr, sent - returned
    truth = own - common + moved / pace
    mistakes = {
        "That is how far it went in a step, with the corrections in it. The gradient alone is asked for: what was "
        "added to it in every step?": moved / pace,
        "Both corrections are turned round: `common - own` was added to every gradient, so take it away again.": (
            common - own + moved / pace
        ),
        "Uphill: the hospital walks against its gradient, so the mean gradient is `sent - returned`, not the other way "
        "round.": own - common - moved / pace,
        "That is the whole way. Divide by what one unit of gradient moves: how many steps, and how long is each?": (
            own - common + moved
        ),
        "A step moves by `lr` times the gradient: where is `lr`?": own - common + moved / steps,
        "There were many steps, and you divide by one: where is `steps`?": own - common + moved / lr,
        "You multiply by `lr` where you should divide: a small rate walks a short way down a steep slope.": (
            own - common + moved * lr / steps
        ),
        "You multiply by `steps * lr`; a longer walk does not mean a steeper slope.": own - common + moved * pace,
        "The common control variate was added to every gradient, too. Take it away.": own + moved / pace,
        "The hospital's own one was taken from every gradient, too. Add it again.": -common + moved / pace,
        "Nothing of this round is in it: where are `sent` and `returned`?": own - common,
        "That is the correction of the coming steps, and it is made of the old ones.": common - own,
    }
    wrong = compare(yours(own, common, sent, returned, steps, lr), truth, what="the control variate", mistakes=mistakes)
    first = np.zeros(3)
    return (
        wrong
        or compare(
            yours(first, first, sent, returned, 4, 0.25),
            moved,
            what="after a first round of 4 steps with lr 0.25 the control variate",
        )
        or well_done("The mean gradient on the way, read off where the walk began and ended. Nothing more is sent.")
    )


@question
def drifting_teams(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "D": ("D is the definition. Both of its distances are 0, apart from rounding: measure once more."),
        "B": (
            "B looks odd and ends in the right place, with everybody and with one a round: it is what is worked out "
            "from the mean alone, by a server that sees no single update. Judge by where it ends."
        ),
        "A": ("Look at the distances with *everybody there*. One team misses by far, whatever the steps."),
        "C": ("One is wrong with everybody there. Now let *one* hospital come a round: who else misses?"),
    }
    nothing = "Run `end(team, present)` for each letter, with everybody there and with one hospital a round."
    praise = (
        "A counts hospitals alike where updates are weighed by rows; C forgets all who are not there. C is right as "
        "long as nobody is missing, so a test with everybody would have passed it."
    )
    return picked(yours, "AC", nothing, hints, praise)


def _parts(got, n: int) -> bool:
    """Whether an answer has n parts, each of them more than a number."""
    if isinstance(got, np.ndarray | torch.Tensor):
        return got.ndim > 1 and len(got) == n
    return isinstance(got, list | tuple) and len(got) == n


def _largest(vector) -> np.ndarray:
    """A compressor for the check: the largest number alone, which errs to one side."""
    vector = np.asarray(vector, dtype=float)
    kept = np.zeros_like(vector)
    kept[np.abs(vector).argmax()] = vector[np.abs(vector).argmax()]
    return kept


@exercise
def with_feedback(yours):
    "a function of update and owed (arrays) and shrink (a function) that returns what is sent and what is then owed"
    update, owed = np.array([1.0, -4.0, 2.0, 0.5]), np.array([0.5, 1.5, 2.5, -0.5])
    got = yours(update, owed, _largest)
    if not _parts(got, 2):
        return hint("Two things come back: what is sent, and what is owed from now on. Return both, in this order.")
    sent, left = (as_array(part, name) for part, name in zip(got, ("what is sent", "what is owed"), strict=True))
    whole = update + owed
    right, plain = _largest(whole), _largest(update)
    mistakes = {
        "You shrink the update alone. What was owed is added *before* shrinking, or it never gets its turn.": plain,
        "You send everything: no number was left out. Call `shrink`.": whole,
        "You shrink what is owed, and forget the update of this round.": _largest(owed),
        "What is owed is taken away; it was left out before, so it is added.": _largest(update - owed),
        "You add what is owed *after* shrinking: then all of it travels, in full.": plain + owed,
        "Shrunk apart and added: two numbers travel, where one was allowed.": plain + _largest(owed),
        "The two came back in the other order: first what is sent.": whole - right,
    }
    debts = {
        "Owed is what was lost of *all* that should have gone, the old debt included: `update + owed - sent`.": (
            update - right
        ),
        "The sign is turned round: owed is what should have gone, less what went.": right - whole,
        "The old debt was paid or is still in the new one; you add it a second time.": owed + whole - right,
        "Nothing is owed after your round, so nothing that was left out comes back.": 0 * whole,
        "You owe everything, even what has just been sent.": whole,
        "The debt stays as it was: what was lost in this round?": owed,
        "You owe what was sent. Owed is what was *not*.": right,
    }
    again = yours(whole - right, whole - right, _largest)
    twice = 2 * (whole - right)
    return (
        compare(sent, right, what="what is sent", mistakes=mistakes)
        or compare(left, whole - right, what="what is owed", mistakes=debts)
        or compare(again[0], _largest(twice), what="in another round, what is sent")
        or compare(again[1], twice - _largest(twice), what="in another round, what is owed")
        or well_done("Nothing is lost for good: what is sent and what is owed add up to what should have gone.")
    )


@exercise
def adam_server(yours):
    "a function of mean, moment, square (arrays), lr, betas and tau that returns the change, the moment and the square"
    mean, moment, square = np.array([0.2, -0.1, 0.05]), np.array([0.1, 0.3, -0.2]), np.array([0.04, 0.01, 0.09])
    lr, betas, tau = 0.03, (0.9, 0.99), 1e-3
    got = yours(mean, moment, square, lr, betas, tau)
    if not _parts(got, 3):
        return hint("Three things come back, in this order: how the model changes, the new moment, the new square.")
    change, first, second = (as_array(p, n) for p, n in zip(got, ("the change", "moment", "square"), strict=True))
    m, v = 0.9 * moment + 0.1 * mean, 0.99 * square + 0.01 * mean**2
    moments = {
        "The betas are exchanged: the first one is the moment's.": 0.99 * moment + 0.01 * mean,
        "The share of the new mean is `1 - beta`, and that of the old moment `beta`.": 0.1 * moment + 0.9 * mean,
        "That is the momentum of SGD, where the mean is added in full. Adam takes a mean of means.": (
            0.9 * moment + mean
        ),
        "The moment stayed as it was.": moment,
    }
    squares = {
        "The betas are exchanged: the second one is the square's.": 0.9 * square + 0.1 * mean**2,
        "The square is a mean of squared *updates*, and you square the moment.": 0.99 * square + 0.01 * m**2,
        "You forgot to square the mean update.": 0.99 * square + 0.01 * mean,
        "The share of the new square is `1 - beta`, and that of the old one `beta`.": 0.01 * square + 0.99 * mean**2,
        "The square stayed as it was.": square,
    }
    gentle = lr * m / (v**0.5 + tau)
    changes = {
        "The sign is that of training by gradients. Here the mean is an *update*, which already goes downhill: add.": (
            -gentle
        ),
        "Where is `lr`?": gentle / lr,
        "You divide by the square itself; its root has the size of an update.": lr * m / (v + tau),
        "`tau` stands outside of the root: it is added to the root.": lr * m / (v + tau) ** 0.5,
        "You use the square before this round. First remember, then step.": lr * m / (square**0.5 + tau),
        "You use the moment before this round. First remember, then step.": lr * moment / (v**0.5 + tau),
        "You step by this round's mean, and not by the moment.": lr * mean / (v**0.5 + tau),
        "Where is `tau`?": lr * m / v**0.5,
        "That is a step of momentum: nothing divides by the size of each number.": lr * m,
        "You correct for the zeros at the start, as Adam does. Reddi et al. leave that out, and so does this task.": (
            lr * (m / 0.1) / ((v / 0.01) ** 0.5 + tau)
        ),
    }
    other = yours(mean, moment, square, 0.1, (0.5, 0.8), 0.1)
    m2, v2 = 0.5 * moment + 0.5 * mean, 0.8 * square + 0.2 * mean**2
    return (
        compare(first, m, what="moment", mistakes=moments, tolerance=1e-4)
        or compare(second, v, what="square", mistakes=squares, tolerance=1e-4)
        or compare(change, gentle, what="the change", mistakes=changes, tolerance=1e-4)
        or compare(other[0], 0.1 * m2 / (v2**0.5 + 0.1), what="with other betas and tau, the change", tolerance=1e-4)
        or well_done(
            "Each number moves by at most about `lr`, be its updates large or small, unless they are far below `tau`. "
            "So `lr` has to be small, and tuned."
        )
    )
