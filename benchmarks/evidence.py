"""What each rule of the default answer costs and gains: `make bench-evidence`.

Every policy answers the same notes from the same logits and mentions:

- the VAERS reports of one year, against the symptoms of the lexicon that people's codes name;
- synthetic notes, against what they are known to affirm, over the symptoms that they are written about;
- notes without labels: how often a symptom is affirmed that every mention of the note denies, or none names.

The model's logits are kept in a folder under a key of the model and the notes, so that another reading of the
same notes takes minutes. No text is in it.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sympress.evaluation.significance import estimate, micro_f1, outcome_counts, resample_weights
from sympress.files import atomic_path, write_json
from sympress.labels.lexicon import load_lexicon, vaers_to_clinical
from sympress.labels.linking import SpanLinker
from sympress.labels.mentions import Mention
from sympress.notes.read import read_notes
from sympress.notes.synthesize import synthesize
from sympress.provenance import environment
from sympress.runtime.affirm import Belief, EvidenceReader, Sourced, affirm, weigh
from sympress.runtime.artifact import artifact_folder
from sympress.runtime.extractor import Extractor
from sympress.runtime.pack import candidates

SYNTHETIC_NOTES, RESAMPLES = 5_000, 1_000
_DECIDING = ("model.onnx", "tokenizer.json")


@dataclass(frozen=True)
class Read:
    """One note, read by rules and models.

    Attributes:
        text: the note.
        found: by rules, and by a tagger beside them where there is one.
        by_rules: symptoms that the rules alone affirm.
        beliefs: of the model of whole notes.
    """

    text: str
    found: Sequence[Sourced]
    by_rules: frozenset[str]
    beliefs: Mapping[str, Belief]

    @property
    def mentions(self) -> list[Mention]:
        """Those of `found`."""
        return [one.mention for one in self.found]

    def present(self) -> set[str]:
        """Symptoms with a present mention."""
        return {one.symptom for one in self.mentions if one.symptom and one.assertion == "present"}

    def denied(self) -> set[str]:
        """Symptoms that are mentioned, but never as present."""
        return {one.symptom for one in self.mentions if one.symptom} - self.present()

    def by_model(self) -> set[str]:
        """Symptoms whose probability reaches the threshold."""
        return {name for name, one in self.beliefs.items() if one.affirms}


#: What a note affirms, by the name of the policy that says so.
Policies = dict[str, Callable[[Read], set[str]]]


def policies(extractor: Extractor) -> Policies:
    """The old default, then each rule on top of the one before, then the two alone."""
    settings = extractor.settings
    decides = {name for name, one in settings.decides.items() if one == "model"}
    chosen, every = EvidenceReader(settings.evidence), EvidenceReader(candidates())

    def named(
        note: Read, reader: EvidenceReader | None = None, refusing: AbstractSet[str] = frozenset()
    ) -> set[str]:
        found = weigh(note.found, note.beliefs, doubts=not settings.tagger)
        if reader is not None:
            found = reader.read(note.text, found, note.beliefs)
        return {one.symptom for one in affirm(found, refusing & (set(note.beliefs) - note.by_model()))}

    return {
        "model or mention": lambda note: note.by_model() | note.present(),
        "+ never against every mention": lambda note: (note.by_model() - note.denied()) | note.present(),
        "+ never without words": named,
        "+ words that stand for a symptom, all of them": lambda note: named(note, every),
        "+ only those chosen on 2004": lambda note: named(note, chosen),
        "+ who decides, per symptom (the default)": lambda note: named(note, chosen, decides),
        "rules and tagger, without the model of whole notes": Read.present,
        "rules alone": lambda note: set(note.by_rules),
        "model of whole notes alone": Read.by_model,
    }


def read_all(extractor: Extractor, texts: Sequence[str], cache: Path) -> list[Read]:
    """Every text, read by rules and model; logits come from `cache` where it has them."""
    logits, rules = _logits(extractor, texts, cache), Extractor.load("rules")
    return [
        Read(text, extractor.mentions_in(text), _affirmed(rules, text), extractor.beliefs(row))
        for text, row in zip(texts, logits, strict=True)
    ]


def _affirmed(extractor: Extractor, text: str) -> frozenset[str]:
    return frozenset(one.symptom for one in extractor.answer(text).symptoms if one.symptom)


def _logits(extractor: Extractor, texts: Sequence[str], cache: Path) -> NDArray[np.float32]:
    digest = hashlib.sha256()
    settings = extractor.settings
    reading = (
        settings.max_tokens,
        settings.text_window,
        settings.lower,
        settings.mask_placeholders,
        settings.stride,
    )
    digest.update(repr(reading).encode())
    for name in _DECIDING:
        digest.update(hashlib.sha256((extractor.folder / name).read_bytes()).digest())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    kept = cache / f"{digest.hexdigest()[:32]}.npy"
    if kept.is_file():
        stored: NDArray[np.float32] = np.load(kept, allow_pickle=False)
        return stored
    cache.mkdir(parents=True, exist_ok=True)
    made = np.stack([extractor.note_logits(text)[0] for text in texts])
    with atomic_path(kept) as draft, draft.open("wb") as stream:
        np.save(stream, made, allow_pickle=False)
    return made


def score(
    answers: Mapping[str, Sequence[set[str]]], truth: Sequence[set[str]], symptoms: Sequence[str]
) -> dict[str, Any]:
    """Micro-F1 over `symptoms` of each policy, with a 95 % interval over notes."""
    wanted = _table(truth, symptoms)
    counts = np.concatenate([_counts(_table(each, symptoms), wanted) for each in answers.values()], axis=1)
    drawn = resample_weights(np.arange(len(truth)), 0, RESAMPLES)
    totals = np.concatenate([weights.astype(np.float64) @ counts for weights in drawn])
    found = {}
    for name, own in zip(answers, np.split(totals, len(answers), axis=1), strict=True):
        right, said, there = own[0]
        found[name] = {
            "micro_f1": estimate(micro_f1(own), "nothing to find").model_dump(),
            "precision": right / said if said else None,
            "recall": right / there if there else None,
        }
    return found


def _counts(answers: NDArray[np.bool_], truth: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Of each note how many symptoms are right, answered and there, `(notes, 3)`."""
    parts = np.split(outcome_counts(answers, truth), 3, axis=1)
    return np.stack([part.sum(axis=1) for part in parts], axis=1)


def _table(sets: Sequence[set[str]], symptoms: Sequence[str]) -> NDArray[np.bool_]:
    return np.array([[symptom in one for symptom in symptoms] for one in sets], dtype=bool)


def unlabelled(data: Path) -> Iterator[tuple[str, list[str]]]:
    """Names and texts of the sets without labels, that are there."""
    samples = data / "mtsamples" / "mtsamples_sectioned.jsonl.gz"
    if samples.is_file():
        with gzip.open(samples, "rt", encoding="utf-8") as lines:
            yield "MTSamples", [json.loads(line)["text"] for line in lines]
    visits = sorted((data / "aci_bench").glob("*.csv"))
    notes: list[str] = []
    for path in visits:
        with path.open(encoding="utf-8", newline="") as stream:
            notes += [row["note"] for row in csv.DictReader(stream) if row.get("note")]
    if notes:
        yield "ACI-Bench", list(dict.fromkeys(notes))


def contradictions(reads: Sequence[Read], policy: Callable[[Read], set[str]]) -> dict[str, int]:
    """Affirmed symptoms, and those of them that every mention denies."""
    affirmed = [policy(note) for note in reads]
    return {
        "affirmed": sum(map(len, affirmed)),
        "denied_by_every_mention": sum(
            len(one & note.denied()) for one, note in zip(affirmed, reads, strict=True)
        ),
    }


def unfounded(extractor: Extractor, texts: Sequence[str]) -> dict[str, int]:
    """As the extractor answers: affirmed symptoms, and those without a present mention of their own."""
    affirmed = missing = 0
    for text in texts:
        result = extractor.answer(text)
        present = {one.symptom for one in result.mentions if one.assertion == "present"}
        affirmed += len(result.symptoms)
        missing += sum(one.symptom not in present for one in result.symptoms)
    return {"notes": len(texts), "affirmed": affirmed, "without_a_present_mention": missing}


def measure(data: Path, model: Path, year: int, cache: Path) -> dict[str, Any]:
    """Everything that the results file holds."""
    extractor = Extractor.load(model)
    symptoms = extractor.symptoms
    rules = policies(extractor)
    reports = read_notes(data / "vaers" / f"{year}VAERSData.zip").frame
    texts, codes = reports["text"].to_list(), [set(each) for each in reports["codes"].to_list()]
    reads = read_all(extractor, texts, cache)
    answers = {name: [policy(note) for note in reads] for name, policy in rules.items()}
    coded = [{name for code in each if (name := vaers_to_clinical(code))} for each in codes]
    made = synthesize(SYNTHETIC_NOTES, seed=0).frame
    id_of = SpanLinker.of(load_lexicon("clinical"))
    synthetic = made["text"].to_list()
    known = [{id_of(name) or name for name in each} for each in made["codes"].to_list()]
    synthetic_reads = read_all(extractor, synthetic, cache)
    said = {name: [policy(note) for note in synthetic_reads] for name, policy in rules.items()}
    every = sorted(set().union(*known))
    sets = {f"VAERS {year}": (texts, reads), "synthetic": (synthetic, synthetic_reads)}
    sets |= {name: (notes, read_all(extractor, notes, cache)) for name, notes in unlabelled(data)}
    return {
        "format": 1,
        "year": year,
        "reports": len(texts),
        "symptoms": symptoms,
        "coded": score(answers, coded, symptoms),
        "synthetic_notes": len(synthetic),
        "synthetic_symptoms": len(every),
        "synthetic": score(said, known, every),
        "contradictions": {
            name: {policy: contradictions(each, rules[policy]) for policy in rules}
            for name, (_, each) in sets.items()
        },
        "default": {name: unfounded(extractor, notes) for name, (notes, _) in sets.items()},
        "environment": environment(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the JSON file."""
    parser = argparse.ArgumentParser(prog="python benchmarks/evidence.py", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the open data")
    parser.add_argument("--model", type=Path, default=None, help="artifact; the one in the box by default")
    parser.add_argument("--year", type=int, default=2005, help="of the VAERS reports")
    parser.add_argument("--cache", type=Path, default=Path("runs/evidence"), help="folder that keeps logits")
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args(arguments)
    write_json(given.output, measure(given.data, artifact_folder(given.model), given.year, given.cache))


if __name__ == "__main__":
    main()
