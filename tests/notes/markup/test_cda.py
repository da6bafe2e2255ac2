"""CDA and C-CDA: narrative, coded entries, and what they deny."""

import pytest

from sympress.notes.markup import read_view


def _denied(source: str) -> list[str]:
    view = read_view(source)
    assert view.markup == "cda"
    return [view.text[start:end] for start, end in view.denied]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("<list><item>Denies fever</item><item>Headache</item></list>", "• Denies fever\n• Headache"),
        ('<content styleCode="Bold">Denies</content> fever. <content>Rash</content>', "Denies fever. Rash"),
        ("<paragraph>No fever</paragraph><paragraph>cough</paragraph>", "No fever\n\ncough"),
        (
            "<section><title>Family History</title><text>Migraine<br/>Rash</text></section>",
            "Family History\nMigraine\nRash",
        ),
        ("<paragraph><caption>Denies</caption>fever</paragraph>", "Denies: fever"),
        ("<cda:text><cda:paragraph>No fever</cda:paragraph></cda:text>", "No fever"),
        ("<text><table><tbody><tr><td>Fever</td><td>No</td></tr></tbody></table></text>", "Fever\tNo"),
        ("<paragraph>a<content revised='delete'>fever</content></paragraph>", "a"),
        (
            "<ClinicalDocument><title>Note</title><recordTarget><name>Fever Smith</name></recordTarget>"
            "<author><name>Dr. Cough</name></author><component><structuredBody><component><section><text>No "
            "rash</text></section></component></structuredBody></component></ClinicalDocument>",
            "Note\nNo rash",
        ),
    ],
)
def test_the_narrative_is_read_in_lines_without_the_header(source: str, text: str) -> None:
    assert read_view(source).text == text


@pytest.mark.parametrize(
    ("source", "text", "denied"),
    [
        ('<observation negationInd="true"><value displayName="Fever"/></observation>', "Fever", ["Fever"]),
        ('<observation negationInd="false"><value displayName="Fever"/></observation>', "Fever", []),
        (
            "<act negationInd='1'><observation><code displayName='Rash'/></observation></act>",
            "Rash",
            ["Rash"],
        ),
        (
            "<observation><code displayName='Rash'/><value displayName='No'/></observation>"
            "<observation><code displayName='Nausea'/><value value='true'/></observation>",
            "Rash: No\nNausea: Yes",
            [],
        ),
        ("<observation><code displayName='Problem'/><value displayName='Fever'/></observation>", "Fever", []),
        ("<observation><code displayName='Pain'/><value value='0' unit='1'/></observation>", "", []),
        ("<observation nullFlavor='NI'><value displayName='Fever'/></observation>", "", []),
        ("<observation><value nullFlavor='UNK'/></observation>", "", []),
        (
            "<observation negationInd='true'><value><originalText>Chest pain</originalText>"
            "<translation displayName='Pain'/></value></observation>",
            "Chest pain",
            ["Chest pain"],
        ),
        ("<observation negationInd='true'><value displayName='Fever'/>", "Fever", ["Fever"]),
    ],
)
def test_an_entry_says_its_value_and_denies_what_is_negated(
    source: str, text: str, denied: list[str]
) -> None:
    assert read_view(source).text == text
    assert _denied(source) == denied


def test_an_entry_that_refers_to_the_narrative_denies_the_words_there() -> None:
    source = (
        "<section><text><list><item><content ID='p1'>Fever</content></item>"
        "<item ID='p2'>Cough</item></list></text>"
        "<entry><observation negationInd='true'><text><reference value='#p1'/></text>"
        "<value displayName='Febrile'/></observation></entry>"
        "<entry><observation><value displayName='Coughing'><originalText><reference value='#p2'/>"
        "</originalText></value></observation></entry></section>"
    )
    assert read_view(source).text == "• Fever\n• Cough"
    assert _denied(source) == ["Fever"]


def test_an_entry_repeats_nothing_that_its_section_says() -> None:
    narrative = "<section><text>Cough and fever for two days.</text>"
    section = narrative + "<entry><observation>{}</observation></entry></section>"
    said, new = ('<value displayName="Fever"/>', '<value displayName="Rash"/>')
    assert read_view(section.format(said)).text == "Cough and fever for two days."
    assert read_view(section.format(new)).text == "Cough and fever for two days.\n\nRash"


def test_a_display_name_has_its_place_in_the_attribute() -> None:
    source = '<observation><value code="1" displayName="Chest &amp; back pain"/></observation>'
    view = read_view(source)
    start, end = view.span(0, len(view.text))
    assert (view.text, source[start:end]) == ("Chest & back pain", "Chest &amp; back pain")
