"""One look for all figures, and alt text for each that is shown."""

import io

import matplotlib
import numpy as np
import pytest
from PIL import Image

from fedlab_utils import plots


def draw(n=1):
    figure, ax = plots.figure(3, 2)
    ax.plot([0, n])
    return figure


def test_palette_is_the_colour_blind_one():
    import seaborn as sns

    assert list(plots.PALETTE) == [colour.lower() for colour in sns.color_palette("colorblind").as_hex()]


def test_figures_have_one_look_and_leave_the_defaults_alone():
    before = dict(matplotlib.rcParams)
    figure, axes = plots.figure(8, 3, ncols=2)
    for ax in axes:
        (drawn,) = ax.plot([0, 1])
        assert drawn.get_color() == plots.PALETTE[0]
        sizes = [label.get_fontsize() for label in (*ax.get_xticklabels(), ax.xaxis.label, ax.title)]
        assert min(sizes) >= 9
    assert dict(matplotlib.rcParams) == before
    assert plots.figure(nrows=2, ncols=3)[1].shape == (2, 3)


def five_hospitals():
    figure, ax = plots.figure(8, 4)
    x = np.arange(50)
    for k in range(5):
        plots.band(ax, x, k * x - 5, k * x, k * x + 5, label=f"hospital {k}")
    ax.legend()
    return figure


def test_png_is_small_repeatable_and_true_to_its_colours():
    picture = plots.png(five_hospitals())
    assert picture == plots.png(five_hospitals()) and len(picture) < 40_000
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3).astype(int)
    assert Image.open(io.BytesIO(picture)).size == (800, 400)
    for colour in plots.PALETTE[:5]:
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert np.abs(pixels - wanted).max(axis=1).min() <= 16, colour


def test_band_shades_between_low_and_high_in_the_colour_of_its_line():
    _, ax = plots.figure()
    plots.band(ax, [0, 1], [1, 1], [2, 2], [4, 4], label="AUC", color="#d55e00")
    area = ax.collections[0].get_paths()[0].vertices
    assert (area[:, 1].min(), area[:, 1].max()) == (1, 4) and ax.lines[0].get_label() == "AUC"
    assert matplotlib.colors.to_hex(ax.collections[0].get_facecolor()[0]) == "#d55e00"


def test_a_shown_figure_has_alt_text():
    shown = plots.show(draw(), "a line that rises")
    bundle = shown._repr_mimebundle_()
    assert 'alt="a line that rises"' in bundle["text/html"] and bundle["text/plain"] == repr(shown)
    with pytest.raises(ValueError, match="alt must be a sentence"):
        plots.show(draw(), "")
