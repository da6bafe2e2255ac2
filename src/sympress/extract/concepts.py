"""Codes of symptoms for FHIR and OMOP: those of the lexicon, and those of a map that the user brings.

Sources of the system URIs: HL7 FHIR R4 (4.0.1), "Using Codes: Known Code Systems", and HL7 Terminology
(THO). The Symptom Ontology is not registered; like other OBO ontologies it goes by its ontology IRI.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from sympress.errors import InputError, nearest
from sympress.files import refuse_pipe
from sympress.labels.lexicon import forms_by_symptom

if TYPE_CHECKING:
    from sympress.runtime.extractor import (
        Extractor,
    )  # which needs ONNX Runtime, and a service's main process does not


class System(NamedTuple):
    """A code system: its URI, and what its codes look like."""

    uri: str
    codes: str = r"\S+( \S+)*"


_HPO = System("http://human-phenotype-ontology.org", r"HP:\d{7}")
_SYMP = System("http://purl.obolibrary.org/obo/symp.owl", r"SYMP:\d{7}")
_SNOMED = System("http://snomed.info/sct", r"\d{6,18}")
_MEDDRA = System("https://www.meddra.org", r"\d{8}")

#: Systems by the names that OMOP, UMLS and the prefixes of codes have for them, letters and digits alone.
SYSTEMS = {
    "HP": _HPO,
    "HPO": _HPO,
    "SYMP": _SYMP,
    "SNOMED": _SNOMED,
    "SNOMEDCT": _SNOMED,
    "SNOMEDCTUS": _SNOMED,
    "SCTID": _SNOMED,
    "UMLS": System("http://www.nlm.nih.gov/research/umls", r"C\d{7}"),
    "ICD9CM": System("http://hl7.org/fhir/sid/icd-9-cm"),
    "ICD10": System("http://hl7.org/fhir/sid/icd-10"),
    "ICD10CM": System("http://hl7.org/fhir/sid/icd-10-cm"),
    "LOINC": System("http://loinc.org", r"(LA|LP)?\d+-\d"),
    "MEDDRA": _MEDDRA,
    "MDR": _MEDDRA,
    "MESH": System("http://terminology.hl7.org/CodeSystem/MSH"),
    "MSH": System("http://terminology.hl7.org/CodeSystem/MSH"),
}
#: Codes of a user's lexicon in a system that is not named above.
_OF_LEXICON = "urn:sympress:lexicon"

#: Names that a column of a map may have; those after the first are of OMOP's vocabulary tables.
_COLUMNS = {
    "symptom": ("symptom", "source_code"),
    "system": ("system", "vocabulary", "vocabulary_id"),
    "code": ("code", "concept_code"),
    "display": ("display", "concept_name"),
    "concept_id": ("concept_id", "target_concept_id"),
    "source_concept_id": ("source_concept_id",),
}
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(//)?\S+")
_CONCEPT_MOST = 2**31 - 1


class Coding(NamedTuple):
    """A code with the URI of its system and, where a map gives one, its name there."""

    system: str
    code: str
    display: str | None = None


@dataclass(frozen=True)
class ConceptMap:
    """What a user's map says of symptoms, by their ids; nothing by default.

    Attributes:
        codings: further codes.
        concept_ids: OMOP's standard concept.
        source_concept_ids: OMOP's concept of the source code.
    """

    codings: Mapping[str, tuple[Coding, ...]] = field(default_factory=dict)
    concept_ids: Mapping[str, int] = field(default_factory=dict)
    source_concept_ids: Mapping[str, int] = field(default_factory=dict)

    def digest(self) -> str:
        """The same for maps that say the same; empty for one that says nothing."""
        parts = (self.codings, self.concept_ids, self.source_concept_ids)
        if not any(parts):
            return ""
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True)
class Vocabulary:
    """Everything that is known of a symptom beside its id.

    Attributes:
        codes: of the artifact, by symptom.
        names: of the lexicon's symptoms, by id.
        concepts: what the user's map adds.
    """

    codes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    concepts: ConceptMap = field(default_factory=ConceptMap)

    def name(self, symptom: str | None) -> str | None:
        """How people call `symptom`: `shortness of breath` for `dyspnea`."""
        return None if symptom is None else self.names.get(symptom, symptom)

    def codings(self, symptom: str | None, code: str | None) -> tuple[Coding, ...]:
        """All codes of a finding: the artifact's in its order, then those of the map."""
        own = self.codes.get(symptom or "") or ([code] if code else [])
        return (*dict.fromkeys((*map(coding_of, own), *self.concepts.codings.get(symptom or "", ()))),)

    def concept_id(self, symptom: str | None) -> int:
        """OMOP's standard concept; 0, OMOP's "no matching concept", where the map has none."""
        return self.concepts.concept_ids.get(symptom or "", 0)

    def source_concept_id(self, symptom: str | None) -> int:
        """OMOP's concept of the source code, or 0."""
        return self.concepts.source_concept_ids.get(symptom or "", 0)


def vocabulary_of(extractor: Extractor, concepts: ConceptMap) -> Vocabulary:
    """The vocabulary of what `extractor` finds, with `concepts` besides."""
    lexicon = extractor.words.lexicon
    names = {one.id or one.name: one.name for one in lexicon.symptoms} if lexicon else {}
    return Vocabulary(extractor.settings.codes, names, concepts)


def coding_of(code: str) -> Coding:
    """The coding of a code as lexica write it, `SNOMED:386661006` or `HP:0001945`."""
    prefix, separator, value = code.partition(":")
    system = SYSTEMS.get(prefix.upper()) if separator else None
    if system is None:
        return Coding(_OF_LEXICON, code)
    # Ontologies register their codes with the prefix, HP:0001945; others without.
    return Coding(system.uri, code if system in (_HPO, _SYMP) else value)


def read_concepts(path: Path, extractor: Extractor) -> ConceptMap:
    """Read a map from symptoms to codes, a CSV or TSV file with a header.

    Columns: `symptom` or `source_code` (an id of the extractor's symptoms, or a code of one), and `system`
    (or `vocabulary`) with `code`, or `concept_id`, or both; `display` and `source_concept_id` if wanted.
    A symptom may have several rows; other columns are ignored.

    Raises:
        InputError: the file cannot be read, columns are missing, or rows are wrong; one message names all.
    """
    rows = _rows(path)
    return _Reading(path, extractor).read(rows)


def _rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    """The rows with their line numbers; columns by the first name in `_COLUMNS`."""
    refuse_pipe(path)
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8; save the map as UTF-8") from error
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); check the path of --concepts"
        ) from error
    header = text.partition("\n")[0]
    delimiter = max(",\t;", key=header.count)
    try:
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
        lines = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(f"{path}: not a table ({error}); save the map as CSV or TSV") from error
    names = [re.sub(r"[\s-]+", "_", name.strip().lower()) for name in (lines[0][1] if lines else [])]
    places = {
        column: [names.index(name) for name in known if name in names] for column, known in _COLUMNS.items()
    }
    _check_header(path, {column for column, at in places.items() if at}, names)
    if len(lines) == 1:
        raise InputError(f"{path}: no rows; a map needs at least one symptom")
    return [(line, {column: _first(row, at) for column, at in places.items()}) for line, row in lines[1:]]


def _check_header(path: Path, columns: set[str], names: list[str]) -> None:
    coded = {"system", "code"} <= columns
    if "symptom" in columns and (coded or ("concept_id" in columns and not {"system", "code"} & columns)):
        return
    missing = ["symptom"] if "symptom" not in columns else []
    missing += sorted({"system", "code"} - columns, reverse=True) if not coded else []
    raise InputError(
        f"{path}: no column {' and none '.join(missing)} among {', '.join(names) or 'none'}; a map has "
        "symptom (or source_code), and system (or vocabulary) with code, or concept_id, or both"
    )


def _first(row: list[str], places: list[int]) -> str:
    return next((row[at].strip() for at in places if at < len(row) and row[at].strip()), "")


class _Reading:
    """Takes the rows of a map and gathers everything that is wrong with them."""

    def __init__(self, path: Path, extractor: Extractor) -> None:
        self._path = path
        lexicon = extractor.words.lexicon
        named = forms_by_symptom(lexicon) if lexicon else ()
        self._symptoms = dict.fromkeys((*extractor.symptoms, *named))
        self._by_code: dict[str, list[str]] = {}
        for symptom, codes in extractor.settings.codes.items():
            for code in codes:
                self._by_code.setdefault(code, []).append(symptom)
        self._faults: list[str] = []
        self._codings: dict[str, dict[Coding, int]] = {}
        self._owners: dict[tuple[str, str], tuple[str, int]] = {}
        self._ids: dict[str, dict[str, tuple[int, int]]] = {"concept_id": {}, "source_concept_id": {}}

    def read(self, rows: list[tuple[int, dict[str, str]]]) -> ConceptMap:
        for line, row in rows:
            for symptom in self._named(line, row["symptom"]):
                self._take(line, symptom, row)
        if self._faults:
            raise InputError(f"{self._path}: {'; '.join(self._faults)}")
        ids = {kind: {name: value for name, (value, _) in own.items()} for kind, own in self._ids.items()}
        codings = {symptom: tuple(found) for symptom, found in self._codings.items()}
        return ConceptMap(codings, ids["concept_id"], ids["source_concept_id"])

    def _named(self, line: int, value: str) -> list[str]:
        if value in self._symptoms:
            return [value]
        found = self._by_code.get(value, [])
        if not found:
            self._fault(
                line, f"no symptom {value!r}{nearest(value, self._symptoms)}" if value else "no symptom"
            )
        return found

    def _take(self, line: int, symptom: str, row: Mapping[str, str]) -> None:
        code, system = row["code"], row["system"]
        if code or system:
            self._add_coding(line, symptom, row)
        elif not row["concept_id"]:
            self._fault(line, f"neither a code nor a concept_id for {symptom!r}")
        for kind, known in self._ids.items():
            if not row[kind]:
                continue
            if not re.fullmatch(r"\d{1,10}", row[kind]) or int(row[kind]) > _CONCEPT_MOST:
                self._fault(line, f"{kind} {row[kind]!r} is no number from 0 to {_CONCEPT_MOST}")
                continue
            value, first = known.setdefault(symptom, (int(row[kind]), line))
            if value != int(row[kind]):
                self._fault(line, f"{symptom!r} has {kind} {value} in line {first} already")

    def _add_coding(self, line: int, symptom: str, row: Mapping[str, str]) -> None:
        code, named = row["code"], row["system"]
        system = SYSTEMS.get(re.sub(r"[^A-Z0-9]", "", named.upper()))
        if system is None:
            known = next((each for each in SYSTEMS.values() if each.uri == named), None)
            system = known or (System(named) if _URI.fullmatch(named) else None)
        if not named or not code:
            self._fault(line, f"a {'code without a system' if code else 'system without a code'}")
        elif system is None:
            self._fault(line, f"unknown system {named!r}{nearest(named, SYSTEMS)}, give its URI")
        elif not re.fullmatch(system.codes, code):
            self._fault(line, f"{code!r} is no code of {named}")
        else:
            coding = Coding(system.uri, code, row["display"] or None)
            owner, first = self._owners.setdefault(coding[:2], (symptom, line))
            if first != line and owner == symptom:
                self._fault(line, f"{code} is given to {symptom!r} in line {first} already")
            elif owner != symptom:
                self._fault(line, f"{code} belongs to {owner!r} (line {first}), not also to {symptom!r}")
            self._codings.setdefault(symptom, {})[coding] = line

    def _fault(self, line: int, what: str) -> None:
        self._faults.append(f"line {line}: {what}")
