"""Which labels of a gold standard name symptoms, where nobody says it."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from sympress.errors import InputError
from sympress.labels.gold.attributes import load_attributes, words_of_label
from sympress.labels.gold.documents import GoldDocument
from sympress.labels.lexicon import Lexicon

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


def ids_by_form(lexicon: Lexicon) -> dict[str, str]:
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
