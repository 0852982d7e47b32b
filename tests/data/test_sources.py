"""The data sets of real patients: published numbers, files, caches and downloads."""

import functools
import hashlib
import http.server
import threading

import numpy as np
import pandas as pd
import pytest
import torch

from fedlab_utils import data
from fedlab_utils.data import sources

# ---------------------------------------------------------------- tables inside scikit-learn


def test_the_published_median_halves_the_diabetes_table():
    raw = data.load_raw("diabetes")
    assert raw["target"].median() == data.sources.DIABETES_MEDIAN


def test_malignant_is_the_positive_class():
    some = data.load("breast_cancer").pooled()
    assert torch.cat([some.y_train, some.y_test]).sum() == 212  # 212 malignant and 357 benign in the data card


PUBLISHED = {"Cleveland": (199, 104), "Hungary": (172, 89), "Switzerland": (30, 16), "VA": (85, 45)}


# ---------------------------------------------------------------- the table and the published protocol


def test_published_sizes_features_and_majority(heart_disease):
    some = data.load("heart_disease", protocol="flamby")
    assert {h.name: (len(h.X_train), len(h.X_test)) for h in some.hospitals} == PUBLISHED
    assert some.n_features == 13 and some.task == "binary"
    majority = [max(h.y_test.mean().item(), 1 - h.y_test.mean().item()) for h in some.hospitals]
    assert np.round(majority, 3).tolist() == [0.538, 0.629, 0.938, 0.778]
    assert some.hospitals[2].y_train.mean() == 1  # Switzerland's training rows are all positive
    assert any("Switzerland" in line for line in some.report)


def test_published_scaling_is_each_hospitals_own(heart_disease):
    """Standard deviations by one row less, as torch and pandas count; pooled: with all training rows."""
    some = data.load("heart_disease", protocol="flamby")
    columns = some.feature_names
    for h in some.hospitals:
        own = (h.test[columns] - h.train[columns].mean()) / h.train[columns].std().replace(0, 1)
        np.testing.assert_allclose(h.X_test, own, atol=1e-5)
    pooled = some.pooled()
    together = (pooled.test[columns] - pooled.train[columns].mean()) / pooled.train[columns].std()
    np.testing.assert_allclose(pooled.X_test, together, atol=1e-5)
    assert torch.equal(some.transform(pooled.test), pooled.X_test)
    assert len(some.messages) == len(some.ledger) == 0  # no hospital tells anything


def test_published_rows_by_hand(heart_disease):
    raw = heart_disease.drop(columns=["slope", "ca", "thal"]).dropna()
    assert raw.groupby("hospital", sort=False).size().tolist() == [303, 261, 46, 130]
    some = data.load("heart_disease", protocol="flamby")
    cleveland = pd.concat([some.hospitals[0].train, some.hospitals[0].test])
    ours = raw[raw["hospital"] == "Cleveland"]
    assert sorted(cleveland["chol"]) == sorted(ours["chol"])
    assert cleveland["disease"].sum() == (ours["num"] > 0).sum()
    for level in (2, 3, 4):
        assert cleveland[f"cp_{level}"].sum() == (ours["cp"] == level).sum()
    assert "cp_1" not in cleveland and "restecg_0" not in cleveland


def test_other_seeds_are_other_splits_of_that_kind(heart_disease):
    first, second = data.replicates("heart_disease", 2, protocol="flamby")
    assert {h.name: (len(h.X_train), len(h.X_test)) for h in second.hospitals} == PUBLISHED
    assert not first.hospitals[0].train.equals(second.hospitals[0].train)


def test_without_protocol_zeros_are_missing(heart_disease):
    some = data.load("heart_disease")
    rows = {h.name: len(h.train) + len(h.test) for h in some.hospitals}
    assert rows == {"Cleveland": 303, "Hungary": 294, "Switzerland": 123, "VA": 200}
    assert (heart_disease["chol"] == 0).groupby(heart_disease["hospital"]).sum()[["Switzerland", "VA"]].tolist() == [
        123,
        49,
    ]
    swiss = next(h for h in some.hospitals if h.name == "Switzerland")
    assert swiss.train["chol"].isna().all() and (swiss.X_train[:, some.feature_names.index("chol")].abs() < 1e-6).all()
    assert not (some.pooled().train[["chol", "trestbps"]] == 0).any().any()
    assert {"cp_1", "cp_2", "cp_3", "cp_4", "restecg_0"} <= set(some.feature_names)
    assert not {"slope", "ca", "thal", "num"} & set(some.hospitals[0].train)
    assert any("zeros" in line for line in some.report)


# ---------------------------------------------------------------- files: the given folder, the cache, the archive


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """An archive in a folder with four small files, their checksums, and an empty cache."""
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()
    files = {}
    for hospital, (name, _) in sources.HEART_FILES.items():
        text = "63,1,1,145,233,1,2,150,0,2.3,3,0,6,0\n67,1,4,160,?,0,2,108,1,1.5,2,3,3,2\n"
        (served / name).write_text(text)
        files[hospital] = (name, hashlib.sha256((served / name).read_bytes()).hexdigest())
    monkeypatch.setattr(sources, "HEART_FILES", files)
    monkeypatch.setattr(sources, "HEART_URL", serve(served))
    monkeypatch.setattr(sources, "_cache", lambda: cache)
    monkeypatch.delenv("FEDLAB_DATA_DIR", raising=False)
    yield served, cache
    stop()


SERVERS = []


def serve(folder):
    """Serve `folder` on this machine alone; returns the address."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    SERVERS.append(server)
    return f"http://127.0.0.1:{server.server_port}/"


def stop():
    while SERVERS:
        server = SERVERS.pop()
        server.shutdown()
        server.server_close()


def test_a_download_is_cached(archive):
    served, cache = archive
    raw = data.load_raw("heart_disease")
    assert len(raw) == 8 and raw["chol"].isna().sum() == 4 and list(raw)[:2] == ["hospital", "age"]
    assert sorted(p.name for p in cache.iterdir()) == sorted(p.name for p in served.iterdir())
    stop()
    assert data.load_raw("heart_disease").equals(raw)  # without the archive


@pytest.mark.parametrize("damage", [lambda b: b[:-5], lambda b: b.replace(b"145", b"146"), lambda b: b""])
def test_a_damaged_download_is_refused_and_leaves_nothing(archive, damage):
    served, cache = archive
    path = served / "processed.cleveland.data"
    good = path.read_bytes()
    path.write_bytes(damage(good))
    with pytest.raises(OSError, match=r"processed\.cleveland\.data arrived damaged.*breast_cancer"):
        data.load_raw("heart_disease")
    assert not cache.exists() or not list(cache.iterdir())
    path.write_bytes(good)
    assert len(data.load_raw("heart_disease")) == 8


def test_a_damaged_cache_is_fetched_again(archive):
    _, cache = archive
    data.load_raw("heart_disease")
    (cache / "processed.va.data").write_text("nonsense")
    assert len(data.load_raw("heart_disease")) == 8


def test_no_network_and_no_files(archive):
    _, cache = archive
    stop()
    with pytest.raises(OSError) as error:
        data.load("heart_disease")
    message = str(error.value)
    assert "network" in message and "breast_cancer" in message and "FEDLAB_DATA_DIR" in message
    assert message.endswith(".") and "\n" not in message
    assert not cache.exists() or not list(cache.iterdir())


def test_the_given_folder_comes_first(archive, tmp_path, monkeypatch):
    served, cache = archive
    given = tmp_path / "given with blanks" / "heart_disease"
    given.mkdir(parents=True)
    for path in served.iterdir():
        (given / path.name).write_bytes(path.read_bytes())
    stop()
    monkeypatch.setenv("FEDLAB_DATA_DIR", str(given.parent))
    assert len(data.load_raw("heart_disease")) == 8 and not cache.exists()
    (given / "processed.va.data").write_text("nonsense")
    with pytest.raises(ValueError, match="processed.va.data is damaged"):
        data.load_raw("heart_disease")
