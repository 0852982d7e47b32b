"""Hospitals of a small data set, agreements about them, and parts that can be killed and started again."""

from functools import cache

import pytest

from fedlab_utils import data, network, secagg
from fedlab_utils.network.agreement import COORDINATOR
from fedlab_utils.network.messages import Message, pack
from fedlab_utils.privacy import promises
from fedlab_utils.system import Promise, Settings, Sum, Training


@pytest.fixture(autouse=True, scope="session")
def remembered_noise():
    """The noise of a promise is searched for once: these tests make the same promise again and again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(promises, "noise_for", cache(promises.noise_for))
        yield


@pytest.fixture(scope="session")
def fed():
    return data.load("breast_cancer").repartition(3, None)


@pytest.fixture(scope="session")
def keys():
    return secagg.register(3)


@pytest.fixture(scope="session")
def agree(fed):
    """An agreement of small trainings; arguments are those of the parts of settings, by their names."""

    def made(*, rounds=3, hidden=(4,), promise=None, masked=False, threshold=None, training=None, **net):
        about = dict(rounds=rounds, hidden=hidden) | (training or {})
        through = Sum(through="masked", threshold=threshold) if masked else Sum()
        promise = Promise() if promise is None else Promise(**promise)
        return network.Agreement.of(fed, Settings(training=Training(**about), promise=promise, sum=through), **net)

    return made


class House:
    """All hospitals in this process, each with its folder: one can be killed, started again, and made to die."""

    def __init__(self, agreement, fed, root, keys, streams=None):
        self.agreement, self.fed, self.root, self.keys, self.streams = agreement, fed, root, keys, streams
        self.parts = {}
        for h in fed.hospitals:
            self.start(h.name)
        self.carrier = network.InProcess(self.parts)

    def start(self, name, **more):
        k = [h.name for h in self.fed.hospitals].index(name)
        about = dict(signing_key=self.keys[0][k], registry=self.keys[1]) if self.agreement.masked else {}
        about |= {"streams": self.streams[k]} if self.streams else {}
        self.parts[name] = network.HospitalPart(self.agreement, self.fed.hospitals[k], self.root / name, **about | more)
        if hasattr(self, "carrier"):
            self.carrier.parts[name] = self.parts[name]
        return self.parts[name]

    def kill(self, name):
        self.parts.pop(name).close()
        self.carrier.parts.pop(name, None)

    def coordinator(self, carrier=None, folder="coordinator"):
        registry = self.keys[1] if self.agreement.masked else None
        return network.Coordinator(self.agreement, carrier or self.carrier, self.root / folder, registry=registry)

    def close(self):
        for part in self.parts.values():
            part.close()


@pytest.fixture
def house(fed, keys, tmp_path):
    """Make a `House` of an agreement."""
    made = []

    def build(agreement, **more):
        made.append(House(agreement, fed, tmp_path / f"house{len(made)}", keys, **more))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def ask():
    """Pack a request of the coordinator."""

    def packed(agreement, kind, round, payload, number=1):
        return pack(agreement, Message(kind, round, COORDINATOR, number, payload))

    return packed
