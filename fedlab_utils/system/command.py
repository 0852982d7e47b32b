"""`python course.py run`: a system from a file to a report, without a notebook.

What goes wrong is one sentence on standard error. A report is written whole or not at all.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import warnings
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from fedlab_utils import system
from fedlab_utils._command import DONE, exit_code
from fedlab_utils._command import FAILED as FAILED
from fedlab_utils._command import WRONG as WRONG
from fedlab_utils.system import own_table
from fedlab_utils.system.outcome import STAGES, Outcome
from fedlab_utils.system.settings import Settings

LIMITS = own_table.Limits(size=200_000_000, lines=1_000_000, columns=1_000)
_MOST_LETTERS = 400_000  # bytes of a file of settings; it has a limit of its own in characters

_ABOUT = f"""Run a system that a file of settings describes, and write its privacy report.

The table is a CSV file in UTF-8 with commas and a first line of column names, of {LIMITS}. It is read where the
settings say data.table = "own".
Exit codes: 0 done; 2 the settings or the table are wrong, one sentence says how; 1 anything else."""


class Wrong(ValueError):
    """The settings or the table cannot be used, in one sentence."""


def main(arguments: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit code."""
    options = _parser().parse_args(arguments)
    left = "No report was written."
    return exit_code(lambda: _run(options), after=left, stopped=left)


def _parser() -> argparse.ArgumentParser:
    presets = ", ".join(_presets()) or "none yet"
    parser = argparse.ArgumentParser("course.py run", description=_ABOUT, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("file", help=f"settings as TOML, or the name of a preset ({presets})")
    parser.add_argument("--table", type=Path, help="one's own table, CSV, one row a patient")
    parser.add_argument("--report", type=Path, required=True, help="where the page goes, such as out.html")
    parser.add_argument("--stop-after", metavar="STAGE", help=f"one of: {', '.join(map(_hyphened, STAGES))}")
    return parser


def _presets() -> dict[str, Settings]:
    return getattr(system, "PRESETS", {})


def _hyphened(stage: str) -> str:
    return stage.replace(" ", "-")


def _run(options: argparse.Namespace) -> int:
    report = _place(options.report, options)
    settings = _settings(options.file)
    stop = _stage(options.stop_after, settings)
    own = settings.data.table == "own"
    if options.table is None and own:
        raise Wrong('--table must be given, since the settings say data.table = "own".')
    if options.table is not None and not own:
        raise Wrong(f'--table goes with data.table = "own"; the settings say {settings.data.table!r}.')
    table = _table(options.table) if own else None
    outcome = Outcome(settings)
    with warnings.catch_warnings():
        warnings.showwarning = _note
        warnings.simplefilter("default")
        for outcome in system.stages(settings, table=table):
            done = outcome.stages[-1]
            _say(f"{done}: {outcome.seconds[done]:.1f} s")
            if stop is not None and STAGES.index(done) >= STAGES.index(stop):
                break
        start = time.perf_counter()
        page = outcome.report()
    _write(report, page)
    _say(f"report: {time.perf_counter() - start:.1f} s, {len(page) // 1000 + 1} kB in {report}")
    return DONE


def _settings(name: str) -> Settings:
    """Settings from a file, or a preset."""
    path = Path(name)
    if not path.is_file():
        if name in _presets():
            return _presets()[name]
        presets = f" and no preset ({', '.join(_presets())})" if _presets() else ""
        raise Wrong(f"{name!r} is no file{presets}.")
    if path.stat().st_size > _MOST_LETTERS:
        raise Wrong(f"{name!r} must be settings of at most {_MOST_LETTERS:,} bytes; it has {path.stat().st_size:,}.")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Wrong(f"{name!r} must be text in UTF-8.") from None
    return Settings.from_toml(text)


def _stage(name: str | None, settings: Settings) -> str | None:
    """The stage after which to stop, if the settings ask for it."""
    if name is None:
        return None
    there = Outcome(settings).left
    stage = next((s for s in there if name in (s, _hyphened(s))), None)
    if stage is None:
        raise Wrong(f"--stop-after must be one of {', '.join(map(_hyphened, there))}; got {name!r}.")
    return stage


def _place(report: Path, options: argparse.Namespace) -> Path:
    """Where the report goes; refused before anything runs if it cannot."""
    if report.suffix.lower() not in (".html", ".htm"):  # a slip must not write over a table
        raise Wrong(f"--report must be a file that ends in .html; got {str(report)!r}.")
    if report.is_dir() or not report.parent.is_dir():
        raise Wrong(f"--report must be a file in a folder that exists; got {str(report)!r}.")
    for other in (options.table, Path(options.file)):
        if other is not None and report.exists() and other.exists() and report.samefile(other):
            raise Wrong(f"--report must be another file than {str(other)!r}.")
    return report


def _table(path: Path) -> pd.DataFrame:
    """The table in a file."""
    if not path.is_file():
        raise Wrong(f"--table must be a file; {str(path)!r} is none.")
    with open(path, "rb") as file:
        return own_table.read(file, name="--table", limits=LIMITS)


def _write(path: Path, page: str) -> None:
    """Whole or not at all."""
    new = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        new.write_text(page, encoding="utf-8")
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _note(message, category, filename, lineno, file=None, line=None) -> None:
    _say(f"note: {' '.join(str(message).split())}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
