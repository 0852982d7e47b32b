"""JupyterLab in headless Chromium: open a lesson, run it as far as its first live lab, move a slider.

Server, settings and workspaces live in a folder of their own; nothing outside this machine is reached. Labs
are found by the classes that fedlab_utils.widgets gives them: fedlab-lab, fedlab-picture, fedlab-sentence,
fedlab-error, and fedlab-control-<name> for each control.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

SETTINGS = {"docmanager-extension/plugin": {"autosave": False}}  # the rest is as a learner has it
ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "tools" / "jupyter"  # what `course.py lab` gives JupyterLab
PICTURE = ".fedlab-picture img, img.fedlab-picture"

# Asked inside JupyterLab. The predicate of a wait must not be async: a promise counts as true at once.
READY = """() => {
    const panel = window.jupyterapp?.shell?.currentWidget, session = panel?.sessionContext;
    return !!(panel?.context?.isReady && session?.isReady && session.session?.kernel?.status === 'idle');
}"""
CODE_CELLS = """() => window.jupyterapp.shell.currentWidget.content.widgets
    .map((cell, i) => [cell.model.type, i]).filter(([type, i]) => type === 'code').map(([type, i]) => i)"""
RUN_CELL = """async (i) => {
    const panel = window.jupyterapp.shell.currentWidget;
    panel.content.activeCellIndex = i;
    await window.jupyterapp.commands.execute('notebook:run-cell');
    return panel.content.model.sharedModel.cells[i].toJSON().outputs;
}"""
CLOSE = """async () => {
    const panel = window.jupyterapp.shell.currentWidget;
    await panel.sessionContext.shutdown();
    panel.dispose();
}"""
# A run that was not over when its output was made is stored in it later, and the view is made anew with it.
FOLLOWED = """() => {
    const notebook = window.jupyterapp?.shell?.currentWidget?.content;
    if (!notebook) return true;  // a page without a notebook around it, such as the control room's own
    const outputs = notebook.activeCell.model.sharedModel.toJSON().outputs;
    const said = document.querySelector('.fedlab-lab .fedlab-sentence').textContent;
    return outputs.some((output) => [output.data?.['text/plain'] ?? ''].flat().join('').startsWith(said));
}"""
BYTES = "async (img) => Array.from(new Uint8Array(await (await fetch(img.src)).arrayBuffer()))"


def chromium_path() -> str | None:
    """The browser to drive, if there is one."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@contextmanager
def jupyterlab(lessons: Path, scratch: Path) -> Iterator[str]:
    """Serve a folder of notebooks; yields the address with %s for a file and the token in it."""
    for name, setting in SETTINGS.items():
        file = scratch / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(setting))
    port = free_port()
    token = secrets.token_hex(16)
    places = {f"JUPYTER_{k}_DIR": str(scratch / k.lower()) for k in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{k}_DIR": str(scratch / k.lower()) for k in ("SETTINGS", "WORKSPACES")}
    places |= {"IPYTHONDIR": str(scratch / "ipython"), "JUPYTER_TOKEN": token, "JUPYTER_CONFIG_PATH": str(CONFIG)}
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--expose-app-in-browser"),
        *(
            "--ip=127.0.0.1",
            f"--port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={lessons}",
        ),
    ]
    log = scratch / "server.log"
    with open(log, "w") as out:
        server = subprocess.Popen(command, env={**learner(), **places}, stdout=out, stderr=out)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/api/status?token={token}", server, log)
        yield f"http://127.0.0.1:{port}/lab/workspaces/test/tree/%s?reset&token={token}"
    finally:
        server.terminate()  # it then ends its kernels
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def learner() -> dict[str, str]:
    """A learner's environment: labs do not wait for their complete picture, and tell in words what goes wrong."""
    return {name: value for name, value in os.environ.items() if name not in ("CI", "FEDLAB_STRICT")}


@dataclass(frozen=True)
class Dashboard:
    """A control room that is being served."""

    process: subprocess.Popen
    log: Path

    @property
    def said(self) -> str:
        """What it has written into its terminal so far."""
        return self.log.read_text(encoding="utf-8")

    @property
    def address(self) -> str:
        """The whole address, key and all."""
        return re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", self.said)[0]

    @property
    def bare(self) -> str:
        return self.address.partition("?")[0]


@contextmanager
def dashboard(scratch: Path, *options: str, root: Path = ROOT, opener: str = "") -> Iterator[Dashboard]:
    """Serve the control room of a checkout, kernels in a folder of their own; an opener stands for the browser."""
    port, log = free_port(), scratch / "dashboard.log"
    command = [sys.executable, str(root / "tools" / "dashboard.py"), "--port", str(port)]
    command += [f"--Voila.browser={opener}" if opener else "--no-browser"]
    command += [f"--MappingKernelManager.root_dir={scratch / 'work'}", *options]
    with open(log, "w") as out:
        server = subprocess.Popen(command, env=learner(), stdout=out, stderr=out)
    try:
        wait_for_server(f"http://127.0.0.1:{port}/voila/static/voila.js", server, log)
        yield Dashboard(server, log)
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()


def wait_for_server(status: str, server: subprocess.Popen, log: Path, seconds: float = 60) -> None:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + seconds
    while time.monotonic() < end and server.poll() is None:
        try:
            direct.open(status, timeout=2)
            return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start:\n{log.read_text()[-3000:]}")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser."""
    flags = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=flags)
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def new_page(browser: Browser, width: int = 1280, height: int = 1000, **context) -> Iterator[Page]:
    """An empty page that reaches this machine only; at the end it must not have met an error of its own."""
    page, errors = browser.new_page(viewport={"width": width, "height": height}, **context), []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.route(lambda url: not url.startswith(("http://127.0.0.1:", "file:")), lambda route: route.abort())
    try:
        yield page
        assert not errors, errors
    finally:
        page.close()


def go(page: Page, address: str, name: str) -> None:
    """Open a notebook and wait for its kernel."""
    page.goto(address % name, wait_until="domcontentloaded")
    page.wait_for_function(READY, timeout=60_000)
    page.wait_for_selector(".jp-Notebook .jp-Cell")
    assert page.locator(".jp-Dialog").count() == 0, page.locator(".jp-Dialog").first.inner_text()


@contextmanager
def lesson(browser: Browser, address: str, name: str, **size) -> Iterator[Page]:
    """A page with a notebook whose kernel is ready."""
    with new_page(browser, **size) as page:
        go(page, address, name)
        yield page


@contextmanager
def opened(page: Page, name: str) -> Iterator[Page]:
    """A notebook in a JupyterLab that stands open, once its kernel is ready; closed again, and its kernel ended."""
    command(page, "docmanager:open", path=name)
    page.wait_for_function("(name) => window.jupyterapp.shell.currentWidget?.context?.path === name", arg=name)
    page.wait_for_function(READY, timeout=60_000)
    try:
        yield page
    finally:
        page.evaluate(CLOSE)


@dataclass(frozen=True)
class View:
    """What a lab shows: a hash of the picture's bytes, and the sentence under it."""

    picture: str
    sentence: str


def run_to_first_lab(page: Page) -> None:
    """Run code cells from the top until a live lab stands in the page; the lab's own cell becomes the active one."""
    page.set_default_timeout(120_000)
    for index in page.evaluate(CODE_CELLS):
        outputs = page.evaluate(RUN_CELL, index)
        errors = [o for o in outputs if o["output_type"] == "error"]
        assert not errors, f"cell {index}: {errors[0]['ename']}: {errors[0]['evalue']}"
        if any("application/vnd.jupyter.widget-view+json" in o.get("data", {}) for o in outputs):
            try:
                page.locator(".fedlab-lab").first.wait_for(timeout=5_000)
            except TimeoutError:
                continue  # a widget, but not a lab
            shown = page.locator(".fedlab-lab").first.locator(f"{PICTURE}, .fedlab-part-pipeline")
            shown.filter(visible=True).first.wait_for(timeout=20_000)
            return
    raise AssertionError("no cell of the lesson shows a live lab")


def view(page: Page) -> View:
    """What the first lab shows now."""
    lab = page.locator(".fedlab-lab").first
    error = lab.locator(".fedlab-error")
    said = error.first.inner_text().strip() if error.count() and error.first.is_visible() else ""
    assert not said, f"the lab says: {said}"
    parts = lab.locator(".fedlab-parts")
    html = parts.first.inner_html() if parts.count() and parts.first.is_visible() else ""
    shown = html.encode() if html else bytes(lab.locator(PICTURE).first.evaluate(BYTES))
    return View(hashlib.sha256(shown).hexdigest(), lab.locator(".fedlab-sentence").first.inner_text().strip())


def settled(page: Page, unlike: View | None = None, seconds: float = 20) -> View:
    """The view once it stands still and, where another is given, differs from it in picture and sentence."""
    end, last = time.monotonic() + seconds, None
    while time.monotonic() < end:
        now = view(page)
        changed = unlike is None or (now.picture != unlike.picture and now.sentence != unlike.sentence)
        if now == last and changed and now.sentence:
            return now
        last = now
        page.wait_for_timeout(250)
    stuck = [part for part in ("picture", "sentence") if unlike and getattr(last, part) == getattr(unlike, part)]
    raise AssertionError(f"after {seconds:.0f} s the lab's {' and '.join(stuck) or 'view'} had not changed")


def finished(page: Page) -> View:
    """The view once the first lab's run is over and its output has had time to follow."""
    over = "document.querySelector('.fedlab-lab .fedlab-time')?.textContent.length > 0"
    page.wait_for_function(over, timeout=60_000)
    page.wait_for_function(FOLLOWED)
    page.wait_for_timeout(500)
    return settled(page)


def move_first_slider(page: Page, steps: int = 3) -> None:
    """Move the lab's first slider with the arrow keys, away from the end it may stand at."""
    handle = page.locator(".fedlab-lab").first.locator("[class*='fedlab-control-'] .noUi-handle").first
    handle.scroll_into_view_if_needed()
    handle.focus()
    at_end = handle.get_attribute("aria-valuenow") == handle.get_attribute("aria-valuemax")
    for _ in range(steps):
        page.keyboard.press("ArrowLeft" if at_end else "ArrowRight")


def command(page: Page, name: str, **arguments) -> None:
    """Let JupyterLab carry out one of its commands, as its menu would."""
    ask = "async ([name, arguments]) => { await window.jupyterapp.commands.execute(name, arguments) }"
    page.evaluate(ask, [name, arguments])


def tab_to(page: Page, selector: str, most: int = 80) -> None:
    """Press Tab until the focus is on something that the selector matches."""
    on_it = f"document.activeElement?.matches({selector!r}) ?? false"
    for _ in range(most):
        if page.evaluate(on_it):
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"{most} times Tab did not lead to {selector}")
