"""`python course.py certificates`, `coordinator` and `hospital`: a training of several machines from the command line.

What goes wrong is one sentence on standard error. Whoever is stopped, by Ctrl-C or by a power cut, goes on from there
at the next start.
"""

from __future__ import annotations

import argparse
import errno
import math
import os
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from fedlab_utils._command import DONE, FAILED, WRONG, exit_code
from fedlab_utils.network import certificates
from fedlab_utils.network.identity import Member, read_request

PORT = 8443
_LONGEST = 400_000  # bytes of a plan
_TABLE = (200_000_000, 1_000_000, 1_000)  # at most so many bytes, lines, columns
_CODES = f"Exit codes: {DONE} done; {WRONG} something given is wrong, one sentence says what; {FAILED} anything else."


class Wrong(ValueError):
    """Something that was given cannot be used, in one sentence."""


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks for; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):  # a name may have letters that an old terminal has not
        stream.reconfigure(errors="replace") if hasattr(stream, "reconfigure") else None
    options = _parser().parse_args(arguments)
    if options.with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    return exit_code(lambda: options.do(options), stopped="The next start goes on from here.")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("course.py", description=__doc__, epilog=_CODES)
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)  # end when standard input does
    verbs = parser.add_subparsers(metavar="verb", required=True)
    _certificates(verbs.add_parser("certificates", help="keys, requests, and who may take part", epilog=_CODES))
    here = verbs.add_parser("coordinator", help="the machine that adds up", epilog=_CODES)
    here.add_argument("plan", help="what all agreed on, a TOML file that everybody has")
    here.add_argument("--folder", default="coordinator", help="its keys and its progress; coordinator if not said")
    here.add_argument("--host", default="0.0.0.0", help="where it listens: 0.0.0.0 is everywhere, 127.0.0.1 only here")
    here.add_argument("--port", type=int, default=PORT, help=f"{PORT} if not said")
    here.add_argument(
        "--wait", type=float, default=600.0, help="seconds to wait for everybody, later for anybody; 600 if not said"
    )
    here.set_defaults(do=_coordinator)
    there = verbs.add_parser("hospital", help="one hospital's part", epilog=_CODES)
    there.add_argument("plan", help="this hospital's own copy of what all agreed on")
    there.add_argument("--table", type=Path, help="its patients, a CSV file, one row a patient; needed the first time")
    there.add_argument(
        "--budget",
        help="epsilon for all trainings in its folder, if less than the plan's; stays for one kind of promise",
    )
    there.add_argument("--name", help="as in the plan; that of its certificate if not said")
    there.add_argument("--folder", help="its keys and its book; the name given, or hospital")
    there.add_argument("--dial", help="such as https://192.168.1.20:8443; the coordinator's certificate if not said")
    there.add_argument("--patience", type=float, help="seconds to dial a coordinator that is away; 600 if not said")
    there.add_argument("--flower", action="store_true", help="dial nobody: Flower's SuperNode on this machine does")
    there.set_defaults(do=_hospital)
    return parser


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(FAILED)


# ---------------------------------------------------------------- certificates


def _certificates(parser: argparse.ArgumentParser) -> None:
    does = parser.add_subparsers(metavar="what", required=True)
    one = does.add_parser("authority", help="make an authority, which says whose key is whose")
    one.add_argument("folder")
    one.add_argument("--days", type=int, default=365)
    one.set_defaults(do=_authority)
    one = does.add_parser(
        "request", help="make keys on the machine that will use them, and a request for a certificate"
    )
    one.add_argument("folder")
    one.add_argument("--name", required=True, help="as the plan has it")
    one.add_argument("--address", nargs="+", default=(), help="the coordinator alone: how others reach this machine")
    one.set_defaults(do=_request)
    one = does.add_parser("sign", help="write a certificate into the list of members")
    one.add_argument("authority")
    one.add_argument("request", nargs="+", type=Path)
    one.add_argument("--days", type=int, default=90)
    one.add_argument("--coordinator", action="store_true", help="this request is the coordinator's")
    one.set_defaults(do=_sign)
    one = does.add_parser("accept", help="take over the list of members that the authority handed out")
    one.add_argument("folder")
    one.add_argument("members", type=Path)
    one.set_defaults(do=_accept)
    one = does.add_parser("remove", help="take somebody off the list of members")
    one.add_argument("authority")
    one.add_argument("name")
    one.set_defaults(do=_remove)
    one = does.add_parser("show", help="who is in a list of members, or what a request asks for")
    one.add_argument("place", type=Path, help="a folder with a list of members, or a request")
    one.set_defaults(do=_show)


def _authority(options: argparse.Namespace) -> int:
    key = certificates.authority(options.folder, days=options.days)
    _say(f"The authority is in {options.folder}. Its key is {key}")
    _say(f"{certificates.AUTHORITY_KEY} stays on this machine; who has it can let anybody in.")
    return DONE


def _request(options: argparse.Namespace) -> int:
    asked = certificates.request(options.folder, options.name, options.address)
    _say(f"{asked}")
    _say(f"Send {Path(options.folder) / certificates.REQUEST} to the authority, and read the key aloud to them.")
    return DONE


def _sign(options: argparse.Namespace) -> int:
    for request in options.request:
        _say(f"{certificates.sign(options.authority, request, options.days, coordinator=options.coordinator)}")
    _say(f"Is each key what its owner reads aloud? Then hand {Path(options.authority) / certificates.MEMBERS} to all.")
    return DONE


def _accept(options: argparse.Namespace) -> int:
    _say(f"This is {certificates.accept(options.folder, options.members)}")
    _say(f"The authority's key is {certificates.authority_key(options.folder)}: is it what the authority reads aloud?")
    return DONE


def _remove(options: argparse.Namespace) -> int:
    gone = certificates.remove(options.authority, options.name)
    _say(f"{gone.name} is off the list.")
    _say(f"Hand {Path(options.authority) / certificates.MEMBERS} to all again: it holds where it was accepted.")
    return DONE


def _show(options: argparse.Namespace) -> int:
    found = certificates.members(options.place) if options.place.is_dir() else [read_request(options.place)]
    for member in found:
        _say(f"{member}{_lapsed(member)}")
    if not found:
        _say("Nobody is on the list yet.")
    return DONE


def _lapsed(member: Member) -> str:
    try:
        return certificates.in_time(member) or "" if member.until else " (asked for, not signed)"
    except ValueError:
        return " (does not hold today)"


# ---------------------------------------------------------------- the coordinator


def _coordinator(options: argparse.Namespace) -> int:
    from fedlab_utils.network.carrier import Listener
    from fedlab_utils.network.carriers import InProcess
    from fedlab_utils.network.coordinator import Coordinator

    agreement, folder = _plan(options.plan), Path(options.folder)
    own, registry = _own(folder), _registry(agreement, folder)
    if not own.coordinator:
        raise Wrong(f"{str(folder)!r} holds the certificate of {own.name!r}, a hospital; the coordinator has its own.")
    part = Coordinator(agreement, InProcess({}), folder / "training", registry=registry)  # a wrong folder shows here
    try:
        listener = Listener(agreement, folder, options.host, options.port, say=_say)
    except (OSError, OverflowError) as error:
        raise Wrong(_no_port(error, options)) from None
    part.carrier, done = listener, False
    try:
        _say(f"{agreement.name}: {len(agreement.hospitals)} hospitals, {agreement.training.rounds} rounds.")
        _say(f"Listening at {', '.join(own.addresses)}, port {listener.server_address[1]}. Ctrl-C stops.")
        if part.history:
            _say(f"Going on after round {len(part.history)}.")
        if missing := listener.wait_for(agreement.hospitals, options.wait):
            _say(f"Not here yet, and may come later: {', '.join(missing)}.")

        def told(record) -> None:
            _say(str(record))
            _somebody(listener, part, options.wait)

        _somebody(listener, part, options.wait)
        run = part.run(on_round=told)
        _say(f"Done. The model is in {folder / 'training'}, and with {', '.join(run.told) or 'nobody else'}.")
        done = True
    finally:
        listener.close(done=done)
    return DONE


def _somebody(listener, part, seconds: float) -> None:
    """Wait until a hospital is there: rounds to which nobody comes would all be over at once. 0 does not wait."""
    if seconds and len(part.history) < part.agreement.training.rounds and not listener.anybody(0):
        _say("Nobody is here; waiting.")
        if not listener.anybody(seconds):
            raise ConnectionError(f"Nobody is here. The next start goes on with round {len(part.history) + 1}.")


def _own(folder: Path):
    if not (folder / certificates.OWN).is_file():
        raise Wrong(
            f"--folder must be that of this machine's keys, with the list accepted; "
            f"{str(folder)!r} has no {certificates.OWN}."
        )
    return certificates.own(folder)


def _no_port(error: Exception, options: argparse.Namespace) -> str:
    where = f"port {options.port} of {options.host}"
    if getattr(error, "errno", None) == errno.EADDRINUSE:
        return f"{where.capitalize()} is taken, perhaps by a coordinator in another window: take another with --port."
    return f"{where.capitalize()} cannot be opened: {getattr(error, 'strerror', None) or error}."


# ---------------------------------------------------------------- a hospital


def _hospital(options: argparse.Namespace) -> int:
    from fedlab_utils.network.hospital import HospitalPart

    agreement = _plan(options.plan)
    folder = Path(options.folder or options.name or "hospital")
    name = _name(options, agreement, folder)
    agreement.number(name)
    carried = _by_flower(options) if options.flower else _by_https(options, folder)
    about: dict = dict(budget=_budget(options.budget, agreement))
    if registry := _registry(agreement, folder):
        about |= dict(registry=registry, signing_key=certificates.signing_key(folder))
    rows = _rows(options, agreement, name, folder)
    part = HospitalPart(agreement, rows, folder / "book", **about)
    _say(f"{name}, {len(rows.y_train)} rows for training, {agreement.training.rounds} rounds agreed on. Ctrl-C stops.")
    if part.purse.budget is not None:
        p = agreement.settings.promise
        _say(f"Its budget is epsilon {part.purse.budget:g} at delta {p.delta:g}; the plan has {p.epsilon:g}.")
        _say(f"Spent in this folder: epsilon {part.purse.spent():.2f}.")
    try:
        last = carried(_Told(part, agreement), name)
        if agreement.settings.promise.unit != "none":
            _say(f"Spent in this folder: epsilon {part.purse.spent():.2f}.")
    finally:
        part.close()
    _say(last)
    return DONE


def _name(options: argparse.Namespace, agreement, folder: Path) -> str:
    """The name in the certificate. Flower has keys of its own: without masks it goes without one."""
    if options.flower and not _signs(agreement) and not (folder / certificates.OWN).is_file():
        if not options.name:
            raise Wrong(f"--name must be given: as in the plan, one of {', '.join(agreement.hospitals)}.")
        return options.name
    own = _own(folder)
    if options.name not in (None, own.name):
        raise Wrong(f"--name must be {own.name!r}, whose certificate is in {str(folder)!r}; got {options.name!r}.")
    return own.name


def _by_https(options: argparse.Namespace, folder: Path) -> Callable:
    from fedlab_utils.network import dial

    url = options.dial or dial.of_the_coordinator(folder, PORT)
    dial.address(url)
    patience = 600.0 if options.patience is None else options.patience
    return lambda told, name: dial.serve(told, told.agreement, name, url, folder, patience=patience, say=_say)


def _by_flower(options: argparse.Namespace) -> Callable:
    from fedlab_utils.network.door import Door

    for word in ("dial", "patience"):
        if getattr(options, word) is not None:
            raise Wrong(f"--{word} must be left out with --flower: it is the SuperNode that dials.")

    def carried(told: _Told, name: str) -> str:
        if told.part.finished:
            return f"The training is over: its model came at an earlier start, into {told.book.folder}."
        with Door(told):
            _say("The door is open. Start the SuperNode of this machine with, among others,")
            _say(f"    --node-config 'folder=\"{told.book.folder.absolute().as_posix()}\"'")
            while not told.over.wait(0.2):  # in short pieces, so that Ctrl-C is noticed on Windows, too
                pass
        return "The training is over."

    return carried


class _Told:
    """A hospital's part that says what it does."""

    def __init__(self, part, agreement) -> None:
        self.part, self.agreement, self.book, self.over = part, agreement, part.book, threading.Event()

    def answer(self, request: bytes) -> bytes:
        from fedlab_utils.network.messages import as_refusal, unpack

        answer = self.part.answer(request)
        said = unpack(self.agreement, answer)
        if said.kind == "refusal":
            _say(f"refused: {as_refusal(said.payload)}")
        elif said.round > self.agreement.training.rounds:
            _say(f"The model that came out is in {self.book.folder}.")
            self.over.set()
        elif said.round:
            _say(f"round {said.round}: {said.kind}, {len(answer):,} bytes")
        return answer


def _budget(typed: str | None, agreement) -> float | None:
    """The hospital's own budget as it was typed."""
    if typed is None:
        return None
    try:
        found = float(typed)
    except ValueError:
        found = math.nan
    if not 0 < found < math.inf:
        raise Wrong(f"--budget must be one finite number above 0, epsilon at the plan's delta; got {typed[:40]!r}.")
    if agreement.settings.promise.unit == "none":
        raise Wrong(
            "--budget must be left out: this plan makes no promise, and an update without noise costs more than any."
        )
    return found


def _rows(options: argparse.Namespace, agreement, name: str, folder: Path):
    """The hospital's rows from its table; without one, those that were prepared at an earlier start."""
    from fedlab_utils.network import rows

    if options.table is None:
        try:
            return rows.load(name, agreement, folder)
        except ValueError:
            raise Wrong(f"--table must be given: no rows for this plan lie in {str(folder)!r} yet.") from None
    if not options.table.is_file():
        raise Wrong(f"--table must be a file; {str(options.table)!r} is none.")
    from fedlab_utils.network import columns
    from fedlab_utils.system import own_table

    with open(options.table, "rb") as file:
        table = own_table.read(file, name="--table", limits=own_table.Limits(*_TABLE))
    hospital = columns.prepared(table, agreement, name)
    rows.save(hospital, agreement, folder)
    return hospital


# ---------------------------------------------------------------- both


def _plan(file: str):
    from fedlab_utils.network.agreement import Agreement

    path = Path(file)
    if not path.is_file():
        raise Wrong(f"{file!r} is no file.")
    if path.stat().st_size > _LONGEST:
        raise Wrong(f"{file!r} must be a plan of at most {_LONGEST:,} bytes; it has {path.stat().st_size:,}.")
    try:
        return Agreement.from_toml(path.read_text(encoding="utf-8-sig"))
    except UnicodeDecodeError:
        raise Wrong(f"{file!r} must be text in UTF-8.") from None


def _signs(agreement) -> bool:
    return agreement.masked and agreement.network.malicious


def _registry(agreement, folder: Path) -> dict:
    """Public signing keys by number, where hospitals sign: from certificates, never from the coordinator."""
    if not _signs(agreement):
        return {}
    known = certificates.registry(certificates.members(folder))
    if missing := [name for name in agreement.hospitals if name not in known]:
        raise Wrong(f"The list of members in {str(folder)!r} lacks {missing[0]!r}, which the plan names.")
    return {agreement.number(name): known[name] for name in agreement.hospitals}


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
