"""Who sees what in a federated training, read off its transcript."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from fedlab_utils.federated.aggregators import ABANDONED
from fedlab_utils.federated.strategies import CONTROL, CONTROL_OF_ANOTHER_SUM

SIGHTS = (  # most telling first
    "single updates", "model of every round", "finished model", "noisy sum of every round", "noise only",
)  # fmt: skip

# What a message is worth to whoever holds it. A kind that does not stand here counts as a single update: an aggregator
# of one's own is believed to show everything until it says otherwise in these words.
_MODEL = ("global model", CONTROL, CONTROL_OF_ANOTHER_SUM)
_ADDED = ("masked update",)  # whoever holds all of them can compute their sum
_NOISY = ("masked noisy update",)  # the same, and noise of all hospitals is inside
_SEALED = ("encrypted update",)  # only a key opens it
_NOTHING = (  # keys, lists, and what only a key opens
    "public keys", "encrypted shares", "survivors", "signature", "signatures", "shares", "encrypted sum", ABANDONED,
)  # fmt: skip
_COLUMNS = ("round", "seed", "sender", "receiver", "what", "bytes")


def who_sees_what(transcripts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The most telling thing that each viewer can read, beside the bytes that it holds.

    The *server* holds what it sends and receives. A *hospital* holds its own post, and the key where there is one; it
    is curious about the others. The *eavesdropper* holds every message, as if nothing else protected the line. The
    *model user* holds the finished model alone. What server and eavesdropper can add up is a sum before any noise that
    the server adds to it; where hospitals put the noise into their words, all that anybody sees is noisy.

    Parameters
    ----------
    transcripts
        `FederatedRun.transcript` by the name of the setting. Its first seed is looked at.

    Returns
    -------
    DataFrame
        A row for each viewer and setting: viewer, setting, sees (one of `SIGHTS`) and its level there, messages and
        bytes (a round).

    Raises
    ------
    ValueError
        If there is no transcript, or one that is no transcript or holds no messages.
    """
    found = []
    for setting, transcript in _read(transcripts).items():
        log = transcript[transcript["seed"] == transcript["seed"].min()]
        ends = pd.concat([log["sender"], log["receiver"]])
        one = next(h for h in ends if h != "server")
        held = {
            "server": log[(log["sender"] == "server") | (log["receiver"] == "server")],
            "hospital": log[(log["sender"] == one) | (log["receiver"] == one)],
            "eavesdropper": log,
            "model user": log[:0],
        }
        for viewer, mine in held.items():
            level = _level(viewer, mine[mine["sender"] != one] if viewer == "hospital" else mine, log)
            rounds = log["round"].nunique()
            found.append((viewer, setting, SIGHTS[level], level, len(mine) / rounds, mine["bytes"].sum() / rounds))
    return pd.DataFrame(found, columns=["viewer", "setting", "sees", "level", "messages", "bytes"])


def _level(viewer: str, others: pd.DataFrame, log: pd.DataFrame) -> int:
    """The position in `SIGHTS` of the most telling thing in what a viewer holds from others."""
    known = (*_MODEL, *_ADDED, *_NOISY, *_SEALED, *_NOTHING)
    if not others["what"].isin(known).all():
        return 0
    if _noisy_throughout(log):
        return 3 if viewer in ("hospital", "model user") or others["what"].isin(_NOISY).any() else 4
    fewest = _fewest(log)
    later = others["what"].isin(_MODEL) & (others["round"] > log["round"].min())  # the first one is no secret
    knows_sums = viewer in ("hospital", "model user") or others["what"].isin(_ADDED).any() or later.any()
    if not knows_sums:
        return 4
    several = log["round"].nunique() > 1
    if viewer == "model user" and several:  # it cannot take rounds apart
        return 2
    sums = 1 + others["what"].eq(CONTROL_OF_ANOTHER_SUM).any()  # of the same updates in a round
    if fewest <= sums + (viewer == "hospital"):  # one takes its own update from the sum
        return 0
    return 1 if several else 2


def _noisy_throughout(log: pd.DataFrame) -> bool:
    """Whether nothing went to the server but noisy words and what tells nothing: all models are made of noisy sums."""
    up = log[(log["receiver"] == "server") & ~log["what"].isin(_NOTHING)]["what"]
    return bool(len(up)) and bool(up.isin(_NOISY).all())


def _fewest(log: pd.DataFrame) -> float:
    """How many hospitals have a part in the smallest sum of any round: those that sent one, if anybody did.

    Who fell silent has none, and of a round that was abandoned nobody has a sum.
    """
    log = log[~log["round"].isin(log.loc[log["what"] == ABANDONED, "round"])]
    up = log[(log["receiver"] == "server") & ~log["what"].isin((*_MODEL, *_NOTHING))]
    silent = log[~log["round"].isin(up["round"])]
    named = [up[["round", "sender"]], silent[["round", "sender"]], silent[["round", "receiver"]]]
    both = pd.concat([one.set_axis(["round", "who"], axis=1) for one in named])
    return both[both["who"] != "server"].groupby("round")["who"].nunique().min()


def _read(transcripts: Mapping[str, pd.DataFrame]) -> Mapping[str, pd.DataFrame]:
    if not isinstance(transcripts, Mapping) or not transcripts:
        got = "an empty one" if isinstance(transcripts, Mapping) else type(transcripts).__name__
        raise ValueError(f"transcripts must be a dict from names of settings to transcripts; got {got}.")
    for setting, log in transcripts.items():
        if not isinstance(log, pd.DataFrame) or not set(_COLUMNS) <= set(log.columns):
            got = list(log.columns) if isinstance(log, pd.DataFrame) else type(log).__name__
            raise ValueError(f"transcripts must have the columns {', '.join(_COLUMNS)}; for {setting!r} got {got}.")
        if log.empty:
            raise ValueError(f"transcripts must hold messages; that of {setting!r} is empty.")
    return transcripts
