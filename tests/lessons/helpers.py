"""What tests of several lessons share."""

from fedlab_utils import plots


def drawn(figure) -> bool:
    """Whether a figure becomes a picture with something in it: an empty one becomes one, too."""
    return bool(plots.png(figure)) and any(ax.has_data() or ax.patches or ax.texts for ax in figure.axes)
