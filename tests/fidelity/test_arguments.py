"""Every public function of the room answers a bad argument with one sentence that names it."""

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import fidelity
from tests.fidelity.helpers import HOLDOUT, REAL, SECOND
from tests.refusals import one_sentence

GIVEN = {"real": REAL[:60], "synthetic": SECOND[:60], "holdout": HOLDOUT[:60]}
TWICE = pd.concat([SECOND[:60], SECOND[:60]["age"]], axis=1)


def report(**change):
    given = {**GIVEN, "target": "event"} | change
    return fidelity.report(given.pop("real"), given.pop("synthetic"), **given)


def rules(**change):
    given = GIVEN | change
    return fidelity.rules(given.pop("real"), given.pop("synthetic"), **given)


def utility(**change):
    given = {"train": SECOND[:60], "test": HOLDOUT[:60], "target": "event"} | change
    return fidelity.utility(given.pop("train"), given.pop("test"), **given)


TABLES = (None, 5, "table", REAL.to_numpy(), REAL[:0], REAL[:19], REAL[:60].drop(columns="bmi"), REAL[:60][[]], TWICE,
          REAL[:60].set_axis(range(7), axis=1), {"a": REAL})  # fmt: skip

CALLS = {
    name: [lambda v=v, name=name, f=f: f(**{name: v}) for f in (report, rules) for v in TABLES]
    for name in ("real", "synthetic", "holdout")
}
CALLS |= {name: [lambda v=v, name=name: utility(**{name: v}) for v in TABLES] for name in ("train", "test")}
CALLS |= {
    "target": [lambda v=v, f=f: f(target=v) for f in (report, utility) for v in (None, 3, "nothing", ["event"], np.nan)]
    + [lambda: report(holdout=HOLDOUT[:200].query("event == 1"))],
    "seed": [lambda v=v: report(seed=v) for v in (-1, 0.5, None, "0", np.nan)] + [lambda: utility(seed=-1)],
    "family": [lambda v=v: utility(family=v) for v in ("forest", None, 1, ["linear"])],
    "'bmi'": [
        lambda name=name, f=f, v=v: f(**{name: GIVEN[name].assign(bmi=v)})
        for f in (report, rules)
        for name in GIVEN
        for v in (np.inf, -np.inf, 1e200)
    ]
    + [lambda: utility(train=SECOND[:60].assign(bmi=np.inf))]
    + [lambda: report(real=REAL[:60].assign(bmi=np.inf), target="bmi")],
    "'age'": [
        lambda: report(synthetic=SECOND[:60].assign(age="old")),
        lambda: report(real=REAL[:60].assign(age=np.nan), holdout=HOLDOUT[:60].assign(age=np.nan)),
        lambda: rules(real=REAL[:60].assign(age=[f"patient {k}" for k in range(60)])),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call"), [pytest.param(n, c, id=f"{n}-{k}") for n, some in CALLS.items() for k, c in enumerate(some)]
)
def test_a_bad_argument_gets_one_sentence(name, call):
    with one_sentence(name):
        call()
