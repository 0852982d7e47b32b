"""Exercises of lesson 01."""

from __future__ import annotations

import numpy as np
import pandas as pd

from fedlab_utils.checks.mechanism import Found, as_array, compare, exercise, hint, well_done


def _table(value, what: str) -> pd.DataFrame:
    """An answer that is a table; anything else ends the check with a hint."""
    if not isinstance(value, pd.DataFrame):
        raise Found(hint(f"{what} should be a table (a DataFrame), and is a {type(value).__name__}."))
    return value


# Five patients and five entries: twins, one date of birth in two postcodes, one postcode with two dates of birth.
_PUBLISHED = pd.DataFrame(
    {
        "birth_date": ["1950-01-01", "1950-01-01", "1960-02-02", "1970-03-03", "1980-04-04"],
        "sex": ["male", "female", "male", "female", "male"],
        "postcode": ["11111", "11111", "22222", "33333", "44444"],
        "smoker": ["never", "former", "current", "never", "former"],
    }
)
_REGISTER = pd.DataFrame(
    {
        "name": ["Finn Oakham", "Rosa Oakham", "Theo Larkdale", "Vera Ashbury", "Omar Dunley"],
        "birth_date": ["1950-01-01", "1950-01-01", "1960-02-02", "1970-03-03", "1990-05-05"],
        "postcode": ["11111", "11111", "22299", "33333", "44444"],
        "sex": ["male", "female", "male", "female", "male"],
    }
)


@exercise
def link_records(yours):
    "a function of two tables, published and register, that returns the published records with their names"
    published, register = _PUBLISHED, _REGISTER
    found = _table(yours(published, register), "What you return")
    if "smoker" not in found or "name" not in found:
        lost = "name" if "name" not in found else "smoker"
        return hint(
            f"Your table has no column `{lost}` (it has {', '.join(map(str, found.columns))}). An attacker wants the "
            "name beside the medical columns. If you joined on too few columns, pandas adds _x and _y to the others."
        )
    pairs = set(zip(found["name"].astype(str), found["smoker"].astype(str), strict=True))
    if len(found) == 25:
        return hint("You combined every record with every person: 25 rows. What must be equal in both?")
    if found["name"].isna().any():
        return hint(
            "Some of your rows have no name: the join kept records that nobody in the register fits. Those are not "
            "re-identified. Which `how` keeps only the rows that are in both tables?"
        )
    if found["smoker"].isna().any():
        return hint("Some of your rows are people of the register who are no patients. Which `how` leaves them out?")
    if pairs == set(zip(register["name"], published["smoker"], strict=True)):
        return hint(
            "You put the tables side by side: the first record got the first name, and so on. The two are in no common "
            "order. What must be equal in a record and in an entry?"
        )
    if ("Omar Dunley", "former") in pairs:
        return hint(
            "You named a patient born in 1980 after somebody born in 1990 with the same postcode. The postcode alone, "
            "even with the sex, is a whole neighbourhood: what else do both tables have?"
        )
    if ("Theo Larkdale", "current") in pairs:
        return hint(
            "You named a man in 22222 after one in 22299 who was born on the same day. A date of birth is "
            "shared by many people: what else do both tables have?"
        )
    if ("Finn Oakham", "former") in pairs or ("Rosa Oakham", "never") in pairs:
        return hint(
            "Twins live at 11111: a sister and a brother. You gave one of them the record of the other. Which "
            "column tells them apart?"
        )
    if pairs != {("Finn Oakham", "never"), ("Rosa Oakham", "former"), ("Vera Ashbury", "never")} or len(found) != 3:
        return hint(f"You found {len(found)} records with a name, {sorted(pairs)}; three of the five can be linked.")
    # one record less, and the register in another order: no place of a row can stand in the function
    fewer = _table(yours(published.iloc[1:], register.iloc[::-1]), "What you return")
    two = [("Rosa Oakham", "former"), ("Vera Ashbury", "never")]
    if sorted(zip(fewer["name"], fewer["smoker"], strict=True)) != two:
        return hint(
            "Where one record less is published and the register stands in another order, your pairs do not fit any "
            "more. Rows are joined by what is equal in them, wherever they stand."
        )
    return well_done("Date of birth, sex and postcode give three of five patients their name back.")


@exercise
def k_anonymity(yours):
    "a function of a table and a list of columns that returns the size of the smallest group"
    complete = pd.DataFrame(
        {
            "age": ["50-59"] * 10 + ["60-69"] * 9,
            "sex": ["male"] * 7 + ["female"] * 3 + ["male"] * 4 + ["female"] * 5,
            "smoker": list("abcdefghijklmnopqrs"),
        }
    )
    truth, sizes = 3, complete.groupby(["age", "sex"]).size()
    mistakes = {
        "You took the average group. A promise to patients has to hold for those in the smallest.": sizes.mean(),
        "You counted the groups. How many patients are in each of them?": len(sizes),
        "That is the largest group: its members are well hidden, and the others?": sizes.max(),
        "You returned the number of rows of the table.": len(complete),
        "You grouped by all columns of the table. An attacker knows only those in `columns`.": 1,
        "It looks as if you looked at each column by itself. An attacker knows them together.": 8,
        "You counted the different values of a column. How many patients share each combination of them?": 2,
    }
    found = as_array(yours(complete, ["age", "sex"]), "k")
    if found.size == len(sizes):
        return hint("You return a number for each group. Which one of them is the promise for everybody?")
    wrong = compare(found, truth, what="k", mistakes=mistakes)
    if wrong:
        return wrong
    unknown = pd.DataFrame({"age": [None, None], "sex": ["male", "female"], "smoker": ["n", "o"]})
    gaps = pd.concat([complete, unknown], ignore_index=True)
    dropped = {
        "In a second table two patients have no age recorded, a man and a woman, and you do not see them: pandas "
        "leaves out what is missing where it forms groups. Each is the only one with that gap. Look up the argument "
        "`dropna`.": truth
    }
    fixed = {"You grouped by `age` and `sex`, whatever `columns` says; here it says `['sex']`.": truth}
    return (
        compare(yours(gaps, ["age", "sex"]), 1, what="k of a table with missing ages", mistakes=dropped)
        or compare(yours(complete, ["sex"]), 8, what="k where `columns` is `['sex']`", mistakes=fixed)
        or well_done("The smallest group counts, and a gap in the table can single a patient out as well as a value.")
    )


@exercise
def zeros_to_missing(yours):
    "a function of a table and a list of columns that returns the table with zeros in these columns missing"
    table = pd.DataFrame({"hdl": [0.0, 50.0, 40.0, np.nan], "bmi": [25.0, 0.0, 30.0, 20.0], "event": [0, 1, 0, 1]})
    truth = table.assign(hdl=[np.nan, 50, 40, np.nan], bmi=[25, np.nan, 30, 20])
    got = _table(yours(table, ["hdl", "bmi"]), "What you return")
    if len(got) < len(table):
        return hint("You dropped the rows. Their other columns are fine: only the value is missing, not the patient.")
    if missing := [c for c in table.columns if c not in got]:
        return hint(f"The column `{missing[0]}` is gone. Return the whole table, with all of its columns.")
    for column in table.columns:
        if texts := [value for value in got[column] if isinstance(value, str)]:
            return hint(
                f"`{column}` holds the text {texts[0]!r} now. A text only looks like a gap: pandas takes it for a "
                "value (`isna()` says False), and the column is no number any more. The missing value is `np.nan`."
            )
    if pd.to_numeric(got["event"], errors="coerce").isna().any():
        return hint(
            "The zeros of `event` are gone as well. There, 0 is an answer: no event. Which columns were "
            "you asked to mend?"
        )
    values = got[list(table.columns)].apply(pd.to_numeric, errors="coerce").to_numpy(float)
    if np.array_equal(values, table.to_numpy(float), equal_nan=True):
        return hint("Nothing has changed. pandas returns a new table or column: does yours reach the `return`?")
    holes = np.isnan(values) != truth.isna().to_numpy()
    if holes[3, 0]:
        return hint("You filled a value that was missing before. Marking zeros and filling gaps are two steps.")
    if holes[:, :2].any():
        row, column = np.argwhere(holes[:, :2])[0]
        seen = values[row, column]
        if not np.isnan(seen) and seen != 0:
            return hint(
                f"Where `{table.columns[column]}` was 0 you wrote {seen:g}. That is an estimate; first say that the "
                "value is missing."
            )
        return hint(
            f"Row {row} of `{table.columns[column]}` is {seen:g}. Is every listed column mended, and only the zeros?"
        )
    again = _table(yours(table, ["hdl"]), "What you return where one column is listed")
    if "bmi" not in again or pd.isna(again["bmi"].iloc[1]):
        return hint("You mend `hdl` and `bmi` whatever `columns` says; where it lists `hdl` only, `bmi` should stay.")
    return well_done("The zeros are missing values now, and the zeros that mean no are still there.")


@exercise
def pooled_sd(yours):
    "a function of counts, means and sds [n_hospitals each] that returns the standard deviation of all patients"
    counts, means, sds = (
        np.array([100.0, 300.0, 50.0]),
        np.array([50.0, 54.0, 64.0]),
        np.array([9.0, 11.0, 5.0]),
    )
    n, centre = counts.sum(), counts @ means / counts.sum()
    within, between = counts @ sds**2 / n, counts @ (means - centre) ** 2 / n
    mistakes = {
        "You averaged the standard deviations. They do not add up, variances do; and the hospitals also differ from "
        "each other.": sds.mean(),
        "You averaged the standard deviations, weighted by patients. They do not add up, variances do; and the "
        "hospitals also differ from each other.": counts @ sds / n,
        "You have the spread within the hospitals, with the right weights. But their patients' ages lie around "
        "different means: where does the distance of each hospital from the common mean go?": np.sqrt(within),
        "You have the spread between the hospitals, and not that within them.": np.sqrt(between),
        "Every hospital counts the same in your result, with 50 patients or with 300.": np.sqrt(
            np.mean(sds**2) + np.mean((means - means.mean()) ** 2)
        ),
        "Your common mean is the plain mean of the three means. A hospital with 300 patients should count for more "
        "than one with 50.": np.sqrt(within + counts @ (means - means.mean()) ** 2 / n),
        "That is the variance; its square root is asked for.": within + between,
        "You have the spread within the hospitals, every hospital counting the same, with 50 patients or with 300; and "
        "the distances between their means are missing.": np.sqrt(np.mean(sds**2)),
        "That is the *pooled standard deviation* of a t-test, which takes away what lies between the groups. Here all "
        "patients are one table: where does the distance of each hospital from the common mean go?": np.sqrt(
            (counts - 1) @ sds**2 / (counts - 1).sum()
        ),
        "You divide by the number of patients less one. Here, as in StandardScaler, one divides by the number "
        "itself.": np.sqrt((within + between) * n / (n - 1)),
        "You take one away from each count. Here, as in StandardScaler, a variance is divided by the count "
        "itself.": np.sqrt(((counts - 1) @ sds**2 + counts @ (means - centre) ** 2) / (n - 1)),
        "That is how far the three means lie apart. What of the spread within each hospital?": means.std(),
    }
    truth = np.sqrt(within + between)
    two = np.array([30.0, 10.0]), np.array([1.0, 5.0]), np.array([2.0, 4.0])  # 2 ** 2 + 1 and 4 ** 2 + 9: 5 and 25
    return (
        compare(yours(counts, means, sds), truth, what="the pooled sd", mistakes=mistakes)
        or compare(yours(*two), np.sqrt(10.0), what="with two hospitals (it should take any number), the pooled sd")
        or well_done("Spread within the hospitals plus spread between them: no row was needed.")
    )
