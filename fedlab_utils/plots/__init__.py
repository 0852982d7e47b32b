"""Figures of the course, one function each; `show` displays one together with its alt text."""

from fedlab_utils.plots.diagram import course_diagram
from fedlab_utils.plots.locked import added_errors, encrypted_workflow, locked_sum, locked_words, modulus_room
from fedlab_utils.plots.masked import (
    costs,
    hide_or_add,
    masks_on_paper,
    protocol_rounds,
    read_out,
    server_view,
    shares_on_a_line,
    sums,
)
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
    "costs",
    "course_diagram",
    "distances",
    "encrypted_workflow",
    "fidelity",
    "figure",
    "game",
    "groups",
    "heatmap",
    "hide_or_add",
    "histograms",
    "img_tag",
    "intervals",
    "last_round",
    "leak",
    "learning_curves",
    "lengths",
    "linkage",
    "locked_sum",
    "locked_words",
    "made_values",
    "masks_on_paper",
    "modulus_room",
    "pairs",
    "png",
    "privacy_utility",
    "protocol_rounds",
    "read_learning_curves",
    "read_out",
    "release",
    "server_view",
    "shares_and_ages",
    "shares_on_a_line",
    "show",
    "style",
    "sums",
    "tradeoff",
    "who_sees_what",
    "worth",
]
