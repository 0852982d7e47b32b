"""Federated training: hospitals train one model together, in rounds.

`rounds` is Algorithm 1, line by line; what is settled before it stands in `plan`, what a promise does to it in
`protections`, how hospitals lie in `cheating`, how updates shrink in `compression` and come together in `aggregators`
or, against liars, in `robust` and `clipping`, where the server then goes in `strategies`, and what is written down in
`diary`. `personal` keeps a part of the network in each hospital, `fine_tuning` says what a hospital makes of a
finished run by itself, `clock` how long a round takes. `scores` and `clinic` say how good the result is.
"""

from typing import TYPE_CHECKING

from fedlab_utils._late import late

if TYPE_CHECKING:
    from fedlab_utils.federated.aggregators import AbandonedRound as AbandonedRound
    from fedlab_utils.federated.aggregators import Aggregator as Aggregator
    from fedlab_utils.federated.aggregators import OpenSum as OpenSum
    from fedlab_utils.federated.cheating import Attack as Attack
    from fedlab_utils.federated.clinic import Recalibrated as Recalibrated
    from fedlab_utils.federated.clinic import calibration as calibration
    from fedlab_utils.federated.clinic import clinical as clinical
    from fedlab_utils.federated.clinic import recalibrated as recalibrated
    from fedlab_utils.federated.clipping import CenteredClipping as CenteredClipping
    from fedlab_utils.federated.clipping import GeometricMedian as GeometricMedian
    from fedlab_utils.federated.clipping import NormClipping as NormClipping
    from fedlab_utils.federated.clipping import RootOfTrust as RootOfTrust
    from fedlab_utils.federated.clock import Clock as Clock
    from fedlab_utils.federated.comparisons import baselines as baselines
    from fedlab_utils.federated.comparisons import by_hospital as by_hospital
    from fedlab_utils.federated.comparisons import compare as compare
    from fedlab_utils.federated.comparisons import leave_one_out as leave_one_out
    from fedlab_utils.federated.comparisons import side_by_side as side_by_side
    from fedlab_utils.federated.compression import Quantise as Quantise
    from fedlab_utils.federated.compression import TopK as TopK
    from fedlab_utils.federated.fine_tuning import PersonalModel as PersonalModel
    from fedlab_utils.federated.plan import hospital_rng as hospital_rng
    from fedlab_utils.federated.robust import Krum as Krum
    from fedlab_utils.federated.robust import Median as Median
    from fedlab_utils.federated.robust import MultiKrum as MultiKrum
    from fedlab_utils.federated.robust import Rule as Rule
    from fedlab_utils.federated.robust import TrimmedMean as TrimmedMean
    from fedlab_utils.federated.runs import Diverged as Diverged
    from fedlab_utils.federated.runs import FederatedRun as FederatedRun
    from fedlab_utils.federated.runs import Model as Model
    from fedlab_utils.federated.strategies import FedAdam as FedAdam
    from fedlab_utils.federated.strategies import FedAvgM as FedAvgM
    from fedlab_utils.federated.strategies import FedYogi as FedYogi
    from fedlab_utils.federated.strategies import Scaffold as Scaffold
    from fedlab_utils.federated.strategies import Strategy as Strategy
    from fedlab_utils.federated.trainings import local_update as local_update
    from fedlab_utils.federated.trainings import train as train
    from fedlab_utils.federated.views import SIGHTS as SIGHTS
    from fedlab_utils.federated.views import who_sees_what as who_sees_what

__getattr__, __dir__ = late(__name__, __file__)
