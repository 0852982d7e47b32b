"""A system in plain words: its settings, what counts as public, who sees what, and what nobody is protected from."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields

from fedlab_utils.data import Federation, card
from fedlab_utils.system.account import counted, listed
from fedlab_utils.system.settings import PARTS, Settings, asdict_plain

ONE_MACHINE = (
    "All hospitals ran on this machine, as parts of one program. Who sees what describes the protocol that they would "
    "follow on machines of their own; nothing was kept apart here."
)
CONTAINS = (
    "This page itself contains results from the patients without any noise: scores, missed patients and calibration on "
    "test rows, the baselines, the attacks and the fingerprint. They stand in no epsilon. Hand it on as you would hand "
    "on such results."
)
CASE_BY_CASE = (
    "Whether a model or a table is personal data is decided case by case (EDPB Opinion 28/2024 says how, for models), "
    "and no number here decides it. This page supports a data-protection impact assessment and replaces none."
)
SIGHTS = {
    "single updates": "the update of each hospital, in every round",
    "model of every round": "the common model after every round, and so the sum of the updates",
    "finished model": "the finished model",
    "noisy sum of every round": "the sum of the updates after every round, with noise of the hospitals inside",
    "noise only": "masked or encrypted words that it cannot open by itself; who sends how much, and when",
}
VIEWERS = {
    "server": "the server, which adds up",
    "hospital": "each hospital, curious about the others",
    "eavesdropper": "somebody who reads all messages",
    "model user": "whoever gets the finished model",
}
_METHODS = {
    "gan": "a pair of competing networks (GAN)", "wgan_gp": "a pair of competing networks (Wasserstein GAN)",
    "independent": "each column by itself", "copula": "each column, and how columns go together (copula)",
    "interpolate": "points between neighbouring patients", "tables": "counts by label and column",
    "pairs": "counts of pairs of columns", "dp_gan": "a pair of competing networks, trained with noise (GAN)",
}  # fmt: skip


def in_words(s: Settings, federations: Sequence[Federation]) -> list[tuple[str, str]]:
    """What the settings ask for, a paragraph a part."""
    return [
        ("Hospitals and rows", _hospitals(s, federations)),
        ("Cleaning and scaling", _cleaning(s, federations)),
        ("Invented patients", _invented(s)),
        ("Training", _training(s)),
        ("Promise asked for", _promise(s)),
        ("How sums travel", _sums(s)),
        ("Repetition", _repetition(s)),
    ]


def _hospitals(s: Settings, federations: Sequence[Federation]) -> str:
    if not federations:
        return f"Rows come from {s.data.table!r}; no hospital was set up yet."
    fed = federations[0]
    train, test = (sum(len(getattr(h, rows)) for h in fed.hospitals) for rows in ("train", "test"))
    tasks = {"regression": "a number", "binary": "one of two outcomes"}
    task = tasks.get(fed.task, f"one of {len(fed.classes)} classes")
    dealt = ", to which the rows were dealt out" if s.data.hospitals or (_own(s) and s.data.hospital is None) else ""
    known = _as_set(s, federations)
    ready = "" if known else " They were handed over ready made, so that the settings under [data] were not used."
    return (
        f"{len(fed.hospitals)} hospitals{dealt if known else ''}, with {train:,} rows to train on and {test:,} to test "
        f"on, of {fed.name}. Predicted is {fed.target}: {task}.{ready}"
    )


def _own(s: Settings) -> bool:
    return s.data.table == "own"


def _as_set(s: Settings, federations: Sequence[Federation]) -> bool:
    """Whether hospitals came from the settings; as far as a name can tell."""
    return not federations or federations[0].name == ("your table" if _own(s) else s.data.table)


def _cleaning(s: Settings, federations: Sequence[Federation]) -> str:
    d = s.data
    if not _as_set(s, federations):
        told = "Rows were cleaned before the hospitals were handed over. "
    elif _own(s):
        left = f"Left out: {listed(d.drop)}. " if d.drop else "No column was named as an identifier and left out. "
        who = f"Rows of one patient are known by {d.patient}. " if d.patient else "Nothing tells rows of one patient. "
        told = left + who
    else:
        told = "Each hospital cleaned its own rows and removed direct identifiers, if any, as the data card says. "
    if s.training.on == "synthetic":
        scaled = (
            "Means and spreads for scaling are those of the invented rows; the baselines, which are here to compare "
        )
        return told + scaled + "with and would not be run, used those of the real ones."
    noisy = d.statistics_epsilon is not None if not federations else federations[0].promise is not None
    kind = "came with noise, under a promise of their own" if noisy else "were exact, which is not private"
    return told + f"Means and spreads for scaling {kind}."


def _invented(s: Settings) -> str:
    made = s.synthetic
    if made.where == "none":
        return "None."
    who = "Each hospital alone invents rows" if made.where == "local" else "The hospitals together invent rows"
    how = _METHODS.get(made.method, "a method chosen by what is public")
    budget = "without a promise" if made.epsilon is None else f"with a budget of epsilon {made.epsilon:g}"
    many = "" if made.rows == 1 else f"{made.rows:g} times "
    return f"{who} from {how}, {budget}: {many}as many as there are real ones."


def _training(s: Settings) -> str:
    t = s.training
    on = {"real": "real rows", "synthetic": "invented rows alone", "both": "real and invented rows"}[t.on]
    model = f"A network with hidden layers of {listed([str(w) for w in t.hidden])}" if t.hidden else "A linear model"
    passes = "once" if t.local_epochs == 1 else f"{t.local_epochs} times"
    told = (
        f"{model} learns from {on} in {counted(t.rounds, 'round')}. In each, a hospital goes {passes} over its rows in "
        f"batches of {t.batch_size} (learning rate {t.lr:g}), and the models are averaged, "
        f"{'by size' if t.strategy == 'fedavg' else 'all alike'}."
    )
    if t.participation < 1:
        told += f" A hospital takes part in a round with a chance of {t.participation:.0%}."
    if t.dropout:
        told += f" It falls silent in a round with a chance of {t.dropout:.0%}."
    return told


def _promise(s: Settings) -> str:
    p = s.promise
    if p.unit == "none":
        return "None for the training."
    unit = "one patient record" if p.unit == "record" else "one hospital"
    seed = " For a demonstration, noise comes from a seed: no promise." if s.demonstration else ""
    return f"For {unit}: epsilon {p.epsilon:g}, delta {p.delta:g}, with steps cut to length {p.clip:g}.{seed}"


def _sums(s: Settings) -> str:
    if s.sum.through == "open":
        return "In the open: the server receives what each hospital sends."
    if s.sum.through == "encrypted":
        return "Encrypted: the server adds without opening, and the hospitals hold the key."
    least = f"at least {s.sum.threshold}" if s.sum.threshold else "more than two thirds of the"
    trust = f", counting on at most {s.sum.colluding} who tell the server what they know" if s.sum.colluding else ""
    return f"Masked: masks of the hospitals cancel out in the sum of {least} hospitals, which the server opens{trust}."


def _repetition(s: Settings) -> str:
    return (
        f"{s.seeds} splits into training and test rows, each with a start of its own; spreads below are over these. "
        f"Splits and starts come from seeds (the first is {s.data.seed})."
    )


def noise_source(secret: Sequence[bool]) -> str:
    """Where the noise came from, given for each noisy release whether it was the operating system."""
    if not secret:
        return "No noise was added to anything."
    if all(secret):
        return (
            "All noise, and all coins that decide who is in a batch, came from the operating system's randomness: "
            "nobody knows them, and another run has others, so that its statistics agree with these and its digits "
            "do not. A fast statistical generator stretches that randomness, in floating-point numbers."
        )
    return "Noise came from a seed, so that numbers repeat; who knows the seed can take it off: there is no promise."


# ---- public knowledge


def declared(fed: Federation) -> list[tuple[str, str, str]]:
    """For each column: its name, what was declared about it, and what was not and so was learnt from rows."""
    known = card(fed.name)
    more = known or fed.schema
    bounds = {**fed.schema.bounds, **more.bounds}
    categories = {**fed.schema.categories, **more.categories}
    gaps = more.gaps if more.gaps is not None else fed.schema.gaps
    numbers = [*fed.schema.numeric, *([fed.target] if fed.task == "regression" else [])]
    rows = []
    for name in (*fed.schema.numeric, *fed.schema.categorical, fed.target):
        told, not_told = [], []
        if name in numbers:
            if name in bounds:
                told.append("from {:g} to {:g}".format(*bounds[name]))
            else:
                not_told.append("bounds")
        elif name == fed.target:
            told.append(f"its classes: {_values(fed.classes)}")
        elif name in categories:
            told.append(_values(categories[name]))
        else:
            not_told.append("categories")
        if name != fed.target and gaps is None:
            not_told.append("missingness")
        elif name != fed.target:
            told.append("can be missing" if name in gaps else "never missing")
        rows.append((name, "; ".join(told) or "nothing", listed(not_told) or "nothing"))
    return rows


def _values(values: Sequence) -> str:
    shown = ", ".join(str(v)[:40] for v in list(values)[:12])
    return shown + (f" and {len(values) - 12} more" if len(values) > 12 else "")


def on_declarations(rows: Sequence[tuple[str, str, str]], told: str | None) -> list[str]:
    """What it means that they were declared, and which were not."""
    missing = [name for name, _, not_told in rows if not_told != "nothing"]
    found = [
        "What the table calls declared, bounds, categories and missingness, was declared by those who set this system "
        "up and not learnt from the rows. No promise covers it: whoever looked at patients to write it down has "
        "released what was seen. The number of rows of each hospital counts as public too."
    ]
    if missing:
        found.append(
            f"For {counted(len(missing), 'column')} something was not declared. A part under a promise does without; "
            "any other part learns it from the rows, which nothing protects: a largest value is one patient's, and so "
            "is a rare category."
        )
    if told is not None:
        found.append(f"For the invented table hospitals told about their rows: {told}.")
    return found


# ---- limits


def not_protected(s: Settings, *, promised: bool) -> list[str]:
    """What this system does not protect from, a sentence each."""
    found = [ONE_MACHINE, CONTAINS]
    if promised:
        found.append(
            "The promise is about training rows. Test patients have none: their scores are on this page, and come out "
            "of the models without noise."
        )
    if s.synthetic.where != "none":
        found.append(
            "Invented rows are made from real ones and can be like some of them; that a row is invented does not "
            "settle whether it is personal data."
        )
    return [
        *found,
        "A promise for a record is none for a patient: who has several records is protected less.",
        "Inference about groups is not prevented: what is true of many patients like somebody, a model learns and "
        "tells, whether that person took part or not.",
        "Contributions are not verified: a hospital that sends wrong updates, by mistake or on purpose, is not found "
        "out and can spoil the model.",
        "The cryptography is written for learning and is unreviewed; no expert has looked for mistakes in it.",
        "Nothing here is clinically validated: no model of this page may be used for the treatment of anybody.",
        "That a hospital took part, when, and with how many rows, is known to all of them.",
        "Attacks that nobody tried here, and errors in the program, are not ruled out.",
    ]


# ---- every setting


def every_key(s: Settings) -> list[tuple[str, str, str]]:
    """Each key of the settings: its path, its value, and what it means."""
    plain, rows = asdict_plain(s), []
    for f in fields(s):
        if f.name not in PARTS:
            rows.append((f.name, _shown(plain[f.name]), f.metadata["what"]))
            continue
        for inner in fields(PARTS[f.name]):
            value = plain[f.name][inner.name]
            unit = inner.metadata.get("unit", "")
            shown = _shown(value) + (f" {unit}" if unit and unit != "epsilon" and value is not None else "")
            rows.append((f"{f.name}.{inner.name}", shown, inner.metadata["what"]))
    return rows


def _shown(value: object) -> str:
    if value is None:
        return "left out"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, Mapping):
        return counted(len(value), "column") if value else "none"
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def measured(value: float, spread: float = math.nan) -> tuple[str, str]:
    """A score and its spread, in three decimals."""
    return "undefined" if math.isnan(value) else f"{value:.3f}", "" if math.isnan(spread) else f"{spread:.3f}"
