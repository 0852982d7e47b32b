"""Checks of exercises: ``checks.fedavg_step(yours)`` answers with a verdict or a hint.

How one is written stands in `mechanism`; there is one module of checks for each lesson.
"""

from fedlab_utils.checks.lesson_00 import gap_closed as gap_closed
from fedlab_utils.checks.lesson_00 import overall_accuracy as overall_accuracy
from fedlab_utils.checks.lesson_00 import server_still_sees as server_still_sees
from fedlab_utils.checks.lesson_01 import k_anonymity as k_anonymity
from fedlab_utils.checks.lesson_01 import link_records as link_records
from fedlab_utils.checks.lesson_01 import pooled_sd as pooled_sd
from fedlab_utils.checks.lesson_01 import zeros_to_missing as zeros_to_missing
from fedlab_utils.checks.lesson_02 import best_discriminator as best_discriminator
from fedlab_utils.checks.lesson_02 import honest_score as honest_score
from fedlab_utils.checks.lesson_02 import near_copies as near_copies
from fedlab_utils.checks.lesson_03 import benefit_at as benefit_at
from fedlab_utils.checks.lesson_03 import bytes_on_the_wire as bytes_on_the_wire
from fedlab_utils.checks.lesson_03 import client_start as client_start
from fedlab_utils.checks.lesson_03 import fedavg_step as fedavg_step
from fedlab_utils.checks.lesson_03 import proximal_step as proximal_step
from fedlab_utils.checks.lesson_03 import read_patient as read_patient
from fedlab_utils.checks.lesson_04 import clipped_sum as clipped_sum
from fedlab_utils.checks.lesson_04 import honest_epsilon as honest_epsilon
from fedlab_utils.checks.lesson_04 import liars as liars
from fedlab_utils.checks.lesson_04 import posterior as posterior
from fedlab_utils.checks.lesson_04 import sensitivity as sensitivity
from fedlab_utils.checks.lesson_05 import combine as combine
from fedlab_utils.checks.lesson_05 import crooked as crooked
from fedlab_utils.checks.lesson_05 import masked_number as masked_number
from fedlab_utils.checks.lesson_05 import safe_threshold as safe_threshold
from fedlab_utils.checks.lesson_06 import blind as blind
from fedlab_utils.checks.lesson_06 import calibrated_score as calibrated_score
from fedlab_utils.checks.lesson_06 import found_at as found_at
from fedlab_utils.checks.lesson_07 import add_boxes as add_boxes
from fedlab_utils.checks.lesson_07 import faulty_boxes as faulty_boxes
from fedlab_utils.checks.lesson_07 import most_boxes as most_boxes
from fedlab_utils.checks.lesson_08 import gives_away as gives_away
from fedlab_utils.checks.lesson_08 import log_ratio as log_ratio
from fedlab_utils.checks.lesson_08 import noisy_tables as noisy_tables
from fedlab_utils.checks.mechanism import EXERCISES as EXERCISES
from fedlab_utils.checks.mechanism import Verdict as Verdict
from fedlab_utils.checks.mechanism import as_array as as_array
from fedlab_utils.checks.mechanism import compare as compare
from fedlab_utils.checks.mechanism import exercise as exercise
from fedlab_utils.checks.mechanism import hint as hint
from fedlab_utils.checks.mechanism import question as question
from fedlab_utils.checks.mechanism import well_done as well_done
