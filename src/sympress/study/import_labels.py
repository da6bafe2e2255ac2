"""What the labels of a fine-tuned classifier mean: which symptom each names, which tags make a mention."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sympress.deploy.decode import OUTSIDE, tags_of
from sympress.errors import InputError
from sympress.labels.gold.attributes import load_attributes
from sympress.labels.gold.mentions import PRECEDENCE
from sympress.labels.gold.symptoms import form_key, ids_by_form, symptoms_named
from sympress.labels.labelset import Task
from sympress.labels.lexicon import Lexicon
from sympress.labels.mentions import ASSERTIONS, Assertion
from sympress.labels.surface import codes_by_symptom
from sympress.training.adopt import Rows

_UNNAMED = re.compile(r"LABEL_\d+", re.IGNORECASE)
_NOTHING = frozenset({"none", "nothing", "other", "normal", "no finding", "no findings", "false", "0", "o"})
_ANYTHING = frozenset({"true", "1", "any", "yes"})
_BEGINS, _GOES_ON = "BUS", "ILE"  # BIO; BILOU and BIOES, with Last or End, Unit or Single
_TAG = re.compile(r"([BIOLUES])[-_](.+)")


@dataclass(frozen=True)
class Answers:
    """What an imported model answers with.

    Attributes:
        task: of a classifier of notes; None for tags.
        names: of its symptoms, or its tags, in order.
        rows: what each is made of.
        codes: of the symptoms that the lexicon has.
        remarks: what a user should know, a line each.
    """

    task: Task | None
    names: tuple[str, ...]
    rows: Rows
    codes: dict[str, list[str]]
    remarks: tuple[str, ...]


def read_note_labels(name: str, labels: Sequence[str], problem: str | None, lexicon: Lexicon) -> Answers:
    """What a classifier of notes answers.

    Labels that say that a note has no symptom are none of the symptoms: of several labels a note they are
    left out, of two the other one is the symptom. Labels that name a symptom of the lexicon are called by its
    id.

    Args:
        name: of the checkpoint, for messages.
        labels: of its logits, in order.
        problem: its `problem_type`.
        lexicon: which a label names a symptom of by its id, its name or one of its forms.

    Raises:
        InputError: nothing says whether a note has one label or several, or the labels name no symptoms.
    """
    if problem == "multi_label_classification":
        kept = [at for at, label in enumerate(labels) if not _denies(label, lexicon)]
        if not kept:
            raise InputError(f"{name}: its labels name no symptom ({_some(labels)}); name them in id2label")
        left = [label for label in labels if _denies(label, lexicon)]
        return _named(
            "present",
            [labels[at] for at in kept],
            [((at, 1.0),) for at in kept],
            lexicon,
            [f"left out, as they name no symptom: {_some(left)}"] if left else [],
        )
    if problem != "single_label_classification":
        raise InputError(
            f"{name}: problem_type in config.json is {problem or 'missing'}; say with "
            "--labels-per-note whether a "
            "note has `one` label or `several`"
        )
    return _one_a_note(name, labels, lexicon)


def _one_a_note(name: str, labels: Sequence[str], lexicon: Lexicon) -> Answers:
    denying = [at for at, label in enumerate(labels) if _denies(label, lexicon)]
    unnamed = [label for label in labels if _UNNAMED.fullmatch(label)]
    if unnamed or len(labels) < 2:
        raise InputError(
            f"{name}: one label a note, and {_some(unnamed or labels)} names no symptom; name "
            "its labels in id2label"
        )
    if not denying:
        return _named("topic", labels, [((at, 1.0),) for at in range(len(labels))], lexicon, [])
    if len(labels) > 2 or len(denying) > 1:
        raise InputError(
            f"{name}: one label a note, and {labels[denying[0]]!r} says that it has no "
            "symptom, which the task "
            "topic cannot answer; train with several labels a note (multi_label_classification)"
        )
    no = denying[0]
    symptom = labels[1 - no]
    if not load_attributes().label_parts(symptom).kind or form_key(symptom) in _ANYTHING:
        raise InputError(f"{name}: {symptom!r} names no symptom; name the symptom that it finds in id2label")
    remark = f"the logit of {symptom!r} is its own less that of {labels[no]!r}: the probability is the same"
    return _named("present", [symptom], [((1 - no, 1.0), (no, -1.0))], lexicon, [remark])


def _denies(label: str, lexicon: Lexicon) -> bool:
    """Whether a label says that there is no symptom; `loss of appetite` does not."""
    words = form_key(label)
    if words in _NOTHING:
        return True
    said = load_attributes().label_parts(label).assertions
    return "absent" in said and words not in ids_by_form(lexicon)


def _named(
    task: Task, labels: Sequence[str], rows: Rows, lexicon: Lexicon, remarks: Sequence[str]
) -> Answers:
    """Answers with the lexicon's ids for the labels that name one of its symptoms and no other label does."""
    ids, codes = ids_by_form(lexicon), codes_by_symptom(lexicon)
    meant = [ids.get(form_key(label)) for label in labels]
    times = Counter(one for one in meant if one is not None)
    names = tuple(
        label if one is None or times[one] > 1 else one for label, one in zip(labels, meant, strict=True)
    )
    own = [label for label, one in zip(labels, meant, strict=True) if one is None or times[one] > 1]
    said = list(remarks)
    if own:
        said.append(
            f"{len(own)} of {len(labels)} labels keep their names and have no code, as the lexicon "
            f"{lexicon.name} has no single symptom for them: {_some(own)}"
        )
    if len(set(names)) < len(names):  # a label that is called like the id of another's symptom
        names = tuple(labels)
    found = {
        name: codes[name] for name, one in zip(names, meant, strict=True) if name == one and one in codes
    }
    return Answers(task, names, rows, found, tuple(said))


def read_tags(name: str, labels: Sequence[str], lexicon: Lexicon, *, entities: Sequence[str] = ()) -> Answers:
    """What a classifier of tokens answers: `O`, then `B-` and `I-` of each assertion that its tags name.

    Args:
        name: of the checkpoint, for messages.
        labels: its tags, BIO, BILOU or BIOES.
        lexicon: which a tag may name a symptom of.
        entities: the entities that are symptoms (`problem` of `B-problem`); () for those that are called so.

    Raises:
        InputError: they are no such tags, or none of them names symptoms.
    """
    outside = [at for at, label in enumerate(labels) if label == OUTSIDE]
    tags = {at: match.groups() for at, label in enumerate(labels) if (match := _TAG.fullmatch(label))}
    if not outside or not tags:
        raise InputError(
            f"{name}: its labels are no tags ({_some(labels)}); they must be O, and B- and I- "
            "(or L-, U-) of entities"
        )
    kinds = list(dict.fromkeys(kind for _, kind in tags.values()))
    if unknown := [one for one in entities if one not in kinds]:
        raise InputError(f"{name}: no entity is called {unknown[0]!r}; there are {_some(kinds)}")
    symptoms = dict.fromkeys(entities) or symptoms_named(kinds, lexicon)
    if not symptoms:
        raise InputError(
            f"{name}: no entity is called a symptom; say which are with --entity ({_some(kinds)})"
        )
    said = {kind: _assertion(kind) for kind in symptoms}
    assertions = [one for one in ASSERTIONS if one in said.values()]
    groups = [[at for at in range(len(labels)) if at not in tags or tags[at][1] not in symptoms]]
    for assertion in assertions:
        for sides in (_BEGINS, _GOES_ON):
            mine = [at for at, (side, kind) in tags.items() if side in sides and said.get(kind) == assertion]
            if not mine:
                raise InputError(
                    f"{name}: no tag {sides[0]}- of "
                    f"{_some([kind for kind in said if said[kind] == assertion])}; "
                    "tags must tell where an entity begins and where it goes on"
                )
            groups.append(mine)
    rows = [tuple((at, 1.0) for at in group) for group in groups]
    return Answers(None, tags_of(assertions), rows, {}, _remarks(kinds, said))


def _assertion(kind: str) -> Assertion:
    said = load_attributes().label_parts(kind).assertions
    return next((one for one in PRECEDENCE if one in said), "present")


def _remarks(kinds: Iterable[str], said: dict[str, Assertion]) -> tuple[str, ...]:
    left = [kind for kind in kinds if kind not in said]
    lines = [f"symptoms are {_some(list(said))}" + (f"; left out: {_some(left)}" if left else "")]
    if set(said.values()) == {"present"}:
        lines.append(
            "the tags do not say what a note asserts: every span is called present, unless rules answer too "
            "(sympress pack --rules)"
        )
    return tuple(lines)


def _some(labels: Sequence[str]) -> str:
    """The first of them, for a line."""
    shown = ", ".join(labels[:5])
    return f"{shown} and {len(labels) - 5} more" if len(labels) > 5 else shown
