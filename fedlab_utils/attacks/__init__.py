"""Attacks, named by what they attack: classifiers, tables, federations, and the names taken out of a table.

Each membership attack gives an `AttackResult`, with intervals.
"""

from fedlab_utils.attacks.classifiers import Shadows as Shadows
from fedlab_utils.attacks.classifiers import calibrated as calibrated
from fedlab_utils.attacks.classifiers import coins as coins
from fedlab_utils.attacks.classifiers import lira as lira
from fedlab_utils.attacks.classifiers import loss_threshold as loss_threshold
from fedlab_utils.attacks.classifiers import rmia as rmia
from fedlab_utils.attacks.classifiers import scaled_logit as scaled_logit
from fedlab_utils.attacks.classifiers import shadows as shadows
from fedlab_utils.attacks.federations import federated_shadows as federated_shadows
from fedlab_utils.attacks.result import AttackResult as AttackResult
from fedlab_utils.attacks.result import Estimate as Estimate
from fedlab_utils.attacks.tables import densities as densities
from fedlab_utils.attacks.tables import domias as domias
from fedlab_utils.attacks.tables import monte_carlo as monte_carlo
from fedlab_utils.attacks.tables import nearest_record as nearest_record
from fedlab_utils.attacks.tables import shadow_generators as shadow_generators
