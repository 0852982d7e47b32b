"""Scans: simulated ones whose truth is known, and the real ones of PneumoniaMNIST for those who fetch them.

A simulated scan is 28 x 28 pixels: two bright organs, forty smooth ways in which anatomies differ (the *modes*), a
hospital's scanner with its gain and noise, and in some scans an anomaly of known kind, size and place. Hospitals
differ in scanner and in case mix. Every scan is then brought to mean 0 and standard deviation 1, as each hospital can
do by itself, so the gain is gone; the noise is not. Where a number is not cited it is stated here and nowhere
measured: these are no patients.

To every engine of the course a scan is a row of 784 numbers.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from fedlab_utils._arguments import brief, number, one_of, whole
from fedlab_utils.data import sources
from fedlab_utils.fleet.randomness import SCANS, generator

SIDE = 28
PIXELS = SIDE * SIDE
NORMAL = "normal"
KINDS = {  # of anomalies, each in three sizes: heights (an organ is 1.5 high), for "missing" shares
    "nodule": (0.7, 1.0, 1.4),
    "dot": (1.0, 1.5, 2.2),
    "line": (0.5, 0.75, 1.1),
    "missing": (0.5, 0.75, 1.0),
    "texture": (0.25, 0.4, 0.6),
    "shadow": (0.4, 0.7, 1.1),
}
HOSPITALS = ("Northgate", "Lakeside", "Riverside", "Millbrook", "Harbour")
ROWS = (120, 60, 40, 25, 15)  # normal training scans
GAINS = (1.0, 0.8, 1.2, 1.5, 0.6)
NOISE = (0.25, 0.3, 0.25, 0.35, 0.3)  # of a pixel, before the gain
_CASE_MIX, _MIXED = 0.7, 6  # how far hospitals' means lie apart, along so many modes
_BLOBS = {"nodule": 1.3, "dot": 0.55, "shadow": 5.0}  # widths in pixels
URL = "https://zenodo.org/records/10519652/files/pneumoniamnist.npz?download=1"
PARTS = ("train", "val", "test")  # of the published file
FILE, MD5 = "pneumoniamnist.npz", "28209eda62fecd6e6a2d98b1501bb15f"  # as MedMNIST v2 publishes it
_Y, _X = np.mgrid[0:SIDE, 0:SIDE].astype(float)


@dataclass(frozen=True, eq=False, repr=False)
class Scans:
    """Scans of one kind and size from one hospital.

    Attributes
    ----------
    pixels
        ``[n, 784]``, each scan with mean 0 and standard deviation 1.
    kind, size
        "normal" or a kind of `KINDS`, and its size (0 for normal).
    mask
        Pixels in which the anomaly reaches half its largest value, ``[n, 784]``, true or false.
    brightness, contrast
        Mean and standard deviation of each scan as it left the scanner, ``[n]``.
    """

    pixels: np.ndarray
    kind: str
    size: float
    mask: np.ndarray
    brightness: np.ndarray
    contrast: np.ndarray

    def __len__(self) -> int:
        return len(self.pixels)

    def __repr__(self) -> str:
        return f"Scans({len(self)} x {self.kind}{f' {self.size:g}' if self.size else ''})"


@dataclass(frozen=True, eq=False, repr=False)
class ScanHospital:
    """One hospital's scans.

    Attributes
    ----------
    name
        Its name.
    train
        Normal scans to learn from, ``[n, 784]``.
    normal
        Other normal scans, to test with.
    abnormal
        Scans with an anomaly, by kind and size.
    """

    name: str
    train: np.ndarray
    normal: Scans
    abnormal: Mapping[tuple[str, float], Scans]

    def __repr__(self) -> str:
        return f"ScanHospital({self.name!r}, {len(self.train)} normal scans to train, {len(self.abnormal)} kinds)"


@dataclass(frozen=True, eq=False)
class Anatomy:
    """What normal scans are made of.

    Attributes
    ----------
    mean
        The average scan, ``[784]``.
    modes
        Ways in which scans differ, ``[modes, 784]``; a patient has each with a standard normal weight.
    """

    mean: np.ndarray
    modes: np.ndarray

    def draw(self, n: int, rng: np.random.Generator, shift: np.ndarray | float = 0.0) -> np.ndarray:
        """`n` anatomies without noise, ``[n, 784]``; `shift` moves the weights of the first modes."""
        weights = rng.standard_normal((n, len(self.modes)))
        weights[:, :_MIXED] += np.broadcast_to(shift, (min(_MIXED, weights.shape[1]),))
        return self.mean + weights @ self.modes

    def subspace(self) -> np.ndarray:
        """Orthonormal directions that hold every anatomy of every gain and brightness, ``[modes + 2, 784]``."""
        return np.linalg.qr(np.vstack([self.mean, np.ones(PIXELS), self.modes]).T)[0].T


@dataclass(frozen=True, eq=False, repr=False)
class ScanNetwork:
    """Hospitals that could learn together what a normal scan looks like.

    Attributes
    ----------
    hospitals
        One `ScanHospital` each.
    anatomy
        What their scans are made of; None for real ones.
    """

    hospitals: tuple[ScanHospital, ...]
    anatomy: Anatomy | None = None

    def __repr__(self) -> str:
        rows = [len(h.train) for h in self.hospitals]
        return f"ScanNetwork({len(rows)} hospitals, {rows} normal scans to train)"

    @property
    def train(self) -> list[np.ndarray]:
        """Each hospital's normal scans."""
        return [h.train for h in self.hospitals]

    @property
    def cases(self) -> list[tuple[str, float]]:
        """Kinds and sizes of anomalies that hospitals have."""
        return list(dict.fromkeys(case for h in self.hospitals for case in h.abnormal))


def _scans(raw: np.ndarray, kind: str, size: float, mask: np.ndarray | None = None) -> Scans:
    mask = np.zeros(raw.shape, dtype=bool) if mask is None else mask
    return Scans(standardised(raw), kind, float(size), mask, raw.mean(1), raw.std(1))


def standardised(scans: np.ndarray) -> np.ndarray:
    """Each scan with mean 0 and standard deviation 1, ``[n, 784]``; a scan without any contrast becomes 0."""
    spread = scans.std(1, keepdims=True)
    return (scans - scans.mean(1, keepdims=True)) / np.where(spread > 0, spread, 1)


def anatomy(seed: int = 0, *, modes: int = 40, smoothness: float = 2.0) -> Anatomy:
    """Two organs and smooth random modes.

    Parameters
    ----------
    seed
        Of the modes.
    modes
        How many. Their strength falls evenly from 0.35 to a quarter of that.
    smoothness
        Standard deviation, in pixels, of the bell curve that white noise is smoothed with (edges wrap around).

    Raises
    ------
    ValueError
        If an argument cannot be.
    """
    modes, smoothness = whole("modes", modes), number("smoothness", smoothness)
    frequency = np.fft.fftfreq(SIDE)
    bell = np.exp(-2 * (np.pi * smoothness) ** 2 * (frequency[:, None] ** 2 + frequency**2))
    white = generator(seed, SCANS, 0).standard_normal((modes, SIDE, SIDE))
    smooth = np.fft.ifft2(np.fft.fft2(white) * bell).real
    smooth /= smooth.std((1, 2), keepdims=True)
    strength = 0.35 * np.linspace(1, 0.25, modes)
    organs = sum(np.exp(-((_X - x) ** 2) / 18 - (_Y - 14) ** 2 / 60) for x in (8, 20))
    return Anatomy(1.5 * organs.ravel(), smooth.reshape(modes, PIXELS) * strength[:, None])


def simulate(
    seed: int = 0,
    *,
    kinds: Mapping[str, Sequence[float]] | None = None,
    rows: Sequence[int] = ROWS,
    test: tuple[int, int] = (200, 60),
    modes: int = 40,
    smoothness: float = 2.0,
    noise: float = 1.0,
) -> ScanNetwork:
    """Up to five hospitals, their scanners and their patients, all from one seed.

    Another seed is another anatomy, other hospitals and other patients. A hospital's normal scans do not depend on
    `kinds`, and all sizes of a kind are planted into the same scans at the same places, so that sizes compare.

    Parameters
    ----------
    seed
        Of everything.
    kinds
        Kinds of anomalies and their sizes; None is `KINDS`.
    rows
        Normal training scans of each hospital, one to five numbers.
    test
        Normal test scans of each hospital, and abnormal ones of each kind and size.
    modes, smoothness
        As in `anatomy`.
    noise
        Times the usual noise of each scanner.

    Raises
    ------
    ValueError
        If an argument cannot be, in one sentence.
    """
    kinds = _checked_kinds(KINDS if kinds is None else kinds)
    rows = [whole("rows", n) for n in _some("rows", rows, range(1, 6))]
    n_normal, n_abnormal = (whole("test", n) for n in _some("test", test, [2]))
    noise = number("noise", noise)
    world = anatomy(seed, modes=modes, smoothness=smoothness)
    hospitals = []
    for h, n in enumerate(rows):
        shift = _CASE_MIX * generator(seed, SCANS, 1, h).standard_normal(min(_MIXED, modes))

        def scan(clean: np.ndarray, rng: np.random.Generator, h: int = h) -> np.ndarray:
            return GAINS[h] * (clean + noise * NOISE[h] * rng.standard_normal(clean.shape))

        def normal(n: int, stream: int, scan=scan, shift=shift, h: int = h) -> np.ndarray:
            rng = generator(seed, SCANS, stream, h)
            return scan(world.draw(n, rng, shift), rng)

        abnormal = {}
        for k, kind in enumerate(KINDS):
            for size in kinds.get(kind, ()):
                rng = generator(seed, SCANS, 4, h, k)
                clean = world.draw(n_abnormal, rng, shift)
                planted = plant(kind, clean, size, rng)
                height = np.abs(planted - clean)
                mask = height > height.max(1, keepdims=True) / 2
                abnormal[kind, size] = _scans(scan(planted, rng), kind, size, mask)
        tests = _scans(normal(n_normal, 3), NORMAL, 0.0)
        hospitals.append(ScanHospital(HOSPITALS[h], standardised(normal(n, 2)), tests, abnormal))
    return ScanNetwork(tuple(hospitals), world)


def plant(kind: str, scans: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Scans with an anomaly each, at a place drawn for each of them.

    Parameters
    ----------
    kind
        "nodule" (a bright spot some pixels wide), "dot" (one pixel), "line", "missing" (a hole in an organ), "texture"
        (a disc of grain) or "shadow" (a broad brightness).
    scans
        Anatomies without noise, ``[n, 784]``.
    size
        Height of what is added; for "missing" the share that is gone.
    rng
        Draws places, lengths and angles, and grain.

    Raises
    ------
    ValueError
        If there is no such kind.
    """
    one_of("kind", kind, list(KINDS))
    n = len(scans)
    x, y = rng.uniform(6, 22, (2, n))[:, :, None, None]
    away = np.hypot(_X - x, _Y - y)
    if kind in _BLOBS:
        shape = np.exp(-(away**2) / (2 * _BLOBS[kind] ** 2))
    elif kind == "line":
        angle, half = rng.uniform(0, np.pi, (n, 1, 1)), rng.uniform(4, 7, (n, 1, 1))
        along = np.cos(angle) * (_X - x) + np.sin(angle) * (_Y - y)
        across = np.cos(angle) * (_Y - y) - np.sin(angle) * (_X - x)
        shape = np.exp(-(across**2) / (2 * 0.6**2)) / (1 + np.exp((np.abs(along) - half) / 0.5))
    elif kind == "texture":
        shape = _disc(away, 5.0) * rng.standard_normal((n, SIDE, SIDE))
    else:
        x = np.where(rng.random((n, 1, 1)) < 0.5, 8, 20) + rng.uniform(-1, 1, (n, 1, 1))
        away = np.hypot(_X - x, _Y - rng.uniform(10, 18, (n, 1, 1)))
        shape = -_disc(away, 2.5) * scans.reshape(n, SIDE, SIDE)
    return scans + size * shape.reshape(n, PIXELS)


def _disc(away: np.ndarray, radius: float) -> np.ndarray:
    """1 within the radius, 0 outside, and a soft edge."""
    return 1 / (1 + np.exp((away - radius) / 0.6))


def _some(name: str, value, lengths: Sequence[int]) -> list:
    """A sequence of one of these lengths."""
    try:
        found = list(value) if not isinstance(value, str) else None
    except TypeError:
        found = None
    if found is None or len(found) not in lengths:
        many = " to ".join(str(n) for n in dict.fromkeys((min(lengths), max(lengths))))
        raise ValueError(f"{name} must be a sequence of {many} numbers; got {brief(value)}.")
    return found


def _checked_kinds(kinds) -> dict[str, list[float]]:
    if not isinstance(kinds, Mapping):
        raise ValueError(f"kinds must map kinds of anomalies to sizes, as KINDS does; got {brief(kinds)}.")
    return {
        one_of("kinds", kind, list(KINDS)): [number("kinds", size) for size in _some("kinds", sizes, range(20))]
        for kind, sizes in kinds.items()
    }


# ---------------------------------------------------------------- real scans


def pneumoniamnist(seed: int = 0, *, rows: Sequence[int] = ROWS, test: int = 150) -> ScanNetwork:
    """Real chest X-rays of children, dealt out at random to hospitals that never were: PneumoniaMNIST.

    28 x 28 pixels, normal or pneumonia; CC BY 4.0 (Yang et al. 2023, MedMNIST v2, doi:10.1038/s41597-022-01721-8). The
    folder `pneumoniamnist` in the one that the environment variable FEDLAB_DATA_DIR names is looked at first, then the
    cache, then the archive. Where an anomaly is, nobody wrote down, so masks are empty.

    Parameters
    ----------
    seed
        Of the deal.
    rows
        Normal training scans of each hospital, from the published training part.
    test
        Scans to test with, as many normal as abnormal ones, in all hospitals together; from the published test part
        alone, as one child may have scans in both of the others, which were cut from the same source.

    Raises
    ------
    ValueError
        If an argument cannot be, there are fewer scans than asked for, or the file is damaged.
    OSError
        If the file has to be downloaded and cannot be.
    """
    rows = [whole("rows", n) for n in _some("rows", rows, range(1, 6))]
    test = whole("test", test, len(rows))
    scans, ill = (np.concatenate(parts) for parts in _real())
    part = np.repeat(PARTS, [len(own) for own in _real()[1]])
    rng = generator(seed, SCANS, 5)
    groups = ((part == "train") & ~ill, (part == "test") & ~ill, (part == "test") & ill)
    dealt = [rng.permutation(np.flatnonzero(group)) for group in groups]
    for name, asked, found in zip(("rows", "test", "test"), (sum(rows), test, test), dealt, strict=True):
        if asked > len(found):
            raise ValueError(f"{name} must ask for at most {len(found)} scans in all; got {asked}.")
    hospitals = []
    for h, train in enumerate(np.split(dealt[0][: sum(rows)], np.cumsum(rows)[:-1])):
        normal, abnormal = (scans[d[h : test : len(rows)]] for d in dealt[1:])
        ill_ones = {("pneumonia", 0.0): _scans(abnormal, "pneumonia", 0.0)}
        hospitals.append(ScanHospital(HOSPITALS[h], standardised(scans[train]), _scans(normal, NORMAL, 0.0), ill_ones))
    return ScanNetwork(tuple(hospitals))


@lru_cache(maxsize=1)
def _real() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Scans ``[n, 784]`` and who is ill ``[n]``, of the three published parts."""
    with np.load(pneumoniamnist_file(), allow_pickle=False) as file:
        parts = [(file[f"{part}_images"], file[f"{part}_labels"]) for part in PARTS]
    scans = [images.reshape(len(images), PIXELS).astype(float) for images, _ in parts]
    return scans, [labels.ravel() == 1 for _, labels in parts]


def pneumoniamnist_file() -> Path:
    """Path of the published file, with its published checksum (MD5); downloaded on the first call.

    Raises
    ------
    ValueError
        If the file in the folder of FEDLAB_DATA_DIR has the wrong checksum.
    OSError
        If the file cannot be downloaded, or arrived damaged.
    """
    given = os.environ.get("FEDLAB_DATA_DIR")
    if given and (path := Path(given) / "pneumoniamnist" / FILE).is_file():
        if hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest() != MD5:
            raise ValueError(f"{path} is damaged or another version: its MD5 checksum is wrong.")
        return path
    return sources.fetch(URL, f"md5:{MD5}", FILE, "pneumoniamnist", "with the simulated scans, images.simulate()")
