"""How many labels of the keyword rule come from a mention that does not affirm the symptom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import polars as pl

from sympress.labels.labelset import LabelSet
from sympress.labels.mentions import Mention
from sympress.report.paper import NEGATED, NOT_CURRENT, NOT_FOUND

#: What the first mention of a labelled symptom asserts -> the count it goes into; `present` into none.
_COUNTED = {
    "absent": NEGATED,
    "possible": NOT_CURRENT,
    "hypothetical": NOT_CURRENT,
    "historical": NOT_CURRENT,
    "family": NOT_CURRENT,
}


def negated_label_share(
    frame: pl.DataFrame,
    labels: LabelSet,
    annotate: Callable[[str], Sequence[Mention]],
    *,
    text_window: int | None = None,
    names: Mapping[str, str] | None = None,
) -> dict[str, int]:
    """Count the labels that the first mention of their symptom does not affirm, for `data.labelling`.

    Args:
        frame: the labelled notes, row i belongs to row i of `labels.targets`; column `text`.
        labels: what each note carries; every symptom of a note is one label.
        annotate: text -> its mentions with their assertions.
        text_window: only mentions that end within so many characters count, as for the rule; None for all.
        names: id of the annotator's symptom -> name of the label; ids that are missing stand for themselves.

    Returns:
        Labels by a negated mention, by one of family, history, possibility or hypothesis, and without any
        mention that the annotator finds.
    """
    counts = {NEGATED: 0, NOT_CURRENT: 0, NOT_FOUND: 0}
    named = names or {}
    for row, text in enumerate(frame["text"].to_list()):
        first: dict[str, str] = {}
        for mention in sorted(annotate(text or ""), key=lambda one: one.start):
            if mention.symptom is not None and (text_window is None or mention.end <= text_window):
                first.setdefault(named.get(mention.symptom, mention.symptom), mention.assertion)
        for column, symptom in enumerate(labels.symptoms):
            if labels.targets[row, column]:
                key = _COUNTED.get(first[symptom]) if symptom in first else NOT_FOUND
                if key is not None:
                    counts[key] += 1
    return counts
