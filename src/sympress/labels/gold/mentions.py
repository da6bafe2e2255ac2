"""From what people marked to mentions: which spans name a symptom, and what they assert."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sympress.errors import InputError, nearest
from sympress.labels.gold.attributes import AttributeTable, fold, load_attributes
from sympress.labels.gold.documents import GoldDocument, GoldSpan
from sympress.labels.gold.flatten import Flat, flatten_spans
from sympress.labels.mentions import AnnotatedNote, Assertion, Mention, OtherSpan

#: Of several assertions of one span the first of these holds.
PRECEDENCE: tuple[Assertion, ...] = (
    "family", "absent", "hypothetical", "possible", "historical", "present",
)  # fmt: skip
#: Counted for each mention of which nothing is said: nobody marked what its words assert.
UNSAID = "no assertion marked: read as present"
_MARKED_BESIDE = "spans that say what the symptoms in them assert"
_Place = tuple[int, int]


def to_annotated(
    documents: Iterable[GoldDocument],
    *,
    labels: Mapping[str, str | None] | Collection[str],
    assertion: Mapping[str, Mapping[str, Assertion]] | None = None,
    ignore: Collection[str] = (),
    symptom_of: Callable[[str], str | None] | None = None,
) -> tuple[list[AnnotatedNote], Counter[str]]:
    """Return the notes with the mentions of symptoms that people marked, and what happened to the spans.

    Every document becomes a note, also one without mentions. Spans are made contiguous and disjoint by the
    rule of `flatten`, among the symptoms only, and among the spans of other labels (`others`) only. In
    `counts`, `symptom spans` = `mentions` + all that is counted as dropped.

    What a mention asserts is said by the attributes of its span, by words of its label (`SYMPTOM_ABSENT` is
    a `SYMPTOM`), and by spans around it or in its place whose label only asserts something (`Negated`); of
    several the first of `PRECEDENCE` holds. A mention is present where nothing says otherwise, and nothing
    that could say so is passed over: an attribute that `labels/data/gold_attributes.toml` does not know is
    an error.

    Args:
        documents: annotated notes.
        labels: the labels that name symptoms; as a mapping, with the symptom of the lexicon that all spans
            of that label name, or None.
        assertion: what the values of further attributes assert, by the attribute's name as it is written;
            it goes before the table. Values are compared exactly, then in lower case.
        ignore: attributes, and labels that only assert something, that are counted and not read.
        symptom_of: gives the symptom of the marked text (fragments joined by a space), or None; asked where
            `labels` gives none.

    Raises:
        InputError: none of `labels` occurs; an attribute of a symptom is not in the table, or its value; a
            label leaves open whether it denies; a span whose label only asserts something is around no
            symptom. The message says where.
    """
    held = list(documents)
    symptoms = dict(labels) if isinstance(labels, Mapping) else dict.fromkeys(labels)
    reader = _Reader(symptoms, assertion or {}, frozenset(map(fold, ignore)), load_attributes(), Counter())
    _check_labels(held, reader)
    counts = reader.counts
    counts["notes"] = len(held)
    notes = []
    for document in held:
        marked = [span for span in document.spans if reader.symptom_label(span.label) is not None]
        rest = [span for span in document.spans if reader.symptom_label(span.label) is None]
        counts["spans of other labels"] += len(rest)
        counts["symptom spans"] += len(marked)
        stated = reader.stated(document, marked, rest)
        mentions = []
        for flat in flatten_spans(marked, document.text, counts):
            symptom = symptoms[reader.symptom_label(flat.span.label) or ""] or (
                symptom_of(flat.span.surface(document.text)) if symptom_of else None
            )
            said = stated[_place(flat.span, document.text)]
            if not said:
                counts[UNSAID] += 1
            mentions.append(_mention(flat, symptom, _first(said), counts))
        others = tuple(
            OtherSpan(flat.start, flat.end, flat.span.label)
            for flat in flatten_spans(rest, document.text, Counter())
        )
        notes.append(AnnotatedNote(document.note_id, document.text, tuple(mentions), others))
    return notes, counts


def _check_labels(documents: Sequence[GoldDocument], reader: _Reader) -> None:
    """Refuse labels of which none occurs."""
    occurring = {span.label for document in documents for span in document.spans}
    if occurring and all(reader.symptom_label(label) is None for label in occurring):
        wanted = ", ".join(sorted(reader.symptoms)) or "(none)"
        raise InputError(
            f"no span is labelled {wanted}{nearest(wanted, occurring)}; "
            f"there is {', '.join(sorted(occurring)[:20])}"
        )


def _first(said: Collection[Assertion]) -> Assertion:
    """Return the assertion that goes before the others; present where nothing is said."""
    return next((each for each in PRECEDENCE if each in said), "present")


def _mention(flat: Flat, symptom: str | None, asserted: Assertion, counts: Counter[str]) -> Mention:
    counts["mentions"] += 1
    counts[f"mentions {asserted}"] += 1
    if symptom is None:
        counts["mentions without a symptom of the lexicon"] += 1
    return Mention(flat.start, flat.end, symptom, asserted)


def _place(span: GoldSpan, text: str) -> _Place:
    """Return where a span begins and ends, without white space at its edges."""
    if not span.fragments:
        return (0, 0)
    start, end = span.fragments[0][0], span.fragments[-1][1]
    marked = text[start:end]
    return start + len(marked) - len(marked.lstrip()), end - len(marked) + len(marked.rstrip())


def _where(span: GoldSpan, note_id: str, attribute: int | None = None) -> str:
    """Return what a message about a span, or about one of its attributes, begins with."""
    number = 0 if attribute is None else attribute + 1
    if number < len(span.sources):
        return span.sources[number]
    return span.sources[0] if span.sources else f"note {note_id!r}"


@dataclass(frozen=True)
class _Reader:
    """How labels and attributes are read, and what was counted while they were."""

    symptoms: Mapping[str, str | None]
    given: Mapping[str, Mapping[str, Assertion]]
    ignored: frozenset[str]
    table: AttributeTable
    counts: Counter[str]

    def symptom_label(self, label: str) -> str | None:
        """Return which of `symptoms` a label is, itself or without the words that assert; None for none."""
        if label in self.symptoms:
            return label
        kind = self.table.label_parts(label).kind
        return kind if kind in self.symptoms else None

    def stated(
        self, document: GoldDocument, marked: Sequence[GoldSpan], rest: Sequence[GoldSpan]
    ) -> defaultdict[_Place, set[Assertion]]:
        """Return everything that is said of each place where a symptom is marked."""
        stated: defaultdict[_Place, set[Assertion]] = defaultdict(set)
        for span in marked:
            said = stated[_place(span, document.text)]
            said |= self._of_label(span, document.note_id)
            said |= self._of_attributes(span, document.note_id)
        for span in rest:
            parts = self.table.label_parts(span.label)
            if not parts.kind and parts.assertions and span.fragments:
                self._say_beside(span, set(parts.assertions), stated, document)
        return stated

    def _of_label(self, span: GoldSpan, note_id: str) -> set[Assertion]:
        if self.table.is_unclear(span.label):
            raise InputError(
                f"{_where(span, note_id)}: the label {span.label!r} may mean a denied symptom or no symptom; "
                "rename it, or say with --gold-labels which labels are symptoms"
            )
        return set(self.table.label_parts(span.label).assertions)

    def _of_attributes(self, span: GoldSpan, note_id: str) -> set[Assertion]:
        found: set[Assertion] = set()
        for number, (name, value) in enumerate(span.attributes):
            if fold(name) in self.ignored and name not in self.given:
                self.counts[f"attributes {name}: ignored"] += 1
                continue
            asserted = self._asserted(name, value, _where(span, note_id, number))
            if asserted is None:
                self.counts[f"attributes {name}: not read"] += 1
            else:
                found.add(asserted)
        return found

    def _asserted(self, name: str, value: str, where: str) -> Assertion | None:
        """Return what an attribute asserts; None for one that is known to assert nothing."""
        group = self.table.group_of(name)
        if name in self.given:
            values = self.given[name]
            asserted = values.get(value) or values.get(value.lower())
        elif group is not None:
            values = group.values
            asserted = values.get(fold(value)) if value.strip() else group.flag
        elif self.table.says_something_else(name):
            return None
        else:
            close = nearest(fold(name), self.table.groups)
            raise InputError(
                f"{where}: the attribute {name!r} is not known{close} and may change what the words assert; "
                f"rename it, or say  --ignore-attribute {name}"
            )
        if asserted is None:
            alike = [each for each in values if each[:1].lower() == value.strip()[:1].lower()]
            said = f"is {value[:40]!r}{nearest(fold(value), alike)}" if value.strip() else "has no value"
            raise InputError(
                f"{where}: {name} {said}; write what it asserts (for example {_examples(values)}), or say  "
                f"--ignore-attribute {name}"
            )
        return asserted

    def _say_beside(
        self,
        span: GoldSpan,
        said: set[Assertion],
        stated: defaultdict[_Place, set[Assertion]],
        document: GoldDocument,
    ) -> None:
        """Add what a span says by its label alone to the symptoms that it holds."""
        if fold(span.label) in self.ignored:
            self.counts[f"spans {span.label}: ignored"] += 1
            return
        start, end = _place(span, document.text)
        inside = [place for place in stated if start <= place[0] and place[1] <= end]
        crossing = [place for place in stated if place[0] < end and start < place[1] and place not in inside]
        if said != {"present"} and (crossing or not inside):
            raise InputError(
                f"{_where(span, document.note_id)}: the label {span.label!r} at {start} {end} says what some "
                f"words assert, but {'cuts a symptom' if crossing else 'holds no symptom'}; mark the symptom "
                "with it, name it among --gold-labels if its spans are symptoms, or say  --ignore-attribute "
                f"{span.label}"
            )
        for place in inside:
            stated[place] |= said
        self.counts[_MARKED_BESIDE] += 1


def _examples(values: Mapping[str, Assertion]) -> str:
    """Return the first value of each assertion."""
    first: dict[Assertion, str] = {}
    for value, assertion in values.items():
        first.setdefault(assertion, value)
    return ", ".join(first.values())
