"""Private data, shared learning: the helper package of the course, one room a subject.

Start with `fleet` (many small networks at once) and `federated.rounds` (Algorithm 1, line by line).
"""

from importlib import import_module as _import_module

from fedlab_utils._ready import ready as ready

__version__ = "0.1.0"

# Names of earlier editions, which learners' own copies of lessons still import.
_MOVED = {
    "anonymity": "attacks.linkage",
    "gan": "synth.gan",
    "messages": "secagg.messages",
    "quantise": "secagg.grid",
    "sampling": "fleet",
    "shamir": "secagg.shamir",
    "simulate": "data.simulate",
    "sources": "data",
    "statistics": "data.agreement",
    "views": "federated.views",
}


def __getattr__(name: str):
    if name in _MOVED:
        return _import_module(f"{__name__}.{_MOVED[name]}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
