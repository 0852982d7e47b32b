# %% [markdown]
# # 01 · Preprocessing
#
# *This hospital removed names and ID numbers. Find the mayor.*
#
# **After this lesson you can**
#
# - re-identify patients in a table without names, and say what [k-anonymity](../docs/glossary.md#k-anonymity) does and
#   does not promise,
# - find the faults of a raw extract by looking, and mend them one small function at a time,
# - measure what `fillna` and `dropna` do to an answer,
# - catch a leak between training and test rows, and tell a harmless one from a ruinous one,
# - standardise the tables of five hospitals as if they were one, and say what left each hospital.
#
# **Time:** 45 minutes for the core; sections marked ◆ are deep and take another 12.
# **You need:** some pandas, and lesson 00 for the threat model.

# %%
from IPython import get_ipython

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

# %% [markdown]
# ## Find the mayor
#
# Five hospitals want to learn from each other's patients. "Original healthcare datasets are preprocessed to remove
# any direct identifiers", says [Sharma] of this first step. So our hospitals delete record number, name, national ID
# and phone number; the left of the next picture is what remains. On its right is a public register, like an electoral
# roll. The mayor, Rolf Brammere, stands in it.

# %%
import numpy as np
import pandas as pd

from fedlab_utils import checks, data, federated, plots, widgets
from fedlab_utils.attacks import linkage
from fedlab_utils.data import cleaning, simulate

raw, truth = simulate.hospital_network()  # the extract and, as never in real life, the truth
register = simulate.public_register(raw, truth)
published = raw.drop(columns=simulate.DIRECT_IDENTIFIERS)

entry = register.index[register["name"] == "Rolf Brammere"][0]
mayor = register.loc[entry]
same = (published[["birth_date", "postcode"]] == mayor[["birth_date", "postcode"]]).all(axis=1)
row = published.index[same][0]
left = published.loc[row - 2 : row + 2, ["birth_date", "sex", "postcode", "smoker", "diagnosis"]]
right = register.loc[entry - 2 : entry + 2]
plots.show(
    plots.linkage(left, right, row=2, entry=2),
    alt=f"Two tables. A record born {mayor.birth_date} in postcode {mayor.postcode} with a "
    "diagnosis but no name; and a public entry with the same date and postcode and the name "
    f"{mayor['name']}. A line joins the two rows.",
)

# %% [markdown]
# One record of the extract has the mayor's date of birth and postcode, and behind it stand his cigarettes and his
# diagnosis. Nobody broke into anything. (Patients, mayor and region are simulated, so that you may attack them.) In
# 1997 Latanya Sweeney found the governor of Massachusetts that way, in an insurer's table of hospital visits that had
# no names.
#
# **Is the mayor an exception?** Columns such as date of birth, sex and postcode are called
# *[quasi-identifiers](../docs/glossary.md#quasi-identifier)*: none
# of them names you, together they do. pandas links two tables on such columns in one line; here on two of the three.

# %%
linked = published.reset_index().merge(register, on=["birth_date", "postcode"], how="inner")
right_name = linked["name"].to_numpy() == raw.loc[linked["index"], "name"].to_numpy()
listed = raw.merge(register, on=["name", "birth_date"])  # who could be found at all
print(f"{len(published):,} records, {len(register):,} people in the register")
print(f"records that get a name: {linked['index'].nunique() / len(published):.1%}")
print(f"names that are right:    {right_name.mean():.1%}")
print(f"records whose patient is in the register: {len(listed) / len(published):.1%}")

# %% [markdown]
# Four records in ten get their name back, nearly always the right one. Why not all? See the last line: the register
# holds only that many of the patients. Whoever *can* be found *is* found.
#
# <div class="alert alert-info"><b>Your turn ★</b> Write the attack as a function that uses all three columns,
# <code>birth_date</code>, <code>sex</code> and <code>postcode</code>, and keeps only the records that get a
# name. (The check brings two small clean tables. In our extract <code>sex</code> needs mending first; we come to
# it.)</div>


# %%
def link_records(published, register):
    ...


checks.link_records(link_records)


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def link_records_solution(published, register):
    return published.merge(register, on=["birth_date", "sex", "postcode"], how="inner")


checks.link_records(link_records_solution)

# %% [markdown] tags=["deep"]
# ### ◆ "We hash the names"
#
# A hash is a secret only as long as nobody can guess what went in, and the attacker has a list of good guesses: the
# register.

# %% tags=["deep"]
from hashlib import sha256


def hashed(table):
    known = table["name"] + " " + table["birth_date"]
    return [sha256(text.encode()).hexdigest() for text in known]


pseudonym = pd.Series(hashed(raw))  # what a hospital might publish in the place of the name
print("published:", pseudonym[row][:24], "...")
print(f"pseudonyms in the hashed register: {pseudonym.isin(hashed(register)).mean():.1%}")

# %% [markdown] tags=["deep"]
# The same four in ten. (A secret key mixed in, a *keyed* hash, stops the guessing for as long as it stays secret, and
# does nothing about the birth date and postcode in the next columns.)

# %% [markdown]
# ## Hiding in a group
#
# A patient who shares the released values with others is hidden among them. Release the decade of birth instead of
# the date, three digits of the postcode instead of five, and groups form. The table is ***k*-anonymous** if everyone
# is in a group of at least $k$ (Sweeney 2002, doi:10.1142/S0218488502001648):
#
# $$k = \min_{\text{groups } g} |g|, \qquad g = \text{patients with equal quasi-identifiers}$$

# %%
once = cleaning.drop_duplicate_records(published)  # a patient's second copy would be false company
patients = cleaning.tidy_categories(once).assign(decade=once["birth_date"].str[:3] + "0s")
coarse = patients.assign(area=patients["postcode"].str[:3])
size = coarse.groupby(["decade", "sex", "area"])["decade"].transform("size")
print(f"smallest group: k = {size.min()}; the median patient is in a group of {size.median():.0f}")
print(f"patients in a group of fewer than five: {(size < 5).mean():.1%}")

# %% [markdown]
# Most patients are well hidden and $k$ is still as low as it can be: the promise has to hold for the patient in the
# smallest group. In practice one coarsens until few are left over, and withholds those. (Strictly, this counts
# *records*: whoever was moved to another hospital has one in each.)
#
# <div class="alert alert-info"><b>Your turn ★★</b> Write <code>k_anonymity(table, columns)</code>, the size of the
# smallest group. The check also tries a table with gaps in it.</div>


# %%
def k_anonymity(table, columns):
    ...


checks.k_anonymity(k_anonymity)


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def k_anonymity_solution(table, columns):
    return table.groupby(columns, dropna=False).size().min()


checks.k_anonymity(k_anonymity_solution)

# %% [markdown]
# ### Live lab: what does hiding cost?
#
# Left: who can be singled out. Right: how well a model that sees *only the released birth years* still predicts who had
# a cardiovascular event (`cvd_event`), as AUC. The lab starts with the *year* of birth; the date is gone already.
# Coarsen until nobody is alone. Which way costs the model least?
#
# To try a table of your own, put it in `own` (one row a patient). Columns called `age` and `sex` are used if it has
# them, otherwise its first columns; the sentence says which.

# %%
own = None  # data.from_frame(pd.read_csv("my.csv"), target="outcome")


def singled_out_or_useful(show, federation, width, digits):
    table = linkage.released(federation)
    sizes = linkage.group_sizes(table, width, digits)
    areas = {w: linkage.auc(table, w) for w in sorted({1, 2, 5, 10, 20, width})}
    sentence = linkage.sentence(table, width, digits)
    show(plots.release(sizes, areas, width, table.columns[0] or "nothing"), sentence, alt=sentence)


widgets.lab(
    singled_out_or_useful,
    title="Singled out, or useful?",
    federation=widgets.data_choice(data.load, data.names(), own),
    width=widgets.slider(1, 20, 1, label="Birth years put together", unit="years"),
    digits=widgets.slider(0, 5, 5, label="Digits of the postcode"),
)

# %% [markdown]
# The cheapest way is to drop the postcode: nobody is alone any more, and this model, which never used it, loses nothing.
# **What nobody needs should not be released.** Birth years in groups of five cost nothing that you can see, in groups of
# twenty clearly. Look also at how many names are *right*: with coarse values a unique match is often somebody else,
# because the register lists people who are no patients, and misses patients (Barth-Jones 2012 calls it *the myth of the
# perfect population register*). Our mayor would still rather not rely on it.
#
# **What does the law call anonymous?** In the United States, HIPAA's *Safe Harbor* is a list: eighteen kinds of
# identifiers have to go, of dates the year may stay (ages over 89 become one group), and of the postcode the first three
# digits, if more than 20,000 people live there (45 CFR 164.514(b)(2)). That is the lab at 1 year and 3 digits: move it
# there, and read how many are still alone. Europe's GDPR has no list. Data are anonymous if nobody can be identified by
# means reasonably likely to be used (Recital 26), and its supervisors asked three questions (Opinion 05/2014, WP216):
# can one *single out* a record, *link* two records of a person, or *infer* something about them? You have just done the
# first two. Here comes the third.
#
# ### Break it: hidden in a group, and known all the same
#
# Suppose a hospital does it properly: decades, four digits, and everyone in a group of fewer than five withheld.

# %%
keys = ["decade", "sex", "area"]
fine = patients.assign(area=patients["postcode"].str[:4], on_drug=patients["bp_treated"] == "yes")
released = fine[fine.groupby(keys)["area"].transform("size") >= 5]
groups = released.groupby(keys)["on_drug"].agg(patients="size", share_on_drug="mean")
alike = groups[groups["share_on_drug"] == 1]
withheld = 1 - len(released) / len(patients)
print(f"k = {groups['patients'].min()}, and {withheld:.0%} of the records had to be withheld")
print(f"groups in which everyone takes blood-pressure drugs: {len(alike)}")
print(f"patients in these groups: {alike['patients'].sum()}")
alike.nlargest(3, "patients")

# %% [markdown]
# Nobody in the top group can be told from the others, and yet, if you know that your neighbour is one of them, you know
# what they swallow: it is the same for all. This is the *homogeneity attack* (Machanavajjhala et al. 2007,
# doi:10.1145/1217299.1217302). Asking for mixed groups (*l-diversity*, in the same paper) helps against it and not
# against the next: what two tables of two hospitals have in common (Ganta et al. 2008, arXiv:0803.0032). Hiding in a
# crowd is a property of one table; what we need is a promise about whatever is *released*, today and next year. That
# promise is lesson 04.
#
# ## The raw extract: look before you compute
#
# Names aside, what is in the table? Try to take a mean.

# %%
print(raw["systolic_bp"].dtype, "|", raw["systolic_bp"].sample(6, random_state=1).tolist())
no_number = pd.to_numeric(raw["systolic_bp"], errors="coerce").isna() & raw["systolic_bp"].notna()
print("not a number:", raw.loc[no_number, "hospital"].value_counts().to_dict())
print("spellings of sex:", sorted(raw["sex"].unique()))
again = raw.drop(columns="record_id").duplicated().sum()
print(f"same record twice: {again}, of these under the same number: {raw.duplicated().sum()}")

# %% [markdown]
# Four lines, three faults. One hospital writes the unit into the cell, which turns the whole column into text. Five
# hospitals write two sexes in a dozen ways. And some records stand there twice, about half of them under a new record
# number, which `duplicated()` on the whole table misses. Two of the three mended:


# %%
def drop_duplicate_records(raw):
    return raw[~raw.drop(columns="record_id").duplicated()]


def tidy(column, meaning):  # meaning: every spelling, stripped and in lower case -> the category
    return column.str.strip().str.lower().map(meaning)


print(tidy(raw["sex"], simulate.SPELLINGS["sex"]).value_counts().to_dict())
print({c: simulate.SPELLINGS[c]["f"] for c in ("sex", "smoker")})

# %% [markdown]
# Mind the last line: `F` is *female* in one column and *former smoker* in another. A global search and replace makes a
# mess that no error message reports.
#
# Numbers hide their faults better. Look at them, hospital by hospital:

# %%
mended = cleaning.harmonise_units(raw)  # lipids in mg/dL, blood pressure as a number
mended = cleaning.zeros_to_missing(mended, ["systolic_bp", "total_cholesterol", "hdl", "bmi"])
plots.show(
    plots.histograms(raw, mended, "total_cholesterol", "mg/dL"),
    alt="Total cholesterol in five hospitals. As extracted, Lakeside's values lie near 5 and the "
    "others' near 190, and Stonebridge has a spike at 0. After mending, all five have one hump "
    "around 190 mg/dL.",
)

# %% [markdown]
# Lakeside measures in mmol/L. Stonebridge has patients with a cholesterol of zero, which no living patient has: its
# software writes 0 where nothing was measured. Here is how the first is mended, and the second is your turn.


# %%
def to_mg_per_dl(lipid):
    mmol = lipid.between(0, 12, inclusive="neither")  # hardly anybody has 12 mg/dL, or 12 mmol/L
    return lipid.mask(mmol, lipid * simulate.MG_PER_MMOL)


before = raw.groupby("hospital")["total_cholesterol"].mean()
after = to_mg_per_dl(raw["total_cholesterol"]).groupby(raw["hospital"]).mean()
zero = raw[raw["total_cholesterol"] == 0]
print(pd.DataFrame({"as extracted": before, "in mg/dL": after}).round(0).astype(int).to_string())
print(f"all hospitals as extracted: {raw['total_cholesterol'].mean():.0f}")
print("hospitals with a cholesterol of 0:", zero["hospital"].value_counts().to_dict())

# %% [markdown]
# Stonebridge is still too low after the units are right: its zeros pull the mean down. And read the last line: **a zero
# gives the hospital away**. A model that may see zeros learns where a patient was treated without being told. Real data
# do this too: in the UCI heart-disease files cholesterol is 0 in all 123 Swiss rows.
#
# <div class="alert alert-info"><b>Your turn ★</b> Write <code>zeros_to_missing(table, columns)</code>: a zero in one
# of these columns becomes missing. Other columns have zeros that mean something.</div>


# %%
def zeros_to_missing(table, columns):
    ...


checks.zeros_to_missing(zeros_to_missing)


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def zeros_to_missing_solution(table, columns):
    return table.assign(**{c: table[c].mask(table[c] == 0) for c in columns})


checks.zeros_to_missing(zeros_to_missing_solution)

# %% [markdown]
# From here on the package does these steps in a row (`cleaning.clean_hospital_network`; each is as short as ours).
# What is left is honest: gaps that look like gaps. Where are they?

# %%
clean = cleaning.clean_hospital_network(raw)
gaps = clean["hdl"].isna().groupby(clean["hospital"], sort=False).mean()
print("share of patients without HDL:", gaps.round(2).to_dict())

# %% [markdown]
# Not sprinkled evenly: Harbour rarely measures HDL (the "good" cholesterol), and every hospital has a pattern of its
# own.
#
# ## `fillna`, `dropna`, and what each does to an answer
#
# [Poojari 2026] names two tools for missing values: `fillna`, "used to fill in the missing values", and `dropna()`,
# "used to remove the incomplete rows". Both run without complaint. Do they give right answers? Here we can ask,
# because we know the truth behind every gap. Guess first: which of the three below would you trust?

# %%
known = truth.loc[clean.index]  # the same records, true values
tables = {
    "fillna(0)": clean.fillna({"bmi": 0, "hdl": 0}),
    "fillna(mean)": clean.fillna({"bmi": clean["bmi"].mean(), "hdl": clean["hdl"].mean()}),
    "dropna()": clean.dropna(),
}
questions = {
    "Slim: BMI below 25": lambda t: 100 * (t["bmi"] < 25),
    "HDL below 40 mg/dL": lambda t: 100 * (t["hdl"] < 40),
    "Mean age": lambda t: t["age"],
}


def estimate(values):
    return values.mean(), 1.96 * values.std() / len(values) ** 0.5  # mean, half of its interval


answers = {q: {name: estimate(f(t)) for name, t in tables.items()} for q, f in questions.items()}
right = {q: f(known).mean() for q, f in questions.items()}
units = dict(zip(questions, ["% of patients", "% of patients", "years"], strict=True))
means = {q: {n: mean for n, (mean, _) in a.items()} for q, a in answers.items()}
print(pd.concat([pd.DataFrame(means), pd.DataFrame(right, ["truth"])]).round(1))

# %% [markdown]
# The last row is what a perfect extract would have answered. In the picture it is the dashed line, and the bars are
# the 95% intervals that an unsuspecting analyst would report.

# %%
plots.show(
    plots.intervals(answers, truth=right, xlabel=units),
    alt="Three panels with the answers of fillna(0), fillna(mean) and dropna() and a dashed line "
    "for the truth. In each panel at least one narrow interval lies clear of the truth: zeros "
    "inflate both shares, the mean deflates them, and dropping rows makes the patients older.",
)

# %% [markdown]
# Narrow intervals, most of them clear of the truth: *precisely wrong*. Each tool fails in its own way.
#
# - `fillna(0)` invents patients without HDL, and without weight.
# - `fillna(mean)` piles everybody it fills in up at the centre, so the low and the high become rarer than they are. And
#   it counts guesses as measurements, which makes the interval narrower than anybody has earned.
# - `dropna()` changes *who is in the table*. The young are tested less often, so the rest is older. This could be
#   repaired, by giving the young who are left more weight: what decides about the gap, age, is in the table (*missing
#   at random*).
# - On BMI all three miss. Slim patients are weighed less often, so the value itself decides whether it is missing
#   (*missing not at random*; the distinction goes back to Rubin 1976, doi:10.1093/biomet/63.3.581). Nothing repairs
#   that from the table alone; one has to know, or assume, how the gaps came about.
#
# And in a federation `dropna` has one more victim:

# %%
kept = clean.dropna().groupby("hospital").size() / clean.groupby("hospital").size()
print("share of patients that dropna() keeps:", kept.round(2).to_dict())

# %% [markdown]
# A habit of one laboratory removes three quarters of Harbour from the study. In later lessons `data.load` fills numbers
# with the mean of the training rows. For *ranking* patients by risk that costs little here (lesson 03 shows the
# ceiling); for *counting* them you have just seen the price. The right tool for counting is *multiple imputation*: fill
# each gap several times by chance, from patients who are alike, and let the answers' disagreement widen the interval
# (Rubin 1987; the next section ◆ does it). For predicting, one may add a column that says "was missing": honest about
# the gap, and, as with the zeros, a way to learn where a patient was treated.

# %% [markdown] tags=["deep"]
# ### ◆ Filling in ten times
#
# Each gap gets the value of a patient drawn from those of the same hospital, sex and decade of age; ten times, from a
# fresh choice of donors. Rubin's rules then add the spread *between* the ten answers to the spread within one.

# %% tags=["deep"]
dice = np.random.default_rng(0)


def from_donors(values):  # of patients who are alike
    known_ones = values.dropna().to_numpy()
    donors = dice.choice(known_ones, len(known_ones)) if len(known_ones) else [np.nan]
    return values.where(values.notna(), dice.choice(donors, len(values)))


alike = [clean["hospital"], clean["sex"], clean["age"] // 10]
for column, limit in (("hdl", 40), ("bmi", 25)):
    filled = [clean[column].groupby(alike).transform(from_donors) for _ in range(10)]
    shares = np.array([100 * (one < limit).mean() for one in filled])
    within = np.mean([(100 * (one < limit)).var() / len(one) for one in filled])
    half = 1.96 * (within + 1.1 * shares.var(ddof=1)) ** 0.5  # the spread between, times 1 + 1/10
    right_one = 100 * (known[column] < limit).mean()
    print(f"{column} below {limit}: {shares.mean():.1f}% ± {half:.1f}, truly {right_one:.1f}%")

# %% [markdown] tags=["deep"]
# HDL comes out right: what decides about its gaps, the hospital and age, is in the table. BMI does not, since slim
# patients are weighed less often, and donors who were weighed do not know that. **The best tool repairs only gaps whose
# reasons are in the table.**

# %% [markdown]
#
# ## Words into numbers
#
# Two more tools of [Poojari 2026]: `pandas.get_dummies()` and `LabelEncoder()`, "such methods", as if they were two
# ways to the same place. Look at what they make of smoking (complete rows will do for this question).

# %%
from sklearn.preprocessing import LabelEncoder

complete = clean.dropna()
smoker = complete["smoker"]
codes = pd.Series(LabelEncoder().fit_transform(smoker), index=smoker.index)
print("LabelEncoder:", codes.groupby(smoker).first().to_dict())
print(pd.get_dummies(smoker, dtype=int).head(3))

# %% [markdown]
# The codes are alphabetical. A linear model must now believe that a former smoker lies exactly half-way between a
# current one and somebody who never smoked. (And in a hospital without former smokers *never* would be 1 instead of 2:
# the same number, another meaning. scikit-learn says it itself: `LabelEncoder` is for targets.) Does it matter? We fit
# the same model twice, on twenty splits.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split

numbers = complete[["age", "systolic_bp", "total_cholesterol", "hdl", "bmi"]]
base = (numbers - numbers.mean()) / numbers.std()
for column, value in {"sex": "male", "bp_treated": "yes", "diabetes": "yes"}.items():
    base[column] = (complete[column] == value) * 1.0
one_hot = base.join(pd.get_dummies(smoker, dtype=float))
versions = {"codes 0, 1, 2": base.assign(code=codes), "one-hot": one_hot}
rows = []
for split in range(20):
    train, test = train_test_split(complete.index, test_size=1 / 3, random_state=split)
    for name, X in versions.items():
        model = LogisticRegression().fit(X.loc[train], complete.loc[train, "cvd_event"])
        risk = pd.Series(model.predict_proba(X.loc[test])[:, 1], index=test)
        auc = roc_auc_score(complete.loc[test, "cvd_event"], risk)
        off = (risk - complete.loc[test, "cvd_event"]).groupby(smoker[test]).mean() * 100
        rows.append({"split": split, "version": name, "AUC": auc, **off})
coded = pd.DataFrame(rows).groupby("version").agg(["mean", "std"])
print(coded["AUC"].round(3))
aucs = pd.DataFrame(rows).pivot(index="split", columns="version", values="AUC")
gain = aucs["one-hot"] - aucs["codes 0, 1, 2"]  # split by split
print(f"one-hot minus codes: {gain.mean():.4f} ± {gain.std():.4f}; above 0: {sum(gain > 0)} of 20")

# %% [markdown]
# Two lessons in one. Side by side the two versions cannot be told apart: a split moves the AUC more than the coding does.
# But both had the *same* splits, so compare them split by split: [one-hot](../docs/glossary.md#one-hot) is better
# nearly every time, by a few
# thousandths. **Methods that share their splits are compared in pairs.** A few thousandths sound harmless; ask how
# far the predicted risk is off for each kind of patient (the bars: ± one standard deviation over the twenty splits):

# %%
kinds = ("never", "former", "current")
off = {kind: {v: tuple(coded.loc[v, kind]) for v in versions} for kind in kinds}
plots.show(
    plots.intervals(off, truth=dict.fromkeys(off, 0.0), xlabel="predicted - observed (% points)"),
    alt="Predicted minus observed risk for never, former and current smokers. With one-hot "
    "columns all three lie at zero within their spread; with codes former smokers are off by "
    f"{off['former']['codes 0, 1, 2'][0]:.1f} points.",
)

# %% [markdown]
# With codes, former smokers are told a risk that is several points too high, and current smokers one that is too low:
# the model has to put the former half-way, and in these patients they are like those who never smoked. One-hot columns
# let it say so. A ranking score hardly shows the difference.

# %% [markdown] tags=["deep"]
# ## ◆ Scales
#
# `StandardScaler` subtracts the mean and divides by the standard deviation; `MinMaxScaler` maps the lowest value to 0
# and the highest to 1. Let one nurse type 1260 instead of 126:

# %% tags=["deep"]
from sklearn.preprocessing import MinMaxScaler, StandardScaler

pressure = clean[["systolic_bp"]].dropna()
typo = pressure.copy()
typo.iloc[0] = 1260
for scaler in (StandardScaler(), MinMaxScaler()):
    half = []
    for table in (pressure, typo):
        low, high = np.quantile(scaler.fit_transform(table), [0.25, 0.75])
        half.append(f"{high - low:.2f}")
    print(f"{type(scaler).__name__}: the middle half spans {half[0]}, after the typo {half[1]}")

# %% [markdown] tags=["deep"]
# One typing error in twelve thousand rows squeezes everybody else into a sliver of the min-max scale; the standard
# scale gives way a little. For privacy, too, the two differ: a maximum *is one patient's value*, while a mean mixes
# everybody's (how safe that is, we shall see). If you want a fixed range, take it from public knowledge (say, a blood
# pressure from 80 to 230), not from the patients.

# %% [markdown]
# ## The leak between training and test
#
# A test set tells how a model does on patients it has never seen. So nothing may be *fitted* before the split, no
# scaler and no selection of columns. (Look back: before comparing codes with one-hot columns, we scaled the whole
# table and split it afterwards. Did you notice?) How bad is it if you forget? We measure both, on one hundred patients
# and 2,000 columns of **pure noise**: the honest AUC is .5, whatever anybody does.

# %%
y = np.repeat([0, 1], 50)


def experiment(repetition, scale_on_all, select_on_all):
    rng = np.random.default_rng(repetition)  # the same noise and the same split for each habit
    X, order = rng.normal(size=(100, 2000)), rng.permutation(100)
    train, test = order[:66], order[66:]
    seen = order if scale_on_all else train
    X = (X - X[seen].mean(0)) / X[seen].std(0)
    seen = order if select_on_all else train
    gap = X[seen][y[seen] == 1].mean(0) - X[seen][y[seen] == 0].mean(0)
    best = np.argsort(-abs(gap))[:20]  # the twenty columns that tell ill from healthy best
    model = LogisticRegression().fit(X[train][:, best], y[train])
    return roc_auc_score(y[test], model.decision_function(X[test][:, best]))


# %% [markdown]
# Three habits, each on the same forty tables:

# %%
habits = {  # scale on all rows? select on all rows?
    "all after the split": (False, False),
    "scale before": (True, False),
    "select before": (False, True),
}
found = {name: [experiment(k, *habit) for k in range(40)] for name, habit in habits.items()}
found = pd.DataFrame(found)
gain = found.sub(found["all after the split"], axis=0)  # repetition by repetition
columns = {"AUC": found.mean(), "± SD": found.std(), "gain": gain.mean(), "± its SD": gain.std()}
print(pd.DataFrame(columns).round(3))

# %% [markdown]
# Scaling before the split moves the AUC up here and down there, and on average nowhere that forty repetitions resolve.
# Selecting columns before it makes a near-perfect test out of noise: the selection has *read the test patients'
# answers*.
#
# So the rule is not equally urgent everywhere: **a step that looks at the target must come after the split, or the
# result is worthless; a step that does not should come after it all the same**, since it costs nothing to be right.
# Published gene studies have made this mistake (Ambroise & McLachlan 2002, doi:10.1073/pnas.102102699), and a survey
# found leaks of some kind to affect 294 papers in 17 fields (Kapoor & Narayanan 2023, doi:10.1016/j.patter.2023.100804).
#
# ## One scaler for five hospitals
#
# Here is the federated part. To standardise, everybody needs the same mean and standard deviation, those of all
# patients. Nobody may pool the rows. What is the least that a hospital has to say?
#
# A mean is a sum divided by a count, and sums add up. For the variance each hospital needs the common mean first, and
# then sends one more sum:
#
# $$\mu = \frac{\sum_i s_i}{\sum_i n_i}, \qquad \sigma^2 = \frac{\sum_i q_i}{\sum_i n_i}, \qquad
# s_i = \sum_{j \in i} x_j, \quad q_i = \sum_{j \in i} (x_j - \mu)^2$$

# %%
from sklearn.preprocessing import StandardScaler

federation = data.load("hospital_network")
ages = [h.train["age"].to_numpy() for h in federation.hospitals]

first = [(len(x), x.sum()) for x in ages]  # round 1: each hospital sends two numbers
n, total = np.sum(first, axis=0)
mean = total / n  # the server sends it back
second = [((x - mean) ** 2).sum() for x in ages]  # round 2: one more number
sd = (sum(second) / n) ** 0.5

pooled = StandardScaler().fit(np.concatenate(ages)[:, None])  # what nobody was allowed to do
print(f"five hospitals: mean {mean:.6f}, sd {sd:.6f}")
print(f"pooled table:   mean {pooled.mean_[0]:.6f}, sd {pooled.scale_[0]:.6f}")

# %% [markdown]
# Three numbers from each hospital, no row, and the result is that of the pooled table, digit for digit. (Why two
# rounds? One could send the sum of squares at once and use $\overline{x^2} - \mu^2$; but that subtracts two nearly
# equal numbers and loses digits: Chan, Golub & LeVeque 1983, *The American Statistician* 37:242-247.)
#
# <div class="alert alert-info"><b>Your turn ★★★</b> The hospitals have already computed a mean and a standard
# deviation each, and will not do it again. Write <code>pooled_sd(counts, means, sds)</code>, the standard deviation
# of all patients together. (Each <code>sds</code> divides by the count, as in StandardScaler.)</div>


# %%
def pooled_sd(counts, means, sds):
    ...


checks.pooled_sd(pooled_sd)


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def pooled_sd_solution(counts, means, sds):
    mean = counts @ means / counts.sum()
    return np.sqrt(counts @ (sds**2 + (means - mean) ** 2) / counts.sum())  # within plus between


checks.pooled_sd(pooled_sd_solution)

# %% [markdown]
# `data.load` did just this for every column before it handed us the hospitals, and kept a record. Everything that
# left one hospital:

# %%
for message in federation.messages:
    if message.sender == "Harbour":
        print(f"to the {message.receiver}: {message.what}")
        print(pd.DataFrame(message.payload).round(1).to_string(), "\n")
ledger = federation.ledger.table().query("hospital == 'Harbour'")
print(ledger[["what", "viewer", "guarantee"]].to_string(index=False))

# %% [markdown]
# Sums and counts, twenty numbers, however many patients there are. The ledger has a word for it: **not private**.
#
# ### Break it: the difference of two sums
#
# Tomorrow one more patient is admitted to Harbour, and Harbour sends its sums again.

# %%
from fedlab_utils.data import agreement

columns = list(federation.schema.numeric)
tomorrow = federation.hospitals[-1].train
today = tomorrow.iloc[:-1]
sums = [agreement.local_sums(table, columns, []) for table in (today, tomorrow)]
revealed = {c: round(sums[1][c]["sum"] - sums[0][c]["sum"], 1) for c in columns}
print("read from two sums:  ", revealed)
print("the patient's record:", tomorrow[columns].iloc[-1].to_dict())

# %% [markdown]
# The server subtracts, and has the patient's numbers (a gap would show as a 0). No row ever left the hospital. **Not
# sending rows is not the same as protecting patients**: an exact sum answers too precisely. The way out is to blur the
# answer, just so much that one patient's record changes what anybody can conclude from it by no more than a stated
# amount. That is [differential privacy](../docs/glossary.md#differential-privacy), lesson 04.

# %% [markdown] tags=["deep"]
# ## ◆ The same sums, one hospital's unseen
#
# There is a second thing that the server need not know: which hospital sent which sums. In lesson 05 hospitals add
# random numbers that cancel out in the total. The same three numbers a column can travel in that way: each hospital
# maps its values from public bounds to -1 ... 1, and what leaves it looks like this.

# %% tags=["deep"]
from fedlab_utils.secagg import SecureSum

hidden = data.load("hospital_network", aggregator=SecureSum(bits=64, limit=1))
sent = next(m for m in hidden.messages if m.sender == "Harbour" and "masked" in m.what)
print(pd.DataFrame(sent.payload).to_string())

exact, unseen = federation.agreed, hidden.agreed
gap = max(abs(unseen.means[c] - exact.means[c]) / exact.sds[c] for c in exact.means)
print(f"\nlargest difference between the agreed means: {gap:.0e} standard deviations")
print(hidden.ledger.table()[["what", "viewer", "guarantee"]].to_string(index=False))

# %% [markdown] tags=["deep"]
# Random words, and yet the hospitals agree on the same means. The ledger still says **not private**, and it is right:
# the server reads the *total*, and two totals, before and after an admission, give the patient away as two sums of one
# hospital did. Hiding who said what and blurring what is said are two different protections.

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: four figures
#
# [Poojari 2026] describes its data in Figures 7, 8, 9 and 11. They are synthetic, the paper says so, and nothing is
# wrong with that: ours are synthetic too. What one can ask is whether the *conclusions* drawn from the figures follow.
# We draw the same four. Figures 7 and 8 are diagnosis shares and ages:

# %% tags=["deep"]
measured = clean.dropna(subset=["systolic_bp", "total_cholesterol", "hdl", "bmi"])
shares = clean["diagnosis"].value_counts(normalize=True)
plots.show(
    plots.shares_and_ages(clean["diagnosis"], clean["age"], clean["hospital"]),
    alt=f"Left: {shares['none']:.0%} of the patients have no event, the two diagnoses are far "
    "rarer. Right: ages by hospital; Riverside is young, Harbour old, and none of the curves is "
    "flat.",
)

# %% [markdown] tags=["deep"]
# The paper has 33.0% Disease A, 35.0% Disease B and 32.0% healthy, which, it says, "suppresses imbalance in classes",
# and ages "spread equally". So they do, and two hard parts of the job are gone. In a clinic most patients stay well, so
# "nobody falls ill" scores a high accuracy; and hospitals differ in age, which is the difficulty that federated
# learning has to live with. A result on equal classes and flat ages does not say how a method copes with either.
#
# Figure 9 is a correlation heatmap:

# %% tags=["deep"]
columns = ["age", "systolic_bp", "total_cholesterol", "hdl", "bmi"]
together = clean[columns].assign(event=clean["cvd_event"], true_risk=known["true_risk"]).corr()
plots.show(
    plots.heatmap(together, signed=True, label="Pearson correlation"),
    alt="Correlations of five risk factors, the event and the true risk. No factor correlates "
    f"with the event by more than {together.loc[columns, 'event'].abs().max():.2f}; even the true "
    f"risk reaches only {together.loc['true_risk', 'event']:.2f}.",
)

# %% [markdown] tags=["deep"]
# As we read its sentence, the paper reports correlations with the risk of heart disease of .01 for blood pressure and
# .09 for cholesterol. It does not say from how many patients; its listing makes 100 rows for each of five clients. Are
# ours larger, and how sure is that? An interval says (Fisher's $z$):


# %% tags=["deep"]
def with_interval(name, r, n):
    low, high = np.tanh(np.arctanh(r) + np.array([-1.96, 1.96]) / np.sqrt(n - 3))
    print(f"{name:27} r = {r:+.2f}, 95% interval {low:+.2f} to {high:+.2f}")


for column in columns:
    x = clean[column].dropna()
    with_interval(column, np.corrcoef(x, clean.loc[x.index, "cvd_event"])[0, 1], len(x))
for n in (100, 500):
    with_interval(f"the paper's .09, if n = {n}", 0.09, n)
print(f"the true risk itself        r = {together.loc['true_risk', 'event']:+.2f}")
model = LogisticRegression().fit(one_hot, complete["cvd_event"])
odds = np.exp(pd.Series(model.coef_[0], one_hot.columns))
print(f"all else equal, one SD more cholesterol: odds times {odds['total_cholesterol']:.2f}")

# %% [markdown] tags=["deep"]
# First the paper's own rows: from 100 patients a correlation of .09 cannot be told from none, nor from one of .2; from
# 500 it can, but only just. So "modest" is not yet a finding. Now ours. Blood pressure lies far above .01, as it should where
# pressure really raises the risk. Cholesterol lies at zero, and yet the equation that made these patients uses it: hold
# the rest fixed and the odds rise, as the last line says.
# (The old have a higher risk and a lower cholesterol, for one, which hides it.) And even somebody who knew every
# patient's *true risk* would show a modest correlation, since most people at high risk are lucky. **With a yes-or-no
# outcome, a small correlation does not mean a weak cause.**
#
# From its small correlations the paper concludes that "single features are not good enough predictors" and "therefore
# require more complex models or the inclusion of more variables". Does that follow? The best single column first; then,
# each on the same five splits, a linear model, a network, and the ceiling:

# %% tags=["deep"]
splits = data.replicates("hospital_network", 5)
work = dict(rounds=20, local_steps=20, batch_size=64, lr=0.3)
linear = federated.baselines(splits, hidden=(), **work).query("hospital == 'all'")
network = federated.baselines(splits, hidden=(64, 64), **work).query("hospital == 'all'")
singly = [roc_auc_score(measured["cvd_event"], measured[c]) for c in columns]
print(f"best single factor          AUC {max(max(a, 1 - a) for a in singly):.3f}")
for name, table, kind in [
    ("linear", linear, "pooled"),
    ("network, two layers of 64", network, "pooled"),
    ("best possible", linear, "best possible"),
]:
    auc = table.loc[table["baseline"] == kind, "auc"]
    print(f"{name:27} AUC {auc.mean():.3f} ± {auc.std():.3f}")
both = [table.query("baseline == 'pooled'").set_index("seed")["auc"] for table in (network, linear)]
gain = both[0] - both[1]
print(f"network minus linear, split by split: {gain.mean():+.3f} ± {gain.std():.3f}")

# %% [markdown] tags=["deep"]
# Half of the sentence holds: *more variables* carry the model from the best single factor nearly to the ceiling. The
# other half does not follow: the linear model is already there, and split by split the network adds nothing.
# Weak single correlations say nothing about linear against complex; for that one has to compare models, as we just did.
#
# Figure 11 is a pair plot. Ours is coloured by the true risk:

# %% tags=["deep"]
sample = measured.sample(300, random_state=0)
risk = known.loc[sample.index, "true_risk"]
three = sample[["age", "total_cholesterol", "systolic_bp"]]
three.columns = ["age (years)", "cholesterol (mg/dL)", "systolic (mmHg)"]
plots.show(
    plots.pairs(three, risk, "true risk"),
    alt="Scatter plots of age, cholesterol and blood pressure for 300 patients. The clouds are "
    "nearly round, while the colour, true risk, brightens smoothly towards high age and high "
    "pressure.",
)

# %% [markdown] tags=["deep"]
# The clouds are round (weak correlations *between* the factors), and yet the colour has a clear direction: up with age
# and pressure. That the features do not hang together does not make the outcome hard to predict from them.
#
# One more detail in its section III.A: `StandardScaler()` or `MinMaxScaler()` are "used respectively to normalize and
# standardize the features". It is the other way round: the first standardises, the second normalises.

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# You will not write these steps by hand for ever. In scikit-learn they are a `ColumnTransformer`. Fitted on the pooled
# training rows, does it say the same as our hospitals, who agreed without pooling?

# %% tags=["deep"]
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

everyone, schema = federation.pooled(), federation.schema
lists = [list(values) for values in federation.agreed.features().values()]
encoder = OneHotEncoder(categories=lists, handle_unknown="ignore", sparse_output=False)
pipeline = ColumnTransformer(
    [
        ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), list(schema.numeric)),
        ("categories", encoder, list(schema.categorical)),
    ]
)
X = pipeline.fit_transform(everyone.train[[*schema.numeric, *schema.categorical]])
difference = abs(X - everyone.X_train.numpy()).max()
print(f"{X.shape[1]} features; largest difference to the federated ones: {difference:.0e}")

# %% [markdown] tags=["deep"]
# The same numbers, to the precision of 32-bit floats. Now real patients, with real habits: four hospitals, collected in
# the 1980s, public at UCI.

# %% tags=["deep"]
try:
    heart, real = data.load_raw("heart_disease"), data.load("heart_disease")
    zeros = (heart["chol"] == 0).groupby(heart["hospital"]).agg(["sum", "size", "mean"]).round(2)
    zeros.columns = ["cholesterol 0", "patients", "share"]
    print(zeros.to_string())
    ill = (heart["num"] > 0).groupby(heart["chol"] == 0).mean()
    print(f"\nheart disease where cholesterol is 0: {ill[True]:.0%}, elsewhere: {ill[False]:.0%}\n")
except OSError as reason:
    real = data.load("breast_cancer")
    print(f"heart_disease is not here and could not be fetched; breast_cancer stands in.\n{reason}")
print(real, *real.report, sep="\n- ")

# %% [markdown] tags=["deep"]
# Here a zero is not only a wrong number, it is a *good predictor*: it marks two hospitals whose patients were mostly
# ill. A model that keeps the zeros learns who had no laboratory, and we would call it medicine. `data.load` treats
# them as missing, fills in the agreed mean, and says so in its report, line by line. Always read the report. (If you
# saw breast_cancer instead: there, zeros are genuine measurements and are left alone.)

# %% [markdown]
# ## Recap
#
# 1. Removing names is not anonymity: date of birth, sex and postcode give the names back.
# 2. k-anonymity hides you in a group; what the whole group shares is known all the same. Release only what is needed.
# 3. Look before you compute: text, units, zeros, spellings and duplicates, hospital by hospital. No error message comes.
# 4. Every treatment of gaps is an assumption about why they are there; a step that sees the target comes after the split.
# 5. Counts and sums standardise five tables as one, exactly. Exact sums give patients away: not sharing rows is not privacy.
#
# ## Quiz
#
# **1.** A hospital publishes year of birth, sex and the first three digits of the postcode. Is that anonymous?
#
# <details><summary>Answer</summary>It cannot be said from the list of columns. Count: how many share each combination,
# what else is in the table, and what the outside world knows. HIPAA's list allows it; in the lab, at 1 year and 3 digits,
# a few per cent are alone in their group.</details>
#
# **2.** All eight patients in a group take the same drug. Which promise of k-anonymity is broken?
#
# <details><summary>Answer</summary>None. It promises that you cannot tell the eight apart, and you cannot. They would
# have needed another promise.</details>
#
# **3.** Cholesterol has a mean of 152 and a hospital's own mean is 5. What do you check first?
#
# <details><summary>Answer</summary>Its unit: cholesterol in mmol/L beside mg/dL. Then look at a histogram by hospital: a
# factor of about 39 is a shift of the whole hump.</details>
#
# **4.** You scaled before splitting and your colleague chose features before splitting. Who has to repeat the study?
#
# <details><summary>Answer</summary>Your colleague, whose selection read the test answers. Yours changes next to nothing;
# repeat it anyway, it is one line.</details>
#
# **5.** Each hospital sends only a sum and a count, once a day. Who learns what?
#
# <details><summary>Answer</summary>Whoever sees two days learns the difference: the values of the patients that came
# between. With one new patient that is their record.</details>
#
# ## Further reading
#
# - [Poojari 2026] R. Poojari, *Privacy-preserving generative AI in healthcare systems using federated learning
#   approaches*, 2026. [Sharma] S. Sharma, *Privacy-preserving generative AI for secure healthcare synthetic data
#   generation*.
# - L. Sweeney, *k-anonymity: a model for protecting privacy*, 2002, doi:10.1142/S0218488502001648.
# - D. Barth-Jones, *The 're-identification' of Governor William Weld's medical information*, 2012, SSRN 2076397: a
#   sober second look.
# - S. Ganta, S. Kasiviswanathan, A. Smith, *Composition attacks and auxiliary information in data privacy*, 2008,
#   arXiv:0803.0032.
# - A. Machanavajjhala et al., *l-diversity: privacy beyond k-anonymity*, 2007, doi:10.1145/1217299.1217302.
# - L. Rocher, J. Hendrickx, Y.-A. de Montjoye, *Estimating the success of re-identifications in incomplete datasets using
#   generative models*, 2019, doi:10.1038/s41467-019-10933-3.
# - S. Kapoor, A. Narayanan, *Leakage and the reproducibility crisis in machine-learning-based science*, 2023,
#   doi:10.1016/j.patter.2023.100804.
# - D. Rubin, *Inference and missing data*, 1976, doi:10.1093/biomet/63.3.581, and *Multiple imputation for nonresponse in
#   surveys*, Wiley 1987.
# - 45 CFR 164.514(b)(2) (HIPAA, Safe Harbor); Regulation (EU) 2016/679 (GDPR), Recital 26; Article 29 Data Protection
#   Working Party, *Opinion 05/2014 on anonymisation techniques*, WP216.
