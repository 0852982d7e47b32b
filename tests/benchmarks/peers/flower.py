"""Flower's simulation engine; its clients do what the plain loop does for one hospital.

Ray's workers import this module by its name, so a hospital's rows are made once in each worker.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # else Ray warns about its own default

import ray  # noqa: F401  Flower would end the whole process without it
import torch
from flwr.app import ArrayRecord, ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from torch import Tensor, nn

from peers import loop, work

client = ClientApp()


@dataclass(frozen=True)
class Job:
    """Federated rounds to be timed: how many, with which batches, and whether hospitals evaluate in each."""

    rounds: int
    batch: int = work.BATCH
    evaluate: bool = False


@client.train()
def train(message: Message, context: Context) -> Message:
    """One hospital's part of a round."""
    model, X, y = _unpack(message, context)
    loop.epoch(model, loop.sgd(model), X, y, int(message.content["config"]["batch"]))
    content = {"arrays": ArrayRecord(model.state_dict()), "metrics": MetricRecord({"num-examples": len(X)})}
    return Message(RecordDict(content), reply_to=message)


@client.evaluate()
@torch.no_grad()
def evaluate(message: Message, context: Context) -> Message:
    """Loss of the global model on a hospital's rows."""
    model, X, y = _unpack(message, context)
    loss = nn.functional.binary_cross_entropy_with_logits(model(X), y).item()
    content = {"metrics": MetricRecord({"num-examples": len(X), "loss": loss})}
    return Message(RecordDict(content), reply_to=message)


def _unpack(message: Message, context: Context) -> tuple[nn.Module, Tensor, Tensor]:
    torch.set_num_threads(1)
    n_rows = int(message.content["config"]["rows"])
    model = loop.network()
    model.load_state_dict(message.content["arrays"].to_torch_state_dict())
    return model, *work.hospital(int(context.node_config["partition-id"]), n_rows)


def simulate(n_hospitals: int, n_rows: int, jobs: list[Job]) -> tuple[float, list[list[Tensor]], list[float]]:
    """Run the jobs one after the other in one simulation; each starts afresh from `work.start`.

    Returns
    -------
    start_up, models, seconds
        Seconds from the call to the end of the first job's first round, in which Ray starts and its workers
        import torch; the global model after each job; the median seconds of each job's rounds, the first of
        several left out.
    """
    begin = time.perf_counter()
    ends: list[list[float]] = [[] for _ in jobs]
    models = []
    server, everyone = ServerApp(), dict(min_train_nodes=n_hospitals, min_available_nodes=n_hospitals)

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        for job, times in zip(jobs, ends, strict=True):
            result = FedAvg(fraction_evaluate=float(job.evaluate), **everyone).start(
                grid=grid,
                initial_arrays=ArrayRecord(loop.network().state_dict()),
                num_rounds=job.rounds,
                train_config=ConfigRecord({"rows": n_rows, "batch": job.batch}),
                evaluate_config=ConfigRecord({"rows": n_rows}),
                evaluate_fn=lambda number, arrays, times=times: times.append(time.perf_counter()),
            )
            models.append(list(result.arrays.to_torch_state_dict().values()))

    logging.getLogger("flwr").setLevel(logging.CRITICAL)
    backend = {
        "client_resources": {"num_cpus": 1, "num_gpus": 0.0},
        "init_args": {"logging_level": "error", "log_to_driver": False},
    }
    run_simulation(server, client, n_hospitals, backend_config=backend)
    seconds = [[b - a for a, b in pairwise(times)] for times in ends]  # times[0] stands before round 1
    return ends[0][1] - begin, models, [median(each[1:] or each) for each in seconds]
