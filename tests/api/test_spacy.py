"""`nlp.add_pipe("sympress")`: spans with their assertions in a spaCy document."""

from __future__ import annotations

from importlib import metadata

import pytest

spacy = pytest.importorskip("spacy", reason="spaCy is not installed: the extra `spacy` brings it")
NOTE = "reports fever and chills, denies cough"


@pytest.fixture
def nlp():
    import sympress.spacy_component  # noqa: F401  installed, the entry point of spacy_factories does this

    pipeline = spacy.blank("en")
    pipeline.add_pipe("sympress", config={"model": "rules"})
    return pipeline


def test_spans_carry_symptom_and_assertion(nlp):
    doc = nlp(NOTE)
    assert [(span.text, span.label_, span._.assertion) for span in doc.spans["sympress"]] == [
        ("fever", "fever", "present"),
        ("chills", "chills", "present"),
        ("cough", "cough", "absent"),
    ]
    assert doc.spans["sympress"][0]._.code == "HP:0001945"
    assert {one.symptom for one in doc._.symptoms.symptoms} == {"fever", "chills"}


def test_a_stream_of_texts_gives_what_each_text_gives(nlp):
    texts = [NOTE, "", "no rash"] * 3
    piped = list(nlp.pipe(texts, batch_size=2))
    for doc, text in zip(piped, texts, strict=True):
        alone = nlp(text)
        assert doc.text == text
        assert doc._.symptoms == alone._.symptoms
        assert [one.label_ for one in doc.spans["sympress"]] == [
            one.label_ for one in alone.spans["sympress"]
        ]


def test_a_document_is_written_and_read_with_what_was_found(nlp):
    """As spaCy does between the processes of `nlp.pipe(..., n_process=2)`, and in a DocBin."""
    doc = nlp(NOTE)
    again = spacy.tokens.Doc(nlp.vocab).from_bytes(doc.to_bytes())
    assert again._.symptoms == doc._.symptoms
    assert again._.symptoms.text == NOTE
    assert [(one.label_, one._.assertion) for one in again.spans["sympress"]] == [
        (one.label_, one._.assertion) for one in doc.spans["sympress"]
    ]
    assert spacy.blank("en")("fever")._.symptoms is None


def test_a_span_that_ends_inside_a_token_has_the_whole_token(nlp):
    doc = nlp("fever/chills")
    assert all(span.text == "fever" or "chills" in span.text for span in doc.spans["sympress"])
    assert len(doc.spans["sympress"]) == 2


def test_a_saved_pipeline_finds_the_same(nlp, tmp_path):
    nlp.to_disk(tmp_path / "pipeline")
    again = spacy.load(tmp_path / "pipeline")
    doc = again(NOTE)
    assert [one.label_ for one in doc.spans["sympress"]] == ["fever", "chills", "cough"]


def test_the_entry_point_names_the_factory():
    from pathlib import Path
    from tomllib import loads

    project = loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = project["entry-points"]["spacy_factories"]["sympress"]
    point = metadata.EntryPoint("sympress", named, "spacy_factories")
    assert point.load().__name__ == "create"
