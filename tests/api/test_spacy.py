"""`nlp.add_pipe("sympress")`: spans with their assertions in a spaCy document."""

from __future__ import annotations

from dataclasses import replace
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


#: One token of spaCy each, with several mentions.
SHARED = "+cough/-fever. Has c/o n/v and SOB/CP, no N/V/D. abdominal pain+nausea-"


def said(doc, key="sympress"):
    return [
        (one.label_, one._.assertion, one._.code, one._.probability, one._.source) for one in doc.spans[key]
    ]


def wanted(result):
    return [(one.symptom, one.assertion, one.code, one.score, one.source) for one in result.mentions]


def test_each_of_several_mentions_in_one_token_has_its_own_values(nlp):
    doc = nlp(SHARED)
    assert len({(one.start, one.end) for one in doc.spans["sympress"]}) < len(doc.spans["sympress"])
    assert {one.assertion for one in doc._.symptoms.mentions} == {"present", "absent"}
    assert said(doc) == wanted(doc._.symptoms)
    box = spacy.tokens.DocBin([], store_user_data=True)
    box.add(doc)
    written = spacy.tokens.DocBin().from_bytes(box.to_bytes())
    for again in (
        spacy.tokens.Doc(spacy.blank("en").vocab).from_bytes(doc.to_bytes()),
        next(written.get_docs(spacy.blank("en").vocab)),
    ):
        assert said(again) == said(doc)
        assert again._.symptoms == doc._.symptoms


def test_a_users_own_span_says_what_its_tokens_and_label_name(nlp):
    doc = nlp("+cough/-fever. Has a rash")
    first = doc.spans["sympress"][0]
    at = (first.start, first.end)
    assert spacy.tokens.Span(doc, *at, label="fever")._.assertion == "absent"
    assert spacy.tokens.Span(doc, *at, label="cough")._.assertion == "present"
    assert spacy.tokens.Span(doc, *at)._.assertion == "present"
    assert spacy.tokens.Span(doc, *at, label="gout")._.assertion is None
    assert doc[0:]._.assertion is None
    doc.ents = [doc.spans["sympress"][-1]]
    assert doc.ents[0]._.assertion == "present"


def test_a_mention_is_corrected_and_a_users_own_span_keeps_what_it_is_given(nlp):
    doc = nlp("+cough/-fever. Has a rash")
    doc.spans["sympress"][0]._.assertion = "possible"
    assert [one._.assertion for one in doc.spans["sympress"]] == ["possible", "absent", "present"]
    own = spacy.tokens.Span(doc, len(doc) - 2, len(doc) - 1, label="mine")
    own._.assertion = "present"
    assert own._.assertion == "present"


def test_two_components_leave_each_other_alone(nlp):
    alone = nlp(NOTE)
    nlp.add_pipe("sympress", name="two", config={"model": "rules", "spans_key": "two"})
    nlp.get_pipe("two").model = lambda text: replace(
        alone._.symptoms,
        mentions=tuple(replace(one, assertion="possible") for one in alone._.symptoms.mentions[:2]),
    )
    doc = nlp(NOTE)
    assert said(doc) == said(alone)
    assert [one._.assertion for one in doc.spans["two"]] == ["possible", "possible"]
    assert doc._.symptoms == doc._.symptoms_of("sympress") == alone._.symptoms
    assert len(doc._.symptoms_of("two").mentions) == 2
    assert doc._.symptoms_of("three") is None


def test_joined_documents_keep_what_was_found_in_each(nlp, recwarn):
    docs = [nlp(NOTE), nlp(""), nlp(SHARED)]
    whole = spacy.tokens.Doc.from_docs(docs)
    assert not recwarn.list
    assert said(whole) == said(docs[0]) + said(docs[2])
    assert [whole.text[one.start : one.end] for one in whole._.symptoms.mentions] == [
        doc.text[one.start : one.end] for doc in docs for one in doc._.symptoms.mentions
    ]
    assert {one.symptom for one in whole._.symptoms.symptoms} == {
        one.symptom for doc in docs for one in doc._.symptoms.symptoms
    }
    again = nlp(whole)
    assert said(again) == wanted(again._.symptoms)
    assert len(again.user_data) == 1


def test_a_part_of_a_document_keeps_its_spans_values_and_no_result(nlp):
    doc = nlp(NOTE)
    part = doc[1:5].as_doc(copy_user_data=True)
    assert part._.symptoms is None
    assert spacy.tokens.Span(part, 2, 3, label="chills")._.assertion == "present"


def test_several_processes_find_the_same(nlp):
    texts = [SHARED, NOTE]
    assert [said(doc) for doc in nlp.pipe(texts, n_process=2, batch_size=1)] == [
        said(nlp(one)) for one in texts
    ]


def test_an_attribute_that_was_there_before_still_has_its_value(nlp):
    ours = spacy.tokens.Span.remove_extension("source")
    spacy.tokens.Span.set_extension("source", default="theirs")
    try:
        doc = nlp(NOTE)
        assert (doc.spans["sympress"][0]._.source, doc[0:1]._.source) == ("rules", "theirs")
    finally:
        spacy.tokens.Span.set_extension("source", getter=ours[2], setter=ours[3], force=True)
