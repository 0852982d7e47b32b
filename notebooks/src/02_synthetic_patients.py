# %% [markdown]
# # 02 · Synthetic patients
#
# *Invented people in a real table: what the invention keeps, and whom it gives away.*
#
# **After this lesson you can**
#
# - build a generative adversarial network (GAN) from two small networks and say what each of them is after,
# - make it collapse on purpose, recognise it by what it leaves out, and mend it,
# - judge a synthetic table by numbers that each stand beside what real rows would get,
# - find patients in a synthetic table that was called anonymous,
# - say precisely what training on synthetic patients protects, and what it does not.
#
# **Time:** 45 minutes for the core; sections marked ◆ are deep and take another 30.
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
# that were made up. Which five? Write down your guess. (Northgate itself is simulated. In this lesson a *real*
# patient is one who stands in a hospital's own table.)

# %%
import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from fedlab_utils import checks, data, federated, fidelity, fleet, plots, synth, widgets
from fedlab_utils.synth import gan

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
# They were made in a tenth of a second by a *Gaussian copula*, a method older than neural networks: it keeps
# each column's values and how every two columns go together, and nothing else. If you were right about more
# than half of them, was it more than luck? So "looks real" is a low bar, and looking at rows is no way to
# judge. Three questions are better, and this lesson answers them in this order: **How is such a table made? How
# good is it? Whom does it give away?**
#
# ## From noise to blood sugar
#
# One column first. Fasting glucose of 2,000 simulated patients: most are healthy, some have a treated diabetes,
# a few an untreated one.

# %%
rng = np.random.default_rng(0)
group = rng.choice(3, 2000, p=[0.60, 0.25, 0.15])  # healthy, treated, untreated
glucose = np.array([5.2, 7.8, 11.0])[group] + np.array([0.3, 0.4, 0.5])[group] * rng.standard_normal(2000)
glucose = glucose.round(1)
mean, spread = glucose.mean(), glucose.std()
real = torch.tensor((glucose - mean) / spread, dtype=torch.float32)[:, None]  # [patients, 1]

# %% [markdown]
# A GAN is a game of two small networks (Goodfellow et al. 2014, arXiv:1406.2661). The **generator** $G$ turns
# random noise $z$ into a value. The **discriminator** $D$ looks at a value and says how likely it is to be
# real. Each learns from the other: $D$ to tell real from made, $G$ to be believed. [Poojari 2026] writes the
# game as its equation (5):
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
# `F.linear` is a matrix product, LeakyReLU bends the line so that a network can curve, Adam is a way to walk
# downhill, `backward` computes the slope. A *logit* is a number that `sigmoid` turns into a probability: 0
# becomes one half.)

# %%
def player(inputs, seed):
    start = fleet.init(1, (inputs, 32, 32, 1), seed=seed)  # as torch would start it
    return [(w[0].requires_grad_(), b[0].requires_grad_()) for w, b in zip(start.weights, start.biases, strict=True)]


def play(layers, x):
    for weight, bias in layers[:-1]:
        x = F.leaky_relu(F.linear(x, weight, bias), 0.2)
    return F.linear(x, *layers[-1])  # a logit for D, a value for G


# %% [markdown]
# One step of the game. `softplus(-D(x))` is $-\log D(x)$ for a network that puts out a logit, and
# `softplus(D(x))` is $-\log(1 - D(x))$. So the first loss is (5) with its sign turned. The second is not: in
# the beginning $D$ is sure that made values are made, and $\log(1 - D)$ is then so flat that $G$ learns
# nothing. The authors of GANs let $G$ maximise $\log D(G(z))$ instead, the *non-saturating* loss. `detach` says
# that $D$'s step leaves $G$ alone.

# %%
def step(G, D, improve_G, improve_D, real, generator, d_steps=1):
    for _ in range(d_steps):
        x = real[torch.randint(len(real), (100,), generator=generator)]
        made = play(G, torch.randn(100, 8, generator=generator)).detach()
        loss_D = F.softplus(-play(D, x)).mean() + F.softplus(play(D, made)).mean()
        improve_D(loss_D)  # one step downhill
    made = play(G, torch.randn(100, 8, generator=generator))
    loss_G = F.softplus(-play(D, made)).mean()  # not log(1 - D): the non-saturating loss
    improve_G(loss_G)
    return loss_G.item(), loss_D.item()


# %% [markdown]
# And the game: so many steps, with an optimiser (Adam) for each player.

# %%
def learner(layers, lr):
    tensors = [tensor for layer in layers for tensor in layer]
    adam = torch.optim.Adam(tensors, lr=lr, betas=(0.5, 0.9), fused=True)

    def improve(loss):
        adam.zero_grad()
        loss.backward(inputs=tensors)
        adam.step()

    return improve


@fleet.one_thread()  # matrices this small are faster on one core
def game(steps, lr_G=0.0005, lr_D=0.0005, d_steps=1, seed=0, watch=None):
    G, D = player(8, seed), player(1, seed + 1)
    improve, g, losses = (learner(G, lr_G), learner(D, lr_D)), torch.Generator().manual_seed(seed), []
    for number in range(1, steps + 1):
        losses.append(step(G, D, *improve, real, g, d_steps))
        if watch and number % watch[0] == 0:
            watch[1](G, D, np.array(losses))
    return G, D, np.array(losses)


# %% [markdown]
# Let them play, and look at three things: what $G$ makes, what $D$ believes, and the two losses.

# %%
def look(G, D, losses):
    with torch.no_grad():
        made = play(G, torch.randn(2000, 8, generator=torch.Generator().manual_seed(1)))[:, 0]
        grid = torch.linspace(-2, 3.5, 200)[:, None]
        belief = (grid[:, 0].numpy() * spread + mean, torch.sigmoid(play(D, grid))[:, 0].numpy())
    made = made.numpy() * spread + mean
    return plots.game(glucose, made, belief, losses, "fasting glucose (mmol/l)"), made


def shares(values):
    return np.histogram(values, [-np.inf, 6.5, 9.4, np.inf])[0] / len(values)


picture, made = look(*game(steps=800))
print("healthy, treated, untreated: real", shares(glucose).round(2), " made", shares(made).round(2))
plots.show(
    picture,
    alt="Left: made glucose values have a clear peak where the healthy are and a long smear over the other two groups; the "
    "discriminator's curve stays near one half. Right: both losses stay near their dashed lines.",
)

# %% [markdown]
# From noise, and without ever seeing a patient (it only sees how $D$ reacts), $G$ makes healthy and ill
# patients in about the right numbers. It is rough: the two smaller groups are smeared, and some values lie
# where nobody is; but no group is missing. $D$'s curve stays close to one half where there are patients: there
# it has to guess, as your formula says it must when $p_{made} = p_{real}$. The losses lie near the dashed
# lines, $\log 2$ and $\log 4$, which is what players get who cannot tell. Remember these lines.
#
# ## Mode collapse, on purpose
#
# Now we make the players unequal: the discriminator learns ten times more slowly than the generator.

# %%
G, D, losses = game(steps=400, lr_G=0.005, lr_D=0.0005, seed=1)
picture, made = look(G, D, losses)
print("healthy, treated, untreated: real", shares(glucose).round(2), " made", shares(made).round(2))
plots.show(
    picture,
    alt="Left: all made values stand in one narrow peak; the other groups are missing, and the "
    "discriminator's curve is nearly flat. Right: the losses end near the same dashed lines as before.",
)

# %% [markdown]
# Whole groups of patients are gone. The generator asks one question only: *which value does $D$ believe most,
# right now?* If $D$ reacts slowly, the best answer is to make that one value for everybody. The blue curve is
# nearly flat, and that is enough: the whole heap follows it to whichever side it rises, until $D$ has caught on
# and rises elsewhere. This is **mode collapse**.
#
# Now look at the losses: at the end they lie near the dashed lines, as in the good run. **The losses do not
# tell you.** $\log 4$ means "nobody can tell" only if $D$ is the *best* discriminator, the one of your formula.
# This $D$ is far behind, and its loss says how evenly matched the players are, not how good the values are.
#
# Is it bad luck? The package trains many GANs side by side, so we may ask how often. The same game, eight
# times, and the first six as pictures:

# %%
column = pd.DataFrame({"glucose": glucose})
slow = dict(method="gan", transform="linear", hidden=(32, 32), steps=300, lr=0.005, critic_lr=0.0005)
collapsed = synth.fit(column, n_models=8, **slow)
made = {f"seed {k}": collapsed.sample(1000, model=k)["glucose"].to_numpy() for k in range(6)}
plots.show(
    plots.made_values(glucose, made, "fasting glucose (mmol/l)"),
    alt="Six small histograms, one for each seed: made values are heaped in one place, which differs from seed to seed: on "
    "one group, between two groups, or at the edge. Most leave out whole groups.",
)

# %% [markdown]
# Where the heap stands is luck. (A spike at the very edge is a generator that left the range; the package moves
# its values back to the nearest real bound.) In our own run above everybody is healthy, with values between
# about 5 and 6; [Poojari 2026] describes such a picture in the text to its Figure 13: values from 4.5 to 6.0,
# "low diversity". In a hospital this has a meaning: **a collapsed generator invents a world without the sick**,
# or without the well.
#
# ## Three cures
#
# If the trouble is a judge who is slow and looks at one value at a time, there are three things to try.
#
# 1. **A better judge**: let $D$ take five steps for each step of $G$.
# 2. **A judge who sees several at once**: show $D$ ten values together. Ten equal values give themselves away.
#    This is *packing* (Lin et al. 2018, PacGAN, arXiv:1712.04086).
# 3. **A judge who says how far off**: not "real or made" but a score whose slope is kept near 1, neither steep
#    nor flat. Then even a value far from all patients gets a direction. This is the Wasserstein GAN, its judge
#    is called a *critic*, and the rule for the slope is a *gradient penalty* (Gulrajani et al. 2017,
#    arXiv:1704.00028, equation 3):
#
# $$L_D = E[D(G(z))] - E[D(x)] + \lambda \, E\big[(\lVert \nabla D(\hat x) \rVert - 1)^2\big],
# \qquad \hat x \text{ drawn evenly between a real and a made value}$$

# %%
def critic_loss(D, x, made, between, penalty):
    x_hat = (x + between * (made - x)).requires_grad_()
    (gradient,) = torch.autograd.grad(play(D, x_hat).sum(), x_hat, create_graph=True)
    steep = (gradient.norm(dim=1) - 1).square().mean()
    return play(D, made).mean() - play(D, x).mean() + penalty * steep


# %% [markdown]
# The package needs the slope thousands of times, for many models at once, and so computes it by a formula
# instead of a second run of autograd. Is it the same loss?

# %%
def as_fleet(layers):
    return fleet.Params([weight[None] for weight, _ in layers], [bias[None] for _, bias in layers])


D, g = player(1, seed=5), torch.Generator().manual_seed(0)
x, made, between = real[:64], torch.randn(64, 1, generator=g), torch.rand(64, 1, generator=g)
slope = gan.slope(as_fleet(D), (x + between * (made - x))[None])[0]
by_formula = play(D, made).mean() - play(D, x).mean() + 10 * (slope.norm(dim=1) - 1).square().mean()
print(f"by autograd against the package's formula: {abs(critic_loss(D, x, made, between, 10) - by_formula):.0e}")

# %% [markdown]
# Now the cures, six seeds each. A group counts as lost if fewer than 2% of the made patients are in it (the
# smallest real one has 15%); the error is the largest of the three differences from the real shares.

# %%
settings = {
    "quick judge": slow | {"critic_lr": 0.005},
    "five looks": slow | {"critic_steps": 5, "steps": 200},
    "ten at once": slow | {"pack": 10, "batch_size": 25},
    "quick, and a score": slow | {"method": "wgan_gp", "critic_lr": 0.005, "penalty": 0.1},
}
judges = {"slow judge": collapsed} | {n: synth.fit(column, n_models=6, **s) for n, s in settings.items()}
rows = []
for name, fitted in judges.items():
    found = np.array([shares(fitted.sample(1000, model=k)["glucose"]) for k in range(6)])
    lost, error = (found < 0.02).any(1), np.abs(found - shares(glucose)).max(1)
    rows.append((name, f"{lost.sum()} of 6", f"{error.mean():.2f} ± {error.std():.2f}"))
display(pd.DataFrame(rows, columns=["judge", "lost a group", "error of the shares"]).set_index("judge"))

# %% [markdown]
# Look at the second column first: a quick judge alone already keeps the groups, and packing keeps them even
# with a slow judge. The third column is stricter: there the score is best, compared with a judge just as quick.
# ($\lambda$ is small here, .1, as one column spans only a few units; the paper's 10 is the default for tables.)
# From here on we use it, `wgan_gp`, and the package averages the generator's weights over its last steps, which
# calms the jitter. **What to take along:** a collapse is seen in what is *missing*, so count groups.
#
# ## Live lab: play the game
#
# The game from above, drawn while it is played. Things to try:
#
# 1. Judge at .0005, generator at .005: watch the heap *wander* from group to group.
# 2. Now give the judge five looks for each step. What happens to the curve of $D$?
# 3. Both at .02, with several seeds. Who is sick in this world, and how do the losses look?

# %%
def the_game(show, lr_G, lr_D, d_steps, steps, seed):
    def draw(G, D, losses, done=None):
        picture, made = look(G, D, losses)
        groups = "{:.0%} healthy, {:.0%} treated and {:.0%} untreated patients".format(*shares(made))
        sentence = f"After {len(losses):,} steps the generator makes {groups}; real are 60%, 25% and 15%."
        show(picture, sentence, alt=f"Made values over real ones, and losses. {sentence}", done=done)

    def now_and_then(G, D, losses):
        draw(G, D, losses, done=len(losses) / steps)

    setting = dict(lr_G=lr_G, lr_D=lr_D, d_steps=d_steps, seed=seed)
    draw(*game(steps, watch=(max(steps // 12, 10), now_and_then), **setting))


# %% [markdown]
# And its controls:

# %%
widgets.lab(
    the_game,
    title="The game of two networks, live",
    lr_G=widgets.slider(0.0001, 0.02, 0.001, log=True, label="Generator's learning rate"),
    lr_D=widgets.slider(0.0001, 0.02, 0.001, log=True, label="Judge's learning rate"),
    d_steps=widgets.slider(1, 5, 1, label="Judge's looks for each step"),
    steps=widgets.slider(200, 2000, 400, step=200, label="Steps"),
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
#   sees at a glance what is made. A hard choice has no gradient, so the step back uses a soft one
#   (Gumbel-softmax, Jang et al. 2017, arXiv:1611.01144).
# - **Gaps** are values too: "missing" is one of the things that can be made.
#
# What does that look like for one patient?

# %%
fitted = synth.fit(northgate.train, method="copula", schema=federation.schema)  # any method has the same encoder
numbers = fitted.encoder.encode(northgate.train[:1], seed=0)
back = fitted.encoder.decode(numbers)
display(pd.concat([northgate.train[:1], back]).set_axis(["as it is", "there and back"]).T)
print(f"{northgate.train.shape[1]} columns became {numbers.shape[1]} numbers:", numbers[0].round(2))

# %% [markdown]
# The row survives the way there and back. Some of what that takes is public (a data card says which categories
# and bounds there are); the rest was learnt from the patients. The synthesizer keeps a list of it, because a
# *private* generator will have to pay for every line (lesson 04):

# %%
display(fitted.learnt.groupby("what", sort=False)["column"].agg(", ".join).to_frame("learnt from the patients for"))

# %% [markdown]
# Now the generators. `label` is the column that they are *told* instead of making it, so that one can ask for
# patients with the outcome. Each of the five hospitals trains one on its own patients; the package trains all
# five side by side, which takes a few seconds. We look at Northgate's.

# %%
TARGET = federation.target  # cvd_event: a heart attack, stroke or the like within ten years
settings = dict(schema=federation.schema, label=TARGET)
started = time.perf_counter()
generators = synth.fit({h.name: h.train for h in federation.hospitals}, steps=600, hidden=(64, 64), **settings)
seconds = time.perf_counter() - started
made = generators["Northgate"].sample(len(northgate.train))
display(generators["Northgate"].sample(3, where={TARGET: 1}))
names = ["age", "systolic_bp", "hdl", "smoker"]
plots.show(
    plots.columns(northgate.train, made, names, ["age (years)", "systolic (mmHg)", "HDL (mg/dl)", "smoker"]),
    alt="Histograms of age, systolic blood pressure and HDL, bars for smoking: made values follow the real ones.",
)

# %% [markdown]
# Column by column the invented patients look like the real ones; [Poojari 2026] shows such a pair of histograms
# in its Figure 16 and concludes that the data are "appropriate to be trained" on. Does that follow? Here is a
# generator that draws every column by itself, without any regard to the others. Its histograms are perfect.

# %%
unconnected = synth.fit(northgate.train, method="independent", schema=federation.schema)
scrambled = unconnected.sample(len(northgate.train))
for name, table in (("real", northgate.train), ("GAN", made), ("column by column", scrambled)):
    risk = table.groupby(pd.cut(table["age"], [29, 45, 60, 75]))[TARGET].mean()
    auc = fidelity.utility(table, northgate.test, target=TARGET)
    by_age = ", ".join(f"{interval.left + 1:.0f} to {interval.right:.0f}: {v:.0%}" for interval, v in risk.items())
    print(f"{name:17} fell ill, by age: {by_age:43}  AUC of a model trained on it: {auc:.3f}")

# %% [markdown]
# The GAN keeps what matters, that risk rises with age, if not its exact size. In the scrambled table the young
# fall ill as often as the old. A risk model trained on it knows nothing: its AUC is an accident, below .5 as
# easily as above. **Histograms cannot see what connects the columns**, and that is all a model learns from. The
# last number is the one that counts for a learner: *train on synthetic, test on real* (Esteban et al. 2017,
# arXiv:1706.02633).
#
# ## A report with a second column
#
# Is .03 a good distance between two histograms? Nobody knows by heart. But two samples of *real* patients
# differ too, by chance, and that is what perfect looks like. So each measure in the report comes with its
# **reference**: the same measure with real rows in the place of the synthetic ones. And both are compared with
# patients that the generator never saw.

# %%
report = fidelity.report(northgate.train, made, target=TARGET, holdout=northgate.test)
display(report.set_index("measure")[["value", "reference", "better"]].round(3))

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
# The last two lines, copies and nearest record, belong to a section of their own. Beside other ways to make a
# table:

# %%
others = {"copula": "copula", "column by column": "independent"}
reports = {"GAN": report}
for name, method in others.items():
    table = synth.fit(northgate.train, method=method, schema=federation.schema).sample(len(made))
    reports[name] = fidelity.report(northgate.train, table, target=TARGET, holdout=northgate.test)
shown = ["KS, mean", "dependence, mean", "two-sample AUC", "recall"]
shown[3:3] = ["train on synthetic, linear", "train on synthetic, trees"]
plots.show(
    plots.fidelity(reports, shown),
    alt="One line a measure, a bar where real rows stand, and a mark for GAN, copula and column by column. Column by "
    "column fits the histograms and fails in everything that connects columns.",
)

# %% [markdown]
# The bars are real rows. In the first line, histograms, all three are about as good as real rows. Wherever
# columns have to fit together, drawing column by column falls far behind. The copula costs nothing and does
# well for a linear model; the trees, which look for more than pairs, see what it lacks. Recall hardly separates
# them: nobody here has lost a whole group. (Differences of a hundredth mean nothing: the reference is one
# sample of real rows too.)

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
    everyone, target = data_set.pooled(), data_set.target
    first = data_set.schema.numeric[0]
    ceiling = fidelity.utility(everyone.train, everyone.test, target=target)
    curve = []

    def look(so_far):
        rows = so_far.sample(min(len(everyone.train), 2000))
        done = len(so_far.losses) / steps
        curve.append((len(so_far.losses), fidelity.utility(rows, everyone.test, target=target)))
        table = pd.DataFrame(curve, columns=["step", "score"])
        sentence = (
            f"After {curve[-1][0]:,} steps, training on invented patients gives {curve[-1][1]:.3f}; training on real "
            f"ones gives {ceiling:.3f} on the same {len(everyone.test):,} unseen patients."
        )
        picture = plots.worth(everyone.train, rows, first, table, ceiling)
        show(picture, sentence, alt=f"Made values over real ones, and the score by steps. {sentence}", done=done)

    label = None if data_set.task == "regression" else target
    setting = dict(schema=data_set.schema, label=label, steps=steps, hidden=(width, width), lr=lr, pack=pack)
    synth.fit(everyone.train, critic_steps=critic_steps, every=steps // 8, on_step=look, **setting)


# %% [markdown] tags=["deep"]
# And its controls:

# %% tags=["deep"]
widgets.lab(
    training_generator,
    title="A generator, live",
    data_set=widgets.data_choice(data.load, data.names(), own, make='data.from_frame(table, target="outcome")'),
    steps=widgets.slider(100, 2000, 200, step=100, label="Steps"),
    width=widgets.slider(8, 128, 64, log=True, label="Hidden units"),
    critic_steps=widgets.slider(1, 3, 2, label="Critic steps"),
    lr=widgets.slider(0.0001, 0.005, 0.0005, log=True, label="Learning rate"),
    pack=widgets.slider(1, 10, 1, label="Packed rows"),
)

# %% [markdown]
# ## The photocopier's report
#
# A company offers a generator and proves its quality. "We train a model on our synthetic patients and test it
# on *your* patients." This is their code, with boosted trees; it gives our GAN a mark:

# %%
def score(fit_on, test_on):
    return fidelity.utility(fit_on, test_on, target=TARGET, family="trees")  # an AUC


def company_score(train, synthetic, unseen):
    return score(synthetic, train)


print(f"our GAN, by the company's mark: {company_score(northgate.train, made, northgate.test):.3f}")

# %% [markdown]
# Before you believe a measure, feed it something whose mark you know. The worst generator for privacy is a
# **photocopier**: it hands out the training patients themselves.

# %%
from sklearn.metrics import roc_auc_score

photocopies = northgate.train
ceiling = roc_auc_score(northgate.test[TARGET], northgate.true_risk)
print(f"the photocopier:                {company_score(northgate.train, photocopies, northgate.test):.3f}")
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
# The company tested on the patients that its generator was trained on. Whoever remembers them wins, so the
# report pays for the very thing that a hospital must avoid. `fidelity.report` refuses such a comparison, and on
# unseen patients both marks are what they should be:

# %%
try:
    fidelity.report(northgate.train, made, target=TARGET, holdout=northgate.train)
except ValueError as reason:
    print(reason)
for name, table in (("our GAN", made), ("the photocopier", photocopies)):
    print(f"{name:15} judged by unseen patients: {score(table, northgate.test):.3f}")

# %% [markdown]
# (A hundredth or two between the two is the luck of one table.) Even with the honest mark the photocopier is as
# good as real patients: it *is* real patients. **No measure of quality is a measure of privacy.** So we have to
# look for the patients themselves.
#
# ## Break it: find the patients
#
# A register of a rare disease has 40 patients. Somebody trains the plain GAN from above on it, long and hard,
# and publishes invented ones. How would you look for copies?
#
# <div class="alert alert-info"><b>Your turn ★★</b> Rows are patients, columns are numbers in one unit. A synthetic row is a
# copy if some real patient is within <code>tolerance</code> of it in <i>every</i> column. Return the share of
# synthetic rows that are copies.</div>

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
# same categories and nearly the same numbers. Two generators for the register: the plain GAN, and the mended
# one.

# %%
register = northgate.train.sample(40, random_state=1).reset_index(drop=True)
plain = synth.fit(register, schema=federation.schema, method="gan", lr=0.002, steps=1200)
mended = synth.fit(register, schema=federation.schema, lr=0.002, critic_lr=0.004, penalty=1, steps=700)


def gap(rows, patients, p=float("inf"), columns=slice(None)):
    return torch.cdist(*(federation.transform(some)[:, columns] for some in (rows, patients)), p=p)


for name, fitted in (("plain GAN", plain), ("mended GAN", mended)):
    rows, found = fitted.sample(1000), []
    for people in (register, northgate.test.sample(40, random_state=1)):
        found.append((gap(rows, people).amin(1) < 0.25).float().mean().item())
    print(f"{name:10} copies of the register's 40: {found[0]:5.1%}   of 40 strangers: {found[1]:.1%}")

# %% [markdown]
# The plain GAN copies people of the register and no strangers; the mended one hardly copies anybody. Here is
# the closest copy, side by side with the patient:

# %%
rows = plain.sample(1000)
distance = gap(rows, register)
row, patient = np.unravel_index(int(distance.argmin()), distance.shape)
display(pd.DataFrame({"patient": register.iloc[patient], "published": rows.iloc[row]}).T)

# %% [markdown]
# That is a patient's record with hardly a digit changed, in a table that was called synthetic. Nobody told $G$
# to remember: hitting a real patient is the surest way to be believed.
#
# And the mended GAN, is it safe? The attacker has a record in hand and asks: *was this
# patient in the register?* (For a register of a rare disease, the answer is the diagnosis.) Their simplest
# test: members should lie closer to the published rows than others do.

# %%
from scipy.stats import binomtest


def membership_test(members, others, table, columns=slice(None)):
    closeness = [-gap(people, table, 2, columns).amin(1).numpy() for people in (members, others)]
    truth = np.repeat([1, 0], [len(members), len(others)])
    alarm = np.quantile(closeness[1], 0.99)  # 1% of the others would be accused
    caught = int((closeness[0] > alarm).sum())
    return roc_auc_score(truth, np.concatenate(closeness)), caught, closeness


for name, fitted in (("plain GAN", plain), ("mended GAN", mended)):
    auc, caught, closeness = membership_test(register, northgate.test, fitted.sample(2000))
    low, high = binomtest(caught, len(register)).proportion_ci()
    caught = f"{caught / len(register):.0%} are caught (95% interval {low:.0%} to {high:.0%})"
    print(f"{name:10} AUC {auc:.2f}; at 1% false alarms {caught}")
plots.show(
    plots.distances(-closeness[0], -closeness[1], "distance to the closest published row (standard deviations)"),
    alt="Histograms of the distance to the closest published row: patients of the register lie closer to "
    "the rows of the mended GAN than other patients do.",
)

# %% [markdown]
# **Hardly a copy, and still members lie closer**: the mended GAN's AUC is far from the .5 of a coin. (The
# second number is rough with 40 members: read its interval before you compare it with the 1% of a guess.)
# Compare the two lines of this run. The plain GAN gives some patients away outright and says little about the
# rest, so its AUC stays close to a coin's. The mended one says a little about many of them. Which of the two is
# worse? Lesson 06 takes this up, with attacks that are far stronger than this simple one.
#
# ### "Far from every patient" proves nothing
#
# Many reports show the distance to the closest record and call it privacy. Here is a table that keeps a
# generous distance from everybody:

# %%
secret = {"systolic_bp": 40, "total_cholesterol": 80, "hdl": 30}
disguised = northgate.train.assign(**{c: northgate.train[c] + shift for c, shift in secret.items()})
usual = gap(northgate.test, northgate.train, p=2).amin(1).median()  # of patients that nobody trained on
closest = gap(disguised, northgate.train, p=2).amin(1)
print(f"median distance to the closest training row: {closest.median() / usual:.1f} times that of unseen patients")
print(f"copies: {(closest < 0.01).sum()} of {len(disguised):,}")

# %% [markdown]
# No copies, and further away than patients that the table never saw. It is Northgate's
# training table with a constant added to three columns. Whoever compares three averages with a textbook takes
# them off again and has everybody. (Its histograms would look odd. Its distances do not.) A distance
# can raise an alarm; it can never give the all-clear (Yao et al. 2025, arXiv:2505.01524).
#
# ## The pipeline: original, synthetic, federated
#
# [Taj] proposes three steps: take the original data, turn them into artificial data, and use those in federated
# learning; "in this way data privacy is maintained". We build it, from end to end. Each hospital has its own
# generator, trained on its own patients (above). Its invented patients now take the place of the real ones.

# %%
published = {h.name: generators[h.name].sample(len(h.train)) for h in federation.hospitals}
artificial = federation.replace_train(published)

# %% [markdown]
# The test patients stay real. Does the federated model work?

# %%
work = dict(rounds=20, local_steps=20, batch_size=64, lr=0.2, hidden=(32,), seeds=5)
runs = {"together, real": federation, "together, invented": artificial}
table = [federated.train(f, **work).final.assign(setting=n) for n, f in runs.items()]
alone = federated.baselines(federation, **work).query("baseline == 'local-only'")
table = pd.concat([*table, alone.assign(setting="alone, real")], ignore_index=True)
auc = table.pivot_table(index="hospital", columns="setting", values="auc")
loss = (auc["together, real"] - auc["together, invented"]).drop("all")
better = (auc["together, invented"] > auc["alone, real"]).drop("all")
print(f"price of invention: {loss.min():.3f} to {loss.max():.3f} AUC, most in {loss.idxmax()}")
print(f"together with invented patients beats alone with real ones in {better.sum()} of {len(better)} hospitals")
plots.show(
    plots.by_hospital(table, ["together, real", "together, invented", "alone, real"]),
    alt="AUC on each hospital's own test patients: federated on real patients, federated on invented patients, and each "
    "hospital alone with its real patients. Invented ones are a few hundredths lower than real ones.",
)

# %% [markdown]
# It runs, and a federated model comes out. Whether it is *worth it* is the second line: a hospital has
# something better than invented patients, its own real ones, and may use them at home. (Generators that train
# longer invent better patients. Raise `steps` above and see how far the line moves.) (± here is over the seeds
# of the federated training; other generators would differ more.)
#
# Now the attack. For each hospital: can the membership test tell its training patients from its test patients,
# with the invented table in hand? Beside it the same attack on a generator that we know to leak, row
# interpolation, which moves each patient a little towards a similar one: a **positive control**. And the
# register from above.

# %%
def interval(members, others, table):
    auc, _, (a, b) = membership_test(members, others, table)
    beaten = [np.searchsorted(np.sort(b), a, side).astype(float) / len(b) for side in ("left", "right")]
    beats = [np.searchsorted(np.sort(a), b, side).astype(float) / len(a) for side in ("left", "right")]
    spread = np.mean(beaten, 0).var(ddof=1) / len(a) + np.mean(beats, 0).var(ddof=1) / len(b)
    return auc, 1.96 * spread**0.5


cohorts = {f"{h.name} ({len(h.train):,})": (h.train, h.test, published[h.name]) for h in federation.hospitals}
cohorts["register (40)"] = (register, northgate.test, mended.sample(2000))
attacks, control = {}, {}
for name, (members, others, rows) in cohorts.items():
    copycat = synth.fit(members, method="interpolate", schema=federation.schema).sample(len(rows))
    attacks[name], control[name] = interval(members, others, rows), interval(members, others, copycat)
    auc, half = attacks[name]
    print(f"{name:18} AUC {auc:.3f} ± {half:.3f}: {'not resolved' if abs(auc - 0.5) < half else 'a leak'}")
panels = {"invented by GANs": attacks, "positive control: interpolation": control}
plots.show(
    plots.intervals(panels, truth=dict.fromkeys(panels, 0.5), xlabel="AUC (.5 is a coin)"),
    alt="AUC of the membership test with 95% intervals, by hospital and for the register. GANs: near one half for the "
    "hospitals, far above it for the register. Interpolation: far above one half everywhere.",
)

# %% [markdown]
# (The interval is DeLong's, doi:10.2307/2531595: how much the AUC would vary with other patients and the same
# table.) Read the right side first: the attack works where much is to be found. On the left, where it says *not
# resolved*, **that is all we may say**. It is no proof that nothing leaks. How much could hide there? Let one
# in fifty rows be a photocopy:

# %%
spiked = published["Northgate"].copy()
spiked[::50] = northgate.train[::50].to_numpy()
auc, half = interval(northgate.train, northgate.test, spiked)
print(f"{len(spiked[::50])} photocopied patients among {len(spiked):,} rows: AUC {auc:.3f} ± {half:.3f}")

# %% [markdown]
# Dozens of patients lie there for everybody to read, and the AUC hardly moves. An average over all patients
# does not see those few who are given away; lesson 06 will look at exactly them.
#
# ### What the pipeline protects, precisely
#
# | | |
# | --- | --- |
# | **It does protect** | the real rows from everything that happens *after* the generator. Updates, models, and whoever reads them see functions of the invented table only. The attack of lesson 03 would read an *invented* patient out of an update. |
# | **It does not protect** | the real rows from the generator. The invented table is a function of the patients with no bound on what one of them changes, so there is no guarantee (lesson 04 brings such a bound). Whatever it gives away, every later step may give away too. |
# | **It is weakest for** | small hospitals, rare diagnoses, unusual patients, long training. |
# | **Two reasons in [Taj]** | "anything transferred from one place to another can be leaked in the way": encryption in transit solves that, synthetic rows do not. And "in federated learning also there the chances to get leaked the original data": true (lesson 03 reads a patient out of an update), and this is where the pipeline helps. |
#
# So "synthetic" is a way to *make* a table, not a promise. The promise needs a bound on what one patient can
# change, which is lesson 04.

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: three claims about synthetic patients
#
# **[Poojari 2026], Figure 13**: made values lie in "a specific range of values (4.5 to 6.0), that implies that
# there is low diversity". Does a range imply a collapse? The same made values, beside two hospitals:

# %% tags=["deep"]
values = np.random.default_rng(1).normal(5.2, 0.3, 1000).clip(4.5, 6.0)  # made: everything from 4.5 to 6.0
hospitals = {"a general hospital": glucose, "a screening clinic for the healthy": glucose[group == 0]}
for name, patients in hospitals.items():
    there = np.abs(patients[:, None] - values).min(1) < 0.1  # is there a made value close by?
    print(f"{name:35} {there.mean():.0%} of its patients have a made value close by")

# %% [markdown] tags=["deep"]
# For the first it is a collapse, for the second it is perfect. **What holds:** a narrow range *can* be a
# collapse, and training should then be mended. **What is missing:** the real values beside the made ones.
# Diversity is always diversity compared with something.
#
# **The same, Figure 16**: real and synthetic histograms are similar, so the data are "appropriate to be
# trained", and this "protects sensitive patient information". We have three tables with good histograms:

# %% tags=["deep"]
copier = fidelity.report(northgate.train, photocopies, target=TARGET, holdout=northgate.test)
three = {"GAN": report, "column by column": reports["column by column"], "photocopier": copier}
measures = ["KS, mean", "total variation, mean", "train on synthetic, linear", "copied rows"]
values = {name: table.set_index("measure")["value"] for name, table in three.items()}
display(pd.DataFrame(values).loc[measures].round(3))

# %% [markdown] tags=["deep"]
# All three have histograms close to those of real patients. One of them cannot be trained on, and one consists
# of patients. **What holds:** the paper says that the shapes are similar and not the same, and so they may well
# be. **What does not follow:** that one can train on such data, or that anybody is protected. Neither can be
# seen in a histogram.
#
# **[Sharma]** adds noise to the generator's gradients and trains it federated, reports "high fidelity", and
# that "membership inference attacks were unable to determine whether specific patients were present", without
# naming a data set, a number, an epsilon or how the attack was done. Whether its noise protects cannot be
# judged without these (lesson 04). But "unable" is also a statement about the attacker. Here are two of them,
# on the same published table, the register's:

# %% tags=["deep"]
rows = mended.sample(2000)
for name, seen in (("ages", [federation.feature_names.index("age")]), ("all columns", slice(None))):
    auc, _, _ = membership_test(register, northgate.test, rows, seen)
    print(f"an attacker who compares {name:12} AUC {auc:.2f}")

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
# training and test rows in three ways, and a generator trains on each split: three GANs side by side.

# %% tags=["deep"]
def several_splits(name):
    splits = data.replicates(name, 3)
    target, pools = splits[0].target, {f"split {k}": one.pooled() for k, one in enumerate(splits)}
    small = dict(schema=splits[0].schema, label=target, steps=400, hidden=(64, 64))
    fitted = synth.fit({k: pool.train for k, pool in pools.items()}, **small)
    both = {"real": [], "synthetic": []}
    for k, pool in pools.items():
        both["real"].append(fidelity.utility(pool.train, pool.test, target=target))
        both["synthetic"].append(fidelity.utility(fitted[k].sample(len(pool.train)), pool.test, target=target))
    return pd.DataFrame(both), len(pool.train), len(pool.test)


# %% [markdown] tags=["deep"]
# For each table: the AUC of a linear model on the test rows, and the loss split by split (± is the standard
# deviation over the three).

# %% tags=["deep"]
for name in ("heart_disease", "diabetes"):
    try:
        found, n_train, n_test = several_splits(name)
    except OSError as reason:
        print(f"{reason} This table is skipped.")
        continue
    loss = found["real"] - found["synthetic"]
    score = f"real {found['real'].mean():.3f} ± {found['real'].std():.3f}, loss {loss.mean():+.3f} ± {loss.std():.3f}"
    print(f"{name} ({n_train} training, {n_test} test rows): {score}, from {loss.min():+.3f} to {loss.max():+.3f}")

# %% [markdown] tags=["deep"]
# Look at the range of the loss: from one split alone one could report the smallest or the largest of them, in
# good faith. **With a few hundred patients, a synthetic table is a draw from a lottery, and so is its
# evaluation**: report several splits, with their spread.

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# CTGAN (Xu et al. 2019, arXiv:1907.00503) is the tabular GAN that most people use. Its library is optional here
# (`pip install --no-deps ctgan rdt faker`). If it is installed, the next cell trains it on the same rows for
# 300 epochs, its default; that takes a minute or two. `python course.py bench` compares both on a larger table,
# with TVAE as a third. (Read the two-sample AUC with care: CTGAN takes no missing values, so its rows have no
# gaps, and a trained eye sees that.)

# %% tags=["deep"]
try:
    from ctgan import CTGAN
except ImportError:
    CTGAN = None
    print("ctgan is not installed; this comparison is skipped.")

# %% tags=["deep"]
if CTGAN is not None:
    started, complete = time.perf_counter(), northgate.train.dropna()  # it does not take missing values
    with fleet.one_thread():
        theirs = CTGAN(epochs=300)
        theirs.set_random_state(0)
        theirs.fit(complete, [c for c in complete if c not in federation.schema.numeric])
    took, rows = time.perf_counter() - started, theirs.sample(len(northgate.train))
    rows = rows.round({"systolic_bp": 0, "total_cholesterol": 0, "hdl": 0, "bmi": 1})  # ours does this by itself
    reports["CTGAN"] = fidelity.report(northgate.train, rows, target=TARGET, holdout=northgate.test)
    picture = plots.fidelity({n: reports[n] for n in ("GAN", "CTGAN", "copula")}, shown)
    print(f"CTGAN took {took:.0f} s for one hospital; ours took {seconds:.0f} s for all five, side by side.")
    display(plots.show(picture, alt="One line a measure: real rows, our GAN, CTGAN and the copula."))

# %% [markdown]
# ## Recap
#
# 1. A GAN is two networks in a game. The losses of that game say how even it is, not how good the patients are.
# 2. Mode collapse is seen in what is missing: count the groups. A judge that is quick, sees several rows, or
#    scores smoothly cures it.
# 3. Histograms cannot see what connects the columns. Judge by measures with a reference, on patients that the
#    generator never saw.
# 4. Quality is not privacy: a photocopier has the best quality. "No copies" and "far from everybody" are no
#    proofs either.
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
# - Taj, *Generative AI and Federated Learning for Privacy Preservance in Healthcare*; Sharma,
#   *Privacy-Preserving Generative AI for Secure Healthcare Synthetic Data Generation*; Poojari 2026,
#   *Privacy-Preserving Generative AI in Healthcare Systems Using Federated Learning Approaches*.
