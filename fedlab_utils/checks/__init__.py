"""Checks of exercises: ``checks.fedavg_step(yours)`` answers with a verdict or a hint.

How one is written stands in `mechanism`; there is one module of checks for each lesson.
"""

from fedlab_utils.checks.lesson_00 import gap_closed, overall_accuracy, server_still_sees
from fedlab_utils.checks.lesson_01 import k_anonymity, link_records, pooled_sd, zeros_to_missing
from fedlab_utils.checks.lesson_02 import best_discriminator, honest_score, near_copies
from fedlab_utils.checks.lesson_03 import bytes_on_the_wire, client_start, fedavg_step, read_patient
from fedlab_utils.checks.lesson_04 import clipped_sum, honest_epsilon, liars, posterior, sensitivity
from fedlab_utils.checks.lesson_05 import combine, crooked, masked_number, safe_threshold
from fedlab_utils.checks.lesson_06 import blind, calibrated_score, found_at
from fedlab_utils.checks.lesson_07 import add_boxes, faulty_boxes, most_boxes
from fedlab_utils.checks.mechanism import EXERCISES, Verdict, as_array, compare, exercise, hint, question, well_done

__all__ = [
    "EXERCISES",
    "Verdict",
    "add_boxes",
    "as_array",
    "best_discriminator",
    "blind",
    "bytes_on_the_wire",
    "calibrated_score",
    "client_start",
    "clipped_sum",
    "combine",
    "compare",
    "crooked",
    "exercise",
    "faulty_boxes",
    "fedavg_step",
    "found_at",
    "gap_closed",
    "hint",
    "honest_epsilon",
    "honest_score",
    "k_anonymity",
    "liars",
    "link_records",
    "masked_number",
    "most_boxes",
    "near_copies",
    "overall_accuracy",
    "pooled_sd",
    "posterior",
    "question",
    "read_patient",
    "safe_threshold",
    "sensitivity",
    "server_still_sees",
    "well_done",
    "zeros_to_missing",
]
