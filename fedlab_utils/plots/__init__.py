"""Figures of the course, one function each; `show` displays one together with its alt text."""

from fedlab_utils.plots.diagram import course_diagram
from fedlab_utils.plots.models import bands, by_hospital, clinic, last_round, learning_curves, read_learning_curves
from fedlab_utils.plots.style import DPI, PALETTE, Picture, band, figure, img_tag, png, show, style
from fedlab_utils.plots.tables import heatmap, histograms, intervals, linkage, pairs, release, shares_and_ages

__all__ = [
    "DPI",
    "PALETTE",
    "Picture",
    "band",
    "bands",
    "by_hospital",
    "clinic",
    "course_diagram",
    "figure",
    "heatmap",
    "histograms",
    "img_tag",
    "intervals",
    "last_round",
    "learning_curves",
    "linkage",
    "pairs",
    "png",
    "read_learning_curves",
    "release",
    "shares_and_ages",
    "show",
    "style",
]
