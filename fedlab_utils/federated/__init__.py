"""Federated training: hospitals train one model together, in rounds.

`rounds` is Algorithm 1, line by line; what is settled before it stands in `plan`, what a promise does to it in
`protections`, how updates come together in `aggregators`, and what is written down in `diary`.
"""

from fedlab_utils.federated.aggregators import Aggregator as Aggregator
from fedlab_utils.federated.aggregators import OpenSum as OpenSum
from fedlab_utils.federated.comparisons import baselines as baselines
from fedlab_utils.federated.comparisons import compare as compare
from fedlab_utils.federated.comparisons import side_by_side as side_by_side
from fedlab_utils.federated.plan import hospital_rng as hospital_rng
from fedlab_utils.federated.runs import FederatedRun as FederatedRun
from fedlab_utils.federated.runs import Model as Model
from fedlab_utils.federated.trainings import local_update as local_update
from fedlab_utils.federated.trainings import train as train
from fedlab_utils.federated.views import SIGHTS as SIGHTS
from fedlab_utils.federated.views import who_sees_what as who_sees_what
