"""A lab that the tests of this folder share."""

from fedlab_utils import plots


def draw(n=1):
    figure, ax = plots.figure(3, 2)
    ax.plot([0, n])
    return figure


def line(show, n):
    show(draw(n), f"The line ends at {n}.", alt=f"a line up to {n}")
