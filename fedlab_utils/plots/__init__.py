"""Figures of the course, one function each; `show` displays one together with its alt text."""

from fedlab_utils.plots.diagram import course_diagram
from fedlab_utils.plots.locked import added_errors, encrypted_workflow, locked_sum, modulus_room, words
from fedlab_utils.plots.models import bands, by_hospital, clinic, last_round, learning_curves, read_learning_curves
from fedlab_utils.plots.private import attacker, audit, budget, groups, leak, lengths, privacy_utility, tradeoff
from fedlab_utils.plots.style import DPI, PALETTE, Picture, band, figure, img_tag, png, show, style
from fedlab_utils.plots.synthetic import columns, distances, fidelity, game, made_values, worth
from fedlab_utils.plots.tables import heatmap, histograms, intervals, linkage, pairs, release, shares_and_ages
from fedlab_utils.plots.views import who_sees_what

__all__ = [
    "DPI",
    "PALETTE",
    "Picture",
    "added_errors",
    "attacker",
    "audit",
    "band",
    "bands",
    "budget",
    "by_hospital",
    "clinic",
    "columns",
    "course_diagram",
    "distances",
    "encrypted_workflow",
    "fidelity",
    "figure",
    "game",
    "groups",
    "heatmap",
    "histograms",
    "img_tag",
    "intervals",
    "last_round",
    "leak",
    "learning_curves",
    "lengths",
    "linkage",
    "locked_sum",
    "made_values",
    "modulus_room",
    "pairs",
    "png",
    "privacy_utility",
    "read_learning_curves",
    "release",
    "shares_and_ages",
    "show",
    "style",
    "tradeoff",
    "who_sees_what",
    "words",
    "worth",
]
