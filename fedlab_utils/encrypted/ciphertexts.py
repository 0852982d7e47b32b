"""Numbers as ciphertexts that can be added: parameters, keys, and what hospitals and server do with them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fedlab_utils._arguments import numbers, whole

# Most bits of modulus for 128 bits of security against classical computers with a ternary secret key, by ring: the
# guidelines of Bossuat et al. (eprint 2024/463), a little stricter for every ring than the Homomorphic Encryption
# Standard (eprint 2019/939: 54, 109, 218, 438, 881), which is what SEAL enforces.
MOST_BITS = {2048: 53, 4096: 106, 8192: 214, 16384: 430, 32768: 868}

_NOISE = 3.24  # standard deviation of a coefficient of fresh noise in SEAL: centred binomial, 42 coins


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
    ValueError
        If `parameters` are none.
    """
    ts, p = _tenseal(), checked_parameters(parameters)
    made = ts.context(ts.SCHEME_TYPE.CKKS, p.ring, -1, list(p.modulus_bits), ts.ENCRYPTION_TYPE.SYMMETRIC, n_threads=1)
    made.global_scale = 2.0**p.scale_bits
    return ts.context_from(_written(made, True), n_threads=1)


def server_context(context) -> bytes:
    """What the server gets: the parameters and no key of any kind, about 100 bytes.

    Raises
    ------
    ValueError
        If `context` is none.
    """
    return _written(_checked_context(context), False)


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
        If `values` is not a row of finite numbers small enough for the modulus, or `context` is none.
    """
    ts, values = _tenseal(), numbers("values", values)
    slots, limit = _room(_checked_context(context))
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
    if not isinstance(server, bytes):
        raise ValueError(f"server must be the bytes that server_context gives; got {type(server).__name__}.")
    if isinstance(uploads, str | bytes) or not isinstance(uploads, Iterable):
        raise ValueError(f"uploads must be lists of ciphertexts, one a hospital; got {type(uploads).__name__}.")
    context, total = _keyless(server), []
    for h, upload in enumerate(uploads):
        _checked_ciphertexts(f"upload {h}", upload)
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
    slots, limit = _room(_checked_context(context))
    _checked_ciphertexts("ciphertexts", ciphertexts)
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


def _tenseal():
    try:
        import tenseal
    except ImportError:
        raise ImportError("Encryption needs the package tenseal; install it with: pip install tenseal") from None
    return tenseal


def checked_parameters(parameters) -> Parameters:
    """Parameters, as they come if they are None."""
    if parameters is not None and not isinstance(parameters, Parameters):
        raise ValueError(f"parameters must be encrypted.Parameters(...) or None; got {parameters!r}.")
    return parameters or Parameters()


def _checked_context(context):
    if not isinstance(context, _tenseal().Context):
        raise ValueError(f"context must be one from hospital_context; got {type(context).__name__}.")
    return context


def _checked_ciphertexts(name: str, given) -> None:
    several = isinstance(given, Sequence) and not isinstance(given, str | bytes)
    if not several or not all(isinstance(c, bytes) for c in given):
        raise ValueError(f"{name} must be a list of ciphertexts, each of them bytes; got {type(given).__name__}.")


@lru_cache(maxsize=4)
def _keyless(server: bytes):
    try:
        context = _tenseal().context_from(server, n_threads=1)
    except (RuntimeError, ValueError):
        raise ValueError("server must be what server_context gives; these bytes are something else.") from None
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
