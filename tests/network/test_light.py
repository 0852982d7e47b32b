"""What a hospital's process loads: where one is started for each message, that is what each message costs."""

import subprocess
import sys

import pytest

from fedlab_utils.network import rows
from fedlab_utils.network.messages import numbers

HEAVY = "pandas scipy sklearn matplotlib dp_accounting seaborn ipywidgets tenseal".split()
ANSWER = """
import sys, time
from pathlib import Path
from fedlab_utils.network import Agreement, HospitalPart, rows
from fedlab_utils import secagg
root = Path(sys.argv[1])
agreement = Agreement.from_toml((root / "plan.toml").read_text())
own = rows.load("Hospital 2", agreement, root)
more = {}
if agreement.masked:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    key = Ed25519PrivateKey.from_private_bytes(bytes(32))
    more = dict(signing_key=key, registry=dict.fromkeys(range(3), key.public_key()))
answer = HospitalPart(agreement, own, root / "book", **more).answer((root / "request").read_bytes())
(root / "answer").write_bytes(answer)
print(" ".join(sorted({name.split(".")[0] for name in sys.modules})))
"""


def loaded(root):
    done = subprocess.run([sys.executable, "-c", ANSWER, str(root)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return [name for name in HEAVY if name in done.stdout.split()]


@pytest.mark.parametrize(
    ("kind", "about"),
    [
        ("train", {"promise": dict(unit="record", epsilon=3.0)}),
        ("advertise", {"masked": True}),
    ],
)
def test_an_answer_needs_pytorch_and_no_other_large_package(agree, house, ask, kind, about, tmp_path):
    there = house(agree(**about))
    part = there.parts["Hospital 2"]
    if about.get("promise"):
        _ = part.work.noise  # computed when the hospital is set up, and kept in its book
    (tmp_path / "book").mkdir()
    (tmp_path / "book" / "book.jsonl").write_bytes((part.book.folder / "book.jsonl").read_bytes())
    rows.save(there.fed.hospitals[1], there.agreement, tmp_path)
    (tmp_path / "plan.toml").write_text(there.agreement.to_toml())
    model = numbers(there.coordinator().models[0])
    (tmp_path / "request").write_bytes(ask(there.agreement, kind, 1, model))
    assert loaded(tmp_path) == []
    assert len((tmp_path / "answer").read_bytes()) == len(part.answer(ask(there.agreement, kind, 1, model)))


def test_rows_come_back_as_they_were(fed, agree, tmp_path):
    agreement = agree()
    rows.save(fed.hospitals[0], agreement, tmp_path)
    own = rows.load("Hospital 1", agreement, tmp_path)
    assert (own.X_train == fed.hospitals[0].X_train).all() and (own.y_train == fed.hospitals[0].y_train).all()
    with pytest.raises(ValueError, match="^folder must hold rows that were prepared for this agreement"):
        rows.load("Hospital 1", agree(rounds=9), tmp_path)
    with pytest.raises(ValueError, match="^folder must hold rows"):
        rows.load("Hospital 1", agreement, tmp_path / "nowhere")
