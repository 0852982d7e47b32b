"""Who sees what in a federated training, read off its transcript."""

from __future__ import annotations

import pandas as pd

SIGHTS = ("single updates", "model of every round", "finished model", "noise only")  # most telling first

_UPDATE = ("update",)  # in the open
_ADDED = (*_UPDATE, "masked update")  # whoever holds all messages of these kinds can compute their sum


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
        one = next(h for h in pd.concat([log["sender"], log["receiver"]]) if h != "server")
        held = {
            "server": log[(log["sender"] == "server") | (log["receiver"] == "server")],
            "hospital": log[(log["sender"] == one) | (log["receiver"] == one)],
            "eavesdropper": log,
            "model user": log[:0],
        }
        rounds = log["round"].nunique()
        for viewer, mine in held.items():
            others = mine[mine["sender"] != one] if viewer == "hospital" else mine
            knows_the_sum = viewer in ("hospital", "model user") or mine["what"].isin(_ADDED).any()
            if others["what"].isin(_UPDATE).any():
                level = 0
            elif not knows_the_sum:  # the untrained model that all start from is no secret
                level = 3
            else:
                level = 1 if rounds > 1 and viewer != "model user" else 2
            found.append((viewer, setting, SIGHTS[level], level, len(mine) / rounds, mine["bytes"].sum() / rounds))
    return pd.DataFrame(found, columns=["viewer", "setting", "sees", "level", "messages", "bytes"])
