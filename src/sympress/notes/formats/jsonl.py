"""JSON lines: objects as rows of a table, and FHIR resources."""

from __future__ import annotations

import binascii
import dataclasses
import encodings.aliases
import json
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import IO, Any, cast

from sympress.errors import InputError
from sympress.notes.formats import Found, Source
from sympress.notes.intake import MALFORMED, NOT_UTF8, NOTE_BYTES, NOTE_LIMIT, TOO_LONG, Intake, Note
from sympress.notes.layout import COLUMN_OPTIONS, EVIDENCE_ROWS, Fault, Rows, TableOptions, row_name
from sympress.notes.streams import (
    ESCAPED_BYTE,
    decode_file,
    first_lines,
    open_text,
    some_not_utf8,
    stream_errors,
)

# Notes in FHIR resources, one a line as bulk exports write them: DocumentReference and DiagnosticReport.
#
# Source: HL7 FHIR R4 (4.0.1), resources DocumentReference (`content.attachment`) and DiagnosticReport
# (`presentedForm`), data types Attachment and base64Binary, value sets of their `status` and `docStatus`.


#: Content types of attachments that hold text, the best to read first.
_TEXT_TYPES = ("text/plain", "text/html", "application/xhtml", "text/rtf", "application/rtf", "text/", "")
_DOCUMENTS = ("DocumentReference", "DiagnosticReport")
#: The `status` or `docStatus` of a resource that was withdrawn, or that another has replaced.
_WITHDRAWN = {"entered-in-error", "cancelled", "superseded"}
#: White space, which FHIR allows within base64.
_NO_SPACE = dict.fromkeys(map(ord, " \t\r\n\f\v"))
_BASE64_URL = re.compile(r"(?=.*[-_])[\w-]+={0,2}", re.ASCII)
#: Why an attachment is no text.
NOT_BASE64 = "attachment.data is not base64"
BASE64_URL = "attachment.data is base64url, not base64"
UNKNOWN_CHARSET = "in a charset that is not read"
NOT_CHARSET = "not in the charset that it names"
#: The charsets that are read, by their codecs: Unicode, ISO 8859, those of Windows, DOS and East Asia.
_CHARSETS = {
    *("utf_8", "utf_8_sig", "utf_16", "utf_16_le", "utf_16_be", "utf_32", "utf_32_le", "utf_32_be", "ascii"),
    *("latin_1", "koi8_r", "koi8_u", "mac_roman", "cp437", "cp850", "cp874", "cp932", "cp949", "cp950"),
    *(f"iso8859_{part}" for part in range(2, 17)),
    *(f"cp125{page}" for page in range(9)),
    *("shift_jis", "euc_jp", "iso2022_jp", "gb2312", "gbk", "gb18030", "big5", "euc_kr"),
}
_CHARSET = re.compile(r"charset=\"?([\w.-]+)", re.IGNORECASE)


def fields_of_document(fields: dict[str, Any], path: Path, *, first: bool) -> dict[str, Any]:
    """Return a FHIR document's text and ids under the names that tables use; any other object as it is.

    A resource that was withdrawn is marked as retracted, as a row of NOTEEVENTS with ISERROR is.

    Raises:
        InputError: `first`, the first object of the file, is a resource that holds no note.
    """
    kind = fields.get("resourceType")
    if not isinstance(kind, str):
        return fields
    withdrawn = any(str(fields.get(name)) in _WITHDRAWN for name in ("status", "docStatus"))
    if isinstance(fields.get("text"), str):
        return {"iserror": True, **fields} if withdrawn else fields
    if kind not in _DOCUMENTS and first:
        what = "of its entries (jq -c '.entry[].resource')" if kind == "Bundle" else "with the notes"
        raise InputError(
            f"{path}: FHIR resources of type {kind[:40]}, which hold no note as text; give the "
            f"DocumentReference resources {what}, one a line"
        )
    attachments = [one.get("attachment") for one in _list(fields.get("content")) if isinstance(one, dict)]
    encounters = _list(_inside(fields, "context", "encounter")) or _list(fields.get("encounter"))
    return {
        "note_id": fields.get("id"),
        "patient_id": _reference(fields.get("subject")),
        "encounter_id": _reference(encounters[0] if encounters else None),
        "time": fields.get("date") or fields.get("effectiveDateTime") or fields.get("issued"),
        "category": _label(fields.get("type") or fields.get("code")),
        "text": _text([*attachments, *_list(fields.get("presentedForm"))]),
        "iserror": withdrawn,
    }


def _text(attachments: list[Any]) -> str | Fault | None:
    """The text of the attachment that is best to read, or what is wrong with it; None where there is none."""
    usable = [one for one in attachments if isinstance(one, dict) and isinstance(one.get("data"), str)]
    fault = None
    for wanted in _TEXT_TYPES:
        for one in usable:
            kind = str(one.get("contentType") or "").lower()
            if kind.startswith(wanted) if wanted else not kind:
                text = _decoded(one["data"], kind)
                if isinstance(text, str):
                    return text
                fault = fault or text
    return fault


def _decoded(data: str, kind: str) -> str | Fault:
    """What an attachment of the content type `kind` says, or why it can't be read.

    Base64 is taken strictly: what ignores its faults stops at padding inside, and loses the rest of a note.
    """
    named = _CHARSET.search(kind)
    charset = None if named is None else _charset(named[1])
    if named is not None and charset is None:
        return Fault(UNKNOWN_CHARSET)
    packed = data.translate(_NO_SPACE)
    try:
        raw = binascii.a2b_base64(packed, strict_mode=True)
    except ValueError:  # also binascii.Error
        return Fault(BASE64_URL if _BASE64_URL.fullmatch(packed) else NOT_BASE64)
    try:
        return decode_file(raw, charset)[0]
    except ValueError:
        return Fault(NOT_UTF8 if charset is None else NOT_CHARSET)


def _charset(name: str) -> str | None:
    """The codec of a charset; None for one that clinical systems do not write: some take hours for a note."""
    plain = encodings.normalize_encoding(name)
    codec = encodings.aliases.aliases.get(plain, plain)
    return codec if codec in _CHARSETS else None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _inside(fields: dict[str, Any], outer: str, inner: str) -> Any:
    value = fields.get(outer)
    return value.get(inner) if isinstance(value, dict) else None


def _reference(value: Any) -> str | None:
    """The id of a Reference: what follows `Patient/`, or the value of its identifier."""
    if not isinstance(value, dict):
        return None
    reference = value.get("reference") or _inside(value, "identifier", "value")
    return None if reference is None else str(reference).split("/_history/", 1)[0].rsplit("/", 1)[-1]


def _label(value: Any) -> str | None:
    """What a CodeableConcept is called."""
    if not isinstance(value, dict):
        return None
    codings = [one for one in _list(value.get("coding")) if isinstance(one, dict)]
    names = [value.get("text"), *(one.get("display") or one.get("code") for one in codings)]
    return next((str(name) for name in names if name), None)


# JSON objects as rows of a table: their keys are its columns, and may differ from object to object.


#: Most commas and opening brackets in a line, and most keys of its object: few bytes can stand for values
#: that fill the memory.
PARTS_MOST = 2_000_000
KEYS_MOST = 10_000

_HEAD_OBJECTS = 100


#: Which of the two is meant cannot be told; a table with two columns of one name is refused as well.
REPEATED_KEY = "a JSON object with a key twice"


class _RepeatedKeyError(ValueError):
    """An object has a key twice."""


def _object_of(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RepeatedKeyError
    return found


_DECODER = json.JSONDecoder(object_pairs_hook=_object_of)


def read_object(line: str) -> dict[str, object] | Fault:
    """Return the JSON object of `line`, or why it is none, or one that no note is."""
    if len(line) > PARTS_MOST and sum(map(line.count, ",[{")) > PARTS_MOST:
        return Fault(MALFORMED)
    try:
        value = _DECODER.decode(line)
    except _RepeatedKeyError:
        return Fault(REPEATED_KEY)
    except (ValueError, RecursionError):
        return Fault(MALFORMED)
    return value if isinstance(value, dict) and len(value) <= KEYS_MOST else Fault(MALFORMED)


class ObjectRows:
    """Makes notes of JSON objects; the first one decides which key is the text.

    Args:
        options: what the user says of them.
        intake: decides which of them become notes, and counts them.
        path: of the file, for messages.
        lines: its lines from the start, for what the first objects tell of the others.
    """

    def __init__(
        self,
        options: TableOptions,
        intake: Intake,
        path: Path,
        lines: Callable[[], Iterable[str]] = lambda: (),
    ) -> None:
        self._lines, self._path = lines, path
        self._options, self._intake = dataclasses.replace(options, header=True), intake
        self._rows = Rows(self._options, intake, path, self._evidence)
        self._names: list[str] = []
        self._text: str | None = None

    def note(self, fields: dict[str, object]) -> Note | None:
        """Return the note of one object, or None with the reason counted.

        A later object with two keys of one name is malformed.

        Raises:
            InputError: the first object has no key for the text, or no object at the start of the file has
                one that the user named.
        """
        first = self._text is None
        try:
            values = self._values(fields)
        except InputError:
            if first:
                raise
            self._intake.counts.drop(MALFORMED)
            return None
        return self._rows.note(values)

    def id_of(self, fields: dict[str, object]) -> str:
        """The id of an object that cannot become a note, or what a row without one is called."""
        with suppress(InputError):
            return self._rows.id_of(self._values(fields)) or row_name(self._intake.counts.rows)
        return row_name(self._intake.counts.rows)

    def _values(self, fields: dict[str, object]) -> list[object]:
        fields = fields_of_document(fields, self._path, first=self._text is None)
        if self._text is not None:
            fields.setdefault(self._text, None)
        if self._text is None or list(fields) != self._names:
            self._columns(list(fields))
        return list(fields.values())

    def _columns(self, names: list[str]) -> None:
        named = [name for field in COLUMN_OPTIONS if (name := self._options.column(field)) is not None]
        absent = [name for name in named if name not in names]
        if self._text is None:
            layout = self._rows.columns(names, self._other_keys(names) if absent else ())
            self._text = names[layout.text]
            self._rows.options = dataclasses.replace(self._options, text=self._text)
        else:
            self._rows.columns(names, absent)
        self._names = names

    def _other_keys(self, names: list[str]) -> list[str]:
        """Keys of the first objects that are not among `names`."""
        found = (key for fields in islice(self._objects(), _HEAD_OBJECTS) for key in fields)
        return [key for key in dict.fromkeys(found) if key not in names]

    def _evidence(self, name: str) -> Iterable[object]:
        return (fields.get(name) for fields in islice(self._objects(), EVIDENCE_ROWS))

    def _objects(self) -> Iterator[dict[str, object]]:
        for line in self._lines():
            value = read_object(line)
            if not isinstance(value, Fault):
                try:
                    yield fields_of_document(value, self._path, first=False)
                except InputError:
                    continue


# Reading JSON lines: one JSON object a line.


BOM = b"\xef\xbb\xbf"


def recognise(found: Found) -> Source | None:
    """The file as JSON lines, by its suffix or its first character.

    Raises:
        InputError: it is JSON of another form.
    """
    if found.text is None:
        return None
    start = found.text.lstrip()[:1]
    if found.suffix == ".json" and start == "[":
        raise InputError(
            f"{found.path}: one JSON array; write one JSON object a line (for example  jq -c '.[]')"
        )
    if start == "{" and found.text.split(maxsplit=1)[0] == "{" and found.text.lstrip()[1:2] in "\r\n":
        raise InputError(
            f"{found.path}: a JSON object over several lines; write one a line (for example  jq -c .)"
        )
    if found.suffix in {".jsonl", ".ndjson"} or start == "{":
        return found.source("jsonl", partial(jsonl_notes, found.path))
    return None


def jsonl_notes(path: Path, options: TableOptions, intake: Intake) -> Iterator[Note | None]:
    """Yield the notes of a file (possibly gzip) with one JSON object a line; blank lines are no rows.

    Raises:
        InputError: the text column is missing, or the file is truncated or damaged; of a strict intake, also
            where a line is not UTF-8 or too long for one object.
    """
    with (
        open_text(path, intake.meter, options.encoding) as stream,
        stream_errors(path, stream, intake.counts),
    ):
        lines = cast("IO[bytes]", stream.buffer)
        yield from object_notes(lines, options, intake, path, lambda: first_lines(path, options.encoding))


def object_notes(
    stream: IO[bytes],
    options: TableOptions,
    intake: Intake,
    path: Path,
    head: Callable[[], Iterable[str]] = lambda: (),
    *,
    first: bytes = b"",
) -> Iterator[Note | None]:
    """Yield the note of each line that holds a JSON object; the first object decides which key is the text.

    The objects may differ in all other ways. Lines that are no object are dropped and counted as malformed.
    `head` gives the lines from the start, where they can be read again; `first` is one that was read already.

    Raises:
        InputError: no single key of the first object may hold the text, or no key is named as a column is; or
            as `jsonl_notes`.
    """
    rows = ObjectRows(options, intake, path, head)
    for raw, start in byte_lines(stream, first):
        intake.row()
        if raw is None:
            row = intake.counts.rows
            intake.refuse(
                TOO_LONG,
                None,
                f"{path}: row {row} is longer than {NOTE_LIMIT:,} characters; write one JSON object a line",
            )
            yield None
            continue
        text = raw.removeprefix(BOM).decode("utf-8", "surrogateescape")
        fields = read_object(text)
        if not text.isascii() and (bad := ESCAPED_BYTE.search(text)):
            at = start + len(raw) - len(raw.removeprefix(BOM)) + len(text[: bad.start()].encode())
            intake.counts.remark(some_not_utf8(path))
            intake.refuse(
                NOT_UTF8,
                None if isinstance(fields, Fault) else rows.id_of(fields),
                f"{path}: byte {at} is not UTF-8 (after row {intake.counts.rows - 1}); "
                "name the encoding with --encoding, or convert it, for example  iconv -f MACINTOSH -t UTF-8",
            )
            yield None
        elif isinstance(fields, Fault):
            intake.counts.drop(fields.reason)
            yield None
        elif intake.strict and _has_half_a_pair(text, fields):
            intake.counts.drop(MALFORMED)
            yield None
        else:
            yield rows.note(fields)


def _has_half_a_pair(line: str, fields: dict[str, object]) -> bool:
    """Whether an object holds half a surrogate pair, which is no text."""
    if "\\ud" not in line.lower():
        return False
    try:
        json.dumps(fields, ensure_ascii=False).encode("utf-8")
    except (ValueError, RecursionError):
        return True
    return False


def byte_lines(stream: IO[bytes], first: bytes = b"") -> Iterator[tuple[bytes | None, int]]:
    """The lines that are not blank, None for one that is too long for a note, and where each begins.

    `first` is a line that was read already.
    """
    position = 0
    while line := first or stream.readline(NOTE_BYTES + 1):
        first = b""
        start, position = position, position + len(line)
        if len(line) <= NOTE_BYTES:
            if line.strip():
                yield line, start
            continue
        while (more := stream.readline(NOTE_BYTES)) and not more.endswith(b"\n"):
            position += len(more)
        position += len(more)
        yield None, start
