"""Labels of the task `present`: by people's codes, people's spans, rules, or a mix of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.config import StudyConfig
from sympress.errors import InputError, nearest
from sympress.labels.annotate import Annotator
from sympress.labels.gold.mentions import gold_labels
from sympress.labels.lexicon import Lexicon, vaers_to_clinical
from sympress.labels.mentions import AnnotatedNote, LabelSet, Mention, Provenance
from sympress.labels.note_labels import MERGED, label_coded_present, merge_codes
from sympress.labels.silver import TRUST, affirmed_symptoms, mix_labels, present_labels
from sympress.models.rules import AssertedRule
from sympress.notes.split import Split
from sympress.report.paper import DRAWN, NEGATED, NOT_CURRENT, NOT_FOUND


@dataclass(frozen=True)
class Sources:
    """What labels are made from.

    Attributes:
        frame: the notes, `NOTE_SCHEMA`.
        lexicon: of the rules.
        gold: notes that people annotated; None without `--gold`.
        split: of the notes; symptoms are chosen on its training side.
        step: told what is at work, how many notes are done, and how many there are.
    """

    frame: pl.DataFrame
    lexicon: Lexicon
    gold: list[AnnotatedNote] | None
    split: Split
    step: Callable[[str, int, int], None] | None = None

    @property
    def training(self) -> NDArray[np.bool_]:
        """`(notes,)` whether a note is on the training side."""
        rows = np.zeros(self.frame.height, dtype=bool)
        rows[self.split.train] = True
        return rows

    @property
    def annotated(self) -> list[AnnotatedNote]:
        """The notes that people annotated.

        Raises:
            InputError: there are none.
        """
        if self.gold is None:
            raise InputError("labels from gold need the annotated notes: give --gold FILE or FOLDER")
        return self.gold


@dataclass(frozen=True)
class PresentLabels:
    """Labels of every note of the frame, and the split without notes that may not judge.

    Attributes:
        labels: row i is row i of the frame.
        split: validation and test hold only notes labelled by the most trusted source of a mix.
        weights: `(notes,)` what a note's loss is multiplied by; None where all weigh the same.
    """

    labels: LabelSet
    split: Split
    weights: NDArray[np.float32] | None = None


def label_present(source: str, sources: Sources, config: StudyConfig) -> PresentLabels:
    """Label the notes by `source`: `coded`, `concepts`, `silver`, `gold` or `mix`.

    Raises:
        InputError: the notes carry no such labels, or fewer symptoms than `top_k`.
    """
    if source == "mix":
        return _mixed(parse_mix(config.mix), sources, config.top_k)
    if config.symptoms:
        return PresentLabels(_named_labels(source, sources, config.symptoms), sources.split)
    return PresentLabels(_CHOOSERS[source](sources, config.top_k), sources.split)


def parse_mix(text: str | None) -> dict[Provenance, float]:
    """The weights of `gold=1,coded=1,silver=0.3`, the most trusted source first.

    Raises:
        InputError: nothing is given, a source is unknown or twice, or a weight is no number above 0.
    """
    weights: dict[Provenance, float] = {}
    for part in (text or "").split(","):
        name, _, number = (state.strip() for state in part.partition("="))
        if name not in TRUST:
            raise InputError(
                f"--mix {text!r}: {name!r} is no source of labels{nearest(name, TRUST)}; write e.g. "
                "--mix gold=1,silver=0.3"
            )
        try:
            weight = float(number)
        except ValueError:
            weight = 0.0
        if not weight > 0 or name in weights:
            raise InputError(f"--mix {text!r}: give {name} once, with a weight above 0")
        weights[name] = weight
    return {name: weights[name] for name in TRUST if name in weights}


def label_codes(source: str, frame: pl.DataFrame, label: Callable[[pl.DataFrame], LabelSet]) -> LabelSet:
    """What `label` makes of people's codes: as they are, or of `concepts` with one name a concept."""
    if source != "concepts":
        return label(frame)
    merged, counts = merge_codes(frame)
    labels = label(merged)
    return replace(labels, rule=f"{labels.rule}, {MERGED}", counts=counts | labels.counts)


def _named_labels(source: str, sources: Sources, symptoms: tuple[str, ...]) -> LabelSet:
    """The labels of symptoms that were named.

    Raises:
        InputError: no training note has one of them, or the source is not people's codes.
    """
    if source not in ("coded", "concepts"):
        raise InputError(f"--symptoms names what people coded; the labels are {source}")
    labels = label_codes(source, sources.frame, partial(label_coded_present, symptoms=symptoms))
    absent = np.flatnonzero(labels.targets[sources.training].sum(axis=0) == 0)
    if len(absent):
        frame = merge_codes(sources.frame)[0] if source == "concepts" else sources.frame
        known = frame["codes"].explode().drop_nulls().unique().to_list()
        name = symptoms[int(absent[0])]
        raise InputError(f"--symptoms: no training note is coded {name!r}{nearest(name, known)}")
    return labels


def _choose_codes(source: str, sources: Sources, top_k: int) -> LabelSet:
    label = partial(label_coded_present, top_k=top_k, rows=sources.training)
    return label_codes(source, sources.frame, label)


def _choose_silver(sources: Sources, top_k: int) -> LabelSet:
    annotator, ids = Annotator(sources.lexicon), tuple(sources.frame["note_id"])
    affirmed = []
    for text in sources.frame["text"]:
        affirmed.append(affirmed_symptoms(annotator.mentions(text or "")))
        if sources.step is not None:
            sources.step("labelling by rules", len(affirmed), len(ids))
    rows = sources.split.train
    training = present_labels(tuple(ids[row] for row in rows), [affirmed[row] for row in rows], top_k=top_k)
    return present_labels(ids, affirmed, training.symptoms)


#: Labels by one source, which also chooses the symptoms, on the training side.
_CHOOSERS: dict[str, Callable[[Sources, int], LabelSet]] = {
    "coded": partial(_choose_codes, "coded"),
    "concepts": partial(_choose_codes, "concepts"),
    "silver": _choose_silver,
    "gold": lambda sources, top_k: gold_labels(
        sources.annotated, sources.frame, top_k=top_k, rows=sources.training
    ),
}


def _mixed(weights: Mapping[Provenance, float], sources: Sources, top_k: int) -> PresentLabels:
    """Labels by the most trusted source that a note has; the first of the mix chooses symptoms and judges."""
    first = next(iter(weights))
    chosen = _known_symptoms(first, sources, top_k)
    sets = [(_labels_for(name, chosen, sources), weight) for name, weight in weights.items()]
    mixed = mix_labels(sets)
    place = {note_id: row for row, note_id in enumerate(mixed.labels.note_ids)}
    ids = sources.frame["note_id"].to_list()
    known = np.array([note_id in place for note_id in ids])
    rows = np.array([place.get(note_id, 0) for note_id in ids], dtype=np.int64)
    judged = np.array([mixed.provenances[row] == first for row in rows]) & known
    split = sources.split
    kept = replace(
        split,
        train=split.train[known[split.train]],
        validation=split.validation[judged[split.validation]],
        test=split.test[judged[split.test]],
    )
    for side in ("train", "validation", "test"):
        if not len(getattr(kept, side)):
            raise InputError(f"--mix: no note of the {side} side has {first} labels; use more notes")
    sizes = {side: len(getattr(kept, side)) for side in ("train", "validation", "test")}
    kept = replace(kept, counts=split.counts.model_copy(update=sizes))
    labels = replace(
        mixed.labels,
        note_ids=tuple(ids),
        targets=np.where(known[:, None], mixed.labels.targets[rows], 0).astype(np.uint8),
        counts=mixed.labels.counts
        | {
            "without any label": int((~known).sum()),
            f"not judged, for want of {first} labels": int(
                sum((~judged[side]).sum() for side in (split.validation, split.test))
            ),
        },
    )
    return PresentLabels(labels, kept, np.where(known, mixed.weights[rows], 1).astype(np.float32))


def _known_symptoms(first: Provenance, sources: Sources, top_k: int) -> tuple[str, ...]:
    if first != "coded":
        return _CHOOSERS[first](sources, top_k).symptoms
    coded = sources.frame["codes"].is_not_null().to_numpy()
    return label_coded_present(
        sources.frame.filter(coded), top_k=top_k, rows=sources.training[coded]
    ).symptoms


def _labels_for(name: Provenance, symptoms: tuple[str, ...], sources: Sources) -> LabelSet:
    """Labels of the notes that `name` labels, for these symptoms."""
    if name == "gold":
        return gold_labels(sources.annotated, sources.frame, symptoms=symptoms)
    if name == "coded":
        coded = sources.frame.filter(pl.col("codes").is_not_null())
        return label_coded_present(_as_named(coded, symptoms), symptoms=symptoms)
    rule = AssertedRule.of(symptoms, sources.lexicon)
    affirmed = rule.predict_proba(sources.frame["text"].to_list()) > 0
    return LabelSet(
        "present",
        symptoms,
        tuple(sources.frame["note_id"]),
        affirmed.astype(np.uint8),
        "silver",
        "symptoms that the note affirms, by lexicon and assertion rules",
    )


def _as_named(frame: pl.DataFrame, symptoms: tuple[str, ...]) -> pl.DataFrame:
    """Codes under the names of `symptoms`: a coded term of the lexicon's symptom takes its id."""

    def named(codes: list[str]) -> list[str]:
        return [code if code in symptoms else vaers_to_clinical(code) or code for code in codes]

    values = [named(codes) for codes in frame["codes"].to_list()]
    return frame.with_columns(pl.Series("codes", values, dtype=pl.List(pl.String)))


@dataclass(frozen=True)
class FurtherLabels:
    """What people coded of further notes, which students read without labels.

    Attributes:
        known: `(notes,)` whether people coded the note.
        targets: `(notes, K)` 0 or 1; 0 where nobody did.
    """

    known: NDArray[np.bool_]
    targets: NDArray[np.uint8]


def label_further(labels: LabelSet, further: pl.DataFrame) -> FurtherLabels | None:
    """Label further notes as the notes of the study are; None where those are not labelled by people's codes.

    Args:
        labels: of the study, of the task `present`.
        further: notes, `NOTE_SCHEMA`.
    """
    if labels.task != "present" or labels.provenance != "coded" or not further.height:
        return None
    known = further["codes"].is_not_null().to_numpy()
    targets = np.zeros((further.height, len(labels.symptoms)), dtype=np.uint8)
    coded = _as_named(further.filter(known), labels.symptoms)
    targets[known] = label_coded_present(coded, symptoms=labels.symptoms).targets
    return FurtherLabels(known, targets)


# How many labels of the keyword rule come from a mention that does not affirm the symptom.


#: What the first mention of a labelled symptom asserts -> the count it goes into; `present` into none.
_COUNTED = {
    "absent": NEGATED,
    "possible": NOT_CURRENT,
    "hypothetical": NOT_CURRENT,
    "historical": NOT_CURRENT,
    "family": NOT_CURRENT,
}


#: Labelled notes in which the mention is looked up: more of them change the share by less than a point.
LOOKED_UP = 10_000


def negated_label_share(
    frame: pl.DataFrame,
    labels: LabelSet,
    annotate: Callable[[str], Sequence[Mention]],
    *,
    text_window: int | None = None,
    names: Mapping[str, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Count the labels that the first mention of their symptom does not affirm, for `data.labelling`.

    Args:
        frame: the labelled notes, row i belongs to row i of `labels.targets`; column `text`. Of more than
            `LOOKED_UP` notes so many are drawn, always the same.
        labels: what each note carries; every symptom of a note is one label.
        annotate: text -> its mentions with their assertions.
        text_window: only mentions that end within so many characters count, as for the rule; None for all.
        names: id of the annotator's symptom -> name of the label; ids that are missing stand for themselves.
        progress: called after each note with how many are done, and how many there are.

    Returns:
        Labels by a negated mention, by one of family, history, possibility or hypothesis, and without any
        mention that the annotator finds; of drawn notes also how many labels they have.
    """
    counts = {NEGATED: 0, NOT_CURRENT: 0, NOT_FOUND: 0}
    named = names or {}
    rows = np.arange(frame.height)
    if len(rows) > LOOKED_UP:
        rows = np.sort(np.random.default_rng(0).choice(rows, LOOKED_UP, replace=False))
        counts[DRAWN] = int(labels.targets[rows].sum())
    for done, (row, text) in enumerate(zip(rows, frame["text"].gather(rows), strict=True), start=1):
        first: dict[str, str] = {}
        for mention in sorted(annotate(text or ""), key=lambda one: one.start):
            if mention.symptom is not None and (text_window is None or mention.end <= text_window):
                first.setdefault(named.get(mention.symptom, mention.symptom), mention.assertion)
        for column, symptom in enumerate(labels.symptoms):
            if labels.targets[row, column]:
                key = _COUNTED.get(first[symptom]) if symptom in first else NOT_FOUND
                if key is not None:
                    counts[key] += 1
        if progress is not None:
            progress(done, len(rows))
    return counts
