"""What a study takes from annotated notes of other tools: which labels are symptoms, and what they assert."""

from __future__ import annotations

from pathlib import Path

import pytest

from sympress.cli.options import study_config
from sympress.config import StudyConfig
from sympress.errors import InputError
from sympress.labels.lexicon import load_lexicon
from sympress.labels.mentions import Mention, OtherSpan
from sympress.progress import Reporter
from sympress.studies.data import read_sources

TEXT = "No fever . Given aspirin .\n"


def i2b2(root: Path) -> Path:
    (root / "n1.txt").write_text(TEXT)
    (root / "n1.con").write_text('c="fever" 1:1 1:1||t="problem"\nc="aspirin" 1:4 1:4||t="treatment"\n')
    (root / "n1.ast").write_text('c="fever" 1:1 1:1||t="problem"||a="absent"\n')
    return root


def brat(root: Path, attribute: str) -> Path:
    (root / "n1.txt").write_text(TEXT)
    (root / "n1.ann").write_text(f"T1\tSymptom 3 8\tfever\nA1\t{attribute}\n")
    return root


def test_problems_are_symptoms_and_the_rest_is_kept_beside_them(tmp_path: Path, capsys) -> None:
    gold, notes = read_sources(StudyConfig(gold=i2b2(tmp_path)), load_lexicon("clinical"), Reporter())
    assert gold is not None
    assert gold[0].mentions == (Mention(3, 8, "fever", "absent"),)
    assert gold[0].others == (OtherSpan(17, 24, "treatment"),)
    assert notes.frame["note_id"].to_list() == ["n1"]
    said = " ".join(capsys.readouterr().err.split())
    assert "read 1 annotated notes with 1 mentions (problem); 0 without a marked assertion count as" in said


def test_an_attribute_is_refused_until_it_is_ignored(tmp_path: Path) -> None:
    folder = brat(tmp_path, "Seen_by T1 nurse")
    lexicon, reporter = load_lexicon("clinical"), Reporter(quiet=True)
    with pytest.raises(InputError, match=r"n1\.ann, line 2: the attribute 'Seen_by' is not known"):
        read_sources(StudyConfig(gold=folder), lexicon, reporter)
    config = study_config({"gold": folder, "ignore_attributes": ["Seen_by"]}, None)
    assert config.ignore_attributes == ("Seen_by",)
    gold, _ = read_sources(config, lexicon, reporter)
    assert gold is not None
    assert gold[0].mentions == (Mention(3, 8, "fever", "present"),)


def test_a_label_that_is_a_form_of_the_lexicon_names_its_symptom(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    path.write_text(
        '{"id": 1, "text": "No pyrexia, aspirin", "label": [[3, 10, "fever|absent"], [12, 19, "drug"]]}'
    )
    gold, _ = read_sources(StudyConfig(gold=path), load_lexicon("clinical"), Reporter(quiet=True))
    assert gold is not None
    assert gold[0].mentions == (Mention(3, 10, "fever", "absent"),)
    assert gold[0].others == (OtherSpan(12, 19, "drug"),)
