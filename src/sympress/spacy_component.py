"""Symptoms in a spaCy pipeline: `nlp.add_pipe("sympress")`; needs the extra `spacy`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

from pydantic import TypeAdapter
from spacy.language import Language
from spacy.tokens import Doc, Span

from sympress.api import load
from sympress.labels.task import affirms
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import NoteResult, in_original, joined

#: What each span says beside its label, the symptom, and the field of `FoundMention` that has it.
SPAN_EXTENSIONS = {"assertion": "assertion", "code": "code", "probability": "score", "source": "source"}
#: What each document says: its `NoteResult`, and that of one of several components, by its `spans_key`.
DOC_EXTENSION, DOC_METHOD = "symptoms", "symptoms_of"
_RESULT = TypeAdapter(NoteResult)

# What was found is in `doc.user_data` once for each note, as plain values, by the characters of the note: so
# spaCy writes it, sends it between processes, and moves it where `Doc.from_docs` joins documents. spaCy's own
# attributes have one value for all spans of the same tokens, but one token may hold several mentions.

_MARK = "sympress:"


@dataclass(frozen=True)
class _Stored:
    """What one component found in one note of a document.

    Attributes:
        spans_key: of the component.
        start: the note's first character in the document; below 0 where only a part of the note is there.
        end: one past its last.
        values: the `NoteResult` as plain values.
    """

    spans_key: str
    start: int
    end: int
    values: dict[str, Any]

    def result(self) -> NoteResult:
        """What was found, at its places in the document."""
        read = _RESULT.validate_python(self.values)
        return in_original(read, lambda start, end: (self.start + start, self.start + end), read.markup)

    def mentions(self) -> list[dict[str, Any]]:
        return cast("list[dict[str, Any]]", self.values["mentions"])

    def holds(self, span: Span) -> bool:
        return self.start <= span.start_char and span.end_char <= self.end

    def is_of(self, span: Span, mention: dict[str, Any]) -> bool:
        """Whether `span` has the very tokens that `mention` is in."""
        start, end = self.start + mention["start"], self.start + mention["end"]
        if not (span.start_char <= start and end <= span.end_char):
            return False
        whole = span.doc.char_span(start, end, alignment_mode="expand")
        return whole is not None and (whole.start, whole.end) == (span.start, span.end)


def _user_data(doc: Doc) -> dict[Any, Any]:
    """What a document holds beside its text, whose keys spaCy says to be strings, but are not."""
    return cast("dict[Any, Any]", doc.user_data)


def _stored(doc: Doc) -> list[_Stored]:
    """What was found in the notes of a document, in the order of components and notes."""
    return [
        _Stored(key[1].removeprefix(_MARK), key[2], key[3], values)
        for key, values in _user_data(doc).items()
        if isinstance(key, tuple) and len(key) == 4 and key[0] == "._." and key[1].startswith(_MARK)
    ]


def _mention_of(span: Span) -> dict[str, Any] | None:
    """The mention that a span of ours names by its id, or a user's own span by its tokens and label.

    Where several mentions of the symptom are in the tokens of a user's span, the first affirmed one, or else
    the first.
    """
    known = span.id in span.doc.vocab.strings  # type: ignore[operator]  # its stub knows no hashes
    named, _, number = (span.id_ if known else "").rpartition(":")
    near = [one for one in _stored(span.doc) if one.holds(span)]
    for one in near:
        mentions = one.mentions()
        if _MARK + one.spans_key == named and number.isdecimal() and int(number) < len(mentions):
            found = mentions[int(number)]
            if one.is_of(span, found):
                return found
    for one in near:
        here = [
            mention
            for mention in one.mentions()
            if span.label_ in ("", _label(mention["symptom"])) and one.is_of(span, mention)
        ]
        if here:
            return next((mention for mention in here if affirms(mention["assertion"])), here[0])
    return None


def _value_of(span: Span, *, name: str) -> Any:
    found = _mention_of(span)
    return _user_data(span.doc).get(_own(span, name)) if found is None else found[SPAN_EXTENSIONS[name]]


def _set_value(span: Span, value: Any, *, name: str) -> None:
    """Correct a mention; for a span that is none of ours, keep the value as spaCy does."""
    found = _mention_of(span)
    if found is None:
        _user_data(span.doc)[_own(span, name)] = value
    else:
        found[SPAN_EXTENSIONS[name]] = value


def _own(span: Span, name: str) -> tuple[str, str, int, int]:
    return "._.", name, span.start_char, span.end_char


def _symptoms_of(doc: Doc, spans_key: str) -> NoteResult | None:
    """What the component of `spans_key` found; None where it has not read the document.

    Where documents were joined, what was found in each of them.
    """
    notes = [one for one in _stored(doc) if one.spans_key == spans_key]
    whole = [one.result() for one in notes if one.start >= 0 and one.end <= len(doc.text)]
    return replace(joined(whole), text=doc.text) if whole else None


def _result_of(doc: Doc) -> NoteResult | None:
    """What the first component found; None where none of ours has read the document."""
    return next((_symptoms_of(doc, one.spans_key) for one in _stored(doc)), None)


def _label(symptom: str | None) -> str:
    return symptom or "symptom"


def _others() -> list[str]:
    """Attributes of spans that another package or the user had registered before, without a getter."""
    return [name for name in SPAN_EXTENSIONS if not any(Span.get_extension(name)[1:])]


def _register() -> None:
    """Add the extensions; one of the same name that is there already stays as it is."""
    for name in SPAN_EXTENSIONS:
        if not Span.has_extension(name):
            Span.set_extension(
                name, getter=partial(_value_of, name=name), setter=partial(_set_value, name=name)
            )
    if not Doc.has_extension(DOC_EXTENSION):
        Doc.set_extension(DOC_EXTENSION, getter=_result_of)
    if not Doc.has_extension(DOC_METHOD):
        Doc.set_extension(DOC_METHOD, method=_symptoms_of)


_register()


class SymptomComponent:
    """Puts what a model finds in a text into `doc.spans[spans_key]` and `doc._.symptoms`.

    The label of a span is its symptom; `span._.assertion`, `.code`, `.probability` and `.source` say the
    rest. A span that begins or ends inside a token has the whole token, which other
    mentions may share. Of several components `doc._.symptoms` has what the first found, and
    `doc._.symptoms_of(spans_key)` what each did.
    """

    def __init__(self, model: Extractor, spans_key: str) -> None:
        self.model, self.spans_key = model, spans_key

    def __call__(self, doc: Doc) -> Doc:
        """Annotate a document."""
        return self._annotated(doc, self.model(doc.text))

    def pipe(self, stream: Iterable[Doc], batch_size: int = 128) -> Iterator[Doc]:
        """Annotate documents, `batch_size` at a time, on as many threads as the model has."""
        batch: list[Doc] = []
        for doc in stream:
            batch.append(doc)
            if len(batch) >= batch_size:
                yield from self._answered(batch)
                batch = []
        yield from self._answered(batch)

    def _answered(self, docs: list[Doc]) -> Iterator[Doc]:
        results = self.model([doc.text for doc in docs])
        for doc, result in zip(docs, results, strict=True):
            yield self._annotated(doc, result)

    def _annotated(self, doc: Doc, result: NoteResult) -> Doc:
        name = _MARK + self.spans_key
        for key in [
            ("._.", name, one.start, one.end) for one in _stored(doc) if one.spans_key == self.spans_key
        ]:
            del _user_data(doc)[key]
        values = _RESULT.dump_python(replace(result, text=None), mode="json")
        _user_data(doc)["._.", name, 0, len(doc.text)] = values
        spans = []
        for number, one in enumerate(result.mentions):
            span = doc.char_span(
                one.start,
                one.end,
                label=_label(one.symptom),
                alignment_mode="expand",
                span_id=f"{name}:{number}",
            )
            if span is None:
                continue
            for other in _others():
                span._.set(other, getattr(one, SPAN_EXTENSIONS[other]))
            spans.append(span)
        doc.spans[self.spans_key] = spans
        return doc


@Language.factory(
    "sympress",
    default_config={"model": None, "spans_key": "sympress", "threads": 1},
    assigns=["doc.spans", "doc._.symptoms", *(f"span._.{name}" for name in SPAN_EXTENSIONS)],
)
def create(nlp: Language, name: str, model: str | None, spans_key: str, threads: int) -> SymptomComponent:  # noqa: ARG001
    """The component of a pipeline.

    Args:
        nlp: the pipeline.
        name: of the component in it.
        model: what `sympress.load` takes; None for the model and rules that come with sympress.
        spans_key: of `doc.spans`.
        threads: documents that `nlp.pipe` answers at the same time.

    Raises:
        InputError: nothing readable is at `model`.
    """
    _register()
    return SymptomComponent(load(model, threads=threads), spans_key)
