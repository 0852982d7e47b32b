"""Who sees what in a federated training, read off its transcript."""

from __future__ import annotations

import pandas as pd

SIGHTS = ("single updates", "model of every round", "finished model", "noise only")  # most telling first

# What a message is worth to whoever holds it. A kind that does not stand here counts as a single update: an aggregator
# of one's own is believed to show everything until it says otherwise in these words.
_MODEL = ("global model",)
_ADDED = ("masked update",)  # whoever holds all of them can compute their sum
_NOTHING = (  # keys, lists, and what only a key opens
    "public keys", "encrypted shares", "survivors", "signature", "signatures", "shares", "encrypted update",
    "encrypted sum",
)  # fmt: skip


def who_sees_what(transcripts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The most telling thing that each viewer can read, beside the bytes that it holds.

    The *server* holds what it sends and receives. A *hospital* holds its own post, and the key where there is one; it
    is curious about the others. The *eavesdropper* holds every message, as if nothing else protected the line. The
    *model user* holds the finished model alone. What server and eavesdropper can add up is a sum before any noise that
    the server adds to it.

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
        If a transcript holds no messages.
    """
    found = []
    for setting, transcript in transcripts.items():
        log = transcript[transcript["seed"] == transcript["seed"].min()]
        if log.empty:
            raise ValueError(f"transcripts must hold messages; that of {setting!r} is empty.")
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
    known = (*_MODEL, *_ADDED, *_NOTHING)
    if not others["what"].isin(known).all():
        return 0
    both = pd.concat([log[["round", "sender"]].set_axis(["round", "who"], axis=1),
                      log[["round", "receiver"]].set_axis(["round", "who"], axis=1)])  # fmt: skip
    fewest = both[both["who"] != "server"].groupby("round")["who"].nunique().min()
    later = others["what"].isin(_MODEL) & (others["round"] > log["round"].min())  # the first one is no secret
    knows_sums = viewer in ("hospital", "model user") or others["what"].isin(_ADDED).any() or later.any()
    if not knows_sums:
        return 3
    if fewest == 1 or (fewest == 2 and viewer == "hospital"):  # one takes its own update from the sum
        return 0
    return 1 if log["round"].nunique() > 1 and viewer != "model user" else 2
