"""The privacy report: what it says, what it never says, and that what it shows stays text."""

import math
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

from fedlab_utils import data, system
from fedlab_utils.privacy import RecordDP
from fedlab_utils.system import Checks, Data, Outcome, Promise, Settings, Sum, Synthetic, Training
from fedlab_utils.system.markup import POLICY, tag
from fedlab_utils.system.outcome import STAGES
from fedlab_utils.system.report import fingerprint

TINY = Training(rounds=2, hidden=())
RECORD = Promise(unit="record", epsilon=2.0, delta=1e-3)
HOSTILE, QUOTED = "<script>alert(1)</script>", "\"><img src=x onerror='alert(2)'>&amp;"


def table(task="binary", n=150, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 2))
    score = x @ [1.5, 1] + rng.normal(size=n)
    y = {
        "binary": np.where(score > 0.3, "ill", "well"),
        "multiclass": np.array(["a", "b", "c"])[np.digitize(score, [-1, 1])],
        "regression": score.round(2),
    }[task]
    age, sex = (50 + 10 * x[:, 0]).round().clip(20, 90), rng.choice(["f", "m"], n)
    return pd.DataFrame({"age": age, "sugar": (100 + 20 * x[:, 1]).round(1).clip(40, 160), "sex": sex, "y": y})


def federations(task="binary", *, statistics=None, **more):
    public = dict(bounds={"age": (20, 90), "sugar": (40, 160)}, categories={"sex": ["f", "m"]})
    return data.replicates(table(task), 2, target="y", n_hospitals=3, statistics=statistics, **public, **more)


def attacks(**more):
    row = dict(what="training", viewer="server", sees="single updates", attack="LiRA", auc=0.53, auc_low=0.5)
    row |= dict(auc_high=0.56, fpr=0.01, tpr=0.02, tpr_low=0.01, tpr_high=0.035, bound=0.0739, control="by heart")
    row |= dict(control_auc=0.93, control_tpr=0.41, patients=300, made=32, resolved="")
    return pd.DataFrame([row | more])


NOISY = dict(statistics=RecordDP(epsilon=1, delta=1e-3))
SYSTEMS = {
    "plain": (Settings(name="Plain", training=TINY), {}),
    "promised": (
        Settings(name="Promised", training=TINY, promise=RECORD, sum=Sum(through="masked")),
        NOISY,
    ),
    "half": (Settings(name="Half", training=TINY, promise=RECORD), {}),  # means and spreads are exact
    "demonstration": (
        Settings(name="Demonstration", training=TINY, promise=RECORD, demonstration=True),
        dict(statistics=RecordDP(epsilon=1, delta=1e-3, secure=False)),
    ),
    "hospital": (Settings(name="Hospital", training=TINY, promise=Promise(unit="hospital", epsilon=8, delta=0.01)), {}),
    "invented": (
        Settings(
            name="Invented", training=Training(on="synthetic", rounds=2, hidden=()), promise=Promise(delta=1e-3),
            synthetic=Synthetic(where="federated", epsilon=2.0), sum=Sum(through="masked"),
        ),
        {},
    ),
    "multiclass": (Settings(name="Classes", training=TINY), dict(task="multiclass")),
    "regression": (Settings(name="Number", training=TINY), dict(task="regression")),
    "encrypted": (Settings(name="Encrypted", training=TINY, sum=Sum(through="encrypted")), {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcomes():
    """Each system once, without its attack, which has a table of its own here."""
    found = {}
    for name, (settings, how) in SYSTEMS.items():
        calm = replace(settings, checks=Checks(attack=False))
        outcome = system.run(calm, federation=federations(**how))
        found[name] = replace(outcome, settings=settings, attacks=attacks() if name == "promised" else None)
    return found


@pytest.fixture(scope="module")
def pages(outcomes):
    return {name: outcome.report() for name, outcome in outcomes.items()}


@pytest.fixture(scope="module")
def texts(pages):
    return {name: Page(page).text for name, page in pages.items()}


class Page(HTMLParser):
    """Elements, text and what stands in what."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.open, self.words, self.headings, self.said = [], [], [], [], Counter()
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "wbr"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        if "style" in self.open:
            return
        self.words.append(text)
        self.said[self.open[-1] if self.open else ""] += 1
        if self.open and self.open[-1] in ("h1", "h2", "h3"):
            self.headings.append((self.open[-1], text))

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))

    def of(self, name):
        return [about for tag, about in self.tags if tag == name]


# ---------------------------------------------------------------- how it is made


def test_headings_come_in_the_order_of_the_questions(pages):
    page = Page(pages["promised"])
    assert [h for h in page.headings if h[0] == "h1"] == [("h1", "Promised")]
    assert [text for level, text in page.headings if level == "h2"] == [
        "In short", "The question", "The system", "Public knowledge that was used", "Who sees what", "The promise",
        "How well it predicts", "Missed patients, calibration, and each hospital", "What was attacked",
        "What is not protected", "What this page is for", "Table and versions", "Settings, complete",
    ]  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_tables_have_captions_and_headers_and_can_be_scrolled_with_keys(pages, name):
    page = Page(pages[name])
    tables = page.of("table")
    assert len(tables) == len(page.of("caption")) == page.said["caption"] >= 6
    assert {about.get("scope") for about in page.of("th")} == {"col", "row"}
    regions = [about for about in page.of("div") if about.get("role") == "region"]
    captions = {about["id"] for about in page.of("caption")}
    assert len(captions) == len(tables) and {about["aria-labelledby"] for about in regions} == captions
    assert all(about["tabindex"] == "0" for about in regions)


@pytest.mark.parametrize("name", SYSTEMS)
def test_pictures_say_in_words_what_they_show(outcomes, pages, name):
    page = Page(pages[name])
    pictures = page.of("svg")
    ids = {about.get("id") for tag, about in page.tags if tag in ("title", "desc")}
    assert pictures and all(about["role"] == "img" for about in pictures)
    assert all(set(about["aria-labelledby"].split()) <= ids for about in pictures)
    assert page.said["desc"] == page.said["figcaption"] == len(pictures)
    mean = outcomes[name].table().set_index("model")["mean"]["federated"]
    assert f"federated {mean:.3f} plus or minus" in page.text


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_page_asks_for_nothing_and_runs_nothing(pages, name):
    page, policy = Page(pages[name]), Page(pages[name]).of("meta")[1]
    assert policy == {"http-equiv": "Content-Security-Policy", "content": POLICY}
    assert POLICY.startswith("default-src 'none'; style-src 'unsafe-inline'") and "script" not in POLICY
    assert not {tag for tag, _ in page.tags} & {"script", "link", "img", "iframe", "a", "form", "object", "base"}
    given = {key for _, about in page.tags for key in about}
    assert not given & {"src", "href", "style", "srcset"} and not [key for key in given if key.startswith("on")]
    assert "url(" not in pages[name] and "@import" not in pages[name] and "://" not in pages[name]


def test_it_can_be_printed_and_read_on_a_phone_and_in_the_dark(pages):
    page = pages["plain"]
    assert "@media print" in page and "@page { size: A4" in page and "break-inside: avoid" in page
    assert "width=device-width" in page and "user-scalable" not in page and "maximum-scale" not in page
    assert "prefers-color-scheme: dark" in page and '<html lang="en">' in page and page.startswith("<!doctype html>")


def test_names_from_a_table_stay_text():
    frame = table(n=120).rename(columns={"age": HOSTILE, "y": "<b>y</b>"})
    frame["sex"] = frame["sex"].map({"f": QUOTED, "m": "it's"})
    frame["site"] = np.resize(["<i>north</i>", "south & 'east'"], len(frame))
    settings = Settings(
        name="<h1>x</h1>", question=f"Is {QUOTED} text?", training=TINY, checks=Checks(attack=False),
        data=Data(
            table="own", target="<b>y</b>", hospital="site", bounds={HOSTILE: (20.0, 90.0)},
            categories={"sex": (QUOTED, "it's")},
        ),
    )  # fmt: skip
    shown = system.run(settings, table=frame).report()
    page = Page(shown)
    assert not {tag for tag, _ in page.tags} & {"script", "img", "b", "i"} and len(page.of("h1")) == 1
    for name in (HOSTILE, QUOTED, "it's", "<b>y</b>", "<i>north</i>", "south & 'east'", "<h1>x</h1>"):
        assert name in page.text and not re.search(r"[<\"']", name) or name not in shown.split("</style>")[1]


def test_attributes_are_escaped_like_text():
    page = Page(tag("p", QUOTED, title=QUOTED))
    assert page.tags == [("p", {"title": QUOTED})] and page.text == QUOTED


# ---------------------------------------------------------------- what it says


ALWAYS = {
    "all hospitals ran on this machine": "All hospitals ran on this machine",
    "who sees what is of the protocol": "Who sees what describes the protocol that they would follow",
    "several records are protected less": "who has several records is protected less",
    "bounds were declared": "bounds, categories and missingness, was declared by those who set this system up and not "
    "learnt from the rows",
    "the page holds results of patients": "This page itself contains results from the patients without any noise",
    "groups": "Inference about groups is not prevented",
    "contributions": "Contributions are not verified",
    "cryptography": "The cryptography is written for learning and is unreviewed",
    "clinic": "Nothing here is clinically validated",
    "case by case": "Whether a model or a table is personal data is decided case by case (EDPB Opinion 28/2024",
    "impact assessment": "supports a data-protection impact assessment and replaces none",
    "group of viewers": "Against whom the promise holds",
    "everything displayed": "verything displayed",
    "the question": "How well do hospitals predict together",
}


@pytest.mark.parametrize("what", ALWAYS)
@pytest.mark.parametrize("name", SYSTEMS)
def test_every_page_says(texts, name, what):
    assert ALWAYS[what] in texts[name]


NEVER = {
    "anonymous": r"anonym",
    "compliant": r"complian|complies",
    "invented, so not personal": r"not personal|no personal data|synthetic, so",
    "the server sees nothing": r"(server|it) (sees|learns|gets) nothing|blind server",
    "the attack failed, so it is safe": r"\bsafe|secure against|attack failed|failed attack",
    "a promise to a patient": r"for one patient(?! record)|epsilon [\d.]+ for a patient",
}


@pytest.mark.parametrize("what", NEVER)
@pytest.mark.parametrize("name", SYSTEMS)
def test_no_page_says(texts, name, what):
    assert not re.search(NEVER[what], texts[name], re.IGNORECASE)


def test_a_promise_is_one_sentence_and_numbers_of_all_that_was_displayed(outcomes, pages):
    outcome, page = outcomes["promised"], Page(pages["promised"])
    spent = outcome.displayed.epsilon(1e-3)
    assert spent > outcome.ledger.epsilon(1e-3)
    shown = re.search(r"the promise after 2 runs is epsilon ([\d.]+) for one patient record, delta 0.001\.", page.text)
    assert spent <= float(shown[1]) <= spent * 1.01  # a digit is never rounded to the better side
    assert "one present or blank" in page.text and "in each hospital counts as public" in page.text
    assert "came from the operating system's randomness" in page.text
    assert "the server holds" in page.text and "readers of this page no promise" in page.text


def test_what_was_displayed_before_counts(outcomes):
    outcome = outcomes["promised"]
    once, twice = (Page(outcome.report(earlier=e)).text for e in ((), (outcomes["promised"],)))
    other = system.run(replace(outcome.settings, checks=Checks(attack=False)), federation=federations(**NOISY))
    many = Page(outcome.report(earlier=(other, other))).text
    found = [re.search(r"the promise after (\d) runs is epsilon ([\d.]+)", page).groups() for page in (once, many)]
    assert found[0][0] == "2" and found[1][0] == "6" and float(found[1][1]) > float(found[0][1])
    assert "the promise after 4 runs" in twice


@pytest.mark.parametrize("name", ["plain", "encrypted", "multiclass", "regression"])
def test_without_noise_there_is_no_promise(pages, name):
    page = Page(pages[name]).text
    assert "There is no promise: what left the hospitals carries no noise" in page
    assert "No noise was added to anything." in page and "the promise after" not in page
    told = re.search(r"Against whom the promise holds(.*)What one run released", page)[1]
    assert told.count("no promise") == 5 and "made of noisy releases" not in told


def test_a_demonstration_says_so_and_promises_nothing(pages):
    page = Page(pages["demonstration"]).text
    assert page.count("There is no promise: this is a demonstration, whose noise came from a seed") >= 2
    assert "no promise" in page and "the promise after" not in page and "operating system's" not in page
    assert "In other words" not in page


@pytest.mark.parametrize("name", ["half", "hospital"])
def test_exact_means_beside_a_noisy_training_undo_its_promise(pages, name):
    page = Page(pages[name]).text
    assert "There is no promise as a whole: noise was added, but these went out without any: counts and sums" in page
    assert "the promise after" not in page and "In other words" not in page
    assert "sees without noise: counts and sums, sums of squares" in page


def test_a_promise_of_invented_rows_covers_what_is_trained_on_them(outcomes, pages):
    page = Page(pages["invented"]).text
    spent = re.search(r"the promise after 2 runs is epsilon ([\d.]+) for one patient record", page)
    assert float(spent[1]) >= outcomes["invented"].displayed.epsilon(1e-3)
    assert "that a row is invented does not settle whether it is personal data" in page
    assert "Noise comes in shares of hospitals" in page


def test_utility_stands_beside_its_baselines_with_spreads(outcomes, pages):
    page = Page(pages["plain"]).text
    for row in outcomes["plain"].table().itertuples():
        assert f"{row.mean:.3f} {row.sd:.3f}" in page and row.model in page
    assert "mean squared error" in Page(pages["regression"]).text


# ---------------------------------------------------------------- small counts


def test_no_small_count_stands_on_a_page(outcomes, pages):
    page = Page(pages["plain"]).text
    clinic = outcomes["plain"].clinical
    small = clinic[(clinic["ill"] < 10) | (clinic["patients"] - clinic["ill"] < 10)]
    assert len(small)  # hospitals of this size have such
    shown = re.search(r"Missed patients and calibration by hospital(.*)Predicted against", page)[1]
    assert "fewer than 10" in shown
    assert not [n for n in re.findall(r"(?<![\w.-])(\d+)(?![\w.%])", re.sub(r"Hospital \d", "", shown)) if int(n) < 10]


def test_a_small_hospital_has_no_numbers_and_the_next_gives_none_away():
    frame = table(n=120).assign(site=["large"] * 70 + ["middle"] * 36 + ["small"] * 14)
    split = data.from_frame(frame, target="y", hospital="site")
    sizes = {h.name: len(h.test) for h in split.hospitals}
    assert sizes["small"] < 10 <= sizes["middle"] < sizes["large"]
    settings = Settings(training=TINY, checks=Checks(attack=False))
    page = Page(system.run(settings, federation=split).report()).text
    shown = re.search(r"The federated model by hospital(.*)Missed patients and calibration by", page)[1]
    assert re.search(rf"large {sizes['large']} 0\.\d+ middle not shown 0\.\d+ small fewer than 10 not shown", shown)


def test_calibration_shows_ten_ill_and_ten_healthy_patients_a_group(outcomes):
    found = outcomes["plain"].calibration.query("hospital == 'all' and seed == 0")
    page = Page(outcomes["plain"].report()).text
    shown = re.search(r"all test patients, first split(.*)What was attacked", page)[1]
    groups = re.findall(r" (\d+) (\d+) (\d+)% (\d+)% (\d+)% to (\d+)%", shown)
    assert groups and sum(int(g[1]) for g in groups) == found["n"].sum()
    for _, n, _, observed, *_ in groups:
        assert min(int(n) * int(observed), int(n) * (100 - int(observed))) >= 9.4 * 100


# ---------------------------------------------------------------- what was attacked


def test_an_attack_stands_beside_its_bound_and_its_positive_control(outcomes):
    page = Page(outcomes["promised"].report()).text
    assert "training: LiRA, by server, who sees single updates" in page
    assert "single updates 0.53 (0.50 to 0.56) 1.0% 2.0% (1.0% to 3.5%) 7.4%" in page
    assert "by heart AUC 0.93, found 41.0% the attack works, and finds little here; a better one may find more" in page
    assert "does not show that there is little to find" in page


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (dict(tpr=math.nan, tpr_low=math.nan, tpr_high=math.nan, resolved="too few"), "not resolved (too few)"),
        (dict(control_auc=0.55), "nothing: the control was not broken either"),
        (dict(control_auc=math.nan), "nothing: the control was not broken either"),
        (dict(tpr=0.2, tpr_low=0.1, tpr_high=0.3), "it finds more than the promise allows: something is wrong"),
        (dict(auc=0.8, bound=math.nan), "members can be told from others here"),
        (dict(bound=math.nan), "no limit"),
    ],
)
def test_what_an_attack_says(outcomes, more, said):
    assert said in Page(replace(outcomes["promised"], attacks=attacks(**more)).report()).text


def test_no_attack_says_nothing_about_attackers(pages):
    page = Page(pages["plain"]).text
    assert "Membership was not attacked" in page and "does not say what an attacker finds" in page


# ---------------------------------------------------------------- stages, table, settings


@pytest.mark.parametrize("stop", ["nothing", *STAGES[:5]])
@pytest.mark.parametrize("name", ["promised", "invented"])
def test_a_run_that_was_stopped_has_a_page(name, stop):
    settings, how = SYSTEMS[name]
    outcome = Outcome(settings)
    for outcome in () if stop == "nothing" else system.stages(settings, federation=federations(**how)):
        if STAGES.index(outcome.stages[-1]) >= STAGES.index(stop):
            break
    page = Page(outcome.report())
    assert len([h for h in page.headings if h[0] == "h2"]) == 13
    assert f"Not done: {outcome.left[0]}" in page.text if outcome.left else "Not done" not in page.text
    if stop == "nothing":
        assert "Nothing about patients has been released yet" in page.text and "No model was trained" in page.text


def test_what_was_released_before_the_training_is_in_the_books_of_a_stopped_run():
    settings, how = SYSTEMS["plain"]
    first = next(iter(system.stages(settings, federation=federations(**how))))
    assert first.stages == ("hospitals",) and len(first.ledger) and len(first.displayed)
    assert "counts and sums" in first.report() and "There is no promise" in first.report()


def test_the_fingerprint_is_of_the_rows_and_of_nothing_else(outcomes):
    one, other = outcomes["plain"].federations
    assert fingerprint(one) == fingerprint(other) == fingerprint(one.repartition(2, None))
    changed = table()
    changed.loc[3, "age"] += 1
    assert fingerprint(data.from_frame(changed, target="y", n_hospitals=3)) != fingerprint(one)
    page = outcomes["plain"].report()
    assert fingerprint(one) in page and re.fullmatch("[0-9a-f]{64}", fingerprint(one))
    assert not [v for v in table()["sugar"] if f"{v}" in Page(page).text.split("Settings, complete")[0] and v % 1]


def test_settings_stand_in_words_as_toml_and_key_by_key(outcomes, pages):
    settings, page = outcomes["promised"].settings, Page(pages["promised"])
    assert re.sub(r"\s+", " ", settings.to_toml()).strip() in page.text
    assert "For one patient record: epsilon 2, delta 0.001" in page.text and "A linear model learns from" in page.text
    text = page.text.replace(". ", ".").replace("_ ", "_")
    assert all(key in text for key in ("training.batch_size", "sum.colluding", "checks.threshold", "data.skew"))
    assert "torch" in page.text and "rows 150 (" in page.text
