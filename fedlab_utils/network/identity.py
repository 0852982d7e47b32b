"""What a certificate, a request, a list of members and a key look like, and what is checked before one is believed."""

from __future__ import annotations

import datetime
import ipaddress
import os
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import NameOID

from fedlab_utils._arguments import brief, path, text

_LONGEST = 64  # bytes of a name, which is X.509's own limit
_MOST = 10_000_000  # bytes of a file that is read: a list of some 10,000 members
SIGNING = x509.ObjectIdentifier("2.25.267713012907513905186474412033905372471")  # ours, after a random UUID
_PURPOSE = b"fedlab signing key\0"
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


@dataclass(frozen=True)
class Member:
    """What a certificate says, or a request asks for.

    Parameters
    ----------
    name
        Of the hospital, as in the plan, or of the coordinator.
    coordinator
        Whether it may be dialled as the coordinator; all others may only dial.
    addresses
        Names and numbers of the machine, for the coordinator.
    since, until
        Between which it holds, in UTC; None for a request.
    fingerprint
        Of its keys, the signing key too, to be compared by telephone: SHA-256, the first 32 hexadecimal digits.
    signing_key
        With which its signatures in secure aggregation are checked; None for the coordinator.
    pem
        The certificate or request itself.
    """

    name: str
    coordinator: bool
    addresses: tuple[str, ...]
    since: datetime.datetime | None
    until: datetime.datetime | None
    fingerprint: str
    signing_key: Ed25519PublicKey | None
    pem: str

    def __str__(self) -> str:
        who = f"{self.name}, {'coordinator' if self.coordinator else 'hospital'}"
        where = f" at {', '.join(self.addresses)}" if self.addresses else ""
        until = f", until {self.until:%Y-%m-%d %H:%M} UTC" if self.until else ""
        return f"{who}{where}{until}, key {self.fingerprint}"


def in_time(member: Member) -> None:
    """That a certificate holds by this machine's clock.

    Raises
    ------
    ValueError
        If it does not.
    """
    today = now()
    if not member.since <= today <= member.until:
        what = "has expired" if today > member.until else "does not hold yet"
        span = f"{member.since:%Y-%m-%d %H:%M} to {member.until:%Y-%m-%d %H:%M}"
        raise ValueError(
            f"The certificate of {member.name!r} {what}: it is for {span} UTC, and by this machine's clock it is "
            f"{today:%Y-%m-%d %H:%M}."
        )


def read_request(request) -> Member:
    """What a request asks for, once it proves that its sender has the keys.

    Raises
    ------
    ValueError
        If it is none, does not prove that, or asks for anything besides.
    """
    csr = parsed(x509.load_pem_x509_csr, read(request), str(request))
    if not csr.is_signature_valid:
        raise ValueError(f"{str(request)!r} is not signed with the key that is in it.")
    return described(csr, str(request))


def described(found: x509.Certificate | x509.CertificateSigningRequest, where: str) -> Member:
    """Of a request or a certificate, with all that it claims checked."""
    names = found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if len(names) != 1 or len(list(found.subject)) != 1:
        raise ValueError(f"{where!r} must have one name and nothing else about its owner.")
    name = checked_name(names[0].value)
    key = found.public_key()
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name != "secp256r1":
        raise ValueError(f"{where!r} must have a key on the curve P-256.")
    try:
        claims = {e.oid: e.value for e in found.extensions}
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        raise ValueError(f"{where!r} has additions that cannot be read.") from None
    addresses = claims.pop(x509.SubjectAlternativeName.oid, ())
    signing = claims.pop(SIGNING, None)
    certificate = isinstance(found, x509.Certificate)
    if claims and not certificate:
        raise ValueError(f"{where!r} asks for more than a name, addresses and a signing key.")
    there = tuple(str(address_of(str(a.value)).value) for a in addresses)
    coordinator = bool(there)
    if (signing is None) != coordinator:
        raise ValueError(f"{where!r} must have addresses, for the coordinator, or a signing key, for a hospital.")
    public = None if signing is None else _bound_key(signing.value, key, name, where)
    about = (found.not_valid_before_utc, found.not_valid_after_utc) if certificate else (None, None)
    return Member(name, coordinator, there, *about, fingerprint(key, public), public, pem(found))


def member_of(certificate: x509.Certificate) -> Member:
    """What a certificate says."""
    return described(certificate, "The certificate")


def checked(listed: str, where: str) -> tuple[x509.Certificate, list[Member]]:
    """The authority of a list, and its members."""
    issuer, *rest = parsed(x509.load_pem_x509_certificates, listed, where)
    try:
        for certificate in (issuer, *rest):
            certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, ValueError, TypeError):
        raise ValueError(f"{where!r} must hold one authority, and then certificates that it signed.") from None
    found = [member_of(c) for c in rest]
    if len({m.name for m in found}) < len(found):
        raise ValueError(f"{where!r} has two certificates for one name.")
    return issuer, found


def bound(key: ec.EllipticCurvePublicKey, name: str) -> bytes:
    """What a signing key signs to belong to a name and to the key that proves it."""
    return _PURPOSE + _der(key) + name.encode()


def _bound_key(value: bytes, key: ec.EllipticCurvePublicKey, name: str, where: str) -> Ed25519PublicKey:
    try:
        public = Ed25519PublicKey.from_public_bytes(value[2:34])
        public.verify(value[34:], bound(key, name))
    except (InvalidSignature, ValueError):
        raise ValueError(f"{where!r} has a signing key that does not belong to its name and key.") from None
    return public


def checked_name(name: str) -> str:
    """A name that fits into a certificate and onto one line."""
    text("name", name)
    if name != name.strip() or not name.isprintable() or len(name.encode()) > _LONGEST:
        raise ValueError(
            f"name must be one line of at most {_LONGEST} letters (fewer with accents), no blank at its ends; got "
            f"{brief(name)}."
        )
    return name


def address_of(address: str) -> x509.GeneralName:
    """A machine's name or number, as a certificate has it."""
    try:
        return x509.IPAddress(ipaddress.ip_address(address))
    except ValueError:
        if not _HOST.fullmatch(str(address)) or str(address).replace(".", "").isdigit():
            raise ValueError(
                f"addresses must be names or numbers of a machine, such as 'localhost' or '192.168.1.20'; "
                f"got {brief(address)}."
            ) from None
        return x509.DNSName(address)


def new_key(file: Path, key=None):
    """A new key in a new file that its owner alone can read: on P-256, if no other one is given."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    file.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        out.write(key.private_bytes(*plain))
    return key


def read_key(file: Path):
    """The private key in a file."""
    if not file.exists():
        raise ValueError(f"{str(file)!r} does not exist; ask for a certificate first, on this machine.")
    return parsed(lambda data: serialization.load_pem_private_key(data, None), read(file), str(file))


def read(file) -> str:
    """The text of a small file."""
    file = Path(path("file", file))
    if not file.is_file():
        raise ValueError(f"{str(file)!r} is no file.")
    if file.stat().st_size > _MOST:
        raise ValueError(f"{str(file)!r} must have at most {_MOST:,} bytes; it has {file.stat().st_size:,}.")
    return file.read_text(encoding="utf-8", errors="replace")


def write(file: Path, content: str) -> None:
    """Whole or not at all."""
    new = file.with_name(f"{file.name}.new")
    new.write_text(content, encoding="utf-8", newline="\n")
    os.replace(new, file)


def parsed(reader, content: str, where: str):
    """What a reader of `cryptography` makes of a file, or one sentence."""
    try:
        return reader(content.encode())
    except (ValueError, TypeError):
        raise ValueError(f"{where!r} is not the file that belongs here, or not whole.") from None


def pem(what) -> str:
    """As it stands in a file."""
    return what.public_bytes(serialization.Encoding.PEM).decode()


def _der(key) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key, signing: Ed25519PublicKey | None = None) -> str:
    """SHA-256 of one's public keys, the first 128 bits, in groups that can be read aloud."""
    # Of both: whoever signs certificates could put a signing key of its own beside a hospital's first key.
    digits = sha256(_der(key) + (b"" if signing is None else _der(signing))).hexdigest()[:32]
    return " ".join(digits[i : i + 4] for i in range(0, 32, 4))


def now() -> datetime.datetime:
    """By this machine's clock, in UTC."""
    return datetime.datetime.now(datetime.UTC)
