"""Exercises of lesson 13."""

from __future__ import annotations

import struct

import numpy as np

from fedlab_utils.checks.mechanism import Found, as_array, compare, exercise, hint, picked, question, well_done

_HEAD = struct.Struct(">4sBB32sIHHI")  # as in the lesson and in `network.messages`; a test compares them


def _head(magic=b"FLNW", agreed=b"a" * 32, length=900, number=3) -> bytes:
    return _HEAD.pack(magic, 1, 1, agreed, number, 65535, 0, length)


@exercise
def to_read(yours):
    "a function of head (50 bytes), agreed (32 bytes) and allowed (a number) that returns how many bytes to read next"
    agreed = b"a" * 32

    def told(head: bytes, allowed: int = 900) -> float:
        value = as_array(yours(head, agreed, allowed), "the number of bytes")
        return float(value.reshape(-1)[0]) if value.size == 1 else np.nan

    mistakes = {
        "You add the head. Its 50 bytes have been read already.": 950,
        "You took the number from the wrong place, or with the lowest byte first. `HEAD.unpack(head)[-1]` is the "
        "length.": struct.unpack("<I", struct.pack(">I", 900))[0],
        "That is the round. The length is the last number of the head.": 3,
        "That refuses a message in which everything is right.": 0,
    }
    if wrong := compare(told(_head()), 900, what="a good message: the number of bytes", mistakes=mistakes):
        return wrong
    if told(_head(length=90_000)) not in (0, 90_000, 900):
        return hint("A head that announces 90,000 bytes is to be refused, and yours does. The sign for that is `0`.")
    if told(_head(length=400), 400) != 400:
        return hint("In another plan messages have 400 bytes, and yours refuses one of 400. Compare with `allowed`.")
    if told(_head(length=90_000)) != 0:
        return hint(
            "A head announces 90,000 bytes where the plan knows of 900, and yours reads on. Who believes the head "
            "lets a stranger fill the memory: refuse it with 0."
        )
    if told(_head(length=899)) != 0:
        return hint(
            "A message that is a byte too *short* is as wrong as one that is too long: the plan knows the length."
        )
    if told(_head(agreed=b"b" * 32)) != 0:
        return hint("That message belongs to another plan: its hash is not `agreed`. Yours reads it all the same.")
    if told(_head(agreed=b"a" * 31 + b"b")) != 0:
        return hint("Two plans whose hashes differ in the last byte are two plans. Compare all 32 bytes.")
    if told(_head(magic=b"GET ")) != 0:
        return hint("That is no message of this network at all: it begins with `GET `, not with `FLNW`.")
    return well_done("Nothing a stranger sends decides how much you read. The plan does.")


_MG = {"value": 212, "unit": "mg/dL", "system": "http://unitsofmeasure.org", "code": "mg/dL"}


@exercise
def in_mg(yours):
    "a function of a FHIR quantity (a dict) that returns mg/dL, or np.nan where one would have to guess"

    def told(**changes) -> float | None:
        quantity = {k: v for k, v in (_MG | changes).items() if v is not None}
        value = as_array(yours(quantity), "the value")
        if value.size != 1:
            raise Found(hint("Return one number, or `np.nan` where there is none."))
        return None if np.isnan(value.reshape(-1)[0]) else float(value.reshape(-1)[0])

    if told() is None:
        return hint("212 mg/dL with a UCUM code needs no guess, and yours refuses it.")
    if wrong := compare(told(), 212.0, what="for 212 mg/dL, the value"):
        return wrong
    millimoles = told(value=5.2, unit="mmol/L", code="mmol/L")
    if millimoles is None:
        return hint("5.2 mmol/L is a known unit of cholesterol: convert it, with 38.67 mg/dL to the mmol/L.")
    mistakes = {
        "5.2 mmol/L went through as 5.2 mg/dL.": 5.2,
        "You divided. A mmol/L of cholesterol is 38.67 mg/dL.": 5.2 / 38.67,
        "18 is the factor of glucose. A factor belongs to a substance: cholesterol's is 38.67.": 5.2 * 18.02,
    }
    if wrong := compare(millimoles, 5.2 * 38.67, what="for 5.2 mmol/L, the value", mistakes=mistakes, tolerance=5e-3):
        return wrong
    refused = [
        (
            dict(unit="mg/dL", system=None, code=None),
            "A quantity without a code: `unit` is what somebody typed for eyes, and yours believes it.",
        ),
        (
            dict(system="urn:ward"),
            "The code `mg/dL` of the ward's own list is not UCUM's, and yours takes it for that. Look at `system`.",
        ),
        (
            dict(value=5.2, unit="mmol/L", code=None, system=None),
            "5.2 without a code: yours guesses from how large the number is, or from `unit`.",
        ),
        (dict(unit="mg/dL", code="g/dL"), "The code is g/dL, which is not in your table, and yours lets it through."),
        (dict(code="mmol/mol"), "The code is mmol/mol, which is no unit of cholesterol, and yours lets it through."),
        (dict(value=None), "There is no value in it, and yours returns one."),
        (
            dict(value=50, comparator="<"),
            "`comparator` says that this is only a limit, less than 50. Yours returns 50.",
        ),
        (
            dict(value=500, comparator=">="),
            "`>=` is a limit too: the device could not measure more than 500. Yours returns 500.",
        ),
    ]
    for changes, message in refused:
        value = told(**changes)
        if value is not None and value <= 0 and changes.get("value", value) is not None:
            return hint("You refuse, and say so with a number. A table takes that for a cholesterol: use `np.nan`.")
        if value is not None:
            return hint(message)
    if told(unit="milligrams per decilitre") is None:
        return hint("The code is right and `unit` is only words for eyes; yours refuses it for its words.")
    return well_done(
        "Converted or refused, never guessed. The report counts what was refused, so somebody can mend it."
    )


@question
def knows_the_future(yours):
    "a set of some of the letters A, B, C and D"
    hints = {
        "B": (
            "B's AUC is too good. For whom of B's ill patients does the index date lie before the day of diagnosis? "
            "Compare `index` with `diagnosis`."
        ),
        "D": (
            "D's AUC looks like A's, so AUC cannot tell. Compare `newest`, the day on which the newest entry in a row "
            "was *recorded*, with `index`."
        ),
        "A": "A's rows use nothing recorded on or after the index date, and no index date lies after a diagnosis.",
        "C": (
            "C asks about fewer years, so its AUC need not be A's. Measure it as you measured the others: is anything "
            "in it from after the index date?"
        ),
    }
    nothing = "Somebody did plant one. Compare three columns of `audit`: `index`, `newest` and `diagnosis`."
    praise = "One leak was loud and one was silent. Only the dates told of the second."
    return picked(yours, "BD", nothing, hints, praise)
