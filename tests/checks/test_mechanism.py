"""Checks: right answers pass in every form, each mistake gets its own hint, nothing is raised or changed."""

import random

import numpy as np
import pytest
import torch

from fedlab_utils import checks


def says(verdict, *words):
    """The verdict is a hint that has these words in it."""
    assert verdict.kind == "hint" and not verdict.passed, verdict
    for word in words:
        assert word in verdict.message, verdict
    return True


@checks.exercise
def doubled(yours):
    "a function of a number x that returns 2 x"
    wrong = checks.compare(yours(3.0), 6.0, mistakes={"You squared it.": 9.0})
    return wrong or checks.well_done("Twice as much.")


@checks.question
def seven(yours):
    "a whole number"
    return checks.compare(yours, 7) or checks.well_done("Seven.")


# ---------------------------------------------------------------- every check there is


@pytest.mark.parametrize("name", checks.EXERCISES)
def test_an_untouched_stub_gets_a_hint(name):
    def stub(a, b): ...

    def with_words(a, b):
        """What to do."""

    def passed_over(a, b):
        pass

    for untouched in (stub, with_words, passed_over, ..., None):
        verdict = checks.EXERCISES[name](untouched)
        assert verdict.kind == "stub" and not verdict.passed and "Replace the `...`" in verdict.message


@pytest.mark.parametrize("name", checks.EXERCISES)
@pytest.mark.parametrize("nonsense", ["text", {}, object(), lambda: 1, lambda *a: "text", lambda *a: {}, np.nan, []])
def test_no_check_raises_whatever_it_is_given(name, nonsense):
    verdict = checks.EXERCISES[name](nonsense)
    assert verdict.kind == "hint" and verdict.message and checks.EXERCISES[name].__doc__


# ---------------------------------------------------------------- the mechanism


def test_verdicts_show_as_a_box_and_as_text():
    right, wrong, stub = doubled(lambda x: 2 * x), doubled(lambda x: x**2), doubled(...)
    assert right.passed and repr(right) == "Well done. Twice as much."
    assert repr(wrong) == "Not there yet. You squared it."
    assert '<div class="alert alert-success"><b>Well done.</b> Twice as much.</div>' == right._repr_html_()
    assert "alert-warning" in wrong._repr_html_() and "alert-info" in stub._repr_html_()
    assert "<code>...</code>" in stub._repr_html_()
    assert "if `a &lt; b`" not in checks.hint("if `a < b`")._repr_html_()
    assert "<code>a &lt; b</code>" in checks.hint("if `a < b`")._repr_html_()


@pytest.mark.parametrize(
    ("said", "shown"),
    {
        "clip the *sum* first": "clip the <em>sum</em> first",
        "*all patients* count": "<em>all patients</em> count",
        "`2 * a * b`, not *a*": "<code>2 * a * b</code>, not <em>a</em>",
        "2 * 3 * 4 is 24": "2 * 3 * 4 is 24",
    }.items(),
)
def test_a_word_between_stars_is_stressed_and_code_keeps_its_stars(said, shown):
    assert shown in checks.hint(said)._repr_html_()


def test_small_inputs_are_written_out_and_large_ones_by_their_shape():
    @checks.exercise
    def summed(yours):
        "a function of two rows"
        return checks.compare(yours(np.array([1, 2]), np.zeros(50)), 3)

    try:
        assert says(summed(lambda small, large: {}[0]), "`small = [1, 2]`", "`large = array of shape [50]`")
    finally:
        del checks.EXERCISES["summed"]


def test_what_the_function_raises_becomes_a_hint_with_its_input():
    def fails(height):
        return {}[height]

    assert says(doubled(fails), "`KeyError: 3.0`", "`height = 3.0`")
    assert says(doubled(lambda: 1), "TypeError", "`input 1 = 3.0`")


def test_a_return_that_is_missing_and_a_stub_that_is_half_filled():
    def no_return(x):
        x * 2

    def half_filled(x):
        factor = ...
        return factor * x

    def returns_dots(x):
        result = ...
        return result

    assert says(doubled(no_return), "returns nothing")
    assert doubled(half_filled).kind == doubled(returns_dots).kind == "stub"


def test_a_constant_is_not_a_stub():
    def constant(x):
        return 6.0

    assert doubled(constant).passed


def test_handing_over_the_result_instead_of_the_function():
    assert says(doubled(6.0), "a function of a number x", "is of type float", "without brackets")


def test_questions_take_values():
    assert seven(7).passed and seven(np.float32(7)).passed and seven(torch.tensor([7])).passed
    assert says(seven(8), "The result is 8, which is too large.")
    assert says(seven(-7), "too small")
    assert says(seven("seven"), "should be a number or an array of numbers, and is a str")


def test_a_check_that_cannot_read_an_answer_says_what_it_needs():
    @checks.question
    def odd(yours):
        "a table with a column age"
        return checks.well_done("") if yours.age else None

    try:
        assert says(odd(3), "a table with a column age", "AttributeError")
    finally:
        del checks.EXERCISES["odd"]


def test_a_check_must_say_what_it_expects():
    with pytest.raises(ValueError, match="nameless needs a first line"):

        @checks.exercise
        def nameless(yours):
            return None


def test_answers_and_inputs_are_left_as_they_are():
    given = []

    @checks.exercise
    def spoiler(yours):
        "a function of an array"
        x = torch.ones(3)
        yours(x)
        return checks.compare(yours(x), 3.0) or checks.well_done("")

    def spoils(x):
        given.append(x.clone())
        total = x.sum()
        x *= 0
        return total

    @checks.question
    def greedy(yours):
        "a list"
        yours.clear()
        return checks.well_done("")

    try:
        assert spoiler(spoils).passed and all(x.tolist() == [1, 1, 1] for x in given)
        mine = [1, 2]
        assert greedy(mine).passed and mine == [1, 2]
    finally:
        del checks.EXERCISES["spoiler"], checks.EXERCISES["greedy"]


def test_random_answers_are_judged_alike_and_generators_left_alone():
    drawn = []

    def noisy(x):
        drawn.append((torch.randn(1).item(), np.random.randn(), random.random()))
        return 2 * x

    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    expected = torch.randn(1).item(), np.random.randn(), random.random()
    torch.manual_seed(5), np.random.seed(5), random.seed(5)
    doubled(noisy)
    between = torch.randn(1).item(), np.random.randn(), random.random()
    doubled(noisy)
    assert between == expected
    assert drawn[0] == drawn[1] and not set(drawn[0]) & set(expected)


# ---------------------------------------------------------------- comparing


TRUTH = [[1.0, -2.0, 3.0], [4.0, 5.0, 0.0]]


@pytest.mark.parametrize(
    "form",
    [
        TRUTH,
        np.array(TRUTH, dtype=np.float32),
        torch.tensor(TRUTH, requires_grad=True),
        [torch.tensor(row) for row in TRUTH],
        np.array(TRUTH)[None],
        np.array(TRUTH) * (1 + 1e-7),
    ],
    ids=["list", "numpy", "torch", "list of tensors", "one more axis", "rounded"],
)
def test_equal_in_any_form(form):
    assert checks.compare(form, TRUTH) is None


@pytest.mark.parametrize(
    ("yours", "words"),
    [
        (np.array(TRUTH).T, ["transposed"]),
        (np.array(TRUTH)[:1], ["shape [1, 3]", "should be [2, 3]"]),
        (3 * np.array(TRUTH), ["3 times", "everywhere"]),
        (-np.array(TRUTH), ["wrong sign"]),
        (np.array(TRUTH) + [[0, 0, 0], [0, 1, 0]], ["is 6 at [1, 1], and should be 5", "1 of 6 entries"]),
        (np.array(TRUTH) * [[1, 1, 1], [1, 1, np.nan]], ["not finite"]),
        (np.zeros((2, 3)), ["is 0 at [0, 0], and should be 1"]),
        ("text", ["should be a number"]),
    ],
)
def test_what_is_wrong_in_general(yours, words):
    @checks.question
    def table(yours):
        "a table"
        return checks.compare(yours, TRUTH, what="your table")

    del checks.EXERCISES["table"]
    assert says(table(yours), *words)
    assert table(yours).message.startswith("Your table")


def test_a_listed_mistake_comes_before_the_general_hint():
    assert says(checks.compare([2.0, 4.0], [1.0, 2.0], mistakes={"Twice?": [2.0, 4.0]}), "Twice?")
    assert says(checks.compare([3.0, 6.0], [1.0, 2.0], mistakes={"Twice?": [2.0, 4.0]}), "3 times")


def test_tolerance_is_relative_to_the_largest_entry():
    assert checks.compare([1e6 + 1, 0.5], [1e6, 0.0], tolerance=1e-5) is None
    assert says(checks.compare([1.1, 0.0], [1.0, 0.0], tolerance=1e-5))
    assert checks.compare(1e-6, 0.0) is None and says(checks.compare(1e-4, 0.0))
