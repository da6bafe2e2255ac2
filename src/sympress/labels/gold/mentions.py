"""From what people marked to mentions: which spans name a symptom, and what they assert."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping

from sympress.errors import InputError, nearest
from sympress.labels.gold.documents import GoldDocument, GoldSpan
from sympress.labels.gold.flatten import Flat, flatten_spans
from sympress.labels.mentions import ASSERTIONS, AnnotatedNote, Assertion, Mention, OtherSpan

#: What each value of an attribute asserts; a span without any of these attributes is present. POLARITY is
#: MACCROBAT's, the next three are NegEx's, `assertion` is ours.
ASSERTION_OF: Mapping[str, Mapping[str, Assertion]] = {
    "POLARITY": {
        "NEG": "absent",
        "POS": "present",
        "UNCERTAIN": "possible",
        "MAYBE_NEG": "possible",
        "MAYBE_POS": "possible",
    },
    "negation_status": {"negated": "absent", "affirmed": "present", "possible": "possible"},
    "temporality": {
        "recent": "present",
        "historical": "historical",
        "hypothetical": "hypothetical",
        "not particular": "present",
    },
    "experiencer": {"patient": "present", "other": "family", "family member": "family"},
    "assertion": {assertion: assertion for assertion in ASSERTIONS},
}
#: Of several assertions of one span the first of these holds.
PRECEDENCE: tuple[Assertion, ...] = (
    "family", "absent", "hypothetical", "possible", "historical", "present",
)  # fmt: skip


def to_annotated(
    documents: Iterable[GoldDocument],
    *,
    labels: Mapping[str, str | None] | Collection[str],
    assertion: Mapping[str, Mapping[str, Assertion]] = ASSERTION_OF,
    symptom_of: Callable[[str], str | None] | None = None,
) -> tuple[list[AnnotatedNote], Counter[str]]:
    """Return the notes with the mentions of symptoms that people marked, and what happened to the spans.

    Every document becomes a note, also one without mentions. Spans are made contiguous and disjoint by the
    rule of `flatten`, among the symptoms only, and among the spans of other labels (`others`) only. In
    `counts`, `symptom spans` = `mentions` + all that is counted as dropped.

    Args:
        documents: annotated notes.
        labels: the labels that name symptoms; as a mapping, with the symptom of the lexicon that all spans
            of that label name, or None.
        assertion: what the values of each attribute assert, compared exactly, then in lower case; other
            attributes are counted and not read.
        symptom_of: gives the symptom of the marked text (fragments joined by a space), or None; asked where
            `labels` gives none.

    Raises:
        InputError: none of `labels` occurs, or an attribute of `assertion` has a value that it does not
            list.
    """
    held = list(documents)
    symptoms = dict(labels) if isinstance(labels, Mapping) else dict.fromkeys(labels)
    occurring = {span.label for document in held for span in document.spans}
    if occurring and not occurring & set(symptoms):
        wanted = ", ".join(sorted(symptoms)) or "(none)"
        raise InputError(
            f"no span is labelled {wanted}{nearest(wanted, occurring)}; "
            f"there is {', '.join(sorted(occurring)[:20])}"
        )
    counts: Counter[str] = Counter({"notes": len(held)})
    notes = []
    for document in held:
        marked = [span for span in document.spans if span.label in symptoms]
        counts["spans of other labels"] += len(document.spans) - len(marked)
        counts["symptom spans"] += len(marked)
        mentions = []
        for flat in flatten_spans(marked, document.text, counts):
            symptom = symptoms[flat.span.label] or (
                symptom_of(flat.span.surface(document.text)) if symptom_of else None
            )
            asserted = _assertion(flat.span, assertion, document.note_id, counts)
            mentions.append(_mention(flat, symptom, asserted, counts))
        rest = [span for span in document.spans if span.label not in symptoms]
        others = tuple(
            OtherSpan(flat.start, flat.end, flat.span.label)
            for flat in flatten_spans(rest, document.text, Counter())
        )
        notes.append(AnnotatedNote(document.note_id, document.text, tuple(mentions), others))
    return notes, counts


def _mention(flat: Flat, symptom: str | None, asserted: Assertion, counts: Counter[str]) -> Mention:
    counts["mentions"] += 1
    counts[f"mentions {asserted}"] += 1
    if symptom is None:
        counts["mentions without a symptom of the lexicon"] += 1
    return Mention(flat.start, flat.end, symptom, asserted)


def _assertion(
    span: GoldSpan,
    assertion: Mapping[str, Mapping[str, Assertion]],
    note_id: str,
    counts: Counter[str],
) -> Assertion:
    """Return what the attributes of a span assert: the first in `PRECEDENCE`, present if none does."""
    found: set[Assertion] = set()
    for name, value in span.attributes:
        values = assertion.get(name)
        if values is None:
            counts[f"attributes {name}: not read"] += 1
            continue
        asserted = values.get(value) or values.get(value.lower())
        if asserted is None:
            raise InputError(
                f"note {note_id!r}: {name} is {value[:40]!r}{nearest(value, values)}; "
                f"say what it asserts (known: {', '.join(values)})"
            )
        found.add(asserted)
    return next((asserted for asserted in PRECEDENCE if asserted in found), "present")
