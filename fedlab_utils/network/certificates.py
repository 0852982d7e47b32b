"""Who is at the other end: keys, signing requests, certificates, and the list of members.

A key is made on the machine that uses it and never leaves it. One machine that all trust, the authority, says whose key
is whose. What travels are three small files, none of them secret:

- `request`: a hospital, or the coordinator, makes its keys and asks: ``request.pem`` goes to the authority;
- `sign`: the authority writes a certificate into ``members.pem``: who, at which addresses, until when;
- `accept`: ``members.pem`` goes to everybody, as the plan does, and each finds its own certificate in there.

``members.pem`` is also the list of those who may take part: everybody looks into its own copy for every connection, and
whoever is not in there is not let in, whatever its certificate says (`remove`). A file that is missing lets nobody in.

A hospital has a second key, with which it signs in secure aggregation (`secagg.protocol`). Its public half stands in
the request and in the certificate, together with its signature over the first key and the name: so who can be reached
under a name and who signs under it are the same, and the coordinator can swap neither. The authority could; a
fingerprint is of both keys, so that hospitals who compare theirs with each other (`members`) find out.

Files with keys are readable by their owner alone (mode 0600). Windows knows no such mode: there the folder decides, and
one below your own user's folder is closed to other users.
"""

from __future__ import annotations

import datetime
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedlab_utils._arguments import brief, path, whole
from fedlab_utils.network.identity import (
    SIGNING,
    Member,
    address_of,
    bound,
    checked,
    checked_name,
    fingerprint,
    in_time,
    member_of,
    new_key,
    now,
    parsed,
    pem,
    read,
    read_key,
    read_request,
    write,
)

KEY, SIGNING_KEY, REQUEST, OWN, MEMBERS = "own.key", "signing.key", "request.pem", "own.pem", "members.pem"
AUTHORITY_KEY = "authority.key"
EARLY = datetime.timedelta(days=1)  # valid from a day ago on: clocks that are behind by less do no harm

# ---------------------------------------------------------------- at the authority


def authority(folder, *, days: int = 365) -> str:
    """Make an authority: its key, and a list of members with its own certificate and nobody else.

    Parameters
    ----------
    folder
        Where; made if it does not exist.
    days
        For how long it holds.

    Returns
    -------
    str
        The fingerprint of its key.

    Raises
    ------
    ValueError
        If there is an authority already, or an argument does not fit.
    """
    folder, days = Path(path("folder", folder)), whole("days", days)
    if (folder / AUTHORITY_KEY).exists():
        raise ValueError(f"{str(folder)!r} holds an authority already; take another folder.")
    key = new_key(folder / AUTHORITY_KEY)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "fedlab authority")])
    made = _builder(name, name, key.public_key(), key, days)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    made = made.add_extension(_usage(key_cert_sign=True), critical=True)
    write(folder / MEMBERS, pem(made.sign(key, hashes.SHA256())))
    return fingerprint(key.public_key())


def sign(authority, request, days: int = 90, *, coordinator: bool = False) -> Member:
    """Write a certificate for a request into the list of members.

    Whose request it is, the authority's people find out by another way, such as comparing the fingerprint by telephone.

    Parameters
    ----------
    authority
        The authority's folder.
    request
        The file that came.
    days
        For how long it holds, at most as long as the authority.
    coordinator
        That this one is the coordinator: only then the addresses that it asks for are signed along.

    Raises
    ------
    ValueError
        If the request is none, is not whole, asks for what it is not given, or another key has this name.
    """
    folder, days = Path(path("authority", authority)), whole("days", days)
    asked = read_request(request)
    if coordinator != bool(asked.addresses):
        wrong = "has no addresses, which the coordinator needs" if coordinator else "asks for addresses, as if to be"
        hint = "ask again with its addresses" if coordinator else "say so if it is the coordinator"
        raise ValueError(f"The request of {asked.name!r} {wrong}{'' if coordinator else ' dialled'}; {hint}.")
    key, issuer, members = _authority(folder)
    others = {m.name: m for m in members if m.name != asked.name}
    same = next((m for m in members if m.name == asked.name), None)
    if same and same.fingerprint != asked.fingerprint and same.until > now():
        raise ValueError(f"{asked.name!r} is a member with another key; remove it first if this one takes its place.")
    if now() + datetime.timedelta(days=days) > issuer.not_valid_after_utc:
        raise ValueError(f"days must end before the authority, {issuer.not_valid_after_utc:%Y-%m-%d}; got {days}.")
    csr = x509.load_pem_x509_csr(asked.pem.encode())
    made = _builder(csr.subject, issuer.subject, csr.public_key(), key, days)
    made = made.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    made = made.add_extension(_usage(digital_signature=True), critical=True)
    role = ExtendedKeyUsageOID.SERVER_AUTH if coordinator else ExtendedKeyUsageOID.CLIENT_AUTH
    made = made.add_extension(x509.ExtendedKeyUsage([role]), critical=True)
    for extension in csr.extensions:  # the addresses or the signing key: `read_request` let nothing else through
        made = made.add_extension(extension.value, critical=False)
    member = member_of(made.sign(key, hashes.SHA256()))
    write(folder / MEMBERS, "".join([pem(issuer), *(m.pem for m in others.values()), member.pem]))
    return member


def remove(authority, name: str) -> Member:
    """Take somebody off the list of members. It holds where the new list is put, from the next connection on.

    Raises
    ------
    ValueError
        If there is no such member, or no authority.
    """
    folder = Path(path("authority", authority))
    _, issuer, members = _authority(folder)
    gone = next((m for m in members if m.name == name), None)
    if gone is None:
        raise ValueError(f"name must be one of {', '.join(m.name for m in members) or 'none yet'}; got {brief(name)}.")
    write(folder / MEMBERS, "".join([pem(issuer), *(m.pem for m in members if m is not gone)]))
    return gone


# ---------------------------------------------------------------- at each hospital and the coordinator


def request(folder, name: str, addresses: Sequence[str] = ()) -> Member:
    """Make keys where there are none yet, and a request that proves that they are there. The request may travel.

    Parameters
    ----------
    folder
        For the keys of one hospital or of the coordinator; made if it does not exist.
    name
        As the plan has it.
    addresses
        For the coordinator: by which names and numbers others dial it, such as ``192.168.1.20``. Nothing for a
        hospital, which nobody dials.

    Raises
    ------
    ValueError
        If an argument does not fit.
    """
    folder, name = Path(path("folder", folder)), checked_name(name)
    if isinstance(addresses, str):
        raise ValueError(f"addresses must be a list, such as [{addresses!r}]; got {addresses!r}.")
    there = [address_of(a) for a in addresses]
    key = read_key(folder / KEY) if (folder / KEY).exists() else new_key(folder / KEY)
    asked = x509.CertificateSigningRequestBuilder()
    asked = asked.subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    if there:
        asked = asked.add_extension(x509.SubjectAlternativeName(there), critical=False)
    else:
        own = folder / SIGNING_KEY
        signing = signing_key(folder) if own.exists() else new_key(own, Ed25519PrivateKey.generate())
        proof = signing.sign(bound(key.public_key(), name))
        value = b"\x04\x60" + signing.public_key().public_bytes_raw() + proof  # an octet string of 96 bytes
        asked = asked.add_extension(x509.UnrecognizedExtension(SIGNING, value), critical=False)
    write(folder / REQUEST, pem(asked.sign(key, hashes.SHA256())))
    return read_request(folder / REQUEST)


def accept(folder, members) -> Member:
    """Take over a list of members, once the own certificate is found in it; again whenever there is a new one.

    Parameters
    ----------
    folder
        Where the own keys are.
    members
        The file that the authority handed out.

    Returns
    -------
    Member
        What the own certificate says.

    Raises
    ------
    ValueError
        If no certificate is for the keys in the folder, or the list is of another authority than the one before.
    """
    folder = Path(path("folder", folder))
    given = read(members)
    issuer, found = checked(given, str(members))
    before = folder / MEMBERS
    if before.exists() and checked(read(before), str(before))[0] != issuer:
        raise ValueError(f"{str(members)!r} is of another authority than {str(before)!r}; delete that one to change.")
    key = read_key(folder / KEY).public_key()
    signs = [signing_key(folder).public_key()] if (folder / SIGNING_KEY).exists() else []
    keys = {fingerprint(key, signing) for signing in (None, *signs)}
    own = next((m for m in found if m.fingerprint in keys), None)
    if own is None:
        raise ValueError(
            f"{str(members)!r} has no certificate for the keys in {str(folder)!r}; was its request signed?"
        )
    write(folder / OWN, own.pem)
    write(before, given)
    return own


def members(folder) -> list[Member]:
    """Who may take part, from the list in a folder.

    Raises
    ------
    ValueError
        If the list is missing or not of one authority.
    """
    file = Path(path("folder", folder)) / MEMBERS
    return checked(read(file), str(file))[1]


def own(folder) -> Member:
    """The certificate of this machine, if it holds today.

    Raises
    ------
    ValueError
        If there is none, or it does not hold, with the time on this machine's clock: that may be what is wrong.
    """
    file = Path(path("folder", folder)) / OWN
    found = member_of(parsed(x509.load_pem_x509_certificate, read(file), str(file)))
    in_time(found)
    return found


def authority_of(folder) -> str:
    """The authority's certificate in a folder, as PEM.

    Raises
    ------
    ValueError
        If the list of members is missing or wrong.
    """
    file = Path(path("folder", folder)) / MEMBERS
    return pem(checked(read(file), str(file))[0])


def authority_key(folder) -> str:
    """The fingerprint of the authority that a folder believes."""
    return fingerprint(x509.load_pem_x509_certificate(authority_of(folder).encode()).public_key())


def recognise(folder, certificate: bytes) -> Member:
    """Who shows this certificate, if it stands in the folder's list of members now.

    TLS has checked by then that the authority signed it and that the other end has its key.

    Parameters
    ----------
    folder
        Where the list is.
    certificate
        As TLS has it (DER).

    Raises
    ------
    ValueError
        If it is not in the list, or does not hold today.
    """
    found = member_of(x509.load_der_x509_certificate(certificate))
    listed = read(Path(folder) / MEMBERS)
    if "".join(ssl.DER_cert_to_PEM_cert(certificate).split()) not in "".join(listed.split()):
        raise ValueError(f"{found.name!r} is not in the list of members any more, or not with this certificate.")
    in_time(found)
    return found


def signing_key(folder) -> Ed25519PrivateKey:
    """The key with which this hospital signs in secure aggregation.

    Raises
    ------
    ValueError
        If there is none.
    """
    return read_key(Path(path("folder", folder)) / SIGNING_KEY)


def registry(found: Sequence[Member]) -> Mapping[str, Ed25519PublicKey]:
    """The signing keys of members, by name: `secagg`'s registry, which did not come from the coordinator."""
    return {m.name: m.signing_key for m in found if m.signing_key is not None}


# ---------------------------------------------------------------- parts


def _authority(folder: Path) -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate, list[Member]]:
    if not (folder / AUTHORITY_KEY).exists():
        raise ValueError(f"{str(folder)!r} holds no authority; the authority's machine is the one that signs.")
    return read_key(folder / AUTHORITY_KEY), *checked(read(folder / MEMBERS), str(folder / MEMBERS))


def _builder(subject, issuer, public, signer, days: int) -> x509.CertificateBuilder:
    made = x509.CertificateBuilder(subject_name=subject, issuer_name=issuer, public_key=public)
    made = made.serial_number(x509.random_serial_number())
    made = made.not_valid_before(now() - EARLY).not_valid_after(now() + datetime.timedelta(days=days))
    made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    by = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    return made.add_extension(by, critical=False)


def _usage(**yes: bool) -> x509.KeyUsage:
    names = "digital_signature content_commitment key_encipherment data_encipherment key_agreement key_cert_sign"
    return x509.KeyUsage(**dict.fromkeys(f"{names} crl_sign encipher_only decipher_only".split(), False) | yes)
