"""From what people marked to mentions and to labels of whole notes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError, nearest
from sympress.labels.gold.attributes import AttributeTable, fold, load_attributes, words_of_label
from sympress.labels.gold.documents import Flat, GoldDocument, GoldSpan, flatten_spans
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import ASSERTIONS, AnnotatedNote, Assertion, LabelSet, Mention, OtherSpan
from sympress.labels.task import span_classes

# Which labels of a gold standard name symptoms, where nobody says it.


#: What a label that marks symptoms is called, or ends with.
_WORDS = ("symptom", "sign", "condition", "finding", "problem", "complaint")


def symptom_labels(
    documents: Iterable[GoldDocument], lexicon: Lexicon, *, source: str
) -> dict[str, str | None]:
    """Return the labels that name symptoms, each with the symptom that it names, or None.

    These are the labels that are called so (`Sign_symptom`, `SYMPTOM_ABSENT`, i2b2's `problem`); where there
    is none, those that are a form of the lexicon (`fever`, `chest_pain|absent`); and where every label only
    asserts something (`present`, `Negated`), all of them.

    Args:
        documents: annotated notes.
        lexicon: whose forms, names and ids a label may be.
        source: what a message begins with, e.g. the path of the file.

    Raises:
        InputError: no label does.
    """
    labels = sorted({span.label for document in documents for span in document.spans})
    if not labels:
        raise InputError(f"{source}: no span is marked; give notes that people annotated")
    found = symptoms_named(labels, lexicon)
    if found:
        return found
    raise InputError(
        f"{source}: no label is called a symptom; say which are with --gold-labels "
        f"(there is {', '.join(labels[:20])})"
    )


def symptoms_named(labels: Collection[str], lexicon: Lexicon) -> dict[str, str | None]:
    """Return what `symptom_labels` does, of labels alone; nothing where none of them names symptoms."""
    called = [label for label in labels if names_symptom(label)]
    if called:
        return dict.fromkeys(called)
    kinds = {label: load_attributes().label_parts(label).kind for label in labels}
    ids = ids_by_form(lexicon)
    found: dict[str, str | None] = {
        label: ids[words] for label, kind in kinds.items() if (words := form_key(kind)) in ids
    }
    if found:
        return found
    return {} if any(kinds.values()) else dict.fromkeys(labels)


@lru_cache(maxsize=4)
def ids_by_form(lexicon: Lexicon) -> Mapping[str, str]:
    """Return the id of the symptom that each form, name and id names by itself, wherever it stands."""
    found: dict[str, str] = {}
    for symptom in lexicon.symptoms:
        name = symptom.id or symptom.name
        for form in (name, symptom.name, *symptom.forms):
            found.setdefault(form_key(form), name)
    return found


def form_key(form: str) -> str:
    """Return the words of a label or form in lower case, one space between: `chest pain` of `Chest_pain`."""
    return " ".join(words_of_label(form))


def names_symptom(label: str) -> bool:
    """Say whether a label says that its spans are symptoms; what it asserts of them does not count."""
    kind = load_attributes().label_parts(label).kind
    words = [word.removesuffix("s") for word in words_of_label(kind)]
    return "symptom" in kind.lower() or any(
        word == each or (len(each) > len("sign") and word.endswith(each)) for word in words for each in _WORDS
    )


# From what people marked to mentions: which spans name a symptom, and what they assert.


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
        if asserted is None and value in span_classes() and value not in ASSERTIONS:
            raise InputError(
                f"{where}: {name} is {value!r}, which is no assertion but a class of another task; write "
                "a row per note, whose 'mentions' have it as their 'assertion'"
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


# Labels of task `present` from annotated notes: the symptoms that a note affirms.


def gold_labels(
    notes: Sequence[AnnotatedNote],
    frame: pl.DataFrame,
    *,
    top_k: int = 20,
    rows: NDArray[np.bool_] | None = None,
    symptoms: Sequence[str] | None = None,
) -> LabelSet:
    """Return which of the K most often affirmed symptoms each annotated note affirms.

    A note affirms a symptom if one of its mentions of it is `present`. The labels follow the order of
    `frame`; notes of the frame that nobody annotated are left out and counted.

    Args:
        notes: annotated notes, see `to_annotated`.
        frame: notes with columns `note_id` and `text`.
        top_k: K; ignored where `symptoms` is given.
        rows: `(notes of the frame,)` only these count when the K symptoms are chosen (the training part:
            never choose on the test set). Null counts all.
        symptoms: the K symptoms, instead of choosing them.

    Raises:
        InputError: labels for a note that is not in the frame or is there with another text, a note that is
            annotated twice, no symptom known of any mention, fewer than K symptoms affirmed.
    """
    annotated = _by_id(notes, frame)
    ids = frame["note_id"].to_list()
    affirmed = {
        note_id: {m.symptom for m in note.mentions if m.symptom and m.assertion == "present"}
        for note_id, note in annotated.items()
    }
    names = list(symptoms) if symptoms is not None else _chosen(affirmed, ids, rows, top_k)
    kept = [note_id for note_id in ids if note_id in annotated]
    targets = np.array([[name in affirmed[note_id] for name in names] for note_id in kept], dtype=np.uint8)
    targets = targets.reshape(len(kept), len(names))
    counts = {
        "notes": frame.height,
        "not annotated": frame.height - len(kept),
        f"with none of the {len(names)} symptoms": int((targets.sum(axis=1) == 0).sum()),
        "mentions": sum(len(note.mentions) for note in notes),
        "mentions without a symptom of the lexicon": sum(
            mention.symptom is None for note in notes for mention in note.mentions
        ),
    }
    counts |= {f"labelled {name}": int(targets[:, k].sum()) for k, name in enumerate(names)}
    rule = f"which of {len(names)} symptoms people marked as present"
    return LabelSet("present", tuple(names), tuple(kept), targets, "gold", rule, counts)


def _by_id(notes: Sequence[AnnotatedNote], frame: pl.DataFrame) -> dict[str, AnnotatedNote]:
    """Return the notes by id, each checked against the frame."""
    texts = dict(zip(frame["note_id"], frame["text"], strict=True))
    found: dict[str, AnnotatedNote] = {}
    missing = [note.note_id for note in notes if note.note_id not in texts]
    if missing:
        raise InputError(
            f"labels for {len(missing)} notes that are not there (first: note {missing[0]!r}"
            f"{nearest(missing[0], texts)}); give the notes that were annotated"
        )
    for note in notes:
        if note.note_id in found:
            raise InputError(f"note {note.note_id!r} is annotated twice; keep one of them")
        if texts[note.note_id] != note.text:
            raise InputError(
                f"note {note.note_id!r}: the annotated text is not the note's; "
                "give the notes that were annotated"
            )
        found[note.note_id] = note
    return found


def _chosen(
    affirmed: dict[str, set[str]], ids: list[str], rows: NDArray[np.bool_] | None, top_k: int
) -> list[str]:
    """Return the K symptoms that most of the counted notes affirm, ties in alphabetical order."""
    if top_k < 1:
        raise InputError(f"--top-k is {top_k}: at least 1 symptom is needed")
    counted = [note_id for row, note_id in enumerate(ids) if rows is None or rows[row]]
    frequency = Counter(symptom for note_id in counted for symptom in affirmed.get(note_id, ()))
    ranked = sorted(frequency, key=lambda symptom: (-frequency[symptom], symptom))
    if not ranked:
        raise InputError(
            "no annotated note affirms a symptom of the lexicon: give `symptom_of` or a mapping of labels to "
            "symptoms when the annotations are read"
        )
    if len(ranked) < top_k:
        raise InputError(
            f"people affirmed only {len(ranked)} symptoms in the notes they are chosen from, "
            f"--top-k asks for {top_k}: use --top-k {len(ranked)} or annotate more notes"
        )
    return ranked[:top_k]
