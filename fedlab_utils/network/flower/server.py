"""The coordinator's ServerApp: `Coordinator` over a `GridCarrier`."""

from __future__ import annotations

import json
from logging import getLogger
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedlab_utils.network.agreement import Agreement
from fedlab_utils.network.coordinator import Coordinator, RoundRecord
from fedlab_utils.network.flower.carrier import GridCarrier

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds that are left, as the run's configuration says.

    ``agreement`` is the file, ``folder`` where models go and where a restart goes on, ``nodes`` the number of each
    hospital's node as JSON, ``{"North": 123, ...}``, or the name of a file that holds it.
    """
    config, log = context.run_config, getLogger("flwr")
    agreement = Agreement.from_toml(Path(str(config["agreement"])).read_text(encoding="utf-8"))
    nodes = str(config["nodes"])
    nodes = json.loads(nodes if nodes.lstrip().startswith("{") else Path(nodes).read_text(encoding="utf-8"))
    if missing := [name for name in agreement.hospitals if not isinstance(nodes.get(name), int)]:
        raise ValueError(f"nodes must have the number of a node for each hospital; {missing[0]} has none.")

    def on_round(record: RoundRecord) -> None:
        log.info("%s", record)

    run = Coordinator(agreement, GridCarrier(grid, nodes), str(config["folder"])).run(on_round)
    log.info("%r; %s have the final model", run, ", ".join(run.told) or "none")
