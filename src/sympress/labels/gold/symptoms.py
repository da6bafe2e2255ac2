"""Which labels of a gold standard name symptoms, where nobody says it."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sympress.errors import InputError
from sympress.labels.gold.attributes import load_attributes, words_of_label
from sympress.labels.gold.documents import GoldDocument

#: What a label that marks symptoms is called, or ends with.
_WORDS = ("symptom", "sign", "condition", "finding", "problem", "complaint")


def symptom_labels(
    documents: Iterable[GoldDocument], symptom_of: Callable[[str], str | None], *, source: str
) -> dict[str, str | None]:
    """Return the labels that name symptoms, each with the symptom that it names, or None.

    These are the labels that are called so (`Sign_symptom`, `SYMPTOM_ABSENT`, i2b2's `problem`); where there
    is none, those that are a form of the lexicon (`fever`, `chest_pain|absent`); and where every label only
    asserts something (`present`, `Negated`), all of them.

    Args:
        documents: annotated notes.
        symptom_of: gives the symptom of a form, or None.
        source: what a message begins with, e.g. the path of the file.

    Raises:
        InputError: no label does.
    """
    labels = sorted({span.label for document in documents for span in document.spans})
    called = [label for label in labels if names_symptom(label)]
    if called or not labels:
        return dict.fromkeys(called)
    kinds = {label: load_attributes().label_parts(label).kind for label in labels}
    named = {label: symptom_of(kind.replace("_", " ")) for label, kind in kinds.items() if kind}
    found = {label: symptom for label, symptom in named.items() if symptom is not None}
    if found:
        return dict(found)
    if not any(kinds.values()):
        return dict.fromkeys(labels)
    raise InputError(
        f"{source}: no label is called a symptom; say which are with --gold-labels "
        f"(there is {', '.join(labels[:20])})"
    )


def names_symptom(label: str) -> bool:
    """Say whether a label says that its spans are symptoms; what it asserts of them does not count."""
    kind = load_attributes().label_parts(label).kind
    words = [word.removesuffix("s") for word in words_of_label(kind)]
    return "symptom" in kind.lower() or any(
        word == each or (len(each) > len("sign") and word.endswith(each)) for word in words for each in _WORDS
    )
