"""Files that go to the page and come from it: a button that downloads, and a field that takes a file.

A file stays between the browser and the machine that runs this; the page refuses one that is too large before it is
sent. What happens in the page stands in `files.js`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anywidget
import traitlets

_WRONG = "Something went wrong that should not; nothing was changed."
SCRIPT = Path(__file__).with_name("files.js")


class Download(anywidget.AnyWidget):
    """A button that makes a file and gives it to the browser.

    Parameters
    ----------
    label
        On the button.
    make
        Called when it is pressed: the file's name and its text. A ValueError becomes a sentence beside the button.
    """

    _esm = SCRIPT
    kind = traitlets.Unicode("download").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)

    def __init__(self, label: str, make: Callable[[], tuple[str, str]]) -> None:
        super().__init__(label=label)
        self._make = make
        self.on_msg(self._asked)

    def _asked(self, _widget, message: dict, _buffers) -> None:
        if message.get("kind") != "make":
            return
        try:
            name, text = self._make()
        except ValueError as reason:
            self.send({"kind": "no", "why": str(reason)})
        except Exception:
            self.send({"kind": "no", "why": _WRONG})
        else:
            self.send({"kind": "file", "name": name}, [text.encode()])


class Upload(anywidget.AnyWidget):
    """A field that takes a file.

    Parameters
    ----------
    label
        Of the field.
    accept
        Endings of names, such as ".csv".
    most
        Bytes; a larger file is not sent.
    take
        Called with the file's bytes; returns a sentence about what came. A ValueError becomes one, too.
    """

    _esm = SCRIPT
    kind = traitlets.Unicode("upload").tag(sync=True)
    label = traitlets.Unicode("").tag(sync=True)
    accept = traitlets.Unicode("").tag(sync=True)
    most = traitlets.Int(0).tag(sync=True)
    said = traitlets.Unicode("").tag(sync=True)

    def __init__(self, label: str, accept: str, most: int, take: Callable[[bytes], str]) -> None:
        super().__init__(label=label, accept=accept, most=most)
        self._take = take
        self.on_msg(self._came)

    def _came(self, _widget, message: dict, buffers) -> None:
        if message.get("kind") != "file" or len(buffers) != 1:
            return
        content, self.said = bytes(buffers[0]), ""  # the same sentence again is news, too
        try:
            if len(content) > self.most:  # the page asks too, but a page is not to be trusted
                raise ValueError(f"A file must have at most {self.most:,} bytes; this one has {len(content):,}.")
            self.said = self._take(content)
        except ValueError as reason:
            self.said = str(reason)
        except Exception:  # its own words may hold a value of the file
            self.said = _WRONG
