"""Attacks, named by what they attack: classifiers, tables, federations, updates, and the names taken out of a table.

`poisoning` is the one that does not want to know anything: hospitals that spoil the model they train together.

`read_batch` and `invert` read whole patients out of an update, and `reading` says how much they read.

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
from fedlab_utils.attacks.inversion import Inverted as Inverted
from fedlab_utils.attacks.inversion import binning_weights as binning_weights
from fedlab_utils.attacks.inversion import invert as invert
from fedlab_utils.attacks.inversion import positives as positives
from fedlab_utils.attacks.inversion import reconstruction_bound as reconstruction_bound
from fedlab_utils.attacks.poisoning import Backdoor as Backdoor
from fedlab_utils.attacks.poisoning import HideTheIll as HideTheIll
from fedlab_utils.attacks.poisoning import LabelFlip as LabelFlip
from fedlab_utils.attacks.poisoning import SignFlip as SignFlip
from fedlab_utils.attacks.records import Fields as Fields
from fedlab_utils.attacks.records import Reading as Reading
from fedlab_utils.attacks.records import fields as fields
from fedlab_utils.attacks.records import reading as reading
from fedlab_utils.attacks.result import AttackResult as AttackResult
from fedlab_utils.attacks.result import Estimate as Estimate
from fedlab_utils.attacks.subtraction import Guesses as Guesses
from fedlab_utils.attacks.subtraction import divisions as divisions
from fedlab_utils.attacks.subtraction import labels_from as labels_from
from fedlab_utils.attacks.subtraction import read_batch as read_batch
from fedlab_utils.attacks.subtraction import read_one as read_one
from fedlab_utils.attacks.tables import densities as densities
from fedlab_utils.attacks.tables import domias as domias
from fedlab_utils.attacks.tables import monte_carlo as monte_carlo
from fedlab_utils.attacks.tables import nearest_record as nearest_record
from fedlab_utils.attacks.tables import shadow_generators as shadow_generators
