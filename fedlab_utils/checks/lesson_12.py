"""Exercises of lesson 12."""

from __future__ import annotations

import numpy as np

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, picked, question, well_done


@exercise
def covariance_of_sums(yours):
    "a function of a list of (n, sum of scans [d], sum of outer products [d, d]) that returns the covariance [d, d]"
    rng = np.random.default_rng(12)
    scans = [rng.normal(h, 1 + h, (n, 4)).round(2) for h, n in enumerate((9, 4, 2))]
    parts = [(len(x), x.sum(0), x.T @ x) for x in scans]
    pooled = np.vstack(scans)
    n, right = len(pooled), np.cov(pooled.T, bias=True)
    first, second = pooled.sum(0), pooled.T @ pooled
    each = [np.cov(x.T, bias=True) for x in scans]
    means = np.mean([x.mean(0) for x in scans], axis=0)
    mistakes = {
        "You forgot to take the outer product of the mean away: these are mean products, not a covariance.": second / n,
        "You averaged the hospitals' own covariances. How far the hospitals' *means* lie apart is lost.": (
            sum(len(x) * c for x, c in zip(scans, each, strict=True)) / n
        ),
        "You averaged the hospitals' own covariances, and all hospitals alike. Add up the sums first.": (
            np.mean(each, axis=0)
        ),
        "Your mean is the mean of the hospitals' means. A hospital with two scans then counts as much as one with "
        "nine: divide the sum of all by the number of all.": second / n - np.outer(means, means),
        "You divide by n - 1 somewhere. Here everything is divided by n.": np.cov(pooled.T),
        "That is n times the covariance: a sum was not divided.": right * n,
        "You took the *sum* of scans for the mean: divide it by n before the outer product.": (
            second / n - np.outer(first, first)
        ),
        "The mean stands twice in its outer product, so the sum has to be divided by n *squared*.": (
            second / n - np.outer(first, first) / n
        ),
        "You added up the hospitals' own covariances. Add up the *sums*, and use the formula once.": (
            np.sum(each, axis=0)
        ),
        "You subtracted the squares of the mean from every row. The *outer product* of the mean is a matrix.": (
            second / n - (first / n) ** 2
        ),
        "That is the covariance of the first hospital alone.": each[0],
        "That is the mean. The covariance was asked for.": first / n,
        "Those are variances only; components need all pairs of pixels.": np.diag(right),
        "You divide by the number of hospitals. How many *scans* are there?": (
            second / len(parts) - np.outer(first, first) / len(parts) ** 2
        ),
    }
    return (
        compare(yours(parts), right, what="the covariance", mistakes=mistakes)
        or compare(
            yours(parts[1:]), np.cov(np.vstack(scans[1:]).T, bias=True), what="with two hospitals, the covariance"
        )
        or well_done("Three sums, and nobody's scan: the covariance of all scans in one place, to the last digit.")
    )


def _smooth(images: np.ndarray) -> np.ndarray:
    """Each image ``[n, 28, 28]`` smoothed by its neighbours; edges wrap around."""
    found = images.copy()
    for axis in (1, 2):
        found = (np.roll(found, 1, axis) + 2 * found + np.roll(found, -1, axis)) / 4
    return found


@exercise
def odd_spot(yours):
    "a function of residuals [n, 28, 28] and a function `smooth` that returns a score for each scan [n]"
    rng = np.random.default_rng(7)
    size = np.array([1.0, 0.4, 2.0, 1.0, 0.7])[:, None, None]
    residual = size * rng.normal(size=(5, 28, 28))
    residual[1, 10:13, 5:8] += 3.0
    residual[3, 20:23, 17:20] -= 4.0
    residual += np.array([0.0, 0.2, 0.0, 0.1, 0.3])[:, None, None]
    noise = 1.4826 * np.median(np.abs(residual), axis=(1, 2))
    smooth = _smooth(residual)
    right = np.abs(smooth).max((1, 2)) / noise
    spread = residual.std((1, 2))
    own = 1.4826 * np.median(np.abs(smooth), axis=(1, 2))
    centred = residual - np.median(residual, axis=(1, 2), keepdims=True)
    mistakes = {
        "You did not divide by the scan's own noise. A noisy scanner then scores high with nothing wrong.": (
            np.abs(smooth).max((1, 2))
        ),
        "You took the largest value, not the largest *size*: a dark spot is an anomaly too.": smooth.max((1, 2))
        / noise,
        "You did not smooth. One pixel of noise then beats a spot of nine.": np.abs(residual).max((1, 2)) / noise,
        "You smoothed the *sizes*. Noise of both signs then no longer cancels: smooth first.": (
            _smooth(np.abs(residual)).max((1, 2)) / noise
        ),
        "You divided by the standard deviation, which a bright spot raises itself. The median of the sizes hardly "
        "moves.": np.abs(smooth).max((1, 2)) / spread,
        "You took the noise of the *smoothed* residual. Its large patches are what we look for: take it before.": (
            np.abs(smooth).max((1, 2)) / own
        ),
        "The 1.4826 is missing: the median size of normal noise is 0.67 standard deviations.": right * 1.4826,
        "You multiplied by the noise. Divide.": np.abs(smooth).max((1, 2)) * noise,
        "You took the mean over pixels. An anomaly is in one place: which value is the largest?": (
            np.abs(smooth).mean((1, 2)) / noise
        ),
        "You took the *mean* size for the noise, which a bright spot raises. The median hardly moves.": (
            np.abs(smooth).max((1, 2)) / np.abs(residual).mean((1, 2))
        ),
        "You took the median distance from the *median*. Here it is that from 0: what is left over has no other "
        "middle.": np.abs(smooth).max((1, 2)) / (1.4826 * np.median(np.abs(centred), axis=(1, 2))),
        "You took the sum over pixels. An anomaly is in one place: which value is the largest?": (
            np.abs(smooth).sum((1, 2)) / noise
        ),
        "You squared the score. The size alone was asked for.": right**2,
        "You divided all scans by one noise, that of all pixels together. Each scan has its own.": (
            np.abs(smooth).max((1, 2)) / (1.4826 * np.median(np.abs(residual)))
        ),
        "Your noise is the median of the residual, not of its *size*.": (
            np.abs(smooth).max((1, 2)) / (1.4826 * np.median(residual, axis=(1, 2)))
        ),
        "That is one number for all. Each scan needs a score: take the maximum over the two axes of pixels.": (
            np.abs(smooth).max() / noise.max()
        ),
        "That is the squared error, which 784 noisy pixels fill by themselves.": (residual**2).sum((1, 2)),
    }
    got = yours(residual, _smooth)
    if as_array(got, "the score").shape == residual.shape:
        return hint("That is a number for each pixel. Which one of them is the score of the scan?")
    return compare(got, right, what="the score", mistakes=mistakes) or compare(
        yours(residual[:2], lambda images: images), np.abs(residual[:2]).max((1, 2)) / noise[:2],
        what="with a `smooth` that changes nothing, the score",
    ) or well_done("It finds what is odd *in one place*, in units of this very scanner's noise.")  # fmt: skip


@question
def optimists(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "B": "B chose the number of components by the very scans that it reports. What does it get on new ones?",
        "D": "D had even more to choose from: every width and every number. What is left of it on new scans?",
        "A": "A looked at no label and at no test scan: its number goes up or down by chance. By how much, on average?",
        "C": "C hid pixels of *training* scans. That is choosing, too; but did it look at what it reports?",
    }
    nothing = "Somebody did. Compute each team's number once more on `new`, and compare the means."
    praise = "Choosing among enough models finds one that fits these few scans. New scans do not know of it."
    return picked(yours, "BD", nothing, hints, praise)
