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


LONG = 400  # seconds that a lab may take for all of its limits: a kernel that hangs is ended
ONLY_ALL = ("class_version_runs", "short_version_runs", "made_in_the_book_environment")


def runs_a_lesson(nodeid):
    return "_version_runs" in nodeid


def order(item):
    """What takes longest comes first, so that no worker is left alone with it: whole lessons, then the browser's."""
    runs = runs_a_lesson(item.nodeid) or item.path.suffix == ".ipynb"
    return 0 if runs else 1 if "browser" in item.path.parts else 2


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="all of each class version, short versions and slides, too")


def pytest_collection_modifyitems(config, items):
    """Behind each lesson its labs go to their limits, in the kernel in which nbval has run it; the longest come first.

    That class versions and short versions run is read off the source (tools/cells.py) unless --all wants them run.
    """
    if not config.getoption("--all"):
        left_out = [item for item in items if any(name in item.nodeid for name in ONLY_ALL)]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in set(left_out)]
    last = {item.parent: item for item in items if item.path.suffix == ".ipynb" and item.name.startswith("Cell")}
    for parent, item in last.items():
        whole = sum(cell.cell_type == "code" for cell in parent.nb.cells) == item.cell_num + 1
        items[items.index(item) + 1 : items.index(item) + 1] = at_their_limits(parent, item) if whole else []
    items.sort(key=order)


def at_their_limits(notebook, cell):
    """An item for each lab of a lesson, and one that counts them; nothing for a notebook that is no lesson."""
    import lessons
    import nbformat

    if notebook.path.parent != lessons.LESSONS or not lessons.is_lesson(notebook.path):
        return []
    there = sum(c.source.count("widgets.lab(") for c in lessons.code_cells(notebook.nb))
    sources = {f"Lab {k}": lessons.SWEEP.format(k) for k in range(there)} | {"Labs": lessons.LABS.format(there)}
    about = dict(options=cell.options | {"check": False})
    return [
        type(cell).from_parent(
            notebook, name=name, cell_num=cell.cell_num + 1 + n, cell=nbformat.v4.new_code_cell(source), **about
        )
        for n, (name, source) in enumerate(sources.items())
    ]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """nbval runs a notebook's cells and looks for errors alone; what they show now must be fit to be shown, too."""
    options, patience = item.config.option, getattr(item.config.option, "nbval_cell_timeout", None)
    if item.name.startswith("Lab ") and item.path.suffix == ".ipynb":
        options.nbval_cell_timeout = LONG
    try:
        done = yield
    finally:
        options.nbval_cell_timeout = patience
    if outputs := getattr(item, "test_outputs", None):
        import lessons
        import nbformat

        nb = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(item.cell.source, outputs=outputs)])
        lessons.strip(nb)
        assert lessons.complaints(nb) == []
    return done


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
