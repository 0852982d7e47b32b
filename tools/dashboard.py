"""Serve the control room as a page of its own: notebooks/control_room.ipynb through Voila, on this machine only.

    python tools/dashboard.py --port 8866 [options of Voila, such as --no-browser or --debug]

The page is reached on the loopback with a key that each start makes anew, and asks no other machine for anything: its
template has no such addresses, and a header forbids the browser to follow any. Each page has a Python of its own,
working in work/, which ends soon after the page.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import secrets
import signal
import socket
import sys
import threading
import time
import webbrowser
from pathlib import Path

from jupyter_server.auth.decorator import allow_unauthenticated
from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.services.kernels.kernelmanager import AsyncMappingKernelManager
from nbclient.exceptions import CellExecutionError
from tornado.ioloop import IOLoop, PeriodicCallback
from tornado.web import HTTPError
from traitlets import Integer
from traitlets.config import Config
from voila.app import Voila
from voila.voila_identity_provider import VoilaIdentityProvider

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOK, WORK = ROOT / "notebooks" / "control_room.ipynb", ROOT / "work"
LOOPBACK = "127.0.0.1"
NEVER = 180  # seconds after which the Python of a page that was closed while it started is ended
# Widgets bring their scripts as text (blob:, eval); whatever is asked for, this server is asked, and no other.
OFFLINE = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob: data:; "
    "style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' ws://127.0.0.1:* ws://localhost:* data: blob:; form-action 'none'; frame-ancestors 'none'"
)
EXTENSIONS = ["@jupyter-widgets/jupyterlab-manager", "@voila-dashboards/widgets-manager8", "anywidget"]


class Places(AsyncMappingKernelManager):
    """Kernels for a few pages, each ended soon after its page."""

    most = Integer(4, config=True, help="pages at a time: each holds a Python with PyTorch, some 400 MB")
    left = Integer(10, config=True, help="seconds from the end of a page to that of its kernel: it may be reloading")

    async def start_kernel(self, *args, **kwargs):
        end = time.monotonic() + self.left + 2  # a page that is being reloaded gives its place back first
        while len(self) >= self.most and time.monotonic() < end:
            await asyncio.sleep(0.2)
        if len(self) >= self.most:
            raise HTTPError(503, f"{self.most} pages are open, and no more fit. Close one, and reload this page.")
        return await super().start_kernel(*args, **kwargs)

    def notify_disconnect(self, kernel_id):
        super().notify_disconnect(kernel_id)
        IOLoop.current().call_later(self.left, self.end_if_left, kernel_id)

    async def end_if_left(self, kernel_id):
        if kernel_id in self and not self.kernel_model(kernel_id)["connections"]:
            await self.shutdown_kernel(kernel_id, now=True)


class Refused(JupyterHandler):
    """Where those without the key are sent."""

    @allow_unauthenticated
    def get(self):
        raise HTTPError(403)


class Key(VoilaIdentityProvider):
    """The key in the address, which becomes a cookie.

    The browser that is opened at the start gets another one, good for once: other users of this machine see with which
    words a program was called.
    """

    once = ""

    def get_token(self, handler):
        given = super().get_token(handler)
        if given and given == self.once:
            self.once = ""
            return self.token
        return given

    def get_handlers(self):
        return [(r"/login", Refused)]


class ControlRoom(Voila):
    """Voila with a few plain lines in place of its own."""

    @property
    def address(self) -> str:
        return f"http://{self.ip}:{self.port}{self.base_url}"

    def init_settings(self):
        made = super().init_settings()
        return made | {"jinja2_env": made["voila_jinja2_env"]}  # pages of errors are ours, too

    def listen(self):
        print(f"The control room: {self.address}?token={self.token}", flush=True)
        print("It is there for this machine only, and computes here. Ctrl-C ends it.", flush=True)
        # A Ctrl-C that Python raises within a request is logged there and forgotten, so it goes to the loop instead.
        self.ioloop = loop = IOLoop.current()
        signal.signal(signal.SIGINT, lambda *_: loop.asyncio_loop.call_soon_threadsafe(loop.stop))
        PeriodicCallback(lambda: None, 1000).start()  # on Windows Ctrl-C is only noticed when something happens
        super().listen()
        print("\nThe control room is closed.", flush=True)

    def launch_browser(self):
        try:
            browser = webbrowser.get(self.browser or None)
        except webbrowser.Error:
            return  # the address stands in the terminal
        self.identity_provider.once = secrets.token_urlsafe(32)
        page = f"{self.address}?token={self.identity_provider.once}"
        threading.Thread(target=browser.open, args=(page, self.webbrowser_open_new), daemon=True).start()


class Plain(logging.Formatter):
    """One line for each error; Voila's --debug shows all of it."""

    def format(self, record):
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, CellExecutionError):
            return f"The notebook stopped: {error.ename}: {error.evalue}"
        first = record.getMessage().partition("\n")[0]
        return f"{first}: {type(error).__name__}: {error}" if error else first


def hush(app: ControlRoom) -> None:
    """Say only what whoever started this can do something about."""
    handler = logging.StreamHandler()
    handler.setLevel(logging.ERROR)
    handler.setFormatter(Plain())
    logging.getLogger().handlers = app.log.handlers = [handler]
    for name in ("tornado.access", "tornado.general"):  # each page that was refused
        logging.getLogger(name).setLevel(logging.CRITICAL)


def taken(port: int) -> str:
    """What speaks against a port, in a sentence; else the empty text."""
    if not 1 <= port <= 65535:
        return f"There is no port {port}: ports go from 1 to 65535."
    other = f"python course.py dashboard --port {port + 1 if 1024 <= port < 65535 else 8867}"
    with socket.socket() as probe:
        if os.name != "nt":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # one that was just let go is free
        try:
            probe.bind((LOOPBACK, port))
        except PermissionError:
            return f"Port {port} may not be used here. Take another: {other}"
        except OSError:
            return (
                f"Port {port} is taken, perhaps by a control room in another window: end that one there with Ctrl-C, "
                f"or take another port: {other}"
            )
    return ""


def settings(port: int) -> Config:
    """How Voila is set up; what stands in the command line after that wins."""
    voila = dict(
        template="control_room",
        allow_template_override="NO",
        allow_theme_override="NO",
        show_tracebacks=False,
        strip_sources=True,
        file_allowlist=[],  # no file beside the notebook is served
        extension_allowlist=EXTENSIONS,
        resources={"metadata": {"name": "Control room"}},  # the title of the page
        multi_kernel_manager_class=Places,
    )
    app = dict(
        notebook_path=str(NOTEBOOK),
        ip=LOOPBACK,
        port=port,
        port_retries=0,
        token=secrets.token_urlsafe(32),
        identity_provider_class=Key,
        config_file_paths=[],  # not what this user has set up for other pages
        log_level=logging.ERROR,
        # A page elsewhere cannot get in by a name that it lets point here.
        tornado_settings={
            "headers": {"Content-Security-Policy": OFFLINE},
            "allow_remote_access": False,
        },
    )
    kernels = dict(root_dir=str(WORK), cull_idle_timeout=NEVER, cull_interval=30, cull_connected=False)
    return Config(
        Voila=app,
        VoilaConfiguration=voila,
        MappingKernelManager=kernels,
        KernelManager=dict(transport_encryption="auto"),  # where both sides can; else there is a warning
    )


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8866)
    options, rest = parser.parse_known_args(arguments)
    if complaint := taken(options.port):
        sys.exit(complaint)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        filter(None, [str(ROOT / "tools" / "jupyter"), os.environ.get("JUPYTER_PATH", "")])
    )
    app = ControlRoom.instance(config=settings(options.port))
    try:
        app.initialize(rest)
    except ValueError as error:
        sys.exit(f"Voila does not take that: {error}")
    Path(app.config.MappingKernelManager.root_dir).mkdir(exist_ok=True)
    if "--debug" not in rest:
        hush(app)
    app.start()


if __name__ == "__main__":
    main(sys.argv[1:])
