"""Lesson 00: its exercises."""

WRONG = {  # exercise -> words of the hint -> an answer that must get it
    "gap_closed": {
        "the gain itself": lambda a, t, p: t - a,
        "what is left open": lambda a, t, p: (p - t) / (p - a),
        "compares with 0 AUC": lambda a, t, p: t / p,
        "take away from": lambda a, t, p: t / (p - a),
    },
    "server_still_sees": {
        "never left": {"patients' rows", "global model"},
        "is for": {"single updates", "sum of updates"},
        "the least it needs": {"global model"},
        "adds the sum to something": {"sum of updates"},
        "none of the four": {"weights"},
    },
    "overall_accuracy": {
        "as much say": lambda a, n: sum(a) / len(a),
        "divide by all": lambda a, n: sum(x * y for x, y in zip(a, n, strict=True)),
        "mixed up the weights": lambda a, n: sum(x * y for x, y in zip(a, n[::-1], strict=True)) / sum(n),
    },
}
