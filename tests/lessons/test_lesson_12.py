"""Lesson 12: its exercises, what it builds by hand, and what it says about components, scores, scanners and sums."""

import cells
import lessons
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from scipy.stats import median_abs_deviation

from fedlab_utils import anomalies, plots
from fedlab_utils.data import images
from tests.lessons.helpers import drawn

# ---------------------------------------------------------------- exercises


def added(parts):
    return [sum(values) for values in zip(*parts, strict=True)]


def own_covariance(n, first, second):
    return second / n - np.outer(first, first) / n**2


def noise(r):
    return 1.4826 * np.median(np.abs(r), axis=(1, 2))


def second_of(parts, take):
    n, first, second = added(parts)
    return second / n - take(n, first, second)


def peak(r, smooth):
    return np.abs(smooth(r)).max((1, 2))


WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "covariance_of_sums": {
        "outer product of the mean away": lambda p: added(p)[2] / added(p)[0],
        "means* lie apart": lambda p: sum(n * own_covariance(n, a, b) for n, a, b in p) / added(p)[0],
        "all hospitals alike": lambda p: np.mean([own_covariance(*q) for q in p], axis=0),
        "mean of the hospitals' means": lambda p: second_of(
            p, lambda *_: np.outer(*2 * [np.mean([a / n for n, a, _ in p], axis=0)])
        ),
        "n - 1": lambda p: own_covariance(*added(p)) * added(p)[0] / (added(p)[0] - 1),
        "n times the covariance": lambda p: own_covariance(*added(p)) * added(p)[0],
        "*sum* of scans": lambda p: second_of(p, lambda n, a, b: np.outer(a, a)),
        "n *squared*": lambda p: second_of(p, lambda n, a, b: np.outer(a, a) / n),
        "added up the hospitals' own": lambda p: sum(own_covariance(*q) for q in p),
        "squares of the mean": lambda p: second_of(p, lambda n, a, b: (a / n) ** 2),
        "first hospital alone": lambda p: own_covariance(*p[0]),
        "That is the mean.": lambda p: added(p)[1] / added(p)[0],
        "variances only": lambda p: np.diag(own_covariance(*added(p))),
        "number of hospitals": lambda p: added(p)[2] / len(p) - np.outer(added(p)[1], added(p)[1]) / len(p) ** 2,
        "With two hospitals": lambda p: own_covariance(*added(p[:3])) if len(p) == 3 else own_covariance(*p[0]),
    },
    "odd_spot": {
        "noisy scanner then scores high": lambda r, s: peak(r, s),
        "a dark spot": lambda r, s: s(r).max((1, 2)) / noise(r),
        "did not smooth": lambda r, s: np.abs(r).max((1, 2)) / noise(r),
        "smoothed the *sizes*": lambda r, s: s(np.abs(r)).max((1, 2)) / noise(r),
        "standard deviation": lambda r, s: peak(r, s) / r.std((1, 2)),
        "*smoothed* residual": lambda r, s: peak(r, s) / noise(s(r)),
        "1.4826 is missing": lambda r, s: peak(r, s) / noise(r) * 1.4826,
        "multiplied by the noise": lambda r, s: peak(r, s) * noise(r),
        "which a bright spot raises. The median": lambda r, s: peak(r, s) / np.abs(r).mean((1, 2)),
        "distance from the *median*": lambda r, s: (
            peak(r, s) / median_abs_deviation(r.reshape(len(r), -1), axis=1, scale="normal")
        ),
        "sum over pixels": lambda r, s: np.abs(s(r)).sum((1, 2)) / noise(r),
        "squared the score": lambda r, s: (peak(r, s) / noise(r)) ** 2,
        "mean over pixels": lambda r, s: np.abs(s(r)).mean((1, 2)) / noise(r),
        "one noise, that of all": lambda r, s: peak(r, s) / (1.4826 * np.median(np.abs(r))),
        "not of its *size*": lambda r, s: peak(r, s) / (1.4826 * np.median(r, axis=(1, 2))),
        "one number for all": lambda r, s: np.abs(s(r)).max() / noise(r).max(),
        "squared error": lambda r, s: (r**2).sum((1, 2)),
        "number for each pixel": lambda r, s: np.abs(s(r)) / noise(r)[:, None, None],
    },
    "optimists": {
        "Somebody did": set(),
        "B chose": {"D"},
        "even more to choose from": {"B"},
        "no label and at no test scan": {"A", "B", "D"},
        "hid pixels of *training*": {"B", "C", "D"},
        "none of the letters": {"B", "E"},
    },
}


def by_loops(parts):
    n = sum(p[0] for p in parts)
    d = len(parts[0][1])
    mean = [sum(float(p[1][i]) for p in parts) / n for i in range(d)]
    return [[sum(float(p[2][i, j]) for p in parts) / n - mean[i] * mean[j] for j in range(d)] for i in range(d)]


RIGHT = {
    "covariance_of_sums": [
        by_loops,
        lambda p: torch.tensor(own_covariance(*added(p))),
        lambda p: pd.DataFrame(own_covariance(*added(p))),
        lambda p: (added(p)[2] * added(p)[0] - np.outer(added(p)[1], added(p)[1])) / added(p)[0] ** 2,
    ],
    "odd_spot": [
        lambda r, s: [float(np.abs(one).max() / (1.4826 * np.median(np.abs(raw)))) for one, raw in zip(s(r), r)],  # noqa: B905
        lambda r, s: torch.tensor(peak(r, s) / noise(r)),
        lambda r, s: np.abs(s(r / noise(r)[:, None, None])).max((1, 2)),
        lambda r, s: pd.Series(np.maximum(s(r).max((1, 2)), -s(r).min((1, 2))) / noise(r)),
    ],
    "optimists": [{"B", "D"}, ["d", "b"], "B, D"],
}


# ---------------------------------------------------------------- what the lesson builds by hand


SOURCE = lessons.SOURCES / "12_medical_images.py"


@pytest.fixture(scope="module")
def lesson():
    """The lesson's own short functions and tables, without its long runs."""
    return cells.definitions(
        SOURCE, *"networks one names sums parts using together SCORES few new tested teams".split()
    )


def of_size(table, size=1.0):
    return table.query("size == @size")["auc"].mean()


def test_solutions_are_what_the_package_does(lesson):
    solution, one = cells.solutions(SOURCE), lesson["one"]
    fit = anomalies.fit(one.train)
    variances = np.linalg.eigvalsh(solution["covariance_of_sums"](lesson["parts"]))[::-1]
    np.testing.assert_allclose(variances[:60], fit.variances[:60], atol=1e-9)
    left = fit.residual(one.hospitals[0].normal.pixels[:5])

    def smooth(x):  # a bell of length 1, with signs
        from fedlab_utils.anomalies import scores

        bell = scores._bell(1.3, unit=True)
        return np.fft.irfft2(np.fft.rfft2(x) * bell, s=(28, 28))

    mine = solution["odd_spot"](left.reshape(-1, 28, 28), smooth)
    theirs = anomalies.SCORES["blob / own noise"](fit, one.hospitals[0].normal.pixels[:5])
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)


# ---------------------------------------------------------------- what the lesson says


def test_squared_error_is_near_chance_where_the_blob_is_not_and_everybody_gains(lesson):
    network, model, using, scores = lesson["networks"][1], lesson["together"][1], lesson["using"], lesson["SCORES"]
    assert of_size(anomalies.judged(network, using(scores["squared error"], model))) < 0.57
    blob = anomalies.judged(network, using(scores["blob"], model)).query("size == 1").set_index("hospital")["auc"]
    own = [anomalies.from_rows(h.train, count=40) for h in network.hospitals]
    alone = anomalies.judged(network, [using(scores["blob"], m) for m in own]).query("size == 1")
    alone = alone.set_index("hospital")["auc"]
    assert blob.min() > 0.68 and (blob > alone).all() and alone["Northgate"] > 0.65 and alone[1:].max() < 0.62


def test_teams_b_and_d_report_what_new_scans_do_not_confirm(lesson):
    fall = {team: [] for team in "ABCD"}
    for network, model in list(zip(lesson["networks"], lesson["together"], strict=True))[:2]:
        for hospital in network.hospitals:
            for team, settled in lesson["teams"](model, 45, hospital).items():
                few, new = (lesson["tested"](hospital, *settled, lesson[part]) for part in ("few", "new"))
                fall[team].append(few - new)
    fall = {team: np.mean(values) for team, values in fall.items()}
    assert min(fall["B"], fall["D"]) > 0.05 and max(fall["A"], fall["C"]) < 0.04


def test_a_noisy_scanner_gets_the_false_alarms_unless_scans_are_measured_in_their_own_noise(lesson):
    shares = {}
    for name in ("squared error", "blob / own noise"):
        pairs = zip(lesson["networks"], lesson["together"], strict=True)
        found = [anomalies.false_alarms(n, lesson["using"](lesson["SCORES"][name], m)) for n, m in pairs]
        shares[name] = pd.concat(found, axis=1).mean(axis=1)
    assert shares["squared error"]["Millbrook"] > 0.12 and shares["squared error"].drop("Millbrook").max() < 0.06
    assert shares["blob / own noise"].max() < 0.09


def test_the_noise_of_stretched_scans_varies_and_units_of_the_own_noise_find_more(lesson):
    scores, using = lesson["SCORES"], lesson["using"]
    for network, model in list(zip(lesson["networks"], lesson["together"], strict=True))[:2]:
        error = scores["squared error"](model, network.hospitals[0].normal.pixels)
        assert error.std() / error.mean() > 3 * np.sqrt(2 / 744)  # what noise of one size alone would give
        names = ("blob", "blob / own noise")
        plain, scaled = (of_size(anomalies.judged(network, using(scores[name], model))) for name in names)
        assert scaled > plain + 0.03


def test_one_total_tells_who_is_in_it(lesson):
    total = sum((anomalies.sums_of(h) for h in lesson["one"].train[1:]), anomalies.sums_of(lesson["one"].train[0]))
    strength, axes = np.linalg.eigh(total.second)
    spanned = axes[:, strength > 1e-8 * strength.max()]
    assert spanned.shape[1] == 260

    def out(scans):
        return 1 - ((scans @ spanned) ** 2).sum(1) / (scans**2).sum(1)

    assert np.abs(out(np.vstack(lesson["one"].train))).max() < 1e-6
    assert min(out(h.normal.pixels).min() for h in lesson["one"].hospitals) > 0.002


def test_two_totals_hold_the_scan_of_who_is_new(lesson):
    patient = lesson["one"].hospitals[-1].normal.pixels[7]
    monday = anomalies.together([anomalies.sums_of(h) for h in lesson["one"].train])
    gained = monday + anomalies.sums_of(patient[None]) - monday
    np.testing.assert_allclose(gained.first, patient, atol=1e-9)


def test_the_rare_anatomy_is_remembered():
    pooled = np.vstack(images.simulate(100, kinds={}, test=(1, 1)).train)
    usual, rare = pooled[:1], np.roll(pooled[:1].reshape(1, 28, 28), -5, axis=1).reshape(1, -1)
    less = []
    for target in (usual, rare):
        left = [(anomalies.from_rows(scans, 40).residual(target) ** 2).sum()
                for scans in (pooled[1:], np.vstack([pooled[1:], target]))]  # fmt: skip
        less.append(1 - left[1] / left[0])
    assert less[0] < 0.6 and less[1] > 0.85


# ---------------------------------------------------------------- figures


def test_figures_draw():
    rng = np.random.default_rng(0)
    scans, mask = rng.normal(size=(4, 784)), np.zeros((4, 784), dtype=bool)
    mask[2, 100:103] = True
    rows = {"A": 12, "B": 3}
    table = pd.DataFrame([
        dict(model=m, hospital=h, replicate=k, auc=rng.uniform(0.4, 1))
        for m in ("alone", "together") for h in rows for k in range(3)
    ])  # fmt: skip
    grid, errors = [5, 20, 40], {"hidden": pd.Series([0.3, 0.2, 0.25], [5, 20, 40])}
    live = pd.DataFrame([dict(count=c, where=w, auc=0.6) for c in grid for w in ("Harbour", "all hospitals")])
    pictures = {"scan": scans[0], "left over": scans[1]}
    made = [
        plots.scan_grid(scans),
        plots.scan_grid(scans, mask, scans),
        plots.component_pictures(pictures),
        plots.left_over({"alone": pictures, "together": pictures}, (3, 4)),
        plots.alone_or_together(table, rows),
        plots.cliff(pd.DataFrame(rng.uniform(0.5, 0.9, (2, 3)), columns=grid), dict.fromkeys(errors, 20), errors),
        plots.by_scanner({"score": pd.DataFrame({"A": [0.1, 0.2], "B": [0.0, 0.01]})}, {"A": 0.25, "B": 0.3}),
        plots.kinds_by_score(pd.DataFrame({"one": [0.5, 0.9], "two": [0.6, 0.7]}, index=["nodule", "dot"])),
        plots.private_scans({"epsilon 1": [0.5, 0.6], "no promise": [0.9, 0.9]}, [260, 2600]),
        plots.scans_live(live, 20, pictures, (3, 4)),
    ]
    assert all(isinstance(f, Figure) and drawn(f) for f in made)
    assert all(0 <= ax.get_ylim()[0] and ax.get_ylim()[1] <= 1 for ax in made[4].axes)


def test_a_rule_looks_the_same_in_both_panels():
    errors = {name: pd.Series([2.0, 1.0], index=[10, 20]) for name in ("hidden pixels", "held-out error")}
    rules = pd.Series({"90% of variance": 10, "held-out error": 20, "hidden pixels": 10})
    left, right = plots.cliff(pd.DataFrame({10: [0.5, 0.6], 20: [0.7, 0.8]}), rules, errors).axes
    look = {line.get_label().split(":")[0]: (line.get_color(), line.get_marker()) for line in left.lines}
    for line in right.lines:
        if line.get_label() in errors:
            assert look[line.get_label()] == (line.get_color(), line.get_marker())
    assert look["hidden pixels"] != look["held-out error"]
