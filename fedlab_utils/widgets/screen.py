"""What a live lab shows: picture, sentence, progress and Cancel, in the page.

ipywidgets' own pictures have no alt text and its sliders no names; this small widget has both, and knows what to show
when its kernel is gone. What happens in the page stands in `screen.js`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

SCRIPT, STYLE = (Path(__file__).with_name(f"screen.{kind}") for kind in ("js", "css"))


class Screen(anywidget.AnyWidget):
    """The screen of one lab; setting an attribute changes the page.

    Attributes
    ----------
    picture, alt
        A PNG, and what it shows, for those who cannot see it.
    parts
        Pieces of HTML by name, in their order, instead of a picture; what they hold of others is escaped already.
    first
        "picture", or "words": sentence and progress stand above what is shown.
    sentence, setting
        Reads the picture aloud, and says of which setting it speaks.
    error, note
        What went wrong, and how long the run took; empty for nothing.
    working, done
        Whether progress and Cancel are shown, and how much is done, from 0 to 1.
    stale
        Whether the picture is of an older setting, and so dimmed.
    names
        For each control its label and its unit.
    """

    _esm, _css = SCRIPT, STYLE
    picture = traitlets.Bytes(b"").tag(sync=True)
    parts = traitlets.Dict({}).tag(sync=True)
    first = traitlets.Unicode("picture").tag(sync=True)
    alt = traitlets.Unicode("").tag(sync=True)
    sentence = traitlets.Unicode("").tag(sync=True)
    setting = traitlets.Unicode("").tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    note = traitlets.Unicode("").tag(sync=True)
    working = traitlets.Bool(False).tag(sync=True)
    stale = traitlets.Bool(False).tag(sync=True)
    done = traitlets.Float(0.0).tag(sync=True)
    names = traitlets.Dict({}).tag(sync=True)

    def __init__(
        self, *, names: dict, cancel: Callable[[], None], large: Callable[[], bytes | None], first: str = "picture"
    ) -> None:
        super().__init__(names=names, first=first)
        self._cancel, self._large = cancel, large
        self.on_msg(self._asked)

    def _asked(self, _widget, message: dict, _buffers) -> None:
        """What the page asks for: to cancel, or for the picture with more pixels."""
        if message.get("kind") == "cancel":
            self._cancel()
        elif message.get("kind") == "large" and (picture := self._large()):
            self.send({"kind": "large"}, [picture])
