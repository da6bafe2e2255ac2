"""The names of the Human Phenotype Ontology that ship."""

from __future__ import annotations

import gzip
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from benchmarks.hpo import RULES, Filter, main, read_obo

ONTOLOGY = """format-version: 1.2
data-version: hp/releases/2026-02-16

[Term]
id: HP:0000001
name: All

[Term]
id: HP:0000005
name: Mode of inheritance
is_a: HP:0000001 ! All

[Term]
id: HP:0000118
name: Phenotypic abnormality
is_a: HP:0000001 ! All

[Term]
id: HP:0001085
name: Papilledema
synonym: "Optic disc edema" EXACT []
synonym: "Papilloedema" EXACT uk_spelling []
synonym: "Blurred \\"disc\\"" EXACT layperson []
synonym: "Eye swelling" BROAD layperson []
synonym: "PE" EXACT abbreviation []
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0002664
name: Neoplasm
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0000009
name: Lump of the ear
synonym: "papilledema" EXACT []
is_a: HP:0002664 ! Neoplasm
is_a: HP:0000118 ! Phenotypic abnormality

[Term]
id: HP:0000010
name: obsolete Thing
is_obsolete: true
"""
RULES_OF_TEST = """
root = "HP:0000118"
[left_out]
"HP:0002664" = "neoplasm"
[words]
diagnosis = ["syndromes?", "heart attacks?"]
[not_tumours]
words = ["hematomas?"]
[results]
first = ["elevat\\\\w+"]
branches = []
tests = ["creatinine"]
[ordinary]
words = ["shock"]
patterns = ["small fingers?"]
"""


@pytest.mark.parametrize("name", ["hp.obo", "hp.obo.gz"])
def test_names_and_exact_synonyms_are_written_as_they_are(tmp_path: Path, name: str) -> None:
    source, rules, output = tmp_path / name, tmp_path / "rules.toml", tmp_path / "terms.tsv"
    source.write_bytes(gzip.compress(ONTOLOGY.encode()) if name.endswith(".gz") else ONTOLOGY.encode())
    rules.write_text(RULES_OF_TEST, encoding="utf-8")
    assert main([str(source), "-o", str(output), "--rules", str(rules)]) == 0
    lines = [line for line in output.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    assert lines == [
        "id\tparents\tname\tforms",
        "0000118\t0000001\tPhenotypic abnormality\tPhenotypic abnormality",
        '0001085\t0000118\tPapilledema\tPapilledema|Optic disc edema|Papilloedema|Blurred "disc"',
        "0002664\t0000118\tNeoplasm\t",
        "0000009\t0002664|0000118\tLump of the ear\t",
    ]


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ("Chronic pain", None),
        ("Subdural hematoma", None),
        ("Lipoma", "diagnosis"),
        ("Multiple lipomas", "diagnosis"),
        ("Down syndrome", "diagnosis"),
        ("Heart attack", "diagnosis"),
        ("Elevated creatinine", "result"),
        ("Elevated hemidiaphragm", None),
        ("Shock", "ordinary"),
        ("Small finger", "ordinary"),
        ("ADHD", "abbreviation"),
        ("RBD", "abbreviation"),
        ("a b c d e f g h i", "no form of a note"),
        ("-", "no form of a note"),
    ],
)
def test_a_form_is_left_out_for_a_reason(form: str, reason: str | None) -> None:
    assert Filter(tomllib.loads(RULES_OF_TEST)).reason(form, measured=False) == reason


def test_a_result_is_known_by_its_branch() -> None:
    assert Filter(tomllib.loads(RULES_OF_TEST)).reason("Elevated citrulline", measured=True) == "result"


@pytest.mark.parametrize("text", ["", "data-version: go/releases/2026-01-01\n"])
def test_what_is_no_release_of_the_ontology_is_refused(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.obo").write_text(text, encoding="utf-8")
    assert main([str(tmp_path / "x.obo"), "-o", str(tmp_path / "out")]) == 2
    assert "no data-version of HPO; give hp.obo or hp.obo.gz" in capsys.readouterr().err
    assert main([str(tmp_path / "gone.obo"), "-o", str(tmp_path / "out")]) == 2


def test_the_file_that_ships_is_made_of_its_release_and_these_rules(
    shared_data: Path, tmp_path: Path
) -> None:
    source = shared_data / "ontology" / "hp.obo.gz"
    assert main([str(source), "-o", str(tmp_path / "terms.tsv")]) == 0
    shipped = resources.files("sympress.labels") / "data" / "hpo" / "terms.tsv"
    assert (tmp_path / "terms.tsv").read_bytes() == shipped.read_bytes()


def test_no_term_that_ships_is_altered(shared_data: Path) -> None:
    terms = read_obo(shared_data / "ontology" / "hp.obo.gz").terms
    text = (resources.files("sympress.labels") / "data" / "hpo" / "terms.tsv").read_text("utf-8")
    for line in [line for line in text.splitlines() if not line.startswith("#")][1:]:
        code, parents, name, forms = line.split("\t")
        term = terms[f"HP:{code}"]
        assert (term.name, [f"HP:{one}" for one in parents.split("|")]) == (name, term.parents)
        assert set(filter(None, forms.split("|"))) <= {term.name, *term.synonyms}


def test_every_rule_names_a_term_of_the_release(shared_data: Path) -> None:
    ontology = read_obo(shared_data / "ontology" / "hp.obo.gz")
    rules = tomllib.loads(RULES.read_text(encoding="utf-8"))
    named = [rules["root"], *rules["left_out"], *rules["results"]["branches"]]
    assert all(one in ontology.below(rules["root"]) for one in named)
