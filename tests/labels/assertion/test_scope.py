"""How far a cue reaches, and what it needs to be one: each setting of a cue on notes of several symptoms."""

import pytest

from sympress.labels.annotate import Annotator
from sympress.labels.assertion import context_of, decide
from sympress.labels.assertion.cues import parse_cues
from sympress.labels.lexicon import Lexicon, Symptom

P, A, Q, Y, H, F = "present", "absent", "possible", "hypothetical", "historical", "family"
LEXICON = Lexicon("few", tuple(Symptom(word, (word,), word) for word in ("fever", "cough", "rash", "chills")))


def said(told, text: str) -> list[str]:
    return [assertion for _, assertion in told(text)]


def own(table: str, text: str) -> list[str]:
    """What is asserted with one table of cues and no others."""
    book = parse_cues(table, "own.toml")
    return [mention.assertion for mention in Annotator(LEXICON, book).mentions(text)]


def stop(ends: str, phrase: str, setting: str = "") -> str:
    return f'[[stop]]\nends = ["{ends}"]\nphrases = ["{phrase}"]\n{setting}\n'


CUE = '[[cue]]\nassertion = "absent"\nphrases = ["nix"]\n'


@pytest.mark.parametrize(
    ("settings", "text", "expected"),
    [
        ("", "nix fever, cough and rash", [A, A, A]),
        ("", "fever nix cough", [P, A]),
        ("max_words = 0", "nix fever cough", [A, P]),
        ("max_words = 2", "nix a b fever", [A]),
        ("max_words = 2", "nix a b c fever", [P]),
        ("max_words = 2", "nix - a b fever", [A]),
        ('direction = "backward"', "fever nix cough", [A, P]),
        ('direction = "backward"', "fever, cough nix", [P, A]),
        ('direction = "backward"\nacross_commas = true', "fever, cough nix", [A, A]),
        ('direction = "backward"\nmax_words = 1', "fever a b nix", [P]),
        ("clause_start = true", "nix fever", [A]),
        ("clause_start = true", "cough, nix fever", [P, A]),
        ("clause_start = true", "(nix fever) cough", [A, P]),
        ("clause_start = true", "cough; nix fever", [P, A]),
        ("clause_start = true", "test nix fever", [P]),
        ("clause_start = true", "test nix, fever", [P]),
        ("between = true", "cough nix fever", [P, A]),
        ("between = true", "nix fever", [P]),
        ("between = true", "cough nix: fever", [P, P]),
        ("between = true", "cough nix 98.2 fever", [P, P]),
        ("between = true", "cough nix bp 120/80 fever", [P, P]),
        ("within_item = true", "nix fever, cough", [A, P]),
        ("within_item = true", "nix fever and cough", [A, A]),
        ("within_item = true", "nix fall with fever", [P]),
        ("within_item = true", "nix fall w/ fever", [P]),
        ("within_item = true", "nix fever, cough, or rash", [A, A, A]),
        ('directly_behind = ":("', "cough: nix fever", [P, A]),
        ('directly_behind = ":("', "cough (nix) fever", [P, P]),
        ('directly_behind = ":("', "cough (nix fever)", [P, A]),
        ('directly_behind = ":("', "nix fever", [P]),
        ('directly_behind = ":("', "cough nix fever", [P, P]),
        ('unless_behind = ["took"]', "nix fever", [A]),
        ('unless_behind = ["took"]', "took a nix fever", [P]),
        ('unless_behind = ["took"]', "took one. nix fever", [A]),
        ('unless_behind = ["took"]', "took one; nix fever", [A]),
        ("not_before_number = true", "nix fever", [A]),
        ("not_before_number = true", "nix. 3 fever", [P]),
        ("not_before_number = true", "nix.3 fever", [P]),
        ("not_before_number = true", "nix 3 fever", [A]),
    ],
)
def test_each_setting_limits_a_cue(settings: str, text: str, expected: list[str]) -> None:
    assert own(f"{CUE}{settings}\n", text) == expected


@pytest.mark.parametrize(
    ("rest", "text", "expected"),
    [
        (stop("absent", "aber"), "nix fever aber cough", [A, P]),
        (stop("family", "aber"), "nix fever aber cough", [A, A]),
        (stop("absent", "aber", "after_comma = true"), "nix fever aber cough", [A, A]),
        (stop("absent", "aber", "after_comma = true"), "nix fever, aber cough", [A, P]),
        (stop("absent", "aber", "behind_mention = true"), "nix aber cough", [A]),
        (stop("absent", "aber", "behind_mention = true"),
         "nix fever aber cough", [A, P]),
        (stop("absent", "aber", "unless_or = true"), "nix fever aber or cough", [A, A]),
        (stop("absent", "aber", "unless_or = true"), "nix fever aber dort, or cough", [A, P]),
        # Stops do not hide one another, whichever is longer.
        (stop("absent", "und dann") + stop("family", "dann"),
         "nix fever und dann cough", [A, P]),
        (stop("family", "und dann") + stop("absent", "dann"),
         "nix fever und dann cough", [A, P]),
        # A pseudo hides a cue, and a stop, that stands within it.
        ('[[pseudo]]\nphrases = ["nix wie"]', "nix wie fever", [P]),
        ('[[pseudo]]\nphrases = ["aber nein"]\n[[stop]]\nends = ["absent"]\nphrases = ["aber"]',
         "nix fever aber nein cough", [A, A]),
        # A statement within an item behind a comma.
        ('[[statement]]\nphrases = ["heute"]', "nix fever, cough heute", [A, P]),
        ('[[statement]]\nphrases = ["heute"]', "nix fever, cough heute, rash", [A, P, P]),
        ('[[statement]]\nphrases = ["heute"]', "nix fever, chills, cough heute", [A, A, P]),
        ('[[statement]]\nphrases = ["heute"]', "nix fever heute", [A]),
        ('[[statement]]\nphrases = ["heute"]', "nix fever, cough heute, or rash", [A, A, A]),
        ('[[statement]]\nphrases = ["heute"]', "nix fever, cough or rash heute", [A, A, A]),
        ('[[statement]]\nphrases = ["heute"]', "nix fever, cough nor rash heute", [A, A, A]),
        ('[[statement]]\nphrases = ["heute"]', "nix (a, heute) fever, cough", [A, A]),
    ],
)  # fmt: skip
def test_what_ends_a_scope(rest: str, text: str, expected: list[str]) -> None:
    assert own(f"{CUE}{rest}\n", text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # Of several denied items the one that tells its own story is not denied.
        ("No fever, chills, or rash.", [A, A, A]),
        ("No fever, cough for 3 days.", [A, P]),
        ("No fever, cough x 3 days, rash.", [A, P, P]),
        ("No fever, dyspnea 40/min.", [A, P]),
        ("No fever, headache 8/10.", [A, P]),
        ("No fever, cough is worse.", [A, P]),
        ("No fever, his cough is worse.", [A, P]),
        ("No fever, pain at rest for weeks, or cough.", [A, A, A]),
        ("No fever, cough, wheezing or dyspnea at night for 2 weeks.", [A, A, A, A]),
        ("No fever in 2019, cough, rash.", [A, A, A]),
        ("no fever has a cough and rash", [A, P, P]),
        ("no pain had nausea", [A, P]),
        ("denies having fever", [A]),
        # A number before a symptom, an article, an owner or a verb makes a statement too.
        ("No fever, 2 seizures.", [A, P]),
        ("No fever, a cough.", [A, P]),
        ("Without a fever, a cough, a rash.", [A, A, A]),
        ("No fever, a cough or rash.", [A, A, A]),
        ("No fever and the cough is mild.", [A, P]),
        ("Without fever and her pain was mild.", [A, P]),
        ("No fever and the cough.", [A, A]),
        ("No pain in the arm and the leg, cough or rash.", [A, A, A]),
        ("Rash without itching, and cough without fever.", [P, A, P, A]),
        # Where a denial has its verb, `or` goes on.
        ("No nausea was reported at home or vomiting.", [A, A]),
        ("No nausea was reported at home and vomiting was seen.", [A, P]),
        ("No fever during the day or cough.", [A, A]),
        # What is said behind a list is said of all of it.
        ("Fever, nausea and rash disappeared.", [H, H, H]),
        ("Fever, chills and mild cough denied.", [A, A, A]),
        ("Has a cough. Fever, and rash resolved.", [P, H, H]),
        ("Hives and itching, which went away within an hour.", [H, H]),
        ("Fever, cough and headache which has resolved.", [P, P, H]),
        ("Cough and a rash that is resolved.", [P, H]),
        ("Cough, Neg: fever, rash.", [P, A, A]),
        ("denies fever states has cough", [A, P]),
        # What is denied at first is no symptom.
        ("No prior surgeries, fever, rash.", [P, P]),
        ("No sick contacts, cough and fever.", [P, P]),
        ("In no acute distress, cough.", [P]),
        ("No known allergies, rash on the arm.", [P]),
        ("Not on home oxygen, wheezing.", [P]),
        ("No trauma, fever, or rash.", [A, A]),
        # A negative test.
        ("COVID negative, fever and cough.", [P, P]),
        ("Strep neg with fever.", [P]),
        ("Neg fever, neg cough.", [A, A]),
        # Brackets.
        ("chills (no fever), cough", [P, A, P]),
        ("No (fever, chills), but cough.", [A, A, P]),
        ("Denies fever (chills, rash) and cough.", [A, A, A, A]),
        ("cough (no fever (no chills), no rash), headache", [P, A, A, A, P]),
        ("No fever (38.5 yesterday), cough.", [A, A]),
        ("no fever) cough", [A, A]),
        # Stops.
        ("No rash, now with fever.", [A, P]),
        ("H/o migraine, came in with headache.", [H, P]),
        ("Hx of seizures now p/w syncope.", [H, P]),
        ("No cough but fever, no rash.", [A, P, A]),
        ("Denies fever, reports cough, denies rash.", [A, P, A]),
        ("Mother has migraine; patient has headache.", [F, P]),
        ("Mother has migraine, and he has headache.", [F, P]),
        ("Possible migraine, but fever.", [Q, P]),
        ("Return if fever. He has cough.", [Y, P]),
        # The past of the one-line history.
        ("65M with hx of migraine, syncope p/w pain.", [H, H, P]),
        ("S/p fall with pain.", [P]),
        ("Prior migraine, cough today.", [H, P]),
        ("Previously healthy with fever.", [P]),
        ("Known seizures, presents with headache.", [H, P]),
        # Orders, and doses that were given.
        ("Tylenol 500 mg PO q6h prn fever.", [Y]),
        ("Given Tylenol 500 mg for fever.", [P]),
        ("Zofran 4 mg IV q8h for nausea or vomiting.", [Y, Y]),
        # What may come is none yet, all of the list.
        ("After this vaccine rash, headache or fever may occur for up to two days.", [Y, Y, Y]),
        ("With this drug nausea, vomiting and hives can happen.", [Y, Y, Y]),
        ("Cough and fever today, vomiting may occur.", [P, P, Y]),
        ("Has cough and may follow up.", [P]),
        ("Report fever > 100.5, chills, or new cough to the nurse line.", [Y, Y, Y]),
        ("Report given to the nurse, fever, chills.", [P, P]),
        # What was measured.
        ("No pain, fever (38.5 C), cough.", [A, P, P]),
        ("No pain, dyspnea (30), no cough.", [A, P, A]),
        ("No pain, fever (>38), cough.", [A, A, A]),
        ("No pain, fever (T 36.8), cough.", [A, A, A]),
        ("No rash, pain (0/10), cough.", [A, A, A]),
        ("No fever (100.4 or higher), cough.", [A, A]),
        ("Without edema (severe dermatitis), rash and cough.", [A, A, A]),
        ("No rash, pain (severe), cough.", [A, P, P]),
        # Who denies says nothing of what was found.
        ("She denied surgery, nausea and vomiting were found within a week.", [P, P]),
        ("She denied fever, chills and cough, rash was noted.", [A, A, A, P]),
        ("No edema, rash and hives were seen.", [A, A, A]),
        # What is over, told a clause or a sentence later.
        ("Hives and itching; both were gone within 2 hours.", [H, H]),
        ("Fever and cough. It resolved with rest.", [P, H]),
        ("Rash, which itched for a day, has resolved.", [H]),
        ("Rash, which itched for a day, is worse.", [P]),
        ("Cough, which began a year ago, is worse.", [P]),
        ("Without pain, cough (307.7), rash.", [A, A, A]),
        ("Cough since Monday. It is worse.", [P]),
        ("Chills; they were gone by noon, cough persists.", [H, P]),
        ("no fever.cough x2d,no wheezing", [A, P, A]),
        # The line above a list.
        ("Past symptoms, now gone:\n- rash\n- pain\nStill:\n- itching", [H, H, P]),
        ("Fever, rash gone: nausea, cough.", [P, P, P, P]),
        ("Sick contact (roommate) has:\n- cough\n- fever\nPatient has:\n- headache", [F, F, P]),
        ("She came with a friend (Anna) with headache.", [P]),
        # Words on both sides.
        ("Fever, cough and chills are denied.", [A, A, A]),
        ("Fever denied. Cough present.", [A, P]),
        ("Fever and cough, no rash, all resolved.", [H, H, A]),
        ("Pain vs rash.", [Q, Q]),
        ("VS 98.2, rash.", [P]),
        # A symptom's own words are no cue for the next.
        ("No energy, fever.", [P]),
        ("Unable to sleep, itching.", [P]),
        ("Not eating, vomiting.", [P]),
    ],
)
def test_scopes_on_notes(told, text: str, expected: list[str]) -> None:
    assert said(told, text) == expected


@pytest.mark.parametrize("count", [1, 12, 40])
def test_a_denial_reaches_to_the_end_of_its_list(told, count: int) -> None:
    text = "Denies " + ", ".join(["fever", "cough"] * count)[:-2] + " or rash"
    assert {assertion for _, assertion in told(f"{text}. Chills.")[:-1]} == {A}
    assert told(f"{text}. Chills.")[-1] == ("chills", P)


def test_what_is_asked_first_does_not_matter(few_symptoms: Annotator) -> None:
    text = "No fever, cough for 3 days, denies rash."
    alone = [few_symptoms.mentions(text[: m.end] + text[m.end :])[k].assertion for k, m in
             enumerate(few_symptoms.mentions(text))]  # fmt: skip
    assert alone == [A, P, A]


@pytest.mark.parametrize("text", ["(+)! no fever", "(+)? no fever"])
def test_a_mark_before_its_statement_leaves_the_statement_whole(text: str) -> None:
    assert decide(context_of(text, text.index("fever"), len(text)))[0] == "absent"
