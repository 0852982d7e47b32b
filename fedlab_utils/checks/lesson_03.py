"""Exercises of lesson 03."""

from __future__ import annotations

import numpy as np
import torch

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, well_done


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
def read_patient(yours):
    "a function of `dW` [neurons, features] and `db` [neurons] that returns the patient [features]"
    patient = torch.tensor([0.5, -1.25, 2.0, 1.0])
    delta = torch.tensor([0.0, -0.03, 0.2, 0.0, 0.011])
    dW, db = delta.unsqueeze(1) * patient, delta
    got = yours(dW, db)
    if not np.isfinite(as_array(got, "the patient")).all():
        return hint("Neurons that did not fire divide zero by zero. Which neurons may you use?")
    mistakes = {
        "You added the neurons up; each of those that fired says the whole patient by itself.": 3 * patient,
        "These are the changes themselves, not yet divided by the bias's change.": dW.sum(0),
        "A mean over all neurons counts those that did not fire as zeros.": patient * 3 / 5,
    }
    return compare(got, patient, mistakes=mistakes) or well_done(
        "One division, and the patient is on the server's screen. No row was ever sent."
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
        "That is the traffic of one hospital.": right / 5,
        "That is the traffic of one round.": right / 20,
    }
    return compare(yours(385, 5, 20), float(right), mistakes=mistakes) or well_done(
        "It grows with the model, the hospitals and the rounds, and not with the patients."
    )


@exercise
def client_start(yours):
    "a function of `global_weights` and `fresh_weights` that returns the weights a client starts from"
    world, fresh = np.array([1.0, 2.0, 3.0]), np.array([-0.1, 0.2, 0.1])
    mistakes = {
        "Then nothing that was learnt in earlier rounds reaches the client. What did the server average for?": fresh,
        "A mixture dilutes in each round what all rounds before have learnt.": (world + fresh) / 2,
        "Added to fresh weights the global model is disturbed anew in each round.": world + fresh,
    }
    return compare(yours(world, fresh), world, mistakes=mistakes) or well_done(
        "With this one line the listing federates. Now see what it changes over fifty rounds."
    )
