"""Exercises of lesson 03."""

from __future__ import annotations

import numpy as np
import torch

from fedlab_utils.checks.mechanism import Found, as_array, compare, exercise, hint, well_done


@exercise
def fedavg_step(yours):
    "a function of updates [n_hospitals, d] and n_rows [n_hospitals] that returns the weighted mean [d]"
    updates = torch.tensor([[1.0, 0.0, 4.0, -2.0], [3.0, 1.0, 0.0, 6.0], [-1.0, 2.0, 8.0, 0.0]])
    n_rows = torch.tensor([10.0, 30.0, 160.0])
    shares = n_rows / n_rows.sum()
    weighted = shares[:, None] * updates
    mistakes = {
        "Every hospital counts the same in your mean. One has 10 rows and one has 160: whose patients "
        "does the plain mean listen to too much?": updates.mean(0),
        "Your mean is 200 times too long, and 200 is the number of all rows. Your weights are right relative "
        "to each other; what should they add up to?": n_rows @ updates,
        "You weighted the updates by their share of the rows and then took the mean. The shares already add "
        "up to 1: what does dividing by the number of hospitals do once more?": weighted.mean(0),
        "You added the updates up. What would 100 hospitals do to the model in one round?": updates.sum(0),
        "Your result has one number a hospital: the mean went along the parameters. Along which of the two "
        "axes are the hospitals?": updates.mean(1),
        "Small hospitals count more than large ones in your mean: it looks as if you divide by the rows "
        "where you should multiply.": (1 / n_rows) @ updates / (1 / n_rows).sum(),
    }
    wrong = compare(yours(updates, n_rows), weighted.sum(0), what="the mean update", mistakes=mistakes)
    # two hospitals with other sizes: nothing may be written into the function that only fits the first case
    return (
        wrong
        or compare(
            yours(updates[:2], torch.tensor([5.0, 15.0])),
            0.25 * updates[0] + 0.75 * updates[1],
            what="with two other hospitals, the mean update",
        )
        or well_done("Each patient counts the same, whichever hospital they are in.")
    )


@exercise
def proximal_step(yours):
    "a function of theta, gradient, world (arrays), lr and mu (numbers) that returns theta after one step"
    theta, gradient = np.array([1.0, -2.0, 0.5]), np.array([0.4, 0.0, -1.0])
    world, lr, mu = np.array([0.0, -1.0, 0.5]), 0.1, 2.0
    pull = mu * (theta - world)
    mistakes = {
        "That is a plain step: nothing in it depends on `mu`. What pulls back to the model that the server sent?": (
            theta - lr * gradient
        ),
        "Your step pushes away from `world`: the further the hospital has gone, the further it goes. Which sign "
        "has a pull?": theta - lr * (gradient - pull),
        "You pull to zero, not to the model that the server sent: that is weight decay. Where should a model end "
        "that is pulled without end?": theta - lr * (gradient + mu * theta),
        "Your pull has no `lr`: it is part of the slope, and a step goes `lr` times the slope.": (
            theta - lr * gradient - pull
        ),
        "You added the penalty mu/2 |theta - world|^2 itself. A step follows its slope; what is the derivative of "
        "half a square?": theta - lr * (gradient + mu / 2 * ((theta - world) ** 2).sum()),
        "Your pull is the square of the distance. The penalty is the square; its slope is not.": (
            theta - lr * (gradient + mu * (theta - world) ** 2)
        ),
        "Your pull is half as strong: the 1/2 of the penalty goes away with the derivative of the square.": (
            theta - lr * (gradient + pull / 2)
        ),
        "Your pull is twice as strong: the penalty has a 1/2 in front of its square.": (
            theta - lr * (gradient + 2 * pull)
        ),
        "You start from `world`. A hospital in the middle of its walk stands at `theta`.": (
            world - lr * (gradient + pull)
        ),
        "You walk up the slope: a step goes against the gradient.": theta + lr * (gradient + pull),
        "That is the slope. The step itself is `lr` times that, taken away from `theta`.": gradient + pull,
        "That is what changes. Return where the model stands afterwards.": -lr * (gradient + pull),
    }
    wrong = compare(
        yours(theta, gradient, world, lr, mu), theta - lr * (gradient + pull), what="theta", mistakes=mistakes
    )
    return (
        wrong
        or compare(yours(theta, gradient, world, lr, 0.0), theta - lr * gradient, what="without pull (mu = 0), theta")
        or compare(
            yours(theta, gradient, theta, 0.3, 5.0), theta - 0.3 * gradient, what="where theta is world, the new theta"
        )
        or well_done("The further a hospital walks, the harder it is pulled back; at the start nothing pulls.")
    )


@exercise
def read_patient(yours):
    "a function of `dW` [neurons, features] and `db` [neurons] that returns the patient [features]"
    patient = torch.tensor([0.5, -1.25, 2.0, 1.0])
    delta = torch.tensor([0.0, -0.03, 0.2, 0.0, 0.011])
    dW, db = delta.unsqueeze(1) * patient, delta
    fired = delta != 0
    try:
        got = yours(dW, db)
    except Found as found:
        if not any(words in found.verdict.message for words in ("size of tensor", "broadcast")):
            raise
        return hint(
            "`dW` has an axis for neurons and one for features, `db` has neurons only, and a division lines up the "
            "*last* axes. Give `db` a second axis: `db[:, None]`."
        )
    if not np.isfinite(as_array(got, "the patient")).all():
        return hint("Neurons that did not fire divide zero by zero. Which neurons may you use?")
    mistakes = {
        "You added the neurons up; each of those that fired says the whole patient by itself.": 3 * patient,
        "These are the changes themselves, not yet divided by the bias's change.": dW.sum(0),
        "These are the changes of the neurons that fired, not yet divided by the bias's change.": dW[fired].mean(0),
        "This is one neuron's change, not yet divided by the change of its bias.": dW[db.abs().argmax()],
        "A mean over all neurons counts those that did not fire as zeros.": patient * 3 / 5,
        "You divided the other way round: what do you get if you divide x times a number by that number?": 1 / patient,
        "One patient is asked for; you return one for each neuron that fired. They all say the same: take one, or "
        "the mean.": patient.expand(3, 4),
    }
    # every change may be negative, as it is for a patient who fell ill: "fired" is not "positive"; and now those fired
    # that did not before, for somebody else: no number of a neuron, and no patient, can stand in the function
    others, next_one = torch.tensor([-0.02, 0.0, 0.0, -0.3, 0.0]), torch.tensor([-1.5, 0.25, 3.0, 0.0])
    return (
        compare(got, patient, what="the patient", mistakes=mistakes)
        or compare(
            yours(others.unsqueeze(1) * next_one, others),
            next_one,
            what="where other neurons fired, with db below 0 (fired means not zero, of either sign), the next patient",
        )
        or well_done("One division, and the patient is on the server's screen. No row was ever sent.")
    )


@exercise
def benefit_at(yours):
    "a function of `risk` and `ill` (arrays, a number each patient) and `threshold` that returns one number"
    # five ill patients and six healthy ones, whose counts at 20% (the lesson's threshold) tell all mistakes below apart
    risk = np.array([0.9, 0.6, 0.4, 0.1, 0.15, 0.3, 0.25, 0.7, 0.2, 0.05, 0.02])
    ill = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0])
    n, flagged, odds = len(ill), risk >= 0.2, 0.2 / 0.8
    found, alarms = (flagged & (ill == 1)).sum(), (flagged & (ill == 0)).sum()
    missed, right = (~flagged & (ill == 1)).sum(), (found - alarms * odds) / n
    mistakes = {
        "A patient whose risk is exactly the threshold is treated, too.": (found - (alarms - 1) * odds) / n,
        "You count a healthy patient who is treated as much as an ill one who is found. At a threshold of 20% "
        "four of them weigh as much as one found.": (found - alarms) / n,
        "A healthy patient who is treated costs t / (1 - t), and not t: at 50% as much as one found gains.": (
            (found - alarms * 0.2) / n
        ),
        "Your odds are upside down: the lower the threshold, the cheaper a patient treated in vain.": (
            (found - alarms / odds) / n
        ),
        "That is a number of patients; divide by how many there are.": n * right,
        "You divided by the ill. A benefit for a clinic counts all of its patients.": n * right / ill.sum(),
        "You divided by those who are treated. A benefit for a clinic counts all of its patients.": (
            n * right / flagged.sum()
        ),
        "You took away the ill who are missed. The cost is the *healthy* who are treated.": (
            (found - missed * odds) / n
        ),
        "You counted everybody, whatever their risk. Who is treated?": (ill.sum() - (ill == 0).sum() * odds) / n,
        "You took away all of the healthy. Only those who are treated are a cost.": (
            (found - (ill == 0).sum() * odds) / n
        ),
        "Ill and healthy have changed places.": (alarms - found * odds) / n,
        "You added the cost; it should be taken away.": (found + alarms * odds) / n,
        "That is the share of ill patients found, without what finding them costs.": found / n,
        "That is in percent; return it as a share.": 100 * right,
    }
    fixed = {"You wrote the 1/4 of a threshold of 20% into the function. At 50%, what is t / (1 - t)?": (2 - 0.25) / n}
    return (
        compare(yours(risk, ill, 0.2), right, what="net benefit", mistakes=mistakes)
        or compare(yours(risk, ill, 0.5), (2 - 1) / n, what="at a threshold of 50%, net benefit", mistakes=fixed)
        or compare(yours(risk, ill, 0.95), 0.0, what="where nobody is treated, net benefit")
        or well_done("Nobody treated is 0; a model is worth having where it beats that and treating everybody.")
    )


@exercise
def bytes_on_the_wire(yours):
    "a function of `n_parameters`, `n_hospitals` and `rounds` that returns a number of bytes"
    right = 4 * 385 * 5 * 20 * 2
    mistakes = {
        "That is one way only: the model travels to the hospitals, and comes back.": right / 2,
        "That counts numbers. How many bytes has a 32-bit number?": right / 4,
        "That counts numbers, one way. A 32-bit number has 4 bytes, and there are two ways.": right / 8,
        "That counts bits: 8 of them are a byte.": right * 8,
        "That counts bits, one way: 8 bits are a byte, and the model also comes back.": right * 4,
        "That is the traffic of one hospital.": right / 5,
        "That is the traffic of one round.": right / 20,
    }
    return (
        compare(yours(385, 5, 20), float(right), what="the number of bytes", mistakes=mistakes)
        or compare(yours(10, 3, 2), 480.0, what="for 10 parameters, 3 hospitals and 2 rounds, the number of bytes")
        or well_done("It grows with the model, the hospitals and the rounds, and not with the patients.")
    )


@exercise
def client_start(yours):
    "a function of `global_weights` and `fresh_weights` that returns the weights a client starts from"
    world, fresh = np.array([1.0, 2.0, 3.0]), np.array([-0.1, 0.2, 0.1])
    mistakes = {
        "Then nothing that was learnt in earlier rounds reaches the client. What did the server average for?": fresh,
        "A mixture dilutes in each round what all rounds before have learnt.": (world + fresh) / 2,
        "Added to fresh weights the global model is disturbed anew in each round.": world + fresh,
        "A difference of the two is neither. What should a client go on from?": world - fresh,
        "A difference of the two is neither. What should a client begin with?": fresh - world,
        "All zeros is a new model, too: what the rounds before have learnt is gone, and its neurons are all alike.": (
            0 * world
        ),
    }
    later = np.array([4.0, 0.0, -2.0])
    return (
        compare(yours(world, fresh), world, mistakes=mistakes)
        or compare(yours(later, fresh), later, what="in a later round, the start")
        or well_done("With this one line the listing federates. Now see what it changes over fifty rounds.")
    )
