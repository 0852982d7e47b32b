"""What all checks share, those in tests and the notebooks themselves."""

import os

# Before torch is loaded: with more threads, small matrices and parallel tests only wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "agg")
os.environ.setdefault("FEDLAB_STRICT", "1")  # live labs raise what goes wrong instead of telling the learner

import pytest
from hypothesis import settings

# A slow machine is no mistake, and the same examples every time make a failure repeatable.
settings.register_profile("course", deadline=None, derandomize=True)
settings.load_profile("course")


def runs_a_lesson(nodeid):
    return "_version_runs" in nodeid


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="run the short version of each lesson, too")


def pytest_collection_modifyitems(config, items):
    """The runs of whole lessons take longest: they come first, so that no worker is left alone with one.

    That short versions run is read off the source (tools/cells.py) unless --all wants them run.
    """
    if not config.getoption("--all"):
        config.hook.pytest_deselected(items=[item for item in items if "short_version_runs" in item.nodeid])
        items[:] = [item for item in items if "short_version_runs" not in item.nodeid]
    items.sort(key=lambda item: not runs_a_lesson(item.nodeid))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Deal parallel workers whole files, so that a notebook's cells stay together, and lessons' runs singly.

    Marks with --dist loadgroup would say the same; pytest-xdist 3.8 does not heed them with pytest 9.2.
    """
    from xdist.scheduler import LoadFileScheduling

    class Portions(LoadFileScheduling):
        def _split_scope(self, nodeid):
            return nodeid if runs_a_lesson(nodeid) else super()._split_scope(nodeid)

    return Portions(config, log)


@pytest.fixture(scope="session")
def heart_disease():
    """The raw table of four real hospitals; without files and network the test is skipped."""
    from fedlab_utils import data

    try:
        return data.load_raw("heart_disease")
    except OSError as reason:
        pytest.skip(f"heart_disease is not at hand: {reason}")
