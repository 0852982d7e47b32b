"""What private synthetic tables over several hospitals are worth, in one run on the same rows.

    python tests/benchmarks/private_tables.py                     twenty minutes; let nothing else run
    python tests/benchmarks/private_tables.py --quick             under one minute: one run, epsilon 1, two tables
    python tests/benchmarks/private_tables.py --only membership   or utility, or peer

Utility is the AUC on real patients that nobody trained on, of a logistic regression ("linear") and of boosted trees.
Resemblance is the total variation of pairs of columns against these patients, mean over all pairs. Seconds are those
of the processor for learning and drawing. Run k has seed k and, where a table comes in several splits, split k.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
import torch  # noqa: E402
from peers import private_pgm  # noqa: E402
from peers.tables import beside, show  # noqa: E402
from threadpoolctl import threadpool_limits  # noqa: E402

from fedlab_utils import attacks, data, fidelity, privacy, secagg, synth  # noqa: E402
from fedlab_utils.synth import public  # noqa: E402
from fedlab_utils.synth.levels import Levels  # noqa: E402

METHODS = "tables", "copula", "pairs"
BUDGETS = 1.0, 3.0, 8.0, None
WAYS = {"in shares": secagg.PrivateSum(), "each": None}  # noise that is just enough together, or all of it by each
DELTA = 1e-5
BASELINES = "copula", "interpolate", "wgan_gp"  # of lesson 02, not private
CELLS = 10  # of a number, where pairs of columns are compared: not those in which any method counts
MEASURES = {"linear": "AUC, linear", "trees": "AUC, trees", "pairs": "Total variation of pairs of columns, mean"}
BELOW = {"linear": 0.025, "trees": 0.04}  # real rows, at most, by the default at epsilon 1 on hospital_network
BELOW_XOR, LONGEST = 0.01, 0.1  # real rows, trees on two-way interactions; seconds


@dataclass(frozen=True)
class Table:
    """A table in one or several splits, and public knowledge of it that the federation does not have."""

    name: str
    splits: list[data.Federation]
    schema: data.Schema | None = None

    def split(self, k: int) -> data.Federation:
        """The one of run k."""
        return self.splits[k % len(self.splits)]


def interacting(ways: int, n: int = 9000) -> Table:
    """Simulated patients; what two columns (or three) do together decides, none of them alone."""
    rng = np.random.default_rng(ways)
    z = rng.standard_normal((n, 3))
    gene, drug, ward = rng.random(n) < 0.5, rng.random(n) < 0.4, rng.choice(list("ijk"), n, p=[0.5, 0.3, 0.2])
    age, marker = z[:, 0], z[:, 1] + 0.25 * z[:, 0]
    sign = np.where(gene, 1, -1) * np.where(drug, 1, -1)
    together = 1.1 * sign + 0.9 * np.where(gene, 1, -1) * marker if ways == 2 else 1.5 * sign * marker
    risk = 1 / (1 + np.exp(0.7 - 0.5 * age - 0.3 * (ward == "k") - together))
    bounds = {"age": (30, 90), "marker": (0, 100), "pressure": (50, 150)}
    numbers = {"age": 60 + 12 * age, "marker": 50 + 15 * marker, "pressure": 100 + 6 * marker + 10 * z[:, 2]}
    frame = pd.DataFrame({name: values.round().clip(*bounds[name]) for name, values in numbers.items()})
    frame = frame.assign(gene=np.where(gene, "A", "a"), drug=np.where(drug, "yes", "no"), ward=ward)
    frame["event"] = (rng.random(n) < risk).astype(int)
    known = dict(bounds=bounds, categories={"gene": ["a", "A"], "drug": ["no", "yes"], "ward": list("ijk")})
    schema = data.Schema(granularity=dict.fromkeys(bounds, 1.0), gaps=())
    return Table("xor" if ways == 2 else "xor3", [data.from_frame(frame, target="event", **known)], schema)


def tables(quick: bool, runs: int) -> list[Table]:
    network = [Table(f"network {s}", [data.load("hospital_network", seed=s)]) for s in range(1 if quick else 2)]
    if quick:
        return [*network, interacting(2, 3000)]
    return [*network, Table("heart", data.replicates("heart_disease", runs)), interacting(2), interacting(3)]


def timed(make: Callable[[], pd.DataFrame]) -> tuple[pd.DataFrame, float]:
    """What it makes, and the seconds that the processor worked for it."""
    with threadpool_limits(1):
        busy = time.process_time()
        made = make()
        return made, time.process_time() - busy


def learnt(table: Table, k: int, **options) -> synth.Synthesizer:
    return synth.fit_federated(table.split(k), schema=table.schema, seed=k, **options)


def promise(epsilon: float | None) -> privacy.RecordDP | None:
    return None if epsilon is None else privacy.RecordDP(epsilon=epsilon, delta=DELTA, secure=False)


# --- what rows are worth ------------------------------------------------------------------------------------


def cells(table: Table, federation: data.Federation, frame: pd.DataFrame) -> list[np.ndarray]:
    """Of each column which cell a value is in, as 0/1 rows: equal widths between public bounds, or categories."""
    encoder = public.describe(federation, table.schema, promised=True).encoder
    found = []
    for column in encoder.columns:
        values = frame[column.name]
        if column.is_number:
            edges = np.linspace(column.low, column.high, CELLS + 1)
            code = np.searchsorted(edges[1:-1], values.to_numpy(float))
        else:
            code = np.array([column.values.index(v) if v in column.values else -1 for v in values])
        found.append(np.eye(1 + max(CELLS, len(column.values)))[np.where(values.isna(), -1, code)])
    return found


def between(a: list[np.ndarray], b: list[np.ndarray]) -> float:
    """Total variation of the tables of two columns, mean over all pairs."""
    apart = []
    for i, j in combinations(range(len(a)), 2):
        apart.append(np.abs(a[i].T @ a[j] / len(a[i]) - b[i].T @ b[j] / len(b[i])).sum() / 2)
    return float(np.mean(apart))


def quality(table: Table, k: int, made: pd.DataFrame) -> dict[str, float]:
    """`MEASURES` of some rows."""
    federation = table.split(k)
    unseen = federation.pooled().test
    auc = {f: fidelity.utility(made, unseen, target=federation.target, family=f) for f in ("linear", "trees")}
    return auc | {"pairs": between(*(cells(table, federation, frame) for frame in (made, unseen)))}


def rivals(table: Table, runs: int, quick: bool) -> Iterator[tuple]:
    """Real rows, and what lesson 02 makes of them: who, way, budget, measures, seconds."""
    for k in range(len(table.splits)):
        yield "real rows", "", "", quality(table, k, table.split(k).pooled().train), None
    for method in BASELINES[: 1 if quick else 3]:
        for k in range(min(runs, 2)):
            train, own = table.split(k).pooled().train, table.split(k)
            about = dict(schema=own.schema, label=own.target if method == "wgan_gp" else None)
            silent = dict(on_step=lambda _: None, every=10**9)

            def make(train=train, about=about | silent, method=method, k=k) -> pd.DataFrame:
                return synth.fit(train, method=method, seed=k, **about).sample(len(train), seed=k)

            made, took = timed(make)
            yield f"not private: {method}", "", "", quality(table, k, made), took


def ours(table: Table, runs: int, quick: bool) -> Iterator[tuple]:
    for method in METHODS[: 2 if quick else 3]:
        for epsilon in BUDGETS[: 1 if quick else 4]:
            for way, aggregator in WAYS.items():
                if epsilon is None and aggregator is not None:
                    continue  # `same_answer` shows that it is the same
                for k in range(runs):

                    def make(k=k, method=method, epsilon=epsilon, aggregator=aggregator) -> pd.DataFrame:
                        options = dict(method=method, privacy=promise(epsilon), aggregator=aggregator)
                        made = learnt(table, k, **options)
                        return made.sample(made.about["rows"], seed=k)  # as many as the noisy total says

                    made, took = timed(make)
                    name = "none" if epsilon is None else f"{epsilon:g}"
                    yield method, way if epsilon else "", name, quality(table, k, made), took


def same_answer(table: Table) -> None:
    """Without noise a masked sum is the plain one, so both ways make the same rows."""
    for method in ("tables", "copula"):
        made = [learnt(table, 0, method=method, aggregator=a).sample(500) for a in WAYS.values()]
        if any((made[0][c].astype(object).fillna("") != made[1][c].astype(object).fillna("")).mean() > 0.01
               for c in made[0]):  # fmt: skip  # scores are rounded to a grid, so a row may differ
            sys.exit(f"method={method!r} makes other rows when sums are masked: no comparison would be honest.")


def utility(some: list[Table], runs: int, quick: bool) -> None:
    """All measures of all methods on all tables, and which aims they meet."""
    same_answer(some[-1])
    found = []
    for table in some:
        begin = time.perf_counter()
        for who, way, epsilon, measured, took in [*rivals(table, runs, quick), *ours(table, runs, quick)]:
            found.append(dict(table=table.name, who=who, way=way, epsilon=epsilon, seconds=took, **measured))
        print(f"{table.name}: {_rows(table)}, measured in {time.perf_counter() - begin:.0f} s.", flush=True)
    found, names = pd.DataFrame(found), [table.name for table in some]
    for measure, title in MEASURES.items():
        printed(found, names, measure, f"{title}: mean (standard deviation) over {runs} runs, at most", _spread)
    printed(found.dropna(subset="seconds"), names, "seconds", "Seconds of the processor: median (longest)", _longest)
    print("  A first run with a budget has its noise to find, which is then remembered: it is among the longest.")
    aims(found, some)


def _rows(table: Table) -> str:
    first = table.splits[0]
    train, test = (sum(len(getattr(h, part)) for h in first.hospitals) for part in ("train", "test"))
    several = f", {len(table.splits)} splits" if len(table.splits) > 1 else ""
    return f"{len(first.hospitals)} hospitals, {train:,} training and {test:,} test rows{several}"


def _spread(values: pd.Series) -> str:
    return f"{values.mean():.3f}" + (f" ({values.std():.3f})" if len(values) > 1 else "")


def _longest(values: pd.Series) -> str:
    return f"{values.median():.2f} ({values.max():.2f})"


def printed(found: pd.DataFrame, names: list[str], measure: str, title: str, cell: Callable) -> None:
    lines = []
    for key, rows in found.groupby(["who", "way", "epsilon"], sort=False):
        values = [rows.loc[rows["table"] == name, measure] for name in names]
        lines.append([*key, *(cell(v) if len(v) else "" for v in values)])
    show(title, ["", "noise", "epsilon", *names], lines)


def aims(found: pd.DataFrame, some: list[Table]) -> None:
    """What was aimed at, and whether it came out: means over runs, noise in both ways."""
    for table in some:
        chosen = learnt(table, 0, privacy=promise(1.0)).method
        print(f"\n{table.name} at epsilon 1: left to choose, fit_federated takes {chosen!r}.")
        own = found[found["table"] == table.name]
        real = own[own["who"] == "real rows"].mean(numeric_only=True)
        for way in WAYS:
            mine = own[(own["who"] == chosen) & (own["epsilon"] == "1") & (own["way"] == way)]
            took, gap = mine["seconds"].median(), real - mine.mean(numeric_only=True)
            most = BELOW if table.name.startswith("network") else {"trees": BELOW_XOR} if table.name == "xor" else {}
            said = [f"{gap[m]:.3f} below real rows ({m}){_met(gap[m], most.get(m))}" for m in BELOW]
            said.append(f"{took:.2f} s{_met(took, LONGEST)}")
            print(f"  noise {way}: {'; '.join(said)}.", flush=True)


def _met(value: float, most: float | None) -> str:
    return "" if most is None else f", {'within' if value <= most else 'NOT within'} {most:g}"


# --- who was in the table -----------------------------------------------------------------------------------


def membership(quick: bool) -> None:
    """Halves of heart_disease by fair coins; what lesson 06's attacks find in tables made of them."""
    federation = data.load("heart_disease")
    patients, reference = federation.pooled().train, federation.pooled().test
    cuts = np.cumsum([len(h.train) for h in federation.hospitals])[:-1]
    lines = []
    many = 2 if quick else 10
    for method, epsilon, n in (("pairs", None, many), ("pairs", 1.0, many), ("interpolate", None, min(many, 4))):
        member = attacks.coins(len(patients), n, seed=1)
        made = []
        for k, inside in enumerate(member):
            if method == "interpolate":
                half = patients[inside].reset_index(drop=True)
                found = synth.fit(half, method=method, schema=federation.schema, seed=k)
            else:
                halves = [h.train[i] for h, i in zip(federation.hospitals, np.split(inside, cuts), strict=True)]
                options = dict(privacy=promise(epsilon), aggregator=WAYS["in shares"])
                found = synth.fit_federated(federation.replace_train(halves), method=method, seed=k, **options)
            made.append(found.sample(found.about.get("rows", int(inside.sum())), seed=k))
        for result in (
            attacks.domias(patients, member, made, reference=reference),
            attacks.nearest_record(patients, member, made),
        ):
            name = "none" if epsilon is None else f"{epsilon:g}"
            share = result.tpr_at(0.01)
            at_one = "too few to say" if share.unresolved else f"{share:.1%}"
            lines.append([method, name, str(n), result.attack, f"{result.auc:.3f}", at_one])
    head = ["", "epsilon", "tables", "attack", "AUC (95%)", "members found at 1% false alarms (95%)"]
    show(f"Who of {len(patients)} patients was in the half that a table is made of", head, lines)
    print("  An attack that fails proves nothing: the proof is the noise.")


# --- beside Private-PGM -------------------------------------------------------------------------------------


def peer(runs: int, quick: bool) -> None:
    """The same kinds of tables with noise of the same law, once on the total, learnt by us and by `mbi`."""
    if quick and not private_pgm.FOLDER.exists():
        print("\nNo comparison with mbi: --quick does not make an environment for it.")
        return
    python, complaint = private_pgm.environment()
    if python is None:
        print(f"\n{complaint}")
        return
    split = data.load("hospital_network")
    whole = Table("network, one hospital", [replace(split, hospitals=(split.pooled(),))])  # so noise comes once
    lines = []
    for method, kind in zip(("tables", "pairs"), private_pgm.KINDS, strict=True):
        for epsilon in BUDGETS[: 1 if quick else 2]:
            mine, took = ours_alone(whole, method, epsilon, runs)
            others, takes = theirs(whole, python, kind, epsilon, runs)
            lines += [[method, f"{epsilon:g}", "ours", *mine], [method, f"{epsilon:g}", kind, *others]]
            what = f"private {'label-wise ' if method == 'tables' else ''}{method}, epsilon {epsilon:g}; processor time"
            beside(what, f"{kind} of mbi", took, takes, same="the same sums and noise; another learner")
    head = ["sums", "epsilon", "learnt by", *MEASURES, "seconds, all threads", "of the first"]
    show(f"Beside mbi on hospital_network, {runs} runs, noise once on the total", head, lines)
    print("  The first one of mbi compiles its programs; ours looks for its noise. Seconds are medians of the others.")


def ours_alone(whole: Table, method: str, epsilon: float, runs: int) -> tuple[list[str], float]:
    measured, took = [], []
    for k in range(runs):

        def make(k=k) -> pd.DataFrame:
            made = learnt(whole, k, method=method, privacy=promise(epsilon))
            return made.sample(made.about["rows"], seed=k)

        made, seconds = timed(make)
        measured.append(quality(whole, k, made))
        took.append(seconds)
    return _line(measured, took)


def theirs(whole: Table, python: Path, kind: str, epsilon: float, runs: int) -> tuple[list[str], float]:
    """Gaussian noise on label-wise tables of each column, or of each pair; rows back by the kit's own levels."""
    federation = whole.split(0)
    train = federation.hospitals[0].train
    bins = learnt(whole, 0, method="tables").bins  # as many as ours has
    levels = Levels(public.describe(federation, None, promised=True).encoder, bins)
    codes, sizes = levels.codes(train), list(levels.sizes.values())
    label = levels.names.index(federation.target)
    others = [j for j in range(len(sizes)) if j != label]
    cliques = [(label, *of) for of in combinations(others, 1 if kind == private_pgm.KINDS[0] else 2)]
    noise = privacy.noise_for(epsilon, delta=DELTA) * len(cliques) ** 0.5
    jobs = []
    for k in range(runs):
        rng = np.random.default_rng(k)
        counted = [np.histogramdd(codes[:, c], [np.arange(sizes[j] + 1) for j in c])[0] for c in cliques]
        jobs.append(([table + rng.normal(0, noise, table.shape) for table in counted], noise))
    measured, took = [], []
    for k, found in enumerate(private_pgm.rows(python, kind, sizes, cliques, jobs)):
        made = levels.encoder.decode(levels.rows(found.codes, np.random.default_rng(k)))
        measured.append(quality(whole, k, made))
        took.append(found.busy)
    return _line(measured, took)


def _line(measured: list[dict[str, float]], took: list[float]) -> tuple[list[str], float]:
    """Cells of a table, and the median of all seconds but the first."""
    usual = float(np.median(took[1:] or took))
    cells = [_spread(pd.Series([one[m] for one in measured])) for m in MEASURES]
    return [*cells, f"{usual:.2f} s", f"{took[0]:.1f} s"], usual


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one run, epsilon 1, two tables, no wgan_gp")
    parser.add_argument("--only", choices=("utility", "membership", "peer"), help="one part of the three")
    options = parser.parse_args()
    torch.set_num_threads(1)
    runs = 1 if options.quick else 5
    print(f"Delta {DELTA:g}; noise from seeds, for repetition. torch {torch.__version__}, {os.cpu_count()} cores.")
    print('"in shares": each hospital adds a share of the noise inside a masked sum; "each": all of it.', flush=True)
    if options.only in (None, "utility"):
        utility(tables(options.quick, runs), runs, options.quick)
    if options.only in (None, "membership"):
        membership(options.quick)
    if options.only in (None, "peer"):
        peer(runs, options.quick)


if __name__ == "__main__":
    main()
