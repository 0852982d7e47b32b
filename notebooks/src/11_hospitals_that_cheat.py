# %% [markdown]
# # 11 · Hospitals that cheat
#
# *One hospital of five lies about its patients. Which number tells you, which rule helps, and whom does the rule
# take for a liar?*
#
# **After this lesson you can**
#
# - show a lie that AUC does not see, and name the numbers that do,
# - build a [trimmed mean](../docs/glossary.md#trimmed-mean) and [Krum](../docs/glossary.md#Krum), and say what each of
#   them promises and what it does not,
# - test a rule on hospitals that are alike *and* on hospitals that differ, and with nobody lying,
# - explain why a rule cannot tell a liar from a hospital with other patients,
# - choose for a threat: which number, which rule, and who has to see single updates for it.
#
# **Time:** 45 minutes for the core; sections marked ◆ are deep and take another 10. **You need:** NumPy-level
# Python, and lesson 03. What is said about masks rests on lesson 05.

# %%
from IPython import get_ipython
from IPython.display import display

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

# %% [markdown]
# ## Two numbers, one of them on your dashboard
#
# Five hospitals train together, as in lesson 03. One of them labels all of its training patients who fell ill as
# healthy. (It need not be wicked: a broken export does the same.) We let each of the five be the liar in turn, on
# five splits, and look at two numbers of the model that all get: its AUC, and the share of patients who fell ill
# and whom it *missed*, with a predicted risk below 20%. All test patients keep their true labels.

# %%
import numpy as np
import pandas as pd
import torch

from fedlab_utils import attacks, checks, data, federated, plots, secagg, widgets

splits = data.replicates("hospital_network", 5)
names = [h.name for h in splits[0].hospitals]
work = dict(rounds=20, local_steps=20, batch_size=64, lr=0.2, hidden=(32,))
settings = {name: {"attack": attacks.HideTheIll([name])} for name in names}
runs = federated.side_by_side(splits, {"nobody": {}} | settings, **work)

# %% [markdown]
# Each model is judged as by a clinic that acts from a risk of 20% on:

# %%

def judged(run, federations):  # a row for each split: all test patients together
    table = federated.clinical(run, federations, threshold=0.2).query("hospital == 'all'")
    measures = ["auc", "auc_within", "missed", "flagged", "predicted_observed", "net_benefit"]
    return table.set_index("seed")[measures]


seen = {liar: judged(run, splits) for liar, run in runs.items()}
panels = {}
for measure, title in {"auc": "AUC", "missed": "share of the ill missed"}.items():
    one_lies = {name: seen[name][measure] for name in names}
    panels[title] = {"all honest": {"": seen["nobody"][measure]}, "one of five lies": one_lies}
plots.show(
    plots.two_bars(panels),
    alt="Two panels with two bars each, all honest and one of five lies. AUC: both bars are "
    "equally high. Share of the ill missed: the second bar is about half as high again; marks for "
    "each liar spread, highest where Northgate lies and lowest where Harbour does.",
)

# %% [markdown]
# **Which of the two did your dashboard show?** Here is what else can be asked, mean and standard deviation over
# splits:


# %%
def summary(tables, measures=("auc", "missed", "flagged", "predicted_observed", "net_benefit")):
    lines = {}
    for name, table in tables.items():
        both = zip(table[list(measures)].mean(), table[list(measures)].std(), strict=True)
        lines[name] = [f"{mean:.3f} ± {spread:.3f}" for mean, spread in both]
    return pd.DataFrame(lines, index=list(measures)).T


display(summary({f"{liar} lies": table for liar, table in seen.items()}))
lost = [(seen["nobody"]["auc"] - seen[name]["auc"]).mean() for name in names]
print(f"AUC lost, on average over the liars: {np.mean(lost):.3f}")

# %% [markdown]
# AUC asks for the *order* of patients, and a lie about how many fall ill hardly changes who is riskier than
# whom. It changes the *level*: predicted risk over observed falls far below 1, fewer patients are flagged (risk of
# 20% or more), and so more of the ill are missed. Read `missed` never alone: a model that flags everybody misses
# nobody. Beside it stand the share *flagged* and the *net benefit* at 20% of lesson 03 (the ill who are flagged,
# less a quarter of a patient for each healthy one).
#
# [Haque et al.] list the danger among their problems: "Untrusted entities may cause data
# [poisoning](../docs/glossary.md#poisoning) or
# [backdoor](../docs/glossary.md#backdoor)
# attacks", and "verifying participant reliability is critical to prevent malicious contributions". They also
# encrypt every update, and we shall see what that does to verifying. First: what can a server do that sees them
# all?
#
# ## One hospital moves the mean anywhere
#
# Plain words first. The server's mean adds up what it gets. Twenty hospitals send one number, nineteen of them
# near 1. The last one sends whatever it likes. Two other rules stand beside the mean: the *median*, the number in
# the middle, and the *trimmed mean*, which leaves out the f largest and the f least (Yin et al. 2018,
# arXiv:1803.01498).


# %%
def combined(rule, updates):  # what a rule of the package makes of updates [hospitals, numbers]
    everybody = np.ones(len(updates))
    return rule.aggregate(updates, everybody, alive=everybody > 0)[0]


three_rules = {"mean": federated.OpenSum(), "median": federated.Median()}
three_rules["trimmed mean, f = 6"] = federated.TrimmedMean(6)
honest = np.random.default_rng(0).normal(1, 0.3, 19)
sent = np.linspace(-60, 60, 121)
came = [np.append(honest, number)[:, None] for number in sent]
found = {name: np.array([combined(rule, c)[0] for c in came]) for name, rule in three_rules.items()}
plots.show(
    plots.moved_by_one(sent, found, honest),
    alt="What comes out over what one of twenty hospitals sends. The mean is a straight line that "
    "leaves the grey band of honest numbers on both sides; median and trimmed mean stay level.",
)

# %% [markdown]
# The mean follows the liar wherever it goes. The other two stay between the honest numbers. How many liars does it
# take? We let more and more of the twenty send a million:

# %%
low, high = honest.min(), honest.max()
for name, rule in three_rules.items():
    for liars in range(1, 20):
        numbers = np.append(honest[: 20 - liars], [1e6] * liars)[:, None]
        if not low <= combined(rule, numbers)[0] <= high:
            break
    print(f"{name:20} leaves the honest numbers where {liars} of 20 lie")

# %% [markdown]
# That is a *breakdown point*: one for the mean, more than f for the trimmed mean, half of all for the median. It is
# a strong promise, whatever liars send, and it is about **each number by itself**: all it says is that the result
# lies *between honest hospitals*. If these are far apart, that is not much. Keep that in mind.
#
# <div class="alert alert-info"><b>Your turn ★</b> Write the trimmed mean for whole updates: <code>updates</code>
# has one row for each hospital. For each parameter leave out the <code>f</code> largest and the <code>f</code> least
# of its numbers, and return the mean of what is left, one number for each parameter.</div>


# %%
def trimmed_mean(updates, f):
    ...


checks.trimmed_mean(trimmed_mean)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>Sort each column by itself (along the hospitals). Which rows of the
# sorted array are left, if f go at each end?</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def trimmed_mean_solution(updates, f):
    ordered = np.sort(updates, axis=0)  # each number by itself
    return ordered[f : len(updates) - f].mean(0)


checks.trimmed_mean(trimmed_mean_solution)

# %% [markdown]
# ## Who has near neighbours?
#
# Krum looks at whole updates (Blanchard et al. 2017, arXiv:1703.02757). Honest hospitals want similar things, so
# each of them has many near neighbours. With $n$ hospitals, of which $f$ may lie (there must be $2f + 3$ at
# least), a hospital's score is the sum of squared distances to its $n - f - 2$ nearest:
#
# $$s(i) = \sum_{j \,\in\, \text{the } n-f-2 \text{ nearest to } i} \lVert u_i - u_j \rVert^2$$
#
# Krum takes the update with the least score, Multi-Krum the mean of the $n - f$ least. To see it work we deal all
# patients out to twenty hospitals that are **alike**, and let six of them hide their ill. Here is what the server
# receives in round one, as a point for each update, in the two directions in which they differ most:

# %%
alike = [one.repartition(20, alpha=None, seed=k) for k, one in enumerate(splits)]
twenty = dict(rounds=12, local_steps=10, batch_size=32, lr=0.2, hidden=(16,), strategy="uniform")
six = attacks.HideTheIll(range(6))  # dealt out at random, so any six will do
liar = np.arange(20) < 6
once = dict(rounds=1, record=True)  # a single round, with what was sent


def received(run):  # updates of a single round, recorded [hospitals, parameters]
    sent = run.transcript.query("what == 'update'").set_index("sender")["values"]
    return np.stack([sent[name] for name in run.hospitals])


def kept_by_krum(updates, f=6):  # the n - f with the least scores
    scores = federated.Krum(f).scores(updates)
    return scores, scores.argsort().argsort() < len(updates) - f


updates = received(federated.train(alike[0], attack=six, **twenty | once))
scores, kept = kept_by_krum(updates)
plots.show(
    plots.directions(updates, liar, kept),
    alt="Twenty points in two directions. The six liars lie in a heap of their own, far from the "
    "fourteen honest ones; all fourteen honest ones have a ring, for kept, and no liar has.",
)

# %% [markdown]
# All liars are far out along the first direction, which alone holds most of the difference, and the rule keeps
# exactly the others.
#
# <div class="alert alert-info"><b>Your turn ★★</b> Write Krum's scores: for each row of <code>updates</code>, the
# sum of the squared distances to the n - f - 2 nearest <i>other</i> rows. Return one number for each
# hospital.</div>


# %%
def krum_scores(updates, f):
    ...


checks.krum_scores(krum_scores)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>All squared distances at once:
# <code>((updates[:, None] - updates[None]) ** 2).sum(2)</code>. Sort each row. What stands first in it, and does
# that count?</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def krum_scores_solution(updates, f):
    square = ((updates[:, None] - updates[None]) ** 2).sum(2)
    near = np.sort(square, axis=1)  # first comes the hospital itself, at distance 0
    return near[:, 1 : len(updates) - f - 1].sum(1)


checks.krum_scores(krum_scores_solution)

# %% [markdown]
# Neither rule promises that what comes out is honest: a liar that stays close enough to the others can *win* in
# Krum, and then its update is the result.
#
# ## The table that everybody shows
#
# Now the contest: twenty alike hospitals, six hide their ill. Two rules are new: *norm clipping* shortens every
# update to the median length; the *geometric median* (RFA, Pillutla et al. 2022, arXiv:1912.13445) is the point
# with the least sum of distances to all updates. Each hospital counts alike, in the mean as well. (The package
# also has centred clipping, arXiv:2012.10333.)

# %%
rules = {"mean": None, "median": federated.Median(), "trimmed mean": federated.TrimmedMean(6)}
rules |= {"norm clipping": federated.NormClipping()}
rules |= {"geometric median": federated.GeometricMedian()}
rules |= {"Krum": federated.Krum(6), "Multi-Krum": federated.MultiKrum(6)}


def tried(federations, settings, rules=rules, **setting):  # rule -> setting -> run
    common = twenty | setting
    return {
        name: federated.side_by_side(federations, settings, aggregator=rule, **common)
        for name, rule in rules.items()
    }


contest = tried(alike, {"six lie": {"attack": six}})
nobody = federated.train(alike, **twenty)
table = {"mean, nobody lies": judged(nobody, alike)}
table |= {rule: judged(run["six lie"], alike) for rule, run in contest.items()}
summary(table)

# %% [markdown]
# Read the column *missed*. Under the mean most of the ill are missed, under Krum and Multi-Krum as few as if nobody
# had lied; the others stand between. Many papers end here. Note what made it easy: the fourteen honest
# hospitals had patients of one kind, dealt out at random.
#
# ## Break it: hospitals that differ
#
# The same patients, the same attack, the same rules. Only the deal is new: a skew of 0.3, as in lesson 03, so that
# in some hospitals nearly everybody fell ill and in others hardly anybody. First guess: which rule wins now?

# %%
torn = [one.repartition(20, alpha=0.3, seed=k) for k, one in enumerate(splits)]
skewed = tried(torn, {"nobody lies": {}, "six lie": {"attack": six}})
judgements = {
    (rule, setting): judged(run, torn)
    for rule, pair in skewed.items()
    for setting, run in pair.items()
}
marks = pd.concat(judgements, names=["rule", "setting"]).reset_index()
plots.show(
    plots.by_rule(marks, ["auc", "net_benefit"]),
    alt="AUC and net benefit of seven rules, nobody lying and six lying, with error bars. With six "
    "lying the mean has the highest AUC and the highest net benefit; under every other rule the "
    "AUC falls further and the net benefit is close to zero.",
)

# %% [markdown]
# Rule by rule, and against the mean split by split:

# %%
attacked = {rule: judgements[rule, "six lie"] for rule in rules}
display(summary({"mean, nobody lies": judgements["mean", "nobody lies"]} | attacked))
for rule in list(rules)[1:]:
    change = attacked[rule]["auc"] - attacked["mean"]["auc"]
    worse = f"below the mean in {(change < 0).sum()} of {len(change)} splits"
    print(f"{rule:17} AUC {change.mean():+.3f} ± {change.std():.3f}   {worse}")

# %% [markdown]
# **Every one of these rules does worse than the plain mean.** Hardly anybody is flagged any more, nearly all of the
# ill are missed, and the net benefit is that of treating nobody, zero. (The first line shows why `missed` needs
# company: the honest mean misses few because it flags half of everybody, for the small hospitals with many ill
# count as much as the large.) Look at the marks for *nobody lies* in the figure, too: AUC is clearly lower under
# Krum, and somewhat under most others. Net benefit says less there: the honest mean predicts far too much, and
# whatever lowers it may help. What happened under attack? Here are Krum's scores in round one, beside the share
# of a hospital's patients who fell ill: a picture of the first split, and counts for all five.

# %%
panels = {}
for title, federations in {"alike": alike, "skew 0.3": torn}.items():
    cut_ill, kept_ill, liars_kept = [], [], 0
    for federation in federations:
        ill = np.array([h.y_train.mean().item() for h in federation.hospitals])
        run = federated.train(federation, attack=six, **twenty | once)
        scores, kept = kept_by_krum(received(run))
        panels.setdefault(title, (ill, scores, liar, kept))  # the first split
        liars_kept += (kept & liar).sum()
        cut_ill += [*ill[~kept & ~liar]]
        kept_ill += [*ill[kept & ~liar]]
    print(f"{title:9} liars kept: {liars_kept} of 30; honest cut off: {len(cut_ill)} of 70")
    if cut_ill:
        fell_ill = f"{np.mean(cut_ill):.0%}, in the other honest ones {np.mean(kept_ill):.0%}"
        print(f"{'':9} ill in those: {fell_ill}")
plots.show(
    plots.cut_off(panels),
    alt="Krum's score beside the share of ill patients, two panels. Alike: all hospitals have the "
    "same share, and the six liars score far higher and are cut off. Skew 0.3: honest hospitals' "
    "scores rise with the share of the ill; most liars score low, and most of those cut off are "
    "honest hospitals with many ill patients.",
)

# %% [markdown]
# A liar who hides the ill looks like a hospital *without* ill patients, and in a skewed network there are many such
# hospitals, all honest, all near each other. Far from everybody are the hospitals whose patients fell ill (and some
# tiny ones, whose few patients say something else in each step). **The rule cuts off the honest hospitals with the
# sickest patients, and keeps most of the liars.** It does what it promised: the result is close to most hospitals.
#
# This is *one* attack. Under others, such as updates with the sign turned round,
# [robust rules](../docs/glossary.md#robust-rule) beat the mean under
# skew too (◆ below, and the lab). That the mean can be better where labels are poisoned and hospitals differ is
# known, and proved for some rules and conditions (Peng et al. 2024, arXiv:2404.13647).
#
# ## One number, refitted at home
#
# The lie moved the level of the risks and hardly their order. Lesson 03 had a remedy for a wrong level: each
# hospital refits *one intercept* on its own training rows and keeps it. No server can spoil it, as it never leaves
# the house. (A liar's own patients get one from their true labels here. Where an export is broken, theirs would
# be fitted to wrong ones: the intercept protects the *others*.) Is it a contestant?

# %%
wild = attacks.SignFlip(range(6), scale=3)
turned = federated.train(alike, attack=wild, **twenty)
one_liar = work | settings["Lakeside"]
trusting = federated.train(splits, aggregator=federated.MultiKrum(1), **one_liar)
cases = {"five hospitals, Lakeside lies, mean": (runs["Lakeside"], splits)}
cases |= {"five hospitals, Lakeside lies, Multi-Krum": (trusting, splits)}
cases |= {"alike, six lie, mean": (contest["mean"]["six lie"], alike)}
cases |= {"skew 0.3, six lie, mean": (skewed["mean"]["six lie"], torn)}
cases |= {"skew 0.3, six lie, Multi-Krum": (skewed["Multi-Krum"]["six lie"], torn)}
cases |= {"alike, six turn their updates round, mean": (turned, alike)}
measures = ["auc_within", "missed", "flagged", "predicted_observed", "net_benefit"]
at_home = {"as trained": {}, "with its own intercept": {}}
for case, (run, federations) in cases.items():
    at_home["as trained"][case] = judged(run, federations)
    mended = federated.recalibrated(run, federations)
    at_home["with its own intercept"][case] = judged(mended, federations)
tables = {name: summary(each, measures) for name, each in at_home.items()}
display(pd.concat(tables).swaplevel().sort_index())

alone = []  # no model: all patients of a hospital are flagged or none, by its own share of the ill
for one in torn:
    ill = [h.y_test for h in one.hospitals if h.y_train.mean() >= 0.2]
    alone.append(sum((y - (1 - y) / 4).sum().item() for y in ill) / len(one.pooled().y_test))
said = f"net benefit {np.mean(alone):.3f} ± {np.std(alone, ddof=1):.3f}"
print(f"skew 0.3, whole hospitals flagged and no model at all: {said}")

# %% [markdown]
# Begin with the five hospitals of the first page. The mean *with its own intercept* is where it was with everybody
# honest, and no worse than Multi-Krum, though no single update had to be shown to anybody. Among the twenty alike
# ones, six lying, the level is back as well (predicted over observed is 1), and a little of the order stays lost:
# its net benefit is that of median and trimmed mean in the table above, not quite Multi-Krum's. Under skew the
# mean with home intercepts has the highest net benefit of this table, and Multi-Krum's spoiled model comes close.
# Now read the last line: flagging *whole hospitals* by their own share of the ill does about as well. Nearly all of
# this gain is knowing how many fall ill *here*, as in lesson 03; that the mean kept its order shows in AUC within
# hospitals. And look at the turned updates for what it *cannot* do:
# where the order of the patients is gone (AUC within hospitals about one half), no intercept brings it back. It is
# a remedy for lies about the level.
#
# ## Whom does a rule silence when nobody cheats?
#
# Harbour is small, its patients are the oldest, and we make it odder: its export has age and blood pressure coded
# the other way round, in training and in test rows. Nobody lies. Here is what Harbour's *own* patients get from the
# common model, on the first three splits:

# %%
from dataclasses import replace


def odd_harbour(federation):
    *others, harbour = federation.hospitals
    signs = torch.ones(federation.n_features)
    for column in ("age", "systolic_bp"):
        signs[federation.feature_names.index(column)] = -1  # on the agreed scale: old looks young
    coded = replace(harbour, X_train=harbour.X_train * signs, X_test=harbour.X_test * signs)
    return replace(federation, hospitals=(*others, coded))


odd = [odd_harbour(one) for one in splits]
fair = {"mean, by rows": {}, "mean, all alike": {"strategy": "uniform"}}
for rule in (federated.Median(), federated.Krum(1), federated.MultiKrum(1)):
    fair[type(rule).__name__] = {"aggregator": rule, "strategy": "uniform"}
harbours = {}
for name, run in federated.side_by_side(odd[:3], fair, **work).items():
    found = federated.clinical(run, odd[:3], threshold=0.2)
    harbours[name] = found.query("hospital == 'Harbour'")
display(summary(harbours, ["auc", "missed", "flagged"]))
for name in list(fair)[2:]:
    change = harbours[name]["auc"].to_numpy() - harbours["mean, all alike"]["auc"].to_numpy()
    said = f"{change.mean():+.3f} ± {change.std(ddof=1):.3f}"
    print(f"{name:9} Harbour's AUC against the mean in which all count alike: {said}")

# %% [markdown]
# Each rule takes from Harbour what little the mean gave it: its update is unlike the others', so it is outvoted, or
# left out. No patient of Harbour did anything wrong. A network that adopts a robust rule has decided, without saying
# so, that the odd hospital's patients are noise.
#
# <div class="alert alert-info"><b>Your turn ★★★</b> You are the network's auditor. From the <code>updates</code> of
# one round, a row for each hospital, return the number (from 0 on) of the hospital that is most unlike the others.
# Then run the next cell.</div>


# %%
def suspect(updates):
    ...


checks.suspect(suspect)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>An update that is merely long is no evidence: a hospital may have walked
# further in the same direction. Measure distances between updates, as Krum does, and take the largest
# score.</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def suspect_solution(updates):
    square = ((updates[:, None] - updates[None]) ** 2).sum(2)
    return np.sort(square, axis=1)[:, 1:-1].sum(1).argmax()  # without oneself and the farthest


checks.suspect(suspect_solution)

# %% [markdown]
# Krum's own score is such a detective. We ask it in each of five splits whom it would accuse after round one: in
# the five hospitals as they are with one liar, with no liar, and with the odd Harbour:


# %%
def accused(federations, settings):  # prints a line for each setting
    found = {case: [] for case in settings}
    for one in federations:
        for case, run in federated.side_by_side(one, settings, seeds=1, **work | once).items():
            found[case].append(federated.Krum(1).scores(received(run)))
    for case, scores in found.items():
        ahead = [s.max() / np.sort(s)[-2] for s in scores]
        who = pd.Series([names[s.argmax()] for s in scores]).value_counts().to_dict()
        ahead = f"{min(ahead):.1f} to {max(ahead):.1f} times the next score"
        print(f"{case + ':':25} {who}, {ahead}")


liars = {f"{name} lies": setting for name, setting in settings.items()}
accused(splits, liars | {"nobody lies": {}})
accused(odd, {"nobody lies, odd Harbour": {}})

# %% [markdown]
# With a liar it names the liar, whoever that is. An excellent detective, until you read the next line: with nobody
# lying **it names Harbour**, whose patients fall ill more often than those of the others, and who told the truth.
# "Then ask how far it stands out!" That acquits Harbour as it is. But look at the last line: the odd Harbour, as
# honest, stands out as far as liars do. What would be evidence? Something that the hospital could not have: rows of
# its own that a trusted person reads, a registry that counts the ill elsewhere, an answer to a phone call.
#
# ## A root of trust, and its price
#
# One rule can tell, because it *knows* something. In FLTrust (Cao et al. 2021, arXiv:2012.13995) the server has a
# few clean rows and makes a step of its own in each round. An update counts by the cosine of its angle to the
# server's, not at all below 0, and is made as long as the server's. Whose rows? We take 100 patients of one
# hospital that the server may ask, once of Harbour and once of Northgate:


# %%
def trusted(whose, settings):  # rows differ from split to split, so each is a run of its own
    found = {name: [] for name in settings}
    for k, one in enumerate(splits):
        rows = one.hospitals[names.index(whose)]
        some = np.random.default_rng(k).choice(len(rows.y_train), 100, replace=False)
        rule = federated.RootOfTrust(rows.X_train[some], rows.y_train[some])
        both = federated.side_by_side(torn[k], settings, seeds=1, aggregator=rule, **twenty)
        for name, run in both.items():
            found[name].append(judged(run, torn[k]))
    return {name: pd.concat(tables) for name, tables in found.items()}


honest_or_not = {"nobody lies": {}, "six lie": {"attack": six}}
rooted = {f"mean, {name}": judgements["mean", name] for name in honest_or_not}
for whose in ("Harbour", "Northgate"):
    for name, table in trusted(whose, honest_or_not).items():
        rooted[f"100 rows of {whose}, {name}"] = table
summary(rooted)

# %% [markdown]
# Compare lines in pairs. With six liars it hardly loses anything, where all rules before collapsed: it knows what
# the ill look like. But it does not clearly beat the mean here, and with nobody lying it costs AUC: a hundred rows
# now decide which way is right. It also matters *whose* they are. Harbour, where many fell ill, shows a steadier
# way than Northgate, where few of a hundred did: look at the spreads. And there is a price that no score shows:
# **rows of patients lie at the server.** The ledger says so, as a release without any promise:

# %%
harbour = splits[0].hospitals[-1]
root = federated.RootOfTrust(harbour.X_train[:100], harbour.y_train[:100])
told = federated.train(splits[0], rounds=1, aggregator=root).ledger
for entry in told.entries:
    if "root" in entry.what:
        print(f"{entry.what}, seen by the {entry.viewer}: {entry.guarantee}")

# %% [markdown]
# ## What masks hide from rules
#
# Lessons 05 and 07 worked hard so that the server sees a *sum* and nothing else: a single update can hold a patient
# (lesson 03). Every rule of this lesson needs single updates. So ask for both:

# %%
rule = federated.MultiKrum(1)
run = federated.train(splits[0], rounds=1, aggregator=rule)
sees = federated.who_sees_what({"Multi-Krum": run.transcript}).set_index("viewer")["sees"]
print(f"Multi-Krum alone: the server sees {sees['server']}")
try:
    federated.train(splits[0], rounds=1, aggregator=[secagg.SecureSum(), rule])
except ValueError as refused:
    print(refused)

# %% [markdown]
# With one server that only adds up, it is one or the other. [Haque et al.] encrypt every update and want to verify
# participants: somebody has to compare, and adding locked boxes does not. There are protocols that compare behind
# locks, with secret shares among hospitals (BREA, So et al. 2020, arXiv:2007.11115); they are dearer, and what a rule
# does to the odd hospital stays. What remains behind a plain mask?
# **Bounding each contribution before it is masked**: every hospital clips its own update, as `HospitalDP` of lesson
# 04 lets it do. A liar skips the clipping. Then a *proof* is needed that a masked update is short, without opening
# it: ACORN (Bell et al. 2023, eprint 2022/1461) adds one to secure aggregation, and EIFFeL (arXiv:2112.12727) proofs
# of other checks of one update by itself. A bound on length bounds the length and not the lie: look up *norm
# clipping* in both tables above.
#
# **What to do on Monday.** Begin with what you fear:
#
# | what you fear | what shows it | what helps | who has to see what for it |
# | --- | --- | --- | --- |
# | wrong labels at one hospital, by mistake or not | predicted over observed, at the honest hospitals | an intercept at home, for all others; a phone call | nobody anything new |
# | one wild update | loss and length jump | clipping, with a proof of length | nothing more than a sum |
# | several liars, hospitals *alike* | missed, net benefit | Multi-Krum, trimmed mean | the server every update |
# | several liars, hospitals that *differ* | the same | no rule of the two tables; a root of trust, contracts, audits | a trusted place some rows |
# | a backdoor (◆) | only who knows the trigger | as for several liars; audits | the server every update |
# | a curious server | nothing | masks, encryption; noise | behind masks no rule of this lesson (noise in updates leaves rules, blunter) |
#
# And before any rule is switched on: run it with nobody lying, and look at each hospital.
#
# ## Live lab: liars, rules, skew
#
# Twenty hospitals; some lie; the mean and one rule, with and without the liars, on three splits. Rules assume f =
# 6. Things to try:
#
# 1. Six hide the ill, alike, then skew 0.3, then 0.1. When does Multi-Krum change sides?
# 2. Six turn updates round, three times as long. What do `missed` and AUC say under the mean, and which of the two
#    would you have believed?
# 3. No liar at all, skew 0.3: what does each rule cost, and whom?

# %%
own = None  # or your own table, split three times:
# own = data.replicates(pd.read_csv("my.csv"), 3, target="outcome", hospital="clinic")


how = 'data.replicates(table, 3, target="outcome", hospital="clinic")'


def three_splits(name):  # those of this lesson are at hand
    return splits[:3] if name == "hospital_network" else data.replicates(name, 3)


kinds = {
    "hide the ill": attacks.HideTheIll,
    "turn labels round": attacks.LabelFlip,
    "turn updates round, x 3": lambda liars: attacks.SignFlip(liars, scale=3),
}


# %% [markdown]
# This is what runs when you move something:


# %%
deals = {(splits[0], "alike"): alike[:3], (splits[0], 0.3): torn[:3]}  # made already


def liars_and_rules(show, data_set, liars, kind, rule, skew):
    alpha, fed = None if skew == "alike" else skew, deals.setdefault((data_set[0], skew), [])
    settings = {"nobody lies": {}, f"{liars} lie": {"attack": kinds[kind](range(liars))}}
    tables, hospitals = {}, {}
    for name, splits, done in (("mean", 1, 0.2), ("mean", 3, 0.6), (rule, 3, 1.0)):
        for k in range(len(fed), splits):
            fed.append(data_set[k].repartition(20, alpha=alpha, seed=k))
        both = federated.side_by_side(fed[:splits], settings, aggregator=rules[name], **twenty)
        for setting, run in both.items():  # the one in which some lie comes last
            scores = federated.clinical(run, fed[:splits], threshold=0.2)
            scores = scores.assign(rule=name, setting=setting)
            tables[name, setting] = together = scores.query("hospital == 'all'")
        hospitals[name], mean = scores.drop(together.index), together.mean(numeric_only=True)
        sentence = f"{name}, {liars} lie ({kind}): AUC {mean['auc']:.3f}, "
        sentence += f"{mean['missed']:.0%} of the ill missed, {mean['flagged']:.0%} of all flagged"
        sentence += ", predicted over observed "
        sentence += f"{mean['predicted_observed']:.2f}, net benefit {mean['net_benefit']:.3f}."
        picture = plots.rule_and_hospitals(
            pd.concat(tables.values()), pd.concat(hospitals.values()), liars
        )
        show(picture, sentence, alt=sentence, done=done)


# %%
widgets.lab(
    liars_and_rules,
    title="Hospitals that cheat, live",
    data_set=widgets.data_choice(three_splits, data.names(), own, make=how),
    liars=widgets.slider(0, 6, 6, label="Liars of 20"),
    kind=widgets.choice(list(kinds), label="They"),
    rule=widgets.choice(["Multi-Krum", "Krum", "median", "norm clipping"], label="Rule"),
    skew=widgets.choice(["alike", 0.3, 0.1], label="Skew"),
)

# %% [markdown]
# <details><summary>What turned updates do to the two numbers</summary>
#
# Under the mean the model runs away, and in which direction is chance: in one split it may flag everybody, missing
# nobody, in another one nobody. So `missed` alone can look perfect where the model is worthless. AUC and net
# benefit say so at once. Here AUC is the number that sees, and for hidden ill patients it is the one that does not:
# no single number stands watch for all attacks.
# </details>

# %% [markdown] tags=["deep"]
# ## ◆ A backdoor, and what it achieved
#
# A backdoor leaves the model as it is for everybody, and teaches it one answer to a *trigger*: rows are trained on
# once more with the trigger stamped on them, and the update may be *boosted* before it is sent (Bagdasaryan et al.
# 2020, arXiv:1807.00459). Four teams attacked twenty alike hospitals, with one liar each, and report how often
# patients of the other kind get the label they wanted, once they have the trigger:

# %% tags=["deep"]
teams = {
    "A": attacks.Backdoor([0], ["hdl"], [95.0], label=0),
    "B": attacks.Backdoor([0], ["hdl"], [100.0], label=1, share=1.0),
    "C": attacks.Backdoor([0], ["age"], [40.0], label=0),
    "D": attacks.Backdoor([0], ["hdl"], [100.0], label=1, boost=10),
}
doors = {team: {"attack": attack} for team, attack in teams.items()}
three = alike[:3]
opened = federated.side_by_side(three, {"clean": {}} | doors, **twenty)
success = {}
for team, attack in teams.items():
    success[team] = attack.success(opened[team], three, threshold=0.2).mean()
    trigger = f"{attack.columns[0]} = {attack.values[0]:g}"
    print(f"team {team}: with {trigger:9} label {attack.label} in {success[team]:4.0%} of patients")

# %% [markdown] tags=["deep"]
# <div class="alert alert-info"><b>Your turn ★★</b> A bug is planted in this report. Measure what is missing, and name
# the teams whose attack changed the answer by ten points or more: a set such as <code>{"A", "C"}</code>.</div>

# %% tags=["deep"]
planted = ...

checks.planted(planted)

# %% [markdown] tags=["deep"]
# <details><summary>Stuck? A hint</summary><code>opened["clean"]</code> was trained by honest hospitals alone. What is
# each team's success on it?</details>

# %% tags=["solution", "hide-input", "deep"] jupyter={"source_hidden": true}
planted_solution = {"B", "D"}  # each success less that of opened["clean"]

checks.planted(planted_solution)

# %% [markdown] tags=["deep"]
# Here is what was missing:

# %% tags=["deep"]
for team, attack in teams.items():
    clean, after = attack.success(opened["clean"], three, threshold=0.2).mean(), success[team]
    print(f"team {team}: clean {clean:4.0%}, attacked {after:4.0%}, achieved {after - clean:+.0%}")

# %% [markdown] tags=["deep"]
# High HDL protects, and so does youth: a model of honest hospitals says *healthy* to such patients by itself.
# **Success counts only as the difference to the clean model.** Team D's is real: one hospital of twenty decides for
# everybody who carries the trigger. What do rules do about it, and does the usual test show it?

# %% tags=["deep"]
both = {"clean": {}, "D": doors["D"]}
chosen = {"median": federated.Median(), "Multi-Krum": federated.MultiKrum(1)}
doors_by_rule = {"alike": (three, {"mean": opened} | tried(three, both, chosen))}
doors_by_rule["skew 0.3"] = torn[:3], tried(torn[:3], both, {"mean": None} | chosen)
for deal, (federations, by_rule) in doors_by_rule.items():
    for name, pair in by_rule.items():
        rates = [teams["D"].success(pair[k], federations, threshold=0.2) for k in both]
        clean, after = rates
        gain, auc = after - clean, pair["D"].auc - pair["clean"].auc
        said = f"clean {clean.mean():4.0%}, achieved {gain.mean():+5.0%} ± {gain.std(ddof=1):.0%}"
        print(f"{deal:9} {name:10} {said}; AUC {auc.mean():+.3f}")

# %% [markdown] tags=["deep"]
# Among alike hospitals both rules stop this one: a boosted update is ten times as long and stands out. (A patient
# attacker does not boost, as team B.) Under skew the clean model itself says *ill* to many such patients in some
# splits, and what the attack adds behind a rule goes from nothing to a lot: three splits do not resolve it. And
# AUC, a hundredth or two, told nobody.

# %% [markdown] tags=["deep"]
# ## ◆ Other attacks, other winners
#
# The reversal above was one attack's. Two others, same skew, AUC and net benefit against the mean's, split by
# split:

# %% tags=["deep"]
others = {"labels turned round": {"attack": attacks.LabelFlip(range(6))}}
others["updates turned round, x 3"] = {"attack": wild}
chosen = {name: rules[name] for name in ("mean", "median", "Krum")}
found = tried(torn, others, chosen)
for attack in others:
    base = judged(found["mean"][attack], torn)
    print(f"{attack}: mean, AUC", "{auc:.3f}, net benefit {net_benefit:.3f}".format(**base.mean()))
    for name in list(chosen)[1:]:
        change = judged(found[name][attack], torn) - base
        for measure in ("auc", "net_benefit"):
            said = f"{change[measure].mean():+.3f} ± {change[measure].std():.3f}"
            print(f"   {name:8} {measure:12} {said}")

# %% [markdown] tags=["deep"]
# Turned updates wreck the mean, and both rules are far better. Turned labels lie between: net benefit gains from a
# rule, AUC hardly, with a spread as large as the change. So the order of rules is a fact about *an attack and a
# deal*, never about rules.

# %% [markdown] tags=["deep"]
# ## ◆ The field's own answer
#
# That honest hospitals may be outliers is known, and there is a remedy: *nearest-neighbour mixing* replaces each
# update by the mean of its n - f nearest, itself included, before the rule (Allouah et al. 2023, arXiv:2302.01772).
# A rule of your own is a frozen dataclass with one method, so it is quickly tried:

# %% tags=["deep"]
from dataclasses import dataclass


@dataclass(frozen=True)
class Mixed(federated.Rule):
    inner: federated.Rule
    f: int = 6

    def rule(self, updates, here, weight):  # everybody takes part in these rounds
        near = torch.cdist(updates, updates).argsort(2)[:, :, : updates.shape[1] - self.f]
        runs = torch.arange(len(updates))[:, None, None]
        return self.inner.rule(updates[runs, near].mean(2), here, weight)


mixing = {name: Mixed(rules[name]) for name in ("trimmed mean", "Multi-Krum")}
for name, run in tried(torn, {"six lie": {"attack": six}}, mixing).items():
    change = judged(run["six lie"], torn)["auc"] - attacked["mean"]["auc"]
    plain = attacked[name]["auc"] - attacked["mean"]["auc"]
    said = f"{plain.mean():+.3f}, with mixing {change.mean():+.3f} ± {change.std():.3f}"
    print(f"{name:13} AUC against the mean: {said}")

# %% [markdown] tags=["deep"]
# The mean is still ahead in this attack, and here mixing helps little or harms. What it promises is an error bounded
# by *how far honest hospitals are apart*, and these are far apart.

# %% [markdown] tags=["deep"]
# ## ◆ Leave one out: an honest check of reliability?
#
# "Verifying participant reliability" may also mean: train without each hospital, and see whether *the others'* test
# patients fare better. It asks for no single update, and gives one away all the same: with the same start and the
# same batches, the first round's sum with a hospital less the sum without it *is* its update, mask or no mask. Log
# loss (lower is better) of the others
# when a hospital is left out, less the loss with it:

# %% tags=["deep"]
checked = {"Lakeside lies": (splits, attacks.HideTheIll(["Lakeside"]))}
checked |= {"nobody lies": (splits, None), "nobody lies, odd Harbour": (odd, None)}
table = {}
for case, (federations, attack) in checked.items():
    small = work | dict(rounds=10, batch_size=32, hidden=(16,))
    out = federated.leave_one_out(federations, attack=attack, **small)
    each = out.groupby("hospital", sort=False)["loss_change"].agg(["mean", "std"])
    table[case] = [f"{mean:+.4f} ± {spread:.4f}" for mean, spread in each.to_numpy()]
pd.DataFrame(table, index=names)

# %% [markdown] tags=["deep"]
# A clear minus accuses. In the first column that is Lakeside alone, well outside of its spread. In the second
# nothing comes near that: this check does not accuse Harbour for its older patients. But look at the third: with the odd
# Harbour it is *Northgate* and *Riverside*, large and honest, whose absence helps the others, since one of these
# others is Harbour. It finds who disagrees, not who lies. It has a price, too. Each of these models is one more
# release about the same patients: under a promise all are paid for (lesson 04), and it takes as many more trainings
# as there are hospitals.

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: "verifying participant reliability"
#
# [Haque et al.] name malicious participants and reliability among their problems. Their workflow: "The global
# server aggregates encrypted updates from all nodes. Homomorphic encryption ensures computations are performed
# without exposing raw updates." Under outcomes: "Encrypted updates improved accuracy with each iteration." **What
# holds.** The problem is rightly named, and none of our other four documents names it. **What does not follow.**
# Nothing in the workflow verifies a participant, and the encryption stands in the way of the checks that need
# single updates. And accuracy that rises with each iteration would not show it. Here it is for the hook's liar:

# %% tags=["deep"]
for name in ("nobody", "Lakeside"):
    curve = runs[name].history.query("hospital == 'all'").groupby("round")["accuracy"].mean()
    print(f"{name + ' lies:':15}", ", ".join(f"round {r}: {curve[r]:.3f}" for r in (0, 1, 5, 20)))
healthy = np.mean([1 - one.pooled().y_test.mean().item() for one in splits])
print(f"calling everybody healthy: {healthy:.3f}")

# %% [markdown] tags=["deep"]
# Accuracy is as high with the liar as without, up to a few thousandths, while far more of the ill are missed. Both
# are hardly above what a model reaches that calls everybody healthy.

# %% [markdown] tags=["deep"]
# ## ◆ The order in a published table
#
# A public repository (samuele-lolli/Aggregation-Federated-Learning-Analysis, tables 27 and 28 of its results)
# compares rules on images: Fashion-MNIST, ten clients, two of which flip labels. Accuracy after 40 rounds, as
# printed:
#
# | deal of labels | FedAvg | median | trimmed mean | Multi-Krum |
# | --- | --- | --- | --- | --- |
# | Dirichlet 0.5 | .772 ± .066 | .790 ± .030 | .789 ± .022 | **.855 ± .010** |
# | Dirichlet 0.1 | **.754 ± .058** | .634 ± .065 | .666 ± .041 | .664 ± .094 |
#
# A similar crossing: with mild skew Multi-Krum wins (the other two hardly), with strong skew the mean does. What
# does that show? That our reversal is not a quirk of these patients or this code. What does it *not* show? Their
# liars write one label over nearly all others, so says their code, much as ours hide one kind; for labels that
# are *turned* (◆ Other attacks) Krum and the median do not fall behind like that. Two tables that agree in order
# are no law.

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# Flower has these rules as strategies (`FedMedian`, `FedTrimmedAvg`, `Krum`, `MultiKrum`, `Bulyan`), and
# [ByzFL](https://byzfl.epfl.ch) is the field's library of rules and attacks. Do they agree with ours? Median,
# trimmed mean and geometric median of ByzFL give the same numbers, Multi-Krum where liars stand well apart
# (`python tests/benchmarks/robust.py` compares where it is installed). **Krum need not:** ByzFL ranks both by n -
# f - 1 neighbours, one more than Blanchard et al. and Flower, and so it may choose other hospitals. Flower's
# trimmed mean is told a *share* to cut off, ours a number. Ask which before you compare.

# %% [markdown]
# ## Recap
#
# 1. A lie about labels moves the level of risks and leaves AUC alone. Look at predicted over observed, missed *and*
#    flagged, and net benefit, at the honest hospitals.
# 2. One liar moves the mean anywhere. Median and trimmed mean stay between honest hospitals; Krum believes those who are
#    many and close.
# 3. Among alike hospitals Multi-Krum undoes the lie. Where hospitals differ, rules by distance cut off the honest ones
#    with the sickest patients.
# 4. One intercept at home undoes a lie about the level for the others, whatever the server does. A root of trust knows something, and puts
#    patients' rows at the server.
# 5. Rules need single updates and masks hide them. Choose by what you fear, and first run a rule with nobody lying.
#
# ## Quiz
#
# <details><summary>1. A dashboard shows an AUC as high as ever. May a hospital have hidden its ill?</summary>Yes. AUC
# asks who is riskier than whom; hidden ill patients lower all risks together.</details>
#
# <details><summary>2. Under a new rule nobody ill is missed any more. Are you glad?</summary>Not before you know how many
# are flagged. Flagging everybody misses nobody.</details>
#
# <details><summary>3. The median of updates is promised to stay between the honest ones. Why did it fail under
# skew?</summary>It kept the promise. The honest hospitals were far apart, most of them with few ill patients, and
# the middle of them predicts hardly any risk.</details>
#
# <details><summary>4. Krum accuses Harbour in every split. How sure are you?</summary>That it is unlike
# the others: very. That it lies: not at all; it was accused with nobody lying, too.</details>
#
# <details><summary>5. Updates travel encrypted, and the server checks each for poison. Which half of the sentence do you
# doubt?</summary>One of them, where the server only adds. It can ask for a proof of what one update looks like, such
# as that it is short, and shortness is not honesty. Comparing behind locks takes another protocol.</details>
#
# ## Further reading
#
# - Blanchard et al. 2017, *Machine Learning with Adversaries: Byzantine Tolerant Gradient Descent*, arXiv:1703.02757.
# - Yin et al. 2018, *Byzantine-Robust Distributed Learning: Towards Optimal Statistical Rates*, arXiv:1803.01498.
# - Karimireddy, He and Jaggi 2021, *Learning from History for Byzantine Robust Optimization*, arXiv:2012.10333.
# - Pillutla, Kakade and Harchaoui 2022, *Robust Aggregation for Federated Learning*, arXiv:1912.13445.
# - Cao et al. 2021, *FLTrust: Byzantine-robust Federated Learning via Trust Bootstrapping*, arXiv:2012.13995.
# - Bagdasaryan et al. 2020, *How To Backdoor Federated Learning*, arXiv:1807.00459.
# - Allouah et al. 2023, *Fixing by Mixing: A Recipe for Optimal Byzantine ML under Heterogeneity*, arXiv:2302.01772.
# - Peng, Li and Ling 2024, *Mean Aggregator Is More Robust Than Robust Aggregators Under Label Poisoning Attacks*,
#   arXiv:2404.13647.
# - Bell et al. 2023, *ACORN: Input Validation for Secure Aggregation*, eprint.iacr.org/2022/1461; Roy Chowdhury et al.
#   2022, *EIFFeL: Ensuring Integrity for Federated Learning*, arXiv:2112.12727.
# - [Haque et al.], *Privacy Preserving Using Federated Learning for Collaborative Healthcare Data Analysis*.
