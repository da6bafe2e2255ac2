"""The symptom that a found span names, also where its words stand in no lexicon."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from sympress.labels.lexicon import Lexicon, holds
from sympress.labels.lexicon_file import AmbiguousForm
from sympress.labels.matching import fold, reduce_text

# A span is named in this order: its words are a form; with their spelling mended they are one; they are those
# of a form in another order or inflection; the words that count are; the words of a form are all in it, the
# word that the span is about among them ("fever of unknown origin"), and the rarest of such forms names it.
#
# Words that count are compared by stems, those of one group below as one; a word's weight is how rare it is
# among the forms (Spärck Jones 1972). Spelling is mended within one or two edits of a known word (Damerau
# 1964), which shares a text with one letter left out (Garbe 2012).


#: Letters from which a word may have one mistake, and two: of 4 to 6 and of 8 to 11 the smallest at which
#: fewer than 1 ordinary word in 20 is taken for a misspelled one, and fewer than 1 diagnosis in 14 is named.
ONE_MISTAKE, TWO_MISTAKES = 5, 10
_REMEMBERED = 10_000
_NO_WORD = re.compile(r"[\W_]+")

#: Words that mean the same in the name of a symptom; the first of each line is what the others are read as.
_GROUPS = """
pain painful pains ache aches aching achy sore soreness hurt hurts hurting discomfort
swell swelling swollen swells swelled edema oedema edematous oedematous puffy puffiness
red redness reddened reddish erythema erythematous
itch itchy itching itchiness pruritus pruritic
bleed bleeding bleeds bled hemorrhage haemorrhage hemorrhages haemorrhages hemorrhagic
numb numbness
weak weakness weakened weaker
stiff stiffness
blood bloody
cramp cramps cramping spasm spasms spasming
tired tiredness fatigue fatigued exhaustion exhausted
tremble trembling tremor tremors shaking shaky shakiness
dizzy dizziness
breath breathing breathe breathes breathless breathlessness respiration
vomit vomiting vomits vomited emesis
rash rashes eruption eruptions exanthem
lump lumps mass masses
enlarged enlargement enlarging
abdomen abdominal belly tummy
arm arms forearm brachial
leg legs
foot feet pedal
eye eyes ocular eyed
ear ears aural
nose nasal nostril nostrils
throat pharynx pharyngeal
face facial
chest thoracic thorax
skin cutaneous dermal
muscle muscles muscular
joint joints articular
bone bones osseous bony
heart cardiac
liver hepatic
kidney kidneys renal
lung lungs pulmonary
stomach gastric
tooth teeth dental
tongue lingual
mouth oral
vision visual sight eyesight seeing see
hear hearing
smell smelling olfactory
taste tasting
urine urinate urinating urination urinary micturition void voiding
stool stools feces faeces fecal faecal
bowel bowels intestine intestinal
vagina vaginal
breast breasts mammary
testicle testicles testicular testis testes
node nodes
walk walking gait ambulation ambulating walks
swallow swallowing deglutition swallows
sleep sleeping asleep
speak speech speaking talking talk
memory memories remembering remember
difficult difficulty difficulties trouble problem problems unable inability impaired impairment disturbance
""".strip().splitlines()
#: Words by what they are to the name of a symptom.
#:   more, less, odd: they turn what the other words say; those of one kind do not stand for those of another.
#:   well: a span that says so names no symptom.
#:   small: not compared, like those that say on which side.
#:   how: how, when and how much; not compared in a span, and forms that have them are compared as a whole.
#:   light: they lead to what a span is about; `episodes of vomiting` is about vomiting.
#:   preposition: what a span is about stands before the first of them.
_KINDS = """
more: increased increase increasing elevated elevation high higher raised excess excessive excessively gain
more: gained gaining rising
less: decreased decrease decreasing reduced reduction low diminished poor lack lacking loss lost losing
less: losses absent absence less deficient
odd: abnormal abnormality abnormalities abnormally anomaly anomalies
well: normal normally unremarkable intact good healthy regular supple symmetric symmetrical equal well
small: a an and any as at be been being both but by for from has have having he her hers him his i in into
small: is it its my of off on onto or our over she some than that the their them there these they this those
small: to upon was we were when where which while with within you your s x ii iii iv vi left right bilateral
small: bilaterally unilateral unilaterally side sided patient patients
how: very mild mildly moderate moderately severe severely marked markedly slight slightly significant
how: significantly intense extreme extremely worst terrible bad awful unbearable massive minimal mildest
how: great acute acutely chronic chronically sudden suddenly new recent recently persistent persisting
how: continuous constant constantly intermittent intermittently recurrent recurring repeated ongoing
how: occasional occasionally transient episodic longstanding progressive progressively worsening worsened
how: worse gradual gradually daily nightly again still much many several multiple diffuse diffusely
how: generalized generalised localized localised widespread all entire whole anterior posterior lateral
how: medial associated related induced initial initially subjective grade heard seen noted found located
how: palpable visible reported day days week weeks month months year years hour hours today yesterday now
how: since
light: episode episodes attack attacks bout bouts spell spells feeling feelings feels feel felt sensation
light: sensations sense senses complaint complaints symptom symptoms onset presence evidence sign signs
light: period periods event events amount amounts area areas degree kind type history report reports lot bit
light: case mood state status condition
preposition: of in on at to with over behind under around near into from by for during after when while
preposition: between throughout through across along inside within upon about against
""".strip().splitlines()


def _words_by_kind() -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for line in _KINDS:
        kind, _, words = line.partition(": ")
        found[kind] = found.get(kind, frozenset()) | frozenset(words.split())
    return found


_BY_KIND = _words_by_kind()
_SMALL, _HOW, _LIGHT, _WELL = (_BY_KIND[kind] for kind in ("small", "how", "light", "well"))
_PREPOSITIONS = _BY_KIND["preposition"]
_BESIDE = _SMALL | _HOW
#: Of a span that a tagger found, words that tell nothing by themselves.
_EMPTY = frozenset({"or", "no", "not", "do", "does", "did", "doing", "going", "getting", "other", "able"})
#: Words that turn `normal` and `well` into a finding: `loss of normal sensation`, `no longer normal`.
_TURNING = _BY_KIND["less"] | _BY_KIND["more"] | _BY_KIND["odd"] | {"not", "no", "never", "less", "hardly"}
#: Beginnings that turn a word into its opposite; no mistake of spelling makes one of another.
_OPPOSITES = (
    ("hyper", "hypo"), ("tachy", "brady"), ("macro", "micro"), ("poly", "oligo"), ("inter", "intra"),
    ("ab", "ad"), ("in", "de"), ("en", "ex"), ("endo", "exo"), ("pre", "post"), ("eso", "exo"),
    ("supra", "infra"), ("a", "eu"), ("pro", "pre"), ("pro", "retro"), ("myo", "neuro"),
)  # fmt: skip
_ENDINGS = "ations ation ional ions ion ness ings ing ated ating ies ied ed es ly s e".split()  # noqa: SIM905
_BRITISH_Z = re.compile(r"is(?=(?:ed|es|ing|ations?)$)")
_BRITISH_R = re.compile(r"(?<=[bt])re(?=s?$)")
_READ_AS = {word: line.split()[0] for line in _GROUPS for word in line.split()}
_READ_AS |= {word: f"<{kind}>" for kind in ("more", "less", "odd") for word in _BY_KIND[kind]}
_READ_AS |= {"non": "<not>"}
#: Letters that stand for one another in misspelled words.
_ALIKE = tuple(map(frozenset, ("aeiouy", "csz", "ck", "gj", "mn")))
#: These say nothing by themselves, and turn what the other words say.
_DIRECTIONS = frozenset({"<more>", "<less>", "<odd>", "<not>"})


class SpanLinker:
    """Names the symptom of a span; to be used as `runtime.tokens.Link`."""

    def __init__(
        self,
        forms: Mapping[str, Iterable[str]],
        *,
        whole: Mapping[str, AmbiguousForm | None] = MappingProxyType({}),
    ) -> None:
        """Prepare the forms of each symptom.

        Args:
            forms: by symptom id; of symptoms that share a form the first has it.
            whole: forms that name their symptom where they are all of a span, and elsewhere only where their
                condition holds; never without one.
        """
        self._owners: dict[str, str] = {}
        for symptom, own in forms.items():
            for form in own:
                self._owners.setdefault(_words(form), symptom)
        self._owners.pop("", None)
        self._whole = {_words(form): condition for form, condition in whole.items()}
        self._index: _Index | None = None
        self._known: dict[str, str | None] = {}

    @classmethod
    def of(cls, lexicon: Lexicon) -> SpanLinker:
        """What names spans by `lexicon`; a form of several symptoms names the first."""
        ids = [symptom.id or symptom.name for symptom in lexicon.symptoms]
        forms: dict[str, list[str]] = {}
        whole: dict[str, AmbiguousForm | None] = {}
        for name, symptom in zip(ids, lexicon.symptoms, strict=True):
            exact = (*symptom.denials, *symptom.misspellings)
            doubtful = {one.form: one for one in symptom.ambiguous}
            forms[name] = [*symptom.forms, *doubtful, *exact]
            whole |= {**doubtful, **dict.fromkeys(exact)}
        for form, places in lexicon.combined.items():
            forms[ids[places[0]]].append(form)
        return cls(forms, whole=whole)

    def __call__(self, surface: str) -> str | None:
        """The id of the symptom that `surface` names, or None."""
        words = _words(surface)
        if not words or not self._owners:
            return None
        known = self._known
        if words in known:
            return known[words]
        found = self._owners.get(words) or self._unwritten(words)
        if len(known) >= _REMEMBERED:  # replaced, never cleared: another thread may be reading it
            self._known = known = {}
        known[words] = found
        return found

    def _unwritten(self, words: str) -> str | None:
        """The symptom of words that are no form."""
        if self._index is None:  # most spans are a form: the rest is made ready when one is not
            self._index = _Index.of(self._owners, self._whole)
        index = self._index
        mended = " ".join(map(index.mended, words.split(" ")))
        found = index.joined.get(words.replace(" ", "")) or self._owners.get(mended)
        if found is not None:
            return found
        span, parts = _read(mended), mended.split(" ")
        if span.head is None or not _WELL.isdisjoint(parts):
            return None
        if all(word in _LIGHT or word in _BESIDE for word in parts):  # `feels`, `the worst episode`
            return None
        found = index.inflected.get(_inflected(mended)) or index.keys.get(span.key) or index.widest(span)
        return found or self._about(span, mended)

    def _about(self, span: _Read, words: str) -> str | None:
        """The symptom of the one word that a span is about, where it is a form and nothing turns it."""
        if span.key & _DIRECTIONS:
            return None
        for word in dict.fromkeys((span.about, span.about.removesuffix("s"), f"{span.about}s")):
            if word not in self._owners:
                continue
            condition = self._whole.get(word)
            if word not in self._whole or (condition is not None and _holds(condition, words, span.about)):
                return self._owners[word]
        return None


@dataclass(frozen=True, slots=True)
class _Read:
    """The words that count of a span or form.

    Attributes:
        key: what they are read as.
        head: that of the word which the span is about; None where there is none.
        about: this word.
    """

    key: frozenset[str]
    head: str | None
    about: str


def _read(words: str) -> _Read:
    """The words that count of `words`, which are lower-cased and between single spaces."""
    stems: set[str] = set()
    about, before, done = "", "", False
    parts = words.replace("low grade", "").split()
    light = all(word in _LIGHT or word in _BESIDE for word in parts)
    for word in parts:
        if word in _PREPOSITIONS:
            if word != "of":
                about = about or before  # `febrile episodes at night`, unlike `episodes of fever`
            done = done or about != ""
        elif word in _LIGHT and not light:
            about, before = (about, before) if done else ("", about or before)
        elif word not in _BESIDE and not word.isdigit():
            stem = _stem(word)
            stems.add(stem)
            if not done and stem not in _DIRECTIONS and (not about or not word.endswith(("ing", "ed"))):
                about = word
    about = about or before  # `febrile episodes`
    return _Read(frozenset(stems), _stem(about) if about else None, about)


def says_nothing(surface: str) -> bool:
    """Whether the words of a span name no finding: they say that all is well, or lead to what it is about."""
    words = _words(surface).split(" ")
    if all(word in _LIGHT or word in _BESIDE or word in _EMPTY or not word for word in words):
        return True
    well = _WELL.intersection(words) - ({"well"} if words[-1] != "well" else set())  # `well circumscribed`
    return bool(well) and all(word not in _TURNING for word in words)


def _inflected(words: str) -> frozenset[str]:
    """What all words but small ones are read as."""
    return frozenset(_stem(word) for word in words.split(" ") if word not in _SMALL)


@cache
def _stem(word: str) -> str:
    """What a word is read as: its group, else it in American spelling and without its endings."""
    if word in _READ_AS:
        return _READ_AS[word]
    if len(word) > 5:
        word = _BRITISH_Z.sub("iz", word.replace("ae", "e").replace("oe", "e"))
        word = _BRITISH_R.sub("er", word.replace("our", "or"))
    for _ in range(2):
        ending = next((one for one in _ENDINGS if word.endswith(one) and len(word) - len(one) >= 4), "")
        if not ending and word.endswith("s") and len(word) == 4 and word[-2] not in "sui":
            ending = "s"
        word = word.removesuffix(ending)
        if not ending or word in _READ_AS:
            break
    return _READ_AS.get(word, word)


@dataclass(frozen=True)
class _Index:
    """Forms by the words that count.

    Attributes:
        keys: symptom of each set of stems.
        inflected: symptom of each set of the stems of all words but small ones.
        joined: symptom of each form without its spaces, where it is long.
        postings: the sets that hold a stem.
        rarity: weight of each stem.
        words: how many forms hold each word as it is written, without mistakes.
        deletions: the words that a text with one letter left out may be.
    """

    keys: dict[frozenset[str], str]
    inflected: dict[frozenset[str], str]
    joined: dict[str, str]
    postings: dict[str, list[frozenset[str]]]
    rarity: dict[str, float]
    words: Counter[str]
    deletions: dict[str, list[str]]

    @classmethod
    def of(cls, owners: Mapping[str, str], whole: Collection[str]) -> _Index:
        """The index of `owners`, symptoms by form, but for the forms in `whole`."""
        votes: dict[frozenset[str], Counter[str]] = {}
        inflected: dict[frozenset[str], str] = {}
        words: Counter[str] = Counter()
        for form, symptom in owners.items():
            if form not in whole:
                words.update(form.split(" "))
                if " " not in form or len(_inflected(form)) > 1:  # `left effusion` is not any effusion
                    inflected.setdefault(_inflected(form), symptom)
                read = _read(form)
                if read.head is not None and _says_all(form, read):
                    votes.setdefault(read.key, Counter())[symptom] += 1
        keys = {key: counts.most_common(1)[0][0] for key, counts in votes.items()}
        postings: dict[str, list[frozenset[str]]] = {}
        for key in keys:
            for stem in key:
                postings.setdefault(stem, []).append(key)
        rarity = {stem: math.log1p(len(keys) / len(held)) for stem, held in postings.items()}
        joined = {form.replace(" ", ""): symptom for form, symptom in owners.items() if len(form) >= 8}
        deletions: dict[str, list[str]] = {}
        for word in words:
            if len(word) >= ONE_MISTAKE and word.isalpha():
                for short in _shortened(word):
                    deletions.setdefault(short, []).append(word)
        return cls(keys, inflected, joined, postings, rarity, words, deletions)

    def mended(self, word: str) -> str:
        """The known word that `word` is with a mistake or two; itself where it is known, or is none."""
        if len(word) < ONE_MISTAKE or word in self.words or not word.isalpha() or word in _READ_AS:
            return word
        if word in _BESIDE or word in _LIGHT or word in _WELL or _stem(word) in self.postings:
            return word
        near = {known for short in _shortened(word) for known in self.deletions.get(short, ())}
        ranked = [
            (distance, -self.words[known], known)
            for known in near
            if known[0] == word[0]
            and not _opposite(known, word)
            and (distance := _distance(known, word)) <= _mistakes(min(known, word, key=len))
        ]
        return min(ranked)[2] if ranked else word

    def widest(self, span: _Read) -> str | None:
        """The symptom of the heaviest set of several stems all in `span`, what it is about among them."""
        own, best, found = span.key, 0.0, None
        for key in self.postings.get(span.head or "", ()):
            if len(key) > 1 and key <= own and key & _DIRECTIONS == own & _DIRECTIONS:
                weight = math.fsum(self.rarity[stem] for stem in key)
                if weight > best:
                    best, found = weight, self.keys[key]
        return found


def _says_all(form: str, read: _Read) -> bool:
    """Whether the words of `form` that count say what it says, unlike those of `bad appetite`."""
    words = form.split(" ")
    return len(words) == 1 or (
        len(read.key) > 1 and not any(word in _HOW or word in _LIGHT for word in words)
    )


def _holds(condition: AmbiguousForm, words: str, word: str) -> bool:
    at = f" {words} ".index(f" {word} ")
    return condition.case == "any" and holds(condition, reduce_text(words), at, at + len(word))


def _mistakes(word: str) -> int:
    return 2 if len(word) >= TWO_MISTAKES else 1


def _shortened(word: str) -> set[str]:
    """`word`, and it without one letter."""
    return {word, *(word[:at] + word[at + 1 :] for at in range(1, len(word)))}


def _opposite(one: str, other: str) -> bool:
    return any(
        (one.startswith(a) and other.startswith(b)) or (one.startswith(b) and other.startswith(a))
        for a, b in _OPPOSITES
    )


def _alike(letter: str, other: str) -> bool:
    return any(letter in group and other in group for group in _ALIKE)


def _distance(one: str, other: str) -> int:
    """Letters to add, leave out, swap with a neighbour or replace by one alike (optimal string alignment).

    Another letter makes another word (`aplasia`, `aphasia`): it counts for two.
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        older, before = before, row
        row = [i]
        for j, opposite in enumerate(other, start=1):
            replaced = 0 if letter == opposite else 1 if _alike(letter, opposite) else 2
            cost = min(before[j] + 1, row[-1] + 1, before[j - 1] + replaced)
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == opposite:
                cost = min(cost, older[j - 2] + 1)
            row.append(cost)
    return row[-1]


def _words(form: str) -> str:
    return _NO_WORD.sub(" ", fold(form).replace("\u2019", "'")).strip()
