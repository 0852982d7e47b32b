"""Sums under encryption: right, precise, sent whole, and never with a key in the wrong place."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch

ts = pytest.importorskip("tenseal", reason="TenSEAL has no wheel for this platform")

from fedlab_utils import data, encrypted, federated  # noqa: E402
from fedlab_utils.encrypted import EncryptedSum, Parameters, add, decrypt, encrypt  # noqa: E402

SMALL = Parameters(4096, (60, 40), 40)
TUTORIAL = Parameters(8192, (60, 40, 60), 40)
SETS = [Parameters(), TUTORIAL, SMALL, Parameters(4096, (53, 53), 30), Parameters(2048, (33, 20), 18)]


@pytest.fixture(scope="module")
def context():
    return encrypted.hospital_context(SMALL)


@pytest.fixture(scope="module")
def server(context):
    return encrypted.server_context(context)


@pytest.fixture(scope="module")
def key(context, tmp_path_factory):
    """The secret key as SEAL writes it, without the 16 bytes of its header."""
    path = tmp_path_factory.mktemp("keys") / "key"
    context.secret_key().data.save(str(path))
    return path.read_bytes()[16:]


def numbers(n, seed=0, size=1.0):
    return np.random.default_rng(seed).normal(0, size, n)


def pieces(secret: bytes, found: bytes) -> int:
    """How many 16-byte pieces of a secret occur anywhere in some bytes; pieces whose one half is zeros do not count.

    With eight bytes, a value rounded to the grid is six zeros and two other bytes, which a ciphertext's header and its
    first coefficient hold by accident in three of a hundred runs.
    """
    shifted = [found[k : k + (len(found) - k) // 8 * 8] for k in range(8)]
    anywhere = np.concatenate([_pairs(np.frombuffer(part, np.uint64)) for part in shifted])
    words = np.frombuffer(secret[: len(secret) // 8 * 8], np.uint64)
    return int(np.isin(_pairs(words)[(words[:-1] > 0) & (words[1:] > 0)], anywhere).sum())


def _pairs(words: np.ndarray) -> np.ndarray:
    """A number for each two neighbours, modulo 2^64; others have the same by an accident of one in 2^64 only."""
    return words[:-1] * np.uint64(0x9E3779B97F4A7C15) + words[1:]


# --- sums ------------------------------------------------------------------------------------------------------------


def test_encryptions_add_up(context, server):
    a, b = numbers(3000), numbers(3000, seed=1)
    total = decrypt(context, add(server, [encrypt(context, a), encrypt(context, b)]), 3000)
    np.testing.assert_allclose(total, a + b, atol=1e-8)


def test_adding_an_encryption_of_zero_changes_the_ciphertext_and_not_the_number(context, server):
    a = encrypt(context, numbers(10))
    again = add(server, [a, encrypt(context, np.zeros(10))])
    assert again != a
    np.testing.assert_allclose(decrypt(context, again, 10), numbers(10), atol=1e-8)


def test_the_order_of_hospitals_does_not_matter(context, server):
    uploads = [encrypt(context, numbers(10, seed=k)) for k in range(3)]
    assert add(server, uploads) == add(server, uploads[::-1])


def test_one_number_is_never_encrypted_twice_alike(context):
    assert encrypt(context, [1.0]) != encrypt(context, [1.0])


@pytest.mark.parametrize("parameters", SETS, ids=repr)
def test_the_error_is_the_noise_that_the_parameters_state(parameters):
    context, n = encrypted.hospital_context(parameters), 8
    values = np.array([numbers(2 * parameters.slots, seed=k) for k in range(n)])
    total = add(encrypted.server_context(context), [encrypt(context, v) for v in values])
    error = decrypt(context, total, values.shape[1]) - values.sum(0)
    assert 0.9 < error.std() / parameters.noise(n) < 1.1
    assert np.abs(error).max() < 7 * parameters.noise(n)


@pytest.mark.parametrize("n", [1, 2, 2047, 2048, 2049, 4096, 4097])
def test_a_model_fills_whole_ciphertexts(context, n):
    ciphertexts = encrypt(context, numbers(n))
    assert len(ciphertexts) == -(-n // 2048)
    assert len({len(c) for c in ciphertexts}) == 1
    assert [ts.ckks_vector_from(context, c).size() for c in ciphertexts] == [2048] * len(ciphertexts)
    np.testing.assert_allclose(decrypt(context, ciphertexts, n), numbers(n), atol=1e-8)


@pytest.mark.parametrize("parameters", SETS[:3], ids=repr)
def test_a_ciphertext_is_hardly_longer_than_its_coefficients(parameters):
    (ciphertext,) = encrypt(encrypted.hospital_context(parameters), numbers(parameters.slots))
    assert 1 <= len(ciphertext) / parameters.slots / parameters.bytes_a_value <= 1.15


# --- keys ------------------------------------------------------------------------------------------------------------


def test_hospitals_hold_one_key_and_no_other(context):
    assert context.is_private() and context.has_secret_key()
    assert not context.has_galois_keys() and not context.has_relin_keys()


def test_the_server_holds_no_key_of_any_kind(server):
    opened = ts.context_from(server)
    assert not opened.is_private() and not opened.has_secret_key()
    assert not opened.has_galois_keys() and not opened.has_relin_keys()
    assert len(server) < 200  # a key has tens of thousands of bytes
    with pytest.raises(ValueError):
        ts.ckks_vector(opened, [1.0])


def test_the_server_cannot_decrypt(context, server):
    ciphertexts = encrypt(context, numbers(10))
    with pytest.raises(ValueError):
        ts.ckks_vector_from(ts.context_from(server), ciphertexts[0]).decrypt()
    with pytest.raises(ValueError, match="^context must hold the secret key"):
        decrypt(ts.context_from(server), ciphertexts, 10)


def test_no_piece_of_the_key_is_in_what_the_server_holds(context, server, key):
    whole = context.serialize(save_secret_key=True, save_galois_keys=False, save_relin_keys=False)
    assert pieces(key, whole) > 6000  # the scan finds the key where it is
    uploads = [encrypt(context, numbers(5000, seed=k)) for k in range(2)]
    for found in [server, *uploads[0], *uploads[1], *add(server, uploads)]:
        assert pieces(key, found) == 0


def test_a_server_with_the_key_is_refused(context):
    private = context.serialize(save_secret_key=True)
    with pytest.raises(ValueError, match="^server must be a context without secret key"):
        add(private, [encrypt(context, [1.0])])


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("other", [Parameters(), Parameters(4096, (50, 40), 40), Parameters(4096, (60, 40), 39)])
def test_ciphertexts_of_other_parameters_are_refused(context, server, other):
    good, bad = encrypt(context, [1.0]), encrypt(encrypted.hospital_context(other), [1.0])
    with pytest.raises(ValueError, match="^ciphertext 0 of upload 1 does not fit the context"):
        add(server, [good, bad])
    with pytest.raises(ValueError, match="^ciphertext 0 does not fit the context"):
        decrypt(context, bad, 1)


def test_a_ciphertext_with_fewer_primes_is_refused():
    """TenSEAL would add these without a word: the one prime of the first is the first prime of the second."""
    one, two = encrypted.hospital_context(), encrypted.hospital_context(TUTORIAL)
    with pytest.raises(ValueError, match="^ciphertext 0 of upload 1 does not fit"):
        add(encrypted.server_context(two), [encrypt(two, [1.0]), encrypt(one, [1.0])])


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: b"nonsense", lambda c: c[:-100], lambda c: c[:200]])
def test_damaged_ciphertexts_are_refused(context, server, damage):
    (good,) = encrypt(context, [1.0])
    with pytest.raises(ValueError, match="^ciphertext 0 of upload 1 does not fit"):
        add(server, [[good], [damage(good)]])


def test_another_key_shows_when_decrypting_and_not_before(context, server):
    other = encrypted.hospital_context(SMALL)
    mixed = add(server, [encrypt(context, [1.0]), encrypt(other, [1.0])])
    for holder in (context, other):
        with pytest.raises(ValueError, match="another key made them"):
            decrypt(holder, mixed, 1)


def test_sums_wrap_around_beyond_the_stated_bits(context, server):
    """Each number fits, and so do two, but three do not: no check can tell. Shares that add up to 1 cannot get here."""
    most = 2.0**SMALL.bits_left
    one = encrypt(context, np.full(2048, 0.49 * most))
    np.testing.assert_allclose(decrypt(context, add(server, [one] * 2), 2048), 0.98 * most)
    np.testing.assert_allclose(decrypt(context, add(server, [one] * 3), 2048), (1.47 - 2) * most, rtol=1e-3)


@pytest.mark.parametrize("values", [[np.nan], [np.inf], [], [[1.0]], 1.0, [2.0**19]])
def test_values_that_cannot_be_encrypted_are_refused(context, values):
    with pytest.raises(ValueError, match="^values must be one row of finite numbers, each smaller than 524288"):
        encrypt(context, values)


def test_lists_of_different_lengths_are_refused(context, server):
    for uploads in ([encrypt(context, numbers(10)), encrypt(context, numbers(3000))], [[], []], []):
        with pytest.raises(ValueError, match="^uploads must"):
            add(server, uploads)
    with pytest.raises(ValueError, match="^n_values must be at most 2048"):
        decrypt(context, encrypt(context, [1.0]), 2049)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (dict(ring=4096, modulus_bits=(54, 53)), "^modulus_bits must add up to at most 106 for ring=4096.*got 107"),
        (dict(ring=8192, modulus_bits=(60, 60, 60, 40)), "less than 128 bits of security; got 220"),
        (dict(ring=1024, modulus_bits=(20, 20)), "^ring must be one of 2048"),
        (dict(ring=5000), "^ring must be one of"),
        (dict(modulus_bits=(60,)), "^modulus_bits must be two or more"),
        (dict(modulus_bits=(61, 60)), "^modulus_bits must be two or more"),
        (dict(modulus_bits=60), "^modulus_bits must be two or more"),
        (dict(scale_bits=59), "^scale_bits must be at most 58"),
        (dict(scale_bits=0), "^scale_bits must be a whole number"),
        (dict(scale_bits=30.5), "^scale_bits must be a whole number"),
    ],
)
def test_insecure_or_senseless_parameters_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Parameters(**arguments)


@pytest.mark.parametrize("ring", encrypted.MOST_BITS)
def test_our_limits_are_no_looser_than_those_of_seal(ring):
    """SEAL itself enforces the standard of 2018, under which a modulus may be a little longer."""
    most = encrypted.MOST_BITS[ring]
    n = max(-(-most // 60), 2)
    sizes = [most // n + (k < most % n) for k in range(n)]
    assert sum(Parameters(ring, tuple(sizes), 18).modulus_bits) == most
    if ring <= 8192:  # the same few primes would take long for large rings
        ts.context(ts.SCHEME_TYPE.CKKS, ring, -1, sizes, ts.ENCRYPTION_TYPE.SYMMETRIC, 1)
        with pytest.raises(ValueError, match="not set correctly"):
            ts.context(ts.SCHEME_TYPE.CKKS, ring, -1, [b + 3 for b in sizes], ts.ENCRYPTION_TYPE.SYMMETRIC, 1)


def test_a_scale_too_small_for_the_rounding_is_refused():
    with pytest.raises(ValueError, match="^rounding must be at least .* scale_bits=20"):
        EncryptedSum(Parameters(8192, (60, 60), 20))
    with pytest.raises(ValueError, match="^rounding must be"):
        EncryptedSum(rounding=0)
    EncryptedSum(Parameters(8192, (60, 60), 20), rounding=0.01)  # coarse enough


# --- the seam --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def summed():
    """Three hospitals, two ciphertexts each."""
    updates, weights = numbers((3, 3000), size=0.05).astype(np.float32), np.array([100, 50, 7])
    aggregator = EncryptedSum(SMALL)
    mean, messages = aggregator.aggregate(updates, weights, alive=np.ones(3, bool), rng=None)
    return aggregator, updates, weights, mean, messages


def test_the_mean_is_the_plain_mean_within_the_stated_error(summed):
    aggregator, updates, weights, mean, _ = summed
    plain = np.average(updates.astype(float), axis=0, weights=weights)
    assert 0 < np.abs(mean - plain).max() <= 3 * aggregator.rounding / 2
    assert aggregator.report["error"] == np.abs(mean - plain).max()


def test_the_short_way_gives_the_same_bits(summed):
    aggregator, updates, weights, mean, messages = summed
    quick, sizes = aggregator.quick(updates, weights, alive=np.ones(3, bool), rng=None)
    assert np.array_equal(quick, mean)
    assert [m[:3] for m in sizes] == [m[:3] for m in messages]
    np.testing.assert_allclose([m[3] for m in sizes], [m[3] for m in messages], rtol=0.01)
    assert all(m[4] is None for m in sizes)


def test_nothing_of_the_noise_is_left_after_rounding(summed):
    """What goes out is a whole number of steps of the grid, for any noise: twice the same, with other randomness."""
    aggregator, updates, weights, mean, messages = summed
    steps = mean / aggregator.rounding
    assert np.array_equal(steps, np.rint(steps))
    again, others = aggregator.aggregate(updates, weights, alive=np.ones(3, bool))
    assert np.array_equal(again, mean)
    assert not np.array_equal(others[0][4], messages[0][4])
    assert 0 < aggregator.report["noise"] < aggregator.rounding / 20


def test_messages_are_ciphertexts_up_and_the_sum_down(summed):
    aggregator, _, _, _, messages = summed
    up, down = messages[:3], messages[3:]
    assert [m[:3] for m in up] == [(h, "server", "encrypted update") for h in range(3)]
    assert [m[:3] for m in down] == [("server", h, "encrypted sum") for h in range(3)]
    assert all(m[4].dtype == np.uint8 and m[4].shape == (m[3],) for m in messages)
    assert all(np.array_equal(m[4], down[0][4]) for m in down)
    assert aggregator.report["ciphertexts"] == 2 and aggregator.report["bytes a hospital"] == down[0][3]
    size = down[0][3] // 2
    sums = [down[0][4][k * size : (k + 1) * size].tobytes() for k in range(2)]
    np.testing.assert_allclose(decrypt(aggregator.context, sums, 3000), summed[3], atol=1e-8)


def test_what_the_server_receives_is_no_plain_update_and_no_key(summed, tmp_path):
    aggregator, updates, weights, mean, messages = summed
    aggregator.context.secret_key().data.save(str(tmp_path / "key"))
    secrets = [(tmp_path / "key").read_bytes()[16:]]
    for row, share in zip(updates.astype(float), weights / weights.sum(), strict=True):
        for values in (row, row * share, np.rint(row * share / aggregator.rounding) * aggregator.rounding, mean):
            secrets += [values.tobytes(), values.astype(np.float32).tobytes()]
        secrets.append(np.rint(row * share * 2**SMALL.scale_bits).astype(np.int64).tobytes())
    held = aggregator.server + b"".join(m[4].tobytes() for m in messages)
    assert pieces(b"".join(s[: len(s) // 8 * 8] for s in secrets), held) == 0
    assert all(pieces(s, b"odd" + s) for s in secrets)  # the scan finds each where it is


def test_messages_look_random(summed):
    """The bits of a ciphertext are even: all but the four highest of each 64-bit coefficient, which are 0."""
    for message in summed[4]:
        bits = np.unpackbits(message[4][-16000:].reshape(-1, 8)[:, :4])
        assert abs(bits.mean() - 0.5) < 5 * 0.5 / bits.size**0.5


def test_who_falls_silent_is_left_out(summed):
    aggregator, updates, weights, *_ = summed
    mean, messages = aggregator.aggregate(updates, weights, alive=np.array([True, False, True]))
    plain = np.average(updates[[0, 2]].astype(float), axis=0, weights=weights[[0, 2]])
    np.testing.assert_allclose(mean, plain, atol=3 * aggregator.rounding)
    ends = [(0, "server"), (2, "server"), ("server", 0), ("server", 1), ("server", 2)]
    assert [m[:2] for m in messages] == ends  # who fell silent trains from the sum in the next round


def test_a_sum_of_one_is_shown_to_nobody(summed):
    aggregator, updates, weights, *_ = summed
    for way in (aggregator.aggregate, aggregator.quick):
        with pytest.raises(federated.AbandonedRound, match="a sum of one is its update") as stopped:
            way(updates, weights, alive=np.array([False, True, False]))
        assert [m[:3] for m in stopped.value.messages] == [(1, "server", "encrypted update")]
        with pytest.raises(federated.AbandonedRound, match="Fewer than two"):
            way(updates, weights, alive=np.zeros(3, bool))
    alone, _ = aggregator.aggregate(updates[:1], weights[:1], alive=np.array([True]))
    np.testing.assert_allclose(alone, updates[0], atol=aggregator.rounding)


def test_an_update_is_rounded_to_the_stated_step_where_all_count_alike():
    aggregator, n = EncryptedSum(SMALL, rounding=2.0**-14), 5
    updates = np.zeros((n, 400))
    updates[2] = numbers(400, seed=1)
    mean, _ = aggregator.quick(updates, np.full(n, 8), alive=np.ones(n, bool))
    step, rounded = aggregator.grid_step(n), mean * n
    np.testing.assert_allclose(rounded / step, np.rint(rounded / step), atol=1e-9)
    assert step == n * aggregator.rounding and 0.4 * step < np.abs(rounded - updates[2]).max() <= 0.5001 * step


def test_bodies_are_kept_only_where_they_are_recorded():
    federation, seen = data.load("breast_cancer"), []

    class Watching(EncryptedSum):
        def aggregate(self, *given, **others):
            mean, sent = super().aggregate(*given, **others)
            seen.append([m[3] if m[4] is None else m[4].size for m in sent])
            assert all((m[4] is None) != recorded for m in sent)
            return mean, sent

    sizes = []
    for recorded in (False, True):
        run = federated.train(federation, rounds=1, hidden=(), aggregator=Watching(SMALL), record=recorded)
        sizes.append(run.transcript.query("what == 'encrypted update'")["bytes"].mean())
    assert len(seen) == 2 and sizes[0] == pytest.approx(sizes[1], rel=0.01)
    aggregator = EncryptedSum(SMALL)
    federated.train(federation, rounds=2, hidden=(), aggregator=aggregator)
    assert aggregator.report["ciphertexts"] == 1 and aggregator.report["bytes a hospital"] == pytest.approx(
        sizes[0], rel=0.01
    )


def test_training_goes_on_when_hospitals_fall_silent():
    federation = data.load("breast_cancer")
    work = dict(rounds=6, hidden=(), seeds=6, dropout=0.4)
    plain, run = (federated.train(federation, **work, aggregator=a) for a in (None, EncryptedSum(SMALL)))
    up = run.transcript[run.transcript["what"] == "encrypted update"]
    left = up.groupby(["seed", "round"]).size()
    few = [sorted(turn for s, turn in left[left < 2].index if s == seed) for seed in range(6)]
    assert [sorted(set(f) | set(range(1, 7)) - set(left[s].index)) for s, f in enumerate(few)] == run.failed
    assert any(run.failed)
    calm = [s for s in range(3) if not run.failed[s]]
    assert calm
    torch.testing.assert_close(run.params.flat()[calm], plain.params.flat()[calm], atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (dict(updates=numbers(3)), "^updates must be"),
        (dict(updates=numbers((3, 0))), "^updates must be"),
        (dict(updates=np.full((3, 2), np.nan)), "^updates must be finite"),
        (dict(updates=np.full((3, 2), 1e7)), "^updates must be finite and below 524288"),
        (dict(weights=[1, 2]), "^updates must be"),
        (dict(weights=[1, 2, -1]), "^weights must be"),
        (dict(weights=[1, 2, np.nan]), "^weights must be"),
        (dict(weights=[0, 0, 0]), "^weights must be"),
    ],
)
def test_what_cannot_be_summed_is_refused(summed, change, sentence):
    given = dict(updates=numbers((3, 2)), weights=[1, 2, 3], alive=[True] * 3) | change
    with pytest.raises(ValueError, match=sentence):
        summed[0].aggregate(given["updates"], given["weights"], alive=np.array(given["alive"]))


def test_encrypted_training_gives_the_plain_model():
    federation, settings = data.load("breast_cancer"), dict(rounds=2, seeds=2)
    plain, aggregator = federated.train(federation, **settings), EncryptedSum()
    run = federated.train(federation, aggregator=aggregator, **settings)
    for ours, theirs in zip(
        run.params.weights + run.params.biases, plain.params.weights + plain.params.biases, strict=True
    ):
        assert 0 < float((ours - theirs).abs().max()) < 1e-4
    up = run.transcript.query("receiver == 'server'")
    assert set(up["what"]) == {"encrypted update"}
    assert set(run.transcript.query("round == 2")["what"]) == {"encrypted update", "encrypted sum"}


# --- without TenSEAL -------------------------------------------------------------------------------------------------

WITHOUT = """
import importlib.util, pkgutil, sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tenseal", "_tenseal_cpp"):
            raise ImportError(name)
sys.meta_path.insert(0, Missing())
import fedlab_utils
for module in pkgutil.iter_modules(fedlab_utils.__path__):
    __import__("fedlab_utils." + module.name)
from fedlab_utils import encrypted
encrypted.Parameters()
try:
    encrypted.EncryptedSum()
except ImportError as error:
    print(error)
"""


def test_everything_imports_without_tenseal_and_using_it_says_what_is_missing():
    done = subprocess.run([sys.executable, "-W", "error::ImportWarning", "-c", WITHOUT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"Encryption needs the package tenseal; .*pip install tenseal\s*", done.stdout)


def test_importing_encrypted_does_not_import_tenseal():
    code = "import sys, fedlab_utils.encrypted; sys.exit('tenseal' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
