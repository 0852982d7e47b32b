"""Who sees what in a federated training, read off its transcript."""

from __future__ import annotations

import pandas as pd

SIGHTS = ("single updates", "model of every round", "finished model", "noise only")  # most telling first

_UPDATE = ("update",)  # in the open
_MODEL = ("global model",)
_LOCKED_SUM = ("encrypted sum",)  # open to whoever has the key: the hospitals


def who_sees_what(transcripts: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """The most telling thing that each viewer can read, beside the bytes that it holds.

    The *server* holds what it sends and receives. A *hospital* holds its own post, and the key where there is one; it
    is curious about the others. The *eavesdropper* holds every message, as if nothing else protected the line. The
    *model user* holds the finished model alone.

    Parameters
    ----------
    transcripts
        `FederatedRun.transcript` by the name of the setting. Its first seed is looked at.

    Returns
    -------
    DataFrame
        A row for each viewer and setting: viewer, setting, sees (one of `SIGHTS`) and its level there, messages and
        bytes (a round).
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
            telling = _MODEL + _LOCKED_SUM if viewer == "hospital" else _MODEL
            models = others.loc[others["what"].isin(telling), "round"].nunique()
            if others["what"].isin(_UPDATE).any():
                level = 0
            elif models > 1:
                level = 1
            else:  # the untrained one that all start from, or the finished one
                level = 2 if viewer == "model user" else 3
            found.append((viewer, setting, SIGHTS[level], level, len(mine) / rounds, mine["bytes"].sum() / rounds))
    return pd.DataFrame(found, columns=["viewer", "setting", "sees", "level", "messages", "bytes"])
