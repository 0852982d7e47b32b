"""Keys, requests, certificates, the list of members: who is believed to be whom."""

import os
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fedlab_utils.network import certificates, identity


@pytest.fixture
def house(tmp_path):
    """An authority, a coordinator and two hospitals, all with their certificates."""
    certificates.authority(tmp_path / "authority")
    certificates.request(tmp_path / "coordinator", "coordinator", ["127.0.0.1", "localhost"])
    certificates.sign(tmp_path / "authority", tmp_path / "coordinator" / "request.pem", coordinator=True)
    for name in ("A", "B"):
        certificates.request(tmp_path / name, f"Hospital {name}")
        certificates.sign(tmp_path / "authority", tmp_path / name / "request.pem")
    for name in ("coordinator", "A", "B"):
        certificates.accept(tmp_path / name, tmp_path / "authority" / "members.pem")
    return tmp_path


def der(member):
    return x509.load_pem_x509_certificate(member.pem.encode()).public_bytes(serialization.Encoding.DER)


def signed(folder, name, *, key=None, extensions=(), subject=()):
    """A request as a cheat could write it."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    names = [x509.NameAttribute(NameOID.COMMON_NAME, name), *subject]
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names))
    for extension in extensions:
        made = made.add_extension(extension, critical=False)
    file = folder / "cheat.pem"
    file.write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return file


def test_everybody_finds_out_who_is_who(house):
    coordinator, a, b = certificates.members(house / "A")
    assert (coordinator.name, coordinator.coordinator, coordinator.addresses) == (
        "coordinator",
        True,
        ("127.0.0.1", "localhost"),
    )
    assert (a.name, a.coordinator, a.addresses) == ("Hospital A", False, ())
    assert timedelta(days=89) < a.until - datetime.now(UTC) < timedelta(days=91)
    assert certificates.own(house / "A") == a == certificates.recognise(house / "coordinator", der(a))
    assert str(b).startswith("Hospital B, hospital, until 20") and b.fingerprint in str(b)


def test_keys_stay_where_they_were_made_and_are_closed_to_others(house):
    keys = sorted(path.relative_to(house).as_posix() for path in house.rglob("*.key"))
    assert keys == ["A/own.key", "A/signing.key", "B/own.key", "B/signing.key", "authority/authority.key",
                    "coordinator/own.key"]  # fmt: skip
    for path in house.rglob("*.pem"):
        assert "PRIVATE" not in path.read_text()
    if os.name != "nt":
        assert {path.stat().st_mode & 0o777 for path in house.rglob("*.key")} == {0o600}


def test_asking_twice_keeps_the_keys_and_a_certificate_can_be_renewed(house):
    before = certificates.own(house / "A")
    again = certificates.request(house / "A", "Hospital A")
    assert again.fingerprint == before.fingerprint
    renewed = certificates.sign(house / "authority", house / "A" / "request.pem", days=30)
    assert len(certificates.members(house / "authority")) == 3 and renewed.until < before.until
    certificates.accept(house / "A", house / "authority" / "members.pem")
    assert certificates.own(house / "A") == renewed


def test_the_signing_key_of_secure_aggregation_is_bound_to_name_and_key(house):
    registry = certificates.registry(certificates.members(house / "B"))
    assert registry.keys() == {"Hospital A", "Hospital B"}
    registry["Hospital A"].verify(certificates.signing_key(house / "A").sign(b"told"), b"told")
    own = x509.load_pem_x509_csr((house / "A" / "request.pem").read_bytes())
    (borrowed,) = (extension.value for extension in own.extensions)
    for name in ("Hospital A", "Hospital C"):  # the key of A under another key, or another name as well
        cheat = signed(house, name, extensions=[borrowed])
        with pytest.raises(ValueError, match="does not belong to its name and key"):
            certificates.sign(house / "authority", cheat)


def test_another_signing_key_is_another_member(house):
    """Whoever signs certificates could give a hospital's name and first key a signing key of its own."""
    before = certificates.own(house / "A")
    (house / "A" / "signing.key").rename(house / "A" / "lost.key")
    swapped = certificates.request(house / "A", "Hospital A")  # a second key for the same name and first key
    assert swapped.fingerprint != before.fingerprint and swapped.signing_key != before.signing_key
    with pytest.raises(ValueError, match="'Hospital A' is a member with another key; remove it first"):
        certificates.sign(house / "authority", house / "A" / "request.pem")
    certificates.remove(house / "authority", "Hospital A")
    certificates.sign(house / "authority", house / "A" / "request.pem")
    (house / "A" / "lost.key").replace(house / "A" / "signing.key")
    with pytest.raises(ValueError, match="has no certificate for the keys in"):
        certificates.accept(house / "A", house / "authority" / "members.pem")


def test_a_request_is_signed_with_the_key_that_is_in_it(house):
    whole = x509.load_pem_x509_csr((house / "A" / "request.pem").read_bytes())
    data = bytearray(whole.public_bytes(serialization.Encoding.DER))
    data[-1] ^= 1
    changed = x509.load_der_x509_csr(bytes(data)).public_bytes(serialization.Encoding.PEM)
    (house / "changed.pem").write_bytes(changed)
    with pytest.raises(ValueError, match="is not signed with the key that is in it"):
        certificates.sign(house / "authority", house / "changed.pem")


def test_somebody_removed_is_not_recognised_where_the_new_list_is(house):
    a = certificates.own(house / "A")
    certificates.remove(house / "authority", "Hospital A")
    assert certificates.recognise(house / "coordinator", der(a)) == a  # the list there is still the old one
    certificates.accept(house / "coordinator", house / "authority" / "members.pem")
    with pytest.raises(ValueError, match="'Hospital A' is not in the list"):
        certificates.recognise(house / "coordinator", der(a))
    with pytest.raises(ValueError, match="no certificate for the key"):
        certificates.accept(house / "A", house / "authority" / "members.pem")
    with pytest.raises(ValueError, match="name must be one of coordinator, Hospital B; got 'Hospital A'"):
        certificates.remove(house / "authority", "Hospital A")


def test_a_name_cannot_be_taken_over(house):
    cheat = certificates.request(house / "cheat", "Hospital B")
    with pytest.raises(ValueError, match="'Hospital B' is a member with another key; remove it first"):
        certificates.sign(house / "authority", house / "cheat" / "request.pem")
    certificates.remove(house / "authority", "Hospital B")
    assert certificates.sign(house / "authority", house / "cheat" / "request.pem").fingerprint == cheat.fingerprint


def test_a_certificate_has_its_time(house, monkeypatch):
    with monkeypatch.context() as late:
        late.setattr(identity, "now", lambda: datetime.now(UTC) + timedelta(days=91))
        with pytest.raises(ValueError, match="of 'Hospital A' has expired.*by this machine's clock it is"):
            certificates.own(house / "A")
    with monkeypatch.context() as early:
        early.setattr(identity, "now", lambda: datetime.now(UTC) - timedelta(days=2))
        with pytest.raises(ValueError, match="does not hold yet.*by this machine's clock it is"):
            certificates.recognise(house / "B", der(certificates.members(house / "A")[1]))
    with pytest.raises(ValueError, match="days must end before the authority"):
        certificates.sign(house / "authority", house / "A" / "request.pem", days=400)


def test_another_authority_is_not_slipped_in(house, tmp_path):
    certificates.authority(tmp_path / "other")
    certificates.sign(tmp_path / "other", house / "A" / "request.pem")
    with pytest.raises(ValueError, match="is of another authority"):
        certificates.accept(house / "A", tmp_path / "other" / "members.pem")
    mixed = tmp_path / "mixed.pem"
    mixed.write_text(
        (house / "authority" / "members.pem").read_text() + certificates.members(tmp_path / "other")[0].pem
    )
    with pytest.raises(ValueError, match="one authority, and then certificates that it signed"):
        certificates.accept(house / "A", mixed)


def test_one_is_not_what_the_authority_did_not_say(house):
    asked = certificates.request(house / "C", "Hospital C", ["127.0.0.1"])
    assert asked.coordinator
    with pytest.raises(ValueError, match="asks for addresses, as if to be dialled; say so if it is the coordinator"):
        certificates.sign(house / "authority", house / "C" / "request.pem")
    with pytest.raises(ValueError, match="has no addresses"):
        certificates.sign(house / "authority", house / "A" / "request.pem", coordinator=True)


@pytest.mark.parametrize(
    ("cheat", "why"),
    [
        (dict(extensions=[x509.BasicConstraints(ca=True, path_length=None)]), "asks for more than"),
        (dict(subject=[x509.NameAttribute(NameOID.ORGANIZATION_NAME, "x")]), "one name and nothing else"),
        (dict(), "must have addresses, for the coordinator, or a signing key"),
        (dict(key=ec.generate_private_key(ec.SECP384R1())), "on the curve P-256"),
        (dict(extensions=[x509.UnrecognizedExtension(identity.SIGNING, b"\x04\x02hi")]), "does not belong"),
    ],
)
def test_a_request_asks_for_what_it_may_have(house, cheat, why):
    with pytest.raises(ValueError, match=why):
        certificates.sign(house / "authority", signed(house, "C", **cheat))


@pytest.mark.parametrize(
    ("call", "why"),
    [
        (lambda f: certificates.request(f / "x", " A"), "name must be one line"),
        (lambda f: certificates.request(f / "x", "A" * 65), "at most 64 letters"),
        (lambda f: certificates.request(f / "x", "ü" * 33), "at most 64 letters"),
        (lambda f: certificates.request(f / "x", "A\x1b[2J"), "name must be one line"),
        (lambda f: certificates.request(f / "x", ""), "name must be a text"),
        (lambda f: certificates.request(f / "x", "c", "127.0.0.1"), "addresses must be a list"),
        (lambda f: certificates.request(f / "x", "c", ["1.2.3"]), "addresses must be names or numbers"),
        (lambda f: certificates.request(f / "x", "c", ["a b"]), "addresses must be names or numbers"),
        (lambda f: certificates.authority(f / "authority"), "holds an authority already"),
        (lambda f: certificates.authority(f / "new", days=0), "days must be a whole number"),
        (lambda f: certificates.sign(f / "A", f / "A" / "request.pem"), "holds no authority"),
        (lambda f: certificates.sign(f / "authority", f / "A" / "own.pem"), "is not the file that belongs here"),
        (lambda f: certificates.sign(f / "authority", f / "none"), "is no file"),
        (lambda f: certificates.accept(f / "new", f / "authority" / "members.pem"), "ask for a certificate first"),
        (lambda f: certificates.accept(f / "A", f / "A" / "request.pem"), "is not the file that belongs here"),
        (lambda f: certificates.own(f / "authority"), "is no file"),
    ],
)
def test_what_cannot_be_gets_one_sentence(house, call, why):
    before = {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}
    with pytest.raises(ValueError, match=why) as error:
        call(house)
    assert "\n" not in str(error.value)
    assert before == {path: path.read_bytes() for path in house.rglob("*") if path.is_file()}  # and nothing is written
