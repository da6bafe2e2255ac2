"""Symptoms in a spaCy pipeline: `nlp.add_pipe("sympress")`; needs the extra `spacy`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from pydantic import TypeAdapter
from spacy.language import Language
from spacy.tokens import Doc, Span

from sympress.api import load
from sympress.runtime.extractor import Extractor
from sympress.runtime.note_result import NoteResult

#: What each span says beside its label, the symptom.
SPAN_EXTENSIONS = ("assertion", "code", "probability", "source")
#: What each document says: its `NoteResult`.
DOC_EXTENSION = "symptoms"
#: Where a document keeps that as plain values, as spaCy writes documents and sends them between processes.
_STORED = "sympress"
_RESULT = TypeAdapter(NoteResult)


class SymptomComponent:
    """Puts what a model finds in a text into `doc.spans[spans_key]` and `doc._.symptoms`.

    The label of a span is its symptom; `span._.assertion`, `.code`, `.probability` and `.source` say the
    rest. A span that begins or ends inside a token has the whole token.
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
        spans = []
        for one in result.mentions:
            label = one.symptom or "symptom"
            span = doc.char_span(one.start, one.end, label=label, alignment_mode="expand")
            if span is None:
                continue
            span._.assertion, span._.code, span._.source = one.assertion, one.code, one.source
            span._.probability = one.score
            spans.append(span)
        doc.spans[self.spans_key] = spans
        doc.user_data[_STORED] = _RESULT.dump_python(replace(result, text=None), mode="json")
        return doc


def _result_of(doc: Doc) -> NoteResult | None:
    """What was found in a document; None where no component of ours has read it."""
    stored = doc.user_data.get(_STORED)
    return None if stored is None else replace(_RESULT.validate_python(stored), text=doc.text)


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
    for extension in SPAN_EXTENSIONS:
        if not Span.has_extension(extension):
            Span.set_extension(extension, default=None)
    if not Doc.has_extension(DOC_EXTENSION):
        Doc.set_extension(DOC_EXTENSION, getter=_result_of)
    return SymptomComponent(load(model, threads=threads), spans_key)
