"""What is marked beside a symptom: signs, boxes, answers, ticks under the names of columns."""

import pytest

from sympress.labels.assertion.answers import Mark, Row, answer_of_columns, names_columns

P, A, Q = "present", "absent", "possible"


def said(told, text: str) -> list[str]:
    return [assertion for _, assertion in told(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Every mark of a row stands on the same side.
        ("Fever (-) Cough (+) Rash (-)", [A, P, A]),
        ("(-) Fever (+) Cough (-) Rash", [A, P, A]),
        ("fever [-] cough [+] rash [-]", [A, P, A]),
        ("[-] fever [+] cough [-] rash", [A, P, A]),
        ("fever (neg) cough (pos) rash (neg)", [A, P, A]),
        ("Fever - resolved. Cough - ongoing.", ["historical", P]),
        ("Fever (-), cough (+), rash (-)", [A, P, A]),
        ("(+) fever, (-) cough, (-) rash", [P, A, A]),
        ("fever (no), cough (yes), rash (denied)", [A, P, A]),
        ("Fever [No] Cough [Yes] Rash [No]", [A, P, A]),
        # Signs that are glued to the words.
        ("-fever -cough +rash", [A, A, P]),
        ("+fever -cough -rash", [P, A, A]),
        ("−fever, −cough, +rash", [A, A, P]),
        ("– fever\n– cough\n+ rash", [A, A, P]),
        ("Cough+ Fever- Rash-", [P, A, A]),
        ("fever- cough- rash+", [A, A, P]),
        ("+++ cough", [P]),
        ("fever -, cough +", [A, P]),
        ("fever -ve, cough +ve", [A, P]),
        ("- fever\n- cough\n+ rash", [A, A, P]),
        ("Complaints:\n- fever\n- cough\nPlan:\n+ ibuprofen", [P, P]),
        ("Complaints:\n+ fever\n- cough\nPlan:\n- ibuprofen", [P, A]),
        # A minus that is no sign.
        ("nausea-vomiting since Monday", [P, P]),
        ("fever-chills, cough", [P, P, P]),
        ("- fever\n- cough", [P, P]),
        ("low-grade fever - worse at night", [P]),
        ("-fever for three days", [P]),
        ("headache-nausea-dizziness", [P, P, P]),
        # Signs that head a list.
        ("(-): fever, chills; (+): cough", [A, A, P]),
        ("[+]: cough, rash; [-]: fever", [P, P, A]),
        ("(neg): fever, chills", [A, A]),
    ],
)
def test_signs(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[x] fever [ ] cough", [P, A]),
        ("[ ] fever [X] cough", [A, P]),
        ("fever [ ] cough [x]", [A, P]),
        ("( ) fever (x) cough", [A, P]),
        ("fever ( ), cough (x)", [A, P]),
        ("{ } fever {x} cough", [A, P]),
        ("[_] fever [x] cough", [A, P]),
        ("[] fever\n[x] cough", [A, P]),
        ("☐ fever ☒ cough ☑ rash", [A, P, P]),
        ("□ fever ■ cough", [A, P]),
        ("○ fever ● cough", [A, P]),
        ("✗ fever ✓ cough", [A, P]),
        ("❌ fever ✅ cough", [A, P]),
        ("- [ ] fever\n- [x] cough", [A, P]),
        ("* ☐ fever\n* ☑ cough", [A, P]),
        ("Ø fever, Ø cough, + rash", [A, A, P]),
        ("● fever\n● cough", [P, P]),
        ("○ fever\n○ cough", [P, P]),
        # With the words yes and no beside the boxes.
        ("Fever: [ ] yes [x] no", [A]),
        ("Fever: [x] yes [ ] no", [P]),
        ("Fever: [x] no [ ] yes", [A]),
        ("Fever: [ ] no [x] yes", [P]),
        ("Fever ☐ Yes ☒ No\nCough ☒ Yes ☐ No", [A, P]),
        ("Fever yes [ ] no [x]", [A]),
        ("Fever Yes [x] No [ ]", [P]),
        ("Y [ ] N [x] fever\nY [x] N [ ] cough", [A, P]),
        ("Fever: ( ) Y (x) N", [A]),
        # Behind the rest of a question.
        ("Fever today? Yes[ ] No[X]   Cough today? Yes[X] No[ ]", [A, P]),
        ("Fever today? No[ ] Yes[X]   Cough today? No[X] Yes[ ]", [P, A]),
        ("Fever now? YES ( ) NO (X)  Cough now? YES (X) NO ( )", [A, P]),
        ("Fever or cough today? [ ] Yes [x] No", [A, A]),
        ("1. Fever last night? ☐ Yes ☒ No\n2. Cough last night? ☒ Yes ☐ No", [A, P]),
        ("Fever today? Yes[ ] No[ ]", [Q]),
    ],
)
def test_boxes(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fever: no\nCough: yes", [A, P]),
        ("Fever: N\nCough: Y", [A, P]),
        ("Fever: No, Cough: Yes, Rash: No", [A, P, A]),
        ("Fever: No Cough: Yes Rash: No", [A, P, A]),
        ("Fever=False Cough=True Rash=False", [A, P, A]),
        ("fever=0; cough=1", [A, P]),
        ("fever=0 cough=1 rash=0", [A, P, A]),
        ("Fever\tNo\nCough\tYes", [A, P]),
        ("Fever     No\nCough     Yes", [A, P]),
        ("Fever|No\nCough|Yes", [A, P]),
        ("| Fever | No |\n| Cough | Yes |", [A, P]),
        ("Fever,No\nCough,Yes", [A, P]),
        ("Fever No\nCough Yes\nRash No", [A, P, A]),
        ("Fever ... no\nCough ... yes", [A, P]),
        ("Fever ____ no", [A]),
        ("Fever - no, cough - yes", [A, P]),
        ("Fever -> no\nCough -> yes", [A, P]),
        ("Fever: none reported\nCough: present", [A, P]),
        ("Fever: denies", [A]),
        ("Fever (Tmax 37.1): no", [A]),
        ("**Fever:** no\n**Cough:** yes", [A, P]),
        ("no_fever cough_present rash_absent", [A, P, A]),
        ("fever-no\ncough-yes", [A, P]),
        ("Fever or chills: no", [A, A]),
        ("Fever, cough: no\nRash: yes", [A, A, P]),
        ("Fever/chills: no", [A, A]),
        ("Pain: 0/10", [A]),
        ("Pain: 8/10", [P]),
        ("0/10 pain", [A]),
        ("10/10 pain", [P]),
        ("nausea (grade 0), pain (grade 2)", [A, P]),
        ("Cough: nonproductive", [P]),
        ("Cough: normal for her", [P]),
        ("Fever: no longer than a day", [P]),
        ("Rash: no change", [P]),
    ],
)
def test_answers_beside_the_words(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Any fever? No.", [A]),
        ("Any fever? Yes. Any cough? No.", [P, A]),
        ("Fever? no\nCough? yes", [A, P]),
        ("Fever? - No\nCough? - Yes", [A, P]),
        ("Any fever? A: No", [A]),
        ("Q: Any fever? A: yes", [P]),
        ("Any fever in the last week? Denies.", [A]),
        ("Do you have a fever or a cough?\nNo", [A, A]),
        ("Any fever or cough at night? None.", [A, A]),
        ("Did she have a rash? Nope.", [A]),
        ("Any fever? Not anymore.", [A]),
        ("Any fever? I haven't had any.", [A]),
        ("Any fever? She doesn't.", [A]),
        ("Any fever? I do, at night.", [P]),
        ("Any fever? I don't know.", [Q]),
        ("Any fever? She has two sisters.", [Q]),
        # In turns.
        ("Nurse: Is he having any fever?\nMother: Yes, since Monday.", [P]),
        ("Nurse: Any rash?\nMother: I haven't seen any.", [A]),
        ("RN: Any fever?\nMrs. Jones: Nope.", [A]),
        ("Any fever?\nCough: no", [Q, A]),
        ("Any fever? None at all.", [A]),
        ("Any fever? Sometimes, yes.", [P]),
        ("Do you have a cough? A little.", [P]),
        ('"Do you have fever?" "No, but a cough."', [A, P]),
        ("? fever", [Q]),
        ("fever?", [Q]),
        ("Migraine? Start a triptan.", [Q]),
        ("Any fever? No change in the cough.", [Q, P]),
    ],
)
def test_questions_and_what_answers_them(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Symptom | Yes | No\nFever | | X\nCough | X |", [A, P]),
        ("Symptom | No | Yes\nFever | X | |\nCough | | X |", [A, P]),
        ("| Symptom | Present | Absent |\n|---|---|---|\n| Fever | | x |\n| Cough | x | |", [A, P]),
        ("Symptom\tYes\tNo\nFever\t\tX\nCough\tX\t", [A, P]),
        ("Symptom      Yes   No\nFever              X\nCough         X", [A, P]),
        ("Symptom | Yes | No | Comment\nFever | | ✓ | last week\nCough | ✓ | |", [A, P]),
        ("Fever | X |", [P]),
    ],
)
def test_ticks_under_the_names_of_columns(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("has fever no cough", [P, A]),
        ("c/o nausea no vomiting no pain", [P, A, A]),
        ("headache - denies nausea", [P, A]),
        ("fever - no cough", [P, A]),
        ("rash, fever no chills", [P, P, A]),
        ("cough | no fever", [P, A]),
        ("cough\tno fever", [P, A]),
        ("cough ... no fever", [P, A]),
        ("Cough  No fever", [P, A]),
        ("fever yes cough", [P, P]),
    ],
)
def test_a_denial_of_the_next_symptom_is_no_answer_to_the_one_before(
    told, text: str, expected: list[str]
) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize(
    "line",
    ["Smoker: no", "Any pets? No", "Strep: negative", "Flu shot - no", "Snoring: denies", "Rash: absent"],
)
@pytest.mark.parametrize("bullet", ["", "- "])
def test_an_answer_leads_no_list(told, line: str, bullet: str) -> None:
    assert said(told, f"{line}\n{bullet}headache")[-1] == P


def test_an_answer_says_nothing_of_the_next_line(told) -> None:
    assert said(told, "Fever: no\nCough for two days\nRash: no\nHeadache") == [A, P, A, P]


def test_what_a_mark_affirms_is_still_the_past_of_a_section_and_someone_elses(told) -> None:
    assert said(told, "PAST MEDICAL HISTORY:\nMigraine: yes\nSeizures: no") == ["historical", A]
    assert said(told, "Family History:\n[x] migraine [ ] seizures") == ["family", "family"]


def test_a_mark_outweighs_a_denial_and_a_doubt_before_it(told) -> None:
    assert said(told, "Denies: fever (-), cough (+)") == [A, P]
    assert said(told, "Possible fever: yes") == [P]


def test_a_long_row_is_read_to_its_end(told) -> None:
    assert said(told, "fever (-) cough (+) " * 60) == [A, P] * 60
    assert said(told, "(-) fever (+) cough " * 60) == [A, P] * 60


@pytest.mark.parametrize(
    ("text", "spans", "marks"),
    [
        ("fever (-) cough", [(0, 5), (10, 15)], {(0, 5): Mark("absent", 6, 9)}),
        ("(-) fever", [(4, 9)], {(4, 9): Mark("absent", 0, 3)}),
        ("fever: No", [(0, 5)], {(0, 5): Mark("absent", 7, 9)}),
        ("fever", [(0, 5)], {}),
        ("fever and cough", [(0, 5), (10, 15)], {}),
    ],
)  # fmt: skip
def test_a_mark_has_its_place(text: str, spans: list[tuple[int, int]], marks: dict) -> None:
    assert Row(text, (0, len(text)), spans).marks == marks


def test_only_a_line_with_both_names_names_columns() -> None:
    assert names_columns("Symptom Yes No", 0, 14)
    assert not names_columns("Symptom Yes", 0, 11)
    assert not names_columns("x" * 300 + " yes no", 0, 307)


def test_a_tick_under_no_name_of_an_answer_says_nothing() -> None:
    text = "Yes | No | Note\nfever | | | X"
    assert answer_of_columns(text, (16, len(text)), 21, (0, 15)) is None
    assert answer_of_columns(text, (16, len(text)), 21, (4, 8)) is None


@pytest.mark.parametrize(
    "answer",
    ["Patient denies", "pt denies", "he denies", "denies any", "She does not have any", "patient has none"],
)
def test_an_answer_may_name_who_gives_it(told, answer: str) -> None:
    assert told(f"Pain: {answer}. Cough: yes.") == [("pain", "absent"), ("cough", "present")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Choices as they are printed.
        ("Fever Yes/No: No", [A]),
        ("Fever (yes/no) No", [A]),
        ("Fever (yes/no): Yes", [P]),
        ("Fever Y/N: N", [A]),
        ("Fever Y / N: N   Cough Y / N: Y", [A, P]),
        ("Fever (Y/N): N. Rash (Y/N): Y", [A, P]),
        ("Fever no/yes: yes", [P]),
        ("Fever yes/no", [Q]),
        # Two boxes under the names of their columns.
        ("Y N\n[ ] [x] Fever\n[x] [ ] Cough", [A, P]),
        ("Yes No\n☐ ☑ Fever\n☑ ☐ Cough or wheezing", [A, P, P]),
        ("No | Yes\n[x] | [ ] | Fever", [A]),
        ("Y   N   Symptom\n[ ]  [X]  cough\n[X]  [ ]  rash", [A, P]),
        ("[ ] [x] Fever", [P]),
        # Answers of questionnaires.
        ("Headache: not at all", [A]),
        ("Headache, nausea or vomiting: Not at all", [A, A, A]),
        ("Headache: nearly every day", [P]),
        ("Rash (0/4), cough (2/4)", [A, P]),
        # Conversations.
        ("[doctor] any fever? [patient] no", [A]),
        ("[doctor] any fever ? [patient] no , i have n't", [A]),
        ("[doctor] any fever? [patient] yes, since monday", [P]),
        ("[doctor] any nausea ? [patient] yes i do", [P]),
        ("Q: Any nausea?\nA: Yes since morning", [P]),
        # Two kinds of heads on one line.
        ("(-)dyspnea (+)wheezing, vomiting", [A, P, P]),
        ("(+) cough, fever (-) rash, vomiting", [P, P, A, A]),
        ("ROS: (+) headache, dizziness (-) vomiting, fever", [P, P, A, A]),
        ("cough (+), fever (-), rash, vomiting", [P, A, P, P]),
    ],
)
def test_forms_questionnaires_and_conversations(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected
