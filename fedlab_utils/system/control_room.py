"""The control room: a whole system on one page, without code.

Controls on the left; on the right the system as it is set, how well it predicts, what it promises and has cost, what an
attacker finds, and what travels. Every run that was shown counts in the ledger. What is shown stands in `board`, the
controls in `desk`.
"""

from __future__ import annotations

import base64
import html
import io
import platform
import re
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as W
import pandas as pd

from fedlab_utils._progress import listening
from fedlab_utils.federated.runs import Diverged, FederatedRun
from fedlab_utils.system import board, own_table, pipeline
from fedlab_utils.system.account import Account
from fedlab_utils.system.desk import OWN, Desk
from fedlab_utils.system.outcome import Outcome
from fedlab_utils.system.report import accounted
from fedlab_utils.system.settings import Settings
from fedlab_utils.widgets import NotAtHand, controls
from fedlab_utils.widgets.files import Download, Upload
from fedlab_utils.widgets.live import REPAINT, Lab, first_look
from fedlab_utils.widgets.screen import STYLE, Screen

LIMITS = own_table.Limits(size=5_000_000, lines=20_000, columns=60, categories=50)
ABOUT_TABLES = (
    f"A CSV file with commas and a first line of names: {LIMITS}. Texts with more than {LIMITS.categories} different "
    "values are left out. The table goes to the machine that runs this page and no further: "
)
_NO_TABLE = "There is no table of yours yet: choose a CSV file below, under Files."
_MOST_SETTINGS = 100_000  # bytes of a file of settings
_GROUPS = {  # headings, and the names of the controls below each
    "System": ("preset", "splits"),
    "Hospitals": ("table", "hospitals", "skew", "statistics"),
    "My own table": ("target", "hospital", "patient", "drop"),
    "Invented patients": ("invented", "invented_epsilon", "share", "on"),
    "Training": ("rounds", "dropout", "through"),
    "Promise of the training": ("unit", "epsilon", "clip"),
    "Attacker": ("attack",),
}


class Board(Screen):
    """A screen for HTML, with the look of the control room."""

    _css = STYLE.read_text(encoding="utf-8") + Path(__file__).with_name("room.css").read_text(encoding="utf-8")


class ControlRoom(Lab):
    """The page; name it in the last line of a cell to display it.

    Parameters
    ----------
    preset, scale
        Where the controls start: a name of `system.PRESETS`, and "quick" or "full".

    Attributes
    ----------
    desk
        The controls.
    outcome
        Of the newest run, as far as it has come.
    pinned
        The outcome beside which others are shown.
    shown
        What each run has released, broken off or not: the promise is about all of them.
    """

    def __init__(self, preset: str = "ours", scale: str = "full") -> None:
        self.desk, self.pinned = Desk(preset, scale), None
        self.outcome: Outcome | None = None
        self.shown: list[Outcome] = []
        super().__init__(self._play, "Control room", self.desk.controls)
        first_look(self)

    # ------------------------------------------------ a run

    def _play(self, show, **_values) -> None:
        """Run the system as the controls stand, and show it stage by stage."""
        show.setting = "as set now"
        table = self._table()
        settings = self.desk.settings()
        show.setting = self._set(settings)
        before, going, outcome = self.outcome, None, Outcome(settings, source=table)

        def paint(account: Account | None = None, everything: Account | None = None) -> None:
            shown = board.parts(outcome, going=going, account=account, everything=everything, pinned=self.pinned)
            show(shown, board.headline(outcome, going, account), alt=board.ALT, done=_share(outcome, going))

        def hear(label: str, share: float) -> None:
            show.tick(_share(outcome, going, share))

        def look(run: FederatedRun) -> None:
            nonlocal going
            going = run
            if time.perf_counter() - self._painted >= REPAINT:  # a page is composed for those rounds that are painted
                paint()
            else:
                show.tick(_share(outcome, going))

        paint()
        try:
            with listening(hear), self._in_words(), warnings.catch_warnings():
                warnings.simplefilter("ignore", Diverged)  # the page says it
                for outcome in pipeline.stages(settings, table=table, earlier=before, on_round=look):
                    self.outcome, going = outcome, None
                    paint()
                    if outcome.left in ((), ("attack",)) and "attack" not in outcome.stages:
                        self._note(outcome)
                        account = accounted(outcome)
                        paint(account)
                        everything = accounted(outcome, self._earlier(outcome))
                        paint(account, everything)
                if "attack" in outcome.stages:
                    paint(account, everything)
        except Exception:  # stopped, or gone wrong: what was seen by then was seen
            if going is not None:
                self.outcome = outcome = pipeline.broken_off(outcome, going)
            self._note(outcome)
            raise

    @contextmanager
    def _in_words(self) -> Iterator[None]:
        """What is refused names the controls."""
        try:
            yield
        except ValueError as reason:
            raise ValueError(self.desk.in_words(str(reason))) from reason

    def _set(self, settings: Settings) -> str:
        """Which system it is, and what has been changed in it."""
        changed = [f"{path} {now}" for path, _, now in board.differences(self.desk.base, settings)]
        changed = [one for one in changed if not one.startswith(("scale", "checks.attack"))]
        but = f", but {', '.join(changed)}" if changed else ""
        return f"System {settings.name}{but}; {settings.seeds} splits"

    def _table(self) -> pd.DataFrame | None:
        if self.desk.controls["table"].value != OWN:
            return None
        if self.desk.frame is None:
            raise NotAtHand(_NO_TABLE)
        return self.desk.frame

    def _note(self, outcome: Outcome) -> None:
        """Keep what a run has released, without its models; a run that is only shown again has nothing new."""
        if any(o.ledgers is outcome.books for o in self.shown):
            return
        bare = dict(synthetic=(), maker=None, trained=None, trained_on=(), baselines=None, clinical=None)
        self.shown.append(replace(outcome, ledgers=outcome.books, attacks=None, calibration=None, **bare))

    def _earlier(self, outcome: Outcome) -> list[Outcome]:
        """What was shown before about the same patients; all own tables of a page count as that, or one of them opened
        again would begin with an empty ledger.
        """
        table = outcome.settings.data.table
        others = [o for o in self.shown if o.ledgers is not outcome.books]
        return [o for o in others if o.settings.data.table == table]

    # ------------------------------------------------ the page

    def _build(self) -> None:
        names = {name: controls.named(name, control) for name, control in self.controls.items()}
        self._screen = Board(names=names, cancel=self.cancel, large=lambda: None, first="words")
        rows = dict(zip(self.controls, controls.rows(self.controls), strict=True))
        groups = []
        for title, members in _GROUPS.items():
            group = W.VBox([_heading(title), *(rows[name] for name in members)])
            if "target" in members:
                self.desk.controls["table"].observe(lambda _c, g=group: self._show_own(g), "value")
                self._show_own(group)
            groups.append(group)
        side = W.VBox([*groups, self._beside(), self._files()])
        side.add_class("fedlab-side")
        page = W.Box([side, self._screen])
        page.add_class("fedlab-columns")
        self.root = W.VBox([page])
        for name in ("fedlab-lab", "fedlab-room"):
            self.root.add_class(name)

    def _show_own(self, group: W.Box) -> None:
        group.layout.display = None if self.desk.controls["table"].value == OWN else "none"

    def _beside(self) -> W.Box:
        pin = W.Button(description="Pin this run", tooltip="Show the next runs beside this one")
        free = W.Button(description="Take the pin off")
        pin.on_click(lambda _b: self.pin())
        free.on_click(lambda _b: self.unpin())
        return W.VBox([_heading("Compare"), W.HBox([pin, free])])

    def _files(self) -> W.Box:
        where = html.escape(platform.node() or "this machine")
        return W.VBox([
            _heading("Files"),
            Download("Privacy report (HTML)", self._report), Download("These settings (TOML)", self._toml),
            W.HTML(f"<p>{html.escape(ABOUT_TABLES)}<b>{where}</b>.</p>"),
            Upload("Open my own table (CSV)", ".csv", LIMITS.size, self.take_table),
            Upload("Open settings (TOML)", ".toml", _MOST_SETTINGS, self.take_settings),
        ])  # fmt: skip

    def _render(self, parts: Mapping[str, str]) -> dict[str, str]:
        return {name: str(part) for name, part in parts.items()}

    def _paint(self, figure, sentence: str, alt: str, picture: Any) -> None:
        with self._screen.hold_sync():
            self._screen.parts = picture
            super()._paint(None, sentence, alt, b"")
        self.png = picture

    def _still(self) -> str:
        return "".join(map(_without_svg, self.png.values())) if self.png else ""

    # ------------------------------------------------ what buttons do

    def pin(self) -> None:
        """Show the runs to come beside this one."""
        outcome = self.outcome
        if outcome is not None and outcome.trained is not None and not set(outcome.left) - {"attack"}:
            self.pinned = outcome
            self._request()

    def unpin(self) -> None:
        """Show runs by themselves again."""
        self.pinned = None
        self._request()

    def take_table(self, content: bytes) -> str:
        """Use a table of one's own, from the bytes of a CSV file; returns what came, in a sentence.

        Raises
        ------
        ValueError
            With one sentence, if it is too large or no such table.
        """
        frame = own_table.read(io.BytesIO(content), name="The table", limits=LIMITS)
        out = own_table.many_texts(frame, LIMITS)
        if len(frame.columns) - len(out) < 2 or len(frame) < 2:
            raise ValueError("The table must have two columns and two rows at least that something can be learnt from.")
        self.desk.use(frame, out)
        self._request()  # another table may leave every control as it stands
        left = f" Left out, for too many different texts: {', '.join(out)}." if out else ""
        return f"{len(frame):,} rows and {len(frame.columns)} columns.{left} Now choose which column to predict."

    def take_settings(self, content: bytes) -> str:
        """Set the controls from the bytes of a file of settings; returns what came, in a sentence.

        Raises
        ------
        ValueError
            With one sentence, if they are none.
        """
        try:
            settings = Settings.from_toml(content.decode("utf-8-sig"))
        except UnicodeDecodeError:
            raise ValueError("The settings must be text in UTF-8.") from None
        self.desk.take(settings)
        return f"The controls stand as {settings.name!r} has it; repetition and attacker as before."

    def _report(self) -> tuple[str, str]:
        outcome = self.outcome  # a run may put another in its place meanwhile
        if outcome is None:
            raise ValueError("Nothing has been run yet.")
        return f"{_plain(outcome.settings.name)}-report.html", outcome.report(earlier=self._earlier(outcome))

    def _toml(self) -> tuple[str, str]:
        settings = self.desk.settings()
        return f"{_plain(settings.name)}.toml", settings.to_toml()


def _share(outcome: Outcome, going: FederatedRun | None, of_stage: float | None = None) -> float:
    """How much of a run is done, each stage for as much."""
    left = len(outcome.left) + (not outcome.stages)
    whole = len(outcome.stages) + left
    if of_stage is None and going is not None:
        of_stage = going.rounds / outcome.settings.training.rounds
    return (len(outcome.stages) + (of_stage or 0.0)) / max(whole, 1)


def _heading(title: str) -> W.HTML:
    return W.HTML(f"<h2>{html.escape(title)}</h2>")


def _plain(name: str) -> str:
    return re.sub(r"[^\w-]+", "-", name).strip("-") or "system"


def _without_svg(part: str) -> str:
    """A part whose drawings are pictures: pages that nobody trusts yet show these, and no SVG."""
    return re.sub(r"<svg.*?</svg>", lambda found: _picture(found.group()), part, flags=re.DOTALL)


def _picture(svg: str) -> str:
    told = re.search(r"<desc[^>]*>(.*?)</desc>", svg, flags=re.DOTALL)
    style = f"<style>{board.DRAWN}</style>"
    whole = re.sub(r"<svg\b([^>]*)>", rf'<svg xmlns="http://www.w3.org/2000/svg"\1>{style}', svg, count=1)
    code = base64.b64encode(whole.encode()).decode()
    return f'<img alt="{told.group(1) if told else ""}" src="data:image/svg+xml;base64,{code}" width="860">'
