"""The paper's rule, against a ten-line implementation of its own that shares no code with sympress."""

import csv
import gzip
import io
import json
import os
import re
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from sympress.errors import InputError
from sympress.labels.lexicon import Lexicon, Symptom, load_lexicon
from sympress.labels.note_labels import label_topic

#: In the order of the protocol.
FORMS = (
    "fever|cough|headache|nausea|vomiting|fatigue|chest pain|shortness of breath|"
    "abdominal pain|dizziness|diarrhea|constipation|joint pain|back pain|depression|anxiety|"
    "rash|itching|seizure|confusion|palpitations|insomnia|loss of appetite|urinary frequency|"
    "chills|syncope|sore throat|swelling|pain|malaise|cramps|numbness|tingling|blurry vision|"
    "weakness|edema|hallucinations|bleeding|difficulty breathing|burning"
)
EXAMPLES = [
    "Denies FEVER. Cough.", "cough, no other complaint", "Feverish, coughing", "Chest pain and nausea",
    "nausea\nvomiting", "pain in the chest", "Well child", "headache; fever", "Cough cough",
    "severe chest  pain", "x" * 994 + " cough", "x" * 995 + " cough", "", "Rash, itching, fever-free",
    "post-nausea",
]  # fmt: skip
PAPER = load_lexicon("paper")


def paper_rule(texts: list[str], k: int) -> tuple[list[str], list[str | None]]:
    order = FORMS.split("|")
    patterns = [(form, re.compile(rf"\b{form}\b")) for form in order]
    found = []
    for text in texts:
        window = text.lower()[:1000]
        found.append(
            next((form for form, pattern in patterns if form in window and pattern.search(window)), None)
        )
    counts = Counter(label for label in found if label)
    top = sorted(counts, key=lambda form: (-counts[form], order.index(form)))[:k]
    return top, [label if label in top else None for label in found]


def frame(texts: list[str]) -> pl.DataFrame:
    return pl.DataFrame({"note_id": [f"n{i}" for i in range(len(texts))], "text": texts})


def assert_same_as_paper(texts: list[str], k: int, minimum: int = 10) -> None:
    classes, expected = paper_rule(texts, k)
    notes = frame(texts)
    every = label_topic(notes, PAPER, top_k=k, balance=False, minimum_per_class=minimum)
    assert list(every.symptoms) == classes
    wanted = {f"n{i}": label for i, label in enumerate(expected) if label}
    assert dict(zip(every.note_ids, [classes[c] for c in every.classes], strict=True)) == wanted
    assert list(every.note_ids) == list(wanted), "the order of the frame"
    balanced = label_topic(notes, PAPER, top_k=k, minimum_per_class=minimum)
    smallest = min(Counter(wanted.values()).values())
    assert balanced.targets.sum(axis=0).tolist() == [smallest] * k
    assert all(wanted[n] == classes[c] for n, c in zip(balanced.note_ids, balanced.classes, strict=True))


def shared(name: str) -> Path:
    root = Path(__file__).resolve().parents[2]
    folder = Path(os.environ.get("SYMPRESS_DATA", root.parent / "shared" / "data")) / name
    if not folder.exists():
        pytest.skip(f"{folder}: the shared data is not here (set SYMPRESS_DATA)")
    return folder


@pytest.mark.parametrize("k", [2, 3, 4])
def test_same_labels_as_the_paper_on_examples(k: int) -> None:
    assert_same_as_paper(EXAMPLES, k, minimum=1)


def test_same_labels_as_the_paper_on_vaers() -> None:
    with zipfile.ZipFile(shared("vaers") / "2004VAERSData.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith("VAERSDATA.csv"))
        rows = csv.DictReader(io.TextIOWrapper(archive.open(name), encoding="latin-1", newline=""))
        texts = [row["SYMPTOM_TEXT"] or "" for row in rows]
    assert len(texts) > 10_000
    assert_same_as_paper(texts[:20_000], 5)


def test_same_labels_as_the_paper_on_mtsamples() -> None:
    with gzip.open(shared("mtsamples") / "mtsamples_sectioned.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    assert len(texts) == 2377
    assert_same_as_paper(texts, 5)


def test_targets_counts_and_provenance_by_hand() -> None:
    labels = label_topic(frame(EXAMPLES), PAPER, top_k=2, minimum_per_class=1, balance=False)
    # fever: 0, 7, 13; cough: 1, 8, 10 (cut at 1,000 characters, 11 has "coug"); nausea: 3, 4, 14.
    # Three times three notes: the tie goes by lexicon order.
    assert labels.symptoms == ("fever", "cough")
    assert labels.note_ids == ("n0", "n1", "n7", "n8", "n10", "n13")
    assert labels.targets.tolist() == [[1, 0], [0, 1], [1, 0], [0, 1], [0, 1], [1, 0]]
    assert labels.targets.dtype == np.uint8
    assert labels.provenance == "silver"
    assert labels.rule == "first symptom of lexicon 'paper' in the first 1000 characters"
    assert labels.counts == {
        "notes": 15, "without a symptom": 4, "with a symptom": 11, "among the 2 most frequent": 6,
        "labelled fever": 3, "labelled cough": 3,
    }  # fmt: skip


def test_other_rules() -> None:
    lexicon = Lexicon(
        "l",
        (Symptom("pain", ("pain",)), Symptom("chest pain", ("chest pain",)), Symptom("cough", ("cough",))),
    )
    texts = ["chest pain, cough, cough"] * 2 + ["cough; pain"] * 2 + ["pain and cough"] * 2

    def names(rule: str) -> list[str]:
        made = label_topic(frame(texts), lexicon, top_k=2, rule=rule, balance=False, minimum_per_class=1)  # type: ignore[arg-type]
        return [made.symptoms[c] for c in made.classes]

    with pytest.raises(InputError, match="show 1 of the symptoms"):
        names("first")
    made = label_topic(frame(texts), lexicon, top_k=3, rule="earliest", balance=False, minimum_per_class=1)
    assert [made.symptoms[c] for c in made.classes] == ["chest pain"] * 2 + ["cough"] * 2 + ["pain"] * 2
    assert names("most") == ["cough"] * 2 + ["pain"] * 4, "a tie goes to lexicon order; chest pain is no pain"


def test_the_window_and_the_mask() -> None:
    texts = ["fever " + "x" * 2000 + " cough"] * 2 + ["[**fever**] cough"] * 2 + ["cough"]
    lexicon = Lexicon("l", (Symptom("cough", ("cough",)), Symptom("fever", ("fever",))))
    windowed = label_topic(frame(texts), lexicon, top_k=2, balance=False, minimum_per_class=1)
    assert windowed.targets.sum(axis=0).tolist() == [3, 2]
    with pytest.raises(InputError):  # without a window every note has a cough
        label_topic(frame(texts), lexicon, top_k=2, text_window=None, minimum_per_class=1)
    swapped = Lexicon("l", tuple(reversed(lexicon.symptoms)))
    masked = label_topic(
        frame(texts), swapped, top_k=2, balance=False, minimum_per_class=1,
        mask=lambda text: text.replace("[**fever**]", " " * 11),
    )  # fmt: skip
    assert [masked.symptoms[c] for c in masked.classes] == ["fever", "fever", "cough", "cough", "cough"]
    assert masked.rule.endswith(", masked")


def test_balancing_depends_on_the_seed_only() -> None:
    notes = frame(["fever"] * 60 + ["cough"] * 20)
    draws = [label_topic(notes, PAPER, top_k=2, seed=seed).note_ids for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert len(draws[0]) == 40


NOTHING = (
    "no symptom of lexicon 'paper' occurs in these notes: check the text column, or use another --lexicon"
)


@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        (
            ["fever", "cough"] * 20, {"top_k": 5},
            "these notes show 2 of the symptoms of lexicon 'paper' (fever, cough), --top-k asks for 5: "
            "use --top-k 2, or read more notes",
        ),
        (
            ["fever"] * 20, {"top_k": 5},
            "these notes show 1 of the symptoms of lexicon 'paper' (fever), --top-k asks for 5: "
            "read more notes",
        ),
        (
            ["well"] * 20, {"top_k": 2},
            NOTHING,
        ),
        ([], {"top_k": 2}, NOTHING),
        (
            ["fever"] * 20 + ["cough"] * 9, {"top_k": 2},
            "'cough' has 9 notes, too few to split (at least 10): read more notes or lower --top-k (now 2)",
        ),
        (["fever"], {"top_k": 1}, "--top-k is 1: the task topic chooses between at least 2 symptoms"),
        (["fever"], {"rule": "frist"},
         "unknown rule 'frist' (did you mean 'first'?): use first, earliest, most"),
    ],
)  # fmt: skip
def test_errors(texts: list[str], options: dict[str, object], message: str) -> None:
    notes = pl.DataFrame({"note_id": [str(i) for i in range(len(texts))], "text": texts},
                         schema={"note_id": pl.String, "text": pl.String})  # fmt: skip
    with pytest.raises(InputError) as caught:
        label_topic(notes, PAPER, **options)  # type: ignore[arg-type]
    assert str(caught.value) == message
