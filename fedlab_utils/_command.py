"""What every command of the package does when something goes wrong: one sentence, and an exit code."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path

DONE, FAILED, WRONG = 0, 1, 2  # exit codes


def complain(text: str) -> None:
    """One sentence, on one line."""
    sys.stderr.write(f"{' '.join(text.split())}\n")
    sys.stderr.flush()


def exit_code(work: Callable[[], int], *, after: str = "", stopped: str = "") -> int:
    """Do the work of a command; what goes wrong is said, and becomes an exit code.

    Parameters
    ----------
    work
        Returns the exit code if all goes well. A ValueError says in one sentence what was given wrong.
    after
        A sentence that follows on any other failure: what that leaves behind.
    stopped
        A sentence that follows where somebody stopped it.
    """
    try:
        return work()
    except ValueError as error:
        complain(str(error))
        return WRONG
    except ConnectionError as error:
        complain(f"{error} {after}")
    except OSError as error:
        complain(f"{error.filename or 'A file'}: {error.strerror or type(error).__name__}. {after}")
    except KeyboardInterrupt:
        complain(f"Stopped. {stopped}")
    except Exception as error:  # what nobody thought of; its own words may hold a value of the table
        last = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(last.filename).name}, line {last.lineno}"
        complain(f"{type(error).__name__} in {where}: this should not happen. {after}")
    return FAILED
