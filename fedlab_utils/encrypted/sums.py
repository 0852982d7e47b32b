"""Encryption as an aggregator: `EncryptedSum`, which plugs into ``federated.train(aggregator=...)``."""

from __future__ import annotations

from copy import copy

import numpy as np

from fedlab_utils._arguments import number, uploads, whole
from fedlab_utils.encrypted.ciphertexts import (
    Parameters,
    add,
    checked_parameters,
    decrypt,
    encrypt,
    hospital_context,
    server_context,
)
from fedlab_utils.federated.aggregators import AbandonedRound, Aggregator, Round

_SAFETY = 10  # the grid's half step is at least so many standard deviations of the noise
_EXACT = 40  # bits of a number that TenSEAL's 64-bit floating-point transforms keep with room to spare


class EncryptedSum(Aggregator):
    """The seam of `federated.train`: the weighted mean of updates, added under encryption.

    A hospital multiplies its update by its share of all patients (sizes are public), rounds to the grid, encrypts.
    The server adds and sends the sum to each hospital, which decrypts and rounds: the server never sees the mean, so
    it has no global model to send. Each of n hospitals is off by half a step at most, so the mean by
    ``n * rounding / 2``; the noise of encryption adds nothing. If some fall silent, the sum is divided by the share of
    those who came, and so is the error; a hospital that fell silent gets the sum all the same, with the next round at
    the latest, since it trains from it. Of two hospitals, each can subtract its own part from the sum.

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
        If an argument does not fit, or `rounding` is too fine for the noise.
    """

    sees = None
    delivers = True  # the server could not send the mean: it never has it
    shows_participants = True

    def __init__(self, parameters: Parameters | None = None, *, rounding: float = 2.0**-20) -> None:
        self.parameters, self.rounding = checked_parameters(parameters), number("rounding", rounding)
        self.grid_step(2)
        self.context = hospital_context(self.parameters)
        self.server = server_context(self.context)
        self.report: dict[str, float] = {}
        self._kept = True  # whether messages have values: a million numbers are 16 MB a hospital
        self._size = len(encrypt(self.context, [0.0])[0])

    def __repr__(self) -> str:
        return f"EncryptedSum({self.parameters!r}, rounding={self.rounding!r})"

    def needs(self, n: int) -> int:
        """Two, where more take part: a sum of one is its update, and all hospitals can read the sum."""
        return min(n, 2)

    def in_round(self, this: Round, run: int) -> EncryptedSum:
        """The same, with ciphertexts in its messages only where somebody keeps them."""
        own = copy(self)
        own._kept = this.kept[run]
        return own

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
        AbandonedRound
            If fewer than two of several are alive.
        """
        steps, came, share = self._on_grid(updates, weights, alive)
        sent = []

        def posted():  # one at a time: they are long
            for one in steps:
                ciphertexts = encrypt(self.context, one * self.rounding)
                sent.append(self._posted(ciphertexts))
                yield ciphertexts

        total = add(self.server, posted())
        raw = decrypt(self.context, total, steps.shape[1]) / self.rounding  # the same in every hospital, so done once
        mean = np.rint(raw) * self.rounding / share
        n_bytes = sum(map(len, total))
        plain = np.average(np.asarray(updates, dtype=float)[came], axis=0, weights=np.asarray(weights)[came])
        self.report |= {  # the same dict in each round
            "ciphertexts": len(total),
            "bytes a hospital": n_bytes,
            "bytes a value": n_bytes / mean.size,
            "modulus bits": sum(self.parameters.modulus_bits[:-1]),
            "scale bits": self.parameters.scale_bits,
            "bits left": self.parameters.bits_left,
            "noise": float(np.abs(raw - np.rint(raw)).max() * self.rounding),
            "error": float(np.abs(mean - plain).max()),  # only a simulation knows the plain mean
        }
        return mean, _messages(len(alive), came, sent, self._posted(total))

    def _posted(self, ciphertexts: list[bytes]) -> tuple[int, np.ndarray | None]:
        """Bytes of ciphertexts that travel, and what they are."""
        body = np.frombuffer(b"".join(ciphertexts), np.uint8) if self._kept else None
        return sum(map(len, ciphertexts)), body

    def quick(self, updates, weights, *, alive, rng=None) -> tuple[np.ndarray, list[tuple]]:
        """The same mean, bit for bit, without encryption; messages hold sizes only (compressed ones to 1%)."""
        steps, came, share = self._on_grid(updates, weights, alive)
        size = (self._bytes(steps.shape[1]), None)
        return steps.sum(0) * self.rounding / share, _messages(len(alive), came, [size] * len(came), size)

    def _bytes(self, n_values: int) -> int:
        """Of the ciphertexts of so many numbers, to 1%."""
        return self._size * -(-n_values // self.parameters.slots)

    def _on_grid(self, updates, weights, alive) -> tuple[np.ndarray, list[int], float]:
        """Weighted updates in whole steps of the grid, who sends them, and the share of all patients they have."""
        updates, weights, alive = uploads(updates, weights, alive, nobody=True)
        most = min(2.0**self.parameters.bits_left, 2.0**_EXACT * self.rounding)
        if not np.abs(updates).max() < most:
            raise ValueError(f"updates must be finite and below {most:g} to be rounded exactly, and one is not.")
        came = np.flatnonzero(alive)
        if len(came) < self.needs(len(alive)):
            sent = [(int(h), "server", "encrypted update", self._bytes(updates.shape[1]), None) for h in came]
            raise AbandonedRound("Fewer than two hospitals are left, and a sum of one is its update.", sent)
        self.grid_step(len(came))
        share = weights / weights.sum()
        return np.rint(updates[came] * share[came, None] / self.rounding), came.tolist(), share[came].sum()

    def grid_step(self, n: int, rows: int = 0) -> float:
        """Refuse a grid too fine for the noise of a sum of n; the step to which an update of one of n is rounded.

        That is n times `rounding` where all count alike: what is rounded is an update times its share of all patients.

        Raises
        ------
        ValueError
            If `rounding` is below 20 standard deviations of that noise.
        """
        least = 2 * _SAFETY * self.parameters.noise(whole("n", n))
        if self.rounding < least:
            noise = f"far above the noise of encryption at scale_bits={self.parameters.scale_bits}"
            raise ValueError(f"rounding must be at least {least:.2g}, {noise}; got {self.rounding:g}.")
        return n * self.rounding


def _messages(n: int, came: list[int], up: list[tuple], down: tuple) -> list[tuple]:
    sent = [(h, "server", "encrypted update", *one) for h, one in zip(came, up, strict=True)]
    return sent + [("server", h, "encrypted sum", *down) for h in range(n)]
