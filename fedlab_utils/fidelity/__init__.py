"""How good a synthetic table is: resemblance, use, and copies of real rows."""

from fedlab_utils.fidelity.consistency import rules as rules
from fedlab_utils.fidelity.measures import report as report
from fedlab_utils.fidelity.measures import utility as utility
