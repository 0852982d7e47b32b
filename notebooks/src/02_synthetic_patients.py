# %% [markdown]
# # 02 · Synthetic patients
#
# *Invented people in a real table: what the invention keeps, and whom it gives away.*
#
# **After this lesson you can**
#
# - build a generative adversarial network ([GAN](../docs/glossary.md#GAN)) from two small networks and say what each of
#   them is after,
# - make it collapse on purpose, recognise it by what it leaves out, and mend it,
# - judge a synthetic table by numbers that each stand beside what real rows would get,
# - find patients in a synthetic table that was called anonymous,
# - say precisely what training on [synthetic patients](../docs/glossary.md#synthetic-patients) protects, and what it
#   does not.
#
# **Time:** 45 minutes for the core; sections marked ◆ are deep and take another 18.
# **You need:** NumPy-level Python, and lesson 00 for the hospitals. Lesson 01 helps; lesson 03 is not needed.

# %%
import time

from IPython import get_ipython
from IPython.display import display

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

# %% [markdown]
# ## Five of these ten patients never lived
#
# Hospitals may not share patients. Could they share *invented* ones, who look the same, have the same risks,
# and are nobody? Here are ten rows from Northgate, a hospital of our network: five of its patients, and five
# that were made up. Which five? (Northgate itself is simulated. In this lesson a *real* patient is one who
# stands in a hospital's own table.)

# %%
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from fedlab_utils import attacks, checks, data, federated, fidelity, fleet, plots, synth, widgets

federation = data.load("hospital_network")
northgate = federation.hospitals[0]
invented = synth.fit(northgate.train, method="copula", schema=federation.schema).sample(5, seed=3)
ten = pd.concat([northgate.train.sample(5, random_state=3), invented], ignore_index=True)
ten = ten.assign(real=["yes"] * 5 + ["no"] * 5).sample(frac=1, random_state=4)
ten.index = list("ABCDEFGHIJ")
display(ten.drop(columns="real"))

# %% [markdown]
# The next line says who is who.

# %%
print("invented:", ", ".join(ten.index[ten["real"] == "no"]))

# %% [markdown]
# They were made by a *Gaussian [copula](../docs/glossary.md#copula)*, a method older than neural networks: it keeps
# each column's values, and
# of every two columns whether they rise and fall together and how closely, and nothing else. So "looks real" is
# a low bar, and looking at rows is no way to judge. Three questions are better: **How is such a table made? How
# good is it? Whom does it give away?**
#
# ## From noise to blood sugar
#
# One column first. Fasting glucose of 2,000 simulated patients: most are healthy, some have a treated diabetes,
# a few an untreated one.

# %%
rng = np.random.default_rng(0)
group = rng.choice(3, 2000, p=[0.60, 0.25, 0.15])  # healthy, treated, untreated
middle, width = np.array([5.2, 7.8, 11.0])[group], np.array([0.3, 0.4, 0.5])[group]
glucose = (middle + width * rng.standard_normal(2000)).round(1)
mean, spread = glucose.mean(), glucose.std()
real = torch.tensor((glucose - mean) / spread, dtype=torch.float32)[:, None]  # [patients, 1]

# %% [markdown]
# A GAN is a game of two small networks (Goodfellow et al. 2014, arXiv:1406.2661). The **generator** $G$ turns
# random noise $z$ into a value. The **discriminator** $D$ looks at a value and says how likely it is to be
# real: $D$ learns to tell real from made, $G$ to be believed. [Poojari 2026] writes the game as its equation (5):
#
# $$\min_G \max_D \; E_{x \sim p_{data}}[\log D(x)] + E_{z \sim p_z}[\log(1 - D(G(z)))] \qquad\text{(5)}$$
#
# Before we build it: how well can the best possible $D$ do? Suppose a value of 7.8 turns up in 3 of 100 real
# patients and in 1 of 100 made ones. If you see a 7.8, and real and made values come equally often, how sure
# are you?
#
# <div class="alert alert-info"><b>Your turn ★</b> Write the best discriminator: <code>p_real</code> and
# <code>p_made</code> say how often a value comes up among real and among made ones. Return D(x), the probability that
# the value is real.</div>

# %%
def best_discriminator(p_real, p_made):
    ...


checks.best_discriminator(best_discriminator)

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def best_discriminator_solution(p_real, p_made):
    return p_real / (p_real + p_made)  # of all who show this value, the share who are real


checks.best_discriminator(best_discriminator_solution)

# %% [markdown]
# Now the two players: two hidden layers each, noise of eight numbers, one number out. (New to PyTorch?
# `Linear` is a matrix product, LeakyReLU bends the line so that a network can curve, Adam is a way to walk
# downhill, `grad` computes the slopes. A *logit* is a number that `sigmoid` turns into a probability: 0
# becomes one half.)

# %%
def player(inputs, seed):
    with torch.random.fork_rng(devices=[]):  # leaves other random numbers alone
        torch.manual_seed(seed)
        first, second = nn.Linear(inputs, 32), nn.Linear(32, 32)
        return nn.Sequential(first, nn.LeakyReLU(0.2), second, nn.LeakyReLU(0.2), nn.Linear(32, 1))


# %% [markdown]
# And the game. `softplus(-D(x))` is $-\log D(x)$ for a network that puts out a logit, and `softplus(D(x))` is
# $-\log(1 - D(x))$. So the first loss is (5) with its sign turned. The second is not: in the beginning $D$ is
# sure that made values are made, and $\log(1 - D)$ is then so flat that $G$ learns nothing. The authors of GANs
# let $G$ maximise $\log D(G(z))$ instead, the *non-saturating* loss. (`Adam` here is the step behind
# `torch.optim.Adam`, whose class would load PyTorch's compiler first.)

# %%
from fedlab_utils.synth.players import Adam


def downhill(adam, net, loss):
    adam.step(torch.autograd.grad(loss, list(net.parameters())))
    return loss.item()


@fleet.one_thread()  # matrices this small are faster on one core
def game(steps, lr_G=0.0005, lr_D=0.0005, d_steps=1, seed=0, watch=None):
    G, D, g = player(8, seed), player(1, seed + 1), torch.Generator().manual_seed(seed)
    adam_G, adam_D = (Adam(net.parameters(), lr, (0.5, 0.9)) for net, lr in ((G, lr_G), (D, lr_D)))
    losses = []
    for number in range(1, steps + 1):
        for _ in range(d_steps):
            x = real[torch.randint(len(real), (100,), generator=g)]
            made = G(torch.randn(100, 8, generator=g)).detach()  # this step leaves G alone
            loss_D = downhill(adam_D, D, F.softplus(-D(x)).mean() + F.softplus(D(made)).mean())
        made = G(torch.randn(100, 8, generator=g))
        loss_G = downhill(adam_G, G, F.softplus(-D(made)).mean())  # the non-saturating loss
        losses.append((loss_G, loss_D))
        if watch and number % watch[0] == 0:
            watch[1](G, D, np.array(losses))
    return G, D, np.array(losses)


# %% [markdown]
# Let them play, and look at three things: what $G$ makes, what $D$ believes, and the two losses.

# %%
def look(G, D, losses):
    with torch.no_grad():
        made = G(torch.randn(2000, 8, generator=torch.Generator().manual_seed(1)))[:, 0]
        grid = torch.linspace(-2, 3.5, 200)[:, None]
        belief = (grid[:, 0].numpy() * spread + mean, torch.sigmoid(D(grid))[:, 0].numpy())
    made = made.numpy() * spread + mean
    return plots.game(glucose, made, belief, losses, "fasting glucose (mmol/l)"), made


def shares(values):
    return np.histogram(values, [-np.inf, 6.5, 9.4, np.inf])[0] / len(values)


picture, made = look(*game(steps=400))
print("healthy, treated, untreated: real", shares(glucose).round(2), " made", shares(made).round(2))
plots.show(
    picture,
    alt="Left: made values over real ones; high at the healthy, then one smear over both ill "
    "groups. D's curve is near one half; the best D, dashed, goes up and down. Right: both losses "
    "stay near log 2 and log 4.",
)

# %% [markdown]
# From noise, and without ever seeing a patient (it only sees how $D$ reacts), $G$ makes healthy and ill
# patients. It is rough: the two smaller groups are one smear, with about the right share in each range (the last bar
# holds all that lies beyond the edge). $D$'s curve, blue, stays close to one half, as if it had to
# guess. Does it have to? The dashed line is **your formula**, put on the two histograms: what the best $D$ would
# say. It falls towards 0 where made values lie that no patient has, and rises where patients are missed. A perfect
# $G$ would make it flat. This $D$, small and a few hundred steps old, does not see what is there to be seen.
#
# So take care with the losses. They lie near $\log 2$ and $\log 4$, which is what players get who cannot tell.
# The best $D$ could: its loss, dashed on the right, is lower.
#
# ## Mode collapse, on purpose
#
# Now we make the players unequal: the discriminator learns ten times more slowly than the generator.

# %%
picture, made = look(*game(steps=400, lr_G=0.005, lr_D=0.0005, seed=1))
print("healthy, treated, untreated: real", shares(glucose).round(2), " made", shares(made).round(2))
plots.show(
    picture,
    alt="Left: made values stand in one heap; whole groups are missing. D's curve rises "
    "gently, the best D is 0 under the heap and 1 beside it. Right: losses near log 2 and log "
    "4, the best D's below.",
)

# %% [markdown]
# A whole group of patients is gone, or more. The generator asks one question only: *which value does $D$ believe
# most, right now?* If $D$ reacts slowly, the best answer is to make that one value for everybody. The blue curve
# rises a little to one side, and that is enough: the whole heap follows, until $D$ has caught on and rises
# elsewhere. This is **[mode collapse](../docs/glossary.md#mode-collapse)**.
#
# The losses end near the same two lines as in the good run. **The losses do not tell you.** $\log 4$ means
# "nobody can tell" only if $D$ is the *best* discriminator, and that one would seldom be wrong here. The
# loss of this $D$ says how evenly matched the players are, not how good the values are.
#
# [Poojari 2026] describes such a picture in the text to its Figure 13: values from 4.5 to 6.0, "low diversity". In a
# hospital this has a meaning: **a collapsed generator invents a world without the sick**, or without the well.
#
# ## Three cures?
#
# If the trouble is a judge who is slow and looks at one value at a time, there are three things to try.
#
# 1. **A quicker judge**: let $D$ learn as fast as $G$, or take five looks for each step of $G$.
# 2. **A judge who sees several at once**: show $D$ ten values together. Ten equal values give themselves away.
#    This is *packing* (Lin et al. 2018, PacGAN, arXiv:1712.04086).
# 3. **A judge who says how far off**: not "real or made" but a score whose slope is kept near 1, neither steep
#    nor flat. Then even a value far from all patients gets a direction. This is the Wasserstein GAN, its judge
#    is called a *critic* (Gulrajani et al. 2017, arXiv:1704.00028; the formula is in a deep section below).
#
# The package trains many GANs side by side, so we take six seeds of each: the slow judge again, and the first cure.
# A group counts as lost if fewer than 2% of the made patients are in it (the smallest real one has 15%); the error is
# the largest of the three differences from the real shares.

# %%
column = pd.DataFrame({"glucose": glucose})
slow = dict(method="gan", transform="linear", hidden=(32, 32), steps=250, lr=0.005)
settings = {
    "slow judge": slow | {"critic_lr": 0.0005},
    "quick judge": slow | {"critic_lr": 0.005},
}
judges = {name: synth.fit(column, n_models=6, **s) for name, s in settings.items()}
rows = []
for name, fitted in judges.items():
    found = np.array([shares(fitted.sample(1000, model=k)["glucose"]) for k in range(6)])
    lost, error = (found < 0.02).any(1), np.abs(found - shares(glucose)).max(1)
    rows.append((name, f"{lost.sum()} of 6", f"{error.mean():.2f} ± {error.std():.2f}"))
display(pd.DataFrame(rows, columns=["judge", "lost a group", "error of the shares"]))

# %% [markdown]
# The collapse was no bad luck: with a slow judge it is the rule. With a quick judge all groups are there, and their
# shares come close to the real ones.
#
# And the other cures? (Try five looks in the lab below.) The course's bench took all six judges and 24 seeds of each
# (`python tests/benchmarks/synthetic.py --only judges`); ± is the standard deviation over the seeds:
#
# | judge | lost a group | error of the shares |
# | --- | --- | --- |
# | slow judge | 20 of 24 | .42 ± .26 |
# | quick judge | 0 of 24 | .05 ± .02 |
# | slow, five looks | 0 of 24 | .04 ± .02 |
# | slow, ten at once | 2 of 24 | .27 ± .14 |
# | slow, and a score | 20 of 24 | .43 ± .22 |
# | quick, and a score | 0 of 24 | .02 ± .02 |
#
# Five looks are as good as a quick judge. Ten at once, with a slow judge, mostly keeps the groups, and not their sizes.
# A score by itself is no cure: from a slow judge, most seeds lose a group again. Quick and a score are a little better
# together, so from here on we use both (`wgan_gp`). **What to take along:** a collapse is seen in what is *missing*, so
# count groups.
#
# ## Live lab: play the game
#
# The game from above, drawn while it is played. Things to try:
#
# 1. Judge at .0005, generator at .005: watch the heap *wander* from group to group.
# 2. Now give the judge five looks for each step. What happens to $D$, and to the best $D$?
# 3. Both at .02, with several seeds. Who is sick in this world, and how do the losses look?

# %%
def the_game(show, lr_G, lr_D, d_steps, steps, seed):
    def draw(G, D, losses):
        if len(losses) not in (100, 400, steps):
            return
        picture, made = look(G, D, losses)
        groups = "{:.0%} healthy, {:.0%} treated, {:.0%} untreated".format(*shares(made))
        sentence = f"After {len(losses):,} steps: {groups}. Real are 60%, 25% and 15%."
        alt = f"Made values over real ones; losses. {sentence}"
        show(picture, sentence, alt=alt, done=len(losses) / steps)

    game(steps, lr_G=lr_G, lr_D=lr_D, d_steps=d_steps, seed=seed, watch=(100, draw))


# %% [markdown]
# And its controls:

# %%
widgets.lab(
    the_game,
    title="The game of two networks, live",
    lr_G=widgets.slider(0.0001, 0.02, 0.001, log=True, label="Generator's learning rate"),
    lr_D=widgets.slider(0.0001, 0.02, 0.001, log=True, label="Judge's learning rate"),
    d_steps=widgets.slider(1, 5, 1, label="Judge's looks for each step"),
    steps=widgets.slider(200, 1000, 200, step=200, label="Steps"),
    seed=widgets.slider(0, 9, 0, label="Seed"),
)

# %% [markdown]
# ## A table is more than its columns
#
# A patient is a row: numbers of different kinds, categories, gaps. Three things have to be solved before two
# networks can play for rows.
#
# - **Numbers** become *normal scores*: where a value stands among the column's values, read off the bell curve.
#   So a skewed column is as easy as a symmetric one, and on the way back whole numbers stay whole.
# - **Categories** become 0/1 columns. The generator must choose *hard*, 0 or 1: if it hands over .83, the judge
#   sees at a glance what is made. A hard choice has no [gradient](../docs/glossary.md#gradient), so the step back uses
#   a soft one
#   (Gumbel-softmax, Jang et al. 2017, arXiv:1611.01144).
# - **Gaps** are values too: "missing" is one of the things that can be made.
#
# Now the generators. `label` is the column that they are *told* instead of making it, so that one can ask for
# patients with the outcome. Three hospitals of the network take part here, a large, a middling and a small one. Each
# trains on its own patients; the package trains all three side by side. (One training may be lucky. So wherever a number
# is to be trusted, the bench has trained eight or more.)

# %%
from dataclasses import replace

TARGET = federation.target  # cvd_event: a heart attack, stroke or the like within ten years
three = replace(federation, hospitals=federation.hospitals[::2])
patients = {h.name: h.train for h in three.hospitals}
same = dict(schema=federation.schema, label=TARGET)
quick = dict(steps=800, hidden=(64, 64), lr=0.001, penalty=1)
started = time.perf_counter()
generators = synth.fit(patients, **quick, **same)
seconds = time.perf_counter() - started

n = len(northgate.train)
synthetic = generators["Northgate"].sample(n)
display(generators["Northgate"].sample(3, where={TARGET: 1}))
names = ["age", "systolic_bp", "hdl", "smoker"]
labels = ["age (years)", "systolic (mmHg)", "HDL (mg/dl)", "smoker"]
plots.show(
    plots.columns(northgate.train, synthetic, names, labels),
    alt="Histograms of age, systolic pressure and HDL, bars for smoking: made values follow "
    "real ones.",
)

# %% [markdown]
# Column by column the invented patients look like the real ones; [Poojari 2026] shows such a pair of histograms
# in its Figure 16 and concludes that the data are "appropriate to be trained" on. Does that follow? Here is a
# generator that draws every column by itself. Its histograms are perfect.

# %%
unconnected = synth.fit(northgate.train, method="independent", **same)
scrambled = [unconnected.sample(n, seed=k) for k in range(2)]
tables = {"real": northgate.train, "GAN": synthetic}
tables |= {"column by column": scrambled[0], "and once more": scrambled[1]}
for name, table in tables.items():
    groups = (table["age"] < 50, table["age"] > 65)
    young, old = (table.loc[group, TARGET].mean() for group in groups)
    auc = fidelity.utility(table, northgate.test, target=TARGET)
    ill = f"fell ill: under 50 {young:.0%}, over 65 {old:.0%}"
    print(f"{name:17} {ill}; a model trained on it: {auc:.2f}")

# %% [markdown]
# The GAN keeps what matters, that risk rises with age, if not its exact size. In the scrambled tables the young
# fall ill as often as the old. A risk model trained on them knows nothing: its AUC is an accident, here on the
# wrong side of .5. **Histograms cannot see what connects the columns**, and that is all a model learns from. The
# last number is the one that counts: *train on synthetic, test on real* (Esteban et al. 2017, arXiv:1706.02633).
#
# ## A report with a second column
#
# Is .03 a good distance between two histograms? Two samples of *real* patients differ too, by chance, and that is
# what perfect looks like. So each measure in the report comes with its **reference**: the same measure with real rows
# in the place of the synthetic ones. Both are compared with patients that the generator never saw.

# %%
against = dict(target=TARGET, holdout=northgate.test)
reports = {"GAN": [fidelity.report(northgate.train, synthetic, **against)]}
display(reports["GAN"][0].set_index("measure")[["value", "reference", "better"]].round(3))

# %% [markdown]
# Read it in four questions.
#
# - *Are the columns right?* KS and total variation: distances of distributions, from 0 to 1.
# - *Do the columns go together?* Dependence: how differently two columns are associated.
# - *Can a trained eye tell?* Two-sample AUC: boosted trees try to tell synthetic from real; .5 is a coin
#   (Lopez-Paz and Oquab 2017, arXiv:1610.06545).
# - *Is everybody there?* Precision asks whether made patients are believable, recall whether every kind of real
#   patient is among them (Kynkäänniemi et al. 2019, arXiv:1904.06991). Mode collapse shows in recall.
#
# (*Broken rules*: what always holds in the real table, see the deep section; copies and nearest record come
# later.) Beside other ways to make a table:

# %%
copula = synth.fit(northgate.train, method="copula", **same)
others = {"copula": copula.sample(n), "column by column": scrambled[0]}
for name, table in others.items():
    reports[name] = [fidelity.report(northgate.train, table, **against)]
shown = ["KS, mean", "dependence, mean", "two-sample AUC"]
shown += ["train on synthetic, linear", "train on synthetic, trees", "recall"]
plots.show(
    plots.fidelity(reports, shown),
    alt="One line a measure, a bar for real rows, and marks for GAN, copula and column by column. "
    "Column by column fits the histograms and fails wherever columns go together.",
)

# %% [markdown]
# The bars are real rows. In the first line, histograms, all three are about as good as real rows. Wherever columns have
# to fit together, drawing column by column falls far behind (not in recall: shuffled columns still reach every kind of
# patient, beside some that do not exist). GAN and copula lie close together. Which of the two is ahead in one table each
# is chance; over the eight of each in the last ◆ section the copula is, where they differ at all. That says something
# about *this* network: a copula keeps what rises or falls with something, and the risk of our patients does just that
# with age, pressure and the rest. Were the middle-aged those who fall ill, it would not see it.

# %% [markdown] tags=["deep"]
# ## ◆ Patients who cannot be
#
# One line of the report is 0: *broken rules*. It looks for what always holds in the real table, such as "if
# visits = 0, then cost = 0", and counts the rows that break it. Our network has no such rule, but most real
# tables do. In breast_cancer, real patients, the cell nuclei of a tumour are measured, and each measure is given
# as the mean over all nuclei and as the *worst*, the mean of the three largest. So no mean can be above its
# worst. Nobody tells the report; it finds the rule in the rows:

# %% tags=["deep"]
tumours = data.load("breast_cancer").pooled()
lumps = synth.fit(tumours.train, method="copula").sample(2000)
display(fidelity.rules(tumours.train, lumps, holdout=tumours.test).head(4).round(3))

# %% [markdown] tags=["deep"]
# Some invented tumours have nuclei that are larger on average than the largest of them: a correlation, however well
# kept, is not a rule. (An *error* is the standard error of a mean. Arithmetic does not demand that it is at most the
# mean, but every real row obeys.) `expected` is how many training rows would break the rule if its columns had
# nothing to do with each other, `holdout` the share of unseen *real* rows that break it.

# %% [markdown] tags=["deep"]
# ## ◆ Live lab: a generator of your own table
#
# Training runs in the background; the picture grows with it, and Cancel stops it. On the left one column, on
# the right what a model is worth that was trained on the invented patients, while the generator learns. Things
# to try:
#
# 1. How few steps are enough for the histogram, and how many for the model?
# 2. A width of 16, or one critic step: which of the two pictures suffers?
# 3. heart_disease: a few hundred patients. How steady is the curve?

# %% tags=["deep"]
own = None  # or: data.from_frame(pd.read_csv("my.csv"), target="outcome")


def training_generator(show, data_set, steps, width, critic_steps, lr, pack):
    everyone, target, curve = data_set.pooled(), data_set.target, []
    ceiling = fidelity.utility(everyone.train, everyone.test, target=target)

    def look(so_far):
        taken = len(so_far.losses)
        if taken not in (50, 200, 500, steps):  # most changes in the beginning
            return
        rows = so_far.sample(min(len(everyone.train), 2000))
        curve.append((taken, fidelity.utility(rows, everyone.test, target=target)))
        table = pd.DataFrame(curve, columns=["step", "score"])
        sentence = (
            f"After {taken:,} steps, training on invented patients gives {curve[-1][1]:.3f}; on "
            f"real ones {ceiling:.3f}, with the same {len(everyone.test):,} unseen patients."
        )
        picture = plots.worth(everyone.train, rows, data_set.schema.numeric[0], table, ceiling)
        show(picture, sentence, alt=f"Made and real values; scores. {sentence}", done=taken / steps)

    setting = dict(steps=steps, hidden=(width, width), critic_steps=critic_steps, lr=lr, pack=pack)
    label = None if data_set.task == "regression" else target
    known = dict(schema=data_set.schema, label=label)
    synth.fit(everyone.train, every=50, on_step=look, **known, **setting)


# %% [markdown] tags=["deep"]
# And its controls:

# %% tags=["deep"]
widgets.lab(
    training_generator,
    title="A generator, live",
    data_set=widgets.data_choice(
        data.load, data.names(), own, make='data.from_frame(table, target="outcome")'
    ),
    steps=widgets.slider(100, 1000, 100, step=100, label="Steps"),
    width=widgets.slider(8, 128, 64, log=True, label="Hidden units"),
    critic_steps=widgets.slider(1, 3, 2, label="Critic steps"),
    lr=widgets.slider(0.0001, 0.005, 0.0005, log=True, label="Learning rate"),
    pack=widgets.slider(1, 10, 1, label="Packed rows"),
)

# %% [markdown]
# ## The photocopier's report
#
# A company proves its generator's quality: "We train a model on our synthetic patients and test it on *your*
# patients." This is their code, with boosted trees; it gives our GAN a mark:

# %%
def score(fit_on, test_on):
    return fidelity.utility(fit_on, test_on, target=TARGET, family="trees")  # an AUC


def company_score(train, synthetic, unseen):
    return score(synthetic, train)


mark = company_score(northgate.train, synthetic, northgate.test)
print(f"our GAN, by the company's mark: {mark:.3f}")

# %% [markdown]
# Before you believe a measure, feed it something whose mark you know. The worst generator for privacy is a
# **photocopier**: it hands out the training patients.

# %%
from sklearn.metrics import roc_auc_score

photocopies = northgate.train
mark = company_score(northgate.train, photocopies, northgate.test)
ceiling = roc_auc_score(northgate.test[TARGET], northgate.true_risk)
print(f"the photocopier:                {mark:.3f}")
print(f"best possible, unseen patients: {ceiling:.3f} (by the true risk they were simulated with)")

# %% [markdown]
# The photocopier beats our GAN by far, and it beats *the best that any model can do* for unseen patients.
# Nobody is that good. Something in the report is wrong.
#
# <div class="alert alert-info"><b>Your turn ★★★</b> Find the fault in <code>company_score</code> and write
# <code>honest_score</code>, with the function <code>score</code> as its first argument. Measure the photocopier again
# with yours: where should it land?</div>

# %%
def honest_score(score, train, synthetic, unseen):
    ...


checks.honest_score(honest_score)

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def honest_score_solution(score, train, synthetic, unseen):
    return score(synthetic, unseen)  # patients whom neither the generator nor the model has seen


checks.honest_score(honest_score_solution)

# %% [markdown]
# The company tested on the patients that its generator was trained on. Whoever remembers them wins: the very thing
# that a hospital must avoid. `fidelity.report` refuses such a comparison. On unseen patients:

# %%
try:
    fidelity.report(northgate.train, synthetic, target=TARGET, holdout=northgate.train)
except ValueError as reason:
    print(reason)
marks = {"our GAN": synthetic, "the photocopier": photocopies}
for name, table in marks.items():
    print(f"{name:15} judged by unseen patients: {score(table, northgate.test):.3f}")

# %% [markdown]
# Now the marks lie close together, and below the best possible. The photocopier's is that of real patients: it *is*
# real patients. **No measure of quality is a measure of privacy.** So we have to look for the patients themselves.
#
# ## Break it: find the patients
#
# A register of a rare disease has 40 patients. Somebody trains the plain GAN from above on it, long and hard,
# and publishes invented ones. How would you look for copies?
#
# <div class="alert alert-info"><b>Your turn ★★</b> Two NumPy arrays: rows are patients, columns are numbers in one unit.
# A synthetic row is a copy if some real patient is within <code>tolerance</code> of it in <i>every</i> column. Return
# the share of synthetic rows that are copies.</div>

# %%
def near_copies(synthetic, real, tolerance):
    ...


checks.near_copies(near_copies)

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def near_copies_solution(synthetic, real, tolerance):
    gap = np.abs(synthetic[:, None] - real)  # [synthetic, real, columns]
    return (gap <= tolerance).all(2).any(1).mean()


checks.near_copies(near_copies_solution)

# %% [markdown]
# `federation.transform` puts all columns into standard deviations, with categories as 0 and 1. So the largest
# difference in any column is a distance (torch calls it `p=inf`), and a row within .25 of a patient has the
# same categories and nearly the same numbers. (A missing number it puts at the mean, which would be near to many; so the
# register, and all who are compared with it, are patients without gaps.) We train two plain GANs and two mended ones:

# %%
without_gaps, unseen = northgate.train.dropna(), northgate.test.dropna()
register = without_gaps.sample(40, random_state=2).reset_index(drop=True)
rare = dict(schema=federation.schema, n_models=2)
hard = dict(method="gan", steps=500, hidden=(64, 64), lr=0.005, critic_lr=0.01)
gently = dict(steps=250, hidden=(64, 64), lr=0.003, critic_lr=0.006, penalty=1)
plain, mended = (synth.fit(register, **how, **rare) for how in (hard, gently))
both = {"plain GAN": plain, "mended GAN": mended}


def gap(rows, people, p=float("inf"), columns=slice(None)):
    return torch.cdist(*(federation.transform(some)[:, columns] for some in (rows, people)), p=p)


strangers = unseen.sample(40, random_state=2)
for name, fitted in both.items():
    made = [fitted.sample(1000, model=k) for k in range(2)]
    for people, whose in ((register, "the register's 40"), (strangers, "40 strangers")):
        gaps = [gap(rows, people).amin(1) for rows in made]
        copies = ", ".join(f"{(g < 0.25).float().mean():.1%}" for g in gaps)
        print(f"{name:10} copies of {whose:17}: {copies}")

# %% [markdown]
# The plain GANs copy people of the register and hardly a stranger; the mended ones copy less. (They also train more
# gently and half as long; which of these does it, the comparison does not say.) Is that this register's luck? The
# bench took eight registers of other patients, with two generators each (`python tests/benchmarks/synthetic.py --only
# register`): 1.4% of the plain GANs' rows were copies of the register (from .2% to 5.0%) and hardly any of strangers; of
# the mended GANs' rows .2% (from .1% to .4%).
#
# Here is the closest copy of the first plain one, side by side with the patient:

# %%
rows = plain.sample(1000)
distance = gap(rows, register)
row, person = np.unravel_index(int(distance.argmin()), distance.shape)
display(pd.DataFrame({"patient": register.iloc[person], "published": rows.iloc[row]}).T)

# %% [markdown]
# That is a patient's record, each of its numbers hardly moved. Nobody told $G$ to remember: hitting a real patient is
# the surest way to be believed.
#
# And the mended GANs, are they safe? The attacker has a record in hand and asks: *was this
# patient in the register?* (For a register of a rare disease, the answer is the diagnosis.) Their simplest
# test: members should lie closer to the published rows than others do.

# %%
def membership_test(members, others, table, columns=slice(None)):
    near = -gap(pd.concat([members, others]), table, 2, columns).amin(1).numpy()
    member = np.arange(len(near)) < len(members)
    return roc_auc_score(member, near), near[member], near[~member]


for name, fitted in both.items():
    tables = [fitted.sample(2000, model=k) for k in range(2)]
    tests = [membership_test(register, unseen, table) for table in tables]
    print(f"{name:10} AUC of the membership test:", ", ".join(f"{auc:.2f}" for auc, *_ in tests))

# %% [markdown]
# **Fewer copies, and members still lie closer**: the AUC of each mended GAN is far from the .5 of a coin (in the bench
# from .66 to .80, with .63 to .78 for the plain ones). The plain ones give some patients away outright, the mended ones
# say a little about many. Which is worse? Lesson 06 takes this up, with far stronger attacks.
#
# ## The pipeline: original, synthetic, federated
#
# [Taj] proposes three steps: take the original data, turn them into artificial data, and use those in federated
# learning; "in this way data privacy is maintained". We build it, with five ways to make a table: our GAN, the copula,
# column by column, the photocopier, and *interpolation*, which moves each patient a little towards a similar one. Each
# makes a **world**: a table for each of the three hospitals.

# %%
methods = {"copula": "copula", "column by column": "independent", "interpolation": "interpolate"}
fitted = {name: synth.fit(patients, method=method, **same) for name, method in methods.items()}
worlds = {
    name: {h: some[h].sample(len(rows)) for h, rows in patients.items()}
    for name, some in {"GAN": generators, **fitted}.items()
}
worlds["photocopier"] = patients

# %% [markdown]
# Each world is used twice: by the hospitals, who train a federated model on it (their test patients stay real), and
# by the attacker, who runs the membership test on it. So it is one point on a map: its `price` is the AUC lost against
# training together on real patients, its `leak` the AUC of the test, both averaged over the hospitals.

# %%
work = dict(rounds=20, local_steps=20, batch_size=64, lr=0.2, hidden=(32,))
final = federated.train([three.replace_train(w) for w in worlds.values()], **work).final
auc = final.pivot_table(index="seed", columns="hospital", values="auc").drop(columns="all")
auc.index = list(worlds)
together = auc.loc["photocopier"]  # photocopies are the real patients
alone = federated.baselines(three, seeds=2, **work).query("baseline == 'local-only'")
alone = alone.groupby("hospital")["auc"].mean()[together.index]
points = []
for name, world in worlds.items():
    leak = [membership_test(h.train[:400], h.test[:400], world[h.name])[0]  # enough of each
            for h in three.hospitals]
    price, better = together - auc.loc[name], (auc.loc[name] > alone).sum()
    points.append((name, auc.loc[name].mean(), price.std(), np.mean(leak), price.mean(), better))
found = pd.DataFrame(points, columns=["kind", "auc", "spread", "leak", "price", "beats alone"])
levels = {"real patients, together": together.mean(), "real patients, each alone": alone.mean()}
display(found[["kind", "price", "leak", "beats alone"]].round(3))
plots.show(
    plots.use_and_leak(found, levels),
    alt="A map: AUC of models trained on invented patients against AUC of the membership test. "
    "GAN and copula: high and left. Column by column: low and left. Interpolation and "
    "photocopier: high and far right.",
)

# %% [markdown]
# Up is useful, right is dangerous. (The thin lines are the spread over the three hospitals.) But one world is one
# draw. The course's bench made eight of each, and added the GAN after an eighth of its training (`python
# tests/benchmarks/synthetic.py --only map`; ± is the standard deviation over the worlds):
#
# | | price | leak | beats alone, of 3 |
# | --- | --- | --- | --- |
# | GAN | .014 ± .008 | .516 ± .006 | 0 to 3 |
# | GAN, 100 steps | .125 ± .031 | .515 ± .005 | 0 |
# | copula | .006 ± .007 | .509 ± .007 | 1 to 3 |
# | column by column | .285 ± .065 | .508 ± .005 | 0 |
# | interpolation | .012 ± .004 | .775 ± .007 | 1 to 3 |
# | photocopier | 0 ± .003 | 1 | 2 to 3 |
# | real patients, each alone | .017 | | |
#
# - **Use does not tell leak.** Copula, interpolation and photocopier stand at nearly the same height, from one end of
#   the map to the other. A report of quality would praise all three.
# - **A price belongs to a training, not to the idea.** After 100 steps invented patients cost about nine times
#   what they cost after 800, and the leak does not move. Whoever reports one generator reports their patience.
# - **The cheapest way may do.** The copula, without any network, is at least as good as our GAN here. Start with it.
# - **Is it worth it?** `beats alone` counts the hospitals, of three, that do better with everybody's invented
#   patients than with their own real ones, which they may use at home. These cost .017 (last line) and the GAN .014,
#   so with three hospitals there is hardly a gain.
#
# On the left, is the attack a coin? In the bench it gets hardly less from columns drawn one by one, where nobody can be
# found. So they are the coin of this test, and not .5 itself. (In a register of 40 somebody can: the column of a few
# patients already holds their very numbers. Its coin is drawn from the columns of the 40 strangers.) Here are both with
# intervals, for two hospitals and the register (the package's `nearest_record` is the same test, with all patients). A
# leak is what the two intervals tell apart:

# %%
def interval(members, others, tables):
    people = pd.concat([members, others], ignore_index=True)
    member = np.tile(np.arange(len(people)) < len(members), (len(tables), 1))
    return attacks.nearest_record(people, member, tables).auc


columns_of = synth.fit(strangers, method="independent", schema=federation.schema)
nobody = [columns_of.sample(2000, seed=k) for k in range(2)]
from_gan = [mended.sample(2000, model=k) for k in range(2)]
cohorts = {"register": (register, unseen, nobody, from_gan)}
for h in three.hospitals[1:]:  # the two smaller ones
    some = ([worlds[kind][h.name]] for kind in ("column by column", "GAN"))
    cohorts[h.name] = (h.train, h.test, *some)
for name, (members, others, nobody, made) in cohorts.items():
    coin, found = (interval(members, others, tables) for tables in (nobody, made))
    verdict = "a leak" if found.low > coin.high else "not resolved"
    print(f"{name:12} {len(members):5,}: column by column {coin:.3f}, GAN {found:.3f}: {verdict}")

# %% [markdown]
# Where it says *not resolved*, **that is all we may say**; it is no proof that nothing leaks. How much could hide
# there? Let one in fifty rows be a photocopy:

# %%
spiked = synthetic.copy()
spiked[::50] = northgate.train[::50].to_numpy()
found = interval(northgate.train, northgate.test, [spiked])
print(f"{len(spiked[::50])} photocopied patients among {len(spiked):,} rows: AUC {found:.3f}")

# %% [markdown]
# Dozens of patients lie there for everybody to read, and the AUC hardly moves. An average does not see the few who
# are given away; lesson 06 looks at exactly them.
#
# ### What the pipeline protects, precisely
#
# | | |
# | --- | --- |
# | **It does protect** | the real rows from everything that happens *after* the generator. Updates and models are functions of the invented table only. The attack of lesson 03 would read an *invented* patient out of an update. |
# | **It does not protect** | the real rows from the generator. The invented table is a function of the patients with no bound on what one of them changes, so there is no guarantee. Whatever it gives away, every later step may give away too. |
# | **It is weakest for** | small hospitals, rare diagnoses, unusual patients, long training. |
#
# So "synthetic" is a way to *make* a table, not a promise. A promise bounds what one patient can change: lesson 04.

# %% [markdown] tags=["deep"]
# ## ◆ "Far from every patient" proves nothing
#
# What the membership test saw, for the last of the mended GANs:

# %% tags=["deep"]
_, members, others = tests[-1]
label = "distance to the closest published row (standard deviations)"
plots.show(
    plots.distances(-members, -others, label),
    alt="Histograms of the distance to the closest published row: patients of the register lie "
    "closer to the rows of the mended GAN than other patients do.",
)

# %% [markdown] tags=["deep"]
# The two heaps overlap, and the members' stands further left. So many reports show how far invented rows are from all
# patients, and call it privacy. Here is a table that keeps a generous distance from everybody:

# %% tags=["deep"]
secret = {"systolic_bp": 40, "total_cholesterol": 80, "hdl": 30}
shifted = {column: northgate.train[column] + shift for column, shift in secret.items()}
disguised = northgate.train.assign(**shifted)
closest, usual = (gap(rows, northgate.train, p=2).amin(1) for rows in (disguised, northgate.test))
ratio = closest.median() / usual.median()
print(f"median distance to the closest training row: {ratio:.1f} times that of unseen patients")
print(f"copies: {(closest < 0.01).sum()} of {len(disguised):,}")

# %% [markdown] tags=["deep"]
# No copies, and further away than patients that the table never saw. It is Northgate's
# training table with a constant added to three columns. Whoever compares three averages with a textbook takes
# them off again and has everybody. A distance can raise an alarm; it can never give the all-clear (Yao et al.
# 2025, arXiv:2505.01524).

# %% [markdown] tags=["deep"]
# ## ◆ The critic, by hand
#
# The third cure in its own formula (Gulrajani et al. 2017, equation 3). The critic's score should be low for made
# and high for real values, and its slope near 1 between them:
#
# $$L_D = E[D(G(z))] - E[D(x)] + \lambda \, E\big[(\lVert \nabla D(\hat x) \rVert - 1)^2\big],
# \qquad \hat x \text{ drawn evenly between a real and a made value}$$

# %% tags=["deep"]
def critic_loss(D, x, made, between, penalty):
    x_hat = (x + between * (made - x)).requires_grad_()
    (gradient,) = torch.autograd.grad(D(x_hat).sum(), x_hat, create_graph=True)
    steep = (gradient.norm(dim=1) - 1).square().mean()
    return D(made).mean() - D(x).mean() + penalty * steep


# %% [markdown] tags=["deep"]
# The package needs the slope thousands of times, for many models at once, and so computes it by a formula
# instead of a second run of autograd. Is it the same loss? ($\lambda$ was .1 above, as one column spans only a
# few units, and 1 for our tables; the paper's 10 is the package's default.)

# %% tags=["deep"]
from fedlab_utils.synth import gan

D, g = player(1, seed=5), torch.Generator().manual_seed(0)
x, made, between = real[:64], torch.randn(64, 1, generator=g), torch.rand(64, 1, generator=g)
tensors = [tensor[None] for tensor in D.parameters()]  # as one model of a fleet
params = fleet.Params(tensors[::2], tensors[1::2])
slope = gan.slope(params, (x + between * (made - x))[None])[0]
by_formula = D(made).mean() - D(x).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
by_autograd = critic_loss(D, x, made, between, 10)
print(f"by autograd against the formula: {abs(by_autograd - by_formula):.0e}")

# %% [markdown] tags=["deep"]
# ## ◆ What a generator learns beside its weights
#
# One patient on the way into the generators and back:

# %% tags=["deep"]
numbers = copula.encoder.encode(northgate.train[:1], seed=0)
back = copula.encoder.decode(numbers)
display(pd.concat([northgate.train[:1], back]).set_axis(["as it is", "there and back"]).T)
print(f"{northgate.train.shape[1]} columns became {numbers.shape[1]} numbers:", numbers[0].round(2))

# %% [markdown] tags=["deep"]
# The row survives. Some of what that takes is public (a data card says which categories and bounds there are); the
# rest was learnt from the patients. The synthesizer keeps a list of it, because a *private* generator will have
# to pay for every line (lesson 04):

# %% tags=["deep"]
learnt = copula.learnt.groupby("what", sort=False)["column"].agg(", ".join)
display(learnt.to_frame("learnt from the patients for"))

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: claims about synthetic patients
#
# **[Poojari 2026], Figure 13**: made values lie in "a specific range of values (4.5 to 6.0), that implies that
# there is low diversity". Such pictures are easily had. Six slow judges of ours:

# %% tags=["deep"]
slow_ones = judges["slow judge"]
heaps = {f"seed {k}": slow_ones.sample(1000, model=k)["glucose"].to_numpy() for k in range(6)}
plots.show(
    plots.made_values(glucose, heaps, "fasting glucose (mmol/l)"),
    alt="Six small histograms, one a seed: most made values are heaped in one place, which differs "
    "from seed to seed: on one group, between two groups, or at the edge. Most leave out whole "
    "groups.",
)

# %% [markdown] tags=["deep"]
# Where the heap stands is luck. (A spike at the very edge is a generator that left the range; the package moves
# its values back to the nearest real bound.) But does a range imply a collapse? The same made values, beside two
# hospitals:

# %% tags=["deep"]
values = np.random.default_rng(1).normal(5.2, 0.3, 1000).clip(4.5, 6.0)  # made
healthy = glucose[group == 0]
hospitals = {"a general hospital": glucose, "a screening clinic for the healthy": healthy}
for name, people in hospitals.items():
    there = np.abs(people[:, None] - values).min(1) < 0.1  # is there a made value close by?
    print(f"{name:35} {there.mean():.0%} of its patients have a made value close by")

# %% [markdown] tags=["deep"]
# For the first it is a collapse, for the second it is perfect. **What holds:** a narrow range *can* be a
# collapse, and training should then be mended. **What is missing:** the real values beside the made ones.
# Diversity is always diversity compared with something.
#
# **The same, Figure 16**: real and synthetic histograms are similar, so the data are "appropriate to be
# trained", and this "protects sensitive patient information". We have three tables with good histograms:

# %% tags=["deep"]
measures = ["KS, mean", "total variation, mean", "train on synthetic, linear", "copied rows"]
pretty = {name: reports[name][0].set_index("measure") for name in ("GAN", "column by column")}
values = pd.DataFrame({name: table["value"] for name, table in pretty.items()})
values["photocopier"] = pretty["GAN"]["reference"]  # real rows in the place of synthetic ones
values.loc["copied rows", "photocopier"] = 1  # that is how it works
display(values.loc[measures].round(3))

# %% [markdown] tags=["deep"]
# All three have histograms close to those of real patients. One of them cannot be trained on, and one consists
# of patients. **What holds:** the paper says that the shapes are similar and not the same, and so they may well
# be. **What does not follow:** that one can train on such data, or that anybody is protected. Neither can be
# seen in a histogram.
#
# **[Taj]** gives a reason for the pipeline: "in federated learning also there the chances to get leaked the original
# data". **What holds:** just that; lesson 03 reads a patient out of an update, and this is where the pipeline
# helps. **What is missing:** what the invented table itself gives away.
#
# **[Sharma]** injects noise "into the gradients of the model" (of which of the two networks, it does not say) and
# trains federated, reports "high [fidelity](../docs/glossary.md#fidelity)", and that
# "[membership inference](../docs/glossary.md#membership-inference)
# attacks were unable to determine whether specific patients were present", without
# naming a data set, a number, an [epsilon](../docs/glossary.md#epsilon) or how the attack was done. Whether its noise
# protects cannot be
# judged without these (lesson 04). But "unable" is also a statement about the attacker. Here are two of them,
# on the same published tables, those of the register's mended GANs:

# %% tags=["deep"]
for name, seen in (("ages", [federation.feature_names.index("age")]), ("all columns", slice(None))):
    tables = [mended.sample(2000, model=k) for k in range(2)]
    aucs = [membership_test(register, unseen, table, seen)[0] for table in tables]
    print(f"an attacker who compares {name:12} AUC", ", ".join(f"{auc:.2f}" for auc in aucs))

# %% [markdown] tags=["deep"]
# The first one is "unable to determine" membership, and would be in any paper that used it. **What holds:**
# noise in training is the right idea, and an attack was reported at all, which many leave out. **What is
# missing:** a positive control (something that the attack *must* find), an interval, and the number of
# patients. And that data retain "statistical integrity without compromising privacy" cannot hold without
# limits: the photocopier retains the most.

# %% [markdown] tags=["deep"]
# ## ◆ Real patients, small tables
#
# The simulated network has thousands of rows. Here are two tables of real patients: heart disease in four
# hospitals, and diabetes (442 patients; did the disease progress faster than the median?). Each is split into
# training and test rows in four ways, and a copula, which needs no time, learns from each.

# %% tags=["deep"]
def several_splits(name):
    splits = data.replicates(name, 4)
    target, pools = splits[0].target, [one.pooled() for one in splits]
    both, way = {"real": [], "synthetic": []}, dict(method="copula", schema=splits[0].schema)
    for pool in pools:
        made = synth.fit(pool.train, **way).sample(len(pool.train))
        both["real"].append(fidelity.utility(pool.train, pool.test, target=target))
        both["synthetic"].append(fidelity.utility(made, pool.test, target=target))
    return pd.DataFrame(both), len(pool.train), len(pool.test)


# %% [markdown] tags=["deep"]
# For each table: the AUC of a linear model on the test rows, and the loss split by split (± is the standard
# deviation over the four).

# %% tags=["deep"]
for name in ("heart_disease", "diabetes"):
    try:
        found, n_train, n_test = several_splits(name)
    except OSError as reason:
        print(f"{reason} This table is skipped.")
        continue
    loss = found["real"] - found["synthetic"]
    print(f"{name} ({n_train} training, {n_test} test rows): real {found['real'].mean():.3f};")
    ends = f"from {loss.min():+.3f} to {loss.max():+.3f}"
    print(f"  loss {loss.mean():+.3f} ± {loss.std():.3f}, {ends}")

# %% [markdown] tags=["deep"]
# Look at the range of the loss: from one split alone one could report the smallest or the largest of them, in
# good faith. **With a few hundred patients, a synthetic table is a draw from a lottery, and so is its
# evaluation**: report several splits, with their spread.

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# A GAN is one way among several. The map of methods:
#
# | method | how a row is made | source |
# | --- | --- | --- |
# | medGAN | a GAN that invents codes, turned into yes/no columns by an autoencoder | Choi et al. 2017, arXiv:1703.06490 |
# | CTGAN, TVAE | a GAN, and a variational autoencoder, for mixed columns | Xu et al. 2019, arXiv:1907.00503 |
# | TabDDPM | diffusion: noise is taken away from a row, step by step | Kotelnikov et al. 2023, arXiv:2209.15421 |
# | MST | counts of chosen pairs of columns, with noise, and a table that fits them: a differential privacy guarantee is built in | McKenna et al. 2021, doi:10.29012/jpc.778 |
#
# CTGAN is the tabular GAN that most people use. The course's bench trained it on Northgate's patients, for 300 epochs,
# its default (`python tests/benchmarks/synthetic.py --only hospital`; in brackets, how many tables; ± is their standard
# deviation; linear and trees are AUCs of models trained on them):
#
# | | KS | dependence | two-sample AUC | linear | trees | recall |
# | --- | --- | --- | --- | --- | --- | --- |
# | our GAN (8) | .036 ± .004 | .041 ± .005 | .57 ± .01 | .740 ± .004 | .726 ± .004 | .927 ± .004 |
# | copula (8) | .036 ± .003 | .034 ± .003 | .54 ± .01 | .738 ± .008 | .721 ± .014 | .958 ± .005 |
# | CTGAN (2) | .156 ± .006 | .099 ± .004 | .85 ± .01 | .666 ± .003 | .634 ± .019 | .981 ± .001 |
# | real rows | .031 | .025 | .50 | .756 | .744 | .955 |
#
# Read it with care: two trainings with default settings, untuned, say little about a method. `python course.py bench`
# compares both on a larger table, with TVAE as a third. You can train CTGAN here: its library is optional (`pip install
# --no-deps ctgan rdt faker`), and 300 epochs take a minute or two.

# %% tags=["deep"]
epochs = 0  # 300 to train CTGAN
try:
    from ctgan import CTGAN
except ImportError:
    CTGAN, epochs = None, 0
print("ctgan is not installed." if CTGAN is None else f"Epochs of CTGAN: {epochs}.")

# %% [markdown] tags=["deep"]
# (CTGAN takes no missing values, so its rows have no gaps, and a trained eye sees that. The bench gives it a column
# that says what is missing instead.)

# %% tags=["deep"]
if epochs:
    started = time.perf_counter()
    complete = northgate.train.dropna()
    with fleet.one_thread():
        theirs = CTGAN(epochs=epochs)
        theirs.set_random_state(0)
        theirs.fit(complete, [c for c in complete if c not in federation.schema.numeric])
    took, rows = time.perf_counter() - started, theirs.sample(n)
    # ours does so
    rows = rows.round({"systolic_bp": 0, "total_cholesterol": 0, "hdl": 0, "bmi": 1})
    print(f"CTGAN took {took:.0f} s for one table; ours {seconds:.0f} s for three, side by side.")
    compared = {"GAN": reports["GAN"], "CTGAN": [fidelity.report(northgate.train, rows, **against)]}
    picture = plots.fidelity(compared | {"copula": reports["copula"]}, shown)
    display(plots.show(picture, alt="One line a measure: real rows, GAN, CTGAN and copula."))

# %% [markdown]
# ## Recap
#
# 1. A GAN is two networks in a game. The losses of that game say how even it is, not how good the patients are.
# 2. Mode collapse is seen in what is missing: count the groups. A judge who keeps up with the generator prevents it; a
#    better score from a judge who is slow does not.
# 3. Histograms cannot see what connects the columns. Judge by measures with a reference, on patients that the
#    generator never saw.
# 4. Quality is not privacy: a photocopier has the best quality. "No copies" and "far from everybody" are no
#    proofs either. What invented patients cost depends on how they were made: show several ways, each several times.
# 5. The pipeline original → synthetic → federated protects what comes after the generator. The generator itself
#    promises nothing yet.
#
# ## Quiz
#
# <details><summary>1. Both losses of a GAN lie at log 2 and log 4. Is it good?</summary>You cannot know. A collapsed
# one with a slow judge lies there too.</details>
#
# <details><summary>2. A synthetic table has KS distances as small as real rows have. May you train on it?</summary>Not
# yet: a table drawn column by column has them too. Train on synthetic, test on real.</details>
#
# <details><summary>3. A generator scores <i>better</i> than training on real rows. What do you suspect?</summary>That
# the test rows are those that the generator was trained on; or luck, if the interval is wide.</details>
#
# <details><summary>4. No synthetic row is closer to a patient than 1.5 times what is usual. What does that prove?</summary>Nothing:
# a table shifted by a secret constant has that too.</details>
#
# <details><summary>5. Hospitals train a federated model on synthetic rows. What can a reader of the updates learn about
# real patients?</summary>At most what the synthetic tables tell, and about that there is no promise until a
# differentially private generator gives one.</details>
#
# ## Further reading
#
# - Goodfellow et al. 2014, *Generative Adversarial Nets*, arXiv:1406.2661; Gulrajani et al. 2017, *Improved
#   Training of Wasserstein GANs*, arXiv:1704.00028; Lin et al. 2018, *PacGAN*, arXiv:1712.04086.
# - Xu et al. 2019, *Modeling Tabular Data using Conditional GAN*, arXiv:1907.00503.
# - Stadler, Oprisanu and Troncoso 2022, *Synthetic Data: Anonymisation Groundhog Day*, arXiv:2011.07018:
#   measured, and sobering.
# - Chen et al. 2020, *GAN-Leaks*, arXiv:1909.03935; Yao et al. 2025, *The DCR Delusion*, arXiv:2505.01524.
# - [Taj], [Sharma] and [Poojari 2026]: the titles stand in lesson 00.
