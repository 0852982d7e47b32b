"""The door of a hospital's part for other processes of its machine."""

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from multiprocessing import AuthenticationError
from multiprocessing.connection import Client

import pytest

from fedlab_utils.network import door as door_module
from fedlab_utils.network.agreement import COORDINATOR
from fedlab_utils.network.door import FILE, Door, ask
from fedlab_utils.network.messages import Message, numbers, pack, unpack


@pytest.fixture
def standing(agree, house):
    """A hospital's part with its door open, and a request."""
    there = house(agree())
    part = there.parts["Hospital 2"]
    with Door(part) as door:
        yield part, door, numbers(there.coordinator().models[0])


def test_what_comes_in_is_answered(standing):
    part, _, model = standing
    request = pack(part.agreement, Message("train", 1, COORDINATOR, 1, model))
    answer = ask(part.book.folder, request)
    assert unpack(part.agreement, answer).kind == "update" and answer == part.answer(request)
    assert unpack(part.agreement, ask(part.book.folder, b"nonsense")).kind == "refusal"


def test_asking_loads_neither_pytorch_nor_numpy(standing):
    part, _, _ = standing
    code = "import sys; from fedlab_utils.network.door import ask; sys.stdout.buffer.write(ask(sys.argv[1], b'x'))\n"
    code += "sys.stderr.write(' '.join(sorted({name.split('.')[0] for name in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code, str(part.book.folder)], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert unpack(part.agreement, done.stdout).kind == "refusal"
    assert not {"torch", "numpy", "pandas", "cryptography"} & set(done.stderr.decode().split())


def test_who_does_not_know_the_key_gets_nothing_and_keeps_nobody_out(standing):
    part, _, _ = standing
    about = json.loads((part.book.folder / FILE).read_text())
    silent = [Client(("127.0.0.1", about["port"])) for _ in range(20)]  # they never say anything
    with pytest.raises((OSError, EOFError, AuthenticationError)):
        Client(("127.0.0.1", about["port"]), authkey=b"another")
    done = []
    asking = threading.Thread(target=lambda: done.append(ask(part.book.folder, b"x")))
    asking.start()
    asking.join(5)
    assert done and unpack(part.agreement, done[0]).kind == "refusal"
    for one in silent:
        one.close()


def test_who_says_nothing_is_let_go_and_only_so_many_are_heard_at_a_time(standing, monkeypatch):
    monkeypatch.setattr(door_module, "_KNOCK", 0.3)
    part, door, _ = standing
    door._chairs = threading.BoundedSemaphore(3)
    before, about = threading.active_count(), json.loads((part.book.folder / FILE).read_text())
    silent = [socket.create_connection(("127.0.0.1", about["port"])) for _ in range(12)]
    for one in silent[:6]:
        one.sendall(b"\0")  # the first byte of a length
    end = time.monotonic() + 20
    while before < threading.active_count() and time.monotonic() < end:
        assert threading.active_count() <= before + 2 * 3
        time.sleep(0.02)
    assert threading.active_count() <= before
    assert unpack(part.agreement, ask(part.book.folder, b"x", patience=5)).kind == "refusal"
    for one in silent:
        one.close()


def test_a_request_that_is_too_long_is_not_read(standing):
    part, door, _ = standing
    with pytest.raises(ConnectionError):
        ask(part.book.folder, bytes(door._longest + 1), patience=0.1)
    assert ask(part.book.folder, b"x")


def test_a_closed_door_is_said(standing):
    part, door, _ = standing
    door.close()
    assert not (part.book.folder / FILE).exists()
    with pytest.raises(ConnectionError, match="^No hospital's part opened its door in"):
        ask(part.book.folder, b"x", patience=0.1)


def test_whose_request_is_in_hand_gets_its_answer_though_the_door_closes(standing, monkeypatch):
    part, door, _ = standing
    begun, whole = threading.Event(), part.answer

    def slow(request):
        begun.set()
        time.sleep(0.3)
        return whole(request)

    monkeypatch.setattr(part, "answer", slow)
    found = []
    guest = threading.Thread(target=lambda: found.append(ask(part.book.folder, b"x")))
    guest.start()
    assert begun.wait(10.0)
    door.close()
    assert not door._answering
    guest.join(10.0)
    assert unpack(part.agreement, found[0]).kind == "refusal"


def test_who_is_in_and_has_not_yet_asked_is_answered_though_the_door_closes(standing):
    part, door, _ = standing
    about = json.loads((part.book.folder / FILE).read_text())
    with Client(("127.0.0.1", about["port"]), authkey=bytes.fromhex(about["key"])) as guest:
        end = time.monotonic() + 5
        while not door._answering and time.monotonic() < end:
            time.sleep(0.01)
        closing = threading.Thread(target=door.close)
        closing.start()
        closing.join(0.3)
        assert closing.is_alive()
        guest.send_bytes(b"x")
        assert unpack(part.agreement, guest.recv_bytes()).kind == "refusal"
    closing.join(20)
    assert not closing.is_alive() and not door._answering


def test_who_comes_in_when_the_door_has_closed_is_not_heard(standing, monkeypatch):
    part, door, _ = standing
    about, heard = json.loads((part.book.folder / FILE).read_text()), []
    monkeypatch.setattr(part, "answer", lambda request: heard.append(request) or b"")

    def closed_meanwhile(*given):
        door._open = False
        return answers(*given)

    answers = door_module.answer_challenge
    monkeypatch.setattr(door_module, "answer_challenge", closed_meanwhile)
    with Client(("127.0.0.1", about["port"]), authkey=bytes.fromhex(about["key"])) as guest:
        with pytest.raises((OSError, EOFError)):
            guest.send_bytes(b"x")
            guest.recv_bytes()
    assert not heard


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such rights")
def test_the_key_is_its_owners(standing):
    part, _, _ = standing
    assert not (part.book.folder / FILE).stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
