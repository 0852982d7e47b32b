"""The control room's server: who gets in, what leaves, what it says, and where it writes."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import SimpleNamespace

import dashboard
import pytest

from tests.browser import browser

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "tools" / "jupyter" / "nbconvert" / "templates" / "control_room").iterdir())
KERNEL = "api/kernels/00000000-0000-0000-0000-000000000000"
UPGRADE = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "x"}


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A copy of the course, in a folder with a blank in its name."""
    copy = tmp_path_factory.mktemp("copy") / "my course"
    shutil.copytree(ROOT / "tools", copy / "tools", ignore=shutil.ignore_patterns("__pycache__"))
    (copy / "notebooks").mkdir()
    shutil.copy(ROOT / "notebooks" / "control_room.ipynb", copy / "notebooks")
    return copy


@pytest.fixture(scope="module")
def served(course):
    with browser.dashboard(course, root=course) as started:
        yield started


def ask(address, **headers):
    """Status, headers and text of an answer; redirects are followed, and no proxy is asked."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor())
    try:
        answer = opener.open(urllib.request.Request(address, headers=headers), timeout=60)
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.headers, answer.read().decode(errors="replace")


# ---------------------------------------------------------------- who gets in


@pytest.mark.parametrize("query", ["", "?token=", "?token=wrong"])
def test_without_the_key_a_page_is_refused_in_plain_words(served, query):
    status, headers, text = ask(served.bare + query)
    assert status == 403 and "another one after each start" in text and '<html lang="en">' in text
    assert headers["Content-Security-Policy"] == dashboard.OFFLINE


@pytest.mark.parametrize("path", [KERNEL, f"{KERNEL}/channels"])
@pytest.mark.parametrize("headers", [{}, UPGRADE], ids=["plain", "websocket"])
def test_without_the_key_no_kernel_is_reached(served, path, headers):
    keys = ("", "?token=wrong", served.address.removeprefix(served.bare))
    assert [ask(served.bare + path + key, **headers)[0] for key in keys] == [403, 403, 404]


@pytest.mark.parametrize("path", ["control_room.ipynb", "src/control_room.py", "lab.png"])
def test_no_file_is_handed_out(served, path):
    assert ask(f"{served.bare}voila/files/{path}?{served.address.partition('?')[2]}")[0] in (403, 404)


def test_another_name_for_this_machine_does_not_get_in(served):
    assert ask(served.address, Host="elsewhere.example")[0] == 403


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the loopback has one address only")
def test_it_listens_on_the_loopback_only(served):
    port = int(re.search(r":(\d+)/", served.bare)[1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.2", port))  # would be taken if it listened everywhere


def test_each_start_makes_its_own_key():
    keys = {dashboard.settings(8866).Voila.token for _ in range(3)}
    assert len(keys) == 3 and min(map(len, keys)) > 40


def test_what_opens_the_browser_is_good_for_once():
    key = dashboard.Key(token="the key")
    key.once = "once"
    handler = SimpleNamespace(get_argument=lambda *_: "once", request=SimpleNamespace(headers={}))
    assert [key.get_token(handler) for _ in range(2)] == ["the key", "once"]
    handler.get_argument = lambda *_: ""
    assert key.get_token(handler) == ""  # nothing given is not "once" used up


def test_the_browser_is_opened_without_the_key_in_its_command(monkeypatch):
    opened = []

    def at_once(target, args, daemon):
        return SimpleNamespace(start=lambda: target(*args))

    monkeypatch.setattr(dashboard.webbrowser, "get", lambda _: SimpleNamespace(open=lambda *a: opened.append(a)))
    monkeypatch.setattr(dashboard.threading, "Thread", at_once)
    app = dashboard.ControlRoom(config=dashboard.settings(8899))
    app.identity_provider = dashboard.Key(token=app.token)
    app.launch_browser()
    ((address, _),) = opened
    assert address == f"http://127.0.0.1:8899/?token={app.identity_provider.once}" and app.token not in address


# ---------------------------------------------------------------- what it says, and where it writes


def test_the_page_is_the_notebook_without_its_code_and_nothing_is_written_beside_it(served, course):
    def files():
        return {path: path.stat().st_mtime_ns for path in (course / "notebooks").rglob("*")}

    before = files()
    status, headers, text = ask(served.address)
    assert status == 200 and headers["Content-Security-Policy"] == dashboard.OFFLINE
    assert "<title>Control room</title>" in text and '<html lang="en">' in text
    assert text.index('id="starting" role="status"') < text.index("<h1") and "vnd.voila.cell-output+json" in text
    assert "fedlab_utils" not in re.sub(r'"federated_extensions".*', "", text) and "failed()</script>" not in text
    assert files() == before and (course / "work").is_dir()


def test_the_terminal_shows_a_few_plain_lines(served, course):
    ask(served.bare)
    first, second, *more = served.said.splitlines()
    assert first == f"The control room: {served.address}" and "Ctrl-C ends it" in second and more == []


def waited_for(file, seconds=20):
    end = time.monotonic() + seconds
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < end, f"{file.name} did not come"
        time.sleep(0.1)
    return file.read_text()


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a console, not to a process")
def test_the_browser_that_is_opened_gets_in_once_and_ctrl_c_ends_it_with_one_line(tmp_path):
    opener = tmp_path / "opener.py"
    opener.write_text(f"import sys; open({str(tmp_path / 'opened')!r}, 'w').write(sys.argv[1])")
    with browser.dashboard(tmp_path, opener=f"{sys.executable} {opener} %s") as started:
        once = waited_for(tmp_path / "opened").removeprefix(started.bare)
        assert [ask(started.bare + KERNEL + key)[0] for key in (once, once)] == [404, 403]
        started.process.send_signal(signal.SIGINT)
        assert started.process.wait(20) == 0
        assert started.said.splitlines()[2:] == ["", "The control room is closed."]


WITHIN_A_REQUEST = """
import contextlib, signal
import dashboard
from tornado.ioloop import IOLoop

def request():
    with contextlib.suppress(KeyboardInterrupt):  # as tornado does, which logs it as the request's own
        signal.raise_signal(signal.SIGINT)

def listen(app):
    loop = IOLoop.current()
    loop.add_callback(request)
    loop.call_later(5, lambda: print("still there") or loop.stop())
    loop.start()

dashboard.Voila.listen = listen
dashboard.ControlRoom(config=dashboard.settings(8899)).listen()
"""


def test_a_ctrl_c_in_the_middle_of_a_request_is_not_forgotten():
    command = [sys.executable, "-c", WITHIN_A_REQUEST]  # no other test's loop is in its way
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=ROOT / "tools")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[2:] == ["", "The control room is closed."]


def tool(*arguments):
    command = [sys.executable, str(ROOT / "tools" / "dashboard.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_port_that_is_taken_is_told_in_one_line_with_another():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        done = tool("--port", str(port), "--no-browser")
    assert done.returncode == 1 and done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert f"Port {port} is taken" in done.stderr and f"--port {port + 1}" in done.stderr


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_does_not_exist_is_told(port):
    assert dashboard.taken(port) == f"There is no port {port}: ports go from 1 to 65535."


def test_a_port_that_was_just_let_go_is_free():
    port = browser.free_port()
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", port))
        server.listen()
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()
    assert dashboard.taken(port) == ""


def test_what_voila_does_not_take_is_no_traceback():
    done = tool("--port", str(browser.free_port()), "--no-browser", "one", "more")
    assert done.returncode == 1 and done.stderr.startswith("Voila does not take that: ")
    assert len(done.stderr.splitlines()) == 1


# ---------------------------------------------------------------- what leaves


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: path.name)
def test_the_page_names_no_other_machine(template):
    assert not re.search(r"(https?:)?//[a-z][\w-]*\.[a-z]", template.read_text(encoding="utf-8"))


def test_no_header_lets_a_request_leave():
    here = {"ws://127.0.0.1:*", "ws://localhost:*"}
    allowed = {word for part in dashboard.OFFLINE.split(";") for word in part.split()[1:]}
    assert allowed == {"'self'", "'none'", "'unsafe-inline'", "'unsafe-eval'", "data:", "blob:"} | here


def test_an_error_is_one_line_for_the_terminal():
    format_ = dashboard.Plain().format
    try:
        raise ValueError("no such file")
    except ValueError:
        record = dashboard.logging.LogRecord("x", 40, "f.py", 1, "Uncaught\nmuch more", (), sys.exc_info())
    assert format_(record) == "Uncaught: ValueError: no such file"
    stopped = dashboard.CellExecutionError("long traceback", "ZeroDivisionError", "division by zero")
    record.exc_info = (type(stopped), stopped, None)
    assert format_(record) == "The notebook stopped: ZeroDivisionError: division by zero"
