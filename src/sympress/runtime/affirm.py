"""What a note affirms: its mentions, and what a model says of them.

A symptom is affirmed where at least one mention of it is present. A model of whole notes confirms, doubts or
ranks what mentions say. It adds a symptom only where words of the note stand for it (`Evidence`), and never
where the note mentions the symptom and denies it, or tells it of another time or another person.

The model has seen which words of a report go with a code; rules read which of a symptom's own words a note
affirms and which it denies. Neither knows what the other does, so a small logistic model per symptom weighs
the two (`Fusion`). It is fitted on validation notes (`evaluation.probabilities.fit_fusion`) and stored in
`extractor.json`. Numpy only.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from sympress.labels.mentions import Mention, Reason, Source
from sympress.labels.task import affirms

# One logit per symptom from a model's logit and from what rules find in the note.


Floats = NDArray[np.float64]

#: What the rules say of one symptom of a note: a mention of it is present; it is mentioned, and none is.
SIGNS = ("present", "denied")


class Fusion(BaseModel):
    """The fused logit is `slope * logit + bias`, plus `present` or `denied` where the rules find that.

    Attributes:
        mentions: of each symptom of the model, the symptoms of the lexicon that stand for it; none where no
            words do, so that the model decides alone.
        slope: positive: among notes of which the rules say the same, the model's order stays.
        bias: added to every note.
        present: added where a mention is present.
        denied: added where the symptom is mentioned and no mention of it is present.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mentions: list[list[str]]
    slope: list[float]
    bias: list[float]
    present: list[float]
    denied: list[float]

    @field_validator("slope")
    @classmethod
    def _rising(cls, slopes: list[float]) -> list[float]:
        if not all(slope > 0 for slope in slopes):
            raise ValueError("a slope is not positive")
        return slopes

    @model_validator(mode="after")
    def _of_one_size(self) -> Self:
        sizes = {len(one) for one in (self.mentions, self.slope, self.bias, self.present, self.denied)}
        if len(sizes) > 1:
            raise ValueError("its lists are not of one length")
        return self

    @classmethod
    def neutral(cls, mentions: Sequence[Sequence[str]]) -> Self:
        """The fusion that leaves every logit as it is."""
        zeros = [0.0] * len(mentions)
        return cls(
            mentions=[list(one) for one in mentions],
            slope=[1.0] * len(mentions),
            bias=zeros,
            present=zeros,
            denied=zeros,
        )

    def signs(self, mentions: Iterable[Mention]) -> Floats:
        """What the `mentions` of a note say, `(K, 2)` of 0 and 1 in the order of `SIGNS`."""
        found = np.zeros((len(self.mentions), len(SIGNS)))
        for one in mentions:
            for column in self._columns.get(one.symptom or "", ()):
                found[column, 0 if affirms(one.assertion) else 1] = 1.0
        found[:, 1] *= 1.0 - found[:, 0]
        return found

    def apply(self, logits: NDArray[np.float32], signs: Floats) -> NDArray[np.float32]:
        """Fused logits `(..., K)` of logits `(..., K)` and signs `(..., K, 2)`."""
        slope, bias, weights = self._numbers
        fused = slope * logits + bias + (signs * weights).sum(axis=-1)
        return np.asarray(fused, dtype=np.float32)

    @property
    def weighed(self) -> Container[str]:
        """The symptoms of the lexicon whose mentions count."""
        return self._columns.keys()

    @cached_property
    def _numbers(self) -> tuple[Floats, Floats, Floats]:
        """Slope, bias `(K,)` and weights of the signs `(K, 2)`."""
        weights = np.stack([self.present, self.denied], axis=-1)
        return np.array(self.slope), np.array(self.bias), weights

    @cached_property
    def _columns(self) -> dict[str, list[int]]:
        """The model's symptoms, by number, that each symptom of the lexicon stands for."""
        columns: dict[str, list[int]] = {}
        for column, ids in enumerate(self.mentions):
            for one in set(ids):
                columns.setdefault(one, []).append(column)
        return columns


# What is affirmed, by mentions and by what a model believes.


_Word = Annotated[str, Field(max_length=200)]
#: Characters on either side of a mention in which the further words of an `Evidence` are looked for.
NEAR_CHARACTERS = 200
_BY_MODEL = Reason("model")


class Evidence(BaseModel):
    """Words that stand for a symptom of the model which they do not name in full.

    Of `redness at the injection site` a report may say `redness` and leave the place out.

    Attributes:
        mentions: symptoms of the lexicon; a present mention of one of them stands for the model's symptom
            where the model affirms it.
        words: one of which must be near that mention; one that ends in `*` is the beginning of a word. They
            tell the place of what is mentioned: the model's symptom is then its more exact name, unless the
            model affirms the other one as well. None asks for no further word.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    mentions: list[str]
    words: list[_Word] = Field(default_factory=list, max_length=1_000)


class Belief(NamedTuple):
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


def weigh(found: Iterable[Sourced], beliefs: Mapping[str, Belief], *, doubts: bool = True) -> list[Sourced]:
    """`found` with the model's probability of its symptom for each present mention that has no score yet.

    A tagger has read the words themselves, so its score stays. What rules alone found is of both where the
    probability reaches the threshold.

    Args:
        found: by rules and a tagger.
        beliefs: of the model, by symptom.
        doubts: whether a mention also has a probability that does not reach the threshold. Beside a tagger
            none has: one number would then be of the words and the other of the whole note, and a model that
            knows one kind of note doubts what is plain in another.
    """
    weighed = []
    for one in found:
        mention, source = one.mention, one.source
        belief = beliefs.get(mention.symptom or "") if mention.assertion == "present" else None
        if belief is not None:
            if mention.score is None and (doubts or belief.affirms):
                mention = replace(mention, score=belief.probability)
            source = "both" if belief.affirms and source == "rules" else source
        weighed.append(Sourced(mention, source))
    return weighed


class EvidenceReader:
    """Finds the words that stand for a symptom which the model affirms and which no words name in full."""

    def __init__(self, table: Mapping[str, Evidence]) -> None:
        """Prepare `table`, by the model's symptom."""
        self._table = {
            symptom: (frozenset(one.mentions), _words_pattern(one.words) if one.words else None)
            for symptom, one in table.items()
        }

    def read(self, text: str, found: Sequence[Sourced], beliefs: Mapping[str, Belief]) -> list[Sourced]:
        """`found`, where a mention may have a more exact name, and mentions of what else its words stand for.

        Of a symptom that the model affirms and `found` does not name, whatever the note says of it: where
        further words near a mention tell its place, and the model does not affirm the symptom that the
        mention has, it is a mention of the more exact one instead. Otherwise the first of the mentions that
        stand for the symptom is one of it too.

        Args:
            text: the note.
            found: by rules and a tagger, by start.
            beliefs: of the model, by symptom.
        """
        asked = [symptom for symptom in self._table if symptom in beliefs and beliefs[symptom].affirms]
        if not asked:
            return list(found)
        named = {one.mention.symptom for one in found}
        answers, further = list(found), []
        for symptom in asked:
            standing, near = self._table[symptom]
            if symptom in named:
                continue
            hits = [
                (at, Sourced(_renamed(one.mention, symptom, beliefs[symptom].probability), "both"))
                for at, one in enumerate(found)
                if one.mention.assertion == "present"
                and one.mention.symptom in standing
                and (near is None or near(text, one.mention))
            ]
            refused = [
                (at, taken)
                for at, taken in hits
                if near is not None and _refused(answers[at].mention, beliefs)
            ]
            for at, taken in refused:
                answers[at] = taken
            further += [] if refused else [taken for _, taken in hits[:1]]
        return answers + further


def _renamed(mention: Mention, symptom: str, probability: float) -> Mention:
    return replace(mention, symptom=symptom, score=probability, reason=_BY_MODEL)


def _refused(mention: Mention, beliefs: Mapping[str, Belief]) -> bool:
    """Whether the model knows the symptom of a mention, and does not affirm it."""
    belief = beliefs.get(mention.symptom or "")
    return belief is not None and not belief.affirms


def _words_pattern(words: Sequence[str]) -> Callable[[str, Mention], bool]:
    """Whether one of `words` stands near a mention; a word that ends in `*` is the beginning of one."""
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
