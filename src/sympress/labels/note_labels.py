"""Labels of whole notes: by a rule over a lexicon (the paper's), or from symptoms that people coded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np
import polars as pl
from numpy.typing import NDArray

from sympress.errors import InputError, nearest
from sympress.labels.lexicon import Lexicon, Symptom, load_forms, load_lexicon, term_key, vaers_to_clinical
from sympress.labels.matching import FormMatcher, fold
from sympress.labels.mentions import LabelSet, Provenance
from sympress.labels.task import task_of

# Task `topic`: one symptom a note, by a rule over a lexicon (the paper's label).
#
# Source: `first` is the rule of the paper's authors (first lexicon entry, in lexicon order, that occurs in
# the lower-cased first 1,000 characters; the 5 most frequent; each class down-sampled to the smallest). We
# depart in one place: their lexicon order came from hashing a set, ours is the order of the file.


Rule = Literal["first", "earliest", "most"]

#: Fewer notes than this in a class cannot be split into train, validation and test.
MINIMUM_PER_CLASS = 10


def label_topic(
    frame: pl.DataFrame,
    lexicon: Lexicon,
    *,
    top_k: int = 5,
    rule: Rule = "first",
    text_window: int | None = 1000,
    balance: bool = True,
    seed: int = 42,
    minimum_per_class: int = MINIMUM_PER_CLASS,
    mask: Callable[[str], str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> LabelSet:
    """Return silver labels for the notes that carry one of the K most frequent symptoms.

    Args:
        frame: notes with columns `note_id` and `text`.
        lexicon: symptoms in order; the order decides `first` and every tie.
        top_k: K, how many of the most frequent symptoms are kept.
        rule: `first` (lexicon order), `earliest` (in the text; of two at one place the longest form) or
            `most` (mentions, where `chest pain` is not also one of pain).
        text_window: only the first so many characters are looked at; null looks at all.
        balance: down-sample each class to the smallest, the same notes for the same `seed`.
        seed: of the down-sampling.
        minimum_per_class: the fewest notes a class may have.
        mask: applied to the whole text before the window is cut (the clinical protocol masks
            de-identification placeholders); the paper's rule has none.
        progress: called after each note with how many are done, and how many there are.

    Returns:
        Labels in the order of `frame`; `counts` holds the notes at every step.

    Raises:
        InputError: an unknown rule, fewer than K symptoms found, or a class that is too small.
    """
    check_rule(rule)
    check_top_k(top_k)  # before the work
    matcher = FormMatcher(lexicon)
    found = np.empty(frame.height, dtype=np.int64)
    for row, text in enumerate(frame["text"]):
        found[row] = rule_symptom(text or "", matcher, rule=rule, text_window=text_window, mask=mask)
        if progress is not None:
            progress(row + 1, frame.height)
    return labels_of_found(
        frame["note_id"],
        found,
        lexicon,
        top_k=top_k,
        balance=balance,
        seed=seed,
        minimum_per_class=minimum_per_class,
        made=describe_rule(lexicon, rule, text_window) + (", masked" if mask else ""),
    )


def describe_rule(lexicon: Lexicon, rule: Rule, text_window: int | None) -> str:
    """Say in one line how `rule_symptom` labels a note."""
    window = "the whole text" if text_window is None else f"the first {text_window} characters"
    return f"{rule} symptom of lexicon {lexicon.name!r} in {window}"


def labels_of_found(
    note_ids: pl.Series,
    found: NDArray[np.int64],
    lexicon: Lexicon,
    *,
    top_k: int,
    balance: bool,
    seed: int,
    made: str,
    minimum_per_class: int = MINIMUM_PER_CLASS,
) -> LabelSet:
    """Return the label set of the notes in which `rule_symptom` found one of the K most frequent symptoms.

    Args:
        note_ids: all notes.
        found: `(notes,)` position in the lexicon, -1 where nothing was found.
        lexicon: its order decides ties.
        top_k: K.
        balance: down-sample each class to the smallest.
        seed: of the down-sampling.
        made: one line that says how `found` was made.
        minimum_per_class: the fewest notes a class may have.

    Raises:
        InputError: fewer than K symptoms found, or a class that is too small.
    """
    check_top_k(top_k)
    frequency = Counter(found[found >= 0].tolist())
    ranked = sorted(frequency, key=lambda position: (-frequency[position], position))
    if len(ranked) < top_k:
        raise InputError(_too_few_found([lexicon.symptoms[p].name for p in ranked], top_k, lexicon.name))
    counts = {
        "notes": len(found),
        "without a symptom": int((found < 0).sum()),
        "with a symptom": int((found >= 0).sum()),
    }
    columns = np.full(len(lexicon.symptoms) + 1, -1, dtype=np.int64)  # its last entry serves -1
    columns[ranked[:top_k]] = np.arange(top_k)
    return topic_labels(
        note_ids,
        columns[found],
        [lexicon.symptoms[position].name for position in ranked[:top_k]],
        provenance="silver",
        rule=made,
        counts=counts,
        balance=balance,
        seed=seed,
        minimum_per_class=minimum_per_class,
    )


def rule_symptom(
    text: str,
    matcher: FormMatcher,
    *,
    rule: Rule = "first",
    text_window: int | None = 1000,
    mask: Callable[[str], str] | None = None,
) -> int:
    """Return the position in the lexicon of the symptom that `rule` gives a text; -1 if none occurs."""
    folded = fold((mask(text) if mask else text)[:text_window])
    if rule == "first":
        first = matcher.first(folded)
        return -1 if first is None else first
    mentions = matcher.mentions(folded)
    if not mentions:
        return -1
    if rule == "earliest":
        return mentions[0].symptom
    mentioned = Counter(mention.symptom for mention in mentions)
    return min(mentioned, key=lambda position: (-mentioned[position], position))


def topic_labels(
    note_ids: pl.Series,
    classes: NDArray[np.int64],
    symptoms: Sequence[str],
    *,
    provenance: Provenance,
    rule: str,
    counts: dict[str, int],
    balance: bool,
    seed: int,
    minimum_per_class: int,
) -> LabelSet:
    """Return the label set of the notes whose class is not -1, balanced where asked.

    Args:
        note_ids: all notes.
        classes: `(notes,)` position in `symptoms`, -1 for a note that is left out.
        symptoms: the K names, most frequent first.
        provenance: where the labels come from.
        rule: one line that says how they were made.
        counts: the steps so far; those taken here are added.
        balance: down-sample each class to the smallest.
        seed: of the down-sampling.
        minimum_per_class: the fewest notes a class may have.

    Raises:
        InputError: a class has fewer than `minimum_per_class` notes.
    """
    sizes = np.bincount(classes[classes >= 0], minlength=len(symptoms))
    smallest = int(sizes.argmin())
    if sizes[smallest] < minimum_per_class:
        raise InputError(
            f"{symptoms[smallest]!r} has {sizes[smallest]} notes, too few to split "
            f"(at least {minimum_per_class}): read more notes or lower --top-k (now {len(symptoms)})"
        )
    kept = np.flatnonzero(classes >= 0)
    counts = counts | {f"among the {len(symptoms)} most frequent": len(kept)}
    counts |= {f"labelled {name}": int(size) for name, size in zip(symptoms, sizes, strict=True)}
    if balance:
        kept = _balanced(classes, int(sizes[smallest]), len(symptoms), seed)
        counts["after balancing"] = len(kept)
    targets = np.zeros((len(kept), len(symptoms)), dtype=np.uint8)
    targets[np.arange(len(kept)), classes[kept]] = 1
    return LabelSet("topic", tuple(symptoms), tuple(note_ids.gather(kept)), targets, provenance, rule, counts)


def _balanced(classes: NDArray[np.int64], size: int, symptom_count: int, seed: int) -> NDArray[np.int64]:
    """Return the rows of `size` notes of each class, drawn without replacement, in order."""
    generator = np.random.default_rng(seed)
    drawn = [
        generator.choice(np.flatnonzero(classes == k), size=size, replace=False) for k in range(symptom_count)
    ]
    return np.sort(np.concatenate(drawn)).astype(np.int64)


def check_rule(rule: str) -> None:
    """Refuse a rule that does not exist.

    Raises:
        InputError: naming those that do.
    """
    if rule not in get_args(Rule):
        raise InputError(
            f"unknown rule {rule!r}{nearest(rule, get_args(Rule))}: use {', '.join(get_args(Rule))}"
        )


def check_top_k(top_k: int) -> None:
    """Refuse fewer symptoms than a topic can be chosen from.

    Raises:
        InputError: there are fewer than 2.
    """
    if top_k < 2:
        raise InputError(f"--top-k is {top_k}: the task topic chooses between at least 2 symptoms")


def _too_few_found(names: list[str], top_k: int, lexicon: str) -> str:
    if not names:
        return (
            f"no symptom of lexicon {lexicon!r} occurs in these notes: "
            "check the text column, or use another --lexicon"
        )
    advice = f"use --top-k {len(names)}, or " if len(names) >= 2 else ""
    return (
        f"these notes show {len(names)} of the symptoms of lexicon {lexicon!r} ({', '.join(names)}), "
        f"--top-k asks for {top_k}: {advice}read more notes"
    )


# Labels from symptoms that people coded (VAERS: MedDRA preferred terms), tasks `topic` and `present`.


def check_labelling(task: str, labels: str) -> None:
    """Refuse a task, or a source of labels for it, that does not exist.

    Raises:
        InputError: naming those that do.
    """
    sources = task_of(task).sources
    if labels not in sources:
        raise InputError(f"task {task!r} has no labels from {labels!r}: use --labels {' or '.join(sources)}")


def label_coded_topic(
    frame: pl.DataFrame,
    *,
    top_k: int = 5,
    balance: bool = True,
    seed: int = 42,
    minimum_per_class: int = MINIMUM_PER_CLASS,
    rows: NDArray[np.bool_] | None = None,
    symptoms: Sequence[str] | None = None,
) -> LabelSet:
    """Return the one symptom of each note that carries exactly one of the K most frequent codes.

    Args:
        frame: notes with columns `note_id` and `codes`.
        top_k: K; ignored where `symptoms` is given.
        balance: down-sample each class to the smallest, the same notes for the same `seed`.
        seed: of the down-sampling.
        minimum_per_class: the fewest notes a class may have.
        rows: `(notes,)` only these notes count when the K codes are chosen (the training part: never
            choose on the test set). Null counts all.
        symptoms: the K codes, instead of choosing them.

    Raises:
        InputError: no coded symptoms, fewer than K different codes, or a class that is too small.
    """
    if symptoms is None and top_k < 2:
        raise InputError(f"--top-k is {top_k}: the task topic chooses between at least 2 symptoms")
    names = _chosen_codes(frame, top_k, rows, symptoms)
    targets = _targets(frame, names)
    carried = targets.sum(axis=1)
    counts = {
        "notes": frame.height,
        "without codes": frame["codes"].null_count(),
        f"with none of the {len(names)} codes": int((carried == 0).sum()) - frame["codes"].null_count(),
        "with several of them": int((carried > 1).sum()),
    }
    return topic_labels(
        frame["note_id"],
        np.where(carried == 1, targets.argmax(axis=1), -1).astype(np.int64),
        names,
        provenance="coded",
        rule=f"notes coded by people with exactly one of {len(names)} symptoms",
        counts=counts,
        balance=balance,
        seed=seed,
        minimum_per_class=minimum_per_class,
    )


def label_coded_present(
    frame: pl.DataFrame,
    *,
    top_k: int = 20,
    rows: NDArray[np.bool_] | None = None,
    symptoms: Sequence[str] | None = None,
) -> LabelSet:
    """Return which of the K most frequent codes each note carries; a note with none of them stays.

    Row i of the labels is row i of `frame`. Arguments are those of `label_coded_topic`.

    Raises:
        InputError: no coded symptoms, fewer than K different codes, or a note that nobody coded (`codes`
            is null, not an empty list): nobody knows whether it is a negative.
    """
    names = _chosen_codes(frame, top_k, rows, symptoms)
    uncoded = frame.filter(pl.col("codes").is_null())
    if uncoded.height:
        raise InputError(
            f"{uncoded.height} of {frame.height} notes (first: note {uncoded['note_id'][0]}) were not coded "
            "by people and would count as free of symptoms: leave them out, or give them an empty list"
        )
    targets = _targets(frame, names)
    counts = {
        "notes": frame.height,
        f"with none of the {len(names)} codes": int((targets.sum(axis=1) == 0).sum()),
    }
    counts |= {f"labelled {name}": int(targets[:, k].sum()) for k, name in enumerate(names)}
    return LabelSet(
        "present",
        tuple(names),
        tuple(frame["note_id"]),
        targets,
        "coded",
        f"which of {len(names)} symptoms people coded",
        counts,
    )


#: What `merge_codes` did, for the line that says how labels were made.
MERGED = "their codes merged into symptoms of the lexicon"
#: How many of the codes that name no symptom are counted by name.
NAMED_CODES = 10


def merge_codes(frame: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, int]]:
    """Return the notes with symptoms of the clinical lexicon, by id, in the place of codes, and the counts.

    Codes that name one symptom are merged (`surface.vaers_to_clinical`); codes that name none, a judgement, a
    test, a disease or a procedure, are left out. Nobody's note loses its being coded: a list may be empty.

    Args:
        frame: notes with the column `codes`.

    Raises:
        InputError: the notes carry no codes, or none that names a symptom.
    """
    _check_coded(frame)
    counted = frame["codes"].explode().drop_nulls().value_counts()
    names = {code: vaers_to_clinical(code) for code in counted["codes"]}
    known = {code: name for code, name in names.items() if name is not None}
    if not known:
        raise InputError("none of these notes' codes names a symptom that is known: use --labels coded")
    codes = pl.col("codes").list.eval(pl.element().replace_strict(known, default=None).drop_nulls())
    merged = frame.with_columns(codes.list.unique(maintain_order=True))
    left_out = counted.filter(~pl.col("codes").is_in([*known])).sort(
        ["count", "codes"], descending=[True, False]
    )
    counts = {
        "codes of the notes": int(counted["count"].sum()),
        "codes that name a symptom": int(counted.filter(pl.col("codes").is_in([*known]))["count"].sum()),
        "codes that name no symptom, left out": int(left_out["count"].sum()),
    }
    counts["codes merged with another of their note"] = counts["codes that name a symptom"] - int(
        merged["codes"].list.len().sum() or 0
    )
    counts |= {f"left out: {code}": count for code, count in left_out.head(NAMED_CODES).iter_rows()}
    return merged, counts


def coded_lexicon(symptoms: Sequence[str], lexicon: Lexicon) -> Lexicon:
    """Return a lexicon with one entry for each of `symptoms`, in that order.

    A symptom takes the forms that `data/coded_to_lexicon.tsv` lists for it and those of the entry of
    `lexicon` with its name or id (or with the name of such a form); without either, its own words are the
    only form. Unlike in a lexicon file, two symptoms may share a form.
    """
    listed = load_forms("coded_to_lexicon.tsv")
    entries = {fold(symptom.id or symptom.name): symptom for symptom in lexicon.symptoms}
    entries |= {fold(symptom.name): symptom for symptom in lexicon.symptoms}
    for one in load_lexicon("clinical").symptoms:  # an id that this lexicon lacks: by the symptom's name
        if one.id and fold(one.name) in entries:
            entries.setdefault(fold(one.id), entries[fold(one.name)])
    built = []
    for name in symptoms:
        seeds = (fold(name), *listed.get(term_key(name), ()))
        known = (form for seed in seeds if seed in entries for form in entries[seed].forms)
        built.append(Symptom(name, tuple(dict.fromkeys((*seeds, *known)))))
    return Lexicon(lexicon.name, tuple(built))


def _chosen_codes(
    frame: pl.DataFrame, top_k: int, rows: NDArray[np.bool_] | None, symptoms: Sequence[str] | None
) -> list[str]:
    """Return `symptoms`, or the K most frequent codes of the notes in `rows`, ties in alphabetical order."""
    _check_coded(frame)
    if symptoms is not None:
        return list(symptoms)
    if top_k < 1:
        raise InputError(f"--top-k is {top_k}: at least 1 symptom is needed")
    counted = frame if rows is None else frame.filter(pl.Series(rows))
    ranked = (
        counted.select(pl.col("codes").list.unique())
        .explode("codes")
        .drop_nulls()
        .group_by("codes")
        .len()
        .sort(["len", "codes"], descending=[True, False])["codes"]
        .to_list()
    )
    if len(ranked) < top_k:
        raise InputError(
            f"only {len(ranked)} coded symptoms occur in the {counted.height} notes they are chosen from, "
            f"--top-k asks for {top_k}: use --top-k {len(ranked)} or read more notes"
        )
    return ranked[:top_k]


def _check_coded(frame: pl.DataFrame) -> None:
    """Refuse notes that nobody coded."""
    if "codes" not in frame.columns or frame["codes"].null_count() == frame.height:
        raise InputError("these notes carry no human-coded symptoms: use --labels lexicon or silver")


def _targets(frame: pl.DataFrame, symptoms: Sequence[str]) -> NDArray[np.uint8]:
    """Return `(notes, K)`: 1 where the note carries the code."""
    columns = [frame["codes"].list.contains(name).fill_null(value=False).to_numpy() for name in symptoms]
    return np.stack(columns, axis=1).astype(np.uint8)
