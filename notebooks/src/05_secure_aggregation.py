# %% [markdown]
# # 05 · Secure aggregation
#
# *A server that adds up what it cannot see.*
#
# **After this lesson you can**
#
# - hide five updates behind [masks](../docs/glossary.md#masks) that cancel in the sum, and say what the server holds
#   instead,
# - agree on masks through a server that listens, and keep the sum when a hospital disappears,
# - lie to the protocol as its server, and say which step stops which lie,
# - put an update on a grid, so that a sum of whole numbers neither overflows nor leans to one side,
# - break a mask that was made badly, and say what even a perfect sum gives away,
# - ◆ put noise inside the sum, in shares, so that nobody ever holds it without.
#
# **Time:** 45 minutes for the core; sections marked ◆ are deep and take another 28. **You need:** NumPy-level
# Python, and lesson 00 for the hospitals. Lesson 03 explains the rounds; its *break it* is where we begin.

# %%
from IPython import get_ipython
from IPython.display import display

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

# %% [markdown]
# ## The patient in the post
#
# Five hospitals take one step of training and send what changed. Four of them use 64 patients for it. Harbour
# has one new patient today, and uses that one.

# %%
import numpy as np
import torch

from fedlab_utils import attacks, checks, data, federated, fleet, plots, widgets

federation = data.load("hospital_network")
names = [h.name for h in federation.hospitals]
start = fleet.init(1, (federation.n_features, 64, 1), seed=0)
used = dict(zip(names, (64, 64, 64, 64, 1), strict=True))  # patients in the step


def update_of(hospital, rows, model=start):  # what a step on these patients changes, [parameters]
    X, y, step = hospital.X_train, hospital.y_train, dict(steps=1, batch_size=len(rows), lr=0.2)
    trained = fleet.fit(model, X, y, [rows], **step)
    return (trained.flat() - model.flat())[0].double().numpy()


updates = {h.name: update_of(h, np.arange(used[h.name])) for h in federation.hospitals}

# %% [markdown]
# You may know the division from lesson 03: the change of a neuron's weights over the change of its bias *is*
# the patient. The server can do it with each update that it holds. It can also do it with the sum, in which
# every hospital counts by its patients.


# %%
def read_out(update):
    change = start.like(torch.tensor(update)[None])
    return attacks.divisions(change)[0][0].numpy()  # of the neuron that changed most


harbour = federation.hospitals[-1]
record = harbour.X_train[0].numpy()
total = sum(used[name] * update for name, update in updates.items())
plots.show(
    plots.read_out(
        {
            "from Harbour's update": (record, read_out(updates["Harbour"])),
            "from the sum of all five": (record, read_out(total)),
        }
    ),
    alt="Two panels, a dot for each column of the patient's record. Read from Harbour's "
    "update, all dots lie on the diagonal: the record itself. Read from the sum of five "
    "updates, nearly all lie off it.",
)

# %% [markdown]
# On the left the server has the patient, every column of the record. On the right, dividing the *sum*, it has a
# blend of many patients (a column may agree by accident). And to average five models a server needs nothing but
# the sum. **Can it add up five numbers without seeing any of them?**
#
# ## Masks on paper
#
# Three hospitals count the patients of a rare disease and want the total. Before they write to the server, each
# *pair* draws a secret number from 0 to 99 at random. One of the two adds it, the other takes it away. All sums
# are taken modulo 100: only the last two digits count.

# %%
own = {"Northgate": 17, "Riverside": 42, "Harbour": 5}
masks = {("Northgate", "Riverside"): 58, ("Northgate", "Harbour"): 37, ("Riverside", "Harbour"): 23}
plots.show(
    plots.masks_on_paper(own, masks, 100),
    alt="A table. Northgate has 17, adds 58 and 37, sends 12. Riverside has 42, subtracts 58, "
    "adds 23, sends 7. Harbour has 5, subtracts 37 and 23, sends 45. Own numbers add up to 64, "
    "and so do the numbers sent.",
)

# %% [markdown]
# Read the bottom line: each mask stands there once with plus and once with minus. The own numbers add up to 64,
# and the numbers sent add up to 64 as well, modulo 100.
#
# <div class="alert alert-info"><b>Your turn ★</b> Write what one hospital sends: <code>me</code> is its name,
# <code>number</code> its number, <code>masks</code> as above, a mask for each pair of names. The first name of a pair
# adds the mask, the second takes it away.</div>


# %%
def masked_number(me, number, masks, modulus):
    ...


checks.masked_number(masked_number)


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def masked_number_solution(me, number, masks, modulus):
    for (first, second), mask in masks.items():
        number = number + mask * (me == first) - mask * (me == second)
    return number % modulus


checks.masked_number(masked_number_solution)

# %% [markdown]
# What does the server know when it reads "Harbour: 45"? Try every number that Harbour could have, and ask which
# masks would turn it into 45.

# %%
fits = {
    number: [mask for mask in range(100) if (number - mask) % 100 == 45] for number in range(100)
}
print("Harbour has 5: the two masks add up to", fits[5])
print("Harbour has 77: they add up to", fits[77])
by_one_mask = sum(len(found) == 1 for found in fits.values())
print("numbers explained by exactly one mask:", by_one_mask, "of 100")

# %% [markdown]
# Every number fits, each with one mask, and all masks were equally likely. So 45 alone says *nothing*, whatever
# computer the server has: that is as good as a one-time pad. All three numbers together say their sum, and no
# more. It works because of the modulus. Without it, a large number sent would hint at a large own number.
#
# An update is a row of such numbers. A 32-bit word counts modulo $2^{32}$ all by itself: after the largest
# comes zero again. For now we turn updates into whole numbers in the quickest way, by counting in steps of
# $2^{-20}$; there is more to say about that, later.


# %%
def to_words(values):
    return np.round(values * 2**20).astype(np.int64).astype(np.uint32)


def from_words(words):
    return words.astype(np.int32) / 2**20


words = {name: to_words(used[name] * update) for name, update in updates.items()}
pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
rng = np.random.default_rng(0)
n_words = len(words["Harbour"])
pair_masks = {pair: rng.integers(0, 2**32, n_words, dtype=np.uint32) for pair in pairs}

# %% [markdown]
# Your exercise once more, for whole rows of words (no `%` is needed: `uint32` does it):


# %%
def masked(me, own_words, masks):
    sent = own_words.copy()
    for (first, second), mask in masks.items():
        if me == first:
            sent += mask
        elif me == second:
            sent -= mask
    return sent


sent = {name: masked(name, words[name], pair_masks) for name in names}
print("Harbour's words:    ", words["Harbour"][:4])
print("the server receives:", sent["Harbour"][:4])
print("the sum is the same:", (sum(sent.values()) == sum(words.values())).all())

# %% [markdown]
# The third line is the point: not nearly the same, *the same*, in every one of the words. Whole numbers that
# wrap around have no rounding. And the patient?

# %%
def columns_read(held, record=record):
    return (np.abs(read_out(held) - record) < 0.001).sum()


for what, held in (("update", updates["Harbour"]), ("masked update", from_words(sent["Harbour"]))):
    print(f"columns of the record read from the {what}: {columns_read(held)} of {len(record)}")

# %% [markdown]
# (Among uniform numbers a column may agree by accident once in a while. So 1 of 11 here or further down is no
# leak; 11 of 11 is.)
#
# ## Who agrees on the masks?
#
# We drew the masks in one place, and whoever draws them can take them off. The hospitals must agree in pairs,
# and all they have is a line through the very server that must not know. This is the trick that made public-key
# cryptography known (Diffie and Hellman 1976, doi:10.1109/TIT.1976.1055638). Each side keeps an exponent secret
# and publishes a power:

# %%
p, g = 23, 5  # public
a, b = 6, 15  # a: Northgate's secret, b: Harbour's
A, B = pow(g, a, p), pow(g, b, p)  # these two travel through the server
print(f"the server sees {A} and {B}")
print(f"Northgate computes {pow(B, a, p)}, Harbour computes {pow(A, b, p)}")

# %% [markdown]
# Both arrive at $g^{ab}$; the server has $g^a$ and $g^b$, and nobody knows a better way than to find an
# exponent. With 23 it tries them all. In earnest one takes a group in which trying is hopeless: X25519, with
# secrets of 32 bytes (RFC 7748).

# %%
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

private = {name: X25519PrivateKey.generate() for name in names}  # stays in the hospital
public = {name: key.public_key() for name, key in private.items()}  # the server passes it on

at_northgate = private["Northgate"].exchange(public["Harbour"])
at_harbour = private["Harbour"].exchange(public["Northgate"])
print(f"{8 * len(at_harbour)} bits; both have the same: {at_northgate == at_harbour}")

# %% [markdown]
# A shared secret of 32 bytes is not yet a mask of thousands of words. Two more standard parts: HKDF turns the
# secret into a clean key and notes what it is for and whose two keys made it (RFC 5869). A cipher, AES in
# counter mode, then stretches the key into as many words as we like. (Whose keys? A public key has twins that
# give the same secret, RFC 7748 section 7, and a cheat could advertise one.) To somebody without the key the
# words look uniform.

# %%
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF


def agree(mine, yours):
    both = b"".join(sorted(key.public_bytes_raw() for key in (mine.public_key(), yours)))
    stretch = HKDF(hashes.SHA256(), length=32, salt=None, info=b"round 0" + both)
    return stretch.derive(mine.exchange(yours))


def expand(key, n_words):
    stream = Cipher(algorithms.AES(key), modes.CTR(bytes(16))).encryptor()
    return np.frombuffer(stream.update(bytes(4 * n_words)), dtype="<u4")


def pair_mask(mine, yours):
    return expand(agree(mine, yours), len(words["Harbour"]))


# %% [markdown]
# Now nobody deals out masks. Each hospital makes its own, from its private key and the others' public keys:


# %%
def send(me):
    partners = {pair: pair[1] if me == pair[0] else pair[0] for pair in pairs if me in pair}
    masks = {pair: pair_mask(private[me], public[other]) for pair, other in partners.items()}
    return masked(me, words[me], masks)


sent = {name: send(name) for name in names}
print("the sum is the same:", (sum(sent.values()) == sum(words.values())).all())

# %% [markdown]
# The server carried every public key and every masked update, and has none of the masks. From here on "says
# nothing" means: to anybody who cannot break X25519 or AES. (And the server could *swap* the public keys for its
# own, and sit in the middle of every pair. That is why keys are signed; we come to it.)
#
# ## A hospital drops out
#
# Harbour's line fails before its update is through. The server has four masked updates and adds them up.

# %%
four = {name: sent[name] for name in names if name != "Harbour"}
without = sum(words[name] for name in four)
plots.show(
    plots.sums(
        {
            "all five arrive": (from_words(sum(words.values())), from_words(sum(sent.values()))),
            "Harbour drops out": (from_words(without), from_words(sum(four.values()))),
        }
    ),
    alt="The server's sum against the true one. With all five on the diagonal. Without Harbour "
    "a cloud over the whole range of the words: nothing is left of the sum.",
)

# %% [markdown]
# Look at the right panel and its vertical axis. The masks that four hospitals share with Harbour have lost
# their partners, and the sum is as random as the masks. One failing line out of five, and the round is lost for
# all. And if each line fails once in twenty rounds, some line among a hundred fails in 99 of 100.
#
# ## Shamir: a secret in pieces
#
# Somebody would have to know Harbour's private key: then its masks could be computed and taken off. But nobody
# may know it. Adi [Shamir](../docs/glossary.md#Shamir)'s way out (1979, doi:10.1145/359168.359176) is to hand out
# *pieces*, so that any three
# hospitals together have the key, and any two have nothing. Here is the idea with two in place of three. The
# secret is where a line crosses the axis. Each hospital gets one point of the line.

# %%
plots.show(
    plots.shares_on_a_line(
        secret=42, slope=11, points=[1, 2, 3, 4, 5], guesses=[4, 16, 28, 42, 54, 66, 78, 90]
    ),
    alt="Left: one point, and lines through it that cross the axis at every height: one share "
    "fits every secret. Right: two points fix the line, which crosses at 42, and the other "
    "three shares lie on it.",
)

# %% [markdown]
# Through one point there is a line for every secret. Through two there is one line. For a threshold of $t$ take
# a polynomial of degree $t - 1$, and take everything modulo a prime $p$, so that no share is "large" or
# "small":
#
# $$f(x) = s + c_1 x + \dots + c_{t-1} x^{t-1} \bmod p, \qquad \text{hospital } i \text{ gets } f(i)$$

# %%
def shares(secret, threshold, points, p, rng):
    coefficients = [secret, *(int(c) for c in rng.integers(0, p, threshold - 1))]
    return [sum(c * x**k for k, c in enumerate(coefficients)) % p for x in points]


print("42 in five pieces, threshold 3, modulo 97:", shares(42, 3, [1, 2, 3, 4, 5], 97, rng))
print("and again, with other coefficients:       ", shares(42, 3, [1, 2, 3, 4, 5], 97, rng))

# %% [markdown] tags=["deep"]
# Do two pieces say nothing, with a threshold of three? Modulo a prime this small we can ask *all* polynomials.
# For each secret we count those that give the first two hospitals the pieces 10 and 20.

# %% tags=["deep"]
secret, c1, c2 = np.meshgrid(np.arange(97), np.arange(97), np.arange(97), indexing="ij")
first, second = (secret + c1 + c2) % 97, (secret + 2 * c1 + 4 * c2) % 97
fitting = ((first == 10) & (second == 20)).sum(axis=(1, 2))  # for each secret
print(f"{secret.size:,} polynomials")
print(f"for each secret {fitting.min()} to {fitting.max()} of them fit")

# %% [markdown] tags=["deep"]
# One for every secret, so two pieces leave all secrets equally likely.

# %% [markdown]
# Two pieces fit every secret equally well. That is not "hard to compute", it is *impossible to know*.
#
# And back? With $t$ points the value at 0 is a weighted sum of the shares (Lagrange):
#
# $$s = \sum_{i} f(x_i) \prod_{j \ne i} \frac{x_j}{x_j - x_i} \bmod p$$
#
# Dividing modulo a prime means multiplying by the inverse, which Python has: `pow(a, -1, p)`.
#
# <div class="alert alert-info"><b>Your turn ★★</b> Put the secret together: <code>points</code> are the hospitals' numbers,
# <code>shares</code> what they hold, <code>p</code> the prime. Work with whole numbers from beginning to end.</div>


# %%
def combine(points, shares, p):
    ...


checks.combine(combine)


# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def combine_solution(points, shares, p):
    secret = 0
    for x, share in zip(points, shares, strict=True):
        for other in points:
            if other != x:
                share = share * other * pow(other - x, -1, p) % p
        secret += share
    return secret % p


checks.combine(combine_solution)

# %% [markdown]
# The package has the same for 256-bit secrets, with the operating system's randomness. So before the round each
# hospital cuts its private key into five pieces, keeps one, and sends one to each of the others, sealed,
# through the server. (Sealed under a *second* pair of keys, for letters only: the private key from which the
# masks come, the *mask key*, may have to be opened later, and would open the letters with it.) When Harbour
# falls silent, three of the others send the server their piece of *Harbour's* key.

# %%
from fedlab_utils.secagg import shamir

five = [1, 2, 3, 4, 5]
key = int.from_bytes(private["Harbour"].private_bytes_raw(), "big")
pieces = dict(zip(five, shamir.split(key, 3, five), strict=True))

back = shamir.combine([1, 2, 4], [pieces[1], pieces[2], pieces[4]])  # 3 of those that are left
rebuilt = X25519PrivateKey.from_private_bytes(back.to_bytes(32, "big"))
harbours_masks = sum(pair_mask(rebuilt, public[name]) for name in four)  # the four added them
print("the sum of the four:", (sum(four.values()) - harbours_masks == without).all())

# %% [markdown]
# The sum is saved. Harbour's key is known now, and that does no harm: its update never arrived, and for the
# next round it makes a new key.
#
# ## Break it: the server lies to everyone
#
# "Its update never arrived." Who says so? The server. Suppose Harbour's message came through late, or the
# server put it aside and told everybody that Harbour is gone. The four do what they should.

# %%
late = sent["Harbour"]  # was there all the time
opened = from_words(late + harbours_masks)  # the server has rebuilt the key, and so the masks
print(f"columns of the record that the server reads: {columns_read(opened)} of {len(record)}")

# %% [markdown]
# The patient is back. Nothing was broken: the honest hospitals handed over the key. With a single mask,
# *dropping out* and *being read* differ only in the server's word.
#
# The cure of Bonawitz et al. 2017 (eprint 2017/281) is a second mask that is nobody's but Harbour's own, made
# from a random key $b$:
#
# $$y_u = x_u + \mathrm{PRG}(b_u) + \sum_{v > u} \mathrm{PRG}(s_{uv}) - \sum_{v < u} \mathrm{PRG}(s_{uv})
# \bmod 2^{32} \qquad\text{(section 4)}$$
#
# ($b_u$ is the key of the own mask, $s_{uv}$ what a pair agreed on; neither is the $a$, $b$ or $s$ from above.)
# Both secrets are cut into pieces. And then the rule that everything hangs on: for each hospital, the others
# reveal **either** pieces of its own mask's key (it survived) **or** pieces of its private key (it dropped
# out). **Never both.**

# %%
import os

own_key = os.urandom(32)  # Harbour's b
late = sent["Harbour"] + expand(own_key, len(words["Harbour"]))

pair_masks_off = late + harbours_masks  # what pieces of the private key can do
own_mask_off = late - expand(own_key, len(late))  # what pieces of b can do
for said, held in (("Harbour dropped out", pair_masks_off), ("Harbour is here", own_mask_off)):
    print(f"'{said}': columns read {columns_read(from_words(held))} of {len(record)}")

# %% [markdown]
# Whatever the server says, one mask stays on. The picture below is the whole protocol (Figure 4 of the paper),
# and the package's `secagg` module follows it. Round 3 is for a server that tells different hospitals different
# stories: each hospital signs what it was told, with a key that the others know from *outside the server*, and
# nobody opens anything before enough have signed the same. (A deep section below plays that server.)

# %%
plots.show(
    plots.protocol_rounds(),
    alt="Five rounds between each hospital and the server. Advertise keys: two public keys up, "
    "everybody's down. Share keys: sealed shares up and down. Masked input: update plus own "
    "mask plus or minus pair masks up, who is still here down. Consistency, against a lying "
    "server: signatures up and down. Unmask: for a survivor the share of its own mask, for a "
    "dropped one the share of its mask key; the server has the sum.",
)

# %% [markdown]
# (In the package a hospital signs all that it says to the server; the letters with shares are sealed instead, so
# that only their reader can open them. The paper signs keys and lists.) In code: five hospitals, of which one
# falls silent, and every message a real row of bytes. The threshold is four of five, the package's
# default, more than two thirds; three would do if nobody works for the server:

# %%
from fedlab_utils import secagg

inputs = np.stack([words[name] for name in names])
setup = secagg.Setup(n=5, threshold=4, words=inputs.shape[1], bits=32)
outcome = secagg.run(inputs, setup, drop={4: "mask"})  # Harbour sends keys and shares, then nothing
print("in the sum:", [names[u] for u in outcome.survivors])
print("exact:", (outcome.total == without).all())

# %% [markdown] tags=["deep"]
# ## ◆ Break it: two stories
#
# There is a better lie. Tell *some* hospitals that Harbour is here, and the others that it is gone. The first
# group gives pieces of its own mask's key, the second pieces of its private key, and each hospital keeps the
# rule. Only the threshold is in the way: each story has to find enough listeners. Let us play the server. First
# everything in order, up to the masked words:


# %% tags=["deep"]
def up_to_masks(setup):
    keys, registry = secagg.register(setup.n)
    known = dict(registry=registry)
    clients = [secagg.Client(u, setup, signing_key=keys[u], **known) for u in range(setup.n)]
    server = secagg.Server(setup, registry=registry)
    hello = [client.advertise() for client in clients]
    boxes = server.keys(hello)
    boxes = server.forward([letter for c in clients for letter in c.share(boxes[c.number])])
    return clients, hello, [c.mask(boxes[c.number], inputs[c.number]) for c in clients]


everybody, without_harbour = [0, 1, 2, 3, 4], [0, 1, 2, 3]
careless = secagg.Setup(n=5, threshold=2, words=inputs.shape[1], bits=32, malicious=False)
clients, hello, sent_in = up_to_masks(careless)
tell = {0: everybody, 1: everybody, 2: without_harbour, 3: without_harbour}
lists = {u: secagg.survivor_list(careless, u, story) for u, story in tell.items()}
answers = {u: clients[u].unmask([told]) for u, told in lists.items()}

# %% [markdown] tags=["deep"]
# This setup trusts the server to follow the protocol (`malicious=False`) and has a threshold of two. Each
# answer holds an entry for each client: who, of which of the two secrets, and the share (33 bytes, as the prime
# lies above $2^{256}$). First the shares of Harbour, client 4, sorted by secret:

# %% tags=["deep"]
from fedlab_utils.secagg import messages

own_mask, mask_key = {}, {}
for u, answer in answers.items():
    opened = messages.ENTRY.iter_unpack(answer.body)
    entries = {v: (which, int.from_bytes(share, "big")) for v, which, share in opened}
    which, share = entries[4]
    (own_mask if which == messages.SEED else mask_key)[u + 1] = share  # points are numbered from 1
print("shares of its own mask's key from points", list(own_mask))
print("shares of its mask key from points", list(mask_key))

# %% [markdown] tags=["deep"]
# Two of each, and two are enough. The server puts both secrets together, takes off the own mask, and agrees
# with everybody in Harbour's name to take off the pair masks:

# %% tags=["deep"]
b = shamir.combine(list(own_mask), list(own_mask.values())).to_bytes(32, "big")
secret_bytes = shamir.combine(list(mask_key), list(mask_key.values())).to_bytes(32, "big")
s = X25519PrivateKey.from_private_bytes(secret_bytes)

x = np.frombuffer(sent_in[4].body, "<u4") - secagg.expand(b, careless.words, 32)
for u in range(4):  # in the package the later of a pair adds
    agreed = secagg.agree(s, messages.public_keys(hello[u])[1], careless.context + b"masks")
    x = x - secagg.expand(agreed, careless.words, 32)
read = columns_read(from_words(x))
print(f"columns of the record that the server reads: {read} of {len(record)}")

# %% [markdown] tags=["deep"]
# Two hospitals for each story were enough. How large must the threshold be, so that there are never enough
# listeners for two stories? Each story needs $t$ pieces. An honest hospital listens to one of them; one that
# works for the server gives its pieces to both.
#
# <div class="alert alert-info"><b>Your turn ★★</b> <code>n</code> hospitals, <code>colluding</code> of them work for the
# lying server. Return the smallest threshold that leaves no room for two stories.</div>


# %% tags=["deep"]
def safe_threshold(n, colluding):
    ...


checks.safe_threshold(safe_threshold)


# %% tags=["solution", "hide-input", "deep"] jupyter={"source_hidden": true}
def safe_threshold_solution(n, colluding):
    # count the pieces that two stories have to share
    pieces_in_all = n + colluding  # whoever colludes gives a piece to each story
    return pieces_in_all // 2 + 1  # twice this is more than there are


checks.safe_threshold(safe_threshold_solution)

# %% [markdown] tags=["deep"]
# The package refuses a threshold that is too small against a lying server. That stops two stories about *one*
# hospital. It does not stop thirty stories about thirty: without signatures, a server of 30 hospitals with a
# threshold of 16 can tell each of them another list of sixteen, and open the sum of a few. So everybody has to
# see the *same* list. That is round 3 of the picture: each one signs the list that it was told, and opens
# nothing before as many as the threshold have signed the very same list. Signing keys are exchanged outside the
# server. We tell two stories again:

# %% tags=["deep"]
try:
    secagg.Setup(n=5, threshold=2, words=inputs.shape[1], bits=32)
except ValueError as refused:
    print("Setup:", refused)
clients, hello, sent_in = up_to_masks(setup)  # threshold 4, and a server that may lie
tell = {0: everybody, 1: everybody, 2: without_harbour, 3: without_harbour}
signed = {u: clients[u].check(secagg.survivor_list(setup, u, story)) for u, story in tell.items()}
for u, handed in ((0, list(signed)), (1, [0, 1])):  # all signatures, or those under the same story
    try:
        clients[u].unmask([signed[v] for v in handed])
    except secagg.ProtocolError as stopped:
        print(f"Hospital {u}, handed those of {handed}: {stopped}")

# %% [markdown] tags=["deep"]
# Whether the server hands on all signatures or only the fitting ones: the hospitals stop, and open nothing. A
# lying server can still end a round. Through the masks it cannot read anybody. What it can do with the *model*
# that it sends stands further down.

# %% [markdown]
# ## Real numbers on a grid
#
# Masks need whole numbers, and updates are not whole. Above we rounded to the nearest $2^{-20}$. Properly one
# lays a grid from $-L$ to $L$, and each value goes to one of the two grid points beside it. *Which* one
# matters. Suppose a hospital's value lies at 0.3 of a step, in a thousand places or in a thousand rounds:


# %%
def nearest(values, limit, levels, rng):
    return np.round((values + limit) / (2 * limit) * levels)


def by_coin(values, limit, levels, rng):
    return np.floor((values + limit) / (2 * limit) * levels + rng.random(len(values)))


step = 2 / 100
for rounding in (nearest, by_coin):
    back = rounding(np.full(1000, 0.3 * step), 1.0, 100, rng) * step - 1
    print(f"{rounding.__name__:8} mean of 1000: {back.mean() / step:.2f} steps (true: 0.30)")

# %% [markdown]
# Rounding to the nearest level loses small values, every time in the same direction. A coin that falls up three
# times in ten is wrong each single time and right on average: it is *unbiased*, and in a mean over many the
# errors cancel.
#
# The second question is room. Hospitals count by their patients, so the server needs $\sum_u n_u\, v_u$. A word
# must hold the largest sum that can occur, for *all rows together*. Counting grid points from 0 (at $-L$) to
# *levels* (at $L$):
#
# $$\text{levels} \cdot \text{rows} \le 2^{\text{bits}} - 1$$

# %%
from fedlab_utils.secagg.grid import Grid, decode, encode

for bits in (16, 32, 64):
    grid = Grid(limit=4.0, bits=bits, max_rows=2**13)  # the network has about 8,000 training rows
    print(f"{bits} bits: {grid.levels:,} levels, a step is {grid.step:.2g}")
update = updates["Northgate"]
ours = 64 * by_coin(update, 4.0, grid.levels, np.random.default_rng(1)).astype(np.uint64)
theirs = encode(update, 64, grid, np.random.default_rng(1))
print("by hand, the same words:", (ours == theirs[:-1]).all(), "  and one word more:", theirs[-1])

# %% [markdown]
# 16 bits leave a handful of levels, 32 bits are plenty. (With 64 the package stops at $2^{44}$ levels: the digits of a
# 64-bit float would not do for finer ones.) The one word more is the number of rows: it is masked and added like
# all others, so these messages tell the server how many patients there were *in all*, and it divides. (One
# hospital's number it has read before, in the first message of `data.load`, unless those sums travel through an
# [aggregator](../docs/glossary.md#aggregator), too: `data.load(..., aggregator=...)`.) A value outside the limit or too
# many rows is refused in a
# clear sentence: a word that runs over would look like any other word.
#
# ### Four quantisers, one of them right
#
# Four teams wrote a quantiser for words of 16 bits: values from -1 to 1, up to 1,024 rows in all. Each claims:
# *unbiased, and no sum ever runs over.* Three are wrong, and none raises an error. Their lines are folded
# below; leave them closed, *measure* first.

# %% tags=["hide-input"] jupyter={"source_hidden": true}
LEVELS = (2**16 - 1) // 1024  # 63


def team_a(values, rows, rng):
    level = np.floor((values + 1) / 2 * 72 + rng.random(len(values)))
    return (rows * level).astype(np.int64).astype(np.uint16), 72


def team_b(values, rows, rng):
    return (rows * np.round((values + 1) / 2 * LEVELS)).astype(np.int64).astype(np.uint16), LEVELS


def team_c(values, rows, rng):
    level = np.floor((values + 1) / 2 * LEVELS + rng.random(len(values)))
    return (rows * level).astype(np.int64).astype(np.uint16), LEVELS


def team_d(values, rows, rng):
    place = (values + 1) / 2 * LEVELS
    low = np.floor(place)
    up = rng.random(len(values)) > place - low
    return (rows * (low + up)).astype(np.int64).astype(np.uint16), LEVELS


teams = {"A": team_a, "B": team_b, "C": team_c, "D": team_d}

# %% [markdown]
# This measures: every hospital has the same `value` in 5,000 places, quantises it, the words are added modulo
# $2^{16}$, the sum is divided by the rows and turned back. Change `value` and `hospital_rows`, and run it
# again.


# %%
def errors_in_steps(team, value, hospital_rows, repeats=5000):
    total, rng = np.zeros(repeats, np.uint16), np.random.default_rng(0)
    for rows in hospital_rows:
        part, levels = team(np.full(repeats, value), rows, rng)
        total += part
    return (total / sum(hospital_rows) * 2 / levels - 1 - value) * levels / 2


value, hospital_rows = 0.0, [300, 250, 200, 150, 100]
for name, team in teams.items():
    error = errors_in_steps(team, value, hospital_rows)
    print(f"{name}: mean error {error.mean():+.2f} steps, largest {np.abs(error).max():.2f}")

# %% [markdown]
# <div class="alert alert-info"><b>Your turn ★★★</b> Which teams are wrong? Write the set of their letters, such as
# <code>{"A", "B"}</code>, after measuring all four. Every value from -1 to 1 and every division of up to 1,024 rows is allowed: try both ends and the middle.</div>

# %%
crooked = ...

checks.crooked(crooked)

# %% [markdown]
# The answer stands folded below; measure before you open it.

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
# open this cell when you have measured all four
crooked_solution = {"A", "B", "D"}
# A: 72 levels leave room for 910 rows, not 1,024, which shows near the limit. B has no coin.
# D turned it round: close to a level, it goes to the other one.

checks.crooked(crooked_solution)

# %% [markdown]
# Now all of it together, in a training. The aggregator is one argument:

# %%
work = dict(rounds=5, local_steps=20, batch_size=64, lr=0.2, hidden=(32,), record=True)
plain = federated.train(federation, **work)
secure = federated.train(federation, aggregator=secagg.SecureSum(), **work)
for name, run in (("plain", plain), ("secure", secure)):
    print(f"{name:6} AUC {run.auc[0]:.4f}")
far = (plain.params.flat() - secure.params.flat()).abs().max()
print(f"largest difference of a parameter: {far:.0e}")

# %% [markdown]
# The same model, up to the grid: **masks cost no accuracy.** They are not noise that averages out; they are
# gone. And this is what travelled in the first round:

# %%
log = secure.transcript.query("round == 1")
table = log.groupby("what", sort=False)["bytes"].agg(["count", "sum"])
display(table.rename(columns={"count": "messages", "sum": "bytes"}))
held = log.query("what == 'masked update'").iloc[-1]
print(f"what the server holds of {held['sender']}:", held["values"][:4], "...")

# %% [markdown]
# The masked updates grow with the model; keys, shares and signatures do not. What the server holds of a hospital
# is a row of numbers without any meaning, and in the next round another one.

# %% [markdown] tags=["deep"]
# Lines fail in a training, too. With `dropout` each hospital falls silent with that chance in each round, after
# its work and before its masked words are due:

# %% tags=["deep"]
ten = work | dict(rounds=10)
shaky = federated.train(federation, aggregator=secagg.SecureSum(), dropout=0.2, **ten)
arrived = shaky.transcript.query("what == 'masked update'").groupby("round").size()
print("masked updates, round by round:", arrived.tolist(), "  AUC", shaky.auc[0].round(4))
print("rounds that came to nothing:", shaky.failed[0])

# %% [markdown] tags=["deep"]
# Where four of five are left, their pieces save the sum, as on paper. Where fewer are, no mask is opened: the
# round changes nothing, and the next one begins from the same model.

# %% [markdown]
# ## Live lab: the sum and nothing else
#
# Hospitals with updates of a small network, all counting alike. On the left what the server holds of one of
# them, byte by byte, beside the same words without masks; a chi-square test asks whether every byte value is as
# likely as any other. On the right the mean that comes out, against the plain one. Things to try:
#
# 1. Look for a number of hospitals, of bits, anything, for which the left histogram gives something away. (One
#    try in twenty gives a p below .05 by chance: try it again.)
# 2. Let hospitals fall silent, at each stage. Up to which one is their update missing in the sum, and from
#    which one on is it in? When does the round fail?
# 3. 30 hospitals and 8 bits. What has become of the right panel, and why?
# 4. A threshold below one half. Who refuses, and which lie would it let through?

# %%
from functools import lru_cache

from scipy.stats import chisquare

pool = federation.pooled()


@lru_cache(maxsize=32)
def some_updates(n):  # patients dealt out to n hospitals, twenty steps each
    net = fleet.init(1, (federation.n_features, 128, 1), seed=0)
    rows = [np.arange(k, len(pool.y_train), n) for k in range(n)]
    steps = dict(steps=20, batch_size=64, lr=0.2, seed=0)
    trained = fleet.fit(net[[0] * n], pool.X_train, pool.y_train, rows, **steps)
    return (trained.flat() - net.flat()).double().numpy().clip(-1, 1)


# %% [markdown]
# A round, and what travels in it:


# %%
def one_round(n, threshold, bits, drop):
    """Inputs, survivors, sum, and the masked words of the first survivor."""
    grid = Grid(limit=1.0, bits=bits, max_rows=n)
    coins = np.random.default_rng(0)
    inputs = np.stack([encode(update, 1, grid, coins) for update in some_updates(n)])
    setup = secagg.Setup(n, threshold, inputs.shape[1], bits)
    out = secagg.run(inputs, setup, drop=drop)
    masked_words = {m.sender: m.body for m in out.messages if m.stage == "mask"}[out.survivors[0]]
    n_bytes = inputs.itemsize * inputs.shape[1]
    return grid, inputs, out, np.frombuffer(masked_words, np.uint8, n_bytes)


# %% [markdown]
# The sentence under the picture:


# %%
def reading(seen, bare, n, grid, inputs, out, means):
    test = chisquare(np.bincount(seen, minlength=256))
    bare = chisquare(np.bincount(bare, minlength=256)).statistic
    same = (out.total == inputs[list(out.survivors)].sum(0, dtype=inputs.dtype)).all()
    return (
        f"{len(seen):,} bytes of one hospital: chi-square {test.statistic:.0f} on 255 degrees "
        f"of freedom, p = {test.pvalue:.2f}; without masks it would be {bare:,.0f}. "
        f"{len(out.survivors)} of {n} hospitals are in the sum, which "
        f"{'equals' if same else 'differs from'} that of their words; the mean is off by "
        f"{np.abs(means[0] - means[1]).max():.1g} at most, and a step of the grid is "
        f"{grid.step:.1g}."
    )


# %% [markdown]
# And what runs when you move something:


# %%
def sum_and_nothing_else(show, hospitals, silent, stage, threshold, bits):
    t = max(-(-hospitals * threshold // 100), 1)
    drop = {u: stage for u in range(hospitals - min(silent, hospitals), hospitals)}
    refused = ""
    try:
        grid, inputs, out, seen = one_round(hospitals, t, bits, drop)
    except (ValueError, secagg.ProtocolError) as reason:  # show it with nobody missing
        refused, t = str(reason)[0].upper() + str(reason)[1:], secagg.default_threshold(hospitals)
        grid, inputs, out, seen = one_round(hospitals, t, bits, {})
    bare = inputs[out.survivors[0]].view(np.uint8)
    means = some_updates(hospitals)[list(out.survivors)].mean(0), decode(out.total, grid)[0]
    sentence = reading(seen, bare, hospitals, grid, inputs, out, means)
    if refused:
        sentence = f"No sum, nothing is opened. {refused} (Left: a masked update with all there.)"
    picture = plots.server_view(seen, bare, None if refused else means, refused)
    alt = f"A flat histogram of bytes, beside it the mean or why there is none. {sentence}"
    show(picture, sentence, alt=alt)


# %% [markdown]
# And its controls:

# %%
widgets.lab(
    sum_and_nothing_else,
    title="The sum and nothing else, live",
    hospitals=widgets.slider(3, 30, 10, label="Hospitals"),
    silent=widgets.slider(0, 15, 2, label="Fall silent"),
    stage=widgets.choice(
        ["advertise", "share", "mask", "check", "unmask"], "mask", label="when asked to"
    ),
    threshold=widgets.slider(30, 100, 70, step=5, label="Threshold", unit="% of all"),
    bits=widgets.choice([8, 16, 32, 64], 32, label="Bits of a word"),
)

# %% [markdown]
# <details><summary>Who is in the sum?</summary>Whoever falls silent before its masked words are through is not in it: at
# <i>advertise</i>, <i>share</i> or <i>mask</i>. Whoever is silent later, at <i>check</i> or <i>unmask</i>, is: its words
# are there, and the others open its own mask. At every stage enough must be left, or nobody goes on.</details>
#
# <details><summary>8 bits, and a low threshold?</summary>30 hospitals share the 255 steps of a word, so 8 are left for
# the way from -1 to 1: the mean becomes a staircase with noise. At one half or less the package refuses, since two groups could then be told two stories about one hospital.</details>
#
# A p-value tests one thing: whether single bytes are evenly spread. Passing it is necessary and proves little,
# as the next *break it* shows.

# %% [markdown] tags=["deep"]
# ## ◆ What it costs
#
# Each hospital makes a mask for every other one, so the work grows with the square of their number; all of them
# run on one core here.

# %% tags=["deep"]
from time import perf_counter


def seconds(n, values):
    setup = secagg.Setup(n, secagg.default_threshold(n), values, 32)
    zeros = np.zeros((n, values), np.uint32)
    took = []
    for _ in range(2):  # the quicker of two: other programs cost time too
        began = perf_counter()
        secagg.run(zeros, setup, drop={0: "mask"})
        took.append(perf_counter() - began)
    return min(took)


# %% [markdown] tags=["deep"]
# Traffic follows from the sizes of messages, so it can be computed for crowds that nobody here can simulate:

# %% tags=["deep"]
many = [5, 10, 20, 40]
measured = {f"{d:,} values": (many, [seconds(n, d) for n in many]) for d in (1_000, 100_000)}
crowds, d = [10, 100, 1000, 10_000], 100_000


def factor(n, neighbours=None):
    sizes = secagg.traffic(n, d, 32, neighbours=neighbours and min(neighbours, n - 1))
    return (sizes["client sends"] + sizes["client receives"]) / sizes["plain update"]


factors = {"a mask with everybody": (crowds, [factor(n) for n in crowds])}
factors["300 neighbours at most"] = (crowds, [factor(n, 300) for n in crowds])
plots.show(
    plots.costs(measured, factors),
    alt="Left: seconds a round grow with the number of hospitals, faster than in proportion. "
    "Right: bytes of a hospital over a plain update stay near one up to a hundred hospitals "
    "and rise steeply at 10,000; with 300 neighbours they stay low.",
)

# %% [markdown] tags=["deep"]
# On the left both lines climb, towards the right with about the square. With 1,000 values nearly all of it is
# keys, shares and signatures, and with 100,000 still much of it; for far larger models the masks take over. (A
# signature that all hospitals check is checked once here, as all of them run on one machine.) For a network of
# hospitals all this is small: seconds at most, and for 100,000 values hardly more bytes than without. For ten
# thousand phones it is not, and Bell et al. 2020 (eprint 2020/704) do not let everybody talk to everybody: a
# sparse random graph is enough. In their example for 10,000 clients each one talks to 3% of the others, 300,
# and can be sure that its input is added to those of at least 5,000 others, with up to 5% dishonest and 5%
# dropping out. Our line on the right is an estimate on paper from the sizes of messages; the package runs the
# complete graph.
#
# Two published numbers to check ourselves against: Bonawitz et al. give 1.73 times the traffic of plain 16-bit
# values for $2^{10}$ users with $2^{20}$ values, and 1.98 times for $2^{14}$ users with $2^{24}$ values. With
# keys and shares of 256 bits, and words of 16 bits plus room for the sum:

# %% tags=["deep"]
for n, d, published in ((2**10, 2**20, 1.73), (2**14, 2**24, 1.98)):
    keys, sealed_shares, words_sent = 2 * n * 256, (5 * n - 4) * 256, d * (16 + np.log2(n))
    theirs = (keys + sealed_shares + words_sent) / (16 * d)
    ours = secagg.traffic(n, d, 32)
    ours = (ours["client sends"] + ours["client receives"]) / (2 * d)
    print(
        f"{n:6,} users, {d:10,} values: published {published}, recomputed {theirs:.2f}; "
        f"this package {ours:.2f}"
    )

# %% [markdown] tags=["deep"]
# The published factors come out. Ours are higher since our words have 32 bits, where 26 and 30 would do, and
# each message carries a header, and what a hospital says to the server a signature (its letters carry a seal).

# %% [markdown]
# ## Break it: a mask used twice
#
# "The keys worked well, let us keep them for the next round." The update of the first round is from one
# patient. In the second, with the same start, Harbour has two. Pair masks and own mask are the same as before.

# %%
one, two = update_of(harbour, [0]), 2 * update_of(harbour, [0, 1])  # each times its patients
both_masks = expand(own_key, len(one)) - harbours_masks
first_round, second_round = to_words(one) + both_masks, to_words(two) + both_masks
newcomer = harbour.X_train[1].numpy()
difference = from_words(second_round - first_round)
read = columns_read(difference, newcomer)
print(f"columns of the new patient's record read: {read} of {len(newcomer)}")

# %% [markdown]
# Each of the two messages by itself looks uniform; the difference has no mask at all. **A mask is for
# one message.** So the protocol makes new keys in each round, and every key is bound to the number of its
# round, which a training counts up by itself: no message of another round is accepted.

# %% [markdown] tags=["deep"]
# ### ◆ Break it: a short seed
#
# A mask is as secret as the key it grows from. Suppose the generator takes not 256 bits but 20. Of Harbour's
# masks all are known but one (its own was opened, as it survived; three of four partners work for the server).
# One mask is left, from a generator that everybody has: the Mersenne Twister behind `np.random.RandomState`.
# How does the server know that it guessed right? With the right seed, small numbers remain.

# %% tags=["deep"]
SEED_BITS = 20
secret_seed = int(np.random.default_rng().integers(2**SEED_BITS))
weak = np.random.RandomState(secret_seed).randint(0, 2**32, len(words["Harbour"]), dtype=np.uint32)
seen = words["Harbour"] + weak
print("the server has:", seen[:4], " uniform as ever")

# %% [markdown] tags=["deep"]
# To try a seed one needs only the first few words of its mask. Here they are for a whole row of seeds at once,
# the generator written out (Matsumoto and Nishimura 1998, doi:10.1145/272991.272995):


# %% tags=["deep"]
def twister_words(seeds, k):  # the first k words for each seed, [k, seeds]
    state, kept = seeds.astype(np.uint32), {}
    for i in range(397 + k):
        if i <= k or i >= 397:
            kept[i] = state
        state = np.uint32(1812433253) * (state ^ (state >> 30)) + np.uint32(i + 1)
    out = []
    for i in range(k):
        y = (kept[i] & 0x80000000) | (kept[i + 1] & 0x7FFFFFFF)
        y = kept[397 + i] ^ (y >> 1) ^ ((y & 1) * np.uint32(0x9908B0DF))
        y = y ^ (y >> 11)
        y = y ^ ((y << 7) & 0x9D2C5680)
        y = y ^ ((y << 15) & 0xEFC60000)
        out.append(y ^ (y >> 18))
    return np.array(out)


began, found = perf_counter(), []
for begin in range(0, 2**SEED_BITS, 2**14):
    seeds = np.arange(begin, begin + 2**14)
    rest = from_words(seen[:6, None] - twister_words(seeds, 6))
    found += seeds[(np.abs(rest) < 4).all(0)].tolist()
took = perf_counter() - began

# %% [markdown] tags=["deep"]
# And the result:

# %% tags=["deep"]
opened = seen - np.random.RandomState(found[0]).randint(0, 2**32, len(seen), dtype=np.uint32)
print(f"seeds that fit: {len(found)}; the right one: {found == [secret_seed]}")
print(f"{took:.1f} s for all 2^{SEED_BITS}")
print(f"columns of the record read: {columns_read(from_words(opened))} of {len(record)}")
minutes = took * 2.0 ** (np.array([28, 32]) - SEED_BITS) / 60
years = took * 2.0 ** (256 - SEED_BITS) / 3.2e7
print(f"at this speed: 2^28 seeds in {minutes[0]:.0f} min, 2^32 in {minutes[1]:.0f} min,")
print(f"2^256 in {years:.0e} years")

# %% [markdown] tags=["deep"]
# Twenty-eight bits are a coffee break of one processor core, thirty-two a long lunch, not years. This is no
# invented example. In Flower 1.41, a framework in wide use, SecAgg+ agrees on 256 bits as we do, writes the
# pair's key as base64 text, and its `pseudo_rand_gen` folds that by XOR into one number of 32 bits for
# `np.random.RandomState`. Each byte of such text starts with a zero bit, so 28 bits are left of a pair's key
# (and 32 of a hospital's own seed). It has been reported to its makers: github.com/flwrlabs/flower, issue 7522
# of July 2026. (Our search needs the other masks on the vector to be known, as above. Nothing here was tried
# against anybody's system.) The lesson to take along: look for the *narrowest* place.

# %% [markdown] tags=["deep"]
# ### ◆ Break it: masks of bell-shaped noise
#
# Some tutorials mask real numbers with Gaussian noise that cancels: "+ noise here, - noise there". No noise of
# finite size makes all values equally likely. The server knows two records and wonders whose update came in. It
# takes the likelier one; masks grow from left to right. And do they cancel? Once in 32-bit numbers, as models
# hold them (`float32`), and once in NumPy's 64-bit ones (`float64`).

# %% tags=["deep"]
candidates = np.stack([update_of(harbour, [0]), update_of(harbour, [1])])
spread = candidates.std()
scales, right, error = np.logspace(0, 7, 8), [], {"float32": [], "float64": []}
for scale in scales:
    masks_drawn = scale * spread * rng.standard_normal((2000, candidates.shape[1]), np.float32)
    truth = rng.integers(0, 2, 2000)
    seen = candidates[truth] + masks_drawn
    # the log-likelihood ratio, up to a factor
    score = (seen - candidates.mean(0)) @ (candidates[1] - candidates[0])
    right.append(((score > 0) == truth).mean())
    for kind, errors in error.items():
        first, second, mask = (v.astype(kind) for v in (*candidates, masks_drawn[0]))
        errors.append(np.abs((first + mask) + (second - mask) - (first + second)).max() / spread)
plots.show(
    plots.hide_or_add(scales, np.array(right), error),
    alt="Left: the server is always right under small masks and close to a coin from 100 "
    "spreads on. Right: in 32-bit numbers the error of the sum grows in proportion to the "
    "masks; in 64-bit numbers it stays at nothing.",
)

# %% [markdown] tags=["deep"]
# Small masks hide nothing, large ones hide *nearly* everything. In 32-bit numbers they spoil the sum in
# proportion. In 64-bit numbers they do not: masks of millions of spreads cancel as far as anybody can see. So
# rounding is not the reason to do without them. The sound reasons are these. They never hide perfectly, and
# "nearly" adds up: over many rounds a small advantage grows like the root of their number. How much is enough
# depends on how large the numbers can be that they hide, which somebody has to know. And the sum is exact only
# as long as the format has digits to spare. Uniform whole numbers cancel exactly at any size of model, and hide
# everything as long as the keys hold.

# %% [markdown]
# ## What even a perfect sum gives away
#
# Everything so far protects *single updates from the server*. The sum itself is open, and that is what it is
# for. So who can still learn what?
#
# **All but one.** If four of the five put their updates together, the sum minus theirs is the fifth. No
# protocol can prevent it, since it follows from the result. (Two hospitals have no secrets from each other, and
# one alone is refused.)

# %%
result = sum(words.values())  # everybody may know it
last_one = result - sum(words[name] for name in four)
read = columns_read(from_words(last_one))
print(f"four of five together read {read} of {len(record)} columns of Harbour's patient")

# %% [markdown]
# **Two sums.** The round is done with all five. Then the server says that something went wrong, and starts it
# again from the same model; this time Harbour does not answer.

# %%
again = secagg.run(inputs, setup, drop={4: "mask"}).total  # a second, honest run
both = secagg.run(inputs, setup).total - again
read = columns_read(from_words(both))
print(f"from two perfect sums: {read} of {len(record)} columns of Harbour's patient")

# %% [markdown]
# That is lesson 04's screen in the entrance hall: today's sum minus yesterday's. Each round was flawless.
# Hospitals have to limit *which* sums they take part in: never the same start twice, never too few. (And that
# is a minimum, as the models of two rounds running are nearly the same start.)
#
# **A crooked model.** The server also sends the model. Suppose Harbour gets the right one, and all others one
# whose neurons never fire: nothing in their first layer changes.

# %%
asleep = fleet.Params([w.clone() for w in start.weights], [b.clone() for b in start.biases])
asleep.biases[0] -= 100  # below zero whoever the patient is
others = [used[h.name] * update_of(h, np.arange(64), asleep) for h in federation.hospitals[:4]]
read = columns_read(updates["Harbour"] + sum(others))
print(f"from a perfect sum over two models: {read} of {len(record)} columns of Harbour's patient")

# %% [markdown]
# The sum was exact and the protocol without fault (Pasquini et al. 2022, arXiv:2111.07380). So hospitals must look
# at the model before they train, and sign *which model* they were sent, which `SecureSum` does by itself in each
# round (deep, below).
#
# **A small crowd.** If all five send updates from few patients, some neurons fire for one patient only, and
# give that one away in the sum as they did in a batch (lesson 03; measured in the deep part). So a sum hides a
# hospital *among the others*, as far as the others are a crowd. What one patient can change in it is not bounded
# by any mask: for that there is lesson 04's clipping and noise. The two fit together well: under a mask the noise
# of all hospitals adds up *before* anybody sees it, so each of them needs less. A deep section does it. And the
# finished model is there for everyone to ask about its patients: lesson 06.

# %% [markdown] tags=["deep"]
# ### ◆ One model for all, and a small crowd
#
# Each hospital takes the hash of its model, 32 bytes, into the setup that all its signatures and letters cover.
# Nobody sends the hash: who has another one cannot read what the others wrote. The crooked server once more,
# with one model for Harbour and one for the rest:

# %% tags=["deep"]
keys, registry = secagg.register(5)
right_model, doctored = (secagg.fingerprint(m.flat()[0].numpy(), round=1) for m in (start, asleep))
clients = []
for u, model_hash in enumerate([doctored] * 4 + [right_model]):  # each from what it was sent
    about = dict(n=5, threshold=4, words=inputs.shape[1], bits=32, round=1)
    own_setup = secagg.Setup(**about, model=model_hash)
    clients.append(secagg.Client(u, own_setup, signing_key=keys[u], registry=registry))
hello = [client.advertise() for client in clients]
try:
    clients[4].share(hello)
except secagg.ProtocolError as stopped:
    print("Harbour stops:", stopped)

# %% [markdown] tags=["deep"]
# Harbour stops before it has masked anything. This forces *one model for all*, and no more: against one doctored
# model for everybody (Fowl et al. 2022, arXiv:2110.13057), somebody has to look at the model.
#
# And the small crowd. One patient in each hospital, then more:

# %% tags=["deep"]
for n_patients in (1, 2, 4, 64):
    rows = np.arange(n_patients)
    total = sum(n_patients * update_of(h, rows) for h in federation.hospitals)
    change = start.like(torch.tensor(total)[None])
    records = torch.cat([h.X_train[:n_patients] for h in federation.hospitals]).double()
    whole = (torch.cdist(records, attacks.divisions(change)[0]) < 0.01).any(1).sum().item()
    print(
        f"sum over 5 hospitals with {n_patients:2} patients each: "
        f"{whole} of {len(records)} patients read whole"
    )

# %% [markdown] tags=["deep"]
# The server added up what it could not see, and saw patients. Towards the end *dividing* finds nobody; that is
# no proof, as better attacks exist, also on sums of several rounds (SRATTA, Marchand et al. 2023,
# arXiv:2306.07644, even sorts what it finds by hospital).

# %% [markdown] tags=["deep"]
# ## ◆ Noise inside the sum
#
# Back to paper: 17, 42 and 5 patients with a rare disease, and a server that learns 64. Whoever knows all of
# them but one has the last one from the sum. Lesson 04 would add noise. But who adds it? If the *server* does,
# it has held the exact sum. If *each* hospital adds enough for itself, the sum is three times as noisy as it has
# to be. Under the masks there is a third way: each adds a **share** of the noise, and nobody ever sees less than
# all shares together. What if Harbour drops out? Its share is missing. So a share is not a third of the variance.
# It is scaled for the *fewest* hospitals with which the sum may be opened, here two:
#
# $$\text{variance of a share} = \frac{\text{variance that the promise needs}}{\text{threshold} - \text{colluding}}$$
#
# Masks need whole numbers, and so does the noise. *Skellam* noise is the difference of two counts of chance
# events (Poisson draws), and a sum of Skellam noise is Skellam noise again, whoever is in it (Agarwal, Kairouz
# and Liu 2021, arXiv:2110.04995).

# %% tags=["deep"]
needed, fewest = 12.0, 2  # the variance that a promise asks for; how many must be left


def share_of_noise(n_sums):
    rate = needed / fewest / 2  # half of the variance to each of the two draws
    return rng.poisson(rate, n_sums) - rng.poisson(rate, n_sums)


noisy = {name: number + share_of_noise(100_000) for name, number in own.items()}  # 100,000 sums
three = sum(noisy.values())
two = three - noisy["Harbour"]  # it dropped out
for who, sums, truth in (("all three", three, 64), ("Harbour drops out", two, 59)):
    print(
        f"{who:18} mean {sums.mean():.1f} (true {truth}), "
        f"variance {sums.var():.1f} (needed: {needed:.0f})"
    )

# %% [markdown] tags=["deep"]
# One is missing, and the variance is what was asked for. All are there, and it is half as much again: that is
# the price of not knowing who will come. Noise can take a number below zero, so words are read with a sign: the
# upper half of them stands for what is negative. Nobody cuts off or refuses a noisy word because it is large;
# that would tell something.
#
# (The *discrete Gaussian* is the other choice: the bell curve's probabilities on whole numbers. A sum of it is
# only nearly one; the gap is large for shares of less than a step and nothing from two steps on, Kairouz et al.
# 2021, arXiv:2102.06387. It can be drawn with whole numbers alone, so that no rounding of the machine can leak,
# Canonne et al. 2020, arXiv:2004.00010.)
#
# The package does it through the protocol. Five hospitals, nine counts each, of which one patient changes every
# one by one; and to have something to audit, 3,000 such tables at once: in every other one there is one
# patient more.

# %% tags=["deep"]
from fedlab_utils import audit, privacy

patient = np.arange(3000) % 2 == 1  # in every other table
tables = np.zeros((5, 3000 * 9), int)
tables[0] = np.repeat(patient, 9)
promise = privacy.RecordDP(epsilon=2.0)
released = secagg.private_sum(tables, promise=promise, cells=9, viewer="server", drop={4: "mask"})
ledger = released.ledger(names, what="nine counts")
display(ledger.table()[["what", "hospital", "viewer", "guarantee", "mechanism"]].head(2))

# %% [markdown] tags=["deep"]
# Two rows for one release. The *server* knows no share of the noise. A *hospital* that sees the result knows its
# own and takes it off, so for hospitals it is a little less noise and a larger epsilon: here the budget was kept
# for the server alone. Leave `viewer` out, and it is kept for both.
#
# Is it true? Lesson 04's auditor gets the sums, and may learn from a third of them which ones have the patient.
# It counts on the other 2,000. Beside it stands a control that it must convict: the words of one hospital with
# *one* share of noise, as if a server could drop all others.

# %% tags=["deep"]
def audited(sums):
    scores = sums.reshape(3000, 9).sum(1, keepdims=True).astype(float)
    return audit.judge(scores, patient, np.ones(1), gaussian=True)


one_share = tables[0] + secagg.noise.skellam(released.setup.share, tables.shape[1], rng)
held = {"sum of the four that are left": released.total, "one share of noise": one_share}
for what, sums in held.items():
    found = audited(sums)
    verdict = "more than promised" if found.refined > promise.epsilon else "no more than promised"
    print(f"{what:30} promised 2.00, epsilon is at least {found.refined:.2f}: {verdict}")

# %% [markdown] tags=["deep"]
# The sum stays below its promise; one share alone does not. (The bound is the one that holds if the noise is
# shaped like a bell, which Skellam noise of this size is.) So can a server drop hospitals until the noise is thin?
# This is what epsilon would be:

# %% tags=["deep"]
honest = [4, 3, 2, 1]
slope = [released.mechanisms["server"].among(k).epsilon for k in honest]
plots.show(
    plots.fewer_honest(honest, slope, promised=promise.epsilon, scaled_for=4),
    alt="Epsilon against the number of honest hospitals in the sum: as promised with the four "
    "that the noise was scaled for; it rises without a jump and is more than double with one.",
)

# %% [markdown] tags=["deep"]
# There is no cliff, only a slope: with fewer honest ones the promise gets weaker step by step. And this is what a
# hospital says when the server names only two of five:

# %% tags=["deep"]
clients, _, _ = up_to_masks(setup)  # the threshold is four
try:
    clients[0].check(secagg.survivor_list(setup, 0, [0, 1]))
except secagg.TooFewError as stopped:
    print("Hospital 0:", stopped)

# %% [markdown] tags=["deep"]
# It opens nothing when fewer are named than the threshold, which is the very number that the noise was scaled
# for. Those who collude with the server are left: it knows their shares, so they are subtracted beforehand.
#
# In a training it is one argument, `aggregator=secagg.PrivateSum()` under `HospitalDP`: hospitals round their
# clipped updates, add their shares and mask. The server adds nothing and holds a noisy sum. Two things to know
# before you use it. A loss distribution of Skellam noise on real updates is not available, so all is counted by
# RDP, which says 8 to 9% more than the PLD of lesson 04. And a noise from a published seed is no noise.

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: is a sum secure because it is a sum?
#
# [Poojari 2026] says: "Secure aggregation guarantees that the server not be able to find out the contribution
# of particular data", and: "Secure Aggregation can be mathematically represented as"
#
# $$\hat\theta_{agg} = \sum_{i=1}^{N} \theta_i \qquad\text{(4)}$$
#
# It also says that such methods "may add noise in the model updates, thereby reducing the model performance".
# Three things to look at. *Who sees what* in the listing that comes with it? There, a list `client_weights`
# collects what each client returns, and `np.mean` follows. That is an ordinary round; its transcript stands
# beside that of the protocol, read for the most telling thing that each viewer can see in it. *Does it cost
# accuracy?* Five splits, with and without. *Is a sum what one wants?* Lesson 03 has answered.

# %% tags=["deep"]
seen_by = federated.who_sees_what({"equation (4)": plain.transcript, "masked": secure.transcript})
plots.show(
    plots.who_sees_what(seen_by),
    alt="By equation (4) the server and an eavesdropper see single updates. Masked, they see "
    "the model of every round. Hospitals see the model of every round and the model's user the "
    "finished one, either way.",
)

# %% [markdown] tags=["deep"]
# In the open the server can read every single update, and so can whoever listens on a line without encryption
# of its own, which the picture assumes. Masked, the server is left with what it needs, the model. And what does
# it cost in accuracy?

# %% tags=["deep"]
splits = data.replicates("hospital_network", 5)
quiet = {name: value for name, value in work.items() if name != "record"}
runs = [federated.train(splits, aggregator=one, **quiet) for one in (None, secagg.SecureSum())]
aucs = [run.auc for run in runs]
far = np.abs(aucs[1] - aucs[0]).max()
print(f"AUC with and without the protocol, five splits: largest difference {far:.5f}")

# %% [markdown] tags=["deep"]
# **What holds.** The sentence before the equation is a good description of what
# [secure aggregation](../docs/glossary.md#secure-aggregation) is for, and
# a sum is indeed all that is needed. **What does not.** Equation (4) says what is computed, and secure
# aggregation is about how: keys, masks, [dropouts](../docs/glossary.md#dropout), a threshold. In the listing the server
# holds every $\theta_i$
# in the open, as in the left column of the picture. And aggregation adds no noise worth the name: the AUC
# hardly moves at all, by the rounding of the grid; it is differential privacy that costs accuracy. (A sum of
# $N$ models is also $N$ times too large, see lesson 03.) [Haque et al.] reach for encryption with the same
# words, "secure aggregation of encrypted model updates"; that is lesson 07. [7Med]'s "only the trained model
# updates, not the raw data, are shared" is our first screen.

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# The parts that we wrote by hand, against the package. Keys and masks first (both call the same library, so
# this only shows that they call it alike):

# %% tags=["deep"]
mine, yours = private["Northgate"], public["Harbour"]
key = agree(mine, yours)
print("agreed keys are the same:", key == secagg.agree(mine, yours, b"round 0"))
print("masks are the same:      ", (expand(key, 1000) == secagg.expand(key, 1000, 32)).all())

# %% [markdown] tags=["deep"]
# And Shamir's shares against SymPy's interpolation, which knows nothing of us, over the package's own prime:

# %% tags=["deep"]
import sympy

x = sympy.symbols("x")
pieces = shamir.split(123456789, 3, five)
points, values = [2, 3, 5], [pieces[i - 1] for i in (2, 3, 5)]
line = sympy.Poly(sympy.interpolate(list(zip(points, values, strict=True)), x), x)
at_zero = line.eval(0)  # a fraction, read modulo the prime
by_sympy = int(at_zero.p) * pow(int(at_zero.q), -1, shamir.PRIME) % shamir.PRIME
print("SymPy:", by_sympy, "  package:", shamir.combine(points, values))
print("2^256 + 297 is prime:", sympy.isprime(shamir.PRIME))

# %% [markdown] tags=["deep"]
# **Flower** has the protocol as a workflow, `SecAggPlusWorkflow(num_shares, reconstruction_threshold)`, with
# the sparse graph of Bell et al. and these defaults: values clipped at 8, a grid of $2^{22}$ levels, words
# modulo $2^{32}$, weights up to 1,000. Its rounds are the four of the semi-honest protocol: it has no
# signatures and no consistency check. `python course.py bench` times it beside ours.
#
# **Google** trained language models for its keyboard with secure aggregation together with differential privacy
# (Xu et al. 2023, arXiv:2305.18465: two of more than twenty models; Zhang et al. 2023, arXiv:2306.14793).
# Phones drop out all the time, which is why the protocol is built round dropouts.
#
# **A network of hospitals** has another problem. There are few, they are reliable, and they know each other.
# What it needs most is a way to know whose key is whose: [certificates](../docs/glossary.md#certificate) of a
# public-key infrastructure, or keys
# handed over in person, and in any case *not through the server*. Without it the server can be everybody. What
# our protocol leaves open, too: a hospital that lies about its words spoils the sum, and nobody sees which one it
# was. (One that lies about a *share* is found out where more answer than the threshold: their shares lie on one
# polynomial, and its share does not.)

# %% [markdown]
# ## Recap
#
# 1. Masks that pairs agree on cancel in the sum. Modulo a power of two a masked word looks uniform to whoever
#    lacks the keys, and the sum is exact.
# 2. Keys are agreed through the server that must not have them; pieces of keys save the sum when somebody drops
#    out.
# 3. For each hospital the others open its own mask *or* its pair masks, never both. Signatures make all see one
#    list.
# 4. Real numbers go on a grid: round by a coin, leave room for all rows, refuse what does not fit.
# 5. A sum can still tell: all but one, two sums of the same, a small crowd. Masks hide hospitals; noise hides
#    patients.
#
# ## Quiz
#
# <details><summary>1. Why modulo $2^{32}$, and not ordinary addition with large masks?</summary>Modulo, every value of the
# sent word is as likely whatever the own value is. With ordinary addition a large result hints at a large own
# value, and in 32-bit floating point large masks do not even cancel.</details>
#
# <details><summary>2. A hospital's masked update arrives after the others have given pieces of its private key. What protects
# it?</summary>Its own mask: pieces of that key were not given, and the rule says that they never will be.</details>
#
# <details><summary>3. (◆) Ten hospitals, none works for the server. What is the largest threshold that is too small against two stories?</summary>Five: two groups of five fit into ten. Six is enough.</details>
#
# <details><summary>4. A masked vector passes every test of uniformity. Is it safe?</summary>Not by that. A mask used twice, or
# grown from 20 bits, passes too. It depends on where the mask came from.</details>
#
# <details><summary>5. Does secure aggregation make the finished model private?</summary>No. It protects single updates from
# the server. The sum, and the model, are what they would have been without it, up to the rounding of the grid.</details>
#
# ## Further reading
#
# - Bonawitz et al. 2017, *Practical Secure Aggregation for Privacy-Preserving Machine Learning*, eprint
#   2017/281.
# - Bell et al. 2020, *Secure Single-Server Aggregation with (Poly)Logarithmic Overhead*, eprint 2020/704.
# - Shamir 1979, *How to Share a Secret*, doi:10.1145/359168.359176.
# - Diffie and Hellman 1976, *New Directions in Cryptography*, doi:10.1109/TIT.1976.1055638.
# - Kairouz, Liu and Steinke 2021, *The Distributed Discrete Gaussian Mechanism for Federated Learning with
#   Secure Aggregation*, arXiv:2102.06387.
# - Agarwal, Kairouz and Liu 2021, *The Skellam Mechanism for Differentially Private Federated Learning*,
#   arXiv:2110.04995.
# - Canonne, Kamath and Steinke 2020, *The Discrete Gaussian for Differential Privacy*, arXiv:2004.00010.
# - Pasquini, Francati and Ateniese 2022, *Eluding Secure Aggregation in Federated Learning via Model
#   Inconsistency*, arXiv:2111.07380; Fowl et al. 2022, *Robbing the Fed*, arXiv:2110.13057.
# - Marchand et al. 2023, *SRATTA: Sample Re-ATTribution Attack of Secure Aggregation in Federated Learning*,
#   arXiv:2306.07644.
# - Xu et al. 2023, *Federated Learning of Gboard Language Models with Differential Privacy*, arXiv:2305.18465.
# - Poojari 2026, *Privacy-Preserving Generative AI in Healthcare Systems Using Federated Learning Approaches*.
# - Haque, Shamim, Ali and Mujtaba, *Privacy Preserving Using Federated Learning for Collaborative Healthcare
#   Data Analysis*; [7Med], *Innovative Approach to Safeguarding Patient Data While Training AI Models in
#   Healthcare*.
