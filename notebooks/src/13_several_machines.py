# %% [markdown]
# # 13 · Several machines
#
# *Until now all hospitals lived in one notebook. Here each is a process of its own, with its own disk and keys. Who
# is at the other end, what travels, what happens when one goes dark? And how does a hospital's export become the
# table that everything began with?*
#
# **After this lesson you can**
#
# - take a certificate and a message apart, and say what each proves and what it does not,
# - say what a hospital, not the coordinator, has to refuse, and where its budget stands,
# - test a training that loses a hospital, and show that it gives the numbers of one notebook,
# - turn a [FHIR](../docs/glossary.md#FHIR) export into a table without a guess: unit, code, date,
# - find the leak that a wrong [index date](../docs/glossary.md#index-date) makes, also where AUC does not show it.
#
# **Time:** 40 minutes for the core; sections marked ◆ are deep and take another 3. **You need:** NumPy-level
# Python, and lesson 03. Masks are from lesson 05, epsilon from lesson 04.

# %%
from IPython import get_ipython

REPOSITORY = ""  # only for Colab: the git address of this course
if REPOSITORY:  # --no-deps leaves Colab's own torch alone
    get_ipython().run_line_magic("pip", f"install --quiet --no-deps git+{REPOSITORY}")

from fedlab_utils import ready

print(ready())

# %% [markdown]
# ## One hospital goes dark
#
# Three hospitals have exported their records, and each has made a table of them: who has a first heart attack,
# stroke or the like within ten years? (How an export becomes a table is the second half of this lesson. The exports
# are simulated.)

# %%
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from fedlab_utils import checks, data, federated, network, plots, system, widgets
from fedlab_utils.data import fhir, simulate

place = tempfile.TemporaryDirectory(prefix="fedlab-")  # deleted when this notebook ends
folder = Path(place.name)
exports = folder / "exports"
truth = fhir.write_simulated(exports)  # what is true of these patients, which no hospital knows
hospitals = list(truth["hospital"].unique())
records = {h: fhir.read(exports / h, until=fhir.UNTIL) for h in hospitals}

# %% [markdown]
# From each hospital's records a table as of 1 January 2012; here they stand under each other:


# %%
def tables(day=fhir.INDEX, **years):
    found = []
    for h in hospitals:
        table = fhir.tabulate(records[h], day, **years).frame.assign(hospital=h)
        found.append(table.set_index(h + " " + table.index.astype(str)))
    return pd.concat(found)


words = {c: simulate.CATEGORIES[c] for c in ("sex", "bp_treated", "smoker", "diabetes")}
known = dict(target="cvd_event", hospital="hospital", bounds=simulate.BOUNDS, categories=words)
federation = data.from_frame(tables(), **known)
by_hospital = tables().groupby("hospital", sort=False)["cvd_event"]
by_hospital.agg(patients="size", outcome_known="count", ill="sum").astype(int)

# %% [markdown]
# Before anything starts, all of them agree on a plan. It is a short text, and every hospital keeps its own copy:
# the training, who takes part, and how columns become numbers, means and spreads included (agreed on as in lesson 01).

# %%
plan = """
name = "First event in ten years"
[training]
rounds = 8
local_epochs = 1
batch_size = 32
lr = 0.2
hidden = [8]
"""
settings = system.Settings.from_toml(plan)
agreement = network.Agreement.of(federation, settings)
print(f"{len(agreement.to_toml().split())} words; its hash is {agreement.hash.hex()[:12]}...")

# %% [markdown]
# Now three processes start, as if in three hospitals. **This notebook is the coordinator.** It listens on this
# machine only; the hospitals dial. In round 3 we cut Lakeside's power. In round 6 it is back. The rest of the
# network does not wait for it.

# %%
with network.on_this_machine(agreement, federation, start=False) as machines:
    with machines.listen(everybody=120) as line:  # seconds to start, and to dial
        coordinator = network.Coordinator(agreement, line)
        for number in range(1, 9):
            if number == 3:
                machines.kill("Lakeside")
            if number == 6:
                machines.start("Lakeside")
                line.wait_for(["Lakeside"], 120)  # so that it is round 6 on a slow machine too
            coordinator.step(number)
        run = coordinator.run()  # no rounds are left: it hands out the model
    for name in hospitals:
        machines.wait(name)
    said = {name: machines.output(name) for name in hospitals}
plots.show(
    plots.who_came(run.frame()),
    alt="Three hospitals and eight rounds. Northgate and Riverside came to all of them; Lakeside "
    "came to rounds 1 and 2, was silent in 3, 4 and 5, and came again from round 6 on.",
)

# %% [markdown]
# Three panes of output, as three people would have seen them on three screens:

# %%
for name in hospitals:
    print(f"--- {name}\n{said[name]}")

# %% [markdown]
# Lakeside's pane begins twice. In between nobody did anything for it: the coordinator averaged the two that came,
# by their rows, and sent the newest model to all three when Lakeside was back. What a hospital has to remember
# over a power cut is in a file on its *own* disk; we come to that.
#
# ## The notebook's numbers again
#
# Is this the training of lesson 03, or something like it? Up to round 2 everybody was there, so we can compare with
# `federated.train` in this one process:

# %%
same = agreement.arguments() | {"rounds": 2}
one_process = federated.train(federation, **same).params.flat()[0].numpy()
print("largest difference of a weight:", np.abs(one_process - run.models[2]).max())

# %% [markdown]
# Equal: in every bit where this was stored, up to the last bits of a few weights where a processor rounds one product
# of matrices otherwise than three side by side. That takes two things. Each hospital draws its batches from a stream
# of its own, whose state it keeps on disk; and the coordinator adds in the order of the *plan*, not of arrival,
# because floating-point sums depend on their order. (With a promise of privacy you could not compare: noise is drawn by each
# hospital's operating system and is never repeated. Tests inject the same streams in both.)
#
# ## Who is at the other end?
#
# An address proves nothing, and neither does a name in a message: anybody can write one. So each machine makes a
# **key**, which never leaves it, and asks the network's authority for a *certificate*: a small file in which the
# authority signs "this key belongs to Northgate". Here are the keys and certificates of a network like ours, and
# one certificate taken apart:

# %%
from cryptography import x509
from cryptography.hazmat.primitives import serialization

keys = network.here.certify(folder / "keys", hospitals)  # five folders
print(sorted(file.name for file in (keys / "Northgate").iterdir()))

boss = x509.load_pem_x509_certificates((keys / "Northgate" / "members.pem").read_bytes())[0]
shown = x509.load_pem_x509_certificate((keys / "Northgate" / "own.pem").read_bytes())
private = (keys / "Northgate" / "own.key").read_bytes()
mine = serialization.load_pem_private_key(private, None).public_key()
print("owner: ", shown.subject.rfc4514_string(), "  signed by:", shown.issuer.rfc4514_string())
print("holds: ", (shown.not_valid_after_utc - shown.not_valid_before_utc).days, "days")
print("its key is the one in this folder:", shown.public_key() == mine)
shown.verify_directly_issued_by(boss)  # raises if the signature is wrong
print("the authority's signature is right")

# %% [markdown]
# Three questions, three answers. *Whose* is it: the name. *Who says so*: the authority, and a signature that only it
# can make. *Is the one who shows it the owner*: the certificate itself is no secret, so whoever dials must also
# sign something with the key, in every connection; that is part of TLS 1.3 (RFC 8446).
#
# What it does **not** say: that Northgate is honest, that its table is right, or that the right person sits there. And
# whoever has the *authority's* key can be anybody. So that key lives on a machine that does nothing else, and people
# compare fingerprints by telephone before they sign.
#
# ## What travels?
#
# Not a model file, not an archive, nothing that has to be unpacked: a head of 50 bytes, then raw 32-bit numbers. Here
# is the request of round 4 to Riverside, with a model of zeros:

# %%
import struct

from fedlab_utils.network import messages

HEAD = struct.Struct(">4sBB32sIHHI")  # the highest byte first; I is four bytes, H two
empty = messages.numbers(np.zeros(agreement.d))
message = messages.Message("train", 4, network.agreement.COORDINATOR, 2, empty)
packed = messages.pack(agreement, message)
values = HEAD.unpack(packed[: HEAD.size])
print(values, "and then", len(packed) - HEAD.size, "bytes: 4 for each of", agreement.d, "weights")

# %% [markdown]
# Box by box, with the number of the first byte under each:

# %%
names = "begins with, format, kind, hash of the plan, round, from, to, bytes to follow, the model"
texts = [v.hex()[:12] + "..." if isinstance(v, bytes) else str(v) for v in values]
texts[0] = values[0].decode()
sizes = [4, 1, 1, 32, 4, 2, 2, 4, len(empty)]
strip = list(zip(names.split(", "), sizes, [*texts, "0.0 0.0 0.0 ..."], strict=True))
plots.show(
    plots.byte_by_byte(strip),
    alt="A message as a strip of boxes. Head: FLNW, format, kind, 32 bytes of the plan's hash, "
    "round, sender, receiver, and the number of bytes to follow, 50 bytes in all; then the model.",
)

# %% [markdown]
# (An update has 8 bytes more, in which the hospital says by how many rows it counts: 50 + 8 + 420 are the 478 of the
# panes.) The hash ties every message to *this* plan: a weaker promise, one more round or another model shape makes another
# hash. And since the plan gives the shape of the model, everybody knows how long each kind of message is **before
# it is read**. Who asks the sender how much to read has let the sender decide.
#
# <div class="alert alert-info"><b>Your turn ★</b> The head of a message has arrived. Write <code>to_read</code>: how
# many bytes to read next, or <code>0</code> to hang up. Hang up unless it begins with <code>b"FLNW"</code>, carries
# the hash <code>agreed</code>, and announces exactly <code>allowed</code> bytes.</div>


# %%
def to_read(head, agreed, allowed):
    ...


checks.to_read(to_read)

# %% [markdown]
# <details><summary>Stuck? A hint</summary><code>magic, _, _, plan_hash, _, _, _, length = HEAD.unpack(head)</code>
# gives the parts. Three comparisons, and then one of two numbers.</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def to_read_solution(head, agreed, allowed):
    import struct

    magic, _, _, plan_hash, _, _, _, length = struct.unpack(">4sBB32sIHHI", head)
    return allowed if magic == b"FLNW" and plan_hash == agreed and length == allowed else 0


checks.to_read(to_read_solution)

# %% [markdown]
# ## The sum under masks, between real processes
#
# In the run above the coordinator saw each hospital's update, and lesson 09 reads patients out of such updates. One
# line of the plan changes that: the sum travels under the masks of lesson 05. Each hospital signs its masks' keys
# with a key that its certificate vouches for, so that the coordinator cannot slip in keys of its own.

# %%
masked = network.Agreement.of(federation, replace(settings, sum=system.Sum(through="masked")))
with network.on_this_machine(masked, federation, start=False) as machines:
    with machines.listen(everybody=120) as line:
        coordinator = network.Coordinator(masked, line)
        whole = coordinator.step(1)
        machines.kill("Riverside")
        torn = coordinator.step(2)
    pane = machines.output("Northgate")
print("\n".join(pane.splitlines()[1:9]), "\n")
print(f"round 1: {', '.join(whole.came)}")
print(f"round 2: {', '.join(torn.came) or 'nobody'}; {torn.nothing}")
same = masked.arguments() | {"rounds": 1}
one_process = federated.train(federation, **same).params.flat()[0].numpy()
print("round 1 less one process:", np.abs(one_process - coordinator.models[1]).max())

# %% [markdown]
# Five messages a round in the place of one: keys, sealed letters, the masked update, a signature, and shares of
# secrets. Round 1 is that of one process again: masks cancel exactly, since they are whole numbers. In round 2
# Riverside was gone, and **no sum came out at all**: against a server that may lie, more than two thirds have to be
# there (lesson 05), and of three that is all three. The model stays as it was, and nobody's update was seen. With ten
# hospitals, seven would do. The price is in the pane: add up the bytes of round 1.
#
# ## The ledger that says no
#
# A promise of privacy is spent over *all* trainings (lesson 04), so somebody has to keep the book. The coordinator?
# It is the one from whom the promise protects. Each hospital keeps its own, on its own disk, and **writes before it
# answers**: first the charge, then the training, then the update is stored, then it is sent. Whatever moment the
# power goes, the book never knows of less than what left.
#
# Here a promise is agreed on: ε = 2 at δ = 0.00001 for all steps of three rounds together, to each patient, whose row
# is present or blank (a patient has one row, in one hospital). It covers the updates. The means and spreads in the plan
# were taken from these patients before, exactly: no ε pays for them, and a plan that must promise *everything* leaves
# them to the bounds. All hospitals' parts run in this process, so that we can look at them:

# %%
promised = replace(settings, promise=system.Promise(unit="record", epsilon=2.0))
promised = replace(promised, training=replace(settings.training, rounds=3))
first = network.Agreement.of(federation, promised)

# %% [markdown]
# Each part gets its agreement, its patients, its keys and a folder for its book. After a training all are closed, as
# if the power had gone:


# %%
def parts(plan, books):  # each hospital's part, with its keys, and its book in a folder of its own
    who = network.certificates.registry(network.certificates.members(keys / "coordinator"))
    registry = {plan.number(name): key for name, key in who.items()}
    found = {}
    for hospital in federation.hospitals:
        sign = network.certificates.signing_key(keys / hospital.name)
        about = dict(signing_key=sign, registry=registry)
        found[hospital.name] = network.HospitalPart(plan, hospital, books / hospital.name, **about)
    return found


def trained(plan, books):  # a whole training; then all power goes
    here = parts(plan, books)
    found = network.Coordinator(plan, network.InProcess(here)).run()
    spent = {name: part.purse.spent() for name, part in here.items()}
    for part in here.values():
        part.close()
    return found, spent


_, spent = trained(first, folder / "books")
print({name: f"{epsilon:.2f}" for name, epsilon in spent.items()}, "spent of 2.00")

# %% [markdown]
# Next year somebody wants a second training, on the same patients, with the same promise. The machines have been
# restarted; only the books are left.

# %%
second = network.Agreement.of(federation, replace(promised, name="A second look"))
again, _ = trained(second, folder / "books")
print("round 1, in the model:", ", ".join(again.history[0].came) or "nobody")
for name, sentence in again.history[0].refused.items():
    print(f"{name}: {sentence}")

# %% [markdown]
# **The hospital refuses, not the coordinator**, and it does so after a restart, under another plan, to a coordinator
# that need not know of the first one.
#
# ## Break it
#
# Four attacks on our network. First guess what each will get.
#
# **1. No certificate, a certificate of another authority, a removed member.** One list of members decides; the
# coordinator looks into it for every connection.

# %%
import http.client
import ssl

from fedlab_utils.network import carrier

guarded = network.here.certify(folder / "guarded", hospitals)
strangers = network.here.certify(folder / "strangers", hospitals)  # another authority
line = carrier.Listener(agreement, guarded / "coordinator", port=0)


def knock(shows=None):  # what somebody gets who says "hello" with these files
    rules = ssl._create_unverified_context()  # the visitor believes anybody
    if shows:
        rules.load_cert_chain(shows / "own.pem", shows / "own.key")
    visitor = http.client.HTTPSConnection(*line.server_address[:2], context=rules, timeout=20)
    try:
        visitor.request("POST", "/", b"hello")
        return visitor.getresponse().read().decode()
    except OSError:
        return "the line was cut"


# %% [markdown]
# Four visitors, of whom the last was a member a moment before:

# %%
print("no certificate:   ", knock())
print("another authority:", knock(strangers / "Riverside"))
print("a member:         ", knock(guarded / "Riverside"))
network.certificates.remove(guarded / "authority", "Riverside")
network.certificates.accept(guarded / "coordinator", guarded / "authority" / "members.pem")
print("a member no more: ", knock(guarded / "Riverside"))
line.close(done=True)

# %% [markdown]
# The member's `hello` was heard, and was no message. All others were not heard at all.
#
# **2. A replay.** An eavesdropper cannot read our messages, but say the coordinator itself sends round 1 again, or
# sends round 1 with *another model*, to get two noisy answers about the same patients:

# %%
part = parts(first, folder / "replay")["Northgate"]
weak = replace(promised, promise=system.Promise(unit="record", epsilon=20.0))
weaker = network.Agreement.of(federation, weak)


def asked(number, model, plan=first):
    about = dict(kind="train", round=number, sender=network.agreement.COORDINATOR, receiver=0)
    return messages.pack(plan, messages.Message(payload=messages.numbers(model), **about))


def told(answer):
    found = messages.unpack(first, answer)
    return str(messages.as_refusal(found.payload)) if found.kind == "refusal" else found.kind


model = np.zeros(first.d, np.float32)
once, twice = part.answer(asked(1, model)), part.answer(asked(1, model))
print("round 1:               ", told(once))
print("round 1 again:         ", "the same bytes" if twice == once else "other bytes")
print("round 1, another model:", told(part.answer(asked(1, model + 0.01))))
print("round 2:               ", told(part.answer(asked(2, model))))
print("round 1 after round 2: ", told(part.answer(asked(1, model))))
print("round 4 of 3:          ", told(part.answer(asked(4, model))))
print("a weaker promise:      ", told(part.answer(asked(3, model, weaker))))
part.close()

# %% [markdown]
# What was answered once is answered with the same *bytes*, from the disk: no second noise, nothing to average. For
# another model there is no answer at all. And a promise that somebody has weakened is another plan, with another hash.
#
# **3. A coordinator with two faces.** It sends Riverside another model than the others, to learn from the difference.
# First in the open, then under masks:


# %%
class TwoFaced(network.InProcess):
    def ask(self, requests, deadline):
        changed = dict(requests)
        for name in requests.keys() & {"Riverside"}:
            told = messages.unpack(self.plan, requests[name])
            if told.kind in ("train", "advertise"):  # the two that carry the model
                other = messages.as_numbers(told.payload, "model") + 0.01
                told = replace(told, payload=messages.numbers(other))
                changed[name] = messages.pack(self.plan, told)
        return super().ask(changed, deadline)


for title, plan in {"in the open": agreement, "under masks": masked}.items():
    here = parts(plan, folder / "two faces")
    liar = TwoFaced(here)
    liar.plan = plan
    record = network.Coordinator(plan, liar).step(1)
    print(f"{title}: in the sum: {', '.join(record.came) or 'nobody'}")
    print("\n".join(f"   {name}: {sentence}" for name, sentence in record.refused.items()))
    for part in here.values():
        part.close()

# %% [markdown]
# In the open nobody can notice. Under masks every hospital signs its keys *together with the model it got*, so the
# signatures do not fit each other, and the round comes to nothing: the model is bound.
#
# **4. A message a hundred times too long** is your own `to_read`: it is never read.

# %% [markdown]
# ## From an export to a table
#
# Where did the tables come from? Hospitals exchange records as **FHIR**: resources in JSON, one for each measurement,
# diagnosis and prescription, with codes of public dictionaries. Here is one cholesterol of the simulated export, as
# it lies in the file:

# %%
import json

lines = (exports / "Northgate" / "Observation.ndjson").read_text("utf-8").splitlines()
resources = [json.loads(one) for one in lines]
lipid = next(r for r in resources if r["code"]["coding"][0]["code"] == "2093-3")
print(json.dumps({k: lipid[k] for k in lipid if k not in ("resourceType", "id")}, indent=1))

# %% [markdown]
# Three things in it decide what it is worth, and each has its trap.
#
# **The code.** `2093-3` of LOINC is total cholesterol. The same digits in a ward's own list are anything, so a code
# counts only with its `system`. **The unit.** Lakeside reports mmol/L. A value without a unit can be guessed from its
# size, nearly always rightly, and *nearly* is a patient. The reader knows units by their UCUM code, converts those
# it knows, and refuses the rest; the free text in `unit` is for eyes. **The date.** There are two: when the blood was
# drawn (`effectiveDateTime`), and when anybody could know (`issued`).
#
# <div class="alert alert-info"><b>Your turn ★★</b> Write <code>in_mg</code> for cholesterol: from a quantity such
# as the above to mg/dL, or <code>np.nan</code> (missing) where you would have to guess. UCUM codes are <code>mg/dL</code> and
# <code>mmol/L</code> (38.67 mg/dL), of <code>"http://unitsofmeasure.org"</code>. A <code>comparator</code> makes it
# a limit, not a value. Parts may be missing.</div>


# %%
def in_mg(quantity):
    ...


checks.in_mg(in_mg)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>A dict from code to factor holds all that you know. Use
# <code>quantity.get("code")</code>, since parts may be missing, and refuse first.</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
def in_mg_solution(quantity):
    factor = {"mg/dL": 1.0, "mmol/L": 38.67}.get(quantity.get("code"))
    ucum = quantity.get("system") == "http://unitsofmeasure.org"
    if factor is None or not ucum or "comparator" in quantity or "value" not in quantity:
        return np.nan
    return quantity["value"] * factor


checks.in_mg(in_mg_solution)

# %% [markdown]
# The package does this for five measurements, diabetes, drugs and the outcome, and counts what did not fit. Nobody's
# name, number or date leaves: the table has ages, and the report has counts. Neither is public for that: a row is
# still a patient (lesson 01), and a count of 1 may be one.

# %%
frame, report = data.from_fhir(exports / "Northgate", index=fhir.INDEX, until=fhir.UNTIL)
pd.concat([frame.head(3).T, frame.isna().sum().rename("missing")], axis=1)

# %%
report

# %% [markdown]
# Read it as a to-do list for the hospital. Hundreds of pressures have the words "mmHg" and no UCUM code: refused, and
# one line in the export's settings mends them all. A cholesterol of 5 mg/dL is a mmol/L in the wrong drawer.
# Infarctions "entered in error" or *refuted* are no infarctions. Last comes the outcome, and the three lines that
# begin with *unknown* matter most: a patient last seen after three years is **not healthy, but unknown**
# ([censored](../docs/glossary.md#censored)), and so is one with a diagnosis in doubt. To call them healthy would teach
# the model that leaving town
# prevents strokes. (Leaving them out is not free either: the ill are known early, the healthy only after ten years,
# so the share of the ill in the table is too high. Survival methods repair that; we do not here.)
#
# ## One day, alike for all
#
# A prediction is made on some day, with what is on the books that morning. So the table must be the books of *that
# day*: the **index date**, the same rule for those who fell ill and those who did not. And "on the books" means
# *recorded* before, not measured or begun before. Here is one patient of Northgate in whom the difference matters:

# %%
long = fhir.as_frame(records["Northgate"]).query("what != 'disease'")
index = pd.Timestamp(fhir.INDEX)
late = long[(long["when"] < index) & (long["recorded"] >= index)]
patient = late[late["what"] == "diabetes"]["patient"].iloc[0]
around = long[(long["patient"] == patient) & long["when"].between("2011-01-01", "2012-12-31")]
around = pd.concat([around, late[late["patient"] == patient]]).drop_duplicates().sort_values("when")
print(f"begun or measured before {fhir.INDEX}, recorded on it or later: {len(late)} entries")
plots.show(
    plots.two_dates(around, fhir.INDEX),
    alt="Entries of one patient on a line of days: an open mark when something was so, a square "
    "when it was recorded, and the index date across. Most are recorded a day later, so that the "
    "marks coincide; the diabetes began before the index date and was recorded long after it.",
)

# %% [markdown]
# On the index day nobody knew of this diabetes. A table that has it promises the clinic something that the clinic
# will not have.
#
# <div class="alert alert-info"><b>Your turn ★★★</b> Four teams made a table of the same exports. A bug is planted
# in this contest, and AUC does not show all of it. For each team you get its AUC, and <code>audit</code>: for each
# patient the <code>index</code> date that was used, the day on which the <code>newest</code> entry in the row was
# recorded, and the day of the first <code>diagnosis</code> (empty if none). Which tables know the future? Answer
# with a set of letters.</div>

# %%
base = tables()
long = pd.concat(fhir.as_frame(records[h]).assign(hospital=h) for h in hospitals)
long = long.set_axis(long["hospital"] + " " + long["patient"].astype(str))  # as in tables()
long = long[long.index.isin(base.index)].rename_axis("who")
sure = long[(long["what"] == "disease") & long["value"].eq(True)]
diagnosis = sure.groupby("who")["when"].min().reindex(base.index)
last = long.groupby("who")["recorded"].max().reindex(base.index)


def row_by_row(day, by):  # the newest values before each patient's day, by one of the two dates
    used = long[(long["what"] != "disease") & (long[by] < day.reindex(long.index))]
    wide = used.sort_values("when").groupby(["who", "what"])["value"].last().unstack()
    return wide, used.groupby("who")["recorded"].max().reindex(base.index)


# %% [markdown]
# The teams differ in the index date, in the date that they go by, and in the years that they ask about. (Their rows are
# made by hand, without a lookback, so A is nearly the package's table and not quite.)

# %%
same_day, after_all = pd.Series(index, base.index), last + pd.Timedelta(days=1)
teams = {"A": (same_day, "recorded", 10), "B": (after_all, "recorded", 10)}
teams |= {"C": (same_day, "recorded", 5), "D": (same_day, "when", 10)}
audit, auc = [], {}
for team, (day, by, years) in teams.items():
    wide, newest = row_by_row(day, by)
    row = base[["age", "sex", "hospital"]].join(wide)
    row[["bp_treated", "diabetes"]] = np.where(row[["bp_treated", "diabetes"]].notna(), "yes", "no")
    row = row.astype(dict.fromkeys(["systolic_bp", "total_cholesterol", "hdl", "bmi"], float))
    row["smoker"] = row["smoker"].astype("str").where(row["smoker"].notna())
    row["cvd_event"] = tables(years=years)["cvd_event"]
    kept = row["cvd_event"].notna()
    splits = data.replicates(row[kept].reset_index(drop=True), 5, **known)
    auc[team] = federated.train(splits, rounds=15, local_steps=20, lr=0.2, hidden=(8,)).auc
    dates = pd.DataFrame({"team": team, "index": day, "newest": newest, "diagnosis": diagnosis})
    audit.append(dates[kept].assign(ill=row["cvd_event"] == 1))
    print(f"team {team}: {kept.sum()} patients, AUC {auc[team].mean():.2f} ± {auc[team].std():.2f}")
audit = pd.concat(audit)
audit.groupby("team").head(1)

# %%
knows_the_future = ...

checks.knows_the_future(knows_the_future)

# %% [markdown]
# <details><summary>Stuck? A hint</summary>Two questions to each team: is <code>newest</code> on or after
# <code>index</code>? And is <code>index</code> after <code>diagnosis</code> for those who are <code>ill</code>?
# Count both with <code>audit.groupby("team")</code>.</details>

# %% tags=["solution", "hide-input"] jupyter={"source_hidden": true}
knows_the_future_solution = {"B", "D"}  # B's day comes after the diagnosis; D goes by "when"

checks.knows_the_future(knows_the_future_solution)

# %% [markdown]
# Here are the two counts, and what the best of all predictions would reach, the true risk of each patient:

# %%
from sklearn.metrics import roc_auc_score

certain = truth.dropna(subset="cvd_event")
print(f"AUC of the true risk: {roc_auc_score(certain['cvd_event'], certain['true_risk']):.2f}")
counts = pd.DataFrame({
    "newest entry on or after the index date": audit["newest"] >= audit["index"],
    "ill, and index date after the diagnosis": audit["ill"] & (audit["index"] > audit["diagnosis"]),
})
counts.groupby(audit["team"]).sum()

# %% [markdown]
# Team B took "the newest value of each patient". For most of the ill that is a value from *after* the diagnosis:
# they take pressure drugs now, many have stopped smoking, and their cholesterol is down. The model recognises who is
# being treated. An AUC far above that of the true risk is no triumph, it is a clue. Team D's leak costs nothing and
# gains nothing *here*, and is as wrong: AUC is about the same, and only the dates tell. Kapoor and Narayanan
# count 329 papers in 17 fields with leaks of some kind (2022, arXiv:2207.07048).
#
# ## Live lab: choose the day
#
# All three hospitals' exports, read again for each day you choose. Things to try:
#
# 1. Ten years from 2012, then from 2015. Where did the healthy go?
# 2. From 2015, ask about fewer years. What do you lose, what do you gain?
# 3. A lookback of one year: who is in the table, and what is missing in it?
#
# (Your own exports: `records = {"mine": fhir.read("my_folder", until="2024-06-30")}` and `hospitals = ["mine"]` in
# the cell below; a table of a hospital is trained on where it has five of each kind.)

# %%
OUTCOMES = ("ill", "not ill", "unknown")


def counted(table):  # patients of each outcome, by hospital
    kind = table["cvd_event"].map({1.0: "ill", 0.0: "not ill"}).fillna("unknown")
    found = pd.crosstab(table["hospital"], kind).reindex(hospitals, columns=OUTCOMES, fill_value=0)
    return found.to_dict("index")


# %% [markdown]
# This is what runs when you move something:


# %%
def chosen_day(show, year, years, lookback):
    table = tables(f"{year}-01-01", years=years, lookback=lookback)
    counts = counted(table)
    ill, well, unknown = (sum(c[kind] for c in counts.values()) for kind in OUTCOMES)
    said = f"From {year}, over {years} years: {ill} ill, {well} not ill, {unknown} unknown."
    lost = table[["systolic_bp", "total_cholesterol", "hdl", "smoker", "bmi"]].isna().to_numpy()
    said += f" Of the measurements {lost.mean():.1%} are missing."
    show(plots.index_day(counts, None), said, alt=said, done=0.3)
    if min(min(c["ill"], c["not ill"]) for c in counts.values()) < 5:
        said += " Too few of one kind in some hospital: nothing can be trained."
        return show(plots.index_day(counts, None), said, alt=said)
    splits = data.replicates(table.reset_index(drop=True), 5, **known)
    auc = federated.train(splits, rounds=15, local_steps=20, lr=0.2, hidden=(8,)).auc
    said += f" AUC {auc.mean():.2f}, from {auc.min():.2f} to {auc.max():.2f} over splits."
    return show(plots.index_day(counts, auc), said, alt=said)


widgets.lab(
    chosen_day,
    title="The index date, live",
    year=widgets.slider(2009, 2020, 2012, label="Index date: 1 January"),
    years=widgets.slider(1, 10, 10, label="Years asked about"),
    lookback=widgets.slider(1, 8, 5, label="Years of lookback"),
)

# %% [markdown]
# <details><summary>Where the healthy went</summary>
#
# The export ends in the middle of 2023. From 2014 on nobody can have been followed for ten years, so nobody can be
# called healthy, while those who fell ill are known at once. With a careless rule, "no diagnosis, so healthy", the
# table would be full and wrong. Fewer years bring the healthy back, and ask another question, with fewer ill. A short
# lookback loses nobody here, since all were seen in the last year; it loses their older measurements.
# </details>

# %% [markdown] tags=["deep"]
# ## ◆ A thousand hospitals, on paper
#
# What grows with the number of hospitals? In the open, nothing that a hospital notices: one model down, one update
# up. Under masks each pair of hospitals has a common secret, so letters grow with their number. Lengths follow from
# the plan, so we can compute them without a single machine (for everybody present):

# %% tags=["deep"]
STAGES = {False: ["train"], True: ["advertise", "share", "mask", "check", "unmask"]}


def kilobytes(plan, n):  # of one hospital and round, there and back, if there were n hospitals
    many = replace(plan, network=replace(plan.network, hospitals=tuple(f"H{k}" for k in range(n))))
    kinds = [kind for ask in STAGES[many.masked] for kind in (ask, messages.ASKS[ask])]
    return sum(max(messages.lengths(many, kind)) + messages.HEADER_BYTES for kind in kinds) / 1000


paper = {"hospital, in the open, kB": {n: kilobytes(agreement, n) for n in (3, 10, 30, 100, 1000)}}
paper["hospital, under masks, kB"] = {n: kilobytes(masked, n) for n in (3, 10, 30, 100, 1000)}
paper = pd.DataFrame(paper).rename_axis("hospitals")
paper["coordinator, under masks, MB"] = paper["hospital, under masks, kB"] * paper.index / 1000
paper.round(1)

# %% [markdown] tags=["deep"]
# Kilobytes for each hospital and round, there and back. A thousand hospitals under masks need some hundred kilobytes
# each, which any line carries, and some hundred megabytes at the coordinator, which one machine still does in a
# round of a minute. A thousand *open connections* are no problem either; a thousand hospitals of which none is
# rebooting is. Expect dropouts in every round, and take the groups of lesson 05 when pairs become too many. (That is
# paper: what ran here are three processes on one machine.)

# %% [markdown] tags=["deep"]
# ## ◆ Paper check: nodes, real time, records, wearables
#
# [Haque et al.] list features. "Scalability: Designed to work seamlessly across multiple distributed nodes, ensuring
# no dependency on a centralized data pool." "Supports IoT and EHR integration, paving the way for real-time analytics
# in healthcare systems." And ahead: federated learning "in wearable healthcare devices".
#
# **What holds.** Nodes, without a pool: that ran above, on three processes, and what 1,000 need can be computed.
# Records: an export becomes a table, *after* somebody has decided on codes, units and the index date; the document
# names none of the three, and each can spoil everything. **What does not follow.** "Seamlessly": we had a power cut,
# a missing third of the network and a table of refusals. "No dependency": on data, yes; but everybody depends on the
# authority that signs, and on the coordinator. "Real time": training takes rounds, a *prediction* takes microseconds,
# and both are as old as the records: an outcome over ten years is known after ten years. **What a wearable would
# change.** It sleeps and has no address, so few come to each round, and others each time; a patient is a device, so
# the promise is one to a *device* (lesson 04's unit); there is no administrator to compare fingerprints; and it has
# hundreds of values a day, all of one person. None of the documents trains on such data, and neither do we.

# %% [markdown] tags=["deep"]
# ## ◆ In the real world
#
# Our carrier is there to be read. What a deployment runs on is an engine such as **Flower** (Beutel et al. 2020,
# arXiv:2007.14390): a *SuperLink* at the coordinator and a *SuperNode* in each hospital, which dials it. The package
# has both ends as Flower's apps (`network.flower`): they carry the same bytes to the same two parts, so the numbers are
# the same, and so are the refusals and the books. These commands ran, with Flower 1.41. Coordinator:
#
#     flower-superlink --ssl-certfile server.crt --ssl-keyfile server.key --ssl-ca-certfile ca.crt
#         --enable-supernode-auth --database link.db --disable-runtime-dependency-installation
#         --host 0.0.0.0 --port 9091
#     flwr supernode register north.node.pub course --name North --format json
#     flwr run app course
#
# Each hospital makes its key with `ssh-keygen -t ecdsa -b 384 -N "" -f north.node`, sends the public half, and dials:
#
#     flower-supernode --superlink coordinator.example:9091 --root-certificates ca.crt
#         --auth-supernode-private-key north.node --node-config 'folder="/absolute/path/book"'
#         --host 127.0.0.1 --port 9094
#
# What it brings messages to is the hospital's own half, in a second terminal, which prints the `--node-config`:
#
#     python course.py hospital plan.toml --table north.csv --name North --flower
#
# A node whose key nobody registered ends at once, with exit code 305. Mind two things. Flags change between editions,
# so pin one and test the commands. And each message starts a new Python process there, which costs seconds where the
# training costs tenths: use few and large messages. Restarts and waiting are the engine's; *what a hospital refuses,
# and its book*, are not, and stay yours.
#
# Two others: NVIDIA FLARE provisions a start-up kit with certificates for each site (Roth et al. 2022,
# arXiv:2210.13291). OpenFL agrees on a plan before it starts, and recommends trusted hardware for what a promise on
# paper cannot enforce (Foley et al. 2022, doi:10.1088/1361-6560/ac97d9). The commands of this course for several
# laptops are `python course.py certificates`, `coordinator` and `hospital`.

# %% [markdown]
# ## Recap
#
# 1. A plan comes first, and every message carries its hash. The hospital refuses what is not in it.
# 2. A certificate says whose key it is and who says so. It says nothing about honesty.
# 3. Lengths are known before anything is read; what was answered is answered with the same bytes; the book is written
#    before the answer, on the hospital's own disk.
# 4. From an export to a table: code with its system, unit by its UCUM code, and of two dates the one on which it was
#    *recorded*. Convert or refuse, and count.
# 5. One index date, alike for the ill and the healthy. Who was not followed is unknown. An AUC that is too good is a clue,
#    and a usual AUC is no proof.
#
# ## Quiz
#
# <details><summary>1. A hospital is killed after its update was stored and before it was sent. What does it send when it is
# back?</summary>The same bytes, from its disk. A second training would draw second noise on the same patients, and
# two noisy answers say more than one.</details>
#
# <details><summary>2. Why must the book be written before the training and not after the sending?</summary>If the power
# goes in between, an update may be out that no book knows of. Charged too much is a loss; charged too little breaks
# the promise.</details>
#
# <details><summary>3. All certificates are valid. Can the coordinator send each hospital another model?</summary>Yes, it
# is who it says it is. In the open nobody notices. Under masks the model is bound into the keys' signatures, and
# the round comes to nothing.</details>
#
# <details><summary>4. A cholesterol has the value 5.2, <code>unit</code> "mmol/l" and no code. Everybody can see what it
# is. Why refuse it?</summary>Because the next one is 5.2 g/L, or a ratio, and nobody looks at a million values. The
# count in the report gets the export mended, once.</details>
#
# <details><summary>5. A colleague's model has an AUC of 0.92 for ten-year risk. What do you ask first?</summary>On which
# day the values were recorded, and by which rule that day was chosen for those who did not fall ill.</details>
#
# ## Further reading
#
# - Bonawitz et al. 2019, *Towards Federated Learning at Scale: System Design*, arXiv:1902.01046.
# - Beutel et al. 2020, *Flower: A Friendly Federated Learning Research Framework*, arXiv:2007.14390.
# - Roth et al. 2022, *NVIDIA FLARE: Federated Learning from Simulation to Real-World*, arXiv:2210.13291.
# - Foley et al. 2022, *OpenFL: the open federated learning library*, doi:10.1088/1361-6560/ac97d9.
# - Kapoor and Narayanan 2022, *Leakage and the Reproducibility Crisis in ML-based Science*, arXiv:2207.07048.
# - HL7 FHIR R4, hl7.org/fhir/R4; units at ucum.org. Simulated exports to practise on: Synthea (Walonoski et al. 2018,
#   doi:10.1093/jamia/ocx079).
# - [Haque et al.], *Privacy Preserving Using Federated Learning for Collaborative Healthcare Data Analysis*.
