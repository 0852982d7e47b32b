"""From a folder of files to FHIR resources: each in its latest version, and who refers to whom.

What comes from a file is limited before it is parsed, no part of it is taken to be what it should be, and what cannot
be read is counted, never guessed and never raised.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from fedlab_utils.data.fhir.codes import VERIFICATION

TYPES = ("Patient", "Observation", "Condition", "MedicationRequest", "MedicationStatement")
_KEPT = {*TYPES, "Medication"}
_MOST_BYTES = 2**31  # of one file
_MOST_NESTED = 4  # bundles inside of bundles

Resource = dict
Counts = Counter  # (what, why) -> how often
NOBODY = ("", "")  # in the place of a type and an id


def obj(value) -> dict:
    """An object of JSON; an empty one in the place of anything else."""
    return value if isinstance(value, dict) else {}


def items(value) -> list:
    """A list of JSON; an empty one in the place of anything else."""
    return value if isinstance(value, list) else []


def codes(concept, system: str) -> list[str]:
    """The codes of a CodeableConcept that belong to a system."""
    found = (obj(coding) for coding in items(obj(concept).get("coding")))
    return [c["code"] for c in found if c.get("system") == system and isinstance(c.get("code"), str)]


def files(folder: Path) -> list[Path]:
    """The files of an export, in the order of their names."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in (".json", ".ndjson") and p.is_file())


def read(folder: Path, counts: Counts) -> Store:
    """All resources of the export in a folder, in the types that are asked for."""
    store = Store(counts)
    for path in files(folder):
        if path.stat().st_size > _MOST_BYTES:
            counts["files", "larger than 2 GiB"] += 1
            continue
        for found in _parsed(path, counts):
            _unpack(found, None, store, 0)
    return store


def _parsed(path: Path, counts: Counts) -> Iterator:
    lines = path.suffix.lower() == ".ndjson"
    with path.open("rb") as stream:
        for part in stream if lines else [stream.read()]:
            if not (part := part.removeprefix(b"\xef\xbb\xbf").strip()):
                continue
            try:
                yield json.loads(part)
            except (ValueError, RecursionError):  # wrong letters and wrong JSON are both ValueErrors
                counts["lines" if lines else "files", "no JSON"] += 1


def _unpack(found, url, store: Store, depth: int) -> None:
    kind = obj(found).get("resourceType")
    if kind == "Bundle" and depth < _MOST_NESTED:
        for entry in items(found.get("entry")):
            _unpack(obj(entry).get("resource"), obj(entry).get("fullUrl"), store, depth + 1)
    elif not isinstance(kind, str):
        store.counts["resources", "without a type"] += 1
    elif kind in _KEPT:
        store.add(found, url)
    else:
        store.counts["resources", "of a type that is not asked for"] += 1


class Store:
    """The latest version of each resource, by type and id."""

    def __init__(self, counts: Counts):
        self.counts = counts
        self._found: dict[tuple[str, str], Resource] = {}
        self._urls: dict[str, tuple[str, str]] = {}

    def add(self, resource: Resource, url) -> None:
        """Keep a resource unless a later version of it is there."""
        kind, name = resource["resourceType"], resource.get("id")
        if not isinstance(name, str):
            name = url if isinstance(url, str) else f"#{len(self._found)}"  # no id of FHIR holds a #
        key = (kind, name)
        if isinstance(url, str) and self._urls.setdefault(url, key) != key:
            self.counts[kind, "an address that another one has as well"] += 1
            self._urls[url] = NOBODY  # a reference to it means nobody knows whom
        if key in self._found:
            self.counts[kind, "another version of it: the latest counts"] += 1
            if _version(resource) < _version(self._found[key]):
                return
        self._found[key] = resource

    def of(self, kind: str) -> Iterator[tuple[str, Resource]]:
        """Ids and resources of one type, in the order of the ids: the order of files must not matter."""
        for name in sorted(name for found, name in self._found if found == kind):
            yield name, self._found[kind, name]

    def target(self, reference, kind: str) -> str | None:
        """The id of the resource that a reference means, None if it is not here.

        An address of another server is not taken for a resource of the same number in this export.
        """
        written = obj(reference).get("reference")
        if not isinstance(written, str):
            return None
        key = self._urls.get(written)
        if key is None:
            parts = written.split("/_history/")[0].split("/")
            key = tuple(parts) if len(parts) == 2 else (kind, written.removeprefix("urn:uuid:"))
        return key[1] if key[0] == kind and key in self._found else None

    def get(self, kind: str, name: str | None) -> Resource:
        """A resource, an empty one if it is not here."""
        return self._found.get((kind, name), {})


def mistaken(resource: Resource) -> bool:
    """Whether a resource was entered in error: it may be about somebody else."""
    state = codes(resource.get("verificationStatus"), VERIFICATION)
    return resource.get("status") == "entered-in-error" or "entered-in-error" in state


def _version(resource: Resource) -> tuple[float, int, bool, str]:
    """What orders the versions of a resource; of two that do not say which is later, a mistaken one counts."""
    return *_stamp(resource), mistaken(resource), json.dumps(resource, sort_keys=True)


def _stamp(resource: Resource) -> tuple[float, int]:
    meta = obj(resource.get("meta"))
    number = meta.get("versionId")
    number = int(number) if isinstance(number, str) and number.isdecimal() and len(number) < 10 else -1
    try:
        stamp = datetime.fromisoformat(meta.get("lastUpdated"))
        return (stamp if stamp.tzinfo else stamp.astimezone()).timestamp(), number
    except (TypeError, ValueError, OverflowError, OSError):
        return -1e18, number
