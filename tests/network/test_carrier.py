"""HTTPS between a coordinator and hospitals whose parts only acknowledge: who gets in, and what is read."""

import http.client
import os
import shutil
import socket
import ssl
import threading
import time
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta

import pytest

from fedlab_utils import data
from fedlab_utils.network import carrier, certificates, dial, here, identity, messages, tls
from fedlab_utils.network.agreement import COORDINATOR, Agreement
from fedlab_utils.network.messages import Message

NAMES = [f"Hospital {k}" for k in (1, 2, 3)]
LONG = 20.0  # s, more than any of this takes on a busy machine


@pytest.fixture(scope="module")
def agreement():
    return Agreement.of(data.load("breast_cancer").repartition(3, None), deadline=LONG)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folders of the coordinator, the three hospitals, and of those who must not come in."""
    root = tmp_path_factory.mktemp("network")
    here.certify(root, ["Hospital 1"])
    (root / "Hospital 1").rename(root / "removed")
    certificates.remove(root / "authority", "Hospital 1")
    for name, shift in {"expired": -100, "early": 100, "Hospital 9": 0}.items():
        certificates.request(root / name, name)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(certificates, "now", lambda shift=shift: datetime.now(UTC) + timedelta(days=shift))
            certificates.sign(root / "authority", root / name / "request.pem")
        certificates.accept(root / name, root / "authority" / "members.pem")
    here.certify(root, NAMES)
    for name in ("removed", "expired", "early", "Hospital 9"):
        shutil.copy(root / "authority" / "members.pem", root / name)
    here.certify(root / "elsewhere", ["Hospital 1"])
    return root


@pytest.fixture
def listener(agreement, root):
    said = []
    made = carrier.Listener(agreement, root / "coordinator", port=0, say=said.append)
    made.said = said
    yield made
    made.close(done=True)


class Part:
    """Acknowledges, once it may, and notes what it was asked."""

    def __init__(self, agreement, name):
        self.agreement, self.number, self.asked, self.may = agreement, agreement.number(name), [], threading.Event()
        self.may.set()

    def answer(self, request):
        self.asked.append(request)
        self.may.wait(LONG)
        return acknowledged(self.agreement, self.number)


def acknowledged(agreement, number, round=1):
    return messages.pack(agreement, Message("received", round, number, COORDINATOR, b""))


def question(agreement, number=0, round=1):
    return messages.pack(agreement, Message("train", round, COORDINATOR, number, bytes(4 * agreement.d)))


def url(listener):
    return f"https://127.0.0.1:{listener.server_address[1]}"


@contextmanager
def hospitals(listener, root, *parts, **options):
    """Hospitals that serve in threads; they end when the listener says that all is done."""
    ended = {}

    def run(part):
        name = NAMES[part.number]
        about = dict(patience=LONG) | options
        try:
            ended[name] = dial.serve(part, part.agreement, name, url(listener), root / name, **about)
        except Exception as error:
            ended[name] = error

    threads = [threading.Thread(target=run, args=(part,), daemon=True) for part in parts]
    for thread in threads:
        thread.start()
    yield ended
    for thread in threads:
        thread.join(LONG)
        assert not thread.is_alive()


def raw(root, folder, **more):
    """A context without the checks that this machine would make of its own certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(cadata=certificates.authority_of(root / NAMES[2]))
    if folder:
        context.load_cert_chain(root / folder / "own.pem", root / folder / "own.key")
    for name, value in more.items():
        setattr(context, name, value)
    return context


def by_hand(listener, root, folder, method="GET", path="/", body=b"", **headers):
    """Status and text of one request; the words of the error if there is no answer."""
    line = http.client.HTTPSConnection(*listener.server_address, context=raw(root, folder), timeout=LONG)
    with closing(line):
        try:
            line.request(method, path, body, {"Content-Length": str(len(body))} | headers)
            answer = line.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except OSError as error:
            return None, str(error)


def eventually(true):
    end = time.monotonic() + LONG
    while not (found := true()) and time.monotonic() < end:
        time.sleep(0.02)
    assert found
    return found


# ---------------------------------------------------------------- who does what they should


def test_questions_go_out_and_answers_come_back(listener, agreement, root):
    parts = [Part(agreement, name) for name in NAMES]
    with hospitals(listener, root, *parts) as ended:
        assert listener.wait_for(NAMES, LONG) == []
        for round in (1, 2, 3):
            asked = {name: question(agreement, k, round) for k, name in enumerate(NAMES)}
            assert listener.ask(asked, LONG) == {n: acknowledged(agreement, k) for k, n in enumerate(NAMES)}
            assert [part.asked[-1] for part in parts] == list(asked.values())
        listener.close(done=True)
    assert ended == dict.fromkeys(NAMES, "The training is over.")
    assert {f"{name} is here." for name in NAMES} <= set(listener.said)


def test_one_that_never_answers_costs_the_deadline_and_one_that_hung_up_less(listener, agreement, root, monkeypatch):
    monkeypatch.setattr(carrier, "GRACE", 0.3)
    silent = Part(agreement, NAMES[1])
    silent.may.clear()
    with hospitals(listener, root, Part(agreement, NAMES[0]), silent):
        listener.wait_for(NAMES[:2], LONG)
        time.sleep(0.4)
        start = time.monotonic()
        found = listener.ask({name: question(agreement, k) for k, name in enumerate(NAMES)}, 1.0)
        assert list(found) == [NAMES[0]] and time.monotonic() - start >= 1.0
        start = time.monotonic()
        assert listener.ask({NAMES[2]: question(agreement, 2)}, LONG) == {} and time.monotonic() - start < LONG / 2
        silent.may.set()  # its late answer is of no use, and it goes on with the next question
        assert list(listener.ask({NAMES[1]: question(agreement, 1, 2)}, LONG)) == [NAMES[1]]
        assert len(silent.asked) == 2
        listener.close(done=True)


def test_a_late_joiner_gets_what_is_open(listener, agreement, root):
    late = threading.Timer(0.5, lambda: joined.append(hospitals(listener, root, Part(agreement, NAMES[2]))))
    joined = []
    late.start()
    threading.Thread(target=lambda: (late.join(), joined[0].__enter__()), daemon=True).start()
    assert list(listener.ask({NAMES[2]: question(agreement, 2)}, LONG)) == [NAMES[2]]


def test_a_coordinator_that_starts_again_is_found_again(agreement, root):
    first, said = carrier.Listener(agreement, root / "coordinator", port=0), []
    with hospitals(first, root, Part(agreement, NAMES[0]), say=said.append) as ended:
        assert first.ask({NAMES[0]: question(agreement)}, LONG)
        first.close(done=False)
        again = carrier.Listener(agreement, root / "coordinator", port=first.server_address[1])
        assert again.ask({NAMES[0]: question(agreement, round=2)}, LONG)
        again.close(done=True)
    assert ended == {NAMES[0]: "The training is over."}
    assert [line.split(" (")[0] for line in said] == [
        "The coordinator is there.",
        "The coordinator is not there; dialling on.",
        "The coordinator is there.",
    ]


def test_patience_ends(agreement, root):
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(ConnectionError, match="was not reached for 0.2 s"):
            where = f"https://127.0.0.1:{taken.getsockname()[1]}"
            dial.serve(Part(agreement, NAMES[0]), agreement, NAMES[0], where, root / NAMES[0], patience=0.2)


# ---------------------------------------------------------------- who must not come in


@pytest.mark.parametrize(
    ("folder", "hears", "coordinator_says"),
    [
        (None, "is missing", "shows no certificate"),
        ("elsewhere/Hospital 1", "is of another authority", "is of another authority"),
        ("expired", "has expired by the clock there", "has expired"),
        ("early", "does not hold by the clock there", "does not hold yet"),
        ("coordinator", "does not hold", "is for another part"),
    ],
)
def test_a_certificate_that_does_not_hold_is_refused_by_tls(listener, root, folder, hears, coordinator_says):
    status, said = by_hand(listener, root, folder)
    assert status is None
    assert any(coordinator_says in line for line in eventually(lambda: listener.said))


@pytest.mark.parametrize(
    ("folder", "why"), [("removed", "not in the list"), ("Hospital 9", "no hospital in this plan")]
)
def test_a_good_certificate_is_not_enough(listener, root, folder, why):
    status, said = by_hand(listener, root, folder)
    assert status == carrier.NOT_YOU and why in said
    assert any(why in line for line in listener.said) and not listener.lines.total()
    name = "Hospital 1" if folder == "removed" else folder
    with pytest.raises(ValueError, match=why if folder == "removed" else "hospital"):
        agreement = listener.agreement
        dial.serve(Part(agreement, "Hospital 1"), agreement, name, url(listener), root / folder, patience=1)


def test_an_older_tls_is_not_spoken(listener, root):
    context = raw(root, NAMES[0])
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with closing(socket.create_connection(listener.server_address)) as line, pytest.raises(ssl.SSLError):
        context.wrap_socket(line, server_hostname="127.0.0.1")


def test_a_hospital_hears_why_it_is_sent_away(listener, agreement, root, monkeypatch):
    monkeypatch.setattr(certificates, "in_time", lambda member: None)
    monkeypatch.setattr(identity, "in_time", lambda member: None)
    for folder, why in [("expired", "has expired by the clock there"), ("early", "does not hold by the")]:
        with pytest.raises(dial.SentAway, match=why):
            dial.serve(Part(agreement, NAMES[0]), agreement, NAMES[0], url(listener), root / folder, patience=LONG)


def test_a_hospital_does_not_talk_to_anybody_else(listener, agreement, root, monkeypatch):
    said = []
    monkeypatch.setattr(listener, "say", said.append)
    with pytest.raises(dial.SentAway, match="is of another authority"):
        folder = root / "elsewhere" / "Hospital 1"
        dial.serve(Part(agreement, NAMES[0]), agreement, NAMES[0], url(listener), folder, patience=1)
    port = listener.server_address[1]
    with pytest.raises(dial.SentAway, match="is not for this name: dial one of the addresses"):
        where = f"https://localhost:{port}"
        dial.serve(Part(agreement, NAMES[0]), agreement, NAMES[0], where, root / NAMES[0], patience=1)
    assert eventually(lambda: any("is not for the address that was dialled" in line for line in said))
    for wrong in ("http://127.0.0.1:1", "127.0.0.1", "https://127.0.0.1:99999", "https://a/b", None):
        with pytest.raises(ValueError, match="url must be like"):
            dial.address(wrong)


def test_who_was_removed_meanwhile_is_out_at_the_next_question(listener, agreement, root, monkeypatch):
    members = root / "coordinator" / "members.pem"
    before = members.read_text()
    monkeypatch.setattr(carrier, "GRACE", 0.2)
    part = Part(agreement, NAMES[0])
    with hospitals(listener, root, part) as ended:
        listener.wait_for(NAMES[:1], LONG)
        try:
            own = certificates.own(root / NAMES[0]).pem
            members.write_text(before.replace(own, ""))
            assert listener.ask({NAMES[0]: question(agreement)}, LONG) == {} and part.asked == []
            assert "not in the list of members" in str(eventually(lambda: ended)[NAMES[0]])
            members.unlink()  # no list lets nobody in
            assert by_hand(listener, root, NAMES[1])[0] == carrier.NOT_YOU
        finally:
            members.write_text(before)


# ---------------------------------------------------------------- what is not read


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda a: (question(a)[:20], {}), "begins with"),
        (lambda a: (b"GET / HTTP/1.1" * 30, {}), "begin otherwise"),
        (lambda a: (acknowledged(a, 1), {}), "says it is from 1, the certificate belongs to 0"),
        (lambda a: (acknowledged(a, 0) + b"more", {}), "54 bytes were announced; this message has 50"),
        (lambda a: (acknowledged(a, 0), {"Content-Length": "5000000000"}), "5000000000 bytes were announced"),
        (lambda a: (acknowledged(a, 0), {"Content-Length": "many"}), "this one has 0"),
        (lambda a: (acknowledged(a, 0), {"Content-Length": "9" * 9000}), "9999 bytes were announced"),
        (lambda a: (acknowledged(a, 0), {"Content-Length": "-1"}), "this one has 0"),
        (lambda a: (question(a), {}), "says it is from 65535"),
    ],
)
def test_a_message_that_cannot_be_is_refused_before_it_is_read(listener, agreement, root, made, why):
    body, headers = made(agreement)
    status, said = by_hand(listener, root, NAMES[0], "POST", "/ticket", body, **headers)
    assert status == carrier.WRONG and why in said


def test_a_message_a_hundred_times_too_long_is_not_read(listener, agreement, root):
    """Its sender notices that nobody reads on: what is in between is a few buffers of the system."""
    context, sent = raw(root, NAMES[0]), 0
    with context.wrap_socket(socket.create_connection(listener.server_address), server_hostname="127.0.0.1") as line:
        line.settimeout(LONG)
        head = acknowledged(agreement, 0)
        line.sendall(b"POST /x HTTP/1.1\r\nContent-Length: 1000000000\r\n\r\n" + head)
        with pytest.raises(OSError):
            while sent < 10**9:
                sent += line.send(bytes(2**20))
    assert sent < 2**27


def test_a_coordinator_that_sends_too_much_is_refused_by_the_part(listener, agreement, root):
    part = Part(agreement, NAMES[0])
    with hospitals(listener, root, part):
        assert listener.ask({NAMES[0]: question(agreement) + bytes(10**6)}, LONG)
        assert part.asked == [question(agreement)[: messages.HEADER_BYTES]]
        listener.close(done=True)


def test_an_answer_counts_once_and_for_its_question_alone(listener, agreement, root):
    asking = threading.Thread(target=lambda: got.update(listener.ask({NAMES[0]: question(agreement)}, 2.0)))
    got = {}
    asking.start()
    eventually(lambda: listener.requests)
    right = acknowledged(agreement, 0)
    assert by_hand(listener, root, NAMES[0], "POST", "/0123456789abcdef", right)[0] == carrier.TOO_LATE
    assert by_hand(listener, root, NAMES[1], "POST", "/x", acknowledged(agreement, 1))[0] == carrier.TOO_LATE
    ticket = listener.requests[NAMES[0]][0]
    assert by_hand(listener, root, NAMES[0], "POST", f"/{ticket}", right)[0] == carrier.STAND_BY
    assert by_hand(listener, root, NAMES[0], "POST", f"/{ticket}", right)[0] == carrier.TOO_LATE
    asking.join()
    assert got == {NAMES[0]: right}


# ---------------------------------------------------------------- who would hold the door shut


def test_twenty_bad_callers_do_not_stop_a_good_one(listener, agreement, root, monkeypatch):
    monkeypatch.setattr(carrier, "HANDSHAKE", 1.0)
    bad = [socket.create_connection(listener.server_address) for _ in range(20)]
    for k, line in enumerate(bad):
        line.sendall([b"", b"\x16\x03\x01\x02\x00", b"GET / HTTP/1.1\r\n\r\n", os.urandom(100)][k % 4])
    start = time.monotonic()
    with hospitals(listener, root, Part(agreement, NAMES[0])):
        assert listener.ask({NAMES[0]: question(agreement)}, LONG)
        assert time.monotonic() - start < 1.0 or not any("Too slow" in line for line in listener.said)
        eventually(lambda: sum("was sent away" in line for line in listener.said) == 20)
        assert sum("Too slow" in line for line in listener.said) == 10  # silent ones, and half a greeting
        listener.close(done=True)
    for line in bad:
        line.close()


@pytest.mark.parametrize("folder", ["removed", "Hospital 9", NAMES[1]])
def test_who_has_a_certificate_and_says_nothing_keeps_nobody_out(agreement, root, monkeypatch, folder):
    monkeypatch.setattr(carrier, "CALLERS", 4)
    monkeypatch.setattr(carrier, "HANDSHAKE", 1.0)
    there, context, held = carrier.Listener(agreement, root / "coordinator", port=0), raw(root, folder), []
    try:
        for _ in range(carrier.CALLERS + carrier.EACH * len(NAMES) + 4):
            with suppress(OSError):  # the last ones are not taken any more
                line = socket.create_connection(there.server_address, LONG)
                held.append(context.wrap_socket(line, server_hostname="127.0.0.1"))
                held[-1].sendall(b"GET / HT")
        with hospitals(there, root, Part(agreement, NAMES[0]), patience=5.0) as ended:
            assert there.ask({NAMES[0]: question(agreement)}, 5.0), ended
            assert there.lines[NAMES[1]] <= carrier.EACH
            there.close(done=True)
    finally:
        for line in held:
            line.close()
        there.close(done=True)


def test_a_session_that_is_taken_up_again_is_no_way_back_in(listener, root):
    """TLS does not look at a certificate again then; the list of members is looked at for each question."""
    members, context = root / "coordinator" / "members.pem", raw(root, NAMES[0])
    before = members.read_text()

    def asked(session):
        line = socket.create_connection(listener.server_address, LONG)
        with context.wrap_socket(line, server_hostname="127.0.0.1", session=session) as secure:
            secure.sendall(b"GET / HTTP/1.1\r\n\r\n")
            return secure.recv(1000), secure.session, secure.session_reused

    with listener.changed:
        listener.requests[NAMES[0]] = ("ticket", b"question")
    said, session, _ = asked(None)
    assert b"200 OK" in said
    try:
        members.write_text(before.replace(certificates.own(root / NAMES[0]).pem, ""))
        said, _, again = asked(session)
        assert again and b" 403 " in said.splitlines()[0]
    finally:
        members.write_text(before)


def test_a_coordinator_that_was_removed_meanwhile_is_answered_no_more(listener, agreement, root):
    members = root / NAMES[0] / "members.pem"
    before, part = members.read_text(), Part(agreement, NAMES[0])
    with hospitals(listener, root, part) as ended:
        assert listener.ask({NAMES[0]: question(agreement)}, LONG)
        try:
            members.write_text(before.replace(certificates.own(root / "coordinator").pem, ""))
            assert listener.ask({NAMES[0]: question(agreement, round=2)}, 2.0) == {} and len(part.asked) == 1
            assert "not in the list of members" in str(eventually(lambda: ended)[NAMES[0]])
        finally:
            members.write_text(before)


def test_a_reason_is_whole_whatever_letters_it_has_and_moves_no_cursor(listener, agreement, root, monkeypatch):
    why = "Zürich sagt: nein, \x1b[2Jjetzt nicht. Größe 1."
    monkeypatch.setattr(carrier._Caller, "do_GET", lambda caller: caller.reply(carrier.DONE, why))
    with hospitals(listener, root, Part(agreement, NAMES[0])) as ended:
        assert eventually(lambda: ended) == {NAMES[0]: why.replace("\x1b", "")}
    torn = http.client.BadStatusLine("\x1b[2J")
    assert "\x1b" not in tls.plain(torn) and "\x1b" not in tls.plain(OSError(1, "\x1b"))


def test_a_hospital_cannot_take_all_places(listener, agreement, root, monkeypatch):
    monkeypatch.setattr(carrier, "POLL", 3.0)
    waiting = [threading.Thread(target=by_hand, args=(listener, root, NAMES[0])) for _ in range(carrier.EACH)]
    for thread in waiting:
        thread.start()
    eventually(lambda: listener.lines[NAMES[0]] == carrier.EACH)
    status, said = by_hand(listener, root, NAMES[0])
    assert status == carrier.NOT_YOU and "has 4 connections already" in said
    with hospitals(listener, root, Part(agreement, NAMES[1])):
        assert listener.ask({NAMES[1]: question(agreement, 1)}, LONG)
        listener.close(done=True)
    for thread in waiting:
        thread.join()
