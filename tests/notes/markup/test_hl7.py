"""HL7 v2: messages, segments and fields."""

import pytest

from sympress.notes.markup import read_view


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (
            "OBX|1|TX|^NOTE||No fever.~Cough x2 days.~Denies rash.||||||F",
            "NOTE:\nNo fever.\nCough x2 days.\nDenies rash.",
        ),
        ("OBX|1|TX|11506-3||No fever\rOBX|2|TX|11506-3||Cough\r", "No fever\nCough"),
        (
            "OBX|1|FT|1||No fever\\.br\\Cough\\.sp2\\Rash\\.in+4\\ x \\H\\bold\\N\\",
            "No fever\nCough\n\nRash x bold",
        ),
        ("OBX|1|TX|1||A\\T\\B \\S\\ \\R\\ \\E\\ \\F\\ C\\X0D\\D\\X41\\", "A&B ^ ~ \\ | C\nDA"),
        ("OBX|1|TX|1||pain for ~3 days~ rash", "pain for ~3 days\n rash"),
        ("NTE|1||No fever\nNTE|2|L|Cough", "No fever\nCough"),
        ("No fever.\\.br\\Cough for ~3 days~Rash", "No fever.\nCough for ~3 days\nRash"),
        ("OBX|1|TX|1||No fever\ncough goes on\rOBX|2|TX|1||Rash", "No fever\ncough goes on\nRash"),
        ("\vMSH|^~\\&|A|B\rPID|1||Fever^Cough\rOBR|1|||Rash\rOBX|1|TX|1||ok\r\x1c\r", "ok"),
        ("MSH#!*?%#A\rOBX#1#TX#1##No fever*Cough?T?x", "No fever\nCough%x".replace("?T?", "%")),
    ],
)
def test_observations_and_comments_are_read_in_lines(source: str, text: str) -> None:
    view = read_view(source)
    assert (view.text, view.markup) == (text, "hl7")


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("OBX|1|CE|Fever||N^No", "Fever: No"),
        ("OBX|1|CWE|45701-0^Fever^LN||LA32-8^No^LN", "Fever: No"),
        ("OBX|1|ST|FEVER^Fever||No", "Fever: No"),
        ("OBX|1|CE|1^Symptom^LN||1^Fever^SCT~2^Cough^SCT", "Symptom: Fever, Cough"),
        ("OBX|1|NM|8310-5^Body temperature^LN||38.5|Cel^Celsius^UCUM", "Body temperature: 38.5 C"),
        ("OBX|1|ID|Rash||Y", "Rash: Y"),
        ("OBX|1|TX|1^Note||CC: fever\rOBX|2|TX|1^Note||No rash", "Note:\nCC: fever\nNo rash"),
        ("OBX|1|SN|1^Days of fever||>^3", "Days of fever: >3"),
        (
            "OBX|1|FT|1^Family history||Migraine in mother.\\.br\\None else.",
            "Family history:\nMigraine in mother.\nNone else.",
        ),
    ],
)
def test_the_name_of_an_observation_asks_what_its_value_answers(source: str, text: str) -> None:
    assert read_view(source).text == text


@pytest.mark.parametrize(
    "source",
    [
        "OBX|1|ED|1^Fever||^^Base64^AAAA\rOBX|2|TX|1||ok",
        "OBX|1|TX|1||fever||||||W\rOBX|1|TX|1||ok||||||C",
        "OBX|1|TX|1^Fever||\rOBX|2|TX|1||ok",
        "OBX|1|DT|1^Fever onset||20240131\rOBX|2|TX|1||ok",
        "OBX|1|TX|1||ok\rOBX|2|T",
        "OBX|1|TX|1||ok\rOBX",
    ],
)
def test_what_is_no_text_of_a_result_is_left_out(source: str) -> None:
    assert read_view(source).text.split("\n")[0] == "ok"


def test_an_escape_has_its_place() -> None:
    source = "OBX|1|FT|1||no\\T\\fever"
    view = read_view(source)
    assert view.text == "no&fever"
    assert source[slice(*view.span(2, 3))] == "\\T\\"
    assert source[slice(*view.span(3, 8))] == "fever"
