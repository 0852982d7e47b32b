"""Live labs: controls, one picture, and one sentence that reads the picture aloud.

A lesson writes a function that computes and shows, and names a control for each of its parameters::

    def together(show, federation, rounds):
        ...
        show(figure, "With 5 rounds the AUC is 0.741.", alt="Two rising curves ...", done=0.3)

    widgets.lab(together, federation=widgets.data_choice(data.load, data.names(), own),
                rounds=widgets.slider(1, 40, 10, label="Rounds"))

Each change runs the function again in a background thread, which alone paints. The newest setting wins: a run for an
older one is stopped at its next `show` or `show.tick`.

Where FEDLAB_STRICT or CI is set in the environment, `lab` waits for the end of its first run and raises what went wrong
in it. A learner gets a sentence instead, and a long run goes on while the cell is done.
"""

from __future__ import annotations

import html
import inspect
import os
import threading
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import ipywidgets as W
from IPython.display import display

from fedlab_utils import plots
from fedlab_utils.widgets import controls as _controls
from fedlab_utils.widgets.controls import NotAtHand
from fedlab_utils.widgets.screen import Screen

DEBOUNCE = 0.05  # s; a burst of changes is one change
PATIENCE = 0.3  # s before progress bar and Cancel appear
REPAINT = 0.2  # s between two pictures, at least
FIRST_WAIT = 5.0  # s that a cell waits for its first run, once it has a picture: beside the cells below both are slow

WAKING = "This lab is asleep. To move its controls, run the cells above it, then this cell (Shift+Enter)."


class Stopped(Exception):
    """Raised inside a run that nobody waits for any more; let it pass."""


class Timing(NamedTuple):
    """Seconds from the change of a control; None where it has not happened."""

    first_picture: float | None = None
    complete: float | None = None


class _Show:
    """What a run gets as its first argument: one for each run."""

    def __init__(self, lab: Lab, number: int, asked: float):
        self._lab, self._number, self._asked = lab, number, asked
        self._pending = None
        self.setting, self.first_picture = "", None

    def __call__(self, figure, sentence: str, *, alt: str, done: float | None = None) -> None:
        """Show a picture and the sentence under it; may be called again with a better one.

        Parameters
        ----------
        figure
            A ``matplotlib.figure.Figure``.
        sentence
            Reads the picture aloud, with the numbers just computed.
        alt
            Says what the picture shows, for those who cannot see it.
        done
            How much of the run is done, from 0 to 1.
        """
        for name, text in (("sentence", sentence), ("alt", alt)):
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"{name} must be a text that is not empty; it is {text!r}.")
        self._pending = (figure, sentence, alt)
        if self.first_picture is None:
            self._pause()
        self.tick(done)

    def tick(self, done: float | None = None) -> None:
        """Move the progress bar; raises Stopped if nobody waits for this run any more."""
        self._check()
        if done is not None:
            self._lab._progress(done)
        if self._pending and time.perf_counter() - self._lab._painted >= REPAINT:
            self._paint()

    def _check(self) -> None:
        if self._lab._wanted != self._number:
            raise Stopped("a newer setting was chosen")
        if self._lab._cancelled == self._number:
            raise Stopped("cancelled")

    def _pause(self) -> None:
        """Wait until it is time for the next picture, unless the run is stopped meanwhile."""
        while (rest := REPAINT - (time.perf_counter() - self._lab._painted)) > 0:
            self._check()
            time.sleep(min(rest, 0.02))

    def _paint(self) -> None:
        (figure, sentence, alt), self._pending = self._pending, None
        picture = self._lab._render(figure)
        self._check()
        self._lab.setting = self.setting
        self._lab._paint(figure, sentence, alt, picture)
        if self.first_picture is None:
            self.first_picture = time.perf_counter() - self._asked

    def finish(self) -> None:
        """Paint what is still waiting: the last picture is always seen."""
        self._check()
        if self.first_picture is None and self._pending is None:
            raise RuntimeError("the lab never called show(figure, sentence, alt=...)")
        if self._pending:
            self._pause()
            self._paint()


class Lab:
    """A live lab; made by `lab`. See there."""

    def __init__(self, run: Callable, title: str, controls: dict[str, W.DOMWidget]):
        self.run, self.title, self.controls = run, title, controls
        self.defaults = {name: control.value for name, control in controls.items()}
        self.error: BaseException | None = None
        self.cancelled = False
        self.timing = Timing()
        self.sentence, self.setting, self.alt, self.png, self._figure = "", "", "", b"", None
        self._shown, self._displayed = None, ()  # the output of a cell that ended before the run, and what it holds
        self._lock, self._idle = threading.Lock(), threading.Event()
        self._worker: threading.Thread | None = None
        # requests are numbered; a run belongs to one and may paint only while it is the newest
        self._wanted = self._served = self._cancelled = self._running = 0
        self._asked = self._painted = self._moved = float("-inf")
        self._build()
        for control in controls.values():
            control.observe(self._request, "value")

    def _build(self) -> None:
        names = {name: _controls.named(name, control) for name, control in self.controls.items()}
        self._screen = Screen(names=names, cancel=self.cancel, large=self._large)
        controls = W.Box(_controls.rows(self.controls), layout=W.Layout(flex_flow="row wrap", grid_gap="0 16px"))
        title = W.HTML(f"<b>{html.escape(self.title)}</b>")
        self.root = W.VBox([title, controls, self._screen], layout=W.Layout(max_width="860px"))
        self.root.add_class("fedlab-lab")

    # ------------------------------------------------ running

    def _request(self, _change=None) -> None:
        """Ask for a run with the present settings; returns at once."""
        with self._lock:
            self._wanted += 1
            self._asked = time.perf_counter()
            self._idle.clear()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name=f"lab: {self.title}", daemon=True)
                self._worker.start()

    def cancel(self) -> None:
        """Stop the present run at its next `show` or `show.tick`; what has been shown stays."""
        self._cancelled = self._wanted

    def _work(self) -> None:
        """The one thread that computes and paints; ends when the newest request has been served."""
        try:
            while True:
                with self._lock:
                    number, asked = self._wanted, self._asked
                    if number == self._served:
                        self._worker = None
                        return
                time.sleep(DEBOUNCE)
                if number == self._wanted:
                    self._serve(number, asked)
                    self._served = number
        finally:
            # also after something that no handler foresaw, such as a closing kernel: never stay stuck
            with self._lock:
                if self._worker in (None, threading.current_thread()):
                    self._worker = None
                    self._idle.set()

    def _serve(self, number: int, asked: float) -> None:
        """One run, from reading the controls to the last picture or a sentence about what went wrong."""
        show = _Show(self, number, asked)
        self._running, self._screen.done = number, 0.0
        reveal = threading.Timer(PATIENCE, self._reveal, (number, show))
        reveal.start()
        error, cancelled = None, False
        try:
            values = {name: control.value for name, control in self.controls.items()}
            show.setting = ", ".join(_controls.said(name, control) for name, control in self.controls.items())
            self.run(show, **{k: v() if isinstance(v, _controls.Later) else v for k, v in values.items()})
            show.finish()
        except Stopped:
            cancelled = True
        except (Exception, SystemExit) as reason:  # whatever a lesson's function raises becomes a sentence
            error = reason
        with self._lock:  # a reveal that has begun is waited for, a later one does nothing
            self._running = 0
        reveal.cancel()
        if self._wanted != number:
            return  # nobody waits for this any more: the next run paints over it
        seconds = time.perf_counter() - asked
        self.error, self.cancelled = error, cancelled
        self.timing = Timing(show.first_picture, None if error or cancelled else seconds)
        self._settle(seconds, stale=show.first_picture is None)

    # ------------------------------------------------ painting

    def _reveal(self, number: int, show: _Show) -> None:
        """A run that takes longer shows its progress, and dims a picture of an older setting."""
        with self._lock:
            if self._running == number:
                self._screen.working, self._screen.note = True, ""
                self._screen.stale = show.first_picture is None

    def _progress(self, done: float) -> None:
        now = time.perf_counter()
        if now - self._moved >= REPAINT or done >= 1:
            self._moved = now
            self._screen.done = min(max(float(done), 0.0), 1.0)

    def _render(self, figure) -> bytes:  # what the page gets of what a run shows
        return plots.png(figure)

    def _paint(self, figure, sentence: str, alt: str, picture: bytes) -> None:
        self.png, self.sentence, self.alt, self._figure = picture, sentence, alt, figure
        with self._screen.hold_sync():
            self._screen.picture, self._screen.alt = picture, alt
            self._screen.sentence, self._screen.setting = sentence, self.setting
            self._screen.stale, self._screen.error = False, ""
        self._painted = time.perf_counter()

    def _large(self) -> bytes | None:
        """The picture that is shown with twice the pixels each way, to be looked at closely."""
        return None if self._figure is None else plots.png(self._figure, scale=2)

    def _settle(self, seconds: float, stale: bool) -> None:
        """The run is over: put the progress away, say how long it took and what went wrong."""
        note = f"cancelled after {seconds:.1f} s" if self.cancelled else f"{seconds:.1f} s"
        note += "; the picture is still the one before" if self.cancelled and stale else ""
        with self._screen.hold_sync():
            self._screen.working, self._screen.note = False, note
            self._screen.stale = stale or self.error is not None
            self._screen.error = _friendly(self.error) if self.error else ""
        self._store()

    def _ipython_display_(self) -> None:
        self._displayed = self.png, self.sentence
        self._shown = display(self._repr_mimebundle_(), raw=True, display_id=True)
        if self._idle.is_set():  # complete: or it became so just now, when nobody knew of this output yet
            self._store()

    def _store(self) -> None:
        """Let an output that was displayed before the run was over hold its last picture."""
        shown, self._shown = self._shown, None
        if shown and self._displayed != (self.png, self.sentence):
            shown.update(self._repr_mimebundle_(), raw=True)

    def _still(self) -> str:
        """What is shown, for places where nothing runs."""
        return plots.img_tag(self.png, self.alt, dimmed=True) if self.png else ""

    def _repr_mimebundle_(self, include=None, exclude=None) -> dict[str, Any]:
        """The live widget, and for places where nothing runs the picture, its sentence and how to wake the lab."""
        said = _friendly(self.error) if self.error else f"{self.sentence} ({self.setting})"
        caption = f"<figcaption>{html.escape(said, quote=False)}<br><i>{WAKING}</i></figcaption>"
        asleep = f"<figure>{self._still()}{caption}</figure>"
        return dict(self.root._repr_mimebundle_()) | {"text/html": asleep, "text/plain": f"{said} {WAKING}"}

    # ------------------------------------------------ for scripts and tests

    def set(self, name: str, value) -> None:
        """Move a control as a learner would; lists also take the name that is shown. Returns at once."""
        if name not in self.controls:
            raise ValueError(f"name must be one of {list(self.controls)}; it is {name!r}.")
        _controls.move(name, self.controls[name], value)

    def wait(self, timeout: float = 60) -> Lab:
        """Wait until the newest setting has been served.

        Raises
        ------
        TimeoutError
            After `timeout` seconds.
        RuntimeError
            If the background thread ended early; nothing that a run raises does that.
        """
        end = time.perf_counter() + timeout
        while not self._idle.wait(0.05):  # short waits let an interrupt through on every system
            if time.perf_counter() > end:
                raise TimeoutError(f"the lab '{self.title}' was still running after {timeout} s")
        if self._served != self._wanted and self._idle.is_set():
            raise RuntimeError(f"the lab '{self.title}' stopped working; run its cell again.")
        return self

    def sweep(self, timeout: float = 120) -> list[tuple[str, str, Timing | str]]:
        """Move every control to its limits and options and back, one after the other, and wait each time.

        Returns
        -------
        list of tuple
            For each stop: control, value, and the `Timing` of its run, or the sentence of a NotAtHand.

        Raises
        ------
        RuntimeError
            At the first setting that fails, naming lab, control and value.
        """
        moved = [name for name, control in self.controls.items() if control.value != self.defaults[name]]
        visited = [self._look("controls", "as they are", timeout)]
        for name, control in self.controls.items():
            for shown, value in _controls.limits(control):
                if value == self.defaults[name]:
                    continue
                for other in moved:  # the next move follows at once, so that this has no run of its own
                    self.set(other, self.defaults[other])
                moved = [name]
                self.set(name, value)
                visited.append(self._look(name, shown, timeout))
        for name in moved:
            self.set(name, self.defaults[name])
        return [*visited, self._look("controls", "back at the start", timeout)]

    def _look(self, name: str, shown: str, timeout: float) -> tuple[str, str, Timing | str]:
        self.wait(timeout)
        error = RuntimeError("the run was cancelled") if self.cancelled else self.error
        if error and not isinstance(error, NotAtHand):
            where = f"lab '{self.title}' with {name} = {shown}"
            raise RuntimeError(f"{where}: {type(error).__name__}: {error}") from error
        return name, shown, str(error) if error else self.timing


LABS: list[Lab] = []  # all labs of this process, in the order in which they were made


def lab(run: Callable, *, title: str = "", **controls: W.DOMWidget) -> Lab:
    """Make a live lab; name it in the last line of a cell to display it.

    Parameters
    ----------
    run
        Function of `show` and of one argument for each control; calls `show` at least once.
    title
        Stands above the controls; made from the name of `run` if left out.
    controls
        Made by `slider`, `choice`, `switch` or `data_choice`; any ipywidget with a value will do.

    Returns
    -------
    Lab
        Its first run with the settings given here has begun and has shown its first picture.
    """
    for name, control in controls.items():
        if not isinstance(control, W.DOMWidget) or not control.has_trait("value"):
            raise ValueError(f"{name} must be a control such as widgets.slider(1, 10, 5); it is {control!r}.")
    try:
        inspect.signature(run).bind(None, **controls)
    except TypeError as reason:
        raise ValueError(f"run must take show and the controls {list(controls)}: {reason}.") from None
    made = Lab(run, title or run.__name__.replace("_", " ").capitalize(), controls)
    LABS.append(made)
    first_look(made)
    return made


def first_look(made: Lab) -> None:
    """Start a lab, and keep its cell waiting for a picture, so that a stored notebook has it."""
    made._request()
    try:
        _wait(made)
    except KeyboardInterrupt:
        made.cancel()
        raise


def _wait(made: Lab) -> None:
    strict = any(os.environ.get(name, "") not in ("", "0") for name in ("CI", "FEDLAB_STRICT"))
    while not made._idle.wait(0.02):
        if not strict and made.png and time.perf_counter() - made._asked > FIRST_WAIT:
            return
    if strict and made.error:
        raise made.error


def _friendly(error: Exception) -> str:
    """What went wrong, in a sentence; a ValueError has been written for the learner."""
    if isinstance(error, ValueError):
        return str(error)
    return (
        f"Something went wrong: {type(error).__name__}: {error}. Move a control to try again; if it stays, "
        "restart the kernel (menu Kernel) and run the cells from the top."
    )
