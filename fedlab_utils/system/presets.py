"""The documents' systems, each as its document describes it, and ours.

A comment says where a document leaves something open, and what was chosen. What all of them have in common: hospitals
and baselines are those of the course, and a clinic looks at missed patients, which no document does.
"""

from __future__ import annotations

from types import MappingProxyType

from fedlab_utils.system.settings import Data, Promise, Settings, Sum, Synthetic, Training

# [Taj]: "Original data is taken", converted "to artificial data similar to original data", and "for federated learning
# process synthetic data is taken". Open: which generator (here: a GAN with gradient penalty, since the document names
# generative AI only), who runs it (each hospital on its own rows, so that originals stay), what is learnt, and any
# promise: none, so nothing is promised.
TAJ = Settings(
    name="taj",
    question="Is data safe if it is made artificial first, and federated learning only sees that?",
    synthetic=Synthetic(where="local", method="wgan_gp"),
    training=Training(on="synthetic"),
)

# [Poojari 2026]: federated averaging of five rounds (results over five rounds), noise on gradients (equation 3, which
# clips nothing: here records are clipped first, or noise would promise nothing), secure aggregation, and rows of a GAN
# that augment what is trained on (section 5 of its review). Open: sigma, epsilon and delta (here a budget of 3, and 1
# more for the invented rows, which need a promise of their own), the number of clients, the GAN's place and training
# (here federated, started from noisy tables that the same budget pays for: by itself a GAN of so little is noise), and
# how means and spreads are agreed on (here with noise too: exact ones would undo the promise of all the rest).
POOJARI = Settings(
    name="poojari",
    question="What do noise on gradients, secure aggregation and invented rows cost and give together?",
    data=Data(statistics_epsilon=0.5),
    synthetic=Synthetic(where="federated", method="dp_gan", epsilon=1.0, warm_up=True),
    training=Training(on="both", rounds=5, local_epochs=2),
    promise=Promise(unit="record", epsilon=3.0),
    sum=Sum(through="masked"),
)

# [Sharma], PE-GAI: (1) direct identifiers removed (the course's hospitals do it), (2) a GAN, (3) noise in its
# gradients, (4) federated, only parameters are shared, (5) fidelity, utility and membership inference. Open: epsilon
# (here 3), clipping (each record's gradient), the architecture and how it starts (as above). The table is what is
# published, and what is trained on.
SHARMA = Settings(
    name="sharma",
    question="Can a private, federated generator make patients that others may learn from?",
    synthetic=Synthetic(where="federated", method="dp_gan", epsilon=3.0, warm_up=True),
    training=Training(on="synthetic"),
    sum=Sum(through="masked"),
)

# [Haque et al.]: five steps: local preparation; local training, updates encrypted; the server aggregates ciphertexts;
# the model goes back; repeated over rounds. Compared with central and local learning. Open: who holds the key. Either
# every hospital does (then whoever shares it can read all), or a key is split among them, as lesson 07 shows; sums are
# the same. Nothing is promised about what the finished model tells.
HAQUE = Settings(
    name="haque",
    question="Do encrypted updates predict as well as one central table?",
    training=Training(rounds=20),
    sum=Sum(through="encrypted"),
)

# [7Med]: "local devices process the data and generate model updates", these "are aggregated", and "only the trained
# model updates, not the raw data, are shared". Nothing else is said; images join with their lesson.
SEVEN_MED = Settings(
    name="7med",
    question="What does it protect that only model updates leave the hospital?",
)

# [Taj] and [Haque et al.] promise other fields. Three wineries that keep their analyses: 178 bottles, 13 measurements,
# three cultivars (inside scikit-learn; doi:10.24432/C5PC7J). So little that a promise for a bottle costs nearly all.
WINE = Settings(
    name="wine",
    question="Does the same system work for three wineries that do not show each other their analyses?",
    data=Data(table="wine", hospitals=3),
    training=Training(rounds=40, batch_size=16),
    sum=Sum(through="masked"),
)

# Ours: means and spreads with noise, training with noise inside every hospital and masked sums, and a table of invented
# patients for whoever develops with it. Everything that leaves has a promise, and one ledger adds it up. Logistic
# regression, since noise grows with a network; records are cut at 3, since a shorter length cuts the ill more often
# than the healthy, and risks come out too low. Settings were chosen on other splits than those that are run.
OURS = Settings(
    name="ours",
    question="What can hospitals learn together if everything that leaves them keeps a promise to every patient?",
    data=Data(statistics_epsilon=0.5),
    synthetic=Synthetic(where="federated", epsilon=1.0),
    training=Training(rounds=30, batch_size=128, lr=0.2, hidden=()),
    promise=Promise(unit="record", epsilon=2.0, clip=3.0),
    sum=Sum(through="masked"),
)

PRESETS = MappingProxyType({s.name: s for s in (TAJ, POOJARI, SHARMA, HAQUE, SEVEN_MED, WINE, OURS)})
