"""Sums of encrypted updates: the server adds ciphertexts that it cannot read.

The scheme is CKKS (Cheon, Kim, Kim, Song, eprint 2016/421) as in TenSEAL and Microsoft SEAL: half as many real numbers
as the ring has coefficients are encrypted at once, and adding two ciphertexts adds all of them. TenSEAL is imported
only when it is used.

**Who holds the key.** All hospitals share one secret key, made among themselves; the server gets nothing but the
parameters. Whoever has the key reads every ciphertext: one hospital that passes it to the server undoes everything. In
return a hospital gets the sum, never another's update, as long as the server passes on sums only.

**Raw decryptions never leave a hospital.** CKKS decrypts to the message *plus the noise of the encryption*, and from
two of TenSEAL's ciphertexts with their raw decryptions the key follows by linear algebra in a second (Li and
Micciancio, eprint 2020/1533). So hospitals round to a grid before they encrypt, and round the sum to the same grid
after they decrypt. The noise is far smaller than a step: what comes out is the exact sum of what went in, and says
nothing about the noise. This holds for sums of honest encryptions; a server that sends something else to be decrypted,
and sees what comes of it, is not covered.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedlab_utils._arguments import number, uploads, whole
from fedlab_utils.federated import Aggregator

# Most bits of modulus for 128 bits of security against classical computers with a ternary secret key, by ring: the
# guidelines of Bossuat et al. (eprint 2024/463), a little stricter for every ring than the Homomorphic Encryption
# Standard (eprint 2019/939: 54, 109, 218, 438, 881), which is what SEAL enforces.
MOST_BITS = {2048: 53, 4096: 106, 8192: 214, 16384: 430, 32768: 868}

_NOISE = 3.24  # standard deviation of a coefficient of fresh noise in SEAL: centred binomial, 42 coins
_SAFETY = 10  # the grid's half step is at least so many standard deviations of the noise
_EXACT = 40  # bits of a number that TenSEAL's 64-bit floating-point transforms keep with room to spare


@dataclass(frozen=True)
class Parameters:
    """Parameters of CKKS, refused if they are insecure or leave no room for numbers.

    Parameters
    ----------
    ring
        Coefficients of a polynomial, a power of 2; half as many numbers fit one ciphertext.
    modulus_bits
        Bits of the primes whose product is the modulus. A ciphertext uses all but the last prime, which is reserved
        for switching keys. One prime is enough for additions; each further one allows a multiplication, and makes
        ciphertexts longer.
    scale_bits
        A number x is encrypted as the whole number nearest to ``x * 2**scale_bits``.

    Raises
    ------
    ValueError
        If the modulus is too large for the ring (less than 128 bits of security), or too small for the scale.
    """

    ring: int = 8192
    modulus_bits: tuple[int, ...] = (60, 60)
    scale_bits: int = 40

    def __post_init__(self) -> None:
        ring, scale = whole("ring", self.ring), whole("scale_bits", self.scale_bits)
        given = self.modulus_bits if isinstance(self.modulus_bits, Sequence) else ()
        bits = tuple(whole("modulus_bits", b) for b in given)
        if ring not in MOST_BITS:
            raise ValueError(f"ring must be one of {', '.join(map(str, MOST_BITS))}; got {ring}.")
        if len(bits) < 2 or min(bits) < 20 or max(bits) > 60:
            raise ValueError(f"modulus_bits must be two or more numbers from 20 to 60; got {self.modulus_bits!r}.")
        for name, value in dict(ring=ring, modulus_bits=bits, scale_bits=scale).items():
            object.__setattr__(self, name, value)
        if sum(bits) > MOST_BITS[ring]:
            less = f"or the encryption has less than 128 bits of security; got {sum(bits)}"
            raise ValueError(f"modulus_bits must add up to at most {MOST_BITS[ring]} for ring={ring}, {less}.")
        if self.bits_left < 1:
            most = f"{scale - 1 + self.bits_left} for modulus_bits={bits}"
            raise ValueError(f"scale_bits must be at most {most}, or numbers of size 1 do not fit; got {scale}.")

    @property
    def slots(self) -> int:
        """Numbers in one ciphertext."""
        return self.ring // 2

    @property
    def bits_left(self) -> int:
        """Bits of the modulus beyond scale and sign: numbers and their sums must stay below ``2**bits_left``."""
        return sum(self.modulus_bits[:-1]) - self.scale_bits - 1

    @property
    def bytes_a_value(self) -> float:
        """Bytes a number in theory, ``4 log2(q) / 8``: two polynomials with two coefficients for each number."""
        return sum(self.modulus_bits[:-1]) / 2

    def noise(self, n: int = 1) -> float:
        """Standard deviation of the error of a decrypted sum of `n` ciphertexts, in the units of the numbers."""
        return _NOISE * (self.ring / 2 * n) ** 0.5 / 2**self.scale_bits


def hospital_context(parameters: Parameters | None = None):
    """A TenSEAL context with a fresh secret key and no other: to be shared among the hospitals only.

    Whoever decrypts can also encrypt with the secret key (half the time and a seventh of the noise of a public key),
    and sums need neither relinearisation nor Galois keys. TenSEAL makes relinearisation keys all the same, so the
    context is written without them and read again.

    Parameters
    ----------
    parameters
        Of the encryption; None is `Parameters` as they come.

    Raises
    ------
    ImportError
        If TenSEAL is not installed.
    """
    ts, p = _tenseal(), parameters or Parameters()
    made = ts.context(ts.SCHEME_TYPE.CKKS, p.ring, -1, list(p.modulus_bits), ts.ENCRYPTION_TYPE.SYMMETRIC, n_threads=1)
    made.global_scale = 2.0**p.scale_bits
    return ts.context_from(_written(made, True), n_threads=1)


def server_context(context) -> bytes:
    """What the server gets: the parameters and no key of any kind, about 100 bytes."""
    return _written(context, False)


def encrypt(context, values) -> list[bytes]:
    """Ciphertexts of numbers, `Parameters.slots` to each; the last one is filled up with zeros.

    Parameters
    ----------
    context
        From `hospital_context`.
    values
        ``[d]``, finite.

    Returns
    -------
    list of bytes
        As they travel.

    Raises
    ------
    ValueError
        If `values` is not a row of finite numbers small enough for the modulus.
    """
    ts, values = _tenseal(), np.asarray(values, dtype=float)
    slots, limit = _room(context)
    if values.ndim != 1 or not values.size or not np.abs(values).max() < limit:
        got = f"shape {values.shape}, largest {np.abs(values).max(initial=0):g}"
        raise ValueError(f"values must be one row of finite numbers, each smaller than {limit:g} in size; got {got}.")
    full = np.pad(values, (0, -values.size % slots)).reshape(-1, slots)
    return [ts.ckks_vector(context, part.tolist()).serialize() for part in full]


def add(server: bytes, uploads: Iterable[Sequence[bytes]]) -> list[bytes]:
    """The server's work: ciphertexts of the sums.

    Parameters
    ----------
    server
        From `server_context`.
    uploads
        For each hospital its ciphertexts, as lists of one length.

    Returns
    -------
    list of bytes
        As many ciphertexts as in each of the lists.

    Raises
    ------
    ValueError
        If `server` holds a secret key, or a ciphertext is damaged or has other parameters. A ciphertext under another
        *key* looks like any other here: `decrypt` finds out.
    """
    context, total = _keyless(server), []
    for h, upload in enumerate(uploads):
        vectors = [_load(context, c, f"ciphertext {k} of upload {h}") for k, c in enumerate(upload)]
        if h and len(vectors) != len(total):
            raise ValueError(f"uploads must be lists of equally many ciphertexts; got {len(total)} and {len(vectors)}.")
        total = [one.add_(other) for one, other in zip(total, vectors, strict=True)] if h else vectors
    if not total:
        raise ValueError("uploads must hold ciphertexts; got none.")
    return [vector.serialize() for vector in total]


def decrypt(context, ciphertexts: Sequence[bytes], n_values: int) -> np.ndarray:
    """The raw decryption of the first numbers: with the noise of encryption, so it must stay secret.

    Parameters
    ----------
    context
        From `hospital_context`.
    ciphertexts
        From `encrypt` or `add`.
    n_values
        How many numbers they hold, without the zeros at the end.

    Returns
    -------
    ndarray
        ``[n_values]``, float64.

    Raises
    ------
    ValueError
        If `context` has no secret key, a ciphertext is damaged or of other parameters, there are too few for
        `n_values`, or what comes out fits no message: another key, or (seen most times only) a sum too large.
    """
    slots, limit = _room(context)
    if not context.has_secret_key():
        raise ValueError("context must hold the secret key to decrypt; got one without, such as the server's.")
    if whole("n_values", n_values) > slots * len(ciphertexts):
        raise ValueError(f"n_values must be at most {slots * len(ciphertexts)}, what was given holds; got {n_values}.")
    vectors = (_load(context, c, f"ciphertext {k}") for k, c in enumerate(ciphertexts))
    values = np.concatenate([vector.decrypt() for vector in vectors])
    if not np.abs(values).max() < limit:
        raise ValueError(
            f"ciphertexts decrypt to more than {limit:g}: another key made them, or the sum was too large."
        )
    return values[:n_values]


class EncryptedSum(Aggregator):
    """The seam of `federated.train`: the weighted mean of updates, added under encryption.

    A hospital multiplies its update by its share of all patients (sizes are public), rounds to the grid, encrypts.
    The server adds and sends the sum to each hospital, which decrypts and rounds: the server never sees the mean, so
    it has no global model to send. Each of n hospitals is off by half a step at most, so the mean by
    ``n * rounding / 2``; the noise of encryption adds nothing. If some fall silent, the sum is divided by the share of
    those who came, and so is the error. Of two hospitals, each can subtract its own part from the sum.

    Parameters
    ----------
    parameters
        Of the encryption.
    rounding
        Step of the grid. Must be well above the noise of encryption: at least 20 standard deviations of the sum's.

    Attributes
    ----------
    context
        What the hospitals hold: with the secret key, made once.
    server
        What the server holds.
    report
        Sizes, bits, the largest noise and the error of the last round. The noise is read off a raw decryption, and like
        that it is for hospitals only.

    Raises
    ------
    ValueError
        If `rounding` is too fine for the noise.
    """

    sees = None
    delivers = True  # the server could not send the mean: it never has it
    shows_participants = True

    def __init__(self, parameters: Parameters | None = None, *, rounding: float = 2.0**-20) -> None:
        self.parameters, self.rounding = parameters or Parameters(), number("rounding", rounding)
        self.grid_step(2)
        self.context = hospital_context(self.parameters)
        self.server = server_context(self.context)
        self.report: dict[str, float] = {}
        self._size = len(encrypt(self.context, [0.0])[0])

    def __repr__(self) -> str:
        return f"EncryptedSum({self.parameters!r}, rounding={self.rounding!r})"

    def aggregate(self, updates, weights, *, alive, rng=None) -> tuple[np.ndarray, list[tuple]]:
        """The weighted mean of the updates of those alive, added under encryption.

        Parameters
        ----------
        updates
            ``[n, d]``.
        weights
            Rows of each hospital, ``[n]``.
        alive
            Who is still there, true or false, ``[n]``.
        rng
            Not needed: the randomness of encryption is TenSEAL's own.

        Returns
        -------
        mean, messages
            The mean ``[d]``; and of each message sender, receiver, what it is, bytes, values: ciphertexts one after the
            other as 8-bit numbers.

        Raises
        ------
        ValueError
            If shapes do not fit, or an update is too large to be rounded exactly.
        """
        steps, came, share = self._on_grid(updates, weights, alive)
        bodies = []

        def posted():  # one at a time: they are long
            for one in steps:
                ciphertexts = encrypt(self.context, one * self.rounding)
                bodies.append(np.frombuffer(b"".join(ciphertexts), np.uint8))
                yield ciphertexts

        total = add(self.server, posted())
        raw = decrypt(self.context, total, steps.shape[1]) / self.rounding  # the same in every hospital, so done once
        mean = np.rint(raw) * self.rounding / share
        body = np.frombuffer(b"".join(total), np.uint8)
        plain = np.average(np.asarray(updates, dtype=float)[came], axis=0, weights=np.asarray(weights)[came])
        self.report = {
            "ciphertexts": len(total),
            "bytes a hospital": body.size,
            "bytes a value": body.size / mean.size,
            "modulus bits": sum(self.parameters.modulus_bits[:-1]),
            "scale bits": self.parameters.scale_bits,
            "bits left": self.parameters.bits_left,
            "noise": float(np.abs(raw - np.rint(raw)).max() * self.rounding),
            "error": float(np.abs(mean - plain).max()),  # only a simulation knows the plain mean
        }
        return mean, _messages(came, [(b.size, b) for b in bodies], (body.size, body))

    def quick(self, updates, weights, *, alive, rng=None) -> tuple[np.ndarray, list[tuple]]:
        """The same mean, bit for bit, without encryption; messages hold sizes only (compressed ones to 1%)."""
        steps, came, share = self._on_grid(updates, weights, alive)
        size = (self._size * -(-steps.shape[1] // self.parameters.slots), None)
        return steps.sum(0) * self.rounding / share, _messages(came, [size] * len(came), size)

    def _on_grid(self, updates, weights, alive) -> tuple[np.ndarray, list[int], float]:
        """Weighted updates in whole steps of the grid, who sends them, and the share of all patients they have."""
        updates, weights, alive = uploads(updates, weights, alive)
        most = min(2.0**self.parameters.bits_left, 2.0**_EXACT * self.rounding)
        if not np.abs(updates).max() < most:
            raise ValueError(f"updates must be finite and below {most:g} to be rounded exactly, and one is not.")
        came = np.flatnonzero(alive)
        self.grid_step(len(came))
        share = weights / weights.sum()
        return np.rint(updates[came] * share[came, None] / self.rounding), came.tolist(), share[came].sum()

    def grid_step(self, n: int, rows: int = 0) -> float:
        """Refuse a grid too fine for the noise of a sum of n; the step of a single update.

        Raises
        ------
        ValueError
            If the step is below 20 standard deviations of that noise.
        """
        least = 2 * _SAFETY * self.parameters.noise(n)
        if self.rounding < least:
            noise = f"far above the noise of encryption at scale_bits={self.parameters.scale_bits}"
            raise ValueError(f"rounding must be at least {least:.2g}, {noise}; got {self.rounding:g}.")
        return n * self.rounding


def _tenseal():
    try:
        import tenseal
    except ImportError:
        raise ImportError("Encryption needs the package tenseal; install it with: pip install tenseal") from None
    return tenseal


@lru_cache(maxsize=4)
def _keyless(server: bytes):
    context = _tenseal().context_from(server, n_threads=1)
    if context.has_secret_key():
        raise ValueError("server must be a context without secret key; make it with server_context.")
    return context


def _written(context, secret: bool) -> bytes:
    return context.serialize(False, secret, save_galois_keys=False, save_relin_keys=False)


def _room(context) -> tuple[int, float]:
    """Slots of a context's ciphertexts, and what its numbers must stay below."""
    first = context.seal_context().data.first_context_data()
    limit = 2.0 ** (first.total_coeff_modulus_bit_count() - 1) / context.global_scale
    return first.parms().poly_modulus_degree() // 2, limit


def _load(context, ciphertext: bytes, name: str):
    """A vector of one whole ciphertext, at the context's scale and with its full modulus."""
    try:
        vector = _tenseal().ckks_vector_from(context, ciphertext)
        (body,) = vector.ciphertext()
    except (RuntimeError, ValueError):  # TenSEAL cannot read it, or it is not one ciphertext
        body = None
    right = (_room(context)[0], context.seal_context().data.first_parms_id(), context.global_scale)
    if body is None or (vector.size(), body.parms_id(), body.scale) != right:
        raise ValueError(f"{name} does not fit the context: it is damaged, or was made with other parameters.")
    return vector


def _messages(came: list[int], up: list[tuple], down: tuple) -> list[tuple]:
    sent = [(h, "server", "encrypted update", *one) for h, one in zip(came, up, strict=True)]
    return sent + [("server", h, "encrypted sum", *down) for h in came]
