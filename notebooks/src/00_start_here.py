# %% [markdown]
# # 00 · Start here
#
# *Five hospitals want one good model. None of them may show its patients to the others. Is it worth learning
# together?* Press Shift+Enter five times to run the cells below; the last one is alive. (They are folded: click
# their dots to look inside.)

# %% jupyter={"source_hidden": true}
from IPython import get_ipython

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

import pandas as pd

from fedlab_utils import checks, data, federated, plots, widgets

# %% jupyter={"source_hidden": true}
own = None  # or your own table:
# own = data.from_frame(pd.read_csv("my.csv"), target="outcome", hospital="clinic")


def alone_or_together(show, data_set, rounds, patients):
    if patients < 100:  # every hospital keeps only some of its training patients
        n = {h.name: max(1, round(len(h.train) * patients / 100)) for h in data_set.hospitals}
        few = [h.train.sample(n[h.name], random_state=0) for h in data_set.hospitals]
        data_set = data_set.replace_train(few)
    setting = dict(rounds=rounds, local_steps=20, batch_size=64, lr=0.2, hidden=(32,), seeds=5)
    kinds, each = ["alone", "together", "pooled"], "hospital != 'all'"
    table = federated.baselines(data_set, **setting).replace({"local-only": "alone"}).query(each)
    so_far = f"Alone and pooled, as long on {patients}% of the patients; now together ..."
    show(plots.by_hospital(table, kinds), so_far, alt="AUC alone and pooled.", done=0.4)
    run = federated.train(data_set, on_round=lambda run: show.tick(), **setting)
    together = run.final.query(each).assign(baseline="together")
    table = pd.concat([table, together])
    auc = table.groupby("baseline")["auc"].mean()
    show(
        plots.by_hospital(table, kinds),
        f"After round {rounds}, on {patients}% of the patients, the AUC averaged over hospitals is "
        f"{auc['alone']:.3f} alone, {auc['together']:.3f} together without sharing a row, and "
        f"{auc['pooled']:.3f} with all rows in one place.",
        alt="AUC for each hospital: its own model, the one trained together, the pooled one.",
    )


# %% [markdown]
# **Move the sliders:**

# %% jupyter={"source_hidden": true}
widgets.lab(
    alone_or_together,
    title="Hospitals alone, together, pooled",
    data_set=widgets.data_choice(data.load, data.names(), own),
    rounds=widgets.slider(1, 30, 15, label="Rounds"),
    patients=widgets.slider(5, 100, 100, step=5, label="Patients kept", unit="%"),
)

# %% [markdown]
# **After this lesson you can**
#
# - say what hospitals gain by training together, and measure it on your own table,
# - name who could look where in such a system, and what stops them (or does not),
# - run, check and reset the lessons of this course.
#
# **Time:** 30 minutes. **You need:** to have started the course with `python course.py lab`.
#
# ## What you see
#
# Every move of a slider trains all these networks again, on your machine, while you watch: nothing in this
# course is precomputed. Try this:
#
# - Drag **Patients kept** to 5%. Who suffers more, those alone or those together?
# - Drag **Rounds** to 1, then to 30. In a [round](../docs/glossary.md#round), the server sends its model to the
#   hospitals, each improves it
#   a little on its own patients, and the server averages what comes back.
# - Change the **data**: the other three are real patients. In *breast_cancer* everybody is near 1 and there is
#   little left to gain. In *diabetes*, with few patients, the bars grow long. A bar is one standard deviation
#   over five *seeds* (five trainings that differ in their random start); with few patients even that is too
#   optimistic, as lesson 03 shows.
#
# [AUC](../docs/glossary.md#AUC) is the chance that a patient who fell ill was given a higher risk than one who did not:
# 0.5 is a coin, 1
# is perfect. The model is one small neural network, the data set *hospital_network* is five simulated hospitals
# with about 12,000 patients whose true risk is known. *Together* may come out a little above
# *[pooled](../docs/glossary.md#pooled)*: both
# were stopped after the same number of steps, and differences this small are noise. Pooled is a yardstick, not
# a ceiling.
#
# <div class="alert alert-info"><b>Your turn ★</b> How much of what pooling would bring does training together bring?
# Write <code>gap_closed</code>: 0 if together is no better than alone, 1 if it is as good as pooled.</div>

# %%
def gap_closed(alone, together, pooled):
    ...


checks.gap_closed(gap_closed)

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def gap_closed_solution(alone, together, pooled):
    return (together - alone) / (pooled - alone)


checks.gap_closed(gap_closed_solution)

# %% [markdown]
# The box under an exercise tells you what it sees in *your* answer. A solution is folded into the cell below
# each exercise (click the three dots); no later cell needs your answer, so you can skip and come back.
#
# ## What this course builds
#
# One system, step by step. Each step has a promise, and each promise is attacked by you before we believe it.

# %%
plots.show(
    plots.course_diagram(),
    alt="Diagram. Left, hospitals with their rows; right, a server that averages. Between them the "
    "steps: 01 clean, 02 synthesise, train a little, 04 add noise, 05 masks, 07 encryption, 03 "
    "averages, and 10: if they differ; 13, between machines. Beside hospitals, 11: if one lies, "
    "and 12: or scans. Under them lessons 06 and 09, the attacker, at every arrow; over them "
    "lesson 08, one ledger of all arrows.",
)

# %% [markdown]
# Thirteen lessons after this one, each with a short core and deeper sections (the second number).
#
# | lesson | question | minutes (core + deep) |
# | --- | --- | --- |
# | 00 Start here | what is it all for? | 30 |
# | 01 Preprocessing | is a table without names anonymous? | 45 + 12 |
# | 02 Synthetic patients | can we share invented patients instead? | 45 + 18 |
# | 03 Federated averaging | how do hospitals train one model? | 45 + 25 |
# | 04 Differential privacy | what does a promise to one patient look like? | 60 + 33 |
# | 05 Secure aggregation | can the server add what it cannot see? | 45 + 28 |
# | 06 Membership inference | was this patient in the training data? | 50 + 11 |
# | 07 Homomorphic encryption | can a server compute on locked boxes? | 45 + 20 |
# | 08 The whole system | what do all the parts promise together? | 45 + 18 |
# | 09 Reading patients out of updates | what can be read out of one step of training? | 45 + 10 |
# | 10 Hospitals that differ | when does averaging go astray, and what helps? | 45 + 13 |
# | 11 Hospitals that cheat | what if a hospital lies, and whom do defences hurt? | 45 + 10 |
# | 12 Anomalies in medical images | what do hospitals find together that none finds alone? | 45 + 6 |
# | 13 Several machines | what travels between real machines, and where do tables come from? | 40 + 3 |
# | Control room (no lesson, no code) | what does a system give, promise and cost? | as you like |
#
# ## Who could look where? (the *threat model*)
#
# "Private" means nothing until you say *from whom*. So let us look at what really travels when five hospitals
# train together. A run keeps a [transcript](../docs/glossary.md#transcript) of every message of the training:

# %%
federation = data.load("hospital_network")
run = federated.train(federation, rounds=3, local_steps=20, batch_size=64, lr=0.2, hidden=(32,))
run.transcript.groupby(["sender", "receiver", "what"], sort=False)["bytes"].agg(["count", "sum"])

# %% [markdown]
# Read the table line by line: no row of patients in it, only a model on its way down and
# [updates](../docs/glossary.md#update) on their way
# up. That is what *federated* means, and it is all that it means. Now take the seats around the table, one by
# one:
#
# | who | sees patients' rows | sees single updates | sees the global model | sees predictions | answered in |
# | --- | --- | --- | --- | --- | --- |
# | a doctor in the hospital | own hospital's | own hospital's | yes | yes | (trusted with them) |
# | another hospital | no, but the agreed means and spreads | no | **yes, every round** | yes | 04, 06 |
# | the server | no, but counts, sums and sums of squares of columns | **yes, every round** | yes, every round | yes | 05, 07, 04 |
# | somebody on the wire | no | **yes, if not encrypted** | yes, if not encrypted | no | ordinary encryption (TLS) |
# | a user of the finished model | no | no | the last one | **yes** | 04, 06 |
# | a reader of a released table | **yes, if it is released** | no | no | no | 01, 02, 04 |
#
# Our [threat model](../docs/glossary.md#threat-model): everybody follows the protocol and only looks (*honest but
# curious*), and nobody conspires.
# A server that alters the model it sends out reads more (Boenisch et al., arXiv:2112.02918), and if
# there are only two hospitals, each can get the other's update by subtraction.
#
# Bold marks the surprising view. In lesson 03 you will sit in the server's seat and read a patient, age and
# blood pressure and all, out of an update. Each answer protects against some seats and not against others:
#
# <div class="alert alert-info"><b>Your turn ★</b> Secure aggregation (lesson 05) lets the server see only the
# <i>sum</i> of the updates. With all five hospitals taking part, what does the <b>server</b> still see in a round? Keep
# the right ones.</div>

# %%
# Some of {"patients' rows", "single updates", "sum of updates", "global model"}
server_still_sees = ...

checks.server_still_sees(server_still_sees)

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
server_still_sees_solution = {"sum of updates", "global model"}

checks.server_still_sees(server_still_sees_solution)

# %% [markdown]
# The transcript begins with the first round. Before it, each hospital has sent the server counts, sums and sums
# of squares of its columns, from which the means and spreads for scaling follow. Afterwards the scores on its
# test patients are told to everybody, unprotected. The *[ledger](../docs/glossary.md#ledger)* of the course keeps
# account of everything that
# was released about patients, and of the promise that went with it.

# %%
ledger = run.ledger.table()
ledger.groupby(["what", "viewer", "guarantee"], sort=False).size().rename("entries").reset_index()

# %% [markdown]
# "Not private" is the honest word for each of them so far. From lesson 04 on, other words will stand there,
# with numbers.
#
# ## Break it: no names, no problem?
#
# The oldest promise of all is "we removed the names". Here is the raw extract without names, numbers and
# phones. How many records are the only one with their birth date, sex and postcode? (Hospitals write "M", "male" or
# "Male "; a spelling is not a sex, so we tidy it first.)

# %%
raw = data.drop_duplicate_records(data.load_raw("hospital_network"))
tidy = data.tidy_categories(raw)
shared = tidy.duplicated(["birth_date", "sex", "postcode"], keep=False)
people = tidy[shared].drop_duplicates("national_id")
print(f"{(~shared).mean():.1%} of {len(raw):,} records are unique in birth date, sex and postcode")
print(f"the other {shared.sum()} records belong to {len(people)} people")

# %% [markdown]
# Read the second line, too: nearly all of the rest are not two patients who look alike, but one who was transferred
# and stands in two hospitals' tables. As *people* nearly everybody is the only one of their kind.
#
# Whoever knows these three things about a neighbour finds the record. Lesson 01 does it, with a public list,
# and asks what helps.
#
# ## What the documents promise
#
# This course implements five documents. Each makes a promise, and each promise gets its day:
#
# | document | promise | tested in |
# | --- | --- | --- |
# | [Taj] | original data are turned into artificial data, "in this way data privacy is maintained" | 02, 06, 08 |
# | [Poojari 2026] | federated learning raised accuracy from 49% to 60% in five rounds; noise on gradients makes it private; performance and scalability are retained | 03, 04, 05, 06, 08, 10 |
# | [Sharma] | direct identifiers are removed; attacks "were unable to determine" who was in the data | 01, 02, 06, 08 |
# | [Haque et al.] | the server receives encrypted updates and aggregates them; hospitals' differences "create biased models"; reliability of participants is to be verified | 07 to 11, 13 |
# | [7Med] | "only the trained model updates, not the raw data, are shared" | 03, 05, 08, 09 |

# %% [markdown] slideshow={"slide_type": "skip"}
# ## Is everything installed?
#
# The next cell asks your machine. If a workshop starts tomorrow, `python course.py doctor` in a terminal says
# more.

# %% slideshow={"slide_type": "skip"}
import importlib.metadata
import time

for package in ("torch", "numpy", "pandas", "scikit-learn", "ipywidgets"):
    print(f"{package:13} {importlib.metadata.version(package).split('+')[0]}")
start = time.perf_counter()
federated.train(federation, rounds=5, local_steps=20, batch_size=64, hidden=(32,), seeds=5)
seconds = time.perf_counter() - start
verdict = "fine" if seconds < 2 else "slow; close other programs, sliders will lag"
print("25 networks, 5 rounds:", verdict)
try:
    data.load("heart_disease")
    print("heart_disease: at hand")
except OSError as reason:
    print(f"heart_disease: not at hand, lessons go on without it. {reason}")

# %% [markdown]
# ## Your own table
#
# Any table will do: numbers, categories, missing values, a column that says which hospital, or none. Here is a
# small one; what is odd about it is reported in sentences.

# %%
mine = pd.DataFrame(
    {
        "age": [54, 61, 47, 70, 66, 58, 39, 73, 50, 62, 45, 68],
        "smoker": ["yes", "no", None, "yes", "no", "no", "no", "yes", "no", "yes", "no", "no"],
        "clinic": ["North"] * 6 + ["South"] * 5 + ["Island"],
        "readmitted": [1, 0, 0, 1, 1, 0, 0, 1, 0, 1, 0, 0],
    }
)
small = data.from_frame(mine, target="readmitted", hospital="clinic")
print(small, *small.report, sep="\n- ")

# %% [markdown]
# Put your own federation into `own` in the second code cell at the top (folded: click its dots), run that cell
# and the lab again, and choose *my own table*.
#
# <div class="alert alert-info"><b>Your turn ★★</b> East has 600 test patients and 80% of the predictions right, West
# has 20 and 50%. What share is right over all patients? Write it for any number of hospitals, from two lists in
# the same order; the idea carries all of lesson 03.</div>

# %%
def overall_accuracy(accuracies, n_patients):
    ...


checks.overall_accuracy(overall_accuracy)

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def overall_accuracy_solution(accuracies, n_patients):
    right = sum(a * n for a, n in zip(accuracies, n_patients, strict=True))
    return right / sum(n_patients)


checks.overall_accuracy(overall_accuracy_solution)

# %% [markdown]
# ## In the real world
#
# Does our small engine know its trade? On pooled rows scikit-learn's logistic regression should find the same
# as ours without a hidden layer.

# %%
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

pool = federation.pooled()
reference = LogisticRegression(C=1e6).fit(pool.X_train, pool.y_train[:, 0])
theirs = roc_auc_score(pool.y_test[:, 0], reference.predict_proba(pool.X_test)[:, 1])
linear = federated.train(federation, rounds=100, local_steps=20, batch_size=256, lr=0.5, hidden=())
ours = roc_auc_score(pool.y_test[:, 0], linear[0].predict_proba(pool.X_test)[:, 1])
print(f"AUC: scikit-learn on pooled rows {theirs:.3f}, ours, federated, {ours:.3f}")
print("They agree to .002:", abs(ours - theirs) < 0.002)

# %% [markdown]
# ## Recap
#
# 1. Training together can help most where rows are few; how much, you measure hospital by hospital against
#    *alone* and *pooled*.
# 2. Federated means that rows stay and updates travel. It does not, by itself, mean private.
# 3. A privacy claim needs a *from whom*: other hospitals, the server, the wire, users, readers of a released
#    table.
# 4. Removing names does not make a table anonymous.
# 5. Everything released about patients goes into one ledger, with the promise that went with it.
#
# ## Quiz
#
# <details><summary>1. What travels in federated training, and what stays?</summary>Models and updates travel, and
# before and after them sums of columns and test scores; rows stay in their hospital.</details>
#
# <details><summary>2. Who sees single updates if nothing is done about it?</summary>The server, in every round, and
# whoever can read the wire.</details>
#
# <details><summary>3. Why is "pooled" drawn at all, if nobody may pool?</summary>It says what sharing rows would
# have brought, so that we can say how much of it training together brings.</details>
#
# <details><summary>4. Does encrypting the wire (TLS) protect patients from the server?</summary>No: the server is
# where the wire ends.</details>
#
# <details><summary>5. A table has no names, only birth date, sex and postcode. Is it anonymous?</summary>No. Nearly
# everybody is the only one with that combination.</details>
#
# ## Further reading
#
# - McMahan et al. 2017, *Communication-Efficient Learning of Deep Networks from Decentralized Data*,
#   arXiv:1602.05629.
# - Kairouz et al. 2021, *Advances and Open Problems in Federated Learning*, arXiv:1912.04977.
# - Rieke et al. 2020, *The future of digital health with federated learning*, doi:10.1038/s41746-020-00323-1.
# - Sweeney 2002, *k-anonymity: a model for protecting privacy*, doi:10.1142/S0218488502001648.
# - The five documents: [Taj] *Generative AI and Federated Learning for Privacy Preservance in Healthcare*;
#   [Poojari 2026] *Privacy-Preserving Generative AI in Healthcare Systems Using Federated Learning Approaches*;
#   [Sharma] *Privacy-Preserving Generative AI for Secure Healthcare Synthetic Data Generation*; [Haque et al.]
#   *Privacy Preserving Using Federated Learning for Collaborative Healthcare Data Analysis*; [7Med] *Innovative
#   Approach to Safeguarding Patient Data While Training AI Models in Healthcare*.
