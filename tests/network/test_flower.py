"""The same training on Flower: SuperLink with certificates, SuperNodes with keys, an app of one file.

Skipped where Flower is not installed (extra ``network``). Everything that is started here is ended here, and with it.
"""

import os
import time
from importlib.util import find_spec

import numpy as np
import pytest

from fedlab_utils import federated
from fedlab_utils.network.door import Door
from tests.network.flower_machines import machines_for

pytestmark = [pytest.mark.skipif(find_spec("flwr") is None, reason="Flower is not installed"), pytest.mark.timeout(600)]
PATIENCE = 300  # seconds of one run; most of it is the start of processes


@pytest.fixture(scope="module")
def machines(tmp_path_factory, fed):
    root, names = tmp_path_factory.mktemp("flower"), [h.name for h in fed.hospitals]
    with machines_for(root, names, forked=os.name != "nt") as made:
        yield made


def trained(machines, there, on_model=None):
    """Run an agreement on Flower: the coordinator's last model, and the log of what happened."""
    from fedlab_utils.network.flower.app import write_app

    folder = there.root / "coordinator"
    app = write_app(there.root / "app", there.agreement, folder=folder, nodes=machines.nodes)
    machines.run("run", app, "course")
    end, seen, last = time.monotonic() + PATIENCE, set(), there.agreement.training.rounds
    while time.monotonic() < end and last not in seen:
        for number in range(1, last + 1):
            if number not in seen and (folder / f"model-{number:04d}.f32").exists():
                seen.add(number)
                if on_model is not None:
                    on_model(number)
        time.sleep(0.2)
    assert last in seen, (machines.log("superlink"), [machines.log(n) for n in machines.names])
    return there.coordinator()


@pytest.mark.parametrize("masked", [False, True])
def test_it_is_the_training_in_one_process(machines, agree, house, fed, masked):
    there = house(agree(masked=masked, rounds=1 if masked else 2, deadline=100.0))
    doors = [Door(part) for part in there.parts.values()]
    for name in machines.names:
        machines.start_node(name, there.root / name)
    if not masked:
        machines.start_node("Stranger", there.root / "nowhere")
    victim = machines.names[1]

    def restart(number):
        if not masked and number == 1:
            machines.end(victim)
            machines.start_node(victim, there.root / victim)

    try:
        run = trained(machines, there, restart)
    finally:
        for name in machines.names:
            machines.end(name)
        for door in doors:
            door.close()
    reference = federated.train(fed, **there.agreement.arguments())
    assert np.abs(run.models[-1] - reference.params.flat()[0].numpy()).max() < 1e-6
    assert all(r.came == there.agreement.hospitals for r in run.history), run.history
    if not masked:
        assert machines.running.pop("Stranger").wait(30) != 0  # a key that nobody registered
