"""The rules of a connection, and why one did not come about, in a sentence."""

from __future__ import annotations

import ssl
from pathlib import Path

from fedlab_utils.network import certificates
from fedlab_utils.network.messages import printable

# What a hospital hears when its certificate is not accepted (an alert of TLS), by a word in it.
_ALERTS = {
    "CERTIFICATE_EXPIRED": "has expired by the clock there",
    "CERTIFICATE_REQUIRED": "is missing",
    "UNKNOWN_CA": "is of another authority than the coordinator's",
    # All others.
    "CERTIFICATE": "is not for the address that was dialled, does not hold by the clock there, or is damaged",
}
# What is wrong with the certificate that the other end shows, by OpenSSL's number.
_FAULTS = {
    9: "does not hold yet by this machine's clock: is the clock right?",
    10: "has expired by this machine's clock: is the clock right?",
    26: "is for another part: a hospital's does not make a coordinator, nor the other way round",
    62: "is not for this name: dial one of the addresses that stand in it",
    64: "is not for this number: dial one of the addresses that stand in it",
}


def context(folder, *, listens: bool) -> ssl.SSLContext:
    """TLS 1.3; the own certificate is shown, and one of the same authority is asked for.

    Parameters
    ----------
    folder
        With keys and certificates: see `certificates.accept`.
    listens
        Whether this end is dialled, which the coordinator is, or dials.

    Raises
    ------
    ValueError
        If the own certificate is missing or does not hold today.
    """
    certificates.own(folder)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if listens else ssl.PROTOCOL_TLS_CLIENT)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=certificates.authority_of(folder))
    made.load_cert_chain(Path(folder) / certificates.OWN, Path(folder) / certificates.KEY)
    return made


def refusal(error: BaseException | None) -> str:
    """Why the other end is not, or does not want to be, talked to; empty where another try may help."""
    if isinstance(error, ssl.SSLCertVerificationError):
        fault = _FAULTS.get(error.verify_code, "is of another authority, or no certificate of ours")
        return f"The certificate at the other end {fault}."
    said = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLError) and "PEER_DID_NOT_RETURN" in said:
        return "The other end shows no certificate."
    if isinstance(error, ssl.SSLError) and "ALERT" in said:
        found = next((sentence for word, sentence in _ALERTS.items() if word in said), "")
        return f"This machine's certificate {found}, says the other end." if found else ""
    return ""


def plain(error: BaseException | None) -> str:
    """Any reason, in a few words."""
    if isinstance(error, TimeoutError):
        return "Too slow."
    said = printable(f"{getattr(error, 'strerror', None) or error or type(error).__name__}")
    return refusal(error) or f"{said}.".replace("..", ".")
