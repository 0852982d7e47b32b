"""Strangers' tables: each kind of dirt is read rightly, remarked on, or refused in one sentence."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from fedlab_utils import data
from fedlab_utils.data import cells, reading, sources

N = 240


def clean(n=N, seed=0):
    """A table in which everything is in order; the outcome depends on `score`, a bit on `sex`."""
    rng = np.random.default_rng(seed)
    score = rng.normal(50, 10, n).round(1)
    sex = rng.choice(["f", "m"], n)
    return pd.DataFrame({
        "score": score,
        "bp": rng.normal(130, 15, n).round(),
        "visits": rng.poisson(2.0, n),
        "sex": sex,
        "site": rng.choice(["A", "B", "C"], n),
        "y": (score + 4 * (sex == "m") + rng.normal(0, 8, n) > 52).astype(int),
    })  # fmt: skip


def read(frame, **more):
    return data.from_frame(frame, **dict(target="y", hospital="site") | more)


def with_cells(column, *tokens, start=3):
    """The clean table with some cells of a column as text."""
    frame = clean()
    written = frame[column].map(lambda v: f"{v:g}" if isinstance(v, float) else str(v)).astype(object)
    written.iloc[start : start + len(tokens)] = tokens
    return frame.assign(**{column: written})


def text_of(some):
    return " ".join(some.remarks)


def refusal(frame, **more):
    with pytest.raises(ValueError) as error:
        read(frame, **more)
    message = str(error.value)
    assert "\n" not in message and len(message) < 400 and message[-1] in ".?"
    return message


# ---------------------------------------------------------------- numbers with stray tokens


STRAYS = ["?", "1,83", "<1", "n/k", "#DIV/0!", " ", "-", "unknown", "12 kg", "1,234", "2024-03-01", "see note"]


@pytest.mark.parametrize("token", STRAYS)
def test_a_stray_token_is_missing_and_said(token):
    some = read(with_cells("score", token))
    expected = read(clean().assign(score=lambda f: f["score"].mask(np.arange(N) == 3)))
    assert some.feature_names == expected.feature_names
    for a, b in zip(some.hospitals, expected.hospitals, strict=True):
        np.testing.assert_allclose(a.X_train, b.X_train, atol=1e-6)
    (line,) = [r for r in some.remarks if "score" in r and "is no number" in r]
    assert "1 value" in line and (repr(token) in line or token == " " and "a blank" in line)
    # New rows are read in the same way.
    row = clean().head(1)
    np.testing.assert_array_equal(
        some.transform(row.assign(score=token)), some.transform(row.assign(score=np.nan))
    )


@pytest.mark.parametrize(
    ("token", "advice"),
    [("1,83", "decimal commas"), ("<1", "limits"), ("12 kg", "units"), ("1,234", "thousands"), ("14%", "percent")],
)
def test_a_stray_token_that_looks_like_something_says_how_to_read_it(token, advice):
    assert advice in text_of(read(with_cells("score", token, token)))


def test_numbers_with_strays_in_all_kinds_of_columns():
    mixed = clean().assign(score=lambda f: f["score"].astype(object).where(np.arange(N) != 5, "?"))
    for frame in (mixed, with_cells("score", "?").astype({"score": "str"})):
        assert "score" in read(frame).schema.numeric
    # few whole numbers, and one mark: the column had been one of numbers
    some = read(with_cells("visits", "?"))
    assert "visits" in some.schema.numeric and "'visits'" in text_of(some)


def test_blanks_around_numbers_are_no_matter():
    frame = clean().assign(score=lambda f: f["score"].map(" {} ".format))
    some = read(frame)
    assert some.report == [] and some.agreed == read(clean()).agreed


def test_text_that_holds_numbers_alone():
    some = read(clean().assign(score=lambda f: f["score"].astype(str)))
    assert some.agreed == read(clean()).agreed and "'score' is text that holds numbers" in text_of(some)
    few = clean().assign(visits=lambda f: (f["visits"] % 4).astype(str))
    some = read(few)
    assert "visits" in some.schema.categorical and "pd.to_numeric(frame['visits'])" in text_of(some)
    assert read(few, categories={"visits": ["0", "1", "2", "3"]}).report == []
    assert read(few, bounds={"visits": (0, 3)}).report == []  # whoever knows bounds means numbers


def test_declared_categories_always_win():
    frame = with_cells("sex", "?", "-", "n/a")
    some = read(frame, categories={"sex": ["f", "m", "?", "-", "n/a"]})
    assert {"sex_?", "sex_-", "sex_n/a"} <= set(some.feature_names) and some.report == []
    stages = clean().assign(visits=lambda f: np.where(f["visits"] > 2, "3b", f["visits"].astype(str)))
    assert "visits_3b" in read(stages, categories={"visits": ["0", "1", "2", "3b"]}).feature_names


# ---------------------------------------------------------------- text that has to be read by whoever knows it


FORMS = {
    "decimal commas": lambda v: f"{v:.1f}".replace(".", ","),
    "decimal commas with thousands": lambda v: f"{1000 + v:,.1f}".translate(str.maketrans(",.", ".,")),
    "thousands marks": lambda v: f"{int(v * 1000):,}",
    "thousands apostrophes": lambda v: f"{int(v * 1000):,}".replace(",", "'"),
    "units": lambda v: f"{v:.1f} mmHg",
    "units close by": lambda v: f"{v:.1f}kg/m2",
    "money": lambda v: f"$ {v:.2f}",
    "percentages": lambda v: f"{v:.1f} %",
    "limits of detection": lambda v: f"<{v:.1f}",
    "dates": lambda v: f"2024-03-{1 + int(v) % 28:02d}",
    "dates with times": lambda v: f"2024-03-{1 + int(v) % 28:02d} 01:{int(v) % 60:02d}",
    "dates, day first": lambda v: f"{1 + int(v) % 28:02d}.03.2024",
    "dates with slashes": lambda v: f"{1 + int(v) % 28:02d}/03/2024",
    "dates with months": lambda v: f"{1 + int(v) % 28} Mar 2024",
    "times of day": lambda v: f"{int(v) % 24:02d}:{int(v * 10) % 60:02d}",
    "mostly numbers": lambda v: f"{v:.1f}" if int(v * 10) % 10 > 3 else "below the limit",
    "days and months": lambda v: "2024-03-01" if v > 50 else "2024-04-01",
}  # fmt: skip


@pytest.mark.parametrize("marked", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_the_sentence_names_the_line_that_reads_a_column(form, marked):
    frame = clean().assign(score=lambda f: f["score"].map(FORMS[form]))
    if marked:
        frame.loc[7, "score"] = "?"
    message = refusal(frame)
    assert message.startswith("Column 'score' holds ") and "categories=" in message
    line = re.search(r"read it as in (frame\['score'\] = .*), or name it", message)[1]
    exec(line, {"frame": frame, "pd": pd})
    assert pd.api.types.is_numeric_dtype(frame["score"])
    assert frame["score"].notna().sum() >= (100 if form == "mostly numbers" else N - 1)
    assert "score" in reading.read(frame, target="y", hospital="site").schema.numeric


def test_days_come_first_where_they_do():
    frame = clean().assign(score=[f"{1 + k % 28:02d}/03/2024" for k in range(N)])
    line = re.search(r"(frame\['score'\] = .*), or name it", refusal(frame))[1]
    exec(line, {"frame": frame, "pd": pd})
    assert np.ptp(frame["score"]) == 27  # days, not months


def test_one_sentence_names_all_columns():
    frame = clean().assign(
        score=lambda f: f["score"].map(FORMS["decimal commas"]),
        crp=lambda f: f["bp"].map(FORMS["decimal commas"]),
        born=lambda f: f["bp"].map(FORMS["dates"]),
    )
    message = refusal(frame)
    assert all(repr(c) in message for c in ("score", "crp", "born"))
    many = clean().assign(**{f"a_rather_long_name_of_column_{k}": frame["crp"] for k in range(40)})
    assert "and 3" in refusal(many) and " more" in refusal(many)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda f: f["bp"].where(f["bp"] < 0), "have no values at all"),
        (lambda f: f["bp"].where(f["bp"] < 130, np.inf), "hold infinite"),
        (lambda f: pd.Timestamp("2020-01-01"), "hold dates or times"),
        (lambda f: [(1, 2)] * N, "hold values of type tuple"),
        (lambda f: [f"code {k % 80}" for k in range(N)], "have up to 80 different values"),
    ],
)
def test_other_refusals_name_all_columns_too(bad, says):
    frame = clean().assign(one=bad, other=bad)
    message = refusal(frame)
    assert "'one' and 'other'" in message and says in message


def test_few_levels_that_look_like_numbers_stay_categories():
    doses = clean().assign(dose=lambda f: np.where(f["visits"] > 2, "100 mg", "50 mg"))
    some = read(doses.assign(age=np.where(np.arange(N) % 3, "<40", "40+")))
    assert {"dose", "age"} <= set(some.schema.categorical) and some.report == []


def test_codes_are_grouped():
    rng = np.random.default_rng(1)
    frame = clean().assign(icd=[f"I{k}" for k in np.minimum(rng.geometric(0.03, N), 90)])
    assert "data.group_rare(frame['icd'])" in refusal(frame) and "categories=" in refusal(frame)
    grouped = data.group_rare(frame["icd"], most=8)
    times = frame["icd"].value_counts()
    assert grouped.nunique() == 8 and times[list(set(grouped) - {"other"})].min() >= times.iloc[7]
    assert read(frame.assign(icd=grouped)).n_features == read(clean()).n_features + 8
    assert data.group_rare(pd.Series(["a ", "a", None, "?"])).tolist()[:2] == ["a", "a"]
    numbers = data.group_rare(pd.Series([1.0, 2.0, 2.0, 3.0, None]), most=2, other="rest")
    assert numbers.tolist()[:4] == ["rest", "2", "2", "rest"] and numbers.isna()[4]
    for wrong in (dict(most=1), dict(most=2.5), dict(other=""), dict(other="I1", most=60), dict(column="icd")):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            data.group_rare(**dict(column=frame["icd"]) | wrong)


# ---------------------------------------------------------------- marks, spellings


def test_marks_are_missing_in_text_and_words_are_kept():
    tokens = ["?", "-", "N/A", "null", ".", " ", "#REF!", "n/k"]
    some = read(with_cells("sex", *tokens))
    assert some.feature_names == read(clean()).feature_names
    assert "'?'" in text_of(some) and "'sex'" in text_of(some) and "sex 8" in text_of(some)
    some = read(with_cells("sex", *["unknown", "none"] * 9))
    assert {"sex_unknown", "sex_none"} <= set(some.feature_names)
    assert "'unknown' (9 times) and 'none' (9 times) in 'sex'" in text_of(some)
    signs = clean().assign(rh=np.where(np.arange(N) % 4, "+", "-"))  # a finding, beside "+"
    assert read(signs).report == [] and read(signs).n_features == read(clean()).n_features + 1


def test_blanks_at_the_ends_never_matter():
    frame = clean()
    spaced = frame.assign(**{c: frame[c].where(np.arange(N) % 3 > 0, frame[c] + " ") for c in ("sex", "site")})
    some = read(spaced)
    assert [h.name for h in some.hospitals] == [h.name for h in read(frame).hospitals]
    assert some.feature_names == read(frame).feature_names
    np.testing.assert_array_equal(some.transform(spaced), some.transform(frame))
    assert "one hospital each" in text_of(some)
    assert refusal(frame.assign(site=frame["site"].replace("A", "n/a"))).endswith("fill it in or leave them out.")


def test_spellings_are_named():
    some = read(with_cells("sex", "F", "M", "M"))
    assert "'F', 'f', 'M' and 'm' in 'sex'" in text_of(some)
    frame = clean().assign(site=lambda f: f["site"].replace({"A": "St. Mary", "B": "ST MARY"}))
    assert "'ST MARY' and 'St. Mary'" in read(frame).report[0] and len(read(frame).hospitals) == 3
    apart = clean().assign(grade=np.resize(["A+", "A-", "A", "1.5", "15", "1-5"], N))
    assert read(apart).report == []


# ---------------------------------------------------------------- the target


@pytest.mark.parametrize("token", ["?", " ", "-", "n/a", "unknown", "none", "#N/A"])
@pytest.mark.parametrize("words", [("no", "yes"), (0, 1), ("0", "1")])
def test_marks_in_the_target_are_dropped_and_counted(token, words):
    target = clean()["y"].map(dict(enumerate(words))).astype(object)
    target.iloc[[3, 4]] = token
    some = read(clean().assign(y=target))
    assert some.task == "binary" and some.classes == words
    assert sum(len(h.train) + len(h.test) for h in some.hospitals) == N - 2
    assert any("2 rows without a target were dropped" in r for r in some.remarks)
    assert "'none'" not in text_of(some) or token == "none"
    kept = {"y": [*words, token]}
    if isinstance(words[0], str) and token.strip():
        assert read(clean().assign(y=target), categories=kept).task == "multiclass"


def test_none_can_be_a_class():
    target = pd.Series(np.resize(["none", "mild", "severe"], N))
    some = read(clean().assign(y=target))
    assert some.classes == ("mild", "none", "severe") and some.report == []
    two = read(clean().assign(y=target.replace("severe", "mild")))
    assert two.classes == ("mild", "none") and "'none' is the positive one" in two.report[0]


def test_spellings_of_a_class_are_one():
    spelt = clean()["y"].map({0: "No", 1: "Yes"})
    spelt = spelt.where(np.arange(N) % 7 > 0, spelt.str.upper()).where(np.arange(N) % 11 > 0, spelt + " ")
    some = read(clean().assign(y=spelt))
    assert some.classes == ("No", "Yes") and "'YES'" in text_of(some)
    expected = read(clean())
    for a, b in zip(some.hospitals, expected.hospitals, strict=True):
        np.testing.assert_array_equal(a.y_train, b.y_train)
        assert set(a.train["y"]) <= {"No", "Yes"}
    frames = [h.train.assign(y=h.train["y"].str.lower() + " ") for h in some.hospitals]
    again = some.replace_train(frames)  # other rows are read in the same way
    assert [h.y_train.tolist() for h in again.hospitals] == [h.y_train.tolist() for h in some.hospitals]


def test_capitals_do_not_decide_which_class_is_positive():
    assert read(clean().assign(y=lambda f: f["y"].map({0: "no", 1: "Yes"}))).classes == ("no", "Yes")


@pytest.mark.parametrize(
    ("first", "last", "line"),
    [("no", "yes", False), ("absent", "present", False), ("benign", "malignant", False), ("healthy", "ill", False),
     ("alive", "dead", False), ("control", "ill", False), ("no disease", "present", False), (3, 7, False),
     (False, True, False), ("abnormal", "normal", True), ("case", "control", True), ("ill", "well", True),
     ("disease", "no disease", True), ("f", "m", True), ("dead", "survived", True)],
)  # fmt: skip
def test_the_positive_class_is_named_unless_it_is_plain(first, last, line):
    some = read(clean().assign(y=lambda f: f["y"].map({0: first, 1: last})))
    assert some.classes == (first, last)
    if not line:
        assert some.report == []
        return
    assert f"{last!r} is the positive one" in some.report[0] and "(1" in some.report[0]
    turned = re.search(r"give (categories=.*)\.", some.report[0])[1]
    other = read(clean().assign(y=lambda f: f["y"].map({0: first, 1: last})), **eval(f"dict({turned})"))
    assert other.classes == (last, first) and other.report == []


def test_an_ordered_categorical_declares_the_order():
    kind = pd.CategoricalDtype(["normal", "abnormal", "never seen"], ordered=True)
    some = read(clean().assign(y=lambda f: f["y"].map({0: "normal", 1: "abnormal"}).astype(kind)))
    assert some.classes == ("normal", "abnormal") and some.report == []
    loose = pd.CategoricalDtype(["normal", "abnormal"])
    some = read(clean().assign(y=lambda f: f["y"].map({0: "normal", 1: "abnormal"}).astype(loose)))
    assert some.classes == ("abnormal", "normal") and "positive" in some.report[0]


def test_classes_of_hardly_any_rows_are_named():
    target = pd.Series(np.resize(["a", "b"], N))
    target.iloc[5] = "other"
    report = read(clean().assign(y=target)).report
    assert "'a' (120)" in report[0] and "'other' (1)" in report[0]
    assert any("Fewer than two training rows: 'other'" in r for r in report)
    alone = clean().assign(y=target, site=lambda f: f["site"].where(f.index != 5, "D"))
    report = read(alone).report
    assert any("No test row: 'other'" in r and "AUC is over the classes that are there" in r for r in report)
    stray = pd.Series(np.resize(["no", "yes"], N)).where(np.arange(N) % 20 > 0, "yess")
    assert "are all of them meant?" in read(clean().assign(y=stray)).report[0]


def test_the_task_can_be_given():
    days = clean().assign(y=np.random.default_rng(0).integers(1, 15, N))
    some = read(days)
    assert some.task == "multiclass" and "task='regression'" in some.report[0] and "1 (" in some.report[0]
    number = read(days, task="regression")
    assert number.task == "regression" and number.report == []
    assert read(days.astype({"y": str}), task="regression").task == "regression"
    assert read(clean(), task="binary").task == "binary" and read(days, task="multiclass").task == "multiclass"
    assert [f.task for f in data.replicates(days, 2, target="y", task="regression")] == ["regression"] * 2


@pytest.mark.parametrize(
    ("target", "task"),
    [
        (np.resize(["no", "yes"], N), "regression"),
        (np.resize([False, True], N), "regression"),
        (np.resize([1, 2, 3], N), "binary"),
        (np.resize([0, 1], N), "multiclass"),
        (np.arange(N), "multiclass"),
        (np.resize([0.5, 1.5, 2.5], N), "multiclass"),
        (np.resize([0, 1], N), "classes"),
        (np.resize([0, 1], N), 3),
    ],
)
def test_a_task_that_does_not_fit_is_refused(target, task):
    assert repr(task) in refusal(clean().assign(y=target), task=task)
    if task in ("binary", "regression", "multiclass") and isinstance(target[0], str):
        assert "task" in refusal(clean().assign(y=target), task=task, categories={"y": ["no", "yes"]})


def test_a_file_read_with_the_wrong_separator():
    for mark in (";", "\t", "|"):
        frame = pd.DataFrame({mark.join("ab"): [mark.join("12")] * 9})
        assert f"sep={mark!r}" in refusal(frame, target="b", hospital=None)


# ---------------------------------------------------------------- silence


def _numbers(dtype):
    return clean().assign(visits=lambda f: f["visits"].astype(dtype), bp=lambda f: f["bp"].astype(dtype))


def _of_course(name, **more):
    found = sources.table(name, **more)
    known = dict(target=found.target, hospital=found.hospital, bounds=found.bounds, categories=found.categories)
    return found.frame, known


CLEAN = {
    "str": lambda: clean().astype({"sex": "str", "site": "str"}),
    "object": lambda: clean().astype({"sex": object, "site": object}),
    "category": lambda: clean().astype({"sex": "category", "site": "category"}),
    "category of numbers": lambda: clean().assign(visits=lambda f: f["visits"].clip(upper=4).astype("category")),
    "string": lambda: clean().astype({"sex": "string", "site": "string"}),
    "Int64": lambda: _numbers("Int64"),
    "Float64": lambda: _numbers("Float64"),
    "float32": lambda: _numbers("float32"),
    "int8": lambda: clean().assign(visits=lambda f: f["visits"].astype("int8")),
    "boolean": lambda: clean().assign(y=lambda f: f["y"].astype("boolean"), old=lambda f: f["bp"] > 130),
    "bool": lambda: clean().assign(y=lambda f: f["y"].astype(bool)),
    "object numbers": lambda: clean().astype({"score": object, "visits": object}),
    "no and yes": lambda: clean().assign(y=lambda f: f["y"].map({0: "no", 1: "yes"})),
    "regression": lambda: clean().assign(y=lambda f: f["score"] + f["bp"]),
    "classes": lambda: clean().assign(y=lambda f: np.where(f["sex"] == "f", "x", np.where(f["bp"] > 120, "y", "z"))),
    "counts": lambda: clean().assign(days=np.random.default_rng(0).negative_binomial(1, 0.1, N)),
    "long tail": lambda: clean().assign(crp=np.random.default_rng(0).lognormal(1, 1.2, N).round(1)),
    "very long tail": lambda: clean().assign(cost=np.random.default_rng(0).pareto(1.2, N) * 1000),
    "temperature": lambda: clean().assign(change=np.random.default_rng(0).normal(0, 1, N).round(1)),
    "continuous": lambda: clean().assign(lab=np.random.default_rng(0).random(N)),
    "platelets": lambda: clean().assign(platelets=np.random.default_rng(0).integers(150_000, 450_000, N)),
    "0 to 99": lambda: clean().assign(share=np.random.default_rng(0).integers(0, 100, N)),
    "age up to 99": lambda: clean().assign(age=np.random.default_rng(0).integers(18, 100, N)),
    "structural zeros": lambda: clean().assign(packs=lambda f: f["visits"] * (f["sex"] == "m") * 5.5),
    "pyarrow": lambda: pytest.importorskip("pyarrow") and clean().convert_dtypes(dtype_backend="pyarrow"),
}


@pytest.mark.parametrize("kind", CLEAN)
def test_what_is_in_order_gets_no_sentence(kind):
    assert read(CLEAN[kind]()).report == []


@pytest.mark.parametrize("name", ["hospital_network", "breast_cancer", "diabetes"])
def test_tables_of_the_course_as_if_they_were_a_strangers(name):
    frame, known = _of_course(name)
    assert not [r for r in data.from_frame(frame, **known).report if not r.startswith("Missing ")]
    if name == "diabetes":
        frame, known = _of_course(name, target="progression")
        assert data.from_frame(frame, **known).report == []


def test_reading_a_table_in_order_changes_nothing():
    for kind in ("str", "object", "category", "Int64", "boolean"):
        frame = CLEAN[kind]()
        seen = reading.read(frame, target="y", hospital="site")
        pd.testing.assert_frame_equal(seen.frame, frame)
        assert seen.remarks == []
    assert reading.read(clean()).schema.numeric == ("score", "bp", "visits", "y")  # without a target


def test_reading_twice_is_reading_once():
    frame = with_cells("score", "?", "1,83").assign(sex=with_cells("sex", "-", " f")["sex"])
    once = reading.read(frame, target="y", hospital="site")
    assert once.frame["score"].isna().sum() == 2 and once.frame["sex"].isna().sum() == 1 and len(once.remarks) == 2
    twice = reading.read(once.frame, target="y", hospital="site")
    pd.testing.assert_frame_equal(twice.frame, once.frame)
    assert twice.remarks == []
    pd.testing.assert_frame_equal(once.schema.tidy(frame), twice.schema.tidy(once.frame))


# ---------------------------------------------------------------- any dirt


ROWS = st.lists(st.integers(0, N - 1), min_size=1, max_size=40, unique=True)
DIRT = {
    "token": st.sampled_from(["?", "1,83", "<1", "n/k", "#DIV/0!", " ", "-", "12 kg", "abc", "nan", "2024-01-01"]),
    "case": st.sampled_from([str.upper, str.title, str.swapcase]),
    "blank": st.sampled_from([" {}", "{} ", " {} ", "{}\t"]),
    "sentinel": st.sampled_from([999, -999, -9, 9999, 99999, 0]),
    "offset": st.sampled_from([1e3, 1e6, 1e9]),
    "form": st.sampled_from(sorted(FORMS)),
    "numbering": st.sampled_from(["run", "repeat", "outcome"]),
}


def dirty(kind, dirt, column, where):
    frame = clean().astype({"y": object, "score": object, "bp": object})
    if column == "y":
        frame["y"] = frame["y"].map({0: "no", 1: "yes"})
    cell = frame[column].iloc[where]
    if kind == "token":
        frame.loc[where, column] = dirt
    elif kind == "case":
        frame.loc[where, column] = cell.astype(str).map(dirt)
    elif kind == "blank":
        frame.loc[where, column] = cell.map(dirt.format)
    elif kind == "sentinel":
        frame.loc[where, "score"] = dirt
    elif kind == "offset":
        frame["score"] = frame["score"] + dirt
    elif kind == "form":
        frame["score"] = frame["score"].map(FORMS[dirt])
    elif kind == "numbering":
        by_outcome = np.argsort(np.argsort(clean()["y"], kind="stable"))
        frame["nr"] = {"run": np.arange(N), "repeat": np.arange(N) // 3, "outcome": by_outcome}[dirt]
    return frame if kind in ("token", "case", "blank") and column == "y" else frame.infer_objects()


def auc(some):
    everyone = some.pooled()
    X = np.vstack([everyone.X_train, everyone.X_test])
    y = np.concatenate([everyone.y_train, everyone.y_test]).ravel()
    if len(np.unique(y)) != 2:
        return np.nan
    return roc_auc_score(y, LogisticRegression(max_iter=200).fit(X, y).predict_proba(X)[:, 1])


CLEAN_AUC = auc(read(clean()))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(DIRT)).flatmap(lambda k: st.tuples(st.just(k), DIRT[k])),
       st.sampled_from(["score", "bp", "sex", "y"]), ROWS)  # fmt: skip
def test_dirt_is_never_read_silently(dirt, column, where):
    kind = dirt[0]
    frame = dirty(*dirt, column, where)
    try:
        some = read(frame)
    except ValueError as error:
        message = str(error)
        assert "\n" not in message and len(message) < 400 and message[-1] in ".?"
        return
    named = {"sentinel": "score", "offset": "score", "form": "score", "numbering": "nr"}.get(kind, column)
    named = {"y": "'y'|target"}.get(named, rf"\b{named}\b")
    if any(re.search(named, line) for line in some.report):
        return
    moved = abs(auc(some) - CLEAN_AUC)
    assert moved <= 0.02, (some.report, moved)


def test_marks_are_compared_without_case_and_blanks():
    assert all(cells.key(mark) == mark for mark in cells.MARKS | cells.WORDS)
    assert cells.key("  N/K ") in cells.MARKS and cells.MARKS.isdisjoint(cells.WORDS)
