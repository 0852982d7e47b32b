"""Simulated scans: what they are made of, that the same seed gives the same, and what is refused."""

import hashlib

import numpy as np
import pytest
from scipy.stats import kurtosis

from fedlab_utils.data import images
from tests.refusals import one_sentence

SMALL = dict(kinds={"nodule": (1.0, 2.0), "shadow": (1.0,)}, rows=(30, 6), test=(40, 20))


@pytest.fixture(scope="module")
def network():
    return images.simulate(3, **SMALL)


def test_shapes_names_and_standardised_scans(network):
    assert [h.name for h in network.hospitals] == ["Northgate", "Lakeside"] and len(network.train[0]) == 30
    assert network.cases == [("nodule", 1.0), ("nodule", 2.0), ("shadow", 1.0)]
    assert "2 hospitals, [30, 6]" in repr(network) and "20 x nodule 1" in repr(network.hospitals[0].abnormal)
    for h in network.hospitals:
        for scans in (h.train, h.normal.pixels, *(s.pixels for s in h.abnormal.values())):
            np.testing.assert_allclose([scans.mean(1), scans.std(1)], [0 * scans[:, 0], 1 + 0 * scans[:, 0]], atol=1e-9)
        assert len(h.normal) == 40 and not h.normal.mask.any() and len(h.abnormal["nodule", 1.0]) == 20


def test_the_same_seed_is_the_same_network_and_another_is_another_anatomy(network):
    again, other = images.simulate(3, **SMALL), images.simulate(4, **SMALL)
    np.testing.assert_array_equal(again.train[1], network.train[1])
    assert np.abs(other.anatomy.modes - network.anatomy.modes).max() > 0.1
    fewer = images.simulate(3, **SMALL | {"kinds": {"shadow": (1.0,)}})
    np.testing.assert_array_equal(fewer.hospitals[0].normal.pixels, network.hospitals[0].normal.pixels)
    found = [n.hospitals[1].abnormal["shadow", 1.0].pixels for n in (fewer, network)]
    np.testing.assert_array_equal(*found)


def test_no_patient_is_in_two_sets():
    """Without noise two scans of one patient would be nearly the same."""
    network = images.simulate(3, **SMALL | {"noise": 0.0, "kinds": {"nodule": (0.1,), "dot": (0.1,)}})
    sets = [s for h in network.hospitals for s in (h.train, h.normal.pixels, *(a.pixels for a in h.abnormal.values()))]
    rows = np.vstack(sets)
    alike = np.abs(rows @ rows.T / 784 - np.eye(len(rows)))
    assert alike.max() < 0.97


def test_sizes_of_a_kind_are_planted_into_the_same_scans_at_the_same_places(network):
    one, two = (network.hospitals[0].abnormal["nodule", size] for size in (1.0, 2.0))
    np.testing.assert_array_equal(one.mask, two.mask)
    assert 3 <= one.mask.sum(1).min() and one.mask.sum(1).max() <= 13  # a bell of 1.3 pixels, down to one half


def test_statistics_are_those_that_the_documentation_states():
    anatomy, rng = images.anatomy(0), np.random.default_rng(0)
    assert anatomy.modes.shape == (40, 784) and anatomy.mean.max() == pytest.approx(1.5, rel=0.05)
    strength = anatomy.modes.reshape(40, -1).std(1)
    np.testing.assert_allclose(strength, 0.35 * np.linspace(1, 0.25, 40), rtol=1e-6)
    drawn = anatomy.draw(4000, rng)
    weights = (drawn - anatomy.mean) @ np.linalg.pinv(anatomy.modes)
    np.testing.assert_allclose(np.cov(weights.T), np.eye(40), atol=0.12)
    shifted = anatomy.draw(4000, rng, np.full(6, 2.0)).mean(0) - anatomy.mean
    np.testing.assert_allclose(shifted, 2 * anatomy.modes[:6].sum(0), atol=0.1)
    left = drawn - drawn @ anatomy.subspace().T @ anatomy.subspace()
    assert np.abs(left).max() < 1e-9


def test_noise_is_the_scanners_and_gain_goes():
    quiet, usual = (images.simulate(5, kinds={}, noise=noise) for noise in (0.0, 1.0))
    for q, u, gain, noise in zip(quiet.hospitals, usual.hospitals, images.GAINS, images.NOISE, strict=True):
        expected = gain * np.hypot(q.normal.contrast.mean() / gain, noise)
        assert u.normal.contrast.mean() == pytest.approx(expected, rel=0.05)
        inside = quiet.anatomy.subspace()
        assert np.abs(q.train - q.train @ inside.T @ inside).max() < 1e-9


@pytest.mark.parametrize("kind", images.KINDS)
def test_what_is_planted_is_what_its_kind_says(kind):
    rng = np.random.default_rng(1)
    clean = images.anatomy(0).draw(50, rng)
    change = (images.plant(kind, clean, 1.0, rng) - clean).reshape(50, 28, 28)
    size = np.abs(change)
    pixels = (size > size.max((1, 2), keepdims=True) / 2).sum((1, 2)).mean()
    low, high = {"nodule": (6, 12), "dot": (1, 3), "line": (8, 25), "missing": (6, 25), "texture": (5, 30),
                 "shadow": (70, 150)}[kind]  # fmt: skip
    assert low <= pixels <= high
    if kind in ("nodule", "dot", "line", "shadow"):
        assert change.min() > -1e-9 and 0.7 < change.max((1, 2)).mean() <= 1.0
    if kind == "missing":
        organ = np.abs(images.anatomy(0).mean.reshape(28, 28)) > 0.7
        hottest = size.reshape(50, -1).argmax(1)
        assert organ.ravel()[hottest].mean() > 0.8
    if kind == "texture":
        assert kurtosis(change[size > 0.3].ravel()) < 3 and abs(change.mean()) < 0.02


@pytest.mark.parametrize(
    ("name", "wrong"),
    [("seed", -1), ("seed", "0"), ("kinds", {"ghost": (1.0,)}), ("kinds", ["nodule"]), ("kinds", {"nodule": 1.0}),
     ("kinds", {"nodule": ["big"]}), ("rows", ()), ("rows", (1,) * 6), ("rows", (0, 3)), ("rows", "12"), ("rows", 5),
     ("test", (0, 5)), ("test", 5), ("modes", 0), ("smoothness", "2"), ("noise", -1)],
)  # fmt: skip
def test_a_wrong_argument_gets_one_sentence(name, wrong):
    with one_sentence(name):
        images.simulate(**{"seed": 0, name: wrong})


def test_plant_refuses_a_kind_that_is_none():
    with one_sentence("kind"):
        images.plant("ghost", np.zeros((2, 784)), 1.0, np.random.default_rng(0))


# ---------------------------------------------------------------- real scans, from a file of the published form


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A file in the published form, of made-up scans, where FEDLAB_DATA_DIR says."""
    rng = np.random.default_rng(0)
    parts = {"train": 80, "val": 20, "test": 40}
    arrays = {f"{p}_images": rng.integers(0, 256, (n, 28, 28), dtype=np.uint8) for p, n in parts.items()}
    arrays |= {f"{p}_labels": (np.arange(n) % 2).astype(np.uint8)[:, None] for p, n in parts.items()}
    path = tmp_path / "pneumoniamnist" / images.FILE
    path.parent.mkdir()
    np.savez(path, **arrays)
    monkeypatch.setenv("FEDLAB_DATA_DIR", str(tmp_path))
    images._real.cache_clear()
    yield path, arrays
    images._real.cache_clear()


def test_real_scans_are_dealt_out_and_never_seen_twice(published, monkeypatch):
    path, arrays = published
    monkeypatch.setattr(images, "MD5", hashlib.md5(path.read_bytes()).hexdigest())
    network = images.pneumoniamnist(rows=(20, 10, 5), test=12)
    assert [len(p) for p in network.train] == [20, 10, 5] and network.cases == [("pneumonia", 0.0)]
    assert [len(h.normal) for h in network.hospitals] == [4, 4, 4] and network.anatomy is None
    everybody = np.vstack([p for h in network.hospitals for p in
                           (h.train, h.normal.pixels, h.abnormal["pneumonia", 0.0].pixels)])  # fmt: skip
    assert len(np.unique(everybody.round(9), axis=0)) == 35 + 24
    healthy = images.standardised(arrays["train_images"][::2].reshape(-1, 784).astype(float))
    assert all(np.abs(healthy - scan).max(1).min() < 1e-9 for scan in network.train[1])
    # One child may have scans in the training and the validation part: no scan to test with is from there.
    test = images.standardised(arrays["test_images"].reshape(-1, 784).astype(float))
    for h in network.hospitals:
        for scans in (h.normal, h.abnormal["pneumonia", 0.0]):
            assert all(np.abs(test - scan).max(1).min() < 1e-9 for scan in scans.pixels)
    with one_sentence("rows"):
        images.pneumoniamnist(rows=(41,), test=12)
    with one_sentence("test"):
        images.pneumoniamnist(rows=(10,), test=21)


def test_a_damaged_file_and_no_network_get_one_sentence(published, monkeypatch, tmp_path):
    with pytest.raises(ValueError, match="is damaged or another version: its MD5 checksum is wrong"):
        images.pneumoniamnist()
    monkeypatch.delenv("FEDLAB_DATA_DIR")

    def no_network(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("pooch.retrieve", no_network)
    with pytest.raises(OSError, match="pneumoniamnist.npz of pneumoniamnist could not be downloaded.*simulated scans"):
        images.pneumoniamnist()
