"""Lesson 00: its exercises, and what it says about names and the course."""

import cells
import lessons
import numpy as np
import pandas as pd
import torch

from fedlab_utils import data

WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "gap_closed": {
        "the gain itself": lambda a, t, p: t - a,
        "what is left open": lambda a, t, p: (p - t) / (p - a),
        "compares with 0 AUC": lambda a, t, p: t / p,
        "take away from": lambda a, t, p: t / (p - a),
        "upside down": lambda a, t, p: (p - a) / (t - a),
        "beside where it started": lambda a, t, p: (t - a) / a,
        "in percent": lambda a, t, p: 100 * (t - a) / (p - a),
        "sign is turned": lambda a, t, p: (a - t) / (p - a),
        "as good as pooled": lambda a, t, p: 0.6,
        ".65 together": lambda a, t, p: float(t == p) or 0.6,  # the example, written into the function
        "With .58 alone": lambda a, t, p: round((t - a) / (p - a), 1),
        "Keep the sign": lambda a, t, p: abs(t - a) / abs(p - a),
        "beside the pooled AUC": lambda a, t, p: (t - a) / p,
        "left open, in AUC": lambda a, t, p: (p - a) - (t - a),
        "round both differences": lambda a, t, p: t - a / p - a,
        "round the second difference": lambda a, t, p: (t - a) / p - a,
        "round the first difference": lambda a, t, p: t - a / (p - a),
    },
    "server_still_sees": {
        "never left": {"patients' rows", "global model"},
        "is for": {"single updates", "sum of updates"},
        "the least it needs": {"global model"},
        "adds the sum to something": {"sum of updates"},
        "none of the four": {"weights"},
        "Rows never": ["patients' rows", "single updates", "sum of updates", "global model"],
        "What is the least": set(),
        "To what": "sum of updates",
    },
    "overall_accuracy": {
        "as much say": lambda a, n: sum(a) / len(a),
        "divide by all": lambda a, n: sum(x * y for x, y in zip(a, n, strict=True)),
        "mixed up the weights": lambda a, n: sum(x * y for x, y in zip(a, n[::-1], strict=True)) / sum(n),
        "With three hospitals": lambda a, n: (a[0] * n[0] + a[1] * n[1]) / (n[0] + n[1]),
        "[0.9, 0.5, 0.7]": lambda a, n: two_hospitals(*a, *n),
        "number of hospitals": lambda a, n: np.dot(a, n) / len(a),
        "added the shares up": lambda a, n: sum(a),
        "in percent": lambda a, n: 100 * np.dot(a, n) / sum(n),
        "that is wrong": lambda a, n: 1 - np.dot(a, n) / sum(n),
    },
}


def two_hospitals(east, west, n_east, n_west):
    return (east * n_east + west * n_west) / (n_east + n_west)


def by_loop(accuracies, n_patients):
    right = 0
    for k in range(len(accuracies)):
        right += accuracies[k] * n_patients[k]
    return right / sum(n_patients)


RIGHT = {
    "gap_closed": [
        lambda a, t, p: (t - a) / (p - a),
        lambda a, t, p: 1 - (p - t) / (p - a),
        lambda a, t, p: max(0.0, (t - a) / (p - a)),
        lambda a, t, p: torch.tensor([t - a]) / (p - a),
        lambda a, t, p: pd.Series([(t - a) / (p - a)]),
        lambda a, t, p: np.float64(t - a) / np.float64(p - a),
    ],
    "server_still_sees": [
        {"sum of updates", "global model"},
        ["global model", "sum of updates"],
        ("sum of updates", "global model", "sum of updates"),
        pd.Series(["sum of updates", "global model"]),
    ],
    "overall_accuracy": [
        by_loop,
        lambda a, n: np.average(a, weights=n),
        lambda a, n: torch.tensor(a) @ torch.tensor(n).float() / sum(n),
        lambda a, n: pd.Series(a).mul(n).sum() / pd.Series(n).sum(),
    ],
}


def test_the_share_of_unique_records_is_that_of_tidied_ones():
    """One patient spelt "M" here and "male" there is one patient; by raw spellings nearly all would be unique."""
    made = cells.definitions(lessons.SOURCES / "00_start_here.py", "tidy", "shared")
    raw = data.drop_duplicate_records(data.load_raw("hospital_network"))
    meaning = raw["sex"].str.strip().str.lower().str[0]  # m or f, whatever follows
    seen = pd.Series(list(zip(raw["birth_date"], meaning, raw["postcode"], strict=True))).value_counts()
    assert made["shared"].sum() == seen[seen > 1].sum() > 200
    together = made["tidy"][made["shared"]]
    assert (together.groupby("national_id")["hospital"].nunique() > 1).sum() * 2 > 0.9 * len(together)
