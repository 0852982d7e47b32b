"""Exercises of lesson 00."""

from __future__ import annotations

from fedlab_utils.checks.mechanism import as_array, compare, exercise, hint, question, well_done


@exercise
def gap_closed(yours):
    "a function of three AUC values `alone`, `together` and `pooled` that returns one number"
    alone, together, pooled = 0.70, 0.73, 0.75
    mistakes = {
        "That is the gain itself. How large is it beside the largest possible one?": together - alone,
        "That is what is left open, not what is closed.": (pooled - together) / (pooled - alone),
        "It should be 0 if together is no better than alone; yours compares with 0 AUC.": together / pooled,
        "Where nothing is gained yours should say 0. What do you have to take away from `together` first?": (
            together / (pooled - alone)
        ),
        "That is upside down: the largest possible gain, measured in gains.": (pooled - alone) / (together - alone),
        "That is the gain beside where it started. How large is it beside the largest possible gain?": (
            (together - alone) / alone
        ),
        "That is the gain beside the pooled AUC. How large is the largest gain that pooling could bring?": (
            (together - alone) / pooled
        ),
        "That is what is left open, in AUC. What share of the whole gap is closed?": pooled - together,
        "A division goes before a difference: put brackets round both differences.": together - alone / pooled - alone,
        "A division goes before a difference: put brackets round the second difference, too.": (
            (together - alone) / pooled - alone
        ),
        "A division goes before a difference: put brackets round the first difference, too.": (
            together - alone / (pooled - alone)
        ),
        "That is in percent; return it as a share.": 60.0,
        "The sign is turned round: together is better than alone here, and yours is below 0.": -0.6,
    }
    wrong = (
        compare(yours(alone, together, pooled), 0.6, mistakes=mistakes)
        or compare(yours(0.6, 0.8, 0.8), 1.0, what="where together is as good as pooled, the result")
        or compare(yours(0.58, 0.65, 0.79), 1 / 3, what="with .58 alone, .65 together and .79 pooled, the result")
    )
    if wrong:
        return wrong
    lost = as_array(yours(0.75, 0.70, 0.80))  # 0 is in the words of the exercise, too: "no better than alone"
    return (
        hint("With .75 alone and .70 together, joining has cost something, and yours is a gain. Keep the sign.")
        if (lost > 0).any()
        else well_done("With .70 alone, .73 together and .75 pooled, training together closes 60% of the gap.")
    )


@question
def server_still_sees(yours):
    "a set of some of the four answers"
    options = {"patients' rows", "single updates", "sum of updates", "global model"}
    yours = {yours} if isinstance(yours, str) else set(yours)
    if unknown := yours - options:
        return hint(f"{sorted(unknown)} is none of the four; copy them as they stand in the comment.")
    if "patients' rows" in yours:
        return hint("Rows never left their hospital, with or without secure aggregation.")
    if "single updates" in yours:
        return hint("Hiding single updates is what secure aggregation is for. What is left of them?")
    if "sum of updates" not in yours:
        return hint("The server has to learn something to improve the model with. What is the least it needs?")
    if "global model" not in yours:
        return hint("The server still adds the sum to something and sends it round. To what?")
    return well_done("And both can still tell something about a patient: that is why lessons 04 and 06 exist.")


@exercise
def overall_accuracy(yours):
    "a function of a list of accuracies and a list of patients per hospital that returns one accuracy"
    mistakes = {
        "You gave West's 20 patients as much say as East's 600. Who should count alike?": 0.65,
        "That is the number of right predictions; divide by all patients.": 490.0,
        "You have mixed up the weights: the small hospital got the large one.": (0.8 * 20 + 0.5 * 600) / 620,
        "You divided by the number of hospitals; among how many patients are the right predictions?": 490 / 2,
        "You added the shares up; what share is right over all patients?": 1.3,
        "That is in percent; return it as a share.": 100 * 490 / 620,
        "That is the share that is wrong.": 130 / 620,
    }
    return (
        compare(yours([0.8, 0.5], [600, 20]), 490 / 620, mistakes=mistakes)
        or compare(
            yours([0.9, 0.5, 0.7], [100, 300, 100]),
            0.62,
            what="with three hospitals (it should take any number of them), the result",
        )
        or well_done("Patients count alike, so hospitals count by their patients. Lesson 03 averages models this way.")
    )
