"""One round of Flower's SecAgg+ in its simulation engine, for comparison only.

Ray's workers import this module by its name. It loads no torch, so that they start faster.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from itertools import pairwise

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns about its own default

import numpy as np
import ray  # noqa: F401  Flower would end the whole process without it
from flwr.app import Context, Message
from flwr.client import Client, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.clientapp import ClientApp
from flwr.common import ndarrays_to_parameters
from flwr.server import LegacyContext, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation

MAX_WEIGHT, CLIP, LEVELS = 1000.0, 8.0, 2**22  # Flower's defaults
ASKED = "secaggplus_configs"  # the part of a message that SecAgg+ reads


@dataclass(frozen=True)
class Round:
    """Seconds of the engine's start-up, of one round without masks and one with, and the mean that came out."""

    start_up: float
    empty: float
    secure: float
    mean: np.ndarray


def update(number: int, d: int) -> np.ndarray:
    """The same every time, so that both ends know it."""
    return np.random.default_rng(number).normal(0, 0.05, d).astype(np.float32)


def rows(number: int) -> int:
    """Of a hospital: from 100 to 955."""
    return 100 + 45 * (number % 20)


def precision(n: int) -> float:
    """Most that the mean of n hospitals can be off: SecAgg+ rounds each weighted value to a step above or below."""
    step = 2 * CLIP / LEVELS
    return n * step / sum(rows(u) / MAX_WEIGHT for u in range(n))


class Hospital(NumPyClient):
    """Trains nothing."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fit(self, parameters: list[np.ndarray], config: dict) -> tuple[list[np.ndarray], int, dict]:
        """The fixed update."""
        return [update(self.number, int(config["values"]))], rows(self.number), {}


def hospital(context: Context) -> Client:
    """As Ray's workers make it for each message."""
    return Hospital(int(context.node_config["partition-id"])).to_client()


def masks_where_asked(message: Message, context: Context, then) -> Message:
    """SecAgg+, except in rounds without it."""
    asked = ASKED in message.content.config_records
    return secaggplus_mod(message, context, then) if asked else then(message, context)


client = ClientApp(client_fn=hospital, mods=[masks_where_asked])


def simulate(n: int, d: int, threshold: int) -> Round:
    """Two rounds without masks, the first of which starts Ray's workers, and one with a mask for every pair.

    Parameters
    ----------
    n, d
        Hospitals, and values of an update.
    threshold
        Shares that open a secret. There are n of each, so that all hospitals are neighbours.
    """
    begin = time.perf_counter()
    seen: list[list[tuple[float, np.ndarray]]] = []
    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        secure = SecAggPlusWorkflow(1.0, threshold, max_weight=MAX_WEIGHT, clipping_range=CLIP)
        for n_rounds, fit in ((2, None), (1, secure)):
            states: list[tuple[float, np.ndarray]] = []
            seen.append(states)
            strategy = FedAvg(
                fraction_evaluate=0.0,
                min_fit_clients=n,
                min_available_clients=n,
                initial_parameters=ndarrays_to_parameters([np.zeros(1, np.float32)]),
                on_fit_config_fn=lambda number: {"values": d},
                evaluate_fn=lambda number, arrays, config, states=states: states.append(
                    (time.perf_counter(), arrays[0])
                ),
            )
            DefaultWorkflow(fit)(grid, LegacyContext(context, ServerConfig(n_rounds), strategy))

    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    backend = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"logging_level": "error", "log_to_driver": False},
    }
    run_simulation(server, client, n, backend_config=backend)
    (cold, empty), (masked,) = ([b[0] - a[0] for a, b in pairwise(states)] for states in seen)
    before = seen[0][0][0] - begin
    return Round(before + cold - empty, empty, masked, seen[1][-1][1])
