"""Every public function of the room answers a bad argument with one sentence that names it."""

from functools import lru_cache

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import synth
from fedlab_utils.data import Schema
from fedlab_utils.synth import encoding
from tests.refusals import one_sentence
from tests.synth.helpers import patients

FRAME = patients(40)


def fit(**change):
    given = {"frame": FRAME, "steps": 2, "hidden": (4,), "batch_size": 8} | change
    return synth.fit(given.pop("frame"), **given)


@lru_cache(maxsize=1)
def made():
    return synth.fit(FRAME, method="copula", n_models=2)


def sample(n=3, **change):
    return made().sample(n, **change)


CALLS = {
    "frame": [lambda v=v: fit(frame=v) for v in (None, 5, "table", FRAME.to_numpy(), FRAME[:0], FRAME[:1], FRAME[[]])]
    + [lambda v=v: fit(frame=v) for v in ({}, {"a": FRAME, "b": None})]
    + [lambda: encoding.learn(None), lambda: fit(frame={"a": FRAME}, on_step=print)]
    + [lambda v=v: made().encoder.encode(v) for v in (None, FRAME[["age"]], FRAME[:0])],
    "'age'": [
        lambda: fit(frame=pd.concat([FRAME, FRAME["age"]], axis=1)),
        lambda: fit(frame=FRAME.assign(age=np.inf)),
        lambda: fit(frame=FRAME.assign(age=np.nan)),
        lambda: made().encoder.encode(FRAME.assign(age="old")),
        lambda: made().encoder.encode(FRAME.assign(age=np.inf)),
        lambda: made().encoder.encode(FRAME.assign(age=np.nan)),
        lambda: fit(schema=Schema(bounds={"age": (90, 10)})),
        lambda: fit(schema=Schema(granularity={"age": -1})),
        lambda: fit(schema=Schema(granularity={"age": "fine"})),
        lambda: fit(schema=Schema(granularity={"age": True})),
        lambda: fit(schema=Schema(granularity={"age": [1.0]})),
        lambda: fit(schema=Schema(granularity={"age": [1.0, np.nan]})),
        lambda: fit(schema=Schema(granularity={"age": [1.0, 2.0]})),
    ],
    "'1'": [lambda: fit(frame=pd.DataFrame([[1, 2], [3, 4]], columns=[1, "1"]))],
    "method": [lambda v=v: fit(method=v) for v in ("x", None, 3, ["gan"], np.array(["gan", "copula"]), FRAME)],
    "schema": [lambda v=v: fit(schema=v) for v in ("public", {"age": (0, 9)}, Schema(numeric=("nothing",)))]
    + [lambda: fit(schema=Schema(bounds={"nothing": (0, 1)})), lambda: fit(schema=Schema(categorical=("nothing",)))]
    + [lambda: fit(schema=Schema(granularity={"nothing": 1})), lambda: fit(schema=Schema(numeric=("sex",)))],
    "transform": [lambda v=v: fit(transform=v) for v in ("log", None, 1)],
    "label": [lambda: fit(label="age"), lambda: fit(label="nothing"), lambda: fit(label=3)],
    "seed": [lambda v=v: fit(seed=v) for v in (-1, 0.5, "0", None, np.nan)]
    + [lambda v=v: sample(seed=v) for v in (-1, 0.5, None)]
    + [lambda: made().encoder.encode(FRAME, seed=-1), lambda: encoding.learn(FRAME, seed=-1)],
    "n must be": [lambda v=v: sample(v) for v in (-1, 0, 2.5, None, "3", True, np.nan, FRAME)],
    "model must be": [lambda v=v: sample(model=v) for v in (-1, 2, 0.5, None, "0")],
    "where": [lambda v=v: sample(where=v) for v in ("event", 1, [("event", 1)], {"event": 7}, {"age": 50})],
    "nothing": [lambda: sample(where={"nothing": 1})],
    "n_models": [lambda v=v: fit(n_models=v) for v in (0, 1.5, None, "2")],
    "steps": [lambda v=v: fit(steps=v) for v in (0, -5, 2.5, None, "many", np.inf)],
    "critic_steps": [lambda: fit(critic_steps=0), lambda: fit(critic_steps="2")],
    "pack": [lambda: fit(pack=0), lambda: fit(pack=1.5)],
    "batch_size": [lambda: fit(batch_size=0), lambda: fit(batch_size=None)],
    "every": [lambda: fit(every=0)],
    "hidden": [lambda v=v: fit(hidden=v) for v in (32, (0,), "wide", (2.5,), None)],
    "lr": [lambda v=v: fit(lr=v) for v in (-1, np.nan, np.inf, "fast", None)],
    "critic_lr": [lambda: fit(critic_lr=-1), lambda: fit(critic_lr="slow")],
    "penalty": [lambda: fit(penalty=-1), lambda: fit(penalty=None)],
    "average": [lambda v=v: fit(average=v) for v in (1, -0.1, np.nan, "0")],
    "on_step": [lambda: fit(on_step=5), lambda: fit(on_step="print")],
    "encoded": [lambda v=v: made().encoder.decode(v) for v in (None, "rows", np.ones((2, 3)), np.ones(5), [[np.inf]])],
    "path": [lambda v=v: synth.load(v) for v in (None, 0, 5, b"x")] + [lambda v=v: made().save(v) for v in (None, 1)],
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "call"), [pytest.param(n, c, id=f"{n}-{k}") for n, some in CALLS.items() for k, c in enumerate(some)]
)
def test_a_bad_argument_gets_one_sentence(name, call):
    with one_sentence(name):
        call()
