"""The privacy report: one page about a system for somebody who protects data and has not taken the course.

It says what was promised to whom and what was not, in words before numbers, and reads both off what really happened:
the ledger, the transcript, the scores. It has no script and asks for nothing from elsewhere.
"""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from fedlab_utils.privacy import FOLLOWS, Ledger
from fedlab_utils.system import results, sentences
from fedlab_utils.system.account import RELATION, Account, Kind, counted, listed
from fedlab_utils.system.markup import Markup, Tables, box, document, items, joined, key, pairs, section, tag

if TYPE_CHECKING:
    from fedlab_utils.data import Federation
    from fedlab_utils.system.outcome import Outcome

_PACKAGES = "fedlab-utils", "torch", "numpy", "pandas", "scikit-learn", "scipy", "dp-accounting", "cryptography"
_MOST_ROWS = 60  # of a table of the page


def page(outcome: Outcome, *, earlier: Sequence[Outcome] = ()) -> str:
    """The report of what a system has done so far.

    Parameters
    ----------
    outcome
        Of `system.run`, with any of its stages.
    earlier
        Other outcomes about the same patients that were displayed before: they count in "everything displayed".

    Returns
    -------
    str
        A page of HTML that stands by itself.
    """
    account, tables = accounted(outcome, earlier), Tables()
    parts = [
        _in_short(outcome, account),
        _question(outcome),
        section("The system", pairs(sentences.in_words(outcome.settings, outcome.federations))),
        _public(outcome, tables),
        _who_sees_what(outcome, account, tables),
        _promise(account, tables),
        *results.sections(outcome, account, tables),
        section("What is not protected", items(sentences.not_protected(outcome.settings, promised=_kept(account)))),
        section("What this page is for", tag("p", sentences.CASE_BY_CASE)),
        _table_and_versions(outcome, tables),
        _settings(outcome, tables),
    ]
    name = outcome.settings.name
    done = ", ".join(f"{stage} ({outcome.seconds[stage]:.1f} s)" for stage in outcome.stages) or "nothing yet"
    left = f" Not done: {listed(outcome.left)}." if outcome.left else ""
    header = joined(
        tag("p", "Privacy report", class_="kind"),
        tag("h1", name),
        tag("p", account.sentence(), class_="lead"),
        tag("p", f"Done: {done}.{left}", class_="status"),
    )
    footer = tag("p", "Made with a course on privacy-preserving machine learning; nobody has checked it but its tests.")
    return document(f"Privacy report: {name}", header, parts, footer)


def accounted(outcome: Outcome, earlier: Sequence[Outcome] = ()) -> Account:
    """The ledger of an outcome, and of everything displayed with it."""
    every = [*earlier, outcome]
    books = [o.books for o in every]
    early = {e.what for o in every for ledger in o.synthetic_ledgers for e in ledger.entries}
    early |= {e.what for o in every for fed in o.federations for e in fed.ledger.entries}
    one = books[-1][0] if books[-1] else Ledger()
    everything = sum((ledger for own in books for ledger in own), Ledger())
    return Account(one, everything, sum(map(len, books)), frozenset(early))


def _kept(account: Account) -> bool:
    return account.kind in (Kind.ALL, Kind.RECIPIENTS)


def _in_short(outcome: Outcome, account: Account) -> Markup:
    told = [account.sentence(), *account.odds()[:1]] if _kept(account) else [account.sentence()]
    if account.kind is Kind.DEMONSTRATION:
        told.append("Demonstration: every number about privacy below is what secret noise would have promised.")
    told += results.in_short(outcome)
    told.append("What is not protected has a section of its own. Read it before relying on any number here.")
    return section("In short", box(items(told), warn=not _kept(account)))


def _question(outcome: Outcome) -> Markup:
    return section("The question", tag("p", outcome.settings.question))


def _public(outcome: Outcome, tables: Tables) -> Markup:
    title = "Public knowledge that was used"
    if not outcome.federations:
        return section(title, tag("p", "No hospital was set up yet."))
    rows = sentences.declared(outcome.federations[0])
    told = None if outcome.maker is None else outcome.maker.about.get("told by hospitals")
    said = [tag("p", s) for s in sentences.on_declarations(rows, told)]
    head = ["column", "declared", "not declared"]
    return section(title, *said, tables("Columns and what was declared about them", head, _cut(rows)))


def _who_sees_what(outcome: Outcome, account: Account, tables: Tables) -> Markup:
    parts = [tag("p", sentences.ONE_MACHINE)]
    views = outcome.views()
    if len(views):
        rows = [
            (sentences.VIEWERS.get(v.viewer, v.viewer), sentences.SIGHTS.get(v.sees, v.sees), f"{v.bytes:,.0f}")
            for v in views.itertuples()
        ]
        head = ["who", "the most telling thing that can be read", "bytes a round"]
        parts.append(tables("In the training", head, rows, numbers=1))
        if outcome.settings.promise.unit == "record":
            parts.append(tag("p", "Updates, and what is made of them, carry the noise that each hospital added."))
        sent = [(t.what, f"{t.messages:,}", f"{t.bytes:,}") for t in outcome.traffic().itertuples()]
        parts.append(tables("What travelled in one run", ["message", "messages", "bytes"], sent, numbers=2))
    else:
        parts.append(tag("p", "The training was not run, so that there is nothing yet to be seen in it."))
    before = listed([f"{what} ({who})" for what, who in _before(account)])
    if before:
        parts.append(
            tag("p", f"Before the training these left the hospitals: {before}. What is computed from them, such as the "
                "means that scale features or a table of invented rows, goes on to everybody who gets the results.")
        )  # fmt: skip
    return section("Who sees what", *parts)


def _before(account: Account) -> list[tuple[str, str]]:
    """What was released before the training, and to whom."""
    viewers: dict[str, dict[str, None]] = {}
    for e in account.one.entries:
        if e.what in account.early and e.guarantee != FOLLOWS:
            viewers.setdefault(e.what, {})[e.viewer] = None
    return [(what, f"to {listed(_with_article(who))}") for what, who in viewers.items()]


def _with_article(viewers) -> list[str]:
    return [f"the {v}" if v == "server" else v for v in viewers]


def _promise(account: Account, tables: Tables) -> Markup:
    noisy = account.everything.private.entries
    parts = [box(tag("p", account.sentence()), warn=not _kept(account))]
    parts.append(tag("p", sentences.noise_source([e.mechanism.secret for e in noisy])))
    if noisy:
        if account.kind is Kind.UNDONE:
            parts.append(tag("p", "The numbers are about the noisy releases alone, as if the others were not there."))
        if account.kind is Kind.DEMONSTRATION:
            parts.append(tag("p", "The numbers are what secret noise would have promised; this one promises nothing."))
        head = ["protected unit", "epsilon, this run", f"epsilon, everything displayed ({_runs(account)})", "delta"]
        parts.append(tables("The promise in numbers", head, account.numbers(), numbers=3))
        parts.append(
            tag("p", f"This run is one split, released alone. Everything displayed is {_runs(account)}, which looked "
                "at the same patients again; whoever reads this page has the larger number to go by, and every "
                "further run, here or elsewhere, adds to it.")
        )  # fmt: skip
        parts.append(tag("p", f"Neighbouring tables: {RELATION}."))
        if _kept(account):
            parts += [tag("p", s) for s in account.odds()]
    else:
        parts.append(tag("p", f"Everything displayed: {_runs(account)} on the same patients, without epsilon."))
    rows = [(who, verdict, why) for who, verdict, why in account.against()]
    parts.append(tables("Against whom the promise holds", ["against", "promise", "because"], rows))
    if releases := account.releases():
        head = ["what was released", "about patients of", "seen by", "promise"]
        parts.append(tables("What one run released", head, _cut(releases)))
    if remarks := account.remarks():
        parts.append(items(remarks))
    return section("The promise", *parts)


def _runs(account: Account) -> str:
    return counted(account.runs, "run")


def _table_and_versions(outcome: Outcome, tables: Tables) -> Markup:
    parts = []
    for fed in outcome.federations[:1]:
        train, test = (sum(len(getattr(h, of)) for h in fed.hospitals) for of in ("train", "test"))
        rows = f"{train + test:,} ({train:,} to train on, {test:,} to test on)"
        columns = f"{len(fed.hospitals[0].train.columns)}, which make {fed.n_features} features"
        about = [("table", fed.name), ("rows", rows), ("columns", columns), ("fingerprint", fingerprint(fed))]
        about = [(name, tag("code", value) if name == "fingerprint" else value) for name, value in about]
        parts.append(tables("The table after cleaning", ["what", "value"], about))
        parts.append(
            tag("p", "The fingerprint is SHA-256 over all rows, whatever their order. It tells whether two reports are "
                "about the same rows, and none of their contents.", class_="note")
        )  # fmt: skip
    found = [("Python", platform.python_version())]
    for name in _PACKAGES:
        try:
            found.append((name, metadata.version(name)))
        except metadata.PackageNotFoundError:
            continue
    parts.append(tables("Versions", ["package", "version"], found))
    return section("Table and versions", *parts)


def fingerprint(federation: Federation) -> str:
    """SHA-256 over the hashes of all rows, training and test, of all hospitals, in an order that they bring along."""
    frames = [frame for h in federation.hospitals for frame in (h.train, h.test)]
    columns = sorted(frames[0].columns)
    whole = pd.concat([frame[columns] for frame in frames], ignore_index=True)
    hashes = np.sort(pd.util.hash_pandas_object(whole, index=False).to_numpy())
    return hashlib.sha256("\n".join(columns).encode() + b"\0" + hashes.astype("<u8").tobytes()).hexdigest()


def _settings(outcome: Outcome, tables: Tables) -> Markup:
    rows = [(key(path), value, what) for path, value, what in sentences.every_key(outcome.settings)]
    return section(
        "Settings, complete",
        tag("p", "As a file that runs the same system again; what is not in it has the value in the table below."),
        tag("pre", outcome.settings.to_toml(), tabindex="0", role="region", aria_label="Settings as TOML"),
        tables("Every key", ["key", "value", "what it is"], rows),
    )


def _cut(rows: Sequence[tuple]) -> list[tuple]:
    """The first rows of a long table, and how many more there are."""
    if len(rows) <= _MOST_ROWS:
        return list(rows)
    return [*rows[:_MOST_ROWS], (f"and {len(rows) - _MOST_ROWS} more", *[""] * (len(rows[0]) - 1))]
