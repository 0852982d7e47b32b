"""One look for all figures, and alt text for each that is shown."""

import io
import itertools

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image

from fedlab_utils import plots
from fedlab_utils.plots import style


def draw(n=1):
    figure, ax = plots.figure(3, 2)
    ax.plot([0, n])
    return figure


def test_a_baseline_never_lies_on_the_edge_of_the_axes():
    for height in (0.79, 0.792, 1.0, -0.5):
        _, ax = plots.figure(3, 2)
        ax.plot([0, 1], [0.44, 0.777])
        style.level(ax, height, "best possible")
        low, high = ax.get_ylim()
        assert low + 0.01 * (high - low) < height < high - 0.01 * (high - low)


def linear(rgb):
    rgb = np.asarray(rgb)
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast_to_white(color):
    """WCAG 2.1, relative luminance."""
    return 1.05 / (linear(to_rgb(color)) @ [0.2126, 0.7152, 0.0722] + 0.05)


# Severe protanomaly, deuteranomaly and tritanomaly, in linear RGB (Machado et al. 2009, doi:10.1109/TVCG.2009.113).
EYES = {
    "usual": np.eye(3),
    "without red cones": [
        [0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]
    ],
    "without green cones": [
        [0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]
    ],
    "without blue cones": [
        [1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]
    ],
}  # fmt: skip
TO_XYZ = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]


def in_lab(color, eyes):
    """CIELAB coordinates of a colour as these eyes see it."""
    xyz = np.clip(np.asarray(eyes) @ linear(to_rgb(color)), 0, 1) @ np.transpose(TO_XYZ) / [0.95047, 1, 1.08883]
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def closest(colors, eyes):
    seen = [in_lab(color, eyes) for color in colors]
    return min(np.linalg.norm(a - b) for a, b in itertools.combinations(seen, 2))


def test_every_colour_stands_out_from_white():
    assert min(map(contrast_to_white, plots.PALETTE)) >= 3
    assert contrast_to_white("#de8f05") < 3  # seaborn's amber does not


@pytest.mark.parametrize("eyes", EYES)
def test_colours_are_told_apart_by_everybody(eyes):
    assert closest(plots.PALETTE, EYES[eyes]) >= 15
    if eyes == "without green cones":
        assert closest(["#ff0000", "#008800"], EYES[eyes]) < 35 < closest(["#ff0000", "#008800"], EYES["usual"])


def test_baselines_differ_in_dashes_too():
    looks = [str(look["linestyle"]) for look in style.BASELINES.values()]
    assert len(set(looks)) == len(looks) == 3


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


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("size", [(3, 2), (8.2, 4.34), (0.1 + 4.5, 0.42 * 7 + 1.4), (9.5, 3.7)])
def test_a_picture_is_what_matplotlib_draws(size, scale):
    figure, ax = plots.figure(*size)
    ax.plot([0, 1], [0, 1])
    before = figure.canvas, figure.dpi
    drawn, out = Image.open(io.BytesIO(plots.png(figure, scale))).convert("RGB"), io.BytesIO()
    assert (figure.canvas, figure.dpi) == before
    figure.savefig(out, format="png", dpi=plots.DPI * scale)
    truth = Image.open(out).convert("RGB")
    assert drawn.size == truth.size
    assert np.abs(np.asarray(drawn, float) - np.asarray(truth, float)).mean() < 2


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
