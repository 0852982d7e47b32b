"""What is typed for several machines, and the one sentence for what cannot be."""

import os
import re
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from fedlab_utils import data
from fedlab_utils.network import Agreement, Coordinator, InProcess, certificates, command, door, here, identity
from fedlab_utils.network.agreement import COORDINATOR
from fedlab_utils.network.messages import Message, numbers, pack, unpack
from fedlab_utils.system import Settings, Training

OVER = "The training is over."


@pytest.fixture(scope="module")
def handed(tmp_path_factory):
    """Plan, tables, keys and certificates of three hospitals."""
    folder = tmp_path_factory.mktemp("class")
    federation = data.load("breast_cancer").repartition(3, None)
    here.hand_out(folder, federation, Settings(training=Training(rounds=1, hidden=(4,))))
    return here.certify(folder, [h.name for h in federation.hospitals])


@pytest.fixture
def typed(handed, capsys, monkeypatch):
    monkeypatch.chdir(handed)

    def type_in(line):
        code = command.main([word.replace("_", " ") for word in line.split()])
        out, err = capsys.readouterr()
        assert len(err.splitlines()) == (code != 0)
        return code, out + err

    return type_in


@pytest.mark.skipif(os.name == "nt", reason="who may read a file is said otherwise there")
def test_a_table_that_is_handed_out_is_for_its_owner_alone(handed):
    tables = sorted(handed.glob("*.csv"))
    assert len(tables) == 3 and all(path.stat().st_mode & 0o077 == 0 for path in tables)


def test_from_keys_to_a_list_of_members(typed):
    code, said = typed("certificates authority new/boss --days 30")
    assert code == 0 and "authority.key stays on this machine" in said
    (key,) = re.findall(r"(?:[0-9a-f]{4} ?){8}", said)
    code, said = typed("certificates request new/hub --name hub --address 127.0.0.1 hub.example.org")
    assert code == 0 and "hub, coordinator at 127.0.0.1, hub.example.org, key " in said and "read the key aloud" in said
    for name in ("A", "B"):
        assert typed(f"certificates request new/{name} --name Hospital_{name}")[0] == 0
    assert "(asked for, not signed)" in typed("certificates show new/A/request.pem")[1]
    assert typed("certificates sign new/boss new/hub/request.pem --coordinator --days 7")[0] == 0
    code, said = typed("certificates sign new/boss new/A/request.pem new/B/request.pem --days 7")
    assert code == 0 and "Hospital A, hospital, until 20" in said and "new/boss/members.pem to all" in said
    code, said = typed("certificates accept new/A new/boss/members.pem")
    assert code == 0 and "This is Hospital A" in said and key in said
    assert typed("certificates remove new/boss Hospital_B") == (0, "Hospital B is off the list.\n"
                 "Hand new/boss/members.pem to all again: it holds where it was accepted.\n")  # fmt: skip
    assert [line.split(",")[0] for line in typed("certificates show new/boss")[1].splitlines()] == ["hub", "Hospital A"]


def test_a_table_is_read_once_and_its_rows_are_kept(typed, handed):
    with closing(socket.socket()) as nobody:
        nobody.bind(("127.0.0.1", 0))
        dial = f"--dial https://127.0.0.1:{nobody.getsockname()[1]} --patience 0"
        line = f"hospital plan.toml --folder Hospital_2 {dial}"
        code, said = typed(line)
        assert code == 2 and "--table must be given: no rows for this plan lie in 'Hospital 2' yet." in said
        code, said = typed(f"{line} --table Hospital_2.csv")
        assert code == 1 and "Hospital 2, 126 rows for training, 1 rounds agreed on." in said
        assert said.endswith("was not reached for 0 s: Connection refused.\n")
        assert typed(line) == (1, said)
        code, said = typed(f"{line} --table Hospital_3.csv")
        assert code == 2 and "rows" in said


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("coordinator none.toml", "'none.toml' is no file."),
        ("coordinator Hospital_1.csv", "The agreement is not TOML"),
        ("coordinator plan.toml --folder nowhere", "'nowhere' has no own.pem"),
        ("hospital plan.toml --table x.csv", "'hospital' has no own.pem"),
        ("coordinator plan.toml --folder Hospital_1", "a hospital; the coordinator has its own"),
        ("coordinator plan.toml --port 99999", "Port 99999 of 0.0.0.0 cannot be opened"),
        ("coordinator plan.toml --host 256.1.1.1 --port 0", "Port 0 of 256.1.1.1 cannot be opened"),
        ("hospital plan.toml --folder Hospital_1 --name Hospital_2", "--name must be 'Hospital 1', whose certificate"),
        ("hospital plan.toml --folder Hospital_1 --table none.csv", "--table must be a file; 'none.csv' is none."),
        ("hospital plan.toml --folder Hospital_1 --table plan.toml", "--table must"),
        ("hospital plan.toml --folder coordinator --table x.csv", "hospital must be one of Hospital 1, Hospital 2"),
        (
            "hospital plan.toml --folder Hospital_1 --budget much",
            "--budget must be one finite number above 0, epsilon at",
        ),
        ("hospital plan.toml --folder Hospital_1 --budget 0", "--budget must be one finite number above 0"),
        ("hospital plan.toml --folder Hospital_1 --budget -2", "--budget must be one finite number above 0"),
        ("hospital plan.toml --folder Hospital_1 --budget nan", "got 'nan'."),
        ("hospital plan.toml --folder Hospital_1 --budget inf", "got 'inf'."),
        (
            "hospital plan.toml --folder Hospital_1 --budget 2.0",
            "--budget must be left out: this plan makes no promise",
        ),
        ("hospital plan.toml --folder Hospital_1 --flower --dial https://x", "--dial must be left out with --flower"),
        ("hospital plan.toml --folder Hospital_1 --flower --patience 5", "--patience must be left out with --flower"),
        (
            "hospital plan.toml --folder none --flower",
            "--name must be given: as in the plan, one of Hospital 1, Hospital 2, Hospital 3.",
        ),
        ("hospital plan.toml --folder none", "'none' has no own.pem"),
        ("hospital plan.toml --folder Hospital_1 --flower --name Hospital_2", "--name must be 'Hospital 1', whose"),
        ("hospital plan.toml --folder Hospital_1 --dial http://x", "url must be like https://192.168.1.20:8443"),
        ("certificates sign Hospital_1 Hospital_2/request.pem", "holds no authority"),
        ("certificates show nowhere", "is no file"),
    ],
)
def test_what_cannot_be_gets_one_sentence_and_code_2(typed, line, why):
    code, said = typed(line)
    assert code == 2 and why in said and "Traceback" not in said


def test_for_flower_it_opens_a_door_needs_no_certificate_and_ends_with_the_model(typed, handed, monkeypatch):
    plan = Agreement.from_toml((handed / "plan.toml").read_text())
    model = numbers(Coordinator(plan, InProcess({})).models[0])
    with ThreadPoolExecutor() as aside:
        line = "hospital plan.toml --flower --name Hospital_3 --folder carried --table Hospital_3.csv"
        told, book = aside.submit(typed, line), handed / "carried" / "book"
        for kind, number, comes in (("train", 1, "update"), ("final", 2, "received")):
            answer = door.ask(book, pack(plan, Message(kind, number, COORDINATOR, 2, model)))
            assert unpack(plan, answer).kind == comes
        code, said = told.result(60)
    assert code == 0 and "round 1: update" in said and said.endswith(f"is in {book.relative_to(handed)}.\n{OVER}\n")
    assert f"--node-config 'folder=\"{book.as_posix()}\"'\n" in said
    assert (book / "model.f32").read_bytes() == model and not (book / door.FILE).exists()
    monkeypatch.setattr(door.Door, "__init__", None)  # once more it ends at once, and opens no door
    code, said = typed(line)
    last = f"{OVER[:-1]}: its model came at an earlier start, into {book.relative_to(handed)}.\n"
    assert code == 0 and said.endswith(last)


def test_a_port_that_is_taken(typed):
    with closing(socket.socket()) as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        code, said = typed(f"coordinator plan.toml --host 127.0.0.1 --port {port}")
    assert code == 2 and f"Port {port} of 127.0.0.1 is taken" in said and "--port" in said


def test_rounds_to_which_nobody_would_come_are_not_begun(typed, handed):
    code, said = typed("coordinator plan.toml --host 127.0.0.1 --port 0 --wait 0.1")
    assert code == 1 and said.endswith("Nobody is here. The next start goes on with round 1.\n")
    assert not list((handed / "coordinator").glob("training/*")) and "Not here yet" in said


def test_between_rounds_it_waits_until_somebody_is_there(capsys):
    waited = []
    part = SimpleNamespace(history=[1], agreement=SimpleNamespace(training=Training(rounds=2)))
    command._somebody(SimpleNamespace(anybody=lambda s: waited.append(s) or s > 0), part, 9.0)
    assert waited == [0, 9.0] and capsys.readouterr().out == "Nobody is here; waiting.\n"
    part.history.append(2)
    command._somebody(SimpleNamespace(anybody=lambda s: False), part, 9.0)  # all rounds are over


def test_a_clock_that_is_wrong(typed, monkeypatch):
    monkeypatch.setattr(identity, "now", lambda: datetime.now(UTC) - timedelta(days=400))
    code, said = typed("hospital plan.toml --folder Hospital_1")
    assert code == 2 and "does not hold yet" in said and "by this machine's clock it is" in said
    assert typed("certificates show Hospital_1")[1].count("(does not hold today)") == 4


def test_a_masked_plan_needs_everybodys_signing_key(typed, handed):
    text = (handed / "plan.toml").read_text() + '\n[sum]\nthrough = "masked"\n'
    (handed / "masked.toml").write_text(text.replace("[network]\n", "[network]\nmax_rows = 512\n"))
    certificates.request(handed / "alone", "Hospital 1")
    certificates.authority(handed / "boss")
    certificates.sign(handed / "boss", handed / "alone" / "request.pem")
    certificates.accept(handed / "alone", handed / "boss" / "members.pem")
    code, said = typed("hospital masked.toml --folder alone --table Hospital_1.csv --dial https://127.0.0.1:1")
    assert code == 2 and "lacks 'Hospital 2', which the plan names." in said
    code, said = typed("hospital masked.toml --folder alone --table Hospital_1.csv")
    assert (code, said) == (2, "--dial must be given: the list of members has 0 coordinators.\n")


def test_what_nobody_thought_of_shows_no_value(typed, monkeypatch):
    def fails(*given, **about):
        raise RuntimeError("row 7 has age 45")

    monkeypatch.setattr(certificates, "members", fails)
    code, said = typed("certificates show Hospital_1")
    assert code == 1 and "RuntimeError in test_command.py" in said and "45" not in said


@pytest.mark.parametrize("why", [KeyboardInterrupt, PermissionError(13, "Permission denied", "plan.toml")])
def test_stopped_and_forbidden(typed, monkeypatch, why):
    def stops(*given, **about):
        raise why

    monkeypatch.setattr(certificates, "own", stops)
    code, said = typed("coordinator plan.toml")
    assert code == 1
    assert said == ("Stopped. The next start goes on from here.\n" if why is KeyboardInterrupt
                    else "plan.toml: Permission denied.\n")  # fmt: skip
