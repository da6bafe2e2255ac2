"""What a note affirms: its mentions, and what a model says of them.

A symptom is affirmed where at least one mention of it is present. A model of whole notes confirms, doubts or
ranks what mentions say. It adds a symptom only where words of the note stand for it (`Evidence`), and never
where the note mentions the symptom and denies it, or tells it of another time or another person.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace

from sympress.labels.mentions import Mention, Reason, Source
from sympress.labels.task import affirms
from sympress.runtime.artifact import Evidence

#: Characters on either side of a mention in which the further words of an `Evidence` are looked for.
NEAR_CHARACTERS = 200
_BY_MODEL = Reason("model")


@dataclass(frozen=True, slots=True)
class Belief:
    """What a model of whole notes says of one symptom.

    Attributes:
        probability: 0..1, calibrated where the artifact carries a calibration.
        affirms: it reaches the symptom's threshold; of the task `topic`, it is the highest.
    """

    probability: float
    affirms: bool


@dataclass(frozen=True, slots=True)
class Sourced:
    """A mention and who found it."""

    mention: Mention
    source: Source


@dataclass(frozen=True, slots=True)
class Affirmed:
    """A symptom that a note affirms.

    Attributes:
        symptom: its id.
        probability: a model's, 0..1; None where none gave one.
        source: who found its present mentions.
        span: of the surest of them, or of the first; None where a model points at no words.
    """

    symptom: str
    probability: float | None
    source: Source
    span: tuple[int, int] | None


def weigh(found: Iterable[Sourced], beliefs: Mapping[str, Belief]) -> list[Sourced]:
    """`found` with the model's probability of its symptom for each present mention that has no score yet.

    A tagger has read the words themselves, so its score stays. What rules alone found is of both where the
    probability reaches the threshold.
    """
    weighed = []
    for one in found:
        mention, source = one.mention, one.source
        belief = beliefs.get(mention.symptom or "") if mention.assertion == "present" else None
        if belief is not None:
            if mention.score is None:
                mention = replace(mention, score=belief.probability)
            source = "both" if belief.affirms and source == "rules" else source
        weighed.append(Sourced(mention, source))
    return weighed


class EvidenceReader:
    """Finds the words that stand for a symptom which the model affirms and which no words name in full."""

    def __init__(self, table: Mapping[str, Evidence]) -> None:
        """Prepare `table`, by the model's symptom."""
        self._table = {
            symptom: (frozenset(one.mentions), _words_pattern(one.words)) for symptom, one in table.items()
        }

    def read(self, text: str, mentions: Sequence[Mention], beliefs: Mapping[str, Belief]) -> list[Sourced]:
        """At most one further mention of a symptom: the first words that stand for it, with its probability.

        None for a symptom that `text` mentions by itself, whatever it says of it.

        Args:
            text: the note.
            mentions: of the rules, by start.
            beliefs: of the model, by symptom.
        """
        asked = [symptom for symptom in self._table if symptom in beliefs and beliefs[symptom].affirms]
        if not asked:
            return []
        named = {one.symptom for one in mentions}
        found = []
        for symptom in asked:
            standing, near = self._table[symptom]
            if symptom in named:
                continue
            for one in mentions:
                if one.assertion == "present" and one.symptom in standing and near(text, one):
                    score = beliefs[symptom].probability
                    taken = replace(one, symptom=symptom, score=score, reason=_BY_MODEL)
                    found.append(Sourced(taken, "both"))
                    break
        return found


def _words_pattern(words: Sequence[str]) -> Callable[[str, Mention], bool]:
    """Whether one of `words` stands near a mention; a word that ends in `*` is the beginning of one."""
    if not words:
        return lambda _text, _mention: True
    parts = [re.escape(word.removesuffix("*")) + (r"\w*" if word.endswith("*") else "") for word in words]
    pattern = re.compile(rf"\b(?:{'|'.join(parts)})\b", re.IGNORECASE)

    def near(text: str, mention: Mention) -> bool:
        begin = max(0, mention.start - NEAR_CHARACTERS)
        return pattern.search(text, begin, mention.end + NEAR_CHARACTERS) is not None

    return near


def sourced(mentions: Iterable[Mention]) -> list[Sourced]:
    """Mentions that rules read in a note with the spans of a tagger, and who found each.

    The tagger scored what it found; a form of the lexicon gave the others their symptom.
    """
    return [Sourced(one, _finder(one)) for one in mentions]


def _finder(one: Mention) -> Source:
    if one.score is None:
        return "rules"
    return "model" if one.symptom is None else "both"


def by_tagger(spans: Iterable[Mention]) -> list[Sourced]:
    """Spans of a tagger without rules, which also says what each of them asserts."""
    return [Sourced(replace(one, reason=_BY_MODEL), "model") for one in spans]


def affirm(mentions: Iterable[Sourced], doubted: AbstractSet[str] = frozenset()) -> list[Affirmed]:
    """The symptoms of the present mentions, the most probable first, then those without a probability by id.

    Args:
        mentions: of the note.
        doubted: symptoms that the model may refuse, and does.
    """
    best: dict[str, Mention] = {}
    sources: dict[str, set[Source]] = {}
    for one in mentions:
        symptom = one.mention.symptom
        if symptom is None or symptom in doubted or not affirms(one.mention.assertion):
            continue
        sources.setdefault(symptom, set()).add(one.source)
        held = best.setdefault(symptom, one.mention)
        if (one.mention.score or 0.0) > (held.score or 0.0):
            best[symptom] = one.mention
    affirmed = [
        Affirmed(symptom, one.score, _together(sources[symptom]), (one.start, one.end))
        for symptom, one in best.items()
    ]
    return sorted(affirmed, key=lambda one: (one.probability is None, -(one.probability or 0.0), one.symptom))


def _together(sources: set[Source]) -> Source:
    return next(iter(sources)) if len(sources) == 1 else "both"
