# %% [markdown]
# # 09 · Reading patients out of updates
#
# *What a server can work out from one step of training, where that ends, and what ends it.*
#
# **After this lesson you can**
#
# - say what a neuron tells about a batch, and read patients out of it with two subtractions,
# - search for patients where algebra ends, and judge whether anything was found,
# - find out that somebody's "reconstruction" is none,
# - attack three defences, and say which of them gives a promise.
#
# **Time:** 45 minutes for the core; sections marked ◆ are deep and take another 10. **You need:** NumPy-level
# Python, and the cores of lessons 03 and 04.

# %%
from IPython import get_ipython

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

# %% [markdown]
# ## Eight cards
#
# A hospital takes one step of training on eight patients and sends what changed, as in lesson 03. No row leaves the
# house. Below, the server turns that update back into patients. Every card starts empty, and is filled with what
# was read if a patient was read *whole*. Before you move the slider: how many patients in a step are safe?

# %%
import numpy as np
import pandas as pd
import torch

from fedlab_utils import attacks, checks, data, fleet, plots, widgets

federation = data.load("hospital_network")
pool, names = federation.pooled(), federation.feature_names


@fleet.one_thread()
def one_step(n, width=32, batches=20, seed=0, pool=pool):
    """Networks, the gradients that a server sees, and the patients: all of many batches at once."""
    rows = np.random.default_rng(seed).permutation(len(pool.X_train))[: batches * n]
    X, y = (t[rows].reshape(batches, n, -1) for t in (pool.X_train, pool.y_train))
    nets = fleet.init(batches, (X.shape[2], width, 1), seed=seed)
    weight = torch.full((batches, n), 1 / n)
    return nets, fleet.gradients(nets, X, y, weight, loss="binary"), X, y


# %% [markdown]
# The update divided by minus the learning rate *is* the mean gradient of the batch, so that is what we hand to the
# reader.


# %%
def fill_cards(show, patients):
    net, update, X, y = one_step(patients, batches=1, seed=3)
    guesses = attacks.read_batch(net, update, federation, n_rows=patients).rows
    gap = torch.cdist(X[0], guesses)  # [patients, guesses]; only we can know this
    seen = [guesses[row.argmin()] if (row < 0.05).any() else None for row in gap]
    read, wrong = sum(one is not None for one in seen), int((gap > 0.05).all(0).sum())
    said = f"{read} of {patients} patients read whole; {wrong} further guesses are wrong."
    show(plots.cards(federation, seen[:8]), said, alt=f"Cards of patients. {said}")


widgets.lab(
    fill_cards,
    title="One step, seen by the server",
    patients=widgets.slider(1, 40, 8, label="Patients in the step"),
)

# %% [markdown]
# That took milliseconds and no training. In lesson 03 one division read one patient, and from a batch of eight
# only those who were alone in some neuron. Here nearly all of eight are read. How?
#
# ## A neuron is a sum of patients
#
# Our network has one hidden layer of ReLU neurons and one output. Write $s_i$ for predicted risk minus outcome of
# patient $i$, over the size of the batch. The chain rule says what arrives at neuron $j$, which hands on its
# output with weight $w_j$:
#
# $$\frac{\partial L}{\partial W_j} = w_j \sum_{i\,:\,j\text{ fired for }i} s_i\, x_i \qquad
# \frac{\partial L}{\partial b_j} = w_j \sum_{i\,:\,j\text{ fired for }i} s_i$$
#
# The server sent the network, so it knows $w_j$, and divides by it. What is left is a **sum over those patients
# for whom the neuron fired**. Eight patients, 32 neurons:

# %%
nets, updates, X, y = one_step(8)
net, update = nets[[0]], updates[[0]]  # the first of twenty batches
w = net.weights[1][0, 0]  # [32]: from each neuron to the output
sums = update.weights[0][0] / w[:, None]  # [32, 11]: sum of s x
counts = update.biases[0][0] / w  # [32]: sum of s, of the same patients

# %% [markdown]
# The server cannot see *who* is in a sum. We can; here are some of the stacks:

# %%
fired = (X[0] @ net.weights[0][0].T + net.biases[0][0] > 0).T  # [neurons, patients]
ahead = fired[:, None] & ~fired[None]  # [neuron, other, patients]: in the one and not in the other
apart = (ahead.sum(2) == 1) & (ahead.sum(2).T == 0)  # one patient more, and none less
by_size = fired.sum(1)[:, None] * apart
j, k = (int(at) for at in divmod(int(by_size.argmax()), len(fired)))
others = [n for n in range(12) if n not in (j, k)][:4]
plots.show(
    plots.who_is_inside(fired, [*others, j, k], (j, k)),
    alt="Stacks of numbered blocks, one for each of six neurons: the patients for whom it fired. "
    "The last two stacks differ by one block, which stands alone on the right.",
)

# %% [markdown]
# The last two neurons hold the same patients but for one. **Subtract, and one patient is left**, multiplied by
# a number $s_i$, which the difference of the counts tells.
#
# <div class="alert alert-info"><b>Your turn ★</b> Write it. You get the gradients of the first layer,
# <code>dW</code> with a row for each neuron and <code>db</code>, the weights <code>w</code> from neurons to the output,
# and the numbers <code>j</code> and <code>k</code> of two neurons that differ by one patient. Return the
# patient.</div>


# %%
def patient_between(dW, db, w, j, k):
    ...


checks.patient_between(patient_between)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>First take the outgoing weight off each of the two neurons, so that both hold
# plain sums. What is left of <code>sums</code> after the subtraction is s times x, and of <code>counts</code>
# s.</details>


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def patient_between_solution(dW, db, w, j, k):
    return (dW[j] / w[j] - dW[k] / w[k]) / (db[j] / w[j] - db[k] / w[k])


checks.patient_between(patient_between_solution)

# %% [markdown]
# A server does not know which pair to take. It takes them all, 496 of 32 neurons, and keeps what *looks like a
# patient*: the columns of categories (sex, smoker, ...) must be 0 or 1. A mixture of patients seldom is.

# %%
coded = [c for c, name in enumerate(names) if name not in federation.agreed.means]


def read_step(net, update, pairs=True, slack=1e-3):
    """Guesses of a server that sees one step, ``[guesses, features]``."""
    w = net.weights[1][0, 0]
    sums, counts = update.weights[0][0] / w[:, None], update.biases[0][0] / w
    if pairs:
        j, k = torch.triu_indices(len(w), len(w), 1)
        sums = torch.cat([sums, sums[j] - sums[k]])
        counts = torch.cat([counts, counts[j] - counts[k]])
    seen = sums[counts.abs() > 1e-6] / counts[counts.abs() > 1e-6, None]
    codes = seen[:, coded]
    seen = seen[(codes - codes.clamp(0, 1).round()).abs().amax(1) < slack]
    return torch.unique(seen.mul(20).round(), dim=0) / 20  # the same patient comes from many pairs


# %% [markdown]
# How many are read? Twenty batches of each size, with pairs, and without as in lesson 03:


# %%
@fleet.one_thread()
def share_read(n, width, pairs):
    """Of twenty batches: the share read whole, and how many guesses were right, and made."""
    nets, updates, X, _ = one_step(n, width)
    found = []
    for b in range(len(X)):
        guesses = read_step(nets[[b]], updates[[b]], pairs)
        near = torch.cdist(X[b], guesses) < 0.1  # a tenth of a standard deviation
        found.append([near.any(1).float().mean(), near.any(0).sum(), len(guesses)])
    return np.array(found)


# %% [markdown]
# Three servers: one takes single neurons, one the pairs of 32 neurons, one those of 128.

# %%
sizes = [1, 2, 4, 8, 16, 32, 64]
ways = {"32 neurons, alone": (32, False), "32 neurons, pairs": (32, True)}
ways["128 neurons, pairs"] = (128, True)
met = {name: [share_read(n, *way) for n in sizes] for name, way in ways.items()}
plots.show(
    plots.bands(
        {name: (sizes, np.array([f[:, 0] for f in found])) for name, found in met.items()},
        xlabel="patients in the step",
        ylabel="share read whole",
        log_x=True,
    ),
    alt="Share of a batch that is read whole, over its size. Single neurons fall from 1 at two "
    "patients to near 0 at sixteen; pairs of 32 neurons stay near 1 up to eight, pairs of 128 "
    "neurons nearly up to sixteen; at 64 all are at 0.",
)

# %%
for name, found in met.items():
    share, right, made = found[3].mean(0)
    print(f"8 patients, {name:19} {share:.0%} read whole; {right / made:.0%} of guesses right")

# %% [markdown]
# Two subtractions and a division read nearly everybody in a batch of eight, and hardly anybody in one of 64. More
# neurons make more pairs, and push the limit out. Read the precision, too: some guesses are mixtures that happen to
# look like a patient, and a server that cannot check does not know which.
#
# `attacks.read_batch`, which filled the cards, is this function with more rules: a guess has to fire one of
# its two neurons and not the other, and, where the size of the batch is known, to explain its own $s$. Hardly a
# mixture passes. (SPEAR, Dimitrov et al. 2024, arXiv:2403.03945, reads batches of up to about 25 exactly, in
# larger networks than ours.)

# %% [markdown]
# ## Where algebra ends, search
#
# Subtraction needs the exact gradient of one step, and one hidden layer. Take a second step, add a layer, and
# pairs are of no use; round the numbers, and they lie among wrong guesses. The server can still *guess* patients,
# compute the update that they would have given, compare it with the one it holds, and move the guesses so that
# the two agree: 400 steps of Adam, on the patients in place of the weights (Geiping et al. 2020,
# arXiv:2003.14053, with the angle between the updates as loss). Categories are kept between 0 and 1, as TabLeak
# does (arXiv:2210.01785). How many of the patients are ill, the search works out by itself (◆). It starts four
# times for each of five batches and keeps the best.
#
# To judge it we need a measure. A field counts as right if a category is, or a number is within .319 standard
# deviations (TabLeak's tolerance: a quarter of patients are as near to the middle by chance). And nobody said which
# guess is which patient, so guesses and patients are paired one to one, in the way that is best for the attacker.

# %%
numbers = [c for c, name in enumerate(names) if name in federation.agreed.means]
smoker = [c for c, name in enumerate(names) if name.startswith("smoker")]
two_valued = [c for c in coded if c not in smoker]


def status(rows):  # never, former, current or not known
    chances = rows[..., smoker]
    return torch.cat([chances, 1 - chances.sum(-1, keepdim=True)], -1).argmax(-1)


def fields_right(truth, guess):
    """Which of the nine fields agree, ``[..., 9]``."""
    near = (truth[..., numbers] - guess[..., numbers]).abs() < 0.319
    same = (truth[..., two_valued] > 0.5) == (guess[..., two_valued] > 0.5)
    smokes = status(truth) == status(guess)
    return torch.cat([near, same, smokes[..., None]], -1)


# %% [markdown]
# And the pairing, which SciPy finds (the Hungarian method), with the two numbers that we report:


# %%
from scipy.optimize import linear_sum_assignment


def matched(truth, guess):
    """For each patient which fields its own guess has right, paired as well as can be."""
    right = fields_right(truth[:, None], guess[None]).float()  # [patients, guesses, 9]
    return right[linear_sum_assignment(-right.mean(2).numpy())]


def share_right(truth, guess):
    return float(matched(truth, guess).mean())


def share_whole(truth, guess):
    return float(matched(truth, guess).all(1).float().mean())


# %% [markdown]
# Now the search, for batches of growing size (a few seconds):

# %%
searched = {}
for n in (1, 2, 4, 8, 32):
    nets, updates, X, y = one_step(n, batches=5, seed=1)
    found = attacks.invert(nets, updates, n, federation=federation, restarts=4, steps=400)
    searched[n] = X, found.rows
table = {
    n: dict(right=np.mean([*map(share_right, *both)]), whole=np.mean([*map(share_whole, *both)]))
    for n, both in searched.items()
}
pd.DataFrame(table).T.rename_axis("patients").round(2)

# %% [markdown]
# (Means over five batches: the second digit is not sure.) One or two patients are read whole. On a clean gradient
# of more, the search is weaker than subtraction, which read nearly all of four; it will earn its keep below. But
# look at the last line: of 32 patients, more than half of all fields are right. **Is that a leak?** It looks like
# one. Think of a server that sees *nothing*, and writes down 32 real patients from elsewhere. How many of its
# fields would be right, after the best pairing?
#
# <div class="alert alert-info"><b>Your turn ★★</b> Write the <i>skill</i> of an attack: its share right, less that
# of somebody who sees nothing. <code>strangers</code> holds several draws, <code>[draws, n, features]</code>, each
# with as many real patients of elsewhere as there are guesses. <code>share_right(truth, guess)</code> is given
# as <code>right</code>.</div>


# %%
def above_chance(truth, guess, strangers, right):
    ...


checks.above_chance(above_chance)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>Each draw is an attacker of its own: pair it with <code>truth</code> by
# <code>right</code>, just as the guesses are. What does such an attacker get on average?</details>


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def above_chance_solution(truth, guess, strangers, right):
    return right(truth, guess) - sum(right(truth, draw) for draw in strangers) / len(strangers)


checks.above_chance(above_chance_solution)

# %% [markdown]
# The batches above come from the training rows, the strangers from the test rows:


# %%
def strangers_for(n, draws=10, seed=0):
    rows = np.random.default_rng(seed).integers(len(pool.X_test), size=(draws, n))
    return pool.X_test[rows]


for n, (X, _) in searched.items():
    blind = [share_right(x, draw) for x in X for draw in strangers_for(n)]
    gain = table[n]["right"] - np.mean(blind)
    table[n] |= {"who sees nothing": np.mean(blind), "skill": gain}
pd.DataFrame(table).T.rename_axis("patients").round(2)

# %% [markdown]
# Read the last line. Of 32 patients the search has about six fields in ten right, *and so has somebody who looked
# at nothing at all*: among 32 real people there is nearly always one who is much like you. The larger the batch,
# the better chance looks. So we report **whole patients first, and skill beside it**. (A study of hospital records
# in 2026, arXiv:2606.00986, comes to the same rule. TabLeak's well-known 95% of fields at batch 8 stands beside 54%
# for random guesses in its own table: there the gap is real.) `attacks.reading` gives all of them at once, here for
# four patients:

# %%
attacks.reading(*searched[4], federation)

# %% [markdown]
# ### Four evaluations
#
# Four teams judge the same attack, and each has taken chance away, they say. You know a control: an attacker who
# writes down strangers must score zero. `control` measures that, on a batch of 32, over twenty such attackers. What
# the teams use:

# %%
crowd, audience = searched[32][0][0], strangers_for(32, draws=20, seed=1)


def in_the_table(guess):  # the nearest record of the training table
    return pool.X_train[torch.cdist(guess, pool.X_train).argmin(1)]


def by_chance(truth):
    return np.mean([share_right(truth, draw) for draw in audience])


def as_they_come(truth):  # strangers against patients, line by line
    return float(fields_right(truth, audience).float().mean())


# %% [markdown]
# Here are the four, and the control:

# %%
teams = {
    "A": lambda truth, guess: share_right(truth, guess) - by_chance(truth),
    "B": lambda truth, guess: share_right(in_the_table(guess), guess) - by_chance(truth),
    "C": lambda truth, guess: share_whole(truth, guess),
    "D": lambda truth, guess: share_right(truth, guess) - as_they_come(truth),
}


def control(team):
    others = strangers_for(32, draws=20, seed=2)
    return float(np.mean([teams[team](crowd, draw) for draw in others]))


found = searched[32][1][0]
print("  ".join(f"{team} {score(crowd, found):+.2f}" for team, score in teams.items()))

# %% [markdown]
# <div class="alert alert-info"><b>Your turn ★★★</b> Those are the scores of the search on 32 patients. Whose can you not
# believe? Use <code>control</code>, read the line of code, and write a set of letters such as
# <code>{"A", "B"}</code>.</div>

# %%
flattering = ...

checks.flattering(flattering)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>Four calls: <code>control("A")</code> to <code>control("D")</code>. A score may be
# small for an honest reason; it may not be large for an attacker who saw nothing.</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
flattering_solution = {"B", "D"}  # strangers score far above zero with both

checks.flattering(flattering_solution)

# %% [markdown]
# B is a classic: "nearest neighbour in the training data". Any plausible row has a near neighbour among thousands
# of patients, so noise scores well, and not one patient of *this* batch was needed. D paired its guesses and not
# its chance. C has no baseline and needs none: by chance hardly anybody is right in all nine fields.
#
# ## Three defences
#
# ### Fewer bits
#
# Lesson 10 sends four bits a number and loses nothing. Does rounding hide anybody? Two patients a step, ten
# batches, each tensor rounded to levels of equal distance (one bit: the sign). Three readers: subtraction, a
# *forgiving* one that asks of a category to be 0 or 1 within .15 only, and the search:


# %%
def rounded(update, bits):
    if bits == 32:
        return update
    levels = max(2 ** (bits - 1) - 1, 1)

    def coarse(t):  # one scale for each tensor of each model
        top = t.abs().reshape(len(t), -1).amax(1).reshape(-1, *[1] * (t.dim() - 1))
        if bits == 1:
            return t.sign() * top
        return (t / top * levels).round() * top / levels

    return update.map(coarse)


# %% [markdown]
# Whom each of them has among its guesses, right in all nine fields:

# %%
def among(truth, guesses):  # for whom some guess is right in all nine fields
    return float(fields_right(truth[:, None], guesses[None]).all(2).any(1).float().mean())


nets, updates, X, y = one_step(2, batches=10, seed=2)
lines = {}
for bits in (32, 8, 4, 1):
    seen, line = rounded(updates, bits), {}
    for name, slack in (("subtraction", 1e-3), ("forgiving", 0.15)):
        read = [read_step(nets[[b]], seen[[b]], slack=slack) for b in range(len(X))]
        line[name] = f"{np.mean([*map(among, X, read)]):.0%}"
        line[f"guesses, {name}"] = f"{np.mean([*map(len, read)]):.0f}"
    rows = attacks.invert(nets, seen, 2, federation=federation, restarts=4, steps=300).rows
    lines[bits] = line | {"search": f"{np.mean([*map(among, X, rows)]):.0%}"}
pd.DataFrame(lines).T.rename_axis("bits")

# %% [markdown]
# The subtraction that read everybody finds few at eight bits and nobody at four. Had we stopped there, we would have
# written "rounded updates are safe". But it was only too strict: it asks for three digits, and those are gone. Forgive
# it a little, and everybody is among its guesses again, beside wrong ones. The search needs no such rule
# and names only two. **A weak attack proves nothing**; and where all fail (one bit), all we know is that *these* did.
#
# ### A sum of hospitals
#
# Behind masks (lesson 05) the server sees the sum of the hospitals' updates alone. For one step that is nothing
# new: the mean of the gradients of five hospitals is the gradient of all their patients together.

# %%
nets, together, X, y = one_step(5, batches=1)
parts = [
    fleet.gradients(nets, X[:, [i]], y[:, [i]], torch.ones(1, 1), loss="binary") for i in range(5)
]  # five hospitals with a patient each
mean = sum(part.flat() for part in parts) / 5
print(f"largest difference: {(mean - together.flat()).abs().max():.0e}")

for hospitals, patients in ((5, 1), (5, 2), (5, 8), (20, 1), (20, 8)):
    share = share_read(hospitals * patients, 32, True)[:, 0].mean()
    print(f"sum of {hospitals:2} hospitals with {patients} each: {share:4.0%} read whole")

# %% [markdown]
# The masks held: nobody saw a single update. And the *sum* of five hospitals with one patient each was read like a
# batch of five. **What counts is how many patients are in what is seen**, not how well it was locked before: of
# five hospitals with eight, or twenty with one, hardly anybody is read by this attack.
#
# ### Noise
#
# The third defence is lesson 04's: clip a patient's gradient to length 1, add noise of `sigma` clip norms. One
# patient a step, the hardest case, 300 of them, and four attackers. The *naive* one fits the slope of `dW` over
# `db`. The second knows `w`: a neuron with a large outgoing weight carries more signal, so it weighs by that. The
# third also knows what people are like, and *shrinks* towards their mean, the more the less it can see. The fourth,
# `attacks.read_one`, works out besides which neurons *fired*, and listens to those alone.


# %%
def three_attackers(dW, db, w, sigma, mean, var):
    naive = (db[..., None] * dW).sum(1) / (db**2).sum(1, keepdim=True)
    top, below = (w[..., None] * dW).sum(1), (w * db).sum(1, keepdim=True)
    noise = sigma**2 * (w**2).sum(1, keepdim=True)
    shrunk = mean + var * below * (top - below * mean) / (var * below**2 + noise * (1 + mean**2))
    return {"naive": naive, "knows w": top / below, "and shrinks": shrunk}


# %% [markdown]
# All of them at seven levels of noise:

# %%
sigmas = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0]
people, ill = pool.X_train[:300], pool.y_train[:300]


@fleet.one_thread()
def under_noise(width):
    nets = fleet.init(300, (len(names), width, 1), seed=0)
    one_each = people[:, None], ill[:, None], torch.ones(300, 1)
    clipped = fleet.gradients(nets, *one_each, loss="binary", max_norm=1.0)
    draw, right = torch.Generator().manual_seed(0), {}
    for sigma in sigmas:
        seen = clipped.map(lambda t, by=sigma: t + by * torch.randn(t.shape, generator=draw))
        parts = seen.weights[0], seen.biases[0], nets.weights[1][:, 0]
        rows = three_attackers(*parts, sigma, pool.X_test.mean(0), pool.X_test.var(0))
        known = dict(attacker="shrinks", noise=sigma, population=pool.X_test)
        rows["and who fired"] = attacks.read_one(nets, seen, **known)
        for name, guess in rows.items():
            right.setdefault(name, []).append(fields_right(people, guess).float())
    return {name: torch.stack(all_of_it) for name, all_of_it in right.items()}


# %% [markdown]
# Beside the curves stands what noise *promises*. Somebody who would hit a patient with probability $\kappa$ without
# looking, hits with at most $\Phi(\Phi^{-1}(\kappa) + 1/\sigma)$ after one such release, whatever the method (Hayes
# et al. 2023, arXiv:2302.07225; for a record that is present or blank). We take $\kappa$ = 1 in 100: no fixed guess
# reads that many of our patients whole.

# %%
from scipy.stats import norm

right = under_noise(128)
bound = norm.cdf(norm.ppf(0.01) + 1 / np.array(sigmas))
middle = pool.X_test.median(0)[0]  # numbers in the middle, the commonest categories
middle[smoker] = torch.eye(3)[pool.X_test[:, smoker].sum(0).argmax()]
blind = float(fields_right(people, middle).float().mean())
plots.show(
    plots.noise_and_reading(
        sigmas,
        {name: shares.mean(2).numpy() for name, shares in right.items()},
        {name: shares.all(2).float().numpy() for name, shares in right.items()},
        blind=(blind, 0.01),
        bound=bound,
    ),
    alt="Two panels over noise from .001 to 1 clip norms, 128 neurons. Left: fields right fall "
    "from nearly 1 to the level of a blind guess; the naive attacker falls first. Right: patients "
    "read whole fall to zero by .1, far below the bound, which falls from 1 only beyond .1.",
)

# %%
at = sigmas.index(0.01)
for name, shares in right.items():
    print(f"sigma 0.01, {name:13} {shares[at].mean():.2f} of fields right", end="; ")
    print(f"{shares[at].all(1).float().mean():.0%} read whole")
print("bound:", {s: round(float(b), 2) for s, b in zip(sigmas, bound, strict=True)})

# %% [markdown]
# At sigma 0.01 the naive attacker says "protected", and the others read most patients whole, most of all the one
# that works out which neurons fired: again a weak attack flatters the defence. From 0.1 on none of ours is
# clearly better than a blind guess. But *none of ours* is not *none*: the bound (`attacks.reconstruction_bound`),
# which holds for every attacker, says next to nothing below 0.3, and with sigma 1 (epsilon about 4.4 at delta
# 1e-5 for a record present or blank, one unsampled release; for one that is *replaced* 10) allows 9 in 100. Only
# there do we have a promise. What lies between the curves and the bound is not safe: Hayes et al. show an
# attacker who has a list of candidates, the patient among them, and comes close to the bound. Ours have no list.
#
# ## Break it
#
# A consortium presents its plan: five hospitals, masks, eight-bit updates, "so that even the sum is coarse". Each
# takes single steps on one new patient. Break it: what does the server read?

# %%
nets, updates, X, y = one_step(5, batches=10, seed=3)
seen = rounded(updates, 8)
got = attacks.invert(nets, seen, 5, federation=federation, steps=600).rows
whole, fields = (np.mean([*map(f, X, got)]) for f in (share_whole, share_right))
chance = np.mean([share_right(x, draw) for x in X for draw in strangers_for(5)])
print(f"search: {whole:.0%} of patients read whole; {fields:.0%} of fields, by chance {chance:.0%}")
forgiving = [read_step(nets[[b]], seen[[b]], slack=0.03) for b in range(len(X))]
found, made = (np.mean([*some]) for some in (map(among, X, forgiving), map(len, forgiving)))
print(f"forgiving subtraction: {found:.0%} of patients are among its {made:.0f} guesses")

# %% [markdown]
# The search names a good part of them whole, and most fields, far above chance; the forgiving subtraction has
# nearly all of them among its guesses. Two defences, each of which sounds like one, and together they are none.
# What would mend it? More patients in a step; and for a promise, noise.
#
# ## Live lab
#
# One step, your choice of everything. The server subtracts; with the switch on it searches as well (a few seconds,
# with progress and Cancel). Things to try:
#
# 1. Find the number of patients at which 32 neurons read half. Then double the neurons.
# 2. One patient each, more and more hospitals in the sum. Where does it end?
# 3. 2 patients, 4 bits, 2% noise: what does subtraction read? Switch the search on. How much noise ends that?

# %% [markdown]
# How guesses are put beside patients, and what the sentence says (at most 16 patients are drawn; it counts all).
# In the picture red is above the mean, or yes; blue is below it; white is the mean, or no.


# %%
def paired(truth, guesses):
    best = torch.full_like(truth, float("nan"))
    if len(guesses):
        right = fields_right(truth[:, None], guesses[None]).float().mean(2)
        i, j = linear_sum_assignment(-right.numpy())
        best[i] = guesses[j]
    return best


def reported(show, truth, guesses, how, done=1.0):
    best = paired(truth, guesses)
    whole = fields_right(truth, best).all(1)  # never where nothing was read
    score = attacks.reading(truth, guesses, federation, draws=5)
    said = f"By {how}: {int(whole.sum())} of {len(truth)} patients read whole; "
    said += f"{score.right:.0%} of fields right, as many strangers have {score.random:.0%}."
    said = said if len(guesses) else f"By {how}: nothing was found that looks like a patient."
    picture = plots.cell_by_cell(truth, best, whole, names)
    show(picture, said, alt=f"Two tables, patients and what was read. {said}", done=done)


# %% [markdown]
# This is what runs when you move something:


# %%
def what_is_in_an_update(show, patients, neurons, hospitals, noise, bits, search):
    n = patients * hospitals
    net, update, X, y = one_step(n, neurons, batches=1, seed=5)
    draw = torch.Generator().manual_seed(1)
    spread = noise / 100 * float(update.flat().norm())
    seen = rounded(update, bits).map(lambda t: t + spread * torch.randn(t.shape, generator=draw))
    guesses = attacks.read_batch(net, seen, federation, n_rows=n).rows
    reported(show, X[0], guesses, "subtraction", done=0.1)
    if search and n > 32:
        raise ValueError(f"The search is for 32 patients in the sum at most; there are {n}.")
    if search:
        tell = dict(steps=400, on_step=lambda step, _: show.tick(0.1 + step / 450))
        found = attacks.invert(net, seen, n, federation=federation, **tell)
        reported(show, X[0], found.rows[0], "search")


widgets.lab(
    what_is_in_an_update,
    patients=widgets.slider(1, 64, 4, log=True, label="Patients in a step"),
    neurons=widgets.slider(8, 512, 32, log=True, label="Neurons"),
    hospitals=widgets.slider(1, 20, 1, label="Hospitals in the sum"),
    noise=widgets.slider(0.0, 10.0, 0.0, step=0.5, label="Noise", unit="% of the update's length"),
    bits=widgets.choice([32, 8, 4, 1], 32, label="Bits"),
    search=widgets.switch(False, label="Search as well"),
)

# %% [markdown]
# ## What it comes to
#
# **In this course's normal round, 20 steps on batches of 64 out of hundreds of patients, the readers that we
# tried find nobody (◆). Against a server that keeps to the protocol, what protects is the number of patients in
# what is *seen*: batch times hospitals in the sum, against the number of neurons. Only noise gives a bound.
# Against a server that chooses the weights, the number of patients protects nobody (◆).**
#
# | they say | ask |
# | --- | --- |
# | "only updates travel" | how many patients are in one? |
# | "the sum is masked" | how many patients are in the sum, in the worst round? |
# | "we round to eight bits" | who attacked it, and how well? |
# | "the attack gets 63% right" | whole patients? and what do strangers get? |
# | "noise protects" | which sigma, which relation, and what does the bound allow? |

# %% [markdown] tags=["deep"]
# ## ◆ Labels for nothing
#
# The search found out how many of the patients are ill. Can the server know who? $s_i$ is the risk minus the
# outcome: below zero for the ill, above for all others. Whoever is read by subtraction brings the sign along, and
# the outcome with it (Zhao et al. 2020, *iDLG*, arXiv:2001.02610):

# %% tags=["deep"]
nets, updates, X, y = one_step(8)
found = attacks.read_batch(nets, updates, federation)
hits = outcomes = 0
for b in range(len(X)):
    mine = found.of(b)
    near, who = torch.cdist(mine.rows, X[b]).min(1)
    hits += int((near < 0.05).sum())
    outcomes += int((y[b, who, 0].numpy() == mine.labels)[near.numpy() < 0.05].sum())
print(f"{hits} patients of {len(X) * 8} read; for {outcomes} of them the outcome, too")

# %% [markdown] tags=["deep"]
# The diagnosis is read along with the patient. A search needs only to know *how many* are ill, and the gradient of
# the output's bias, the mean of risk minus outcome, tells that: risks of an untrained network are all much alike.

# %% [markdown] tags=["deep"]
# ## ◆ Many steps, simulated
#
# A hospital seldom takes one step. After twenty, its update is no gradient any more, and our search, which
# compares gradients, loses some of them. But the server knows the recipe: steps and learning rate. It can *walk*
# with its guesses as the hospital did, and compare where both arrive (Dimitrov et al. 2022, arXiv:2206.12395).
#
# <div class="alert alert-info"><b>Your turn ★★</b> Write the change of the parameters <code>theta</code> after
# <code>steps</code> full steps of rate <code>lr</code> on the guesses <code>X</code>, <code>y</code>;
# <code>gradient(theta, X, y)</code> is given.</div>


# %% tags=["deep"]
def as_it_walked(gradient, theta, X, y, steps, lr):
    ...


checks.as_it_walked(as_it_walked)

# %% [markdown] tags=["deep"]
# <details><summary>Stuck? A hint</summary>A loop in which <code>theta</code> becomes another; the gradient is taken where you
# stand. At the end take the place away where the walk began.</details>


# %% tags=["solution", "hide-input", "deep"] jupyter={"source_hidden": true}
def as_it_walked_solution(gradient, theta, X, y, steps, lr):
    here = theta
    for _ in range(steps):
        here = here - lr * gradient(here, X, y)
    return here - theta


checks.as_it_walked(as_it_walked_solution)

# %% [markdown] tags=["deep"]
# Two patients, twenty full steps, five batches: the search as before, and the one that walks along. Both get the
# labels: after many steps the sums no longer tell them.

# %% tags=["deep"]
nets, _, X, y = one_step(2, batches=5, seed=4)
flat_X, flat_y, rows = X.flatten(0, 1), y.flatten(0, 1), np.arange(10).reshape(5, 2)
after = fleet.fit(nets, flat_X, flat_y, list(rows), steps=20, batch_size=2, lr=0.2)
change = after.map(lambda new, old: (old - new) / 0.2, nets)
recipes = {"as one gradient": {}, "walking along": dict(local_steps=20, lr=0.2)}
for name, recipe in recipes.items():
    about = dict(labels=y, restarts=4, steps=150) | recipe
    got = attacks.invert(nets, change, 2, federation=federation, **about).rows
    fields, whole = (np.mean([*map(f, X, got)]) for f in (share_right, share_whole))
    print(f"{name:16} {fields:.0%} of fields right, {whole:.0%} read whole")

# %% [markdown] tags=["deep"]
# So local steps are no defence for one or two patients. And our normal round? Each of the five hospitals takes
# twenty steps on batches of 64, as in lesson 03; the reader gets the update of each, as if it were one gradient:

# %% tags=["deep"]
start = fleet.init(5, (len(names), 32, 1), seed=0)
last = np.cumsum([len(h.y_train) for h in federation.hospitals])[:-1]
rows = np.split(np.arange(len(pool.X_train)), last)  # each hospital's own
end = fleet.fit(start, pool.X_train, pool.y_train, rows, steps=20, batch_size=64, lr=0.2)
change = start.map(lambda old, new: (old - new) / 0.2 / 20, end)
found = attacks.read_batch(start, change, federation)
for k, h in enumerate(federation.hospitals):
    mine = found.of(k).rows
    read = int((torch.cdist(h.X_train, mine) < 0.1).any(1).sum())
    print(f"{h.name:18} {len(h.y_train):5} patients: {len(mine)} guesses, {read} patients read")

# %% [markdown] tags=["deep"]
# Nobody; and the search found nobody whole among 32 in a *single* step. Both are statements about these attacks, no
# promise.

# %% [markdown] tags=["deep"]
# ## ◆ A server that chooses the weights
#
# So far the server kept to the protocol. One that does not can send a network made for reading: all neurons look
# at *one* direction, and neuron $j$ fires above the $j$-th of many thresholds. Two neighbours then differ by the
# patients between two thresholds, and with many narrow gaps that is one patient (Fowl et al. 2021,
# arXiv:2110.13057). A hospital's program trains on these like on any others, though one look would show that all
# neurons are alike. A sum of 20 hospitals with 8 patients each, 32 honest neurons and 512 dishonest ones:

# %% tags=["deep"]
_, _, X, y = one_step(160, batches=1)
traps = attacks.binning_weights(pool.X_test, 512)
honest = fleet.init(1, (len(names), 32, 1), seed=0)
for name, net, pairs in (("honest", honest, "all"), ("chosen", traps, "neighbours")):
    update = fleet.gradients(net, X, y, torch.full((1, 160), 1 / 160), loss="binary")
    guesses = attacks.read_batch(net, update, federation, pairs=pairs, neurons=512).rows
    read = (torch.cdist(X[0], guesses) < 0.1).any(1).float().mean()
    print(f"{name} weights: {read:.0%} of 160 patients read whole")

# %% [markdown] tags=["deep"]
# Most of 160 patients, behind masks. Narrower gaps read more. Against such a server neither the size of the batch
# nor the sum protects. What helps is not to take weights from it, and not its word for the sum either: draw the first
# weights from a seed that all agree on, publish all masked messages, and let each hospital add them up and take the
# step itself. And noise, whose bound does not ask who chose the weights.

# %% [markdown] tags=["deep"]
# ## ◆ A table without categories
#
# What does a patient look like where there are only numbers? breast_cancer has thirty of them, and a mixture has
# thirty, too. Two rules are left: several pairs must agree, and a guess must explain its own $s$, which depends on
# it through the network:

# %% tags=["deep"]
cancer = data.load("breast_cancer")
for n in (4, 8, 16):
    nets, updates, X, _ = one_step(n, pool=cancer.pooled())
    for name, rule in (("pairs agree", dict(agreement=2)), ("explains its s", dict(n_rows=n))):
        found = attacks.read_batch(nets, updates, cancer, **rule)
        score = attacks.reading(X, found, cancer)
        print(f"{n:2} patients, {name:14}: {score.whole:.0%} read", end=", ")
        print(f"{score.precision:.0%} of guesses right")

# %% [markdown] tags=["deep"]
# No category is needed: the network itself says which guess is consistent.

# %% [markdown] tags=["deep"]
# ## ◆ Whose patient?
#
# A sum under masks does not say which hospital a patient comes from. Once a patient is read, the patient's own
# values may: hospitals differ (lesson 10). Can a classifier that has seen other rows of each name the hospital?

# %% tags=["deep"]
from sklearn.linear_model import LogisticRegression

hospital_of = np.concatenate([[k] * len(h.y_test) for k, h in enumerate(federation.hospitals)])
truly = np.concatenate([[k] * len(h.y_train) for k, h in enumerate(federation.hospitals)])
guessed = LogisticRegression(max_iter=500).fit(pool.X_test, hospital_of).predict(pool.X_train)
largest = np.bincount(truly).max() / len(truly)
print(f"right hospital: {(guessed == truly).mean():.0%}; always the largest: {largest:.0%}")

# %% [markdown] tags=["deep"]
# Hardly: once units and codes are agreed on (lesson 01), these hospitals resemble each other. Where one sends
# values as nobody else does, such as a cholesterol of zero, the value is a signature.

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: "Raw data isn't transmitted"
#
# [Haque et al.] name the threat of this lesson: "Parameter Leakage: Attackers infer sensitive data from shared
# gradients or model updates (gradient inversion)", and answer with homomorphic encryption: the server "receives
# encrypted model updates, not raw data". [7Med] says it more shortly: "Only the trained model updates, not the raw
# data, are shared."
#
# **What holds.** A server that adds locked boxes (lesson 07) never sees one hospital's update, and cannot read
# anybody out of it. Raw data are indeed not transmitted. **What does not follow.** Somebody unlocks the *sum*,
# since a model must come out; and for whoever does, our table of sums holds: five hospitals with one patient each
# were read. "Since raw data isn't transmitted, the risk of breaches is significantly reduced" is true of breaches
# on the wire, and says nothing about what an update tells. Neither document counts patients in a step, which is
# what protects here, and neither adds noise, which alone could promise ([Haque et al.] name differential privacy as a
# next step).

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# [breaching](https://github.com/JonasGeiping/breaching) collects attacks of this family for images and text; the
# course's bench compares one number with it where it is installed, the loss of a given guess. For tables there are
# [TabLeak](https://github.com/eth-sri/tableak) (ensembles, and entropy to tell sure fields from unsure ones) and
# SPEAR, which reads whole batches exactly. Before you believe a number from any of them, ask this lesson's
# questions: how many in the step, whole patients or fields, and what do strangers get?

# %% [markdown]
# ## Recap
#
# 1. A neuron tells a sum over patients for whom it fired; two neurons that differ by one patient give that patient.
# 2. Where algebra ends, search; it knows small batches, and for large ones it knows what strangers know.
# 3. Report whole patients, and skill against matched strangers. An attacker who sees nothing must score zero.
# 4. Rounding, masks and local steps are no promise: what counts is how many patients are in what is seen.
# 5. A weak attack proves nothing, a strong one only for itself. Noise has a bound for all.
#
# ## Quiz
#
# <details><summary>1. A hospital trains on 20 patients in one step and says that an average of 20 hides everybody. What do you
# ask?</summary>How many neurons: 32 read almost nobody by subtraction, 128 read many.</details>
#
# <details><summary>2. An attack gets 63% of fields right in batches of 32. Is that a leak?</summary>Ask what strangers get,
# matched in the same way. Here it is the same.</details>
#
# <details><summary>3. The reader found nothing in an 8-bit update. Is rounding a defence?</summary>No: it may have
# been too strict; a forgiving one and the search read it. One attack that fails says something about that attack.</details>
#
# <details><summary>4. Five hospitals sum under perfect masks, a new patient each. What does the server learn?</summary>The
# update of a batch of five, and so nearly all five patients.</details>
#
# <details><summary>5. At sigma 0.1 no attacker clearly beat a blind guess. May we promise that nobody is read?</summary>No: the
# bound still allows nearly everything there. It is low only from about sigma 1 on.</details>
#
# ## Further reading
#
# - Geiping et al. 2020, *Inverting Gradients*, arXiv:2003.14053; Zhu et al. 2019, *Deep Leakage from Gradients*,
#   arXiv:1906.08935.
# - Vero et al. 2022, *TabLeak*, arXiv:2210.01785; Dimitrov et al. 2024, *SPEAR*, arXiv:2403.03945.
# - Dimitrov et al. 2022, *Data Leakage in Federated Averaging*, arXiv:2206.12395.
# - Fowl et al. 2021, *Robbing the Fed*, arXiv:2110.13057.
# - Hayes et al. 2023, *Bounding Training Data Reconstruction in DP-SGD*, arXiv:2302.07225.
# - [Haque et al.], *Privacy Preserving Using Federated Learning for Collaborative Healthcare Data Analysis*; [7Med].
